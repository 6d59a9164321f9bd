//! Labels of recoded values as intervals of a number line, and the natural order of labels.

use std::cmp::Ordering;

/// A half-open interval `[low, high)`; `None` is an open end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// Lower end.
    pub low: Option<f64>,
    /// Upper end.
    pub high: Option<f64>,
}

impl Interval {
    /// Lower end, minus infinity when open.
    pub fn from(&self) -> f64 {
        self.low.unwrap_or(f64::NEG_INFINITY)
    }

    /// Upper end, plus infinity when open.
    pub fn to(&self) -> f64 {
        self.high.unwrap_or(f64::INFINITY)
    }

    /// Whether a value lies inside.
    pub fn contains(&self, value: f64) -> bool {
        self.from() <= value && value < self.to()
    }
}

/// Reads `50-54`, `<20`, `<=20`, `>=90`, `>90`, `90+`, `[50, 55)` and single numbers.
///
/// Bounds without a decimal point are whole numbers, so `50-54` is `[50, 55)`, `<=20` is below 21 and `3` is `[3, 4)`;
/// bounds with one are real, so `0.5-1.5` is `[0.5, 1.5)` and `2.5` is the point `[2.5, 2.5)`. Words may stand for the
/// signs (`up to 20`, `over 50`), and a unit may follow (`21-50 mm`).
pub fn interval(label: &str) -> Option<Interval> {
    let text = label.trim();
    if let Some((words, unit)) = text.rsplit_once(' ')
        && !unit.contains(|c: char| c.is_ascii_digit())
        && words.ends_with(|c: char| c.is_ascii_digit())
    {
        return interval(words);
    }
    if let Some((sign, rest)) = WORDS.iter().find_map(|(words, sign)| Some((sign, text.strip_prefix(words)?))) {
        return interval(&format!("{sign}{}", rest.trim()));
    }
    if let Some(inner) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(')')) {
        let (low, high) = inner.split_once(',')?;
        return closed(number(low)?.0, number(high)?.0);
    }
    if let Some(rest) = text.strip_prefix("<=").or_else(|| text.strip_prefix('≤')) {
        let (high, step) = number(rest)?;
        return Some(Interval { low: None, high: Some(high + step) });
    }
    if let Some(rest) = text.strip_prefix('<') {
        return Some(Interval { low: None, high: Some(number(rest)?.0) });
    }
    if let Some(rest) = text.strip_prefix(">=").or_else(|| text.strip_prefix('≥')) {
        return Some(Interval { low: Some(number(rest)?.0), high: None });
    }
    if let Some(rest) = text.strip_prefix('>') {
        let (low, step) = number(rest)?;
        return Some(Interval { low: Some(low + step), high: None });
    }
    if let Some(rest) = text.strip_suffix('+') {
        return Some(Interval { low: Some(number(rest)?.0), high: None });
    }
    if let Some((low, step)) = number(text) {
        return Some(Interval { low: Some(low), high: Some(low + step) });
    }
    // The dash that separates is the first one after the first character, which may be a minus sign.
    let (at, dash) = text.char_indices().skip(1).find(|(_, c)| matches!(c, '-' | '–'))?;
    let (low, low_step) = number(&text[..at])?;
    let (high, high_step) = number(&text[at + dash.len_utf8()..])?;
    closed(low, high + low_step.min(high_step))
}

/// Words that people write in hierarchies instead of signs.
const WORDS: [(&str, &str); 9] = [
    ("up to ", "<="),
    ("at most ", "<="),
    ("less than ", "<"),
    ("under ", "<"),
    ("below ", "<"),
    ("at least ", ">="),
    ("more than ", ">"),
    ("over ", ">"),
    ("above ", ">"),
];

fn closed(low: f64, high: f64) -> Option<Interval> {
    (low < high).then_some(Interval { low: Some(low), high: Some(high) })
}

/// The number and the distance to the next one: 1 for whole numbers, 0 for real ones.
fn number(text: &str) -> Option<(f64, f64)> {
    let text = text.trim();
    let digits = text.strip_prefix('-').unwrap_or(text);
    if !digits.starts_with(|c: char| c.is_ascii_digit()) || !digits.ends_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let value: f64 = text.parse().ok()?;
    value.is_finite().then_some((value, if text.contains(['.', 'e', 'E']) { 0.0 } else { 1.0 }))
}

/// Intervals by lower bound (`<20` first, `>=90` last), then words alphabetically, then `*`.
pub fn natural(a: &str, b: &str) -> Ordering {
    let key = |label: &str| interval(label).map(|i| (i.from(), i.to()));
    match (key(a), key(b)) {
        (Some(x), Some(y)) => x.0.total_cmp(&y.0).then(x.1.total_cmp(&y.1)).then_with(|| a.cmp(b)),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => (a == "*").cmp(&(b == "*")).then_with(|| a.cmp(b)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bounds(label: &str) -> Option<(f64, f64)> {
        interval(label).map(|i| (i.from(), i.to()))
    }

    #[test]
    fn labels_are_read_as_intervals() {
        assert_eq!(bounds("50-54"), Some((50.0, 55.0)));
        assert_eq!(bounds("50–54"), Some((50.0, 55.0)));
        assert_eq!(bounds("<20"), Some((f64::NEG_INFINITY, 20.0)));
        assert_eq!(bounds("<=20"), Some((f64::NEG_INFINITY, 21.0)));
        assert_eq!(bounds(">=90"), Some((90.0, f64::INFINITY)));
        assert_eq!(bounds(">50"), Some((51.0, f64::INFINITY)));
        assert_eq!(bounds("100+"), Some((100.0, f64::INFINITY)));
        assert_eq!(bounds("[50, 55)"), Some((50.0, 55.0)));
        assert_eq!(bounds("3"), Some((3.0, 4.0)));
        assert_eq!(bounds("up to 20 mm"), Some((f64::NEG_INFINITY, 21.0)));
        assert_eq!(bounds("21-50 mm"), Some((21.0, 51.0)));
        assert_eq!(bounds("more than 50 mm"), Some((51.0, f64::INFINITY)));
        assert_eq!(bounds("-5--1"), Some((-5.0, 0.0)));
        assert_eq!(bounds("0.5-1.5"), Some((0.5, 1.5)));
        for word in [
            "*",
            "premenopausal",
            "unknown",
            "-",
            "",
            "+",
            "a-b",
            "5-",
            "nan",
            "inf",
            "1-2-3",
            "9-1",
            "stage 3",
            "over over",
        ] {
            assert_eq!(bounds(word), None, "{word}");
        }
    }

    #[test]
    fn labels_come_in_the_order_people_expect() {
        let mut labels = ["*", ">=90", "unknown", "100+", "50-54", "<20", "5-9", "20-24", "b", "a"];
        labels.sort_by(|a, b| natural(a, b));
        assert_eq!(labels, ["<20", "5-9", "20-24", "50-54", ">=90", "100+", "a", "b", "unknown", "*"]);
    }

    proptest! {
        #[test]
        fn the_order_is_total(a in "[-<>=0-9a-z*.+]{0,6}", b in "[-<>=0-9a-z*.+]{0,6}", c in "[-<>=0-9a-z*.+]{0,6}") {
            prop_assert_eq!(natural(&a, &b), natural(&b, &a).reverse());
            if natural(&a, &b) != Ordering::Greater && natural(&b, &c) != Ordering::Greater {
                prop_assert_ne!(natural(&a, &c), Ordering::Greater);
            }
        }

        #[test]
        fn no_label_panics(label in "\\PC{0,12}") {
            let _ = interval(&label);
        }
    }
}
