//! What is checked: definitions as data, compiled into [`Check`]s.
//!
//! `data/checks.csv` lists the 27 types of check, `tables.csv`, `fields.csv` and `concepts.csv` say which are on for what,
//! with parameter and threshold. Source: the definition files of OHDSI's DataQualityDashboard 2.8.4 for CDM 5.4
//! (Apache-2.0), condensed by `data/condense.py`; see `data/README.md`.

use std::collections::HashMap;
use std::sync::LazyLock;

use acequia_omop::CdmTable;
use acequia_types::parse_day;
use serde::{Deserialize, Serialize};

use crate::rule::Rule;

/// Category of a check (Kahn et al. 2016).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Category {
    /// Does the form agree with the model?
    Conformance,
    /// Is it there?
    Completeness,
    /// Can it be true?
    Plausibility,
}

impl Category {
    /// All, in the order of the paper.
    pub const ALL: [Self; 3] = [Self::Conformance, Self::Completeness, Self::Plausibility];

    /// As OHDSI's files write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Conformance => "Conformance",
            Self::Completeness => "Completeness",
            Self::Plausibility => "Plausibility",
        }
    }
}

/// Context of a check (Kahn et al. 2016).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Context {
    /// Against what the data themselves and the model say.
    Verification,
    /// Against what is known from outside.
    Validation,
}

impl Context {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Verification, Self::Validation];

    /// As OHDSI's files write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Verification => "Verification",
            Self::Validation => "Validation",
        }
    }
}

/// What a check looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Level {
    /// A whole table.
    Table,
    /// One field.
    Field,
    /// One field where it holds a stated concept.
    Concept,
}

/// One check.
#[derive(Debug, Clone, PartialEq)]
pub struct Check {
    /// Stable name, as OHDSI's dashboard makes it: `field_isrequired_person_year_of_birth`.
    pub id: String,
    /// Type, such as `isRequired`; `user` for those of a site.
    pub name: String,
    /// What it looks at.
    pub level: Level,
    /// Context.
    pub context: Context,
    /// Category.
    pub category: Category,
    /// Subcategory, as OHDSI's files write it; may be empty.
    pub subcategory: String,
    /// `fatal`, `convention`, `characterization`.
    pub severity: String,
    /// Table.
    pub table: CdmTable,
    /// Field, unless the whole table is looked at.
    pub field: Option<String>,
    /// Concepts it is about.
    pub concept_ids: Vec<i64>,
    /// Share of failing rows above which it fails, in per cent, unless a site's file says otherwise; none is 0.
    pub threshold: Option<f64>,
    /// What fails, in one sentence.
    pub description: String,
    /// What that means, in plain words.
    pub meaning: String,
    /// What to do about it.
    pub remedy: String,
    /// How it is computed.
    pub(crate) kind: Kind,
}

/// How a check is computed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Kind {
    TablePresent,
    PersonCompleteness,
    EraCompleteness,
    PeriodOverlap,
    FieldPresent,
    /// `isRequired` and `measureValueCompleteness` count the same.
    NotNull,
    WholeNumber,
    Unique,
    Refers {
        table: CdmTable,
        field: String,
    },
    Domain(Vec<String>),
    Class(String),
    Standard,
    /// Not 0, and not missing beside a source value.
    Mapped {
        source_value: Option<String>,
    },
    /// Distinct source values.
    SourceMapped {
        concept: String,
    },
    Low(Bound),
    High(Bound),
    /// On or after another field of the row.
    NotBefore(String),
    /// On or after birth, which is in June where only the year is known.
    NotBeforeMidyear,
    DuringLife,
    WithinVisit,
    AfterBirth,
    BeforeDeath,
    /// On or before another field of the row.
    NotAfter(String),
    Gender {
        right: i64,
    },
    GenderOfKinds {
        right: i64,
    },
    Units(Vec<i64>),
    Rule(Box<Rule>),
}

/// End of a plausible range.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Bound {
    Number(f64),
    /// Days since 1970-01-01.
    Day(i32),
    Tomorrow,
    NextYear,
}

impl Bound {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "tomorrow" => Self::Tomorrow,
            "next-year" => Self::NextYear,
            _ => match parse_day(text) {
                Some(day) => Self::Day(crate::epoch_days(day)),
                None => Self::Number(text.parse().ok()?),
            },
        })
    }
}

/// `concept_id` of the sexes in the Gender vocabulary.
const SEXES: [(&str, i64); 2] = [("Male", 8507), ("Female", 8532)];

/// A type of check.
struct Type {
    name: String,
    level: Level,
    context: Context,
    category: Category,
    subcategory: String,
    severity: String,
    description: String,
    meaning: String,
    remedy: String,
}

/// Where a check is made.
struct At<'a> {
    table: CdmTable,
    field: Option<&'a str>,
    concept_ids: Vec<i64>,
    name: &'a str,
    parameter: &'a str,
    threshold: Option<f64>,
}

impl Type {
    fn check(&self, at: At<'_>, kind: Kind) -> Check {
        let level = format!("{:?}", self.level);
        let concepts = at.concept_ids.iter().map(i64::to_string).collect::<Vec<_>>().join(",");
        let parts = [level.as_str(), &self.name, at.table.name(), at.field.unwrap_or_default(), &concepts];
        let id = parts.iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join("_").to_lowercase();
        let words = [
            ("{table}", at.table.name()),
            ("{field}", at.field.unwrap_or_default()),
            ("{name}", at.name),
            ("{parameter}", at.parameter),
        ];
        let description = words.iter().fold(self.description.clone(), |text, (word, with)| text.replace(word, with));
        Check {
            id,
            name: self.name.clone(),
            level: self.level,
            context: self.context,
            category: self.category,
            subcategory: self.subcategory.clone(),
            severity: self.severity.clone(),
            table: at.table,
            field: at.field.map(str::to_owned),
            concept_ids: at.concept_ids,
            threshold: at.threshold,
            description,
            meaning: self.meaning.clone(),
            remedy: self.remedy.clone(),
            kind,
        }
    }
}

fn records(bytes: &'static [u8]) -> (Vec<String>, Vec<csv::StringRecord>) {
    let mut reader = csv::Reader::from_reader(bytes);
    let header = reader.headers().expect("the definitions are part of this crate");
    let header = header.iter().map(str::to_owned).collect();
    let records = reader.records().collect::<Result<_, _>>().expect("the definitions are part of this crate");
    (header, records)
}

fn types() -> Vec<Type> {
    let (_, records) = records(include_bytes!("../data/checks.csv"));
    let read = |record: csv::StringRecord| {
        let text = |at: usize| record[at].to_owned();
        Type {
            name: text(0),
            level: match &record[1] {
                "TABLE" => Level::Table,
                "FIELD" => Level::Field,
                _ => Level::Concept,
            },
            context: if &record[2] == "Validation" { Context::Validation } else { Context::Verification },
            category: match &record[3] {
                "Conformance" => Category::Conformance,
                "Completeness" => Category::Completeness,
                _ => Category::Plausibility,
            },
            subcategory: text(4),
            severity: text(5),
            description: text(6),
            meaning: text(7),
            remedy: text(8),
        }
    };
    records.into_iter().map(read).collect()
}

/// The source value beside a concept: `x_source_value` for `x_concept_id` and `x_source_concept_id`.
fn source_value(table: CdmTable, field: &str) -> Option<String> {
    let stem = field.strip_suffix("_concept_id")?;
    let name = format!("{}_source_value", stem.strip_suffix("_source").unwrap_or(stem));
    table.fields().iter().any(|field| field.name == name).then_some(name)
}

/// How a field-level check is computed. `None` if the definitions name no such type.
fn field_kind(check: &str, table: CdmTable, field: &str, required: bool, parameter: &str) -> Option<Kind> {
    Some(match check {
        "cdmDatatype" => Kind::WholeNumber,
        "isRequired" | "measureValueCompleteness" => Kind::NotNull,
        "isPrimaryKey" => Kind::Unique,
        "isForeignKey" => {
            let (table, field) = parameter.split_once('.')?;
            Kind::Refers { table: CdmTable::parse(table)?, field: field.to_owned() }
        }
        "fkDomain" => Kind::Domain(parameter.split(',').map(|domain| domain.trim().to_owned()).collect()),
        "fkClass" => Kind::Class(parameter.to_owned()),
        "isStandardValidConcept" => Kind::Standard,
        "standardConceptRecordCompleteness" | "sourceConceptRecordCompleteness" => {
            Kind::Mapped { source_value: if required { None } else { source_value(table, field) } }
        }
        "sourceValueCompleteness" => Kind::SourceMapped { concept: parameter.to_owned() },
        "plausibleValueLow" => Kind::Low(Bound::parse(parameter)?),
        "plausibleValueHigh" => Kind::High(Bound::parse(parameter)?),
        "plausibleTemporalAfter" if parameter == "person.birth_datetime" => Kind::NotBeforeMidyear,
        "plausibleTemporalAfter" => Kind::NotBefore(parameter.to_owned()),
        "plausibleDuringLife" => Kind::DuringLife,
        "withinVisitDates" => Kind::WithinVisit,
        "plausibleAfterBirth" => Kind::AfterBirth,
        "plausibleBeforeDeath" => Kind::BeforeDeath,
        "plausibleStartBeforeEnd" => Kind::NotAfter(parameter.to_owned()),
        _ => return None,
    })
}

fn sex(name: &str) -> i64 {
    SEXES.iter().find(|(known, _)| *known == name).map_or(0, |(_, concept_id)| *concept_id)
}

static DEFAULT: LazyLock<Vec<Check>> = LazyLock::new(|| {
    let types = types();
    let by_name: HashMap<&str, &Type> = types.iter().map(|kind| (kind.name.as_str(), kind)).collect();
    let broken = "the definitions are part of this crate";
    let table = |name: &str| CdmTable::parse(name).expect(broken);
    let percent = |text: &str| text.parse::<f64>().ok();
    let mut checks = Vec::new();

    let (header, records_of_tables) = records(include_bytes!("../data/tables.csv"));
    for record in &records_of_tables {
        let at = |threshold| At {
            table: table(&record[0]),
            field: None,
            concept_ids: Vec::new(),
            name: "",
            parameter: "",
            threshold,
        };
        checks.push(by_name["cdmTable"].check(at(None), Kind::TablePresent));
        for (check, cell) in header.iter().zip(record).skip(1).filter(|(_, cell)| !cell.is_empty()) {
            let kind = match check.as_str() {
                "measurePersonCompleteness" => Kind::PersonCompleteness,
                "measureConditionEraCompleteness" => Kind::EraCompleteness,
                _ => Kind::PeriodOverlap,
            };
            checks.push(by_name[check.as_str()].check(at(percent(cell)), kind));
        }
    }

    let (header, records_of_fields) = records(include_bytes!("../data/fields.csv"));
    let required_at = header.iter().position(|name| name == "isRequired").expect(broken);
    for record in &records_of_fields {
        let (table, field) = (table(&record[0]), &record[1]);
        let at = |parameter, threshold| At {
            table,
            field: Some(field),
            concept_ids: Vec::new(),
            name: "",
            parameter,
            threshold,
        };
        checks.push(by_name["cdmField"].check(at("", None), Kind::FieldPresent));
        for (check, cell) in header.iter().zip(record).skip(2).filter(|(_, cell)| !cell.is_empty()) {
            let (parameter, threshold) = cell.rsplit_once('@').unwrap_or(("", cell));
            let kind = field_kind(check, table, field, !record[required_at].is_empty(), parameter).expect(broken);
            checks.push(by_name[check.as_str()].check(at(parameter, percent(threshold)), kind));
        }
    }

    let (_, records_of_concepts) = records(include_bytes!("../data/concepts.csv"));
    for record in &records_of_concepts {
        let ids = |text: &str| text.split(' ').filter_map(|id| id.parse().ok()).collect::<Vec<i64>>();
        let at = At {
            table: table(&record[1]),
            field: Some(&record[2]),
            concept_ids: ids(&record[3]),
            name: &record[4],
            parameter: &record[5],
            threshold: percent(&record[6]),
        };
        let kind = match &record[0] {
            "plausibleGender" => Kind::Gender { right: sex(&record[5]) },
            "plausibleGenderUseDescendants" => Kind::GenderOfKinds { right: sex(&record[5]) },
            _ => Kind::Units(ids(&record[5])),
        };
        checks.push(by_name[&record[0]].check(at, kind));
    }
    checks
});

/// The default checks: 2,535 over the 39 tables of CDM 5.4.
pub fn default_checks() -> &'static [Check] {
    &DEFAULT
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_definitions_make_2535_checks_of_27_types_with_ids_of_their_own() {
        let checks = default_checks();
        assert_eq!(checks.len(), 2535);
        assert_eq!(checks.iter().map(|check| &check.name).collect::<BTreeSet<_>>().len(), 27);
        assert_eq!(checks.iter().map(|check| &check.id).collect::<BTreeSet<_>>().len(), 2535);
        for check in checks {
            if let Some(field) = &check.field {
                assert!(check.table.fields().iter().any(|own| own.name == *field), "{}", check.id);
            }
            assert!(!check.description.contains('{'), "{}", check.description);
            assert!(!check.meaning.is_empty() && !check.remedy.is_empty(), "{}", check.name);
        }
    }

    #[test]
    fn ids_are_those_of_the_dashboard() {
        let known = |id: &str| default_checks().iter().any(|check| check.id == id);
        assert!(known("table_cdmtable_person"));
        assert!(known("field_isrequired_person_year_of_birth"));
        assert!(known(
            "concept_plausiblegenderusedescendants_condition_occurrence_condition_concept_id_4090861,4025213"
        ));
    }
}
