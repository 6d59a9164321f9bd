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
    /// Code of each row.
    pub codes: Vec<u32>,
    /// Value of each code, ascending; a missing value, where there is one, comes first.
    pub values: Vec<Option<Box<str>>>,
}

/// Builds a [`CodedColumn`] from one value after the other.
#[derive(Debug)]
pub struct Coder {
    name: String,
    codes: Vec<u32>,
    known: HashMap<Box<str>, u32>,
    missing: Option<u32>,
    next: u32,
    last: (Box<str>, u32),
}

impl Coder {
    /// For a column of this name.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            codes: Vec::new(),
            known: HashMap::new(),
            missing: None,
            next: 0,
            last: (Box::from(""), u32::MAX),
        }
    }

    fn fresh(&mut self) -> u32 {
        self.next = self.next.checked_add(1).expect("fewer than 2^32 different values");
        self.next - 1
    }

    /// Appends the value of the next row; `None` is missing.
    pub fn push(&mut self, value: Option<&str>) {
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
        self.codes.push(code);
    }

    /// Sorts the values, so that codes do not depend on the order of rows.
    pub fn finish(self) -> CodedColumn {
        let Self { name, mut codes, known, missing, .. } = self;
        let mut values: Vec<(Option<Box<str>>, u32)> =
            known.into_iter().map(|(text, code)| (Some(text), code)).collect();
        values.extend(missing.map(|code| (None, code)));
        values.sort_unstable();
        let mut place = vec![0; values.len()];
        for (at, (_, code)) in (0_u32..).zip(&values) {
            place[*code as usize] = at;
        }
        codes.iter_mut().for_each(|code| *code = place[*code as usize]);
        CodedColumn { name, codes, values: values.into_iter().map(|(value, _)| value).collect() }
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
    pub fn in_natural_order(mut self) -> Self {
        let number = |value: &Option<Box<str>>| value.as_deref().and_then(|text| text.trim().parse::<f64>().ok());
        let known: Vec<&Option<Box<str>>> = self.values.iter().filter(|value| value.is_some()).collect();
        if known.is_empty() || known.iter().any(|value| number(value).is_none_or(f64::is_nan)) {
            return self;
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
        self
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
