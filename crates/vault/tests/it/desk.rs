//! Requests from receipt to answer.

use acequia_custody::rights::*;
use acequia_custody::{Purpose, evaluate};
use acequia_types::Coded;
use acequia_vault::{Desk, NoticeState, Recipient, VaultError};

use crate::{CANARY, House, RUN, at, donor, files, holds};

fn desk(house: &House) -> Desk {
    let blobs = acequia_blobs::BlobStore::open(&house.folder.path().join("data/blobs")).unwrap();
    Desk::new(house.store.clone(), house.vault.clone(), blobs, Rules::gdpr())
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
    let recipient = |id: &str| Recipient { id: by(id), contact: by("post@lab.example"), dataset: by("a/b 1.0.0") };
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
    let letter = desk.letter(case.number, "de", at("2026-02-11")).await.unwrap();
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
    let letter = desk.letter(2, "en", at("2026-02-09")).await.unwrap();
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
        let recipient = Recipient { id: by("lab"), contact: by("post@lab.example"), dataset: by("a/b 1.0.0") };
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
