//! What a published version consists of.

use std::collections::BTreeMap;

use acequia_custody::Conditions;
use acequia_types::{DatasetName, Day, Digest};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha1::{Digest as _, Sha1};

/// One file of a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleasedFile {
    /// Path inside the data set, `/`-separated, relative.
    pub path: String,
    /// Length in bytes.
    pub bytes: u64,
    /// Content address.
    pub sha256: Digest,
    /// Git blob SHA-1 (40 hex digits), which Hub clients compare with a locally computed one.
    pub git_oid: String,
}

impl ReleasedFile {
    /// Describes `content`.
    pub fn of(path: &str, content: &[u8]) -> Self {
        let mut git = Sha1::new();
        git.update(format!("blob {}\0", content.len()).as_bytes());
        git.update(content);
        Self {
            path: path.to_owned(),
            bytes: content.len() as u64,
            sha256: Digest::of(content),
            git_oid: hex::encode(git.finalize()),
        }
    }

    /// Whether a client can safely join the path to a folder of its own.
    pub fn is_plain(&self) -> bool {
        is_plain_path(&self.path)
    }
}

/// Whether a client can safely join a path to a folder of its own. `manifest.json` is the version's own.
pub fn is_plain_path(path: &str) -> bool {
    !path.is_empty()
        && path.len() <= 1024
        && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
        && !path.contains(|c: char| c == '\\' || c == ':' || c.is_control())
        && path != "manifest.json"
}

/// Where records came from: counts and one digest, no donor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputDigest {
    /// Institution's register, or `individual-donors`.
    pub source: String,
    /// Format name, such as `csv` or `fhir-r4-bundle`.
    pub format: String,
    /// Donated files that were opened.
    pub files: u64,
    /// Digest over the digests of those files, sorted.
    pub digest: Digest,
}

/// What a version holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Artefact {
    /// Rows in splits.
    #[default]
    Dataset,
    /// A trained model with the records of what it is worth.
    Model,
}

impl Artefact {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
    fn is_dataset(&self) -> bool {
        *self == Self::Dataset
    }
}

/// The statement a version is: which files, made from what, how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Layout of this document: `acequia-release/1`.
    pub schema: String,
    /// What it holds; a data set where nothing is said.
    #[serde(default, skip_serializing_if = "Artefact::is_dataset")]
    pub artefact: Artefact,
    /// `namespace/name` of the data set or model. At one node no data set has the name of a model.
    pub dataset: DatasetName,
    /// Version, such as `1.0.0`.
    pub version: String,
    /// Title for people.
    pub title: String,
    /// One sentence in plain words.
    pub summary: String,
    /// SPDX id of the licence.
    pub license: String,
    /// Conditions that whoever has the rows is held to; none where anybody may have them for anything.
    #[serde(default, skip_serializing_if = "Conditions::is_empty")]
    pub terms: Conditions,
    /// Day of release, from the recipe.
    pub released_on: Day,
    /// Program and version that made it.
    pub program: String,
    /// Digest of the recipe.
    pub recipe: Digest,
    /// Seed of the split assignment; 0 for a model, which has none.
    pub seed: u64,
    /// Where the records came from; empty for a model, whose card names what it learned from.
    pub inputs: Vec<InputDigest>,
    /// Rows per split, in the order train, validation, test; none for a model.
    pub splits: Vec<(String, u64)>,
    /// All files except `manifest.json` itself, sorted by path.
    pub files: Vec<ReleasedFile>,
}

/// A whole version on its way out: the manifest and the bytes of every file, `manifest.json` included.
#[derive(Debug, Clone, PartialEq)]
pub struct Parcel {
    /// The statement.
    pub manifest: Manifest,
    /// Path to content.
    pub files: BTreeMap<String, Bytes>,
}

impl Manifest {
    /// Its canonical bytes: pretty JSON with a final newline. These are the bytes of `manifest.json`.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    /// Digest of [`Manifest::to_bytes`]: names the version.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.to_bytes())
    }

    /// The 40 hex digits Hub clients call a commit: the start of the digest.
    pub fn commit(&self) -> String {
        self.digest().short(40)
    }
}
