//! Cleanse: data-quality checks over OMOP tables, a scorecard, and repairs that are recorded, never made in place.
//!
//! Comes in: OMOP tables. Goes out: [`Cleansed`]: new tables, a [`Scorecard`] of every check with its counts, and a table
//! of repairs (table, row id, field, check, action; no values). The input is untouched.
//!
//! Checks follow the three categories of Kahn et al., "A harmonized data quality assessment terminology", eGEMs 4(1), 2016:
//! conformance, completeness, plausibility. Most are expanded from the field list of CDM 5.4, so that a new field is
//! checked without new code; ranges of values are in `data/ranges.csv`.
//!
//! To add a check: a row in `data/ranges.csv` for a range; otherwise one function in `checks.rs` and its line in `run`.
//!
//! ```
//! use acequia_cleanse::{Thresholds, cleanse};
//! use std::collections::BTreeMap;
//! let cleansed = cleanse(&BTreeMap::new(), &Thresholds::as_of(acequia_types::parse_day("2026-01-01").unwrap()))?;
//! assert_eq!(cleansed.scorecard.checks.len(), 0, "no tables, nothing to check");
//! # Ok::<(), acequia_cleanse::CleanseError>(())
//! ```

mod checks;
mod repair;
mod view;

use std::collections::BTreeMap;

use acequia_frame::{FrameError, Table};
use acequia_types::{Coded, Day};
use serde::{Deserialize, Serialize};

/// Settings of the checks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Thresholds {
    /// No event can be after this day.
    pub as_of: Day,
    /// Share of failing rows from which a check fails, by category: conformance, completeness, plausibility.
    pub failing_share: [f64; 3],
}

impl Thresholds {
    /// The usual thresholds: conformance must hold everywhere, up to 5 % may be incomplete, up to 1 % implausible.
    pub fn as_of(as_of: Day) -> Self {
        Self { as_of, failing_share: [0.0, 0.05, 0.01] }
    }
}

/// Category of a check (Kahn et al. 2016).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Category {
    /// Does the form agree with the model?
    Conformance,
    /// Is it there?
    Completeness,
    /// Can it be true?
    Plausibility,
}

/// Outcome of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Below the threshold.
    Pass,
    /// Above it.
    Fail,
    /// There were no rows to check.
    NotApplicable,
}

/// One check with its counts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckResult {
    /// Stable name, such as `required.person.year_of_birth`.
    pub id: String,
    /// Category.
    pub category: Category,
    /// What is checked, in words.
    pub what: String,
    /// Rows looked at.
    pub rows: u64,
    /// Rows that fail.
    pub failing: u64,
    /// Share of failing rows from which the check fails.
    pub threshold: f64,
    /// Outcome.
    pub status: Status,
}

/// All checks, and what was done about it. Counts of rows inside the node; it stays there.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Scorecard {
    /// `acequia-scorecard/1`.
    pub schema: String,
    /// Every check.
    pub checks: Vec<CheckResult>,
    /// Repairs by action.
    pub repairs: BTreeMap<String, u64>,
    /// Rows by table: came in.
    pub rows_in: BTreeMap<String, u64>,
    /// Rows by table: went out.
    pub rows_out: BTreeMap<String, u64>,
}

/// New tables with what was found and done.
#[derive(Debug, Clone)]
pub struct Cleansed {
    /// Tables by name; those that are no OMOP table are passed on.
    pub tables: BTreeMap<String, Table>,
    /// What was found.
    pub scorecard: Scorecard,
    /// What was done: `table_name`, `row_id`, `field`, `check_id`, `action`.
    pub repairs: Table,
}

/// Why cleansing stops.
#[derive(Debug, thiserror::Error)]
pub enum CleanseError {
    /// A column operation failed.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// Rows got lost.
    #[error("table {table}: rows in, out and set aside do not add up")]
    Counts {
        /// Which table.
        table: String,
    },
}

impl Coded for CleanseError {
    fn code(&self) -> &'static str {
        match self {
            Self::Frame(error) => error.code(),
            Self::Counts { .. } => "CL001",
        }
    }
    fn hint(&self) -> &'static str {
        match self {
            Self::Frame(error) => error.hint(),
            Self::Counts { .. } => "this is a defect of the program; please report it with the code",
        }
    }
}

/// Checks the tables and makes repaired ones.
///
/// # Errors
/// [`CleanseError`].
pub fn cleanse(tables: &BTreeMap<String, Table>, thresholds: &Thresholds) -> Result<Cleansed, CleanseError> {
    let checks = checks::run(tables, thresholds)?;
    let (repaired, repairs) = repair::repair(tables, thresholds)?;
    let rows = |tables: &BTreeMap<String, Table>| {
        tables.iter().map(|(name, table)| (name.clone(), table.rows() as u64)).collect::<BTreeMap<_, _>>()
    };
    let scorecard = Scorecard {
        schema: "acequia-scorecard/1".to_owned(),
        checks,
        repairs: repairs.counts.clone(),
        rows_in: rows(tables),
        rows_out: rows(&repaired),
    };
    for (name, before) in &scorecard.rows_in {
        let removed = repairs.removed.get(name).copied().unwrap_or(0);
        if scorecard.rows_out.get(name).copied().unwrap_or(0) + removed != *before {
            return Err(CleanseError::Counts { table: name.clone() });
        }
    }
    Ok(Cleansed { tables: repaired, scorecard, repairs: repairs.into_table()? })
}
