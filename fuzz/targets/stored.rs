//! What is read back from a disk that somebody else may have written: seals, consent, manifests, plans of files, digests, times.

#![no_main]

use acequia_blobs::{Key, open};
use acequia_custody::ConsentEvent;
use acequia_gate::Manifest;
use acequia_types::{Digest, parse_day, parse_timestamp};
use acequia_xet::{Plan, Planner};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    assert!(open(&Key::from_bytes([7; 32]), b"record 1", bytes).is_err(), "a seal cannot be guessed");
    let _ = serde_json::from_slice::<Vec<ConsentEvent>>(bytes);
    let _ = serde_json::from_slice::<Manifest>(bytes);
    if let Some(plan) = Plan::from_bytes(bytes) {
        assert_eq!(plan.to_bytes(), bytes);
    }
    let mut planner = Planner::default();
    planner.push(bytes);
    let plan = planner.finish();
    assert_eq!(Plan::from_bytes(&plan.to_bytes()), Some(plan));
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(digest) = Digest::parse(text) {
        assert_eq!(digest.to_string().to_lowercase(), digest.to_string());
    }
    let _ = (parse_timestamp(text), parse_day(text));
});
