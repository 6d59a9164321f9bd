//! The neutral record: what every input format becomes before unification, and what became of each input item.

use acequia_types::{Day, Problem, parse_day};
use serde::{Deserialize, Serialize};

use crate::{CdmTable, Comparator, When};

/// A date of which the day, or the month and the day, may be missing (FHIR R4 `dateTime`, §2.24.0.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartialDate {
    /// Year.
    pub year: i32,
    /// Month, 1 to 12.
    pub month: Option<u32>,
    /// Day of the month.
    pub day: Option<u32>,
}

/// A text is not a date. The text is not repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DateError {
    /// Not of the form `YYYY`, `YYYY-MM`, `YYYY-MM-DD` or `YYYY-MM-DDThh:mm:ss+zz:zz`.
    #[error("not a date of the form YYYY-MM-DD")]
    Form,
    /// Of the right form, but no such day exists.
    #[error("no such day in the calendar")]
    Calendar,
}

impl PartialDate {
    /// Reads `YYYY`, `YYYY-MM`, `YYYY-MM-DD`, or a date-time whose date part is taken as the source wrote it.
    ///
    /// # Errors
    /// [`DateError`], which tells a wrong form from a day that does not exist (2025-02-30).
    pub fn parse(text: &str) -> Result<Self, DateError> {
        let date = text.split_once('T').map_or(text, |(date, _)| date);
        let number = |part: &str, digits: usize| {
            if part.len() == digits && part.bytes().all(|byte| byte.is_ascii_digit()) {
                part.parse().ok()
            } else {
                None
            }
        };
        let mut parts = date.split('-');
        let year = parts.next().and_then(|part| number(part, 4)).ok_or(DateError::Form)?;
        let mut two_digits = || parts.next().map(|part| number(part, 2).ok_or(DateError::Form)).transpose();
        let (month, day) = (two_digits()?, two_digits()?);
        if parts.next().is_some() {
            return Err(DateError::Form);
        }
        let date = Self { year: i32::try_from(year).unwrap_or(0), month, day };
        if date.year == 0 || Day::from_ymd_opt(date.year, month.unwrap_or(1), day.unwrap_or(1)).is_none() {
            return Err(DateError::Calendar);
        }
        Ok(date)
    }

    /// The whole date, if every part is known.
    pub fn exact(self) -> Option<Day> {
        Day::from_ymd_opt(self.year, self.month?, self.day?)
    }

    /// The first day the date can mean: what an OMOP `date` field, which must be whole, is given.
    pub fn first_day(self) -> Day {
        Day::from_ymd_opt(self.year, self.month.unwrap_or(1), self.day.unwrap_or(1)).unwrap_or_default()
    }
}

impl From<Day> for PartialDate {
    fn from(day: Day) -> Self {
        use chrono::Datelike;
        Self { year: day.year(), month: Some(day.month()), day: Some(day.day()) }
    }
}

impl std::str::FromStr for PartialDate {
    type Err = DateError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

/// Sex as recorded (FHIR administrative gender; OMOP `gender_concept_id`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sex {
    /// OMOP concept 8532.
    Female,
    /// OMOP concept 8507.
    Male,
    /// Recorded as something else, or not recorded: OMOP concept 0.
    Unknown,
}

impl Sex {
    /// The OMOP concept.
    pub const fn concept_id(self) -> i64 {
        match self {
            Self::Female => 8532,
            Self::Male => 8507,
            Self::Unknown => 0,
        }
    }
}

/// A code in a system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coding {
    /// FHIR system URI or OHDSI vocabulary id.
    pub system: String,
    /// The code.
    pub code: String,
}

/// The value of a measurement or observation.
#[derive(Debug, Clone, PartialEq)]
pub enum SourceValue {
    /// A number.
    Number(f64),
    /// A code, possibly in several systems.
    Codes(Vec<Coding>),
    /// A concept that a mapping states.
    Concept(i64),
    /// A text; kept inside the node only.
    Text(String),
}

/// Kind of encounter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VisitKind {
    /// OMOP 9201.
    Inpatient,
    /// OMOP 9202.
    Outpatient,
    /// OMOP 9203.
    Emergency,
    /// Not stated: concept 0.
    Unknown,
}

impl VisitKind {
    /// The OMOP concept.
    pub const fn concept_id(self) -> i64 {
        match self {
            Self::Inpatient => 9201,
            Self::Outpatient => 9202,
            Self::Emergency => 9203,
            Self::Unknown => 0,
        }
    }
}

/// One thing that happened to a person.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceEvent {
    /// Index into [`SourceFile::items`]: which input item it came from.
    pub item: usize,
    /// Table the format suggests; the concept's domain may decide otherwise.
    pub table: CdmTable,
    /// Codes the source gives, best first. Ignored when `concept_id` is set.
    pub codings: Vec<Coding>,
    /// Concept that a mapping states.
    pub concept_id: Option<i64>,
    /// What the source called it: a column name or code, never a value.
    pub source_value: String,
    /// When it happened or started.
    pub start: PartialDate,
    /// When it ended.
    pub end: Option<PartialDate>,
    /// Result.
    pub value: Option<SourceValue>,
    /// Unit of a numeric result, UCUM.
    pub unit: Option<String>,
    /// OMOP type concept: where the record comes from (32817 EHR, 32879 registry, …).
    pub type_concept_id: i64,
    /// Key of the visit it belongs to: equals `own_key` of that visit.
    pub visit: Option<String>,
    /// Key under which other events refer to this one.
    pub own_key: Option<String>,
    /// Kind of encounter, for visits.
    pub visit_kind: Option<VisitKind>,
    /// What few events have; `Details::default()` where the format knows nothing more.
    pub details: Details,
}

/// What few events have: the owned twin of [`crate::Event`] beyond the fields of [`SourceEvent`].
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Details {
    /// Start and end with time of day and offset, where the source states them.
    pub at: (Option<When>, Option<When>),
    /// What a number is compared by.
    pub comparator: Comparator,
    /// Reference range.
    pub range: (Option<f64>, Option<f64>),
    /// OMOP concept of a visit where [`VisitKind`] is too coarse; 0 for none.
    pub visit_concept_id: i64,
    /// Key of what the event is a part of.
    pub parent: String,
    /// Key of the provider.
    pub provider: String,
    /// Key of the care site.
    pub care_site: String,
    /// Concept that takes the place of codes that name a substance.
    pub finding: Vec<Coding>,
    /// Key of the event that this one repeats.
    pub repeats: String,
    /// Key of the specimen.
    pub specimen: String,
    /// Status as the source words it.
    pub status: String,
    /// Body site or route.
    pub site: Vec<Coding>,
    /// Interpretation, relation, severity.
    pub qualifier: Vec<Coding>,
    /// Quantity of a drug, device or specimen.
    pub quantity: Option<f64>,
    /// Unit of the quantity.
    pub quantity_unit: String,
    /// Days of supply.
    pub days_supply: Option<i64>,
    /// Refills.
    pub refills: Option<i64>,
    /// Instructions.
    pub sig: String,
    /// Lot.
    pub lot: String,
    /// Unique device identifier.
    pub udi: String,
    /// Text of a note.
    pub note: String,
    /// Title of a note.
    pub title: String,
    /// Why a drug was stopped.
    pub stop_reason: String,
    /// Where a visit came from.
    pub admitted_from: String,
    /// Where a visit led to.
    pub discharged_to: String,
}

/// The person a record is about.
#[derive(Debug, Clone, PartialEq)]
pub struct SourcePerson {
    /// Index into [`SourceFile::items`].
    pub item: usize,
    /// Key of the person inside the source; never leaves the node.
    pub key: String,
    /// Sex.
    pub sex: Sex,
    /// Birth date, as far as known. Without it the person is held back: OMOP requires the year.
    pub birth: Option<PartialDate>,
    /// First and last day of observation, if the source states them.
    pub period: Option<(Day, Day)>,
    /// Death, with the item that states it.
    pub death: Option<(usize, PartialDate)>,
    /// Type concept of the person's period and death.
    pub type_concept_id: i64,
}

/// One person with everything the source says.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceRecord {
    /// Who.
    pub person: SourcePerson,
    /// What, in source order.
    pub events: Vec<SourceEvent>,
}

/// Why an item was left out on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Excluded {
    /// The source says it was an error (FHIR `entered-in-error`).
    EnteredInError,
    /// The source says it did not happen (`not-done`, `cancelled`, `refuted`).
    DidNotHappen,
    /// Carries nothing clinical by design (bundle metadata, provenance, organisation).
    Administrative,
    /// Says the same as another item of the input.
    Duplicate,
    /// A plan, an order or a goal: an intent is not an event.
    Plan,
    /// Claims and accounts; the cost tables are not filled.
    Financial,
    /// Another item says it: a report whose results are observations, a dispense of a prescription that is loaded, a
    /// medication that prescriptions refer to.
    ToldElsewhere,
    /// States that nothing is known (`no-allergy-info`).
    NoInformation,
}

impl Excluded {
    /// The word used in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EnteredInError => "entered-in-error",
            Self::DidNotHappen => "did-not-happen",
            Self::Administrative => "administrative",
            Self::Duplicate => "duplicate",
            Self::Plan => "plan",
            Self::Financial => "financial",
            Self::ToldElsewhere => "told-elsewhere",
            Self::NoInformation => "no-information",
        }
    }
}

/// Why an item waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Held {
    /// The person has no year of birth, so nothing of the person can be loaded yet.
    NoBirthDate,
    /// The item has no date, and OMOP requires one.
    NoDate,
    /// The item is about another person than the file.
    OtherPerson,
    /// The item is a document whose text lies elsewhere.
    NoText,
}

impl Held {
    /// The word used in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoBirthDate => "no-birth-date",
            Self::NoDate => "no-date",
            Self::OtherPerson => "other-person",
            Self::NoText => "no-text",
        }
    }
}

/// What could not be mapped. The item is kept as far as the model allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unmapped {
    /// Loaded with concept 0 and a local source concept.
    Concept,
    /// The kind of item has no table yet; the original stays in the vault.
    Kind,
}

impl Unmapped {
    /// The word used in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Concept => "concept",
            Self::Kind => "kind",
        }
    }
}

/// What became of one input item. Every item has exactly one fate, so the counts add up.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "fate", content = "why")]
pub enum Fate {
    /// At least one row, all with known concepts.
    Loaded,
    /// Left out on purpose.
    Excluded(Excluded),
    /// Waits for something.
    Held(Held),
    /// No concept or no table.
    Unmapped(Unmapped),
    /// Wrong; the problem list has the same code.
    Rejected(String),
}

/// One unit of input: a CSV row or a FHIR resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// One-based line of the file or entry of the bundle.
    pub row: u64,
    /// `row`, or the resource type.
    pub kind: String,
    /// Set by intake for what it leaves out or rejects, by unify for the rest.
    pub fate: Option<Fate>,
}

/// Everything read from one donated file.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SourceFile {
    /// Persons with their events.
    pub records: Vec<SourceRecord>,
    /// Every unit of input, in order.
    pub items: Vec<Item>,
    /// What was wrong, by place.
    pub problems: Vec<Problem>,
}

impl SourceFile {
    /// Puts the items into the order of their rows: a reader that makes several passes tells them in another.
    pub fn sort_items(&mut self) {
        let mut order: Vec<usize> = (0..self.items.len()).collect();
        order.sort_by_key(|at| self.items[*at].row);
        let mut new_place = vec![0; order.len()];
        for (to, from) in order.iter().enumerate() {
            new_place[*from] = to;
        }
        let mut items: Vec<Option<Item>> = self.items.drain(..).map(Some).collect();
        self.items = order.iter().filter_map(|from| items[*from].take()).collect();
        let moved = |item: &mut usize| *item = new_place.get(*item).copied().unwrap_or(*item);
        for record in &mut self.records {
            moved(&mut record.person.item);
            if let Some((item, _)) = &mut record.person.death {
                moved(item);
            }
            record.events.iter_mut().for_each(|event| moved(&mut event.item));
        }
        self.problems.sort_by_key(|problem| problem.place.row);
    }

    /// Keeps the first person and holds the items of all others: a donor gives her own record, and nobody's beside it.
    #[must_use]
    pub fn only_first_person(mut self) -> Self {
        for record in self.records.drain(1.min(self.records.len())..) {
            let of_events = record.events.iter().map(|event| event.item);
            for item in of_events.chain([record.person.item]) {
                if let Some(item) = self.items.get_mut(item) {
                    item.fate = Some(Fate::Held(Held::OtherPerson));
                }
            }
        }
        self
    }
}

/// How many items met which fate. `total` is counted on its own, so that [`ItemCounts::add_up`] can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ItemCounts {
    /// Items in the input.
    pub total: u64,
    /// Loaded.
    pub loaded: u64,
    /// Left out on purpose.
    pub excluded: u64,
    /// Waiting.
    pub held: u64,
    /// Without concept or table.
    pub unmapped: u64,
    /// Wrong.
    pub rejected: u64,
}

impl ItemCounts {
    /// Counts items by fate; an item without fate counts in `total` only.
    pub fn of(items: &[Item]) -> Self {
        let mut counts = Self { total: items.len() as u64, ..Self::default() };
        for item in items {
            match item.fate {
                Some(Fate::Loaded) => counts.loaded += 1,
                Some(Fate::Excluded(_)) => counts.excluded += 1,
                Some(Fate::Held(_)) => counts.held += 1,
                Some(Fate::Unmapped(_)) => counts.unmapped += 1,
                Some(Fate::Rejected(_)) => counts.rejected += 1,
                None => {}
            }
        }
        counts
    }

    /// Whether every item is accounted for.
    pub fn add_up(&self) -> bool {
        self.total == self.loaded + self.excluded + self.held + self.unmapped + self.rejected
    }

    /// Sum of two counts.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            total: self.total + other.total,
            loaded: self.loaded + other.loaded,
            excluded: self.excluded + other.excluded,
            held: self.held + other.held,
            unmapped: self.unmapped + other.unmapped,
            rejected: self.rejected + other.rejected,
        }
    }
}

/// Reads a whole day; a convenience over [`parse_day`] that tells form from calendar.
impl TryFrom<&str> for PartialDate {
    type Error = DateError;
    fn try_from(text: &str) -> Result<Self, Self::Error> {
        parse_day(text).map_or_else(|| Self::parse(text), |day| Ok(day.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partial_dates_keep_what_is_known() {
        let date = PartialDate::parse("2015-03").unwrap();
        assert_eq!((date.exact(), date.first_day().to_string()), (None, "2015-03-01".to_owned()));
        assert_eq!(PartialDate::parse("2015-03-04T23:59:00+02:00").unwrap().exact(), parse_day("2015-03-04"));
        assert_eq!(PartialDate::parse("2025-02-30"), Err(DateError::Calendar));
        assert_eq!(PartialDate::parse("2015-13"), Err(DateError::Calendar));
        for bad in ["", "15", "2015-3", "2015-03-04-05", "about 1980", "2015-03-0x", "+015"] {
            assert_eq!(PartialDate::parse(bad), Err(DateError::Form), "{bad}");
        }
    }

    #[test]
    fn an_item_without_fate_breaks_the_sum() {
        let item = |fate| Item { row: 1, kind: "row".to_owned(), fate };
        let counts = ItemCounts::of(&[item(Some(Fate::Loaded)), item(Some(Fate::Rejected("IN001".to_owned())))]);
        assert!(counts.add_up());
        assert!(!ItemCounts::of(&[item(None)]).add_up());
    }
}
