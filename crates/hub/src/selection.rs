//! Rows that a condition or words choose: `/filter` and `/search` of the viewer.
//!
//! Conditions are those of the Hub's viewer: columns in double quotes, texts in single ones, `=`, `<>`, `<`, `<=`, `>`, `>=`, `IS
//! NULL`, `AND`, `OR`, `NOT` and brackets. As in SQL, a comparison with what is missing is neither true nor false, and such a row
//! is not chosen. They are read, not handed to an engine, so that a request can ask for nothing else.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

use acequia_gate::ReleasedFile;
use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::{cast, take_record_batch};
use arrow::datatypes::{DataType, Float64Type};
use serde_json::{Map, Value};

use crate::refusal::Refusal;
use crate::viewer::{Page, records};
use crate::{Catalogue, HubError, rows};

/// Rows that are looked at, at most; a larger split is answered in part, and says so.
const MOST_LOOKED_AT: usize = 1_000_000;
/// Bytes of a condition.
const LONGEST: usize = 4096;
/// Brackets and negations within one another.
const DEEPEST: usize = 32;

/// Which rows, and in which order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Selection {
    chooses: Chooses,
    /// A column, and whether the greatest comes first. Rows without a value come last.
    order: Option<(String, bool)>,
}

#[derive(Debug, Clone, PartialEq)]
enum Chooses {
    /// All of these occur in the texts of the row, in capital or small letters.
    Words(Vec<String>),
    Condition(Condition),
    All,
}

#[derive(Debug, Clone, PartialEq)]
enum Condition {
    Compare(String, Comparison, Literal),
    IsNull(String),
    Not(Box<Self>),
    And(Box<Self>, Box<Self>),
    Or(Box<Self>, Box<Self>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Comparison {
    fn holds(self, ordering: Ordering) -> bool {
        match self {
            Self::Equal => ordering.is_eq(),
            Self::Unequal => ordering.is_ne(),
            Self::Less => ordering.is_lt(),
            Self::LessOrEqual => ordering.is_le(),
            Self::Greater => ordering.is_gt(),
            Self::GreaterOrEqual => ordering.is_ge(),
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Literal {
    Number(f64),
    Text(String),
    Truth(bool),
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    /// In double quotes: a column, whatever it is called.
    Column(String),
    /// Without quotes: a keyword or a column.
    Word(String),
    Text(String),
    Number(f64),
    Compare(Comparison),
    Open,
    Close,
}

const BAD: Refusal = Refusal::Bad {
    what: "A condition compares columns in double quotes with numbers or texts in single quotes, for instance where=\"age\">50 AND \"grade\"='3'.",
};

fn tokens(text: &str) -> Result<Vec<Token>, Refusal> {
    if text.len() > LONGEST {
        return Err(Refusal::Bad { what: "A condition is at most 4096 bytes long." });
    }
    let mut all = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '(' | ')' => {
                all.push(if first == '(' { Token::Open } else { Token::Close });
                1
            }
            '"' | '\'' => {
                let (inside, length) = quoted(rest, first).ok_or(BAD)?;
                all.push(if first == '"' { Token::Column(inside) } else { Token::Text(inside) });
                length
            }
            '=' | '<' | '>' | '!' => {
                let signs = [
                    ("<>", Comparison::Unequal),
                    ("!=", Comparison::Unequal),
                    ("<=", Comparison::LessOrEqual),
                    (">=", Comparison::GreaterOrEqual),
                    ("==", Comparison::Equal),
                    ("=", Comparison::Equal),
                    ("<", Comparison::Less),
                    (">", Comparison::Greater),
                ];
                let (sign, comparison) = signs.into_iter().find(|(sign, _)| rest.starts_with(sign)).ok_or(BAD)?;
                all.push(Token::Compare(comparison));
                sign.len()
            }
            _ if first.is_ascii_digit() || matches!(first, '-' | '+' | '.') => {
                let is_part = |(at, c): (usize, char)| {
                    let signed = matches!(c, '-' | '+') && (at == 0 || rest[..at].ends_with(['e', 'E']));
                    c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E') || signed
                };
                let length = rest.char_indices().find(|one| !is_part(*one)).map_or(rest.len(), |(at, _)| at);
                let number: f64 = rest[..length].parse().map_err(|_| BAD)?;
                all.push(Token::Number(number));
                length
            }
            _ if first.is_alphabetic() || first == '_' => {
                let is_part = |c: char| c.is_alphanumeric() || c == '_';
                let length = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
                all.push(Token::Word(rest[..length].to_owned()));
                length
            }
            _ => return Err(BAD),
        };
        rest = rest[length..].trim_start();
    }
    Ok(all)
}

/// What stands in quotes at the begin, where two quotes are one, and the length with the quotes.
fn quoted(text: &str, quote: char) -> Option<(String, usize)> {
    let mut inside = String::new();
    let mut characters = text.char_indices().skip(1).peekable();
    while let Some((at, character)) = characters.next() {
        if character != quote {
            inside.push(character);
        } else if characters.next_if(|(_, next)| *next == quote).is_some() {
            inside.push(quote);
        } else {
            return Some((inside, at + 1));
        }
    }
    None
}

/// Reads a condition by descent: `OR` binds least, then `AND`, then `NOT`.
struct Reader<'t> {
    tokens: std::iter::Peekable<std::slice::Iter<'t, Token>>,
    columns: &'t [&'t str],
}

impl<'t> Reader<'t> {
    fn takes(&mut self, keyword: &str) -> bool {
        let is_keyword = |token: &&Token| matches!(token, Token::Word(word) if word.eq_ignore_ascii_case(keyword));
        self.tokens.next_if(is_keyword).is_some()
    }

    fn any(&mut self, depth: usize) -> Result<Condition, Refusal> {
        let mut left = self.all(depth)?;
        while self.takes("OR") {
            left = Condition::Or(Box::new(left), Box::new(self.all(depth)?));
        }
        Ok(left)
    }

    fn all(&mut self, depth: usize) -> Result<Condition, Refusal> {
        let mut left = self.one(depth)?;
        while self.takes("AND") {
            left = Condition::And(Box::new(left), Box::new(self.one(depth)?));
        }
        Ok(left)
    }

    fn one(&mut self, depth: usize) -> Result<Condition, Refusal> {
        if depth > DEEPEST {
            return Err(Refusal::Bad { what: "A condition has at most 32 brackets within one another." });
        }
        if self.takes("NOT") {
            return Ok(Condition::Not(Box::new(self.one(depth + 1)?)));
        }
        if self.tokens.next_if(|token| **token == Token::Open).is_some() {
            let inside = self.any(depth + 1)?;
            return if self.tokens.next() == Some(&Token::Close) { Ok(inside) } else { Err(BAD) };
        }
        let column = self.column()?;
        if self.takes("IS") {
            let negated = self.takes("NOT");
            let missing = Condition::IsNull(column);
            return match (self.takes("NULL"), negated) {
                (true, false) => Ok(missing),
                (true, true) => Ok(Condition::Not(Box::new(missing))),
                (false, _) => Err(BAD),
            };
        }
        let Some(Token::Compare(comparison)) = self.tokens.next() else { return Err(BAD) };
        let literal = match self.tokens.next() {
            Some(Token::Number(number)) => Literal::Number(*number),
            Some(Token::Text(text)) => Literal::Text(text.clone()),
            Some(Token::Word(word)) if word.eq_ignore_ascii_case("true") => Literal::Truth(true),
            Some(Token::Word(word)) if word.eq_ignore_ascii_case("false") => Literal::Truth(false),
            _ => return Err(BAD),
        };
        Ok(Condition::Compare(column, *comparison, literal))
    }

    fn column(&mut self) -> Result<String, Refusal> {
        match self.tokens.next() {
            Some(Token::Column(name) | Token::Word(name)) if self.columns.contains(&name.as_str()) => Ok(name.clone()),
            Some(Token::Column(_) | Token::Word(_)) => {
                Err(Refusal::Bad { what: "The condition or the order names a column that the table does not have." })
            }
            _ => Err(BAD),
        }
    }
}

impl Selection {
    /// All rows in which all of some words occur.
    ///
    /// # Errors
    /// [`Refusal::Bad`] without a word.
    pub(crate) fn of_words(query: &str) -> Result<Self, Refusal> {
        let words: Vec<String> = query.split_whitespace().map(str::to_lowercase).collect();
        if words.is_empty() || query.len() > LONGEST {
            return Err(Refusal::Bad { what: "Give words to look for, for instance query=postmenopausal." });
        }
        Ok(Self { chooses: Chooses::Words(words), order: None })
    }

    /// Rows that fulfil a condition, in an order such as `"age" DESC`; both may be left out.
    ///
    /// # Errors
    /// [`Refusal::Bad`] for what is no condition on these columns, or no order by one of them.
    pub(crate) fn of_condition(
        condition: Option<&str>,
        order: Option<&str>,
        columns: &[&str],
    ) -> Result<Self, Refusal> {
        let read = |text: &str| tokens(text);
        let chooses = match condition {
            None => Chooses::All,
            Some(text) => {
                let tokens = read(text)?;
                let mut reader = Reader { tokens: tokens.iter().peekable(), columns };
                let condition = reader.any(0)?;
                if reader.tokens.next().is_some() {
                    return Err(BAD);
                }
                Chooses::Condition(condition)
            }
        };
        let order = match order {
            None => None,
            Some(text) => {
                let tokens = read(text)?;
                let mut reader = Reader { tokens: tokens.iter().peekable(), columns };
                let column = reader.column()?;
                let descending = reader.takes("DESC");
                if !descending {
                    reader.takes("ASC");
                }
                if reader.tokens.next().is_some() {
                    return Err(Refusal::Bad { what: "An order is one column, for instance orderby=\"age\" DESC." });
                }
                Some((column, descending))
            }
        };
        Ok(Self { chooses, order })
    }

    /// The chosen rows of a split over its files: those of a page, each with its place in the split. Blocks: call it off the async
    /// threads.
    ///
    /// # Errors
    /// [`HubError::Unreadable`].
    pub(crate) fn read(
        &self,
        catalogue: &Arc<dyn Catalogue>,
        files: &[ReleasedFile],
        page: Page,
    ) -> Result<Chosen, HubError> {
        let mut found: Vec<(usize, Option<Key>)> = Vec::new();
        let mut looked_at = 0;
        let mut partial = false;
        for file in files {
            for batch in rows::open(catalogue, file)?.build().map_err(rows::unreadable(file))? {
                let batch = batch.map_err(rows::unreadable(file))?;
                if looked_at + batch.num_rows() > MOST_LOOKED_AT {
                    partial = true;
                    break;
                }
                let keys = self.order.as_ref().and_then(|(column, _)| batch.column_by_name(column)).map(Cells::of);
                let chosen = self.chosen(&batch);
                let places = (0..batch.num_rows()).filter(|row| chosen[*row]);
                found.extend(places.map(|row| (looked_at + row, keys.as_ref().and_then(|cells| cells.key(row)))));
                looked_at += batch.num_rows();
            }
        }
        if let Some((_, descending)) = &self.order {
            found.sort_by(|(_, a), (_, b)| match (a, b) {
                (Some(a), Some(b)) if *descending => b.compare(a),
                (Some(a), Some(b)) => a.compare(b),
                (a, b) => a.is_none().cmp(&b.is_none()),
            });
        }
        let total = found.len();
        let wanted: Vec<usize> =
            found.into_iter().skip(page.offset).take(page.length).map(|(place, _)| place).collect();
        let records = pick(catalogue, files, &wanted)?;
        Ok(Chosen { records, total, partial })
    }

    fn chosen(&self, batch: &RecordBatch) -> Vec<bool> {
        match &self.chooses {
            Chooses::All => vec![true; batch.num_rows()],
            Chooses::Condition(condition) => {
                condition.decided(batch).into_iter().map(|decided| decided == Some(true)).collect()
            }
            Chooses::Words(words) => {
                let texts: Vec<Cells> =
                    batch.columns().iter().map(Cells::of).filter(|cells| matches!(cells, Cells::Texts(_))).collect();
                let mut row_text = String::new();
                let occurs = |row: usize| {
                    row_text.clear();
                    for cells in &texts {
                        if let Cells::Texts(texts) = cells
                            && let Some(text) = &texts[row]
                        {
                            row_text.push_str(&text.to_lowercase());
                            row_text.push('\n');
                        }
                    }
                    words.iter().all(|word| row_text.contains(word))
                };
                (0..batch.num_rows()).map(occurs).collect()
            }
        }
    }
}

/// A row with its place in the split.
type Placed = (usize, Map<String, Value>);

/// Chosen rows.
pub(crate) struct Chosen {
    /// Rows of the page.
    pub(crate) records: Vec<Placed>,
    /// How many were chosen.
    pub(crate) total: usize,
    /// Whether only the first million rows were looked at.
    pub(crate) partial: bool,
}

/// Rows at some places of a split, in the order of the places.
fn pick(catalogue: &Arc<dyn Catalogue>, files: &[ReleasedFile], wanted: &[usize]) -> Result<Vec<Placed>, HubError> {
    let mut sorted = wanted.to_vec();
    sorted.sort_unstable();
    let mut found: BTreeMap<usize, Map<String, Value>> = BTreeMap::new();
    let mut begin = 0;
    for file in files {
        let own = usize::try_from(rows::open(catalogue, file)?.metadata().file_metadata().num_rows()).unwrap_or(0);
        let here: Vec<usize> = sorted.iter().copied().filter(|place| (begin..begin + own).contains(place)).collect();
        let mut at = begin;
        if here.is_empty() {
            begin += own;
            continue;
        }
        for batch in rows::open(catalogue, file)?.build().map_err(rows::unreadable(file))? {
            let batch = batch.map_err(rows::unreadable(file))?;
            let inside: Vec<usize> =
                here.iter().copied().filter(|place| (at..at + batch.num_rows()).contains(place)).collect();
            if !inside.is_empty() {
                let offsets: arrow::array::UInt64Array = inside.iter().map(|place| (place - at) as u64).collect();
                let taken = take_record_batch(&batch, &offsets).map_err(rows::unreadable(file))?;
                found.extend(inside.into_iter().zip(records(&taken)));
            }
            at += batch.num_rows();
            if here.last().is_some_and(|last| at > *last) {
                break;
            }
        }
        begin += own;
    }
    Ok(wanted.iter().filter_map(|place| Some((*place, found.remove(place)?))).collect())
}

/// A column of a batch as what it is compared as.
enum Cells {
    Numbers(Vec<Option<f64>>),
    Truths(Vec<Option<bool>>),
    Texts(Vec<Option<String>>),
}

/// What a row is put in order by.
#[derive(Debug, Clone, PartialEq)]
enum Key {
    Number(f64),
    Text(String),
}

impl Key {
    fn compare(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => a.total_cmp(b),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            (Self::Number(_), Self::Text(_)) => Ordering::Less,
            (Self::Text(_), Self::Number(_)) => Ordering::Greater,
        }
    }
}

impl Cells {
    fn of(column: &ArrayRef) -> Self {
        let kind = column.data_type();
        if let Some(truths) = column.as_boolean_opt() {
            return Self::Truths(truths.iter().collect());
        }
        if kind.is_numeric()
            && let Ok(numbers) = cast(column, &DataType::Float64)
        {
            return Self::Numbers(numbers.as_primitive::<Float64Type>().iter().collect());
        }
        // Days and times as they are written, which puts them in their order.
        match cast(column, &DataType::Utf8) {
            Ok(texts) => Self::Texts(texts.as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect()),
            Err(_) => Self::Texts(vec![None; column.len()]),
        }
    }

    fn key(&self, row: usize) -> Option<Key> {
        match self {
            Self::Numbers(numbers) => numbers[row].map(Key::Number),
            Self::Truths(truths) => truths[row].map(|truth| Key::Number(f64::from(truth))),
            Self::Texts(texts) => texts[row].clone().map(Key::Text),
        }
    }
}

impl Condition {
    /// For each row: yes, no, or neither.
    fn decided(&self, batch: &RecordBatch) -> Vec<Option<bool>> {
        let neither = || vec![None; batch.num_rows()];
        let both = |a: &Self, b: &Self, decide: fn(Option<bool>, Option<bool>) -> Option<bool>| {
            a.decided(batch).into_iter().zip(b.decided(batch)).map(|(a, b)| decide(a, b)).collect()
        };
        match self {
            Self::Not(inside) => inside.decided(batch).into_iter().map(|decided| decided.map(|yes| !yes)).collect(),
            Self::And(a, b) => both(a, b, |a, b| match (a, b) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                _ => None,
            }),
            Self::Or(a, b) => both(a, b, |a, b| match (a, b) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => None,
            }),
            Self::IsNull(column) => match batch.column_by_name(column) {
                Some(column) => (0..batch.num_rows()).map(|row| Some(column.is_null(row))).collect(),
                None => neither(),
            },
            Self::Compare(column, comparison, literal) => {
                let Some(column) = batch.column_by_name(column) else { return neither() };
                let holds = |ordering: Option<Ordering>| ordering.map(|ordering| comparison.holds(ordering));
                match (Cells::of(column), literal) {
                    (Cells::Numbers(numbers), Literal::Number(wanted)) => {
                        numbers.iter().map(|number| holds((*number)?.partial_cmp(wanted))).collect()
                    }
                    (Cells::Texts(texts), Literal::Text(wanted)) => {
                        texts.iter().map(|text| holds(Some(text.as_deref()?.cmp(wanted)))).collect()
                    }
                    (Cells::Truths(truths), Literal::Truth(wanted)) => {
                        truths.iter().map(|truth| holds(Some((*truth)?.cmp(wanted)))).collect()
                    }
                    // A text in quotes that is a number, as some tools write all values; and the other way round.
                    (Cells::Numbers(numbers), Literal::Text(text)) => {
                        let wanted: Option<f64> = text.trim().parse().ok();
                        numbers.iter().map(|number| holds((*number)?.partial_cmp(&wanted?))).collect()
                    }
                    (Cells::Texts(texts), Literal::Number(wanted)) => {
                        let wanted = wanted.to_string();
                        texts.iter().map(|text| holds(Some(text.as_deref()?.cmp(&wanted)))).collect()
                    }
                    _ => neither(),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{BooleanArray, Float64Array, Int64Array, StringArray};
    use arrow::datatypes::{Field, Schema};
    use proptest::prelude::*;

    use super::*;

    fn batch() -> RecordBatch {
        let fields = [
            ("age", DataType::Int64),
            ("size", DataType::Float64),
            ("gra\"de", DataType::Utf8),
            ("event", DataType::Boolean),
        ];
        let schema = Schema::new(fields.map(|(name, kind)| Field::new(name, kind, true)).to_vec());
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(vec![Some(40), Some(50), None, Some(60)])),
            Arc::new(Float64Array::from(vec![Some(1.5), None, Some(2.0), Some(-3.0)])),
            Arc::new(StringArray::from(vec![Some("2"), Some("it's"), Some("3"), None])),
            Arc::new(BooleanArray::from(vec![Some(true), Some(false), None, Some(true)])),
        ];
        RecordBatch::try_new(Arc::new(schema), columns).unwrap()
    }

    const COLUMNS: [&str; 4] = ["age", "size", "gra\"de", "event"];

    fn places(condition: &str) -> Vec<usize> {
        let selection = Selection::of_condition(Some(condition), None, &COLUMNS);
        let chosen = selection.unwrap_or_else(|_| panic!("{condition}")).chosen(&batch());
        (0..4).filter(|row| chosen[*row]).collect()
    }

    #[test]
    fn conditions_choose_as_sql_does() {
        for (condition, rows) in [
            ("\"age\">45", vec![1, 3]),
            ("age <= 50 and event = TRUE", vec![0]),
            ("\"size\" < 0 OR \"gra\"\"de\" = '2'", vec![0, 3]),
            ("NOT (\"age\" > 45)", vec![0]),
            ("\"age\" IS NULL", vec![2]),
            ("\"age\" is not null AND \"size\" is null", vec![1]),
            ("\"gra\"\"de\"='it''s'", vec![1]),
            ("\"gra\"\"de\"<>'2'", vec![1, 2]),
            ("\"size\">=-3e0 AND \"size\"<.5e1", vec![0, 2, 3]),
            ("\"age\"='50'", vec![1]),
            ("\"age\"='young'", vec![]),
            ("\"event\"=1", vec![]),
            // AND binds more than OR.
            ("\"age\"=40 OR \"age\"=50 AND \"event\"=true", vec![0]),
            ("(\"age\"=40 OR \"age\"=50) AND \"event\"=false", vec![1]),
            ("\"age\">45 OR \"size\">1", vec![0, 1, 2, 3]),
        ] {
            assert_eq!(places(condition), rows, "{condition}");
        }
    }

    #[test]
    fn what_is_no_condition_is_refused() {
        let deep = format!("{}\"age\">1{}", "(".repeat(40), ")".repeat(40));
        let long = format!("\"age\">{}", "1".repeat(5000));
        for condition in [
            "",
            "age",
            "\"age\"",
            "\"age\">",
            "\"height\">1",
            "\"age\">1 AND",
            "\"age\">1)",
            "(\"age\">1",
            "1=1",
            "\"age\">'x",
            "\"age\" LIKE 'x'",
            "\"age\">1; DROP TABLE x",
            "\"age\">1 \"size\">2",
            "\"age\">--1",
            &deep,
            &long,
        ] {
            assert!(Selection::of_condition(Some(condition), None, &COLUMNS).is_err(), "{condition}");
        }
        for order in ["", "\"height\"", "\"age\" UP", "\"age\" DESC ASC", "1"] {
            assert!(Selection::of_condition(None, Some(order), &COLUMNS).is_err(), "{order}");
        }
        assert!(Selection::of_words("  ").is_err());
    }

    #[test]
    fn words_are_looked_for_in_texts() {
        let chosen = |words: &str| Selection::of_words(words).unwrap().chosen(&batch());
        assert_eq!(chosen("IT'S"), [false, true, false, false]);
        assert_eq!(chosen("3"), [false, false, true, false]);
        assert_eq!(chosen("3 2"), [false; 4]);
    }

    proptest! {
        #[test]
        fn no_condition_makes_it_panic(text in "[a-z\"'()<>=!0-9. -]{0,60}|\\PC{0,40}") {
            if let Ok(selection) = Selection::of_condition(Some(&text), Some(&text), &COLUMNS) {
                selection.chosen(&batch());
            }
            let _ = Selection::of_words(&text);
        }
    }
}
