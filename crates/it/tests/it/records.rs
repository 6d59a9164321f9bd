//! A node whose records lie on a PostgreSQL server: it does what a node with a file does, and nothing is lost or half published when
//! the server or the program dies.

use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::crash::{DEMO, check, outlives_every_step};
use crate::leak::Served;
use crate::postgres::Server;
use crate::withdrawal::twenty_leave;
use crate::{DATASET, Home, another_version};

/// A node that is to keep its records in a database of its own.
fn home_on(server: &Server, database: &str) -> Home {
    let home = Home::new();
    std::fs::create_dir_all(home.path()).unwrap();
    let url = server.database(database);
    std::fs::write(home.path().join("settings.toml"), format!("[store]\nurl = \"{url}\"\n")).unwrap();
    home
}

fn manifest(home: &Home) -> Value {
    home.json(&["demo", "--no-serve"])["run"]["manifest"].clone()
}

/// Body of a page.
fn body(served: &Served, path: &str) -> Vec<u8> {
    let answer = served.get(path);
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{path}");
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
    answer[end + 4..].to_vec()
}

#[test]
fn a_node_on_postgres_publishes_serves_and_takes_down_the_same() {
    let Some(mut server) = Server::start() else { return };
    let homes = [Home::new(), home_on(&server, "node")];
    let [on_file, on_server] = homes.each_ref().map(manifest);
    assert_eq!(on_file, on_server);
    assert!(homes[0].path().join("records.sqlite").exists() && !homes[1].path().join("records.sqlite").exists());
    homes[1].json(&["verify", DATASET]);
    assert!(homes[1].run(&["doctor"]).status.success());

    // Pages are the same, and stay while the server is gone.
    let paths = [
        format!("/datasets/{DATASET}/resolve/v1.0.0/README.md"),
        format!("/datasets/{DATASET}/v/1.0.0/croissant.jsonld"),
        format!("/datasets/{DATASET}/v/1.0.0/datacite.json"),
    ];
    let served = homes.each_ref().map(Served::start);
    let [here, there] = served.each_ref().map(|served| paths.each_ref().map(|path| body(served, path)));
    // The address of the node stands in its descriptions.
    let plain = |bytes: &[u8], at: usize| String::from_utf8_lossy(bytes).replace(&served[at].address, "node");
    for (path, (here, there)) in paths.iter().zip(here.iter().zip(&there)) {
        assert_eq!(plain(here, 0), plain(there, 1), "{path}");
    }
    server.stop();
    assert_eq!(paths.each_ref().map(|path| body(&served[1], path)), there);
    homes[1].refused(&["release", "list"], 1, "ST001");
    server.begin();
    drop(served);

    // A withdrawal reaches what is published, whatever the records lie on.
    for home in &homes {
        twenty_leave(home);
        another_version(home);
    }
    let listed = homes.each_ref().map(|home| {
        let versions = home.json(&["release", "list"]);
        let told = |one: &Value| ["version", "manifest", "taken_down", "successor"].map(|name| one[name].clone());
        versions.as_array().unwrap().iter().map(told).collect::<Vec<_>>()
    });
    assert_eq!(listed[0], listed[1]);
    assert_eq!((listed[0].len(), &listed[0][0][2]), (2, &"withdrawal".into()));
}

#[test]
fn killing_the_program_at_every_step_loses_nothing_on_postgres() {
    let Some(server) = Server::start() else { return };
    let undisturbed = manifest(&Home::new());
    let home = home_on(&server, "killed");
    outlives_every_step(&home, &undisturbed);
}

#[test]
fn a_server_that_dies_in_the_middle_publishes_nothing_by_half() {
    let Some(mut server) = Server::start() else { return };
    let began = Instant::now();
    let undisturbed = manifest(&home_on(&server, "undisturbed"));
    let whole = began.elapsed();
    let mut broken = 0;
    for (database, share) in [("early", 0.1), ("middle", 0.4), ("late", 0.8)] {
        let home = home_on(&server, database);
        let mut child = home.command(&DEMO).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(whole.mul_f64(share).max(Duration::from_millis(20)));
        server.stop();
        let ended = child.wait().unwrap();
        broken += u32::from(!ended.success());
        server.begin();
        check(&home, &undisturbed);
        assert_eq!(manifest(&home), undisturbed, "{database}: {ended}");
        home.json(&["verify", DATASET]);
    }
    assert!(broken > 0, "no run was under way when the server died");
}
