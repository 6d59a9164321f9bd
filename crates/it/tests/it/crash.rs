//! kill -9: at every place the program names, and at random instants.

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::{DATASET, Home};

const FAILPOINTS: [&str; 12] = [
    "donate.sealed",
    "donate.recorded",
    "unify.before-commit",
    "unify.after-commit",
    "cleanse.before-commit",
    "cleanse.after-commit",
    "cohort.before-commit",
    "cohort.after-commit",
    "deidentify.done",
    "release.made",
    "release.stored",
    "release.published",
];

#[test]
fn the_kill_test_knows_every_failpoint() {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../node/src/failpoint.rs");
    let source = std::fs::read_to_string(source).unwrap();
    let listed = source.split("FAILPOINTS").nth(1).unwrap().split("];").next().unwrap();
    let named: Vec<&str> = listed.split('"').skip(1).step_by(2).collect();
    assert_eq!(named, FAILPOINTS);
}

pub(crate) const DEMO: [&str; 4] = ["demo", "--no-serve", "--json", "--quiet"];

/// Never a half-published version: what is listed verifies, byte by byte.
#[track_caller]
pub(crate) fn check(home: &Home, undisturbed: &Value) {
    if !home.path().join("node.json").exists() {
        return;
    }
    let listed = home.json(&["release", "list"]);
    for version in listed.as_array().unwrap() {
        assert_eq!(version["manifest"], *undisturbed);
        home.json(&["verify", DATASET]);
    }
}

/// Kills the demo at every step, and publishes what was to be published all the same.
#[track_caller]
pub(crate) fn outlives_every_step(home: &Home, undisturbed: &Value) {
    for failpoint in FAILPOINTS {
        kill_at(home, &DEMO, failpoint);
        check(home, undisturbed);
    }
    let manifest = || home.json(&["demo", "--no-serve"])["run"]["manifest"].clone();
    assert_eq!(manifest(), *undisturbed);
    assert!(home.run(&["doctor", "--mend"]).status.success());
    assert_eq!(manifest(), *undisturbed, "mending removes nothing that counts");
}

/// What the demo publishes when nobody disturbs it, and how long that takes.
fn undisturbed() -> (Value, Duration) {
    let started = Instant::now();
    let manifest = Home::new().json(&["demo", "--no-serve"])["run"]["manifest"].clone();
    (manifest, started.elapsed())
}

/// Runs a command until it comes to a place, and sends it SIGKILL there.
#[track_caller]
pub(crate) fn kill_at(home: &Home, words: &[&str], failpoint: &str) {
    let mut command = home.command(words);
    command.env("ACEQUIA_FAILPOINT", failpoint).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let said = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
    let name = failpoint.split('#').next().unwrap_or_default();
    let reached = { said }.any(|line| line == format!("failpoint {name}"));
    assert!(reached, "{failpoint} was not reached");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn killing_at_every_step_loses_nothing() {
    let (undisturbed, _) = undisturbed();
    for _ in 0..3 {
        let home = Home::new();
        outlives_every_step(&home, &undisturbed);
    }
}

#[test]
fn killing_at_random_loses_nothing() {
    let (undisturbed, whole) = undisturbed();
    let (mut kills, mut finished) = (0, 0);
    // A small generator is enough to spread the instants; it need not be good.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut home = Home::new();
    while kills < 74 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let share = (state >> 40) as f64 / (1_u64 << 24) as f64;
        let instant = Duration::from_millis(5) + whole.mul_f64(share * 0.6);
        let mut child = home.command(&DEMO).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(instant);
        if child.try_wait().unwrap().is_none() {
            child.kill().unwrap();
            kills += 1;
        }
        child.wait().unwrap();
        check(&home, &undisturbed);
        if home.path().join("node.json").exists() && !home.json(&["release", "list"]).as_array().unwrap().is_empty() {
            assert_eq!(home.json(&["demo", "--no-serve"])["run"]["manifest"], undisturbed);
            assert!(home.run(&["doctor"]).status.success());
            finished += 1;
            home = Home::new();
        }
    }
    println!("{kills} kills, {finished} nodes came to the end in spite of them");
}

#[test]
fn two_commands_at_once_do_not_mix() {
    let home = Home::new();
    home.json(&["init"]);
    let mut first = home
        .command(&DEMO)
        .env("ACEQUIA_FAILPOINT", "donate.sealed")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let reader = BufReader::new(first.stderr.take().unwrap());
    assert!(reader.lines().map_while(Result::ok).any(|line| line.starts_with("failpoint")));
    home.refused(&["demo", "--no-serve"], 75, "NO003");
    first.kill().unwrap();
    first.wait().unwrap();
    home.json(&["demo", "--no-serve"]);
}
