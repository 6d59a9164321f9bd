//! Kaplan–Meier curves, and tables of events per time that log-rank tests need too.

use serde::{Deserialize, Serialize};

use crate::LearnError;
use crate::plan::{Outcome as PlanOutcome, Plan, Task, TimeGrid};
use crate::sums::Sums;
use crate::table::{Data, Observed};
use crate::tasks::{Block, Next, Outcome};

/// Follow-up that a table of times has room for where the plan has no cut: a hundred years.
const LONGEST_DAYS: f64 = 36_525.0;

/// One step of a survival curve.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SurvivalPoint {
    /// End of the step of the time grid, in days.
    pub days: f64,
    /// Persons at risk before.
    pub at_risk: u64,
    /// Probability of being without the event after it.
    pub survival: f64,
    /// Greenwood's standard error.
    pub standard_error: f64,
}

/// A survival curve. It ends where fewer persons than the plan's smallest count are at risk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SurvivalResult {
    /// Rows.
    pub rows: u64,
    /// Events.
    pub events: u64,
    /// Steps with an event.
    pub points: Vec<SurvivalPoint>,
    /// Days by which half have the event.
    pub median_days: Option<f64>,
}

impl SurvivalResult {
    /// Probability of being without the event at `days`, with its standard error.
    pub fn at(&self, days: f64) -> (f64, f64) {
        let point = self.points.iter().take_while(|point| point.days <= days).last();
        point.map_or((1.0, 0.0), |point| (point.survival, point.standard_error))
    }
}

/// Whole steps of the grid, rounded up: an event is not moved to before it happened.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "saturates; too long is refused by the caller"
)]
pub(crate) fn grid_index(days: f64, width: f64) -> u32 {
    (days / width).ceil() as u32
}

/// Steps a table of times has.
pub(crate) fn bins(plan: &Plan, width: f64) -> usize {
    let last = plan.outcome.as_ref().and_then(PlanOutcome::cut_days).unwrap_or(LONGEST_DAYS);
    grid_index(last, width) as usize + 1
}

fn grid(plan: &Plan) -> (f64, &[f64]) {
    match &plan.task {
        Task::LogRank { time_grid, groups, .. } => (time_grid.days, groups),
        Task::KaplanMeier { time_grid } => (time_grid.days, &[]),
        _ => (1.0, &[]),
    }
}

pub(crate) fn shape(plan: &Plan) -> Vec<Block> {
    let (width, groups) = grid(plan);
    let numbers = bins(plan, width) * groups.len().max(1);
    vec![
        Block::new("events per step of the time grid, for each group", numbers, true),
        Block::new("ends of follow-up per step of the time grid, for each group", numbers, true),
    ]
}

/// The group of a row: always 0 without groups.
pub(crate) fn group_of(groups: &[f64], data: &Data, row: usize) -> Result<usize, LearnError> {
    if groups.is_empty() {
        return Ok(0);
    }
    let value = data.row(row)[0];
    groups
        .iter()
        .position(|group| *group == value)
        .ok_or(LearnError::Estimate { reason: "a row is in none of the groups of the plan" })
}

pub(crate) fn add(plan: &Plan, data: &Data, sums: &mut Sums) -> Result<(), LearnError> {
    let (width, groups) = grid(plan);
    let steps = bins(plan, width);
    let all = steps * groups.len().max(1);
    let Observed::Survival { time, event } = &data.observed else { return Err(crate::protocol::out_of_turn()) };
    for row in 0..data.rows {
        let index = grid_index(time[row], width) as usize;
        if index >= steps {
            return Err(LearnError::Estimate { reason: "follow-up is longer than 100 years, or than the cut" });
        }
        let at = group_of(groups, data, row)? * steps + index;
        sums.count(if event[row] { at } else { all + at }, 1);
    }
    Ok(())
}

/// Events, ends of follow-up and persons at risk per step.
pub(crate) fn table(sums: &Sums, start: usize, all: usize, steps: usize) -> Vec<(u64, u64)> {
    let mut at_risk = 0;
    let mut rows: Vec<(u64, u64)> = (0..steps)
        .rev()
        .map(|step| {
            let events = sums.whole(start + step);
            at_risk += events + sums.whole(all + start + step);
            (events, at_risk)
        })
        .collect();
    rows.reverse();
    rows
}

#[expect(clippy::cast_precision_loss, reason = "counts of rows are far below 2^53")]
pub(crate) fn result(plan: &Plan, time_grid: TimeGrid, sums: &Sums) -> Result<Next, LearnError> {
    let steps = bins(plan, time_grid.days);
    let table = table(sums, 0, steps, steps);
    let rows = table.first().map_or(0, |row| row.1);
    if rows == 0 {
        return Err(LearnError::Estimate { reason: "there are no rows" });
    }
    // The last step of the grid may reach beyond the cut, and its events happened before.
    let cut = plan.outcome.as_ref().and_then(PlanOutcome::cut_days).unwrap_or(f64::INFINITY);
    let (mut survival, mut greenwood) = (1.0, 0.0);
    let (mut points, mut median_days) = (Vec::new(), None);
    for (step, (events, at_risk)) in table.iter().enumerate() {
        if *events == 0 {
            continue;
        }
        if *at_risk < plan.privacy.minimum_count {
            break;
        }
        let (d, n) = (*events as f64, *at_risk as f64);
        survival *= 1.0 - d / n;
        greenwood += d / (n * (n - d));
        let days = (step as f64 * time_grid.days).min(cut);
        points.push(SurvivalPoint {
            days,
            at_risk: *at_risk,
            survival,
            standard_error: if survival > 0.0 { survival * greenwood.sqrt() } else { 0.0 },
        });
        if survival <= 0.5 && median_days.is_none() {
            median_days = Some(days);
        }
    }
    let events = table.iter().map(|row| row.0).sum();
    Ok(Next::Done(Box::new(Outcome::Survival(SurvivalResult { rows, events, points, median_days }))))
}
