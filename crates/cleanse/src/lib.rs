//! Cleanse: data-quality checks over OMOP tables, a scorecard, and repairs that are recorded, never made in place.
//!
//! Comes in: OMOP tables, in memory or a [`Folder`] of Parquet and CSV files. Goes out: [`Findings`] (counts and the ids
//! of failing rows, which stay inside), a [`Scorecard`] judged from them, repaired tables and the log of repairs.
//!
//! The [`default_checks`] are the 2,535 of OHDSI's DataQualityDashboard 2.8.4 for CDM 5.4, in the categories of Kahn et
//! al., "A harmonized data quality assessment terminology", eGEMs 4(1), 2016. Definitions are data; they are compiled into
//! one pass over each table. A site adds its own as files ([`read_checks`]). Thresholds are applied to the findings
//! afterwards, so that other thresholds need no other run.
//!
//! To add a check for everybody: a row in `data/`; a new type is a row in `data/checks.csv`, a variant of `Kind` in
//! `definition.rs` and its step in `pass.rs`.
//!
//! ```
//! use acequia_cleanse::{Thresholds, cleanse};
//! use std::collections::BTreeMap;
//! let today = acequia_types::parse_day("2026-01-01").unwrap();
//! let cleansed = cleanse(&BTreeMap::new(), &Thresholds::as_of(today))?;
//! assert_eq!(cleansed.scorecard.outcomes().fail, 39, "no table is there");
//! # Ok::<(), acequia_cleanse::CleanseError>(())
//! ```

mod column;
mod csv_file;
mod definition;
mod dqd;
mod findings;
mod folder;
mod index;
mod judge;
mod page;
mod pass;
mod repair;
mod rule;
mod steps;
mod tables;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use acequia_frame::{FrameError, ParquetFile, Table};
use acequia_omop::CdmTable;
use acequia_types::{Coded, Day, Exit};
use arrow::array::RecordBatch;
use arrow::error::ArrowError;

pub use definition::{Category, Check, Context, Level, default_checks};
pub use dqd::dqd_results;
pub use findings::{Finding, Findings, TableFacts};
pub use folder::Folder;
pub use judge::{CheckResult, Outcomes, Scorecard, Status, Thresholds};
pub use page::page;
pub use pass::Settings;
pub use repair::Repair;
pub use rule::{parse_checks, read_checks};
pub use steps::row_checks;

use repair::Repairer;
use tables::Memory;

/// Why cleansing stops. Messages name tables, fields and rows, never values of a record.
#[derive(Debug, thiserror::Error)]
pub enum CleanseError {
    /// A column operation failed.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// Rows got lost.
    #[error("table {table}: rows in, out and set aside do not add up")]
    Counts {
        /// Which table.
        table: String,
    },
    /// A file or folder cannot be used.
    #[error("{what} cannot be {doing}: {kind}")]
    Io {
        /// What, in words.
        what: String,
        /// "read", "written".
        doing: &'static str,
        /// Kind of error.
        kind: std::io::ErrorKind,
    },
    /// No file of the folder is a table of the model.
    #[error("no file in the folder has the name of an OMOP table")]
    NoTables,
    /// Two files are the same table.
    #[error("two files in the folder are the table {table}")]
    TwoFiles {
        /// Which table.
        table: &'static str,
    },
    /// A CSV table cannot be read to its end.
    #[error("table {table}, row {row} of its file: {message}")]
    Csv {
        /// Which table.
        table: &'static str,
        /// Row, counted from one with the header.
        row: u64,
        /// What is wrong.
        message: &'static str,
    },
    /// A column has a type that cannot be read.
    #[error("table {table}, field {field}: the column has a type that cannot be read")]
    Column {
        /// Which table.
        table: &'static str,
        /// Which field.
        field: String,
        /// The cause.
        #[source]
        source: ArrowError,
    },
    /// A file of checks is wrong.
    #[error("checks {file}: {message}")]
    CheckFile {
        /// Its name.
        file: String,
        /// Place and what is wrong.
        message: String,
    },
    /// The file of thresholds is wrong.
    #[error("thresholds, row {row}: {message}")]
    ThresholdFile {
        /// Row, counted from one with the header.
        row: usize,
        /// What is wrong.
        message: &'static str,
    },
    /// These are no findings of this version.
    #[error("the findings cannot be read")]
    FindingsFile,
}

impl Coded for CleanseError {
    fn code(&self) -> &'static str {
        match self {
            Self::Frame(error) => error.code(),
            Self::Counts { .. } => "CL001",
            Self::Io { .. } => "CL002",
            Self::NoTables => "CL003",
            Self::TwoFiles { .. } => "CL004",
            Self::Csv { .. } => "CL005",
            Self::Column { .. } => "CL006",
            Self::CheckFile { .. } => "CL007",
            Self::ThresholdFile { .. } => "CL008",
            Self::FindingsFile => "CL009",
        }
    }
    fn hint(&self) -> &'static str {
        match self {
            Self::Frame(error) => error.hint(),
            Self::Counts { .. } => "this is a defect of the program; please report it with the code",
            Self::Io { .. } => "check the path, its permissions and the free space",
            Self::NoTables => "name files after the tables of the model: person.csv, VISIT_OCCURRENCE.parquet",
            Self::TwoFiles { .. } => "leave one of them in the folder",
            Self::Csv { .. } => "correct the file at the stated row; fields with commas or quotes need quotes",
            Self::Column { .. } => "write the column as a number, a date, a time or a text",
            Self::CheckFile { .. } => "see docs/hospital.md for the form of checks",
            Self::ThresholdFile { .. } => "write one check and one share in per cent a row, under check,threshold",
            Self::FindingsFile => "run the checks again with this version of the program",
        }
    }
    fn exit(&self) -> Exit {
        match self {
            Self::Frame(error) => error.exit(),
            Self::Io { kind: std::io::ErrorKind::NotFound, .. } | Self::NoTables => Exit::NotFound,
            Self::TwoFiles { .. } | Self::CheckFile { .. } | Self::ThresholdFile { .. } | Self::FindingsFile => {
                Exit::Usage
            }
            Self::Counts { .. } | Self::Io { .. } | Self::Csv { .. } | Self::Column { .. } => Exit::Failure,
        }
    }
}

/// Days since 1970-01-01.
pub(crate) fn epoch_days(day: Day) -> i32 {
    i32::try_from(day.signed_duration_since(Day::default()).num_days()).unwrap_or(i32::MAX)
}

/// New tables with what was found and done.
#[derive(Debug, Clone)]
pub struct Cleansed {
    /// Tables by name; those that are no OMOP table are passed on.
    pub tables: BTreeMap<String, Table>,
    /// What was found.
    pub findings: Findings,
    /// The verdict, with all counts: see [`Scorecard::without_small_counts`] before it is shown outside.
    pub scorecard: Scorecard,
    /// What was done and proposed: `rule_id`, `table_name`, `row_id`, `field`, `action`.
    pub repairs: Table,
    /// Values before and after each repair. They stay inside.
    pub repair_values: Table,
}

/// The default checks and those of the course's concepts.
pub fn course_checks() -> &'static [Check] {
    static CHECKS: LazyLock<Vec<Check>> = LazyLock::new(|| {
        let own = parse_checks("course.toml", include_str!("../data/course.toml")).expect("part of this crate");
        default_checks().iter().cloned().chain(own).collect()
    });
    &CHECKS
}

/// Checks tables in memory and makes repaired ones, as the course does: every kind of repair is made.
///
/// # Errors
/// [`CleanseError`].
pub fn cleanse(tables: &BTreeMap<String, Table>, thresholds: &Thresholds) -> Result<Cleansed, CleanseError> {
    let checks = course_checks();
    let memory = Memory::new(tables);
    let findings = pass::run(&memory, checks, Settings::as_of(thresholds.as_of))?;
    let mut scorecard = Scorecard::judge(&findings, checks, thresholds);

    let apply: BTreeSet<Repair> = Repair::ALL.into();
    let mut repairer = Repairer::new(&memory, checks, &apply, epoch_days(thresholds.as_of))?;
    let mut repaired = tables.clone();
    for cdm in CdmTable::ALL.iter().copied().filter(|table| Repairer::concerns(*table)) {
        let Some(table) = tables.get(cdm.name()) else { continue };
        let mut repair = repairer.table(cdm);
        let batches = table
            .batches()
            .iter()
            .map(|batch| repair.batch(batch.clone(), Vec::new()))
            .collect::<Result<Vec<_>, _>>()?;
        repaired.insert(cdm.name().to_owned(), Table::with_schema(table.name(), table.schema().clone(), batches)?);
    }
    let log = repairer.log;
    let rows = |tables: &BTreeMap<String, Table>| {
        tables.iter().map(|(name, table)| (name.clone(), table.rows() as u64)).collect::<BTreeMap<_, _>>()
    };
    let (rows_in, rows_out) = (rows(tables), rows(&repaired));
    for (name, before) in &rows_in {
        let removed = log.removed.get(name.as_str()).copied().unwrap_or(0);
        if rows_out.get(name).copied().unwrap_or(0) + removed != *before {
            return Err(CleanseError::Counts { table: name.clone() });
        }
    }
    let shown = |counts: BTreeMap<String, u64>| counts.into_iter().map(|(name, count)| (name, Some(count))).collect();
    scorecard.repairs = shown(log.counts());
    (scorecard.rows_in, scorecard.rows_out) = (shown(rows_in), shown(rows_out));
    let (repairs, repair_values) = log.into_tables()?;
    Ok(Cleansed { tables: repaired, findings, scorecard, repairs, repair_values })
}

impl Folder {
    /// Runs checks over the tables of the folder.
    ///
    /// # Errors
    /// [`CleanseError`].
    pub fn check(&self, checks: &[Check], settings: Settings) -> Result<Findings, CleanseError> {
        pass::run(self, checks, settings)
    }

    /// Writes repaired tables as Parquet into a new folder; vocabulary tables are copied. Every table is written aside and
    /// renamed when it is whole.
    ///
    /// # Errors
    /// [`CleanseError`]; [`CleanseError::Counts`] if rows would get lost.
    pub fn repair(
        &self,
        checks: &[Check],
        apply: &BTreeSet<Repair>,
        as_of: Day,
        to: &Path,
    ) -> Result<Repaired, CleanseError> {
        let mut repairer = Repairer::new(self, checks, apply, epoch_days(as_of))?;
        let (mut rows_in, mut rows_out) = (BTreeMap::new(), BTreeMap::new());
        for table in self.tables() {
            if !Repairer::concerns(table) {
                self.copy(table, to)?;
                continue;
            }
            let (mut before, mut repair) = (0, repairer.table(table));
            let after = write_parquet(table, to, &mut |take| {
                self.batches(table, &mut |batch, unreadable| {
                    before += batch.num_rows() as u64;
                    take(repair.batch(batch, unreadable)?)
                })
            })?;
            // A table without rows keeps its header.
            if before == 0 {
                self.copy(table, to)?;
            }
            rows_in.insert(table.name().to_owned(), before);
            rows_out.insert(table.name().to_owned(), after);
        }
        let log = repairer.log;
        for (name, before) in &rows_in {
            if rows_out[name] + log.removed.get(name.as_str()).copied().unwrap_or(0) != *before {
                return Err(CleanseError::Counts { table: name.clone() });
            }
        }
        let counts = log.counts();
        let (repairs, values) = log.into_tables()?;
        Ok(Repaired { counts, rows_in, rows_out, repairs, values })
    }

    /// Writes every table as Parquet, in the types of the model; nothing is changed.
    ///
    /// # Errors
    /// [`CleanseError`]; a CSV value that is not of its field's type cannot be written.
    pub fn to_parquet(&self, to: &Path) -> Result<(), CleanseError> {
        for table in self.tables() {
            let mut rows_before = 0;
            let written = write_parquet(table, to, &mut |take| {
                self.batches(table, &mut |batch, unreadable| {
                    if let Some(first) = unreadable.first() {
                        let (row, message) = (rows_before + first.row as u64 + 2, "a value is not of its field's type");
                        return Err(CleanseError::Csv { table: table.name(), row, message });
                    }
                    rows_before += batch.num_rows() as u64;
                    take(batch)
                })
            })?;
            if written == 0 {
                self.copy(table, to)?;
            }
        }
        Ok(())
    }

    fn copy(&self, table: CdmTable, to: &Path) -> Result<(), CleanseError> {
        for (path, name) in self.files(table) {
            let target: PathBuf = to.join(name);
            let failed = |error: std::io::Error| CleanseError::Io {
                what: format!("table {}", table.name()),
                doing: "copied",
                kind: error.kind(),
            };
            if let Some(folder) = target.parent() {
                std::fs::create_dir_all(folder).map_err(failed)?;
            }
            std::fs::copy(path, target).map_err(failed)?;
        }
        Ok(())
    }
}

type Take<'a> = &'a mut dyn FnMut(RecordBatch) -> Result<(), CleanseError>;

/// Writes the batches of a table aside and gives the file its name when it is whole. Returns the rows; a table of which no
/// batch comes has no file.
fn write_parquet(
    table: CdmTable,
    to: &Path,
    batches: &mut dyn FnMut(Take<'_>) -> Result<(), CleanseError>,
) -> Result<u64, CleanseError> {
    let failed = |error: std::io::Error| CleanseError::Io {
        what: format!("table {}", table.name()),
        doing: "written",
        kind: error.kind(),
    };
    std::fs::create_dir_all(to).map_err(failed)?;
    let (path, aside) = (to.join(format!("{}.parquet", table.name())), to.join(format!(".{}.part", table.name())));
    let (mut rows, mut file) = (0, None);
    batches(&mut |batch| {
        rows += batch.num_rows() as u64;
        if file.is_none() {
            let own = std::fs::File::create(&aside).map_err(failed)?;
            file = Some(ParquetFile::create(table.name(), own, batch.schema())?);
        }
        file.as_mut().map_or(Ok(()), |file| file.write(&batch))?;
        Ok(())
    })?;
    if let Some(file) = file {
        file.finish()?.sync_all().map_err(failed)?;
        std::fs::rename(&aside, &path).map_err(failed)?;
    }
    Ok(rows)
}

/// What [`Folder::repair`] did.
#[derive(Debug, Clone)]
pub struct Repaired {
    /// Repairs by kind: `trim-code` was made, `set-aside (proposed)` was not.
    pub counts: BTreeMap<String, u64>,
    /// Rows by table: came in.
    pub rows_in: BTreeMap<String, u64>,
    /// Rows by table: went out.
    pub rows_out: BTreeMap<String, u64>,
    /// The log: `rule_id`, `table_name`, `row_id`, `field`, `action`.
    pub repairs: Table,
    /// Values before and after. They stay inside.
    pub values: Table,
}
