//! How fast blobs are stored and read: in a folder, and in a bucket of an S3 server on this machine, whose own speed (it is a
//! Python program) is most of what the second shows. Best of some rounds, wall time. First, what moving a blob larger than memory
//! should hold takes of it.
//!
//! `cargo bench -p acequia-blobs --bench throughput`, with ACEQUIA_TEST_PYTHON for the bucket (see `./test`).

#[path = "../tests/it/server.rs"]
#[allow(dead_code, reason = "the tests use the rest")]
mod server;

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use acequia_blobs::{BlobError, BlobStore};
use acequia_types::{Digest, DigestWriter};

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
    let here = BlobStore::open(folder.path())?;
    let server = server::Server::or_skip("the bucket");
    let there = server.as_ref().map(|server| BlobStore::connect("s3://blobs/bench", "bench", server.environment()));
    let there = there.transpose()?;
    if let Some(there) = &there {
        let (digest, length) = large(folder.path());
        println!("before        peak memory {:>5.0} MiB", peak_mib());
        let copy = time(|| here.copy_to(&digest, there).map(drop))?;
        println!(
            "copy          {:>6.1} s of {} MiB, peak memory {:>5.0} MiB",
            copy.as_secs_f64(),
            length >> 20,
            peak_mib()
        );
        let check = time(|| there.is_whole(&digest).map(|whole| assert!(whole)))?;
        println!("check         {:>6.1} s, peak memory {:>5.0} MiB", check.as_secs_f64(), peak_mib());
        let pieces = time(|| in_pieces(there, &digest, length))?;
        println!("in pieces     {:>6.1} s, peak memory {:>5.0} MiB", pieces.as_secs_f64(), peak_mib());
        here.remove(&digest)?;
        there.remove(&digest)?;
    }
    measure("folder", &here, 7)?;
    there.as_ref().map_or(Ok(()), |there| measure("bucket", there, 3))
}

/// A blob of 512 MiB in a folder of blobs that was never in memory.
fn large(folder: &Path) -> (Digest, u64) {
    let (piece, pieces) = (noise(1024 * 1024), 512_u64);
    let (aside, mut digest) = (folder.join("large"), DigestWriter::default());
    let mut file = std::fs::File::create(&aside).expect("a file");
    for number in 0..pieces {
        for bytes in [&number.to_le_bytes()[..], &piece[8..]] {
            file.write_all(bytes).and_then(|()| digest.write_all(bytes)).expect("written");
        }
    }
    let digest = digest.finish();
    let name = digest.to_string();
    std::fs::create_dir_all(folder.join(&name[..2])).expect("a folder");
    std::fs::rename(aside, folder.join(&name[..2]).join(&name)).expect("renamed");
    (digest, pieces * 1024 * 1024)
}

/// Most memory that this process held until now.
fn peak_mib() -> f64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok()).unwrap_or(f64::NAN) / 1024.0
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
fn in_pieces(store: &BlobStore, digest: &Digest, length: u64) -> Result<(), BlobError> {
    (0..length.div_ceil(PIECE_BYTES)).try_for_each(|piece| {
        let start = piece * PIECE_BYTES;
        store.read_range(digest, start..length.min(start + PIECE_BYTES)).map(drop)
    })
}
