//! GA4GH visas: those of others, and this node's own.

use acequia_access::{Decision, TrustedIssuer};
use acequia_custody::DuoTerm;
use acequia_types::{Digest, Timestamp};
use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use serde_json::{Value, json};

use crate::provider::{Provider, SignKey, hs256};
use crate::{Answer, DAY_S, NOW, Node, ORIGIN, ROWS, rows_of, terms};

const BONA_FIDE: &str = "https://doi.org/10.1038/s41431-018-0219-y";

/// An issuer of visas with its keys on this machine.
struct Issuer {
    issuer: String,
    keys: String,
    key: SignKey,
}

impl Issuer {
    async fn start() -> Self {
        let key = SignKey::new(50);
        let set = json!({ "keys": [key.jwk()] }).to_string();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new().fallback(move || async move { set });
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { keys: format!("{issuer}/keys"), issuer, key }
    }

    fn trusted(&self) -> TrustedIssuer {
        TrustedIssuer {
            issuer: self.issuer.clone(),
            keys: self.keys.clone(),
            sources: vec!["https://dac.example".to_owned()],
            grants: true,
            addresses: vec!["https://other.example/".to_owned()],
            policies: [(BONA_FIDE.to_owned(), [DuoTerm::HealthResearch].into())].into(),
        }
    }

    fn header(&self) -> Value {
        json!({ "alg": "ES256", "kid": "key-50", "jku": self.keys, "typ": "vnd.ga4gh.visa+jwt" })
    }

    fn claims(&self, body: Value) -> Value {
        json!({ "iss": self.issuer, "sub": "anna", "jti": "1", "iat": NOW, "exp": NOW + 3600, "ga4gh_visa_v1": body })
    }

    fn visa(&self, body: Value) -> String {
        self.key.sign_with(&self.header(), &self.claims(body))
    }

    fn passport(&self, visas: &[String]) -> String {
        let claims =
            json!({ "iss": self.issuer, "sub": "anna", "iat": NOW, "exp": NOW + 3600, "ga4gh_passport_v1": visas });
        self.key.sign_with(&self.header(), &claims)
    }
}

fn grant(name: &str) -> Value {
    json!({
        "type": "ControlledAccessGrants", "asserted": NOW - 10, "value": format!("{ORIGIN}/datasets/{name}"),
        "source": "https://dac.example", "by": "dac",
    })
}

fn with(mut body: Value, key: &str, value: Value) -> Value {
    body[key] = value;
    body
}

fn object() -> String {
    format!("/ga4gh/drs/v1/objects/{}", Digest::of(ROWS))
}

async fn asked(node: &Node, passports: &[String]) -> Answer {
    let body = json!({ "passports": passports }).to_string();
    let request = Request::post(format!("{}/access/rows", object())).header("content-type", "application/json");
    node.send(request.body(Body::from(body)).unwrap()).await
}

/// A node whose only version that has these rows is the one that people decide about.
async fn node(issuer: &Issuer, provider: Option<&Provider>) -> Node {
    let node = Node::new(provider, vec![issuer.trusted()]).await;
    node.memory.clear();
    node.memory.publish("lab/decided", "1.0.0", terms(&[DuoTerm::HealthResearch, DuoTerm::Ethics]), NOW - 10);
    node
}

#[tokio::test]
async fn a_passport_opens_what_its_visas_grant() {
    let issuer = Issuer::start().await;
    let node = node(&issuer, None).await;
    let told = node.send(Request::get(object()).body(Body::empty()).unwrap()).await;
    assert_eq!((told.status, &told.json()["access_methods"][0]["access_id"]), (StatusCode::OK, &"rows".into()));
    let answer = node.send(Request::get(format!("{}/access/rows", object())).body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    let good = issuer.passport(&[issuer.visa(grant("lab/decided"))]);
    let answer = asked(&node, std::slice::from_ref(&good)).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let told = answer.json();
    let pass = told["headers"][0].as_str().unwrap().strip_prefix("Authorization: Bearer ").unwrap().to_owned();
    let url = url::Url::parse(told["url"].as_str().unwrap()).unwrap();
    assert_eq!(node.with_token(url.path(), &pass).await.bytes, ROWS);
    // The pass is for what the visas are for, and for a while.
    node.memory.publish("lab/secret", "1.0.0", terms(&[DuoTerm::Ethics]), NOW);
    assert_eq!(node.with_token(&rows_of("lab/secret"), &pass).await.status, StatusCode::FORBIDDEN);
    assert_eq!(node.with_token("/account", &pass).await.status, StatusCode::SEE_OTHER);
    assert_eq!(node.with_token(url.path(), "acequia_pass_00").await.status, StatusCode::UNAUTHORIZED);
    node.watch.pass(3601);
    assert_eq!(node.with_token(url.path(), &pass).await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(asked(&node, &[good]).await.status, StatusCode::FORBIDDEN, "ended");
    // The object itself is described to everybody, by POST too.
    let request = Request::post(object()).body(Body::from("{\"passports\":[]}")).unwrap();
    assert_eq!(node.send(request).await.status, StatusCode::OK);
    assert_eq!(
        node.send(Request::post(object()).body(Body::from("no JSON")).unwrap()).await.status,
        StatusCode::BAD_REQUEST
    );
}

#[tokio::test]
async fn a_visa_that_is_not_as_it_must_be_opens_nothing() {
    let issuer = Issuer::start().await;
    let node = node(&issuer, None).await;
    let good = grant("lab/decided");
    let claims = |change: fn(&mut Value)| {
        let mut claims = issuer.claims(grant("lab/decided"));
        change(&mut claims);
        issuer.key.sign_with(&issuer.header(), &claims)
    };
    let header = |key: &str, value: Value| {
        issuer.key.sign_with(&with(issuer.header(), key, value), &issuer.claims(grant("lab/decided")))
    };
    let other = SignKey::new(51);
    let cases: Vec<(&str, String)> = vec![
        ("ended", claims(|claims| claims["exp"] = json!(NOW))),
        ("without end", claims(|claims| claims["exp"] = Value::Null)),
        ("end as a text", claims(|claims| claims["exp"] = json!("9999999999"))),
        ("issued in the future", claims(|claims| claims["iat"] = json!(NOW + 600))),
        ("another issuer", claims(|claims| claims["iss"] = json!("https://another.example"))),
        ("another person", claims(|claims| claims["sub"] = json!("berta"))),
        ("nobody", claims(|claims| claims["sub"] = Value::Null)),
        ("keys elsewhere", header("jku", json!("http://127.0.0.1:9/keys"))),
        ("keys not named", header("jku", Value::Null)),
        ("no algorithm", header("alg", json!("none"))),
        ("RS256 said of a key of ES256", header("alg", json!("RS256"))),
        ("HS256 with the public key", hs256(&issuer.key, &issuer.claims(good.clone()))),
        ("an unknown key", header("kid", json!("another"))),
        ("another key", other.sign_with(&issuer.header(), &issuer.claims(good.clone()))),
        ("another data set", issuer.visa(grant("lab/other"))),
        ("a longer name", issuer.visa(with(good.clone(), "value", json!(format!("{ORIGIN}/datasets/lab/decided2"))))),
        ("another node", issuer.visa(with(good.clone(), "value", json!("https://third.example/datasets/lab/decided")))),
        ("another kind", issuer.visa(with(good.clone(), "type", json!("AffiliationAndRole")))),
        ("another source", issuer.visa(with(good.clone(), "source", json!("https://nobody.example")))),
        ("not by a committee", issuer.visa(with(good.clone(), "by", json!("self")))),
        ("by nobody", issuer.visa(with(good.clone(), "by", Value::Null))),
        ("asserted in the future", issuer.visa(with(good.clone(), "asserted", json!(NOW + 600)))),
        (
            "a condition that is not met",
            issuer.visa(with(
                good.clone(),
                "conditions",
                json!([[{ "type": "AffiliationAndRole", "value": "const:faculty@uni.example" }]]),
            )),
        ),
        (
            "a condition of an unknown form",
            issuer.visa(with(
                good.clone(),
                "conditions",
                json!([[{ "type": "ControlledAccessGrants", "value": "regex:.*" }]]),
            )),
        ),
        (
            "a condition with an unknown member",
            issuer.visa(with(good.clone(), "conditions", json!([[{ "type": "ResearcherStatus", "new": "x" }]]))),
        ),
        ("conditions without any", issuer.visa(with(good.clone(), "conditions", json!([])))),
        ("an empty condition", issuer.visa(with(good.clone(), "conditions", json!([[]])))),
        ("cut off", issuer.visa(good.clone())[..200].to_owned()),
        ("nothing", String::new()),
    ];
    for (what, visa) in cases {
        let answer = asked(&node, &[issuer.passport(&[visa])]).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{what}: {}", answer.text());
    }
    // A good visa in a passport of nobody, or bare, is none.
    let visa = issuer.visa(good.clone());
    let stranger = json!({ "iss": "https://another.example", "sub": "anna", "iat": NOW, "exp": NOW + 60, "ga4gh_passport_v1": [visa] });
    for passport in [visa.clone(), other.sign_with(&other.header(), &stranger)] {
        assert_eq!(asked(&node, &[passport]).await.status, StatusCode::FORBIDDEN);
    }
    // And all of it was nothing but that.
    assert_eq!(asked(&node, &[issuer.passport(&[visa])]).await.status, StatusCode::OK);
    // The same at a node whose data sets are mirrored here.
    let mirrored = issuer.visa(with(good.clone(), "value", json!("https://other.example/datasets/lab/decided")));
    assert_eq!(asked(&node, &[issuer.passport(&[mirrored])]).await.status, StatusCode::OK);
    // A condition that another visa of the same person meets, and one that only another person's does.
    let role = json!({ "type": "AffiliationAndRole", "asserted": NOW, "value": "faculty@uni.example", "source": "https://dac.example", "by": "so" });
    let asks = issuer.visa(with(
        good,
        "conditions",
        json!([[{ "type": "AffiliationAndRole", "value": "pattern:faculty@*", "by": "const:so" }]]),
    ));
    assert_eq!(
        asked(&node, &[issuer.passport(&[asks.clone(), issuer.visa(role.clone())])]).await.status,
        StatusCode::OK
    );
    let mut theirs = issuer.claims(role);
    theirs["sub"] = json!("berta");
    let theirs = issuer.key.sign_with(&issuer.header(), &theirs);
    assert_eq!(asked(&node, &[issuer.passport(&[asks, theirs])]).await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn registered_access_asks_for_a_researcher_who_accepted() {
    let issuer = Issuer::start().await;
    let node = node(&issuer, None).await;
    node.memory.clear();
    node.memory.publish("lab/health", "1.0.0", terms(&[DuoTerm::HealthResearch]), NOW - 10);
    let body = |kind: &str, by: &str| json!({ "type": kind, "asserted": NOW, "value": BONA_FIDE, "source": "https://dac.example", "by": by });
    let researcher = issuer.visa(body("ResearcherStatus", "so"));
    let accepted = issuer.visa(body("AcceptedTermsAndPolicies", "self"));
    for (what, visas, status) in [
        ("both", vec![researcher.clone(), accepted.clone()], StatusCode::OK),
        ("a researcher", vec![researcher.clone()], StatusCode::FORBIDDEN),
        ("accepted", vec![accepted.clone()], StatusCode::FORBIDDEN),
        (
            "a researcher by her own word",
            vec![issuer.visa(body("ResearcherStatus", "self")), accepted.clone()],
            StatusCode::FORBIDDEN,
        ),
    ] {
        assert_eq!(asked(&node, &[issuer.passport(&visas)]).await.status, status, "{what}");
    }
    // Two passports of two people are not one person who has both.
    let two = [issuer.passport(std::slice::from_ref(&researcher)), issuer.passport(std::slice::from_ref(&accepted))];
    assert_eq!(asked(&node, &two).await.status, StatusCode::FORBIDDEN);
    // What the policy does not say, it does not keep.
    node.memory.clear();
    node.memory.publish("lab/health", "2.0.0", terms(&[DuoTerm::HealthResearch, DuoTerm::NotCommercial]), NOW - 10);
    assert_eq!(asked(&node, &[issuer.passport(&[researcher, accepted])]).await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn visas_come_with_the_login_and_count_for_tokens() {
    let (issuer, provider) = (Issuer::start().await, Provider::start().await);
    let node = node(&issuer, Some(&provider)).await;
    let visa = issuer.visa(grant("lab/decided"));
    let own = visa.clone();
    provider.state.lock().unwrap().userinfo = Box::new(move |told| told["ga4gh_passport_v1"] = json!([own, "no visa"]));
    let mut anna = node.signed_in(&provider, "anna").await;
    assert_eq!(anna.get(&rows_of("lab/decided")).await.bytes, ROWS);
    assert!(anna.get("/datasets/lab/decided/access").await.text().contains("What your institution says about you"));
    let secret = anna.token("lab/*").await;
    assert_eq!(node.with_token(&rows_of("lab/decided"), &secret).await.bytes, ROWS);
    // The visa of somebody else, which a provider hands on, is not hers.
    let mut berta = node.signed_in(&provider, "berta").await;
    assert_eq!(berta.get(&rows_of("lab/decided")).await.status, StatusCode::FORBIDDEN);
    // Unless one of hers says that both are the same person.
    let link = json!({ "type": "LinkedIdentities", "asserted": NOW, "value": format!("anna,{}", url::form_urlencoded::byte_serialize(issuer.issuer.as_bytes()).collect::<String>()), "source": "https://dac.example", "by": "system" });
    let mut claims = issuer.claims(link);
    claims["sub"] = json!("berta");
    let link = issuer.key.sign_with(&issuer.header(), &claims);
    provider.state.lock().unwrap().userinfo = Box::new(move |told| told["ga4gh_passport_v1"] = json!([visa, link]));
    let mut berta = node.signed_in(&provider, "berta").await;
    assert_eq!(berta.get(&rows_of("lab/decided")).await.status, StatusCode::OK);
    // They end by themselves, and with the next login that brings none.
    provider.state.lock().unwrap().userinfo = Box::new(|_| {});
    let mut again = node.signed_in(&provider, "berta").await;
    assert_eq!(again.get(&rows_of("lab/decided")).await.status, StatusCode::FORBIDDEN);
    node.watch.pass(3601);
    assert_eq!(node.with_token(&rows_of("lab/decided"), &secret).await.status, StatusCode::FORBIDDEN);
}

/// What the trustee did not say that it believes, what is about other terms, and what is for somebody else opens nothing; and a pass
/// makes no other.
#[tokio::test]
async fn a_grant_of_others_is_about_terms_and_for_this_node() {
    let issuer = Issuer::start().await;
    let passport = issuer.passport(&[issuer.visa(grant("lab/decided"))]);
    let researchers_only = TrustedIssuer { grants: false, ..issuer.trusted() };
    let decided = terms(&[DuoTerm::HealthResearch, DuoTerm::Ethics]);
    let of = async |trusted: TrustedIssuer, published_s: i64| {
        let node = Node::new(None, vec![trusted]).await;
        node.memory.clear();
        node.memory.publish("lab/decided", "1.0.0", decided.clone(), published_s);
        node
    };
    let status = async |node: &Node, passport: &str| asked(node, &[passport.to_owned()]).await.status;
    assert_eq!(status(&of(researchers_only, NOW - 10).await, &passport).await, StatusCode::FORBIDDEN);
    // A version that came out after the grant may be under other terms, unless the grant names them.
    let later = of(issuer.trusted(), NOW - 5).await;
    assert_eq!(status(&later, &passport).await, StatusCode::FORBIDDEN);
    let named = |digest: &str| {
        let value = json!(format!("{ORIGIN}/datasets/lab/decided?terms={digest}"));
        issuer.passport(&[issuer.visa(with(grant("lab/decided"), "value", value))])
    };
    let digest = Digest::of(&serde_json::to_vec(&decided).unwrap()).to_string();
    assert_eq!(status(&later, &named(&digest)).await, StatusCode::OK, "the digest of the terms as JSON");
    assert_eq!(status(&later, &named(&"0".repeat(64))).await, StatusCode::FORBIDDEN);
    let node = of(issuer.trusted(), NOW - 10).await;
    for (audience, expected) in [
        (json!("https://elsewhere.example"), StatusCode::FORBIDDEN),
        (json!(["https://elsewhere.example", ORIGIN]), StatusCode::OK),
        (json!(ORIGIN), StatusCode::OK),
        (json!(7), StatusCode::FORBIDDEN),
    ] {
        let mut claims = issuer.claims(Value::Null);
        claims["ga4gh_passport_v1"] = json!([issuer.visa(grant("lab/decided"))]);
        claims["aud"] = audience.clone();
        let passport = issuer.key.sign_with(&issuer.header(), &claims);
        assert_eq!(status(&node, &passport).await, expected, "passport for {audience}");
        let mut claims = issuer.claims(grant("lab/decided"));
        claims["aud"] = audience.clone();
        let passport = issuer.passport(&[issuer.key.sign_with(&issuer.header(), &claims)]);
        assert_eq!(status(&node, &passport).await, expected, "visa for {audience}");
    }
    let told = asked(&node, std::slice::from_ref(&passport)).await.json();
    let pass = told["headers"][0].as_str().unwrap().strip_prefix("Authorization: ").unwrap().to_owned();
    let again = Request::post(format!("{}/access/rows", object())).header("authorization", pass);
    let again = node.send(again.body(Body::empty()).unwrap()).await;
    assert_eq!((again.status, again.json().get("headers")), (StatusCode::OK, None));
}

/// A visa that one node issues opens the rows at another, which mirrors the data set and trusts the first.
#[tokio::test]
async fn a_visa_of_this_node_counts_at_another_that_trusts_it() {
    let provider = Provider::start().await;
    // The first node is on the network, since the second asks it for its keys.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let first = Node::at(&address, Some(&provider), Vec::new()).await;
    let app = first.app.clone();
    tokio::spawn(async move { axum::serve(listener, app).await });
    let keys = format!("{address}/ga4gh/jwks.json");
    let trusted = TrustedIssuer {
        issuer: address.clone(),
        keys: keys.clone(),
        sources: Vec::new(),
        grants: true,
        addresses: vec![address.clone()],
        policies: Default::default(),
    };
    let second = Node::new(Some(&provider), vec![trusted]).await;
    second.memory.clear();
    second.memory.publish("lab/decided", "1.0.0", terms(&[DuoTerm::HealthResearch, DuoTerm::Ethics]), NOW - 10);

    let described =
        first.send(Request::get("/.well-known/openid-configuration").body(Body::empty()).unwrap()).await.json();
    assert_eq!((&described["issuer"], &described["jwks_uri"]), (&json!(address), &json!(keys)));
    let (secret, request) = granted(&first, &provider).await;
    let userinfo = first.with_token("/ga4gh/userinfo", &secret).await;
    let visas = userinfo.json()["ga4gh_passport_v1"].as_array().cloned().unwrap();
    assert_eq!(visas.len(), 1, "{}", userinfo.text());
    let passport = exchanged(&first, &secret).await;
    assert_eq!(asked(&second, std::slice::from_ref(&passport)).await.status, StatusCode::OK);
    // Neither without a token nor with a session alone.
    assert_eq!(first.with_token("/ga4gh/userinfo", "hf_acequia_00").await.status, StatusCode::UNAUTHORIZED);
    // An hour at most, and not for longer than the grant.
    let claims: Value = {
        use base64::Engine;
        let part = passport.split('.').nth(1).unwrap();
        serde_json::from_slice(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    };
    assert!(claims["exp"].as_i64().unwrap() <= NOW + 3600);
    // Taken back there, there is no new visa, and the old one ends.
    let revoke = Decision::Revoke { reason: "ended".to_owned() };
    first.readers.decide(&request, &revoke, "bernd").await.unwrap();
    let told = first.with_token("/ga4gh/userinfo", &secret).await.json();
    assert_eq!(told["ga4gh_passport_v1"], json!([]));
    assert_eq!(asked(&second, &[exchanged(&first, &secret).await]).await.status, StatusCode::FORBIDDEN);
    second.watch.pass(3601);
    assert_eq!(asked(&second, &[passport]).await.status, StatusCode::FORBIDDEN);
    for (kind, subject) in
        [("password", secret.as_str()), ("urn:ietf:params:oauth:grant-type:token-exchange", "hf_acequia_00")]
    {
        assert_eq!(exchange(&first, kind, subject).await.status, StatusCode::BAD_REQUEST);
    }
}

async fn exchange(node: &Node, kind: &str, subject: &str) -> Answer {
    let form = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("grant_type", kind)
        .append_pair("requested_token_type", "urn:ga4gh:params:oauth:token-type:passport")
        .append_pair("subject_token_type", "urn:ietf:params:oauth:token-type:access_token")
        .append_pair("subject_token", subject)
        .finish();
    node.send(Request::post("/ga4gh/token").body(Body::from(form)).unwrap()).await
}

async fn exchanged(node: &Node, secret: &str) -> String {
    let answer = exchange(node, "urn:ietf:params:oauth:grant-type:token-exchange", secret).await;
    answer.json()["access_token"].as_str().unwrap().to_owned()
}

/// A reader of `lab/decided` by a grant: her token, and the request.
async fn granted(node: &Node, provider: &Provider) -> (String, String) {
    use acequia_access::{NewToken, Scope};
    // Through the core, since the pages of this node are those of another address than the browser's of these tests.
    let reader = node.readers.id_of(&provider.issuer, "anna");
    let version = node.memory.version("lab/decided");
    let words = acequia_access::Words {
        name: "A".to_owned(),
        affiliation: None,
        contact: "a@uni.example".to_owned(),
        project: "P".to_owned(),
        statement: "S".to_owned(),
        institution: "I".to_owned(),
        country: acequia_custody::Country::parse("DE").unwrap(),
        ethics: Some("1".to_owned()),
    };
    let request = node.readers.ask(&reader, &version, &words).await.unwrap();
    let until = Timestamp::from_unix_s(NOW + DAY_S);
    node.readers.decide(&request, &Decision::Grant { until }, "bernd").await.unwrap();
    let scopes = [Scope::parse("lab/*").unwrap()];
    let new =
        NewToken { holder: "a", scopes: &scopes, write: false, until, by: "reader", reader: Some(reader.as_str()) };
    (node.tokens().make(&new).await.unwrap().1, request)
}
