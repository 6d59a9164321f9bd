//! Rounds over the network: a coordinator and four clients, each a process of its own on loopback, with TLS.
//!
//! `cargo bench --locked --workspace --bench rounds [-- SHARES RUNS]`. Each round, a question of 63 numbers a share goes to every client, and as
//! many sums come back: quantiles, narrowed down by six bits a round (about a thousand numbers, then a million), without masks, between two
//! aggregators and masked between the clients; then averaged weights of a network, and Cox; and quantiles without a coordinator. Every run begins
//! with an offer and ends with the result. Printed are wall and CPU time of the coordinator, CPU time and peak memory of a client,
//! and bytes against the least that could be sent: 8 bytes a number each way; the goal stands beside each figure. One aggregator is the
//! coordinator, the other a process beside. A client has one thread for the network, as `acequia --threads 1 site serve`.
//!
//! Members sync what they promise before they say it, here all five on one disk: the first line says how long a sync takes there. `TMPDIR`
//! chooses the disk, and one in memory shows what is left without it.
//!
//! With `ACEQUIA_PYTHON` set to a Python, `beside.py` makes a virtual environment with Flower (flwr from PyPI, of a pinned version), which does
//! as many rounds of as many numbers beside it.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use acequia_learn::{Data, LearnError, Plan, SiteMap, SiteRules, ValidationRequest};
use acequia_net::{
    AggregatorDesk, Among, Coordinator, CoordinatorSettings, Held, HeldForValidation, Holdings, Member, MemberFolder,
    Members, Network, Queue, Role, SiteAgent, SiteSettings,
};
use acequia_types::SystemClock;

const CLIENTS: usize = 4;
/// Few, so that what is measured is the network and not the counting.
const ROWS: usize = 20;

struct Numbers;

impl Holdings for Numbers {
    fn rows(&self, plan: &Plan) -> Result<Held, LearnError> {
        let rows = (0..ROWS).map(|row| {
            let x = (row * 7919) % 100_003;
            format!("{x},{},{},{},{}\n", row % 2, 1 + x % 1_500, u8::from(row % 3 > 0), (x % 97) as f64 / 97.0)
        });
        let csv = format!("x,y,t,e,z\n{}", rows.collect::<String>());
        let data = Data::from_csv("client", csv.as_bytes(), &plan.needs(), &SiteMap::default())?;
        Ok(Held { tables: vec![data], still_allowed: None, approve: None })
    }

    fn for_validation(&self, _: &ValidationRequest) -> Result<HeldForValidation, LearnError> {
        Err(LearnError::Entropy)
    }
}

/// What is run.
#[derive(Clone, Copy, PartialEq)]
enum What {
    Quantile { shares: usize },
    Averaging { hidden: usize },
    Cox,
}

/// How sums are protected.
#[derive(Clone, Copy, PartialEq)]
enum Masks {
    None,
    TwoAggregators,
    Double,
}

impl Masks {
    fn words(self) -> &'static str {
        match self {
            Self::None => "without masks",
            Self::TwoAggregators => "masked between two",
            Self::Double => "masked between the clients",
        }
    }
}

fn plan(what: What, run: u32, masks: Masks) -> Plan {
    let protection = match masks {
        Masks::None => "none\"",
        Masks::TwoAggregators => "two-aggregators\", aggregators = [\"centre\", \"other\"]",
        Masks::Double => "double-masking\"",
    };
    let task = match what {
        What::Quantile { shares } => {
            let shares: Vec<String> = (0..shares).map(|at| format!("{}", (at as f64 + 0.5) / shares as f64)).collect();
            let resolution = 131_072.0 / f64::from(2u32).powi(49);
            format!(
                "variables = [{{ name = \"x\" }}]\ntask = {{ kind = \"quantile\", shares = [{}], low = 0, high = 131072, resolution = {resolution} }}\n",
                shares.join(",")
            )
        }
        What::Averaging { hidden } => format!(
            "variables = [{{ name = \"z\" }}]\noutcome = {{ kind = \"binary\", value = {{ name = \"y\" }} }}\n\
             task = {{ kind = \"averaging\", strategy = {{ kind = \"fed-avg\" }}, network = {{ hidden = [{hidden}] }}, start = \"uniform\", rounds = 50, local_steps = 1, batch = 20, rate = 0.01 }}\n"
        ),
        What::Cox => "variables = [{ name = \"x\", steps = [{ divide = 1000 }] }, { name = \"z\" }]\n\
             outcome = { kind = \"survival\", components = [{ time = \"t\", event = \"e\" }], cut_days = 1826.25 }\n\
             task = { kind = \"cox\", ridge = 1.0 }\n"
            .to_owned(),
    };
    let text = format!(
        "schema = \"acequia-plan/1\"\ntitle = \"run {run}, {}\"\nprivacy = {{ minimum_rows = 1, minimum_count = 1, membership_auc = 1.0 }}\n\
         aggregation = {{ protection = \"{protection} }}\n{task}",
        masks.words()
    );
    Plan::from_toml(&text).unwrap()
}

/// A figure, and whether it is what was to be reached.
fn beside_goal(figure: f64, goal: f64) -> String {
    format!("{figure:.2} (goal {goal}: {})", if figure <= goal { "reached" } else { "MISSED" })
}

/// CPU seconds and peak memory (MB) of a process, from what the kernel says of it.
fn spent(id: u32) -> (f64, f64) {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: f64 = [11, 12].iter().filter_map(|at| fields.get(*at)?.parse::<f64>().ok()).sum();
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
    let peak =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().split(' ').next()?.parse::<f64>().ok());
    (ticks / 100.0, peak.unwrap_or_default() / 1024.0)
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let threads = if words.first().is_some_and(|word| word == "client") { 1 } else { 2 };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build().unwrap();
    match words.first().map(String::as_str) {
        Some("client") => runtime.block_on(client(Path::new(&words[1]))),
        Some("other") => runtime.block_on(other(Path::new(&words[1]))),
        Some(shares) => {
            let runs = words.get(1).map_or(1, |runs| runs.parse().unwrap());
            let _ = runtime.block_on(measure(What::Quantile { shares: shares.parse().unwrap() }, runs));
        }
        None => {
            println!("a sync of the disk takes {:.1} ms", sync_s() * 1e3);
            for (shares, runs, rounds) in [(16, 6, 50), (15_873, 1, 10)] {
                let ours = runtime.block_on(measure(What::Quantile { shares }, runs));
                beside(ours, rounds);
            }
            for shares in [16, 15_873] {
                runtime.block_on(among(What::Quantile { shares }));
            }
            for what in [What::Averaging { hidden: 333 }, What::Cox] {
                let _ = runtime.block_on(measure(what, 1));
            }
        }
    }
}

/// How long it takes until a few bytes more of a file are on the disk, in the middle of many times.
fn sync_s() -> f64 {
    let mut file = tempfile::tempfile().unwrap();
    let mut spans: Vec<f64> = (0..31)
        .map(|_| {
            let began = Instant::now();
            file.write_all(&[0; 256]).unwrap();
            file.sync_data().unwrap();
            began.elapsed().as_secs_f64()
        })
        .collect();
    spans.sort_by(f64::total_cmp);
    spans[spans.len() / 2]
}

/// Flower's rounds with as many numbers, and how many times as long they take.
fn beside((numbers, plain_s, masked_s): (f64, f64, f64), rounds: u32) {
    let Some(python) = std::env::var_os("ACEQUIA_PYTHON") else { return };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/beside.py");
    let ran = Command::new(python)
        .arg(script)
        .arg(format!("{numbers:.0}"))
        .arg(rounds.to_string())
        .stderr(Stdio::null())
        .output();
    let found = ran.ok().and_then(|output| {
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        serde_json::from_str::<serde_json::Value>(text.lines().last()?).ok()
    });
    let number = |name: &str| found.as_ref().and_then(|found| found[name].as_f64());
    match (number("round_s"), number("client_peak_mb")) {
        (Some(round_s), Some(peak_mb)) => println!(
            "Flower, {numbers:.0} numbers a round, without masks and TLS: {round_s:.4} s a round, {:.1} times ours without masks, {:.1} times masked; \
             a client's peak {peak_mb:.0} MB",
            round_s / plain_s,
            round_s / masked_s
        ),
        _ => println!("skipped: no Flower in the Python of ACEQUIA_PYTHON"),
    }
}

async fn client(home: &Path) {
    let folder = MemberFolder::of_node(home);
    let identity = folder.identity().unwrap();
    let roster = folder.roster().unwrap();
    let listen = roster.of_key(&identity.key()).and_then(|own| own.addresses.first()?.parse().ok());
    let network = Network::open(&identity, roster, listen).await.unwrap();
    let settings = SiteSettings {
        folder: folder.site(),
        rules: SiteRules::own(),
        standing: ["quantile", "averaging", "cox"].map(str::to_owned).into(),
        answer_within: Duration::from_secs(60),
    };
    let agent =
        SiteAgent::new(network, &identity, settings, Arc::new(Numbers), Arc::new(SystemClock), Arc::new(|_| {}));
    agent.unwrap().serve().await;
}

async fn other(home: &Path) {
    let folder = MemberFolder::of_node(home);
    let roster = folder.roster().unwrap();
    let listen = roster.named("other").unwrap().addresses[0].parse().unwrap();
    let network = Network::open(&folder.identity().unwrap(), roster, Some(listen)).await.unwrap();
    AggregatorDesk::new(&network, folder.aggregator(), Arc::new(SystemClock)).unwrap().serve(&network).await;
}

/// Processes that end with the bench.
struct Running(Vec<Child>);

impl Drop for Running {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Numbers that left a client in a run, by its own log, and bytes that they and the questions have at least.
fn numbers_of(queue: &Queue, what: What, plan: &Plan) -> (f64, f64) {
    let log = queue.log(&plan.digest()).unwrap();
    let said = log.entries().iter().filter_map(|entry| {
        let (before, _) = entry.left.words.split_once(" numbers, each ")?;
        let numbers = before.rsplit(' ').next()?.parse::<f64>().ok()?;
        let asked = match what {
            What::Quantile { .. } | What::Averaging { .. } if numbers > 20.0 => numbers,
            // Two coefficients, a centre and a unit for each, and the times of 4 bytes: 13 numbers are said of each time.
            What::Cox if entry.left.round > 1 => 6.0 + numbers / 13.0 / 2.0,
            _ => 0.0,
        };
        Some((numbers, 8.0 * (numbers + asked)))
    });
    said.fold((0.0, 0.0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
}

/// A run without a coordinator: from when all agreed until the last client has the result.
async fn among(what: What) {
    let base = tempfile::tempdir().unwrap();
    let home = |name: &str| -> PathBuf { base.path().join(name) };
    let clients: Vec<String> = (0..CLIENTS).map(|at| format!("client-{at}")).collect();
    let cards: Vec<Member> = clients
        .iter()
        .map(|name| Member {
            name: name.clone(),
            title: None,
            key: MemberFolder::of_node(&home(name)).identity().unwrap().key(),
            roles: [Role::Site].into(),
            addresses: vec![UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()],
            catalogue: None,
            web: None,
        })
        .collect();
    let first = MemberFolder::of_node(&home(&clients[0])).identity().unwrap();
    let roster = Members::new("Bench", cards, None, Vec::new()).unwrap().sign(&first);
    for name in &clients {
        MemberFolder::of_node(&home(name)).join(&roster.to_json(), Some(first.key())).unwrap();
    }
    let program = std::env::current_exe().unwrap();
    let start = |name: &String| {
        let mut command = Command::new(&program);
        command
            .arg("client")
            .arg(home(name))
            .env("MALLOC_MMAP_THRESHOLD_", "262144")
            .stdin(Stdio::null())
            .spawn()
            .unwrap()
    };
    let running = Running(clients.iter().map(start).collect());
    for masks in [Masks::None, Masks::TwoAggregators] {
        let plan = plan(what, 0, masks);
        let run = plan.digest();
        let among = Among { by: clients[0].clone(), sites: clients.clone(), roster: roster.digest(), signature: None };
        let queues: Vec<Queue> = clients.iter().map(|name| MemberFolder::of_node(&home(name)).queue()).collect();
        queues[0].propose(&run, &plan.to_json(), &among).unwrap();
        let stands = |queue: &Queue| queue.find(&run.short(16)).is_ok_and(|run| run.begun.is_some());
        while !queues.iter().any(stands) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let (began, before) = (Instant::now(), spent(running.0[0].id()));
        while !queues.iter().all(|queue| queue.result(&run).unwrap().is_some()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let (wall, after) = (began.elapsed().as_secs_f64(), spent(running.0[0].id()));
        let rounds = queues[0].log(&run).unwrap().entries().iter().map(|entry| entry.left.round).max().unwrap_or(1);
        let (numbers, _) = numbers_of(&queues[0], what, &plan);
        let per_round = |value: f64| value / f64::from(rounds);
        let time = match per_round(numbers) > 1e5 {
            true => format!("a round takes {} s", beside_goal(per_round(wall), 0.4)),
            false => format!("50 rounds take {} s", beside_goal(50.0 * per_round(wall), 2.0)),
        };
        println!(
            "quantiles, {:.0} numbers a round, {rounds} rounds, without a coordinator, {}: {time}; CPU of a client {:.4} s a round; a client's peak {} MB",
            per_round(numbers),
            if masks == Masks::None { "without masks" } else { "masked between two in turns" },
            per_round(after.0 - before.0),
            beside_goal(after.1, 64.0)
        );
    }
}

/// Numbers, and seconds a round without masks and masked.
async fn measure(what: What, runs: u32) -> (f64, f64, f64) {
    let base = tempfile::tempdir().unwrap();
    let home = |name: &str| -> PathBuf { base.path().join(name) };
    let free = || UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (centre_at, other_at) = (free(), free());
    let card = |name: &str, roles: &[Role], address: Option<std::net::SocketAddr>| Member {
        name: name.to_owned(),
        title: None,
        key: MemberFolder::of_node(&home(name)).identity().unwrap().key(),
        roles: roles.iter().copied().collect(),
        addresses: address.iter().map(ToString::to_string).collect(),
        catalogue: None,
        web: None,
    };
    let clients: Vec<String> = (0..CLIENTS).map(|at| format!("client-{at}")).collect();
    let mut cards = vec![
        card("centre", &[Role::Coordinator, Role::Aggregator], Some(centre_at)),
        card("other", &[Role::Aggregator], Some(other_at)),
    ];
    cards.extend(clients.iter().map(|name| card(name, &[Role::Site], None)));
    let folder = MemberFolder::of_node(&home("centre"));
    let identity = folder.identity().unwrap();
    let roster = Members::new("Bench", cards.clone(), None, Vec::new()).unwrap().sign(&identity).to_json();
    for card in &cards {
        MemberFolder::of_node(&home(&card.name)).join(&roster, Some(identity.key())).unwrap();
    }
    let program = std::env::current_exe().unwrap();
    let start = |role: &str, name: &str| -> Child {
        // As docs/network.md advises for long sums: glibc else keeps what is freed of them.
        let mut command = Command::new(&program);
        command.arg(role).arg(home(name)).env("MALLOC_MMAP_THRESHOLD_", "262144").stdin(Stdio::null()).spawn().unwrap()
    };
    let mut running = Running(vec![start("other", "other")]);
    running.0.extend(clients.iter().map(|name| start("client", name)));
    let mut found = (0.0, 0.0, 0.0);
    for masks in [Masks::None, Masks::TwoAggregators, Masks::Double] {
        // The port of the end before is free a moment later.
        let network = loop {
            match Network::open(&identity, folder.roster().unwrap(), Some(centre_at)).await {
                Ok(network) => break network,
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        };
        let settings = CoordinatorSettings {
            folder: folder.runs(),
            aggregator: folder.aggregator(),
            decide_within: Duration::from_secs(60),
            answer_within: Duration::from_secs(60),
            sites: BTreeSet::new(),
        };
        let coordinator = Coordinator::new(network.clone(), settings, Arc::new(SystemClock), Arc::new(|_| {})).unwrap();
        let plans: Vec<Plan> = (0..runs).map(|run| plan(what, run, masks)).collect();
        // Whoever dials in does so before the time is taken.
        coordinator.offer_only(&plans[0]).await.unwrap();
        let (own, its, before) = (spent(std::process::id()), spent(running.0[1].id()), network.traffic_bytes());
        let began = Instant::now();
        let mut rounds = 0;
        for plan in &plans {
            rounds += coordinator.run(plan).await.unwrap().rounds;
        }
        let wall = began.elapsed().as_secs_f64();
        let (own_after, its_after, after) =
            (spent(std::process::id()), spent(running.0[1].id()), network.traffic_bytes());
        network.close().await;
        let queue = MemberFolder::of_node(&home(&clients[0])).queue();
        let (mut numbers, mut least) = (0.0, 0.0);
        for plan in &plans {
            let of = numbers_of(&queue, what, plan);
            (numbers, least) = (numbers + of.0, least + of.1);
        }
        let per_round = |value: f64| value / f64::from(rounds);
        let bytes = (after.0 + after.1 - before.0 - before.1) as f64 / (least * CLIENTS as f64);
        // Of the reference on learning, G5: 50 rounds of a thousand numbers, a round of a million.
        let time = match per_round(numbers) > 1e5 {
            true => format!("a round takes {} s", beside_goal(per_round(wall), 0.4)),
            false => format!("50 rounds take {} s", beside_goal(50.0 * per_round(wall), 2.0)),
        };
        let kind = match what {
            What::Quantile { .. } => "quantiles",
            What::Averaging { .. } => "averaged weights",
            What::Cox => "Cox",
        };
        println!(
            "{kind}, {:.0} numbers a round, {rounds} rounds in {runs} runs, {}: {time}; CPU of the coordinator {:.4} s, of a client {:.4} s a round; \
             bytes at the coordinator {} times the least; a client's peak {} MB",
            per_round(numbers),
            masks.words(),
            per_round(own_after.0 - own.0),
            per_round(its_after.0 - its.0),
            beside_goal(bytes, if masks == Masks::None { 1.1 } else { 1.6 }),
            beside_goal(its_after.1, 64.0)
        );
        found.0 = per_round(numbers);
        match masks {
            Masks::None => found.1 = per_round(wall),
            Masks::TwoAggregators => found.2 = per_round(wall),
            Masks::Double => {}
        }
    }
    found
}
