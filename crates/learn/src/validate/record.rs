//! The validation record: what was measured where, how sure it is, and which statements are still for people to make.

use acequia_types::{Day, Digest, digest_named};
use serde::{Deserialize, Serialize};

use crate::LearnError;
use crate::frozen::Frozen;
use crate::import::ImportedModel;
use crate::membership::Membership;
use crate::model::{Form, Model};
use crate::plan::Condition;
use crate::validate::pool::pool;
use crate::validate::{Pooled, SiteEvaluation, SiteSignature, Validation};

/// How far the evidence goes. Never one badge: it is stated with population, sites and date.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Evidence {
    /// The rows the model learned from.
    L0,
    /// Persons at these sites who were held out from training.
    L1,
    /// Rows of another site.
    L2,
    /// Rows of another country or period, by an independent team.
    L3,
    /// Silent use ahead of time.
    L4,
    /// A trial.
    L5,
}

impl Evidence {
    /// The level in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::L0 => "L0, apparent: measured on sites the model learned from, so the numbers are too good",
            Self::L1 => {
                "L1, internal: measured at sites the model learned from, on persons who were held out from training by lot"
            }
            Self::L2 => "L2, external: measured at a site the model did not learn from",
            Self::L3 => "L3, external and independent: another country or period, another team",
            Self::L4 => "L4, prospective and silent: measured ahead of time, without acting on it",
            Self::L5 => "L5, trial: measured by what happens to people",
        }
    }
}

/// One heading of a reporting guideline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heading {
    /// Guideline and item.
    pub item: String,
    /// What it is about.
    pub about: String,
    /// What the run knows.
    pub known: Option<String>,
    /// What only a person can say; none where the run knows everything.
    pub person: Option<Field>,
}

/// A field for a person. A run never fills one in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    /// What is to be written.
    pub asks: String,
    /// What a person wrote; empty until then.
    pub answer: Option<String>,
}

/// A predictor of the frozen model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Predictor {
    /// Its name.
    pub name: String,
    /// The column it comes from.
    pub column: String,
    /// Its coefficient, where the model has one.
    pub coefficient: Option<f64>,
    /// The coefficient's standard error.
    pub standard_error: Option<f64>,
}

/// What is known of a model that another program made: what its file is, and what its maker says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Import {
    /// Format of the file: `ONNX`.
    pub format: String,
    /// SHA-256 of the file.
    pub file: Digest,
    /// The program that wrote the file, by its own words; may be empty.
    pub producer: String,
    /// What its maker calls it.
    pub name: String,
    /// Its version, in its maker's counting.
    pub version: String,
    /// SPDX expression of its licence.
    pub license: String,
    /// Who made it.
    pub creators: Vec<String>,
    /// What it is for, and for whom.
    pub intended_use: String,
    /// Whose rows it learned from, in words; none where its maker does not say.
    pub population: Option<String>,
    /// Names of the sites that it learned from; none where its maker does not say.
    pub developed_at: Option<Vec<String>>,
    /// Examples of its maker that came out the same here, to 1e-5.
    pub examples: usize,
}

impl Import {
    fn of(model: &ImportedModel) -> Self {
        let manifest = model.manifest();
        Self {
            format: "ONNX".to_owned(),
            file: Digest::of(model.file().bytes()),
            producer: model.file().producer().to_owned(),
            name: manifest.name.clone(),
            version: manifest.version.clone(),
            license: manifest.license.clone(),
            creators: manifest.creators.iter().map(|creator| creator.name.clone()).collect(),
            intended_use: manifest.intended_use.clone(),
            population: manifest.population.clone(),
            developed_at: manifest.developed_at.clone(),
            examples: manifest.examples.len(),
        }
    }
}

/// What a person states about how far the evidence goes, beyond what was measured: that another team did it, in another country or
/// period, ahead of time, in a trial. Nothing of it is computed, and it changes no level that was measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// L3, L4 or L5.
    pub level: Evidence,
    /// Who states it.
    pub by: String,
    /// Where it can be looked up: a registration, a publication.
    pub reference: String,
    /// In that person's own words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub says: Option<String>,
    /// On which day.
    pub on: Day,
    /// Key that signed it.
    pub key: String,
    /// The signature.
    pub signature: String,
}

impl Statement {
    /// What is signed: the statement, and what the record measured.
    pub fn digest(&self, record: &Record) -> Digest {
        let bare = Self { signature: String::new(), ..self.clone() };
        let bytes = serde_json::to_vec(&bare).unwrap_or_default();
        let measured = record.measured();
        let parts = [("measured", measured.as_bytes().as_slice()), ("statement", bytes.as_slice())];
        digest_named("acequia statement 1", parts)
    }

    fn check(&self) -> Result<(), LearnError> {
        let wrong = |message: &str| Err(LearnError::Model { message: message.to_owned() });
        if self.level < Evidence::L3 {
            return wrong("L0 to L2 are measured, never stated");
        }
        let texts = [&self.by, &self.reference].into_iter().chain(&self.says);
        let is_said =
            |text: &String| !text.trim().is_empty() && text.len() <= 2_000 && !text.chars().any(char::is_control);
        match texts.into_iter().all(is_said) {
            true => Ok(()),
            false => {
                wrong("a statement says who states it and where to look it up, in a line each of at most 2,000 bytes")
            }
        }
    }

    /// In a sentence, as what it is.
    pub fn words(&self) -> String {
        let says = self.says.as_ref().map_or(String::new(), |says| format!(" \u{201c}{says}\u{201d}"));
        format!(
            "Stated, not measured: {}. By {} on {}, see {}.{says}",
            self.level.words(),
            self.by,
            self.on,
            self.reference
        )
    }
}

/// A validation record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Layout of this document: `acequia-validation/1`.
    pub schema: String,
    /// Plain statement on what this is not.
    pub statement: String,
    /// Digest of the frozen model.
    pub model: Digest,
    /// The model's sentence.
    pub title: String,
    /// Kind of model.
    pub kind: String,
    /// Digest of the run plan that the model comes from; none of a model of another program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Digest>,
    /// What is known of a model of another program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imported: Option<Import>,
    /// Predictors of the model.
    pub predictors: Vec<Predictor>,
    /// Sites the model learned from; empty where that is not known.
    pub trained_at: Vec<String>,
    /// Whether the model tells whose rows it learned from.
    pub membership: Option<Membership>,
    /// Program and version that measured.
    pub program: String,
    /// Day on which it was measured (UTC).
    pub measured_on: Day,
    /// Evidence level of the weakest site.
    pub evidence: Evidence,
    /// The level in words, with the sites.
    pub evidence_words: String,
    /// Settings, seed included.
    pub settings: Validation,
    /// What each site measured.
    pub sites: Vec<SiteEvaluation>,
    /// Signatures of sites that measured by themselves.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub signatures: Vec<SiteSignature>,
    /// What persons state beyond what was measured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub statements: Vec<Statement>,
    /// Sites pooled.
    pub pooled: Vec<Pooled>,
    /// Headings of TRIPOD+AI and PROBAST+AI.
    pub headings: Vec<Heading>,
}

/// Measures with a standard error at every site are pooled.
const POOLED: [&str; 7] = [
    "harrell_c",
    "uno_c",
    "auc",
    "calibration_slope",
    "calibration_in_the_large",
    "observed_over_expected",
    "royston_d",
];

impl Record {
    /// Puts a record together, measured on this day.
    pub fn new<'m>(
        model: impl Into<Frozen<'m>>,
        sites: Vec<SiteEvaluation>,
        settings: &Validation,
        measured_on: Day,
    ) -> Self {
        let model = model.into();
        let mut sites = sites;
        sites.sort_by(|a, b| a.site.cmp(&b.site));
        let (evidence, words) = evidence(model, &sites, settings.held_out);
        let names: Vec<&str> = sites.iter().map(|site| site.site.as_str()).collect();
        let evidence_words = format!(
            "{words}. Measured on {measured_on} at: {}. Sites are told apart by the names they gave; whether country, period or team differ from training is for a person to state.",
            names.join(", ")
        );
        let pooled = Self::pool(&sites);
        let headings = headings(model, &sites, settings);
        let (plan, imported, membership) = match model {
            Frozen::Own(model) => (Some(model.plan), None, model.membership.clone()),
            Frozen::Imported(model) => (None, Some(Import::of(model)), None),
        };
        Self {
            schema: "acequia-validation/1".to_owned(),
            statement: "Not a medical device. This record states what was measured; it is no approval for use in care."
                .to_owned(),
            model: model.digest(),
            title: model.title().to_owned(),
            kind: model.kind().to_owned(),
            plan,
            imported,
            predictors: model.predictors(),
            trained_at: model.sites().unwrap_or_default().to_vec(),
            membership,
            program: concat!("acequia ", env!("CARGO_PKG_VERSION")).to_owned(),
            measured_on,
            evidence,
            evidence_words,
            settings: settings.clone(),
            sites,
            signatures: Vec::new(),
            statements: Vec::new(),
            pooled,
            headings,
        }
    }

    /// Sites pooled by random effects.
    pub fn pool(sites: &[SiteEvaluation]) -> Vec<Pooled> {
        let of = |name: &&str| {
            let values: Vec<(f64, f64)> = sites
                .iter()
                .filter_map(|site| site.estimates.iter().find(|one| one.name == **name))
                .filter_map(|one| Some((one.value, one.standard_error?)))
                .collect();
            pool(name, &values)
        };
        POOLED.iter().filter_map(of).collect()
    }

    /// The same record with what sites signed.
    #[must_use]
    pub fn signed(self, signatures: Vec<SiteSignature>) -> Self {
        Self { signatures, ..self }
    }

    /// The record as a document: pretty JSON with a final newline.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// Reads a record.
    ///
    /// # Errors
    /// [`LearnError::Model`] with line and column.
    pub fn from_json(text: &str) -> Result<Self, LearnError> {
        let record: Self = serde_json::from_str(text).map_err(|error| LearnError::Model {
            message: format!("line {}, column {} is not what a record has there", error.line(), error.column()),
        })?;
        record.statements.iter().try_for_each(Statement::check)?;
        Ok(record)
    }

    /// Names what was measured: the record without what people wrote into it.
    pub fn measured(&self) -> Digest {
        let mut bare = self.clone();
        bare.statements.clear();
        bare.headings.iter_mut().filter_map(|heading| heading.person.as_mut()).for_each(|field| field.answer = None);
        digest_named("acequia measured 1", [("record", bare.to_json().as_bytes())])
    }

    /// The same record with one more statement.
    ///
    /// # Errors
    /// [`LearnError::Model`] when it states a level that is measured, or does not say who states it and where to look it up.
    pub fn stating(mut self, statement: Statement) -> Result<Self, LearnError> {
        statement.check()?;
        self.statements.push(statement);
        Ok(self)
    }

    /// Names the record.
    pub fn digest(&self) -> Digest {
        digest_named("acequia validation 1", [("record", self.to_json().as_bytes())])
    }
}

/// Evidence of the weakest site, in words. Where nobody says what a model learned from, nothing more than the least is claimed.
fn evidence(model: Frozen<'_>, sites: &[SiteEvaluation], held_out: bool) -> (Evidence, String) {
    let Some(learned) = model.sites() else {
        let words = "L0, not known: its maker does not say at which sites the model was developed, so these rows may be among those it learned from";
        return (Evidence::L0, words.to_owned());
    };
    let level = match sites.iter().any(|site| learned.contains(&site.site)) {
        true if held_out => Evidence::L1,
        true => Evidence::L0,
        false => Evidence::L2,
    };
    let by = if matches!(model, Frozen::Imported(_)) { ", by what its maker says" } else { "" };
    (level, format!("{}{by}", level.words()))
}

/// A condition of the cohort in words.
fn condition(one: &Condition) -> String {
    let bound = |words: &str, bound: Option<f64>| bound.map(|bound| format!("{words} {bound}"));
    let parts: Vec<String> = [
        one.one_of.as_ref().map(|texts| format!("one of {}", texts.join(", "))),
        bound("at least", one.at_least),
        bound("above", one.above),
        bound("at most", one.at_most),
        bound("below", one.below),
    ]
    .into_iter()
    .flatten()
    .collect();
    format!("{} {}", one.column, parts.join(" and "))
}

/// What is known of training where nobody says anything.
const UNKNOWN: &str = "Its maker does not say whose rows it learned from.";

fn specification(model: &Model) -> String {
    match &model.form {
        Form::Boosting { trees, .. } => format!("{} trees, in the model file.", trees.len()),
        Form::Network { weights, .. } => format!("{} weights of a network, in the model file.", weights.len()),
        _ => "Coefficients are in this record; intercepts or baseline hazard are in the model file.".to_owned(),
    }
}

/// Headings of TRIPOD+AI (Collins et al. 2024) and of the evaluation part of PROBAST+AI (Moons et al. 2025), with what a run
/// knows. What only people know stays empty: no item and no judgement is claimed for them.
fn headings(model: Frozen<'_>, sites: &[SiteEvaluation], settings: &Validation) -> Vec<Heading> {
    let heading = |item: String, about: &str, known: Option<String>, asks: &str| Heading {
        item,
        about: about.to_owned(),
        known,
        person: (!asks.is_empty()).then(|| Field { asks: asks.to_owned(), answer: None }),
    };
    let tripod = |item: &str, about: &str, known: Option<String>, asks: &str| {
        heading(format!("TRIPOD+AI {item}"), about, known, asks)
    };
    let known = |text: &str| Some(text.to_owned());
    let at_sites = sites.iter().map(|site| site.site.as_str()).collect::<Vec<_>>().join(", ");
    let flow = sites
        .iter()
        .map(|site| {
            format!(
                "{}: {} rows, {} with the event, {} left out for a missing value",
                site.site, site.rows, site.events, site.dropped
            )
        })
        .collect::<Vec<_>>()
        .join("; ")
        + ".";
    let eligible = match model.cohort().conditions.as_slice() {
        [] => "All rows of each site's table.".to_owned(),
        conditions => {
            format!("Rows with {}.", conditions.iter().map(condition).collect::<Vec<_>>().join("; "))
        }
    };
    let predictors = model
        .variables()
        .iter()
        .map(|one| match one.steps.len() {
            0 => one.name.clone(),
            1 => format!("{} (from {}, one step)", one.name, one.source()),
            steps => format!("{} (from {}, {steps} steps)", one.name, one.source()),
        })
        .collect::<Vec<_>>()
        .join("; ")
        + ".";
    let outcome = match model.is_survival() {
        true => format!("Time to the event, in days; risks by day {:.2}.", settings.horizon_days),
        false => "0 or 1.".to_owned(),
    };
    let output = match model.is_survival() {
        true => "Probability of the event by the horizon, and a linear predictor.",
        false => "Probability of the outcome.",
    };
    let missing = match sites.iter().any(|site| site.dropped > 0) {
        true => "Rows without a needed value were left out and counted.",
        false => "No row lacked a needed value.",
    };
    let specification = match model {
        Frozen::Own(model) => specification(model),
        Frozen::Imported(model) => {
            format!("The file of its maker, SHA-256 {}.", Digest::of(model.file().bytes()))
        }
    };
    let preparation = match model {
        Frozen::Own(_) => "Steps of each predictor are part of the model and were applied unchanged.",
        Frozen::Imported(_) => {
            "The model's manifest says how columns become its inputs; that was applied unchanged. What the file does with them is part of the model."
        }
    };
    let development = match model {
        Frozen::Own(model) => format!("{}.", model.learned_words()),
        Frozen::Imported(model) => model.manifest().population.clone().unwrap_or_else(|| UNKNOWN.to_owned()),
    };
    let lineage = match model {
        Frozen::Own(own) => format!("Run plan {}, model {}.", own.plan.short(16), own.digest().short(16)),
        Frozen::Imported(own) => {
            let manifest = own.manifest();
            let creators: Vec<&str> = manifest.creators.iter().map(|creator| creator.name.as_str()).collect();
            format!(
                "{} {} by {}, under {}; model {}.",
                manifest.name,
                manifest.version,
                creators.join(", "),
                manifest.license,
                own.digest().short(16)
            )
        }
    };
    let intended = match model {
        Frozen::Own(_) => None,
        Frozen::Imported(model) => {
            Some(format!("Intended use, as its maker states it: {}", model.manifest().intended_use))
        }
    };
    let measures = sites.first().map_or(String::new(), |site| {
        site.estimates.iter().map(|one| one.name.replace('_', " ")).collect::<Vec<_>>().join(", ")
    });
    let methods = format!(
        "Measures: {measures}. Intervals from {} bootstrap samples, seed {}. Sites pooled by random effects (REML, Hartung-Knapp).",
        settings.bootstraps, settings.seed
    );
    let mut columns: Vec<&str> =
        sites.iter().flat_map(|site| site.subgroups.iter().map(|one| one.column.as_str())).collect();
    columns.sort_unstable();
    columns.dedup();
    let subgroups = (!columns.is_empty()).then(|| format!("Measured in subgroups by {}.", columns.join(", ")));
    let trained = match model.sites() {
        Some(learned) => format!("Trained at {}; evaluated at {at_sites}.", learned.join(", ")),
        None => format!("{UNKNOWN} Evaluated at {at_sites}."),
    };
    let events: u64 = sites.iter().map(|site| site.events).sum();
    let mut all = vec![
        tripod("1", "Title", Some(format!("External evaluation of: {}", model.title())), ""),
        tripod("2", "Abstract", None, "abstract"),
        tripod("3", "Background", intended, "healthcare context, intended use and users, known inequalities"),
        tripod("4", "Objectives", known("Evaluation of a frozen model."), "aims"),
        tripod(
            "5",
            "Data",
            Some(format!("Tables of {at_sites}.")),
            "sources, why they represent the people meant, dates",
        ),
        tripod("6", "Participants", Some(eligible), "setting, how people were recruited, treatments"),
        tripod("7", "Data preparation", known(preparation), ""),
        tripod(
            "8",
            "Outcome",
            Some(outcome),
            "what the event is, who assessed it and how, and whether blind to predictors",
        ),
        tripod("9", "Predictors", Some(predictors), "how and when each was measured"),
        tripod(
            "10",
            "Sample size",
            Some(format!(
                "All rows of the cohort were used; {events} events. 100 events or more are advised (Collins et al. 2016)."
            )),
            "whether it is enough",
        ),
        tripod("11", "Missing data", known(missing), ""),
        tripod("12", "Analytical methods", Some(methods), ""),
        tripod("13", "Class imbalance", known("No rebalancing was done."), ""),
        tripod("14", "Fairness", subgroups, "what was done for fairness, and why"),
        tripod("15", "Model output", known(output), "how thresholds were chosen"),
        tripod(
            "16",
            "Training versus evaluation",
            Some(trained),
            "how setting, eligibility, outcome and predictors differ",
        ),
        tripod("17", "Ethical approval", None, "committee and reference, or why none was needed"),
        tripod(
            "18",
            "Open science",
            Some(lineage),
            "funding, interests, protocol, registration, where data and code are",
        ),
        tripod("19", "Patient and public involvement", None, "who was involved and how, or that nobody was"),
        tripod("20", "Participants, results", Some(flow.clone()), "characteristics, dates of follow-up"),
        tripod("21", "Model development", Some(development), ""),
        tripod("22", "Model specification", Some(specification), "how to get the model"),
        tripod("23", "Model performance", known("In this record, for each site and pooled."), ""),
        tripod("24", "Model updating", known("None: the model was frozen."), ""),
        tripod("25", "Interpretation", None, "overall, and for fairness"),
        tripod("26", "Limitations", None, "limitations, and what they do to the results"),
        tripod("27", "Usability", None, "poor or missing input, what users must know, next steps"),
    ];
    let unlike: Vec<String> = sites
        .iter()
        .flat_map(|site| site.unlike_training.iter().map(move |(name, share)| (site, name, share)))
        .filter(|(.., share)| **share > 0.0)
        .map(|(site, name, share)| format!("{name} at {} in {:.1} % of rows", site.site, share * 100.0))
        .collect();
    let unlike = match unlike.as_slice() {
        [] if model.seen().iter().all(Option::is_none) => "Means in training are not known.".to_owned(),
        [] => "No value is more than four standard deviations from the training mean.".to_owned(),
        far => format!("More than four standard deviations from the training mean: {}.", far.join("; ")),
    };
    let failed: u32 = sites.iter().map(|site| site.bootstraps_failed).sum();
    let analysis = format!(
        "{events} events. Nothing was refitted and no threshold was chosen by the results. {failed} bootstrap samples gave no estimate. {missing}"
    );
    let domains = [
        ("1", "Participants and data sources", Some(flow), true),
        ("2", "Predictors", Some(unlike), true),
        ("3", "Outcome", None, true),
        ("4", "Analysis", Some(analysis), false),
    ];
    for (number, domain, facts, applies) in domains {
        let asks = match applies {
            true => "risk of bias (low, high, unclear) and why; applicability (low, high, unclear concern) and why",
            false => "risk of bias (low, high, unclear) and why",
        };
        all.push(heading(format!("PROBAST+AI {number}"), domain, facts, asks));
    }
    all.push(heading(
        "PROBAST+AI overall".to_owned(),
        "Judgement",
        None,
        "risk of bias and applicability of the evaluation",
    ));
    all
}
