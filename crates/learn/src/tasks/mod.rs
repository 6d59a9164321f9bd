//! Tasks. Each is a question that sites answer with sums, and a function from the sums to the next question or the result.
//!
//! To add one: a variant of [`crate::Task`], a file here with its sums and its step, an arm in [`answer`], [`shape`] and
//! [`advance`].

mod averaging;
mod boosting;
mod cox;
mod describe;
mod logrank;
mod pca;
mod plausible;
mod regression;
mod scale;
mod survival;

use std::ops::Deref;
use std::sync::Arc;

use acequia_types::{Digest, DigestWriter};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::LearnError;
use crate::model::{Fit, Model};
use crate::packed;
use crate::plan::{Plan, Task};
use crate::protocol::Chance;
use crate::sums::Sums;
use crate::table::Data;

pub use boosting::{Node, Tree};
pub use describe::{CountResult, HistogramResult, MomentsResult, QuantileResult};
pub use logrank::LogRankResult;
pub use pca::PcaResult;
pub use scale::Scale;
pub use survival::{SurvivalPoint, SurvivalResult};

pub(crate) use boosting::Margins;
pub(crate) use regression::{contribution, logistic};

/// What the coordinator asks in one round. Numbers only; which sums they call for follows from the plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Question {
    /// Rows and events.
    Count,
    /// Rows, sums and sums of squares of each variable (and of a number as outcome); for Cox also events per time.
    Prepare,
    /// Squared distances from the means.
    Spread {
        /// Mean of each variable.
        #[serde(with = "packed")]
        means: Vec<f64>,
    },
    /// Rows between edges, for each variable.
    Histogram {
        /// Edges of each variable.
        #[serde(with = "packed::lists")]
        edges: Vec<Vec<f64>>,
    },
    /// Rows at or below points, for each variable.
    Below {
        /// Points of each variable.
        #[serde(with = "packed::lists")]
        points: Vec<Vec<f64>>,
    },
    /// Events and ends of follow-up per time, for each group.
    Times,
    /// Observed, expected and variance of a log-rank test within the site.
    LogRank,
    /// Sums of products of scaled variables.
    Products {
        /// Centre and unit of each variable.
        scales: Vec<Scale>,
    },
    /// Log-likelihood, gradient and information.
    Score {
        /// Centre and unit of each variable.
        scales: Vec<Scale>,
        /// Coefficients, on scaled variables.
        #[serde(with = "packed")]
        coefficients: Vec<f64>,
    },
    /// Risk sets at the times of events.
    RiskSets {
        /// Centre and unit of each variable.
        scales: Vec<Scale>,
        /// Coefficients, on scaled variables.
        #[serde(with = "packed")]
        coefficients: Vec<f64>,
        /// Times of events, as whole steps of the grid.
        times: Vec<u32>,
    },
    /// Gradients per node, variable and bin of the tree that grows.
    Level {
        /// Upper edges of all bins but the last, for each variable.
        #[serde(with = "packed::lists")]
        edges: Vec<Vec<f64>>,
        /// Log odds before the first tree.
        base: f64,
        /// Finished trees.
        trees: Vec<Tree>,
        /// The tree that grows.
        growing: Tree,
        /// Its nodes that may be split.
        open: Vec<usize>,
    },
    /// Weights after steps of gradient descent over the site's own rows.
    Descend {
        /// Which of the plan's rounds of steps, from 0.
        step: u32,
        /// Centre and unit of each variable.
        scales: Vec<Scale>,
        /// Where the steps begin.
        #[serde(with = "packed")]
        weights: Vec<f64>,
        /// What keeps sites from drifting apart (Scaffold, from the second round on).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        anchor: Option<Anchor>,
    },
}

/// Where the round before began, and the gradient over all sites there: a site corrects its steps by how much its own
/// gradient differs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Anchor {
    /// Weights of the round before.
    #[serde(with = "packed")]
    pub weights: Vec<f64>,
    /// Mean gradient at them.
    #[serde(with = "packed")]
    pub control: Vec<f64>,
}

/// A question as it goes out, with its name. Shared, since it may be long and is looked at many times in a round.
#[derive(Debug, Clone)]
pub struct Posed(Arc<(Question, Digest)>);

impl Posed {
    /// Digest of the question alone, in whatever round it is asked: SHA-256 over its name and CBOR (RFC 8949).
    pub fn digest(&self) -> Digest {
        self.0.1
    }
}

impl From<Question> for Posed {
    fn from(question: Question) -> Self {
        let mut digest = DigestWriter::default();
        // A digest takes whatever is written, and a question is a map of numbers.
        let _ = ciborium::into_writer(&("acequia question 2", &question), &mut digest);
        Self(Arc::new((question, digest.finish())))
    }
}

impl Deref for Posed {
    type Target = Question;

    fn deref(&self) -> &Question {
        &self.0.0
    }
}

impl PartialEq for Posed {
    fn eq(&self, other: &Self) -> bool {
        self.digest() == other.digest()
    }
}

impl Serialize for Posed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (**self).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Posed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Question::deserialize(deserializer).map(Self::from)
    }
}

/// One block of sums, in words that a person at a site can judge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Block {
    /// What is summed.
    pub what: String,
    /// How many numbers.
    pub numbers: usize,
    /// Whether a number can be a count of few persons.
    pub fine: bool,
}

impl Block {
    pub(crate) fn new(what: &str, numbers: usize, fine: bool) -> Self {
        Self { what: what.to_owned(), numbers, fine }
    }
}

/// Where a run stands: all a new leader needs to go on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Asked in this round.
    pub question: Posed,
    /// What is kept from earlier rounds.
    pub kept: Kept,
}

/// What is kept between rounds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// Rows that were summed.
    #[serde(default)]
    pub rows: u64,
    /// Events that were summed.
    #[serde(default)]
    pub events: u64,
    /// Centre and unit of each variable.
    #[serde(default)]
    pub scales: Vec<Scale>,
    /// Rounds of Newton's method so far.
    #[serde(default)]
    pub iterations: u32,
    /// Log-likelihood without variables.
    #[serde(default)]
    pub null: Option<f64>,
    /// Coefficients and penalised log-likelihood of the last step that was taken.
    #[serde(default)]
    pub last: Option<(Vec<f64>, f64)>,
    /// Rows behind it. A log-likelihood of other rows is no measure of progress.
    #[serde(default)]
    pub last_rows: u64,
    /// Lowest and highest candidate of each quantile of each variable, in steps of the resolution.
    #[serde(default)]
    pub brackets: Vec<(u64, u64)>,
    /// Running mean of the changes of each weight, and of their squares or sum of squares.
    #[serde(default, with = "packed")]
    pub first_moment: Vec<f64>,
    /// See `first_moment`.
    #[serde(default, with = "packed")]
    pub second_moment: Vec<f64>,
}

/// What a run ends with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "kebab-case")]
pub enum Outcome {
    /// Rows and events.
    Count(CountResult),
    /// Means and standard deviations.
    Moments(MomentsResult),
    /// Counts between edges.
    Histogram(HistogramResult),
    /// Quantiles.
    Quantile(QuantileResult),
    /// A survival curve.
    Survival(SurvivalResult),
    /// A log-rank test.
    LogRank(LogRankResult),
    /// Principal components.
    Pca(PcaResult),
    /// A model that predicts.
    Model(Box<Model>),
}

/// After a round: another, or the end.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// Ask this.
    Ask(Box<State>),
    /// Done.
    Done(Box<Outcome>),
}

impl Next {
    pub(crate) fn ask(question: Question, kept: Kept) -> Self {
        Self::Ask(Box::new(State { question: question.into(), kept }))
    }
}

/// The first question of a plan.
pub(crate) fn start(plan: &Plan) -> State {
    let question = match &plan.task {
        Task::Count => Question::Count,
        Task::Histogram { edges } => Question::Histogram { edges: vec![edges.clone(); plan.variables.len()] },
        Task::Quantile { .. } => return describe::quantile_start(plan),
        Task::KaplanMeier { .. } => Question::Times,
        Task::LogRank { stratified_by_site, .. } if *stratified_by_site => Question::LogRank,
        Task::LogRank { .. } => Question::Times,
        Task::Averaging(settings) if !averaging::prepares(plan, settings) => averaging::first(plan, settings),
        _ => Question::Prepare,
    };
    State { question: question.into(), kept: Kept::default() }
}

/// Whether the question is one that the plan can lead to, of the right sizes. A site checks it before it looks at a row.
pub(crate) fn fits(plan: &Plan, question: &Question) -> bool {
    let p = plan.variables.len();
    let good = |scales: &[Scale]| scales.len() == p && scales.iter().all(Scale::is_sound);
    let finite = |numbers: &[f64]| numbers.iter().all(|number| number.is_finite());
    // Newton's method goes no further (`regression::newton`), so nobody who keeps to the plan asks.
    let near = |coefficients: &[f64]| coefficients.iter().all(|b| b.abs() <= regression::COEFFICIENT_MAX);
    match (&plan.task, question) {
        (Task::Count, Question::Count)
        | (Task::KaplanMeier { .. }, Question::Times)
        | (
            Task::Moments
            | Task::Linear { .. }
            | Task::Logistic { .. }
            | Task::Cox { .. }
            | Task::DiscreteTime { .. }
            | Task::Pca { .. }
            | Task::Boosting(_),
            Question::Prepare,
        ) => true,
        (Task::Averaging(settings), Question::Prepare) => averaging::prepares(plan, settings),
        (Task::LogRank { stratified_by_site, .. }, Question::Times) => !stratified_by_site,
        (Task::LogRank { stratified_by_site, .. }, Question::LogRank) => *stratified_by_site,
        (Task::Moments, Question::Spread { means }) => means.len() == p && finite(means),
        (Task::Histogram { edges }, Question::Histogram { edges: asked }) => {
            asked.len() == p && asked.iter().all(|one| one == edges)
        }
        (Task::Quantile { .. }, Question::Below { points }) => describe::quantile_fits(plan, points),
        (Task::Linear { .. }, Question::Products { scales }) => {
            scales.len() == p + 1 && scales.iter().all(Scale::is_sound)
        }
        (Task::Pca { .. }, Question::Products { scales }) => good(scales),
        (Task::Logistic { .. }, Question::Score { scales, coefficients }) => {
            good(scales) && coefficients.len() == p + 1 && near(coefficients)
        }
        (Task::DiscreteTime { ends_days, .. }, Question::Score { scales, coefficients }) => {
            good(scales) && coefficients.len() == p + ends_days.len() && near(coefficients)
        }
        (Task::Cox { stratified_by_site, .. }, Question::Score { scales, coefficients }) => {
            *stratified_by_site && good(scales) && coefficients.len() == p && near(coefficients)
        }
        (Task::Cox { stratified_by_site, .. }, Question::RiskSets { scales, coefficients, times }) => {
            !stratified_by_site
                && good(scales)
                && coefficients.len() == p
                && near(coefficients)
                && !times.is_empty()
                && times.windows(2).all(|pair| pair[0] < pair[1])
        }
        (Task::Boosting(settings), Question::Histogram { edges }) => {
            edges.len() == p
                && edges.iter().all(|edges| edges.len() == boosting::SKETCH + 1 && finite(edges))
                && settings.trees > 0
        }
        (Task::Boosting(settings), Question::Level { .. }) => boosting::fits(settings, p, question),
        (Task::Averaging(settings), Question::Descend { .. }) => averaging::fits(plan, settings, question),
        _ => false,
    }
}

/// Whether the question may be asked in this round. Steps with noise are counted: a step that is asked in many rounds, each time
/// from other weights, would tell more than the plan says.
pub(crate) fn in_turn(plan: &Plan, question: &Question, round: u32) -> bool {
    match (&plan.task, question) {
        (Task::Averaging(settings), Question::Descend { step, .. }) => {
            let before = u32::from(averaging::prepares(plan, settings));
            round.checked_sub(1 + before) == Some(*step)
        }
        (Task::Averaging(_), _) => round == 1,
        _ => true,
    }
}

/// What the answer to a question consists of.
pub(crate) fn shape(plan: &Plan, question: &Question) -> Vec<Block> {
    let p = plan.variables.len();
    match question {
        Question::Count => vec![Block::new("rows", 1, false), Block::new("rows with the event", 1, false)],
        Question::Prepare => scale::shape(plan),
        Question::Spread { .. } => vec![
            Block::new("rows", 1, false),
            Block::new("squared distances from the mean, summed for each variable", p, false),
        ],
        Question::Histogram { edges } => {
            vec![Block::new(
                "rows between edges, for each variable",
                edges.iter().map(|edges| edges.len() - 1).sum(),
                true,
            )]
        }
        Question::Below { points } => vec![
            Block::new("rows", 1, false),
            Block::new("rows at or below points, for each variable", points.iter().map(Vec::len).sum(), true),
        ],
        Question::Times => survival::shape(plan),
        Question::LogRank => logrank::shape(plan),
        Question::Products { scales } => {
            let q = scales.len();
            vec![
                Block::new("rows", 1, false),
                Block::new("sums of scaled variables", q, false),
                Block::new("sums of products of two scaled variables", crate::algebra::packed_len(q), false),
            ]
        }
        Question::Score { coefficients, .. } => regression::shape(plan, coefficients.len()),
        Question::RiskSets { times, .. } => cox::shape(plan, times.len()),
        Question::Level { edges, open, .. } => boosting::shape(edges, open.len()),
        Question::Descend { .. } => averaging::shape(plan),
    }
}

/// The sums of one site over its tables.
///
/// # Errors
/// [`LearnError::Range`] when a sum does not fit, [`LearnError::Estimate`] when a row is outside what the plan describes.
pub(crate) fn answer(
    plan: &Plan,
    tables: &[Data],
    question: &Question,
    margins: &mut Margins,
    chance: Chance,
) -> Result<Sums, LearnError> {
    let length = shape(plan, question).iter().map(|block| block.numbers).sum();
    let mut sums = Sums::zeros(length);
    if let Question::Descend { step, scales, weights, anchor } = question {
        // Steps are over all rows of a site, whichever table they are in.
        averaging::add(plan, tables, (*step, scales, weights, anchor.as_ref()), chance, &mut sums)?;
        return sums.checked();
    }
    for (part, data) in tables.iter().enumerate() {
        match question {
            Question::Count => {
                sums.count(0, data.rows as u64);
                sums.count(1, data.events());
            }
            Question::Prepare => scale::add(plan, data, &mut sums)?,
            Question::Spread { means } => describe::spread(data, means, &mut sums),
            Question::Histogram { edges } => describe::histogram(data, edges, &mut sums),
            Question::Below { points } => describe::below(data, points, &mut sums),
            Question::Times => survival::add(plan, data, &mut sums)?,
            Question::LogRank => logrank::add_site(plan, data, &mut sums)?,
            Question::Products { scales } => pca::products(data, scales, &mut sums),
            Question::Score { scales, coefficients } => match &plan.task {
                Task::Cox { .. } => cox::add_stratum(plan, data, scales, coefficients, &mut sums)?,
                _ => regression::add(plan, data, scales, coefficients, &mut sums)?,
            },
            Question::RiskSets { scales, coefficients, times } => {
                cox::add(plan, data, scales, coefficients, times, &mut sums)?;
            }
            Question::Level { edges, base, trees, growing, open } => {
                boosting::add(data, edges, *base, trees, growing, open, margins.of(part), &mut sums);
            }
            Question::Descend { .. } => {}
        }
    }
    sums.checked()
}

/// From the sums over all sites to the next question or the result.
///
/// # Errors
/// [`LearnError::Estimate`] when there is no estimate.
pub(crate) fn advance(plan: &Plan, state: &State, sums: Sums, sites: &[String]) -> Result<Next, LearnError> {
    plausible::plausible(plan, &state.question, &state.kept, &sums, sites)?;
    let kept = state.kept.clone();
    match (&plan.task, &*state.question) {
        (Task::Count, _) => Ok(Next::Done(Box::new(Outcome::Count(describe::count_result(plan, &sums))))),
        (Task::Moments, Question::Prepare) => describe::moments_means(plan, &sums),
        (Task::Moments, _) => describe::moments_result(plan, state, &sums),
        (Task::Histogram { edges }, _) => describe::histogram_result(plan, edges, &sums),
        (Task::Quantile { .. }, _) => describe::quantile_step(plan, kept, &sums),
        (Task::KaplanMeier { time_grid }, _) => survival::result(plan, *time_grid, &sums),
        (Task::LogRank { .. }, _) => logrank::result(plan, &sums),
        (Task::Linear { ridge }, question) => regression::linear_step(plan, question, kept, &sums, *ridge, sites),
        (Task::Pca { components, correlation }, question) => {
            pca::step(plan, question, kept, &sums, *components, *correlation)
        }
        (Task::Logistic { .. } | Task::DiscreteTime { .. }, question) => {
            regression::newton_step(plan, question, kept, &sums, sites)
        }
        (Task::Cox { .. }, question) => cox::step(plan, question, kept, sums, sites),
        (Task::Boosting(settings), question) => boosting::step(plan, settings, question, kept, &sums, sites),
        (Task::Averaging(settings), question) => averaging::step(plan, settings, question, kept, &sums, sites),
    }
}

/// A count that a result may show.
pub(crate) fn shown(count: u64, minimum: u64) -> Option<u64> {
    (count == 0 || count >= minimum).then_some(count)
}

pub(crate) fn fit(kept: &Kept, log_likelihood: Option<f64>) -> Fit {
    Fit {
        rows: kept.rows,
        events: kept.events,
        iterations: kept.iterations,
        log_likelihood_null: kept.null,
        log_likelihood,
    }
}
