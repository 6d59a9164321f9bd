//! Unification of the bundled cohorts and of FHIR.

mod load;
mod states;

use std::collections::BTreeMap;
use std::sync::Arc;

use acequia_custody::{ConsentEvent, Decision, Grant, History, Identified, Purpose, evaluate};
use acequia_frame::Table;
use acequia_intake::{Limits, Mapping, read};
use acequia_omop::{LocalCodes, SourceFile, Vocabulary};
use acequia_types::{DonorId, IntakeId, SourceId, parse_timestamp};
use acequia_unify::{Donated, IdKey, Unified, Unifier};
use arrow::array::{Array, Float64Array, Int64Array};

fn grant(donors: &[&str]) -> Grant {
    let now = parse_timestamp("2026-06-01").unwrap();
    let history = History::new(vec![ConsentEvent::give("2026-01-01", &[Purpose::OpenPublication])]);
    let grants = donors.iter().map(|donor| {
        let donor = DonorId::parse(donor).unwrap();
        let Decision::Permit(grant) = evaluate(&donor, Some(&history), Purpose::OpenPublication, now) else { panic!() };
        grant
    });
    Grant::join(Purpose::OpenPublication, grants)
}

fn donated(name: &str, file: SourceFile) -> Identified<Donated> {
    let donor = DonorId::parse(name).unwrap();
    let (intake, source) = (IntakeId::parse(&format!("in-{name}")).unwrap(), SourceId::parse(name).unwrap());
    Identified::new(donor.clone(), Donated { intake, source, donor, file })
}

fn cohort(name: &str) -> SourceFile {
    let dir = format!("{}/../../examples/breast-cancer", env!("CARGO_MANIFEST_DIR"));
    let mapping = std::fs::read_to_string(format!("{dir}/{name}.mapping.toml")).unwrap();
    let table = std::fs::read(format!("{dir}/{name}.csv")).unwrap();
    read(&table, Some(&Mapping::parse(&mapping, Vocabulary::bundled()).unwrap()), &Limits::default()).unwrap()
}

fn unify(files: &[(&str, SourceFile)], key: u8) -> Unified {
    unify_by(files, key, LocalCodes::default())
}

fn unify_by(files: &[(&str, SourceFile)], key: u8, local_codes: LocalCodes) -> Unified {
    let names: Vec<&str> = files.iter().map(|(name, _)| *name).collect();
    let grant = grant(&names);
    let mut unifier = Unifier::new(IdKey::new([key; 32]), Vocabulary::bundled(), local_codes.into());
    for (name, file) in files {
        unifier.add(donated(name, file.clone()), &grant).unwrap();
    }
    unifier.finish().unwrap().into_open(&grant).unwrap()
}

fn ints(table: &Table, column: &str) -> Vec<i64> {
    table.column(column).unwrap().as_any().downcast_ref::<Int64Array>().unwrap().iter().flatten().collect()
}

#[test]
fn both_cohorts_load_whole() {
    let unified = unify(&[("rotterdam", cohort("rotterdam")), ("gbsg", cohort("gbsg"))], 1);
    let report = &unified.report;
    assert!(report.counts.add_up());
    assert_eq!((report.counts.total, report.counts.loaded), (2982 + 686, 2982 + 686));
    assert_eq!(report.rows["person"], 3668);
    assert_eq!(report.rows["observation_period"], 3668);
    // rotterdam.csv: 1,272 deaths and 1,518 recurrences, counted from the file.
    assert_eq!(report.rows["death"], 1272);
    let conditions = ints(&unified.tables["condition_occurrence"], "condition_concept_id");
    let count = |concept_id| conditions.iter().filter(|found| **found == concept_id).count();
    assert_eq!((count(4_112_853), count(2_000_000_013)), (3668, 1518));
    let lineage_rows: u64 = report.rows.values().sum();
    assert_eq!(unified.tables["lineage"].rows() as u64, lineage_rows, "every row knows where it came from");
}

#[test]
fn ids_are_unique_stable_and_secret() {
    let files = [("gbsg", cohort("gbsg"))];
    let (a, again, other) = (unify(&files, 1), unify(&files, 1), unify(&files, 2));
    for (name, table) in &a.tables {
        assert_eq!(table.digest(), again.tables[name].digest(), "{name}");
    }
    assert_ne!(a.tables["person"].digest(), other.tables["person"].digest());
    let digests = |unified: &Unified| {
        let mut digests = ints(&unified.tables["person_source"], "source_key_digest");
        digests.sort_unstable();
        digests
    };
    assert_eq!(digests(&a), digests(&other), "split assignment does not depend on the node");
    let mut ids = ints(&a.tables["measurement"], "measurement_id");
    let rows = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), rows);
}

const BUNDLE: &str = r#"{"resourceType":"Bundle","type":"collection","entry":[
  {"fullUrl":"urn:uuid:p","resource":{"resourceType":"Patient","id":"p","gender":"female","birthDate":"1950-02"}},
  {"fullUrl":"urn:uuid:e","resource":{"resourceType":"Encounter","status":"finished","class":{"code":"AMB"},"subject":{"reference":"urn:uuid:p"},"period":{"start":"2010-01-01"}}},
  {"resource":{"resourceType":"Observation","status":"final","subject":{"reference":"urn:uuid:p"},"encounter":{"reference":"urn:uuid:e"},"code":{"coding":[{"system":"http://loinc.org","code":"33728-7"}]},"effectiveDateTime":"2010","valueQuantity":{"value":2.5,"code":"cm"}}},
  {"resource":{"resourceType":"Observation","status":"final","subject":{"reference":"urn:uuid:p"},"code":{"coding":[{"system":"https://lab.example","code":"X9"}]},"effectiveDateTime":"2010-02-03"}}
]}"#;

#[test]
fn fhir_values_are_converted_and_unknown_codes_kept() {
    let unified = unify(&[("donor-1", read(BUNDLE.as_bytes(), None, &Limits::default()).unwrap())], 1);
    assert_eq!(unified.report.reasons, BTreeMap::from([("unmapped: concept".to_owned(), 1)]));
    assert_eq!((unified.report.counts.loaded, unified.report.counts.unmapped), (3, 1));
    assert_eq!((unified.report.imputed_dates, unified.report.converted_units), (1, 1));
    let measurement = &unified.tables["measurement"];
    let numbers = measurement.column("value_as_number").unwrap();
    let numbers = numbers.as_any().downcast_ref::<Float64Array>().unwrap();
    let concepts = ints(measurement, "measurement_concept_id");
    let size = concepts.iter().position(|concept| *concept == 3_046_581).unwrap();
    assert_eq!(numbers.value(size), 25.0);
    let visits = measurement.column("visit_occurrence_id").unwrap();
    assert_eq!(visits.null_count(), 1, "one of two observations belongs to the encounter");
    assert!(ints(measurement, "measurement_source_concept_id").iter().any(|id| *id > 2_001_000_000));
}

#[test]
fn a_code_becomes_what_people_of_the_site_decided() {
    let file = || [("donor-1", read(BUNDLE.as_bytes(), None, &Limits::default()).unwrap())];
    let unknown = unify(&file(), 1);
    let mut decided = LocalCodes::default();
    for concept_id in [3_046_581, 4_112_853] {
        decided.add("https://lab.example", "X9", Some(concept_id));
    }
    let mapped = unify_by(&file(), 1, decided);
    assert_eq!((mapped.report.counts.loaded, mapped.report.counts.unmapped), (4, 0));
    let rows = |unified: &Unified, table: &str| unified.tables[table].rows();
    // One code, two concepts: a row each, in the table of its domain, and the first under the id of the unmapped row.
    assert_eq!(rows(&mapped, "measurement"), rows(&unknown, "measurement"));
    assert_eq!(rows(&mapped, "condition_occurrence"), rows(&unknown, "condition_occurrence") + 1);
    assert_eq!(
        ints(&mapped.tables["measurement"], "measurement_id"),
        ints(&unknown.tables["measurement"], "measurement_id")
    );
    assert!(!ints(&mapped.tables["measurement"], "measurement_concept_id").contains(&0));
}

#[test]
fn a_patient_without_birth_date_is_held_with_everything() {
    let bundle = BUNDLE.replace(r#","birthDate":"1950-02""#, "");
    let unified = unify(&[("donor-1", read(bundle.as_bytes(), None, &Limits::default()).unwrap())], 1);
    assert_eq!((unified.report.counts.held, unified.report.counts.total), (4, 4));
    assert_eq!(unified.tables["person"].rows(), 0);
}

#[test]
fn a_file_outside_the_grant_stays_closed() {
    let mut unifier = Unifier::new(IdKey::new([1; 32]), Vocabulary::bundled(), Arc::default());
    let refused = unifier.add(donated("donor-2", SourceFile::default()), &grant(&["donor-1"]));
    assert!(refused.is_err());
}
