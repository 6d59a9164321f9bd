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
    assert_eq!(answer.header("x-xet-cas-url"), format!("http://node.example/api/datasets/{name}/xet-write"));
    assert_eq!(answer.header("x-xet-token-expiration"), told["exp"].to_string());
    told["accessToken"].as_str().unwrap().to_owned()
}

/// A xorb with its hash.
type Named = (String, Vec<u8>);

/// The uploads of a recording: xorbs by hash, shards in order.
fn recorded(name: &str) -> (Vec<Named>, Vec<Vec<u8>>, Value) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../xet/tests/data/recordings").join(name);
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
                let path = format!("/api/datasets/lab/cohort/xet-write/v1/xorbs/default/{hash}");
                let answer = desk.ask(Some(&pass), "POST", &path, bytes.clone()).await;
                assert_eq!((answer.status, answer.json()), (StatusCode::OK, json!({ "was_inserted": new })), "{name}");
            }
        }
        for shard in &shards {
            let answer =
                desk.ask(Some(&pass), "POST", "/api/datasets/lab/cohort/xet-write/v1/shards", shard.clone()).await;
            assert_eq!(answer.status, StatusCode::OK, "{name} {}", String::from_utf8_lossy(&answer.bytes));
        }
        let objects = desk.store.objects(None).await.unwrap();
        let whole: Vec<_> = objects
            .iter()
            .filter(|object| !["xorb-", "xet-"].iter().any(|own| object.object.starts_with(own)))
            .collect();
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
    // The address of another deposit takes nothing for this pass.
    desk.begin("lab/other").await;
    let elsewhere = format!("/api/datasets/lab/other/xet-write{path}");
    assert!(desk.ask(Some(&own), "POST", &elsewhere, bytes.clone()).await.is_from_behind());
    assert!(desk.blobs.list().unwrap().is_empty());
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

fn noise(length: usize) -> Vec<u8> {
    let mut state = 9_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..length).map(|_| next()).collect()
}

/// A draft with one large file, its commit and its plan.
async fn long(desk: &Desk, name: &str, content: &[u8]) -> (String, acequia_xet::Plan) {
    desk.begin(name).await;
    desk.upload(name, content).await;
    let done = desk.commit(name, None, &[crate::large("long.raw", content), crate::file("a.txt", b"a")]).await;
    let mut planner = acequia_xet::Planner::default();
    planner.push(content);
    (done.json()["commitOid"].as_str().unwrap().to_owned(), planner.finish())
}

/// The file again, from a reconstruction and the xorbs that it names, which carry no token.
async fn rebuilt(desk: &Desk, told: &Value) -> Vec<u8> {
    let mut content = Vec::new();
    for term in told["terms"].as_array().unwrap() {
        let hash = term["hash"].as_str().unwrap();
        let url = told["xorbs"][hash][0]["url"].as_str().unwrap();
        let xorb = desk.ask(None, "GET", crate::path_of(url), "").await;
        assert_eq!(xorb.status, StatusCode::OK, "{url}");
        assert_eq!(xorb.header("cache-control"), "private, no-cache");
        let xorb_hash = acequia_xet::XetHash::parse(hash).unwrap();
        let xorb = acequia_xet::Xorb::read(&xorb.bytes, &xorb_hash).unwrap();
        let mut chunks = xorb.chunks(&(0..u32::try_from(term["range"]["end"].as_u64().unwrap()).unwrap())).unwrap();
        while let Some((_, bytes)) = chunks.next().unwrap() {
            content.extend_from_slice(bytes);
        }
    }
    content
}

#[tokio::test]
async fn drafts_are_read_by_xet_with_a_pass() {
    let desk = Desk::new().await;
    let content = noise(10_000_000);
    let (commit, plan) = long(&desk, "lab/cohort", &content).await;
    let hash = plan.hash().to_string();
    let head = desk.ask(Some(&desk.secret), "HEAD", "/datasets/lab/cohort/resolve/main/long.raw", "").await;
    assert_eq!(head.header("x-xet-hash"), hash);
    assert!(
        head.header("link").contains(&format!("/api/datasets/lab/cohort/xet-read-token/{commit}>; rel=\"xet-auth\""))
    );
    assert_eq!(desk.get("/datasets/lab/cohort/resolve/main/a.txt").await.header("x-xet-hash"), "");
    let tree = desk.get("/api/datasets/lab/cohort/tree/main").await.json();
    let of =
        |path: &str| tree.as_array().unwrap().iter().find(|entry| entry["path"] == path).unwrap()["xetHash"].clone();
    assert_eq!((of("long.raw"), of("a.txt")), (hash.clone().into(), Value::Null));

    let reads = desk.token("lab/*", false).await;
    let told = desk.ask(Some(&reads.1), "GET", "/api/datasets/lab/cohort/xet-read-token/main", "").await.json();
    let pass = told["accessToken"].as_str().unwrap();
    let cas = crate::path_of(told["casUrl"].as_str().unwrap()).to_owned();
    assert_eq!(cas, format!("/api/datasets/lab/cohort/xet/{commit}"));
    let address = format!("{cas}/v2/reconstructions/{hash}");
    let whole = desk.ask(Some(pass), "GET", &address, "").await;
    assert_eq!(whole.status, StatusCode::OK);
    assert_eq!(rebuilt(&desk, &whole.json()).await, content);
    let part = desk.ask_with(Some(pass), "GET", &address, &[("range", "bytes=9000000-9999999")], "").await.json();
    let content_of_part = rebuilt(&desk, &part).await;
    let offset = usize::try_from(part["offset_into_first_range"].as_u64().unwrap()).unwrap();
    assert_eq!(content_of_part[offset..], content[9_000_000..]);

    // Nobody else, nothing else, and nothing any more: as if there were no deposit.
    let (other, _) = long(&desk, "lab/other", &content).await;
    let own = desk.ask(Some(&reads.1), "GET", "/api/datasets/lab/other/xet-read-token/main", "").await.json();
    let foreign = own["accessToken"].as_str().unwrap();
    let xorb =
        crate::path_of(whole.json()["xorbs"].as_object().unwrap().values().next().unwrap()[0]["url"].as_str().unwrap())
            .to_owned();
    let bare = xorb.split_once('?').unwrap().0.to_owned();
    for (secret, path) in [
        (None, address.clone()),
        (Some(foreign), address.clone()),
        (Some("public"), address.clone()),
        (None, bare.clone()),
        (None, format!("{bare}?pass={foreign}")),
        (None, xorb.replace("lab/cohort", "lab/other")),
        (Some(pass), format!("/api/datasets/lab/other/xet/{other}/v2/reconstructions/{hash}")),
        (Some(pass), format!("/api/models/lab/cohort/xet/{commit}/v2/reconstructions/{hash}")),
    ] {
        assert!(desk.ask(secret, "GET", &path, "").await.is_from_behind(), "{path}");
    }
    for (secret, path, status) in [
        (Some(pass), format!("{cas}/v2/reconstructions/{}", "0".repeat(64)), StatusCode::NOT_FOUND),
        (Some(pass), format!("{cas}/xorbs/{hash}/999"), StatusCode::NOT_FOUND),
        (
            Some(pass),
            format!("/api/datasets/lab/cohort/xet/{}/v2/reconstructions/{hash}", "0".repeat(40)),
            StatusCode::NOT_FOUND,
        ),
    ] {
        assert_eq!(desk.ask(secret, "GET", &path, "").await.status, status, "{path}");
    }
    assert_eq!(desk.ask(Some(pass), "POST", &address, "").await.status, StatusCode::METHOD_NOT_ALLOWED);
    desk.deposits.revoke_token(&reads.0, "bernd").await.unwrap();
    for path in [&address, &xorb] {
        assert!(desk.ask(Some(pass), "GET", path, "").await.is_from_behind(), "revoked");
    }
}

/// Whoever uploaded before there were plans reads by Xet as soon as one was made; plans go and stay with their files.
#[tokio::test]
async fn plans_are_made_where_they_are_missing_and_go_with_their_files() {
    let desk = Desk::new().await;
    let content = noise(5_000_000);
    let (_, plan) = long(&desk, "lab/cohort", &content).await;
    desk.upload("lab/cohort", b"nobody commits this, and it goes").await;
    let key = "datasets/lab/cohort";
    let of = |content: &[u8]| format!("xet-{}", Digest::of(content));
    let there = async |content: &[u8]| desk.store.object(key, &of(content), 0).await.unwrap().is_some();
    assert!(there(&content).await && there(b"nobody commits this, and it goes").await);
    desk.days_later(31);
    assert_eq!(desk.deposits.sweep().await.unwrap().objects, 1, "a file; its plan goes with it");
    assert!(there(&content).await && !there(b"nobody commits this, and it goes").await);
    let blobs = desk.store.remove_object(key, &of(&content), 0).await.unwrap();
    blobs.iter().for_each(|blob| drop(desk.blobs.remove(blob)));
    let secret = desk.token("lab/*", false).await.1;
    let head = async || desk.ask(Some(&secret), "HEAD", "/datasets/lab/cohort/resolve/main/long.raw", "").await;
    let first = head().await;
    assert_eq!((first.status, first.header("x-xet-hash")), (StatusCode::OK, ""));
    let mut waited = 0;
    while head().await.header("x-xet-hash").is_empty() {
        waited += 1;
        assert!(waited < 500);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(head().await.header("x-xet-hash"), plan.hash().to_string());
    let doctored = desk.store.deposited_blobs().await.unwrap();
    assert_eq!(doctored.len(), desk.blobs.list().unwrap().len(), "nothing lies there without record");
}

/// The crate `hf-hub` 1.0.0 uploads by Xet only, and asks as for LFS; `hf_xet` before 1.2 has other addresses.
#[tokio::test(flavor = "multi_thread")]
async fn who_offers_xet_is_told_where() {
    let desk = Desk::new().await;
    desk.begin("lab/cohort").await;
    let asked = desk.asked("lab/cohort", b"content", &["basic", "multipart", "xet"]).await;
    let upload = &asked["actions"]["upload"];
    assert_eq!(upload["href"], "http://node.example/api/datasets/lab/cohort/xet-write-token/main");
    let header = |name: &str| upload["header"][name].as_str().unwrap().to_owned();
    let cas = header("X-Xet-Cas-Url");
    assert_eq!(cas, "http://node.example/api/datasets/lab/cohort/xet-write");
    assert!(header("X-Xet-Token-Expiration").parse::<i64>().unwrap() > crate::NOW);
    let (cas, pass) = (crate::path_of(&cas).to_owned(), header("X-Xet-Access-Token"));
    let (xorbs, shards, files) = recorded("one");
    let (hash, bytes) = &xorbs[0];
    let answer = desk.ask(Some(&pass), "POST", &format!("{cas}/xorb/default/{hash}"), bytes.clone()).await;
    assert_eq!(answer.json(), json!({ "was_inserted": true }));
    let shard = format!("{cas}/shard/default/{}", "0".repeat(64));
    assert_eq!(desk.ask(Some(&pass), "POST", &shard, shards[0].clone()).await.status, StatusCode::OK);
    let sha256 = files[0]["sha256"].as_str().unwrap();
    assert!(desk.store.object("datasets/lab/cohort", sha256, 0).await.unwrap().is_some());
    // Who does not offer it sends to an address that is good for the object only, as before.
    let plain = desk.asked("lab/cohort", b"content", &["basic", "multipart"]).await;
    assert!(plain["actions"]["upload"]["href"].as_str().unwrap().contains("/deposits/datasets/lab/cohort/"));
    // What is here is not sent again, by whatever way.
    desk.upload("lab/cohort", b"content").await;
    assert!(desk.asked("lab/cohort", b"content", &["xet"]).await["actions"].is_null());
}
