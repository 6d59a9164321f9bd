//! Fast keyed digests for looking up and comparing; ids of rows are made by [`crate::IdKey`].

use std::hash::{BuildHasherDefault, Hasher};

use twox_hash::XxHash3_128;

/// 128 bits of XXH3 with a seed that only the node knows. Finds equal keys and equal contents; it does not have to
/// resist somebody who knows the seed.
#[derive(Clone, Copy)]
pub(crate) struct Seed(u64);

impl Seed {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn of(self, bytes: &[u8]) -> u128 {
        XxHash3_128::oneshot_with_seed(self.0, bytes)
    }
}

/// Takes the low 64 bits of a key that is a digest already.
#[derive(Default)]
pub(crate) struct Already(u64);

impl Hasher for Already {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }
    fn write_u128(&mut self, digest: u128) {
        self.0 = low(digest);
    }
    fn write_u64(&mut self, digest: u64) {
        self.0 = digest;
    }
}

/// The low 64 bits.
#[expect(clippy::cast_possible_truncation, reason = "the low bits are meant")]
pub(crate) const fn low(digest: u128) -> u64 {
    digest as u64
}

pub(crate) type DigestMap<V> = hashbrown::HashMap<u128, V, BuildHasherDefault<Already>>;
pub(crate) type DigestSet = hashbrown::HashSet<u128, BuildHasherDefault<Already>>;
