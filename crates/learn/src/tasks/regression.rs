//! Least squares, logistic regression and discrete-time survival.

use crate::LearnError;
use crate::algebra::{Symmetric, packed_len};
use crate::model::{Form, Model};
use crate::plan::{Link, Newton, Plan, Task};
use crate::sums::Sums;
use crate::table::{Data, Observed};
use crate::tasks::pca::covariance;
use crate::tasks::scale::{Scale, prepared};
use crate::tasks::{Block, Kept, Next, Outcome, Question, fit};

/// Intercepts come first, then one coefficient for each variable.
fn intercepts(plan: &Plan) -> usize {
    match &plan.task {
        Task::DiscreteTime { ends_days, .. } => ends_days.len(),
        _ => 1,
    }
}

pub(crate) fn shape(plan: &Plan, coefficients: usize) -> Vec<Block> {
    let fine = matches!(plan.task, Task::DiscreteTime { .. });
    vec![
        Block::new("rows", 1, false),
        Block::new("rows with the event", 1, false),
        Block::new("log-likelihood", 1, false),
        Block::new("gradient of the log-likelihood", coefficients, fine),
        Block::new("information matrix", packed_len(coefficients), fine),
    ]
}

/// Contribution of one observation with probability `mu`: log-likelihood, score and weight with respect to the linear
/// predictor.
pub(crate) struct Contribution {
    pub(crate) log_likelihood: f64,
    pub(crate) score: f64,
    pub(crate) weight: f64,
}

/// log(1 + exp(x)) without overflow.
pub(crate) fn log1p_exp(x: f64) -> f64 {
    if x > 0.0 { x + libm::log1p(libm::exp(-x)) } else { libm::log1p(libm::exp(x)) }
}

pub(crate) fn logistic(x: f64) -> f64 {
    if x >= 0.0 {
        1.0 / (1.0 + libm::exp(-x))
    } else {
        let e = libm::exp(x);
        e / (1.0 + e)
    }
}

pub(crate) fn contribution(link: Link, eta: f64, y: bool) -> Contribution {
    match link {
        Link::Logit => {
            let mu = logistic(eta);
            Contribution {
                log_likelihood: if y { -log1p_exp(-eta) } else { -log1p_exp(eta) },
                score: f64::from(u8::from(y)) - mu,
                weight: mu * (1.0 - mu),
            }
        }
        Link::Cloglog => {
            // Beyond these the hazard is 0 or 1 to working precision.
            let eta = eta.clamp(-30.0, 3.5);
            let rate = libm::exp(eta);
            let mu = -libm::expm1(-rate);
            let slope = rate * libm::exp(-rate);
            Contribution {
                log_likelihood: if y { libm::log(mu) } else { -rate },
                score: if y { slope / mu } else { -rate },
                weight: slope * slope / (mu * (1.0 - mu)),
            }
        }
    }
}

fn put(sums: &mut Sums, q: usize, active: &[(usize, f64)], part: &Contribution) {
    sums.add(2, part.log_likelihood);
    for (i, (at, x)) in active.iter().enumerate() {
        sums.add(3 + at, part.score * x);
        // Row `at` of the packed triangle starts after the rows above it.
        let row = 3 + q + at * q - at * at.saturating_sub(1) / 2 - at;
        let weighted = part.weight * x;
        for (other, y) in &active[i..] {
            sums.add(row + other, weighted * y);
        }
    }
}

pub(crate) fn add(
    plan: &Plan,
    data: &Data,
    scales: &[Scale],
    coefficients: &[f64],
    sums: &mut Sums,
) -> Result<(), LearnError> {
    let q = coefficients.len();
    let first = intercepts(plan);
    sums.count(0, data.rows as u64);
    sums.count(1, data.events());
    let mut active: Vec<(usize, f64)> = vec![(0, 1.0); data.width + 1];
    for row in 0..data.rows {
        for (j, (x, scale)) in data.row(row).iter().zip(scales).enumerate() {
            active[1 + j] = (first + j, scale.of(*x));
        }
        let slope: f64 = active[1..].iter().map(|(at, z)| coefficients[*at] * z).sum();
        match (&plan.task, &data.observed) {
            (Task::Logistic { .. }, Observed::Number(values)) => {
                active[0] = (0, 1.0);
                put(sums, q, &active, &contribution(Link::Logit, coefficients[0] + slope, values[row] == 1.0));
            }
            (Task::DiscreteTime { ends_days, link, .. }, Observed::Survival { time, event }) => {
                let mut begin = 0.0;
                for (interval, end) in ends_days.iter().enumerate() {
                    if time[row] <= begin {
                        break;
                    }
                    active[0] = (interval, 1.0);
                    let happened = event[row] && time[row] <= *end;
                    put(sums, q, &active, &contribution(*link, coefficients[interval] + slope, happened));
                    begin = *end;
                }
            }
            _ => return Err(crate::protocol::out_of_turn()),
        }
    }
    Ok(())
}

/// What a step of Newton's method needs: log-likelihood, gradient, information, all without the penalty.
pub(crate) struct Local {
    pub(crate) log_likelihood: f64,
    pub(crate) gradient: Vec<f64>,
    pub(crate) information: Symmetric,
}

/// A step of Newton's method.
pub(crate) enum Step {
    /// Ask again with these coefficients.
    Ask(Vec<f64>),
    /// These coefficients, their covariance and the log-likelihood where it was last computed.
    Done(Vec<f64>, Symmetric, f64),
}

/// Largest coefficient of a scaled variable that means anything.
pub(crate) const COEFFICIENT_MAX: f64 = 1e4;

/// One step of Newton's method with halving. `penalties` are the second derivatives of the penalty.
///
/// # Errors
/// [`LearnError::Estimate`] when it does not converge or the information is singular.
pub(crate) fn newton(
    kept: &mut Kept,
    settings: Newton,
    coefficients: &[f64],
    penalties: &[f64],
    mut local: Local,
) -> Result<Step, LearnError> {
    let penalty: f64 = coefficients.iter().zip(penalties).map(|(b, l)| l * b * b / 2.0).sum();
    let objective = local.log_likelihood - penalty;
    kept.iterations += 1;
    if kept.null.is_none() {
        kept.null = Some(local.log_likelihood);
    }
    if let Some((before, reached)) = kept.last.as_ref().filter(|_| kept.last_rows == kept.rows) {
        // Past the top: go back half of the way. The last digits of a sum are noise, hence the slack.
        if !objective.is_finite() || objective < reached - 1e-9 * (1.0 + reached.abs()) {
            if kept.iterations >= settings.rounds {
                return Err(no_convergence());
            }
            return Ok(Step::Ask(before.iter().zip(coefficients).map(|(a, b)| (a + b) / 2.0).collect()));
        }
    }
    for (at, (b, l)) in coefficients.iter().zip(penalties).enumerate() {
        local.gradient[at] -= l * b;
        let diagonal = local.information.get(at, at) + l;
        local.information.set(at, at, diagonal);
    }
    let factor = local.information.cholesky()?;
    let step = factor.solve(&local.gradient);
    let next: Vec<f64> = coefficients.iter().zip(&step).map(|(b, s)| b + s).collect();
    if step.iter().all(|step| step.abs() < settings.tolerance) {
        return Ok(Step::Done(next, factor.inverse(), local.log_likelihood));
    }
    if kept.iterations >= settings.rounds || next.iter().any(|b| !b.is_finite() || b.abs() > COEFFICIENT_MAX) {
        return Err(no_convergence());
    }
    kept.last = Some((coefficients.to_vec(), objective));
    kept.last_rows = kept.rows;
    Ok(Step::Ask(next))
}

fn no_convergence() -> LearnError {
    LearnError::Estimate {
        reason: "Newton's method does not settle: a variable may predict the outcome perfectly; set a ridge penalty",
    }
}

/// Penalties on scaled coefficients, for a penalty on the coefficients that are reported: those of standardised variables
/// as they are, others per unit of the variable.
pub(crate) fn penalties(plan: &Plan, scales: &[Scale], first: usize, ridge: f64) -> Vec<f64> {
    let of = |(j, scale): (usize, &Scale)| {
        if plan.variables[j].standardise { ridge } else { ridge / (scale.sd * scale.sd) }
    };
    std::iter::repeat_n(0.0, first).chain(scales.iter().enumerate().map(of)).collect()
}

/// Coefficients, standard errors, and what the intercept changes by, when scaled coefficients become those that are reported.
pub(crate) fn reported(
    plan: &Plan,
    scales: &[Scale],
    scaled: &[f64],
    covariance: &Symmetric,
    first: usize,
) -> Reported {
    let units: Vec<f64> = scales
        .iter()
        .enumerate()
        .map(|(j, scale)| if plan.variables[j].standardise { 1.0 } else { scale.sd })
        .collect();
    let centres: Vec<f64> = scales
        .iter()
        .enumerate()
        .map(|(j, scale)| if plan.variables[j].standardise { 0.0 } else { scale.mean })
        .collect();
    let coefficients: Vec<f64> = scaled[first..].iter().zip(&units).map(|(b, unit)| b / unit).collect();
    let standard_errors =
        units.iter().enumerate().map(|(j, unit)| covariance.get(first + j, first + j).sqrt() / unit).collect();
    let shift = coefficients.iter().zip(&centres).map(|(b, centre)| b * centre).sum();
    // An intercept at zero of the variables is a linear function of the scaled estimates.
    let intercept_errors = (0..first)
        .map(|own| {
            let weight = |at: usize| match at {
                at if at == own => 1.0,
                at if at < first => 0.0,
                at => -centres[at - first] / units[at - first],
            };
            let n = covariance.order;
            let variance: f64 = (0..n)
                .flat_map(|i| (0..n).map(move |j| (i, j)))
                .map(|(i, j)| weight(i) * weight(j) * covariance.get(i, j))
                .sum();
            variance.max(0.0).sqrt()
        })
        .collect();
    Reported { coefficients, standard_errors, intercept_errors, shift }
}

/// Coefficients as they are reported.
pub(crate) struct Reported {
    pub(crate) coefficients: Vec<f64>,
    pub(crate) standard_errors: Vec<f64>,
    pub(crate) intercept_errors: Vec<f64>,
    /// Linear predictor of a row of zeros, seen from the centre.
    pub(crate) shift: f64,
}

pub(crate) fn newton_step(
    plan: &Plan,
    question: &Question,
    mut kept: Kept,
    sums: &Sums,
    sites: &[String],
) -> Result<Next, LearnError> {
    let first = intercepts(plan);
    let Question::Score { scales, coefficients } = question else {
        let prepared = prepared(plan, sums)?;
        let coefficients = vec![0.0; first + plan.variables.len()];
        let kept = Kept { rows: prepared.rows, events: prepared.events, ..kept };
        return Ok(Next::ask(Question::Score { scales: prepared.scales, coefficients }, kept));
    };
    let (ridge, settings) = match &plan.task {
        Task::Logistic { ridge, newton } | Task::DiscreteTime { ridge, newton, .. } => (*ridge, *newton),
        _ => return Err(crate::protocol::out_of_turn()),
    };
    let q = coefficients.len();
    kept.rows = sums.whole(0);
    kept.events = sums.whole(1);
    let local = Local {
        log_likelihood: sums.get(2),
        gradient: (0..q).map(|at| sums.get(3 + at)).collect(),
        information: Symmetric::from_packed(q, |at| sums.get(3 + q + at)),
    };
    let penalties = penalties(plan, scales, first, ridge);
    match newton(&mut kept, settings, coefficients, &penalties, local)? {
        Step::Ask(coefficients) => Ok(Next::ask(Question::Score { scales: scales.clone(), coefficients }, kept)),
        Step::Done(scaled, covariance, log_likelihood) => {
            let reported = reported(plan, scales, &scaled, &covariance, first);
            let intercepts = scaled[..first].iter().map(|b| b - reported.shift).collect::<Vec<_>>();
            let form = match &plan.task {
                Task::DiscreteTime { ends_days, link, .. } => Form::DiscreteTime {
                    link: *link,
                    ends_days: ends_days.clone(),
                    intercepts,
                    intercept_errors: reported.intercept_errors,
                    coefficients: reported.coefficients,
                    standard_errors: reported.standard_errors,
                },
                _ => Form::Logistic {
                    intercept: intercepts[0],
                    intercept_error: Some(reported.intercept_errors[0]),
                    coefficients: reported.coefficients,
                    standard_errors: reported.standard_errors,
                },
            };
            let fit = fit(&kept, Some(log_likelihood));
            Ok(Next::Done(Box::new(Outcome::Model(Box::new(Model::new(plan, scales, form, fit, sites))))))
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of rows are far below 2^53")]
pub(crate) fn linear_step(
    plan: &Plan,
    question: &Question,
    kept: Kept,
    sums: &Sums,
    ridge: f64,
    sites: &[String],
) -> Result<Next, LearnError> {
    let Question::Products { scales } = question else {
        let prepared = prepared(plan, sums)?;
        let kept = Kept { rows: prepared.rows, ..kept };
        return Ok(Next::ask(Question::Products { scales: prepared.scales }, kept));
    };
    let p = plan.variables.len();
    let kept = Kept { rows: sums.whole(0), ..kept };
    let n = kept.rows as f64;
    if kept.rows <= p as u64 + 1 {
        return Err(LearnError::Estimate { reason: "there are not more rows than coefficients" });
    }
    let whole = covariance(sums, p + 1);
    let y = scales[p];
    let mut matrix = Symmetric::zeros(p);
    for i in 0..p {
        for j in i..p {
            matrix.set(i, j, whole.get(i, j) * (n - 1.0));
        }
    }
    let unpenalised = matrix.clone();
    let weights = penalties(plan, &scales[..p], 0, ridge);
    for (at, weight) in weights.iter().enumerate() {
        let diagonal = matrix.get(at, at) + weight;
        matrix.set(at, at, diagonal);
    }
    let right: Vec<f64> = (0..p).map(|i| whole.get(i, p) * (n - 1.0)).collect();
    let factor = matrix.cholesky()?;
    let scaled = factor.solve(&right);
    let mut residual = whole.get(p, p) * (n - 1.0);
    for i in 0..p {
        residual -= 2.0 * scaled[i] * right[i];
        for j in 0..p {
            residual += scaled[i] * scaled[j] * unpenalised.get(i, j);
        }
    }
    let variance = residual.max(0.0) / (n - p as f64 - 1.0) * y.sd * y.sd;
    let mut spread = factor.inverse();
    spread.entries.iter_mut().for_each(|entry| *entry *= variance / (y.sd * y.sd));
    // Means of the scaled variables are zero but for rounding, and the intercept at the centre is the outcome's mean.
    let mut with_intercept = Symmetric::zeros(p + 1);
    with_intercept.set(0, 0, variance / n / (y.sd * y.sd));
    for i in 0..p {
        for j in i..p {
            with_intercept.set(i + 1, j + 1, spread.get(i, j));
        }
    }
    let centred: Vec<f64> = std::iter::once(0.0).chain(scaled).collect();
    let reported = reported(plan, &scales[..p], &centred, &with_intercept, 1);
    let in_units = |values: &[f64]| values.iter().map(|value| value * y.sd).collect::<Vec<_>>();
    let form = Form::Linear {
        intercept: y.mean - reported.shift * y.sd,
        intercept_error: reported.intercept_errors[0] * y.sd,
        coefficients: in_units(&reported.coefficients),
        standard_errors: in_units(&reported.standard_errors),
        residual_sd: variance.sqrt(),
    };
    let fit = fit(&kept, None);
    Ok(Next::Done(Box::new(Outcome::Model(Box::new(Model::new(plan, &scales[..p], form, fit, sites))))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_derivatives_of_the_log_likelihood() {
        for link in [Link::Logit, Link::Cloglog] {
            for eta in [-4.0, -0.3, 0.0, 1.1] {
                for y in [false, true] {
                    let h = 1e-6;
                    let at = |eta| contribution(link, eta, y).log_likelihood;
                    let numeric = (at(eta + h) - at(eta - h)) / (2.0 * h);
                    let exact = contribution(link, eta, y).score;
                    assert!((numeric - exact).abs() < 1e-7, "{link:?} {eta} {y}: {numeric} {exact}");
                }
            }
        }
    }
}
