//! The kinds of record.

use acequia_types::{DatasetName, Digest, DonorId, IntakeId, SourceId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One donated file.
#[derive(Debug, Clone, PartialEq)]
pub struct Donation {
    /// Its name inside the node.
    pub intake: IntakeId,
    /// Who gave it.
    pub donor: DonorId,
    /// Which source it belongs to.
    pub source: SourceId,
    /// Format name.
    pub format: String,
    /// Digest of the plaintext.
    pub plaintext: Digest,
    /// Address of the sealed object.
    pub sealed: Digest,
    /// Length of the plaintext.
    pub bytes: u64,
    /// Address of the mapping file.
    pub mapping: Option<Digest>,
    /// When it came.
    pub received_at: Timestamp,
    /// Whether it could be read.
    pub state: State,
    /// Counts from the first reading; no values.
    pub detail: Value,
}

/// Whether a donated file could be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Readable.
    Accepted,
    /// Set aside.
    Quarantined {
        /// Code of the error.
        code: String,
    },
}

/// Outcome of adding a donation.
#[derive(Debug, Clone, PartialEq)]
pub enum Added {
    /// It is new.
    New,
    /// It was there.
    Same(Box<Donation>),
}

/// A finished step of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Digest of everything the step depends on.
    pub key: Digest,
    /// What it is called.
    pub name: String,
    /// Its sealed tables by name.
    pub blobs: Vec<(String, Digest)>,
    /// What it reported; counts only.
    pub detail: Value,
    /// When it was done.
    pub finished_at: Timestamp,
}

/// A published version.
#[derive(Debug, Clone, PartialEq)]
pub struct Release {
    /// `namespace/name`.
    pub dataset: DatasetName,
    /// Version.
    pub version: String,
    /// Digest of the manifest.
    pub manifest: Digest,
    /// Exit seal.
    pub seal: String,
    /// Path to content address, `manifest.json` included.
    pub files: Vec<(String, Digest)>,
    /// When it was published.
    pub published_at: Timestamp,
    /// The node's own notes on it.
    pub detail: Value,
}

/// Why a published version is not served any more; what people who come to its page are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TakenDown {
    /// People whose data were in it withdrew; the next version is without them.
    Withdrawal,
    /// Its protection turned out to be too weak.
    Safety,
    /// A law or a court demands it.
    Law,
    /// It holds errors.
    Error,
}

impl TakenDown {
    /// Every reason.
    pub const ALL: [Self; 4] = [Self::Withdrawal, Self::Safety, Self::Law, Self::Error];

    /// The word used in files and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Withdrawal => "withdrawal",
            Self::Safety => "safety",
            Self::Law => "law",
            Self::Error => "error",
        }
    }

    /// Reads the word.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text)
    }
}

/// That a published version is not served any more. There is at most one for a version, and it stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tombstone {
    /// `namespace/name`.
    pub dataset: String,
    /// Version.
    pub version: String,
    /// Why.
    pub reason: TakenDown,
    /// The version in its place, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub successor: Option<String>,
}

impl Tombstone {
    /// Whether it is about this version.
    pub fn is_of(&self, dataset: &DatasetName, version: &str) -> bool {
        self.dataset == dataset.to_string() && self.version == version
    }
}

/// A version to publish, and the earlier ones that it takes the place of.
#[derive(Debug, Clone, PartialEq)]
pub struct Publication {
    /// The version.
    pub release: Release,
    /// Tombstones that go on record with it, in the same transaction.
    pub superseded: Vec<Tombstone>,
}

impl From<Release> for Publication {
    fn from(release: Release) -> Self {
        Self { release, superseded: Vec::new() }
    }
}

/// Outcome of publishing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Published {
    /// It is out now.
    New,
    /// The same manifest was out before.
    Already,
}

/// The words of a notice in one language and version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoticeText {
    /// Which notice.
    pub id: String,
    /// Its version, rising.
    pub version: u32,
    /// Language by BCP 47.
    pub language: String,
    /// Whether the change is material: consents given to older versions must be asked again. Editorial otherwise.
    pub material: bool,
    /// The words.
    pub text: String,
    /// When it was published.
    pub published_at: Timestamp,
}

impl NoticeText {
    /// Digest of the words: what a consent refers to.
    pub fn digest(&self) -> Digest {
        Digest::of(self.text.as_bytes())
    }
}
