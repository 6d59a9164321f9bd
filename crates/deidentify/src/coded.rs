//! Columns as numbers: each row has a code, each code a value. Work happens on codes; values come back at the end.

use std::hash::BuildHasher;

use acequia_frame::Table;
use arrow::array::Array;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use hashbrown::{DefaultHashBuilder, HashTable};

use crate::DeidentifyError;

/// A column as numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodedColumn {
    /// Its name.
    pub name: String,
    /// Code of each row; empty where rows lie on disk.
    pub codes: Vec<u32>,
    /// Value of each code, ascending; a missing value, where there is one, comes first.
    pub values: Vec<Option<Box<str>>>,
    /// Rows of the table that hold each value; rows of a population table are not counted.
    pub counts: Vec<u64>,
    /// For each value, the first row that holds it, from 0.
    pub first_row: Vec<u64>,
}

/// Builds a [`CodedColumn`] from one value after the other.
#[derive(Debug)]
pub struct Coder {
    name: String,
    codes: Vec<u32>,
    /// Value of each code; empty for a missing one.
    texts: Vec<Box<str>>,
    known: HashTable<u32>,
    hasher: DefaultHashBuilder,
    /// Short values that came first.
    short: ShortTexts,
    missing: Option<u32>,
    /// For each code in the order of appearance.
    counts: Vec<u64>,
    first_row: Vec<u64>,
    row: u64,
    /// Whether rows are of the population.
    population: bool,
}

impl Coder {
    /// For a column of this name.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            codes: Vec::new(),
            texts: Vec::new(),
            known: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            short: ShortTexts::default(),
            missing: None,
            counts: Vec::new(),
            first_row: Vec::new(),
            row: 0,
            population: false,
        }
    }

    fn fresh(&mut self, text: &str) -> u32 {
        let code = u32::try_from(self.counts.len()).expect("fewer than 2^32 different values");
        self.texts.push(text.into());
        self.counts.push(0);
        self.first_row.push(self.row);
        code
    }

    /// Rows from here on are those of a population table.
    pub fn population(&mut self) {
        self.population = true;
        self.row = 0;
    }

    /// The next row is this one of its file, from 0; others were left out.
    pub(crate) fn at_row(&mut self, row: u64) {
        self.row = row;
    }

    /// Appends the value of the next row; `None` is missing.
    pub fn push(&mut self, value: Option<&str>) {
        let code = self.code(value);
        self.codes.push(code);
    }

    /// The code of the next row's value, in the order of appearance, for rows that are kept elsewhere.
    pub(crate) fn code(&mut self, value: Option<&str>) -> u32 {
        let code = match value {
            None => match self.missing {
                Some(code) => code,
                None => {
                    let code = self.fresh("");
                    *self.missing.insert(code)
                }
            },
            Some(text) => match Short::of(text) {
                None => self.code_of(text),
                Some(short) => match self.short.find(&short) {
                    Some(code) => code,
                    None => {
                        let code = self.code_of(text);
                        self.short.insert(short, code);
                        code
                    }
                },
            },
        };
        self.row += 1;
        self.counts[code as usize] += u64::from(!self.population);
        code
    }

    /// The code of a value among all that came.
    fn code_of(&mut self, text: &str) -> u32 {
        if let Some(code) = self.find(text) {
            return code;
        }
        let code = self.fresh(text);
        let (texts, hasher) = (&self.texts, &self.hasher);
        self.known.insert_unique(hasher.hash_one(text), code, |code| hasher.hash_one(&*texts[*code as usize]));
        code
    }

    fn find(&self, text: &str) -> Option<u32> {
        self.known.find(self.hasher.hash_one(text), |code| *self.texts[*code as usize] == *text).copied()
    }

    /// Whether a row that was pushed holds this value.
    pub(crate) fn holds(&self, row: usize, value: Option<&str>) -> bool {
        let code = value.map_or(self.missing, |text| self.find(text));
        code == Some(self.codes[row])
    }

    /// Sorts the values, so that codes do not depend on the order of rows.
    pub fn finish(self) -> CodedColumn {
        self.finish_with_places().0
    }

    /// Also gives the final code of each code in the order of appearance.
    pub(crate) fn finish_with_places(self) -> (CodedColumn, Vec<u32>) {
        let Self { name, mut codes, texts, missing, counts, first_row, .. } = self;
        let mut values: Vec<(Option<Box<str>>, u32)> =
            (0..).zip(texts).map(|(code, text)| ((Some(code) != missing).then_some(text), code)).collect();
        values.sort_unstable();
        let mut place = vec![0; values.len()];
        for (at, (_, code)) in (0_u32..).zip(&values) {
            place[*code as usize] = at;
        }
        codes.iter_mut().for_each(|code| *code = place[*code as usize]);
        let column = CodedColumn {
            name,
            codes,
            counts: values.iter().map(|(_, code)| counts[*code as usize]).collect(),
            first_row: values.iter().map(|(_, code)| first_row[*code as usize]).collect(),
            values: values.into_iter().map(|(value, _)| value).collect(),
        };
        (column, place)
    }
}

/// A text of up to 16 bytes as numbers, so that two are compared without going to memory. Texts of up to eight bytes
/// have all of them in the first number, and longer ones eight from the start and eight from the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Short {
    first: u64,
    last: u64,
    bytes: u32,
}

impl Short {
    #[inline]
    fn of(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let four = |part: &[u8; 4]| u64::from(u32::from_le_bytes(*part));
        let (first, last) = match bytes.len() {
            1..=3 => {
                let [first, middle, last] = [0, bytes.len() / 2, bytes.len() - 1].map(|at| u64::from(bytes[at]));
                (first | middle << 8 | last << 16, 0)
            }
            4..=8 => (four(bytes.first_chunk()?) | four(bytes.last_chunk()?) << 32, 0),
            9..=16 => (u64::from_le_bytes(*bytes.first_chunk()?), u64::from_le_bytes(*bytes.last_chunk()?)),
            _ => return None,
        };
        Some(Self { first, last, bytes: u32::try_from(bytes.len()).ok()? })
    }

    #[inline]
    fn hash(self) -> usize {
        let mixed =
            (self.first ^ self.last.rotate_left(32) ^ u64::from(self.bytes)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 32) as usize
    }
}

/// Codes of the short texts that came first. Frequent values are among them, and the table stays in the processor's
/// cache.
#[derive(Debug, Default)]
struct ShortTexts {
    /// Open addressing; free where `bytes` is 0.
    slots: Vec<(Short, u32)>,
    texts: usize,
}

/// Short texts kept at most for one column.
const MOST_SHORT: usize = 1 << 12;

impl ShortTexts {
    #[inline]
    fn find(&self, short: &Short) -> Option<u32> {
        let mask = self.slots.len().checked_sub(1)?;
        let mut at = short.hash() & mask;
        loop {
            let (other, code) = &self.slots[at];
            if other == short {
                return Some(*code);
            }
            if other.bytes == 0 {
                return None;
            }
            at = (at + 1) & mask;
        }
    }

    fn insert(&mut self, short: Short, code: u32) {
        if self.texts == MOST_SHORT {
            return;
        }
        if self.texts * 2 >= self.slots.len() {
            let free = (Short { first: 0, last: 0, bytes: 0 }, 0);
            let all = vec![free; (self.slots.len() * 2).max(16)];
            let before = std::mem::replace(&mut self.slots, all);
            before.into_iter().filter(|(short, _)| short.bytes > 0).for_each(|(short, code)| self.place(short, code));
        }
        self.place(short, code);
        self.texts += 1;
    }

    fn place(&mut self, short: Short, code: u32) {
        let mask = self.slots.len() - 1;
        let mut at = short.hash() & mask;
        while self.slots[at].0.bytes > 0 {
            at = (at + 1) & mask;
        }
        self.slots[at] = (short, code);
    }
}

impl CodedColumn {
    /// A column of a table.
    ///
    /// # Errors
    /// [`DeidentifyError::Type`] when its type has no text form; errors of the table.
    pub fn of(table: &Table, name: &str) -> Result<Self, DeidentifyError> {
        let column = table.column(name)?;
        let options = FormatOptions::default();
        let problem = "the type cannot be read as text";
        let formatter = ArrayFormatter::try_new(column.as_ref(), &options)
            .map_err(|_| DeidentifyError::Type { column: name.to_owned(), problem })?;
        let mut coder = Coder::new(name);
        let mut text = String::new();
        for row in 0..column.len() {
            if column.is_null(row) {
                coder.push(None);
                continue;
            }
            text.clear();
            // Writing into a string fails only when the value itself cannot be shown.
            if std::fmt::Write::write_fmt(&mut text, format_args!("{}", formatter.value(row))).is_err() {
                return Err(DeidentifyError::Type { column: name.to_owned(), problem });
            }
            coder.push(Some(&text));
        }
        Ok(coder.finish())
    }

    /// The same column with its values in their natural order: by size when all are numbers.
    #[must_use]
    pub fn in_natural_order(self) -> Self {
        self.in_natural_order_with_places().0
    }

    /// Also gives the new code of each code; nothing when they stay.
    pub(crate) fn in_natural_order_with_places(mut self) -> (Self, Option<Vec<u32>>) {
        let number = |value: &Option<Box<str>>| value.as_deref().and_then(|text| text.trim().parse::<f64>().ok());
        let known: Vec<&Option<Box<str>>> = self.values.iter().filter(|value| value.is_some()).collect();
        if known.is_empty() || known.iter().any(|value| number(value).is_none_or(f64::is_nan)) {
            return (self, None);
        }
        let mut order: Vec<u32> = (0..).take(self.values.len()).collect();
        // A missing value stays first: `None` is below every number.
        order.sort_by(|a, b| {
            let (a, b) = (number(&self.values[*a as usize]), number(&self.values[*b as usize]));
            a.partial_cmp(&b).unwrap_or(std::cmp::Ordering::Equal)
        });
        let mut place = vec![0; order.len()];
        for (at, code) in (0..).zip(&order) {
            place[*code as usize] = at;
        }
        self.codes.iter_mut().for_each(|code| *code = place[*code as usize]);
        self.values = order.iter().map(|code| self.values[*code as usize].take()).collect();
        self.counts = order.iter().map(|code| self.counts[*code as usize]).collect();
        self.first_row = order.iter().map(|code| self.first_row[*code as usize]).collect();
        (self, Some(place))
    }

    /// Whether it holds days, with or without a time, and nothing else: texts such as 2021-03-04 or 2021-03-04T10:00.
    pub(crate) fn holds_days(&self) -> bool {
        let mut known = self.values.iter().flatten().peekable();
        known.peek().is_some() && known.all(|text| crate::shift::day_of(text).is_some())
    }

    /// The first row that holds a code, from 1.
    pub(crate) fn row_of(&self, code: usize) -> usize {
        usize::try_from(self.first_row[code]).map_or(usize::MAX, |row| row + 1)
    }

    /// Value of a row; `None` is missing.
    pub fn value(&self, row: usize) -> Option<&str> {
        self.values[self.codes[row] as usize].as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_texts_differ_where_texts_do() {
        let texts =
            ["a", "aa", "aaa", "aaaa", "aaaaa", "aaaaaaaa", "aaaaaaaaa", "aaaaaaaaaaaaaaaa", "aba", "aab", "baa"];
        let short: Vec<Short> = texts.iter().map(|text| Short::of(text).unwrap()).collect();
        for (at, one) in short.iter().enumerate() {
            assert!(short.iter().skip(at + 1).all(|other| other != one), "{}", texts[at]);
        }
        assert_eq!((Short::of(""), Short::of("aaaaaaaaaaaaaaaaa")), (None, None));
    }

    #[test]
    fn every_row_keeps_its_value() {
        let mut coder = Coder::new("c");
        let text = |row: usize| match row * 7_919 % 9_973 {
            0 => None,
            number if number % 11 == 0 => Some(format!("{number} is longer than sixteen bytes")),
            number => Some(number.to_string()),
        };
        (0..30_000).for_each(|row| coder.push(text(row).as_deref()));
        let column = coder.finish();
        assert_eq!(column.values.len(), 9_973);
        assert!((0..30_000).all(|row| column.value(row) == text(row).as_deref()));
    }

    #[test]
    fn numbers_come_by_size() {
        let mut coder = Coder::new("c");
        [Some("10"), Some("9"), None, Some("-1.5")].iter().for_each(|value| coder.push(*value));
        let column = coder.finish().in_natural_order();
        assert_eq!(column.values, [None, Some("-1.5".into()), Some("9".into()), Some("10".into())]);
        assert_eq!(column.codes, [3, 2, 0, 1]);
    }

    #[test]
    fn codes_do_not_depend_on_the_order_of_rows() {
        let code = |values: &[Option<&str>]| {
            let mut coder = Coder::new("c");
            values.iter().for_each(|value| coder.push(*value));
            coder.finish()
        };
        let a = code(&[Some("b"), None, Some("a"), Some("a"), Some("b")]);
        let b = code(&[Some("a"), Some("b"), Some("b"), None, Some("a")]);
        assert_eq!(a.values, [None, Some("a".into()), Some("b".into())]);
        assert_eq!((&a.codes, a.values == b.values), (&vec![2, 0, 1, 1, 2], true));
        assert_eq!((a.value(1), a.value(4)), (None, Some("b")));
    }
}
