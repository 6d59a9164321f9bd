//! How alike two values are: a small number of levels per column.

use rapidfuzz::distance::{jaro_winkler, osa};
use serde::{Deserialize, Serialize};

use crate::config::{About, Config, DateOrder};
use crate::table::{Interner, MISSING, Table};
use crate::text::{date, fold, squeeze};
use crate::{LinkError, hash::mix};

/// How values of a column are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Comparator {
    /// Names of people: Jaro-Winkler (Winkler 1990).
    Name,
    /// Other words, such as a street: the same.
    Text,
    /// Days: digits off, day and month swapped, parts that agree.
    Date,
    /// Long numbers: optimal string alignment distance of 1 and 2.
    Identifier,
    /// Short codes, such as a postcode or a house number: optimal string alignment distance of 1.
    Code,
    /// Few values: the same or not.
    Category,
}

/// Level of a pair in one column: 0 when a value is missing, 1 when they are different, the last when they are the same.
pub(crate) type Level = u8;

/// Either value is missing.
pub(crate) const ABSENT: Level = 0;

/// From here on Jaro-Winkler similarities are levels of their own.
const SIMILAR: [f64; 3] = [0.82, 0.88, 0.94];

impl Comparator {
    /// What the levels from 1 on mean.
    pub fn levels(self) -> &'static [&'static str] {
        match self {
            Self::Name | Self::Text => &["different", "≥ 0.82", "≥ 0.88", "≥ 0.94", "swapped", "same"],
            Self::Date => &["different", "year", "two parts", "one digit", "day and month swapped", "same"],
            Self::Identifier => &["different", "two slips", "one slip", "same"],
            Self::Code => &["different", "one slip", "same"],
            Self::Category => &["different", "same"],
        }
    }

    /// The level of equal values.
    pub(crate) fn same(self) -> Level {
        self.levels().len() as Level
    }

    /// The spelling that is compared.
    pub(crate) fn normal(self, text: &str, order: DateOrder) -> String {
        match self {
            Self::Name | Self::Text | Self::Category => fold(text),
            Self::Date => date(text, order),
            Self::Identifier | Self::Code => squeeze(text),
        }
    }

    /// The level of two different values, columns changing places aside.
    pub(crate) fn level(self, a: &Value, b: &Value) -> Level {
        if self.is_different(a.sketch, b.sketch) {
            return 1;
        }
        match self {
            Self::Name | Self::Text => {
                let similarity = a.jaro_winkler(b);
                1 + SIMILAR.iter().filter(|least| similarity >= **least).count() as Level
            }
            Self::Date => date_level(a, b),
            Self::Identifier => match a.distance(b, 2) {
                Some(..=1) => 3,
                // Two slips in a short number leave little.
                Some(_) if a.sketch.length.min(b.sketch.length) >= 6 => 2,
                _ => 1,
            },
            Self::Code => 1 + Level::from(a.sketch.length.max(b.sketch.length) >= 3 && a.distance(b, 1).is_some()),
            Self::Category => 1,
        }
    }

    /// Whether the values are surely nothing alike. Most pairs are, and their sketches tell without looking at the values.
    pub(crate) fn is_different(self, a: Sketch, b: Sketch) -> bool {
        match self {
            Self::Name | Self::Text => a.jaro_winkler_bound(b) < SIMILAR[0],
            // A year alone may be the same.
            Self::Date => false,
            Self::Identifier => a.apart(b) > 2,
            Self::Code => a.apart(b) > 1,
            Self::Category => true,
        }
    }
}

fn date_level(a: &Value, b: &Value) -> Level {
    if let (Some(left), Some(right)) = (a.eight_digits(), b.eight_digits()) {
        let (same_year, same_month, same_day) =
            (left[..4] == right[..4], left[4..6] == right[4..6], left[6..] == right[6..]);
        if same_year && left[4..6] == right[6..] && left[6..] == right[4..6] {
            return 5;
        }
        if a.distance(b, 1).is_some() {
            return 4;
        }
        if u8::from(same_year) + u8::from(same_month) + u8::from(same_day) >= 2 {
            return 3;
        }
        return 1 + Level::from(same_year);
    }
    if a.distance(b, 1).is_some() { 4 } else { 1 }
}

/// A distinct value in the spelling that is compared.
#[derive(Debug, Clone)]
pub(crate) struct Value {
    pub(crate) text: String,
    sketch: Sketch,
}

/// Enough of a value to tell that two have little in common.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sketch {
    /// One bit per character class and occurrence (first, later): what one value has and the other lacks bounds both
    /// how many characters can match and how few edits can do.
    mask: u64,
    /// Characters.
    length: u32,
    /// The first four bytes of an ASCII value; 255 in others, so that they count as equal with each other only.
    head: [u8; 4],
}

impl Sketch {
    fn new(text: &str) -> Self {
        let mut mask = 0_u64;
        for letter in text.chars() {
            let first = 1_u64 << (u32::from(letter) % 32);
            mask |= if mask & first == 0 { first } else { first << 32 };
        }
        let mut head = [if text.is_ascii() { 0 } else { 255 }; 4];
        if text.is_ascii() {
            head.iter_mut().zip(text.bytes()).for_each(|(head, byte)| *head = byte);
        }
        Self { mask, length: text.chars().count() as u32, head }
    }

    fn is_ascii(self) -> bool {
        self.head[0] != 255
    }

    /// No less than the Jaro-Winkler similarity.
    fn jaro_winkler_bound(self, other: Self) -> f64 {
        if self.length == 0 || other.length == 0 {
            return 0.0;
        }
        let (left, right) = (f64::from(self.length), f64::from(other.length));
        let matched = (self.length - (self.mask & !other.mask).count_ones().min(self.length))
            .min(other.length - (other.mask & !self.mask).count_ones().min(other.length));
        let matched = f64::from(matched);
        let jaro = (matched / left + matched / right + 1.0) / 3.0;
        let prefix = if self.is_ascii() && other.is_ascii() {
            self.head.iter().zip(other.head).take_while(|(a, b)| *a == b).count()
        } else {
            4
        };
        jaro + 0.1 * prefix as f64 * (1.0 - jaro)
    }

    /// No more than the optimal string alignment distance.
    fn apart(self, other: Self) -> u32 {
        let apart = (self.mask & !other.mask).count_ones().max((other.mask & !self.mask).count_ones());
        apart.max(self.length.abs_diff(other.length))
    }
}

impl Value {
    pub(crate) fn new(text: String) -> Self {
        Self { sketch: Sketch::new(&text), text }
    }

    pub(crate) fn eight_digits(&self) -> Option<&[u8]> {
        let bytes = self.text.as_bytes();
        (bytes.len() == 8 && bytes.iter().all(u8::is_ascii_digit)).then_some(bytes)
    }

    fn jaro_winkler(&self, other: &Self) -> f64 {
        if self.sketch.is_ascii() && other.sketch.is_ascii() {
            jaro_winkler::normalized_similarity(self.text.bytes(), other.text.bytes())
        } else {
            jaro_winkler::normalized_similarity(self.text.chars(), other.text.chars())
        }
    }

    /// The optimal string alignment distance, unless it is above `most`.
    fn distance(&self, other: &Self, most: u32) -> Option<usize> {
        if self.sketch.apart(other.sketch) > most {
            return None;
        }
        let distance = if self.sketch.is_ascii() && other.sketch.is_ascii() {
            osa::distance(self.text.bytes(), other.text.bytes())
        } else {
            osa::distance(self.text.chars(), other.text.chars())
        };
        (distance <= most as usize).then_some(distance)
    }
}

/// A compared column over all records.
#[derive(Debug)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) comparator: Comparator,
    pub(crate) about: About,
    /// Column that this one may have changed places with.
    pub(crate) swap: Option<usize>,
    pub(crate) values: Vec<Value>,
    /// Number of the value, by record.
    pub(crate) rows: Vec<u32>,
    /// Of the values, close together in memory.
    sketches: Vec<Sketch>,
    /// Number of the same value in the column that this one may have changed places with.
    twins: Vec<u32>,
}

/// Which pairs of records are in question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// All pairs of one table.
    Within,
    /// A record of the first table with one of the second.
    Between,
    /// Pairs with at least one new record; the first ones are old.
    Added,
}

impl Reach {
    /// Pairs in question among `all` records, `first` of them of the first table or old.
    pub(crate) fn pairs(self, first: u64, all: u64) -> u64 {
        let within = |count: u64| count * count.saturating_sub(1) / 2;
        match self {
            Self::Within => within(all),
            Self::Between => first * (all - first),
            Self::Added => within(all) - within(first),
        }
    }
}

/// Records of one table or two, the second behind the first, as numbers of distinct values.
#[derive(Debug)]
pub(crate) struct Records {
    pub(crate) columns: Vec<Column>,
    pub(crate) count: usize,
    /// Records of the first table, or old ones.
    pub(crate) first: usize,
    pub(crate) reach: Reach,
}

impl Records {
    pub(crate) fn new(config: &Config, a: &Table, b: Option<&Table>) -> Result<Self, LinkError> {
        let reach = if b.is_some() { Reach::Between } else { Reach::Within };
        let tables: Vec<&Table> = std::iter::once(a).chain(b).collect();
        Self::of(config, &tables, reach)
    }

    pub(crate) fn of(config: &Config, tables: &[&Table], reach: Reach) -> Result<Self, LinkError> {
        config.check()?;
        let mut columns: Vec<Column> = Vec::with_capacity(config.column.len());
        let mut interners: Vec<Interner> = Vec::new();
        for column in &config.column {
            let mut known = Interner::default();
            let mut rows = Vec::new();
            for table in tables {
                let found = table.column(&column.name).ok_or_else(|| LinkError::Column {
                    column: column.name.clone(),
                    problem: "is not in the file".to_owned(),
                })?;
                let numbers: Vec<u32> = found
                    .texts
                    .iter()
                    .map(|text| {
                        let normal = column.compare.normal(text, column.order);
                        if normal.is_empty() { MISSING } else { known.number(&normal) }
                    })
                    .collect();
                rows.extend(found.rows.iter().map(|number| numbers.get(*number as usize).copied().unwrap_or(MISSING)));
            }
            let swap = column.swap.as_ref().and_then(|other| config.position(other));
            let (name, comparator, about) = (column.name.clone(), column.compare, column.about);
            let sketches = known.texts.iter().map(|text| Sketch::new(text)).collect();
            columns.push(Column {
                name,
                comparator,
                about,
                swap,
                values: Vec::new(),
                rows,
                sketches,
                twins: Vec::new(),
            });
            interners.push(known);
        }
        for at in 0..columns.len() {
            if let Some(other) = columns[at].swap {
                let texts = &interners[at].texts;
                columns[at].twins = texts.iter().map(|text| interners[other].find(text).unwrap_or(MISSING)).collect();
            }
        }
        for (column, known) in columns.iter_mut().zip(interners) {
            column.values = known.texts.into_iter().map(Value::new).collect();
        }
        let first = tables.first().map_or(0, |table| table.len());
        let count = tables.iter().map(|table| table.len()).sum();
        if columns.iter().all(|column| column.values.is_empty()) {
            return Err(LinkError::Config { message: "the columns to compare are empty in every row".to_owned() });
        }
        Ok(Self { columns, count, first, reach })
    }

    /// Pairs in question.
    pub(crate) fn pairs(&self) -> u64 {
        self.reach.pairs(self.first as u64, self.count as u64)
    }

    /// Partners of a record have at least this number, if it may have any of a higher number.
    pub(crate) fn partners(&self, record: usize) -> Option<usize> {
        match self.reach {
            Reach::Within => Some(record + 1),
            Reach::Between => (record < self.first).then_some(self.first),
            Reach::Added => Some(self.first.max(record + 1)),
        }
    }

    /// The level of a pair in a column.
    pub(crate) fn level(&self, column: &Column, a: usize, b: usize) -> Level {
        let (left, right) = (column.rows[a], column.rows[b]);
        if left == MISSING || right == MISSING {
            return ABSENT;
        }
        if left == right {
            return column.comparator.same();
        }
        if let Some(other) = column.swap {
            let other = &self.columns[other].rows;
            let (left_other, right_other) = (other[a], other[b]);
            let (left_twin, right_twin) = (column.twins[left as usize], column.twins[right as usize]);
            let agree = |twin: u32, other: u32| twin != MISSING && twin == other;
            // Both places, or one and nothing in the other: names wander into the wrong field.
            if (agree(left_twin, right_other) && (left_other == MISSING || agree(right_twin, left_other)))
                || (agree(right_twin, left_other) && right_other == MISSING)
            {
                return column.comparator.same() - 1;
            }
        }
        if column.comparator.is_different(column.sketches[left as usize], column.sketches[right as usize]) {
            return 1;
        }
        column.comparator.level(&column.values[left as usize], &column.values[right as usize])
    }

    /// The levels of a pair, four bits a column.
    pub(crate) fn compare(&self, a: usize, b: usize) -> u64 {
        let mut levels = 0;
        for (at, column) in self.columns.iter().enumerate() {
            levels |= u64::from(self.level(column, a, b)) << (4 * at);
        }
        levels
    }

    /// A pair in question by number, the same for the same number.
    pub(crate) fn random_pair(&self, number: u64) -> Option<(usize, usize)> {
        let draw = |salt: u64, below: usize| (mix(number, salt) % below.max(1) as u64) as usize;
        let (a, b) = match self.reach {
            Reach::Between => (draw(1, self.first), self.first + draw(2, self.count - self.first)),
            _ => (draw(1, self.count), draw(2, self.count)),
        };
        (a != b).then(|| (a.min(b), a.max(b)))
    }
}

/// The level of a column in packed levels.
pub(crate) fn level_of(levels: u64, column: usize) -> Level {
    (levels >> (4 * column) & 15) as Level
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn level(comparator: Comparator, a: &str, b: &str) -> &'static str {
        let order = DateOrder::DayFirst;
        let (a, b) = (Value::new(comparator.normal(a, order)), Value::new(comparator.normal(b, order)));
        let level = if a.text == b.text { comparator.same() } else { comparator.level(&a, &b) };
        assert_eq!(a.text == b.text, level == comparator.same());
        comparator.levels()[usize::from(level) - 1]
    }

    #[test]
    fn values_have_the_levels_that_people_would_give() {
        use Comparator::{Code, Date, Identifier, Name};
        for (comparator, a, b, found) in [
            // Winkler 1990: the pairs of the paper's table, MARTHA/MARHTA 0.961, DIXON/DICKSONX 0.813.
            (Name, "Martha", "Marhta", "≥ 0.94"),
            (Name, "Dixon", "Dicksonx", "different"),
            (Name, "Müller", "muller", "same"),
            (Name, "Anna", "Bert", "different"),
            (Date, "1952-04-13", "13.04.1952", "same"),
            (Date, "1952-04-03", "1952-03-04", "day and month swapped"),
            (Date, "1952-04-13", "1952-04-14", "one digit"),
            (Date, "1952-04-13", "1952-04-30", "two parts"),
            (Date, "1952-04-13", "1952-11-30", "year"),
            (Date, "1952-04-13", "1987-11-30", "different"),
            (Date, "1952-04-13", "195204", "different"),
            (Identifier, "412 2843", "4122843", "same"),
            (Identifier, "4122843", "4122834", "one slip"),
            (Identifier, "4122843", "4112834", "two slips"),
            (Code, "2119", "2191", "one slip"),
            (Code, "7", "8", "different"),
        ] {
            assert_eq!(level(comparator, a, b), found, "{comparator:?} {a} {b}");
        }
    }

    proptest! {
        /// The bounds that spare comparisons never change a level, and the order of two values never matters.
        #[test]
        fn levels_are_symmetric_and_bounds_hold(a in "[a-eé0-3 ]{0,12}", b in "[a-eé0-3 ]{0,12}") {
            let (a, b) = (Value::new(a), Value::new(b));
            for comparator in [Comparator::Name, Comparator::Date, Comparator::Identifier, Comparator::Code] {
                prop_assert_eq!(comparator.level(&a, &b), comparator.level(&b, &a));
            }
            prop_assert!(a.sketch.jaro_winkler_bound(b.sketch) >= a.jaro_winkler(&b) - 1e-9 || a.text == b.text);
            let distance = osa::distance(a.text.chars(), b.text.chars());
            prop_assert_eq!(a.distance(&b, 2), (distance <= 2).then_some(distance));
        }
    }
}
