//! What a model of a 0/1 outcome is worth.

#![expect(clippy::needless_range_loop, reason = "the row is the place in several columns at once")]

use crate::LearnError;
use crate::algebra::{Symmetric, packed_len};
use crate::plan::Link;
use crate::tasks::{contribution, logistic};
use crate::validate::sample::quantile_7;
use crate::validate::survival::{Deviation, curve_points};
use crate::validate::{Estimate, NetBenefit, RocPoint};
use crate::variable::spline_term;

/// Rows in ascending order of score.
pub(crate) struct Prepared {
    /// What ranks rows: the linear predictor, or the risk where only that is known.
    score: Vec<f64>,
    lp: Vec<f64>,
    y: Vec<bool>,
    pub(crate) risk: Vec<f64>,
    /// Places of rows of the file in this order.
    pub(crate) row: Vec<usize>,
}

/// Logistic regression of a few columns and an offset, with whole weights: coefficients and covariance.
fn small_logistic(
    y: &[bool],
    weights: &[f64],
    columns: &[&[f64]],
    offset: Option<&[f64]>,
) -> Result<(Vec<f64>, Symmetric), LearnError> {
    let q = columns.len() + 1;
    let mut beta = vec![0.0; q];
    for _ in 0..50 {
        let (mut gradient, mut packed) = (vec![0.0; q], vec![0.0; packed_len(q)]);
        let mut x = vec![1.0; q];
        for (row, y) in y.iter().enumerate() {
            for (x, column) in x[1..].iter_mut().zip(columns) {
                *x = column[row];
            }
            let eta = x.iter().zip(&beta).map(|(x, b)| x * b).sum::<f64>() + offset.map_or(0.0, |offset| offset[row]);
            let part = contribution(Link::Logit, eta, *y);
            let mut at = 0;
            for i in 0..q {
                gradient[i] += weights[row] * part.score * x[i];
                for other in &x[i..] {
                    packed[at] += weights[row] * part.weight * x[i] * other;
                    at += 1;
                }
            }
        }
        let factor = Symmetric::from_packed(q, |at| packed[at]).cholesky()?;
        let step = factor.solve(&gradient);
        beta.iter_mut().zip(&step).for_each(|(b, s)| *b += s.clamp(-5.0, 5.0));
        if step.iter().all(|step| step.abs() < 1e-10) {
            return Ok((beta, factor.inverse()));
        }
    }
    Err(LearnError::Estimate { reason: "a calibration model does not settle" })
}

/// Probability that one of `cases` is above one of `controls`, ties counting half, with the standard error of DeLong et al. 1988.
pub(crate) fn area_under_curve(cases: &[f64], controls: &[f64]) -> (f64, f64) {
    let scores = [cases, controls].concat();
    let is_case: Vec<bool> = (0..scores.len()).map(|at| at < cases.len()).collect();
    Prepared::new(&scores, &is_case).auc(&vec![1.0; scores.len()])
}

impl Prepared {
    pub(crate) fn new(lp: &[f64], y: &[bool]) -> Self {
        Self::of(lp, |row| lp[row], |row| logistic(lp[row]), y)
    }

    /// From risks. Those of 0 and 1, which no outcome can be likely under, are 1e-12 from there in what looks at log odds.
    pub(crate) fn of_risks(risk: &[f64], y: &[bool]) -> Self {
        let log_odds = |row: usize| {
            let risk = risk[row].clamp(1e-12, 1.0 - 1e-12);
            libm::log(risk) - libm::log1p(-risk)
        };
        Self::of(risk, log_odds, |row| risk[row], y)
    }

    fn of(score: &[f64], lp: impl Fn(usize) -> f64, risk: impl Fn(usize) -> f64, y: &[bool]) -> Self {
        let mut row: Vec<usize> = (0..score.len()).collect();
        row.sort_by(|a, b| score[*a].total_cmp(&score[*b]).then(a.cmp(b)));
        Self {
            score: row.iter().map(|row| score[*row]).collect(),
            lp: row.iter().map(|row| lp(*row)).collect(),
            y: row.iter().map(|row| y[*row]).collect(),
            risk: row.iter().map(|row| risk(*row)).collect(),
            row,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.lp.len()
    }

    /// Area under the curve with the standard error of DeLong et al. 1988, by placement values (Sun and Xu 2014).
    fn auc(&self, weights: &[f64]) -> (f64, f64) {
        let n = self.len();
        let total = |of: bool| (0..n).filter(|row| self.y[*row] == of).map(|row| weights[row]).sum::<f64>();
        let (cases, controls) = (total(true), total(false));
        let mut placements = vec![0.0; n];
        let (mut cases_below, mut controls_below, mut start) = (0.0, 0.0, 0);
        while start < n {
            let end = start + self.score[start..].iter().take_while(|score| **score == self.score[start]).count();
            let (mut tied_cases, mut tied_controls) = (0.0, 0.0);
            for row in start..end {
                if self.y[row] { tied_cases += weights[row] } else { tied_controls += weights[row] }
            }
            for row in start..end {
                placements[row] = if self.y[row] {
                    (controls_below + tied_controls / 2.0) / controls
                } else {
                    1.0 - (cases_below + tied_cases / 2.0) / cases
                };
            }
            cases_below += tied_cases;
            controls_below += tied_controls;
            start = end;
        }
        let mean = (0..n).filter(|row| self.y[*row]).map(|row| weights[row] * placements[row]).sum::<f64>() / cases;
        let spread = |of: bool, many: f64| {
            let sum: f64 = (0..n)
                .filter(|row| self.y[*row] == of)
                .map(|row| weights[row] * (placements[row] - mean) * (placements[row] - mean))
                .sum();
            sum / (many - 1.0) / many
        };
        (mean, (spread(true, cases) + spread(false, controls)).sqrt())
    }

    fn deviation(&self, weights: &[f64]) -> Result<(Deviation, Vec<(f64, f64)>), LearnError> {
        let sorted: Vec<(f64, f64)> = self.lp.iter().copied().zip(weights.iter().copied()).collect();
        let knots: Vec<f64> = [0.1, 0.5, 0.9].iter().map(|share| quantile_7(&sorted, *share)).collect();
        let curved = knots.windows(2).all(|pair| pair[1] - pair[0] > 1e-9);
        let bend: Vec<f64> =
            if curved { self.lp.iter().map(|x| spline_term(*x, &knots, 1)).collect() } else { Vec::new() };
        let columns: Vec<&[f64]> = if curved { vec![&self.lp, &bend] } else { vec![&self.lp] };
        let (beta, _) = small_logistic(&self.y, weights, &columns, None)?;
        let observed = |row: usize| {
            logistic(beta[0] + columns.iter().zip(&beta[1..]).map(|(column, b)| column[row] * b).sum::<f64>())
        };
        let mut distances: Vec<(f64, f64)> =
            (0..self.len()).map(|row| ((observed(row) - self.risk[row]).abs(), weights[row])).collect();
        let total: f64 = weights.iter().sum();
        let ici = distances.iter().map(|(distance, weight)| distance * weight).sum::<f64>() / total;
        distances.sort_by(|a, b| a.0.total_cmp(&b.0));
        let deviation = Deviation { ici, e50: quantile_7(&distances, 0.5), e90: quantile_7(&distances, 0.9) };
        let rows: Vec<usize> = (0..self.len()).collect();
        Ok((deviation, curve_points(&rows, |row| self.risk[row], observed)))
    }

    pub(crate) fn calibration_curve(&self) -> Result<Vec<(f64, f64)>, LearnError> {
        Ok(self.deviation(&vec![1.0; self.len()])?.1)
    }

    pub(crate) fn estimates(&self, weights: &[f64]) -> Result<Vec<Estimate>, LearnError> {
        let total: f64 = weights.iter().sum();
        let mean = |of: &dyn Fn(usize) -> f64| (0..self.len()).map(|row| weights[row] * of(row)).sum::<f64>() / total;
        let y = |row: usize| f64::from(u8::from(self.y[row]));
        let observed = mean(&y);
        let expected = mean(&|row| self.risk[row]);
        if observed <= 0.0 || observed >= 1.0 {
            return Err(LearnError::Estimate { reason: "all rows have the same outcome" });
        }
        let brier = mean(&|row| (y(row) - self.risk[row]) * (y(row) - self.risk[row]));
        let (line, covariance) = small_logistic(&self.y, weights, &[&self.lp], None)?;
        let (large, large_covariance) = small_logistic(&self.y, weights, &[], Some(&self.lp))?;
        let (auc, auc_error) = self.auc(weights);
        let observed_error = (observed * (1.0 - observed) / total).sqrt();
        let plain = |name: &str, value: f64| Estimate::new(name, value, None);
        let with = |name: &str, value: f64, error: f64| Estimate::new(name, value, Some(error));
        let mut all = vec![
            with("auc", auc, auc_error),
            with("calibration_slope", line[1], covariance.get(1, 1).sqrt()),
            with("calibration_intercept", line[0], covariance.get(0, 0).sqrt()),
            with("calibration_in_the_large", large[0], large_covariance.get(0, 0).sqrt()),
            with("observed_over_expected", observed / expected, observed_error / expected),
            with("observed_risk", observed, observed_error),
            plain("expected_risk", expected),
            plain("brier", brier),
            plain("index_of_prediction_accuracy", 1.0 - brier / (observed * (1.0 - observed))),
            plain("log_loss", mean(&|row| -contribution(Link::Logit, self.lp[row], self.y[row]).log_likelihood)),
            plain("accuracy_at_one_half", mean(&|row| f64::from(u8::from((self.risk[row] > 0.5) == self.y[row])))),
        ];
        if let Ok((deviation, _)) = self.deviation(weights) {
            all.push(plain("integrated_calibration_index", deviation.ici));
            all.push(plain("e50", deviation.e50));
            all.push(plain("e90", deviation.e90));
        }
        Ok(all)
    }

    pub(crate) fn net_benefit(&self, weights: &[f64], thresholds: &[f64]) -> Vec<NetBenefit> {
        let n: f64 = weights.iter().sum();
        let sum =
            |of: &dyn Fn(usize) -> bool| (0..self.len()).filter(|row| of(*row)).map(|row| weights[row]).sum::<f64>();
        let events = sum(&|row| self.y[row]);
        thresholds
            .iter()
            .map(|threshold| {
                let odds = threshold / (1.0 - threshold);
                let flagged = sum(&|row| self.risk[row] > *threshold);
                let right = sum(&|row| self.risk[row] > *threshold && self.y[row]);
                NetBenefit {
                    threshold: *threshold,
                    flagged: flagged / n,
                    model: (right - (flagged - right) * odds) / n,
                    everybody: (events - (n - events) * odds) / n,
                    interval: None,
                }
            })
            .collect()
    }

    pub(crate) fn known(&self) -> Vec<Option<bool>> {
        self.y.iter().copied().map(Some).collect()
    }

    /// Whom acting on a risk of each cut or more picks out.
    #[expect(clippy::cast_precision_loss, reason = "counts of rows are far below 2^53")]
    pub(crate) fn roc(&self, cuts: &[f64]) -> Vec<RocPoint> {
        let count = |of: &dyn Fn(usize) -> bool| (0..self.len()).filter(|row| of(*row)).count() as f64;
        let (n, events) = (self.len() as f64, count(&|row| self.y[row]));
        let point = |cut: &f64| {
            let flagged = count(&|row| self.risk[row] >= *cut);
            let right = count(&|row| self.risk[row] >= *cut && self.y[row]);
            RocPoint {
                flagged: flagged / n,
                sensitivity: right / events,
                specificity: 1.0 - (flagged - right) / (n - events),
            }
        };
        cuts.iter().map(point).collect()
    }

    #[expect(clippy::cast_precision_loss, reason = "counts of rows are far below 2^53")]
    pub(crate) fn groups(&self, groups: usize) -> Vec<(f64, f64)> {
        let n = self.len();
        (0..groups)
            .map(|group| {
                let rows = n * group / groups..n * (group + 1) / groups;
                let many = rows.len() as f64;
                let events = self.y[rows.clone()].iter().filter(|y| **y).count() as f64;
                (self.risk[rows].iter().sum::<f64>() / many, events / many)
            })
            .collect()
    }
}
