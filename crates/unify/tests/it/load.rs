//! Loading FHIR into a folder, again, with changes, and without persons.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Cursor, Read};
use std::path::Path;
use std::sync::Arc;

use acequia_intake::{Format, expected_pass, lines_of, tell};
use acequia_omop::{LocalCodes, Sink, Vocabulary};
use acequia_types::{Coded, Exit, Place, Problem};
use acequia_unify::IdKey;
use acequia_unify::load::{
    Input, LoadError, LoadReport, PART_BYTES, Settings, fold, load, person_id, remove_persons, row_id,
};
use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Date32Type, Int64Type};
use proptest::prelude::*;

pub(crate) fn key() -> IdKey {
    IdKey::new([3; 32])
}

#[derive(Clone)]
pub(crate) struct How {
    threads: usize,
    part_bytes: usize,
    pub(crate) local_codes: Arc<LocalCodes>,
}

impl How {
    pub(crate) fn parts(threads: usize, part_bytes: usize) -> Self {
        Self { threads, part_bytes, local_codes: Arc::default() }
    }

    pub(crate) fn plain() -> Self {
        Self::parts(1, PART_BYTES)
    }
}

pub(crate) fn try_load(texts: &[&str], out: &Path, how: &How) -> Result<LoadReport, LoadError> {
    let inputs: Vec<Input<'_>> = texts
        .iter()
        .map(|text| Input {
            open: Box::new(move || Ok(Box::new(Cursor::new(text.as_bytes().to_vec())) as Box<dyn Read + Send>)),
            lines: lines_of(text.as_bytes()) == Some(true),
            expects: expected_pass(text.as_bytes()).filter(|_| lines_of(text.as_bytes()) == Some(true)),
        })
        .collect();
    let reader = |input: usize, text: &str, first_row: u64, pass, sink: &mut dyn Sink| {
        let format = if inputs[input].lines { Format::FhirNdjson } else { Format::FhirBundle };
        tell(text, format, first_row, pass, sink)
            .map_err(|error| Problem::new(error.code(), error.to_string(), Place::default(), error.hint()))
    };
    let How { threads, part_bytes, local_codes } = how.clone();
    let settings = Settings { threads, part_bytes, local_codes, ..Settings::new(key(), "test", Vocabulary::bundled()) };
    load(&inputs, &reader, &settings, out)
}

pub(crate) fn load_with(texts: &[&str], out: &Path, how: &How) -> LoadReport {
    let report = try_load(texts, out, how).unwrap();
    assert!(report.counts.add_up(), "{:?}", report.counts);
    report
}

pub(crate) fn load_texts(texts: &[&str], out: &Path) -> LoadReport {
    load_with(texts, out, &How::plain())
}

pub(crate) fn table(out: &Path, name: &str) -> Vec<RecordBatch> {
    let file = std::fs::File::open(out.join(format!("{name}.parquet"))).unwrap();
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    reader.build().unwrap().map(Result::unwrap).collect()
}

pub(crate) fn ints(out: &Path, name: &str, column: &str) -> Vec<Option<i64>> {
    let batches = table(out, name);
    let column = |batch: &RecordBatch| {
        batch.column_by_name(column).unwrap().as_primitive::<Int64Type>().iter().collect::<Vec<_>>()
    };
    batches.iter().flat_map(column).collect()
}

fn files(out: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(out).unwrap().map(|entry| entry.unwrap().path());
    let parquet = entries.filter(|path| path.extension().is_some_and(|ending| ending == "parquet"));
    parquet
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(path).unwrap()))
        .collect()
}

const PATIENT: &str = r#"{"resourceType":"Patient","id":"p1","gender":"female","birthDate":"1950-02","deceasedDateTime":"2020-03-04T10:00:00+01:00","address":[{"line":["1 Secret Street"],"state":"MA","postalCode":"01655","country":"US"}]}"#;
const ENCOUNTER: &str = r#"{"resourceType":"Encounter","id":"e1","status":"finished","class":{"code":"IMP"},"subject":{"reference":"Patient/p1"},"period":{"start":"2010-01-01T10:00:00-05:00","end":"2010-01-03T10:00:00-05:00"}}"#;
const PRESSURE: &str = r#"{"id":"o1","code":{"coding":[{"system":"http://loinc.org","code":"85354-9"}]},"component":[{"code":{"coding":[{"system":"http://loinc.org","code":"8480-6"}]},"valueQuantity":{"value":120,"code":"mm[Hg]"}},{"code":{"coding":[{"system":"http://loinc.org","code":"8462-4"}]},"valueQuantity":{"value":80,"comparator":"<","code":"mm[Hg]"}}],"status":"final","subject":{"reference":"urn:uuid:p1"},"encounter":{"reference":"urn:uuid:e1"},"effectiveDateTime":"2010-01-02T08:30:00-05:00","resourceType":"Observation"}"#;
const UNDATED: &str = r#"{"resourceType":"Condition","id":"c1","subject":{"reference":"Patient/p1"},"encounter":{"reference":"Encounter/e1"},"code":{"coding":[{"system":"http://hl7.org/fhir/sid/icd-9-cm","code":"V462 "}]}}"#;
const REQUEST: &str = r#"{"resourceType":"MedicationRequest","id":"m1","status":"stopped","intent":"order","medicationReference":{"reference":"Medication/d1"},"subject":{"reference":"Patient/p1"},"authoredOn":"2010-01-02"}"#;
const DISPENSE: &str = r#"{"resourceType":"MedicationDispense","id":"x1","status":"completed","medicationReference":{"reference":"Medication/d1"},"subject":{"reference":"Patient/p1"},"whenHandedOver":"2010-01-03","authorizingPrescription":[{"reference":"MedicationRequest/m1"}]}"#;
const MEDICATION: &str = r#"{"resourceType":"Medication","id":"d1","code":{"coding":[{"system":"http://www.nlm.nih.gov/research/umls/rxnorm","code":"198240"}]}}"#;
const OTHERS: &str = r#"{"resourceType":"Observation","id":"o2","status":"final","code":{"coding":[{"system":"http://loinc.org","code":"8480-6"}]},"subject":{"reference":"Patient/nobody"},"effectiveDateTime":"2010-01-02"}
{"resourceType":"Condition","id":"c2","subject":{"reference":"Patient/p1"},"verificationStatus":{"coding":[{"code":"refuted"}]},"code":{"coding":[{"system":"s","code":"c"}]},"onsetDateTime":"2010"}
{"resourceType":"Observation","id":"o3","status":"final","code":{"coding":[{"system":"http://loinc.org","code":"8480-6"}]},"subject":{"reference":"Patient/p1"},"effectiveDateTime":"2010-02-30"}
{"resourceType":"Claim","id":"k1"}
{"resourceType":"CarePlan","id":"k2"}
{"resourceType":"QuestionnaireResponse","id":"k3"}
{"resourceType":"Observation","id":"o4"
"#;

fn everything() -> String {
    // Events first: the order of files must not matter.
    [UNDATED, DISPENSE, PRESSURE, REQUEST, MEDICATION, ENCOUNTER, PATIENT, OTHERS].join("\n")
}

#[test]
fn each_resource_has_one_fate_and_its_rows() {
    let out = tempfile::tempdir().unwrap();
    let report = load_texts(&[&everything()], out.path());
    let counts = &report.counts;
    assert_eq!(counts.total, 14);
    assert_eq!((counts.loaded, counts.unmapped), (4, 2), "{:?}", report.by_kind);
    assert_eq!((counts.excluded, counts.held, counts.rejected), (5, 1, 2), "{:?}", report.reasons);
    for (reason, count) in [
        ("excluded: told-elsewhere", 2),
        ("excluded: did-not-happen", 1),
        ("excluded: financial", 1),
        ("excluded: plan", 1),
        ("held: other-person", 1),
        ("rejected: IN103", 1),
        ("rejected: IN110", 1),
        ("unmapped: concept", 1),
        ("unmapped: no table for QuestionnaireResponse", 1),
    ] {
        assert_eq!(report.reasons.get(reason), Some(&count), "{reason}: {:?}", report.reasons);
    }
    let rows = |name: &str| report.rows[name];
    assert_eq!((rows("person"), rows("death"), rows("visit_occurrence"), rows("location")), (1, 1, 1, 1));
    assert_eq!((rows("measurement"), rows("drug_exposure"), rows("condition_occurrence")), (2, 1, 1));
    assert_eq!((rows("observation_period"), rows("drug_era")), (1, 1));
    assert_eq!(report.dates_of_visits, 1);

    // A person without a day of birth has none; the death has its time.
    assert_eq!(ints(out.path(), "person", "day_of_birth"), [None]);
    assert_eq!(ints(out.path(), "measurement", "measurement_concept_id"), [Some(3_004_249), Some(3_012_888)]);
    assert_eq!(ints(out.path(), "measurement", "operator_concept_id"), [None, Some(4_171_756)]);
    let visit = row_id(&key(), "test", "Encounter", "e1", 0);
    assert_eq!(ints(out.path(), "measurement", "visit_occurrence_id"), [Some(visit), Some(visit)]);
    assert_eq!(ints(out.path(), "drug_exposure", "drug_concept_id"), [Some(19_019_851)]);
    let condition = &table(out.path(), "condition_occurrence")[0];
    let source = condition.column_by_name("condition_source_value").unwrap().as_string::<i32>();
    assert_eq!(source.value(0), "V462 ", "as received");
    assert_eq!(ints(out.path(), "lineage", "row_id").len() as u64, 8, "every row knows where it came from");
    let all: Vec<u8> = files(out.path()).into_values().flatten().collect();
    for secret in ["Secret Street", "01655", "Patient/p1"] {
        assert!(!all.windows(secret.len()).any(|window| window == secret.as_bytes()), "{secret}");
    }
}

#[test]
fn a_bundle_gives_the_rows_of_its_lines() {
    let entries: Vec<String> = [UNDATED, PRESSURE, REQUEST, MEDICATION, ENCOUNTER, PATIENT]
        .iter()
        .map(|resource| format!(r#"{{"fullUrl":"urn:uuid:x{}","resource":{resource}}}"#, resource.len()))
        .collect();
    let bundle =
        format!("{{\n\"resourceType\":\"Bundle\",\n\"type\":\"transaction\",\"entry\":[{}]}}", entries.join(",\n"));
    let line = bundle.replace('\n', "");
    let (whole, one, lines) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let ndjson = [UNDATED, PRESSURE, REQUEST, MEDICATION, ENCOUNTER, PATIENT].join("\n");
    let reports = [
        load_texts(&[&bundle], whole.path()),
        load_texts(&[&format!("{line}\n")], one.path()),
        load_texts(&[&ndjson], lines.path()),
    ];
    assert_eq!(reports[0].rows, reports[2].rows);
    assert_eq!(files(whole.path()), files(lines.path()));
    assert_eq!(files(one.path()), files(lines.path()));
}

/// Many patients, each with a visit, measurements and a condition.
fn many(persons: usize) -> String {
    let mut text = String::new();
    for n in 0..persons {
        for line in [PATIENT, ENCOUNTER, PRESSURE, UNDATED] {
            let line = line.replace("p1", &format!("p{n}")).replace("e1", &format!("e{n}"));
            text += &line.replace("\"o1\"", &format!("\"o{n}\"")).replace("\"c1\"", &format!("\"c{n}\""));
            text.push('\n');
        }
    }
    text
}

#[test]
fn the_files_are_the_same_on_any_number_of_threads() {
    let text = many(400);
    let half = text.len() / 2 + text[text.len() / 2..].find('\n').unwrap() + 1;
    let outs: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
    let parts = [&text[..half], &text[half..]];
    let one = load_with(&parts, outs[0].path(), &How::parts(1, 10_000));
    let four = load_with(&parts, outs[1].path(), &How::parts(4, 10_000));
    assert_eq!(one, four);
    assert_eq!(files(outs[0].path()), files(outs[1].path()));
    // Larger parts: other row groups, the same rows.
    let large = load_with(&parts, outs[2].path(), &How::plain());
    assert_eq!(one.rows, large.rows);
    for (name, column) in [("measurement", "measurement_id"), ("lineage", "row_id"), ("person", "person_id")] {
        assert_eq!(ints(outs[0].path(), name, column), ints(outs[2].path(), name, column), "{name}");
    }
}

#[test]
fn loading_again_changes_nothing_and_changes_replace() {
    let out = tempfile::tempdir().unwrap();
    let text = many(20);
    load_texts(&[&text], out.path());
    let before = files(out.path());
    let again = load_texts(&[&text], out.path());
    assert_eq!((again.unchanged, again.counts.total, again.generation), (80, 0, 1));
    assert_eq!(again.rows.values().sum::<u64>(), 0);
    assert_eq!(files(out.path()), before);

    // One value, one status, one new person.
    let changed = text.replacen("\"id\":\"o3\"", "\"id\":\"o3\",\"issued\":\"2010-01-05\"", 1).replacen(
        "\"id\":\"c4\"",
        "\"id\":\"c4\",\"verificationStatus\":{\"coding\":[{\"code\":\"refuted\"}]}",
        1,
    ) + &PATIENT.replace("p1", "new");
    let third = load_texts(&[&changed], out.path());
    assert_eq!((third.unchanged, third.replaced, third.generation), (78, 2, 2));
    assert_eq!((third.counts.total, third.counts.excluded, third.removed_rows), (3, 1, 3));
    assert_eq!(files(out.path()), before, "the tables are as they were until changes are folded");
    let old: BTreeSet<_> = ints(out.path(), "measurement", "measurement_id").into_iter().collect();
    let folded = fold(out.path()).unwrap();
    assert_eq!((folded.rows["person"], folded.rows["measurement"], folded.rows["condition_occurrence"]), (21, 40, 19));
    assert_eq!(folded.rows["observation_period"], 20, "nothing happened to the new person yet");
    let new: BTreeSet<_> = ints(out.path(), "measurement", "measurement_id").into_iter().collect();
    assert_eq!(old, new, "no id changed");
    assert_eq!(fold(out.path()).unwrap().gone, BTreeMap::new(), "folding twice is folding once");

    // As if all had been loaded at once.
    let fresh = tempfile::tempdir().unwrap();
    load_texts(&[&changed], fresh.path());
    for (name, column) in [
        ("person", "person_id"),
        ("measurement", "measurement_id"),
        ("condition_occurrence", "condition_occurrence_id"),
        ("lineage", "row_id"),
        ("observation_period", "observation_period_id"),
    ] {
        let sorted = |out: &Path| ints(out, name, column).into_iter().collect::<BTreeSet<_>>();
        assert_eq!(sorted(out.path()), sorted(fresh.path()), "{name}");
    }
    assert_eq!(load_texts(&[&changed], out.path()).counts.total, 0);
}

#[test]
fn a_person_is_found_and_removed_everywhere() {
    let out = tempfile::tempdir().unwrap();
    let text = many(5);
    load_texts(&[&text], out.path());
    let person = person_id(&key(), "test", "p2");
    let of_person = |name: &str| ints(out.path(), name, "person_id").iter().filter(|id| **id == Some(person)).count();
    assert_eq!((of_person("lineage"), of_person("measurement"), of_person("death")), (6, 2, 1));
    let removed = remove_persons(out.path(), &key(), "test", &["p2"]).unwrap();
    assert_eq!(removed.gone["lineage"], 6);
    for name in
        ["person", "death", "visit_occurrence", "measurement", "condition_occurrence", "observation_period", "lineage"]
    {
        assert_eq!(of_person(name), 0, "{name}");
    }
    assert_eq!(removed.rows["person"], 4);
    // Who is gone comes back only when given again, under the same ids.
    let back = load_texts(&[&text], out.path());
    assert_eq!((back.unchanged, back.counts.total), (16, 4));
    fold(out.path()).unwrap();
    assert_eq!(of_person("measurement"), 2);
    assert!(remove_persons(out.path(), &key(), "other", &["p2"]).is_err());
}

#[test]
fn an_item_that_comes_twice_counts_once_in_its_last_state() {
    let (out, once) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let newer = PRESSURE.replace("120", "130");
    let text = [PATIENT, ENCOUNTER, PRESSURE, PRESSURE, &newer].join("\n");
    load_texts(&[&text], out.path());
    load_texts(&[&[PATIENT, ENCOUNTER, &newer].join("\n")], once.path());
    let values = |out: &Path| {
        let batch = table(out, "measurement");
        let column = batch[0].column_by_name("value_as_number").unwrap().clone();
        column.as_primitive::<arrow::datatypes::Float64Type>().iter().flatten().collect::<Vec<_>>()
    };
    assert_eq!(values(out.path()), [130.0, 80.0]);
    assert_eq!(ints(out.path(), "measurement", "measurement_id"), ints(once.path(), "measurement", "measurement_id"));
    assert_eq!(ints(out.path(), "lineage", "row_id").len(), ints(once.path(), "lineage", "row_id").len());
}

/// A state that the folder has already is passed over without a look. Beside a newer one of the same item it must count, or
/// not, by its place.
#[test]
fn a_state_that_comes_back_within_a_load_counts() {
    let newer = PRESSURE.replace("120", "130");
    let held =
        PRESSURE.replace("\"effectiveDateTime\":\"2010-01-02T08:30:00-05:00\",", "").replace("urn:uuid:e1", "none");
    for (lines, expected) in [
        (vec![&newer[..], PRESSURE], vec![120.0, 80.0]),
        (vec![PRESSURE, &newer], vec![130.0, 80.0]),
        (vec![PRESSURE, &newer, PRESSURE], vec![120.0, 80.0]),
        (vec![&held, PRESSURE], vec![120.0, 80.0]),
        (vec![PRESSURE, &held], vec![]),
    ] {
        for (before, part_bytes) in [(false, PART_BYTES), (false, 1), (true, 1)] {
            let out = tempfile::tempdir().unwrap();
            load_texts(&[&[PATIENT, ENCOUNTER, if before { &newer } else { PRESSURE }].join("\n")], out.path());
            if before {
                // What it comes back to came with a later load than the first.
                assert_eq!(load_texts(&[PRESSURE], out.path()).replaced, 1);
            }
            let text = lines.join("\n");
            let report = load_with(&[&text], out.path(), &How::parts(2, part_bytes));
            assert_eq!((report.unchanged, report.counts.total), (0, lines.len() as u64));
            fold(out.path()).unwrap();
            let values = |batch: RecordBatch| {
                let column = batch.column_by_name("value_as_number").unwrap().clone();
                column.as_primitive::<arrow::datatypes::Float64Type>().iter().flatten().collect::<Vec<_>>()
            };
            let values: Vec<f64> = table(out.path(), "measurement").into_iter().flat_map(values).collect();
            assert_eq!(values, expected);
            let of_pressure = ints(out.path(), "lineage", "row_id").len() - 4;
            assert_eq!(of_pressure, expected.len(), "and lineage with the rows");
            let again = load_texts(&[lines.last().unwrap()], out.path());
            assert_eq!(again.unchanged + again.counts.held, 1, "the last state is the known one");
        }
    }
}

/// Of what rows refer to, too, the last state counts: whichever parts of the input the states are in.
#[test]
fn places_institutions_and_medications_that_come_twice_count_in_their_last_state() {
    const CLINIC: &str = r#"{"resourceType":"Organization","id":"h1","name":"Old name","address":[{"state":"MA","postalCode":"01655","country":"US"}]}"#;
    let moved = CLINIC.replace("Old", "New").replace("MA", "NH");
    let other = MEDICATION.replace("198240", "310965");
    let later = ENCOUNTER.replace("2010-01-01", "2010-01-02");
    let neighbour = PATIENT.replace("p1", "p2");
    let moved_person = PATIENT
        .replace("MA", "VT")
        .replace("\"gender\"", "\"managingOrganization\":{\"reference\":\"Organization/h1\"},\"gender\"");
    let twice =
        [PATIENT, CLINIC, MEDICATION, ENCOUNTER, &moved, &other, &later, &neighbour, &moved_person, REQUEST, UNDATED];
    let once = [&moved[..], &other, &later, &neighbour, &moved_person, REQUEST, UNDATED];
    let fresh = tempfile::tempdir().unwrap();
    load_texts(&[&once.join("\n")], fresh.path());
    for part_bytes in [PART_BYTES, 1] {
        for between in [0, 4] {
            let out = tempfile::tempdir().unwrap();
            if between > 0 {
                load_texts(&[&twice[..between].join("\n")], out.path());
            }
            load_with(&[&twice[between..].join("\n")], out.path(), &How::parts(2, part_bytes));
            fold(out.path()).unwrap();
            for name in ["person", "care_site", "drug_exposure", "condition_occurrence", "visit_occurrence"] {
                assert_eq!(numbers(out.path(), name), numbers(fresh.path(), name), "{name}");
            }
            let texts = |out: &Path, name: &str, column: &str| {
                let of = |batch: RecordBatch| {
                    let column = batch.column_by_name(column).unwrap().clone();
                    column.as_string::<i32>().iter().flatten().map(str::to_owned).collect::<Vec<_>>()
                };
                table(out, name).into_iter().flat_map(of).collect::<BTreeSet<_>>()
            };
            assert!(
                ints(out.path(), "person", "care_site_id").contains(&ints(out.path(), "care_site", "care_site_id")[0])
            );
            assert_eq!(texts(out.path(), "care_site", "care_site_name"), ["New name".to_owned()].into());
            // A location stays that nobody lives at any longer; none is missing that somebody lives at.
            let states = texts(out.path(), "location", "state");
            assert!(["MA", "NH", "VT"].iter().all(|state| states.contains(*state)), "{states:?}");
        }
    }
}

#[test]
fn lines_that_are_not_utf_8_are_set_aside_alone() {
    let out = tempfile::tempdir().unwrap();
    let mut bytes = format!("{PATIENT}\n").into_bytes();
    bytes.extend_from_slice(b"{\"resourceType\":\"Condition\",\"id\":\"M\xfcller\"}\n");
    bytes.extend_from_slice(ENCOUNTER.as_bytes());
    let inputs = [Input {
        open: Box::new(|| Ok(Box::new(Cursor::new(bytes.clone())) as Box<dyn Read + Send>)),
        lines: true,
        expects: None,
    }];
    let reader = |_: usize, text: &str, row: u64, pass, sink: &mut dyn Sink| {
        tell(text, Format::FhirNdjson, row, pass, sink)
            .map_err(|error| Problem::new(error.code(), error.to_string(), Place::default(), error.hint()))
    };
    let settings = Settings::new(key(), "test", Vocabulary::bundled());
    let report = load(&inputs, &reader, &settings, out.path()).unwrap();
    assert_eq!((report.counts.total, report.counts.loaded, report.counts.rejected), (3, 2, 1));
    assert_eq!(report.listed_problems[0].to_string(), "row 2: the line is not UTF-8 (IN111)");
}

/// Rows of the reference by resource type (`shared/reference/intake-unify-cleanse.md` §5).
#[test]
fn the_reference_patients_become_the_expected_rows() {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data/ehr/synthea-r4");
    let expected = [
        ("Patient", 615),
        ("Encounter", 18_098),
        ("Condition", 4_546),
        ("MedicationRequest", 4_712),
        ("Immunization", 7_389),
        ("AllergyIntolerance", 374),
    ];
    let mut texts = Vec::new();
    for (kind, _) in expected {
        let Ok(packed) = std::fs::File::open(format!("{dir}/{kind}.ndjson.gz")) else {
            println!("skipped: the Synthea patients are not beside this checkout");
            return;
        };
        let mut text = String::new();
        flate2::read::MultiGzDecoder::new(packed).read_to_string(&mut text).unwrap();
        texts.push(text);
    }
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let out = tempfile::tempdir().unwrap();
    let report = load_with(&texts, out.path(), &How::parts(2, 1 << 20));
    for (kind, rows) in &expected[1..] {
        assert_eq!(report.by_kind[*kind].rows, *rows, "{kind}");
    }
    assert_eq!(report.rows["person"], 615);
    assert_eq!(report.counts.rejected, 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn counts_add_up_and_ids_do_not_depend_on_order(order in Just((0..14_usize).collect::<Vec<_>>()).prop_shuffle(), cut in 0..14_usize) {
        let text = everything();
        let lines: Vec<&str> = text.lines().collect();
        let shuffled: Vec<&str> = order.iter().map(|at| lines[*at]).collect();
        let (first, second) = shuffled.split_at(cut);
        // A file that is nothing but a cut-off line is refused as a whole.
        prop_assume!(first != [lines[13]] && second != [lines[13]]);
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let plain = load_texts(&[&text], a.path());
        let report = load_texts(&[&first.join("\n"), &second.join("\n")], b.path());
        prop_assert_eq!(plain.counts, report.counts);
        prop_assert_eq!(plain.reasons, report.reasons);
        for (name, column) in [("measurement", "measurement_id"), ("lineage", "row_id"), ("drug_era", "drug_era_id")] {
            let sorted = |out: &Path| ints(out, name, column).into_iter().flatten().collect::<BTreeSet<_>>();
            prop_assert_eq!(sorted(a.path()), sorted(b.path()), "{}", name);
        }
        let ids = ints(b.path(), "measurement", "measurement_id");
        prop_assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
    }

    #[test]
    fn no_text_makes_it_panic(lines in proptest::collection::vec("[\\{\\}\\[\\]\":,a-zA-Z0-9 ]{0,60}", 0..6)) {
        let out = tempfile::tempdir().unwrap();
        let report = load_texts(&[&(lines.join("\n") + "\n")], out.path());
        prop_assert!(report.counts.add_up());
    }
}

/// Ids, days and numbers of a table, row by row.
fn numbers(out: &Path, name: &str) -> BTreeSet<Vec<i64>> {
    let mut rows = BTreeSet::new();
    for batch in table(out, name) {
        let columns = batch.columns().iter().filter_map(|column| {
            let days =
                || Some(column.as_primitive_opt::<Date32Type>()?.values().iter().map(|day| i64::from(*day)).collect());
            column.as_primitive_opt::<Int64Type>().map(|ids| ids.values().to_vec()).or_else(days)
        });
        let columns: Vec<Vec<i64>> = columns.collect();
        rows.extend((0..batch.num_rows()).map(|row| columns.iter().map(|column| column[row]).collect::<Vec<_>>()));
    }
    rows
}

/// A prescription or a diagnosis of one of three persons, on a day, or one that was a mistake.
fn dated(item: usize, day: u32, mistake: bool) -> String {
    let date = format!("2010-{:02}-{:02}", day / 28 + 1, day % 28 + 1);
    let request = REQUEST.replace("\"m1\"", &format!("\"m{item}\"")).replace("2010-01-02", &date);
    let diagnosis = UNDATED
        .replace("\"c1\"", &format!("\"c{item}\""))
        .replace("\"encounter\":{\"reference\":\"Encounter/e1\"}", &format!("\"onsetDateTime\":\"{date}\""));
    let line = if item.is_multiple_of(2) { request } else { diagnosis };
    let line = line.replace("Patient/p1", &format!("Patient/p{}", item % 3));
    if !mistake {
        line
    } else if item.is_multiple_of(2) {
        line.replace("stopped", "entered-in-error")
    } else {
        line.replace("\"id\":", "\"verificationStatus\":{\"coding\":[{\"code\":\"entered-in-error\"}]},\"id\":")
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever came, went, moved or came twice in which load, and whenever changes were folded: eras and periods are those of the last
    /// states, loaded at once.
    #[test]
    fn what_follows_from_events_is_as_if_all_had_come_at_once(
        loads in prop::collection::vec(
            // Few items and days, so that states come back.
            (prop::collection::vec((0..6_usize, prop::sample::select(&[0_u32, 1, 30, 32, 74, 149][..]), prop::bool::weighted(0.2)), 0..8), any::<bool>()),
            1..5,
        ),
    ) {
        let persons = (0..3).map(|n| PATIENT.replace("\"p1\"", &format!("\"p{n}\""))).collect::<Vec<_>>().join("\n");
        let fixed = format!("{MEDICATION}\n{persons}\n");
        let text = |items: &[(usize, u32, bool)]| {
            let lines = items.iter().map(|(item, day, mistake)| dated(*item, *day, *mistake) + "\n");
            fixed.clone() + &lines.collect::<String>()
        };
        let (out, fresh) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut states = BTreeMap::new();
        for (items, folds) in &loads {
            load_texts(&[&text(items)], out.path());
            states.extend(items.iter().map(|(item, day, mistake)| (*item, (*item, *day, *mistake))));
            if *folds {
                fold(out.path()).unwrap();
            }
        }
        fold(out.path()).unwrap();
        let states: Vec<_> = states.into_values().collect();
        load_texts(&[&text(&states)], fresh.path());
        for name in ["observation_period", "condition_era", "drug_era", "drug_exposure", "condition_occurrence"] {
            prop_assert_eq!(numbers(out.path(), name), numbers(fresh.path(), name), "{}", name);
        }
        prop_assert!(states.iter().all(|(item, _, mistake)| *mistake || item % 2 == 1)
            || !numbers(out.path(), "drug_era").is_empty());
    }
}

#[test]
fn what_people_decided_about_local_codes_goes_before_the_vocabulary() {
    let lines = concat!(
        r#"{"resourceType":"Patient","id":"p","birthDate":"1950-02-03"}"#,
        "\n",
        r#"{"resourceType":"Observation","id":"a","status":"final","subject":{"reference":"Patient/p"},"effectiveDateTime":"2024-05-06","code":{"coding":[{"system":"https://lab.example","code":"SYS"}]},"valueQuantity":{"value":120}}"#,
        "\n",
        r#"{"resourceType":"Observation","id":"b","status":"final","subject":{"reference":"Patient/p"},"effectiveDateTime":"2024-05-06","code":{"coding":[{"system":"https://lab.example","code":"MISC"}]}}"#,
        "\n",
    );
    let reader = |_: usize, text: &str, row: u64, pass, sink: &mut dyn Sink| {
        tell(text, Format::FhirNdjson, row, pass, sink)
            .map_err(|error| Problem::new(error.code(), error.to_string(), Place::default(), error.hint()))
    };
    let inputs = [Input { open: Box::new(|| Ok(Box::new(lines.as_bytes()))), lines: true, expects: None }];
    let out = tempfile::tempdir().unwrap();
    let plain = Settings::new(key(), "test", Vocabulary::bundled());
    let before = load(&inputs, &reader, &plain, out.path()).unwrap();
    assert_eq!((before.counts.loaded, before.counts.unmapped), (1, 2));
    let mut codes = LocalCodes::default();
    codes.add("https://lab.example", "SYS", Some(3_004_249));
    codes.add("https://lab.example", "MISC", None);
    let decided = Settings { local_codes: codes.into(), ..plain };
    // Other decisions, other rows: everything is made again.
    let after = load(&inputs, &reader, &decided, out.path()).unwrap();
    assert_eq!((after.generation, after.counts.loaded, after.counts.unmapped), (1, 2, 1));
    assert_ne!(before.vocabulary_version, after.vocabulary_version);
    let mapped = after.unmapped_codes.iter().map(|code| code.code.as_str());
    assert_eq!(mapped.collect::<Vec<_>>(), ["MISC"]);
    // A part of it under other decisions would leave the rest without rows.
    let tables = files(out.path());
    let some = lines.lines().next().unwrap();
    let part = [Input { open: Box::new(move || Ok(Box::new(some.as_bytes()))), lines: true, expects: None }];
    let plain = Settings { local_codes: Arc::default(), ..decided };
    let refused = load(&part, &reader, &plain, out.path()).unwrap_err();
    assert!(matches!(refused, LoadError::Partial { missing: 2 }), "{refused}");
    assert_eq!((refused.code(), refused.exit()), ("UN010", Exit::Usage));
    assert_eq!(files(out.path()), tables, "and nothing is touched");
    assert!(!out.path().join(".acequia/new").exists());
    assert_eq!(load(&inputs, &reader, &plain, out.path()).unwrap().counts.unmapped, 2);
}
