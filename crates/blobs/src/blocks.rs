//! What was lately read of blobs in an object store: whoever reads a file piece by piece must not ask for each anew.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use acequia_types::Digest;
use bytes::Bytes;
use tokio::sync::OnceCell;

/// Bytes that are fetched at a time. A read of fewer costs as much as one of these.
pub(crate) const BLOCK_BYTES: u64 = 1024 * 1024;

/// Blocks that are kept: 64 MiB, enough for thirty downloads at once.
const KEPT: usize = 64;

/// Some bytes of a blob.
#[derive(Debug, Clone)]
pub(crate) struct Piece {
    pub(crate) bytes: Bytes,
    /// Length of the blob.
    pub(crate) of_bytes: u64,
}

/// A place for a block. Whoever comes first fetches it; others wait for that.
pub(crate) type Place = Arc<OnceCell<Piece>>;

/// The blocks, the one used last at the end. Blobs never change, so none is ever stale.
#[derive(Debug, Default)]
pub(crate) struct Blocks(Mutex<VecDeque<(Digest, u64, Place)>>);

impl Blocks {
    fn kept(&self) -> MutexGuard<'_, VecDeque<(Digest, u64, Place)>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// The place of block `number` of a blob.
    pub(crate) fn place(&self, blob: &Digest, number: u64) -> Place {
        let mut kept = self.kept();
        let found = kept.iter().position(|(digest, of, _)| (digest, *of) == (blob, number));
        let entry = found.and_then(|at| kept.remove(at)).unwrap_or_else(|| (*blob, number, Place::default()));
        let place = Arc::clone(&entry.2);
        kept.push_back(entry);
        while kept.len() > KEPT {
            kept.pop_front();
        }
        place
    }

    /// Whether the block is there, or is being fetched.
    pub(crate) fn is_known(&self, blob: &Digest, number: u64) -> bool {
        self.kept().iter().any(|(digest, of, _)| (digest, *of) == (blob, number))
    }

    /// Forgets a blob that was removed or written anew.
    pub(crate) fn forget(&self, blob: &Digest) {
        self.kept().retain(|(digest, ..)| digest != blob);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_block_used_longest_ago_goes_first() {
        let (blocks, blob, other) = (Blocks::default(), Digest::of(b"a"), Digest::of(b"b"));
        let first = blocks.place(&blob, 0);
        for number in 1..KEPT as u64 {
            blocks.place(&blob, number);
        }
        assert!(Arc::ptr_eq(&first, &blocks.place(&blob, 0)));
        blocks.place(&other, 0);
        assert!(blocks.is_known(&blob, 0) && !blocks.is_known(&blob, 1) && blocks.is_known(&other, 0));
        blocks.forget(&blob);
        assert!(!blocks.is_known(&blob, 0) && blocks.is_known(&other, 0));
    }
}
