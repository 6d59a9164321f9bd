//! Training on donors: the model is the one of those who allow it, also when somebody withdraws while it learns.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use acequia_learn::{
    Architecture, LearnError, Model, Outcome, Plan, SeededEntropy, SiteRules, StillAllowed, run_while_allowed,
};
use acequia_node::{Clock, CohortDefinition, Level, Node, Silent, SystemClock, TrainingRows};
use serde_json::Value;

use crate::Home;
use crate::manual::root;

fn example(name: &str) -> PathBuf {
    root().join("examples/breast-cancer").join(name)
}

fn given(name: &str) -> String {
    example(name).to_str().unwrap().to_owned()
}

/// Parts of the Rotterdam table as donors of their own.
const DONORS: usize = 8;

fn donate_parts(home: &Home, donors: impl IntoIterator<Item = usize>) {
    let text = std::fs::read_to_string(example("rotterdam.csv")).unwrap();
    let (header, rows) = text.split_once('\n').unwrap();
    for donor in donors {
        let own = rows.lines().enumerate().filter(|(nth, _)| nth % DONORS == donor).map(|(_, row)| format!("{row}\n"));
        let table = home.folder.path().join(format!("part-{donor}.csv"));
        std::fs::write(&table, format!("{header}\n{}", own.collect::<String>())).unwrap();
        let consent = home.folder.path().join(format!("part-{donor}.consent.json"));
        let event = r#"{"at":"2026-01-15T00:00:00Z","event":"give","purposes":["model-training"]}"#;
        std::fs::write(&consent, format!("{{\"donor\":\"clinic-{donor}\",\"events\":[{event}]}}")).unwrap();
        let (table, consent) = (table.to_str().unwrap(), consent.to_str().unwrap());
        home.json(&["donate", table, "--mapping", &given("rotterdam.mapping.toml"), "--consent", consent]);
    }
}

fn coefficients(outcome: &Value) -> Vec<f64> {
    let numbers = outcome["form"]["coefficients"].as_array().unwrap();
    numbers.iter().map(|number| number.as_f64().unwrap()).collect()
}

/// Records that went through OMOP give the model that the hospital's own table gives.
#[test]
fn donors_take_part_like_a_hospital_as_long_as_they_allow_it() {
    let home = Home::new();
    home.json(&["init"]);
    let (mapping, consent) = (given("rotterdam.mapping.toml"), given("rotterdam.consent.json"));
    home.json(&["donate", &given("rotterdam.csv"), "--mapping", &mapping, "--consent", &consent]);
    let (plan, cohort) = (given("survival.plan.toml"), given("donors.cohort.toml"));
    let donors = ["train", plan.as_str(), "--donors", cohort.as_str()];
    let model = home.folder.path().join("model.json");
    let alone = home.json(&[&donors[..], &["-o", model.to_str().unwrap()]].concat());
    assert_eq!((&alone["begun_again"], &alone["sites"][0]["site"]), (&0.into(), &"donors".into()));
    assert!(model.is_file());
    let table = format!("rotterdam={}", given("rotterdam.csv"));
    let hospital = home.json(&["train", &plan, "--site", &table]);
    assert_eq!(alone["outcome"]["fit"]["rows"], hospital["outcome"]["fit"]["rows"]);
    let pairs = coefficients(&alone["outcome"]).into_iter().zip(coefficients(&hospital["outcome"]));
    // Follow-up ends with the last day on record: later, for 43 women who were still seen after the last look for recurrence.
    pairs.for_each(|(donors, hospital)| assert!((donors - hospital).abs() < 0.02, "{donors} {hospital}"));

    let gbsg = format!("gbsg={}", given("gbsg.csv"));
    let hybrid = home.json(&[&donors[..], &["--site", &gbsg]].concat());
    assert_eq!(hybrid["outcome"]["sites"], serde_json::json!(["donors", "gbsg"]));
    let looked = home.json(&[&donors[..], &["--look"]].concat());
    assert!(looked[0]["leaving"]["words"].as_str().unwrap().contains("2982 rows"), "{looked}");

    // The donor sees each round; who says no to this purpose alone is out.
    let before = home.json(&["consent", "report", "rotterdam"]);
    home.json(&["consent", "refuse", "rotterdam", "--purpose", "model-training"]);
    home.refused(&donors, 4, "NO007");
    assert_eq!(home.json(&["consent", "report", "rotterdam"])["last_use"], before["last_use"]);
    assert!(before["last_use"].is_string());
    // A file of another purpose is none of a training.
    let text = std::fs::read_to_string(&cohort).unwrap().replace("model-training", "research");
    std::fs::copy(example("training.sql"), home.folder.path().join("training.sql")).unwrap();
    let wrong = home.folder.path().join("wrong.cohort.toml");
    std::fs::write(&wrong, text).unwrap();
    home.refused(&["train", &plan, "--donors", wrong.to_str().unwrap()], 2, "NO005");
}

/// A node asks for an assessment of a training as of a recipe.
#[test]
fn a_training_needs_its_assessment_where_the_node_asks_for_one() {
    let home = Home::new();
    home.json(&["init"]);
    donate_parts(&home, [0]);
    std::fs::write(home.path().join("settings.toml"), "[governance]\nneeds_assessment = true\n").unwrap();
    // So few rows would be told from others now and then.
    let text = std::fs::read_to_string(example("survival.plan.toml")).unwrap();
    let text = text.replace("minimum_rows = 50", "minimum_rows = 50\nmembership_auc = 1.0");
    let plan = home.folder.path().join("plan.toml");
    std::fs::write(&plan, text).unwrap();
    let (plan, cohort) = (plan.to_str().unwrap().to_owned(), given("donors.cohort.toml"));
    home.refused(&["train", &plan, "--donors", &cohort], 4, "NO017");
    let paper = home.json(&["papers", "assessment", &cohort]);
    assert_eq!((&paper["purpose"], &paper["approval"]), (&"model-training".into(), &Value::Null));
    assert!(paper["risks"]["membership"].is_string() && paper["risks"]["re-identification"].is_null());
    let approval = ["--approved-by", "ann", "--until", "2099-12-31", "--risk", "low"];
    home.json(&[&["papers", "assessment", cohort.as_str()], &approval[..]].concat());
    let trained = home.json(&["train", &plan, "--donors", &cohort]);
    assert!(trained["outcome"]["fit"]["rows"].as_u64().unwrap() > 300);
}

fn model_of(plan: &Plan, rows: &TrainingRows, allowed: &StillAllowed) -> Result<Box<Model>, LearnError> {
    let entropy = &mut SeededEntropy::new(1);
    let (tables, asked) = (vec![rows.data.clone()], Some(("donors", allowed)));
    let now = SystemClock.now();
    let report = run_while_allowed(plan, tables, Architecture::Centralised, &SiteRules::own(), asked, now, entropy)?;
    match report.outcome {
        Outcome::Model(model) => Ok(model),
        other => panic!("not a model: {other:?}"),
    }
}

#[test]
fn who_withdraws_while_a_model_learns_is_out_at_the_next_round() {
    let (home, without) = (Home::new(), Home::new());
    for (home, donors) in [(&home, 0..DONORS), (&without, 0..DONORS - 1)] {
        home.json(&["init"]);
        donate_parts(home, donors);
    }
    let plan = Plan::from_toml(&std::fs::read_to_string(example("survival.plan.toml")).unwrap()).unwrap();
    let cohort = CohortDefinition::read(&example("donors.cohort.toml")).unwrap();
    let runtime = Arc::new(tokio::runtime::Runtime::new().unwrap());
    let open = |home: &Home| Arc::new(runtime.block_on(Node::open(&home.path(), 1)).unwrap());
    let rows = |node: &Node| Arc::new(runtime.block_on(node.training_rows("donors", &cohort, &plan, &Silent)).unwrap());
    let node = open(&home);

    // At the third round she has just withdrawn, in another window.
    let leaver = format!("clinic-{}", DONORS - 1);
    let left = Arc::new(AtomicBool::new(false));
    let asking = |node: &Arc<Node>, rows: &Arc<TrainingRows>| -> StillAllowed {
        let (node, rows, runtime, left) = (node.clone(), rows.clone(), runtime.clone(), left.clone());
        let (folder, leaver) = (home.path(), leaver.clone());
        Arc::new(move |round| {
            if round == 3 && !left.swap(true, Ordering::SeqCst) {
                let words = ["consent", "withdraw", &leaver, "--level", Level::NoFurtherUse.as_str()];
                let mut command = std::process::Command::new(crate::program());
                let output = command.arg("--home").arg(&folder).args(words).output().unwrap();
                assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            }
            runtime.block_on(node.use_for_training(&rows, &format!("round {round}"))).unwrap()
        })
    };
    let first = rows(&node);
    assert_eq!((first.donors(), first.data.rows()), (DONORS, 2982));
    let stopped = model_of(&plan, &first, &asking(&node, &first)).unwrap_err();
    assert!(matches!(stopped, LearnError::Withdrawn { .. }), "{stopped}");
    assert!(!runtime.block_on(node.use_for_training(&first, "result")).unwrap(), "nor may it be told later");

    let second = rows(&node);
    assert_eq!(second.donors(), DONORS - 1);
    let model = model_of(&plan, &second, &asking(&node, &second)).unwrap();
    let other = open(&without);
    let never = rows(&other);
    let expected = model_of(&plan, &never, &asking(&other, &never)).unwrap();
    assert_eq!(model, expected, "as if she had never been there");

    // The log holds no use after the withdrawal: only that it was refused.
    let report = home.json(&["consent", "report", &leaver]);
    assert_eq!((&report["uses_after"], &report["level"]), (&0.into(), &"no-further-use".into()));
    // Time is told in seconds.
    assert!(report["last_use"].as_str().unwrap() <= report["withdrawn_at"].as_str().unwrap(), "{report}");
    assert!(home.run(&["doctor"]).status.success());
}
