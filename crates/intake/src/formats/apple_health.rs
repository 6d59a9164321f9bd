//! Apple Health `export.xml` (HealthKit export, versions 1 to 14) told as events, in constant memory.
//!
//! An export names nobody: its owner has one key, whoever she is, so each person's export is a source of its own.
//!
//! A unit of input is an element below `HealthData`, and a `Record` inside a `Correlation`. Nothing is allocated per
//! record. The document type is stepped over: that of iOS 16 is not well-formed, and none is needed.
//!
//! Several sources (phone, watch, apps) tell of the same steps. Every record is kept with its own times, as a count in
//! unspecified time; what may be added up are the daily totals, which come from one source each: the one that saw most.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, Write};

use acequia_omop::{
    Code, Comparator, Event, Excluded, Fate, ItemHead, Kind, More, Person, Sex, Sink, Unmapped, Value, When,
};
use acequia_types::{Place, Problem};

use super::time::dashed_time;
use super::xml::{Attributes, BadXml, Doctype, Element, Tag, Xml};
use super::{Stop, bad_date, conclude, systems::LOINC};
use crate::IntakeError;

/// System of the identifiers of HealthKit.
const HEALTHKIT: &str = "http://developer.apple.com/documentation/healthkit";
/// OMOP type concept: patient self-report, which is what devices and apps of the person tell.
const PATIENT_REPORT: i64 = 32_865;
/// An export is about its owner, who has no number in it.
const OWNER: &str = "owner";

/// What is known of a quantity type.
struct Quantity {
    /// Identifier without `HKQuantityTypeIdentifier`.
    name: &'static str,
    /// LOINC code where it says the same; empty otherwise: then the identifier stands alone.
    loinc: &'static str,
    /// What Apple exports as a bare count.
    unit: Option<&'static str>,
    /// Amounts add up over time.
    cumulative: bool,
    /// LOINC code of the sum of a day.
    daily: &'static str,
}

const fn vital(name: &'static str, loinc: &'static str) -> Quantity {
    Quantity { name, loinc, unit: None, cumulative: false, daily: "" }
}

const fn amount(name: &'static str) -> Quantity {
    Quantity { name, loinc: "", unit: None, cumulative: true, daily: "" }
}

/// Types with a LOINC code, and those that add up. Sorted by name, for the search.
const QUANTITIES: &[Quantity] = &[
    amount("ActiveEnergyBurned"),
    amount("AppleExerciseTime"),
    amount("AppleMoveTime"),
    amount("AppleStandTime"),
    amount("BasalEnergyBurned"),
    vital("BloodGlucose", "2339-0"),
    vital("BloodPressureDiastolic", "8462-4"),
    vital("BloodPressureSystolic", "8480-6"),
    vital("BodyFatPercentage", "41982-0"),
    vital("BodyMass", "29463-7"),
    Quantity { unit: Some("kg/m2"), ..vital("BodyMassIndex", "39156-5") },
    vital("BodyTemperature", "8310-5"),
    amount("DistanceCycling"),
    amount("DistanceDownhillSnowSports"),
    amount("DistanceSwimming"),
    amount("DistanceWalkingRunning"),
    amount("DistanceWheelchair"),
    amount("FlightsClimbed"),
    vital("HeartRate", "8867-4"),
    vital("HeartRateVariabilitySDNN", "80404-7"),
    vital("Height", "8302-2"),
    amount("NikeFuel"),
    vital("OxygenSaturation", "59408-5"),
    amount("PushCount"),
    vital("RespiratoryRate", "9279-1"),
    vital("RestingHeartRate", "40443-4"),
    Quantity { loinc: "55423-8", daily: "41950-7", ..amount("StepCount") },
    amount("SwimmingStrokeCount"),
    amount("TimeInDaylight"),
];

/// UCUM codes of the units that Apple writes otherwise.
const UNITS: &[(&str, &str)] = &[
    ("%", "%"),
    ("Cal", "kcal"),
    ("IU", "[IU]"),
    ("count", "{count}"),
    ("count/min", "/min"),
    ("count/s", "/s"),
    ("dBASPL", "dB[SPL]"),
    ("degC", "Cel"),
    ("degF", "[degF]"),
    ("fl_oz_us", "[foz_us]"),
    ("ft", "[ft_i]"),
    ("hr", "h"),
    ("in", "[in_i]"),
    ("km/hr", "km/h"),
    ("lb", "[lb_av]"),
    ("mL/min·kg", "mL/min/kg"),
    ("mcg", "ug"),
    ("mi", "[mi_i]"),
    ("mi/hr", "[mi_i]/h"),
    ("mmHg", "mm[Hg]"),
    ("oz", "[oz_av]"),
    ("st", "[stone_av]"),
];

/// Reads an export.
///
/// # Errors
/// [`IntakeError`] where the XML cannot be read on; what was told before stays told.
pub(crate) fn read(stream: &mut dyn BufRead, sink: &mut dyn Sink) -> Result<(), IntakeError> {
    let mut xml = Xml::open(stream, Doctype::SkipTo("<HealthData")).map_err(super::xml_error)?;
    let mut export =
        Export { sink, seen: Seen::new(KEYS_PER_GENERATION), days: BTreeMap::new(), run: None, content: Vec::new() };
    let row = export.elements(&mut xml).map_err(super::xml_error)?;
    export.daily_totals(row);
    Ok(())
}

/// Copies the records that begin on one of the rows into an export of their own, below the owner.
pub(crate) fn aside(stream: &mut dyn BufRead, rows: &BTreeSet<u64>, out: &mut dyn Write) -> Result<(), IntakeError> {
    let unwritten = |error: std::io::Error| crate::unpack::broken(&error);
    let mut xml = Xml::open(stream, Doctype::SkipTo("<HealthData")).map_err(super::xml_error)?;
    let mut buffer = Vec::new();
    out.write_all(b"<HealthData>\n").map_err(unwritten)?;
    loop {
        match xml.next(&mut buffer).map_err(super::xml_error)? {
            Tag::Start(element)
                if element.name() == "Me"
                    || (rows.contains(&element.row) && !matches!(element.name(), "HealthData" | "Correlation")) =>
            {
                let parts = [b"<".as_slice(), element.content(), b"/>\n"];
                out.write_all(&parts.concat()).map_err(unwritten)?;
            }
            Tag::Eof => break,
            _ => {}
        }
    }
    out.write_all(b"</HealthData>\n").and_then(|()| out.flush()).map_err(unwritten)
}

struct Export<'s> {
    sink: &'s mut dyn Sink,
    seen: Seen,
    /// Sums by quantity, day and source: as many as there are days, however many records.
    days: BTreeMap<(usize, i32), Vec<Sum>>,
    /// The sum that grows: records of one kind, day and source follow each other.
    run: Option<((usize, i32), Sum)>,
    /// Bytes of the current item, kept to save allocations.
    content: Vec<u8>,
}

struct Sum {
    source: u64,
    total: f64,
    unit: String,
}

impl Export<'_> {
    /// Tells everything below the root; returns the last line.
    fn elements<R: BufRead>(&mut self, xml: &mut Xml<R>) -> Result<u64, BadXml> {
        let mut buffer = Vec::with_capacity(4096);
        // How deep units of input lie: below the root, or inside a correlation.
        let (mut depth, mut in_correlation) = (0_usize, false);
        loop {
            match xml.next(&mut buffer)? {
                Tag::Start(element) => {
                    let unit = depth == 1 || (depth == 2 && in_correlation);
                    if unit {
                        self.element(&element, depth == 1);
                        in_correlation |= depth == 1 && element.name() == "Correlation" && !element.empty;
                    }
                    depth += usize::from(!element.empty);
                }
                Tag::End => {
                    depth = depth.saturating_sub(1);
                    in_correlation &= depth > 1;
                }
                Tag::Text(_) | Tag::Other => {}
                Tag::Eof => return Ok(xml.row()),
            }
        }
    }

    fn element(&mut self, element: &Element<'_>, top: bool) {
        match element.name() {
            "Record" => self.record(element),
            "Workout" if top => self.workout(element),
            "ActivitySummary" if top => self.activity(element),
            "Me" if top => self.owner(element),
            // The records inside stand for it.
            "Correlation" if top => self.set_aside(element, "Correlation", Fate::Excluded(Excluded::ToldElsewhere)),
            "ExportDate" | "MetadataEntry" => {}
            // Whose FHIR resource lies in a file of its own beside the export.
            "ClinicalRecord" if top => self.set_aside(element, "ClinicalRecord", Fate::Unmapped(Unmapped::Kind)),
            "Audiogram" if top => self.set_aside(element, "Audiogram", Fate::Unmapped(Unmapped::Kind)),
            "VisionPrescription" if top => {
                self.set_aside(element, "VisionPrescription", Fate::Unmapped(Unmapped::Kind))
            }
            _ if top => self.set_aside(element, "other element", Fate::Unmapped(Unmapped::Kind)),
            _ => {}
        }
    }

    fn set_aside(&mut self, element: &Element<'_>, kind: &str, fate: Fate) {
        self.sink.begin(&ItemHead { row: element.row, kind, key: "", content: element.content() });
        self.sink.end(Some(fate));
    }

    fn record(&mut self, element: &Element<'_>) {
        let fields = Fields::of(element.attributes());
        fields.content(&mut self.content);
        self.sink.begin(&ItemHead { row: element.row, kind: "Record", key: "", content: &self.content });
        let outcome = if self.seen.again(key_of(&self.content)) {
            Err(Stop::Fate(Fate::Excluded(Excluded::Duplicate)))
        } else {
            self.measured(&fields, element.row)
        };
        conclude(self.sink, outcome);
    }

    fn measured(&mut self, fields: &Fields<'_>, row: u64) -> Result<(), Stop> {
        let place = || Place::row(row);
        if fields.kind.is_empty() {
            return Err(missing(place(), "Record/type"));
        }
        let start = time(fields.start, row, "Record/startDate")?.ok_or_else(|| missing(place(), "Record/startDate"))?;
        let end = time(fields.end, row, "Record/endDate")?;
        let Some(name) = fields.kind.strip_prefix("HKQuantityTypeIdentifier") else {
            // A category, such as a stage of sleep: its value is a word of HealthKit.
            let codes = [Code { system: HEALTHKIT, code: fields.kind }];
            let value = [Code { system: HEALTHKIT, code: fields.value }];
            let value = if fields.value.is_empty() { Value::None } else { Value::Codes(&value) };
            self.sink.event(&Event { codes: &codes, start: Some(start), end, value, ..event(Kind::Observation) });
            return Ok(());
        };
        if fields.value.is_empty() {
            return Err(missing(place(), "Record/value"));
        }
        let number: f64 = fields.value.parse().ok().filter(|number: &f64| number.is_finite()).ok_or_else(|| {
            let hint = "export again; if it stays, correct the entry in the Health app";
            Stop::from(Problem::new("IN101", "not a number", place().column("Record/value"), hint))
        })?;
        let at = QUANTITIES.binary_search_by(|quantity| quantity.name.cmp(name)).ok();
        let known = at.map(|at| &QUANTITIES[at]);
        let unit = known.and_then(|known| known.unit).unwrap_or_else(|| ucum(fields.unit));
        // HealthKit's percent is a fraction: 0.97 % of oxygen saturation is 97 %.
        let number = if unit == "%" && number.abs() <= 1.0 { number * 100.0 } else { number };
        let loinc = match known.map_or("", |known| known.loinc) {
            // Glucose by mass and by substance are two tests.
            "2339-0" if unit == "mmol/L" => "15074-8",
            loinc => loinc,
        };
        let codes = [Code { system: LOINC, code: loinc }, Code { system: HEALTHKIT, code: fields.kind }];
        let codes = if loinc.is_empty() { &codes[1..] } else { &codes };
        let value = Value::Number(number, Comparator::Equal);
        self.sink.event(&Event { codes, start: Some(start), end, value, unit, ..event(Kind::Measurement) });
        if let Some(at) = at.filter(|at| QUANTITIES[*at].cumulative) {
            let source = key_of(fields.source.as_bytes());
            let key = (at, start.day);
            match &mut self.run {
                Some((own, sum)) if *own == key && sum.source == source && sum.unit == unit => sum.total += number,
                _ => {
                    self.close_run();
                    self.run = Some((key, Sum { source, total: number, unit: unit.to_owned() }));
                }
            }
        }
        Ok(())
    }

    fn workout(&mut self, element: &Element<'_>) {
        let (mut activity, mut duration, mut duration_unit) = ("", "", "");
        let (mut distance, mut distance_unit, mut energy, mut energy_unit) = ("", "", "", "");
        let fields = Fields::of(element.attributes());
        for (name, value) in element.attributes() {
            match name {
                "workoutActivityType" => activity = value,
                "duration" => duration = value,
                "durationUnit" => duration_unit = value,
                "totalDistance" => distance = value,
                "totalDistanceUnit" => distance_unit = value,
                "totalEnergyBurned" => energy = value,
                "totalEnergyBurnedUnit" => energy_unit = value,
                _ => {}
            }
        }
        fields.content(&mut self.content);
        for part in [activity, duration, distance, energy] {
            self.content.extend_from_slice(part.as_bytes());
            self.content.push(0);
        }
        let row = element.row;
        self.sink.begin(&ItemHead { row, kind: "Workout", key: "", content: &self.content });
        let again = self.seen.again(key_of(&self.content));
        let sink = &mut *self.sink;
        let tell = |sink: &mut dyn Sink| -> Result<(), Stop> {
            if again {
                return Err(Stop::Fate(Fate::Excluded(Excluded::Duplicate)));
            }
            if activity.is_empty() {
                return Err(missing(Place::row(row), "Workout/workoutActivityType"));
            }
            let start = time(fields.start, row, "Workout/startDate")?;
            let start = start.ok_or_else(|| missing(Place::row(row), "Workout/startDate"))?;
            let end = time(fields.end, row, "Workout/endDate")?;
            let parts = [
                ("Workout/duration", duration, duration_unit, LOINC, "55411-3"),
                ("Workout/totalDistance", distance, distance_unit, HEALTHKIT, "HKWorkout.totalDistance"),
                ("Workout/totalEnergyBurned", energy, energy_unit, HEALTHKIT, "HKWorkout.totalEnergyBurned"),
            ];
            let mut numbers = [None; 3];
            for (number, (column, text, ..)) in numbers.iter_mut().zip(&parts) {
                *number = optional(text, row, column)?;
            }
            let kind = [Code { system: HEALTHKIT, code: activity }];
            for (number, (_, _, unit, system, code)) in numbers.into_iter().zip(parts) {
                // Even a workout without numbers took place.
                if number.is_none() && code != "55411-3" {
                    continue;
                }
                let codes = [Code { system, code }];
                let value = number.map_or(Value::None, |number| Value::Number(number, Comparator::Equal));
                let unit = if number.is_some() { ucum(unit) } else { "" };
                let more = More { qualifier: &kind, ..More::default() };
                sink.event(&Event {
                    codes: &codes,
                    start: Some(start),
                    end,
                    value,
                    unit,
                    more,
                    ..event(Kind::Measurement)
                });
            }
            Ok(())
        };
        let outcome = tell(sink);
        conclude(sink, outcome);
    }

    /// The rings of a day, as the watch summed them up. Goals are wishes and are left out.
    fn activity(&mut self, element: &Element<'_>) {
        const MEASURES: &[(&str, &str)] = &[
            ("activeEnergyBurned", "kcal"),
            ("appleMoveTime", "min"),
            ("appleExerciseTime", "min"),
            ("appleStandHours", "h"),
        ];
        let row = element.row;
        let find = |wanted: &str| {
            let mut attributes = element.attributes();
            attributes.find(|(name, _)| *name == wanted).map_or("", |(_, value)| value)
        };
        let day = find("dateComponents");
        self.sink.begin(&ItemHead { row, kind: "ActivitySummary", key: day, content: element.content() });
        let sink = &mut *self.sink;
        let tell = |sink: &mut dyn Sink| -> Result<(), Stop> {
            let start = time(day, row, "ActivitySummary/dateComponents")?;
            let start = start.ok_or_else(|| missing(Place::row(row), "ActivitySummary/dateComponents"))?;
            let mut numbers = [None; 4];
            for (number, (name, _)) in numbers.iter_mut().zip(MEASURES) {
                *number = optional(find(name), row, "ActivitySummary")?;
            }
            let energy_unit = match find("activeEnergyBurnedUnit") {
                "" => "kcal",
                unit => ucum(unit),
            };
            for (number, (name, unit)) in numbers.into_iter().zip(MEASURES) {
                let Some(number) = number else { continue };
                let code = format!("HKActivitySummary.{name}");
                let codes = [Code { system: HEALTHKIT, code: &code }];
                let value = Value::Number(number, Comparator::Equal);
                let unit = if *name == "activeEnergyBurned" { energy_unit } else { unit };
                sink.event(&Event { codes: &codes, start: Some(start), value, unit, ..event(Kind::Measurement) });
            }
            Ok(())
        };
        let outcome = tell(sink);
        conclude(sink, outcome);
    }

    fn owner(&mut self, element: &Element<'_>) {
        let (mut birth, mut sex, mut blood) = ("", "", "");
        for (name, value) in element.attributes() {
            match name {
                "HKCharacteristicTypeIdentifierDateOfBirth" => birth = value,
                "HKCharacteristicTypeIdentifierBiologicalSex" => sex = value,
                "HKCharacteristicTypeIdentifierBloodType" => blood = value,
                _ => {}
            }
        }
        let row = element.row;
        self.sink.begin(&ItemHead { row, kind: "Me", key: OWNER, content: element.content() });
        let outcome = time(birth, row, "Me/DateOfBirth").map(|birth| {
            let sex = match sex {
                "HKBiologicalSexFemale" => Sex::Female,
                "HKBiologicalSexMale" => Sex::Male,
                _ => Sex::Unknown,
            };
            self.sink.person(&Person { sex, birth, type_concept_id: PATIENT_REPORT, ..Person::new(OWNER) });
        });
        conclude(self.sink, outcome);
        if !matches!(blood, "" | "HKBloodTypeNotSet") {
            // Without a date: the sink holds it.
            self.sink.begin(&ItemHead { row, kind: "blood type", key: "blood type", content: blood.as_bytes() });
            let codes = [Code { system: LOINC, code: "882-1" }];
            let value = [Code { system: HEALTHKIT, code: blood }];
            self.sink.event(&Event { codes: &codes, value: Value::Codes(&value), ..event(Kind::Measurement) });
            self.sink.end(None);
        }
    }

    /// Adds the run to the sums of its day.
    fn close_run(&mut self) {
        let Some((key, run)) = self.run.take() else { return };
        let sums = self.days.entry(key).or_default();
        match sums.iter_mut().find(|sum| sum.source == run.source && sum.unit == run.unit) {
            Some(sum) => sum.total += run.total,
            None => sums.push(run),
        }
    }

    /// One sum for each day and quantity, from the source that saw most of it: sums of several sources count the same
    /// steps twice. Each is an item of its own after the last line, named by what it sums.
    fn daily_totals(&mut self, row: u64) {
        self.close_run();
        for ((at, day), sums) in std::mem::take(&mut self.days) {
            let most = sums.into_iter().reduce(|most, sum| if sum.total > most.total { sum } else { most });
            let (Some(most), quantity) = (most, &QUANTITIES[at]) else { continue };
            let local = format!("HKQuantityTypeIdentifier{}/day", quantity.name);
            let key = format!("{local}/{day}");
            let content = format!("{} {}", most.total, most.unit);
            self.sink.begin(&ItemHead { row, kind: "daily total", key: &key, content: content.as_bytes() });
            let codes = [Code { system: LOINC, code: quantity.daily }, Code { system: HEALTHKIT, code: &local }];
            let codes = if quantity.daily.is_empty() { &codes[1..] } else { &codes };
            let start = Some(When { day, ..When::default() });
            let value = Value::Number(most.total, Comparator::Equal);
            self.sink.event(&Event { codes, start, value, unit: &most.unit, ..event(Kind::Measurement) });
            self.sink.end(None);
        }
    }
}

fn event(kind: Kind) -> Event<'static> {
    Event { kind, person: OWNER, type_concept_id: PATIENT_REPORT, ..Event::default() }
}

fn time(text: &str, row: u64, column: &str) -> Result<Option<When>, Stop> {
    dashed_time(text).map_err(|error| bad_date(error, Place::row(row).column(column)).into())
}

fn missing(place: Place, column: &str) -> Stop {
    let hint = "export again; if it stays, the app that wrote the record left it out";
    Problem::new("IN105", "a value is required", place.column(column), hint).into()
}

fn optional(text: &str, row: u64, column: &str) -> Result<Option<f64>, Stop> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().ok().filter(|number: &f64| number.is_finite()).map(Some).ok_or_else(|| {
        let hint = "export again; if it stays, correct the entry in the Health app";
        Problem::new("IN101", "not a number", Place::row(row).column(column), hint).into()
    })
}

fn ucum(unit: &str) -> &str {
    // The most frequent ones, and those that are UCUM already.
    match unit {
        "count" => return "{count}",
        "count/min" => return "/min",
        "km" | "kcal" | "kg" | "min" => return unit,
        _ => {}
    }
    // `mmol<180.1558800000541>/L`: HealthKit writes the molar mass of glucose into the unit.
    if unit.starts_with("mmol<") && unit.ends_with("/L") || unit.starts_with("mmol&lt;") && unit.ends_with("/L") {
        return "mmol/L";
    }
    UNITS.iter().find(|(own, _)| *own == unit).map_or(unit, |(_, ucum)| ucum)
}

/// The attributes of a record that say what was measured, as they stand in the tag. Exports of iOS 8 have other names.
#[derive(Default)]
struct Fields<'a> {
    kind: &'a str,
    unit: &'a str,
    value: &'a str,
    source: &'a str,
    device: &'a str,
    start: &'a str,
    end: &'a str,
}

impl<'a> Fields<'a> {
    fn of(attributes: Attributes<'a>) -> Self {
        let mut fields = Self::default();
        for (name, value) in attributes {
            match name {
                "type" => fields.kind = value,
                "unit" => fields.unit = value,
                "value" => fields.value = value,
                "sourceName" | "source" => fields.source = value,
                "device" => fields.device = value,
                "startDate" => fields.start = value,
                "endDate" => fields.end = value,
                _ => {}
            }
        }
        fields
    }

    /// What makes two records the same: kind, value, time, source and device. Not when they were written, by which
    /// version, or at which address of memory the device's description lay: a restored phone repeats its records
    /// under new ones.
    fn content(&self, out: &mut Vec<u8>) {
        out.clear();
        for part in [self.kind, self.unit, self.value, self.source, self.start, self.end] {
            out.extend_from_slice(part.as_bytes());
            out.push(0);
        }
        // `HKDevice: 0x174294140`
        let address = memchr::memchr_iter(b'x', self.device.as_bytes()).find(|at| self.device[..*at].ends_with(": 0"));
        match address {
            Some(at) => {
                let after = self.device[at + 1..].trim_start_matches(|digit: char| digit.is_ascii_hexdigit());
                out.extend_from_slice(&self.device.as_bytes()[..at]);
                out.extend_from_slice(after.as_bytes());
            }
            None => out.extend_from_slice(self.device.as_bytes()),
        }
    }
}

/// A 64-bit key: among four million records two different ones share a key once in two million exports.
fn key_of(bytes: &[u8]) -> u64 {
    // The hasher need not be the same in another run: keys do not outlive this one.
    use std::hash::BuildHasher;
    let key = foldhash::quality::FixedState::with_seed(0).hash_one(bytes);
    // Zero marks an empty slot.
    key.max(1)
}

/// How many records a generation of [`Seen`] remembers.
const KEYS_PER_GENERATION: usize = 1 << 21;

/// Remembers 64-bit keys of records in constant memory: the last two to four million. A repetition further apart is not
/// noticed here, and is left to the check for duplicate rows.
struct Seen {
    now: Vec<u64>,
    before: Vec<u64>,
    keys: usize,
}

impl Seen {
    fn new(keys_per_generation: usize) -> Self {
        // Half full at most. Memory that was never written costs nothing.
        let slots = (keys_per_generation * 2).next_power_of_two();
        Self { now: vec![0; slots], before: vec![0; slots], keys: 0 }
    }

    /// Whether the key was there; now it is.
    fn again(&mut self, key: u64) -> bool {
        let mask = self.now.len() - 1;
        let find = |table: &[u64]| {
            let mut at = usize::try_from(key & mask as u64).unwrap_or(0);
            while table[at] != 0 && table[at] != key {
                at = (at + 1) & mask;
            }
            at
        };
        let at = find(&self.now);
        if self.now[at] == key {
            return true;
        }
        let again = self.before[find(&self.before)] == key;
        self.now[at] = key;
        self.keys += 1;
        if self.keys * 2 >= self.now.len() {
            std::mem::swap(&mut self.now, &mut self.before);
            self.now.fill(0);
            self.keys = 0;
        }
        again
    }
}

#[cfg(test)]
mod tests {
    use acequia_omop::{Collector, SourceFile, SourceValue};

    use super::*;

    fn file(records: &str) -> SourceFile {
        let text = format!(
            "<?xml version=\"1.0\"?>\n<!DOCTYPE HealthData [<!ENTITY x \"y\">\n<!ATTLIST broken>>]>\n<HealthData locale=\"en\">\n<Me HKCharacteristicTypeIdentifierDateOfBirth=\"1990-02-02\" HKCharacteristicTypeIdentifierBiologicalSex=\"HKBiologicalSexFemale\"/>\n{records}\n</HealthData>\n"
        );
        let mut sink = Collector::default();
        read(&mut text.as_bytes(), &mut sink).unwrap();
        sink.finish()
    }

    fn record(kind: &str, unit: &str, value: &str, device: &str) -> String {
        format!(
            "<Record type=\"{kind}\" sourceName=\"A\" device=\"{device}\" unit=\"{unit}\" startDate=\"2020-05-01 10:00:00 +0200\" endDate=\"2020-05-01 10:10:00 +0200\" value=\"{value}\"/>\n"
        )
    }

    #[track_caller]
    fn measured(kind: &str, unit: &str, value: &str, expected: (f64, &str, &str)) {
        let file = file(&record(kind, unit, value, ""));
        let event = &file.records[0].events[0];
        let number = if let Some(SourceValue::Number(number)) = event.value { number } else { f64::NAN };
        assert_eq!((number, event.unit.as_deref().unwrap_or_default(), event.codings[0].code.as_str()), expected);
    }

    #[test]
    fn units_and_codes_are_those_of_the_field() {
        measured("HKQuantityTypeIdentifierHeartRate", "count/min", "72", (72.0, "/min", "8867-4"));
        measured("HKQuantityTypeIdentifierOxygenSaturation", "%", "0.97", (97.0, "%", "59408-5"));
        measured("HKQuantityTypeIdentifierBodyMassIndex", "count", "22.5", (22.5, "kg/m2", "39156-5"));
        measured("HKQuantityTypeIdentifierBloodGlucose", "mg/dL", "90", (90.0, "mg/dL", "2339-0"));
        let molar = "mmol&lt;180.1558800000541&gt;/L";
        measured("HKQuantityTypeIdentifierBloodGlucose", molar, "5", (5.0, "mmol/L", "15074-8"));
        let local = "HKQuantityTypeIdentifierDietaryZinc";
        measured(local, "mg", "2", (2.0, "mg", local));
    }

    #[test]
    fn quantities_are_sorted_for_the_search() {
        assert!(QUANTITIES.is_sorted_by(|a, b| a.name < b.name));
    }

    #[test]
    fn the_same_record_from_another_address_of_memory_is_a_duplicate() {
        let device = |address: &str| format!("&lt;&lt;HKDevice: {address}&gt;, name:iPhone&gt;");
        let twice = record("HKQuantityTypeIdentifierStepCount", "count", "10", &device("0x174294140"))
            + &record("HKQuantityTypeIdentifierStepCount", "count", "10", &device("0x174294190"))
            + &format!(
                "<Correlation type=\"X\" startDate=\"2020-05-01 10:00:00 +0200\">{}</Correlation>",
                record("HKQuantityTypeIdentifierStepCount", "count", "10", &device("0x1"))
            );
        let file = file(&twice);
        let duplicates = file.items.iter().filter(|item| item.fate == Some(Fate::Excluded(Excluded::Duplicate)));
        assert_eq!(duplicates.count(), 2, "the second record, and the one in the correlation");
    }

    #[test]
    fn a_daily_total_comes_from_the_source_that_saw_most() {
        let step = |source: &str, value: u32, minute: u32| {
            format!(
                "<Record type=\"HKQuantityTypeIdentifierStepCount\" sourceName=\"{source}\" unit=\"count\" startDate=\"2020-05-01 10:{minute}:00 +0200\" endDate=\"2020-05-01 10:59:00 +0200\" value=\"{value}\"/>"
            )
        };
        let file = file(&[step("Phone", 10, 10), step("Phone", 20, 20), step("Watch", 25, 10)].concat());
        let daily: Vec<_> = file.records[0].events.iter().filter(|event| event.codings[0].code == "41950-7").collect();
        assert_eq!(daily.len(), 1);
        assert_eq!(daily[0].value, Some(SourceValue::Number(30.0)));
        assert_eq!(file.records[0].events.len(), 4, "every record stays as it is");
    }

    #[test]
    fn bad_records_are_told_by_line_and_attribute() {
        let bad = [
            record("HKQuantityTypeIdentifierStepCount", "count", "many", ""),
            record("", "count", "1", ""),
            record("HKQuantityTypeIdentifierStepCount", "count", "", ""),
            record("HKQuantityTypeIdentifierStepCount", "count", "1", "")
                .replace("2020-05-01 10:00:00", "2020-02-30 10:00:00"),
        ];
        let problems: Vec<_> = file(&bad.concat()).problems.iter().map(ToString::to_string).collect();
        assert_eq!(
            problems,
            [
                "row 6, column Record/value: not a number (IN101)",
                "row 7, column Record/type: a value is required (IN105)",
                "row 8, column Record/value: a value is required (IN105)",
                "row 9, column Record/startDate: no such day in the calendar (IN103)",
            ]
        );
    }

    #[test]
    fn exports_that_are_not_valid_are_read() {
        // iOS 8 wrote names with blanks and dates without dashes.
        let old = "<Record type=\"HKQuantityTypeIdentifierBodyMass\" source=\"Withings\" unit=\"kg\" startDate=\"20150616071820-0700\" endDate=\"20150616071820-0700\" Health Mate App Version=\"2.6.0\" value=\"70\"/><Record type=\"HKCategoryTypeIdentifierSleepAnalysis\" sourceName=\"A\u{b}\" value=\"HKCategoryValueSleepAnalysisAsleep\" startDate=\"2020-05-01 10:00:00 +0200\" endDate=\"2020-05-01 10:10:00 +0200\"/>";
        let file = file(old);
        assert_eq!((file.records[0].events.len(), file.problems.len()), (2, 0));
        assert_eq!(file.records[0].events[0].start.first_day().to_string(), "2015-06-16");
    }

    #[test]
    fn keys_are_remembered_over_two_generations() {
        let mut seen = Seen::new(4);
        assert!(!seen.again(1));
        assert!(seen.again(1));
        for key in 2..=5 {
            assert!(!seen.again(key));
        }
        assert!(seen.again(1), "one generation later");
        for key in 6..=20 {
            assert!(!seen.again(key));
        }
        assert!(!seen.again(1), "forgotten, which is why memory is constant");
    }
}
