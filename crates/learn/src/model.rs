//! A frozen model: everything needed to predict, from a site's columns on, and nothing of any person.

use acequia_neural::{Layers, Network};
use acequia_types::{Digest, digest_named};
use serde::{Deserialize, Serialize};

use crate::LearnError;
use crate::membership::Membership;
use crate::plan::{Cohort, Guarantee, Link, Outcome, Plan, Task, Ties, input};
use crate::tasks::{Scale, Tree};
use crate::variable::{Variable, check_variable};

/// A model and how it came about. Its bytes are [`Model::to_json`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Layout of this document: `acequia-model/1`.
    pub schema: String,
    /// One sentence, from the plan.
    pub title: String,
    /// Digest of the run plan.
    pub plan: Digest,
    /// Program and version that trained it.
    pub program: String,
    /// Whose rows it was trained on.
    pub cohort: Cohort,
    /// What it predicts.
    pub outcome: Option<Outcome>,
    /// Its variables, with the steps from a column to a number.
    pub variables: Vec<ModelVariable>,
    /// The numbers.
    pub form: Form,
    /// How well it was fitted.
    pub fit: Fit,
    /// Names of the sites whose rows it learned from.
    pub sites: Vec<String>,
    /// What its training guarantees to every row, where noise was added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub differential_privacy: Option<Guarantee>,
    /// Published versions whose tables were among them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub learned_from: Vec<LearnedFrom>,
    /// Whether it tells whose rows it learned from; see [`Model::tested`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub membership: Option<Membership>,
}

/// A published version that a model learned from: what it was called, and under which licence it was given.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LearnedFrom {
    /// `namespace/name`.
    pub name: String,
    /// Version.
    pub version: String,
    /// Digest of its manifest.
    pub manifest: Digest,
    /// SPDX id of its licence.
    pub license: String,
}

/// A variable with its scale.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelVariable {
    /// Column and steps.
    pub variable: Variable,
    /// What is subtracted and divided by, where the plan standardises.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<Scale>,
    /// Mean and standard deviation in training, to tell rows that are unlike all others.
    pub seen: Option<Scale>,
}

/// The numbers of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Form {
    /// Least squares.
    Linear {
        /// Prediction for a row of zeros.
        intercept: f64,
        /// Its standard error.
        intercept_error: f64,
        /// One for each variable.
        coefficients: Vec<f64>,
        /// Their standard errors.
        standard_errors: Vec<f64>,
        /// Standard deviation of what is not explained.
        residual_sd: f64,
    },
    /// Logistic regression.
    Logistic {
        /// Log odds of a row of zeros.
        intercept: f64,
        /// Its standard error; none for weights that steps of averaging came to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        intercept_error: Option<f64>,
        /// Log odds ratios, one for each variable.
        coefficients: Vec<f64>,
        /// Their standard errors; none as for the intercept.
        standard_errors: Vec<f64>,
    },
    /// Proportional hazards.
    Cox {
        /// How ties were treated.
        ties: Ties,
        /// Log hazard ratios, one for each variable.
        coefficients: Vec<f64>,
        /// Their standard errors; none for weights that steps of averaging came to.
        standard_errors: Vec<f64>,
        /// Days and cumulative hazard of a row of zeros. Empty for a model stratified by site, or averaged: it ranks, and states
        /// no risk.
        baseline: Vec<(f64, f64)>,
    },
    /// Discrete-time survival.
    DiscreteTime {
        /// Link.
        link: Link,
        /// Ends of the intervals in days.
        ends_days: Vec<f64>,
        /// One for each interval.
        intercepts: Vec<f64>,
        /// Their standard errors.
        intercept_errors: Vec<f64>,
        /// One for each variable.
        coefficients: Vec<f64>,
        /// Their standard errors.
        standard_errors: Vec<f64>,
    },
    /// Boosted trees.
    Boosting {
        /// Log odds before the first tree.
        base: f64,
        /// The trees.
        trees: Vec<Tree>,
    },
    /// A neural network.
    Network {
        /// What its score is.
        score: Score,
        /// Its layers.
        layers: Layers,
        /// Weights of all layers in order, each layer's weights before its biases (see `acequia_neural`).
        weights: Vec<f64>,
    },
}

/// What the score of a network is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Score {
    /// Log odds of the outcome.
    LogOdds,
    /// Log relative hazard: it ranks, and states no risk.
    LogRelativeHazard,
}

/// How well a model was fitted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fit {
    /// Rows.
    pub rows: u64,
    /// Events.
    pub events: u64,
    /// Rounds after the first.
    pub iterations: u32,
    /// Log-likelihood without variables.
    pub log_likelihood_null: Option<f64>,
    /// Log-likelihood of the model, penalty left out.
    pub log_likelihood: Option<f64>,
}

impl Model {
    pub(crate) fn new(plan: &Plan, scales: &[Scale], form: Form, fit: Fit, sites: &[String]) -> Self {
        let variables = plan
            .variables
            .iter()
            .enumerate()
            .map(|(j, variable)| ModelVariable {
                variable: variable.clone(),
                scale: scales.get(j).copied().filter(|_| variable.standardise),
                seen: scales.get(j).copied(),
            })
            .collect();
        Self {
            schema: "acequia-model/1".to_owned(),
            title: plan.title.clone(),
            plan: plan.digest(),
            program: concat!("acequia ", env!("CARGO_PKG_VERSION")).to_owned(),
            cohort: plan.cohort.clone(),
            outcome: plan.outcome.clone(),
            variables,
            form,
            fit,
            sites: sites.to_vec(),
            differential_privacy: plan.task.guarantee(),
            learned_from: Vec::new(),
            membership: None,
        }
    }

    /// The model as a document: pretty JSON with a final newline. Numbers round-trip.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// Reads a model.
    ///
    /// # Errors
    /// [`LearnError::Model`] with the line, or when lengths do not agree or a number is not finite.
    pub fn from_json(text: &str) -> Result<Self, LearnError> {
        let wrong = |message: String| LearnError::Model { message };
        // The place only: what was given instead of a model may hold a person's values.
        let place = |error: serde_json::Error| {
            wrong(format!("line {}, column {} is not what a model has there", error.line(), error.column()))
        };
        let model: Self = serde_json::from_str(text).map_err(place)?;
        if model.schema != "acequia-model/1" {
            return Err(wrong("its layout is not acequia-model/1".to_owned()));
        }
        let p = model.variables.len();
        let sound = match &model.form {
            Form::Linear { coefficients, .. } | Form::Logistic { coefficients, .. } => coefficients.len() == p,
            Form::Cox { coefficients, baseline, .. } => {
                coefficients.len() == p
                    && baseline.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1)
            }
            Form::DiscreteTime { ends_days, intercepts, coefficients, .. } => {
                coefficients.len() == p && ends_days.len() == intercepts.len() && !ends_days.is_empty()
            }
            Form::Boosting { trees, .. } => trees.iter().all(|tree| tree.is_sound(p)),
            Form::Network { weights, .. } => {
                model.network().is_some_and(|network| network.len() == weights.len())
                    && weights.iter().all(|weight| weight.is_finite())
            }
        };
        let has_image = model.variables.iter().any(|one| one.variable.image.is_some());
        if has_image && !matches!(model.form, Form::Network { .. }) {
            return Err(wrong("only a network looks at images".to_owned()));
        }
        if !sound || model.variables.iter().any(|one| one.scale.is_some_and(|scale| !scale.is_sound())) {
            return Err(wrong("its numbers do not fit its variables".to_owned()));
        }
        model.variables.iter().try_for_each(|one| check_variable(&one.variable))?;
        Ok(model)
    }

    /// Reads a model from a file of any format that this program writes: JSON, ONNX, safetensors.
    ///
    /// # Errors
    /// [`LearnError::Runs`] for pickles in any wrapping (Python's, PyTorch's, joblib's), which run code when they are opened; as the
    /// readers of the formats.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, LearnError> {
        const ZIP: &[u8] = b"PK\x03\x04";
        let wrong = |message: &str| LearnError::Model { message: message.to_owned() };
        // The length of a header, and the header.
        let header = bytes.first_chunk::<8>().map_or(u64::MAX, |length| u64::from_le_bytes(*length));
        if bytes.get(8) == Some(&b'{') && header <= bytes.len() as u64 - 8 {
            return Self::from_safetensors(bytes);
        }
        if bytes.trim_ascii_start().starts_with(b"{") {
            return Self::from_json(std::str::from_utf8(bytes).map_err(|_| wrong("it is not UTF-8"))?);
        }
        if bytes.starts_with(ZIP) {
            return Err(LearnError::Runs { format: "an archive as PyTorch writes it, with a pickle in it" });
        }
        // Protocols 2 to 5 begin with their number (PEP 3154); older ones end with a full stop after a mark.
        if matches!(bytes, [0x80, 2..=5, ..]) || (bytes.starts_with(b"(") && bytes.ends_with(b".")) {
            return Err(LearnError::Runs { format: "a pickle" });
        }
        Self::from_onnx(bytes)
    }

    /// The model with the published versions that tables of its training came from, each once.
    #[must_use]
    pub fn learned(mut self, mut from: Vec<LearnedFrom>) -> Self {
        from.sort();
        from.dedup();
        self.learned_from = from;
        self
    }

    /// Names the frozen model: a digest over its bytes.
    pub fn digest(&self) -> Digest {
        digest_named("acequia model 1", [("model", self.to_json().as_bytes())])
    }

    /// The steps from columns to numbers, for reading a table.
    pub fn inputs(&self) -> Vec<Variable> {
        self.variables.iter().map(|one| one.variable.clone()).collect()
    }

    /// Coefficients, where the model has them.
    pub fn coefficients(&self) -> &[f64] {
        match &self.form {
            Form::Linear { coefficients, .. }
            | Form::Logistic { coefficients, .. }
            | Form::Cox { coefficients, .. }
            | Form::DiscreteTime { coefficients, .. } => coefficients,
            Form::Boosting { .. } | Form::Network { .. } => &[],
        }
    }

    /// The network of a model that is one; what comes in follows from its variables.
    pub(crate) fn network(&self) -> Option<Network> {
        let Form::Network { layers, .. } = &self.form else { return None };
        Network::new(input(&self.inputs())?, layers.clone()).ok()
    }

    /// Standard errors of the coefficients.
    pub fn standard_errors(&self) -> &[f64] {
        match &self.form {
            Form::Linear { standard_errors, .. }
            | Form::Logistic { standard_errors, .. }
            | Form::Cox { standard_errors, .. }
            | Form::DiscreteTime { standard_errors, .. } => standard_errors,
            Form::Boosting { .. } | Form::Network { .. } => &[],
        }
    }

    /// Linear predictors of rows of variables, row after row: prediction of a linear model, log odds of a logistic one and of trees,
    /// log relative hazard of a Cox or discrete-time one, score of a network. Pixels of an image are one variable after another.
    pub fn linear_predictors(&self, rows: &[f64]) -> Vec<f64> {
        let width: usize = self.variables.iter().map(|one| one.variable.numbers()).sum();
        match (&self.form, self.network()) {
            (Form::Network { weights, .. }, Some(network)) if network.len() == weights.len() => {
                let mut scaled = rows.to_vec();
                if width == self.variables.len() {
                    for row in scaled.chunks_exact_mut(width) {
                        for (x, variable) in row.iter_mut().zip(&self.variables) {
                            *x = variable.scale.map_or(*x, |scale| scale.of(*x));
                        }
                    }
                }
                network.scores(weights, &scaled)
            }
            _ => rows.chunks_exact(width.max(1)).map(|row| self.linear_predictor(row)).collect(),
        }
    }

    fn linear_predictor(&self, row: &[f64]) -> f64 {
        let slope: f64 = self
            .coefficients()
            .iter()
            .zip(row)
            .zip(&self.variables)
            .map(|((b, x), variable)| b * variable.scale.map_or(*x, |scale| scale.of(*x)))
            .sum();
        match &self.form {
            Form::Linear { intercept, .. } | Form::Logistic { intercept, .. } => intercept + slope,
            Form::Cox { .. } | Form::DiscreteTime { .. } => slope,
            // Only one whose weights do not fit comes here.
            Form::Network { .. } => f64::NAN,
            Form::Boosting { base, trees } => trees.iter().fold(*base, |sum, tree| sum + tree.value(row)),
        }
    }

    /// Cumulative baseline hazard at `days`; none for a model without one, and none beyond the cut of its training.
    pub fn baseline_at(&self, days: f64) -> Option<f64> {
        if self.outcome.as_ref().and_then(Outcome::cut_days).is_some_and(|cut| days > cut) {
            return None;
        }
        match &self.form {
            Form::Cox { baseline, .. } if !baseline.is_empty() => {
                Some(baseline.iter().take_while(|(at, _)| *at <= days).last().map_or(0.0, |(_, hazard)| *hazard))
            }
            _ => None,
        }
    }

    /// Probability of the outcome for a linear predictor: by `days` for survival.
    pub fn risk(&self, linear_predictor: f64, days: f64) -> Option<f64> {
        match &self.form {
            Form::Linear { .. } | Form::Network { score: Score::LogRelativeHazard, .. } => None,
            Form::Logistic { .. } | Form::Boosting { .. } | Form::Network { score: Score::LogOdds, .. } => {
                Some(crate::tasks::logistic(linear_predictor))
            }
            Form::Cox { .. } => {
                self.baseline_at(days).map(|hazard| -libm::expm1(-hazard * libm::exp(linear_predictor)))
            }
            Form::DiscreteTime { link, ends_days, intercepts, .. } => {
                let without = ends_days.iter().zip(intercepts).take_while(|(end, _)| **end <= days + 1e-9).fold(
                    1.0,
                    |without, (_, intercept)| {
                        let eta = intercept + linear_predictor;
                        without
                            * match link {
                                Link::Logit => 1.0 - crate::tasks::logistic(eta),
                                Link::Cloglog => libm::exp(-libm::exp(eta)),
                            }
                    },
                );
                Some(1.0 - without)
            }
        }
    }

    /// Whether it is about time to an event.
    pub fn is_survival(&self) -> bool {
        matches!(
            self.form,
            Form::Cox { .. } | Form::DiscreteTime { .. } | Form::Network { score: Score::LogRelativeHazard, .. }
        )
    }

    /// How many rows it learned from, in words. Training with noise tells no exact number: the plan's own guess stands for it.
    pub fn learned_words(&self) -> String {
        match self.differential_privacy {
            Some(_) => format!("about {} rows", self.fit.rows),
            None => format!("{} rows, {} with the event", self.fit.rows, self.fit.events),
        }
    }

    /// Names of tasks as words.
    pub fn kind(&self) -> &'static str {
        match self.form {
            Form::Linear { .. } => "linear regression",
            Form::Logistic { .. } => "logistic regression",
            Form::Cox { .. } => "Cox proportional hazards",
            Form::DiscreteTime { .. } => "discrete-time survival",
            Form::Boosting { .. } => "gradient boosted trees",
            Form::Network { .. } => "neural network",
        }
    }
}

impl Task {
    /// The word of a plan file.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::Moments => "moments",
            Self::Histogram { .. } => "histogram",
            Self::Quantile { .. } => "quantile",
            Self::KaplanMeier { .. } => "kaplan-meier",
            Self::LogRank { .. } => "log-rank",
            Self::Linear { .. } => "linear",
            Self::Logistic { .. } => "logistic",
            Self::Cox { .. } => "cox",
            Self::DiscreteTime { .. } => "discrete-time",
            Self::Pca { .. } => "pca",
            Self::Boosting(_) => "boosting",
            Self::Averaging(_) => "averaging",
        }
    }
}
