//! How fast blobs are stored and read: in a folder, and in a bucket of an S3 server on this machine, whose own speed (it is a
//! Python program) is most of what the second shows. Best of some rounds, wall time.
//!
//! `cargo bench -p acequia-blobs --bench throughput`, with ACEQUIA_TEST_PYTHON for the bucket (see `./test`).

#[path = "../tests/it/server.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod server;

use std::time::{Duration, Instant};

use acequia_blobs::{BlobError, BlobStore};

const PIECE_BYTES: u64 = 256 * 1024;

fn noise(length: usize) -> Vec<u8> {
    let mut state = 88_172_645_463_325_252_u64;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    };
    (0..length).map(next).collect()
}

fn main() -> Result<(), BlobError> {
    let folder = tempfile::tempdir().expect("a folder");
    measure("folder", &BlobStore::open(folder.path())?, 7)?;
    if let Some(server) = server::Server::or_skip("the bucket") {
        measure("bucket", &BlobStore::connect("s3://blobs/bench", "bench", server.environment())?, 3)?;
    }
    Ok(())
}

fn measure(name: &str, store: &BlobStore, rounds: usize) -> Result<(), BlobError> {
    for (length, count) in [(4 * 1024, 200), (1024 * 1024, 20), (64 * 1024 * 1024, 2)] {
        let blobs: Vec<Vec<u8>> = (0..count)
            .map(|number: usize| {
                let mut bytes = noise(length);
                bytes[..8].copy_from_slice(&number.to_le_bytes());
                bytes
            })
            .collect();
        let mut best = [Duration::MAX; 4];
        for _ in 0..rounds {
            let mut digests = Vec::new();
            let times = [
                time(|| blobs.iter().try_for_each(|bytes| store.put(bytes).map(|digest| digests.push(digest))))?,
                time(|| blobs.iter().try_for_each(|bytes| store.put(bytes).map(drop)))?,
                time(|| digests.iter().try_for_each(|digest| store.get(digest).map(drop)))?,
                time(|| digests.iter().try_for_each(|digest| in_pieces(store, digest, length as u64)))?,
            ];
            for (best, time) in best.iter_mut().zip(times) {
                *best = time.min(*best);
            }
            digests.iter().try_for_each(|digest| store.remove(digest))?;
        }
        for (what, best) in ["put", "put again", "get", "pieces of 256 KiB"].iter().zip(best) {
            let (each_us, seconds) = (best.as_secs_f64() * 1e6 / count as f64, best.as_secs_f64());
            let mib_per_s = (length * count) as f64 / 1_048_576.0 / seconds;
            println!("{name}  {:>8} KiB  {what:<18} {each_us:>10.0} µs each  {mib_per_s:>8.1} MiB/s", length / 1024);
        }
    }
    Ok(())
}

fn time(work: impl FnOnce() -> Result<(), BlobError>) -> Result<Duration, BlobError> {
    let began = Instant::now();
    work()?;
    Ok(began.elapsed())
}

/// As the hub reads a file that is downloaded.
fn in_pieces(store: &BlobStore, digest: &acequia_types::Digest, length: u64) -> Result<(), BlobError> {
    (0..length.div_ceil(PIECE_BYTES)).try_for_each(|piece| {
        let start = piece * PIECE_BYTES;
        store.read_range(digest, start..length.min(start + PIECE_BYTES)).map(drop)
    })
}
