//! Utility: how much of a table generalisation and suppression leave.

use serde::{Deserialize, Serialize};

use crate::real;

/// What the search makes as small as it can be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    /// Loss: see [`loss`]. 0 nothing lost to 1 everything.
    #[default]
    Loss,
    /// Non-uniform entropy in bits, summed over rows and quasi-identifiers (Gionis and Tassa, "k-anonymization with
    /// minimal loss of information", TKDE 21(2), 2009): see [`entropy_bits`].
    Entropy,
    /// Discernibility: sum of squared class sizes; a suppressed row costs the size of the table (Bayardo and Agrawal,
    /// "Data privacy through optimal k-anonymization", ICDE 2005).
    Discernibility,
    /// Average size of an equivalence class (LeFevre et al., "Mondrian multidimensional k-anonymity", ICDE 2006). All
    /// suppressed rows are one class.
    ClassSize,
    /// [`Metric::Loss`] by generalisation alone: a suppressed row counts as if it were only generalised.
    GeneralisationLoss,
    /// [`Metric::Entropy`] by generalisation alone.
    GeneralisationEntropy,
}

impl Metric {
    /// Metrics that count suppressed rows.
    pub const ALL: [Self; 4] = [Self::Loss, Self::Entropy, Self::Discernibility, Self::ClassSize];

    /// The word used in policies.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Loss => "loss",
            Self::Entropy => "entropy",
            Self::Discernibility => "discernibility",
            Self::ClassSize => "class-size",
            Self::GeneralisationLoss => "generalisation-loss",
            Self::GeneralisationEntropy => "generalisation-entropy",
        }
    }
}

/// Share of one generalised value that stands for `covered` of `leaves` exact values, brought to 0 exact, 1 nothing left
/// (Iyengar, "Transforming data to satisfy privacy constraints", KDD 2002).
pub fn value_loss(covered: u64, leaves: u64) -> f64 {
    if leaves <= 1 { 0.0 } else { real(covered.saturating_sub(1).min(leaves - 1)) / real(leaves - 1) }
}

/// Loss of one quasi-identifier over a table, 0 to 1. `covered_sum`: the sum over all rows of the number of leaves that
/// the row's value stands for; a suppressed row stands for all `leaves`.
///
/// The mean share of leaves is at least 1/leaves, so it is scaled to begin at 0. 1 − this is the granularity.
pub fn normalised_loss(covered_sum: u128, rows: u64, leaves: u64) -> f64 {
    if leaves <= 1 || rows == 0 {
        return 0.0;
    }
    #[expect(clippy::cast_precision_loss, reason = "the quotient is wanted to 53 bits")]
    let mean = covered_sum as f64 / (real(rows) * real(leaves));
    let least = 1.0 / real(leaves);
    ((mean - least) / (1.0 - least)).clamp(0.0, 1.0)
}

/// Loss of a table: the weighted geometric mean of 1 + [`normalised_loss`] over its quasi-identifiers, less 1. Pairs of
/// weight and loss.
pub fn loss(columns: impl IntoIterator<Item = (f64, f64)>) -> f64 {
    let (mut logs, mut weights) = (0.0, 0.0);
    for (weight, loss) in columns {
        logs += weight * loss.ln_1p();
        weights += weight;
    }
    if weights > 0.0 { (logs / weights).exp_m1() } else { 0.0 }
}

/// Entropy in bits that is lost when `part` rows out of `whole` can no longer be told from the rest: part × log2(whole / part).
pub fn entropy_bits(part: u64, whole: u64) -> f64 {
    if part == 0 { 0.0 } else { real(part) * (real(whole) / real(part)).log2() }
}

/// Ambiguity of a table, 0 to 1: the mean number of exact rows that a generalised row could have come from, which is the
/// product of the leaves its values stand for (Goldberger and Tassa, "Efficient anonymizations with enhanced utility",
/// Transactions on Data Privacy 3(2), 2010), brought to 0 for exact rows and 1 where nothing is left.
///
/// `rows`: leaves that the values of a row stand for, and how many rows there are like it; `leaves`: of each hierarchy.
pub fn ambiguity<'a>(rows: impl IntoIterator<Item = (&'a [u64], u64)>, leaves: &[u64]) -> f64 {
    // Products of many leaves are beyond whole numbers; shares of the largest are not.
    let most: f64 = leaves.iter().map(|leaves| real(*leaves)).product();
    let (mut sum, mut count) = (0.0, 0);
    for (covered, rows) in rows {
        let share: f64 = covered.iter().zip(leaves).map(|(covered, leaves)| real(*covered) / real(*leaves)).product();
        sum += real(rows) * share;
        count += rows;
    }
    if count == 0 || most <= 1.0 {
        return 0.0;
    }
    let least = 1.0 / most;
    ((sum / real(count) - least) / (1.0 - least)).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_values_lose_nothing_and_suppressed_ones_everything() {
        assert_eq!(normalised_loss(10, 10, 4), 0.0);
        assert_eq!(normalised_loss(40, 10, 4), 1.0);
        assert_eq!(normalised_loss(10, 10, 1), 0.0);
        assert!((loss([(1.0, 0.0), (1.0, 1.0)]) - (2.0_f64.sqrt() - 1.0)).abs() < 1e-15);
        assert_eq!(loss([]), 0.0);
    }

    #[test]
    fn ambiguity_counts_the_rows_that_could_have_been() {
        assert_eq!(ambiguity([([1, 1].as_slice(), 5)], &[4, 5]), 0.0);
        assert_eq!(ambiguity([([4, 5].as_slice(), 5)], &[4, 5]), 1.0);
        // Two of three rows are exact, one could be any of ten: (12 / 3 − 1) / 19.
        let found = ambiguity([([1, 1].as_slice(), 2), ([2, 5].as_slice(), 1)], &[4, 5]);
        assert!((found - 3.0 / 19.0).abs() < 1e-15);
        assert_eq!(ambiguity([], &[]), 0.0);
    }

    #[test]
    fn halving_costs_one_bit_a_row() {
        assert_eq!(entropy_bits(5, 10), 5.0);
        assert_eq!((entropy_bits(0, 10), entropy_bits(10, 10)), (0.0, 0.0));
    }
}
