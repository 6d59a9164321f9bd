//! `read`: what a file says and what is wrong with it, without a node and without keeping anything.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use acequia_frame::ParquetFile;
use acequia_intake::{
    CdmDefinition, Format, IntakeError, Limits, Mapping, RowSink, Survey, read_into, read_tables, set_aside,
};
use acequia_omop::Vocabulary;
use acequia_types::Problem;
use arrow::array::RecordBatch;
use serde::Serialize;

use crate::donate::{LARGEST_SIDECAR_BYTES, files_of, sidecar};
use crate::failure::{Failure, io};

/// Files on a disk are streamed, so they may be large; growth by unpacking is limited all the same.
const LIMITS: Limits = Limits { unpacked_bytes: 256 * 1024 * 1024 * 1024, growth: 200, entries: 10_000 };
/// How many problems are listed one by one for each file; all are counted.
const LISTED_PROBLEMS: usize = 200;

/// What the user says about the files.
#[derive(Debug, Clone, Default)]
pub struct ReadOptions {
    /// Mapping for all tables; `<name>.mapping.toml` beside a table otherwise.
    pub mapping: Option<PathBuf>,
    /// Index of a vocabulary that the mapping's concepts may be of, beside the program's pack.
    pub vocabulary: Option<PathBuf>,
    /// Folder for what was rejected, in the format it came in.
    pub bad_records: Option<PathBuf>,
    /// Folder for tables of the OMOP CDM, as Parquet of 5.4.
    pub to: Option<PathBuf>,
}

/// What all files say.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ReadReport {
    /// File by file, in the order of paths.
    pub files: Vec<FileReading>,
}

/// What one file says. Names its number, never the file: a name can be that of a patient.
#[derive(Debug, Clone, Default, Serialize)]
pub struct FileReading {
    /// One-based number in the order of paths.
    pub file: u64,
    /// Formats found; several in an archive.
    pub formats: Vec<&'static str>,
    /// Persons.
    pub persons: u64,
    /// Kind of unit → fate → how many.
    pub items: BTreeMap<String, BTreeMap<String, u64>>,
    /// Table that the format suggests → events.
    pub events: BTreeMap<&'static str, u64>,
    /// For tables of the OMOP CDM: rows kept and rejected.
    pub tables: BTreeMap<String, TableReading>,
    /// Code → how often.
    pub problem_counts: BTreeMap<String, u64>,
    /// The first problems, with places.
    pub problems: Vec<Problem>,
    /// Files with what was rejected.
    pub bad_records: Vec<PathBuf>,
    /// Why the file could not be read to its end.
    pub failure: Option<Failure>,
}

/// Rows of one table.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct TableReading {
    /// Rows that are right.
    pub rows: u64,
    /// Rows that are not.
    pub rejected: u64,
}

/// Reads files; a folder stands for the files in it.
///
/// # Errors
/// When a path or mapping cannot be used, or something cannot be written. A file that cannot be read is no error: its
/// entry says why.
pub fn read_files(paths: &[PathBuf], options: &ReadOptions) -> Result<ReadReport, Failure> {
    let mut report = ReadReport::default();
    let mut tables = Tables { to: options.to.as_deref(), open: BTreeMap::new(), reading: FileReading::default() };
    for folder in [&options.to, &options.bad_records].into_iter().flatten() {
        std::fs::create_dir_all(folder).map_err(io("the folder for the results", "made"))?;
    }
    for (at, path) in files_of(paths)?.iter().enumerate() {
        let number = at as u64 + 1;
        tables.reading = FileReading { file: number, ..FileReading::default() };
        let mapping = mapping_of(path, options)?;
        let mut file = File::open(path).map_err(io("a file", "read"))?;
        let mut survey = Survey::default();
        let read = read_into(&mut file, mapping.as_ref(), &LIMITS, &mut survey);
        let outcome = match read {
            // Tables of the model stay tables.
            Err(IntakeError::CdmTable) => {
                survey = Survey::default();
                tables.reading.formats.push("omop");
                read_tables(&mut file, &LIMITS, &mut tables)
            }
            other => other.map(|formats| tables.reading.formats = formats.into_iter().map(Format::as_str).collect()),
        };
        let mut reading = std::mem::take(&mut tables.reading);
        if let Err(error) = outcome {
            reading.failure = Some(error.into());
        }
        if let Some(folder) = options.bad_records.as_ref().filter(|_| !survey.rejected.is_empty()) {
            let mut written = Vec::new();
            let mut create = |format: Format, label: &str| -> std::io::Result<Box<dyn Write>> {
                let part: String = label.chars().filter(char::is_ascii_digit).collect();
                let part = if part.is_empty() { part } else { format!("-{part}") };
                let path = folder.join(format!("{number}{part}.bad.{}", ending(format)));
                written.push(path.clone());
                Ok(Box::new(BufWriter::new(private(&path)?)))
            };
            set_aside(&mut file, mapping.as_ref(), &LIMITS, &survey.rejected, &mut create)?;
            reading.bad_records = written;
        }
        reading.persons = survey.persons;
        reading.items = survey.items();
        reading.events = survey.events;
        for (code, count) in survey.problems {
            *reading.problem_counts.entry(code).or_default() += count;
        }
        let room = LISTED_PROBLEMS.saturating_sub(reading.problems.len());
        reading.problems.extend(survey.listed.into_iter().take(room));
        report.files.push(reading);
    }
    tables.finish()?;
    Ok(report)
}

fn mapping_of(path: &Path, options: &ReadOptions) -> Result<Option<Mapping>, Failure> {
    let Some(path) = options.mapping.clone().or_else(|| sidecar(path, "mapping.toml")) else { return Ok(None) };
    let bytes = acequia_blobs::read_file(&path, "the mapping", LARGEST_SIDECAR_BYTES)?;
    let text = String::from_utf8_lossy(&bytes);
    Ok(Some(match &options.vocabulary {
        Some(index) => Mapping::parse(&text, &acequia_vocabulary::open(index)?)?,
        None => Mapping::parse(&text, Vocabulary::bundled())?,
    }))
}

const fn ending(format: Format) -> &'static str {
    match format {
        Format::FhirBundle => "json",
        Format::FhirNdjson => "ndjson",
        Format::Csv | Format::OmopCsv => "csv",
        Format::Hl7V2 => "hl7",
        Format::Ccda | Format::AppleHealth => "xml",
        Format::Phenopackets => "jsonl",
        Format::OmopParquet => "parquet",
    }
}

/// A file that only its owner may read: what is in it is identified.
fn private(path: &Path) -> std::io::Result<File> {
    let mut options = File::options();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    options.open(path)
}

/// Counts rows of tables, and writes them where a folder is given.
struct Tables<'t> {
    to: Option<&'t Path>,
    open: BTreeMap<String, ParquetFile>,
    reading: FileReading,
}

impl Tables<'_> {
    fn list(&mut self, problem: Problem) {
        *self.reading.problem_counts.entry(problem.code.clone()).or_default() += 1;
        if self.reading.problems.len() < LISTED_PROBLEMS {
            self.reading.problems.push(problem);
        }
    }

    fn finish(self) -> Result<(), Failure> {
        for (name, file) in self.open {
            let file = file.finish()?;
            file.sync_all().map_err(io("a table", "written"))?;
            if let Some(folder) = self.to {
                let path = folder.join(format!("{name}.parquet"));
                std::fs::rename(aside(&path), path).map_err(io("a table", "written"))?;
            }
        }
        Ok(())
    }
}

/// Where a table lies until it is whole.
fn aside(path: &Path) -> PathBuf {
    path.with_extension("parquet.part")
}

impl RowSink for Tables<'_> {
    fn rows(&mut self, table: &'static CdmDefinition, rows: &RecordBatch) -> Result<(), IntakeError> {
        self.reading.tables.entry(table.name.clone()).or_default().rows += rows.num_rows() as u64;
        let Some(folder) = self.to else { return Ok(()) };
        if !self.open.contains_key(&table.name) {
            let path = aside(&folder.join(format!("{}.parquet", table.name)));
            let file = private(&path).map_err(|error| IntakeError::Unwritable { kind: error.kind() })?;
            let file = ParquetFile::create(&table.name, file, table.schema.clone());
            let file = file.map_err(|_| IntakeError::Unwritable { kind: std::io::ErrorKind::InvalidData })?;
            self.open.insert(table.name.clone(), file);
        }
        let unwritable = |_| IntakeError::Unwritable { kind: std::io::ErrorKind::Other };
        self.open.get_mut(&table.name).map_or(Ok(()), |file| file.write(rows).map_err(unwritable))
    }

    fn rejected(&mut self, table: &'static CdmDefinition, problems: Vec<Problem>) {
        self.reading.tables.entry(table.name.clone()).or_default().rejected += 1;
        for mut problem in problems {
            problem.place.intake = Some(table.name.clone());
            self.list(problem);
        }
    }

    fn note(&mut self, table: &'static CdmDefinition, mut problem: Problem) {
        self.reading.tables.entry(table.name.clone()).or_default();
        problem.place.intake = Some(table.name.clone());
        self.list(problem);
    }
}
