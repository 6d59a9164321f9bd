//! Signing in through the institution, and what a provider or a stranger cannot do.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::http::{Request, StatusCode};
use serde_json::{Value, json};

use crate::provider::{Manner, Provider, Sign, SignKey};
use crate::{Browser, NOW, Node, ORIGIN, records};

#[tokio::test]
async fn a_reader_signs_in_through_the_institution_and_out_again() {
    let provider = Provider::start().await;
    let node = Node::new(Some(&provider), Vec::new()).await;
    // By number, readers go to the name that the provider knows.
    let request = Request::get("/login").header("host", "127.0.0.1:8080").body(axum::body::Body::empty()).unwrap();
    assert_eq!(node.send(request).await.header("location"), format!("{ORIGIN}/login"));
    let mut browser = Browser::new(&node);
    let first = browser.get("/account").await;
    assert_eq!((first.status, first.header("location")), (StatusCode::SEE_OTHER, "/login?next=/account"));
    let page = browser.get("/login?next=/datasets/lab/promised/access").await;
    assert!(
        page.text().contains("/login/start?next=/datasets/lab/promised/access") && page.text().contains("a university")
    );
    let back = browser.sign_in(&provider, "anna", "/datasets/lab/promised/access").await;
    assert_eq!(back.header("location"), "/datasets/lab/promised/access");
    let account = browser.get("/account").await;
    assert!(account.text().contains("Prof. anna, faculty@uni.example"), "{}", account.text());
    for (header, value) in
        [("cache-control", "no-store"), ("x-frame-options", "DENY"), ("referrer-policy", "same-origin")]
    {
        assert_eq!(account.header(header), value);
    }
    // Another login in the same browser makes another session, and ends this one.
    let before = browser.cookies["reader"].clone();
    browser.sign_in(&provider, "anna", "/account").await;
    assert_ne!(browser.cookies["reader"], before);
    let now = std::mem::replace(browser.cookies.get_mut("reader").unwrap(), before);
    assert_eq!(browser.get("/account").await.status, StatusCode::SEE_OTHER);
    browser.cookies.insert("reader".to_owned(), now.clone());
    assert_eq!(browser.get("/account").await.status, StatusCode::OK);
    assert_eq!(browser.post("/logout", &[]).await.header("location"), "/login?out=1");
    browser.cookies.insert("reader".to_owned(), now);
    assert_eq!(browser.get("/account").await.status, StatusCode::SEE_OTHER, "the session is gone, not the cookie only");
    // Whoever only signs in leaves nothing behind.
    let all = records(&node.store).await;
    assert!(!all.contains("anna") && !all.contains("uni.example"), "{all}");
}

/// On a computer that others use the session at the institution outlives the one here.
#[tokio::test]
async fn who_signs_out_is_told_where_to_sign_out_at_the_institution() {
    for (place, link) in [
        (Some("https://login.example/end?x=1"), Some("href=\"https://login.example/end?x=1&amp;client_id=acequia\"")),
        (Some("http://login.example/end"), None),
        (Some("javascript:alert(1)"), None),
        (None, None),
    ] {
        let provider = Provider::start().await;
        provider.state.lock().unwrap().metadata = Box::new(move |told| {
            if let Some(place) = place {
                told["end_session_endpoint"] = json!(place);
            }
        });
        let node = Node::new(Some(&provider), Vec::new()).await;
        let mut browser = Browser::new(&node);
        browser.sign_in(&provider, "anna", "/account").await;
        let to = browser.post("/logout", &[]).await.header("location").to_owned();
        let page = browser.get(&to).await.text();
        assert!(page.contains("signed out of this node") && page.contains("/login/start"), "{page}");
        assert_eq!(
            (page.contains("Sign out there"), link.is_none_or(|link| page.contains(link))),
            (link.is_some(), true)
        );
        assert!(!browser.get("/login").await.text().contains("signed out"));
    }
    // Where nobody can sign in there is nothing to sign out of.
    let node = Node::new(None, Vec::new()).await;
    assert!(!Browser::new(&node).get("/login?out=1").await.text().contains("signed out"));
}

#[tokio::test]
async fn a_login_counts_once_and_in_the_browser_that_began_it() {
    let provider = Provider::start().await;
    let node = Node::new(Some(&provider), Vec::new()).await;
    let (mut own, mut other) = (Browser::new(&node), Browser::new(&node));
    let started = own.get("/login/start").await;
    let back = provider.authorise(started.header("location"), "anna");
    // Somebody who is led to the end of another's login (login CSRF) is not signed in as her.
    assert_eq!(other.get(&back).await.status, StatusCode::FORBIDDEN);
    other.get("/login/start").await;
    assert_eq!(other.get(&back).await.status, StatusCode::FORBIDDEN);
    assert!(!other.cookies.contains_key("reader"));
    assert_eq!(own.get(&back).await.status, StatusCode::SEE_OTHER);
    assert_eq!(own.get(&back).await.status, StatusCode::FORBIDDEN, "again");
    for bad in ["/login/callback", "/login/callback?code=x&state=y", "/login/callback?state="] {
        assert_eq!(own.get(bad).await.status, StatusCode::FORBIDDEN, "{bad}");
    }
    // The person said no at the provider.
    let mut shy = Browser::new(&node);
    let started = shy.get("/login/start?next=/datasets/lab/promised/access").await;
    let back = provider.authorise(started.header("location"), "anna").replace("code=", "error=access_denied&nothing=");
    assert_eq!(shy.get(&back).await.header("location"), "/login?next=/datasets/lab/promised/access");
    // A code of another login in place of the own one: the proof key does not fit (RFC 7636).
    let mut victim = Browser::new(&node);
    let theirs = provider.authorise(victim.get("/login/start").await.header("location"), "victim");
    let mut thief = Browser::new(&node);
    let own = provider.authorise(thief.get("/login/start").await.header("location"), "thief");
    let code = |path: &str| path.split("code=").nth(1).unwrap().split('&').next().unwrap().to_owned();
    let mixed = own.replace(&code(&own), &code(&theirs));
    assert_eq!(thief.get(&mixed).await.status, StatusCode::BAD_GATEWAY);
    assert!(!thief.cookies.contains_key("reader"));
    // Too late.
    let mut slow = Browser::new(&node);
    let back = provider.authorise(slow.get("/login/start").await.header("location"), "anna");
    node.watch.pass(16 * 60);
    assert_eq!(slow.get(&back).await.status, StatusCode::FORBIDDEN);
}

type Lie = (&'static str, fn(&mut Value));

/// What an ID token, or the answer about the person, may say wrongly.
#[tokio::test]
async fn a_provider_that_lies_signs_nobody_in() {
    let provider = Provider::start().await;
    let node = Node::new(Some(&provider), Vec::new()).await;
    let lies: [Lie; 17] = [
        ("nonce", |claims| claims["nonce"] = json!("another")),
        ("no nonce", |claims| drop(claims.as_object_mut().unwrap().remove("nonce"))),
        ("issuer", |claims| claims["iss"] = json!("https://another.example")),
        ("no issuer", |claims| claims["iss"] = Value::Null),
        ("audience", |claims| claims["aud"] = json!("another")),
        ("audiences", |claims| claims["aud"] = json!(["another", "third"])),
        ("several audiences", |claims| claims["aud"] = json!(["acequia", "another"])),
        ("party", |claims| claims["azp"] = json!("another")),
        ("ended", |claims| claims["exp"] = json!(NOW - 61)),
        ("no end", |claims| claims["exp"] = Value::Null),
        ("end as a text", |claims| claims["exp"] = json!((NOW + 300).to_string())),
        ("old", |claims| claims["iat"] = json!(NOW - 3600)),
        ("to come", |claims| claims["iat"] = json!(NOW + 3600)),
        ("not yet", |claims| claims["nbf"] = json!(NOW + 3600)),
        ("nobody", |claims| claims["sub"] = json!("")),
        ("long", |claims| claims["sub"] = json!("x".repeat(300))),
        ("access token", |claims| claims["at_hash"] = json!("AAAAAAAAAAAAAAAAAAAAAA")),
    ];
    for (name, lie) in lies {
        provider.state.lock().unwrap().claims = Box::new(lie);
        refused(&node, &provider, name).await;
    }
    provider.state.lock().unwrap().claims = Box::new(|_| {});
    for (name, sign) in [
        ("no signature", Sign::NotAtAll),
        ("HS256 with the public key", Sign::WithThePublicKey),
        ("a key of the same name", Sign::WithAnotherKeyOfTheSameName),
        ("crit", Sign::Critical),
        ("another key", Sign::WithAnotherKey),
    ] {
        provider.state.lock().unwrap().sign = sign;
        refused(&node, &provider, name).await;
    }
    provider.state.lock().unwrap().sign = Sign::Well;
    provider.state.lock().unwrap().userinfo = Box::new(|told| told["sub"] = json!("somebody else"));
    refused(&node, &provider, "userinfo of somebody else").await;
    provider.state.lock().unwrap().userinfo = Box::new(|_| {});
    for manner in [Manner::WithoutEnd, Manner::Elsewhere, Manner::Nonsense] {
        provider.state.lock().unwrap().manner = manner;
        refused(&node, &provider, "an answer").await;
    }
    provider.state.lock().unwrap().manner = Manner::Well;
    // The answer of another provider, sent here (RFC 9207).
    let mut browser = Browser::new(&node);
    let back = provider.authorise(browser.get("/login/start").await.header("location"), "anna");
    let (front, _) = back.split_once("&iss=").unwrap();
    assert_eq!(browser.get(front).await.status, StatusCode::BAD_GATEWAY, "without a name");
    let back = provider.authorise(browser.get("/login/start").await.header("location"), "anna");
    let (front, _) = back.split_once("&iss=").unwrap();
    assert_eq!(browser.get(&format!("{front}&iss=https://another.example")).await.status, StatusCode::BAD_GATEWAY);
    // And all of it was nothing but the lies.
    node.signed_in(&provider, "anna").await;
}

async fn refused(node: &Node, provider: &Provider, what: &str) {
    let mut browser = Browser::new(node);
    let answer = browser.sign_in(provider, "anna", "/account").await;
    assert_eq!(answer.status, StatusCode::BAD_GATEWAY, "{what}");
    assert!(!browser.cookies.contains_key("reader"), "{what}");
    assert!(answer.text().contains("AX006") && !answer.text().contains("anna"), "{what}");
}

#[tokio::test]
async fn what_a_provider_says_of_itself_is_held_against_the_settings() {
    let lies: [Lie; 5] = [
        ("issuer", |told| told["issuer"] = json!("https://another.example")),
        ("plain keys", |told| told["jwks_uri"] = json!("http://keys.example/jwks")),
        ("plain token endpoint", |told| told["token_endpoint"] = json!("http://192.0.2.1/token")),
        ("a file", |told| told["authorization_endpoint"] = json!("file:///etc/passwd")),
        ("no PKCE", |told| told["code_challenge_methods_supported"] = json!(["plain"])),
    ];
    for (name, lie) in lies {
        let provider = Provider::start().await;
        provider.state.lock().unwrap().metadata = Box::new(lie);
        let node = Node::new(Some(&provider), Vec::new()).await;
        let mut browser = Browser::new(&node);
        assert_eq!(browser.get("/login/start").await.status, StatusCode::BAD_GATEWAY, "{name}");
    }
}

#[tokio::test]
async fn a_provider_may_change_its_keys() {
    let provider = Provider::start().await;
    let node = Node::new(Some(&provider), Vec::new()).await;
    node.signed_in(&provider, "anna").await;
    tokio::time::sleep(Duration::from_millis(3100)).await;
    provider.state.lock().unwrap().key = SignKey::new(2);
    node.signed_in(&provider, "anna").await;
    // The old one counts no more.
    let old = SignKey::new(1);
    let claims = Arc::new(Mutex::new(Value::Null));
    let seen = Arc::clone(&claims);
    provider.state.lock().unwrap().claims = Box::new(move |own| *seen.lock().unwrap() = own.clone());
    node.signed_in(&provider, "anna").await;
    assert!(claims.lock().unwrap()["nonce"].is_string() && old.jwk()["kid"] == "key-1");
    provider.state.lock().unwrap().sign = Sign::WithAnotherKey;
    refused(&node, &provider, "a key that is not among them").await;
}

#[tokio::test]
async fn a_provider_that_never_answers_holds_nobody_for_long() {
    let provider = Provider::start().await;
    let node = Node::new(Some(&provider), Vec::new()).await;
    provider.state.lock().unwrap().manner = Manner::Never;
    let began = Instant::now();
    refused(&node, &provider, "silence").await;
    assert!(began.elapsed() < Duration::from_secs(15));
}

#[tokio::test]
async fn nobody_is_sent_to_another_site() {
    let provider = Provider::start().await;
    let node = Node::new(Some(&provider), Vec::new()).await;
    for bad in ["https://evil.example/", "//evil.example", "/%5Cevil.example", "/login/start"] {
        let mut browser = Browser::new(&node);
        let back = browser.sign_in(&provider, "anna", bad).await;
        assert_eq!(back.header("location"), "/account", "{bad}");
        assert_eq!(browser.get(&format!("/login?next={bad}")).await.header("location"), "/account");
    }
}

#[tokio::test]
async fn cookies_are_bound_to_the_host_where_there_is_https() {
    let provider = Provider::start().await;
    let node = Node::at("https://data.example.org", Some(&provider), Vec::new()).await;
    let answer = node.send(Request::get("/login/start").body(axum::body::Body::empty()).unwrap()).await;
    let cookie = answer.header("set-cookie");
    assert!(cookie.starts_with("__Host-login=") && cookie.ends_with("; Secure"), "{cookie}");
    assert!(answer.header("location").contains("redirect_uri=https%3A%2F%2Fdata.example.org%2Flogin%2Fcallback"));
}

#[tokio::test]
async fn without_a_login_the_pages_say_so() {
    let node = Node::new(None, Vec::new()).await;
    let mut browser = Browser::new(&node);
    for page in ["/login", "/datasets/lab/promised/access", "/datasets/lab/decided/access"] {
        let answer = browser.get(page).await;
        assert_eq!(answer.status, StatusCode::OK);
        assert!(answer.text().contains("no institutional login") && answer.text().contains("data@trustee.example"));
    }
    assert_eq!(browser.get("/login/start").await.status, StatusCode::NOT_FOUND);
    assert_eq!(browser.get("/datasets/no/such/access").await.status, StatusCode::NOT_FOUND);
    assert!(browser.get("/datasets/open/set/access").await.text().contains("Everybody may read"));
    let other = browser.post("/account", &[]).await;
    assert_eq!((other.status, other.header("allow")), (StatusCode::METHOD_NOT_ALLOWED, "GET, HEAD"));
}

/// What is written to the log.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn nothing_of_a_reader_stands_in_the_log() {
    let log = Log::default();
    let to = log.clone();
    let subscriber = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_ansi(false);
    let subscriber = subscriber.with_writer(move || to.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let provider = Provider::start().await;
    let node = Node::new(Some(&provider), Vec::new()).await;
    let mut browser = node.signed_in(&provider, "anna-subject").await;
    let secret = browser.token("lab/promised").await;
    node.with_token("/datasets/lab/promised/resolve/main/data/train.parquet", &secret).await;
    provider.state.lock().unwrap().sign = Sign::NotAtAll;
    refused(&node, &provider, "no signature").await;
    let session = browser.cookies["reader"].clone();
    drop(_guard);
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(text.contains("route=\"/login/callback\"") && text.contains("AX006"), "{text}");
    // Of our own lines; the HTTP library says at TRACE which addresses of the provider it asks.
    let own: Vec<&str> = text.lines().filter(|line| line.contains("acequia")).collect();
    for private in ["anna", "uni.example", &secret, &session, "?code=", "state=", "nonce"] {
        assert!(own.iter().all(|line| !line.contains(private)), "{private}: {text}");
    }
}
