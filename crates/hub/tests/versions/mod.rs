//! Versions never change, and what changed between them.

use std::collections::BTreeMap;
use std::sync::Arc;

use acequia_frame::Table;
use acequia_hub::router;
use acequia_types::Digest;
use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use axum::Router;
use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::sample::Memory;
use crate::{DATASET, app, ask, get, guarded, run, well_made};

#[tokio::test]
async fn nothing_published_can_be_changed() {
    let (app, _) = app();
    let repo = format!("/api/datasets/{DATASET}");
    for (method, target, body, status) in [
        ("POST", "/api/repos/create".to_owned(), r#"{"name":"new","organization":"acequia","type":"dataset"}"#, 403),
        ("POST", "/api/repos/create".to_owned(), r#"{"name":"sample-survival","organization":"acequia"}"#, 409),
        ("POST", "/api/repos/create".to_owned(), r#"{"name":"acequia/sample-survival"}"#, 409),
        ("DELETE", "/api/repos/delete".to_owned(), r#"{"name":"acequia/sample-survival"}"#, 403),
        ("POST", "/api/repos/move".to_owned(), "{}", 403),
        ("POST", format!("{repo}/commit/main"), "{}", 403),
        ("POST", format!("{repo}/preupload/main"), "not json", 403),
        ("POST", format!("{repo}/tag/main"), r#"{"tag":"v1.0.0"}"#, 409),
        ("POST", format!("{repo}/tag/main"), r#"{"tag":"v9.0.0"}"#, 403),
        ("DELETE", format!("{repo}/tag/v1.0.0"), "", 403),
        ("POST", format!("{repo}/branch/main"), "{}", 409),
        ("POST", format!("{repo}/branch/other"), "{}", 403),
        ("DELETE", format!("{repo}/branch/main"), "", 403),
        ("POST", format!("{repo}/super-squash/main"), "{}", 403),
        ("PUT", format!("{repo}/settings"), "{}", 403),
        ("POST", format!("{repo}/lfs-files/batch"), "{}", 403),
        ("GET", format!("{repo}/xet-write-token/main"), "", 403),
        ("POST", format!("/datasets/{DATASET}.git/info/lfs/objects/batch"), "{}", 403),
        ("POST", "/api/datasets/acequia/none/commit/main".to_owned(), "{}", 404),
    ] {
        let answer = ask(&app, method, &target, &[("content-type", "application/json")], body).await;
        assert_eq!(answer.status.as_u16(), status, "{method} {target}: {}", answer.text());
        let code = match status {
            403 => "Immutable",
            409 => "Exists",
            _ => "RepoNotFound",
        };
        assert_eq!((answer.header("x-error-code"), &answer.json()["code"]), (code, &json!(code)), "{target}");
        assert!(!answer.header("x-error-message").is_empty());
        guarded(&answer, &target);
    }
}

/// A step in the life of a hub: a version is published, or a client tries to rewrite one.
#[derive(Debug, Clone)]
enum Step {
    Publish { name: usize, number: (u8, u8), content: u8 },
    Rewrite { name: usize, how: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let publish = (0..2_usize, (0..4_u8, 0..4_u8), any::<u8>());
    prop_oneof![
        publish.prop_map(|(name, number, content)| Step::Publish { name, number, content }),
        (0..2_usize, 0..7_usize).prop_map(|(name, how)| Step::Rewrite { name, how }),
    ]
}

const NAMES: [&str; 2] = ["acequia/one", "commons/two"];

async fn rewrite(app: &Router, name: &str, how: usize) {
    let repo = format!("/api/datasets/{name}");
    let (method, target, body) = [
        ("POST", format!("{repo}/commit/main"), "{\"key\":\"header\"}".to_owned()),
        ("POST", format!("{repo}/tag/main"), "{\"tag\":\"v1.0.0\"}".to_owned()),
        ("DELETE", format!("{repo}/tag/v1.0.0"), String::new()),
        ("POST", format!("{repo}/super-squash/main"), "{}".to_owned()),
        ("DELETE", format!("{repo}/branch/main"), String::new()),
        ("DELETE", "/api/repos/delete".to_owned(), format!("{{\"name\":\"{name}\"}}")),
        ("PUT", format!("/datasets/{name}/resolve/main/a.txt"), "x".to_owned()),
    ][how]
        .clone();
    let answer = ask(app, method, &target, &[], &body).await;
    assert!(answer.status.is_client_error(), "{method} {target}: {}", answer.status);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever is published later and whatever clients try: bytes once served for a data set, tag and path stay.
    #[test]
    fn bytes_once_served_for_a_tag_never_change(steps in prop::collection::vec(step(), 1..24)) {
        run(async {
            let memory = Arc::new(Memory::default());
            let app = router(memory.clone());
            let mut taken = BTreeMap::new();
            let mut served: BTreeMap<(String, String), (Digest, String)> = BTreeMap::new();
            for (at, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Publish { name, number, content } => {
                        let version = format!("{}.{}.0", number.0, number.1);
                        // The store refuses a second manifest under one number; so does the shelf.
                        if taken.insert((name, version.clone()), ()).is_none() {
                            let files = BTreeMap::from([
                                ("a.txt".to_owned(), Bytes::from(vec![content; usize::from(content)])),
                                (format!("data/train-{content}.parquet"), Bytes::from(format!("{at}"))),
                            ]);
                            memory.publish(NAMES[name], &version, "T", [1, 1, 1], files, at as i64);
                            for path in ["a.txt", "manifest.json", &format!("data/train-{content}.parquet")] {
                                let target = format!("/datasets/{}/resolve/v{version}/{path}", NAMES[name]);
                                let answer = get(&app, &target).await;
                                assert_eq!(answer.status, 200, "{target}");
                                let kept = (Digest::of(&answer.body), answer.header("etag").to_owned());
                                served.insert((target, answer.header("x-repo-commit").to_owned()), kept);
                            }
                        }
                    }
                    Step::Rewrite { name, how } => rewrite(&app, NAMES[name], how).await,
                }
                for ((target, commit), (digest, etag)) in &served {
                    let answer = get(&app, target).await;
                    assert_eq!(answer.status, 200, "{target}");
                    assert_eq!(&Digest::of(&answer.body), digest, "{target}");
                    assert_eq!((answer.header("etag"), answer.header("x-repo-commit")), (etag.as_str(), commit.as_str()));
                }
            }
        });
    }
}

/// The difference, as soon as it is computed.
pub(crate) async fn compared(app: &Router, target: &str) -> Value {
    for _ in 0..600 {
        let answer = get(app, target).await;
        if answer.status == 200 {
            return answer.json();
        }
        assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (202, "1"), "{target}");
        assert_eq!(answer.json(), json!({ "status": "computing" }));
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("{target} is never computed");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_difference_of_two_versions() {
    let (app, _) = app();
    let target = format!("/api/datasets/{DATASET}/compare/v1.0.0..v1.1.0");
    let told = compared(&app, &target).await;
    assert_eq!(told["schema"], "acequia-difference/1");
    assert_eq!((&told["from"]["version"], &told["to"]["version"]), (&json!("1.0.0"), &json!("1.1.0")));
    assert_eq!(told["splits"][0], json!({"name": "train", "from": 1400, "to": 2100, "difference": 700}));
    assert_eq!(told["columns"]["same"], 5);
    let rows = &told["rows"];
    assert_eq!(rows["compared"], true);
    let of = |name: &str| rows[name].as_u64().unwrap();
    assert_eq!((of("same") + of("removed"), of("same") + of("added")), (2000, 3000));
    let age = told["statistics"].as_array().unwrap().iter().find(|column| column["name"] == "age_years").unwrap();
    assert_eq!((&age["comparable"], age["bins"].as_array().unwrap().len()), (&json!(true), 9));
    assert!(told["files"]["changed"].as_array().unwrap().iter().any(|file| file["path"] == crate::TRAIN));
    // There is one difference of a pair: the other way round leads to it, and none is computed of a version with itself.
    for (reversed, right) in [("main...v1.0.0", "1.0.0..1.1.0"), ("1.1.0..1.0.0", "1.0.0..1.1.0")] {
        for root in ["/api", ""] {
            let answer = get(&app, &format!("{root}/datasets/{DATASET}/compare/{reversed}")).await;
            let right = format!("{root}/datasets/{DATASET}/compare/{right}");
            assert_eq!((answer.status.as_u16(), answer.header("location")), (303, right.as_str()));
        }
    }
    assert_eq!(compared(&app, &format!("/api/datasets/{DATASET}/compare/1.0.0..main")).await, told);
    for same in ["v1.0.0..1.0.0", "main..v1.1.0"] {
        let refused = get(&app, &format!("/api/datasets/{DATASET}/compare/{same}")).await;
        assert_eq!(refused.status, 400, "{same}");
        assert_eq!(get(&app, &format!("/datasets/{DATASET}/compare/{same}")).await.status, 400);
    }

    let page = get(&app, &format!("/datasets/{DATASET}/compare/1.0.0..1.1.0")).await;
    assert_eq!(page.status, 200);
    well_made(&page.text(), "difference");
    for said in ["What changed from 1.0.0 to 1.1.0", "only in the newer one", "+700", "The same as JSON"] {
        assert!(page.text().contains(said), "{said}");
    }
    let versions = get(&app, &format!("/datasets/{DATASET}/v/1.1.0/versions")).await.text();
    assert!(versions.contains(&format!("/datasets/{DATASET}/compare/1.0.0..1.1.0")), "the versions link to it");
}

#[tokio::test]
async fn any_two_versions_are_chosen_from_a_form() {
    let (app, memory) = app();
    memory.publish(DATASET, "1.2.0", "Survival", [1, 1, 1], BTreeMap::new(), 1_799_000_000);
    let page = get(&app, &format!("/datasets/{DATASET}/v/1.2.0/versions")).await.text();
    well_made(&page, "three versions");
    assert!(page.contains("<select id=\"from\"") && page.contains("<option value=\"1.0.0\" selected>"), "{page}");
    let chosen = get(&app, &format!("/datasets/{DATASET}/compare?from=1.0.0&to=1.2.0")).await;
    assert_eq!(chosen.header("location"), format!("/datasets/{DATASET}/compare/1.0.0..1.2.0"));
}

fn parquet(rows: &[(Option<i64>, &str)]) -> Bytes {
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("a", Arc::new(rows.iter().map(|row| row.0).collect::<Int64Array>())),
        ("b", Arc::new(rows.iter().map(|row| Some(row.1)).collect::<StringArray>())),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    Table::new("rows", vec![batch]).unwrap().to_parquet().unwrap().into()
}

type Row = (Option<i64>, String);

fn multiset(rows: &[Row]) -> BTreeMap<&Row, u64> {
    let mut counts = BTreeMap::new();
    rows.iter().for_each(|row| *counts.entry(row).or_default() += 1);
    counts
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Rows are compared as multisets, by the values of all columns that both versions have.
    #[test]
    fn rows_are_compared_as_multisets(
        old in prop::collection::vec((prop::option::of(0..4_i64), "[xy]{0,1}"), 1..60),
        new in prop::collection::vec((prop::option::of(0..4_i64), "[xy]{0,1}"), 1..60),
    ) {
        let memory = Memory::default();
        for (version, rows, at) in [("1.0.0", &old, 0), ("2.0.0", &new, 1)] {
            let rows: Vec<(Option<i64>, &str)> = rows.iter().map(|row| (row.0, row.1.as_str())).collect();
            let files = BTreeMap::from([
                ("data/train-00000-of-00001.parquet".to_owned(), parquet(&rows)),
                // Nothing is hidden, so that all numbers can be checked.
                ("statistics.json".to_owned(), Bytes::from_static(b"{\"minimum_cell\": 1}")),
            ]);
            memory.publish("acequia/x", version, "X", [rows.len() as u64, 0, 0], files, at);
        }
        let app = router(Arc::new(memory));
        let told = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap()
            .block_on(compared(&app, "/api/datasets/acequia/x/compare/1.0.0..2.0.0"));
        let (a, b) = (multiset(&old), multiset(&new));
        let same: u64 = a.iter().map(|(row, count)| *count.min(b.get(row).unwrap_or(&0))).sum();
        prop_assert_eq!(&told["rows"]["same"], &json!(same));
        prop_assert_eq!(&told["rows"]["removed"], &json!(old.len() as u64 - same));
        prop_assert_eq!(&told["rows"]["added"], &json!(new.len() as u64 - same));
        prop_assert_eq!(&told["rows"]["in_another_split"], &json!(0));
    }
}

/// Two versions whose rows are in two parts, without a statement of the fewest people of a count: the usual twelve holds.
fn two_versions(splits: [[&[Row]; 2]; 2]) -> Router {
    let memory = Memory::default();
    for (at, [train, test]) in splits.into_iter().enumerate() {
        let table = |rows: &[Row]| parquet(&rows.iter().map(|row| (row.0, row.1.as_str())).collect::<Vec<_>>());
        let files = BTreeMap::from([
            ("data/train-00000-of-00001.parquet".to_owned(), table(train)),
            ("data/test-00000-of-00001.parquet".to_owned(), table(test)),
        ]);
        let counts = [train.len() as u64, 0, test.len() as u64];
        memory.publish("acequia/x", &format!("{}.0.0", at + 1), "X", counts, files, at as i64);
    }
    router(Arc::new(memory))
}

const TWO: &str = "/api/datasets/acequia/x/compare/1.0.0..2.0.0";

#[tokio::test(flavor = "multi_thread")]
async fn a_small_count_and_all_from_which_it_follows_are_hidden() {
    let rows = |from: i64, to: i64| -> Vec<Row> { (from..to).map(|a| (Some(a), String::new())).collect() };
    let (old, new, other) = (rows(0, 40), rows(3, 60), rows(100, 130));
    // Three people left; twenty joined.
    let told = compared(&two_versions([[&old, &other], [&new, &other]]), TWO).await;
    assert_eq!(told["rows"]["compared"], true);
    for count in ["same", "added", "removed", "in_another_split"] {
        assert_eq!(told["rows"][count], Value::Null, "{count}");
    }
    // Few are in both: whoever is in the one would be known to be in the other.
    let told = compared(&two_versions([[&rows(0, 30), &[]], [&rows(25, 80), &[]]]), TWO).await;
    assert_eq!(told["rows"]["same"], Value::Null);
    // Nobody left, many joined.
    let told = compared(&two_versions([[&old, &other], [&rows(0, 60), &other]]), TWO).await;
    let counts = ["same", "added", "removed", "in_another_split"].map(|count| told["rows"][count].as_u64());
    assert_eq!(counts, [Some(70), Some(20), Some(0), Some(0)]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// From what is told about rows no count from 1 to 11 follows.
    #[test]
    fn no_small_count_follows_from_a_difference(
        (kept, left, joined, moved) in (0..40_usize, 0..40_usize, 0..40_usize, 0..40_usize),
    ) {
        let rows = |start: usize, count: usize| -> Vec<Row> {
            (start..start + count).map(|a| (Some(a as i64), String::new())).collect()
        };
        let (kept, left, joined, moved) = (rows(0, kept), rows(100, left), rows(200, joined), rows(300, moved));
        let first = [[kept.as_slice(), &left, &moved].concat(), Vec::new()];
        let second = [[kept.as_slice(), &joined].concat(), moved.clone()];
        let app = two_versions([[&first[0], &first[1]], [&second[0], &second[1]]]);
        let told = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap()
            .block_on(compared(&app, TWO));
        let of = |name: &str| told["rows"][name].as_u64();
        let rows = |side: &str| told[side]["rows"].as_u64().unwrap();
        let follow = [
            of("same"), of("added"), of("removed"), of("in_another_split"),
            of("same").map(|same| rows("from") - same), of("same").map(|same| rows("to") - same),
            of("added").map(|added| rows("to") - added), of("removed").map(|removed| rows("from") - removed),
            of("same").zip(of("in_another_split")).map(|(same, moved)| same - moved),
        ];
        for count in follow.into_iter().flatten() {
            prop_assert!(count == 0 || count >= 12, "{told}");
        }
        if [kept.len() + moved.len(), left.len(), joined.len()].iter().all(|count| *count == 0 || *count >= 12) {
            prop_assert_eq!(of("same"), Some((kept.len() + moved.len()) as u64));
        }
    }
}

/// A version whose tables differ in form is compared in the columns that all of them have: no row is left out.
#[tokio::test(flavor = "multi_thread")]
async fn tables_of_another_form_are_compared_too() {
    let memory = Memory::default();
    let column = |values: std::ops::Range<i64>| Arc::new(Int64Array::from_iter_values(values)) as ArrayRef;
    let table = |columns: Vec<(&str, ArrayRef)>| -> Bytes {
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        Table::new("rows", vec![batch]).unwrap().to_parquet().unwrap().into()
    };
    let wide = || table(vec![("a", column(0..20)), ("b", column(0..20)), ("c", column(0..20))]);
    let words: ArrayRef = Arc::new(StringArray::from_iter_values((0..20).map(|at| at.to_string())));
    let narrow = table(vec![("c", words), ("a", column(20..40))]);
    for (version, second, at) in [("1.0.0", wide(), 0), ("2.0.0", narrow, 1)] {
        let files = BTreeMap::from([
            ("data/train-00000-of-00002.parquet".to_owned(), wide()),
            ("data/train-00001-of-00002.parquet".to_owned(), second),
        ]);
        memory.publish("acequia/x", version, "X", [40, 0, 0], files, at);
    }
    let told = compared(&router(Arc::new(memory)), TWO).await;
    assert_eq!(told["rows"]["columns"], json!(["a"]));
    let counts = ["same", "added", "removed"].map(|count| told["rows"][count].as_u64());
    assert_eq!(counts, [Some(20), Some(20), Some(20)]);
}

const BUNDLE: &str = "/datasets/acequia/sample-survival/v/1.0.0/bundle.tar";

/// What tar itself unpacks from the archive is the version, and its checksums hold.
#[tokio::test]
async fn a_bundle_is_a_tar_archive_of_the_version() {
    let (app, _) = app();
    let whole = get(&app, BUNDLE).await;
    assert_eq!((whole.status.as_u16(), whole.header("content-type")), (200, "application/x-tar"));
    assert_eq!(whole.header("content-length"), whole.body.len().to_string());
    let unchanged = ask(&app, "GET", BUNDLE, &[("if-none-match", whole.header("etag"))], "").await;
    assert_eq!((unchanged.status.as_u16(), unchanged.body.len()), (304, 0));
    let head = ask(&app, "HEAD", BUNDLE, &[], "").await;
    assert_eq!(
        (head.header("content-length"), head.header("etag")),
        (whole.header("content-length"), whole.header("etag"))
    );
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("b.tar"), &whole.body).unwrap();
    let unpacked = std::process::Command::new("tar").args(["-xf", "b.tar"]).current_dir(folder.path()).output();
    let Ok(unpacked) = unpacked else {
        println!("skipped: tar is not installed");
        return;
    };
    assert!(unpacked.status.success(), "{}", String::from_utf8_lossy(&unpacked.stderr));
    let version = folder.path().join("sample-survival-1.0.0");
    let sums = std::fs::read_to_string(version.join("SHA256SUMS")).unwrap();
    assert!(sums.lines().count() >= 9);
    for line in sums.lines() {
        let (sum, path) = line.split_once("  ").unwrap();
        assert_eq!(Digest::of(&std::fs::read(version.join(path)).unwrap()).to_string(), sum, "{path}");
    }
    assert!(version.join("ro-crate-metadata.json").exists() && version.join("CITATION.cff").exists());
}

/// Long paths, and files that are too long for a plain header, arrive under their names. Of the long file nothing is read:
/// its place is left empty in a sparse file, and tar lists what is there.
#[tokio::test]
async fn a_bundle_holds_long_paths_and_long_files() {
    use std::os::unix::fs::FileExt as _;

    let memory = Memory::default();
    let long = format!("data/{}.txt", "word-".repeat(60));
    let bytes = 9_u64 << 30;
    let mut manifest = crate::manifest("acequia/long", "1.0.0", "Long", &long);
    let mut table = manifest.files[0].clone();
    (table.path, table.bytes) = ("data/all.parquet".to_owned(), bytes);
    manifest.files.push(table);
    memory.store(Digest::of(b"x"), Some(Bytes::from_static(b"x")));
    memory.shelve(&manifest, 0);
    let app = router(Arc::new(memory));
    let target = "/datasets/acequia/long/v/1.0.0/bundle.tar";
    let size: u64 = ask(&app, "HEAD", target, &[], "").await.header("content-length").parse().unwrap();
    // A header, an extended one before it, and its one block.
    let start = 3 * 512;
    let folder = tempfile::tempdir().unwrap();
    let archive = std::fs::File::create(folder.path().join("b.tar")).unwrap();
    archive.set_len(size).unwrap();
    for (from, to) in [(0, start), (start + bytes, size)] {
        let range = format!("bytes={from}-{}", to - 1);
        let answer = ask(&app, "GET", target, &[("range", &range)], "").await;
        assert_eq!((answer.status.as_u16(), answer.body.len() as u64), (206, to - from));
        archive.write_all_at(&answer.body, from).unwrap();
    }
    let listed =
        std::process::Command::new("tar").args(["--seek", "-tvf", "b.tar"]).current_dir(folder.path()).output();
    let Ok(listed) = listed else {
        println!("skipped: tar is not installed");
        return;
    };
    let text = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let line = |end: &str| text.lines().find(|line| line.ends_with(end)).unwrap_or_else(|| panic!("{end}: {text}"));
    assert!(line("long-1.0.0/data/all.parquet").contains(&format!(" {bytes} ")), "{text}");
    assert!(line(&format!("long-1.0.0/{long}")).contains(" 1 "), "{text}");
    assert!(line("long-1.0.0/CITATION.cff").starts_with("-rw-r--r--"), "{text}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Broken off anywhere, any number of times, and resumed: the same bytes.
    #[test]
    fn a_bundle_is_resumed_anywhere(cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6)) {
        let (app, _) = crate::shared();
        let whole = run(get(app, BUNDLE));
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(whole.body.len())).collect();
        places.extend([0, whole.body.len()]);
        places.sort_unstable();
        places.dedup();
        let mut together = Vec::new();
        for pair in places.windows(2) {
            let range = format!("bytes={}-{}", pair[0], pair[1] - 1);
            let answer = run(ask(app, "GET", BUNDLE, &[("range", &range), ("if-range", whole.header("etag"))], ""));
            prop_assert_eq!(answer.status.as_u16(), 206);
            together.extend_from_slice(&answer.body);
        }
        prop_assert!(together == whole.body);
    }
}
