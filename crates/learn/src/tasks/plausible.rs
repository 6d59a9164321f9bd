//! Whether pooled sums can be of any rows at all. Whoever gets a sum looks before going on with it: a site that sends what no rows
//! give, by mistake or to spoil the result, is noticed here where it goes beyond what rows could be. Masks hide which site it was.
//!
//! What is within bounds passes: nobody sees that a site made rows up.

use crate::LearnError;
use crate::algebra::Symmetric;
use crate::plan::{Averaging, Plan, Task};
use crate::sums::{FRACTION, Sums};
use crate::tasks::{Kept, Question};

/// Largest weight that steps of gradient descent may come to, here and where a question names it.
pub(crate) const WEIGHT_MAX: f64 = 1e6;
/// Orders up to which a matrix is looked at as a whole, and not only two rows at a time.
const WHOLE_MAX: usize = 64;
/// What masks and floats may be off, as a part.
const PART: f64 = 1e-6;

fn implausible(what: &'static str) -> LearnError {
    LearnError::Implausible { what }
}

struct Look<'s> {
    sums: &'s Sums,
}

impl Look<'_> {
    /// A whole number from 0 up to a limit.
    fn count(&self, at: usize, most: u64, what: &'static str) -> Result<u64, LearnError> {
        let value = self.sums.values()[at];
        let whole = self.sums.whole(at);
        let is_whole =
            value.checked_sub(i128::from(whole) << FRACTION).is_some_and(|off| off.abs() < 1 << (FRACTION - 20));
        if is_whole && whole <= most { Ok(whole) } else { Err(implausible(what)) }
    }

    fn not_negative(&self, at: usize, what: &'static str) -> Result<f64, LearnError> {
        let value = self.sums.get(at);
        if value >= -PART { Ok(value) } else { Err(implausible(what)) }
    }
}

/// Whether it can be a sum of squares and products: no direction of it is negative.
fn semidefinite(matrix: &Symmetric, what: &'static str) -> Result<(), LearnError> {
    let p = matrix.order;
    for i in 0..p {
        for j in i..p {
            let (own, other, both) = (matrix.get(i, i), matrix.get(j, j), matrix.get(i, j));
            let slack = PART * (1.0 + own.abs() + other.abs());
            if own < -slack || both * both > (own * other).max(0.0) + slack * (1.0 + own.abs() + other.abs()) {
                return Err(implausible(what));
            }
        }
    }
    if p <= WHOLE_MAX {
        let (values, _) = matrix.eigen();
        let largest = values.first().copied().unwrap_or(0.0);
        if values.last().is_some_and(|least| *least < -PART * (1.0 + largest.abs()) * 10.0) {
            return Err(implausible(what));
        }
    }
    Ok(())
}

/// Looks at the sums that answer a question.
///
/// # Errors
/// [`LearnError::Implausible`].
pub(crate) fn plausible(
    plan: &Plan,
    question: &Question,
    kept: &Kept,
    sums: &Sums,
    sites: &[String],
) -> Result<(), LearnError> {
    let look = Look { sums };
    let is_noisy = plan.task.guarantee().is_some();
    // Rows become fewer on the way, where sites drop out; a site with fewer than the plan says does not answer.
    let before = if kept.rows > 0 && !is_noisy { kept.rows } else { u64::MAX >> 20 };
    let rows = |at: usize| {
        let rows = look.count(at, before, "rows")?;
        if rows < plan.privacy.minimum_rows.saturating_mul(sites.len() as u64) {
            return Err(implausible("rows"));
        }
        Ok(rows)
    };
    match question {
        Question::Count => {
            look.count(1, rows(0)?, "rows with the event")?;
        }
        Question::Prepare => prepared(plan, &look, rows(0)?)?,
        Question::Spread { means } => {
            rows(0)?;
            for at in 0..means.len() {
                look.not_negative(1 + at, "squared distances")?;
            }
        }
        Question::Histogram { edges } => {
            let (mut start, mut all) = (0, None);
            for edges in edges {
                let counts = (start..start + edges.len() - 1).map(|at| look.count(at, before, "rows between edges"));
                let total: u64 = counts.sum::<Result<u64, _>>()?;
                if *all.get_or_insert(total) != total {
                    return Err(implausible("rows between edges"));
                }
                start += edges.len() - 1;
            }
        }
        Question::Below { points } => {
            let rows = rows(0)?;
            for at in 0..points.iter().map(Vec::len).sum() {
                look.count(1 + at, rows, "rows at or below a point")?;
            }
        }
        Question::Times => {
            for at in 0..sums.len() {
                look.count(at, before, "rows per step of the time grid")?;
            }
        }
        Question::LogRank => {
            let Task::LogRank { groups, .. } = &plan.task else { return Ok(()) };
            let g = groups.len();
            let (mut observed, mut expected) = (0.0, 0.0);
            for at in 0..g {
                look.count(at, before, "events of a group")?;
                observed += sums.get(at);
                expected += look.not_negative(g + at, "expected events of a group")?;
            }
            if (observed - expected).abs() > PART * (1.0 + observed) {
                return Err(implausible("expected events of a group"));
            }
            semidefinite(&Symmetric::from_packed(g, |at| sums.get(2 * g + at)), "variances of events")?;
        }
        Question::Products { scales } => {
            let (rows, q) = (rows(0)?, scales.len());
            let mut matrix = Symmetric::zeros(q + 1);
            #[expect(clippy::cast_precision_loss, reason = "counts of rows are far below 2^53")]
            matrix.set(0, 0, rows as f64);
            let mut at = 1 + q;
            for i in 0..q {
                matrix.set(0, 1 + i, sums.get(1 + i));
                for j in i..q {
                    matrix.set(1 + i, 1 + j, sums.get(at));
                    at += 1;
                }
            }
            semidefinite(&matrix, "products of variables")?;
        }
        Question::Score { coefficients, .. } => {
            look.count(1, rows(0)?, "rows with the event")?;
            if sums.get(2) > PART {
                return Err(implausible("log-likelihood"));
            }
            let q = coefficients.len();
            semidefinite(&Symmetric::from_packed(q, |at| sums.get(3 + q + at)), "information")?;
        }
        Question::RiskSets { coefficients, times, .. } => {
            let (rows, p, k) = (rows(0)?, coefficients.len(), times.len());
            let events: u64 = (0..k).map(|set| look.count(1 + p + set, rows, "events")).sum::<Result<u64, _>>()?;
            if events > rows {
                return Err(implausible("events"));
            }
            let width = 1 + p + crate::algebra::packed_len(p);
            for set in (1 + p + k..sums.len()).step_by(width) {
                let packed = Symmetric::from_packed(p, |at| sums.get(set + 1 + p + at));
                look.not_negative(set, "sums over persons at risk")?;
                for i in 0..p {
                    if packed.get(i, i) < -PART {
                        return Err(implausible("sums over persons at risk"));
                    }
                }
            }
        }
        Question::Level { edges, open, .. } => {
            let bins: usize = edges.iter().map(|edges| edges.len() + 1).sum();
            let second = open.len() * bins;
            for node in 0..open.len() {
                let (mut start, mut totals) = (node * bins, None);
                for edges in edges {
                    let of = start..start + edges.len() + 1;
                    let mut curvature = 0.0;
                    for at in of.clone() {
                        curvature += look.not_negative(second + at, "second derivatives")?;
                    }
                    let gradient: f64 = of.clone().map(|at| sums.get(at)).sum();
                    let (first, other) = *totals.get_or_insert((gradient, curvature));
                    // Every row of the node is in one bin of each variable.
                    if (first - gradient).abs() > PART * (1.0 + first.abs())
                        || (other - curvature).abs() > PART * (1.0 + other)
                    {
                        return Err(implausible("gradients"));
                    }
                    start = of.end;
                }
            }
        }
        Question::Descend { weights, .. } => {
            if let (Task::Averaging(settings), false) = (&plan.task, is_noisy) {
                averaged(settings, &look, rows(0)?, weights)?;
            }
        }
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "counts of rows are far below 2^53")]
fn prepared(plan: &Plan, look: &Look<'_>, rows: u64) -> Result<(), LearnError> {
    let events = look.count(1, rows, "rows with the event")?;
    let q = plan.variables.len() + usize::from(matches!(plan.task, Task::Linear { .. }));
    for j in 0..q {
        let (sum, squares) = (look.sums.get(2 + j), look.not_negative(2 + q + j, "sums of squares")?);
        // Cauchy and Schwarz.
        if sum * sum > rows as f64 * squares * (1.0 + PART) + PART {
            return Err(implausible("sums of squares"));
        }
    }
    let steps = 2 + 2 * q..look.sums.len();
    if !steps.is_empty() {
        let counted: u64 = steps.map(|at| look.count(at, events, "events")).sum::<Result<u64, _>>()?;
        if counted != events {
            return Err(implausible("events"));
        }
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "counts of rows are far below 2^53")]
fn averaged(settings: &Averaging, look: &Look<'_>, rows: u64, weights: &[f64]) -> Result<(), LearnError> {
    look.count(1, rows, "rows with the event")?;
    let mut length = 0.0;
    for (j, weight) in weights.iter().enumerate() {
        let mean = look.sums.get(2 + j) / rows.max(1) as f64;
        if mean.abs() > WEIGHT_MAX {
            return Err(implausible("weights"));
        }
        length += (mean - weight) * (mean - weight);
    }
    // The mean of changes that each site cut is no longer than they are.
    if settings.longest_change.is_some_and(|longest| length.sqrt() > longest * (1.0 + PART) + PART) {
        return Err(implausible("changes of weights"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(text: &str) -> Plan {
        Plan::from_toml(&format!(
            "schema = \"acequia-plan/1\"\ntitle = \"A\"\nprivacy = {{ minimum_rows = 10 }}\naggregation = {{ protection = \"none\" }}\n{text}"
        ))
        .unwrap()
    }

    fn sums(numbers: &[f64]) -> Sums {
        let mut sums = Sums::zeros(numbers.len());
        numbers.iter().enumerate().for_each(|(at, number)| sums.add(at, *number));
        sums
    }

    #[track_caller]
    fn told(plan: &Plan, question: &Question, kept: &Kept, numbers: &[f64], expected: Option<&str>) {
        let sites = ["north".to_owned(), "south".to_owned()];
        match (plausible(plan, question, kept, &sums(numbers), &sites), expected) {
            (Ok(()), None) => {}
            (Err(LearnError::Implausible { what }), Some(expected)) => assert_eq!(what, expected),
            (found, expected) => panic!("{found:?} is not {expected:?}"),
        }
    }

    #[test]
    fn counts_are_whole_and_within_rows() {
        let plan = plan("task = { kind = \"count\" }");
        let kept = Kept::default();
        for (numbers, expected) in [
            ([30.0, 4.0], None),
            ([30.0, 31.0], Some("rows with the event")),
            ([30.0, -1.0], Some("rows with the event")),
            ([30.5, 4.0], Some("rows")),
            ([-30.0, 0.0], Some("rows")),
            // Of two sites with ten rows each, at least.
            ([19.0, 4.0], Some("rows")),
            ([1e18, 4.0], Some("rows")),
        ] {
            told(&plan, &Question::Count, &kept, &numbers, expected);
        }
    }

    #[test]
    fn squares_and_information_are_those_of_rows() {
        let plan = plan("task = { kind = \"moments\" }\nvariables = [{ name = \"x\" }]");
        let kept = Kept::default();
        told(&plan, &Question::Prepare, &kept, &[20.0, 0.0, 40.0, 100.0], None);
        // The mean is 2, so that the squares add up to 80 at least.
        told(&plan, &Question::Prepare, &kept, &[20.0, 0.0, 40.0, 79.0], Some("sums of squares"));
        told(&plan, &Question::Prepare, &kept, &[20.0, 0.0, 0.0, -5.0], Some("sums of squares"));
        let spread = Question::Spread { means: vec![2.0] };
        told(&plan, &spread, &kept, &[20.0, -1.0], Some("squared distances"));
        told(&plan, &spread, &Kept { rows: 20, ..Kept::default() }, &[25.0, 1.0], Some("rows"));
        let logistic = self::plan(
            "task = { kind = \"logistic\" }\noutcome = { kind = \"binary\", value = { name = \"y\" } }\nvariables = [{ name = \"x\" }]",
        );
        let score = Question::Score { scales: Vec::new(), coefficients: vec![0.0, 0.0] };
        let of = |likelihood: f64, last: f64| vec![20.0, 5.0, likelihood, 1.0, 1.0, 4.0, 3.0, last];
        told(&logistic, &score, &kept, &of(-10.0, 4.0), None);
        told(&logistic, &score, &kept, &of(-10.0, 1.0), Some("information"));
        told(&logistic, &score, &kept, &of(-10.0, -4.0), Some("information"));
        told(&logistic, &score, &kept, &of(3.0, 4.0), Some("log-likelihood"));
    }

    #[test]
    fn a_change_is_no_longer_than_each_site_cuts_its_own() {
        let plan = plan(
            "task = { kind = \"averaging\", strategy = { kind = \"fed-avg\" }, rounds = 2, local_steps = 1, batch = 10, rate = 0.1, longest_change = 1.0 }\noutcome = { kind = \"binary\", value = { name = \"y\" } }\nvariables = [{ name = \"x\" }]",
        );
        let question = Question::Descend { step: 0, scales: Vec::new(), weights: vec![0.0, 0.0], anchor: None };
        let kept = Kept::default();
        told(&plan, &question, &kept, &[20.0, 5.0, 12.0, 16.0], None);
        told(&plan, &question, &kept, &[20.0, 5.0, 13.0, 16.0], Some("changes of weights"));
        told(&plan, &question, &kept, &[20.0, 5.0, 20.0 * 2e6, 0.0], Some("weights"));
    }
}
