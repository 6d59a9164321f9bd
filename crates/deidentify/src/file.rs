//! Tables in files, without a node: read, de-identify, write, recount.
//!
//! CSV with a header row (comma, semicolon, tab or bar; plain or gzip) and Parquet. An empty field of a CSV is a missing
//! value. Written is CSV, or Parquet where the name says so. What is written is read back from disk and recounted before it gets its name.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::Path;
use std::sync::Arc;

use acequia_frame::{FrameError, ParquetFile, Table};
use acequia_privacy::{
    Classes, Metric, PopulationUniques, SpecialUniques, Suda2Refusal, journalist, population_uniques, suda2,
};
use arrow::array::{Array, ArrayBuilder, ArrayRef, RecordBatch, StringBuilder};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use serde::Serialize;

use crate::DeidentifyError;
use crate::attack::{Extent, Kept, attack};
use crate::coded::{CodedColumn, Coder};
use crate::csv_text::{BadRow, CsvReader, append_field, field_text};
use crate::engine::{Prepared, Recoded, suppression_limit};
use crate::grouping::{Groups, layout, sort_rows};
use crate::large::deidentify_large;
use crate::policy::{ModelSpec, Policy, Role};
use crate::proof::{ClassCounts, Receipt, Risks};
use crate::receipt::{class_counts, of_population, receipt, risks, with_transformations};
use crate::search::{Goal, with_words};
use crate::shift::{ShiftKey, ShiftPlan};
use crate::transform::{RowWork, Work};
use crate::verify::{Beside, Recount, Recounter};
use crate::verify_values::ValueChecks;

/// Rows whose codes are gathered before they are written.
const GATHERED_ROWS: usize = 1024;

/// A table of a file as coded columns.
#[derive(Debug)]
pub struct FileTable {
    columns: Vec<Arc<CodedColumn>>,
    rows: usize,
    delimiter: u8,
    /// Types of the columns of a Parquet file.
    types: BTreeMap<String, DataType>,
}

/// Levels that make a metric as small as it can be.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Optimum {
    /// Level of each quasi-identifier.
    pub levels: BTreeMap<String, usize>,
    /// The metric.
    pub score: f64,
    /// Rows suppressed.
    pub suppressed: u64,
    /// A value of the metric that no levels undercut: the same as `score` when these are proven to be the best.
    pub least_score: f64,
}

/// Optima for several goals, and how they were found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Optima {
    /// One for each goal; `None` when no levels keep to its limit.
    pub optima: Vec<Option<Optimum>>,
    /// Combinations of levels that were counted.
    pub counted: u64,
}

/// Risk of a table as it is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TableRisk {
    /// Rows.
    pub rows: u64,
    /// Which columns an attacker knows.
    pub quasi_identifiers: Vec<String>,
    /// Equivalence classes.
    pub classes: ClassCounts,
    /// Share of rows that are alone in their class.
    pub unique_share: f64,
    /// Risk; shares of rows are those above `threshold`.
    pub risk: Risks,
    /// The threshold.
    pub threshold: f64,
    /// Estimated share of the population that is unique; when the size of the population was given.
    pub population_uniques: Option<PopulationUniques>,
    /// Special uniques; see [`FileTable::special_uniques`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub special_uniques: Option<SpecialUniques>,
}

pub(crate) fn wrong(path: &Path, problem: impl Into<String>) -> DeidentifyError {
    let file = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    DeidentifyError::File { file, problem: problem.into() }
}

fn is_named_parquet(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("parquet"))
}

/// By its first bytes: a file may have any name.
pub(crate) fn is_parquet(path: &Path) -> bool {
    let mut start = [0; 4];
    File::open(path).and_then(|mut file| file.read_exact(&mut start)).is_ok() && start == *b"PAR1"
}

/// Rows of a CSV or Parquet file as text, one after the other.
pub(crate) struct Rows {
    file: std::path::PathBuf,
    pub(crate) headers: Vec<String>,
    /// Of a CSV file; a comma for Parquet.
    pub(crate) delimiter: u8,
    /// Types of the columns; empty for CSV.
    pub(crate) types: BTreeMap<String, DataType>,
    source: Source,
}

enum Source {
    Csv(CsvReader),
    Parquet { batches: Batches, columns: Vec<Vec<Option<String>>>, row: usize },
}

type Batches = Box<dyn Iterator<Item = Result<RecordBatch, FrameError>>>;

impl Rows {
    pub(crate) fn open(path: &Path) -> Result<Self, DeidentifyError> {
        let rows = if is_parquet(path) { Self::open_parquet(path)? } else { Self::open_csv(path)? };
        let mut names: Vec<&String> = rows.headers.iter().collect();
        names.sort_unstable();
        if rows.headers.iter().all(String::is_empty) {
            return Err(wrong(path, "the file is empty"));
        }
        if names.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(wrong(path, "two columns have the same name"));
        }
        Ok(rows)
    }

    fn open_csv(path: &Path) -> Result<Self, DeidentifyError> {
        let unreadable = |error: std::io::Error| wrong(path, format!("cannot be read: {}", error.kind()));
        let mut file = BufReader::with_capacity(1 << 16, File::open(path).map_err(unreadable)?);
        let packed = file.fill_buf().map_err(unreadable)?.starts_with(&[0x1f, 0x8b]);
        let plain: Box<dyn Read> =
            if packed { Box::new(flate2::bufread::MultiGzDecoder::new(file)) } else { Box::new(file) };
        let mut plain = BufReader::with_capacity(1 << 16, plain);
        if plain.fill_buf().map_err(unreadable)?.starts_with(&[0xef, 0xbb, 0xbf]) {
            plain.consume(3);
        }
        let first = plain.fill_buf().map_err(unreadable)?;
        let line = first.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let count = |delimiter: u8| line.iter().filter(|byte| **byte == delimiter).count();
        let delimiter = [b',', b';', b'\t', b'|'].into_iter().max_by_key(|d| (count(*d), *d == b',')).unwrap_or(b',');
        let mut reader = CsvReader::new(Box::new(plain), delimiter);
        let any = reader.next().map_err(|error| bad_row(path, &error))?;
        let headers = if any { reader.fields().map(str::to_owned).collect() } else { Vec::new() };
        Ok(Self { file: path.to_owned(), headers, delimiter, types: BTreeMap::new(), source: Source::Csv(reader) })
    }

    fn open_parquet(path: &Path) -> Result<Self, DeidentifyError> {
        let file = File::open(path).map_err(|error| wrong(path, format!("cannot be read: {}", error.kind())))?;
        let (schema, batches) = Table::parquet_batches("table", file)?;
        let headers = schema.fields().iter().map(|field| field.name().clone()).collect();
        let source = Source::Parquet { batches: Box::new(batches), columns: Vec::new(), row: 0 };
        let types = schema.fields().iter().map(|field| (field.name().clone(), field.data_type().clone())).collect();
        Ok(Self { file: path.to_owned(), headers, delimiter: b',', types, source })
    }

    /// Goes to the next row; `false` behind the last.
    pub(crate) fn next(&mut self) -> Result<bool, DeidentifyError> {
        match &mut self.source {
            Source::Csv(reader) => reader.next().map_err(|error| bad_row(&self.file, &error)),
            Source::Parquet { batches, columns, row } => {
                *row += 1;
                while columns.first().is_none_or(|column| *row >= column.len()) {
                    let Some(batch) = batches.next() else { return Ok(false) };
                    let batch = batch?;
                    let texts = self.headers.iter().zip(batch.columns()).map(|(name, column)| texts(name, column));
                    (*columns, *row) = (texts.collect::<Result<_, _>>()?, 0);
                }
                Ok(true)
            }
        }
    }

    /// A field of the row; an empty one is missing.
    #[inline]
    pub(crate) fn field(&self, at: usize) -> Option<&str> {
        match &self.source {
            Source::Csv(reader) => reader.field(at),
            Source::Parquet { columns, row, .. } => columns[at][*row].as_deref(),
        }
        .filter(|text| !text.is_empty())
    }
}

/// A column of a batch as text.
fn texts(name: &str, column: &ArrayRef) -> Result<Vec<Option<String>>, DeidentifyError> {
    let problem = "the type cannot be read as text";
    let options = FormatOptions::default();
    let formatter = ArrayFormatter::try_new(column.as_ref(), &options)
        .map_err(|_| DeidentifyError::Type { column: name.to_owned(), problem })?;
    let text = |row: usize| {
        let text = column.is_valid(row).then(|| formatter.value(row).try_to_string()).transpose();
        text.map_err(|_| DeidentifyError::Type { column: name.to_owned(), problem })
    };
    (0..column.len()).map(text).collect()
}

fn bad_row(path: &Path, error: &BadRow) -> DeidentifyError {
    let problem = match error {
        BadRow::Fields { line, found, expected } => {
            format!("row {line} has {found} fields where {expected} are expected")
        }
        BadRow::NotUtf8 { line } => format!("row {line} is not UTF-8"),
        BadRow::Io(error) => format!("cannot be read: {}", error.kind()),
    };
    wrong(path, problem)
}

impl FileTable {
    /// Reads a table, and behind its rows those of a population table where one is given.
    ///
    /// # Errors
    /// [`DeidentifyError::File`], with the row.
    pub fn read(path: &Path, population: Option<&Path>) -> Result<Self, DeidentifyError> {
        Ok(Self::read_rows(path, population, |_| Ok(None))?.0)
    }

    /// Reads the rows that a policy draws, with days shifted.
    fn read_for(
        path: &Path,
        population: Option<&Path>,
        policy: &Policy,
        files: &BTreeMap<String, Vec<u8>>,
    ) -> Result<(Self, Option<RowWork>), DeidentifyError> {
        Self::read_rows(path, population, |headers| RowWork::new(policy, files, headers, path))
    }

    fn read_rows(
        path: &Path,
        population: Option<&Path>,
        work: impl FnOnce(&[String]) -> Result<Option<RowWork>, DeidentifyError>,
    ) -> Result<(Self, Option<RowWork>), DeidentifyError> {
        let (mut make, mut work) = (Some(work), None);
        let mut coders: Vec<(String, Coder)> = Vec::new();
        let (mut delimiter, mut types) = (b',', BTreeMap::new());
        let mut rows = 0;
        for (part, path) in std::iter::once(path).chain(population).enumerate() {
            if part > 0 {
                coders.iter_mut().for_each(|(_, coder)| coder.population());
            }
            let mut file = Rows::open(path)?;
            let place = places(path, &mut coders, &file.headers, part == 0)?;
            if part == 0 {
                delimiter = file.delimiter;
                types = file.types.clone();
            }
            if let Some(make) = make.take() {
                work = make(&file.headers)?;
            }
            let mut count = 0;
            if let Some(work) = work.as_mut().filter(|_| part == 0) {
                while file.next()? {
                    if !work.draws(&file) {
                        continue;
                    }
                    count += 1;
                    for (at, coder) in place.iter().enumerate() {
                        if let Some(coder) = coder {
                            coders[*coder].1.at_row(work.rows - 1);
                            coders[*coder].1.push(work.field(&file, at)?.as_deref());
                        }
                    }
                }
            }
            while file.next()? {
                count += 1;
                for (at, coder) in place.iter().enumerate() {
                    if let Some(coder) = coder {
                        coders[*coder].1.push(file.field(at));
                    }
                }
            }
            if part == 0 {
                rows = count;
            }
        }
        let columns = coders.into_iter().map(|(_, coder)| Arc::new(coder.finish())).collect();
        Ok((Self { columns, rows, delimiter, types }, work))
    }

    /// A table of columns that were read elsewhere.
    pub(crate) fn of_columns(
        columns: Vec<Arc<CodedColumn>>,
        rows: usize,
        delimiter: u8,
        types: BTreeMap<String, DataType>,
    ) -> Self {
        Self { columns, rows, delimiter, types }
    }

    pub(crate) fn columns(&self) -> &[Arc<CodedColumn>] {
        &self.columns
    }

    pub(crate) fn type_of(&self, column: &str) -> Option<&DataType> {
        self.types.get(column)
    }

    pub(crate) fn delimiter(&self) -> u8 {
        self.delimiter
    }

    /// Number of rows, those of a population table not counted.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Names of the columns, in the order of the file.
    pub fn column_names(&self) -> Vec<&str> {
        self.columns.iter().map(|column| column.name.as_str()).collect()
    }

    pub(crate) fn column(&self, name: &str) -> Result<Arc<CodedColumn>, DeidentifyError> {
        let unknown =
            || DeidentifyError::Columns { column: name.to_owned(), problem: "in the policy but not in the table" };
        self.columns.iter().find(|column| column.name == name).cloned().ok_or_else(unknown)
    }

    /// Takes over what transformations made of the columns.
    pub(crate) fn take(&mut self, work: &Work) {
        self.columns.clone_from(&work.columns);
        self.retype(&work.types);
    }

    /// Gives columns that hold other values now the type of these, where the file has types.
    fn retype(&mut self, types: &BTreeMap<String, DataType>) {
        for (name, kind) in types {
            let column = self.columns.iter().find(|column| column.name == *name);
            let days = column.is_some_and(|column| {
                column.values.iter().flatten().all(|text| acequia_types::parse_day(text).is_some())
            });
            match self.types.get_mut(name) {
                Some(DataType::Date32) if days => {}
                Some(own) if own.is_floating() && *kind == DataType::Float64 => {}
                Some(own) => own.clone_from(kind),
                None => {}
            }
        }
    }

    pub(crate) fn check(&self, policy: &Policy) -> Result<(), DeidentifyError> {
        policy.check()?;
        if let Some(column) = self.columns.iter().find(|column| !policy.columns.contains_key(&column.name)) {
            let problem = "in the table but not in the policy";
            return Err(DeidentifyError::Columns { column: column.name.clone(), problem });
        }
        if let Some((name, _)) = policy.of_role(Role::PersonId).next() {
            let column = self.columns.iter().find(|column| column.name == name);
            // Values of a population table alone have no rows.
            let each_once = |column: &Arc<CodedColumn>| {
                let missing = column.values.first() == Some(&None) && column.counts[0] > 0;
                !missing && column.counts.iter().filter(|rows| **rows > 0).count() == self.rows
            };
            if !column.is_none_or(each_once) {
                return Err(DeidentifyError::NotOneRowPerPerson { column: name.to_owned() });
            }
        }
        no_kept_days(policy, &self.columns, &self.types)?;
        let given = self.columns.iter().any(|column| column.codes.len() > self.rows);
        match (policy.models.iter().any(ModelSpec::needs_population), given) {
            (true, false) => Err(DeidentifyError::Population { problem: "is missing" }),
            _ => Ok(()),
        }
    }

    /// Kept columns that are no quasi-identifiers.
    pub(crate) fn kept_beside(&self, policy: &Policy) -> Vec<Kept> {
        let role = |column: &CodedColumn| policy.columns.get(&column.name).map(|column| column.role);
        let beside = |column: &Arc<CodedColumn>| match role(column) {
            Some(role @ (Role::Sensitive | Role::Insensitive)) => Some(Kept { role, coded: Arc::clone(column) }),
            _ => None,
        };
        self.columns.iter().filter_map(beside).collect()
    }

    pub(crate) fn prepare(
        &self,
        policy: &Policy,
        files: &BTreeMap<String, Vec<u8>>,
    ) -> Result<Prepared, DeidentifyError> {
        let rows = self.rows;
        Prepared::new(policy, files, rows, |name| self.column(name))
    }

    /// The best levels for several goals in one pass: a metric and the share of rows that may be suppressed.
    ///
    /// # Errors
    /// As for [`deidentify_file`].
    pub fn optima(
        &self,
        policy: &Policy,
        files: &BTreeMap<String, Vec<u8>>,
        goals: &[(Metric, f64)],
    ) -> Result<Optima, DeidentifyError> {
        self.check(policy)?;
        let prepared = self.prepare(policy, files)?;
        let limit = |share: f64| suppression_limit(&Policy { suppression_limit: share, ..policy.clone() }, self.rows);
        let goals: Vec<Goal> =
            goals.iter().map(|(metric, share)| Goal { metric: *metric, limit: limit(*share) }).collect();
        let outcome = prepared.optima(policy, files, &goals)?;
        let names = || prepared.columns.iter().map(|column| column.coded.name.clone());
        let optimum = |found: crate::search::Found| Optimum {
            levels: names().zip(found.levels).collect(),
            score: found.score,
            suppressed: found.suppressed,
            least_score: found.least_score,
        };
        let optima = outcome.found.into_iter().map(|found| found.map(optimum)).collect();
        Ok(Optima { optima, counted: outcome.counted })
    }

    /// Measures the risk of the table as it is.
    ///
    /// # Errors
    /// [`DeidentifyError::Columns`] when a quasi-identifier is not there.
    pub fn risk(
        &self,
        quasi_identifiers: &[String],
        threshold: f64,
        population: Option<u64>,
    ) -> Result<TableRisk, DeidentifyError> {
        let mut columns = Vec::new();
        for name in quasi_identifiers {
            let unknown = || DeidentifyError::Columns { column: name.clone(), problem: "not in the table" };
            columns.push(&**self.columns.iter().find(|column| column.name == *name).ok_or_else(unknown)?);
        }
        let (fields, words) = layout(columns.iter().map(|column| column.values.len()));
        /// Rows of the table and people of the population table in each class.
        fn sizes<const W: usize>(
            columns: &[&CodedColumn],
            fields: &[crate::grouping::Field],
            rows: usize,
        ) -> Vec<(u64, u64)> {
            let all = columns.first().map_or(rows, |column| column.codes.len());
            let (groups, of_row) = Groups::<W>::of_rows(all, |row| {
                let mut key = [0; W];
                for (field, column) in fields.iter().zip(columns) {
                    field.set(&mut key, column.codes[row]);
                }
                key
            });
            let mut counts = vec![(0, 0); groups.len()];
            of_row[..rows].iter().for_each(|group| counts[*group as usize].0 += 1);
            of_row[rows..].iter().for_each(|group| counts[*group as usize].1 += 1);
            counts
        }
        let counts = with_words!(words, sizes(&columns, &fields, self.rows));
        let classes = Classes::of(counts.iter().map(|(rows, _)| *rows));
        let mut risk = risks(&classes, threshold);
        let people = columns.first().map_or(self.rows, |column| column.codes.len()) - self.rows;
        if people > 0 {
            risk.population = Some(of_population(journalist(counts, threshold)));
        }
        let population = population.or((people > 0).then_some(people as u64));
        let unique = classes.by_size().get(&1).copied().unwrap_or(0);
        #[expect(clippy::cast_precision_loss, reason = "counts of rows are far below 2^53")]
        let unique_share = if self.rows == 0 { 0.0 } else { unique as f64 / self.rows as f64 };
        Ok(TableRisk {
            rows: self.rows as u64,
            quasi_identifiers: quasi_identifiers.to_vec(),
            classes: class_counts(&classes),
            unique_share,
            risk,
            threshold,
            population_uniques: population.map(|population| population_uniques(&classes, population)),
            special_uniques: None,
        })
    }

    /// Rows that are unique by few columns, by how many, and which columns make them so. `largest_size`: most columns
    /// together; 0: all of them. `population`: people in the population, to tell how likely a match is correct; those of
    /// the population table without it.
    ///
    /// # Errors
    /// [`DeidentifyError::Columns`] when a quasi-identifier is not there, or there are more than 64.
    pub fn special_uniques(
        &self,
        quasi_identifiers: &[String],
        largest_size: usize,
        population: Option<u64>,
    ) -> Result<SpecialUniques, DeidentifyError> {
        let mut columns: Vec<&[u32]> = Vec::new();
        let mut people = 0;
        for name in quasi_identifiers {
            let unknown = || DeidentifyError::Columns { column: name.clone(), problem: "not in the table" };
            let column = self.columns.iter().find(|column| column.name == *name).ok_or_else(unknown)?;
            people = (column.codes.len() - self.rows) as u64;
            columns.push(&column.codes[..self.rows]);
        }
        let population = population.or((people > 0).then_some(people));
        #[expect(clippy::cast_precision_loss, reason = "counts of rows are far below 2^53")]
        let fraction = population.map(|population| self.rows as f64 / population.max(1) as f64);
        suda2(&columns, largest_size, fraction).map_err(|refusal| {
            let column = quasi_identifiers.last().cloned().unwrap_or_default();
            let problem = match refusal {
                Suda2Refusal::Columns => "one column too many, or there is none",
                Suda2Refusal::Rows => "too long",
            };
            DeidentifyError::Columns { column, problem }
        })
    }

    /// Writes the released rows. They come in the order of what they hold, which says nothing about the order they had.
    fn write(&self, aside: &Aside<'_>, policy: &Policy, recoded: &Recoded) -> Result<(), DeidentifyError> {
        let kept: Vec<(&CodedColumn, Option<usize>)> = self
            .columns
            .iter()
            .filter(|column| policy.columns.get(&column.name).is_some_and(|column| column.role.is_released()))
            .map(|column| (&**column, recoded.columns.iter().position(|quasi| quasi.coded.name == column.name)))
            .collect();
        let (class_of, labels) = recoded.released_classes();
        let others: Vec<&CodedColumn> =
            kept.iter().filter(|(_, quasi)| quasi.is_none()).map(|(column, _)| *column).collect();
        let class = |row: u32| class_of[recoded.of_row[row as usize] as usize];
        let kept_rows = recoded.kept().map(|row| u32::try_from(row).expect("fewer than 2^32 rows"));
        let domains: Vec<usize> =
            std::iter::once(labels.len()).chain(others.iter().map(|column| column.values.len())).collect();
        let order = sort_rows(kept_rows, &domains, |at, row| match at.checked_sub(1) {
            None => class(row),
            Some(at) => others[at].codes[row as usize],
        });
        let columns = kept.iter().map(|(column, quasi)| {
            let exact = quasi.is_none_or(|at| recoded.levels_used(at).1 == 0);
            let kind = if exact { kept_type(self.types.get(&column.name)) } else { DataType::Utf8 };
            (column.name.clone(), kind)
        });
        let mut writer = aside.writer(columns.collect(), self.delimiter)?;
        let texts: Option<Vec<Vec<Box<[u8]>>>> = kept
            .iter()
            .map(|(column, quasi)| {
                // Those of quasi-identifiers are labels of classes.
                let values = column.values.iter().filter(|_| quasi.is_none());
                values.map(|value| writer.text(value.as_deref())).collect()
            })
            .collect();
        let label_texts: Option<Vec<Vec<Box<[u8]>>>> = match &texts {
            None => None,
            Some(_) => labels.iter().map(|labels| labels.iter().map(|label| writer.text(*label)).collect()).collect(),
        };
        // Codes are gathered column by column: reading them row by row would wait for memory once per field.
        let mut codes: Vec<Vec<u32>> = vec![Vec::with_capacity(GATHERED_ROWS); kept.len()];
        let mut classes = Vec::with_capacity(GATHERED_ROWS);
        for rows in order.chunks(GATHERED_ROWS) {
            classes.clear();
            classes.extend(rows.iter().map(|row| class(*row)));
            for ((column, _), codes) in kept.iter().zip(&mut codes).filter(|((_, quasi), _)| quasi.is_none()) {
                codes.clear();
                codes.extend(rows.iter().map(|row| column.codes[*row as usize]));
            }
            for (at, class) in classes.iter().enumerate() {
                let class = *class as usize;
                let fields = kept.iter().zip(&codes);
                match (&texts, &label_texts) {
                    (Some(texts), Some(label_texts)) => {
                        writer.row_of_texts(fields.zip(texts).map(|(((_, quasi), codes), texts)| match quasi {
                            Some(quasi) => &*label_texts[class][*quasi],
                            None => &*texts[codes[at] as usize],
                        }))?;
                    }
                    _ => writer.row(fields.map(|((column, quasi), codes)| match quasi {
                        Some(quasi) => labels[class][*quasi],
                        None => column.values[codes[at] as usize].as_deref(),
                    }))?,
                }
            }
        }
        writer.finish()
    }
}

/// Refuses columns of exact days that a policy would release as they are: by their type where there is one, by their text
/// elsewhere. Moved days are no days of anybody; see `date_shift`.
///
/// # Errors
/// [`DeidentifyError::Type`].
pub(crate) fn no_kept_days(
    policy: &Policy,
    columns: &[Arc<CodedColumn>],
    types: &BTreeMap<String, DataType>,
) -> Result<(), DeidentifyError> {
    for column in columns {
        let Some(settings) = policy.columns.get(&column.name) else { continue };
        let kept = matches!(settings.role, Role::Sensitive | Role::Insensitive);
        let shifted = settings.transform.as_ref().is_some_and(|transform| transform.shift);
        if kept && !shifted && (types.get(&column.name).is_some_and(is_of_days) || column.holds_days()) {
            return Err(DeidentifyError::Type { column: column.name.clone(), problem: KEPT_DAYS });
        }
    }
    Ok(())
}

/// What is wrong with a column of days that would be kept.
pub(crate) const KEPT_DAYS: &str =
    "days are kept by no release: make it a quasi-identifier, or a time since another event";

/// Whether a type is one of days.
pub(crate) fn is_of_days(kind: &DataType) -> bool {
    matches!(kind, DataType::Date32 | DataType::Date64 | DataType::Timestamp(..))
}

/// Where the columns of a part go. The first part makes the columns; a later one must have them all.
fn places(
    path: &Path,
    coders: &mut Vec<(String, Coder)>,
    headers: &[String],
    first: bool,
) -> Result<Vec<Option<usize>>, DeidentifyError> {
    if first {
        coders.extend(headers.iter().map(|header| (header.clone(), Coder::new(header))));
    } else if let Some((missing, _)) = coders.iter().find(|(name, _)| !headers.contains(name)) {
        return Err(wrong(path, format!("column {missing} of the table is missing")));
    }
    Ok(headers.iter().map(|header| coders.iter().position(|(name, _)| name == header)).collect())
}

impl Recoded {
    /// The class of each distinct tuple after recoding, and what its rows hold in each quasi-identifier. Classes are
    /// numbered in the order of their labels.
    pub(crate) fn released_classes(&self) -> (Vec<u32>, Vec<Vec<Option<&str>>>) {
        // Rank of each label in its column, for every level in use.
        let mut all: Vec<Vec<Option<&str>>> = Vec::new();
        let mut ranks: Vec<Vec<Vec<u32>>> = Vec::new();
        for (at, column) in self.columns.iter().enumerate() {
            let (lowest, highest) = self.levels_used(at);
            let mut labels: Vec<Option<&str>> =
                column.labels[lowest..=highest].iter().flatten().map(Option::as_deref).collect();
            labels.sort_unstable();
            labels.dedup();
            let rank = |label: &Option<String>| {
                let place = labels.binary_search(&label.as_deref()).unwrap_or(0);
                u32::try_from(place).expect("fewer than 2^32 labels")
            };
            ranks.push(column.labels.iter().map(|labels| labels.iter().map(rank).collect()).collect());
            all.push(labels);
        }
        let (fields, words) = layout(all.iter().map(Vec::len));
        fn group<const W: usize>(
            recoded: &Recoded,
            fields: &[crate::grouping::Field],
            ranks: &[Vec<Vec<u32>>],
        ) -> (Vec<u32>, Vec<Vec<u32>>) {
            let (groups, of_tuple) = Groups::<W>::of_rows(recoded.tuples.rows.len(), |tuple| {
                let mut key = [0; W];
                let levels = recoded.local.combinations.get(recoded.local.of_tuple[tuple] as usize);
                let (Some(levels), true) = (levels, recoded.tuples.rows[tuple] > 0) else { return key };
                for (at, column) in recoded.columns.iter().enumerate() {
                    let group = column.groups[levels[at]][recoded.tuples.code(tuple, at)];
                    fields[at].set(&mut key, ranks[at][levels[at]][group as usize]);
                }
                key
            });
            #[expect(clippy::cast_possible_truncation, reason = "a field is at most 32 bits")]
            let codes = |key| fields.iter().map(|field: &crate::grouping::Field| field.get(key) as u32).collect();
            (of_tuple, groups.keys.iter().map(codes).collect())
        }
        let (class_of, codes) = with_words!(words, group(self, &fields, &ranks));
        let labels = codes
            .iter()
            .map(|codes: &Vec<u32>| codes.iter().zip(&all).map(|(code, all)| all[*code as usize]).collect())
            .collect();
        (class_of, labels)
    }
}

/// De-identifies the table of a file into another file, recounts that file from disk, and gives it its name only then. A
/// table that might need more than `memory_bytes` is worked on from disk; the result is the same.
///
/// # Errors
/// [`DeidentifyError::Unreachable`] when no recoding satisfies the policy; others when table, policy and hierarchies do
/// not fit together, or a file cannot be read or written. Nothing is left under the name of `out` then.
pub fn deidentify_file(
    table: &Path,
    population: Option<&Path>,
    policy: &Policy,
    files: &BTreeMap<String, Vec<u8>>,
    out: &Path,
    memory_bytes: u64,
) -> Result<Receipt, DeidentifyError> {
    if policy.events.is_some() {
        if population.is_some() {
            return Err(DeidentifyError::Population { problem: "cannot be compared with where there are events" });
        }
        return crate::events::deidentify_events(table, None, policy, files, out);
    }
    if might_need(table)? > memory_bytes {
        return deidentify_large(table, population, policy, files, out);
    }
    let (mut read, row_work) = FileTable::read_for(table, population, policy, files)?;
    read.check(policy)?;
    let (sampling, steps) = row_work.map_or(Ok((None, Vec::new())), |work| work.finish(policy))?;
    let mut work = Work::before(policy, std::mem::take(&mut read.columns), read.rows, steps)?;
    let (whole, recoded) = loop {
        read.columns.clone_from(&work.columns);
        let prepared = read.prepare(policy, files)?;
        let whole = prepared.whole();
        let recoded = prepared.recode(policy, files)?;
        if !policy.transforms() {
            break (whole, recoded);
        }
        let kept: Vec<usize> = recoded.kept().collect();
        if !work.again(&kept)? {
            let (class_of, _) = recoded.released_classes();
            work.after(policy, &recoded, &kept, |row| class_of[recoded.of_row[row] as usize])?;
            read.take(&work);
            break (whole, recoded);
        }
    };
    let aside = Aside::new(out);
    read.write(&aside, policy, &recoded)?;
    let beside = Beside { whole: Some(&whole), hierarchy_files: Some(files), population };
    let receipt =
        aside.recount_and_name(policy, &beside, &recoded, &read.kept_beside(policy), policy.attacks.extent)?;
    Ok(with_transformations(receipt, policy, work.steps, sampling))
}

/// Memory that a table might need, in bytes: what text takes is near what its codes do, packed text is some times larger
/// than its file.
fn might_need(table: &Path) -> Result<u64, DeidentifyError> {
    let failed = |error: std::io::Error| wrong(table, format!("cannot be read: {}", error.kind()));
    let size = std::fs::metadata(table).map_err(failed)?.len();
    let mut start = [0; 2];
    let read = File::open(table).and_then(|mut file| file.read(&mut start)).map_err(failed)?;
    let packed = is_parquet(table) || (read == 2 && start == [0x1f, 0x8b]);
    Ok(if packed { size.saturating_mul(8) } else { size })
}

/// A released table that has no name yet. It is removed unless it gets one.
pub(crate) struct Aside<'a> {
    out: &'a Path,
    path: std::path::PathBuf,
}

impl<'a> Aside<'a> {
    pub(crate) fn new(out: &'a Path) -> Self {
        let mut path = out.as_os_str().to_owned();
        path.push(".part");
        Self { out, path: path.into() }
    }

    /// A writer of rows with these columns: CSV, or Parquet where the name asks for it.
    pub(crate) fn writer(&self, columns: Vec<(String, DataType)>, delimiter: u8) -> Result<Writer, DeidentifyError> {
        Writer::create(&self.path, self.out, columns, delimiter)
    }

    /// Where it lies without its name.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives it its name.
    pub(crate) fn name(self) -> Result<(), DeidentifyError> {
        let failed = |error: std::io::Error| wrong(self.out, format!("cannot be written: {}", error.kind()));
        std::fs::rename(&self.path, self.out).map_err(failed)
    }

    /// Recounts what was written, attacks it, and gives it its name.
    pub(crate) fn recount_and_name(
        self,
        policy: &Policy,
        beside: &Beside<'_>,
        recoded: &Recoded,
        kept: &[Kept],
        extent: Extent,
    ) -> Result<Receipt, DeidentifyError> {
        let recount = recount_beside(&self.path, policy, beside)?;
        if recount.models.iter().any(Option::is_none) {
            // What was not rechecked does not leave.
            return Err(DeidentifyError::Population { problem: "is missing" });
        }
        let attacks = attack(policy, recoded, kept, &recount, extent)?;
        self.name()?;
        Ok(receipt(policy, recoded, &recount, attacks))
    }
}

impl Drop for Aside<'_> {
    fn drop(&mut self) {
        // What did not pass must not lie about; with its name it is no longer here.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Writes released rows.
pub(crate) struct Writer {
    out: std::path::PathBuf,
    columns: Vec<(String, DataType)>,
    sink: Sink,
}

enum Sink {
    Csv { file: BufWriter<File>, delimiter: u8, row: Vec<u8> },
    Parquet { writer: Box<ParquetFile>, pending: Vec<StringBuilder> },
}

/// Rows of a batch of a Parquet file.
const BATCH_ROWS: usize = 65_536;

impl Writer {
    fn create(
        path: &Path,
        out: &Path,
        columns: Vec<(String, DataType)>,
        delimiter: u8,
    ) -> Result<Self, DeidentifyError> {
        let failed = |error: std::io::Error| wrong(out, format!("cannot be written: {}", error.kind()));
        let file = File::create(path).map_err(failed)?;
        let sink = if is_named_parquet(out) {
            let fields: Vec<Field> = columns.iter().map(|(name, kind)| Field::new(name, kind.clone(), true)).collect();
            let writer = Box::new(ParquetFile::create("released", file, Arc::new(Schema::new(fields)))?);
            Sink::Parquet { writer, pending: columns.iter().map(|_| StringBuilder::new()).collect() }
        } else {
            Sink::Csv { file: BufWriter::with_capacity(1 << 16, file), delimiter, row: Vec::new() }
        };
        let names: Vec<String> = columns.iter().map(|(name, _)| name.clone()).collect();
        let mut writer = Self { out: out.to_owned(), columns, sink };
        if let Sink::Csv { .. } = writer.sink {
            writer.row(names.iter().map(|name| Some(name.as_str())))?;
        }
        Ok(writer)
    }

    pub(crate) fn row<'v>(&mut self, fields: impl Iterator<Item = Option<&'v str>>) -> Result<(), DeidentifyError> {
        match &mut self.sink {
            Sink::Csv { file, delimiter, row } => {
                row.clear();
                for field in fields {
                    append_field(row, field.unwrap_or_default(), *delimiter);
                    row.push(*delimiter);
                }
                end_row(row);
                file.write_all(row).map_err(|error| unwritable(&self.out, &error))
            }
            Sink::Parquet { pending, .. } => {
                pending.iter_mut().zip(fields).for_each(|(column, field)| column.append_option(field));
                if pending.first().is_some_and(|column| column.len() >= BATCH_ROWS) { self.batch() } else { Ok(()) }
            }
        }
    }

    /// A field as it stands in a row, for [`Writer::row_of_texts`]; `None` where rows are not text.
    pub(crate) fn text(&self, field: Option<&str>) -> Option<Box<[u8]>> {
        match &self.sink {
            Sink::Csv { delimiter, .. } => Some(field_text(field, *delimiter)),
            Sink::Parquet { .. } => None,
        }
    }

    /// As [`Writer::row`], of fields that are ready: each value is looked at once, not in every row.
    pub(crate) fn row_of_texts<'v>(&mut self, fields: impl Iterator<Item = &'v [u8]>) -> Result<(), DeidentifyError> {
        let Sink::Csv { file, delimiter, row } = &mut self.sink else { return Ok(()) };
        row.clear();
        for field in fields {
            row.extend_from_slice(field);
            row.push(*delimiter);
        }
        end_row(row);
        file.write_all(row).map_err(|error| unwritable(&self.out, &error))
    }

    /// Writes the rows that wait for a full batch.
    fn batch(&mut self) -> Result<(), DeidentifyError> {
        let Sink::Parquet { writer, pending } = &mut self.sink else { return Ok(()) };
        let failed = |source| FrameError::Arrow { table: "released".to_owned(), source };
        let mut arrays: Vec<ArrayRef> = Vec::new();
        for ((_, kind), column) in self.columns.iter().zip(pending) {
            arrays.push(cast(&column.finish(), kind).map_err(failed)?);
        }
        let fields: Vec<Field> = self.columns.iter().map(|(name, kind)| Field::new(name, kind.clone(), true)).collect();
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).map_err(failed)?;
        Ok(writer.write(&batch)?)
    }

    /// Writes what is left and waits until it is on disk.
    pub(crate) fn finish(mut self) -> Result<(), DeidentifyError> {
        self.batch()?;
        let failed = |error: std::io::Error| unwritable(&self.out, &error);
        match self.sink {
            Sink::Csv { mut file, .. } => {
                file.flush().map_err(failed)?;
                file.get_ref().sync_all().map_err(failed)
            }
            Sink::Parquet { writer, .. } => writer.finish()?.sync_all().map_err(failed),
        }
    }
}

/// Ends a row of CSV whose last field has a delimiter behind it. One empty field alone would be no row.
fn end_row(row: &mut Vec<u8>) {
    row.pop();
    if row.is_empty() {
        row.extend_from_slice(b"\"\"");
    }
    row.push(b'\n');
}

fn unwritable(out: &Path, error: &std::io::Error) -> DeidentifyError {
    wrong(out, format!("cannot be written: {}", error.kind()))
}

/// The type in which a kept column is written to Parquet: its own where text leads back to it, text elsewhere.
pub(crate) fn kept_type(own: Option<&DataType>) -> DataType {
    match own {
        Some(kind) if kind.is_integer() || kind.is_floating() => kind.clone(),
        Some(kind @ (DataType::Boolean | DataType::Date32)) => kind.clone(),
        _ => DataType::Utf8,
    }
}

/// Recounts a file, row by row as text, and checks that it satisfies a policy. `whole`: values of the sensitive columns
/// before rows were suppressed, for models that compare with them.
///
/// # Errors
/// [`DeidentifyError::Recount`], [`DeidentifyError::NotDiverse`] or [`DeidentifyError::Model`] when it does not;
/// [`DeidentifyError::Columns`] when a column is there that the policy removes or does not know, or a quasi-identifier
/// is missing.
pub fn recount(
    table: &Path,
    policy: &Policy,
    files: &BTreeMap<String, Vec<u8>>,
    whole: Option<&BTreeMap<String, BTreeMap<String, u64>>>,
) -> Result<Recount, DeidentifyError> {
    recount_beside(table, policy, &Beside { whole, hierarchy_files: Some(files), population: None })
}

/// Recounts a file, and compares it with whatever is given: see [`Beside`].
///
/// # Errors
/// As [`recount`]; [`DeidentifyError::Untransformed`] when a value is there that a transformation should have changed.
pub fn recount_beside(table: &Path, policy: &Policy, beside: &Beside<'_>) -> Result<Recount, DeidentifyError> {
    policy.check()?;
    let mut rows = Rows::open(table)?;
    for header in &rows.headers {
        let role = policy.columns.get(header).map(|column| column.role);
        if !matches!(role, Some(Role::QuasiIdentifier | Role::Sensitive | Role::Insensitive)) {
            let problem = "released although the policy removes it or does not know it";
            return Err(DeidentifyError::Columns { column: header.clone(), problem });
        }
    }
    let place = |role: Role| -> Result<Vec<usize>, DeidentifyError> {
        let find = |name: &str| rows.headers.iter().position(|header| header == name);
        let missing = |name: &str| DeidentifyError::Columns {
            column: name.to_owned(),
            problem: "in the policy but not in the table",
        };
        policy.of_role(role).map(|(name, _)| find(name).ok_or_else(|| missing(name))).collect()
    };
    let (quasi_identifiers, sensitive) = (place(Role::QuasiIdentifier)?, place(Role::Sensitive)?);
    let names: Vec<&str> = policy.of_role(Role::Sensitive).map(|(name, _)| name).collect();
    let mut recounter = Recounter::new(&names);
    let mut values = ValueChecks::new(policy, &rows.headers, beside.hierarchy_files)?;
    while rows.next()? {
        let field = |at: &usize| rows.field(*at);
        recounter.row(quasi_identifiers.iter().map(field), sensitive.iter().map(field));
        if let Some(values) = &mut values {
            values.row(|at| rows.field(at));
        }
    }
    if let Some(values) = values {
        values.finish()?;
    }
    recounter.finish(policy, beside)
}

/// Reads a plan of shifts from TOML text, and its key from the folder that it lies in.
///
/// # Errors
/// [`DeidentifyError::Policy`] with the line; [`DeidentifyError::Key`].
pub fn read_shift_plan(path: &Path) -> Result<(ShiftPlan, ShiftKey), DeidentifyError> {
    let plan: ShiftPlan = from_toml(path)?;
    let key = ShiftKey::read(&path.parent().unwrap_or(Path::new("")).join(&plan.key))?;
    Ok((plan, key))
}

fn from_toml<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, DeidentifyError> {
    let text =
        std::fs::read_to_string(path).map_err(|error| wrong(path, format!("cannot be read: {}", error.kind())))?;
    toml::from_str(&text).map_err(|error| {
        let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
        DeidentifyError::Policy { message: format!("line {line}: {}", error.message()) }
    })
}

/// Reads a policy from TOML text, and the hierarchy files it names from the folder that it lies in.
///
/// # Errors
/// [`DeidentifyError::Policy`] with the line; [`DeidentifyError::File`] when a hierarchy file is not there.
pub fn read_policy(path: &Path) -> Result<(Policy, BTreeMap<String, Vec<u8>>), DeidentifyError> {
    let policy: Policy = from_toml(path)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut files = BTreeMap::new();
    for name in policy.hierarchy_files().into_iter().chain(policy.key_files()) {
        let file = folder.join(name);
        let bytes = std::fs::read(&file).map_err(|error| wrong(&file, format!("cannot be read: {}", error.kind())))?;
        files.insert(name.to_owned(), bytes);
    }
    Ok((policy, files))
}
