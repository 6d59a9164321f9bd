//! Quasi-identifiers as small integers: work happens on distinct tuples, not on rows.

use std::collections::{BTreeMap, HashMap};

use acequia_frame::Table;
use acequia_privacy::value_loss;
use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use crate::DeidentifyError;
use crate::hierarchy::Hierarchy;

/// One quasi-identifier, encoded.
pub(crate) struct Encoded {
    pub(crate) name: String,
    pub(crate) weight: f64,
    pub(crate) hierarchy: Hierarchy,
    /// Code of each row. Code 0 is "missing" where there is one; codes follow the order of first appearance in sorted values.
    pub(crate) codes: Vec<u32>,
    /// For each level, the group of each code.
    pub(crate) groups: Vec<Vec<u32>>,
    /// For each level, the label of each group; `None` is missing.
    pub(crate) labels: Vec<Vec<Option<String>>>,
    /// For each level, the loss of each code's value, 0 to 1.
    pub(crate) losses: Vec<Vec<f64>>,
}

fn texts(column: &ArrayRef, name: &str) -> Result<Vec<Option<String>>, DeidentifyError> {
    let options = FormatOptions::default();
    let failed =
        |_| DeidentifyError::Type { column: name.to_owned(), problem: "the type cannot be a quasi-identifier" };
    let formatter = ArrayFormatter::try_new(column.as_ref(), &options).map_err(failed)?;
    Ok((0..column.len()).map(|row| column.is_valid(row).then(|| formatter.value(row).to_string())).collect())
}

fn numbers(column: &ArrayRef) -> Option<Vec<Option<f64>>> {
    #[expect(clippy::cast_precision_loss, reason = "bands need no more than 53 bits")]
    match column.data_type() {
        DataType::Int64 => Some(column.as_primitive::<Int64Type>().iter().map(|v| v.map(|v| v as f64)).collect()),
        DataType::Float64 => Some(column.as_primitive::<Float64Type>().iter().collect()),
        _ => None,
    }
}

impl Encoded {
    pub(crate) fn new(table: &Table, name: &str, weight: f64, hierarchy: Hierarchy) -> Result<Self, DeidentifyError> {
        let column = table.column(name)?;
        let texts = texts(&column, name)?;
        let numbers = if hierarchy.is_numeric() {
            let problem = "bands need a column of whole or decimal numbers (BIGINT, DOUBLE)";
            Some(numbers(&column).ok_or_else(|| DeidentifyError::Type { column: name.to_owned(), problem })?)
        } else {
            None
        };
        // Sorted values make codes independent of the order of rows.
        let mut first_row: BTreeMap<&Option<String>, usize> = BTreeMap::new();
        for (row, text) in texts.iter().enumerate() {
            first_row.entry(text).or_insert(row);
        }
        let code_of: HashMap<&Option<String>, u32> =
            first_row.keys().enumerate().map(|(code, text)| (*text, u32::try_from(code).unwrap_or(u32::MAX))).collect();
        let codes = texts.iter().map(|text| code_of[text]).collect();
        let values: Vec<Option<String>> = first_row.keys().map(|text| (*text).clone()).collect();
        let known = values.iter().flatten().count() as u64;

        let (mut groups, mut labels, mut losses) = (Vec::new(), Vec::new(), Vec::new());
        for level in 0..hierarchy.levels() {
            let top = level + 1 == hierarchy.levels();
            let mut group_of = HashMap::new();
            let mut level_labels: Vec<Option<String>> = Vec::new();
            let mut level_groups = Vec::with_capacity(values.len());
            let mut covered = Vec::<u64>::new();
            for (value, row) in first_row.iter() {
                let label = match value {
                    None if top => Some(crate::hierarchy::SUPPRESSED.to_owned()),
                    None => None,
                    Some(text) if level == 0 => {
                        // Unknown values are told even when the search would never leave level 0.
                        let number = numbers.as_ref().and_then(|numbers| numbers[*row]);
                        let known = hierarchy.label(text, number, hierarchy.levels() - 1);
                        known
                            .ok_or_else(|| DeidentifyError::NotInHierarchy { row: row + 1, column: name.to_owned() })?;
                        Some(text.clone())
                    }
                    Some(text) => {
                        let number = numbers.as_ref().and_then(|numbers| numbers[*row]);
                        let label = hierarchy.label(text, number, level);
                        Some(
                            label.ok_or_else(|| DeidentifyError::NotInHierarchy {
                                row: row + 1,
                                column: name.to_owned(),
                            })?,
                        )
                    }
                };
                let group = *group_of.entry(label.clone()).or_insert_with(|| {
                    level_labels.push(label);
                    covered.push(0);
                    u32::try_from(level_labels.len() - 1).unwrap_or(u32::MAX)
                });
                covered[group as usize] += u64::from(value.is_some());
                level_groups.push(group);
            }
            let loss = |group: &u32| if top { 1.0 } else { value_loss(covered[*group as usize].max(1), known) };
            losses.push(level_groups.iter().map(loss).collect());
            groups.push(level_groups);
            labels.push(level_labels);
        }
        Ok(Self { name: name.to_owned(), weight, hierarchy, codes, groups, labels, losses })
    }

    pub(crate) fn levels(&self) -> usize {
        self.groups.len()
    }
}

/// Distinct tuples of codes with the number of rows of each, in the order of codes.
pub(crate) struct Tuples {
    /// `columns` codes per tuple, one tuple after the other.
    pub(crate) codes: Vec<u32>,
    pub(crate) counts: Vec<u64>,
    pub(crate) columns: usize,
    /// Tuple of each row.
    pub(crate) of_row: Vec<u32>,
    /// For each column with l-diversity: how many values are required, and the values that occur in each tuple.
    pub(crate) diverse: Vec<(u32, Vec<u64>)>,
}

impl Tuples {
    pub(crate) fn of(columns: &[Encoded], rows: usize) -> Self {
        let key = |row: usize| -> Vec<u32> { columns.iter().map(|column| column.codes[row]).collect() };
        let mut counts: BTreeMap<Vec<u32>, u64> = BTreeMap::new();
        for row in 0..rows {
            *counts.entry(key(row)).or_default() += 1;
        }
        let index: HashMap<&Vec<u32>, u32> =
            counts.keys().enumerate().map(|(at, key)| (key, u32::try_from(at).unwrap_or(u32::MAX))).collect();
        let of_row = (0..rows).map(|row| index[&key(row)]).collect();
        let codes = counts.keys().flatten().copied().collect();
        Self { codes, counts: counts.values().copied().collect(), columns: columns.len(), of_row, diverse: Vec::new() }
    }

    /// Requires `l` different values of a sensitive column in every class. Values are kept as bits; from the 64th on they
    /// share one, which can only make the requirement stricter.
    pub(crate) fn require_l(&mut self, table: &Table, name: &str, l: u64) -> Result<(), DeidentifyError> {
        let texts = texts(&table.column(name)?, name)?;
        let distinct: std::collections::BTreeSet<&Option<String>> = texts.iter().collect();
        let bit_of: HashMap<&Option<String>, u32> =
            distinct.into_iter().zip((0..63).chain(std::iter::repeat(63))).collect();
        let mut bits = vec![0_u64; self.len()];
        for (text, tuple) in texts.iter().zip(&self.of_row) {
            bits[*tuple as usize] |= 1 << bit_of[text];
        }
        self.diverse.push((u32::try_from(l).unwrap_or(u32::MAX), bits));
        Ok(())
    }

    pub(crate) fn len(&self) -> usize {
        self.counts.len()
    }

    pub(crate) fn tuple(&self, at: usize) -> &[u32] {
        &self.codes[at * self.columns..(at + 1) * self.columns]
    }
}
