//! Policies, hierarchy files, shift plans and keys, as a trustee may hand them in.
#![no_main]

use std::collections::BTreeMap;

use acequia_deidentify::{HierarchyTable, Policy, ShiftKey, ShiftPlan};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = ShiftKey::parse("fuzz.key", data);
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = toml::from_str::<ShiftPlan>(text);
        if let Ok(policy) = toml::from_str::<Policy>(text) {
            for column in policy.columns.keys() {
                let _ = HierarchyTable::of(&policy, column, &BTreeMap::new(), None);
            }
        }
    }
    let policy = "[columns]\nc = { role = \"quasi-identifier\", hierarchy = { file = \"c.csv\" } }";
    let policy: Policy = toml::from_str(policy).expect("a policy");
    let files = BTreeMap::from([("c.csv".to_owned(), data.to_vec())]);
    if let Ok(hierarchy) = HierarchyTable::of(&policy, "c", &files, None) {
        let (_, _) = (hierarchy.to_tree(), hierarchy.to_svg());
        // What is printed loads again, and says the same.
        let files = BTreeMap::from([("c.csv".to_owned(), hierarchy.to_csv().into_bytes())]);
        let again = HierarchyTable::of(&policy, "c", &files, None).expect("what is printed loads");
        assert_eq!(again.rows, hierarchy.rows);
    }
});
