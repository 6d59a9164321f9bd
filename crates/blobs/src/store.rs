//! The folder of content-addressed files.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use acequia_types::Digest;
use bytes::Bytes;

use crate::BlobError;
use crate::error::io;
use crate::files::{aside_name, make_private, sweep_aside, sync_folder, write_synced};

/// Files by content address: `<folder>/ab/abcdef…`. Cheap to clone.
#[derive(Debug, Clone)]
pub struct BlobStore {
    folder: Arc<PathBuf>,
}

const WHAT: &str = "a blob of the node";

impl BlobStore {
    /// Opens the folder, making it where it is missing.
    ///
    /// # Errors
    /// [`BlobError::Io`].
    pub fn open(folder: &Path) -> Result<Self, BlobError> {
        make_private(folder, "the node's folder")?;
        fs::create_dir_all(folder.join("aside")).map_err(io(WHAT, "written"))?;
        Ok(Self { folder: Arc::new(folder.to_owned()) })
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        let name = digest.to_string();
        self.folder.join(&name[..2]).join(name)
    }

    /// Stores bytes and returns their address. Storing the same bytes again does nothing.
    ///
    /// # Errors
    /// [`BlobError::Io`].
    pub fn put(&self, bytes: &[u8]) -> Result<Digest, BlobError> {
        let digest = Digest::of(bytes);
        let target = self.path(&digest);
        // A file that was damaged since is written anew.
        if fs::metadata(&target).is_ok_and(|found| found.len() == bytes.len() as u64)
            && fs::read(&target).is_ok_and(|found| found == bytes)
        {
            return Ok(digest);
        }
        let written = || io(WHAT, "written");
        let parent = target.parent().unwrap_or(&self.folder);
        if !parent.exists() {
            fs::create_dir_all(parent).map_err(written())?;
            sync_folder(&self.folder).map_err(written())?;
        }
        let aside = self.folder.join("aside").join(aside_name());
        write_synced(&aside, bytes)
            .and_then(|()| fs::rename(&aside, &target))
            .and_then(|()| sync_folder(parent))
            .map_err(|error| {
                let _ = fs::remove_file(&aside);
                written()(error)
            })?;
        Ok(digest)
    }

    /// The bytes under an address, checked against it.
    ///
    /// # Errors
    /// [`BlobError::Missing`], [`BlobError::Damaged`], [`BlobError::Io`].
    pub fn get(&self, digest: &Digest) -> Result<Bytes, BlobError> {
        let bytes = fs::read(self.path(digest)).map_err(|error| self.missing(digest, error))?;
        if Digest::of(&bytes) == *digest { Ok(Bytes::from(bytes)) } else { Err(BlobError::Damaged { digest: *digest }) }
    }

    /// Some of the bytes under an address, not checked against it.
    ///
    /// # Errors
    /// [`BlobError::Missing`], [`BlobError::Range`], [`BlobError::Io`].
    pub fn read_range(&self, digest: &Digest, range: Range<u64>) -> Result<Bytes, BlobError> {
        let outside = || BlobError::Range { digest: *digest };
        let wanted = range.end.checked_sub(range.start).ok_or_else(outside)?;
        let mut file = File::open(self.path(digest)).map_err(|error| self.missing(digest, error))?;
        file.seek(SeekFrom::Start(range.start)).map_err(io(WHAT, "read"))?;
        let mut bytes = Vec::with_capacity(usize::try_from(wanted).map_err(|_| outside())?);
        file.take(wanted).read_to_end(&mut bytes).map_err(io(WHAT, "read"))?;
        if bytes.len() as u64 == wanted { Ok(Bytes::from(bytes)) } else { Err(outside()) }
    }

    /// Length in bytes, if there is anything.
    pub fn len_bytes(&self, digest: &Digest) -> Option<u64> {
        fs::metadata(self.path(digest)).ok().map(|found| found.len())
    }

    /// Whether there is anything under the address.
    pub fn contains(&self, digest: &Digest) -> bool {
        self.len_bytes(digest).is_some()
    }

    /// Removes what is under the address, if anything.
    ///
    /// # Errors
    /// [`BlobError::Io`].
    pub fn remove(&self, digest: &Digest) -> Result<(), BlobError> {
        match fs::remove_file(self.path(digest)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(io(WHAT, "written")(error)),
            _ => Ok(()),
        }
    }

    /// Every address, in order.
    ///
    /// # Errors
    /// [`BlobError::Io`].
    pub fn list(&self) -> Result<Vec<Digest>, BlobError> {
        let read = || io(WHAT, "read");
        let mut found = Vec::new();
        for shard in fs::read_dir(&*self.folder).map_err(read())? {
            let shard = shard.map_err(read())?;
            if shard.file_name().len() != 2 {
                continue;
            }
            for file in fs::read_dir(shard.path()).map_err(read())? {
                let name = file.map_err(read())?.file_name();
                found.extend(name.to_str().and_then(|name| Digest::parse(name).ok()));
            }
        }
        found.sort();
        Ok(found)
    }

    /// Reads everything and returns the addresses whose bytes are other bytes.
    ///
    /// # Errors
    /// [`BlobError::Io`].
    pub fn check_all(&self) -> Result<Vec<Digest>, BlobError> {
        Ok(self.list()?.into_iter().filter(|digest| self.get(digest).is_err()).collect())
    }

    /// Removes files that interrupted work left aside. Only while no other command writes. Returns how many.
    ///
    /// # Errors
    /// [`BlobError::Io`].
    pub fn sweep(&self) -> Result<u64, BlobError> {
        sweep_aside(&self.folder.join("aside"))
    }

    fn missing(&self, digest: &Digest, error: std::io::Error) -> BlobError {
        if error.kind() == std::io::ErrorKind::NotFound {
            BlobError::Missing { digest: *digest }
        } else {
            io(WHAT, "read")(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, BlobStore) {
        let folder = tempfile::tempdir().unwrap();
        let store = BlobStore::open(folder.path()).unwrap();
        (folder, store)
    }

    #[test]
    fn bytes_come_back_and_damage_is_seen() {
        let (_folder, store) = store();
        let digest = store.put(b"some bytes").unwrap();
        assert_eq!(store.put(b"some bytes").unwrap(), digest);
        assert_eq!(&*store.get(&digest).unwrap(), b"some bytes");
        assert_eq!(&*store.read_range(&digest, 5..10).unwrap(), b"bytes");
        assert_eq!(store.read_range(&digest, 5..11), Err(BlobError::Range { digest }));
        assert_eq!(store.list().unwrap(), [digest]);
        std::fs::write(store.path(&digest), b"some bytez").unwrap();
        assert_eq!(store.get(&digest), Err(BlobError::Damaged { digest }));
        assert_eq!(store.check_all().unwrap(), [digest]);
        store.remove(&digest).unwrap();
        assert_eq!(store.get(&digest), Err(BlobError::Missing { digest }));
    }

    #[test]
    fn what_was_left_aside_is_no_blob_and_can_be_swept() {
        let (folder, store) = store();
        std::fs::write(folder.path().join("aside").join(".aside-1-1"), b"half").unwrap();
        assert!(store.list().unwrap().is_empty());
        assert_eq!(store.sweep(), Ok(1));
        assert_eq!(store.sweep(), Ok(0));
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_reads() {
        use std::os::unix::fs::PermissionsExt;
        let (folder, store) = store();
        let digest = store.put(b"x").unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(folder.path()), mode(&store.path(&digest))), (0o700, 0o600));
    }
}
