//! The rows about to be published: plain columns, strata, equivalence classes, values for counting.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use acequia_frame::{FrameError, Table};
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array};
use arrow::compute::{cast, take_record_batch};
use arrow::datatypes::{DataType, Date32Type, Field, Float64Type, Schema};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use crate::ReleaseError;

/// A text that no value can be: stands for a missing value in keys.
const MISSING: &str = "\u{0}";

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
        let columns: Result<Vec<ArrayRef>, _> =
            batch.columns().iter().zip(schema.fields()).map(|(column, field)| cast(column, field.data_type())).collect();
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
    let keys = keys(table, &[column])?;
    let mut texts: Vec<&String> = keys.values.iter().collect();
    texts.sort();
    let rank: HashMap<&String, u32> = texts.iter().enumerate().map(|(at, text)| (*text, at as u32)).collect();
    let codes = keys.codes.iter().map(|&code| rank[&keys.values[code as usize]]).collect();
    let texts = texts.into_iter().map(|text| if text == MISSING { "unknown".to_owned() } else { text.clone() });
    Ok((codes, texts.collect()))
}

/// Sizes of the equivalence classes: rows that agree on all of `columns`. Without any column all rows are one class.
pub(crate) fn class_sizes<'a>(
    tables: impl IntoIterator<Item = &'a Table>,
    columns: &[&str],
) -> Result<Vec<u64>, ReleaseError> {
    let mut sizes: HashMap<String, u64> = HashMap::new();
    for table in tables {
        let keys = keys(table, columns)?;
        let mut counts = vec![0; keys.values.len()];
        for &code in &keys.codes {
            counts[code as usize] += 1;
        }
        for (value, count) in keys.values.into_iter().zip(counts) {
            *sizes.entry(value).or_default() += count;
        }
    }
    let mut sizes: Vec<u64> = sizes.into_values().collect();
    sizes.sort_unstable();
    Ok(sizes)
}

struct Keys {
    /// Per row: position in `values`.
    codes: Vec<u32>,
    /// Distinct keys in order of first appearance.
    values: Vec<String>,
}

/// Each row's values in `columns` as one key; lengths are part of the key, so no two tuples share one.
fn keys(table: &Table, columns: &[&str]) -> Result<Keys, ReleaseError> {
    let arrays: Vec<ArrayRef> = columns.iter().map(|name| table.column(name)).collect::<Result<_, _>>()?;
    let texts = arrays.iter().map(|array| texts(array)).collect::<Result<Vec<_>, _>>();
    let texts = texts.map_err(|source| FrameError::Arrow { table: table.name().to_owned(), source })?;
    let mut known: HashMap<String, u32> = HashMap::new();
    let mut values = Vec::new();
    let mut key = String::new();
    let codes = (0..table.rows()).map(|row| {
        key.clear();
        match texts.as_slice() {
            [only] => key.push_str(only.get(row)),
            many => {
                for text in many {
                    let text = text.get(row);
                    key.push_str(&text.len().to_string());
                    key.push(':');
                    key.push_str(text);
                }
            }
        }
        if let Some(&code) = known.get(key.as_str()) {
            return code;
        }
        let code = values.len() as u32;
        known.insert(key.clone(), code);
        values.push(key.clone());
        code
    });
    let codes = codes.collect();
    Ok(Keys { codes, values })
}

/// A column's values as text, each distinct one formatted once.
struct Texts {
    codes: Vec<u32>,
    values: Vec<String>,
}

impl Texts {
    fn get(&self, row: usize) -> &str {
        &self.values[self.codes[row] as usize]
    }
}

fn texts(array: &ArrayRef) -> Result<Texts, arrow::error::ArrowError> {
    let mut known: HashMap<String, u32> = HashMap::new();
    let mut values = Vec::new();
    let mut code_of = |text: &str| {
        if let Some(&code) = known.get(text) {
            return code;
        }
        let code = values.len() as u32;
        known.insert(text.to_owned(), code);
        values.push(text.to_owned());
        code
    };
    let mut codes = Vec::with_capacity(array.len());
    if let Some(strings) = array.as_string_opt::<i32>() {
        codes.extend(strings.iter().map(|text| code_of(text.unwrap_or(MISSING))));
    } else {
        use std::fmt::Write;
        let options = FormatOptions::default().with_null(MISSING);
        let formatter = ArrayFormatter::try_new(array.as_ref(), &options)?;
        let mut text = String::new();
        for row in 0..array.len() {
            text.clear();
            if write!(text, "{}", formatter.value(row)).is_err() {
                return Err(arrow::error::ArrowError::CastError("a value cannot be written as text".to_owned()));
            }
            codes.push(code_of(&text));
        }
    }
    Ok(Texts { codes, values })
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
        let texts = texts(&array).map_err(failed)?;
        let mut by_code = vec![0_u64; texts.values.len()];
        for &code in &texts.codes {
            by_code[code as usize] += 1;
        }
        for (value, count) in texts.values.into_iter().zip(by_code) {
            if value == MISSING {
                missing = count;
            } else {
                counts.insert(value, count);
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
                let text: usize = arrays()
                    .map(|array| array.as_string::<i32>().iter().flatten().map(str::len).sum::<usize>())
                    .sum();
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
