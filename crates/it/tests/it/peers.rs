//! Four hospitals run a plan without a coordinator, each a process of its own; the one that adds up is killed in the middle of a round.

use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::Home;
use crate::learning::hospitals;

/// Masked, and the same trees to the last bit; rounds enough to be caught in the middle of one.
const PLAN: &str = r#"
schema = "acequia-plan/1"
title = "Death after breast cancer, by trees"
task = { kind = "boosting", trees = 40, depth = 2 }
outcome = { kind = "binary", value = { name = "death" } }
variables = [{ name = "age" }, { name = "nodes" }, { name = "pgr" }]
privacy = { minimum_rows = 50, minimum_sites = 3, membership_auc = 0.7 }
"#;

/// Whatever waits here waits for other processes.
const PATIENCE: Duration = Duration::from_secs(180);

struct Hospital {
    name: String,
    home: PathBuf,
    table: PathBuf,
    log: PathBuf,
    /// Its `acequia site serve`.
    serves: Option<Child>,
}

impl Drop for Hospital {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Hospital {
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(crate::program());
        command.arg("--home").arg(&self.home).args(words).stdin(Stdio::null());
        for variable in ["ACEQUIA_HOME", "ACEQUIA_FAILPOINT", "ACEQUIA_THREADS", "ACEQUIA_ADDRESS"] {
            command.env_remove(variable);
        }
        command
    }

    #[track_caller]
    fn run(&self, words: &[&str]) {
        let output = self.command(words).output().unwrap();
        assert!(output.status.success(), "{}: {words:?}: {}", self.name, String::from_utf8_lossy(&output.stderr));
    }

    fn serve(&mut self) {
        let log = std::fs::File::options().create(true).append(true).open(&self.log).unwrap();
        let words = ["site", "serve", "--answer-within", "12", "--json", "--table", self.table.to_str().unwrap()];
        let serving = self.command(&words).stdout(log).stderr(Stdio::null()).spawn().unwrap();
        self.serves = Some(serving);
    }

    /// As the operating system kills: at once.
    fn kill(&mut self) {
        if let Some(mut child) = self.serves.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn signal(&self, signal: &str) {
        let id = self.serves.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([signal, id.as_str()]).status().unwrap().success());
    }

    /// Round and first in line, as it said last.
    fn adds_up(&self) -> Option<(u32, String)> {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let of_line = |line: &str| {
            let event = serde_json::from_str::<Value>(line).ok()?["event"].as_str()?.to_owned();
            let (_, said) = event.split_once(": round ")?;
            let (round, names) = said.split_once(", ")?;
            Some((round.parse().ok()?, names.split(' ').next()?.to_owned()))
        };
        log.lines().filter_map(of_line).next_back()
    }
}

#[track_caller]
fn until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn four(folder: &Path) -> Vec<Hospital> {
    let mut all: Vec<Hospital> = hospitals(folder)
        .into_iter()
        .map(|(name, table)| {
            let (home, log) = (folder.join(format!("{name}-node")), folder.join(format!("{name}.log")));
            Hospital { name, home, table, log, serves: None }
        })
        .collect();
    let path = |name: &str| folder.join(name).display().to_string();
    let mut cards = Vec::new();
    for hospital in &all {
        let address = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let card = path(&format!("{}.card.json", hospital.name));
        hospital.run(&["network", "card", &hospital.name, "--role", "site", "--address", &address, "-o", &card]);
        cards.push(card);
    }
    let roster = path("roster.json");
    let cards: Vec<&str> = cards.iter().map(String::as_str).collect();
    all[0].run(&[&["network", "sign"], &cards[..], &["--title", "Four", "-o", &roster]].concat());
    for hospital in &mut all {
        hospital.run(&["network", "join", &roster, "--trust", cards[0]]);
        hospital.serve();
    }
    all
}

#[test]
fn four_processes_without_a_coordinator_give_the_pooled_model_though_who_adds_up_is_killed() {
    let home = Home::new();
    let folder = home.folder.path();
    let path = |name: &str| folder.join(name).display().to_string();
    std::fs::write(folder.join("plan.toml"), PLAN).unwrap();
    let plan = path("plan.toml");
    let mut all = four(folder);

    // Nobody else answers in a site's name meanwhile.
    let second = all[0].command(&["site", "serve", "--table", all[0].table.to_str().unwrap()]).output().unwrap();
    assert!(String::from_utf8_lossy(&second.stderr).contains("NT012"), "{second:?}");

    // Four people give the same command, each for a hospital.
    let model = |hospital: &Hospital| path(&format!("{}.model.json", hospital.name));
    let start = |hospital: &Hospital| {
        let words = ["network", "run", &plan, "--by", "anna", "-o", &model(hospital)];
        hospital.command(&words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    let mut people: Vec<Child> = all.iter().map(start).collect();

    // One of them is held in the middle of the run, so that a round cannot end; then whoever adds up in it is killed.
    until("the run goes on", || all[3].adds_up().filter(|(round, _)| *round >= 5));
    all[3].signal("-STOP");
    let place = |all: &[Hospital]| all[..3].iter().filter_map(Hospital::adds_up).max();
    let mut stands = place(&all);
    let mut since = Instant::now();
    let (round, leader) = until("it stands still", || {
        let now = place(&all);
        if now != stands {
            (stands, since) = (now, Instant::now());
        }
        (since.elapsed() > Duration::from_secs(1)).then(|| stands.clone().unwrap())
    });
    let at = all.iter().position(|hospital| hospital.name == leader).unwrap();
    all[at].kill();
    if at != 3 {
        all[3].signal("-CONT");
    }
    let other = (at + 1) % 3;
    let next = until("the next in line takes over", || {
        all[other].adds_up().filter(|(of, name)| *of >= round && *name != leader)
    });
    println!("{leader} was killed in round {round}; {} took over in round {}", next.1, next.0);
    assert!(all.iter().all(|hospital| !Path::new(&model(hospital)).exists()), "nothing ended meanwhile");

    // It comes back, and takes its place.
    all[at].serve();
    let _ = people[at].wait();
    people[at] = start(&all[at]);
    for (person, hospital) in people.iter_mut().zip(&all) {
        let status = until("the command ends", || person.try_wait().unwrap());
        assert!(status.success(), "{}: {status}", hospital.name);
    }
    let bytes: Vec<Vec<u8>> = all.iter().map(|hospital| std::fs::read(model(hospital)).unwrap()).collect();
    assert!(bytes.windows(2).all(|pair| pair[0] == pair[1]), "the same bytes at each hospital");

    let tables: Vec<String> =
        all.iter().map(|hospital| format!("{}={}", hospital.name, hospital.table.display())).collect();
    let sites = tables.iter().flat_map(|table| ["--site", table.as_str()]).collect::<Vec<_>>();
    let pooled = home.json(&[&["train", &plan, "--mode", "centralised", "--unmasked"], &sites[..]].concat());
    let model: Value = serde_json::from_slice(&bytes[0]).unwrap();
    for key in ["form", "fit", "sites", "variables"] {
        assert_eq!(model[key], pooled["outcome"][key], "{key}");
    }
    assert_eq!((&model["membership"]["test"], &model["membership"]["sites"]), (&"at-sites".into(), &4.into()));

    // What was done is there to be looked at, and said by a command that is given again.
    let output = all[1].command(&["site", "show", "by trees", "--json"]).output().unwrap();
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(shown["run"]["agreed"].as_array().map(Vec::len), Some(4));
    let words = shown["run"]["offer"]["words"].as_str().unwrap();
    assert!(words.contains("no coordinator exists"), "{words}");
    let output = all[1].command(&["network", "run", &plan, "--json"]).output().unwrap();
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&said["architecture"], said["sites"].as_array().map(Vec::len)), (&"decentralised".into(), Some(4)));
    assert_eq!(said["model"].as_str().map(str::len), Some(64));
    // Without its site running nothing begins.
    all[2].kill();
    std::fs::write(folder.join("other.toml"), PLAN.replace("by trees", "by other trees")).unwrap();
    let output = all[2].command(&["network", "run", &path("other.toml"), "--json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(75), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("NT013"), "{output:?}");
}
