//! A draft: what the history of a deposit amounts to. It is folded from entries of a journal, which are only ever added.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use acequia_gate::{Artefact, ReleasedFile};
use acequia_hub::wire;
use acequia_store::{Entry, StoreError};
use acequia_types::{Digest, Timestamp, digest_named};
use serde::{Deserialize, Serialize};

use crate::deposits::Swept;
use crate::limits::is_large;
use crate::{DepositError, DepositName};

/// What happened to a deposit.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub(crate) enum Event {
    /// It was begun, without files.
    Begun {
        by: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        once: Option<Once>,
    },
    Committed(Committed),
    /// A branch was made at a commit.
    Branched {
        branch: String,
        commit: String,
        by: String,
    },
    /// A branch was given up. Its commits stay, under their ids.
    Unbranched {
        branch: String,
        by: String,
    },
    /// A commit was handed in.
    Tagged {
        tag: String,
        commit: String,
        message: String,
        by: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        once: Option<Once>,
    },
    /// The trustee took or refused what was handed in.
    Decided {
        tag: String,
        outcome: Outcome,
        by: String,
    },
    /// Bytes went that no commit took.
    Swept {
        objects: u64,
        bytes: u64,
    },
    /// Its holder or the trustee removed it. What follows is another deposit of this name.
    Removed {
        by: String,
    },
}

/// What a client that asks again is known by: it gets the first answer, and nothing happens twice (the header `Idempotency-Key`,
/// draft-ietf-httpapi-idempotency-key-header).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Once {
    /// Digest of the token's short name and the key.
    pub key: Digest,
    /// Digest of what was asked for.
    pub request: Digest,
}

impl Once {
    /// What a client with this token means by a key.
    pub(crate) fn key(token: &str, key: &str) -> Digest {
        let parts: [(&str, &[u8]); 2] = [("token", token.as_bytes()), ("key", key.as_bytes())];
        digest_named("acequia deposit idempotency v1", parts)
    }

    /// A request that carried the key: what was asked, as texts.
    pub(crate) fn asked(key: Option<Digest>, what: &[&str]) -> Option<Self> {
        let parts = what.iter().map(|text| ("text", text.as_bytes()));
        key.map(|key| Self { key, request: digest_named("acequia deposit request v1", parts) })
    }
}

/// One commit: what it changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Committed {
    /// 40 hex digits; of the content, the message and the commits before, so that the same history has the same ones anywhere.
    pub commit: String,
    /// The commit before.
    pub parent: String,
    /// One line.
    pub title: String,
    /// The rest of the message.
    pub message: String,
    /// Short name of the token.
    pub by: String,
    /// Files that are new or have new content.
    pub put: Vec<ReleasedFile>,
    /// Paths that are not there any more.
    pub gone: Vec<String>,
    /// The branch, unless it is `main`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// What the client that asks again is known by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub once: Option<Once>,
}

/// What the trustee did with what was handed in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "did", rename_all = "kebab-case")]
pub enum Outcome {
    /// It was taken out, to go through the course.
    Taken,
    /// It was refused.
    Refused {
        /// Why, for the author.
        reason: String,
    },
}

/// What the trustee did, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Decision {
    /// When.
    pub at: Timestamp,
    /// What.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// A commit that was handed in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tag {
    /// `vX.Y.Z`.
    pub tag: String,
    /// The commit.
    pub commit: String,
    /// What the author says.
    pub message: String,
    /// When.
    pub at: Timestamp,
    /// Short name of the token.
    pub by: String,
    /// What the trustee did last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
}

/// A commit and when it was made.
type Made = Arc<(Timestamp, Committed)>;

/// A deposit with all that happened to it.
#[derive(Debug, Clone)]
pub struct Draft {
    name: DepositName,
    begun_at: Timestamp,
    by: String,
    /// Those of `main`, oldest first.
    commits: Vec<Made>,
    /// Those that were made on branches, by their ids.
    aside: BTreeMap<String, Made>,
    /// Branches other than `main`, and their newest commits.
    branches: BTreeMap<String, String>,
    tags: Vec<Tag>,
    head: Arc<BTreeMap<String, ReleasedFile>>,
    swept: Swept,
    /// What was asked for with each key, and the answer: a commit, a tag, or nothing.
    once: BTreeMap<Digest, (Digest, String)>,
    /// Tags of deposits that had this name before and were removed.
    spent: BTreeSet<String>,
    /// Number of the entry that it began with.
    pub(crate) life: u64,
    /// Number of the last entry that is folded in.
    pub(crate) last: u64,
}

/// Id of a commit.
pub(crate) fn commit_id(
    name: &DepositName,
    parent: &str,
    files: &BTreeMap<String, ReleasedFile>,
    title: &str,
    message: &str,
) -> String {
    let tree: String = files.iter().map(|(path, file)| format!("{path}\0{} {}\n", file.sha256, file.bytes)).collect();
    let name = name.to_string();
    let parts: [(&str, &[u8]); 5] = [
        ("deposit", name.as_bytes()),
        ("parent", parent.as_bytes()),
        ("files", tree.as_bytes()),
        ("title", title.as_bytes()),
        ("message", message.as_bytes()),
    ];
    digest_named("acequia deposit commit v1", parts).short(40)
}

impl Draft {
    /// Nothing yet: the first entry begins it.
    pub(crate) fn nothing(name: DepositName) -> Self {
        Self {
            name,
            begun_at: Timestamp::from_unix_s(0),
            by: String::new(),
            commits: Vec::new(),
            aside: BTreeMap::new(),
            branches: BTreeMap::new(),
            tags: Vec::new(),
            head: Arc::default(),
            swept: Swept::default(),
            once: BTreeMap::new(),
            spent: BTreeSet::new(),
            life: 0,
            last: 0,
        }
    }

    /// Folds the next entry in.
    ///
    /// # Errors
    /// [`StoreError::Record`] for an entry that cannot be one of a deposit.
    pub(crate) fn apply(&mut self, entry: &Entry) -> Result<(), StoreError> {
        let unfit = || StoreError::Record { kind: "deposit" };
        match Event::deserialize(&entry.entry).map_err(|_| unfit())? {
            Event::Begun { by, once } if self.commits.is_empty() => {
                self.remember(once, "");
                let title = "Begin";
                let commit = commit_id(&self.name, "", &self.head, title, "");
                (self.begun_at, self.by) = (entry.at, by.clone());
                let (title, message) = (title.to_owned(), String::new());
                let parent = String::new();
                let (put, gone) = (vec![], vec![]);
                let begun = Committed { commit, parent, title, message, by, put, gone, branch: None, once: None };
                self.commits.push(Arc::new((entry.at, begun)));
                self.life = entry.number;
            }
            Event::Removed { .. } if !self.is_removed() => {
                let mut spent = std::mem::take(&mut self.spent);
                spent.extend(self.tags.drain(..).map(|tag| tag.tag));
                *self = Self { spent, ..Self::nothing(self.name.clone()) };
            }
            Event::Committed(committed) if committed.branch.is_some() => {
                let branch = committed.branch.clone().unwrap_or_default();
                let head = self.branches.get_mut(&branch).filter(|head| **head == committed.parent);
                head.ok_or_else(unfit)?.clone_from(&committed.commit);
                self.remember(committed.once.clone(), &committed.commit);
                self.aside.insert(committed.commit.clone(), Arc::new((entry.at, committed)));
            }
            Event::Branched { branch, commit, .. } if is_branch(&branch) && !self.branches.contains_key(&branch) => {
                self.chain(&commit).ok_or_else(unfit)?;
                self.branches.insert(branch, commit);
            }
            Event::Unbranched { branch, .. } => {
                self.branches.remove(&branch).ok_or_else(unfit)?;
            }
            Event::Committed(committed) if committed.parent == self.head_commit() => {
                let head = Arc::make_mut(&mut self.head);
                for path in &committed.gone {
                    head.remove(path);
                }
                head.extend(committed.put.iter().map(|file| (file.path.clone(), file.clone())));
                self.remember(committed.once.clone(), &committed.commit);
                self.commits.push(Arc::new((entry.at, committed)));
            }
            Event::Tagged { tag, commit, message, by, once } if self.tag(&tag).is_none() => {
                self.remember(once, &tag);
                self.tags.push(Tag { tag, commit, message, at: entry.at, by, decision: None });
            }
            Event::Decided { tag, outcome, .. } => {
                let tag = self.tags.iter_mut().find(|own| own.tag == tag).ok_or_else(unfit)?;
                tag.decision = Some(Decision { at: entry.at, outcome });
            }
            Event::Swept { objects, bytes } => {
                self.swept.objects = self.swept.objects.saturating_add(objects);
                self.swept.bytes = self.swept.bytes.saturating_add(bytes);
            }
            _ => return Err(unfit()),
        }
        self.last = entry.number;
        Ok(())
    }

    fn remember(&mut self, once: Option<Once>, answer: &str) {
        if let Some(once) = once {
            self.once.insert(once.key, (once.request, answer.to_owned()));
        }
    }

    /// Whether something was asked for with this key.
    pub(crate) fn knows(&self, key: &Digest) -> bool {
        self.once.contains_key(key)
    }

    /// What was answered when the same was asked for with the same key.
    ///
    /// # Errors
    /// [`DepositError::OtherRequest`] when something else was.
    pub(crate) fn answered(&self, once: Option<&Once>) -> Result<Option<&str>, DepositError> {
        match once.and_then(|once| Some((once, self.once.get(&once.key)?))) {
            None => Ok(None),
            Some((once, (request, answer))) if *request == once.request => Ok(Some(answer)),
            Some(_) => Err(DepositError::OtherRequest),
        }
    }

    /// Whether there is none of this name any more, or not yet.
    pub(crate) fn is_removed(&self) -> bool {
        self.commits.is_empty()
    }

    /// Whether something else was handed in under this tag before a deposit of this name was removed.
    pub(crate) fn is_spent(&self, tag: &str) -> bool {
        self.spent.contains(tag)
    }

    /// What it is called.
    pub fn name(&self) -> &DepositName {
        &self.name
    }

    /// When it was begun.
    pub fn begun_at(&self) -> Timestamp {
        self.begun_at
    }

    /// The id of the newest commit of `main`.
    pub fn head_commit(&self) -> &str {
        self.commits.last().map_or("", |last| &last.1.commit)
    }

    /// Branches other than `main`, with the ids of their newest commits.
    pub fn branches(&self) -> &BTreeMap<String, String> {
        &self.branches
    }

    /// The id of the newest commit of a branch, which may be `main`.
    pub fn head_of(&self, branch: &str) -> Option<&str> {
        if branch == MAIN { Some(self.head_commit()) } else { self.branches.get(branch).map(String::as_str) }
    }

    /// Whether a commit is one of `main`.
    pub(crate) fn is_on_main(&self, commit: &str) -> bool {
        self.commits.iter().any(|both| both.1.commit == commit)
    }

    /// The files of the newest commit of `main`.
    pub fn head(&self) -> &Arc<BTreeMap<String, ReleasedFile>> {
        &self.head
    }

    /// Every commit of `main` with its time, oldest first.
    pub fn commits(&self) -> impl DoubleEndedIterator<Item = (Timestamp, &Committed)> {
        self.commits.iter().map(|both| (both.0, &both.1))
    }

    /// What was handed in, oldest first.
    pub fn tags(&self) -> &[Tag] {
        &self.tags
    }

    /// What was handed in under this tag.
    pub fn tag(&self, tag: &str) -> Option<&Tag> {
        self.tags.iter().find(|own| own.tag == tag)
    }

    /// What arrived, what no commit took, and what went.
    pub fn swept(&self) -> Swept {
        self.swept
    }

    /// Every content that a commit has or had.
    pub(crate) fn contents(&self) -> impl Iterator<Item = Digest> {
        let all = self.commits.iter().chain(self.aside.values());
        all.flat_map(|both| both.1.put.iter().map(|file| file.sha256))
    }

    /// A commit and those before it, oldest first.
    fn chain(&self, commit: &str) -> Option<Vec<Made>> {
        let (mut wanted, mut aside) = (commit, Vec::new());
        loop {
            if let Some(at) = self.commits.iter().position(|both| both.1.commit == wanted) {
                let mut chain = self.commits[..=at].to_vec();
                chain.extend(aside.into_iter().rev());
                return Some(chain);
            }
            let own = self.aside.get(wanted)?;
            aside.push(Arc::clone(own));
            wanted = &own.1.parent;
        }
    }

    /// What a revision means: `main` or `HEAD` (the newest of `main`), a tag, another branch, or a whole commit id.
    pub fn revision(self: &Arc<Self>, revision: &str) -> Option<Snapshot> {
        let commit = match (branch_of(revision), revision.strip_prefix("refs/tags/")) {
            (Some(branch), _) => self.head_of(branch)?,
            (None, Some(tag)) => &self.tag(tag)?.commit,
            (None, None) => match self.tag(revision) {
                Some(tag) => &tag.commit,
                None => self.head_of(revision).unwrap_or(revision),
            },
        };
        let chain = self.chain(commit)?;
        let files = if commit == self.head_commit() {
            Arc::clone(&self.head)
        } else {
            let mut files = BTreeMap::new();
            for both in &chain {
                for path in &both.1.gone {
                    files.remove(path);
                }
                files.extend(both.1.put.iter().map(|file| (file.path.clone(), file.clone())));
            }
            Arc::new(files)
        };
        Some(Snapshot { draft: Arc::clone(self), chain, files })
    }
}

/// The branch that is there from the beginning, and that is handed in.
pub(crate) const MAIN: &str = "main";
/// Characters of a branch's name.
const LONGEST_BRANCH: usize = 100;

/// The branch that a revision names as one, or `main` by its other names.
pub(crate) fn branch_of(revision: &str) -> Option<&str> {
    if matches!(revision, MAIN | "HEAD") { Some(MAIN) } else { revision.strip_prefix("refs/heads/") }
}

/// Whether a branch can be called so: what cannot be taken for a tag, a commit or something of git's own.
pub(crate) fn is_branch(name: &str) -> bool {
    let plain = |part: &str| {
        !part.is_empty()
            && !part.starts_with(['.', '-'])
            && !part.ends_with(['.', '-'])
            && !part.contains("..")
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    let like_tag = name.strip_prefix('v').unwrap_or(name).starts_with(|c: char| c.is_ascii_digit());
    let like_commit = name.len() == 40 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    let own = name.split('/').next().is_some_and(|first| matches!(first, MAIN | "HEAD" | "refs" | "None"));
    name.len() <= LONGEST_BRANCH && name.split('/').all(plain) && !(like_tag || like_commit || own)
}

/// The files of a draft at one commit.
pub fn files(at: &Snapshot) -> &BTreeMap<String, ReleasedFile> {
    &at.files
}

/// A draft at one commit.
#[derive(Debug, Clone)]
pub struct Snapshot {
    draft: Arc<Draft>,
    /// The commit and those before it, oldest first.
    chain: Vec<Made>,
    files: Arc<BTreeMap<String, ReleasedFile>>,
}

impl Snapshot {
    /// The draft.
    pub fn draft(&self) -> &Arc<Draft> {
        &self.draft
    }

    /// The commit. No chain is without one.
    fn last(&self) -> &(Timestamp, Committed) {
        &self.chain[self.chain.len() - 1]
    }

    /// When the commit was made.
    pub fn made_at(&self) -> Timestamp {
        self.last().0
    }

    /// It and those before, newest first.
    pub fn until(&self) -> impl Iterator<Item = (Timestamp, &Committed)> {
        self.chain.iter().rev().map(|both| (both.0, &both.1))
    }
}

impl wire::Snapshot for Snapshot {
    fn artefact(&self) -> Artefact {
        self.draft.name.artefact
    }

    fn name(&self) -> String {
        self.draft.name.name.to_string()
    }

    fn commit(&self) -> &str {
        &self.last().1.commit
    }

    fn files(&self) -> &BTreeMap<String, ReleasedFile> {
        &self.files
    }

    fn is_large(&self, file: &ReleasedFile) -> bool {
        is_large(&file.path, file.bytes)
    }

    fn last_change(&self, path: &str, is_folder: bool) -> wire::Change {
        let inside = |other: &str| match is_folder {
            true => other.strip_prefix(path).is_some_and(|rest| rest.starts_with('/')),
            false => other == path,
        };
        let touches = |commit: &Committed| {
            commit.put.iter().any(|file| inside(&file.path)) || commit.gone.iter().any(|other| inside(other))
        };
        let first = self.draft.commits[0].as_ref();
        let (at, commit) = self.until().find(|(_, commit)| touches(commit)).unwrap_or((first.0, &first.1));
        wire::Change { commit: commit.commit.clone(), title: commit.title.clone(), at }
    }
}
