//! Columns as numbers: each row has a code, each code a value. Work happens on codes; values come back at the end.

use acequia_frame::Table;
use arrow::array::Array;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use hashbrown::HashMap;

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
    known: HashMap<Box<str>, u32>,
    missing: Option<u32>,
    last: (Box<str>, u32),
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
            known: HashMap::new(),
            missing: None,
            last: (Box::from(""), u32::MAX),
            counts: Vec::new(),
            first_row: Vec::new(),
            row: 0,
            population: false,
        }
    }

    fn fresh(&mut self) -> u32 {
        let code = u32::try_from(self.counts.len()).expect("fewer than 2^32 different values");
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
                    let code = self.fresh();
                    *self.missing.insert(code)
                }
            },
            // Neighbouring rows often agree.
            Some(text) if self.last.1 != u32::MAX && *self.last.0 == *text => self.last.1,
            Some(text) => match self.known.get(text) {
                Some(code) => *code,
                None => {
                    let code = self.fresh();
                    self.known.insert(text.into(), code);
                    self.last = (text.into(), code);
                    code
                }
            },
        };
        self.row += 1;
        self.counts[code as usize] += u64::from(!self.population);
        code
    }

    /// Whether a row that was pushed holds this value.
    pub(crate) fn holds(&self, row: usize, value: Option<&str>) -> bool {
        let code = value.map_or(self.missing, |text| self.known.get(text).copied());
        code == Some(self.codes[row])
    }

    /// Sorts the values, so that codes do not depend on the order of rows.
    pub fn finish(self) -> CodedColumn {
        self.finish_with_places().0
    }

    /// Also gives the final code of each code in the order of appearance.
    pub(crate) fn finish_with_places(self) -> (CodedColumn, Vec<u32>) {
        let Self { name, mut codes, known, missing, counts, first_row, .. } = self;
        let mut values: Vec<(Option<Box<str>>, u32)> =
            known.into_iter().map(|(text, code)| (Some(text), code)).collect();
        values.extend(missing.map(|code| (None, code)));
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
