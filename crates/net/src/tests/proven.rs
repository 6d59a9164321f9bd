//! Shares with proofs over real connections: the same result, and a site that lies about its range is left out by both aggregators.

use std::sync::Arc;
use std::time::Duration;

use acequia_learn::{
    Architecture, LearnError, Ledger, Message, Outcome, Payload, Plan, Roster as Sites, SeededEntropy, Site, SiteRules,
    VerifyHalf, run_here,
};
use acequia_types::{Clock, SystemClock};
use serde_json::json;
use tokio::sync::watch;

use super::{Loopback, SITES, clock, data, kill, plan};
use crate::message::{Reply, Request, read};
use crate::{Frame, NetError, Network, Protocol, Role};

const MASKED: &str = "protection = \"two-aggregators\", aggregators = [\"trustee\", \"council\"]";

/// Counts, or means, with proofs.
fn proven(task: &str, dropouts: &str) -> Plan {
    let (outcome, ranges) = match task {
        "count" => ("outcome = {", ""),
        _ => ("outcome = {", ", ranges = { size2050 = [0, 1], nodes = [0, 60], grade3 = [0, 1] }"),
    };
    let proof =
        format!("protection = \"proven\", aggregators = [\"trustee\", \"council\"], proof = {{ rows = 5000{ranges} }}");
    let waits = format!("minimum_sites = 2, dropouts = \"{dropouts}\"");
    plan(&[
        ("kind = \"cox\"", &format!("kind = \"{task}\"")),
        (outcome, "# {"),
        (MASKED, &proof),
        ("minimum_sites = 2", &waits),
    ])
}

fn here(plan: &Plan, sites: &[&str]) -> Outcome {
    let tables = sites.iter().map(|site| data(site, plan)).collect();
    let rules = SiteRules::own();
    let mut entropy = SeededEntropy::new(1);
    run_here(plan, tables, Architecture::Federated, &rules, SystemClock.now(), &mut entropy).unwrap().outcome
}

#[tokio::test(flavor = "multi_thread")]
async fn proven_sums_are_the_same_over_the_network_and_after_a_restart() {
    let net = Loopback::new();
    let mut council = net.council().await;
    let standing = || ["moments".to_owned()].into();
    let mut up = Vec::new();
    for site in SITES {
        up.push(net.site_with(site, standing(), SiteRules::cautious()).await);
    }
    let plan = proven("moments", "wait");
    let south = up.pop().unwrap();
    let (rounds, mut round) = watch::channel(0);
    let (report, ()) = tokio::join!(net.run(&plan, Duration::from_secs(60), rounds), async {
        round.wait_for(|round| *round >= 1).await.unwrap();
        // A site and an aggregator die in the middle of it, and come back.
        south.kill().await;
        up.push(net.site_with("south", standing(), SiteRules::cautious()).await);
        round.wait_for(|round| *round >= 2).await.unwrap();
    });
    let report = report.unwrap();
    assert_eq!((report.sites.as_slice(), report.rounds), (&SITES.map(str::to_owned)[..], 2));
    assert_eq!(report.outcome, here(&plan, &SITES));
    council.kill().await;
    council = net.council().await;
    kill(up).await;
    council.kill().await;
}

/// A site that speaks the protocol, and adds a thousand million to the count in its first share.
async fn lies(network: Network, plan: Plan, sites: Sites) {
    let roster = Arc::clone(network.roster());
    let council = roster.expect("council", Role::Aggregator).unwrap().clone();
    let trustee = roster.expect("trustee", Role::Coordinator).unwrap().clone();
    let link = loop {
        match network.dial(&trustee, Protocol::Run).await {
            Ok(link) => break link,
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    };
    let (rules, mut ledger) = (SiteRules::own(), Ledger::default());
    let tables = vec![data("east", &plan)];
    let mut site = Site::join("east", &plan, &sites, tables, rules, &mut ledger, [9; 32].into()).unwrap();
    while let Some(mut incoming) = link.next().await {
        let bytes = incoming.read().await.unwrap();
        let say = match read::<Request>("trustee", &bytes).unwrap().0 {
            Request::Ask { ask } => {
                for update in site.answer(&ask, clock().now()).unwrap() {
                    let mut message = Message::from_bytes("east", update.bytes(), &plan, &ask).unwrap();
                    if let (Payload::Proven(share), "trustee") = (&mut message.payload, update.to()) {
                        let number = share[64..80].first_chunk_mut::<16>().unwrap();
                        *number = (u128::from_le_bytes(*number) / 2 + 1_000_000_000).to_le_bytes();
                    }
                    let head = json!({ "share": { "plan": ask.plan, "round": ask.round } });
                    let frame = Frame::by_hand(&head, &message.to_bytes());
                    let answer = match update.to() {
                        "trustee" => link.ask(&frame).await.unwrap(),
                        _ => network.dial(&council, Protocol::Run).await.unwrap().ask(&frame).await.unwrap(),
                    };
                    assert_eq!(read::<Reply>("an aggregator", &answer).unwrap().0, Reply::Yes, "it is taken");
                }
                json!({ "say": "sent" })
            }
            _ => json!({ "say": "yes" }),
        };
        incoming.answer(&Frame::by_hand(&say, &[])).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_whose_numbers_are_out_of_range_is_left_out_by_both() {
    for dropouts in ["leave-out", "wait"] {
        let net = Loopback::new();
        let council = net.council().await;
        let mut up = Vec::new();
        for site in ["north", "south"] {
            up.push(net.site_with(site, ["count".to_owned()].into(), SiteRules::cautious()).await);
        }
        let plan = proven("count", dropouts);
        let sites = Sites::new(SITES.map(str::to_owned)).unwrap().identified_by(net.roster.digest());
        let network = net.open("east").await;
        let east = tokio::spawn(lies(network.clone(), plan.clone(), sites));
        let ended = net.run_all(&plan).await;
        match dropouts {
            "wait" => {
                let error = ended.unwrap_err();
                assert!(
                    matches!(error, NetError::Learn(LearnError::TooFewSites { left: 2, needed: 3, round: 1 })),
                    "{error}"
                );
            }
            _ => {
                let report = ended.unwrap();
                assert_eq!((&*report.left_out, report.sites.len()), (&["east".to_owned()][..], 2));
                assert_eq!(report.outcome, here(&plan, &["north", "south"]), "the counts of the others");
            }
        }
        east.abort();
        network.close().await;
        kill(up).await;
        council.kill().await;
        // Both aggregators have it on record, and so has the coordinator.
        for folder in [net.home("trustee").join("aggregator"), net.home("council").join("aggregator")] {
            let log = crate::refusals::refused_in(&folder).unwrap();
            let found = log.iter().find(|entry| entry.refused.code == "LE025").unwrap();
            assert_eq!((&*found.refused.from, &*found.refused.what), ("east", "share"));
            assert_eq!((found.refused.about, found.refused.round), (Some(plan.digest()), Some(1)));
        }
        let log = crate::refusals::refused_in(&net.home("trustee").join("runs")).unwrap();
        assert!(log.iter().any(|entry| (&*entry.refused.from, &*entry.refused.code) == ("east", "LE025")));
    }
}

/// The coordinator hands on what aggregators tell one another, and can neither change it nor put something else in its place.
#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_changes_nothing_of_what_aggregators_tell_one_another() {
    let net = Loopback::new();
    let council = net.council().await;
    let coordinator = net.open("trustee").await;
    let member = net.roster.expect("council", Role::Aggregator).unwrap().clone();
    let link = coordinator.dial(&member, Protocol::Run).await.unwrap();
    let plan = proven("count", "wait");
    let sites = Sites::new(SITES.map(str::to_owned)).unwrap().identified_by(net.roster.digest());
    let ask = acequia_learn::Run::new(&plan, &sites).ask();
    let digest = plan.digest();
    let signature = crate::proposal::sign(&net.identity("trustee"), &digest, &net.roster.digest(), &[]);
    let open = json!({ "open": { "plan": plan.to_json(), "signature": signature, "sites": SITES, "ask": ask } });
    let say = async |head: serde_json::Value, numbers: &[u8]| {
        let answer = link.ask(&Frame::by_hand(&head, numbers)).await.unwrap();
        read::<Reply>("council", &answer).unwrap().0
    };
    let Reply::Opened { key, signature } = say(open.clone(), &[]).await else { panic!("a half of a key is told") };
    let verify = |key: &str, signature: &str| json!({ "verify": { "plan": digest, "round": 1, "sites": SITES, "key": key, "signature": signature } });
    let is_refused = |reply: &Reply, reason: &str| match reply {
        Reply::No { reason: told } => assert!(told.contains(reason), "{told}"),
        other => panic!("{other:?}"),
    };
    // Its own half, a half that another signed, no half.
    is_refused(&say(verify(&key, &signature), &[]).await, "did not sign it");
    let of_north = net.identity("north").sign("acequia proofs 1", &digest);
    is_refused(&say(verify(&"00".repeat(32), &of_north), &[]).await, "did not sign it");
    let settle = json!({ "settle": { "plan": digest, "round": 1, "signature": of_north } });
    is_refused(&say(settle.clone(), b"nothing").await, "no word about proofs");
    let mut word = vec![0xa2];
    // {"context": digest, "shares": {}}
    ciborium::into_writer("context", &mut word).unwrap();
    ciborium::into_writer(&ask.context(), &mut word).unwrap();
    ciborium::into_writer("shares", &mut word).unwrap();
    word.push(0xa0);
    is_refused(&say(settle, &word).await, "did not sign it");
    let close = json!({ "close": { "plan": digest, "round": 1, "sites": SITES } });
    is_refused(&say(close, &[]).await, "whose share is not here");

    // The coordinator is the other aggregator, too. Many keys for proofs of the same share would tell the share.
    let look = |number: u8| {
        let half = VerifyHalf::of(&[number; 32].into(), &digest, &net.roster.digest()).public();
        let half = half.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let signed = crate::aggregator::of_half(&digest, &net.roster.digest(), &half);
        let signature = net.identity("trustee").sign("acequia proofs 1", &signed);
        json!({ "verify": { "plan": digest, "round": 1, "sites": [], "key": half, "signature": signature } })
    };
    for _ in 0..2 {
        assert!(matches!(say(look(1), &[]).await, Reply::Verified { .. }));
        is_refused(&say(look(2), &[]).await, "under another key");
    }
    council.kill().await;
    let council = net.council().await;
    let link = coordinator.dial(&member, Protocol::Run).await.unwrap();
    let say = async |head: serde_json::Value| {
        let answer = link.ask(&Frame::by_hand(&head, &[])).await.unwrap();
        read::<Reply>("council", &answer).unwrap().0
    };
    assert!(matches!(say(open).await, Reply::Opened { .. }));
    is_refused(&say(look(2)).await, "under another key");
    assert!(matches!(say(look(1)).await, Reply::Verified { .. }));
    council.kill().await;
    coordinator.close().await;
}
