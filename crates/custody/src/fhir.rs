//! Consent as the FHIR resource `Consent`, releases 4 and 5, out and in.
//!
//! Going out, the base rule denies and each permitted purpose is an exception with its own code and, for other readers, the one of
//! HL7 v3 ActReason. What FHIR has no element for (conditions in DUO terms) goes into a modifier extension, which a reader who
//! does not know it must not ignore (FHIR R4 §2.4.0, R5 §2.1.5.1).
//!
//! Coming in, nothing widens: only purposes that are named with a code that reads back as one of ours are taken over; an
//! element that narrows and is not understood closes what it stands in. What was not taken over is listed, by path, without values.

use std::collections::BTreeSet;

use acequia_types::{DonorId, Timestamp, parse_day, parse_timestamp};
use serde_json::{Map, Value, json};

use crate::evaluate::{Policy, Query, Verdict, decide};
use crate::event::{ConsentEvent, ConsentKind, History, Level};
use crate::purpose::{Purpose, Purposes};
use crate::terms::{Conditions, DuoTerm, Facts};
use crate::vocabulary::{Vocabulary, purpose_of, term_of};

/// Our own codes of purposes.
pub const PURPOSE_SYSTEM: &str = "urn:acequia:purpose";
const ACT_REASON: &str = "http://terminology.hl7.org/CodeSystem/v3-ActReason";
const CONDITIONS: &str = "urn:acequia:conditions";

/// A release of FHIR.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// R4 (4.0.1), and R4B, whose `Consent` is the same.
    R4,
    /// R5 (5.0.0).
    R5,
}

/// The consent that holds for each purpose at `now`, as one resource.
///
/// A purpose that is not permitted is not in it; the base rule denies it.
pub fn to_fhir(donor: &DonorId, history: &History, now: Timestamp, release: Release) -> Value {
    let mut permitted = Vec::new();
    for purpose in Purpose::ALL {
        let (last_day, conditions) = match given(history, purpose, now) {
            Some(given) => given,
            None => continue,
        };
        let mut codes = vec![json!({ "system": PURPOSE_SYSTEM, "code": purpose.as_str() })];
        if let Some(term) = term_of(purpose, Vocabulary::Fhir) {
            codes.push(json!({ "system": ACT_REASON, "code": term.id, "display": term.label }));
        }
        let mut provision = Map::new();
        if let Some(conditions) = conditions {
            let text = serde_json::to_string(conditions).unwrap_or_default();
            provision.insert("modifierExtension".into(), json!([{ "url": CONDITIONS, "valueString": text }]));
        }
        if release == Release::R4 {
            provision.insert("type".into(), json!("permit"));
        }
        let mut period = Map::new();
        period.insert("start".into(), json!(now.to_string()));
        if let Some(day) = last_day {
            period.insert("end".into(), json!(day.to_string()));
        }
        provision.insert("period".into(), Value::Object(period));
        provision.insert("purpose".into(), json!(codes));
        permitted.push(Value::Object(provision));
    }
    let status = if permitted.is_empty() { "inactive" } else { "active" };
    let category = json!([{ "coding": [
        { "system": "http://terminology.hl7.org/CodeSystem/consentcategorycodes", "code": "research" }
    ] }]);
    let subject = json!({ "identifier": { "system": "urn:acequia:donor", "value": donor.as_str() } });
    match release {
        Release::R4 => {
            let mut provision = json!({ "type": "deny" });
            if !permitted.is_empty() {
                provision["provision"] = Value::Array(permitted);
            }
            json!({
                "resourceType": "Consent",
                "id": format!("consent-{donor}"),
                "status": status,
                "scope": { "coding": [
                    { "system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "research" }
                ] },
                "category": category,
                "patient": subject,
                "dateTime": now.to_string(),
                "policyRule": { "text": "what is not permitted is denied" },
                "provision": provision,
            })
        }
        Release::R5 => {
            let mut resource = json!({
                "resourceType": "Consent",
                "id": format!("consent-{donor}"),
                "status": status,
                "category": category,
                "subject": subject,
                "date": now.day().to_string(),
                "decision": "deny",
            });
            if !permitted.is_empty() {
                resource["provision"] = Value::Array(permitted);
            }
            resource
        }
    }
}

type Given<'a> = (Option<acequia_types::Day>, Option<&'a Conditions>);

/// The consent that holds for a purpose if every condition were met, with its conditions.
fn given(history: &History, purpose: Purpose, now: Timestamp) -> Option<Given<'_>> {
    let newest = history.events().filter(|event| event.at <= now && matches!(event.kind, ConsentKind::Give { .. }));
    let newest: Vec<&ConsentEvent> = newest.collect();
    let at = newest.last()?.at;
    let mut conditions: Vec<&Conditions> = Vec::new();
    for event in newest.iter().filter(|event| event.at == at) {
        if let ConsentKind::Give { conditions: Some(own), .. } = &event.kind
            && !conditions.contains(&&**own)
        {
            conditions.push(own);
        }
    }
    // A time limit without a day of its own is never met; the end of something else must not become that day.
    let limited = conditions.iter().any(|conditions| conditions.duo.contains(&DuoTerm::TimeLimit));
    let dated = newest
        .iter()
        .filter(|event| event.at == at)
        .any(|event| matches!(&event.kind, ConsentKind::Give { expires_on: Some(_), .. }));
    if limited && !dated {
        return None;
    }
    // Several consents at one instant under different conditions have no one resource; nothing is said then.
    if conditions.len() > 1 {
        return None;
    }
    let bare: Vec<_> = history
        .records()
        .iter()
        .cloned()
        .map(|mut recorded| {
            if let ConsentKind::Give { conditions, .. } = &mut recorded.event.kind {
                let after_death = conditions.as_ref().is_some_and(|conditions| conditions.after_death);
                *conditions = after_death.then(|| Box::new(Conditions { after_death, ..Conditions::default() }));
            }
            recorded
        })
        .collect();
    let facts = Facts::default();
    match decide(Some(&History::recorded(bare)), &Query::now(purpose, &facts, now), &Policy::SILENT) {
        Verdict::Permit { until } => Some((until, conditions.first().copied())),
        Verdict::Refer(_) | Verdict::Deny(_) => None,
    }
}

/// What could be read from a resource.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Imported {
    /// Acts of the donor that say no more than the resource does. Empty when nothing could be read, which denies.
    pub events: Vec<ConsentEvent>,
    /// Paths of elements that were not taken over; nothing of them is permitted.
    pub unmapped: BTreeSet<String>,
}

/// Elements that describe and do not narrow.
const DESCRIBES: &[&str] = &[
    "resourceType",
    "id",
    "meta",
    "implicitRules",
    "language",
    "text",
    "identifier",
    "status",
    "scope",
    "category",
    "patient",
    "subject",
    "dateTime",
    "date",
    "performer",
    "grantor",
    "grantee",
    "manager",
    "controller",
    "organization",
    "sourceAttachment",
    "sourceReference",
    "policy",
    "policyRule",
    "policyText",
    "policyBasis",
    "regulatoryBasis",
    "verification",
    "provision",
    "decision",
    "period",
    "contained",
    "extension",
];

/// Reads a resource of either release. `None` when it is no `Consent`.
pub fn from_fhir(resource: &Value) -> Option<Imported> {
    if resource.get("resourceType").and_then(Value::as_str) != Some("Consent") {
        return None;
    }
    let mut imported = Imported::default();
    let unread = |imported: &mut Imported, path: &str| {
        imported.unmapped.insert(path.to_owned());
    };
    let time = resource.get("dateTime").or_else(|| resource.get("date")).and_then(Value::as_str);
    let Some(at) = time.and_then(parse_timestamp) else {
        unread(&mut imported, "Consent.dateTime");
        return Some(imported);
    };
    let act = |kind| vec![ConsentEvent::new(at, kind)];
    match resource.get("status").and_then(Value::as_str) {
        Some("active") => {}
        Some("rejected" | "not-done") => {
            imported.events = act(ConsentKind::Refuse { purposes: Purposes::ALL });
            return Some(imported);
        }
        Some("inactive") => {
            imported.events = act(ConsentKind::Withdraw { level: Level::default() });
            return Some(imported);
        }
        Some("entered-in-error") => {
            imported.events = act(ConsentKind::Invalidate);
            return Some(imported);
        }
        _ => {
            unread(&mut imported, "Consent.status");
            return Some(imported);
        }
    }
    for key in resource.as_object()?.keys().filter(|key| !DESCRIBES.contains(&key.as_str())) {
        unread(&mut imported, &format!("Consent.{key}"));
    }
    // A rule of the whole resource that is not understood closes all of it.
    if resource.get("modifierExtension").is_some() || resource.get("implicitRules").is_some() {
        unread(&mut imported, "Consent.modifierExtension");
        return Some(imported);
    }
    let whole = period(resource.get("period"));
    let (permits, denies) = match (resource.get("decision"), resource.get("provision")) {
        // R5: a decision, and exceptions to it.
        (Some(decision), provisions) => {
            let provisions: Vec<(String, &Value)> = numbered(provisions, "Consent.provision");
            match decision.as_str() {
                Some("deny") => (provisions, Vec::new()),
                _ => {
                    // "Permit" without a purpose would be every purpose: nobody was asked for those.
                    unread(&mut imported, "Consent.decision");
                    return Some(imported);
                }
            }
        }
        // R4: a root rule, and exceptions to it.
        (None, Some(root)) => {
            let exceptions = numbered(root.get("provision"), "Consent.provision.provision");
            match root.get("type").and_then(Value::as_str) {
                Some("deny") | None if only(root, &["type", "provision", "id", "extension"]) => {
                    let permits =
                        |(_, exception): &(String, &Value)| exception.get("type").is_some_and(|kind| kind == "permit");
                    let (permits, other): (Vec<_>, Vec<_>) = exceptions.into_iter().partition(permits);
                    (permits, other)
                }
                Some("permit") => (vec![("Consent.provision".to_owned(), root)], exceptions),
                _ => {
                    unread(&mut imported, "Consent.provision");
                    return Some(imported);
                }
            }
        }
        (None, None) => {
            unread(&mut imported, "Consent.provision");
            return Some(imported);
        }
    };
    let mut denied = Purposes::NONE;
    for (path, provision) in &denies {
        // A denial that names no purpose of ours, or only some of what it is about, is taken as one of everything.
        match purposes(provision) {
            Some(purposes) if !purposes.is_empty() && every_code_is_ours(provision) => {
                denied = purposes.iter().chain(denied.iter()).collect();
            }
            _ => {
                denied = Purposes::ALL;
                unread(&mut imported, path);
            }
        }
    }
    // One consent states all that is allowed, so permissions with other days or conditions cannot stand beside each other:
    // the first kind is taken, the others are listed.
    let mut taken: Option<(Option<acequia_types::Day>, Option<Box<Conditions>>, Purposes)> = None;
    for (path, provision) in permits {
        let understood = ["type", "id", "extension", "purpose", "period", "modifierExtension", "provision"];
        let root = path == "Consent.provision";
        let nested = provision.get("provision").is_some() && !root;
        let (Some(named), Ok(conditions), Some(days), Some(whole)) =
            (purposes(provision), conditions(provision), period(provision.get("period")), whole)
        else {
            unread(&mut imported, &path);
            continue;
        };
        let begun = days.0.is_none_or(|start| start <= at) && whole.0.is_none_or(|start| start <= at);
        let named = named.without(denied);
        if nested || !only(provision, &understood) || !begun || named.is_empty() {
            unread(&mut imported, &path);
            continue;
        }
        let last = match (days.1, whole.1) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        match &mut taken {
            None => taken = Some((last, conditions, named)),
            Some((same_last, same_conditions, all)) if *same_last == last && *same_conditions == conditions => {
                *all = all.iter().chain(named.iter()).collect();
            }
            Some(_) => unread(&mut imported, &path),
        }
    }
    if let Some((expires_on, conditions, purposes)) = taken {
        imported.events = act(ConsentKind::Give { purposes, expires_on, conditions });
    }
    Some(imported)
}

fn numbered<'v>(array: Option<&'v Value>, path: &str) -> Vec<(String, &'v Value)> {
    let all = array.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    all.iter().enumerate().map(|(at, value)| (format!("{path}[{at}]"), value)).collect()
}

fn only(value: &Value, keys: &[&str]) -> bool {
    value.as_object().is_some_and(|object| object.keys().all(|key| keys.contains(&key.as_str())))
}

/// Start and last day of a period; `None` when it is not understood, which closes.
fn period(value: Option<&Value>) -> Option<(Option<Timestamp>, Option<acequia_types::Day>)> {
    let Some(value) = value else { return Some((None, None)) };
    if !only(value, &["start", "end"]) {
        return None;
    }
    let start = match value.get("start") {
        None => None,
        Some(start) => Some(start.as_str().and_then(parse_timestamp)?),
    };
    let end = match value.get("end").map(Value::as_str) {
        None => None,
        Some(Some(end)) => match parse_day(end) {
            Some(day) => Some(day),
            // An instant within a day ends before that day is over: the day before is the last whole one.
            None => Some(parse_timestamp(end)?.day().pred_opt()?),
        },
        Some(None) => return None,
    };
    Some((start, end))
}

/// Our codes first: where there is one, the foreign ones beside it only translate it.
fn purposes(provision: &Value) -> Option<Purposes> {
    let codes = provision.get("purpose")?.as_array()?;
    let code = |coding: &Value, system: &str| {
        (coding.get("system")?.as_str()? == system).then(|| coding.get("code")?.as_str().map(str::to_owned)).flatten()
    };
    let own: Vec<String> = codes.iter().filter_map(|coding| code(coding, PURPOSE_SYSTEM)).collect();
    if own.is_empty() {
        let read = |coding: &Value| purpose_of(Vocabulary::Fhir, &code(coding, ACT_REASON)?);
        return Some(codes.iter().filter_map(read).collect());
    }
    Some(own.iter().filter_map(|code| Purpose::parse(code)).collect())
}

fn every_code_is_ours(provision: &Value) -> bool {
    let codes = provision.get("purpose").and_then(Value::as_array);
    codes.is_some_and(|codes| {
        codes.iter().all(|coding| {
            let system = coding.get("system").and_then(Value::as_str);
            let code = coding.get("code").and_then(Value::as_str);
            system == Some(PURPOSE_SYSTEM) && code.is_some_and(|code| Purpose::parse(code).is_some())
        })
    }) && only(provision, &["type", "id", "extension", "purpose"])
}

/// Conditions in our modifier extension; an error when there is another, or it cannot be read.
fn conditions(provision: &Value) -> Result<Option<Box<Conditions>>, ()> {
    let Some(extensions) = provision.get("modifierExtension") else { return Ok(None) };
    match extensions.as_array().map(Vec::as_slice) {
        Some([one]) if one.get("url").and_then(Value::as_str) == Some(CONDITIONS) => {
            let text = one.get("valueString").and_then(Value::as_str).ok_or(())?;
            serde_json::from_str(text).map(|conditions| Some(Box::new(conditions))).map_err(|_| ())
        }
        _ => Err(()),
    }
}
