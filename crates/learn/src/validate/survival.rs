//! What a survival model is worth: discrimination, calibration, overall error, benefit.

use serde::{Deserialize, Serialize};

use crate::LearnError;
use crate::special::normal_quantile;
use crate::validate::sample::{Of, Sample, concordance, curve, quantile_7, small_cox};
use crate::validate::{Estimate, NetBenefit, RocPoint};
use crate::variable::spline_term;

/// Numbers of one bootstrap sample or of the sample itself.
pub(crate) struct Values {
    pub(crate) harrell_c: (f64, f64),
    pub(crate) uno_c: (f64, f64),
    pub(crate) slope: (f64, f64),
    pub(crate) royston_d: (f64, f64),
    pub(crate) observed: (f64, f64),
    pub(crate) expected: f64,
    pub(crate) brier: f64,
    pub(crate) brier_null: f64,
    pub(crate) integrated_brier: f64,
    pub(crate) auc: f64,
    pub(crate) ici: Option<Deviation>,
}

/// Distance between predicted and smoothed observed risk.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Deviation {
    /// Mean: the integrated calibration index (Austin and Steyerberg 2019).
    pub ici: f64,
    /// Median.
    pub e50: f64,
    /// Ninetieth percentile.
    pub e90: f64,
}

/// Everything that does not change between bootstrap samples.
pub(crate) struct Prepared {
    pub(crate) sample: Sample,
    /// Risk at the horizon, row by row.
    pub(crate) risk: Vec<f64>,
    /// Risk at each time of the grid, row by row.
    pub(crate) grid_risks: Vec<Vec<f64>>,
    pub(crate) grid: Vec<f64>,
    pub(crate) horizon: f64,
    /// Normal scores of ranks 1 to n.
    scores: Vec<f64>,
    /// Rows in ascending order of linear predictor.
    by_predictor: Vec<usize>,
}

/// Constant of Royston and Sauerbrei 2004.
fn kappa() -> f64 {
    (8.0 / std::f64::consts::PI).sqrt()
}

/// Whether the row is known to be without the event at a time: followed beyond it, or to it.
fn is_beyond(sample: &Sample, row: usize, days: f64) -> bool {
    sample.time[row] > days || (sample.time[row] == days && !sample.event[row])
}

/// Probability of being followed until a time. Who leaves at that very time was followed until it.
fn followed_until(sample: &Sample, censoring: &super::sample::Curve, days: f64) -> f64 {
    let before = sample.time.partition_point(|time| *time < days);
    if before == 0 { 1.0 } else { censoring.after[before - 1] }
}

impl Prepared {
    #[expect(clippy::cast_precision_loss, reason = "counts of rows are far below 2^53")]
    pub(crate) fn new(
        lp: &[f64],
        time: &[f64],
        event: &[bool],
        horizon: f64,
        grid: &[f64],
        risk: &dyn Fn(usize, f64) -> Option<f64>,
    ) -> Result<Self, LearnError> {
        let sample = Sample::new(lp, time, event);
        let at = |days: f64| {
            let risks = sample.row.iter().map(|row| risk(*row, days)).collect::<Option<Vec<_>>>();
            risks.ok_or(LearnError::Model {
                message: "it states no risk by the horizon: its follow-up was cut before, it was stratified by site, or its maker states risks by other days"
                    .to_owned(),
            })
        };
        let n = sample.len() as f64;
        let mut by_predictor: Vec<usize> = (0..sample.len()).collect();
        by_predictor.sort_by_key(|row| sample.rank[*row]);
        Ok(Self {
            risk: at(horizon)?,
            grid_risks: grid.iter().map(|days| at(*days)).collect::<Result<_, _>>()?,
            grid: grid.to_vec(),
            horizon,
            scores: (1..=sample.len()).map(|rank| normal_quantile((rank as f64 - 0.375) / (n + 0.25))).collect(),
            by_predictor,
            sample,
        })
    }

    /// Normal scores of the linear predictor, divided by kappa; ties share their mean.
    fn royston_scores(&self, weights: &[f64]) -> Vec<f64> {
        let mut z = vec![0.0; self.sample.len()];
        let (mut passed, mut start) = (0usize, 0);
        while start < self.by_predictor.len() {
            let rank = self.sample.rank[self.by_predictor[start]];
            let end =
                start + self.by_predictor[start..].iter().take_while(|row| self.sample.rank[**row] == rank).count();
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "weights are small whole numbers"
            )]
            let many = self.by_predictor[start..end].iter().map(|row| weights[*row]).sum::<f64>() as usize;
            if many > 0 {
                #[expect(clippy::cast_precision_loss, reason = "counts of rows are far below 2^53")]
                let mean = self.scores[passed..passed + many].iter().sum::<f64>() / many as f64 / kappa();
                self.by_predictor[start..end].iter().for_each(|row| z[*row] = mean);
            }
            passed += many;
            start = end;
        }
        z
    }

    /// Brier score at a time with inverse probability of censoring weights (Graf et al. 1999; Gerds and Schumacher 2006),
    /// of the model and of the Kaplan–Meier curve that knows no variable.
    fn brier(
        &self,
        weights: &[f64],
        censoring: &super::sample::Curve,
        days: f64,
        risks: &[f64],
        null: f64,
    ) -> (f64, f64) {
        let sample = &self.sample;
        let at_horizon = followed_until(sample, censoring, days);
        let (mut model, mut without, mut total) = (0.0, 0.0, 0.0);
        for row in 0..sample.len() {
            total += weights[row];
            let (weight, y) = if is_beyond(sample, row, days) {
                (1.0 / at_horizon, 0.0)
            } else if sample.event[row] {
                (1.0 / censoring.before[row], 1.0)
            } else {
                continue;
            };
            model += weights[row] * weight * (y - risks[row]) * (y - risks[row]);
            without += weights[row] * weight * (y - null) * (y - null);
        }
        (model / total, without / total)
    }

    /// Cumulative/dynamic AUC at the horizon (Uno et al. 2007): cases are events by then, weighted for censoring; controls
    /// are followed beyond.
    fn auc(&self, weights: &[f64], censoring: &super::sample::Curve) -> f64 {
        let sample = &self.sample;
        let (mut cases, mut controls) = (vec![0.0; sample.ranks], vec![0.0; sample.ranks]);
        for row in 0..sample.len() {
            if is_beyond(sample, row, self.horizon) {
                controls[sample.rank[row]] += weights[row];
            } else if sample.event[row] {
                cases[sample.rank[row]] += weights[row] / censoring.before[row];
            }
        }
        let (mut below, mut good) = (0.0, 0.0);
        for (case, control) in cases.iter().zip(&controls) {
            good += case * (below + control / 2.0);
            below += control;
        }
        good / (cases.iter().sum::<f64>() * below)
    }

    /// Distance between predicted risk and the risk that a Cox model of a restricted cubic spline of its complementary
    /// log-log finds (three knots, as in McLernon et al. 2023).
    fn deviation(&self, weights: &[f64]) -> Result<(Deviation, Vec<(f64, f64)>), LearnError> {
        let cll: Vec<f64> = self.risk.iter().map(|risk| predictor_of(*risk)).collect();
        let sorted: Vec<(f64, f64)> = self.by_predictor.iter().map(|row| (cll[*row], weights[*row])).collect();
        let knots: Vec<f64> = [0.1, 0.5, 0.9].iter().map(|share| quantile_7(&sorted, *share)).collect();
        let curved = knots.windows(2).all(|pair| pair[1] - pair[0] > 1e-9);
        let bend: Vec<f64> = if curved { cll.iter().map(|x| spline_term(*x, &knots, 1)).collect() } else { Vec::new() };
        let columns: Vec<&[f64]> = if curved { vec![&cll, &bend] } else { vec![&cll] };
        let fitted = small_cox(&self.sample, weights, &columns)?;
        let upto = self.sample.time.partition_point(|time| *time <= self.horizon);
        let hazard = if upto == 0 { 0.0 } else { fitted.baseline[upto - 1] };
        let observed = |row: usize| {
            let lp: f64 = columns.iter().zip(&fitted.coefficients).map(|(column, b)| column[row] * b).sum();
            -libm::expm1(-hazard * libm::exp(lp))
        };
        let mut distances: Vec<(f64, f64)> =
            (0..self.sample.len()).map(|row| ((observed(row) - self.risk[row]).abs(), weights[row])).collect();
        let total: f64 = weights.iter().sum();
        let ici = distances.iter().map(|(distance, weight)| distance * weight).sum::<f64>() / total;
        distances.sort_by(|a, b| a.0.total_cmp(&b.0));
        let deviation = Deviation { ici, e50: quantile_7(&distances, 0.5), e90: quantile_7(&distances, 0.9) };
        Ok((deviation, curve_points(&self.by_predictor, |row| self.risk[row], observed)))
    }

    /// Predicted and smoothed observed risk.
    pub(crate) fn calibration_curve(&self) -> Result<Vec<(f64, f64)>, LearnError> {
        Ok(self.deviation(&vec![1.0; self.sample.len()])?.1)
    }

    pub(crate) fn values(&self, weights: &[f64]) -> Result<Values, LearnError> {
        let sample = &self.sample;
        let events = curve(sample, weights, Of::Event);
        let censoring = curve(sample, weights, Of::Censoring);
        let after = curve(sample, weights, Of::CensoringAfterEvents);
        let pair: Vec<f64> = after.before.iter().map(|g| if *g > 0.0 { 1.0 / (g * g) } else { 0.0 }).collect();
        let harrell = concordance(sample, weights, None);
        if harrell.pairs <= 0.0 {
            return Err(LearnError::Estimate { reason: "no two rows can be compared" });
        }
        let uno = concordance(sample, weights, Some(&pair));
        let slope = small_cox(sample, weights, &[&sample.lp])?;
        let z = self.royston_scores(weights);
        let royston = small_cox(sample, weights, &[&z])?;
        let total: f64 = weights.iter().sum();
        let (survival, survival_error) = events.at(sample, self.horizon);
        let expected = self.risk.iter().zip(weights).map(|(risk, w)| risk * w).sum::<f64>() / total;
        let (brier, brier_null) = self.brier(weights, &censoring, self.horizon, &self.risk, 1.0 - survival);
        let scores: Vec<f64> = self
            .grid
            .iter()
            .zip(&self.grid_risks)
            .map(|(days, risks)| self.brier(weights, &censoring, *days, risks, 0.0).0)
            .collect();
        let area: f64 = self
            .grid
            .windows(2)
            .zip(scores.windows(2))
            .map(|(days, scores)| (days[1] - days[0]) * f64::midpoint(scores[0], scores[1]))
            .sum();
        let span = self.grid.last().unwrap_or(&0.0) - self.grid.first().unwrap_or(&0.0);
        let error = |fit: &super::sample::SmallCox| fit.covariance.get(0, 0).sqrt();
        Ok(Values {
            harrell_c: (harrell.c, harrell.standard_error),
            uno_c: (uno.c, uno.standard_error),
            slope: (slope.coefficients[0], error(&slope)),
            royston_d: (royston.coefficients[0], error(&royston)),
            observed: (1.0 - survival, survival_error),
            expected,
            brier,
            brier_null,
            integrated_brier: if span > 0.0 { area / span } else { brier },
            auc: self.auc(weights, &censoring),
            ici: self.deviation(weights).ok().map(|(deviation, _)| deviation),
        })
    }

    /// Net benefit of acting on a risk above each threshold (Vickers and Elkin 2006; censoring as in Vickers et al. 2008).
    pub(crate) fn net_benefit(&self, weights: &[f64], thresholds: &[f64]) -> Vec<NetBenefit> {
        let everybody = curve(&self.sample, weights, Of::Event).at(&self.sample, self.horizon).0;
        let total: f64 = weights.iter().sum();
        thresholds
            .iter()
            .map(|threshold| {
                let flagged: Vec<f64> =
                    self.risk.iter().zip(weights).map(|(risk, w)| if risk > threshold { *w } else { 0.0 }).collect();
                let share = flagged.iter().sum::<f64>() / total;
                let odds = threshold / (1.0 - threshold);
                let survival = curve(&self.sample, &flagged, Of::Event).at(&self.sample, self.horizon).0;
                NetBenefit {
                    threshold: *threshold,
                    flagged: share,
                    model: if share > 0.0 { (1.0 - survival) * share - survival * share * odds } else { 0.0 },
                    everybody: 1.0 - everybody - everybody * odds,
                    interval: None,
                }
            })
            .collect()
    }

    /// Whether each row has the event by the horizon; none where nobody knows, as it was not followed so far.
    pub(crate) fn known(&self) -> Vec<Option<bool>> {
        let sample = &self.sample;
        let known = |row: usize| match is_beyond(sample, row, self.horizon) {
            true => Some(false),
            false => sample.event[row].then_some(true),
        };
        (0..sample.len()).map(known).collect()
    }

    /// Whom acting on a risk of each cut or more picks out, of those with the event by the horizon and of those without (as
    /// [`Self::auc`], whose area the curve has).
    #[expect(clippy::cast_precision_loss, reason = "counts of rows are far below 2^53")]
    pub(crate) fn roc(&self, cuts: &[f64]) -> Vec<RocPoint> {
        let (known, n) = (self.known(), self.sample.len());
        let censoring = curve(&self.sample, &vec![1.0; n], Of::Censoring);
        let sum = |event: bool, cut: f64| -> f64 {
            let weight = |row: usize| if event { 1.0 / censoring.before[row] } else { 1.0 };
            (0..n).filter(|row| known[*row] == Some(event) && self.risk[*row] >= cut).map(weight).sum()
        };
        let (all, free) = (sum(true, f64::NEG_INFINITY), sum(false, f64::NEG_INFINITY));
        let point = |cut: &f64| RocPoint {
            flagged: self.risk.iter().filter(|risk| *risk >= cut).count() as f64 / n as f64,
            sensitivity: sum(true, *cut) / all,
            specificity: 1.0 - sum(false, *cut) / free,
        };
        cuts.iter().map(point).collect()
    }

    /// Mean predicted and Kaplan–Meier risk in groups of equal size by predicted risk.
    #[expect(clippy::cast_precision_loss, reason = "counts of rows are far below 2^53")]
    pub(crate) fn groups(&self, groups: usize) -> Vec<(f64, f64)> {
        let n = self.sample.len();
        let mut order: Vec<usize> = (0..n).collect();
        order.sort_by(|a, b| {
            self.risk[*a].total_cmp(&self.risk[*b]).then(self.sample.row[*a].cmp(&self.sample.row[*b]))
        });
        let mut group_of = vec![0; n];
        // Ranks 1 to n cut into equally wide intervals.
        for (at, row) in order.iter().enumerate() {
            let position = at as f64 / (n as f64 - 1.0) * groups as f64;
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "between 0 and the number of groups"
            )]
            let group = (position.ceil() as usize).saturating_sub(1).min(groups - 1);
            group_of[*row] = group;
        }
        (0..groups)
            .map(|group| {
                let weights: Vec<f64> = group_of.iter().map(|one| f64::from(u8::from(*one == group))).collect();
                let many: f64 = weights.iter().sum();
                let predicted = self.risk.iter().zip(&weights).map(|(risk, w)| risk * w).sum::<f64>() / many;
                (predicted, 1.0 - curve(&self.sample, &weights, Of::Event).at(&self.sample, self.horizon).0)
            })
            .collect()
    }
}

/// At most fifty points of a curve, each the mean of ten rows or more: no single person's.
#[expect(clippy::cast_precision_loss, reason = "counts of rows are far below 2^53")]
pub(crate) fn curve_points(
    rows: &[usize],
    predicted: impl Fn(usize) -> f64,
    observed: impl Fn(usize) -> f64,
) -> Vec<(f64, f64)> {
    let size = (rows.len() / 50).max(10);
    let mean =
        |chunk: &[usize], of: &dyn Fn(usize) -> f64| chunk.iter().map(|row| of(*row)).sum::<f64>() / chunk.len() as f64;
    rows.chunks_exact(size).map(|chunk| (mean(chunk, &predicted), mean(chunk, &observed))).collect()
}

/// Linear predictor of a hazard model from its risks by one day, up to a constant: their complementary log-log.
pub(crate) fn predictor_of(risk: f64) -> f64 {
    libm::log(-libm::log1p(-risk.clamp(1e-12, 1.0 - 1e-12)))
}

/// Named values with standard errors, for a report.
pub(crate) fn estimates(values: &Values) -> Vec<Estimate> {
    let ratio = values.observed.0 / values.expected;
    let d2 = values.royston_d.0 * values.royston_d.0 / (kappa() * kappa());
    let share = d2 / (std::f64::consts::PI * std::f64::consts::PI / 6.0 + d2);
    let with = |name: &str, (value, error): (f64, f64)| Estimate::new(name, value, Some(error));
    let plain = |name: &str, value: f64| Estimate::new(name, value, None);
    let mut all = vec![
        with("harrell_c", values.harrell_c),
        with("uno_c", values.uno_c),
        plain("auc_at_horizon", values.auc),
        with("calibration_slope", values.slope),
        with("observed_over_expected", (ratio, values.observed.1 / values.expected)),
        with("observed_risk", values.observed),
        plain("expected_risk", values.expected),
        plain("brier", values.brier),
        plain("index_of_prediction_accuracy", 1.0 - values.brier / values.brier_null),
        plain("integrated_brier", values.integrated_brier),
        with("royston_d", values.royston_d),
        plain("royston_r2d", share),
    ];
    if let Some(deviation) = values.ici {
        all.push(plain("integrated_calibration_index", deviation.ici));
        all.push(plain("e50", deviation.e50));
        all.push(plain("e90", deviation.e90));
    }
    all
}
