//! Single files: read within limits, written whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::BlobError;
use crate::error::io;

/// Reads a file of at most `limit_bytes`. `label` names it in errors.
///
/// # Errors
/// [`BlobError::Io`], [`BlobError::TooLarge`].
pub fn read_file(path: &Path, label: &str, limit_bytes: u64) -> Result<Vec<u8>, BlobError> {
    let file = File::open(path).map_err(io(label, "read"))?;
    let expected = file.metadata().map_err(io(label, "read"))?.len();
    let mut bytes = Vec::with_capacity(usize::try_from(expected.min(limit_bytes)).unwrap_or(0));
    file.take(limit_bytes + 1).read_to_end(&mut bytes).map_err(io(label, "read"))?;
    if bytes.len() as u64 > limit_bytes {
        return Err(BlobError::TooLarge { what: label.to_owned(), limit_bytes });
    }
    Ok(bytes)
}

/// Makes a folder, if it is not there, and lets nobody but the owner into it. `label` names it in errors.
///
/// # Errors
/// [`BlobError::Io`].
pub fn make_private(folder: &Path, label: &str) -> Result<(), BlobError> {
    fs::create_dir_all(folder).map_err(io(label, "written"))?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).map_err(io(label, "written"))?;
    }
    Ok(())
}

/// Writes `bytes` beside `path`, syncs, renames over `path`, syncs the folder. Readable by the owner only.
///
/// # Errors
/// [`BlobError::Io`]; the old file, if any, is then untouched.
pub fn write_file_atomically(path: &Path, bytes: &[u8]) -> Result<(), BlobError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let aside = folder.join(aside_name());
    let written =
        write_synced(&aside, bytes).and_then(|()| fs::rename(&aside, path)).and_then(|()| sync_folder(folder));
    written.map_err(|error| {
        let _ = fs::remove_file(&aside);
        io("a file of the node", "written")(error)
    })
}

/// Lets `fill` write a file beside `path`, syncs, renames over `path`, syncs the folder: for files larger than memory
/// should hold. Readable by the owner only. `fill` gets the file at its beginning and may seek in it.
///
/// # Errors
/// Those of `fill`; [`BlobError::Io`]. The old file, if any, is then untouched.
pub fn write_stream_atomically<T, E: From<BlobError>>(
    path: &Path,
    fill: impl FnOnce(&mut File) -> Result<T, E>,
) -> Result<T, E> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let aside = folder.join(aside_name());
    let failed = |error| E::from(io("a file", "written")(error));
    let mut file = create_private(&aside).map_err(failed)?;
    let filled = fill(&mut file).and_then(|filled| {
        let written = file.sync_all().and_then(|()| fs::rename(&aside, path)).and_then(|()| sync_folder(folder));
        written.map_err(failed)?;
        Ok(filled)
    });
    if filled.is_err() {
        let _ = fs::remove_file(&aside);
    }
    filled
}

/// A folder for files that are needed for a while only, such as the runs of a sort.
#[derive(Debug, Clone)]
pub struct ScratchFolder(std::path::PathBuf);

impl ScratchFolder {
    /// Scratch files in this folder, which exists.
    pub fn new(folder: &Path) -> Self {
        Self(folder.to_owned())
    }

    /// An empty file, readable by the owner only, that vanishes when it is closed or the program dies. (Where an open file
    /// cannot be unlinked it stays until the folder is cleared.)
    ///
    /// # Errors
    /// What the operating system says.
    pub fn file(&self) -> std::io::Result<File> {
        let path = self.0.join(aside_name());
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt;
            options.mode(0o600);
        }
        let file = options.open(&path)?;
        let _ = fs::remove_file(&path);
        Ok(file)
    }
}

/// Prefix of files that are not whole yet.
const ASIDE: &str = ".aside-";

/// Removes files of a folder that interrupted work left aside. Only while nobody else writes there. Returns how many.
///
/// # Errors
/// [`BlobError::Io`].
pub fn sweep_aside(folder: &Path) -> Result<u64, BlobError> {
    let mut swept = 0;
    for entry in fs::read_dir(folder).map_err(io("a folder of the node", "read"))? {
        let entry = entry.map_err(io("a folder of the node", "read"))?;
        if entry.file_name().to_string_lossy().starts_with(ASIDE) {
            fs::remove_file(entry.path()).map_err(io("a folder of the node", "written"))?;
            swept += 1;
        }
    }
    Ok(swept)
}

/// A name that no other thread and no other process uses.
pub(crate) fn aside_name() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{ASIDE}{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

pub(crate) fn create_private(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    options.open(path)
}

pub(crate) fn write_synced(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = create_private(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

pub(crate) fn sync_folder(folder: &Path) -> std::io::Result<()> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    #[cfg(unix)]
    File::open(folder)?.sync_all()?;
    let _ = folder;
    Ok(())
}
