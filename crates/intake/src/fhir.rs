//! Reading FHIR R4: bundles and NDJSON (HL7 FHIR R4, `hl7.org/fhir/R4`; resource pages named at each function).

use std::collections::HashMap;

use acequia_omop::{
    CdmTable, Coding, DateError, Excluded, Fate, Held, Item, PartialDate, Sex, SourceEvent, SourceFile, SourcePerson,
    SourceRecord, SourceValue, Unmapped, VisitKind,
};
use acequia_types::{Place, Problem};
use serde_json::Value;

use crate::{IntakeError, MOST_ITEMS};

/// OMOP type concepts: EHR and EHR prescription.
const EHR: i64 = 32_817;
const EHR_PRESCRIPTION: i64 = 32_838;

struct Entry {
    row: u64,
    full_url: Option<String>,
    resource: Value,
}

fn json(error: &serde_json::Error, row_offset: u64) -> IntakeError {
    let row = error.line() as u64 + row_offset;
    if error.is_eof() {
        IntakeError::Truncated { row }
    } else {
        IntakeError::Json { row, character: error.column() as u64 }
    }
}

/// A bundle: each entry's resource is one item, its row the one-based entry number.
pub(crate) fn read_bundle(text: &str) -> Result<SourceFile, IntakeError> {
    let mut bundle: Value = serde_json::from_str(text).map_err(|error| json(&error, 0))?;
    if bundle["resourceType"] != "Bundle" {
        return Err(IntakeError::NotABundle);
    }
    let Value::Array(entries) = bundle["entry"].take() else { return Err(IntakeError::NotABundle) };
    if entries.len() > MOST_ITEMS {
        return Err(IntakeError::TooMany { most: MOST_ITEMS });
    }
    let entries = entries.into_iter().enumerate().map(|(at, mut entry)| Entry {
        row: at as u64 + 1,
        full_url: entry["fullUrl"].as_str().map(str::to_owned),
        // An entry may be anything; `[]` on a value that is no object would panic.
        resource: entry.get_mut("resource").map(Value::take).unwrap_or_default(),
    });
    Ok(read(entries.collect()))
}

/// NDJSON: each line is one item.
pub(crate) fn read_ndjson(text: &str) -> Result<SourceFile, IntakeError> {
    let mut entries = Vec::new();
    for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        if entries.len() == MOST_ITEMS {
            return Err(IntakeError::TooMany { most: MOST_ITEMS });
        }
        let resource: Value = serde_json::from_str(line).map_err(|error| json(&error, at as u64))?;
        entries.push(Entry { row: at as u64 + 1, full_url: None, resource });
    }
    Ok(read(entries))
}

fn read(entries: Vec<Entry>) -> SourceFile {
    let mut reader = Reader { file: SourceFile::default(), persons: HashMap::new() };
    for entry in &entries {
        let kind = entry.resource["resourceType"].as_str().unwrap_or("unknown");
        // A resource type is a code of the standard; anything else might be a text of the file.
        let plain = kind.len() <= 40 && kind.bytes().all(|byte| byte.is_ascii_alphabetic());
        let kind = if plain { kind } else { "unknown" }.to_owned();
        reader.file.items.push(Item { row: entry.row, kind, fate: None });
    }
    for (item, entry) in entries.iter().enumerate().filter(|(_, entry)| entry.resource["resourceType"] == "Patient") {
        reader.patient(item, entry);
    }
    for (item, entry) in entries.iter().enumerate().filter(|(_, entry)| entry.resource["resourceType"] != "Patient") {
        if let Err(stop) = reader.resource(item, entry) {
            reader.stop(item, stop);
        }
    }
    reader.file
}

/// Why an item yields no event.
enum Stop {
    Fate(Fate),
    Problem(Problem),
}

impl From<Problem> for Stop {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

struct Reader {
    file: SourceFile,
    /// Reference (`urn:uuid:…`, `Patient/…`) to index of the record.
    persons: HashMap<String, usize>,
}

impl Reader {
    fn stop(&mut self, item: usize, stop: Stop) {
        let fate = match stop {
            Stop::Fate(fate) => fate,
            Stop::Problem(problem) => {
                let fate = Fate::Rejected(problem.code.clone());
                self.file.problems.push(problem);
                fate
            }
        };
        self.file.items[item].fate = Some(fate);
    }

    /// Patient (R4 §8.1).
    fn patient(&mut self, item: usize, entry: &Entry) {
        let resource = &entry.resource;
        let place = Place::row(entry.row);
        let id = resource["id"].as_str();
        let Some(key) = id.or(entry.full_url.as_deref()).map(str::to_owned) else {
            let hint = "give the patient an id or the entry a fullUrl";
            let problem = Problem::new("IN108", "the patient has no id", place.column("Patient.id"), hint);
            return self.stop(item, problem.into());
        };
        let birth = match date(&resource["birthDate"], &place, "Patient.birthDate") {
            Ok(birth) => birth,
            Err(problem) => return self.stop(item, problem.into()),
        };
        let died = match date(&resource["deceasedDateTime"], &place, "Patient.deceasedDateTime") {
            Ok(died) => died,
            Err(problem) => return self.stop(item, problem.into()),
        };
        if died.is_none() && resource["deceasedBoolean"] == true {
            // Dead on an unknown day: counting her as alive would be wrong, and so would any day.
            return self.stop(item, Stop::Fate(Fate::Held(Held::NoDate)));
        }
        let sex = match resource["gender"].as_str() {
            Some("female") => Sex::Female,
            Some("male") => Sex::Male,
            _ => Sex::Unknown,
        };
        let at = self.file.records.len();
        let by_id = id.map(|id| [format!("Patient/{id}"), format!("urn:uuid:{id}")]);
        for reference in entry.full_url.clone().into_iter().chain(by_id.into_iter().flatten()) {
            self.persons.insert(reference, at);
        }
        let person = SourcePerson {
            item,
            key,
            sex,
            birth,
            period: None,
            death: died.map(|died| (item, died)),
            type_concept_id: EHR,
        };
        self.file.records.push(SourceRecord { person, events: Vec::new() });
    }

    fn resource(&mut self, item: usize, entry: &Entry) -> Result<(), Stop> {
        let (resource, place) = (&entry.resource, Place::row(entry.row));
        let kind = resource["resourceType"].as_str();
        let events = match kind {
            Some("Observation") => observation(item, resource, &place)?,
            Some("Condition") => vec![condition(item, resource, &place)?],
            Some("Procedure") => vec![procedure(item, resource, &place)?],
            Some("MedicationRequest") => vec![medication_request(item, resource, &place)?],
            Some("Encounter") => vec![encounter(item, entry, &place)?],
            Some("Organization" | "Practitioner" | "PractitionerRole" | "Provenance" | "Location") => {
                return Err(Stop::Fate(Fate::Excluded(Excluded::Administrative)));
            }
            Some(_) => return Err(Stop::Fate(Fate::Unmapped(Unmapped::Kind))),
            None => {
                let hint = "every entry of a bundle holds a FHIR resource with its resourceType";
                let place = place.column("resourceType");
                return Err(Problem::new("IN108", "the entry has no resourceType", place, hint).into());
            }
        };
        let subject = resource["subject"]["reference"].as_str().or(resource["patient"]["reference"].as_str());
        let Some(at) = subject.and_then(|subject| self.person(subject)) else {
            return Err(Stop::Fate(Fate::Held(Held::OtherPerson)));
        };
        self.file.records[at].events.extend(events);
        Ok(())
    }

    fn person(&self, reference: &str) -> Option<usize> {
        let tail = || reference.rsplit('/').take(2).collect::<Vec<_>>();
        self.persons.get(reference).copied().or_else(|| match tail()[..] {
            [id, "Patient"] => self.persons.get(&format!("Patient/{id}")).copied(),
            _ => None,
        })
    }
}

fn date(value: &Value, place: &Place, element: &str) -> Result<Option<PartialDate>, Problem> {
    let wrong = |error: DateError| {
        let (code, hint) = match error {
            DateError::Calendar => ("IN103", "correct the date at the source"),
            DateError::Form => ("IN104", "write dates as YYYY-MM-DD"),
        };
        Problem::new(code, error.to_string(), place.column(element), hint)
    };
    match value {
        Value::Null => Ok(None),
        Value::String(text) => PartialDate::parse(text).map(Some).map_err(wrong),
        _ => Err(wrong(DateError::Form)),
    }
}

/// The first of these elements that is there.
fn first_date(resource: &Value, elements: &[&str], place: &Place) -> Result<PartialDate, Stop> {
    let kind = resource["resourceType"].as_str().unwrap_or_default();
    for element in elements {
        let value = element.split('.').fold(resource, |value, part| &value[part]);
        if let Some(date) = date(value, place, &format!("{kind}.{element}"))? {
            return Ok(date);
        }
    }
    Err(Stop::Fate(Fate::Held(Held::NoDate)))
}

fn codings(concept: &Value) -> Vec<Coding> {
    let list = concept["coding"].as_array().map(Vec::as_slice).unwrap_or_default();
    let coding = |coding: &Value| {
        let code = coding["code"].as_str()?;
        let system = coding["system"].as_str().unwrap_or_default();
        Some(Coding { system: system.to_owned(), code: code.to_owned() })
    };
    list.iter().filter_map(coding).collect()
}

fn required_codings(concept: &Value, place: &Place, element: &str) -> Result<Vec<Coding>, Stop> {
    let codings = codings(concept);
    if codings.is_empty() {
        let hint = "give a coding with system and code; text alone cannot be unified yet";
        return Err(Problem::new("IN108", "the code has no coding", place.column(element), hint).into());
    }
    Ok(codings)
}

/// What a status says (R4 value sets `event-status`, `observation-status`, `medicationrequest-status`).
fn by_status(status: &Value) -> Result<(), Stop> {
    match status.as_str() {
        Some("entered-in-error") => Err(Stop::Fate(Fate::Excluded(Excluded::EnteredInError))),
        // What is planned, proposed or only suspected has not happened.
        Some(
            "not-done" | "cancelled" | "refuted" | "planned" | "preparation" | "draft" | "proposed" | "unconfirmed"
            | "provisional" | "differential",
        ) => Err(Stop::Fate(Fate::Excluded(Excluded::DidNotHappen))),
        _ => Ok(()),
    }
}

fn new_event(item: usize, table: CdmTable, codings: Vec<Coding>, start: PartialDate, resource: &Value) -> SourceEvent {
    let source_value = codings.first().map(|coding| coding.code.clone()).unwrap_or_default();
    SourceEvent {
        item,
        table,
        codings,
        concept_id: None,
        source_value,
        start,
        end: None,
        value: None,
        unit: None,
        type_concept_id: EHR,
        visit: resource["encounter"]["reference"].as_str().map(str::to_owned),
        own_key: None,
        visit_kind: None,
        details: acequia_omop::Details::default(),
    }
}

/// Observation (R4 §10.1): the value, or one event for each component.
fn observation(item: usize, resource: &Value, place: &Place) -> Result<Vec<SourceEvent>, Stop> {
    by_status(&resource["status"])?;
    let start =
        first_date(resource, &["effectiveDateTime", "effectivePeriod.start", "effectiveInstant", "issued"], place)?;
    let codes = required_codings(&resource["code"], place, "Observation.code")?;
    let single = |codes, holder: &Value| -> Result<SourceEvent, Stop> {
        let mut event = new_event(item, CdmTable::Measurement, codes, start, resource);
        (event.value, event.unit) = value(holder, place)?;
        Ok(event)
    };
    let mut events = Vec::new();
    let components = resource["component"].as_array().map(Vec::as_slice).unwrap_or_default();
    for component in components {
        let codes = required_codings(&component["code"], place, "Observation.component.code")?;
        events.push(single(codes, component)?);
    }
    let has_value = value(resource, place)?.0.is_some();
    if has_value || components.is_empty() {
        events.insert(0, single(codes, resource)?);
    }
    Ok(events)
}

fn value(holder: &Value, place: &Place) -> Result<(Option<SourceValue>, Option<String>), Stop> {
    let not_a_number = |element: &str| {
        let hint = "write numbers as JSON numbers";
        Stop::from(Problem::new("IN101", "not a number", place.column(element), hint))
    };
    let quantity = &holder["valueQuantity"];
    if !quantity.is_null() {
        let number = match &quantity["value"] {
            Value::Null => return Ok((None, None)),
            number => number.as_f64().ok_or_else(|| not_a_number("Observation.valueQuantity.value"))?,
        };
        if !quantity["comparator"].is_null() {
            // "Less than 10" is not 10.
            return Ok((None, None));
        }
        let unit = quantity["code"].as_str().or(quantity["unit"].as_str()).map(str::to_owned);
        return Ok((Some(SourceValue::Number(number)), unit));
    }
    if !holder["valueInteger"].is_null() {
        let number = holder["valueInteger"].as_f64().ok_or_else(|| not_a_number("Observation.valueInteger"))?;
        return Ok((Some(SourceValue::Number(number)), None));
    }
    let concept = &holder["valueCodeableConcept"];
    let codes = codings(concept);
    if !codes.is_empty() {
        return Ok((Some(SourceValue::Codes(codes)), None));
    }
    let text = concept["text"].as_str().or(holder["valueString"].as_str());
    Ok((text.map(|text| SourceValue::Text(text.to_owned())), None))
}

/// Condition (R4 §9.2). A recurrence of breast cancer gets its own concept before the code of the disease.
fn condition(item: usize, resource: &Value, place: &Place) -> Result<SourceEvent, Stop> {
    let code_of = |concept: &Value| codings(concept).into_iter().next().map(|coding| Value::String(coding.code));
    by_status(&code_of(&resource["verificationStatus"]).unwrap_or(Value::Null))?;
    let start = first_date(resource, &["onsetDateTime", "onsetPeriod.start", "recordedDate"], place)?;
    let mut codes = required_codings(&resource["code"], place, "Condition.code")?;
    let clinical = code_of(&resource["clinicalStatus"]);
    let recurs = matches!(clinical.as_ref().and_then(Value::as_str), Some("recurrence" | "relapse"));
    if recurs && codes.iter().any(|coding| coding.system == "http://snomed.info/sct" && coding.code == "254837009") {
        let recurrence = Coding { system: "Acequia".to_owned(), code: "breast-cancer-recurrence".to_owned() };
        codes.insert(0, recurrence);
    }
    let mut event = new_event(item, CdmTable::ConditionOccurrence, codes, start, resource);
    event.end = date(&resource["abatementDateTime"], place, "Condition.abatementDateTime")?;
    Ok(event)
}

/// Procedure (R4 §9.3).
fn procedure(item: usize, resource: &Value, place: &Place) -> Result<SourceEvent, Stop> {
    by_status(&resource["status"])?;
    let start = first_date(resource, &["performedDateTime", "performedPeriod.start"], place)?;
    let codes = required_codings(&resource["code"], place, "Procedure.code")?;
    let mut event = new_event(item, CdmTable::ProcedureOccurrence, codes, start, resource);
    event.end = date(&resource["performedPeriod"]["end"], place, "Procedure.performedPeriod.end")?;
    Ok(event)
}

/// MedicationRequest (R4 §11.1): a prescription, so the end is unknown.
fn medication_request(item: usize, resource: &Value, place: &Place) -> Result<SourceEvent, Stop> {
    by_status(&resource["status"])?;
    let only_planned = matches!(resource["intent"].as_str(), Some("proposal" | "plan" | "option"));
    if only_planned || resource["doNotPerform"] == true {
        return Err(Stop::Fate(Fate::Excluded(Excluded::DidNotHappen)));
    }
    let start = first_date(resource, &["authoredOn"], place)?;
    let element = "MedicationRequest.medicationCodeableConcept";
    let codes = required_codings(&resource["medicationCodeableConcept"], place, element)?;
    let mut event = new_event(item, CdmTable::DrugExposure, codes, start, resource);
    event.type_concept_id = EHR_PRESCRIPTION;
    Ok(event)
}

/// Encounter (R4 §8.11); class from HL7 v3 `ActCode`.
fn encounter(item: usize, entry: &Entry, place: &Place) -> Result<SourceEvent, Stop> {
    let resource = &entry.resource;
    by_status(&resource["status"])?;
    let start = first_date(resource, &["period.start"], place)?;
    let class = resource["class"]["code"].as_str();
    let kind = match class {
        Some("IMP" | "ACUTE" | "NONAC") => VisitKind::Inpatient,
        Some("AMB" | "VR" | "HH" | "SS") => VisitKind::Outpatient,
        Some("EMER") => VisitKind::Emergency,
        _ => VisitKind::Unknown,
    };
    let mut event = new_event(item, CdmTable::VisitOccurrence, Vec::new(), start, resource);
    event.end = date(&resource["period"]["end"], place, "Encounter.period.end")?;
    event.source_value = class.filter(|class| class.len() <= 10).unwrap_or_default().to_owned();
    event.visit_kind = Some(kind);
    event.visit = None;
    let by_id = || resource["id"].as_str().map(|id| format!("Encounter/{id}"));
    event.own_key = entry.full_url.clone().or_else(by_id);
    Ok(event)
}

#[cfg(test)]
mod tests {
    use acequia_omop::ItemCounts;

    use super::*;

    const BUNDLE: &str = r#"{"resourceType":"Bundle","type":"collection","entry":[
      {"fullUrl":"urn:uuid:p","resource":{"resourceType":"Patient","id":"p","gender":"female","birthDate":"1950-02-03","name":[{"family":"Secretname"}]}},
      {"fullUrl":"urn:uuid:e","resource":{"resourceType":"Encounter","id":"e","status":"finished","class":{"code":"AMB"},"subject":{"reference":"urn:uuid:p"},"period":{"start":"2010-01-01T10:00:00Z"}}},
      {"resource":{"resourceType":"Condition","subject":{"reference":"Patient/p"},"encounter":{"reference":"urn:uuid:e"},"code":{"coding":[{"system":"http://snomed.info/sct","code":"254837009"}]},"clinicalStatus":{"coding":[{"code":"recurrence"}]},"onsetDateTime":"2012-05"}},
      {"resource":{"resourceType":"Observation","status":"final","subject":{"reference":"urn:uuid:p"},"code":{"coding":[{"system":"http://loinc.org","code":"33728-7"}]},"effectiveDateTime":"2010-02-30","valueQuantity":{"value":2.5,"code":"cm"}}},
      {"resource":{"resourceType":"Observation","status":"entered-in-error","subject":{"reference":"urn:uuid:p"}}},
      {"resource":{"resourceType":"Procedure","status":"not-done","subject":{"reference":"urn:uuid:p"}}},
      {"resource":{"resourceType":"Device","patient":{"reference":"urn:uuid:p"}}},
      {"resource":{"resourceType":"Observation","status":"final","subject":{"reference":"urn:uuid:other"},"code":{"coding":[{"system":"s","code":"c"}]},"effectiveDateTime":"2010-02-01"}}
    ]}"#;

    #[test]
    fn each_resource_meets_its_fate() {
        let file = read_bundle(BUNDLE).unwrap();
        let fates: Vec<_> = file.items.iter().map(|item| item.fate.clone()).collect();
        assert_eq!(
            fates,
            [
                None,
                None,
                None,
                Some(Fate::Rejected("IN103".to_owned())),
                Some(Fate::Excluded(Excluded::EnteredInError)),
                Some(Fate::Excluded(Excluded::DidNotHappen)),
                Some(Fate::Unmapped(Unmapped::Kind)),
                Some(Fate::Held(Held::OtherPerson)),
            ]
        );
        let events = &file.records[0].events;
        assert_eq!(events.len(), 2);
        assert_eq!(events[1].codings[0].code, "breast-cancer-recurrence");
        assert_eq!(events[1].visit, events[0].own_key);
        let problem = file.problems[0].to_string();
        assert_eq!(problem, "row 4, column Observation.effectiveDateTime: no such day in the calendar (IN103)");
        assert!(!ItemCounts::of(&file.items).add_up(), "what is left open is for unify to decide");
    }

    #[test]
    fn truncation_is_told_from_bad_syntax() {
        assert!(matches!(read_bundle(&BUNDLE[..900]), Err(IntakeError::Truncated { .. })));
        assert!(matches!(read_bundle(&BUNDLE.replacen(':', ";", 3)), Err(IntakeError::Json { row: 1, .. })));
        assert_eq!(read_bundle("{}"), Err(IntakeError::NotABundle));
    }
}
