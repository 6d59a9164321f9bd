//! Two hospitals, two aggregators and a coordinator who have no address meet at a relay, each a process of its own.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use serde_json::Value;

use crate::Home;
use crate::learning::hospitals;

const PLAN: &str = r#"
schema = "acequia-plan/1"
title = "Death after breast cancer, by trees"
task = { kind = "boosting", trees = 6, depth = 2 }
outcome = { kind = "binary", value = { name = "death" } }
variables = [{ name = "age" }, { name = "nodes" }, { name = "pgr" }]
privacy = { minimum_rows = 50, minimum_sites = 2, membership_auc = 0.7 }
aggregation = { protection = "two-aggregators", aggregators = ["university", "patients"] }
"#;

/// Ends what was left running.
struct Running(Vec<Child>);

impl Drop for Running {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

struct Nodes(PathBuf);

impl Nodes {
    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    fn command(&self, node: &str, words: &[&str]) -> Command {
        let mut command = Command::new(crate::program());
        command.arg("--home").arg(self.0.join(node)).args(words).stdin(Stdio::null()).current_dir(&self.0);
        for variable in ["ACEQUIA_HOME", "ACEQUIA_FAILPOINT", "ACEQUIA_THREADS", "ACEQUIA_ADDRESS", "ACEQUIA_LOG"] {
            command.env_remove(variable);
        }
        command
    }

    fn output(&self, node: &str, words: &[&str]) -> Output {
        self.command(node, words).output().unwrap()
    }

    #[track_caller]
    fn run(&self, node: &str, words: &[&str]) {
        let output = self.output(node, words);
        assert!(output.status.success(), "{node}: {words:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    #[track_caller]
    fn refused(&self, node: &str, words: &[&str], code: &str, exit: i32) {
        let output = self.output(node, &[words, &["--json"]].concat());
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.code() == Some(exit) && said.contains(code), "{words:?}: {output:?}");
    }

    fn start(&self, node: &str, words: &[&str]) -> Child {
        let log = std::fs::File::create(self.0.join(format!("{node}.{}.log", words[1]))).unwrap();
        let errors = log.try_clone().unwrap();
        self.command(node, words).stdout(log).stderr(errors).spawn().unwrap()
    }

    fn log(&self, node: &str, word: &str) -> String {
        std::fs::read_to_string(self.0.join(format!("{node}.{word}.log"))).unwrap_or_default()
    }

    /// An authority, and a certificate of it for loopback.
    fn certify(&self) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "An authority");
        std::fs::write(self.path("authority.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        let issuer = Issuer::new(params, key);
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        std::fs::write(self.path("chain.pem"), params.signed_by(&key, &issuer).unwrap().pem()).unwrap();
        std::fs::write(self.path("key.pem"), key.serialize_pem()).unwrap();
        std::fs::write(self.path("other.pem"), KeyPair::generate().unwrap().serialize_pem()).unwrap();
    }
}

#[test]
fn a_run_of_members_without_addresses_goes_through_a_relay() {
    let home = Home::new();
    let nodes = Nodes(home.folder.path().to_owned());
    let tables = hospitals(home.folder.path());
    std::fs::write(nodes.path("plan.toml"), PLAN).unwrap();
    std::fs::write(nodes.path("rules.toml"), "standing = [\"boosting\"]\n").unwrap();
    nodes.certify();
    let members = [
        ("university", &["--role", "coordinator", "--role", "aggregator"][..]),
        ("patients", &["--role", "aggregator"]),
        ("leiden", &["--role", "site"]),
        ("lyon", &["--role", "site"]),
    ];
    for (name, roles) in members {
        let card = format!("{name}.card.json");
        nodes.run(name, &[&["network", "card", name], roles, &["-o", &card]].concat());
    }
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let url = format!("https://{address}");
    let cards = members.map(|(name, _)| format!("{name}.card.json"));
    let cards: Vec<&str> = cards.iter().map(String::as_str).collect();
    let sign =
        [&["network", "sign"], &cards[..], &["--title", "Relayed", "-o", "roster.json", "--relay", &url]].concat();
    nodes.refused("university", &[&sign[..], &["--relay-authority", "key.pem"]].concat(), "NT001", 2);
    nodes.run("university", &[&sign[..], &["--relay-authority", "authority.pem"]].concat());
    for (name, _) in members {
        nodes.run(name, &["network", "join", "roster.json", "--trust", "university.card.json"]);
    }
    let listed = nodes.output("lyon", &["network", "members", "--json"]);
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(listed["relays"][0], url.as_str());

    // A machine that is no member is the relay.
    let relay = ["network", "relay", "--address", &address, "--certificate", "chain.pem", "--discovery", "off"];
    let roster = ["--roster", "roster.json", "--trust", "university.card.json"];
    let with = |key: &'static str| [&relay[..], &roster, &["--key", key]].concat();
    nodes.refused("nobody", &with("other.pem"), "NT019", 2);
    nodes.refused("nobody", &[&relay[..], &["--key", "key.pem"]].concat(), "NT002", 4);
    let mut running = Running(vec![nodes.start("nobody", &[&with("key.pem")[..], &["--json"]].concat())]);
    let began = Instant::now();
    while !nodes.log("nobody", "relay").contains("listening") {
        assert!(began.elapsed() < Duration::from_secs(30), "{}", nodes.log("nobody", "relay"));
        std::thread::sleep(Duration::from_millis(50));
    }
    nodes.refused("nobody", &with("key.pem"), "NT008", 1);

    running.0.push(nodes.start("patients", &["network", "aggregate"]));
    for (name, table) in [("leiden", &tables[0].1), ("lyon", &tables[1].1)] {
        let words = ["site", "serve", "--rules", "rules.toml", "--table", table.to_str().unwrap()];
        running.0.push(nodes.start(name, &words));
    }
    let output = nodes.output("university", &["train", "plan.toml", "--network", "-o", "model.json"]);
    assert!(output.status.success(), "{output:?}\n{}", nodes.log("leiden", "serve"));

    let sites =
        [("leiden", &tables[0].1), ("lyon", &tables[1].1)].map(|(name, table)| format!("{name}={}", table.display()));
    let plan = nodes.path("plan.toml");
    let pooled =
        home.json(&["train", &plan, "--unmasked", "--mode", "centralised", "--site", &sites[0], "--site", &sites[1]]);
    let model: Value = serde_json::from_slice(&std::fs::read(nodes.path("model.json")).unwrap()).unwrap();
    for key in ["form", "fit", "sites", "variables"] {
        assert_eq!(model[key], pooled["outcome"][key], "{key}");
    }

    // It says what it passed on, and nothing of whose it was.
    let id = running.0[0].id().to_string();
    assert!(Command::new("kill").args(["-TERM", id.as_str()]).status().unwrap().success());
    assert!(running.0[0].wait().unwrap().success());
    let log = nodes.log("nobody", "relay");
    let events: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    println!("{log}");
    assert_eq!((events.len(), &events[0]["members"], &events[0]["discovery"]), (2, &4.into(), &Value::Null));
    assert_eq!((&events[1]["event"], &events[1]["turned_away"]), (&"stopped".into(), &0.into()));
    assert!(events[1]["received_bytes"].as_u64().unwrap() > 1000, "members met there");
}
