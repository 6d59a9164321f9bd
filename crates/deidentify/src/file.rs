//! Tables in files, without a node: read, de-identify, write, recount.
//!
//! CSV with a header row (comma, semicolon, tab or bar; plain or gzip) and Parquet. An empty field of a CSV is a missing
//! value. What is written is read back from disk and recounted before it gets its name.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::Path;
use std::sync::Arc;

use acequia_frame::Table;
use acequia_privacy::{
    Classes, Metric, PopulationUniques, SpecialUniques, Suda2Refusal, journalist, population_uniques, suda2,
};
use serde::Serialize;

use crate::DeidentifyError;
use crate::attack::{Kept, attack};
use crate::coded::{CodedColumn, Coder};
use crate::engine::{Prepared, Recoded, suppression_limit};
use crate::grouping::{Groups, layout};
use crate::policy::{ModelSpec, Policy, Role};
use crate::proof::{ClassCounts, Receipt, Risks};
use crate::receipt::{class_counts, of_population, receipt, risks};
use crate::search::{Goal, with_words};
use crate::verify::{Beside, Recount, Recounter};

/// A table of a file as coded columns.
#[derive(Debug)]
pub struct FileTable {
    columns: Vec<Arc<CodedColumn>>,
    rows: usize,
    delimiter: u8,
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

fn wrong(path: &Path, problem: impl Into<String>) -> DeidentifyError {
    let file = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    DeidentifyError::File { file, problem: problem.into() }
}

fn is_parquet(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("parquet"))
}

/// Rows of a CSV file.
struct CsvRows {
    reader: csv::Reader<Box<dyn Read>>,
    headers: Vec<String>,
    delimiter: u8,
    record: csv::StringRecord,
}

impl CsvRows {
    fn open(path: &Path) -> Result<Self, DeidentifyError> {
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
        let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).from_reader(Box::new(plain) as Box<dyn Read>);
        let headers: Vec<String> =
            reader.headers().map_err(|error| bad_row(path, &error))?.iter().map(str::to_owned).collect();
        let mut names: Vec<&String> = headers.iter().collect();
        names.sort_unstable();
        if headers.iter().all(String::is_empty) {
            return Err(wrong(path, "the file is empty"));
        }
        if names.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(wrong(path, "two columns have the same name"));
        }
        Ok(Self { reader, headers, delimiter, record: csv::StringRecord::new() })
    }

    fn next(&mut self, path: &Path) -> Result<Option<&csv::StringRecord>, DeidentifyError> {
        let more = self.reader.read_record(&mut self.record).map_err(|error| bad_row(path, &error))?;
        Ok(more.then_some(&self.record))
    }
}

fn bad_row(path: &Path, error: &csv::Error) -> DeidentifyError {
    let line = error.position().map_or(1, csv::Position::line);
    let problem = match error.kind() {
        csv::ErrorKind::UnequalLengths { expected_len, len, .. } => {
            format!("row {line} has {len} fields where {expected_len} are expected")
        }
        csv::ErrorKind::Utf8 { .. } => format!("row {line} is not UTF-8"),
        csv::ErrorKind::Io(error) => format!("cannot be read: {}", error.kind()),
        _ => format!("row {line} cannot be read"),
    };
    wrong(path, problem)
}

fn parquet(path: &Path) -> Result<Table, DeidentifyError> {
    let bytes = std::fs::read(path).map_err(|error| wrong(path, format!("cannot be read: {}", error.kind())))?;
    Ok(Table::from_parquet("table", bytes.into())?)
}

fn present(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

impl FileTable {
    /// Reads a table, and behind its rows those of a population table where one is given.
    ///
    /// # Errors
    /// [`DeidentifyError::File`], with the row.
    pub fn read(path: &Path, population: Option<&Path>) -> Result<Self, DeidentifyError> {
        let mut coders: Vec<(String, Coder)> = Vec::new();
        let mut delimiter = b',';
        let mut rows = 0;
        for (part, path) in std::iter::once(path).chain(population).enumerate() {
            let count = if is_parquet(path) {
                let table = parquet(path)?;
                let headers: Vec<String> = table.schema().fields().iter().map(|field| field.name().clone()).collect();
                let place = places(path, &mut coders, &headers, part == 0)?;
                for (at, header) in place.iter().zip(&headers) {
                    let column = CodedColumn::of(&table, header)?;
                    if let Some(at) = at {
                        (0..table.rows()).for_each(|row| coders[*at].1.push(column.value(row)));
                    }
                }
                table.rows()
            } else {
                let mut csv = CsvRows::open(path)?;
                let place = places(path, &mut coders, &csv.headers, part == 0)?;
                if part == 0 {
                    delimiter = csv.delimiter;
                }
                let mut count = 0;
                while let Some(record) = csv.next(path)? {
                    count += 1;
                    for (at, field) in place.iter().zip(record) {
                        if let Some(at) = at {
                            coders[*at].1.push(present(field));
                        }
                    }
                }
                count
            };
            if part == 0 {
                rows = count;
            }
        }
        let columns = coders.into_iter().map(|(_, coder)| Arc::new(coder.finish())).collect();
        Ok(Self { columns, rows, delimiter })
    }

    /// Number of rows, those of a population table not counted.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Names of the columns, in the order of the file.
    pub fn column_names(&self) -> Vec<&str> {
        self.columns.iter().map(|column| column.name.as_str()).collect()
    }

    fn column(&self, name: &str) -> Result<Arc<CodedColumn>, DeidentifyError> {
        let unknown =
            || DeidentifyError::Columns { column: name.to_owned(), problem: "in the policy but not in the table" };
        self.columns.iter().find(|column| column.name == name).cloned().ok_or_else(unknown)
    }

    fn check(&self, policy: &Policy) -> Result<(), DeidentifyError> {
        policy.check()?;
        if let Some(column) = self.columns.iter().find(|column| !policy.columns.contains_key(&column.name)) {
            let problem = "in the table but not in the policy";
            return Err(DeidentifyError::Columns { column: column.name.clone(), problem });
        }
        if let Some((name, _)) = policy.of_role(Role::PersonId).next() {
            let column = self.columns.iter().find(|column| column.name == name);
            if column.is_some_and(|column| column.values.len() != self.rows || column.values.first() == Some(&None)) {
                return Err(DeidentifyError::NotOneRowPerPerson { column: name.to_owned() });
            }
        }
        let given = self.columns.iter().any(|column| column.codes.len() > self.rows);
        match (policy.models.iter().any(ModelSpec::needs_population), given) {
            (true, false) => Err(DeidentifyError::Population { problem: "is missing" }),
            _ => Ok(()),
        }
    }

    /// Kept columns that are no quasi-identifiers.
    fn kept_beside(&self, policy: &Policy) -> Vec<Kept> {
        let role = |column: &CodedColumn| policy.columns.get(&column.name).map(|column| column.role);
        let beside = |column: &Arc<CodedColumn>| match role(column) {
            Some(role @ (Role::Sensitive | Role::Insensitive)) => Some(Kept { role, coded: Arc::clone(column) }),
            _ => None,
        };
        self.columns.iter().filter_map(beside).collect()
    }

    fn prepare(&self, policy: &Policy, files: &BTreeMap<String, Vec<u8>>) -> Result<Prepared, DeidentifyError> {
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
    fn write(&self, path: &Path, policy: &Policy, recoded: &Recoded) -> Result<(), DeidentifyError> {
        let failed = |error: std::io::Error| wrong(path, format!("cannot be written: {}", error.kind()));
        let kept: Vec<(usize, &CodedColumn, Option<usize>)> = self
            .columns
            .iter()
            .enumerate()
            .filter(|(_, column)| {
                let role = policy.columns.get(&column.name).map(|column| column.role);
                matches!(role, Some(Role::QuasiIdentifier | Role::Sensitive | Role::Insensitive))
            })
            .map(|(at, column)| {
                (at, &**column, recoded.columns.iter().position(|quasi| quasi.coded.name == column.name))
            })
            .collect();
        let (class_of, labels) = recoded.released_classes();
        let others: Vec<&CodedColumn> =
            kept.iter().filter(|(_, _, quasi)| quasi.is_none()).map(|(_, column, _)| *column).collect();
        let mut order: Vec<u32> = recoded.kept().map(|row| u32::try_from(row).expect("fewer than 2^32 rows")).collect();
        let class = |row: u32| class_of[recoded.of_row[row as usize] as usize];
        order.sort_unstable_by(|a, b| {
            let codes = |row: u32| others.iter().map(move |column| column.codes[row as usize]);
            class(*a).cmp(&class(*b)).then_with(|| codes(*a).cmp(codes(*b)))
        });
        let file = BufWriter::with_capacity(1 << 16, File::create(path).map_err(failed)?);
        let mut writer = csv::WriterBuilder::new().delimiter(self.delimiter).from_writer(file);
        let csv_failed = |_: csv::Error| wrong(path, "cannot be written");
        writer.write_record(kept.iter().map(|(_, column, _)| column.name.as_str())).map_err(csv_failed)?;
        for row in order {
            let labels = &labels[class(row) as usize];
            for (_, column, quasi) in &kept {
                let text = match quasi {
                    Some(at) => labels[*at],
                    None => column.value(row as usize),
                };
                writer.write_field(text.unwrap_or_default()).map_err(csv_failed)?;
            }
            writer.write_record(None::<&[u8]>).map_err(csv_failed)?;
        }
        let mut file = writer.into_inner().map_err(|_| wrong(path, "cannot be written"))?;
        file.flush().map_err(failed)?;
        file.get_ref().sync_all().map_err(failed)
    }
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
    fn released_classes(&self) -> (Vec<u32>, Vec<Vec<Option<&str>>>) {
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
        // One row of each tuple tells its codes.
        let mut row_of = vec![usize::MAX; self.local.of_tuple.len()];
        for (row, tuple) in self.of_row.iter().enumerate() {
            row_of[*tuple as usize] = row;
        }
        fn group<const W: usize>(
            recoded: &Recoded,
            fields: &[crate::grouping::Field],
            ranks: &[Vec<Vec<u32>>],
            row_of: &[usize],
        ) -> (Vec<u32>, Vec<Vec<u32>>) {
            let (groups, of_tuple) = Groups::<W>::of_rows(row_of.len(), |tuple| {
                let mut key = [0; W];
                let levels = recoded.local.combinations.get(recoded.local.of_tuple[tuple] as usize);
                let (Some(levels), true) = (levels, row_of[tuple] != usize::MAX) else { return key };
                for (at, column) in recoded.columns.iter().enumerate() {
                    let group = column.groups[levels[at]][column.coded.codes[row_of[tuple]] as usize];
                    fields[at].set(&mut key, ranks[at][levels[at]][group as usize]);
                }
                key
            });
            #[expect(clippy::cast_possible_truncation, reason = "a field is at most 32 bits")]
            let codes = |key| fields.iter().map(|field: &crate::grouping::Field| field.get(key) as u32).collect();
            (of_tuple, groups.keys.iter().map(codes).collect())
        }
        let (class_of, codes) = with_words!(words, group(self, &fields, &ranks, &row_of));
        let labels = codes
            .iter()
            .map(|codes: &Vec<u32>| codes.iter().zip(&all).map(|(code, all)| all[*code as usize]).collect())
            .collect();
        (class_of, labels)
    }
}

/// De-identifies the table of a file into another file, recounts that file from disk, and gives it its name only then.
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
) -> Result<Receipt, DeidentifyError> {
    if is_parquet(out) {
        return Err(wrong(out, "the released table is written as CSV; name it so"));
    }
    let read = FileTable::read(table, population)?;
    read.check(policy)?;
    let prepared = read.prepare(policy, files)?;
    let whole = prepared.whole();
    let recoded = prepared.recode(policy, files)?;
    let mut aside = out.as_os_str().to_owned();
    aside.push(".part");
    let aside = Path::new(&aside);
    let recount = read.write(aside, policy, &recoded).and_then(|()| recount(aside, policy, files, Some(&whole)));
    let named = recount.and_then(|recount| {
        let failed = |error: std::io::Error| wrong(out, format!("cannot be written: {}", error.kind()));
        let attacks = attack(policy, &recoded, &read.kept_beside(policy), &recount, policy.attacks.extent)?;
        std::fs::rename(aside, out).map_err(failed)?;
        Ok(receipt(policy, &recoded, &recount, attacks))
    });
    if named.is_err() {
        // What did not pass must not lie about; it may never have been made.
        let _ = std::fs::remove_file(aside);
    }
    named
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
    policy.check()?;
    let beside = Beside { whole, hierarchy_files: Some(files) };
    if is_parquet(table) {
        return crate::verify::verify(&parquet(table)?, policy, &beside);
    }
    let mut csv = CsvRows::open(table)?;
    for header in &csv.headers {
        let role = policy.columns.get(header).map(|column| column.role);
        if !matches!(role, Some(Role::QuasiIdentifier | Role::Sensitive | Role::Insensitive)) {
            let problem = "released although the policy removes it or does not know it";
            return Err(DeidentifyError::Columns { column: header.clone(), problem });
        }
    }
    let place = |role: Role| -> Result<Vec<usize>, DeidentifyError> {
        let find = |name: &str| csv.headers.iter().position(|header| header == name);
        let missing = |name: &str| DeidentifyError::Columns {
            column: name.to_owned(),
            problem: "in the policy but not in the table",
        };
        policy.of_role(role).map(|(name, _)| find(name).ok_or_else(|| missing(name))).collect()
    };
    let (quasi_identifiers, sensitive) = (place(Role::QuasiIdentifier)?, place(Role::Sensitive)?);
    let names: Vec<&str> = policy.of_role(Role::Sensitive).map(|(name, _)| name).collect();
    let mut recounter = Recounter::new(&names);
    while let Some(record) = csv.next(table)? {
        let field = |at: &usize| record.get(*at).and_then(present);
        recounter.row(quasi_identifiers.iter().map(field), sensitive.iter().map(field));
    }
    recounter.finish(policy, &beside)
}

/// Reads a policy from TOML text, and the hierarchy files it names from the folder that it lies in.
///
/// # Errors
/// [`DeidentifyError::Policy`] with the line; [`DeidentifyError::File`] when a hierarchy file is not there.
pub fn read_policy(path: &Path) -> Result<(Policy, BTreeMap<String, Vec<u8>>), DeidentifyError> {
    let text =
        std::fs::read_to_string(path).map_err(|error| wrong(path, format!("cannot be read: {}", error.kind())))?;
    let policy: Policy = toml::from_str(&text).map_err(|error| {
        let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
        DeidentifyError::Policy { message: format!("line {line}: {}", error.message()) }
    })?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut files = BTreeMap::new();
    for name in policy.hierarchy_files() {
        let file = folder.join(name);
        let bytes = std::fs::read(&file).map_err(|error| wrong(&file, format!("cannot be read: {}", error.kind())))?;
        files.insert(name.to_owned(), bytes);
    }
    Ok((policy, files))
}
