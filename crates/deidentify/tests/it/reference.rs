//! The reference optima of the field's established tool on public tables: `shared/reference/arx-adult.json`.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use acequia_deidentify::{FileTable, Policy, Receipt, deidentify_file, read_policy, recount};
use acequia_privacy::Metric;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// The folder with reference data, beside a checkout of the project; not part of it.
pub(crate) fn shared() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    if folder.join("data/anonymity").is_dir() {
        return Some(folder);
    }
    eprintln!("skipped: the reference tables are not here (../shared)");
    None
}

/// A policy over all columns of a table: the given quasi-identifiers with their hierarchy files, one sensitive column,
/// the rest insensitive.
pub(crate) fn policy(
    folder: &Path,
    dataset: &str,
    table: &FileTable,
    quasi_identifiers: &[&str],
    sensitive: Option<&str>,
    head: &str,
) -> (Policy, BTreeMap<String, Vec<u8>>) {
    let mut text = format!("{head}\n[columns]\n");
    for name in table.column_names() {
        let role = if quasi_identifiers.contains(&name) {
            format!("role = \"quasi-identifier\", hierarchy = {{ file = \"{dataset}_hierarchy_{name}.csv\" }}")
        } else if sensitive == Some(name) {
            "role = \"sensitive\"".to_owned()
        } else {
            "role = \"insensitive\"".to_owned()
        };
        text.push_str(&format!("{name:?} = {{ {role} }}\n"));
    }
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("policy.toml");
    std::fs::write(&path, text).unwrap();
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name().to_string_lossy().contains("_hierarchy_") {
            std::fs::copy(entry.path(), temporary.path().join(entry.file_name())).unwrap();
        }
    }
    read_policy(&path).unwrap()
}

const ADULT: [&str; 8] =
    ["age", "education", "marital-status", "native-country", "race", "salary-class", "sex", "workclass"];

fn metric(name: &str) -> Metric {
    match name {
        "loss" => Metric::Loss,
        "nue" => Metric::Entropy,
        "dm" => Metric::Discernibility,
        "aecs" => Metric::ClassSize,
        "loss_gs0" => Metric::GeneralisationLoss,
        "nue_mono" => Metric::GeneralisationEntropy,
        other => panic!("unknown metric {other}"),
    }
}

/// The head of a policy for the reference's short names, such as `k5+rl4,3`.
fn head(model: &str, dataset: &str, sensitive: &str) -> String {
    let (mut k, mut models) = (1, String::new());
    let mut push = |text: String| models.push_str(&format!("[[models]]\ncolumn = {sensitive:?}\n{text}\n"));
    for part in model.split('+') {
        let digits = part.trim_start_matches(|letter: char| letter.is_ascii_alphabetic());
        match &part[..part.len() - digits.len()] {
            "k" => k = digits.parse().unwrap(),
            "dl" => push(format!("model = \"distinct-l\"\nl = {digits}")),
            "el" => push(format!("model = \"entropy-l\"\nl = {digits}.0")),
            "rl" => {
                let (c, l) = digits.split_once(',').unwrap();
                push(format!("model = \"recursive-cl\"\nc = {c}.0\nl = {l}"));
            }
            "th" => push(format!(
                "model = \"t-closeness\"\nt = {digits}\ndistance = \"hierarchical\"\n\
                 hierarchy = {{ file = \"{dataset}_hierarchy_{sensitive}.csv\" }}"
            )),
            other => panic!("unknown model {other}"),
        }
    }
    format!("k = {k}\nmaximum_risk = 1.0\n{models}")
}

#[test]
fn optima_equal_the_reference() {
    let Some(shared) = shared() else { return };
    let folder = shared.join("data/anonymity/adult");
    let reference: Value =
        serde_json::from_slice(&std::fs::read(shared.join("reference/arx-adult.json")).unwrap()).unwrap();
    let table = FileTable::read(&folder.join("adult.csv.gz"), None).unwrap();
    let mut entries = 0;
    for entry in reference["global_optimum"].as_array().unwrap() {
        let sensitive = entry["sensitive"].as_str().unwrap_or("occupation");
        let mut columns = ADULT.to_vec();
        if entry["dataset"] == "adult9" {
            columns.push("occupation");
        }
        let sensitive = (entry["dataset"] == "adult").then_some(sensitive);
        let model = entry["model"].as_str().unwrap();
        let head = head(model, "adult", sensitive.unwrap_or_default());
        let (policy, files) = policy(&folder, "adult", &table, &columns, sensitive, &head);
        let goal = (metric(entry["metric"].as_str().unwrap()), entry["suppression_limit"].as_f64().unwrap());
        let optima = table.optima(&policy, &files, &[goal]).unwrap();
        let found = optima.optima[0].as_ref().unwrap();
        let expected = entry["score"].as_f64().unwrap();
        let what = format!("{} {model} {goal:?}", entry["dataset"]);
        assert!(
            (found.score - expected).abs() <= 1e-8 * expected.abs().max(1e-300),
            "{what}: {} where {expected} is expected, at {:?}",
            found.score,
            found.levels
        );
        let single = entry["independent_exhaustive_check"]["optimal_transformations"] == 1;
        let levels: BTreeMap<String, usize> = serde_json::from_value(entry["levels"].clone()).unwrap();
        if single {
            assert_eq!(found.levels, levels, "{what}");
        }
        if found.levels == levels {
            assert_eq!(found.suppressed, entry["suppressed_rows"].as_u64().unwrap(), "{what}");
        }
        entries += 1;
    }
    assert_eq!(entries, reference["global_optimum"].as_array().unwrap().len());
}

/// Rows of a CSV file.
fn csv_rows(bytes: &[u8]) -> Vec<Vec<String>> {
    let mut reader = csv::ReaderBuilder::new().delimiter(b';').has_headers(false).from_reader(bytes);
    reader.records().map(|row| row.unwrap().iter().map(str::to_owned).collect()).collect()
}

/// Where the reference's optimum is the only one, the released rows are the reference's, by the digest of its output.
#[test]
fn released_rows_have_the_digest_of_the_reference() {
    let Some(shared) = shared() else { return };
    let folder = shared.join("data/anonymity/adult");
    let path = folder.join("adult.csv.gz");
    let reference: Value =
        serde_json::from_slice(&std::fs::read(shared.join("reference/arx-adult.json")).unwrap()).unwrap();
    let table = FileTable::read(&path, None).unwrap();
    let mut text = Vec::new();
    flate2::read::MultiGzDecoder::new(std::fs::File::open(&path).unwrap()).read_to_end(&mut text).unwrap();
    let rows = csv_rows(&text);
    let out = tempfile::tempdir().unwrap();
    let mut compared = 0;
    for entry in reference["global_optimum"].as_array().unwrap() {
        let single = entry["independent_exhaustive_check"]["optimal_transformations"] == 1;
        let (Some(expected), true) = (entry["qi_output_sha256"].as_str(), single) else { continue };
        // In the order of the reference's keys.
        let (columns, levels): (Vec<&str>, Vec<u64>) = entry["levels"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(column, level)| (column.as_str(), level.as_u64().unwrap()))
            .unzip();
        let sensitive = (entry["dataset"] == "adult").then(|| entry["sensitive"].as_str().unwrap_or("occupation"));
        let head = head(entry["model"].as_str().unwrap(), "adult", sensitive.unwrap_or_default());
        let (mut policy, files) = policy(&folder, "adult", &table, &columns, sensitive, &head);
        policy.metric = metric(entry["metric"].as_str().unwrap());
        policy.suppression_limit = entry["suppression_limit"].as_f64().unwrap();
        let to = out.path().join(format!("{compared}.csv"));
        deidentify_file(&path, None, &policy, &files, &to, u64::MAX).unwrap();
        let mut released = BTreeMap::<Vec<String>, u64>::new();
        let written = csv_rows(&std::fs::read(&to).unwrap());
        let place = |header: &[String]| -> Vec<usize> {
            columns.iter().map(|name| header.iter().position(|column| column == name).unwrap()).collect()
        };
        let pick =
            |row: &[String], place: &[usize]| -> Vec<String> { place.iter().map(|at| row[*at].clone()).collect() };
        let at = place(&written[0]);
        written[1..].iter().for_each(|row| *released.entry(pick(row, &at)).or_default() += 1);
        // What each input row becomes, straight from the hierarchy files; a class that was not released is all `*`.
        let hierarchies: Vec<BTreeMap<String, Vec<String>>> = columns
            .iter()
            .map(|name| {
                let rows = csv_rows(&std::fs::read(folder.join(format!("adult_hierarchy_{name}.csv"))).unwrap());
                rows.into_iter().map(|row| (row[0].clone(), row)).collect()
            })
            .collect();
        let at = place(&rows[0]);
        let mut digest = Sha256::new();
        for row in &rows[1..] {
            let values = pick(row, &at).into_iter().zip(&hierarchies).zip(&levels);
            let mut class: Vec<String> =
                values.map(|((value, tree), level)| tree[&value][*level as usize].clone()).collect();
            match released.get_mut(&class) {
                Some(left) => *left -= 1,
                None => class.fill("*".to_owned()),
            }
            digest.update(class.join(";") + "\n");
        }
        assert!(released.values().all(|left| *left == 0), "every released row is an input row");
        assert_eq!(hex::encode(digest.finalize()), expected, "{entry}");
        compared += 1;
    }
    println!("{compared} outputs compared");
    assert!(compared >= 20);
}

/// Quasi-identifiers of a table: all columns but these.
fn all_but<'a>(table: &'a FileTable, left_out: &[&str]) -> Vec<&'a str> {
    table.column_names().into_iter().filter(|name| !left_out.contains(name)).collect()
}

#[test]
fn risk_before_equals_the_reference() {
    let Some(shared) = shared() else { return };
    let reference: Value =
        serde_json::from_slice(&std::fs::read(shared.join("reference/arx-adult.json")).unwrap()).unwrap();
    let table = FileTable::read(&shared.join("data/anonymity/adult/adult.csv.gz"), None).unwrap();
    // The reference's figure for the United States.
    const POPULATION: u64 = 317_238_626;
    for (name, columns) in [("adult", ADULT.to_vec()), ("adult9", all_but(&table, &[]))] {
        let expected = &reference["input_risk"][name];
        let columns: Vec<String> = columns.into_iter().map(str::to_owned).collect();
        let found = table.risk(&columns, 0.2, Some(POPULATION)).unwrap();
        let close = |found: f64, expected: &Value, relative: f64| {
            let expected = expected.as_f64().unwrap();
            assert!((found - expected).abs() <= relative * expected.max(1e-9), "{name}: {found}, expected {expected}");
        };
        let prosecutor = &found.risk.prosecutor.risk;
        close(prosecutor.maximum, &expected["prosecutor"]["highest"], 1e-9);
        close(prosecutor.average, &expected["prosecutor"]["success_rate"], 1e-9);
        close(prosecutor.at_risk_share, &expected["prosecutor"]["records_at_risk_gt_0.2"], 1e-9);
        close(found.unique_share, &expected["sample_unique_fraction"], 1e-9);
        let uniques = found.population_uniques.unwrap();
        let population = &expected["population_unique_usa"];
        close(uniques.pitman.unwrap(), &population["pitman"], 1e-3);
        close(uniques.zayatz.unwrap(), &population["zayatz"], 1e-3);
        close(uniques.dankar, &population["dankar"], 1e-3);
    }
}

/// De-identifies a table of the collection with k = 5, checks the written file, returns the receipt.
fn run(dataset: &str, file: &str, left_out: &[&str], sensitive: Option<&str>, head: &str) -> Option<Receipt> {
    let shared = shared()?;
    let folder = shared.join("data/anonymity").join(dataset);
    let path = folder.join(file);
    let table = FileTable::read(&path, None).unwrap();
    let columns = all_but(&table, left_out);
    let hierarchies = if dataset == "mach2019" { "mach2019_int" } else { dataset };
    let (policy, files) = policy(&folder, hierarchies, &table, &columns, sensitive, head);
    let out = tempfile::tempdir().unwrap();
    let to = out.path().join("released.csv");
    let receipt = deidentify_file(&path, None, &policy, &files, &to, u64::MAX).unwrap();
    let recount = recount(&to, &policy, &files, None).unwrap();
    assert_eq!(recount.rows, receipt.rows.released);
    assert!(recount.classes.smallest().unwrap() >= 5);
    Some(receipt)
}

const DIABETES: [&str; 8] = [
    "race",
    "gender",
    "age",
    "admission_type_id",
    "discharge_disposition_id",
    "admission_source_id",
    "time_in_hospital",
    "medical_specialty",
];

#[test]
fn the_hard_lattice_is_solved_by_tagging() {
    let Some(shared) = shared() else { return };
    let folder = shared.join("data/anonymity/diabetes130");
    let table = FileTable::read(&folder.join("diabetes130.csv.gz"), None).unwrap();
    let head = "k = 5\nmaximum_risk = 1.0";
    let optimum = |columns: &[&str]| {
        let (policy, files) = policy(&folder, "diabetes130", &table, columns, None, head);
        let optima = table.optima(&policy, &files, &[(Metric::Loss, 0.05)]).unwrap();
        (optima.optima[0].clone().unwrap(), optima.counted)
    };
    let (eight, _) = optimum(&DIABETES);
    assert!((eight.score - 0.179_707).abs() < 1e-6 && eight.suppressed == 4_934, "{eight:?}");
    let (nine, counted) = optimum(&[&DIABETES[..], &["diag_1"]].concat());
    assert!((nine.score - 0.250_970).abs() < 1e-6 && nine.suppressed == 4_934, "{nine:?}");
    assert!(counted < 2_543, "the reference tool checks 2,543 combinations; {counted} were counted");
}

#[test]
fn whole_tables_reach_the_published_optima() {
    let global = "k = 5\nmaximum_risk = 1.0\nsuppression_limit = 0.05";
    let Some(adult) = run("adult", "adult.csv.gz", &["occupation"], Some("occupation"), global) else { return };
    assert!((adult.loss.total - 0.170_122_79).abs() < 1e-8 && adult.loss.proven);
    assert_eq!((adult.rows.suppressed, adult.classes.count), (1_346, 397));
}

#[test]
fn many_columns_are_recoded_as_well_as_by_the_reference() {
    let head = |recoding: &str| format!("k = 5\nmaximum_risk = 1.0\nsuppression_limit = 1.0\nrecoding = {recoding:?}");
    let file = "mach2019_int.csv.gz";
    let Some(global) = run("mach2019", file, &[], None, &head("global")) else { return };
    let least = global.loss.least_score.unwrap();
    assert!(global.loss.total <= 0.4956 && least > 0.1 && least <= global.loss.total, "{:?}", global.loss);
    assert!(!global.loss.proven && global.loss.combinations_tried >= 1_000, "{:?}", global.loss);
    let local = run("mach2019", file, &[], None, &head("local")).unwrap();
    assert!(local.loss.granularity >= 0.634 && local.rows.suppressed == 0, "{:?}", local.loss);
}

#[test]
fn local_recoding_keeps_what_the_goal_asks() {
    let local = "k = 5\nmaximum_risk = 1.0\nsuppression_limit = 0.05\nrecoding = \"local\"";
    let Some(adult) = run("adult", "adult.csv.gz", &["occupation"], Some("occupation"), local) else { return };
    assert!(adult.loss.granularity >= 0.971 && adult.rows.suppressed <= 3, "{:?}", adult.loss);
    let fars = run("fars", "fars_subset.csv.gz", &["istatenum"], Some("istatenum"), local).unwrap();
    assert!(fars.loss.granularity >= 0.957 && fars.rows.suppressed <= 3, "{:?}", fars.loss);
}
