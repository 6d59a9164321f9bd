//! What clients upload by Xet: xorbs, whole and in pieces.

#![no_main]

use acequia_xet::{MAX_CHUNK_BYTES, Merkle, Unpacker, XetError, Xorb, XorbReader};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    // The first byte says how long the pieces are.
    let [step, bytes @ ..] = bytes else { return };
    let (mut reader, mut merkle, mut contents) = (XorbReader::default(), Merkle::default(), Vec::new());
    let mut each = |chunk: &acequia_xet::Chunk, content: &[u8]| {
        assert!(!content.is_empty() && content.len() == chunk.bytes() as usize && chunk.bytes() <= MAX_CHUNK_BYTES);
        merkle.push(*chunk.hash(), chunk.bytes());
        // As many as fit into memory; the hash is of all.
        if contents.len() < 64 {
            contents.push(content.to_vec());
        }
        Ok::<(), XetError>(())
    };
    let fed = bytes.chunks(usize::from(*step) * 8 + 1).try_for_each(|piece| reader.feed(piece, &mut each));
    let hash = merkle.xorb_hash();
    let index = fed.and_then(|()| reader.finish(&hash));
    let whole = Xorb::read(bytes, &hash);
    let Ok(index) = index else {
        assert!(whole.is_err());
        return;
    };
    assert_eq!(*whole.expect("read in pieces").index(), index);
    let mut unpacker = Unpacker::default();
    for (chunk, content) in index.chunks().iter().zip(&contents) {
        let stored = &bytes[chunk.range().start as usize..chunk.range().end as usize];
        assert_eq!(chunk.unpack(stored, &mut unpacker), Ok(content.as_slice()));
    }
});
