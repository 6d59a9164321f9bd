//! What the release of a model is told from outside: words and settings.

use std::collections::BTreeMap;

use acequia_gate::Public;
use acequia_learn::{ModelVariable, TestedModel};
use acequia_types::{DatasetName, Day, Digest};
use serde::{Deserialize, Serialize};

use super::licence::conflict;
use crate::ReleaseError;
use crate::plan::{
    Agent, Completeness, Condition, Stated, UseTerm, VersionNote, check_characters, is_iri, is_license, unfit,
};

/// Everything about a model's version that is neither in the model nor in its records.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelPlan {
    /// `namespace/name`.
    pub model: DatasetName,
    /// `MAJOR.MINOR.PATCH`.
    pub version: String,
    /// Title for people.
    pub title: String,
    /// One sentence in plain words.
    pub summary: String,
    /// Plain words for readers without training; paragraphs are separated by an empty line.
    pub description: String,
    /// SPDX id of the licence, such as `CC-BY-4.0`.
    pub license: String,
    /// Who made the model.
    pub creators: Vec<Agent>,
    /// Who publishes it.
    pub publisher: Agent,
    /// Works to cite besides this version.
    #[serde(default)]
    pub citations: Vec<String>,
    /// Home page of the model: an `https://` address, never an address of this machine.
    pub home: String,
    /// Day of release.
    pub released_on: Day,
    /// Search words.
    #[serde(default)]
    pub keywords: Vec<String>,
    /// Languages of texts and labels (BCP 47).
    #[serde(default = "english")]
    pub languages: Vec<String>,
    /// Diseases and findings that the model is about.
    #[serde(default)]
    pub conditions: Vec<Condition>,
    /// What use those whose records it learned from agreed to.
    #[serde(default)]
    pub use_term: UseTerm,
    /// Whom it is for, and whom not.
    pub intended_use: IntendedUse,
    /// What is predicted: the event, who assessed it and how.
    pub outcome: String,
    /// One description for each column that the model reads.
    pub predictors: BTreeMap<String, PredictorPlan>,
    /// What it learned from.
    #[serde(default)]
    pub learned_from: Vec<Source>,
    /// Where it is known to fail, and where nobody knows.
    #[serde(default)]
    pub limits: Vec<String>,
    /// Ethics review and legal basis.
    #[serde(default)]
    pub ethics: String,
    /// How it is watched and when it is replaced.
    #[serde(default)]
    pub maintenance: String,
    /// Where to write to.
    #[serde(default)]
    pub contact: String,
    /// Earlier versions and this one, oldest first.
    #[serde(default)]
    pub history: Vec<VersionNote>,
    /// Program and version that makes the release, such as `acequia 0.1.0`.
    pub program: String,
    /// Digest of the file that states this.
    pub recipe: Digest,
}

// Safe to pass the gate: texts that the card's author wrote for publication, settings and digests. No field has room for a row,
// and the node fills none of them from a person's record.
impl Public for ModelPlan {}

/// Whom a model is for (TRIPOD+AI, items 3 and 27).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IntendedUse {
    /// What it is to help with.
    pub purpose: String,
    /// Who is to use it.
    pub users: String,
    /// The people it is about.
    pub population: String,
    /// Where in care, and when.
    #[serde(default)]
    pub setting: String,
    /// What it must not be used for.
    #[serde(default)]
    pub out_of_scope: Vec<String>,
}

/// Description of a column that a model reads.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PredictorPlan {
    /// Short title for people.
    pub title: String,
    /// How and when it is measured.
    pub description: String,
    /// UCUM unit, for a number that has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// URIs of the same concept in LOINC, SNOMED CT or OMOP.
    #[serde(default)]
    pub equivalent: Vec<String>,
    /// Code to label, for coded values.
    #[serde(default)]
    pub values: BTreeMap<String, String>,
}

/// What a model learned from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Source {
    /// What it is, for people.
    pub title: String,
    /// `namespace/name`, where it is a published data set or model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<DatasetName>,
    /// Its version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Digest of its manifest, where it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manifest: Option<Digest>,
    /// SPDX id of its licence, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
    /// Term of the Data Use Ontology that those who gave it agreed to, such as `DUO:0000042`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub use_term: Option<String>,
    /// Where it is described.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

fn english() -> Vec<String> {
    vec!["en".to_owned()]
}

/// Terms of the Data Use Ontology that leave it open what research is for: no restriction, general research use.
const OPEN_USE: [&str; 2] = ["DUO:0000004", "DUO:0000042"];

impl ModelPlan {
    /// Refuses a plan that would make a false, unreadable or too incomplete card.
    ///
    /// # Errors
    /// [`ReleaseError::Plan`] naming the first unfit setting, [`ReleaseError::Licence`].
    pub fn check(&self, tested: &TestedModel) -> Result<(), ReleaseError> {
        let stated = Stated {
            texts: [&self.title, &self.summary, &self.description, &self.license, &self.program],
            version: &self.version,
            creators: &self.creators,
            publisher: &self.publisher,
            languages: &self.languages,
            home: &self.home,
            conditions: ("conditions", &self.conditions),
            use_term: &self.use_term,
        };
        stated.check()?;
        let required = [
            ("outcome", &self.outcome),
            ("intended_use.purpose", &self.intended_use.purpose),
            ("intended_use.users", &self.intended_use.users),
            ("intended_use.population", &self.intended_use.population),
        ];
        if let Some((field, _)) = required.into_iter().find(|(_, text)| text.trim().is_empty()) {
            return Err(unfit(field, "is empty"));
        }
        self.check_predictors(&tested.model().variables)?;
        for source in &self.learned_from {
            if source.title.trim().is_empty() {
                return Err(unfit("learned_from", "needs a title each"));
            }
            if source.url.as_ref().is_some_and(|url| !is_iri(url)) {
                return Err(unfit("learned_from.url", "is not an http or https address"));
            }
            if let Some(license) = &source.license {
                is_license("learned_from.license", license)?;
            }
        }
        check_characters(self)?;
        self.carries_terms(tested)?;
        completeness(self, tested.records().iter()).is_enough()
    }

    fn check_predictors(&self, variables: &[ModelVariable]) -> Result<(), ReleaseError> {
        for variable in variables {
            let column = variable.variable.source();
            let Some(told) = self.predictors.get(column) else {
                return Err(unfit(&format!("predictors.{column}"), "is not described, and the model reads it"));
            };
            if told.title.trim().is_empty() || told.description.trim().is_empty() {
                return Err(unfit(&format!("predictors.{column}"), "needs a title and a description"));
            }
            if told.equivalent.iter().any(|uri| !is_iri(uri)) {
                return Err(unfit(&format!("predictors.{column}.equivalent"), "must hold http or https URIs"));
            }
        }
        let reads = |column: &String| variables.iter().any(|one| one.variable.source() == column);
        match self.predictors.keys().find(|column| !reads(column)) {
            Some(column) => Err(unfit(&format!("predictors.{column}"), "is described, and the model does not read it")),
            None => Ok(()),
        }
    }

    /// Whether the licence and the use term carry what everything asks that the model learned from, by its own lineage and by the
    /// plan.
    fn carries_terms(&self, tested: &TestedModel) -> Result<(), ReleaseError> {
        for known in &tested.model().learned_from {
            let named = |source: &&Source| {
                source.manifest == Some(known.manifest) && source.license.as_ref() == Some(&known.license)
            };
            if !self.learned_from.iter().any(|source| named(&source)) {
                let what = format!("does not name {} {}, which the model learned from", known.name, known.version);
                return Err(unfit("learned_from", &what));
            }
        }
        for source in &self.learned_from {
            let license = source.license.as_deref().unwrap_or_default();
            if let Some(found) = conflict(license, &self.license) {
                return Err(ReleaseError::Licence {
                    source_title: source.title.clone(),
                    license: license.to_owned(),
                    asks: found.asks(),
                });
            }
            let term = source.use_term.as_deref().filter(|term| !OPEN_USE.contains(term));
            if term.is_some_and(|term| term != self.use_term.id) {
                return Err(ReleaseError::Licence {
                    source_title: source.title.clone(),
                    license: term.unwrap_or_default().to_owned(),
                    asks: "is a use term that what is made from it keeps",
                });
            }
        }
        Ok(())
    }
}

/// What the card and the records of a model state of what a reader needs.
pub(super) fn completeness<'r>(
    plan: &ModelPlan,
    records: impl Iterator<Item = &'r acequia_learn::Record> + Clone,
) -> Completeness {
    let told = |text: &str| !text.trim().is_empty();
    let is_number_or_coded = |one: &PredictorPlan| one.unit.is_some() || !one.values.is_empty();
    let answered = |record: &acequia_learn::Record| {
        record.headings.iter().filter_map(|heading| heading.person.as_ref()).any(|field| field.answer.is_some())
    };
    let mut all = records.clone();
    Completeness::of(&[
        ("a validation record", all.next().is_some()),
        (
            "results in subgroups",
            records.clone().any(|record| record.sites.iter().any(|site| !site.subgroups.is_empty())),
        ),
        ("signatures of the sites", records.clone().any(|record| !record.signatures.is_empty())),
        ("answers of people in a record", records.clone().any(answered)),
        ("citations", !plan.citations.is_empty()),
        ("keywords", !plan.keywords.is_empty()),
        ("conditions", !plan.conditions.is_empty()),
        ("intended_use.purpose", told(&plan.intended_use.purpose)),
        ("intended_use.users", told(&plan.intended_use.users)),
        ("intended_use.population", told(&plan.intended_use.population)),
        ("intended_use.setting", told(&plan.intended_use.setting)),
        ("intended_use.out_of_scope", !plan.intended_use.out_of_scope.is_empty()),
        ("outcome", told(&plan.outcome)),
        ("units or labels of predictors", plan.predictors.values().all(is_number_or_coded)),
        ("concepts of predictors", plan.predictors.values().all(|one| !one.equivalent.is_empty())),
        ("learned_from", !plan.learned_from.is_empty()),
        ("limits", !plan.limits.is_empty()),
        ("ethics", told(&plan.ethics)),
        ("maintenance", told(&plan.maintenance)),
        ("contact", told(&plan.contact)),
        ("history", !plan.history.is_empty()),
    ])
}
