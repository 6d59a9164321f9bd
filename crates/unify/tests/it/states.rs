//! What a folder holds after any loads, whatever was cut off between them, is what one load of the last states gives.

use std::collections::BTreeSet;
use std::path::Path;

use acequia_omop::{CdmTable, LocalCodes};
use acequia_unify::load::{fold, person_id, remove_persons};
use arrow::util::display::array_value_to_string;

use super::load::{How, ints, key, load_texts, load_with, table, try_load};

const PERSON: &str = r#"{"resourceType":"Patient","id":"p1","gender":"female","birthDate":"1950-02-03"}"#;
const VISIT: &str = r#"{"resourceType":"Encounter","id":"e1","status":"finished","class":{"code":"IMP"},"subject":{"reference":"Patient/p1"},"period":{"start":"2010-01-01T10:00:00-05:00","end":"2010-01-03T10:00:00-05:00"}}"#;
const RESULT: &str = r#"{"resourceType":"Observation","id":"o1","status":"final","code":{"coding":[{"system":"http://loinc.org","code":"8480-6"}]},"valueQuantity":{"value":120,"code":"mm[Hg]"},"subject":{"reference":"Patient/p1"},"encounter":{"reference":"Encounter/e1"},"effectiveDateTime":"2010-01-02"}"#;
const DISEASE: &str = r#"{"resourceType":"Condition","id":"c1","subject":{"reference":"Patient/p1"},"encounter":{"reference":"Encounter/e1"},"code":{"coding":[{"system":"http://snomed.info/sct","code":"254837009"}]}}"#;
const REQUEST: &str = r#"{"resourceType":"MedicationRequest","id":"m1","status":"active","intent":"order","medicationCodeableConcept":{"coding":[{"system":"http://www.nlm.nih.gov/research/umls/rxnorm","code":"198240"}]},"subject":{"reference":"Patient/p1"},"authoredOn":"2010-01-02"}"#;

/// Tables that a load fills, and lineage.
fn names() -> Vec<&'static str> {
    let filled = CdmTable::ALL.iter().map(|table| table.name());
    filled.filter(|name| !["episode", "cost"].contains(name)).chain(["lineage"]).collect()
}

/// All cells that are not null, row by row, in ascending order; none where there is no such file.
fn rows(out: &Path, name: &str) -> Vec<String> {
    if !out.join(format!("{name}.parquet")).exists() {
        return Vec::new();
    }
    let mut rows = Vec::new();
    for batch in table(out, name) {
        for row in 0..batch.num_rows() {
            let schema = batch.schema();
            let cells = schema.fields().iter().zip(batch.columns()).filter(|(_, column)| !column.is_null(row));
            let cells = cells
                .map(|(field, column)| format!("{} {}", field.name(), array_value_to_string(column, row).unwrap()));
            rows.push(cells.collect::<Vec<_>>().join(", "));
        }
    }
    rows.sort();
    rows
}

#[track_caller]
fn assert_same(what: &str, out: &Path, expected: &Path) {
    for name in names() {
        assert_eq!(rows(out, name), rows(expected, name), "{what}: {name}");
    }
}

/// The same lines of another person.
fn of_other(line: &str) -> String {
    let ids = [("p1", "p2"), ("e1", "e2"), ("\"o1\"", "\"o2\""), ("\"m1\"", "\"m2\""), ("\"c1\"", "\"c2\"")];
    ids.iter().fold(line.to_owned(), |line, (id, other)| line.replace(id, other))
}

fn refuted(disease: &str) -> String {
    disease.replace("\"id\":", "\"verificationStatus\":{\"coding\":[{\"code\":\"refuted\"}]},\"id\":")
}

fn fresh(lines: &[&str]) -> tempfile::TempDir {
    let out = tempfile::tempdir().unwrap();
    load_texts(&[&lines.join("\n")], out.path());
    out
}

/// A load that is cut off after it moved its files and before it is on record.
fn load_without_record(lines: &[&str], out: &Path) {
    let path = out.join(".acequia/loads.json");
    let record = std::fs::read(&path).unwrap();
    load_texts(&[&lines.join("\n")], out);
    std::fs::write(path, record).unwrap();
}

#[test]
fn a_load_that_was_cut_off_leaves_nothing() {
    let start = [PERSON, VISIT, DISEASE];
    let out = fresh(&start);
    load_without_record(&[RESULT], out.path());
    load_texts(&[&refuted(DISEASE)], out.path());
    fold(out.path()).unwrap();
    assert_same("other input next", out.path(), fresh(&[PERSON, VISIT, &refuted(DISEASE)]).path());

    // Nor of persons who are removed then.
    let out = fresh(&[PERSON, VISIT, DISEASE, &of_other(PERSON)]);
    load_without_record(&[RESULT], out.path());
    remove_persons(out.path(), &key(), "test", &["p1"]).unwrap();
    load_texts(&[&of_other(REQUEST)], out.path());
    fold(out.path()).unwrap();
    assert_same("removal next", out.path(), fresh(&[&of_other(PERSON), &of_other(REQUEST)]).path());

    // Keys of its items are not taken for those of others.
    let (other, newer) = (of_other(RESULT), of_other(RESULT).replace("120", "130"));
    let out = fresh(&[RESULT]);
    load_without_record(&[PERSON, &RESULT.replace("e1", "none"), RESULT], out.path());
    load_texts(&[&[&of_other(PERSON)[..], &other, &newer].join("\n")], out.path());
    let gone = newer.replace("\"final\"", "\"entered-in-error\"");
    load_texts(&[&gone], out.path());
    fold(out.path()).unwrap();
    assert_same("keys", out.path(), fresh(&[&of_other(PERSON), &gone]).path());
}

/// A command that is cut off after its record and before its moves: something stands in the way of what comes between.
fn cut_off(out: &Path, command: impl FnOnce() -> bool) {
    let in_the_way = out.join(".acequia/items-000099");
    std::fs::create_dir(&in_the_way).unwrap();
    let before = rows(out, "lineage");
    assert!(!command() && rows(out, "lineage") == before, "nothing was moved yet");
    std::fs::remove_dir(&in_the_way).unwrap();
}

#[test]
fn moves_that_were_cut_off_are_finished_by_the_next_command() {
    let others = [PERSON, VISIT, RESULT, REQUEST, DISEASE].map(of_other);
    let lines: Vec<&str> =
        [PERSON, VISIT, RESULT, REQUEST, DISEASE].into_iter().chain(others.iter().map(|line| &line[..])).collect();
    let newer = of_other(RESULT).replace("120", "130");
    let changed = || {
        let out = fresh(&lines);
        load_texts(&[&newer], out.path());
        out
    };
    let last: Vec<&str> = lines.iter().copied().filter(|line| *line != others[2]).chain([&newer[..]]).collect();

    let out = changed();
    cut_off(out.path(), || fold(out.path()).is_ok());
    assert_eq!(load_texts(&[&newer], out.path()).unchanged, 1);
    assert_same("fold", out.path(), fresh(&last).path());

    let out = changed();
    fold(out.path()).unwrap();
    cut_off(out.path(), || remove_persons(out.path(), &key(), "test", &["p1"]).is_ok());
    // Persons are gone as soon as the removal is on record; what was theirs is new if it comes again.
    let report = load_texts(&[RESULT], out.path());
    assert_eq!((report.unchanged, report.counts.held), (0, 1));
    let gone: Vec<&str> = last.iter().copied().filter(|line| line.contains("p2")).collect();
    assert_same("removal", out.path(), fresh(&gone).path());
    let person = person_id(&key(), "test", "p1");
    assert!(!ints(out.path(), "lineage", "person_id").contains(&Some(person)));
    // And again, after more loads.
    load_texts(&[&refuted(&others[4])], out.path());
    remove_persons(out.path(), &key(), "test", &["p1"]).unwrap();
    let report = load_texts(&[&lines.join("\n")], out.path());
    assert_eq!((report.unchanged, report.counts.total), (3, 7), "the other person but for two states");

    // All again with other decisions on local codes, over changes that wait.
    let out = changed();
    let mut codes = LocalCodes::default();
    codes.add("https://lab.example", "MISC", None);
    let text = last.join("\n");
    let mut how = How::plain();
    how.local_codes = codes.into();
    cut_off(out.path(), || try_load(&[&text], out.path(), &how).is_ok());
    fold(out.path()).unwrap();
    let expected = tempfile::tempdir().unwrap();
    load_with(&[&text], expected.path(), &how);
    assert_same("whole load", out.path(), expected.path());
    assert_eq!(load_with(&[&text], out.path(), &how).unchanged, 10);
    let state: BTreeSet<String> = std::fs::read_dir(out.path().join(".acequia"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    let left = ["index-000003", "items-000003", "keys-000003", "loads.json", "spells-000003"];
    assert_eq!(state, left.map(str::to_owned).into(), "nothing of earlier loads is left");
}
