//! Folders of files, thresholds, checks of a site, repairs.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;

use acequia_cleanse::{
    Check, Finding, Findings, Folder, Repair, Scorecard, Settings, Status, Thresholds, default_checks, dqd_results,
    page, read_checks,
};
use acequia_types::{Coded, Day, parse_day};
use flate2::write::GzEncoder;

fn today() -> Day {
    parse_day("2026-01-01").unwrap()
}

fn write(folder: &Path, name: &str, text: &str) {
    std::fs::write(folder.join(name), text).unwrap();
}

/// Three persons, a few visits and measurements; with faults.
fn small(folder: &Path) {
    let mut person =
        GzEncoder::new(std::fs::File::create(folder.join("PERSON.csv.gz")).unwrap(), flate2::Compression::fast());
    person
        .write_all(
            b"person_id,gender_concept_id,year_of_birth,race_concept_id,ethnicity_concept_id\n1,8507,1950,0,0\n2,8532,1980,0,0\n3,8532,,0,0\n",
        )
        .unwrap();
    person.finish().unwrap();
    write(
        folder,
        "Visit_Occurrence.CSV",
        "visit_occurrence_id,person_id,visit_concept_id,visit_start_date,visit_end_date,visit_type_concept_id\n\
         10,1,9202,2020-01-05,2020-01-01,32817\n11,2,9202,2020-02-01,2020-02-01,32817\n",
    );
    write(
        folder,
        "measurement.csv",
        "measurement_id,person_id,measurement_concept_id,measurement_date,measurement_type_concept_id,value_as_number,\
         unit_concept_id,visit_occurrence_id,measurement_source_value,unit_source_value\n\
         1,1,3027018,2020-01-02,32817,72,8541,10,\" 8867-4 \",/min\n\
         2,2,3027018,2020-01-01,32817,900,8541,11,8867-4,/min\n\
         3,2,3000905,2020-02-01,32817,5.1,,11,6690-2,K/uL\n\
         4,2,3000905,2020-02-01,32817,5.1,,11,6690-2,K/uL\n\
         x,9,3000905,2020-13-01,32817,,,12,,\n",
    );
    write(folder, "notes.txt", "not a table");
}

fn finding<'a>(findings: &'a Findings, id: &str) -> &'a Finding {
    findings.findings.iter().find(|finding| finding.id == id).unwrap_or_else(|| panic!("no check {id}"))
}

fn status(scorecard: &Scorecard, id: &str) -> Status {
    scorecard.checks.iter().find(|check| check.id == id).unwrap().status
}

#[test]
fn files_of_any_case_and_form_are_found_and_failing_rows_are_named() {
    let folder = tempfile::tempdir().unwrap();
    small(folder.path());
    let findings = Folder::open(folder.path()).unwrap().check(default_checks(), Settings::as_of(today())).unwrap();
    let found = |id: &str| {
        (finding(&findings, id).failing, finding(&findings, id).rows, finding(&findings, id).row_ids.clone())
    };
    assert_eq!(found("field_isrequired_person_year_of_birth"), (1, 3, vec![3]));
    assert_eq!(found("field_cdmdatatype_measurement_measurement_id"), (1, 5, vec![5]), "no key, so the row's number");
    assert_eq!(found("field_isforeignkey_measurement_person_id"), (1, 5, vec![5]));
    assert_eq!(found("field_isforeignkey_measurement_visit_occurrence_id"), (1, 5, vec![5]));
    assert_eq!(found("field_plausiblestartbeforeend_visit_occurrence_visit_start_date"), (1, 2, vec![10]));
    assert_eq!(found("field_withinvisitdates_measurement_measurement_date"), (1, 4, vec![2]));
    assert_eq!(found("table_measurepersoncompleteness_visit_occurrence"), (1, 3, vec![3]));
    assert_eq!(findings.tables["measurement"].rows, 5);
    let scorecard = Scorecard::judge(&findings, default_checks(), &Thresholds::as_of(today()));
    assert_eq!(status(&scorecard, "table_cdmtable_death"), Status::Fail);
    assert_eq!(status(&scorecard, "field_isrequired_death_person_id"), Status::NotApplicable);
    assert_eq!(status(&scorecard, "field_isforeignkey_measurement_measurement_concept_id"), Status::Error);
    let few = Folder::open(folder.path()).unwrap();
    let few = few.check(default_checks(), Settings { row_ids: 1, ..Settings::as_of(today()) }).unwrap();
    assert!(few.findings.iter().all(|finding| finding.row_ids.len() <= 1));
}

#[test]
fn thresholds_are_applied_to_findings_without_a_new_run() {
    let folder = tempfile::tempdir().unwrap();
    small(folder.path());
    let findings = Folder::open(folder.path()).unwrap().check(default_checks(), Settings::as_of(today())).unwrap();
    let findings = Findings::parse(&serde_json::to_vec(&findings).unwrap()).unwrap();
    let id = "field_isrequired_person_year_of_birth";
    let judge = |text: &str| {
        let mut thresholds = Thresholds::as_of(today());
        thresholds.read(text, default_checks()).unwrap();
        status(&Scorecard::judge(&findings, default_checks(), &thresholds), id)
    };
    assert_eq!(judge("check,threshold\n"), Status::Fail);
    assert_eq!(judge("check,threshold\nisRequired,34\n"), Status::Pass);
    assert_eq!(judge(&format!("check, threshold\nisRequired, 100\n{id}, 33\n")), Status::Fail);
    let mut thresholds = Thresholds::as_of(today());
    let wrong = thresholds.read("check,threshold\nisRequired,1\nnothing,1\n", default_checks()).unwrap_err();
    assert_eq!((wrong.code(), wrong.to_string().as_str()), ("CL008", "thresholds, row 3: there is no such check"));
}

#[test]
fn checks_of_a_site_run_in_the_same_pass() {
    let (folder, own) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    small(folder.path());
    write(
        own.path(),
        "ranges.csv",
        "id,table,concept_id,unit_concept_id,low,high,threshold,description\n\
         lab.heart-rate,measurement,3027018,8541,20,300,0,Heart rates below 20 or above 300 per minute.\n",
    );
    write(
        own.path(),
        "site.toml",
        r#"
        [[check]]
        id = "site.late-visits"
        table = "visit_occurrence"
        field = "visit_end_date"
        description = "Visits that end before they start."
        category = "plausibility"
        require = [{ field = "visit_end_date", not-before = "visit_start_date" }]
        [[check]]
        id = "site.codes"
        table = "measurement"
        field = "measurement_source_value"
        description = "Heart rates under another code."
        category = "conformance"
        where = [{ field = "measurement_concept_id", in = [3027018] }]
        require = [{ field = "measurement_source_value", in = ["8867-4"], longest = 10 }]
        [[check]]
        id = "site.missing"
        table = "death"
        description = "Deaths in the future."
        category = "plausibility"
        require = [{ field = "death_date", max = "today" }]
        "#,
    );
    let checks: Vec<Check> = default_checks().iter().cloned().chain(read_checks(own.path()).unwrap()).collect();
    let findings = Folder::open(folder.path()).unwrap().check(&checks, Settings::as_of(today())).unwrap();
    let found = |id: &str| {
        (finding(&findings, id).failing, finding(&findings, id).rows, finding(&findings, id).row_ids.clone())
    };
    assert_eq!(found("lab.heart-rate"), (1, 2, vec![2]));
    assert_eq!(found("site.late-visits"), (1, 2, vec![10]));
    assert_eq!(found("site.codes"), (1, 2, vec![1]));
    let scorecard = Scorecard::judge(&findings, &checks, &Thresholds::as_of(today()));
    assert_eq!(status(&scorecard, "site.missing"), Status::NotApplicable);
    write(
        own.path(),
        "z.csv",
        "id,table,concept_id,unit_concept_id,low,high,threshold,description\nsite.codes,measurement,1,,0,1,0,d\n",
    );
    assert_eq!(
        read_checks(own.path()).unwrap_err().to_string(),
        "checks z.csv: the id site.codes is taken by another check"
    );
}

#[test]
fn safe_repairs_are_made_in_new_tables_and_others_proposed() {
    let (folder, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    small(folder.path());
    let text = std::fs::read_to_string(folder.path().join("measurement.csv")).unwrap();
    let refused = Folder::open(folder.path()).unwrap().to_parquet(&out.path().join("a")).unwrap_err();
    assert_eq!(refused.to_string(), "table measurement, row 6 of its file: a value is not of its field's type");
    let typed =
        Folder::open(folder.path()).unwrap().repair(&[], &Repair::safe(), today(), &out.path().join("b")).unwrap();
    assert_eq!(typed.counts["clear-unreadable"], 2, "a key and a day");
    write(folder.path(), "measurement.csv", &text.replace("x,9,3000905,2020-13-01", "5,9,3000905,2027-01-01"));
    write(
        folder.path(),
        "concept.csv",
        "concept_id,concept_name,domain_id,vocabulary_id,concept_class_id,standard_concept,concept_code,valid_start_date,valid_end_date,invalid_reason\n\
         8848,thousand per microliter,Unit,UCUM,Unit,S,10*3/uL,1970-01-01,2099-12-31,\n",
    );
    let open = Folder::open(folder.path()).unwrap();
    let repaired = open.repair(&[], &Repair::safe(), today(), out.path()).unwrap();
    let expected = [
        ("drop-duplicate", 1),
        ("set-aside (proposed)", 1),
        ("swap-dates", 2),
        ("trim-code", 1),
        // Spelling and concept of two rows, one of which is the other again.
        ("unit-spelling", 4),
    ];
    assert_eq!(repaired.counts, expected.map(|(name, count)| (name.to_owned(), count)).into());
    assert_eq!((repaired.rows_in["measurement"], repaired.rows_out["measurement"]), (5, 4));
    let again = Folder::open(out.path()).unwrap();
    let findings = again.check(default_checks(), Settings::as_of(today())).unwrap();
    assert_eq!(finding(&findings, "field_plausiblestartbeforeend_visit_occurrence_visit_start_date").failing, 0);
    let nothing = again.repair(&[], &Repair::safe(), today(), &out.path().join("twice")).unwrap();
    assert_eq!(nothing.counts, [("set-aside (proposed)".to_owned(), 1)].into(), "nothing safe is left to do");
    let all: BTreeSet<Repair> = Repair::ALL.into();
    let all = open.repair(&[], &all, today(), &out.path().join("all")).unwrap();
    assert_eq!(all.rows_out["measurement"], 3);
    assert!(
        std::fs::read_to_string(folder.path().join("measurement.csv")).unwrap().contains(" 8867-4 "),
        "the input stays"
    );
}

#[test]
fn what_cannot_be_read_is_told_without_values() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(Folder::open(folder.path()).unwrap_err().code(), "CL003");
    write(folder.path(), "person.csv", "person_id,gender_concept_id\n1,\"secret\n");
    let check = |folder: &Path| Folder::open(folder)?.check(default_checks(), Settings::as_of(today()));
    let wrong = check(folder.path()).unwrap_err();
    assert_eq!(
        (wrong.code(), wrong.to_string().as_str()),
        ("CL005", "table person, row 2 of its file: a quoted field is never closed")
    );
    write(folder.path(), "PERSON.tsv", "person_id\tgender_concept_id\n");
    assert_eq!(check(folder.path()).unwrap_err().code(), "CL004");
    std::fs::remove_file(folder.path().join("PERSON.tsv")).unwrap();
    write(folder.path(), "person.csv", "");
    assert_eq!(check(folder.path()).unwrap_err().code(), "CL005", "an empty file has no header");
    std::fs::remove_file(folder.path().join("person.csv")).unwrap();
    write(folder.path(), "person.parquet", "PAR1 nothing");
    assert_eq!(check(folder.path()).unwrap_err().code(), "FR003");
}

#[test]
fn the_page_and_the_dashboards_layout_show_the_same_verdict() {
    let folder = tempfile::tempdir().unwrap();
    small(folder.path());
    let findings = Folder::open(folder.path()).unwrap().check(default_checks(), Settings::as_of(today())).unwrap();
    let scorecard = Scorecard::judge(&findings, default_checks(), &Thresholds::as_of(today()));
    let outcomes = scorecard.outcomes();
    let results = dqd_results(&findings, default_checks(), &scorecard, &Default::default());
    assert_eq!(results["CheckResults"].as_array().unwrap().len(), 2535);
    assert_eq!(results["Overview"]["countOverallFailed"], outcomes.fail);
    let entry = results["CheckResults"].as_array().unwrap().iter();
    let entry = entry.clone().find(|entry| entry["checkId"] == "field_isrequired_person_year_of_birth").unwrap();
    assert_eq!(
        (&entry["numViolatedRows"], &entry["numDenominatorRows"], &entry["cdmTableName"], &entry["failed"]),
        (&1.into(), &3.into(), &"PERSON".into(), &1.into())
    );
    let text = page("small", &scorecard, default_checks());
    assert!(text.contains(&format!("{} fail", outcomes.fail)) && !text.contains("<script"));
    let hidden = page("small", &scorecard.clone().without_small_counts(10), default_checks());
    assert!(hidden.contains("Counts from 1 to 9 are hidden"));
    assert_eq!(text, page("small", &scorecard, default_checks()), "same numbers, same bytes");
}
