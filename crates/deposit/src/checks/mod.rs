//! What is looked at when a commit is handed in. A finding names a file and a rule, never what stands in the file.

mod card;
mod formats;
mod rows;
mod splits;
mod summary;

use std::collections::BTreeMap;
use std::sync::Arc;

use acequia_gate::Artefact;
use acequia_types::Digest;
use acequia_xet::{Plan, Planner};
use serde::Serialize;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

pub(crate) use card::check_card;
pub use summary::{ModelSummary, Tensor};

use crate::DepositError;
use crate::stow::{CHUNK_BYTES, SealedFile};

/// Something that keeps a commit from being handed in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Which file; nothing when it is about all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// What is wrong, as a sentence without a full stop.
    pub what: String,
    /// Stable code, of what has one in `docs/errors.md`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<&'static str>,
}

impl Finding {
    pub(crate) fn new(file: impl Into<Option<String>>, what: impl Into<String>) -> Self {
        Self { file: file.into(), what: what.into(), code: None }
    }
}

impl std::fmt::Display for Finding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.file {
            Some(file) => write!(f, "{file}: {}", self.what)?,
            None => f.write_str(&self.what)?,
        }
        self.code.map_or(Ok(()), |code| write!(f, " ({code})"))
    }
}

/// The card of a repository.
const CARD: &str = "README.md";
/// Longest card that is looked at.
const LONGEST_CARD_BYTES: u64 = 1 << 20;

/// Everything that is wrong with these files. Blocks.
///
/// # Errors
/// [`DepositError::Sealed`]; errors of the blobs.
pub(crate) fn all(artefact: Artefact, files: &BTreeMap<String, Arc<SealedFile>>) -> Result<Vec<Finding>, DepositError> {
    let mut findings = Vec::new();
    let card = match files.get(CARD) {
        Some(file) if file.len() <= LONGEST_CARD_BYTES => {
            String::from_utf8(file.read(0..file.len())?).ok().unwrap_or_default()
        }
        Some(_) => {
            findings.push(Finding::new(CARD.to_owned(), "is longer than 1 MiB"));
            String::new()
        }
        None => {
            findings.push(Finding::new(None, "there is no README.md, the card that says what this is"));
            String::new()
        }
    };
    if files.contains_key(CARD) {
        let checked = check_card(artefact, &card);
        let missing = checked.errors.into_iter().chain(checked.missing);
        findings.extend(missing.map(|what| Finding::new(CARD.to_owned(), what)));
    }
    for (path, file) in files {
        let found = formats::check(path, file)?;
        findings.extend(found.map(|(code, what)| Finding { code: Some(code), ..Finding::new(path.clone(), what) }));
    }
    match artefact {
        Artefact::Model => {
            if !files.keys().any(|path| path.ends_with(".onnx") || path.ends_with(".safetensors")) {
                findings.push(Finding::new(None, "a model is handed in as ONNX or safetensors, and there is neither"));
            }
        }
        Artefact::Dataset => findings.extend(splits::check(&card, files)),
    }
    if files.values().any(|file| file.failed()) {
        return Err(DepositError::Sealed);
    }
    Ok(findings)
}

/// What the model files among these say of themselves. Blocks.
///
/// # Errors
/// [`DepositError::Sealed`]; errors of the blobs.
pub(crate) fn summaries(
    files: &BTreeMap<String, Arc<SealedFile>>,
) -> Result<BTreeMap<String, ModelSummary>, DepositError> {
    let mut told = BTreeMap::new();
    for (path, file) in files {
        // What is malformed is a finding.
        if formats::check(path, file)?.is_none()
            && let Some(summary) = summary::of(path, file)?
        {
            told.insert(path.clone(), summary);
        }
    }
    Ok(told)
}

/// SHA-256 and git's blob id of a file, and of which xorbs it is made. Blocks.
pub(crate) fn digests(file: &SealedFile) -> Result<(Digest, String, Plan), DepositError> {
    let (mut sha256, mut git, mut planner) = (Sha256::new(), Sha1::new(), Planner::default());
    git.update(format!("blob {}\0", file.len()).as_bytes());
    let mut at = 0;
    while at < file.len() {
        let piece = file.read(at..at + CHUNK_BYTES)?;
        sha256.update(&piece);
        git.update(&piece);
        planner.push(&piece);
        at += piece.len() as u64;
    }
    Ok((Digest::from_bytes(sha256.finalize().into()), hex::encode(git.finalize()), planner.finish()))
}
