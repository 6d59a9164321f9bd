//! Promises, requests, grants and tokens: what opens rows, and what does not.

use acequia_access::{Decision, NewToken, Outcome, Scope};
use acequia_custody::DuoTerm;
use acequia_types::Timestamp;
use axum::http::StatusCode;

use crate::provider::Provider;
use crate::{Browser, DAY_S, NOW, Node, ROWS, records, rows_of, terms};

const PROMISED: &[DuoTerm] = &[DuoTerm::HealthResearch, DuoTerm::NotCommercial];

const REQUEST: [(&str, &str); 8] = [
    ("version", "1.0.0"),
    ("name", "Anna Private"),
    ("contact", "anna@uni.example"),
    ("institution", "Example University"),
    ("country", "de"),
    ("project", "Survival"),
    ("statement", "We compare how long people live."),
    ("ethics", "Committee of Example University, 12/2026"),
];

fn until(seconds: i64) -> Decision {
    Decision::Grant { until: Timestamp::from_unix_s(NOW + seconds) }
}

async fn the_request(node: &Node) -> String {
    let all = node.readers.list().await.unwrap();
    all.last().unwrap().request.clone()
}

#[tokio::test]
async fn who_promises_reads_and_nobody_else() {
    let provider = Provider::start().await;
    let node = Node::new(Some(&provider), Vec::new()).await;
    let rows = rows_of("lab/promised");
    let mut browser = Browser::new(&node);
    let answer = browser.get(&rows).await;
    assert_eq!((answer.status, answer.header("x-error-code")), (StatusCode::UNAUTHORIZED, "GatedRepo"));
    assert_eq!(browser.get(&rows_of("open/set")).await.bytes, ROWS);
    let page = browser.get("/datasets/lab/promised/access").await.text();
    assert!(page.contains("Sign in") && page.contains("not used commercially") && !page.contains("checkbox"), "{page}");

    let mut anna = node.signed_in(&provider, "anna").await;
    let answer = anna.get(&rows).await;
    assert_eq!((answer.status, answer.header("x-error-code")), (StatusCode::FORBIDDEN, "GatedRepo"));
    let page = anna.get("/datasets/lab/promised/access").await.text();
    assert!(page.matches("type=\"checkbox\"").count() == 2 && !page.contains("checked"), "{page}");
    // Half of it, nothing, something else, or the name of a term in another way is no promise.
    for ticked in [&PROMISED[..1], &[], &[DuoTerm::GeneralResearch, DuoTerm::NotForProfit]] {
        assert_eq!(anna.promise("lab/promised", ticked).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    }
    assert_eq!(anna.get(&rows).await.status, StatusCode::FORBIDDEN);
    let done = anna.promise("lab/promised", PROMISED).await;
    assert_eq!(done.header("location"), "/datasets/lab/promised/access");
    let read = anna.get(&rows).await;
    assert_eq!((read.status, read.bytes.as_slice()), (StatusCode::OK, ROWS));
    assert!(read.header("cache-control").contains("private"), "{}", read.header("cache-control"));
    assert!(anna.get("/datasets/lab/promised/access").await.text().contains("You promised on"));
    assert!(anna.get("/account").await.text().contains("open to you"));
    // No promise opens what people decide about, and hers opens nothing to another.
    assert_eq!(
        anna.promise("lab/decided", &[DuoTerm::HealthResearch, DuoTerm::Ethics]).await.status,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    assert_eq!(anna.get(&rows_of("lab/decided")).await.status, StatusCode::FORBIDDEN);
    let mut berta = node.signed_in(&provider, "berta").await;
    assert_eq!(berta.get(&rows).await.status, StatusCode::FORBIDDEN);
    // On record stands what was promised, when, and for what; not by whom.
    let all = records(&node.store).await;
    assert!(all.contains("DUO:0000046") && all.contains("\"terms\"") && !all.contains("anna"), "{all}");
    node.store.verify_journals().await.unwrap();
}

/// Sent twice at once, a promise may be on record twice; one of them taken back closes the rows.
#[tokio::test]
async fn a_promise_that_was_made_twice_is_taken_back_as_one() {
    let provider = Provider::start().await;
    let node = Node::new(Some(&provider), Vec::new()).await;
    let (mut here, mut there) = (node.signed_in(&provider, "anna").await, node.signed_in(&provider, "anna").await);
    tokio::join!(here.promise("lab/promised", PROMISED), there.promise("lab/promised", PROMISED));
    let rows = rows_of("lab/promised");
    assert_eq!(here.get(&rows).await.status, StatusCode::OK);
    let name = node.readers.promises().await.unwrap()[0].promise.clone();
    node.readers.decide_promise(&name, Some("sold"), "bernd").await.unwrap();
    assert_eq!(
        (here.get(&rows).await.status, there.get(&rows).await.status),
        (StatusCode::FORBIDDEN, StatusCode::FORBIDDEN)
    );
    node.readers.decide_promise(&name, None, "bernd").await.unwrap();
    assert_eq!(there.get(&rows).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_promise_is_taken_back_and_given_back() {
    let provider = Provider::start().await;
    let node = Node::new(Some(&provider), Vec::new()).await;
    let (mut anna, mut berta) = (node.signed_in(&provider, "anna").await, node.signed_in(&provider, "berta").await);
    let rows = rows_of("lab/promised");
    anna.promise("lab/promised", PROMISED).await;
    berta.promise("lab/promised", PROMISED).await;
    let all = node.readers.promises().await.unwrap();
    assert!(
        all.len() == 2 && all.iter().all(|line| line.about == "datasets/lab/promised" && line.taken_back.is_none())
    );
    assert_eq!(all[0].terms.len(), 2);
    // Whose is whose nobody can tell by the list: one of both is tried.
    let name = all[0].promise.clone();
    let decide = |why: Option<&'static str>| node.readers.decide_promise(&name, why, "bernd");
    assert!(decide(Some(" ")).await.is_err() && decide(None).await.is_err());
    assert!(node.readers.decide_promise(&name, Some("sold"), " ").await.is_err());
    for none in ["", "x", "000000000000-1", &name.replace('-', "-9")] {
        let refused = node.readers.decide_promise(none, Some("sold"), "bernd").await.unwrap_err();
        assert_eq!(acequia_types::Coded::code(&refused), "AX011", "{none}");
    }
    let taken = decide(Some("the rows were sold")).await.unwrap().taken_back.unwrap();
    assert_eq!((taken.reason.as_str(), taken.by.as_str()), ("the rows were sold", "bernd"));
    assert!(decide(Some("again")).await.is_err());
    let open = (anna.get(&rows).await.status, berta.get(&rows).await.status);
    let mut hers = match open {
        (StatusCode::FORBIDDEN, StatusCode::OK) => anna,
        (StatusCode::OK, StatusCode::FORBIDDEN) => berta,
        other => panic!("one promise is closed with the next question, and no other: {other:?}"),
    };
    let page = hers.get("/datasets/lab/promised/access").await.text();
    assert!(
        page.contains("taken back on") && page.contains("the rows were sold") && !page.contains("checkbox"),
        "{page}"
    );
    // She promises no other one of the same terms; new terms are another promise.
    let again = hers.promise("lab/promised", PROMISED).await;
    assert!(again.status == StatusCode::UNPROCESSABLE_ENTITY && again.text().contains("taken back"));
    assert_eq!(hers.get(&rows).await.status, StatusCode::FORBIDDEN);
    assert_eq!(node.readers.promises().await.unwrap().len(), 2);

    assert!(decide(None).await.unwrap().taken_back.is_none());
    assert_eq!(hers.get(&rows).await.status, StatusCode::OK);
    node.store.verify_journals().await.unwrap();
}

#[tokio::test]
async fn a_promise_is_for_these_terms_only() {
    let provider = Provider::start().await;
    let node = Node::new(Some(&provider), Vec::new()).await;
    let mut anna = node.signed_in(&provider, "anna").await;
    anna.promise("lab/promised", PROMISED).await;
    // The same terms: nothing to promise again.
    node.memory.publish("lab/promised", "1.1.0", terms(PROMISED), NOW + 1);
    assert_eq!(anna.get(&rows_of("lab/promised")).await.status, StatusCode::OK);
    node.memory.publish("lab/promised", "2.0.0", terms(&[DuoTerm::HealthResearch, DuoTerm::NotForProfit]), NOW + 2);
    assert_eq!(anna.get(&rows_of("lab/promised")).await.status, StatusCode::FORBIDDEN);
    assert_eq!(anna.get("/datasets/lab/promised/resolve/v1.1.0/data/train.parquet").await.status, StatusCode::OK);
    let page = anna.get("/datasets/lab/promised/access").await.text();
    assert!(page.contains("These are new") && page.contains("?version=1.1.0"), "{page}");
    // The form of the old version promises nothing for the new one.
    anna.promise("lab/promised", PROMISED).await;
    assert_eq!(anna.get(&rows_of("lab/promised")).await.status, StatusCode::FORBIDDEN);
    let form = [("version", "2.0.0"), ("term", "DUO:0000006"), ("term", "DUO:0000045")];
    anna.post("/datasets/lab/promised/access/promise", &form).await;
    assert_eq!(anna.get(&rows_of("lab/promised")).await.status, StatusCode::OK);
    // Terms that get stricter than a promise close it, too.
    node.memory.publish("lab/promised", "3.0.0", terms(&[DuoTerm::HealthResearch, DuoTerm::Ethics]), NOW + 3);
    assert_eq!(anna.get(&rows_of("lab/promised")).await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn the_trustee_decides_and_takes_back() {
    let provider = Provider::start().await;
    let node = Node::new(Some(&provider), Vec::new()).await;
    let rows = rows_of("lab/decided");
    let mut anna = node.signed_in(&provider, "anna").await;
    let page = anna.get("/datasets/lab/decided/access").await.text();
    assert!(page.contains("Ask for access") && page.contains("value=\"Prof. anna\""), "{page}");
    // What is missing is said, and what was written stays in the form.
    let half: Vec<(&str, &str)> = REQUEST.into_iter().filter(|(name, _)| *name != "ethics").collect();
    let answer = anna.post("/datasets/lab/decided/access/request", &half).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(
        answer.text().contains("ethics committee is found") && answer.text().contains("We compare how long"),
        "{}",
        answer.text()
    );
    assert_eq!(anna.post("/datasets/lab/decided/access/request", &REQUEST).await.status, StatusCode::SEE_OTHER);
    assert_eq!(
        anna.post("/datasets/lab/decided/access/request", &REQUEST).await.status,
        StatusCode::UNPROCESSABLE_ENTITY,
        "once"
    );
    assert_eq!(anna.get(&rows).await.status, StatusCode::FORBIDDEN);
    // What was written is sealed, and the trustee reads it.
    let all = records(&node.store).await;
    assert!(!all.contains("Private") && !all.contains("compare"), "{all}");
    let name = the_request(&node).await;
    let shown = node.readers.show(&name).await.unwrap();
    assert_eq!((shown.words.name.as_str(), shown.words.country.as_str()), ("Anna Private", "DE"));
    assert_eq!(shown.words.affiliation.as_deref(), Some("faculty@uni.example"));

    let code = |decided: Result<_, acequia_access::AccessError>| {
        decided.map(|_: acequia_access::RequestLine| ()).unwrap_err().to_string()
    };
    let revoke = Decision::Revoke { reason: "the project ended".to_owned() };
    assert!(code(node.readers.decide(&name, &revoke, "bernd").await).contains("nothing is granted"));
    assert!(code(node.readers.decide(&name, &until(-1), "bernd").await).contains("ended already"));
    assert!(code(node.readers.decide(&name, &until(DAY_S), " ").await).contains("who decides"));
    assert!(
        code(node.readers.decide(&name, &Decision::Refuse { reason: " ".to_owned() }, "bernd").await)
            .contains("told why")
    );
    for none in ["", "x", "000000000000-1", &format!("{}9", &name), &name[1..]] {
        assert!(node.readers.decide(none, &until(DAY_S), "bernd").await.is_err(), "{none}");
    }
    node.readers.decide(&name, &until(DAY_S), "bernd").await.unwrap();
    assert_eq!(anna.get(&rows).await.bytes, ROWS);
    assert!(anna.get("/datasets/lab/decided/access").await.text().contains("Access was granted"));
    let mut berta = node.signed_in(&provider, "berta").await;
    assert_eq!(berta.get(&rows).await.status, StatusCode::FORBIDDEN, "a grant is hers alone");
    // Taken back, it is closed with the next question, to her tokens too.
    let secret = anna.token("lab/*").await;
    assert_eq!(node.with_token(&rows, &secret).await.bytes, ROWS);
    let line = node.readers.decide(&name, &revoke, "bernd").await.unwrap();
    assert!(matches!(line.outcome, Outcome::Revoked { .. }));
    assert_eq!(anna.get(&rows).await.status, StatusCode::FORBIDDEN);
    assert_eq!(node.with_token(&rows, &secret).await.status, StatusCode::FORBIDDEN);
    assert!(anna.get("/datasets/lab/decided/access").await.text().contains("the project ended"));
    // Given again, it ends by itself.
    node.readers.decide(&name, &until(60), "bernd").await.unwrap();
    assert_eq!(node.with_token(&rows, &secret).await.status, StatusCode::OK);
    node.watch.pass(61);
    assert_eq!(node.with_token(&rows, &secret).await.status, StatusCode::FORBIDDEN);
    assert!(node.readers.list().await.unwrap()[0].ended);
    node.store.verify_journals().await.unwrap();
}

#[tokio::test]
async fn a_refusal_is_read_and_new_terms_need_a_new_grant() {
    let provider = Provider::start().await;
    let node = Node::new(Some(&provider), Vec::new()).await;
    let mut anna = node.signed_in(&provider, "anna").await;
    anna.post("/datasets/lab/decided/access/request", &REQUEST).await;
    let refuse = Decision::Refuse { reason: "the approval is for <another> study".to_owned() };
    node.readers.decide(&the_request(&node).await, &refuse, "bernd").await.unwrap();
    let page = anna.get("/datasets/lab/decided/access").await.text();
    assert!(page.contains("the approval is for &lt;another&gt; study") && page.contains("Ask for access"), "{page}");
    node.watch.pass(1);
    anna.post("/datasets/lab/decided/access/request", &REQUEST).await;
    node.readers.decide(&the_request(&node).await, &until(DAY_S), "bernd").await.unwrap();
    assert_eq!(anna.get(&rows_of("lab/decided")).await.status, StatusCode::OK);
    // Two names with the same terms are two decisions.
    node.memory.publish("lab/other", "1.0.0", terms(&[DuoTerm::HealthResearch, DuoTerm::Ethics]), NOW);
    assert_eq!(anna.get(&rows_of("lab/other")).await.status, StatusCode::FORBIDDEN);
    node.memory.publish(
        "lab/decided",
        "2.0.0",
        terms(&[DuoTerm::HealthResearch, DuoTerm::Ethics, DuoTerm::ResearchSpecific]),
        NOW + 5,
    );
    assert_eq!(anna.get(&rows_of("lab/decided")).await.status, StatusCode::FORBIDDEN);
    // What only people can judge, they did.
    let form: Vec<(&str, &str)> =
        REQUEST.into_iter().map(|(name, value)| (name, if name == "version" { "2.0.0" } else { value })).collect();
    node.watch.pass(1);
    anna.post("/datasets/lab/decided/access/request", &form).await;
    node.readers.decide(&the_request(&node).await, &until(DAY_S), "bernd").await.unwrap();
    assert_eq!(anna.get(&rows_of("lab/decided")).await.status, StatusCode::OK);
    // Terms that nobody can be held to open to nobody.
    node.memory.publish("lab/decided", "3.0.0", terms(&[DuoTerm::Ethics, DuoTerm::TimeLimit]), NOW + 6);
    let form: Vec<(&str, &str)> =
        REQUEST.into_iter().map(|(name, value)| (name, if name == "version" { "3.0.0" } else { value })).collect();
    node.watch.pass(1);
    anna.post("/datasets/lab/decided/access/request", &form).await;
    node.readers.decide(&the_request(&node).await, &until(DAY_S), "bernd").await.unwrap();
    assert_eq!(anna.get(&rows_of("lab/decided")).await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn tokens_read_as_their_owner_and_within_their_names() {
    let provider = Provider::start().await;
    let node = Node::new(Some(&provider), Vec::new()).await;
    let mut anna = node.signed_in(&provider, "anna").await;
    anna.promise("lab/promised", PROMISED).await;
    let (good, narrow) = (anna.token("lab/promised").await, anna.token("lab/other, away/*").await);
    let rows = rows_of("lab/promised");
    assert_eq!(node.with_token(&rows, &good).await.bytes, ROWS);
    assert_eq!(node.with_token(&rows, &narrow).await.status, StatusCode::FORBIDDEN);
    assert_eq!(node.with_token(&rows_of("open/set"), &narrow).await.bytes, ROWS, "what is open stays open");
    for (token, status) in [(&good, StatusCode::OK), (&narrow, StatusCode::FORBIDDEN)] {
        let checked = node.with_token("/api/datasets/lab/promised/auth-check", token).await;
        assert_eq!(checked.status, status);
    }
    let who = node.with_token("/api/whoami-v2", &good).await.json();
    assert_eq!((&who["type"], &who["auth"]["accessToken"]["role"]), (&"user".into(), &"read".into()));
    assert!(!who.to_string().contains("anna"), "{who}");
    // A token presses no button and opens no page of hers.
    let answer = node.with_token("/account", &good).await;
    assert_eq!(answer.status, StatusCode::SEE_OTHER);
    // Shown once, and its digest kept.
    assert!(!anna.get("/account").await.text().contains(&good) && !records(&node.store).await.contains(&good));
    // A token that does not count is no way in, and no cookie beside it is.
    for bad in [&good[..good.len() - 1], "hf_acequia_", "hf_other", ""] {
        assert_eq!(node.with_token(&rows, bad).await.status, StatusCode::UNAUTHORIZED, "{bad}");
    }
    assert_eq!(node.with_token("/api/whoami-v2", "hf_acequia_00").await.status, StatusCode::UNAUTHORIZED);
    // Another's token is not hers to revoke.
    let id = node.tokens().list().await.unwrap()[0].id.clone();
    let mut berta = node.signed_in(&provider, "berta").await;
    assert_eq!(berta.post("/account/tokens/revoke", &[("token", &id)]).await.status, StatusCode::NOT_FOUND);
    assert_eq!(node.with_token(&rows, &good).await.status, StatusCode::OK);
    assert_eq!(anna.post("/account/tokens/revoke", &[("token", &id)]).await.status, StatusCode::SEE_OTHER);
    assert_eq!(node.with_token(&rows, &good).await.status, StatusCode::UNAUTHORIZED);
    // It ends by itself.
    let last = anna.token("lab/promised").await;
    node.watch.pass(30 * DAY_S + 1);
    assert_eq!(node.with_token(&rows, &last).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_token_that_cannot_be_is_not_made() {
    let provider = Provider::start().await;
    let node = Node::new(Some(&provider), Vec::new()).await;
    let mut anna = node.signed_in(&provider, "anna").await;
    for (name, scopes, days) in [
        ("", "lab/*", "30"),
        ("a", "", "30"),
        ("a", "*", "30"),
        ("a", "*/*", "30"),
        ("a", "../lab", "30"),
        ("a", "lab/*", "0"),
        ("a", "lab/*", "366"),
        ("a", "lab/*", "-1"),
        ("a", "lab/*", "30.5"),
    ] {
        let answer = anna.post("/account/tokens", &[("name", name), ("scopes", scopes), ("days", days)]).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{name} {scopes} {days}");
    }
    for _ in 0..20 {
        anna.token("lab/*").await;
    }
    let answer = anna.post("/account/tokens", &[("name", "a"), ("scopes", "lab/*"), ("days", "1")]).await;
    assert!(answer.status == StatusCode::UNPROCESSABLE_ENTITY && answer.text().contains("twenty"));
    // A member's token of the trustee reads no rows: it is nobody who promised.
    let scope = [Scope::parse("lab/*").unwrap()];
    let until = Timestamp::from_unix_s(NOW + DAY_S);
    let new = NewToken { holder: "A lab", scopes: &scope, write: true, until, by: "bernd", reader: None };
    let (_, secret) = node.tokens().make(&new).await.unwrap();
    assert_eq!(node.with_token(&rows_of("lab/promised"), &secret).await.status, StatusCode::UNAUTHORIZED);
    assert!(
        node.tokens().make(&NewToken { reader: Some("0".repeat(32).as_str()), ..new }).await.is_err(),
        "a reader writes nothing"
    );
}

/// Every act, from pages that are not the node's.
#[tokio::test]
async fn no_act_of_a_reader_comes_from_another_page() {
    let provider = Provider::start().await;
    let node = Node::new(Some(&provider), Vec::new()).await;
    let mut anna = node.signed_in(&provider, "anna").await;
    let form = [
        ("version", "1.0.0"),
        ("term", "DUO:0000006"),
        ("term", "DUO:0000046"),
        ("name", "a"),
        ("scopes", "lab/*"),
        ("days", "30"),
    ];
    let acts = [
        "/logout",
        "/account/tokens",
        "/account/tokens/revoke",
        "/datasets/lab/promised/access/promise",
        "/datasets/lab/decided/access/request",
    ];
    for act in acts {
        for origin in
            ["https://evil.example", "null", "http://localhost:8080.evil.example", "http://localhost:8081", ""]
        {
            assert_eq!(anna.post_from(act, &form, origin).await.status, StatusCode::FORBIDDEN, "{act} {origin}");
        }
        // Whoever is not signed in is asked to.
        let mut nobody = Browser::new(&node);
        let answer = nobody.post(act, &form).await;
        assert!(answer.status == StatusCode::SEE_OTHER && answer.header("location").starts_with("/login"), "{act}");
        assert_eq!(nobody.get(act).await.status, StatusCode::METHOD_NOT_ALLOWED, "{act}");
    }
    assert_eq!(anna.get("/account").await.status, StatusCode::OK);
    assert!(records(&node.store).await.is_empty());
}

/// Xorbs are read without the token: by a pass that is asked for it at every request, and opens one name only.
#[tokio::test]
async fn a_pass_for_xorbs_ends_with_its_token() {
    let provider = Provider::start().await;
    let node = Node::new(Some(&provider), Vec::new()).await;
    for other in ["lab/second", "lab/third"] {
        node.memory.publish(other, "1.0.0", terms(PROMISED), NOW - 5);
    }
    let mut anna = node.signed_in(&provider, "anna").await;
    let token = anna.token("lab/promised lab/second").await;
    let told = |name: &str| format!("/api/datasets/{name}/xet-read-token/main");
    assert_eq!(node.with_token(&told("lab/promised"), &token).await.status, StatusCode::FORBIDDEN, "no promise yet");
    for name in ["lab/promised", "lab/second", "lab/third"] {
        anna.promise(name, PROMISED).await;
    }
    let pass = async |name: &str| {
        let answer = node.with_token(&told(name), &token).await.json();
        (answer["accessToken"].as_str().unwrap().to_owned(), answer["casUrl"].as_str().unwrap().to_owned())
    };
    // A browser reads files as it always did.
    assert_eq!(anna.get(&told("lab/promised")).await.status, StatusCode::UNAUTHORIZED);
    let ((own, cas), (second, _)) = (pass("lab/promised").await, pass("lab/second").await);
    assert!(own.starts_with("acequia_xet_") && own != second);
    let cas = cas.split_once("/api/").map(|(_, path)| format!("/api/{path}")).unwrap();
    let mut planner = acequia_xet::Planner::default();
    planner.push(ROWS);
    let hash = *planner.finish().hash();
    let address = format!("{cas}/v2/reconstructions/{hash}");
    let mut waited = 0;
    let reconstruction = loop {
        let answer = node.with_token(&address, &own).await;
        if answer.status == StatusCode::OK {
            break answer.json();
        }
        waited += 1;
        assert!(waited < 500, "{}", answer.text());
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    };
    let xorb = reconstruction["xorbs"][hash_of_one(&reconstruction)][0]["url"].as_str().unwrap();
    let xorb = xorb.split_once("/api/").map(|(_, path)| format!("/api/{path}")).unwrap();
    let bare = xorb.split_once('?').unwrap().0.to_owned();
    let get =
        async |path: &str| node.send(axum::http::Request::get(path).body(axum::body::Body::empty()).unwrap()).await;
    assert_eq!(get(&xorb).await.bytes[8..], *ROWS);
    assert_eq!(node.with_token(&bare, &own).await.status, StatusCode::OK);
    let third = "/api/datasets/lab/third/xet/main";
    for (path, shown, status) in [
        (bare.clone(), "", StatusCode::UNAUTHORIZED),
        (format!("{bare}?pass={second}"), "", StatusCode::UNAUTHORIZED),
        (address.clone(), second.as_str(), StatusCode::UNAUTHORIZED),
        (address.clone(), "public", StatusCode::UNAUTHORIZED),
        (format!("{third}/v2/reconstructions/{hash}"), own.as_str(), StatusCode::UNAUTHORIZED),
        // The token itself does not cover the third, whatever was promised.
        (told("lab/third"), token.as_str(), StatusCode::FORBIDDEN),
        // A pass is no token.
        (rows_of("lab/promised"), own.as_str(), StatusCode::UNAUTHORIZED),
        (format!("{}?pass={own}", rows_of("lab/promised")), "", StatusCode::UNAUTHORIZED),
    ] {
        let answer = if shown.is_empty() { get(&path).await } else { node.with_token(&path, shown).await };
        assert_eq!((answer.status, answer.header("x-error-code")), (status, "GatedRepo"), "{path} {shown}");
    }
    let id = node.tokens().list().await.unwrap()[0].id.clone();
    node.tokens().revoke(&id, "bernd", None).await.unwrap();
    for path in [&xorb, &address] {
        let answer = if path.contains("pass=") { get(path).await } else { node.with_token(path, &own).await };
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path}");
    }
}

/// The only xorb of a reconstruction.
fn hash_of_one(reconstruction: &serde_json::Value) -> &str {
    reconstruction["terms"][0]["hash"].as_str().unwrap()
}
