//! A xorb: chunks one after the other, and in uploads of older clients a footer (specification, "Xorb Format").

use std::ops::Range;

use crate::chunk::{HEADER_BYTES, Header};
use crate::{Chunk, Merkle, Part, Unpacker, XetError, XetHash, chunk_hash};

/// Most bytes of a xorb. The specification's limit is 64 MiB; clients count unpacked bytes up to it, so that headers and a footer may come
/// on top.
pub const MAX_XORB_BYTES: u64 = 68 * 1024 * 1024;
/// Most chunks of a xorb: eight times what the reference client makes (specification, "Collecting Chunks"), so that an index has few MiB.
pub const MAX_XORB_CHUNKS: u32 = 65_536;
/// Most unpacked bytes of a xorb: what 8,192 of the longest chunks have. The reference client stops at 64 MiB; without a limit 68 MiB could
/// unpack to 17 GB.
pub const MAX_UNPACKED_BYTES: u64 = 1024 * 1024 * 1024;

const FOOTER: &[u8; 7] = b"XETBLOB";

/// A length as a place in an upload.
pub(super) fn place(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

/// What is in a xorb that was read: where each chunk lies and what its hash is. It fits the bytes that were read, so keep these as they
/// came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct XorbIndex {
    hash: XetHash,
    chunks: Vec<Chunk>,
    bytes: u64,
}

impl XorbIndex {
    /// The xorb's hash.
    pub fn hash(&self) -> &XetHash {
        &self.hash
    }

    /// Its chunks, in order.
    pub fn chunks(&self) -> &[Chunk] {
        &self.chunks
    }

    /// Chunks `range`, if there are that many.
    pub fn range(&self, range: &Range<u32>) -> Option<&[Chunk]> {
        self.chunks.get(usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?)
    }

    /// Unpacked bytes of all chunks.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// Reads a xorb as it arrives, in pieces of any length. It keeps less than a MiB and, for each chunk, 52 bytes and 40 of a footer.
#[derive(Debug, Clone, Default)]
pub struct XorbReader {
    /// Where `pending`, or what comes next, begins.
    at: u64,
    /// The beginning of a chunk, or of the footer.
    pending: Vec<u8>,
    in_footer: bool,
    chunks: Vec<Chunk>,
    bytes: u64,
    merkle: Merkle,
    unpacker: Unpacker,
}

impl XorbReader {
    /// Takes the next bytes, and calls `each` with the chunks that are whole then and what they unpack to.
    ///
    /// # Errors
    /// The first place where the bytes do not follow the format or exceed a limit, or what `each` says. The xorb is of no use then.
    pub fn feed<E: From<XetError>>(
        &mut self,
        mut bytes: &[u8],
        mut each: impl FnMut(&Chunk, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.at + place(self.pending.len()) + place(bytes.len()) > MAX_XORB_BYTES {
            return Err(XetError::TooLarge { what: "the length of a xorb in bytes", limit: MAX_XORB_BYTES }.into());
        }
        loop {
            if self.in_footer {
                let most = footer_bytes(self.chunks.len());
                if self.pending.len() + bytes.len() > most {
                    return Err(XetError::Trailing { part: Part::Xorb, at: self.at + place(most) }.into());
                }
                self.pending.extend_from_slice(bytes);
                return Ok(());
            }
            // A chunk that is here whole is not copied first.
            let Some(header) = first_chunk(&self.pending, bytes) else {
                self.pending.extend_from_slice(bytes);
                return Ok(());
            };
            if header.starts_with(FOOTER) {
                self.in_footer = true;
                continue;
            }
            let header = Header::read(header, self.at)?;
            let length = usize::try_from(HEADER_BYTES + header.packed_bytes).unwrap_or(usize::MAX);
            let missing = length - self.pending.len();
            let Some((now, later)) = bytes.split_at_checked(missing) else {
                self.pending.extend_from_slice(bytes);
                return Ok(());
            };
            bytes = later;
            if self.pending.is_empty() {
                self.chunk(header, now, &mut each)?;
            } else {
                let mut pending = std::mem::take(&mut self.pending);
                pending.extend_from_slice(now);
                self.chunk(header, &pending, &mut each)?;
                pending.clear();
                self.pending = pending;
            }
            self.at += place(length);
        }
    }

    fn chunk<E: From<XetError>>(
        &mut self,
        header: Header,
        stored: &[u8],
        each: &mut impl FnMut(&Chunk, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let number = u32::try_from(self.chunks.len()).unwrap_or(u32::MAX);
        if number >= MAX_XORB_CHUNKS {
            return Err(XetError::TooLarge {
                what: "the number of chunks of a xorb",
                limit: u64::from(MAX_XORB_CHUNKS),
            }
            .into());
        }
        self.bytes += u64::from(header.bytes);
        if self.bytes > MAX_UNPACKED_BYTES {
            let what = "the length of an unpacked xorb in bytes";
            return Err(XetError::TooLarge { what, limit: MAX_UNPACKED_BYTES }.into());
        }
        let (_, packed) = stored.split_at(8);
        let content = self.unpacker.unpack(&header, packed).ok_or(XetError::Packed { chunk: number, at: self.at })?;
        let hash = chunk_hash(content);
        self.merkle.push(hash, header.bytes);
        let at = u32::try_from(self.at).unwrap_or(u32::MAX);
        let chunk = Chunk { number, at, header, hash };
        self.chunks.push(chunk);
        each(&chunk, content)
    }

    /// Ends the xorb, whose address has the hash `expected`.
    ///
    /// # Errors
    /// When it is not whole, its footer contradicts its chunks, or its hash is another one.
    pub fn finish(self, expected: &XetHash) -> Result<XorbIndex, XetError> {
        if self.chunks.is_empty() || (!self.in_footer && !self.pending.is_empty()) {
            return Err(XetError::Cut { part: Part::Xorb, at: self.at });
        }
        let Self { at, pending, in_footer, chunks, bytes, merkle, .. } = self;
        let hash = merkle.xorb_hash();
        if in_footer {
            check_footer(&pending, at, &footer(&hash, &chunks))?;
        }
        if hash != *expected {
            return Err(XetError::XorbHash);
        }
        Ok(XorbIndex { hash, chunks, bytes })
    }
}

/// The first eight bytes of two parts.
fn first_chunk(before: &[u8], after: &[u8]) -> Option<[u8; 8]> {
    let mut header = [0; 8];
    let mut all = before.iter().chain(after);
    header.iter_mut().all(|byte| all.next().map(|next| *byte = *next).is_some()).then_some(header)
}

/// Bytes of a footer that nothing follows from: a number drawn by the client, and reserved ones.
const UNUSED_BYTES: usize = 16;

/// Length of the footer of a xorb of so many chunks.
const fn footer_bytes(chunks: usize) -> usize {
    96 + 40 * chunks
}

/// The footer that a xorb of these chunks has (specification, "Xorb Footer"; its version is 1), and its length.
fn footer(hash: &XetHash, chunks: &[Chunk]) -> Vec<u8> {
    let word = |length: usize| u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
    let mut footer = Vec::with_capacity(footer_bytes(chunks.len()));
    footer.extend_from_slice(FOOTER);
    footer.push(1);
    footer.extend_from_slice(hash.as_bytes());
    let hashes = footer.len();
    footer.extend_from_slice(b"XBLBHSH\0");
    footer.extend_from_slice(&word(chunks.len()));
    chunks.iter().for_each(|chunk| footer.extend_from_slice(chunk.hash.as_bytes()));
    let boundaries = footer.len();
    footer.extend_from_slice(b"XBLBBND\x01");
    footer.extend_from_slice(&word(chunks.len()));
    for chunk in chunks {
        footer.extend_from_slice(&(chunk.at + HEADER_BYTES + chunk.header.packed_bytes).to_le_bytes());
    }
    let mut end = 0;
    for chunk in chunks {
        end += chunk.header.bytes;
        footer.extend_from_slice(&end.to_le_bytes());
    }
    let length = footer.len() + 12 + UNUSED_BYTES;
    footer.extend_from_slice(&word(chunks.len()));
    footer.extend_from_slice(&word(length - hashes));
    footer.extend_from_slice(&word(length - boundaries));
    footer.extend_from_slice(&[0; UNUSED_BYTES]);
    footer.extend_from_slice(&word(length));
    footer
}

/// Compares the footer that lies at byte `at` with the one that fits the chunks.
fn check_footer(found: &[u8], at: u64, expected: &[u8]) -> Result<(), XetError> {
    let unused = expected.len() - 4 - UNUSED_BYTES..expected.len() - 4;
    let differs = |(n, (found, expected)): (usize, (&u8, &u8))| found != expected && !unused.contains(&n);
    if let Some(n) = found.iter().zip(expected).enumerate().position(differs) {
        let problem = "the footer contradicts the chunks, or is of another version";
        return Err(XetError::Malformed { part: Part::Xorb, at: at + place(n), problem });
    }
    // A longer one was refused when it arrived.
    if found.len() == expected.len() { Ok(()) } else { Err(XetError::Cut { part: Part::Xorb, at }) }
}

/// A xorb whose bytes are all here.
#[derive(Debug, Clone)]
pub struct Xorb<'a> {
    bytes: &'a [u8],
    index: XorbIndex,
}

impl<'a> Xorb<'a> {
    /// Reads a xorb that was uploaded under the hash `expected`: unpacks and hashes every chunk.
    ///
    /// # Errors
    /// The first place where the bytes do not follow the format or exceed a limit, or that their hash is another one.
    pub fn read(bytes: &'a [u8], expected: &XetHash) -> Result<Self, XetError> {
        let mut reader = XorbReader::default();
        reader.feed(bytes, |_, _| Ok::<(), XetError>(()))?;
        Ok(Self { bytes, index: reader.finish(expected)? })
    }

    /// What is in it.
    pub fn index(&self) -> &XorbIndex {
        &self.index
    }

    /// What is in it, for keeping beside the bytes.
    pub fn into_index(self) -> XorbIndex {
        self.index
    }

    /// The content of chunks `range`, one after the other. Nothing if there are not that many.
    pub fn chunks(&self, range: &Range<u32>) -> Option<Chunks<'_>> {
        let chunks = self.index.range(range)?.iter();
        Some(Chunks { bytes: self.bytes, chunks, unpacker: Unpacker::default() })
    }
}

/// The content of some chunks of a xorb, unpacked one by one.
#[derive(Debug)]
pub struct Chunks<'a> {
    bytes: &'a [u8],
    chunks: std::slice::Iter<'a, Chunk>,
    unpacker: Unpacker,
}

impl Chunks<'_> {
    /// The next chunk and its content.
    ///
    /// # Errors
    /// None that a xorb that was read brings.
    #[expect(
        clippy::should_implement_trait,
        reason = "what it gives is gone with the next call, which an iterator cannot say"
    )]
    pub fn next(&mut self) -> Result<Option<(&Chunk, &[u8])>, XetError> {
        let Some(chunk) = self.chunks.next() else { return Ok(None) };
        let range = chunk.range();
        let place = |place: u64| usize::try_from(place).unwrap_or(usize::MAX);
        let stored = self.bytes.get(place(range.start)..place(range.end)).unwrap_or_default();
        Ok(Some((chunk, chunk.unpack(stored, &mut self.unpacker)?)))
    }
}
