//! Blobs as files of a folder.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use acequia_types::{Digest, DigestWriter};
use bytes::Bytes;

use crate::BlobError;
use crate::error::io;
use crate::files::{aside_name, create_private, make_private, sweep_aside, sync_folder, write_synced};
use crate::source::{Source, size_of};
use crate::store::{Trial, Tried};

const WHAT: &str = "a blob of the node";

/// Bytes that are moved at a time.
const MOVED_BYTES: u64 = 1024 * 1024;

/// `<folder>/ab/abcdef…`.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn open(folder: &Path) -> Result<Self, BlobError> {
        make_private(folder, "the node's folder")?;
        fs::create_dir_all(folder.join("aside")).map_err(io(WHAT, "written"))?;
        Ok(Self(folder.to_owned()))
    }

    pub(crate) fn place(&self) -> String {
        self.0.display().to_string()
    }

    pub(crate) fn path(&self, digest: &Digest) -> PathBuf {
        let name = digest.to_string();
        self.0.join(&name[..2]).join(name)
    }

    pub(crate) fn put(&self, digest: &Digest, bytes: &[u8]) -> Result<(), BlobError> {
        let target = self.path(digest);
        // A file that was damaged since is written anew.
        if fs::metadata(&target).is_ok_and(|found| found.len() == bytes.len() as u64)
            && fs::read(&target).is_ok_and(|found| found == bytes)
        {
            return Ok(());
        }
        self.place_file(&target, |aside| write_synced(aside, bytes).map_err(io(WHAT, "written")))
    }

    /// Stores what a source gives, if it is what the address says.
    pub(crate) fn put_from(&self, digest: &Digest, source: &mut dyn Source) -> Result<(), BlobError> {
        self.place_file(&self.path(digest), |aside| {
            let mut file = create_private(aside).map_err(io(WHAT, "written"))?;
            let mut found = DigestWriter::default();
            loop {
                let piece = source.take(MOVED_BYTES)?;
                if piece.is_empty() {
                    break;
                }
                found.write_all(&piece).and_then(|()| file.write_all(&piece)).map_err(io(WHAT, "written"))?;
            }
            if found.finish() != *digest {
                return Err(BlobError::Damaged { digest: *digest });
            }
            file.sync_all().map_err(io(WHAT, "written"))
        })
    }

    /// Lets `write` make a file aside, and gives it its name.
    fn place_file(&self, target: &Path, write: impl FnOnce(&Path) -> Result<(), BlobError>) -> Result<(), BlobError> {
        let written = || io(WHAT, "written");
        let parent = target.parent().unwrap_or(&self.0);
        if !parent.exists() {
            fs::create_dir_all(parent).map_err(written())?;
            sync_folder(&self.0).map_err(written())?;
        }
        let aside = self.0.join("aside").join(aside_name());
        let placed = write(&aside).and_then(|()| {
            fs::rename(&aside, target).and_then(|()| sync_folder(parent)).map_err(written())?;
            Ok(())
        });
        if placed.is_err() {
            let _ = fs::remove_file(&aside);
        }
        placed
    }

    pub(crate) fn get(&self, digest: &Digest) -> Result<Bytes, BlobError> {
        fs::read(self.path(digest)).map(Bytes::from).map_err(|error| missing(digest, error))
    }

    pub(crate) fn read_range(&self, digest: &Digest, range: Range<u64>) -> Result<Bytes, BlobError> {
        let outside = || BlobError::Range { digest: *digest };
        let wanted = range.end.checked_sub(range.start).ok_or_else(outside)?;
        let mut file = File::open(self.path(digest)).map_err(|error| missing(digest, error))?;
        file.seek(SeekFrom::Start(range.start)).map_err(io(WHAT, "read"))?;
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(size_of(wanted)).map_err(|_| outside())?;
        file.take(wanted).read_to_end(&mut bytes).map_err(io(WHAT, "read"))?;
        if bytes.len() as u64 == wanted { Ok(Bytes::from(bytes)) } else { Err(outside()) }
    }

    pub(crate) fn source(&self, digest: &Digest) -> Result<FileSource, BlobError> {
        let file = File::open(self.path(digest)).map_err(|error| missing(digest, error))?;
        let length_bytes = file.metadata().map_err(io(WHAT, "read"))?.len();
        Ok(FileSource { file, length_bytes })
    }

    pub(crate) fn len_bytes(&self, digest: &Digest) -> Result<Option<u64>, BlobError> {
        match fs::metadata(self.path(digest)) {
            Ok(found) => Ok(Some(found.len())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io(WHAT, "read")(error)),
        }
    }

    pub(crate) fn remove(&self, digest: &Digest) -> Result<(), BlobError> {
        match fs::remove_file(self.path(digest)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(io(WHAT, "written")(error)),
            _ => Ok(()),
        }
    }

    pub(crate) fn list(&self) -> Result<Vec<Digest>, BlobError> {
        let read = || io(WHAT, "read");
        let mut found = Vec::new();
        for shard in fs::read_dir(&self.0).map_err(read())? {
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

    pub(crate) fn sweep(&self) -> Result<u64, BlobError> {
        sweep_aside(&self.0.join("aside"))
    }

    pub(crate) fn try_out(&self, bytes: &[u8]) -> Result<(), Trial> {
        let path = self.0.join("aside").join(aside_name());
        write_synced(&path, bytes).map_err(io(WHAT, "written")).map_err(Tried::Written.failed())?;
        let found = fs::read(&path).map_err(io(WHAT, "read")).map_err(Tried::Read.failed())?;
        fs::remove_file(&path).map_err(io(WHAT, "removed")).map_err(Tried::Removed.failed())?;
        let kind = std::io::ErrorKind::InvalidData;
        let other = || BlobError::Io { what: WHAT.to_owned(), doing: "read", kind };
        if found == bytes { Ok(()) } else { Err(Tried::Read.failed()(other())) }
    }
}

fn missing(digest: &Digest, error: std::io::Error) -> BlobError {
    if error.kind() == std::io::ErrorKind::NotFound {
        BlobError::Missing { digest: *digest }
    } else {
        io(WHAT, "read")(error)
    }
}

/// A blob's file, from its beginning.
pub(crate) struct FileSource {
    file: File,
    length_bytes: u64,
}

impl Source for FileSource {
    fn length_bytes(&self) -> u64 {
        self.length_bytes
    }

    fn take(&mut self, most_bytes: u64) -> Result<Bytes, BlobError> {
        let mut bytes = Vec::with_capacity(size_of(most_bytes.min(self.length_bytes)));
        (&mut self.file).take(most_bytes).read_to_end(&mut bytes).map_err(io(WHAT, "read"))?;
        Ok(bytes.into())
    }
}
