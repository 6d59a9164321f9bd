//! What a release is told from outside: words, settings and counts.

use std::collections::{BTreeMap, BTreeSet};

use acequia_custody::{Conditions, DuoTerm, Tier};
use acequia_diversity::{NotRecorded, ReferenceCell, Report};
use acequia_gate::{InputDigest, Public};
use acequia_types::{DatasetName, Day, Digest};
use serde::{Deserialize, Serialize};

use crate::ReleaseError;

/// Everything about a version that is not in its rows: names and texts from the recipe, settings, digests and counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// `namespace/name`.
    pub dataset: DatasetName,
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
    /// Who made the data set.
    pub creators: Vec<Agent>,
    /// Who publishes it.
    pub publisher: Agent,
    /// Works to cite besides this version: the sources of the records.
    #[serde(default)]
    pub citations: Vec<String>,
    /// Home page of the data set: an `https://` address from the recipe, never an address of this machine.
    pub home: String,
    /// Day of release, from the recipe.
    pub released_on: Day,
    /// Search words.
    #[serde(default)]
    pub keywords: Vec<String>,
    /// Languages of texts and labels (BCP 47).
    #[serde(default = "english")]
    pub languages: Vec<String>,
    /// How rows are divided.
    #[serde(default)]
    pub split: SplitPlan,
    /// Seed of the split assignment.
    pub seed: u64,
    /// Digest of the recipe.
    pub recipe: Digest,
    /// Program and version that makes the release, such as `acequia 0.1.0`.
    pub program: String,
    /// Where the records came from.
    pub inputs: Vec<InputDigest>,
    /// One description per column of the table.
    pub columns: Vec<ColumnPlan>,
    /// Comparison with a reference population.
    #[serde(default)]
    pub diversity: DiversityPlan,
    /// Counts from 1 up to this number (exclusive) are not printed. Persons; at least 2.
    #[serde(default = "minimum_cell")]
    pub minimum_cell: u64,
    /// Who agreed and who did not, as counts.
    #[serde(default)]
    pub consent: ConsentPlan,
    /// People in the records, so that everybody can be counted out; a plan without a node does not know them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub people: Option<PeoplePlan>,
    /// The diversity report of the version before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_diversity: Option<Report>,
    /// Facts about people that a reader would look for and that the sources do not hold.
    #[serde(default)]
    pub not_recorded: Vec<NotRecorded>,
    /// How the records came to be and what they are good for.
    #[serde(default)]
    pub collection: CollectionPlan,
    /// What use the donors agreed to.
    #[serde(default)]
    pub use_term: UseTerm,
    /// What else whoever has the rows is held to: terms of the Data Use Ontology, with the names that they need. They and `use_term`
    /// decide who may have the rows; see [`Plan::conditions`].
    #[serde(default, skip_serializing_if = "Conditions::is_empty")]
    pub terms: Conditions,
    /// What catalogues of health data ask for besides.
    #[serde(default)]
    pub health: HealthPlan,
    /// Earlier versions and this one, oldest first.
    #[serde(default)]
    pub history: Vec<VersionNote>,
}

// Safe to pass the gate: every field is a text that the recipe's author wrote for publication, a setting, a digest of
// whole files, a count, or the report of a published version. No field has room for a row, and the node fills none of them from a person's record.
impl Public for Plan {}

/// A person or organisation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Agent {
    /// Name as it is cited.
    pub name: String,
    /// Web page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Where to write to: an e-mail address or an `https://` page. Never that of a private person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contact: Option<String>,
    /// What it is.
    #[serde(default)]
    pub kind: AgentKind,
}

/// What an [`Agent`] is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AgentKind {
    /// An organisation.
    #[default]
    Organization,
    /// A natural person who asked to be named.
    Person,
}

/// How rows are divided into train, validation and test.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitPlan {
    /// Column whose values are spread evenly over the splits.
    pub stratify_by: String,
    /// Share of rows in `train`.
    pub train: f64,
    /// Share of rows in `validation`.
    pub validation: f64,
    /// Share of rows in `test`.
    pub test: f64,
}

impl Default for SplitPlan {
    fn default() -> Self {
        Self { stratify_by: "event".to_owned(), train: 0.7, validation: 0.15, test: 0.15 }
    }
}

/// Description of one column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnPlan {
    /// Name in the table.
    pub name: String,
    /// Short title for people.
    pub title: String,
    /// What it means, in one or two sentences.
    pub description: String,
    /// UCUM unit, such as `a`, `mm`, `d`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// Part the column plays: `quasi-identifier`, `sensitive`, `insensitive`.
    pub role: String,
    /// URIs of the same concept in LOINC, SNOMED CT or OMOP.
    #[serde(default)]
    pub equivalent: Vec<String>,
    /// Code to label, for coded values.
    #[serde(default)]
    pub values: BTreeMap<String, String>,
}

/// Which columns are compared with which population.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DiversityPlan {
    /// What the reference population is, such as `women of the European Union (27), 2020`.
    #[serde(default)]
    pub population: String,
    /// Where its figures come from.
    #[serde(default)]
    pub source: String,
    /// Columns to describe.
    #[serde(default)]
    pub dimensions: Vec<Dimension>,
    /// Groups of columns whose combinations are counted.
    #[serde(default)]
    pub intersections: Vec<Vec<String>>,
    /// What the data are to serve for; groups that matter depend on it.
    #[serde(default)]
    pub purpose: String,
    /// Columns with the number of events of a person, or whether it happened; counted for each group.
    #[serde(default)]
    pub events: Vec<String>,
    /// Column with the time a person was followed, in the unit of its description: `d`, `wk`, `mo` or `a`.
    #[serde(default)]
    pub follow_up: Option<String>,
    /// Columns whose values are places, devices, languages or years.
    #[serde(default)]
    pub coverage: Vec<String>,
}

/// One column of the diversity report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dimension {
    /// Column of the table.
    pub column: String,
    /// Title; empty takes the column's title.
    #[serde(default)]
    pub title: String,
    /// Reference population, divided into cells; empty when no reference is known. Shares are scaled to sum to 1.
    #[serde(default)]
    pub reference: Vec<ReferenceCell>,
}

/// People in the records that a version was made from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeoplePlan {
    /// People by source.
    pub by_source: BTreeMap<String, u64>,
    /// Of these, people who are no row of the cohort.
    pub outside: u64,
    /// Records of further people, whose date of birth no file holds, so that they could not be placed.
    pub records_without_birth_date: u64,
}

/// Donations by what their consent said, counted at the moment the release was prepared.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsentPlan {
    /// What is counted, such as `donations of individual donors`.
    #[serde(default)]
    pub counted: String,
    /// Outcomes in the order they are shown.
    #[serde(default)]
    pub outcomes: Vec<ConsentOutcome>,
    /// What the groups are, such as `source`.
    #[serde(default)]
    pub grouped_by: String,
    /// The same outcomes by group, where they are known. They add up to `outcomes`.
    #[serde(default)]
    pub by_group: Vec<ConsentGroup>,
}

/// Outcomes of one group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsentGroup {
    /// Words for people.
    pub label: String,
    /// Outcomes.
    pub outcomes: Vec<ConsentOutcome>,
}

/// One outcome of consent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsentOutcome {
    /// Stable word, such as `included`, `refused`, `withdrawn`, `expired`, `unknown`, `unreadable`.
    pub name: String,
    /// Words for people.
    pub title: String,
    /// How many.
    pub count: u64,
}

/// How the records came to be: the texts of the Croissant RAI vocabulary 1.0 and of the seven sections of Gebru et al.,
/// "Datasheets for Datasets", CACM 64(12), 2021. An empty text is shown as "not stated".
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CollectionPlan {
    /// Why the data set exists.
    pub motivation: String,
    /// Who paid.
    pub funding: String,
    /// How the records were collected (`rai:dataCollection`).
    pub collection: String,
    /// Kind of collection, in the words of the vocabulary (`rai:dataCollectionType`).
    pub collection_types: Vec<String>,
    /// What the raw data were (`rai:dataCollectionRawData`).
    pub raw_data: String,
    /// Years or days of collection, ISO 8601 interval such as `1978/1993` (`rai:dataCollectionTimeframe`).
    pub timeframe: String,
    /// Why values are missing (`rai:dataCollectionMissingData`).
    pub missing_data: String,
    /// What was done to the records before release (`rai:dataPreprocessingProtocol`).
    pub preprocessing: Vec<String>,
    /// How missing values were filled, or that they were not (`rai:dataImputationProtocol`).
    pub imputation: String,
    /// Who or what labelled the outcome (`rai:dataAnnotationProtocol`).
    pub annotation: String,
    /// Known biases (`rai:dataBiases`).
    pub biases: Vec<String>,
    /// Known limits (`rai:dataLimitations`).
    pub limitations: Vec<String>,
    /// What the data may serve for (`rai:dataUseCases`).
    pub use_cases: Vec<String>,
    /// What they must not be used for.
    pub misuse: Vec<String>,
    /// Good and harm to society (`rai:dataSocialImpact`).
    pub social_impact: String,
    /// Sensitive facts about people in the data (`rai:personalSensitiveInformation`).
    pub sensitive: Vec<String>,
    /// Ethics review and legal basis.
    pub ethics: String,
    /// How a donor withdraws, and what cannot be called back.
    pub withdrawal: String,
    /// Who keeps the data set and how new versions come (`rai:dataReleaseMaintenancePlan`).
    pub maintenance: String,
    /// Where to write to.
    pub contact: String,
}

/// What HealthDCAT-AP (Release 8) asks for besides DCAT-AP. A version that does not state `categories` and
/// `access_body` is described in DCAT-AP only.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HealthPlan {
    /// Categories of Regulation (EU) 2025/327, Article 51, as four-letter codes such as `EHRS`, or as IRIs.
    pub categories: Vec<String>,
    /// Diseases and findings that the data set is about.
    pub conditions: Vec<Condition>,
    /// Themes, as IRIs, such as terms of Wikidata or of the Commission's list.
    pub themes: Vec<String>,
    /// The health data access body of the country; needs a `contact`.
    pub access_body: Option<Agent>,
    /// Who holds the records; needs a `contact`.
    pub custodian: Option<Agent>,
    /// Systems that codes and columns come from, as IRIs.
    pub coding_systems: Vec<String>,
    /// Whom the records cover, in words.
    pub population: String,
    /// Least age of most people, in years.
    pub minimum_age_years: Option<u32>,
    /// Greatest age of most people, in years.
    pub maximum_age_years: Option<u32>,
    /// Basis in law, as an IRI of the Data Privacy Vocabulary such as `https://w3id.org/dpv/legal/eu/gdpr#A9-2-a`.
    pub legal_basis: String,
    /// Purpose of processing, as an IRI of the Data Privacy Vocabulary.
    pub purpose: String,
}

/// A disease or finding.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    /// Its term in MONDO, SNOMED CT or another ontology, such as `http://purl.obolibrary.org/obo/MONDO_0007254`.
    pub iri: String,
    /// Its name.
    pub label: String,
}

/// A term of the Data Use Ontology.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UseTerm {
    /// Such as `DUO:0000042`.
    pub id: String,
    /// The term's label.
    pub label: String,
    /// In plain words.
    pub plain: String,
}

impl Default for UseTerm {
    fn default() -> Self {
        Self {
            id: "DUO:0000042".to_owned(),
            label: "general research use".to_owned(),
            plain: "The donors agreed to publication for any research purpose.".to_owned(),
        }
    }
}

/// One line of the version history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VersionNote {
    /// Which version.
    pub version: String,
    /// When it came out.
    pub released_on: Day,
    /// What changed.
    pub note: String,
}

fn english() -> Vec<String> {
    vec!["en".to_owned()]
}

fn minimum_cell() -> u64 {
    12
}

impl UseTerm {
    /// `0000042` of `DUO:0000042`.
    pub(crate) fn number(&self) -> Option<&str> {
        self.id.strip_prefix("DUO:").filter(|digits| digits.len() == 7 && digits.bytes().all(|b| b.is_ascii_digit()))
    }
}

/// What the plan of any version states, of a data set or of a model.
pub(crate) struct Stated<'a> {
    /// Title, summary, description, licence, program.
    pub(crate) texts: [&'a str; 5],
    pub(crate) version: &'a str,
    pub(crate) creators: &'a [Agent],
    pub(crate) publisher: &'a Agent,
    pub(crate) languages: &'a [String],
    pub(crate) home: &'a str,
    /// Name of the setting, and what it holds.
    pub(crate) conditions: (&'static str, &'a [Condition]),
    pub(crate) use_term: &'a UseTerm,
}

impl Stated<'_> {
    /// Refuses what would make a false or unreadable version.
    ///
    /// # Errors
    /// [`ReleaseError::Plan`] naming the first unfit setting.
    pub(crate) fn check(&self) -> Result<(), ReleaseError> {
        let [title, summary, description, license, program] = self.texts;
        for (field, text) in [
            ("title", title),
            ("summary", summary),
            ("description", description),
            ("license", license),
            ("publisher.name", &self.publisher.name),
            ("program", program),
            ("use_term.label", &self.use_term.label),
        ] {
            if text.trim().is_empty() {
                return Err(unfit(field, "is empty"));
            }
        }
        if summary.contains('\n') || title.contains('\n') {
            return Err(unfit("title and summary", "must be one line each"));
        }
        if !is_version(self.version) {
            return Err(unfit("version", "is not MAJOR.MINOR.PATCH"));
        }
        is_license("license", license)?;
        if self.creators.is_empty() || self.creators.iter().any(|agent| agent.name.trim().is_empty()) {
            return Err(unfit("creators", "must name at least one creator"));
        }
        if self.languages.is_empty() {
            return Err(unfit("languages", "is empty"));
        }
        is_public_address("home", self.home)?;
        for agent in self.creators.iter().chain([self.publisher]) {
            if let Some(url) = &agent.url {
                is_public_address("creators and publisher: url", url)?;
            }
            has_contact(agent)?;
        }
        let (field, conditions) = self.conditions;
        if conditions.iter().any(|condition| !is_iri(&condition.iri) || condition.label.trim().is_empty()) {
            return Err(unfit(field, "needs an http or https IRI and a label each"));
        }
        if self.use_term.number().is_none() {
            return Err(unfit("use_term.id", "is not a Data Use Ontology id such as DUO:0000042"));
        }
        Ok(())
    }
}

fn has_contact(agent: &Agent) -> Result<(), ReleaseError> {
    match &agent.contact {
        Some(contact) if !is_contact(contact) => {
            Err(unfit("contact", "is neither an e-mail address nor an https:// page"))
        }
        _ => Ok(()),
    }
}

pub(crate) fn is_license(field: &str, id: &str) -> Result<(), ReleaseError> {
    // What the list lacks has a name of its own there (SPDX 3.0.1, annex B).
    let own = |id: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
        id.strip_prefix("LicenseRef-").is_some_and(|name| !name.is_empty() && name.chars().all(plain))
    };
    if spdx::license_id(id).is_some_and(|known| known.name == id) || own(id) {
        return Ok(());
    }
    Err(unfit(field, "is not an id of the SPDX list such as CC-BY-4.0, nor LicenseRef- with a name"))
}

/// Share of what a card should state that it must state.
const LEAST_STATED: f64 = 0.6;

/// How much of what a card should state it states.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Completeness {
    /// How many things it states.
    pub(crate) stated: usize,
    /// Of how many.
    pub(crate) of: usize,
    /// The others, as settings of the plan.
    pub(crate) missing: Vec<String>,
}

impl Completeness {
    /// Names of settings, each with whether it is stated.
    pub(crate) fn of(checks: &[(&str, bool)]) -> Self {
        let missing = checks.iter().filter(|(_, stated)| !stated).map(|(name, _)| (*name).to_owned());
        let missing: Vec<String> = missing.collect();
        Self { stated: checks.len() - missing.len(), of: checks.len(), missing }
    }

    /// Refuses a card that states too little.
    ///
    /// # Errors
    /// [`ReleaseError::Plan`] with what it should state besides.
    pub(crate) fn is_enough(&self) -> Result<(), ReleaseError> {
        #[expect(clippy::cast_precision_loss, reason = "a handful")]
        let share = self.stated as f64 / self.of as f64;
        if share >= LEAST_STATED {
            return Ok(());
        }
        let problem = format!("states {} of {}: add {}", self.stated, self.of, self.missing.join(", "));
        Err(unfit("the card", &problem))
    }
}

impl Plan {
    /// Everything that whoever has the rows is held to; nothing where anybody may have them for anything.
    ///
    /// The use term is one of the conditions, unless it leaves open what the data are for.
    pub fn conditions(&self) -> Conditions {
        let mut all = self.terms.clone();
        all.duo.extend(DuoTerm::parse(&self.use_term.id));
        if all.tier() == Tier::Open { Conditions::default() } else { all }
    }

    /// Refuses terms that nobody could be held to.
    fn check_terms(&self) -> Result<(), ReleaseError> {
        let all = self.conditions();
        if DuoTerm::parse(&self.use_term.id).is_none() {
            return Err(unfit("use_term.id", "is not a term of the Data Use Ontology that is in use"));
        }
        if all.duo.contains(&DuoTerm::TimeLimit) || all.duo.contains(&DuoTerm::Moratorium) {
            return Err(unfit(
                "terms.duo",
                "names a day that it does not state; leave DUO:0000024 and DUO:0000025 out",
            ));
        }
        // Licences of the list, as those of Creative Commons, let whoever has the rows pass them on to anybody.
        if all.tier() != Tier::Open && !self.license.starts_with("LicenseRef-") {
            return Err(unfit(
                "license",
                "lets whoever has the rows pass them on, which the terms of use do not; name one of your own, such as LicenseRef-data-use-agreement",
            ));
        }
        if all.data_classes.is_some() || all.after_death {
            return Err(unfit("terms", "are about whoever has the rows, so data_classes and after_death say nothing"));
        }
        let named = [
            (DuoTerm::Disease, "diseases", all.diseases.is_empty()),
            (DuoTerm::Geography, "countries", all.countries.is_empty()),
            (DuoTerm::Institution, "institutions", all.institutions.is_empty()),
            (DuoTerm::Project, "projects", all.projects.is_empty()),
            (DuoTerm::User, "users", all.users.is_empty()),
        ];
        match named.into_iter().find(|(term, _, is_empty)| all.duo.contains(term) == *is_empty) {
            Some((term, list, true)) => {
                Err(unfit(&format!("terms.{list}"), &format!("is empty, though {} asks for it", term.id())))
            }
            Some((term, list, false)) => Err(unfit(
                &format!("terms.{list}"),
                &format!("names some, though {} is not among the terms", term.id()),
            )),
            None => Ok(()),
        }
    }

    /// What the card states of what a reader of a data set needs: the texts of Croissant RAI 1.0 and of datasheets, and what
    /// catalogues of health data ask for.
    pub(crate) fn completeness(&self) -> Completeness {
        let told = |text: &str| !text.trim().is_empty();
        let (collection, health) = (&self.collection, &self.health);
        let is_number_or_coded = |one: &ColumnPlan| one.unit.is_some() || !one.values.is_empty();
        let contact = told(&collection.contact) || self.publisher.contact.is_some();
        Completeness::of(&[
            ("citations", !self.citations.is_empty()),
            ("keywords", !self.keywords.is_empty()),
            ("history", !self.history.is_empty()),
            ("not_recorded", !self.not_recorded.is_empty()),
            ("units or values of a column", self.columns.iter().any(is_number_or_coded)),
            ("equivalent of a column", self.columns.iter().any(|one| !one.equivalent.is_empty())),
            ("diversity.population", told(&self.diversity.population)),
            ("collection.motivation", told(&collection.motivation)),
            ("collection.collection", told(&collection.collection)),
            ("collection.raw_data", told(&collection.raw_data)),
            ("collection.timeframe", told(&collection.timeframe)),
            ("collection.missing_data", told(&collection.missing_data)),
            ("collection.preprocessing", !collection.preprocessing.is_empty()),
            ("collection.annotation", told(&collection.annotation)),
            ("collection.biases", !collection.biases.is_empty()),
            ("collection.limitations", !collection.limitations.is_empty()),
            ("collection.use_cases", !collection.use_cases.is_empty()),
            ("collection.misuse", !collection.misuse.is_empty()),
            ("collection.social_impact", told(&collection.social_impact)),
            ("collection.sensitive", !collection.sensitive.is_empty()),
            ("collection.ethics", told(&collection.ethics)),
            ("collection.withdrawal", told(&collection.withdrawal)),
            ("collection.maintenance", told(&collection.maintenance)),
            ("collection.contact, or publisher.contact", contact),
            ("health.population", told(&health.population)),
            ("health.conditions", !health.conditions.is_empty()),
        ])
    }

    /// The description of a column.
    pub(crate) fn column(&self, name: &str) -> Option<&ColumnPlan> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// Refuses a plan that would make a false or unreadable version.
    ///
    /// # Errors
    /// [`ReleaseError::Plan`] naming the first unfit setting.
    pub fn check(&self) -> Result<(), ReleaseError> {
        let stated = Stated {
            texts: [&self.title, &self.summary, &self.description, &self.license, &self.program],
            version: &self.version,
            creators: &self.creators,
            publisher: &self.publisher,
            languages: &self.languages,
            home: &self.home,
            conditions: ("health.conditions", &self.health.conditions),
            use_term: &self.use_term,
        };
        stated.check()?;
        self.check_terms()?;
        let health = &self.health;
        health.access_body.iter().chain(&health.custodian).try_for_each(has_contact)?;
        for (field, agent) in [("health.access_body", &health.access_body), ("health.custodian", &health.custodian)] {
            if agent.as_ref().is_some_and(|agent| agent.name.trim().is_empty() || agent.contact.is_none()) {
                return Err(unfit(field, "needs a name and a contact"));
            }
        }
        if health.categories.iter().any(|category| !is_code(category) && !is_iri(category)) {
            return Err(unfit("health.categories", "must hold four-letter codes such as EHRS, or http or https IRIs"));
        }
        let iris = health.themes.iter().chain(&health.coding_systems).chain([&health.legal_basis, &health.purpose]);
        if iris.into_iter().any(|iri| !iri.is_empty() && !is_iri(iri)) {
            return Err(unfit(
                "health",
                "must hold http or https IRIs as themes, coding_systems, legal_basis and purpose",
            ));
        }
        if let (Some(least), Some(most)) = (health.minimum_age_years, health.maximum_age_years)
            && least > most
        {
            return Err(unfit("health.minimum_age_years", "is greater than maximum_age_years"));
        }
        if self.inputs.is_empty() {
            return Err(unfit("inputs", "is empty: a version states where its records came from"));
        }
        if self.minimum_cell < 2 {
            return Err(unfit("minimum_cell", "must be at least 2"));
        }
        self.completeness().is_enough()?;
        self.split.parts_per_million()?;
        let mut names = BTreeSet::new();
        for column in &self.columns {
            if !names.insert(column.name.as_str()) {
                return Err(unfit(&format!("columns.{}", column.name), "is described twice"));
            }
            if column.title.trim().is_empty() || column.description.trim().is_empty() || column.role.trim().is_empty() {
                return Err(unfit(&format!("columns.{}", column.name), "needs a title, a description and a role"));
            }
            for uri in &column.equivalent {
                if !is_iri(uri) {
                    return Err(unfit(&format!("columns.{}.equivalent", column.name), "must hold http or https URIs"));
                }
            }
        }
        let known = |name: &String| names.contains(name.as_str());
        if !known(&self.split.stratify_by) {
            return Err(unfit("split.stratify_by", "names a column that is not described"));
        }
        for dimension in &self.diversity.dimensions {
            let field = format!("diversity.dimensions.{}", dimension.column);
            if !known(&dimension.column) {
                return Err(unfit(&field, "names a column that is not described"));
            }
            let total: f64 = dimension.reference.iter().map(|cell| cell.share).sum();
            let valid = dimension.reference.iter().all(|cell| cell.share.is_finite() && cell.share >= 0.0);
            let usable = valid && total > 0.0 && total.is_finite();
            if !dimension.reference.is_empty() && !usable {
                return Err(unfit(&field, "has reference shares that are not positive numbers"));
            }
            if !dimension.reference.is_empty() && self.diversity.population.trim().is_empty() {
                return Err(unfit("diversity.population", "is empty although reference shares are given"));
            }
        }
        let read = self.diversity.events.iter().chain(&self.diversity.follow_up).chain(&self.diversity.coverage);
        if read.into_iter().any(|name| !known(name)) {
            return Err(unfit("diversity", "names a column for events, follow_up or coverage that is not described"));
        }
        let unit = self.diversity.follow_up.as_ref().and_then(|name| self.column(name)?.unit.as_deref());
        if unit.is_some_and(|unit| !crate::diversity::YEARS.iter().any(|(known, _)| *known == unit)) {
            return Err(unfit("diversity.follow_up", "names a column whose unit is none of d, wk, mo and a"));
        }
        if self.diversity.intersections.iter().any(|columns| columns.len() < 2 || !columns.iter().all(known)) {
            return Err(unfit("diversity.intersections", "must list two or more described columns each"));
        }
        check_characters(self)
    }
}

/// Control characters would break YAML, Markdown or terminals; no text of a plan needs one besides the line feed.
pub(crate) fn check_characters(plan: &impl Serialize) -> Result<(), ReleaseError> {
    fn walk(value: &serde_json::Value, path: &str) -> Result<(), ReleaseError> {
        let bad = |text: &str| {
            text.chars().any(|c| (c.is_control() && c != '\n') || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}'))
        };
        match value {
            serde_json::Value::String(text) if bad(text) => Err(unfit(path, "holds a control character")),
            serde_json::Value::Array(items) => items.iter().try_for_each(|item| walk(item, path)),
            serde_json::Value::Object(fields) => fields.iter().try_for_each(|(key, item)| {
                let at = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                if bad(key) { Err(unfit(path, "holds a control character")) } else { walk(item, &at) }
            }),
            _ => Ok(()),
        }
    }
    let value = serde_json::to_value(plan).map_err(|_| unfit("plan", "cannot be written as JSON"))?;
    walk(&value, "")
}

impl SplitPlan {
    /// The shares as whole parts per million, so that cutting is exact arithmetic.
    ///
    /// # Errors
    /// [`ReleaseError::Plan`] when a share is not positive or they do not sum to 1.
    pub(crate) fn parts_per_million(&self) -> Result<[u64; 3], ReleaseError> {
        const MILLION: f64 = 1_000_000.0;
        let mut parts = [0; 3];
        for (part, share) in parts.iter_mut().zip([self.train, self.validation, self.test]) {
            if !(share > 0.0 && share < 1.0) {
                return Err(unfit("split", "needs three shares between 0 and 1"));
            }
            *part = (share * MILLION).round() as u64;
        }
        if parts.iter().sum::<u64>() != 1_000_000 || parts.contains(&0) {
            return Err(unfit("split", "needs shares of at most six decimals that sum to 1"));
        }
        Ok(parts)
    }
}

pub(crate) fn unfit(field: &str, problem: &str) -> ReleaseError {
    ReleaseError::Plan { field: field.to_owned(), problem: problem.to_owned() }
}

fn is_version(text: &str) -> bool {
    let parts: Vec<&str> = text.split('.').collect();
    let number = |part: &&str| {
        !part.is_empty()
            && part.len() <= 9
            && part.bytes().all(|b| b.is_ascii_digit())
            && (*part == "0" || !part.starts_with('0'))
    };
    parts.len() == 3 && parts.iter().all(number)
}

/// A code of a health category.
fn is_code(text: &str) -> bool {
    text.len() == 4 && text.bytes().all(|b| b.is_ascii_uppercase())
}

pub(crate) fn is_iri(text: &str) -> bool {
    let odd = |c: char| {
        c.is_whitespace() || c.is_control() || matches!(c, '"' | '<' | '>' | '\\' | '`' | '{' | '}' | '|' | '^')
    };
    (text.starts_with("https://") || text.starts_with("http://")) && !text.contains(odd)
}

fn is_contact(text: &str) -> bool {
    let plain =
        |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_+".contains(&b));
    match text.split_once('@') {
        Some((name, host)) => plain(name) && plain(host) && host.contains('.'),
        None => is_public_address("contact", text).is_ok(),
    }
}

/// A published address must mean the same everywhere, so this machine's own names are refused.
fn is_public_address(field: &str, url: &str) -> Result<(), ReleaseError> {
    let Some(rest) = url.strip_prefix("https://") else { return Err(unfit(field, "is not an https:// address")) };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = host.rsplit('@').next().unwrap_or_default();
    let name = host.split(':').next().unwrap_or_default();
    let odd = |c: char| c.is_whitespace() || matches!(c, '"' | '<' | '>' | '\\' | '`');
    if name.is_empty() || url.chars().any(odd) {
        return Err(unfit(field, "is not a valid https:// address"));
    }
    if name == "localhost" || name.starts_with("127.") || host.starts_with('[') {
        return Err(unfit(field, "points to this machine; give the public address"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::sample::plan;
    use crate::{Agent, AgentKind, Condition, Plan};

    fn refused(change: impl FnOnce(&mut Plan)) -> String {
        let mut plan = plan();
        assert!(plan.check().is_ok());
        change(&mut plan);
        plan.check().unwrap_err().to_string()
    }

    /// What stands under `[release]` in the recipe of the example, with what the node adds.
    #[test]
    fn the_example_tells_catalogues_all_they_ask_for() {
        let text = include_str!("../../../examples/breast-cancer/recipe.toml");
        let recipe: toml::Table = toml::from_str(text).unwrap();
        let mut plan = serde_json::to_value(&recipe["release"]).unwrap();
        let digest = "0".repeat(64);
        plan["seed"] = 1.into();
        plan["recipe"] = digest.as_str().into();
        plan["program"] = "acequia 0.1.0".into();
        plan["inputs"] = serde_json::json!([{ "source": "s", "format": "csv", "files": 1, "digest": digest }]);
        let plan: Plan = serde_json::from_value(plan).unwrap();
        plan.check().unwrap();
        let health = &plan.health;
        assert!(!health.categories.is_empty() && !health.conditions.is_empty());
        assert!(health.access_body.is_some() && plan.publisher.contact.is_some());
    }

    fn agent(name: &str, contact: Option<&str>) -> Option<Agent> {
        let contact = contact.map(str::to_owned);
        Some(Agent { name: name.to_owned(), url: None, contact, kind: AgentKind::Organization })
    }

    #[test]
    fn what_catalogues_are_told_is_well_formed() {
        for contact in
            ["someone", "a@b", "a b@c.example", "http://a.example", "https://localhost/x", "mailto:a@b.example"]
        {
            let words = refused(|plan| plan.publisher.contact = Some(contact.to_owned()));
            assert_eq!(words, "release plan: contact is neither an e-mail address nor an https:// page", "{contact}");
        }
        assert!(refused(|plan| plan.health.access_body = agent("Body", None)).contains("needs a name and a contact"));
        assert!(refused(|plan| plan.health.custodian = agent(" ", Some("a@b.example"))).contains("health.custodian"));
        for category in ["EHR", "ehrs", "EHRS ", "ftp://a.example"] {
            let words = refused(|plan| plan.health.categories = vec![category.to_owned()]);
            assert!(words.contains("four-letter codes"), "{words}");
        }
        for iri in ["MONDO:1", "http://a b", "https://a.example/<x>"] {
            assert!(refused(|plan| plan.health.themes = vec![iri.to_owned()]).contains("IRIs"), "{iri}");
            let condition = Condition { iri: iri.to_owned(), label: "x".to_owned() };
            assert!(refused(|plan| plan.health.conditions = vec![condition]).contains("health.conditions"), "{iri}");
        }
        let words = refused(|plan| {
            plan.health.minimum_age_years = Some(60);
            plan.health.maximum_age_years = Some(18);
        });
        assert!(words.contains("greater than maximum_age_years"), "{words}");
    }
}
