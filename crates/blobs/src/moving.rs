//! Blobs on their way from one store to another.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use acequia_types::Digest;

use crate::{BlobError, BlobStore};

/// What became of each blob that was to be copied. The four add up to all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Copied {
    /// Written to the other store.
    pub copied: u64,
    /// There already, and whole.
    pub present: u64,
    /// There already, but other bytes: written anew.
    pub mended: u64,
    /// Other bytes than their address says, or gone, in the store they come from: not written. In order.
    pub damaged: Vec<Digest>,
    /// Bytes that were written.
    pub bytes: u64,
}

enum Fate {
    Copied(u64),
    Present,
    Mended(u64),
    Damaged,
}

impl BlobStore {
    /// Copies blobs to another store, and reads each there as a whole before it counts. What is whole there is not copied
    /// again, so that work that broke off goes on. `done` is told of each.
    ///
    /// # Errors
    /// What keeps a store from working; [`BlobError::Damaged`] when bytes that were just written come back as others.
    pub fn copy_all(&self, blobs: &[Digest], to: &Self, done: &(dyn Fn() + Sync)) -> Result<Copied, BlobError> {
        let there: BTreeSet<Digest> = to.list()?.into_iter().collect();
        let fates = each(blobs, self.at_once().max(to.at_once()), |digest| {
            let fate = self.copy(digest, to, there.contains(digest))?;
            done();
            Ok(fate)
        })?;
        let mut all = Copied::default();
        for (digest, fate) in blobs.iter().zip(fates) {
            match fate {
                Fate::Copied(bytes) => (all.copied, all.bytes) = (all.copied + 1, all.bytes + bytes),
                Fate::Mended(bytes) => (all.mended, all.bytes) = (all.mended + 1, all.bytes + bytes),
                Fate::Present => all.present += 1,
                Fate::Damaged => all.damaged.push(*digest),
            }
        }
        all.damaged.sort();
        Ok(all)
    }

    fn copy(&self, digest: &Digest, to: &Self, is_there: bool) -> Result<Fate, BlobError> {
        if is_there && to.is_whole(digest)? {
            return Ok(Fate::Present);
        }
        let bytes = match self.copy_to(digest, to) {
            Ok(bytes) => bytes,
            Err(BlobError::Damaged { .. } | BlobError::Missing { .. } | BlobError::Range { .. }) => {
                return Ok(Fate::Damaged);
            }
            Err(error) => return Err(error),
        };
        if !to.is_whole(digest)? {
            return Err(BlobError::Damaged { digest: *digest });
        }
        Ok(if is_there { Fate::Mended(bytes) } else { Fate::Copied(bytes) })
    }
}

/// Works on every blob, on some threads, and returns what came out in the order of the blobs. The first error stops all.
pub(crate) fn each<T: Send>(
    blobs: &[Digest],
    at_once: usize,
    work: impl Fn(&Digest) -> Result<T, BlobError> + Sync,
) -> Result<Vec<T>, BlobError> {
    if at_once <= 1 {
        return blobs.iter().map(work).collect();
    }
    let next = AtomicUsize::new(0);
    let made: Mutex<Vec<Option<Result<T, BlobError>>>> = Mutex::new(blobs.iter().map(|_| None).collect());
    std::thread::scope(|scope| {
        for _ in 0..at_once.min(blobs.len()) {
            scope.spawn(|| {
                while let Some((at, digest)) = {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    blobs.get(at).map(|digest| (at, digest))
                } {
                    let came_out = work(digest);
                    if came_out.is_err() {
                        next.store(blobs.len(), Ordering::Relaxed);
                    }
                    made.lock().unwrap_or_else(|poisoned| poisoned.into_inner())[at] = Some(came_out);
                }
            });
        }
    });
    // Without an error there is something for every blob.
    made.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner()).into_iter().flatten().collect()
}
