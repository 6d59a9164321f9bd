//! A table somebody donates, under a mapping that uses every kind of column.

#![no_main]

use std::sync::LazyLock;

use acequia_intake::{Limits, Mapping, read};
use acequia_omop::Vocabulary;
use libfuzzer_sys::fuzz_target;

static MAPPING: LazyLock<Mapping> = LazyLock::new(|| {
    Mapping::parse(include_str!("../../examples/breast-cancer/gbsg.mapping.toml"), Vocabulary::bundled())
        .expect("the bundled mapping")
});
const HEADER: &str = include_str!("../../examples/breast-cancer/gbsg.csv");

fuzz_target!(|bytes: &[u8]| {
    let header = HEADER.lines().next().unwrap_or_default();
    let mut table = format!("{header}\n").into_bytes();
    table.extend_from_slice(bytes);
    let Ok(file) = read(&table, Some(&MAPPING), &Limits::default()) else { return };
    let rejected = file.items.iter().filter(|item| matches!(item.fate, Some(acequia_omop::Fate::Rejected(_)))).count();
    assert!(file.records.len() + rejected <= file.items.len(), "a row is a person or is rejected, once");
});
