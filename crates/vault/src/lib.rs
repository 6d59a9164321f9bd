//! The vault: originals sealed at rest, opened with a [`Grant`] only.
//!
//! Comes in: a donated file and its donor. Goes out: its sealed form; with a grant that names the donor, an
//! [`Identified`] plaintext.
//!
//! Keys hang from one another: the node's root key seals the key of the epoch, the epoch's key seals one key per donor, the
//! donor's key seals one key per object, the object's key seals the bytes. Work tables are sealed under the epoch's key too.
//! Destroying a donor's key ([`Vault::shred`]) begins a new epoch: whoever stays is wrapped anew, and the old epoch's key is
//! destroyed, so that every copy of the donor's objects and of older work tables is unreadable, those in backups of blobs and
//! records included.
//!
//! The vault does not trust a grant alone. Before it unwraps a key it asks consent again, in the transaction that puts the
//! access on record: a withdrawal is either seen or comes after.
//!
//! There is no way to the plaintext without a grant:
//!
//! ```compile_fail,E0061
//! # use acequia_store::Donation; use acequia_types::Timestamp; use acequia_vault::{Use, Vault};
//! async fn peek(vault: &Vault, donation: &Donation, used: Use<'_>, now: Timestamp) {
//!     let _ = vault.open(donation, used, now).await;
//! }
//! ```
//! ```
//! # use acequia_custody::Grant; use acequia_store::Donation; use acequia_types::Timestamp; use acequia_vault::{Use, Vault};
//! async fn read(vault: &Vault, donation: &Donation, grant: &Grant, used: Use<'_>, now: Timestamp) {
//!     let _ = vault.open(donation, grant, used, now).await;
//! }
//! ```

mod consents;
mod desk;
mod recipients;
mod report;
mod source;
mod texts;
mod timeline;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, RwLock};

use acequia_blobs::{BlobError, BlobStore, Key, open, seal};
use acequia_custody::rights::Pass;
use acequia_custody::{Ask, Grant, Identified, Policy, Purpose};
use acequia_store::{Access, Donation, Epoch, KeyStore, Release, Store, StoreError, Wrapped};
use acequia_types::{Coded, Digest, DonorId, Exit, IntakeId, Timestamp};
use zeroize::Zeroizing;

pub use consents::{ConsentChange, ConsentLine, open_publication_notice};
pub use desk::{Case, Desk, DeskError, Export, HandOver};
pub use recipients::{Notice, NoticeState, Recipient, named_version};
pub use report::{HeldVersion, Told, Withdrawal, left_version};
pub use source::{Batch, HeldPeople, Source};
pub use texts::{Texts, Unreadable};
pub use timeline::{Happening, What, stands};

/// Why the vault stays shut.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The grant does not name the donor.
    #[error("donation {intake} stays closed: the grant does not name its donor")]
    NotGranted {
        /// Which donation.
        intake: IntakeId,
    },
    /// The donor's key was destroyed.
    #[error("donation {intake} cannot be opened any more: its donor's key was destroyed")]
    Forgotten {
        /// Which donation.
        intake: IntakeId,
    },
    /// Donors withdrew, or their consent ended, since the grant.
    #[error("{closed} of {asked} donors do not allow {purpose} any more")]
    ConsentChanged {
        /// Donors that stay closed.
        closed: usize,
        /// Donors asked.
        asked: usize,
        /// What for.
        purpose: acequia_custody::Purpose,
    },
    /// The plaintext is not what was deposited.
    #[error("donation {intake} is not what was deposited")]
    Changed {
        /// Which donation.
        intake: IntakeId,
    },
    /// A sealed object is damaged or not in its place.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// The node's records failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Coded for VaultError {
    fn code(&self) -> &'static str {
        match self {
            Self::NotGranted { .. } => "VA001",
            Self::Forgotten { .. } => "VA002",
            Self::Changed { .. } => "VA003",
            Self::ConsentChanged { .. } => "VA004",
            Self::Blob(error) => error.code(),
            Self::Store(error) => error.code(),
        }
    }
    fn hint(&self) -> &'static str {
        match self {
            Self::NotGranted { .. } => "only consent opens a record; see `acequia consent show`",
            Self::ConsentChanged { .. } => "run the recipe again, it leaves those donors out",
            Self::Forgotten { .. } => "this is meant: the donor asked for erasure",
            Self::Changed { .. } => "run `acequia doctor`; restore the node's folder from a backup",
            Self::Blob(error) => error.hint(),
            Self::Store(error) => error.hint(),
        }
    }
    fn exit(&self) -> Exit {
        match self {
            Self::NotGranted { .. } | Self::Forgotten { .. } | Self::ConsentChanged { .. } => Exit::NotPermitted,
            Self::Changed { .. } => Exit::Integrity,
            Self::Blob(error) => error.exit(),
            Self::Store(error) => error.exit(),
        }
    }
}

/// What was deposited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deposit {
    /// Address of the sealed object.
    pub sealed: Digest,
    /// Digest of the plaintext.
    pub plaintext: Digest,
    /// Length of the plaintext.
    pub bytes: u64,
}

/// Length of a wrapped key: magic, nonce prefix, key, tag.
const WRAPPED_KEY_BYTES: usize = 4 + 19 + 32 + 16;

/// Who opens something, and why: this goes into the access log.
#[derive(Debug, Clone, Copy)]
pub struct Use<'a> {
    /// Which part of the program, or who.
    pub actor: &'a str,
    /// The data set or request it is for.
    pub reason: &'a str,
}

/// The vault of one node. Cheap to clone.
#[derive(Clone)]
pub struct Vault {
    store: Store,
    keys: KeyStore,
    blobs: BlobStore,
    /// Seals the epochs' keys.
    root: Key,
    /// Seals what must outlive epochs: the release ledger.
    lasting: Key,
    /// Seals work tables; of the epoch.
    work: Arc<RwLock<Key>>,
    /// The trustee's own rules, by which consent is asked again.
    policy: Policy,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Vault(masked)")
    }
}

const WORK: &str = "acequia 2026 vault work tables of an epoch v1";

/// What a wrapped epoch key is bound to.
fn epoch_context(number: u64) -> Vec<u8> {
    [b"epoch ".as_slice(), &number.to_le_bytes()].concat()
}

impl Vault {
    /// Opens the vault over the node's records, keys and blobs, under its root key. Keys from before there was a key store of
    /// their own move there.
    ///
    /// # Errors
    /// [`VaultError::Store`]; [`VaultError::Blob`] when the root key is not the one the epoch was sealed under.
    pub async fn start(
        store: Store,
        keys: KeyStore,
        blobs: BlobStore,
        root: &Key,
        now: Timestamp,
    ) -> Result<Self, VaultError> {
        let epochs = root.derive("acequia 2026 vault epochs v1");
        let first = Key::generate()?.wrap(&epochs, &epoch_context(1))?;
        let epoch = keys.epoch(&first, now).await?;
        let key = Key::unwrap_from(&epochs, &epoch_context(epoch.number), &epoch.wrapped)?;
        let vault = Self {
            store,
            keys,
            blobs,
            root: epochs,
            lasting: root.derive("acequia 2026 vault work tables v1"),
            work: Arc::new(RwLock::new(key.derive(WORK))),
            policy: Policy::SILENT,
        };
        vault.take_over_old_keys(&root.derive("acequia 2026 vault donor keys v1")).await?;
        Ok(vault)
    }

    /// The same vault under the trustee's own rules, which can only narrow.
    #[must_use]
    pub fn under(self, policy: Policy) -> Self {
        Self { policy, ..self }
    }

    async fn take_over_old_keys(&self, old: &Key) -> Result<(), VaultError> {
        for (donor, wrapped) in self.store.old_donor_keys().await? {
            let key = Key::unwrap_from(old, donor.as_str().as_bytes(), &wrapped)?;
            self.put_donor_key(&donor, &key).await?;
            self.store.destroy_donor_key(&donor).await?;
        }
        Ok(())
    }

    fn epoch_key(&self, epoch: &Epoch) -> Result<Key, VaultError> {
        Ok(Key::unwrap_from(&self.root, &epoch_context(epoch.number), &epoch.wrapped)?)
    }

    async fn donor_key(&self, donor: &DonorId) -> Result<Option<Key>, VaultError> {
        let Some((epoch, wrapped)) = self.keys.donor_key(donor).await? else { return Ok(None) };
        Ok(Some(Key::unwrap_from(&self.epoch_key(&epoch)?, donor.as_str().as_bytes(), &wrapped)?))
    }

    /// Records a donor's key unless there is one; returns the one that counts.
    async fn put_donor_key(&self, donor: &DonorId, key: &Key) -> Result<Key, VaultError> {
        loop {
            let epoch = self.keys.current_epoch().await?.ok_or(StoreError::Record { kind: "key" })?;
            let wrapped = key.wrap(&self.epoch_key(&epoch)?, donor.as_str().as_bytes())?;
            // A new epoch may have begun meanwhile; then the key is wrapped again.
            if self.keys.put_if_absent(donor, epoch.number, &wrapped).await?
                && let Some(kept) = self.donor_key(donor).await?
            {
                return Ok(kept);
            }
        }
    }

    /// Seals a donated file. Depositing needs no grant: the donor hands it over.
    ///
    /// # Errors
    /// [`VaultError::Blob`], [`VaultError::Store`].
    pub async fn deposit(&self, donor: &DonorId, intake: &IntakeId, plaintext: &[u8]) -> Result<Deposit, VaultError> {
        let key = match self.donor_key(donor).await? {
            Some(key) => key,
            None => self.put_donor_key(donor, &Key::generate()?).await?,
        };
        let context = intake.as_str().as_bytes();
        let object = Key::generate()?;
        let mut sealed = object.wrap(&key, context)?;
        sealed.extend(seal(&object, context, plaintext)?);
        let sealed = self.blobs.put_new(&sealed)?;
        Ok(Deposit { sealed, plaintext: Digest::of(plaintext), bytes: plaintext.len() as u64 })
    }

    /// Opens one donation; see [`Vault::open_all`].
    ///
    /// # Errors
    /// As [`Vault::open_all`].
    pub async fn open(
        &self,
        donation: &Donation,
        grant: &Grant,
        used: Use<'_>,
        now: Timestamp,
    ) -> Result<Identified<Zeroizing<Vec<u8>>>, VaultError> {
        let mut opened = self.open_all(&[donation], grant, used, now).await?;
        opened.pop().ok_or_else(|| VaultError::Forgotten { intake: donation.intake.clone() })
    }

    /// Opens donations, in their order: all, or none. The grant is checked, and consent is asked again in the transaction that
    /// puts the access on record, before any key is touched.
    ///
    /// # Errors
    /// [`VaultError::NotGranted`], [`VaultError::ConsentChanged`], [`VaultError::Forgotten`], [`VaultError::Changed`],
    /// damaged objects.
    pub async fn open_all(
        &self,
        donations: &[&Donation],
        grant: &Grant,
        used: Use<'_>,
        now: Timestamp,
    ) -> Result<Vec<Identified<Zeroizing<Vec<u8>>>>, VaultError> {
        let mut objects: BTreeMap<&DonorId, u64> = BTreeMap::new();
        for donation in donations {
            if !grant.covers(&donation.donor) {
                return Err(VaultError::NotGranted { intake: donation.intake.clone() });
            }
            *objects.entry(&donation.donor).or_default() += 1;
        }
        self.record_use(&objects, grant, used, now).await?;
        let mut opened = Vec::with_capacity(donations.len());
        for (donation, plaintext) in donations.iter().zip(self.unseal_all(donations).await?) {
            opened.push(Identified::new(donation.donor.clone(), plaintext));
        }
        Ok(opened)
    }

    /// Puts a further use of what was opened on record, by donor with how many objects, after asking consent again in the same
    /// transaction. Work tables are used like this; [`Vault::open_all`] does it for what it opens.
    ///
    /// # Errors
    /// [`VaultError::ConsentChanged`] when somebody says no by now: then nothing of it may be used. [`VaultError::Store`].
    pub async fn record_use(
        &self,
        objects: &BTreeMap<&DonorId, u64>,
        grant: &Grant,
        used: Use<'_>,
        now: Timestamp,
    ) -> Result<(), VaultError> {
        let donors: Vec<(&DonorId, u64)> = objects.iter().map(|(donor, objects)| (*donor, *objects)).collect();
        let purpose = grant.purpose();
        let access = Access {
            actor: used.actor.to_owned(),
            purpose: Some(purpose),
            reason: used.reason.to_owned(),
            objects: 0,
            refused: None,
        };
        let ask = |donor: &DonorId, history: Option<&acequia_custody::History>| {
            let operation = grant.operation(donor).unwrap_or_default();
            Ask { purpose, operation, policy: &self.policy, now, terms: grant.terms() }.about(donor, history).reason()
        };
        let open = self.store.record_access(&donors, &access, now, ask).await?;
        if open.len() < donors.len() {
            return Err(VaultError::ConsentChanged { closed: donors.len() - open.len(), asked: donors.len(), purpose });
        }
        Ok(())
    }

    /// Opens a donor's own donations to hand them back. Consent does not matter: what was withdrawn is the donor's still.
    ///
    /// # Errors
    /// [`VaultError::NotGranted`] when one is another donor's; otherwise as [`Vault::open_all`].
    pub async fn hand_back(
        &self,
        donations: &[&Donation],
        pass: &Pass,
        request: u64,
        now: Timestamp,
    ) -> Result<Vec<Zeroizing<Vec<u8>>>, VaultError> {
        if let Some(other) = donations.iter().find(|donation| donation.donor != *pass.donor()) {
            return Err(VaultError::NotGranted { intake: other.intake.clone() });
        }
        let reason = format!("request {request}");
        let access = Access { actor: "rights desk".to_owned(), purpose: None, reason, objects: 0, refused: None };
        self.store.record_access(&[(pass.donor(), donations.len() as u64)], &access, now, |_, _| None).await?;
        self.unseal_all(donations).await
    }

    async fn unseal_all(&self, donations: &[&Donation]) -> Result<Vec<Zeroizing<Vec<u8>>>, VaultError> {
        let mut keys: BTreeMap<&DonorId, Key> = BTreeMap::new();
        let mut opened = Vec::with_capacity(donations.len());
        for donation in donations {
            if !keys.contains_key(&donation.donor) {
                let key = self.donor_key(&donation.donor).await?;
                keys.insert(
                    &donation.donor,
                    key.ok_or_else(|| VaultError::Forgotten { intake: donation.intake.clone() })?,
                );
            }
        }
        for few in donations.chunks(self.blobs.at_once()) {
            let addresses: Vec<Digest> = few.iter().map(|donation| donation.sealed).collect();
            for (donation, sealed) in few.iter().zip(self.blobs.get_all(&addresses)?) {
                opened.push(self.unseal(donation, &keys[&donation.donor], &sealed)?);
            }
        }
        Ok(opened)
    }

    fn unseal(&self, donation: &Donation, key: &Key, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let context = donation.intake.as_str().as_bytes();
        let (wrapped, body) = sealed.split_at_checked(WRAPPED_KEY_BYTES).ok_or(BlobError::Sealed)?;
        let object = Key::unwrap_from(key, context, wrapped)?;
        let plaintext = open(&object, context, body)?;
        if Digest::of(&plaintext) != donation.plaintext {
            return Err(VaultError::Changed { intake: donation.intake.clone() });
        }
        Ok(plaintext)
    }

    /// Destroys donors' keys and begins a new epoch: erasure of everything they gave, and of every work table. Returns the new
    /// epoch's number. Doing it again is harmless.
    ///
    /// # Errors
    /// [`VaultError::Store`], [`VaultError::Blob`]; then the old epoch stands.
    pub async fn shred(&self, donors: &[&DonorId], now: Timestamp) -> Result<u64, VaultError> {
        let new = Key::generate()?;
        let rewrap = |old: &Epoch, staying: Vec<Wrapped>| -> Result<(Vec<u8>, Vec<Wrapped>), VaultError> {
            let old_key = self.epoch_key(old)?;
            let again = |(donor, wrapped): Wrapped| -> Result<Wrapped, VaultError> {
                let context = donor.as_str().as_bytes();
                let wrapped = Key::unwrap_from(&old_key, context, &wrapped)?.wrap(&new, context)?;
                Ok((donor, wrapped))
            };
            let staying = staying.into_iter().map(again).collect::<Result<_, _>>()?;
            Ok((new.wrap(&self.root, &epoch_context(old.number + 1))?, staying))
        };
        let number = self.keys.rotate(donors, now, rewrap).await?;
        let mut work = self.work.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        *work = new.derive(WORK);
        Ok(number)
    }

    /// Donors that have a key.
    ///
    /// # Errors
    /// [`VaultError::Store`].
    pub async fn donors(&self) -> Result<Vec<DonorId>, VaultError> {
        Ok(self.keys.donors().await?)
    }

    fn work_key(&self) -> Key {
        self.work.read().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Seals a work table of the node: it is about people, so it never lies open on disk. It can be opened until the next
    /// donor is erased; then it must be made again.
    ///
    /// # Errors
    /// [`VaultError::Blob`].
    pub fn seal_work(&self, name: &str, bytes: &[u8]) -> Result<Digest, VaultError> {
        Ok(self.blobs.put_new(&seal(&self.work_key(), name.as_bytes(), bytes)?)?)
    }

    /// Opens a work table.
    ///
    /// # Errors
    /// [`VaultError::Blob`] when it is missing, damaged, another table's, or of an earlier epoch.
    pub fn open_work(&self, name: &str, sealed: &Digest) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        Ok(open(&self.work_key(), name.as_bytes(), &self.blobs.get(sealed)?)?)
    }

    /// Seals what must outlive epochs: the release ledger, which holds released values and numbers, and keeps later versions
    /// from telling who left.
    ///
    /// # Errors
    /// [`VaultError::Blob`].
    pub fn seal_lasting(&self, name: &str, bytes: &[u8]) -> Result<Digest, VaultError> {
        Ok(self.blobs.put_new(&seal(&self.lasting, name.as_bytes(), bytes)?)?)
    }

    /// Opens what [`Vault::seal_lasting`] sealed.
    ///
    /// # Errors
    /// [`VaultError::Blob`] when it is missing, damaged or another's.
    pub fn open_lasting(&self, name: &str, sealed: &Digest) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        Ok(open(&self.lasting, name.as_bytes(), &self.blobs.get(sealed)?)?)
    }

    /// Seals who is in a version, by the random names that say nothing once a donor was erased.
    ///
    /// # Errors
    /// [`VaultError::Blob`].
    pub fn seal_subjects(&self, subjects: &BTreeSet<String>) -> Result<Digest, VaultError> {
        let lines: Vec<&str> = subjects.iter().map(String::as_str).collect();
        self.seal_lasting(SUBJECTS_CONTEXT, lines.join("\n").as_bytes())
    }

    /// Who is in a version, by random names; `None` for a version of a program that did not keep it.
    ///
    /// # Errors
    /// [`VaultError::Blob`].
    pub fn subjects_of(&self, release: &Release) -> Result<Option<BTreeSet<String>>, VaultError> {
        let Some(sealed) = sealed_subjects(release) else { return Ok(None) };
        let lines = self.open_lasting(SUBJECTS_CONTEXT, &sealed)?;
        let lines = String::from_utf8_lossy(&lines);
        Ok(Some(lines.lines().map(str::to_owned).collect()))
    }
}

/// Key under which a version's record names who is in it.
pub const SUBJECTS: &str = "subjects";
const SUBJECTS_CONTEXT: &str = "release/subjects";

/// Key under which a version's record says that it is a model.
pub const ARTEFACT: &str = "artefact";

/// Whether a version is a model.
pub fn is_model(release: &Release) -> bool {
    release.detail.get(ARTEFACT).and_then(serde_json::Value::as_str) == Some("model")
}

/// What those who are in a version must still allow.
pub fn purpose_of(release: &Release) -> Purpose {
    if is_model(release) { Purpose::ModelTraining } else { Purpose::OpenPublication }
}

/// Address of the sealed list of who is in a version.
pub fn sealed_subjects(release: &Release) -> Option<Digest> {
    release.detail.get(SUBJECTS)?.as_str().and_then(|text| Digest::parse(text).ok())
}
