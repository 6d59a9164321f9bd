//! FHIR text in passes, as `acequia unify` reads it: every line is told once, and what is JSON is not called broken.

#![no_main]

use acequia_intake::{Format, tell};
use acequia_omop::{Collector, Fate, Pass};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut sink = Collector::default();
    for pass in Pass::ALL {
        tell(text, Format::FhirNdjson, 1, pass, &mut sink).expect("lines are told whatever they hold");
        let _ = tell(text, Format::FhirBundle, 1, pass, &mut Collector::default());
    }
    let file = sink.finish();
    let lines = text.lines().filter(|line| !line.trim_ascii().is_empty());
    // A bundle in a line has any number of items.
    let bundles = text.contains("Bundle");
    assert!(bundles || lines.clone().count() == file.items.len(), "every line is an item");
    for item in file.items.iter().filter(|item| item.fate == Some(Fate::Rejected("IN110".to_owned()))) {
        let line = text.split('\n').nth(item.row as usize - 1).unwrap_or_default();
        let Ok(value) = serde_json::from_str::<serde_json::Value>(line) else { continue };
        assert!(bundles || !value.is_object(), "what is JSON is not broken");
    }
});
