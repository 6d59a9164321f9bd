//! One column of a batch in the types of the model, whatever types the file had.

use arrow::array::{Array, ArrayRef, AsArray, BooleanBufferBuilder, Date32Array, Int64Array, StringArray};
use arrow::buffer::{BooleanBuffer, ScalarBuffer};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Date32Type, Float64Type, Int32Type, Int64Type};
use arrow::error::ArrowError;

use acequia_omop::FieldType;

/// A column: which rows have a value, and the values that could be read.
pub(crate) struct Column {
    pub(crate) rows: usize,
    /// Rows with any value, readable or not; `None` is all.
    pub(crate) present: Option<BooleanBuffer>,
    /// Rows whose value is not of the field's type.
    pub(crate) unreadable: Option<BooleanBuffer>,
    /// Rows with a value that can be used; `None` is all.
    pub(crate) valid: Option<BooleanBuffer>,
    pub(crate) values: Values,
}

/// Values by row; what stands at a row that is not valid means nothing.
pub(crate) enum Values {
    /// Only asked whether there is a value.
    None,
    Ints(ScalarBuffer<i64>),
    Floats(ScalarBuffer<f64>),
    /// Days since 1970-01-01.
    Days(ScalarBuffer<i32>),
    Texts(Texts),
}

/// Texts, as they are or by number.
pub(crate) enum Texts {
    Plain(StringArray),
    Numbered { keys: ScalarBuffer<i32>, texts: StringArray },
}

impl Texts {
    /// The text of a valid row.
    pub(crate) fn get(&self, row: usize) -> &str {
        match self {
            Self::Plain(texts) => texts.value(row),
            Self::Numbered { keys, texts } => texts.value(usize::try_from(keys[row]).unwrap_or(0)),
        }
    }
}

/// The rows where both hold; `None` is all.
pub(crate) fn both(a: Option<&BooleanBuffer>, b: Option<&BooleanBuffer>) -> Option<BooleanBuffer> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a & b),
        (Some(one), None) | (None, Some(one)) => Some(one.clone()),
        (None, None) => None,
    }
}

impl Column {
    pub(crate) fn is_valid(&self, row: usize) -> bool {
        self.valid.as_ref().is_none_or(|valid| valid.value(row))
    }

    pub(crate) fn present_count(&self) -> usize {
        self.present.as_ref().map_or(self.rows, BooleanBuffer::count_set_bits)
    }

    pub(crate) fn valid_count(&self) -> usize {
        self.valid.as_ref().map_or(self.rows, BooleanBuffer::count_set_bits)
    }

    pub(crate) fn ints(&self) -> &[i64] {
        if let Values::Ints(values) = &self.values { values } else { &[] }
    }

    pub(crate) fn days(&self) -> &[i32] {
        if let Values::Days(values) = &self.values { values } else { &[] }
    }

    pub(crate) fn floats(&self) -> &[f64] {
        if let Values::Floats(values) = &self.values { values } else { &[] }
    }

    pub(crate) fn texts(&self) -> Option<&Texts> {
        if let Values::Texts(texts) = &self.values { Some(texts) } else { None }
    }

    /// A column that says only where there is a value.
    pub(crate) fn presence(rows: usize, present: Option<BooleanBuffer>) -> Self {
        Self { rows, valid: present.clone(), present, unreadable: None, values: Values::None }
    }

    fn new(array: &dyn Array, unreadable: Option<BooleanBuffer>, values: Values) -> Self {
        let present = array.logical_nulls().filter(|nulls| nulls.null_count() > 0).map(|nulls| nulls.inner().clone());
        let readable = unreadable.as_ref().map(|unreadable| !unreadable);
        let valid = both(present.as_ref(), readable.as_ref());
        Self { rows: array.len(), present, unreadable, valid, values }
    }

    /// From an array of any type a file may hold. With `values` false only presence is kept.
    pub(crate) fn read(array: &ArrayRef, field_type: FieldType, values: bool) -> Result<Self, ArrowError> {
        if !values && field_type != FieldType::Integer {
            return Ok(Self::new(array.as_ref(), None, Values::None));
        }
        match field_type {
            FieldType::Integer => integers(array),
            FieldType::Float => {
                let numbers = lenient(array, &DataType::Float64)?;
                let unreadable = lost(array.as_ref(), numbers.as_ref());
                let values = numbers.as_primitive::<Float64Type>().values().clone();
                Ok(Self::new(array.as_ref(), unreadable, Values::Floats(values)))
            }
            FieldType::Date | FieldType::Datetime => days(array),
            FieldType::Varchar => texts(array),
        }
    }
}

fn lenient(array: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    cast_with_options(array, to, &CastOptions { safe: true, ..CastOptions::default() })
}

/// Rows that had a value before and none after.
fn lost(before: &dyn Array, after: &dyn Array) -> Option<BooleanBuffer> {
    let after = after.logical_nulls()?;
    let gone = !after.inner();
    let gone = match before.logical_nulls() {
        Some(before) => &gone & before.inner(),
        None => gone,
    };
    (gone.count_set_bits() > 0).then_some(gone)
}

fn integers(array: &ArrayRef) -> Result<Column, ArrowError> {
    let (numbers, unreadable): (Int64Array, Option<BooleanBuffer>) = match array.data_type() {
        DataType::Int64 => (array.as_primitive::<Int64Type>().clone(), None),
        DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::UInt8
        | DataType::UInt16
        | DataType::UInt32
        | DataType::UInt64
        | DataType::Null => {
            let numbers = lenient(array, &DataType::Int64)?;
            let unreadable = lost(array.as_ref(), numbers.as_ref());
            (numbers.as_primitive::<Int64Type>().clone(), unreadable)
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Dictionary(..) => {
            let texts = lenient(array, &DataType::Utf8)?;
            let numbers: Int64Array = texts.as_string::<i32>().iter().map(|text| whole(text?.as_bytes())).collect();
            let unreadable = lost(array.as_ref(), &numbers);
            (numbers, unreadable)
        }
        // A float column, as tools write that keep missing whole numbers as floats: the type is wrong for every value,
        // but whole ones can be used.
        _ => {
            let floats = lenient(array, &DataType::Float64)?;
            let floats = floats.as_primitive::<Float64Type>();
            #[expect(clippy::cast_possible_truncation, reason = "checked to be whole and in range")]
            let numbers: Int64Array = floats
                .iter()
                .map(|value| value.filter(|value| value.fract() == 0.0 && value.abs() < 9e15).map(|value| value as i64))
                .collect();
            let present = array
                .logical_nulls()
                .map_or_else(|| BooleanBuffer::new_set(array.len()), |nulls| nulls.inner().clone());
            let usable = numbers.logical_nulls().map(|nulls| nulls.inner().clone());
            let values = Values::Ints(numbers.values().clone());
            let valid = both(Some(&present), usable.as_ref());
            return Ok(Column {
                rows: array.len(),
                present: Some(present.clone()),
                unreadable: Some(present),
                valid,
                values,
            });
        }
    };
    let values = Values::Ints(numbers.values().clone());
    Ok(Column::new(array.as_ref(), unreadable, values))
}

fn days(array: &ArrayRef) -> Result<Column, ArrowError> {
    let days: Date32Array = match array.data_type() {
        DataType::Date32 => array.as_primitive::<Date32Type>().clone(),
        DataType::Timestamp(unit, _) => {
            use arrow::datatypes::TimeUnit;
            let per_day = match unit {
                TimeUnit::Second => 86_400,
                TimeUnit::Millisecond => 86_400_000,
                TimeUnit::Microsecond => 86_400_000_000,
                TimeUnit::Nanosecond => 86_400_000_000_000_i64,
            };
            let ticks = arrow::compute::cast(array, &DataType::Int64)?;
            let ticks = ticks.as_primitive::<Int64Type>();
            ticks.unary(|ticks| i32::try_from(ticks.div_euclid(per_day)).unwrap_or(i32::MAX))
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Dictionary(..) => {
            let texts = lenient(array, &DataType::Utf8)?;
            texts.as_string::<i32>().iter().map(|text| day(text?.as_bytes())).collect()
        }
        _ => lenient(array, &DataType::Date32)?.as_primitive::<Date32Type>().clone(),
    };
    let unreadable = lost(array.as_ref(), &days);
    let values = Values::Days(days.values().clone());
    Ok(Column::new(array.as_ref(), unreadable, values))
}

fn texts(array: &ArrayRef) -> Result<Column, ArrowError> {
    if let DataType::Dictionary(key, _) = array.data_type()
        && **key == DataType::Int32
    {
        let numbered = array.as_dictionary::<Int32Type>();
        let texts = lenient(numbered.values(), &DataType::Utf8)?.as_string::<i32>().clone();
        let values = Values::Texts(Texts::Numbered { keys: numbered.keys().values().clone(), texts });
        return Ok(Column::new(array.as_ref(), None, values));
    }
    let texts = lenient(array, &DataType::Utf8)?.as_string::<i32>().clone();
    Ok(Column::new(array.as_ref(), None, Values::Texts(Texts::Plain(texts))))
}

/// Reads a whole number: an optional sign and digits, blanks around them.
pub(crate) fn whole(text: &[u8]) -> Option<i64> {
    let text = text.trim_ascii();
    let (negative, digits) = match text.first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if digits.is_empty() || digits.len() > 19 {
        return None;
    }
    let mut number: u64 = 0;
    for digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number = number.checked_mul(10)?.checked_add(u64::from(digit))?;
    }
    if negative { 0_i64.checked_sub_unsigned(number) } else { i64::try_from(number).ok() }
}

/// Reads the day of `YYYY-MM-DD`, `YYYYMMDD` (as Athena writes), or of a date and time that begins with the former.
pub(crate) fn day(text: &[u8]) -> Option<i32> {
    let text = text.trim_ascii();
    let number = |part: &[u8]| {
        part.iter().try_fold(0_i32, |number, digit| {
            let digit = digit.wrapping_sub(b'0');
            (digit <= 9).then(|| number * 10 + i32::from(digit))
        })
    };
    let (year, month, day) = if text.len() == 8 {
        (number(&text[..4])?, number(&text[4..6])?, number(&text[6..8])?)
    } else if text.len() >= 10 && text[4] == b'-' && text[7] == b'-' && matches!(text.get(10), None | Some(b' ' | b'T'))
    {
        (number(&text[..4])?, number(&text[5..7])?, number(&text[8..10])?)
    } else {
        return None;
    };
    civil(year, month, day)
}

/// Days since 1970-01-01 of a day of the calendar; `None` if there is no such day.
///
/// Source: Hinnant, "chrono-Compatible Low-Level Date Algorithms", `days_from_civil`.
pub(crate) fn civil(year: i32, month: i32, day: i32) -> Option<i32> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let longest = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=longest).contains(&day) || !(1..=9999).contains(&year) {
        return None;
    }
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year - era * 400;
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some(era * 146_097 + day_of_era - 719_468)
}

/// Collects which of so many rows have something.
pub(crate) fn bits(rows: usize, set: impl Fn(usize) -> bool) -> BooleanBuffer {
    BooleanBuffer::collect_bool(rows, set)
}

/// A builder of presence that stays empty while every row has a value.
#[derive(Default)]
pub(crate) struct Presence {
    bits: Option<BooleanBufferBuilder>,
    rows: usize,
}

impl Presence {
    pub(crate) fn push(&mut self, present: bool) {
        if !present && self.bits.is_none() {
            let mut bits = BooleanBufferBuilder::new(self.rows + 1024);
            bits.append_n(self.rows, true);
            self.bits = Some(bits);
        }
        if let Some(bits) = &mut self.bits {
            bits.append(present);
        }
        self.rows += 1;
    }

    pub(crate) fn take(&mut self) -> Option<BooleanBuffer> {
        self.rows = 0;
        self.bits.take().map(|mut bits| bits.finish())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Float64Array, TimestampMicrosecondArray, UInt32Array};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_and_days_are_read_as_written_and_nothing_else() {
        assert_eq!((whole(b"12"), whole(b" -3 "), whole(b"+0")), (Some(12), Some(-3), Some(0)));
        assert_eq!(whole(b"-9223372036854775808"), Some(i64::MIN));
        for wrong in ["", "-", "1.0", "1e3", "9223372036854775808", "99999999999999999999", "x"] {
            assert_eq!(whole(wrong.as_bytes()), None, "{wrong}");
        }
        assert_eq!((day(b"1970-01-02"), day(b"19700102"), day(b"1969-12-31 23:59:59")), (Some(1), Some(1), Some(-1)));
        assert_eq!(
            (day(b"2024-02-29T00:00:00Z"), day(b"2023-02-29"), day(b"2023-2-9"), day(b"")),
            (Some(19_782), None, None, None)
        );
    }

    #[test]
    fn whatever_type_a_file_has_the_values_are_the_same() {
        let ints: [ArrayRef; 3] = [
            Arc::new(UInt32Array::from(vec![Some(7), None])),
            Arc::new(StringArray::from(vec![Some("7"), None])),
            Arc::new(Int64Array::from(vec![Some(7), None])),
        ];
        for array in ints {
            let column = Column::read(&array, FieldType::Integer, true).unwrap();
            assert_eq!((column.ints()[0], column.is_valid(0), column.is_valid(1)), (7, true, false));
            assert!(column.unreadable.is_none());
        }
        let floats: ArrayRef = Arc::new(Float64Array::from(vec![Some(7.0), Some(7.5), None]));
        let column = Column::read(&floats, FieldType::Integer, true).unwrap();
        assert_eq!(column.unreadable.as_ref().unwrap().count_set_bits(), 2, "a float is no whole number by its type");
        assert_eq!((column.present_count(), column.valid_count(), column.ints()[0]), (2, 1, 7));
        let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![Some(-1), Some(86_400_000_000)]));
        assert_eq!(Column::read(&times, FieldType::Datetime, true).unwrap().days(), [-1, 1]);
        let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("2020-01-01"), Some("soon"), None]));
        let column = Column::read(&texts, FieldType::Date, true).unwrap();
        assert_eq!((column.present_count(), column.valid_count()), (2, 1));
    }

    proptest! {
        #[test]
        fn days_agree_with_the_calendar(year in 1_i32..9999, month in 0_u32..14, day_of_month in 0_u32..33) {
            let expected = chrono::NaiveDate::from_ymd_opt(year, month, day_of_month).map(crate::epoch_days);
            let text = format!("{year:04}-{month:02}-{day_of_month:02}");
            prop_assert_eq!(day(text.as_bytes()), expected);
        }
    }
}
