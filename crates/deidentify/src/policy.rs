//! The policy: what must hold, and what each column is.

use std::collections::BTreeMap;

use acequia_privacy::{Estimator, Metric};
use serde::{Deserialize, Serialize};

use crate::DeidentifyError;
use crate::attack::AttackSettings;
use crate::events::EventSpec;
use crate::shift::DateShift;
use crate::transform::{Microaggregation, Sample, Transform};

/// What must hold, and what each column is. Unknown keys are refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Smallest allowed equivalence class, in rows.
    #[serde(default = "default_k")]
    pub k: u64,
    /// Highest allowed prosecutor risk: 1 / size of the smallest class.
    #[serde(default = "default_maximum_risk")]
    pub maximum_risk: f64,
    /// Largest share of rows that may be suppressed.
    #[serde(default = "default_suppression_limit")]
    pub suppression_limit: f64,
    /// What the attacker is assumed to know.
    #[serde(default)]
    pub attacker: Attacker,
    /// What the search makes as small as it can be.
    #[serde(default)]
    pub metric: Metric,
    /// Whether all rows get the same levels.
    #[serde(default)]
    pub recoding: Recoding,
    /// How often to go through the distinct tuples where there are too many combinations of levels to search all. More finds
    /// better levels at times, and narrows what is certified.
    #[serde(default = "default_effort", skip_serializing_if = "is_default_effort")]
    pub effort: u64,
    /// Distinct l-diversity: for a sensitive column, how many different values every class must hold, so that knowing
    /// somebody's class does not tell the value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub l_diversity: BTreeMap<String, u64>,
    /// Further privacy models.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<ModelSpec>,
    /// Attacks that are run on the released table before it leaves.
    #[serde(default)]
    pub attacks: AttackSettings,
    /// Events of persons that are released with the table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<EventSpec>,
    /// A part of the persons is drawn before anything else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample: Option<Sample>,
    /// How far the days of a person are moved, in columns with `transform = { shift = true }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub date_shift: Option<DateShift>,
    /// Columns whose values are replaced by those of groups of near rows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub microaggregate: Vec<Microaggregation>,
    /// Every column of the table.
    pub columns: BTreeMap<String, Column>,
}

fn default_k() -> u64 {
    12
}

fn default_maximum_risk() -> f64 {
    0.09
}

fn default_effort() -> u64 {
    1_000
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_default_effort(effort: &u64) -> bool {
    *effort == default_effort()
}

fn default_suppression_limit() -> f64 {
    0.05
}

/// What the attacker is assumed to know. The policy's limit always holds for the prosecutor, the strongest of the three;
/// the setting says which one the release is written for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Attacker {
    /// That the person is in the data.
    #[default]
    Prosecutor,
    /// That the person is in the population.
    Journalist,
    /// Nothing in particular: wants to match as many as possible.
    Marketer,
}

/// Whether all rows get the same levels.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Recoding {
    /// All rows get the same levels, the best there are; rows that still stand out are suppressed.
    #[default]
    Global,
    /// Each row gets the lowest levels at which it does not stand out, from the same hierarchies.
    Local,
}

/// A privacy model besides k-anonymity; `acequia_privacy` says where each comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "model", rename_all = "kebab-case", deny_unknown_fields)]
pub enum ModelSpec {
    /// At least k rows of the population table in every class.
    KMap {
        /// How many.
        k: u64,
    },
    /// At least l different values in every class.
    DistinctL {
        /// Which sensitive column.
        column: String,
        /// How many.
        l: u64,
    },
    /// Entropy of at least ln l in every class.
    EntropyL {
        /// Which sensitive column.
        column: String,
        /// Number of equally frequent values with that entropy.
        l: f64,
    },
    /// The most frequent value is less frequent than c times those from the l-th on.
    RecursiveCl {
        /// Which sensitive column.
        column: String,
        /// The factor.
        c: f64,
        /// From which rank on.
        l: u64,
    },
    /// Values of every class spread like those of the table.
    TCloseness {
        /// Which sensitive column.
        column: String,
        /// Largest earth mover's distance, 0 to 1.
        t: f64,
        /// What the distance is measured over.
        #[serde(default)]
        distance: Distance,
        /// For a hierarchical distance.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hierarchy: Option<HierarchySpec>,
    },
    /// Share of the population that is released, in every class.
    DeltaPresence {
        /// Smallest.
        minimum: f64,
        /// Largest.
        maximum: f64,
    },
    /// |log2| of a value's share in a class over its share in the table is below δ.
    DeltaDisclosure {
        /// Which sensitive column.
        column: String,
        /// The bound.
        delta: f64,
    },
    /// A value's share in a class exceeds its share in the table by at most β, relative to it.
    BetaLikeness {
        /// Which sensitive column.
        column: String,
        /// The bound.
        beta: f64,
        /// Also at most −ln of its share.
        #[serde(default)]
        enhanced: bool,
    },
    /// No value, or not the named one, has a share above α in a class.
    AlphaK {
        /// Which sensitive column.
        column: String,
        /// The bound, 0 to 1.
        alpha: f64,
        /// Which value; all without one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        value: Option<String>,
    },
    /// Mean risk over rows.
    AverageRisk {
        /// The bound, 0 to 1.
        maximum: f64,
    },
    /// Share of rows whose risk is above a threshold.
    RecordsAtRisk {
        /// The threshold, 0 to 1.
        risk: f64,
        /// The bound, 0 to 1.
        share: f64,
    },
    /// Estimated share of the population that is unique.
    PopulationUniqueness {
        /// The bound, 0 to 1.
        share: f64,
        /// People in the population.
        population: u64,
        /// Which estimate.
        #[serde(default)]
        estimator: Estimator,
    },
    /// At least k persons share all quasi-identifiers and any m codes of a person, k being the policy's.
    KmAnonymity {
        /// Most codes that an attacker knows.
        m: usize,
    },
    /// The same with l codes; and nobody infers a value of those who share them with more than a confidence.
    LkcPrivacy {
        /// Which sensitive column.
        column: String,
        /// Most codes that an attacker knows.
        l: usize,
        /// The highest confidence, 0 to 1.
        c: f64,
        /// Values that must not be inferred; all without any.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        values: Vec<String>,
    },
}

/// What the distance of t-closeness is measured over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Distance {
    /// All values are equally far apart.
    #[default]
    Equal,
    /// Values are ordered: numbers by size, texts by letters.
    Ordered,
    /// Values are as far apart as their lowest common ancestor is high.
    Hierarchical,
}

impl ModelSpec {
    /// The sensitive column that the model looks at.
    pub fn column(&self) -> Option<&str> {
        match self {
            Self::DistinctL { column, .. }
            | Self::EntropyL { column, .. }
            | Self::RecursiveCl { column, .. }
            | Self::TCloseness { column, .. }
            | Self::DeltaDisclosure { column, .. }
            | Self::BetaLikeness { column, .. }
            | Self::AlphaK { column, .. }
            | Self::LkcPrivacy { column, .. } => Some(column),
            Self::KMap { .. }
            | Self::DeltaPresence { .. }
            | Self::AverageRisk { .. }
            | Self::RecordsAtRisk { .. }
            | Self::PopulationUniqueness { .. }
            | Self::KmAnonymity { .. } => None,
        }
    }

    /// Whether the model compares with a population table.
    pub fn needs_population(&self) -> bool {
        matches!(self, Self::KMap { .. } | Self::DeltaPresence { .. })
    }

    pub(crate) fn parameters(&self) -> Vec<f64> {
        match self {
            Self::KMap { k } => vec![real(*k)],
            Self::DistinctL { l, .. } => vec![real(*l)],
            Self::EntropyL { l, .. } => vec![*l],
            Self::RecursiveCl { c, l, .. } => vec![*c, real(*l)],
            Self::TCloseness { t, .. } => vec![*t],
            Self::DeltaPresence { minimum, maximum } => vec![*minimum, *maximum],
            Self::DeltaDisclosure { delta, .. } => vec![*delta],
            Self::BetaLikeness { beta, .. } => vec![*beta],
            Self::AlphaK { alpha, .. } => vec![*alpha],
            Self::AverageRisk { maximum } => vec![*maximum],
            Self::RecordsAtRisk { risk, share } => vec![*risk, *share],
            Self::PopulationUniqueness { share, population, .. } => vec![*share, real(*population)],
            Self::KmAnonymity { .. } => Vec::new(),
            Self::LkcPrivacy { c, .. } => vec![*c],
        }
    }

    /// The model with its parameters, in words.
    pub fn words(&self) -> String {
        let of = |column: &str| format!(" of {column}");
        match self {
            Self::KMap { k } => format!("{k}-map"),
            Self::DistinctL { column, l } => format!("distinct {l}-diversity{}", of(column)),
            Self::EntropyL { column, l } => format!("entropy {l}-diversity{}", of(column)),
            Self::RecursiveCl { column, c, l } => format!("recursive ({c},{l})-diversity{}", of(column)),
            Self::TCloseness { column, t, .. } => format!("{t}-closeness{}", of(column)),
            Self::DeltaPresence { minimum, maximum } => format!("presence from {minimum} to {maximum}"),
            Self::DeltaDisclosure { column, delta } => format!("{delta}-disclosure privacy{}", of(column)),
            Self::BetaLikeness { column, beta, enhanced } => {
                format!("{}{beta}-likeness{}", if *enhanced { "enhanced " } else { "" }, of(column))
            }
            Self::AlphaK { column, alpha, .. } => format!("no value above a share of {alpha}{}", of(column)),
            Self::AverageRisk { maximum } => format!("average risk of at most {maximum}"),
            Self::RecordsAtRisk { risk, share } => format!("at most {share} of rows with a risk above {risk}"),
            Self::PopulationUniqueness { share, population, .. } => {
                format!("at most {share} of a population of {population} unique")
            }
            Self::KmAnonymity { m } => format!("(k,k^m)-anonymity with {m} known codes"),
            Self::LkcPrivacy { column, l, c, .. } => {
                format!("LKC-privacy with {l} known codes and confidence {c}{}", of(column))
            }
        }
    }
}

/// One column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// What it is.
    pub role: Role,
    /// How it is generalised; quasi-identifiers only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hierarchy: Option<HierarchySpec>,
    /// How much its loss counts in the search.
    #[serde(default = "one")]
    pub weight: f64,
    /// Lowest level at which it may be released; 0 is exact.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub minimum_level: usize,
    /// What happens to its values besides generalisation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transform: Option<Transform>,
}

impl Column {
    /// Whether every class gets one value of the column, so that it needs no hierarchy.
    pub(crate) fn is_of_class(&self) -> bool {
        self.transform.as_ref().is_some_and(|transform| transform.class.is_some())
    }
}

fn is_zero(level: &usize) -> bool {
    *level == 0
}

fn one() -> f64 {
    1.0
}

/// What a column is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Names the person inside the node; removed.
    PersonId,
    /// Opaque number for assigning splits; leaves the table.
    Assignment,
    /// Identifies alone; removed.
    DirectIdentifier,
    /// May identify together with others; generalised.
    QuasiIdentifier,
    /// Worth protecting, not known to attackers; kept.
    Sensitive,
    /// Neither; kept.
    Insensitive,
}

impl Role {
    /// Whether columns of the role are in the released table.
    pub(crate) fn is_released(self) -> bool {
        matches!(self, Self::QuasiIdentifier | Self::Sensitive | Self::Insensitive)
    }
}

/// How a quasi-identifier is generalised.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum HierarchySpec {
    /// The word `suppress`: the value or nothing.
    Word(Word),
    /// Numbers into bands.
    Intervals {
        /// Which bands.
        intervals: Intervals,
    },
    /// Texts into their first characters.
    Prefixes {
        /// How many characters are left at each level.
        prefixes: Vec<usize>,
    },
    /// Days (`YYYY-MM-DD`) into parts of the calendar.
    Dates {
        /// Which parts, finest first.
        dates: Vec<CalendarPart>,
    },
    /// Codes of the International Classification of Diseases: code, category, chapter.
    Icd {
        /// Which revision.
        icd: Icd,
    },
    /// Names over values.
    Tree {
        /// The tree.
        tree: BTreeMap<String, Tree>,
    },
    /// A CSV file: value, level 1, level 2, …
    File {
        /// Its name.
        file: String,
    },
}

/// The word `suppress`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Word {
    /// The value or nothing.
    Suppress,
}

/// A part of the calendar, finest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CalendarPart {
    /// `1998-05`.
    Month,
    /// `1998-Q2`.
    Quarter,
    /// `1998`.
    Year,
    /// `1990s`.
    Decade,
}

/// A revision of the International Classification of Diseases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Icd {
    /// ICD-9-CM.
    #[serde(rename = "icd-9")]
    Icd9,
    /// ICD-10.
    #[serde(rename = "icd-10")]
    Icd10,
}

/// Bands of numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Intervals {
    /// Widths, each a multiple of the one before, in the column's unit.
    pub levels: Vec<u32>,
    /// Values below fall into one band. Bands start here.
    pub lower: i64,
    /// Values from here on fall into one band.
    pub upper: i64,
}

/// A branch of a tree.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Tree {
    /// Values.
    Leaves(Vec<String>),
    /// Names over further branches.
    Branches(BTreeMap<String, Tree>),
}

impl Policy {
    /// Names of the hierarchy files the policy refers to.
    pub fn hierarchy_files(&self) -> Vec<&str> {
        let of_models = self.models.iter().filter_map(|model| match model {
            ModelSpec::TCloseness { hierarchy, .. } => hierarchy.as_ref(),
            _ => None,
        });
        let of_columns = self.columns.values().filter_map(|column| column.hierarchy.as_ref());
        of_columns
            .chain(of_models)
            .chain(self.events.iter().flat_map(EventSpec::hierarchies))
            .filter_map(|spec| match spec {
                HierarchySpec::File { file } => Some(file.as_str()),
                _ => None,
            })
            .collect()
    }

    /// Names of the key files the policy refers to.
    pub fn key_files(&self) -> Vec<&str> {
        let of_shift = self.date_shift.iter().map(|shift| shift.key.as_str());
        of_shift.chain(self.sample.iter().filter_map(|sample| sample.key.as_deref())).collect()
    }

    /// Smallest class that satisfies both `k` and `maximum_risk`.
    pub fn class_size(&self) -> u64 {
        // The smallest n with 1/n <= maximum_risk, found by comparison so that rounding cannot lower it.
        let mut size = self.k.max(1);
        while 1.0 / real(size) > self.maximum_risk {
            size += 1;
        }
        size
    }

    /// Columns of a role, in order of name.
    pub fn of_role(&self, role: Role) -> impl Iterator<Item = (&str, &Column)> {
        self.columns.iter().filter(move |(_, column)| column.role == role).map(|(name, column)| (name.as_str(), column))
    }

    /// The one column of a role that must be there once.
    pub(crate) fn single(&self, role: Role) -> Result<&str, DeidentifyError> {
        let mut found = self.of_role(role);
        match (found.next(), found.next()) {
            (Some((name, _)), None) => Ok(name),
            _ => Err(wrong(format!("exactly one column must have the role {role:?}"))),
        }
    }

    /// Refuses a policy that contradicts itself.
    pub(crate) fn check(&self) -> Result<(), DeidentifyError> {
        if self.k == 0 {
            return Err(wrong("k must be at least 1".to_owned()));
        }
        if !(self.maximum_risk > 1e-6 && self.maximum_risk <= 1.0) {
            return Err(wrong("maximum_risk must be above 0 and at most 1".to_owned()));
        }
        if !(0.0..=1.0).contains(&self.suppression_limit) {
            return Err(wrong("suppression_limit must be from 0 to 1".to_owned()));
        }
        self.attacks.check()?;
        self.check_events()?;
        for model in &self.models {
            if let Some(name) = model.column()
                && self.columns.get(name).is_none_or(|column| column.role != Role::Sensitive)
            {
                return Err(wrong(format!("model {}: {name} is no sensitive column", model.words())));
            }
            if model.parameters().iter().any(|parameter| !(parameter.is_finite() && *parameter >= 0.0)) {
                return Err(wrong(format!("model {}: parameters must be numbers from 0 on", model.words())));
            }
            if let ModelSpec::TCloseness { distance, hierarchy, .. } = model
                && hierarchy.is_some() != (*distance == Distance::Hierarchical)
            {
                let problem = "a hierarchy belongs to a hierarchical distance, and to no other";
                return Err(wrong(format!("model {}: {problem}", model.words())));
            }
            let on_the_table = matches!(
                model,
                ModelSpec::DeltaPresence { .. }
                    | ModelSpec::AverageRisk { .. }
                    | ModelSpec::RecordsAtRisk { .. }
                    | ModelSpec::PopulationUniqueness { .. }
            );
            if on_the_table && self.recoding == Recoding::Local {
                let problem = "needs all rows at the same levels: recoding = \"global\"";
                return Err(wrong(format!("model {}: {problem}", model.words())));
            }
        }
        for (name, l) in &self.l_diversity {
            if self.columns.get(name).is_none_or(|column| column.role != Role::Sensitive) {
                return Err(wrong(format!("l_diversity.{name}: names no sensitive column")));
            }
            if *l == 0 {
                return Err(wrong(format!("l_diversity.{name}: must be at least 1")));
            }
        }
        for (name, column) in &self.columns {
            let is_quasi_identifier = column.role == Role::QuasiIdentifier;
            if is_quasi_identifier != (column.hierarchy.is_some() || (is_quasi_identifier && column.is_of_class())) {
                return Err(wrong(format!(
                    "column {name}: a hierarchy belongs to quasi-identifiers, and to all of them"
                )));
            }
            if !(column.weight.is_finite() && column.weight > 0.0) {
                return Err(wrong(format!("column {name}: weight must be a positive number")));
            }
            if column.hierarchy.is_some() && column.is_of_class() {
                return Err(wrong(format!("column {name}: one value in every class needs no hierarchy")));
            }
        }
        self.check_transformations()
    }
}

#[expect(clippy::cast_precision_loss, reason = "class sizes are far below 2^53")]
fn real(count: u64) -> f64 {
    count as f64
}

fn wrong(message: String) -> DeidentifyError {
    DeidentifyError::Policy { message }
}
