//! Confidence interval of a success rate.

use serde::{Deserialize, Serialize};

use crate::real;

/// Bounds of a rate, 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Lower bound.
    pub lower: f64,
    /// Upper bound.
    pub upper: f64,
}

/// Exact two-sided interval of the rate behind `successes` in `attempts` independent attempts: it covers the true rate
/// with at least `confidence` (0 to 1), however few attempts there are. Without attempts it is 0 to 1. More successes than
/// attempts count as all.
///
/// Clopper and Pearson, "The use of confidence or fiducial limits illustrated in the case of the binomial", Biometrika
/// 26(4), 1934.
///
/// ```
/// let interval = acequia_privacy::clopper_pearson(5, 10, 0.95);
/// assert!((interval.lower - 0.1870860).abs() < 1e-6 && (interval.upper - 0.8129140).abs() < 1e-6);
/// ```
pub fn clopper_pearson(successes: u64, attempts: u64, confidence: f64) -> Interval {
    if attempts == 0 {
        return Interval { lower: 0.0, upper: 1.0 };
    }
    let successes = successes.min(attempts);
    let tail = (1.0 - confidence.clamp(0.0, 1.0)) / 2.0;
    let (x, n) = (real(successes), real(attempts));
    let lower = if successes == 0 { 0.0 } else { beta_quantile(tail, x, n - x + 1.0) };
    let upper = if successes == attempts { 1.0 } else { beta_quantile(1.0 - tail, x + 1.0, n - x) };
    Interval { lower, upper }
}

/// The x with I_x(a, b) = p, by halving.
fn beta_quantile(p: f64, a: f64, b: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    // 60 halvings leave less than the spacing of doubles below 1.
    for _ in 0..60 {
        let middle = f64::midpoint(low, high);
        if regularised_beta(middle, a, b) < p { low = middle } else { high = middle }
    }
    f64::midpoint(low, high)
}

/// Regularised incomplete beta function I_x(a, b), by its continued fraction (DLMF 8.17.22), evaluated by Lentz's method.
fn regularised_beta(x: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return x.clamp(0.0, 1.0);
    }
    // The fraction converges fast only below the mean; above it, the symmetric one is used (DLMF 8.17.4).
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - regularised_beta(1.0 - x, b, a);
    }
    let log_front = libm::lgamma(a + b) - libm::lgamma(a) - libm::lgamma(b) + a * x.ln() + b * (-x).ln_1p();
    const TINY: f64 = 1e-300;
    let nonzero = |value: f64| if value.abs() < TINY { TINY } else { value };
    let (mut c, mut d) = (1.0, 1.0 / nonzero(1.0 - (a + b) * x / (a + 1.0)));
    let mut fraction = d;
    for m in 1..10_000 {
        let m = f64::from(m);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let mut step = 1.0;
        for term in [even, odd] {
            d = 1.0 / nonzero(1.0 + term * d);
            c = nonzero(1.0 + term / c);
            step = c * d;
            fraction *= step;
        }
        if (step - 1.0).abs() < 1e-14 {
            break;
        }
    }
    (log_front.exp() * fraction / a).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// R 4: `binom.test(1, 10)$conf.int`, and the closed form for no success.
    #[test]
    fn known_intervals() {
        let one = clopper_pearson(1, 10, 0.95);
        assert!((one.lower - 0.002_528_579).abs() < 1e-8 && (one.upper - 0.445_016_117).abs() < 1e-8, "{one:?}");
        let none = clopper_pearson(0, 2_000, 0.95);
        assert!((none.upper - (1.0 - 0.025_f64.powf(1.0 / 2_000.0))).abs() < 1e-10);
        assert_eq!((none.lower, clopper_pearson(7, 7, 0.95).upper), (0.0, 1.0));
        assert_eq!(clopper_pearson(0, 0, 0.95), Interval { lower: 0.0, upper: 1.0 });
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        /// The bounds are where the binomial tails hold the allowed error: summed one by one.
        #[test]
        fn tails_hold_the_allowed_error(n in 1..200_u64, share in 0.0..1.0_f64) {
            let x = (share * n as f64) as u64;
            let interval = clopper_pearson(x, n, 0.9);
            let log_choose = |k: u64| libm::lgamma(n as f64 + 1.0) - libm::lgamma(k as f64 + 1.0) - libm::lgamma((n - k) as f64 + 1.0);
            let mass = |k: u64, p: f64| (log_choose(k) + k as f64 * p.ln() + (n - k) as f64 * (1.0 - p).ln()).exp();
            if x > 0 {
                let above: f64 = (x..=n).map(|k| mass(k, interval.lower)).sum();
                prop_assert!((above - 0.05).abs() < 1e-6, "{above}");
            }
            if x < n {
                let below: f64 = (0..=x).map(|k| mass(k, interval.upper)).sum();
                prop_assert!((below - 0.05).abs() < 1e-6, "{below}");
            }
        }

        #[test]
        fn many_attempts_stay_stable(n in 1_000..5_000_000_u64, share in 0.0..1.0_f64) {
            let x = (share * n as f64) as u64;
            let interval = clopper_pearson(x, n, 0.95);
            let rate = x as f64 / n as f64;
            prop_assert!(interval.lower <= rate && rate <= interval.upper);
            let wide = 3.0 * (rate * (1.0 - rate) / n as f64).sqrt() + 6.0 / n as f64;
            prop_assert!(interval.upper - rate <= wide && rate - interval.lower <= wide);
        }
    }
}
