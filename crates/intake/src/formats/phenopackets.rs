//! GA4GH phenopackets version 2 (ISO 4454:2022), one JSON object per line or one per file, told as events.
//!
//! A unit of input is the subject and each feature, disease, measurement and action. What was looked for and not found
//! (`excluded`) is no finding. Ages become dates only where the subject has a date of birth.

use std::borrow::Cow;
use std::io::{BufRead, Read};

use acequia_omop::{
    Code, Comparator, Event, Excluded, Fate, Held, ItemHead, Kind, More, Person, Precision, Sex, Sink, Unmapped, Value,
    When, day_number,
};
use acequia_types::{Place, Problem};
use chrono::{Days, Months};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::time::dashed_time;
use super::{Stop, bad_date, conclude, systems};
use crate::IntakeError;

/// OMOP type concept: case report form, which is what a published case is.
const CASE_REPORT: i64 = 32_809;
/// Longest phenopacket, in bytes.
const LONGEST_BYTES: usize = 64 * 1024 * 1024;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Phenopacket<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    subject: Subject<'a>,
    #[serde(borrow, default)]
    phenotypic_features: Vec<Feature<'a>>,
    #[serde(borrow, default)]
    measurements: Vec<Measurement<'a>>,
    #[serde(borrow, default)]
    diseases: Vec<Disease<'a>>,
    #[serde(borrow, default)]
    medical_actions: Vec<Action<'a>>,
    /// Kept raw with the original: no table takes them yet.
    #[serde(default)]
    interpretations: Vec<IgnoredAny>,
    #[serde(default)]
    biosamples: Vec<IgnoredAny>,
    #[serde(default)]
    files: Vec<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Subject<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow, default)]
    date_of_birth: Cow<'a, str>,
    #[serde(borrow, default)]
    time_at_last_encounter: Option<Time<'a>>,
    #[serde(borrow, default)]
    vital_status: Option<VitalStatus<'a>>,
    #[serde(borrow, default)]
    sex: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct VitalStatus<'a> {
    #[serde(borrow, default)]
    status: Cow<'a, str>,
    #[serde(borrow, default)]
    time_of_death: Option<Time<'a>>,
}

#[derive(Deserialize)]
struct Term<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow, default)]
    label: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Feature<'a> {
    #[serde(borrow, rename = "type")]
    term: Term<'a>,
    #[serde(default)]
    excluded: bool,
    #[serde(borrow, default)]
    severity: Option<Term<'a>>,
    #[serde(borrow, default)]
    modifiers: Vec<Term<'a>>,
    #[serde(borrow, default)]
    onset: Option<Time<'a>>,
    #[serde(borrow, default)]
    resolution: Option<Time<'a>>,
}

#[derive(Deserialize)]
struct Disease<'a> {
    #[serde(borrow)]
    term: Term<'a>,
    #[serde(default)]
    excluded: bool,
    #[serde(borrow, default)]
    onset: Option<Time<'a>>,
    #[serde(borrow, default)]
    resolution: Option<Time<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Measurement<'a> {
    #[serde(borrow)]
    assay: Term<'a>,
    #[serde(borrow, default)]
    value: Option<Measured<'a>>,
    #[serde(borrow, default)]
    time_observed: Option<Time<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Measured<'a> {
    #[serde(borrow, default)]
    quantity: Option<Quantity<'a>>,
    #[serde(borrow, default)]
    ontology_class: Option<Term<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Quantity<'a> {
    #[serde(borrow, default)]
    unit: Option<Term<'a>>,
    value: f64,
    #[serde(default)]
    reference_range: Option<Range>,
}

#[derive(Deserialize)]
struct Range {
    #[serde(default)]
    low: Option<f64>,
    #[serde(default)]
    high: Option<f64>,
}

#[derive(Deserialize)]
struct Action<'a> {
    #[serde(borrow, default)]
    procedure: Option<Procedure<'a>>,
    #[serde(borrow, default)]
    treatment: Option<Treatment<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Procedure<'a> {
    #[serde(borrow)]
    code: Term<'a>,
    #[serde(borrow, default)]
    body_site: Option<Term<'a>>,
    #[serde(borrow, default)]
    performed: Option<Time<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Treatment<'a> {
    #[serde(borrow)]
    agent: Term<'a>,
    #[serde(borrow, default)]
    route_of_administration: Option<Term<'a>>,
    #[serde(borrow, default)]
    dose_intervals: Vec<DoseInterval<'a>>,
}

#[derive(Deserialize)]
struct DoseInterval<'a> {
    #[serde(borrow, default)]
    interval: Option<Interval<'a>>,
}

#[derive(Deserialize)]
struct Interval<'a> {
    #[serde(borrow, default)]
    start: Cow<'a, str>,
    #[serde(borrow, default)]
    end: Cow<'a, str>,
}

/// A time element. Gestational ages, age ranges and words for a time of life are no dates.
#[derive(Deserialize)]
struct Time<'a> {
    #[serde(borrow, default)]
    age: Option<Age<'a>>,
    #[serde(borrow, default)]
    timestamp: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    interval: Option<Interval<'a>>,
}

#[derive(Deserialize)]
struct Age<'a> {
    #[serde(borrow, default, rename = "iso8601duration")]
    duration: Cow<'a, str>,
}

/// Reads phenopackets.
///
/// # Errors
/// [`IntakeError::Empty`] when there is none, [`IntakeError::Archive`] when the stream breaks.
pub(crate) fn read(stream: &mut dyn BufRead, sink: &mut dyn Sink) -> Result<(), IntakeError> {
    let (mut line, mut row, mut any) = (Vec::new(), 0, false);
    loop {
        line.clear();
        let whole = next_line(stream, &mut line)?;
        if line.is_empty() {
            return if any { Ok(()) } else { Err(IntakeError::Empty) };
        }
        row += 1;
        if row == 1 && line.starts_with(&[0xef, 0xbb, 0xbf]) {
            line.drain(..3);
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let first_row = row;
        if !any && whole && matches!(serde_json::from_slice::<IgnoredAny>(&line), Err(error) if error.is_eof()) {
            // One object over many lines.
            let limit = LONGEST_BYTES - line.len().min(LONGEST_BYTES);
            stream.take(limit as u64 + 1).read_to_end(&mut line).map_err(|error| crate::unpack::broken(&error))?;
        }
        any = true;
        if sink.known(&line) {
            continue;
        }
        match parse(&line, whole, first_row) {
            Ok(packet) => Teller { packet: &packet, row: first_row, sink }.tell(),
            Err(problem) => {
                sink.begin(&ItemHead { row: first_row, kind: "phenopacket", key: "", content: &line });
                conclude(sink, Err(problem.into()));
            }
        }
    }
}

/// Reads a line into `line`; `false` if it was too long, and then it is cut.
fn next_line(stream: &mut dyn BufRead, line: &mut Vec<u8>) -> Result<bool, IntakeError> {
    let broken = |error: std::io::Error| crate::unpack::broken(&error);
    stream.take(LONGEST_BYTES as u64).read_until(b'\n', line).map_err(broken)?;
    if line.len() < LONGEST_BYTES || line.ends_with(b"\n") {
        return Ok(true);
    }
    loop {
        let available = stream.fill_buf().map_err(broken)?;
        let end = memchr::memchr(b'\n', available);
        let taken = end.map_or(available.len(), |at| at + 1);
        let ended = end.is_some() || available.is_empty();
        stream.consume(taken);
        if ended {
            return Ok(false);
        }
    }
}

fn parse(bytes: &[u8], whole: bool, row: u64) -> Result<Phenopacket<'_>, Problem> {
    if !whole || bytes.len() > LONGEST_BYTES {
        let what = format!("the phenopacket is longer than {LONGEST_BYTES} bytes");
        return Err(Problem::new("IN134", what, Place::row(row), "split the record, or leave files out of it"));
    }
    serde_json::from_slice(bytes.trim_ascii_end()).map_err(|error| {
        // The message of the parser may repeat a value.
        let row = row + error.line().saturating_sub(1) as u64;
        let what = match error.classify() {
            serde_json::error::Category::Data => {
                "an element is missing, twice there or of another type than in the standard"
            }
            _ => "the JSON is not well-formed",
        };
        let place = Place::row(row).column(&format!("character {}", error.column()));
        Problem::new("IN136", what, place, "check the record with a validator of phenopackets, version 2")
    })
}

struct Teller<'p, 's> {
    packet: &'p Phenopacket<'p>,
    row: u64,
    sink: &'s mut dyn Sink,
}

impl Teller<'_, '_> {
    fn tell(mut self) {
        let packet = self.packet;
        // Numbers of subjects are those of a publication; with the packet's they are unique.
        let key = format!("{}|{}", packet.subject.id, packet.id);
        let mut birth = None;
        self.item("subject", 0, |row, sink| {
            birth = subject(&packet.subject, &key, row, sink)?;
            Ok(())
        });
        let last = packet.subject.time_at_last_encounter.as_ref();
        let begun = |own: Option<&Time<'_>>, row, name: &str| -> Result<Option<When>, Stop> {
            match own.map(|own| moment(own, birth, row, name)).transpose()?.flatten() {
                Some(start) => Ok(Some(start)),
                // What is recorded was so at the last encounter at the latest.
                None => Ok(last.map(|last| moment(last, birth, row, "timeAtLastEncounter")).transpose()?.flatten()),
            }
        };
        let ended = |own: Option<&Time<'_>>, row, name: &str| own.map_or(Ok(None), |own| moment(own, birth, row, name));
        let event = Event { person: &key, type_concept_id: CASE_REPORT, ..Event::default() };
        let not_there = || Err(Stop::Fate(Fate::Excluded(Excluded::DidNotHappen)));

        for (at, feature) in packet.phenotypic_features.iter().enumerate() {
            self.item("phenotypicFeature", at, |row, sink| {
                if feature.excluded {
                    return not_there();
                }
                let start = begun(feature.onset.as_ref(), row, "phenotypicFeatures.onset")?;
                let end = ended(feature.resolution.as_ref(), row, "phenotypicFeatures.resolution")?;
                let qualifier: Vec<Code<'_>> = feature.severity.iter().chain(&feature.modifiers).map(code).collect();
                let more = More { qualifier: &qualifier, ..More::default() };
                let (codes, text) = ([code(&feature.term)], &*feature.term.label);
                sink.event(&Event { kind: Kind::Condition, codes: &codes, text, start, end, more, ..event });
                Ok(())
            });
        }
        for (at, disease) in packet.diseases.iter().enumerate() {
            self.item("disease", at, |row, sink| {
                if disease.excluded {
                    return not_there();
                }
                let start = begun(disease.onset.as_ref(), row, "diseases.onset")?;
                let end = ended(disease.resolution.as_ref(), row, "diseases.resolution")?;
                let (codes, text) = ([code(&disease.term)], &*disease.term.label);
                sink.event(&Event { kind: Kind::Condition, codes: &codes, text, start, end, ..event });
                Ok(())
            });
        }
        for (at, measurement) in packet.measurements.iter().enumerate() {
            self.item("measurement", at, |row, sink| {
                let start = begun(measurement.time_observed.as_ref(), row, "measurements.timeObserved")?;
                let (codes, text) = ([code(&measurement.assay)], &*measurement.assay.label);
                let event = Event { kind: Kind::Measurement, codes: &codes, text, start, ..event };
                let value = measurement.value.as_ref();
                if let Some(quantity) = value.and_then(|value| value.quantity.as_ref()) {
                    let unit = quantity.unit.as_ref().map_or("", |unit| code(unit).code);
                    let range = quantity.reference_range.as_ref().map_or((None, None), |range| (range.low, range.high));
                    let value = Value::Number(quantity.value, Comparator::Equal);
                    sink.event(&Event { value, unit, range, ..event });
                } else if let Some(term) = value.and_then(|value| value.ontology_class.as_ref()) {
                    sink.event(&Event { value: Value::Codes(&[code(term)]), ..event });
                } else {
                    // A value of another kind: a pair of quantities, for instance.
                    return Err(Stop::Fate(Fate::Unmapped(Unmapped::Kind)));
                }
                Ok(())
            });
        }
        for (at, action) in packet.medical_actions.iter().enumerate() {
            self.item("medicalAction", at, |row, sink| {
                if let Some(procedure) = &action.procedure {
                    let performed = procedure.performed.as_ref();
                    let start = ended(performed, row, "medicalActions.procedure.performed")?;
                    let (codes, text) = ([code(&procedure.code)], &*procedure.code.label);
                    let site: Vec<Code<'_>> = procedure.body_site.iter().map(code).collect();
                    let more = More { site: &site, ..More::default() };
                    sink.event(&Event { kind: Kind::Procedure, codes: &codes, text, start, more, ..event });
                } else if let Some(treatment) = &action.treatment {
                    let intervals = || treatment.dose_intervals.iter().filter_map(|dose| dose.interval.as_ref());
                    let name = "medicalActions.treatment.doseIntervals";
                    let first = intervals().next().map_or("", |interval| &interval.start);
                    let last = intervals().next_back().map_or("", |interval| &interval.end);
                    let (start, end) = (stamp(first, row, name)?, stamp(last, row, name)?);
                    let (codes, text) = ([code(&treatment.agent)], &*treatment.agent.label);
                    let route: Vec<Code<'_>> = treatment.route_of_administration.iter().map(code).collect();
                    let more = More { site: &route, ..More::default() };
                    sink.event(&Event { kind: Kind::Drug, codes: &codes, text, start, end, more, ..event });
                } else {
                    return Err(Stop::Fate(Fate::Unmapped(Unmapped::Kind)));
                }
                Ok(())
            });
        }
        let raw = [
            ("interpretation", packet.interpretations.len()),
            ("biosample", packet.biosamples.len()),
            ("file", packet.files.len()),
        ];
        for (kind, count) in raw {
            for at in 0..count {
                self.item(kind, at, |_, _| Err(Stop::Fate(Fate::Unmapped(Unmapped::Kind))));
            }
        }
    }

    fn item(&mut self, kind: &str, at: usize, tell: impl FnOnce(u64, &mut dyn Sink) -> Result<(), Stop>) {
        let key = format!("{}/{at}", self.packet.id);
        self.sink.begin(&ItemHead { row: self.row, kind, key: &key, content: b"" });
        let outcome = tell(self.row, self.sink);
        conclude(self.sink, outcome);
    }
}

/// Tells the subject and returns her birth.
fn subject(subject: &Subject<'_>, key: &str, row: u64, sink: &mut dyn Sink) -> Result<Option<When>, Stop> {
    let birth = stamp(&subject.date_of_birth, row, "subject.dateOfBirth")?;
    // A timestamp is what the standard has; the time of day of a birth is not meant by it.
    let birth = birth.map(|birth| match birth.precision {
        Precision::Second => When { day: birth.day, ..When::default() },
        _ => birth,
    });
    let status = subject.vital_status.as_ref();
    let died = status.and_then(|status| status.time_of_death.as_ref());
    let died = died.map(|died| moment(died, birth, row, "subject.vitalStatus.timeOfDeath")).transpose()?.flatten();
    let (sex, sex_source) = match &*subject.sex {
        "FEMALE" => (Sex::Female, "FEMALE"),
        "MALE" => (Sex::Male, "MALE"),
        "OTHER_SEX" => (Sex::Unknown, "OTHER_SEX"),
        _ => (Sex::Unknown, ""),
    };
    if died.is_none() && birth.is_some() && status.is_some_and(|status| status.status == "DECEASED") {
        // Dead on an unknown day: counting her as alive would be wrong, and so would any day.
        return Err(Stop::Fate(Fate::Held(Held::NoDate)));
    }
    sink.person(&Person { sex, sex_source, birth, death: died, type_concept_id: CASE_REPORT, ..Person::new(key) });
    Ok(birth)
}

/// Systems of the prefixes of compact identifiers, and whether the prefix is part of the code.
const PREFIXES: &[(&str, &str, bool)] = &[
    ("HP", "http://human-phenotype-ontology.org", true),
    ("MONDO", "http://purl.obolibrary.org/obo/mondo.owl", true),
    ("OMIM", "http://www.omim.org", false),
    ("ORPHA", "http://www.orpha.net", false),
    ("LOINC", systems::LOINC, false),
    ("SNOMED", systems::SNOMED, false),
    ("SNOMEDCT", systems::SNOMED, false),
    ("SCTID", systems::SNOMED, false),
    ("UCUM", "http://unitsofmeasure.org", false),
    ("RXNORM", "http://www.nlm.nih.gov/research/umls/rxnorm", false),
    ("NCIT", "http://ncicb.nci.nih.gov/xml/owl/EVS/Thesaurus.owl", false),
];

fn code<'t>(term: &'t Term<'_>) -> Code<'t> {
    let Some((prefix, local)) = term.id.split_once(':') else { return Code { system: "", code: &term.id } };
    match PREFIXES.iter().find(|(own, ..)| own.eq_ignore_ascii_case(prefix)) {
        Some((_, system, true)) => Code { system, code: &term.id },
        Some((_, system, false)) => Code { system, code: local },
        None => Code { system: prefix, code: local },
    }
}

fn stamp(text: &str, row: u64, column: &str) -> Result<Option<When>, Stop> {
    dashed_time(text).map_err(|error| bad_date(error, Place::row(row).column(column)).into())
}

/// The moment of a time element, if it is one.
fn moment(time: &Time<'_>, birth: Option<When>, row: u64, column: &str) -> Result<Option<When>, Stop> {
    if let Some(text) = &time.timestamp {
        return stamp(text, row, column);
    }
    if let Some(interval) = &time.interval {
        return stamp(&interval.start, row, column);
    }
    let Some(age) = &time.age else { return Ok(None) };
    let duration = Duration::parse(&age.duration).ok_or_else(|| {
        let what = "not a duration of the form P1Y2M3D";
        Problem::new("IN104", what, Place::row(row).column(column), "write ages as ISO 8601 durations")
    })?;
    Ok(birth.and_then(|birth| duration.after(birth)))
}

/// An age: completed years, months and days.
#[derive(Debug, PartialEq, Eq, Default)]
struct Duration {
    months: u32,
    days: u64,
    precision: Precision,
}

impl Duration {
    /// `P[nY][nM][nW][nD][T…]` (ISO 8601-1 §5.5.2.2); what is below a day does not count.
    fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix('P')?;
        let date = text.split_once('T').map_or(text, |(date, _)| date);
        let mut duration = Self { precision: Precision::Year, ..Self::default() };
        let mut number = String::new();
        for character in date.chars() {
            if character.is_ascii_digit() {
                number.push(character);
                continue;
            }
            let count: u32 = number.parse().ok().filter(|count| *count < 100_000)?;
            number.clear();
            let precision = match character {
                'Y' => {
                    duration.months += count * 12;
                    Precision::Year
                }
                'M' => {
                    duration.months += count;
                    Precision::Month
                }
                'W' => {
                    duration.days += u64::from(count) * 7;
                    Precision::Day
                }
                'D' => {
                    duration.days += u64::from(count);
                    Precision::Day
                }
                _ => return None,
            };
            duration.precision = duration.precision.max(precision);
        }
        (number.is_empty() && !text.is_empty()).then_some(duration)
    }

    /// The first day on which somebody born then has this age. Known no better than birth and age are.
    fn after(&self, birth: When) -> Option<When> {
        let day = birth.calendar_day().checked_add_months(Months::new(self.months))?;
        let day = day.checked_add_days(Days::new(self.days))?;
        let precision = self.precision.min(birth.precision).min(Precision::Day);
        Some(When { day: day_number(day), precision, ..When::default() })
    }
}

#[cfg(test)]
mod tests {
    use acequia_omop::{Collector, SourceFile};

    use super::*;

    fn file(text: &str) -> SourceFile {
        let mut sink = Collector::default();
        read(&mut text.as_bytes(), &mut sink).unwrap();
        sink.finish()
    }

    const PACKET: &str = r#"{"id":"P1","subject":{"id":"7","sex":"FEMALE","dateOfBirth":"2001-05-06T00:00:00Z"},
"phenotypicFeatures":[{"type":{"id":"HP:0000348","label":"High forehead"},"onset":{"age":{"iso8601duration":"P6Y"}}},
{"type":{"id":"HP:0000243","label":"Trigonocephaly"},"excluded":true}],
"diseases":[{"term":{"id":"OMIM:101600","label":"Pfeiffer syndrome"},"onset":{"ontologyClass":{"id":"HP:0003577"}}}],
"measurements":[{"assay":{"id":"LOINC:2345-7"},"value":{"quantity":{"unit":{"id":"UCUM:mg/dL"},"value":90,"referenceRange":{"low":70,"high":100}}},"timeObserved":{"timestamp":"2010-01-02T10:00:00Z"}}],
"interpretations":[{"id":"i"}],"metaData":{}}"#;

    #[test]
    fn a_packet_over_many_lines_or_one_says_the_same() {
        let (many, one) = (file(PACKET), file(&(PACKET.replace('\n', "") + "\n")));
        assert_eq!(many.records, one.records);
        let record = &one.records[0];
        assert_eq!((record.person.key.as_str(), record.person.sex), ("7|P1", Sex::Female));
        assert_eq!(record.events.len(), 2, "{:?}", one.items);
        // Six completed years: the first day she was six.
        assert_eq!(record.events[0].details.at.0.unwrap().calendar_day().to_string(), "2007-05-06");
        assert_eq!(record.events[0].details.at.0.unwrap().precision, Precision::Year);
        assert_eq!(
            (record.events[1].codings[0].code.as_str(), record.events[1].details.range.1),
            ("2345-7", Some(100.0))
        );
    }

    #[test]
    fn what_was_looked_for_and_not_found_is_no_finding() {
        let file = file(PACKET);
        let fates: Vec<_> = file.items.iter().map(|item| (item.kind.as_str(), item.fate.clone())).collect();
        assert_eq!(fates[2], ("phenotypicFeature", Some(Fate::Excluded(Excluded::DidNotHappen))));
        assert_eq!(fates[3], ("disease", Some(Fate::Held(Held::NoDate))), "congenital is no date");
        assert_eq!(fates[5], ("interpretation", Some(Fate::Unmapped(Unmapped::Kind))));
        assert!(!file.records[0].events.iter().any(|event| event.codings[0].code == "HP:0000243"));
    }

    #[test]
    fn a_bad_line_is_rejected_alone() {
        let good = PACKET.replace('\n', "");
        let text = format!("{good}\n{{\"id\":\"secret\",\"subject\":5}}\n{{\"id\"\n{good}\n");
        let file = file(&text);
        let problems: Vec<_> = file.problems.iter().map(ToString::to_string).collect();
        assert_eq!(
            problems,
            [
                "row 2, column character 26: an element is missing, twice there or of another type than in the standard (IN136)",
                "row 3, column character 5: the JSON is not well-formed (IN136)",
            ]
        );
        assert_eq!(file.records.len(), 2);
    }

    #[test]
    fn durations_are_completed_times() {
        let parse = |text| Duration::parse(text).map(|duration| (duration.months, duration.days, duration.precision));
        assert_eq!(parse("P6Y"), Some((72, 0, Precision::Year)));
        assert_eq!(parse("P1Y2M3D"), Some((14, 3, Precision::Day)));
        assert_eq!(parse("P2W"), Some((0, 14, Precision::Day)));
        assert_eq!(parse("P0D"), Some((0, 0, Precision::Day)));
        for bad in ["", "P", "6Y", "P6", "PY", "P-1Y", "P999999Y"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn nesting_without_end_is_an_error_not_a_crash() {
        let deep = format!("{{\"id\":{}", "[".repeat(200_000));
        assert_eq!(file(&deep).problems[0].code, "IN136");
    }
}
