//! The hub over an in-memory catalogue: every route, every header that clients trip over, hostile requests, pages.

mod access;
mod describe;
mod models;
mod sample;
mod versions;
mod viewer;
mod xet;

use std::collections::BTreeMap;
use std::sync::Arc;

use acequia_gate::{Artefact, ExitSeal, GateKey, Manifest, ReleasedFile, SealFile};
use acequia_hub::{
    CHUNK_BYTES, Catalogue, HubError, Mirrored, Neighbour, NeighbourState, NeighbourVersion, PublishedVersion, Shelf,
    router, router_at,
};
use acequia_types::{Coded, DatasetName, Digest, Timestamp, parse_day};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use bytes::Bytes;
use proptest::prelude::*;
use sample::{Dice, Memory};
use serde_json::{Value, json};
use tower::ServiceExt;

const DATASET: &str = "acequia/sample-survival";
const TRAIN: &str = "data/train-00000-of-00001.parquet";

/// An answer taken apart.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.text()))
    }

    fn text(&self) -> String {
        String::from_utf8(self.body.to_vec()).unwrap()
    }
}

async fn ask(app: &Router, method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut request = Request::builder().method(method).uri(target).header("host", "node.example:8080");
    for (name, value) in headers {
        if *name == "host" {
            request.headers_mut().unwrap().remove("host");
        }
        request = request.header(*name, *value);
    }
    let response = app.clone().oneshot(request.body(Body::from(body.to_owned())).unwrap()).await.unwrap();
    let (head, body) = response.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    Answer { status: head.status, headers: head.headers, body }
}

async fn get(app: &Router, target: &str) -> Answer {
    ask(app, "GET", target, &[], "").await
}

const TABS: [&str; 6] = ["card", "data", "files", "versions", "use", "governance"];

/// All tabs of a data set's newest version, each of them well made.
async fn tabs(app: &Router, name: &str) -> String {
    let refs = get(app, &format!("/api/datasets/{name}/refs")).await.json();
    let tag = refs["tags"].as_array().unwrap().last().unwrap()["name"].as_str().unwrap().to_owned();
    let mut all = String::new();
    for tab in TABS {
        let page = get(app, &format!("/datasets/{name}/v/{}/{tab}", &tag[1..])).await;
        assert_eq!(
            (page.status.as_u16(), page.header("content-type")),
            (200, "text/html; charset=utf-8"),
            "{name} {tab}"
        );
        well_made(&page.text(), tab);
        all.push_str(&page.text());
    }
    all
}

fn app() -> (Router, Arc<Memory>) {
    let memory = Arc::new(sample::sample());
    (router(memory.clone()), memory)
}

fn file(memory: &Memory, path: &str) -> (String, ReleasedFile, Bytes) {
    let info = memory.shelf();
    let version = newest(&info);
    let file = version.files()[path].clone();
    let bytes = memory.read(&file.sha256, 0..file.bytes).unwrap();
    (version.commit().to_owned(), file, bytes)
}

/// The newest version of the sample, by way of the public interface: the one whose commit `main` answers with.
fn newest(shelf: &Shelf) -> Arc<PublishedVersion> {
    shelf.served().filter(|version| version.manifest().dataset.to_string() == DATASET).last().unwrap().clone()
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

#[tokio::test]
async fn every_route_answers() {
    let (app, memory) = app();
    let commit = newest(&memory.shelf()).commit().to_owned();
    let json = "application/json";
    let page = "text/html; charset=utf-8";
    for (target, status, kind) in [
        ("/", 200, page),
        ("/?q=survival", 200, page),
        ("/?page=99", 200, page),
        ("/datasets", 303, ""),
        ("/datasets/acequia/sample-survival", 200, page),
        ("/datasets/acequia/sample-survival/", 200, page),
        ("/datasets/acequia/sample-survival?version=1.0.0", 303, ""),
        ("/datasets/acequia/sample-survival?version=9.0.0", 404, page),
        ("/datasets/acequia/sample-survival/v/1.0.0", 200, page),
        ("/datasets/acequia/sample-survival/v/9.0.0", 404, page),
        ("/datasets/acequia/sample-survival/v/1.0.0/SHA256SUMS", 200, "text/plain; charset=utf-8"),
        ("/datasets/acequia/sample-survival/tree/main", 303, ""),
        ("/datasets/acequia/sample-survival/blob/main/README.md", 303, ""),
        ("/datasets/acequia/nothing", 404, page),
        ("/datasets/nothing", 404, page),
        ("/nothing", 404, page),
        ("/healthz", 200, "text/plain; charset=utf-8"),
        ("/robots.txt", 200, "text/plain; charset=utf-8"),
        ("/sitemap.xml", 200, "application/xml"),
        ("/sitemap.xml?part=2", 404, page),
        ("/problems", 200, page),
        ("/catalogue", 303, ""),
        ("/catalogue.ttl", 200, "text/turtle"),
        ("/catalogue.jsonld", 200, "application/ld+json"),
        ("/catalogue.ttl?page=2", 404, json),
        ("/oai", 200, "text/xml; charset=utf-8"),
        ("/ga4gh/drs/v1/service-info", 200, json),
        ("/ga4gh/drs/v1/objects/none", 404, json),
        ("/datasets/acequia/sample-survival/v/1.0.0/dcat.ttl", 200, "text/turtle"),
        ("/datasets/acequia/sample-survival/v/1.0.0/linkset.json", 200, "application/linkset+json"),
        ("/datasets/acequia/sample-survival/v/1.0.0/README.md", 200, "text/markdown; charset=utf-8"),
        ("/datasets/acequia/sample-survival/v/1.0.0/nothing", 404, json),
        ("/datasets/acequia/sample-survival/compare?from=1.0.0&to=1.1.0", 303, ""),
        ("/datasets/acequia/sample-survival/compare/1.0.0", 400, page),
        ("/datasets/acequia/sample-survival/compare/1.0.0..9.0.0", 404, page),
        ("/api/datasets/acequia/sample-survival/compare/1.0.0..9.0.0", 404, json),
        ("/favicon.ico", 200, "image/svg+xml"),
        ("/assets/style-000000000000.css", 404, page),
        ("/api/whoami-v2", 401, json),
        ("/api/datasets", 200, json),
        ("/api/models", 200, json),
        ("/api/models/acequia/sample-survival", 404, json),
        ("/api/agent-harnesses", 404, json),
        ("/api/datasets/acequia/sample-survival", 200, json),
        ("/api/datasets/acequia/sample-survival/revision/main", 200, json),
        ("/api/datasets/acequia/sample-survival/revision/refs%2Fpr%2F1", 404, json),
        ("/api/datasets/acequia/sample-survival/tree/main", 200, json),
        ("/api/datasets/acequia/sample-survival/tree/main/data", 200, json),
        ("/api/datasets/acequia/sample-survival/refs", 200, json),
        ("/api/datasets/acequia/sample-survival/commits/main", 200, json),
        ("/api/datasets/acequia/sample-survival/auth-check", 200, "text/plain; charset=utf-8"),
        ("/api/datasets/acequia/sample-survival/croissant", 200, "application/ld+json"),
        ("/api/datasets/acequia/sample-survival/nothing", 404, json),
        ("/api/datasets/sample-survival", 404, json),
        ("/datasets/acequia/sample-survival/resolve/main/README.md", 200, "text/markdown; charset=utf-8"),
        ("/datasets/acequia/sample-survival/raw/main/README.md", 200, "text/markdown; charset=utf-8"),
        ("/datasets/acequia/sample-survival/resolve/main/manifest.json", 200, json),
        ("/datasets/acequia/sample-survival/resolve/main/croissant.json", 200, "application/ld+json"),
        (
            "/datasets/acequia/sample-survival/resolve/main/data%2Ftrain-00000-of-00001.parquet",
            200,
            "application/vnd.apache.parquet",
        ),
        ("/datasets/acequia/sample-survival/resolve/main/.huggingface.yaml", 404, json),
        ("/datasets/acequia/sample-survival/resolve/main/sample-survival.py", 404, json),
        ("/datasets/acequia/sample-survival/resolve/main/dataset_infos.json", 404, json),
        ("/datasets/acequia/sample-survival/resolve/main/", 404, json),
        ("/acequia/sample-survival/resolve/main/README.md", 404, json),
        ("/datasets/nothing/resolve/main/README.md", 404, json),
    ] {
        for method in ["GET", "HEAD"] {
            let answer = ask(&app, method, target, &[], "").await;
            assert_eq!(answer.status.as_u16(), status, "{method} {target}");
            if !kind.is_empty() {
                assert_eq!(answer.header("content-type"), kind, "{target}");
            }
            assert!(answer.headers.contains_key("content-length"), "{method} {target}");
            if method == "HEAD" {
                assert!(answer.body.is_empty(), "{target}");
                let whole = get(&app, target).await;
                assert_eq!(answer.header("content-length"), whole.body.len().to_string(), "{target}");
                assert_eq!(answer.header("etag"), whole.header("etag"), "{target}");
            }
            guarded(&answer, target);
        }
    }
    assert_eq!(get(&app, &format!("/datasets/{DATASET}/v/{commit}")).await.status, 200);
    let redirect = get(&app, &format!("/datasets/{DATASET}?version=v1.0.0")).await;
    assert_eq!(redirect.header("location"), format!("/datasets/{DATASET}/v/1.0.0"));
}

/// What every answer carries.
fn guarded(answer: &Answer, what: &str) {
    assert_eq!(answer.header("x-content-type-options"), "nosniff", "{what}");
    assert_eq!(answer.header("referrer-policy"), "no-referrer", "{what}");
    assert_eq!(answer.header("x-frame-options"), "DENY", "{what}");
    let policy = answer.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{what}: {policy}");
    assert!(!policy.contains("unsafe"), "{what}");
    for absent in ["set-cookie", "content-encoding", "server"] {
        assert!(!answer.headers.contains_key(absent), "{what}: {absent}");
    }
}

#[tokio::test]
async fn a_page_that_has_not_changed_keeps_its_policy() {
    let (app, _) = app();
    let first = get(&app, "/").await;
    let again = ask(&app, "GET", "/", &[("if-none-match", first.header("etag"))], "").await;
    assert_eq!(again.status, 304);
    assert!(again.body.is_empty());
    assert_eq!(again.header("content-security-policy"), first.header("content-security-policy"));
    assert!(first.header("content-security-policy").contains("style-src 'self'"));
}

#[tokio::test]
async fn files_come_with_the_headers_that_clients_need() {
    let (app, memory) = app();
    let (commit, parquet, bytes) = file(&memory, TRAIN);
    let (_, readme, _) = file(&memory, "README.md");
    for method in ["GET", "HEAD"] {
        let target = format!("/datasets/{DATASET}/resolve/main/{TRAIN}");
        let identity = [("accept-encoding", "gzip, deflate, br"), ("x-hf-download-counter", "1")];
        let answer = ask(&app, method, &target, &identity, "").await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("x-repo-commit"), commit);
        assert_eq!(answer.header("etag"), format!("\"{}\"", parquet.sha256));
        assert_eq!(answer.header("accept-ranges"), "bytes");
        assert_eq!(answer.header("content-length"), bytes.len().to_string());
        assert_eq!(answer.header("cache-control"), "public, no-cache");
        assert_eq!(answer.header("access-control-allow-origin"), "*");
        assert_eq!(answer.body, if method == "GET" { bytes.clone() } else { Bytes::new() });
    }
    let small = get(&app, &format!("/datasets/{DATASET}/resolve/{commit}/README.md")).await;
    assert_eq!(small.header("etag"), format!("\"{}\"", readme.git_oid));
    assert_eq!(small.header("cache-control"), "public, no-cache", "even a commit can be taken down");
    let absent = get(&app, &format!("/datasets/{DATASET}/resolve/v1.0.0/nowhere")).await;
    assert_eq!((absent.status, absent.header("x-error-code")), (StatusCode::NOT_FOUND, "EntryNotFound"));
    assert_eq!(absent.header("x-repo-commit").len(), 40);
    assert_ne!(absent.header("x-repo-commit"), commit, "the commit is that of the version asked for");
    let manifest = get(&app, &format!("/datasets/{DATASET}/resolve/main/manifest.json")).await;
    assert_eq!(Digest::of(&manifest.body).short(40), commit);
}

#[tokio::test]
async fn ranges() {
    let (app, memory) = app();
    for path in [TRAIN, "README.md", "manifest.json"] {
        let target = format!("/datasets/{DATASET}/resolve/main/{path}");
        let bytes = get(&app, &target).await.body;
        let size = bytes.len();
        let last = format!("bytes {}-{}/{size}", size - 8, size - 1);
        for (range, part, stated) in [
            ("bytes=0-0", 0..1, format!("bytes 0-0/{size}")),
            ("bytes=2-5", 2..6, format!("bytes 2-5/{size}")),
            ("bytes=100-", 100..size, format!("bytes 100-{}/{size}", size - 1)),
            ("bytes=-8", size - 8..size, last),
            ("bytes=-999999999", 0..size, format!("bytes 0-{}/{size}", size - 1)),
            ("bytes=0-999999999", 0..size, format!("bytes 0-{}/{size}", size - 1)),
        ] {
            let answer = ask(&app, "GET", &target, &[("range", range)], "").await;
            assert_eq!(answer.status, 206, "{range}");
            assert_eq!(answer.header("content-range"), stated);
            assert_eq!(answer.header("content-length"), part.len().to_string());
            assert_eq!(answer.body, bytes.slice(part), "{range}");
        }
        let outside = ask(&app, "GET", &target, &[("range", &format!("bytes={size}-"))], "").await;
        assert_eq!(outside.status, 416);
        assert_eq!(outside.header("content-range"), format!("bytes */{size}"));
        for ignored in ["bytes=0-1,4-5", "lines=0-1", "bytes=5-1"] {
            let answer = ask(&app, "GET", &target, &[("range", ignored)], "").await;
            assert_eq!((answer.status, &answer.body), (StatusCode::OK, &bytes), "{ignored}");
        }
        let head = ask(&app, "HEAD", &target, &[("range", "bytes=0-0")], "").await;
        assert_eq!((head.status, head.header("content-length")), (StatusCode::OK, size.to_string().as_str()));
    }
    let (_, parquet, bytes) = file(&memory, TRAIN);
    let target = format!("/datasets/{DATASET}/resolve/main/{TRAIN}");
    let tag = format!("\"{}\"", parquet.sha256);
    let same = ask(&app, "GET", &target, &[("if-none-match", &format!("\"x\", {tag}"))], "").await;
    assert_eq!((same.status, same.header("etag")), (StatusCode::NOT_MODIFIED, tag.as_str()));
    assert!(same.header("x-repo-commit").len() == 40 && same.body.is_empty());
    let resumed = ask(&app, "GET", &target, &[("range", "bytes=5-"), ("if-range", &tag)], "").await;
    assert_eq!((resumed.status, resumed.body), (StatusCode::PARTIAL_CONTENT, bytes.slice(5..)));
    let changed = ask(&app, "GET", &target, &[("range", "bytes=5-"), ("if-range", "\"other\"")], "").await;
    assert_eq!((changed.status, changed.body), (StatusCode::OK, bytes));
}

#[tokio::test]
async fn revisions() {
    let (app, memory) = app();
    let commit = newest(&memory.shelf()).commit().to_owned();
    let sha = async |revision: &str| {
        let answer = get(&app, &format!("/api/datasets/{DATASET}/revision/{revision}")).await;
        answer.json()["sha"].as_str().unwrap_or(answer.header("x-error-code")).to_owned()
    };
    for revision in ["main", "HEAD", "refs%2Fheads%2Fmain", "v1.1.0", "1.1.0", "refs%2Ftags%2Fv1.1.0", &commit] {
        assert_eq!(sha(revision).await, commit, "{revision}");
    }
    assert_ne!(sha("v1.0.0").await, commit);
    for revision in
        [&commit[..12], &commit.to_uppercase(), "v1", "refs%2Fpr%2F1", "refs%2Fconvert%2Fparquet", "v1.1.0.", "vv"]
    {
        assert_eq!(sha(revision).await, "RevisionNotFound", "{revision}");
    }
    let repo = get(&app, "/api/datasets/acequia/none/revision/main").await;
    assert_eq!(repo.header("x-error-code"), "RepoNotFound");
}

#[tokio::test]
async fn repository_info() {
    let (app, memory) = app();
    let info = get(&app, &format!("/api/datasets/{DATASET}?blobs=true")).await.json();
    assert_eq!(info["id"], DATASET);
    assert_eq!(info["author"], "acequia");
    // What has not changed is not sent again.
    let first = get(&app, &format!("/api/datasets/{DATASET}")).await;
    let known = [("if-none-match", first.header("etag"))];
    let again = ask(&app, "GET", &format!("/api/datasets/{DATASET}"), &known, "").await;
    assert_eq!((again.status, again.body.len()), (StatusCode::NOT_MODIFIED, 0));
    for wrong in ["?blobs=maybe", "?blobs="] {
        assert_eq!(get(&app, &format!("/api/datasets/{DATASET}{wrong}")).await.status, StatusCode::BAD_REQUEST);
    }
    assert_eq!((&info["private"], &info["gated"], &info["disabled"]), (&json!(false), &json!(false), &json!(false)));
    assert_eq!(info["createdAt"], "2025-11-23T12:13:20.000Z");
    assert!(info["lastModified"].as_str() > info["createdAt"].as_str());
    assert_eq!(info["cardData"]["license"], "cc-by-4.0");
    assert_eq!(info["cardData"]["configs"][0]["data_files"][2]["split"], "test");
    assert!(info["tags"].as_array().unwrap().contains(&json!("license:cc-by-4.0")));
    let (_, parquet, _) = file(&memory, TRAIN);
    let sibling = info["siblings"].as_array().unwrap().iter().find(|sibling| sibling["rfilename"] == TRAIN).unwrap();
    assert_eq!(sibling["size"], parquet.bytes);
    assert_eq!(sibling["blobId"], parquet.git_oid);
    assert_eq!(sibling["lfs"]["sha256"], parquet.sha256.to_string());
    // "version https://git-lfs.github.com/spec/v1\n" 43, "oid sha256:" 11 + 64 + 1, "size " 5 + digits + 1.
    let pointer = 43 + 76 + 6 + parquet.bytes.to_string().len();
    assert_eq!(sibling["lfs"]["pointerSize"], pointer);
    let bare = get(&app, &format!("/api/datasets/{DATASET}")).await.json();
    assert_eq!(bare["siblings"][0], json!({"rfilename": "README.md"}));
    let some = get(&app, &format!("/api/datasets/{DATASET}?expand=sha&expand=tags")).await.json();
    let keys: Vec<&String> = some.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["_id", "id", "sha", "tags"]);
}

#[tokio::test]
async fn trees() {
    let (app, memory) = app();
    let tree = |query: &'static str| {
        let app = app.clone();
        async move { get(&app, &format!("/api/datasets/{DATASET}/tree/main{query}")).await }
    };
    let paths = |answer: &Answer| -> Vec<String> {
        answer.json().as_array().unwrap().iter().map(|entry| entry["path"].as_str().unwrap().to_owned()).collect()
    };
    let flat = tree("").await;
    assert!(paths(&flat).contains(&"data".to_owned()) && !paths(&flat).contains(&TRAIN.to_owned()));
    for query in ["?recursive=true", "?recursive=True", "?recursive=1&expand=False"] {
        let all = tree(query).await;
        assert!(paths(&all).contains(&"data".to_owned()) && paths(&all).contains(&TRAIN.to_owned()), "{query}");
    }
    for inside in ["/data", "/data/", "/data?recursive=false&expand=false"] {
        assert_eq!(
            paths(&tree(inside).await),
            ["data/test-00000-of-00001.parquet", TRAIN, "data/validation-00000-of-00001.parquet"]
        );
    }
    let (commit, parquet, _) = file(&memory, TRAIN);
    let entry = &tree("/data?expand=true").await.json()[1];
    assert_eq!(entry["type"], "file");
    assert_eq!(entry["oid"], parquet.git_oid);
    assert_eq!(entry["lfs"]["oid"], parquet.sha256.to_string());
    assert_eq!(entry["lastCommit"]["id"], commit);
    let unchanged = tree("?expand=true").await.json();
    let dictionary = unchanged.as_array().unwrap().iter().find(|e| e["path"] == "dictionary.json").unwrap().clone();
    assert_eq!(dictionary["lastCommit"]["title"], "Version 1.0.0", "the dictionary is the same in both versions");
    for absent in ["/nowhere", "/dat", "/README.md", "/data%2F..%2Fdata", "/..", "/%2e%2e"] {
        let answer = tree(absent).await;
        assert_eq!(
            (answer.status, answer.header("x-error-code")),
            (StatusCode::NOT_FOUND, "EntryNotFound"),
            "{absent}"
        );
    }
}

#[tokio::test]
async fn long_trees_come_in_pages() {
    let memory = Memory::default();
    let files: BTreeMap<String, Bytes> =
        (0..2345).map(|at| (format!("deep/a b/{at:04}.txt"), Bytes::from(at.to_string()))).collect();
    memory.publish("acequia/long", "1.0.0", "Long", [1, 1, 1], files, 0);
    let app = router(Arc::new(memory));
    for (query, page) in [("", 1000), ("&expand=True", 50), ("&limit=7", 7)] {
        let mut target = format!("/api/datasets/acequia/long/tree/main/deep%2Fa%20b?recursive=True{query}");
        let mut found = Vec::new();
        loop {
            let answer = get(&app, &target).await;
            let entries = answer.json();
            found.extend(entries.as_array().unwrap().iter().map(|entry| entry["path"].as_str().unwrap().to_owned()));
            let link = answer.header("link");
            if link.is_empty() {
                break;
            }
            assert_eq!(entries.as_array().unwrap().len(), page);
            let next = link.strip_prefix("<http://node.example:8080").unwrap().strip_suffix(">; rel=\"next\"").unwrap();
            assert!(!next.contains("/main/"), "pages of one list are of one version: {next}");
            target = next.to_owned();
        }
        assert_eq!(found.len(), 2345, "{query}");
        assert!(found.windows(2).all(|pair| pair[0] < pair[1]));
    }
}

#[tokio::test]
async fn paths_info_as_form_and_as_json() {
    let (app, _) = app();
    let target = format!("/api/datasets/{DATASET}/paths-info/main");
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let as_json = [("content-type", "application/json")];
    let body = "paths=README.md&paths=data&paths=nowhere&paths=data%2Ftrain-00000-of-00001.parquet&expand=True";
    let by_form = ask(&app, "POST", &target, &form, body).await;
    assert_eq!(by_form.status, 200);
    let body = json!({"paths": ["README.md", "data", "nowhere", TRAIN], "expand": true}).to_string();
    let by_json = ask(&app, "POST", &target, &as_json, &body).await;
    assert_eq!(by_form.json(), by_json.json());
    let kinds: Vec<String> =
        by_form.json().as_array().unwrap().iter().map(|entry| entry["type"].as_str().unwrap().to_owned()).collect();
    assert_eq!(kinds, ["file", "directory", "file"]);
    assert!(by_form.json()[2]["lastCommit"]["date"].is_string());
    let one = ask(&app, "POST", &target, &as_json, r#"{"paths": "README.md"}"#).await;
    assert_eq!(one.json().as_array().unwrap().len(), 1);
    assert_eq!(ask(&app, "POST", &target, &form, "expand=False").await.json(), json!([]));
    assert_eq!(ask(&app, "POST", &target, &form, "").await.status, 400);
    assert_eq!(ask(&app, "POST", &target, &form, &"paths=a&".repeat(1000)).await.status, 200);
    assert_eq!(
        ask(&app, "POST", &target, &form, &"paths=a&".repeat(1001)).await.status,
        400,
        "none is left out in silence"
    );
    for bad in ["", "{", "[]", r#"{"paths": 1}"#] {
        assert_eq!(ask(&app, "POST", &target, &as_json, bad).await.status, 400, "{bad}");
    }
    assert_eq!(ask(&app, "POST", &target, &form, &"paths=a&".repeat(200_000)).await.status, 413);
    let read = get(&app, &target).await;
    assert_eq!((read.status, read.header("allow")), (StatusCode::METHOD_NOT_ALLOWED, "POST, OPTIONS"));
}

#[tokio::test]
async fn refs_and_commits() {
    let (app, memory) = app();
    let commit = newest(&memory.shelf()).commit().to_owned();
    let refs = get(&app, &format!("/api/datasets/{DATASET}/refs")).await.json();
    assert_eq!(refs["branches"], json!([{"name": "main", "ref": "refs/heads/main", "targetCommit": commit}]));
    assert_eq!(refs["converts"], json!([]));
    assert!(refs.get("pullRequests").is_none());
    let tags: Vec<&str> = refs["tags"].as_array().unwrap().iter().map(|tag| tag["name"].as_str().unwrap()).collect();
    assert_eq!(tags, ["v1.0.0", "v1.1.0"]);
    let with = get(&app, &format!("/api/datasets/{DATASET}/refs?include_prs=1")).await.json();
    assert_eq!(with["pullRequests"], json!([]));
    let commits = get(&app, &format!("/api/datasets/{DATASET}/commits/main")).await.json();
    assert_eq!(commits.as_array().unwrap().len(), 2);
    assert_eq!((&commits[0]["id"], &commits[0]["title"]), (&json!(commit), &json!("Version 1.1.0")));
    assert_eq!(commits[0]["authors"], json!([{"user": "acequia"}]));
    let older = get(&app, &format!("/api/datasets/{DATASET}/commits/v1.0.0")).await.json();
    assert_eq!(older.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn listings() {
    let (app, _) = app();
    let ids = async |query: &str| -> Vec<String> {
        let list = get(&app, &format!("/api/datasets{query}")).await.json();
        list.as_array().unwrap().iter().map(|entry| entry["id"].as_str().unwrap().to_owned()).collect()
    };
    let (real, synthetic) = (DATASET, "commons/synthetic-survival");
    assert_eq!(ids("").await, [real, synthetic]);
    assert_eq!(ids("?search=SURVIVAL").await.len(), 2);
    assert_eq!(ids("?search=survival&search=commons").await, [synthetic]);
    assert_eq!(ids("?search=survival+sample").await, [real]);
    assert_eq!(ids("?author=acequia").await, [real]);
    assert_eq!(ids("?author=acequ").await, Vec::<String>::new());
    assert_eq!(ids("?filter=synthetic").await, [synthetic]);
    assert_eq!(ids("?filter=license:cc-by-4.0&filter=de-identified").await, [real]);
    assert_eq!(ids("?gated=True").await, Vec::<String>::new());
    assert_eq!(ids("?sort=createdAt").await, [synthetic, real]);
    assert_eq!(ids("?sort=lastModified&direction=-1").await, [real, synthetic]);
    assert_eq!(ids("?sort=lastModified&direction=1").await, [synthetic, real]);
    let first = get(&app, "/api/datasets?limit=1&search=survival").await;
    let link = first.header("link");
    let cursor = "cursor=1795300000~acequia%2Fsample-survival";
    assert_eq!(link, format!("<http://node.example:8080/api/datasets?limit=1&search=survival&{cursor}>; rel=\"next\""));
    let second = get(&app, &format!("/api/datasets?limit=1&search=survival&{cursor}")).await;
    assert_eq!((&second.json()[0]["id"], second.headers.get("link")), (&json!(synthetic), None));
    for wrong in ["1", "x~acequia/y", "~"] {
        assert_eq!(get(&app, &format!("/api/datasets?cursor={wrong}")).await.status, StatusCode::BAD_REQUEST);
    }
    let full = get(&app, "/api/datasets?full=true").await.json();
    assert!(full[0]["siblings"].is_array() && full[0]["cardData"].is_object());
    let short = get(&app, "/api/datasets").await.json();
    assert!(short[0].get("siblings").is_none() && short[0]["sha"].is_string());
    assert_eq!(get(&app, "/api/models?search=x").await.json(), json!([]));
}

#[tokio::test]
async fn nothing_can_be_written() {
    let (app, _) = app();
    for (method, target) in [
        ("PUT", "/datasets/acequia/sample-survival/resolve/main/README.md"),
        ("DELETE", "/datasets/acequia/sample-survival"),
        ("POST", "/"),
        ("PATCH", "/api/datasets/acequia/sample-survival"),
        ("TRACE", "/"),
    ] {
        let answer = ask(&app, method, target, &[], "{}").await;
        assert_eq!((answer.status, answer.header("allow")), (StatusCode::METHOD_NOT_ALLOWED, "GET, HEAD"), "{target}");
        guarded(&answer, target);
    }
    let preflight = ask(&app, "OPTIONS", "/api/datasets", &[("origin", "https://a.example")], "").await;
    assert_eq!((preflight.status, preflight.header("access-control-allow-origin")), (StatusCode::NO_CONTENT, "*"));
    let login = get(&app, "/api/whoami-v2").await;
    assert!(login.header("x-error-message").contains("needs no login"));
}

/// A data set whose one table is `size` bytes of noise.
fn large(size: usize) -> (Arc<Memory>, Bytes) {
    let mut dice = Dice::new(size as u64);
    let bytes: Bytes =
        std::iter::repeat_with(|| dice.next().to_le_bytes()).flatten().take(size).collect::<Vec<u8>>().into();
    let memory = Memory::default();
    memory.publish(
        "acequia/large",
        "1.0.0",
        "Large",
        [1, 1, 1],
        BTreeMap::from([("data/all.parquet".into(), bytes.clone())]),
        0,
    );
    (Arc::new(memory), bytes)
}

const LARGE: &str = "/datasets/acequia/large/resolve/main/data/all.parquet";

#[tokio::test]
async fn files_of_any_size_arrive_whole() {
    let chunk = CHUNK_BYTES as usize;
    for size in [0, 1, chunk - 1, chunk, chunk + 1, 2 * chunk, 5 * chunk + 77] {
        let (memory, bytes) = large(size);
        let answer = get(&router(memory), LARGE).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-length"), size.to_string());
        assert!(answer.body == bytes, "{size} bytes");
    }
}

/// Where a whole file, or a whole version, is fetched.
const WHOLE: [&str; 2] = [LARGE, "/datasets/acequia/large/v/1.0.0/bundle.tar"];

#[tokio::test]
async fn damaged_files_never_arrive_whole() {
    let chunk = CHUNK_BYTES as usize;
    for size in [1000, 3 * chunk + 5] {
        for target in WHOLE {
            let (memory, bytes) = large(size);
            let app = router(memory.clone());
            let address = Digest::of(&bytes);
            let fetch = async || {
                let response = app.clone().oneshot(Request::get(target).body(Body::empty()).unwrap()).await.unwrap();
                (response.status(), to_bytes(response.into_body(), usize::MAX).await)
            };
            let mut flipped = bytes.to_vec();
            flipped[size / 2] ^= 1;
            memory.store(address, Some(flipped.into()));
            let (status, body) = fetch().await;
            assert!(status == 503 || body.is_err(), "{target} {size}: a flipped bit passed");
            memory.store(address, Some(bytes.slice(..size / 2)));
            let (status, body) = fetch().await;
            assert!(status == 503 || body.is_err(), "{target} {size}: half a file passed");
            memory.store(address, None);
            let (status, body) = fetch().await;
            assert_eq!(status, 503, "{target} {size}");
            let body = String::from_utf8(body.unwrap().to_vec()).unwrap();
            assert!(body.contains("cannot read this") && !body.contains(&address.to_string()), "{body}");
        }
    }
}

#[tokio::test]
async fn pages_stand_when_the_store_fails() {
    let (app, memory) = app();
    let (_, statistics, _) = file(&memory, "statistics.json");
    memory.store(statistics.sha256, None);
    let page = tabs(&app, DATASET).await;
    assert!(page.contains("The contents of the columns are not stated."));
}

/// A little longer than what failed is left alone.
async fn pause() {
    tokio::time::sleep(std::time::Duration::from_millis(2_200)).await;
}

/// Pages stand with less; what programs keep is not given out with creators, licences or terms that are not the
/// version's own.
#[tokio::test]
async fn no_document_is_made_from_what_could_not_be_read() {
    let (app, memory) = app();
    let (_, croissant, bytes) = file(&memory, "croissant.json");
    let own = |name: &str| format!("/datasets/{DATASET}/v/1.1.0/{name}");
    let documents = [
        own("dcat.ttl"),
        own("datacite.xml"),
        own("schema.jsonld"),
        own("citation.bib"),
        own("linkset.json"),
        own("bundle.tar"),
        "/catalogue.ttl".to_owned(),
        "/oai?verb=ListRecords&metadataPrefix=oai_dc".to_owned(),
        format!("/info?dataset={DATASET}"),
    ];
    memory.store(croissant.sha256, None);
    for target in &documents {
        assert_eq!(get(&app, target).await.status, 503, "{target}");
    }
    let page = get(&app, &format!("/datasets/{DATASET}")).await;
    assert!(page.status == 200 && !page.text().contains("application/ld+json\">{"));
    // These state only what the manifest does.
    for target in ["/oai?verb=ListIdentifiers&metadataPrefix=oai_dc", &own("SHA256SUMS")] {
        assert_eq!(get(&app, target).await.status, 200, "{target}");
    }
    let object = get(&app, &format!("/ga4gh/drs/v1/objects/{}", croissant.sha256)).await;
    assert_eq!(object.json()["size"], croissant.bytes);

    memory.store(croissant.sha256, Some(bytes));
    for target in &documents {
        assert_eq!(get(&app, target).await.status, 200, "{target}");
    }
    let harvested = get(&app, "/oai?verb=ListRecords&metadataPrefix=oai_dc").await.text();
    assert!(harvested.contains("<dc:creator>Acequia</dc:creator>"), "{harvested}");
}

#[tokio::test]
async fn the_search_finds_again_what_could_not_be_read_for_a_moment() {
    let (app, memory) = app();
    let (_, croissant, bytes) = file(&memory, "croissant.json");
    memory.store(croissant.sha256, None);
    let about = "/?condition=breast%20cancer";
    assert!(get(&app, about).await.text().contains("1 of 2 data sets"));
    memory.store(croissant.sha256, Some(bytes));
    pause().await;
    assert!(get(&app, about).await.text().contains("2 of 2 data sets"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_difference_that_could_not_be_computed_is_computed_later() {
    for path in [TRAIN, "croissant.json", "README.md"] {
        let (app, memory) = app();
        let (_, lost, bytes) = file(&memory, path);
        memory.store(lost.sha256, None);
        let target = format!("/api/datasets/{DATASET}/compare/v1.0.0..v1.1.0");
        let answer = loop {
            let answer = get(&app, &target).await;
            if answer.status != 202 {
                break answer;
            }
        };
        assert_eq!(answer.status, 503, "{path}: {}", answer.text());
        assert_eq!(get(&app, &target.replacen("/api", "", 1)).await.status, 503, "{path}");
        memory.store(lost.sha256, Some(bytes));
        pause().await;
        assert_eq!(versions::compared(&app, &target).await["rows"]["compared"], true, "{path}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_range_of_a_large_file_is_the_slice(first in 0u64..900_000, length in 1u64..900_000) {
        let (memory, bytes) = large(3 * CHUNK_BYTES as usize + 1234);
        let size = bytes.len() as u64;
        let range = format!("bytes={first}-{}", first + length - 1);
        let answer = run(ask(&router(memory), "GET", LARGE, &[("range", &range)], ""));
        if first >= size {
            prop_assert_eq!(answer.status, 416);
        } else {
            prop_assert_eq!(answer.status, 206);
            let end = size.min(first + length);
            prop_assert!(answer.body == bytes.slice(first as usize..end as usize));
        }
    }

    #[test]
    fn no_request_makes_the_hub_fail(
        root in prop::sample::select(vec![
            "", "/api", "/api/datasets", "/datasets", "/api/datasets/acequia/sample-survival",
            "/datasets/acequia/sample-survival", "/datasets/acequia/sample-survival/resolve/main",
            "/api/datasets/acequia/sample-survival/tree/main", "/api/datasets/acequia/sample-survival/revision",
            "/datasets/acequia/sample-survival/v", "/assets", "/oai", "/ga4gh/drs/v1/objects", "/catalogue.ttl",
            "/datasets/acequia/sample-survival/v/1.0.0", "/api/datasets/acequia/sample-survival/compare",
        ]),
        parts in prop::collection::vec(prop::sample::select(vec![
            "..", "%2e%2e", "%2E%2E%2f", ".", "", "%00", "%", "%zz", "%ff%fe", "data", "README.md", "~", "etc%2Fpasswd",
            "%5c..%5c", "%F0%9F%92%A7", "a%0d%0ab", "main", "v1.0.0", "C:", "%25252e", "resolve", "SHA256SUMS", "<script>",
        ]), 0..6),
        query in "[a-z&=%+0-9]{0,24}",
        method in prop::sample::select(vec!["GET", "HEAD", "POST", "OPTIONS"]),
    ) {
        let (app, _) = shared();
        let path: String = parts.iter().map(|part| format!("/{part}")).collect();
        let target = format!("{root}{path}?{query}").replace(['<', '>'], "");
        let target = if target.starts_with('/') { target } else { format!("/{target}") };
        if let Ok(uri) = target.parse::<axum::http::Uri>() {
            let request = Request::builder().method(Method::from_bytes(method.as_bytes()).unwrap()).uri(uri);
            let response = run(app.clone().oneshot(request.body(Body::empty()).unwrap())).unwrap();
            prop_assert!(response.status().as_u16() < 500, "{method} {target}: {}", response.status());
            prop_assert!(response.headers().contains_key("content-security-policy"));
        }
    }
}

/// One sample for the many cases of a property.
fn shared() -> &'static (Router, Arc<Memory>) {
    static APP: std::sync::OnceLock<(Router, Arc<Memory>)> = std::sync::OnceLock::new();
    APP.get_or_init(app)
}

#[tokio::test]
async fn hostile_paths_find_nothing() {
    let (app, _) = app();
    let long = format!("/datasets/acequia/sample-survival/resolve/main/{}", "a/".repeat(6000));
    for target in [
        "/datasets/acequia/sample-survival/resolve/main/../../../../etc/passwd",
        "/datasets/acequia/sample-survival/resolve/main/%2e%2e/%2e%2e/etc/passwd",
        "/datasets/acequia/sample-survival/resolve/main/..%2f..%2fetc%2fpasswd",
        "/datasets/acequia/sample-survival/resolve/main/README.md%00.parquet",
        "/datasets/acequia/sample-survival/resolve/main/data/../README.md",
        "/datasets/acequia/sample-survival/resolve/main//README.md",
        "/datasets/acequia/sample-survival/resolve/main/%ff",
        "/datasets/../datasets/acequia/sample-survival",
        "/assets/../style.css",
        "/assets/",
        &long,
    ] {
        let answer = get(&app, target).await;
        assert_eq!(answer.status, 404, "{:.90}", target);
    }
}

#[tokio::test]
async fn the_address_given_out_is_the_readers_or_the_configured_one() {
    let (app, memory) = app();
    let path = format!("/datasets/{DATASET}");
    let page = get(&app, &format!("{path}/v/1.1.0/use")).await.text();
    assert!(page.contains("os.environ[&quot;HF_ENDPOINT&quot;] = &quot;http://node.example:8080&quot;"), "{page}");
    for bad in ["evil.example/<script>", "a b", "x\"onload=", "user@host"] {
        let page = ask(&app, "GET", &path, &[("host", bad)], "").await;
        assert_eq!(page.status, 200);
        assert!(page.text().contains("http://localhost/datasets") && !page.text().contains(bad), "{bad}");
    }
    let fixed = router_at(memory, "https://data.example.org/").unwrap();
    let page = ask(&fixed, "GET", &path, &[("host", "other.example")], "").await;
    assert!(page.text().contains("https://data.example.org/datasets") && !page.text().contains("other.example"));
    let refused = router_at(Arc::new(Memory::default()), "data.example.org").unwrap_err();
    assert_eq!((refused.code(), refused.exit().code()), ("HU006", 2));
}

/// What must hold on every page.
fn well_made(page: &str, what: &str) {
    assert!(page.starts_with("<!DOCTYPE html><html lang=\"en\">"), "{what}");
    assert_eq!(page.matches("<h1").count(), 1, "{what}: one h1");
    for needed in ["<title>", "href=\"#main\"", "<main id=\"main\"", "name=\"viewport\"", "<header", "<footer", "<nav"]
    {
        assert!(page.contains(needed), "{what}: {needed}");
    }
    for banned in [" style=", "<style", "onclick=", "=\"javascript:", " src=\"", "@import"] {
        assert!(!page.contains(banned), "{what}: {banned}");
    }
    assert_eq!(page.matches("<script").count(), page.matches("<script type=\"application/ld+json\"").count(), "{what}");
    assert_eq!(page.matches("<th ").count(), page.matches(" scope=\"").count(), "{what}: th scope");
    assert!(!page.contains("<th>"), "{what}");
    assert_eq!(page.matches("<svg class=\"chart\"").count(), page.matches("role=\"img\"").count(), "{what}");
    assert_eq!(page.matches("<table").count(), page.matches("<caption").count(), "{what}");
    let mut ids: Vec<&str> = page.split(" id=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    ids.sort_unstable();
    let all = ids.len();
    ids.dedup();
    assert_eq!(ids.len(), all, "{what}: ids are unique");
    for reference in ["aria-labelledby=\"", "aria-describedby=\"", "href=\"#"] {
        for id in page.split(reference).skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(ids.binary_search(&id).is_ok(), "{what}: {reference}{id}");
        }
    }
}

#[tokio::test]
async fn pages_are_well_made() {
    let (app, _) = app();
    for target in [
        "/",
        "/?q=nothing-like-this",
        "/datasets/acequia/sample-survival",
        "/datasets/acequia/sample-survival/v/1.0.0",
        "/datasets/commons/synthetic-survival",
        "/problems",
        "/nowhere",
        "/datasets/no/such",
    ] {
        well_made(&get(&app, target).await.text(), target);
    }
    let empty = get(&router(Arc::new(Memory::default())), "/").await.text();
    well_made(&empty, "empty catalogue");
    assert!(empty.contains("Nothing is published here yet."));
}

#[tokio::test]
async fn the_page_says_it_in_plain_words_and_in_numbers() {
    let (app, memory) = app();
    let answer = get(&app, &format!("/datasets/{DATASET}")).await;
    let page = tabs(&app, DATASET).await;
    for said in [
        "at most 1 in 12",
        "age at the operation, histological grade and lymph nodes with cancer",
        "61 of 3,061 people in the cohort were left out",
        "Nobody shares these facts with fewer than 11 others",
        "Real people, de-identified",
        "<dt>people, one row each</dt><dd>3,000</dd>",
        "<dd>1 in 12</dd>",
        "12 people who look the same",
        "finds your row more often: with death in 11\u{a0}% of cases.",
        "1 of them has a limit and stayed within it",
        "Before the data left, 3 attacks were run on the very rows that are published: to find a person's row and guess",
        "hidden",
        "Each row is one woman who had an operation.",
        "<li>Teaching of survival models</li>",
        "<li>Deciding about a patient</li>",
        "<li>Ages are bands.</li>",
        "1978 to 2026",
        "You can take your consent back at any time",
        "revision=&quot;v1.1.0&quot;",
        "SHA256SUMS",
        "Exit seal",
        "schema.org",
    ] {
        assert!(page.contains(said), "{said}");
    }
    let (commit, parquet, _) = file(&memory, TRAIN);
    assert!(page.contains(&parquet.sha256.to_string()) && page.contains(&commit));
    let links = answer.header("link");
    for rel in ["cite-as", "describedby", "license", "item", "type"] {
        assert!(links.contains(&format!("rel=\"{rel}\"")), "{rel}: {links}");
    }
    let card = answer.text();
    let block = card.split("<script type=\"application/ld+json\">").nth(1).unwrap().split("</script>").next().unwrap();
    let described: Value = serde_json::from_str(block).unwrap();
    assert_eq!(described["@type"], "Dataset");
    assert_eq!(described["distribution"].as_array().unwrap().len(), 3);
    let sums = get(&app, &format!("/datasets/{DATASET}/v/1.1.0/SHA256SUMS")).await.text();
    assert!(sums.contains(&format!("{}  {TRAIN}\n", parquet.sha256)));
    let old = get(&app, &format!("/datasets/{DATASET}/v/1.0.0")).await.text();
    assert!(old.contains("There is a newer one"));
    let synthetic = tabs(&app, "commons/synthetic-survival").await;
    assert!(synthetic.contains("none of them is a real person"));
    assert!(synthetic.contains("<dt>synthetic rows</dt><dd>1,000</dd>"));
    let croissant = get(&app, &format!("/api/datasets/{DATASET}/croissant")).await.json();
    let expected = format!("http://node.example:8080/datasets/{DATASET}/resolve/{commit}/{TRAIN}");
    assert!(croissant["distribution"].as_array().unwrap().iter().any(|file| file["contentUrl"] == expected));
}

#[tokio::test]
async fn search_on_the_front_page() {
    let (app, _) = app();
    let found = get(&app, "/?q=acequia").await.text();
    assert!(found.contains("1 of 2 data sets for") && found.contains("/datasets/acequia/sample-survival"));
    assert!(!found.contains("/datasets/commons/"));
    // Facets: values with counts, chosen ones stay chosen, and counts say what another choice would give.
    let narrowed = get(&app, "/?q=surviv&kind=synthetic").await.text();
    well_made(&narrowed, "facets");
    for said in [
        "1 of 2 data sets for “surviv”",
        "/datasets/commons/synthetic-survival",
        "name=\"kind\" value=\"synthetic\" checked",
        "real people, de-identified <span class=\"count\">1</span>",
        "<a href=\"/?q=surviv\">Clear</a>",
    ] {
        assert!(narrowed.contains(said), "{said}");
    }
    assert!(!narrowed.contains("<h3><a href=\"/datasets/acequia/"));
    let either =
        get(&app, "/?kind=synthetic&kind=real%20people,%20de-identified&condition=breast%20cancer").await.text();
    assert!(either.contains("2 of 2 data sets"));
    assert!(get(&app, "/?licence=none").await.text().contains("0 of 2 data sets"));
    // The figures are sums over what the data sets state; synthetic rows are nobody's.
    let all = get(&app, "/").await.text();
    for said in [
        "<dt>open data sets</dt><dd>2</dd>",
        "<dt>rows of people in them</dt><dd>3,000</dd>",
        "<dt>highest chance to pick out a person</dt><dd>1 in 12</dd>",
        "import os\nos.environ[&quot;HF_ENDPOINT&quot;] = &quot;http://node.example:8080&quot;\nfrom datasets import load_dataset",
    ] {
        assert!(all.contains(said), "{said}");
    }
    let hostile = get(&app, "/?q=%22%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E").await.text();
    assert!(!hostile.contains("<script>alert"));
    well_made(&hostile, "hostile search");
    let many = Memory::default();
    for at in 0..45 {
        many.publish(&format!("acequia/set-{at:02}"), "1.0.0", &format!("Set {at}"), [1, 1, 1], BTreeMap::new(), at);
    }
    let app = router(Arc::new(many));
    let first = get(&app, "/").await.text();
    assert!(
        first.contains("<dt>open data sets</dt><dd>45</dd>")
            && first.contains("Page 1 of 3")
            && first.contains("/datasets/acequia/set-44")
    );
    let last = get(&app, "/?q=Set&page=3").await.text();
    assert_eq!(last.matches("<li class=\"card\">").count(), 5);
    assert!(last.contains("/?q=Set&amp;page=2"));
}

#[tokio::test]
async fn text_of_a_data_set_never_becomes_markup() {
    let memory = Memory::default();
    let evil = "</script><script>alert(1)</script><img src=x onerror=y>";
    let statistics = json!({"splits": [{"name": evil, "rows": 20}], "minimum_cell": 12, "columns": [{"name": evil, "title": evil,
        "kind": "category", "bins": [{"label": evil, "counts": {(evil): 15}}]}]});
    let dictionary = json!({"columns": [{"name": evil, "title": evil, "description": evil, "generalisation": evil,
        "values": {(evil): evil}, "equivalent": ["javascript:alert(1)"]}]});
    let files = BTreeMap::from([
        ("statistics.json".to_owned(), Bytes::from(statistics.to_string())),
        ("dictionary.json".to_owned(), Bytes::from(dictionary.to_string())),
    ]);
    memory.publish("acequia/evil", "1.0.0", evil, [20, 0, 0], files, 0);
    let app = router(Arc::new(memory));
    for page in [get(&app, "/").await.text(), tabs(&app, "acequia/evil").await] {
        assert!(!page.contains("<script>") && !page.contains("<img") && !page.contains("href=\"javascript"));
    }
}

#[tokio::test]
async fn a_version_that_says_nothing_is_not_stated() {
    let memory = Memory::default();
    memory.publish("acequia/bare", "1.0.0", "Bare", [1, 1, 1], BTreeMap::new(), 0);
    let app = router(Arc::new(memory));
    let page = tabs(&app, "acequia/bare").await;
    for said in [
        "Real or synthetic: not stated",
        "<dt>highest chance to pick out a person</dt><dd>not stated</dd>",
        "The contents of the columns are not stated.",
        "The risk of being recognised is not stated for this version.",
        "Not stated for this version.",
    ] {
        assert!(page.contains(said), "{said}");
    }
    let info = get(&app, "/api/datasets/acequia/bare").await.json();
    assert_eq!(info["cardData"], json!({"license": "cc-by-4.0", "pretty_name": "Bare"}));
    let croissant = get(&app, "/api/datasets/acequia/bare/croissant").await;
    assert_eq!((croissant.status, croissant.header("x-error-code")), (StatusCode::NOT_FOUND, "EntryNotFound"));
}

/// Every place in a JSON document, as a pointer.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Array(list) => {
            // The first entries are enough: the others are read by the same code.
            list.iter().enumerate().take(2).for_each(|(i, v)| places(v, &format!("{at}/{i}"), found));
        }
        Value::Object(map) => map.iter().for_each(|(k, v)| places(v, &format!("{at}/{k}"), found)),
        _ => {}
    }
}

#[tokio::test]
async fn odd_documents_never_break_a_page() {
    let (_, memory) = app();
    let odd =
        [json!(null), json!("x"), json!(-1), json!(1e300), json!([]), json!({}), json!(u64::MAX), json!([[null]])];
    let mut pages = 0;
    for document in ["statistics.json", "dictionary.json", "risk.json", "diversity.json"] {
        let (_, _, bytes) = file(&memory, document);
        let good: Value = serde_json::from_slice(&bytes).unwrap();
        let mut all = Vec::new();
        places(&good, "", &mut all);
        for (at, place) in all.iter().enumerate() {
            let mut changed = good.clone();
            *changed.pointer_mut(place).unwrap() = odd[at % odd.len()].clone();
            let mut files = BTreeMap::new();
            for other in ["statistics.json", "dictionary.json", "risk.json", "diversity.json"] {
                let bytes = if other == document { Bytes::from(changed.to_string()) } else { file(&memory, other).2 };
                files.insert(other.to_owned(), bytes);
            }
            let one = Memory::default();
            one.publish("acequia/odd", "1.0.0", "Odd", [1, 1, 1], files, 0);
            assert!(!tabs(&router(Arc::new(one)), "acequia/odd").await.is_empty(), "{document} {place}");
            pages += 1;
        }
    }
    assert!(pages > 200, "{pages}");
}

#[tokio::test]
async fn assets_are_kept_for_ever() {
    let (app, _) = app();
    let page = get(&app, "/").await.text();
    let style = page.split("rel=\"stylesheet\" href=\"").nth(1).unwrap().split('"').next().unwrap();
    let answer = get(&app, style).await;
    assert_eq!((answer.status, answer.header("content-type")), (StatusCode::OK, "text/css; charset=utf-8"));
    assert_eq!(answer.header("cache-control"), "public, max-age=31536000, immutable");
    assert!(style.contains(&Digest::of(&answer.body).short(12)));
    assert!(!answer.text().contains("url(") && !answer.text().contains("@import"));
}

#[tokio::test]
async fn a_version_published_while_serving_is_there_at_once() {
    let (app, memory) = app();
    let before = get(&app, &format!("/api/datasets/{DATASET}")).await.json()["sha"].clone();
    memory.publish(DATASET, "1.2.0", "Survival", [1, 1, 1], BTreeMap::new(), 1_799_000_000);
    let after = get(&app, &format!("/api/datasets/{DATASET}")).await.json()["sha"].clone();
    assert_ne!(before, after);
    let old = get(&app, &format!("/api/datasets/{DATASET}/revision/{}", before.as_str().unwrap())).await;
    assert_eq!(old.json()["sha"], before);
}

#[tokio::test]
async fn a_mirrored_version_says_whose_it_is_and_is_otherwise_the_same() {
    let (app, memory) = app();
    let target = format!("/datasets/{DATASET}/v/1.0.0");
    let file = format!("/datasets/{DATASET}/resolve/v1.0.0/README.md");
    let before = get(&app, &file).await;
    assert!(!get(&app, &target).await.text().contains("mirrored here"));
    let web = Some("https://data.example.org".to_owned());
    let mirrored = Mirrored { by: "Leiden <b>".into(), web, at: Timestamp::from_unix_s(1_799_000_000) };
    memory.mirror(DATASET, "1.0.0", &mirrored);
    let page = get(&app, &target).await;
    guarded(&page, "a mirrored version");
    well_made(&page.text(), "a mirrored version");
    let said = "Published by <a href=\"https://data.example.org\" rel=\"noopener\">Leiden &lt;b&gt;</a>, mirrored here since 2027-01-03.";
    assert!(page.text().contains(said));
    let after = get(&app, &file).await;
    assert_eq!((before.body, before.headers["etag"].clone()), (after.body, after.headers["etag"].clone()));
    // Harvesters that ask for what changed since the day before find it.
    let listed = get(&app, "/oai?verb=ListIdentifiers&metadataPrefix=oai_dc&from=2027-01-03").await.text();
    assert!(listed.contains(DATASET), "{listed}");
    memory.mirror(DATASET, "1.1.0", &Mirrored { web: None, ..mirrored });
    assert!(get(&app, "/").await.text().contains("Mirrored from Leiden &lt;b&gt;"));
}

#[tokio::test]
async fn what_neighbours_publish_is_on_a_page_of_its_own() {
    let (app, memory) = app();
    let none = get(&app, "/network").await;
    well_made(&none.text(), "no neighbours");
    assert!(none.text().contains("knows of no other node"));
    let version = |number: usize, state: NeighbourState| NeighbourVersion {
        artefact: Artefact::Dataset,
        dataset: DatasetName::parse("leiden/stay").unwrap(),
        version: format!("{number}.0.0"),
        title: (number > 1).then(|| format!("Stay <i>{number}</i>")),
        summary: None,
        published_at: Timestamp::from_unix_s(1_799_000_000),
        state,
    };
    let mut versions: Vec<NeighbourVersion> = (1..=44).rev().map(|at| version(at, NeighbourState::Known)).collect();
    versions[0].state = NeighbourState::Mirrored;
    versions[1].state = NeighbourState::TakenDown;
    let neighbour = |name: &str, web: Option<&str>, refused: bool, versions: &[NeighbourVersion]| Neighbour {
        name: name.into(),
        title: web.map(|_| "Leiden".into()),
        web: web.map(str::to_owned),
        heard_at: web.map(|_| Timestamp::from_unix_s(1_799_000_000)),
        refused,
        versions: versions.to_vec(),
    };
    let all = [
        neighbour("leiden", Some("https://data.example.org"), false, &versions),
        neighbour("quiet", None, true, &versions[43..]),
    ];
    *memory.neighbours.write().unwrap() = Arc::new(all.to_vec());
    let page = get(&app, "/network").await;
    guarded(&page, "the network");
    well_made(&page.text(), "the network");
    for said in [
        "43 versions, 1 of them mirrored here.",
        "<a href=\"/datasets/leiden/stay/v/44.0.0\">Stay &lt;i&gt;44&lt;/i&gt;</a>",
        "<a href=\"https://data.example.org/datasets/leiden/stay/v/42.0.0\" rel=\"noopener\">",
        "All 43 versions",
        "contradicts what it told before",
        "It was not heard yet.",
    ] {
        assert!(page.text().contains(said), "{said}: {}", page.text());
    }
    assert!(!page.text().contains("/v/43.0.0"), "what was taken down is not listed");
    let last = get(&app, "/network?of=leiden&page=3").await;
    well_made(&last.text(), "the last page");
    assert!(
        last.text().contains("Page 3 of 3") && last.text().contains("/v/2.0.0") && !last.text().contains("/v/42.0.0")
    );
    for nowhere in ["/network?of=leiden&page=4", "/network?of=leiden&page=0", "/network?of=nobody", "/network?page=2"] {
        assert_eq!(get(&app, nowhere).await.status, 404, "{nowhere}");
    }
}

#[tokio::test]
async fn a_version_taken_down_leaves_a_page_and_no_files() {
    let (app, memory) = app();
    memory.publish(DATASET, "1.2.0", "Survival", [1, 1, 1], BTreeMap::new(), 1_799_000_000);
    let commit = get(&app, &format!("/api/datasets/{DATASET}/revision/v1.0.0")).await.json()["sha"].clone();
    let kept = format!("/datasets/{DATASET}/resolve/{}/README.md", commit.as_str().unwrap());
    let tag = get(&app, &kept).await.header("etag").to_owned();
    assert_eq!(ask(&app, "GET", &kept, &[("if-none-match", &tag)], "").await.status, 304);
    memory.take_down(DATASET, "1.0.0", Some("1.2.0"));
    let links = format!(
        "</datasets/{DATASET}/v/1.0.0>; rel=\"describedby\"; type=\"text/html\", </datasets/{DATASET}/v/1.2.0>; rel=\"successor-version\""
    );
    let again = ask(&app, "GET", &kept, &[("if-none-match", &tag)], "").await;
    assert_eq!((again.status.as_u16(), again.header("cache-control")), (410, "no-cache"));
    for revision in ["v1.0.0", "1.0.0", commit.as_str().unwrap()] {
        for target in [
            format!("/datasets/{DATASET}/resolve/{revision}/README.md"),
            format!("/datasets/{DATASET}/raw/{revision}/manifest.json"),
            format!("/api/datasets/{DATASET}/revision/{revision}"),
            format!("/api/datasets/{DATASET}/tree/{revision}"),
            format!("/api/datasets/{DATASET}/croissant/{revision}"),
            format!("/api/datasets/{DATASET}/compare/{revision}..main"),
            format!("/datasets/{DATASET}/v/{revision}/croissant.json"),
            format!("/datasets/{DATASET}/v/{revision}/bundle.tar"),
            format!("/datasets/{DATASET}/v/{revision}/manifest.json"),
        ] {
            let answer = get(&app, &target).await;
            assert_eq!(answer.status, 410, "{target}");
            assert_eq!(answer.header("x-error-code"), "RevisionNotFound", "{target}");
            assert_eq!(answer.json()["successor"], "1.2.0", "{target}");
            assert_eq!(answer.json()["page"], format!("/datasets/{DATASET}/v/1.0.0"), "{target}");
            assert_eq!(answer.header("link"), links, "{target}");
        }
        assert_eq!(get(&app, &format!("/datasets/{DATASET}/v/{revision}/SHA256SUMS")).await.status, 410);
    }
    let page = get(&app, &format!("/datasets/{DATASET}/v/1.0.0")).await;
    assert_eq!(page.status, 410);
    guarded(&page, "a tombstone");
    well_made(&page.text(), "a tombstone");
    assert_eq!(page.header("link"), links);
    for needed in ["withdrew", "In its place is <a href=\"/datasets/acequia/sample-survival/v/1.2.0", "CC-BY-4.0"] {
        assert!(page.text().contains(needed), "{needed}");
    }
    assert!(page.text().contains("cannot be called back") && !page.text().contains("The newest version"));
    // A page for people about two versions leads there too.
    let compared = get(&app, &format!("/datasets/{DATASET}/compare/1.0.0..1.1.0")).await;
    assert_eq!((compared.status.as_u16(), compared.header("link")), (410, links.as_str()));
    well_made(&compared.text(), "a comparison with a version that was taken down");
    for needed in ["href=\"/datasets/acequia/sample-survival/v/1.0.0\"", "/v/1.2.0"] {
        assert!(compared.text().contains(needed), "{needed}");
    }
    let versions = get(&app, &format!("/datasets/{DATASET}/v/1.2.0/versions")).await.text();
    assert!(versions.contains("not served any more since 2027-01-04") && versions.contains("its page stays"));
    let commits = get(&app, &format!("/api/datasets/{DATASET}/commits/main")).await.json();
    let of =
        |name: &str| -> Vec<Value> { commits.as_array().unwrap().iter().map(|commit| commit[name].clone()).collect() };
    assert_eq!(of("title"), ["Version 1.2.0", "Version 1.1.0", "Version 1.0.0, not served any more"]);
    let down = json!({
        "at": "2027-01-04T22:00:00.000Z", "reason": "People whose data were in it withdrew.", "successor": "1.2.0"
    });
    assert_eq!(of("takenDown"), [Value::Null, Value::Null, down]);
    assert_eq!(get(&app, &format!("/datasets/{DATASET}")).await.status, 200);
    assert!(!get(&app, &format!("/api/datasets/{DATASET}/refs")).await.text().contains("v1.0.0"));

    // Without one in its place, the page names the newest that is served, and promises nothing more.
    memory.take_down(DATASET, "1.1.0", None);
    let page = get(&app, &format!("/datasets/{DATASET}/v/1.1.0")).await.text();
    assert!(page.contains("The newest version that is served is <a") && !page.contains("in its place"), "{page}");
    // When none is served, the data set is in no list; its page still says what it was.
    memory.take_down(DATASET, "1.2.0", None);
    let page = get(&app, &format!("/datasets/{DATASET}")).await;
    assert!(page.status == 410 && page.text().contains("No version of this data set is served any more."));
    assert!(!page.header("link").contains("successor-version"));
    assert_eq!(get(&app, &format!("/api/datasets/{DATASET}")).await.status, 410);
    assert_eq!(get(&app, &format!("/splits?dataset={DATASET}")).await.status, 410);
    for list in ["/", "/api/datasets", "/sitemap.xml", "/catalogue.ttl"] {
        let listed = get(&app, list).await;
        assert!(listed.status == 200 && !listed.text().contains(DATASET), "{list}");
    }
}

/// A manifest of one small file.
fn manifest(name: &str, version: &str, title: &str, path: &str) -> Manifest {
    Manifest {
        schema: "acequia-release/1".into(),
        artefact: Artefact::Dataset,
        dataset: DatasetName::parse(name).unwrap(),
        version: version.into(),
        title: title.into(),
        summary: String::new(),
        license: "CC0-1.0".into(),
        terms: Default::default(),
        released_on: parse_day("2026-01-01").unwrap(),
        program: String::new(),
        recipe: Digest::of(b""),
        seed: 0,
        inputs: vec![],
        splits: vec![],
        files: vec![ReleasedFile::of(path, b"x")],
    }
}

/// The index of a large shelf is renewed in the background; what was taken down meanwhile is in no list even so.
#[tokio::test]
async fn an_older_index_lists_nothing_that_was_taken_down() {
    let memory = Arc::new(Memory::default());
    let name = |at: usize| format!("acequia/set-{at:04}");
    let all: Vec<Manifest> = (0..2_001).map(|at| manifest(&name(at), "1.0.0", "Set", "a.txt")).collect();
    memory.shelve_all(&all, 0);
    let app = router(memory.clone());
    let targets = ["/?q=0007", "/api/datasets?search=set-0007"];
    for target in targets {
        assert!(get(&app, target).await.text().contains(&name(7)), "{target}");
    }
    memory.take_down(&name(7), "1.0.0", None);
    for target in targets {
        let answer = get(&app, target).await;
        assert!(answer.status == 200 && !answer.text().contains(&name(7)), "{target}");
    }
}

#[test]
fn a_shelf_refuses_what_must_not_be_served() {
    let manifest = |version: &str, title: &str, path: &str| manifest("acequia/x", version, title, path);
    let shelf =
        |manifests: &[Manifest]| Shelf::of(manifests.iter().map(|manifest| Arc::new(sample::sealed(manifest, 0))));
    let one = manifest("1.0.0", "One", "a.txt");
    assert_eq!(shelf(&[one.clone(), one.clone()]).unwrap().len(), 1, "the same version twice is one");
    let two = shelf(&[one.clone(), manifest("v1.0.0", "Two", "a.txt")]).unwrap_err();
    assert!(matches!(two, HubError::TwoManifests { .. }));
    assert_eq!((two.code(), two.exit().code()), ("HU004", 6));
    assert_eq!(two.to_string(), "acequia/x has two different versions numbered v1.0.0");
    for bad in ["/etc/passwd", "../x", "a/../b", "a//b", "", ".", "a\\b", "c:x", "a\u{0}", "manifest.json"] {
        let refused = shelf(&[manifest("1.0.0", "One", bad)]).unwrap_err();
        assert!(matches!(refused, HubError::Path { position: 1, .. }), "{bad}");
        assert!(bad.len() < 4 || !refused.to_string().contains(bad), "{refused}");
    }
    let order: Vec<String> =
        shelf(&[manifest("1.10.0", "C", "a"), manifest("1.2.0", "B", "a"), manifest("1.9.0", "A", "a")])
            .unwrap()
            .served()
            .map(|version| version.manifest().version.clone())
            .collect();
    assert_eq!(order, ["1.2.0", "1.9.0", "1.10.0"]);
}

#[tokio::test]
async fn what_the_promises_do_not_cover_is_said() {
    let (_, memory) = app();
    let document = |path: &str| -> Value { serde_json::from_slice(&file(&memory, path).2).unwrap() };
    let (mut risk, mut statistics) = (document("risk.json"), document("statistics.json"));
    let (dictionary, mut diversity) = (document("dictionary.json"), document("diversity.json"));
    risk["models"]
        .as_array_mut()
        .unwrap()
        .push(json!({"name": "distinct l-diversity of event", "parameter": null, "held": true, "measured": 1.0}));
    statistics["columns"][1]["bins"] =
        json!([{"label": "*", "value": "*", "counts": {"train": 2100, "validation": 450, "test": 450}}]);
    statistics["columns"][3]["bins"][12]["high"] = Value::Null;
    diversity["dimensions"][0]["cells"] = json!([{"label": "*", "value": "*", "count": 3000, "share": 1.0}]);
    let files = BTreeMap::from([
        ("risk.json".to_owned(), Bytes::from(risk.to_string())),
        ("statistics.json".to_owned(), Bytes::from(statistics.to_string())),
        ("dictionary.json".to_owned(), Bytes::from(dictionary.to_string())),
        ("diversity.json".to_owned(), Bytes::from(diversity.to_string())),
    ]);
    let one = Memory::default();
    one.publish("acequia/one", "1.0.0", "One", [2100, 450, 450], files, 0);
    let page = tabs(&router(Arc::new(one)), "acequia/one").await;
    for said in [
        "everybody has the same value of death",
        "measured only",
        "Left out to protect people: every row says *.",
        "Left out of the data to protect people, so its groups cannot be compared.",
        "Some counts are hidden.",
        ">3000+<",
    ] {
        assert!(page.contains(said), "{said}");
    }
    let usual = tabs(&app().0, DATASET).await;
    assert!(!usual.contains("What these promises do not cover"));
}

#[tokio::test]
async fn the_seal_of_a_copy_can_be_checked() {
    let (app, memory) = app();
    let version = newest(&memory.shelf());
    let served = get(&app, &format!("/datasets/{DATASET}/v/1.1.0/seal.json")).await;
    let seal: SealFile = serde_json::from_slice(&served.body).unwrap();
    assert!(seal.holds(&version.digest()) && !seal.holds(&Digest::of(b"another")));
    let other = GateKey::from_secret(&[9; 32]).verifier().to_hex();
    assert!(!SealFile { key: other, ..seal.clone() }.holds(&version.digest()));
    assert!(!SealFile { seal: ExitSeal::from_text("00".repeat(64)), ..seal }.holds(&version.digest()));
    let bundle = get(&app, &format!("/datasets/{DATASET}/v/1.1.0/bundle.tar")).await;
    let name = b"sample-survival-1.1.0/seal.json";
    assert!(bundle.body.windows(name.len()).any(|part| part == name));
}

#[tokio::test]
async fn words_and_conditions_choose_rows_on_the_page() {
    let (app, _) = app();
    let data = async |query: &str| get(&app, &format!("/datasets/{DATASET}/v/1.1.0/data?{query}")).await.text();
    let all = data("split=test").await;
    assert!(all.contains("Rows 1 to 50 of 450 in test") && all.contains("name=\"where\""));
    let told = get(&app, &format!("/filter?dataset={DATASET}&split=test&where=%22time_days%22%3E1000")).await.json();
    let found = told["num_rows_total"].as_u64().unwrap();
    let some = data("split=test&where=%22time_days%22%3E1000").await;
    assert!(some.contains(&format!("of {found} rows that fit, of 450 in test")), "{found}");
    assert!(
        some.contains("row=50") && some.contains("where=%22time_days%22%3E1000"),
        "the next page keeps the condition"
    );
    let next = data("split=test&where=%22time_days%22%3E1000&row=50").await;
    assert!(next.contains("Rows 51 to "));
    let words = get(&app, &format!("/search?dataset={DATASET}&split=test&query=grade")).await.json();
    let page = data("split=test&q=grade").await;
    match words["num_rows_total"].as_u64().unwrap() {
        0 => assert!(page.contains("No row in test fits.")),
        found => assert!(page.contains(&format!("of {found} row"))),
    }
    let wrong = data("split=test&where=%3Cscript%3E").await;
    assert!(wrong.contains("role=\"alert\"") && !wrong.contains("<script>"));
    assert!(data("where=%22nothing%22%3D1").await.contains("role=\"alert\""));
}
