//! Where the bytes of a deposit lie: sealed under its key, in chunks, each a blob.
//!
//! A chunk is sealed with the deposit, the object and its place in it as context, so that none can be passed off as another, and chunks
//! are of one length but for the last, so that any range of a long file is found without reading the rest. The parts of an upload
//! begin at multiples of that length: when all are there, their chunks are the object's.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use acequia_blobs::{BlobError, BlobStore, Key, open, seal};
use acequia_hub::{HubError, wire};
use acequia_store::StoredObject;
use acequia_types::Digest;
use acequia_xet::{Plan, Planner};
use bytes::Bytes;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::DepositError;

/// Length of a chunk. Uploading holds two of them in memory, reading one.
pub(crate) const CHUNK_BYTES: u64 = 4 << 20;

/// The sealed bytes of one deposit.
#[derive(Clone)]
pub struct Sealed {
    blobs: BlobStore,
    key: Key,
    deposit: Arc<str>,
}

impl Sealed {
    pub(crate) fn new(blobs: BlobStore, key: Key, deposit: &str) -> Self {
        Self { blobs, key, deposit: deposit.into() }
    }

    /// Whether this is the key that they are sealed under.
    pub(crate) fn is_under(&self, key: &Key) -> bool {
        self.key.as_bytes() == key.as_bytes()
    }

    fn context(&self, object: &str, number: u64) -> Vec<u8> {
        format!("acequia deposit chunk v1\0{}\0{object}\0{number}", self.deposit).into_bytes()
    }

    /// Begins to take in an object of `bytes` bytes, or a part of it that begins at chunk `first`.
    pub(crate) fn writer(&self, object: &str, first: u64, bytes: u64) -> Writer {
        let mut writer = self.begin(object, first, bytes);
        writer.exact = true;
        writer
    }

    /// Begins to take in an object of at most `most` bytes.
    pub(crate) fn writer_to(&self, object: &str, most: u64) -> Writer {
        self.begin(object, 0, most)
    }

    fn begin(&self, object: &str, first: u64, bytes: u64) -> Writer {
        let mut git = Sha1::new();
        git.update(format!("blob {bytes}\0").as_bytes());
        Writer {
            sealed: self.clone(),
            object: object.to_owned(),
            first,
            expected: bytes,
            exact: false,
            arrived: 0,
            buffer: Zeroizing::new(Vec::new()),
            sha256: Sha256::new(),
            git,
            planner: None,
            blobs: Vec::new(),
        }
    }

    /// The bytes of an object that is here.
    pub(crate) fn file(&self, stored: &StoredObject) -> SealedFile {
        SealedFile {
            sealed: self.clone(),
            object: stored.object.clone(),
            bytes: stored.bytes,
            blobs: stored.blobs.clone(),
            last: Mutex::new(None),
            failed: AtomicBool::new(false),
        }
    }
}

/// Seals what it is given, chunk by chunk. Blocks. What was written goes again when it is dropped before it is kept.
pub(crate) struct Writer {
    sealed: Sealed,
    object: String,
    first: u64,
    expected: u64,
    /// Whether fewer bytes are too few.
    exact: bool,
    arrived: u64,
    buffer: Zeroizing<Vec<u8>>,
    sha256: Sha256,
    git: Sha1,
    planner: Option<Planner>,
    blobs: Vec<Digest>,
}

/// What was written.
pub(crate) struct Written {
    pub(crate) sha256: Digest,
    pub(crate) git_oid: String,
    pub(crate) bytes: u64,
    pub(crate) blobs: Vec<Digest>,
    /// Of which xorbs it is made, if that was wanted.
    pub(crate) plan: Option<Plan>,
}

impl Writer {
    /// The same, which plans the object on the way.
    pub(crate) fn planned(mut self) -> Self {
        self.planner = Some(Planner::default());
        self
    }

    /// Where they lie.
    pub(crate) fn sealed(&self) -> &Sealed {
        &self.sealed
    }

    /// Takes more bytes.
    ///
    /// # Errors
    /// [`DepositError::Damaged`] when there are more than announced; [`DepositError::Blobs`].
    pub(crate) fn write(&mut self, mut bytes: &[u8]) -> Result<(), DepositError> {
        self.arrived = self.arrived.saturating_add(bytes.len() as u64);
        if self.arrived > self.expected {
            return Err(DepositError::Damaged);
        }
        self.sha256.update(bytes);
        self.git.update(bytes);
        if let Some(planner) = &mut self.planner {
            planner.push(bytes);
        }
        let chunk = usize::try_from(CHUNK_BYTES).unwrap_or(usize::MAX);
        while !bytes.is_empty() {
            let (now, rest) = bytes.split_at(bytes.len().min(chunk - self.buffer.len()));
            self.buffer.extend_from_slice(now);
            bytes = rest;
            if self.buffer.len() == chunk {
                self.put()?;
            }
        }
        Ok(())
    }

    fn put(&mut self) -> Result<(), DepositError> {
        let number = self.first + self.blobs.len() as u64;
        let context = self.sealed.context(&self.object, number);
        let sealed = seal(&self.sealed.key, &context, &self.buffer)?;
        self.blobs.push(self.sealed.blobs.put_new(&sealed)?);
        self.buffer.clear();
        Ok(())
    }

    /// Writes the rest.
    ///
    /// # Errors
    /// [`DepositError::Damaged`] when there are fewer bytes than announced; [`DepositError::Blobs`].
    pub(crate) fn finish(mut self) -> Result<(Self, Written), DepositError> {
        if self.exact && self.arrived != self.expected {
            return Err(DepositError::Damaged);
        }
        if !self.buffer.is_empty() {
            self.put()?;
        }
        let written = Written {
            sha256: Digest::from_bytes(self.sha256.clone().finalize().into()),
            git_oid: hex::encode(self.git.clone().finalize()),
            bytes: self.arrived,
            blobs: self.blobs.clone(),
            plan: self.planner.take().map(Planner::finish),
        };
        Ok((self, written))
    }

    /// A record refers to what was written: it stays.
    pub(crate) fn keep(mut self) {
        self.blobs.clear();
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        for blob in self.blobs.drain(..) {
            // What cannot be removed now, `acequia doctor --mend` removes.
            let _ = self.sealed.blobs.remove(&blob);
        }
    }
}

/// The number of a chunk, and its bytes.
type Opened = (usize, Arc<Zeroizing<Vec<u8>>>);

/// Bytes of one object, opened chunk by chunk.
pub struct SealedFile {
    sealed: Sealed,
    object: String,
    bytes: u64,
    blobs: Vec<Digest>,
    /// The chunk that was opened last: who reads on needs it again.
    last: Mutex<Option<Opened>>,
    /// Whether a chunk could not be had or opened: what a reader of the file then says of it is not the file's fault.
    failed: AtomicBool,
}

impl SealedFile {
    /// Length in bytes.
    pub fn len(&self) -> u64 {
        self.bytes
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Whether a chunk could not be had or opened.
    pub(crate) fn failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    fn chunk(&self, number: usize) -> Result<Arc<Zeroizing<Vec<u8>>>, DepositError> {
        self.opened(number).inspect_err(|_| self.failed.store(true, Ordering::Relaxed))
    }

    fn opened(&self, number: usize) -> Result<Arc<Zeroizing<Vec<u8>>>, DepositError> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((own, bytes)) = &*last
            && *own == number
        {
            return Ok(Arc::clone(bytes));
        }
        let blob = self.blobs.get(number).ok_or(DepositError::Sealed)?;
        let context = self.sealed.context(&self.object, number as u64);
        let bytes =
            open(&self.sealed.key, &context, &self.sealed.blobs.get(blob)?).map_err(|_| DepositError::Sealed)?;
        let bytes = Arc::new(bytes);
        *last = Some((number, Arc::clone(&bytes)));
        Ok(bytes)
    }

    /// The bytes of a range, which is cut where the file ends. Blocks.
    ///
    /// # Errors
    /// [`DepositError::Sealed`], [`DepositError::Blobs`].
    pub fn read(&self, range: Range<u64>) -> Result<Vec<u8>, DepositError> {
        let range = range.start.min(self.bytes)..range.end.min(self.bytes);
        let mut out = Vec::with_capacity(usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(0));
        let mut at = range.start;
        while at < range.end {
            let number = at / CHUNK_BYTES;
            let chunk = self.chunk(usize::try_from(number).unwrap_or(usize::MAX))?;
            let from = usize::try_from(at - number * CHUNK_BYTES).unwrap_or(usize::MAX);
            let wanted = usize::try_from(range.end - at).unwrap_or(usize::MAX);
            let piece = chunk.get(from..).ok_or(DepositError::Sealed)?;
            let piece = &piece[..piece.len().min(wanted)];
            if piece.is_empty() {
                return Err(DepositError::Sealed);
            }
            out.extend_from_slice(piece);
            at += piece.len() as u64;
        }
        Ok(out)
    }
}

impl wire::Source for SealedFile {
    fn read(&self, sha256: &Digest, range: Range<u64>) -> Result<Bytes, HubError> {
        let unreadable = |source: DepositError| match source {
            DepositError::Blobs(BlobError::Missing { .. }) => HubError::Missing { sha256: *sha256 },
            source => HubError::Unreadable { sha256: *sha256, source: Box::new(source) },
        };
        Ok(Bytes::from(Self::read(self, range).map_err(unreadable)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_range_comes_back_and_nothing_lies_in_the_clear() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = BlobStore::open(folder.path()).unwrap();
        let sealed = Sealed::new(blobs.clone(), Key::generate().unwrap(), "datasets/lab/cohort");
        let length = 2 * CHUNK_BYTES + 12_345;
        let content: Vec<u8> = (0..length).map(|at| u8::try_from(at * at % 251).unwrap()).collect();
        let object = Digest::of(&content).to_string();
        let mut writer = sealed.writer(&object, 0, length);
        for piece in content.chunks(1_000_003) {
            writer.write(piece).unwrap();
        }
        let (writer, written) = writer.finish().unwrap();
        writer.keep();
        assert_eq!((written.sha256.to_string(), written.blobs.len(), written.bytes), (object.clone(), 3, length));
        assert_eq!(written.git_oid, acequia_gate::ReleasedFile::of("x", &content).git_oid);
        for blob in &written.blobs {
            let bytes = blobs.get(blob).unwrap();
            assert!(!bytes.windows(32).any(|window| window == &content[..32]));
        }
        let mut stored = StoredObject {
            deposit: "datasets/lab/cohort".to_owned(),
            object,
            part: 0,
            bytes: length,
            tag: String::new(),
            at: acequia_types::Timestamp::from_unix_s(0),
            blobs: written.blobs,
        };
        let file = sealed.file(&stored);
        for range in [0..length, 0..1, CHUNK_BYTES - 1..CHUNK_BYTES + 1, length - 7..length + 100, length..length + 1] {
            let end = range.end.min(length);
            let expected = &content[usize::try_from(range.start).unwrap()..usize::try_from(end).unwrap()];
            assert_eq!(file.read(range).unwrap(), expected);
        }
        stored.blobs.swap(0, 1);
        assert!(matches!(sealed.file(&stored).read(0..1), Err(DepositError::Sealed)), "a chunk elsewhere");
    }

    #[test]
    fn what_is_not_kept_goes() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = BlobStore::open(folder.path()).unwrap();
        let sealed = Sealed::new(blobs.clone(), Key::generate().unwrap(), "datasets/lab/cohort");
        let mut writer = sealed.writer("x", 0, 5);
        writer.write(b"abc").unwrap();
        assert!(matches!(writer.finish(), Err(DepositError::Damaged)), "too short");
        let mut writer = sealed.writer("x", 0, 2);
        assert!(matches!(writer.write(b"abc"), Err(DepositError::Damaged)), "too long");
        let mut writer = sealed.writer("x", 0, 3);
        writer.write(b"abc").unwrap();
        drop(writer.finish().unwrap());
        assert!(blobs.list().unwrap().is_empty());
    }
}
