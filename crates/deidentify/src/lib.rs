//! De-identification: from an identified table to [`Deidentified`] with a receipt that states the measured risk.
//!
//! Comes in: an identified table with one row per person, a [`Grant`](acequia_custody::Grant) for everybody in it, a
//! [`Policy`], the hierarchy files it names. Goes out: a table in which every equivalence class has at least k rows,
//! or a refusal. Identifiers are removed, quasi-identifiers generalised over fixed hierarchies, and rows that would still
//! stand out are suppressed. With `recoding = "global"` all rows get the same levels, and the search proves that no levels
//! lose less (see `search/exact.rs`); with `"local"` each row is as exact as its class allows (see `search/local.rs`).
//! Before a [`Deidentified`] exists, a verifier recounts the classes of what is to leave, as text.
//!
//! Tables in files, without a node: [`deidentify_file`], [`recount`], [`FileTable::risk`]. Persons with their events, such as
//! diagnoses: [`deidentify_events`], with a policy section that [`EventSpec`] describes.
//!
//! A policy in TOML; every column of the table is named, and nothing else:
//!
//! ```toml
//! k = 12                      # smallest equivalence class
//! maximum_risk = 0.09         # highest prosecutor risk, 1 / size of the class
//! suppression_limit = 0.05    # largest share of rows to remove
//! attacker = "prosecutor"     # what the attacker is assumed to know
//! recoding = "global"         # or "local": each row at its own levels
//! metric = "loss"             # or "entropy", "discernibility", "class-size": what the search makes small
//! l_diversity = { event = 2 } # different values of a sensitive column in every class
//!
//! [attacks]                   # all keys optional
//! targets = 2000              # persons that are attacked where attacking all would take long
//! seed = 1                    # where targets and guesses are drawn from
//! maximum = 0.09              # highest chance of finding anybody; the policy's maximum_risk without it
//!
//! [columns]
//! person_id = { role = "person-id" }            # exactly one; removed
//! assignment = { role = "assignment" }          # one opaque number per person; leaves the table
//! name = { role = "direct-identifier" }         # removed
//! event = { role = "sensitive" }                # kept
//! er_status = { role = "insensitive" }          # kept
//! # numbers into bands; each width a multiple of the one before; below lower and from upper on one band each
//! # minimum_level: never released below it
//! age = { role = "quasi-identifier", minimum_level = 1, hierarchy = { intervals = { levels = [5, 10], lower = 30, upper = 80 } } }
//! # the first characters of a text; parts of the calendar; codes of diseases
//! postcode = { role = "quasi-identifier", hierarchy = { prefixes = [3, 2] } }
//! diagnosed_on = { role = "quasi-identifier", hierarchy = { dates = ["month", "year"] } }
//! diagnosis = { role = "quasi-identifier", hierarchy = { icd = "icd-10" } }
//! # names over values, nested as deep as needed
//! grade = { role = "quasi-identifier", hierarchy = { tree = { low = ["1", "2"], high = ["3"] } } }
//! # a CSV file: value;level 1;level 2;...
//! nodes = { role = "quasi-identifier", hierarchy = { file = "nodes.csv" } }
//! # the value or nothing
//! chemotherapy = { role = "quasi-identifier", hierarchy = "suppress" }
//!
//! # further privacy models, as many as needed; see [`ModelSpec`]
//! [[models]]
//! model = "t-closeness"
//! column = "event"
//! t = 0.3
//! ```
//!
//! Every hierarchy ends in one root, `*` where a file names no other. A missing value stays missing and is a value of its own in the classes, until `*`.
//!
//! ```
//! use acequia_deidentify::Policy;
//! let policy: Policy = toml::from_str(r#"
//!     [columns]
//!     person_id = { role = "person-id" }
//!     assignment = { role = "assignment" }
//!     age = { role = "quasi-identifier", hierarchy = { intervals = { levels = [5], lower = 0, upper = 100 } } }
//! "#)?;
//! assert_eq!((policy.k, policy.maximum_risk), (12, 0.09));
//! # Ok::<(), toml::de::Error>(())
//! ```
//!
//! Only this crate makes the proof:
//!
//! ```compile_fail,E0451
//! use acequia_deidentify::Deidentified;
//! fn forge(good: Deidentified, table: acequia_frame::Table) -> Deidentified {
//!     Deidentified { table, ..good }
//! }
//! ```
//! ```
//! use acequia_deidentify::Deidentified;
//! fn keep(good: Deidentified) -> Deidentified {
//!     good
//! }
//! ```

mod attack;
mod coded;
mod csv_text;
mod encode;
mod engine;
mod error;
mod events;
mod file;
mod grouping;
mod hierarchy;
mod hierarchy_table;
mod large;
mod policy;
mod proof;
#[cfg(test)]
mod properties;
mod receipt;
mod report;
mod republish;
mod run;
mod search;
mod shift;
mod transform;
mod utility;
mod verify;
mod verify_population;
mod verify_values;

pub use attack::{Attack, AttackKind, AttackSettings, Attacks, Control, Extent, Measure};
pub use coded::{CodedColumn, Coder};
pub use error::DeidentifyError;
pub use events::{
    EventCounts, EventFacts, EventLevel, EventRecount, EventRisk, EventSpec, EventUtility, Findable, KnownCodes,
    LevelRisk, PooledRows, deidentify_events, events_path, recount_events, risk_of_events,
};
pub use file::{
    FileTable, Optima, Optimum, TableRisk, deidentify_file, read_policy, read_shift_plan, recount, recount_beside,
};
pub use hierarchy_table::HierarchyTable;
pub use policy::{
    Attacker, CalendarPart, Column, Distance, HierarchySpec, Icd, Intervals, ModelSpec, Policy, Recoding, Role, Tree,
};
pub use proof::{
    Before, ClassCounts, ClassSize, ColumnUtility, Deidentified, Loss, ModelResult, PolicyFacts, QuasiIdentifier,
    Receipt, Risks, RowCounts, StatedRisk, Utility,
};
pub use report::risk_report;
pub use republish::{EarlierRows, EarlierVersion, Ledger, LedgerRule, verify_beside};
pub use run::{deidentify, deidentify_beside};
pub use shift::{
    DateShift, PersonShift, Recovery, ShiftKey, ShiftPlan, ShiftReceipt, ShiftedTable, TablePlan, Window, shift_files,
    shift_tables,
};
pub use transform::{Bound, ClassValue, Microaggregation, Rare, Sample, Sampling, Transform, Transformation};
pub use verify::{Beside, Recount, Recounter, verify};
