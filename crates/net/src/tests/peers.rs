//! Sites without a coordinator: the same result to the last bit, whoever dies on the way, and whoever does not keep to the rules.

use std::collections::BTreeSet;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use acequia_learn::{
    Architecture, Data, Dropouts, LearnError, Membership, Outcome, Plan, SeededEntropy, SiteMap, SiteRules,
    StillAllowed, ValidationRequest, line, run_here,
};
use acequia_types::{Clock, Digest, SystemClock};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::{RelayNamed, clock, identity, offered, plan, untested, with_relay};
use crate::{
    Among, Frame, Held, HeldForValidation, Holdings, Link, Member, NetError, Network, Protocol, Queue, Role, Roster,
    SiteAgent, SiteEvent, SiteSettings,
};

pub(super) const SITES: [&str; 4] = ["east", "north", "south", "west"];
const UNMASKED: (&str, &str) =
    ("protection = \"two-aggregators\", aggregators = [\"trustee\", \"council\"]", "protection = \"none\"");
const LEAVE_OUT: (&str, &str) = ("minimum_sites = 2", "minimum_sites = 2, dropouts = \"leave-out\"");

fn quarter(name: &str, plan: &Plan) -> Data {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/breast-cancer/rotterdam.csv");
    let text = std::fs::read_to_string(path).unwrap();
    let at = SITES.iter().position(|site| *site == name).unwrap();
    let mut lines = text.lines();
    let header = lines.next().unwrap();
    let own = lines.filter(|line| line.split(',').next().unwrap().parse::<usize>().unwrap() % 4 == at);
    let csv = [header].into_iter().chain(own).collect::<Vec<_>>().join("\n");
    Data::from_csv(name, csv.as_bytes(), &plan.needs(), &SiteMap::default()).unwrap()
}

pub(super) fn here(plan: &Plan, sites: &[&str], architecture: Architecture) -> Outcome {
    let tables = sites.iter().map(|site| quarter(site, plan)).collect();
    run_here(plan, tables, architecture, &SiteRules::own(), SystemClock.now(), &mut SeededEntropy::new(1))
        .unwrap()
        .outcome
}

/// Holds a site's answer of one round back until it is opened.
#[derive(Default)]
struct Lock {
    at: Mutex<Option<u32>>,
    opened: Condvar,
}

impl Lock {
    fn close(&self, round: u32) {
        *self.at.lock().unwrap() = Some(round);
    }

    fn open(&self) {
        *self.at.lock().unwrap() = None;
        self.opened.notify_all();
    }

    fn pass(&self, round: u32) {
        let mut at = self.at.lock().unwrap();
        while *at == Some(round) {
            at = self.opened.wait(at).unwrap();
        }
    }
}

struct Quarter(&'static str, Arc<Lock>);

impl Holdings for Quarter {
    fn rows(&self, plan: &Plan) -> Result<Held, LearnError> {
        let lock = Arc::clone(&self.1);
        let still_allowed: StillAllowed = Arc::new(move |round| {
            lock.pass(round);
            // Whoever asks people's consent waits for a database: answers are made where that can be done.
            tokio::runtime::Handle::try_current().is_ok()
        });
        Ok(Held { tables: vec![quarter(self.0, plan)], still_allowed: Some(still_allowed), approve: None })
    }

    fn for_validation(&self, _: &ValidationRequest) -> Result<HeldForValidation, LearnError> {
        unreachable!("nobody validates here")
    }
}

/// Four sites on loopback, a trustee that only coordinates, and a fifth site that takes part in nothing.
pub(super) struct Circle {
    folder: tempfile::TempDir,
    roster: Arc<Roster>,
    /// Whether members have no way to one another but a relay.
    only_relay: bool,
    locks: [Arc<Lock>; 4],
    events: [Arc<Mutex<Vec<SiteEvent>>>; 4],
}

pub(super) struct Up {
    task: JoinHandle<()>,
    network: Network,
    agent: std::sync::Weak<SiteAgent>,
}

impl Up {
    /// Like a killed process: without a word, and nothing of it goes on.
    async fn kill(self) {
        self.task.abort();
        self.network.close().await;
        while self.agent.strong_count() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn at(site: &str) -> usize {
    SITES.iter().position(|name| *name == site).unwrap()
}

impl Circle {
    /// Sites with an address; the others only dial out.
    fn of(listening: &[&str]) -> Self {
        Self::with(listening, None)
    }

    /// Nobody has an address; all meet at a relay and nowhere else.
    pub(super) fn by_relay(relay: RelayNamed<'_>) -> Self {
        Self::with(&[], Some(relay))
    }

    fn with(listening: &[&str], relay: Option<RelayNamed<'_>>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let free = || UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let member = |name: &str, role: Role, listens: bool| Member {
            name: name.to_owned(),
            title: None,
            key: identity(folder.path(), name).key(),
            roles: BTreeSet::from([role]),
            addresses: listens.then(free).into_iter().collect(),
            catalogue: None,
            web: None,
        };
        let mut members: Vec<Member> =
            SITES.iter().map(|site| member(site, Role::Site, listening.contains(site))).collect();
        members.push(member("trustee", Role::Coordinator, relay.is_none()));
        members.push(member("fifth", Role::Site, false));
        let roster = Arc::new(with_relay("Circle", members, relay).sign(&identity(folder.path(), "trustee")));
        let only_relay = relay.is_some();
        Self { folder, roster, only_relay, locks: Default::default(), events: Default::default() }
    }

    fn new() -> Self {
        Self::of(&SITES)
    }

    async fn open(&self, name: &str) -> Network {
        if self.only_relay {
            let identity = identity(self.folder.path(), name);
            return Network::open_by_relay(&identity, Arc::clone(&self.roster)).await.unwrap();
        }
        let address = self.roster.named(name).unwrap().addresses.first();
        let listen: Option<SocketAddr> = address.map(|address| address.parse().unwrap());
        for _ in 0..100 {
            match Network::open(&identity(self.folder.path(), name), Arc::clone(&self.roster), listen).await {
                Err(NetError::Bind { .. }) => tokio::time::sleep(Duration::from_millis(100)).await,
                opened => return opened.unwrap(),
            }
        }
        panic!("the port of {name} is never free")
    }

    pub(super) fn roster(&self) -> &Arc<Roster> {
        &self.roster
    }

    pub(super) fn queue(&self, site: &str) -> Queue {
        Queue::new(self.folder.path().join(site).join("site"))
    }

    async fn start_with(&self, site: &'static str, standing: &[&str], rules: SiteRules, within: Duration) -> Up {
        let network = self.open(site).await;
        let events = Arc::clone(&self.events[at(site)]);
        let settings = SiteSettings {
            folder: self.folder.path().join(site).join("site"),
            rules,
            standing: standing.iter().map(|task| (*task).to_owned()).collect(),
            answer_within: within,
        };
        let holdings = Arc::new(Quarter(site, Arc::clone(&self.locks[at(site)])));
        let watch = Arc::new(move |event| events.lock().unwrap().push(event));
        let key = identity(self.folder.path(), site);
        let agent = SiteAgent::new(network.clone(), &key, settings, holdings, clock(), watch).unwrap();
        let weak = Arc::downgrade(&agent);
        Up { task: tokio::spawn(agent.serve()), network, agent: weak }
    }

    async fn start(&self, site: &'static str) -> Up {
        let tasks = ["cox", "logistic", "kaplan-meier", "boosting"];
        self.start_with(site, &tasks, SiteRules::own(), Duration::from_secs(6)).await
    }

    pub(super) async fn start_all(&self) -> Vec<Up> {
        let mut up = Vec::new();
        for site in SITES {
            up.push(self.start(site).await);
        }
        up
    }

    fn among(&self, by: &str, sites: &[&str]) -> Among {
        let sites = sites.iter().map(|site| (*site).to_owned()).collect();
        Among { by: by.to_owned(), sites, roster: self.roster.digest(), signature: None }
    }

    pub(super) fn propose(&self, by: &str, plan: &Plan) -> Digest {
        self.queue(by).propose(&plan.digest(), &plan.to_json(), &self.among(by, &SITES)).unwrap();
        plan.digest()
    }

    /// The event that somebody looks for, once it happened.
    async fn event<T>(&self, site: &str, find: impl Fn(&SiteEvent) -> Option<T>) -> T {
        let began = Instant::now();
        loop {
            if let Some(found) = self.events[at(site)].lock().unwrap().iter().find_map(&find) {
                return found;
            }
            assert!(began.elapsed() < Duration::from_secs(120), "{site}: {:?}", self.events[at(site)].lock().unwrap());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Who adds up in a round, seen from a site, once it is one of these.
    async fn adds_up(&self, site: &str, round: u32, is: impl Fn(&str) -> bool) -> String {
        let find = |event: &SiteEvent| match event {
            SiteEvent::AddsUp(_, of, names) if *of == round && is(&names[0]) => Some(names[0].clone()),
            _ => None,
        };
        self.event(site, find).await
    }

    fn refusals(&self, site: &str) -> String {
        let events = self.events[at(site)].lock().unwrap();
        let refused = events.iter().filter_map(|event| match event {
            SiteEvent::Refused(text) => Some(text.as_str()),
            _ => None,
        });
        refused.collect::<Vec<_>>().join("\n")
    }

    /// The result as it lies at a site.
    async fn result(&self, site: &str, run: &Digest) -> String {
        let began = Instant::now();
        loop {
            if let Some(text) = self.queue(site).result(run).unwrap() {
                return text;
            }
            assert!(began.elapsed() < Duration::from_secs(120), "{site}: {:?}", self.events[at(site)].lock().unwrap());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The result, the same bytes at all these sites.
    pub(super) async fn results(&self, sites: &[&str], run: &Digest) -> Outcome {
        let first = self.result(sites[0], run).await;
        for site in &sites[1..] {
            assert_eq!(self.result(site, run).await, first, "{site}");
        }
        serde_json::from_str::<Outcome>(&first)
            .unwrap_or_else(|_| Outcome::Model(Box::new(acequia_learn::Model::from_json(&first).unwrap())))
    }
}

pub(super) async fn kill(all: Vec<Up>) {
    futures_util::future::join_all(all.into_iter().map(Up::kill)).await;
}

/// First and second in line.
fn in_line(plan: &Plan, round: u32) -> Vec<String> {
    line(&SITES.map(str::to_owned), &plan.digest(), round)
}

fn site_named(name: &str) -> &'static str {
    SITES[at(name)]
}

#[tokio::test(flavor = "multi_thread")]
async fn four_sites_without_a_coordinator_get_what_one_table_gives_to_the_last_bit() {
    let circle = Circle::new();
    let up = circle.start_all().await;
    let death = "outcome = { kind = \"binary\", value = { name = \"death\" } } #";
    let tasks = [
        vec![],
        vec![("kind = \"cox\"", "kind = \"logistic\""), ("outcome = {", death)],
        vec![("kind = \"cox\"", "kind = \"kaplan-meier\"")],
        vec![("kind = \"cox\"", "kind = \"boosting\", trees = 4, depth = 2"), ("outcome = {", death)],
    ];
    for (nth, changes) in tasks.iter().enumerate() {
        for masked in [false, true] {
            let mut changes = changes.clone();
            if !masked {
                changes.push(UNMASKED);
            }
            let plan = plan(&changes);
            let run = circle.propose(SITES[nth], &plan);
            let outcome = circle.results(&SITES, &run).await;
            if let Outcome::Model(model) = &outcome {
                assert!(
                    matches!(model.membership, Some(Membership::AtSites { sites: 4, .. })),
                    "{:?}",
                    model.membership
                );
            }
            let outcome = untested(outcome);
            assert_eq!(outcome, here(&plan, &SITES, Architecture::Federated), "{changes:?}");
            if !masked {
                assert_eq!(outcome, here(&plan, &SITES, Architecture::Centralised), "{changes:?}");
            }
            for site in SITES {
                let queued = circle.queue(site).find(&run.short(16)).unwrap();
                assert_eq!(
                    (queued.agreed.as_slice(), queued.begun.unwrap().sites.as_slice()),
                    (&SITES.map(str::to_owned)[..], &SITES.map(str::to_owned)[..])
                );
                let log = circle.queue(site).log(&run).unwrap();
                assert!(
                    log.entries()[1]
                        .left
                        .words
                        .contains("no coordinator exists, east, north, south, west add up in turns")
                );
                for entry in &log.entries()[1..] {
                    let line = in_line(&plan, entry.left.round);
                    assert_eq!(entry.left.to[0], line[entry.left.attempt as usize % 4], "the log says to whom");
                    assert_eq!(entry.left.to.len(), 1 + usize::from(masked));
                }
            }
        }
    }
    kill(up).await;
}

/// Two hospitals accept no connection: they dial those that do, and take part like them.
#[tokio::test(flavor = "multi_thread")]
async fn who_only_dials_out_takes_part_and_never_adds_up() {
    let circle = Circle::of(&["north", "west"]);
    let up = circle.start_all().await;
    let plan = plan(&[]);
    // Proposed by one of them: the others hear of it through those that it can dial.
    let run = circle.propose("south", &plan);
    assert_eq!(untested(circle.results(&SITES, &run).await), here(&plan, &SITES, Architecture::Federated));
    for site in SITES {
        for entry in circle.queue(site).log(&run).unwrap().entries().iter().skip(1) {
            assert!(entry.left.to.iter().all(|to| to == "north" || to == "west"), "{:?}", entry.left.to);
        }
    }
    kill(up).await;
}

/// The leader dies in the middle of a round: the next takes over; once it is back, the run ends as if nothing had happened. So it
/// does when somebody dies who only answers.
#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_is_killed_is_taken_over_from_and_comes_back() {
    for (masked, leads) in [(false, true), (true, true), (true, false)] {
        let plan = if masked { plan(&[]) } else { plan(&[UNMASKED]) };
        let line = in_line(&plan, 3);
        let (victim, held) = if leads { (&line[0], &line[3]) } else { (&line[2], &line[3]) };
        let circle = Circle::new();
        let mut up: Vec<(&str, Up)> = Vec::new();
        for site in SITES {
            up.push((site, circle.start(site).await));
        }
        // The round cannot end, since one answer is held back.
        circle.locks[at(held)].close(3);
        let run = circle.propose("east", &plan);
        for site in [&line[1], &line[2]] {
            assert_eq!(circle.adds_up(site, 3, |_| true).await, line[0]);
        }
        let nth = up.iter().position(|(site, _)| site == victim).unwrap();
        up.remove(nth).1.kill().await;
        if leads {
            assert_eq!(circle.adds_up(&line[1], 3, |leader| *leader != **victim).await, line[1]);
        }
        circle.locks[at(held)].open();
        let back = site_named(victim);
        up.push((back, circle.start(back).await));
        let outcome = untested(circle.results(&SITES, &run).await);
        assert_eq!(outcome, here(&plan, &SITES, Architecture::Federated), "masked {masked}, leads {leads}");
        for site in SITES {
            let log = circle.queue(site).log(&run).unwrap();
            for entry in log.entries() {
                let same = log.entries().iter().filter(|other| other.left.context == entry.left.context);
                assert!(same.into_iter().all(|other| other.left.sent == entry.left.sent), "{site} said two things");
            }
        }
        kill(up.into_iter().map(|(_, up)| up).collect()).await;
    }
}

/// Where the plan says so, the run goes on without a site that died for good, whoever it was.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_site_that_died_the_others_finish() {
    for leads in [false, true] {
        let plan = plan(&[LEAVE_OUT]);
        assert_eq!(plan.privacy.dropouts, Dropouts::LeaveOut);
        let line = in_line(&plan, 3);
        let victim = if leads { &line[0] } else { &line[3] };
        let circle = Circle::new();
        let mut up: Vec<(&str, Up)> = Vec::new();
        for site in SITES {
            up.push((site, circle.start(site).await));
        }
        // It dies before it answers.
        circle.locks[at(victim)].close(3);
        let run = circle.propose("east", &plan);
        circle.adds_up(&line[1], 3, |_| true).await;
        let nth = up.iter().position(|(site, _)| site == victim).unwrap();
        let (_, dead) = up.remove(nth);
        dead.task.abort();
        dead.network.close().await;
        let others: Vec<&str> = SITES.into_iter().filter(|site| *site != victim.as_str()).collect();
        let Outcome::Model(model) = circle.results(&others, &run).await else { panic!("a model was asked for") };
        assert_eq!(model.sites, others);
        assert!(matches!(model.membership, Some(Membership::AtSites { sites: 3, .. })));
        let Outcome::Model(alone) = here(&plan, &others, Architecture::Federated) else { panic!() };
        for (ours, theirs) in model.coefficients().iter().zip(alone.coefficients()) {
            assert!((ours - theirs).abs() < 1e-6, "{ours} {theirs}");
        }
        circle.locks[at(victim)].open();
        kill(up.into_iter().map(|(_, up)| up).collect()).await;
    }
}

/// People at each site decide, and read before what would leave and to whom. Until all said yes, and after a no, nothing leaves.
#[tokio::test(flavor = "multi_thread")]
async fn people_at_every_site_decide() {
    let circle = Circle::new();
    let mut up = Vec::new();
    for site in SITES {
        up.push(circle.start_with(site, &[], SiteRules::cautious(), Duration::from_secs(6)).await);
    }
    let plan = plan(&[]);
    let run = circle.propose("north", &plan);
    for site in SITES {
        let waiting = offered(&circle.queue(site)).await;
        assert!(waiting.offer.from == "north" && waiting.decision.is_none() && waiting.begun.is_none());
        let words = &waiting.offer.words;
        assert!(words.contains("no coordinator exists, east, north, south, west add up in turns"), "{words}");
        assert!(words.contains("two of them each get random numbers") && words.contains("by every site"), "{words}");
        if site != "south" {
            circle.queue(site).decide(&run, true, "anna", None, SystemClock.now()).unwrap();
        }
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    for site in SITES {
        let queued = circle.queue(site).find(&run.short(16)).unwrap();
        assert!(queued.begun.is_none() && !queued.agreed.contains(&"south".to_owned()));
        assert!(queued.left <= 1, "only that it takes part");
    }
    circle.queue("south").decide(&run, false, "ben", None, SystemClock.now()).unwrap();
    circle
        .event("north", |event| {
            matches!(event, SiteEvent::Refused(text) if text.contains("its people decided against it")).then_some(())
        })
        .await;
    // Who thinks better of it is in time: nothing began.
    circle.queue("south").decide(&run, true, "ben", None, SystemClock.now()).unwrap();
    assert_eq!(untested(circle.results(&SITES, &run).await), here(&plan, &SITES, Architecture::Federated));
    kill(up).await;
}

/// A site that is stopped says nothing, in the middle of a run too; when it goes on, so does the run.
#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_site_says_nothing_until_it_goes_on() {
    let circle = Circle::new();
    let up = circle.start_all().await;
    let plan = plan(&[]);
    let held = in_line(&plan, 2).remove(3);
    circle.locks[at(&held)].close(2);
    let run = circle.propose("east", &plan);
    circle.adds_up("east", 2, |_| true).await;
    circle.queue("south").stop(true).unwrap();
    circle.locks[at(&held)].open();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = circle.queue("south").log(&run).unwrap().entries().len();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(circle.queue("south").log(&run).unwrap().entries().len(), before);
    assert!(SITES.iter().all(|site| circle.queue(site).result(&run).unwrap().is_none()));
    circle.queue("south").stop(false).unwrap();
    assert_eq!(untested(circle.results(&SITES, &run).await), here(&plan, &SITES, Architecture::Federated));
    kill(up).await;
}

async fn say(link: &Link, head: &Value, numbers: &[u8]) -> Value {
    let frame = Frame::by_hand(head, numbers);
    let answer = tokio::time::timeout(Duration::from_secs(20), link.ask(&frame)).await.unwrap().unwrap();
    crate::message::read::<Value>("somebody", &answer).unwrap().0
}

#[track_caller]
fn refused(answer: &Value, reason: &str) {
    assert!(answer["no"]["reason"].as_str().is_some_and(|said| said.contains(reason)), "{answer}");
}

/// A proposal that contradicts itself, or the rules of a site, is refused.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_proposed_is_refused() {
    let circle = Circle::of(&["east", "north"]);
    let up = vec![circle.start("east").await];
    let network = circle.open("north").await;
    let link = network.dial(circle.roster.named("east").unwrap(), Protocol::Peers).await.unwrap();
    let masked = plan(&[]);
    let roster = circle.roster.digest();
    let invite = |plan: &Plan, roster: Digest, sites: &[&str]| {
        let named: Vec<String> = sites.iter().map(|site| (*site).to_owned()).collect();
        let key = identity(circle.folder.path(), "north");
        let signature = crate::proposal::sign(&key, &plan.digest(), &circle.roster.digest(), &named);
        json!({ "invite": { "plan": plan.to_json(), "roster": roster, "sites": sites, "by": "north", "signature": signature, "agreed": {} } })
    };
    refused(&say(&link, &invite(&masked, masked.digest(), &SITES), &[]).await, "another roster");
    refused(&say(&link, &invite(&masked, roster, &["east", "north"]), &[]).await, "fewer than three");
    refused(&say(&link, &invite(&masked, roster, &["east", "fifth", "south"]), &[]).await, "not in order");
    refused(&say(&link, &invite(&masked, roster, &["north", "east", "south"]), &[]).await, "not in order");
    refused(&say(&link, &invite(&masked, roster, &["fifth", "north", "south"]), &[]).await, "this site or the sender");
    refused(
        &say(&link, &invite(&masked, roster, &["east", "north", "trustee"]), &[]).await,
        "not in the roster as site",
    );
    // A proposal that nobody signed, that another signed, or that was signed for other sites.
    let mut unsigned = invite(&masked, roster, &["east", "north", "south"]);
    unsigned["invite"]["signature"] = json!(null);
    refused(&say(&link, &unsigned, &[]).await, "it has no signature");
    let mut of_another = invite(&masked, roster, &["east", "north", "south"]);
    of_another["invite"]["by"] = json!("south");
    refused(&say(&link, &of_another, &[]).await, "another key signed it");
    let mut for_others = invite(&masked, roster, &["east", "north", "south"]);
    for_others["invite"]["signature"] = invite(&masked, roster, &SITES)["invite"]["signature"].clone();
    refused(&say(&link, &for_others, &[]).await, "another key signed it");
    let mut late = masked.clone();
    late.last_day = acequia_types::parse_day("2020-01-01");
    refused(&say(&link, &invite(&late, roster, &["east", "north", "south"]), &[]).await, "expired on 2020-01-01");
    assert!(circle.queue("east").list().unwrap().is_empty(), "nothing of it is in the queue");
    let answer = say(&link, &invite(&masked, roster, &["east", "north", "south"]), &[]).await;
    assert!(answer["agreed"]["agreed"].is_object(), "{answer}");
    refused(&say(&link, &invite(&masked, roster, &SITES), &[]).await, "with other sites");
    // A signature that is not the site's is not believed.
    let mut forged = invite(&masked, roster, &["east", "north", "south"]);
    forged["invite"]["agreed"] = json!({ "south": "00".repeat(64), "trustee": "00".repeat(64) });
    let agreed = say(&link, &forged, &[]).await["agreed"]["agreed"].clone();
    assert!(agreed["south"].is_null() && agreed["trustee"].is_null(), "{agreed}");
    // A plan whose sums may be over fewer sites than this site's rules want.
    let wants = SiteRules { minimum_sites: 4, ..SiteRules::cautious() };
    kill(up).await;
    let up = vec![circle.start_with("east", &["cox"], wants, Duration::from_secs(6)).await];
    let link = network.dial(circle.roster.named("east").unwrap(), Protocol::Peers).await.unwrap();
    let leaves_out = plan(&[LEAVE_OUT]);
    refused(&say(&link, &invite(&leaves_out, roster, &SITES), &[]).await, "its rules want 4 sites");
    let few: Vec<Value> = vec![json!("rows"), json!({ "say": {} }), json!({ "invite": { "plan": 1 } }), json!([1, 2])];
    for nonsense in few {
        refused(&say(&link, &nonsense, &[]).await, "its head cannot be read");
    }
    // Where nobody who adds up could be dialled.
    let lonely = Circle::of(&["east"]);
    let others = vec![lonely.start("east").await];
    let north = lonely.open("north").await;
    let link = north.dial(lonely.roster.named("east").unwrap(), Protocol::Peers).await.unwrap();
    refused(
        &say(&link, &invite(&masked, lonely.roster.digest(), &SITES), &[]).await,
        "too few of the sites have an address",
    );
    kill(up).await;
    kill(others).await;
    network.close().await;
    // Each is on record, with its code.
    let log = crate::refusals::refused_in(&circle.folder.path().join("east").join("site")).unwrap();
    let codes: BTreeSet<&str> = log.iter().map(|entry| entry.refused.code.as_str()).collect();
    assert_eq!(codes, BTreeSet::from(["LE002", "LE008", "NT003", "NT005", "NT006", "NT018"]));
    assert!(log.iter().all(|entry| ["east", "north"].contains(&&*entry.refused.from)));
}

/// Strangers, members of another role, sites of another run, and a member of the run that does not keep to the rules: each is refused,
/// what they say is told to the people of the site, and the run ends as without them.
#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_keep_to_the_rules_harms_no_run() {
    let circle = Circle::new();
    let up = circle.start_all().await;
    let plan = plan(&[UNMASKED]);
    let line = in_line(&plan, 3);
    let (leader, held) = (line[0].clone(), line[3].clone());
    circle.locks[at(&held)].close(3);
    let run = circle.propose("east", &plan);
    circle.adds_up(&leader, 3, |_| true).await;
    let target = circle.roster.named(&leader).unwrap().clone();
    let said = |round: u32, attempt: u32, what: Value| json!({ "say": { "plan": run, "round": round, "attempt": attempt, "what": what } });

    // A stranger with a roster of its own.
    let stranger = identity(circle.folder.path(), "stranger");
    let mut members = circle.roster.document().clone();
    members.members.iter_mut().find(|member| member.name == "fifth").unwrap().key = stranger.key();
    let forged = Arc::new(members.sign(&stranger));
    let network = Network::open(&stranger, forged, None).await.unwrap();
    // The handshake may end before the other side looks at the key; nothing is answered.
    if let Ok(link) = network.dial(&target, Protocol::Peers).await {
        let frame = Frame::by_hand(&said(3, 0, json!("here")), &[]);
        let answer = tokio::time::timeout(Duration::from_secs(20), link.ask(&frame)).await;
        assert!(!matches!(answer, Ok(Ok(_))), "a stranger was answered");
    }
    network.close().await;

    // A coordinator is no site; a site of no run takes part in none; and this is no place for other protocols.
    for (name, reason) in [("trustee", "trustee is not in the roster as site"), ("fifth", "does not take part")] {
        let network = circle.open(name).await;
        let link = network.dial(&target, Protocol::Peers).await.unwrap();
        refused(&say(&link, &said(3, 0, json!("here")), &[]).await, reason);
        refused(&say(&link, &said(3, 0, json!({ "propose": { "sites": SITES } })), &[]).await, reason);
        assert!(network.dial(&target, Protocol::Run).await.is_err(), "sites do not listen to coordinators");
        network.close().await;
    }

    // Somebody with the key of a site that takes part.
    let bad = line[2].clone();
    let network = Network::open(&identity(circle.folder.path(), &bad), Arc::clone(&circle.roster), None).await.unwrap();
    let link = network.dial(&target, Protocol::Peers).await.unwrap();
    let context = Digest::of(b"another question");
    let share = |of: &str, context: &Digest| {
        let head = json!({ "site": of, "round": 3, "context": context, "kind": "plain", "packing": [0, 8] });
        format!("{head}\n0").into_bytes()
    };
    refused(
        &say(&link, &said(3, 0, json!({ "share": { "accepted": null } })), &share(&bad, &context)).await,
        "another question",
    );
    refused(
        &say(&link, &said(3, 0, json!({ "share": { "accepted": null } })), &share("east", &context)).await,
        "another question",
    );
    refused(&say(&link, &said(3, 0, json!({ "share": { "accepted": null } })), b"x").await, "has no head");
    let later = json!({ "share": { "accepted": { "attempt": 7, "sites": SITES } } });
    refused(&say(&link, &said(3, 0, later), &[]).await, "still to come");
    refused(
        &say(&link, &said(3, 0, json!({ "propose": { "sites": SITES } })), &[]).await,
        "not for this place in the line",
    );
    refused(
        &say(&link, &said(3, 0, json!({ "accept": { "sites": ["east"] } })), &[]).await,
        "no sum is over such sites",
    );
    refused(
        &say(&link, &said(3, 0, json!({ "accept": { "sites": SITES } })), b"1").await,
        "numbers follow where none belong",
    );
    refused(&say(&link, &said(3, u32::MAX, json!("here")), &[]).await, "nobody takes over so often");
    let total = json!({ "round": 3, "question": context, "sites": SITES, "numbers": 1, "packing": [0, 8] });
    refused(&say(&link, &said(3, 0, json!("total")), format!("{total}\n0").as_bytes()).await, "another question");
    refused(
        &say(&link, &json!({ "say": { "plan": context, "round": 1, "attempt": 0, "what": "here" } }), &[]).await,
        "no such run",
    );
    // Said again, and of rounds that are over: nothing changes.
    for _ in 0..3 {
        assert_eq!(say(&link, &said(1, 0, json!({ "accept": { "sites": SITES } })), &[]).await, json!("yes"));
        assert_eq!(say(&link, &said(3, 0, json!({ "accept": { "sites": SITES } })), &[]).await, json!("yes"));
    }
    // Longer than anything.
    let (mut send, mut receive) = link.raw().open_bi().await.unwrap();
    send.write_all(&(40u32 << 20).to_be_bytes()).await.unwrap();
    let answer = tokio::time::timeout(Duration::from_secs(20), receive.read_to_end(1 << 16)).await.unwrap().unwrap();
    assert!(String::from_utf8_lossy(&answer).contains("too long"));
    network.close().await;

    let told = circle.refusals(&leader);
    for reason in ["trustee", "fifth", "another question", "still to come", "too long", "not for this place"] {
        assert!(told.contains(reason), "{reason}: {told}");
    }
    circle.locks[at(&held)].open();
    assert_eq!(untested(circle.results(&SITES, &run).await), here(&plan, &SITES, Architecture::Centralised));
    kill(up).await;
}

/// One plan is one run: what a coordinator offered is not proposed among sites as well, nor the other way round.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_has_a_coordinator_or_none() {
    let circle = Circle::new();
    let plan = plan(&[]);
    let text = plan.to_json();
    let queue = circle.queue("north");
    let words = crate::Offer {
        from: "trustee".to_owned(),
        at: SystemClock.now(),
        title: plan.title.clone(),
        task: "cox".to_owned(),
        words: String::new(),
        signature: None,
    };
    queue.offer(&plan.digest(), &text, &words).unwrap();
    let refused = queue.propose(&plan.digest(), &text, &circle.among("north", &SITES)).unwrap_err();
    assert!(refused.to_string().contains("a coordinator offered this run"), "{refused}");
    let other = circle.queue("south");
    other.propose(&plan.digest(), &text, &circle.among("south", &SITES)).unwrap();
    other.propose(&plan.digest(), &text, &circle.among("north", &SITES)).unwrap();
    let refused = other.propose(&plan.digest(), &text, &circle.among("south", &SITES[..3])).unwrap_err();
    assert!(refused.to_string().contains("with other sites"), "{refused}");
}
