//! Training and validation from the command line: one model whatever the architecture, and the numbers of other programs.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::Home;
use crate::manual::root;

fn example(name: &str) -> PathBuf {
    root().join("examples/breast-cancer").join(name)
}

/// The example's plan on whole days instead of weeks, as other programs count.
fn exact_plan(folder: &Path) -> PathBuf {
    let text = std::fs::read_to_string(example("survival.plan.toml")).unwrap();
    let exact = text.replace("{ kind = \"cox\" }", "{ kind = \"cox\", time_grid = { days = 1 } }");
    // Steps of the baseline on single days tell on which days nobody of the training had the event.
    let exact = exact.replace("minimum_rows = 50", "minimum_rows = 50\nmembership_auc = 1.0");
    assert!(exact.contains("days = 1 }") && exact.contains("membership_auc"));
    let path = folder.join("exact.plan.toml");
    std::fs::write(&path, exact).unwrap();
    path
}

/// Rotterdam as four hospitals, by person number.
pub(crate) fn hospitals(folder: &Path) -> Vec<(String, PathBuf)> {
    let text = std::fs::read_to_string(example("rotterdam.csv")).unwrap();
    let (header, rows) = text.split_once('\n').unwrap();
    let mut parts = vec![format!("{header}\n"); 4];
    for row in rows.lines() {
        let pid: usize = row.split(',').next().unwrap().parse().unwrap();
        writeln!(parts[pid % 4], "{row}").unwrap();
    }
    parts
        .iter()
        .enumerate()
        .map(|(at, rows)| {
            let (name, path) = (format!("hospital{at}"), folder.join(format!("hospital{at}.csv")));
            std::fs::write(&path, rows).unwrap();
            (name, path)
        })
        .collect()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

/// Numbers of R, lifelines and scikit-survival, which lie beside the checkout.
fn reference() -> Option<Value> {
    let path = root().join("../shared/reference/survival-reference.json");
    let Ok(text) = std::fs::read_to_string(&path) else {
        println!("skipped: the reference numbers are not here (../shared/reference/survival-reference.json)");
        return None;
    };
    // Written by Python, which has a number that JSON lacks.
    Some(serde_json::from_str(&text.replace("NaN", "null")).unwrap())
}

#[track_caller]
fn four_digits(what: &str, ours: f64, theirs: &Value) {
    let theirs = theirs.as_f64().unwrap();
    println!("{what}: {ours:.8}, reference {theirs:.8}, difference {:.1e}", ours - theirs);
    assert!((ours - theirs).abs() < 5e-5, "{what}: {ours} is not {theirs}");
}

#[test]
fn one_model_in_every_architecture_masked_or_not_and_it_is_the_published_one() {
    let home = Home::new();
    let folder = home.folder.path();
    let plan = exact_plan(folder);
    let sites: Vec<String> =
        hospitals(folder).iter().map(|(name, path)| format!("{name}={}", path.display())).collect();
    let whole = format!("rotterdam={}", example("rotterdam.csv").display());
    let pool = sites[3].split_once('=').unwrap().1.to_owned();
    let all: Vec<&str> = sites.iter().flat_map(|site| ["--site", site.as_str()]).collect();
    let hybrid = [&all[..6], &["--donated", pool.as_str()]].concat();
    let layouts: Vec<(&str, Vec<&str>)> = vec![
        ("one table", vec!["--site", whole.as_str(), "--mode", "centralised"]),
        ("centralised", [&all[..], &["--mode", "centralised"]].concat()),
        ("federated", all.clone()),
        ("hybrid", hybrid.clone()),
        ("decentralised", [&all[..], &["--mode", "decentralised"]].concat()),
        ("hybrid and decentralised", [&hybrid[..], &["--mode", "decentralised"]].concat()),
    ];
    let mut first: Option<Value> = None;
    for masked in [false, true] {
        for (name, words) in &layouts {
            let protection: &[&str] = if masked { &[] } else { &["--unmasked"] };
            let report = home.json(&[&["train", plan.to_str().unwrap()][..], words.as_slice(), protection].concat());
            let outcome = &report["outcome"];
            assert_eq!((outcome["fit"]["rows"].as_u64(), outcome["fit"]["events"].as_u64()), (Some(2982), Some(1275)));
            assert_eq!(report["plan"], outcome["plan"], "{name}");
            let form = &outcome["form"];
            let before = first.get_or_insert_with(|| form.clone());
            let difference = ["coefficients", "standard_errors"]
                .iter()
                .flat_map(|key| numbers(&form[key]).into_iter().zip(numbers(&before[key])))
                .map(|(a, b)| (a - b).abs())
                .fold(0.0, f64::max);
            let protection = if masked { "masked" } else { "unmasked" };
            println!("{name}, {protection}: largest difference {difference:.1e}, {} rounds", report["rounds"]);
            if masked {
                assert!(difference <= 1e-6, "{name}");
            } else {
                assert_eq!(form, before, "{name}: the same to the last bit");
            }
        }
    }
    let Some(reference) = reference() else { return };
    let (ours, theirs) = (first.unwrap(), &reference["model_B"]["fit_efron"]);
    for key in ["coef", "se"] {
        let name = if key == "coef" { "coefficients" } else { "standard_errors" };
        for (at, ours) in numbers(&ours[name]).into_iter().enumerate() {
            four_digits(&format!("{key} {at}"), ours, &theirs[key][at]);
        }
    }
}

#[test]
fn the_weekly_grid_of_the_example_loses_little() {
    let Some(reference) = reference() else { return };
    let home = Home::new();
    let whole = format!("rotterdam={}", example("rotterdam.csv").display());
    let report = home.json(&["train", example("survival.plan.toml").to_str().unwrap(), "--site", &whole]);
    let ours = numbers(&report["outcome"]["form"]["coefficients"]);
    for (at, ours) in ours.into_iter().enumerate() {
        let weekly = &reference["federated_C"]["time_grid_instead_of_exact_times"]["weekly_7"]["efron"][at];
        four_digits(&format!("weekly coef {at}"), ours, weekly);
    }
}

#[test]
fn a_frozen_model_at_another_hospital_is_worth_what_other_programs_say() {
    let home = Home::new();
    let folder = home.folder.path();
    let path = |name: &str| folder.join(name).display().to_string();
    let (model, record, page) = (path("model.json"), path("record.json"), path("record.html"));
    let whole = format!("rotterdam={}", example("rotterdam.csv").display());
    let gbsg = format!("gbsg={}", example("gbsg.csv").display());
    let plan = exact_plan(folder);
    let trained = home.json(&["train", plan.to_str().unwrap(), "--site", &whole, "--unmasked", "-o", &model]);
    let attack = &trained["outcome"]["membership"];
    let auc = attack["auc"].as_f64().unwrap();
    println!("membership inference: {attack}");
    assert!(attack["test"] == "loss-threshold" && (0.4..0.6).contains(&auc), "{attack}");
    let validate = ["validate", model.as_str(), "--at", gbsg.as_str(), "--by", "meno", "--by", "hormon"];
    let said =
        home.json(&[&validate[..], &["--bootstraps", "100", "-o", record.as_str(), "--page", page.as_str()]].concat());
    let written: Value = serde_json::from_str(&std::fs::read_to_string(&record).unwrap()).unwrap();
    assert_eq!(said, written, "what is printed is what is written");
    assert_eq!(written["model"], trained["model"], "the record names the frozen model");
    assert_eq!((written["evidence"].as_str(), &written["membership"]), (Some("L2"), attack));
    assert!(written["statement"].as_str().unwrap().starts_with("Not a medical device"));
    let page = std::fs::read_to_string(&page).unwrap();
    assert!(page.contains("Not a medical device") && page.contains("TRIPOD+AI 27") && !page.contains("<script"));
    // The same model at a site it learned from is no external evidence, and two sites are pooled.
    let both = home.json(&["validate", &model, "--at", &gbsg, "--at", &whole, "--bootstraps", "0"]);
    assert_eq!(both["evidence"], "L0");
    assert!(both["pooled"].as_array().unwrap().iter().any(|one| one["name"] == "harrell_c" && one["sites"] == 2));
    let text = home.run(&["validate", &model, "--at", &gbsg, "--bootstraps", "0"]);
    assert!(String::from_utf8_lossy(&text.stdout).contains("harrell c"));
    let Some(reference) = reference() else { return };
    let (site, theirs) = (&written["sites"][0], &reference["model_B"]["val"]);
    let estimate = |name: &str| {
        let all = site["estimates"].as_array().unwrap();
        all.iter().find(|one| one["name"] == name).unwrap_or_else(|| panic!("{name}"))
    };
    for (name, key) in [
        ("harrell_c", "harrell_c"),
        ("uno_c", "uno_c"),
        ("calibration_slope", "calibration_slope_efron"),
        ("observed_over_expected", "O_over_E_5y"),
        ("observed_risk", "observed_5y"),
        ("expected_risk", "expected_5y"),
        ("royston_d", "royston_D"),
        ("royston_r2d", "royston_R2D"),
    ] {
        four_digits(name, estimate(name)["value"].as_f64().unwrap(), &theirs[key]);
    }
    for (name, key) in [("harrell_c", "harrell_c_se"), ("calibration_slope", "calibration_slope_efron_se")] {
        four_digits(key, estimate(name)["standard_error"].as_f64().unwrap(), &theirs[key]);
    }
    for (at, one) in site["net_benefit"].as_array().unwrap().iter().enumerate() {
        let curve = &theirs["decision_curve_5y"];
        four_digits("net benefit", one["model"].as_f64().unwrap(), &curve["net_benefit_model"][at]);
    }
}

const OVERFIT: &str = r#"
schema = "acequia-plan/1"
title = "Death, from laboratory values"
task = { kind = "boosting", trees = 15, depth = 8, rate = 0.5, lambda = 0.5, least_weight = 0.1, bins = 256 }
outcome = { kind = "binary", value = { name = "death" } }
variables = [{ name = "age" }, { name = "pgr" }, { name = "er" }, { name = "nodes" }]
privacy = { minimum_rows = 50 }
"#;

#[test]
fn what_cannot_be_done_says_why_and_never_a_value() {
    let home = Home::new();
    let folder = home.folder.path();
    let file = |name: &str, text: &str| {
        std::fs::write(folder.join(name), text).unwrap();
        folder.join(name).display().to_string()
    };
    let plan = example("survival.plan.toml").display().to_string();
    let whole = format!("rotterdam={}", example("rotterdam.csv").display());
    home.refused(&["train", &folder.join("none.toml").display().to_string(), "--site", &whole], 3, "LE014");
    home.refused(&["train", &plan, "--site", "north=none.csv"], 3, "LE014");
    home.refused(&["train", &plan, "--site", &whole, "--site", &whole], 2, "LE001");
    home.refused(&["train", &file("plan.toml", "task = 1\n"), "--site", &whole], 2, "LE001");
    for words in [&["--site", "../up=table.csv"][..], &["--site", "table.csv"]] {
        assert_eq!(home.run(&[&["train", plan.as_str()][..], words].concat()).status.code(), Some(2), "{words:?}");
    }
    let header = "age,size,nodes,grade,rtime,recur,dtime,death\n";
    let table = file("north.csv", &format!("{header}50,<=20,Jane Doe,3,10,1,20,1\n"));
    let output = home.refused(&["train", &plan, "--site", &format!("north={table}")], 1, "LE005");
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("north, row 1, column nodes") && !said.contains("Jane"), "{said}");
    let model = file("model.json", "{\"schema\": \"acequia-model/1\", \"title\": {\"Jane\": \"Doe\"}}");
    let output = home.refused(&["validate", &model, "--at", &whole], 6, "LE011");
    assert!(!format!("{output:?}").contains("Jane"), "{output:?}");
    // Too few rows at a site, whatever the others have.
    let few = file("few.csv", &format!("{header}50,<=20,1,3,10,1,20,1\n"));
    home.refused(&["train", &plan, "--site", &whole, "--site", &format!("few={few}")], 5, "LE008");
    // So does a model that knows its rows by heart, and one whose baseline has a step for every day of an event.
    let exact = std::fs::read_to_string(exact_plan(folder)).unwrap().replace("membership_auc = 1.0", "");
    home.refused(&["train", &file("days.plan.toml", &exact), "--site", &whole], 5, "LE015");
    let out = folder.join("overfit.json").display().to_string();
    let overfit = file("overfit.plan.toml", OVERFIT);
    home.refused(&["train", &overfit, "--site", &whole, "--mode", "centralised", "--unmasked", "-o", &out], 5, "LE015");
    assert!(!Path::new(&out).exists(), "nothing is written");
}
