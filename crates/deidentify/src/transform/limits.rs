//! Top and bottom coding: values beyond a bound become the bound (Hundepool et al., "Statistical disclosure control", 2012,
//! section 3.3.4), and pooled ages and births (45 CFR 164.514(b)(2)(i)(C)).
//!
//! The highest and the lowest value belong to whoever is easiest to recognise. So each end of a coded column is shared by
//! at least as many rows as the policy's smallest class has: a bound that fewer rows reach moves inwards.

use acequia_types::{Day, parse_day};
use chrono::{Datelike, Months};
use serde::{Deserialize, Serialize};

use super::{OLDEST_AGE, Transform, number, real, wrong};
use crate::DeidentifyError;
use crate::coded::CodedColumn;

/// Where a column ends.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Bound {
    /// At this number, in the column's unit.
    At(f64),
    /// Where at most this share of the rows lies beyond or at it.
    Share {
        /// The share, above 0 and below 0.5.
        share: f64,
    },
}

impl Bound {
    pub(super) fn check(self, column: &str) -> Result<(), DeidentifyError> {
        match self {
            Self::At(bound) if !bound.is_finite() => Err(wrong(format!("column {column}: a bound must be a number"))),
            Self::Share { share } if !(share > 0.0 && share < 0.5) => {
                Err(wrong(format!("column {column}: a share must be above 0 and below 0.5")))
            }
            _ => Ok(()),
        }
    }
}

/// The ends of a column as they are drawn so far.
#[derive(Debug, Clone)]
pub(super) struct Limits {
    column: String,
    bottom: Option<Bound>,
    top: Option<Bound>,
    /// Fewest rows at each end.
    smallest: u64,
    low: Option<f64>,
    high: Option<f64>,
    rows: (u64, u64),
}

impl Limits {
    pub(super) fn new(column: &str, transform: &Transform, smallest: u64) -> Self {
        let (bottom, top) = (transform.bottom, transform.top);
        Self { column: column.to_owned(), bottom, top, smallest, low: None, high: None, rows: (0, 0) }
    }

    /// Moves the ends inwards until enough rows are at each; whether they moved.
    pub(super) fn tighten(&mut self, column: &CodedColumn, counts: &[u64]) -> Result<bool, DeidentifyError> {
        let mut numbers = Vec::new();
        for (code, value) in column.values.iter().enumerate() {
            let Some(text) = value else { continue };
            let problem = "not a number";
            let refused = || DeidentifyError::Value { row: column.row_of(code), column: self.column.clone(), problem };
            let number = number(text).ok_or_else(refused)?;
            if counts[code] > 0 {
                numbers.push((number, counts[code]));
            }
        }
        numbers.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        let before = (self.low, self.high);
        if !numbers.is_empty() {
            if let Some(bound) = self.top {
                // Going down from the top is going up from the bottom of the mirror image.
                let mirrored: Vec<(f64, u64)> = numbers.iter().rev().map(|(number, rows)| (-number, *rows)).collect();
                let bound = match bound {
                    Bound::At(bound) => Bound::At(-bound),
                    share @ Bound::Share { .. } => share,
                };
                self.high = Some(-end(&mirrored, bound, self.high.map(|high| -high), self.smallest));
            }
            if let Some(bound) = self.bottom {
                self.low = Some(end(&numbers, bound, self.low, self.smallest));
            }
            if let (Some(low), Some(high)) = (self.low, self.high)
                && low > high
            {
                // Too few rows for two ends: all become one value.
                self.low = Some(high);
            }
            let rows = |there: &dyn Fn(f64) -> bool| numbers.iter().filter(|n| there(n.0)).map(|n| n.1).sum();
            self.rows = (
                self.low.map_or(0, |low| rows(&|number| number <= low)),
                self.high.map_or(0, |high| rows(&|number| number >= high)),
            );
        }
        Ok(before != (self.low, self.high))
    }

    pub(super) fn value(&self, text: &str) -> Box<str> {
        let Some(number) = number(text) else { return text.into() };
        match (self.low, self.high) {
            (_, Some(high)) if number >= high => written(high),
            (Some(low), _) if number <= low => written(low),
            _ => text.into(),
        }
    }

    pub(super) fn words(&self) -> String {
        let mut words = Vec::new();
        if let Some(low) = self.low {
            words.push(format!("{} and less are {} ({} rows)", written(low), written(low), self.rows.0));
        }
        if let Some(high) = self.high {
            words.push(format!("{} and more are {} ({} rows)", written(high), written(high), self.rows.1));
        }
        if words.is_empty() { "no value to limit".to_owned() } else { words.join("; ") }
    }
}

/// The lower end of ascending numbers with their rows: where the bound says, or further in until enough rows are there.
fn end(numbers: &[(f64, u64)], bound: Bound, so_far: Option<f64>, smallest: u64) -> f64 {
    let all: u64 = numbers.iter().map(|(_, rows)| rows).sum();
    let start = match (so_far, bound) {
        (Some(so_far), _) => so_far,
        (None, Bound::At(bound)) => bound,
        (None, Bound::Share { share }) => {
            let mut below = 0;
            let fits = |rows: &u64| {
                below += rows;
                real(below) <= share * real(all)
            };
            let within = numbers.iter().map(|(_, rows)| rows).copied().take_while(fits).count();
            numbers[within.saturating_sub(1)].0
        }
    };
    let mut there = 0;
    for (number, rows) in numbers {
        there += rows;
        if there >= smallest {
            return start.max(*number);
        }
    }
    numbers.last().map_or(start, |(number, _)| start.max(*number))
}

/// A number as the shortest text that means it.
fn written(number: f64) -> Box<str> {
    // No minus before a zero.
    format!("{}", number + 0.0).into()
}

/// Ages over 89 become 90. A quasi-identifier may also be missing or hold labels; other columns must hold numbers.
pub(super) fn ages(column: &CodedColumn, labels: bool) -> Result<Vec<Option<Box<str>>>, DeidentifyError> {
    let oldest = f64::from(OLDEST_AGE);
    let pooled = |(code, value): (usize, &Option<Box<str>>)| {
        let Some(text) = value else { return Ok(None) };
        match number(text) {
            Some(age) if age >= oldest => Ok(Some(written(oldest))),
            None if !labels => Err(DeidentifyError::Value {
                row: column.row_of(code),
                column: column.name.clone(),
                problem: "not an age in years",
            }),
            _ => Ok(Some(text.clone())),
        }
    };
    column.values.iter().enumerate().map(pooled).collect()
}

/// Days or years of birth of people who are over 89 on a day become the last of them.
pub(super) fn births(column: &CodedColumn, as_of: Day) -> Result<Vec<Option<Box<str>>>, DeidentifyError> {
    let last = as_of.checked_sub_months(Months::new(OLDEST_AGE * 12)).unwrap_or(as_of);
    let pooled = |(code, value): (usize, &Option<Box<str>>)| {
        let Some(text) = value else { return Ok(None) };
        let year = (text.len() == 4).then(|| text.parse::<i32>().ok()).flatten();
        let day = text.get(..10).and_then(parse_day);
        match (year, day) {
            // Of a year it is not known who was born before the day; those born in it may all be 90.
            (Some(year), _) if year <= last.year() => Ok(Some(last.year().to_string().into())),
            (None, Some(day)) if day <= last => Ok(Some(last.to_string().into())),
            (None, None) => Err(DeidentifyError::Value {
                row: column.row_of(code),
                column: column.name.clone(),
                problem: "not a day (YYYY-MM-DD) or a year of birth",
            }),
            _ => Ok(Some(text.clone())),
        }
    };
    column.values.iter().enumerate().map(pooled).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coded::Coder;

    fn column(values: &[&str]) -> CodedColumn {
        let mut coder = Coder::new("c");
        values.iter().for_each(|value| coder.push(Some(*value).filter(|value| !value.is_empty())));
        coder.finish()
    }

    fn coded(values: &[&str], transform: &Transform, smallest: u64) -> Vec<String> {
        let column = column(values);
        let mut limits = Limits::new("c", transform, smallest);
        limits.tighten(&column, &column.counts).unwrap();
        assert!(!limits.tighten(&column, &column.counts).unwrap(), "once is enough");
        values.iter().map(|value| limits.value(value).into()).collect()
    }

    #[test]
    fn bounds_hold_and_move_inwards_until_enough_rows_share_them() {
        let values = ["1", "2", "3.5", "4", "50", "60", "70"];
        let at = |bottom, top| Transform { bottom, top, ..Transform::default() };
        assert_eq!(coded(&values, &at(None, Some(Bound::At(55.0))), 2), ["1", "2", "3.5", "4", "50", "55", "55"]);
        assert_eq!(coded(&values, &at(None, Some(Bound::At(65.0))), 3), ["1", "2", "3.5", "4", "50", "50", "50"]);
        assert_eq!(coded(&values, &at(Some(Bound::At(0.0)), None), 3), ["3.5", "3.5", "3.5", "4", "50", "60", "70"]);
        let both = at(Some(Bound::Share { share: 0.3 }), Some(Bound::Share { share: 0.3 }));
        assert_eq!(coded(&values, &both, 1), ["2", "2", "3.5", "4", "50", "60", "60"]);
        assert_eq!(coded(&["1", "2"], &both, 5), ["1", "1"], "too few rows for two ends");
        assert_eq!(coded(&[], &both, 5), Vec::<String>::new());
    }

    #[test]
    fn what_is_no_number_is_told_by_its_row() {
        let column = column(&["1", "x"]);
        let transform = Transform { top: Some(Bound::At(1.0)), ..Transform::default() };
        let error = Limits::new("c", &transform, 1).tighten(&column, &column.counts).unwrap_err();
        assert_eq!(error.to_string(), "row 2, column c: not a number");
    }

    #[test]
    fn nobody_is_older_than_ninety() {
        let ages = ages(&column(&["34", "89", "90", "101.5", ""]), false).unwrap();
        let text: Vec<Option<&str>> = ages.iter().map(Option::as_deref).collect();
        assert_eq!(text, [None, Some("90"), Some("34"), Some("89"), Some("90")]);
        let as_of = parse_day("2026-03-01").unwrap();
        let days = births(&column(&["1936-03-01", "1936-03-02", "1920-01-01"]), as_of).unwrap();
        let text: Vec<&str> = days.iter().flatten().map(|text| &**text).collect();
        assert_eq!(text, ["1936-03-01", "1936-03-01", "1936-03-02"]);
        let years = births(&column(&["1936", "1937", "1900"]), as_of).unwrap();
        assert_eq!(years.iter().flatten().map(|text| &**text).collect::<Vec<_>>(), ["1936", "1936", "1937"]);
    }
}
