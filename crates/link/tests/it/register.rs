//! Clusters over time.

use std::collections::{BTreeMap, BTreeSet};

use acequia_link::{Config, Event, Key, Logged, Register};
use acequia_types::{Timestamp, parse_timestamp};

use crate::made::{Made, Random, one_file, table};

fn key() -> Key {
    Key::parse("5f1c0b7e93d24a68810f36c2e9ab57d40c6b12f8a73e95d1480b6ce2379fa1d5").unwrap()
}

fn at() -> Timestamp {
    parse_timestamp("2026-02-01T00:00:00Z").unwrap()
}

fn started(records: &[Made]) -> Register {
    let config = Config::guess(&[&table(records)]).unwrap();
    let mut register = Register::new(config, &key()).unwrap();
    register.add(&table(records), &key(), at(), 1).unwrap();
    register
}

/// Sets of record names.
fn partition(register: &Register) -> BTreeSet<BTreeSet<String>> {
    let mut sets: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for (record, cluster) in register.clusters() {
        sets.entry(cluster).or_default().insert(record.to_owned());
    }
    sets.into_values().collect()
}

#[test]
fn record_by_record_gives_the_partition_of_all_at_once() {
    let records = one_file(250, 41);
    let (first, rest) = records.split_at(records.len() * 2 / 3);
    let start = started(first);
    // The same model, but no records: all are judged at once.
    let mut whole = Register::parse(start.to_text().lines().next().unwrap()).unwrap();
    whole.add(&table(&records), &key(), at(), 1).unwrap();
    let mut parts = start.clone();
    for some in rest.chunks(17) {
        parts.add(&table(some), &key(), at(), 1).unwrap();
    }
    assert_eq!(partition(&parts), partition(&whole));
    let mut reversed = start;
    let mut turned = rest.to_vec();
    Random(9).shuffle(&mut turned);
    for some in turned.chunks(40) {
        reversed.add(&table(some), &key(), at(), 3).unwrap();
    }
    assert_eq!(partition(&reversed), partition(&whole));
}

#[test]
fn records_come_twice_without_effect_and_leave_without_trace() {
    let records = one_file(150, 43);
    let (first, rest) = records.split_at(records.len() - 40);
    let mut register = started(first);
    let before = partition(&register);
    let ids: BTreeMap<String, String> = register.clusters().map(|(a, b)| (a.to_owned(), b.to_owned())).collect();
    let text = register.to_text();
    let (change, logged) = register.add(&table(first), &key(), at(), 1).unwrap();
    assert_eq!((change.new, change.updated, change.unchanged, logged.len()), (0, 0, first.len() as u64, 0));
    assert_eq!(register.to_text(), text);
    let (change, logged) = register.add(&table(rest), &key(), at(), 1).unwrap();
    assert_eq!((change.new, change.records), (40, records.len() as u64));
    assert!(!logged.is_empty() && logged.iter().all(|entry| entry.batch == 2));
    let names = rest.iter().map(|made| made.fields[0].clone()).collect();
    let (change, _) = register.remove(&names, &key(), at(), 1).unwrap();
    assert_eq!((change.removed, change.records), (40, first.len() as u64));
    assert_eq!(partition(&register), before);
    // Clusters whose oldest record stayed have the id they had.
    let now: BTreeMap<String, String> = register.clusters().map(|(a, b)| (a.to_owned(), b.to_owned())).collect();
    let changed = ids.iter().filter(|(record, id)| now[*record] != **id).count();
    assert_eq!(changed, 0);
    assert!(!names.iter().any(|name| register.to_text().contains(&format!("\"{name}\""))));
}

#[test]
fn what_merges_and_splits_is_logged() {
    let mut records = one_file(200, 47);
    // Two records of one person that have nothing in common, until a third shares a half with each.
    let like = |name: &str, fields: [&str; 7]| Made {
        person: usize::MAX,
        fields: std::iter::once(name).chain(fields).map(str::to_owned).collect::<Vec<_>>().try_into().unwrap(),
    };
    records.push(like("x1", ["Quirinia", "Zwetkowski", "f", "1931-05-17", "", "", ""]));
    records.push(like("x2", ["", "", "f", "", "Umbrellaweg 77", "99871", "Xanthenburg"]));
    let bridge = like("x3", ["Quirinia", "Zwetkowski", "f", "1931-05-17", "Umbrellaweg 77", "99871", "Xanthenburg"]);
    let mut register = started(&records);
    let cluster = |register: &Register, name: &str| {
        register.clusters().find(|(record, _)| *record == name).map(|(_, cluster)| cluster.to_owned()).unwrap()
    };
    let (one, other) = (cluster(&register, "x1"), cluster(&register, "x2"));
    assert_ne!(one, other);
    let (_, logged) = register.add(&table(&[bridge]), &key(), at(), 1).unwrap();
    assert_eq!(cluster(&register, "x1"), cluster(&register, "x3"));
    let joined = |logged: &[Logged], id: &str| {
        logged.iter().any(|entry| matches!(&entry.event, Event::Joined { cluster, records: 1, .. } if cluster == id))
    };
    assert!(joined(&logged, &cluster(&register, "x3")), "{logged:?}");
    if cluster(&register, "x2") == one {
        assert!(logged.iter().any(
            |entry| matches!(&entry.event, Event::Merged { into, from, .. } if *into == one && *from == [other.clone()])
        ));
    }
    let names = BTreeSet::from(["x3".to_owned()]);
    let (_, logged) = register.remove(&names, &key(), at(), 1).unwrap();
    assert!(logged.iter().any(|entry| matches!(&entry.event, Event::Left { records: 1, .. })), "{logged:?}");
    assert_eq!(cluster(&register, "x1"), one);
    assert_ne!(cluster(&register, "x1"), cluster(&register, "x2"));
}

#[test]
fn another_key_is_refused_and_files_are_whole() {
    let records = one_file(40, 51);
    let mut register = started(&records);
    let other = Key::parse("6f1c0b7e93d24a68810f36c2e9ab57d40c6b12f8a73e95d1480b6ce2379fa1d5").unwrap();
    assert!(register.add(&table(&records), &other, at(), 1).is_err());
    let folder = tempfile::tempdir().unwrap();
    let (path, log) = (folder.path().join("people.register"), folder.path().join("people.log"));
    register.write(&path, &log, &[]).unwrap();
    let more: Vec<Made> = one_file(10, 52)
        .into_iter()
        .map(|mut made| {
            made.fields[0] = format!("more-{}", made.fields[0]);
            made
        })
        .collect();
    let mut read = Register::read(&path).unwrap();
    let (_, logged) = read.add(&table(&more), &key(), at(), 1).unwrap();
    read.write(&path, &log, &logged).unwrap();
    let once = std::fs::read_to_string(&log).unwrap();
    // The same change once more, as after a crash between log and register: the log does not grow.
    read.write(&path, &log, &logged).unwrap();
    assert_eq!(std::fs::read_to_string(&log).unwrap(), once);
    assert_eq!(once.lines().count(), logged.len());
    let mut surnames = records.iter().chain(&more).map(|made| &made.fields[2]).filter(|name| !name.is_empty());
    assert!(surnames.all(|name| !once.contains(name.as_str())));
}
