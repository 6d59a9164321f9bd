//! A folder of OMOP tables: Parquet, CSV or tab-separated, plain or gzip, in any letter case.
//!
//! `person.csv`, `PERSON.csv.gz`, `Person.parquet` and a folder `person.parquet/` of parts are all the table `person`.
//! Files that are no table of the model are left alone.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use acequia_frame::FrameError;
use acequia_omop::{CdmTable, FieldType};
use arrow::array::Array;
use arrow::buffer::{BooleanBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Field, Schema};
use flate2::read::MultiGzDecoder;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::file::metadata::RowGroupMetaData;

use crate::CleanseError;
use crate::column::{Column, Values};
use crate::csv_file::{CsvFile, TakeBatch};
use crate::tables::{Rows, Tables, Taker, Wanted, read};

/// Rows that are worked on at a time.
pub(crate) const BATCH_ROWS: usize = 16_384;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Parquet,
    Csv { gzip: bool },
}

#[derive(Debug)]
struct Source {
    form: Form,
    /// One file, or the parts in the order of their names.
    paths: Vec<PathBuf>,
    columns: Vec<String>,
}

/// The tables found in a folder.
#[derive(Debug)]
pub struct Folder {
    folder: PathBuf,
    tables: BTreeMap<CdmTable, Source>,
    uneven: RefCell<BTreeMap<CdmTable, u64>>,
}

fn unreadable(table: &str) -> impl Fn(std::io::Error) -> CleanseError + '_ {
    move |error| CleanseError::Io { what: format!("the file of table {table}"), doing: "read", kind: error.kind() }
}

/// The table and form a file name stands for.
fn recognise(name: &str) -> Option<(CdmTable, Form)> {
    let name = name.to_lowercase();
    let (stem, form) = [
        (".parquet", Form::Parquet),
        (".csv", Form::Csv { gzip: false }),
        (".tsv", Form::Csv { gzip: false }),
        (".csv.gz", Form::Csv { gzip: true }),
        (".tsv.gz", Form::Csv { gzip: true }),
    ]
    .into_iter()
    .find_map(|(ending, form)| Some((name.strip_suffix(ending)?.to_owned(), form)))?;
    Some((CdmTable::parse(&stem)?, form))
}

impl Folder {
    /// Looks which tables are there and which columns they have.
    ///
    /// # Errors
    /// [`CleanseError::Io`] when the folder or a header cannot be read, [`CleanseError::TwoFiles`] when two files are
    /// the same table, [`CleanseError::NoTables`] when none is there.
    pub fn open(folder: &Path) -> Result<Self, CleanseError> {
        let failed = |error: std::io::Error| CleanseError::Io {
            what: "the folder".to_owned(),
            doing: "read",
            kind: error.kind(),
        };
        let mut entries: Vec<PathBuf> = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(failed)? {
            entries.push(entry.map_err(failed)?.path());
        }
        entries.sort();
        let mut tables = BTreeMap::new();
        for path in entries {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let Some((table, form)) = recognise(&name) else { continue };
            let mut paths = vec![path.clone()];
            if path.is_dir() {
                paths = std::fs::read_dir(&path)
                    .and_then(|parts| parts.map(|part| Ok(part?.path())).collect::<Result<Vec<_>, std::io::Error>>())
                    .map_err(unreadable(table.name()))?;
                // Markers and checksums of other tools begin with a dot or an underscore.
                paths.retain(|part| {
                    let name = part.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
                    part.is_file() && !name.starts_with(['.', '_'])
                });
                paths.sort();
            }
            let columns = match (form, paths.first()) {
                (_, None) => Vec::new(),
                (Form::Parquet, Some(first)) => {
                    let file = File::open(first).map_err(unreadable(table.name()))?;
                    let reader = ParquetRecordBatchReaderBuilder::try_new(file).map_err(damaged(table))?;
                    reader.schema().fields().iter().map(|field| field.name().to_lowercase()).collect()
                }
                (Form::Csv { gzip }, Some(first)) => {
                    CsvFile::open(table, bytes(table, first, gzip)?)?.columns().to_vec()
                }
            };
            if tables.insert(table, Source { form, paths, columns }).is_some() {
                return Err(CleanseError::TwoFiles { table: table.name() });
            }
        }
        if tables.is_empty() {
            return Err(CleanseError::NoTables);
        }
        Ok(Self { folder: folder.to_owned(), tables, uneven: RefCell::default() })
    }

    /// Which tables are there.
    pub fn tables(&self) -> impl Iterator<Item = CdmTable> + '_ {
        self.tables.keys().copied()
    }

    /// The first row of `cdm_source` by field: what the data set says about itself.
    ///
    /// # Errors
    /// [`CleanseError`] when the table cannot be read.
    pub fn source(&self) -> Result<BTreeMap<String, String>, CleanseError> {
        let mut source = BTreeMap::new();
        let failed = |error| FrameError::Arrow { table: CdmTable::CdmSource.name().to_owned(), source: error };
        self.batches(CdmTable::CdmSource, &mut |batch, _| {
            for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
                if batch.num_rows() > 0 && !source.contains_key(&field.name().to_lowercase()) && column.is_valid(0) {
                    let text = arrow::util::display::array_value_to_string(column, 0).map_err(failed)?;
                    source.insert(field.name().to_lowercase(), text);
                }
            }
            Ok(())
        })?;
        Ok(source)
    }

    /// Hands the rows of a table on in batches, in the types of the model where they can be read so; values that cannot
    /// are missing. A table that is not there has none.
    ///
    /// # Errors
    /// [`CleanseError`] when the table cannot be read; what `take` says first.
    pub fn rows<E: From<CleanseError>>(
        &self,
        table: CdmTable,
        take: &mut dyn FnMut(&arrow::array::RecordBatch) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut failed = None;
        self.batches(table, &mut |batch, _| {
            if failed.is_none() {
                failed = take(&batch).err();
            }
            Ok(())
        })?;
        failed.map_or(Ok(()), Err)
    }

    /// The files of a table, and where they lie in the folder.
    pub(crate) fn files(&self, table: CdmTable) -> impl Iterator<Item = (&Path, PathBuf)> + '_ {
        let source = self.tables.get(&table);
        source.into_iter().flat_map(|source| {
            source.paths.iter().map(|path| (path.as_path(), path.strip_prefix(&self.folder).unwrap_or(path).to_owned()))
        })
    }

    /// Whole batches of a table in the types of the model where they can be read so; for repairs. Columns the model
    /// does not know keep their place and type.
    pub(crate) fn batches(&self, table: CdmTable, take: TakeBatch<'_>) -> Result<(), CleanseError> {
        let Some(source) = self.tables.get(&table) else { return Ok(()) };
        for path in &source.paths {
            match source.form {
                Form::Parquet => {
                    let file = File::open(path).map_err(unreadable(table.name()))?;
                    let reader = ParquetRecordBatchReaderBuilder::try_new(file)
                        .and_then(|builder| builder.with_batch_size(BATCH_ROWS).build())
                        .map_err(damaged(table))?;
                    for batch in reader {
                        let batch =
                            batch.map_err(|source| FrameError::Arrow { table: table.name().to_owned(), source })?;
                        take(batch, Vec::new())?;
                    }
                }
                Form::Csv { gzip } => CsvFile::open(table, bytes(table, path, gzip)?)?.batches(BATCH_ROWS, take)?,
            }
        }
        Ok(())
    }
}

fn damaged(table: CdmTable) -> impl Fn(parquet::errors::ParquetError) -> CleanseError {
    move |source| FrameError::Parquet { table: table.name().to_owned(), doing: "read", source }.into()
}

fn bytes(table: CdmTable, path: &Path, gzip: bool) -> Result<Box<dyn Read>, CleanseError> {
    let file = File::open(path).map_err(unreadable(table.name()))?;
    Ok(if gzip {
        Box::new(MultiGzDecoder::new(std::io::BufReader::with_capacity(1 << 16, file)))
    } else {
        Box::new(file)
    })
}

impl Tables for Folder {
    fn columns(&self, table: CdmTable) -> Option<&[String]> {
        self.tables.get(&table).map(|source| source.columns.as_slice())
    }

    fn scan(&self, table: CdmTable, wanted: &[Wanted], take: Taker<'_>) -> Result<(), CleanseError> {
        let Some(source) = self.tables.get(&table) else { return Ok(()) };
        let mut uneven = 0;
        for path in &source.paths {
            match source.form {
                Form::Parquet => {
                    let file = File::open(path).map_err(unreadable(table.name()))?;
                    parquet(table, &file, wanted, take)?;
                }
                Form::Csv { gzip } => {
                    let mut file = CsvFile::open(table, bytes(table, path, gzip)?)?;
                    file.scan(wanted, BATCH_ROWS, take)?;
                    uneven += file.uneven();
                }
            }
        }
        self.uneven.borrow_mut().insert(table, uneven);
        Ok(())
    }

    fn uneven(&self, table: CdmTable) -> u64 {
        self.uneven.borrow().get(&table).copied().unwrap_or(0)
    }
}

/// Columns that need not be decoded in a row group, because its statistics say that all or none of the values are there.
fn known_presence(group: &RowGroupMetaData, at: usize, wanted: &Wanted) -> Option<bool> {
    let nulls = group.column(at).statistics()?.null_count_opt()?;
    let rows = u64::try_from(group.num_rows()).ok()?;
    if rows > 0 && nulls == rows {
        return Some(false);
    }
    (nulls == 0 && !wanted.values && wanted.field.field_type != FieldType::Integer).then_some(true)
}

/// A column whose values are all missing, or all there without need to look at them.
fn constant(rows: usize, present: bool, field_type: FieldType) -> Column {
    let mut column = Column::presence(rows, (!present).then(|| BooleanBuffer::new_unset(rows)));
    if !present {
        column.values = match field_type {
            FieldType::Integer => Values::Ints(ScalarBuffer::from(vec![0; rows])),
            FieldType::Float => Values::Floats(ScalarBuffer::from(vec![0.0; rows])),
            FieldType::Date | FieldType::Datetime => Values::Days(ScalarBuffer::from(vec![0; rows])),
            FieldType::Varchar => Values::None,
        };
    }
    column
}

fn parquet(table: CdmTable, file: &File, wanted: &[Wanted], take: Taker<'_>) -> Result<(), CleanseError> {
    let damaged = damaged(table);
    let plain = ArrowReaderMetadata::load(file, ArrowReaderOptions::new()).map_err(&damaged)?;
    let schema = Arc::clone(plain.schema());
    let names: Vec<String> = schema.fields().iter().map(|field| field.name().to_lowercase()).collect();
    let flat = plain.parquet_schema().columns().len() == names.len();
    let places: Vec<Option<usize>> =
        wanted.iter().map(|wanted| names.iter().position(|name| *name == wanted.field.name)).collect();

    // Texts are read by their number in the dictionary: each distinct one is then looked at once.
    let numbered = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let hinted: Vec<Field> = schema
        .fields()
        .iter()
        .enumerate()
        .map(|(at, field)| {
            let asked = places.iter().zip(wanted).any(|(place, wanted)| *place == Some(at) && wanted.values);
            let is_text = matches!(field.data_type(), DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
            if asked && is_text {
                field.as_ref().clone().with_data_type(numbered.clone())
            } else {
                field.as_ref().clone()
            }
        })
        .collect();
    let hint = Arc::new(Schema::new_with_metadata(hinted, schema.metadata().clone()));
    let options = ArrowReaderOptions::new().with_schema(hint);
    let metadata = ArrowReaderMetadata::try_new(Arc::clone(plain.metadata()), options).unwrap_or(plain);

    for group in 0..metadata.metadata().num_row_groups() {
        let group_metadata = metadata.metadata().row_group(group);
        let known: Vec<Option<bool>> = places
            .iter()
            .zip(wanted)
            .map(|(place, wanted)| if flat { known_presence(group_metadata, (*place)?, wanted) } else { None })
            .collect();
        let read_columns: Vec<usize> = places
            .iter()
            .zip(&known)
            .filter_map(|(place, known)| if known.is_none() { *place } else { None })
            .collect();
        let total = usize::try_from(group_metadata.num_rows()).unwrap_or(0);
        let assemble = |count: usize, mut read: std::collections::VecDeque<Column>| {
            let columns = known
                .iter()
                .zip(&places)
                .zip(wanted)
                .map(|((known, place), wanted)| match (known, place) {
                    (Some(present), _) => constant(count, *present, wanted.field.field_type),
                    (None, Some(_)) => {
                        read.pop_front().unwrap_or_else(|| constant(count, false, wanted.field.field_type))
                    }
                    (None, None) => constant(count, false, wanted.field.field_type),
                })
                .collect();
            Rows { count, columns }
        };
        if read_columns.is_empty() {
            let mut left = total;
            while left > 0 {
                let count = left.min(BATCH_ROWS);
                take(&assemble(count, std::collections::VecDeque::new()))?;
                left -= count;
            }
            continue;
        }
        let mask = ProjectionMask::roots(metadata.parquet_schema(), read_columns.iter().copied());
        let own = file.try_clone().map_err(unreadable(table.name()))?;
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(own, metadata.clone())
            .with_row_groups(vec![group])
            .with_projection(mask)
            .with_batch_size(BATCH_ROWS)
            .build()
            .map_err(&damaged)?;
        let asked: Vec<Wanted> = wanted
            .iter()
            .zip(&known)
            .zip(&places)
            .filter(|((_, known), place)| known.is_none() && place.is_some())
            .map(|((wanted, _), _)| *wanted)
            .collect();
        for batch in reader {
            let batch = batch.map_err(|source| FrameError::Arrow { table: table.name().to_owned(), source })?;
            let names: Vec<String> = batch.schema().fields().iter().map(|field| field.name().to_lowercase()).collect();
            let rows = read(table, &batch, &names, &asked)?;
            take(&assemble(batch.num_rows(), rows.columns.into()))?;
        }
    }
    Ok(())
}
