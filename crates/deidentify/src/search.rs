//! The search: among all combinations of levels, the one with the smallest loss that satisfies the policy.
//!
//! Loss of a combination = for every row kept, the weighted mean of its values' losses; for every row suppressed, 1.
//! The loss without suppression is a lower bound that needs no counting of classes. Combinations are therefore tried in
//! the order of this bound, and the search ends when the bound reaches the best loss found: the result is exact.
//! Raising a level only merges classes, so sizes and numbers of different values grow with it and suppression shrinks.

use std::collections::HashMap;

use crate::encode::{Encoded, Tuples};

/// The best combination.
pub(crate) struct Best {
    /// Level of each column.
    pub(crate) levels: Vec<usize>,
    /// Mean loss per row, 0 to 1.
    pub(crate) loss: f64,
    /// For each tuple, whether its rows are suppressed.
    pub(crate) suppressed: Vec<bool>,
    /// Combinations that were counted, of how many there are.
    pub(crate) tried: (u64, u64),
}

/// Sizes of classes and the outcome for one combination.
struct Outcome {
    suppressed: Vec<bool>,
    suppressed_rows: u64,
    loss: f64,
}

/// Weighted mean loss of a tuple's values at the given levels.
fn tuple_loss(columns: &[Encoded], tuple: &[u32], levels: &[usize], total_weight: f64) -> f64 {
    let losses = columns.iter().zip(tuple).zip(levels);
    losses.map(|((column, code), level)| column.weight * column.losses[*level][*code as usize]).sum::<f64>()
        / total_weight
}

fn evaluate(
    columns: &[Encoded],
    tuples: &Tuples,
    levels: &[usize],
    class_size: u64,
    limit: u64,
    weight: f64,
) -> Option<Outcome> {
    let mut class_of = Vec::with_capacity(tuples.len());
    let mut index: HashMap<Vec<u32>, u32> = HashMap::with_capacity(tuples.len());
    let mut sizes: Vec<u64> = Vec::new();
    for at in 0..tuples.len() {
        let key = columns.iter().zip(tuples.tuple(at)).zip(levels);
        let key: Vec<u32> = key.map(|((column, code), level)| column.groups[*level][*code as usize]).collect();
        let class = *index.entry(key).or_insert_with(|| {
            sizes.push(0);
            u32::try_from(sizes.len() - 1).unwrap_or(u32::MAX)
        });
        sizes[class as usize] += tuples.counts[at];
        class_of.push(class);
    }
    let mut too_small: Vec<bool> = sizes.iter().map(|size| *size < class_size).collect();
    for (required, values) in &tuples.diverse {
        let mut found = vec![0_u64; sizes.len()];
        for (class, bits) in class_of.iter().zip(values) {
            found[*class as usize] |= bits;
        }
        for (small, bits) in too_small.iter_mut().zip(found) {
            *small |= bits.count_ones() < *required;
        }
    }
    let suppressed_rows: u64 = sizes.iter().zip(&too_small).filter(|(_, small)| **small).map(|(size, _)| size).sum();
    if suppressed_rows > limit {
        return None;
    }
    let suppressed: Vec<bool> = class_of.iter().map(|class| too_small[*class as usize]).collect();
    let mut loss = 0.0;
    let mut rows = 0;
    for (at, (count, suppressed)) in tuples.counts.iter().zip(&suppressed).enumerate() {
        rows += count;
        let each = if *suppressed { 1.0 } else { tuple_loss(columns, tuples.tuple(at), levels, weight) };
        loss += each * real(*count);
    }
    Some(Outcome { suppressed, suppressed_rows, loss: if rows == 0 { 0.0 } else { loss / real(rows) } })
}

#[expect(clippy::cast_precision_loss, reason = "counts of rows are far below 2^53")]
fn real(count: u64) -> f64 {
    count as f64
}

/// Finds the best combination; `None` when none satisfies the policy. `limit`: rows that may be suppressed.
pub(crate) fn search(columns: &[Encoded], tuples: &Tuples, class_size: u64, limit: u64) -> Option<Best> {
    let weight: f64 = columns.iter().map(|column| column.weight).sum::<f64>().max(f64::MIN_POSITIVE);
    let rows: u64 = tuples.counts.iter().sum();
    // Mean weighted loss of each column at each level: the bound of a combination is a sum of these.
    let mut by_level: Vec<Vec<f64>> = columns.iter().map(|column| vec![0.0; column.levels()]).collect();
    for at in 0..tuples.len() {
        for (nth, (column, code)) in columns.iter().zip(tuples.tuple(at)).enumerate() {
            for (level, losses) in column.losses.iter().enumerate() {
                by_level[nth][level] +=
                    losses[*code as usize] * column.weight / weight * real(tuples.counts[at]) / real(rows.max(1));
            }
        }
    }
    let mut combinations: Vec<(f64, Vec<usize>)> = vec![(0.0, Vec::new())];
    for losses in &by_level {
        combinations = combinations
            .into_iter()
            .flat_map(|(bound, levels)| {
                losses.iter().enumerate().map(move |(level, loss)| {
                    let mut levels = levels.clone();
                    levels.push(level);
                    (bound + loss, levels)
                })
            })
            .collect();
    }
    // Ties are broken by the levels themselves, so that the same table always gives the same answer.
    combinations.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(&b.1)));

    let total = combinations.len() as u64;
    let mut best: Option<(Outcome, Vec<usize>)> = None;
    let mut tried = 0;
    // Suppression only shrinks as levels rise: what is below an infeasible combination is infeasible too.
    let mut infeasible: Vec<Vec<usize>> = Vec::new();
    for (bound, levels) in combinations {
        if best.as_ref().is_some_and(|(found, _)| bound >= found.loss) {
            break;
        }
        if infeasible.iter().any(|higher| levels.iter().zip(higher).all(|(level, other)| level <= other)) {
            continue;
        }
        tried += 1;
        match evaluate(columns, tuples, &levels, class_size, limit, weight) {
            None => {
                infeasible.retain(|lower| !lower.iter().zip(&levels).all(|(level, other)| level <= other));
                infeasible.push(levels);
            }
            Some(found) => {
                let better = best
                    .as_ref()
                    .is_none_or(|(kept, _)| (found.loss, found.suppressed_rows) < (kept.loss, kept.suppressed_rows));
                if better {
                    best = Some((found, levels));
                }
            }
        }
    }
    best.map(|(outcome, levels)| Best {
        levels,
        loss: outcome.loss,
        suppressed: outcome.suppressed,
        tried: (tried, total),
    })
}

#[cfg(test)]
pub(crate) mod brute_force {
    use super::*;

    /// Smallest loss over every combination, without order, bound or pruning.
    pub(crate) fn smallest_loss(columns: &[Encoded], tuples: &Tuples, class_size: u64, limit: u64) -> Option<f64> {
        let weight: f64 = columns.iter().map(|column| column.weight).sum();
        let mut levels = vec![0; columns.len()];
        let mut best: Option<f64> = None;
        loop {
            if let Some(found) = evaluate(columns, tuples, &levels, class_size, limit, weight) {
                best = Some(best.map_or(found.loss, |kept: f64| kept.min(found.loss)));
            }
            let Some(at) = (0..columns.len()).find(|at| levels[*at] + 1 < columns[*at].levels()) else { return best };
            levels[at] += 1;
            levels[..at].fill(0);
        }
    }
}
