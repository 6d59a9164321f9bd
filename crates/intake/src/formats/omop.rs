//! Tables of the OMOP CDM, versions 5.3 and 5.4, as CSV or Parquet: read into batches of 5.4, row by row checked.
//!
//! Tables stay tables: nothing goes through events. Columns of 5.3 get their names of 5.4, fields that 5.3 lacks are
//! empty. A row with a value of another type, or without a required one, is rejected with its line and column, and the
//! rest is kept.
//!
//! Source: OHDSI field definitions of CDM 5.3 and 5.4 (Apache-2.0); facts only are kept, in `data/omop-tables.csv`.

use std::collections::BTreeMap;
use std::io::{BufRead, Read};
use std::sync::{Arc, LazyLock};

use acequia_omop::{FieldType, Precision};
use acequia_types::{Place, Problem};
use arrow::array::{
    Array, ArrayRef, BooleanArray, Date32Builder, Float64Builder, Int64Builder, RecordBatch, StringBuilder,
    TimestampSecondBuilder,
};
use arrow::compute::{CastOptions, cast_with_options, filter_record_batch};
use arrow::datatypes::{Field, Schema, SchemaRef};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::time::dashed_time;
use crate::IntakeError;

/// Rows of one batch.
const BATCH_ROWS: usize = 8192;
/// Longest line of a table that is read, in bytes: a note may be long, a file without line ends is none.
const LONGEST_ROW_BYTES: u64 = 16 * 1024 * 1024;
/// Largest Parquet file inside an archive: its end must be read first, so it is kept in memory.
const LARGEST_PARQUET_BYTES: u64 = 1024 * 1024 * 1024;

/// One field of CDM 5.4.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CdmField {
    /// Name in 5.4.
    pub name: String,
    /// Whether it may not be empty.
    pub required: bool,
    /// Its type.
    pub field_type: FieldType,
    /// Name in 5.3, if it was there.
    pub name_in_53: Option<String>,
}

/// One of the 39 tables of CDM 5.4.
#[derive(Debug)]
pub struct CdmDefinition {
    /// Its name.
    pub name: String,
    /// Its fields, in the order of the specification.
    pub fields: Vec<CdmField>,
    /// Its Arrow schema; required fields are not nullable.
    pub schema: SchemaRef,
}

static TABLES: LazyLock<Vec<CdmDefinition>> = LazyLock::new(|| {
    let mut tables: Vec<(String, Vec<CdmField>)> = Vec::new();
    let mut reader = csv::Reader::from_reader(include_bytes!("../../data/omop-tables.csv").as_slice());
    for record in reader.records() {
        let record = record.expect("omop-tables.csv is part of this crate");
        let field = CdmField {
            name: record[1].to_owned(),
            required: &record[2] == "yes",
            field_type: match &record[3] {
                "integer" => FieldType::Integer,
                "float" => FieldType::Float,
                "date" => FieldType::Date,
                "datetime" => FieldType::Datetime,
                _ => FieldType::Varchar,
            },
            name_in_53: (!record[4].is_empty()).then(|| record[4].to_owned()),
        };
        match tables.last_mut() {
            Some((name, fields)) if *name == record[0] => fields.push(field),
            _ => tables.push((record[0].to_owned(), vec![field])),
        }
    }
    let define = |(name, fields): (String, Vec<CdmField>)| {
        let column = |field: &CdmField| Field::new(&field.name, field.field_type.arrow(), !field.required);
        let schema = Arc::new(Schema::new(fields.iter().map(column).collect::<Vec<_>>()));
        CdmDefinition { name, fields, schema }
    };
    tables.into_iter().map(define).collect()
});

/// All tables of CDM 5.4.
pub fn cdm_tables() -> &'static [CdmDefinition] {
    &TABLES
}

/// Takes what is read of a table.
pub trait RowSink {
    /// Rows that are right, in the schema of CDM 5.4.
    ///
    /// # Errors
    /// When they cannot be taken; reading ends with this error.
    fn rows(&mut self, table: &'static CdmDefinition, rows: &RecordBatch) -> Result<(), IntakeError>;
    /// A row that is wrong, with everything that is wrong in it.
    fn rejected(&mut self, table: &'static CdmDefinition, problems: Vec<Problem>);
    /// Something about the table as a whole.
    fn note(&mut self, table: &'static CdmDefinition, problem: Problem);
}

/// Where the columns of a file go.
struct Columns {
    table: &'static CdmDefinition,
    /// For each field of the table: the column of the file.
    of_field: Vec<Option<usize>>,
    /// One-based numbers of columns that the model does not have.
    unknown: Vec<usize>,
}

/// Finds the table by the names of its columns. All required fields must be there (but for those that 5.3 lacks), and
/// most columns must be of the model.
fn columns(names: &[String]) -> Option<Columns> {
    let fit = |table: &'static CdmDefinition| {
        let find = |field: &CdmField| {
            let own = names.iter().position(|name| *name == field.name);
            own.or_else(|| names.iter().position(|name| Some(name) == field.name_in_53.as_ref()))
        };
        let of_field: Vec<Option<usize>> = table.fields.iter().map(find).collect();
        let new = |field: &CdmField| field.name_in_53.is_none() && table.fields.iter().any(|f| f.name_in_53.is_some());
        let whole = table.fields.iter().zip(&of_field).all(|(field, at)| !field.required || at.is_some() || new(field));
        let unknown: Vec<usize> =
            (0..names.len()).filter(|at| !of_field.contains(&Some(*at))).map(|at| at + 1).collect();
        let known = names.len() - unknown.len();
        (whole && known > 1 && unknown.len() * 5 <= names.len()).then_some(Columns { table, of_field, unknown })
    };
    // Of several that fit, the one that knows most columns and has fewest others.
    let rank = |columns: &Columns| {
        let found = columns.of_field.iter().filter(|at| at.is_some()).count();
        (found, usize::MAX - columns.table.fields.len())
    };
    let mut best: Option<Columns> = None;
    for found in TABLES.iter().filter_map(fit) {
        if best.as_ref().is_none_or(|best| rank(&found) > rank(best)) {
            best = Some(found);
        }
    }
    best
}

fn names_of(header: &str, delimiter: u8) -> Vec<String> {
    let names = header.trim_start_matches('\u{feff}').trim_end().split(char::from(delimiter));
    names.map(|name| name.trim().trim_matches('"').to_ascii_lowercase()).collect()
}

pub(crate) fn delimiter_of(header: &str) -> u8 {
    let count = |delimiter: u8| header.bytes().filter(|byte| *byte == delimiter).count();
    [b'\t', b';', b'|'].into_iter().find(|other| count(*other) > count(b',')).unwrap_or(b',')
}

/// Whether the first line is the header of a table of the model.
pub(crate) fn is_table(head: &[u8]) -> bool {
    let line = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let Ok(header) = std::str::from_utf8(line) else { return false };
    columns(&names_of(header, delimiter_of(header))).is_some()
}

/// Whether the bytes begin a Parquet file.
pub(crate) fn is_parquet(head: &[u8]) -> bool {
    head.starts_with(b"PAR1")
}

/// Tells what is wrong with the table as a whole.
fn note_unknown(columns: &Columns, sink: &mut dyn RowSink) {
    for number in &columns.unknown {
        // The name is not repeated: a file without header row holds patients there.
        let what = format!("CDM 5.4 has no column like column number {number}; it is left out");
        let hint = "rename the column as in the model, or keep it in another table";
        sink.note(columns.table, Problem::new("IN137", what, Place::row(1), hint));
    }
}

/// Reads a delimited table. Vocabulary files of Athena (tab-separated, without quoting) are read as they are.
///
/// # Errors
/// [`IntakeError`] when the file is no table of the model or cannot be read on.
pub(crate) fn read_csv(stream: &mut dyn BufRead, sink: &mut dyn RowSink) -> Result<(), IntakeError> {
    let mut header = Vec::new();
    let broken = |error: std::io::Error| crate::unpack::broken(&error);
    stream.take(1024 * 1024).read_until(b'\n', &mut header).map_err(broken)?;
    if header.is_empty() {
        return Err(IntakeError::Empty);
    }
    let header = std::str::from_utf8(&header).map_err(|_| IntakeError::Header)?;
    let delimiter = delimiter_of(header);
    let columns = columns(&names_of(header, delimiter)).ok_or(IntakeError::NoCdmTable)?;
    note_unknown(&columns, sink);
    let width = header.matches(char::from(delimiter)).count() + 1;

    let lines = Lines { stream, left: LONGEST_ROW_BYTES };
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .quoting(delimiter != b'\t')
        .has_headers(false)
        .flexible(true)
        .from_reader(lines);
    let mut builder = Rows::new(columns.table);
    let mut record = csv::ByteRecord::new();
    let mut any = false;
    loop {
        reader.get_mut().left = LONGEST_ROW_BYTES;
        // The header was line 1.
        match reader.read_byte_record(&mut record) {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => {
                let row = reader.position().line() + 1;
                let csv::ErrorKind::Io(error) = error.into_kind() else { return Err(IntakeError::OpenQuote { row }) };
                return Err(if reader.get_ref().left == 0 { IntakeError::OpenQuote { row } } else { broken(error) });
            }
        }
        let row = record.position().map_or(0, |position| position.line() + 1);
        if record.len() == 1 && record[0].is_empty() {
            continue;
        }
        let place = Place::row(row);
        let mut problems = Vec::new();
        if record.len() != width {
            let what = format!("the row has {} fields, the header has {width}", record.len());
            problems.push(Problem::new("IN107", what, place, "check for stray delimiters and missing quotes"));
            sink.rejected(columns.table, problems);
            continue;
        }
        let mut values = Vec::with_capacity(columns.of_field.len());
        for (field, at) in columns.table.fields.iter().zip(&columns.of_field) {
            let cell = at.and_then(|at| record.get(at)).unwrap_or_default();
            match parse(cell, field, row, columns.table) {
                Ok(value) => values.push(value),
                Err((code, what, hint)) => {
                    values.push(Parsed::Null);
                    problems.push(Problem::new(code, what, place.column(&field.name), hint));
                }
            }
        }
        if problems.is_empty() {
            builder.push(&values);
        } else {
            sink.rejected(columns.table, problems);
        }
        if builder.rows == BATCH_ROWS {
            sink.rows(columns.table, &builder.finish()?)?;
            any = true;
        }
    }
    // A table without rows is a table: it is told too.
    if builder.rows > 0 || !any {
        sink.rows(columns.table, &builder.finish()?)?;
    }
    Ok(())
}

/// Stops a row that does not end: a quote that is never closed would take the rest of the file for one cell.
struct Lines<'s> {
    stream: &'s mut dyn BufRead,
    left: u64,
}

impl Read for Lines<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        if self.left == 0 {
            return Err(std::io::Error::other("a row is too long"));
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(out.len());
        let taken = self.stream.read(&mut out[..most])?;
        self.left -= taken as u64;
        Ok(taken)
    }
}

/// One cell of the right type.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Parsed<'c> {
    Null,
    Integer(i64),
    Float(f64),
    Day(i32),
    Second(i64),
    Text(&'c str),
}

type Fault = (&'static str, &'static str, &'static str);

fn parse<'c>(cell: &'c [u8], field: &CdmField, row: u64, table: &CdmDefinition) -> Result<Parsed<'c>, Fault> {
    let text = std::str::from_utf8(cell).map_err(|_| ("IN138", "the text is not UTF-8", "save the file as UTF-8"))?;
    let trimmed = text.trim();
    if trimmed.is_empty() || matches!(trimmed, "NULL" | "\\N" | "NA") {
        // Fields that 5.3 does not have cannot be filled by a file of 5.3.
        let numbered = field.required && field.name_in_53.is_none() && field.field_type == FieldType::Integer;
        return match field.required {
            true if numbered && field.name == format!("{}_id", table.name) => {
                Ok(Parsed::Integer(i64::try_from(row).unwrap_or(0)))
            }
            true if numbered && field.name.ends_with("_concept_id") => Ok(Parsed::Integer(0)),
            // An empty text is a text: CDM files have no other way to write one.
            true if field.field_type == FieldType::Varchar => Ok(Parsed::Text("")),
            true => Err(("IN105", "a value is required", "fill the field in, or leave the row out of the export")),
            false => Ok(Parsed::Null),
        };
    }
    match field.field_type {
        FieldType::Integer => {
            // What passed through a data frame with gaps has `12.0` for 12.
            let whole = trimmed.split_once('.').filter(|(_, zeros)| zeros.bytes().all(|zero| zero == b'0'));
            let digits = whole.map_or(trimmed, |(whole, _)| whole);
            let hint = "write whole numbers";
            digits.parse().map(Parsed::Integer).map_err(|_| ("IN101", "not a whole number", hint))
        }
        FieldType::Float => match trimmed.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Parsed::Float(number)),
            _ => Err(("IN101", "not a number", "write numbers with a decimal point")),
        },
        FieldType::Date | FieldType::Datetime => {
            let when = dashed_time(trimmed).map_err(|error| match error {
                acequia_omop::DateError::Calendar => ("IN103", "no such day in the calendar", "correct the date"),
                acequia_omop::DateError::Form => ("IN104", "not a date of the form YYYY-MM-DD", "write dates that way"),
            })?;
            let when = when.filter(|when| when.precision >= Precision::Day);
            let when = when.ok_or(("IN104", "not a date of the form YYYY-MM-DD", "write dates that way"))?;
            Ok(if field.field_type == FieldType::Date {
                Parsed::Day(when.day)
            } else {
                Parsed::Second(i64::from(when.day) * 86_400 + i64::from(when.second))
            })
        }
        FieldType::Varchar => Ok(Parsed::Text(text)),
    }
}

enum Builder {
    Integer(Int64Builder),
    Float(Float64Builder),
    Date(Date32Builder),
    Datetime(TimestampSecondBuilder),
    Varchar(StringBuilder),
}

/// Rows on their way into a batch.
struct Rows {
    schema: SchemaRef,
    columns: Vec<Builder>,
    rows: usize,
}

impl Rows {
    fn new(table: &CdmDefinition) -> Self {
        let column = |field: &CdmField| match field.field_type {
            FieldType::Integer => Builder::Integer(Int64Builder::new()),
            FieldType::Float => Builder::Float(Float64Builder::new()),
            FieldType::Date => Builder::Date(Date32Builder::new()),
            FieldType::Datetime => Builder::Datetime(TimestampSecondBuilder::new()),
            FieldType::Varchar => Builder::Varchar(StringBuilder::new()),
        };
        Self { schema: table.schema.clone(), columns: table.fields.iter().map(column).collect(), rows: 0 }
    }

    fn push(&mut self, values: &[Parsed<'_>]) {
        for (column, value) in self.columns.iter_mut().zip(values) {
            match (column, value) {
                (Builder::Integer(column), Parsed::Integer(value)) => column.append_value(*value),
                (Builder::Integer(column), _) => column.append_null(),
                (Builder::Float(column), Parsed::Float(value)) => column.append_value(*value),
                (Builder::Float(column), _) => column.append_null(),
                (Builder::Date(column), Parsed::Day(value)) => column.append_value(*value),
                (Builder::Date(column), _) => column.append_null(),
                (Builder::Datetime(column), Parsed::Second(value)) => column.append_value(*value),
                (Builder::Datetime(column), _) => column.append_null(),
                (Builder::Varchar(column), Parsed::Text(value)) => column.append_value(value),
                (Builder::Varchar(column), _) => column.append_null(),
            }
        }
        self.rows += 1;
    }

    fn finish(&mut self) -> Result<RecordBatch, IntakeError> {
        self.rows = 0;
        let arrays = self.columns.iter_mut().map(|column| -> ArrayRef {
            match column {
                Builder::Integer(column) => Arc::new(column.finish()),
                Builder::Float(column) => Arc::new(column.finish()),
                Builder::Date(column) => Arc::new(column.finish()),
                Builder::Datetime(column) => Arc::new(column.finish()),
                Builder::Varchar(column) => Arc::new(column.finish()),
            }
        });
        RecordBatch::try_new(self.schema.clone(), arrays.collect()).map_err(|_| IntakeError::NoCdmTable)
    }
}

/// Reads a Parquet file of one table; its rows are counted from 1.
///
/// # Errors
/// [`IntakeError`] when the file is no table of the model or cannot be read on.
pub(crate) fn read_parquet(stream: &mut dyn BufRead, sink: &mut dyn RowSink) -> Result<(), IntakeError> {
    let mut bytes = Vec::new();
    let broken = |error: std::io::Error| crate::unpack::broken(&error);
    stream.take(LARGEST_PARQUET_BYTES + 1).read_to_end(&mut bytes).map_err(broken)?;
    if bytes.len() as u64 > LARGEST_PARQUET_BYTES {
        return Err(IntakeError::TooLarge { limit_bytes: LARGEST_PARQUET_BYTES, growth: 1 });
    }
    let damaged = |_| IntakeError::Parquet;
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(bytes)).map_err(damaged)?;
    let names: Vec<String> = builder.schema().fields().iter().map(|field| field.name().to_ascii_lowercase()).collect();
    let columns = columns(&names).ok_or(IntakeError::NoCdmTable)?;
    note_unknown(&columns, sink);
    let mut row = 0;
    sink.rows(columns.table, &Rows::new(columns.table).finish()?)?;
    for batch in builder.with_batch_size(BATCH_ROWS).build().map_err(damaged)? {
        let batch = batch.map_err(|_| IntakeError::Parquet)?;
        let (kept, bad) = conform(&batch, &columns, row)?;
        for problems in bad.into_values() {
            sink.rejected(columns.table, problems);
        }
        if kept.num_rows() > 0 {
            sink.rows(columns.table, &kept)?;
        }
        row += batch.num_rows() as u64;
    }
    Ok(())
}

/// Brings a batch into the schema of 5.4; rows that do not fit are taken out, each with what is wrong.
fn conform(
    batch: &RecordBatch,
    columns: &Columns,
    before: u64,
) -> Result<(RecordBatch, BTreeMap<u64, Vec<Problem>>), IntakeError> {
    let rows = batch.num_rows();
    let mut bad: BTreeMap<u64, Vec<Problem>> = BTreeMap::new();
    let mut arrays: Vec<ArrayRef> = Vec::new();
    for (field, at) in columns.table.fields.iter().zip(&columns.of_field) {
        let data_type = field.field_type.arrow();
        let given = at.map(|at| batch.column(at).clone());
        let array = match &given {
            None => filler(field, columns.table, before, rows)?,
            // A value that does not fit becomes null, which is how it is found.
            Some(given) => cast_with_options(given, &data_type, &CastOptions { safe: true, ..CastOptions::default() })
                .map_err(|_| IntakeError::CdmColumn { column: field.name.clone() })?,
        };
        for at in 0..rows {
            if array.is_valid(at) {
                continue;
            }
            let row = before + at as u64 + 1;
            let place = Place::row(row).column(&field.name);
            if given.as_ref().is_some_and(|given| given.is_valid(at)) {
                let what = format!("not of the type of the field, {}", data_type.to_string().to_lowercase());
                let hint = "export the column in the type of the model";
                bad.entry(row).or_default().push(Problem::new("IN139", what, place, hint));
            } else if field.required {
                let hint = "fill the field in, or leave the row out of the export";
                bad.entry(row).or_default().push(Problem::new("IN105", "a value is required", place, hint));
            }
        }
        arrays.push(array);
    }
    // The bad rows break the schema's promise of no nulls, so they go before it is made.
    let loose: Vec<Field> =
        columns.table.schema.fields().iter().map(|f| f.as_ref().clone().with_nullable(true)).collect();
    let loose = RecordBatch::try_new(Arc::new(Schema::new(loose)), arrays).map_err(|_| IntakeError::Parquet)?;
    let keep: BooleanArray = (0..rows).map(|at| Some(!bad.contains_key(&(before + at as u64 + 1)))).collect();
    let kept = filter_record_batch(&loose, &keep).map_err(|_| IntakeError::Parquet)?;
    let kept = RecordBatch::try_new(columns.table.schema.clone(), kept.columns().to_vec());
    Ok((kept.map_err(|_| IntakeError::Parquet)?, bad))
}

/// A column that the file does not have.
fn filler(field: &CdmField, table: &CdmDefinition, before: u64, rows: usize) -> Result<ArrayRef, IntakeError> {
    let mut builder = Rows::new(&CdmDefinition {
        name: table.name.clone(),
        fields: vec![field.clone()],
        schema: Arc::new(Schema::new(vec![Field::new(&field.name, field.field_type.arrow(), true)])),
    });
    for at in 0..rows {
        let value = parse(b"", field, before + at as u64 + 1, table).unwrap_or(Parsed::Null);
        builder.push(&[value]);
    }
    Ok(builder.finish()?.column(0).clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Taken {
        rows: Vec<(String, RecordBatch)>,
        problems: Vec<String>,
    }

    impl RowSink for Taken {
        fn rows(&mut self, table: &'static CdmDefinition, rows: &RecordBatch) -> Result<(), IntakeError> {
            self.rows.push((table.name.clone(), rows.clone()));
            Ok(())
        }
        fn rejected(&mut self, _: &'static CdmDefinition, problems: Vec<Problem>) {
            self.problems.extend(problems.iter().map(ToString::to_string));
        }
        fn note(&mut self, _: &'static CdmDefinition, problem: Problem) {
            self.problems.push(problem.to_string());
        }
    }

    fn csv(text: &str) -> Taken {
        let mut taken = Taken::default();
        read_csv(&mut text.as_bytes(), &mut taken).unwrap();
        taken
    }

    const DEATH: &str = "person_id,death_date,death_datetime,death_type_concept_id,cause_concept_id,cause_source_value,cause_source_concept_id\n";

    #[test]
    fn the_specification_has_39_tables_of_432_fields() {
        assert_eq!((TABLES.len(), TABLES.iter().map(|table| table.fields.len()).sum::<usize>()), (39, 432));
        let required = TABLES.iter().flat_map(|table| &table.fields).filter(|field| field.required).count();
        assert_eq!(required, 180);
    }

    #[test]
    fn a_table_without_rows_is_told() {
        let taken = csv(DEATH);
        assert_eq!((taken.rows[0].0.as_str(), taken.rows[0].1.num_rows()), ("death", 0));
    }

    #[test]
    fn names_of_5_3_become_those_of_5_4() {
        let header = "visit_occurrence_id,person_id,visit_concept_id,visit_start_date,visit_end_date,visit_type_concept_id,admitting_source_value,discharge_to_concept_id";
        let taken = csv(&format!("{header}\n1,2,9201,2020-01-01,2020-01-02,32817,HOME,8536\n"));
        let (name, rows) = &taken.rows[0];
        assert_eq!((name.as_str(), rows.num_rows(), taken.problems.len()), ("visit_occurrence", 1, 0));
        let from =
            arrow::util::display::array_value_to_string(rows.column_by_name("admitted_from_source_value").unwrap(), 0);
        let to =
            arrow::util::display::array_value_to_string(rows.column_by_name("discharged_to_concept_id").unwrap(), 0);
        assert_eq!((from.unwrap().as_str(), to.unwrap().as_str()), ("HOME", "8536"));
    }

    #[test]
    fn a_bad_row_is_rejected_with_line_and_column_and_the_rest_is_kept() {
        let taken = csv(&format!(
            "{DEATH}1,2020-02-30,,1,,,\n2,2020-02-20,2020-02-20 10:00:00,1.0,,\"a\nb\",\nx,,,1,,,\n4,2020-01-01,,1\n5,20200101,,1,,,\n"
        ));
        assert_eq!(
            taken.problems,
            [
                "row 2, column death_date: no such day in the calendar (IN103)",
                "row 5, column person_id: not a whole number (IN101)",
                "row 5, column death_date: a value is required (IN105)",
                "row 6: the row has 4 fields, the header has 7 (IN107)",
            ]
        );
        assert_eq!(taken.rows[0].1.num_rows(), 2);
    }

    #[test]
    fn a_quote_that_is_never_closed_does_not_take_the_rest_of_the_file() {
        let text = format!("{DEATH}1,2020-01-01,,1,,\"never closed,\n{}", "2,2020-01-01,,1,,,\n".repeat(1_000_000));
        let mut taken = Taken::default();
        let error = read_csv(&mut text.as_bytes(), &mut taken);
        assert!(matches!(error, Err(IntakeError::OpenQuote { .. })), "{error:?}");
    }

    #[test]
    fn tables_of_athena_are_read_without_quoting() {
        let header = "concept_id\tconcept_name\tdomain_id\tvocabulary_id\tconcept_class_id\tstandard_concept\tconcept_code\tvalid_start_date\tvalid_end_date\tinvalid_reason";
        let taken = csv(&format!("{header}\n1\t5\" tube\tDevice\tSNOMED\tX\tS\t7\t20020131\t20991231\t\n"));
        assert_eq!((taken.rows[0].0.as_str(), taken.rows[0].1.num_rows()), ("concept", 1));
    }

    #[test]
    fn parquet_says_the_same_as_csv() {
        let taken = csv(&format!("{DEATH}1,2020-02-20,2020-02-20 10:00:00,1,,a,\n2,2020-03-01,,1,,,\n"));
        let rows = &taken.rows[0].1;
        // As another program wrote it: narrower integers, a missing required value.
        let narrow = arrow::compute::cast(rows.column(0), &arrow::datatypes::DataType::Int32).unwrap();
        let gaps: ArrayRef = Arc::new(arrow::array::StringArray::from(vec![Some("2020-02-20"), None]));
        let types: ArrayRef = Arc::new(arrow::array::StringArray::from(vec![Some("1"), Some("x")]));
        let batch = RecordBatch::try_from_iter(vec![
            ("PERSON_ID", narrow),
            ("death_date", gaps),
            ("death_type_concept_id", types),
        ])
        .unwrap();
        let mut bytes = Vec::new();
        let mut writer = parquet::arrow::ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        let mut taken = Taken::default();
        read_parquet(&mut bytes.as_slice(), &mut taken).unwrap();
        assert_eq!(
            taken.problems,
            [
                "row 2, column death_date: a value is required (IN105)",
                "row 2, column death_type_concept_id: not of the type of the field, int64 (IN139)",
            ]
        );
        assert_eq!(taken.rows.iter().map(|(_, rows)| rows.num_rows()).sum::<usize>(), 1);
        assert_eq!(read_parquet(&mut &bytes[..40], &mut taken), Err(IntakeError::Parquet));
    }
}
