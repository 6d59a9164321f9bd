//! Researchers get access to what is not open, through a real provider of institutional login.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::clients::python;
use crate::leak::Served;
use crate::{DATASET, Home, changed_recipe};

const REGISTERED: &str = "acequia/survival-registered";
const CONTROLLED: &str = "acequia/survival-controlled";
const SECRET: &str = "a secret: of the login";

/// The provider of npm's `oidc-provider`; ended with the test.
struct Provider {
    child: Child,
    /// Open as long as it runs: what it says later is not read, but it may say it.
    _said: BufReader<ChildStdout>,
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A served node with the demo's data set openly, registered and controlled, and a login; `None` where there is no provider.
fn node() -> Option<(Home, Served, Provider, String)> {
    let folder =
        std::env::var("ACEQUIA_TEST_JS").ok().filter(|js| Path::new(js).join("node_modules/oidc-provider").is_dir());
    let Some(folder) = folder else {
        println!("skipped: run ./test, which installs the provider where npm is there");
        return None;
    };
    let home = Home::new();
    home.json(&["demo", "--no-serve"]);
    for (name, terms) in
        [(REGISTERED, "duo = [\"DUO:0000046\"]"), (CONTROLLED, "duo = [\"DUO:0000021\", \"DUO:0000046\"]")]
    {
        let changes = [
            (format!("dataset = \"{DATASET}\""), format!("dataset = \"{name}\"")),
            ("[release]".to_owned(), format!("[release.terms]\n{terms}\n\n[release]")),
            ("license = \"CC-BY-4.0\"".to_owned(), "license = \"LicenseRef-data-use-agreement\"".to_owned()),
        ];
        let changes = changes.each_ref().map(|(from, to)| (from.as_str(), to.as_str()));
        let recipe = changed_recipe(&home, &format!("{}.toml", name.replace('/', "-")), &changes);
        home.json(&["run", recipe.to_str().unwrap()]);
    }
    let (own, theirs) = (free_port(), free_port());
    std::fs::write(home.path().join("login.secret"), SECRET).unwrap();
    let settings = format!(
        "[access]\nissuer = \"http://localhost:{theirs}\"\nclient_id = \"acequia\"\nclient_secret_file = \"login.secret\"\nname = \"Example University\"\n"
    );
    std::fs::write(home.path().join("settings.toml"), settings).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/provider.mjs");
    let redirect = format!("http://localhost:{own}/login/callback");
    let mut child = Command::new("node")
        .arg(script)
        .args([&folder, &theirs.to_string(), &redirect, SECRET])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.ends_with("listening\n") {
        assert!(said.read_line(&mut line).unwrap() > 0, "the provider does not start: {line}");
    }
    let provider = Provider { child, _said: said };
    let served = Served::of(
        home.command(&["serve", "--address", &format!("127.0.0.1:{own}")]),
        &home.folder.path().join("serve.log"),
    );
    Some((home, served, provider, format!("http://localhost:{own}")))
}

#[track_caller]
fn succeeds(python: &str, name: &str, words: &[&str]) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients").join(name);
    let output = Command::new(python).arg(script).args(words).stdin(Stdio::null()).output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stdout}\n{stderr}");
    println!("{stdout}");
}

#[test]
fn a_researcher_signs_in_promises_asks_and_reads_with_stock_clients() {
    let Some(python) = python() else { return };
    let Some((home, served, _provider, endpoint)) = node() else { return };
    let (program, folder) = (crate::program().display().to_string(), home.path().display().to_string());
    succeeds(&python, "access.py", &[&endpoint, REGISTERED, CONTROLLED, DATASET, &program, &folder]);
    drop(served);
    // Of those who signed in nothing lies in the clear, and nothing of them stands in the log.
    for path in crate::files(&home.path()).into_iter().chain([home.folder.path().join("serve.log")]) {
        let bytes = std::fs::read(&path).unwrap();
        for private in
            [&b"anna@uni.example"[..], b"Prof. anna", b"faculty@uni", b"Example University, ", b"how long people live"]
        {
            assert!(!bytes.windows(private.len()).any(|window| window == private), "{}", path.display());
        }
    }
    home.refused(&["access", "show", "000000000000-1"], 3, "AX007");
    let all = home.json(&["access", "list"]);
    assert_eq!((all.as_array().unwrap().len(), all[0]["state"].as_str()), (1, Some("revoked")));
    let request = all[0]["request"].as_str().unwrap().to_owned();
    home.refused(&["access", "revoke", &request, "--reason", "again", "--by", "bernd"], 5, "AX008");
    assert!(home.json(&["doctor"]).as_array().unwrap().iter().all(|finding| finding["held"] == true));
}

#[test]
fn pages_of_access_stand_in_a_browser() {
    let Some(python) = crate::clients::browser() else { return };
    let Some((_home, _served, _provider, endpoint)) = node() else { return };
    succeeds(&python, "access_pages.py", &[&endpoint, REGISTERED, CONTROLLED]);
}
