//! Files read by Xet, as hf_xet asks for them.

use std::collections::BTreeMap;
use std::sync::Arc;

use acequia_custody::{Conditions, DuoTerm};
use acequia_hub::{Admission, Admits, Catalogue, PublishedVersion, Reader, router};
use acequia_types::Digest;
use acequia_xet::{Plan, Planner, XetHash, Xorb};
use axum::Router;
use axum::http::StatusCode;
use bytes::Bytes;
use proptest::prelude::*;
use serde_json::Value;

use crate::sample::{Dice, Memory};
use crate::{Answer, ask, get};

const NAME: &str = "commons/long";
const TABLE: &str = "data/train-00000-of-00001.parquet";
const API: &str = "/api/datasets/commons/long";
const HOST: &str = "http://node.example:8080";

fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut dice = Dice::new(seed);
    (0..length).map(|_| dice.next().to_le_bytes()[0]).collect()
}

fn planned(content: &[u8]) -> Plan {
    let mut planner = Planner::default();
    planner.push(content);
    planner.finish()
}

/// Two versions of made-up bytes, of which the second differs in the middle.
fn shelf() -> (Arc<Memory>, [Vec<u8>; 2]) {
    let memory = Arc::new(Memory::default());
    let first = noise(6_000_000, 1);
    let mut second = first.clone();
    second[3_000_000..3_000_010].copy_from_slice(&[0; 10]);
    for (at, (version, content)) in [("1.0.0", &first), ("1.1.0", &second)].into_iter().enumerate() {
        let files = BTreeMap::from([
            ("README.md".to_owned(), Bytes::from_static(b"# Long\n")),
            (TABLE.to_owned(), Bytes::from(content.clone())),
            ("data/empty.parquet".to_owned(), Bytes::new()),
        ]);
        memory.publish(NAME, version, "Long", [1, 1, 1], files, 1_799_000_000 + at as i64);
    }
    (memory, [first, second])
}

fn commit(memory: &Memory, version: &str) -> String {
    let shelf = memory.shelf();
    let found = shelf.served().find(|own| own.manifest().version == version);
    found.unwrap().commit().to_owned()
}

/// Waits until the files are planned, which happens in the background.
async fn until_planned(app: &Router, commit: &str, hash: &XetHash) {
    for _ in 0..500 {
        let asked = get(app, &format!("{API}/xet/{commit}/v2/reconstructions/{hash}")).await;
        if asked.header("x-error-code") != "EntryNotFound" {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("never planned");
}

/// Path and query of an address that was given out.
fn path_of(address: &Value) -> &str {
    address.as_str().unwrap().strip_prefix(HOST).unwrap()
}

/// What a client makes of a reconstruction in either form: fetches each xorb with the range it is told, and puts the terms together.
async fn rebuilt(app: &Router, told: &Value, headers: &[(&str, &str)]) -> Vec<u8> {
    let mut content = Vec::new();
    for term in told["terms"].as_array().unwrap() {
        let hash = term["hash"].as_str().unwrap();
        let (url, range, chunks) = match &told["xorbs"][hash][0] {
            Value::Null => {
                let own = &told["fetch_info"][hash][0];
                (&own["url"], &own["url_range"], &own["range"])
            }
            own => (&own["url"], &own["ranges"][0]["bytes"], &own["ranges"][0]["chunks"]),
        };
        assert_eq!(chunks, &term["range"]);
        let wanted = format!("bytes={}-{}", range["start"], range["end"]);
        let mut headers = headers.to_vec();
        headers.push(("range", &wanted));
        let answer = ask(app, "GET", path_of(url), &headers, "").await;
        assert_eq!(answer.status, StatusCode::PARTIAL_CONTENT);
        let xorb = Xorb::read(&answer.body, &XetHash::parse(hash).unwrap()).unwrap();
        let mut own = xorb.chunks(&(0..u32::try_from(term["range"]["end"].as_u64().unwrap()).unwrap())).unwrap();
        let before = content.len();
        while let Some((_, bytes)) = own.next().unwrap() {
            content.extend_from_slice(bytes);
        }
        assert_eq!((content.len() - before) as u64, term["unpacked_length"].as_u64().unwrap());
    }
    let offset = told["offset_into_first_range"].as_u64().unwrap();
    content.split_off(usize::try_from(offset).unwrap())
}

#[tokio::test]
async fn files_are_told_and_read_by_xet() {
    let (memory, [first, second]) = shelf();
    let app = router(memory.clone());
    let plan = planned(&first);
    let (hash, commit) = (plan.hash(), commit(&memory, "1.0.0"));
    until_planned(&app, &commit, hash).await;
    let address = format!("/datasets/{NAME}/resolve/v1.0.0/{TABLE}");
    for method in ["HEAD", "GET"] {
        let answer = ask(&app, method, &address, &[], "").await;
        assert_eq!((answer.status, answer.header("x-xet-hash")), (StatusCode::OK, hash.to_string().as_str()));
        assert_eq!(
            answer.header("link"),
            format!(
                "<{HOST}{API}/xet-read-token/{commit}>; rel=\"xet-auth\", \
                 <{HOST}{API}/xet/{commit}/v1/reconstructions/{hash}>; rel=\"xet-reconstruction-info\""
            )
        );
        assert_eq!(answer.header("etag"), format!("\"{}\"", Digest::of(&first)));
    }
    for plain in ["README.md", "manifest.json", "data/empty.parquet"] {
        let answer = get(&app, &format!("/datasets/{NAME}/resolve/v1.0.0/{plain}")).await;
        assert_eq!((answer.status, answer.header("x-xet-hash")), (StatusCode::OK, ""), "{plain}");
    }
    let tree = get(&app, &format!("{API}/tree/v1.0.0?recursive=true")).await.json();
    let paths = ask(
        &app,
        "POST",
        &format!("{API}/paths-info/v1.0.0"),
        &[("content-type", "application/json")],
        &serde_json::json!({ "paths": [TABLE, "README.md"] }).to_string(),
    )
    .await
    .json();
    for listed in [&tree, &paths] {
        for entry in listed.as_array().unwrap() {
            let wanted = if entry["path"] == TABLE { hash.to_string().into() } else { Value::Null };
            assert_eq!(entry["xetHash"], wanted, "{}", entry["path"]);
        }
    }
    let told = get(&app, &format!("{API}/xet-read-token/{commit}")).await;
    let token = told.json();
    assert_eq!(token["casUrl"], format!("{HOST}{API}/xet/{commit}"));
    for (header, field) in
        [("x-xet-cas-url", "casUrl"), ("x-xet-access-token", "accessToken"), ("x-xet-token-expiration", "exp")]
    {
        let text = token[field].as_str().map_or_else(|| token[field].to_string(), str::to_owned);
        assert_eq!(told.header(header), text);
    }
    assert_eq!(told.header("cache-control"), "no-store");

    for form in ["", "v1/", "v2/"] {
        let address = format!("{API}/xet/{commit}/{form}reconstructions/{hash}");
        let whole = get(&app, &address).await.json();
        assert_eq!(rebuilt(&app, &whole, &[]).await, first);
        let part = ask(&app, "GET", &address, &[("range", "bytes=2500000-3999999")], "").await.json();
        assert!(part["terms"].as_array().unwrap().len() < whole["terms"].as_array().unwrap().len());
        let content = rebuilt(&app, &part, &[]).await;
        assert_eq!(content[..1_500_000], first[2_500_000..4_000_000]);
        let outside = ask(&app, "GET", &address, &[("range", "bytes=6000000-")], "").await;
        assert_eq!(outside.status, StatusCode::RANGE_NOT_SATISFIABLE);
    }
    // The other version shares all but what changed.
    let other = planned(&second);
    let known: Vec<&XetHash> = plan.xorbs().iter().map(acequia_xet::Planned::hash).collect();
    let new = other.xorbs().iter().filter(|xorb| !known.contains(&xorb.hash())).count();
    assert!((1..=2).contains(&new) && other.xorbs().len() > 5, "{new} of {}", other.xorbs().len());
}

#[tokio::test]
async fn a_xorb_is_answered_as_files_are() {
    let (memory, [first, _]) = shelf();
    let app = router(memory.clone());
    let (plan, commit) = (planned(&first), commit(&memory, "1.0.0"));
    until_planned(&app, &commit, plan.hash()).await;
    let address = format!("{API}/xet/{commit}/xorbs/{}/1", plan.hash());
    let whole = get(&app, &address).await;
    let length = plan.xorbs()[1].stored_bytes();
    assert_eq!((whole.status, whole.body.len() as u64), (StatusCode::OK, length));
    assert_eq!(whole.header("etag"), format!("\"{}\"", plan.xorbs()[1].hash()));
    assert_eq!(whole.header("cache-control"), "public, no-cache");
    let head = ask(&app, "HEAD", &address, &[], "").await;
    assert_eq!((head.header("content-length"), head.body.len()), (length.to_string().as_str(), 0));
    let part = ask(&app, "GET", &address, &[("range", "bytes=5-11")], "").await;
    assert_eq!((part.status, &part.body[..]), (StatusCode::PARTIAL_CONTENT, &whole.body[5..12]));
    let had = ask(&app, "GET", &address, &[("if-none-match", whole.header("etag"))], "").await;
    assert_eq!(had.status, StatusCode::NOT_MODIFIED);
    let outside = ask(&app, "GET", &address, &[("range", &format!("bytes={length}-"))], "").await;
    assert_eq!(outside.status, StatusCode::RANGE_NOT_SATISFIABLE);
    let zero = "0".repeat(64);
    for (nothing, code) in [
        (format!("{API}/xet/{commit}/xorbs/{}/99", plan.hash()), ""),
        (format!("{API}/xet/{commit}/xorbs/{}/x", plan.hash()), ""),
        (format!("{API}/xet/{commit}/xorbs/{zero}/0"), "EntryNotFound"),
        (format!("{API}/xet/{commit}/v2/reconstructions/{zero}"), "EntryNotFound"),
        (format!("{API}/xet/{commit}/v3/reconstructions/{}", plan.hash()), ""),
        (format!("{API}/xet/{}/v2/reconstructions/{}", "0".repeat(40), plan.hash()), "RevisionNotFound"),
        (format!("{API}/xet-read-token/{}", "0".repeat(40)), "RevisionNotFound"),
    ] {
        let answer = get(&app, &nothing).await;
        assert_eq!((answer.status, answer.header("x-error-code")), (StatusCode::NOT_FOUND, code), "{nothing}");
    }
    // Changed bytes are never sent, not even in part.
    let sha256 = Digest::of(&first);
    let mut damaged = first.clone();
    damaged[usize::try_from(plan.xorbs()[1].at()).unwrap() + 7] ^= 1;
    memory.store(sha256, Some(damaged.into()));
    assert_eq!(get(&app, &address).await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(get(&app, &address.replace("/1", "/0")).await.status, StatusCode::OK);
    memory.store(sha256, Some(first[..100].to_vec().into()));
    assert_eq!(get(&app, &address).await.status, StatusCode::SERVICE_UNAVAILABLE);
    // What is taken down is gone here, too.
    memory.take_down(NAME, "1.0.0", Some("1.1.0"));
    for gone in [&address, &format!("{API}/xet-read-token/{commit}")] {
        assert_eq!(get(&app, gone).await.status, StatusCode::GONE, "{gone}");
    }
}

/// Admits who shows a pass, as a router in front does.
struct ByPass;

impl Admits for ByPass {
    fn admits(&self, _: &PublishedVersion) -> Admission {
        Admission::Granted
    }

    fn pass(&self, _: &PublishedVersion) -> Option<String> {
        Some("secret +".to_owned())
    }
}

/// Who is admitted without a pass: a browser.
struct ByCookie(Admission);

impl Admits for ByCookie {
    fn admits(&self, _: &PublishedVersion) -> Admission {
        self.0
    }
}

#[tokio::test]
async fn xorbs_pass_the_door_that_files_pass() {
    let (memory, [_, second]) = shelf();
    memory.bind(NAME, "1.1.0", &Conditions { duo: [DuoTerm::Ethics].into(), ..Conditions::default() });
    let (plan, closed) = (planned(&second), commit(&memory, "1.1.0"));
    let open = commit(&memory, "1.0.0");
    let asked = |app: Router| {
        let hash = *plan.hash();
        let closed = closed.clone();
        async move {
            until_planned(&app, &closed, &hash).await;
            let mut answers: Vec<(String, Answer)> = Vec::new();
            for address in [
                format!("{API}/xet-read-token/{closed}"),
                format!("{API}/xet-read-token/main"),
                format!("{API}/xet/{closed}/v1/reconstructions/{hash}"),
                format!("{API}/xet/{closed}/v2/reconstructions/{hash}"),
                format!("{API}/xet/main/v2/reconstructions/{hash}"),
                format!("{API}/xet/{closed}/xorbs/{hash}/0"),
                format!("{API}/xet/{closed}/xorbs/{hash}/0?pass=made%20up"),
            ] {
                for method in ["GET", "HEAD"] {
                    for headers in [&[][..], &[("range", "bytes=0-3")], &[("if-none-match", "*")]] {
                        answers.push((format!("{method} {address}"), ask(&app, method, &address, headers, "").await));
                    }
                }
            }
            answers
        }
    };
    for (admission, status) in [
        (None, StatusCode::UNAUTHORIZED),
        (Some(Admission::Unknown), StatusCode::UNAUTHORIZED),
        (Some(Admission::Refused), StatusCode::FORBIDDEN),
        // Who has no pass reads files as before, and is not told of Xet.
        (Some(Admission::Granted), StatusCode::UNAUTHORIZED),
    ] {
        let app = router(memory.clone());
        let app = match admission {
            Some(admission) => app.layer(axum::Extension(Reader(Arc::new(ByCookie(admission))))),
            None => app,
        };
        for (address, answer) in asked(app.clone()).await {
            assert_eq!((answer.status, answer.header("x-error-code")), (status, "GatedRepo"), "{address}");
        }
        let tree = get(&app, &format!("{API}/tree/main?recursive=true")).await.json();
        assert!(tree.as_array().unwrap().iter().all(|entry| entry["xetHash"].is_null()));
        let file = get(&app, &format!("/datasets/{NAME}/resolve/main/{TABLE}")).await;
        assert_eq!(file.header("x-xet-hash"), "", "{}", file.status);
        // The hash of what is closed opens nothing in a version that is open.
        let elsewhere = get(&app, &format!("{API}/xet/{open}/v2/reconstructions/{}", plan.hash())).await;
        assert_eq!(elsewhere.status, StatusCode::NOT_FOUND);
    }
    let app = router(memory.clone()).layer(axum::Extension(Reader(Arc::new(ByPass))));
    for (address, answer) in asked(app.clone()).await {
        assert!(answer.status.is_success() || answer.status == StatusCode::NOT_MODIFIED, "{address}");
        let kept = answer.header("cache-control");
        assert!(kept == "private, no-cache" || kept == "no-store", "{address} {kept}");
    }
    let told = get(&app, &format!("{API}/xet-read-token/main")).await.json();
    assert_eq!(told["accessToken"], "secret +");
    let whole = get(&app, &format!("{API}/xet/{closed}/v2/reconstructions/{}", plan.hash())).await.json();
    let first = &whole["xorbs"][plan.xorbs()[0].hash().to_string()][0]["url"];
    assert!(path_of(first).ends_with("?pass=secret%20%2B"), "{first}");
    assert_eq!(rebuilt(&app, &whole, &[]).await, second);
    let tree = get(&app, &format!("{API}/tree/main?recursive=true")).await;
    assert_eq!(tree.header("cache-control"), "private, no-cache");
    assert!(tree.json().as_array().unwrap().iter().any(|entry| entry["xetHash"] == plan.hash().to_string()));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 12, ..ProptestConfig::default() })]

    /// Whatever range is asked for comes back, and no xorb that lies outside of it.
    #[test]
    fn any_range_is_told(from in 0..6_000_000_u64, length in 1..3_000_000_u64) {
        crate::run(async {
            let (memory, [first, _]) = shelf();
            let app = router(memory.clone());
            let (plan, commit) = (planned(&first), commit(&memory, "1.0.0"));
            until_planned(&app, &commit, plan.hash()).await;
            let range = format!("bytes={from}-{}", from + length - 1);
            let address = format!("{API}/xet/{commit}/v2/reconstructions/{}", plan.hash());
            let told = ask(&app, "GET", &address, &[("range", &range)], "").await.json();
            let end = usize::try_from((from + length).min(6_000_000)).unwrap();
            let from = usize::try_from(from).unwrap();
            let content = rebuilt(&app, &told, &[]).await;
            assert_eq!(content[..end - from], first[from..end]);
            // Less than one xorb too much at the end.
            assert!(content.len() - (end - from) < 2 << 20);
        });
    }
}
