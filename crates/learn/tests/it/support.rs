//! The cohorts, the plans and the checks that several tests share.

use std::path::{Path, PathBuf};

use acequia_learn::*;
use acequia_types::Timestamp;
use serde_json::Value;

pub(crate) fn now() -> Timestamp {
    acequia_types::parse_timestamp("2026-06-01").unwrap()
}

pub(crate) fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/breast-cancer").join(name)
}

/// Files that lie beside the checkout.
pub(crate) fn shared(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data").join(name);
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: {name} is not here (../shared/data)");
    None
}

pub(crate) fn reference() -> Value {
    serde_json::from_str(include_str!("../data/survival-reference.json")).unwrap()
}

pub(crate) fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

#[track_caller]
pub(crate) fn close(ours: f64, theirs: f64, within: f64) {
    assert!((ours - theirs).abs() <= within, "{ours} is not {theirs} within {within:e}");
}

#[track_caller]
pub(crate) fn all_close(ours: &[f64], theirs: &[f64], within: f64) {
    assert_eq!(ours.len(), theirs.len());
    for (at, (a, b)) in ours.iter().zip(theirs).enumerate() {
        assert!((a - b).abs() <= within, "number {at}: {a} is not {b} within {within:e}");
    }
}

pub(crate) const RFS: &str = r#"{ kind = "survival", components = [{ time = "rtime", event = "recur" }, { time = "dtime", event = "death" }], censored_at = "first", cut_days = 1826.25 }"#;

/// STRATOS guidance model (McLernon et al. 2023): size, nodes, grade.
pub(crate) const MODEL_B: &str = r#"
[[variables]]
name = "size2050"
column = "size"
steps = [{ one_of = ["20-50"] }]
[[variables]]
name = "size50"
column = "size"
steps = [{ one_of = [">50"] }]
[[variables]]
name = "nodes2"
column = "nodes"
steps = [{ cap = 19 }]
[[variables]]
name = "nodes3"
column = "nodes"
steps = [{ cap = 19 }, { spline_term = { knots = [0, 1, 9] } }]
[[variables]]
name = "grade3"
column = "grade"
steps = [{ one_of = ["3"] }]
"#;

/// Royston and Altman 2013.
pub(crate) const MODEL_A: &str = r#"
[[variables]]
name = "age3"
column = "age"
steps = [{ divide = 100 }, { power = 3 }]
[[variables]]
name = "age3log"
column = "age"
steps = [{ divide = 100 }, { power_log = 3 }]
[[variables]]
name = "meno"
[[variables]]
name = "size2050"
column = "size"
steps = [{ one_of = ["20-50"] }]
[[variables]]
name = "size50"
column = "size"
steps = [{ one_of = [">50"] }]
[[variables]]
name = "nodes"
steps = [{ power = -0.5 }]
[[variables]]
name = "er"
steps = [{ divide = 1000 }]
[[variables]]
name = "hormon"
"#;

/// What GBSG calls otherwise than Rotterdam.
pub(crate) const GBSG_MAP: &str = r#"
[columns.size]
column = "size"
steps = [{ band = { edges = [20, 50], labels = ["<=20", "20-50", ">50"] } }]
[outcome]
kind = "survival"
components = [{ time = "rfstime", event = "status" }]
"#;

pub(crate) fn gbsg_map(cut_days: Option<f64>) -> SiteMap {
    let cut = cut_days.map_or(String::new(), |cut| format!("cut_days = {cut}\n"));
    SiteMap::from_toml(&format!("{GBSG_MAP}{cut}")).unwrap()
}

/// A plan. Without protection unless stated.
pub(crate) fn plan(task: &str, outcome: &str, variables: &str, protection: &str) -> Plan {
    let outcome = if outcome.is_empty() { String::new() } else { format!("outcome = {outcome}") };
    let aggregators = match protection {
        "double-masking" => "",
        _ => ", aggregators = [\"university\", \"patients\"]",
    };
    Plan::from_toml(&format!(
        "schema = \"acequia-plan/1\"\ntitle = \"A test\"\ntask = {task}\n{outcome}\n\
         privacy = {{ minimum_rows = 20, minimum_count = 1 }}\n\
         aggregation = {{ protection = \"{protection}\"{aggregators} }}\n{variables}"
    ))
    .unwrap()
}

pub(crate) fn read(name: &str, path: &Path, plan: &Plan, map: &SiteMap) -> Data {
    Data::read(name, path, &plan.needs(), map).unwrap()
}

/// Rotterdam in four parts by person number, as the reference does.
pub(crate) fn four_sites(plan: &Plan) -> Vec<Data> {
    let text = std::fs::read_to_string(example("rotterdam.csv")).unwrap();
    let mut lines = text.lines();
    let header = lines.next().unwrap();
    let mut parts = vec![format!("{header}\n"); 4];
    for line in lines {
        let pid: usize = line.split(',').next().unwrap().parse().unwrap();
        parts[pid % 4] += &format!("{line}\n");
    }
    parts
        .iter()
        .enumerate()
        .map(|(at, csv)| {
            Data::from_csv(&format!("site{at}"), csv.as_bytes(), &plan.needs(), &SiteMap::default()).unwrap()
        })
        .collect()
}

pub(crate) fn run(plan: &Plan, tables: Vec<Data>, architecture: Architecture) -> Report {
    run_here(plan, tables, architecture, &SiteRules::own(), now(), &mut SeededEntropy::new(7)).unwrap()
}

pub(crate) fn model(report: Report) -> Model {
    match report.outcome {
        Outcome::Model(model) => *model,
        other => panic!("not a model: {other:?}"),
    }
}

/// The cohort and the end of follow-up of model A of McLernon et al. 2023.
pub(crate) fn as_in_the_paper(plan: &mut Plan) {
    plan.cohort.conditions = vec![Condition {
        column: "nodes".into(),
        above: Some(0.0),
        one_of: None,
        at_least: None,
        at_most: None,
        below: None,
    }];
    let Some(PlanOutcome::Survival { censored_at, cut_days, .. }) = &mut plan.outcome else { panic!() };
    (*censored_at, *cut_days) = (CensoredAt::Last, Some(2557.0));
}
