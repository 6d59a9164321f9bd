//! The hashes of Xet, all BLAKE3 with a key that says what is hashed (specification, "Hashing").

use std::io::Write as _;

use crate::XetError;

/// Key of the hash of a chunk's bytes (specification, "Chunk Hashes").
const CHUNK_KEY: [u8; 32] = [
    102, 151, 245, 119, 91, 149, 80, 222, 49, 53, 203, 172, 165, 151, 24, 28, 157, 228, 33, 16, 155, 235, 43, 88, 180,
    208, 176, 75, 147, 173, 242, 41,
];

/// Key of the nodes above the chunks (specification, "Xorb Hashes").
const NODE_KEY: [u8; 32] = [
    1, 126, 197, 199, 165, 71, 41, 150, 253, 148, 102, 102, 180, 138, 2, 230, 93, 221, 83, 111, 55, 199, 109, 210, 248,
    99, 82, 230, 74, 83, 113, 63,
];

/// Key of what proves a segment (specification, "Term Verification Hashes").
const RANGE_KEY: [u8; 32] = [
    127, 24, 87, 214, 206, 86, 237, 102, 18, 127, 249, 19, 231, 165, 195, 243, 164, 205, 38, 213, 181, 219, 73, 230,
    65, 36, 152, 127, 40, 251, 148, 195,
];

/// A hash of Xet: of a chunk, a xorb, a file or a segment.
///
/// It prints as four little-endian words of 64 bits, so not in the order of its bytes (specification, "Converting Hashes to
/// Strings").
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct XetHash([u8; 32]);

impl XetHash {
    /// The hash of a file without content.
    pub const ZERO: Self = Self([0; 32]);

    /// Wraps the bytes of a hash, as they lie in xorbs and shards.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes, as they lie in xorbs and shards.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Reads what addresses have: 64 lower-case hex digits.
    ///
    /// # Errors
    /// [`XetError::HashText`] for any other text.
    pub fn parse(text: &str) -> Result<Self, XetError> {
        let mut bytes = [0; 32];
        let lower = !text.bytes().any(|byte| byte.is_ascii_uppercase());
        if !lower || hex::decode_to_slice(text, &mut bytes).is_err() {
            return Err(XetError::HashText);
        }
        Ok(Self(words_reversed(bytes)))
    }

    /// The last of the four words, which decides where nodes of the tree are cut.
    fn cuts(&self) -> bool {
        self.0[24].is_multiple_of(4)
    }
}

/// The other order of bytes: that of the text for that of the hash, and back.
pub(super) fn words_reversed(mut bytes: [u8; 32]) -> [u8; 32] {
    for word in bytes.as_chunks_mut::<8>().0 {
        word.reverse();
    }
    bytes
}

impl std::fmt::Display for XetHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut text = [0; 64];
        self.write_hex(&mut text);
        f.write_str(std::str::from_utf8(&text).map_err(|_| std::fmt::Error)?)
    }
}

impl XetHash {
    fn write_hex(&self, text: &mut [u8; 64]) {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        for (pair, byte) in text.as_chunks_mut::<2>().0.iter_mut().zip(words_reversed(self.0)) {
            *pair = [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]];
        }
    }
}

impl std::fmt::Debug for XetHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "XetHash({self})")
    }
}

/// Hash of a chunk's unpacked bytes: BLAKE3 with the key for data (specification, "Chunk Hashes").
pub fn chunk_hash(bytes: &[u8]) -> XetHash {
    XetHash(*blake3::keyed_hash(&CHUNK_KEY, bytes).as_bytes())
}

/// Hash of a chunk whose bytes come one after the other.
#[derive(Debug, Clone)]
pub(super) struct ChunkHasher(blake3::Hasher);

impl Default for ChunkHasher {
    fn default() -> Self {
        Self(blake3::Hasher::new_keyed(&CHUNK_KEY))
    }
}

impl ChunkHasher {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The hash of what came; the next chunk begins.
    pub(super) fn take(&mut self) -> XetHash {
        let hash = XetHash(*self.0.finalize().as_bytes());
        self.0.reset();
        hash
    }
}

/// Hash of a run of chunks of a xorb, which only who has them can compute (specification, "Term Verification Hashes").
#[derive(Debug, Clone)]
pub struct RangeHasher(blake3::Hasher);

impl Default for RangeHasher {
    fn default() -> Self {
        Self(blake3::Hasher::new_keyed(&RANGE_KEY))
    }
}

impl RangeHasher {
    /// The next chunk.
    pub fn push(&mut self, chunk: &XetHash) {
        self.0.update(&chunk.0);
    }

    /// The hash of all of them.
    pub fn finish(&self) -> XetHash {
        XetHash(*self.0.finalize().as_bytes())
    }
}

/// Nodes below a node are at most this many.
const MOST: usize = 9;
/// Nodes below a node that its last one cuts are at least this many.
const LEAST: usize = 3;

/// The tree above a run of chunks (specification, "Xorb Hashes"), grown as they come: a few nodes of each height are kept, so that a
/// file of any length takes no more memory than a short one.
///
/// A node ends after the ninth node below it, or after the third or a later one whose hash is divisible by four.
#[derive(Debug, Clone, Default)]
pub struct Merkle {
    levels: Vec<Level>,
}

#[derive(Debug, Clone, Default)]
struct Level {
    /// Nodes without one above them yet.
    open: Vec<(XetHash, u64)>,
    /// Whether there were more than the first.
    many: bool,
}

impl Merkle {
    /// The next chunk and its unpacked bytes.
    pub fn push(&mut self, chunk: XetHash, bytes: u32) {
        self.push_at(0, (chunk, u64::from(bytes)));
    }

    fn push_at(&mut self, mut height: usize, mut node: (XetHash, u64)) {
        loop {
            if self.levels.len() == height {
                self.levels.push(Level::default());
            }
            let level = &mut self.levels[height];
            level.many |= !level.open.is_empty();
            level.open.push(node);
            let full = level.open.len() == MOST || (level.open.len() >= LEAST && node.0.cuts());
            if !full {
                return;
            }
            node = above(&level.open);
            level.open.clear();
            height += 1;
        }
    }

    /// Hash of a xorb of these chunks: the root. Without a chunk it is [`XetHash::ZERO`].
    pub fn xorb_hash(mut self) -> XetHash {
        let mut height = 0;
        while let Some(level) = self.levels.get_mut(height) {
            match level.open.as_slice() {
                [(root, _)] if !level.many => return *root,
                [] => (),
                _ => {
                    let node = above(&level.open);
                    level.open.clear();
                    self.push_at(height + 1, node);
                }
            }
            height += 1;
        }
        XetHash::ZERO
    }

    /// Hash of a file of these chunks: the root, hashed once more with the key of zeros (specification, "File Hashes"). A file
    /// without a chunk has [`XetHash::ZERO`].
    pub fn file_hash(self) -> XetHash {
        if self.levels.is_empty() {
            return XetHash::ZERO;
        }
        XetHash(*blake3::keyed_hash(&[0; 32], &self.xorb_hash().0).as_bytes())
    }
}

/// The node above some: a line with the hash and the bytes of each is hashed.
fn above(nodes: &[(XetHash, u64)]) -> (XetHash, u64) {
    // A line is 64 digits, " : ", at most 20 digits and the end of the line.
    let mut lines = [0; MOST * 88];
    let mut rest = &mut lines[..];
    let mut bytes = 0;
    for (hash, length) in nodes {
        bytes += length;
        let mut text = [0; 64];
        hash.write_hex(&mut text);
        let written = rest.write_all(&text).and_then(|()| writeln!(rest, " : {length}"));
        written.expect("nine lines have room");
    }
    let unused = rest.len();
    let lines = &lines[..lines.len() - unused];
    (XetHash(*blake3::keyed_hash(&NODE_KEY, lines).as_bytes()), bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_print_as_words() {
        let hash = XetHash(std::array::from_fn(|at| u8::try_from(at).unwrap()));
        let text = "07060504030201000f0e0d0c0b0a0908171615141312111f1e1d1c1b1a1918";
        // The specification's example, whose third word lacks a digit pair there.
        assert_eq!(hash.to_string(), format!("{}10{}", &text[..46], &text[46..]));
        assert_eq!(XetHash::parse(&hash.to_string()), Ok(hash));
        for wrong in
            ["", "07", &hash.to_string().to_uppercase(), &format!("{hash}0"), &hash.to_string().replace('0', "g")]
        {
            assert_eq!(XetHash::parse(wrong), Err(XetError::HashText), "{wrong}");
        }
    }

    /// The tree as the specification tells it: a whole row after the other.
    fn by_rows(chunks: &[(XetHash, u64)]) -> XetHash {
        let mut row = chunks.to_vec();
        while row.len() > 1 {
            let mut next = Vec::new();
            let mut from = 0;
            while from < row.len() {
                let last = (from + 2..row.len()).find(|at| row[*at].0.cuts() || at - from == 8);
                let to = last.map_or(row.len(), |at| at + 1);
                next.push(above(&row[from..to]));
                from = to;
            }
            row = next;
        }
        row.first().map_or(XetHash::ZERO, |(hash, _)| *hash)
    }

    #[test]
    fn a_tree_grown_is_the_tree_by_rows() {
        for seed in 0..40_u32 {
            for count in (0..60).chain([300, 1000]) {
                let chunk = |n: u32| {
                    // Now and then only few different ones, so that none or every one cuts.
                    let n = if seed < 8 { n % (seed + 1) } else { n };
                    (chunk_hash(&[seed.to_le_bytes(), n.to_le_bytes()].concat()), u64::from(n) + 1)
                };
                let chunks: Vec<_> = (0..count).map(chunk).collect();
                let mut merkle = Merkle::default();
                chunks.iter().for_each(|(hash, bytes)| merkle.push(*hash, u32::try_from(*bytes).unwrap()));
                assert!(merkle.levels.iter().all(|level| level.open.len() < MOST));
                assert_eq!(merkle.xorb_hash(), by_rows(&chunks), "{seed} {count}");
            }
        }
    }
}
