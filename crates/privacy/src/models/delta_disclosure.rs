//! δ-disclosure privacy: |log2(share in the class / share in the table)| < δ for every value that occurs in a class
//! (Brickell and Shmatikov, "The cost of privacy", KDD 2008).

use super::{Distribution, Value};
use crate::real;

/// The largest |log2| over the values of a class.
pub(crate) fn disclosure(values: &[(Value, u64)], whole: &Distribution) -> f64 {
    let rows = real(values.iter().map(|(_, count)| count).sum());
    values.iter().map(|(value, count)| (real(*count) / rows / whole.share(*value)).log2().abs()).fold(0.0, f64::max)
}
