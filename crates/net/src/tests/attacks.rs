//! What members, and strangers, must not be able to do (goals G7 of the reference on learning). They speak the protocol by hand.

use std::sync::Arc;
use std::time::Duration;

use crate::{Frame, Identity, Link, Network, Protocol, Role};
use acequia_learn::{Roster as Sites, Run};
use serde_json::{Value, json};

use super::{Loopback, SITES, Up, plan};

/// A message by hand.
fn frame(head: &Value) -> Frame {
    Frame::by_hand(head, &[])
}

/// The head of an answer.
fn head_of(answer: &[u8]) -> Value {
    crate::message::read::<Value>("somebody", answer).unwrap().0
}

async fn say(link: &Link, head: &Value) -> Value {
    let answer = tokio::time::timeout(Duration::from_secs(20), link.ask(&frame(head))).await.unwrap().unwrap();
    head_of(&answer)
}

#[track_caller]
fn refused(answer: &Value, reason: &str) {
    assert_eq!(answer["say"], "no", "{answer}");
    assert!(answer["reason"].as_str().unwrap().contains(reason), "{answer}");
}

/// The trustee's end by hand, and the site that dialled in.
async fn trustee(net: &Loopback, site: &'static str) -> (Network, Link, Up) {
    let network = net.open("trustee").await;
    let mut links = network.listen(Protocol::Run);
    let up = net.site(site).await;
    let link = tokio::time::timeout(Duration::from_secs(20), links.recv()).await.unwrap().unwrap();
    assert_eq!(link.member(), site);
    (network, link, up)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_in_the_roster_is_not_heard() {
    let net = Loopback::new();
    let council = net.council().await;
    let stranger: Identity = net.identity("stranger");
    assert!(Network::open(&stranger, Arc::clone(&net.roster), None).await.is_err(), "it is no member");
    let asked = frame(&json!({ "present": { "plan": plan(&[]).digest(), "round": 1 } }));
    // A member is answered, if only with a no.
    let member = net.open("north").await;
    let link = member.dial(net.roster.named("council").unwrap(), Protocol::Run).await.unwrap();
    assert_eq!(head_of(&link.ask(&asked).await.unwrap())["say"], "no");
    member.close().await;
    // It makes itself a roster of its own.
    let mut members = net.roster.document().clone();
    let mut own = members.members[2].clone();
    own.key = stranger.key();
    members.members[2] = own;
    let forged = Arc::new(members.sign(&stranger));
    let network = Network::open(&stranger, Arc::clone(&forged), None).await.unwrap();
    let link = network.dial(forged.named("council").unwrap(), Protocol::Run).await;
    // The handshake may end before the other side looks at the key; nothing is answered.
    if let Ok(link) = link {
        let answer = tokio::time::timeout(Duration::from_secs(20), link.ask(&asked)).await;
        assert!(!matches!(answer, Ok(Ok(_))), "a stranger was answered");
    }
    council.kill().await;
    network.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_answers_only_what_was_allowed_and_once() {
    let net = Loopback::new();
    let (network, link, up) = trustee(&net, "north").await;
    let plan = plan(&[]);
    let digest = plan.digest();
    let sites = Sites::new(SITES.map(str::to_owned)).unwrap().identified_by(net.roster.digest());
    let ask = Run::new(&plan, &sites).ask();

    let begin = |sites: &[&str]| json!({ "begin": { "plan": digest, "roster": net.roster.digest(), "sites": sites } });
    refused(&say(&link, &begin(&SITES)).await, "nobody here allowed this run");
    refused(&say(&link, &json!({ "ask": { "ask": ask } })).await, "did not begin here");
    // Nobody's plan, or one that another signed, does not come before people; nor does one that is over.
    let offer = |plan: &acequia_learn::Plan, by: &str| {
        let signature = crate::proposal::sign(&net.identity(by), &plan.digest(), &net.roster.digest(), &[]);
        json!({ "offer": { "plan": plan.to_json(), "signature": signature } })
    };
    refused(&say(&link, &json!({ "offer": { "plan": plan.to_json() } })).await, "it has no signature");
    refused(&say(&link, &offer(&plan, "council")).await, "another key signed it");
    let mut swapped = offer(&plan, "trustee");
    let mut other = plan.clone();
    other.title = "Another".to_owned();
    swapped["offer"]["plan"] = other.to_json().into();
    refused(&say(&link, &swapped).await, "another key signed it");
    let mut late = plan.clone();
    late.last_day = acequia_types::parse_day("2020-01-01");
    refused(&say(&link, &offer(&late, "trustee")).await, "expired on 2020-01-01");
    assert!(net.queue("north").list().unwrap().is_empty());
    assert_eq!(say(&link, &offer(&plan, "trustee")).await["say"], "yes");
    assert!(net.queue("north").list().unwrap()[0].offer.signature.is_some(), "it stays with the plan");
    refused(&say(&link, &begin(&["east", "south"])).await, "not among those");
    refused(&say(&link, &begin(&["north", "council"])).await, "council is not in the roster as site");
    assert_eq!(say(&link, &begin(&SITES)).await["say"], "yes");
    // The difference of sums over three and over two sites would be the third's.
    refused(&say(&link, &begin(&["east", "north"])).await, "began here with other sites");
    // A question of another roster, of another run, or one that does not follow.
    let of_others = Run::new(&plan, &Sites::new(["north".to_owned(), "south".to_owned()]).unwrap()).ask();
    refused(&say(&link, &json!({ "ask": { "ask": of_others } })).await, "another roster");
    let mut other = ask.clone();
    other.plan = net.roster.digest();
    refused(&say(&link, &json!({ "ask": { "ask": other } })).await, "did not begin here");
    // Its people stop it.
    net.queue("north").stop(true).unwrap();
    refused(&say(&link, &json!({ "ask": { "ask": ask } })).await, "it is stopped");
    net.queue("north").stop(false).unwrap();
    net.queue("north").decide(&digest, false, "anna", None, acequia_types::Timestamp::from_unix_s(1)).unwrap();
    refused(&say(&link, &json!({ "ask": { "ask": ask } })).await, "nobody who could allow");
    assert!(net.queue("north").log(&digest).unwrap().entries().is_empty(), "nothing left");
    for nonsense in [json!({ "open": {} }), json!({ "give-me-rows": {} }), json!([1, 2])] {
        assert_eq!(say(&link, &nonsense).await["say"], "no");
    }
    up.kill().await;
    network.close().await;
    // Each is in the hash chain of what was refused: who, what, and the code.
    let log = crate::refusals::refused_in(&net.home("north").join("site")).unwrap();
    let of = |what: &str, code: &str| {
        log.iter().filter(|entry| (&*entry.refused.what, &*entry.refused.code) == (what, code)).count()
    };
    assert_eq!((of("offer", "NT018"), of("offer", "LE002")), (2, 1), "two plans without a signature of the trustee's");
    assert!(of("begin", "NT005") >= 1 && of("begin", "NT003") == 1 && of("ask", "NT005") >= 1);
    assert!(of("ask", "LE009") == 1 && of("ask", "LE008") == 1 && of("what cannot be read", "NT005") == 1);
    assert!(log.iter().all(|entry| entry.refused.from == "trustee"));
}

/// The question of a round, for an aggregator; the plan as somebody signed it.
fn open_of(net: &Loopback, plan: &acequia_learn::Plan, ask: &acequia_learn::Ask, by: &str) -> Value {
    let signature = crate::proposal::sign(&net.identity(by), &plan.digest(), &net.roster.digest(), &[]);
    json!({ "open": { "plan": plan.to_json(), "signature": signature, "sites": SITES, "ask": ask } })
}

/// A model is measured for whoever signed the request, and only so.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_to_measure_a_model_is_signed() {
    let net = Loopback::new();
    let (network, link, up) = trustee(&net, "north").await;
    let plan = plan(&[]);
    let tables = SITES.map(|site| super::data(site, &plan)).to_vec();
    let rules = acequia_learn::SiteRules::own();
    let now = acequia_types::Timestamp::from_unix_s(1_780_000_000);
    let federated = acequia_learn::Architecture::Federated;
    let mut entropy = acequia_learn::SeededEntropy::new(1);
    let report = acequia_learn::run_here(&plan, tables, federated, &rules, now, &mut entropy).unwrap();
    let acequia_learn::Outcome::Model(model) = report.outcome else { panic!("a model was asked for") };
    let settings = acequia_learn::Validation { bootstraps: 0, ..acequia_learn::Validation::usual(&*model) };
    let missing = acequia_learn::Missing::Drop;
    let mut request = acequia_learn::ValidationRequest::new(*model, settings, Vec::new(), missing);
    let examine = |request: &acequia_learn::ValidationRequest, signed: &acequia_learn::ValidationRequest, by: &str| {
        let signature = crate::proposal::sign(&net.identity(by), &signed.digest(), &net.roster.digest(), &[]);
        json!({ "examine": { "request": request.to_json(), "signature": signature } })
    };
    refused(&say(&link, &json!({ "examine": { "request": request.to_json() } })).await, "it has no signature");
    refused(&say(&link, &examine(&request, &request, "council")).await, "another key signed it");
    let other = request.clone();
    request.settings.bootstraps = 100_000;
    refused(&say(&link, &examine(&request, &other, "trustee")).await, "another key signed it");
    assert!(net.queue("north").list().unwrap().is_empty(), "nobody was asked about it");
    assert_eq!(say(&link, &examine(&other, &other, "trustee")).await["say"], "waits");
    let waiting = net.queue("north").list().unwrap();
    assert!(waiting.len() == 1 && waiting[0].offer.signature.is_some(), "it stays with the request");
    up.kill().await;
    network.close().await;
    let log = crate::refusals::refused_in(&net.home("north").join("site")).unwrap();
    let of = log.iter().filter(|entry| (&*entry.refused.what, &*entry.refused.code) == ("examine", "NT018"));
    assert_eq!(of.count(), 2, "of two requests: {log:?}");
}

/// A site is no coordinator, and an aggregator no place for its questions.
#[tokio::test(flavor = "multi_thread")]
async fn roles_are_kept() {
    let net = Loopback::new();
    let council = net.council().await;
    let network = net.open("north").await;
    let link = network.dial(net.roster.expect("council", Role::Aggregator).unwrap(), Protocol::Run).await.unwrap();
    let plan = plan(&[]);
    let sites = Sites::new(SITES.map(str::to_owned)).unwrap().identified_by(net.roster.digest());
    let ask = Run::new(&plan, &sites).ask();
    let open = json!({ "open": { "plan": plan.to_json(), "sites": SITES, "ask": ask } });
    refused(&say(&link, &open).await, "north is not in the roster as coordinator");
    let close = json!({ "close": { "plan": plan.digest(), "round": 1, "sites": SITES } });
    refused(&say(&link, &close).await, "north is not in the roster as coordinator");
    refused(&say(&link, &json!({ "ask": { "ask": ask } })).await, "holds no rows");
    council.kill().await;
    network.close().await;
}

/// One site alone is never unmasked, and a round is never closed over two sets of sites, also not by an aggregator that was
/// killed between.
#[tokio::test(flavor = "multi_thread")]
async fn an_aggregator_closes_a_round_once_and_over_enough_sites() {
    let net = Loopback::new();
    let mut council = net.council().await;
    let coordinator = net.open("trustee").await;
    let council_member = net.roster.expect("council", Role::Aggregator).unwrap().clone();
    let mut link = coordinator.dial(&council_member, Protocol::Run).await.unwrap();
    let sites = Sites::new(SITES.map(str::to_owned)).unwrap().identified_by(net.roster.digest());
    // Where a plan does not say that sites may be left out, none is.
    let all = plan(&[]);
    let open = open_of(&net, &all, &Run::new(&all, &sites).ask(), "trustee");
    assert_eq!(say(&link, &open).await["say"], "yes");
    let two = json!({ "close": { "plan": all.digest(), "round": 1, "sites": ["east", "north"] } });
    refused(&say(&link, &two).await, "without a site that takes part");

    let plan = plan(&[("minimum_sites = 2", "minimum_sites = 2, dropouts = \"leave-out\"")]);
    let ask = Run::new(&plan, &sites).ask();
    let open = open_of(&net, &plan, &ask, "trustee");
    // Nobody's plan, or one that another signed, is not added up for.
    let mut unsigned = open.clone();
    unsigned["open"]["signature"] = Value::Null;
    refused(&say(&link, &unsigned).await, "it has no signature");
    refused(&say(&link, &open_of(&net, &plan, &ask, "council")).await, "another key signed it");
    assert_eq!(say(&link, &open).await["say"], "yes");
    // A seed is a share of any shape.
    let share = |site: &str| {
        let head = json!({ "share": { "plan": plan.digest(), "round": 1 } });
        let inner = json!({ "site": site, "round": 1, "context": ask.context(), "kind": "seed" });
        Frame::by_hand(&head, format!("{inner}\n{}", "s".repeat(32)).as_bytes())
    };
    let mut other_attempt = open.clone();
    other_attempt["open"]["ask"]["attempt"] = 1.into();
    refused(&say(&link, &other_attempt).await, "nobody takes over");
    let mut ends = Vec::new();
    for site in SITES {
        let network = net.open(site).await;
        let to = network.dial(&council_member, Protocol::Run).await.unwrap();
        // In the name of another site it is refused.
        let other = if site == "north" { "south" } else { "north" };
        let answer = to.ask(&share(other)).await.unwrap();
        assert!(String::from_utf8_lossy(&answer).contains("for somebody else"));
        assert_eq!(head_of(&to.ask(&share(site)).await.unwrap())["say"], "yes");
        ends.push((network, to));
    }
    let close = |sites: &[&str]| json!({ "close": { "plan": plan.digest(), "round": 1, "sites": sites } });
    for alone in [&["north"][..], &["north", "north"]] {
        refused(&say(&link, &close(alone)).await, "a sum over one site");
    }
    assert_eq!(say(&link, &close(&["east", "north"])).await["say"], "part");
    refused(&say(&link, &close(&SITES)).await, "closed with other sites");
    // Nor in a later round, nor with the one that was left out.
    let mut later = open.clone();
    later["open"]["ask"]["round"] = 2.into();
    assert_eq!(say(&link, &later).await["say"], "yes");
    let again = |sites: &[&str]| json!({ "close": { "plan": plan.digest(), "round": 2, "sites": sites } });
    refused(&say(&link, &again(&SITES)).await, "the same question was closed with other sites");

    council.kill().await;
    council = net.council().await;
    link = coordinator.dial(&council_member, Protocol::Run).await.unwrap();
    assert_eq!(say(&link, &open).await["say"], "yes");
    for (site, (network, _)) in SITES.iter().zip(&ends) {
        let to = network.dial(&council_member, Protocol::Run).await.unwrap();
        assert_eq!(head_of(&to.ask(&share(site)).await.unwrap())["say"], "yes");
    }
    refused(&say(&link, &close(&SITES)).await, "closed with other sites");
    assert_eq!(say(&link, &close(&["east", "north"])).await["say"], "part");
    council.kill().await;
    for (network, _) in ends {
        network.close().await;
    }
    coordinator.close().await;
    let log = crate::refusals::refused_in(&net.home("council").join("aggregator")).unwrap();
    let of = |what: &str| log.iter().filter(|entry| entry.refused.what == what).count();
    assert!(of("close") >= 2 && of("open") == 2 && of("share") >= 3, "{log:?}");
    assert!(log.iter().any(|entry| (&*entry.refused.what, &*entry.refused.code) == ("open", "NT018")), "{log:?}");
}

/// A site that sends what no rows give: the run ends there, nobody gets a result, and the coordinator has it on record.
#[tokio::test(flavor = "multi_thread")]
async fn a_poisoned_sum_ends_the_run_and_is_on_record() {
    let net = Loopback::new();
    let masked = "protection = \"two-aggregators\", aggregators = [\"trustee\", \"council\"]";
    let plan =
        plan(&[("kind = \"cox\"", "kind = \"count\""), ("outcome = {", "# {"), (masked, "protection = \"none\"")]);
    let standing = || ["count".to_owned()].into();
    let mut up = Vec::new();
    for site in ["north", "south"] {
        up.push(net.site_with(site, standing(), acequia_learn::SiteRules::cautious()).await);
    }
    let network = net.open("east").await;
    let coordinator = net.roster.expect("trustee", Role::Coordinator).unwrap().clone();
    let east = {
        let network = network.clone();
        tokio::spawn(async move {
            let link = loop {
                match network.dial(&coordinator, Protocol::Run).await {
                    Ok(link) => break link,
                    Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                }
            };
            while let Some(mut incoming) = link.next().await {
                let bytes = incoming.read().await.unwrap();
                let answer = match crate::message::read::<crate::message::Request>("trustee", &bytes).unwrap().0 {
                    crate::message::Request::Ask { ask } => {
                        let message = acequia_learn::Message {
                            site: "east".to_owned(),
                            round: ask.round,
                            context: ask.context(),
                            // Five rows, and five thousand of them with the event.
                            payload: acequia_learn::Payload::Plain(acequia_learn::PackedSums::of(&[
                                5 << 60,
                                5_000 << 60,
                            ])),
                        };
                        Frame::by_hand(&json!({ "say": "sums" }), &message.to_bytes())
                    }
                    _ => frame(&json!({ "say": "yes" })),
                };
                incoming.answer(&answer).await;
            }
        })
    };
    let ended = net.run_all(&plan).await;
    assert!(ended.as_ref().unwrap_err().to_string().contains("no rows give such rows with the event"), "{ended:?}");
    let log = crate::refusals::refused_in(&net.home("trustee").join("runs")).unwrap();
    let entry = &log.last().unwrap().refused;
    assert_eq!((&*entry.code, &*entry.what, entry.about), ("LE024", "sum", Some(plan.digest())));
    for site in ["north", "south"] {
        assert!(net.queue(site).result(&plan.digest()).unwrap().is_none());
    }
    east.abort();
    network.close().await;
    for up in up {
        up.kill().await;
    }
}
