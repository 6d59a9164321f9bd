//! One value for all rows of an equivalence class: the mean, the median or the most frequent.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{number, real};
use crate::DeidentifyError;
use crate::coded::{CodedColumn, Coder};

/// Which value stands for those of a group. A missing value is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClassValue {
    /// Of numbers, with one decimal more than the column has.
    #[default]
    Mean,
    /// Of numbers: the lower one of the two in the middle.
    Median,
    /// The most frequent; of several, the first in their order.
    Mode,
}

impl ClassValue {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::Median => "median",
            Self::Mode => "most frequent value",
        }
    }

    /// The value for a group. `values`: texts with their rows.
    pub(super) fn of(self, values: &mut [(&str, u64)], decimals: usize) -> Option<String> {
        let rows: u64 = values.iter().map(|(_, rows)| rows).sum();
        let by_size = |values: &mut [(&str, u64)]| {
            let size = |text: &str| number(text).unwrap_or(0.0);
            values.sort_unstable_by(|a, b| size(a.0).total_cmp(&size(b.0)).then_with(|| a.0.cmp(b.0)));
        };
        match self {
            _ if rows == 0 => None,
            Self::Mean => {
                by_size(values);
                let sum: f64 = values.iter().map(|(text, rows)| number(text).unwrap_or(0.0) * real(*rows)).sum();
                Some(rounded(sum / real(rows), decimals))
            }
            Self::Median => {
                by_size(values);
                let mut below = 0;
                let middle = values.iter().find(|(_, count)| {
                    below += count;
                    2 * below >= rows
                });
                middle.map(|(text, _)| (*text).to_owned())
            }
            Self::Mode => {
                values.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
                values.first().map(|(text, _)| (*text).to_owned())
            }
        }
    }

    pub(super) fn needs_numbers(self) -> bool {
        self != Self::Mode
    }
}

/// A number with so many decimals, without idle zeros.
fn rounded(value: f64, decimals: usize) -> String {
    let text = format!("{value:.decimals$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

/// Decimals that a mean is stated with: one more than the values have, and at most twelve.
pub(super) fn decimals<'v>(values: impl Iterator<Item = &'v str>) -> usize {
    let of = |text: &str| text.trim().split_once('.').map_or(0, |(_, decimals)| decimals.len());
    (values.map(of).max().unwrap_or(0) + 1).min(12)
}

/// Refuses a column in which something is no number, and tells its row.
pub(super) fn all_numbers(column: &CodedColumn) -> Result<(), DeidentifyError> {
    let other = |value: &Option<Box<str>>| value.as_deref().is_some_and(|text| number(text).is_none());
    match column.values.iter().position(other) {
        None => Ok(()),
        Some(code) => Err(DeidentifyError::Value {
            row: column.row_of(code),
            column: column.name.clone(),
            problem: "not a number",
        }),
    }
}

/// The column with one value in each class of the kept rows. Other rows keep theirs; they are not released.
pub(super) fn aggregated(
    column: &CodedColumn,
    rows: usize,
    kept: &[usize],
    class_of: &impl Fn(usize) -> u32,
    value: ClassValue,
) -> Result<CodedColumn, DeidentifyError> {
    if value.needs_numbers() {
        all_numbers(column)?;
    }
    let mut of_class: BTreeMap<u32, BTreeMap<u32, u64>> = BTreeMap::new();
    for row in kept {
        let code = column.codes[*row];
        if column.values[code as usize].is_some() {
            *of_class.entry(class_of(*row)).or_default().entry(code).or_default() += 1;
        }
    }
    let decimals = decimals(column.values.iter().flatten().map(|text| &**text));
    let text = |code: &u32| column.values[*code as usize].as_deref().unwrap_or_default();
    let values: BTreeMap<u32, Option<String>> = of_class
        .iter()
        .map(|(class, counts)| {
            let mut values: Vec<(&str, u64)> = counts.iter().map(|(code, rows)| (text(code), *rows)).collect();
            (*class, value.of(&mut values, decimals))
        })
        .collect();
    let mut is_kept = vec![false; rows];
    kept.iter().for_each(|row| is_kept[*row] = true);
    let mut coder = Coder::new(&column.name);
    for (row, is_kept) in is_kept.into_iter().enumerate() {
        if is_kept {
            coder.push(values.get(&class_of(row)).and_then(Option::as_deref));
        } else {
            coder.push(column.value(row));
        }
    }
    Ok(coder.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_stands_for_a_group() {
        let mut values = [("3", 1), ("1", 2), ("10", 1)];
        assert_eq!(ClassValue::Mean.of(&mut values, 1).as_deref(), Some("3.8"));
        assert_eq!(ClassValue::Median.of(&mut values, 1).as_deref(), Some("1"));
        assert_eq!(ClassValue::Mode.of(&mut values, 1).as_deref(), Some("1"));
        assert_eq!(ClassValue::Mode.of(&mut [], 1), None);
        assert_eq!(ClassValue::Mean.of(&mut [("-0.01", 1)], 1).as_deref(), Some("0"));
        assert_eq!(decimals(["1.25", "3"].into_iter()), 3);
    }
}
