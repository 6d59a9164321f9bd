//! Bytes by content address, wherever they lie.

use std::io::Write;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use acequia_types::{Digest, DigestWriter};
use bytes::Bytes;

use crate::BlobError;
use crate::bucket::Bucket;
use crate::folder::Folder;
use crate::moving::each;
use crate::source::Source;

/// Blobs by content address: files `<folder>/ab/abcdef…`, or objects `<prefix>/ab/abcdef…` of a bucket. Cheap to clone.
///
/// Calls block. They may be made from inside an asynchronous runtime, whose other tasks then go on if it has several threads.
#[derive(Debug, Clone)]
pub struct BlobStore(Place);

#[derive(Debug, Clone)]
enum Place {
    Folder(Arc<Folder>),
    Bucket(Arc<Bucket>),
}

/// Bytes of a blob that are looked at at a time.
const SEEN_BYTES: u64 = 8 * 1024 * 1024;

/// Why a place cannot keep blobs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trial {
    /// What was tried.
    pub tried: Tried,
    /// What came of it.
    pub error: BlobError,
}

/// What a place of blobs must be able to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tried {
    /// Take bytes.
    Written,
    /// Give them back, whole and in part.
    Read,
    /// Tell what is there.
    Listed,
    /// Let go of them.
    Removed,
}

impl Tried {
    pub(crate) fn failed(self) -> impl FnOnce(BlobError) -> Trial {
        move |error| Trial { tried: self, error }
    }

    /// As a word after "cannot be".
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Written => "written",
            Self::Read => "read",
            Self::Listed => "listed",
            Self::Removed => "removed",
        }
    }
}

impl BlobStore {
    /// Opens a folder, making it where it is missing.
    ///
    /// # Errors
    /// [`BlobError::Io`].
    pub fn open(folder: &Path) -> Result<Self, BlobError> {
        Ok(Self(Place::Folder(Arc::new(Folder::open(folder)?))))
    }

    /// A bucket of S3, or of a store that speaks its language: `s3://bucket/prefix`. Asks nobody yet.
    ///
    /// Keys, endpoint and region are taken from `environment` by the names that other programs use: `AWS_ACCESS_KEY_ID`,
    /// `AWS_SECRET_ACCESS_KEY`, `AWS_SESSION_TOKEN`, `AWS_REGION`, `AWS_ENDPOINT`, and `AWS_ALLOW_HTTP=true` for one without TLS.
    /// `owner` names the node. An object says under the prefix whose it is; nothing is changed where another node's name stands.
    ///
    /// # Errors
    /// [`BlobError::Address`]; [`BlobError::Refused`] when the environment cannot be understood.
    pub fn connect(
        address: &str,
        owner: &str,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, BlobError> {
        Ok(Self(Place::Bucket(Arc::new(Bucket::open(address, owner, environment)?))))
    }

    /// Where it is: a folder, or `s3://bucket/prefix`.
    pub fn place(&self) -> String {
        match &self.0 {
            Place::Folder(folder) => folder.place(),
            Place::Bucket(bucket) => bucket.place(),
        }
    }

    /// Stores bytes and returns their address. Storing the same bytes again does nothing.
    ///
    /// What was damaged since is written anew, as far as that is seen: of a file by its bytes, of an object by its length and
    /// its entity tag, which tells what somebody wrote over it but not what a disk of the object store changed.
    ///
    /// # Errors
    /// [`BlobError::Io`], and of a bucket [`BlobError::Unreachable`], [`BlobError::Refused`], [`BlobError::NoBucket`],
    /// [`BlobError::Answer`], [`BlobError::Foreign`]; nothing is stored then.
    pub fn put(&self, bytes: &[u8]) -> Result<Digest, BlobError> {
        let digest = Digest::of(bytes);
        match &self.0 {
            Place::Folder(folder) => folder.put(&digest, bytes)?,
            Place::Bucket(bucket) => bucket.put(&digest, bytes)?,
        }
        Ok(digest)
    }

    /// As [`BlobStore::put`], for bytes that cannot be there yet, such as sealed ones: a bucket is not asked first.
    ///
    /// # Errors
    /// As of [`BlobStore::put`].
    pub fn put_new(&self, bytes: &[u8]) -> Result<Digest, BlobError> {
        match &self.0 {
            Place::Folder(_) => self.put(bytes),
            Place::Bucket(bucket) => {
                let digest = Digest::of(bytes);
                bucket.put_new(&digest, bytes)?;
                Ok(digest)
            }
        }
    }

    /// The bytes under an address, checked against it.
    ///
    /// # Errors
    /// [`BlobError::Missing`], [`BlobError::Damaged`], and as of [`BlobStore::put`].
    pub fn get(&self, digest: &Digest) -> Result<Bytes, BlobError> {
        let bytes = match &self.0 {
            Place::Folder(folder) => folder.get(digest)?,
            Place::Bucket(bucket) => bucket.get(digest)?,
        };
        checked(bytes, digest)
    }

    /// The bytes under some addresses, in their order, each checked against its own. Those of a bucket come at the same time.
    ///
    /// # Errors
    /// As of [`BlobStore::get`], of the first that cannot be had.
    pub fn get_all(&self, digests: &[Digest]) -> Result<Vec<Bytes>, BlobError> {
        match &self.0 {
            Place::Folder(_) => digests.iter().map(|digest| self.get(digest)).collect(),
            Place::Bucket(bucket) => {
                let found = bucket.get_all(digests, self.at_once())?;
                found.into_iter().zip(digests).map(|(bytes, digest)| checked(bytes, digest)).collect()
            }
        }
    }

    /// Some of the bytes under an address, not checked against it. Of a bucket not much more than these is fetched, and what is
    /// read on from there is fetched ahead.
    ///
    /// # Errors
    /// [`BlobError::Missing`], [`BlobError::Range`], and as of [`BlobStore::put`].
    pub fn read_range(&self, digest: &Digest, range: Range<u64>) -> Result<Bytes, BlobError> {
        match &self.0 {
            Place::Folder(folder) => folder.read_range(digest, range),
            Place::Bucket(bucket) => bucket.read_range(digest, range),
        }
    }

    /// Length in bytes, if there is anything.
    ///
    /// # Errors
    /// As of [`BlobStore::put`]: whether something is there is not known then.
    pub fn len_bytes(&self, digest: &Digest) -> Result<Option<u64>, BlobError> {
        match &self.0 {
            Place::Folder(folder) => folder.len_bytes(digest),
            Place::Bucket(bucket) => bucket.len_bytes(digest),
        }
    }

    /// Whether there is anything under the address.
    ///
    /// # Errors
    /// As of [`BlobStore::len_bytes`].
    pub fn contains(&self, digest: &Digest) -> Result<bool, BlobError> {
        Ok(self.len_bytes(digest)?.is_some())
    }

    /// Removes what is under the address, if anything.
    ///
    /// # Errors
    /// As of [`BlobStore::put`].
    pub fn remove(&self, digest: &Digest) -> Result<(), BlobError> {
        match &self.0 {
            Place::Folder(folder) => folder.remove(digest),
            Place::Bucket(bucket) => bucket.remove(digest),
        }
    }

    /// Every address, in order.
    ///
    /// # Errors
    /// As of [`BlobStore::put`].
    pub fn list(&self) -> Result<Vec<Digest>, BlobError> {
        match &self.0 {
            Place::Folder(folder) => folder.list(),
            Place::Bucket(bucket) => bucket.list(),
        }
    }

    /// Whether the bytes under an address are those it says. Reads all of them, some at a time.
    ///
    /// # Errors
    /// [`BlobError::Missing`], and as of [`BlobStore::put`].
    pub fn is_whole(&self, digest: &Digest) -> Result<bool, BlobError> {
        self.with_source(digest, |source| {
            let mut found = DigestWriter::default();
            loop {
                let piece = source.take(SEEN_BYTES)?;
                if piece.is_empty() {
                    return Ok(found.finish() == *digest);
                }
                found.write_all(&piece).map_err(crate::error::io("a blob of the node", "read"))?;
            }
        })
    }

    /// Reads everything and returns the addresses whose bytes are other bytes, or cannot be read.
    ///
    /// # Errors
    /// As of [`BlobStore::list`]; what keeps a bucket from answering at all.
    pub fn check_all(&self) -> Result<Vec<Digest>, BlobError> {
        let all = self.list()?;
        let well = each(&all, self.at_once(), |digest| match self.is_whole(digest) {
            // Who was removed since it was listed is not damaged.
            Err(BlobError::Missing { .. }) => Ok(true),
            Err(error) if !error.is_of_the_store() => Ok(false),
            other => other,
        })?;
        Ok(all.into_iter().zip(well).filter_map(|(digest, well)| (!well).then_some(digest)).collect())
    }

    /// Copies a blob to another store, some bytes at a time, and returns its length. Bytes that are not those of the address are
    /// not stored there.
    ///
    /// # Errors
    /// [`BlobError::Missing`], [`BlobError::Damaged`], and as of [`BlobStore::put`].
    pub fn copy_to(&self, digest: &Digest, other: &Self) -> Result<u64, BlobError> {
        self.with_source(digest, |source| {
            let length_bytes = source.length_bytes();
            match &other.0 {
                Place::Folder(folder) => folder.put_from(digest, source)?,
                Place::Bucket(bucket) => bucket.put_from(digest, source)?,
            }
            Ok(length_bytes)
        })
    }

    /// Removes what interrupted work left: files and objects aside, uploads that nobody ended. Only while no other command writes. Returns
    /// how many.
    ///
    /// # Errors
    /// As of [`BlobStore::put`].
    pub fn sweep(&self) -> Result<u64, BlobError> {
        match &self.0 {
            Place::Folder(folder) => folder.sweep(),
            Place::Bucket(bucket) => bucket.sweep(),
        }
    }

    /// Tries everything with some bytes that are no blob: whether they can be written, read, listed and removed.
    ///
    /// # Errors
    /// The first that cannot be done.
    pub fn try_out(&self) -> Result<(), Trial> {
        let mut bytes = [0; 64];
        getrandom::fill(&mut bytes).map_err(|_| Tried::Written.failed()(BlobError::NoRandomness))?;
        match &self.0 {
            Place::Folder(folder) => folder.try_out(&bytes),
            Place::Bucket(bucket) => bucket.try_out(&bytes, &hex::encode(&bytes[..16])),
        }
    }

    /// Blobs that are best worked on at a time: most of the time of a bucket is waiting.
    pub fn at_once(&self) -> usize {
        match &self.0 {
            Place::Folder(_) => 1,
            Place::Bucket(_) => 8,
        }
    }

    fn with_source<T>(
        &self,
        digest: &Digest,
        work: impl FnOnce(&mut dyn Source) -> Result<T, BlobError>,
    ) -> Result<T, BlobError> {
        match &self.0 {
            Place::Folder(folder) => work(&mut folder.source(digest)?),
            Place::Bucket(bucket) => work(&mut bucket.source(digest)?),
        }
    }
}

fn checked(bytes: Bytes, digest: &Digest) -> Result<Bytes, BlobError> {
    if Digest::of(&bytes) == *digest { Ok(bytes) } else { Err(BlobError::Damaged { digest: *digest }) }
}
