//! Measures of how a data set represents a population, over cells with counts and reference shares. Mathematics only.
//!
//! n = people of a cell, N = Σ n, p = n / N, q = the cell's share of the reference population.
//!
//! | measure | formula | source |
//! |---|---|---|
//! | total variation distance | ½ Σ \|p − q\| | share of people that would have to be others |
//! | population stability index | Σ (p − q) ln (p / q) | symmetrised Kullback–Leibler divergence (Jeffreys 1946) |
//! | Kullback–Leibler divergence | Σ p ln (p / q) | Kullback & Leibler 1951 |
//! | Hill number of order 1 | exp (−Σ p ln p) | Hill, Ecology 54(2), 1973 |
//! | Hill number of order 2 | 1 / Σ p² | inverse Simpson index |
//! | design effect of post-stratification | N Σ n w² / (Σ n w)², w = q / p | Kish, Survey Sampling, 1965 |
//! | effective size | N / design effect | the same |

/// People and reference share of one cell.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Pair {
    pub(crate) count: u64,
    /// Shares are scaled to sum to 1.
    pub(crate) reference: f64,
}

/// Counts and reference as shares; `None` without people or reference.
fn shares(pairs: &[Pair]) -> Option<Vec<(f64, f64)>> {
    let people: u64 = pairs.iter().map(|pair| pair.count).sum();
    let reference: f64 = pairs.iter().map(|pair| pair.reference).sum();
    (people > 0 && reference > 0.0)
        .then(|| pairs.iter().map(|pair| (pair.count as f64 / people as f64, pair.reference / reference)).collect())
}

/// Half the sum of differences of shares.
pub(crate) fn total_variation(pairs: &[Pair]) -> Option<f64> {
    Some(shares(pairs)?.iter().map(|(p, q)| (p - q).abs()).sum::<f64>() / 2.0)
}

/// `None` when a cell is empty on one side: the index would be infinite.
pub(crate) fn stability_index(pairs: &[Pair]) -> Option<f64> {
    let shares = shares(pairs)?;
    let terms = shares.iter().filter(|(p, q)| *p > 0.0 || *q > 0.0);
    terms.map(|(p, q)| (*p > 0.0 && *q > 0.0).then(|| (p - q) * (p / q).ln())).sum()
}

/// `None` when the reference lacks a cell that people are in.
pub(crate) fn kullback_leibler(pairs: &[Pair]) -> Option<f64> {
    let shares = shares(pairs)?;
    shares.iter().filter(|(p, _)| *p > 0.0).map(|(p, q)| (*q > 0.0).then(|| p * (p / q).ln())).sum()
}

/// Effective number of cells: of order 1 by entropy, of order 2 by Simpson's index.
pub(crate) fn hill_numbers(counts: &[u64]) -> Option<(f64, f64)> {
    let people: u64 = counts.iter().sum();
    let parts = || counts.iter().filter(|n| **n > 0).map(|n| *n as f64 / people as f64);
    (people > 0).then(|| ((-parts().map(|p| p * p.ln()).sum::<f64>()).exp(), 1.0 / parts().map(|p| p * p).sum::<f64>()))
}

/// Design effect of weighting the people to the reference, and the number of people it leaves. Cells without people
/// cannot be weighted; they are left out of the reference.
pub(crate) fn post_stratification(pairs: &[Pair]) -> Option<(f64, f64)> {
    let people: u64 = pairs.iter().map(|pair| pair.count).sum();
    let (mut sum, mut squares) = (0.0, 0.0);
    for pair in pairs.iter().filter(|pair| pair.count > 0) {
        let weight = pair.reference / pair.count as f64;
        sum += pair.count as f64 * weight;
        squares += pair.count as f64 * weight * weight;
    }
    let effect = people as f64 * squares / (sum * sum);
    (effect.is_finite() && effect > 0.0).then(|| (effect, people as f64 / effect))
}

/// People of one cell that would have to join for its share to reach `ratio` of the reference share, everybody else
/// staying; `None` when it has reached it, or never can.
pub(crate) fn people_needed(count: u64, people: u64, reference: f64, ratio: f64) -> Option<u64> {
    let wanted = ratio * reference;
    if !(wanted > 0.0 && wanted < 1.0) {
        return None;
    }
    let needed = ((wanted * people as f64 - count as f64) / (1.0 - wanted)).ceil();
    (needed >= 1.0).then_some(needed as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pairs(cells: &[(u64, f64)]) -> Vec<Pair> {
        cells.iter().map(|(count, reference)| Pair { count: *count, reference: *reference }).collect()
    }

    fn near(found: Option<f64>, expected: f64) {
        let found = found.unwrap();
        assert!((found - expected).abs() < 1e-9, "{found} {expected}");
    }

    #[test]
    fn measures_agree_with_hand_calculation() {
        let cells = pairs(&[(10, 0.5), (30, 0.5)]);
        near(total_variation(&cells), 0.25);
        near(kullback_leibler(&cells), 0.25 * 0.5_f64.ln() + 0.75 * 1.5_f64.ln());
        near(stability_index(&cells), -0.25 * 0.5_f64.ln() + 0.25 * 1.5_f64.ln());
        let (first, second) = hill_numbers(&[10, 30]).unwrap();
        near(Some(second), 1.6);
        near(Some(first), (-(0.25 * 0.25_f64.ln() + 0.75 * 0.75_f64.ln())).exp());
        // Weights 2 and 2/3: N Σ n w² / (Σ n w)² = 40 (10·4 + 30·4/9) / 40² = 4/3.
        let (effect, size) = post_stratification(&cells).unwrap();
        near(Some(effect), 4.0 / 3.0);
        near(Some(size), 30.0);
        // 0.4 of 40 + x people: 10 + x >= 0.4 (40 + x), x = 10.
        assert_eq!(people_needed(10, 40, 0.5, 0.8), Some(10));
        assert_eq!(people_needed(30, 40, 0.5, 0.8), None);
        assert_eq!(people_needed(0, 0, 0.5, 0.8), None);
    }

    #[test]
    fn what_is_infinite_or_unknown_is_not_given() {
        let cells = pairs(&[(0, 0.5), (30, 0.5)]);
        assert_eq!(stability_index(&cells), None);
        near(kullback_leibler(&cells), 2.0_f64.ln());
        assert_eq!(kullback_leibler(&pairs(&[(1, 0.0), (30, 0.5)])), None);
        for measure in [total_variation, stability_index, kullback_leibler] {
            assert_eq!(measure(&[]), None);
            assert_eq!(measure(&pairs(&[(0, 0.5)])), None);
            assert_eq!(measure(&pairs(&[(5, 0.0)])), None);
        }
        assert_eq!(hill_numbers(&[0, 0]), None);
        assert_eq!(post_stratification(&pairs(&[(0, 1.0)])), None);
    }

    proptest! {
        #[test]
        fn measures_keep_their_ranges(cells in prop::collection::vec((0_u64..1000, 0.01..1.0_f64), 1..12)) {
            let cells = pairs(&cells);
            let people: u64 = cells.iter().map(|cell| cell.count).sum();
            if let Some(distance) = total_variation(&cells) {
                prop_assert!((0.0..=1.0).contains(&distance));
                prop_assert!(kullback_leibler(&cells).unwrap() > -1e-9);
                prop_assert!(stability_index(&cells).is_none_or(|index| index > -1e-9));
                let (first, second) = hill_numbers(&cells.iter().map(|cell| cell.count).collect::<Vec<_>>()).unwrap();
                prop_assert!(second <= first + 1e-9 && first <= cells.len() as f64 + 1e-9 && second >= 1.0 - 1e-9);
                let (effect, size) = post_stratification(&cells).unwrap();
                prop_assert!(effect >= 1.0 - 1e-9 && size <= people as f64 + 1e-6);
            }
            let reference: f64 = cells.iter().map(|cell| cell.reference).sum();
            for cell in &cells {
                let share = cell.reference / reference;
                if let Some(more) = people_needed(cell.count, people, share, 0.8) {
                    let reached = |x: u64| (cell.count + x) as f64 / (people + x) as f64 >= 0.8 * share - 1e-9;
                    prop_assert!(reached(more) && !reached(more.saturating_sub(1)) || more == 1);
                }
            }
        }
    }
}
