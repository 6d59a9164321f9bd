//! Proportional hazards from sums over risk sets (Cox 1972; ties by Efron 1977 or Breslow 1974; sums over sites as in
//! WebDISCO, Lu et al. 2015).
//!
//! A row that leaves follow-up between two event times adds to the risk sets of all earlier event times. Sites send what is
//! new in each risk set, and the sums over later times are made where everything has been added up.

use crate::LearnError;
use crate::algebra::{Symmetric, packed_len};
use crate::model::{Form, Model};
use crate::plan::{Outcome as PlanOutcome, Plan, Task, Ties};
use crate::sums::Sums;
use crate::table::{Data, Observed};
use crate::tasks::regression::{Local, Step, newton, penalties, reported};
use crate::tasks::scale::{Scale, prepared};
use crate::tasks::survival::grid_index;
use crate::tasks::{Block, Kept, Next, Outcome, Question, fit};

fn settings(plan: &Plan) -> (Ties, f64, bool) {
    match &plan.task {
        Task::Cox { ties, time_grid, stratified_by_site, .. } => (*ties, time_grid.days, *stratified_by_site),
        _ => (Ties::Efron, 1.0, false),
    }
}

/// Numbers of one risk set: sum of risks, of risks times variables, of risks times products.
const fn set_width(p: usize) -> usize {
    1 + p + packed_len(p)
}

pub(crate) fn shape(plan: &Plan, times: usize) -> Vec<Block> {
    let p = plan.variables.len();
    let (ties, ..) = settings(plan);
    let mut blocks = vec![
        Block::new("rows", 1, false),
        Block::new("sums of each variable over events", p, false),
        Block::new("events per step of the time grid", times, true),
        Block::new("sums over persons at risk per step of the time grid", times * set_width(p), true),
    ];
    if ties == Ties::Efron {
        blocks.push(Block::new(
            "sums over persons with the event per step of the time grid",
            times * set_width(p),
            true,
        ));
    }
    blocks
}

pub(crate) fn add(
    plan: &Plan,
    data: &Data,
    scales: &[Scale],
    coefficients: &[f64],
    times: &[u32],
    sums: &mut Sums,
) -> Result<(), LearnError> {
    let Observed::Survival { time, event } = &data.observed else { return Err(crate::protocol::out_of_turn()) };
    let (ties, width, _) = settings(plan);
    add_rows(data, time, event, scales, coefficients, times, ties, width, sums)
}

#[expect(clippy::too_many_arguments, reason = "inner loop of two callers")]
fn add_rows(
    data: &Data,
    time: &[f64],
    event: &[bool],
    scales: &[Scale],
    coefficients: &[f64],
    times: &[u32],
    ties: Ties,
    width: f64,
    sums: &mut Sums,
) -> Result<(), LearnError> {
    let p = coefficients.len();
    let (k, w) = (times.len(), set_width(p));
    let (events_at, sets_at) = (1 + p, 1 + p + k);
    let tied_at = sets_at + k * w;
    sums.count(0, data.rows as u64);
    let mut z = vec![0.0; p];
    let mut terms = vec![0.0; w];
    for row in 0..data.rows {
        let index = grid_index(time[row], width);
        // Event times at or before this one: the row is in their risk sets.
        let sets = times.partition_point(|event_time| *event_time <= index);
        if sets == 0 {
            continue;
        }
        for (z, (x, scale)) in z.iter_mut().zip(data.row(row).iter().zip(scales)) {
            *z = scale.of(*x);
        }
        let risk = libm::exp(z.iter().zip(coefficients).map(|(z, b)| z * b).sum());
        terms[0] = risk;
        let mut at = 1 + p;
        for i in 0..p {
            let weighted = risk * z[i];
            terms[1 + i] = weighted;
            for other in &z[i..] {
                terms[at] = weighted * other;
                at += 1;
            }
        }
        let set = sets - 1;
        terms.iter().enumerate().for_each(|(at, term)| sums.add(sets_at + set * w + at, *term));
        if event[row] {
            if times[set] != index {
                return Err(LearnError::Estimate { reason: "an event is at a time that was not announced" });
            }
            z.iter().enumerate().for_each(|(at, z)| sums.add(1 + at, *z));
            sums.count(events_at + set, 1);
            if ties == Ties::Efron {
                terms.iter().enumerate().for_each(|(at, term)| sums.add(tied_at + set * w + at, *term));
            }
        }
    }
    Ok(())
}

/// Log-likelihood and its derivatives, and the increments of the baseline hazard.
pub(crate) struct CoxTerms {
    pub(crate) log_likelihood: f64,
    pub(crate) gradient: Vec<f64>,
    pub(crate) information: Symmetric,
    pub(crate) increments: Vec<f64>,
    pub(crate) events: u64,
}

pub(crate) fn cox_terms(sums: &mut Sums, coefficients: &[f64], k: usize, ties: Ties) -> CoxTerms {
    let p = coefficients.len();
    let w = set_width(p);
    let (events_at, sets_at) = (1 + p, 1 + p + k);
    let tied_at = sets_at + k * w;
    sums.accumulate_from_end(sets_at, k, w);
    let mut gradient: Vec<f64> = (0..p).map(|at| sums.get(1 + at)).collect();
    let mut log_likelihood: f64 = gradient.iter().zip(coefficients).map(|(x, b)| x * b).sum();
    let mut packed = vec![0.0; packed_len(p)];
    let mut increments = Vec::with_capacity(k);
    let mut all_events = 0;
    let mut mean = vec![0.0; p];
    for set in 0..k {
        let events = sums.whole(events_at + set);
        all_events += events;
        let mut increment = 0.0;
        // Under Efron, the l-th of d tied events sees the risk set less l/d of the tied rows.
        for tied in 0..events {
            let share = match ties {
                #[expect(clippy::cast_precision_loss, reason = "counts of rows are far below 2^53")]
                Ties::Efron => tied as f64 / events as f64,
                Ties::Breslow => 0.0,
            };
            let of = |at: usize| {
                let whole = sums.get(sets_at + set * w + at);
                if share > 0.0 { whole - share * sums.get(tied_at + set * w + at) } else { whole }
            };
            let risk = of(0);
            log_likelihood -= libm::log(risk);
            increment += 1.0 / risk;
            for (i, mean) in mean.iter_mut().enumerate() {
                *mean = of(1 + i) / risk;
                gradient[i] -= *mean;
            }
            let mut at = 0;
            for i in 0..p {
                for j in i..p {
                    packed[at] += of(1 + p + at) / risk - mean[i] * mean[j];
                    at += 1;
                }
            }
            if ties == Ties::Breslow {
                // All tied events see the same set.
                #[expect(clippy::cast_precision_loss, reason = "counts of rows are far below 2^53")]
                let more = (events - 1) as f64;
                log_likelihood -= more * libm::log(risk);
                increment += more / risk;
                mean.iter().zip(&mut gradient).for_each(|(mean, gradient)| *gradient -= more * mean);
                let mut at = 0;
                for i in 0..p {
                    for j in i..p {
                        packed[at] += more * (of(1 + p + at) / risk - mean[i] * mean[j]);
                        at += 1;
                    }
                }
                break;
            }
        }
        increments.push(increment);
    }
    let information = Symmetric::from_packed(p, |at| packed[at]);
    CoxTerms { log_likelihood, gradient, information, increments, events: all_events }
}

/// Times of events of one table, as steps of the grid.
pub(crate) fn times_of(time: &[f64], event: &[bool], width: f64) -> Vec<u32> {
    let mut times: Vec<u32> =
        time.iter().zip(event).filter(|(_, event)| **event).map(|(time, _)| grid_index(*time, width)).collect();
    times.sort_unstable();
    times.dedup();
    times
}

/// Sums of one table over its own event times.
pub(crate) fn local_sums(
    data: &Data,
    scales: &[Scale],
    coefficients: &[f64],
    ties: Ties,
    width: f64,
    times: &[u32],
) -> Result<Sums, LearnError> {
    let Observed::Survival { time, event } = &data.observed else { return Err(crate::protocol::out_of_turn()) };
    let (p, k) = (coefficients.len(), times.len());
    let sets = if ties == Ties::Efron { 2 } else { 1 };
    let mut sums = Sums::zeros(1 + p + k + sets * k * set_width(p));
    add_rows(data, time, event, scales, coefficients, times, ties, width, &mut sums)?;
    sums.checked()
}

/// A site with its own baseline hazard: only the derivatives leave.
pub(crate) fn add_stratum(
    plan: &Plan,
    data: &Data,
    scales: &[Scale],
    coefficients: &[f64],
    sums: &mut Sums,
) -> Result<(), LearnError> {
    let Observed::Survival { time, event } = &data.observed else { return Err(crate::protocol::out_of_turn()) };
    let (ties, width, _) = settings(plan);
    let p = coefficients.len();
    let times = times_of(time, event, width);
    let mut own = local_sums(data, scales, coefficients, ties, width, &times)?;
    let terms = cox_terms(&mut own, coefficients, times.len(), ties);
    sums.count(0, data.rows as u64);
    sums.count(1, terms.events);
    sums.add(2, terms.log_likelihood);
    terms.gradient.iter().enumerate().for_each(|(at, term)| sums.add(3 + at, *term));
    let mut at = 3 + p;
    for i in 0..p {
        for j in i..p {
            sums.add(at, terms.information.get(i, j));
            at += 1;
        }
    }
    Ok(())
}

pub(crate) fn step(
    plan: &Plan,
    question: &Question,
    mut kept: Kept,
    mut sums: Sums,
    sites: &[String],
) -> Result<Next, LearnError> {
    let Task::Cox { ties, time_grid, ridge, newton: stop, stratified_by_site, .. } = &plan.task else {
        return Err(crate::protocol::out_of_turn());
    };
    let p = plan.variables.len();
    let (scales, coefficients, times, local, increments) = match question {
        Question::Score { scales, coefficients } => {
            kept.rows = sums.whole(0);
            kept.events = sums.whole(1);
            let local = Local {
                log_likelihood: sums.get(2),
                gradient: (0..p).map(|at| sums.get(3 + at)).collect(),
                information: Symmetric::from_packed(p, |at| sums.get(3 + p + at)),
            };
            (scales, coefficients, None, local, Vec::new())
        }
        Question::RiskSets { scales, coefficients, times } => {
            kept.rows = sums.whole(0);
            let terms = cox_terms(&mut sums, coefficients, times.len(), *ties);
            kept.events = terms.events;
            let local = Local {
                log_likelihood: terms.log_likelihood,
                gradient: terms.gradient,
                information: terms.information,
            };
            (scales, coefficients, Some(times), local, terms.increments)
        }
        _ => {
            let prepared = prepared(plan, &sums)?;
            if prepared.events == 0 {
                return Err(LearnError::Estimate { reason: "there are no events" });
            }
            let kept = Kept { rows: prepared.rows, events: prepared.events, ..kept };
            let (scales, coefficients) = (prepared.scales, vec![0.0; p]);
            let question = if *stratified_by_site {
                Question::Score { scales, coefficients }
            } else {
                Question::RiskSets { scales, coefficients, times: prepared.times }
            };
            return Ok(Next::ask(question, kept));
        }
    };
    let penalties = penalties(plan, scales, 0, *ridge);
    match newton(&mut kept, *stop, coefficients, &penalties, local)? {
        Step::Ask(coefficients) => {
            let scales = scales.clone();
            let question = match times {
                Some(times) => Question::RiskSets { scales, coefficients, times: times.clone() },
                None => Question::Score { scales, coefficients },
            };
            Ok(Next::ask(question, kept))
        }
        Step::Done(scaled, covariance, log_likelihood) => {
            let reported = reported(plan, scales, &scaled, &covariance, 0);
            let mut hazard = 0.0;
            let from_centre = libm::exp(-reported.shift);
            let cut = plan.outcome.as_ref().and_then(PlanOutcome::cut_days).unwrap_or(f64::INFINITY);
            let baseline = times.map_or_else(Vec::new, |times| {
                times
                    .iter()
                    .zip(&increments)
                    .map(|(time, increment)| {
                        hazard += increment * from_centre;
                        // The last step of the grid may reach beyond the cut, and its events happened before.
                        ((f64::from(*time) * time_grid.days).min(cut), hazard)
                    })
                    .collect()
            });
            let form = Form::Cox {
                ties: *ties,
                coefficients: reported.coefficients,
                standard_errors: reported.standard_errors,
                baseline,
            };
            let fit = fit(&kept, Some(log_likelihood));
            Ok(Next::Done(Box::new(Outcome::Model(Box::new(Model::new(plan, scales, form, fit, sites))))))
        }
    }
}
