//! One donor's record: a FHIR R4 bundle of type `collection`, as an app or portal exports it.
//!
//! Codes: SNOMED CT, LOINC, RxNorm as in `crates/omop/data/concepts.csv`. Some entries are messy on purpose, as exports
//! are: entered in error, not done, unknown local codes, centimetres for millimetres, a day that does not exist.

use chrono::{Datelike, Days, NaiveDate};
use rand::{Rng, RngExt};
use serde_json::{Value, json};

use crate::names::Person;

const SNOMED: &str = "http://snomed.info/sct";
const LOINC: &str = "http://loinc.org";
const RXNORM: &str = "http://www.nlm.nih.gov/research/umls/rxnorm";
const LOCAL: &str = "https://acequia.example/fhir/CodeSystem/clinical";

fn concept(system: &str, code: &str, display: &str) -> Value {
    json!({ "coding": [{ "system": system, "code": code, "display": display }], "text": display })
}

/// A name-based id that depends on the donor and the position only.
fn id(at: usize, nth: usize) -> String {
    let mixed = (at as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (nth as u64).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hex = format!("{mixed:016x}{:016x}", mixed.rotate_left(29).wrapping_mul(0x94d0_49bb_1331_11eb));
    format!("{}-{}-4{}-a{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..32])
}

struct Bundle<'a> {
    entries: Vec<Value>,
    at: usize,
    person: &'a Person,
    encounter: Option<String>,
}

impl Bundle<'_> {
    fn push(&mut self, mut resource: Value) -> String {
        let id = id(self.at, self.entries.len());
        let url = format!("urn:uuid:{id}");
        resource["id"] = json!(id);
        if resource["resourceType"] != "Patient" {
            resource["subject"] = json!({ "reference": self.entries[0]["fullUrl"], "display": format!("{} {}", self.person.given, self.person.family) });
        }
        if let Some(encounter) = self.encounter.as_ref().filter(|_| resource["resourceType"] != "Encounter") {
            resource["encounter"] = json!({ "reference": encounter });
        }
        self.entries.push(json!({ "fullUrl": url, "resource": resource }));
        url
    }

    fn visit(&mut self, class: &str, day: NaiveDate, days: u64) {
        self.encounter = None;
        let url = self.push(json!({
            "resourceType": "Encounter", "status": "finished",
            "class": { "system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": class },
            "period": { "start": format!("{day}T08:30:00+01:00"), "end": format!("{}T12:00:00+01:00", day + Days::new(days)) },
        }));
        self.encounter = Some(url);
    }

    fn observe(&mut self, day: NaiveDate, code: Value, value: (&str, Value)) {
        let mut resource = json!({ "resourceType": "Observation", "status": "final", "code": code,
            "effectiveDateTime": format!("{day}T10:00:00+01:00") });
        resource[value.0] = value.1;
        self.push(resource);
    }

    fn procedure(&mut self, day: NaiveDate, code: &str, display: &str) {
        self.push(json!({ "resourceType": "Procedure", "status": "completed", "code": concept(SNOMED, code, display),
            "performedPeriod": { "start": format!("{day}T09:00:00+01:00"), "end": format!("{day}T11:00:00+01:00") } }));
    }

    fn prescribe(&mut self, day: NaiveDate, code: &str, display: &str) {
        self.push(json!({ "resourceType": "MedicationRequest", "status": "completed", "intent": "order",
            "medicationCodeableConcept": concept(RXNORM, code, display), "authoredOn": day.to_string() }));
    }
}

fn presence(positive: bool) -> (&'static str, Value) {
    let value =
        if positive { concept(SNOMED, "10828004", "Positive") } else { concept(SNOMED, "260385009", "Negative") };
    ("valueCodeableConcept", value)
}

fn patient(person: &Person, at: usize, died: Option<NaiveDate>) -> Value {
    let mut patient = json!({
        "resourceType": "Patient",
        "identifier": [
            { "type": { "text": "insurance number" }, "system": "https://insurer.example/ids", "value": person.insurance_number },
            { "type": { "text": "medical record number" }, "system": "https://clinic.example/mrn", "value": person.record_number },
        ],
        "name": [{ "use": "official", "family": person.family, "given": [person.given] }],
        "telecom": [{ "system": "phone", "value": person.phone }, { "system": "phone", "use": "mobile", "value": person.phone.replace(' ', "") },
            { "system": "email", "value": person.email }],
        "gender": "female",
        "birthDate": person.birth.to_string(),
        "address": [{ "line": [person.street], "city": person.city, "postalCode": person.postal_code, "country": "NL" }],
    });
    // One in sixty left the birth date out.
    if at % 60 == 31
        && let Some(patient) = patient.as_object_mut()
    {
        patient.remove("birthDate");
    }
    if let Some(died) = died {
        patient["deceasedDateTime"] = json!(died.to_string());
    }
    patient
}

/// Draws from an exponential distribution with this mean, in days.
fn exponential_days(rng: &mut impl Rng, mean_days: f64) -> u64 {
    let uniform: f64 = rng.random_range(1e-9..1.0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a waiting time below 200 years")]
    {
        (-uniform.ln() * mean_days).min(70_000.0) as u64
    }
}

#[expect(clippy::too_many_lines, reason = "one care pathway, told in its order")]
pub(crate) fn bundle(rng: &mut impl Rng, person: &Person, at: usize) -> Vec<u8> {
    let day = person.diagnosis;
    let age = day.year() - person.birth.year();
    let postmenopausal = age > 50 + rng.random_range(-4..5);
    let grade = [1, 2, 2, 2, 3, 3, 3][rng.random_range(0..7)];
    let size_mm = (rng.random_range(5.0..28.0_f64) * rng.random_range(0.7..2.1_f64)).round();
    let nodes = if rng.random_bool(0.5) { 0 } else { exponential_days(rng, 4.0).min(40) + 1 };
    let er = rng.random_bool(if grade == 3 { 0.6 } else { 0.82 });
    let pgr = er && rng.random_bool(0.8);
    let her2 = rng.random_bool(0.15);
    let chemo = nodes > 3 || (grade == 3 && age < 65) || her2;
    let hormone = er;

    let hazard =
        1.0 + f64::from(u32::try_from(nodes).unwrap_or(0)) * 0.18 + f64::from(grade - 1) * 0.4 + size_mm / 60.0;
    // The export is of January 2026; nobody is seen later.
    let exported = NaiveDate::from_ymd_opt(2026, 1, 15).unwrap_or_default();
    let followed = (day + Days::new(rng.random_range(700..4200))).min(exported);
    let recurrence = Some(day + Days::new(exponential_days(rng, 9_000.0 / hazard) + 60)).filter(|on| *on < followed);
    let after = recurrence.unwrap_or(day)
        + Days::new(exponential_days(rng, if recurrence.is_some() { 1_500.0 } else { 14_000.0 }) + 30);
    let died = Some(after).filter(|on| *on < followed);
    let last = died.unwrap_or(followed);

    let mut bundle = Bundle { entries: Vec::new(), at, person, encounter: None };
    bundle.push(patient(person, at, died));
    bundle.visit("AMB", day, 0);
    bundle.push(json!({ "resourceType": "Condition",
        "clinicalStatus": { "coding": [{ "system": "http://terminology.hl7.org/CodeSystem/condition-clinical", "code": "active" }] },
        "verificationStatus": { "coding": [{ "system": "http://terminology.hl7.org/CodeSystem/condition-ver-status", "code": "confirmed" }] },
        "code": concept(SNOMED, "254837009", "Malignant neoplasm of breast"), "onsetDateTime": day.to_string(), "recordedDate": day.to_string() }));
    // A few exports lack a finding.
    if at % 17 != 3 {
        let status =
            if postmenopausal { ("postmenopausal", "Postmenopausal") } else { ("premenopausal", "Premenopausal") };
        bundle.observe(
            day,
            concept(LOCAL, "menopausal-status", "Menopausal status"),
            ("valueCodeableConcept", concept(LOCAL, status.0, status.1)),
        );
    }
    let size = concept(LOINC, "33728-7", "Size.maximum dimension in Tumor");
    let (value, unit) = if at % 5 == 2 { (size_mm / 10.0, "cm") } else { (size_mm, "mm") };
    bundle.observe(
        day,
        size,
        ("valueQuantity", json!({ "value": value, "unit": unit, "system": "http://unitsofmeasure.org", "code": unit })),
    );

    let surgery = day + Days::new(rng.random_range(10..40));
    bundle.visit("IMP", surgery, 3);
    if size_mm < 35.0 {
        bundle.procedure(surgery, "392021009", "Lumpectomy of breast");
    } else {
        bundle.procedure(surgery, "172043006", "Simple mastectomy");
    }
    bundle.procedure(surgery, "396487001", "Sentinel lymph node biopsy");
    if at % 23 != 11 {
        bundle.observe(surgery, concept(LOINC, "44648-4", "Histologic grade"), ("valueInteger", json!(grade)));
    }
    bundle.observe(surgery, concept(LOINC, "21893-3", "Regional lymph nodes positive"), ("valueInteger", json!(nodes)));
    bundle.observe(surgery, concept(LOINC, "85337-4", "Estrogen receptor"), presence(er));
    bundle.observe(surgery, concept(LOINC, "85339-0", "Progesterone receptor"), presence(pgr));
    bundle.observe(surgery, concept(LOINC, "85319-2", "HER2"), presence(her2));

    // What exports are like.
    if at % 11 == 4 {
        bundle.push(json!({ "resourceType": "Observation", "status": "entered-in-error", "code": concept(LOINC, "21893-3", "Regional lymph nodes positive"),
            "effectiveDateTime": surgery.to_string(), "valueInteger": 99 }));
    }
    if at % 13 == 6 {
        bundle.push(json!({ "resourceType": "Procedure", "status": "not-done", "code": concept(SNOMED, "108290001", "Radiotherapy") }));
    }
    if at % 9 == 1 {
        bundle.observe(
            surgery,
            concept("https://lab.example/codes", "KI-67-LOC", "Ki-67, local method"),
            ("valueQuantity", json!({ "value": 18, "unit": "%" })),
        );
    }
    if at % 14 == 5 {
        bundle.push(json!({ "resourceType": "Device", "status": "active", "note": [{ "text": format!("port implanted for {} {}", person.given, person.family) }] }));
    }
    if at % 60 == 17 {
        bundle.push(json!({ "resourceType": "Observation", "status": "final", "code": concept(LOINC, "39156-5", "Body mass index"),
            "effectiveDateTime": "2025-02-30", "valueQuantity": { "value": 24.1, "code": "kg/m2" } }));
    }

    let therapy = surgery + Days::new(30);
    bundle.visit("AMB", therapy, 0);
    if chemo {
        bundle.procedure(therapy, "367336001", "Chemotherapy");
        for (code, display) in [("1734919", "cyclophosphamide"), ("1790099", "doxorubicin"), ("583214", "paclitaxel")] {
            bundle.prescribe(therapy, code, display);
        }
    }
    if size_mm < 35.0 {
        bundle.procedure(therapy + Days::new(60), "108290001", "Radiotherapy");
    }
    if hormone {
        let (code, display) =
            if postmenopausal { ("199224", "anastrozole 1 MG") } else { ("198240", "tamoxifen 10 MG") };
        bundle.prescribe(therapy + Days::new(90), code, display);
    }
    // Follow-up twice a year in the beginning, later once.
    let mut visit = therapy + Days::new(180);
    while visit < last && bundle.entries.len() < 60 {
        bundle.visit("AMB", visit, 0);
        visit = visit + Days::new(if visit < day + Days::new(1095) { 180 } else { 365 });
    }
    if let Some(recurrence) = recurrence {
        bundle.visit("AMB", recurrence, 0);
        let onset = if at.is_multiple_of(8) {
            format!("{:04}-{:02}", recurrence.year(), recurrence.month())
        } else {
            recurrence.to_string()
        };
        bundle.push(json!({ "resourceType": "Condition",
            "clinicalStatus": { "coding": [{ "system": "http://terminology.hl7.org/CodeSystem/condition-clinical", "code": "recurrence" }] },
            "code": concept(SNOMED, "254837009", "Malignant neoplasm of breast"), "onsetDateTime": onset, "recordedDate": recurrence.to_string() }));
    }
    if died.is_none() {
        bundle.visit("AMB", last, 0);
    }
    let bundle = json!({ "resourceType": "Bundle", "id": id(at, usize::MAX), "type": "collection",
        "timestamp": "2026-01-20T12:00:00Z", "entry": bundle.entries });
    format!("{bundle:#}\n").into_bytes()
}
