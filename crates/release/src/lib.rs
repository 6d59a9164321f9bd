//! One data set version: splits, card, Croissant, dictionary, statistics, reports, manifest.
mod error;
mod plan;

pub use error::ReleaseError;
pub use plan::{
    Agent, AgentKind, CollectionPlan, ColumnPlan, ConsentOutcome, ConsentPlan, Dimension, DiversityPlan, NotRecorded,
    Plan, ReferenceCell, SplitPlan, UseTerm, VersionNote,
};
use acequia_deidentify::Deidentified;
use acequia_gate::{Manifest, Outbound, Parcel};
use bytes::Bytes;

/// Makes a version.
pub fn release(data: &Outbound<Deidentified>, plan: &Plan) -> Result<Outbound<Parcel>, ReleaseError> {
    data.derive(plan, make)
}
fn make(_data: &Deidentified, plan: &Plan) -> Result<Parcel, ReleaseError> {
    plan.check()?;
    Err(ReleaseError::Receipt { what: "anything" })
}
/// What was rechecked.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Verification {
    /// The checks.
    pub checks: Vec<Check>,
}
/// One check.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Check {
    /// Name.
    pub name: String,
    /// Outcome.
    pub held: bool,
    /// Words.
    pub detail: String,
}
impl Verification {
    /// Whether every check held.
    pub fn held(&self) -> bool {
        self.checks.iter().all(|check| check.held)
    }
}
/// Rechecks.
pub fn verify(_manifest: &Manifest, _read: impl Fn(&str) -> Option<Bytes>) -> Verification {
    Verification { checks: Vec::new() }
}
