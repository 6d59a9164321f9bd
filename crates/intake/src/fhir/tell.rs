//! From a resource to events. Element names and status codes are those of HL7 FHIR R4; the section of each resource is
//! named at its function.

use acequia_omop::{Code, DateError, Event, Excluded, Fate, Held, Kind, More, Party, Person, Sex, Sink, Value, When};
use acequia_types::{Place, Problem};

use super::resource::{Concept, Dated, Part, Resource, Val};
use super::{FullUrls, versionless};

/// OMOP type concepts: EHR, EHR prescription, EHR administration record, patient self-report.
const EHR: i64 = 32_817;
const EHR_PRESCRIPTION: i64 = 32_838;
const EHR_ADMINISTRATION: i64 = 32_818;
const PATIENT_REPORT: i64 = 32_865;

const SNOMED: &str = "http://snomed.info/sct";
const LOINC: &str = "http://loinc.org";

/// "Allergy to substance", "family history of clinical finding".
const ALLERGY: [Code<'static>; 1] = [Code { system: SNOMED, code: "419199007" }];
const FAMILY_HISTORY: [Code<'static>; 1] = [Code { system: SNOMED, code: "416471007" }];
/// "Marital status", "preferred language".
const MARITAL_STATUS: [Code<'static>; 1] = [Code { system: LOINC, code: "45404-1" }];
const LANGUAGE: [Code<'static>; 1] = [Code { system: LOINC, code: "54899-0" }];

/// Longest text of a note that is taken, in bytes.
const LONGEST_NOTE: usize = 1 << 20;

/// What is to be done with the item: `None` lets unification decide.
type Told = Result<Option<Fate>, Problem>;

pub(super) struct Teller<'r, 'a> {
    pub(super) kind: &'a str,
    pub(super) key: &'a str,
    pub(super) resource: &'r Resource<'a>,
    pub(super) urls: Option<&'r FullUrls<'a>>,
    pub(super) place: &'r Place,
}

fn left_out(why: Excluded) -> Told {
    Ok(Some(Fate::Excluded(why)))
}

impl<'a> Teller<'_, 'a> {
    pub(super) fn tell(&self, sink: &mut dyn Sink) -> Told {
        let status = self.resource.status;
        if status == "entered-in-error" {
            return left_out(Excluded::EnteredInError);
        }
        // What is planned, prepared or refused has not happened (R4 value sets of each `status`).
        let not_yet = match self.kind {
            "Encounter" => matches!(status, "planned" | "cancelled"),
            "Observation" | "DiagnosticReport" => status == "cancelled",
            "Procedure" => matches!(status, "preparation" | "not-done" | "cancelled"),
            "Immunization" => status == "not-done",
            "MedicationRequest" => matches!(status, "cancelled" | "draft"),
            "MedicationStatement" => matches!(status, "not-taken" | "intended" | "cancelled"),
            "MedicationAdministration" => matches!(status, "not-done" | "cancelled"),
            "MedicationDispense" => matches!(status, "preparation" | "cancelled" | "declined"),
            "DeviceUseStatement" => status == "intended",
            "ImagingStudy" => matches!(status, "registered" | "cancelled"),
            "FamilyMemberHistory" => status == "health-unknown",
            _ => false,
        };
        if not_yet {
            return left_out(Excluded::DidNotHappen);
        }
        match self.kind {
            "Patient" => self.patient(sink),
            "Practitioner" => self.practitioner(sink),
            "Organization" | "Location" => self.care_site(sink),
            "Encounter" => self.encounter(sink),
            "Medication" | "Device" => self.definition(sink),
            "Observation" => self.observation(sink),
            "Condition" => self.condition(sink),
            "Procedure" => self.procedure(sink),
            "MedicationRequest"
            | "MedicationStatement"
            | "MedicationAdministration"
            | "MedicationDispense"
            | "Immunization" => self.drug(sink),
            "AllergyIntolerance" => self.allergy(sink),
            "DiagnosticReport" => self.report(sink),
            "DeviceUseStatement" => self.device_use(sink),
            "Specimen" => self.specimen(sink),
            "DocumentReference" | "Composition" | "ClinicalImpression" => self.note(sink),
            "ImagingStudy" => self.imaging(sink),
            "FamilyMemberHistory" => self.family(sink),
            _ => Ok(Some(Fate::Unmapped(acequia_omop::Unmapped::Kind))),
        }
    }

    /// The key a reference names, if it can be of one of these types.
    fn reference(&self, reference: &'a str, types: &[&str]) -> &'a str {
        if reference.is_empty() || reference.starts_with('#') {
            return "";
        }
        if let Some(key) = self.urls.and_then(|urls| urls.get(reference)) {
            return key;
        }
        if let Some(uuid) = reference.strip_prefix("urn:uuid:") {
            return uuid;
        }
        let whole = versionless(reference);
        let Some(slash) = memchr::memrchr(b'/', whole.as_bytes()) else { return whole };
        let before = &whole[..slash];
        let kind = memchr::memrchr(b'/', before.as_bytes()).map_or(before, |at| &before[at + 1..]);
        if types.contains(&kind) { &whole[slash + 1..] } else { "" }
    }

    /// The same with the type before it, where resources of several types are told as one kind.
    fn typed(&self, reference: &'a str, kind: &str) -> String {
        let key = self.reference(reference, &[kind]);
        if key.is_empty() { String::new() } else { format!("{kind}/{key}") }
    }

    /// The key of the resource itself, likewise.
    fn typed_key(&self) -> String {
        format!("{}/{}", self.kind, self.key)
    }

    fn when(&self, dated: Dated<'a>) -> Result<Option<When>, Problem> {
        if dated.text.is_empty() {
            return Ok(None);
        }
        When::parse(dated.text).map(Some).map_err(|error| {
            let (code, hint) = match error {
                DateError::Calendar => ("IN103", "correct the date at the source"),
                DateError::Form => ("IN104", "write dates as YYYY-MM-DD"),
            };
            Problem::new(code, error.to_string(), self.at(dated.element), hint)
        })
    }

    fn at(&self, element: &str) -> Place {
        let column = match &self.place.column {
            Some(before) => format!("{before}.{}.{element}", self.kind),
            None => format!("{}.{element}", self.kind),
        };
        self.place.column(&column)
    }

    /// The moment, else the begin of the period, else when it was recorded.
    fn start(&self) -> Result<Option<When>, Problem> {
        let resource = self.resource;
        for dated in [resource.moment, resource.from, resource.recorded] {
            if let Some(when) = self.when(dated)? {
                return Ok(Some(when));
            }
        }
        Ok(None)
    }

    fn codes(&self, concept: Concept<'a>) -> &[Code<'a>] {
        self.resource.codes(concept.codes)
    }

    /// A concept must have a code, or a text at least.
    fn required(&self, concept: Concept<'a>, element: &str) -> Result<(), Problem> {
        if self.codes(concept).is_empty() && concept.text.trim().is_empty() {
            let hint = "give a coding with system and code";
            return Err(Problem::new("IN108", "the code has neither coding nor text", self.at(element), hint));
        }
        Ok(())
    }

    /// What all events have. `Err` when a date is wrong.
    fn event(&self, kind: Kind) -> Result<Event<'a>, Problem> {
        let resource = self.resource;
        Ok(Event {
            kind,
            person: self.reference(resource.subject, &["Patient"]),
            key: self.key,
            text: resource.main.code.text,
            start: self.start()?,
            end: self.when(resource.to)?,
            type_concept_id: EHR,
            visit: self.reference(resource.encounter, &["Encounter"]),
            provider: self.reference(resource.provider, &["Practitioner"]),
            ..Event::default()
        })
    }

    /// Patient (R4 §8.1).
    fn patient(&self, sink: &mut dyn Sink) -> Told {
        let told = self.own_patient(sink);
        if !matches!(told, Ok(None)) {
            sink.withhold(self.key);
        }
        told
    }

    fn own_patient(&self, sink: &mut dyn Sink) -> Told {
        let resource = self.resource;
        if self.key.is_empty() {
            let hint = "give the patient an id or the entry a fullUrl";
            return Err(Problem::new("IN108", "the patient has no id", self.at("id"), hint));
        }
        let (birth, died, stated) =
            (self.when(resource.birth)?, self.when(resource.died)?, self.when(resource.moment)?);
        if died.is_none() && resource.dead {
            // Dead on an unknown day: counting her as alive would be wrong, and so would any day.
            return Ok(Some(Fate::Held(Held::NoDate)));
        }
        // OMOP asks for the sex at birth; where only the administrative gender is stated, that.
        let sex = match (resource.birth_sex, resource.gender) {
            ("F", _) | ("", "female") => Sex::Female,
            ("M", _) | ("", "male") => Sex::Male,
            _ => Sex::Unknown,
        };
        let known = |text: &'a str| if matches!(text, "female" | "male" | "other" | "unknown") { text } else { "" };
        let (own, managing) = (self.typed_key(), self.typed(resource.site_of_care, "Organization"));
        let location = Party::Location {
            key: &own,
            state: resource.state,
            zip: coarse(resource.postal_code),
            country: resource.country,
        };
        // Where nobody can be loaded there is no place of hers.
        let has_address = birth.is_some()
            && !(resource.state.is_empty() && resource.postal_code.is_empty() && resource.country.is_empty());
        if has_address {
            sink.party(&location);
        }
        let first = |span| resource.codes(span).first().copied().unwrap_or_default();
        sink.person(&Person {
            sex,
            sex_source: known(resource.gender),
            birth,
            race: first(resource.race),
            ethnicity: first(resource.ethnicity),
            death: died,
            location: if has_address { &own } else { "" },
            provider: self.reference(resource.provider, &["Practitioner"]),
            care_site: &managing,
            type_concept_id: EHR,
            ..Person::new(self.key)
        });
        for (codes, concept) in [(&MARITAL_STATUS, resource.marital), (&LANGUAGE, resource.language)] {
            let values = self.codes(concept);
            // Both hold at the time of export only, of which the resource says nothing; they are dated where a date is known.
            if !values.is_empty() && stated.is_some() {
                sink.event(&Event {
                    kind: Kind::Observation,
                    person: self.key,
                    codes,
                    start: stated,
                    value: Value::Codes(values),
                    type_concept_id: EHR,
                    ..Event::default()
                });
            }
        }
        Ok(None)
    }

    /// Practitioner (R4 §8.4). The name is not read.
    fn practitioner(&self, sink: &mut dyn Sink) -> Told {
        let sex = match self.resource.gender {
            "female" => Sex::Female,
            "male" => Sex::Male,
            _ => Sex::Unknown,
        };
        let specialty = self.codes(self.resource.specialty);
        sink.party(&Party::Provider { key: self.key, specialty, sex, care_site: "" });
        Ok(None)
    }

    /// Organization (R4 §8.6) and Location (R4 §8.8).
    fn care_site(&self, sink: &mut dyn Sink) -> Told {
        let resource = self.resource;
        let key = self.typed_key();
        let has_address =
            !(resource.state.is_empty() && resource.postal_code.is_empty() && resource.country.is_empty());
        if has_address {
            let (state, zip, country) = (resource.state, coarse(resource.postal_code), resource.country);
            sink.party(&Party::Location { key: &key, state, zip, country });
        }
        let place = self.codes(resource.kind).first().copied().unwrap_or_default();
        let location = if has_address { &key[..] } else { "" };
        sink.party(&Party::CareSite { key: &key, name: resource.name, place, location });
        Ok(None)
    }

    /// Encounter (R4 §8.11); class from HL7 v3 `ActCode`. The encounter's number is not taken.
    fn encounter(&self, sink: &mut dyn Sink) -> Told {
        let resource = self.resource;
        let class = resource.first(resource.class);
        let parent = self.reference(resource.part_of, &["Encounter"]);
        let mut site = self.typed(resource.site_of_care, "Organization");
        if !resource.place.is_empty() && !parent.is_empty() {
            site = self.typed(resource.place, "Location");
        }
        let mut event = self.event(if parent.is_empty() { Kind::Visit } else { Kind::VisitDetail })?;
        event.visit_concept_id = match class {
            "AMB" => 9202,
            "IMP" | "ACUTE" | "NONAC" => 9201,
            "EMER" => 9203,
            "OBSENC" => 262,
            "VR" => 722_455,
            "HH" => 581_476,
            "SS" => 9202,
            _ => 0,
        };
        event.text = if class.len() <= 10 { class } else { "" };
        (event.visit, event.parent) = ("", parent);
        event.care_site = &site;
        event.more.admitted_from = resource.first(resource.admitted_from);
        event.more.discharged_to = resource.first(resource.discharged_to);
        sink.event(&event);
        Ok(None)
    }

    /// Medication (R4 §11.5) and Device (R4 §8.7): what others refer to.
    fn definition(&self, sink: &mut dyn Sink) -> Told {
        let resource = self.resource;
        let own = if self.kind == "Device" { resource.kind } else { resource.main.code };
        let ingredient = resource.parts.first().map_or(Concept::default(), |part| part.code);
        let codes = [own, ingredient].into_iter().map(|concept| self.codes(concept)).find(|codes| !codes.is_empty());
        let of_patient = self.kind == "Device" && !resource.subject.is_empty();
        let event = if of_patient { Some(self.event(Kind::Device)?) } else { None };
        sink.define(&self.typed_key(), codes.unwrap_or_default());
        if let Some(mut event) = event {
            // A device of a patient without a statement of its use has no date: nobody can tell since when.
            event.more.udi = resource.udi;
            (event.text, event.start, event.end) = (own.text, None, None);
            if event.visit.is_empty() {
                return Ok(Some(Fate::Held(Held::NoDate)));
            }
            sink.event(&Event { codes: self.codes(own), ..event });
            return Ok(None);
        }
        left_out(Excluded::ToldElsewhere)
    }

    fn value(&self, part: &Part<'a>, element: &str) -> Result<Value<'_>, Problem> {
        Ok(match part.value {
            Val::None => Value::None,
            Val::Number(number, _) if number.is_nan() => {
                let hint = "write numbers as JSON numbers";
                return Err(Problem::new("IN101", "not a number", self.at(element), hint));
            }
            Val::Number(number, comparator) => Value::Number(number, comparator),
            Val::Codes(span) => Value::Codes(self.resource.codes(span)),
            Val::Text(text) => Value::Text(text),
        })
    }

    /// Observation (R4 §10.1): the value, or one event for each component.
    fn observation(&self, sink: &mut dyn Sink) -> Told {
        let resource = self.resource;
        let category = resource.first(resource.category);
        let kind = match category {
            "social-history" | "survey" | "exam" | "activity" | "therapy" => Kind::Observation,
            _ => Kind::Measurement,
        };
        self.required(resource.main.code, "code")?;
        for part in &resource.parts {
            self.required(part.code, "component.code")?;
            self.value(part, "component.value")?;
        }
        let mut event = self.event(kind)?;
        event.end = None;
        event.more.specimen = self.reference(resource.specimen, &["Specimen"]);
        event.more.site = self.codes(resource.body_site);
        let own = self.value(&resource.main, "valueQuantity.value")?;
        let tell = |part: &Part<'a>, value: Value<'_>, event: &Event<'_>, sink: &mut dyn Sink| {
            sink.event(&Event {
                codes: self.codes(part.code),
                text: part.code.text,
                value,
                unit: part.unit,
                range: (part.low, part.high),
                more: More { qualifier: self.codes(part.qualifier), ..event.more },
                ..*event
            });
        };
        if own != Value::None || resource.parts.is_empty() {
            tell(&resource.main, own, &event, sink);
        }
        // Components answer to no key: the observation does.
        event.key = if own == Value::None { event.key } else { "" };
        for part in &resource.parts {
            tell(part, self.value(part, "component.value")?, &event, sink);
            event.key = "";
        }
        Ok(None)
    }

    /// Condition (R4 §9.2). A recurrence of breast cancer gets its own concept before the code of the disease.
    fn condition(&self, sink: &mut dyn Sink) -> Told {
        let resource = self.resource;
        match resource.first(resource.verification) {
            "entered-in-error" => return left_out(Excluded::EnteredInError),
            "refuted" => return left_out(Excluded::DidNotHappen),
            _ => {}
        }
        self.required(resource.main.code, "code")?;
        let codes = self.codes(resource.main.code);
        if let Some(fate) = absent_or_unknown(codes) {
            return self.absence(codes, fate, sink);
        }
        let mut event = self.event(Kind::Condition)?;
        let status = resource.first(resource.verification);
        event.more.status = if status.is_empty() { resource.first(resource.category) } else { status };
        event.more.status = if event.more.status.len() <= 50 { event.more.status } else { "" };
        let breast_cancer = Code { system: SNOMED, code: "254837009" };
        let recurs = matches!(resource.first(resource.clinical), "recurrence" | "relapse");
        if recurs && codes.contains(&breast_cancer) {
            let recurrence = [Code { system: "Acequia", code: "breast-cancer-recurrence" }];
            sink.event(&Event { codes: &[&recurrence[..], codes].concat(), ..event });
        } else {
            sink.event(&Event { codes, ..event });
        }
        Ok(None)
    }

    /// "No known …" is a fact about the person, "no information about …" is none (IPS, absent and unknown data).
    fn absence(&self, codes: &[Code<'a>], fate: Option<Fate>, sink: &mut dyn Sink) -> Told {
        if fate.is_none() {
            sink.event(&Event { codes, ..self.event(Kind::Observation)? });
        }
        Ok(fate)
    }

    /// Procedure (R4 §9.3).
    fn procedure(&self, sink: &mut dyn Sink) -> Told {
        let resource = self.resource;
        self.required(resource.main.code, "code")?;
        let codes = self.codes(resource.main.code);
        if let Some(fate) = absent_or_unknown(codes) {
            return self.absence(codes, fate, sink);
        }
        let mut event = self.event(Kind::Procedure)?;
        event.more.site = self.codes(resource.body_site);
        sink.event(&Event { codes, ..event });
        Ok(None)
    }

    /// MedicationRequest, MedicationStatement, MedicationAdministration, MedicationDispense, Immunization (R4 §11).
    fn drug(&self, sink: &mut dyn Sink) -> Told {
        let resource = self.resource;
        if self.kind == "MedicationRequest"
            && (matches!(resource.intent, "proposal" | "plan" | "option") || resource.do_not_perform)
        {
            return left_out(Excluded::DidNotHappen);
        }
        let mut codes = self.codes(resource.main.code);
        let mut codes_of = String::new();
        if codes.is_empty()
            && let Some(local) = resource.definition.strip_prefix('#')
        {
            let inside = resource.contained.iter().find(|(id, _)| *id == local);
            codes = inside.map_or(&[], |(_, concept)| self.codes(*concept));
        } else if codes.is_empty() {
            codes_of = self.typed(resource.definition, "Medication");
        }
        if codes.is_empty() && codes_of.is_empty() {
            let element = if self.kind == "Immunization" { "vaccineCode" } else { "medicationCodeableConcept" };
            self.required(resource.main.code, element)?;
        }
        if let Some(fate) = absent_or_unknown(codes) {
            return self.absence(codes, fate, sink);
        }
        let mut event = self.event(Kind::Drug)?;
        event.type_concept_id = match self.kind {
            "MedicationRequest" if resource.reported => PATIENT_REPORT,
            "MedicationRequest" => EHR_PRESCRIPTION,
            "MedicationAdministration" => EHR_ADMINISTRATION,
            "MedicationStatement" => PATIENT_REPORT,
            _ => EHR,
        };
        // Others refer to prescriptions only.
        event.key = if self.kind == "MedicationRequest" { self.key } else { "" };
        let number = |number: Option<f64>| number.filter(|number| number.is_finite());
        #[expect(clippy::cast_possible_truncation, reason = "bounded before")]
        let whole = |value: Option<f64>| number(value).filter(|value| value.abs() < 1e6).map(|value| value as i64);
        event.more = More {
            site: self.codes(resource.route),
            quantity: number(resource.quantity.value),
            quantity_unit: resource.quantity.unit,
            days_supply: whole(resource.days_supply),
            refills: whole(resource.refills),
            sig: resource.sig,
            lot: resource.lot,
            repeats: self.reference(resource.repeats, &["MedicationRequest"]),
            ..More::default()
        };
        sink.event(&Event { codes, codes_of: &codes_of, ..event });
        Ok(None)
    }

    /// AllergyIntolerance (R4 §9.1): the allergy, and each manifestation as an observation about it.
    fn allergy(&self, sink: &mut dyn Sink) -> Told {
        let resource = self.resource;
        match resource.first(resource.verification) {
            "entered-in-error" => return left_out(Excluded::EnteredInError),
            "refuted" => return left_out(Excluded::DidNotHappen),
            _ => {}
        }
        self.required(resource.main.code, "code")?;
        let codes = self.codes(resource.main.code);
        if let Some(fate) = absent_or_unknown(codes) {
            return self.absence(codes, fate, sink);
        }
        let event = Event { end: None, ..self.event(Kind::Observation)? };
        let mut reactions = Vec::new();
        for part in resource.parts.iter().filter(|part| !self.codes(part.code).is_empty()) {
            reactions.push((part, self.when(Dated { text: part.date, element: "reaction.onset" })?));
        }
        sink.event(&Event { codes, more: More { finding: &ALLERGY, ..More::default() }, ..event });
        for (part, own) in reactions {
            sink.event(&Event {
                codes: self.codes(part.code),
                text: part.code.text,
                key: "",
                parent: self.key,
                start: own.or(event.start),
                more: More { qualifier: self.codes(part.qualifier), ..More::default() },
                ..event
            });
        }
        Ok(None)
    }

    /// DiagnosticReport (R4 §10.3): its conclusion. Results are told by their observations.
    fn report(&self, sink: &mut dyn Sink) -> Told {
        let resource = self.resource;
        let event = self.event(Kind::Note)?;
        let mut told = false;
        for code in self.codes(resource.conclusion_codes) {
            sink.event(&Event { kind: Kind::Condition, codes: &[*code], key: "", ..event });
            told = true;
        }
        let text = self.text_of_note();
        if !text.is_empty() {
            let (codes, title) = (self.codes(resource.main.code), resource.main.code.text);
            sink.event(&Event { codes, more: More { note: &text, title, ..More::default() }, ..event });
            told = true;
        }
        match (told, resource.has_attachment) {
            (true, _) => Ok(None),
            (false, true) => Ok(Some(Fate::Held(Held::NoText))),
            (false, false) => left_out(Excluded::ToldElsewhere),
        }
    }

    /// DocumentReference (R4 §13.5), Composition (R4 §2.4), ClinicalImpression (R4 §9.4).
    fn note(&self, sink: &mut dyn Sink) -> Told {
        let resource = self.resource;
        if resource.status == "superseded" {
            return left_out(Excluded::ToldElsewhere);
        }
        let text = self.text_of_note();
        if text.is_empty() {
            return Ok(Some(Fate::Held(Held::NoText)));
        }
        let event = self.event(Kind::Note)?;
        let title = if resource.title.is_empty() { resource.kind.text } else { resource.title };
        let codes = self.codes(resource.kind);
        let more = More { note: &text, title, ..More::default() };
        sink.event(&Event { codes, end: None, text: resource.kind.text, more, ..event });
        Ok(None)
    }

    fn text_of_note(&self) -> String {
        let mut text = String::new();
        let attached = decode_text(self.resource.attachment);
        // The description of a document is not its text.
        let own = if self.kind == "DocumentReference" { &[][..] } else { &self.resource.texts };
        for piece in own.iter().copied().chain(attached.as_deref()) {
            let room = LONGEST_NOTE.saturating_sub(text.len());
            let piece = without_markup(piece);
            let end = (0..=room.min(piece.len())).rev().find(|end| piece.is_char_boundary(*end)).unwrap_or(0);
            if !text.is_empty() && end > 0 {
                text.push('\n');
            }
            text.push_str(&piece[..end]);
        }
        text
    }

    /// DeviceUseStatement (R4 §9.8).
    fn device_use(&self, sink: &mut dyn Sink) -> Told {
        let resource = self.resource;
        let mut event = self.event(Kind::Device)?;
        let codes_of = self.typed(resource.definition, "Device");
        event.codes_of = &codes_of;
        let local = resource.definition.strip_prefix('#').unwrap_or_default();
        let inside = resource.contained.iter().find(|(id, _)| !local.is_empty() && *id == local);
        if event.codes_of.is_empty() && inside.is_none() {
            let hint = "export the device that the statement refers to";
            return Err(Problem::new("IN108", "the statement names no device", self.at("device"), hint));
        }
        let codes = inside.map_or(&[][..], |(_, concept)| self.codes(*concept));
        sink.event(&Event { codes, ..event });
        Ok(None)
    }

    /// Specimen (R4 §10.8).
    fn specimen(&self, sink: &mut dyn Sink) -> Told {
        let resource = self.resource;
        self.required(resource.kind, "type")?;
        let mut event = self.event(Kind::Specimen)?;
        event.text = resource.kind.text;
        event.more.site = self.codes(resource.body_site);
        event.more.quantity = resource.quantity.value.filter(|value| value.is_finite());
        event.more.quantity_unit = resource.quantity.unit;
        sink.event(&Event { codes: self.codes(resource.kind), ..event });
        Ok(None)
    }

    /// ImagingStudy (R4 §10.5): the procedure, else the modality. The images stay outside OMOP.
    fn imaging(&self, sink: &mut dyn Sink) -> Told {
        let resource = self.resource;
        let mut event = self.event(Kind::Procedure)?;
        event.more.site = self.codes(resource.body_site);
        let procedure = self.codes(resource.main.code);
        let codes = if procedure.is_empty() { self.codes(resource.modality) } else { procedure };
        if codes.is_empty() {
            self.required(resource.main.code, "procedureCode")?;
        }
        sink.event(&Event { codes, ..event });
        Ok(None)
    }

    /// FamilyMemberHistory (R4 §9.5): one observation per condition of the relative.
    fn family(&self, sink: &mut dyn Sink) -> Told {
        let resource = self.resource;
        let event = Event { end: None, ..self.event(Kind::Observation)? };
        if resource.parts.is_empty() {
            return left_out(Excluded::NoInformation);
        }
        for part in &resource.parts {
            self.required(part.code, "condition.code")?;
        }
        for part in &resource.parts {
            let values = self.codes(part.code);
            sink.event(&Event {
                codes: &FAMILY_HISTORY,
                value: if values.is_empty() { Value::Text(part.code.text) } else { Value::Codes(values) },
                more: More { qualifier: self.codes(resource.relationship), ..More::default() },
                ..event
            });
        }
        Ok(None)
    }
}

/// Codes of the International Patient Summary that stand for absence: `Some(None)` is a fact worth an observation.
#[expect(clippy::option_option, reason = "no such code; a fact; a fate")]
fn absent_or_unknown(codes: &[Code<'_>]) -> Option<Option<Fate>> {
    let code = codes.iter().find(|code| code.system.ends_with("absent-unknown-uv-ips"))?;
    let fact = code.code.starts_with("no-known");
    Some((!fact).then_some(Fate::Excluded(Excluded::NoInformation)))
}

/// First three characters of a postal code.
fn coarse(postal_code: &str) -> &str {
    postal_code.char_indices().nth(3).map_or(postal_code, |(at, _)| &postal_code[..at])
}

/// Text of a narrative: tags are left out, the five entities of XML are decoded, white space is joined.
fn without_markup(text: &str) -> String {
    if !text.contains('<') {
        return text.trim().to_owned();
    }
    let mut plain = String::with_capacity(text.len() / 2);
    let mut rest = text;
    let mut push = |piece: &str| {
        for word in piece.split_whitespace() {
            if !plain.is_empty() {
                plain.push(' ');
            }
            plain.push_str(word);
        }
    };
    while let Some(open) = rest.find('<') {
        push(&rest[..open]);
        rest = rest[open..].find('>').map_or("", |close| &rest[open + close + 1..]);
    }
    push(rest);
    let entities = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&nbsp;", " "), ("&amp;", "&")];
    entities
        .iter()
        .fold(plain, |text, (entity, sign)| if text.contains(entity) { text.replace(entity, sign) } else { text })
}

/// Base64 (RFC 4648 §4) of UTF-8 text; `None` when it is neither.
fn decode_text(base64: &str) -> Option<String> {
    if base64.is_empty() {
        return None;
    }
    let mut bytes = Vec::with_capacity(base64.len() / 4 * 3);
    let (mut bits, mut have) = (0_u32, 0);
    for sign in base64.bytes().filter(|sign| !sign.is_ascii_whitespace() && *sign != b'=') {
        let six = match sign {
            b'A'..=b'Z' => sign - b'A',
            b'a'..=b'z' => sign - b'a' + 26,
            b'0'..=b'9' => sign - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6 | u32::from(six)) & 0xff_ffff;
        have += 6;
        if have >= 8 {
            have -= 8;
            bytes.push(u8::try_from(bits >> have & 0xff).unwrap_or(0));
        }
    }
    String::from_utf8(bytes).ok().filter(|text| !text.trim().is_empty())
}
