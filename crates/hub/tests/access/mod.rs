//! Versions whose rows are not open: what everybody reads, and what only who keeps the terms reads.

use std::collections::BTreeMap;
use std::sync::Arc;

use acequia_custody::{Conditions, DuoTerm};
use acequia_hub::{Admission, Admits, PublishedVersion, Reader, router};
use axum::Router;
use axum::http::StatusCode;
use serde_json::json;

use crate::sample::{self, Memory};
use crate::{DATASET, TRAIN, ask, get, newest};
use acequia_hub::Catalogue;

/// Answers the same about every version.
struct Always(Admission);

impl Admits for Always {
    fn admits(&self, _: &PublishedVersion) -> Admission {
        self.0
    }
}

/// The sample, of which the newest version is under `terms`; read by who is admitted so, or by nobody that the hub knows.
fn gated(terms: &[DuoTerm], admission: Option<Admission>) -> (Router, Arc<Memory>) {
    let memory = Arc::new(sample::sample());
    memory.bind(DATASET, "1.1.0", &Conditions { duo: terms.iter().copied().collect(), ..Conditions::default() });
    let hub = router(memory.clone());
    let hub = match admission {
        Some(admission) => hub.layer(axum::Extension(Reader(Arc::new(Always(admission))))),
        None => hub,
    };
    (hub, memory)
}

/// Every address under which rows of the version leave the hub.
fn addresses(memory: &Memory) -> Vec<String> {
    let version = newest(&memory.shelf());
    let sha256 = version.files()[TRAIN].sha256;
    let commit = version.commit();
    let mut all: Vec<String> = [
        format!("/datasets/{DATASET}/resolve/main/{TRAIN}"),
        format!("/datasets/{DATASET}/raw/v1.1.0/{TRAIN}"),
        format!("/datasets/{DATASET}/resolve/{commit}/{TRAIN}"),
        format!("/datasets/{DATASET}/v/1.1.0/{TRAIN}"),
        format!("/datasets/{DATASET}/v/1.1.0/bundle.tar"),
        format!("/first-rows?dataset={DATASET}&config=default&split=train"),
        format!("/rows?dataset={DATASET}&config=default&split=train"),
        format!("/filter?dataset={DATASET}&config=default&split=train&where=%22time_days%22%3E1000"),
        format!("/search?dataset={DATASET}&config=default&split=train&query=a"),
        format!("/ga4gh/drs/v1/objects/{sha256}/access/rows"),
        format!("/api/datasets/{DATASET}/auth-check"),
    ]
    .into();
    all.sort();
    all
}

#[tokio::test]
async fn rows_are_for_who_is_admitted_and_descriptions_for_everybody() {
    let cases = [
        (None, StatusCode::UNAUTHORIZED),
        (Some(Admission::Unknown), StatusCode::UNAUTHORIZED),
        (Some(Admission::Refused), StatusCode::FORBIDDEN),
    ];
    for (admission, status) in cases {
        let (app, memory) = gated(&[DuoTerm::NotCommercial], admission);
        for address in addresses(&memory) {
            for method in ["GET", "HEAD"] {
                let answer = ask(&app, method, &address, &[("accept", "application/json")], "").await;
                assert_eq!(answer.status, status, "{method} {address}");
                assert_eq!(answer.header("x-error-code"), "GatedRepo", "{method} {address}");
                assert!(answer.header("link").contains("/datasets/acequia/sample-survival/access"), "{address}");
                assert!(answer.header("www-authenticate") == "Bearer" || status != StatusCode::UNAUTHORIZED);
            }
        }
        // A range, and what a client has already, are no way round.
        for header in [("range", "bytes=0-3"), ("if-none-match", "*")] {
            let address = format!("/datasets/{DATASET}/resolve/main/{TRAIN}");
            assert_eq!(ask(&app, "GET", &address, &[header], "").await.status, status, "{header:?}");
        }
        let tag = newest(&memory.shelf()).files()[TRAIN].sha256.to_string();
        let address = format!("/datasets/{DATASET}/resolve/main/{TRAIN}");
        assert_eq!(ask(&app, "GET", &address, &[("if-none-match", &tag)], "").await.status, status);
        for open in [
            format!("/datasets/{DATASET}"),
            format!("/datasets/{DATASET}/v/1.1.0/governance"),
            format!("/datasets/{DATASET}/resolve/main/README.md"),
            format!("/datasets/{DATASET}/resolve/main/croissant.json"),
            format!("/datasets/{DATASET}/resolve/main/manifest.json"),
            format!("/api/datasets/{DATASET}"),
            format!("/api/datasets/{DATASET}/tree/main?recursive=true"),
            format!("/statistics?dataset={DATASET}&config=default&split=train"),
            format!("/datasets/{DATASET}/v/1.1.0/dcat.ttl"),
            "/".to_owned(),
        ] {
            assert_eq!(get(&app, &open).await.status, StatusCode::OK, "{open}");
        }
        // What is not there is told before anybody signs in for it, and other versions stay as open as they were.
        let absent = get(&app, &format!("/datasets/{DATASET}/resolve/main/absent.parquet")).await;
        assert_eq!((absent.status, absent.header("x-error-code")), (StatusCode::NOT_FOUND, "EntryNotFound"));
        let older = get(&app, &format!("/datasets/{DATASET}/resolve/v1.0.0/{TRAIN}")).await;
        assert_eq!(older.status, StatusCode::OK);
        let page = get(&app, &format!("/datasets/{DATASET}/v/1.1.0/data")).await;
        assert!(!page.text().contains("<caption>Rows of train"), "no row on the page");
        assert!(page.text().contains("How to get access"));
    }
}

#[tokio::test]
async fn who_is_admitted_reads_and_nobody_keeps_it_for_others() {
    let (app, memory) = gated(&[DuoTerm::Ethics], Some(Admission::Granted));
    let bytes = memory.read(&newest(&memory.shelf()).files()[TRAIN].sha256, 0..u64::MAX).unwrap();
    let whole = get(&app, &format!("/datasets/{DATASET}/resolve/main/{TRAIN}")).await;
    assert_eq!((whole.status, &whole.body), (StatusCode::OK, &bytes));
    for address in addresses(&memory) {
        let answer = get(&app, &address).await;
        assert_eq!(answer.status, StatusCode::OK, "{address}");
        assert_eq!(answer.header("cache-control"), "private, no-cache", "{address}");
        let vary: Vec<_> = answer.headers.get_all("vary").iter().filter_map(|value| value.to_str().ok()).collect();
        assert!(vary.iter().any(|value| value.contains("Authorization")), "{address}: {vary:?}");
    }
    let page = get(&app, &format!("/datasets/{DATASET}/v/1.1.0/data")).await;
    assert!(page.text().contains("Rows of train"));
    assert_eq!(page.header("cache-control"), "private, no-cache");
    let sha256 = newest(&memory.shelf()).files()[TRAIN].sha256;
    let access = get(&app, &format!("/ga4gh/drs/v1/objects/{sha256}/access/rows")).await.json();
    assert!(access["url"].as_str().unwrap().ends_with(TRAIN));
}

#[tokio::test]
async fn clients_and_catalogues_are_told_the_tier() {
    let tiers = [
        (DuoTerm::NotCommercial, "auto", "who signs in and promises"),
        (DuoTerm::Ethics, "manual", "who was granted access"),
    ];
    for (term, gated_as, words) in tiers {
        let (app, memory) = gated(&[term], None);
        let info = get(&app, &format!("/api/datasets/{DATASET}")).await.json();
        assert_eq!(info["gated"], json!(gated_as));
        let older = get(&app, &format!("/api/datasets/{DATASET}/revision/v1.0.0")).await.json();
        assert_eq!(older["gated"], json!(false));
        let names = |answer: crate::Answer| -> Vec<String> {
            answer.json().as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(names(get(&app, "/api/datasets?gated=true").await), [DATASET]);
        assert_eq!(names(get(&app, "/api/datasets?gated=false").await), ["commons/synthetic-survival"]);
        assert_eq!(get(&app, "/api/datasets").await.json().as_array().unwrap().len(), 2);
        let turtle = get(&app, &format!("/datasets/{DATASET}/v/1.1.0/dcat.ttl")).await.text();
        assert!(turtle.contains("access-right/RESTRICTED") && !turtle.contains("access-right/PUBLIC"));
        let page = get(&app, &format!("/datasets/{DATASET}")).await.text();
        assert!(page.contains(words), "the page says who may read the rows");
        let sha256 = newest(&memory.shelf()).files()[TRAIN].sha256;
        let object = get(&app, &format!("/ga4gh/drs/v1/objects/{sha256}")).await.json();
        let methods: BTreeMap<String, serde_json::Value> =
            serde_json::from_value(object["access_methods"][0].clone()).unwrap();
        assert!(methods.contains_key("access_id") && !methods.contains_key("access_url"));
    }
}

#[tokio::test]
async fn bytes_that_are_open_in_another_version_stay_open_there() {
    let memory = Arc::new(sample::sample());
    let version = newest(&memory.shelf());
    // The same files once more, under terms, as a version that is found first.
    let mut bound = version.manifest().clone();
    bound.version = "0.9.0".to_owned();
    bound.terms = Conditions { duo: [DuoTerm::Ethics].into(), ..Conditions::default() };
    memory.shelve(&bound, 1_700_000_000);
    let app = router(memory.clone());
    let sha256 = version.files()[TRAIN].sha256;
    let object = get(&app, &format!("/ga4gh/drs/v1/objects/{sha256}")).await.json();
    let url = object["access_methods"][0]["access_url"]["url"].as_str().unwrap();
    assert_eq!(get(&app, url.strip_prefix("http://node.example:8080").unwrap()).await.status, StatusCode::OK);
    let closed = get(&app, &format!("/datasets/{DATASET}/resolve/v0.9.0/{TRAIN}")).await;
    assert_eq!(closed.status, StatusCode::UNAUTHORIZED);
}
