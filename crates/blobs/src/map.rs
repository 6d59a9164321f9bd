//! Files mapped into memory: gigabytes that are opened in no time and read only where they are asked.

use std::fs::File;
use std::path::Path;

use memmap2::Mmap;

use crate::BlobError;
use crate::error::io;

/// The bytes of a file, in place.
#[derive(Debug)]
pub struct MappedFile {
    /// `None` for an empty file, which cannot be mapped.
    map: Option<Mmap>,
}

impl AsRef<[u8]> for MappedFile {
    fn as_ref(&self) -> &[u8] {
        self.map.as_deref().unwrap_or_default()
    }
}

/// Maps a file that nobody changes while it is mapped: one that this program wrote aside and renamed, which is how every
/// file of [`crate::write_file_atomically`] and [`crate::write_stream_atomically`] comes to be. A new version is another
/// file under the same name; the mapped one stays as it is until it is dropped. `label` names it in errors.
///
/// # Errors
/// [`BlobError::Io`].
pub fn map_file(path: &Path, label: &str) -> Result<MappedFile, BlobError> {
    let file = File::open(path).map_err(io(label, "read"))?;
    if file.metadata().map_err(io(label, "read"))?.len() == 0 {
        return Ok(MappedFile { map: None });
    }
    #[expect(unsafe_code, reason = "there is no other way to map a file; the condition is stated below")]
    // SAFETY: the mapping is sound as long as no process writes to the file or cuts it off. Ours never do: files are
    // renamed over, not written to. Whoever else can write to the folder of the owner can as well replace the program.
    // Readers treat the bytes as hostile anyway: a change under them gives a wrong answer, no panic of theirs.
    let map = unsafe { Mmap::map(&file) }.map_err(io(label, "read"))?;
    Ok(MappedFile { map: Some(map) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ScratchFolder, write_file_atomically, write_stream_atomically};
    use std::io::{Read, Seek, SeekFrom, Write};

    #[test]
    fn a_mapped_file_keeps_its_bytes_when_another_takes_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        write_file_atomically(&path, b"first").unwrap();
        let mapped = map_file(&path, "a file").unwrap();
        write_file_atomically(&path, b"second, longer").unwrap();
        assert_eq!(mapped.as_ref(), b"first");
        assert_eq!(map_file(&path, "a file").unwrap().as_ref(), b"second, longer");
        write_file_atomically(&path, b"").unwrap();
        assert_eq!(map_file(&path, "a file").unwrap().as_ref(), b"");
        assert!(map_file(&folder.path().join("none"), "a file").is_err());
    }

    #[test]
    fn a_stream_replaces_the_file_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        write_stream_atomically::<_, BlobError>(&path, |file| {
            file.write_all(b"xxxx done").unwrap();
            file.seek(SeekFrom::Start(0)).unwrap();
            file.write_all(b"well").unwrap();
            Ok(())
        })
        .unwrap();
        let failed = write_stream_atomically::<(), _>(&path, |file| {
            file.write_all(b"half").unwrap();
            Err(BlobError::NoRandomness)
        });
        assert_eq!(failed, Err(BlobError::NoRandomness));
        assert_eq!(std::fs::read(&path).unwrap(), b"well done");
        let mut scratch = ScratchFolder::new(folder.path()).file().unwrap();
        scratch.write_all(b"runs").unwrap();
        scratch.seek(SeekFrom::Start(0)).unwrap();
        let mut text = String::new();
        scratch.read_to_string(&mut text).unwrap();
        assert_eq!(text, "runs");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "scratch and failed files are gone");
    }
}
