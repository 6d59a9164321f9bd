//! Small tables in memory, as the course hands them over.

use std::collections::BTreeMap;

use acequia_cleanse::{Cleansed, Status, Thresholds, cleanse};
use acequia_frame::Table;
use acequia_omop::{CdmTable, Cell, TableBuilder};
use acequia_types::parse_day;

fn day(text: &str) -> Cell<'_> {
    Cell::Day(parse_day(text).unwrap())
}

fn table(cdm: CdmTable, rows: &[Vec<(&str, Cell<'_>)>]) -> (String, Table) {
    let mut builder = TableBuilder::new(cdm);
    for row in rows {
        builder.push(row).unwrap();
    }
    (cdm.name().to_owned(), Table::new(cdm.name(), vec![builder.finish().unwrap()]).unwrap())
}

fn size<'a>(id: i64, person: i64, on: &'a str, value: f64) -> Vec<(&'a str, Cell<'a>)> {
    vec![
        ("measurement_id", Cell::Id(id)),
        ("person_id", Cell::Id(person)),
        ("measurement_concept_id", Cell::Id(3_046_581)),
        ("measurement_date", day(on)),
        ("measurement_type_concept_id", Cell::Id(32_879)),
        ("value_as_number", Cell::Number(value)),
        ("unit_concept_id", Cell::Id(8588)),
    ]
}

fn course(measurements: &[Vec<(&str, Cell<'_>)>]) -> Cleansed {
    let person = vec![
        ("person_id", Cell::Id(1)),
        ("gender_concept_id", Cell::Id(8532)),
        ("year_of_birth", Cell::Id(1950)),
        ("race_concept_id", Cell::Id(0)),
        ("ethnicity_concept_id", Cell::Id(0)),
    ];
    let death = vec![("person_id", Cell::Id(1)), ("death_date", day("2015-01-01"))];
    let visit = vec![
        ("visit_occurrence_id", Cell::Id(9)),
        ("person_id", Cell::Id(1)),
        ("visit_concept_id", Cell::Id(9201)),
        ("visit_start_date", day("2010-03-05")),
        ("visit_end_date", day("2010-03-01")),
        ("visit_type_concept_id", Cell::Id(32_817)),
    ];
    let tables = BTreeMap::from([
        table(CdmTable::Person, &[person]),
        table(CdmTable::Death, &[death]),
        table(CdmTable::VisitOccurrence, &[visit]),
        table(CdmTable::Measurement, measurements),
    ]);
    cleanse(&tables, &Thresholds::as_of(parse_day("2026-01-01").unwrap())).unwrap()
}

fn status(cleansed: &Cleansed, id: &str) -> (Status, u64) {
    let check =
        cleansed.scorecard.checks.iter().find(|check| check.id == id).unwrap_or_else(|| panic!("no check {id}"));
    (check.status, check.failing.unwrap())
}

#[test]
fn clean_rows_pass_and_stay() {
    let cleansed = course(&[size(1, 1, "2010-01-01", 20.0), size(2, 1, "2011-01-01", 22.0)]);
    assert_eq!(cleansed.tables["measurement"].rows(), 2);
    assert_eq!(status(&cleansed, "range.tumour-size"), (Status::Pass, 0));
    assert_eq!(status(&cleansed, "unit.tumour-size"), (Status::Pass, 0));
    assert_eq!(status(&cleansed, "field_isprimarykey_measurement_measurement_id"), (Status::Pass, 0));
    assert_eq!(cleansed.scorecard.checks.len(), 2541);
}

#[test]
fn each_fault_is_found_and_each_repair_recorded() {
    let cleansed = course(&[
        size(1, 1, "2010-01-01", 20.0),
        size(2, 1, "2010-01-01", 20.0),   // repeats the first
        size(3, 1, "1949-12-31", 20.0),   // before birth
        size(4, 1, "2015-06-01", 20.0),   // long after death
        size(5, 1, "2027-01-01", 20.0),   // after death, and in the future
        size(6, 1, "2010-01-02", 2000.0), // two metres
        size(7, 2, "2010-01-03", 20.0),   // nobody
        size(7, 1, "2010-01-04", 20.0),   // repeats a key
    ]);
    assert_eq!(status(&cleansed, "field_plausibleafterbirth_measurement_measurement_date"), (Status::Fail, 1));
    assert_eq!(status(&cleansed, "field_plausiblebeforedeath_measurement_measurement_date"), (Status::Fail, 2));
    assert_eq!(status(&cleansed, "field_plausiblevaluehigh_measurement_measurement_date"), (Status::Fail, 1));
    assert_eq!(status(&cleansed, "range.tumour-size"), (Status::Fail, 1));
    assert_eq!(status(&cleansed, "field_isforeignkey_measurement_person_id"), (Status::Fail, 1));
    assert_eq!(status(&cleansed, "field_isprimarykey_measurement_measurement_id"), (Status::Fail, 2));
    assert_eq!(status(&cleansed, "field_plausiblestartbeforeend_visit_occurrence_visit_start_date"), (Status::Fail, 1));
    // Nothing can be said of concepts without a vocabulary.
    assert_eq!(status(&cleansed, "field_isforeignkey_measurement_measurement_concept_id"), (Status::Error, 0));
    let expected = [("clear-value", 1), ("drop-duplicate", 1), ("set-aside", 3), ("swap-dates", 2)];
    let expected = expected.map(|(action, count)| (action.to_owned(), Some(count)));
    assert_eq!(cleansed.scorecard.repairs, expected.into());
    assert_eq!(cleansed.tables["measurement"].rows(), 4);
    assert_eq!(cleansed.tables["measurement"].column("value_as_number").unwrap().null_count(), 1);
    assert_eq!((cleansed.repairs.rows(), cleansed.repair_values.rows()), (7, 7));
    let columns: Vec<_> = cleansed.repairs.schema().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(columns, ["rule_id", "table_name", "row_id", "field", "action"], "no value leaves");
}

#[test]
fn small_counts_do_not_leave() {
    let cleansed = course(&[size(1, 1, "2010-01-01", 20.0), size(2, 1, "2010-01-01", 2000.0)]);
    let shown = cleansed.scorecard.clone().without_small_counts(12);
    assert!(shown.checks.iter().all(|check| !check.failing.is_some_and(|count| (1..12).contains(&count))));
    assert!(shown.checks.iter().all(|check| !check.rows.is_some_and(|count| (1..12).contains(&count))));
    assert!(shown.rows_in.values().flatten().all(|count| *count == 0 || *count >= 12));
    assert_eq!(shown.outcomes(), cleansed.scorecard.outcomes(), "the verdict stays");
}

#[test]
fn the_input_is_untouched_and_cleansing_again_changes_nothing() {
    let once = course(&[size(1, 1, "2010-01-01", 20.0), size(2, 1, "2010-01-01", 20.0)]);
    let twice = cleanse(&once.tables, &Thresholds::as_of(parse_day("2026-01-01").unwrap())).unwrap();
    assert!(twice.scorecard.repairs.is_empty());
    for (name, table) in &once.tables {
        assert_eq!(table.digest(), twice.tables[name].digest(), "{name}");
    }
}
