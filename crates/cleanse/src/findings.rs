//! What the pass found: counts and row ids, before any threshold.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use crate::CleanseError;
use crate::definition::{Check, Kind, Level};

/// What was found. It names rows, so it stays inside.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Findings {
    /// `acequia-findings/1`.
    pub schema: String,
    /// The day that counted as today.
    pub as_of: String,
    /// What is known of each table.
    pub tables: BTreeMap<String, TableFacts>,
    /// Every check, in the order of the definitions.
    pub findings: Vec<Finding>,
    /// Wall seconds of reading and indexing, which no single check owns. Not written: bytes do not depend on the machine.
    #[serde(skip)]
    pub shared_seconds: f64,
}

/// Whether a table is there and what it lacks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableFacts {
    /// Whether there is such a table.
    pub present: bool,
    /// Its rows.
    pub rows: u64,
    /// Rows of a text file with more or fewer fields than the header.
    pub uneven_rows: u64,
    /// Fields of the model that are not there.
    pub missing_fields: Vec<String>,
    /// Fields that are there without any value.
    pub empty_fields: Vec<String>,
}

/// Counts of one check.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// Which check.
    pub id: String,
    /// Whether it could be computed.
    pub counted: bool,
    /// Rows looked at; persons or distinct values where the check is about those.
    pub rows: u64,
    /// Those that fail.
    pub failing: u64,
    /// The first of them: values of the table's key, or row numbers from one where it has no whole-number key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub row_ids: Vec<i64>,
    /// Why it could not be computed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Wall seconds. Not written.
    #[serde(skip)]
    pub seconds: f64,
}

impl Findings {
    /// Name of the form.
    pub const SCHEMA: &'static str = "acequia-findings/1";

    /// Reads findings that were written before.
    ///
    /// # Errors
    /// [`CleanseError::FindingsFile`] when the bytes are no findings of this version.
    pub fn parse(bytes: &[u8]) -> Result<Self, CleanseError> {
        let findings: Self = serde_json::from_slice(bytes).map_err(|_| CleanseError::FindingsFile)?;
        if findings.schema != Self::SCHEMA {
            return Err(CleanseError::FindingsFile);
        }
        Ok(findings)
    }

    /// Why a check says nothing about these data, by the rules of OHDSI's dashboard: table or field is not there, has no
    /// row or no value, or the concept does not occur.
    pub(crate) fn not_applicable(&self, check: &Check, finding: &Finding) -> Option<String> {
        let table = check.table.name();
        if check.kind == Kind::TablePresent {
            return None;
        }
        let facts = self.tables.get(table)?;
        if !facts.present {
            return Some(format!("table {table} is not there"));
        }
        if check.kind == Kind::FieldPresent {
            return None;
        }
        if check.kind == Kind::EraCompleteness {
            let conditions = self.tables.get("condition_occurrence");
            return conditions
                .is_none_or(|facts| facts.rows == 0)
                .then(|| "table condition_occurrence is empty".to_owned());
        }
        if check.level == Level::Table {
            return None;
        }
        if facts.rows == 0 {
            return Some(format!("table {table} is empty"));
        }
        if let Some(field) = &check.field {
            if facts.missing_fields.contains(field) {
                return Some(format!("field {table}.{field} is not there"));
            }
            if facts.empty_fields.contains(field) && check.name != "measureValueCompleteness" && check.name != "user" {
                return Some(format!("field {table}.{field} has no value"));
            }
        }
        if finding.rows == 0 && finding.error.is_none() && (check.level == Level::Concept || check.name == "user") {
            return Some("no such row is there".to_owned());
        }
        None
    }

    /// Each check with its finding; checks without one are left out.
    pub(crate) fn with<'a>(&'a self, checks: &'a [Check]) -> impl Iterator<Item = (&'a Check, &'a Finding)> + 'a {
        let by_id: HashMap<&str, &Finding> =
            self.findings.iter().map(|finding| (finding.id.as_str(), finding)).collect();
        checks.iter().filter_map(move |check| Some((check, *by_id.get(check.id.as_str())?)))
    }
}
