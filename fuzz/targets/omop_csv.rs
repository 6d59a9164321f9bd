//! A table of the model as CSV, with checks a site wrote.

#![no_main]

use std::collections::BTreeSet;

use acequia_cleanse::{Folder, Repair, Settings, default_checks, parse_checks};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&[u8], &[u8], &str)| {
    let (measurement, person, checks) = input;
    let folder = std::env::temp_dir().join(format!("acequia-fuzz-{}", std::process::id()));
    let _ = std::fs::create_dir_all(&folder);
    let _ = std::fs::write(folder.join("measurement.csv"), measurement);
    let _ = std::fs::write(folder.join("person.csv"), person);
    let Ok(open) = Folder::open(&folder) else { return };
    let own = parse_checks("a.toml", checks).unwrap_or_default();
    let checks: Vec<_> = default_checks().iter().cloned().chain(own).collect();
    let _ = open.check(&checks, Settings::as_of(Default::default()));
    let all: BTreeSet<Repair> = Repair::ALL.into();
    let _ = open.repair(&checks, &all, Default::default(), &folder.join("out"));
});
