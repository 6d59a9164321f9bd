//! The independent verifier: recounts the released table itself and shares no code with the search.

use std::collections::{BTreeMap, BTreeSet};

use acequia_frame::Table;
use acequia_privacy::Classes;
use arrow::array::Array;
use arrow::util::display::{ArrayFormatter, FormatOptions};

use crate::DeidentifyError;
use crate::policy::{Policy, Role};

/// What the verifier counted.
#[derive(Debug, Clone, PartialEq)]
pub struct Recount {
    /// Rows of the released table.
    pub rows: u64,
    /// Its equivalence classes.
    pub classes: Classes,
    /// For each sensitive column, the counts of its values in every class.
    pub sensitive: BTreeMap<String, Vec<BTreeMap<u64, u64>>>,
}

/// Recounts a released table and checks that it satisfies the policy.
///
/// # Errors
/// [`DeidentifyError::Recount`] when a class is too small, [`DeidentifyError::NotDiverse`] when it holds too few values; [`DeidentifyError::Columns`] when a column is there that the
/// policy removes, or does not know.
pub fn verify(table: &Table, policy: &Policy) -> Result<Recount, DeidentifyError> {
    for field in table.schema().fields() {
        let role = policy.columns.get(field.name()).map(|column| column.role);
        if !matches!(role, Some(Role::QuasiIdentifier | Role::Sensitive | Role::Insensitive)) {
            return Err(DeidentifyError::Columns {
                column: field.name().clone(),
                problem: "released although the policy removes it",
            });
        }
    }
    let names: Vec<&str> = policy.of_role(Role::QuasiIdentifier).map(|(name, _)| name).collect();
    let sensitive_names: Vec<&str> = policy.of_role(Role::Sensitive).map(|(name, _)| name).collect();
    let mut classes: BTreeMap<Vec<Option<String>>, Vec<usize>> = BTreeMap::new();
    let keys = strings(table, &names)?;
    for (row, key) in keys.into_iter().enumerate() {
        classes.entry(key).or_default().push(row);
    }
    let mut sensitive = BTreeMap::new();
    for name in sensitive_names {
        let values = strings(table, &[name])?;
        let distinct: BTreeSet<&Vec<Option<String>>> = values.iter().collect();
        let number: BTreeMap<_, u64> = distinct.into_iter().zip(0..).collect();
        let count = |rows: &Vec<usize>| {
            let mut counts = BTreeMap::new();
            for row in rows {
                *counts.entry(number[&values[*row]]).or_default() += 1;
            }
            counts
        };
        sensitive.insert(name.to_owned(), classes.values().map(count).collect());
    }
    for (name, required) in &policy.l_diversity {
        let per_class: Option<&Vec<BTreeMap<u64, u64>>> = sensitive.get(name);
        let found = per_class.and_then(|classes| classes.iter().map(|values| values.len() as u64).min());
        if let Some(found) = found.filter(|found| found < required) {
            return Err(DeidentifyError::NotDiverse { column: name.clone(), found, required: *required });
        }
    }
    let counted = Classes::of(classes.values().map(|rows| rows.len() as u64));
    let required = policy.class_size();
    match counted.smallest() {
        Some(found) if found < required => Err(DeidentifyError::Recount { found, required }),
        _ => Ok(Recount { rows: table.rows() as u64, classes: counted, sensitive }),
    }
}

fn strings(table: &Table, names: &[&str]) -> Result<Vec<Vec<Option<String>>>, DeidentifyError> {
    let options = FormatOptions::default();
    let mut rows = vec![Vec::with_capacity(names.len()); table.rows()];
    for name in names {
        let column = table.column(name)?;
        let problem = "the type cannot be read";
        let formatter = ArrayFormatter::try_new(column.as_ref(), &options)
            .map_err(|_| DeidentifyError::Type { column: (*name).to_owned(), problem })?;
        for (row, key) in rows.iter_mut().enumerate() {
            key.push(column.is_valid(row).then(|| formatter.value(row).to_string()));
        }
    }
    Ok(rows)
}
