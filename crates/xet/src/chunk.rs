//! A chunk of a xorb: its header, and how it is unpacked (specification, "Chunk Format").

use std::ops::Range;

use crate::xorb::place;
use crate::{Part, XetError, XetHash, chunk_hash, lz4};

/// Most unpacked bytes of a chunk (specification, "Chunk Header Structure").
pub const MAX_CHUNK_BYTES: u32 = 128 * 1024;
/// Most packed bytes of a chunk: as the reference takes it, twice the unpacked ones.
const MAX_PACKED_BYTES: u32 = 2 * MAX_CHUNK_BYTES;
/// Bytes of a chunk's header.
pub(super) const HEADER_BYTES: u32 = 8;

/// How a chunk is packed (specification, "Chunk Compression Schemes").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// As it is.
    Plain,
    /// A frame of LZ4.
    Lz4,
    /// First all first bytes of every four, then all second ones and so on, in a frame of LZ4; for tables of numbers.
    GroupedLz4,
}

/// What the header of a chunk says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) codec: Codec,
    pub(super) packed_bytes: u32,
    pub(super) bytes: u32,
}

impl Header {
    /// Reads the header at byte `at` of a xorb.
    pub(super) fn read(header: [u8; 8], at: u64) -> Result<Self, XetError> {
        let malformed = |problem| Err(XetError::Malformed { part: Part::Xorb, at, problem });
        let [version, a, b, c, codec, d, e, f] = header;
        let (packed_bytes, bytes) = (u32::from_le_bytes([a, b, c, 0]), u32::from_le_bytes([d, e, f, 0]));
        if version != 0 {
            return malformed("the version of the chunk's header is unknown");
        }
        let codec = match codec {
            0 => Codec::Plain,
            1 => Codec::Lz4,
            2 => Codec::GroupedLz4,
            _ => return malformed("the compression of the chunk is unknown"),
        };
        if bytes == 0 {
            return malformed("the chunk is empty");
        }
        if bytes > MAX_CHUNK_BYTES || packed_bytes > MAX_PACKED_BYTES {
            return malformed("the chunk is longer than chunks are");
        }
        if codec == Codec::Plain && packed_bytes != bytes {
            return malformed("the chunk is not packed, but states two lengths");
        }
        Ok(Self { codec, packed_bytes, bytes })
    }
}

/// A chunk of a xorb that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk {
    pub(super) number: u32,
    pub(super) at: u32,
    pub(super) header: Header,
    pub(super) hash: XetHash,
}

impl Chunk {
    /// Its hash.
    pub fn hash(&self) -> &XetHash {
        &self.hash
    }

    /// Its unpacked bytes.
    pub fn bytes(&self) -> u32 {
        self.header.bytes
    }

    /// How it is packed.
    pub fn codec(&self) -> Codec {
        self.header.codec
    }

    /// Where it lies in the xorb, with its header.
    pub fn range(&self) -> Range<u64> {
        let at = u64::from(self.at);
        at..at + u64::from(HEADER_BYTES + self.header.packed_bytes)
    }

    /// Unpacks what lies in [`range`](Self::range), and checks that it is still this chunk.
    ///
    /// # Errors
    /// [`XetError::Changed`] when it is not.
    pub fn unpack<'a>(&self, stored: &'a [u8], unpacker: &'a mut Unpacker) -> Result<&'a [u8], XetError> {
        let changed = XetError::Changed { chunk: self.number, at: u64::from(self.at) };
        let (header, packed) = stored.split_first_chunk::<8>().ok_or(changed)?;
        let same = Header::read(*header, u64::from(self.at)).is_ok_and(|header| header == self.header);
        if !same || place(packed.len()) != u64::from(self.header.packed_bytes) {
            return Err(changed);
        }
        let content = unpacker.unpack(&self.header, packed).ok_or(changed)?;
        if chunk_hash(content) == self.hash { Ok(content) } else { Err(changed) }
    }
}

/// Room to unpack one chunk after the other in; at most 256 KiB.
#[derive(Debug, Clone, Default)]
pub struct Unpacker {
    content: Vec<u8>,
    groups: Vec<u8>,
}

impl Unpacker {
    /// What is packed, if it is as long as the header says.
    pub(super) fn unpack<'a>(&'a mut self, header: &Header, packed: &'a [u8]) -> Option<&'a [u8]> {
        let length = usize::try_from(header.bytes).ok()?;
        match header.codec {
            Codec::Plain => (packed.len() == length).then_some(packed),
            Codec::Lz4 => {
                let content = room(&mut self.content, length);
                lz4::unpack(packed, content)?;
                Some(content)
            }
            Codec::GroupedLz4 => {
                let groups = room(&mut self.groups, length);
                lz4::unpack(packed, groups)?;
                let content = room(&mut self.content, length);
                regroup(groups, content);
                Some(content)
            }
        }
    }
}

fn room(buffer: &mut Vec<u8>, length: usize) -> &mut [u8] {
    if buffer.len() < length {
        buffer.resize(length, 0);
    }
    &mut buffer[..length]
}

/// Puts bytes that were grouped by their place in every four back in order (specification, "Byte Grouping LZ4 Compression").
fn regroup(groups: &[u8], content: &mut [u8]) {
    let (quarter, over) = (content.len() / 4, content.len() % 4);
    let (first, rest) = groups.split_at(quarter + usize::from(over > 0));
    let (second, rest) = rest.split_at(quarter + usize::from(over > 1));
    let (third, fourth) = rest.split_at(quarter + usize::from(over > 2));
    let (fours, last) = content.as_chunks_mut::<4>();
    for ((((four, a), b), c), d) in fours.iter_mut().zip(first).zip(second).zip(third).zip(fourth) {
        *four = [*a, *b, *c, *d];
    }
    for (byte, group) in last.iter_mut().zip([first, second, third]) {
        *byte = group[quarter];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_put_back() {
        for length in 0..40_u8 {
            let content: Vec<u8> = (0..length).collect();
            let groups: Vec<u8> = (0..4).flat_map(|group| content.iter().skip(group).step_by(4).copied()).collect();
            let mut again = vec![0; content.len()];
            regroup(&groups, &mut again);
            assert_eq!(again, content);
        }
    }
}
