//! The run plan: what is asked, of whom, under which rules. Data only, so a site can read all of it before it says yes.
//!
//! The same plan runs with one site in the same process (centralised), over many (federated), with donated data as one
//! more site (hybrid), and without a fixed coordinator (decentralised). Its digest names the run: everything sites say is
//! bound to it.

use std::collections::BTreeMap;

use acequia_neural::{Input, Layers, Network};
use acequia_privacy::{NoisySteps, epsilon};
use acequia_types::{Day, Digest, digest_named};
use serde::{Deserialize, Serialize};

use crate::LearnError;
use crate::proven::check_proof;
use crate::variable::{Variable, check_steps, check_variable};

/// A run plan. Read it with [`Plan::from_toml`] or [`Plan::from_json`]; both check it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Layout of this document: `acequia-plan/1`.
    pub schema: String,
    /// One sentence in plain words, for whoever decides at a site.
    pub title: String,
    /// What is computed.
    pub task: Task,
    /// Whose rows count.
    #[serde(default)]
    pub cohort: Cohort,
    /// What is to be explained or followed; not for tasks that look at variables only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// What explains, or is described.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub variables: Vec<Variable>,
    /// The rules for few persons.
    pub privacy: PrivacyRule,
    /// Who sums, and how.
    #[serde(default)]
    pub aggregation: Aggregation,
    /// Last day on which sites answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_day: Option<Day>,
}

/// What is computed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, tag = "kind")]
pub enum Task {
    /// Rows, and events where there is an outcome.
    Count,
    /// Mean and standard deviation of each variable.
    Moments,
    /// Counts of each variable's rows between edges. Bins are closed below, the last one on both sides.
    Histogram {
        /// Edges, ascending, for every variable.
        edges: Vec<f64>,
    },
    /// Quantiles of each variable: the smallest value with at least this share of rows at or below it (inverse of the
    /// empirical distribution, Hyndman and Fan 1996, type 1), to a stated resolution.
    Quantile {
        /// Shares, between 0 and 1.
        shares: Vec<f64>,
        /// Values below count as this.
        low: f64,
        /// Values above count as this.
        high: f64,
        /// Values are rounded up to multiples of this above `low`; no finer answer is given.
        resolution: f64,
    },
    /// Product-limit estimate of survival (Kaplan and Meier 1958) with Greenwood's standard error.
    KaplanMeier {
        /// Times are rounded up to whole numbers of these.
        #[serde(default)]
        time_grid: TimeGrid,
    },
    /// Log-rank test (Mantel 1966) of the groups that the values of the first variable are.
    LogRank {
        /// Times are rounded up to whole numbers of these.
        #[serde(default)]
        time_grid: TimeGrid,
        /// The values of the variable that are the groups.
        groups: Vec<f64>,
        /// Whether every site is its own stratum.
        #[serde(default)]
        stratified_by_site: bool,
    },
    /// Least squares, with an intercept.
    Linear {
        /// Penalty `ridge / 2` times the sum of squared coefficients, intercept left out.
        #[serde(default)]
        ridge: f64,
    },
    /// Logistic regression, with an intercept, by Newton's method.
    Logistic {
        /// Penalty `ridge / 2` times the sum of squared coefficients, intercept left out.
        #[serde(default)]
        ridge: f64,
        /// When to stop.
        #[serde(default)]
        newton: Newton,
    },
    /// Proportional hazards (Cox 1972), by Newton's method.
    Cox {
        /// What to do with events at the same time.
        #[serde(default)]
        ties: Ties,
        /// Times are rounded up to whole numbers of these.
        #[serde(default)]
        time_grid: TimeGrid,
        /// Whether every site has its own baseline hazard; then only a gradient and a curvature leave it.
        #[serde(default)]
        stratified_by_site: bool,
        /// Penalty `ridge / 2` times the sum of squared coefficients.
        #[serde(default)]
        ridge: f64,
        /// When to stop.
        #[serde(default)]
        newton: Newton,
    },
    /// Survival in intervals: one intercept for each, by Fisher scoring on person-intervals (Allison 1982).
    DiscreteTime {
        /// Ends of the intervals in days, ascending; the first begins at 0.
        ends_days: Vec<f64>,
        /// Link between linear predictor and the hazard of an interval.
        link: Link,
        /// Penalty `ridge / 2` times the sum of squared coefficients, intercepts left out.
        #[serde(default)]
        ridge: f64,
        /// When to stop.
        #[serde(default)]
        newton: Newton,
    },
    /// Principal components of the variables.
    Pca {
        /// How many.
        components: usize,
        /// Whether variables are divided by their standard deviation first.
        #[serde(default)]
        correlation: bool,
    },
    /// Gradient boosting on histograms with the gain of Chen and Guestrin 2016, for an outcome of 0 and 1.
    Boosting(Boosting),
    /// Logistic regression for an outcome of 0 and 1, or Cox for survival, by averaging what steps at the sites come to (McMahan
    /// et al. 2017 and its kin). Not exact, and for comparison: the tasks of these names are. With a network between a row and its
    /// score, the way to learn from images and of what no sum tells (DeepSurv for survival: Katzman et al. 2018).
    Averaging(Averaging),
}

/// Settings of averaging.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Averaging {
    /// Layers of a network between a row and its log odds, or its log relative hazard; none for a plain regression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<Layers>,
    /// How weights are averaged.
    pub strategy: Strategy,
    /// Rounds.
    pub rounds: u32,
    /// Steps of a site in one round.
    pub local_steps: u32,
    /// Rows of a step; with noise, rows are drawn instead.
    #[serde(default = "Averaging::batch")]
    pub batch: usize,
    /// Length of a step: what a gradient is multiplied with.
    pub rate: f64,
    /// Decides the order of rows, and the first weights where they are drawn.
    #[serde(default)]
    pub seed: u64,
    /// First weights.
    #[serde(default)]
    pub start: Start,
    /// Largest length (Euclidean norm) of the change that a site's steps come to in a round: each cuts its own, and whoever gets the sum
    /// sees that the mean is within. One site then moves a round's mean by its share of rows times this, at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub longest_change: Option<f64>,
    /// Noise that hides every single row, in a bounded measure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noise: Option<Noise>,
}

/// Differentially private gradient descent (Abadi et al. 2016; for sums over sites, McMahan et al. 2018): in every round each
/// site draws rows, cuts their gradients to a length, and adds noise of its own that is enough by itself, whatever the others
/// do. No exact number leaves it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Noise {
    /// Largest length (Euclidean norm) of a row's gradient.
    pub clip: f64,
    /// Standard deviation of a site's noise, in clips.
    pub multiplier: f64,
    /// Probability with which a row is drawn for a round.
    pub sample: f64,
    /// Rows of all sites together, as they are publicly known, or guessed: sums are divided by these times `sample`.
    pub rows: u64,
    /// Chance with which the guarantee may fail.
    pub delta: f64,
}

/// Deltas that mean anything: a guarantee that fails for one in a thousand is none.
pub(crate) const DELTAS: std::ops::RangeInclusive<f64> = 1e-15..=1e-3;

/// What a run guarantees to every row: whether it was there changes the odds of whatever comes out by a factor of e^epsilon at
/// most, but for a chance of delta (Dwork and Roth 2014, definition 2.4; neighbours differ by one row).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Guarantee {
    /// Epsilon, over all rounds.
    pub epsilon: f64,
    /// Delta.
    pub delta: f64,
}

impl Guarantee {
    /// In a sentence.
    pub fn words(&self) -> String {
        let odds = match self.epsilon <= 10.0 {
            true => format!("at most {:.1} times", libm::exp(self.epsilon)),
            false => "by so much that this promises little, above 20,000 times".to_owned(),
        };
        format!(
            "Differentially private for every row: epsilon {:.3} at delta {:e} over all rounds, whatever other sites do. Whether one row was there changes the odds of any result {odds}.",
            self.epsilon, self.delta
        )
    }
}

impl Averaging {
    fn batch() -> usize {
        1
    }

    /// What the settings guarantee to every row; nothing without noise.
    pub fn guarantee(&self) -> Option<Guarantee> {
        let delta = self.noise?.delta;
        Some(Guarantee { epsilon: epsilon(&[self.steps()?], delta), delta })
    }

    pub(crate) fn steps(&self) -> Option<NoisySteps> {
        let Noise { multiplier, sample, .. } = self.noise?;
        Some(NoisySteps { multiplier, sample, steps: self.rounds })
    }
}

impl Task {
    /// Whether the result predicts, and so may tell about rows.
    pub fn gives_a_model(&self) -> bool {
        match self {
            Self::Linear { .. }
            | Self::Logistic { .. }
            | Self::Cox { .. }
            | Self::DiscreteTime { .. }
            | Self::Boosting(_)
            | Self::Averaging(_) => true,
            Self::Count
            | Self::Moments
            | Self::Histogram { .. }
            | Self::Quantile { .. }
            | Self::KaplanMeier { .. }
            | Self::LogRank { .. }
            | Self::Pca { .. } => false,
        }
    }

    /// See [`Averaging::guarantee`].
    pub fn guarantee(&self) -> Option<Guarantee> {
        match self {
            Self::Averaging(settings) => settings.guarantee(),
            _ => None,
        }
    }
}

/// First weights.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Start {
    /// Zero.
    #[default]
    Zeros,
    /// Drawn evenly from -1/√p to 1/√p for p variables; of a network, for p inputs of a layer. Weights of zero would never learn
    /// there.
    Uniform,
}

/// How weights are averaged.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, tag = "kind")]
pub enum Strategy {
    /// Their mean, weighted by rows (McMahan et al. 2017).
    FedAvg,
    /// The mean, of steps that are pulled back to where the round began (Li et al. 2020).
    FedProx {
        /// How strongly.
        mu: f64,
    },
    /// The mean, of steps that are corrected by the gradients of all sites (Karimireddy et al. 2020, option I).
    Scaffold {
        /// Share of the way to the mean that is gone.
        #[serde(default = "Strategy::whole")]
        server_rate: f64,
    },
    /// A step of Adam on the mean's change (Reddi et al. 2021).
    FedAdam {
        /// Length of the coordinator's step.
        server_rate: f64,
    },
    /// A step of Yogi.
    FedYogi {
        /// Length of the coordinator's step.
        server_rate: f64,
    },
    /// A step of Adagrad.
    FedAdagrad {
        /// Length of the coordinator's step.
        server_rate: f64,
    },
}

impl Strategy {
    fn whole() -> f64 {
        1.0
    }

    fn is_sound(&self) -> bool {
        match self {
            Self::FedAvg => true,
            Self::FedProx { mu } => mu.is_finite() && *mu >= 0.0,
            Self::Scaffold { server_rate }
            | Self::FedAdam { server_rate }
            | Self::FedYogi { server_rate }
            | Self::FedAdagrad { server_rate } => server_rate.is_finite() && *server_rate > 0.0,
        }
    }
}

/// Settings of gradient boosting.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Boosting {
    /// Trees.
    #[serde(default = "Boosting::trees")]
    pub trees: usize,
    /// Splits from the root to a leaf, at most.
    #[serde(default = "Boosting::depth")]
    pub depth: usize,
    /// Share of a leaf's weight that counts.
    #[serde(default = "Boosting::rate")]
    pub rate: f64,
    /// Penalty on squared weights of leaves.
    #[serde(default = "Boosting::lambda")]
    pub lambda: f64,
    /// Gain a split must bring.
    #[serde(default)]
    pub gamma: f64,
    /// Sum of second derivatives a side of a split must have.
    #[serde(default = "Boosting::least_weight")]
    pub least_weight: f64,
    /// Bins of a variable, at most.
    #[serde(default = "Boosting::bins")]
    pub bins: usize,
}

impl Boosting {
    fn trees() -> usize {
        100
    }
    fn depth() -> usize {
        3
    }
    fn rate() -> f64 {
        0.1
    }
    fn lambda() -> f64 {
        1.0
    }
    fn least_weight() -> f64 {
        1.0
    }
    fn bins() -> usize {
        32
    }
}

/// What to do with events at the same time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ties {
    /// Efron 1977: the default, for it loses least on a coarse time grid.
    #[default]
    Efron,
    /// Breslow 1974.
    Breslow,
}

/// Link of discrete-time survival.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Link {
    /// Log odds of the hazard.
    Logit,
    /// log(-log(1 - hazard)): coefficients are log hazard ratios.
    Cloglog,
}

/// Width of the time grid. Times are rounded up to whole steps, so that an event does not come before it happened.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimeGrid {
    /// Days of one step. 7 by default: a single person's day cannot be read from the sums. 1 is exact for whole days.
    pub days: f64,
}

impl Default for TimeGrid {
    fn default() -> Self {
        Self { days: 7.0 }
    }
}

/// When Newton's method stops.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Newton {
    /// Largest change of a coefficient that counts as none.
    #[serde(default = "Newton::tolerance")]
    pub tolerance: f64,
    /// Rounds, at most.
    #[serde(default = "Newton::rounds")]
    pub rounds: u32,
}

impl Newton {
    fn tolerance() -> f64 {
        1e-9
    }
    fn rounds() -> u32 {
        30
    }
}

impl Default for Newton {
    fn default() -> Self {
        Self { tolerance: Self::tolerance(), rounds: Self::rounds() }
    }
}

/// Whose rows count. Conditions are on columns as they come; there is no way to list rows one by one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cohort {
    /// All of these must hold.
    #[serde(default, rename = "where", skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
    /// What to do with rows that lack a value.
    #[serde(default)]
    pub missing: Missing,
    /// Texts that stand for a missing value, besides the empty field.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing_values: Vec<String>,
    /// Persons whom a model does not learn from, at every site, so that it can be measured on them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_out: Option<HeldOut>,
}

/// Which persons are held out. A lot decides, by what the site has of each: it falls the same whenever the table is read, and all rows of a
/// person are on one side.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeldOut {
    /// Share of persons, about.
    pub share: f64,
    /// Decides the lots.
    #[serde(default)]
    pub seed: u64,
    /// Whether these are read, and not the others; never part of a document.
    #[serde(skip)]
    pub only: bool,
}

impl HeldOut {
    /// Whether the person of a mark is on the side that is read.
    pub(crate) fn reads(&self, mark: u64) -> bool {
        let mut hash = blake3::Hasher::new_derive_key("acequia held out 1");
        hash.update(&self.seed.to_le_bytes()).update(&mark.to_le_bytes());
        let mut lot = [0; 4];
        hash.finalize_xof().fill(&mut lot);
        (f64::from(u32::from_le_bytes(lot)) < self.share * 4_294_967_296.0) == self.only
    }
}

/// What to do with rows that lack a value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Missing {
    /// Stop with an error that names the row and column.
    #[default]
    Refuse,
    /// Leave the row out (complete-case analysis) and count it.
    Drop,
}

/// A condition on one column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// Which column.
    pub column: String,
    /// The text is one of these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub one_of: Option<Vec<String>>,
    /// The number is at least this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_least: Option<f64>,
    /// The number is above this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub above: Option<f64>,
    /// The number is at most this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_most: Option<f64>,
    /// The number is below this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub below: Option<f64>,
}

/// What is to be explained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, tag = "kind")]
pub enum Outcome {
    /// Time to the first of some events.
    Survival {
        /// Follow-up of each event.
        components: Vec<Component>,
        /// When a row without any event ends.
        #[serde(default)]
        censored_at: CensoredAt,
        /// Follow-up after this many days does not count.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cut_days: Option<f64>,
    },
    /// A number.
    Number {
        /// Which column and what is done with it.
        value: Variable,
    },
    /// 0 or 1.
    Binary {
        /// Which column and what is done with it.
        value: Variable,
    },
}

impl Outcome {
    /// Days after which follow-up does not count; none without a cut, and for other outcomes than survival.
    pub fn cut_days(&self) -> Option<f64> {
        match self {
            Self::Survival { cut_days, .. } => *cut_days,
            _ => None,
        }
    }
}

/// Follow-up for one event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Component {
    /// Column with the days to the event or to the last follow-up.
    pub time: String,
    /// Column with 1 for the event, 0 without.
    pub event: String,
}

/// When a row without any event ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CensoredAt {
    /// At the earliest end of follow-up: from then on one of the events is not looked for.
    #[default]
    First,
    /// At the latest.
    Last,
}

/// The rules for few persons. A site may have stricter ones; it takes the stricter of both.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrivacyRule {
    /// Rows a site must have to answer.
    pub minimum_rows: u64,
    /// Sites that must be in every sum.
    #[serde(default = "one_site")]
    pub minimum_sites: usize,
    /// Smallest count that a result may show or that may leave a site unmasked, other than 0.
    #[serde(default = "minimum_count")]
    pub minimum_count: u64,
    /// Largest share that one row may have in a sum of one variable.
    #[serde(default = "dominance")]
    pub dominance: f64,
    /// Largest area under the curve of an attack that guesses from the model who was in the training. One half is guessing.
    #[serde(default = "membership_auc")]
    pub membership_auc: f64,
    /// What a run over the network does when a site is gone that answered before.
    #[serde(default, skip_serializing_if = "Dropouts::is_usual")]
    pub dropouts: Dropouts,
}

/// What a run does when a site is gone that answered before. The sums of the round before, with it, and of the round after, without it,
/// differ mostly by its rows: whoever sees both sums learns those of the site roughly.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dropouts {
    /// The run stops, and goes on in the same round when the site is back. Aggregators add up over all sites or none.
    #[default]
    Wait,
    /// The run goes on without it.
    LeaveOut,
}

impl Dropouts {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
    fn is_usual(&self) -> bool {
        *self == Self::Wait
    }
}

fn one_site() -> usize {
    1
}
fn minimum_count() -> u64 {
    10
}
fn dominance() -> f64 {
    0.5
}
fn membership_auc() -> f64 {
    0.6
}

/// Who sums, and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Aggregation {
    /// How sums are protected on their way.
    pub protection: Protection,
    /// Names of the aggregators; two for `two-aggregators` and `proven`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aggregators: Vec<String>,
    /// Bits after the binary point of masked sums.
    #[serde(default = "fraction_bits")]
    pub fraction_bits: u32,
    /// What a site's numbers are at most; for `proven`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<Proof>,
}

/// What every site proves of its numbers: that they are no larger than these rows within these ranges can make them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proof {
    /// Rows of a site, at most.
    pub rows: u64,
    /// From and to, of each variable whose mean is asked for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ranges: BTreeMap<String, [f64; 2]>,
}

fn fraction_bits() -> u32 {
    32
}

impl Default for Aggregation {
    fn default() -> Self {
        Self {
            protection: Protection::TwoAggregators,
            aggregators: vec!["aggregator-a".to_owned(), "aggregator-b".to_owned()],
            fraction_bits: fraction_bits(),
            proof: None,
        }
    }
}

/// How sums are protected on their way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protection {
    /// Two organisations each get half of an additive secret; only the sum over all sites is ever seen. The default.
    TwoAggregators,
    /// The coordinator gets masked sums, and only the sum over all sites can be unmasked, by the sites together (Bonawitz et al. 2017).
    /// Needs no other organisation, and more messages; without a coordinator it is as with two aggregators.
    DoubleMasking,
    /// As with two aggregators, and each share comes with a proof (Prio3) that the site's numbers are in the range that the plan states:
    /// both aggregators refuse what is not. For counts, histograms and means.
    Proven,
    /// The coordinator sees each site's sums. Exact to the last bit; for one owner, or for sums that may be public.
    None,
}

impl Protection {
    /// Whether nobody sees a site's sums.
    pub fn is_masked(self) -> bool {
        self != Self::None
    }

    /// Whether two aggregators each get a share of them.
    pub fn is_shared(self) -> bool {
        matches!(self, Self::TwoAggregators | Self::Proven)
    }
}

impl Plan {
    /// As JSON; [`Plan::from_json`] reads it again, to the same digest.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// Reads a plan in TOML.
    ///
    /// # Errors
    /// [`LearnError::Plan`] with the line, or with the key that contradicts another.
    pub fn from_toml(text: &str) -> Result<Self, LearnError> {
        let plan: Self = toml::from_str(text).map_err(|error| {
            let line = error.span().map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
            let line = line.map_or(String::new(), |line| format!("line {line}: "));
            LearnError::Plan { message: format!("{line}{}", error.message()) }
        })?;
        plan.check()?;
        Ok(plan)
    }

    /// Reads a plan in JSON.
    ///
    /// # Errors
    /// [`LearnError::Plan`] with the line, or with the key that contradicts another.
    pub fn from_json(text: &str) -> Result<Self, LearnError> {
        let plan: Self = serde_json::from_str(text).map_err(|error| LearnError::Plan { message: error.to_string() })?;
        plan.check()?;
        Ok(plan)
    }

    /// Digest over the plan's canonical bytes: compact JSON with the keys in the order of this type. TOML and JSON of the
    /// same content have the same digest.
    pub fn digest(&self) -> Digest {
        let bytes = serde_json::to_vec(self).unwrap_or_default();
        digest_named("acequia run plan 1", [("plan", bytes.as_slice())])
    }

    /// Whether sites still answer it.
    ///
    /// # Errors
    /// [`LearnError::Expired`] after its last day.
    pub fn valid_on(&self, day: Day) -> Result<(), LearnError> {
        match self.last_day {
            Some(last_day) if day > last_day => Err(LearnError::Expired { last_day: last_day.to_string() }),
            _ => Ok(()),
        }
    }

    /// The network of a plan that has one and fits its variables.
    pub(crate) fn network(&self) -> Option<Network> {
        match &self.task {
            Task::Averaging(Averaging { network: Some(layers), .. }) => {
                Network::new(input(&self.variables)?, layers.clone()).ok()
            }
            _ => None,
        }
    }

    fn check(&self) -> Result<(), LearnError> {
        let wrong = |message: &str| Err(LearnError::Plan { message: message.to_owned() });
        if self.schema != "acequia-plan/1" {
            return wrong("schema must be acequia-plan/1");
        }
        self.variables.iter().try_for_each(check_variable)?;
        let mut names: Vec<&str> = self.variables.iter().map(|variable| variable.name.as_str()).collect();
        names.sort_unstable();
        if names.windows(2).any(|pair| pair[0] == pair[1]) {
            return wrong("two variables have the same name");
        }
        let not_negative = |x: f64| x.is_finite() && x >= 0.0;
        if !(self.privacy.dominance > 0.0 && self.privacy.dominance <= 1.0) {
            return wrong("privacy.dominance must be above 0 and at most 1");
        }
        if !(0.5..=1.0).contains(&self.privacy.membership_auc) {
            return wrong("privacy.membership_auc must be from 0.5, which is guessing, to 1");
        }
        if self.privacy.minimum_sites == 0 || self.privacy.minimum_rows == 0 {
            return wrong("privacy.minimum_sites and privacy.minimum_rows must be at least 1");
        }
        if self.aggregation.protection.is_shared()
            && (self.aggregation.aggregators.len() != 2
                || self.aggregation.aggregators[0] == self.aggregation.aggregators[1])
        {
            return wrong("aggregation.aggregators must name two different organisations");
        }
        if self.aggregation.protection == Protection::DoubleMasking && !self.aggregation.aggregators.is_empty() {
            return wrong(
                "aggregation.aggregators is for two-aggregators; with double-masking the coordinator adds up",
            );
        }
        if !(32..=52).contains(&self.aggregation.fraction_bits) {
            return wrong("aggregation.fraction_bits must be from 32 to 52: fewer lose digits, more leave no room");
        }
        check_proof(self)?;
        if let Some(held_out) = &self.cohort.held_out
            && !(self.task.gives_a_model() && held_out.share > 0.0 && held_out.share < 1.0)
        {
            return wrong("cohort.held_out is for tasks that give a model, with a share between 0 and 1");
        }
        let survival = matches!(self.outcome, Some(Outcome::Survival { .. }));
        let grid = |grid: TimeGrid| grid.days.is_finite() && grid.days > 0.0;
        let newton = |newton: Newton| newton.tolerance > 0.0 && newton.rounds > 0;
        if let Some(Outcome::Survival { components, cut_days, .. }) = &self.outcome {
            if components.is_empty() {
                return wrong("outcome.components names no event");
            }
            if cut_days.is_some_and(|cut| !(cut > 0.0 && cut.is_finite())) {
                return wrong("outcome.cut_days must be above 0");
            }
        }
        if let Some(Outcome::Number { value } | Outcome::Binary { value }) = &self.outcome {
            check_steps(&value.name, &value.steps)?;
            if value.image.is_some() {
                return wrong("an outcome is no image");
            }
        }
        let has_network = matches!(&self.task, Task::Averaging(settings) if settings.network.is_some());
        if !has_network && self.variables.iter().any(|variable| variable.image.is_some()) {
            return wrong("an image needs task.network, of the task averaging");
        }
        let needs_variables = !matches!(self.task, Task::Count | Task::KaplanMeier { .. });
        if needs_variables && self.variables.is_empty() {
            return wrong("this task needs variables");
        }
        match &self.task {
            Task::Count | Task::Moments => {}
            Task::Histogram { edges } => {
                if edges.len() < 2 || !edges.windows(2).all(|pair| pair[0] < pair[1]) {
                    return wrong("task.edges must be two or more ascending numbers");
                }
            }
            Task::Quantile { shares, low, high, resolution } => {
                if shares.is_empty() || shares.iter().any(|share| !(0.0..=1.0).contains(share)) {
                    return wrong("task.shares must be between 0 and 1");
                }
                if !(low < high && *resolution > 0.0 && (high - low) / resolution < 1e15) {
                    return wrong("task.low must be below task.high, and task.resolution above 0");
                }
            }
            Task::KaplanMeier { time_grid } => {
                if !survival || !grid(*time_grid) {
                    return wrong("kaplan-meier needs a survival outcome and a time grid above 0");
                }
            }
            Task::LogRank { time_grid, groups, .. } => {
                if !survival || !grid(*time_grid) || groups.len() < 2 {
                    return wrong("log-rank needs a survival outcome, a time grid above 0 and two groups or more");
                }
            }
            Task::Linear { ridge } => {
                if !matches!(self.outcome, Some(Outcome::Number { .. })) || !not_negative(*ridge) {
                    return wrong("linear needs a number as outcome and a ridge of 0 or more");
                }
            }
            Task::Logistic { ridge, newton: stop } => {
                if !matches!(self.outcome, Some(Outcome::Binary { .. })) || !not_negative(*ridge) || !newton(*stop) {
                    return wrong("logistic needs a binary outcome, a ridge of 0 or more and a tolerance above 0");
                }
            }
            Task::Cox { time_grid, ridge, newton: stop, .. } => {
                if !survival || !grid(*time_grid) || !not_negative(*ridge) || !newton(*stop) {
                    return wrong(
                        "cox needs a survival outcome, a time grid and tolerance above 0, and a ridge of 0 or more",
                    );
                }
            }
            Task::DiscreteTime { ends_days, ridge, newton: stop, .. } => {
                let ascending = ends_days.windows(2).all(|pair| pair[0] < pair[1]);
                if !survival || ends_days.first().is_none_or(|end| *end <= 0.0) || !ascending {
                    return wrong("discrete-time needs a survival outcome and ascending ends of intervals above 0");
                }
                if !not_negative(*ridge) || !newton(*stop) {
                    return wrong("discrete-time needs a ridge of 0 or more and a tolerance above 0");
                }
            }
            Task::Pca { components, .. } => {
                if *components == 0 || *components > self.variables.len() {
                    return wrong("task.components must be from 1 to the number of variables");
                }
            }
            Task::Boosting(settings) => {
                let rates = settings.rate > 0.0 && not_negative(settings.lambda) && not_negative(settings.gamma);
                if !matches!(self.outcome, Some(Outcome::Binary { .. }))
                    || !rates
                    || settings.trees == 0
                    // Without either, a leaf of certain rows has no weight.
                    || settings.lambda + settings.least_weight.max(0.0) <= 0.0
                    || !(1..=8).contains(&settings.depth)
                    || !(2..=256).contains(&settings.bins)
                {
                    return wrong(
                        "boosting needs a binary outcome, one tree or more, a depth from 1 to 8, 2 to 256 bins, a rate above 0, lambda and gamma of 0 or more, and lambda or least_weight above 0",
                    );
                }
                if self.variables.iter().any(|variable| variable.standardise) {
                    return wrong("boosting looks at the order of values only; leave standardise out");
                }
            }
            Task::Averaging(settings) => {
                let binary = matches!(self.outcome, Some(Outcome::Binary { .. }));
                let counts = (1..=10_000).contains(&settings.rounds)
                    && (1..=100_000).contains(&settings.local_steps)
                    && settings.batch >= 1;
                let rate = settings.rate.is_finite() && settings.rate > 0.0;
                if !(binary || survival) || !counts || !rate || !settings.strategy.is_sound() {
                    return wrong(
                        "averaging needs a binary or a survival outcome, 1 to 10000 rounds, 1 to 100000 local_steps, a batch of 1 or more, and rates above 0",
                    );
                }
                if settings.longest_change.is_some_and(|longest| !(longest.is_finite() && longest > 0.0))
                    || (settings.longest_change.is_some() && settings.noise.is_some())
                {
                    return wrong("task.longest_change must be above 0, and noise has a clip instead");
                }
                if let Some(layers) = &settings.network {
                    let Some(input) = input(&self.variables) else {
                        return wrong("task.network looks at one image, or at variables without images");
                    };
                    Network::new(input, layers.clone())
                        .map_err(|error| LearnError::Plan { message: error.to_string() })?;
                    if settings.start == Start::Zeros {
                        return wrong("task.network does not learn from weights of zero: set task.start to uniform");
                    }
                }
                if let Some(noise) = &settings.noise {
                    // Wide enough for any use, and narrow enough that no number on the way is cut.
                    let sound = (1e-6..=1e6).contains(&noise.clip)
                        && (1e-2..=1e6).contains(&noise.multiplier)
                        && (1e-9..=1.0).contains(&noise.sample)
                        && noise.rows > 0
                        && DELTAS.contains(&noise.delta);
                    if !sound {
                        return wrong(
                            "task.noise needs a clip from 1e-6 to 1e6, a multiplier from 0.01 to 1e6, a sample from 1e-9 to 1, rows, and a delta from 1e-15 to 1e-3",
                        );
                    }
                    let pulled = matches!(settings.strategy, Strategy::FedProx { .. } | Strategy::Scaffold { .. });
                    if !binary || settings.local_steps != 1 || pulled {
                        return wrong(
                            "task.noise is for a binary outcome, one local step, and a strategy without a pull at the sites",
                        );
                    }
                    if self.variables.iter().any(|variable| variable.standardise) {
                        return wrong(
                            "task.noise and standardise contradict one another: means would be told exactly; subtract and divide by known numbers",
                        );
                    }
                }
            }
        }
        Ok(())
    }
}

/// What a network of these variables looks at: one image, or a number of each.
pub(crate) fn input(variables: &[Variable]) -> Option<Input> {
    match variables {
        [Variable { image: Some(image), .. }] => Some(Input::Image { height: image.height, width: image.width }),
        some if some.iter().all(|variable| variable.image.is_none()) => Some(Input::Numbers(some.len())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COX: &str = r#"
schema = "acequia-plan/1"
title = "Recurrence-free survival"
task = { kind = "cox" }
privacy = { minimum_rows = 50 }
outcome = { kind = "survival", components = [{ time = "t", event = "e" }] }
variables = [{ name = "x", steps = [{ divide = 100 }, "log"] }]
"#;

    #[test]
    fn toml_and_json_of_the_same_plan_have_one_digest() {
        let plan = Plan::from_toml(COX).unwrap();
        let json = serde_json::to_string(&plan).unwrap();
        assert_eq!(Plan::from_json(&json).unwrap().digest(), plan.digest());
        assert_eq!(plan.aggregation.protection, Protection::TwoAggregators, "protected unless stated otherwise");
    }

    #[test]
    fn every_setting_changes_the_digest() {
        let plan = Plan::from_toml(COX).unwrap();
        let other = Plan::from_toml(&COX.replace("minimum_rows = 50", "minimum_rows = 51")).unwrap();
        assert_ne!(plan.digest(), other.digest());
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line() {
        let error = Plan::from_toml(&COX.replace("title", "titel")).unwrap_err().to_string();
        assert!(error.contains("line"), "{error}");
        for (from, to) in [
            ("{ kind = \"cox\" }", "{ kind = \"cox\", code = \"rm\" }"),
            ("{ kind = \"cox\" }", "{ kind = \"python\" }"),
            ("minimum_rows = 50", "minimum_rows = 50, mask = [1]"),
            ("\"log\"", "\"eval\""),
            ("minimum_rows = 50", "minimum_rows = 0"),
            ("name = \"x\"", "name = \"x\", rows = [1, 2]"),
        ] {
            assert!(Plan::from_toml(&COX.replace(from, to)).is_err(), "{to}");
        }
    }
}
