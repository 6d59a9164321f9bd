//! Uploads by Xet over the routes, as clients were recorded making them.

use std::path::Path;

use acequia_types::Digest;
use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::{Desk, READ_ONLY_MESSAGE};

/// Asks for a pass.
async fn pass(desk: &Desk, name: &str) -> String {
    let answer = desk.get(&format!("/api/datasets/{name}/xet-write-token/main")).await;
    assert_eq!(answer.status, StatusCode::OK);
    let told = answer.json();
    assert_eq!(answer.header("x-xet-access-token"), told["accessToken"].as_str().unwrap());
    assert_eq!(answer.header("x-xet-cas-url"), "http://node.example");
    assert_eq!(answer.header("x-xet-token-expiration"), told["exp"].to_string());
    told["accessToken"].as_str().unwrap().to_owned()
}

/// A xorb with its hash.
type Named = (String, Vec<u8>);

/// The uploads of a recording: xorbs by hash, shards in order.
fn recorded(name: &str) -> (Vec<Named>, Vec<Vec<u8>>, Value) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/xet").join(name);
    let mut paths: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let (mut xorbs, mut shards) = (Vec::new(), Vec::new());
    for path in paths {
        let bytes = std::fs::read(&path).unwrap();
        let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("xorb") => xorbs.push((stem, bytes)),
            Some("shard") => shards.push(bytes),
            _ => {}
        }
    }
    let files = serde_json::from_slice(&std::fs::read(folder.join("files.json")).unwrap()).unwrap();
    (xorbs, shards, files)
}

/// The SHA-256 of every file of a recording.
fn digests(files: &Value) -> Vec<String> {
    let text = files.to_string();
    let is_digest = |word: &&str| word.len() == 64 && Digest::parse(word).is_ok();
    text.split('"').filter(is_digest).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_clients_were_recorded_sending_becomes_their_files() {
    for name in ["one", "mixed", "shared", "zeros", "javascript", "mixed-1.1.3", "one-1.2.0"] {
        let desk = Desk::new().await;
        desk.begin("lab/cohort").await;
        let pass = pass(&desk, "lab/cohort").await;
        let (xorbs, shards, files) = recorded(name);
        for (hash, bytes) in &xorbs {
            for new in [true, false] {
                let path = format!("/v1/xorbs/default/{hash}");
                let answer = desk.ask(Some(&pass), "POST", &path, bytes.clone()).await;
                assert_eq!((answer.status, answer.json()), (StatusCode::OK, json!({ "was_inserted": new })), "{name}");
            }
        }
        for shard in &shards {
            let answer = desk.ask(Some(&pass), "POST", "/v1/shards", shard.clone()).await;
            assert_eq!(answer.status, StatusCode::OK, "{name} {}", String::from_utf8_lossy(&answer.bytes));
        }
        let objects = desk.store.objects(None).await.unwrap();
        let whole: Vec<_> = objects.iter().filter(|object| !object.object.starts_with("xorb-")).collect();
        assert!(!whole.is_empty());
        let stated = digests(&files);
        for object in whole {
            assert!(stated.contains(&object.object), "{name}");
            let oid = json!({ "key": "lfsFile", "value": { "path": "file.raw", "algo": "sha256", "oid": object.object, "size": object.bytes } });
            assert_eq!(desk.commit("lab/cohort", None, &[oid]).await.status, StatusCode::OK);
            let read = desk.get("/datasets/lab/cohort/resolve/main/file.raw").await;
            assert_eq!(Digest::of(&read.bytes).to_string(), object.object);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pass_is_for_one_deposit_and_what_is_damaged_is_refused() {
    let desk = Desk::new().await;
    desk.begin("lab/cohort").await;
    let own = pass(&desk, "lab/cohort").await;
    let (xorbs, shards, _) = recorded("mixed");
    let (hash, bytes) = &xorbs[0];
    let path = format!("/v1/xorbs/default/{hash}");
    for stranger in [None, Some(desk.secret.as_str()), Some("datasets/lab/cohort:00:9999999999:00")] {
        assert!(desk.ask(stranger, "POST", &path, bytes.clone()).await.is_from_behind());
    }
    let mut damaged = bytes.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    assert_eq!(desk.ask(Some(&own), "POST", &path, damaged).await.status, StatusCode::BAD_REQUEST);
    assert!(desk.blobs.list().unwrap().is_empty());
    // A shard of chunks that are not here.
    assert_eq!(desk.ask(Some(&own), "POST", "/v1/shards", shards[0].clone()).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(desk.ask(Some(&own), "POST", "/v1/shards", vec![0; 100]).await.status, StatusCode::BAD_REQUEST);
    // Clients do without these.
    for (method, path) in [
        ("GET", "/v1/chunks/default/0000000000000000000000000000000000000000000000000000000000000000"),
        ("POST", "/v1/telemetry"),
        ("POST", "/v2/shards"),
        ("POST", "/v1/xorb-grants/default/00"),
    ] {
        assert_eq!(desk.ask(Some(&own), method, path, "").await.status, StatusCode::NOT_FOUND, "{path}");
    }
    let reader = desk.token("lab/*", false).await.1;
    let refused = desk.ask(Some(&reader), "GET", "/api/datasets/lab/cohort/xet-write-token/main", "").await;
    assert_eq!((refused.status, refused.header("x-error-message")), (StatusCode::FORBIDDEN, READ_ONLY_MESSAGE));
    desk.days_later(1);
    assert!(desk.ask(Some(&own), "POST", "/v1/shards", shards[0].clone()).await.is_from_behind());
}
