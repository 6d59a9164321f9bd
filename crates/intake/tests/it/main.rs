//! Intake over whole files.

mod hostile;
mod reference;

use acequia_intake::{Format, IntakeError, Limits, Mapping, format_of, read};
use acequia_omop::{Fate, ItemCounts, Vocabulary};
use acequia_types::Coded;
use proptest::prelude::*;

const MAPPING: &str = r#"
[source]
id = "clinic"
title = "A clinic"
place = "DE"
type_concept_id = 32879
[index]
date_column = "surgery"
[person]
key = "id"
sex = "female"
birth_date = "born"
[period]
end_days = ["days"]
[[event]]
table = "measurement"
column = "size"
concept_id = 3046581
unit = "mm"
number = { min = 0, max = 300 }
[[event]]
table = "observation"
column = "meno"
concept_id = 2000000003
values = { "0" = 2000000006, "1" = 2000000007 }
[ignore]
ward = "says nothing about the patient"
"#;

const HEADER: &str = "id,born,surgery,days,size,meno,ward\n";

fn mapping() -> Mapping {
    Mapping::parse(MAPPING, Vocabulary::bundled()).unwrap()
}

#[track_caller]
fn problem_of(row: &str, expected: &str) {
    let text = format!("{HEADER}1,1950-01-01,2010-01-01,30,12,0,A\n{row}\n");
    let file = read(text.as_bytes(), Some(&mapping()), &Limits::default()).unwrap();
    assert_eq!(file.records.len(), 1, "the good row stays");
    assert_eq!(file.problems.iter().map(ToString::to_string).collect::<Vec<_>>(), [expected]);
    assert!(matches!(file.items[1].fate, Some(Fate::Rejected(_))));
}

#[test]
fn every_bad_cell_is_told_by_row_and_column_without_its_value() {
    problem_of("2,2025-02-30,2010-01-01,30,12,0,A", "row 3, column born: no such day in the calendar (IN103)");
    problem_of("2,30.2.1950,2010-01-01,30,12,0,A", "row 3, column born: not a date of the form YYYY-MM-DD (IN104)");
    problem_of(
        "2,1950-01-01,2010-01-01,-4,12,0,A",
        "row 3, column days: the number is below the smallest allowed, 0 (IN102)",
    );
    problem_of("2,1950-01-01,2010-01-01,3.5,12,0,A", "row 3, column days: not a whole number (IN101)");
    problem_of("2,1950-01-01,2010-01-01,30,big,0,A", "row 3, column size: not a number (IN101)");
    problem_of(
        "2,1950-01-01,2010-01-01,30,12,7,A",
        "row 3, column meno: the value is none of those the mapping lists (IN106)",
    );
    problem_of(",1950-01-01,2010-01-01,30,12,0,A", "row 3, column id: a value is required (IN105)");
    problem_of("1,1950-01-01,2010-01-01,30,12,0,A", "row 3, column id: another row has the same key (IN109)");
    problem_of("2,1950-01-01,2010-01-01", "row 3: the row has 3 fields, the header has 7 (IN107)");
}

#[track_caller]
fn refused(bytes: &[u8], mapping: Option<&Mapping>, code: &str) {
    let error = read(bytes, mapping, &Limits::default()).unwrap_err();
    assert_eq!(error.code(), code, "{error}");
}

#[test]
fn unreadable_files_have_a_code_each() {
    let mapping = mapping();
    refused(b"", None, "IN001");
    refused(b"Dear trustee, I would like to", None, "IN002");
    refused(b"{\"resourceType\":\"Bundle\",\"entry\":[{", None, "IN003");
    refused(b"{\"resourceType\" \"Bundle\"}", None, "IN004");
    refused("id,name\n1,M\u{fc}ller\n".replace('\u{fc}', "\u{1}").as_bytes(), None, "IN011");
    refused(b"id,name\n1,M\xfcller\n", Some(&mapping), "IN005");
    refused(b"\xff\xfei\0d\0", Some(&mapping), "IN006");
    refused(b"\x1f\x8b\x08broken", Some(&mapping), "IN008");
    refused(b"{\"resourceType\":\"Patient\"}", None, "IN010");
    refused(b"id,born,surgery,days,size\n", Some(&mapping), "IN013");
    refused(format!("{}\n", HEADER.trim_end().to_owned() + ",extra").as_bytes(), Some(&mapping), "IN014");
    refused(b"id,id\n1,2\n", Some(&mapping), "IN015");
    let at = read(b"id,name\n1,M\xfcller\n", Some(&mapping), &Limits::default()).unwrap_err();
    assert_eq!(at, IntakeError::Encoding { row: 2, byte: 4 });
}

#[test]
fn a_mapping_with_a_typo_is_refused_with_its_row() {
    let error = Mapping::parse(&MAPPING.replace("end_days", "end_day"), Vocabulary::bundled()).unwrap_err();
    assert_eq!(error.code(), "IN012");
    assert!(error.to_string().contains("row 14"), "{error}");
    assert!(Mapping::parse(&MAPPING.replace("measurement", "measurements"), Vocabulary::bundled()).is_err());
    assert!(
        Mapping::parse(&MAPPING.replace("values =", "present_when = [\"0\"]\nvalues ="), Vocabulary::bundled())
            .is_err()
    );
}

#[test]
fn formats_are_told_by_content() {
    let limits = Limits::default();
    assert_eq!(format_of(b"\n {\"resourceType\":\"Bundle\"}", None, &limits), Ok(Format::FhirBundle));
    assert_eq!(format_of(b"{\"resourceType\":\"Patient\"}\n{\"a\":1}\n", None, &limits), Ok(Format::FhirNdjson));
    assert_eq!(format_of(HEADER.as_bytes(), Some(&mapping()), &limits), Ok(Format::Csv));
}

#[test]
fn a_byte_order_mark_and_windows_line_ends_are_no_problem() {
    let text = format!("\u{feff}{HEADER}1,1950-01-01,2010-01-01,30,12,0,A\n").replace('\n', "\r\n");
    let file = read(text.as_bytes(), Some(&mapping()), &Limits::default()).unwrap();
    assert_eq!((file.records.len(), file.problems.len()), (1, 0));
}

#[test]
fn synthea_patients_are_read_whole() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data/ehr/synthea-r4");
    let mut bytes = Vec::new();
    for kind in ["Patient", "Encounter", "Condition", "Procedure", "MedicationRequest"] {
        let Ok(member) = std::fs::read(format!("{dir}/{kind}.ndjson.gz")) else {
            println!("skipped: the Synthea patients are not beside this checkout");
            return;
        };
        bytes.extend(member);
    }
    let file = read(&bytes, None, &Limits::default()).unwrap();
    let counts = ItemCounts::of(&file.items);
    let events: usize = file.records.iter().map(|record| record.events.len()).sum();
    println!("{} persons, {events} events, {counts:?}", file.records.len());
    // Counts from the README of the data: 615 + 18,098 + 4,546 + 14,081 + 4,712 resources.
    assert_eq!((file.records.len(), counts.total), (615, 42_052));
    let left_open = counts.total - counts.excluded - counts.held - counts.unmapped - counts.rejected;
    assert_eq!(events as u64 + 615, left_open, "every resource that was not set aside is one event or one person");
    assert_eq!(counts.rejected, counts.total - left_open - counts.excluded - counts.held - counts.unmapped);
    assert!(events > 40_000, "{events} events, {counts:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), mapped in any::<bool>()) {
        let mapping = mapping();
        let _ = read(&bytes, mapped.then_some(&mapping), &Limits::default());
    }

    #[test]
    fn no_text_makes_it_panic(text in "[\\{\\}\\[\\]\":,a-z0-9\\-\n]{0,200}", mapped in any::<bool>()) {
        let mapping = mapping();
        let _ = read(text.as_bytes(), mapped.then_some(&mapping), &Limits::default());
    }

    #[test]
    fn every_row_has_an_item(rows in proptest::collection::vec("[0-9a-z,\\-]{1,30}", 0..20)) {
        let text = format!("{HEADER}{}", rows.join("\n"));
        let file = read(text.as_bytes(), Some(&mapping()), &Limits::default()).unwrap();
        prop_assert_eq!(file.items.len(), rows.len());
        let rejected = file.items.iter().filter(|item| matches!(item.fate, Some(Fate::Rejected(_)))).count();
        let excluded = file.items.iter().filter(|item| matches!(item.fate, Some(Fate::Excluded(_)))).count();
        prop_assert_eq!(file.records.len() + rejected + excluded, rows.len());
    }
}
