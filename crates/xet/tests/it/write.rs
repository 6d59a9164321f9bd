//! Writes xorbs and shards, as clients do. Only tests write them.

use std::io::Write as _;

use acequia_xet::{Codec, Merkle, RangeHasher, XetHash, chunk_hash};
use lz4_flex::frame::FrameEncoder;

/// A chunk's content and how it is packed.
pub(crate) type Piece = (Vec<u8>, Codec);

fn frame(content: &[u8]) -> Vec<u8> {
    let mut writer = FrameEncoder::new(Vec::new());
    writer.write_all(content).unwrap();
    writer.finish().unwrap()
}

pub(crate) fn packed(content: &[u8], codec: Codec) -> Vec<u8> {
    match codec {
        Codec::Plain => content.to_vec(),
        Codec::Lz4 => frame(content),
        Codec::GroupedLz4 => {
            let groups: Vec<u8> = (0..4).flat_map(|group| content.iter().skip(group).step_by(4).copied()).collect();
            frame(&groups)
        }
    }
}

pub(crate) fn length(bytes: &[u8]) -> u32 {
    bytes.len().try_into().unwrap()
}

pub(crate) fn xorb_hash<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> XetHash {
    let mut merkle = Merkle::default();
    chunks.into_iter().for_each(|content| merkle.push(chunk_hash(content), length(content)));
    merkle.xorb_hash()
}

/// A xorb and its hash.
pub(crate) fn xorb(pieces: &[Piece], with_footer: bool) -> (XetHash, Vec<u8>) {
    let hash = xorb_hash(pieces.iter().map(|(content, _)| content.as_slice()));
    let mut bytes = Vec::new();
    let (mut ends, mut unpacked_ends) = (Vec::new(), Vec::new());
    for (content, codec) in pieces {
        let packed = packed(content, *codec);
        let code = match codec {
            Codec::Plain => 0,
            Codec::Lz4 => 1,
            Codec::GroupedLz4 => 2,
        };
        bytes.push(0);
        bytes.extend_from_slice(&length(&packed).to_le_bytes()[..3]);
        bytes.push(code);
        bytes.extend_from_slice(&length(content).to_le_bytes()[..3]);
        bytes.extend_from_slice(&packed);
        ends.push(length(&bytes));
        unpacked_ends.push(unpacked_ends.last().unwrap_or(&0) + length(content));
    }
    if with_footer {
        let count = u32::try_from(pieces.len()).unwrap().to_le_bytes();
        let words = |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
        let mut hashes = [&b"XBLBHSH\0"[..], &count].concat();
        pieces.iter().for_each(|(content, _)| hashes.extend_from_slice(chunk_hash(content).as_bytes()));
        let boundaries = [&b"XBLBBND\x01"[..], &count, &words(&ends), &words(&unpacked_ends)].concat();
        let tail = 4 + 4 + 4 + 16;
        let from_end = [hashes.len() + boundaries.len() + tail, boundaries.len() + tail];
        let from_end = from_end.map(|length| u32::try_from(length).unwrap().to_le_bytes());
        let footer = [
            &b"XETBLOB\x01"[..],
            hash.as_bytes(),
            &hashes,
            &boundaries,
            &count,
            &from_end.concat(),
            b"nonce and twelve",
        ]
        .concat();
        bytes.extend_from_slice(&footer);
        bytes.extend_from_slice(&length(&footer).to_le_bytes());
    }
    (hash, bytes)
}

/// A segment: the xorb, which of its chunks, and all its chunks' contents.
pub(crate) type Part<'a> = (XetHash, std::ops::Range<u32>, &'a [Piece]);

fn of<'a>(part: &Part<'a>) -> &'a [Piece] {
    &part.2[usize::try_from(part.1.start).unwrap()..usize::try_from(part.1.end).unwrap()]
}

/// How a shard ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// After the xorbs, as its header says.
    Bare,
    /// After the xorbs, though its header states a footer.
    Missing,
    /// With tables and a footer.
    Footer,
}

const BOOKEND: [[u8; 16]; 3] = [[0xff; 16], [0xff; 16], [0; 16]];

/// A shard of files and of the xorbs that it describes.
pub(crate) fn shard(files: &[Vec<Part<'_>>], xorbs: &[&[Piece]], end: End) -> Vec<u8> {
    let mut bytes = b"HFRepoMetaData\0UigEj{\x81W\x83\xa5\xbd\xd9\\\xcd\xd1J\xa9".to_vec();
    bytes.extend_from_slice(&2_u64.to_le_bytes());
    bytes.extend_from_slice(&(if end == End::Bare { 0_u64 } else { 200 }).to_le_bytes());
    let record = |bytes: &mut Vec<u8>, hash: &[u8; 32], words: [u32; 4]| {
        bytes.extend_from_slice(hash);
        words.iter().for_each(|word| bytes.extend_from_slice(&word.to_le_bytes()));
    };
    for parts in files {
        let mut merkle = Merkle::default();
        let chunks = || parts.iter().flat_map(of);
        chunks().for_each(|(content, _)| merkle.push(chunk_hash(content), length(content)));
        record(&mut bytes, merkle.file_hash().as_bytes(), [3 << 30, u32::try_from(parts.len()).unwrap(), 7, 7]);
        for part in parts {
            let sum = of(part).iter().map(|(content, _)| length(content)).sum();
            record(&mut bytes, part.0.as_bytes(), [0, sum, part.1.start, part.1.end]);
        }
        for part in parts {
            let mut proof = RangeHasher::default();
            of(part).iter().for_each(|(content, _)| proof.push(&chunk_hash(content)));
            record(&mut bytes, proof.finish().as_bytes(), [7; 4]);
        }
        let all: Vec<u8> = chunks().flat_map(|(content, _)| content.iter().copied()).collect();
        let text = acequia_types::Digest::of(&all).to_string();
        record(&mut bytes, XetHash::parse(&text).unwrap().as_bytes(), [7; 4]);
    }
    BOOKEND.iter().for_each(|part| bytes.extend_from_slice(part));
    let xorbs_at = bytes.len();
    for pieces in xorbs {
        let hash = xorb_hash(pieces.iter().map(|(content, _)| content.as_slice()));
        let sum = pieces.iter().map(|(content, _)| length(content)).sum();
        record(&mut bytes, hash.as_bytes(), [0, u32::try_from(pieces.len()).unwrap(), sum, 0]);
        let mut start = 0;
        for (content, _) in *pieces {
            record(&mut bytes, chunk_hash(content).as_bytes(), [start, length(content), 1 << 31, 7]);
            start += length(content);
        }
    }
    BOOKEND.iter().for_each(|part| bytes.extend_from_slice(part));
    if end == End::Footer {
        let counts = [files.len(), xorbs.len(), xorbs.iter().map(|pieces| pieces.len()).sum()];
        let mut footer: Vec<u64> = vec![1, 48, xorbs_at.try_into().unwrap()];
        for (count, entry_bytes) in counts.into_iter().zip([12, 12, 16]) {
            footer.extend([bytes.len().try_into().unwrap(), u64::try_from(count).unwrap()]);
            bytes.resize(bytes.len() + count * entry_bytes, 7);
        }
        footer.extend([0, 0, 0, 0, 5, u64::MAX, 7, 7, 7, 7, 7, 7, 7, 7, 7, bytes.len().try_into().unwrap()]);
        footer.iter().for_each(|word| bytes.extend_from_slice(&word.to_le_bytes()));
    }
    bytes
}
