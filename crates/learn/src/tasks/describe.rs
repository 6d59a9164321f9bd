//! Counts, means, histograms, quantiles.

use serde::{Deserialize, Serialize};

use crate::LearnError;
use crate::plan::{Plan, Task};
use crate::sums::Sums;
use crate::table::Data;
use crate::tasks::{Kept, Next, Outcome, Question, State, shown};

/// Rows and events. A count of few persons is not shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CountResult {
    /// Rows.
    pub rows: Option<u64>,
    /// Rows with the event.
    pub events: Option<u64>,
}

/// Means and standard deviations.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MomentsResult {
    /// Rows.
    pub rows: u64,
    /// Name, mean, standard deviation (divisor n - 1).
    pub variables: Vec<(String, f64, f64)>,
}

/// Counts between edges.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HistogramResult {
    /// The edges.
    pub edges: Vec<f64>,
    /// Name and counts; a count of few persons is not shown.
    pub variables: Vec<(String, Vec<Option<u64>>)>,
}

/// Quantiles.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QuantileResult {
    /// Shares of rows at or below.
    pub shares: Vec<f64>,
    /// Name and one quantile for each share.
    pub variables: Vec<(String, Vec<f64>)>,
}

fn done(outcome: Outcome) -> Result<Next, LearnError> {
    Ok(Next::Done(Box::new(outcome)))
}

pub(crate) fn count_result(plan: &Plan, sums: &Sums) -> CountResult {
    let minimum = plan.privacy.minimum_count;
    CountResult {
        rows: shown(sums.whole(0), minimum),
        events: plan.outcome.as_ref().and_then(|_| shown(sums.whole(1), minimum)),
    }
}

pub(crate) fn spread(data: &Data, means: &[f64], sums: &mut Sums) {
    sums.count(0, data.rows as u64);
    for row in 0..data.rows {
        for (j, (x, mean)) in data.row(row).iter().zip(means).enumerate() {
            sums.add(1 + j, (x - mean) * (x - mean));
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of rows are far below 2^53")]
pub(crate) fn moments_means(plan: &Plan, sums: &Sums) -> Result<Next, LearnError> {
    let rows = sums.whole(0);
    if rows < 2 {
        return Err(LearnError::Estimate { reason: "there are fewer than two rows" });
    }
    let minimum = plan.privacy.minimum_count;
    let p = plan.variables.len();
    let is_few = |j: usize| {
        // Only numbers of 0 and 1 are their squares; their sum is a count.
        let (sum, squares) = (sums.values()[2 + j], sums.values()[2 + p + j]);
        sum == squares
            && [sums.whole(2 + j), rows - sums.whole(2 + j).min(rows)].iter().any(|n| shown(*n, minimum).is_none())
    };
    if shown(rows, minimum).is_none() || (0..p).any(is_few) {
        return Err(LearnError::Estimate { reason: "fewer rows than the plan's minimum_count are behind a mean" });
    }
    let means = (0..p).map(|j| sums.get(2 + j) / rows as f64).collect();
    Ok(Next::ask(Question::Spread { means }, Kept { rows, ..Kept::default() }))
}

#[expect(clippy::cast_precision_loss, reason = "counts of rows are far below 2^53")]
pub(crate) fn moments_result(plan: &Plan, state: &State, sums: &Sums) -> Result<Next, LearnError> {
    let Question::Spread { means } = &*state.question else { return Err(crate::protocol::out_of_turn()) };
    let rows = sums.whole(0);
    let sd = |j: usize| (sums.get(1 + j) / (rows as f64 - 1.0)).sqrt();
    let variables =
        plan.variables.iter().enumerate().map(|(j, variable)| (variable.name.clone(), means[j], sd(j))).collect();
    done(Outcome::Moments(MomentsResult { rows, variables }))
}

/// The bin of a number: bins are closed below; below the first edge is the first bin, above the last is the last.
pub(crate) fn bin(edges: &[f64], x: f64) -> usize {
    edges.partition_point(|edge| *edge <= x).saturating_sub(1).min(edges.len() - 2)
}

pub(crate) fn histogram(data: &Data, edges: &[Vec<f64>], sums: &mut Sums) {
    for row in 0..data.rows {
        let mut start = 0;
        for (x, edges) in data.row(row).iter().zip(edges) {
            sums.count(start + bin(edges, *x), 1);
            start += edges.len() - 1;
        }
    }
}

pub(crate) fn histogram_result(plan: &Plan, edges: &[f64], sums: &Sums) -> Result<Next, LearnError> {
    let width = edges.len() - 1;
    let counts = |j: usize| {
        (0..width).map(|bin| shown(sums.whole(j * width + bin), plan.privacy.minimum_count)).collect::<Vec<_>>()
    };
    let variables = plan.variables.iter().enumerate().map(|(j, variable)| (variable.name.clone(), counts(j))).collect();
    done(Outcome::Histogram(HistogramResult { edges: edges.to_vec(), variables }))
}

/// Points a bracket is cut at in one round.
const CUTS: u64 = 63;

fn quantile_task(plan: &Plan) -> (&[f64], f64, f64, f64) {
    match &plan.task {
        Task::Quantile { shares, low, high, resolution } => (shares, *low, *high, *resolution),
        _ => (&[], 0.0, 1.0, 1.0),
    }
}

/// Candidates are `low + step * resolution` for steps 0 to the last.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked when the plan was read")]
fn last_step(plan: &Plan) -> u64 {
    let (_, low, high, resolution) = quantile_task(plan);
    ((high - low) / resolution).ceil() as u64
}

/// Steps at which a bracket is looked at, from its lower end on: at most [`CUTS`] of them.
fn cuts(low: u64, high: u64) -> Vec<u64> {
    let width = high - low;
    let parts = CUTS.min(width);
    (0..parts)
        .map(|part| low + u64::try_from(u128::from(width) * u128::from(part) / u128::from(parts)).unwrap_or(0))
        .collect()
}

#[expect(clippy::cast_precision_loss, reason = "steps are below 1e15")]
fn points(plan: &Plan, brackets: &[(u64, u64)]) -> Vec<Vec<f64>> {
    let (shares, low, _, resolution) = quantile_task(plan);
    brackets
        .chunks(shares.len())
        .map(|brackets| {
            brackets.iter().flat_map(|(from, to)| cuts(*from, *to)).map(|step| low + step as f64 * resolution).collect()
        })
        .collect()
}

pub(crate) fn quantile_start(plan: &Plan) -> State {
    let (shares, ..) = quantile_task(plan);
    let brackets = vec![(0, last_step(plan)); shares.len() * plan.variables.len()];
    let question = Question::Below { points: points(plan, &brackets) };
    State { question: question.into(), kept: Kept { brackets, ..Kept::default() } }
}

/// Points must lie on the plan's resolution: no finer question is answered.
pub(crate) fn quantile_fits(plan: &Plan, points: &[Vec<f64>]) -> bool {
    let (shares, low, high, resolution) = quantile_task(plan);
    let on_grid = |point: f64| {
        let step = (point - low) / resolution;
        (step - step.round()).abs() < 1e-6 && point >= low && point <= high + resolution
    };
    points.len() == plan.variables.len()
        && points.iter().all(|points| {
            points.len() <= shares.len() * usize::try_from(CUTS).unwrap_or(0)
                && points.iter().all(|point| on_grid(*point))
        })
}

pub(crate) fn below(data: &Data, points: &[Vec<f64>], sums: &mut Sums) {
    sums.count(0, data.rows as u64);
    let mut at = 1;
    for (variable, points) in points.iter().enumerate() {
        let mut values: Vec<f64> = (0..data.rows).map(|row| data.row(row)[variable]).collect();
        values.sort_unstable_by(f64::total_cmp);
        for point in points {
            sums.count(at, values.partition_point(|x| x <= point) as u64);
            at += 1;
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts of rows are far below 2^53"
)]
pub(crate) fn quantile_step(plan: &Plan, mut kept: Kept, sums: &Sums) -> Result<Next, LearnError> {
    let (shares, low, _, resolution) = quantile_task(plan);
    let rows = sums.whole(0);
    if rows == 0 {
        return Err(LearnError::Estimate { reason: "there are no rows" });
    }
    let mut at = 1;
    for (index, bracket) in kept.brackets.iter_mut().enumerate() {
        // The smallest value with at least this many rows at or below; a hair below, so that 0.3 * 10 is 3.
        let wanted = ((rows as f64 * shares[index % shares.len()]) - 1e-9).ceil().max(1.0) as u64;
        let (mut from, mut to) = *bracket;
        for cut in cuts(bracket.0, bracket.1) {
            if sums.whole(at) >= wanted {
                to = to.min(cut);
            } else {
                from = from.max(cut + 1);
            }
            at += 1;
        }
        *bracket = (from.min(to), to);
    }
    if kept.brackets.iter().any(|(from, to)| from < to) {
        return Ok(Next::ask(Question::Below { points: points(plan, &kept.brackets) }, kept));
    }
    let value = |step: u64| low + step as f64 * resolution;
    let variables = plan
        .variables
        .iter()
        .zip(kept.brackets.chunks(shares.len()))
        .map(|(variable, brackets)| (variable.name.clone(), brackets.iter().map(|(_, to)| value(*to)).collect()))
        .collect();
    done(Outcome::Quantile(QuantileResult { shares: shares.to_vec(), variables }))
}
