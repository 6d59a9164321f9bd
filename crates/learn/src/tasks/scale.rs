//! Federated normalisation: centre and unit of every variable over all rows of all sites, from sums.

use serde::{Deserialize, Serialize};

use crate::LearnError;
use crate::plan::{Plan, Task};
use crate::sums::Sums;
use crate::table::{Data, Observed};
use crate::tasks::Block;
use crate::tasks::survival::{bins, grid_index};

/// Largest number that is summed; see [`Sums::add`].
const MOST: f64 = (1u64 << 62) as f64;

/// Centre and unit of a variable.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scale {
    /// Mean over all rows.
    pub mean: f64,
    /// Standard deviation over all rows (divisor n - 1), 1 for a constant.
    pub sd: f64,
}

impl Scale {
    pub(crate) fn is_sound(&self) -> bool {
        // Sums reach no further, and a unit this small would make numbers of rounding.
        self.mean.abs() < MOST && self.sd < MOST && self.sd > 1e-100
    }

    pub(crate) fn of(self, x: f64) -> f64 {
        (x - self.mean) / self.sd
    }
}

/// Whether the outcome is scaled like a variable.
fn scales_outcome(plan: &Plan) -> bool {
    matches!(plan.task, Task::Linear { .. })
}

/// The grid of a Cox model whose event times must be known.
fn event_grid(plan: &Plan) -> Option<f64> {
    match &plan.task {
        Task::Cox { time_grid, stratified_by_site: false, .. } => Some(time_grid.days),
        _ => None,
    }
}

pub(crate) fn shape(plan: &Plan) -> Vec<Block> {
    let q = plan.variables.len() + usize::from(scales_outcome(plan));
    let mut blocks = vec![
        Block::new("rows", 1, false),
        Block::new("rows with the event", 1, false),
        Block::new("sums of each variable", q, false),
        Block::new("sums of squares of each variable", q, false),
    ];
    if let Some(days) = event_grid(plan) {
        blocks.push(Block::new("events per step of the time grid", bins(plan, days), true));
    }
    blocks
}

pub(crate) fn add(plan: &Plan, data: &Data, sums: &mut Sums) -> Result<(), LearnError> {
    let p = data.width;
    let q = p + usize::from(scales_outcome(plan));
    sums.count(0, data.rows as u64);
    sums.count(1, data.events());
    for row in 0..data.rows {
        for (j, x) in data.row(row).iter().enumerate() {
            sums.add(2 + j, *x);
            sums.add(2 + q + j, x * x);
        }
    }
    if let (true, Observed::Number(values)) = (q > p, &data.observed) {
        for y in values {
            sums.add(2 + p, *y);
            sums.add(2 + q + p, y * y);
        }
    }
    if let (Some(days), Observed::Survival { time, event }) = (event_grid(plan), &data.observed) {
        let steps = bins(plan, days);
        for (time, _) in time.iter().zip(event).filter(|(_, event)| **event) {
            let index = grid_index(*time, days) as usize;
            if index >= steps {
                return Err(LearnError::Estimate { reason: "follow-up is longer than 100 years, or than the cut" });
            }
            sums.count(2 + 2 * q + index, 1);
        }
    }
    Ok(())
}

/// Rows, events, scales (the outcome's last, where it is scaled) and the grid steps with events.
pub(crate) struct Prepared {
    pub(crate) rows: u64,
    pub(crate) events: u64,
    pub(crate) scales: Vec<Scale>,
    pub(crate) times: Vec<u32>,
}

#[expect(clippy::cast_precision_loss, reason = "counts of rows are far below 2^53")]
pub(crate) fn prepared(plan: &Plan, sums: &Sums) -> Result<Prepared, LearnError> {
    let q = plan.variables.len() + usize::from(scales_outcome(plan));
    let rows = sums.whole(0);
    if rows < 2 {
        return Err(LearnError::Estimate { reason: "there are fewer than two rows" });
    }
    let n = rows as f64;
    let scales = (0..q)
        .map(|j| {
            let mean = sums.get(2 + j) / n;
            let variance = (sums.get(2 + q + j) - sums.get(2 + j) * mean) / (n - 1.0);
            // A constant has no unit; what is left of its variance is rounding.
            let is_constant = variance <= mean * mean * 1e-14;
            Scale { mean, sd: if is_constant { 1.0 } else { variance.sqrt() } }
        })
        .collect();
    let times = (2 + 2 * q..sums.len())
        .filter(|at| sums.whole(*at) > 0)
        .map(|at| u32::try_from(at - 2 - 2 * q).unwrap_or(u32::MAX))
        .collect();
    Ok(Prepared { rows, events: sums.whole(1), scales, times })
}
