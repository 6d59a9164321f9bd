//! The vault: originals sealed at rest, opened with a [`Grant`] only.
//!
//! Comes in: a donated file and its donor. Goes out: its sealed form; with a grant that names the donor, an
//! [`Identified`] plaintext.
//!
//! Keys hang from one another: the root key of the node seals one key per donor, the donor's key seals one key per object,
//! the object's key seals the bytes. Destroying a donor's key ([`Vault::forget`]) makes every copy of the donor's objects
//! unreadable, backups of the blobs included.
//!
//! There is no way to the plaintext without a grant:
//!
//! ```compile_fail,E0061
//! # use acequia_store::Donation; use acequia_vault::Vault;
//! async fn peek(vault: &Vault, donation: &Donation) {
//!     let _ = vault.open(donation).await;
//! }
//! ```
//! ```
//! # use acequia_custody::Grant; use acequia_store::Donation; use acequia_vault::Vault;
//! async fn read(vault: &Vault, donation: &Donation, grant: &Grant) {
//!     let _ = vault.open(donation, grant).await;
//! }
//! ```

use acequia_blobs::{BlobError, BlobStore, Key, open, seal};
use acequia_custody::{Grant, Identified};
use acequia_store::{Donation, Store, StoreError};
use acequia_types::{Coded, Digest, DonorId, Exit, IntakeId};
use zeroize::Zeroizing;

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
            Self::Blob(error) => error.code(),
            Self::Store(error) => error.code(),
        }
    }
    fn hint(&self) -> &'static str {
        match self {
            Self::NotGranted { .. } => "only consent opens a record; see `acequia consent show`",
            Self::Forgotten { .. } => "this is meant: the donor asked for erasure",
            Self::Changed { .. } => "run `acequia doctor`; restore the node's folder from a backup",
            Self::Blob(error) => error.hint(),
            Self::Store(error) => error.hint(),
        }
    }
    fn exit(&self) -> Exit {
        match self {
            Self::NotGranted { .. } | Self::Forgotten { .. } => Exit::NotPermitted,
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

/// The vault of one node. Cheap to clone.
#[derive(Clone)]
pub struct Vault {
    store: Store,
    blobs: BlobStore,
    donors: Key,
    work: Key,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Vault(masked)")
    }
}

impl Vault {
    /// A vault over the node's records and blobs, under its root key.
    pub fn new(store: Store, blobs: BlobStore, root: Key) -> Self {
        let donors = root.derive("acequia 2026 vault donor keys v1");
        let work = root.derive("acequia 2026 vault work tables v1");
        Self { store, blobs, donors, work }
    }

    async fn donor_key(&self, donor: &DonorId) -> Result<Option<Key>, VaultError> {
        let Some(wrapped) = self.store.donor_key(donor).await? else { return Ok(None) };
        Ok(Some(Key::unwrap_from(&self.donors, donor.as_str().as_bytes(), &wrapped)?))
    }

    /// Seals a donated file. Depositing needs no grant: the donor hands it over.
    ///
    /// # Errors
    /// [`VaultError::Blob`], [`VaultError::Store`].
    pub async fn deposit(&self, donor: &DonorId, intake: &IntakeId, plaintext: &[u8]) -> Result<Deposit, VaultError> {
        let key = match self.donor_key(donor).await? {
            Some(key) => key,
            None => {
                let wrapped = Key::generate()?.wrap(&self.donors, donor.as_str().as_bytes())?;
                // Another command may have been first; the key that is on record counts.
                let kept = self.store.put_donor_key_if_absent(donor, &wrapped).await?;
                Key::unwrap_from(&self.donors, donor.as_str().as_bytes(), &kept)?
            }
        };
        let context = intake.as_str().as_bytes();
        let object = Key::generate()?;
        let mut sealed = object.wrap(&key, context)?;
        sealed.extend(seal(&object, context, plaintext)?);
        let sealed = self.blobs.put(&sealed)?;
        Ok(Deposit { sealed, plaintext: Digest::of(plaintext), bytes: plaintext.len() as u64 })
    }

    /// Opens a donation. The grant is checked before any key is touched.
    ///
    /// # Errors
    /// [`VaultError::NotGranted`], [`VaultError::Forgotten`], [`VaultError::Changed`], damaged objects.
    pub async fn open(&self, donation: &Donation, grant: &Grant) -> Result<Identified<Zeroizing<Vec<u8>>>, VaultError> {
        let intake = || donation.intake.clone();
        if !grant.covers(&donation.donor) {
            return Err(VaultError::NotGranted { intake: intake() });
        }
        let key = self.donor_key(&donation.donor).await?.ok_or_else(|| VaultError::Forgotten { intake: intake() })?;
        let sealed = self.blobs.get(&donation.sealed)?;
        let context = donation.intake.as_str().as_bytes();
        let (wrapped, body) = sealed.split_at_checked(WRAPPED_KEY_BYTES).ok_or(BlobError::Sealed)?;
        let object = Key::unwrap_from(&key, context, wrapped)?;
        let plaintext = open(&object, context, body)?;
        if Digest::of(&plaintext) != donation.plaintext {
            return Err(VaultError::Changed { intake: intake() });
        }
        Ok(Identified::new(donation.donor.clone(), plaintext))
    }

    /// Destroys a donor's key: erasure of everything the donor gave.
    ///
    /// # Errors
    /// [`VaultError::Store`].
    pub async fn forget(&self, donor: &DonorId) -> Result<(), VaultError> {
        Ok(self.store.destroy_donor_key(donor).await?)
    }

    /// Seals a work table of the node: it is about people, so it never lies open on disk.
    ///
    /// # Errors
    /// [`VaultError::Blob`].
    pub fn seal_work(&self, name: &str, bytes: &[u8]) -> Result<Digest, VaultError> {
        Ok(self.blobs.put(&seal(&self.work, name.as_bytes(), bytes)?)?)
    }

    /// Opens a work table.
    ///
    /// # Errors
    /// [`VaultError::Blob`] when it is missing, damaged or another table's.
    pub fn open_work(&self, name: &str, sealed: &Digest) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        Ok(open(&self.work, name.as_bytes(), &self.blobs.get(sealed)?)?)
    }
}
