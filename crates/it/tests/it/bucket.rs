//! A node whose blobs lie in a bucket, on a real S3 server: it does what a node with a folder does, and nothing is lost or half
//! published when the server or the program dies.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::crash::{DEMO, kill_at, outlives_every_step};
use crate::leak::{Scan, Served};
use crate::manual::root;
use crate::server::{BUCKET, KEY, SECRET, Server};
use crate::{DATASET, Home, files};

/// A node that is to keep its blobs under a prefix; nothing of it is there yet.
fn home_at(server: &Server, url: &str) -> Home {
    let mut home = Home::new();
    home.environment = server.environment();
    name_place(&home, Some(url));
    home
}

fn home_in(server: &Server, prefix: &str) -> Home {
    home_at(server, &format!("s3://{BUCKET}/{prefix}"))
}

fn name_place(home: &Home, url: Option<&str>) {
    std::fs::create_dir_all(home.path()).unwrap();
    let text = url.map(|url| format!("[blobs]\nurl = \"{url}\"\n")).unwrap_or_default();
    std::fs::write(home.path().join("settings.toml"), text).unwrap();
}

fn manifest(home: &Home) -> Value {
    home.json(&["demo", "--no-serve"])["run"]["manifest"].clone()
}

/// Files of the published version.
fn released(home: &Home) -> Vec<Value> {
    let copy = home.folder.path().join("released");
    home.json(&["release", "export", DATASET, "--to", copy.to_str().unwrap()]);
    let manifest: Value = serde_json::from_slice(&std::fs::read(copy.join("manifest.json")).unwrap()).unwrap();
    manifest["files"].as_array().unwrap().clone()
}

fn objects(server: &Server, prefix: &str) -> Vec<std::path::PathBuf> {
    let all = files(&server.object(prefix));
    all.into_iter().filter(|path| path.file_name().is_some_and(|name| name.len() == 64)).collect()
}

/// Head (without what tells the time and the server, and without passes, which are new each time) and body of an answer.
fn ask(served: &Served, verb: &str, path: &str, range: Option<&str>) -> (BTreeMap<String, String>, Vec<u8>) {
    let mut stream = TcpStream::connect(&served.address).unwrap();
    let range = range.map(|range| format!("Range: {range}\r\n")).unwrap_or_default();
    write!(stream, "{verb} {path} HTTP/1.1\r\nHost: data.example.org\r\n{range}Connection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    let mut lines = head.lines();
    let mut head = BTreeMap::from([(String::new(), lines.next().unwrap_or_default().to_owned())]);
    head.extend(
        lines.filter_map(|line| line.split_once(": ")).map(|(name, value)| (name.to_lowercase(), value.to_owned())),
    );
    for own in ["date", "last-modified", "x-xet-access-token", "x-xet-token-expiration"] {
        head.remove(own);
    }
    (head, answer[end + 4..].to_vec())
}

#[test]
fn a_node_in_a_bucket_publishes_and_serves_the_same() {
    let Some(server) = Server::or_skip("a node with its blobs in a bucket") else { return };
    let (folder, bucket) = (Home::new(), home_in(&server, "node"));
    assert_eq!(manifest(&folder), manifest(&bucket));
    assert!(!bucket.path().join("blobs").exists());
    assert!(bucket.path().join("keys/root.key").exists() && bucket.path().join("keys/keys.sqlite").exists());
    bucket.json(&["verify", DATASET]);
    let found = bucket.json(&["doctor"]);
    assert!(found.as_array().unwrap().iter().all(|finding| finding["held"] == true), "{found}");

    // Whoever has the bucket learns no identifier, and finds no key.
    let mut scan = Scan::new();
    let all = objects(&server, "node");
    assert!(all.len() > 300);
    for path in all {
        scan.search("an object of the bucket", &std::fs::read(path).unwrap());
    }

    let both = [&folder, &bucket].map(Served::start);
    let mut compared = 0;
    let mut same = |verb: &str, path: &str, range: Option<&str>| {
        let [here, there] = both.each_ref().map(|served| ask(served, verb, path, range));
        assert_eq!(here.0, there.0, "{verb} {path} {range:?}");
        assert!(here.1 == there.1, "{verb} {path} {range:?}");
        compared += 1;
        here
    };
    for file in released(&bucket) {
        let path = format!("/datasets/{DATASET}/resolve/v1.0.0/{}", file["path"].as_str().unwrap());
        let (head, body) = same("GET", &path, None);
        assert!(head[""].contains(" 200 "), "{path}: {head:?}");
        assert_eq!(body.len() as u64, file["bytes"].as_u64().unwrap());
        let (head, none) = same("HEAD", &path, None);
        assert!(none.is_empty() && head["content-length"] == body.len().to_string());
        let (head, part) = same("GET", &path, Some("bytes=10-99"));
        assert!(head[""].contains(" 206 ") && part == body[10..100], "{path}: {head:?}");
        let (_, last) = same("GET", &path, Some("bytes=-7"));
        assert!(last == body[body.len() - 7..]);
        let (head, _) = same("GET", &path, Some(&format!("bytes={}-", body.len())));
        assert!(head[""].contains(" 416 "), "{head:?}");
    }
    same("GET", &format!("/datasets/{DATASET}/resolve/v1.0.0/bundle.tar"), None);
    assert!(compared > 40, "{compared}");
    drop(both);

    // Neither what is logged at any depth nor what is printed holds what opens the bucket.
    let log = std::fs::read_to_string(bucket.folder.path().join("serve.log")).unwrap();
    let traced = bucket.command(&["doctor"]).env("ACEQUIA_LOG", "trace").output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&traced.stdout), String::from_utf8_lossy(&traced.stderr));
    assert!(stderr.len() > 1000);
    for (what, text) in [("the log", log.as_str()), ("stdout", &stdout), ("stderr", &stderr)] {
        for secret in [SECRET, KEY, "Signature="] {
            assert!(!text.contains(secret), "{secret} is in {what}");
        }
    }
}

#[test]
fn killing_the_program_at_every_step_loses_nothing_in_a_bucket() {
    let Some(server) = Server::or_skip("killing a node with its blobs in a bucket") else { return };
    let undisturbed = manifest(&Home::new());
    let home = home_in(&server, "killed");
    outlives_every_step(&home, &undisturbed);
    assert_eq!(server.open_uploads(), 0);
}

#[test]
fn a_server_that_dies_in_the_middle_loses_nothing_and_publishes_nothing_by_half() {
    let Some(mut server) = Server::or_skip("an S3 server that dies in the middle") else { return };
    let before = server.relay().to_server();
    let undisturbed = manifest(&home_in(&server, "undisturbed"));
    let whole = server.relay().to_server() - before;
    for share in [5, 60, 95, 99] {
        let home = home_in(&server, &format!("cut-{share}"));
        let (from, enough) = (server.relay().to_server(), whole * share / 100);
        let mut child = home.command(&DEMO).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        while server.relay().to_server() - from < enough && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        server.kill();
        let output = child.wait_with_output().unwrap();
        let said: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        assert_eq!(
            (output.status.code(), said["error"]["code"].as_str()),
            (Some(75), Some("BL009")),
            "{share}: {said}"
        );
        // Records need no bucket: nothing is published, or everything.
        if home.path().join("node.json").exists() {
            assert_eq!(home.json(&["release", "list"]), Value::Array(Vec::new()), "{share}");
        }
        server.restart();
        assert_eq!(manifest(&home), undisturbed, "{share}");
        home.json(&["verify", DATASET]);
        assert!(home.run(&["doctor", "--mend"]).status.success(), "{share}");
    }
    assert_eq!(server.open_uploads(), 0);
}

#[test]
fn a_serving_node_outlives_its_server() {
    let Some(mut server) = Server::or_skip("serving while the S3 server dies") else { return };
    let home = home_in(&server, "served");
    manifest(&home);
    let files = released(&home);
    let path = |at: usize| format!("/datasets/{DATASET}/resolve/main/{}", files[at]["path"].as_str().unwrap());
    let served = Served::start(&home);
    server.kill();
    let answer = ask(&served, "GET", &path(0), None);
    assert!(answer.0[""].contains(" 503 "), "{:?}", answer.0);
    // What lies in no bucket is served meanwhile.
    assert!(served.get("/").starts_with(b"HTTP/1.1 200"));
    assert!(ask(&served, "HEAD", &path(0), None).0[""].contains(" 200 "));
    // One that begins meanwhile serves what it has, and the rest as soon as it can be had.
    let late = Served::of(home.command(&["serve", "--address", "127.0.0.1:0"]), &home.folder.path().join("late.log"));
    assert!(late.get("/").starts_with(b"HTTP/1.1 200"));
    server.restart();
    let began = Instant::now();
    while !late.get(&path(0)).starts_with(b"HTTP/1.1 200") {
        assert!(began.elapsed() < Duration::from_secs(60), "it never takes up what it left out");
        std::thread::sleep(Duration::from_millis(200));
    }
    for (at, file) in files.iter().enumerate() {
        let (head, body) = ask(&served, "GET", &path(at), None);
        assert!(head[""].contains(" 200 "), "{head:?}");
        assert_eq!(body.len() as u64, file["bytes"].as_u64().unwrap());
    }
}

#[test]
fn what_is_wrong_with_a_bucket_is_told_with_how_to_fix_it() {
    let Some(server) = Server::or_skip("faults of a bucket") else { return };
    // Before anything is donated.
    let mut home = home_in(&server, "faults");
    let right = home.environment.clone();
    let set = |home: &mut Home, name: &str, value: &str| {
        home.environment.retain(|(known, _)| known != name);
        home.environment.push((name.to_owned(), value.to_owned()));
    };
    set(&mut home, "AWS_SECRET_ACCESS_KEY", "wrong");
    let said = home.refused(&["init"], 4, "BL010");
    assert!(String::from_utf8_lossy(&said.stderr).contains("AWS_SECRET_ACCESS_KEY"), "{said:?}");
    home.environment = right.clone();
    home_at(&server, "s3://no-such-bucket/node").refused(&["init"], 3, "BL011");
    home_at(&server, "s3://key:secret@blobs/node").refused(&["init"], 2, "BL008");
    let mut nobody = home_in(&server, "nobody");
    set(&mut nobody, "AWS_ENDPOINT", "http://127.0.0.1:1");
    nobody.refused(&["init"], 75, "BL009");
    set(&mut nobody, "AWS_ALLOW_HTTP", "false");
    nobody.refused(&["init"], 75, "BL009");

    // Afterwards.
    let published = manifest(&home);
    set(&mut home, "AWS_SECRET_ACCESS_KEY", "wrong");
    let found = home.run(&["doctor", "--json"]);
    let findings: Value = serde_json::from_slice(&found.stdout).unwrap();
    let place = findings.as_array().unwrap().iter().find(|finding| finding["name"] == "blob store").unwrap();
    let detail = place["detail"].as_str().unwrap();
    assert_eq!((found.status.code(), &place["held"]), (Some(6), &Value::Bool(false)));
    assert!(
        detail.contains("cannot be written") && detail.contains("BL010") && detail.contains("set AWS_"),
        "{detail}"
    );
    home.refused(&["verify", DATASET], 4, "BL010");
    home.environment = right;

    // A published file and a sealed original that somebody wrote over.
    let file = released(&home).into_iter().find(|file| file["path"] == "README.md").unwrap();
    let digest = file["sha256"].as_str().unwrap().to_owned();
    let object = server.object(&format!("faults/{}/{digest}", &digest[..2]));
    let kept = std::fs::read(&object).unwrap();
    let mut damaged = kept.clone();
    damaged[0] ^= 1;
    std::fs::write(&object, damaged).unwrap();
    home.refused(&["verify", DATASET], 6, "NO010");
    assert_eq!(home.run(&["doctor"]).status.code(), Some(6));
    let served = Served::start(&home);
    let (head, body) = ask(&served, "GET", &format!("/datasets/{DATASET}/resolve/main/README.md"), None);
    assert!(!head[""].contains(" 200 ") || body.len() < kept.len(), "a damaged file never arrives complete");
    drop(served);
    std::fs::write(&object, kept).unwrap();
    home.json(&["verify", DATASET]);

    // Another node under the same prefix changes nothing.
    home_in(&server, "faults").refused(&["init"], 4, "BL013");
    assert!(home.run(&["doctor", "--mend"]).status.success());
    assert_eq!(manifest(&home), published);
}

#[test]
fn blobs_move_to_a_bucket_and_back_as_the_guide_says() {
    let Some(server) = Server::or_skip("moving blobs") else { return };
    let guide = std::fs::read_to_string(root().join("docs/trustee.md")).unwrap();
    let line =
        guide.lines().find(|line| line.starts_with("acequia blobs copy --to s3://")).expect("a line of the guide");
    let url = line.rsplit(' ').next().unwrap();
    assert!(guide.contains(&format!("url = \"{url}\"")));

    let mut home = Home::new();
    home.environment = server.environment();
    let published = manifest(&home);
    let count = home.json(&["blobs", "copy", "--to", home.folder.path().join("copy").to_str().unwrap()]);
    let blobs = count["blobs"].as_u64().unwrap();
    assert!(blobs > 300 && count["copied"] == blobs, "{count}");
    home.refused(&["blobs", "copy", "--to", home.path().join("blobs").to_str().unwrap()], 2, "NO021");

    // Killed in the middle, it goes on; counts add up.
    let words = ["blobs", "copy", "--to", url];
    kill_at(&home, &words, "blobs.copied#40");
    let there = objects(&server, url.strip_prefix(&format!("s3://{BUCKET}/")).unwrap());
    assert!(there.len() >= 40 && (there.len() as u64) < blobs, "{}", there.len());
    let report = home.json(&words);
    let number = |name: &str| report[name].as_u64().unwrap();
    assert_eq!(number("copied") + number("present") + number("mended"), blobs);
    assert!(
        number("present") >= 40 && number("copied") > 0 && report["damaged"] == Value::Array(Vec::new()),
        "{report}"
    );
    assert_eq!(home.json(&words)["present"], blobs);

    // The node uses the bucket, and needs the folder no more.
    name_place(&home, Some(url));
    std::fs::remove_dir_all(home.path().join("blobs")).unwrap();
    assert!(home.run(&["doctor"]).status.success());
    home.json(&["verify", DATASET]);
    assert_eq!(manifest(&home), published);

    // Back again, with a damaged one: it is told, and the others come.
    let victim = objects(&server, "my-node").into_iter().next().unwrap();
    let kept = std::fs::read(&victim).unwrap();
    let mut other = kept.clone();
    other[0] ^= 1;
    std::fs::write(&victim, other).unwrap();
    let back = home.path().join("blobs");
    let output = home.run(&["blobs", "copy", "--json", "--to", back.to_str().unwrap()]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let name = victim.file_name().unwrap().to_str().unwrap();
    assert_eq!((output.status.code(), &report["damaged"]), (Some(6), &serde_json::json!([name])));
    std::fs::write(&victim, kept).unwrap();
    let report = home.json(&["blobs", "copy", "--to", back.to_str().unwrap()]);
    assert_eq!(
        (&report["copied"], report["present"].as_u64()),
        (&1.into(), report["blobs"].as_u64().map(|all| all - 1))
    );
    name_place(&home, None);
    home.environment.clear();
    assert!(home.run(&["doctor"]).status.success());
    assert_eq!(manifest(&home), published);
}

#[test]
fn an_erasure_waits_for_the_bucket_and_then_removes_what_it_should() {
    let Some(server) = Server::or_skip("an erasure with blobs in a bucket") else { return };
    let home = home_in(&server, "erasure");
    home.json(&["init"]);
    let record = home.folder.path().join("record.json");
    let patient = r#"{"resourceType":"Patient","id":"p","gender":"female","birthDate":"1961-04-05"}"#;
    let entry = format!(r#"[{{"fullUrl":"urn:uuid:p","resource":{patient}}}]"#);
    let bundle = format!(r#"{{"resourceType":"Bundle","type":"collection","entry":{entry}}}"#);
    std::fs::write(&record, bundle).unwrap();
    let consent = r#"{"donor":"d-1","events":[{"at":"2026-03-01T00:00:00Z","event":"give","purposes":["research"]}]}"#;
    std::fs::write(home.folder.path().join("record.consent.json"), consent).unwrap();
    home.json(&["donate", record.to_str().unwrap()]);
    assert_eq!(objects(&server, "erasure").len(), 1);
    home.json(&["rights", "open", "d-1", "erasure"]);
    home.json(&["rights", "identify", "1", "--by", "anna"]);
    home.json(&["rights", "approve", "1", "--by", "anna"]);
    home.json(&["rights", "approve", "1", "--by", "bert"]);
    home.json(&["rights", "waive", "1"]);
    server.relay().cut();
    home.refused(&["rights", "execute", "1"], 75, "BL009");
    server.relay().mend();
    home.json(&["rights", "execute", "1"]);
    assert_eq!(objects(&server, "erasure").len(), 0);
    let certificate = home.json(&["rights", "certificate", "1"]);
    let stores = certificate["stores"].as_array().unwrap();
    let originals = stores.iter().find(|store| store["store"] == "originals").unwrap();
    assert_eq!((&originals["sealed objects"], &originals["removed"]), (&1.into(), &1.into()));
}
