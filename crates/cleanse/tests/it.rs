//! Checks and repairs over small tables.

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
    (check.status, check.failing)
}

#[test]
fn clean_rows_pass_and_stay() {
    let cleansed = course(&[size(1, 1, "2010-01-01", 20.0), size(2, 1, "2011-01-01", 22.0)]);
    assert_eq!(cleansed.tables["measurement"].rows(), 2);
    assert_eq!(status(&cleansed, "range.tumour-size"), (Status::Pass, 0));
    assert_eq!(status(&cleansed, "key.measurement.measurement_id"), (Status::Pass, 0));
    assert!(cleansed.scorecard.checks.len() >= 100, "{} checks", cleansed.scorecard.checks.len());
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
    assert_eq!(status(&cleansed, "after-birth.measurement"), (Status::Fail, 1));
    assert_eq!(status(&cleansed, "before-death.measurement"), (Status::Fail, 2));
    assert_eq!(status(&cleansed, "past.measurement"), (Status::Fail, 1));
    assert_eq!(status(&cleansed, "range.tumour-size"), (Status::Fail, 1));
    assert_eq!(status(&cleansed, "reference.measurement.person_id"), (Status::Fail, 1));
    assert_eq!(status(&cleansed, "key.measurement.measurement_id"), (Status::Fail, 1));
    assert_eq!(status(&cleansed, "order.visit_occurrence"), (Status::Fail, 1));
    let expected = [("clear-end", 1), ("clear-value", 1), ("drop-duplicate", 1), ("set-aside", 3)];
    assert_eq!(cleansed.scorecard.repairs, expected.map(|(action, count)| (action.to_owned(), count)).into());
    assert_eq!(cleansed.tables["measurement"].rows(), 4);
    assert_eq!(cleansed.tables["measurement"].column("value_as_number").unwrap().null_count(), 1);
    assert_eq!(cleansed.repairs.rows(), 6);
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
