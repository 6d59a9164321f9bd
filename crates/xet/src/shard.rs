//! A shard: of which chunks of which xorbs files are made (specification, "MDB Shard File Format").
//!
//! Nothing of it is copied: everything is a record of 48 bytes, and files and segments are views of their records.

use std::ops::Range;

use acequia_types::Digest;

use crate::hash::words_reversed;
use crate::xorb::place;
use crate::{MAX_CHUNK_BYTES, MAX_XORB_CHUNKS, Merkle, Part, XetError, XetHash, XorbIndex};

/// Most bytes of a shard. Clients begin another one at 64 MiB of records; lookup tables of older ones come on top.
pub const MAX_SHARD_BYTES: u64 = 72 * 1024 * 1024;

type Record = [u8; RECORD_BYTES];
/// Header, bookends and every entry have this length.
const RECORD_BYTES: usize = 48;
const FOOTER_BYTES: usize = 200;
const TAG: [u8; 32] = [
    b'H', b'F', b'R', b'e', b'p', b'o', b'M', b'e', b't', b'a', b'D', b'a', b't', b'a', 0, 85, 105, 103, 69, 106, 123,
    129, 87, 131, 165, 189, 217, 92, 205, 209, 74, 169,
];
/// Flag of a file whose segments are proven.
const VERIFIED: u32 = 1 << 31;
/// Flag of a file with a record of its SHA-256.
const WITH_SHA256: u32 = 1 << 30;

/// Chunks that a file of no bytes may have, and bytes for each further one. A chunk has 8 KiB at least, but for the last of a file;
/// what is much finer only keeps whoever checks it busy.
const FREE_CHUNKS: u64 = 1024;
const BYTES_PER_CHUNK: u64 = 1024;

/// A shard that follows the format. What it says about xorbs holds only once [`File::check`] has looked.
#[derive(Debug, Clone)]
pub struct Shard<'a> {
    files: Vec<File<'a>>,
    xorbs: Vec<ShardXorb<'a>>,
}

impl<'a> Shard<'a> {
    /// Reads an uploaded shard.
    ///
    /// # Errors
    /// The first place where the bytes do not follow the format, exceed a limit or contradict themselves.
    pub fn read(bytes: &'a [u8]) -> Result<Self, XetError> {
        if place(bytes.len()) > MAX_SHARD_BYTES {
            return Err(XetError::TooLarge { what: "the length of a shard in bytes", limit: MAX_SHARD_BYTES });
        }
        let mut reader = Reader { records: bytes.as_chunks().0, at: 0 };
        let header = reader.next()?;
        if header[..32] != TAG {
            return malformed(0, "this is no shard");
        }
        if long(header, 32) != 2 {
            return malformed(32, "the version of the shard is unknown");
        }
        let states_footer = match long(header, 40) {
            0 => false,
            200 => true,
            _ => return malformed(40, "the footer has another length than footers have"),
        };
        let mut files = Vec::new();
        while let Some(head) = reader.head()? {
            files.push(File::read(&mut reader, head, number(files.len()))?);
        }
        let files_end = reader.place();
        let mut xorbs = Vec::new();
        while let Some(head) = reader.head()? {
            xorbs.push(ShardXorb::read(&mut reader, head, number(xorbs.len()))?);
        }
        let rest = &bytes[reader.at * RECORD_BYTES..];
        if !rest.is_empty() {
            if !states_footer {
                return Err(XetError::Trailing { part: Part::Shard, at: reader.place() });
            }
            check_footer(rest, files_end, reader.place())?;
        }
        Ok(Self { files, xorbs })
    }

    /// The files, in order.
    pub fn files(&self) -> &[File<'a>] {
        &self.files
    }

    /// The xorbs that the shard describes: the new ones. Files may be made of others too.
    pub fn xorbs(&self) -> &[ShardXorb<'a>] {
        &self.xorbs
    }
}

const fn malformed<T>(at: u64, problem: &'static str) -> Result<T, XetError> {
    Err(XetError::Malformed { part: Part::Shard, at, problem })
}

fn number(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// The records in order.
struct Reader<'a> {
    records: &'a [Record],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Where the next record begins.
    fn place(&self) -> u64 {
        place(self.at * RECORD_BYTES)
    }

    fn next(&mut self) -> Result<&'a Record, XetError> {
        let [record] = self.take(1)? else { return Err(XetError::Cut { part: Part::Shard, at: self.place() }) };
        Ok(record)
    }

    fn take(&mut self, count: u32) -> Result<&'a [Record], XetError> {
        let end = usize::try_from(count).ok().and_then(|count| self.at.checked_add(count));
        let records = end.and_then(|end| self.records.get(self.at..end));
        let records = records.ok_or(XetError::Cut { part: Part::Shard, at: self.place() })?;
        self.at += records.len();
        Ok(records)
    }

    /// The first record of a file or xorb, or nothing at the bookend that closes them.
    fn head(&mut self) -> Result<Option<&'a Record>, XetError> {
        let at = self.place();
        let record = self.next()?;
        if record[..32] != [0xff; 32] {
            return Ok(Some(record));
        }
        if record[32..] != [0; 16] {
            return malformed(at + 32, "the record that closes a section has something in it");
        }
        Ok(None)
    }
}

fn hash(record: &Record) -> XetHash {
    XetHash::from_bytes(*record.first_chunk().unwrap_or(&[0; 32]))
}

fn word(record: &Record, at: usize) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|n| record[at + n]))
}

fn long(record: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|n| record[at + n]))
}

/// Checks what follows the xorbs in shards of some clients: three tables for looking up, which say nothing new and are passed over, and the
/// footer, which says where everything lies (specification, "Footer"; the tables' lengths are in its reserved bytes).
fn check_footer(rest: &[u8], xorbs_at: u64, tables_at: u64) -> Result<(), XetError> {
    let cut = XetError::Cut { part: Part::Shard, at: tables_at };
    let length = rest.len().checked_sub(FOOTER_BYTES).ok_or(cut)?;
    let (tables, footer) = rest.split_at(length);
    let at = tables_at + place(tables.len());
    let mut expected = vec![(0, 1), (8, place(RECORD_BYTES)), (16, xorbs_at)];
    let mut next = tables_at;
    for (field, entry_bytes) in [(24, 12), (40, 12), (56, 16)] {
        let count = long(footer, field + 8);
        // The JavaScript client has no tables, and zeros here.
        if count > 0 {
            expected.push((field, next));
        }
        let bytes = count.checked_mul(entry_bytes).and_then(|bytes| next.checked_add(bytes));
        let Some(end) = bytes else { return malformed(at + place(field) + 8, "a table is longer than the shard") };
        next = end;
    }
    expected.extend([(192, next), (192, at)]);
    // A key would mean that the hashes above are not the chunks'.
    expected.extend([72, 80, 88, 96].map(|field| (field, 0)));
    for (field, expected) in expected {
        if long(footer, field) != expected {
            return malformed(at + place(field), "the footer contradicts the shard, or is of another version");
        }
    }
    Ok(())
}

/// A file of a shard.
#[derive(Debug, Clone, Copy)]
pub struct File<'a> {
    pub(super) number: u32,
    hash: XetHash,
    segments: &'a [Record],
    proofs: &'a [Record],
    sha256: Option<&'a Record>,
    bytes: u64,
}

/// A run of chunks of one xorb, of which a file is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// The xorb.
    pub xorb: XetHash,
    /// Which of its chunks.
    pub chunks: Range<u32>,
    /// Their unpacked bytes, as the shard states them.
    pub bytes: u32,
    /// What proves that the sender knows the chunks, as the shard states it.
    pub(super) proof: XetHash,
}

impl<'a> File<'a> {
    fn read(reader: &mut Reader<'a>, head: &'a Record, number: u32) -> Result<Self, XetError> {
        let at = reader.place() - place(RECORD_BYTES);
        let (flags, count) = (word(head, 32), word(head, 36));
        if flags & !(VERIFIED | WITH_SHA256) != 0 {
            return malformed(at + 32, "a file has flags that are unknown");
        }
        if flags & VERIFIED == 0 {
            return Err(XetError::Unverified { file: number });
        }
        let segments_at = reader.place();
        let (segments, proofs) = (reader.take(count)?, reader.take(count)?);
        let sha256 = if flags & WITH_SHA256 == 0 { None } else { Some(reader.next()?) };
        let (mut bytes, mut chunks) = (0, 0);
        for (n, record) in segments.iter().enumerate() {
            let at = segments_at + place(n * RECORD_BYTES);
            let [flags, length, start, end] = [32, 36, 40, 44].map(|field| word(record, field));
            if flags != 0 {
                return malformed(at + 32, "a segment has flags that are unknown");
            }
            if start >= end || end > MAX_XORB_CHUNKS {
                return malformed(at + 40, "a segment has no chunks, or more than a xorb has");
            }
            // A chunk has a byte at least.
            if length < end - start || u64::from(length) > u64::from(end - start) * u64::from(MAX_CHUNK_BYTES) {
                return malformed(at + 36, "a segment has fewer or more bytes than its chunks can have");
            }
            bytes += u64::from(length);
            chunks += u64::from(end - start);
        }
        let limit = FREE_CHUNKS + bytes / BYTES_PER_CHUNK;
        if chunks > limit {
            return Err(XetError::TooLarge { what: "the number of chunks of a file of this length", limit });
        }
        Ok(Self { number, hash: hash(head), segments, proofs, sha256, bytes })
    }

    /// Its hash. Two files of a shard may have the same.
    pub fn hash(&self) -> XetHash {
        self.hash
    }

    /// Its length, as the shard states it.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The SHA-256 of its content, as the shard states it. Whoever rebuilds the file compares.
    pub fn sha256(&self) -> Option<Digest> {
        // `hf_xet` 1.1.3 writes zeros for a file without content.
        let stated = self.sha256.map(hash).filter(|stated| *stated != XetHash::ZERO);
        // Clients write it as if it were a hash of Xet that they read from hex digits.
        stated.map(|stated| Digest::from_bytes(words_reversed(*stated.as_bytes())))
    }

    /// What it is made of, in order.
    pub fn segments(&self) -> impl ExactSizeIterator<Item = Segment> + use<'a> {
        self.segments.iter().zip(self.proofs).map(|(record, proof)| Segment::read(record, proof))
    }

    /// One of its segments.
    pub(super) fn segment(&self, n: u32) -> Option<Segment> {
        let n = usize::try_from(n).ok()?;
        Some(Segment::read(self.segments.get(n)?, self.proofs.get(n)?))
    }
}

impl Segment {
    fn read(record: &Record, proof: &Record) -> Self {
        Self {
            xorb: hash(record),
            chunks: word(record, 40)..word(record, 44),
            bytes: word(record, 36),
            proof: hash(proof),
        }
    }
}

/// What a shard says about a xorb. Its chunks have the xorb's hash; whether the xorb was uploaded is another matter.
#[derive(Debug, Clone, Copy)]
pub struct ShardXorb<'a> {
    hash: XetHash,
    chunks: &'a [Record],
    bytes: u32,
}

impl<'a> ShardXorb<'a> {
    fn read(reader: &mut Reader<'a>, head: &'a Record, number: u32) -> Result<Self, XetError> {
        let at = reader.place() - place(RECORD_BYTES);
        let contradicts = |at, problem| Err(XetError::ShardXorb { xorb: number, at, problem });
        let [flags, count, bytes] = [32, 36, 40].map(|field| word(head, field));
        if flags != 0 {
            return malformed(at + 32, "a xorb has flags that are unknown");
        }
        if count > MAX_XORB_CHUNKS {
            let limit = u64::from(MAX_XORB_CHUNKS);
            return Err(XetError::TooLarge { what: "the number of chunks of a xorb", limit });
        }
        let xorb = Self { hash: hash(head), chunks: reader.take(count)?, bytes };
        let mut merkle = Merkle::default();
        let mut end = 0;
        for (n, record) in xorb.chunks.iter().enumerate() {
            let at = at + place((n + 1) * RECORD_BYTES);
            let [start, length] = [32, 36].map(|field| word(record, field));
            if start != end {
                return contradicts(at + 32, "a chunk begins where the one before does not end");
            }
            if !(1..=MAX_CHUNK_BYTES).contains(&length) {
                return contradicts(at + 36, "a chunk is empty or longer than chunks are");
            }
            // 65,536 of the longest chunks have more bytes than the word can say.
            let Some(next) = end.checked_add(length) else {
                return contradicts(at + 36, "the chunks have more bytes than a xorb");
            };
            end = next;
            merkle.push(hash(record), length);
        }
        if end != bytes {
            return contradicts(at + 40, "the chunks do not have the bytes of the xorb");
        }
        if merkle.xorb_hash() != xorb.hash {
            return contradicts(at, "the chunks do not have the hash of the xorb");
        }
        Ok(xorb)
    }

    /// The xorb's hash.
    pub fn hash(&self) -> XetHash {
        self.hash
    }

    /// Unpacked bytes of all chunks.
    pub fn bytes(&self) -> u32 {
        self.bytes
    }

    /// Hash and unpacked bytes of its chunks, in order.
    pub fn chunks(&self) -> impl ExactSizeIterator<Item = (XetHash, u32)> + use<'a> {
        self.chunks.iter().map(|record| (hash(record), word(record, 36)))
    }

    /// Whether this is the xorb that was uploaded.
    pub fn describes(&self, index: &XorbIndex) -> bool {
        self.hash == *index.hash()
            && self.chunks().eq(index.chunks().iter().map(|chunk| (*chunk.hash(), chunk.bytes())))
    }
}
