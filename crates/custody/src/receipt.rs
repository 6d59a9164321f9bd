//! Papers that write themselves from the events: the consent receipt and the record of processing activities.
//!
//! Source: ISO/IEC TS 27560:2023 as JSON-LD by the W3C guide "Consent records and receipts with DPV" (2026-02), profile with
//! GDPR fields; GDPR Art. 30 for the record of processing. The same events give the same bytes.

use acequia_types::{Day, Digest, DonorId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::event::{ConsentEvent, ConsentKind, History, Level, Party};
use crate::purpose::{Purpose, Purposes};
use crate::vocabulary::{Vocabulary, plain_words, term_of};

/// The trustee, as papers name it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Controller {
    /// Name of the legal person.
    pub name: String,
    /// Postal address.
    pub address: String,
    /// How to reach it about data.
    pub contact: String,
    /// Country by ISO 3166-1.
    pub country: String,
    /// The supervisory authority.
    pub authority: String,
}

fn status(kind: &ConsentKind) -> &'static str {
    match kind {
        ConsentKind::Give { .. } => "dpv:ConsentGiven",
        ConsentKind::Refuse { .. } => "dpv:ConsentRefused",
        ConsentKind::Withdraw { .. } => "dpv:ConsentWithdrawn",
        ConsentKind::Invalidate => "dpv:ConsentInvalidated",
        ConsentKind::OrderErasure => "dpv:ConsentRevoked",
        _ => "dpv:ConsentUnknown",
    }
}

fn party(party: Party) -> &'static str {
    match party {
        Party::Donor => "dpv:DataSubject",
        Party::Representative => "dpv:Representative",
        Party::Institution => "dpv:ThirdParty",
        Party::Desk => "dpv:DataController",
    }
}

fn purposes_of(kind: &ConsentKind) -> Purposes {
    match kind {
        ConsentKind::Give { purposes, .. } | ConsentKind::Refuse { purposes } => *purposes,
        ConsentKind::Withdraw { level: Level::NoFurtherUse | Level::LeaveNextVersions }
        | ConsentKind::Invalidate
        | ConsentKind::OrderErasure => Purposes::ALL,
        _ => Purposes::NONE,
    }
}

fn expiry(kind: &ConsentKind) -> Option<Day> {
    match kind {
        ConsentKind::Give { expires_on, .. } => *expires_on,
        _ => None,
    }
}

/// Whether an act is one of consent, and so on the receipt.
fn on_receipt(event: &ConsentEvent) -> bool {
    matches!(
        event.kind,
        ConsentKind::Give { .. }
            | ConsentKind::Refuse { .. }
            | ConsentKind::Withdraw { .. }
            | ConsentKind::Invalidate
            | ConsentKind::OrderErasure
    )
}

fn purpose(purpose: Purpose, language: &str) -> Value {
    let term = |vocabulary| term_of(purpose, vocabulary).map(|term| term.id);
    json!({
        "@type": "dpv:Purpose",
        "@id": format!("urn:acequia:purpose:{purpose}"),
        "dct:title": { "@language": language, "@value": plain_words(purpose, language) },
        "skos:broader": term(Vocabulary::Dpv),
        "duo": term(Vocabulary::Duo),
    })
}

/// The receipt a donor gets after every change: header, processing, parties, events.
pub fn receipt(donor: &DonorId, history: &History, controller: &Controller, language: &str) -> Value {
    let events: Vec<&ConsentEvent> = history.events().filter(|event| on_receipt(event)).collect();
    let all: Purposes = events.iter().flat_map(|event| purposes_of(&event.kind).iter()).collect();
    let known = |event: &ConsentEvent| {
        let of_it = history.records().iter().find(|recorded| recorded.event == *event);
        of_it.map(|recorded| recorded.known_at.to_string())
    };
    let event = |event: &&ConsentEvent| {
        json!({
            "@type": status(&event.kind),
            "dct:date": event.at.to_string(),
            "recordedAt": known(event),
            "dpv:hasDuration": expiry(&event.kind).map(|day| json!({ "@type": "dpv:UntilTimeDuration", "@value": day.to_string() })),
            "dpv:isIndicatedBy": party(event.by),
            "dpv:hasPurpose": purposes_of(&event.kind).iter().map(|purpose| format!("urn:acequia:purpose:{purpose}")).collect::<Vec<_>>(),
            "dpv:hasNotice": event.notice.as_ref().map(|notice| json!({
                "@type": "dpv:ConsentNotice",
                "dct:identifier": notice.id,
                "dct:hasVersion": notice.version,
                "dct:language": notice.language,
                "sha256": notice.digest,
            })),
        })
    };
    let body = json!({
        "@context": {
            "dpv": "https://w3id.org/dpv#",
            "eu-gdpr": "https://w3id.org/dpv/legal/eu/gdpr#",
            "eu-ehds": "https://w3id.org/dpv/legal/eu/ehds#",
            "dct": "http://purl.org/dc/terms/",
            "skos": "http://www.w3.org/2004/02/skos/core#",
            "xsd": "http://www.w3.org/2001/XMLSchema#",
            "duo": { "@id": "http://purl.obolibrary.org/obo/DUO_0000001" },
            "sha256": { "@id": "urn:acequia:sha256" },
            "recordedAt": { "@id": "urn:acequia:recorded-at", "@type": "xsd:dateTime" },
            "withdrawal": { "@id": "urn:acequia:withdrawal-method" },
            // Values that name something are names in the graph too, and not texts.
            "dct:conformsTo": { "@type": "@id" },
            "dct:date": { "@type": "xsd:dateTime" },
            "dpv:hasPurpose": { "@type": "@id" },
            "dpv:hasPersonalData": { "@type": "@id" },
            "dpv:hasProcessing": { "@type": "@id" },
            "dpv:hasLegalBasis": { "@type": "@id" },
            "dpv:hasDuration": { "@type": "@id" },
            "dpv:hasRecipient": { "@type": "@id" },
            "dpv:hasRight": { "@type": "@id" },
            "dpv:isIndicatedBy": { "@type": "@id" },
            "skos:broader": { "@type": "@id" },
        },
        "@type": "dpv:ConsentReceipt",
        "dct:conformsTo": "https://w3id.org/dpv/schema/dpv-27560#receipt",
        "dct:hasVersion": "ISO/IEC TS 27560:2023",
        "dpv:hasDataSubject": { "@type": "dpv:DataSubject", "dct:identifier": donor.as_str() },
        "dct:language": language,
        "dpv:hasProcess": {
            "@type": "dpv:Process",
            "dpv:hasPurpose": all.iter().map(|one| purpose(one, language)).collect::<Vec<_>>(),
            "dpv:hasPersonalData": "dpv:HealthData",
            "dpv:hasProcessing": ["dpv:Store", "dpv:Transform", "dpv:Anonymise", "dpv:Use"],
            "dpv:hasLegalBasis": "eu-gdpr:A9-2-a",
            "dpv:hasStorageCondition": { "dpv:hasLocation": controller.country, "dpv:hasDuration": "dpv:UntilEventDuration" },
            "dpv:hasRecipient": if all.contains(Purpose::OpenPublication) { "dpv:PublicDataSource" } else { "dpv:ResearchBody" },
            "dpv:hasJurisdiction": controller.country,
            "dpv:hasRight": ["eu-gdpr:A7-3", "eu-gdpr:A15", "eu-gdpr:A16", "eu-gdpr:A17", "eu-gdpr:A18", "eu-gdpr:A20", "eu-gdpr:A77"],
            "withdrawal": "acequia consent withdraw, or by letter to the contact; as easy as giving",
        },
        "dpv:hasDataController": {
            "@type": ["dpv:DataController", "dpv:NonProfitOrganisation"],
            "dpv:hasName": controller.name,
            "dpv:hasAddress": controller.address,
            "dpv:hasContact": controller.contact,
            "dpv:hasAuthority": controller.authority,
        },
        "dpv:hasConsentStatus": events.iter().map(event).collect::<Vec<_>>(),
    });
    let id = Digest::of(body.to_string().as_bytes());
    let mut receipt = json!({ "@id": format!("urn:acequia:receipt:{}", id.short(32)) });
    if let (Some(receipt), Value::Object(body)) = (receipt.as_object_mut(), body) {
        receipt.extend(body);
    }
    receipt
}

/// One processing activity (GDPR Art. 30(1)).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Activity {
    /// Name: a stage of the pipeline or a duty of the desk.
    pub id: String,
    /// Purposes of processing (b).
    pub purpose: String,
    /// Categories of data subjects and data (c).
    pub data: String,
    /// Categories of recipients (d).
    pub recipients: String,
    /// Transfers to third countries (e).
    pub transfers: String,
    /// Time limits for erasure (f).
    pub erasure: String,
    /// Technical and organisational measures (g).
    pub measures: String,
    /// Legal basis.
    pub basis: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Activities {
    activity: Vec<Activity>,
}

/// The activities of the program: `data/processing.toml`.
///
/// # Panics
/// Never: a test reads the file.
pub fn activities() -> Vec<Activity> {
    let file: Activities = toml::from_str(include_str!("../data/processing.toml")).expect("the bundled activities");
    file.activity
}

/// The record of processing activities as JSON-LD.
pub fn record_of_processing(controller: &Controller, as_of: Timestamp) -> Value {
    json!({
        "@context": { "dpv": "https://w3id.org/dpv#", "dct": "http://purl.org/dc/terms/" },
        "@type": "dpv:RecordsOfActivities",
        "dct:conformsTo": "GDPR Art. 30(1)",
        "dct:date": as_of.day().to_string(),
        "dpv:hasDataController": controller,
        "dpv:hasProcess": activities().iter().map(|activity| json!({
            "@type": "dpv:Process",
            "dct:identifier": activity.id,
            "dpv:hasPurpose": activity.purpose,
            "dpv:hasPersonalData": activity.data,
            "dpv:hasRecipient": activity.recipients,
            "dpv:hasDataTransfer": activity.transfers,
            "dpv:hasStorageCondition": activity.erasure,
            "dpv:hasTechnicalOrganisationalMeasure": activity.measures,
            "dpv:hasLegalBasis": activity.basis,
        })).collect::<Vec<_>>(),
    })
}

/// The same as CSV, one activity a row.
pub fn record_of_processing_csv() -> String {
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    let mut csv = String::from("activity,purpose,data,recipients,transfers,erasure,measures,basis\n");
    for a in activities() {
        let row = [&a.id, &a.purpose, &a.data, &a.recipients, &a.transfers, &a.erasure, &a.measures, &a.basis];
        csv += &row.map(|field| quoted(field)).join(",");
        csv.push('\n');
    }
    csv
}
