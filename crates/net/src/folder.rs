//! What a member keeps on disk: its key, the roster that it joined, its queue, and where its runs stand.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use acequia_learn::RefusalEntry;
use serde::{Deserialize, Serialize};

use crate::error::NetError;
use crate::identity::{Identity, MemberKey};
use crate::queue::{Queue, document, json, write_whole};
use crate::refusals::refused_in;
use crate::roster::Roster;

const WHAT: &str = "the network folder of this node";

/// The network folder of a node.
#[derive(Debug, Clone)]
pub struct MemberFolder(PathBuf);

/// Who is trusted to sign the roster.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Trusted {
    signer: MemberKey,
}

impl MemberFolder {
    /// That of the node in this folder.
    pub fn of_node(home: &Path) -> Self {
        Self(home.join("network"))
    }

    /// The node's key; made when there is none.
    ///
    /// # Errors
    /// [`NetError::File`].
    pub fn identity(&self) -> Result<Identity, NetError> {
        Identity::open_or_create(&self.0.join("network.key"))
    }

    /// Joins the network of a signed roster (JSON), or takes in its newer version. `signer` is needed the first time: whoever
    /// joins got the key by another way than the roster.
    ///
    /// # Errors
    /// [`NetError::Roster`], [`NetError::Untrusted`], [`NetError::NotAMember`] when this node is not in it; [`NetError::File`].
    pub fn join(&self, text: &str, signer: Option<MemberKey>) -> Result<Roster, NetError> {
        let path = self.0.join("trusted.json");
        let known: Option<Trusted> = document(&path, WHAT)?;
        let signer = signer.or(known.map(|known| known.signer));
        let signer = signer.ok_or(NetError::Untrusted { reason: "nobody said whose signature is trusted" })?;
        let roster = Roster::from_json(text, &signer)?;
        let key = self.identity()?.key();
        if roster.of_key(&key).is_none() {
            return Err(NetError::NotAMember { who: format!("the key {key}"), role: "a member" });
        }
        write_whole(&path, &json(&Trusted { signer }), WHAT)?;
        write_whole(&self.0.join("roster.json"), roster.to_json().as_bytes(), WHAT)?;
        Ok(roster)
    }

    /// The roster of the network that this node joined.
    ///
    /// # Errors
    /// [`NetError::Untrusted`] when it joined none, or somebody changed the file.
    pub fn roster(&self) -> Result<Arc<Roster>, NetError> {
        let none = NetError::Untrusted { reason: "this node joined no network; `acequia network join` does" };
        let Some(trusted) = document::<Trusted>(&self.0.join("trusted.json"), WHAT)? else { return Err(none) };
        match std::fs::read_to_string(self.0.join("roster.json")) {
            Ok(text) => Ok(Arc::new(Roster::from_json(&text, &trusted.signer)?)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(none),
            Err(error) => Err(crate::error::file(WHAT)(error)),
        }
    }

    /// Whether this node joined a network.
    pub fn has_joined(&self) -> bool {
        self.0.join("roster.json").exists()
    }

    /// Folder of the queue of runs.
    pub fn site(&self) -> PathBuf {
        self.0.join("site")
    }

    /// Keeps other processes from answering for this site, as long as what is returned lives: two would promise two things in one
    /// name.
    ///
    /// # Errors
    /// [`NetError::Served`]; [`NetError::File`].
    pub fn serve(&self) -> Result<File, NetError> {
        let file = self.serving()?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => Err(NetError::Served),
            Err(TryLockError::Error(error)) => Err(crate::error::file(WHAT)(error)),
        }
    }

    /// Whether a process answers for this site.
    ///
    /// # Errors
    /// [`NetError::File`].
    pub fn is_served(&self) -> Result<bool, NetError> {
        match self.serving()?.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(crate::error::file(WHAT)(error)),
        }
    }

    fn serving(&self) -> Result<File, NetError> {
        std::fs::create_dir_all(self.site()).map_err(crate::error::file(WHAT))?;
        let mut options = File::options();
        options.create(true).write(true).truncate(false);
        options.open(self.site().join("serving.lock")).map_err(crate::error::file(WHAT))
    }

    /// The queue of runs.
    pub fn queue(&self) -> Queue {
        Queue::new(self.site())
    }

    /// Folder of the runs that this node coordinates.
    pub fn runs(&self) -> PathBuf {
        self.0.join("runs")
    }

    /// Folder of what is fetched from neighbours, before it is whole, and of what was refused.
    pub fn catalogue(&self) -> PathBuf {
        self.0.join("catalogue")
    }

    /// Everything that this node refused, in each role (`site`, `aggregator`, `coordinator`), with the chains checked.
    ///
    /// # Errors
    /// [`NetError::Learn`] when a chain is broken; [`NetError::File`].
    pub fn refused(&self) -> Result<Vec<(&'static str, Vec<RefusalEntry>)>, NetError> {
        let roles = [("site", self.site()), ("aggregator", self.aggregator()), ("coordinator", self.runs())];
        roles.into_iter().map(|(role, folder)| Ok((role, refused_in(&folder)?))).collect()
    }

    /// Folder of an aggregator's closed rounds.
    pub fn aggregator(&self) -> PathBuf {
        self.0.join("aggregator")
    }
}
