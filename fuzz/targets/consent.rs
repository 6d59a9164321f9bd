//! What tells who may do what: FHIR consents of both releases, and a node's own rules.

#![no_main]

use acequia_custody::fhir::from_fhir;
use acequia_custody::rights::Rules;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = Rules::parse(text);
    let Ok(resource) = serde_json::from_str::<serde_json::Value>(text) else { return };
    // Whatever it holds, it is read or it is not: no panic. That a round trip never widens is a property of the crate.
    let _ = from_fhir(&resource);
});
