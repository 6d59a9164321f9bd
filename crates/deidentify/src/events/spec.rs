//! `[events]` of a policy.

use serde::{Deserialize, Serialize};

use crate::DeidentifyError;
use crate::policy::{HierarchySpec, ModelSpec, Policy, Recoding, Role};

/// Name of the column that joins the two released tables.
pub(super) const PERSON: &str = "person";
/// Name of the column of codes in the released table of events.
pub(super) const CODE: &str = "code";
/// Name of the column of dates in the released table of events.
pub(super) const DATE: &str = "date";

/// Events of persons: their codes, such as diagnoses, and perhaps their dates. Which codes an attacker may know is said by the
/// models `km-anonymity` and `lkc-privacy`.
///
/// The columns named here belong to the table itself, which then has a row for each encounter and so several for a
/// person, or to a second table that holds the person column too.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EventSpec {
    /// Columns of codes.
    pub codes: Vec<String>,
    /// How codes are generalised.
    pub hierarchy: HierarchySpec,
    /// Lowest level at which a code may be released.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub minimum_level: usize,
    /// Values that stand for no code.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
    /// Column of the date of the row's events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub date: Option<String>,
    /// How dates are generalised; a code loses its date before it loses detail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub date_hierarchy: Option<HierarchySpec>,
    /// Lowest level at which a date may be released.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub date_minimum_level: usize,
    /// Codes of fewer persons are generalised before anything else; the policy's smallest class without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rare: Option<u64>,
    /// Whether a code has the same label wherever it is released; the policy's `recoding` without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recoding: Option<Recoding>,
    /// Largest share of events that may be suppressed; the policy's `suppression_limit` without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suppression_limit: Option<f64>,
    /// How much the loss of events counts beside the weights of columns.
    #[serde(default = "weight_one")]
    pub weight: f64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_zero(level: &usize) -> bool {
    *level == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_one(level: &usize) -> bool {
    *level == 1
}

fn one() -> usize {
    1
}

fn weight_one() -> f64 {
    1.0
}

impl EventSpec {
    /// Hierarchies of codes and dates.
    pub(crate) fn hierarchies(&self) -> impl Iterator<Item = &HierarchySpec> {
        std::iter::once(&self.hierarchy).chain(&self.date_hierarchy)
    }

    /// Columns that hold events.
    pub(super) fn columns(&self) -> impl Iterator<Item = &str> {
        self.codes.iter().chain(&self.date).map(String::as_str)
    }
}

fn wrong(problem: &str) -> DeidentifyError {
    DeidentifyError::Policy { message: format!("events: {problem}") }
}

impl Policy {
    /// Most codes of a person that an attacker is taken to know; 0 without a model of events.
    pub fn known_codes(&self) -> usize {
        let known = |model: &ModelSpec| match model {
            ModelSpec::KmAnonymity { m } => *m,
            ModelSpec::LkcPrivacy { l, .. } => *l,
            _ => 0,
        };
        self.models.iter().map(known).max().unwrap_or(0)
    }

    /// Refuses a section of events that contradicts itself or the rest.
    pub(crate) fn check_events(&self) -> Result<(), DeidentifyError> {
        let of_events =
            |model: &ModelSpec| matches!(model, ModelSpec::KmAnonymity { .. } | ModelSpec::LkcPrivacy { .. });
        let Some(events) = &self.events else {
            return match self.models.iter().find(|model| of_events(model)) {
                Some(model) => Err(DeidentifyError::Policy {
                    message: format!("model {}: needs a section [events]", model.words()),
                }),
                None => Ok(()),
            };
        };
        if self.known_codes() == 0 {
            return Err(wrong(
                "a model must say how many codes an attacker knows: km-anonymity with m, or lkc-privacy with l",
            ));
        }
        if self.known_codes() > MOST_KNOWN {
            return Err(wrong("m and l may be at most 8"));
        }
        for model in &self.models {
            if let ModelSpec::LkcPrivacy { c, .. } = model
                && !(*c > 0.0 && *c <= 1.0)
            {
                return Err(wrong("c of lkc-privacy must be above 0 and at most 1"));
            }
        }
        self.single(Role::PersonId)?;
        if self.of_role(Role::QuasiIdentifier).next().is_none() {
            return Err(wrong("at least one column must be a quasi-identifier"));
        }
        if self.of_role(Role::Assignment).next().is_some() {
            return Err(wrong("a column with the role assignment belongs to a table without events"));
        }
        if events.codes.is_empty() {
            return Err(wrong("codes must name at least one column"));
        }
        let mut names: Vec<&str> = events.columns().collect();
        names.sort_unstable();
        if names.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(wrong("codes and date must name different columns"));
        }
        if let Some(name) = names.iter().find(|name| self.columns.contains_key(**name)) {
            return Err(wrong(&format!("column {name} must not be in [columns] too")));
        }
        if self.columns.get(PERSON).is_some_and(|column| column.role.is_released()) {
            return Err(wrong("no released column may be called person: that one joins persons and events"));
        }
        if events.date.is_some() != events.date_hierarchy.is_some() {
            return Err(wrong("date and date_hierarchy belong together"));
        }
        let moved =
            self.columns.values().any(|column| column.transform.as_ref().is_some_and(|transform| transform.shift));
        if events.date.is_some() && moved {
            return Err(wrong(
                "dates of events are generalised where they lie, and moved days of other columns beside them would tell \
                 the shift: leave one of them out",
            ));
        }
        if !(events.weight.is_finite() && events.weight > 0.0) {
            return Err(wrong("weight must be a positive number"));
        }
        if events.suppression_limit.is_some_and(|limit| !(0.0..=1.0).contains(&limit)) {
            return Err(wrong("suppression_limit must be from 0 to 1"));
        }
        if self.models.iter().any(ModelSpec::needs_population) {
            return Err(wrong("models that compare with a population table cannot be combined with events"));
        }
        Ok(())
    }
}

/// Combinations of more items than this are too many to count.
const MOST_KNOWN: usize = 8;
