//! Deposits that their holders remove: what goes, what stays, and what happens in between.

use axum::body::Body;
use axum::http::StatusCode;
use bytes::Bytes;
use futures_util::StreamExt;
use serde_json::json;

use crate::checks::table;
use crate::{CARD, Desk, READ_ONLY_MESSAGE, file, large, path_of};

fn content(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at % 251) as u8).collect()
}

async fn removed(desk: &Desk, secret: &str, name: &str) -> StatusCode {
    let (organization, name) = name.split_once('/').unwrap();
    let body = json!({ "name": name, "organization": organization, "type": "dataset" }).to_string();
    let answer = desk.ask(Some(secret), "DELETE", "/api/repos/delete", body).await;
    assert!(answer.status != StatusCode::FORBIDDEN || answer.header("x-error-message").len() > 10);
    answer.status
}

/// Nothing lies here, neither on record nor as a blob.
async fn nothing_lies(desk: &Desk) {
    assert!(desk.store.objects(None).await.unwrap().is_empty());
    assert!(desk.store.deposited_blobs().await.unwrap().is_empty());
    assert!(desk.blobs.list().unwrap().is_empty());
    assert!(desk.keys.deposit_key("datasets/lab/cohort").await.unwrap().is_none());
}

/// A deposit that was handed in.
async fn handed_in(desk: &Desk) {
    desk.begin("lab/cohort").await;
    desk.upload("lab/cohort", &content(5_000_000)).await;
    let lines = [file("README.md", CARD.as_bytes()), large("t.raw", &content(5_000_000))];
    assert_eq!(desk.commit("lab/cohort", None, &lines).await.status, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn its_holder_removes_a_deposit_with_its_bytes() {
    let desk = Desk::new().await;
    handed_in(&desk).await;
    desk.begin("lab/other").await;
    desk.upload("lab/other", &content(5_000_000)).await;
    let asked = desk.asked("lab/cohort", b"late", &["basic"]).await;
    let (reads, elsewhere) = (desk.token("lab/*", false).await.1, desk.token("lab/other", true).await.1);
    assert_eq!(removed(&desk, &reads, "lab/cohort").await, StatusCode::FORBIDDEN, "{READ_ONLY_MESSAGE}");
    assert_eq!(removed(&desk, &elsewhere, "lab/cohort").await, StatusCode::NOT_FOUND);
    assert_eq!(removed(&desk, &desk.secret, "lab/published").await, StatusCode::FORBIDDEN);
    assert_eq!(desk.post("/api/repos/delete", json!({})).await.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(desk.ask(Some(&desk.secret), "DELETE", "/api/repos/delete", "{}").await.status, StatusCode::NOT_FOUND);

    assert_eq!(removed(&desk, &desk.secret, "lab/cohort").await, StatusCode::OK);
    assert_eq!(removed(&desk, &desk.secret, "lab/cohort").await, StatusCode::NOT_FOUND);
    assert!(desk.get("/api/datasets/lab/cohort/tree/main").await.is_from_behind(), "nobody sees it");
    let late = desk.ask(None, "PUT", path_of(asked["actions"]["upload"]["href"].as_str().unwrap()), "late").await;
    assert_eq!(late.status, StatusCode::FORBIDDEN, "an address of before takes nothing");
    let names: Vec<String> = desk.deposits.list().await.unwrap().into_iter().map(|line| line.deposit).collect();
    assert_eq!(names, ["datasets/lab/other"]);
    // The same bytes of another deposit are others here, and stay.
    assert!(desk.store.objects(Some("datasets/lab/cohort")).await.unwrap().is_empty());
    let referred = desk.store.deposited_blobs().await.unwrap();
    assert!(!referred.is_empty() && desk.blobs.list().unwrap() == referred.into_iter().collect::<Vec<_>>());
    assert_eq!(removed(&desk, &desk.secret, "lab/other").await, StatusCode::OK);
    nothing_lies(&desk).await;
    assert_eq!(desk.deposits.missing().await.unwrap(), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_name_is_free_again_and_tags_are_not() {
    let desk = Desk::new().await;
    let begin = |number: u8| {
        let desk = &desk;
        async move {
            desk.begin("lab/cohort").await;
            let (train, test) = (table(&[("a", i64::from(number)), ("b", 60)]), table(&[("c", 70)]));
            desk.upload("lab/cohort", &train).await;
            desk.upload("lab/cohort", &test).await;
            let files = [large("data/train-0.parquet", &train), large("data/test-0.parquet", &test)];
            let lines = [&[file("README.md", CARD.as_bytes())], &files[..]].concat();
            let answer = desk.commit("lab/cohort", None, &lines).await;
            assert_eq!(answer.status, StatusCode::OK);
            answer.json()["commitOid"].as_str().unwrap().to_owned()
        }
    };
    let tag = |tag: &'static str| {
        let desk = &desk;
        async move {
            let answer = desk.post("/api/datasets/lab/cohort/tag/main", json!({ "tag": tag })).await;
            (answer.status, answer.header("x-error-message").to_owned())
        }
    };
    let first = begin(0).await;
    assert_eq!(tag("v1.0.0").await.0, StatusCode::OK);
    for life in 1..4 {
        assert_eq!(removed(&desk, &desk.secret, "lab/cohort").await, StatusCode::OK);
        nothing_lies(&desk).await;
        let next = begin(life).await;
        assert_ne!(first, next);
        let gone = desk.get(&format!("/datasets/lab/cohort/resolve/{first}/README.md")).await;
        assert_eq!(gone.status, StatusCode::NOT_FOUND, "a commit of the one before");
        let (status, said) = tag("v1.0.0").await;
        assert!(status == StatusCode::FORBIDDEN && said.contains("removed"), "{status} {said}");
        assert_eq!(tag(["v1.1.0", "v1.2.0", "v1.3.0"][usize::from(life) - 1]).await.0, StatusCode::OK);
    }
    let desk = desk.restarted().await;
    let line = desk.deposits.list().await.unwrap().remove(0);
    assert_eq!((line.tag.as_deref(), line.commits), (Some("v1.3.0"), 2));
    desk.store.check().await.unwrap();
}

/// Bytes that are on their way when the deposit goes leave nothing, whether another of its name was begun meanwhile or not; and they take
/// nothing with them, where the same bytes are in that one.
#[tokio::test(flavor = "multi_thread")]
async fn what_arrives_while_it_goes_leaves_nothing() {
    let commits = async |desk: &Desk, long: &[u8]| {
        desk.upload("lab/cohort", long).await;
        assert_eq!(desk.commit("lab/cohort", None, &[large("t.raw", long)]).await.status, StatusCode::OK);
    };
    for (begins_anew, before_it_ends) in [(false, false), (true, false), (true, true)] {
        let desk = Desk::new().await;
        desk.begin("lab/cohort").await;
        let long = content(9_000_000);
        let asked = desk.asked("lab/cohort", &long, &["basic"]).await;
        let address = path_of(asked["actions"]["upload"]["href"].as_str().unwrap()).to_owned();
        let (go, gone) = tokio::sync::oneshot::channel::<()>();
        let (half, rest) = (Bytes::copy_from_slice(&long[..5_000_000]), Bytes::copy_from_slice(&long[5_000_000..]));
        let begun = futures_util::stream::iter([Ok::<_, std::io::Error>(half)]);
        let ended = futures_util::stream::once(async move {
            let _ = gone.await;
            Ok(rest)
        });
        let body = Body::from_stream(begun.chain(ended));
        let (answer, ()) = tokio::join!(desk.ask(None, "PUT", &address, body), async {
            while desk.blobs.list().unwrap().is_empty() {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
            assert_eq!(removed(&desk, &desk.secret, "lab/cohort").await, StatusCode::OK);
            if begins_anew {
                desk.begin("lab/cohort").await;
            }
            if before_it_ends {
                commits(&desk, &long).await;
            }
            go.send(()).unwrap();
        });
        assert_eq!(answer.status, StatusCode::NOT_FOUND);
        if !before_it_ends {
            nothing_lies(&desk).await;
        }
        if begins_anew {
            if !before_it_ends {
                commits(&desk, &long).await;
            }
            assert!(desk.get("/datasets/lab/cohort/resolve/main/t.raw").await.bytes == long);
            let referred = desk.store.deposited_blobs().await.unwrap();
            assert!(desk.blobs.list().unwrap() == referred.into_iter().collect::<Vec<_>>());
        }
    }
}

/// Killed when the removal is on record and nothing else happened: nobody sees the deposit, and the next sweep, or whoever begins anew,
/// removes what is left.
#[tokio::test(flavor = "multi_thread")]
async fn a_removal_that_was_cut_short_is_ended_by_others() {
    for sweeps in [true, false] {
        let desk = Desk::new().await;
        handed_in(&desk).await;
        let stream = "deposit/datasets/lab/cohort";
        let last = desk.store.entries_after(stream, 0).await.unwrap().last().unwrap().number;
        let event = json!({ "event": "removed", "by": "bernd" });
        desk.store.append_after(stream, last, acequia_types::Clock::now(&*desk.watch), &event).await.unwrap().unwrap();
        let desk = desk.restarted().await;
        assert!(desk.get("/api/datasets/lab/cohort/tree/main").await.is_from_behind());
        assert!(desk.deposits.list().await.unwrap().is_empty());
        assert!(!desk.blobs.list().unwrap().is_empty());
        if sweeps {
            let swept = desk.deposits.sweep().await.unwrap();
            assert_eq!((swept.objects, swept.bytes), (2, 5_000_000 + CARD.len() as u64));
            assert_eq!(desk.deposits.sweep().await.unwrap().objects, 0);
        } else {
            desk.begin("lab/cohort").await;
        }
        nothing_lies(&desk).await;
    }
}
