//! The result, whoever dies on the way.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use acequia_learn::{
    Architecture, Data, Dropouts, ImportedModel, LearnError, Membership, Missing, ModelManifest, Outcome, Plan, Record,
    SeededEntropy, SiteMap, SiteRules, Validation, ValidationRequest, evaluate, run_here,
};
use acequia_types::{Clock, SystemClock};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{Loopback, SITES, Table, Up, clock, data, kill, offered, plan, third, untested};
use crate::link::Protocol;
use crate::message::{Request, read};
use crate::{
    AggregatorDesk, Held, HeldForValidation, Holdings, MemberFolder, NetError, Role, SiteAgent, SiteSettings,
    check_record,
};

/// The run in one process.
pub(super) fn here(plan: &Plan, sites: &[&str]) -> Outcome {
    let tables = sites.iter().map(|site| data(site, plan)).collect();
    let rules = SiteRules::own();
    run_here(plan, tables, Architecture::Federated, &rules, SystemClock.now(), &mut SeededEntropy::new(1))
        .unwrap()
        .outcome
}

fn coefficients(outcome: &Outcome) -> Vec<f64> {
    let Outcome::Model(model) = outcome else { panic!("a model was asked for") };
    model.coefficients().to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn over_the_network_it_is_the_same_to_the_last_bit() {
    let net = Loopback::new();
    let council = net.council().await;
    let mut up = Vec::new();
    for site in SITES {
        up.push(net.site(site).await);
    }
    let plan = plan(&[]);
    let report = net.run_all(&plan).await.unwrap();
    assert_eq!(report.sites, SITES);
    assert!(report.left_out.is_empty() && report.rounds > 3);
    let Outcome::Model(model) = &report.outcome else { panic!("a model was asked for") };
    assert!(
        matches!(model.membership, Some(Membership::AtSites { sites: 3, .. })),
        "it was attacked before it was told"
    );
    assert_eq!(untested(report.outcome.clone()), here(&plan, &SITES));

    // Each site has the plan, the decision, everything that left, and the result.
    for site in SITES {
        let queue = net.queue(site);
        let run = queue.find(&plan.digest().short(8)).unwrap();
        assert!(run.finished && run.decision.unwrap().by == "the standing rule for cox");
        assert_eq!(run.begun.unwrap().sites, SITES);
        let log = queue.log(&plan.digest()).unwrap();
        assert_eq!(log.entries().len(), report.rounds as usize + 1, "an answer a round, and whether an attack passed");
        assert!(log.entries()[0].left.words.contains("trustee and council each get random numbers"));
    }
    kill(up).await;
    council.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_masks_it_is_the_same_too() {
    let net = Loopback::new();
    let mut up = Vec::new();
    for site in SITES {
        up.push(net.site_with(site, ["moments".to_owned()].into(), SiteRules::cautious()).await);
    }
    let moments = plan(&[
        ("kind = \"cox\"", "kind = \"moments\""),
        ("outcome = {", "# {"),
        ("protection = \"two-aggregators\", aggregators = [\"trustee\", \"council\"]", "protection = \"none\""),
    ]);
    let report = net.run_all(&moments).await.unwrap();
    assert_eq!(report.outcome, here(&moments, &SITES));
    kill(up).await;
}

/// Killed in the middle of a run and started again, a site says what it said before; killed for good, it is left out and the
/// others finish, where the plan says so. Where it does not, the run stops, and goes on with the site when it is back.
#[tokio::test(flavor = "multi_thread")]
async fn a_killed_site_comes_back_or_is_left_out() {
    for comes_back in [true, false] {
        let net = Loopback::new();
        let council = net.council().await;
        let mut up = Vec::new();
        for site in SITES {
            up.push(net.site(site).await);
        }
        let south = up.pop().unwrap();
        let plan = match comes_back {
            true => plan(&[]),
            false => plan(&[("minimum_sites = 2", "minimum_sites = 2, dropouts = \"leave-out\"")]),
        };
        let (rounds, mut round) = watch::channel(0);
        let within = Duration::from_secs(if comes_back { 60 } else { 8 });
        let (report, ()) = tokio::join!(net.run(&plan, within, rounds), async {
            round.wait_for(|round| *round >= 3).await.unwrap();
            south.kill().await;
            if comes_back {
                up.push(net.site("south").await);
            }
        });
        let report = report.unwrap();
        if comes_back {
            assert_eq!(report.sites, SITES);
            assert_eq!(untested(report.outcome), here(&plan, &SITES));
        } else {
            assert_eq!(
                (report.sites.as_slice(), report.left_out.as_slice()),
                (&["east", "north"].map(str::to_owned)[..], &["south".to_owned()][..])
            );
            let alone = here(&plan, &["east", "north"]);
            for (ours, theirs) in coefficients(&report.outcome).iter().zip(coefficients(&alone)) {
                assert!((ours - theirs).abs() < 1e-6, "{ours} {theirs}");
            }
        }
        kill(up).await;
        council.kill().await;
    }
}

/// No sum is over fewer sites than the one before, unless the plan says so: the difference would be a site's.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_waits_for_a_site_that_is_gone() {
    let net = Loopback::new();
    let council = net.council().await;
    let mut up = Vec::new();
    for site in SITES {
        up.push(net.site(site).await);
    }
    let south = up.pop().unwrap();
    let plan = plan(&[]);
    let (rounds, mut round) = watch::channel(0);
    let (report, ()) = tokio::join!(net.run(&plan, Duration::from_secs(8), rounds), async {
        round.wait_for(|round| *round >= 3).await.unwrap();
        south.kill().await;
    });
    assert!(matches!(report, Err(NetError::Learn(LearnError::TooFewSites { left: 2, needed: 3, .. }))), "{report:?}");
    up.push(net.site("south").await);
    let report = net.run_all(&plan).await.unwrap();
    assert_eq!(report.sites, SITES);
    assert_eq!(untested(report.outcome), here(&plan, &SITES));
    kill(up).await;
    council.kill().await;
}

/// An aggregator that dies after it closed its first round, before it says so; with its desk and the network it had.
async fn dies_closing(net: &Loopback) -> (JoinHandle<()>, Arc<AggregatorDesk>) {
    let network = net.open("council").await;
    let desk = AggregatorDesk::new(&network, net.home("council").join("aggregator"), clock()).unwrap();
    let kept = Arc::clone(&desk);
    let mut links = network.listen(Protocol::Run);
    let serves = async move {
        let (died, mut dies) = watch::channel(false);
        while let Some(link) = tokio::select! { link = links.recv() => link, _ = dies.changed() => None } {
            let (desk, died) = (Arc::clone(&desk), died.clone());
            tokio::spawn(async move {
                while let Some(mut incoming) = link.next().await {
                    let bytes = incoming.read().await.unwrap();
                    let closes = matches!(read::<Request>("", &bytes), Ok((Request::Close { .. }, _)));
                    let answer = desk.answer(&incoming.from.clone(), bytes).await;
                    if closes {
                        let _ = died.send(true);
                        return;
                    }
                    incoming.answer(&answer).await;
                }
            });
        }
        network.close().await;
    };
    (tokio::spawn(serves), kept)
}

/// Over how many sites an aggregator closed each round.
fn closed_over(net: &Loopback, plan: &Plan) -> Vec<usize> {
    let closed = net.home("council").join("aggregator").join(format!("{}.closed.jsonl", plan.digest()));
    let lines = std::fs::read_to_string(closed).unwrap();
    let sites =
        |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["sites"].as_array().unwrap().len();
    lines.lines().map(sites).collect()
}

/// A round that one aggregator closed is closed over the same sites when the run goes on, also where one of them is gone meanwhile: with
/// what it handed over where that is still there, and else once it is back.
async fn goes_on_with_the_sites_of_a_closed_round(keeps: bool) {
    const WITHIN: Duration = Duration::from_secs(4);
    let net = Loopback::new();
    let (dying, desk) = dies_closing(&net).await;
    let mut up = Vec::new();
    for site in SITES {
        up.push(net.site(site).await);
    }
    let plan = plan(&[("minimum_sites = 2", "minimum_sites = 2, dropouts = \"leave-out\"")]);
    let (mut network, mut coordinator) = net.coordinator(WITHIN, watch::channel(0).0).await;
    let report = coordinator.run(&plan).await;
    assert!(matches!(&report, Err(NetError::Unreachable { member, .. }) if member == "council"), "{report:?}");
    dying.await.unwrap();
    assert_eq!(closed_over(&net, &plan), [3]);
    up.pop().unwrap().kill().await;
    let back = net.open("council").await;
    let served = back.clone();
    let council = Up { task: tokio::spawn(async move { desk.serve(&served).await }), network: back };
    if !keeps {
        network.close().await;
        // The port is free once nobody holds the endpoint.
        drop((network, coordinator));
        (network, coordinator) = net.coordinator(WITHIN, watch::channel(0).0).await;
        for _ in 0..2 {
            let report = coordinator.run(&plan).await;
            let Err(NetError::Unreachable { member, reason }) = &report else { panic!("{report:?}") };
            assert!(member == "south" && reason.contains("round 1 was closed with its rows"), "{member} {reason}");
        }
        up.push(net.site("south").await);
    }
    let report = coordinator.run(&plan).await.unwrap();
    let closed = closed_over(&net, &plan);
    assert_eq!(closed[0], 3);
    if keeps {
        assert_eq!((report.sites.len(), report.left_out.as_slice()), (2, &["south".to_owned()][..]));
        assert!(closed[1..].iter().all(|sites| *sites == 2), "{closed:?}");
    } else {
        assert_eq!(report.sites, SITES);
        assert_eq!(untested(report.outcome), here(&plan, &SITES));
    }
    network.close().await;
    kill(up).await;
    council.kill().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_round_needs_no_site_whose_shares_are_there() {
    goes_on_with_the_sites_of_a_closed_round(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_round_waits_for_a_site_whose_shares_are_lost() {
    goes_on_with_the_sites_of_a_closed_round(false).await;
}

/// Rows of people who do not allow any more that the result is told.
struct Reticent;

impl Holdings for Reticent {
    fn rows(&self, plan: &Plan) -> Result<Held, LearnError> {
        Table("north").rows(plan)
    }

    fn for_validation(&self, request: &ValidationRequest) -> Result<HeldForValidation, LearnError> {
        Table("north").for_validation(request)
    }

    fn tell(&self, outcome: &Outcome) -> Result<(), LearnError> {
        assert!(matches!(outcome, Outcome::Model(model) if model.membership.is_some()), "after the attacks");
        Err(LearnError::Withdrawn { site: "trustee".to_owned() })
    }
}

/// Who withdraws after the last round is asked before the model is told to anybody.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_a_model_that_may_not_be_told() {
    let net = Loopback::of(&[Role::Coordinator, Role::Aggregator, Role::Site]);
    let council = net.council().await;
    let mut up = Vec::new();
    for site in SITES {
        up.push(net.site(site).await);
    }
    let (network, coordinator) = net.coordinator(Duration::from_secs(60), watch::channel(0).0).await;
    let folder = net.home("trustee").join("site");
    let settings = SiteSettings {
        folder,
        rules: SiteRules::own(),
        standing: ["cox".to_owned()].into(),
        answer_within: Duration::from_secs(60),
    };
    let (identity, quiet) = (net.identity("trustee"), Arc::new(|_| {}));
    let own = SiteAgent::new(network.clone(), &identity, settings, Arc::new(Reticent), clock(), quiet).unwrap();
    let plan = plan(&[]);
    let report = coordinator.with_own_site(own).run(&plan).await;
    assert!(matches!(report, Err(NetError::Learn(LearnError::Withdrawn { .. }))), "{report:?}");
    for name in SITES.into_iter().chain(["trustee"]) {
        let run = net.queue(name).run(&plan.digest());
        assert!(run.join("left.jsonl").is_file(), "{name} answered");
        assert!(!run.join("outcome.json").exists(), "{name} was told");
    }
    network.close().await;
    kill(up).await;
    council.kill().await;
}

/// Coordinator and aggregator, killed in the middle of a round and started again, go on with the same result.
#[tokio::test(flavor = "multi_thread")]
async fn killed_coordinators_and_aggregators_go_on() {
    let net = Loopback::new();
    let mut council = net.council().await;
    let mut up = Vec::new();
    for site in SITES {
        up.push(net.site(site).await);
    }
    let plan = plan(&[]);
    for stop_at in [2, 4] {
        let (rounds, mut round) = watch::channel(0);
        let (network, coordinator) = net.coordinator(Duration::from_secs(60), rounds).await;
        tokio::select! {
            report = coordinator.run(&plan) => panic!("it was to be killed: {report:?}"),
            _ = async { round.wait_for(|round| *round >= stop_at).await.map(drop) } => {}
        }
        network.close().await;
        drop(coordinator);
        council.kill().await;
        council = net.council().await;
    }
    let report = net.run_all(&plan).await.unwrap();
    assert_eq!(report.sites, SITES);
    assert_eq!(untested(report.outcome), here(&plan, &SITES));
    for site in SITES {
        // What a round was answered with twice is the same, byte for byte.
        let log = net.queue(site).log(&plan.digest()).unwrap();
        for entry in log.entries() {
            let same = log.entries().iter().filter(|other| other.left.round == entry.left.round);
            assert!(
                same.into_iter().all(|other| other.left.sent == entry.left.sent),
                "{site} said two things in a round"
            );
        }
        assert!(log.entries().len() >= report.rounds as usize);
    }
    kill(up).await;
    council.kill().await;
}

fn between_sites() -> Plan {
    plan(&[(
        "protection = \"two-aggregators\", aggregators = [\"trustee\", \"council\"]",
        "protection = \"double-masking\"",
    )])
}

/// Masked between the sites, with nobody but the coordinator to add up: killed in the middle of rounds and started again, sites and
/// coordinator go on with the same result, and no site says two things in one step.
#[tokio::test(flavor = "multi_thread")]
async fn a_single_coordinator_sees_the_same_sums() {
    let net = Loopback::of(&[Role::Coordinator]);
    let mut up = Vec::new();
    for site in SITES {
        up.push(net.site(site).await);
    }
    let plan = between_sites();
    let expected = here(&plan, &SITES);
    // Anywhere in the round: each is some milliseconds long.
    for (stop_at, after_ms) in [(1, 0), (2, 3), (2, 9), (3, 6), (4, 1)] {
        let (rounds, mut round) = watch::channel(0);
        let (network, coordinator) = net.coordinator(Duration::from_secs(60), rounds).await;
        tokio::select! {
            // It may be done sooner than it is killed.
            _ = coordinator.run(&plan) => {}
            () = async {
                round.wait_for(|round| *round >= stop_at).await.map(drop).unwrap();
                tokio::time::sleep(Duration::from_millis(after_ms)).await;
            } => {}
        }
        network.close().await;
        drop(coordinator);
        up.pop().unwrap().kill().await;
        up.push(net.site("south").await);
    }
    let (rounds, mut round) = watch::channel(0);
    let (report, ()) = tokio::join!(net.run(&plan, Duration::from_secs(60), rounds), async {
        round.wait_for(|round| *round >= 4).await.unwrap();
        up.pop().unwrap().kill().await;
        up.push(net.site("south").await);
    });
    let report = report.unwrap();
    assert_eq!(report.sites, SITES);
    assert_eq!(untested(report.outcome), expected);
    for site in SITES {
        let log = net.queue(site).log(&plan.digest()).unwrap();
        let steps: Vec<_> =
            log.entries().iter().filter(|entry| entry.left.round > 0).map(|entry| &entry.left).collect();
        for left in &steps {
            let step = |of: &acequia_learn::Left| (of.round, of.turned.as_ref().map(|turned| turned.step.clone()));
            let same = steps.iter().filter(|other| step(other) == step(left)).count();
            assert_eq!(same, 1, "{site} said two things in a step");
        }
        assert_eq!(steps.len(), report.rounds as usize * 5, "keys, shares, masked sums, a signature, shares of masks");
        assert!(
            steps[0].words.contains("masks come off only the sum, once 3 of the sites signed"),
            "{}",
            steps[0].words
        );
    }
    assert!(std::fs::read_dir(net.home("trustee").join("runs")).unwrap().count() == 3);
    crate::Coordinator::forget(&net.home("trustee").join("runs"), &plan).unwrap();
    assert!(std::fs::read_dir(net.home("trustee").join("runs")).unwrap().count() == 0);
    kill(up).await;
}

/// Where too few are left to take masks off, there is no sum, also where a plan lets sites drop out.
#[tokio::test(flavor = "multi_thread")]
async fn masks_of_too_few_sites_do_not_come_off() {
    let net = Loopback::of(&[Role::Coordinator]);
    let mut up = Vec::new();
    for site in SITES {
        up.push(net.site(site).await);
    }
    let mut plan = between_sites();
    plan.privacy.dropouts = Dropouts::LeaveOut;
    let (rounds, mut round) = watch::channel(0);
    let (report, ()) = tokio::join!(net.run(&plan, Duration::from_secs(4), rounds), async {
        round.wait_for(|round| *round >= 2).await.unwrap();
        up.pop().unwrap().kill().await;
    });
    assert!(matches!(report, Err(NetError::Learn(LearnError::TooFewSites { left: 2, needed: 3, .. }))), "{report:?}");
    kill(up).await;
}

/// A site whose rules want more sites in every sum than aggregators see to does not take part.
#[tokio::test(flavor = "multi_thread")]
async fn a_site_wants_as_many_sites_as_its_rules_say() {
    let net = Loopback::new();
    let council = net.council().await;
    let mut up = vec![net.site("north").await, net.site("south").await];
    let rules = SiteRules { minimum_sites: 3, ..SiteRules::cautious() };
    up.push(net.site_with("east", ["cox".to_owned()].into(), rules).await);
    let report = net.run_all(&plan(&[("minimum_sites = 2", "minimum_sites = 1")])).await.unwrap();
    assert_eq!(report.sites, ["north", "south"]);
    assert!(net.queue("east").list().unwrap().is_empty());
    kill(up).await;
    council.kill().await;
}

/// A person decides; until then, and after a no, nothing of the site leaves.
#[tokio::test(flavor = "multi_thread")]
async fn people_decide() {
    let net = Loopback::new();
    let council = net.council().await;
    let mut up = vec![net.site("north").await, net.site("south").await];
    up.push(net.site_with("east", ["count".to_owned()].into(), SiteRules::cautious()).await);
    let plan = plan(&[]);
    let queue = net.queue("east");
    let (report, ()) = tokio::join!(net.run_all(&plan), async {
        let waiting = offered(&queue).await;
        assert!(waiting.decision.is_none() && waiting.offer.from == "trustee");
        let rows = third("east").lines().count() - 1;
        assert!(
            waiting.offer.words.contains(&format!("a sum over this site's {rows} rows")),
            "{}",
            waiting.offer.words
        );
        assert!(waiting.offer.words.ends_with("No row, name or date of a person leaves."));
        queue.decide(&waiting.run, false, "anna", None, SystemClock.now()).unwrap();
    });
    assert_eq!(report.unwrap().sites, ["north", "south"]);
    assert!(queue.log(&plan.digest()).unwrap().entries().is_empty());
    kill(up).await;
    council.kill().await;
}

/// A frozen model at every site: each measures it on its own rows, after its people allowed it, and signs what comes out.
#[tokio::test(flavor = "multi_thread")]
async fn sites_measure_a_model_and_sign() {
    let net = Loopback::new();
    let plan = plan(&[]);
    let Outcome::Model(model) = here(&plan, &["east", "north"]) else { panic!("a model was asked for") };
    let settings = Validation { bootstraps: 20, ..Validation::usual(&*model) };
    let request = ValidationRequest::new(*model, settings, vec!["meno".to_owned()], Missing::Refuse);
    let standing = || BTreeSet::from(["validation".to_owned()]);
    let mut up = Vec::new();
    for site in ["north", "south"] {
        up.push(net.site_with(site, standing(), SiteRules::cautious()).await);
    }
    up.push(net.site_with("east", BTreeSet::new(), SiteRules::cautious()).await);
    let (network, coordinator) = net.coordinator(Duration::from_secs(60), watch::channel(0).0).await;
    let queue = net.queue("east");
    let (found, ()) = tokio::join!(coordinator.validate(&request), async {
        let waiting = offered(&queue).await;
        assert!(
            waiting.offer.task == "validation" && waiting.offer.words.contains("subgroups by meno"),
            "{:?}",
            waiting.offer
        );
        queue.decide(&waiting.run, false, "anna", None, SystemClock.now()).unwrap();
    });
    let (evaluations, signatures) = found.unwrap();
    let reading = request.reading();
    for evaluation in &evaluations {
        let name = SITES.into_iter().find(|site| *site == evaluation.site).unwrap();
        let data = Data::from_csv(name, third(name).as_bytes(), &reading.needs(), &SiteMap::default()).unwrap();
        assert_eq!(&evaluate(&request.model, &data, &request.by, &request.settings).unwrap(), evaluation);
        assert_eq!(net.queue(name).log(&request.digest()).unwrap().entries().len(), 1);
    }
    let record =
        Record::new(&request.model, evaluations, &request.settings, SystemClock.now().day()).signed(signatures);
    assert_eq!(record.sites.iter().map(|site| site.site.as_str()).collect::<Vec<_>>(), ["north", "south"]);
    let read = Record::from_json(&record.to_json()).unwrap();
    check_record(&read, &net.roster).unwrap();
    let mut changed = read.clone();
    changed.sites[0].estimates[0].value += 0.1;
    assert!(matches!(check_record(&changed, &net.roster), Err(NetError::Untrusted { .. })));
    let mut other_model = read.clone();
    other_model.model = plan.digest();
    assert!(check_record(&other_model, &net.roster).is_err(), "they signed for another model");
    let mut unsigned = read.clone();
    unsigned.signatures.pop();
    assert!(check_record(&unsigned, &net.roster).is_err());
    let mut swapped = read;
    let (one, other) = (swapped.signatures[0].signature.clone(), swapped.signatures[1].signature.clone());
    (swapped.signatures[0].signature, swapped.signatures[1].signature) = (other, one);
    assert!(check_record(&swapped, &net.roster).is_err());
    kill(up).await;
    network.close().await;
    // A site that measures at home signs what stands there in its name, and in no other's.
    let folder = MemberFolder::of_node(&net.home("north"));
    folder.join(&net.roster.to_json(), Some(net.identity("trustee").key())).unwrap();
    let own = crate::signed_here(&folder, &request, &record.sites).unwrap();
    assert_eq!(own.as_slice(), &record.signatures[..1]);
    let nowhere = tempfile::tempdir().unwrap();
    assert!(crate::signed_here(&MemberFolder::of_node(nowhere.path()), &request, &record.sites).unwrap().is_empty());
}

/// A model that another program made goes to every site with its manifest, and what they sign is about both.
#[tokio::test(flavor = "multi_thread")]
async fn sites_measure_a_model_of_another_program() {
    let net = Loopback::new();
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/breast-cancer");
    let manifest = std::fs::read_to_string(folder.join("theirs.import.toml")).unwrap();
    let file = std::fs::read(folder.join("theirs.onnx")).unwrap();
    let model = ImportedModel::new(ModelManifest::from_toml(&manifest).unwrap(), file).unwrap();
    let settings = Validation { bootstraps: 20, ..Validation::usual(&model) };
    let request = ValidationRequest::new(model, settings, Vec::new(), Missing::Refuse);
    let mut up = Vec::new();
    for site in ["east", "north"] {
        up.push(net.site_with(site, BTreeSet::from(["validation".to_owned()]), SiteRules::cautious()).await);
    }
    up.push(net.site_with("south", BTreeSet::new(), SiteRules::cautious()).await);
    let (network, coordinator) = net.coordinator(Duration::from_secs(60), watch::channel(0).0).await;
    let queue = net.queue("south");
    let (found, ()) = tokio::join!(coordinator.validate(&request), async {
        let waiting = offered(&queue).await;
        assert!(waiting.offer.words.contains("was made by another program"), "{:?}", waiting.offer);
        queue.decide(&waiting.run, true, "anna", None, SystemClock.now()).unwrap();
    });
    let (evaluations, signatures) = found.unwrap();
    let record =
        Record::new(&request.model, evaluations, &request.settings, SystemClock.now().day()).signed(signatures);
    assert_eq!(record.sites.iter().map(|site| site.site.as_str()).collect::<Vec<_>>(), SITES);
    check_record(&record, &net.roster).unwrap();
    let mut other = record;
    other.model = plan(&[]).digest();
    assert!(check_record(&other, &net.roster).is_err(), "they signed for file and manifest");
    kill(up).await;
    network.close().await;
}
