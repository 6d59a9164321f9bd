//! The core: tokens, drafts and bytes, over the records and blobs of a node.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use acequia_access::{NewToken, Scope, Token, TokenLine, Tokens};
use acequia_blobs::{BlobStore, Key};
use acequia_gate::ReleasedFile;
use acequia_store::{KeyStore, Store, StoreError, StoredObject};
use acequia_types::{Clock, DatasetName, Digest, Timestamp};
use serde::Serialize;
use serde_json::Value;
use tokio::sync::{OwnedRwLockReadGuard, RwLock};

use crate::capability::Signer;
use crate::checks::{self, Finding, ModelSummary};
use crate::commit::CommitLine;
use crate::draft::{Committed, Event, MAIN, Once, branch_of, commit_id, is_branch};
use crate::limits::{Limits, is_large};
use crate::plans::{Plans, object_of};
use crate::stow::{Sealed, SealedFile, Writer, Written};
use crate::web::XorbIndexes;
use crate::{DepositError, DepositName, Draft, Outcome, Snapshot};

/// What streams of deposits begin with.
const DEPOSITS: &str = "deposit/";
/// Commits whose findings are kept in mind.
const MOST_CHECKED: usize = 256;
/// Most findings of a hand-in that are said.
const MOST_FINDINGS: usize = 100;
/// How long somebody waits for a removal of somebody else.
const REMOVED_WITHIN: Duration = Duration::from_secs(10);
/// Most branches of a deposit beside `main`.
const MOST_BRANCHES: usize = 100;

/// What deposits stand on.
pub struct Place {
    /// Journals, and where bytes lie.
    pub store: Store,
    /// Keys of deposits, wrapped.
    pub keys: KeyStore,
    /// Sealed chunks.
    pub blobs: BlobStore,
    /// From which the keys for wrapping and for signing addresses follow.
    pub root: [u8; 32],
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// How much is taken.
    pub limits: Limits,
    /// A file whose lock everybody who writes bytes shares, and who mends the node has alone.
    pub lock: Option<PathBuf>,
}

/// The deposits of a node.
pub struct Deposits {
    place: Place,
    wrapping: Key,
    pub(crate) signer: Signer,
    tokens: Tokens,
    drafts: Mutex<BTreeMap<String, Arc<Draft>>>,
    /// Who writes shares it; who sweeps has it alone.
    writing: Arc<RwLock<()>>,
    /// What was found in commits, by their ids: checks of long tables outlast the patience of clients, who then ask again.
    checked: tokio::sync::Mutex<BTreeMap<String, Vec<Finding>>>,
    pub(crate) xorbs: XorbIndexes,
    pub(crate) plans: Plans,
    /// Told where a removal is.
    reached: fn(&str),
}

/// Held while bytes are written and until the record of them is.
pub(crate) struct Working {
    _own: OwnedRwLockReadGuard<()>,
    _file: Option<File>,
}

/// How something that was handed in stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DepositState {
    /// Nothing was handed in yet.
    Draft,
    /// Something waits for the trustee.
    HandedIn,
    /// What was handed in last was taken.
    Taken,
    /// What was handed in last was refused.
    Refused,
}

/// A deposit in a list.
#[derive(Debug, Clone, Serialize)]
pub struct DepositLine {
    /// `datasets/namespace/name` or `models/namespace/name`.
    pub deposit: String,
    /// How it stands.
    pub state: DepositState,
    /// What was handed in last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Files of the newest commit.
    pub files: u64,
    /// Bytes of the newest commit.
    pub bytes: u64,
    /// Commits.
    pub commits: u64,
    /// When the newest commit was made.
    pub changed_at: Timestamp,
}

/// What a sweep removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Swept {
    /// Objects and parts.
    pub objects: u64,
    /// Their bytes, unsealed.
    pub bytes: u64,
}

/// Places that a removal comes to: on record, without its key, and at each object when its record is gone.
pub const REMOVAL_POINTS: [&str; 3] = ["deposit.removed", "deposit.unkeyed", "deposit.forgotten"];

fn stream(key: &str) -> String {
    format!("{DEPOSITS}{key}")
}

fn json_of(event: &impl Serialize) -> Result<Value, DepositError> {
    serde_json::to_value(event).map_err(|_| StoreError::Record { kind: "deposit" }.into())
}

impl Deposits {
    /// The deposits of a node.
    pub fn new(place: Place) -> Self {
        let root = Key::from_bytes(place.root);
        let wrapping = root.derive("acequia 2026 deposit wrapping key v1");
        let signer = Signer::new(*root.derive("acequia 2026 deposit address key v1").as_bytes());
        let tokens = Tokens::new(place.store.clone(), Arc::clone(&place.clock));
        Self {
            place,
            wrapping,
            signer,
            tokens,
            drafts: Mutex::default(),
            writing: Arc::default(),
            checked: tokio::sync::Mutex::default(),
            xorbs: XorbIndexes::default(),
            plans: Plans::default(),
            reached: |_| {},
        }
    }

    /// The same, telling where a removal is: tests stop it there.
    pub fn watched(self, reached: fn(&str)) -> Self {
        Self { reached, ..self }
    }

    /// How much is taken.
    pub fn limits(&self) -> &Limits {
        &self.place.limits
    }

    /// The present instant.
    pub(crate) fn now(&self) -> Timestamp {
        self.place.clock.now()
    }

    // Tokens.

    /// Makes a token for a member. Returns it with its secret, which is not kept.
    ///
    /// # Errors
    /// [`DepositError::Token`]; errors of the records.
    pub async fn make_token(
        &self,
        holder: &str,
        scopes: &[Scope],
        write: bool,
        until: Timestamp,
        by: &str,
    ) -> Result<(Token, String), DepositError> {
        Ok(self.tokens.make(&NewToken { holder, scopes, write, until, by, reader: None }).await?)
    }

    /// Every token, oldest first.
    ///
    /// # Errors
    /// Errors of the records.
    pub async fn tokens(&self) -> Result<Vec<TokenLine>, DepositError> {
        Ok(self.tokens.list().await?)
    }

    /// Revokes a token: from now on it opens nothing, and addresses that it asked for take nothing. `false` when it was revoked before.
    ///
    /// # Errors
    /// [`DepositError::Token`] when there is none of this id.
    pub async fn revoke_token(&self, id: &str, by: &str) -> Result<bool, DepositError> {
        Ok(self.tokens.revoke(id, by, None).await?)
    }

    /// The member's token with this secret, if it counts now. What readers made for themselves opens no deposit, whatever its scopes.
    ///
    /// # Errors
    /// Errors of the records.
    pub async fn token_of(&self, secret: &str) -> Result<Option<Token>, DepositError> {
        Ok(self.tokens.of_secret(secret).await?.filter(|token| token.reader.is_none()))
    }

    /// The member's token of this id, if it counts now.
    pub(crate) async fn token_named(&self, id: &str) -> Result<Option<Token>, DepositError> {
        Ok(self.tokens.named(id).await?.filter(|token| token.reader.is_none()))
    }

    // Drafts.

    /// Begins a deposit. Who asks again with the same key (see [`crate::Once`]) hears that it was begun.
    ///
    /// # Errors
    /// [`DepositError::Exists`], [`DepositError::OtherRequest`].
    pub async fn begin(&self, name: &DepositName, by: &str, key: Option<Digest>) -> Result<(), DepositError> {
        let once = Once::asked(key, &["begin"]);
        let event = json_of(&Event::Begun { by: by.to_owned(), once: once.clone() })?;
        let stream = stream(&name.key());
        if self.place.store.append_after(&stream, 0, self.now(), &event).await?.is_some() {
            return Ok(());
        }
        if self.draft(name).await?.is_none() {
            // A removal may go on, or have been cut short, and nothing of the one before is part of the next.
            let _removing = self.removing().await?;
            if let Some(removed) = self.folded(name).await?.filter(|draft| draft.is_removed()) {
                self.clear(&name.key()).await?;
                if self.place.store.append_after(&stream, removed.last, self.now(), &event).await?.is_some() {
                    return Ok(());
                }
            }
        }
        match self.existing(name).await?.answered(once.as_ref())? {
            Some(_) => Ok(()),
            None => Err(DepositError::Exists),
        }
    }

    /// A deposit as it is now, if there is one.
    ///
    /// # Errors
    /// Errors of the records.
    pub async fn draft(&self, name: &DepositName) -> Result<Option<Arc<Draft>>, DepositError> {
        Ok(self.folded(name).await?.filter(|draft| !draft.is_removed()))
    }

    /// What the journal of this name amounts to, also when the deposit was removed.
    async fn folded(&self, name: &DepositName) -> Result<Option<Arc<Draft>>, DepositError> {
        let key = name.key();
        let known = self.drafts.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        let last = known.as_ref().map_or(0, |draft| draft.last);
        let entries = self.place.store.entries_after(&stream(&key), last).await?;
        if entries.is_empty() {
            return Ok(known);
        }
        let mut draft = known.map_or_else(|| Draft::nothing(name.clone()), Arc::unwrap_or_clone);
        for entry in &entries {
            draft.apply(entry)?;
        }
        let draft = Arc::new(draft);
        self.drafts.lock().unwrap_or_else(PoisonError::into_inner).insert(key, Arc::clone(&draft));
        Ok(Some(draft))
    }

    async fn existing(&self, name: &DepositName) -> Result<Arc<Draft>, DepositError> {
        self.draft(name).await?.ok_or(DepositError::Missing)
    }

    /// Names of all deposits, removed ones included.
    async fn names(&self) -> Result<Vec<DepositName>, DepositError> {
        let streams = self.place.store.streams(DEPOSITS).await?;
        Ok(streams.iter().filter_map(|stream| DepositName::parse_key(stream.strip_prefix(DEPOSITS)?)).collect())
    }

    /// The deposits called so: one of each kind at most.
    ///
    /// # Errors
    /// Errors of the records.
    pub async fn called(&self, name: &DatasetName) -> Result<Vec<Arc<Draft>>, DepositError> {
        let mut found = Vec::new();
        for artefact in [acequia_gate::Artefact::Dataset, acequia_gate::Artefact::Model] {
            found.extend(self.draft(&DepositName { artefact, name: name.clone() }).await?);
        }
        Ok(found)
    }

    /// Every deposit, in the order of names.
    ///
    /// # Errors
    /// Errors of the records.
    pub async fn list(&self) -> Result<Vec<DepositLine>, DepositError> {
        let mut lines = Vec::new();
        for name in self.names().await? {
            let Some(draft) = self.draft(&name).await? else { continue };
            let last = draft.tags().last();
            let state = match last.map(|tag| tag.decision.as_ref().map(|decision| &decision.outcome)) {
                None => DepositState::Draft,
                Some(None) => DepositState::HandedIn,
                Some(Some(Outcome::Taken)) => DepositState::Taken,
                Some(Some(Outcome::Refused { .. })) => DepositState::Refused,
            };
            lines.push(DepositLine {
                deposit: name.key(),
                state,
                tag: last.map(|tag| tag.tag.clone()),
                files: draft.head().len() as u64,
                bytes: draft.head().values().fold(0, |sum, file| sum.saturating_add(file.bytes)),
                commits: draft.commits().count() as u64,
                changed_at: draft.commits().next_back().map_or(draft.begun_at(), |(at, _)| at),
            });
        }
        Ok(lines)
    }

    /// How many different contents commits have or had, and of how many the bytes are not on record here, or the key is gone.
    ///
    /// # Errors
    /// Errors of the records.
    pub async fn missing(&self) -> Result<(u64, u64), DepositError> {
        let (mut all, mut lost) = (0, 0);
        for name in self.names().await? {
            let key = name.key();
            let Some(draft) = self.draft(&name).await? else { continue };
            let contents: BTreeSet<Digest> = draft.contents().collect();
            let objects = self.place.store.objects(Some(&key)).await?;
            let there: BTreeSet<&str> =
                objects.iter().filter(|own| own.part == 0).map(|own| own.object.as_str()).collect();
            let openable = contents.is_empty() || self.sealed_if_keyed(&key).await?;
            let count = contents.iter().filter(|own| !openable || !there.contains(own.to_string().as_str())).count();
            all += contents.len() as u64;
            lost += count as u64;
        }
        Ok((all, lost))
    }

    /// Whether the deposit's key is there and can be unwrapped.
    async fn sealed_if_keyed(&self, key: &str) -> Result<bool, DepositError> {
        Ok(self.own_key(key).await?.is_some())
    }

    async fn own_key(&self, key: &str) -> Result<Option<Key>, DepositError> {
        let wrapped = self.place.keys.deposit_key(key).await?;
        Ok(wrapped.and_then(|wrapped| Key::unwrap_from(&self.wrapping, key.as_bytes(), &wrapped).ok()))
    }

    // Bytes.

    /// Shares the lock of those who write. Held until the record of what was written is there.
    ///
    /// # Errors
    /// [`DepositError::Mending`].
    pub(crate) async fn working(&self) -> Result<Working, DepositError> {
        let own = Arc::clone(&self.writing).read_owned().await;
        let file = match &self.place.lock {
            Some(path) => {
                let file = File::options().create(true).append(true).open(path);
                let file = file.map_err(|_| DepositError::Mending)?;
                file.try_lock_shared().map_err(|_| DepositError::Mending)?;
                Some(file)
            }
            None => None,
        };
        Ok(Working { _own: own, _file: file })
    }

    /// The sealed bytes of a deposit, which gets a key when it has none.
    pub(crate) async fn sealed(&self, key: &str) -> Result<Sealed, DepositError> {
        let wrapped = match self.place.keys.deposit_key(key).await? {
            Some(wrapped) => wrapped,
            None => {
                let fresh = Key::generate()?.wrap(&self.wrapping, key.as_bytes())?;
                self.place.keys.put_deposit_key(key, &fresh).await?
            }
        };
        let own = Key::unwrap_from(&self.wrapping, key.as_bytes(), &wrapped).map_err(|_| DepositError::Sealed)?;
        Ok(Sealed::new(self.place.blobs.clone(), own, key))
    }

    /// An object, or a part of one, that is here.
    pub(crate) async fn object(
        &self,
        key: &str,
        object: &str,
        part: u64,
    ) -> Result<Option<StoredObject>, DepositError> {
        Ok(self.place.store.object(key, object, part).await?)
    }

    /// Refuses what would make the deposit or a file too large.
    ///
    /// # Errors
    /// [`DepositError::Limit`].
    pub(crate) async fn room(&self, key: &str, file_bytes: u64, more_bytes: u64) -> Result<(), DepositError> {
        let limits = &self.place.limits;
        if file_bytes > limits.file_bytes() {
            return Err(DepositError::Limit { what: "the limit of one file", most: limits.file_mb, unit: "MiB" });
        }
        let there = self.place.store.deposited_bytes(key).await?;
        if there.saturating_add(more_bytes) > limits.deposit_bytes() {
            return Err(DepositError::Limit { what: "the limit of a deposit", most: limits.deposit_mb, unit: "MiB" });
        }
        Ok(())
    }

    /// Records what was written, and removes what it replaces.
    pub(crate) async fn keep(
        &self,
        key: &str,
        object: &str,
        part: u64,
        (writer, mut written): (Writer, Written),
    ) -> Result<(), DepositError> {
        let tag = if part == 0 { written.git_oid.clone() } else { written.sha256.short(32) };
        let plan = written.plan.take();
        self.keep_as(key, object, (part, tag), (writer, written)).await?;
        match plan {
            Some(plan) if plan.bytes() > 0 => self.keep_plan(key, object, &plan).await,
            _ => Ok(()),
        }
    }

    /// Every object and part of a deposit.
    pub(crate) async fn stored(&self, key: &str) -> Result<Vec<StoredObject>, DepositError> {
        Ok(self.place.store.objects(Some(key)).await?)
    }

    /// Records what was written with a tag of its own, and removes what it replaces.
    pub(crate) async fn keep_as(
        &self,
        key: &str,
        object: &str,
        (part, tag): (u64, String),
        (writer, written): (Writer, Written),
    ) -> Result<(), DepositError> {
        let (deposit, object) = (key.to_owned(), object.to_owned());
        let stored =
            StoredObject { deposit, object, part, bytes: written.bytes, tag, at: self.now(), blobs: written.blobs };
        let sealed = writer.sealed().clone();
        let left = self.place.store.put_object(&stored).await?;
        writer.keep();
        self.remove_blobs(&left)?;
        self.still_there(&sealed, &stored).await
    }

    /// Takes back what was recorded of a deposit that was removed meanwhile. Whoever removes destroys the key before looking for records,
    /// and whoever records looks at the key afterwards, so that one of them finds it.
    async fn still_there(&self, sealed: &Sealed, stored: &StoredObject) -> Result<(), DepositError> {
        let is_there = match DepositName::parse_key(&stored.deposit) {
            Some(name) => self.draft(&name).await?.is_some(),
            None => false,
        };
        if is_there && self.own_key(&stored.deposit).await?.is_some_and(|own| sealed.is_under(&own)) {
            return Ok(());
        }
        let blobs = self.place.store.take_object_back(stored).await?;
        self.remove_blobs(&blobs)?;
        Err(DepositError::Missing)
    }

    fn remove_blobs(&self, blobs: &[Digest]) -> Result<(), DepositError> {
        for blob in blobs {
            self.place.blobs.remove(blob)?;
        }
        Ok(())
    }

    /// Makes one object of parts that are all here, once their bytes are those of its digest. Nothing is written anew: the object is
    /// made of the chunks of its parts.
    ///
    /// # Errors
    /// [`DepositError::Damaged`] when a part is missing, has another length, or the bytes are others.
    pub(crate) async fn complete(
        &self,
        key: &str,
        oid: &Digest,
        bytes: u64,
        part_bytes: u64,
    ) -> Result<(), DepositError> {
        let object = oid.to_string();
        if self.object(key, &object, 0).await?.is_some() {
            return Ok(());
        }
        let mut blobs = Vec::new();
        for number in 1..=bytes.div_ceil(part_bytes) {
            let expected = part_bytes.min(bytes - (number - 1) * part_bytes);
            let part = self.object(key, &object, number).await?.filter(|part| part.bytes == expected);
            blobs.extend(part.ok_or(DepositError::Damaged)?.blobs);
        }
        let stored =
            StoredObject { deposit: key.to_owned(), object, part: 0, bytes, tag: String::new(), at: self.now(), blobs };
        let sealed = self.sealed(key).await?;
        let file = sealed.file(&stored);
        let seen = tokio::task::spawn_blocking(move || checks::digests(&file)).await;
        let (sha256, git_oid, plan) = seen.map_err(|_| DepositError::Sealed)??;
        if sha256 != *oid {
            // They are of no use: the next try sends them anew.
            for number in 1..=bytes.div_ceil(part_bytes) {
                let left = self.place.store.remove_object(key, &stored.object, number).await?;
                self.remove_blobs(&left)?;
            }
            return Err(DepositError::Damaged);
        }
        let stored = StoredObject { tag: git_oid, ..stored };
        let left = self.place.store.put_object(&stored).await?;
        self.remove_blobs(&left)?;
        self.still_there(&sealed, &stored).await?;
        self.keep_plan(key, &stored.object, &plan).await
    }

    /// The bytes of a file of a draft.
    ///
    /// # Errors
    /// [`DepositError::Sealed`] when they are not here any more.
    pub async fn file(&self, name: &DepositName, file: &ReleasedFile) -> Result<SealedFile, DepositError> {
        let key = name.key();
        let stored = self.object(&key, &file.sha256.to_string(), 0).await?.ok_or(DepositError::Sealed)?;
        Ok(self.sealed(&key).await?.file(&stored))
    }

    /// Puts bytes that are in memory among the objects of a deposit.
    async fn put_bytes(&self, key: &str, content: Vec<u8>) -> Result<(Digest, String), DepositError> {
        let oid = Digest::of(&content);
        let object = oid.to_string();
        if let Some(there) = self.object(key, &object, 0).await? {
            return Ok((oid, there.tag));
        }
        let bytes = content.len() as u64;
        self.room(key, bytes, bytes).await?;
        let mut writer = self.sealed(key).await?.writer(&object, 0, bytes);
        let written = tokio::task::spawn_blocking(move || {
            writer.write(&content)?;
            writer.finish()
        });
        let both = written.await.map_err(|_| DepositError::Sealed)??;
        let git_oid = both.1.git_oid.clone();
        self.keep(key, &object, 0, both).await?;
        Ok((oid, git_oid))
    }

    // Writing.

    /// Begins a commit on the newest one of a branch.
    ///
    /// # Errors
    /// [`DepositError::Missing`], [`DepositError::Revision`] when there is no such branch, [`DepositError::Mending`].
    pub(crate) async fn commit(
        self: &Arc<Self>,
        name: &DepositName,
        revision: &str,
        by: &str,
        key: Option<Digest>,
    ) -> Result<Committing, DepositError> {
        let branch = branch_of(revision).unwrap_or(revision);
        let draft = self.existing(name).await?;
        draft.head_of(branch).ok_or(DepositError::Revision)?;
        Ok(Committing {
            working: self.working().await?,
            life: draft.life,
            deposits: Arc::clone(self),
            name: name.clone(),
            branch: branch.to_owned(),
            by: by.to_owned(),
            key,
            title: String::new(),
            message: String::new(),
            parent: None,
            steps: Vec::new(),
        })
    }

    /// Makes a branch at a revision.
    ///
    /// # Errors
    /// [`DepositError::BranchName`], [`DepositError::Revision`], [`DepositError::Exists`], [`DepositError::Limit`].
    pub async fn branch(&self, name: &DepositName, branch: &str, revision: &str, by: &str) -> Result<(), DepositError> {
        let draft = self.existing(name).await?;
        if draft.head_of(branch).is_some() {
            return Err(DepositError::Exists);
        }
        if !is_branch(branch) {
            return Err(DepositError::BranchName);
        }
        let at = draft.revision(revision).ok_or(DepositError::Revision)?;
        let commit = acequia_hub::wire::Snapshot::commit(&at).to_owned();
        let event = Event::Branched { branch: branch.to_owned(), commit, by: by.to_owned() };
        self.append(name, Some(draft.life), &event, |draft| match draft.head_of(branch) {
            Some(_) => Err(DepositError::Exists),
            None if draft.branches().len() >= MOST_BRANCHES => {
                let most = MOST_BRANCHES as u64;
                Err(DepositError::Limit { what: "the limit of a deposit", most, unit: "branches" })
            }
            None => Ok(()),
        })
        .await
    }

    /// Gives a branch up. Its commits stay, under their ids.
    ///
    /// # Errors
    /// [`DepositError::Grows`] for `main`, [`DepositError::Revision`] when there is no such branch.
    pub async fn give_up(&self, name: &DepositName, branch: &str, by: &str) -> Result<(), DepositError> {
        if branch == MAIN {
            return Err(DepositError::Grows { what: "main stays" });
        }
        let event = Event::Unbranched { branch: branch.to_owned(), by: by.to_owned() };
        self.append(name, None, &event, |draft| draft.head_of(branch).map(drop).ok_or(DepositError::Revision)).await
    }

    /// Hands a commit in under a tag, once it is fit for it. Findings come back when it is not, and nothing is recorded. Who asks
    /// again with the same key hears that it was handed in.
    ///
    /// # Errors
    /// [`DepositError::Tag`], [`DepositError::Revision`], [`DepositError::Grows`] when the tag stands for another commit.
    pub async fn hand_in(
        &self,
        name: &DepositName,
        revision: &str,
        tag: &str,
        message: &str,
        (by, key): (&str, Option<Digest>),
    ) -> Result<Result<(), Vec<Finding>>, DepositError> {
        if !is_version(tag) {
            return Err(DepositError::Tag);
        }
        let draft = self.existing(name).await?;
        let snapshot = draft.revision(revision).ok_or(DepositError::Revision)?;
        let commit = acequia_hub::wire::Snapshot::commit(&snapshot).to_owned();
        if !draft.is_on_main(&commit) {
            return Err(DepositError::Aside);
        }
        let once = Once::asked(key, &["hand in", tag, &commit, message]);
        if draft.answered(once.as_ref())?.is_some() {
            return Ok(Ok(()));
        }
        if draft.is_spent(tag) {
            return Err(DepositError::Grows { what: "a tag stays with the deposit that was removed" });
        }
        if let Some(there) = draft.tag(tag) {
            let what = "a tag stays where it is";
            return if there.commit == commit { Err(DepositError::Exists) } else { Err(DepositError::Grows { what }) };
        }
        let findings = self.check(name, &snapshot).await?;
        if !findings.is_empty() {
            return Ok(Err(findings));
        }
        let message = message.chars().take(10_000).collect();
        let (tag, by) = (tag.to_owned(), by.to_owned());
        let event = Event::Tagged { tag: tag.clone(), commit, message, by, once };
        self.append(name, Some(draft.life), &event, |draft| match draft.tag(&tag) {
            Some(_) => Err(DepositError::Exists),
            None => Ok(()),
        })
        .await?;
        Ok(Ok(()))
    }

    /// What keeps a commit from being handed in.
    ///
    /// # Errors
    /// [`DepositError::Sealed`]; errors of records and blobs.
    pub async fn check(&self, name: &DepositName, snapshot: &Snapshot) -> Result<Vec<Finding>, DepositError> {
        use acequia_hub::wire::Snapshot as _;
        // One at a time: each may read a whole deposit.
        let mut checked = self.checked.lock().await;
        let commit = snapshot.commit().to_owned();
        if let Some(findings) = checked.get(&commit) {
            return Ok(findings.clone());
        }
        let mut files = BTreeMap::new();
        for (path, file) in snapshot.files() {
            files.insert(path.clone(), Arc::new(self.file(name, file).await?));
        }
        let artefact = name.artefact;
        let found = tokio::task::spawn_blocking(move || checks::all(artefact, &files));
        let mut findings = found.await.map_err(|_| DepositError::Sealed)??;
        findings.truncate(MOST_FINDINGS);
        if checked.len() >= MOST_CHECKED {
            checked.clear();
        }
        checked.insert(commit, findings.clone());
        Ok(findings)
    }

    /// What the model files of a commit say of themselves, by their paths. Of those that nothing is wrong with.
    ///
    /// # Errors
    /// [`DepositError::Sealed`]; errors of records and blobs.
    pub async fn summaries(
        &self,
        name: &DepositName,
        snapshot: &Snapshot,
    ) -> Result<BTreeMap<String, ModelSummary>, DepositError> {
        use acequia_hub::wire::Snapshot as _;
        let mut files = BTreeMap::new();
        let models = |path: &str| [".safetensors", ".onnx"].iter().any(|end| path.to_ascii_lowercase().ends_with(end));
        for (path, file) in snapshot.files().iter().filter(|(path, _)| models(path)) {
            files.insert(path.clone(), Arc::new(self.file(name, file).await?));
        }
        let told = tokio::task::spawn_blocking(move || checks::summaries(&files));
        told.await.map_err(|_| DepositError::Sealed)?
    }

    /// The trustee took or refused what was handed in under a tag.
    ///
    /// # Errors
    /// [`DepositError::Missing`], [`DepositError::Revision`] when there is no such tag.
    pub async fn decide(&self, name: &DepositName, tag: &str, outcome: Outcome, by: &str) -> Result<(), DepositError> {
        let event = Event::Decided { tag: tag.to_owned(), outcome, by: by.to_owned() };
        self.append(name, None, &event, |draft| draft.tag(tag).map(drop).ok_or(DepositError::Revision)).await
    }

    /// Removes a deposit: its name is free again, and its bytes go for good. That it was there, what its files were called, and what was handed in and decided
    /// stay in the journal. What the trustee took out before stays where it is. Returns how much went.
    ///
    /// # Errors
    /// [`DepositError::Missing`]; [`DepositError::Mending`]; errors of records and blobs, after which it is removed and what is left goes with
    /// the next sweep.
    pub async fn remove(&self, name: &DepositName, by: &str) -> Result<Swept, DepositError> {
        let _working = self.working().await?;
        let _removing = self.removing().await?;
        self.append(name, None, &Event::Removed { by: by.to_owned() }, |_| Ok(())).await?;
        (self.reached)(REMOVAL_POINTS[0]);
        self.clear(&name.key()).await
    }

    /// Keeps others, of any process, from removing, and from beginning anew under a name that was removed.
    async fn removing(&self) -> Result<Option<File>, DepositError> {
        let Some(path) = self.place.lock.as_ref().map(|path| path.with_extension("removing")) else { return Ok(None) };
        let file = File::options().create(true).append(true).open(path).map_err(|_| DepositError::Mending)?;
        let until = tokio::time::Instant::now() + REMOVED_WITHIN;
        while file.try_lock().is_err() {
            if tokio::time::Instant::now() > until {
                return Err(DepositError::Mending);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(Some(file))
    }

    /// Removes everything that lies here of a deposit that was removed.
    async fn clear(&self, key: &str) -> Result<Swept, DepositError> {
        let mut gone = Swept::default();
        // The key first: without it nothing can be opened, whatever comes between.
        self.place.keys.remove_deposit_key(key).await?;
        (self.reached)(REMOVAL_POINTS[1]);
        for object in self.place.store.objects(Some(key)).await? {
            let blobs = self.place.store.remove_object(key, &object.object, object.part).await?;
            (self.reached)(REMOVAL_POINTS[2]);
            self.remove_blobs(&blobs)?;
            if object_of(&object.object) == object.object {
                gone.objects += 1;
                gone.bytes = gone.bytes.saturating_add(object.bytes);
            }
        }
        self.plans.forget(key);
        self.xorbs.forget(key);
        Ok(gone)
    }

    /// Whether something lies here of a deposit that was removed.
    async fn is_cut_short(&self, key: &str) -> Result<bool, DepositError> {
        Ok(self.place.keys.deposit_key(key).await?.is_some() || !self.place.store.objects(Some(key)).await?.is_empty())
    }

    /// Adds an event to a deposit as soon as nobody else is first, asking each time whether it still may be added. With a `life`, only to the
    /// deposit that began there, and to no other that has its name since.
    async fn append(
        &self,
        name: &DepositName,
        life: Option<u64>,
        event: &Event,
        may: impl Fn(&Draft) -> Result<(), DepositError>,
    ) -> Result<(), DepositError> {
        let (stream, event) = (stream(&name.key()), json_of(event)?);
        loop {
            let draft = self.existing(name).await?;
            if life.is_some_and(|life| draft.life != life) {
                return Err(DepositError::Missing);
            }
            may(&draft)?;
            if self.place.store.append_after(&stream, draft.last, self.now(), &event).await?.is_some() {
                return Ok(());
            }
        }
    }

    /// Removes what arrived long ago and what no commit took: whole objects, parts, and what they were cut from. Counted in the journal
    /// of the deposit.
    ///
    /// # Errors
    /// Errors of records and blobs.
    pub async fn sweep(&self) -> Result<Swept, DepositError> {
        let _alone = self.writing.write().await;
        let days = i64::try_from(self.place.limits.keep_days).unwrap_or(i64::MAX / 86_400);
        let before = Timestamp::from_unix_s(self.now().unix_s().saturating_sub(days.saturating_mul(86_400)));
        let mut all = Swept::default();
        for name in self.names().await? {
            let key = name.key();
            let Some(draft) = self.draft(&name).await? else {
                // What a removal that was cut short left.
                let _removing = self.removing().await?;
                if self.draft(&name).await?.is_none() && self.is_cut_short(&key).await? {
                    let gone = self.clear(&key).await?;
                    all.objects += gone.objects;
                    all.bytes = all.bytes.saturating_add(gone.bytes);
                }
                continue;
            };
            let old: Vec<StoredObject> =
                self.place.store.objects(Some(&key)).await?.into_iter().filter(|object| object.at < before).collect();
            if old.is_empty() {
                continue;
            }
            let kept: BTreeSet<String> = draft.contents().map(|own| own.to_string()).collect();
            let mut swept = Swept::default();
            for object in old.into_iter().filter(|object| object.part > 0 || !kept.contains(object_of(&object.object)))
            {
                // The record first: a record never stands without its bytes.
                let blobs = self.place.store.remove_object(&key, &object.object, object.part).await?;
                self.remove_blobs(&blobs)?;
                // What was worked out from an object goes with it.
                if object_of(&object.object) == object.object {
                    swept.objects += 1;
                    swept.bytes = swept.bytes.saturating_add(object.bytes);
                }
            }
            if swept != Swept::default() {
                let event = Event::Swept { objects: swept.objects, bytes: swept.bytes };
                self.append(&name, None, &event, |_| Ok(())).await?;
                all.objects += swept.objects;
                all.bytes = all.bytes.saturating_add(swept.bytes);
            }
        }
        Ok(all)
    }
}

/// Whether a tag is `vX.Y.Z` with numbers.
fn is_version(tag: &str) -> bool {
    let number = |part: &str| {
        (1..=9).contains(&part.len())
            && part.bytes().all(|byte| byte.is_ascii_digit())
            && (part == "0" || !part.starts_with('0'))
    };
    tag.strip_prefix('v').is_some_and(|rest| rest.split('.').count() == 3 && rest.split('.').all(number))
}

/// A step of a commit.
enum Step {
    Put(ReleasedFile),
    Delete { path: String, line: usize },
    DeleteFolder(String),
}

impl Step {
    /// Tells steps apart.
    fn in_words(&self) -> String {
        match self {
            Self::Put(file) => format!("put {} {}", file.path, file.sha256),
            Self::Delete { path, .. } => format!("delete {path}"),
            Self::DeleteFolder(path) => format!("delete folder {path}"),
        }
    }
}

/// A commit that is being taken in.
pub(crate) struct Committing {
    /// Nothing that it names is swept meanwhile.
    working: Working,
    /// That of the deposit which it was begun on.
    life: u64,
    deposits: Arc<Deposits>,
    name: DepositName,
    branch: String,
    by: String,
    /// What it is known by if the client asks again.
    key: Option<Digest>,
    title: String,
    message: String,
    parent: Option<String>,
    steps: Vec<Step>,
}

impl Committing {
    /// Takes a line. Bytes in it are sealed at once.
    ///
    /// # Errors
    /// [`DepositError::Stale`], [`DepositError::NotUploaded`], [`DepositError::Limit`], [`DepositError::Line`].
    pub(crate) async fn line(&mut self, number: usize, line: CommitLine) -> Result<(), DepositError> {
        let key = self.name.key();
        let most = self.deposits.place.limits.commit_files;
        if self.steps.len() as u64 >= most {
            return Err(DepositError::Limit { what: "the limit of one commit", most, unit: "files" });
        }
        match line {
            CommitLine::Header { title, message, parent } => {
                (self.title, self.message, self.parent) = (title, message, parent);
                let draft = self.deposits.existing(&self.name).await?;
                // Who asks again cannot have been first: whether it is the same is seen at the end.
                if !self.key.is_some_and(|key| draft.knows(&key)) {
                    self.fresh(&draft)?;
                }
            }
            CommitLine::File { path, content } => {
                let bytes = content.len() as u64;
                if is_large(&path, bytes) {
                    return Err(DepositError::Line {
                        line: number,
                        what: "holds a file that must be uploaded by itself",
                    });
                }
                let (sha256, git_oid) = self.deposits.put_bytes(&key, content).await?;
                self.steps.push(Step::Put(ReleasedFile { path, bytes, sha256, git_oid }));
            }
            CommitLine::Large { path, oid, bytes } => {
                let there = self.deposits.object(&key, &oid.to_string(), 0).await?;
                let there = there.filter(|there| bytes.is_none_or(|bytes| bytes == there.bytes));
                let there = there.ok_or(DepositError::NotUploaded { line: number })?;
                let (bytes, git_oid) = (there.bytes, there.tag);
                self.steps.push(Step::Put(ReleasedFile { path, bytes, sha256: oid, git_oid }));
            }
            CommitLine::Delete { path } => self.steps.push(Step::Delete { path, line: number }),
            CommitLine::DeleteFolder { path } => self.steps.push(Step::DeleteFolder(path)),
        }
        Ok(())
    }

    fn fresh(&self, draft: &Draft) -> Result<(), DepositError> {
        match &self.parent {
            Some(parent) if Some(parent.as_str()) != draft.head_of(&self.branch) => Err(DepositError::Stale),
            _ => Ok(()),
        }
    }

    /// Records the commit and returns its id. One that changes nothing is the newest one.
    ///
    /// # Errors
    /// [`DepositError::Stale`] when it was made from another commit than the newest; [`DepositError::Line`].
    pub(crate) async fn finish(self) -> Result<String, DepositError> {
        let key = self.name.key();
        let steps: Vec<String> = self.steps.iter().map(Step::in_words).collect();
        let branch = Some(self.branch.clone()).filter(|branch| branch != MAIN);
        let mut words = vec![self.title.as_str(), &self.message, self.parent.as_deref().unwrap_or_default()];
        words.extend(steps.iter().map(String::as_str));
        words.extend(branch.as_deref());
        let once = Once::asked(self.key, &words);
        loop {
            let draft = self.deposits.existing(&self.name).await?;
            if draft.life != self.life {
                // It was removed meanwhile, and so were the bytes that arrived.
                return Err(DepositError::Missing);
            }
            if let Some(commit) = draft.answered(once.as_ref())? {
                return Ok(commit.to_owned());
            }
            self.fresh(&draft)?;
            // A branch may be given up meanwhile.
            let head = draft.head_of(&self.branch).ok_or(DepositError::Revision)?;
            let at = draft.revision(head).ok_or(DepositError::Revision)?;
            let files = self.applied(crate::files(&at))?;
            let (old, new) = (crate::files(&at), &files);
            let put: Vec<ReleasedFile> =
                new.values().filter(|file| old.get(&file.path) != Some(*file)).cloned().collect();
            let gone: Vec<String> = old.keys().filter(|path| !new.contains_key(*path)).cloned().collect();
            if put.is_empty() && gone.is_empty() {
                return Ok(head.to_owned());
            }
            let parent = head.to_owned();
            let commit = commit_id(&self.name, &parent, new, &self.title, &self.message);
            let (title, message, by) = (self.title.clone(), self.message.clone(), self.by.clone());
            let (once, branch) = (once.clone(), branch.clone());
            let committed = Committed { commit: commit.clone(), parent, title, message, by, put, gone, branch, once };
            let event = json_of(&Event::Committed(committed))?;
            let now = self.deposits.now();
            let added = self.deposits.place.store.append_after(&stream(&key), draft.last, now, &event).await?;
            if added.is_some() {
                drop(self.working);
                return Ok(commit);
            }
        }
    }

    fn applied(&self, head: &BTreeMap<String, ReleasedFile>) -> Result<BTreeMap<String, ReleasedFile>, DepositError> {
        let mut files = head.clone();
        for step in &self.steps {
            match step {
                Step::Put(file) => drop(files.insert(file.path.clone(), file.clone())),
                Step::Delete { path, line } => {
                    if files.remove(path).is_none() {
                        return Err(DepositError::Line { line: *line, what: "deletes a file that is not there" });
                    }
                }
                Step::DeleteFolder(folder) => {
                    let inside = |path: &String| path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
                    files.retain(|path, _| !inside(path));
                }
            }
        }
        // What would be a file and a folder at once cannot be downloaded.
        for (line, step) in (2..).zip(&self.steps) {
            let Step::Put(file) = step else { continue };
            let is_folder = |path: &str| {
                let prefix = format!("{path}/");
                files.range(prefix.clone()..).next().is_some_and(|(other, _)| other.starts_with(&prefix))
            };
            let in_file = file.path.match_indices('/').any(|(at, _)| files.contains_key(&file.path[..at]));
            if files.contains_key(&file.path) && (in_file || is_folder(&file.path)) {
                return Err(DepositError::Line {
                    line,
                    what: "makes a file where a folder is, or a folder where a file is",
                });
            }
        }
        Ok(files)
    }
}
