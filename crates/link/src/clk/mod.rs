//! Linkage between parties that do not show each other their records: cryptographic long-term keys (CLK; Schnell, Bachteler and
//! Reiher 2009, 2011).
//!
//! Every party turns each record into one Bloom filter over the bigrams of its columns, with a key that the trustee gives to the parties
//! and to nobody who compares. Similar records have similar filters; the filters are compared, the records never move. An encoded record is
//! still about one person: it is pseudonymous, not anonymous, and is handled like the record.

mod compare;
mod encode;
mod file;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

pub use compare::{PrivateLink, PrivateLinked, PrivateSummary, link_encoded};
pub use encode::encode;
pub use file::Encoded;

use crate::{Comparator, LinkError};

/// How records are encoded. All parties need the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClkConfig {
    /// Bits of the filter: 256, 512, 1024, 2048 or 4096. About half of them are set in a full record.
    #[serde(default = "bits")]
    pub bits: u32,
    /// What is done against frequency attacks.
    #[serde(default)]
    pub hardening: Hardening,
    /// How much columns count; by their comparator otherwise.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub weights: BTreeMap<String, u32>,
}

fn bits() -> u32 {
    1024
}

impl Default for ClkConfig {
    fn default() -> Self {
        Self { bits: bits(), hardening: Hardening::default(), weights: BTreeMap::new() }
    }
}

/// Hardening of the filters (Schnell and Borgs 2016).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hardening {
    /// The filter as it is.
    #[default]
    None,
    /// Filter and complement, permuted by the key: every record has the same number of set bits. Twice as long.
    Balanced,
    /// One half XOR the other: a set bit no longer says which bigram set it. Half as long.
    Fold,
}

impl ClkConfig {
    pub(crate) fn check(&self, columns: &BTreeSet<&str>) -> Result<(), LinkError> {
        let wrong = |message: String| Err(LinkError::Config { message });
        if !(256..=4096).contains(&self.bits) || !self.bits.is_power_of_two() {
            return wrong("clk.bits must be 256, 512, 1024, 2048 or 4096".to_owned());
        }
        for (column, weight) in &self.weights {
            if !columns.contains(column.as_str()) || *weight > 1000 {
                return wrong(format!("clk.weights: {column} must be a compared column with a weight of 0 to 1000"));
            }
        }
        Ok(())
    }
}

/// How much a column counts where nothing is said, and bigrams that its values usually have.
fn usual(comparator: Comparator) -> (u32, u32) {
    match comparator {
        Comparator::Name => (100, 7),
        Comparator::Text => (100, 13),
        Comparator::Date => (110, 10),
        Comparator::Identifier => (110, 8),
        Comparator::Code => (60, 4),
        Comparator::Category => (20, 4),
    }
}
