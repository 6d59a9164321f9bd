//! Who sees and writes what.

use axum::http::StatusCode;
use serde_json::json;

use crate::{CARD, Desk, file, path_of};

/// Every way to ask for something of a deposit.
const READS: [&str; 10] = [
    "/api/datasets/lab/cohort",
    "/api/datasets/lab/cohort/revision/main",
    "/api/datasets/lab/cohort/tree/main?recursive=true",
    "/api/datasets/lab/cohort/refs",
    "/api/datasets/lab/cohort/commits/main",
    "/api/datasets/lab/cohort/auth-check",
    "/datasets/lab/cohort/resolve/main/README.md",
    "/datasets/lab/cohort/raw/main/README.md",
    "/api/datasets/lab/cohort/compare/v1.0.0..v1.1.0",
    "/api/datasets/lab/cohort/xet-write-token/main",
];

const WRITES: [&str; 8] = [
    "/api/datasets/lab/cohort/preupload/main",
    "/api/datasets/lab/cohort/commit/main",
    "/api/datasets/lab/cohort/tag/main",
    "/api/datasets/lab/cohort/branch/other",
    "/api/datasets/lab/cohort/super-squash/main",
    "/api/datasets/lab/cohort/paths-info/main",
    "/datasets/lab/cohort.git/info/lfs/objects/batch",
    "/api/datasets/lab/cohort/settings",
];

/// A reader may give her token any name she likes. It reads published rows as she may, and no draft.
#[tokio::test]
async fn what_a_reader_made_for_herself_opens_no_deposit() {
    let desk = Desk::new().await;
    desk.begin("lab/cohort").await;
    assert_eq!(desk.commit("lab/cohort", None, &[file("README.md", CARD.as_bytes())]).await.status, StatusCode::OK);
    let tokens = acequia_access::Tokens::new(desk.store.clone(), desk.watch.clone());
    let scopes = [acequia_deposit::Scope::parse("lab/*").unwrap()];
    let until = acequia_types::Timestamp::from_unix_s(crate::NOW + 1000);
    let reader = "0".repeat(32);
    let new = acequia_access::NewToken {
        holder: "a laptop",
        scopes: &scopes,
        write: false,
        until,
        by: "reader",
        reader: Some(&reader),
    };
    let (_, secret) = tokens.make(&new).await.unwrap();
    for path in READS {
        assert!(desk.ask(Some(&secret), "GET", path, "").await.is_from_behind(), "{path}");
    }
    for path in WRITES {
        assert!(desk.ask(Some(&secret), "POST", path, "{}").await.is_from_behind(), "{path}");
    }
    assert!(desk.ask(Some(&secret), "GET", "/api/whoami-v2", "").await.is_from_behind());
}

#[tokio::test]
async fn whoever_has_no_token_for_it_sees_nothing() {
    let desk = Desk::new().await;
    desk.begin("lab/cohort").await;
    assert_eq!(desk.commit("lab/cohort", None, &[file("README.md", CARD.as_bytes())]).await.status, StatusCode::OK);
    let (revoked, secret_of_revoked) = desk.token("lab/*", true).await;
    assert!(desk.deposits.revoke_token(&revoked, "bernd").await.unwrap());
    assert!(!desk.deposits.revoke_token(&revoked, "bernd").await.unwrap(), "once");
    let elsewhere = desk.token("other/*", true).await.1;
    let one = desk.token("lab/another", true).await.1;
    // Another last digit, whichever it is.
    let (rest, last) = desk.secret.split_at(desk.secret.len() - 1);
    let wrong = format!("{rest}{}", if last == "0" { "1" } else { "0" });
    let strangers = [None, Some(secret_of_revoked), Some(elsewhere), Some(one), Some(wrong), Some("hf_abc".to_owned())];
    for stranger in strangers {
        for path in READS {
            for method in ["GET", "HEAD"] {
                let answer = desk.ask(stranger.as_deref(), method, path, "").await;
                assert!(answer.is_from_behind(), "{method} {path}");
            }
        }
        for path in WRITES {
            assert!(desk.ask(stranger.as_deref(), "POST", path, "{}").await.is_from_behind(), "{path}");
        }
    }
    for path in &READS[..8] {
        let answer = desk.get(path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        assert_eq!((answer.header("cache-control"), answer.header("vary")), ("private, no-cache", "Authorization"));
    }
    // Its time is up.
    desk.days_later(11);
    assert!(desk.get(READS[0]).await.is_from_behind());
}

#[tokio::test]
async fn a_token_that_reads_writes_nothing() {
    let desk = Desk::new().await;
    desk.begin("lab/cohort").await;
    let reader = desk.token("lab/cohort", false).await.1;
    assert_eq!(desk.ask(Some(&reader), "GET", READS[0], "").await.status, StatusCode::OK);
    for path in WRITES.iter().filter(|path| !path.contains("paths-info")) {
        assert_eq!(desk.ask(Some(&reader), "POST", path, "{}").await.status, StatusCode::FORBIDDEN, "{path}");
    }
    let body = json!({ "name": "lab/cohort", "type": "model" }).to_string();
    assert_eq!(desk.ask(Some(&reader), "POST", "/api/repos/create", body).await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn names_are_begun_once_within_the_scope_and_never_over_what_is_published() {
    let desk = Desk::new().await;
    let create = |name: &str, kind: &str| desk.post("/api/repos/create", json!({ "name": name, "type": kind }));
    assert_eq!(create("lab/cohort", "dataset").await.status, StatusCode::OK);
    let again = create("lab/cohort", "dataset").await;
    assert_eq!(
        (again.status, again.json()["url"].as_str().unwrap()),
        (StatusCode::CONFLICT, "http://node.example/datasets/lab/cohort")
    );
    assert_eq!(create("lab/cohort", "model").await.status, StatusCode::OK, "another kind");
    assert_eq!(create("cohort2", "dataset").await.json()["id"], "lab/cohort2");
    assert_eq!(create("other/cohort", "dataset").await.status, StatusCode::FORBIDDEN);
    assert_eq!(create("lab/published", "dataset").await.status, StatusCode::CONFLICT);
    assert_eq!(create("lab/Cohort", "dataset").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(create("lab/space", "space").await.status, StatusCode::FORBIDDEN);
    assert!(desk.get("/api/datasets/lab/published").await.is_from_behind());
    let me = desk.get("/api/whoami-v2").await.json();
    assert_eq!((me["name"].as_str(), me["auth"]["accessToken"]["role"].as_str()), (Some("lab"), Some("write")));
    assert!(!me.to_string().contains(&desk.secret));
}

#[tokio::test]
async fn addresses_for_uploading_end_with_their_token_and_their_time() {
    let desk = Desk::new().await;
    desk.begin("lab/cohort").await;
    let (id, secret) = desk.token("lab/*", true).await;
    let content = b"some bytes";
    let object = json!({ "oid": acequia_types::Digest::of(content).to_string(), "size": content.len() });
    let body = json!({ "operation": "upload", "objects": [object] }).to_string();
    let path = "/datasets/lab/cohort.git/info/lfs/objects/batch";
    let told = desk.ask(Some(&secret), "POST", path, body).await.json();
    let address = told["objects"][0]["actions"]["upload"]["href"].as_str().unwrap().to_owned();
    let put = |content: &[u8]| desk.ask(None, "PUT", path_of(&address), content.to_vec());
    assert_eq!(put(b"other bytes").await.status, StatusCode::BAD_REQUEST, "longer");
    assert_eq!(put(b"SOME BYTES").await.status, StatusCode::BAD_REQUEST, "others");
    assert!(desk.blobs.list().unwrap().is_empty(), "nothing is left of either");
    assert_eq!(put(content).await.status, StatusCode::OK);
    desk.deposits.revoke_token(&id, "bernd").await.unwrap();
    assert_eq!(put(content).await.status, StatusCode::FORBIDDEN);
    let asked = desk.asked("lab/cohort", b"later", &["basic"]).await;
    let address = asked["actions"]["upload"]["href"].as_str().unwrap().to_owned();
    desk.days_later(1);
    assert_eq!(desk.ask(None, "PUT", path_of(&address), "later").await.status, StatusCode::FORBIDDEN);
}
