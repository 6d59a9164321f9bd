//! What a donor may allow, one purpose at a time.

use serde::{Deserialize, Serialize};

/// What a donor may allow. Each purpose is asked for on its own. Its terms in DUO, FHIR and DPV are in `data/purposes.csv`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// Publication in an open, de-identified data set that cannot be called back (DUO:0000042, general research use).
    OpenPublication,
    /// Health research inside the network, nothing published (DUO:0000006, health or medical research).
    Research,
    /// Training, testing and evaluating medical models (DUO:0000006).
    ModelTraining,
}

impl Purpose {
    /// Every purpose, in the order people are asked.
    pub const ALL: [Self; 3] = [Self::OpenPublication, Self::Research, Self::ModelTraining];

    /// The word used in files and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OpenPublication => "open-publication",
            Self::Research => "research",
            Self::ModelTraining => "model-training",
        }
    }

    /// Reads the word; an unknown purpose is `None` and must be treated as denied.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|purpose| purpose.as_str() == text)
    }
}

impl std::fmt::Display for Purpose {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A set of purposes; written as a list of words.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(from = "Vec<Purpose>", into = "Vec<Purpose>")]
pub struct Purposes(u8);

impl Purposes {
    /// No purpose.
    pub const NONE: Self = Self(0);
    /// Every purpose.
    pub const ALL: Self = Self((1 << Purpose::ALL.len()) - 1);

    /// Whether the purpose is among them.
    pub const fn contains(self, purpose: Purpose) -> bool {
        self.0 & (1 << purpose as u8) != 0
    }

    /// Those in both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Those in this one but not in the other.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// How many.
    pub const fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// In the order people are asked.
    pub fn iter(self) -> impl Iterator<Item = Purpose> {
        Purpose::ALL.into_iter().filter(move |purpose| self.contains(*purpose))
    }
}

impl std::fmt::Debug for Purposes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl FromIterator<Purpose> for Purposes {
    fn from_iter<I: IntoIterator<Item = Purpose>>(purposes: I) -> Self {
        Self(purposes.into_iter().fold(0, |set, purpose| set | 1 << purpose as u8))
    }
}

impl From<Vec<Purpose>> for Purposes {
    fn from(purposes: Vec<Purpose>) -> Self {
        purposes.into_iter().collect()
    }
}

impl From<Purposes> for Vec<Purpose> {
    fn from(purposes: Purposes) -> Self {
        purposes.iter().collect()
    }
}
