//! What every back end keeps. Each part gets a store of its own that is empty, and a way to write over what is stored.

use std::collections::BTreeMap;

use acequia_blobs::{BlobError, BlobStore};
use acequia_types::Digest;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

/// Writes other bytes under the address of a blob.
type WriteOver = dyn Fn(&Digest, &[u8]);

/// A store, and somebody who writes to its place without it.
pub(crate) struct Both {
    pub(crate) store: BlobStore,
    pub(crate) write_over: Box<WriteOver>,
}

type Part = (&'static str, fn(&Both));

pub(crate) fn parts() -> [Part; 9] {
    [
        ("bytes-come-back", bytes_come_back),
        ("what-is-not-there-is-missing", what_is_not_there_is_missing),
        ("ranges-lie-inside", ranges_lie_inside),
        ("damage-is-seen-and-mended", damage_is_seen_and_mended),
        ("large-blobs-come-back", large_blobs_come_back),
        ("what-is-removed-is-gone", what_is_removed_is_gone),
        ("any-history-ends-as-a-map-would", any_history_ends_as_a_map_would),
        ("many-at-once", many_at_once),
        ("everything-can-be-done", everything_can_be_done),
    ]
}

/// Bytes that no compression and no repetition of parts could make right by chance.
pub(crate) fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    };
    (0..length).map(next).collect()
}

fn bytes_come_back(both: &Both) {
    let store = &both.store;
    assert!(store.list().unwrap().is_empty());
    let mut all = Vec::new();
    for bytes in [b"".as_slice(), b"x", b"some bytes", &noise(70_000, 1)] {
        let digest = store.put(bytes).unwrap();
        assert_eq!(digest, Digest::of(bytes));
        assert_eq!(store.put(bytes).unwrap(), digest);
        assert_eq!(&*store.get(&digest).unwrap(), bytes);
        assert_eq!(store.len_bytes(&digest), Ok(Some(bytes.len() as u64)));
        assert_eq!((store.contains(&digest), store.is_whole(&digest)), (Ok(true), Ok(true)));
        all.push(digest);
    }
    let new = store.put_new(b"sealed").unwrap();
    all.push(new);
    let found = store.get_all(&[all[3], new, all[1]]).unwrap();
    assert_eq!(found.iter().map(|bytes| bytes.len()).collect::<Vec<_>>(), [70_000, 6, 1]);
    let digest = Digest::of(b"nothing");
    assert_eq!(store.get_all(&[new, digest, all[0]]).unwrap_err(), BlobError::Missing { digest });
    all.sort();
    assert_eq!(store.list().unwrap(), all);
    assert_eq!(store.check_all().unwrap(), []);
}

fn what_is_not_there_is_missing(both: &Both) {
    let (store, digest) = (&both.store, Digest::of(b"nothing"));
    let missing = BlobError::Missing { digest };
    assert_eq!(store.get(&digest).unwrap_err(), missing);
    assert_eq!(store.read_range(&digest, 0..1).unwrap_err(), missing);
    assert_eq!(store.read_range(&digest, 0..0).unwrap_err(), missing);
    assert_eq!(store.is_whole(&digest).unwrap_err(), missing);
    assert_eq!((store.len_bytes(&digest), store.contains(&digest)), (Ok(None), Ok(false)));
    assert_eq!(store.remove(&digest), Ok(()));
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(store.copy_to(&digest, &BlobStore::open(folder.path()).unwrap()).unwrap_err(), missing);
}

fn ranges_lie_inside(both: &Both) {
    let store = &both.store;
    let bytes = noise(5 * 1024 * 1024 + 17, 2);
    let digest = store.put(&bytes).unwrap();
    let block = 1024 * 1024;
    let end = bytes.len();
    for range in [0..1, 5..10, 0..block, block - 1..block + 1, block..2 * block, 3..end - 3, 0..end, end - 1..end, 7..7]
    {
        let asked = range.start as u64..range.end as u64;
        assert!(store.read_range(&digest, asked).unwrap() == bytes[range.clone()], "{range:?}");
    }
    let outside = BlobError::Range { digest };
    let end = end as u64;
    for range in [0..end + 1, end - 1..end + 1, end..end + 1, end + 4 * 1024 * 1024..end + 4 * 1024 * 1024 + 1] {
        assert_eq!(store.read_range(&digest, range.clone()).unwrap_err(), outside, "{range:?}");
    }
    #[expect(clippy::reversed_empty_ranges, reason = "that it is refused is what is tested")]
    let backwards = 5..4;
    assert_eq!(store.read_range(&digest, backwards).unwrap_err(), outside);
}

fn damage_is_seen_and_mended(both: &Both) {
    let store = &both.store;
    let (digest, other) = (store.put(b"some bytes").unwrap(), store.put(b"other bytes").unwrap());
    for damaged in [b"some bytez".as_slice(), b"some", b"some bytes and more", b""] {
        (both.write_over)(&digest, damaged);
        assert_eq!(store.get(&digest).unwrap_err(), BlobError::Damaged { digest });
        assert_eq!(store.get_all(&[other, digest]).unwrap_err(), BlobError::Damaged { digest });
        assert_eq!(store.is_whole(&digest), Ok(false));
        assert_eq!(store.check_all().unwrap(), [digest]);
        let folder = tempfile::tempdir().unwrap();
        let there = BlobStore::open(folder.path()).unwrap();
        assert_eq!(store.copy_to(&digest, &there).unwrap_err(), BlobError::Damaged { digest });
        assert_eq!(there.list().unwrap(), []);
        assert_eq!(store.put(b"some bytes").unwrap(), digest);
        assert_eq!(&*store.get(&digest).unwrap(), b"some bytes");
        assert_eq!(&*store.read_range(&digest, 5..10).unwrap(), b"bytes");
    }
    assert_eq!(store.check_all().unwrap(), []);
    assert_eq!(&*store.get(&other).unwrap(), b"other bytes");
}

fn large_blobs_come_back(both: &Both) {
    let store = &both.store;
    let part = 8 * 1024 * 1024;
    for (length, seed) in [(part, 3), (part + 1, 4), (3 * part + 5, 5)] {
        let bytes = noise(length, seed);
        let digest = store.put(&bytes).unwrap();
        assert_eq!(store.put(&bytes).unwrap(), digest);
        assert!(store.get(&digest).unwrap() == bytes);
        assert_eq!(store.is_whole(&digest), Ok(true));
        let (from, to) = (length / 2 - 100, length / 2 + 5 * 1024 * 1024 / 2);
        let (from, to) = (from, to.min(length));
        assert!(store.read_range(&digest, from as u64..to as u64).unwrap() == bytes[from..to]);
        let folder = tempfile::tempdir().unwrap();
        let there = BlobStore::open(folder.path()).unwrap();
        assert_eq!(store.copy_to(&digest, &there), Ok(length as u64));
        assert!(there.get(&digest).unwrap() == bytes);
        store.remove(&digest).unwrap();
        assert_eq!(there.copy_to(&digest, store), Ok(length as u64));
        assert!(store.get(&digest).unwrap() == bytes);
        // What comes is not what the address says: nothing of it is stored.
        let mut other = bytes;
        other[length - 1] ^= 1;
        store.remove(&digest).unwrap();
        let name = digest.to_string();
        std::fs::write(folder.path().join(&name[..2]).join(&name), &other).unwrap();
        assert_eq!(there.copy_to(&digest, store).unwrap_err(), BlobError::Damaged { digest });
        assert_eq!((store.contains(&digest), store.sweep()), (Ok(false), Ok(0)));
    }
}

fn what_is_removed_is_gone(both: &Both) {
    let store = &both.store;
    let digest = store.put(b"for a while").unwrap();
    assert_eq!(&*store.read_range(&digest, 0..3).unwrap(), b"for");
    store.remove(&digest).unwrap();
    store.remove(&digest).unwrap();
    assert_eq!(store.get(&digest).unwrap_err(), BlobError::Missing { digest });
    assert_eq!(store.read_range(&digest, 0..3).unwrap_err(), BlobError::Missing { digest });
    assert_eq!(store.list().unwrap(), []);
}

#[derive(Debug, Clone)]
enum Act {
    Put(u8),
    Remove(u8),
    Read(u8),
}

/// Any sequence of acts leaves exactly what a map would hold.
fn any_history_ends_as_a_map_would(both: &Both) {
    let store = &both.store;
    let act = prop_oneof![(0..6_u8).prop_map(Act::Put), (0..6_u8).prop_map(Act::Remove), (0..6_u8).prop_map(Act::Read)];
    let config = ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() };
    let histories = proptest::collection::vec(act, 1..12);
    let run = TestRunner::new(config).run(&histories, |history| {
        let mut expected = BTreeMap::new();
        for digest in store.list().unwrap() {
            store.remove(&digest).unwrap();
        }
        for act in history {
            let bytes = |number: u8| noise(usize::from(number) * 300, u64::from(number) + 9);
            match act {
                Act::Put(number) => {
                    let digest = store.put(&bytes(number)).unwrap();
                    expected.insert(digest, bytes(number));
                }
                Act::Remove(number) => {
                    let digest = Digest::of(&bytes(number));
                    store.remove(&digest).unwrap();
                    expected.remove(&digest);
                }
                Act::Read(number) => {
                    let digest = Digest::of(&bytes(number));
                    prop_assert_eq!(
                        store.get(&digest).ok().map(|found| found.to_vec()),
                        expected.get(&digest).cloned()
                    );
                }
            }
        }
        prop_assert_eq!(store.list().unwrap(), expected.keys().copied().collect::<Vec<_>>());
        Ok(())
    });
    run.unwrap();
}

fn many_at_once(both: &Both) {
    let store = &both.store;
    let blobs: Vec<Vec<u8>> = (0..24).map(|number| noise(3000 + number, number as u64 + 40)).collect();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for bytes in &blobs {
                    let digest = store.put(bytes).unwrap();
                    assert!(store.get(&digest).unwrap() == *bytes);
                    assert!(store.read_range(&digest, 10..3000).unwrap() == bytes[10..3000]);
                }
            });
        }
    });
    assert_eq!(store.list().unwrap().len(), blobs.len());
    assert_eq!(store.check_all().unwrap(), []);
}

fn everything_can_be_done(both: &Both) {
    assert_eq!(both.store.try_out(), Ok(()));
    assert_eq!((both.store.list().unwrap(), both.store.sweep()), (vec![], Ok(0)));
}
