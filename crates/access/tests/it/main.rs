//! Readers sign in, promise, ask and read; and others try to do it for them.

mod login;
mod provider;
mod rights;
mod visas;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, RwLock};

use acequia_access::{House, Login, Readers, Tokens, TrustedIssuer, router};
use acequia_custody::{Conditions, DuoTerm};
use acequia_gate::{Artefact, ExitSeal, GateKey, Manifest, ReleasedFile, readmit};
use acequia_hub::{Catalogue, HubError, PublishedVersion, Shelf};
use acequia_store::Store;
use acequia_types::{Clock, DatasetName, Digest, Timestamp, parse_day};
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode, header};
use bytes::Bytes;
use ed25519_dalek::{Signer, SigningKey};
use provider::Provider;
use serde_json::Value;
use tower::ServiceExt;

pub(crate) const ORIGIN: &str = "http://localhost:8080";
pub(crate) const NOW: i64 = 1_800_000_000;
pub(crate) const DAY_S: i64 = 86_400;
/// The rows of every version.
pub(crate) const ROWS: &[u8] = b"PAR1 made-up rows PAR1";

pub(crate) struct Watch(pub(crate) AtomicI64);

impl Watch {
    pub(crate) fn pass(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }
}

impl Clock for Watch {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_s(self.0.load(Ordering::SeqCst))
    }
}

/// What is published, in memory.
#[derive(Default)]
pub(crate) struct Memory {
    versions: RwLock<Vec<Arc<PublishedVersion>>>,
    shelf: RwLock<Arc<Shelf>>,
    blobs: RwLock<BTreeMap<Digest, Bytes>>,
}

impl Catalogue for Memory {
    fn shelf(&self) -> Arc<Shelf> {
        self.shelf.read().unwrap().clone()
    }

    fn read(&self, sha256: &Digest, range: Range<u64>) -> Result<Bytes, HubError> {
        let blobs = self.blobs.read().unwrap();
        let bytes = blobs.get(sha256).ok_or(HubError::Missing { sha256: *sha256 })?;
        Ok(bytes.slice(range.start as usize..range.end as usize))
    }
}

pub(crate) fn terms(duo: &[DuoTerm]) -> Conditions {
    Conditions { duo: duo.iter().copied().collect(), ..Conditions::default() }
}

impl Memory {
    pub(crate) fn clear(&self) {
        self.versions.write().unwrap().clear();
        *self.shelf.write().unwrap() = Arc::default();
    }

    /// The newest version of a name.
    pub(crate) fn version(&self, name: &str) -> Arc<PublishedVersion> {
        let name = DatasetName::parse(name).unwrap();
        self.shelf().versions_of(Artefact::Dataset, &name).last().unwrap().clone()
    }

    pub(crate) fn publish(&self, name: &str, version: &str, terms: Conditions, at_s: i64) {
        let rows = Bytes::from_static(ROWS);
        let card = Bytes::from_static(b"---\nlicense: cc-by-4.0\n---\n# Made up\n");
        let files = vec![ReleasedFile::of("README.md", &card), ReleasedFile::of("data/train.parquet", &rows)];
        for bytes in [rows, card] {
            self.blobs.write().unwrap().insert(Digest::of(&bytes), bytes);
        }
        let manifest = Manifest {
            schema: "acequia-release/1".into(),
            artefact: Artefact::Dataset,
            dataset: DatasetName::parse(name).unwrap(),
            version: version.into(),
            title: format!("Title of {name}"),
            summary: "Made up.".into(),
            license: "CC-BY-4.0".into(),
            terms,
            released_on: parse_day("2026-11-20").unwrap(),
            program: "acequia 0.1.0".into(),
            recipe: Digest::of(b"recipe"),
            seed: 1,
            inputs: Vec::new(),
            splits: vec![("train".to_owned(), 1)],
            files,
        };
        let message = [b"acequia exit seal v1\0".as_slice(), manifest.digest().as_bytes()].concat();
        let secret = [7; 32];
        let seal = ExitSeal::from_text(hex::encode(SigningKey::from_bytes(&secret).sign(&message).to_bytes()));
        let outbound = readmit(&manifest.to_bytes(), &seal, &GateKey::from_secret(&secret).verifier()).unwrap();
        let mut versions = self.versions.write().unwrap();
        versions.push(Arc::new(PublishedVersion::new(outbound, Timestamp::from_unix_s(at_s))));
        *self.shelf.write().unwrap() = Arc::new(Shelf::of(versions.iter().cloned()).unwrap());
    }
}

/// A node with access in front of a hub.
pub(crate) struct Node {
    _folder: tempfile::TempDir,
    pub(crate) memory: Arc<Memory>,
    pub(crate) watch: Arc<Watch>,
    pub(crate) store: Store,
    pub(crate) readers: Readers,
    pub(crate) app: Router,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) bytes: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_default()
    }
}

pub(crate) const FILE: &str = "/resolve/main/data/train.parquet";

pub(crate) fn rows_of(name: &str) -> String {
    format!("/datasets/{name}{FILE}")
}

impl Node {
    pub(crate) async fn new(provider: Option<&Provider>, visas: Vec<TrustedIssuer>) -> Self {
        Self::at(ORIGIN, provider, visas).await
    }

    pub(crate) async fn at(address: &str, provider: Option<&Provider>, visas: Vec<TrustedIssuer>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("records.sqlite")).await.unwrap();
        let watch = Arc::new(Watch(AtomicI64::new(NOW)));
        let memory = Arc::new(Memory::default());
        memory.publish("open/set", "1.0.0", Conditions::default(), NOW - 10);
        memory.publish("lab/promised", "1.0.0", terms(&[DuoTerm::HealthResearch, DuoTerm::NotCommercial]), NOW - 10);
        memory.publish("lab/decided", "1.0.0", terms(&[DuoTerm::HealthResearch, DuoTerm::Ethics]), NOW - 10);
        let login = provider.map(|provider| Login {
            issuer: provider.issuer.clone(),
            client_id: "acequia".to_owned(),
            client_secret: Some("a secret: with %".to_owned().into()),
            scopes: vec!["profile".to_owned()],
            name: Some("the login of a university".to_owned()),
        });
        let clock = Arc::clone(&watch) as Arc<dyn Clock>;
        let house = House {
            store: store.clone(),
            clock: Arc::clone(&clock),
            root: [9; 32],
            catalogue: Arc::clone(&memory) as Arc<dyn Catalogue>,
            login,
            visas,
            address: address.to_owned(),
            contact: Some("data@trustee.example".to_owned()),
        };
        let hub = acequia_hub::router(Arc::clone(&memory) as Arc<dyn Catalogue>);
        let app = router(house, hub).unwrap();
        let readers = Readers::new(store.clone(), clock, [9; 32]);
        Self { _folder: folder, memory, watch, store, readers, app }
    }

    pub(crate) fn tokens(&self) -> Tokens {
        Tokens::new(self.store.clone(), Arc::clone(&self.watch) as Arc<dyn Clock>)
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.app.clone().oneshot(request).await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = axum::body::to_bytes(response.into_body(), 4 << 20).await.unwrap().to_vec();
        Answer { status, headers, bytes }
    }

    pub(crate) async fn with_token(&self, path: &str, token: &str) -> Answer {
        let request = Request::get(path).header(header::AUTHORIZATION, format!("Bearer {token}"));
        self.send(request.body(Body::empty()).unwrap()).await
    }

    /// Somebody who came through the provider.
    pub(crate) async fn signed_in(&self, provider: &Provider, subject: &str) -> Browser<'_> {
        let mut browser = Browser::new(self);
        let answer = browser.sign_in(provider, subject, "/account").await;
        assert_eq!(
            (answer.status, answer.header("location")),
            (StatusCode::SEE_OTHER, "/account"),
            "{}",
            answer.text()
        );
        browser
    }
}

/// A browser that keeps cookies.
pub(crate) struct Browser<'n> {
    pub(crate) node: &'n Node,
    pub(crate) cookies: BTreeMap<String, String>,
}

impl<'n> Browser<'n> {
    pub(crate) fn new(node: &'n Node) -> Self {
        Self { node, cookies: BTreeMap::new() }
    }

    pub(crate) async fn send(&mut self, request: axum::http::request::Builder, body: String) -> Answer {
        let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = request.header(header::HOST, "localhost:8080").header(header::COOKIE, cookies.join("; "));
        let answer = self.node.send(request.body(Body::from(body)).unwrap()).await;
        for cookie in answer.headers.get_all(header::SET_COOKIE) {
            let cookie = cookie.to_str().unwrap();
            assert!(
                cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax") && cookie.contains("Path=/"),
                "{cookie}"
            );
            let (name, rest) = cookie.split_once('=').unwrap();
            let value = rest.split(';').next().unwrap();
            match value.is_empty() {
                true => self.cookies.remove(name),
                false => self.cookies.insert(name.to_owned(), value.to_owned()),
            };
        }
        answer
    }

    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        self.send(Request::get(path), String::new()).await
    }

    /// A form of a page of the node.
    pub(crate) async fn post(&mut self, path: &str, form: &[(&str, &str)]) -> Answer {
        self.post_from(path, form, ORIGIN).await
    }

    pub(crate) async fn post_from(&mut self, path: &str, form: &[(&str, &str)], origin: &str) -> Answer {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let kind = "application/x-www-form-urlencoded";
        let request = Request::post(path).header(header::CONTENT_TYPE, kind).header(header::ORIGIN, origin);
        self.send(request, body).await
    }

    /// To the provider and back.
    pub(crate) async fn sign_in(&mut self, provider: &Provider, subject: &str, next: &str) -> Answer {
        let started = self.get(&format!("/login/start?next={next}")).await;
        assert_eq!(started.status, StatusCode::SEE_OTHER, "{}", started.text());
        let back = provider.authorise(started.header("location"), subject);
        self.get(&back).await
    }

    /// A token that the reader makes.
    pub(crate) async fn token(&mut self, scopes: &str) -> String {
        let form = [("name", "a computer"), ("scopes", scopes), ("days", "30")];
        let answer = self.post("/account/tokens", &form).await;
        let text = answer.text();
        let at = text.find("hf_acequia_").unwrap_or_else(|| panic!("{text}"));
        text[at..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect()
    }

    pub(crate) async fn promise(&mut self, name: &str, terms: &[DuoTerm]) -> Answer {
        let ticked: Vec<(&str, &str)> = terms.iter().map(|term| ("term", term.id())).collect();
        let form: Vec<(&str, &str)> = [("version", "1.0.0")].into_iter().chain(ticked).collect();
        self.post(&format!("/datasets/{name}/access/promise"), &form).await
    }
}

/// Everything that lies in the records, to look for what should not.
pub(crate) async fn records(store: &Store) -> String {
    let mut all = String::new();
    for stream in store.streams("").await.unwrap() {
        for entry in store.entries(&stream).await.unwrap() {
            all.push_str(&format!("{stream} {}\n", entry.entry));
        }
    }
    all
}
