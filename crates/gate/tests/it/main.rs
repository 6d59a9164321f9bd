//! A site's answer to a run passes the gate with consent to model training, and with no other.

use std::collections::BTreeSet;

use acequia_custody::{ConsentEvent, History, Purpose, approve};
use acequia_gate::{GateError, let_out};
use acequia_learn::*;
use acequia_types::{DonorId, Timestamp, parse_timestamp};

fn now() -> Timestamp {
    parse_timestamp("2026-06-01").unwrap()
}

fn update() -> SiteUpdate {
    let plan = Plan::from_toml(
        "schema = \"acequia-plan/1\"\ntitle = \"Rows\"\ntask = { kind = \"count\" }\nprivacy = { minimum_rows = 2 }\n",
    )
    .unwrap();
    let data = Data::from_csv("north", "age\n50\n60\n".as_bytes(), &plan.needs(), &SiteMap::default()).unwrap();
    let roster = Roster::new(["north".to_owned()]).unwrap();
    let (rules, ledger, key) = (SiteRules::own(), &mut Ledger::default(), ShareKey::from([1; 32]));
    let mut site = Site::join("north", &plan, &roster, vec![data], rules, ledger, key).unwrap();
    let ask = Run::new(&plan, &roster).ask();
    site.answer(&ask, now()).unwrap().remove(0)
}

#[test]
fn an_update_leaves_with_consent_to_model_training_only() {
    let donors: BTreeSet<DonorId> = [DonorId::parse("donor-1").unwrap()].into();
    let approval = |update: &SiteUpdate, purpose: Purpose| {
        let history = |_: &DonorId| Some(History::new(vec![ConsentEvent::give("2026-01-01", &Purpose::ALL)]));
        approve(update.digest(), purpose, &donors, history, now()).unwrap()
    };
    let one = update();
    let granted = approval(&one, Purpose::ModelTraining);
    assert_eq!(let_out(one, &granted).unwrap().get().site(), "north");
    let one = update();
    let published = approval(&one, Purpose::OpenPublication);
    assert!(matches!(let_out(one, &published), Err(GateError::OtherPurpose { .. })));
}
