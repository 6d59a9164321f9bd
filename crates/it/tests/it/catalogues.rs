//! Nodes that tell one another what they publish, each a process of its own: what one publishes another finds, fetches, checks and
//! mirrors; and what is withdrawn there is gone here.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::clients::python;
use crate::crash::kill_at;
use crate::leak::Served;
use crate::{DATASET, Home, files};

/// Whatever waits here waits for another process.
const PATIENCE: Duration = Duration::from_secs(120);
const CATALOGUE: [&str; 2] = ["network", "catalogue"];

fn words<'w>(more: &[&'w str]) -> Vec<&'w str> {
    [&CATALOGUE[..], more].concat()
}

fn version() -> String {
    format!("{DATASET}@1.0.0")
}

fn settings(home: &Home, more: &str) {
    std::fs::create_dir_all(home.path()).unwrap();
    std::fs::write(home.path().join("settings.toml"), format!("[network]\ncatalogue = true\n{more}")).unwrap();
}

/// Nodes of one network; the first signs the roster, and publishes the demo's data set.
fn network<const N: usize>(names: [&str; N]) -> [Home; N] {
    let homes = names.map(|_| Home::new());
    let shared = homes[0].folder.path();
    let mut cards = Vec::new();
    for (home, name) in homes.iter().zip(names) {
        settings(home, "");
        let address = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let card = shared.join(format!("{name}.card.json")).display().to_string();
        let title = format!("Node of {name}");
        home.json(&["network", "card", name, "--catalogue", &address, "--title", &title, "-o", &card]);
        cards.push(card);
    }
    let roster = shared.join("roster.json").display().to_string();
    let listed: Vec<&str> = cards.iter().map(String::as_str).collect();
    homes[0].json(&[&["network", "sign"], &listed[..], &["--title", "Neighbours", "-o", &roster]].concat());
    for home in &homes {
        home.json(&["network", "join", &roster, "--trust", &cards[0]]);
    }
    homes[0].json(&["demo", "--no-serve"]);
    for home in &homes[1..] {
        home.json(&["init"]);
    }
    homes
}

fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let name = |path: &Path| path.strip_prefix(folder).unwrap().to_owned();
    let all = files(folder).into_iter().filter(|path| !name(path).starts_with(".cache"));
    all.map(|path| (name(&path), std::fs::read(&path).unwrap())).collect()
}

#[track_caller]
fn until(what: &str, found: impl Fn() -> bool) {
    let began = Instant::now();
    while !found() {
        assert!(began.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn status(served: &Served, path: &str) -> String {
    String::from_utf8_lossy(&served.get(path)[9..12]).into_owned()
}

fn text(served: &Served, path: &str) -> String {
    String::from_utf8_lossy(&served.get(path)).into_owned()
}

/// Every examination of the doctor holds.
#[track_caller]
fn is_well(home: &Home) {
    let found = home.json(&["doctor"]);
    assert!(found.as_array().unwrap().iter().all(|finding| finding["held"] == true), "{found}");
}

/// The stock client fetches the data set from a node.
fn downloaded(python: &str, served: &Served, folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let program = Path::new(python).with_file_name("hf");
    let mut command = Command::new(program);
    command.args(["download", DATASET, "--repo-type", "dataset", "--revision", "v1.0.0", "--local-dir"]).arg(folder);
    command.env("HF_ENDPOINT", format!("http://{}", served.address)).env("HF_HOME", folder.with_extension("home"));
    let output = command.env("HF_HUB_DISABLE_XET", "1").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    contents(folder)
}

#[test]
fn what_a_neighbour_publishes_is_found_fetched_mirrored_and_withdrawn() {
    let [trustee, leiden, clinic] = network(["trustee", "leiden", "clinic"]);
    let at = |home: &Home, name: &str| home.folder.path().join(name);
    let original = at(&trustee, "original");
    trustee.json(&["release", "export", DATASET, "--to", original.to_str().unwrap()]);
    let exported = contents(&original);
    // The seal lies beside the files of the version, wherever they are written to.
    let mut original = exported.clone();
    assert!(original.remove(Path::new("seal.json")).is_some());
    let serving = Served::start(&trustee);

    // Found.
    let asked = leiden.json(&words(&["sync", "--from", "trustee"]));
    let one = &asked["neighbours"][0];
    let counts =
        ["new_entries", "versions", "known", "without_manifest", "taken_down"].map(|key| one[key].as_u64().unwrap());
    assert_eq!(counts, [1, 1, 1, 0, 0], "{asked}");
    assert_eq!(leiden.json(&words(&["sync", "--from", "trustee"]))["neighbours"][0]["new_entries"], 0);
    let listed = leiden.json(&words(&["list"]));
    assert_eq!(
        (&listed[0]["member"], &listed[0]["dataset"], &listed[0]["mirrored"]),
        (&"trustee".into(), &DATASET.into(), &false.into())
    );
    assert!(listed[0]["title"].as_str().is_some_and(|title| !title.is_empty()));

    // Fetched, and rechecked by whoever knows nothing of where it comes from.
    let copy = at(&leiden, "copy");
    let into = copy.to_str().unwrap();
    let fetched = leiden.json(&words(&["fetch", &version(), "--into", into]))["fetched"].clone();
    let count = original.len() as u64;
    assert_eq!(
        (&fetched["files"], &fetched["fetched"], &fetched["present"]),
        (&count.into(), &count.into(), &0.into())
    );
    assert_eq!(contents(&copy), exported);
    let key = serde_json::from_slice::<Value>(&exported[Path::new("seal.json")]).unwrap()["key"].clone();
    leiden.json(&["verify", into, "--key", key.as_str().unwrap()]);
    leiden.refused(&["verify", into, "--key", &"0".repeat(64)], 6, "NO010");
    std::fs::write(copy.join("README.md"), "changed").unwrap();
    let again = leiden.json(&words(&["fetch", DATASET, "--into", into]))["fetched"].clone();
    assert_eq!((&again["fetched"], &again["present"]), (&1.into(), &(count - 1).into()));
    assert_eq!(contents(&copy), exported);
    leiden.refused(&words(&["fetch", "acequia/no-such", "--into", into]), 3, "NO009");
    leiden.refused(&words(&["fetch", DATASET, "--from", "nobody", "--into", into]), 4, "NT003");

    // Mirrored: the same bytes under the same name, with where they come from.
    assert_eq!(leiden.json(&words(&["mirror", &version()]))["new"], true);
    assert_eq!(leiden.json(&words(&["mirror", DATASET]))["new"], false);
    leiden.json(&["verify", DATASET]);
    is_well(&leiden);
    leiden.json(&["doctor", "--mend"]);
    is_well(&leiden);
    let mirror = Served::start(&leiden);
    let page = text(&mirror, &format!("/datasets/{DATASET}/v/1.0.0"));
    assert!(page.contains("Published by Node of trustee, mirrored here since"), "{page}");
    assert!(text(&mirror, "/?q=survival").contains("Mirrored from Node of trustee"));
    let network = text(&mirror, "/network");
    assert!(network.contains("Node of trustee") && network.contains("Mirrored here"), "{network}");
    let info = |served: &Served| {
        let answer = text(served, &format!("/api/datasets/{DATASET}"));
        serde_json::from_str::<Value>(answer.split_once("\r\n\r\n").unwrap().1).unwrap()["sha"].clone()
    };
    assert!(info(&serving).is_string());
    assert_eq!(info(&serving), info(&mirror), "the same commit");
    if let Some(python) = python() {
        let there = downloaded(&python, &serving, &at(&leiden, "there"));
        let here = downloaded(&python, &mirror, &at(&leiden, "here"));
        assert_eq!((&there, &here), (&original, &original), "the stock client gets the same from both");
    }

    // Whoever publishes it is killed in the middle; whoever mirrors it gives the rest.
    clinic.json(&words(&["sync", "--from", "trustee"]));
    let rescued = at(&clinic, "rescued");
    let mut fetching = clinic.command(&words(&["fetch", &version(), "--into", rescued.to_str().unwrap(), "--json"]));
    fetching.env("ACEQUIA_FAILPOINT", "catalogue.piece#3").env("ACEQUIA_FAILPOINT_S", "2");
    let mut fetching = fetching.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(fetching.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(said.any(|line| line == "failpoint catalogue.piece"));
    drop(serving);
    // What it says further must be taken from it.
    let rest = std::thread::spawn(move || said.for_each(drop));
    let output = fetching.wait_with_output().unwrap();
    rest.join().unwrap();
    let fetched: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(output.status.success(), "{fetched}");
    assert_eq!(fetched["fetched"]["from"], serde_json::json!(["leiden", "trustee"]));
    assert_eq!(contents(&rescued), exported);

    // Withdrawn there, and so here.
    let serving = Served::start(&trustee);
    let file = format!("/datasets/{DATASET}/resolve/v1.0.0/README.md");
    assert_eq!(status(&mirror, &file), "200");
    trustee.json(&["release", "take-down", &version(), "--reason", "safety"]);
    until("it is taken down there", || status(&serving, &file) == "410");
    let asked = leiden.json(&words(&["sync", "--from", "trustee"]));
    assert_eq!(
        (&asked["neighbours"][0]["taken_down"], &asked["mirrors"]["taken_down"]),
        (&1.into(), &1.into()),
        "{asked}"
    );
    until("it is taken down here", || status(&mirror, &file) == "410");
    let page = text(&mirror, &format!("/datasets/{DATASET}/v/1.0.0"));
    assert!(page.contains("Its protection turned out to be too weak.") && page.contains("Node of trustee"), "{page}");
    // Nobody gives a byte of it, also to one that does not know yet.
    let late = at(&clinic, "late");
    clinic.refused(&words(&["fetch", &version(), "--into", late.to_str().unwrap()]), 75, "NT015");
    assert!(!late.join("manifest.json").exists());
    let _ = clinic.run(&words(&["sync"]));
    clinic.refused(&words(&["fetch", &version(), "--into", late.to_str().unwrap()]), 5, "NO014");
    leiden.refused(&words(&["mirror", &version()]), 5, "NO014");
    is_well(&leiden);
    let blobs = files(&leiden.path().join("blobs"));
    let left = blobs.iter().filter(|path| path.file_name().is_some_and(|name| name.len() == 64)).count();
    assert_eq!(left, 1, "only the manifest stays, for the page that says so");
}

#[test]
fn killing_a_mirror_at_every_step_leaves_the_whole_or_none() {
    let [trustee, leiden] = network(["trustee", "leiden"]);
    let serving = Served::start(&trustee);
    let file = format!("/datasets/{DATASET}/resolve/v1.0.0/data/train-00000-of-00001.parquet");
    let original = serving.get(&file);
    let (sync, mirror) = (words(&["sync"]), words(&["mirror", DATASET]));
    for failpoint in acequia_node::MIRROR_POINTS {
        let (command, failpoint) = match failpoint {
            "catalogue.heard" | "catalogue.manifest" => (&sync, failpoint.to_owned()),
            "catalogue.piece" => (&mirror, format!("{failpoint}#3")),
            _ => (&mirror, failpoint.to_owned()),
        };
        kill_at(&leiden, command, &failpoint);
        is_well(&leiden);
        let served = Served::start(&leiden);
        let expected = if failpoint == "mirror.recorded" { "200" } else { "404" };
        assert_eq!(status(&served, &file), expected, "{failpoint}");
    }
    assert_eq!(leiden.json(&mirror)["new"], false);
    let served = Served::start(&leiden);
    let body = |answer: &[u8]| answer[answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap()..].to_vec();
    assert!(body(&served.get(&file)) == body(&original), "the same bytes");
    drop(served);
    leiden.json(&["doctor", "--mend"]);
    is_well(&leiden);

    // Ended by the operator, and made again.
    assert_eq!(leiden.json(&words(&["mirror", &version(), "--stop"]))["stopped"], true);
    assert_eq!(leiden.json(&words(&["mirror", &version(), "--stop"]))["stopped"], false);
    assert_eq!(status(&Served::start(&leiden), &file), "404");
    is_well(&leiden);
    // No more than the settings allow.
    settings(&leiden, "mirror_quota_mb = 0\n");
    leiden.refused(&mirror, 5, "NO023");
    // By the settings alone, without anybody at the keyboard.
    settings(&leiden, &format!("sync_minutes = 60\nmirror = [\"{DATASET}\"]\n"));
    let served = Served::start(&leiden);
    until("the node mirrors what its settings name", || status(&served, &file) == "200");
    assert_eq!(leiden.json(&sync)["mirrors"]["already"], 1);
}

#[test]
fn a_neighbour_that_tells_another_story_is_refused() {
    let [trustee, leiden] = network(["trustee", "leiden"]);
    let serving = Served::start(&trustee);
    leiden.json(&words(&["sync"]));
    leiden.json(&words(&["mirror", DATASET]));
    drop(serving);

    // Another node with the same key in the network: its gate is another.
    let other = Home::new();
    settings(&other, "");
    let folder = other.path().join("network");
    std::fs::create_dir_all(&folder).unwrap();
    for name in ["network.key", "roster.json", "trusted.json"] {
        std::fs::copy(trustee.path().join("network").join(name), folder.join(name)).unwrap();
    }
    other.json(&["demo", "--no-serve"]);
    let served = Served::start(&other);
    let output = leiden.run(&words(&["sync", "--json"]));
    let asked: Value = serde_json::from_slice(&output.stdout).unwrap();
    let problem = &asked["neighbours"][0]["problems"][0];
    assert_eq!((output.status.code(), &problem["code"]), (Some(6), &"NT014".into()), "{asked}");
    assert!(leiden.path().join("network/catalogue/refused/trustee.json").is_file(), "what was signed is kept");
    drop(served);

    // What was mirrored stays as it was, and the page says what happened.
    let mirror = Served::start(&leiden);
    assert_eq!(status(&mirror, &format!("/datasets/{DATASET}/resolve/v1.0.0/README.md")), "200");
    assert!(text(&mirror, "/network").contains("contradicts what it told before"));
    is_well(&leiden);

    // The same node, as it was, is believed again.
    let _serving = Served::start(&trustee);
    assert_eq!(leiden.json(&words(&["sync"]))["neighbours"][0]["new_entries"], 0);
}
