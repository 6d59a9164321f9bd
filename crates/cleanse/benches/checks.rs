//! All default checks on 2.8 million rows, as whole processes, beside the goal.
//!
//! `cargo bench -p acequia-cleanse --bench checks` makes the input once (28 synthetic patients of `../shared`, their events
//! repeated a hundred times under new ids: 2,793,755 rows) and prints CPU seconds and peak memory of a process that opens
//! the folder, runs the 2,535 checks with row ids, judges them and writes findings and scorecard. CPU time and memory are the
//! kernel's figures (Linux). Without `../shared` it says so and measures nothing. `ACEQUIA_BENCH_KEEP` names a folder that
//! keeps the input, for other tools to run on.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use acequia_cleanse::{Folder, Scorecard, Settings, Thresholds, default_checks};
use acequia_omop::CdmTable;
use acequia_types::parse_day;

/// Most CPU seconds of the whole process.
const GOAL_CPU_S: f64 = 1.5;
const COPIES: i64 = 100;
const ROWS: u64 = 2_793_755;
const AS_OF: &str = "2026-11-25";
/// Tables that are repeated.
const REPEATED: [CdmTable; 10] = [
    CdmTable::Person,
    CdmTable::ObservationPeriod,
    CdmTable::VisitOccurrence,
    CdmTable::VisitDetail,
    CdmTable::ConditionOccurrence,
    CdmTable::DrugExposure,
    CdmTable::ProcedureOccurrence,
    CdmTable::Measurement,
    CdmTable::Observation,
    CdmTable::ConditionEra,
];
/// Fields that name a row of another repeated table, and that table's key.
const REFERENCES: [(&str, &str); 3] = [
    ("preceding_visit_occurrence_id", "visit_occurrence_id"),
    ("preceding_visit_detail_id", "visit_detail_id"),
    ("parent_visit_detail_id", "visit_detail_id"),
];

fn archive() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/ehr/synthea27-omop54/Synthea27Nj_5.4.zip")
}

/// Steps between the copies of a key: its largest value.
fn steps(tables: &[(CdmTable, Vec<u8>)]) -> Vec<(String, i64)> {
    let mut steps = Vec::new();
    for (table, text) in tables.iter().filter(|(table, _)| REPEATED.contains(table)) {
        let Some(key) = table.key() else { continue };
        let mut reader = csv::Reader::from_reader(text.as_slice());
        let at = reader.headers().expect("a header").iter().position(|name| name == key).expect("the key");
        let largest = reader.records().filter_map(|record| record.ok()?.get(at)?.parse::<i64>().ok()).max();
        steps.push((key.to_owned(), largest.unwrap_or(0)));
    }
    steps
}

fn make(folder: &Path) {
    let mut zip = zip::ZipArchive::new(File::open(archive()).expect("the archive")).expect("a zip archive");
    let mut tables = Vec::new();
    for at in 0..zip.len() {
        let mut entry = zip.by_index(at).expect("an entry");
        let name = entry.name().expect("a name").to_lowercase();
        let Some(table) = name.strip_suffix(".csv").and_then(CdmTable::parse) else { continue };
        let mut text = Vec::new();
        entry.read_to_end(&mut text).expect("the entry can be read");
        tables.push((table, text));
    }
    let steps = steps(&tables);
    std::fs::create_dir_all(folder.join("csv")).expect("a writable folder");
    for (table, text) in &tables {
        let file = File::create(folder.join("csv").join(format!("{}.csv", table.name()))).expect("a writable folder");
        let mut writer = csv::Writer::from_writer(BufWriter::new(file));
        let mut reader = csv::Reader::from_reader(BufReader::new(text.as_slice()));
        let header = reader.headers().expect("a header").clone();
        writer.write_record(&header).expect("writable");
        let step = |name: &str| {
            let key = REFERENCES.iter().find(|(field, _)| *field == name).map_or(name, |(_, key)| key);
            steps.iter().find(|(known, _)| known == key).map(|(_, step)| *step)
        };
        let moved: Vec<Option<i64>> = header.iter().map(step).collect();
        let records: Vec<csv::StringRecord> = reader.records().collect::<Result<_, _>>().expect("records");
        let copies = if REPEATED.contains(table) { COPIES } else { 1 };
        for copy in 0..copies {
            for record in &records {
                let cell = |(text, step): (&str, &Option<i64>)| match (step, text.parse::<i64>()) {
                    (Some(step), Ok(id)) => (id + copy * step).to_string(),
                    _ => text.to_owned(),
                };
                writer.write_record(record.iter().zip(&moved).map(cell)).expect("writable");
            }
        }
        writer.flush().expect("writable");
    }
    Folder::open(&folder.join("csv"))
        .and_then(|open| open.to_parquet(&folder.join("parquet")))
        .expect("the tables as Parquet");
}

/// CPU time in seconds and peak memory in MB of this process.
fn used() -> (f64, f64) {
    let read = |file: &str| std::fs::read_to_string(format!("/proc/self/{file}")).unwrap_or_default();
    let nanoseconds: f64 = read("schedstat").split(' ').next().and_then(|text| text.parse().ok()).unwrap_or(f64::NAN);
    let status = read("status");
    let peak =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.trim().parse().ok());
    (nanoseconds / 1e9, peak.unwrap_or(f64::NAN) / 1024.0)
}

/// One measured process: what `acequia cleanse` does without repairs.
fn run(folder: &Path) {
    let as_of = parse_day(AS_OF).expect("a day");
    let open = Folder::open(folder).expect("the folder");
    let (opened, _) = used();
    let findings = open.check(default_checks(), Settings::as_of(as_of)).expect("the checks run");
    let (checked, _) = used();
    let scorecard = Scorecard::judge(&findings, default_checks(), &Thresholds::as_of(as_of));
    let out = folder.with_extension("out");
    std::fs::create_dir_all(&out).expect("a writable folder");
    std::fs::write(out.join("findings.json"), serde_json::to_vec(&findings).expect("JSON")).expect("writable");
    std::fs::write(out.join("scorecard.json"), serde_json::to_vec(&scorecard).expect("JSON")).expect("writable");
    let rows: u64 = findings.tables.values().map(|facts| facts.rows).sum();
    assert_eq!((rows, findings.findings.len()), (ROWS, 2535));
    let failing = findings.findings.iter().filter(|finding| finding.failing > 0).count();
    let kept: usize = findings.findings.iter().map(|finding| finding.row_ids.len()).sum();
    let in_checks: f64 = findings.findings.iter().map(|finding| finding.seconds).sum();
    let (cpu_s, peak_mb) = used();
    println!(
        "{cpu_s:.2} CPU s (pass {:.2}, of it in checks {in_checks:.2} s), {peak_mb:.0} MB: {rows} rows, 2535 checks, {failing} with failing rows, {kept} row ids kept",
        checked - opened
    );
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    if let Some(at) = std::env::var_os("ACEQUIA_BENCH_FOLDER") {
        run(Path::new(&at));
        return ExitCode::SUCCESS;
    }
    if !archive().is_file() {
        eprintln!("skipped: the tables are not here (../shared/data/ehr/synthea27-omop54)");
        return ExitCode::SUCCESS;
    }
    let temporary = tempfile::tempdir().expect("a temporary folder");
    let kept = std::env::var_os("ACEQUIA_BENCH_KEEP").map(PathBuf::from);
    let folder = kept.as_deref().unwrap_or(temporary.path());
    if !folder.join("parquet").is_dir() {
        make(folder);
    }
    let mut missed = false;
    for form in ["parquet", "csv"].into_iter().filter(|form| words.is_empty() || words.iter().any(|word| word == form))
    {
        let output = Command::new(std::env::current_exe().expect("this program"))
            .env("ACEQUIA_BENCH_FOLDER", folder.join(form))
            .output()
            .expect("this program runs again");
        let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        assert!(output.status.success(), "{form}: {}", String::from_utf8_lossy(&output.stderr));
        let cpu_s: f64 = said.split(' ').next().and_then(|text| text.parse().ok()).unwrap_or(f64::NAN);
        let reached = cpu_s <= GOAL_CPU_S;
        missed |= form == "parquet" && !reached;
        println!("{form:<8} {} / goal {GOAL_CPU_S} {said}", if reached { "ok  " } else { "MISS" });
    }
    if missed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
