//! A file as it lies, told as xorbs.
//!
//! The file's own hash is the one that every client computes. Which chunks lie in a xorb is up to who stores them: here it is a run of chunks of
//! the file, cut by the chunks' hashes as chunks are cut by bytes. So a xorb depends on what is in it and on nothing else: versions of a file share
//! those that did not change, no list of what is stored elsewhere is needed, and who may read a file may read each of its xorbs whole.

use crate::chunk::HEADER_BYTES;
use crate::hash::{ChunkHasher, XetHash};
use crate::{Cutter, MAX_CHUNK_BYTES, Merkle};

/// Least chunks of a xorb that is not the last of its file.
const LEAST_CHUNKS: u16 = 4;
/// Most chunks of a xorb: at most 2 MiB, which are put together in memory.
pub const MOST_CHUNKS: u16 = 16;
/// One chunk in so many ends a xorb.
const ENDS: u8 = 8;
/// What plans begin with where they are kept.
const FORM: &[u8; 16] = b"acequia-xet/1\n\0\0";
const ENTRY_BYTES: usize = 32 + 4 + 2;
const HEAD_BYTES: usize = 16 + 32 + 8;

/// A xorb of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Planned {
    hash: XetHash,
    at: u64,
    bytes: u32,
    chunks: u16,
}

impl Planned {
    /// Its hash.
    pub fn hash(&self) -> &XetHash {
        &self.hash
    }

    /// Its first byte in the file.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// Bytes of the file that are in it.
    pub fn bytes(&self) -> u32 {
        self.bytes
    }

    /// Its chunks.
    pub fn chunks(&self) -> u16 {
        self.chunks
    }

    /// Bytes of the xorb itself: its chunks are not packed, and have a header each.
    pub fn stored_bytes(&self) -> u64 {
        u64::from(self.bytes) + u64::from(HEADER_BYTES) * u64::from(self.chunks)
    }

    /// Puts the xorb together from its bytes of the file. Nothing when they are others than those that were planned with.
    pub fn compose(&self, content: &[u8]) -> Option<Vec<u8>> {
        if u64::from(self.bytes) != u64::try_from(content.len()).ok()? {
            return None;
        }
        let mut xorb = Vec::with_capacity(usize::try_from(self.stored_bytes()).ok()?);
        let (mut cutter, mut merkle, mut rest) = (Cutter::default(), Merkle::default(), content);
        while !rest.is_empty() {
            let (chunk, after) = rest.split_at(cutter.take(rest).0);
            rest = after;
            let length = u32::try_from(chunk.len()).ok()?;
            merkle.push(crate::chunk_hash(chunk), length);
            let [a, b, c, _] = length.to_le_bytes();
            xorb.extend_from_slice(&[0, a, b, c, 0, a, b, c]);
            xorb.extend_from_slice(chunk);
        }
        (merkle.xorb_hash() == self.hash).then_some(xorb)
    }
}

/// Of which xorbs a file is made, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    hash: XetHash,
    bytes: u64,
    xorbs: Vec<Planned>,
}

impl Plan {
    /// The file's hash, which every client computes.
    pub fn hash(&self) -> &XetHash {
        &self.hash
    }

    /// The file's length.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Its xorbs. One that occurs twice is there twice.
    pub fn xorbs(&self) -> &[Planned] {
        &self.xorbs
    }

    /// The number of the xorb that byte `at` of the file is in.
    pub fn number_at(&self, at: u64) -> Option<usize> {
        (at < self.bytes).then(|| self.xorbs.partition_point(|xorb| xorb.at <= at).saturating_sub(1))
    }

    /// The plan as it is kept, with a digest at its end.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut kept = Vec::with_capacity(HEAD_BYTES + self.xorbs.len() * ENTRY_BYTES + 32);
        kept.extend_from_slice(FORM);
        kept.extend_from_slice(self.hash.as_bytes());
        kept.extend_from_slice(&self.bytes.to_le_bytes());
        for xorb in &self.xorbs {
            kept.extend_from_slice(xorb.hash.as_bytes());
            kept.extend_from_slice(&xorb.bytes.to_le_bytes());
            kept.extend_from_slice(&xorb.chunks.to_le_bytes());
        }
        let digest = blake3::hash(&kept);
        kept.extend_from_slice(digest.as_bytes());
        kept
    }

    /// Reads [`Plan::to_bytes`]. Nothing when it is damaged or of another form: it can be made anew.
    pub fn from_bytes(kept: &[u8]) -> Option<Self> {
        let (kept, digest) = kept.split_last_chunk::<32>()?;
        if blake3::hash(kept) != *digest {
            return None;
        }
        let (form, rest) = kept.split_first_chunk::<16>()?;
        let (hash, rest) = rest.split_first_chunk::<32>()?;
        let (bytes, rest) = rest.split_first_chunk::<8>()?;
        let (entries, over) = rest.as_chunks::<ENTRY_BYTES>();
        if form != FORM || !over.is_empty() {
            return None;
        }
        let mut at = 0_u64;
        let mut xorbs = Vec::with_capacity(entries.len());
        for entry in entries {
            let (hash, rest) = entry.split_first_chunk::<32>()?;
            let (length, chunks) = rest.split_first_chunk::<4>()?;
            let (length, chunks) = (u32::from_le_bytes(*length), u16::from_le_bytes(*chunks.first_chunk()?));
            let fits = (1..=MOST_CHUNKS).contains(&chunks) && length > 0;
            if !fits || length > MAX_CHUNK_BYTES * u32::from(chunks) {
                return None;
            }
            xorbs.push(Planned { hash: XetHash::from_bytes(*hash), at, bytes: length, chunks });
            at = at.checked_add(u64::from(length))?;
        }
        let bytes = u64::from_le_bytes(*bytes);
        (at == bytes).then_some(Self { hash: XetHash::from_bytes(*hash), bytes, xorbs })
    }
}

/// Plans a file while its bytes come by. It keeps 48 bytes for each xorb, of 700 KB on average.
#[derive(Debug, Clone, Default)]
pub struct Planner {
    cutter: Cutter,
    chunk: ChunkHasher,
    chunk_bytes: u32,
    file: Merkle,
    xorb: Merkle,
    xorb_bytes: u32,
    xorb_chunks: u16,
    bytes: u64,
    xorbs: Vec<Planned>,
}

impl Planner {
    /// The next bytes of the file.
    pub fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (taken, ends) = self.cutter.take(bytes);
            let (now, rest) = bytes.split_at(taken);
            bytes = rest;
            self.chunk.push(now);
            self.chunk_bytes += u32::try_from(taken).unwrap_or(MAX_CHUNK_BYTES);
            if ends {
                self.end_chunk();
            }
        }
    }

    fn end_chunk(&mut self) {
        let (hash, bytes) = (self.chunk.take(), std::mem::take(&mut self.chunk_bytes));
        self.file.push(hash, bytes);
        self.xorb.push(hash, bytes);
        self.xorb_bytes += bytes;
        self.xorb_chunks += 1;
        let may_end = self.xorb_chunks >= LEAST_CHUNKS && hash.as_bytes()[0].is_multiple_of(ENDS);
        if may_end || self.xorb_chunks == MOST_CHUNKS {
            self.end_xorb();
        }
    }

    fn end_xorb(&mut self) {
        let hash = std::mem::take(&mut self.xorb).xorb_hash();
        let (bytes, chunks) = (std::mem::take(&mut self.xorb_bytes), std::mem::take(&mut self.xorb_chunks));
        self.xorbs.push(Planned { hash, at: self.bytes, bytes, chunks });
        self.bytes += u64::from(bytes);
    }

    /// The plan of what came.
    pub fn finish(mut self) -> Plan {
        if self.chunk_bytes > 0 {
            self.end_chunk();
        }
        if self.xorb_chunks > 0 {
            self.end_xorb();
        }
        Plan { hash: self.file.file_hash(), bytes: self.bytes, xorbs: self.xorbs }
    }
}
