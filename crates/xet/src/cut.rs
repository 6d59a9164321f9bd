//! Where a file is cut into chunks (specification, "Content-Defined Chunking"): by what stands there, so that files which share bytes share
//! chunks, wherever the bytes lie.

use gearhash::Hasher;

use crate::MAX_CHUNK_BYTES;

/// Least bytes of a chunk that is not the last of its file.
const LEAST_BYTES: usize = 8 * 1024;
const MOST_BYTES: usize = MAX_CHUNK_BYTES as usize;
/// A chunk ends where these bits of the rolling hash are zero: every 64 KiB on average.
const MASK: u64 = 0xffff_0000_0000_0000;
/// Bytes that the rolling hash depends on.
const WINDOW_BYTES: usize = 64;

/// Cuts bytes that arrive in pieces of any length.
#[derive(Debug, Clone, Default)]
pub struct Cutter {
    hash: Hasher<'static>,
    /// Bytes of the chunk at hand.
    length: usize,
}

impl Cutter {
    /// How many of `bytes` belong to the chunk at hand, and whether it ends with them. What is over is to be given again.
    pub fn take(&mut self, bytes: &[u8]) -> (usize, bool) {
        // Where no chunk may end yet only the last bytes count.
        let mut at = LEAST_BYTES.saturating_sub(WINDOW_BYTES + self.length).min(bytes.len());
        let room = bytes.len().min(MOST_BYTES - self.length);
        let ends = loop {
            match self.hash.next_match(&bytes[at..room], MASK) {
                Some(taken) => at += taken,
                None => {
                    at = room;
                    break self.length + at == MOST_BYTES;
                }
            }
            if self.length + at >= LEAST_BYTES {
                break true;
            }
        };
        self.length = if ends { 0 } else { self.length + at };
        if ends {
            self.hash.set_hash(0);
        }
        (at, ends)
    }
}
