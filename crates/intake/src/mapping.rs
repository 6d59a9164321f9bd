//! The mapping of a table: which column means what in OMOP. A TOML file that a hospital writes once.

use std::collections::{BTreeMap, BTreeSet};

use acequia_omop::{CdmTable, Concepts, Sex, Vocabulary};
use acequia_types::{Day, SourceId};
use serde::Deserialize;

use crate::IntakeError;

/// A mapping from the columns of a table to OMOP. Unknown keys are refused: a typo must not lose a column.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mapping {
    /// Where the table comes from.
    pub source: Source,
    /// The day from which ages and times count.
    pub index: Index,
    /// Who a row is about.
    pub person: Person,
    /// Until when the person was observed.
    #[serde(default)]
    pub period: Period,
    /// Death.
    #[serde(default)]
    pub death: Option<Death>,
    /// What happened.
    #[serde(default, rename = "event")]
    pub events: Vec<Event>,
    /// Columns that are left out, with the reason.
    #[serde(default)]
    pub ignore: BTreeMap<String, String>,
}

/// Where the table comes from.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Id of the source, such as `rotterdam`.
    pub id: SourceId,
    /// Name for people.
    pub title: String,
    /// Country (ISO 3166 alpha-2).
    pub place: String,
    /// OMOP type concept of its records: 32879 registry, 32809 case report form, 32817 EHR.
    pub type_concept_id: i64,
    /// Where it was published, how to cite it, and under which terms: for the reader of the file.
    #[serde(default)]
    pub citation: Option<String>,
    /// Field delimiter; a comma by default.
    #[serde(default = "comma")]
    pub delimiter: char,
}

fn comma() -> char {
    ','
}

/// The day from which ages and times count: one of `date` (the same for all), `date_column`, `year_column`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Index {
    /// A nominal day for all, where the source gives none.
    #[serde(default)]
    pub date: Option<Day>,
    /// Column with a day (`YYYY-MM-DD`).
    #[serde(default)]
    pub date_column: Option<String>,
    /// Column with a year: its first of January is taken.
    #[serde(default)]
    pub year_column: Option<String>,
}

/// Who a row is about.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Person {
    /// Column with the source's own key; must be unique.
    pub key: String,
    /// Sex of everybody in the table.
    #[serde(default)]
    pub sex: Option<SexWord>,
    /// Column with the sex, read through `sex_values`.
    #[serde(default)]
    pub sex_column: Option<String>,
    /// Words of the column.
    #[serde(default)]
    pub sex_values: BTreeMap<String, SexWord>,
    /// Column with the age in whole years on the index day: the year of birth follows.
    #[serde(default)]
    pub age_years: Option<String>,
    /// Column with the birth date.
    #[serde(default)]
    pub birth_date: Option<String>,
}

/// Sex as a word.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SexWord {
    /// Female.
    Female,
    /// Male.
    Male,
    /// Not recorded.
    Unknown,
}

impl From<SexWord> for Sex {
    fn from(word: SexWord) -> Self {
        match word {
            SexWord::Female => Self::Female,
            SexWord::Male => Self::Male,
            SexWord::Unknown => Self::Unknown,
        }
    }
}

/// Until when the person was observed, in days after the index day: the largest of these columns.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Period {
    /// Columns with days after the index.
    #[serde(default)]
    pub end_days: Vec<String>,
}

/// Death.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Death {
    /// Column that says whether.
    pub column: String,
    /// Its words for yes.
    pub present_when: BTreeSet<String>,
    /// Its words for no.
    pub absent_when: BTreeSet<String>,
    /// Column that says when, in days after the index.
    pub after_days: String,
}

/// One kind of event. Without `column` it happens in every row.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// OMOP table.
    pub table: String,
    /// What: an OMOP concept id.
    pub concept_id: i64,
    /// Column that decides or carries the value.
    #[serde(default)]
    pub column: Option<String>,
    /// The column is a number in this range.
    #[serde(default)]
    pub number: Option<NumberRange>,
    /// UCUM unit of the number.
    #[serde(default)]
    pub unit: Option<String>,
    /// The column is a word: word → concept id of the value.
    #[serde(default)]
    pub values: BTreeMap<String, i64>,
    /// Words of the column by which the event happened.
    #[serde(default)]
    pub present_when: BTreeSet<String>,
    /// Words of the column by which it did not.
    #[serde(default)]
    pub absent_when: BTreeSet<String>,
    /// Column with the days after the index day; the index day itself without it.
    #[serde(default)]
    pub after_days: Option<String>,
}

/// Smallest and largest possible number; outside it the row is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NumberRange {
    /// Smallest.
    pub min: f64,
    /// Largest.
    pub max: f64,
}

impl Mapping {
    /// Reads a mapping and checks that it makes sense and names concepts of the vocabulary, or of the course's own.
    ///
    /// # Errors
    /// [`IntakeError::Mapping`] with the line or key that is wrong.
    pub fn parse(text: &str, vocabulary: &Vocabulary) -> Result<Self, IntakeError> {
        let wrong = |message: String| IntakeError::Mapping { message };
        let mapping: Self = toml::from_str(text).map_err(|error| {
            let row = error.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
            wrong(format!("row {row}: {}", error.message()))
        })?;
        let index = &mapping.index;
        let given = [index.date.is_some(), index.date_column.is_some(), index.year_column.is_some()];
        if given.iter().filter(|given| **given).count() != 1 {
            return Err(wrong("[index] needs exactly one of date, date_column, year_column".to_owned()));
        }
        if mapping.person.age_years.is_some() == mapping.person.birth_date.is_some() {
            return Err(wrong("[person] needs exactly one of age_years, birth_date".to_owned()));
        }
        if mapping.person.sex.is_some() == mapping.person.sex_column.is_some() {
            return Err(wrong("[person] needs exactly one of sex, sex_column".to_owned()));
        }
        if !mapping.source.delimiter.is_ascii() {
            return Err(wrong("[source] delimiter must be one ASCII character".to_owned()));
        }
        for (at, event) in mapping.events.iter().enumerate() {
            let number = at + 1;
            for concept_id in std::iter::once(&event.concept_id).chain(event.values.values()) {
                let known = vocabulary.by_id(*concept_id).is_some() || Concepts::bundled().by_id(*concept_id).is_some();
                if !known {
                    return Err(IntakeError::UnknownConcept { event: number, concept_id: *concept_id });
                }
            }
            if event.cdm_table().is_none() {
                return Err(wrong(format!("[[event]] number {number}: no event table of OMOP CDM 5.4 has this name")));
            }
            let reads = [event.number.is_some(), !event.values.is_empty(), !event.present_when.is_empty()];
            let expected = usize::from(event.column.is_some());
            if reads.iter().filter(|reads| **reads).count() != expected {
                let message = "a column is read by exactly one of number, values, present_when; without column by none";
                return Err(wrong(format!("[[event]] number {number}: {message}")));
            }
        }
        Ok(mapping)
    }

    /// What separates the fields.
    pub(crate) fn delimiter(&self) -> u8 {
        u8::try_from(self.source.delimiter).unwrap_or(b',')
    }

    /// Every column the mapping reads.
    pub fn columns(&self) -> BTreeSet<&str> {
        let person = &self.person;
        let mut columns: BTreeSet<&str> = BTreeSet::from([person.key.as_str()]);
        columns.extend(
            [&person.age_years, &person.birth_date, &person.sex_column].into_iter().flatten().map(String::as_str),
        );
        columns.extend([&self.index.date_column, &self.index.year_column].into_iter().flatten().map(String::as_str));
        columns.extend(self.period.end_days.iter().map(String::as_str));
        columns.extend(self.death.iter().flat_map(|death| [death.column.as_str(), death.after_days.as_str()]));
        for event in &self.events {
            columns.extend([&event.column, &event.after_days].into_iter().flatten().map(String::as_str));
        }
        columns
    }
}

impl Event {
    /// The OMOP table, if it is one that holds events.
    pub(crate) fn cdm_table(&self) -> Option<CdmTable> {
        CdmTable::parse(&self.table).filter(|table| table.holds_events())
    }
}
