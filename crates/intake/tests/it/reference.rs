//! Every sample of the field that lies beside the checkout: read whole, every unit accounted for, every fault with a code.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};

use acequia_intake::{CdmDefinition, IntakeError, Limits, RowSink, Survey, read, read_into, read_tables};
use acequia_omop::{Collector, Fate, ItemCounts, Sex, SourceFile};
use acequia_types::{Coded, Problem};
use serde_json::Value;

fn folder(set: &str) -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/ehr").join(set);
    if folder.is_dir() {
        return Some(folder);
    }
    println!("skipped: {set} is not beside this checkout (../shared/data/ehr)");
    None
}

fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.to_string_lossy().ends_with(ending)).collect();
    files.sort();
    files
}

fn unzipped(path: &Path) -> Vec<u8> {
    let bytes = std::fs::read(path).unwrap();
    let mut plain = Vec::new();
    flate2::read::MultiGzDecoder::new(bytes.as_slice()).read_to_end(&mut plain).unwrap();
    plain
}

fn survey(bytes: &[u8]) -> Result<Survey, IntakeError> {
    let mut survey = Survey::default();
    read_into(&mut Cursor::new(bytes), None, &Limits::default(), &mut survey)?;
    Ok(survey)
}

/// What no sample may show: a rejected unit without a problem at its row.
#[track_caller]
fn accounted(file: &SourceFile) {
    let told: BTreeSet<(Option<u64>, &str)> =
        file.problems.iter().map(|problem| (problem.place.row, problem.code.as_str())).collect();
    for item in &file.items {
        if let Some(Fate::Rejected(code)) = &item.fate {
            let at = |(row, own): &&(Option<u64>, &str)| *own == code && row.is_some_and(|row| row >= item.row);
            assert!(told.iter().any(|told| at(&told)), "{code} at {}", item.row);
        }
    }
}

#[test]
fn every_hl7_v2_message_is_read_or_has_a_code() {
    let Some(folder) = folder("hl7v2") else { return };
    let (mut outcomes, mut persons, mut observations) = (BTreeMap::<String, u64>::new(), 0, 0);
    let paths = files(&folder, ".hl7");
    for path in &paths {
        let bytes = std::fs::read(path).unwrap();
        let outcome = match read(&bytes, None, &Limits::default()) {
            Ok(file) => {
                accounted(&file);
                persons += file.records.len();
                observations += file.records.iter().map(|record| record.events.len()).sum::<usize>();
                let whole = file.items.iter().find_map(|item| match &item.fate {
                    Some(Fate::Rejected(code)) if item.kind == "message" => Some(code.clone()),
                    _ => None,
                });
                whole.unwrap_or_else(|| "read".to_owned())
            }
            Err(error) => error.code().to_owned(),
        };
        *outcomes.entry(outcome).or_default() += 1;
    }
    println!("{} messages: {outcomes:?}, {persons} persons, {observations} events", paths.len());
    let of = |code: &str| outcomes.get(code).copied().unwrap_or(0);
    // The deliberately broken ones: empty.hl7, an MSH without anything, one without MSH-2, one without MSH-9.
    assert_eq!((of("IN001"), of("IN130"), of("IN131")), (1, 2, 1));
    // 001_TX_OML_O21.hl7 has a line break inside a field: what follows is no segment.
    assert_eq!(of("IN132"), 1);
    assert_eq!(of("read") as usize, paths.len() - 5);
}

/// The translator of the samples kept the same patient and the same observation codes as we read.
#[test]
fn hl7_v2_messages_agree_with_their_fhir_translations() {
    let Some(folder) = folder("hl7v2") else { return };
    let (mut compared, mut codes_compared) = (0, 0);
    for path in files(&folder, "_0_initial_message.hl7") {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let stem = name.trim_end_matches("_0_initial_message.hl7");
        let translation = folder.join("fhir").join(format!("{stem}_1_hl7_translation.fhir.gz"));
        if !translation.is_file() {
            continue;
        }
        let bundle: Value = serde_json::from_slice(&unzipped(&translation)).unwrap();
        let resources: Vec<&Value> =
            bundle["entry"].as_array().unwrap().iter().map(|entry| &entry["resource"]).collect();
        let file = read(&std::fs::read(&path).unwrap(), None, &Limits::default()).unwrap();
        let Some(patient) = resources.iter().find(|resource| resource["resourceType"] == "Patient") else { continue };
        let Some(record) = file.records.first() else { panic!("{name} has a patient: {:?}", file.problems) };
        let sex = match patient["gender"].as_str() {
            Some("female") => Sex::Female,
            Some("male") => Sex::Male,
            _ => Sex::Unknown,
        };
        assert_eq!(record.person.sex, sex, "{name}");
        let born = patient["birthDate"].as_str().map(|born| acequia_omop::PartialDate::parse(born).unwrap());
        assert_eq!(record.person.birth, born, "{name}");
        let theirs: BTreeSet<&str> = resources
            .iter()
            .filter(|resource| resource["resourceType"] == "Observation")
            .filter_map(|resource| resource["code"]["coding"][0]["code"].as_str())
            .collect();
        let ours: BTreeSet<&str> =
            record.events.iter().filter_map(|event| Some(event.codings.first()?.code.as_str())).collect();
        // Observations of which we make no event have a fate that says why: rejected, identifying, of no table.
        let left_out = file.items.iter().any(|item| item.kind == "OBX" && item.fate.is_some());
        let missing: Vec<_> = theirs.difference(&ours).collect();
        assert!(missing.is_empty() || left_out, "{name}: {missing:?}");
        compared += 1;
        codes_compared += theirs.intersection(&ours).count();
    }
    println!(
        "{compared} messages agree with their translations in sex, birth date and {codes_compared} observation codes"
    );
    assert!(compared >= 15 && codes_compared > 100, "{compared}, {codes_compared}");
}

#[test]
fn every_c_cda_document_and_section_is_read_or_has_a_code() {
    let Some(folder) = folder("ccda") else { return };
    let mut total = ItemCounts::default();
    let mut persons = 0;
    for path in files(&folder, ".gz").into_iter().filter(|path| !path.ends_with("sections.tar.gz")) {
        let file = read(&std::fs::read(&path).unwrap(), None, &Limits::default()).unwrap();
        accounted(&file);
        let counts = ItemCounts::of(&file.items);
        let events = file.records.iter().map(|record| record.events.len()).sum::<usize>();
        println!("{}: {counts:?}, {events} events, {:?}", path.file_name().unwrap().display(), file.problems);
        persons += file.records.len();
        total = total.plus(counts);
    }
    println!("{persons} persons, {total:?}");
    assert_eq!(persons, 9, "one patient in each document");

    let (mut outcomes, mut sections) = (BTreeMap::<String, u64>::new(), 0);
    for section in tar(&unzipped(&folder.join("sections.tar.gz"))) {
        sections += 1;
        let outcome = match read_into(&mut Cursor::new(&section), None, &Limits::default(), &mut Collector::default()) {
            Ok(_) => "read".to_owned(),
            Err(error) => error.code().to_owned(),
        };
        *outcomes.entry(outcome).or_default() += 1;
    }
    println!("{sections} sections: {outcomes:?}");
    assert_eq!(sections, 435);
    // The rest are snippets of a header or data type, without anything by which CDA could be told, and one that is not
    // well-formed.
    assert_eq!(outcomes.values().sum::<u64>() - outcomes["read"] - outcomes["IN002"], 1, "{outcomes:?}");
    assert!(outcomes["read"] > 400, "{outcomes:?}");
}

/// The files of a tar archive (POSIX ustar): name, size in octal, content in blocks of 512.
fn tar(bytes: &[u8]) -> Vec<Vec<u8>> {
    let (mut files, mut at) = (Vec::new(), 0);
    while let Some(header) = bytes.get(at..at + 512).filter(|header| header[0] != 0) {
        let octal = std::str::from_utf8(&header[124..135]).unwrap().trim_matches(['\0', ' ']);
        let size = usize::from_str_radix(octal, 8).unwrap();
        if header[156] == b'0' || header[156] == 0 {
            files.push(bytes[at + 512..at + 512 + size].to_vec());
        }
        at += 512 + size.div_ceil(512) * 512;
    }
    files
}

#[test]
fn the_apple_health_export_is_read_whole() {
    let Some(folder) = folder("apple-health") else { return };
    let survey_of = |name: &str| survey(&std::fs::read(folder.join(name)).unwrap()).unwrap();
    let export = survey_of("export.xml.gz");
    println!("{:?}, {:?}", export.items(), export.events);
    // 11,101 records, 162 of them inside correlations and again at the top.
    assert_eq!(export.items()["Record"].values().sum::<u64>(), 11_101);
    assert!(export.items()["Record"]["excluded: duplicate"] >= 171);
    assert_eq!(export.items()["Workout"].values().sum::<u64>(), 61);
    assert_eq!(export.items()["Correlation"]["excluded: told elsewhere"], 34);
    assert_eq!(export.problems, BTreeMap::new());
    // The owner did not state a birth date, so everything waits for it.
    assert!(export.items()["Record"]["held: no birth date"] > 10_000);

    let small = survey_of("export_small.xml");
    assert_eq!((small.persons, small.with_fate("rejected"), small.items()["Record"]["ready"]), (1, 0, 2));
}

#[test]
fn every_phenopacket_is_read_and_what_is_excluded_is_no_finding() {
    let Some(folder) = folder("phenopackets") else { return };
    let bytes = unzipped(&folder.join("phenopackets.jsonl.gz"));
    let survey = survey(&bytes).unwrap();
    println!("{:?}", survey.items());
    assert_eq!(survey.persons + survey.items()["subject"].get("held: no date").copied().unwrap_or(0), 10_580);
    assert_eq!(survey.problems, BTreeMap::new());
    let items = survey.items();
    let features = &items["phenotypicFeature"];
    assert_eq!(features.values().sum::<u64>(), 227_861);
    let excluded: u64 = memchr::memmem::find_iter(&bytes, b"\"excluded\":true").count() as u64;
    let in_diseases = survey.items()["disease"].get("excluded: did not happen").copied().unwrap_or(0);
    assert_eq!(features["excluded: did not happen"] + in_diseases, excluded);
}

#[derive(Default)]
struct Counted {
    rows: BTreeMap<String, (u64, u64)>,
    problems: Vec<String>,
}

impl RowSink for Counted {
    fn rows(&mut self, table: &'static CdmDefinition, rows: &arrow::array::RecordBatch) -> Result<(), IntakeError> {
        assert_eq!(rows.schema(), table.schema);
        self.rows.entry(table.name.clone()).or_default().0 += rows.num_rows() as u64;
        Ok(())
    }
    fn rejected(&mut self, table: &'static CdmDefinition, problems: Vec<Problem>) {
        self.rows.entry(table.name.clone()).or_default().1 += 1;
        self.problems.extend(problems.iter().map(|problem| format!("{}: {problem}", table.name)));
    }
    fn note(&mut self, table: &'static CdmDefinition, problem: Problem) {
        self.problems.push(format!("{}: {problem}", table.name));
    }
}

#[test]
fn tables_of_cdm_5_3_and_5_4_are_read_into_5_4() {
    let (Some(mimic), Some(synthea)) = (folder("mimic-iv-demo-omop"), folder("synthea27-omop54")) else { return };
    let mut counted = Counted::default();
    for path in files(&mimic, ".csv.gz") {
        let mut file = std::fs::File::open(&path).unwrap();
        if let Err(error) = read_tables(&mut file, &Limits::default(), &mut counted) {
            // Two tables of 5.3 are no tables of 5.4, and three are empty or of an older form.
            println!("{}: {error}", path.file_name().unwrap().display());
        }
    }
    println!("{:?}", counted.rows);
    println!("{:?}", counted.problems.iter().take(20).collect::<Vec<_>>());
    // Rows as the README of the data counts them.
    for (table, rows) in [
        ("person", 100),
        ("visit_occurrence", 852),
        ("visit_detail", 14_479),
        ("condition_occurrence", 16_441),
        ("procedure_occurrence", 18_447),
        ("drug_exposure", 18_229),
        ("device_exposure", 3_855),
        ("specimen", 150),
        ("death", 15),
        ("observation_period", 100),
        ("condition_era", 3_771),
        ("drug_era", 7_931),
        ("dose_era", 117),
    ] {
        let (kept, rejected) = counted.rows.get(table).copied().unwrap_or_default();
        assert_eq!(kept + rejected, rows, "{table}");
    }

    let mut counted = Counted::default();
    let zip = files(&synthea, ".zip").remove(0);
    read_tables(&mut std::fs::File::open(zip).unwrap(), &Limits::default(), &mut counted).unwrap();
    println!("{:?}", counted.rows);
    println!("{:?}", counted.problems.iter().take(20).collect::<Vec<_>>());
    for (table, rows) in [
        ("person", 28),
        ("visit_occurrence", 1_791),
        ("condition_occurrence", 470),
        ("drug_exposure", 883),
        ("procedure_occurrence", 1_649),
        ("measurement", 10_040),
        ("observation", 8_099),
        ("concept", 2_294),
        ("concept_relationship", 266_588),
    ] {
        let (kept, rejected) = counted.rows.get(table).copied().unwrap_or_default();
        assert_eq!(kept + rejected, rows, "{table}");
    }
}
