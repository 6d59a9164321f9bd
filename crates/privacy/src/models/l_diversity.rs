//! l-diversity: every class holds sensitive values of l kinds, so that knowing the class does not tell the value
//! (Machanavajjhala et al., "l-diversity: privacy beyond k-anonymity", TKDD 1(1), 2007).

use super::Value;
use crate::real;

/// Number of different values.
pub(crate) fn distinct(values: &[(Value, u64)]) -> u64 {
    values.len() as u64
}

/// Entropy of the values, in nats.
pub(crate) fn entropy(values: &[(Value, u64)]) -> f64 {
    let rows = real(values.iter().map(|(_, count)| count).sum());
    values.iter().map(|(_, count)| real(*count) / rows).map(|share| -share * share.ln()).sum()
}

/// Entropy l-diversity (definition 4.1): entropy of at least ln l.
pub(crate) fn entropy_holds(values: &[(Value, u64)], l: f64) -> bool {
    entropy(values) >= l.ln()
}

/// The c from which on recursive (c,l)-diversity holds: r1 / (r_l + … + r_m), with the counts r in descending order.
/// Infinite when there are fewer than l values.
pub(crate) fn recursive(values: &[(Value, u64)], l: u64) -> f64 {
    let mut counts: Vec<u64> = values.iter().map(|(_, count)| *count).collect();
    counts.sort_unstable_by(|a, b| b.cmp(a));
    let from = usize::try_from(l.max(1) - 1).unwrap_or(usize::MAX);
    let tail: u64 = counts.get(from..).unwrap_or(&[]).iter().sum();
    let most = counts.first().copied().unwrap_or(0);
    if tail == 0 { f64::INFINITY } else { real(most) / real(tail) }
}

/// Recursive (c,l)-diversity (definition 4.3): r1 < c (r_l + … + r_m).
pub(crate) fn recursive_holds(values: &[(Value, u64)], c: f64, l: u64) -> bool {
    recursive(values, l) < c
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_a_hand_count() {
        let even = [(0, 4), (1, 4)];
        let skewed = [(0, 7), (1, 1)];
        assert!((entropy(&even).exp() - 2.0).abs() < 1e-12);
        // H = -(7/8 ln 7/8 + 1/8 ln 1/8) = 0.376770…; exp(H) = 1.457570…
        assert!((entropy(&skewed).exp() - 1.457_570_0).abs() < 1e-6);
        assert_eq!((distinct(&even), distinct(&[(0, 3)])), (2, 1));
        assert_eq!(recursive(&skewed, 2), 7.0);
        assert_eq!(recursive(&[(0, 5), (1, 3), (2, 2)], 2), 1.0);
        assert_eq!(recursive(&even, 3), f64::INFINITY);
        assert!(recursive_holds(&skewed, 7.1, 2) && !recursive_holds(&skewed, 7.0, 2));
    }
}
