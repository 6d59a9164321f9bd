//! Centralised, federated, hybrid and decentralised, with masks and without: the same result.

use acequia_learn::*;
use proptest::prelude::*;

use crate::support::*;

const AGE_AND_NODES: &str =
    "[[variables]]\nname = \"age\"\n[[variables]]\nname = \"nodes\"\n[[variables]]\nname = \"pgr\"\n";
/// Numbers of about one, as steps of averaging need them.
const SCALED: &str = "[[variables]]\nname = \"age\"\nsteps = [{ divide = 100 }]\n[[variables]]\nname = \"nodes\"\nsteps = [{ divide = 10 }]\n";
const DEATH: &str = "{ kind = \"binary\", value = { name = \"death\" } }";
const PGR: &str = "{ kind = \"number\", value = { name = \"er\" } }";

/// Every kind of task, its outcome and variables.
fn tasks() -> Vec<(&'static str, &'static str, &'static str)> {
    vec![
        ("{ kind = \"count\" }", RFS, ""),
        ("{ kind = \"moments\" }", "", AGE_AND_NODES),
        ("{ kind = \"histogram\", edges = [0, 1, 4, 10, 40, 10000] }", "", AGE_AND_NODES),
        (
            "{ kind = \"quantile\", shares = [0.25, 0.5, 0.75], low = 0, high = 6000, resolution = 0.5 }",
            "",
            AGE_AND_NODES,
        ),
        ("{ kind = \"kaplan-meier\" }", RFS, ""),
        ("{ kind = \"log-rank\", groups = [0, 1] }", RFS, "[[variables]]\nname = \"meno\"\n"),
        (
            "{ kind = \"log-rank\", groups = [0, 1], stratified_by_site = true }",
            RFS,
            "[[variables]]\nname = \"meno\"\n",
        ),
        ("{ kind = \"linear\", ridge = 0.5 }", PGR, AGE_AND_NODES),
        ("{ kind = \"logistic\", ridge = 0.1 }", DEATH, AGE_AND_NODES),
        ("{ kind = \"cox\" }", RFS, MODEL_B),
        ("{ kind = \"cox\", ties = \"breslow\", ridge = 2.0 }", RFS, MODEL_B),
        ("{ kind = \"cox\", stratified_by_site = true }", RFS, MODEL_B),
        ("{ kind = \"discrete-time\", link = \"cloglog\", ends_days = [400, 900, 1826.25] }", RFS, MODEL_B),
        ("{ kind = \"pca\", components = 2, correlation = true }", "", AGE_AND_NODES),
        ("{ kind = \"boosting\", trees = 5, depth = 3 }", DEATH, AGE_AND_NODES),
    ]
}

/// All numbers of a result, in order.
fn flat(value: &serde_json::Value, into: &mut Vec<f64>) {
    match value {
        serde_json::Value::Number(number) => into.push(number.as_f64().unwrap()),
        serde_json::Value::Array(items) => items.iter().for_each(|item| flat(item, into)),
        serde_json::Value::Object(items) => items.values().for_each(|item| flat(item, into)),
        _ => {}
    }
}

fn result_numbers(outcome: &Outcome) -> Vec<f64> {
    let mut all = Vec::new();
    flat(&serde_json::to_value(outcome).unwrap(), &mut all);
    all
}

fn without_names(mut outcome: Outcome) -> Outcome {
    if let Outcome::Model(model) = &mut outcome {
        model.sites.clear();
        model.plan = acequia_types::Digest::of(b"");
    }
    outcome
}

/// Tasks whose result depends on which rows are together: averaged weights. They have no centralised form that equals the others.
fn averaged() -> Vec<(&'static str, &'static str, &'static str)> {
    vec![
        (
            "{ kind = \"averaging\", strategy = { kind = \"fed-avg\" }, rounds = 3, local_steps = 20, batch = 16, rate = 0.1 }",
            RFS,
            MODEL_B,
        ),
        (
            "{ kind = \"averaging\", strategy = { kind = \"scaffold\" }, rounds = 3, local_steps = 20, batch = 16, rate = 0.01 }",
            DEATH,
            SCALED,
        ),
        (
            "{ kind = \"averaging\", network = { hidden = [4] }, start = \"uniform\", strategy = { kind = \"fed-adam\", server_rate = 0.05 }, rounds = 3, local_steps = 20, batch = 16, rate = 0.05 }",
            DEATH,
            SCALED,
        ),
    ]
}

/// How a run is laid out: by whom sums are protected, who adds up, and whether the rows of one site are donors', who are asked.
#[derive(Debug, Clone, Copy)]
struct Layout {
    architecture: Architecture,
    protection: &'static str,
    donors: bool,
}

/// All forms that are offered.
fn layouts() -> Vec<Layout> {
    let mut all = Vec::new();
    for protection in ["none", "two-aggregators", "double-masking"] {
        for (architecture, donors) in [
            (Architecture::Centralised, false),
            (Architecture::Federated, false),
            (Architecture::Federated, true),
            (Architecture::Decentralised, false),
            (Architecture::Decentralised, true),
        ] {
            all.push(Layout { architecture, protection, donors });
        }
    }
    all
}

impl Layout {
    /// Sums of fixed point, where masks are on them. Whoever holds all rows masks nothing by double masking.
    fn is_masked(self) -> bool {
        self.protection == "two-aggregators"
            || (self.protection == "double-masking" && self.architecture != Architecture::Centralised)
    }

    fn run(self, (task, outcome, variables): (&str, &str, &str)) -> Report {
        let plan = plan(task, outcome, variables, self.protection);
        let asked: StillAllowed = std::sync::Arc::new(|_| true);
        let donors = self.donors.then_some(("site2", &asked));
        let (rules, mut entropy) = (SiteRules::own(), SeededEntropy::new(7));
        run_while_allowed(&plan, four_sites(&plan), self.architecture, &rules, donors, now(), &mut entropy).unwrap()
    }
}

#[track_caller]
fn within(ours: &Outcome, theirs: &Outcome, relative: f64, what: &str) {
    let (ours, theirs) = (result_numbers(ours), result_numbers(theirs));
    assert_eq!(ours.len(), theirs.len(), "{what}");
    for (a, b) in ours.iter().zip(&theirs) {
        assert!((a - b).abs() <= relative * (1.0 + b.abs()), "{what}: {a} is not {b}");
    }
}

/// Every task, in every form that is offered for it: without masks to the last bit, of which 1e-8 is asked; masked to 1e-6, and to the
/// last bit among one another.
#[test]
fn every_task_is_the_same_in_every_form() {
    let exact = tasks().into_iter().map(|task| (task, true));
    for (task, is_exact) in exact.chain(averaged().into_iter().map(|task| (task, false))) {
        let federated = Layout { architecture: Architecture::Federated, protection: "none", donors: false };
        let plain = federated.run(task);
        let masked = Layout { protection: "two-aggregators", ..federated }.run(task);
        within(&masked.outcome, &plain.outcome, 1e-6, task.0);
        if ["boosting", "histogram", "quantile", "count"].iter().any(|kind| task.0.contains(&format!("\"{kind}\""))) {
            assert_eq!(without_names(masked.outcome.clone()), without_names(plain.outcome.clone()), "{}", task.0);
        }
        for layout in layouts() {
            if layout.architecture == Architecture::Centralised && !is_exact {
                continue;
            }
            let report = layout.run(task);
            let what = format!("{layout:?}: {}", task.0);
            let centralised = layout.architecture == Architecture::Centralised;
            if layout.is_masked() && !centralised {
                assert_eq!(without_names(report.outcome), without_names(masked.outcome.clone()), "{what}");
            } else if layout.is_masked() {
                // One site rounds once, where four round four times.
                within(&report.outcome, &plain.outcome, 1e-6, &what);
            } else {
                assert_eq!(without_names(report.outcome), without_names(plain.outcome.clone()), "{what}");
            }
            assert_eq!(report.rounds, plain.rounds, "{what}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// Rows may be spread over sites in any way, in any order.
    #[test]
    fn trees_do_not_depend_on_where_rows_are(
        rows in prop::collection::vec((0u8..40, -50i16..50, 0u8..2), 60..200), sites in 1usize..5, seed in any::<u64>()
    ) {
        let settings = "{ kind = \"boosting\", trees = 3, depth = 2, bins = 8 }";
        let variables = "[[variables]]\nname = \"a\"\n[[variables]]\nname = \"b\"\n";
        let plan = plan(settings, "{ kind = \"binary\", value = { name = \"y\" } }", variables, "none");
        let rules = SiteRules::own();
        let table = |name: &str, rows: &[(u8, i16, u8)]| {
            let csv: String = rows.iter().map(|(a, b, y)| format!("{a},{b},{y}\n")).collect();
            Data::from_csv(name, format!("a,b,y\n{csv}").as_bytes(), &plan.needs(), &SiteMap::default()).unwrap()
        };
        let mut parts = vec![Vec::new(); sites];
        for (at, row) in rows.iter().rev().enumerate() {
            parts[(seed.rotate_left(at as u32 % 64) % sites as u64) as usize].push(*row);
        }
        parts.retain(|part| part.len() >= 20);
        let kept: Vec<_> = parts.concat();
        prop_assume!(kept.len() >= 40 && kept.iter().any(|row| row.2 == 0) && kept.iter().any(|row| row.2 == 1));
        let whole = run_here(&plan, vec![table("all", &kept)], Architecture::Centralised, &rules, now(), &mut SeededEntropy::new(1)).unwrap();
        let split = parts.iter().enumerate().map(|(at, part)| table(&format!("s{at}"), part)).collect();
        let split = run_here(&plan, split, Architecture::Federated, &rules, now(), &mut SeededEntropy::new(1)).unwrap();
        prop_assert_eq!(without_names(whole.outcome), without_names(split.outcome));
    }
}

#[test]
fn least_squares_and_components_agree_with_numpy() {
    // numpy 2: lstsq of er on (1, age, nodes, pgr), and eigh of the correlation matrix of (age, nodes, pgr).
    let expected: serde_json::Value = serde_json::from_str(include_str!("../data/numpy-reference.json")).unwrap();
    let linear = plan("{ kind = \"linear\" }", PGR, AGE_AND_NODES, "none");
    let fitted = model(run(&linear, four_sites(&linear), Architecture::Federated));
    let Form::Linear { intercept, intercept_error, residual_sd, .. } = &fitted.form else { panic!() };
    all_close(fitted.coefficients(), &numbers(&expected["linear"]["coef"]), 1e-9);
    all_close(fitted.standard_errors(), &numbers(&expected["linear"]["se"]), 1e-9);
    close(*intercept, expected["linear"]["intercept"].as_f64().unwrap(), 1e-8);
    close(*intercept_error, expected["linear"]["intercept_se"].as_f64().unwrap(), 1e-8);
    close(*residual_sd, expected["linear"]["residual_sd"].as_f64().unwrap(), 1e-8);
    let pca = plan("{ kind = \"pca\", components = 3, correlation = true }", "", AGE_AND_NODES, "none");
    let Outcome::Pca(result) = run(&pca, four_sites(&pca), Architecture::Federated).outcome else { panic!() };
    all_close(&result.variances, &numbers(&expected["pca"]["variances"]), 1e-10);
    for (ours, theirs) in result.loadings.iter().zip(expected["pca"]["loadings"].as_array().unwrap()) {
        all_close(ours, &numbers(theirs), 1e-9);
    }
}
