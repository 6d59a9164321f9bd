//! Federated averaging and its kin: every site takes steps of gradient descent of its own, and the coordinator averages what they
//! come to, weighted by rows. Not exact: the result depends on the settings, and differs from pooled training. Where sums of rows
//! give the estimate itself (logistic regression, Cox), they do so in fewer rounds; this is for comparison with what others publish.
//!
//! With noise, a site's answer to a round is one step: clipped gradients of rows it draws, and noise on the grid of sums (discrete
//! Gaussian: Canonne, Kamath and Steinke 2020), so that no rounding of floats tells what the noise hides (Mironov 2012).
//!
//! Sites keep nothing between rounds. Scaffold's control variate of a site is its gradient at the weights of the round before
//! (option I of the paper), which the question carries; so a site that was started again says what it said before.

use acequia_neural::Network;
use prio::dp::Rational;
use prio::dp::distributions::DiscreteGaussian;
use rand::RngExt;
use rand::distr::Distribution;

use crate::LearnError;
use crate::plan::{Averaging, Noise, Outcome as PlanOutcome, Plan, Start, Strategy, Task, Ties};
use crate::protocol::{Chance, out_of_turn};
use crate::sums::{GRID, Sums};
use crate::table::{Data, Observed};
use crate::tasks::plausible::WEIGHT_MAX;
use crate::tasks::scale::{Scale, prepared};
use crate::tasks::{Anchor, Block, Kept, Next, Outcome, Question, fit, logistic};
use crate::{Form, Model, Score};

/// What keeps a step finite where a coefficient has not moved yet (FLamby's setting).
const TAU: f64 = 1e-8;
/// Shares of the past in the two running means (Reddi et al. 2021).
const BETA: (f64, f64) = (0.9, 0.999);

fn is_logistic(plan: &Plan) -> bool {
    matches!(plan.outcome, Some(PlanOutcome::Binary { .. }))
}

/// Weights: those of the network; or an intercept for logistic regression, and one for each variable.
fn weights_len(plan: &Plan) -> usize {
    plan.network().map_or(plan.variables.len() + usize::from(is_logistic(plan)), |network| network.len())
}

/// Whether variables are looked at before the first step. Exact sums of them would undo the noise, and pixels have a scale.
pub(super) fn prepares(plan: &Plan, settings: &Averaging) -> bool {
    settings.noise.is_none() && plan.variables.iter().all(|variable| variable.image.is_none())
}

fn settings(plan: &Plan) -> Result<&Averaging, LearnError> {
    match &plan.task {
        Task::Averaging(settings) => Ok(settings),
        _ => Err(out_of_turn()),
    }
}

fn is_scaffold(settings: &Averaging) -> bool {
    matches!(settings.strategy, Strategy::Scaffold { .. })
}

pub(crate) fn fits(plan: &Plan, settings: &Averaging, question: &Question) -> bool {
    let Question::Descend { step, scales, weights, anchor } = question else { return false };
    // With noise a gradient is cut to a length, whatever the weights are.
    let most = if settings.noise.is_some() { f64::MAX } else { WEIGHT_MAX };
    let good = |numbers: &[f64]| numbers.len() == weights_len(plan) && numbers.iter().all(|x| x.abs() <= most);
    let anchored = is_scaffold(settings) && *step > 0;
    *step < settings.rounds
        && scales.len() == if prepares(plan, settings) { plan.variables.len() } else { 0 }
        && scales.iter().all(Scale::is_sound)
        && good(weights)
        && match anchor {
            Some(anchor) => anchored && good(&anchor.weights) && good(&anchor.control),
            None => !anchored,
        }
}

pub(crate) fn shape(plan: &Plan) -> Vec<Block> {
    let q = weights_len(plan);
    if let Task::Averaging(Averaging { noise: Some(_), .. }) = &plan.task {
        return vec![Block::new("gradient over rows that are drawn, with noise", q, false)];
    }
    let Task::Averaging(settings) = &plan.task else { return Vec::new() };
    let steps = format!(
        "weights after {} steps of {} rows each, times the number of rows",
        settings.local_steps, settings.batch
    );
    let steps = match settings.longest_change {
        Some(longest) => format!("{steps}, whose change is cut to a length of {longest}"),
        None => steps,
    };
    let mut blocks =
        vec![Block::new("rows", 1, false), Block::new("rows with the event", 1, false), Block::new(&steps, q, false)];
    if is_scaffold(settings) {
        blocks.push(Block::new("gradient over all rows, times their number", q, false));
    }
    blocks
}

/// What a site learns from: inputs as the model will see them, and the outcome.
struct Rows {
    width: usize,
    x: Vec<f64>,
    target: Target,
    network: Option<Network>,
}

enum Target {
    Binary(Vec<f64>),
    Survival { time: Vec<f64>, event: Vec<bool> },
}

impl Rows {
    fn new(plan: &Plan, data: Data, scales: &[Scale]) -> Result<Self, LearnError> {
        let input = |(j, x): (usize, &f64)| match (scales.get(j), plan.variables.get(j)) {
            (Some(scale), Some(variable)) if variable.standardise => scale.of(*x),
            _ => *x,
        };
        let x = (0..data.rows).flat_map(|row| data.row(row).iter().enumerate().map(input)).collect();
        let target = match data.observed {
            Observed::Number(values) if is_logistic(plan) => Target::Binary(values),
            Observed::Survival { time, event } if !is_logistic(plan) => Target::Survival { time, event },
            _ => return Err(LearnError::Estimate { reason: "a table has an outcome of another kind than the plan" }),
        };
        Ok(Self { width: data.width, x, target, network: plan.network() })
    }

    fn row(&self, row: usize) -> &[f64] {
        &self.x[row * self.width..(row + 1) * self.width]
    }

    /// Gradient of the mean loss over some rows.
    fn gradient(&self, weights: &[f64], rows: &mut [usize]) -> Vec<f64> {
        if let Target::Survival { time, .. } = &self.target {
            // The longest followed first, each at risk with those before it.
            rows.sort_by(|a, b| time[*b].total_cmp(&time[*a]).then(a.cmp(b)));
        }
        if let Some(network) = &self.network {
            let x: Vec<f64> = rows.iter().flat_map(|row| self.row(*row)).copied().collect();
            return network.gradient(weights, &x, |scores| self.pulls(scores, rows));
        }
        let first = weights.len() - self.width;
        let score = |row: &usize| -> f64 {
            let slope: f64 = self.row(*row).iter().zip(&weights[first..]).map(|(x, w)| x * w).sum();
            slope + weights[..first].iter().sum::<f64>()
        };
        let scores: Vec<f64> = rows.iter().map(score).collect();
        let mut gradient = vec![0.0; weights.len()];
        for (row, pull) in rows.iter().zip(self.pulls(&scores, rows)) {
            gradient[..first].iter_mut().for_each(|g| *g += pull);
            gradient[first..].iter_mut().zip(self.row(*row)).for_each(|(g, x)| *g += pull * x);
        }
        gradient
    }

    /// How the mean loss over some rows changes with the score of each.
    fn pulls(&self, scores: &[f64], rows: &[usize]) -> Vec<f64> {
        let mut pulls: Vec<f64> = match &self.target {
            Target::Binary(values) => {
                scores.iter().zip(rows).map(|(score, row)| logistic(*score) - values[*row]).collect()
            }
            Target::Survival { event, .. } => {
                // Breslow's partial likelihood within these rows, on the scale of logarithms, so that none overflows.
                let sum = |a: f64, b: f64| {
                    let (more, less) = if a > b { (a, b) } else { (b, a) };
                    if less == f64::NEG_INFINITY { more } else { more + libm::log1p(libm::exp(less - more)) }
                };
                let mut at_risk = f64::NEG_INFINITY;
                let at_risk: Vec<f64> = scores
                    .iter()
                    .map(|score| {
                        at_risk = sum(at_risk, *score);
                        at_risk
                    })
                    .collect();
                let mut of_events = f64::NEG_INFINITY;
                let mut pulls = vec![0.0; scores.len()];
                for (at, row) in rows.iter().enumerate().rev() {
                    if event[*row] {
                        of_events = sum(of_events, -at_risk[at]);
                    }
                    pulls[at] = libm::exp(scores[at] + of_events) - f64::from(event[*row]);
                }
                pulls
            }
        };
        #[expect(clippy::cast_precision_loss, reason = "counts of rows are far below 2^53")]
        let count = rows.len().max(1) as f64;
        pulls.iter_mut().for_each(|pull| *pull /= count);
        pulls
    }
}

/// Rows in an order that seed, step and round through the rows decide (Fisher and Yates).
fn shuffled(rows: usize, seed: u64, step: u32, epoch: u32) -> Vec<usize> {
    let mut stream = blake3::Hasher::new_derive_key("acequia order of rows 1");
    stream.update(&seed.to_le_bytes()).update(&step.to_le_bytes()).update(&epoch.to_le_bytes());
    let mut stream = stream.finalize_xof();
    let mut order: Vec<usize> = (0..rows).collect();
    for last in (1..rows).rev() {
        let mut bytes = [0; 8];
        stream.fill(&mut bytes);
        let at = u64::from_le_bytes(bytes) % (last as u64 + 1);
        order.swap(last, usize::try_from(at).unwrap_or(0));
    }
    order
}

/// Clipped gradients of rows that are drawn, and noise: what a site says of one step.
fn add_noisy(
    noise: &Noise,
    rows: &Rows,
    count: usize,
    weights: &[f64],
    chance: &Chance,
    sums: &mut Sums,
) -> Result<(), LearnError> {
    let mut numbers = chance.numbers();
    for row in 0..count {
        if !numbers.random_bool(noise.sample) {
            continue;
        }
        let gradient = rows.gradient(weights, &mut [row]);
        let length = gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
        // Whether a row is out of range of numbers must not show either: a refusal would have no noise.
        if !length.is_finite() {
            continue;
        }
        // A hair shorter, so that rounding does not make it longer; terms of sums are cut towards zero.
        let clip = noise.clip * (1.0 - 1e-12);
        let factor = if length > clip { clip / length } else { 1.0 };
        gradient.iter().enumerate().for_each(|(j, g)| sums.add(j, g * factor));
    }
    let out_of_range = || LearnError::Range { what: "noise" };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "above 0 and below 2^101: the plan was checked"
    )]
    let deviation = (noise.clip * noise.multiplier * GRID).ceil() as u128;
    let deviation = Rational::from_unsigned(deviation, 1u8.into()).map_err(|_| out_of_range())?;
    let gaussian = DiscreteGaussian::new(deviation).map_err(|_| out_of_range())?;
    for j in 0..weights.len() {
        let drawn = gaussian.sample(&mut numbers);
        sums.add_bits(j, drawn.try_into().map_err(|_| out_of_range())?);
    }
    Ok(())
}

/// A site's steps over all its tables.
pub(crate) fn add(
    plan: &Plan,
    tables: &[Data],
    (step, scales, weights, anchor): (u32, &[Scale], &[f64], Option<&Anchor>),
    chance: Chance,
    sums: &mut Sums,
) -> Result<(), LearnError> {
    let settings = settings(plan)?;
    let Some(name) = tables.first().map(|table| table.name.clone()) else { return Ok(()) };
    let data = Data::pooled(&name, tables);
    if let Some(noise) = &settings.noise {
        let count = data.rows;
        return add_noisy(noise, &Rows::new(plan, data, scales)?, count, weights, &chance, sums);
    }
    let (count, events) = (data.rows, data.events());
    sums.count(0, count as u64);
    sums.count(1, events);
    if count == 0 {
        return Ok(());
    }
    let rows = Rows::new(plan, data, scales)?;
    let mut all: Vec<usize> = (0..count).collect();
    let correction: Vec<f64> = match anchor {
        Some(anchor) => {
            let own = rows.gradient(&anchor.weights, &mut all);
            anchor.control.iter().zip(own).map(|(control, own)| control - own).collect()
        }
        None => vec![0.0; weights.len()],
    };
    let mut own = weights.to_vec();
    let (mut order, mut at, mut epoch) = (shuffled(count, settings.seed, step, 0), 0, 0);
    for _ in 0..settings.local_steps {
        if at >= count {
            epoch += 1;
            (order, at) = (shuffled(count, settings.seed, step, epoch), 0);
        }
        let to = count.min(at + settings.batch);
        let gradient = rows.gradient(&own, &mut order[at..to]);
        at = to;
        for (j, w) in own.iter_mut().enumerate() {
            let pull = match settings.strategy {
                Strategy::FedProx { mu } => mu * (*w - weights[j]),
                _ => 0.0,
            };
            *w -= settings.rate * (gradient[j] + pull + correction[j]);
        }
    }
    if own.iter().any(|w| !w.is_finite()) {
        return Err(LearnError::Estimate { reason: "the steps of a site run away; take a smaller rate" });
    }
    if let Some(longest) = settings.longest_change {
        let length = own.iter().zip(weights).map(|(own, w)| (own - w) * (own - w)).sum::<f64>().sqrt();
        if length > longest {
            own.iter_mut().zip(weights).for_each(|(own, w)| *own = w + (*own - w) * (longest / length));
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "counts of rows are far below 2^53")]
    let n = count as f64;
    own.iter().enumerate().for_each(|(j, w)| sums.add(2 + j, w * n));
    if is_scaffold(settings) {
        let gradient = rows.gradient(weights, &mut all);
        gradient.iter().enumerate().for_each(|(j, g)| sums.add(2 + own.len() + j, g * n));
    }
    Ok(())
}

fn begin(plan: &Plan, settings: &Averaging) -> Vec<f64> {
    let q = weights_len(plan);
    match settings.start {
        Start::Zeros => vec![0.0; q],
        Start::Uniform => {
            let mut stream = blake3::Hasher::new_derive_key("acequia first weights 1");
            let mut stream = stream.update(&settings.seed.to_le_bytes()).finalize_xof();
            let mut draw = || {
                let mut bytes = [0; 8];
                stream.fill(&mut bytes);
                #[expect(clippy::cast_precision_loss, reason = "53 bits are kept")]
                let share = (u64::from_le_bytes(bytes) >> 11) as f64 / (1u64 << 53) as f64;
                2.0 * share - 1.0
            };
            if let Some(network) = plan.network() {
                return network.first_weights(draw);
            }
            // Every weight within one over the root of the number of inputs, as linear layers usually begin.
            #[expect(clippy::cast_precision_loss, reason = "variables are few")]
            let bound = (plan.variables.len() as f64).sqrt().recip();
            (0..q).map(|_| bound * draw()).collect()
        }
    }
}

/// The coordinator's step: from the mean of the sites' weights to the next ones.
fn lead(settings: &Averaging, kept: &mut Kept, weights: &[f64], mean: &[f64]) -> Vec<f64> {
    let (rate, grow): (f64, fn(f64, f64) -> f64) = match settings.strategy {
        Strategy::FedAvg | Strategy::FedProx { .. } => return mean.to_vec(),
        Strategy::Scaffold { server_rate } => {
            return weights.iter().zip(mean).map(|(w, mean)| w + server_rate * (mean - w)).collect();
        }
        Strategy::FedAdam { server_rate } => (server_rate, |v, square| BETA.1 * v + (1.0 - BETA.1) * square),
        Strategy::FedYogi { server_rate } => {
            (server_rate, |v, square| if v == square { v } else { v - (1.0 - BETA.1) * square * (v - square).signum() })
        }
        Strategy::FedAdagrad { server_rate } => (server_rate, |v, square| v + square),
    };
    kept.first_moment.resize(weights.len(), 0.0);
    kept.second_moment.resize(weights.len(), 0.0);
    let moments = kept.first_moment.iter_mut().zip(&mut kept.second_moment);
    weights
        .iter()
        .zip(mean)
        .zip(moments)
        .map(|((w, mean), (m, v))| {
            let change = mean - w;
            *m = BETA.0 * *m + (1.0 - BETA.0) * change;
            *v = grow(*v, change * change);
            w + rate * *m / (v.sqrt() + TAU)
        })
        .collect()
}

/// The first question where nothing is asked about the variables.
pub(crate) fn first(plan: &Plan, settings: &Averaging) -> Question {
    Question::Descend { step: 0, scales: Vec::new(), weights: begin(plan, settings), anchor: None }
}

pub(crate) fn step(
    plan: &Plan,
    settings: &Averaging,
    question: &Question,
    mut kept: Kept,
    sums: &Sums,
    sites: &[String],
) -> Result<Next, LearnError> {
    let Question::Descend { step, scales, weights, .. } = question else {
        let prepared = prepared(plan, sums)?;
        let kept = Kept { rows: prepared.rows, events: prepared.events, ..kept };
        let weights = begin(plan, settings);
        return Ok(Next::ask(Question::Descend { step: 0, scales: prepared.scales, weights, anchor: None }, kept));
    };
    let q = weights.len();
    #[expect(clippy::cast_precision_loss, reason = "counts of rows are far below 2^53")]
    let (n, mean) = match &settings.noise {
        Some(noise) => {
            // How many rows there are is not told; the plan says what is publicly known.
            kept.rows = noise.rows;
            let drawn = noise.sample * noise.rows as f64;
            (
                drawn,
                weights.iter().enumerate().map(|(j, w)| w - settings.rate * sums.get(j) / drawn).collect::<Vec<_>>(),
            )
        }
        None => {
            kept.rows = sums.whole(0);
            kept.events = sums.whole(1);
            if kept.rows == 0 {
                return Err(LearnError::Estimate { reason: "there are no rows" });
            }
            let n = kept.rows as f64;
            (n, (0..q).map(|j| sums.get(2 + j) / n).collect())
        }
    };
    if mean.iter().any(|w| !w.is_finite()) {
        return Err(LearnError::Estimate { reason: "the weights run away; take a smaller rate" });
    }
    let next = lead(settings, &mut kept, weights, &mean);
    kept.iterations += 1;
    if step + 1 < settings.rounds {
        let anchor = is_scaffold(settings)
            .then(|| Anchor { weights: weights.clone(), control: (0..q).map(|j| sums.get(2 + q + j) / n).collect() });
        let question = Question::Descend { step: step + 1, scales: scales.clone(), weights: next, anchor };
        return Ok(Next::ask(question, kept));
    }
    // Where the steps stop depends on the settings: there are no standard errors to it, and no baseline.
    let form = match (&settings.network, is_logistic(plan)) {
        (Some(layers), is_logistic) => Form::Network {
            score: if is_logistic { Score::LogOdds } else { Score::LogRelativeHazard },
            layers: layers.clone(),
            weights: next,
        },
        (None, true) => Form::Logistic {
            intercept: next[0],
            intercept_error: None,
            coefficients: next[1..].to_vec(),
            standard_errors: Vec::new(),
        },
        (None, false) => {
            Form::Cox { ties: Ties::Breslow, coefficients: next, standard_errors: Vec::new(), baseline: Vec::new() }
        }
    };
    let fit = fit(&kept, None);
    Ok(Next::Done(Box::new(Outcome::Model(Box::new(Model::new(plan, scales, form, fit, sites))))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(target: Target) -> Rows {
        let x: Vec<f64> = (0..16).map(|at| f64::from((at * 7) % 5) - 2.0).collect();
        Rows { width: 2, x, target, network: None }
    }

    /// Losses as the papers write them, of which the gradients are differences.
    fn loss(rows: &Rows, weights: &[f64], of: &[usize]) -> f64 {
        let first = weights.len() - 2;
        let score = |row: usize| {
            let x = rows.row(row);
            weights[..first].iter().sum::<f64>() + x[0] * weights[first] + x[1] * weights[first + 1]
        };
        let sum: f64 = match &rows.target {
            Target::Binary(y) => of.iter().map(|row| (1.0 + score(*row).exp()).ln() - y[*row] * score(*row)).sum(),
            Target::Survival { time, event } => of
                .iter()
                .filter(|row| event[**row])
                .map(|row| {
                    let at_risk = of.iter().filter(|other| time[**other] >= time[*row]);
                    at_risk.map(|other| score(*other).exp()).sum::<f64>().ln() - score(*row)
                })
                .sum(),
        };
        sum / of.len() as f64
    }

    #[test]
    fn gradients_are_those_of_the_losses() {
        let times: Vec<f64> = (0..8).map(|at| f64::from((at * 5) % 8)).collect();
        let targets = [
            (Target::Binary((0..8).map(|at| f64::from(at % 2)).collect()), vec![0.1, -0.4, 0.3]),
            (Target::Survival { time: times, event: (0..8).map(|at| at % 3 != 0).collect() }, vec![-0.4, 0.3]),
        ];
        for (target, weights) in targets {
            let rows = rows(target);
            let mut of: Vec<usize> = vec![0, 2, 3, 5, 6, 7];
            let gradient = rows.gradient(&weights, &mut of);
            for (j, g) in gradient.iter().enumerate() {
                let at = |by: f64| {
                    let mut moved = weights.clone();
                    moved[j] += by;
                    loss(&rows, &moved, &of)
                };
                let difference = (at(1e-5) - at(-1e-5)) / 2e-5;
                assert!((g - difference).abs() < 1e-8, "{g} {difference}");
            }
        }
    }

    #[test]
    fn an_order_holds_every_row_once_and_follows_from_its_seed() {
        let order = shuffled(100, 7, 1, 0);
        assert_eq!(order, shuffled(100, 7, 1, 0));
        assert!(order != shuffled(100, 8, 1, 0) && order != shuffled(100, 7, 2, 0) && order != shuffled(100, 7, 1, 1));
        let mut sorted = order;
        sorted.sort_unstable();
        assert_eq!(sorted, (0..100).collect::<Vec<_>>());
    }
}
