//! (α,k)-anonymity: besides k rows, no sensitive value (or one named value) has a share above α in any class (Wong et al.,
//! "(α,k)-anonymity", KDD 2006). The k is a model of its own.

use super::Value;
use crate::real;

/// The largest share of any value, or the share of the named one.
pub(crate) fn confidence(values: &[(Value, u64)], named: Option<Value>) -> f64 {
    let rows = real(values.iter().map(|(_, count)| count).sum());
    let counts = values.iter().filter(|(value, _)| named.is_none_or(|named| named == *value));
    counts.map(|(_, count)| real(*count) / rows).fold(0.0, f64::max)
}

pub(crate) fn holds(values: &[(Value, u64)], alpha: f64, named: Option<Value>) -> bool {
    confidence(values, named) <= alpha
}
