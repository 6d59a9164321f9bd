//! The search against plain counting of rows, on random tables.

use std::collections::BTreeMap;
use std::sync::Arc;

use acequia_privacy::{Classes, Metric};
use proptest::prelude::*;

use crate::DeidentifyError;
use crate::coded::{CodedColumn, Coder};
use crate::engine::{Prepared, Recoded, Tuples, suppression_limit};
use crate::hierarchy::Hierarchy;
use crate::policy::{ModelSpec, Policy, Recoding, Role};
use crate::search::{Goal, Outcome, search_anytime, specialise};
use crate::verify::{Beside, Recounter};

const POLICY: &str = r#"
    maximum_risk = 1.0
    [columns]
    a = { role = "quasi-identifier", hierarchy = { intervals = { levels = [2, 4], lower = 0, upper = 10 } } }
    b = { role = "quasi-identifier", weight = 2.0, hierarchy = { tree = { low = ["p", "q"], high = ["r"] } } }
    c = { role = "quasi-identifier", hierarchy = "suppress" }
    s = { role = "sensitive" }
"#;

type Row = (u8, Option<u8>, bool, u8);

fn text(row: &Row, column: &str) -> Option<String> {
    match column {
        "a" => Some(row.0.to_string()),
        "b" => row.1.map(|b| ["p", "q", "r"][usize::from(b)].to_owned()),
        "c" => Some(row.2.to_string()),
        _ => Some(row.3.to_string()),
    }
}

fn column(rows: &[Row], name: &str) -> CodedColumn {
    let mut coder = Coder::new(name);
    rows.iter().for_each(|row| coder.push(text(row, name).as_deref()));
    coder.finish()
}

fn prepared(rows: &[Row], policy: &Policy) -> Prepared {
    Prepared::new(policy, &BTreeMap::new(), rows.len(), |name| Ok(Arc::new(column(rows, name)))).unwrap()
}

/// One of each privacy model that a table can satisfy alone.
const MODELS: [&str; 13] = [
    "model = \"distinct-l\"\ncolumn = \"s\"\nl = 2",
    "model = \"entropy-l\"\ncolumn = \"s\"\nl = 1.5",
    "model = \"recursive-cl\"\ncolumn = \"s\"\nc = 2.0\nl = 2",
    "model = \"t-closeness\"\ncolumn = \"s\"\nt = 0.3",
    "model = \"t-closeness\"\ncolumn = \"s\"\nt = 0.2\ndistance = \"ordered\"",
    "model = \"t-closeness\"\ncolumn = \"s\"\nt = 0.3\ndistance = \"hierarchical\"\nhierarchy = { tree = { a = [\"0\", \"1\"], b = [\"2\"] } }",
    "model = \"delta-disclosure\"\ncolumn = \"s\"\ndelta = 1.0",
    "model = \"beta-likeness\"\ncolumn = \"s\"\nbeta = 1.0",
    "model = \"beta-likeness\"\ncolumn = \"s\"\nbeta = 1.0\nenhanced = true",
    "model = \"alpha-k\"\ncolumn = \"s\"\nalpha = 0.6\nvalue = \"1\"",
    "model = \"average-risk\"\nmaximum = 0.4",
    "model = \"records-at-risk\"\nrisk = 0.4\nshare = 0.2",
    "model = \"population-uniqueness\"\nshare = 0.05\npopulation = 1000",
];

const NAMES: [&str; 3] = ["a", "b", "c"];

/// The label of a value at a level, straight from the hierarchy.
fn label(policy: &Policy, row: &Row, name: &str, level: usize) -> Option<String> {
    let hierarchy = Hierarchy::build(name, policy.columns[name].hierarchy.as_ref().unwrap(), &BTreeMap::new()).unwrap();
    match text(row, name) {
        None => (level + 1 == hierarchy.levels()).then(|| "*".to_owned()),
        Some(text) => hierarchy.label(&text, level),
    }
}

/// Loss and suppressed rows of a combination, by going through the rows one by one.
fn by_hand(rows: &[Row], policy: &Policy, levels: [usize; 3], k: usize, l: usize) -> (f64, usize) {
    let labels: Vec<Vec<Option<String>>> = rows
        .iter()
        .map(|row| NAMES.iter().zip(levels).map(|(name, level)| label(policy, row, name, level)).collect())
        .collect();
    let kept = |at: usize| {
        let class: Vec<usize> = (0..rows.len()).filter(|other| labels[*other] == labels[at]).collect();
        let mut values: Vec<u8> = class.iter().map(|other| rows[*other].3).collect();
        values.sort_unstable();
        values.dedup();
        class.len() >= k && values.len() >= l
    };
    let kept: Vec<bool> = (0..rows.len()).map(kept).collect();
    let (mut product, mut weights) = (0.0, 0.0);
    for (nth, name) in NAMES.iter().enumerate() {
        // Leaves of the hierarchy: those listed for the tree, those that occur for the others; missing is one more.
        let mut occurring: Vec<Option<String>> = rows.iter().map(|row| text(row, name)).collect();
        occurring.sort();
        occurring.dedup();
        let missing = usize::from(occurring.contains(&None));
        let leaves = if *name == "b" { 3 + missing } else { occurring.len() };
        let top = [3, 2, 1][nth] == levels[nth];
        let stands_for = |at: usize| match &labels[at][nth] {
            _ if !kept[at] || top => leaves,
            None => 1,
            Some(label) if *name == "b" => match (levels[nth], label.as_str()) {
                (1, "low") => 2,
                _ => 1,
            },
            Some(_) => {
                let mut same: Vec<Option<String>> = (0..rows.len())
                    .filter(|other| labels[*other][nth] == labels[at][nth])
                    .map(|other| text(&rows[other], name))
                    .collect();
                same.sort();
                same.dedup();
                same.len()
            }
        };
        let mean = (0..rows.len()).map(|at| stands_for(at) as f64 / leaves as f64).sum::<f64>() / rows.len() as f64;
        let least = 1.0 / leaves as f64;
        let loss = if leaves <= 1 { 0.0 } else { (mean - least) / (1.0 - least) };
        let weight = policy.columns[*name].weight;
        product += weight * (1.0 + loss).ln();
        weights += weight;
    }
    ((product / weights).exp() - 1.0, kept.iter().filter(|kept| !**kept).count())
}

/// What the search for large lattices finds, counting so many combinations.
fn anytime(prepared: &Prepared, policy: &Policy, goal: Goal, effort: u64) -> Outcome {
    let lattice = prepared.lattice();
    let (tuples, _) = prepared.tuples::<1>(&lattice);
    let conditions = prepared.conditions(policy, &BTreeMap::new()).unwrap();
    search_anytime(&lattice, &tuples, &conditions, &[goal], effort)
}

/// Local recoding as for large lattices.
fn specialised(prepared: Prepared, policy: &Policy) -> Recoded {
    let lattice = prepared.lattice();
    let (combinations, rows) = (lattice.size(), usize::try_from(lattice.rows).unwrap());
    let (tuples, of_row) = prepared.tuples::<1>(&lattice);
    let conditions = prepared.conditions(policy, &BTreeMap::new()).unwrap();
    let local = specialise(&lattice, &tuples, &conditions);
    let tuples = Tuples::of(&lattice, tuples);
    Recoded { columns: prepared.columns, of_row, tuples, local, rows, combinations, before: Classes::of([]) }
}

fn rows(most: usize) -> impl Strategy<Value = Vec<Row>> {
    proptest::collection::vec((0..12_u8, proptest::option::weighted(0.9, 0..3_u8), any::<bool>(), 0..3_u8), 1..most)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_search_is_as_good_as_trying_everything_by_hand(
        rows in rows(40), k in 1..5_u64, l in 1..3_u64, share in prop_oneof![Just(0.0), Just(0.1), Just(0.3), Just(1.0)],
    ) {
        let mut policy: Policy = toml::from_str(POLICY).unwrap();
        policy.k = k;
        policy.l_diversity.insert("s".to_owned(), l);
        policy.suppression_limit = share;
        let limit = suppression_limit(&policy, rows.len());
        let goal = Goal { metric: Metric::Loss, limit };
        let found = prepared(&rows, &policy).optima(&policy, &BTreeMap::new(), &[goal]).unwrap().found.remove(0);
        let mut best: Option<(f64, usize)> = None;
        for a in 0..4 {
            for b in 0..3 {
                for c in 0..2 {
                    let (loss, suppressed) = by_hand(&rows, &policy, [a, b, c], k as usize, l as usize);
                    if suppressed as u64 <= limit && best.is_none_or(|best| loss < best.0) {
                        best = Some((loss, suppressed));
                    }
                }
            }
        }
        match (found, best) {
            (Some(found), Some(best)) => prop_assert!((found.score - best.0).abs() < 1e-9, "{found:?} {best:?}"),
            (found, best) => prop_assert_eq!(found.is_some(), best.is_some()),
        }
    }

    #[test]
    fn what_is_certified_holds(
        rows in rows(60), k in 1..6_u64, l in 1..3_u64, effort in 1..60_u64, share in prop_oneof![Just(0.1), Just(1.0)],
        metric in prop_oneof![Just(Metric::Loss), Just(Metric::Entropy), Just(Metric::Discernibility), Just(Metric::ClassSize)],
    ) {
        let mut policy: Policy = toml::from_str(POLICY).unwrap();
        policy.k = k;
        policy.l_diversity.insert("s".to_owned(), l);
        let prepared = prepared(&rows, &policy);
        policy.suppression_limit = share;
        let goal = Goal { metric, limit: suppression_limit(&policy, rows.len()) };
        let best = prepared.optima(&policy, &BTreeMap::new(), &[goal]).unwrap().found.remove(0);
        let close = |a: f64, b: f64| (a - b).abs() <= 1e-9 * (1.0 + a.abs());
        match (anytime(&prepared, &policy, goal, effort).found.remove(0), &best) {
            (Some(found), Some(best)) => {
                prop_assert!(found.score >= best.score || close(found.score, best.score));
                prop_assert!(found.least_score <= best.score || close(found.least_score, best.score), "{found:?} {best:?}");
            }
            (found, best) => prop_assert!(found.is_none() && (best.is_none() || effort < 24)),
        }
        // There are 24 combinations.
        let whole = anytime(&prepared, &policy, goal, 24).found.remove(0);
        match (whole, best) {
            (Some(whole), Some(best)) => prop_assert!(
                close(whole.score, best.score) && close(whole.least_score, best.score), "{whole:?} {best:?}"
            ),
            (whole, best) => prop_assert_eq!(whole.is_some(), best.is_some()),
        }
    }

    #[test]
    fn raising_levels_never_lowers_k(rows in rows(60), levels in (0..4_usize, 0..3_usize, 0..2_usize)) {
        let policy: Policy = toml::from_str(POLICY).unwrap();
        let smallest = |levels: [usize; 3]| {
            let mut sizes: BTreeMap<Vec<Option<String>>, usize> = BTreeMap::new();
            for row in &rows {
                let labels = NAMES.iter().zip(levels).map(|(name, level)| label(&policy, row, name, level)).collect();
                *sizes.entry(labels).or_default() += 1;
            }
            *sizes.values().min().unwrap()
        };
        let below = [levels.0, levels.1, levels.2];
        for (at, top) in [3, 2, 1].into_iter().enumerate() {
            if below[at] < top {
                let mut above = below;
                above[at] += 1;
                prop_assert!(smallest(above) >= smallest(below));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_verifier_agrees_with_the_search(
        rows in rows(30), k in 1..4_u64, l in 1..3_u64, way in 0..3_u8, model in proptest::option::of(0..MODELS.len()),
    ) {
        let mut policy: Policy = toml::from_str(POLICY).unwrap();
        policy.k = k;
        policy.l_diversity.insert("s".to_owned(), l);
        policy.suppression_limit = 1.0;
        policy.models.extend(model.map(|at| toml::from_str::<ModelSpec>(MODELS[at]).unwrap()));
        // Conditions on the whole table need the same levels everywhere.
        let way = if policy.models.iter().any(|model| model.column().is_none()) { 0 } else { way };
        policy.recoding = if way == 0 { Recoding::Global } else { Recoding::Local };
        let prepared = prepared(&rows, &policy);
        let whole = prepared.whole();
        let recoded = match way {
            2 => specialised(prepared, &policy),
            _ => match prepared.recode(&policy, &BTreeMap::new()) {
                Ok(recoded) => recoded,
                // Nothing at all could be kept.
                Err(_) => return Ok(()),
            },
        };
        let mut recounter = Recounter::new(&["s"]);
        let kept: Vec<usize> = recoded.kept().collect();
        for row in &kept {
            let labels: Vec<Option<&str>> = (0..3)
                .map(|at| recoded.level(*row, at).and_then(|level| recoded.label(*row, at, level)))
                .collect();
            let sensitive = text(&rows[*row], "s");
            recounter.row(labels, [sensitive.as_deref()]);
        }
        let recount = recounter.finish(&policy, &Beside { whole: Some(&whole), ..Beside::default() });
        prop_assert!(recount.is_ok(), "{:?}", recount);
        // A stricter policy than what was measured is found broken, whoever made the rows.
        let recount = recount.unwrap();
        if let Some(smallest) = recount.classes.smallest() {
            policy.k = smallest + 1;
            let mut recounter = Recounter::new(&["s"]);
            for row in &kept {
                let labels: Vec<Option<&str>> = (0..3)
                    .map(|at| recoded.level(*row, at).and_then(|level| recoded.label(*row, at, level)))
                    .collect();
                recounter.row(labels, [None]);
            }
            let broken = recounter.finish(&policy, &Beside::default());
            let is_found = matches!(broken, Err(DeidentifyError::Recount { found, .. }) if found == smallest);
            prop_assert!(is_found);
        }
        prop_assert_eq!(kept.len() as u64 + recoded.local.suppressed, rows.len() as u64);
        prop_assert_eq!(policy.of_role(Role::QuasiIdentifier).count(), 3);
    }
}

#[test]
fn odd_tables_have_a_right_answer() {
    let mut policy: Policy = toml::from_str(POLICY).unwrap();
    policy.k = 2;
    let run = |rows: &[Row], policy: &Policy| {
        prepared(rows, policy).recode(policy, &BTreeMap::new()).map(|recoded| recoded.kept().count())
    };
    let missing: Vec<Row> = vec![(3, None, true, 0); 5];
    let one: Vec<Row> = vec![(3, Some(1), true, 0)];
    let unique: Vec<Row> = (0..12).map(|at| (at, Some(at % 3), at % 2 == 0, at % 3)).collect();
    for recoding in [Recoding::Global, Recoding::Local] {
        policy.recoding = recoding;
        policy.suppression_limit = 0.0;
        assert_eq!(run(&[], &policy).unwrap(), 0, "an empty table stays empty");
        assert!(run(&one, &policy).is_err(), "one row cannot hide");
        assert_eq!(run(&missing, &policy).unwrap(), 5, "missing values are alike");
        assert_eq!(run(&unique, &policy).unwrap(), 12, "at the root everybody is alike");
    }
}
