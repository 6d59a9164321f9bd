//! The validation record: what was measured where, how sure it is, and which statements are still for people to make.

use acequia_types::{Digest, digest_named};
use serde::{Deserialize, Serialize};

use crate::model::{Form, Model};
use crate::validate::pool::pool;
use crate::validate::{Pooled, SiteEvaluation, Validation};

/// How far the evidence goes. Never one badge: it is stated with population, sites and date.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Evidence {
    /// The rows the model learned from.
    L0,
    /// Resampling of these rows.
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
            Self::L1 => "L1, internal: measured by resampling the training rows",
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
    /// What it asks for.
    pub asks: String,
    /// What the run knows; `None` is for a person to write.
    pub text: Option<String>,
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
    /// Sites the model learned from.
    pub trained_at: Vec<String>,
    /// Evidence level of the weakest site.
    pub evidence: Evidence,
    /// The level in words, with the sites.
    pub evidence_words: String,
    /// Settings, seed included.
    pub settings: Validation,
    /// What each site measured.
    pub sites: Vec<SiteEvaluation>,
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
    /// Puts a record together.
    pub fn new(model: &Model, sites: Vec<SiteEvaluation>, settings: &Validation) -> Self {
        let mut sites = sites;
        sites.sort_by(|a, b| a.site.cmp(&b.site));
        let known = |site: &SiteEvaluation| model.sites.contains(&site.site);
        let evidence = if sites.iter().any(known) { Evidence::L0 } else { Evidence::L2 };
        let names: Vec<&str> = sites.iter().map(|site| site.site.as_str()).collect();
        let evidence_words = format!(
            "{}. Measured at: {}. Whether country, period or team differ from training is for a person to state.",
            evidence.words(),
            names.join(", ")
        );
        let pooled = POOLED
            .iter()
            .filter_map(|name| {
                let values: Vec<(f64, f64)> = sites
                    .iter()
                    .filter_map(|site| site.estimates.iter().find(|one| one.name == *name))
                    .filter_map(|one| Some((one.value, one.standard_error?)))
                    .collect();
                pool(name, &values)
            })
            .collect();
        let headings = headings(model, &sites, settings);
        Self {
            schema: "acequia-validation/1".to_owned(),
            statement: "Not a medical device. This record states what was measured; it is no approval for use in care."
                .to_owned(),
            model: model.digest(),
            title: model.title.clone(),
            kind: model.kind().to_owned(),
            trained_at: model.sites.clone(),
            evidence,
            evidence_words,
            settings: settings.clone(),
            sites,
            pooled,
            headings,
        }
    }

    /// The record as a document: pretty JSON with a final newline.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    /// Names the record.
    pub fn digest(&self) -> Digest {
        digest_named("acequia validation 1", [("record", self.to_json().as_bytes())])
    }
}

/// Headings of TRIPOD+AI (Collins et al. 2024) and domains of PROBAST+AI (Moons et al. 2025), with what a run knows. What
/// only people know stays empty: no item is claimed for them.
fn headings(model: &Model, sites: &[SiteEvaluation], settings: &Validation) -> Vec<Heading> {
    let predictors: Vec<String> = model
        .variables
        .iter()
        .map(|one| match one.variable.steps.len() {
            0 => one.variable.name.clone(),
            steps => format!("{} (from {}, {steps} steps)", one.variable.name, one.variable.source()),
        })
        .collect();
    let people: Vec<String> = sites
        .iter()
        .map(|site| {
            format!(
                "{}: {} rows, {} with the event, {} left out for a missing value",
                site.site, site.rows, site.events, site.dropped
            )
        })
        .collect();
    let specification = match &model.form {
        Form::Boosting { trees, .. } => format!("{} trees, in the model file", trees.len()),
        _ => format!("{} coefficients with standard errors, in the model file", model.coefficients().len()),
    };
    let measures = sites.first().map_or(String::new(), |site| {
        site.estimates.iter().map(|one| one.name.replace('_', " ")).collect::<Vec<_>>().join(", ")
    });
    let subgroups: Vec<&str> = {
        let mut columns: Vec<&str> =
            sites.iter().flat_map(|site| site.subgroups.iter().map(|one| one.column.as_str())).collect();
        columns.sort_unstable();
        columns.dedup();
        columns
    };
    let tripod = |item: &str, asks: &str, text: Option<String>| Heading {
        item: format!("TRIPOD+AI {item}"),
        asks: asks.to_owned(),
        text,
    };
    let probast = |domain: &str| Heading {
        item: "PROBAST+AI".to_owned(),
        asks: format!("{domain}: quality, risk of bias, applicability"),
        text: None,
    };
    vec![
        tripod("1", "Title", Some(format!("External evaluation of: {}", model.title))),
        tripod("2", "Abstract", None),
        tripod("3", "Background: healthcare context, target population, known inequalities", None),
        tripod("4", "Objectives", None),
        tripod("5", "Data: sources and dates", None),
        tripod("6", "Participants: setting, eligibility, treatments", None),
        tripod(
            "7",
            "Data preparation",
            Some("Steps of each predictor are part of the model and were applied unchanged.".to_owned()),
        ),
        tripod(
            "8",
            "Outcome: definition, time horizon, how assessed",
            Some(match model.is_survival() {
                true => format!(
                    "Time to the event; risks at {:.0} days. How it was assessed is for a person to state.",
                    settings.horizon_days
                ),
                false => "0 or 1. How it was assessed is for a person to state.".to_owned(),
            }),
        ),
        tripod("9", "Predictors", Some(predictors.join("; "))),
        tripod("10", "Sample size", Some(format!("All rows of the cohort were used. {}.", people.join("; ")))),
        tripod("11", "Missing data", Some("Rows without a needed value were left out and counted.".to_owned())),
        tripod(
            "12",
            "Analytical methods",
            Some(format!(
                "Measures: {measures}. Intervals from {} bootstrap samples, seed {}. Sites pooled by random effects (REML, Hartung-Knapp).",
                settings.bootstraps, settings.seed
            )),
        ),
        tripod("13", "Class imbalance", Some("No rebalancing was done.".to_owned())),
        tripod("14", "Fairness", (!subgroups.is_empty()).then(|| format!("Measures by {}.", subgroups.join(", ")))),
        tripod(
            "15",
            "Model output",
            Some(match model.is_survival() {
                true => "Probability of the event by the horizon, and a linear predictor.".to_owned(),
                false => "Probability of the outcome.".to_owned(),
            }),
        ),
        tripod(
            "16",
            "Training versus evaluation",
            Some(format!(
                "Trained at {}; evaluated at {}.",
                model.sites.join(", "),
                sites.iter().map(|site| site.site.as_str()).collect::<Vec<_>>().join(", ")
            )),
        ),
        tripod("17", "Ethical approval", None),
        tripod("18", "Open science: funding, interests, protocol, registration, data, code", None),
        tripod("19", "Patient and public involvement", None),
        tripod("20", "Participants: flow and characteristics", Some(people.join("; "))),
        tripod(
            "21",
            "Model development: rows and events",
            Some(format!("{} rows, {} with the event.", model.fit.rows, model.fit.events)),
        ),
        tripod("22", "Model specification", Some(specification)),
        tripod("23", "Model performance", Some("In this record, for each site and pooled.".to_owned())),
        tripod("24", "Model updating", Some("None: the model was frozen.".to_owned())),
        tripod("25", "Interpretation", None),
        tripod("26", "Limitations", None),
        tripod("27", "Usability of the model in current care", None),
        probast("Participants and data sources"),
        probast("Predictors"),
        probast("Outcome"),
        probast("Analysis"),
    ]
}
