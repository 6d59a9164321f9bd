//! C-CDA documents (HL7 CDA R2, C-CDA R2.1) told as events, entry by entry.
//!
//! A unit of input is the patient, the encounter of the header, and every clinical statement that the format knows by
//! its template, or by its section where older documents name none; an entry without any, or a section that is only
//! text, is one unit of its own, unmapped. A document streams: one entry is in memory at a time.

use std::borrow::Cow;
use std::io::BufRead;

use acequia_omop::{
    Code, Comparator, Event, Excluded, Fate, Held, ItemHead, Kind, More, Party, Person, Sex, Sink, Unmapped, Value,
    When,
};
use acequia_types::{Place, Problem};

use super::time::hl7_time;
use super::xml::{At, BadXml, Doctype, Element, Tag, Tree, Xml};
use super::{Stop, bad_date, conclude, systems};
use crate::IntakeError;

/// OMOP type concepts: EHR, EHR prescription.
const EHR: i64 = 32_817;
const EHR_PRESCRIPTION: i64 = 32_838;

/// What a clinical statement is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Statement {
    Problem,
    Allergy,
    Medication,
    Immunization,
    Procedure,
    Result,
    VitalSign,
    SocialHistory,
    Encounter,
    /// A supply inside a medication: the same drug once more.
    Supply,
    /// A statement about a relative: not about the patient.
    Relative,
    /// Any other observation with a code and a value.
    Finding,
}

impl Statement {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Problem => "problem observation",
            Self::Allergy => "allergy observation",
            Self::Medication => "medication activity",
            Self::Immunization => "immunization activity",
            Self::Procedure => "procedure activity",
            Self::Result => "result observation",
            Self::VitalSign => "vital sign observation",
            Self::SocialHistory => "social history observation",
            Self::Encounter => "encounter activity",
            Self::Supply => "supply",
            Self::Relative => "family history observation",
            Self::Finding => "observation",
        }
    }
}

/// Template identifiers of C-CDA R2.1, below 2.16.840.1.113883.10.20.
const TEMPLATES: &[(&str, Statement)] = &[
    ("22.4.4", Statement::Problem),
    ("22.4.7", Statement::Allergy),
    ("22.4.16", Statement::Medication),
    ("22.4.52", Statement::Immunization),
    ("22.4.14", Statement::Procedure),
    ("22.4.13", Statement::Procedure),
    ("22.4.12", Statement::Procedure),
    ("22.4.2", Statement::Result),
    ("22.4.27", Statement::VitalSign),
    ("22.4.38", Statement::SocialHistory),
    ("22.4.78", Statement::SocialHistory),
    ("22.4.85", Statement::SocialHistory),
    ("22.4.200", Statement::SocialHistory),
    ("22.4.501", Statement::SocialHistory),
    ("22.4.502", Statement::SocialHistory),
    ("15.3.8", Statement::SocialHistory),
    ("22.4.49", Statement::Encounter),
    ("22.4.17", Statement::Supply),
    ("22.4.18", Statement::Supply),
    ("22.4.45", Statement::Relative),
    ("22.4.46", Statement::Relative),
];
const TEMPLATE_ROOT: &str = "2.16.840.1.113883.10.20.";
/// Reaction observation: a part of an allergy.
const REACTION: &str = "22.4.9";

/// What statements in a section are where they name no template: LOINC code of the section, element.
const BY_SECTION: &[(&str, &str, Statement)] = &[
    ("11450-4", "observation", Statement::Problem),
    ("11348-0", "observation", Statement::Problem),
    ("46241-6", "observation", Statement::Problem),
    ("48765-2", "observation", Statement::Allergy),
    ("10160-0", "substanceAdministration", Statement::Medication),
    ("10183-2", "substanceAdministration", Statement::Medication),
    ("29549-3", "substanceAdministration", Statement::Medication),
    ("11369-6", "substanceAdministration", Statement::Immunization),
    ("47519-4", "procedure", Statement::Procedure),
    ("47519-4", "act", Statement::Procedure),
    ("30954-2", "observation", Statement::Result),
    ("8716-3", "observation", Statement::VitalSign),
    ("29762-2", "observation", Statement::SocialHistory),
    ("46240-8", "encounter", Statement::Encounter),
    ("10157-6", "organizer", Statement::Relative),
];

/// Elements that are clinical statements (CDA R2 §4.3.6).
const STATEMENTS: &[&str] = &[
    "act",
    "encounter",
    "observation",
    "observationMedia",
    "organizer",
    "procedure",
    "regionOfInterest",
    "substanceAdministration",
    "supply",
];
/// Elements that are gone into; everything else before the body is about who wrote, sent and keeps the document.
const ENTERED: &[&str] = &["ClinicalDocument", "component", "structuredBody", "section"];

/// Reads one document, or a fragment of one.
///
/// # Errors
/// [`IntakeError`] where the XML cannot be read on; what was told before stays told.
pub(crate) fn read(stream: &mut dyn BufRead, sink: &mut dyn Sink) -> Result<(), IntakeError> {
    let mut xml = Xml::open(stream, Doctype::Refuse).map_err(super::xml_error)?;
    Document { sink, person: None, sections: Vec::new() }.read(&mut xml).map_err(super::xml_error)
}

#[derive(Default)]
struct Section {
    /// LOINC code.
    code: String,
    row: u64,
    entries: u64,
    /// The section says that there is nothing to say.
    no_information: bool,
    narrative: bool,
}

struct Document<'s> {
    sink: &'s mut dyn Sink,
    /// Key of the patient. `Some("")`: one was there and could not be read.
    person: Option<String>,
    sections: Vec<Section>,
}

impl Document<'_> {
    fn read<R: BufRead>(&mut self, xml: &mut Xml<R>) -> Result<(), BadXml> {
        let mut buffer = Vec::new();
        // Elements that are open, and whether each is a section.
        let mut open: Vec<bool> = Vec::new();
        let mut any = false;
        loop {
            match xml.next(&mut buffer)? {
                Tag::Start(element) => {
                    any = true;
                    if ENTERED.contains(&element.name()) {
                        let section = element.name() == "section";
                        if section {
                            let no_information = element.attributes().any(|(name, _)| name == "nullFlavor");
                            self.sections.push(Section { row: element.row, no_information, ..Section::default() });
                        }
                        if element.empty {
                            self.close(section);
                        } else {
                            open.push(section);
                        }
                    } else {
                        self.element(xml, &element)?;
                    }
                }
                Tag::End => {
                    let section = open.pop().unwrap_or_default();
                    self.close(section);
                }
                Tag::Text(_) | Tag::Other => {}
                Tag::Eof if any => return Ok(()),
                Tag::Eof => return Err(BadXml::Truncated(xml.row())),
            }
        }
    }

    /// A section ends: if it had no entries, it is a unit itself.
    fn close(&mut self, section: bool) {
        let Some(section) = section.then(|| self.sections.pop()).flatten() else { return };
        if section.entries > 0 {
            return;
        }
        let (kind, fate) = if section.no_information || !section.narrative {
            ("empty section", Fate::Excluded(Excluded::NoInformation))
        } else {
            ("narrative section", Fate::Unmapped(Unmapped::Kind))
        };
        self.sink.begin(&ItemHead { row: section.row, kind, key: &section.code, content: b"" });
        self.sink.end(Some(fate));
    }

    fn element<R: BufRead>(&mut self, xml: &mut Xml<R>, element: &Element<'_>) -> Result<(), BadXml> {
        match element.name() {
            "recordTarget" => {
                let tree = xml.subtree(element)?;
                self.patient(&tree);
            }
            "componentOf" => {
                let tree = xml.subtree(element)?;
                if let Some(encounter) = tree.root().child("encompassingEncounter") {
                    self.item("encompassing encounter", encounter, |person, at, sink| {
                        visit(person, at, sink).map(drop)
                    });
                }
            }
            "entry" => {
                let tree = xml.subtree(element)?;
                if let Some(section) = self.sections.last_mut() {
                    section.entries += 1;
                }
                self.entry(tree.root());
            }
            name if STATEMENTS.contains(&name) => {
                let tree = xml.subtree(element)?;
                let at = tree.root();
                let told = self.statement(at, &Inherited::default(), true);
                self.entry_without_statement(at, told);
            }
            "code" if !self.sections.is_empty() => {
                let code = element.attributes().find(|(name, _)| *name == "code").map(|(_, code)| code.to_owned());
                if let Some(section) = self.sections.last_mut() {
                    section.code = code.unwrap_or_default();
                }
                xml.skip(element)?;
            }
            "text" if !self.sections.is_empty() => {
                let narrative = xml.skip(element)?;
                if let Some(section) = self.sections.last_mut() {
                    section.narrative |= narrative;
                }
            }
            "nonXMLBody" => {
                let row = element.row;
                xml.skip(element)?;
                self.sink.begin(&ItemHead { row, kind: "nonXMLBody", ..ItemHead::default() });
                self.sink.end(Some(Fate::Unmapped(Unmapped::Kind)));
            }
            _ => {
                xml.skip(element)?;
            }
        }
        Ok(())
    }

    /// Begins an item about the patient, lets `tell` tell it, and ends it.
    fn item(&mut self, kind: &str, at: At<'_>, tell: impl FnOnce(&str, At<'_>, &mut dyn Sink) -> Result<(), Stop>) {
        let (key, mut content) = (own_key(at), Vec::new());
        at.canonical(&mut content);
        self.sink.begin(&ItemHead { row: at.row, kind, key: &key, content: &content });
        let outcome = tell(self.person.as_deref().unwrap_or_default(), at, self.sink);
        conclude(self.sink, outcome);
    }

    /// Patient of the document (C-CDA §1.1.1.1, US realm header).
    fn patient(&mut self, tree: &Tree) {
        let role = tree.root().child("patientRole").unwrap_or(tree.root());
        let another = self.person.is_some();
        let mut told = String::new();
        self.item("recordTarget", role, |_, role, sink| {
            if another {
                return Err(Stop::Fate(Fate::Held(Held::OtherPerson)));
            }
            told = patient(role, sink)?;
            Ok(())
        });
        self.person.get_or_insert(told);
    }

    fn entry(&mut self, entry: At<'_>) {
        let statement = entry.children().find(|child| STATEMENTS.contains(&child.name.as_str()));
        let told = statement.is_some_and(|at| self.statement(at, &Inherited::default(), true));
        self.entry_without_statement(statement.unwrap_or(entry), told);
    }

    /// An entry in which nothing was known is a unit of its own.
    fn entry_without_statement(&mut self, at: At<'_>, told: bool) {
        if !told {
            self.item("entry", at, |_, _, _| Err(Stop::Fate(Fate::Unmapped(Unmapped::Kind))));
        }
    }

    /// Tells a statement and those inside it; returns whether there was any.
    fn statement(&mut self, at: At<'_>, inherited: &Inherited<'_>, top: bool) -> bool {
        let known = self.known(at, top);
        let mut inside = inherited.under(at);
        let planned = match at.attribute("moodCode").unwrap_or("EVN") {
            "EVN" => false,
            // A prescription is an intent by its mood, and an exposure by the model.
            "INT" => known != Some(Statement::Medication),
            _ => true,
        };
        if planned {
            let kind = known.map_or("plan", Statement::as_str);
            self.item(kind, at, |_, _, _| Err(Stop::Fate(Fate::Excluded(Excluded::Plan))));
            return true;
        }
        let mut told = known.is_some();
        if let Some(known) = known {
            let visit_key = own_key(at);
            self.item(known.as_str(), at, |person, at, sink| tell(known, person, at, inherited, sink));
            match known {
                Statement::Encounter => inside.visit = Cow::Owned(visit_key),
                // What is inside is about the relative too, or is the same drug again.
                Statement::Relative | Statement::Supply => return true,
                _ => {}
            }
        }
        for relation in at.children().filter(|child| matches!(child.name.as_str(), "entryRelationship" | "component")) {
            for child in relation.children().filter(|child| STATEMENTS.contains(&child.name.as_str())) {
                told |= self.statement(child, &inside, top && at.name == "organizer");
            }
        }
        told
    }

    fn known(&self, at: At<'_>, top: bool) -> Option<Statement> {
        let by_template = at.all("templateId").find_map(|template| {
            let root = template.attribute("root")?.strip_prefix(TEMPLATE_ROOT)?;
            TEMPLATES.iter().find(|(own, _)| *own == root).map(|(_, statement)| *statement)
        });
        if by_template.is_some() || !top {
            return by_template;
        }
        let has_template = at.all("templateId").next().is_some();
        let section = self.sections.last().map_or("", |section| section.code.as_str());
        let by_section = BY_SECTION.iter().find(|(code, element, _)| *code == section && *element == at.name);
        let coded = || at.child("code").is_some_and(|code| code.attribute("code").is_some());
        match by_section {
            Some((.., statement)) if !has_template => Some(*statement),
            _ if at.name == "observation" && at.child("value").is_some() && coded() => Some(Statement::Finding),
            _ => None,
        }
    }
}

/// What statements around a statement say for it.
#[derive(Default)]
struct Inherited<'t> {
    /// When it was written down.
    recorded: Option<&'t str>,
    visit: Cow<'t, str>,
}

impl<'t> Inherited<'t> {
    fn under(&self, at: At<'t>) -> Self {
        let author = at.path(&["author", "time"]).and_then(|time| time.node().attribute("value"));
        let effective = at.child("effectiveTime").and_then(|time| {
            time.node().attribute("value").or(time.child("low").and_then(|low| low.node().attribute("value")))
        });
        // In an organizer the time is that of its members; in a concern it is that of the record.
        let recorded = if at.name == "organizer" { effective.or(author) } else { author.or(effective) };
        Self { recorded: recorded.or(self.recorded), visit: self.visit.clone() }
    }
}

fn patient(role: At<'_>, sink: &mut dyn Sink) -> Result<String, Stop> {
    /// Social security numbers.
    const CIVIL: &str = "2.16.840.1.113883.4.1";
    let place = Place::row(role.row);
    let usable = |id: &At<'_>| id.attribute("nullFlavor").is_none() && id.attribute("root").is_some();
    let civil = |id: &At<'_>| id.attribute("root") == Some(CIVIL);
    let id = role.all("id").find(|id| usable(id) && !civil(id)).or_else(|| role.all("id").find(usable));
    let Some(id) = id else {
        let hint = "let the sender fill patientRole/id";
        return Err(Problem::new("IN108", "the patient has no identifier", place.column("patientRole/id"), hint).into());
    };
    let key = format!("{}|{}", id.attribute("extension").unwrap_or_default(), id.attribute("root").unwrap_or_default());
    let patient = role.child("patient").unwrap_or(role);
    let birth = time(patient.child("birthTime"), &place, "birthTime")?;
    let died = time(patient.child("sdtc:deceasedTime"), &place, "sdtc:deceasedTime")?;
    let dead = patient.child("sdtc:deceasedInd").and_then(|dead| dead.attribute("value").map(|dead| dead == "true"));
    if died.is_none() && dead == Some(true) {
        return Err(Stop::Fate(Fate::Held(Held::NoDate)));
    }
    let sex_source = patient.child("administrativeGenderCode").and_then(|sex| sex.node().attribute("code"));
    let sex = match sex_source {
        Some("F") => Sex::Female,
        Some("M") => Sex::Male,
        _ => Sex::Unknown,
    };
    let category = |name| {
        let code = patient.child(name).filter(|code| code.attribute("codeSystem") == Some("2.16.840.1.113883.6.238"));
        let code = code.and_then(|code| code.node().attribute("code")).unwrap_or_default();
        Code { system: if code.is_empty() { "" } else { systems::RACE }, code }
    };
    let address = role.child("addr");
    let part = |name| address.and_then(|address| address.child(name)).map(|part| part.node().text.trim());
    let zip: String = part("postalCode").unwrap_or_default().chars().take(3).collect();
    let (state, country) = (part("state").unwrap_or_default(), part("country").unwrap_or_default());
    let location = format!("{state}/{zip}/{country}");
    let has_location = location.len() > 2;
    if has_location {
        sink.party(&Party::Location { key: &location, state, zip: &zip, country });
    }
    sink.person(&Person {
        sex,
        sex_source: sex_source.filter(|code| code.len() <= 2).unwrap_or_default(),
        birth,
        race: category("raceCode"),
        ethnicity: category("ethnicGroupCode"),
        death: died,
        location: if has_location { &location } else { "" },
        type_concept_id: EHR,
        ..Person::new(&key)
    });
    Ok(key)
}

/// Root and extension of the first identifier; empty where there is none.
fn own_key(at: At<'_>) -> String {
    let id = at.all("id").find(|id| id.attribute("nullFlavor").is_none() && id.attribute("root").is_some());
    id.map_or_else(String::new, |id| {
        format!("{}|{}", id.attribute("extension").unwrap_or_default(), id.attribute("root").unwrap_or_default())
    })
}

/// A time element's value; `nullFlavor` is no time.
fn time(at: Option<At<'_>>, place: &Place, column: &str) -> Result<Option<When>, Stop> {
    let Some(text) = at.and_then(|at| at.node().attribute("value")) else { return Ok(None) };
    hl7_time(text).map_err(|error| bad_date(error, place.column(column)).into())
}

/// Start and end of the first `effectiveTime` that is an interval or a moment.
fn interval(at: At<'_>, place: &Place) -> Result<(Option<When>, Option<When>), Stop> {
    for effective in at.all("effectiveTime") {
        let (low, high) = (effective.child("low"), effective.child("high"));
        let moment = time(Some(effective), place, "effectiveTime")?;
        let (low, high) = (time(low, place, "effectiveTime/low")?, time(high, place, "effectiveTime/high")?);
        let center = time(effective.child("center"), place, "effectiveTime/center")?;
        if let Some(start) = moment.or(low).or(center) {
            return Ok((Some(start), high));
        }
        // An end alone tells of a day on which it was still so.
        if high.is_some() {
            return Ok((None, high));
        }
    }
    Ok((None, None))
}

fn visit(person: &str, at: At<'_>, sink: &mut dyn Sink) -> Result<(), Stop> {
    let place = Place::row(at.row);
    let (start, end) = interval(at, &place)?;
    let codes = at.child("code").map(Codes::of).unwrap_or_default();
    let visit_concept_id = codes.all.iter().map(|(system, code)| visit_concept(system, code)).find(|id| *id > 0);
    let key = own_key(at);
    let disposition = at.child("dischargeDispositionCode").or(at.child("sdtc:dischargeDispositionCode"));
    let discharged_to = disposition.and_then(|code| code.node().attribute("code")).unwrap_or_default();
    codes.with(|codes| {
        sink.event(&Event {
            kind: Kind::Visit,
            person,
            key: &key,
            codes,
            start,
            end,
            visit_concept_id: visit_concept_id.unwrap_or(0),
            type_concept_id: EHR,
            more: More { discharged_to, ..More::default() },
            ..Event::default()
        });
    });
    Ok(())
}

/// The OMOP visit concept of a code of HL7 ActCode, or of the ranges of CPT that are kinds of visits.
fn visit_concept(system: &str, code: &str) -> i64 {
    match (system, code) {
        ("urn:oid:2.16.840.1.113883.5.4", "AMB") => 9202,
        ("urn:oid:2.16.840.1.113883.5.4", "IMP" | "ACUTE" | "NONAC") => 9201,
        ("urn:oid:2.16.840.1.113883.5.4", "EMER") => 9203,
        ("urn:oid:2.16.840.1.113883.5.4", "OBSENC") => 262,
        ("urn:oid:2.16.840.1.113883.5.4", "VR") => 722_455,
        ("urn:oid:2.16.840.1.113883.5.4", "HH") => 581_476,
        ("http://www.ama-assn.org/go/cpt", code) => match code.parse() {
            Ok(99_202_u32..=99_215) => 9202,
            Ok(99_221..=99_239) => 9201,
            Ok(99_281..=99_285) => 9203,
            _ => 0,
        },
        _ => 0,
    }
}

/// Tells one statement of a known kind.
fn tell(
    known: Statement,
    person: &str,
    at: At<'_>,
    inherited: &Inherited<'_>,
    sink: &mut dyn Sink,
) -> Result<(), Stop> {
    match known {
        Statement::Relative => return Err(Stop::Fate(Fate::Unmapped(Unmapped::Kind))),
        Statement::Supply => return Err(Stop::Fate(Fate::Excluded(Excluded::ToldElsewhere))),
        _ => {}
    }
    // What is negated did not happen, is not there, was not given.
    if at.attribute("negationInd") == Some("true") {
        return Err(Stop::Fate(Fate::Excluded(Excluded::DidNotHappen)));
    }
    match at.child("statusCode").and_then(|status| status.node().attribute("code")) {
        Some("nullified") => return Err(Stop::Fate(Fate::Excluded(Excluded::EnteredInError))),
        Some("cancelled" | "new" | "held" | "suspended") if known != Statement::Medication => {
            return Err(Stop::Fate(Fate::Excluded(Excluded::DidNotHappen)));
        }
        _ => {}
    }
    if known == Statement::Encounter {
        return visit(person, at, sink);
    }
    let place = Place::row(at.row);
    let (start, end) = interval(at, &place)?;
    let recorded = || {
        let own = at.path(&["author", "time"]).and_then(|time| time.node().attribute("value"));
        let text = own.or(inherited.recorded).unwrap_or_default();
        hl7_time(text).map_err(|error| bad_date(error, place.column("author/time")))
    };
    let start = if start.is_some() { start } else { recorded()? };
    let key = own_key(at);
    let event =
        Event { person, key: &key, start, end, visit: &inherited.visit, type_concept_id: EHR, ..Event::default() };
    match known {
        Statement::Problem => problem(at, event, sink),
        Statement::Allergy => allergy(at, event, sink),
        Statement::Medication | Statement::Immunization => drug(at, event, sink),
        Statement::Procedure => procedure(at, event, sink),
        Statement::Result | Statement::VitalSign => finding(at, &place, Kind::Measurement, event, sink),
        _ => finding(at, &place, Kind::Observation, event, sink),
    }
}

fn problem(at: At<'_>, event: Event<'_>, sink: &mut dyn Sink) -> Result<(), Stop> {
    let codes = at.child("value").map(Codes::of).unwrap_or_default();
    codes.required()?;
    codes.with(|given| sink.event(&Event { kind: Kind::Condition, codes: given, text: &codes.text, ..event }));
    Ok(())
}

fn allergy(at: At<'_>, event: Event<'_>, sink: &mut dyn Sink) -> Result<(), Stop> {
    let consumed = at.all("participant").find(|participant| participant.attribute("typeCode") == Some("CSM"));
    let entity = consumed.and_then(|participant| participant.path(&["participantRole", "playingEntity"]));
    let mut substance = entity.and_then(|entity| entity.child("code")).map(Codes::of).unwrap_or_default();
    if substance.text.is_empty() {
        let name = entity.and_then(|entity| entity.child("name")).map(At::whole_text);
        substance.text = name.map(|name| name.trim().to_owned()).unwrap_or_default();
    }
    substance.required()?;
    let mut kind = at.child("value").map(Codes::of).unwrap_or_default();
    if kind.all.is_empty() {
        // SNOMED CT: allergy to substance.
        kind.all.push((systems::SNOMED.to_owned(), "419199007".to_owned()));
    }
    let is_reaction = |reaction: &At<'_>| {
        let mut roots = reaction.all("templateId").filter_map(|template| template.node().attribute("root"));
        roots.any(|root| root.strip_prefix(TEMPLATE_ROOT) == Some(REACTION))
    };
    let mut reactions = Vec::new();
    for relation in at.all("entryRelationship") {
        for reaction in relation.all("observation").filter(is_reaction) {
            let codes = reaction.child("value").map(Codes::of).unwrap_or_default();
            let start = interval(reaction, &Place::row(reaction.row))?.0;
            if !codes.all.is_empty() {
                reactions.push((codes, start));
            }
        }
    }
    kind.with(|finding| {
        substance.with(|substances| {
            let event = Event { kind: Kind::Observation, ..event };
            if substances.is_empty() {
                sink.event(&Event { codes: finding, value: Value::Text(&substance.text), ..event });
            } else {
                let more = More { finding, ..event.more };
                sink.event(&Event { codes: substances, text: &substance.text, more, ..event });
            }
        });
    });
    for (codes, start) in &reactions {
        codes.with(|given| {
            let event = Event { key: "", parent: event.key, start: start.or(event.start), end: None, ..event };
            sink.event(&Event { kind: Kind::Observation, codes: given, text: &codes.text, ..event });
        });
    }
    Ok(())
}

fn drug(at: At<'_>, event: Event<'_>, sink: &mut dyn Sink) -> Result<(), Stop> {
    let product = at.path(&["consumable", "manufacturedProduct"]);
    let material =
        product.and_then(|product| product.child("manufacturedMaterial").or(product.child("manufacturedLabeledDrug")));
    let mut codes = material.and_then(|material| material.child("code")).map(Codes::of).unwrap_or_default();
    if codes.text.is_empty() {
        let name = material.and_then(|material| material.child("name")).map(At::whole_text);
        codes.text = name.map(|name| name.trim().to_owned()).unwrap_or_default();
    }
    codes.required()?;
    let lot = material.and_then(|material| material.child("lotNumberText")).map(At::whole_text).unwrap_or_default();
    let route = at.child("routeCode").map(Codes::of).unwrap_or_default();
    let repeats = at.child("repeatNumber").and_then(|repeats| repeats.node().attribute("value")?.parse::<i64>().ok());
    let intended = at.attribute("moodCode") == Some("INT");
    let type_concept_id = if intended { EHR_PRESCRIPTION } else { EHR };
    codes.with(|given| {
        route.with(|site| {
            // The first fill is no refill (C-CDA R2.1, medication activity, repeatNumber).
            let refills = repeats.filter(|repeats| intended && *repeats > 0).map(|repeats| repeats - 1);
            let more = More { site, lot: lot.trim(), refills, ..More::default() };
            let event = Event { kind: Kind::Drug, codes: given, text: &codes.text, more, ..event };
            sink.event(&Event { type_concept_id, ..event });
        });
    });
    Ok(())
}

fn procedure(at: At<'_>, event: Event<'_>, sink: &mut dyn Sink) -> Result<(), Stop> {
    let codes = at.child("code").map(Codes::of).unwrap_or_default();
    codes.required()?;
    let site = at.child("targetSiteCode").map(Codes::of).unwrap_or_default();
    codes.with(|given| {
        site.with(|site| {
            let more = More { site, ..More::default() };
            sink.event(&Event { kind: Kind::Procedure, codes: given, text: &codes.text, more, ..event });
        });
    });
    Ok(())
}

/// A code and its value.
fn finding(at: At<'_>, place: &Place, kind: Kind, event: Event<'_>, sink: &mut dyn Sink) -> Result<(), Stop> {
    let codes = at.child("code").map(Codes::of).unwrap_or_default();
    codes.required()?;
    let interpretation = at.child("interpretationCode").map(Codes::of).unwrap_or_default();
    let bounds = at.path(&["referenceRange", "observationRange", "value"]);
    let bound = |name| bounds.and_then(|bounds| bounds.child(name)?.node().attribute("value")?.parse().ok());
    let range = (bound("low"), bound("high"));
    let mut values = Vec::new();
    for value in at.all("value") {
        values.push((quantity(value, place)?, unit(value)));
    }
    if values.is_empty() {
        values.push((Answer::None, String::new()));
    }
    codes.with(|given| {
        interpretation.with(|qualifier| {
            let more = More { qualifier, ..More::default() };
            let event = Event { kind, codes: given, text: &codes.text, range, more, ..event };
            for (value, unit) in &values {
                match value {
                    Answer::None => sink.event(&event),
                    Answer::Number(number, comparator) => {
                        sink.event(&Event { value: Value::Number(*number, *comparator), unit, ..event });
                    }
                    Answer::Coded(codes) => codes.with(|coded| {
                        let value = if coded.is_empty() { Value::Text(&codes.text) } else { Value::Codes(coded) };
                        sink.event(&Event { value, ..event });
                    }),
                    Answer::Text(text) => {
                        sink.event(&Event { kind: Kind::Observation, value: Value::Text(text), ..event });
                    }
                }
            }
        });
    });
    Ok(())
}

enum Answer {
    None,
    Number(f64, Comparator),
    Coded(Codes),
    Text(String),
}

fn unit(value: At<'_>) -> String {
    let bound = value.child("low").or(value.child("high"));
    let unit = value.attribute("unit").or(bound.and_then(|bound| bound.node().attribute("unit")));
    unit.unwrap_or_default().to_owned()
}

/// A `value` by its type (CDA R2, data types).
fn quantity(value: At<'_>, place: &Place) -> Result<Answer, Stop> {
    let number = |at: At<'_>| -> Result<Option<f64>, Stop> {
        let Some(text) = at.attribute("value") else { return Ok(None) };
        text.trim().parse().ok().filter(|number: &f64| number.is_finite()).map(Some).ok_or_else(|| {
            let hint = "let the sender write a number, or another type of value";
            Problem::new("IN101", "not a number", place.column("value"), hint).into()
        })
    };
    if value.attribute("nullFlavor").is_some() && value.child("translation").is_none() {
        let text = value.child("originalText").map(At::whole_text).unwrap_or_default();
        return Ok(if text.trim().is_empty() { Answer::None } else { Answer::Text(text.trim().to_owned()) });
    }
    let data_type = value.attribute("xsi:type").unwrap_or_default();
    Ok(match data_type.rsplit(':').next().unwrap_or_default() {
        "PQ" | "INT" | "REAL" | "MO" => match number(value)? {
            Some(number) => Answer::Number(number, Comparator::Equal),
            None => Answer::None,
        },
        "IVL_PQ" | "IVL_INT" | "IVL_REAL" => {
            let bound = |name| value.child(name).filter(|bound| bound.attribute("value").is_some());
            let inclusive = |bound: At<'_>| bound.attribute("inclusive") != Some("false");
            match (bound("low"), bound("high")) {
                (Some(low), None) => {
                    let comparator = if inclusive(low) { Comparator::AtLeast } else { Comparator::More };
                    number(low)?.map_or(Answer::None, |number| Answer::Number(number, comparator))
                }
                (None, Some(high)) => {
                    let comparator = if inclusive(high) { Comparator::AtMost } else { Comparator::Less };
                    number(high)?.map_or(Answer::None, |number| Answer::Number(number, comparator))
                }
                (Some(low), Some(high)) => {
                    let shown = |bound: At<'_>| bound.attribute("value").unwrap_or_default().to_owned();
                    Answer::Text(format!("{} - {}", shown(low), shown(high)))
                }
                (None, None) => Answer::None,
            }
        }
        "CD" | "CE" | "CO" | "CS" | "CV" => Answer::Coded(Codes::of(value)),
        _ => {
            let text = value.whole_text();
            let text = if text.trim().is_empty() { value.attribute("value").unwrap_or_default() } else { text.trim() };
            if text.is_empty() { Answer::None } else { Answer::Text(text.to_owned()) }
        }
    })
}

/// A coded element with its translations, and what it is called.
#[derive(Default)]
struct Codes {
    all: Vec<(String, String)>,
    text: String,
}

impl Codes {
    fn of(at: At<'_>) -> Self {
        let mut codes = Self::default();
        let mut add = |at: At<'_>| {
            let Some(code) = at.attribute("code").map(str::trim).filter(|code| !code.is_empty()) else { return };
            let system = systems::of_oid(at.attribute("codeSystem").unwrap_or_default()).into_owned();
            if !codes.all.iter().any(|(own, other)| *own == system && other == code) {
                codes.all.push((system, code.to_owned()));
            }
        };
        add(at);
        at.all("translation").for_each(&mut add);
        let original = at.child("originalText").map(At::whole_text).unwrap_or_default();
        let called = at.attribute("displayName").unwrap_or_default();
        codes.text = if called.is_empty() { original.trim() } else { called }.to_owned();
        codes
    }

    /// A code that the source calls unknown, without even a text, says nothing that could be kept.
    fn required(&self) -> Result<(), Stop> {
        if self.all.is_empty() && self.text.is_empty() {
            return Err(Stop::Fate(Fate::Unmapped(Unmapped::Kind)));
        }
        Ok(())
    }

    fn with(&self, take: impl FnOnce(&[Code<'_>])) {
        let codes: Vec<Code<'_>> = self.all.iter().map(|(system, code)| Code { system, code }).collect();
        take(&codes);
    }
}
