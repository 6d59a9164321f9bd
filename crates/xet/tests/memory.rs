//! What small uploads that stand for large ones take of memory. One test: memory is the process's.

#[path = "it/write.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod write;

use std::collections::BTreeMap;
use std::sync::Arc;

use acequia_xet::{Codec, Merkle, RangeHasher, Shard, XetError, XetHash, Xorb, XorbReader, chunk_hash};
use write::{End, Piece};

/// Most memory that this process held until now, in KiB.
fn peak_kib() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?.split_whitespace().next()?.parse().ok()
}

#[test]
fn what_unpacks_to_much_and_states_more_takes_little_memory() {
    // 1,024 chunks of zeros: 0.6 MB that unpack to 128 MiB.
    let zeros: Piece = (vec![0; 128 * 1024], Codec::Lz4);
    let (_, one) = write::xorb(std::slice::from_ref(&zeros), false);
    let bytes = one.repeat(1024);
    let mut merkle = Merkle::default();
    let mut proof = RangeHasher::default();
    let chunk = chunk_hash(&zeros.0);
    (0..1024).for_each(|_| merkle.push(chunk, 128 * 1024));
    (0..1024).for_each(|_| proof.push(&chunk));
    let (hash, file_hash) = (merkle.clone().xorb_hash(), merkle.file_hash());
    // A file of all of them: header, file, segment, proof, two bookends.
    let mut shard = write::shard(&[], &[], End::Bare);
    let words = |words: [u32; 4]| words.map(u32::to_le_bytes).concat();
    let file =
        [(file_hash, words([1 << 31, 1, 0, 0])), (hash, words([0, 1 << 27, 0, 1024])), (proof.finish(), words([0; 4]))];
    let file: Vec<u8> = file.iter().flat_map(|(hash, words)| [hash.as_bytes(), words.as_slice()].concat()).collect();
    shard.splice(48..48, file);
    // Counts that the bytes cannot have.
    let mut claims = shard.clone();
    claims[48 + 36..][..4].copy_from_slice(&u32::MAX.to_le_bytes());
    let footer = [&bytes[..], b"XETBLOB\x01", &vec![0xff; 16 << 20]].concat();

    let Some(before) = peak_kib() else { return };
    let mut reader = XorbReader::default();
    let mut length = 0;
    for piece in bytes.chunks(100_000) {
        reader
            .feed(piece, |_, content| {
                length += content.len();
                Ok::<(), XetError>(())
            })
            .unwrap();
    }
    assert_eq!(length, 1 << 27);
    let index = Arc::new(reader.finish(&hash).unwrap());
    let mut stored = BTreeMap::from([(hash, (bytes, index))]);
    let read = Shard::read(&shard).unwrap();
    let mut content = read.files()[0].rebuild(&mut stored).unwrap();
    let mut length = 0;
    while let Some(piece) = content.next().unwrap() {
        length += piece.len();
    }
    assert_eq!(length, 1 << 27);
    assert!(matches!(Shard::read(&claims).unwrap_err(), XetError::Cut { .. }));
    assert!(Xorb::read(&footer, &XetHash::ZERO).is_err());
    let grown = peak_kib().unwrap() - before;
    assert!(grown < 4 * 1024, "{grown} KiB");
}
