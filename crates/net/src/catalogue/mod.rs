//! What members published, told to one another: a list of entries that only grows, and the files of served versions by content
//! address.
//!
//! A member signs how many entries its list has and a digest over all of them, in order. Whoever heard a part of the list and hears
//! the next one sees whether the part is still as it was; what is signed is kept, so that two stories can be held against whoever
//! told them. The gate's key is bound to the member both ways: the member's key signs the gate's, the gate's key the member's.
//!
//! Only what stands in the manifest of a served version is given out, and a manifest is taken from an
//! [`Outbound`] only:
//!
//! ```compile_fail,E0271
//! fn leak(manifest: &acequia_gate::Manifest) -> acequia_net::Offered {
//!     acequia_net::Offered::new(Vec::new(), [manifest])
//! }
//! ```
//! ```
//! fn pass(manifest: &acequia_gate::Outbound<acequia_gate::Manifest>) -> acequia_net::Offered {
//!     acequia_net::Offered::new(Vec::new(), [manifest])
//! }
//! ```

mod desk;
mod fetch;
mod heard;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use acequia_gate::{Artefact, ExitSeal, Manifest, OriginGate, Outbound, readmit_mirrored};
use acequia_types::{DatasetName, Digest, Timestamp, digest_named};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::error::NetError;
use crate::identity::{Identity, MemberKey};

pub use desk::{CatalogueDesk, CatalogueSource};
pub use fetch::{CatalogueClient, Fetched};
pub(crate) use heard::take_anything;
pub use heard::{Heard, KnownVersion, TakenDownThere};

/// Entries of a page, at most.
pub(crate) const PAGE_ENTRIES_MAX: usize = 256;
/// Entries that are taken in from one member, at most: what they say lies in memory.
pub(crate) const ENTRIES_MAX: u64 = 20_000;
/// Bytes of a piece of a file, at most.
pub(crate) const PIECE_BYTES_MAX: u64 = 512 << 10;
/// Bytes of a question, and of an answer without the bytes of a file.
pub(crate) const QUESTION_BYTES_MAX: usize = 4 << 10;
pub(crate) const PAGE_BYTES_MAX: usize = 1 << 20;
/// Bytes of a manifest that is taken in, at most.
pub const MANIFEST_BYTES_MAX: u64 = 4 << 20;
/// Files of a version that is taken in, at most.
const FILES_MAX: usize = 10_000;

const PURPOSE: &str = "acequia catalogue 1";

/// What happened to a version of a member, in the order in which the member tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Entry {
    /// It was published.
    Published {
        /// What it holds.
        artefact: Artefact,
        /// `namespace/name`.
        dataset: DatasetName,
        /// Version.
        version: String,
        /// Digest of its manifest, by which it can be had.
        manifest: Digest,
        /// Seal of the member's gate over the manifest.
        seal: ExitSeal,
        /// When.
        published_at: Timestamp,
    },
    /// It is not served any more.
    TakenDown {
        /// `namespace/name`.
        dataset: DatasetName,
        /// Version.
        version: String,
        /// Why: a class of reasons, in a word.
        reason: String,
        /// The version in its place, if there is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        successor: Option<String>,
        /// When.
        at: Timestamp,
    },
}

impl Entry {
    /// Whether others take it in: they refuse a version whose number cannot stand in an address.
    pub fn can_be_told(&self) -> bool {
        is_version(self.of().1)
    }

    /// Name and version that it is about.
    pub(crate) fn of(&self) -> (&DatasetName, &str) {
        match self {
            Self::Published { dataset, version, .. } | Self::TakenDown { dataset, version, .. } => (dataset, version),
        }
    }
}

/// What a member says of its list so far, signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Statement {
    /// Public key of its gate, 64 hex digits.
    pub(crate) gate: String,
    /// The gate's word that it is this member's.
    pub(crate) said: String,
    /// Entries so far.
    pub(crate) entries: u64,
    /// Digest over them, in order.
    pub(crate) head: Digest,
    /// The member's signature over all of it but the gate's word.
    pub(crate) signature: String,
}

impl Statement {
    pub(crate) fn digest(gate: &str, entries: u64, head: &Digest) -> Digest {
        let parts: [(&str, &[u8]); 3] =
            [("gate", gate.as_bytes()), ("entries", &entries.to_le_bytes()), ("head", head.as_bytes())];
        digest_named(PURPOSE, parts)
    }

    fn is_signed(&self, member: &MemberKey) -> bool {
        let digest = Self::digest(&self.gate, self.entries, &self.head);
        member.verifies(PURPOSE, &digest, &self.signature)
    }
}

/// Some entries of a member's list, and what the list says up to there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Page {
    /// Entries before these.
    pub(crate) since: u64,
    /// The entries.
    pub(crate) entries: Vec<Entry>,
    /// About the list up to the last of them.
    pub(crate) statement: Statement,
    /// Entries that there are in all.
    pub(crate) of: u64,
}

impl Page {
    /// How many entries it has.
    pub fn entries(&self) -> u64 {
        self.entries.len() as u64
    }

    /// Whether others follow.
    pub fn is_followed(&self) -> bool {
        self.since.saturating_add(self.entries()) < self.of
    }
}

/// Digest over no entry.
fn beginning() -> Digest {
    digest_named("acequia catalogue beginning 1", [])
}

/// Digest over one entry more.
fn next(head: &Digest, entry: &Entry) -> Digest {
    // Entries are made of texts and numbers, which can be written.
    let text = serde_json::to_vec(entry).unwrap_or_default();
    digest_named("acequia catalogue entry 1", [("previous", head.as_bytes().as_slice()), ("entry", &text)])
}

/// What a member tells and gives at one moment.
#[derive(Debug)]
pub struct Offered {
    entries: Vec<Entry>,
    /// Digests over the entries before each, and over all.
    heads: Vec<Digest>,
    /// Bytes of every file of a served version.
    files: BTreeMap<Digest, u64>,
}

impl Default for Offered {
    fn default() -> Self {
        Self::new(Vec::new(), [])
    }
}

impl Offered {
    /// The member's list, and the manifests of everything it serves: its own versions, and mirrored ones.
    pub fn new<'m>(entries: Vec<Entry>, served: impl IntoIterator<Item = &'m Outbound<Manifest>>) -> Self {
        let mut heads = vec![beginning()];
        for (at, entry) in entries.iter().enumerate() {
            heads.push(next(&heads[at], entry));
        }
        let mut files = BTreeMap::new();
        for manifest in served {
            let manifest = manifest.get();
            let bytes = manifest.to_bytes();
            files.insert(Digest::of(&bytes), bytes.len() as u64);
            files.extend(manifest.files.iter().map(|file| (file.sha256, file.bytes)));
        }
        Self { entries, heads, files }
    }

    /// What is given of a file: the part of the asked one that there is; `None` for what is in no served version.
    fn range(&self, sha256: &Digest, from: u64, length: u64) -> Option<Range<u64>> {
        let bytes = *self.files.get(sha256)?;
        let end = from.saturating_add(length.min(PIECE_BYTES_MAX)).min(bytes);
        (from <= end).then_some(from..end)
    }

    /// The entries after the first `since`, signed. Whoever heard more than there are learns how many there are, and that something
    /// is wrong.
    pub(crate) fn page(&self, since: u64, (gate, said): &(String, String), identity: &Identity) -> Page {
        let from = usize::try_from(since).unwrap_or(usize::MAX).min(self.entries.len());
        let end = self.entries.len().min(from + PAGE_ENTRIES_MAX);
        let (entries, head) = (end as u64, self.heads[end]);
        let signature = identity.sign(PURPOSE, &Statement::digest(gate, entries, &head));
        let statement = Statement { gate: gate.clone(), said: said.clone(), entries, head, signature };
        Page { since: from as u64, entries: self.entries[from..end].to_vec(), statement, of: self.entries.len() as u64 }
    }
}

/// Bytes of a file that stands in the manifest of a served version. Only a desk makes one.
#[derive(Debug)]
pub struct Given(Bytes);

impl Given {
    pub(crate) fn into_bytes(self) -> Bytes {
        self.0
    }
}

/// Whether a text can be a version's number in addresses and on pages.
fn is_version(text: &str) -> bool {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '-' | '+' | '_');
    !text.is_empty() && text.len() <= 64 && !text.starts_with(['v', '.']) && text.chars().all(plain)
}

/// Lets a neighbour's manifest in, if it is the one that `known` speaks of: the very bytes, with the seal of the gate, of that name,
/// and with files that can be written to a folder.
///
/// # Errors
/// [`NetError::Manifest`]; [`NetError::Gate`] when the seal is not that gate's.
pub fn check_manifest(known: &KnownVersion, gate: &OriginGate, bytes: &[u8]) -> Result<Outbound<Manifest>, NetError> {
    let version = format!("{} {}", known.dataset, known.version);
    let refuse = |reason| Err(NetError::Manifest { version: version.clone(), reason });
    if bytes.len() as u64 > MANIFEST_BYTES_MAX {
        return refuse("it is too long");
    }
    if Digest::of(bytes) != known.manifest {
        return refuse("it is another one");
    }
    let outbound = readmit_mirrored(bytes, &known.seal, gate)?;
    let manifest = outbound.get();
    if (&manifest.dataset, manifest.version.as_str(), manifest.artefact)
        != (&known.dataset, known.version.as_str(), known.artefact)
    {
        return refuse("it is that of another version");
    }
    if manifest.files.len() > FILES_MAX {
        return refuse("it has too many files");
    }
    let (mut paths, mut folders) = (BTreeSet::new(), BTreeSet::new());
    for file in &manifest.files {
        if !file.is_plain() {
            return refuse("a path is not a plain relative one");
        }
        // Where letters are not told apart by their case, one file would be written over the other.
        if !paths.insert(file.path.to_lowercase()) {
            return refuse("a path stands there twice");
        }
        let path = file.path.to_lowercase();
        folders.extend(path.match_indices('/').map(|(at, _)| path[..at].to_owned()));
    }
    if !paths.is_disjoint(&folders) {
        return refuse("a path is a file and a folder");
    }
    let sizes: BTreeMap<Digest, u64> = manifest.files.iter().map(|file| (file.sha256, file.bytes)).collect();
    let total = manifest.files.iter().try_fold(0_u64, |sum, file| sum.checked_add(file.bytes));
    if total.is_none() || manifest.files.iter().any(|file| sizes.get(&file.sha256) != Some(&file.bytes)) {
        return refuse("its sizes contradict one another");
    }
    Ok(outbound)
}
