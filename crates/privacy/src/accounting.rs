//! What noisy steps tell about one row, added up over a run: Rényi differential privacy of the Gaussian mechanism on rows that
//! are drawn one by one (Mironov, Talwar and Zhang 2019, arXiv 1908.10530), as epsilon for a delta (Canonne, Kamath and Steinke
//! 2020, proposition 12).

use std::f64::consts::{LN_2, PI, SQRT_2};

use serde::{Deserialize, Serialize};

/// Terms of the series, at most; an order that has not settled by then is left out, which errs to the safe side.
const TERMS: u32 = 1000;
/// Logarithm of the share of a term in the sum that counts no more.
const NEGLIGIBLE: f64 = -30.0;

/// Orders that are looked at: the best of them gives the bound.
fn orders() -> impl Iterator<Item = f64> {
    let fine = (11..110).map(|tenths| f64::from(tenths) / 10.0);
    fine.chain((11..64).map(f64::from)).chain([128.0, 256.0, 512.0, 1024.0])
}

/// Steps that each add Gaussian noise to a sum over rows that are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoisySteps {
    /// Standard deviation of the noise, in largest contributions of a row.
    pub multiplier: f64,
    /// Probability with which a row is drawn.
    pub sample: f64,
    /// How many.
    pub steps: u32,
}

/// Epsilon, for a delta, of all these steps together. Neighbours differ by one row. Infinite where no bound is known.
///
/// ```
/// use acequia_privacy::{NoisySteps, epsilon};
/// let run = NoisySteps { multiplier: 1.0, sample: 0.1, steps: 60 };
/// let (once, twice) = (epsilon(&[run], 1e-5), epsilon(&[run, run], 1e-5));
/// assert!((once - 6.3366).abs() < 1e-4 && twice < 2.0 * once);
/// ```
pub fn epsilon(all: &[NoisySteps], delta: f64) -> f64 {
    let bound = |order: f64| -> Option<f64> {
        let mut spent = 0.0;
        for NoisySteps { multiplier, sample, steps } in all {
            spent += f64::from(*steps) * renyi(order, *multiplier, *sample)?;
        }
        // So little that nothing can be told apart at this delta.
        if delta * delta + libm::expm1(-spent) > 0.0 {
            return Some(0.0);
        }
        Some(spent + libm::log1p(-1.0 / order) - libm::log(delta * order) / (order - 1.0))
    };
    orders().filter_map(bound).fold(f64::INFINITY, f64::min).max(0.0)
}

/// Rényi divergence of an order, of one step.
fn renyi(order: f64, multiplier: f64, sample: f64) -> Option<f64> {
    if sample >= 1.0 {
        return Some(order / (2.0 * multiplier * multiplier));
    }
    let log_a = if order.fract() == 0.0 {
        log_a_whole(order, multiplier, sample)
    } else {
        log_a_between(order, multiplier, sample)?
    };
    Some(log_a / (order - 1.0))
}

/// Section 3.3 of the paper, for whole orders: a binomial sum.
fn log_a_whole(order: f64, multiplier: f64, sample: f64) -> f64 {
    let variance = multiplier * multiplier;
    let mut log_a = f64::NEG_INFINITY;
    let mut i = 0.0;
    while i <= order {
        let log_choose = libm::lgamma(order + 1.0) - libm::lgamma(i + 1.0) - libm::lgamma(order - i + 1.0);
        let log_share = i * libm::log(sample) + (order - i) * libm::log1p(-sample);
        log_a = log_add(log_a, log_choose + log_share + (i * i - i) / (2.0 * variance));
        i += 1.0;
    }
    log_a
}

/// The same for orders between: two infinite series. All terms are added by their size, which errs to the safe side by a few parts in
/// a hundred where epsilon is large, and is what others do (dp-accounting 0.6), so that both come to the same numbers.
fn log_a_between(order: f64, multiplier: f64, sample: f64) -> Option<f64> {
    let variance = multiplier * multiplier;
    let (log_in, log_out) = (libm::log(sample), libm::log1p(-sample));
    let crossing = variance * libm::log(1.0 / sample - 1.0) + 0.5;
    let mut sum = f64::NEG_INFINITY;
    let mut choose: f64 = 1.0;
    let mut before = (f64::NEG_INFINITY, f64::NEG_INFINITY);
    for term in 0..TERMS {
        let i = f64::from(term);
        let j = order - i;
        let log_choose = libm::log(choose.abs());
        let part = |x: f64, log_share: f64, at: f64| {
            log_choose + log_share + (x * x - x) / (2.0 * variance) - LN_2 + log_erfc(at / (SQRT_2 * multiplier))
        };
        let first = part(i, i * log_in + j * log_out, i - crossing);
        let second = part(j, j * log_in + i * log_out, crossing - j);
        sum = log_add(sum, log_add(first, second));
        if first < before.0 && second < before.1 && first.max(second) < sum + NEGLIGIBLE {
            return Some(sum);
        }
        before = (first, second);
        choose *= (order - i) / (i + 1.0);
    }
    None
}

/// log(exp(a) + exp(b)).
fn log_add(a: f64, b: f64) -> f64 {
    let (small, large) = if a < b { (a, b) } else { (b, a) };
    if small == f64::NEG_INFINITY { large } else { large + libm::log1p(libm::exp(small - large)) }
}

/// Logarithm of the complementary error function, also where that is too small for a number.
fn log_erfc(x: f64) -> f64 {
    if x < 20.0 {
        return libm::log(libm::erfc(x));
    }
    // Abramowitz and Stegun 7.1.23.
    let y = 1.0 / (2.0 * x * x);
    -x * x - libm::log(x * PI.sqrt()) + libm::log1p(-y + 3.0 * y * y - 15.0 * y * y * y)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers of dp-accounting; their origin is in the file.
    #[test]
    fn agrees_with_the_accountant_that_others_use() {
        let table = include_str!("../tests/data/dp-accounting.csv");
        let rows: Vec<Vec<f64>> =
            table.lines().skip(2).map(|row| row.split(',').map(|number| number.parse().unwrap()).collect()).collect();
        for row in &rows {
            let [multiplier, sample, steps, delta, theirs] = row[..] else { panic!("{row:?}") };
            let ours = epsilon(&[NoisySteps { multiplier, sample, steps: steps as u32 }], delta);
            assert!((ours - theirs).abs() <= 1e-9 * theirs, "{row:?}: {ours}");
        }
        assert_eq!(rows.len(), 300);
    }

    #[test]
    fn more_steps_and_less_noise_tell_more() {
        let of = |multiplier, sample, steps| NoisySteps { multiplier, sample, steps };
        let at = |multiplier, sample, steps| epsilon(&[of(multiplier, sample, steps)], 1e-5);
        assert!(at(1.0, 0.01, 100) < at(1.0, 0.01, 1000) && at(2.0, 0.01, 100) < at(1.0, 0.01, 100));
        assert!(at(1.0, 0.01, 100) < at(1.0, 0.02, 100));
        // Two runs are one of twice the steps, and tell less than the sum of both.
        let two = epsilon(&[of(1.0, 0.01, 100), of(1.0, 0.01, 100)], 1e-5);
        assert!((two - at(1.0, 0.01, 200)).abs() < 1e-12 && two < 2.0 * at(1.0, 0.01, 100));
        // The least noise that a plan may state.
        assert!(at(1e-2, 1.0, 10_000).is_finite() && at(1e-2, 1e-9, 1).is_finite());
        assert_eq!(epsilon(&[], 1e-5), 0.0);
    }
}
