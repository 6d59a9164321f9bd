//! FHIR to OMOP beside the goals: speed, memory, scaling, reload, and the real pairs of MIMIC-IV.
//!
//! `cargo bench -p acequia-unify --bench fhir` prints a table; words behind `--` choose rows by name (`x100` and `duckdb`
//! run only when named). Each row is a process of its own; CPU time and peak memory are the kernel's figures for it
//! (Linux). Needs the records beside the checkout (`../shared/data/ehr`); without them it says so and measures nothing.
//! `duckdb` needs a Python with DuckDB, named by `ACEQUIA_PYTHON`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Cursor, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::Instant;

use acequia_intake::{Format, expected_pass, tell};
use acequia_omop::{Sink, Vocabulary};
use acequia_types::{Coded, Place, Problem};
use acequia_unify::IdKey;
use acequia_unify::load::{Input, LoadReport, Settings, load, person_id, row_id};
use serde_json::{Value, json};

/// Types of the reference measurement, with the rows each must become.
const SYNTHEA: [(&str, u64); 8] = [
    ("Patient", 615),
    ("Encounter", 18_098),
    ("Condition", 4_546),
    ("Observation", 94_338),
    ("Procedure", 14_081),
    ("MedicationRequest", 4_712),
    ("Immunization", 7_389),
    ("AllergyIntolerance", 374),
];

fn data(set: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/ehr").join(set)
}

fn key() -> IdKey {
    IdKey::new([7; 32])
}

fn unzipped(path: &Path) -> Vec<u8> {
    let mut text = Vec::new();
    let packed = std::fs::File::open(path).expect("a file of the data set");
    flate2::read::MultiGzDecoder::new(packed).read_to_end(&mut text).expect("gzip");
    text
}

fn run_load(inputs: &[Input<'_>], threads: usize, vocabulary: &Vocabulary, out: &Path) -> LoadReport {
    let reader = |_: usize, text: &str, first_row: u64, pass, sink: &mut dyn Sink| {
        tell(text, Format::FhirNdjson, first_row, pass, sink)
            .map_err(|error| Problem::new(error.code(), error.to_string(), Place::default(), error.hint()))
    };
    let settings = Settings { threads, ..Settings::new(key(), "bench", vocabulary) };
    load(inputs, &reader, &settings, out).expect("the load succeeds")
}

fn head(path: &Path) -> Vec<u8> {
    let mut head = Vec::new();
    let file = std::fs::File::open(path).expect("a file");
    head.reserve_exact(1 << 16);
    file.take(1 << 16).read_to_end(&mut head).expect("a readable file");
    head
}

fn inputs(folder: &Path) -> Vec<Input<'static>> {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    let open = |path: PathBuf| move || Ok(Box::new(std::fs::File::open(&path)?) as Box<dyn Read + Send>);
    paths
        .into_iter()
        .map(|path| {
            let expects = expected_pass(&head(&path));
            Input { open: Box::new(open(path)), lines: true, expects }
        })
        .collect()
}

/// A file again under new ids: the first two digits of every UUID are turned by the number of the copy.
struct Copy {
    text: Arc<(Vec<u8>, Vec<usize>)>,
    number: u8,
    at: usize,
}

fn uuids(text: &[u8]) -> Vec<usize> {
    let is_uuid = |at: usize| {
        text.get(at..at + 36).is_some_and(|id| {
            id.iter().enumerate().all(|(nth, byte)| match nth {
                8 | 13 | 18 | 23 => *byte == b'-',
                _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
            })
        })
    };
    let dashes = text.iter().enumerate().filter(|(_, byte)| **byte == b'-').map(|(at, _)| at);
    let mut found = Vec::new();
    for dash in dashes.filter(|at| *at >= 8) {
        if found.last().is_none_or(|last| last + 36 <= dash - 8) && is_uuid(dash - 8) {
            found.push(dash - 8);
        }
    }
    found
}

impl Read for Copy {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let (text, ids) = &*self.text;
        let end = text.len().min(self.at + buffer.len());
        let piece = &mut buffer[..end - self.at];
        piece.copy_from_slice(&text[self.at..end]);
        let turned = |digit: u8, by: u8| {
            let value = match digit {
                b'0'..=b'9' => digit - b'0',
                _ => digit - b'a' + 10,
            };
            b"0123456789abcdef"[usize::from((value + by) % 16)]
        };
        let first = ids.partition_point(|id| id + 2 <= self.at);
        for id in ids[first..].iter().take_while(|id| **id < end) {
            for (digit, by) in [(*id, self.number % 16), (id + 1, self.number / 16)] {
                if (self.at..end).contains(&digit) {
                    piece[digit - self.at] = turned(piece[digit - self.at], by);
                }
            }
        }
        let got = end - self.at;
        self.at = end;
        Ok(got)
    }
}

fn copies(folder: &Path, times: u8) -> Vec<Input<'static>> {
    let mut all = Vec::new();
    for (kind, _) in SYNTHEA {
        let text = std::fs::read(folder.join(format!("{kind}.ndjson"))).expect("a file");
        let ids = uuids(&text);
        let shared = Arc::new((text, ids));
        for number in 0..times {
            let shared = Arc::clone(&shared);
            let open = move || Ok(Box::new(Copy { text: Arc::clone(&shared), number, at: 0 }) as Box<dyn Read + Send>);
            let expects = expected_pass(&head(&folder.join(format!("{kind}.ndjson"))));
            all.push(Input { open: Box::new(open), lines: true, expects });
        }
    }
    all
}

/// Changes every hundredth resource: its last-update tag, and the value of what is measured.
fn changed(folder: &Path, to: &Path, only: bool) {
    for (kind, _) in SYNTHEA {
        let text = std::fs::read_to_string(folder.join(format!("{kind}.ndjson"))).expect("a file");
        let mut out = String::with_capacity(text.len());
        for (nth, line) in text.lines().enumerate() {
            if nth % 100 == 50 {
                out.push_str(&line.replacen("\"meta\":{", "\"meta\":{\"versionId\":\"2\",", 1));
                out.push('\n');
            } else if !only {
                out.push_str(line);
                out.push('\n');
            }
        }
        std::fs::write(to.join(format!("{kind}.ndjson")), out).expect("a file");
    }
}

/// CPU time in seconds and peak memory in MB of this process, all threads.
fn used() -> (f64, f64) {
    let read = |file: &str| std::fs::read_to_string(format!("/proc/self/{file}")).unwrap_or_default();
    let mut nanoseconds = 0.0;
    if let Ok(tasks) = std::fs::read_dir("/proc/self/task") {
        for task in tasks.flatten() {
            let text = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            nanoseconds += text.split(' ').next().and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
        }
    }
    // Threads that ended are counted in the process's clock ticks only.
    let stat = read("stat");
    let ticks: f64 = stat
        .rsplit(')')
        .next()
        .map_or(0.0, |rest| rest.split_whitespace().skip(11).take(2).filter_map(|text| text.parse::<f64>().ok()).sum());
    let status = read("status");
    let peak =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.trim().parse().ok());
    ((nanoseconds / 1e9).max(ticks / 100.0), peak.unwrap_or(f64::NAN) / 1024.0)
}

/// One job in this process: a name, the folder of the input and the folder of the output.
fn job(name: &str, input: &Path, out: &Path) -> Value {
    let started = Instant::now();
    let (before, _) = used();
    let mut found = match name {
        "mimic" => mimic(out),
        "generate" => {
            let mut buffer = vec![0; 1 << 20];
            let mut bytes = 0;
            for input in copies(input, 10) {
                let mut reader = (input.open)().expect("a copy");
                loop {
                    let got = reader.read(&mut buffer).expect("a copy");
                    if got == 0 {
                        break;
                    }
                    bytes += got;
                }
            }
            json!({ "bytes": bytes })
        }
        _ => {
            let (times, threads) = match name {
                "x10, 1 thread" => (10, 1),
                "x10, 2 threads" => (10, 2),
                "x100" => (100, 2),
                "load, 2 threads" => (1, 2),
                _ => (1, 1),
            };
            let inputs = if times == 1 { inputs(input) } else { copies(input, times) };
            let started = Instant::now();
            let mut found = json!(run_load(&inputs, threads, Vocabulary::bundled(), out));
            found["load_s"] = started.elapsed().as_secs_f64().into();
            found
        }
    };
    let (cpu_s, peak_mb) = used();
    found["cpu_s"] = (cpu_s - before).into();
    found["wall_s"] = started.elapsed().as_secs_f64().into();
    found["peak_mb"] = peak_mb.into();
    found
}

fn apart(name: &str, input: &Path, out: &Path) -> Value {
    let output = Command::new(std::env::current_exe().expect("this program"))
        .arg(name)
        .env("ACEQUIA_BENCH_INPUT", input)
        .env("ACEQUIA_BENCH_OUTPUT", out)
        .output()
        .expect("this program runs again");
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("figures")
}

/// The best of some runs: other work on the machine only ever adds.
fn best(runs: usize, by: &str, run: impl FnMut(usize) -> Value) -> Value {
    (0..runs).map(run).min_by(|a, b| number(a, by).total_cmp(&number(b, by))).expect("a run")
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), &target).expect("a copy");
            // As a load leaves its files; else the next one waits for the disk in their place.
            std::fs::File::open(&target).and_then(|file| file.sync_all()).expect("a copy on disk");
        }
    }
}

fn number(found: &Value, name: &str) -> f64 {
    found[name].as_f64().unwrap_or(f64::NAN)
}

fn rows_of(found: &Value) -> u64 {
    found["rows"].as_object().map_or(0, |rows| rows.values().filter_map(Value::as_u64).sum())
}

/// The pairs of MIMIC-IV: the same hundred people as FHIR and as OMOP.
fn mimic(out: &Path) -> Value {
    let fhir = data("mimic-iv-demo-fhir");
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(&fhir).expect("the FHIR side").map(|entry| entry.expect("an entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "gz"));
    paths.sort();
    let open = |path: PathBuf| move || Ok(Box::new(Cursor::new(unzipped(&path))) as Box<dyn Read + Send>);
    let inputs: Vec<Input<'_>> = paths
        .iter()
        .map(|path| Input { open: Box::new(open(path.clone())), lines: true, expects: expected_pass(&unzipped(path)) })
        .collect();
    let report = run_load(&inputs, 1, Vocabulary::bundled(), out);

    let lines = |name: &str| -> Vec<Value> {
        let text = unzipped(&fhir.join(name));
        text.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect()
    };
    let table = |name: &str, columns: [&str; 2]| -> Vec<[String; 2]> {
        let text = unzipped(&data("mimic-iv-demo-omop").join(format!("{name}.csv.gz")));
        let mut reader = csv::Reader::from_reader(text.as_slice());
        let header = reader.headers().expect("a header").clone();
        let at = columns.map(|column| header.iter().position(|name| name == column).expect("a column"));
        reader.records().map(|row| at.map(|at| row.as_ref().expect("a row")[at].trim().to_owned())).collect()
    };
    let column = |name: &str, column: &str| -> Vec<(i64, String)> { ours(out, name, column) };

    // Persons: their number in the hospital, by our id.
    let mut subject_of = BTreeMap::new();
    let mut patient_of = BTreeMap::new();
    for patient in lines("MimicPatient.ndjson.gz") {
        let (id, subject) = (
            patient["id"].as_str().unwrap_or_default(),
            patient["identifier"][0]["value"].as_str().unwrap_or_default(),
        );
        subject_of.insert(person_id(&key(), "bench", id), subject.to_owned());
        patient_of.insert(format!("Patient/{id}"), subject.to_owned());
    }
    let theirs: BTreeMap<String, String> =
        table("person", ["person_id", "person_source_value"]).into_iter().map(|[id, value]| (id, value)).collect();
    let our_persons: BTreeSet<i64> = column("person", "gender_source_value").into_iter().map(|(id, _)| id).collect();
    let their_subjects: BTreeSet<&String> = theirs.values().collect();
    let persons = subject_of.iter().filter(|(id, s)| our_persons.contains(*id) && their_subjects.contains(s)).count();

    // Encounters: their number occurs in visit_source_value on the other side; on ours the keyed id is there.
    let their_visits: Vec<[String; 2]> = table("visit_occurrence", ["person_id", "visit_source_value"]);
    let our_visits: BTreeSet<i64> =
        column("visit_occurrence", "visit_source_value").into_iter().map(|(id, _)| id).collect();
    let mut encounters = (0, 0);
    for encounter in lines("MimicEncounter.ndjson.gz") {
        let (id, value) = (
            encounter["id"].as_str().unwrap_or_default(),
            encounter["identifier"][0]["value"].as_str().unwrap_or_default(),
        );
        let ours = our_visits.contains(&row_id(&key(), "bench", "Encounter", id, 0));
        let theirs = their_visits.iter().any(|[_, source]| source.split('|').any(|part| part == value));
        encounters.1 += 1;
        encounters.0 += usize::from(ours && theirs);
    }

    // Pairs of person and ICD code.
    let plain = |code: &str| code.trim().replace('.', "");
    let mut pairs = BTreeSet::new();
    for condition in lines("MimicCondition.ndjson.gz") {
        let person = patient_of.get(condition["subject"]["reference"].as_str().unwrap_or_default());
        let coding = &condition["code"]["coding"][0];
        let (system, code) =
            (coding["system"].as_str().unwrap_or_default(), coding["code"].as_str().unwrap_or_default());
        if let Some(person) = person {
            pairs.insert((person.clone(), plain(code), system.ends_with("icd9")));
        }
    }
    let mut our_pairs: BTreeMap<(String, String), &str> = BTreeMap::new();
    for (name, source) in [
        ("observation", "observation_source_value"),
        ("measurement", "measurement_source_value"),
        ("procedure_occurrence", "procedure_source_value"),
        ("condition_occurrence", "condition_source_value"),
    ] {
        for (person, code) in ours_by_person(out, name, source) {
            if let Some(subject) = subject_of.get(&person) {
                our_pairs.insert((subject.clone(), plain(&code)), name);
            }
        }
    }
    let their_pairs: BTreeSet<(String, String)> =
        table("condition_occurrence", ["person_id", "condition_source_value"])
            .into_iter()
            .filter_map(|[person, code]| Some((theirs.get(&person)?.clone(), plain(&code))))
            .collect();
    let (mut both, mut reasons) = (0_u64, BTreeMap::<String, u64>::new());
    for (person, code, icd9) in &pairs {
        let pair = (person.clone(), code.clone());
        let (ours, theirs) = (our_pairs.get(&pair).copied(), their_pairs.contains(&pair));
        let reason = match (ours, theirs) {
            (Some("condition_occurrence"), true) => {
                both += 1;
                continue;
            }
            (Some(table), true) => format!("vocabulary: our domain puts it into {table}"),
            (None, _) => "not loaded".to_owned(),
            // Codes of these chapters say why somebody was seen or how it came about; their domain is not condition.
            (Some(_), false) if code.starts_with(if *icd9 { ['V', 'E'] } else { ['Z', 'Y'] }) => {
                "domain: observation or procedure, whose OMOP table is not in the public copy".to_owned()
            }
            (Some(_), false) if !icd9 && code.starts_with(['V', 'W', 'X']) => {
                "domain: external cause, whose OMOP table is not in the public copy".to_owned()
            }
            (Some(_), false) if code.starts_with(if *icd9 { ['7', '7'] } else { ['R', 'R'] }) => {
                "domain: sign or result (ICD-9 780-799, ICD-10 R), observation or measurement there; missing table"
                    .to_owned()
            }
            (Some(table), false) => format!("vocabulary: ours in {table}, theirs in no table that is public"),
        };
        *reasons.entry(reason).or_default() += 1;
    }
    json!({
        "items": report.counts, "persons": [persons, subject_of.len()], "encounters": [encounters.0, encounters.1],
        "pairs": [both, pairs.len()], "reasons": reasons, "rows": report.rows, "unify_reasons": report.reasons,
    })
}

fn batches(out: &Path, table: &str) -> Vec<arrow::array::RecordBatch> {
    let file = std::fs::File::open(out.join(format!("{table}.parquet"))).expect("a table");
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file).expect("Parquet");
    reader.build().expect("Parquet").map(|batch| batch.expect("a batch")).collect()
}

fn pairs_of(out: &Path, table: &str, id: usize, column: &str) -> Vec<(i64, String)> {
    use arrow::array::{Array, AsArray};
    let mut found = Vec::new();
    for batch in batches(out, table) {
        let ids = batch.column(id).as_primitive::<arrow::datatypes::Int64Type>();
        let texts = batch.column_by_name(column).expect("a column").as_string::<i32>();
        for at in 0..batch.num_rows() {
            found.push((ids.value(at), if texts.is_null(at) { String::new() } else { texts.value(at).to_owned() }));
        }
    }
    found
}

fn ours(out: &Path, table: &str, column: &str) -> Vec<(i64, String)> {
    pairs_of(out, table, 0, column)
}

fn ours_by_person(out: &Path, table: &str, column: &str) -> Vec<(i64, String)> {
    pairs_of(out, table, 1, column)
}

/// Digest of every file of the tables.
fn digests(out: &Path) -> BTreeMap<String, blake3::Hash> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(out).expect("a folder").flatten() {
        if entry.path().extension().is_some_and(|ending| ending == "parquet") {
            let bytes = std::fs::read(entry.path()).expect("a file");
            found.insert(entry.file_name().to_string_lossy().into_owned(), blake3::hash(&bytes));
        }
    }
    found
}

struct Table {
    words: Vec<String>,
    missed: bool,
}

impl Table {
    fn chosen(&self, name: &str) -> bool {
        let rare = name == "x100" || name == "duckdb";
        self.words.iter().any(|word| name.contains(word.as_str())) || (self.words.is_empty() && !rare)
    }

    fn line(&mut self, name: &str, found: &Value, reached: bool, text: &str) {
        self.missed |= !reached;
        let (cpu_s, wall_s, peak) = (number(found, "cpu_s"), number(found, "wall_s"), number(found, "peak_mb"));
        let mark = if reached { "ok" } else { "MISS" };
        println!("{name:<22} {cpu_s:>8.3} {wall_s:>8.3} {peak:>7.0} {mark:<4} {text}");
        let _ = std::io::stdout().flush();
    }
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    if let (Some(input), Some(out)) =
        (std::env::var_os("ACEQUIA_BENCH_INPUT"), std::env::var_os("ACEQUIA_BENCH_OUTPUT"))
    {
        let found = job(words.first().expect("a name"), Path::new(&input), Path::new(&out));
        println!("{found}");
        return ExitCode::SUCCESS;
    }
    if !data("synthea-r4").is_dir() {
        eprintln!("skipped: the records are not here (../shared/data/ehr)");
        return ExitCode::SUCCESS;
    }
    let mut table = Table { words, missed: false };
    let at = tempfile::tempdir().expect("a temporary folder");
    let input = at.path().join("input");
    std::fs::create_dir(&input).expect("a folder");
    let mut bytes = 0;
    for (kind, _) in SYNTHEA {
        let text = unzipped(&data("synthea-r4").join(format!("{kind}.ndjson.gz")));
        bytes += text.len();
        std::fs::write(input.join(format!("{kind}.ndjson")), text).expect("a file");
    }
    let mb = bytes as f64 / 1e6;
    println!("{:<22} {:>8} {:>8} {:>7} {:<4} result ({mb:.1} MB)", "", "CPU s", "wall s", "peak MB", "");
    let folder = |name: &str| at.path().join(name);

    let full = best(3, "cpu_s", |nth| apart("load", &input, &folder(&format!("load-{nth}"))));
    let cpu_s = number(&full, "cpu_s");
    let by_kind = |kind: &str| full["by_kind"][kind]["rows"].as_u64().unwrap_or(0);
    // A death is a second row of its patient; locations are rows of their own.
    let own = |kind: &str, rows: u64| {
        let found = by_kind(kind);
        if kind == "Patient" { full["rows"]["person"].as_u64() == Some(rows) } else { found == rows }
    };
    let rows: Vec<String> = SYNTHEA
        .iter()
        .map(|(kind, rows)| format!("{kind} {}{}", by_kind(kind), if own(kind, *rows) { "" } else { " (!)" }))
        .collect();
    let right = SYNTHEA.iter().all(|(kind, rows)| own(kind, *rows));
    let speed = mb / cpu_s;
    table.line(
        "load",
        &full,
        right && speed >= 200.0,
        &format!("{speed:.0} MB/s (goal 200); rows: {}", rows.join(", ")),
    );
    println!("{:>50} fates {}; {}", "", full["counts"], full["reasons"]);

    if table.chosen("load, 2 threads") {
        let found = apart("load, 2 threads", &input, &folder("threads"));
        let same = digests(&folder("load-0")) == digests(&folder("threads"));
        table.line("load, 2 threads", &found, same, if same { "same bytes" } else { "other bytes" });
    }
    if table.chosen("reload") {
        let before = digests(&folder("load-0"));
        let found = apart("load", &input, &folder("load-0"));
        let same = before == digests(&folder("load-0")) && rows_of(&found) == 0 && found["removed_rows"] == 0;
        let share = number(&found, "cpu_s") / cpu_s * 100.0;
        let text =
            format!("{} new rows, unchanged {}; {share:.1} % of a full load", rows_of(&found), found["unchanged"]);
        table.line("reload", &found, same, &text);
    }
    for (name, out, only) in [("1 % changed, delta", "load-1", true), ("1 % changed, all given", "load-2", false)] {
        if table.chosen(name) {
            let to = folder(out).with_extension("input");
            std::fs::create_dir(&to).expect("a folder");
            changed(&input, &to, only);
            let found = best(5, "cpu_s", |nth| {
                let again = folder(&format!("{out}-{nth}"));
                copy_folder(&folder(out), &again);
                apart("load", &to, &again)
            });
            let share = number(&found, "cpu_s") / cpu_s * 100.0;
            let text = format!(
                "{} replaced, {} rows removed; {share:.1} % of a full load (goal 5)",
                found["replaced"], found["removed_rows"]
            );
            table.line(name, &found, share <= 5.0, &text);
        }
    }
    if table.chosen("x10") {
        let made = apart("generate", &input, &folder("none"));
        let run = |name: &str, out: &str| {
            best(3, "load_s", |_| {
                let _ = std::fs::remove_dir_all(folder(out));
                apart(name, &input, &folder(out))
            })
        };
        let (one, two) = (run("x10, 1 thread", "x10-1"), run("x10, 2 threads", "x10-2"));
        let same = digests(&folder("x10-1")) == digests(&folder("x10-2"));
        let own = number(&one, "cpu_s") - number(&made, "cpu_s");
        table.line("x10, 1 thread", &one, true, &format!("{:.0} MB/s without making the copies", mb * 10.0 / own));
        let scaling = number(&one, "load_s") / number(&two, "load_s");
        let text = format!("scaling {scaling:.2} (goal 1.8), same bytes: {same}");
        table.line("x10, 2 threads", &two, same && scaling >= 1.8, &text);
    }
    if table.chosen("x100") {
        let found = apart("x100", &input, &folder("x100"));
        let peak = number(&found, "peak_mb");
        // The copies are made from the text of all files, which lies in memory beside the load.
        let own = peak - mb * 1e6 / 1_048_576.0 * 1.1;
        let text = format!(
            "{:.0} MB/s, {:.0} MB without the text to copy from (goal 512), fates {}",
            mb * 100.0 / number(&found, "cpu_s"),
            own,
            found["counts"]
        );
        table.line("x100", &found, own <= 512.0, &text);
    }
    if table.chosen("mimic") {
        let found = apart("mimic", &input, &folder("mimic"));
        let (both, all) = (found["pairs"][0].as_f64().unwrap_or(0.0), found["pairs"][1].as_f64().unwrap_or(1.0));
        let reasons: u64 = found["reasons"].as_object().map_or(0, |all| all.values().filter_map(Value::as_u64).sum());
        let held = found["persons"] == json!([100, 100])
            && found["encounters"] == json!([275, 275])
            && both / all >= 0.81
            && both as u64 + reasons == all as u64;
        let text = format!(
            "persons {}, encounters {}, pairs {} ({:.1} %)",
            found["persons"],
            found["encounters"],
            found["pairs"],
            both / all * 100.0
        );
        table.line("mimic", &found, held, &text);
        println!("{:>50} {}", "", found["reasons"]);
        println!("{:>50} fates {}", "", found["items"]);
    }
    if table.chosen("duckdb") {
        let python = std::env::var_os("ACEQUIA_PYTHON").unwrap_or_else(|| "python3".into());
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/beside.py");
        let output = Command::new(python).arg(script).arg(&input).arg(folder("duckdb")).output().expect("a Python");
        let found: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let ratio = number(&found, "cpu_s") / cpu_s;
        let text = format!(
            "{:.0} MB/s without lineage, ids or rejects; rows {}; takes {ratio:.2} times our CPU time",
            mb / number(&found, "cpu_s"),
            found["rows"]
        );
        table.line("duckdb", &found, output.status.success(), &text);
    }
    if table.missed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
