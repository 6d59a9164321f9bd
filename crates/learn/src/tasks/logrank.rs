//! The log-rank test, over all rows at once or within sites.

use serde::{Deserialize, Serialize};

use crate::LearnError;
use crate::algebra::{Symmetric, packed_len};
use crate::plan::{Plan, Task};
use crate::special::chi_squared_above;
use crate::sums::Sums;
use crate::table::Data;
use crate::tasks::survival::{self, bins};
use crate::tasks::{Block, Next, Outcome};

/// A log-rank test.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogRankResult {
    /// The groups, as values of the variable.
    pub groups: Vec<f64>,
    /// Events in each group.
    pub observed: Vec<f64>,
    /// Events expected if the groups had the same hazard.
    pub expected: Vec<f64>,
    /// Chi-squared statistic.
    pub chi_squared: f64,
    /// Its degrees of freedom.
    pub degrees_of_freedom: usize,
    /// Chance of a statistic this large without a difference.
    pub p_value: f64,
}

fn settings(plan: &Plan) -> (&[f64], f64, bool) {
    match &plan.task {
        Task::LogRank { groups, time_grid, stratified_by_site } => (groups, time_grid.days, *stratified_by_site),
        _ => (&[], 1.0, false),
    }
}

pub(crate) fn shape(plan: &Plan) -> Vec<Block> {
    let g = settings(plan).0.len();
    vec![
        Block::new("events of each group", g, false),
        Block::new("expected events of each group", g, false),
        Block::new("variances of observed less expected events", packed_len(g), false),
    ]
}

/// Observed, expected, variance (packed) from tables of events and persons at risk per group.
#[expect(clippy::cast_precision_loss, reason = "counts of rows are far below 2^53")]
fn moments(tables: &[Vec<(u64, u64)>]) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let g = tables.len();
    let (mut observed, mut expected, mut variance) = (vec![0.0; g], vec![0.0; g], vec![0.0; packed_len(g)]);
    for step in 0..tables[0].len() {
        let d: u64 = tables.iter().map(|table| table[step].0).sum();
        let n: u64 = tables.iter().map(|table| table[step].1).sum();
        if d == 0 {
            continue;
        }
        let (d, n) = (d as f64, n as f64);
        let spread = if n > 1.0 { d * (n - d) / (n - 1.0) } else { 0.0 };
        let mut at = 0;
        for i in 0..g {
            let share = tables[i][step].1 as f64 / n;
            observed[i] += tables[i][step].0 as f64;
            expected[i] += d * share;
            for (j, table) in tables.iter().enumerate().skip(i) {
                let other = table[step].1 as f64 / n;
                variance[at] += spread * (share * f64::from(u8::from(i == j)) - share * other);
                at += 1;
            }
        }
    }
    (observed, expected, variance)
}

pub(crate) fn add_site(plan: &Plan, data: &Data, sums: &mut Sums) -> Result<(), LearnError> {
    let (groups, width, _) = settings(plan);
    let steps = bins(plan, width);
    let all = steps * groups.len();
    let mut own = Sums::zeros(2 * all);
    survival::add(plan, data, &mut own)?;
    let tables: Vec<_> = (0..groups.len()).map(|group| survival::table(&own, group * steps, all, steps)).collect();
    let (observed, expected, variance) = moments(&tables);
    observed.iter().chain(&expected).chain(&variance).enumerate().for_each(|(at, term)| sums.add(at, *term));
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "the number of groups is small")]
pub(crate) fn result(plan: &Plan, sums: &Sums) -> Result<Next, LearnError> {
    let (groups, width, stratified) = settings(plan);
    let g = groups.len();
    let (observed, expected, variance) = if stratified {
        let part = |from: usize, to: usize| (from..to).map(|at| sums.get(at)).collect::<Vec<_>>();
        (part(0, g), part(g, 2 * g), part(2 * g, 2 * g + packed_len(g)))
    } else {
        let steps = bins(plan, width);
        let tables: Vec<_> = (0..g).map(|group| survival::table(sums, group * steps, steps * g, steps)).collect();
        moments(&tables)
    };
    // The differences add up to nothing, so the last group is left out.
    let whole = Symmetric::from_packed(g, |at| variance[at]);
    let mut matrix = Symmetric::zeros(g - 1);
    for i in 0..g - 1 {
        for j in i..g - 1 {
            matrix.set(i, j, whole.get(i, j));
        }
    }
    let difference: Vec<f64> = (0..g - 1).map(|i| observed[i] - expected[i]).collect();
    let solved = matrix.cholesky()?.solve(&difference);
    let chi_squared = solved.iter().zip(&difference).map(|(a, b)| a * b).sum();
    Ok(Next::Done(Box::new(Outcome::LogRank(LogRankResult {
        groups: groups.to_vec(),
        observed,
        expected,
        chi_squared,
        degrees_of_freedom: g - 1,
        p_value: chi_squared_above(chi_squared, (g - 1) as f64),
    }))))
}
