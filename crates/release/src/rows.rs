//! The rows about to be published: plain columns, strata, equivalence classes, values for counting.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use acequia_frame::{FrameError, Table};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::compute::{cast, take_record_batch};
use arrow::datatypes::{DataType, Date32Type, Field, Float64Type, Schema};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};

use crate::ReleaseError;

/// The type a column has in the published files, if it can have one.
fn published_type(found: &DataType) -> Option<DataType> {
    match found {
        DataType::Boolean
        | DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::UInt8
        | DataType::UInt16
        | DataType::UInt32
        | DataType::UInt64
        | DataType::Float32
        | DataType::Float64
        | DataType::Utf8
        | DataType::Date32 => Some(found.clone()),
        DataType::LargeUtf8 | DataType::Utf8View => Some(DataType::Utf8),
        DataType::Dictionary(_, value) => published_type(value),
        _ => None,
    }
}

/// The table with plain columns, nullable alike, and without any schema metadata that an engine may have left there.
///
/// # Errors
/// [`ReleaseError::ColumnName`], [`ReleaseError::ColumnType`], or a failed cast.
pub(crate) fn plain(table: &Table) -> Result<Table, ReleaseError> {
    let mut fields = Vec::new();
    for (at, field) in table.schema().fields().iter().enumerate() {
        let name = field.name();
        let fit = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if !name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_') || !name.chars().all(fit) {
            return Err(ReleaseError::ColumnName { position: at + 1 });
        }
        let unfit = || ReleaseError::ColumnType { column: name.clone(), found: field.data_type().to_string() };
        fields.push(Field::new(name, published_type(field.data_type()).ok_or_else(unfit)?, true));
    }
    let schema = Arc::new(Schema::new(fields));
    let failed = |source| FrameError::Arrow { table: table.name().to_owned(), source };
    let mut batches = Vec::with_capacity(table.batches().len());
    for batch in table.batches() {
        let columns: Result<Vec<ArrayRef>, _> = batch
            .columns()
            .iter()
            .zip(schema.fields())
            .map(|(column, field)| cast(column, field.data_type()))
            .collect();
        let columns = columns.map_err(failed)?;
        batches.push(RecordBatch::try_new(Arc::clone(&schema), columns).map_err(failed)?);
    }
    Ok(Table::with_schema(table.name(), schema, batches)?)
}

/// The rows at these positions, sorted by content so that no order of intake or assignment shows.
pub(crate) fn pick(batch: &RecordBatch, name: &str, rows: &[u32]) -> Result<Table, ReleaseError> {
    let rows = UInt32Array::from(rows.to_vec());
    let picked = take_record_batch(batch, &rows);
    let picked = picked.map_err(|source| FrameError::Arrow { table: name.to_owned(), source })?;
    Ok(Table::new(name, vec![picked])?.sorted()?)
}

/// Number of the stratum of each row, and the strata's texts in ascending order. A missing value is a stratum.
pub(crate) fn strata(table: &Table, column: &str) -> Result<(Vec<u32>, Vec<String>), ReleaseError> {
    let mut seen = Distinct::default();
    let codes = seen.codes(table, column)?;
    let mut order: Vec<(Option<&str>, u32)> = seen.known.iter().map(|(text, code)| (text.as_deref(), *code)).collect();
    order.sort_unstable();
    let mut rank = vec![0; order.len()];
    for (at, (_, code)) in order.iter().enumerate() {
        rank[*code as usize] = at as u32;
    }
    let texts = order.iter().map(|(text, _)| text.unwrap_or("unknown").to_owned()).collect();
    Ok((codes.into_iter().map(|code| rank[code as usize]).collect(), texts))
}

/// Sizes of the equivalence classes, ascending: rows of all `tables` that agree on all of `columns`. Missing values agree
/// with each other. Without any column all rows are one class.
pub(crate) fn class_sizes<'a>(
    tables: impl IntoIterator<Item = &'a Table>,
    columns: &[&str],
) -> Result<Vec<u64>, ReleaseError> {
    let mut seen: Vec<Distinct> = columns.iter().map(|_| Distinct::default()).collect();
    // One level per column: (class by the columns before, code in this column) to class.
    let mut classes: Vec<HashMap<(u32, u32), u32>> = vec![HashMap::new(); columns.len()];
    let mut sizes: Vec<u64> = Vec::new();
    for table in tables {
        let mut class = vec![0_u32; table.rows()];
        for ((name, seen), level) in columns.iter().zip(&mut seen).zip(&mut classes) {
            for (class, code) in class.iter_mut().zip(seen.codes(table, name)?) {
                let next = level.len() as u32;
                *class = *level.entry((*class, code)).or_insert(next);
            }
        }
        for class in class {
            let class = class as usize;
            if class >= sizes.len() {
                sizes.resize(class + 1, 0);
            }
            sizes[class] += 1;
        }
    }
    sizes.sort_unstable();
    Ok(sizes)
}

/// Distinct values of one column, numbered in order of first appearance.
#[derive(Debug, Default)]
struct Distinct {
    known: HashMap<Option<String>, u32>,
}

impl Distinct {
    /// The number of each row's value; the same value has the same number in every table asked for.
    fn codes(&mut self, table: &Table, column: &str) -> Result<Vec<u32>, ReleaseError> {
        use std::fmt::Write;
        let array = table.column(column)?;
        let failed = |source| FrameError::Arrow { table: table.name().to_owned(), source };
        let mut codes = Vec::with_capacity(array.len());
        // One buffer for all look-ups: only a value seen for the first time is copied.
        let mut key = Some(String::new());
        let strings = array.as_string_opt::<i32>();
        let options = FormatOptions::default();
        let formatter = ArrayFormatter::try_new(array.as_ref(), &options).map_err(failed)?;
        for row in 0..array.len() {
            if array.is_null(row) {
                codes.push(self.code(&None));
                continue;
            }
            let text = key.get_or_insert_default();
            text.clear();
            match strings {
                Some(strings) => text.push_str(strings.value(row)),
                None => write!(text, "{}", formatter.value(row))
                    .map_err(|_| failed(ArrowError::CastError("a value cannot be written as text".to_owned())))?,
            }
            codes.push(self.code(&key));
        }
        Ok(codes)
    }

    fn code(&mut self, key: &Option<String>) -> u32 {
        if let Some(&code) = self.known.get(key) {
            return code;
        }
        let code = self.known.len() as u32;
        self.known.insert(key.clone(), code);
        code
    }
}

/// The values of one column of one split, ready for counting.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Values {
    /// Rows without a value: null, not a number, or infinite.
    pub(crate) missing: u64,
    pub(crate) known: Known,
}

/// Known values.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Known {
    /// Numbers in ascending order, and whether they are whole by type.
    Numbers { sorted: Vec<f64>, whole: bool },
    /// Texts with counts.
    Texts(BTreeMap<String, u64>),
}

/// Reads a column for counting. Dates count by calendar year, booleans as `true` and `false`.
pub(crate) fn values(table: &Table, column: &str) -> Result<Values, ReleaseError> {
    let array = table.column(column)?;
    let failed = |source| FrameError::Arrow { table: table.name().to_owned(), source };
    let kind = array.data_type().clone();
    if kind.is_numeric() {
        let floats = cast(&array, &DataType::Float64).map_err(failed)?;
        let mut sorted: Vec<f64> =
            floats.as_primitive::<Float64Type>().iter().flatten().filter(|value| value.is_finite()).collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let missing = (array.len() - sorted.len()) as u64;
        return Ok(Values { missing, known: Known::Numbers { sorted, whole: kind.is_integer() } });
    }
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    let mut missing = 0;
    if kind == DataType::Date32 {
        for day in array.as_primitive::<Date32Type>().iter() {
            match day.and_then(Date32Type::to_naive_date_opt) {
                Some(day) => *counts.entry(day.to_string().chars().take(4).collect()).or_default() += 1,
                None => missing += 1,
            }
        }
    } else {
        let mut seen = Distinct::default();
        let mut by_code = Vec::new();
        for code in seen.codes(table, column)? {
            let code = code as usize;
            if code >= by_code.len() {
                by_code.resize(code + 1, 0_u64);
            }
            by_code[code] += 1;
        }
        for (text, code) in seen.known {
            let count = by_code[code as usize];
            match text {
                Some(text) => {
                    counts.insert(text, count);
                }
                None => missing = count,
            }
        }
    }
    Ok(Values { missing, known: Known::Texts(counts) })
}

/// Bytes the rows take in memory as Arrow arrays: what Hub clients call `num_bytes`.
pub(crate) fn arrow_bytes(table: &Table) -> u64 {
    let rows = table.rows() as u64;
    let bits = rows.div_ceil(8);
    let column = |at: usize, field: &Field| {
        let arrays = || table.batches().iter().map(move |batch| batch.column(at));
        let nulls = if arrays().any(|array| array.null_count() > 0) { bits } else { 0 };
        let values = match field.data_type() {
            DataType::Boolean => bits,
            DataType::Utf8 => {
                let text: usize =
                    arrays().map(|array| array.as_string::<i32>().iter().flatten().map(str::len).sum::<usize>()).sum();
                4 * (rows + 1) + text as u64
            }
            other => rows * other.primitive_width().unwrap_or(0) as u64,
        };
        values + nulls
    };
    table.schema().fields().iter().enumerate().map(|(at, field)| column(at, field)).sum()
}

#[cfg(test)]
mod tests {
    use arrow::array::{Float64Array, Int64Array, StringArray};

    use super::*;

    fn table(columns: Vec<(&str, ArrayRef)>) -> Table {
        Table::new("t", vec![RecordBatch::try_from_iter(columns).unwrap()]).unwrap()
    }

    #[test]
    fn classes_do_not_confuse_tuples_that_read_alike() {
        let a = Arc::new(StringArray::from(vec![Some("1:x"), Some("1"), None, Some("")])) as ArrayRef;
        let b = Arc::new(StringArray::from(vec![Some("y"), Some("x1:y"), Some(""), None])) as ArrayRef;
        assert_eq!(class_sizes([&table(vec![("a", a), ("b", b)])], &["a", "b"]).unwrap(), [1, 1, 1, 1]);
    }

    #[test]
    fn without_quasi_identifiers_all_rows_are_alike() {
        let a = Arc::new(Int64Array::from(vec![1, 2, 3])) as ArrayRef;
        let t = table(vec![("a", a)]);
        assert_eq!(class_sizes([&t, &t], &[]).unwrap(), [6]);
        assert_eq!(class_sizes([&t, &t], &["a"]).unwrap(), [2, 2, 2]);
    }

    #[test]
    fn metadata_of_an_engine_does_not_leave() {
        let field = Field::new("a", DataType::Int64, false).with_metadata([("file".into(), "jane.csv".into())].into());
        let schema = Arc::new(Schema::new_with_metadata(vec![field], [("query".into(), "jane".into())].into()));
        let batch = RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from(vec![1]))]).unwrap();
        let bytes = plain(&Table::new("t", vec![batch]).unwrap()).unwrap().to_parquet().unwrap();
        assert!(!bytes.windows(4).any(|window| window == b"jane"));
    }

    #[test]
    fn not_a_number_counts_as_missing() {
        let a = Arc::new(Float64Array::from(vec![Some(2.0), Some(f64::NAN), None, Some(1.0)])) as ArrayRef;
        let read = values(&table(vec![("a", a)]), "a").unwrap();
        assert_eq!(read, Values { missing: 2, known: Known::Numbers { sorted: vec![1.0, 2.0], whole: false } });
    }

    #[test]
    fn a_name_unfit_for_files_is_refused_without_repeating_it() {
        let a = Arc::new(Int64Array::from(vec![1])) as ArrayRef;
        let error = plain(&table(vec![("jane doe", a)])).unwrap_err().to_string();
        assert!(error.contains("column 1") && !error.contains("jane"), "{error}");
    }
}
