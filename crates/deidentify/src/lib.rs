//! De-identification (being written).

mod proof;

pub use proof::{Deidentified, Receipt};
