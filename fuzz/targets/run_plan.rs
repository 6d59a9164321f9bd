//! What sites get from others before they learn: run plans, models, and a table with the map of a site.

#![no_main]

use acequia_learn::{Data, Model, Plan, SiteMap};
use libfuzzer_sys::fuzz_target;

const PLAN: &str = include_str!("../../examples/breast-cancer/survival.plan.toml");

fuzz_target!(|input: (&str, &str, &[u8])| {
    let (text, map, table) = input;
    let _ = Model::from_json(text);
    let _ = Plan::from_json(text);
    if let Ok(plan) = Plan::from_toml(text) {
        let json = serde_json::to_string(&plan).expect("a plan is written");
        let again = Plan::from_json(&json).expect("what is written is read");
        assert_eq!(again.digest(), plan.digest());
    }
    let map = SiteMap::from_toml(map).unwrap_or_default();
    let plan = Plan::from_toml(PLAN).expect("the plan of the example");
    if let Ok(data) = Data::from_csv("site", table, &plan.needs(), &map) {
        assert!(data.events() <= data.rows() as u64);
    }
});
