//! `acequia read`: files are tried before they are given.

use std::path::PathBuf;
use std::process::ExitCode;

use acequia_node::{Exit, Failure, FileReading, ReadOptions, ReadReport, read_files};
use serde_json::json;

use crate::show::Out;

/// How many problems are shown for each file; `--json` lists more.
const SHOWN: usize = 12;

/// Formats are told by content; docs/hospital.md lists them. Nothing is kept, and nothing that is printed names a value
/// of a patient. Files are named by their number.
#[derive(clap::Args)]
#[command(
    after_help = "Examples:\n  acequia read export.zip\n  acequia read messages/ --bad-records mend/\n  acequia read omop-5.3/ --to omop-5.4/"
)]
pub(crate) struct Args {
    /// Files and folders
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Mapping for all tables
    #[arg(long, value_name = "FILE")]
    mapping: Option<PathBuf>,
    /// Index of a vocabulary (`acequia vocabulary load`) that the mapping's concepts may be of
    #[arg(long, value_name = "FILE")]
    vocabulary: Option<PathBuf>,
    /// Copy what was rejected here, in its own format, to be mended and given again
    #[arg(long, value_name = "FOLDER")]
    bad_records: Option<PathBuf>,
    /// Write tables of OMOP CDM 5.3 or 5.4 here, as Parquet of 5.4
    #[arg(long, value_name = "FOLDER")]
    to: Option<PathBuf>,
}

impl Args {
    /// Reads and prints.
    pub(crate) fn run(&self, out: &Out) -> Result<ExitCode, Failure> {
        let options = ReadOptions {
            mapping: self.mapping.clone(),
            vocabulary: self.vocabulary.clone(),
            bad_records: self.bad_records.clone(),
            to: self.to.clone(),
        };
        let report = read_files(&self.paths, &options)?;
        let readable = report.files.iter().all(|file| file.failure.is_none());
        out.print(|| json!(report), || words(&report));
        Ok(if readable { ExitCode::SUCCESS } else { ExitCode::from(Exit::Failure.code()) })
    }
}

fn words(report: &ReadReport) -> String {
    report.files.iter().map(file_words).collect::<Vec<_>>().join("\n")
}

fn file_words(file: &FileReading) -> String {
    let formats = if file.formats.is_empty() { "not read".to_owned() } else { file.formats.join(", ") };
    let mut text = format!("file {}: {formats}", file.file);
    if file.persons > 0 {
        text += &format!(", {} persons", file.persons);
    }
    text.push('\n');
    for (kind, fates) in &file.items {
        let fates: Vec<String> = fates.iter().map(|(fate, count)| format!("{count} {fate}")).collect();
        text += &format!("  {kind:<26} {}\n", fates.join(", "));
    }
    for (table, rows) in &file.tables {
        text += &format!("  {table:<26} {} rows, {} rejected\n", rows.rows, rows.rejected);
    }
    if !file.events.is_empty() {
        let events: Vec<String> = file.events.iter().map(|(table, count)| format!("{count} {table}")).collect();
        text += &format!("  events: {}\n", events.join(", "));
    }
    let count: u64 = file.problem_counts.values().sum();
    if count > 0 {
        text += &format!("  {count} problems\n");
    }
    for problem in file.problems.iter().take(SHOWN) {
        text += &format!("    {problem}\n      {}\n", problem.hint);
    }
    if count > SHOWN as u64 {
        let codes: Vec<String> = file.problem_counts.iter().map(|(code, count)| format!("{count} {code}")).collect();
        text += &format!("    all: {}\n", codes.join(", "));
    }
    for path in &file.bad_records {
        text += &format!("  rejected records are in {}\n", path.display());
    }
    if let Some(failure) = &file.failure {
        text += &format!("  stopped: {failure}\n    {}\n", failure.hint);
    }
    text
}
