//! k-map: every class has at least k rows in the population table (Sweeney, "Computational disclosure control", PhD
//! thesis, MIT 2001).

use super::Class;

pub(crate) fn holds(class: &Class<'_>, k: u64) -> bool {
    class.population >= k
}
