//! The elements of a FHIR R4 resource that OMOP needs, borrowed from its text. One struct serves all resource types:
//! elements of the same name mean the same, and a resource need not begin with its type.

use acequia_omop::{Code, Comparator};

use crate::json::{Json, Result};

/// A range of [`Resource::codes`].
pub(super) type Span = (u32, u32);

/// A `CodeableConcept`, a `Coding`, a plain code, or a list of them.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Concept<'a> {
    pub(super) codes: Span,
    pub(super) text: &'a str,
}

/// `value[x]`.
#[derive(Debug, Clone, Copy, Default)]
pub(super) enum Val<'a> {
    #[default]
    None,
    /// NaN stands for something that is not a number.
    Number(f64, Comparator),
    Codes(Span),
    Text(&'a str),
}

/// An observation or one of its components; a reaction of an allergy; a condition of a relative.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Part<'a> {
    pub(super) code: Concept<'a>,
    pub(super) value: Val<'a>,
    pub(super) unit: &'a str,
    pub(super) low: Option<f64>,
    pub(super) high: Option<f64>,
    pub(super) qualifier: Concept<'a>,
    pub(super) date: &'a str,
}

/// A date with the element it stands in; an empty text is no date.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Dated<'a> {
    pub(super) text: &'a str,
    pub(super) element: &'static str,
}

/// A number with its unit.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Quantity<'a> {
    pub(super) value: Option<f64>,
    pub(super) unit: &'a str,
    comparator: Comparator,
}

/// What stands for a date that is not a text: no date has this form.
const NOT_A_DATE: &str = "?";

/// Yes and no, SNOMED CT qualifier values.
const YES: Code<'static> = Code { system: "http://snomed.info/sct", code: "373066001" };
const NO: Code<'static> = Code { system: "http://snomed.info/sct", code: "373067005" };

#[derive(Debug, Default)]
pub(super) struct Resource<'a> {
    /// Every code of the resource; [`Span`]s point here.
    pub(super) codes: Vec<Code<'a>>,
    pub(super) id: &'a str,
    pub(super) status: &'a str,
    pub(super) intent: &'a str,
    pub(super) do_not_perform: bool,
    pub(super) reported: bool,
    // Person
    pub(super) gender: &'a str,
    pub(super) birth: Dated<'a>,
    pub(super) died: Dated<'a>,
    pub(super) dead: bool,
    pub(super) birth_sex: &'a str,
    pub(super) race: Span,
    pub(super) ethnicity: Span,
    pub(super) marital: Concept<'a>,
    pub(super) language: Concept<'a>,
    pub(super) state: &'a str,
    pub(super) postal_code: &'a str,
    pub(super) country: &'a str,
    pub(super) name: &'a str,
    // References, as written
    pub(super) subject: &'a str,
    pub(super) encounter: &'a str,
    pub(super) provider: &'a str,
    pub(super) site_of_care: &'a str,
    pub(super) place: &'a str,
    pub(super) part_of: &'a str,
    pub(super) definition: &'a str,
    pub(super) repeats: &'a str,
    pub(super) specimen: &'a str,
    // Concepts
    pub(super) class: Concept<'a>,
    pub(super) kind: Concept<'a>,
    pub(super) category: Concept<'a>,
    pub(super) clinical: Concept<'a>,
    pub(super) verification: Concept<'a>,
    pub(super) body_site: Concept<'a>,
    pub(super) route: Concept<'a>,
    pub(super) modality: Concept<'a>,
    pub(super) relationship: Concept<'a>,
    pub(super) conclusion_codes: Concept<'a>,
    pub(super) admitted_from: Concept<'a>,
    pub(super) discharged_to: Concept<'a>,
    pub(super) specialty: Concept<'a>,
    /// Code, value and range of the resource itself.
    pub(super) main: Part<'a>,
    pub(super) parts: Vec<Part<'a>>,
    /// Medications and devices inside the resource, by their local id.
    pub(super) contained: Vec<(&'a str, Concept<'a>)>,
    // Dates
    pub(super) moment: Dated<'a>,
    pub(super) from: Dated<'a>,
    pub(super) to: Dated<'a>,
    pub(super) recorded: Dated<'a>,
    // Details
    pub(super) quantity: Quantity<'a>,
    pub(super) days_supply: Option<f64>,
    pub(super) refills: Option<f64>,
    pub(super) sig: &'a str,
    pub(super) lot: &'a str,
    pub(super) udi: &'a str,
    pub(super) title: &'a str,
    pub(super) texts: Vec<&'a str>,
    /// Base64 of an attachment that is plain text.
    pub(super) attachment: &'a str,
    pub(super) has_attachment: bool,
}

impl<'a> Resource<'a> {
    pub(super) fn codes(&self, span: Span) -> &[Code<'a>] {
        self.codes.get(span.0 as usize..span.1 as usize).unwrap_or_default()
    }

    /// First code of a concept.
    pub(super) fn first(&self, concept: Concept<'a>) -> &'a str {
        self.codes(concept.codes).first().map_or("", |code| code.code)
    }

    /// Reads one resource. What was in `self` before is forgotten.
    pub(super) fn read(&mut self, json: &mut Json<'a>) -> Result<()> {
        let mut codes = std::mem::take(&mut self.codes);
        let mut parts = std::mem::take(&mut self.parts);
        codes.clear();
        parts.clear();
        // The other lists are rarely filled.
        *self = Self { codes, parts, ..Self::default() };
        json.object()?;
        let mut first = true;
        while let Some(key) = json.key(&mut first)? {
            self.element(key, json)?;
        }
        Ok(())
    }

    fn element(&mut self, key: &'a str, json: &mut Json<'a>) -> Result<()> {
        // Patterns of bytes become a tree over length and letters; patterns of text are compared one after the other.
        match key.as_bytes() {
            b"id" => self.id = string(json)?,
            b"code" | b"vaccineCode" | b"medicationCodeableConcept" | b"procedureCode" => {
                self.main.code = self.concept(json)?;
            }
            b"subject" | b"patient" => self.subject = reference(json)?,
            b"encounter" => self.encounter = reference(json)?,
            b"status" => self.status = string(json)?,
            b"category" => self.category = self.concept(json)?,
            b"effectiveDateTime" => self.moment = dated(json, "effectiveDateTime")?,
            b"issued" => self.recorded = dated(json, "issued")?,
            b"component" => self.components(json)?,
            b"interpretation" => self.main.qualifier = self.concept(json)?,
            b"referenceRange" => (self.main.low, self.main.high) = range(json)?,
            b"clinicalStatus" => self.clinical = self.concept(json)?,
            b"verificationStatus" => self.verification = self.concept(json)?,
            b"onsetDateTime" => self.moment = dated(json, "onsetDateTime")?,
            b"recordedDate" => self.recorded = dated(json, "recordedDate")?,
            b"abatementDateTime" => self.to = dated(json, "abatementDateTime")?,
            b"performedDateTime" => self.moment = dated(json, "performedDateTime")?,
            b"performedPeriod" => self.period(json, "performedPeriod.start", "performedPeriod.end")?,
            b"effectivePeriod" => self.period(json, "effectivePeriod.start", "effectivePeriod.end")?,
            b"onsetPeriod" => self.period(json, "onsetPeriod.start", "onsetPeriod.end")?,
            b"occurrencePeriod" => self.period(json, "occurrencePeriod.start", "occurrencePeriod.end")?,
            b"timingPeriod" => self.period(json, "timingPeriod.start", "timingPeriod.end")?,
            b"period" => self.period(json, "period.start", "period.end")?,
            b"abatementPeriod" => {
                // An abatement that lasts is over at its end.
                let from = self.from;
                self.period(json, "abatementPeriod.start", "abatementPeriod.end")?;
                self.from = from;
            }
            b"effectiveInstant" => self.moment = dated(json, "effectiveInstant")?,
            b"occurrenceDateTime" => self.moment = dated(json, "occurrenceDateTime")?,
            b"timingDateTime" => self.moment = dated(json, "timingDateTime")?,
            b"whenHandedOver" => self.moment = dated(json, "whenHandedOver")?,
            b"authoredOn" => self.moment = dated(json, "authoredOn")?,
            b"started" => self.moment = dated(json, "started")?,
            b"date" => self.moment = dated(json, "date")?,
            b"dateAsserted" => self.recorded = dated(json, "dateAsserted")?,
            b"whenPrepared" => self.recorded = dated(json, "whenPrepared")?,
            b"recordedOn" => self.recorded = dated(json, "recordedOn")?,
            b"receivedTime" => self.recorded = dated(json, "receivedTime")?,
            b"class" => self.class = self.concept(json)?,
            b"type" | b"physicalType" => self.kind = self.concept(json)?,
            b"participant" | b"performer" => {
                let who = actor(json)?;
                if self.provider.is_empty() {
                    self.provider = who;
                }
            }
            b"requester" | b"recorder" | b"asserter" | b"practitioner" | b"generalPractitioner" => {
                let who = reference(json)?;
                if self.provider.is_empty() {
                    self.provider = who;
                }
            }
            b"serviceProvider" | b"managingOrganization" | b"organization" => self.site_of_care = reference(json)?,
            b"location" => self.place = actor(json)?,
            b"partOf" => self.part_of = reference(json)?,
            b"medicationReference" | b"device" => self.definition = reference(json)?,
            b"authorizingPrescription" => self.repeats = reference(json)?,
            b"specimen" => self.specimen = reference(json)?,
            b"intent" => self.intent = string(json)?,
            b"doNotPerform" => self.do_not_perform = json.bool_or_skip()? == Some(true),
            b"reportedBoolean" => self.reported = json.bool_or_skip()? == Some(true),
            b"bodySite" | b"site" => self.body_site = self.concept(json)?,
            b"route" => self.route = self.concept(json)?,
            b"dosageInstruction" | b"dosage" => self.dosage(json)?,
            b"dispenseRequest" => self.dispense_request(json)?,
            b"quantity" | b"doseQuantity" => self.quantity = quantity(json)?,
            b"daysSupply" => self.days_supply = quantity(json)?.value,
            b"lotNumber" => self.lot = string(json)?,
            b"udiCarrier" => self.udi_carrier(json)?,
            b"hospitalization" => self.hospitalization(json)?,
            b"context" => self.context(json)?,
            b"collection" => self.collection(json)?,
            b"modality" => self.modality = self.concept(json)?,
            b"series" => self.series(json)?,
            b"relationship" => self.relationship = self.concept(json)?,
            b"reaction" => self.reactions(json)?,
            b"condition" => self.conditions(json)?,
            b"conclusionCode" => self.conclusion_codes = self.concept(json)?,
            b"conclusion" | b"summary" | b"description" => {
                let text = string(json)?;
                if !text.is_empty() {
                    self.texts.push(text);
                }
            }
            b"title" => self.title = string(json)?,
            b"section" => self.sections(json)?,
            b"presentedForm" | b"content" => self.attachments(json)?,
            b"contained" => self.contained(json)?,
            b"ingredient" => self.ingredients(json)?,
            b"specialty" => self.specialty = self.concept(json)?,
            b"name" => self.name = string(json)?,
            b"gender" => self.gender = string(json)?,
            b"birthDate" => self.birth = dated(json, "birthDate")?,
            b"deceasedDateTime" => self.died = dated(json, "deceasedDateTime")?,
            b"deceasedBoolean" => self.dead = json.bool_or_skip()? == Some(true),
            b"extension" => self.extensions(json)?,
            b"maritalStatus" => self.marital = self.concept(json)?,
            b"communication" => self.communication(json)?,
            b"address" => self.address(json)?,
            _ if key.starts_with("value") => {
                let mut main = self.main;
                self.value(key, &mut main, json)?;
                self.main = main;
            }
            _ => json.skip()?,
        }
        Ok(())
    }

    /// A code, a `Coding`, a `CodeableConcept`, or an array of these.
    fn concept(&mut self, json: &mut Json<'a>) -> Result<Concept<'a>> {
        let from = self.codes.len();
        let mut text = "";
        self.add_concept(json, &mut text)?;
        Ok(Concept { codes: span(from, self.codes.len()), text })
    }

    fn add_concept(&mut self, json: &mut Json<'a>, text: &mut &'a str) -> Result<()> {
        match json.peek()? {
            b'"' => self.codes.push(Code { system: "", code: json.string()? }),
            b'[' => {
                json.array()?;
                let mut first = true;
                while json.element(&mut first)? {
                    // An array of arrays is no FHIR; without this it could nest without end.
                    if json.peek()? == b'[' {
                        json.skip()?;
                    } else {
                        self.add_concept(json, text)?;
                    }
                }
            }
            b'{' => {
                json.object()?;
                let (mut first, mut code) = (true, Code::default());
                while let Some(key) = json.key(&mut first)? {
                    match key {
                        "coding" => self.codings(json)?,
                        "text" => *text = string(json)?,
                        "system" => code.system = string(json)?,
                        "code" => code.code = string(json)?,
                        _ => json.skip()?,
                    }
                }
                if !code.code.is_empty() {
                    self.codes.push(code);
                }
            }
            _ => json.skip()?,
        }
        Ok(())
    }

    fn codings(&mut self, json: &mut Json<'a>) -> Result<()> {
        each(json, |json| {
            let mut code = Code::default();
            members(json, |key, json| match key {
                "system" => string(json).map(|system| code.system = system),
                "code" => string(json).map(|text| code.code = text),
                _ => json.skip(),
            })?;
            if !code.code.is_empty() {
                self.codes.push(code);
            }
            Ok(())
        })
    }

    fn value(&mut self, key: &'a str, part: &mut Part<'a>, json: &mut Json<'a>) -> Result<()> {
        if json.peek()? == b'n' {
            return json.skip();
        }
        match key {
            "valueQuantity" => {
                let quantity = quantity(json)?;
                if let Some(value) = quantity.value {
                    part.value = Val::Number(value, quantity.comparator);
                    part.unit = quantity.unit;
                }
            }
            "valueInteger" => part.value = Val::Number(number(json)?.unwrap_or(f64::NAN), Comparator::Equal),
            "valueCodeableConcept" => {
                let concept = self.concept(json)?;
                if concept.codes.0 < concept.codes.1 {
                    part.value = Val::Codes(concept.codes);
                } else if !concept.text.is_empty() {
                    part.value = Val::Text(concept.text);
                }
            }
            "valueBoolean" => {
                if let Some(value) = json.bool_or_skip()? {
                    let from = self.codes.len();
                    self.codes.push(if value { YES } else { NO });
                    part.value = Val::Codes(span(from, from + 1));
                }
            }
            "valueString" | "valueDateTime" | "valueTime" => {
                let text = string(json)?;
                if !text.is_empty() {
                    part.value = Val::Text(text);
                }
            }
            // Ranges, ratios and samples have no field in OMOP; they are kept as the source wrote them.
            "valueRange" | "valueRatio" | "valuePeriod" | "valueSampledData" => {
                part.value = Val::Text(json.skip_text()?);
            }
            _ => json.skip()?,
        }
        Ok(())
    }

    fn components(&mut self, json: &mut Json<'a>) -> Result<()> {
        each(json, |json| {
            let mut part = Part::default();
            members(json, |key, json| {
                match key {
                    "code" => part.code = self.concept(json)?,
                    "interpretation" => part.qualifier = self.concept(json)?,
                    "referenceRange" => (part.low, part.high) = range(json)?,
                    _ if key.starts_with("value") => self.value(key, &mut part, json)?,
                    _ => json.skip()?,
                }
                Ok(())
            })?;
            self.parts.push(part);
            Ok(())
        })
    }

    /// `AllergyIntolerance.reaction`: one part per manifestation.
    fn reactions(&mut self, json: &mut Json<'a>) -> Result<()> {
        each(json, |json| {
            let (from, mut shared) = (self.parts.len(), Part::default());
            members(json, |key, json| {
                match key {
                    "manifestation" => each(json, |json| {
                        let code = self.concept(json)?;
                        self.parts.push(Part { code, ..Part::default() });
                        Ok(())
                    })?,
                    "severity" => shared.qualifier = self.concept(json)?,
                    "onset" => shared.date = dated(json, "")?.text,
                    _ => json.skip()?,
                }
                Ok(())
            })?;
            for part in &mut self.parts[from..] {
                (part.qualifier, part.date) = (shared.qualifier, shared.date);
            }
            Ok(())
        })
    }

    /// `FamilyMemberHistory.condition`.
    fn conditions(&mut self, json: &mut Json<'a>) -> Result<()> {
        if json.peek()? != b'[' {
            // Elsewhere (`Encounter.diagnosis.condition`) it is a reference.
            return json.skip();
        }
        each(json, |json| {
            let mut part = Part::default();
            members(json, |key, json| {
                match key {
                    "code" => part.code = self.concept(json)?,
                    _ => json.skip()?,
                }
                Ok(())
            })?;
            self.parts.push(part);
            Ok(())
        })
    }

    fn period(&mut self, json: &mut Json<'a>, start: &'static str, end: &'static str) -> Result<()> {
        members(json, |key, json| {
            match key {
                "start" => self.from = dated(json, start)?,
                "end" => self.to = dated(json, end)?,
                _ => json.skip()?,
            }
            Ok(())
        })
    }

    /// `dosageInstruction` and `dosage`, an object or an array of which the first counts.
    fn dosage(&mut self, json: &mut Json<'a>) -> Result<()> {
        let mut seen = false;
        each_or_one(json, |json| {
            if std::mem::replace(&mut seen, true) {
                return json.skip();
            }
            members(json, |key, json| {
                match key {
                    "text" => self.sig = string(json)?,
                    "route" => self.route = self.concept(json)?,
                    "site" => self.body_site = self.concept(json)?,
                    "dose" => self.quantity = quantity(json)?,
                    "doseAndRate" => each(json, |json| {
                        members(json, |key, json| {
                            match key {
                                "doseQuantity" => self.quantity = quantity(json)?,
                                _ => json.skip()?,
                            }
                            Ok(())
                        })
                    })?,
                    _ => json.skip()?,
                }
                Ok(())
            })
        })
    }

    fn dispense_request(&mut self, json: &mut Json<'a>) -> Result<()> {
        members(json, |key, json| {
            match key {
                "validityPeriod" => {
                    self.period(json, "dispenseRequest.validityPeriod.start", "dispenseRequest.validityPeriod.end")?
                }
                "numberOfRepeatsAllowed" => self.refills = number(json)?,
                "expectedSupplyDuration" => {
                    let duration = quantity(json)?;
                    if matches!(duration.unit, "d" | "day" | "days") {
                        self.days_supply = duration.value;
                    }
                }
                _ => json.skip()?,
            }
            Ok(())
        })
    }

    fn udi_carrier(&mut self, json: &mut Json<'a>) -> Result<()> {
        each(json, |json| {
            let (mut carrier, mut identifier) = ("", "");
            members(json, |key, json| {
                match key {
                    "carrierHRF" => carrier = string(json)?,
                    "deviceIdentifier" => identifier = string(json)?,
                    _ => json.skip()?,
                }
                Ok(())
            })?;
            if self.udi.is_empty() {
                self.udi = if carrier.is_empty() { identifier } else { carrier };
            }
            Ok(())
        })
    }

    fn hospitalization(&mut self, json: &mut Json<'a>) -> Result<()> {
        members(json, |key, json| {
            match key {
                "admitSource" => self.admitted_from = self.concept(json)?,
                "dischargeDisposition" => self.discharged_to = self.concept(json)?,
                _ => json.skip()?,
            }
            Ok(())
        })
    }

    /// `context`: a reference to an encounter, or (`DocumentReference`) an object that holds one.
    fn context(&mut self, json: &mut Json<'a>) -> Result<()> {
        members(json, |key, json| {
            match key {
                "reference" => self.encounter = string(json)?,
                "encounter" => self.encounter = reference(json)?,
                _ => json.skip()?,
            }
            Ok(())
        })
    }

    fn collection(&mut self, json: &mut Json<'a>) -> Result<()> {
        members(json, |key, json| {
            match key {
                "collectedDateTime" => self.moment = dated(json, "collection.collectedDateTime")?,
                "collectedPeriod" => {
                    self.period(json, "collection.collectedPeriod.start", "collection.collectedPeriod.end")?;
                }
                "quantity" => self.quantity = quantity(json)?,
                "bodySite" => self.body_site = self.concept(json)?,
                _ => json.skip()?,
            }
            Ok(())
        })
    }

    fn series(&mut self, json: &mut Json<'a>) -> Result<()> {
        each(json, |json| {
            members(json, |key, json| {
                let of_study = self.modality.codes.0 < self.modality.codes.1;
                match key {
                    "modality" if !of_study => self.modality = self.concept(json)?,
                    "bodySite" => self.body_site = self.concept(json)?,
                    _ => json.skip()?,
                }
                Ok(())
            })
        })
    }

    /// Titles and narratives of a document. Sections inside sections are passed over: their entries tell the same.
    fn sections(&mut self, json: &mut Json<'a>) -> Result<()> {
        each(json, |json| {
            members(json, |key, json| {
                match key {
                    "title" => {
                        let title = string(json)?;
                        self.texts.push(title);
                    }
                    "text" => members(json, |key, json| {
                        match key {
                            "div" => {
                                let narrative = string(json)?;
                                self.texts.push(narrative);
                            }
                            _ => json.skip()?,
                        }
                        Ok(())
                    })?,
                    _ => json.skip()?,
                }
                Ok(())
            })
        })
    }

    /// `presentedForm` (attachments) and `content` (objects that hold one).
    fn attachments(&mut self, json: &mut Json<'a>) -> Result<()> {
        each(json, |json| {
            let (mut kind, mut data, mut seen) = ("", "", false);
            let mut member = |key: &'a str, json: &mut Json<'a>| -> Result<()> {
                match key {
                    "contentType" => kind = string(json)?,
                    "data" => data = string(json)?,
                    "url" => {
                        seen = true;
                        json.skip()?;
                    }
                    _ => json.skip()?,
                }
                Ok(())
            };
            members(
                json,
                |key, json| if key == "attachment" { members(json, &mut member) } else { member(key, json) },
            )?;
            self.has_attachment |= seen || !data.is_empty();
            if kind.starts_with("text/plain") && self.attachment.is_empty() {
                self.attachment = data;
            }
            Ok(())
        })
    }

    fn contained(&mut self, json: &mut Json<'a>) -> Result<()> {
        each(json, |json| {
            let (mut id, mut code) = ("", Concept::default());
            members(json, |key, json| {
                match key {
                    "id" => id = string(json)?,
                    "code" => code = self.concept(json)?,
                    _ => json.skip()?,
                }
                Ok(())
            })?;
            self.contained.push((id, code));
            Ok(())
        })
    }

    /// Ingredients of a `Medication`: they stand for a mixture that has no code of its own.
    fn ingredients(&mut self, json: &mut Json<'a>) -> Result<()> {
        each(json, |json| {
            members(json, |key, json| {
                match key {
                    "itemCodeableConcept" => {
                        let code = self.concept(json)?;
                        self.parts.push(Part { code, ..Part::default() });
                    }
                    _ => json.skip()?,
                }
                Ok(())
            })
        })
    }

    /// US Core race, ethnicity and birth sex of a patient; everything else is passed over.
    fn extensions(&mut self, json: &mut Json<'a>) -> Result<()> {
        each(json, |json| {
            let (mut url, mut code, mut category) = ("", "", (0, 0));
            members(json, |key, json| {
                match key {
                    "url" => url = string(json)?,
                    "valueCode" => code = string(json)?,
                    "extension" => each(json, |json| {
                        let (mut inner, mut value) = ("", (0, 0));
                        members(json, |key, json| {
                            match key {
                                "url" => inner = string(json)?,
                                "valueCoding" => value = self.concept(json)?.codes,
                                _ => json.skip()?,
                            }
                            Ok(())
                        })?;
                        if inner == "ombCategory" && category == (0, 0) {
                            category = value;
                        }
                        Ok(())
                    })?,
                    _ => json.skip()?,
                }
                Ok(())
            })?;
            match url.rsplit('/').next() {
                Some("us-core-race") => self.race = category,
                Some("us-core-ethnicity") => self.ethnicity = category,
                Some("us-core-birthsex") => self.birth_sex = code,
                _ => {}
            }
            Ok(())
        })
    }

    fn communication(&mut self, json: &mut Json<'a>) -> Result<()> {
        each(json, |json| {
            members(json, |key, json| {
                match key {
                    "language" => self.language = self.concept(json)?,
                    _ => json.skip()?,
                }
                Ok(())
            })
        })
    }

    /// The first address counts. Street, city and position are never read.
    fn address(&mut self, json: &mut Json<'a>) -> Result<()> {
        let mut seen = false;
        each_or_one(json, |json| {
            if std::mem::replace(&mut seen, true) {
                return json.skip();
            }
            members(json, |key, json| {
                match key {
                    "state" => self.state = string(json)?,
                    "postalCode" => self.postal_code = string(json)?,
                    "country" => self.country = string(json)?,
                    _ => json.skip()?,
                }
                Ok(())
            })
        })
    }
}

fn span(from: usize, to: usize) -> Span {
    (u32::try_from(from).unwrap_or(u32::MAX), u32::try_from(to).unwrap_or(u32::MAX))
}

/// Calls `f` for each member of an object; anything else is skipped.
#[inline]
pub(super) fn members<'a>(json: &mut Json<'a>, mut f: impl FnMut(&'a str, &mut Json<'a>) -> Result<()>) -> Result<()> {
    if json.peek()? != b'{' {
        return json.skip();
    }
    json.object()?;
    let mut first = true;
    while let Some(key) = json.key(&mut first)? {
        f(key, json)?;
    }
    Ok(())
}

/// Calls `f` for each element of an array; anything else is skipped.
#[inline]
pub(super) fn each<'a>(json: &mut Json<'a>, mut f: impl FnMut(&mut Json<'a>) -> Result<()>) -> Result<()> {
    if json.peek()? != b'[' {
        return json.skip();
    }
    json.array()?;
    let mut first = true;
    while json.element(&mut first)? {
        f(json)?;
    }
    Ok(())
}

/// Like [`each`], but a value that is no array counts as its only element.
fn each_or_one<'a>(json: &mut Json<'a>, mut f: impl FnMut(&mut Json<'a>) -> Result<()>) -> Result<()> {
    if json.peek()? == b'[' { each(json, f) } else { f(json) }
}

/// A string; anything else is skipped and reads as empty.
#[inline]
pub(super) fn string<'a>(json: &mut Json<'a>) -> Result<&'a str> {
    if json.peek()? == b'"' { json.string() } else { json.skip().map(|()| "") }
}

fn dated<'a>(json: &mut Json<'a>, element: &'static str) -> Result<Dated<'a>> {
    let text = match json.peek()? {
        b'"' => match json.string()? {
            "" => NOT_A_DATE,
            text => text,
        },
        b'n' => json.skip().map(|()| "")?,
        _ => json.skip().map(|()| NOT_A_DATE)?,
    };
    Ok(Dated { text, element })
}

/// A number; `null` is none, and anything else is NaN.
fn number(json: &mut Json<'_>) -> Result<Option<f64>> {
    match json.peek()? {
        b'-' | b'0'..=b'9' => {
            let number = json.number()?.parse().unwrap_or(f64::NAN);
            Ok(Some(if f64::is_finite(number) { number } else { f64::NAN }))
        }
        b'n' => json.skip().map(|()| None),
        _ => json.skip().map(|()| Some(f64::NAN)),
    }
}

fn quantity<'a>(json: &mut Json<'a>) -> Result<Quantity<'a>> {
    let (mut quantity, mut unit, mut code) = (Quantity::default(), "", "");
    members(json, |key, json| {
        match key {
            "value" => quantity.value = number(json)?,
            "unit" => unit = string(json)?,
            "code" => code = string(json)?,
            "comparator" => quantity.comparator = Comparator::parse(string(json)?).unwrap_or_default(),
            _ => json.skip()?,
        }
        Ok(())
    })?;
    quantity.unit = if code.is_empty() { unit } else { code };
    Ok(quantity)
}

fn range(json: &mut Json<'_>) -> Result<(Option<f64>, Option<f64>)> {
    let (mut low, mut high) = (None, None);
    let mut seen = false;
    each(json, |json| {
        if std::mem::replace(&mut seen, true) {
            return json.skip();
        }
        members(json, |key, json| {
            match key {
                "low" => low = quantity(json)?.value,
                "high" => high = quantity(json)?.value,
                _ => json.skip()?,
            }
            Ok(())
        })
    })?;
    let known = |number: Option<f64>| number.filter(|number| !number.is_nan());
    Ok((known(low), known(high)))
}

/// A `Reference`, or the first of an array of them.
fn reference<'a>(json: &mut Json<'a>) -> Result<&'a str> {
    let mut found = "";
    each_or_one(json, |json| {
        members(json, |key, json| {
            match key {
                "reference" if found.is_empty() => found = string(json)?,
                _ => json.skip()?,
            }
            Ok(())
        })
    })?;
    Ok(found)
}

/// The first person, place or organisation in `participant`, `performer` or `location`: a reference, or an object that
/// holds one as `individual`, `actor` or `location`.
fn actor<'a>(json: &mut Json<'a>) -> Result<&'a str> {
    let mut found = "";
    each_or_one(json, |json| {
        members(json, |key, json| {
            match key {
                "reference" if found.is_empty() => found = string(json)?,
                "individual" | "actor" | "location" if found.is_empty() => found = reference(json)?,
                _ => json.skip()?,
            }
            Ok(())
        })
    })?;
    Ok(found)
}
