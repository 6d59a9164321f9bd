//! A mapping somebody sends with a table.

#![no_main]

use acequia_intake::{Limits, Mapping, read};
use acequia_omop::Vocabulary;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(mapping) = Mapping::parse(text, Vocabulary::bundled()) else { return };
    let columns: Vec<&str> = mapping.columns().into_iter().collect();
    let row = vec!["1"; columns.len()].join(",");
    let _ = read(format!("{}\n{row}\n", columns.join(",")).as_bytes(), Some(&mapping), &Limits::default());
});
