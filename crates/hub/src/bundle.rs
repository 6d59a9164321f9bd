//! A whole version as one file that can be fetched in pieces and resumed: a tar archive (ustar) of all files, the checksums
//! and the RO-Crate. What a header of ustar cannot hold, a long path or 8 GiB and more, stands in an extended header before
//! it (pax, POSIX.1-2001).
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
/// Longest file of an entry without an extended header: eleven octal digits.
const MOST_BYTES: u64 = (1 << 33) - 1;

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
    /// The archive of a version with documents that are computed.
    pub(crate) fn of(version: &PublishedVersion, computed: &[(&str, Bytes)]) -> Self {
        let manifest = version.manifest();
        let folder = format!("{}-{}", manifest.dataset.name(), manifest.version);
        let modified_s = u64::try_from(version.published_at().unix_s()).unwrap_or_default().min(MOST_BYTES);
        let mut parts = Vec::new();
        let mut etag = version.digest().to_string();
        let mut add = |path: &str, part: Part| {
            let padding = padding(part.len());
            parts.push(Part::Bytes(headers(&format!("{folder}/{path}"), part.len(), modified_s)));
            parts.extend([part, Part::Bytes(padding)]);
        };
        for (path, file) in version.files() {
            let part = match path.as_str() {
                MANIFEST => Part::Bytes(version.manifest_bytes().clone()),
                _ => Part::File { sha256: file.sha256, bytes: file.bytes },
            };
            add(path, part);
        }
        for (path, bytes) in computed.iter().filter(|(path, _)| !version.files().contains_key(*path)) {
            etag.push_str(&Digest::of(bytes).to_string());
            add(path, Part::Bytes(bytes.clone()));
        }
        // Two empty blocks end an archive.
        parts.push(Part::Bytes(Bytes::from(vec![0; 2 * BLOCK_BYTES as usize])));
        let size_bytes = parts.iter().map(Part::len).sum();
        Self { parts, size_bytes, etag: Digest::of(etag.as_bytes()).to_string(), name: format!("{folder}.tar") }
    }
}

/// What fills the last block of an entry.
fn padding(bytes: u64) -> Bytes {
    // Less than a block.
    Bytes::from(vec![0; (bytes.next_multiple_of(BLOCK_BYTES) - bytes) as usize])
}

/// What stands before the bytes of a file: its header, and an extended one where that does not hold everything.
fn headers(path: &str, bytes: u64, modified_s: u64) -> Bytes {
    let parted = parted(path);
    let mut records = String::new();
    if parted.is_none() {
        records.push_str(&record("path", path));
    }
    if bytes > MOST_BYTES {
        records.push_str(&record("size", &bytes.to_string()));
    }
    // Who does not know extended headers shows the beginning of a long path.
    let short = path.char_indices().take_while(|(at, c)| at + c.len_utf8() <= NAME_BYTES).last();
    let short = short.map_or("", |(at, c)| &path[..at + c.len_utf8()]);
    let own = header(parted.unwrap_or(("", short)), bytes.min(MOST_BYTES), modified_s, "0");
    if records.is_empty() {
        return Bytes::copy_from_slice(&own);
    }
    let length = records.len() as u64;
    let extended = header(("", "pax"), length, modified_s, "x");
    [extended.as_slice(), records.as_bytes(), &padding(length), &own].concat().into()
}

/// A record of an extended header: its own length in decimal, which counts itself, a name and a value.
fn record(name: &str, value: &str) -> String {
    let rest = format!(" {name}={value}\n");
    let mut length = rest.len();
    while length != rest.len() + length.to_string().len() {
        length = rest.len() + length.to_string().len();
    }
    format!("{length}{rest}")
}

/// A path as the prefix and the name of a header; `None` when it is too long for them.
fn parted(path: &str) -> Option<(&str, &str)> {
    if path.len() <= NAME_BYTES {
        return Some(("", path));
    }
    let mut cuts = path.match_indices('/').map(|(at, _)| (&path[..at], &path[at + 1..]));
    cuts.find(|(prefix, name)| prefix.len() <= PREFIX_BYTES && !name.is_empty() && name.len() <= NAME_BYTES)
}

/// The header of an entry that everybody may read; `kind` is that of a file or of an extended header.
fn header((prefix, name): (&str, &str), bytes: u64, modified_s: u64, kind: &str) -> [u8; BLOCK_BYTES as usize] {
    let mut block = [0_u8; BLOCK_BYTES as usize];
    let mut put = |at: usize, text: &str| block[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000644\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{bytes:011o}\0"));
    put(136, &format!("{modified_s:011o}\0"));
    put(148, "        ");
    put(156, kind);
    put(257, "ustar\0");
    put(263, "00");
    put(345, prefix);
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}
