//! How fast xorbs are read and files rebuilt, on one core: unpacked MB for a second of CPU time, best of some rounds.
//!
//! `cargo bench -p acequia-xet --bench xet`

#[path = "../tests/it/write.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod write;

use std::collections::BTreeMap;
use std::sync::Arc;

use acequia_xet::{Codec, Shard, XetError, Xorb};
use rustix::time::{ClockId, clock_gettime};
use write::{End, Piece};

const CHUNKS: u32 = 1024;
const CHUNK_BYTES: usize = 64 * 1024;

/// Bytes that nothing packs.
fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    };
    (0..length).map(next).collect()
}

/// Lines of a table.
fn text(seed: u64) -> Vec<u8> {
    let draws = noise(CHUNK_BYTES / 4, seed);
    let mut text = Vec::new();
    for (n, four) in draws.as_chunks::<4>().0.iter().enumerate() {
        text.extend_from_slice(format!("row {n},{},{}\n", four[0] % 10, four[1]).as_bytes());
    }
    text.truncate(CHUNK_BYTES);
    text
}

/// Measurements around 37, in four bytes each.
fn floats(seed: u64) -> Vec<u8> {
    let draws = noise(CHUNK_BYTES, seed);
    draws.as_chunks::<4>().0.iter().flat_map(|four| (37.0 + f32::from(four[0]) / 600.0).to_le_bytes()).collect()
}

/// Seconds of CPU time of the fastest round.
fn best(mut round: impl FnMut() -> Result<(), XetError>) -> Result<f64, XetError> {
    let now = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
    };
    let mut best = f64::INFINITY;
    for _ in 0..7 {
        let before = now();
        round()?;
        best = best.min(now() - before);
    }
    Ok(best)
}

fn main() -> Result<(), XetError> {
    let kinds: [Kind; 3] = [
        ("noise, not packed", Codec::Plain, |seed| noise(CHUNK_BYTES, seed)),
        ("text, LZ4", Codec::Lz4, text),
        ("floats, grouped LZ4", Codec::GroupedLz4, floats),
    ];
    println!("{:<20} {:>9} {:>12} {:>14}", "64 MiB of", "packed to", "read, MB/s", "rebuild, MB/s");
    for (name, codec, content) in kinds {
        let pieces: Vec<Piece> = (0..CHUNKS).map(|n| (content(u64::from(n) + 1), codec)).collect();
        let (hash, bytes) = write::xorb(&pieces, false);
        let shard = write::shard(&[vec![(hash, 0..CHUNKS, &pieces)]], &[&pieces], End::Bare);
        drop(pieces);
        let read_s = best(|| Xorb::read(&bytes, &hash).map(drop))?;
        let index = Xorb::read(&bytes, &hash)?.into_index();
        let (length, packed_percent) = (index.bytes() as f64 / 1e6, bytes.len() as u64 * 100 / index.bytes());
        let mut xorbs = BTreeMap::from([(hash, (bytes, Arc::new(index)))]);
        let rebuild_s = best(|| {
            let shard = Shard::read(&shard)?;
            let mut content = shard.files()[0].rebuild(&mut xorbs)?;
            while content.next()?.is_some() {}
            Ok(())
        })?;
        println!("{name:<20} {packed_percent:>8}% {:>12.0} {:>14.0}", length / read_s, length / rebuild_s);
    }
    Ok(())
}
