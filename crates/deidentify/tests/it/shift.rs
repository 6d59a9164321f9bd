//! Date shift over all tables of a person: intervals exact, and no attacker who knows the calendar finds the shifts.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use acequia_deidentify::{DeidentifyError, ShiftKey, ShiftPlan, ShiftReceipt, shift_files, shift_tables};
use acequia_frame::Table;
use arrow::array::{Array, ArrayRef, AsArray, Date32Array, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow::datatypes::{Date32Type, TimestampMillisecondType};
use chrono::{Datelike, Days, NaiveDate, Weekday};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn key() -> ShiftKey {
    ShiftKey::from_bytes([9; 32])
}

fn plan(text: &str) -> ShiftPlan {
    toml::from_str(&format!("person = \"id\"\nkey = \"dates.key\"\n{text}")).unwrap()
}

fn day(text: &str) -> NaiveDate {
    NaiveDate::parse_from_str(&text[..10], "%Y-%m-%d").unwrap()
}

/// Visits of simulated persons from 2014 to 2023: no weekends, hardly any around holidays, more every year; influenza in
/// winter, hay fever in spring, a pandemic from March 2020 in waves, a drug from 2021 on.
fn visits(persons: usize, each: usize) -> Vec<(String, NaiveDate, String)> {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let first = day("2014-01-01");
    let mut rows = Vec::new();
    for person in 0..persons {
        for _ in 0..each {
            let on = loop {
                let on = first + Days::new(rng.random_range(0..3_652));
                let weekend = matches!(on.weekday(), Weekday::Sat | Weekday::Sun);
                let holiday = (on.month() == 12 && on.day() > 23) || (on.month() == 1 && on.day() < 3);
                let grown = rng.random_range(0..20) < on.year() - 2014 + 10;
                if (!weekend || rng.random_range(0..50) == 0) && (!holiday || rng.random_range(0..20) == 0) && grown {
                    break on;
                }
            };
            let wave = day("2020-03-15") <= on && on <= day("2022-06-30") && matches!(on.month(), 3 | 4 | 11 | 12);
            let code = match rng.random_range(0..10) {
                0..4 if wave => "U07.1",
                0 if on >= day("2021-01-01") => "NEWDRUG",
                0..2 if matches!(on.month(), 1 | 2) => "J10",
                0..2 if matches!(on.month(), 4..=6) => "J30",
                nth => ["I10", "E11", "M54", "Z00", "F32"][nth % 5],
            };
            rows.push((format!("p{person}"), on, code.to_owned()));
        }
    }
    rows
}

fn table(rows: &[(String, NaiveDate, String)]) -> Table {
    let columns: [(&str, ArrayRef); 3] = [
        ("id", Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.0)))),
        ("came", Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.1.to_string())))),
        ("code", Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.2)))),
    ];
    Table::new("visits", vec![RecordBatch::try_from_iter(columns).unwrap()]).unwrap()
}

fn shifted(rows: &[(String, NaiveDate, String)], head: &str) -> Result<ShiftReceipt, DeidentifyError> {
    let plan = plan(&format!("{head}\n[tables.visits]\ndates = [\"came\"]\ncodes = [\"code\"]"));
    shift_tables(&[table(rows)], &plan, &key()).map(|(_, receipt)| receipt)
}

#[test]
fn weekdays_holidays_and_pandemics_do_not_tell_the_shift() {
    let rows = visits(600, 40);
    // The attack has teeth: by weekdays it finds shifts by single days.
    let found =
        match shifted(&rows, "days_max = 40\nstep_days = 1\nwindow = { from = \"2014-01-01\", to = \"2023-12-31\" }") {
            Err(DeidentifyError::Recovered { found, maximum }) => {
                assert!((maximum - (1.0 / 81.0 + 0.05)).abs() < 1e-12);
                found
            }
            other => panic!("{other:?}"),
        };
    assert!(found > 1.0 / 81.0 + 0.05, "{found}");
    let window = "window = { from = \"2014-01-01\", to = \"2023-12-31\" }";
    let receipt = shifted(&rows, &format!("days_max = 364\n{window}")).unwrap();
    let recovery = &receipt.recovery;
    eprintln!("{recovery:?} {:?}", receipt.blanked_codes);
    assert!(recovery.attempts >= 2_000);
    assert!(recovery.rate <= recovery.chance + 0.05, "{recovery:?}");
    assert!((recovery.chance - 1.0 / 105.0).abs() < 1e-12);
    assert_eq!(receipt.tables[0].released + receipt.tables[0].truncated, receipt.tables[0].rows);
    assert!(receipt.weekdays.starts_with("kept"));
}

#[test]
fn edges_of_collection_tell_the_shift_unless_rows_near_them_are_left_out() {
    // Everybody comes on the first day of collection.
    let mut rows = visits(300, 5);
    let persons: Vec<String> = (0..300).map(|person| format!("p{person}")).collect();
    rows.extend(persons.into_iter().map(|person| (person, day("2014-01-01"), "Z00".to_owned())));
    assert!(matches!(shifted(&rows, "days_max = 364"), Err(DeidentifyError::Recovered { .. })));
    let window = "window = { from = \"2014-01-01\", to = \"2023-12-31\" }";
    let receipt = shifted(&rows, &format!("days_max = 364\n{window}")).unwrap();
    assert!(receipt.tables[0].truncated >= 300);
    let released = receipt.released_window.unwrap();
    assert_eq!((released.from, released.to), (day("2014-12-31"), day("2023-01-01")));
}

#[test]
fn intervals_are_exact_over_all_tables_and_types() {
    let ids = ["a", "b", "a", "c", "b"];
    let days = [16_000, 17_000, 16_031, 18_000, 17_365];
    let columns: [(&str, ArrayRef); 3] = [
        ("id", Arc::new(StringArray::from_iter_values(ids))),
        ("on", Arc::new(Date32Array::from_iter(days.map(Some)))),
        (
            "at",
            Arc::new(TimestampMillisecondArray::from_iter(
                days.map(|day| Some(i64::from(day) * 86_400_000 + 3_661_001)),
            )),
        ),
    ];
    let stays = Table::new("stays", vec![RecordBatch::try_from_iter(columns).unwrap()]).unwrap();
    let columns: [(&str, ArrayRef); 4] = [
        ("id", Arc::new(StringArray::from_iter_values(["a", "b", "c", "a"]))),
        (
            "noted",
            Arc::new(StringArray::from(vec![
                Some("2013-10-22T08:30:00+02:00"),
                None,
                Some("2019-04-14"),
                Some("2013-10-22"),
            ])),
        ),
        ("born", Arc::new(StringArray::from(vec![Some("1980-07-01"), Some("1899-01-01"), None, Some("1980-07-01")]))),
        ("age", Arc::new(StringArray::from(vec!["33", "117", "40", "33"]))),
    ];
    let notes = Table::new("notes", vec![RecordBatch::try_from_iter(columns).unwrap()]).unwrap();
    let plan = plan(
        "days_max = 364\n[tables.stays]\ndates = [\"on\", \"at\"]\n[tables.notes]\ndates = [\"noted\"]\nbirths = [\"born\"]\nages = [\"age\"]",
    );
    let (tables, receipt) = shift_tables(&[stays, notes], &plan, &key()).unwrap();
    assert_eq!((receipt.persons, receipt.births_left_out, receipt.tables[1].ages_pooled), (3, 1, 1));
    let shift = acequia_deidentify::DateShift { key: String::new(), days_max: 364, step_days: 7 }.shift(&key());
    let original: BTreeMap<String, &str> = ["a", "b", "c"].into_iter().map(|id| (shift.pseudonym(id), id)).collect();
    let (ids, on) = (tables[0].column("id").unwrap(), tables[0].column("on").unwrap());
    let at = tables[0].column("at").unwrap();
    let mut seen = Vec::new();
    for row in 0..5 {
        let id = original[ids.as_string::<i32>().value(row)];
        let day = on.as_primitive::<Date32Type>().value(row) - i32::try_from(shift.days(id)).unwrap();
        let at = at.as_primitive::<TimestampMillisecondType>().value(row) - shift.days(id) * 86_400_000;
        assert_eq!(at, i64::from(day) * 86_400_000 + 3_661_001);
        seen.push((id, day));
    }
    seen.sort_unstable();
    assert_eq!(seen, [("a", 16_000), ("a", 16_031), ("b", 17_000), ("b", 17_365), ("c", 18_000)]);
    let (ids, noted) = (tables[1].column("id").unwrap(), tables[1].column("noted").unwrap());
    let (born, age) = (tables[1].column("born").unwrap(), tables[1].column("age").unwrap());
    for row in 0..4 {
        let id = original[ids.as_string::<i32>().value(row)];
        let text = noted.as_string::<i32>();
        assert_eq!(text.is_null(row), id == "b");
        if id == "a" {
            let text = text.value(row);
            assert_eq!((day(text) - day("2013-10-22")).num_days(), shift.days("a"));
            assert!(text.len() == 10 || text.ends_with("T08:30:00+02:00"));
            let year = (day("1980-07-01") + chrono::TimeDelta::days(shift.days("a"))).year();
            assert_eq!(born.as_string::<i32>().value(row), year.to_string());
        }
        // Nothing is said of the birth of somebody over 89.
        assert_eq!(born.as_string::<i32>().is_null(row), id != "a");
        assert_eq!(
            age.as_string::<i32>().value(row),
            if id == "b" {
                "90"
            } else if id == "c" {
                "40"
            } else {
                "33"
            }
        );
    }
}

fn files(folder: &Path, rows: &[(String, NaiveDate, String)]) -> Vec<std::path::PathBuf> {
    let csv = folder.join("visits.csv");
    let lines: Vec<String> = rows.iter().map(|(id, day, code)| format!("{id};{day};{code};\"=a; b\"")).collect();
    std::fs::write(&csv, format!("id;came;code;note\n{}\n", lines.join("\n"))).unwrap();
    let parquet = folder.join("more.parquet");
    std::fs::write(&parquet, table(rows).to_parquet().unwrap()).unwrap();
    vec![csv, parquet]
}

#[test]
fn files_are_shifted_together_and_in_parts() {
    let folder = tempfile::tempdir().unwrap();
    let rows = visits(100, 10);
    let paths = files(folder.path(), &rows);
    let plan = plan(
        "days_max = 364\n[tables.visits]\ndates = [\"came\"]\ncodes = [\"code\"]\n[tables.more]\ndates = [\"came\"]\ndrop = [\"code\"]",
    );
    let (whole, parts) = (folder.path().join("whole"), folder.path().join("parts"));
    let receipt = shift_files(&paths, &plan, &key(), &whole, u64::MAX).unwrap();
    let in_parts = shift_files(&paths, &plan, &key(), &parts, 40_000).unwrap();
    assert_eq!(receipt, in_parts);
    let text = std::fs::read_to_string(whole.join("visits.csv")).unwrap();
    assert!(text == std::fs::read_to_string(parts.join("visits.csv")).unwrap(), "parts come in the same order");
    assert_eq!((text.lines().next(), text.lines().count()), (Some("id;came;code;note"), 1_001));
    let pseudonyms: Vec<&str> = text.lines().skip(1).map(|line| line.split(';').next().unwrap()).collect();
    assert!(pseudonyms.is_sorted(), "rows come by person, not by day");
    assert!(!text.contains("p1;"));
    assert_eq!(text.matches(";\"'=a; b\"").count(), 1_000, "what a spreadsheet would run is written as text");
    let left: Vec<_> = std::fs::read_dir(&whole).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "{left:?}");
    let error = shift_files(&paths, &plan, &key(), folder.path(), u64::MAX).unwrap_err();
    assert!(error.to_string().contains("would be written over"), "{error}");
}

#[test]
fn days_that_are_not_named_are_refused() {
    let rows = visits(5, 3);
    let refused = |text: &str| {
        let plan = plan(&format!("days_max = 364\n{text}"));
        shift_tables(&[table(&rows)], &plan, &key()).unwrap_err().to_string()
    };
    assert_eq!(
        refused("[tables.visits]\ncodes = [\"code\"]"),
        "column visits.came: holds days: name it under dates, births or drop"
    );
    assert_eq!(refused("[tables.visits]\ndates = [\"code\"]"), "row 1, column visits.code: not a day (YYYY-MM-DD)");
    assert_eq!(
        refused("[tables.visits]\ndates = [\"gone\"]"),
        "column visits.gone is in the plan but not in the table"
    );
    assert!(refused("[tables.others]\ndates = []").contains("tables.others: the table was not given"));
    assert!(refused("[tables.visits]\ndates = [\"came\"]\ndrop = [\"came\"]").contains("is named twice"));
}
