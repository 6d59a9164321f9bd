//! What the receipt says about events.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::policy::Recoding;

/// What is left of codes and dates: 1 is all of them as they came, 0 nothing. The measures of
/// [`ColumnUtility`](crate::ColumnUtility) that a set of events has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct EventUtility {
    /// One less the loss.
    pub granularity: f64,
    /// One less the mean height in the hierarchy.
    pub precision: f64,
    /// One less the share of the events' entropy that is lost.
    pub entropy: f64,
}

/// Events of persons, released together with the table: what was lost, and who could be found by them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventFacts {
    /// Most codes of a person that an attacker is taken to know.
    pub known_codes: u64,
    /// Whether a code has the same label wherever it is released.
    pub recoding: Recoding,
    /// Where the persons came from.
    pub pooled: PooledRows,
    /// What became of the events.
    pub counts: EventCounts,
    /// Released events by the level of their code, lowest first.
    pub levels: Vec<EventLevel>,
    /// Released events by the level of their date, lowest first; nothing without dates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub date_levels: Vec<EventLevel>,
    /// What is left of the events: 1 is the events as recorded, suppressed ones count as nothing.
    pub utility: EventUtility,
    /// Smallest class that the quasi-identifiers were recoded for, so that enough of the events is left.
    pub recoded_for: u64,
    /// Who could be found by the persons' own codes and columns.
    pub before: Findable,
    /// Who could be found by the released ones.
    pub after: Findable,
    /// Combinations of at most so many codes in the released table, each in its class.
    pub combinations: u64,
    /// Persons who share the rarest of them.
    pub smallest: u64,
}

/// Rows of a table and their persons.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PooledRows {
    /// Rows that were read.
    pub rows: u64,
    /// Persons in them.
    pub persons: u64,
    /// Persons with several rows; their first row says what they are.
    pub of_several_rows: u64,
    /// For each released column, persons whose later rows say something else.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub disagreeing: BTreeMap<String, u64>,
}

/// What became of events: `read` = `of_others` + `repeated` + `distinct`; `distinct` = those of all levels +
/// `suppressed` + `suppressed_with_persons`; `released` = those of all levels − `merged`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventCounts {
    /// Fields that hold a code.
    pub read: u64,
    /// Those of persons who are not in the table.
    pub of_others: u64,
    /// Those that the same person had already.
    pub repeated: u64,
    /// Events, each code of a person once.
    pub distinct: u64,
    /// Codes of fewer persons than the policy calls rare.
    pub rare_codes: u64,
    /// Events with such a code.
    pub rare_events: u64,
    /// Events that got a label which the person has already by another event.
    pub merged: u64,
    /// Rows of the released table of events.
    pub released: u64,
    /// Events of released persons that are not told.
    pub suppressed: u64,
    /// Events of suppressed persons.
    pub suppressed_with_persons: u64,
}

/// Events released at one level.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventLevel {
    /// The level, 0 as recorded.
    pub level: u64,
    /// In words.
    pub words: String,
    /// Events at it.
    pub events: u64,
    /// Their share of all events.
    pub share: f64,
}

/// How many persons could be found by their codes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Findable {
    /// Persons.
    pub persons: u64,
    /// Mean number of different codes.
    pub mean_codes: f64,
    /// Persons whose set of codes nobody else has.
    pub alone_by_codes: u64,
    /// Persons whose set of codes nobody else has who agrees in all quasi-identifiers.
    pub alone_by_codes_and_columns: u64,
    /// By all quasi-identifiers and so many codes at most, the worst of the person.
    pub known: Vec<KnownCodes>,
}

/// How many persons could be found by all quasi-identifiers and few codes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KnownCodes {
    /// Most codes that are known.
    pub codes: u64,
    /// Persons who share some combination with nobody.
    pub alone: u64,
    /// Persons who share some combination with fewer than k − 1 others.
    pub below_k: u64,
    /// Persons by how many share their rarest combination, themselves included, below k: first those who are alone. Only
    /// for a table that is not released.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sharing: Vec<u64>,
}

impl KnownCodes {
    /// Persons whose rarest combination is shared by fewer than so many, themselves included; at most k.
    pub fn below(&self, persons: u64) -> u64 {
        let sizes = usize::try_from(persons.saturating_sub(1)).unwrap_or(usize::MAX);
        self.sharing.iter().take(sizes).sum()
    }
}

/// How easily persons are found by their events, in a table as it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EventRisk {
    /// Where the persons came from.
    pub pooled: PooledRows,
    /// What was read: `read`, `of_others`, `repeated` and `distinct`.
    pub counts: EventCounts,
    /// Which columns an attacker knows.
    pub quasi_identifiers: Vec<String>,
    /// The policy's smallest class.
    pub k: u64,
    /// For each level of the codes, if all codes were told at it.
    pub levels: Vec<LevelRisk>,
}

/// How easily persons are found by events at one level.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LevelRisk {
    /// The level, 0 as recorded.
    pub level: u64,
    /// In words.
    pub words: String,
    /// Who could be found.
    #[serde(flatten)]
    pub findable: Findable,
}
