//! People come in, choose and go; and others try to do it for them.

mod authenticator;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use acequia_blobs::{BlobStore, Key};
use acequia_custody::receipt::Controller;
use acequia_custody::rights::{Event, Right, Rules};
use acequia_custody::{Ask, Conditions, ConsentEvent, ConsentKind, Operation, Purpose, Reason};
use acequia_portal::{Holder, House, Signer, invite, router};
use acequia_store::{Donation, KeyStore, State, Store};
use acequia_types::{Clock, Digest, DonorId, IntakeId, SourceId, Timestamp, parse_timestamp};
use acequia_vault::{Desk, Texts, Vault};
use authenticator::Authenticator;
use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use serde_json::{Value, json};
use tower::ServiceExt;

const ORIGIN: &str = "http://localhost:8080";

#[derive(Clone)]
struct TestClock(Arc<AtomicI64>);

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_s(self.0.load(Ordering::SeqCst))
    }
}

impl TestClock {
    fn pass(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }
}

/// Signs with a digest: what is tested here is what the pages do with it.
struct Stamp;

impl Signer for Stamp {
    fn sign(&self, payload: &Value) -> String {
        let text = payload.to_string();
        format!("{}.{}", hex::encode(&text), Digest::of(format!("own {text}").as_bytes()))
    }
    fn verify(&self, signed: &str) -> Option<Value> {
        let (text, stamp) = signed.split_once('.')?;
        let text = String::from_utf8(hex::decode(text).ok()?).ok()?;
        let own = Digest::of(format!("own {text}").as_bytes()).to_string() == stamp;
        own.then(|| serde_json::from_str(&text).ok())?
    }
    fn public_key(&self) -> Value {
        json!({ "kty": "OKP" })
    }
}

struct Node {
    _folder: tempfile::TempDir,
    store: Store,
    vault: Vault,
    blobs: BlobStore,
    clock: TestClock,
    app: Router,
}

fn device(number: u8) -> Authenticator {
    Authenticator::new(number, usize::from(number), ORIGIN)
}

fn donor(name: &str) -> DonorId {
    DonorId::parse(name).unwrap()
}

impl Node {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("records.sqlite")).await.unwrap();
        let keys = KeyStore::open(&folder.path().join("keys.sqlite")).await.unwrap();
        let blobs = BlobStore::open(&folder.path().join("blobs")).unwrap();
        let clock = TestClock(Arc::new(AtomicI64::new(parse_timestamp("2026-03-01").unwrap().unix_s())));
        let vault =
            Vault::start(store.clone(), keys, blobs.clone(), &Key::from_bytes([7; 32]), clock.now()).await.unwrap();
        let house = House {
            desk: Desk::new(store.clone(), vault.clone(), blobs.clone(), Rules::gdpr()),
            store: store.clone(),
            clock: Arc::new(clock.clone()),
            trustee: Controller {
                name: "Trustee".to_owned(),
                address: "Street 1".to_owned(),
                contact: "data@trustee.example".to_owned(),
                country: "DE".to_owned(),
                authority: "the authority".to_owned(),
            },
            signer: Arc::new(Stamp),
            texts: Box::new(Texts::of),
            languages: Texts::languages().map(str::to_owned).collect(),
            origin: ORIGIN.to_owned(),
        };
        let hub = Router::new().fallback(|| async { "the hub" });
        let app = router(house, hub).unwrap();
        Self { _folder: folder, store, vault, blobs, clock, app }
    }

    fn desk(&self) -> Desk {
        Desk::new(self.store.clone(), self.vault.clone(), self.blobs.clone(), Rules::gdpr())
    }

    async fn gave(&self, name: &str, source: &str) {
        let intake = IntakeId::parse(&format!("in-{name}")).unwrap();
        let deposit = self.vault.deposit(&donor(name), &intake, b"a record").await.unwrap();
        let donation = Donation {
            intake,
            donor: donor(name),
            source: SourceId::parse(source).unwrap(),
            format: "fhir-r4-bundle".to_owned(),
            plaintext: Digest::of(name.as_bytes()),
            sealed: deposit.sealed,
            bytes: 8,
            mapping: None,
            received_at: self.clock.now(),
            state: State::Accepted,
            detail: json!({ "items": 3, "problems": { "IN010": 1 } }),
        };
        self.store.add_donation(&donation).await.unwrap();
    }

    async fn reason(&self, name: &str, purpose: Purpose) -> Option<Reason> {
        let history = self.store.consent(&donor(name)).await.unwrap();
        let (policy, now) = (Rules::gdpr().policy(), self.clock.now());
        Ask { purpose, operation: Operation::Use, policy: &policy, now, terms: Conditions::none() }
            .about(&donor(name), history.as_ref())
            .reason()
    }

    async fn code(&self, holder: &Holder, by: &str) -> Option<String> {
        invite(&self.store, holder, by, self.clock.now()).await.unwrap().code
    }

    /// Somebody with a passkey, signed in.
    async fn comes(&self, holder: Holder, number: u8) -> Browser<'_> {
        let code = self.code(&holder, "anna").await.unwrap();
        let mut browser = Browser::new(self, number);
        browser.join(&code).await;
        let made = browser.make_passkey().await;
        assert_eq!(made.0, StatusCode::OK, "{}", made.1);
        browser
    }

    async fn donor_comes(&self, name: &str, number: u8) -> Browser<'_> {
        self.comes(Holder::Donor(donor(name)), number).await
    }
}

/// A browser with cookies and a device.
struct Browser<'n> {
    node: &'n Node,
    session: Option<String>,
    device: Authenticator,
    language: &'static str,
}

struct Answer {
    status: StatusCode,
    to: String,
    text: String,
}

impl<'n> Browser<'n> {
    fn new(node: &'n Node, number: u8) -> Self {
        Self { node, session: None, device: device(number), language: "en" }
    }

    async fn send(&mut self, request: Request<Body>) -> Answer {
        let response = self.node.app.clone().oneshot(request).await.unwrap();
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        assert!(!header(header::CONTENT_SECURITY_POLICY).is_empty() || response.status() == StatusCode::OK);
        for cookie in response.headers().get_all(header::SET_COOKIE) {
            let cookie = cookie.to_str().unwrap();
            if let Some(rest) = cookie.strip_prefix("session=") {
                assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
                let token = rest.split(';').next().unwrap();
                self.session = (!token.is_empty()).then(|| token.to_owned());
            }
        }
        let (status, to) = (response.status(), header(header::LOCATION).to_owned());
        let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        Answer { status, to, text: String::from_utf8(body.to_vec()).unwrap() }
    }

    fn request(&self, method: &str, path: &str) -> axum::http::request::Builder {
        let builder = Request::builder().method(method).uri(path).header("accept-language", self.language);
        match &self.session {
            Some(token) => builder.header(header::COOKIE, format!("session={token}")),
            None => builder,
        }
    }

    async fn get(&mut self, path: &str) -> Answer {
        let request = self.request("GET", path).body(Body::empty()).unwrap();
        self.send(request).await
    }

    async fn post(&mut self, path: &str, form: &str) -> Answer {
        let request = self.request("POST", path).header("origin", ORIGIN).body(Body::from(form.to_owned())).unwrap();
        self.send(request).await
    }

    async fn ask(&mut self, path: &str, body: &Value) -> (StatusCode, Value) {
        let request = self.request("POST", path).header("origin", ORIGIN).body(Body::from(body.to_string())).unwrap();
        let answer = self.send(request).await;
        (answer.status, serde_json::from_str(&answer.text).unwrap_or_default())
    }

    async fn join(&mut self, code: &str) -> Answer {
        self.post("/you/join", &format!("code={code}")).await
    }

    async fn make_passkey(&mut self) -> (StatusCode, Value) {
        let (status, asked) = self.ask("/you/passkeys/start", &json!({})).await;
        if status != StatusCode::OK {
            return (status, asked);
        }
        let credential = self.device.create(&asked["options"]);
        self.ask("/you/passkeys/finish", &json!({ "ceremony": asked["ceremony"], "credential": credential })).await
    }

    async fn sign_in(&mut self) -> (StatusCode, Value) {
        let (_, asked) = self.ask("/you/sign-in/start", &json!({})).await;
        let credential = self.device.get(&asked["options"]);
        self.ask("/you/sign-in/finish", &json!({ "ceremony": asked["ceremony"], "credential": credential })).await
    }

    /// The page, which must be there.
    #[track_caller]
    fn page(answer: Answer) -> String {
        assert_eq!(answer.status, StatusCode::OK, "{} {}", answer.to, answer.text);
        answer.text
    }
}

/// Something an authenticator says that is not so.
type Lie = fn(&mut Authenticator);

/// The value of a hidden field.
fn hidden<'t>(text: &'t str, name: &str) -> &'t str {
    let start = text.find(&format!("name=\"{name}\" value=\"")).expect(name);
    let value = &text[start..];
    value.split('"').nth(3).unwrap()
}

#[tokio::test]
async fn a_donor_comes_in_chooses_and_withdraws() {
    let node = Node::new().await;
    node.gave("d", "individual-donors").await;
    let mut browser = node.donor_comes("d", 1).await;
    let home = Browser::page(browser.get("/you").await);
    assert_eq!(home.matches("You have not decided").count(), 3);
    assert!(home.contains("One file of yours") && !home.contains("checked"), "nothing is ticked before");

    // One purpose, in one click.
    assert_eq!(browser.post("/you/allow", "purpose=research").await.to, "/you");
    assert_eq!(node.reason("d", Purpose::Research).await, None);
    node.clock.pass(5);

    // What cannot be called back is read first, and one question is asked.
    let notice = Browser::page(browser.get("/you/allow?purpose=open-publication").await);
    let (digest, language) = (hidden(&notice, "notice").to_owned(), hidden(&notice, "language").to_owned());
    let form = |recall: &str, digest: &str| {
        format!("purpose=open-publication&language={language}&notice={digest}&recall={recall}")
    };
    let mistaken = Browser::page(browser.post("/you/allow", &form("yes", &digest)).await);
    assert!(mistaken.contains("They cannot"));
    Browser::page(browser.post("/you/allow", &form("no", "other words")).await);
    assert_eq!(browser.post("/you/allow", "purpose=open-publication&recall=no").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(node.reason("d", Purpose::OpenPublication).await, Some(Reason::NotAsked), "nothing was allowed so far");
    assert_eq!(browser.post("/you/allow", &form("no", &digest)).await.to, "/you");
    assert_eq!(node.reason("d", Purpose::OpenPublication).await, Some(Reason::CoolingOff));
    assert_eq!(node.reason("d", Purpose::Research).await, None, "what was allowed before stays");
    let history = node.store.consent(&donor("d")).await.unwrap().unwrap();
    let last = history.events().next_back().unwrap();
    assert_eq!(last.notice.as_ref().map(|notice| notice.language.as_str()), Some("en"));
    assert!(Browser::page(browser.get("/you").await).contains("It counts from 2026-03-15"));

    // The receipt can be checked by anybody, and a forged one is seen.
    let receipt = Browser::page(browser.get("/you/receipt").await);
    assert!(receipt.contains("<svg class=\"qr\"") && receipt.contains("Trustee"));
    let json: Value = serde_json::from_str(&Browser::page(browser.get("/you/receipt.json").await)).unwrap();
    assert_eq!(json["@type"], "dpv:ConsentReceipt");
    let told = Stamp.sign(&json!({ "iss": "Trustee", "iat": 1_800_000_000, "purposes": { "research": "permitted" } }));
    let mut stranger = Browser::new(&node, 9);
    let genuine = Browser::page(stranger.get(&format!("/receipt?r={told}")).await);
    assert!(genuine.contains("is genuine") && genuine.contains(&format!("/receipt?r={told}&amp;language=de")));
    assert!(Browser::page(stranger.get(&format!("/receipt?r={told}0")).await).contains("did not sign"));

    // Out of one thing, and then out of all, in two clicks each.
    node.clock.pass(5);
    assert_eq!(browser.post("/you/refuse", "purpose=research").await.to, "/you");
    assert_eq!(node.reason("d", Purpose::Research).await, Some(Reason::Refused));
    node.clock.pass(5);
    let ways = Browser::page(browser.get("/you/withdraw").await);
    assert_eq!(ways.matches("<form method=\"post\" action=\"/you/withdraw\"").count(), 4);
    assert_eq!(browser.post("/you/withdraw", "level=leave-next-versions").await.to, "/you/report");
    assert!(Browser::page(browser.get("/you/report").await).contains("Your record is opened for nothing new."));
    for purpose in Purpose::ALL {
        assert!(node.reason("d", purpose).await.is_some(), "{purpose}");
    }
    let timeline = Browser::page(browser.get("/you/timeline").await);
    for told in
        ["A file came in", "Allowed: Health research", "Not allowed: Health research", "Withdrew:", "You were invited"]
    {
        assert!(timeline.contains(told), "{told}: {timeline}");
    }
    // The hub is served beside it.
    assert_eq!(browser.get("/datasets/a/b").await.text, "the hub");
}

#[tokio::test]
async fn what_is_somebody_elses_is_not_there() {
    let node = Node::new().await;
    for name in ["a", "b"] {
        node.gave(name, "hospital").await;
    }
    let mut a = node.donor_comes("a", 1).await;
    let mut b = node.donor_comes("b", 2).await;
    let mut hospital = node.comes(Holder::Institution(SourceId::parse("hospital").unwrap()), 3).await;
    assert_eq!(a.post("/you/requests", "right=access").await.to, "/you/requests/1");
    assert_eq!(a.post("/you/requests", "right=access").await.to, "/you/requests/1", "asked once");
    assert!(Browser::page(a.get("/you/requests/1").await).contains("a copy of your data"));
    let case = node.desk().case(1, node.clock.now()).await.unwrap();
    assert!(
        case.events.iter().any(|happened| matches!(happened.event, Event::Identified { .. })),
        "the passkey showed who asks"
    );

    let unknown = b.get("/you/requests/77").await;
    let others = b.get("/you/requests/1").await;
    let same = unknown.text.replace("/requests/77?", "/requests/1?");
    assert_eq!((others.status, others.text), (StatusCode::NOT_FOUND, same), "not even that it exists");
    assert_eq!(b.post("/you/requests/1/take-back", "").await.status, StatusCode::NOT_FOUND);
    assert!(!node.desk().case(1, node.clock.now()).await.unwrap().request.state.is_final());
    assert_eq!(hospital.get("/you").await.to, "/institution");
    assert_eq!(a.get("/institution").await.to, "/you");
    assert_eq!(a.post("/institution/end", "").await.to, "/you");
    assert_eq!(a.post("/you/requests/1/take-back", "").await.to, "/you/requests/1");
    assert_eq!(a.post("/you/requests/1/take-back", "").await.to, "/you/requests/1", "twice is once");

    // Whoever is not signed in sees nothing, and comes back after signing in.
    let mut visitor = Browser::new(&node, 4);
    assert_eq!(visitor.get("/you").await.to, "/you/sign-in");
    assert_eq!(visitor.get("/you/timeline").await.to, "/you/sign-in?next=/you/timeline");
    assert_eq!(visitor.post("/you/withdraw", "level=no-contact").await.to, "/you/sign-in?undone=1&next=/you/withdraw");
    assert!(Browser::page(visitor.get("/you/sign-in?undone=1&next=/you/withdraw").await).contains("was not done"));
    assert_eq!(visitor.ask("/you/passkeys/start", &json!({})).await.0, StatusCode::FORBIDDEN);
    for elsewhere in ["https://evil.example", "//evil.example", "/datasets/a/b", "/you/refuse", "javascript:alert(1)"] {
        let page = Browser::page(visitor.get(&format!("/you/sign-in?next={elsewhere}")).await);
        assert!(!page.contains("data-next"), "{elsewhere}");
    }
    // Whoever was invited and decided nothing yet meets no error on any page.
    let mut new = node.donor_comes("new", 6).await;
    for page in ["/you", "/you/timeline", "/you/receipt", "/you/requests", "/you/passkeys", "/you/withdraw"] {
        Browser::page(new.get(page).await);
    }
    assert!(Browser::page(new.get("/you/receipt").await).contains("You have not decided"));
    assert_eq!(new.get("/you/report").await.to, "/you");
    assert_eq!(new.get("/you/receipt.json").await.status, StatusCode::NOT_FOUND);
    // A code alone opens nothing but the making of a passkey.
    let code = node.code(&Holder::Donor(donor("c")), "anna").await.unwrap();
    visitor.join(&code).await;
    for page in ["/you", "/you/timeline", "/you/requests"] {
        assert_eq!(visitor.get(page).await.to, "/you/passkeys", "{page}");
    }
}

#[tokio::test]
async fn no_act_comes_from_a_page_of_another_node() {
    let node = Node::new().await;
    node.gave("d", "individual-donors").await;
    let mut browser = node.donor_comes("d", 1).await;
    browser.post("/you/allow", "purpose=research").await;
    let events = node.store.consent(&donor("d")).await.unwrap().unwrap().events().len();
    let acts = [
        ("/you/allow", "purpose=model-training"),
        ("/you/refuse", "purpose=research"),
        ("/you/withdraw", "level=no-contact"),
        ("/you/requests", "right=erasure"),
        ("/you/passkeys/remove", "passkey=x"),
        ("/you/passkeys/start", "{}"),
        ("/you/sign-out", ""),
    ];
    for (path, form) in acts {
        for from in [
            &[("origin", "https://evil.example")][..],
            &[("origin", "null")],
            &[],
            &[("origin", ORIGIN), ("sec-fetch-site", "cross-site")],
        ] {
            let mut request = browser.request("POST", path);
            for (name, value) in from {
                request = request.header(*name, *value);
            }
            let answer = browser.send(request.body(Body::from(form)).unwrap()).await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path} {from:?}");
        }
    }
    assert_eq!(node.store.consent(&donor("d")).await.unwrap().unwrap().events().len(), events);
    assert!(node.desk().requests(&donor("d"), node.clock.now()).await.unwrap().is_empty());
    Browser::page(browser.get("/you").await);
}

#[tokio::test]
async fn an_authenticator_is_believed_once_and_here_only() {
    let node = Node::new().await;
    let mut a = node.donor_comes("a", 1).await;
    let b = node.donor_comes("b", 2).await;
    a.post("/you/sign-out", "").await;
    assert_eq!(a.get("/you").await.to, "/you/sign-in");
    let (status, told) = a.sign_in().await;
    assert_eq!((status, told["next"].as_str()), (StatusCode::OK, Some("/you")));

    // An answer counts once.
    let (_, asked) = a.ask("/you/sign-in/start", &json!({})).await;
    let credential = a.device.get(&asked["options"]);
    let answer = json!({ "ceremony": asked["ceremony"], "credential": credential });
    let mut thief = Browser::new(&node, 9);
    assert_eq!(thief.ask("/you/sign-in/finish", &answer).await.0, StatusCode::OK, "it is the first answer");
    let mut thief = Browser::new(&node, 9);
    let (status, told) = thief.ask("/you/sign-in/finish", &answer).await;
    assert_eq!((status, told["code"].as_str()), (StatusCode::FORBIDDEN, Some("PO013")));
    // To another challenge it is no answer.
    let (_, other) = thief.ask("/you/sign-in/start", &json!({})).await;
    let moved = json!({ "ceremony": other["ceremony"], "credential": credential });
    assert_eq!(thief.ask("/you/sign-in/finish", &moved).await.0, StatusCode::FORBIDDEN);
    // Too late.
    let (_, asked) = a.ask("/you/sign-in/start", &json!({})).await;
    let credential = a.device.get(&asked["options"]);
    node.clock.pass(301);
    let late = json!({ "ceremony": asked["ceremony"], "credential": credential });
    assert_eq!(thief.ask("/you/sign-in/finish", &late).await.0, StatusCode::FORBIDDEN);

    // From another page, for another node, without a finger, for somebody else, with another key under the same name.
    let lies: [(&str, Lie); 5] = [
        ("origin", |device| device.origin = "http://localhost:8081".to_owned()),
        ("origin", |device| device.origin = "https://localhost.evil.example".to_owned()),
        ("rp", |device| device.rp_id = "evil.example".to_owned()),
        ("user", |device| device.verifies_user = false),
        ("key", |device| {
            let (user, other) = (device.user.clone(), Authenticator::new(7, 1, ORIGIN));
            *device = other;
            (device.user, device.counter) = (user, 99);
        }),
    ];
    for (what, lie) in lies {
        let mut liar = Browser::new(&node, 1);
        liar.device = a.device.clone();
        lie(&mut liar.device);
        assert_eq!(liar.sign_in().await.0, StatusCode::FORBIDDEN, "{what}");
        assert_eq!(liar.get("/you").await.to, "/you/sign-in", "{what}");
    }
    let mut liar = Browser::new(&node, 1);
    liar.device = a.device.clone();
    liar.device.user = b.device.user.clone();
    assert_eq!(liar.sign_in().await.0, StatusCode::FORBIDDEN, "a passkey of one account does not open another");

    // A copy that lags behind is seen, and the donor reads of it.
    let mut copy = Browser::new(&node, 1);
    copy.device = a.device.clone();
    assert_eq!(a.sign_in().await.0, StatusCode::OK);
    let (status, told) = copy.sign_in().await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(told["detail"].as_str().unwrap().contains("copy"), "{told}");
    // Nobody knows which of them is the thief, so neither is in any more, until two people let the donor in again.
    assert_eq!(a.get("/you").await.to, "/you/sign-in");
    assert_eq!(a.sign_in().await.0, StatusCode::FORBIDDEN);
    assert_eq!(node.code(&Holder::Donor(donor("a")), "anna").await, None);
    let code = node.code(&Holder::Donor(donor("a")), "ben").await.unwrap();
    a.device = device(6);
    a.join(&code).await;
    assert_eq!(a.make_passkey().await.0, StatusCode::OK);
    assert!(Browser::page(a.get("/you/timeline").await).contains("somebody may hold a copy"));

    // A passkey made in one session is not slipped into another.
    let code = node.code(&Holder::Donor(donor("c")), "anna").await.unwrap();
    let mut c = Browser::new(&node, 5);
    c.join(&code).await;
    let (_, asked) = c.ask("/you/passkeys/start", &json!({})).await;
    let credential = c.device.create(&asked["options"]);
    let slipped = json!({ "ceremony": asked["ceremony"], "credential": credential });
    assert_eq!(a.ask("/you/passkeys/finish", &slipped).await.0, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn who_lost_a_passkey_is_let_in_by_two_and_the_lost_one_opens_nothing() {
    let node = Node::new().await;
    let holder = Holder::Donor(donor("d"));
    let code = node.code(&holder, "anna").await.unwrap();
    let mut browser = Browser::new(&node, 1);
    assert_eq!(browser.join("WRONG-WRONG-WRONG-WRONG").await.status, StatusCode::FORBIDDEN);
    assert_eq!(browser.join(&code.to_lowercase().replace('-', " ")).await.to, "/you/passkeys");
    let mut second = Browser::new(&node, 2);
    second.join(&code).await;
    assert_eq!(browser.make_passkey().await.1["next"], "/you");
    assert_eq!(second.make_passkey().await.0, StatusCode::FORBIDDEN, "a code counts once");
    assert_eq!(second.join(&code).await.status, StatusCode::FORBIDDEN);

    // A second device, and the first goes.
    let first = browser.device.clone();
    browser.device = device(3);
    assert_eq!(browser.make_passkey().await.1["next"], "/you/passkeys");
    let keys = Browser::page(browser.get("/you/passkeys").await);
    let own = hidden(&keys, "passkey").to_owned();
    assert_eq!(browser.post("/you/passkeys/remove", &format!("passkey={own}")).await.to, "/you/passkeys");
    // The session was opened by the passkey that is gone.
    assert_eq!(browser.get("/you").await.to, "/you/sign-in");
    assert_eq!(browser.sign_in().await.0, StatusCode::OK);
    let mut old = Browser::new(&node, 1);
    old.device = first;
    assert_eq!(old.sign_in().await.0, StatusCode::FORBIDDEN);

    // Lost: one person is not enough.
    assert_eq!(node.code(&holder, "anna").await, None);
    let code = node.code(&holder, "ben").await.unwrap();
    Browser::page(browser.get("/you").await);
    let mut new = Browser::new(&node, 4);
    new.join(&code).await;
    assert!(Browser::page(new.get("/you/passkeys").await).contains("open nothing any more"));
    assert_eq!(new.make_passkey().await.0, StatusCode::OK);
    assert_eq!(browser.get("/you").await.to, "/you/sign-in", "whoever was in by the lost passkey is out");
    assert_eq!(browser.sign_in().await.0, StatusCode::FORBIDDEN);
    Browser::page(new.get("/you").await);
    // A closed account is closed at once.
    assert!(node.store.close_account(&holder, "anna", node.clock.now()).await.unwrap());
    assert_eq!(new.get("/you").await.to, "/you/sign-in");
    assert_eq!(node.code(&holder, "anna").await, None, "closing is no way around the second person");
}

#[tokio::test]
async fn more_needs_the_passkey_again_and_less_does_not() {
    let node = Node::new().await;
    node.gave("d", "individual-donors").await;
    let mut browser = node.donor_comes("d", 1).await;
    node.clock.pass(601);
    let again = browser.post("/you/allow", "purpose=research").await;
    assert_eq!(again.to, "/you/sign-in?again=1&next=/you/allow%3Fpurpose=research");
    let page = Browser::page(browser.get(&again.to).await);
    assert!(page.contains("data-next=\"/you/allow?purpose=research\""), "{page}");
    assert_eq!(node.reason("d", Purpose::Research).await, Some(Reason::Unknown));
    let (status, told) = browser.ask("/you/passkeys/start", &json!({})).await;
    assert_eq!(
        (status, told["next"].as_str()),
        (StatusCode::FORBIDDEN, Some("/you/sign-in?again=1&next=/you/passkeys"))
    );
    // Out, at once.
    assert_eq!(browser.post("/you/refuse", "purpose=research").await.to, "/you");
    assert_eq!(browser.post("/you/withdraw", "level=no-further-use").await.to, "/you/report");
    assert_eq!(browser.sign_in().await.0, StatusCode::OK);
    node.clock.pass(2);
    assert_eq!(browser.post("/you/allow", "purpose=research").await.to, "/you");
    assert_eq!(node.reason("d", Purpose::Research).await, None);
    // Idle for more than half an hour.
    node.clock.pass(30 * 60 + 1);
    assert_eq!(browser.get("/you").await.to, "/you/sign-in");
}

#[tokio::test]
async fn smaller_withdrawals_limits_and_the_notice_outlast_a_further_yes() {
    let node = Node::new().await;
    node.gave("d", "individual-donors").await;
    let expires_on = acequia_types::parse_day("2026-12-31");
    let give = ConsentKind::Give { purposes: [Purpose::Research].into_iter().collect(), expires_on, conditions: None };
    let given = ConsentEvent::new(parse_timestamp("2026-01-01").unwrap(), give);
    node.store.append_consent(&donor("d"), &[given], node.clock.now()).await.unwrap();
    let mut browser = node.donor_comes("d", 1).await;
    browser.post("/you/withdraw", "level=no-contact").await;
    node.clock.pass(2);
    browser.post("/you/allow", "purpose=model-training").await;
    let line = node.desk().standing(&donor("d"), node.clock.now()).await.unwrap();
    assert!(!line.operations["contact"] && line.operations["use"]);
    assert_eq!((line.purposes["research"], line.purposes["model-training"]), ("permitted", "permitted"));
    node.clock.0.store(parse_timestamp("2027-01-01").unwrap().unix_s(), Ordering::SeqCst);
    assert_eq!(
        node.reason("d", Purpose::ModelTraining).await,
        Some(Reason::Expired),
        "the limit of before holds for both"
    );
    // What ran out is not renewed by allowing something else.
    assert_eq!(browser.sign_in().await.0, StatusCode::OK);
    browser.post("/you/allow", "purpose=model-training").await;
    assert_eq!(node.reason("d", Purpose::ModelTraining).await, None);
    assert_eq!(node.reason("d", Purpose::Research).await, Some(Reason::NotAsked));
}

#[tokio::test]
async fn an_institution_sees_what_it_gave_and_what_it_permits_counts() {
    let node = Node::new().await;
    for name in ["a", "b", "c"] {
        node.gave(name, if name == "c" { "elsewhere" } else { "hospital" }).await;
        let given = ConsentEvent::give("2026-01-01", &[Purpose::Research]);
        node.store.append_consent(&donor(name), &[given], node.clock.now()).await.unwrap();
    }
    let mut hospital = node.comes(Holder::Institution(SourceId::parse("hospital").unwrap()), 1).await;
    let page = Browser::page(hospital.get("/institution").await);
    assert!(page.contains("2 consents") && page.contains("IN010 × 2") && page.contains("You said nothing"), "{page}");
    assert_eq!(hospital.post("/institution/permit", "until=").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(
        hospital.post("/institution/permit", "purpose=research&until=2026-01-01").await.status,
        StatusCode::BAD_REQUEST
    );
    assert_eq!(
        hospital.post("/institution/permit", "purpose=model-training&until=2026-12-31").await.to,
        "/institution"
    );
    // A code of letters that mean something to a database is a wrong code.
    assert_eq!(hospital.join("'%20OR%20'1'='1").await.status, StatusCode::FORBIDDEN);
    for (name, reason) in [("a", Some(Reason::Institution)), ("b", Some(Reason::Institution)), ("c", None)] {
        assert_eq!(node.reason(name, Purpose::Research).await, reason, "{name}");
    }
    // A permission widens nobody's consent.
    assert_eq!(node.reason("a", Purpose::ModelTraining).await, Some(Reason::NotAsked));
    node.clock.pass(2);
    hospital.post("/institution/permit", "purpose=research&purpose=model-training").await;
    assert_eq!(node.reason("a", Purpose::Research).await, None);
    assert!(Browser::page(hospital.get("/institution").await).contains("for 2 consents"));
    node.clock.pass(700);
    assert_eq!(
        hospital.post("/institution/permit", "purpose=research").await.to,
        "/you/sign-in?again=1&next=/institution"
    );
    assert_eq!(hospital.post("/institution/end", "").await.to, "/institution", "ending needs no second look");
    assert_eq!(node.reason("b", Purpose::Research).await, Some(Reason::Institution));
    // What one ended, another does not open again: b gave something elsewhere too.
    let mut elsewhere = node.comes(Holder::Institution(SourceId::parse("elsewhere").unwrap()), 2).await;
    let second = IntakeId::parse("in-b2").unwrap();
    let deposit = node.vault.deposit(&donor("b"), &second, b"another").await.unwrap();
    let first = node.store.donations_of(&donor("b")).await.unwrap().remove(0);
    let source = SourceId::parse("elsewhere").unwrap();
    let donation = Donation { intake: second, source, sealed: deposit.sealed, ..first };
    node.store.add_donation(&donation).await.unwrap();
    node.clock.pass(2);
    assert_eq!(elsewhere.post("/institution/permit", "purpose=research").await.to, "/institution");
    assert_eq!(node.reason("b", Purpose::Research).await, Some(Reason::Institution));
    assert_eq!(node.reason("c", Purpose::Research).await, None);
}

#[tokio::test]
async fn after_erasure_the_account_is_gone_and_so_is_who_was_signed_in() {
    let node = Node::new().await;
    node.gave("d", "individual-donors").await;
    let mut browser = node.donor_comes("d", 1).await;
    assert_eq!(browser.post("/you/requests", "right=erasure").await.to, "/you/requests/1");
    assert_eq!(node.desk().requests(&donor("d"), node.clock.now()).await.unwrap()[0].request.right, Right::Erasure);
    for by in ["anna", "ben"] {
        node.desk().happen(1, Event::Approved { by: by.to_owned() }, node.clock.now()).await.unwrap();
    }
    node.clock.pass(8 * 86_400);
    assert_eq!(browser.sign_in().await.0, StatusCode::OK);
    let case = node.desk().execute(1, node.clock.now(), None).await.unwrap();
    assert!(case.request.left.is_empty());
    assert_eq!(browser.get("/you").await.to, "/you/sign-in");
    assert_eq!(browser.sign_in().await.0, StatusCode::FORBIDDEN);
    assert!(node.store.accounts().await.unwrap().is_empty());
    node.store.verify_journals().await.unwrap();
}

/// A request for erasure closes the record; taking it back opens what it closed and nothing that something else had closed.
#[tokio::test]
async fn taking_back_an_erasure_lifts_no_other_restriction() {
    let node = Node::new().await;
    node.gave("d", "individual-donors").await;
    let mut browser = node.donor_comes("d", 1).await;
    browser.post("/you/allow", "purpose=research").await;
    node.clock.pass(60);
    // Asked and taken back within one second.
    browser.post("/you/requests", "right=erasure").await;
    assert_eq!(node.reason("d", Purpose::Research).await, Some(Reason::Restricted));
    browser.post("/you/requests/1/take-back", "").await;
    node.clock.pass(2);
    assert_eq!(node.reason("d", Purpose::Research).await, None);

    let freeze = ConsentEvent::new(node.clock.now(), ConsentKind::Restrict).by(acequia_custody::Party::Desk);
    node.store.append_consent(&donor("d"), &[freeze], node.clock.now()).await.unwrap();
    node.clock.pass(60);
    browser.post("/you/requests", "right=erasure").await;
    node.clock.pass(60);
    browser.post("/you/requests/2/take-back", "").await;
    node.clock.pass(60);
    assert_eq!(node.reason("d", Purpose::Research).await, Some(Reason::Restricted), "the dispute is not over");

    // Taking it back lets others do more: an old session does not do it.
    browser.post("/you/requests", "right=erasure").await;
    node.clock.pass(700);
    let again = browser.post("/you/requests/3/take-back", "").await.to;
    assert_eq!(again, "/you/sign-in?again=1&next=/you/requests/3");
    // The desk is not flooded, and withdrawing goes on.
    for _ in 0..20 {
        assert_eq!(browser.sign_in().await.0, StatusCode::OK);
        let asked = browser.post("/you/requests", "right=access").await;
        let Some(path) = asked.to.strip_prefix("/you/requests/") else {
            assert_eq!(asked.status, StatusCode::TOO_MANY_REQUESTS);
            assert_eq!(browser.post("/you/withdraw", "level=leave-next-versions").await.to, "/you/report");
            return;
        };
        browser.post(&format!("/you/requests/{path}/take-back"), "").await;
    }
    panic!("nobody counted");
}

#[tokio::test]
async fn pages_speak_the_readers_language_and_find_the_nodes_name() {
    let node = Node::new().await;
    let mut browser = Browser::new(&node, 1);
    browser.language = "fr-CH, fr;q=0.9";
    assert!(Browser::page(browser.get("/you/sign-in").await).contains("<html lang=\"fr\""));
    let german = Browser::page(browser.get("/you/sign-in?language=de").await);
    assert!(german.contains("<html lang=\"de\"") && german.contains("Mit Ihrem Passkey"));
    let request = browser.request("GET", "/you/sign-in?next=/you").header("host", "127.0.0.1:8080").body(Body::empty());
    let answer = browser.send(request.unwrap()).await;
    assert_eq!(answer.to, "http://localhost:8080/you/sign-in?next=/you", "passkeys are bound to a name");
    let nothing = browser.get("/you/nothing").await;
    assert_eq!(nothing.status, StatusCode::NOT_FOUND);
    let request = browser.request("PUT", "/you").body(Body::empty()).unwrap();
    assert_eq!(browser.send(request).await.status, StatusCode::METHOD_NOT_ALLOWED);
    let long = "x".repeat(70_000);
    assert_eq!(browser.post("/you/join", &long).await.status, StatusCode::BAD_REQUEST);
    let script = browser.get("/.well-known/jwks.json").await;
    assert_eq!(script.text, "{\"keys\":[{\"kty\":\"OKP\"}]}");
}
