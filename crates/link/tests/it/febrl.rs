//! The FEBRL sets, with and without their strongest identifier. True links are used to count only.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use acequia_link::{Config, Key, Table, dedupe, encode, link, link_encoded};

/// The folder with reference data, beside a checkout of the project; not part of it.
fn shared() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/ehr/febrl");
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("skipped: the FEBRL sets are not here (../shared)");
    None
}

fn config(tables: &[&Table], ssn: bool) -> Config {
    let mut config = Config::guess(tables).unwrap();
    assert_eq!(config.id.as_deref(), Some("rec_id"));
    assert_eq!(config.column.len(), 10);
    if !ssn {
        config.column.retain(|column| column.name != "soc_sec_id");
    }
    config
}

fn people(table: &Table) -> Vec<&str> {
    (0..table.len()).map(|row| table.field(row, "rec_id").unwrap().split('-').nth(1).unwrap()).collect()
}

fn f1(a: &Table, b: &Table, links: &BTreeSet<(u32, u32)>) -> f64 {
    let within = std::ptr::eq(a, b);
    let (left, right) = (people(a), people(b));
    let mut truth = BTreeSet::new();
    for (row, person) in left.iter().enumerate() {
        for (other, that) in right.iter().enumerate() {
            if person == that && (!within || row < other) {
                truth.insert((row as u32, other as u32));
            }
        }
    }
    2.0 * links.intersection(&truth).count() as f64 / (links.len() + truth.len()) as f64
}

fn check_one(table: &Table, ssn: bool, least: f64) {
    let found = dedupe(table, &config(&[table], ssn), 2).unwrap();
    let f1 = f1(table, table, &found.links.iter().map(|link| (link.a, link.b)).collect());
    assert!(f1 >= least, "F1 {f1} below {least}, with SSN: {ssn}");
    assert!(found.summary.expected.precision > 0.99 && found.summary.expected.recall > 0.98);
}

#[test]
fn febrl3_is_searched() {
    let table = Table::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/febrl3.csv.gz")).unwrap();
    assert_eq!(table.len(), 5000);
    check_one(&table, true, 0.998);
    check_one(&table, false, 0.985);
}

#[test]
fn febrl1_is_searched() {
    let Some(folder) = shared() else { return };
    let table = Table::read(&folder.join("febrl1.csv.gz")).unwrap();
    check_one(&table, true, 0.998);
    check_one(&table, false, 0.985);
}

#[test]
fn febrl4_is_linked() {
    let Some(folder) = shared() else { return };
    let [a, b] = ["a", "b"].map(|side| Table::read(&folder.join(format!("febrl4{side}.csv.gz"))).unwrap());
    for (ssn, least) in [(true, 0.9998), (false, 0.998)] {
        let linked = link(&a, &b, &config(&[&a, &b], ssn), 2).unwrap();
        let f1 = f1(&a, &b, &linked.links.iter().map(|link| (link.a, link.b)).collect());
        assert!(f1 >= least, "F1 {f1} below {least}, with SSN: {ssn}");
    }
}

#[test]
fn febrl4_is_linked_privately_over_all_pairs() {
    let Some(folder) = shared() else { return };
    let [a, b] = ["a", "b"].map(|side| Table::read(&folder.join(format!("febrl4{side}.csv.gz"))).unwrap());
    let key = Key::parse("5f1c0b7e93d24a68810f36c2e9ab57d40c6b12f8a73e95d1480b6ce2379fa1d5").unwrap();
    for (hardening, least) in [("none", 0.998), ("fold", 0.99), ("balanced", 0.99)] {
        let mut config = config(&[&a, &b], false);
        config.clk =
            acequia_link::ClkConfig { hardening: serde_hardening(hardening), ..acequia_link::ClkConfig::default() };
        let (left, right) = (encode(&a, &config, &key).unwrap(), encode(&b, &config, &key).unwrap());
        let linked = link_encoded(&left, &right, 0.5, 2).unwrap();
        assert_eq!(linked.summary.pairs, 25_000_000);
        let f1 = f1(&a, &b, &linked.links.iter().map(|link| (link.a, link.b)).collect());
        assert!(f1 >= least, "{hardening}: F1 {f1} below {least}");
        if hardening == "none" {
            assert!((0.4..0.55).contains(&linked.summary.fill), "fill {}", linked.summary.fill);
        }
    }
}

fn serde_hardening(word: &str) -> acequia_link::Hardening {
    match word {
        "fold" => acequia_link::Hardening::Fold,
        "balanced" => acequia_link::Hardening::Balanced,
        _ => acequia_link::Hardening::None,
    }
}
