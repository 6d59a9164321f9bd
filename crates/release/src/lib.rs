//! Release: one immutable data set version, ready to be served.
//!
//! Comes in: a de-identified table that passed the gate ([`acequia_gate::Outbound`] of
//! [`acequia_deidentify::Deidentified`]) and a [`Plan`], which holds words, settings, digests and counts, never a row.
//! Goes out: an [`acequia_gate::Parcel`], the bytes of every file and the manifest that lists them:
//!
//! | path | what |
//! |---|---|
//! | `data/{train,validation,test}-00000-of-00001.parquet` | the rows, divided by person, stratified, sorted by content |
//! | `README.md` | data set card: the Hub's front matter and the seven sections of "Datasheets for Datasets" |
//! | `croissant.json` | Croissant 1.1 with RAI 1.0, DUO use terms and PROV-O |
//! | `dictionary.json` | `acequia-dictionary/1`: what each column means |
//! | `statistics.json` | `acequia-statistics/1`: counts per column and split, small ones hidden |
//! | `risk.json` | `acequia-risk/1`: the de-identification receipt |
//! | `diversity.json` | `acequia-diversity/1`: who is in the data, compared with a reference population |
//! | `manifest.json` | `acequia-release/1`: every file with size and digests, inputs, recipe, seed, program |
//!
//! A model that passed the gate ([`acequia_gate::Outbound`] of [`acequia_learn::TestedModel`]) becomes a version too, by
//! [`release_model`] and a [`ModelPlan`]: three formats, card, bill of materials and validation records.
//!
//! Same rows, same plan: same bytes, whatever the order of the rows. [`verify`] rechecks a version from its bytes alone.
//!
//! A plan is refused when it would make a false or unreadable version:
//!
//! ```
//! use acequia_release::Plan;
//! let plan: Plan = toml::from_str(r#"
//!     dataset = "acequia/breast-cancer-survival"
//!     version = "1.0.0"
//!     title = "Breast cancer survival"
//!     summary = "Time to recurrence or death after breast cancer surgery."
//!     description = "Each row is one woman."
//!     license = "CC-BY-4.0"
//!     creators = [{ name = "Acequia founders" }]
//!     publisher = { name = "Acequia", url = "https://acequia.example" }
//!     home = "https://acequia.example/datasets/acequia/breast-cancer-survival"
//!     released_on = "2026-11-23"
//!     seed = 7
//!     recipe = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
//!     program = "acequia 0.1.0"
//!     keywords = ["breast cancer"]
//!     citations = ["Schumacher et al. 1994"]
//!
//!     [collection] # a card that states less than six tenths of what readers need is refused
//!     motivation = "Predicting the course of breast cancer."
//!     collection = "A published cohort."
//!     raw_data = "A table of a tumour bank."
//!     timeframe = "1978/1993"
//!     missing_data = "Left empty."
//!     preprocessing = ["Unified to OMOP CDM 5.4"]
//!     biases = ["One country"]
//!     limitations = ["No biomarkers"]
//!     use_cases = ["Teaching"]
//!     misuse = ["Deciding about a patient"]
//!     sensitive = ["Health: cancer diagnosis"]
//!     ethics = "Published de-identified by its authors."
//!     withdrawal = "Write to the trustee."
//!     maintenance = "Yearly."
//!     contact = "data@acequia.example"
//!
//!     [[inputs]]
//!     source = "rotterdam-tumour-bank"
//!     format = "csv"
//!     files = 1
//!     digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
//!
//!     [[columns]]
//!     name = "event"
//!     title = "Recurrence or death"
//!     description = "Whether recurrence or death was observed."
//!     role = "sensitive"
//!     values = { 0 = "not observed", 1 = "observed" }
//! "#)?;
//! assert!(plan.check().is_ok());
//! let local = Plan { home: "https://localhost/x".into(), ..plan };
//! assert_eq!(local.check().unwrap_err().to_string(),
//!     "release plan: home points to this machine; give the public address");
//! # Ok::<(), toml::de::Error>(())
//! ```
//!
//! Rows that did not pass the gate are no input:
//!
//! ```compile_fail,E0308
//! use acequia_deidentify::Deidentified;
//! fn leak(rows: &Deidentified, plan: &acequia_release::Plan) {
//!     let _ = acequia_release::release(rows, plan);
//! }
//! ```
//! ```
//! use acequia_deidentify::Deidentified;
//! fn pass(rows: &acequia_gate::Outbound<Deidentified>, plan: &acequia_release::Plan) {
//!     let _ = acequia_release::release(rows, plan);
//! }
//! ```

mod card;
mod croissant;
mod dictionary;
mod diversity;
mod error;
mod make;
mod model;
mod plan;
mod receipt;
mod rows;
#[cfg(test)]
mod sample;
mod split;
mod statistics;
mod verify;

use acequia_deidentify::Deidentified;
use acequia_gate::{Outbound, Parcel};

pub use acequia_diversity::{NotRecorded, ReferenceCell, Report};
pub use error::ReleaseError;
pub use model::{Conflict, IntendedUse, ModelPlan, PredictorPlan, Source, Terms, conflict, release_model};
pub use plan::{
    Agent, AgentKind, CollectionPlan, ColumnPlan, Condition, ConsentGroup, ConsentOutcome, ConsentPlan, Dimension,
    DiversityPlan, HealthPlan, PeoplePlan, Plan, SplitPlan, UseTerm, VersionNote,
};
pub use verify::{Check, Verification, verify, verify_listed};

/// Makes one version: splits, card, Croissant, dictionary, statistics, reports and manifest, then rechecks them all.
///
/// # Errors
/// [`ReleaseError`]: an unfit plan, a column that is not described, a person who would be in two splits, an empty split,
/// an equivalence class smaller than the receipt's k, or a finished file that does not verify.
pub fn release(data: &Outbound<Deidentified>, plan: &Plan) -> Result<Outbound<Parcel>, ReleaseError> {
    data.derive(plan, from_deidentified)
}

fn from_deidentified(data: &Deidentified, plan: &Plan) -> Result<Parcel, ReleaseError> {
    let receipt =
        serde_json::to_value(data.receipt()).map_err(|_| ReleaseError::Receipt { what: "anything readable" })?;
    make::make(data.table(), data.assignment(), &receipt, plan)
}
