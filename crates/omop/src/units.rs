//! Units: what a source wrote, read as UCUM, with its OMOP concept; and conversion in exact decimals.
//!
//! Laboratories write `K/uL` and `IU/L`. The first is valid UCUM and means kelvin, the second is none. What is read
//! otherwise than written is told ([`Reading`]), and the caller keeps the original beside it. The corrections are a
//! table, `data/units/corrections.csv`, with the reason of each.
//!
//! ```
//! use acequia_omop::{Reading, Units, Vocabulary};
//! let units = Units::new(Vocabulary::bundled());
//! let counts = units.read("K/uL", false);
//! assert_eq!((counts.ucum.as_str(), counts.concept_id, counts.reading), ("10*3/uL", Some(8848), Reading::Corrected));
//! assert_eq!(units.convert(180.0, "mg/dL", "g/L"), Some(1.8));
//! assert_eq!(units.convert(5.0, "mmol/L", "mg/dL"), None, "that needs the molar mass");
//! assert_eq!(units.convert_substance(90.0, "mg/dL", "mmol/L", 180.156).map(|x| (x * 1e3).round()), Some(4996.0));
//! ```

use std::collections::HashMap;
use std::sync::{LazyLock, OnceLock, PoisonError, RwLock};

use octofhir_ucum::{Case, EvalResult, Number, SpecialKind, UnitExpr, evaluate, lookup_unit, parse_expression};

use crate::vocabulary::{ConceptRef, Vocabulary};

/// Longest unit that is looked at, in bytes: longer texts are no units.
const LONGEST: usize = 100;

/// How a unit was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reading {
    /// It is valid UCUM.
    AsWritten,
    /// The table of corrections knows it.
    Corrected,
    /// Only its spelling differs from UCUM: `µ`, `²`, blanks, `10^3`, capital letters.
    Respelled,
    /// It is no unit that is known. `ucum` is then the text as written.
    Unknown,
}

/// A unit as read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadUnit {
    /// UCUM code, or the text itself if it is unknown.
    pub ucum: String,
    /// `unit_concept_id`; `None` when the vocabulary has no standard concept of this unit.
    pub concept_id: Option<i64>,
    /// How it was read.
    pub reading: Reading,
}

/// One row of the corrections.
struct Correction {
    ucum: &'static str,
    whole: bool,
    any_case: bool,
    counts_only: bool,
}

struct Corrections {
    exact: HashMap<&'static str, Correction>,
    lower: HashMap<String, &'static str>,
}

static CORRECTIONS: LazyLock<Corrections> = LazyLock::new(|| {
    let (mut exact, mut lower) = (HashMap::new(), HashMap::new());
    for line in include_str!("../data/units/corrections.csv").lines().skip(1) {
        // Only the last column, the reason, may hold a comma.
        let mut fields = line.splitn(6, ',');
        let mut next = || fields.next().expect("corrections.csv has six columns");
        let (written, ucum) = (next(), next());
        let correction =
            Correction { ucum, whole: next() == "whole", any_case: next() == "any", counts_only: next() == "count" };
        if correction.any_case {
            lower.entry(written.to_lowercase()).or_insert(written);
        }
        exact.insert(written, correction);
    }
    Corrections { exact, lower }
});

impl Corrections {
    fn find(&self, text: &str, whole: bool, counts: bool) -> Option<&'static str> {
        let fits = |correction: &&Correction| correction.whole == whole && (counts || !correction.counts_only);
        let found = self.exact.get(text).filter(fits);
        found
            .or_else(|| {
                self.exact.get(self.lower.get(&text.to_lowercase())?).filter(fits).filter(|found| found.any_case)
            })
            .map(|correction| correction.ucum)
    }
}

/// What a unit is, apart from how it is written.
#[derive(Debug, Clone, PartialEq)]
struct Meaning {
    value: EvalResult,
    /// Exponents of mole, equivalent and osmole. UCUM counts them as numbers; a laboratory does not: 1 mmol/L of sodium
    /// is no 6e20/L.
    substance: [i32; 3],
}

impl Meaning {
    fn of(ucum: &str) -> Option<Self> {
        let expression = parse_expression(ucum).ok()?;
        let value = evaluate(&expression).ok()?;
        let mut substance = [0; 3];
        count_substance(&expression, 1, &mut substance);
        Some(Self { value, substance })
    }

    fn converts_to(&self, other: &Self) -> bool {
        self.value.is_commensurable(&other.value) && self.substance == other.substance
    }

    /// Equal in every respect, so that a number keeps its meaning. Units on scales of their own are left out.
    fn equals(&self, other: &Self) -> bool {
        self.value.special.is_none()
            && other.value.special.is_none()
            && self.converts_to(other)
            && self.value.factor == other.value.factor
    }
}

fn count_substance(expression: &UnitExpr, times: i32, into: &mut [i32; 3]) {
    match expression {
        UnitExpr::Numeric(_) | UnitExpr::Annotation(_) => {}
        UnitExpr::Symbol(symbol) => {
            // Catalytic activity is mole per time: katal, and the enzyme unit (umol/min).
            let at = match lookup_unit(symbol, Case::Sensitive).map(|(_, unit)| unit.code) {
                Some("mol" | "kat" | "U") => 0,
                Some("eq") => 1,
                Some("osm") => 2,
                _ => return,
            };
            into[at] = into[at].saturating_add(times);
        }
        UnitExpr::Power(base, exponent) => count_substance(base, times.saturating_mul(*exponent), into),
        UnitExpr::Annotated(inner, _) => count_substance(inner, times, into),
        UnitExpr::Product(terms) => terms.iter().for_each(|term| count_substance(term, times, into)),
        UnitExpr::Quotient(above, below) => {
            count_substance(above, times, into);
            count_substance(below, times.saturating_neg(), into);
        }
        UnitExpr::Reciprocal(inner) => count_substance(inner, times.saturating_neg(), into),
    }
}

/// How numbers go from one unit to another.
#[derive(Debug, Clone, PartialEq)]
enum Conversion {
    Same,
    Ratio {
        from: Number,
        to: Number,
    },
    /// Scales of their own, such as temperature.
    Scale {
        from: String,
        to: String,
    },
}

impl Conversion {
    fn between(from: &str, to: &str) -> Option<Self> {
        let (before, after) = (Meaning::of(from)?, Meaning::of(to)?);
        if !before.converts_to(&after) {
            return None;
        }
        if before.value.special.is_some() || after.value.special.is_some() {
            return Some(if from == to {
                Self::Same
            } else {
                Self::Scale { from: from.to_owned(), to: to.to_owned() }
            });
        }
        Some(if before.value.factor == after.value.factor {
            Self::Same
        } else {
            Self::Ratio { from: before.value.factor, to: after.value.factor }
        })
    }

    fn apply(&self, value: f64) -> Option<f64> {
        match self {
            Self::Same => Some(value),
            Self::Ratio { from, to } => {
                let exact = Number::from_f64(value)?.checked_mul(*from)?.checked_div(*to)?.to_f64();
                exact.is_finite().then_some(exact)
            }
            Self::Scale { from, to } => octofhir_ucum::convert(value, from, to).ok(),
        }
    }
}

/// A standard unit; what it is, is worked out when it is asked for.
struct Standard {
    code: String,
    meaning: OnceLock<Option<Meaning>>,
    concept_id: i64,
}

/// Reads and converts units. Keeps what it has worked out, so ask one instance from all threads.
pub struct Units<'v> {
    vocabulary: &'v Vocabulary,
    /// Standard UCUM concepts that are valid UCUM without annotations, by meaning; looked through only for what is not
    /// found by its text.
    standard: LazyLock<Vec<Standard>, Box<dyn FnOnce() -> Vec<Standard> + Send + 'v>>,
    read: RwLock<HashMap<(String, bool), ReadUnit>>,
    conversions: RwLock<HashMap<(String, String), Option<Conversion>>>,
}

impl std::fmt::Debug for Units<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Units").field("vocabulary", self.vocabulary).finish_non_exhaustive()
    }
}

/// Distinct units kept; beyond, they are worked out again. Real sources have hundreds.
const KEPT: usize = 10_000;

impl<'v> Units<'v> {
    /// Units with the concepts of a vocabulary.
    pub fn new(vocabulary: &'v Vocabulary) -> Self {
        let standard = move || {
            let standard = vocabulary.concepts().filter(|concept| {
                concept.vocabulary_id == "UCUM" && concept.is_standard() && !concept.code.contains('{')
            });
            let mut found: Vec<_> = standard.collect();
            found.sort_by_key(|concept| (concept.code.len(), concept.concept_id));
            let unit = |concept: ConceptRef<'_>| Standard {
                code: written_ucum(concept.code),
                meaning: OnceLock::new(),
                concept_id: concept.concept_id,
            };
            found.into_iter().map(unit).collect()
        };
        Self {
            vocabulary,
            standard: LazyLock::new(Box::new(standard)),
            read: RwLock::default(),
            conversions: RwLock::default(),
        }
    }

    /// Reads a unit. `counts` says that the quantity is a number of things, such as cells per volume: some letters then
    /// stand for thousands (`G/L`).
    pub fn read(&self, written: &str, counts: bool) -> ReadUnit {
        let key = (written.to_owned(), counts);
        if let Some(known) = self.read.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return known.clone();
        }
        let read = self.read_anew(written.trim(), counts);
        let mut kept = self.read.write().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT {
            kept.insert(key, read.clone());
        }
        read
    }

    fn read_anew(&self, written: &str, counts: bool) -> ReadUnit {
        let (ucum, reading) = match ucum(written, counts) {
            Some((ucum, reading)) => (ucum, reading),
            None => (written.to_owned(), Reading::Unknown),
        };
        let concept_id = match reading {
            // A code of the vocabulary may be no UCUM, and still be the one the source means: `[U]/L`, `{score}`.
            Reading::Unknown => self.concept(written),
            _ => self.concept(&ucum).or_else(|| self.concept_by_meaning(&ucum)),
        };
        let reading = if reading == Reading::Unknown && concept_id.is_some() { Reading::AsWritten } else { reading };
        ReadUnit { ucum, concept_id, reading }
    }

    /// By text: as written, with a capital litre, with the star of powers of ten and the bracketed enzyme unit that
    /// OHDSI's list has.
    fn concept(&self, ucum: &str) -> Option<i64> {
        let by_code = |code: &str| {
            let found = self.vocabulary.by_code("UCUM", code)?;
            if found.is_standard() {
                return Some(found.concept_id);
            }
            self.vocabulary.maps_to(found.concept_id).next().map(|(standard, _)| standard)
        };
        by_code(ucum)
            .or_else(|| by_code(&each_term(ucum, litre)))
            .or_else(|| by_code(&ucum.replace("10^", "10*")))
            .or_else(|| by_code(&each_term(ucum, |term| bracketed(&litre(term)))))
            .or_else(|| (ucum == "[pH]").then(|| by_code("pH")).flatten())
    }

    /// By meaning: the shortest of the units that a number may be given in without changing it. Annotations tell what is
    /// counted, so a unit with one is compared by text only.
    fn concept_by_meaning(&self, ucum: &str) -> Option<i64> {
        if ucum.contains('{') {
            return None;
        }
        let wanted = Meaning::of(ucum)?;
        let same = |unit: &&Standard| {
            unit.meaning.get_or_init(|| Meaning::of(&unit.code)).as_ref().is_some_and(|meaning| meaning.equals(&wanted))
        };
        self.standard.iter().find(same).map(|unit| unit.concept_id)
    }

    /// A number in another unit, in decimals: 180 mg/dL is 1.8 g/L. `None` when the units are of different kinds, or one
    /// is no UCUM. Amount of substance (mole, equivalent, osmole) and number are different kinds here.
    pub fn convert(&self, value: f64, from: &str, to: &str) -> Option<f64> {
        if from == to {
            return Some(value);
        }
        let key = (from.to_owned(), to.to_owned());
        if let Some(known) = self.conversions.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return known.as_ref()?.apply(value);
        }
        let conversion = Conversion::between(from, to);
        let converted = conversion.as_ref().and_then(|conversion| conversion.apply(value));
        let mut kept = self.conversions.write().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT {
            kept.insert(key, conversion);
        }
        converted
    }

    /// A mass as an amount of substance or the other way round, for an analyte of a given molar mass in g/mol. What
    /// [`Units::convert`] can do, this does too.
    pub fn convert_substance(&self, value: f64, from: &str, to: &str, molar_mass_g: f64) -> Option<f64> {
        /// Things in a mole, which UCUM takes a mole for (SI, 2019).
        const MOLE: f64 = 6.022_140_76e23;
        if let Some(converted) = self.convert(value, from, to) {
            return Some(converted);
        }
        if !(molar_mass_g.is_finite() && molar_mass_g > 0.0) {
            return None;
        }
        let (before, after) = (Meaning::of(from)?, Meaning::of(to)?);
        if before.value.special.is_some()
            || after.value.special.is_some()
            || before.value.arbitrary != after.value.arbitrary
        {
            return None;
        }
        // Gram is the third base unit of UCUM's table (§28): m, s, g.
        const GRAM: usize = 2;
        let (mut dimensions, mut substance) = (before.value.dim.0, before.substance);
        let moles = after.substance[0] - before.substance[0];
        dimensions[GRAM] = dimensions[GRAM].checked_sub(i8::try_from(moles).ok()?)?;
        substance[0] = after.substance[0];
        if moles.abs() != 1 || dimensions != after.value.dim.0 || substance != after.substance {
            return None;
        }
        let mole_in_grams = Number::from_f64(molar_mass_g)?.checked_div(Number::from_f64(MOLE)?)?;
        let amount = Number::from_f64(value)?.checked_mul(before.value.factor)?.checked_div(after.value.factor)?;
        let converted =
            if moles == 1 { amount.checked_div(mole_in_grams)? } else { amount.checked_mul(mole_in_grams)? };
        Some(converted.to_f64()).filter(|converted| converted.is_finite())
    }

    /// Whether two units are of one kind, so that numbers can be converted.
    pub fn convertible(&self, from: &str, to: &str) -> bool {
        Meaning::of(from).zip(Meaning::of(to)).is_some_and(|(from, to)| from.converts_to(&to))
    }
}

/// The factor between two UCUM units; `None` when they are of different kinds or on scales of their own.
pub(crate) fn factor(from: &str, to: &str) -> Option<f64> {
    match Conversion::between(from, to)? {
        Conversion::Same => Some(1.0),
        Conversion::Ratio { from, to } => Some(from.checked_div(to)?.to_f64()),
        Conversion::Scale { .. } => None,
    }
}

/// A text as UCUM, and how it was read.
fn ucum(written: &str, counts: bool) -> Option<(String, Reading)> {
    if written.is_empty() || written.len() > LONGEST {
        return None;
    }
    // First, because some of what they correct is valid UCUM of another meaning.
    if let Some(corrected) = CORRECTIONS.find(written, true, counts) {
        return Some((
            corrected.to_owned(),
            if corrected == written { Reading::AsWritten } else { Reading::Corrected },
        ));
    }
    if valid(written) {
        return Some((written.to_owned(), Reading::AsWritten));
    }
    let plain = respell(written);
    if let Some(corrected) = CORRECTIONS.find(&plain, true, counts) {
        return Some((corrected.to_owned(), Reading::Corrected));
    }
    if valid(&plain) {
        return Some((plain, Reading::Respelled));
    }
    let corrected = each_term(&plain, |term| CORRECTIONS.find(term, false, counts).unwrap_or(term).to_owned());
    if corrected != plain && valid(&corrected) {
        return Some((corrected, Reading::Corrected));
    }
    // Terminals without small letters write UCUM's case-insensitive form (§3.4).
    if !plain.bytes().any(|byte| byte.is_ascii_lowercase()) {
        let sensitive = each_term(&plain, |term| case_sensitive(term).unwrap_or_else(|| term.to_owned()));
        if valid(&sensitive) {
            return Some((sensitive, Reading::Respelled));
        }
    }
    None
}

fn valid(ucum: &str) -> bool {
    // A bare number is valid UCUM, but no unit that a laboratory means.
    let number = ucum != "1" && ucum.bytes().all(|byte| byte.is_ascii_digit());
    !number && parse_expression(ucum).is_ok_and(|expression| evaluate(&expression).is_ok())
}

/// A code of OHDSI's list in UCUM's own writing, for evaluation: `[U]` is UCUM's `U`.
fn written_ucum(code: &str) -> String {
    code.replace("[U]", "U")
}

/// Letters and signs as UCUM writes them, blanks left out.
fn respell(written: &str) -> String {
    let mut plain = String::with_capacity(written.len());
    for character in written.chars() {
        match character {
            'µ' | 'μ' => plain.push('u'),
            '²' => plain.push('2'),
            '³' => plain.push('3'),
            '×' => plain.push('x'),
            '^' => plain.push('*'),
            '·' | '∙' => plain.push('.'),
            blank if blank.is_whitespace() => {}
            other => plain.push(other),
        }
    }
    // `x10E3/uL`, `X10*3/uL`, `10e9/L`
    let unprefixed = plain.strip_prefix(['x', 'X']).unwrap_or(&plain);
    if let Some(rest) = unprefixed.strip_prefix("10") {
        let rest = rest.strip_prefix(['*', 'E', 'e']).map(|rest| rest.strip_prefix('+').unwrap_or(rest));
        if let Some(rest) = rest.filter(|rest| rest.starts_with(|first: char| first.is_ascii_digit())) {
            return format!("10*{rest}");
        }
    }
    plain
}

/// Changes every term between `/`, `.` and parentheses; annotations in braces stay.
fn each_term(ucum: &str, mut change: impl FnMut(&str) -> String) -> String {
    let mut changed = String::with_capacity(ucum.len() + 4);
    let (mut start, mut inside) = (0, 0_u32);
    // A whole term in parentheses (`hour(s)`) is part of the word.
    let bytes = ucum.as_bytes();
    for (at, byte) in ucum.bytes().enumerate() {
        match byte {
            b'{' | b'[' => inside += 1,
            b'}' | b']' => inside = inside.saturating_sub(1),
            b'/' | b'.' | b'(' | b')' if inside == 0 => {
                let plural = &ucum[at..];
                if plural.starts_with("(s)") || (at >= 2 && &bytes[at - 2..=at] == b"(s)") || ends_word(bytes, at) {
                    continue;
                }
                if start < at {
                    changed.push_str(&change(&ucum[start..at]));
                }
                changed.push(char::from(byte));
                start = at + 1;
            }
            _ => {}
        }
    }
    if start < ucum.len() {
        changed.push_str(&change(&ucum[start..]));
    }
    changed
}

/// Whether a dot only ends an abbreviation: `mEq.`, `mEq./h`.
fn ends_word(bytes: &[u8], at: usize) -> bool {
    bytes[at] == b'.' && bytes.get(at + 1).is_none_or(|next| *next == b'/')
}

/// `l` and its multiples as `L`, as OHDSI's list has it.
fn litre(term: &str) -> String {
    let (unit, exponent) = term.split_at(term.trim_end_matches(|c: char| c.is_ascii_digit() || c == '-').len());
    let multiple =
        unit.strip_suffix('l').filter(|prefix| matches!(*prefix, "" | "m" | "d" | "u" | "n" | "p" | "f" | "c"));
    multiple.map_or_else(|| term.to_owned(), |prefix| format!("{prefix}L{exponent}"))
}

/// `U` as `[U]`, as OHDSI's list has it.
fn bracketed(term: &str) -> String {
    let prefix = term.strip_suffix('U').filter(|prefix| matches!(*prefix, "" | "m" | "u" | "n" | "k"));
    prefix.map_or_else(|| term.to_owned(), |prefix| format!("{prefix}[U]"))
}

/// A term in capitals (`MG`, `MMOL`) with the case it has.
fn case_sensitive(term: &str) -> Option<String> {
    let (unit, exponent) = term.split_at(term.trim_end_matches(|c: char| c.is_ascii_digit() || c == '-').len());
    let (prefix, atom) = lookup_unit(unit, Case::Insensitive)?;
    if atom.special != SpecialKind::None && atom.special != SpecialKind::Arbitrary {
        return None;
    }
    Some(litre(&format!("{}{}{exponent}", prefix.map_or("", |prefix| prefix.symbol), atom.code)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vocabulary::Vocabulary;

    #[test]
    fn units_of_real_sources_are_read() {
        let units = Units::new(Vocabulary::bundled());
        // Written in synthea-r4, MIMIC-IV, HL7 v2, C-CDA and Apple Health samples; concepts of OHDSI's list.
        for (written, ucum, concept_id, reading) in [
            ("mg/dL", "mg/dL", Some(8840), Reading::AsWritten),
            ("K/uL", "10*3/uL", Some(8848), Reading::Corrected),
            ("K/ul", "10*3/uL", Some(8848), Reading::Corrected),
            ("M/uL", "10*6/uL", Some(8815), Reading::Corrected),
            ("IU/L", "[IU]/L", Some(8923), Reading::Corrected),
            ("m[IU]/L", "m[IU]/L", None, Reading::AsWritten),
            ("U/L", "U/L", Some(8645), Reading::AsWritten),
            ("units", "[arb'U]", Some(9260), Reading::Corrected),
            ("(score)", "{score}", None, Reading::Corrected),
            ("{score}", "{score}", None, Reading::AsWritten),
            ("mL/hour", "mL/h", Some(44_777_613), Reading::Corrected),
            ("mcg/kg/min", "ug/kg/min", Some(9688), Reading::Corrected),
            ("ml", "ml", Some(8587), Reading::AsWritten),
            ("mg/ml", "mg/ml", Some(8861), Reading::AsWritten),
            ("mEq", "meq", Some(9551), Reading::Corrected),
            ("mEq./hour", "meq/h", None, Reading::Corrected),
            ("µmol/L", "umol/L", Some(8749), Reading::Respelled),
            ("µmol/L/h", "umol/L/h", None, Reading::Respelled),
            ("mg/m²", "mg/m2", None, Reading::Respelled),
            ("x10E3/uL", "10*3/uL", Some(8848), Reading::Respelled),
            ("10^9/L", "10^9/L", Some(9444), Reading::AsWritten),
            ("MG/DL", "mg/dL", Some(8840), Reading::Respelled),
            ("MMOL/L", "mmol/L", Some(8753), Reading::Respelled),
            ("mmHg", "mm[Hg]", Some(8876), Reading::Corrected),
            ("degrees C", "Cel", Some(586_323), Reading::Corrected),
            ("day(s)", "d", Some(8512), Reading::Corrected),
            ("mg/day", "mg/d", None, Reading::Corrected),
            ("mg/24hr", "mg/(24.h)", Some(8909), Reading::Corrected),
            ("pH", "[pH]", Some(8482), Reading::Corrected),
            ("% of current infusion rate", "% of current infusion rate", None, Reading::Unknown),
            ("md/dL", "md/dL", None, Reading::Unknown),
            ("258813002", "258813002", None, Reading::Unknown),
            ("", "", None, Reading::Unknown),
        ] {
            let read = units.read(written, false);
            assert_eq!((read.ucum.as_str(), read.reading), (ucum, reading), "{written}");
            if concept_id.is_some() {
                assert_eq!(read.concept_id, concept_id, "{written}");
            }
        }
        assert_eq!(units.read("G/L", true).ucum, "10*9/L");
        assert_ne!(units.read("G/L", false).ucum, "10*9/L");
    }

    #[test]
    fn every_correction_is_ucum() {
        for (written, correction) in &CORRECTIONS.exact {
            let ucum = correction.ucum;
            assert!(valid(ucum) || ucum.starts_with('/') && valid(&format!("1{ucum}")), "{written} -> {ucum}");
        }
    }

    #[test]
    fn numbers_stay_exact() {
        let units = Units::new(Vocabulary::bundled());
        for (value, from, to, expected) in [
            (180.0, "mg/dL", "g/L", Some(1.8)),
            (37.0, "Cel", "[degF]", Some(98.6)),
            (100.0, "[lb_av]", "kg", Some(45.359_237)),
            (1.0, "[in_i]", "cm", Some(2.54)),
            (4.5, "10*3/uL", "10*9/L", Some(4.5)),
            (1.0, "ukat/L", "U/L", Some(60.0)),
            (140.0, "mmol/L", "meq/L", None),
            (1.0, "mmol/L", "/L", None),
            (1.0, "[IU]/L", "U/L", None),
            (1.0, "mm", "g", None),
            (1.0, "md/dL", "g/L", None),
            (f64::NAN, "mg", "g", None),
        ] {
            assert_eq!(units.convert(value, from, to), expected, "{value} {from} in {to}");
        }
        let rounded = |value: Option<f64>| value.map(|value| (value * 1e6).round() / 1e6);
        // Glucose 180.156 g/mol, creatinine 113.12 g/mol.
        assert_eq!(rounded(units.convert_substance(18.0156, "mg/dL", "mmol/L", 180.156)), Some(1.0));
        assert_eq!(rounded(units.convert_substance(88.402_58, "umol/L", "mg/dL", 113.12)), Some(1.000_01));
        assert_eq!(units.convert_substance(1.0, "mg/dL", "meq/L", 23.0), None);
        assert_eq!(units.convert_substance(1.0, "mg/dL", "mmol/L", f64::NAN), None);
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,40}", counts in proptest::bool::ANY) {
            let units = Units::new(Vocabulary::bundled());
            let read = units.read(&text, counts);
            let _ = (units.convert(1.5, &read.ucum, "g/L"), units.convert_substance(1.5, &read.ucum, "mol/L", 10.0));
        }

        #[test]
        fn there_and_back_is_the_same(value in -1e9..1e9_f64, pair in 0..4_usize) {
            let (from, to) = [("mg/dL", "g/L"), ("10*3/uL", "/L"), ("cm", "m"), ("ug/min", "mg/h")][pair];
            let units = Units::new(Vocabulary::bundled());
            let there = units.convert(value, from, to).unwrap();
            let back = units.convert(there, to, from).unwrap();
            proptest::prop_assert!((back - value).abs() <= value.abs() * 1e-15, "{} {}", value, back);
        }
    }
}
