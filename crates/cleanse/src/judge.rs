//! From counts to a verdict: thresholds are applied to findings afterwards, so that new ones need no new run.

use std::collections::BTreeMap;

use acequia_types::Day;
use serde::{Deserialize, Serialize};

use crate::CleanseError;
use crate::definition::{Category, Check, Context};
use crate::findings::Findings;

/// Settings of the verdict: the day that counts as today, and shares of failing rows other than those of the definitions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Thresholds {
    /// No event can be after this day.
    pub as_of: Day,
    /// Per cent of failing rows above which a check fails: by its id or, for all of a type, by the type's name.
    pub per_cent: BTreeMap<String, f64>,
}

impl Thresholds {
    /// The thresholds of the definitions.
    pub const fn as_of(as_of: Day) -> Self {
        Self { as_of, per_cent: BTreeMap::new() }
    }

    /// Adds those of a CSV file with the columns `check` (an id, or a type such as `isForeignKey`) and `threshold` (per
    /// cent).
    ///
    /// # Errors
    /// [`CleanseError::ThresholdFile`] with the row and what is wrong there; a name that is no check is refused.
    pub fn read(&mut self, text: &str, checks: &[Check]) -> Result<(), CleanseError> {
        let wrong = |row: usize, message: &'static str| CleanseError::ThresholdFile { row, message };
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_bytes());
        let header = reader.headers().map_err(|_| wrong(1, "the header cannot be read"))?.clone();
        let at = |name: &str| header.iter().position(|own| own.eq_ignore_ascii_case(name));
        let (Some(check_at), Some(threshold_at)) = (at("check"), at("threshold")) else {
            return Err(wrong(1, "the columns check and threshold are needed"));
        };
        for (number, record) in reader.records().enumerate() {
            let row = number + 2;
            let record = record.map_err(|_| wrong(row, "it has another number of fields than the header"))?;
            let (name, threshold) = (&record[check_at], &record[threshold_at]);
            if !checks.iter().any(|check| check.id == name || check.name == name) {
                return Err(wrong(row, "there is no such check"));
            }
            let threshold = threshold.parse::<f64>().ok().filter(|threshold| (0.0..=100.0).contains(threshold));
            let threshold = threshold.ok_or_else(|| wrong(row, "the threshold is no share in per cent"))?;
            self.per_cent.insert(name.to_owned(), threshold);
        }
        Ok(())
    }

    fn of(&self, check: &Check) -> f64 {
        let own = self.per_cent.get(&check.id).or_else(|| self.per_cent.get(&check.name));
        own.copied().or(check.threshold).unwrap_or(0.0)
    }
}

/// Outcome of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// At or below the threshold.
    Pass,
    /// Above it.
    Fail,
    /// There is nothing to check.
    NotApplicable,
    /// What the check needs is not there, such as the table a key refers to.
    Error,
}

/// One check with its counts and outcome.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckResult {
    /// Stable name, such as `field_isrequired_person_year_of_birth`.
    pub id: String,
    /// Type of the check.
    pub check: String,
    /// Table.
    pub table: String,
    /// Field, unless the whole table is looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// Context.
    pub context: Context,
    /// Category.
    pub category: Category,
    /// What fails, in words.
    pub what: String,
    /// Rows looked at; hidden if small.
    pub rows: Option<u64>,
    /// Rows that fail; hidden if small, or if few do not fail.
    pub failing: Option<u64>,
    /// Per cent of failing rows above which the check fails.
    pub threshold: f64,
    /// Outcome.
    pub status: Status,
    /// Why it does not apply, or what is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// All checks, and what was done about it. It names no row.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Scorecard {
    /// `acequia-scorecard/2`.
    pub schema: String,
    /// Every check.
    pub checks: Vec<CheckResult>,
    /// Repairs by action; hidden if few.
    pub repairs: BTreeMap<String, Option<u64>>,
    /// Rows by table: came in.
    pub rows_in: BTreeMap<String, Option<u64>>,
    /// Rows by table: went out.
    pub rows_out: BTreeMap<String, Option<u64>>,
    /// Counts from 1 to this minus 1 are hidden; 0 hides none.
    pub minimum: u64,
}

/// Numbers of checks by outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Outcomes {
    /// Passed.
    pub pass: u64,
    /// Failed.
    pub fail: u64,
    /// Said nothing about these data.
    pub not_applicable: u64,
    /// Could not be computed.
    pub error: u64,
}

impl Outcomes {
    pub(crate) fn add(&mut self, status: Status) {
        match status {
            Status::Pass => self.pass += 1,
            Status::Fail => self.fail += 1,
            Status::NotApplicable => self.not_applicable += 1,
            Status::Error => self.error += 1,
        }
    }

    /// Passed and failed.
    pub const fn applied(&self) -> u64 {
        self.pass + self.fail
    }
}

impl Scorecard {
    /// The verdict on findings.
    pub fn judge(findings: &Findings, checks: &[Check], thresholds: &Thresholds) -> Self {
        let judge = |(check, finding): (&Check, &crate::Finding)| {
            let threshold = thresholds.of(check);
            #[expect(clippy::cast_precision_loss, reason = "counts of rows are far below 2^53")]
            let (status, reason) = match (findings.not_applicable(check, finding), &finding.error) {
                (Some(reason), _) => (Status::NotApplicable, Some(reason)),
                (None, Some(error)) => (Status::Error, Some(error.clone())),
                (None, None) if finding.failing as f64 * 100.0 > threshold * finding.rows as f64 => {
                    (Status::Fail, None)
                }
                (None, None) => (Status::Pass, None),
            };
            CheckResult {
                id: check.id.clone(),
                check: check.name.clone(),
                table: check.table.name().to_owned(),
                field: check.field.clone(),
                context: check.context,
                category: check.category,
                what: check.description.clone(),
                rows: Some(finding.rows),
                failing: Some(finding.failing),
                threshold,
                status,
                reason,
            }
        };
        let rows = findings.tables.iter().filter(|(_, facts)| facts.present);
        Self {
            schema: "acequia-scorecard/2".to_owned(),
            checks: findings.with(checks).map(judge).collect(),
            repairs: BTreeMap::new(),
            rows_in: rows.map(|(name, facts)| (name.clone(), Some(facts.rows))).collect(),
            rows_out: BTreeMap::new(),
            minimum: 0,
        }
    }

    /// The same without counts from 1 to `minimum - 1`, and without those they could be worked out from. What leaves a
    /// node, or is shown to somebody outside the hospital, goes through this.
    #[must_use]
    pub fn without_small_counts(mut self, minimum: u64) -> Self {
        let small = |count: u64| (1..minimum).contains(&count);
        let hide = |count: &mut Option<u64>| *count = count.filter(|count| !small(*count));
        for check in &mut self.checks {
            let (Some(rows), Some(failing)) = (check.rows, check.failing) else { continue };
            if small(failing) || small(rows.saturating_sub(failing)) {
                check.failing = None;
            }
            if small(rows) {
                (check.rows, check.failing) = (None, None);
            }
        }
        // Of a table of which few rows were removed, one of the two totals is enough.
        for (name, after) in &mut self.rows_out {
            let before = self.rows_in.get(name).copied().flatten();
            if let (Some(before), Some(own)) = (before, *after)
                && small(before.abs_diff(own))
            {
                *after = None;
            }
            hide(after);
        }
        self.repairs.values_mut().for_each(hide);
        self.rows_in.values_mut().for_each(hide);
        self.minimum = minimum.max(self.minimum);
        self
    }

    /// Numbers of checks by outcome.
    pub fn outcomes(&self) -> Outcomes {
        let mut outcomes = Outcomes::default();
        self.checks.iter().for_each(|check| outcomes.add(check.status));
        outcomes
    }
}
