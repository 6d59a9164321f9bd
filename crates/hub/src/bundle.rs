//! A whole version as one file that can be fetched in pieces and resumed: a tar archive (POSIX.1-1988, ustar) of all
//! files, the checksums and the RO-Crate.
//!
//! Nothing is stored: sizes are known from the manifest, so the place of every byte of the archive is, and any range of it
//! is put together from the files when it is asked for. Same version, same address: same bytes.

use acequia_types::Digest;
use bytes::Bytes;

use crate::PublishedVersion;
use crate::body::Part;
use crate::catalogue::MANIFEST;

/// Archives are made of blocks of this size.
const BLOCK_BYTES: u64 = 512;
/// Longest name and prefix of an entry.
const NAME_BYTES: usize = 100;
const PREFIX_BYTES: usize = 155;

/// An archive as it is to be put together.
#[derive(Debug)]
pub(crate) struct Bundle {
    pub(crate) parts: Vec<Part>,
    /// Length of the archive.
    pub(crate) size_bytes: u64,
    /// Tells archives apart; without quotes.
    pub(crate) etag: String,
    /// Name of the file.
    pub(crate) name: String,
}

impl Bundle {
    /// The archive of a version with documents that are computed. `None` when a path is too long for the format.
    pub(crate) fn of(version: &PublishedVersion, computed: &[(&str, Bytes)]) -> Option<Self> {
        let manifest = version.manifest();
        let folder = format!("{}-{}", manifest.dataset.to_string().rsplit('/').next()?, manifest.version);
        let modified_s = u64::try_from(version.published_at().unix_s()).unwrap_or_default();
        let mut parts = Vec::new();
        let mut etag = version.digest().to_string();
        let mut add = |path: &str, part: Part| -> Option<()> {
            let bytes = part.len();
            parts.push(Part::Bytes(header(&format!("{folder}/{path}"), bytes, modified_s)?));
            parts.push(part);
            let padding = bytes.next_multiple_of(BLOCK_BYTES) - bytes;
            parts.push(Part::Bytes(Bytes::from(vec![0; usize::try_from(padding).ok()?])));
            Some(())
        };
        for (path, file) in version.files() {
            let part = match path.as_str() {
                MANIFEST => Part::Bytes(version.manifest_bytes().clone()),
                _ => Part::File { sha256: file.sha256, bytes: file.bytes },
            };
            add(path, part)?;
        }
        for (path, bytes) in computed.iter().filter(|(path, _)| !version.files().contains_key(*path)) {
            etag.push_str(&Digest::of(bytes).to_string());
            add(path, Part::Bytes(bytes.clone()))?;
        }
        // Two empty blocks end an archive.
        parts.push(Part::Bytes(Bytes::from(vec![0; 2 * BLOCK_BYTES as usize])));
        let size_bytes = parts.iter().map(Part::len).sum();
        Some(Self { parts, size_bytes, etag: Digest::of(etag.as_bytes()).to_string(), name: format!("{folder}.tar") })
    }
}

/// The header of an entry: a plain file that everybody may read.
fn header(path: &str, bytes: u64, modified_s: u64) -> Option<Bytes> {
    let (prefix, name) = match path.len() {
        ..=NAME_BYTES => ("", path),
        _ => path
            .char_indices()
            .filter(|(_, c)| *c == '/')
            .map(|(at, _)| (&path[..at], &path[at + 1..]))
            .find(|(prefix, name)| prefix.len() <= PREFIX_BYTES && !name.is_empty() && name.len() <= NAME_BYTES)?,
    };
    // Eleven octal digits.
    if bytes >= 1 << 33 {
        return None;
    }
    let mut block = [0_u8; BLOCK_BYTES as usize];
    let mut put = |at: usize, text: &str| block[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000644\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{bytes:011o}\0"));
    put(136, &format!("{modified_s:011o}\0"));
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\0");
    put(263, "00");
    put(345, prefix);
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    Some(Bytes::copy_from_slice(&block))
}
