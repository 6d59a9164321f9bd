//! Files told as xorbs: with the hashes that clients compute, and with bytes that are the file again.

use acequia_xet::{Cutter, MAX_CHUNK_BYTES, MOST_CHUNKS, Plan, Planner, Shard, Xorb};
use proptest::prelude::*;

use crate::recorded::{rebuilt_content, small};

fn planned(pieces: &[&[u8]]) -> Plan {
    let mut planner = Planner::default();
    pieces.iter().for_each(|piece| planner.push(piece));
    planner.finish()
}

/// Bytes that neither repeat nor pack, the same for a seed.
fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; length];
    let mut state = seed | 1;
    for byte in &mut bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        *byte = state.to_le_bytes()[3];
    }
    bytes
}

/// The specification's loop, byte by byte, with the table that the crate names.
fn cut_slowly(bytes: &[u8]) -> Vec<usize> {
    let (mut ends, mut hash, mut length) = (Vec::new(), 0_u64, 0);
    for (at, byte) in bytes.iter().enumerate() {
        hash = (hash << 1).wrapping_add(gearhash::DEFAULT_TABLE[usize::from(*byte)]);
        length += 1;
        if length >= 8 * 1024 && (length == 128 * 1024 || hash & 0xffff_0000_0000_0000 == 0) {
            ends.push(at + 1);
            (hash, length) = (0, 0);
        }
    }
    if length > 0 {
        ends.push(bytes.len());
    }
    ends
}

fn cut(pieces: &[&[u8]]) -> Vec<usize> {
    let (mut cutter, mut at, mut ends) = (Cutter::default(), 0, Vec::new());
    for piece in pieces {
        let mut rest = *piece;
        while !rest.is_empty() {
            let (taken, end) = cutter.take(rest);
            rest = &rest[taken..];
            at += taken;
            if end {
                ends.push(at);
            }
        }
    }
    if at > 0 && ends.last() != Some(&at) {
        ends.push(at);
    }
    ends
}

/// The file again, from the xorbs as clients get them.
fn read_back(plan: &Plan, content: &[u8]) -> Vec<u8> {
    let mut back = Vec::new();
    for xorb in plan.xorbs() {
        let from = usize::try_from(xorb.at()).unwrap();
        let composed = xorb.compose(&content[from..from + xorb.bytes() as usize]).unwrap();
        assert_eq!(composed.len() as u64, xorb.stored_bytes());
        let read = Xorb::read(&composed, xorb.hash()).unwrap();
        assert_eq!(read.index().chunks().len(), usize::from(xorb.chunks()));
        let mut chunks = read.chunks(&(0..u32::from(xorb.chunks()))).unwrap();
        while let Some((_, bytes)) = chunks.next().unwrap() {
            back.extend_from_slice(bytes);
        }
    }
    back
}

/// Hashes of files and chunks as hf_xet and @huggingface/hub computed them when they uploaded (see `data/recordings/README.md`).
#[test]
fn files_have_the_hashes_that_clients_computed() {
    let mut compared = 0;
    for (folder, recording) in small() {
        let mut stored = recording.stored();
        for shard in &recording.shards {
            for file in Shard::read(shard).unwrap().files() {
                let content = rebuilt_content(file, &mut stored);
                let plan = planned(&[&content]);
                assert_eq!(*plan.hash(), file.hash(), "{}", folder.display());
                assert_eq!(read_back(&plan, &content), content);
                compared += usize::from(!content.is_empty());
            }
        }
    }
    assert!(compared > 10, "{compared}");
}

/// Known answers that hf_xet 1.8.0 gave for made-up files of many chunks: `tests/data/hashes.py` asks it again.
#[test]
fn long_files_have_the_hashes_that_hf_xet_computes() {
    let told = include_str!("../data/hashes.txt");
    let mut compared = 0;
    for line in told.lines().filter(|line| !line.starts_with('#')) {
        let [kind, length, hash] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let length: usize = length.parse().unwrap();
        let content = match kind {
            "zeros" => vec![0; length],
            "noise" => noise(length, 7),
            "counting" => {
                (0..length.div_ceil(4)).flat_map(|n| u32::try_from(n).unwrap().to_le_bytes()).take(length).collect()
            }
            _ => panic!("{kind}"),
        };
        assert_eq!(planned(&[&content]).hash().to_string(), hash, "{line}");
        compared += 1;
    }
    assert!(compared >= 12);
}

#[test]
fn a_change_touches_few_xorbs() {
    let before = noise(40_000_000, 1);
    let mut after = before.clone();
    // One byte in the middle, and a few more that move everything behind them.
    after[20_000_000] ^= 1;
    after.splice(30_000_000..30_000_000, [1, 2, 3]);
    let (old, new) = (planned(&[&before]), planned(&[&after]));
    let known: Vec<_> = old.xorbs().iter().map(|xorb| *xorb.hash()).collect();
    let fresh: u64 = new.xorbs().iter().filter(|xorb| !known.contains(xorb.hash())).map(|x| u64::from(x.bytes())).sum();
    assert!(fresh < 5_000_000, "{fresh} of {} bytes are new", after.len());
    assert!((40..110).contains(&old.xorbs().len()), "{} xorbs", old.xorbs().len());
}

#[test]
fn what_is_damaged_is_no_plan_and_no_xorb() {
    let content = noise(3_000_000, 5);
    let plan = planned(&[&content]);
    let kept = plan.to_bytes();
    assert_eq!(Plan::from_bytes(&kept), Some(plan.clone()));
    for at in 0..kept.len() {
        let mut damaged = kept.clone();
        damaged[at] ^= 1;
        assert_eq!(Plan::from_bytes(&damaged), None, "{at}");
    }
    for cut in 0..kept.len() {
        assert_eq!(Plan::from_bytes(&kept[..cut]), None, "{cut}");
    }
    let xorb = plan.xorbs()[0];
    let mut own = content[..xorb.bytes() as usize].to_vec();
    assert!(xorb.compose(&own[1..]).is_none());
    own[5] ^= 1;
    assert!(xorb.compose(&own).is_none());
    assert_eq!(planned(&[]).xorbs().len(), 0);
    assert_eq!(Plan::from_bytes(&planned(&[]).to_bytes()), Some(planned(&[])));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 24, ..ProptestConfig::default() })]

    /// It does not matter how bytes come; cuts are the specification's; each byte of the file is in one xorb.
    #[test]
    fn plans_follow_the_bytes_and_nothing_else(
        seed in any::<u64>(), length in 0..3_000_000_usize, even in any::<bool>(),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..6)
    ) {
        let content = if even { vec![seed.to_le_bytes()[0]; length] } else { noise(length, seed) };
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(length + 1)).collect();
        cuts.sort_unstable();
        let starts = [0].into_iter().chain(cuts.iter().copied());
        let pieces: Vec<&[u8]> =
            starts.zip(cuts.iter().copied().chain([length])).map(|(from, to)| &content[from..to]).collect();
        prop_assert_eq!(cut(&pieces), cut_slowly(&content));
        let plan = planned(&pieces);
        prop_assert_eq!(&plan, &planned(&[&content]));
        let mut at = 0;
        for (number, xorb) in plan.xorbs().iter().enumerate() {
            prop_assert_eq!(xorb.at(), at);
            prop_assert!(xorb.chunks() <= MOST_CHUNKS && xorb.bytes() <= MAX_CHUNK_BYTES * u32::from(MOST_CHUNKS));
            prop_assert_eq!(plan.number_at(at), Some(number));
            at += u64::from(xorb.bytes());
            prop_assert_eq!(plan.number_at(at - 1), Some(number));
        }
        prop_assert_eq!((at, plan.number_at(at)), (plan.bytes(), None));
        prop_assert_eq!(read_back(&plan, &content), content);
    }
}
