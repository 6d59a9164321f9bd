//! Beside SQL run in DuckDB, check by check, on folders that lie beside the checkout (`../shared`), and on made-up faults.

use std::path::{Path, PathBuf};
use std::process::Command;

use acequia_cleanse::{Findings, Folder, Settings, default_checks};
use acequia_types::parse_day;

use crate::hostile;

const AS_OF: &str = "2026-11-25";

fn shared(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/ehr").join(name);
    if !path.exists() {
        println!("skipped: {name} is not beside this checkout");
        return None;
    }
    Some(path)
}

/// A Python that has DuckDB: `ACEQUIA_PYTHON`, or the one in `.venv`, or the one in the path.
fn python() -> Option<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.venv/bin/python");
    let named = std::env::var_os("ACEQUIA_PYTHON").map(PathBuf::from);
    let found = named.into_iter().chain([own, PathBuf::from("python3")]).find(|python| {
        Command::new(python).args(["-c", "import duckdb"]).output().is_ok_and(|output| output.status.success())
    });
    if found.is_none() {
        println!("skipped: there is no Python with DuckDB (pip install duckdb into .venv)");
    }
    found
}

fn check(folder: &Path) -> Findings {
    Folder::open(folder).unwrap().check(default_checks(), Settings::as_of(parse_day(AS_OF).unwrap())).unwrap()
}

/// Runs the same checks as SQL and lets the script compare.
fn agrees_with_sql(folder: &Path) {
    let (Some(definitions), Some(python)) = (shared("dqd-checks"), python()) else { return };
    let out = tempfile::tempdir().unwrap();
    let file = out.path().join("findings.json");
    std::fs::write(&file, serde_json::to_vec(&check(folder)).unwrap()).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/duckdb_checks.py");
    let output = Command::new(python).arg(script).args([&definitions, folder]).arg(AS_OF).arg(&file).output().unwrap();
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("{said}");
    assert!(output.status.success(), "{said}{errors}");
    assert!(said.contains("2535 of 2535 checks agree"), "{said}");
}

/// The tables of a zip archive, in a folder.
fn unpacked(archive: &Path) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut archive = zip::ZipArchive::new(std::fs::File::open(archive).unwrap()).unwrap();
    for at in 0..archive.len() {
        let mut entry = archive.by_index(at).unwrap();
        let name = entry.name().unwrap().into_owned();
        if entry.is_file() && !name.contains('/') {
            let mut file = std::fs::File::create(folder.path().join(name)).unwrap();
            std::io::copy(&mut entry, &mut file).unwrap();
        }
    }
    folder
}

#[test]
fn every_count_is_that_of_sql_on_synthea() {
    let Some(archive) = shared("synthea27-omop54/Synthea27Nj_5.4.zip") else { return };
    let folder = unpacked(&archive);
    let findings = check(folder.path());
    assert_eq!(findings.tables.values().map(|facts| facts.rows).sum::<u64>(), 294_203);
    assert_eq!(findings.findings.iter().filter(|finding| finding.failing > 0).count(), 141);
    agrees_with_sql(folder.path());
}

#[test]
fn every_count_is_that_of_sql_on_real_patients_with_tables_missing() {
    let Some(folder) = shared("mimic-iv-demo-omop") else { return };
    let findings = check(&folder);
    assert_eq!(findings.tables["person"].rows, 100);
    assert!(!findings.tables["measurement"].present);
    agrees_with_sql(&folder);
}

#[test]
fn every_count_is_that_of_sql_where_every_type_of_check_fails() {
    for seed in 0..2 {
        let folder = tempfile::tempdir().unwrap();
        hostile::write(folder.path(), seed, 80);
        let findings = check(folder.path());
        // Every table and field is there, and CONCEPT_ANCESTOR names no kind of the concepts of the checks by chance.
        let quiet = ["cdmtable", "cdmfield"];
        let mut types: Vec<&str> = default_checks().iter().map(|check| check.name.as_str()).collect();
        types.sort_unstable();
        types.dedup();
        for name in types {
            let failing = default_checks()
                .iter()
                .zip(&findings.findings)
                .any(|(check, finding)| check.name == name && finding.failing > 0);
            assert_eq!(failing, !quiet.contains(&name.to_lowercase().as_str()), "{name}");
        }
        agrees_with_sql(folder.path());
    }
}

#[test]
fn csv_and_parquet_give_the_same_findings() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    hostile::write(folder.path(), 7, 300);
    // Values that are of no type cannot be kept in Parquet.
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let clean = [
            ("soon", ""),
            (",x,", ",,"),
            (",-,", ",,"),
            (",1.5,", ",,"),
            (",x\n", ",\n"),
            (",-\n", ",\n"),
            (",1.5\n", ",\n"),
        ];
        let text = clean.iter().fold(text, |text, (from, to)| text.replace(from, to).replace(from, to));
        let text: String = text
            .lines()
            .map(|line| {
                let line = ["x,", "-,", "1.5,"].iter().fold(line, |line, start| {
                    line.strip_prefix(&start[..start.len() - 1]).filter(|rest| rest.starts_with(',')).unwrap_or(line)
                });
                format!("{line}\n")
            })
            .collect();
        std::fs::write(&path, text).unwrap();
    }
    let open = Folder::open(folder.path()).unwrap();
    open.to_parquet(other.path()).unwrap();
    let (csv, parquet) = (check(folder.path()), check(other.path()));
    assert_eq!(csv.tables, parquet.tables);
    for (a, b) in csv.findings.iter().zip(&parquet.findings) {
        assert_eq!((&a.id, a.rows, a.failing, &a.row_ids), (&b.id, b.rows, b.failing, &b.row_ids));
    }
}
