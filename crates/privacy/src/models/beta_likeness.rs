//! β-likeness: in no class does a value gain more than β over its share in the table, relative to that share; enhanced
//! β-likeness also caps the gain at −ln of the share (Cao and Karras, "Publishing microdata with a robust privacy
//! guarantee", PVLDB 5(11), 2012, definitions 2 and 3).

use super::{Distribution, Value};
use crate::real;

fn gains<'a>(values: &'a [(Value, u64)], whole: &'a Distribution) -> impl Iterator<Item = (f64, f64)> + 'a {
    let rows = real(values.iter().map(|(_, count)| count).sum());
    values.iter().map(move |(value, count)| {
        let share = whole.share(*value);
        (share, (real(*count) / rows - share) / share)
    })
}

/// The largest relative gain of any value.
pub(crate) fn gain(values: &[(Value, u64)], whole: &Distribution) -> f64 {
    gains(values, whole).map(|(_, gain)| gain).fold(0.0, f64::max)
}

pub(crate) fn holds(values: &[(Value, u64)], whole: &Distribution, beta: f64, enhanced: bool) -> bool {
    gains(values, whole).all(|(share, gain)| gain <= if enhanced { beta.min(-share.ln()) } else { beta })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cap_protects_frequent_values() {
        let whole = Distribution::of([(0, 60), (1, 40)]);
        let class = [(0, 19), (1, 1)];
        assert!((gain(&class, &whole) - 0.35 / 0.6).abs() < 1e-12);
        assert!(holds(&class, &whole, 1.0, false));
        assert!(!holds(&class, &whole, 1.0, true), "the cap of a share of 0.6 is 0.51");
    }
}
