//! Rows of a site's table, read once, kept as numbers. Texts of records are dropped at once and never shown.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use acequia_frame::Table;
use acequia_types::{Digest, digest_named, spreadsheet_undone};
use arrow::array::{Array, RecordBatch};
use arrow::datatypes::Schema;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use serde::{Deserialize, Serialize};

use crate::LearnError;
use crate::image::add_pixels;
use crate::plan::{CensoredAt, Cohort, Condition, Missing, Outcome};
use crate::variable::{Step, Unfit, Value, Variable, apply, check_steps, evaluate};

/// How a site's columns become those a plan speaks of. Written by the site, beside its table, as `NAME.site.toml`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SiteMap {
    /// For a column of the plan: the site's column and what is done with it.
    #[serde(default)]
    pub columns: BTreeMap<String, MappedColumn>,
    /// The outcome, where the site records follow-up in other columns than the plan says.
    #[serde(default)]
    pub outcome: Option<Outcome>,
    /// The site's column that names persons. No plan may use it, and by it persons are told apart where rows are counted and cohorts
    /// compared; without it, rows are by all of their text.
    #[serde(default)]
    pub person: Option<String>,
}

/// Where a column of the plan comes from at this site.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MappedColumn {
    /// The site's column.
    pub column: String,
    /// What is done with it.
    #[serde(default)]
    pub steps: Vec<Step>,
}

impl SiteMap {
    /// Reads a site's map in TOML.
    ///
    /// # Errors
    /// [`LearnError::Plan`] with the line.
    pub fn from_toml(text: &str) -> Result<Self, LearnError> {
        let map: Self = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
            LearnError::Plan { message: format!("the site's map, line {line}: {}", error.message()) }
        })?;
        for (name, column) in &map.columns {
            check_steps(name, &column.steps)?;
        }
        Ok(map)
    }
}

/// What is needed of a table.
#[derive(Debug, Clone, Copy)]
pub struct Needs<'a> {
    /// Whose rows count.
    pub cohort: &'a Cohort,
    /// What is to be explained.
    pub outcome: Option<&'a Outcome>,
    /// What explains.
    pub variables: &'a [Variable],
    /// Which variables a row may lack: NaN stands for what is not there. None where this is empty.
    pub may_lack: &'a [bool],
    /// Columns kept as text, for subgroups.
    pub groups: &'a [String],
}

/// What was observed of each row.
#[derive(Debug, Clone, PartialEq)]
pub enum Observed {
    /// Nothing was asked for.
    Nothing,
    /// Days to the event or to the end of follow-up, and whether it is the event.
    Survival {
        /// Days.
        time: Vec<f64>,
        /// Whether the event happened.
        event: Vec<bool>,
    },
    /// A number.
    Number(Vec<f64>),
}

/// A site's rows as numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Data {
    pub(crate) name: String,
    pub(crate) rows: usize,
    pub(crate) width: usize,
    /// Row after row.
    pub(crate) x: Vec<f64>,
    pub(crate) observed: Observed,
    /// Text columns for subgroups, in the order asked for.
    pub(crate) groups: Vec<Vec<String>>,
    /// One number per row, from the whole text of the row. Two tables share a number where they share a row.
    pub(crate) marks: Vec<u64>,
    /// One number per row, from the column that names persons, or the mark where none does.
    pub(crate) persons: Vec<u64>,
    /// Rows that lack a value.
    pub(crate) dropped: u64,
    /// Rows outside the cohort.
    pub(crate) outside: u64,
}

impl Data {
    /// Reads the rows of a CSV (plain or gzip; comma, semicolon, tab or bar) or Parquet file. `name` names the site in errors.
    ///
    /// # Errors
    /// [`LearnError::Table`], [`LearnError::NoColumn`] or [`LearnError::Cell`], with row and column and no value.
    pub fn read(name: &str, path: &Path, needs: &Needs<'_>, map: &SiteMap) -> Result<Self, LearnError> {
        let unreadable = |error: std::io::Error| LearnError::File { what: name.to_owned(), problem: error.kind() };
        let mut file = BufReader::with_capacity(1 << 16, File::open(path).map_err(unreadable)?);
        if file.fill_buf().map_err(unreadable)?.starts_with(b"PAR1") {
            return Self::from_parquet(name, File::open(path).map_err(unreadable)?, path.parent(), needs, map);
        }
        let packed = file.fill_buf().map_err(unreadable)?.starts_with(&[0x1f, 0x8b]);
        let plain: Box<dyn Read> =
            if packed { Box::new(flate2::bufread::MultiGzDecoder::new(file)) } else { Box::new(file) };
        Self::of_csv(name, plain, path.parent(), needs, map)
    }

    /// Reads CSV text; see [`Data::read`]. There are no images beside it.
    ///
    /// # Errors
    /// As [`Data::read`].
    pub fn from_csv(name: &str, plain: impl Read, needs: &Needs<'_>, map: &SiteMap) -> Result<Self, LearnError> {
        Self::of_csv(name, plain, None, needs, map)
    }

    fn of_csv(
        name: &str,
        plain: impl Read,
        folder: Option<&Path>,
        needs: &Needs<'_>,
        map: &SiteMap,
    ) -> Result<Self, LearnError> {
        let broken = |problem: String| LearnError::Table { table: name.to_owned(), problem };
        let unreadable = |error: std::io::Error| broken(format!("cannot be read: {}", error.kind()));
        let mut plain = BufReader::with_capacity(1 << 16, plain);
        if plain.fill_buf().map_err(unreadable)?.starts_with(&[0xef, 0xbb, 0xbf]) {
            plain.consume(3);
        }
        let first = plain.fill_buf().map_err(unreadable)?;
        let line = first.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let count = |delimiter: u8| line.iter().filter(|byte| **byte == delimiter).count();
        let delimiter = [b',', b';', b'\t', b'|'].into_iter().max_by_key(|d| (count(*d), *d == b',')).unwrap_or(b',');
        let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).from_reader(plain);
        let header = reader.headers().map_err(|error| broken(bad_row(&error)))?;
        let headers: Vec<String> = header.iter().map(|name| name.trim().to_owned()).collect();
        let mut builder = Builder::new(name, &headers, folder, needs, map)?;
        let mut record = csv::StringRecord::new();
        while reader.read_record(&mut record).map_err(|error| broken(bad_row(&error)))? {
            builder.push(&|column| spreadsheet_undone(record.get(column).unwrap_or_default()), record.len())?;
        }
        Ok(builder.finish())
    }

    fn from_parquet(
        name: &str,
        file: File,
        folder: Option<&Path>,
        needs: &Needs<'_>,
        map: &SiteMap,
    ) -> Result<Self, LearnError> {
        let damaged =
            || LearnError::Table { table: name.to_owned(), problem: "the Parquet file is damaged".to_owned() };
        let (schema, batches) = Table::parquet_batches(name, file).map_err(|_| damaged())?;
        let mut builder = Builder::of_schema(name, &schema, folder, needs, map)?;
        for batch in batches {
            builder.push_batch(&batch.map_err(|_| damaged())?)?;
        }
        Ok(builder.finish())
    }

    /// Takes the rows of a table in memory; see [`Data::read`]. There are no images beside it.
    ///
    /// # Errors
    /// As [`Data::read`].
    pub fn from_table(name: &str, table: &Table, needs: &Needs<'_>, map: &SiteMap) -> Result<Self, LearnError> {
        let mut builder = Builder::of_schema(name, table.schema(), None, needs, map)?;
        for batch in table.batches() {
            builder.push_batch(batch)?;
        }
        Ok(builder.finish())
    }

    /// Name of the site.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Tells tables with other rows apart. It stays where the rows are.
    pub fn digest(&self) -> Digest {
        let marks: Vec<u8> = self.marks.iter().flat_map(|mark| mark.to_le_bytes()).collect();
        digest_named("acequia rows 1", [("rows", marks.as_slice())])
    }

    /// Names all rows that a site holds for a run, in whatever tables.
    pub fn held(tables: &[Self]) -> Digest {
        let parts: Vec<Digest> = tables.iter().map(Self::digest).collect();
        digest_named("acequia held 1", parts.iter().map(|part| ("table", part.as_bytes().as_slice())))
    }

    /// Rows that count.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Rows left out because they lack a value.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Rows outside the cohort.
    pub fn outside(&self) -> u64 {
        self.outside
    }

    /// Rows with the event; for an outcome of 0 and 1, rows with 1.
    pub fn events(&self) -> u64 {
        match &self.observed {
            Observed::Nothing => 0,
            Observed::Survival { event, .. } => event.iter().filter(|event| **event).count() as u64,
            Observed::Number(values) => values.iter().filter(|value| **value == 1.0).count() as u64,
        }
    }

    /// Variables of a row.
    pub(crate) fn row(&self, row: usize) -> &[f64] {
        &self.x[row * self.width..(row + 1) * self.width]
    }

    /// Linear predictor of every row, days (or the observed number) and event.
    ///
    /// # Panics
    /// When the table was read for other variables than the model's.
    pub fn predicted(&self, model: &crate::Model) -> (Vec<f64>, Vec<f64>, Vec<bool>) {
        let predictor = model.linear_predictors(&self.x);
        assert_eq!(predictor.len(), self.rows, "read for the model's variables");
        match &self.observed {
            Observed::Survival { time, event } => (predictor, time.clone(), event.clone()),
            Observed::Number(values) => (predictor, values.clone(), values.iter().map(|value| *value == 1.0).collect()),
            Observed::Nothing => (predictor, Vec::new(), Vec::new()),
        }
    }

    /// The same rows with other numbers.
    pub(crate) fn with(&self, x: Vec<f64>, width: usize) -> Self {
        Self {
            name: self.name.clone(),
            rows: self.rows,
            width,
            x,
            observed: self.observed.clone(),
            groups: self.groups.clone(),
            marks: self.marks.clone(),
            persons: self.persons.clone(),
            dropped: self.dropped,
            outside: self.outside,
        }
    }

    /// Rows of several sites as one table, for comparisons with pooled training.
    ///
    /// # Panics
    /// When the tables were read for different needs.
    pub fn pooled(name: &str, parts: &[Self]) -> Self {
        let mut all = parts[0].clone();
        name.clone_into(&mut all.name);
        for part in &parts[1..] {
            assert_eq!(all.width, part.width, "read for the same plan");
            all.rows += part.rows;
            all.x.extend_from_slice(&part.x);
            all.marks.extend_from_slice(&part.marks);
            all.persons.extend_from_slice(&part.persons);
            all.dropped += part.dropped;
            all.outside += part.outside;
            match (&mut all.observed, &part.observed) {
                (Observed::Survival { time, event }, Observed::Survival { time: t, event: e }) => {
                    time.extend_from_slice(t);
                    event.extend_from_slice(e);
                }
                (Observed::Number(values), Observed::Number(more)) => values.extend_from_slice(more),
                _ => {}
            }
            for (mine, theirs) in all.groups.iter_mut().zip(&part.groups) {
                mine.extend_from_slice(theirs);
            }
        }
        all
    }

    /// The rows at these positions, in this order; positions may repeat.
    pub(crate) fn pick(&self, rows: &[usize]) -> Self {
        let mut picked = Self {
            name: self.name.clone(),
            rows: rows.len(),
            width: self.width,
            x: Vec::with_capacity(rows.len() * self.width),
            observed: Observed::Nothing,
            groups: self.groups.iter().map(|group| rows.iter().map(|row| group[*row].clone()).collect()).collect(),
            marks: rows.iter().map(|row| self.marks[*row]).collect(),
            persons: rows.iter().map(|row| self.persons[*row]).collect(),
            dropped: 0,
            outside: 0,
        };
        rows.iter().for_each(|row| picked.x.extend_from_slice(self.row(*row)));
        picked.observed = match &self.observed {
            Observed::Nothing => Observed::Nothing,
            Observed::Survival { time, event } => Observed::Survival {
                time: rows.iter().map(|row| time[*row]).collect(),
                event: rows.iter().map(|row| event[*row]).collect(),
            },
            Observed::Number(values) => Observed::Number(rows.iter().map(|row| values[*row]).collect()),
        };
        picked
    }

    /// Splits rows by a text column that was asked for as a group, as a simulator of sites does.
    pub fn split_by_group(&self, group: usize) -> BTreeMap<String, Self> {
        let mut rows: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (row, text) in self.groups[group].iter().enumerate() {
            rows.entry(text).or_default().push(row);
        }
        rows.into_iter()
            .map(|(text, rows)| {
                let mut part = self.pick(&rows);
                text.clone_into(&mut part.name);
                (text.to_owned(), part)
            })
            .collect()
    }
}

fn bad_row(error: &csv::Error) -> String {
    let row = error.position().map_or(0, csv::Position::record);
    match error.kind() {
        csv::ErrorKind::Utf8 { .. } => format!("row {row} is not UTF-8"),
        csv::ErrorKind::UnequalLengths { .. } => format!("row {row} has another number of fields than the header"),
        csv::ErrorKind::Io(error) => format!("cannot be read: {}", error.kind()),
        _ => format!("row {row} cannot be read"),
    }
}

/// Over all cells of a row.
fn row_hash<'t>(text: &dyn Fn(usize) -> &'t str, fields: usize) -> blake3::Hasher {
    let mut hash = blake3::Hasher::new();
    for column in 0..fields {
        let cell = text(column);
        hash.update(&(cell.len() as u64).to_le_bytes());
        hash.update(cell.as_bytes());
    }
    hash
}

/// The first 64 bits.
fn cut(hash: &blake3::Hasher) -> u64 {
    let mut mark = [0; 8];
    hash.finalize_xof().fill(&mut mark);
    u64::from_le_bytes(mark)
}

fn person_mark(key: &str) -> u64 {
    cut(blake3::Hasher::new_derive_key("acequia person 1").update(key.as_bytes()))
}

/// A column of the plan at this site: where it is, what the site does with it.
struct Found<'a> {
    column: usize,
    name: String,
    site_steps: &'a [Step],
}

struct Builder<'a> {
    name: &'a str,
    /// Where the table lies, and images that it names.
    folder: Option<PathBuf>,
    needs: Needs<'a>,
    conditions: Vec<(Found<'a>, &'a Condition)>,
    components: Vec<(Found<'a>, Found<'a>)>,
    value: Option<(Found<'a>, &'a Variable)>,
    variables: Vec<Found<'a>>,
    groups: Vec<Found<'a>>,
    /// Where persons are named.
    person: Option<(usize, &'a str)>,
    outcome: Option<&'a Outcome>,
    row: u64,
    data: Data,
}

impl<'a> Builder<'a> {
    fn of_schema(
        name: &'a str,
        schema: &Schema,
        folder: Option<&Path>,
        needs: &Needs<'a>,
        map: &'a SiteMap,
    ) -> Result<Self, LearnError> {
        let headers: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
        Self::new(name, &headers, folder, needs, map)
    }

    fn push_batch(&mut self, batch: &RecordBatch) -> Result<(), LearnError> {
        let options = FormatOptions::default();
        let columns = batch.columns();
        let formats =
            columns.iter().map(|column| ArrayFormatter::try_new(column, &options)).collect::<Result<Vec<_>, _>>();
        let formats = formats.map_err(|_| LearnError::Table {
            table: self.name.to_owned(),
            problem: "a column has a type that cannot be read".to_owned(),
        })?;
        let mut texts: Vec<String> = vec![String::new(); columns.len()];
        for row in 0..batch.num_rows() {
            for ((text, format), column) in texts.iter_mut().zip(&formats).zip(columns) {
                text.clear();
                if !column.is_null(row) {
                    text.push_str(&format.value(row).to_string());
                }
            }
            self.push(&|column| texts[column].as_str(), texts.len())?;
        }
        Ok(())
    }

    fn new(
        name: &'a str,
        headers: &[String],
        folder: Option<&Path>,
        needs: &Needs<'a>,
        map: &'a SiteMap,
    ) -> Result<Self, LearnError> {
        let mut sorted: Vec<&String> = headers.iter().collect();
        sorted.sort_unstable();
        if sorted.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(LearnError::Table {
                table: name.to_owned(),
                problem: "two columns have the same name".to_owned(),
            });
        }
        let find = |wanted: &str| -> Result<Found<'a>, LearnError> {
            let (source, site_steps): (&str, &'a [Step]) = match map.columns.get(wanted) {
                Some(mapped) => (&mapped.column, &mapped.steps),
                None => (wanted, &[]),
            };
            let column = headers
                .iter()
                .position(|header| header == source)
                .ok_or_else(|| LearnError::NoColumn { table: name.to_owned(), column: source.to_owned() })?;
            if map.person.as_deref() == Some(source) {
                return Err(LearnError::Withheld {
                    site: name.to_owned(),
                    reason: "the plan uses the column that names persons".to_owned(),
                });
            }
            Ok(Found { column, name: source.to_owned(), site_steps })
        };
        let person = match &map.person {
            Some(column) => {
                let at = headers.iter().position(|header| header == column);
                let at = at.ok_or_else(|| LearnError::NoColumn { table: name.to_owned(), column: column.clone() })?;
                Some((at, column.as_str()))
            }
            None => None,
        };
        let outcome = match needs.outcome {
            Some(_) => map.outcome.as_ref().or(needs.outcome),
            None => None,
        };
        let (mut components, mut value) = (Vec::new(), None);
        let observed = match outcome {
            None => Observed::Nothing,
            Some(Outcome::Survival { components: wanted, .. }) => {
                for component in wanted {
                    components.push((find(&component.time)?, find(&component.event)?));
                }
                Observed::Survival { time: Vec::new(), event: Vec::new() }
            }
            Some(Outcome::Number { value: wanted } | Outcome::Binary { value: wanted }) => {
                value = Some((find(wanted.source())?, wanted));
                Observed::Number(Vec::new())
            }
        };
        Ok(Self {
            name,
            folder: folder.map(Path::to_owned),
            needs: *needs,
            conditions: needs
                .cohort
                .conditions
                .iter()
                .map(|condition| Ok((find(&condition.column)?, condition)))
                .collect::<Result<_, LearnError>>()?,
            components,
            value,
            variables: needs.variables.iter().map(|variable| find(variable.source())).collect::<Result<_, _>>()?,
            groups: needs.groups.iter().map(|group| find(group)).collect::<Result<_, _>>()?,
            person,
            outcome,
            row: 0,
            data: Data {
                name: name.to_owned(),
                rows: 0,
                width: needs.variables.iter().map(Variable::numbers).sum(),
                x: Vec::new(),
                observed,
                groups: vec![Vec::new(); needs.groups.len()],
                marks: Vec::new(),
                persons: Vec::new(),
                dropped: 0,
                outside: 0,
            },
        })
    }

    fn is_missing(&self, text: &str) -> bool {
        let text = text.trim();
        text.is_empty() || self.needs.cohort.missing_values.iter().any(|missing| missing == text)
    }

    /// The number of a cell.
    fn number(&self, text: &str, found: &Found<'_>, steps: &[Step]) -> Result<Result<f64, Unfit>, LearnError> {
        if self.is_missing(text) {
            return Ok(Err(Unfit::Missing));
        }
        match evaluate(text, &[found.site_steps, steps]) {
            Err(Unfit::Problem(problem)) => Err(self.cell(&found.name, problem)),
            other => Ok(other),
        }
    }

    fn cell(&self, column: &str, problem: &'static str) -> LearnError {
        LearnError::Cell { table: self.name.to_owned(), row: self.row, column: column.to_owned(), problem }
    }

    fn push<'t>(&mut self, text: &dyn Fn(usize) -> &'t str, fields: usize) -> Result<(), LearnError> {
        self.row += 1;
        let mut missing: Option<String> = None;
        for (found, condition) in &self.conditions {
            let cell = text(found.column);
            if self.is_missing(cell) {
                missing.get_or_insert_with(|| found.name.clone());
                continue;
            }
            let value =
                apply(Value::Text(cell), found.site_steps).map_err(|_| self.cell(&found.name, "cannot be read"))?;
            let holds = match (&condition.one_of, &value) {
                (Some(texts), Value::Text(text)) => texts.iter().any(|one| one == text.trim()),
                (Some(_), Value::Number(_)) => {
                    return Err(self.cell(&found.name, "is a number where one_of needs the text"));
                }
                (None, _) => true,
            };
            let numeric = [condition.at_least, condition.above, condition.at_most, condition.below];
            let mut within = holds;
            if numeric.iter().any(Option::is_some) {
                let number = match value {
                    Value::Number(number) => number,
                    Value::Text(text) => text.trim().parse().map_err(|_| self.cell(&found.name, "is not a number"))?,
                };
                within &= condition.at_least.is_none_or(|bound| number >= bound)
                    && condition.above.is_none_or(|bound| number > bound)
                    && condition.at_most.is_none_or(|bound| number <= bound)
                    && condition.below.is_none_or(|bound| number < bound);
            }
            if !within {
                self.data.outside += 1;
                return Ok(());
            }
        }
        if let Some(held_out) = &self.needs.cohort.held_out {
            let mark = match self.person {
                Some((column, _)) => person_mark(text(column).trim()),
                None => cut(&row_hash(text, fields)),
            };
            if !held_out.reads(mark) {
                self.data.outside += 1;
                return Ok(());
            }
        }
        let start = self.data.x.len();
        for (at, (found, variable)) in self.variables.iter().zip(self.needs.variables).enumerate() {
            if let Some(image) = &variable.image {
                let name = text(found.column);
                if self.is_missing(name) {
                    missing.get_or_insert_with(|| found.name.clone());
                    continue;
                }
                let folder = self.folder.as_deref();
                if let Err(problem) = add_pixels(folder, name.trim(), *image, &mut self.data.x) {
                    return Err(self.cell(&found.name, problem));
                }
                continue;
            }
            match self.number(text(found.column), found, &variable.steps)? {
                Ok(number) => self.data.x.push(number),
                Err(_) if self.needs.may_lack.get(at) == Some(&true) => self.data.x.push(f64::NAN),
                Err(_) => {
                    missing.get_or_insert_with(|| found.name.clone());
                }
            }
        }
        let mut survival = None;
        if let Some(Outcome::Survival { censored_at, cut_days, .. }) = self.outcome {
            match self.follow_up(text, *censored_at, *cut_days)? {
                Ok(observed) => survival = Some(observed),
                Err(column) => {
                    missing.get_or_insert(column);
                }
            }
        }
        let mut value = None;
        if let Some((found, variable)) = &self.value {
            match self.number(text(found.column), found, &variable.steps)? {
                Ok(number) => {
                    if matches!(self.outcome, Some(Outcome::Binary { .. })) && number != 0.0 && number != 1.0 {
                        return Err(self.cell(&found.name, "is neither 0 nor 1"));
                    }
                    value = Some(number);
                }
                Err(_) => {
                    missing.get_or_insert_with(|| found.name.clone());
                }
            }
        }
        if let Some(column) = missing {
            self.data.x.truncate(start);
            if self.needs.cohort.missing == Missing::Refuse {
                return Err(self.cell(&column, "has no value"));
            }
            self.data.dropped += 1;
            return Ok(());
        }
        match &mut self.data.observed {
            Observed::Nothing => {}
            Observed::Survival { time, event } => {
                let (t, e) = survival.unwrap_or_default();
                time.push(t);
                event.push(e);
            }
            Observed::Number(values) => values.push(value.unwrap_or_default()),
        }
        for (group, found) in self.data.groups.iter_mut().zip(&self.groups) {
            let text = text(found.column).trim();
            group.push(match apply(Value::Text(text), found.site_steps) {
                Ok(Value::Number(number)) => number.to_string(),
                Ok(Value::Text(text)) => text.to_owned(),
                Err(_) => String::new(),
            });
        }
        let mut hash = row_hash(text, fields);
        if self.data.width > self.variables.len() {
            // Other pixels under the same name are another row.
            self.data.x[start..].iter().for_each(|number| _ = hash.update(&number.to_le_bytes()));
        }
        let mut mark = cut(&hash);
        self.data.marks.push(mark);
        if let Some((column, name)) = self.person {
            let key = text(column).trim();
            if key.is_empty() {
                return Err(self.cell(name, "has no value"));
            }
            mark = person_mark(key);
        }
        self.data.persons.push(mark);
        self.data.rows += 1;
        Ok(())
    }

    /// Days and event of a row: the earliest event, or the end of follow-up. `Err` names a column without a value.
    fn follow_up<'t>(
        &self,
        text: &dyn Fn(usize) -> &'t str,
        censored_at: CensoredAt,
        cut_days: Option<f64>,
    ) -> Result<Result<(f64, bool), String>, LearnError> {
        let mut first_event: Option<f64> = None;
        let mut ends: Vec<f64> = Vec::with_capacity(self.components.len());
        for (time, event) in &self.components {
            let Ok(days) = self.number(text(time.column), time, &[])? else { return Ok(Err(time.name.clone())) };
            let Ok(happened) = self.number(text(event.column), event, &[])? else { return Ok(Err(event.name.clone())) };
            if days < 0.0 {
                return Err(self.cell(&time.name, "is before the start of follow-up"));
            }
            if happened != 0.0 && happened != 1.0 {
                return Err(self.cell(&event.name, "is neither 0 nor 1"));
            }
            if happened == 1.0 {
                first_event = Some(first_event.map_or(days, |first| first.min(days)));
            }
            ends.push(days);
        }
        let end = match censored_at {
            CensoredAt::First => ends.iter().copied().fold(f64::INFINITY, f64::min),
            CensoredAt::Last => ends.iter().copied().fold(0.0, f64::max),
        };
        let (time, event) = first_event.map_or((end, false), |first| (first, true));
        Ok(Ok(match cut_days {
            Some(cut) if time > cut => (cut, false),
            _ => (time, event),
        }))
    }

    fn finish(self) -> Data {
        self.data
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Component;

    fn read(csv: &str, missing: Missing) -> Result<Data, LearnError> {
        let cohort = Cohort { missing, missing_values: vec!["?".to_owned()], ..Cohort::default() };
        let outcome = Outcome::Survival {
            components: vec![
                Component { time: "rtime".into(), event: "recur".into() },
                Component { time: "dtime".into(), event: "death".into() },
            ],
            censored_at: CensoredAt::First,
            cut_days: Some(100.0),
        };
        let variables = [Variable::plain("age")];
        let needs =
            Needs { cohort: &cohort, outcome: Some(&outcome), variables: &variables, may_lack: &[], groups: &[] };
        Data::from_csv("site", csv.as_bytes(), &needs, &SiteMap::default())
    }

    #[test]
    fn the_first_event_counts_and_follow_up_is_cut() {
        let data = read(
            "age,rtime,recur,dtime,death\n50,10,1,20,1\n60,10,0,20,1\n70,10,0,20,0\n80,150,1,160,1\n",
            Missing::Refuse,
        );
        let Observed::Survival { time, event } = data.unwrap().observed else { panic!() };
        assert_eq!(time, [10.0, 20.0, 10.0, 100.0]);
        assert_eq!(event, [true, true, false, false]);
    }

    #[test]
    fn errors_name_the_place_and_never_the_value() {
        let error = read("age,rtime,recur,dtime,death\nJane Doe,10,1,20,1\n", Missing::Refuse).unwrap_err().to_string();
        assert_eq!(error, "site, row 1, column age: is not a number");
        let error = read("age,rtime,recur,dtime,death\n?,10,1,20,1\n", Missing::Refuse).unwrap_err().to_string();
        assert_eq!(error, "site, row 1, column age: has no value");
        let error = read("age,rtime,recur,death\n1,10,1,1\n", Missing::Refuse).unwrap_err().to_string();
        assert_eq!(error, "site has no column dtime");
    }

    #[test]
    fn rows_without_a_value_are_dropped_only_where_the_plan_says_so() {
        let data = read("age,rtime,recur,dtime,death\n?,10,1,20,1\n50,10,1,20,1\n", Missing::Drop).unwrap();
        assert_eq!((data.rows(), data.dropped()), (1, 1));
        assert_eq!(data.x, [50.0]);
    }
}
