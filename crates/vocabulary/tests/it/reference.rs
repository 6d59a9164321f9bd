//! The vocabulary shard of OHDSI/EunomiaDatasets (Synthea27Nj_5.4, v5.0 09-APR-22), and codes and units of public
//! example records. They are not part of the project.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};

use acequia_omop::{Reading, Units, Vocabulary};
use acequia_vocabulary::{compare, load, open};

fn data() -> Option<PathBuf> {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/ehr");
    if !data.is_dir() {
        eprintln!("skipped: the reference data is not beside the project");
        return None;
    }
    Some(data)
}

#[test]
fn the_shard_is_loaded_from_its_zip() {
    let Some(data) = data() else { return };
    let zip = data.join("synthea27-omop54/Synthea27Nj_5.4.zip");
    let folder = tempfile::tempdir().unwrap();
    let index = folder.path().join("index");
    let loaded = load(&zip, &index, &mut |_, _| {}).unwrap();
    assert_eq!(loaded.built.concepts, 2294);
    assert_eq!(loaded.version, "v5.0 09-APR-22*");
    let vocabulary = open(&index).unwrap();

    // The same, straight from the tables.
    let mut archive = zip::ZipArchive::new(std::fs::File::open(&zip).unwrap()).unwrap();
    let mut table = |name: &str| {
        let mut text = String::new();
        archive.by_name(name).unwrap().read_to_string(&mut text).unwrap();
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        reader.records().map(Result::unwrap).collect::<Vec<_>>()
    };
    let mut ids = BTreeSet::new();
    for row in table("CONCEPT.csv") {
        let concept = vocabulary.by_id(row[0].parse().unwrap()).unwrap();
        ids.insert(concept.concept_id);
        assert_eq!(
            [concept.name, concept.domain_id, concept.vocabulary_id, concept.concept_class_id, concept.code],
            [&row[1], &row[2], &row[3], &row[4], &row[6]]
        );
        assert_eq!(concept.valid_start.to_string(), row[7]);
        assert_eq!(vocabulary.by_code(concept.vocabulary_id, concept.code), Some(concept));
    }
    let mut maps: BTreeMap<i64, BTreeSet<i64>> = BTreeMap::new();
    let rows = table("CONCEPT_RELATIONSHIP.csv");
    let (mut taken, mut outside) = (0, 0);
    for row in &rows {
        if &row[2] == "Maps to" && row[5].is_empty() {
            let (from, to): (i64, i64) = (row[0].parse().unwrap(), row[1].parse().unwrap());
            if ids.contains(&from) && ids.contains(&to) {
                taken += 1;
                maps.entry(from).or_default().insert(to);
            } else {
                outside += 1;
            }
        }
    }
    // Every row of the table is accounted for.
    let values = rows.iter().filter(|row| &row[2] == "Maps to value" && row[5].is_empty()).count() as u64;
    let built = &loaded.built;
    assert_eq!(built.mappings + built.without_concept + loaded.other_relationships, rows.len() as u64);
    assert!(built.mappings >= taken && built.mappings + built.without_concept == taken + outside + values);
    for id in &ids {
        let found: BTreeSet<i64> = vocabulary.maps_to(*id).map(|(target, _)| target).collect();
        let itself = vocabulary.by_id(*id).filter(|concept| concept.is_standard()).map(|concept| concept.concept_id);
        let expected = maps.get(id).cloned().unwrap_or_else(|| itself.into_iter().collect());
        assert_eq!(found, expected, "{id}");
    }
    // Whatever of the shard is in the pack has the same id there.
    let mut same = 0;
    for concept in Vocabulary::bundled().concepts() {
        if let Some(found) = vocabulary.by_code(concept.vocabulary_id, concept.code)
            && concept.concept_id < acequia_omop::LOCAL_CONCEPT_FLOOR
        {
            assert_eq!(found.concept_id, concept.concept_id);
            same += 1;
        }
    }
    assert!(same > 1500, "{same}");
    let differences = compare(Vocabulary::bundled(), &vocabulary, |_| Ok::<_, ()>(())).unwrap();
    println!("pack against shard: {:?}", differences.by_kind);
}

/// All values of the string fields `"key":"…"` of gzip NDJSON files.
fn fields(folder: &Path, key: &str) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    let needle = format!("\"{key}\":\"");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if !path.to_string_lossy().ends_with(".ndjson.gz") {
            continue;
        }
        let mut text = String::new();
        let file = std::fs::File::open(&path).unwrap();
        if flate2::read::MultiGzDecoder::new(file).read_to_string(&mut text).is_err() {
            continue;
        }
        for part in text.split(&needle).skip(1) {
            let value = part.split('"').next().unwrap_or_default();
            *found.entry(value.to_owned()).or_default() += 1;
        }
    }
    found
}

#[test]
fn units_of_synthea_are_all_read() {
    let Some(data) = data() else { return };
    let units = Units::new(Vocabulary::bundled());
    let written = fields(&data.join("synthea-r4"), "unit");
    assert!(written.values().sum::<u64>() > 50_000, "{}", written.len());
    let mut unknown = Vec::new();
    for (unit, count) in &written {
        let read = units.read(unit, false);
        println!("{unit:>20} {count:>6}  {:<16} {:?} {:?}", read.ucum, read.concept_id, read.reading);
        if read.reading == Reading::Unknown {
            unknown.push(unit.clone());
        }
    }
    assert!(unknown.is_empty(), "{unknown:?}");
}
