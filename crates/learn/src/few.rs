//! Rules about few persons, which a site keeps by its own rows, whether sums are masked or not: a mask hides a site among others, and
//! nobody hides a person whom a variable of the plan singles out.
//!
//! A variable that is 1 for one person and 0 for all others is fitted exactly, so its coefficient tells her outcome from the sums of
//! all sites together; so do two variables whose difference is she. Where a site refused such a plan only when the person is there, the
//! refusal would tell that she is. So nobody counts like few here: a variable that does not vary at a site is refused as one that
//! is about few is. Each site answers the whole plan or nothing of it and leaves no variable out by itself, so the result is the
//! pooled one over the rows of the sites that answered.

use std::collections::BTreeMap;

use crate::LearnError;
use crate::algebra::Symmetric;
use crate::plan::{Outcome, Plan, Task};
use crate::table::{Data, Observed};
use crate::tasks::{Question, Scale};

/// Share of a variable's variance that others leave over, at least: what is below is rounding, or a few rows.
const LEFT_OVER: f64 = 1e-10;

/// Whose rows are whose: a person is counted once, however often she is in the tables.
pub(crate) struct People {
    /// For each table and row a number from 0 to `count`.
    of: Vec<Vec<usize>>,
    count: usize,
}

impl People {
    pub(crate) fn new(tables: &[Data]) -> Self {
        let mut all: Vec<u64> = tables.iter().flat_map(|table| table.persons.iter().copied()).collect();
        all.sort_unstable();
        all.dedup();
        let place = |mark: &u64| all.partition_point(|other| other < mark);
        let of = tables.iter().map(|table| table.persons.iter().map(place).collect()).collect();
        Self { of, count: all.len() }
    }

    /// Persons, each counted once.
    pub(crate) fn count(&self) -> u64 {
        self.count as u64
    }

    /// Persons of some rows, given as table and row.
    fn among(&self, rows: impl Iterator<Item = (usize, usize)>) -> u64 {
        let mut seen = vec![false; self.count];
        rows.for_each(|(table, row)| seen[self.of[table][row]] = true);
        seen.into_iter().filter(|seen| *seen).count() as u64
    }

    /// The largest total of a person, and that of all.
    fn shares(&self, amounts: impl Iterator<Item = ((usize, usize), f64)>) -> (f64, f64) {
        let mut totals = vec![0.0; self.count];
        amounts.for_each(|((table, row), amount)| totals[self.of[table][row]] += amount);
        (totals.iter().copied().fold(0.0, f64::max), totals.iter().sum())
    }
}

/// How few are too few.
#[derive(Clone, Copy)]
pub(crate) struct Bounds {
    /// Persons behind every number, at least.
    pub(crate) least: u64,
    /// Share of one person in a sum, at most.
    pub(crate) share: f64,
}

fn rows(tables: &[Data]) -> impl Iterator<Item = (usize, usize)> + '_ {
    tables.iter().enumerate().flat_map(|(table, data)| (0..data.rows).map(move |row| (table, row)))
}

/// A number that each row has: a variable, or the outcome.
struct Column<'p> {
    name: &'p str,
    source: &'p str,
    /// Its place among the variables; none for the outcome.
    at: Option<usize>,
}

impl Column<'_> {
    fn value(&self, tables: &[Data], (table, row): (usize, usize)) -> f64 {
        match (self.at, &tables[table].observed) {
            (Some(at), _) => tables[table].row(row)[at],
            (None, Observed::Number(values)) => values[row],
            (None, _) => 0.0,
        }
    }
}

fn columns(plan: &Plan) -> Vec<Column<'_>> {
    let mut columns = Vec::new();
    // Pixels are no measurements: a corner of an image may be black in all.
    if plan.variables.iter().all(|variable| variable.image.is_none()) {
        let of = |(at, variable): (usize, _)| {
            let variable: &crate::Variable = variable;
            Column { name: &variable.name, source: variable.source(), at: Some(at) }
        };
        columns.extend(plan.variables.iter().enumerate().map(of));
    }
    if let Some(Outcome::Number { value } | Outcome::Binary { value }) = &plan.outcome {
        columns.push(Column { name: &value.name, source: value.source(), at: None });
    }
    columns
}

/// Whether the plan's variables single out few persons at this site.
///
/// # Errors
/// [`LearnError::Few`].
pub(crate) fn few(site: &str, plan: &Plan, tables: &[Data], people: &People, bounds: Bounds) -> Result<(), LearnError> {
    let refuse = |reason: String| Err(LearnError::Few { site: site.to_owned(), reason });
    let least = bounds.least;
    let mut two_valued: BTreeMap<&str, Vec<&Column<'_>>> = BTreeMap::new();
    let columns = columns(plan);
    for column in &columns {
        let mut values: Vec<f64> = rows(tables).map(|at| column.value(tables, at)).collect();
        values.sort_unstable_by(f64::total_cmp);
        let mut runs = values.chunk_by(|a, b| a == b).map(|run| (run.len(), run[0])).collect::<Vec<_>>();
        runs.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.total_cmp(&b.1)));
        let Some((_, most_frequent)) = runs.first().copied() else { continue };
        let off = people.among(rows(tables).filter(|at| column.value(tables, *at) != most_frequent));
        let on = people.among(rows(tables).filter(|at| column.value(tables, *at) == most_frequent));
        if off < least || (runs.len() == 2 && on < least) {
            return refuse(format!("{} is about fewer than {least} of its persons", column.name));
        }
        if runs.len() == 2 {
            two_valued.entry(column.source).or_default().push(column);
        }
    }
    for group in two_valued.values().filter(|group| group.len() > 1) {
        let mut cells: BTreeMap<Vec<u64>, Vec<(usize, usize)>> = BTreeMap::new();
        for at in rows(tables) {
            let cell = group.iter().map(|column| column.value(tables, at).to_bits()).collect();
            cells.entry(cell).or_default().push(at);
        }
        // As many levels as variables tell apart, and the one that they leave over: where one is empty, it counts as few.
        let is_empty = cells.len() <= group.len();
        if is_empty || cells.into_values().any(|cell| people.among(cell.into_iter()) < least) {
            let names: Vec<&str> = group.iter().map(|column| column.name).collect();
            return refuse(format!("{} together are about fewer than {least} of its persons", names.join(", ")));
        }
    }
    match &plan.task {
        Task::LogRank { groups, .. } => {
            for group in groups {
                let members = rows(tables).filter(|(table, row)| tables[*table].row(*row).first() == Some(group));
                if people.among(members) < least {
                    return refuse(format!("a group has fewer than {least} of its persons"));
                }
            }
        }
        Task::Cox { stratified_by_site: true, .. } => {
            for (table, data) in tables.iter().enumerate() {
                if people.among((0..data.rows).map(|row| (table, row))) < least {
                    return refuse(format!("a stratum has fewer than {least} of its persons"));
                }
            }
        }
        _ => {}
    }
    if fits_lines(plan) {
        leverage(plan, tables, people, bounds).map_or_else(refuse, Ok)?;
    }
    Ok(())
}

/// Whether the plan fits a line through the variables, which goes exactly through a person of whom they tell enough.
fn fits_lines(plan: &Plan) -> bool {
    match &plan.task {
        Task::Linear { .. } | Task::Logistic { .. } | Task::Cox { .. } | Task::DiscreteTime { .. } => true,
        Task::Averaging(settings) => settings.network.is_none(),
        _ => false,
    }
}

/// The part of a person's own outcome in what a regression on these variables says of her (the diagonal of the hat matrix; Hoaglin
/// and Welsch 1978). Of one whom a combination of variables singles out it is 1. More rows elsewhere make it smaller only.
///
/// # Errors
/// Why it is too large, or too large for somebody who may not be there.
fn leverage(plan: &Plan, tables: &[Data], people: &People, bounds: Bounds) -> Result<(), String> {
    let p = plan.variables.len();
    #[expect(clippy::cast_precision_loss, reason = "counts of rows are far below 2^53")]
    let n = rows(tables).count() as f64;
    let row = |(table, row): (usize, usize)| tables[table].row(row);
    let mut scales = vec![Scale { mean: 0.0, sd: 0.0 }; p];
    for at in rows(tables) {
        scales.iter_mut().zip(row(at)).for_each(|(scale, x)| scale.mean += x / n);
    }
    for at in rows(tables) {
        scales.iter_mut().zip(row(at)).for_each(|(scale, x)| scale.sd += (x - scale.mean) * (x - scale.mean) / n);
    }
    scales.iter_mut().for_each(|scale| scale.sd = scale.sd.sqrt());
    let scaled =
        |at: (usize, usize)| -> Vec<f64> { row(at).iter().zip(&scales).map(|(x, scale)| scale.of(*x)).collect() };
    let mut products = Symmetric::zeros(p);
    for at in rows(tables) {
        let z = scaled(at);
        for i in 0..p {
            for j in i..p {
                products.entries[i * p + j] += z[i] * z[j] / n;
            }
        }
    }
    for i in 0..p {
        for j in 0..i {
            products.entries[i * p + j] = products.entries[j * p + i];
        }
    }
    let determined = || "its rows hardly tell a variable from what the others say, but for a few".to_owned();
    let factor = products.cholesky_above(LEFT_OVER).ok_or_else(determined)?;
    let of = |at| {
        let own: f64 = factor.forward(&scaled(at)).iter().map(|part| part * part).sum();
        (at, (1.0 + own) / n)
    };
    let (largest, _) = people.shares(rows(tables).map(of));
    if largest > bounds.share {
        return Err("the variables together single out a person".to_owned());
    }
    Ok(())
}

/// Whether one person makes up too much of what a question sums: amounts, or their squares, from the centre that it names.
///
/// # Errors
/// [`LearnError::Few`].
pub(crate) fn dominated(
    site: &str,
    plan: &Plan,
    tables: &[Data],
    people: &People,
    share: f64,
    question: &Question,
) -> Result<(), LearnError> {
    let centre = |at: usize| match question {
        Question::Prepare => Some(0.0),
        Question::Spread { means } => means.get(at).copied(),
        Question::Products { scales } | Question::Score { scales, .. } | Question::RiskSets { scales, .. } => {
            scales.get(at).map(|scale| scale.mean)
        }
        _ => None,
    };
    for column in columns(plan) {
        let is_amount = column.at.is_some() || matches!(plan.task, Task::Linear { .. });
        let Some(centre) = centre(column.at.unwrap_or(plan.variables.len())).filter(|_| is_amount) else { continue };
        let squares = rows(tables).map(|at| {
            let distance = column.value(tables, at) - centre;
            (at, distance * distance)
        });
        // Nobody makes up more of a sum than of the sum of squares.
        let (largest, sum) = people.shares(squares);
        if largest > share * sum {
            let reason = format!("one person makes up too much of the sum of {}", column.name);
            return Err(LearnError::Few { site: site.to_owned(), reason });
        }
    }
    Ok(())
}
