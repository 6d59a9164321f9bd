//! External validation: a frozen model at sites it may never have seen.
//!
//! Each site computes what the model is worth on its own rows and hands out numbers about all of them; nothing is refitted.
//! Sites are pooled by random effects, with an interval for the next site.

mod binary;
mod page;
mod pool;
mod record;
mod request;
mod sample;
mod survival;

use serde::{Deserialize, Serialize};

use crate::LearnError;
use crate::frozen::Frozen;
use crate::model::Model;
use crate::table::{Data, Observed};
use crate::validate::sample::quantile_7;

pub(crate) use binary::area_under_curve;
pub use page::page;
pub use pool::Pooled;
pub use record::{Evidence, Field, Heading, Import, Predictor, Record, Statement};
pub use request::{Reading, SiteFinding, SiteSignature, VALIDATION, ValidationRequest, finding_digest};
pub use survival::Deviation;

/// How a model is validated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Validation {
    /// Days at which risks are compared; for survival.
    pub horizon_days: f64,
    /// Days at which Brier scores are integrated; for survival.
    pub grid_days: Vec<f64>,
    /// Risks from which on somebody would act.
    pub thresholds: Vec<f64>,
    /// Bootstrap samples for intervals.
    pub bootstraps: u32,
    /// Seed of the bootstrap.
    pub seed: u64,
    /// Rows, and events, below which a subgroup is not shown.
    pub minimum_count: u64,
    /// Whether only persons count whom the model's plan held out from training.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub held_out: bool,
}

impl Validation {
    /// The usual settings: the model's own horizon, ten steps up to it (those its maker states, of a model of another program),
    /// thresholds of 10 to 60 %, a thousand samples.
    pub fn usual<'m>(model: impl Into<Frozen<'m>>) -> Self {
        let (horizon_days, grid_days) = model.into().horizons();
        Self {
            horizon_days,
            grid_days,
            thresholds: (1..7).map(|tenth| f64::from(tenth) / 10.0).collect(),
            bootstraps: 1000,
            seed: 1,
            minimum_count: 10,
            held_out: false,
        }
    }

    /// The same with risks compared at another day.
    #[must_use]
    pub fn at<'m>(self, days: f64, model: impl Into<Frozen<'m>>) -> Self {
        let grid_days = match model.into() {
            Frozen::Own(_) => (1..10).map(|step| days * f64::from(step) / 10.0).collect(),
            Frozen::Imported(_) => self.grid_days.into_iter().filter(|day| *day <= days + 0.5).collect(),
        };
        Self { horizon_days: days, grid_days, ..self }
    }
}

/// A number with what is known of its precision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// Which measure.
    pub name: String,
    /// Its value.
    pub value: f64,
    /// Standard error by its own formula, where it has one.
    pub standard_error: Option<f64>,
    /// 95 % interval of the bootstrap (percentiles).
    pub interval: Option<(f64, f64)>,
}

impl Estimate {
    pub(crate) fn new(name: &str, value: f64, standard_error: Option<f64>) -> Self {
        Self { name: name.to_owned(), value, standard_error, interval: None }
    }
}

/// Benefit of acting on a risk above a threshold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NetBenefit {
    /// The threshold.
    pub threshold: f64,
    /// Share of rows above it.
    pub flagged: f64,
    /// Net benefit of the model.
    pub model: f64,
    /// Net benefit of acting on everybody.
    pub everybody: f64,
    /// 95 % interval of the model's, by the bootstrap.
    pub interval: Option<(f64, f64)>,
}

/// Whom a cut through the predicted risks picks out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RocPoint {
    /// Share of rows at or above the cut.
    pub flagged: f64,
    /// Share of those with the event that are at or above it.
    pub sensitivity: f64,
    /// Share of those without the event that are below it.
    pub specificity: f64,
}

/// What the model is worth among some rows of a site.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Subgroup {
    /// Column.
    pub column: String,
    /// Its text; none for all groups that are not shown.
    pub value: Option<String>,
    /// Rows; not shown when few.
    pub rows: Option<u64>,
    /// Events; not shown when few.
    pub events: Option<u64>,
    /// Discrimination, calibration slope, observed over expected; empty when few.
    pub estimates: Vec<Estimate>,
}

/// What the model is worth at one site.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SiteEvaluation {
    /// Name of the site.
    pub site: String,
    /// Rows.
    pub rows: u64,
    /// Rows with the event.
    pub events: u64,
    /// Rows left out because they lack a value.
    pub dropped: u64,
    /// Measures.
    pub estimates: Vec<Estimate>,
    /// Mean predicted and observed risk in fifths by predicted risk.
    pub fifths: Vec<(f64, f64)>,
    /// Predicted and smoothed observed risk.
    pub calibration_curve: Vec<(f64, f64)>,
    /// Decision curve.
    pub net_benefit: Vec<NetBenefit>,
    /// Receiver operating characteristic, from the highest cut to the lowest; no two cuts with few events, or few rows without one, between them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roc: Vec<RocPoint>,
    /// Subgroups.
    pub subgroups: Vec<Subgroup>,
    /// Share of rows more than four standard deviations from the training mean, for each variable.
    pub unlike_training: Vec<(String, f64)>,
    /// Bootstrap samples that gave no estimate.
    pub bootstraps_failed: u32,
}

enum Prepared {
    Survival(survival::Prepared),
    Binary(binary::Prepared),
}

impl Prepared {
    /// `data` holds risks where the model is of another program: see [`Frozen::said`].
    fn new(model: Frozen<'_>, data: &Data, settings: &Validation) -> Result<Self, LearnError> {
        match model {
            Frozen::Own(model) => Self::of_model(model, data, settings),
            Frozen::Imported(model) => Self::of_risks(&model.manifest().horizons_days(), data, settings),
        }
    }

    fn of_model(model: &Model, data: &Data, settings: &Validation) -> Result<Self, LearnError> {
        let (lp, values, event) = data.predicted(model);
        match (&data.observed, model.is_survival()) {
            (Observed::Survival { .. }, true) => Ok(Self::Survival(survival::Prepared::new(
                &lp,
                &values,
                &event,
                settings.horizon_days,
                &settings.grid_days,
                &|row, days| model.risk(lp[row], days),
            )?)),
            (Observed::Number(_), false) if model.risk(0.0, 0.0).is_some() => {
                Ok(Self::Binary(binary::Prepared::new(&lp, &event)))
            }
            _ => Err(unmeasured()),
        }
    }

    fn of_risks(horizons_days: &[f64], data: &Data, settings: &Validation) -> Result<Self, LearnError> {
        let place = |days: f64| horizons_days.iter().position(|horizon| (horizon - days).abs() < 0.5);
        let risk = |row: usize, days: f64| place(days).map(|at| data.row(row)[at]);
        match &data.observed {
            Observed::Survival { time, event } => {
                // Rows are ranked by their risk at the horizon.
                let lp = (0..data.rows).map(|row| risk(row, settings.horizon_days).map(survival::predictor_of));
                let lp = lp.collect::<Option<Vec<f64>>>().unwrap_or_else(|| vec![0.0; data.rows]);
                let (horizon, grid) = (settings.horizon_days, &settings.grid_days);
                Ok(Self::Survival(survival::Prepared::new(&lp, time, event, horizon, grid, &risk)?))
            }
            Observed::Number(values) => {
                let event: Vec<bool> = values.iter().map(|value| *value == 1.0).collect();
                Ok(Self::Binary(binary::Prepared::of_risks(&data.x, &event)))
            }
            Observed::Nothing => Err(unmeasured()),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Survival(prepared) => prepared.sample.len(),
            Self::Binary(prepared) => prepared.len(),
        }
    }

    fn estimates(&self, weights: &[f64]) -> Result<Vec<Estimate>, LearnError> {
        match self {
            Self::Survival(prepared) => Ok(survival::estimates(&prepared.values(weights)?)),
            Self::Binary(prepared) => prepared.estimates(weights),
        }
    }

    fn net_benefit(&self, weights: &[f64], thresholds: &[f64]) -> Vec<NetBenefit> {
        match self {
            Self::Survival(prepared) => prepared.net_benefit(weights, thresholds),
            Self::Binary(prepared) => prepared.net_benefit(weights, thresholds),
        }
    }

    fn roc(&self, settings: &Validation) -> Vec<RocPoint> {
        let minimum = usize::try_from(settings.minimum_count).unwrap_or(usize::MAX);
        let cuts = |risks, known: Vec<Option<bool>>| cuts(risks, &known, &settings.thresholds, minimum);
        match self {
            Self::Survival(prepared) => prepared.roc(&cuts(&prepared.risk, prepared.known())),
            Self::Binary(prepared) => prepared.roc(&cuts(&prepared.risk, prepared.known())),
        }
    }

    /// Where each row of the sample came from.
    fn rows(&self) -> &[usize] {
        match self {
            Self::Survival(prepared) => &prepared.sample.row,
            Self::Binary(prepared) => &prepared.row,
        }
    }
}

/// Cuts through the risks, from the highest: at most so many, for a curve that is read by eye.
const CUTS_MAX: usize = 40;

/// Risks that cut the rows into parts, from the highest. Each part has so many rows known to have the event at least, and so many known not
/// to; and as thresholds tell of shares too, so many rows lie between a cut and a threshold, or none.
fn cuts(risks: &[f64], known: &[Option<bool>], thresholds: &[f64], minimum: usize) -> Vec<f64> {
    let mut falling: Vec<(f64, Option<bool>)> = risks.iter().copied().zip(known.iter().copied()).collect();
    falling.sort_by(|a, b| b.0.total_cmp(&a.0));
    let n = falling.len();
    let told: Vec<usize> =
        thresholds.iter().map(|threshold| falling.partition_point(|(risk, _)| risk > threshold)).collect();
    let are_told_apart = |above: usize| told.iter().all(|told| *told == above || told.abs_diff(above) >= minimum);
    let count = |of: bool| known.iter().filter(|known| **known == Some(of)).count();
    let mut below = [count(true), count(false)];
    let (mut part, mut rows) = ([0, 0], 0);
    let is_many =
        |rows: usize, counts: [usize; 2]| rows >= n / CUTS_MAX && counts.iter().all(|count| *count >= minimum);
    let mut cuts = Vec::new();
    for (at, pair) in falling.windows(2).enumerate() {
        rows += 1;
        if let Some(event) = pair[0].1 {
            part[usize::from(!event)] += 1;
            below[usize::from(!event)] -= 1;
        }
        // Equal risks are on one side.
        let is_border = pair[0].0 > pair[1].0;
        if is_border && is_many(rows, part) && is_many(n - at - 1, below) && are_told_apart(at + 1) {
            cuts.push(pair[0].0);
            (part, rows) = ([0, 0], 0);
        }
    }
    cuts
}

fn unmeasured() -> LearnError {
    LearnError::Model { message: "its kind of outcome cannot be validated yet".to_owned() }
}

/// How often each row is drawn in a bootstrap sample: a stream keyed with seed and number, so samples can be drawn in any
/// order and on any machine.
fn bootstrap_weights(seed: u64, number: u32, rows: &[usize]) -> Vec<f64> {
    let n = rows.len();
    let mut stream = blake3::Hasher::new_derive_key("acequia bootstrap 1")
        .update(&seed.to_le_bytes())
        .update(&number.to_le_bytes())
        .finalize_xof();
    let mut bytes = vec![0u8; n * 4];
    stream.fill(&mut bytes);
    let mut drawn = vec![0.0; n];
    for four in bytes.chunks_exact(4) {
        let random = u32::from_le_bytes([four[0], four[1], four[2], four[3]]);
        drawn[((u64::from(random) * n as u64) >> 32) as usize] += 1.0;
    }
    // Draws are of rows as they are in the file, whatever the order the sample is kept in.
    rows.iter().map(|row| drawn[*row]).collect()
}

fn interval(mut values: Vec<f64>) -> Option<(f64, f64)> {
    values.retain(|value| value.is_finite());
    if values.len() < 20 {
        return None;
    }
    values.sort_by(f64::total_cmp);
    let weighted: Vec<(f64, f64)> = values.into_iter().map(|value| (value, 1.0)).collect();
    Some((quantile_7(&weighted, 0.025), quantile_7(&weighted, 0.975)))
}

/// Evaluates a frozen model on one site's rows. `groups` names the columns that the table was read with for subgroups.
///
/// # Errors
/// [`LearnError::Withheld`] with few rows or events, [`LearnError::Estimate`] when a measure does not exist,
/// [`LearnError::Model`] for a model that states no risk; for a model of another program [`LearnError::Inference`],
/// [`LearnError::Manifest`] and [`LearnError::Unlike`].
pub fn evaluate<'m>(
    model: impl Into<Frozen<'m>>,
    data: &Data,
    groups: &[String],
    settings: &Validation,
) -> Result<SiteEvaluation, LearnError> {
    let model = model.into();
    if settings.held_out && model.cohort().held_out.is_none() {
        return Err(LearnError::Model { message: "its plan held nobody out (cohort.held_out)".to_owned() });
    }
    let events = data.events();
    let few = |rows: u64, events: u64| rows < settings.minimum_count || events < settings.minimum_count;
    if few(data.rows as u64, events) {
        let reason = format!("fewer than {} rows or events", settings.minimum_count);
        return Err(LearnError::Withheld { site: data.name.clone(), reason });
    }
    let said = model.said(data)?;
    let measured = said.as_ref().unwrap_or(data);
    let prepared = Prepared::new(model, measured, settings)?;
    let ones = vec![1.0; prepared.len()];
    let mut estimates = prepared.estimates(&ones)?;
    let mut net_benefit = prepared.net_benefit(&ones, &settings.thresholds);
    let mut drawn: Vec<Vec<f64>> = vec![Vec::new(); estimates.len()];
    let mut drawn_benefit: Vec<Vec<f64>> = vec![Vec::new(); net_benefit.len()];
    let mut bootstraps_failed = 0;
    for number in 0..settings.bootstraps {
        let weights = bootstrap_weights(settings.seed, number, prepared.rows());
        match prepared.estimates(&weights) {
            Ok(sample) if sample.len() == estimates.len() => {
                drawn.iter_mut().zip(&sample).for_each(|(drawn, one)| drawn.push(one.value));
            }
            _ => bootstraps_failed += 1,
        }
        let sample = prepared.net_benefit(&weights, &settings.thresholds);
        drawn_benefit.iter_mut().zip(&sample).for_each(|(drawn, one)| drawn.push(one.model));
    }
    estimates.iter_mut().zip(drawn).for_each(|(estimate, drawn)| estimate.interval = interval(drawn));
    net_benefit.iter_mut().zip(drawn_benefit).for_each(|(one, drawn)| one.interval = interval(drawn));
    let (fifths, calibration_curve) = match &prepared {
        Prepared::Survival(prepared) => (prepared.groups(5), prepared.calibration_curve()?),
        Prepared::Binary(prepared) => (prepared.groups(5), prepared.calibration_curve()?),
    };
    Ok(SiteEvaluation {
        site: data.name.clone(),
        rows: data.rows as u64,
        events,
        dropped: data.dropped,
        estimates,
        fifths,
        calibration_curve,
        net_benefit,
        roc: prepared.roc(settings),
        subgroups: subgroups(model, measured, groups, settings),
        unlike_training: unlike_training(model, data),
        bootstraps_failed,
    })
}

/// Bootstrap samples of a subgroup, at most: there may be many subgroups.
const SUBGROUP_BOOTSTRAPS: u32 = 200;

/// Some measures of a group, with intervals.
fn of_group(
    model: Frozen<'_>,
    part: &Data,
    names: &[&str],
    settings: &Validation,
) -> Result<Vec<Estimate>, LearnError> {
    let prepared = Prepared::new(model, part, settings)?;
    let wanted = |all: Vec<Estimate>| -> Vec<Estimate> {
        all.into_iter().filter(|one| names.contains(&one.name.as_str())).collect()
    };
    let mut estimates = wanted(prepared.estimates(&vec![1.0; prepared.len()])?);
    let mut drawn: Vec<Vec<f64>> = vec![Vec::new(); estimates.len()];
    for number in 0..settings.bootstraps.min(SUBGROUP_BOOTSTRAPS) {
        let weights = bootstrap_weights(settings.seed, number, prepared.rows());
        if let Ok(sample) = prepared.estimates(&weights).map(wanted)
            && sample.len() == estimates.len()
        {
            drawn.iter_mut().zip(&sample).for_each(|(drawn, one)| drawn.push(one.value));
        }
    }
    estimates.iter_mut().zip(drawn).for_each(|(estimate, drawn)| estimate.interval = interval(drawn));
    Ok(estimates)
}

/// Measures by group. Groups with few rows or events are told as one, without their names, which may be values of single
/// persons; and that one must not be small itself, or the others would give it away by subtraction.
fn subgroups(model: Frozen<'_>, data: &Data, groups: &[String], settings: &Validation) -> Vec<Subgroup> {
    const SHOWN: [&str; 4] = ["harrell_c", "auc", "calibration_slope", "observed_over_expected"];
    let few = |rows: u64, events: u64| rows < settings.minimum_count || events < settings.minimum_count;
    let mut all = Vec::new();
    for (at, column) in groups.iter().enumerate() {
        let (mut hidden, mut shown): (Vec<_>, Vec<_>) =
            data.split_by_group(at).into_iter().partition(|(_, part)| few(part.rows as u64, part.events()));
        let total = |hidden: &[(String, Data)]| {
            hidden.iter().fold((0, 0), |(rows, events), (_, part)| (rows + part.rows as u64, events + part.events()))
        };
        while let (rows, events) = total(&hidden)
            && few(rows, events)
            && !hidden.is_empty()
            && let Some(smallest) = (0..shown.len()).min_by_key(|at| (shown[*at].1.events(), shown[*at].1.rows))
        {
            hidden.push(shown.remove(smallest));
        }
        for (value, part) in shown {
            let estimates = of_group(model, &part, &SHOWN, settings).unwrap_or_default();
            all.push(Subgroup {
                column: column.clone(),
                value: Some(value),
                rows: Some(part.rows as u64),
                events: Some(part.events()),
                estimates,
            });
        }
        if !hidden.is_empty() {
            all.push(Subgroup { column: column.clone(), value: None, rows: None, events: None, estimates: Vec::new() });
        }
    }
    all
}

#[expect(clippy::cast_precision_loss, reason = "counts of rows are far below 2^53")]
fn unlike_training(model: Frozen<'_>, data: &Data) -> Vec<(String, f64)> {
    model
        .variables()
        .into_iter()
        .zip(model.seen())
        .enumerate()
        .filter_map(|(j, (variable, seen))| {
            let seen = seen?;
            let far = (0..data.rows).filter(|row| seen.of(data.row(*row)[j]).abs() > 4.0).count();
            Some((variable.name, far as f64 / data.rows as f64))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Nobody learns of few from two cuts, or from a cut and a threshold.
        #[test]
        fn no_cut_tells_of_few(
            rows in prop::collection::vec((0u8..100, any::<Option<bool>>()), 0..400), thresholds in prop::collection::vec(0.0f64..1.0, 0..4),
            minimum in 1usize..20,
        ) {
            let (risks, known): (Vec<f64>, Vec<Option<bool>>) =
                rows.into_iter().map(|(risk, event)| (f64::from(risk) / 100.0, event)).unzip();
            let cuts = cuts(&risks, &known, &thresholds, minimum);
            let above = |cut: f64, event: bool| risks.iter().zip(&known).filter(|(risk, own)| **risk >= cut && **own == Some(event)).count();
            let ends = [f64::INFINITY].into_iter().chain(cuts.iter().copied()).chain([f64::NEG_INFINITY]);
            let ends: Vec<f64> = ends.collect();
            for pair in ends.windows(2).filter(|_| !cuts.is_empty()) {
                for event in [true, false] {
                    prop_assert!(above(pair[1], event) - above(pair[0], event) >= minimum);
                }
            }
            for cut in cuts {
                for threshold in &thresholds {
                    let between = risks.iter().filter(|risk| (**risk >= cut) != (**risk > *threshold)).count();
                    prop_assert!(between == 0 || between >= minimum);
                }
            }
        }
    }
}
