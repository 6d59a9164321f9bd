//! Persons with their diagnoses: the figures of the field's reference data, and a release of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use acequia_deidentify::{
    DeidentifyError, EventRisk, Policy, deidentify_events, events_path, read_policy, recount_events, risk_of_events,
};

use crate::reference::shared;

const POLICY: &str = r#"
k = 12
maximum_risk = 0.09
recoding = "local"
[events]
codes = ["diag_1", "diag_2", "diag_3"]
missing = ["?"]
hierarchy = { icd = "icd-9" }
[[models]]
model = "km-anonymity"
m = 2
"#;

/// The table of encounters, and a policy over it: an attacker knows age band, sex and race.
fn diabetes(rest: &str) -> Option<(PathBuf, Policy, BTreeMap<String, Vec<u8>>)> {
    let folder = shared()?.join("data/anonymity/diabetes130");
    let here = tempfile::tempdir().unwrap();
    let mut text = format!("{POLICY}{rest}[columns]\npatient_nbr = {{ role = \"person-id\" }}\n");
    text += "encounter_id = { role = \"direct-identifier\" }\n";
    for column in ["age", "gender", "race"] {
        let file = format!("diabetes130_hierarchy_{column}.csv");
        std::fs::copy(folder.join(&file), here.path().join(&file)).unwrap();
        text += &format!("{column} = {{ role = \"quasi-identifier\", hierarchy = {{ file = {file:?} }} }}\n");
    }
    text += "readmitted = { role = \"sensitive\" }\n";
    for column in [
        "admission_type_id",
        "discharge_disposition_id",
        "admission_source_id",
        "time_in_hospital",
        "medical_specialty",
        "num_lab_procedures",
        "num_procedures",
        "num_medications",
        "number_outpatient",
        "number_emergency",
        "number_inpatient",
        "number_diagnoses",
        "A1Cresult",
        "insulin",
    ] {
        text += &format!("{column} = {{ role = \"direct-identifier\" }}\n");
    }
    let path = here.path().join("policy.toml");
    std::fs::write(&path, text).unwrap();
    let (policy, files) = read_policy(&path).unwrap();
    Some((folder.join("diabetes130.csv.gz"), policy, files))
}

/// `reference/deidentification.md` §1: 71,518 patients, 3.7 codes on average; 55 % unique by their set of ICD-9 codes, 80 %
/// with age band, sex and race; by age band, sex, race and the two worst codes 45 %, with 3-digit codes 41 %, with chapters
/// 1.7 %; with chapters 5.1 % are below 5.
///
/// What gives these figures: the codes of all encounters of a patient as a set, `?` being no code; age band, sex and
/// race of the patient's first row; "two worst codes" are at most two, so that a patient with one code counts too.
#[test]
fn set_valued_uniqueness_is_that_of_the_reference() {
    let Some((table, policy, files)) = diabetes("") else { return };
    let EventRisk { pooled, counts, levels, .. } = risk_of_events(&table, None, &policy, &files).unwrap();
    assert_eq!((pooled.rows, pooled.persons, pooled.of_several_rows), (101_766, 71_518, 16_773));
    assert_eq!((counts.read, counts.distinct), (counts.repeated + 266_756, 266_756));
    assert_eq!(pooled.disagreeing["age"], 1_574);
    let [codes, categories, chapters] = levels.as_slice() else { panic!("{} levels", levels.len()) };
    let share = |persons: u64| persons as f64 / 71_518.0;
    assert!((codes.findable.mean_codes - 3.729_914).abs() < 1e-6);
    assert_eq!((codes.findable.alone_by_codes, codes.findable.alone_by_codes_and_columns), (39_192, 57_175));
    assert_eq!(codes.findable.known[2].alone, 32_106);
    assert_eq!(categories.findable.known[2].alone, 29_367);
    assert_eq!(chapters.findable.known[2].alone, 1_235);
    assert_eq!(chapters.findable.known[2].below(5), 3_677);
    let rounded = [39_192, 57_175, 32_106, 29_367].map(|persons| (share(persons) * 100.0).round());
    assert_eq!(rounded, [55.0, 80.0, 45.0, 41.0]);
    assert_eq!([1_235, 3_677].map(|persons| (share(persons) * 1000.0).round()), [17.0, 51.0]);
}

/// Nobody shares age, sex, race and any two codes with fewer than eleven others; and more of the codes is told than chapters.
#[test]
fn a_release_protects_from_any_two_codes_and_tells_more_than_chapters() {
    let Some((table, policy, files)) = diabetes("") else { return };
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("safe.csv");
    let receipt = deidentify_events(&table, None, &policy, &files, &out).unwrap();
    let facts = receipt.events.unwrap();
    eprintln!("{facts:#?}");
    assert_eq!(facts.after.known[2].below_k, 0);
    assert!(facts.smallest >= 12);
    let told: u64 = facts.levels.iter().map(|level| level.events).sum();
    let counts = &facts.counts;
    assert_eq!(counts.distinct, told + counts.suppressed + counts.suppressed_with_persons);
    assert!(counts.suppressed + counts.suppressed_with_persons <= 13_337, "5 % of 266,756");
    assert!(facts.levels[0].share + facts.levels[1].share > 0.4, "codes and categories");
    assert!(receipt.loss.granularity > 0.95);
    let (recount, of_events) = recount_events(&out, &events_path(&out), &policy, &files, None).unwrap();
    assert_eq!((recount.rows, of_events.events), (receipt.rows.released, counts.released));
    for attack in receipt.attacks.unwrap().results {
        eprintln!("{}: {}", attack.named(), attack.conclusion);
    }
}

/// One label per code wherever it is released, in the same levels for all persons.
#[test]
fn codes_may_keep_one_label_everywhere() {
    let Some((table, mut policy, files)) = diabetes("") else { return };
    policy.recoding = acequia_deidentify::Recoding::Global;
    policy.suppression_limit = 0.1;
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("safe.csv");
    let receipt = deidentify_events(&table, None, &policy, &files, &out).unwrap();
    eprintln!("{:#?} {:?}", receipt.events, receipt.quasi_identifiers);
    assert_eq!(receipt.events.unwrap().after.known[2].below_k, 0);
}

/// The same with a bound on what is inferred of a readmission.
#[test]
fn a_readmission_is_not_inferred() {
    let lkc = "[[models]]\nmodel = \"lkc-privacy\"\ncolumn = \"readmitted\"\nl = 1\nc = 0.3\nvalues = [\"<30\"]\n";
    let Some((table, policy, files)) = diabetes(lkc) else { return };
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("safe.csv");
    let receipt = deidentify_events(&table, None, &policy, &files, &out).unwrap();
    let measured = receipt.models.iter().find(|model| model.name.contains("LKC")).unwrap().measured;
    eprintln!("highest confidence {measured}");
    assert!(measured > 0.0 && measured <= 0.3);
    let mut strict = policy;
    strict.suppression_limit = 0.0;
    let refused = deidentify_events(&table, None, &strict, &files, &out.with_file_name("none.csv")).unwrap_err();
    assert!(matches!(refused, DeidentifyError::EventsUnreachable { .. } | DeidentifyError::Unreachable { .. }));
    assert!(!Path::new(&out.with_file_name("none.csv")).exists());
}
