//! Histories only grow.

use std::collections::{BTreeMap, BTreeSet};

use axum::http::StatusCode;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{Answer, CARD, Desk, delete, file, large};

fn head(answer: &Answer) -> String {
    assert_eq!(answer.status, StatusCode::OK, "{}", String::from_utf8_lossy(&answer.bytes));
    answer.json()["commitOid"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_commit_is_read_back_as_it_was_written() {
    let desk = Desk::new().await;
    desk.begin("lab/cohort").await;
    let first = desk.get("/api/datasets/lab/cohort").await.json()["sha"].as_str().unwrap().to_owned();
    let table = vec![9u8; 3 << 20];
    desk.upload("lab/cohort", &table).await;
    let lines = [file("README.md", CARD.as_bytes()), large("data/train.bin2", &table), file("a/b.txt", b"b")];
    let second = head(&desk.commit("lab/cohort", Some(&first), &lines).await);
    let info = desk.get("/api/datasets/lab/cohort?blobs=true").await.json();
    assert_eq!((info["sha"].as_str(), info["private"].as_bool()), (Some(second.as_str()), Some(true)));
    assert_eq!(info["cardData"]["license"], "cc-by-4.0");
    assert_eq!(info["siblings"].as_array().unwrap().len(), 3);
    let tree = desk.get("/api/datasets/lab/cohort/tree/main?recursive=true&expand=true").await.json();
    let paths: Vec<&str> = tree.as_array().unwrap().iter().map(|entry| entry["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["README.md", "a", "a/b.txt", "data", "data/train.bin2"]);
    assert!(tree.as_array().unwrap().iter().all(|entry| entry["lastCommit"]["id"] == second.as_str()));
    let path = "/datasets/lab/cohort/resolve/main/data/train.bin2";
    let whole = desk.get(path).await;
    assert!(whole.bytes == table && whole.header("x-repo-commit") == second);
    let part = desk.ask_with(Some(&desk.secret), "GET", path, &[("range", "bytes=1048570-1048580")], "").await;
    assert_eq!((part.status, part.bytes.as_slice()), (StatusCode::PARTIAL_CONTENT, &table[1_048_570..=1_048_580]));
    let tail = desk.ask_with(Some(&desk.secret), "GET", path, &[("range", "bytes=-7")], "").await;
    assert_eq!(tail.bytes, &table[table.len() - 7..]);
    let missing = desk.get("/datasets/lab/cohort/resolve/main/no").await;
    assert_eq!((missing.status, missing.header("x-error-code")), (StatusCode::NOT_FOUND, "EntryNotFound"));
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let path_info = "/api/datasets/lab/cohort/paths-info/main";
    let info = desk.ask_with(Some(&desk.secret), "POST", path_info, &form, "paths=a&paths=a%2Fb.txt&paths=no").await;
    assert_eq!(info.json().as_array().map(Vec::len), Some(2));
    // Nothing changes: the same commit.
    assert_eq!(head(&desk.commit("lab/cohort", None, &[file("a/b.txt", b"b")]).await), second);
    // The same after the node was started again.
    let desk = desk.restarted().await;
    assert_eq!(desk.get(path).await.bytes, table);
    let commits = desk.get("/api/datasets/lab/cohort/commits/main").await.json();
    assert_eq!(
        commits.as_array().unwrap().iter().map(|own| own["id"].as_str().unwrap()).collect::<Vec<_>>(),
        [second, first]
    );
}

#[tokio::test]
async fn whoever_comes_second_is_told() {
    let desk = Desk::new().await;
    desk.begin("lab/cohort").await;
    let first = desk.get("/api/datasets/lab/cohort").await.json()["sha"].as_str().unwrap().to_owned();
    head(&desk.commit("lab/cohort", Some(&first), &[file("a", b"1")]).await);
    let late = desk.commit("lab/cohort", Some(&first), &[file("a", b"2")]).await;
    assert_eq!(late.status, StatusCode::PRECONDITION_FAILED);
    assert!(late.header("x-error-message").contains("changed since"));
    assert_eq!(desk.get("/datasets/lab/cohort/resolve/main/a").await.bytes, b"1");
    // Without a parent it goes on top, also for many at once.
    let lines: Vec<[Value; 1]> = (0..8).map(|number| [file(&format!("f{number}"), b"x")]).collect();
    let all = futures_util::future::join_all(lines.iter().map(|lines| desk.commit("lab/cohort", None, lines))).await;
    all.iter().for_each(|answer| drop(head(answer)));
    assert_eq!(desk.get("/api/datasets/lab/cohort/tree/main").await.json().as_array().map(Vec::len), Some(9));
}

#[tokio::test]
async fn what_would_rewrite_is_refused() {
    let desk = Desk::new().await;
    desk.begin("lab/cohort").await;
    head(&desk.commit("lab/cohort", None, &[file("a", b"1")]).await);
    let refused = |method: &'static str, path: &'static str| {
        let desk = &desk;
        async move { desk.ask(Some(&desk.secret), method, &format!("/api/datasets/lab/cohort/{path}"), "{}").await.status }
    };
    for (method, path) in [
        ("POST", "super-squash/main"),
        ("DELETE", "branch/main"),
        ("DELETE", "tag/v1.0.0"),
        ("PUT", "settings"),
        ("POST", "commit/main?create_pr=1"),
        ("POST", "commit/none?create_pr=1"),
    ] {
        assert_eq!(refused(method, path).await, StatusCode::FORBIDDEN, "{method} {path}");
    }
    assert_eq!(refused("POST", "branch/main").await, StatusCode::CONFLICT);
    for (method, path) in [("POST", "commit/other"), ("DELETE", "branch/other"), ("POST", "commit/refs%2Fheads%2Fno")] {
        assert_eq!(refused(method, path).await, StatusCode::NOT_FOUND, "{method} {path}");
    }
    for name in
        ["v1.0.0", "1.0", "refs%2Fpr%2F1", "HEAD%2Fx", "a..b", "-a", "a%2F%2Fb", "%C3%A4", "a%20b", &"0a".repeat(20)]
    {
        let path = format!("/api/datasets/lab/cohort/branch/{name}");
        let answer = desk.ask(Some(&desk.secret), "POST", &path, "{}").await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{name}");
        assert!(answer.header("x-error-message").contains("cannot be called so"), "{name}");
    }
    assert_eq!(desk.post("/api/repos/move", json!({})).await.status, StatusCode::FORBIDDEN);
    for (lines, status) in [
        (vec![file("../a", b"")], StatusCode::BAD_REQUEST),
        (vec![file("manifest.json", b"")], StatusCode::BAD_REQUEST),
        (vec![file("a/b", b"")], StatusCode::BAD_REQUEST),
        (vec![delete("b")], StatusCode::BAD_REQUEST),
        (vec![large("b.parquet", b"never sent")], StatusCode::BAD_REQUEST),
        (vec![json!({ "key": "force", "value": {} })], StatusCode::BAD_REQUEST),
    ] {
        assert_eq!(desk.commit("lab/cohort", None, &lines).await.status, status, "{lines:?}");
    }
    assert_eq!(desk.get("/api/datasets/lab/cohort/commits/main").await.json().as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn a_branch_grows_beside_main_and_is_not_handed_in() {
    let desk = Desk::new().await;
    desk.begin("lab/cohort").await;
    let first = head(&desk.commit("lab/cohort", None, &[file("README.md", CARD.as_bytes()), file("a", b"1")]).await);
    let at = |path: &str| format!("/api/datasets/lab/cohort/{path}");
    let post = async |path: &str, body: Value| desk.post(&at(path), body).await;
    assert_eq!(post("branch/try%2Fone", json!({})).await.status, StatusCode::OK);
    assert_eq!(post("branch/try%2Fone", json!({})).await.status, StatusCode::CONFLICT, "it is there");
    assert_eq!(post("branch/try%2Fone", json!({ "overwrite": true })).await.status, StatusCode::FORBIDDEN);
    assert_eq!(post("branch/none", json!({ "startingPoint": "no" })).await.status, StatusCode::NOT_FOUND);
    let commit = async |branch: &str, parent: Option<&str>, lines: &[Value]| {
        let header = json!({ "key": "header", "value": { "summary": "Try", "parentCommit": parent } });
        let lines: String = std::iter::once(&header).chain(lines).map(|line| format!("{line}\n")).collect();
        desk.ask(Some(&desk.secret), "POST", &at(&format!("commit/{branch}")), lines).await
    };
    let aside = head(&commit("try%2Fone", Some(&first), &[file("b", b"2")]).await);
    let main = head(&desk.commit("lab/cohort", Some(&first), &[file("c", b"3")]).await);
    let further = head(&commit("refs%2Fheads%2Ftry%2Fone", Some(&aside), &[delete("a"), file("b", b"4")]).await);
    // Who is late on a branch is told, and nobody commits on a commit or a tag.
    assert_eq!(commit("try%2Fone", Some(&main), &[file("b", b"5")]).await.status, StatusCode::PRECONDITION_FAILED);
    assert_eq!(commit(&aside, None, &[file("b", b"5")]).await.status, StatusCode::FORBIDDEN);
    let refs = desk.get(&at("refs")).await.json();
    assert_eq!(
        refs["branches"],
        json!([
            { "name": "main", "ref": "refs/heads/main", "targetCommit": main },
            { "name": "try/one", "ref": "refs/heads/try/one", "targetCommit": further },
        ])
    );
    let paths = async |desk: &Desk, revision: &str| -> Vec<String> {
        let tree = desk.get(&at(&format!("tree/{revision}"))).await.json();
        tree.as_array().unwrap().iter().map(|entry| entry["path"].as_str().unwrap().to_owned()).collect()
    };
    let all = [
        ("main", vec!["README.md", "a", "c"]),
        ("try%2Fone", vec!["README.md", "b"]),
        (aside.as_str(), vec!["README.md", "a", "b"]),
        (first.as_str(), vec!["README.md", "a"]),
    ];
    for (revision, expected) in &all {
        assert_eq!(paths(&desk, revision).await, *expected, "{revision}");
    }
    let ids: Vec<String> = desk.get(&at("commits/try%2Fone")).await.json().as_array().unwrap()[..3]
        .iter()
        .map(|own| own["id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(ids, [further.clone(), aside.clone(), first.clone()]);
    // From a branch, and by a commit of one.
    assert_eq!(post("branch/two", json!({ "startingPoint": "try/one" })).await.status, StatusCode::OK);
    let two = head(&commit("two", Some(&further), &[file("d", b"d")]).await);
    assert_eq!(paths(&desk, "two").await, ["README.md", "b", "d"]);
    for revision in ["try%2Fone", &aside, "two"] {
        let answer = post(&format!("tag/{revision}"), json!({ "tag": "v1.0.0" })).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{revision}");
        assert!(answer.header("x-error-message").contains("commits of main are handed in"), "{revision}");
    }
    // Given up: the name goes, what was committed stays, and the name may be used again.
    let delete = async |desk: &Desk, name: &str| {
        desk.ask(Some(&desk.secret), "DELETE", &at(&format!("branch/{name}")), "").await.status
    };
    assert_eq!(delete(&desk, "try%2Fone").await, StatusCode::OK);
    assert_eq!(delete(&desk, "try%2Fone").await, StatusCode::NOT_FOUND);
    assert_eq!(desk.get(&at("tree/try%2Fone")).await.header("x-error-code"), "RevisionNotFound");
    desk.days_later(100);
    let secret = desk.token("lab/*", true).await.1;
    assert_eq!(desk.deposits.sweep().await.unwrap().objects, 0, "what a commit has is kept");
    let mut desk = desk.restarted().await;
    desk.secret = secret;
    for revision in [&further, &two] {
        let read = desk.get(&format!("/datasets/lab/cohort/resolve/{revision}/b")).await;
        assert_eq!((read.status, read.bytes.as_slice()), (StatusCode::OK, b"4".as_slice()));
    }
    assert_eq!(desk.post(&at("branch/try%2Fone"), json!({})).await.status, StatusCode::OK);
    assert_eq!(paths(&desk, "try%2Fone").await, ["README.md", "a", "c"]);
    // Who may only read makes and gives up nothing.
    let reads = desk.token("lab/*", false).await.1;
    for method in ["POST", "DELETE"] {
        let answer = desk.ask(Some(&reads), method, &at("branch/try%2Fone"), "{}").await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{method}");
    }
    let most = futures_util::future::join_all((0..110).map(|n| {
        let (desk, path) = (&desk, at(&format!("branch/b{n}")));
        async move { desk.post(&path, json!({})).await.status }
    }))
    .await;
    let made = most.iter().filter(|status| **status == StatusCode::OK).count();
    assert!(made == 98 && most.contains(&StatusCode::PAYLOAD_TOO_LARGE), "{made} {most:?}");
}

/// What somebody does next.
#[derive(Debug, Clone)]
enum Act {
    Put(u8, u8),
    Delete(u8),
    DeleteFolder,
    Stale(u8),
    Tag(u8),
    TagOlder(u8),
    Branch(u8),
    PutAside(u8, u8),
    GiveUp(u8),
    Remove,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => (0..4u8, any::<u8>()).prop_map(|(path, content)| Act::Put(path, content)),
        1 => (0..4u8).prop_map(Act::Delete),
        1 => Just(Act::DeleteFolder),
        1 => (0..4u8).prop_map(Act::Stale),
        2 => (0..3u8).prop_map(Act::Tag),
        1 => (0..3u8).prop_map(Act::TagOlder),
        1 => (0..2u8).prop_map(Act::Branch),
        2 => (0..2u8, any::<u8>()).prop_map(|(branch, content)| Act::PutAside(branch, content)),
        1 => (0..2u8).prop_map(Act::GiveUp),
        1 => Just(Act::Remove),
    ]
}

fn path(number: u8) -> String {
    ["notes.txt", "docs/a.txt", "docs/b.txt", "docs/deep/c.txt"][usize::from(number)].to_owned()
}

/// A model, since its checks need no rows.
async fn play(acts: &[Act]) -> Vec<String> {
    let desk = Desk::new().await;
    let create = json!({ "name": "lab/net", "type": "model" });
    let post = |lines: String| desk.ask(Some(&desk.secret), "POST", "/api/models/lab/net/commit/main", lines);
    let header = |parent: Option<&str>| {
        format!("{}\n", json!({ "key": "header", "value": { "summary": "s", "parentCommit": parent } }))
    };
    let card = "---\nlicense: mit\npipeline_tag: tabular-classification\nlibrary_name: onnx\ndatasets:\n- lab/cohort\n---\nA made-up model, for tests of the hand-in only.\n";
    let graph = [0x08, 0x09, 0x3a, 0x01, 0, 0x42, 0x02, 0x10, 0x11];
    let object = json!({ "oid": acequia_types::Digest::of(&graph).to_string(), "size": graph.len() });
    let begin = || async {
        assert_eq!(desk.post("/api/repos/create", create.clone()).await.status, StatusCode::OK);
        let asks = json!({ "operation": "upload", "objects": [object] });
        let asked = desk.post("/lab/net.git/info/lfs/objects/batch", asks).await.json();
        let address = asked["objects"][0]["actions"]["upload"]["href"].as_str().unwrap().to_owned();
        desk.ask(None, "PUT", crate::path_of(&address), graph.to_vec()).await;
        let readme = file("README.md", card.as_bytes());
        head(&post(format!("{}{readme}\n{}\n", header(None), large("model.onnx", &graph))).await)
    };
    let mut commits = vec![begin().await];
    let mut tags: BTreeMap<String, String> = BTreeMap::new();
    let mut aside: Vec<String> = Vec::new();
    // Of deposits of this name that were removed: tags, and revisions with them.
    let mut spent: BTreeSet<String> = BTreeSet::new();
    let mut past: BTreeSet<String> = BTreeSet::new();
    // What was served once, by revision and path.
    let mut served: BTreeMap<(String, String), (StatusCode, Vec<u8>)> = BTreeMap::new();
    for act in acts {
        let newest = commits.last().unwrap().clone();
        match act {
            Act::Put(number, content) => {
                commits.push(head(
                    &post(format!("{}{}\n", header(Some(&newest)), file(&path(*number), &[*content]))).await,
                ));
            }
            Act::Delete(number) => {
                let answer = post(format!("{}{}\n", header(None), delete(&path(*number)))).await;
                if answer.status == StatusCode::OK {
                    commits.push(head(&answer));
                }
            }
            Act::DeleteFolder => {
                let line = json!({ "key": "deletedFolder", "value": { "path": "docs" } });
                commits.push(head(&post(format!("{}{line}\n", header(None))).await));
            }
            Act::Stale(number) => {
                let answer =
                    post(format!("{}{}\n", header(Some(&"0".repeat(40))), file(&path(*number), b"stale"))).await;
                assert_eq!(answer.status, StatusCode::PRECONDITION_FAILED);
            }
            Act::Branch(number) => {
                let answer = desk.post(&format!("/api/models/lab/net/branch/b{number}"), json!({})).await;
                assert!(matches!(answer.status, StatusCode::OK | StatusCode::CONFLICT));
            }
            Act::PutAside(number, content) => {
                let lines = format!("{}{}\n", header(None), file(&path(0), &[*content, 1]));
                let address = format!("/api/models/lab/net/commit/b{number}");
                let answer = desk.ask(Some(&desk.secret), "POST", &address, lines).await;
                match answer.status {
                    StatusCode::NOT_FOUND => {}
                    _ => aside.push(head(&answer)),
                }
            }
            Act::GiveUp(number) => {
                let address = format!("/api/models/lab/net/branch/b{number}");
                let answer = desk.ask(Some(&desk.secret), "DELETE", &address, "").await;
                assert!(matches!(answer.status, StatusCode::OK | StatusCode::NOT_FOUND));
            }
            Act::Remove => {
                let body = json!({ "name": "net", "organization": "lab" }).to_string();
                let answer = desk.ask(Some(&desk.secret), "DELETE", "/api/repos/delete", body).await;
                assert_eq!(answer.status, StatusCode::OK);
                spent.extend(tags.keys().cloned());
                past.extend(std::mem::take(&mut tags).into_keys().chain(commits.drain(..)).chain(aside.drain(..)));
                commits.push(begin().await);
            }
            Act::Tag(number) | Act::TagOlder(number) => {
                let older = matches!(act, Act::TagOlder(_));
                let revision = if older { commits[commits.len() / 2].clone() } else { newest.clone() };
                let tag = format!("v1.{number}.0");
                let answer = desk.post(&format!("/api/models/lab/net/tag/{revision}"), json!({ "tag": tag })).await;
                match tags.get(&tag) {
                    None if spent.contains(&tag) => assert_eq!(answer.status, StatusCode::FORBIDDEN),
                    None => {
                        assert_eq!(answer.status, StatusCode::OK, "{}", String::from_utf8_lossy(&answer.bytes));
                        tags.insert(tag, revision);
                    }
                    Some(there) if *there == revision => assert_eq!(answer.status, StatusCode::CONFLICT),
                    Some(_) => assert_eq!(answer.status, StatusCode::FORBIDDEN),
                }
            }
        }
        commits.dedup();
        for revision in tags.keys().chain(&commits).chain(&aside).chain(&past) {
            for path in (0..4).map(path).chain(["model.onnx".to_owned()]) {
                let answer = desk.get(&format!("/lab/net/resolve/{revision}/{path}")).await;
                let now = (answer.status, answer.bytes);
                let once = served.entry((revision.clone(), path.clone())).or_insert_with(|| now.clone());
                // What was removed may be gone; and a refusal is in words that may differ.
                let may_be_gone = past.contains(revision) && now.0 == StatusCode::NOT_FOUND;
                let is_same = once.0 == now.0 && (now.0 != StatusCode::OK || once.1 == now.1);
                assert!(is_same || may_be_gone, "{revision} {path}");
            }
        }
    }
    let told = desk.get("/api/models/lab/net/commits/main").await.json();
    let mut told: Vec<String> =
        told.as_array().unwrap().iter().map(|own| own["id"].as_str().unwrap().to_owned()).collect();
    told.reverse();
    assert_eq!(told[1..], commits, "every commit once, in order");
    desk.store.check().await.unwrap();
    commits
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is written, no byte changes that was served once for a tag or commit; and the same history has the same commits anywhere.
    #[test]
    fn nothing_that_was_served_ever_changes(acts in proptest::collection::vec(act(), 1..12)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let once = runtime.block_on(play(&acts));
        let again = runtime.block_on(play(&acts));
        prop_assert_eq!(once, again);
    }
}

#[tokio::test]
async fn who_asks_again_with_a_key_gets_the_first_answer() {
    let desk = Desk::new().await;
    let create = json!({ "name": "cohort", "organization": "lab", "type": "dataset" }).to_string();
    let (_, other) = desk.token("lab/*", true).await;
    let ask = async |secret: &str, key: &str, path: &str, body: &str| {
        desk.ask_with(Some(secret), "POST", path, &[("idempotency-key", key)], body.to_owned()).await
    };
    let (own, new) = (desk.secret.as_str(), "/api/repos/create");
    assert_eq!(ask(own, "c-1", new, &create).await.status, StatusCode::OK);
    assert_eq!(ask(own, "c-1", new, &create).await.status, StatusCode::OK, "the same again");
    assert_eq!(ask(own, "c-2", new, &create).await.status, StatusCode::CONFLICT, "another key");
    assert_eq!(ask(&other, "c-1", new, &create).await.status, StatusCode::CONFLICT, "the key of somebody else");

    let first = desk.get("/api/datasets/lab/cohort").await.json()["sha"].as_str().unwrap().to_owned();
    let lines = |parent: &str, content: &[u8]| {
        let header = json!({ "key": "header", "value": { "summary": "Change", "parentCommit": parent } });
        let card = CARD.replace("# Cohort", &format!("# Cohort {}", content.len()));
        format!("{header}\n{}\n{}\n", file("README.md", card.as_bytes()), file("a.txt", content))
    };
    let path = "/api/datasets/lab/cohort/commit/main";
    let second = head(&ask(own, "\"k-1\"", path, &lines(&first, b"1")).await);
    // Others go on meanwhile; asking again still tells the first answer, and writes nothing.
    let third = head(&desk.commit("lab/cohort", None, &[file("b.txt", b"2")]).await);
    assert_eq!(head(&ask(own, "k-1", path, &lines(&first, b"1")).await), second);
    assert_eq!(desk.get("/api/datasets/lab/cohort").await.json()["sha"], third.as_str());
    let reused = ask(own, "k-1", path, &lines(&first, b"12")).await;
    assert_eq!(reused.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(reused.header("x-error-message").contains("another request"), "{}", reused.header("x-error-message"));
    assert_eq!(ask(&other, "k-1", path, &lines(&first, b"1")).await.status, StatusCode::PRECONDITION_FAILED);
    // Without a key, a lost answer cannot be told from somebody who was first.
    assert_eq!(
        desk.commit("lab/cohort", Some(&first), &[file("a.txt", b"1")]).await.status,
        StatusCode::PRECONDITION_FAILED
    );
    for wrong in ["", "\"\"", &"k".repeat(256)] {
        assert_eq!(ask(own, wrong, path, &lines(&third, b"3")).await.status, StatusCode::BAD_REQUEST, "{wrong:.5}");
    }
    // Many at once are one.
    let body = lines(&third, b"many");
    let many = futures_util::future::join_all((0..6).map(|_| ask(own, "k-2", path, &body))).await;
    let heads: std::collections::BTreeSet<String> = many.iter().map(head).collect();
    assert_eq!(heads.len(), 1, "{heads:?}");
    assert_eq!(desk.get("/api/datasets/lab/cohort/commits/main").await.json().as_array().map(Vec::len), Some(4));

    // The same after the node was started again.
    let desk = desk.restarted().await;
    let again = [("idempotency-key", "k-1")];
    let again = desk.ask_with(Some(&desk.secret), "POST", path, &again, lines(&first, b"1")).await;
    assert_eq!(head(&again), second);
}
