//! Records of earlier layouts are brought up to date.

use acequia_custody::{Purpose, evaluate};
use acequia_store::Store;
use acequia_types::{Digest, DonorId, parse_timestamp};
use sqlx::AnyPool;

/// Layout 1 as program version 0.1 made it, with a donor who gave and withdrew and one whose event nobody can read.
const LAYOUT_1: [&str; 11] = [
    "CREATE TABLE donor_key (donor TEXT PRIMARY KEY NOT NULL, wrapped BLOB NOT NULL)",
    "CREATE TABLE donation (
        intake TEXT PRIMARY KEY NOT NULL, donor TEXT NOT NULL, source TEXT NOT NULL, format TEXT NOT NULL,
        plaintext TEXT NOT NULL, sealed TEXT NOT NULL, bytes BIGINT NOT NULL, mapping TEXT,
        received_at BIGINT NOT NULL, quarantine_code TEXT, detail TEXT NOT NULL)",
    "CREATE TABLE consent_event (
        donor TEXT NOT NULL, at BIGINT NOT NULL, event TEXT NOT NULL, PRIMARY KEY (donor, at, event))",
    "CREATE TABLE step (
        key TEXT PRIMARY KEY NOT NULL, name TEXT NOT NULL, blobs TEXT NOT NULL, detail TEXT NOT NULL,
        finished_at BIGINT NOT NULL)",
    "CREATE TABLE published_version (
        dataset TEXT NOT NULL, version TEXT NOT NULL, manifest TEXT NOT NULL, seal TEXT NOT NULL, files TEXT NOT NULL,
        published_at BIGINT NOT NULL, detail TEXT NOT NULL, PRIMARY KEY (dataset, version))",
    r#"INSERT INTO consent_event VALUES ('a', 1767225600, '{"at":"2026-01-01T00:00:00Z","event":"give","purposes":["research"]}')"#,
    r#"INSERT INTO consent_event VALUES ('a', 1769904000, '{"at":"2026-02-01T00:00:00Z","event":"withdraw"}')"#,
    r#"INSERT INTO consent_event VALUES ('b', 1767225600, '{"at":"2026-01-01T00:00:00Z","event":"give","purposes":["research"],"expires_on":"2026-06-30"}')"#,
    r#"INSERT INTO consent_event VALUES ('c', 1767225600, '{"at":"2026-01-01T00:00:00Z","event":"give","purposes":["research"]}')"#,
    "INSERT INTO consent_event VALUES ('c', 1767225601, 'torn')",
    "PRAGMA user_version = 1",
];

#[tokio::test]
async fn layout_1_becomes_chains_that_say_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records of old.sqlite");
    // Drivers are there once a store was opened.
    drop(Store::open(&folder.path().join("first.sqlite")).await.unwrap());
    let url = format!("sqlite://{}?mode=rwc", path.display().to_string().replace(' ', "%20"));
    let raw = AnyPool::connect(&url).await.unwrap();
    for statement in LAYOUT_1 {
        sqlx::query(statement).execute(&raw).await.unwrap();
    }
    raw.close().await;
    let store = Store::open(&path).await.unwrap();
    let reason = async |name: &str, on: &str| {
        let donor = DonorId::parse(name).unwrap();
        let history = store.consent(&donor).await.unwrap();
        let decision = evaluate(&donor, history.as_ref(), Purpose::Research, parse_timestamp(on).unwrap());
        decision.reason().map(|reason| reason.as_str())
    };
    assert_eq!(reason("a", "2026-03-01").await, Some("withdrawn"));
    assert_eq!(reason("b", "2026-06-30").await, None);
    assert_eq!(reason("b", "2026-07-01").await, Some("expired"));
    assert_eq!(reason("c", "2026-03-01").await, Some("unknown"));
    assert_eq!(store.verify_consents().await.unwrap(), 5);
    let checkpoint = store.consent_checkpoint().await.unwrap();
    drop(store);
    let again = Store::open(&path).await.unwrap();
    assert_eq!(again.consent_checkpoint().await.unwrap(), checkpoint);
    assert_ne!(checkpoint, Digest::of(b""));
}
