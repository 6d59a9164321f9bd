//! A request to measure a frozen model at sites of others, and what a site hands out for it.

use acequia_types::{Day, Digest, Timestamp, digest_named};
use serde::{Deserialize, Serialize};

use crate::LearnError;
use crate::frozen::{Frozen, FrozenModel};
use crate::import::ImportedDocument;
use crate::model::Model;
use crate::plan::{Cohort, HeldOut, Missing};
use crate::sovereignty::SiteRules;
use crate::table::{Data, Needs};
use crate::validate::{SiteEvaluation, Validation, evaluate};
use crate::variable::Variable;

/// What is asked of sites: a frozen model, and how it is to be measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ValidationRequest {
    /// Layout of this document: `acequia-validation-request/2`.
    pub schema: String,
    /// The model.
    pub model: FrozenModel,
    /// How it is measured.
    pub settings: Validation,
    /// Columns whose values are subgroups.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub by: Vec<String>,
    /// What to do with rows that lack a value.
    pub missing: Missing,
    /// Last day on which sites answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_day: Option<Day>,
}

/// The same as it came, before anybody looked whether the model is one.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Received {
    schema: String,
    model: ReceivedModel,
    settings: Validation,
    #[serde(default)]
    by: Vec<String>,
    missing: Missing,
    #[serde(default)]
    last_day: Option<Day>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum ReceivedModel {
    Own(Box<Model>),
    Imported(Box<ImportedDocument>),
}

/// What a request needs of a site's table; lives as long as it is read.
#[derive(Debug, Clone)]
pub struct Reading {
    cohort: Cohort,
    variables: Vec<Variable>,
    may_lack: Vec<bool>,
    outcome: Option<crate::plan::Outcome>,
    by: Vec<String>,
}

impl Reading {
    /// For the reader of tables.
    pub fn needs(&self) -> Needs<'_> {
        Needs {
            cohort: &self.cohort,
            outcome: self.outcome.as_ref(),
            variables: &self.variables,
            may_lack: &self.may_lack,
            groups: &self.by,
        }
    }
}

const SCHEMA: &str = "acequia-validation-request/2";

impl ValidationRequest {
    /// Asks for a model to be measured.
    pub fn new(model: impl Into<FrozenModel>, settings: Validation, by: Vec<String>, missing: Missing) -> Self {
        Self { schema: SCHEMA.to_owned(), model: model.into(), settings, by, missing, last_day: None }
    }

    /// Reads a request.
    ///
    /// # Errors
    /// [`LearnError::Model`] when it is none, or asks for more than a site computes; [`LearnError::Inference`] and
    /// [`LearnError::Manifest`] when its model is of another program and not run here.
    pub fn from_json(text: &str) -> Result<Self, LearnError> {
        let wrong = |message: String| LearnError::Model { message };
        let received: Received = serde_json::from_str(text).map_err(|error| {
            wrong(format!("line {}, column {} is not what a request has there", error.line(), error.column()))
        })?;
        let settings = &received.settings;
        let lists = settings.grid_days.len().max(settings.thresholds.len()).max(received.by.len());
        if received.schema != SCHEMA || settings.bootstraps > 100_000 || lists > 20 {
            return Err(wrong("a site answers requests of this version, with at most 20 days, thresholds and columns and 100,000 samples".to_owned()));
        }
        let model = match received.model {
            // The model's own rules.
            ReceivedModel::Own(model) => FrozenModel::from(Model::from_json(&model.to_json())?),
            ReceivedModel::Imported(document) => FrozenModel::Imported(Box::new((*document).try_into()?)),
        };
        let Received { schema, settings, by, missing, last_day, .. } = received;
        Ok(Self { schema, model, settings, by, missing, last_day })
    }

    /// As JSON, with a final newline.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// Names the request.
    pub fn digest(&self) -> Digest {
        let bytes = serde_json::to_vec(self).unwrap_or_default();
        digest_named("acequia validation request 1", [("request", bytes.as_slice())])
    }

    /// Elsewhere nobody is held out; where the model learned, those who were may be asked for.
    fn held_out(&self, model: Frozen<'_>) -> Option<HeldOut> {
        let held_out = model.cohort().held_out.filter(|_| self.settings.held_out);
        held_out.map(|held_out| HeldOut { only: true, ..held_out })
    }

    /// How a site reads its table for it.
    pub fn reading(&self) -> Reading {
        let model = Frozen::from(&self.model);
        Reading {
            cohort: Cohort { missing: self.missing, held_out: self.held_out(model), ..model.cohort().clone() },
            variables: model.variables(),
            may_lack: model.may_lack(),
            outcome: model.outcome().cloned(),
            by: self.by.clone(),
        }
    }

    /// What would leave, in sentences for whoever decides.
    pub fn words(&self, rows: u64) -> String {
        let by = match self.by.as_slice() {
            [] => String::new(),
            columns => format!(", the same in subgroups by {}", columns.join(", ")),
        };
        let whose = match &self.model {
            FrozenModel::Own(_) => String::new(),
            FrozenModel::Imported(model) => {
                let manifest = model.manifest();
                let creators: Vec<&str> = manifest.creators.iter().map(|creator| creator.name.as_str()).collect();
                format!(
                    " {} {} by {} was made by another program: its file is run here in a process of its own, which can write nothing and has little memory and time.",
                    manifest.name,
                    manifest.version,
                    creators.join(", ")
                )
            }
        };
        format!(
            "Measure the model \"{}\" on this site's {rows} rows.{whose} What leaves are numbers about all of them: counts of rows, of \
             events and of rows left out, shares of rows above {} risks, discrimination, calibration with its curve, overall error and net benefit, with intervals{by}. Groups of fewer \
             than {} rows or events are not told. Nothing is learnt from the rows. No row, name or date of a person leaves.",
            self.model.title(),
            self.settings.thresholds.len(),
            self.settings.minimum_count
        )
    }

    /// Measures the model on a site's rows, under the site's own rules.
    ///
    /// # Errors
    /// [`LearnError::Withheld`] with few rows, events or rows without the event; [`LearnError::Expired`]; as [`evaluate`].
    pub fn answer(&self, data: &Data, rules: &SiteRules, now: Timestamp) -> Result<SiteFinding, LearnError> {
        let withheld = |reason: String| LearnError::Withheld { site: data.name().to_owned(), reason };
        if let Some(last_day) = self.last_day
            && now.day() > last_day
        {
            return Err(LearnError::Expired { last_day: last_day.to_string() });
        }
        if !rules.tasks.is_empty() && !rules.tasks.contains(VALIDATION) {
            return Err(withheld("its standing rules do not allow validation".to_owned()));
        }
        let rows = data.rows() as u64;
        if rows < rules.minimum_rows {
            return Err(withheld(format!("fewer than {} of its rows are in the cohort", rules.minimum_rows)));
        }
        let least = self.settings.minimum_count.max(rules.minimum_count);
        if rows - data.events() < least {
            return Err(withheld(format!("fewer than {least} rows without the event")));
        }
        let settings = Validation { minimum_count: least, ..self.settings.clone() };
        let evaluation = evaluate(&self.model, data, &self.by, &settings)?;
        Ok(SiteFinding { digest: finding_digest(self.model.digest(), &self.settings, &evaluation), evaluation })
    }
}

/// The kind of task that a validation is, for standing rules.
pub const VALIDATION: &str = "validation";

/// Proof that a site's rules were checked: what it hands out about a model. Only [`ValidationRequest::answer`] makes one.
#[derive(Debug, Clone, PartialEq)]
pub struct SiteFinding {
    evaluation: SiteEvaluation,
    digest: Digest,
}

impl SiteFinding {
    /// What leaves.
    pub fn evaluation(&self) -> &SiteEvaluation {
        &self.evaluation
    }

    /// Digest of model, settings and evaluation: what the site signs.
    pub fn digest(&self) -> Digest {
        self.digest
    }
}

/// Digest of an evaluation of a model (its digest) by these settings; see [`SiteFinding::digest`].
pub fn finding_digest(model: Digest, settings: &Validation, evaluation: &SiteEvaluation) -> Digest {
    let bytes = serde_json::to_vec(evaluation).unwrap_or_default();
    let settings = serde_json::to_vec(settings).unwrap_or_default();
    let parts =
        [("model", model.as_bytes().as_slice()), ("settings", settings.as_slice()), ("evaluation", bytes.as_slice())];
    digest_named("acequia finding 1", parts)
}

/// A site's signature under what it measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SiteSignature {
    /// Name of the site.
    pub site: String,
    /// Its public key (Ed25519), 64 hex digits.
    pub key: String,
    /// Its signature over the digest of model, settings and evaluation, 128 hex digits.
    pub signature: String,
}
