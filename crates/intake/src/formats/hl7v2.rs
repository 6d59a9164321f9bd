//! HL7 v2 messages (HL7 v2.9; chapters named at each function) told as events.
//!
//! A unit of input is a segment that says something about the patient. `RXR` belongs to its `RXA`, `NTE` and the text of
//! a document (`OBX` after `TXA`) are told as what they are. A message whose head cannot be read is one unit, rejected
//! whole, with its lines for the quarantine.

use std::borrow::Cow;
use std::io::BufRead;

use acequia_omop::{
    Code, Comparator, Event, Excluded, Fate, Held, ItemHead, Kind, More, Party, Person, Sex, Sink, Unmapped, Value,
    When,
};
use acequia_types::{Place, Problem};

use super::er7::{BadMessage, Between, Field, LONGEST_MESSAGE_BYTES, Message, Messages, Next, Raw, Segment};
use super::time::hl7_time;
use super::{Stop, bad_date, conclude, systems};
use crate::IntakeError;

/// OMOP type concept: EHR.
const EHR: i64 = 32_817;

/// Segments that say who sent, ordered, paid or is related: nothing clinical about the patient.
const ADMINISTRATIVE: &[&str] = &[
    "MSH", "EVN", "PD1", "NK1", "MSA", "ERR", "SFT", "UAC", "ARV", "ROL", "PRT", "GT1", "IN1", "IN2", "IN3", "MRG",
    "QAK", "QPD", "DSC", "BLG", "FT1", "PDA", "CON", "CTD", "CTI", "TQ1", "TQ2",
];
/// Segments that order something: an intent is no event.
const ORDERS: &[&str] = &["ORC", "OBR", "RXO", "RXE", "RXC", "ODS", "RQD", "AIS", "SCH"];
/// Other segments of the standard; whatever is neither is named by its kind only.
const CLINICAL: &[&str] = &[
    "PID", "PV1", "PV2", "DG1", "AL1", "IAM", "PR1", "OBX", "NTE", "RXA", "RXR", "RXD", "RXG", "SPM", "SAC", "TXA",
    "DB1", "ACC", "DRG", "GOL", "PRB", "PTH", "VAR", "SID", "IPC", "FAC", "PES", "PEO", "PCR", "PSH", "PDC", "CSR",
    "CSP", "CSS",
];

/// Reads a stream of messages and tells what they say.
///
/// # Errors
/// [`IntakeError::Empty`] when there is no message, [`IntakeError::Archive`] when the stream breaks.
pub(crate) fn read(stream: &mut dyn BufRead, sink: &mut dyn Sink) -> Result<(), IntakeError> {
    let mut messages = Messages::new(stream);
    let mut raw = Raw::default();
    let mut count = 0_u64;
    loop {
        match messages.next(&mut raw).map_err(|error| crate::unpack::broken(&error))? {
            Next::Message => {
                count += 1;
                one(&raw, sink);
            }
            Next::Between(Between::Batch(stated), row) => {
                sink.begin(&ItemHead { row, kind: "batch", ..ItemHead::default() });
                if let Some(stated) = stated.filter(|stated| *stated != count) {
                    let what = format!("the batch states {stated} messages, and {count} came");
                    let hint = "fetch the batch again; part of it may be missing";
                    sink.problem(Problem::new("IN135", what, Place::row(row).column("BTS-1"), hint));
                }
                if stated.is_some() {
                    count = 0;
                }
                sink.end(Some(Fate::Excluded(Excluded::Administrative)));
            }
            Next::Between(Between::Stray, row) => {
                sink.begin(&ItemHead { row, kind: "line", ..ItemHead::default() });
                let hint = "remove the line, or put it where it belongs";
                let what = "the line belongs to no message";
                conclude(sink, Err(Problem::new("IN132", what, Place::row(row), hint).into()));
            }
            Next::End if messages.is_empty() => return Err(IntakeError::Empty),
            Next::End => return Ok(()),
        }
    }
}

/// One message.
fn one(raw: &Raw, sink: &mut dyn Sink) {
    let text = if raw.too_long { Err(BadMessage::TooLong) } else { raw.text() };
    let message = match &text {
        Ok(text) => Message::parse(text, raw.row),
        Err(bad) => Err(*bad),
    };
    let message = message.map_err(|bad| head_problem(bad, raw.row)).and_then(|message| {
        let kind = message.first("MSH").map(|msh| msh.field(9).component(1));
        if kind.is_none_or(|kind| kind.is_empty()) {
            let hint = "let the sender fill MSH-9, such as ORU^R01";
            let place = Place::row(raw.row).column("MSH-9");
            return Err(Problem::new("IN131", "the message does not say what it is", place, hint));
        }
        Ok(message)
    });
    match message {
        Ok(message) => Context::default().tell(&message, sink),
        Err(problem) => {
            sink.begin(&ItemHead { row: raw.row, kind: "message", key: "", content: &raw.bytes });
            conclude(sink, Err(problem.into()));
        }
    }
}

fn head_problem(bad: BadMessage, row: u64) -> Problem {
    let at = |row| Place::row(row);
    match bad {
        BadMessage::Separators => Problem::new(
            "IN130",
            "the header does not state the separators",
            at(row).column("MSH-2"),
            "let the sender fill MSH-1 and MSH-2, usually |^~\\&",
        ),
        BadMessage::Line(row) => Problem::new(
            "IN132",
            "the line is no segment",
            at(row),
            "write line breaks inside a field as \\.br\\, and begin every segment on its own line",
        ),
        BadMessage::Encoding(row) => Problem::new(
            "IN133",
            "the text is not UTF-8, and MSH-18 names no other character set that is read",
            at(row),
            "send UTF-8, or state 8859/1 in MSH-18",
        ),
        BadMessage::TooLong => Problem::new(
            "IN134",
            format!("the message is longer than {LONGEST_MESSAGE_BYTES} bytes"),
            at(row),
            "send documents by reference instead of inside the message",
        ),
    }
}

/// What the segments before say about those that follow.
#[derive(Default)]
struct Context {
    /// Message type and event: `ADT`, `A01`.
    kind: String,
    trigger: String,
    /// Person of the current patient group.
    person: String,
    visit: String,
    /// EVN-6 or EVN-2.
    event_time: String,
    /// OBR-7, and the key of the report.
    observed: String,
    report: String,
}

impl Context {
    fn tell(&mut self, message: &Message<'_>, sink: &mut dyn Sink) {
        let header = message.first("MSH").map(|msh| msh.field(9));
        self.kind = header.map(|kind| kind.component(1).into_owned()).unwrap_or_default();
        self.trigger = header.map(|kind| kind.component(2).into_owned()).unwrap_or_default();
        let control = message.first("MSH").map(|msh| msh.field(10).text().into_owned()).unwrap_or_default();
        let mut at = 0;
        while let Some(segment) = message.segments.get(at) {
            let after = &message.segments[at + 1..];
            // A document: its text stands in the OBX segments after TXA.
            let belongs = match segment.name {
                "TXA" => after.iter().take_while(|next| matches!(next.name, "OBX" | "NTE")).count(),
                "RXA" => after.iter().take_while(|next| next.name == "RXR").count(),
                _ => 0,
            };
            self.segment(segment, &after[..belongs], &control, sink);
            at += 1 + belongs;
        }
    }

    fn segment(&mut self, segment: &Segment<'_>, parts: &[Segment<'_>], control: &str, sink: &mut dyn Sink) {
        let place = Place::row(segment.row);
        let known = [ADMINISTRATIVE, ORDERS, CLINICAL].iter().any(|list| list.contains(&segment.name));
        let kind = match segment.name {
            name if known => name,
            name if name.starts_with('Z') => "Z segment",
            _ => "other segment",
        };
        let content = segment.content();
        let key = match segment.name {
            "OBX" => {
                let (set, code, part) =
                    (segment.field(1).text(), segment.field(3).component(1), segment.field(4).text());
                format!("{}/{set}/{code}/{part}", self.report)
            }
            "PV1" => segment.field(19).component(1).into_owned(),
            "PID" => identifier(segment).unwrap_or_default(),
            _ => String::new(),
        };
        // Without a report number an observation has no key that a re-export would repeat.
        let key = if segment.name == "OBX" && self.report.is_empty() { String::new() } else { key };
        sink.begin(&ItemHead { row: segment.row, kind, key: &key, content: content.as_bytes() });
        let outcome = match segment.name {
            "PID" => self.patient(segment, &place, sink),
            "PV1" => self.visit(segment, &place, control, sink),
            "DG1" => self.diagnosis(segment, &place, sink),
            "AL1" => self.allergy(segment, &place, sink),
            "PR1" => self.procedure(segment, &place, sink),
            "OBX" => self.observation(segment, &place, sink),
            "RXA" => self.administration(segment, parts, &place, sink),
            "SPM" => self.specimen(segment, &place, sink),
            "TXA" => self.document(segment, parts, &place, sink),
            name => {
                match name {
                    "EVN" => {
                        let occurred = segment.field(6).component(1);
                        self.event_time =
                            if occurred.is_empty() { segment.field(2).component(1) } else { occurred }.into_owned();
                    }
                    "OBR" => {
                        self.observed = segment.field(7).component(1).into_owned();
                        let filler = segment.field(3).component(1);
                        let filler =
                            if filler.is_empty() { segment.field(2).component(1) } else { filler }.into_owned();
                        // Orders of one panel may share a number.
                        self.report = match filler.as_str() {
                            "" => filler,
                            filler => format!("{filler}/{}", segment.field(4).component(1)),
                        };
                    }
                    _ => {}
                }
                // In a result message the order stands for the report whose observations follow.
                let in_results = matches!(self.kind.as_str(), "ORU" | "MDM" | "VXU" | "OUL");
                let fate = if ADMINISTRATIVE.contains(&name) {
                    Fate::Excluded(Excluded::Administrative)
                } else if ORDERS.contains(&name) {
                    Fate::Excluded(if in_results { Excluded::ToldElsewhere } else { Excluded::Plan })
                } else {
                    Fate::Unmapped(Unmapped::Kind)
                };
                Err(Stop::Fate(fate))
            }
        };
        conclude(sink, outcome);
    }

    fn event(&self, kind: Kind) -> Event<'_> {
        Event { kind, person: &self.person, visit: &self.visit, type_concept_id: EHR, ..Event::default() }
    }

    /// PID (chapter 3.4.2).
    fn patient(&mut self, pid: &Segment<'_>, place: &Place, sink: &mut dyn Sink) -> Result<(), Stop> {
        // What follows belongs to this patient or to nobody.
        self.person.clear();
        self.visit.clear();
        self.observed.clear();
        self.report.clear();
        let Some(key) = identifier(pid) else {
            let hint = "let the sender fill PID-3 with the patient's number";
            return Err(Problem::new("IN108", "the patient has no identifier", place.column("PID-3"), hint).into());
        };
        let birth = time(pid, 7, place)?;
        let died = time(pid, 29, place)?;
        if died.is_none() && pid.field(30).component(1) == "Y" {
            // Dead on an unknown day: counting her as alive would be wrong, and so would any day.
            return Err(Stop::Fate(Fate::Held(Held::NoDate)));
        }
        let stated = pid.field(8).component(1);
        let sex = match &*stated {
            "F" => Sex::Female,
            "M" => Sex::Male,
            _ => Sex::Unknown,
        };
        // Table 0001; anything longer might be a text.
        let sex_source = if stated.len() == 1 { &*stated } else { "" };
        let address = pid.field(11);
        let zip: String = address.component(5).chars().take(3).collect();
        let (state, country) = (address.component(4), address.component(6));
        let location = format!("{state}/{zip}/{country}");
        let has_location = location.len() > 2;
        if has_location {
            sink.party(&Party::Location { key: &location, state: &state, zip: &zip, country: &country });
        }
        let (race, ethnicity) = (category(pid.field(10)), category(pid.field(22)));
        sink.person(&Person {
            sex,
            sex_source,
            birth,
            race: Code { system: race.0, code: &race.1 },
            ethnicity: Code { system: ethnicity.0, code: &ethnicity.1 },
            death: died,
            location: if has_location { &location } else { "" },
            type_concept_id: EHR,
            ..Person::new(&key)
        });
        self.person = key;
        Ok(())
    }

    /// PV1 (chapter 3.4.3).
    fn visit(&mut self, pv1: &Segment<'_>, place: &Place, control: &str, sink: &mut dyn Sink) -> Result<(), Stop> {
        self.visit.clear();
        let class = pv1.field(2).component(1);
        match (&*class, self.kind.as_str(), self.trigger.as_str()) {
            // "Not applicable" and "commercial account" are no encounters.
            ("N" | "C", ..) => return Err(Stop::Fate(Fate::Excluded(Excluded::Administrative))),
            // Pre-admitted, pending, cancelled: has not happened.
            ("P", ..) | (_, "ADT", "A05" | "A11" | "A14" | "A15" | "A16" | "A25" | "A26" | "A27" | "A38") => {
                return Err(Stop::Fate(Fate::Excluded(Excluded::DidNotHappen)));
            }
            (_, "ADT", "A23") => return Err(Stop::Fate(Fate::Excluded(Excluded::EnteredInError))),
            _ => {}
        }
        let visit_concept_id = match &*class {
            "I" | "B" => 9201,
            "O" | "R" => 9202,
            "E" => 9203,
            _ => 0,
        };
        let mut start = time(pv1, 44, place)?;
        if start.is_none() && self.kind == "ADT" && matches!(self.trigger.as_str(), "A01" | "A04") {
            // The message says that the admission or registration happened, so its time is the visit's.
            start = hl7_time(&self.event_time).map_err(|error| bad_date(error, place.column("EVN-2")))?;
        }
        let end = time(pv1, 45, place)?;
        let number = pv1.field(19).component(1);
        let key = if number.is_empty() { format!("{control}/{}", pv1.row) } else { number.into_owned() };
        let (admitted_from, discharged_to) = (pv1.field(14).component(1), pv1.field(36).component(1));
        sink.event(&Event {
            key: &key,
            start,
            end,
            visit_concept_id,
            more: More { admitted_from: &admitted_from, discharged_to: &discharged_to, ..More::default() },
            visit: "",
            ..self.event(Kind::Visit)
        });
        self.visit = key;
        Ok(())
    }

    /// DG1 (chapter 6.5.2).
    fn diagnosis(&self, dg1: &Segment<'_>, place: &Place, sink: &mut dyn Sink) -> Result<(), Stop> {
        if dg1.field(21).component(1) == "D" {
            return Err(Stop::Fate(Fate::Excluded(Excluded::EnteredInError)));
        }
        let method = dg1.field(2).component(1);
        let codes = Codes::of(dg1.field(3), &method);
        let text = dg1.field(4).text();
        let text = if text.is_empty() { codes.text.clone() } else { text };
        codes.required(&text, place, "DG1-3")?;
        let (start, status) = (time(dg1, 5, place)?, dg1.field(6).component(1));
        let more = More { status: &status, ..More::default() };
        codes.with(|codes| sink.event(&Event { codes, text: &text, start, more, ..self.event(Kind::Condition) }));
        Ok(())
    }

    /// AL1 (chapter 3.4.6): the kind of allergy is the concept, the substance its value.
    fn allergy(&self, al1: &Segment<'_>, place: &Place, sink: &mut dyn Sink) -> Result<(), Stop> {
        let finding = match &*al1.field(2).component(1) {
            "DA" => "416098002",
            "FA" => "414285001",
            "EA" => "426232007",
            _ => "419199007",
        };
        let substance = Codes::of(al1.field(3), "");
        let text = substance.text.clone();
        substance.required(&text, place, "AL1-3")?;
        let start = time(al1, 6, place)?;
        let finding = [Code { system: systems::SNOMED, code: finding }];
        let severity = al1.field(4).component(1);
        let severity = [Code { system: "http://terminology.hl7.org/CodeSystem/v2-0128", code: &severity }];
        let qualifier = if severity[0].code.is_empty() { &[][..] } else { &severity };
        let more = More { qualifier, ..More::default() };
        substance.with(|substance| {
            let event = Event { start, more, ..self.event(Kind::Observation) };
            if substance.is_empty() {
                sink.event(&Event { codes: &finding, value: Value::Text(&text), ..event });
            } else {
                let more = More { finding: &finding, ..more };
                sink.event(&Event { codes: substance, text: &text, more, ..event });
            }
        });
        Ok(())
    }

    /// PR1 (chapter 6.5.4).
    fn procedure(&self, pr1: &Segment<'_>, place: &Place, sink: &mut dyn Sink) -> Result<(), Stop> {
        if pr1.field(20).component(1) == "D" {
            return Err(Stop::Fate(Fate::Excluded(Excluded::EnteredInError)));
        }
        let codes = Codes::of(pr1.field(3), &pr1.field(2).component(1));
        let text = codes.text.clone();
        codes.required(&text, place, "PR1-3")?;
        let start = time(pr1, 5, place)?;
        codes.with(|codes| sink.event(&Event { codes, text: &text, start, ..self.event(Kind::Procedure) }));
        Ok(())
    }

    /// OBX (chapter 7.4.2): one event for each value.
    fn observation(&self, obx: &Segment<'_>, place: &Place, sink: &mut dyn Sink) -> Result<(), Stop> {
        match &*obx.field(11).component(1) {
            "X" | "N" => return Err(Stop::Fate(Fate::Excluded(Excluded::DidNotHappen))),
            "D" | "W" => return Err(Stop::Fate(Fate::Excluded(Excluded::EnteredInError))),
            _ => {}
        }
        let data_type = obx.field(2).component(1);
        match &*data_type {
            // Names, addresses and numbers of people.
            "XPN" | "XAD" | "XTN" | "XCN" | "XON" | "CX" | "TN" | "PN" | "CN" | "AD" | "EI" => {
                return Err(Stop::Fate(Fate::Excluded(Excluded::Administrative)));
            }
            // Encapsulated data and references to it.
            "ED" | "RP" => return Err(Stop::Fate(Fate::Unmapped(Unmapped::Kind))),
            _ => {}
        }
        let codes = Codes::of(obx.field(3), "");
        let text = codes.text.clone();
        codes.required(&text, place, "OBX-3")?;
        let start = match time(obx, 14, place)? {
            Some(start) => Some(start),
            None => hl7_time(&self.observed).map_err(|error| bad_date(error, place.column("OBR-7")))?,
        };
        let unit = obx.field(6);
        let unit = [unit.component(1), unit.component(2)].into_iter().find(|unit| !unit.is_empty()).unwrap_or_default();
        let range = range(&obx.field(7).text());
        let flag = obx.field(8).component(1);
        let flag = [Code { system: "http://terminology.hl7.org/CodeSystem/v2-0078", code: &flag }];
        let qualifier = if flag[0].code.is_empty() { &[][..] } else { &flag };

        let mut results = Vec::new();
        for field in obx.repetitions(5).filter(|field| !field.is_empty()) {
            results.push(result(field, &data_type, !unit.is_empty(), place)?);
        }
        if results.is_empty() {
            results.push(Result5::None);
        }
        codes.with(|codes| {
            for result in &results {
                let mut event = Event { codes, text: &text, start, range, ..self.event(Kind::Measurement) };
                event.more.qualifier = qualifier;
                match result {
                    Result5::None => sink.event(&event),
                    Result5::Number(number, comparator) => {
                        sink.event(&Event { value: Value::Number(*number, *comparator), unit: &unit, ..event });
                    }
                    Result5::Coded(coded) => coded.with(|coded| {
                        let value = if coded.is_empty() { Value::None } else { Value::Codes(coded) };
                        sink.event(&Event { value, ..event });
                    }),
                    Result5::Text(text) => {
                        sink.event(&Event { kind: Kind::Observation, value: Value::Text(text), ..event });
                    }
                }
            }
        });
        Ok(())
    }

    /// RXA with its RXR (chapter 4A.4.7, 4A.4.2).
    fn administration(
        &self,
        rxa: &Segment<'_>,
        routes: &[Segment<'_>],
        place: &Place,
        sink: &mut dyn Sink,
    ) -> Result<(), Stop> {
        let codes = Codes::of(rxa.field(5), "");
        // CVX 998: no vaccine was given.
        let none_given =
            codes.all.iter().any(|(system, code)| system == "http://hl7.org/fhir/sid/cvx" && code == "998");
        match (&*rxa.field(20).component(1), &*rxa.field(21).component(1)) {
            (_, "D") => return Err(Stop::Fate(Fate::Excluded(Excluded::EnteredInError))),
            ("RE" | "NA", _) => return Err(Stop::Fate(Fate::Excluded(Excluded::DidNotHappen))),
            _ if none_given => return Err(Stop::Fate(Fate::Excluded(Excluded::DidNotHappen))),
            _ => {}
        }
        let text = codes.text.clone();
        codes.required(&text, place, "RXA-5")?;
        let (start, end) = (time(rxa, 3, place)?, time(rxa, 4, place)?);
        let amount = rxa.field(6).component(1);
        // 999 stands for "not known" (CDC implementation guide for immunisation messaging, RXA-6).
        let quantity = match &*amount {
            "" | "999" => None,
            amount => Some(number(amount).ok_or_else(|| not_a_number(place, "RXA-6"))?),
        };
        let (quantity_unit, lot) = (rxa.field(7).component(1), rxa.field(15).component(1));
        let route = routes.first().map(|rxr| Codes::of(rxr.field(1), "")).unwrap_or_default();
        codes.with(|codes| {
            route.with(|site| {
                let quantity_unit = if quantity.is_some() { &*quantity_unit } else { "" };
                let more = More { site, quantity, quantity_unit, lot: &lot, ..More::default() };
                sink.event(&Event { codes, text: &text, start, end, more, ..self.event(Kind::Drug) });
            });
        });
        Ok(())
    }

    /// SPM (chapter 7.4.3).
    fn specimen(&self, spm: &Segment<'_>, place: &Place, sink: &mut dyn Sink) -> Result<(), Stop> {
        let codes = Codes::of(spm.field(4), "");
        let text = codes.text.clone();
        codes.required(&text, place, "SPM-4")?;
        let start = time(spm, 17, place)?;
        let key = spm.field(2).text();
        codes.with(|codes| sink.event(&Event { key: &key, codes, text: &text, start, ..self.event(Kind::Specimen) }));
        Ok(())
    }

    /// TXA with its text (chapter 9.6.1).
    fn document(
        &self,
        txa: &Segment<'_>,
        parts: &[Segment<'_>],
        place: &Place,
        sink: &mut dyn Sink,
    ) -> Result<(), Stop> {
        // Table 0271: incomplete or cancelled documents say nothing yet or no more.
        if matches!(&*txa.field(17).component(1), "CA" | "OB") {
            return Err(Stop::Fate(Fate::Excluded(Excluded::EnteredInError)));
        }
        let start = match time(txa, 4, place)? {
            Some(start) => Some(start),
            None => time(txa, 6, place)?,
        };
        let mut note = String::new();
        for obx in parts.iter().filter(|part| matches!(&*part.field(2).component(1), "TX" | "FT" | "ST")) {
            for line in obx.repetitions(5) {
                note.push_str(&line.text());
                note.push('\n');
            }
        }
        if note.trim().is_empty() {
            return Err(Stop::Fate(Fate::Unmapped(Unmapped::Kind)));
        }
        let codes = Codes::of(txa.field(2), "HL70270");
        let title = txa.field(2).component(2);
        codes.with(|codes| {
            let more = More { note: &note, title: &title, ..More::default() };
            sink.event(&Event { codes, start, more, ..self.event(Kind::Note) });
        });
        Ok(())
    }
}

/// A number of the patient: of PID-3 the medical record number, else the first one that is no number of a state; else
/// PID-2. With who gave it out, since two hospitals may give out the same.
fn identifier(pid: &Segment<'_>) -> Option<String> {
    let usable = |field: &Field<'_>| !field.component(1).is_empty();
    let kind = |field: &Field<'_>| field.component(5).into_owned();
    let all: Vec<Field<'_>> = pid.repetitions(3).filter(usable).collect();
    let record = all.iter().find(|field| kind(field) == "MR");
    let civil = |field: &&Field<'_>| !matches!(kind(field).as_str(), "SS" | "DL" | "PPN" | "MA" | "MC");
    let other = pid.field(2);
    let chosen = record.or_else(|| all.iter().find(civil)).or_else(|| all.first()).copied();
    let chosen = chosen.or_else(|| usable(&other).then_some(other))?;
    let (number, authority) = (chosen.component(1), [chosen.subcomponent(4, 2), chosen.subcomponent(4, 1)]);
    let authority = authority.into_iter().find(|authority| !authority.is_empty()).unwrap_or_default();
    Some(if authority.is_empty() { number.into_owned() } else { format!("{number}|{authority}") })
}

/// Race or ethnic category: a code of the CDC, or of HL7 by its letter; texts are left out.
fn category<'a>(field: Field<'a>) -> (&'static str, Cow<'a, str>) {
    let code = field.component(1);
    let cdc = code.len() == 6 && code.as_bytes()[4] == b'-' && code.bytes().filter(u8::is_ascii_digit).count() == 5;
    if cdc {
        (systems::RACE, code)
    } else if code.len() == 1 {
        ("http://terminology.hl7.org/CodeSystem/v2-0189", code)
    } else {
        ("", Cow::Borrowed(""))
    }
}

fn time(segment: &Segment<'_>, number: usize, place: &Place) -> Result<Option<When>, Stop> {
    let text = segment.field(number).component(1);
    hl7_time(&text).map_err(|error| bad_date(error, place.column(&format!("{}-{number}", segment.name))).into())
}

/// The codes of a CE or CWE (chapter 2A.3.8): the code and its alternates, each with its system.
#[derive(Default)]
struct Codes<'a> {
    all: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// What the code is called.
    text: Cow<'a, str>,
}

impl<'a> Codes<'a> {
    fn of(field: Field<'a>, default_system: &str) -> Self {
        let mut all: Vec<(Cow<'a, str>, Cow<'a, str>)> = Vec::new();
        for (code, system) in [(1, 3), (4, 6), (10, 12)] {
            let (code, name) = (field.component(code), field.component(system));
            if code.is_empty() || all.iter().any(|(_, other)| *other == code) {
                continue;
            }
            let system = match (name, default_system) {
                (name, "") => static_system(name),
                (name, default) if name.is_empty() => Cow::Owned(systems::of_name(default).into_owned()),
                (name, _) => static_system(name),
            };
            all.push((system, code));
        }
        let text = [2, 5, 9].into_iter().map(|at| field.component(at)).find(|text| !text.is_empty());
        Self { all, text: text.unwrap_or_default() }
    }

    fn required(&self, text: &str, place: &Place, column: &str) -> Result<(), Stop> {
        if self.all.is_empty() && text.is_empty() {
            let hint = "let the sender fill the field with code and code system";
            return Err(Problem::new("IN108", "the code is missing", place.column(column), hint).into());
        }
        Ok(())
    }

    /// Hands the codes over in borrowed form.
    fn with(&self, take: impl FnOnce(&[Code<'_>])) {
        let codes: Vec<Code<'_>> = self.all.iter().map(|(system, code)| Code { system, code }).collect();
        take(&codes);
    }
}

fn static_system(name: Cow<'_, str>) -> Cow<'_, str> {
    match name {
        Cow::Borrowed(name) => systems::of_name(name),
        Cow::Owned(name) => Cow::Owned(systems::of_name(&name).into_owned()),
    }
}

/// What one repetition of OBX-5 is.
enum Result5<'a> {
    None,
    Number(f64, Comparator),
    Coded(Codes<'a>),
    Text(Cow<'a, str>),
}

fn result<'a>(field: Field<'a>, data_type: &str, has_unit: bool, place: &Place) -> Result<Result5<'a>, Stop> {
    let text = field.text();
    Ok(match data_type {
        "NM" => {
            let (number, comparator) = compared(&text).ok_or_else(|| not_a_number(place, "OBX-5"))?;
            Result5::Number(number, comparator)
        }
        // SN (chapter 2A.3.70): comparator, number, separator, number.
        "SN" => {
            let (comparator, first, separator) = (field.component(1), field.component(2), field.component(3));
            if !separator.is_empty() {
                // A range, a ratio: two numbers are no number.
                Result5::Text(text)
            } else {
                let number = number(&first).ok_or_else(|| not_a_number(place, "OBX-5"))?;
                match (&*comparator, Comparator::parse(&comparator)) {
                    ("" | "=", _) => Result5::Number(number, Comparator::Equal),
                    (_, Some(comparator)) => Result5::Number(number, comparator),
                    (_, None) => Result5::Text(text),
                }
            }
        }
        "CE" | "CWE" | "CNE" | "CF" | "IS" | "ID" => {
            let coded = Codes::of(field, "");
            if coded.all.is_empty() { Result5::Text(coded.text) } else { Result5::Coded(coded) }
        }
        "DT" | "TS" | "DTM" => {
            hl7_time(&field.component(1)).map_err(|error| bad_date(error, place.column("OBX-5")))?;
            Result5::Text(text)
        }
        // Laboratories send numbers as texts; with a unit beside it a number is meant.
        "ST" | "" if has_unit => match compared(&text) {
            Some((number, comparator)) => Result5::Number(number, comparator),
            None => Result5::Text(text),
        },
        _ => Result5::Text(text),
    })
}

fn not_a_number(place: &Place, column: &str) -> Stop {
    let hint = "let the sender write a number, or send the text as ST";
    Problem::new("IN101", "not a number", place.column(column), hint).into()
}

fn number(text: &str) -> Option<f64> {
    let text = text.trim();
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'+' | b'e' | b'E'));
    text.parse().ok().filter(|number: &f64| plain && number.is_finite())
}

/// A number, possibly after a comparator.
fn compared(text: &str) -> Option<(f64, Comparator)> {
    let text = text.trim();
    let end = text.find(|character| !matches!(character, '<' | '>' | '=')).unwrap_or(text.len());
    let (comparator, rest) = text.split_at(end);
    let comparator = if comparator.is_empty() { Comparator::Equal } else { Comparator::parse(comparator)? };
    Some((number(rest)?, comparator))
}

/// A reference range: `3.5-5.0`, `<10`, `>=50`.
fn range(text: &str) -> (Option<f64>, Option<f64>) {
    let text = text.trim();
    match compared(text) {
        Some((number, Comparator::Less | Comparator::AtMost)) => return (None, Some(number)),
        Some((number, Comparator::More | Comparator::AtLeast)) => return (Some(number), None),
        _ => {}
    }
    // The first character may be a sign.
    let dash = text.char_indices().skip(1).find(|(_, character)| *character == '-').map(|(at, _)| at);
    match dash.map(|at| (number(&text[..at]), number(&text[at + 1..]))) {
        Some((Some(low), Some(high))) => (Some(low), Some(high)),
        _ => (None, None),
    }
}

#[cfg(test)]
mod tests {
    use acequia_omop::{Collector, SourceFile, SourceValue};

    use super::*;

    fn file(text: &str) -> SourceFile {
        let mut sink = Collector::default();
        read(&mut text.as_bytes(), &mut sink).unwrap();
        sink.finish()
    }

    const HEAD: &str = "MSH|^~\\&|A|B|C|D|20200102||ORU^R01|1|P|2.5.1\rPID|1||7^^^X^MR||DOE^J||19500102|F|||^^B^MA^01234-5^US\rOBR|1||F1|24323-8^Panel^LN|||202001020910-0500\r";

    #[track_caller]
    fn value(obx: &str, expected: &SourceValue) {
        let file = file(&format!("{HEAD}{obx}\r"));
        assert_eq!(file.problems, []);
        assert_eq!(file.records[0].events[0].value.as_ref(), Some(expected), "{obx}");
        assert_eq!(file.records[0].events[0].start.first_day().to_string(), "2020-01-02");
    }

    #[test]
    fn values_are_read_by_their_type() {
        value("OBX|1|NM|2345-7^Glucose^LN||05.10|mg/dL|70-100|N|||F", &SourceValue::Number(5.1));
        value("OBX|1|SN|2345-7^Glucose^LN||>^50|mg/dL||||F", &SourceValue::Number(50.0));
        value("OBX|1|SN|2345-7^Ratio^LN||^1^:^128|||||F", &SourceValue::Text("^1^:^128".to_owned()));
        value("OBX|1|ST|2345-7^Glucose^LN||<3|mg/dL||||F", &SourceValue::Number(3.0));
        value("OBX|1|ST|2345-7^Glucose^LN||7||||F", &SourceValue::Text("7".to_owned()));
        value("OBX|1|TX|2345-7^Glucose^LN||see \\T\\ below", &SourceValue::Text("see & below".to_owned()));
        value("OBX|1|DT|2345-7^Glucose^LN||20200101", &SourceValue::Text("20200101".to_owned()));
        let coded = acequia_omop::Coding { system: systems::LOINC.to_owned(), code: "LA9-1".to_owned() };
        value("OBX|1|CWE|2345-7^Glucose^LN||LA9-1^No^LN", &SourceValue::Codes(vec![coded]));
    }

    #[track_caller]
    fn fate(segment: &str, expected: Fate) {
        let file = file(&format!("{HEAD}{segment}\r"));
        assert_eq!(file.items.last().unwrap().fate, Some(expected), "{segment}: {:?}", file.problems);
        assert_eq!(file.records.iter().map(|record| record.events.len()).sum::<usize>(), 0, "{segment}");
    }

    #[test]
    fn what_did_not_happen_is_no_event() {
        let did_not_happen = Fate::Excluded(Excluded::DidNotHappen);
        let error = Fate::Excluded(Excluded::EnteredInError);
        fate("OBX|1|NM|2345-7^Glucose^LN||5|mg|||||X", did_not_happen.clone());
        fate("OBX|1|NM|2345-7^Glucose^LN||5|mg|||||W", error.clone());
        fate("RXA|0|1|20200101||998^No vaccine administered^CVX|999", did_not_happen.clone());
        fate("RXA|0|1|20200101||08^HepB^CVX|999||||||||||||||RE", did_not_happen.clone());
        fate("DG1|1||I10^Hypertension^I10C||20200101|F|||||||||||||||D", error);
        fate("PV1|1|P", did_not_happen);
        fate("OBX|1|XAD|62327-2^Address^LN||1 Street", Fate::Excluded(Excluded::Administrative));
        fate("OBX|1|ED|1-8^Scan^LN||^^PDF^Base64^AAAA", Fate::Unmapped(Unmapped::Kind));
        fate("ZXX|anything", Fate::Unmapped(Unmapped::Kind));
        fate("NTE|1||a comment", Fate::Unmapped(Unmapped::Kind));
    }

    #[track_caller]
    fn problem(text: &str, expected: &str) {
        let file = file(text);
        assert_eq!(file.problems.iter().map(ToString::to_string).collect::<Vec<_>>(), [expected]);
        let rejected = file.items.iter().filter(|item| matches!(item.fate, Some(Fate::Rejected(_)))).count();
        assert_eq!(rejected, 1);
    }

    #[test]
    fn every_fault_has_a_code_and_a_place() {
        problem("MSH|\r", "row 1, column MSH-2: the header does not state the separators (IN130)");
        problem(
            "MSH|^~\\&|A|B|C|D|2020||||P|2.5\r",
            "row 1, column MSH-9: the message does not say what it is (IN131)",
        );
        problem(&format!("{HEAD}broken line\r"), "row 4: the line is no segment (IN132)");
        problem(&format!("hello\r{HEAD}"), "row 1: the line belongs to no message (IN132)");
        problem(&HEAD.replace("19500102", "DOB"), "row 2, column PID-7: not a date of the form YYYY-MM-DD (IN104)");
        problem(&HEAD.replace("7^^^X^MR", ""), "row 2, column PID-3: the patient has no identifier (IN108)");
        problem(&format!("{HEAD}OBX|1|NM|2345-7^Glucose^LN||NOVALUE\r"), "row 4, column OBX-5: not a number (IN101)");
        problem(&format!("{HEAD}OBX|1|NM|||5\r"), "row 4, column OBX-3: the code is missing (IN108)");
        let mut sink = Collector::default();
        assert_eq!(read(&mut &b""[..], &mut sink), Err(IntakeError::Empty));
        assert_eq!(read(&mut &b"\r\n \r\n"[..], &mut sink), Err(IntakeError::Empty));
    }

    #[test]
    fn a_batch_that_lacks_messages_is_told() {
        let batch = format!("BHS|^~\\&\r{HEAD}BTS|2\r");
        let problems: Vec<_> = file(&batch).problems.iter().map(ToString::to_string).collect();
        assert_eq!(problems, ["row 5, column BTS-1: the batch states 2 messages, and 1 came (IN135)"]);
        assert_eq!(file(&batch.replace("BTS|2", "BTS|1")).problems, []);
    }

    #[test]
    fn an_admission_has_a_visit_with_diagnoses_allergies_and_vaccines() {
        let text = "MSH|^~\\&|A|B|C|D|20200102||ADT^A01|1|P|2.5.1\rEVN|A01|202001020915\rPID|1||7^^^X^MR||DOE||1950|M|||||||||||||||||||||20210101|Y\rPV1|1|I|||||||||||||||||V9\rDG1|1||I10^Hypertension^I10C|||F\rAL1|1|DA|7980^Penicillin^RXNORM|SV|hives\rRXA|0|1|20200103||08^HepB^CVX|0.5|mL||||||||L77\rRXR|IM^Intramuscular^HL70162\r";
        let file = file(text);
        let record = &file.records[0];
        assert_eq!((record.person.key.as_str(), record.person.sex), ("7|X", Sex::Male));
        assert_eq!(record.person.death.unwrap().1.first_day().to_string(), "2021-01-01");
        let tables: Vec<_> = record.events.iter().map(|event| event.table.name()).collect();
        assert_eq!(tables, ["visit_occurrence", "condition_occurrence", "observation", "drug_exposure"]);
        // The diagnosis and the allergy have no date of their own: they take the visit's.
        assert!(record.events[..3].iter().all(|event| event.start.first_day().to_string() == "2020-01-02"));
        assert_eq!(record.events[1].visit.as_deref(), Some("V9"));
        assert_eq!((record.events[3].details.quantity, record.events[3].details.lot.as_str()), (Some(0.5), "L77"));
        assert_eq!(record.events[3].details.site[0].code, "IM");
    }

    #[test]
    fn a_document_is_one_note() {
        let text = "MSH|^~\\&|A|B|C|D|20200102||MDM^T02|1|P|2.5.1\rPID|1||7||DOE||1950|M\rTXA|1|DS^Discharge summary|TX|20200105\rOBX|1|TX|18842-5^Discharge^LN||First line\rOBX|2|TX|18842-5^Discharge^LN||second~third\r";
        let file = file(text);
        assert_eq!(file.records[0].events.len(), 1);
        assert_eq!(file.records[0].events[0].details.note, "First line\nsecond\nthird\n");
        assert_eq!(file.items.len(), 3, "header, patient, document");
    }

    #[test]
    fn ranges_are_read() {
        assert_eq!(range("3.5-5.0"), (Some(3.5), Some(5.0)));
        assert_eq!(range("-2 - 2"), (Some(-2.0), Some(2.0)));
        assert_eq!(
            (range("<10"), range(">=50"), range("negative")),
            ((None, Some(10.0)), (Some(50.0), None), (None, None))
        );
    }
}
