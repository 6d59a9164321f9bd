//! How soon a withdrawal counts while others crowd the pages (reference design, threat T23; goal: within a second alone, within a minute
//! under ten times the load).
//!
//! `cargo bench -p acequia-portal --bench load` prints one line per load. `ACEQUIA_BENCH_DONORS` is how many donors are on file.

#[path = "../tests/it/authenticator.rs"]
#[expect(dead_code, reason = "the bench only makes passkeys")]
mod authenticator;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use acequia_blobs::{BlobStore, Key};
use acequia_custody::receipt::Controller;
use acequia_custody::rights::Rules;
use acequia_custody::{ConsentEvent, Purpose, evaluate};
use acequia_portal::{Holder, House, Signer, invite, router};
use acequia_store::{KeyStore, Store};
use acequia_types::{Clock, DonorId, SystemClock};
use acequia_vault::{Desk, Texts, Vault};
use authenticator::Authenticator;
use axum::Router;
use axum::body::Body;
use axum::http::{Request, header};
use serde_json::{Value, json};
use tower::ServiceExt;

const ORIGIN: &str = "http://localhost:8080";
/// People whose sessions crowd the pages.
const CROWD: usize = 20;
/// Withdrawals measured under each load.
const WITHDRAWALS: usize = 20;

struct NoSigner;

impl Signer for NoSigner {
    fn sign(&self, payload: &Value) -> String {
        payload.to_string()
    }
    fn verify(&self, _: &str) -> Option<Value> {
        None
    }
    fn public_key(&self) -> Value {
        json!({})
    }
}

fn donor(number: usize) -> DonorId {
    DonorId::parse(&format!("donor-{number:07}")).expect("a donor")
}

/// Status, session and body of the answer.
async fn send(app: &Router, method: &str, path: &str, session: Option<&str>, body: &str) -> (u16, String, String) {
    let mut request = Request::builder().method(method).uri(path).header("origin", ORIGIN);
    if let Some(session) = session {
        request = request.header(header::COOKIE, format!("session={session}"));
    }
    let request = request.body(Body::from(body.to_owned())).expect("a request");
    let response = app.clone().oneshot(request).await.expect("an answer");
    let cookies = response.headers().get_all(header::SET_COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut tokens = cookies.filter_map(|cookie| cookie.strip_prefix("session=")?.split(';').next());
    let token = tokens.next().unwrap_or_default().to_owned();
    let status = response.status().as_u16();
    let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.expect("a body");
    (status, token, String::from_utf8_lossy(&bytes).into_owned())
}

/// Comes in by a code and makes a passkey; returns the session.
async fn comes(app: &Router, store: &Store, number: usize) -> String {
    let invited = invite(store, &Holder::Donor(donor(number)), "bench", SystemClock.now()).await.expect("invited");
    let code = format!("code={}", invited.code.expect("a code"));
    let (_, session, _) = send(app, "POST", "/you/join", None, &code).await;
    let mut device = Authenticator::new(u8::try_from(number % 200 + 1).expect("a byte"), number, ORIGIN);
    let (_, _, asked) = send(app, "POST", "/you/passkeys/start", Some(&session), "{}").await;
    let asked: Value = serde_json::from_str(&asked).expect("options");
    let answer = json!({ "ceremony": asked["ceremony"], "credential": device.create(&asked["options"]) });
    let (status, session, told) = send(app, "POST", "/you/passkeys/finish", Some(&session), &answer.to_string()).await;
    assert_eq!(status, 200, "{told}");
    session
}

/// Reads, comes in and asks, as a crowd does, or an attacker, until told to stop.
async fn crowd(app: Router, session: String, stop: Arc<AtomicBool>, answered: Arc<AtomicU64>) {
    while !stop.load(Ordering::Relaxed) {
        for path in ["/you", "/you/timeline", "/you/sign-in"] {
            send(&app, "GET", path, Some(&session), "").await;
        }
        send(&app, "POST", "/you/sign-in/start", None, "{}").await;
        send(&app, "POST", "/you/requests", Some(&session), "right=access").await;
        answered.fetch_add(5, Ordering::Relaxed);
    }
}

async fn measure() {
    let donors = std::env::var("ACEQUIA_BENCH_DONORS").ok().and_then(|text| text.parse().ok()).unwrap_or(100_000);
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(&folder.path().join("records.sqlite")).await.expect("records");
    let keys = KeyStore::open(&folder.path().join("keys.sqlite")).await.expect("keys");
    let blobs = BlobStore::open(&folder.path().join("blobs")).expect("blobs");
    let root = Key::from_bytes([7; 32]);
    let vault = Vault::start(store.clone(), keys, blobs.clone(), &root, SystemClock.now()).await.expect("a vault");
    let trustee = ["Trustee", "Street", "data@trustee.example", "DE", "authority"].map(str::to_owned);
    let [name, address, contact, country, authority] = trustee;
    let house = House {
        desk: Desk::new(store.clone(), vault, blobs, Rules::gdpr()),
        store: store.clone(),
        clock: Arc::new(SystemClock),
        trustee: Controller { name, address, contact, country, authority },
        signer: Arc::new(NoSigner),
        texts: Box::new(Texts::of),
        languages: vec!["en".to_owned()],
        origin: ORIGIN.to_owned(),
    };
    let app = router(house, Router::new()).expect("pages");
    let began = Instant::now();
    let all: Vec<DonorId> = (0..donors).map(donor).collect();
    let all: Vec<&DonorId> = all.iter().collect();
    let event = ConsentEvent::give("2026-01-01", &[Purpose::Research]);
    store.append_consent_of_all(&all, &event, SystemClock.now()).await.expect("on file");
    println!("{donors} donors on file in {:.1} s", began.elapsed().as_secs_f64());
    let mut sessions = Vec::new();
    for number in 0..CROWD {
        sessions.push(comes(&app, &store, number).await);
    }
    let mut next = CROWD;
    for workers in [0, 8, 80] {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let others: Vec<_> = (0..workers)
            .map(|worker| {
                let session = sessions[worker % CROWD].clone();
                tokio::spawn(crowd(app.clone(), session, Arc::clone(&stop), Arc::clone(&answered)))
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(500)).await;
        let (since, before) = (Instant::now(), answered.load(Ordering::Relaxed));
        let mut took = Vec::new();
        for _ in 0..WITHDRAWALS {
            let session = comes(&app, &store, next).await;
            let began = Instant::now();
            let (status, ..) = send(&app, "POST", "/you/withdraw", Some(&session), "level=leave-next-versions").await;
            assert_eq!(status, 303);
            let history = store.consent(&donor(next)).await.expect("read");
            let decision = evaluate(&donor(next), history.as_ref(), Purpose::Research, SystemClock.now());
            assert!(decision.reason().is_some(), "it counts");
            took.push(began.elapsed());
            next += 1;
        }
        took.sort();
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let rate = (answered.load(Ordering::Relaxed) - before) as f64 / since.elapsed().as_secs_f64();
        stop.store(true, Ordering::Relaxed);
        for other in others {
            other.await.expect("a worker");
        }
        println!(
            "{workers:>3} others at once, {rate:>5.0} requests/s beside it: a withdrawal counts after {} ms (median), {} ms (slowest of {WITHDRAWALS})",
            took[WITHDRAWALS / 2].as_millis(),
            took[WITHDRAWALS - 1].as_millis(),
        );
    }
}

fn main() {
    // The test run only checks that benches build.
    if std::env::args().any(|word| word == "--bench") {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        runtime.expect("threads").block_on(measure());
    }
}
