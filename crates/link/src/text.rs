//! One spelling for what people write differently: case, accents, blanks, punctuation, forms of dates.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

use crate::config::DateOrder;

/// Words that say that a value is missing.
const MISSING: [&str; 7] = ["-", "--", "?", "n/a", "unknown", "unbekannt", "inconnu"];

/// Whether a field without blanks around it says nothing.
pub(crate) fn is_missing(text: &str) -> bool {
    text.is_empty() || (text.len() <= 9 && MISSING.iter().any(|word| word.eq_ignore_ascii_case(text)))
}

/// Lower case without accents; letters and digits in words with one blank between. An apostrophe joins, other punctuation separates.
pub(crate) fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    let mut gap = false;
    let mut put = |folded: &mut String, letter: char| {
        if letter.is_alphanumeric() {
            if gap && !folded.is_empty() {
                folded.push(' ');
            }
            gap = false;
            folded.push(letter);
        } else if !matches!(letter, '\'' | '\u{2019}' | '`') {
            gap = true;
        }
    };
    if text.is_ascii() {
        for byte in text.bytes() {
            put(&mut folded, char::from(byte.to_ascii_lowercase()));
        }
        return folded;
    }
    for letter in text.nfkd().filter(|letter| !is_combining_mark(*letter)).flat_map(char::to_lowercase) {
        // Letters that have no decomposition in Unicode but a usual spelling without them.
        match letter {
            'ß' => "ss".chars().for_each(|letter| put(&mut folded, letter)),
            'æ' => "ae".chars().for_each(|letter| put(&mut folded, letter)),
            'œ' => "oe".chars().for_each(|letter| put(&mut folded, letter)),
            'þ' => "th".chars().for_each(|letter| put(&mut folded, letter)),
            'ø' => put(&mut folded, 'o'),
            'ł' => put(&mut folded, 'l'),
            'đ' | 'ð' => put(&mut folded, 'd'),
            'ı' => put(&mut folded, 'i'),
            other if is_combining_mark(other) => {}
            other => put(&mut folded, other),
        }
    }
    folded
}

/// As [`fold`], without blanks.
pub(crate) fn squeeze(text: &str) -> String {
    let mut folded = fold(text);
    folded.retain(|letter| letter != ' ');
    folded
}

/// A date as eight digits YYYYMMDD where the text has the form of one; its letters and digits otherwise, so that a
/// date with a slip can still be compared. Days that are not in the calendar are kept: they are slips, too.
pub(crate) fn date(text: &str, order: DateOrder) -> String {
    match parts(text) {
        Some([year, month, day]) if year.len() == 4 => format!("{year}{month:0>2}{day:0>2}"),
        Some([first, second, year]) if year.len() == 4 => match order {
            DateOrder::DayFirst => format!("{year}{second:0>2}{first:0>2}"),
            DateOrder::MonthFirst => format!("{year}{first:0>2}{second:0>2}"),
        },
        _ => squeeze(text),
    }
}

/// Three groups of digits of a date with separators. A time behind the day is left out.
fn parts(text: &str) -> Option<[&str; 3]> {
    let text = text.trim();
    let text = text.split(['T', ' ']).next().unwrap_or_default();
    let mut groups = text.split(['-', '/', '.']);
    let found = [groups.next()?, groups.next()?, groups.next()?];
    let digits =
        |group: &&str| !group.is_empty() && group.len() <= 4 && group.bytes().all(|byte| byte.is_ascii_digit());
    let short = found.iter().filter(|group| group.len() <= 2).count();
    (groups.next().is_none() && found.iter().all(digits) && short == 2).then_some(found)
}

/// Whether the text has the form of a date.
pub(crate) fn is_date(text: &str) -> bool {
    let text = text.trim();
    if text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_digit()) {
        let number = |range: std::ops::Range<usize>| text[range].parse::<u32>().unwrap_or(0);
        return (1850..=2150).contains(&number(0..4))
            && (1..=12).contains(&number(4..6))
            && (1..=31).contains(&number(6..8));
    }
    parts(text).is_some()
}

/// The order of day and month that a column's values show: a part above 12 is a day. Day first where nothing tells.
pub(crate) fn date_order<'a>(texts: impl Iterator<Item = &'a str>) -> DateOrder {
    let (mut day_first, mut month_first) = (0_u64, 0_u64);
    for [first, second, year] in texts.filter_map(parts) {
        let above = |group: &str| group.parse::<u32>().is_ok_and(|number| number > 12);
        if year.len() == 4 {
            day_first += u64::from(above(first));
            month_first += u64::from(above(second));
        }
    }
    if month_first > day_first { DateOrder::MonthFirst } else { DateOrder::DayFirst }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_folded_to_one_spelling() {
        for (written, folded) in [
            ("  O'Brien ", "obrien"),
            ("MÜLLER-Lüdenscheidt", "muller ludenscheidt"),
            ("Łukasz Strauß", "lukasz strauss"),
            ("Ångström", "angstrom"),
            ("İpek", "ipek"),
            ("Παπαδόπουλος", "παπαδοπουλος"),
            ("...", ""),
        ] {
            assert_eq!(fold(written), folded);
        }
        assert_eq!(squeeze("SW1A 1AA"), "sw1a1aa");
    }

    #[test]
    fn dates_of_every_order_become_one() {
        for text in ["19520413", "1952-04-13", "1952-4-13", "1952-04-13T00:00:00Z", "1952/04/13"] {
            assert_eq!(date(text, DateOrder::MonthFirst), "19520413");
        }
        assert_eq!(date("13.04.1952", DateOrder::DayFirst), "19520413");
        assert_eq!(date("04/13/1952", DateOrder::MonthFirst), "19520413");
        assert_eq!(date("1952 04", DateOrder::DayFirst), "195204");
        assert_eq!(date_order(["01/02/1990", "03/28/1991"].into_iter()), DateOrder::MonthFirst);
        assert_eq!(date_order(["01/02/1990", "28/03/1991"].into_iter()), DateOrder::DayFirst);
        assert!(is_date("19520413") && is_date("3.4.1952") && !is_date("41228") && !is_date("12345678"));
    }
}
