//! Privacy models, re-identification risk, utility, what noisy steps give away, and what follows from sums: mathematics only.
//!
//! Comes in: equivalence classes (rows that agree in all quasi-identifiers), as sizes or as [`Class`]es with the counts
//! of a sensitive column. Goes out: measured numbers, and whether a [`Model`] holds. Rows that were suppressed are not in
//! any class; functions that need their number take it.
//!
//! ```
//! use acequia_privacy::{Class, Classes, Distribution, Model};
//! let classes = Classes::of([3, 5]);
//! assert_eq!(classes.smallest(), Some(3));
//! let risk = classes.prosecutor(0.25);
//! assert_eq!((risk.maximum, risk.average), (1.0 / 3.0, 2.0 / 8.0));
//! assert_eq!(risk.at_risk_share, 3.0 / 8.0, "rows whose risk is above 0.25");
//!
//! // Four rows with diagnosis 0, one with diagnosis 1.
//! let class = Class { rows: 5, population: 5, sensitive: &[(0, 4), (1, 1)] };
//! let whole = Distribution::of([(0, 50), (1, 50)]);
//! assert!(Model::DistinctL { l: 2 }.holds(&class, &whole));
//! assert!(!Model::DeltaDisclosure { delta: 1.0 }.holds(&class, &whole), "|log2(0.2 / 0.5)| is 1.32");
//! ```
//!
//! To add a model: a file in `models` with its condition and the paper, a variant of [`Model`].

mod accounting;
mod classes;
mod elimination;
mod interval;
mod journalist;
mod models;
pub mod republication;
mod utility;

pub use accounting::{NoisySteps, epsilon};
pub use classes::{Classes, Risk};
pub use elimination::{Echelon, Residue};
pub use interval::{Interval, clopper_pearson};
pub use journalist::journalist;
pub use models::km_anonymity::{ItemSupport, each_combination, item_support};
pub use models::lkc_privacy::item_confidence;
pub use models::population_uniqueness::{Estimator, PopulationUniques, population_uniques};
pub use models::suda2::{ColumnShare, Dis, Quartiles, SpecialUniques, Suda2Refusal, suda2};
pub use models::{Class, Distribution, Ground, Model, TableModel, Value};
pub use utility::{Metric, ambiguity, entropy_bits, loss, normalised_loss, value_loss};

#[expect(clippy::cast_precision_loss, reason = "counts of rows are far below 2^53")]
pub(crate) fn real(count: u64) -> f64 {
    count as f64
}
