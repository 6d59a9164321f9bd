//! Population uniqueness: how many people of the population are alone in their equivalence class, estimated from a sample.
//!
//! - Pitman: Hoshino, "Applying Pitman's sampling formula to microdata disclosure risk assessment", J. Official Statistics
//!   17(4), 2001: maximum likelihood of θ and α, then Γ(θ+1)/Γ(θ+α) N^α.
//! - Zayatz: "Estimation of the number of unique population elements using a sample", US Census Bureau 1991.
//! - SNB: Chen and Keller-McNulty, "Estimation of identification disclosure risk in microdata", J. Official Statistics
//!   14(1), 1998, with Shlosser's estimate of the number of classes.
//! - Dankar: the rule that chooses between them (Dankar et al., "Estimating the re-identification risk of clinical data
//!   sets", BMC MIDM 12:66, 2012): Pitman up to a sampling fraction of 10 %, the smaller of SNB and Zayatz above.

use serde::{Deserialize, Serialize};

use crate::{Classes, real};

/// Which estimate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Estimator {
    /// The rule that chooses.
    #[default]
    Dankar,
    /// Pitman.
    Pitman,
    /// Zayatz.
    Zayatz,
    /// Shifted negative binomial.
    Snb,
}

/// Estimated share of the population that is unique, by estimator. `None`: the estimator has no answer for this sample.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PopulationUniques {
    /// Pitman.
    pub pitman: Option<f64>,
    /// Zayatz.
    pub zayatz: Option<f64>,
    /// Shifted negative binomial.
    pub snb: Option<f64>,
    /// The choice of Dankar's rule.
    pub dankar: f64,
    /// Which estimate the rule chose.
    pub chosen: Estimator,
}

impl PopulationUniques {
    /// The share by one estimator; 0 where it has no answer.
    pub fn share(&self, estimator: Estimator) -> f64 {
        match estimator {
            Estimator::Dankar => Some(self.dankar),
            Estimator::Pitman => self.pitman,
            Estimator::Zayatz => self.zayatz,
            Estimator::Snb => self.snb,
        }
        .unwrap_or(0.0)
    }
}

/// Estimates from the classes of a sample out of a population of `population` people.
pub fn population_uniques(classes: &Classes, population: u64) -> PopulationUniques {
    if !classes.by_size().contains_key(&1) || population == 0 {
        let none = Some(0.0);
        return PopulationUniques { pitman: none, zayatz: none, snb: none, dankar: 0.0, chosen: Estimator::Dankar };
    }
    let sample = Sample::of(classes, population);
    let share =
        |uniques: Option<f64>| uniques.filter(|n| n.is_finite() && *n > 0.0).map(|n| (n / real(population)).min(1.0));
    let (pitman, zayatz, snb) = (share(sample.pitman()), share(sample.zayatz()), share(sample.snb()));
    let (dankar, chosen) = match (pitman, zayatz, snb) {
        (Some(pitman), _, _) if sample.fraction <= 0.1 => (pitman, Estimator::Pitman),
        (_, Some(zayatz), Some(snb)) if sample.fraction > 0.1 && snb <= zayatz => (snb, Estimator::Snb),
        (_, zayatz, _) => (zayatz.unwrap_or(0.0), Estimator::Zayatz),
    };
    PopulationUniques { pitman, zayatz, snb, dankar, chosen }
}

pub(crate) fn holds(classes: &Classes, share: f64, population: u64, estimator: Estimator) -> bool {
    population_uniques(classes, population).share(estimator) <= share
}

/// What the estimators look at.
struct Sample<'a> {
    classes: &'a Classes,
    rows: f64,
    count: f64,
    once: f64,
    twice: f64,
    population: f64,
    fraction: f64,
}

impl<'a> Sample<'a> {
    fn of(classes: &'a Classes, population: u64) -> Self {
        let of_size = |size| real(classes.by_size().get(&size).copied().unwrap_or(0));
        let rows = real(classes.rows());
        Self {
            classes,
            rows,
            count: real(classes.count()),
            once: of_size(1),
            twice: of_size(2),
            population: real(population),
            fraction: rows / real(population),
        }
    }

    fn sizes(&self) -> impl Iterator<Item = (u64, f64)> + '_ {
        self.classes.by_size().iter().map(|(size, classes)| (*size, real(*classes)))
    }

    /// Number of uniques by Pitman's formula.
    fn pitman(&self) -> Option<f64> {
        let (n, u, c1) = (self.rows, self.count, self.once);
        // Hoshino's moment estimates are where the likelihood is climbed from.
        let c = c1 * (c1 - 1.0) / self.twice.max(1.0);
        let mut theta = (n * u * c - c1 * (n - 1.0) * (2.0 * u + c)) / (2.0 * c1 * u + c1 * c - n * c);
        let mut alpha = (theta * (c1 - n) + (n - 1.0) * c1) / (n * u);
        for _ in 0..500 {
            let (gradient, curvature) = self.pitman_likelihood(theta, alpha);
            let determinant = curvature.0 * curvature.2 - curvature.1 * curvature.1;
            let step_theta = (gradient.0 * curvature.2 - gradient.1 * curvature.1) / determinant;
            let step_alpha = (gradient.1 * curvature.0 - gradient.0 * curvature.1) / determinant;
            if !(step_theta.is_finite() && step_alpha.is_finite()) {
                return None;
            }
            theta -= step_theta;
            alpha -= step_alpha;
            if step_theta.abs() <= 1e-9 * theta.abs().max(1.0) && step_alpha.abs() <= 1e-12 {
                let log = libm::lgamma(theta + 1.0) - libm::lgamma(theta + alpha) + alpha * self.population.ln();
                let uniques = log.exp();
                return (uniques <= self.population && theta + alpha > 0.0).then_some(uniques);
            }
        }
        None
    }

    /// Gradient of the log-likelihood in (θ, α), and its second derivatives (θθ, θα, αα).
    fn pitman_likelihood(&self, theta: f64, alpha: f64) -> ((f64, f64), (f64, f64, f64)) {
        let (mut by_theta, mut by_alpha, mut tt, mut ta, mut aa) = (0.0, 0.0, 0.0, 0.0, 0.0);
        for i in 1..self.classes.count() {
            let i = real(i);
            let term = 1.0 / (theta + i * alpha);
            by_theta += term;
            by_alpha += i * term;
            tt -= term * term;
            ta -= i * term * term;
            aa -= i * i * term * term;
        }
        for i in 1..self.classes.rows() {
            let term = 1.0 / (theta + real(i));
            by_theta -= term;
            tt += term * term;
        }
        // Sizes ascend, so the sums over j go on from one size to the next.
        let (mut first, mut second, mut reached) = (0.0, 0.0, 1);
        for (size, classes) in self.sizes() {
            while reached < size {
                let term = 1.0 / (real(reached) - alpha);
                first += term;
                second += term * term;
                reached += 1;
            }
            by_alpha -= classes * first;
            aa -= classes * second;
        }
        ((by_theta, by_alpha), (tt, ta, aa))
    }

    /// Number of uniques by Zayatz: sample uniques × P(population unique | sample unique) / sampling fraction, with the
    /// sample's class sizes taken for the population's.
    fn zayatz(&self) -> Option<f64> {
        // Of a population class of `size` people, exactly one is drawn: hypergeometric.
        let exactly_one = |size: u64| {
            let mut chance = real(size) * self.rows / self.population;
            for j in 0..size - 1 {
                chance *= ((self.population - self.rows - real(j)) / (self.population - 1.0 - real(j))).max(0.0);
                if chance < 1e-300 {
                    return 0.0;
                }
            }
            chance
        };
        let all: f64 = self.sizes().map(|(size, classes)| classes / self.count * exactly_one(size)).sum();
        let unique = self.once / self.count * exactly_one(1) / all;
        Some(self.once * unique / self.fraction)
    }

    /// Number of uniques by the shifted negative binomial model: K β^α, with α and β from the classes of one and two.
    fn snb(&self) -> Option<f64> {
        let f = self.fraction;
        let classes = self.shlosser()?;
        let equations = |a: f64, b: f64| {
            let d = (1.0 - f) * (1.0 - b);
            let once = classes * f * (b / (1.0 - d)).powf(a) * (a * d / (1.0 - d) + 1.0) - self.once;
            let twice = classes * a * b.powf(a) * f * f * (1.0 - b) / (2.0 * (1.0 - d).powf(a + 2.0))
                * (2.0 - (1.0 - a) * d)
                - self.twice;
            (once, twice)
        };
        // Newton's method with numerical derivatives, from several places: the system has no solution for many samples.
        for start in [(0.5, 0.5), (1.0, 0.1), (0.1, 0.01), (2.0, 0.5), (0.05, 0.001)] {
            let (mut a, mut b): (f64, f64) = start;
            for _ in 0..200 {
                let (once, twice) = equations(a, b);
                if once.abs() + twice.abs() < 1e-7 * self.count {
                    return Some(classes * b.powf(a));
                }
                let (ha, hb) = (1e-7 * a, 1e-7 * b);
                let ((oa, ta), (ob, tb)) = (equations(a + ha, b), equations(a, b + hb));
                let (oa, ta, ob, tb) = ((oa - once) / ha, (ta - twice) / ha, (ob - once) / hb, (tb - twice) / hb);
                let determinant = oa * tb - ob * ta;
                let (step_a, step_b) = ((once * tb - twice * ob) / determinant, (twice * oa - once * ta) / determinant);
                if !(step_a.is_finite() && step_b.is_finite()) {
                    break;
                }
                // α stays positive and β inside (0, 1): a step that would leave goes half the way.
                a = if a - step_a > 0.0 { a - step_a } else { a / 2.0 };
                b = (b - step_b).clamp(b / 2.0, f64::midpoint(b, 1.0));
            }
        }
        None
    }

    /// Number of classes in the population, by Shlosser (Haas and Stokes, "Estimating the number of classes in a finite
    /// population", JASA 93, 1998, eq. 17 with the modification of eq. 18).
    fn shlosser(&self) -> Option<f64> {
        let f = self.fraction;
        if f >= 1.0 {
            return Some(self.count);
        }
        let (mut v1, mut v2, mut v3, mut v4) = (0.0, 0.0, 0.0, 0.0);
        for (size, classes) in self.sizes() {
            let i = real(size);
            v1 += i * f * f * (1.0 - f * f).powf(i - 1.0) * classes;
            v2 += (1.0 - f).powf(i) * ((1.0 + f).powf(i) - 1.0) * classes;
            v3 += (1.0 - f).powf(i) * classes;
            v4 += i * f * (1.0 - f).powf(i - 1.0) * classes;
        }
        let estimate = self.count + self.once * (v1 / v2) * (v3 / v4).powi(2);
        estimate.is_finite().then_some(estimate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_sample_uniques_there_are_none_in_the_population() {
        let classes = Classes::of([2, 5, 9]);
        assert_eq!(population_uniques(&classes, 1_000).dankar, 0.0);
    }

    #[test]
    fn a_census_is_its_own_population() {
        let classes = Classes::of([1, 1, 1, 2, 5]);
        let uniques = population_uniques(&classes, 10);
        assert!((uniques.zayatz.unwrap() - 0.3).abs() < 1e-12);
    }

    #[test]
    fn a_larger_population_has_a_smaller_share_of_uniques() {
        let classes = Classes::of((1..200).map(|i| 1 + (i % 7) * (i % 3)));
        let shares: Vec<f64> =
            [10_000, 100_000, 1_000_000].map(|population| population_uniques(&classes, population).dankar).to_vec();
        assert!(shares[0] > shares[1] && shares[1] > shares[2], "{shares:?}");
    }
}
