//! Deposits over their routes, as clients call them.

mod checks;
mod history;
mod removal;
mod uploads;
mod who;
mod xet;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use acequia_blobs::BlobStore;
use acequia_deposit::{Deposits, Limits, Place, Published, Scope, router};
use acequia_store::{KeyStore, Store};
use acequia_types::{Clock, Digest, Timestamp};
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tower::ServiceExt;

/// A clock that a test sets.
pub(crate) struct Watch(pub(crate) AtomicI64);

impl Clock for Watch {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_s(self.0.load(Ordering::Relaxed))
    }
}

pub(crate) const NOW: i64 = 1_800_000_000;
const DAY_S: i64 = 86_400;

/// A node that takes deposits.
pub(crate) struct Desk {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) deposits: Arc<Deposits>,
    pub(crate) store: Store,
    pub(crate) blobs: BlobStore,
    pub(crate) keys: KeyStore,
    pub(crate) watch: Arc<Watch>,
    pub(crate) app: Router,
    /// Secret of a token that writes `lab/*`.
    pub(crate) secret: String,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) bytes: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_default()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// Whether it came from who stands behind.
    pub(crate) fn is_from_behind(&self) -> bool {
        self.status == StatusCode::IM_A_TEAPOT
    }
}

async fn deposits(folder: &Path, watch: &Arc<Watch>, limits: Limits) -> (Arc<Deposits>, Store, (BlobStore, KeyStore)) {
    let store = Store::open(&folder.join("records.sqlite")).await.unwrap();
    let keys = KeyStore::open(&folder.join("keys.sqlite")).await.unwrap();
    let blobs = BlobStore::open(&folder.join("blobs")).unwrap();
    let clock = Arc::clone(watch) as Arc<dyn Clock>;
    let lock = Some(folder.join("deposits.lock"));
    let both = (blobs.clone(), keys.clone());
    let place = Place { store: store.clone(), keys, blobs, root: [7; 32], clock, limits, lock };
    (Arc::new(Deposits::new(place)), store, both)
}

fn app(deposits: &Arc<Deposits>) -> Router {
    let published: Published = Arc::new(|_, name| name.to_string() == "lab/published");
    let behind = Router::new().fallback(|| async { StatusCode::IM_A_TEAPOT });
    router(Arc::clone(deposits), published, None, behind).unwrap()
}

impl Desk {
    pub(crate) async fn new() -> Self {
        Self::with(Limits::default()).await
    }

    pub(crate) async fn with(limits: Limits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let watch = Arc::new(Watch(AtomicI64::new(NOW)));
        let (deposits, store, (blobs, keys)) = deposits(folder.path(), &watch, limits).await;
        let app = app(&deposits);
        let mut desk = Self { folder, deposits, store, blobs, keys, watch, app, secret: String::new() };
        desk.secret = desk.token("lab/*", true).await.1;
        desk
    }

    /// The same node after it was stopped.
    pub(crate) async fn restarted(self) -> Self {
        let Self { folder, watch, secret, .. } = self;
        let (deposits, store, (blobs, keys)) = deposits(folder.path(), &watch, Limits::default()).await;
        let app = app(&deposits);
        Self { folder, deposits, store, blobs, keys, watch, app, secret }
    }

    /// Id and secret of a token for ten days.
    pub(crate) async fn token(&self, scope: &str, write: bool) -> (String, String) {
        let until = Timestamp::from_unix_s(self.watch.now().unix_s() + 10 * DAY_S);
        let scope = [Scope::parse(scope).unwrap()];
        let (token, secret) = self.deposits.make_token("A lab", &scope, write, until, "bernd").await.unwrap();
        (token.id, secret)
    }

    pub(crate) fn days_later(&self, days: i64) {
        self.watch.0.fetch_add(days * DAY_S, Ordering::Relaxed);
    }

    pub(crate) async fn ask(&self, secret: Option<&str>, method: &str, path: &str, body: impl Into<Body>) -> Answer {
        self.ask_with(secret, method, path, &[], body).await
    }

    pub(crate) async fn ask_with(
        &self,
        secret: Option<&str>,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header("host", "node.example");
        if let Some(secret) = secret {
            request = request.header("authorization", format!("Bearer {secret}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body.into()).unwrap();
        let response = self.app.clone().oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap().to_vec();
        Answer { status: head.status, headers: head.headers, bytes }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask(Some(&self.secret), "GET", path, "").await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.ask(Some(&self.secret), "POST", path, body.to_string()).await
    }

    /// A data set that was begun.
    pub(crate) async fn begin(&self, name: &str) {
        let (organization, name) = name.split_once('/').unwrap();
        let body = json!({ "name": name, "organization": organization, "type": "dataset", "private": true });
        assert_eq!(self.post("/api/repos/create", body).await.status, StatusCode::OK);
    }

    pub(crate) async fn commit(&self, name: &str, parent: Option<&str>, lines: &[Value]) -> Answer {
        let mut header = json!({ "summary": "Change", "description": "" });
        if let Some(parent) = parent {
            header["parentCommit"] = parent.into();
        }
        let mut body = format!("{}\n", json!({ "key": "header", "value": header }));
        for line in lines {
            body.push_str(&format!("{line}\n"));
        }
        self.ask(Some(&self.secret), "POST", &format!("/api/datasets/{name}/commit/main"), body).await
    }

    /// Where a large file goes, after asking.
    pub(crate) async fn asked(&self, name: &str, content: &[u8], transfers: &[&str]) -> Value {
        let object = json!({ "oid": Digest::of(content).to_string(), "size": content.len() });
        let body = json!({ "operation": "upload", "transfers": transfers, "objects": [object], "hash_algo": "sha256" });
        let answer = self.post(&format!("/datasets/{name}.git/info/lfs/objects/batch"), body).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", String::from_utf8_lossy(&answer.bytes));
        answer.json()["objects"][0].clone()
    }

    /// Uploads a large file in one piece.
    pub(crate) async fn upload(&self, name: &str, content: &[u8]) {
        let asked = self.asked(name, content, &["basic"]).await;
        let Some(address) = asked["actions"]["upload"]["href"].as_str() else { return };
        let answer = self.ask(None, "PUT", path_of(address), content.to_vec()).await;
        assert_eq!(answer.status, StatusCode::OK);
    }
}

/// The path of an address that the node gave out.
pub(crate) fn path_of(address: &str) -> &str {
    address.strip_prefix("http://node.example").unwrap()
}

pub(crate) fn file(path: &str, content: &[u8]) -> Value {
    json!({ "key": "file", "value": { "path": path, "content": STANDARD.encode(content), "encoding": "base64" } })
}

pub(crate) fn large(path: &str, content: &[u8]) -> Value {
    json!({ "key": "lfsFile", "value": { "path": path, "algo": "sha256", "oid": Digest::of(content).to_string(), "size": content.len() } })
}

pub(crate) fn delete(path: &str) -> Value {
    json!({ "key": "deletedFile", "value": { "path": path } })
}

pub(crate) const READ_ONLY_MESSAGE: &str = "This token reads only. Ask the trustee for one that may write.";

/// A card that says all that is asked for.
pub(crate) const CARD: &str = "---\nlicense: cc-by-4.0\npretty_name: Cohort\ntask_categories:\n- tabular-classification\n---\n# Cohort\n\nA made-up cohort, for tests of the hand-in only.\n";
