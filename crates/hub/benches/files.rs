//! What handing out files costs: `cargo bench -p acequia-hub --bench files`
//!
//! A process serves a version with a file of 4 KiB and one of 64 MiB from a folder of blobs; four connections that stay open ask for
//! the small one, and for ranges of 1 MiB at random places of the large one. Printed are microseconds of CPU time for a request, all
//! of the serving process's threads together, and the same of nginx with one worker beside it where it is installed. The goals: 60 µs
//! and 1,000 µs.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::Range;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use acequia_blobs::BlobStore;
use acequia_gate::{Artefact, Manifest, ReleasedFile};
use acequia_hub::{Catalogue, HubError, Shelf, router};
use acequia_types::{DatasetName, Digest, parse_day};
use bytes::Bytes;

#[path = "../tests/sample/mod.rs"]
#[allow(dead_code, reason = "the tests show more of it")]
mod sample;

const SMALL_BYTES: usize = 4 << 10;
const LARGE_BYTES: usize = 64 << 20;
const RANGE_BYTES: usize = 1 << 20;
const CONNECTIONS: u64 = 4;
/// Linux counts CPU time in hundredths of a second on every platform that Rust runs on.
const TICKS_PER_S: f64 = 100.0;
const SERVE: &str = "ACEQUIA_BENCH_SERVE";

/// As a node does it: a shelf, and blobs in a folder.
struct Disk(Arc<Shelf>, BlobStore);

impl Catalogue for Disk {
    fn shelf(&self) -> Arc<Shelf> {
        Arc::clone(&self.0)
    }

    fn read(&self, sha256: &Digest, range: Range<u64>) -> Result<Bytes, HubError> {
        self.1.read_range(sha256, range).map_err(|_| HubError::Missing { sha256: *sha256 })
    }
}

fn content(len: usize) -> Vec<u8> {
    let mut dice = sample::Dice::new(1);
    (0..len / 8).flat_map(|_| dice.next().to_le_bytes()).collect()
}

fn files() -> BTreeMap<String, Vec<u8>> {
    [("small.bin".to_owned(), content(SMALL_BYTES)), ("large.bin".to_owned(), content(LARGE_BYTES))].into()
}

/// Serves what lies in the folder, for ever.
fn serve(folder: &Path, port: u16) {
    let manifest = Manifest {
        schema: "acequia-release/1".into(),
        artefact: Artefact::Dataset,
        dataset: DatasetName::parse("acequia/bench").expect("a name"),
        version: "1.0.0".into(),
        title: "Two files".into(),
        summary: "Two files.".into(),
        license: "CC0-1.0".into(),
        terms: Default::default(),
        released_on: parse_day("2026-11-20").expect("a day"),
        program: "acequia".into(),
        recipe: Digest::of(b"recipe"),
        seed: 1,
        inputs: Vec::new(),
        splits: Vec::new(),
        files: files().iter().map(|(path, bytes)| ReleasedFile::of(path, bytes)).collect(),
    };
    let shelf = Shelf::of([Arc::new(sample::sealed(&manifest, 1_795_300_000))]).expect("a shelf");
    let blobs = BlobStore::open(folder).expect("blobs");
    let app = router(Arc::new(Disk(Arc::new(shelf), blobs)));
    tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("threads").block_on(async {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.expect("a port");
        axum::serve(listener, app).await.expect("served");
    });
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("its number").port()
}

/// CPU seconds of a process and those that it began.
fn cpu_s(pid: u32) -> f64 {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let all = children.split_whitespace().map(str::to_owned).chain([pid.to_string()]);
    let ticks = all.filter_map(|pid| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        Some(fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?)
    });
    ticks.sum::<f64>() / TICKS_PER_S
}

/// Asks so often over one connection, and reads every byte. `range` says whether parts are asked for.
fn ask(port: u16, path: &str, times: u64, range: bool, seed: u64) {
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
    stream.set_nodelay(true).expect("no delay");
    let mut reader = BufReader::with_capacity(256 << 10, stream.try_clone().expect("both ways"));
    let mut writer = stream;
    let mut dice = sample::Dice::new(seed);
    let mut body = vec![0; RANGE_BYTES];
    for _ in 0..times {
        let part = match range {
            true => {
                let first = dice.below((LARGE_BYTES - RANGE_BYTES) as u64);
                format!("Range: bytes={first}-{}\r\n", first + RANGE_BYTES as u64 - 1)
            }
            false => String::new(),
        };
        write!(writer, "GET {path} HTTP/1.1\r\nHost: localhost\r\n{part}\r\n").expect("asked");
        let (mut line, mut length) = (String::new(), 0);
        loop {
            line.clear();
            reader.read_line(&mut line).expect("a line");
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().expect("a length");
            }
            if line.starts_with("HTTP") {
                assert!(line.contains(if range { " 206" } else { " 200" }), "{line}");
            }
            if line == "\r\n" {
                break;
            }
        }
        assert_eq!(length, if range { RANGE_BYTES } else { SMALL_BYTES });
        reader.read_exact(&mut body[..length]).expect("the body");
    }
}

/// Microseconds of CPU time for a request.
fn measured(server: u32, port: u16, path: &str, requests: u64, range: bool) -> f64 {
    let round = |each: u64| {
        std::thread::scope(|scope| {
            for seed in 0..CONNECTIONS {
                scope.spawn(move || ask(port, path, each, range, seed));
            }
        });
    };
    round(requests / CONNECTIONS / 20);
    let before = cpu_s(server);
    round(requests / CONNECTIONS);
    (cpu_s(server) - before) * 1e6 / requests as f64
}

fn wait_for(port: u16) {
    let until = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < until, "the server does not listen");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn nginx(folder: &Path, port: u16) -> Option<Child> {
    let at = folder.display();
    let paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(|of| format!("{of}_temp_path {at}/{of};"));
    let settings = format!(
        "worker_processes 1; daemon off; pid {at}/pid; error_log {at}/error.log; events {{}}\n\
         http {{ access_log off; sendfile on; keepalive_requests 1000000; {}\n\
         server {{ listen 127.0.0.1:{port}; root {at}; }} }}",
        paths.join(" ")
    );
    std::fs::write(folder.join("nginx.conf"), settings).expect("settings");
    // As root the worker would be somebody who cannot read the folder.
    let mut nginx = Command::new("nginx");
    nginx.arg("-p").arg(folder).arg("-c").arg(folder.join("nginx.conf")).args(["-g", "user root;"]);
    nginx.stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()
}

fn main() {
    if let Ok(given) = std::env::var(SERVE) {
        let (port, folder) = given.split_once(' ').expect("a port and a folder");
        return serve(Path::new(folder), port.parse().expect("a port"));
    }
    let folder = tempfile::tempdir().expect("a folder");
    let blobs = folder.path().join("blobs");
    let store = BlobStore::open(&blobs).expect("blobs");
    for (path, bytes) in files() {
        store.put(&bytes).expect("put");
        std::fs::write(folder.path().join(path), bytes).expect("written");
    }
    drop(store);
    let (own_port, nginx_port) = (free_port(), free_port());
    let own = std::env::current_exe().expect("this program");
    let mut hub = Command::new(own)
        .env(SERVE, format!("{own_port} {}", blobs.display()))
        .stdout(Stdio::null())
        .spawn()
        .expect("started");
    wait_for(own_port);
    let mut other = nginx(folder.path(), nginx_port);
    if other.is_some() {
        wait_for(nginx_port);
    } else {
        println!("skipped: nginx is not installed, so nothing is measured beside the hub");
    }
    let base = "/datasets/acequia/bench/resolve/v1.0.0";
    for (what, file, requests, range, goal_us) in
        [("4 KiB file", "small.bin", 40_000, false, 60.0), ("1 MiB range of 64 MiB", "large.bin", 4_000, true, 1_000.0)]
    {
        for _ in 0..3 {
            let ours = measured(hub.id(), own_port, &format!("{base}/{file}"), requests, range);
            let theirs =
                other.as_ref().map(|nginx| measured(nginx.id(), nginx_port, &format!("/{file}"), requests, range));
            let beside =
                theirs.map_or(String::new(), |theirs| format!("; nginx {theirs:.0} µs, ratio {:.2}", ours / theirs));
            let missed = if ours > goal_us { "; MISS" } else { "" };
            println!("{what}: {ours:.0} µs of CPU time a request (goal {goal_us:.0}){beside}{missed}");
        }
    }
    let _ = hub.kill();
    let _ = hub.wait();
    if let Some(nginx) = &mut other {
        let _ = Command::new("kill").arg(nginx.id().to_string()).status();
        let _ = nginx.wait();
    }
}
