//! k-anonymity: every class has at least k rows (Sweeney, "k-anonymity: a model for protecting privacy", IJUFKS 10(5), 2002).

use super::Class;

pub(crate) fn holds(class: &Class<'_>, k: u64) -> bool {
    class.rows >= k
}
