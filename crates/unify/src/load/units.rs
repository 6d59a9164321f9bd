//! Spelling of units: UCUM (Unified Code for Units of Measure), with a table of what sources write instead.

use std::borrow::Cow;

/// Pairs of what is written and the UCUM code that is meant. `K/uL` is valid UCUM and means kelvin per microlitre; no
/// record means that.
const CORRECTIONS: &[(&str, &str)] = &[
    ("K/uL", "10*3/uL"),
    ("k/uL", "10*3/uL"),
    ("M/uL", "10*6/uL"),
    ("m/uL", "10*6/uL"),
    ("IU/L", "[IU]/L"),
    ("IU/mL", "[IU]/mL"),
    ("mIU/L", "m[IU]/L"),
    ("uIU/mL", "u[IU]/mL"),
    ("units", "[arb'U]"),
    ("(score)", "{score}"),
    ("score", "{score}"),
    ("ml", "mL"),
    ("dl", "dL"),
    ("mg/dl", "mg/dL"),
    ("g/dl", "g/dL"),
    ("gm", "g"),
    ("mcg", "ug"),
    ("sec", "s"),
    ("mmHg", "mm[Hg]"),
    ("mm Hg", "mm[Hg]"),
    ("bpm", "/min"),
    ("beats/min", "/min"),
    ("percent", "%"),
    ("degF", "[degF]"),
    ("degC", "Cel"),
    ("lb", "[lb_av]"),
    ("in", "[in_i]"),
    ("x10E3/uL", "10*3/uL"),
    ("x10E6/uL", "10*6/uL"),
    ("10^3/uL", "10*3/uL"),
    ("10^6/uL", "10*6/uL"),
    ("10^9/L", "10*9/L"),
];

/// The UCUM code that a unit as received most likely means; the unit itself where nothing is known to be wrong with it.
pub(super) fn ucum(unit: &str) -> Cow<'_, str> {
    let unit = unit.trim();
    let known = CORRECTIONS.iter().find(|(written, _)| *written == unit);
    known.map_or(Cow::Borrowed(unit), |(_, meant)| Cow::Borrowed(*meant))
}
