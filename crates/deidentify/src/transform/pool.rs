//! Rare values become one: what few people have points at them.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::coded::CodedColumn;

/// What is done with values of few rows. Unknown keys are refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rare {
    /// A value of fewer rows is rare; the policy's smallest class without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fewer_than: Option<u64>,
    /// What rare values of a column that is no quasi-identifier become.
    #[serde(default = "other")]
    pub becomes: String,
}

fn other() -> String {
    "other".to_owned()
}

/// Which values of a column are one.
#[derive(Debug, Clone)]
pub(super) struct Pool {
    fewer_than: u64,
    becomes: Box<str>,
    members: BTreeSet<Box<str>>,
    rows: u64,
}

impl Pool {
    pub(super) fn new(rare: &Rare, smallest: u64) -> Self {
        let fewer_than = rare.fewer_than.unwrap_or(smallest);
        Self { fewer_than, becomes: rare.becomes.as_str().into(), members: BTreeSet::new(), rows: 0 }
    }

    /// Takes in what is rare, and while the pool itself is rare, the rarest of the others; whether it grew.
    pub(super) fn tighten(&mut self, column: &CodedColumn, counts: &[u64]) -> bool {
        let before = self.members.len();
        let mut others = Vec::new();
        self.rows = 0;
        for (value, rows) in column.values.iter().zip(counts) {
            let Some(text) = value.as_ref().filter(|_| *rows > 0) else { continue };
            if *rows < self.fewer_than || self.members.contains(text) || *text == self.becomes {
                self.members.insert(text.clone());
                self.rows += rows;
            } else {
                others.push((*rows, text));
            }
        }
        others.sort_unstable();
        for (rows, text) in others {
            if self.rows == 0 || self.rows >= self.fewer_than {
                break;
            }
            self.members.insert(text.clone());
            self.rows += rows;
        }
        self.members.len() > before
    }

    pub(super) fn value(&self, text: &str) -> Box<str> {
        if self.members.contains(text) { self.becomes.clone() } else { text.into() }
    }

    pub(super) fn words(&self) -> String {
        format!("values of fewer than {} rows are one ({} rows)", self.fewer_than, self.rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coded::Coder;

    #[test]
    fn the_pool_takes_in_until_it_is_not_rare_itself() {
        let mut coder = Coder::new("c");
        "aaaaabbbbccd".chars().for_each(|letter| coder.push(Some(&letter.to_string())));
        coder.push(None);
        let column = coder.finish();
        let pooled = |fewer_than| {
            let mut pool = Pool::new(&Rare { fewer_than: Some(fewer_than), becomes: "?".to_owned() }, 1);
            assert!(pool.tighten(&column, &column.counts) || fewer_than == 1);
            assert!(!pool.tighten(&column, &column.counts), "once is enough");
            ["a", "b", "c", "d"].map(|value| pool.value(value).to_string()).concat()
        };
        assert_eq!([1, 2, 3, 4, 5, 6, 13].map(pooled), ["abcd", "ab??", "ab??", "a???", "a???", "????", "????"]);
    }
}
