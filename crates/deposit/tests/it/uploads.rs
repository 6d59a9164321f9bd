//! Bytes that arrive, whole, in parts, or not.

use acequia_deposit::Limits;
use axum::body::Body;
use axum::http::StatusCode;
use bytes::Bytes;

use crate::{Desk, file, large, path_of};

const PART_BYTES: usize = 16 << 20;

fn content(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| u8::try_from((at * 7 + at / 4096) % 251).unwrap()).collect()
}

fn address(asked: &serde_json::Value, part: Option<usize>) -> String {
    let upload = &asked["actions"]["upload"];
    let address = match part {
        Some(part) => &upload["header"][part.to_string()],
        None => &upload["href"],
    };
    path_of(address.as_str().unwrap()).to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_go_on_after_the_node_was_stopped() {
    let desk = Desk::new().await;
    desk.begin("lab/cohort").await;
    let table = content(2 * PART_BYTES + 12_345);
    let asked = desk.asked("lab/cohort", &table, &["basic", "multipart"]).await;
    assert_eq!(asked["actions"]["upload"]["header"]["chunk_size"], PART_BYTES.to_string());
    let parts: Vec<&[u8]> = table.chunks(PART_BYTES).collect();
    // Out of order, one of them twice, one broken off.
    for part in [3, 1, 1] {
        let answer = desk.ask(None, "PUT", &address(&asked, Some(part)), parts[part - 1].to_vec()).await;
        assert!(answer.status == StatusCode::OK && !answer.header("etag").is_empty());
    }
    let half = futures_util::stream::iter([
        Ok(Bytes::copy_from_slice(&parts[1][..5_000_000])),
        Err(std::io::Error::other("cut")),
    ]);
    let cut = desk.ask(None, "PUT", &address(&asked, Some(2)), Body::from_stream(half)).await;
    assert_eq!(cut.status, StatusCode::BAD_REQUEST);
    assert_eq!(
        desk.ask(None, "POST", &address(&asked, None), "{}").await.status,
        StatusCode::BAD_REQUEST,
        "one is missing"
    );
    let desk = desk.restarted().await;
    assert_eq!(desk.ask(None, "PUT", &address(&asked, Some(2)), parts[1].to_vec()).await.status, StatusCode::OK);
    for _ in 0..2 {
        assert_eq!(desk.ask(None, "POST", &address(&asked, None), "{}").await.status, StatusCode::OK);
    }
    assert!(desk.asked("lab/cohort", &table, &["multipart"]).await.get("actions").is_none(), "it is here");
    assert_eq!(desk.commit("lab/cohort", None, &[large("t.parquet", &table)]).await.status, StatusCode::OK);
    assert!(desk.get("/datasets/lab/cohort/resolve/main/t.parquet").await.bytes == table);
    // Every blob is one of the object, and none is in the clear.
    let referred = desk.store.deposited_blobs().await.unwrap();
    assert_eq!(desk.blobs.list().unwrap(), referred.into_iter().collect::<Vec<_>>());
    for blob in desk.blobs.list().unwrap() {
        assert!(!desk.blobs.get(&blob).unwrap().windows(64).any(|window| window == &table[..64]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_of_another_file_are_noticed() {
    let desk = Desk::new().await;
    desk.begin("lab/cohort").await;
    let table = content(PART_BYTES + 10);
    let asked = desk.asked("lab/cohort", &table, &["multipart"]).await;
    let mut other = table.clone();
    other[5] ^= 1;
    for (number, part) in (1..).zip(other.chunks(PART_BYTES)) {
        assert_eq!(desk.ask(None, "PUT", &address(&asked, Some(number)), part.to_vec()).await.status, StatusCode::OK);
    }
    assert_eq!(desk.ask(None, "POST", &address(&asked, None), "{}").await.status, StatusCode::BAD_REQUEST);
    assert!(desk.blobs.list().unwrap().is_empty() && desk.store.objects(None).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_no_commit_took_goes_after_its_days_and_is_counted() {
    let desk = Desk::new().await;
    desk.begin("lab/cohort").await;
    desk.upload("lab/cohort", &content(100)).await;
    desk.upload("lab/cohort", &content(200)).await;
    assert_eq!(desk.commit("lab/cohort", None, &[large("t.parquet", &content(100))]).await.status, StatusCode::OK);
    assert_eq!(
        desk.commit("lab/cohort", None, &[crate::delete("t.parquet"), file("a", b"a")]).await.status,
        StatusCode::OK
    );
    assert_eq!(desk.deposits.sweep().await.unwrap().objects, 0);
    desk.days_later(31);
    let swept = desk.deposits.sweep().await.unwrap();
    assert_eq!((swept.objects, swept.bytes), (1, 200), "what an old commit has stays");
    assert_eq!(desk.deposits.sweep().await.unwrap().objects, 0);
    let referred = desk.store.deposited_blobs().await.unwrap();
    assert_eq!(desk.blobs.list().unwrap(), referred.into_iter().collect::<Vec<_>>());
    assert_eq!(desk.deposits.missing().await.unwrap(), (2, 0));
}

#[tokio::test]
async fn limits_are_said_before_anything_is_sent() {
    let limits = Limits { file_mb: 1, deposit_mb: 2, commit_files: 2, ..Limits::default() };
    let desk = Desk::with(limits).await;
    desk.begin("lab/cohort").await;
    let asked = desk.asked("lab/cohort", &content((1 << 20) + 1), &["basic"]).await;
    assert_eq!(asked["error"]["code"], 413);
    desk.upload("lab/cohort", &content(1 << 20)).await;
    desk.upload("lab/cohort", &content((1 << 20) - 1)).await;
    let asked = desk.asked("lab/cohort", &content((1 << 20) - 2), &["basic"]).await;
    assert!(asked["error"]["message"].as_str().unwrap().contains("2 MiB"));
    let many = [file("a", b""), file("b", b""), file("c", b"")];
    assert_eq!(desk.commit("lab/cohort", None, &many).await.status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn nothing_is_written_while_the_node_is_mended() {
    let desk = Desk::new().await;
    desk.begin("lab/cohort").await;
    let asked = desk.asked("lab/cohort", b"bytes", &["basic"]).await;
    let lock =
        std::fs::File::options().append(true).create(true).open(desk.folder.path().join("deposits.lock")).unwrap();
    lock.lock().unwrap();
    let put = || desk.ask(None, "PUT", path_of(asked["actions"]["upload"]["href"].as_str().unwrap()), "bytes");
    assert_eq!(put().await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(desk.commit("lab/cohort", None, &[file("a", b"")]).await.status, StatusCode::SERVICE_UNAVAILABLE);
    lock.unlock().unwrap();
    assert_eq!(put().await.status, StatusCode::OK);
}
