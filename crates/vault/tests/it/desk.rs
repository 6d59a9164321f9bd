//! Requests from receipt to answer.

use acequia_custody::rights::*;
use acequia_custody::{ConsentEvent, ConsentKind, Level, Operation, Policy, Purpose, evaluate};
use acequia_store::{Publication, Release, StoreError, TakenDown, Tombstone};
use acequia_types::{Coded, DatasetName, Digest};
use acequia_vault::{Desk, NoticeState, Recipient, SUBJECTS, Texts, VaultError};

use crate::{CANARY, House, RUN, at, donor, files, holds};

fn desk(house: &House) -> Desk {
    let blobs = acequia_blobs::BlobStore::open(&house.folder.path().join("data/blobs")).unwrap();
    Desk::new(house.store.clone(), house.vault.clone(), blobs, Rules::gdpr())
}

fn recipient_of(id: &str, dataset: &str) -> Recipient {
    Recipient { id: by(id), contact: by("post@lab.example"), dataset: by(dataset), language: None }
}

fn by(name: &str) -> String {
    name.to_owned()
}

async fn approved(desk: &Desk, number: u64, day: &str) {
    for event in [
        Event::Identified { by: by("ann") },
        Event::Approved { by: by("ann") },
        Event::Approved { by: by("bob") },
        Event::WindowWaived,
    ] {
        desk.happen(number, event, at(day)).await.unwrap();
    }
}

#[tokio::test]
async fn access_hands_over_originals_consents_and_who_looked_even_after_withdrawal() {
    let house = House::new().await;
    let donation = house.give("a", CANARY).await;
    house.give("b", b"other").await;
    let grant = house.grant(&["a"], "2026-02-01").await;
    house.vault.open(&donation, &grant, RUN, at("2026-02-01")).await.unwrap();
    house.withdraw("a", "2026-02-02").await;
    let desk = desk(&house);
    let case = desk.receive(&donor("a"), Right::Access, None, at("2026-02-03")).await.unwrap();
    let mut got = None;
    let mut take = |export: &acequia_vault::Export| -> Result<(), VaultError> {
        got = Some(export.clone());
        Ok(())
    };
    let early = desk.execute(case.number, at("2026-02-03"), Some(&mut take)).await.unwrap_err();
    assert_eq!(early.code(), "RI004");
    desk.happen(case.number, Event::Identified { by: by("ann") }, at("2026-02-03")).await.unwrap();
    assert_eq!(desk.execute(case.number, at("2026-02-03"), None).await.unwrap_err().code(), "RI014");
    let case = desk.execute(case.number, at("2026-02-03"), Some(&mut take)).await.unwrap();
    assert_eq!(case.request.state, State::Finalising);
    let export = got.unwrap();
    assert_eq!(export["originals/in-a"].as_slice(), CANARY);
    assert!(!export.contains_key("originals/in-b"));
    let about: serde_json::Value = serde_json::from_slice(&export["about-you.json"]).unwrap();
    assert_eq!(about["consent"].as_array().unwrap().len(), 2);
    assert_eq!(about["accesses"].as_array().unwrap().len(), 2, "the run, and this very hand-over");
    let bundle: serde_json::Value = serde_json::from_slice(&export["bundle.r4.json"]).unwrap();
    let kinds: Vec<_> =
        bundle["entry"].as_array().unwrap().iter().map(|entry| entry["resource"]["resourceType"].clone()).collect();
    assert_eq!(kinds, ["DocumentReference", "Consent"]);
    let closed = desk.happen(case.number, Event::Closed, at("2026-02-04")).await.unwrap();
    assert_eq!(closed.request.state, State::Closed);
    house.store.check().await.unwrap();
}

#[tokio::test]
async fn erasure_stops_use_at_once_and_in_the_end_leaves_nothing() {
    let house = House::new().await;
    let donation = house.give("a", CANARY).await;
    house.give("b", b"other").await;
    let desk = desk(&house);
    let recipient = |id: &str| recipient_of(id, "a/b 1.0.0");
    for id in ["lab-1", "lab-2", "lab-1"] {
        desk.add_recipient(&recipient(id), at("2026-01-05")).await.unwrap();
    }
    let case = desk.receive(&donor("a"), Right::Erasure, None, at("2026-02-03")).await.unwrap();
    let history = house.store.consent(&donor("a")).await.unwrap();
    let now = at("2026-02-03");
    assert_eq!(
        evaluate(&donor("a"), history.as_ref(), Purpose::Research, now).reason().unwrap().as_str(),
        "restricted"
    );
    desk.happen(case.number, Event::Identified { by: by("ann") }, now).await.unwrap();
    desk.happen(case.number, Event::Approved { by: by("ann") }, now).await.unwrap();
    assert_eq!(desk.execute(case.number, at("2026-02-20"), None).await.unwrap_err().code(), "RI005");
    desk.happen(case.number, Event::Approved { by: by("bob") }, now).await.unwrap();
    assert_eq!(desk.execute(case.number, at("2026-02-10"), None).await.unwrap_err().code(), "RI006");
    let done = desk.execute(case.number, at("2026-02-11"), None).await.unwrap();
    assert_eq!((done.request.state, done.donor.clone()), (State::Finalising, None));
    let closed = desk.happen(case.number, Event::Closed, at("2026-02-11")).await.unwrap();
    assert_eq!(closed.request.state, State::Closed);

    let certificate = desk.certificate_of(case.number).await.unwrap().unwrap();
    assert_eq!(certificate["stores"][0]["key destroyed"], true);
    assert_eq!(certificate["stores"][1]["removed"], 1);
    assert_eq!(certificate["recipients told"], 2);
    let letter = desk.letter(case.number, &Texts::of("de"), at("2026-02-11")).await.unwrap();
    assert!(letter.contains("Schlüssel Ihrer Daten wurde so vernichtet") && letter.contains("lang=\"de\""));
    let grant = house.grant(&["b"], "2026-02-12").await;
    assert!(house.vault.open(&donation, &grant, RUN, at("2026-02-12")).await.is_err());
    for file in files(house.folder.path()) {
        assert!(!holds(&file, CANARY) && !holds(&file, b"in-a"), "{}", file.display());
    }
    house.store.check().await.unwrap();

    // Recipients are told once; what they confirm is on record.
    let notices = desk.notices().await.unwrap();
    assert_eq!(notices.len(), 2);
    assert_eq!(notices[0].1.to_string(), "2026-05-12", "90 days");
    desk.confirm(case.number, "lab-2", at("2026-02-20")).await.unwrap();
    desk.confirm(case.number, "lab-2", at("2026-02-21")).await.unwrap();
    let states: Vec<_> = desk.notices().await.unwrap().iter().map(|(notice, _)| notice.state).collect();
    assert_eq!(states, [NoticeState::Told, NoticeState::Confirmed]);
    assert_eq!(desk.confirm(9, "lab-2", at("2026-02-21")).await.unwrap_err().code(), "RI011");
}

#[tokio::test]
async fn what_is_taken_back_or_held_is_not_erased() {
    let house = House::new().await;
    house.give("a", CANARY).await;
    let desk = desk(&house);
    let case = desk.receive(&donor("a"), Right::Erasure, None, at("2026-02-03")).await.unwrap();
    desk.happen(case.number, Event::TakenBack, at("2026-02-05")).await.unwrap();
    let history = house.store.consent(&donor("a")).await.unwrap();
    assert_eq!(evaluate(&donor("a"), history.as_ref(), Purpose::Research, at("2026-02-06")).reason(), None);
    let hold = acequia_custody::ConsentEvent::new(at("2026-02-07"), acequia_custody::ConsentKind::LegalHold);
    house.store.append_consent(&donor("a"), &[hold], at("2026-02-07")).await.unwrap();
    let case = desk.receive(&donor("a"), Right::Erasure, None, at("2026-02-08")).await.unwrap();
    assert_eq!(case.number, 2);
    approved(&desk, 2, "2026-02-08").await;
    assert_eq!(desk.execute(2, at("2026-02-08"), None).await.unwrap_err().code(), "RI010");
    let refused = Event::Refused { reason: Refusal::LegalDuty };
    desk.happen(2, refused, at("2026-02-09")).await.unwrap();
    let letter = desk.letter(2, &Texts::of("en"), at("2026-02-09")).await.unwrap();
    assert!(letter.contains("a law obliges us") && letter.contains("complain"));
    assert_eq!(desk.receive(&donor("z"), Right::Access, None, at("2026-02-08")).await.unwrap_err().code(), "RI012");
}

/// A crash after any task and before it was ticked off: the desk goes on and ends the same, with nothing told twice.
#[tokio::test]
async fn an_interrupted_erasure_goes_on_where_it_stopped() {
    for stop in 0..=Right::Erasure.tasks().len() {
        let house = House::new().await;
        house.give("a", CANARY).await;
        house.give("b", b"other").await;
        let recipient = recipient_of("lab", "a/b 1.0.0");
        desk(&house).add_recipient(&recipient, at("2026-01-05")).await.unwrap();
        let number = desk(&house).receive(&donor("a"), Right::Erasure, None, at("2026-02-03")).await.unwrap().number;
        approved(&desk(&house), number, "2026-02-03").await;
        desk(&house).execute_unticked(number, stop, at("2026-02-04")).await.unwrap();
        let done = desk(&house).execute(number, at("2026-02-05"), None).await.unwrap();
        assert_eq!(done.request.state, State::Finalising, "{stop}");
        assert_eq!(desk(&house).notices().await.unwrap().len(), 1, "{stop}");
        assert!(desk(&house).certificate_of(number).await.unwrap().is_some(), "{stop}");
        assert_eq!(house.vault.donors().await.unwrap(), [donor("b")], "{stop}");
        assert_eq!(house.store.donations().await.unwrap().len(), 1, "{stop}");
        house.store.check().await.unwrap();
    }
}

#[tokio::test]
async fn rectification_waits_for_the_corrected_record_and_objection_closes_its_purposes() {
    let house = House::new().await;
    house.give("a", CANARY).await;
    let desk = desk(&house);
    let case = desk.receive(&donor("a"), Right::Rectification, None, at("2026-02-03")).await.unwrap();
    desk.happen(case.number, Event::Identified { by: by("ann") }, at("2026-02-03")).await.unwrap();
    assert_eq!(desk.execute(case.number, at("2026-02-04"), None).await.unwrap_err().code(), "RI013");
    let purposes = Some([Purpose::Research].into_iter().collect());
    let case = desk.receive(&donor("a"), Right::Objection, purposes, at("2026-02-05")).await.unwrap();
    desk.happen(case.number, Event::Identified { by: by("ann") }, at("2026-02-05")).await.unwrap();
    desk.execute(case.number, at("2026-02-05"), None).await.unwrap();
    let history = house.store.consent(&donor("a")).await.unwrap();
    let reason = evaluate(&donor("a"), history.as_ref(), Purpose::Research, at("2026-02-06")).reason();
    assert_eq!(reason.unwrap().as_str(), "objected");
    let cases = desk.cases(at("2026-03-04")).await.unwrap();
    assert_eq!(cases.iter().map(|case| case.alarm).collect::<Vec<_>>(), [Alarm::Overdue, Alarm::Warn(90)]);
}

/// Publishes a version with these donors in it, in the place of another one if that is named.
async fn publish(house: &House, version: &str, day: &str, donors: &[&str], in_place_of: Option<&str>) {
    let names = house.store.subjects().await.unwrap();
    let subjects = donors.iter().map(|name| names[&donor(name)].clone()).collect();
    let sealed = house.vault.seal_subjects(&subjects).unwrap();
    let release = Release {
        dataset: DatasetName::parse("a/b").unwrap(),
        version: by(version),
        manifest: Digest::of(version.as_bytes()),
        seal: String::new(),
        files: Vec::new(),
        published_at: at(day),
        detail: serde_json::json!({ SUBJECTS: sealed.to_string() }),
    };
    let superseded = in_place_of.into_iter().map(|old| Tombstone {
        dataset: by("a/b"),
        version: by(old),
        reason: TakenDown::Withdrawal,
        successor: Some(by(version)),
    });
    let publication = Publication { release, superseded: superseded.collect() };
    house.store.publish(|_| Ok::<_, StoreError>(publication)).await.unwrap();
}

#[tokio::test]
async fn who_withdraws_is_told_what_followed_and_recipients_hear_of_it_once() {
    let house = House::new().await;
    house.give("a", CANARY).await;
    let other = house.give("b", b"other").await;
    let given = ConsentEvent::give("2026-01-01", &[Purpose::Research, Purpose::OpenPublication]);
    house.store.append_consent(&donor("a"), &[given], at("2026-01-01")).await.unwrap();
    let desk = desk(&house);
    for (id, dataset) in [("lab-1", "a/b"), ("lab-2", "a/b 1.0.0"), ("lab-3", "a/b 2.0.0"), ("lab-4", "a/other")] {
        desk.add_recipient(&recipient_of(id, dataset), at("2026-01-05")).await.unwrap();
    }
    publish(&house, "1.0.0", "2026-02-01", &["a", "b"], None).await;
    house.withdraw("a", "2026-03-01").await;
    let ask = async |day: &str| desk.withdrawal(&donor("a"), &Policy::SILENT, at(day)).await.unwrap();
    let report = ask("2026-03-02").await;
    assert_eq!((report.level, report.stopped.as_slice()), (Some(Level::LeaveNextVersions), &Operation::ALL[..]));
    assert!(report.versions[0].waits && report.versions[0].known && report.told.is_empty());
    assert!(desk.due_notices(at("2026-03-02")).await.unwrap().is_empty());

    publish(&house, "2.0.0", "2026-04-01", &["b"], Some("1.0.0")).await;
    for _ in 0..2 {
        let due = desk.due_notices(at("2026-04-02")).await.unwrap();
        let to: Vec<&str> = due.iter().map(|(notice, ..)| notice.recipient.as_str()).collect();
        assert_eq!(to, ["lab-1", "lab-2"], "those who may have got version 1.0.0");
        assert_ne!(due[0].0.id(), due[1].0.id());
    }
    let (notice, _, confirm_by) = desk.due_notices(at("2026-04-02")).await.unwrap().remove(1);
    let (subject, sentences) = notice.letter(&Texts::of("de"), confirm_by);
    assert!(subject.contains("a/b") && sentences.concat().contains("Fassung 1.0.0 von a/b wird nicht mehr angeboten"));
    assert!(sentences.concat().contains("2.0.0") && sentences.concat().contains("2026-07-01"));
    desk.delivered(vec![notice.clone()], at("2026-04-02")).await.unwrap();
    assert_eq!(desk.due_notices(at("2026-04-03")).await.unwrap().len(), 1);
    desk.confirm_notice(&notice.id(), at("2026-04-05")).await.unwrap();
    desk.delivered(vec![notice], at("2026-04-06")).await.unwrap();
    assert_eq!(desk.notices().await.unwrap()[1].0.state, NoticeState::Confirmed, "a late tick undoes nothing");
    assert_eq!(desk.confirm_notice("0", at("2026-04-05")).await.unwrap_err().code(), "RI016");

    let report = ask("2026-04-10").await;
    let version = &report.versions[0];
    assert_eq!(report.versions.len(), 1, "version 2.0.0 is without the donor");
    assert_eq!(
        (version.taken_down_on.unwrap().to_string().as_str(), version.successor.as_deref()),
        ("2026-04-01", Some("2.0.0"))
    );
    assert!(!version.waits);
    assert_eq!(report.told.iter().map(|told| told.confirmed).collect::<Vec<_>>(), [false, true]);
    assert_eq!((report.uses_after, report.last_use), (0, None));
    let page = report.page(&Texts::of("fr"));
    assert!(
        page.contains("lang=\"fr\"")
            && page.contains("n'a été ouvert pour aucune utilisation")
            && page.contains("lab-2")
    );
    // What is opened by mistake after a withdrawal would be told too.
    let grant = house.grant(&["b"], "2026-04-01").await;
    house.vault.open(&other, &grant, RUN, at("2026-04-01")).await.unwrap();
    assert_eq!(ask("2026-04-10").await.uses_after, 0, "another donor's");

    // Who has it and does not confirm in time gets nothing more.
    assert_eq!(desk.suspended(at("2026-09-01")).await.unwrap().len(), 0, "no carrier had it yet");
    let (waiting, ..) = desk.due_notices(at("2026-04-12")).await.unwrap().remove(0);
    desk.delivered(vec![waiting], at("2026-04-12")).await.unwrap();
    assert_eq!(desk.suspended(at("2026-07-11")).await.unwrap().len(), 0);
    assert_eq!(desk.suspended(at("2026-07-12")).await.unwrap().keys().collect::<Vec<_>>(), ["lab-1"]);
    let more = recipient_of("lab-1", "a/other");
    assert_eq!(desk.add_recipient(&more, at("2026-07-12")).await.unwrap_err().code(), "RI015");
    desk.confirm_notice(&desk.notices().await.unwrap()[0].0.id(), at("2026-07-13")).await.unwrap();
    desk.add_recipient(&more, at("2026-07-13")).await.unwrap();
    house.store.check().await.unwrap();
}

#[tokio::test]
async fn only_recipients_of_versions_with_the_donor_in_them_hear_of_a_request() {
    let house = House::new().await;
    house.give("a", CANARY).await;
    house.give("b", b"other").await;
    publish(&house, "1.0.0", "2026-02-01", &["a", "b"], None).await;
    publish(&house, "2.0.0", "2026-02-02", &["b"], None).await;
    let desk = desk(&house);
    for (id, dataset) in [("with", "a/b 1.0.0"), ("without", "a/b 2.0.0"), ("any", "a/b"), ("elsewhere", "c/d")] {
        desk.add_recipient(&recipient_of(id, dataset), at("2026-02-03")).await.unwrap();
    }
    let number = desk.receive(&donor("a"), Right::Erasure, None, at("2026-02-03")).await.unwrap().number;
    approved(&desk, number, "2026-02-03").await;
    desk.execute(number, at("2026-02-04"), None).await.unwrap();
    let told: Vec<String> = desk.notices().await.unwrap().into_iter().map(|(notice, _)| notice.recipient).collect();
    assert_eq!(told, ["with", "any", "elsewhere"]);
    let certificate = desk.certificate_of(number).await.unwrap().unwrap();
    assert_eq!(certificate["published, not to be called back"], serde_json::json!(["a/b 1.0.0"]));
}

#[tokio::test]
async fn a_lower_level_of_withdrawal_stops_less() {
    let house = House::new().await;
    let donation = house.give("a", CANARY).await;
    let stay = ConsentEvent::new(at("2026-03-01"), ConsentKind::Withdraw { level: Level::NoNewCollection });
    house.store.append_consent(&donor("a"), &[stay], at("2026-03-01")).await.unwrap();
    let grant = house.grant(&["a"], "2026-03-02").await;
    house.vault.open(&donation, &grant, RUN, at("2026-03-02")).await.unwrap();
    let desk = desk(&house);
    let report = desk.withdrawal(&donor("a"), &Policy::SILENT, at("2026-03-03")).await.unwrap();
    assert_eq!(report.stopped, [Operation::Contact, Operation::Collect]);
    assert_eq!(report.uses_after, 1);
    assert!(report.page(&Texts::of("en")).contains("opened once for a use"));
}
