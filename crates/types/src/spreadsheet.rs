//! Texts that a spreadsheet would run.
//!
//! A program that shows a table takes a field that begins with `=`, `+`, `-` or `@` for a formula, and a formula may fetch an
//! address or start a program (OWASP, "CSV Injection"; threat T13). Quotation marks of CSV do not help: they are gone when the
//! field is looked at. What stands here goes before a field is written as CSV for people to open; Parquet needs none of it.

use std::borrow::Cow;

/// The field as it may be written: with an apostrophe in front where a spreadsheet would take it for a formula.
///
/// Numbers, and signs other than `=` without a letter or digit behind (a receptor status `+`), stay as they are. [`spreadsheet_undone`] gives
/// back what was there, whatever it was.
///
/// ```
/// use acequia_types::spreadsheet_safe;
/// assert_eq!(spreadsheet_safe("=HYPERLINK(A1)"), "'=HYPERLINK(A1)");
/// assert_eq!(spreadsheet_safe("-1.5e3"), "-1.5e3");
/// assert_eq!(spreadsheet_safe("+"), "+");
/// ```
#[inline]
pub fn spreadsheet_safe(field: &str) -> Cow<'_, str> {
    if runs(field) { Cow::Owned(format!("'{field}")) } else { Cow::Borrowed(field) }
}

/// The field that [`spreadsheet_safe`] was given.
pub fn spreadsheet_undone(field: &str) -> &str {
    match field.strip_prefix('\'') {
        Some(inner) if runs(inner) => inner,
        _ => field,
    }
}

/// Whether a field would run, or is told from such a one by its apostrophe only.
#[inline]
fn runs(field: &str) -> bool {
    // Of nearly all fields, one byte is looked at. 0xef begins the wide forms of the signs.
    match field.as_bytes().first() {
        Some(b'=' | b'+' | b'-' | b'@' | b'\t' | b'\r' | b'\n' | b' ' | b'\'' | 0xef) => runs_by_its_text(field),
        _ => false,
    }
}

fn runs_by_its_text(field: &str) -> bool {
    // Programs that trim a field look at what is behind the space.
    let bare = field.trim_start_matches('\'').trim_start_matches(['\t', '\r', '\n', ' ']);
    if let Some(behind) = bare.strip_prefix(['=', '＝']) {
        return !behind.is_empty();
    }
    let Some(behind) = bare.strip_prefix(['+', '-', '@', '＋', '－', '＠']) else { return false };
    let number = bare.starts_with(['+', '-']) && is_number(behind);
    !number && behind.contains(char::is_alphanumeric)
}

/// Digits with points or commas, and an exponent.
fn is_number(text: &str) -> bool {
    let (digits, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    let all = |text: &str, also: &[char]| {
        text.contains(|letter: char| letter.is_ascii_digit())
            && text.chars().all(|letter| letter.is_ascii_digit() || also.contains(&letter))
    };
    all(digits, &['.', ',']) && all(exponent, &[])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fields and whether LibreOffice Calc 7.4.7 makes a formula of them when it opens a CSV file and is told to look for
    /// formulas (`soffice --infilter=CSV:44,34,76,1,,0,false,true,false,false,false,-1,true --convert-to fods`, then
    /// `table:formula` of each cell). Excel also takes `+`, `-` and `@` for a beginning (OWASP), which Calc does not.
    const CALC: &[(&str, bool)] = &[
        ("=1+1", true),
        ("=HYPERLINK(\"x\")", true),
        ("=\"\"&A1", true),
        ("==", true),
        ("=-", true),
        ("=#REF!", true),
        ("=cmd|' /C calc'!A0", true),
        ("=", false),
        ("'=1+1", false),
        ("''=1+1", false),
        ("' =1+1", false),
        ("{=1+1}", false),
        ("%=1", false),
        ("-", false),
        ("+/-", false),
        ("-1.5e3", false),
        ("-1,5", false),
    ];

    #[test]
    fn what_a_spreadsheet_runs_is_written_as_text() {
        for (field, formula) in CALC {
            let safe = spreadsheet_safe(field);
            assert!(!formula || safe.starts_with('\''), "{field}");
            assert!(!CALC.iter().any(|(other, formula)| *formula && *other == safe), "{field}");
        }
        for field in
            ["+A1", "-2+3+cmd|' /C calc'!A0", "@SUM(1+1)", "\t=A1", "\r@A1", " =A1", "＝A1", "＋A1", "-5 mg", "' =A1"]
        {
            assert_eq!(spreadsheet_safe(field), format!("'{field}"));
        }
        for field in
            ["", "a=b", "-5", "+3,50", "-1.5e-3", "-", "+/-", "++", "=", "'quoted'", "\ttext", "{a}", "ﬁne", "--"]
        {
            assert_eq!(spreadsheet_safe(field), field);
        }
    }

    #[test]
    fn what_was_there_comes_back() {
        for field in ["=A1", "'=A1", "''=A1", "'a", "''", "-5", "'-5", "", "'", "\t=A1", "'\t=A1", "＝A1"] {
            assert_eq!(spreadsheet_undone(&spreadsheet_safe(field)), field);
        }
    }
}
