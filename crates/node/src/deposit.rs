//! What outside authors deposit: who may, and what the trustee does with it.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use acequia_deposit::{
    DepositError, DepositLine, Deposits, Draft, Finding, ModelSummary, Outcome, Place, Scope, Swept, Token, TokenLine,
};
use acequia_gate::Artefact;
use acequia_types::{DatasetName, Timestamp};
use serde::Serialize;

use crate::failpoint::{DEPOSIT_POINT, failpoint};
use crate::failure::{Failure, NodeError, io};
use crate::home::Node;
use crate::settings::Settings;

/// Bytes of a file that are opened at a time when it is taken out.
const PIECE_BYTES: u64 = 4 << 20;

/// A deposit with its history.
#[derive(Debug, Clone, Serialize)]
pub struct DepositShown {
    /// `datasets/namespace/name` or `models/namespace/name`.
    pub deposit: String,
    /// When it was begun.
    pub begun_at: Timestamp,
    /// What was handed in, oldest first.
    pub tags: Vec<acequia_deposit::Tag>,
    /// Commits, newest first.
    pub commits: Vec<CommitShown>,
    /// Files of the newest commit.
    pub files: Vec<acequia_gate::ReleasedFile>,
    /// What keeps the newest commit from being handed in.
    pub findings: Vec<Finding>,
    /// What the model files of the newest commit say of themselves.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub models: BTreeMap<String, ModelSummary>,
    /// Branches beside `main`, with their newest commits.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub branches: BTreeMap<String, String>,
    /// What arrived, what no commit took, and what went.
    pub swept: Swept,
}

/// A commit in a history.
#[derive(Debug, Clone, Serialize)]
pub struct CommitShown {
    /// Its id.
    pub commit: String,
    /// When it was made.
    pub at: Timestamp,
    /// One line.
    pub title: String,
    /// Short name of the token.
    pub by: String,
    /// Files that it brought.
    pub put: u64,
    /// Files that it took away.
    pub gone: u64,
}

/// What was taken out.
#[derive(Debug, Clone, Serialize)]
pub struct DepositTaken {
    /// `datasets/namespace/name` or `models/namespace/name`.
    pub deposit: String,
    /// Under which tag it was handed in.
    pub tag: String,
    /// The commit.
    pub commit: String,
    /// Files that were written.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// What went with a deposit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DepositRemoved {
    /// `datasets/namespace/name` or `models/namespace/name`.
    pub deposit: String,
    /// Different contents that lay here, uploads under way included.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Node {
    /// The node's deposits.
    pub(crate) fn deposits(&self) -> Result<Deposits, Failure> {
        Ok(Deposits::new(Place {
            store: self.store.clone(),
            keys: self.keys.clone(),
            blobs: self.blobs.clone(),
            root: self.deposit_key(),
            clock: Arc::clone(&self.clock),
            limits: Settings::read(&self.home)?.deposits(),
            lock: Some(self.home.join("deposits.lock")),
        })
        .watched(failpoint))
    }

    /// Makes a token for a member of the network. Returns it with its secret, which is shown once and not kept.
    ///
    /// # Errors
    /// Errors of deposits.
    pub async fn make_token(
        &self,
        holder: &str,
        scopes: &[String],
        write: bool,
        until: Timestamp,
        by: &str,
    ) -> Result<(Token, String), Failure> {
        let scopes: Vec<Scope> = scopes.iter().map(|scope| Scope::parse(scope)).collect::<Result<_, _>>()?;
        Ok(self.deposits()?.make_token(holder, &scopes, write, until, by).await?)
    }

    /// Every token, oldest first.
    ///
    /// # Errors
    /// Errors of the records.
    pub async fn tokens(&self) -> Result<Vec<TokenLine>, Failure> {
        Ok(self.deposits()?.tokens().await?)
    }

    /// Revokes a token. `false` when it was revoked before.
    ///
    /// # Errors
    /// [`DepositError::Token`] when there is none of this id.
    pub async fn revoke_token(&self, id: &str, by: &str) -> Result<bool, Failure> {
        Ok(self.deposits()?.revoke_token(id, by).await?)
    }

    /// Every deposit, in the order of names.
    ///
    /// # Errors
    /// Errors of the records.
    pub async fn deposited(&self) -> Result<Vec<DepositLine>, Failure> {
        Ok(self.deposits()?.list().await?)
    }

    /// The deposit of this name; where a data set and a model share it, the one that `artefact` says, or the data set.
    async fn named(
        &self,
        deposits: &Deposits,
        name: &DatasetName,
        artefact: Option<Artefact>,
    ) -> Result<Arc<Draft>, Failure> {
        let found = deposits.called(name).await?;
        let wanted = |draft: &&Arc<Draft>| artefact.is_none_or(|artefact| draft.name().artefact == artefact);
        Ok(found.iter().find(wanted).cloned().ok_or(DepositError::Missing)?)
    }

    /// A deposit with its history, and what keeps its newest commit from being handed in.
    ///
    /// # Errors
    /// [`DepositError::Missing`].
    pub async fn show_deposit(&self, name: &DatasetName, artefact: Option<Artefact>) -> Result<DepositShown, Failure> {
        let deposits = self.deposits()?;
        let draft = self.named(&deposits, name, artefact).await?;
        let main = draft.revision("main").ok_or(DepositError::Revision)?;
        let findings = deposits.check(draft.name(), &main).await?;
        let models = deposits.summaries(draft.name(), &main).await?;
        let commit = |(at, commit): (Timestamp, &acequia_deposit::Committed)| CommitShown {
            commit: commit.commit.clone(),
            at,
            title: commit.title.clone(),
            by: commit.by.clone(),
            put: commit.put.len() as u64,
            gone: commit.gone.len() as u64,
        };
        Ok(DepositShown {
            deposit: draft.name().to_string(),
            begun_at: draft.begun_at(),
            tags: draft.tags().to_vec(),
            commits: draft.commits().rev().map(commit).collect(),
            files: draft.head().values().cloned().collect(),
            findings,
            models,
            branches: draft.branches().clone(),
            swept: draft.swept(),
        })
    }

    /// Writes the files of what was handed in into a folder that is empty or not there yet, for the course, and puts that on record.
    /// May be done again.
    ///
    /// # Errors
    /// [`DepositError::Missing`], [`DepositError::Revision`]; [`NodeError::Io`] when the folder holds something.
    pub async fn take_deposit(
        &self,
        (name, artefact): (&DatasetName, Option<Artefact>),
        tag: &str,
        folder: &Path,
        by: &str,
    ) -> Result<DepositTaken, Failure> {
        let deposits = self.deposits()?;
        let draft = self.named(&deposits, name, artefact).await?;
        let handed = draft.tag(tag).ok_or(DepositError::Revision)?;
        let at = draft.revision(tag).ok_or(DepositError::Revision)?;
        std::fs::create_dir_all(folder).map_err(io("the folder to take it into", "written"))?;
        let mut there = std::fs::read_dir(folder).map_err(io("the folder to take it into", "read"))?;
        if there.next().is_some() {
            let kind = std::io::ErrorKind::DirectoryNotEmpty;
            return Err(NodeError::Io { what: "the folder to take it into".to_owned(), doing: "used", kind }.into());
        }
        let files = acequia_deposit::files(&at);
        let mut bytes = 0u64;
        for (path, file) in files {
            let sealed = deposits.file(draft.name(), file).await?;
            let target = folder.join(path);
            if let Some(parent) = target.parent() {
                std::fs::create_dir_all(parent).map_err(io("the folder to take it into", "written"))?;
            }
            let written = acequia_blobs::write_stream_atomically(&target, |out| {
                let mut digest = acequia_types::DigestWriter::default();
                let mut place = 0;
                while place < sealed.len() {
                    let piece = sealed.read(place..place + PIECE_BYTES)?;
                    place += piece.len() as u64;
                    digest.write_all(&piece).and_then(|()| out.write_all(&piece)).map_err(io("a file", "written"))?;
                }
                Ok::<_, Failure>(digest.finish())
            })?;
            if written != file.sha256 {
                return Err(DepositError::Sealed.into());
            }
            bytes = bytes.saturating_add(file.bytes);
        }
        failpoint(DEPOSIT_POINT);
        deposits.decide(draft.name(), tag, Outcome::Taken, by).await?;
        let (deposit, commit) = (draft.name().to_string(), handed.commit.clone());
        tracing::info!(%deposit, tag, commit = %commit, "a deposit was taken");
        Ok(DepositTaken { deposit, tag: tag.to_owned(), commit, files: files.len() as u64, bytes })
    }

    /// Refuses what was handed in, with a reason that its author reads.
    ///
    /// # Errors
    /// [`DepositError::Missing`], [`DepositError::Revision`].
    pub async fn refuse_deposit(
        &self,
        (name, artefact): (&DatasetName, Option<Artefact>),
        tag: &str,
        reason: &str,
        by: &str,
    ) -> Result<(), Failure> {
        let deposits = self.deposits()?;
        let draft = self.named(&deposits, name, artefact).await?;
        let outcome = Outcome::Refused { reason: reason.to_owned() };
        deposits.decide(draft.name(), tag, outcome, by).await?;
        tracing::info!(deposit = %draft.name(), tag, "a deposit was refused");
        Ok(())
    }

    /// Removes a deposit with its bytes. What was taken out or published before stays.
    ///
    /// # Errors
    /// [`DepositError::Missing`].
    pub async fn remove_deposit(
        &self,
        (name, artefact): (&DatasetName, Option<Artefact>),
        by: &str,
    ) -> Result<DepositRemoved, Failure> {
        let deposits = self.deposits()?;
        let draft = self.named(&deposits, name, artefact).await?;
        let gone = deposits.remove(draft.name(), by).await?;
        let deposit = draft.name().to_string();
        tracing::info!(%deposit, objects = gone.objects, "a deposit was removed");
        Ok(DepositRemoved { deposit, objects: gone.objects, bytes: gone.bytes })
    }

    /// Removes what arrived long ago and what no commit took.
    pub(crate) async fn sweep_deposits(&self, deposits: &Deposits) -> Result<Swept, Failure> {
        let swept = deposits.sweep().await?;
        if swept.objects > 0 {
            tracing::info!(objects = swept.objects, bytes = swept.bytes, "uploads that no commit took were removed");
        }
        Ok(swept)
    }
}
