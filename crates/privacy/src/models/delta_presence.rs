//! δ-presence: the chance that a person of the population table is in the released subset lies between two bounds, in
//! every class (Nergiz, Atzori and Clifton, "Hiding the presence of individuals from shared databases", SIGMOD 2007).

use super::Class;
use crate::real;

/// Share of the class's population that is released.
pub(crate) fn presence(class: &Class<'_>) -> f64 {
    if class.population == 0 { 0.0 } else { real(class.rows) / real(class.population) }
}

pub(crate) fn holds(class: &Class<'_>, minimum: f64, maximum: f64) -> bool {
    let presence = presence(class);
    minimum <= presence && presence <= maximum
}
