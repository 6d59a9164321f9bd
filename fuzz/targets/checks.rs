//! Files a site writes: checks, ranges, thresholds, and findings of an earlier run.

#![no_main]

use acequia_cleanse::{Findings, Scorecard, Thresholds, default_checks, parse_checks};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = parse_checks("a.toml", text);
    let _ = parse_checks("a.csv", text);
    let mut thresholds = Thresholds::as_of(Default::default());
    let _ = thresholds.read(text, default_checks());
    if let Ok(findings) = Findings::parse(text.as_bytes()) {
        let _ = Scorecard::judge(&findings, default_checks(), &thresholds).without_small_counts(10);
    }
});
