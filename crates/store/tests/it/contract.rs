//! What every database must keep.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;

use acequia_custody::*;
use acequia_store::*;
use acequia_types::{Coded, DatasetName, Digest, DonorId, IntakeId, SourceId, Timestamp, parse_timestamp};
use serde_json::json;

use crate::Both;

type Part = fn(Both) -> Pin<Box<dyn Future<Output = ()> + Send>>;

/// Every part of the contract, each for a database of its own.
pub(crate) fn parts() -> Vec<(&'static str, Part)> {
    vec![
        ("consents_come_back", |both| Box::pin(consents_come_back(both))),
        ("nothing_is_changed_or_deleted", |both| Box::pin(nothing_is_changed_or_deleted(both))),
        ("tampering_is_seen", |both| Box::pin(tampering_is_seen(both))),
        ("an_unreadable_event_denies", |both| Box::pin(an_unreadable_event_denies(both))),
        ("erasure_leaves_a_chain", |both| Box::pin(erasure_leaves_a_chain(both))),
        ("journals_only_grow", |both| Box::pin(journals_only_grow(both))),
        ("accesses_are_on_record", |both| Box::pin(accesses_are_on_record(both))),
        ("many_write_at_once", |both| Box::pin(many_write_at_once(both))),
        ("publishing_sees_consent", |both| Box::pin(publishing_sees_consent(both))),
        ("donations_and_steps", |both| Box::pin(donations_and_steps(both))),
        ("notices_are_immutable", |both| Box::pin(notices_are_immutable(both))),
        ("codes_open_an_account_once", |both| Box::pin(codes_open_an_account_once(both))),
        ("opening_twice_is_one", |both| Box::pin(opening_twice_is_one(both))),
        ("whoever_is_second_adds_nothing", |both| Box::pin(whoever_is_second_adds_nothing(both))),
        ("deposited_objects_come_back", |both| Box::pin(deposited_objects_come_back(both))),
    ]
}

fn donor(name: &str) -> DonorId {
    DonorId::parse(name).unwrap()
}

fn at(day: &str) -> Timestamp {
    parse_timestamp(day).unwrap()
}

fn give() -> ConsentEvent {
    ConsentEvent::give("2026-01-01", &[Purpose::OpenPublication])
}

fn withdraw(day: &str) -> ConsentEvent {
    ConsentEvent::new(at(day), ConsentKind::Withdraw { level: Level::default() })
}

async fn permitted(store: &Store, name: &str, now: &str) -> bool {
    let history = store.consent(&donor(name)).await.unwrap();
    evaluate(&donor(name), history.as_ref(), Purpose::OpenPublication, at(now)).grant().is_some()
}

async fn consents_come_back(Both { store, .. }: Both) {
    let d = donor("d");
    assert_eq!(store.consent(&d).await.unwrap(), None);
    assert_eq!(store.append_consent(&d, &[give(), give()], at("2026-01-02")).await.unwrap(), 1);
    assert_eq!(store.append_consent(&d, &[give(), withdraw("2026-02-01")], at("2026-03-01")).await.unwrap(), 1);
    assert_eq!(store.append_consent(&donor("e"), &[give()], at("2026-03-01")).await.unwrap(), 1);
    let history = store.consent(&d).await.unwrap().unwrap();
    let known: Vec<_> = history.records().iter().map(|recorded| recorded.known_at).collect();
    assert_eq!(known, [at("2026-01-02"), at("2026-03-01")]);
    // Valid then, as known then.
    let facts = Facts::of_open_publication();
    let ask = |known_at: &str| {
        let now = Query::now(Purpose::OpenPublication, &facts, at("2026-02-15"));
        decide(Some(&history), &Query { known_at: Some(at(known_at)), ..now }, &Policy::SILENT)
    };
    assert!(matches!(ask("2026-02-15"), Verdict::Permit { .. }));
    assert!(matches!(ask("2026-03-01"), Verdict::Deny(_)));
    let all = store.consents().await.unwrap();
    assert_eq!(all.len(), 2);
    assert_eq!(all[&d], history);
    assert_eq!(store.verify_consents().await.unwrap(), 3);
    // A clock that goes back does not make a record look older.
    store.append_consent(&d, &[give().by(Party::Desk)], at("2025-01-01")).await.unwrap();
    let history = store.consent(&d).await.unwrap().unwrap();
    assert!(history.records().iter().all(|recorded| recorded.known_at >= at("2026-01-02")));
}

async fn nothing_is_changed_or_deleted(Both { store, raw }: Both) {
    store.append_consent(&donor("d"), &[give()], at("2026-01-02")).await.unwrap();
    let notice = NoticeText {
        id: "donation".to_owned(),
        version: 1,
        language: "en".to_owned(),
        material: true,
        text: "words".to_owned(),
        published_at: at("2026-01-01"),
    };
    store.add_notice(&notice).await.unwrap();
    for statement in [
        "UPDATE consent_link SET known_at = 0",
        "DELETE FROM consent_link",
        "UPDATE consent_payload SET event = ''",
        "DELETE FROM consent_payload",
        "UPDATE subject SET donor = 'e'",
        "DELETE FROM subject",
        "UPDATE notice SET text = ''",
        "DELETE FROM notice",
    ] {
        assert!(sqlx::query(statement).execute(&raw).await.is_err(), "{statement}");
    }
    assert!(permitted(&store, "d", "2026-02-01").await);
    store.erase(&donor("d"), at("2026-03-01"), None).await.unwrap();
    for statement in
        ["UPDATE erased_subject SET erased_at = 0", "DELETE FROM erased_subject", "DELETE FROM consent_link"]
    {
        assert!(sqlx::query(statement).execute(&raw).await.is_err(), "{statement}");
    }
}

/// Somebody who may drop triggers can change rows; the chain tells.
async fn tampering_is_seen(Both { store, raw }: Both) {
    store.append_consent(&donor("d"), &[give(), withdraw("2026-02-01")], at("2026-02-01")).await.unwrap();
    store.check().await.unwrap();
    let (before, after) = (store.consent_checkpoint().await.unwrap(), store.consents().await.unwrap());
    assert!(!after.is_empty());
    let drop = |name: &str, table: &str| match raw.connect_options().database_url.scheme() {
        "sqlite" => format!("DROP TRIGGER {name}"),
        _ => format!("DROP TRIGGER {name} ON {table}"),
    };
    for trigger in ["consent_payload_update", "consent_payload_delete"] {
        let statement = sqlx::AssertSqlSafe(drop(trigger, "consent_payload"));
        sqlx::query(statement).execute(&raw).await.unwrap();
    }
    let damaged = |result: Result<(), StoreError>| assert_eq!(result.unwrap_err().code(), "ST008");
    let old: (String,) =
        sqlx::query_as("SELECT event FROM consent_payload WHERE seq = 2").fetch_one(&raw).await.unwrap();
    sqlx::query("UPDATE consent_payload SET event = '{}' WHERE seq = 2").execute(&raw).await.unwrap();
    damaged(store.check().await);
    sqlx::query("UPDATE consent_payload SET event = $1 WHERE seq = 2").bind(old.0).execute(&raw).await.unwrap();
    store.check().await.unwrap();
    sqlx::query("DELETE FROM consent_payload WHERE seq = 2").execute(&raw).await.unwrap();
    damaged(store.check().await);
    assert!(!permitted(&store, "d", "2026-01-15").await, "with a payload missing the history is unknown");
    assert_eq!(store.consent_checkpoint().await.unwrap(), before, "the chain itself is whole");
}

async fn an_unreadable_event_denies(Both { store, raw }: Both) {
    store.append_consent(&donor("d"), &[give()], at("2026-01-02")).await.unwrap();
    store.append_consent(&donor("e"), &[give()], at("2026-01-02")).await.unwrap();
    assert!(permitted(&store, "d", "2026-02-01").await);
    let insert = "INSERT INTO consent_link (seq, subject, number, known_at, commitment, previous, digest)
        SELECT 99, subject, 2, 0, commitment, digest, digest FROM consent_link WHERE seq = 1";
    sqlx::query(insert).execute(&raw).await.unwrap();
    let insert = "INSERT INTO consent_payload (seq, subject, salt, event)
        SELECT 99, subject, salt, '{\"event\":\"of the future\"}' FROM consent_payload WHERE seq = 1";
    sqlx::query(insert).execute(&raw).await.unwrap();
    assert!(!permitted(&store, "d", "2026-02-01").await);
    assert!(permitted(&store, "e", "2026-02-01").await);
    assert_eq!(store.consents().await.unwrap().len(), 1);
}

async fn erasure_leaves_a_chain(Both { store, raw }: Both) {
    store.append_consent(&donor("d"), &[give()], at("2026-01-02")).await.unwrap();
    store.append_consent(&donor("e"), &[give()], at("2026-01-02")).await.unwrap();
    store.add_donation(&donation("in-1", "d")).await.unwrap();
    let links = store.verify_consents().await.unwrap();
    assert!(store.erase(&donor("d"), at("2026-03-01"), None).await.unwrap().is_some());
    assert_eq!(store.verify_consents().await.unwrap(), links + 1, "the order is on record");
    assert!(!permitted(&store, "d", "2026-03-02").await);
    assert!(permitted(&store, "e", "2026-03-02").await);
    assert!(store.donations().await.unwrap().is_empty());
    assert_eq!(store.erase(&donor("d"), at("2026-03-01"), None).await.unwrap(), None, "erasing again finds nothing");
    for (table, left) in [("consent_payload", 1i64), ("subject", 1), ("consent_link", 3), ("erased_subject", 1)] {
        let count = sqlx::AssertSqlSafe(format!("SELECT COUNT(*) FROM {table}"));
        let count: (i64,) = sqlx::query_as(count).fetch_one(&raw).await.unwrap();
        assert_eq!(count.0, left, "{table}");
    }
    store.check().await.unwrap();
    // The same name again is somebody new.
    store.append_consent(&donor("d"), &[give()], at("2026-04-01")).await.unwrap();
    assert!(permitted(&store, "d", "2026-04-02").await);
    store.check().await.unwrap();
}

async fn journals_only_grow(Both { store, raw }: Both) {
    type Never = Refused;
    for n in 1..=3u64 {
        let number = store
            .append_entry("rights/1", at("2026-01-01"), Some("s"), |before| -> Result<_, Never> {
                assert_eq!(before.len() as u64, n - 1);
                Ok(json!({ "n": n }))
            })
            .await;
        assert_eq!(number.unwrap(), n);
    }
    let refused = store.append_entry("rights/1", at("2026-01-01"), None, |_| Err::<_, Never>("no".into())).await;
    assert!(refused.is_err());
    store.append_entry("rights/2", at("2026-01-01"), None, |_| Ok::<_, Never>(json!({}))).await.unwrap();
    assert_eq!(store.streams("rights/").await.unwrap(), ["rights/1", "rights/2"]);
    let lengths = (store.length("rights/1").await.unwrap(), store.length("rights/3").await.unwrap());
    assert_eq!(lengths, (store.entries("rights/1").await.unwrap().len() as u64, 0));
    assert_eq!(store.entries("rights/1").await.unwrap().len(), 3);
    assert_eq!(store.verify_journals().await.unwrap(), 4);
    for statement in ["UPDATE journal SET at = 0", "DELETE FROM journal"] {
        assert!(sqlx::query(statement).execute(&raw).await.is_err(), "{statement}");
    }
    // One row too many, as if somebody wrote past the program.
    let insert = "INSERT INTO journal (stream, number, at, entry, previous, digest)
        SELECT stream, 4, at, entry, digest, digest FROM journal WHERE stream = 'rights/1' AND number = 3";
    sqlx::query(insert).execute(&raw).await.unwrap();
    assert_eq!(store.check().await.unwrap_err().code(), "ST008");
}

async fn whoever_is_second_adds_nothing(Both { store, .. }: Both) {
    let append = |last: u64| {
        let store = store.clone();
        async move { store.append_after("deposit/a", last, at("2026-01-01"), &json!({})).await }
    };
    assert_eq!(append(0).await.unwrap(), Some(1));
    assert_eq!(append(0).await.unwrap(), None);
    assert_eq!(append(1).await.unwrap(), Some(2));
    assert_eq!(append(5).await.unwrap(), None);
    let numbers = async |last| {
        store.entries_after("deposit/a", last).await.unwrap().iter().map(|own| own.number).collect::<Vec<_>>()
    };
    assert_eq!((numbers(0).await, numbers(1).await, numbers(2).await), (vec![1, 2], vec![2], vec![]));
    let eight: Vec<_> = (0..8).map(|_| tokio::spawn(append(2))).collect();
    let mut added = 0;
    for one in eight {
        added += usize::from(one.await.unwrap().unwrap().is_some());
    }
    assert_eq!(added, 1);
    assert_eq!(store.verify_journals().await.unwrap(), 3);
}

async fn deposited_objects_come_back(Both { store, .. }: Both) {
    let blob = |name: &str| Digest::of(name.as_bytes());
    let new = |object: &str, part: u64, blobs: &[&str]| StoredObject {
        deposit: "datasets/a/b".to_owned(),
        object: object.to_owned(),
        part,
        bytes: 10 * blobs.len() as u64,
        tag: format!("tag of {part}"),
        at: at("2026-01-01"),
        blobs: blobs.iter().map(|name| blob(name)).collect(),
    };
    let get = async |object: &str, part: u64| store.object("datasets/a/b", object, part).await.unwrap();
    assert_eq!(store.put_object(&new("x", 1, &["a", "b"])).await.unwrap(), []);
    assert_eq!(store.put_object(&new("x", 2, &["c"])).await.unwrap(), []);
    assert_eq!(get("x", 1).await, Some(new("x", 1, &["a", "b"])));
    assert_eq!(get("x", 0).await, None);
    // A part that comes again replaces what came before.
    assert_eq!(store.put_object(&new("x", 2, &["d"])).await.unwrap(), [blob("c")]);
    assert_eq!(store.deposited_bytes("datasets/a/b").await.unwrap(), 30);
    // The whole is made of its parts, and stays.
    assert_eq!(store.put_object(&new("x", 0, &["a", "b", "d"])).await.unwrap(), []);
    assert_eq!((get("x", 1).await, get("x", 0).await), (None, Some(new("x", 0, &["a", "b", "d"]))));
    assert_eq!(store.put_object(&new("x", 0, &["e"])).await.unwrap(), [blob("e")]);
    assert_eq!(store.put_object(&new("x", 3, &["e"])).await.unwrap(), [blob("e")]);
    store.put_object(&new("y", 0, &[])).await.unwrap();
    let names: Vec<_> = store.objects(None).await.unwrap().into_iter().map(|own| (own.object, own.part)).collect();
    assert_eq!(names, [("x".to_owned(), 0), ("y".to_owned(), 0)]);
    assert_eq!(store.deposited_blobs().await.unwrap(), ["a", "b", "d"].map(blob).into());
    assert_eq!(store.remove_object("datasets/a/b", "x", 0).await.unwrap().len(), 3);
    assert!(
        store.deposited_blobs().await.unwrap().is_empty() && store.deposited_bytes("datasets/a/b").await.unwrap() == 0
    );
}

/// A withdrawal is either seen by the access or comes after it: never is something opened that was withdrawn before.
async fn accesses_are_on_record(Both { store, .. }: Both) {
    let names = ["a", "b"].map(donor);
    for name in &names {
        store.append_consent(name, &[give()], at("2026-01-02")).await.unwrap();
    }
    let access = Access {
        actor: "run".to_owned(),
        purpose: Some(Purpose::OpenPublication),
        reason: "a/b 1.0.0".to_owned(),
        objects: 0,
        refused: None,
    };
    let ask = async |now: &str| {
        let (now, donors) = (at(now), names.each_ref().map(|donor| (donor, 2)));
        let decide = |donor: &DonorId, history: Option<&History>| {
            evaluate(donor, history, Purpose::OpenPublication, now).reason()
        };
        store.record_access(&donors, &access, now, decide).await.unwrap().len()
    };
    assert_eq!(ask("2026-01-10").await, 2);
    store.append_consent(&names[1], &[withdraw("2026-01-11")], at("2026-01-11")).await.unwrap();
    assert_eq!(ask("2026-01-11").await, 1);
    let subject = store.subject(&names[1]).await.unwrap().unwrap();
    let hers = store.accesses(Some(&subject)).await.unwrap();
    let refused: Vec<_> = hers.iter().map(|(entry, access)| (entry.at, access.refused)).collect();
    assert_eq!(refused, [(at("2026-01-10"), None), (at("2026-01-11"), Some(Reason::Withdrawn))]);
    assert_eq!(store.accesses(None).await.unwrap().len(), 4);
    assert_eq!(store.donor_of(&subject).await.unwrap(), Some(names[1].clone()));
    store.erase(&names[1], at("2026-01-12"), None).await.unwrap();
    assert_eq!(store.donor_of(&subject).await.unwrap(), None, "the log no longer says whose record it was");
    store.check().await.unwrap();
}

async fn many_write_at_once(Both { store, .. }: Both) {
    let write = |n: usize| {
        let store = store.clone();
        async move {
            let event = withdraw(&format!("2026-02-{:02}", n + 1));
            store.append_consent(&donor(&format!("d{}", n % 3)), &[event], at("2026-03-01")).await.unwrap()
        }
    };
    let all: Vec<_> = (0..20).map(|n| tokio::spawn(write(n))).collect();
    for task in all {
        assert_eq!(task.await.unwrap(), 1);
    }
    assert_eq!(store.verify_consents().await.unwrap(), 20);
}

fn release(version: &str, manifest: &[u8]) -> Release {
    Release {
        dataset: DatasetName::parse("a/b").unwrap(),
        version: version.to_owned(),
        manifest: Digest::of(manifest),
        seal: "00".to_owned(),
        files: vec![("manifest.json".to_owned(), Digest::of(manifest))],
        published_at: at("2026-05-01"),
        detail: json!({ "key": "k" }),
    }
}

type Refused = Box<dyn std::error::Error + Send + Sync>;

async fn publishing_sees_consent(Both { store, .. }: Both) {
    let d = donor("d");
    store.append_consent(&d, &[give()], at("2026-01-02")).await.unwrap();
    let donors = [d.clone()].into();
    let publish = |version: &'static str| {
        let donors = &donors;
        store.publish(move |consents: &BTreeMap<DonorId, History>| -> Result<Release, Refused> {
            let subject = Digest::of(b"m");
            let now = at("2026-05-01");
            approve(subject, Purpose::OpenPublication, donors, |donor| consents.get(donor).cloned(), now)?;
            Ok(release(version, b"m"))
        })
    };
    assert_eq!(publish("1.0.0").await.unwrap(), Published::New);
    assert_eq!(publish("1.0.0").await.unwrap(), Published::Already);
    let other = store.publish(|_| -> Result<Release, Refused> { Ok(release("1.0.0", b"other")) }).await;
    assert!(other.unwrap_err().to_string().contains("published with another content"));
    store.append_consent(&d, &[withdraw("2026-04-01")], at("2026-04-01")).await.unwrap();
    assert!(publish("1.1.0").await.is_err());
    assert_eq!(store.releases().await.unwrap(), [release("1.0.0", b"m")]);
    assert_eq!(store.release(&DatasetName::parse("a/b").unwrap(), "1.1.0").await.unwrap(), None);

    // A tombstone comes with the version that takes the place, or not at all.
    let stone = |reason| Tombstone {
        dataset: "a/b".to_owned(),
        version: "1.0.0".to_owned(),
        reason,
        successor: Some("2.0.0".to_owned()),
    };
    let next = |content: &'static [u8]| {
        store.publish(move |_| -> Result<Publication, Refused> {
            Ok(Publication { release: release("2.0.0", content), superseded: vec![stone(TakenDown::Withdrawal)] })
        })
    };
    let refused = store.publish(|_| -> Result<Publication, Refused> { Err(StoreError::Damaged.into()) }).await;
    assert!(refused.is_err() && store.tombstones().await.unwrap().is_empty());
    assert_eq!(next(b"n").await.unwrap(), Published::New);
    assert_eq!(next(b"n").await.unwrap(), Published::Already);
    assert!(next(b"other").await.is_err());
    assert!(!store.take_down(&stone(TakenDown::Law), at("2026-06-01")).await.unwrap(), "the first stays");
    let stones: Vec<_> = store.tombstones().await.unwrap().into_iter().map(|(_, stone)| stone).collect();
    assert_eq!(stones, [stone(TakenDown::Withdrawal)]);
    assert!(stones[0].is_of(&DatasetName::parse("a/b").unwrap(), "1.0.0"));
}

fn donation(intake: &str, of: &str) -> Donation {
    Donation {
        intake: IntakeId::parse(intake).unwrap(),
        donor: donor(of),
        source: SourceId::parse("s").unwrap(),
        format: "csv".to_owned(),
        plaintext: Digest::of(b"p"),
        sealed: Digest::of(b"s"),
        bytes: 3,
        mapping: None,
        received_at: at("2026-01-01"),
        state: State::Quarantined { code: "IN001".to_owned() },
        detail: json!({ "items": 1 }),
    }
}

async fn donations_and_steps(Both { store, .. }: Both) {
    let one = donation("in-1", "d");
    assert_eq!(store.add_donation(&one).await.unwrap(), Added::New);
    assert_eq!(store.add_donation(&one).await.unwrap(), Added::Same(Box::new(one.clone())));
    let two = Donation { mapping: Some(Digest::of(b"m")), state: State::Accepted, ..donation("in-2", "d") };
    store.add_donation(&two).await.unwrap();
    assert_eq!(store.donations().await.unwrap(), [one.clone(), two]);
    assert_eq!(store.donation(&one.intake).await.unwrap(), Some(one));
    let step = Step {
        key: Digest::of(b"k"),
        name: "unify".to_owned(),
        blobs: vec![("person".to_owned(), Digest::of(b"t"))],
        detail: json!({ "rows": 2 }),
        finished_at: at("2026-01-01"),
    };
    store.put_step(&step).await.unwrap();
    store.put_step(&Step { name: "other".to_owned(), ..step.clone() }).await.unwrap();
    assert_eq!(store.step(&step.key).await.unwrap(), Some(step.clone()));
    assert_eq!(store.steps().await.unwrap(), std::slice::from_ref(&step));
    store.forget_steps(&[step.key]).await.unwrap();
    assert!(store.steps().await.unwrap().is_empty());
    store.check().await.unwrap();
}

async fn notices_are_immutable(Both { store, .. }: Both) {
    let notice = |version, language: &str, material, text: &str| NoticeText {
        id: "donation".to_owned(),
        version,
        language: language.to_owned(),
        material,
        text: text.to_owned(),
        published_at: at("2026-01-01"),
    };
    let all =
        [notice(1, "de", true, "Worte"), notice(1, "en", true, "words"), notice(2, "en", false, "words, spelt well")];
    for notice in &all {
        store.add_notice(notice).await.unwrap();
        store.add_notice(notice).await.unwrap();
    }
    for other in [notice(1, "en", true, "other words"), notice(1, "en", false, "words")] {
        assert_eq!(store.add_notice(&other).await.unwrap_err().code(), "ST007");
    }
    assert_eq!(store.notices().await.unwrap(), all);
}

async fn codes_open_an_account_once(Both { store, raw }: Both) {
    let holder = Holder::Donor(donor("d"));
    let (now, later) = (at("2026-03-01"), at("2026-03-15"));
    let code = |text: &str| Digest::of(text.as_bytes());
    let invite = async |text: &str, by: &str| store.invite(&holder, "a1", &code(text), by, (now, later)).await.unwrap();
    assert_eq!(invite("one", "anna").await, Invited::Until(later));
    // A later code takes the place of an earlier one.
    assert_eq!(invite("two", "anna").await, Invited::Until(later));
    assert_eq!(store.invited(&code("one"), now).await.unwrap(), None);
    assert_eq!(store.invited(&code("two"), at("2026-03-16")).await.unwrap(), None, "too late");
    let account = store.invited(&code("two"), now).await.unwrap().unwrap();
    assert_eq!((account.id.as_str(), &account.holder, account.passkeys), ("a1", &holder, 0));
    let add = async |name: &str, with: Option<&str>| {
        let with = with.map(code);
        let by = with.as_ref().map_or(Opener::Passkey("k1"), Opener::Code);
        store.add_passkey("a1", (name, "{}"), by, now).await.unwrap()
    };
    assert!(!add("k0", Some("one")).await, "a code that does not count adds nothing");
    assert!(add("k1", Some("two")).await && !add("k2", Some("two")).await, "a code counts once");
    assert!(!store.remove_passkey("a1", "k1", now).await.unwrap(), "not the last one");
    assert!(add("k2", None).await && store.remove_passkey("a1", "k1", now).await.unwrap());
    assert!(!add("k9", None).await, "what signed in is gone, so it adds nothing");
    store.signed_in("a1", ("k2", "{\"used\":1}"), later).await.unwrap();
    let keys = store.passkeys("a1").await.unwrap();
    assert_eq!((keys.len(), keys[0].used_at, keys[0].passkey.as_str()), (1, Some(later), "{\"used\":1}"));

    // Who lost the passkey is invited by two persons; asking twice is not two.
    assert_eq!(invite("three", "anna").await, Invited::NeedsSecond);
    assert_eq!(invite("four", "anna").await, Invited::NeedsSecond);
    assert_eq!(invite("four", " Anna ").await, Invited::NeedsSecond, "however one writes oneself");
    for text in ["three", "four"] {
        assert_eq!(store.invited(&code(text), now).await.unwrap(), None);
    }
    assert_eq!(invite("five", "ben").await, Invited::Until(later));
    assert!(add("k3", Some("five")).await);
    let keys = store.passkeys("a1").await.unwrap();
    assert_eq!(
        keys.iter().map(|key| key.credential.as_str()).collect::<Vec<_>>(),
        ["k3"],
        "the lost one opens nothing"
    );
    // What the first asked too long ago is not half of anything.
    assert_eq!(invite("six", "anna").await, Invited::NeedsSecond);
    let much_later = (at("2026-06-01"), at("2026-06-15"));
    let again = store.invite(&holder, "a2", &code("seven"), "ben", much_later).await.unwrap();
    assert_eq!(again, Invited::NeedsSecond);

    let subject = store.subject(&donor("d")).await.unwrap().unwrap();
    let told = store.entries_about("account", &subject).await.unwrap();
    let events: Vec<&str> = told.iter().filter_map(|entry| entry.entry["event"].as_str()).collect();
    let begin = ["invited", "invited", "passkey-added", "passkey-added", "passkey-removed", "signed-in"];
    let end = [
        "invitation-asked",
        "invitation-asked",
        "invitation-asked",
        "invited",
        "recovered",
        "invitation-asked",
        "invitation-asked",
    ];
    assert_eq!(events, [begin.as_slice(), end.as_slice()].concat());
    // A copy is suspected: the passkey goes, and a closed account stays one that only two may open again.
    store.passkey_copied(&holder, "k3", now).await.unwrap();
    assert!(store.passkeys("a1").await.unwrap().is_empty());
    assert!(store.close_account(&holder, "anna", now).await.unwrap());
    assert_eq!(invite("nine", "anna").await, Invited::NeedsSecond);

    // Another institution of the same name is another account; closing one leaves the other.
    let institution = Holder::Institution(SourceId::parse("d").unwrap());
    store.invite(&institution, "a3", &code("eight"), "anna", (now, later)).await.unwrap();
    assert_eq!(store.accounts().await.unwrap().len(), 2);
    assert!(store.close_account(&institution, "anna", now).await.unwrap());
    assert!(!store.close_account(&institution, "anna", now).await.unwrap());
    // Erasure takes the account and leaves no name of it.
    store.erase(&donor("d"), now, None).await.unwrap();
    let left: Vec<Holder> = store.accounts().await.unwrap().into_iter().map(|account| account.holder).collect();
    assert_eq!(left, [institution]);
    assert!(store.passkeys("a1").await.unwrap().is_empty());
    let left = sqlx::query("SELECT COUNT(*) FROM invitation").fetch_one(&raw).await.unwrap();
    assert_eq!(sqlx::Row::get::<i64, _>(&left, 0), 0);
    store.verify_journals().await.unwrap();
}

async fn opening_twice_is_one(Both { store, raw }: Both) {
    let url = raw.connect_options().database_url.to_string();
    store.append_consent(&donor("d"), &[give()], at("2026-01-02")).await.unwrap();
    let again = Store::connect(&url).await.unwrap();
    assert!(permitted(&again, "d", "2026-02-01").await);
    match raw.connect_options().database_url.scheme() {
        "sqlite" => sqlx::query("PRAGMA user_version = 99").execute(&raw).await.unwrap(),
        _ => sqlx::query("INSERT INTO layout (version) VALUES (99)").execute(&raw).await.unwrap(),
    };
    assert_eq!(Store::connect(&url).await.unwrap_err().code(), "ST006");
}
