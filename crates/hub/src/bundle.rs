//! A whole version as one file that can be fetched in pieces and resumed: a tar archive (POSIX.1-1988, ustar) of all
//! files, the checksums and the RO-Crate.
//!
//! Nothing is stored: sizes are known from the manifest, so the place of every byte of the archive is, and any range of it
//! is put together from the files when it is asked for. Same version, same address: same bytes.

use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use acequia_types::{Coded, Digest};
use axum::body::{Body, HttpBody};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::task::JoinHandle;

use crate::body::{CHUNK_BYTES, read_piece};
use crate::catalogue::MANIFEST;
use crate::{Catalogue, HubError, PublishedVersion};

/// Archives are made of blocks of this size.
const BLOCK_BYTES: u64 = 512;
/// Longest name and prefix of an entry.
const NAME_BYTES: usize = 100;
const PREFIX_BYTES: usize = 155;

/// A part of the archive.
#[derive(Debug, Clone)]
enum Part {
    Bytes(Bytes),
    /// A file of the store.
    File {
        sha256: Digest,
        bytes: u64,
    },
}

impl Part {
    fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File { bytes, .. } => *bytes,
        }
    }
}

/// An archive as it is to be put together.
#[derive(Debug)]
pub(crate) struct Bundle {
    parts: Vec<Part>,
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

    /// The bytes `range` of the archive.
    pub(crate) fn body(self, catalogue: &Arc<dyn Catalogue>, range: Range<u64>) -> Body {
        let mut start = 0;
        let mut wanted = Vec::new();
        for part in self.parts {
            let own = start..start + part.len();
            start = own.end;
            let (from, to) = (range.start.max(own.start), range.end.min(own.end));
            if from < to {
                wanted.push((part, from - own.start..to - own.start));
            }
        }
        wanted.reverse();
        let remaining_bytes = range.end - range.start;
        Body::new(Pieces { catalogue: catalogue.clone(), wanted, remaining_bytes, reading: None })
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

/// Parts of the archive, the last first, with what is wanted of each.
struct Pieces {
    catalogue: Arc<dyn Catalogue>,
    wanted: Vec<(Part, Range<u64>)>,
    remaining_bytes: u64,
    reading: Option<JoinHandle<Result<Bytes, HubError>>>,
}

impl Pieces {
    fn send(&mut self, piece: Bytes) -> Poll<Option<Result<Frame<Bytes>, HubError>>> {
        self.remaining_bytes -= piece.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }
}

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = HubError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, HubError>>> {
        let this = &mut *self;
        if this.reading.is_none() {
            match this.wanted.pop() {
                None => return Poll::Ready(None),
                Some((Part::Bytes(bytes), range)) => {
                    let at = |place: u64| usize::try_from(place).unwrap_or(usize::MAX);
                    return this.send(bytes.slice(at(range.start)..at(range.end)));
                }
                Some((Part::File { sha256, bytes }, range)) => {
                    let end = range.end.min(range.start + CHUNK_BYTES);
                    if end < range.end {
                        this.wanted.push((Part::File { sha256, bytes }, end..range.end));
                    }
                    let piece = read_piece(this.catalogue.clone(), sha256, range.start..end);
                    this.reading = Some(tokio::spawn(piece));
                }
            }
        }
        let Some(reading) = &mut this.reading else { return Poll::Ready(None) };
        let read = ready!(Pin::new(reading).poll(cx));
        this.reading = None;
        match read {
            Ok(Ok(piece)) => this.send(piece),
            Ok(Err(error)) => {
                tracing::error!(code = error.code(), "a download was broken off: {error}");
                Poll::Ready(Some(Err(error)))
            }
            // The runtime is going down.
            Err(_) => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.remaining_bytes == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining_bytes)
    }
}
