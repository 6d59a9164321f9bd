//! What persons state about a record, signed.

use acequia_learn::{
    Architecture, Evidence, LearnError, Outcome, Record, SeededEntropy, SiteRules, Validation, evaluate, run_here,
    validation_page,
};
use acequia_types::{Clock, Coded, SystemClock};

use super::{data, plan};
use crate::{MemberFolder, NetError, check_statements, state};

fn record() -> Record {
    let plan = plan(&[]);
    let tables = ["east", "north"].map(|site| data(site, &plan)).to_vec();
    let (rules, mut entropy) = (SiteRules::own(), SeededEntropy::new(1));
    let now = SystemClock.now();
    let report = run_here(&plan, tables, Architecture::Federated, &rules, now, &mut entropy).unwrap();
    let Outcome::Model(model) = report.outcome else { panic!("a model was asked for") };
    let settings = Validation { bootstraps: 0, ..Validation::usual(&*model) };
    let south = evaluate(&*model, &data("south", &plan), &[], &settings).unwrap();
    Record::new(&*model, vec![south], &settings, now.day())
}

#[test]
fn what_is_stated_is_signed_and_shown_as_stated_and_changes_no_level() {
    let folder = tempfile::tempdir().unwrap();
    let member = MemberFolder::of_node(folder.path());
    let (record, on) = (record(), SystemClock.now().day());
    let said = |level: Evidence, by: &str, reference: &str| {
        let says = Some("Other surgeons, ten years later.".to_owned());
        state(&member, record.clone(), (level, by.to_owned(), reference.to_owned(), says), on)
    };
    for (level, by, reference) in [
        (Evidence::L2, "Anna Weber", "doi:10.1000/1"),
        (Evidence::L1, "Anna Weber", "doi:10.1000/1"),
        (Evidence::L3, " ", "doi:10.1000/1"),
        (Evidence::L3, "Anna Weber", ""),
        (Evidence::L5, "Anna\nWeber", "doi:10.1000/1"),
    ] {
        let ended = said(level, by, reference);
        assert!(matches!(ended, Err(NetError::Learn(LearnError::Model { .. }))), "{level:?} {by} {reference}");
    }
    let stated = said(Evidence::L3, "Anna Weber", "doi:10.1000/1").unwrap();
    assert_eq!(
        (stated.evidence, &stated.evidence_words),
        (record.evidence, &record.evidence_words),
        "as it was measured"
    );
    assert_eq!(stated.measured(), record.measured());
    check_statements(&stated).unwrap();
    let page = validation_page(&stated);
    assert!(page.contains("Stated, not measured: L3") && page.contains("Anna Weber") && page.contains("doi:10.1000/1"));
    assert!(!validation_page(&record).contains("Stated, not measured"));

    // Kept, written and read, with answers of people and another statement besides.
    let mut read = Record::from_json(&stated.to_json()).unwrap();
    assert_eq!(read, stated);
    read.headings.iter_mut().find_map(|heading| heading.person.as_mut()).unwrap().answer = Some("An answer".to_owned());
    let twice = state(&member, read, (Evidence::L4, "Ben".to_owned(), "NCT00000000".to_owned(), None), on).unwrap();
    check_statements(&twice).unwrap();

    // Changed, or under another record, it is nobody's.
    let mut changes: Vec<Record> = Vec::new();
    for change in [
        |record: &mut Record| record.statements[0].level = Evidence::L5,
        |record: &mut Record| record.statements[0].by = "Somebody else".to_owned(),
        |record: &mut Record| record.statements[0].reference = "doi:10.1000/2".to_owned(),
        |record: &mut Record| record.statements[0].says = None,
        |record: &mut Record| record.statements[0].key = "00".repeat(32),
        |record: &mut Record| record.sites[0].estimates[0].value += 0.1,
        |record: &mut Record| record.evidence = Evidence::L5,
    ] {
        let mut changed = stated.clone();
        change(&mut changed);
        changes.push(changed);
    }
    for changed in changes {
        assert_eq!(check_statements(&changed).unwrap_err().code(), "NT002");
    }
    let level = stated.to_json().replace("\"level\": \"L3\"", "\"level\": \"L2\"");
    assert!(Record::from_json(&level).is_err(), "what is measured is not stated");
}
