//! Microaggregation: rows are put into groups of at least k that are near each other, and each group is released as its
//! mean (Domingo-Ferrer and Mateo-Sanz, "Practical data-oriented microaggregation for statistical disclosure control", IEEE
//! TKDE 14(1), 2002).
//!
//! Of one column the groups are the best there are: a shortest path over sorted values (Hansen and Mukherjee, "A polynomial
//! algorithm for optimal univariate microaggregation", IEEE TKDE 15(4), 2003). Of several columns together they are those of
//! MDAV (Domingo-Ferrer and Torra, "Ordinal, continuous and heterogeneous k-anonymity through microaggregation", Data
//! Mining and Knowledge Discovery 11(2), 2005), over standardised columns. In both, rows that agree in all columns stay
//! together, so that groups do not depend on the order of rows; a group can have more than 2k − 1 rows for that reason.
//!
//! MDAV takes time that grows with the square of the number of rows, so many rows are first cut into blocks at medians.
//!
//! Rows in which only some of the columns are missing are grouped among those with the same ones missing; where fewer than k
//! are, their values are left out.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::class::{ClassValue, all_numbers, decimals};
use super::{number, real, wrong};
use crate::DeidentifyError;
use crate::coded::{CodedColumn, Coder};
use crate::policy::{Policy, Role};

/// Distinct rows that MDAV works on at once.
const BLOCK: usize = 16_384;

/// Columns whose values are replaced by those of groups. Unknown keys are refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Microaggregation {
    /// Which columns together; all of them quasi-identifiers, or none.
    pub columns: Vec<String>,
    /// Rows of the smallest group; the policy's smallest class without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub k: Option<u64>,
    /// Which value stands for a group.
    #[serde(default)]
    pub value: ClassValue,
}

impl Microaggregation {
    pub(super) fn check(&self, policy: &Policy) -> Result<(), DeidentifyError> {
        let refused = |problem: String| Err(wrong(format!("microaggregate: {problem}")));
        if self.columns.is_empty() || self.k == Some(0) {
            return refused("it needs columns, and k must be at least 1".to_owned());
        }
        if self.value == ClassValue::Mode {
            return refused("groups of near numbers have a mean or a median".to_owned());
        }
        let mut names = self.columns.clone();
        names.sort_unstable();
        if names.windows(2).any(|pair| pair[0] == pair[1]) {
            return refused("a column is named twice".to_owned());
        }
        let quasi = self.is_of(policy, Role::QuasiIdentifier);
        for name in &self.columns {
            let Some(column) = policy.columns.get(name).filter(|column| column.role.is_released()) else {
                return refused(format!("{name} is no column that is released"));
            };
            if (column.role == Role::QuasiIdentifier) != quasi {
                return refused("its columns must all be quasi-identifiers, or none of them".to_owned());
            }
            if column.transform.is_some() {
                return refused(format!("{name} has another transformation"));
            }
            if policy.watches(name) {
                return refused(format!("a model looks at {name}"));
            }
            let others = policy.microaggregate.iter().filter(|other| other.columns.contains(name)).count();
            if others > 1 {
                return refused(format!("{name} is microaggregated twice"));
            }
        }
        Ok(())
    }

    /// Whether its first column has a role.
    pub(super) fn is_of(&self, policy: &Policy, role: Role) -> bool {
        self.columns.first().and_then(|name| policy.columns.get(name)).is_some_and(|column| column.role == role)
    }

    pub(super) fn words(&self, smallest: u64, groups: u64) -> String {
        let (k, value) = (self.k.unwrap_or(smallest), self.value.as_str());
        let how = if self.columns.len() == 1 { "the best groups" } else { "groups by MDAV" };
        format!("the {value} of {groups} {how} of at least {k} rows")
    }

    /// The columns with the value of its group in each of the rows, and the number of groups. Other rows keep theirs.
    pub(super) fn run(
        &self,
        columns: &[Arc<CodedColumn>],
        all_rows: usize,
        rows: &[usize],
        smallest: u64,
    ) -> Result<(Vec<CodedColumn>, u64), DeidentifyError> {
        let k = self.k.unwrap_or(smallest).max(1);
        for column in columns {
            all_numbers(column)?;
        }
        // Distinct rows, by which columns are missing.
        let mut patterns: BTreeMap<Vec<bool>, BTreeMap<Vec<u32>, u64>> = BTreeMap::new();
        for row in rows {
            let codes: Vec<u32> = columns.iter().map(|column| column.codes[*row]).collect();
            let there: Vec<bool> =
                columns.iter().zip(&codes).map(|(column, code)| column.values[*code as usize].is_some()).collect();
            *patterns.entry(there).or_default().entry(codes).or_default() += 1;
        }
        let decimals: Vec<usize> =
            columns.iter().map(|column| decimals(column.values.iter().flatten().map(|text| &**text))).collect();
        let mut becomes: BTreeMap<Vec<u32>, Vec<Option<String>>> = BTreeMap::new();
        let mut groups = 0;
        for (there, tuples) in patterns {
            let present: Vec<usize> = (0..columns.len()).filter(|at| there[*at]).collect();
            let text = |at: usize, codes: &[u32]| columns[at].values[codes[at] as usize].as_deref().unwrap_or_default();
            let size = |at: usize, codes: &[u32]| number(text(at, codes)).unwrap_or(0.0);
            // In the order of numbers, whatever the order of their texts.
            let mut tuples: Vec<(Vec<f64>, Vec<u32>, u64)> = tuples
                .into_iter()
                .map(|(codes, rows)| (present.iter().map(|at| size(*at, &codes)).collect(), codes, rows))
                .collect();
            tuples.sort_by(|a, b| {
                let each = a.0.iter().zip(&b.0).map(|(a, b)| a.total_cmp(b));
                each.fold(std::cmp::Ordering::Equal, std::cmp::Ordering::then).then_with(|| a.1.cmp(&b.1))
            });
            let weights: Vec<u64> = tuples.iter().map(|(_, _, rows)| *rows).collect();
            let none = present.is_empty() || weights.iter().sum::<u64>() < k;
            if none {
                becomes.extend(tuples.into_iter().map(|(_, codes, _)| (codes, vec![None; columns.len()])));
                continue;
            }
            let points: Vec<Vec<f64>> = tuples.iter().map(|(point, _, _)| point.clone()).collect();
            let of_tuple = if present.len() == 1 {
                let values: Vec<f64> = points.iter().map(|point| point[0]).collect();
                optimal(&values, &weights, k)
            } else {
                mdav(&points, &weights, k)
            };
            let mut members: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
            of_tuple.iter().enumerate().for_each(|(tuple, group)| members.entry(*group).or_default().push(tuple));
            for members in members.into_values() {
                groups += 1;
                let mut values = vec![None; columns.len()];
                for at in &present {
                    let mut texts: Vec<(&str, u64)> =
                        members.iter().map(|tuple| (text(*at, &tuples[*tuple].1), tuples[*tuple].2)).collect();
                    values[*at] = self.value.of(&mut texts, decimals[*at]);
                }
                members.iter().for_each(|tuple| drop(becomes.insert(tuples[*tuple].1.clone(), values.clone())));
            }
        }
        let mut is_in = vec![false; all_rows];
        rows.iter().for_each(|row| is_in[*row] = true);
        let mut coders: Vec<Coder> = columns.iter().map(|column| Coder::new(&column.name)).collect();
        for (row, is_in) in is_in.into_iter().enumerate() {
            let codes: Vec<u32> = columns.iter().map(|column| column.codes[row]).collect();
            let new = becomes.get(&codes).filter(|_| is_in);
            for (at, (coder, column)) in coders.iter_mut().zip(columns).enumerate() {
                match new {
                    Some(values) => coder.push(values[at].as_deref()),
                    None => coder.push(column.value(row)),
                }
            }
        }
        Ok((coders.into_iter().map(Coder::finish).collect(), groups))
    }
}

/// Groups of ascending values of at least k rows whose squared distances from their means add up to as little as can be.
/// There must be at least k rows.
pub(crate) fn optimal(values: &[f64], weights: &[u64], k: u64) -> Vec<u32> {
    let size = values.len();
    // Sums from the start, about the middle so that squares do not drown.
    let middle = values.get(size / 2).copied().unwrap_or(0.0);
    let (mut rows, mut sums, mut squares) = (vec![0_u64], vec![0.0], vec![0.0]);
    for (value, weight) in values.iter().zip(weights) {
        let (value, last) = (value - middle, rows.len() - 1);
        rows.push(rows[last] + weight);
        sums.push(sums[last] + value * real(*weight));
        squares.push(squares[last] + value * value * real(*weight));
    }
    let cost = |from: usize, to: usize| {
        let (sum, square) = (sums[to] - sums[from], squares[to] - squares[from]);
        (square - sum * sum / real(rows[to] - rows[from])).max(0.0)
    };
    let mut best = vec![f64::INFINITY; size + 1];
    let mut start = vec![0; size + 1];
    best[0] = 0.0;
    for to in 1..=size {
        // The shortest last group ends the search for longer ones: a group that can be cut in two need not be looked at.
        let mut shortest = None;
        for from in (0..to).rev() {
            if rows[to] - rows[from] < k {
                continue;
            }
            let shortest = *shortest.get_or_insert(from);
            let total = best[from] + cost(from, to);
            if total < best[to] {
                (best[to], start[to]) = (total, from);
            }
            if rows[shortest] - rows[from] >= k {
                break;
            }
        }
    }
    let mut of_value = vec![0; size];
    let (mut to, mut group) = (size, 0);
    while to > 0 {
        let from = if best[to].is_finite() { start[to] } else { 0 };
        of_value[from..to].fill(group);
        (to, group) = (from, group + 1);
    }
    of_value
}

/// Groups of points by MDAV. There must be at least k rows.
pub(crate) fn mdav(points: &[Vec<f64>], weights: &[u64], k: u64) -> Vec<u32> {
    let dimensions = points.first().map_or(0, Vec::len);
    let rows: f64 = weights.iter().copied().map(real).sum();
    let mut scaled: Vec<Vec<f64>> = points.to_vec();
    for at in 0..dimensions {
        let sum: f64 = points.iter().zip(weights).map(|(point, weight)| point[at] * real(*weight)).sum();
        let mean = sum / rows;
        let square: f64 =
            points.iter().zip(weights).map(|(point, weight)| (point[at] - mean).powi(2) * real(*weight)).sum();
        let deviation = (square / rows).sqrt();
        let scale = if deviation > 0.0 { deviation.recip() } else { 0.0 };
        scaled.iter_mut().for_each(|point| point[at] = (point[at] - mean) * scale);
    }
    let mut blocks = Vec::new();
    cut(&scaled, weights, (0..points.len()).collect(), k, &mut blocks);
    let mut of_point = vec![0; points.len()];
    let mut group = 0;
    for block in blocks {
        group = mdav_block(&scaled, weights, block, k, group, &mut of_point);
    }
    of_point
}

/// Cuts points at the median of their widest column until no block is too large.
fn cut(points: &[Vec<f64>], weights: &[u64], mut block: Vec<usize>, k: u64, blocks: &mut Vec<Vec<usize>>) {
    let rows: u64 = block.iter().map(|at| weights[*at]).sum();
    if block.len() > BLOCK && rows >= 4 * k {
        let width = |column: usize| {
            let ends = block.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), at| {
                (low.min(points[*at][column]), high.max(points[*at][column]))
            });
            ends.1 - ends.0
        };
        let widths: Vec<f64> = (0..points[block[0]].len()).map(width).collect();
        let widest = (0..widths.len()).fold(0, |best, at| if widths[at] > widths[best] { at } else { best });
        block.sort_by(|a, b| points[*a][widest].total_cmp(&points[*b][widest]).then_with(|| a.cmp(b)));
        let mut below = 0;
        let middle = block.iter().position(|at| {
            below += weights[*at];
            2 * below >= rows
        });
        let at = middle.map_or(0, |at| at + 1);
        if below >= 2 * k && rows - below >= 2 * k {
            let above = block.split_off(at);
            cut(points, weights, block, k, blocks);
            cut(points, weights, above, k, blocks);
            return;
        }
    }
    block.sort_unstable();
    blocks.push(block);
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}

fn mdav_block(
    points: &[Vec<f64>],
    weights: &[u64],
    mut left: Vec<usize>,
    k: u64,
    first: u32,
    of_point: &mut [u32],
) -> u32 {
    let mut rows: u64 = left.iter().map(|at| weights[*at]).sum();
    let (block, mut group) = (left.clone(), first);
    let centre = |members: &[usize]| {
        let mut sum = vec![0.0; points.first().map_or(0, Vec::len)];
        let mut rows = 0.0;
        for at in members {
            let weight = real(weights[*at]);
            rows += weight;
            sum.iter_mut().zip(&points[*at]).for_each(|(sum, value)| *sum += value * weight);
        }
        sum.iter_mut().for_each(|sum| *sum /= rows);
        sum
    };
    // Of several equally far, the first.
    let farthest = |left: &[usize], from: &[f64]| {
        left.iter().fold((f64::NEG_INFINITY, 0), |best, at| {
            let far = distance(&points[*at], from);
            if far > best.0 { (far, *at) } else { best }
        })
    };
    // Takes the nearest points until they are k rows.
    let take = |left: &mut Vec<usize>, around: usize, group: u32, of_point: &mut [u32]| {
        let mut near: Vec<(f64, usize)> =
            left.iter().map(|at| (distance(&points[*at], &points[around]), *at)).collect();
        let order = |a: &(f64, usize), b: &(f64, usize)| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(&b.1));
        let most = usize::try_from(k).unwrap_or(usize::MAX).min(near.len());
        if most < near.len() {
            near.select_nth_unstable_by(most, order);
            near.truncate(most);
        }
        near.sort_unstable_by(order);
        let mut taken = 0;
        let enough = near.iter().take_while(|(_, at)| {
            let more = taken < k;
            taken += if more { weights[*at] } else { 0 };
            more
        });
        let mut members: Vec<usize> = enough.map(|(_, at)| *at).collect();
        members.sort_unstable();
        members.iter().for_each(|at| of_point[*at] = group);
        left.retain(|at| members.binary_search(at).is_err());
        taken
    };
    while rows >= 3 * k {
        let (_, far) = farthest(&left, &centre(&left));
        rows -= take(&mut left, far, group, of_point);
        group += 1;
        if rows < k {
            break;
        }
        let (_, opposite) = farthest(&left, &points[far]);
        rows -= take(&mut left, opposite, group, of_point);
        group += 1;
    }
    if rows >= 2 * k {
        let (_, far) = farthest(&left, &centre(&left));
        rows -= take(&mut left, far, group, of_point);
        group += 1;
    }
    if rows >= k {
        left.iter().for_each(|at| of_point[*at] = group);
        return group + 1;
    }
    if !left.is_empty() && group > first {
        // Many equal rows made a group larger, and too few are left for one: each goes where it is nearest.
        let mut members: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        let grouped = block.iter().filter(|at| left.binary_search(at).is_err());
        grouped.for_each(|at| members.entry(of_point[*at]).or_default().push(*at));
        let centres: Vec<(u32, Vec<f64>)> = members.iter().map(|(group, members)| (*group, centre(members))).collect();
        for at in &left {
            let nearest = centres.iter().fold((f64::INFINITY, first), |best, (group, centre)| {
                let far = distance(&points[*at], centre);
                if far < best.0 { (far, *group) } else { best }
            });
            of_point[*at] = nearest.1;
        }
    }
    group
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Squared distances from the means of groups.
    fn spread(points: &[Vec<f64>], weights: &[u64], groups: &[u32]) -> f64 {
        let mut members: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        groups.iter().enumerate().for_each(|(at, group)| members.entry(*group).or_default().push(at));
        let of = |members: &Vec<usize>| {
            let rows: f64 = members.iter().map(|at| weights[*at] as f64).sum();
            let each = |column: usize| {
                let mean = members.iter().map(|at| points[*at][column] * weights[*at] as f64).sum::<f64>() / rows;
                members.iter().map(|at| weights[*at] as f64 * (points[*at][column] - mean).powi(2)).sum::<f64>()
            };
            (0..points[0].len()).map(each).sum::<f64>()
        };
        members.values().map(of).sum()
    }

    fn smallest(weights: &[u64], groups: &[u32]) -> u64 {
        let mut rows: BTreeMap<u32, u64> = BTreeMap::new();
        groups.iter().zip(weights).for_each(|(group, weight)| *rows.entry(*group).or_default() += weight);
        rows.values().copied().min().unwrap_or(0)
    }

    /// All ways to cut ascending values into groups of at least k.
    fn least(values: &[f64], weights: &[u64], k: u64) -> f64 {
        let cuts = values.len().saturating_sub(1);
        (0..1_u32 << cuts)
            .filter_map(|cut| {
                let mut group = 0;
                let groups: Vec<u32> = (0..values.len())
                    .map(|at| {
                        group += u32::from(at > 0 && cut >> (at - 1) & 1 == 1);
                        group
                    })
                    .collect();
                let points: Vec<Vec<f64>> = values.iter().map(|value| vec![*value]).collect();
                (smallest(weights, &groups) >= k).then(|| spread(&points, weights, &groups))
            })
            .fold(f64::INFINITY, f64::min)
    }

    /// MDAV step by step as the paper writes it, for rows that all differ.
    fn mdav_by_hand(points: &[Vec<f64>], k: usize) -> Vec<Vec<usize>> {
        let mut left: Vec<usize> = (0..points.len()).collect();
        let mut groups = Vec::new();
        let centre = |left: &[usize]| -> Vec<f64> {
            (0..points[0].len())
                .map(|column| left.iter().map(|at| points[*at][column]).sum::<f64>() / left.len() as f64)
                .collect()
        };
        let farthest = |left: &[usize], from: &[f64]| {
            *left
                .iter()
                .rev()
                .max_by(|a, b| distance(&points[**a], from).total_cmp(&distance(&points[**b], from)))
                .unwrap()
        };
        let take = |left: &mut Vec<usize>, around: usize| {
            let mut near = left.clone();
            near.sort_by(|a, b| {
                distance(&points[*a], &points[around]).total_cmp(&distance(&points[*b], &points[around])).then(a.cmp(b))
            });
            near.truncate(k);
            left.retain(|at| !near.contains(at));
            near.sort_unstable();
            near
        };
        while left.len() >= 3 * k {
            let r = farthest(&left, &centre(&left));
            groups.push(take(&mut left, r));
            let s = farthest(&left, &points[r]);
            groups.push(take(&mut left, s));
        }
        if left.len() >= 2 * k {
            let r = farthest(&left, &centre(&left));
            groups.push(take(&mut left, r));
        }
        groups.push(left);
        groups.sort();
        groups
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn groups_of_one_column_are_the_best_there_are(
            values in proptest::collection::btree_map(0..40_i32, 1..4_u64, 1..11), k in 1..6_u64,
        ) {
            let (values, weights): (Vec<f64>, Vec<u64>) =
                values.into_iter().map(|(value, weight)| (f64::from(value), weight)).unzip();
            prop_assume!(weights.iter().sum::<u64>() >= k);
            let groups = optimal(&values, &weights, k);
            let points: Vec<Vec<f64>> = values.iter().map(|value| vec![*value]).collect();
            prop_assert!(smallest(&weights, &groups) >= k);
            let (found, least) = (spread(&points, &weights, &groups), least(&values, &weights, k));
            prop_assert!((found - least).abs() < 1e-9, "{found} {least}");
        }

        #[test]
        fn every_group_has_k_rows(
            rows in proptest::collection::btree_map((0..9_i32, 0..9_i32), 1..6_u64, 1..40), k in 1..8_u64,
        ) {
            let (points, weights): (Vec<Vec<f64>>, Vec<u64>) =
                rows.into_iter().map(|((a, b), rows)| (vec![f64::from(a), f64::from(b)], rows)).unzip();
            prop_assume!(weights.iter().sum::<u64>() >= k);
            prop_assert!(smallest(&weights, &mdav(&points, &weights, k)) >= k);
        }
    }

    #[test]
    fn mdav_takes_the_steps_of_the_paper() {
        let mut state = 7_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as f64 / f64::from(1_u32 << 31)
        };
        for (count, k) in [(3, 3), (5, 3), (7, 3), (20, 3), (61, 5), (100, 10)] {
            let mut points: Vec<Vec<f64>> = (0..count).map(|_| vec![next(), next(), next()]).collect();
            // Scaled beforehand, so that both see the same distances.
            for at in 0..3 {
                let mean = points.iter().map(|point| point[at]).sum::<f64>() / count as f64;
                let square = points.iter().map(|point| (point[at] - mean).powi(2)).sum::<f64>() / count as f64;
                points.iter_mut().for_each(|point| point[at] = (point[at] - mean) / square.sqrt());
            }
            let mut groups: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
            let found = mdav(&points, &vec![1; count], k as u64);
            found.iter().enumerate().for_each(|(at, group)| groups.entry(*group).or_default().push(at));
            let mut groups: Vec<Vec<usize>> = groups.into_values().collect();
            groups.sort();
            assert_eq!(groups, mdav_by_hand(&points, k), "{count} points, k = {k}");
        }
    }

    #[test]
    fn many_rows_are_cut_into_blocks() {
        let count = BLOCK * 2 + 7;
        let points: Vec<Vec<f64>> =
            (0..count).map(|at| vec![(at * 7_919 % count) as f64, (at * 104_729 % count) as f64]).collect();
        let weights = vec![1; count];
        let groups = mdav(&points, &weights, 400);
        assert!(smallest(&weights, &groups) >= 400);
        let whole = spread(&points, &weights, &vec![0; count]);
        assert!(spread(&points, &weights, &groups) < 0.05 * whole);
    }
}
