//! Recordings with a byte changed: refused, or the same content.

use acequia_xet::Xorb;

use crate::recorded::{rebuilt, small};

#[test]
fn no_changed_byte_of_a_xorb_goes_unnoticed() {
    for (name, recording) in small() {
        for (hash, bytes) in &recording.xorbs {
            let index = Xorb::read(bytes, hash).unwrap().into_index();
            let (mut damaged, mut same, mut refused) = (bytes.clone(), 0, 0);
            // Every byte of short ones.
            for at in (0..bytes.len()).step_by(1 + usize::try_from(index.bytes() / 30_000).unwrap()) {
                for change in [1, 0x80, 0xff] {
                    damaged[at] ^= change;
                    // What a footer has for nothing may differ, and LZ4 can say the same in two ways.
                    match Xorb::read(&damaged, hash) {
                        Ok(xorb) => {
                            assert_eq!(*xorb.index(), index, "{} {at} {change}", name.display());
                            same += 1;
                        }
                        Err(_) => refused += 1,
                    }
                    damaged[at] ^= change;
                }
            }
            assert!(same * 20 < refused, "{} {same} {refused}", name.display());
        }
    }
}

#[test]
fn no_changed_byte_of_a_shard_changes_a_file() {
    for (name, recording) in small() {
        let mut stored = recording.stored();
        for shard in &recording.shards {
            let whole = rebuilt(shard, &mut stored).unwrap();
            let mut damaged = shard.clone();
            let mut refused = 0;
            let bytes: u64 = whole.values().map(|(length, _)| length).sum();
            let step = 1 + usize::try_from(bytes / 100_000).unwrap();
            let mut tried = 0;
            for at in (0..damaged.len()).step_by(step) {
                for change in [1, 0x80, 0xff] {
                    tried += 1;
                    damaged[at] ^= change;
                    match rebuilt(&damaged, &mut stored) {
                        Ok(files) => assert_eq!(files, whole, "{} {at} {change}", name.display()),
                        Err(_) => refused += 1,
                    }
                    damaged[at] ^= change;
                }
            }
            assert!(refused * 3 > tried, "{} {refused} of {tried}", name.display());
            for length in (0..damaged.len()).step_by(step) {
                // Bytes that are missing are noticed, but for tables and a footer that older clients sent.
                let files = rebuilt(&damaged[..length], &mut stored);
                assert!(files.is_err() || files.as_ref() == Ok(&whole), "{} {length}", name.display());
            }
        }
    }
}
