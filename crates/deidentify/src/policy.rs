//! The policy: what must hold, and what each column is.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::DeidentifyError;

/// What must hold, and what each column is. Unknown keys are refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Smallest allowed equivalence class, in rows.
    #[serde(default = "default_k")]
    pub k: u64,
    /// Highest allowed prosecutor risk: 1 / size of the smallest class.
    #[serde(default = "default_maximum_risk")]
    pub maximum_risk: f64,
    /// Largest share of rows that may be suppressed.
    #[serde(default = "default_suppression_limit")]
    pub suppression_limit: f64,
    /// What the attacker is assumed to know.
    #[serde(default)]
    pub attacker: Attacker,
    /// Distinct l-diversity: for a sensitive column, how many different values every class must hold, so that knowing
    /// somebody's class does not tell the value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub l_diversity: BTreeMap<String, u64>,
    /// Every column of the table.
    pub columns: BTreeMap<String, Column>,
}

fn default_k() -> u64 {
    12
}

fn default_maximum_risk() -> f64 {
    0.09
}

fn default_suppression_limit() -> f64 {
    0.05
}

/// What the attacker is assumed to know. The policy's limit always holds for the prosecutor, the strongest of the three;
/// the setting says which one the release is written for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Attacker {
    /// That the person is in the data.
    #[default]
    Prosecutor,
    /// That the person is in the population.
    Journalist,
    /// Nothing in particular: wants to match as many as possible.
    Marketer,
}

/// One column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// What it is.
    pub role: Role,
    /// How it is generalised; quasi-identifiers only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hierarchy: Option<HierarchySpec>,
    /// How much its loss counts in the search.
    #[serde(default = "one")]
    pub weight: f64,
}

fn one() -> f64 {
    1.0
}

/// What a column is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Names the person inside the node; removed.
    PersonId,
    /// Opaque number for assigning splits; leaves the table.
    Assignment,
    /// Identifies alone; removed.
    DirectIdentifier,
    /// May identify together with others; generalised.
    QuasiIdentifier,
    /// Worth protecting, not known to attackers; kept.
    Sensitive,
    /// Neither; kept.
    Insensitive,
}

/// How a quasi-identifier is generalised.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum HierarchySpec {
    /// The word `suppress`: the value or nothing.
    Word(Word),
    /// Numbers into bands.
    Intervals {
        /// Which bands.
        intervals: Intervals,
    },
    /// Names over values.
    Tree {
        /// The tree.
        tree: BTreeMap<String, Tree>,
    },
    /// A CSV file: value, level 1, level 2, …
    File {
        /// Its name.
        file: String,
    },
}

/// The word `suppress`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Word {
    /// The value or nothing.
    Suppress,
}

/// Bands of numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Intervals {
    /// Widths, each a multiple of the one before, in the column's unit.
    pub levels: Vec<u32>,
    /// Values below fall into one band. Bands start here.
    pub lower: i64,
    /// Values from here on fall into one band.
    pub upper: i64,
}

/// A branch of a tree.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Tree {
    /// Values.
    Leaves(Vec<String>),
    /// Names over further branches.
    Branches(BTreeMap<String, Tree>),
}

impl Policy {
    /// Names of the hierarchy files the policy refers to.
    pub fn hierarchy_files(&self) -> Vec<&str> {
        self.columns
            .values()
            .filter_map(|column| match &column.hierarchy {
                Some(HierarchySpec::File { file }) => Some(file.as_str()),
                _ => None,
            })
            .collect()
    }

    /// Smallest class that satisfies both `k` and `maximum_risk`.
    pub fn class_size(&self) -> u64 {
        // The smallest n with 1/n <= maximum_risk, found by comparison so that rounding cannot lower it.
        let mut size = self.k.max(1);
        while 1.0 / real(size) > self.maximum_risk {
            size += 1;
        }
        size
    }

    /// Columns of a role, in order of name.
    pub fn of_role(&self, role: Role) -> impl Iterator<Item = (&str, &Column)> {
        self.columns.iter().filter(move |(_, column)| column.role == role).map(|(name, column)| (name.as_str(), column))
    }

    /// The one column of a role that must be there once.
    pub(crate) fn single(&self, role: Role) -> Result<&str, DeidentifyError> {
        let mut found = self.of_role(role);
        match (found.next(), found.next()) {
            (Some((name, _)), None) => Ok(name),
            _ => Err(wrong(format!("exactly one column must have the role {role:?}"))),
        }
    }

    /// Refuses a policy that contradicts itself.
    pub(crate) fn check(&self) -> Result<(), DeidentifyError> {
        if self.k == 0 {
            return Err(wrong("k must be at least 1".to_owned()));
        }
        if !(self.maximum_risk > 1e-6 && self.maximum_risk <= 1.0) {
            return Err(wrong("maximum_risk must be above 0 and at most 1".to_owned()));
        }
        if !(0.0..=1.0).contains(&self.suppression_limit) {
            return Err(wrong("suppression_limit must be from 0 to 1".to_owned()));
        }
        self.single(Role::PersonId)?;
        self.single(Role::Assignment)?;
        for (name, l) in &self.l_diversity {
            if self.columns.get(name).is_none_or(|column| column.role != Role::Sensitive) {
                return Err(wrong(format!("l_diversity.{name}: names no sensitive column")));
            }
            if !(1..=64).contains(l) {
                return Err(wrong(format!("l_diversity.{name}: must be from 1 to 64")));
            }
        }
        for (name, column) in &self.columns {
            let is_quasi_identifier = column.role == Role::QuasiIdentifier;
            if is_quasi_identifier != column.hierarchy.is_some() {
                return Err(wrong(format!(
                    "column {name}: a hierarchy belongs to quasi-identifiers, and to all of them"
                )));
            }
            if !(column.weight.is_finite() && column.weight > 0.0) {
                return Err(wrong(format!("column {name}: weight must be a positive number")));
            }
        }
        Ok(())
    }
}

#[expect(clippy::cast_precision_loss, reason = "class sizes are far below 2^53")]
fn real(count: u64) -> f64 {
    count as f64
}

fn wrong(message: String) -> DeidentifyError {
    DeidentifyError::Policy { message }
}
