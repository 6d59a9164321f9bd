//! A node on disk: keys, records, blobs.
//!
//! ```text
//! <home>/node.json          layout version
//! <home>/settings.toml      what lies or runs elsewhere, such as records or a cluster; usually absent
//! <home>/keys/root.key      256 bits, readable by the owner only: every other key hangs from it
//! <home>/keys/keys.sqlite   keys of donors and deposits, wrapped; never in a backup of the rest, and its own backups live for days only
//! <home>/records.sqlite     donations, consent, steps, published versions; elsewhere if `settings.toml` says so
//! <home>/rules.toml         deadlines and times to think of another law or house; usually absent
//! <home>/texts/xx.ftl       what donors read in further languages; usually absent
//! <home>/outbox/new/        notices to recipients, one file each, for a carrier that moves them to outbox/sent/
//! <home>/vocabulary.index   what codes mean, from an Athena download; without it the pack that comes with the program
//! <home>/blobs/             sealed originals, sealed work tables, published files; elsewhere if `settings.toml` says so
//! <home>/derived/xet/       of which xorbs published files are made: worked out from them, and again when it is not there
//! <home>/network/           the node among others: its key there, the roster, runs, what is being fetched from neighbours
//! <home>/lock               held while a command changes the node
//! <home>/deposits.lock      shared by uploads of deposits, held alone while the node is mended
//! ```

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use acequia_blobs::{BlobStore, Key};
use acequia_custody::Policy;
use acequia_custody::rights::Rules;
use acequia_frame::Engine;
use acequia_gate::GateKey;
use acequia_omop::Vocabulary;
use acequia_store::{KeyStore, Store};
use acequia_types::{Clock, SystemClock};
use acequia_unify::IdKey;
use acequia_vault::Vault;

use crate::failure::{Failure, NodeError, io};
use crate::settings::Settings;

const LAYOUT: &str = "{\"layout\":\"acequia-node/1\"}\n";

/// An open node.
pub struct Node {
    pub(crate) home: PathBuf,
    pub(crate) store: Store,
    pub(crate) blobs: BlobStore,
    pub(crate) vault: Vault,
    pub(crate) keys: KeyStore,
    pub(crate) engine: Arc<dyn Engine>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) rules: Rules,
    pub(crate) policy: Policy,
    root: [u8; 32],
}

/// Held while a command changes the node; released when dropped or when the process ends.
pub(crate) struct Lock(#[expect(dead_code, reason = "held for its lock")] File);

/// Whether only the owner may read the file. Where files have no such permissions, nothing is wrong with them.
pub(crate) fn is_private(path: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::metadata(path).is_ok_and(|file| file.permissions().mode() & 0o077 == 0)
    }
    #[cfg(not(unix))]
    {
        path.exists()
    }
}

fn lock(home: &Path) -> Result<Lock, Failure> {
    lock_file(&home.join("lock"))
}

fn lock_file(path: &Path) -> Result<Lock, Failure> {
    let file = File::options().create(true).append(true).open(path);
    let file = file.map_err(io("the node's lock file", "written"))?;
    match file.try_lock() {
        Ok(()) => Ok(Lock(file)),
        Err(std::fs::TryLockError::WouldBlock) => Err(NodeError::Busy.into()),
        Err(std::fs::TryLockError::Error(error)) => Err(io("the node's lock file", "locked")(error).into()),
    }
}

/// The deadlines and times to think that hold at a node: its own, or else those of the law in force.
fn rules(home: &Path) -> Result<Rules, Failure> {
    let path = home.join("rules.toml");
    if !path.exists() {
        return Ok(Rules::gdpr());
    }
    let bytes = acequia_blobs::read_file(&path, "rules.toml of the node", 64 * 1024)?;
    Ok(Rules::parse(&String::from_utf8_lossy(&bytes))?)
}

fn root_key(home: &Path) -> Result<[u8; 32], Failure> {
    let text = acequia_blobs::read_file(&home.join("keys").join("root.key"), "the node's root key", 1024)?;
    let mut root = [0; 32];
    hex::decode_to_slice(text.trim_ascii(), &mut root).map_err(|_| NodeError::Io {
        what: "the node's root key".to_owned(),
        doing: "read",
        kind: std::io::ErrorKind::InvalidData,
    })?;
    Ok(root)
}

/// What a node is called where others keep blobs beside its own. It says nothing, and stays with the root key.
fn owner(root: &[u8; 32]) -> String {
    hex::encode(blake3::derive_key("acequia 2026 node name among owners of blobs v1", root))
}

impl Node {
    /// Makes a new node in `home`. Safe to interrupt: the layout file is written last.
    ///
    /// # Errors
    /// [`NodeError::NodeExists`] when there is one already.
    pub async fn init(home: &Path, threads: usize) -> Result<Self, Failure> {
        if home.join("node.json").exists() {
            return Err(NodeError::NodeExists { home: home.display().to_string() }.into());
        }
        std::fs::create_dir_all(home.join("keys")).map_err(io("the node's folder", "written"))?;
        acequia_blobs::make_private(home, "the node's folder")?;
        // Two that make the same node at once must not make two keys.
        let _lock = lock(home)?;
        let key_path = home.join("keys").join("root.key");
        if !key_path.exists() {
            let key = Key::generate()?;
            acequia_blobs::write_file_atomically(&key_path, hex::encode(key.as_bytes()).as_bytes())?;
        }
        let settings = Settings::read(home)?;
        // Where no blob can be kept, that is better known before anything is donated.
        settings.blobs(home, &owner(&root_key(home)?))?.try_out().map_err(|trial| trial.error)?;
        settings.store(home).await?;
        acequia_blobs::write_file_atomically(&home.join("node.json"), LAYOUT.as_bytes())?;
        Self::open(home, threads).await
    }

    /// Opens the node in `home`; SQL runs on `threads` threads.
    ///
    /// # Errors
    /// [`NodeError::NoNode`] when there is none; errors of store and blobs.
    pub async fn open(home: &Path, threads: usize) -> Result<Self, Failure> {
        if !home.join("node.json").exists() {
            return Err(NodeError::NoNode { home: home.display().to_string() }.into());
        }
        let root = root_key(home)?;
        let settings = Settings::read(home)?;
        let blobs = settings.blobs(home, &owner(&root))?;
        let store = settings.store(home).await?;
        let keys = KeyStore::open(&home.join("keys").join("keys.sqlite")).await?;
        let now = SystemClock.now();
        let vault = Vault::start(store.clone(), keys.clone(), blobs.clone(), &Key::from_bytes(root), now).await?;
        let engine = settings.engine(threads)?;
        let rules = rules(home)?;
        let policy = rules.policy();
        let (vault, clock) = (vault.under(policy.clone()), Arc::new(SystemClock));
        Ok(Self { home: home.to_owned(), store, blobs, vault, keys, engine, clock, rules, policy, root })
    }

    /// The same node by another clock, for tests and replays.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// What codes mean at this node: the index of its Athena download if it has one, or else the pack of the program.
    ///
    /// # Errors
    /// The coded error of an index that cannot be used.
    pub(crate) fn vocabulary(&self) -> Result<Vocabulary, Failure> {
        let index = self.home.join(acequia_vocabulary::INDEX_NAME);
        Ok(if index.is_file() { acequia_vocabulary::open(&index)? } else { Vocabulary::bundled().clone() })
    }

    /// Takes the lock that commands hold while they change the node.
    pub(crate) fn lock(&self) -> Result<Lock, Failure> {
        lock(&self.home)
    }

    /// Keeps uploads of deposits away while the node is mended.
    pub(crate) fn lock_uploads(&self) -> Result<Lock, Failure> {
        lock_file(&self.home.join("deposits.lock"))
    }

    /// What the node is called where others keep blobs beside its own.
    pub(crate) fn owner(&self) -> String {
        owner(&self.root)
    }

    fn derived(&self, context: &str) -> [u8; 32] {
        blake3::derive_key(context, &self.root)
    }

    pub(crate) fn id_key(&self) -> IdKey {
        IdKey::new(self.derived("acequia 2026 node id key v1"))
    }

    pub(crate) fn pseudonym_secret(&self) -> [u8; 32] {
        self.derived("acequia 2026 node pseudonym key v1")
    }

    pub(crate) fn notice_key(&self) -> [u8; 32] {
        self.derived("acequia 2026 node notice key v1")
    }

    pub(crate) fn deposit_key(&self) -> [u8; 32] {
        self.derived("acequia 2026 node deposit key v1")
    }

    pub(crate) fn access_key(&self) -> [u8; 32] {
        self.derived("acequia 2026 node access key v1")
    }

    pub(crate) fn gate_key(&self) -> GateKey {
        GateKey::from_secret(&self.derived("acequia 2026 node exit seal key v1"))
    }
}
