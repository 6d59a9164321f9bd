//! What the metadata routes take in a large catalogue: `cargo bench --workspace --bench metadata`
//!
//! A shelf with 100,000 data sets, one of which has 10,000 files; requests go to the router in the process, one at a time, without the
//! network. Printed are the median and the 95th percentile of the wall time of each route in milliseconds. The goals: 2 ms for metadata,
//! and 30 ms for the whole tree of the 10,000 files, which clients read in ten pages.

use std::sync::Arc;
use std::time::Instant;

use acequia_gate::{Artefact, Manifest, ReleasedFile};
use acequia_hub::router;
use acequia_types::{DatasetName, Digest, parse_day};
use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::http::Request;
use tower::ServiceExt;

#[path = "../tests/sample/mod.rs"]
#[allow(dead_code, reason = "the tests show more of it")]
mod sample;

const REPOSITORIES: u64 = 100_000;
const FILES: u64 = 10_000;
const REQUESTS: usize = 2_000;
const GOAL_MS: f64 = 2.0;
const TREE_GOAL_MS: f64 = 30.0;
const CARD: &str = "---\nlicense: cc-by-4.0\nlanguage: [en]\ntags: [survival, breast cancer]\n---\n# A data set\n";

fn manifest(name: &str, files: Vec<ReleasedFile>) -> Manifest {
    Manifest {
        schema: "acequia-release/1".into(),
        artefact: Artefact::Dataset,
        dataset: DatasetName::parse(name).expect("a name"),
        version: "1.0.0".into(),
        title: format!("Data set {name}"),
        summary: "One of many.".into(),
        license: "CC0-1.0".into(),
        terms: Default::default(),
        released_on: parse_day("2026-11-20").expect("a day"),
        program: "acequia".into(),
        recipe: Digest::of(name.as_bytes()),
        seed: 1,
        inputs: Vec::new(),
        splits: vec![("train".into(), 700), ("validation".into(), 150), ("test".into(), 150)],
        files,
    }
}

fn name(number: u64) -> String {
    format!("group-{:03}/data-{number:06}", number % 500)
}

/// The whole answer, and milliseconds until it was there.
async fn asked(app: &Router, path: &str) -> (Bytes, f64) {
    let request = Request::get(path).header("host", "localhost").body(Body::empty()).expect("a request");
    let begun = Instant::now();
    let response = app.clone().oneshot(request).await.expect("an answer");
    assert!(response.status().is_success(), "{path}: {}", response.status());
    let body = to_bytes(response.into_body(), usize::MAX).await.expect("a body");
    (body, begun.elapsed().as_secs_f64() * 1e3)
}

fn told(what: &str, mut times_ms: Vec<f64>, goal_ms: f64) {
    times_ms.sort_by(f64::total_cmp);
    let at = |share: f64| times_ms[((times_ms.len() - 1) as f64 * share) as usize];
    let missed = if at(0.95) > goal_ms { "; MISS" } else { "" };
    println!("{what}: {:.2} ms, 95th percentile {:.2} ms (goal {goal_ms:.0}){missed}", at(0.5), at(0.95));
}

fn main() {
    let memory = Arc::new(sample::Memory::default());
    memory.store(Digest::of(CARD.as_bytes()), Some(Bytes::from_static(CARD.as_bytes())));
    let file = |path: String| ReleasedFile { path, ..ReleasedFile::of("x", CARD.as_bytes()) };
    let few = || -> Vec<ReleasedFile> {
        let tables = ["train", "validation", "test"].map(|split| file(format!("data/{split}-00000-of-00001.parquet")));
        [file("README.md".into())].into_iter().chain(tables).collect()
    };
    let mut manifests: Vec<Manifest> = (1..REPOSITORIES).map(|number| manifest(&name(number), few())).collect();
    let many = (0..FILES).map(|number| file(format!("images/{:02}/slice-{number:05}.png", number % 100)));
    manifests.push(manifest("group-000/many-files", many.chain(few()).collect()));
    memory.shelve_all(&manifests, 1_795_300_000);
    drop(manifests);
    let app = router(memory);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("threads");
    runtime.block_on(async {
        let begun = Instant::now();
        asked(&app, "/api/datasets?limit=1").await;
        println!("{REPOSITORIES} data sets are indexed in {:.1} s", begun.elapsed().as_secs_f64());
        let mut dice = sample::Dice::new(1);
        let routes = [
            ("info", ""),
            ("info with sizes", "?blobs=true"),
            ("revision", "/revision/v1.0.0"),
            ("tree", "/tree/main?recursive=true"),
            ("refs", "/refs"),
            ("commits", "/commits/main"),
        ];
        for (what, route) in routes {
            let mut times_ms = Vec::with_capacity(REQUESTS);
            for _ in 0..REQUESTS {
                let path = format!("/api/datasets/{}{route}", name(1 + dice.below(REPOSITORIES - 1)));
                times_ms.push(asked(&app, &path).await.1);
            }
            told(what, times_ms, GOAL_MS);
        }
        for (what, query) in [
            ("listing, 20 of all", "limit=20"),
            ("listing, 100 of all", "limit=100"),
            ("listing, 20 far behind", "limit=20&sort=createdAt&cursor=1795300000~group-250%2Fdata-050250"),
            ("listing, 20 with a word in the name", "limit=20&search=050250"),
            ("listing, 20 of an author", "limit=20&author=group-007"),
        ] {
            let mut times_ms = Vec::with_capacity(REQUESTS / 10);
            for _ in 0..REQUESTS / 10 {
                times_ms.push(asked(&app, &format!("/api/datasets?{query}")).await.1);
            }
            told(what, times_ms, GOAL_MS);
        }
        let mut times_ms = Vec::new();
        for _ in 0..50 {
            let (mut entries, mut sum_ms, mut behind) = (0, 0.0, String::new());
            while entries < FILES as usize {
                let path = format!("/api/datasets/group-000/many-files/tree/main?recursive=true&cursor={behind}");
                let (body, ms) = asked(&app, &path).await;
                let page: Vec<serde_json::Value> = serde_json::from_slice(&body).expect("JSON");
                entries += page.len();
                let last = page.last().expect("an entry");
                let slash = if last["type"] == "directory" { "/" } else { "" };
                behind = format!("{}{slash}", last["path"].as_str().expect("a path"));
                sum_ms += ms;
            }
            times_ms.push(sum_ms);
        }
        told(&format!("tree of {FILES} files, all pages"), times_ms, TREE_GOAL_MS);
    });
}
