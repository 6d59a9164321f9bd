//! Members on loopback: the same result as in one process, whoever dies on the way; and what members must not be able to do.

mod attacks;
mod catalogue;
mod peers;
mod proven;
mod relay;
mod rules;
mod runs;
mod statements;

use std::collections::BTreeSet;
use std::net::{SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::{
    AggregatorDesk, Coordinator, CoordinatorSettings, Held, HeldForValidation, Holdings, Identity, Member,
    MemberFolder, Members, NetError, Network, NetworkReport, Queue, QueuedRun, Role, Roster, RunEvent, SiteAgent,
    SiteSettings,
};
use acequia_learn::{Data, LearnError, Outcome, Plan, SiteMap, SiteRules, StillAllowed, ValidationRequest};
use acequia_types::{Clock, SystemClock};
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub(super) const SITES: [&str; 3] = ["east", "north", "south"];

/// The model of the STRATOS guidance (McLernon et al. 2023) on the Rotterdam cohort, masked between two members.
pub(super) const PLAN: &str = r#"
schema = "acequia-plan/1"
title = "Recurrence or death after breast cancer"
task = { kind = "cox" }
outcome = { kind = "survival", components = [{ time = "rtime", event = "recur" }, { time = "dtime", event = "death" }], censored_at = "first", cut_days = 1826.25 }
privacy = { minimum_rows = 10, minimum_sites = 2 }
aggregation = { protection = "two-aggregators", aggregators = ["trustee", "council"] }
[[variables]]
name = "size2050"
column = "size"
steps = [{ one_of = ["20-50"] }]
[[variables]]
name = "nodes"
steps = [{ cap = 19 }]
[[variables]]
name = "grade3"
column = "grade"
steps = [{ one_of = ["3"] }]
"#;

pub(super) fn plan(changes: &[(&str, &str)]) -> Plan {
    let mut text = PLAN.to_owned();
    for (from, to) in changes {
        assert!(text.contains(from), "the plan has no {from}");
        text = text.replacen(from, to, 1);
    }
    Plan::from_toml(&text).unwrap()
}

/// A third of the cohort, by patient number.
pub(super) fn third(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/breast-cancer/rotterdam.csv");
    let text = std::fs::read_to_string(path).unwrap();
    let at = SITES.iter().position(|site| *site == name).unwrap();
    let mut lines = text.lines();
    let header = lines.next().unwrap();
    let own = lines.filter(|line| line.split(',').next().unwrap().parse::<usize>().unwrap() % 3 == at);
    [header].into_iter().chain(own).collect::<Vec<_>>().join("\n")
}

pub(super) fn data(name: &str, plan: &Plan) -> Data {
    Data::from_csv(name, third(name).as_bytes(), &plan.needs(), &SiteMap::default()).unwrap()
}

pub(super) struct Table(pub(super) &'static str);

impl Holdings for Table {
    fn for_validation(&self, request: &ValidationRequest) -> Result<HeldForValidation, LearnError> {
        let reading = request.reading();
        let data = Data::from_csv(self.0, third(self.0).as_bytes(), &reading.needs(), &SiteMap::default())?;
        Ok(HeldForValidation { data, approve: None })
    }

    fn rows(&self, plan: &Plan) -> Result<Held, LearnError> {
        // Whoever asks people's consent waits for a database: answers are made where that can be done.
        let still_allowed: StillAllowed = Arc::new(|_| tokio::runtime::Handle::try_current().is_ok());
        Ok(Held { tables: vec![data(self.0, plan)], still_allowed: Some(still_allowed), approve: None })
    }
}

/// A network on loopback: a trustee that coordinates and adds up, a council that adds up, three sites, and a stranger.
pub(super) struct Loopback {
    pub(super) folder: tempfile::TempDir,
    pub(super) roster: Arc<Roster>,
    listens: [SocketAddr; 2],
    /// Whether members have no way to one another but a relay.
    only_relay: bool,
}

/// A relay for a roster: its address, and the certificate of the authority behind its own.
pub(super) type RelayNamed<'a> = (&'a str, &'a str);

/// A roster with a relay, if there is one.
pub(super) fn with_relay(title: &str, members: Vec<Member>, relay: Option<RelayNamed<'_>>) -> Members {
    let relays = relay.iter().map(|(url, _)| (*url).to_owned()).collect();
    let authorities = relay.iter().map(|(_, authority)| (*authority).to_owned()).collect();
    Members::new(title, members, None, relays).unwrap().with_relay_authorities(authorities).unwrap()
}

/// A member that runs; stopped like a killed process, without a word.
pub(super) struct Up {
    task: JoinHandle<()>,
    network: Network,
}

impl Up {
    pub(super) async fn kill(self) {
        self.task.abort();
        self.network.close().await;
    }
}

impl Loopback {
    pub(super) fn new() -> Self {
        Self::of(&[Role::Coordinator, Role::Aggregator])
    }

    /// The same with these roles of the trustee.
    pub(super) fn of(trustee: &[Role]) -> Self {
        Self::with(trustee, None)
    }

    /// The same of members without addresses, who meet at a relay and nowhere else.
    pub(super) fn by_relay(relay: RelayNamed<'_>) -> Self {
        Self::with(&[Role::Coordinator, Role::Aggregator], Some(relay))
    }

    fn with(trustee: &[Role], relay: Option<RelayNamed<'_>>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listens = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
        let member = |name: &str, roles: &[Role], address: Option<SocketAddr>| Member {
            name: name.to_owned(),
            title: None,
            key: identity(folder.path(), name).key(),
            roles: roles.iter().copied().collect(),
            addresses: address.iter().map(ToString::to_string).collect(),
            catalogue: None,
            web: None,
        };
        let at = |listen: SocketAddr| relay.is_none().then_some(listen);
        let mut members =
            vec![member("trustee", trustee, at(listens[0])), member("council", &[Role::Aggregator], at(listens[1]))];
        members.extend(SITES.map(|site| member(site, &[Role::Site], None)));
        let roster = Arc::new(with_relay("Test", members, relay).sign(&identity(folder.path(), "trustee")));
        Self { folder, roster, listens, only_relay: relay.is_some() }
    }

    pub(super) fn identity(&self, name: &str) -> Identity {
        identity(self.folder.path(), name)
    }

    pub(super) fn home(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) async fn open(&self, name: &str) -> Network {
        if self.only_relay {
            return Network::open_by_relay(&self.identity(name), Arc::clone(&self.roster)).await.unwrap();
        }
        let listen = match name {
            "trustee" => Some(self.listens[0]),
            "council" => Some(self.listens[1]),
            _ => None,
        };
        // The port of a member that was killed is free a moment later.
        for _ in 0..100 {
            match Network::open(&self.identity(name), Arc::clone(&self.roster), listen).await {
                Err(NetError::Bind { .. }) => tokio::time::sleep(Duration::from_millis(100)).await,
                opened => return opened.unwrap(),
            }
        }
        panic!("the port of {name} is never free")
    }

    pub(super) async fn council(&self) -> Up {
        let network = self.open("council").await;
        let desk = AggregatorDesk::new(&network, self.home("council").join("aggregator"), clock()).unwrap();
        let served = network.clone();
        Up { task: tokio::spawn(async move { desk.serve(&served).await }), network }
    }

    pub(super) fn queue(&self, site: &str) -> Queue {
        Queue::new(self.home(site).join("site"))
    }

    /// A site that allows Cox regressions by a standing rule.
    pub(super) async fn site(&self, name: &'static str) -> Up {
        self.site_with(name, ["cox"].map(str::to_owned).into(), SiteRules::cautious()).await
    }

    pub(super) async fn site_with(&self, name: &'static str, standing: BTreeSet<String>, rules: SiteRules) -> Up {
        self.site_of(name, standing, rules, Arc::new(Table(name))).await
    }

    pub(super) async fn site_of(
        &self,
        name: &'static str,
        standing: BTreeSet<String>,
        rules: SiteRules,
        holdings: Arc<dyn Holdings>,
    ) -> Up {
        let network = self.open(name).await;
        let settings = SiteSettings {
            folder: self.home(name).join("site"),
            rules,
            standing,
            answer_within: Duration::from_secs(60),
        };
        let quiet = Arc::new(|_| {});
        let agent = SiteAgent::new(network.clone(), &self.identity(name), settings, holdings, clock(), quiet).unwrap();
        Up { task: tokio::spawn(agent.serve()), network }
    }

    /// The trustee's end, and what it coordinates with. `rounds` tells in which round a run is.
    pub(super) async fn coordinator(
        &self,
        answer_within: Duration,
        rounds: watch::Sender<u32>,
    ) -> (Network, Coordinator) {
        let network = self.open("trustee").await;
        let settings = CoordinatorSettings {
            folder: self.home("trustee").join("runs"),
            aggregator: self.home("trustee").join("aggregator"),
            decide_within: Duration::from_secs(30),
            answer_within,
            sites: BTreeSet::new(),
        };
        let watch = Arc::new(move |event| {
            if let RunEvent::Round(round, _) = event {
                let _ = rounds.send(round);
            }
        });
        let coordinator = Coordinator::new(network.clone(), settings, clock(), watch).unwrap();
        (network, coordinator)
    }

    /// Runs the plan as the trustee.
    pub(super) async fn run(
        &self,
        plan: &Plan,
        answer_within: Duration,
        rounds: watch::Sender<u32>,
    ) -> Result<NetworkReport, NetError> {
        let (network, coordinator) = self.coordinator(answer_within, rounds).await;
        let report = coordinator.run(plan).await;
        network.close().await;
        report
    }

    pub(super) async fn run_all(&self, plan: &Plan) -> Result<NetworkReport, NetError> {
        self.run(plan, Duration::from_secs(60), watch::channel(0).0).await
    }
}

fn identity(folder: &Path, name: &str) -> Identity {
    MemberFolder::of_node(&folder.join(name)).identity().unwrap()
}

pub(super) fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock)
}

/// The result without what attacks found: the network's are run site by site.
pub(super) fn untested(mut outcome: Outcome) -> Outcome {
    if let Outcome::Model(model) = &mut outcome {
        model.membership = None;
    }
    outcome
}

/// The run that was offered to a site first, once it was.
pub(super) async fn offered(queue: &Queue) -> QueuedRun {
    loop {
        match queue.list().unwrap().pop() {
            Some(run) => return run,
            None => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

pub(super) async fn kill(all: Vec<Up>) {
    for up in all {
        up.kill().await;
    }
}
