//! Consent in other formats: nothing widens (I7), and the same events give the same bytes.

use acequia_custody::fhir::{Release, from_fhir, to_fhir};
use acequia_custody::receipt::{Controller, activities, receipt, record_of_processing, record_of_processing_csv};
use acequia_custody::*;
use acequia_types::{DonorId, parse_timestamp};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::histories::*;

fn donor() -> DonorId {
    DonorId::parse("donor-1").unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2048, failure_persistence: None, ..ProptestConfig::default() })]

    /// I7: what is permitted by the consent that comes back was permitted by the one that went out, under the same facts, now
    /// and later.
    #[test]
    fn i7_a_round_trip_through_fhir_never_widens(
        records in records(), facts in facts(), now in 0..STEPS, later in 0..STEPS, r5 in any::<bool>(), purpose in purpose(),
    ) {
        // What happens after the export is not in it.
        let records: Vec<_> = records.into_iter().filter(|recorded| recorded.event.at <= instant(now)).map(|recorded| Recorded { known_at: instant(0), ..recorded }).collect();
        let history = History::recorded(records);
        let release = if r5 { Release::R5 } else { Release::R4 };
        let resource = to_fhir(&donor(), &history, instant(now), release);
        let back = from_fhir(&resource).unwrap();
        let returned = History::new(back.events);
        let asked = Query::now(purpose, &facts, instant(now.max(later)));
        let permits = |history: &History| matches!(decide(Some(history), &asked, &Policy::SILENT), Verdict::Permit { .. });
        prop_assert!(!permits(&returned) || permits(&history), "{resource}");
        // And where days and conditions are the same for all purposes, nothing is lost either.
        if back.unmapped.is_empty() && instant(now.max(later)) == instant(now) {
            let plain = history.events().all(|event| !matches!(&event.kind, ConsentKind::Give { conditions: Some(_), .. }));
            prop_assert!(!plain || permits(&returned) == permits(&history), "{resource}");
        }
    }
}

fn read(resource: Value) -> (String, Vec<String>) {
    let imported = from_fhir(&resource).unwrap();
    let words = match imported.events.as_slice() {
        [] => "nothing".to_owned(),
        [event] => match &event.kind {
            ConsentKind::Give { purposes, expires_on, .. } => {
                let purposes: Vec<_> = purposes.iter().map(Purpose::as_str).collect();
                format!(
                    "give {}{}",
                    purposes.join(" "),
                    expires_on.map(|day| format!(" until {day}")).unwrap_or_default()
                )
            }
            ConsentKind::Refuse { .. } => "refuse".to_owned(),
            ConsentKind::Withdraw { .. } => "withdraw".to_owned(),
            ConsentKind::Invalidate => "invalidate".to_owned(),
            _ => unreachable!(),
        },
        _ => unreachable!(),
    };
    (words, imported.unmapped.into_iter().collect())
}

fn r4(provision: Value) -> Value {
    json!({ "resourceType": "Consent", "status": "active", "dateTime": "2026-01-01", "provision": provision })
}

fn hresch() -> Value {
    json!([{ "system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "HRESCH" }])
}

#[test]
fn foreign_resources_say_at_most_what_they_say() {
    let permit = json!({ "type": "permit", "purpose": hresch() });
    let nothing = |provision: Value, unmapped: &str| {
        assert_eq!(read(r4(provision.clone())), ("nothing".to_owned(), vec![unmapped.to_owned()]), "{provision}");
    };
    // Healthcare research is research inside; never open publication.
    assert_eq!(read(r4(permit.clone())), ("give research".to_owned(), vec![]));
    assert_eq!(read(r4(json!({ "type": "deny", "provision": [permit] }))), ("give research".to_owned(), vec![]));
    let until = json!({ "type": "permit", "purpose": hresch(), "period": { "end": "2026-06-30" } });
    assert_eq!(read(r4(until)), ("give research until 2026-06-30".to_owned(), vec![]));
    let noon = json!({ "type": "permit", "purpose": hresch(), "period": { "end": "2026-06-30T12:00:00Z" } });
    assert_eq!(read(r4(noon)), ("give research until 2026-06-29".to_owned(), vec![]));
    // Everything that narrows and is not understood closes.
    for narrows in ["actor", "action", "securityLabel", "class", "code", "dataPeriod", "data", "somethingNew"] {
        let mut provision = json!({ "type": "permit", "purpose": hresch() });
        provision[narrows] = json!([{}]);
        nothing(provision, "Consent.provision");
    }
    nothing(json!({ "type": "permit" }), "Consent.provision");
    nothing(json!({ "type": "permit", "purpose": hresch(), "period": { "end": "soon" } }), "Consent.provision");
    nothing(json!({ "type": "permit", "purpose": hresch(), "period": { "start": "2027-01-01" } }), "Consent.provision");
    let alien = json!([{ "url": "urn:other", "valueBoolean": true }]);
    nothing(json!({ "type": "permit", "purpose": hresch(), "modifierExtension": alien }), "Consent.provision");
    let unless = json!({ "type": "permit", "purpose": hresch(), "provision": [{ "type": "deny", "actor": [{}] }] });
    let (words, unmapped) = read(r4(unless));
    assert_eq!((words.as_str(), unmapped.len()), ("nothing", 2));
    // R5.
    let r5 = |decision: &str, provision: Value| json!({ "resourceType": "Consent", "status": "active", "date": "2026-01-01", "decision": decision, "provision": provision });
    assert_eq!(read(r5("deny", json!([{ "purpose": hresch() }]))), ("give research".to_owned(), vec![]));
    assert_eq!(read(r5("permit", json!([]))), ("nothing".to_owned(), vec!["Consent.decision".to_owned()]));
    // Status.
    for (status, expected) in [
        ("rejected", "refuse"),
        ("inactive", "withdraw"),
        ("entered-in-error", "invalidate"),
        ("draft", "nothing"),
        ("", "nothing"),
    ] {
        let mut resource = r4(json!({ "type": "permit", "purpose": hresch() }));
        resource["status"] = json!(status);
        assert_eq!(read(resource).0, expected, "{status}");
    }
    assert_eq!(from_fhir(&json!({ "resourceType": "Patient" })), None);
    assert_eq!(read(json!({ "resourceType": "Consent" })).0, "nothing");
}

fn controller() -> Controller {
    Controller {
        name: "Trustee".to_owned(),
        address: "Somewhere 1".to_owned(),
        contact: "data@trustee.example".to_owned(),
        country: "DE".to_owned(),
        authority: "an authority".to_owned(),
    }
}

/// Fields that ISO/IEC TS 27560 makes mandatory, by their names in the DPV mapping.
#[test]
fn a_receipt_has_every_mandatory_field_and_the_same_bytes_each_time() {
    let now = parse_timestamp("2026-02-01").unwrap();
    let history = History::new(vec![
        ConsentEvent::give("2026-01-01", &[Purpose::Research, Purpose::OpenPublication]),
        ConsentEvent::new(now, ConsentKind::Withdraw { level: Level::default() }),
    ]);
    let paper = receipt(&donor(), &history, &controller(), "de");
    assert_eq!(paper.to_string(), receipt(&donor(), &history, &controller(), "de").to_string());
    for field in [
        "/@id",
        "/dct:conformsTo",
        "/dct:hasVersion",
        "/dct:language",
        "/dpv:hasDataSubject/dct:identifier",
        "/dpv:hasProcess/dpv:hasPurpose/0/@id",
        "/dpv:hasProcess/dpv:hasPersonalData",
        "/dpv:hasProcess/dpv:hasLegalBasis",
        "/dpv:hasProcess/dpv:hasStorageCondition/dpv:hasLocation",
        "/dpv:hasProcess/dpv:hasStorageCondition/dpv:hasDuration",
        "/dpv:hasProcess/dpv:hasJurisdiction",
        "/dpv:hasProcess/dpv:hasRecipient",
        "/dpv:hasProcess/withdrawal",
        "/dpv:hasDataController/dpv:hasName",
        "/dpv:hasDataController/dpv:hasAddress",
        "/dpv:hasDataController/dpv:hasContact",
        "/dpv:hasDataController/dpv:hasAuthority",
        "/dpv:hasConsentStatus/0/@type",
        "/dpv:hasConsentStatus/0/dct:date",
        "/dpv:hasConsentStatus/0/dpv:isIndicatedBy",
        "/dpv:hasConsentStatus/1/@type",
    ] {
        assert!(paper.pointer(field).is_some_and(|value| !value.is_null()), "{field}");
    }
    assert_eq!(paper["dpv:hasConsentStatus"][1]["@type"], "dpv:ConsentWithdrawn");
    assert!(paper.to_string().contains("Gesundheitsforschung"));
}

#[test]
fn the_record_of_processing_is_complete_and_the_same_each_time() {
    let now = parse_timestamp("2026-02-01").unwrap();
    let record = record_of_processing(&controller(), now);
    assert_eq!(record.to_string(), record_of_processing(&controller(), now).to_string());
    let all = activities();
    assert_eq!(record["dpv:hasProcess"].as_array().unwrap().len(), all.len());
    assert_eq!(record_of_processing_csv().lines().count(), all.len() + 1);
    let ids: std::collections::BTreeSet<_> = all.iter().map(|activity| activity.id.as_str()).collect();
    assert_eq!(ids.len(), all.len());
}
