//! What a folder holds after any loads, whatever was cut off between them, is what one load of the last states gives.

use std::collections::BTreeSet;
use std::path::Path;

use acequia_omop::{CdmTable, LocalCodes};
use acequia_types::Coded;
use acequia_unify::load::{fold, person_id, remove_persons};
use arrow::util::display::array_value_to_string;

use proptest::prelude::*;

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

#[test]
fn changes_that_are_not_there_are_not_folded() {
    let out = fresh(&[PERSON, VISIT]);
    load_texts(&[RESULT], out.path());
    std::fs::remove_dir_all(out.path().join("changes")).unwrap();
    let before = rows(out.path(), "lineage");
    assert_eq!(fold(out.path()).unwrap_err().code(), "UN004");
    assert_eq!(remove_persons(out.path(), &key(), "test", &["p1"]).unwrap_err().code(), "UN004");
    assert_eq!(rows(out.path(), "lineage"), before);
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

/// After these loads, with changes folded at the end or each time, the tables are those of one load of the last states.
#[track_caller]
fn check(what: &str, loads: &[&[&str]], last: &[&str]) {
    let expected = fresh(last);
    for (folds, how) in [(false, How::plain()), (true, How::parts(2, 1))] {
        let out = tempfile::tempdir().unwrap();
        for lines in loads {
            let report = load_with(&[&lines.join("\n")], out.path(), &how);
            assert_eq!(report.counts.total + report.unchanged, lines.len() as u64, "{what}: each has a fate");
            if loads.len() == 1 {
                let written =
                    |name: &&str| report.rows.get(*name).is_some_and(|n| *n != rows(out.path(), name).len() as u64);
                assert_eq!(names().iter().find(|name| written(name)), None, "{what}: the report counts what is there");
            }
            if folds {
                fold(out.path()).unwrap();
            }
        }
        fold(out.path()).unwrap();
        assert_same(what, out.path(), expected.path());
        assert_eq!(names_of_nothing(out.path()), Vec::<String>::new(), "{what}");
    }
}

/// Columns that name a row which is not there.
fn names_of_nothing(out: &Path) -> Vec<String> {
    let keys = ["person", "visit_occurrence", "visit_detail", "location", "care_site", "provider"];
    let mut found = Vec::new();
    for key in keys {
        let column = format!("{key}_id");
        let there: BTreeSet<Option<i64>> = ints(out, key, &column).into_iter().chain([None, Some(0)]).collect();
        for name in names().into_iter().filter(|name| out.join(format!("{name}.parquet")).exists()) {
            let known = table(out, name).first().is_none_or(|batch| batch.column_by_name(&column).is_none());
            if !known && !ints(out, name, &column).iter().all(|id| there.contains(id)) {
                found.push(format!("{name}.{column}"));
            }
        }
    }
    let facts = |name: &str| ints(out, name, &format!("{name}_id"));
    let there: BTreeSet<Option<i64>> = facts("measurement").into_iter().chain(facts("specimen")).collect();
    let pairs = table(out, "fact_relationship").is_empty();
    if !pairs && !ints(out, "fact_relationship", "fact_id_1").iter().all(|id| there.contains(id)) {
        found.push("fact_relationship".to_owned());
    }
    found
}

const SPECIMEN: &str = r#"{"resourceType":"Specimen","id":"s1","status":"available","type":{"coding":[{"system":"http://snomed.info/sct","code":"119297000"}]},"subject":{"reference":"Patient/p1"},"collection":{"collectedDateTime":"2010-01-02"}}"#;
const ALLERGY: &str = r#"{"resourceType":"AllergyIntolerance","id":"a1","patient":{"reference":"Patient/p1"},"code":{"coding":[{"system":"http://snomed.info/sct","code":"91936005"}]},"recordedDate":"2010-01-02","reaction":[{"manifestation":[{"coding":[{"system":"http://snomed.info/sct","code":"271807003"}]}],"onset":"2010-01-01"}]}"#;
const DISPENSE: &str = r#"{"resourceType":"MedicationDispense","id":"x1","status":"completed","medicationCodeableConcept":{"coding":[{"system":"http://www.nlm.nih.gov/research/umls/rxnorm","code":"198240"}]},"subject":{"reference":"Patient/p1"},"whenHandedOver":"2010-01-03","authorizingPrescription":[{"reference":"MedicationRequest/m1"}]}"#;

/// In a state that was a mistake.
fn mistaken(line: &str) -> String {
    let states = ["finished", "final", "active", "completed", "available"];
    states.iter().fold(line.to_owned(), |line, state| {
        line.replace(&format!("\"status\":\"{state}\""), "\"status\":\"entered-in-error\"")
    })
}

fn part_of(visit: &str, whole: &str) -> String {
    VISIT.replace("\"id\":\"e1\"", &format!("\"id\":\"{visit}\",\"partOf\":{{\"reference\":\"Encounter/{whole}\"}}"))
}

#[test]
fn of_several_states_in_one_load_the_last_counts() {
    let held = RESULT.replace(",\"effectiveDateTime\":\"2010-01-02\"", "").replace("Encounter/e1", "Encounter/none");
    let rejected = RESULT.replace("2010-01-02", "2010-02-30");
    let social = "\"status\":\"final\",\"category\":[{\"coding\":[{\"code\":\"social-history\"}]}]";
    let moved = RESULT.replace("\"status\":\"final\"", social).replace("8480-6", "no-such-code");
    let other_drug = REQUEST.replace("198240", "no-such-code");
    let other_disease = DISEASE.replace("254837009", "no-such-code");
    let part = part_of("e2", "e1");
    let whole = VISIT.replace("e1", "e2");
    let within = RESULT.replace("Encounter/e1", "Encounter/e2");
    let sampled = RESULT.replace("\"id\":", "\"specimen\":{\"reference\":\"Specimen/s1\"},\"id\":");
    let unborn = PERSON.replace(",\"birthDate\":\"1950-02-03\"", "");
    let base = [PERSON, VISIT];
    let later = ["then held", "then rejected", "in another table", "drug without concept"];
    for (what, more, last) in [
        ("then held", vec![RESULT, &held], vec![&held[..]]),
        ("then rejected", vec![RESULT, &rejected], vec![&rejected]),
        ("held first", vec![&held, RESULT], vec![RESULT]),
        ("in another table", vec![RESULT, &moved], vec![&moved]),
        ("and back", vec![RESULT, &moved, RESULT], vec![RESULT]),
        ("the same three times", vec![RESULT, RESULT, RESULT], vec![RESULT]),
        ("drug without concept", vec![REQUEST, &other_drug], vec![&other_drug]),
        ("condition without concept", vec![DISEASE, &other_disease], vec![&other_disease]),
        ("visit taken back", vec![RESULT, &mistaken(VISIT)], vec![RESULT, &mistaken(VISIT)]),
        ("visit becomes a part", vec![&whole, &within, &part], vec![&within, &part]),
        ("part becomes a visit", vec![&part, &within, &whole], vec![&within, &whole]),
        ("request taken back", vec![REQUEST, DISPENSE, &mistaken(REQUEST)], vec![DISPENSE, &mistaken(REQUEST)]),
        ("result of a specimen twice", vec![SPECIMEN, &sampled, &sampled], vec![SPECIMEN, &sampled]),
        (
            "result of a specimen taken back",
            vec![SPECIMEN, &sampled, &mistaken(&sampled)],
            vec![SPECIMEN, &mistaken(&sampled)],
        ),
        ("result loses its specimen", vec![SPECIMEN, &sampled, RESULT], vec![SPECIMEN, RESULT]),
        ("specimen taken back", vec![SPECIMEN, &sampled, &mistaken(SPECIMEN)], vec![&sampled, &mistaken(SPECIMEN)]),
        ("person without birth date", vec![RESULT, &unborn], vec![RESULT, &unborn]),
    ] {
        // Persons and visits of the last states are those that come last.
        let kept: Vec<&str> =
            base.iter().copied().filter(|line| !last.iter().any(|other| same_item(line, other))).collect();
        let last: Vec<&str> = kept.into_iter().chain(last).collect();
        let once: Vec<&str> = base.iter().copied().chain(more.iter().copied()).collect();
        check(what, &[&once], &last);
        if later.contains(&what) {
            check(what, &[&base, &more], &last);
        }
    }
}

/// Whether two lines are states of one item.
fn same_item(line: &str, other: &str) -> bool {
    let head = |line: &str| {
        let word = |key: &str| {
            line.split(&format!("\"{key}\":\"")).nth(1).and_then(|rest| rest.split('"').next()).map(str::to_owned)
        };
        (word("resourceType"), word("id"))
    };
    head(line) == head(other)
}

#[test]
fn results_and_specimens_go_together_in_any_order() {
    let sampled = RESULT.replace("\"id\":", "\"specimen\":{\"reference\":\"Specimen/s1\"},\"id\":");
    let changed = SPECIMEN.replace("\"available\"", "\"unavailable\"");
    let newer = sampled.replace("120", "130");
    check("result first", &[&[PERSON, &sampled, SPECIMEN]], &[PERSON, SPECIMEN, &sampled]);
    for (what, next, last) in [
        ("specimen changes", &changed, [&changed[..], &sampled]),
        ("specimen goes", &mistaken(SPECIMEN), [&mistaken(SPECIMEN), &sampled]),
        ("result changes", &newer, [SPECIMEN, &newer]),
        ("result goes", &mistaken(&sampled), [SPECIMEN, &mistaken(&sampled)]),
        ("result loses it", &RESULT.to_owned(), [SPECIMEN, RESULT]),
    ] {
        check(what, &[&[PERSON, SPECIMEN, &sampled], &[next]], &[PERSON, last[0], last[1]]);
    }
}

#[test]
fn parts_of_visits_come_in_any_order() {
    let within = RESULT.replace("Encounter/e1", "Encounter/e3");
    let (part, part_of_part) = (part_of("e2", "e1"), part_of("e3", "e2"));
    let lines = [VISIT, &part, &part_of_part, &within];
    for order in [[3, 2, 1, 0], [2, 0, 1, 3], [0, 2, 1, 3]] {
        check(
            "three levels",
            &[&[&[PERSON][..], &order.map(|at| lines[at])].concat()],
            &[&[PERSON][..], &lines].concat(),
        );
    }
    // Parts of themselves are visits of their own.
    let (one, other, inside) = (part_of("e2", "e3"), part_of("e3", "e2"), part_of("e4", "e3"));
    let expected = fresh(&[PERSON, &one, &other, &inside]);
    assert_eq!((rows(expected.path(), "visit_occurrence").len(), rows(expected.path(), "visit_detail").len()), (2, 1));
    check("circle", &[&[PERSON, &inside, &other, &one]], &[PERSON, &one, &other, &inside]);
    let own = part_of("e2", "e2");
    assert_eq!(rows(fresh(&[PERSON, &own]).path(), "visit_occurrence").len(), 1);
}

#[test]
fn keys_of_two_types_are_two_keys() {
    let organization =
        r#"{"resourceType":"Organization","id":"1","name":"Clinic","address":[{"state":"NH","country":"US"}]}"#;
    let ward = r#"{"resourceType":"Location","id":"1","name":"Ward"}"#;
    let person = PERSON.replace("\"p1\"", "\"1\",\"address\":[{\"state\":\"MA\",\"country\":\"US\"}]");
    let visit = part_of("e2", "e1").replace("\"id\":", "\"serviceProvider\":{\"reference\":\"Organization/1\"},\"location\":[{\"location\":{\"reference\":\"Location/1\"}}],\"id\":");
    let drug = r#"{"resourceType":"Medication","id":"1","code":{"coding":[{"system":"http://www.nlm.nih.gov/research/umls/rxnorm","code":"198240"}]}}"#;
    let device = r#"{"resourceType":"Device","id":"1","type":{"coding":[{"system":"http://snomed.info/sct","code":"706172005"}]}}"#;
    let code = "\"medicationCodeableConcept\":{\"coding\":[{\"system\":\"http://www.nlm.nih.gov/research/umls/rxnorm\",\"code\":\"198240\"}]}";
    let request = REQUEST.replace(code, "\"medicationReference\":{\"reference\":\"Medication/1\"}");
    // A dispense with the number of its request, which is not there.
    let dispense = DISPENSE.replace("\"x1\"", "\"m1\"");
    let vaccine = r#"{"resourceType":"Immunization","id":"m1","status":"completed","vaccineCode":{"coding":[{"system":"http://hl7.org/fhir/sid/cvx","code":"140"}]},"patient":{"reference":"Patient/p1"},"occurrenceDateTime":"2010-01-02"}"#;
    for lines in [
        vec![organization, &person],
        vec![PERSON, organization, ward, VISIT, &visit],
        vec![PERSON, drug, device, &request],
        vec![PERSON, &dispense, DISPENSE],
        vec![PERSON, vaccine, &dispense],
    ] {
        let turned: Vec<&str> = lines.iter().rev().copied().collect();
        check("order", &[&turned], &lines);
    }
    let all = fresh(&[PERSON, organization, ward, VISIT, &visit, vaccine, &dispense, DISPENSE]);
    assert_eq!((rows(all.path(), "care_site").len(), rows(all.path(), "drug_exposure").len()), (2, 3));
    check(
        "dispense changes",
        &[&[PERSON, &dispense], &[&dispense.replace("2010-01-03", "2010-01-04")]],
        &[PERSON, &dispense.replace("2010-01-03", "2010-01-04")],
    );
}

#[test]
fn what_is_of_a_person_stands_as_long_as_she_does() {
    let unborn = PERSON.replace(",\"birthDate\":\"1950-02-03\"", "");
    let undated = PERSON.replace("\"birthDate\"", "\"deceasedBoolean\":true,\"birthDate\"");
    let wrong = PERSON.replace("1950-02-03", "1950-02-30");
    let other = PERSON.replace("female", "male");
    let sampled = RESULT.replace("\"id\":", "\"specimen\":{\"reference\":\"Specimen/s1\"},\"id\":");
    let hers = [VISIT, SPECIMEN, &sampled, REQUEST, DISEASE];
    let (neighbour, theirs) = (of_other(PERSON), of_other(REQUEST));
    let all = [&[PERSON, &neighbour, &theirs][..], &hers].concat();
    let rest = |person| [&[person, &neighbour[..], &theirs][..], &hers].concat();
    for withheld in [&unborn, &undated, &wrong] {
        check("later", &[&all, &[withheld]], &rest(withheld));
        check("with what is hers", &[&all, &rest(withheld)], &rest(withheld));
        check("and back, with what is hers", &[&all, &[withheld], &all], &all);
    }
    check("twice in a later load", &[&all, &[&other, &wrong]], &rest(&wrong));
    // What is not given again when she comes back is not there, and nothing names it.
    check("back alone", &[&all, &[&unborn], &[PERSON, &sampled]], &[PERSON, &neighbour, &theirs, &sampled]);
    let out = fresh(&all);
    load_texts(&[&unborn], out.path());
    let report = load_texts(&[&all.join("\n")], out.path());
    assert_eq!((report.counts.loaded, report.unchanged), (6, 2), "{:?}", report.reasons);
    // Of a visit that moved to another person nothing is taken back.
    let moved = VISIT.replace("p1", "p2");
    let at = RESULT.replace("p1", "p2");
    check(
        "visit of another",
        &[&[PERSON, &neighbour, VISIT], &[&moved], &[&unborn], &[&at]],
        &[&unborn, &neighbour, &moved, &at],
    );
}

#[test]
fn what_is_gone_is_not_found() {
    let sampled = RESULT.replace("\"id\":", "\"specimen\":{\"reference\":\"Specimen/s1\"},\"id\":");
    let (newer, newer_sampled) = (RESULT.replace("120", "130"), sampled.replace("120", "130"));
    let handed = DISPENSE.replace("2010-01-03", "2010-01-04");
    let undated = VISIT.replace("\"period\":{", "\"length\":{");
    let (whole, part) = (VISIT.replace("e1", "e2"), part_of("e2", "e1"));
    let within = RESULT.replace("Encounter/e1", "Encounter/e2");
    for (what, before, gone, next) in [
        ("visit", vec![VISIT, RESULT], mistaken(VISIT), &newer),
        ("visit without a date", vec![VISIT, RESULT], undated, &newer),
        ("part of a visit", vec![VISIT, &part, &within], mistaken(&part), &within.replace("120", "130")),
        ("visit, not a part", vec![&whole, &within], mistaken(&whole), &within.replace("120", "130")),
        ("request", vec![REQUEST, DISPENSE], mistaken(REQUEST), &handed),
        ("specimen", vec![SPECIMEN, &sampled], mistaken(SPECIMEN), &newer_sampled),
    ] {
        let first = [&[PERSON][..], &before].concat();
        let kept = before[..before.len() - 1].iter().copied().filter(|line| !same_item(line, &gone));
        let last: Vec<&str> = [PERSON].into_iter().chain(kept).chain([&gone[..], next]).collect();
        check(what, &[&first, &[next, &gone]], &last);
        check(what, &[&first, &[&gone], &[next]], &last);
    }
    // What was in a visit is in none, though it is not given again.
    let gone = mistaken(VISIT);
    check("visit goes alone", &[&[PERSON, VISIT, RESULT], &[&gone]], &[PERSON, &gone, RESULT]);
    check(
        "and comes back",
        &[&[PERSON, VISIT, RESULT], &[&gone, &RESULT.replace("120", "1")], &[VISIT, RESULT]],
        &[PERSON, VISIT, RESULT],
    );
    // Nor is it in a visit that is another's now, or a part, or no part any longer.
    let (neighbour, theirs) = (of_other(PERSON), VISIT.replace("p1", "p2"));
    let (third, moved) = (VISIT.replace("e1", "e3"), part_of("e2", "e3"));
    check(
        "visit of another",
        &[&[PERSON, &neighbour, VISIT, RESULT], &[&theirs]],
        &[PERSON, &neighbour, &theirs, RESULT],
    );
    for (states, last) in [([&whole, &part], &part), ([&part, &whole], &whole), ([&part, &moved], &moved)] {
        let before = [PERSON, VISIT, &third, states[0], &within];
        check("visit changes", &[&before, &[states[1]]], &[PERSON, VISIT, &third, last, &within]);
    }
    // Nor after a removal.
    let out = fresh(&[PERSON, REQUEST, DISPENSE]);
    remove_persons(out.path(), &key(), "test", &["p1"]).unwrap();
    load_texts(&[&[PERSON, &mistaken(REQUEST), DISPENSE].join("\n")], out.path());
    fold(out.path()).unwrap();
    assert_same("removal", out.path(), fresh(&[PERSON, &mistaken(REQUEST), DISPENSE]).path());
}

/// In a bundle, what stands in for an id tells two resources of the same words apart.
#[test]
fn resources_without_ids_are_told_apart_by_their_urls() {
    let bundle = |person: &str, result: &str| {
        let words = RESULT.replace("\"id\":\"o1\",", "").replace("Patient/p1", &format!("urn:uuid:{person}"));
        let of_nobody = PERSON.replace("\"id\":\"p1\",", "");
        format!(
            "{{\"resourceType\":\"Bundle\",\"type\":\"collection\",\"entry\":[{{\"fullUrl\":\"urn:uuid:{person}\",\"resource\":{of_nobody}}},{{\"fullUrl\":\"urn:uuid:{result}\",\"resource\":{words}}}]}}"
        )
    };
    let (one, two) = (bundle("aaa", "bbb"), bundle("ccc", "ddd"));
    let expected = fresh(&[&one, &two]);
    assert_eq!(rows(expected.path(), "measurement").len(), 2);
    let out = fresh(&[&one]);
    load_texts(&[&format!("{two}\n")], out.path());
    assert_eq!(load_texts(&[&format!("{one}\n{two}\n")], out.path()).unchanged, 4);
    fold(out.path()).unwrap();
    assert_same("bundles", out.path(), expected.path());
}

#[test]
fn an_item_is_taken_whole_or_not_at_all() {
    let undated = ALLERGY.replace("\"recordedDate\":\"2010-01-02\",", "");
    let wrong = ALLERGY.replace("\"onset\":\"2010-01-01\"", "\"onset\":\"2010-02-30\"");
    let refuted = refuted(ALLERGY);
    let others = [&of_other(PERSON)[..], &of_other(REQUEST)];
    for partial in [&undated[..], &wrong] {
        check("alone", &[&[PERSON, partial]], &[PERSON]);
        check("twice", &[&[PERSON, partial, partial]], &[PERSON]);
        check("then in error", &[&[PERSON, partial], &[&refuted]], &[PERSON, &refuted]);
        check("then others", &[&[PERSON, partial], &others], &[PERSON, others[0], others[1]]);
        check("whole before", &[&[PERSON, ALLERGY], &[partial]], &[PERSON]);
    }
    let address = "\"address\":[{\"state\":\"MA\",\"country\":\"US\"}],\"id\":";
    let unborn = PERSON.replace(",\"birthDate\":\"1950-02-03\"", "").replace("\"id\":", address);
    check("a place of nobody", &[&[others[0]], &[&unborn]], &[others[0]]);
    let device = r#"{"resourceType":"Device","id":"v1","type":{"coding":[{"system":"http://snomed.info/sct","code":"706172005"}]},"patient":{"reference":"Patient/p1"}}"#;
    let used = r#"{"resourceType":"DeviceUseStatement","id":"u1","status":"active","subject":{"reference":"Patient/p1"},"device":{"reference":"Device/v1"},"timingDateTime":"2010-01-02"}"#;
    check("a definition that is held counts", &[&[PERSON], &[device], &[used]], &[PERSON, device, used]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whoever lost her birth date and got it back, whatever came twice, was removed or was cut off in between: a whole export
    /// gives what it gives to an empty folder.
    #[test]
    fn a_whole_export_ends_as_in_an_empty_folder(
        loads in prop::collection::vec(
            (prop::collection::vec((0..5_usize, 0..4_usize), 0..6), any::<[bool; 2]>(), 0..4_u8, any::<bool>()),
            1..5,
        ),
    ) {
        let undated = RESULT.replace(",\"effectiveDateTime\":\"2010-01-02\"", "").replace("Encounter/e1", "Encounter/none");
        let state = |item: usize, state: usize| {
            let line = match (item, state) {
                (0, 0) => RESULT.to_owned(),
                (0, 1) => RESULT.replace("120", "130"),
                (0, 2) => undated.clone(),
                (0, _) => mistaken(RESULT),
                (1 | 2, 0) => REQUEST.to_owned(),
                (1 | 2, 1) => REQUEST.replace("2010-01-02", "2010-03-02"),
                (1 | 2, 2) => REQUEST.replace("198240", "no-such-code"),
                (1 | 2, _) => mistaken(REQUEST),
                (_, 0) => DISEASE.to_owned(),
                (_, 1) => DISEASE.replace("254837009", "no-such-code"),
                (_, 2) => DISEASE.replace("Patient/p1", "Patient/p2").replace("Encounter/e1", "Encounter/e2"),
                (_, _) => refuted(DISEASE),
            };
            if item.is_multiple_of(2) { of_other(&line) } else { line }
        };
        let out = tempfile::tempdir().unwrap();
        let mut states = [0; 5];
        let mut last = Vec::new();
        for (earlier, born, event, folds) in &loads {
            let mut lines = vec![VISIT.to_owned(), of_other(VISIT)];
            for (line, born) in [PERSON.to_owned(), of_other(PERSON)].into_iter().zip(born) {
                lines.push(if *born { line } else { line.replace(",\"birthDate\":\"1950-02-03\"", "") });
            }
            let fixed = lines.clone();
            for (item, now) in earlier {
                lines.push(state(*item, *now));
                states[*item] = *now;
            }
            let now: Vec<String> = states.iter().enumerate().map(|(item, now)| state(item, *now)).collect();
            last = [fixed, now.clone()].concat();
            lines.extend(now);
            let lines: Vec<&str> = lines.iter().map(|line| &line[..]).collect();
            if *event == 1 && out.path().join(".acequia/loads.json").exists() {
                load_without_record(&lines, out.path());
            }
            load_with(&[&lines.join("\n")], out.path(), &How::parts(2, if *event == 2 { 1 } else { 1 << 20 }));
            if *folds {
                fold(out.path()).unwrap();
            }
            if *event == 3 {
                remove_persons(out.path(), &key(), "test", &["p1"]).unwrap();
            }
        }
        let last: Vec<&str> = last.iter().map(|line| &line[..]).collect();
        load_texts(&[&last.join("\n")], out.path());
        fold(out.path()).unwrap();
        let expected = fresh(&last);
        for name in names() {
            prop_assert_eq!(rows(out.path(), name), rows(expected.path(), name), "{}", name);
        }
        prop_assert_eq!(names_of_nothing(out.path()), Vec::<String>::new());
    }
}
