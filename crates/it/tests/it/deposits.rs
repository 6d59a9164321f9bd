//! Members of the network write with stock clients; the trustee takes or refuses what they hand in.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::clients::python;
use crate::leak::Served;
use crate::{Home, files};

/// A node with a token for `lab/*`.
fn node() -> (Home, String) {
    let home = Home::new();
    home.json(&["init"]);
    let words = ["token", "create", "--for", "A lab", "--scope", "lab/*", "--by", "bernd"];
    let secret = home.json(&words)["secret"].as_str().unwrap().to_owned();
    (home, secret)
}

/// Pythons with clients: the one of `./test`, and one with the last version before 1.0 where there is one.
fn pythons() -> Vec<(&'static str, String)> {
    let old = std::env::var("ACEQUIA_TEST_PYTHON_OLD").ok();
    if old.is_none() {
        println!("skipped: no Python with huggingface_hub 0.36");
    }
    python().map(|new| ("new", new)).into_iter().chain(old.map(|old| ("old", old))).collect()
}

fn clients() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients")
}

/// Begins a model with a file, as a program that is no client of anybody does.
fn begin(served: &Served, secret: &str, name: &str) {
    let (namespace, own) = name.split_once('/').unwrap();
    let post = |path: &str, body: &str| {
        let mut stream = TcpStream::connect(&served.address).unwrap();
        let (host, length) = (&served.address, body.len());
        let head = format!("Host: {host}\r\nAuthorization: Bearer {secret}\r\nContent-Length: {length}");
        write!(stream, "POST {path} HTTP/1.1\r\n{head}\r\nConnection: close\r\n\r\n{body}").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{path}: {answer}");
    };
    post("/api/repos/create", &format!("{{\"name\":\"{own}\",\"organization\":\"{namespace}\"}}"));
    let lines = "{\"key\":\"header\",\"value\":{\"summary\":\"Add\"}}\n{\"key\":\"file\",\"value\":{\"path\":\"a.txt\",\"content\":\"YQ==\",\"encoding\":\"base64\"}}\n";
    post(&format!("/api/models/{name}/commit/main"), lines);
}

#[track_caller]
fn succeeds(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stdout}\n{stderr}");
    println!("{stdout}");
}

#[test]
fn stock_clients_write_and_the_trustee_decides() {
    let pythons = pythons();
    if pythons.is_empty() {
        return;
    }
    let (home, secret) = node();
    let served = Served::start(&home);
    let endpoint = format!("http://{}", served.address);
    for (label, python) in &pythons {
        succeeds(Command::new(python).arg(clients().join("deposits.py")).args([&endpoint, &secret, "lab", label]));
    }
    match std::env::var("ACEQUIA_TEST_JS") {
        Ok(folder) => {
            let script = clients().join("deposits.mjs");
            succeeds(Command::new("node").arg(script).args([&folder, &endpoint, &secret, "lab"]));
        }
        Err(_) => println!("skipped: @huggingface/hub is not installed"),
    }
    // While it serves, as a trustee would.
    let label = pythons[0].0;
    let (cohort, net) = (format!("lab/cohort-{label}"), format!("lab/net-{label}@v1.0.0"));
    let listed = home.json(&["deposit", "list"]);
    let state = |listed: &serde_json::Value, name: &str| {
        let all = listed.as_array().unwrap().iter();
        all.filter(|one| one["deposit"] == name)
            .map(|one| one["state"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    let model = format!("models/lab/net-{label}");
    assert_eq!(state(&listed, &model), ["handed-in"]);
    let shown = home.json(&["deposit", "show", &format!("lab/net-{label}")]);
    assert_eq!(shown["models"]["model.onnx"]["operator_sets"]["ai.onnx"], 17, "{shown}");
    let into = home.folder.path().join("incoming");
    // Killed when the files are there: nothing is on record, and it may be done again.
    let half = home.folder.path().join("half");
    let words = ["deposit", "take", &net, "--into", half.to_str().unwrap(), "--by", "bernd"];
    crate::crash::kill_at(&home, &words, acequia_node::DEPOSIT_POINT);
    assert_eq!(state(&home.json(&["deposit", "list"]), &model), ["handed-in"]);
    let taken = home.json(&["deposit", "take", &net, "--into", into.to_str().unwrap(), "--by", "bernd"]);
    assert_eq!((taken["files"].as_u64(), files(&into).len()), (Some(2), 2));
    assert_eq!(std::fs::read(into.join("model.onnx")).unwrap()[..2], [8, 9]);
    assert_eq!(state(&home.json(&["deposit", "list"]), &model), ["taken"]);
    home.refused(&["deposit", "take", &net, "--into", into.to_str().unwrap(), "--by", "bernd"], 1, "NO004");
    let handed = format!("{cohort}@v1.0.0");
    home.json(&["deposit", "refuse", &handed, "--reason", "no consent stated", "--by", "bernd"]);
    let asked = format!("/api/datasets/{cohort}/commits/main");
    let told = |headers: &str| String::from_utf8_lossy(&served.get_with(&asked, headers)).contains("no consent stated");
    assert!(told(&format!("Authorization: Bearer {secret}\r\n")), "its author reads why");
    assert!(!told("") && !told("Authorization: Bearer hf_acequia_00\r\n"), "nobody else does");
    // Killed at each step of a removal: it is gone from the first on.
    let blobs = || files(&home.path().join("blobs")).len();
    let before = blobs();
    for (number, point) in acequia_node::REMOVAL_POINTS.iter().enumerate() {
        let gone = format!("lab/killed-{number}");
        begin(&served, &secret, &gone);
        let words = ["deposit", "remove", &gone, "--by", "bernd"];
        crate::crash::kill_at(&home, &words, point);
        assert_eq!(state(&home.json(&["deposit", "list"]), &format!("models/{gone}")), [""; 0]);
        home.refused(&words, 3, "DP001");
    }
    // The same name again, where the removal was cut short: nothing of the one before is in it.
    begin(&served, &secret, "lab/killed-1");
    home.json(&["deposit", "remove", "lab/killed-1", "--by", "bernd"]);
    assert!(blobs() > before);
    // A node that starts removes what is on record, and mending what is on none.
    drop(served);
    let served = Served::start(&home);
    let began = Instant::now();
    while blobs() > before + 1 {
        assert!(began.elapsed() < Duration::from_secs(60), "{} {before}", blobs());
        std::thread::sleep(Duration::from_millis(100));
    }
    drop(served);
    home.json(&["doctor", "--mend"]);
    assert_eq!(blobs(), before);
    let served = Served::start(&home);
    let removed = home.json(&["deposit", "remove", &net.replace("@v1.0.0", ""), "--by", "bernd"]);
    assert!(removed["deposit"] == model.as_str() && removed["bytes"].as_u64().unwrap() > 8, "{removed}");
    assert_eq!(files(&into).len(), 2, "what was taken out stays");
    home.refused(&["deposit", "remove", &net, "--by", "bernd"], 2, "NO009");
    home.refused(&["deposit", "show", "lab/no-such"], 3, "DP001");
    home.refused(&["deposit", "take", &cohort, "--into", "x", "--by", "bernd"], 2, "NO009");
    let id = home.json(&["token", "list"])[0]["id"].as_str().unwrap().to_owned();
    assert_eq!(home.json(&["token", "revoke", &id, "--by", "bernd"])["revoked"], true);
    drop(served);
    // The node is whole, in another place too, and neither the token nor what was written lies in the clear.
    let doctor = home.json(&["doctor", "--mend"]);
    assert!(doctor.as_array().unwrap().iter().all(|finding| finding["held"] == true), "{doctor}");
    let copy = home.folder.path().join("copy");
    let copied = home.json(&["blobs", "copy", "--to", copy.to_str().unwrap()]);
    assert!(copied["copied"].as_u64().unwrap() > 10 && copied["damaged"].as_array().unwrap().is_empty());
    let notes = b"A made-up cohort that clients write in tests";
    for path in files(&home.path()).into_iter().chain([home.folder.path().join("serve.log")]) {
        let bytes = std::fs::read(&path).unwrap();
        let holds = |wanted: &[u8]| bytes.windows(wanted.len()).any(|window| window == wanted);
        assert!(!holds(secret.as_bytes()) && !holds(notes), "{}", path.display());
    }
}

/// Configuration and tokenizer of a deposited model, by a library that knows nothing of deposits.
#[test]
fn transformers_reads_a_deposited_model() {
    let Some(python) = python() else { return };
    let (home, secret) = node();
    let served = Served::start(&home);
    let endpoint = format!("http://{}", served.address);
    let script = clients().join("transformers_reads.py");
    let output = Command::new(python).arg(script).args([&endpoint, &secret, "lab"]).output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() || output.status.code() == Some(77), "{stdout}\n{stderr}");
    println!("{stdout}");
}

/// Drafts and what is published, through a proxy that counts what is sent and cuts connections.
#[test]
fn stock_clients_read_by_xet() {
    let Some(python) = python() else { return };
    let home = Home::new();
    home.json(&["demo", "--no-serve"]);
    let words = ["token", "create", "--for", "A lab", "--scope", "lab/*", "--by", "bernd"];
    let secret = home.json(&words)["secret"].as_str().unwrap().to_owned();
    let plans = || {
        let folder = home.path().join("derived/xet");
        if folder.is_dir() { files(&folder).len() } else { 0 }
    };
    {
        let served = Served::start(&home);
        let endpoint = format!("http://{}", served.address);
        let script = clients().join("xet.py");
        succeeds(Command::new(&python).arg(script).args([&endpoint, &secret, "lab", crate::DATASET]));
    }
    // What was worked out is kept, and made again where it is not.
    assert!(plans() > 0);
    std::fs::remove_dir_all(home.path().join("derived")).unwrap();
    let served = Served::start(&home);
    served.get(&format!("/api/datasets/{}", crate::DATASET));
    let began = Instant::now();
    while plans() == 0 {
        assert!(began.elapsed() < Duration::from_secs(20));
        std::thread::sleep(Duration::from_millis(50));
    }
    drop(served);
    let doctor = home.json(&["doctor", "--mend"]);
    assert!(doctor.as_array().unwrap().iter().all(|finding| finding["held"] == true), "{doctor}");
}

/// Uploads and then downloads, each again where the node was gone, until it is through; says how often.
const UPLOAD: &str = r#"
import hashlib, os, sys, time
os.environ.update(HF_ENDPOINT=sys.argv[1], HF_TOKEN=sys.argv[2], HF_HOME=sys.argv[3], HF_HUB_DISABLE_PROGRESS_BARS="1")
import huggingface_hub as hub
name, data = "lab/long", hashlib.shake_256(b"long").digest(150_000_000)
path = os.path.join(os.environ["HF_HOME"], "long.raw")
open(path, "wb").write(data)
hub.create_repo(name, repo_type="dataset", exist_ok=True)
print("begun", flush=True)

def until_through(call, **named):
    for attempt in range(1, 60):
        try:
            return call(repo_id=name, repo_type="dataset", **named), attempt
        except Exception as error:
            print("again", type(error).__name__, flush=True)
            time.sleep(1)
    sys.exit("never")

_, uploads = until_through(hub.upload_file, path_or_fileobj=path, path_in_repo="long.raw")
os.remove(path)
back, downloads = until_through(hub.hf_hub_download, filename="long.raw")
assert open(back, "rb").read() == data
assert len(hub.list_repo_commits(name, repo_type="dataset")) == 2
print("attempts", uploads, downloads, hub.__version__)
"#;

fn serve_at(home: &Home, address: &str) -> Served {
    Served::of(home.command(&["serve", "--address", address]), &home.folder.path().join("serve.log"))
}

/// Three places in 150 MB, other ones each time: which they were is printed.
fn places() -> Vec<u64> {
    let mut seed = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64;
    let mut next = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % 140_000_000
    };
    let mut places = vec![next(), next(), next()];
    places.sort_unstable();
    println!("killed at {places:?} bytes");
    places
}

/// 150 MB up and down again, by clients that upload in parts and by those that use Xet; the node is killed at random places of both.
#[test]
fn uploads_and_downloads_go_on_after_the_node_was_killed() {
    for (label, python) in pythons() {
        let (home, secret) = node();
        let mut served = Some(serve_at(&home, "127.0.0.1:0"));
        let address = served.as_ref().unwrap().address.clone();
        let cache = home.folder.path().join("hf");
        std::fs::create_dir(&cache).unwrap();
        let words = ["-c", UPLOAD, &format!("http://{address}"), &secret, cache.to_str().unwrap()];
        let mut client =
            Command::new(&python).args(words).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let began = Instant::now();
        let mut kill_when = |reached: &dyn Fn() -> bool| {
            while !reached() && client.try_wait().unwrap().is_none() {
                assert!(began.elapsed() < Duration::from_secs(300), "{label}");
                std::thread::sleep(Duration::from_millis(5));
            }
            // `Served` kills without a word of warning.
            drop(served.take());
            served = Some(serve_at(&home, &address));
        };
        for place in places() {
            // Chunks of 4 MiB, in parts or xorbs.
            kill_when(&|| files(&home.path().join("blobs")).len() as u64 * (4 << 20) >= place);
        }
        for place in places() {
            let length = |path: &std::path::PathBuf| std::fs::metadata(path).map_or(0, |told| told.len());
            let arrived = || files(&cache.join("hub")).iter().map(length).max().unwrap_or(0);
            kill_when(&|| !cache.join("long.raw").exists() && cache.join("hub").is_dir() && arrived() >= place);
        }
        let output = client.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{label} {said}");
        println!("{label} {said}");
        drop(served);
        let doctor = home.json(&["doctor", "--mend"]);
        assert!(doctor.as_array().unwrap().iter().all(|finding| finding["held"] == true), "{doctor}");
    }
}
