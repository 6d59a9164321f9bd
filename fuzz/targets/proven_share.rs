//! What an aggregator gets where shares come with proofs: a site's share, and what the other aggregator found.

#![no_main]

use acequia_learn::{Aggregator, Message, Payload, Plan, Roster, Run, SeededEntropy, Verification, VerifyKey};
use libfuzzer_sys::fuzz_target;

const PLAN: &str = r#"
schema = "acequia-plan/1"
title = "Rows"
task = { kind = "count" }
privacy = { minimum_rows = 10 }
aggregation = { protection = "proven", aggregators = ["one", "other"], proof = { rows = 1000 } }
"#;

fuzz_target!(|input: (bool, &[u8], &[u8])| {
    let (own, share, found) = input;
    let plan = Plan::from_toml(PLAN).expect("a plan");
    let roster = Roster::new(["north".to_owned(), "south".to_owned()]).expect("a roster");
    let ask = Run::new(&plan, &roster).ask();
    let mut aggregator = Aggregator::new(&plan, &roster);
    aggregator.verifies(usize::from(own), VerifyKey::drawn(&mut SeededEntropy::new(1)).expect("a key"));
    aggregator.open(&ask).expect("the first round");
    let (site, payload) = ("north".to_owned(), Payload::Proven(share.to_vec()));
    let message = Message { site: site.clone(), round: 1, context: ask.context(), payload };
    aggregator.receive(&site, &message.to_bytes()).expect("it is read with its proof");
    let verification = aggregator.verify(&[site]).expect("the share is here");
    let again = Verification::from_bytes("one", &verification.to_bytes()).expect("what is written is read");
    assert_eq!(again, verification);
    if let Ok(found) = Verification::from_bytes("other", found) {
        let _ = aggregator.settle(&found);
    }
});
