//! The neutral event: what every reader tells, item by item, and what unification takes in, without a copy in between.
//!
//! A reader walks its input and calls a [`Sink`] for each unit of input (a FHIR resource, an HL7 v2 segment group, a CSV
//! row): [`Sink::begin`], then what the item says ([`Sink::person`], [`Sink::event`], [`Sink::party`],
//! [`Sink::problem`]), then [`Sink::end`]. Everything is borrowed from the input, so nothing is allocated per event.
//! Since each item begins and ends once, the five counts of fates add up by construction.

use acequia_types::{Day, Problem};
use chrono::Datelike;

use crate::{CdmTable, DateError, Fate, PartialDate, Sex};

/// Days from the first day of the common era to 1970-01-01.
const EPOCH_DAYS_FROM_CE: i32 = 719_163;

/// How much of a date the source states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Precision {
    /// The year alone; the day is 1 January.
    Year,
    /// Year and month; the day is the first.
    Month,
    /// The day.
    #[default]
    Day,
    /// The day and a time of day.
    Second,
}

impl Precision {
    /// The word used in lineage.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Year => "year",
            Self::Month => "month",
            Self::Day => "day",
            Self::Second => "second",
        }
    }
}

/// A moment as the source states it: its wall clock, the offset beside it, and how much of it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct When {
    /// Days since 1970-01-01; the first possible day where a part is missing.
    pub day: i32,
    /// Seconds since midnight on the source's clock; 0 unless `precision` is [`Precision::Second`].
    pub second: u32,
    /// Minutes east of UTC, where the source states them.
    pub offset_minutes: Option<i16>,
    /// What is known.
    pub precision: Precision,
}

impl When {
    /// Reads a FHIR R4 `date`, `dateTime` or `instant` (§2.24.0.1): `YYYY`, `YYYY-MM`, `YYYY-MM-DD`, or with a time of day
    /// `Thh:mm[:ss[.fff]]` and an offset `Z` or `±hh:mm`. Day and time stay those of the source's clock.
    ///
    /// # Errors
    /// [`DateError`], which tells a wrong form from a day that does not exist (2025-02-30).
    pub fn parse(text: &str) -> Result<Self, DateError> {
        let bytes = text.as_bytes();
        let two = |at: usize| -> Result<u32, DateError> {
            match (bytes.get(at), bytes.get(at + 1)) {
                (Some(tens @ b'0'..=b'9'), Some(ones @ b'0'..=b'9')) => {
                    Ok(u32::from(tens - b'0') * 10 + u32::from(ones - b'0'))
                }
                _ => Err(DateError::Form),
            }
        };
        let is = |at: usize, byte: u8| if bytes.get(at) == Some(&byte) { Ok(()) } else { Err(DateError::Form) };
        let year = two(0)? * 100 + two(2)?;
        let (mut month, mut of_month, mut precision) = (1, 1, Precision::Year);
        if bytes.len() > 4 {
            is(4, b'-')?;
            (month, precision) = (two(5)?, Precision::Month);
        }
        if bytes.len() > 7 {
            is(7, b'-')?;
            (of_month, precision) = (two(8)?, Precision::Day);
        }
        let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
        let days = match month {
            1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
            4 | 6 | 9 | 11 => 30,
            2 if leap => 29,
            2 => 28,
            _ => 0,
        };
        let day = days_from_civil(year, month.clamp(1, 12), of_month.max(1));
        let calendar = year > 0 && (1..=days).contains(&of_month);
        let mut when = Self { day, second: 0, offset_minutes: None, precision };
        if bytes.len() > 10 {
            is(10, b'T').or_else(|error| is(10, b' ').map_err(|_| error))?;
            is(13, b':')?;
            let (hour, minute) = (two(11)?, two(14)?);
            let (mut second, mut at) = (0, 16);
            if bytes.get(at) == Some(&b':') {
                (second, at) = (two(17)?, 19);
                if bytes.get(at) == Some(&b'.') {
                    at += 1;
                    while bytes.get(at).is_some_and(u8::is_ascii_digit) {
                        at += 1;
                    }
                }
            }
            if hour > 23 || minute > 59 || second > 60 {
                return Err(DateError::Calendar);
            }
            when.second = hour * 3_600 + minute * 60 + second.min(59);
            when.precision = Precision::Second;
            match bytes.get(at) {
                None => {}
                Some(b'Z') if bytes.len() == at + 1 => when.offset_minutes = Some(0),
                Some(sign @ (b'+' | b'-')) if bytes.len() == at + 6 => {
                    is(at + 3, b':')?;
                    let minutes = i16::try_from(two(at + 1)? * 60 + two(at + 4)?).map_err(|_| DateError::Form)?;
                    when.offset_minutes = Some(if *sign == b'-' { -minutes } else { minutes });
                }
                Some(_) => return Err(DateError::Form),
            }
        }
        if calendar { Ok(when) } else { Err(DateError::Calendar) }
    }

    /// Seconds since 1970-01-01T00:00:00 on the source's clock; `None` where no time of day is known (none is invented).
    pub fn timestamp_s(self) -> Option<i64> {
        (self.precision == Precision::Second).then(|| i64::from(self.day) * 86_400 + i64::from(self.second))
    }

    /// The day as a calendar day.
    pub fn calendar_day(self) -> Day {
        Day::from_num_days_from_ce_opt(self.day.saturating_add(EPOCH_DAYS_FROM_CE)).unwrap_or_default()
    }

    /// The date part as a [`PartialDate`].
    pub fn partial(self) -> PartialDate {
        let day = self.calendar_day();
        let (month, of_month) = (day.month(), day.day());
        match self.precision {
            Precision::Year => PartialDate { year: day.year(), month: None, day: None },
            Precision::Month => PartialDate { year: day.year(), month: Some(month), day: None },
            Precision::Day | Precision::Second => {
                PartialDate { year: day.year(), month: Some(month), day: Some(of_month) }
            }
        }
    }
}

impl From<PartialDate> for When {
    fn from(date: PartialDate) -> Self {
        let precision = match (date.month, date.day) {
            (None, _) => Precision::Year,
            (Some(_), None) => Precision::Month,
            (Some(_), Some(_)) => Precision::Day,
        };
        Self { day: day_number(date.first_day()), second: 0, offset_minutes: None, precision }
    }
}

impl From<Day> for When {
    fn from(day: Day) -> Self {
        Self { day: day_number(day), ..Self::default() }
    }
}

/// Days since 1970-01-01 in the Gregorian calendar (Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn days_from_civil(year: u32, month: u32, day: u32) -> i32 {
    // Years begin in March here, so that the leap day comes last. 1,600 years are added to stay above zero.
    let year = year + 1_600 - u32::from(month <= 2);
    let (era, of_era) = (year / 400, year % 400);
    let of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year;
    // Day 0 of the shifted count is -1600-03-01.
    i32::try_from(days).unwrap_or(0) - 1_303_856
}

/// Days since 1970-01-01.
pub fn day_number(day: Day) -> i32 {
    day.num_days_from_ce() - EPOCH_DAYS_FROM_CE
}

/// A code in a system, borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Code<'a> {
    /// System URI or OHDSI vocabulary id; empty when the source states none.
    pub system: &'a str,
    /// The code as received.
    pub code: &'a str,
}

/// What the source compares a number with (FHIR `Quantity.comparator`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Comparator {
    /// The number itself.
    #[default]
    Equal,
    /// Less than the number.
    Less,
    /// At most the number.
    AtMost,
    /// At least the number.
    AtLeast,
    /// More than the number.
    More,
}

impl Comparator {
    /// Reads `<`, `<=`, `>=`, `>`; anything else is no comparator.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "<" => Some(Self::Less),
            "<=" => Some(Self::AtMost),
            ">=" => Some(Self::AtLeast),
            ">" => Some(Self::More),
            _ => None,
        }
    }

    /// OMOP `operator_concept_id`; `None` for the number itself.
    pub const fn concept_id(self) -> Option<i64> {
        match self {
            Self::Equal => None,
            Self::Less => Some(4_171_756),
            Self::AtMost => Some(4_171_754),
            Self::AtLeast => Some(4_171_755),
            Self::More => Some(4_172_704),
        }
    }
}

/// The result of an event.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Value<'a> {
    /// None stated.
    #[default]
    None,
    /// A number with what it is compared by.
    Number(f64, Comparator),
    /// A code, possibly in several systems, best first.
    Codes(&'a [Code<'a>]),
    /// A concept that a mapping states.
    Concept(i64),
    /// A text; kept inside the node only.
    Text(&'a str),
}

/// What an event is, as its format says. The concept's domain may put it into another table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Kind {
    /// An encounter.
    Visit,
    /// A part of an encounter; `parent` names the encounter.
    VisitDetail,
    /// A diagnosis or finding.
    Condition,
    /// A drug prescribed, given or taken, a vaccine.
    Drug,
    /// Something done to the patient.
    Procedure,
    /// A device used on or in the patient.
    Device,
    /// A structured result.
    Measurement,
    /// A fact that fits no other kind.
    #[default]
    Observation,
    /// A sample.
    Specimen,
    /// A text.
    Note,
    /// A disease episode.
    Episode,
}

impl Kind {
    /// The table that takes the kind when no concept decides.
    pub const fn table(self) -> CdmTable {
        match self {
            Self::Visit => CdmTable::VisitOccurrence,
            Self::VisitDetail => CdmTable::VisitDetail,
            Self::Condition => CdmTable::ConditionOccurrence,
            Self::Drug => CdmTable::DrugExposure,
            Self::Procedure => CdmTable::ProcedureOccurrence,
            Self::Device => CdmTable::DeviceExposure,
            Self::Measurement => CdmTable::Measurement,
            Self::Observation => CdmTable::Observation,
            Self::Specimen => CdmTable::Specimen,
            Self::Note => CdmTable::Note,
            Self::Episode => CdmTable::Episode,
        }
    }

    /// The kind whose rows a table takes; `None` for tables that hold no events.
    pub const fn of(table: CdmTable) -> Option<Self> {
        match table {
            CdmTable::VisitOccurrence => Some(Self::Visit),
            CdmTable::VisitDetail => Some(Self::VisitDetail),
            CdmTable::ConditionOccurrence => Some(Self::Condition),
            CdmTable::DrugExposure => Some(Self::Drug),
            CdmTable::ProcedureOccurrence => Some(Self::Procedure),
            CdmTable::DeviceExposure => Some(Self::Device),
            CdmTable::Measurement => Some(Self::Measurement),
            CdmTable::Observation => Some(Self::Observation),
            CdmTable::Specimen => Some(Self::Specimen),
            CdmTable::Note => Some(Self::Note),
            CdmTable::Episode => Some(Self::Episode),
            _ => None,
        }
    }
}

/// One thing that happened to a person. Set what the format knows, leave the rest: `Event { kind, .., ..Event::default() }`.
///
/// Keys (`person`, `key`, `visit`, `parent`, `provider`, `care_site`) are the source's own and are compared as text
/// within their kind; they never enter an OMOP column.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Event<'a> {
    /// Kind by the format.
    pub kind: Kind,
    /// Key of the person it is about; must equal [`Person::key`]. Empty: the source names nobody (the item is held).
    pub person: &'a str,
    /// Key under which other events refer to this one. Empty: none does.
    pub key: &'a str,
    /// Codes the source gives. Unification picks by vocabulary; the order counts among equals. Ignored when
    /// `concept_id` is set.
    pub codes: &'a [Code<'a>],
    /// Key of a definition ([`Sink::define`]) whose codes count when `codes` is empty: a FHIR `medicationReference`.
    pub codes_of: &'a str,
    /// Concept that a mapping states.
    pub concept_id: Option<i64>,
    /// What the source calls it where it gives no code: a column name or the text of a code. Not a value.
    pub text: &'a str,
    /// When it happened or began. `None`: the day of its visit is taken, or the item is held.
    pub start: Option<When>,
    /// When it ended.
    pub end: Option<When>,
    /// Result.
    pub value: Value<'a>,
    /// Unit of a number, as received (UCUM hoped for).
    pub unit: &'a str,
    /// Reference range in the same unit.
    pub range: (Option<f64>, Option<f64>),
    /// OMOP type concept: where the record comes from (32817 EHR, 32879 registry, …).
    pub type_concept_id: i64,
    /// Key of the visit it belongs to.
    pub visit: &'a str,
    /// Key of what it is a part of: the visit of a visit detail; with `parent_kind` the event an observation is about.
    pub parent: &'a str,
    /// Key of who did it: a [`Party::Provider`].
    pub provider: &'a str,
    /// Key of where it was done: a [`Party::CareSite`], for visits.
    pub care_site: &'a str,
    /// OMOP concept of a visit (9201 inpatient, 9202 outpatient, 9203 emergency, …), for visits.
    pub visit_concept_id: i64,
    /// What few events have.
    pub more: More<'a>,
}

/// Details that only some kinds have.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct More<'a> {
    /// A concept that takes the place of the event's own codes when those name a substance, which then becomes the value:
    /// "allergy to substance" for an allergy that is coded as "cashew nuts".
    pub finding: &'a [Code<'a>],
    /// Key of the event that this one repeats: the prescription of a dispense. If that is loaded, this is not.
    pub repeats: &'a str,
    /// Key of the specimen of a measurement.
    pub specimen: &'a str,
    /// Status of a condition as the source words it (`condition_status_source_value`).
    pub status: &'a str,
    /// Body site or route: the modifier, `anatomic_site` or `route` of the table.
    pub site: &'a [Code<'a>],
    /// Interpretation, relation of a relative, severity: `qualifier_concept_id` of an observation.
    pub qualifier: &'a [Code<'a>],
    /// Quantity of a drug, device or specimen.
    pub quantity: Option<f64>,
    /// Unit of `quantity`, as received.
    pub quantity_unit: &'a str,
    /// Days of supply, drugs.
    pub days_supply: Option<i64>,
    /// Refills, drugs.
    pub refills: Option<i64>,
    /// Instructions, drugs (`sig`).
    pub sig: &'a str,
    /// Lot, drugs.
    pub lot: &'a str,
    /// Unique device identifier.
    pub udi: &'a str,
    /// Text of a note; it passes de-identification before it may leave.
    pub note: &'a str,
    /// Title of a note.
    pub title: &'a str,
    /// Why the end is known: reason a drug was stopped (`stop_reason`).
    pub stop_reason: &'a str,
    /// Where a visit came from and led to, as the source words it.
    pub admitted_from: &'a str,
    /// See `admitted_from`.
    pub discharged_to: &'a str,
}

/// A person, as one item of the input states her.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Person<'a> {
    /// Key inside the source; never leaves the node.
    pub key: &'a str,
    /// Sex as recorded.
    pub sex: Sex,
    /// What the source calls it (`gender_source_value`): a code of the format, never free text.
    pub sex_source: &'a str,
    /// Birth, as far as known. `None`: the person and everything about her is held.
    pub birth: Option<When>,
    /// Race or ethnic categories: codes of CDC race and ethnicity or of the source.
    pub race: Code<'a>,
    /// See `race`.
    pub ethnicity: Code<'a>,
    /// Death, if stated.
    pub death: Option<When>,
    /// Observation period, if the source states one.
    pub period: Option<(When, When)>,
    /// Key of the location, a [`Party::Location`] told before the person.
    pub location: &'a str,
    /// Key of the provider.
    pub provider: &'a str,
    /// Key of the care site.
    pub care_site: &'a str,
    /// Type concept of the person's period and death.
    pub type_concept_id: i64,
}

/// Who or where: what providers, care sites and locations are made of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Party<'a> {
    /// A clinician. Names are not taken.
    Provider {
        /// Key inside the source.
        key: &'a str,
        /// Specialty.
        specialty: &'a [Code<'a>],
        /// Sex as recorded.
        sex: Sex,
        /// Care site.
        care_site: &'a str,
    },
    /// An institution or ward.
    CareSite {
        /// Key inside the source.
        key: &'a str,
        /// Its name: institutions are not persons.
        name: &'a str,
        /// Kind of place, as the source words it.
        place: Code<'a>,
        /// Location.
        location: &'a str,
    },
    /// An address, truncated by the reader: no street, a postal code of at most three characters.
    Location {
        /// Key inside the source.
        key: &'a str,
        /// State or region.
        state: &'a str,
        /// First characters of the postal code.
        zip: &'a str,
        /// Country as received.
        country: &'a str,
    },
}

/// The head of one unit of input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ItemHead<'a> {
    /// One-based line of the file or entry of the bundle.
    pub row: u64,
    /// `row`, a resource type, a segment: a word of the standard, never of the file.
    pub kind: &'a str,
    /// The source's key of the item within its kind; empty when it has none (its content then stands for it).
    pub key: &'a str,
    /// The item's bytes, for the hash of its content. Empty: the reader has none (the item is then always new).
    pub content: &'a [u8],
}

/// Which part of a source a reader is asked for. Persons must be told before events about them, and visits before
/// events in them; a format whose files are not in that order is read once per pass and tells each item in one of them.
/// A format in which everything about a person comes together tells all of it in the pass for persons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Pass {
    /// Persons, providers, care sites, locations.
    Persons,
    /// Visits, and definitions and specimens that events refer to.
    Visits,
    /// Everything else.
    Events,
    /// What may repeat an event of an earlier pass: the dispense of a prescription.
    Repeats,
}

impl Pass {
    /// All, in order.
    pub const ALL: [Self; 4] = [Self::Persons, Self::Visits, Self::Events, Self::Repeats];
}

/// Which passes have something to tell, beyond the pass for persons, which every text is read in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Passes(u8);

impl Passes {
    /// Whether `pass` must be made.
    pub fn needs(self, pass: Pass) -> bool {
        pass == Pass::Persons || self.0 & (1 << pass as u8) != 0
    }

    /// One of them.
    pub const fn only(pass: Pass) -> Self {
        Self(1 << pass as u8)
    }

    /// All of them.
    pub const fn all() -> Self {
        Self(u8::MAX)
    }

    /// Both.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Takes what a reader tells. Calls between [`Sink::begin`] and [`Sink::end`] belong to that item.
pub trait Sink {
    /// Asked before an item is parsed: whether the very same bytes are loaded already. If so, the reader tells nothing
    /// more about it; it stays what it was.
    fn known(&mut self, _content: &[u8]) -> bool {
        false
    }
    /// A new item.
    fn begin(&mut self, item: &ItemHead<'_>);
    /// The item states a person.
    fn person(&mut self, person: &Person<'_>);
    /// The item is about this person, by her key, and cannot be read or says what cannot be kept: what earlier states of it
    /// said of her no longer holds. Its fate follows.
    fn withhold(&mut self, _person: &str) {}
    /// The item states an event.
    fn event(&mut self, event: &Event<'_>);
    /// The item states who or where.
    fn party(&mut self, party: &Party<'_>);
    /// The item gives a key to codes, to which events refer by [`Event::codes_of`]: a FHIR `Medication`.
    fn define(&mut self, key: &str, codes: &[Code<'_>]);
    /// Something is wrong with the item. It does not end the item.
    fn problem(&mut self, problem: Problem);
    /// The item is over. `fate` is what the reader decided (left out, rejected, held, no table for it); with `None` the
    /// sink decides from what the item stated.
    fn end(&mut self, fate: Option<Fate>);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_agree_with_chrono() {
        for day in (-700_000..2_900_000).step_by(97) {
            let Some(date) = Day::from_num_days_from_ce_opt(day + EPOCH_DAYS_FROM_CE) else { continue };
            if !(1..=9_999).contains(&date.year()) {
                continue;
            }
            let text = date.format("%Y-%m-%d").to_string();
            assert_eq!(When::parse(&text).unwrap(), When::from(date), "{text}");
        }
    }

    #[test]
    fn moments_keep_clock_offset_and_precision() {
        let when = When::parse("2017-03-21T23:37:54.530-04:00").unwrap();
        assert_eq!((when.partial().exact(), when.second), (acequia_types::parse_day("2017-03-21"), 85_074));
        assert_eq!((when.offset_minutes, when.precision), (Some(-240), Precision::Second));
        assert_eq!(When::parse("2017-03").unwrap().precision, Precision::Month);
        assert_eq!(When::parse("2017").unwrap().timestamp_s(), None, "no time is invented");
        assert_eq!(When::parse("2017-03-21T10:00Z").unwrap().offset_minutes, Some(0));
        for bad in [
            "",
            "?",
            "2017-3",
            "2017-03-21T",
            "2017-03-21T10",
            "21.3.2017",
            "2017-03-21T10:00:00+2",
            "2017-",
            "2017-03-21x",
        ] {
            assert_eq!(When::parse(bad), Err(DateError::Form), "{bad}");
        }
        for bad in ["2025-02-30", "2025-13", "0000", "2025-00-01", "2025-01-01T25:00:00Z"] {
            assert_eq!(When::parse(bad), Err(DateError::Calendar), "{bad}");
        }
    }
}
