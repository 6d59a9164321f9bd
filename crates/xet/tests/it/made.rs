//! Uploads that are made here: of every shape that is taken, and of many that are not.

use std::collections::BTreeMap;
use std::sync::Arc;

use acequia_types::{Coded, Exit};
use acequia_xet::{
    Codec, MAX_UNPACKED_BYTES, MAX_XORB_BYTES, MAX_XORB_CHUNKS, Part, Shard, XetError, XetHash, Xorb, XorbReader,
};
use proptest::prelude::*;

use crate::write::{self, End, Piece};

fn codec() -> impl Strategy<Value = Codec> {
    prop_oneof![Just(Codec::Plain), Just(Codec::Lz4), Just(Codec::GroupedLz4)]
}

fn piece() -> impl Strategy<Value = Piece> {
    let even = (any::<u8>(), 1..3000_usize).prop_map(|(byte, length)| vec![byte; length]);
    let uneven = proptest::collection::vec(any::<u8>(), 1..200);
    let numbers = proptest::collection::vec(0..900_u32, 1..300)
        .prop_map(|numbers| numbers.iter().flat_map(|number| number.to_le_bytes()).collect());
    (prop_oneof![even, uneven, numbers], codec())
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![Just(End::Bare), Just(End::Missing), Just(End::Footer)]
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        xorbs in proptest::collection::vec(proptest::collection::vec(piece(), 1..30), 1..4),
        with_footer in any::<bool>(),
        end in end(),
        cuts in proptest::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..12),
        step in 1..400_usize,
    ) {
        let mut stored = BTreeMap::new();
        let mut hashes = Vec::new();
        for pieces in &xorbs {
            let (hash, bytes) = write::xorb(pieces, with_footer);
            let index = Xorb::read(&bytes, &hash).unwrap().into_index();
            let mut reader = XorbReader::default();
            let mut contents = Vec::new();
            for part in bytes.chunks(step) {
                reader.feed(part, |_, content| { contents.push(content.to_vec()); Ok::<(), XetError>(()) }).unwrap();
            }
            prop_assert_eq!(&reader.finish(&hash).unwrap(), &index);
            prop_assert!(contents.iter().eq(pieces.iter().map(|(content, _)| content)));
            stored.insert(hash, (bytes, Arc::new(index)));
            hashes.push(hash);
        }
        // Files of any runs of chunks of any xorbs, one after the other.
        let segments: Vec<write::Part<'_>> = cuts.iter().map(|(xorb, start, length)| {
            let xorb = xorb.index(xorbs.len());
            let start = start.index(xorbs[xorb].len());
            let length = 1 + length.index(xorbs[xorb].len() - start);
            (hashes[xorb], u32::try_from(start).unwrap()..u32::try_from(start + length).unwrap(), xorbs[xorb].as_slice())
        }).collect();
        let files: Vec<Vec<write::Part<'_>>> = segments.chunks(3).map(<[_]>::to_vec).chain([Vec::new()]).collect();
        let described: Vec<&[Piece]> = xorbs.iter().map(Vec::as_slice).collect();
        let bytes = write::shard(&files, &described, end);
        let shard = Shard::read(&bytes).unwrap();
        prop_assert_eq!(shard.files().len(), files.len());
        for (file, parts) in shard.files().iter().zip(&files) {
            let expected: Vec<u8> = parts.iter().flat_map(|(_, range, pieces)| {
                pieces[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()].iter().flat_map(|(content, _)| content.iter().copied())
            }).collect();
            let mut content = file.rebuild(&mut stored).unwrap();
            let mut all = Vec::new();
            while let Some(piece) = content.next().unwrap() {
                all.extend_from_slice(piece);
            }
            prop_assert!(all == expected);
            prop_assert_eq!(file.bytes(), u64::try_from(all.len()).unwrap());
            prop_assert_eq!(file.sha256(), Some(acequia_types::Digest::of(&all)));
            prop_assert_eq!(file.hash() == XetHash::ZERO, all.is_empty());
        }
        for (xorb, pieces) in shard.xorbs().iter().zip(&xorbs) {
            prop_assert!(xorb.describes(&stored[&xorb.hash()].1));
            prop_assert_eq!(xorb.chunks().len(), pieces.len());
        }
    }

    #[test]
    fn anything_is_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400), as_shard in any::<bool>()) {
        prop_assert!(Xorb::read(&bytes, &XetHash::ZERO).is_err());
        let mut shard = write::shard(&[], &[], End::Missing);
        if as_shard {
            shard.truncate(48);
        }
        shard.extend_from_slice(&bytes);
        let _ = Shard::read(&shard);
    }
}

fn noise(length: u32) -> Vec<u8> {
    (0..length).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

fn read(bytes: &[u8]) -> Result<(), XetError> {
    Xorb::read(bytes, &XetHash::ZERO).map(drop)
}

fn header(packed: u32, codec: u8, bytes: u32) -> Vec<u8> {
    [&[0][..], &packed.to_le_bytes()[..3], &[codec], &bytes.to_le_bytes()[..3]].concat()
}

#[test]
fn xorbs_that_break_the_rules_are_refused() {
    let malformed = |bytes: &[u8]| {
        let error = read(bytes).unwrap_err();
        assert!(matches!(error, XetError::Malformed { part: Part::Xorb, at: 0, .. }), "{error}");
    };
    assert_eq!(read(&[]), Err(XetError::Cut { part: Part::Xorb, at: 0 }));
    malformed(&[1, 1, 0, 0, 0, 1, 0, 0, 9]);
    malformed(&header(1, 3, 1));
    malformed(&header(1, 99, 1));
    malformed(&header(0, 0, 0));
    malformed(&header(2, 0, 1));
    malformed(&header(131_073, 0, 131_073));
    malformed(&header(262_145, 1, 131_072));
    // A footer only.
    assert_eq!(read(b"XETBLOB\x01"), Err(XetError::Cut { part: Part::Xorb, at: 0 }));
    let (hash, bytes) = write::xorb(&[(noise(500), Codec::Plain), (noise(9000), Codec::Lz4)], false);
    let (_, with_footer) = write::xorb(&[(noise(500), Codec::Plain), (noise(9000), Codec::Lz4)], true);
    assert_eq!(read(&bytes), Err(XetError::XorbHash));
    let longer = [&bytes[..], &[0; 7]].concat();
    assert_eq!(
        Xorb::read(&longer, &hash).unwrap_err(),
        XetError::Cut { part: Part::Xorb, at: write::length(&bytes).into() }
    );
    let longer = [&with_footer[..], &[0]].concat();
    let end = u64::from(write::length(&with_footer));
    assert_eq!(Xorb::read(&longer, &hash).unwrap_err(), XetError::Trailing { part: Part::Xorb, at: end });
    for length in 0..with_footer.len() {
        // Without a footer is whole as well; every other beginning is cut off, or has fewer chunks.
        assert_eq!(Xorb::read(&with_footer[..length], &hash).is_ok(), length == bytes.len(), "{length}");
    }
    // A footer of another xorb, and one of older files.
    let (_, other) = write::xorb(&[(noise(501), Codec::Plain), (noise(9000), Codec::Lz4)], true);
    let mixed = [&bytes[..], &other[bytes.len() + 1..]].concat();
    assert!(matches!(Xorb::read(&mixed, &hash).unwrap_err(), XetError::Malformed { .. }));
    let older = [&bytes[..], b"XETBLOB\0"].concat();
    let error = Xorb::read(&older, &hash).unwrap_err();
    assert!(matches!(error, XetError::Malformed { at, .. } if at == u64::from(write::length(&bytes)) + 7), "{error}");
}

#[test]
fn chunks_that_do_not_unpack_are_refused() {
    let content = noise(3000);
    for codec in [Codec::Lz4, Codec::GroupedLz4] {
        let code = if codec == Codec::Lz4 { 1 } else { 2 };
        let packed = write::packed(&content, codec);
        let with = |packed: &[u8], bytes: u32| [&header(write::length(packed), code, bytes), packed].concat();
        assert_eq!(read(&with(&packed, 3000)), Err(XetError::XorbHash));
        for wrong in
            [with(&packed, 2999), with(&packed, 3001), with(&[], 5), with(&[&packed[..], &packed].concat(), 6000)]
        {
            assert_eq!(read(&wrong), Err(XetError::Packed { chunk: 0, at: 0 }));
        }
    }
}

#[test]
fn xorbs_beyond_the_limits_are_refused() {
    let limit = |bytes: &[u8], what: u64| {
        let error = read(bytes).unwrap_err();
        assert!(matches!(error, XetError::TooLarge { limit, .. } if limit == what), "{error}");
        assert_eq!(error.exit(), Exit::PolicyRefused);
    };
    let most = usize::try_from(MAX_XORB_CHUNKS).unwrap();
    let small = [&header(1, 0, 1)[..], &[7]].concat();
    assert_eq!(read(&small.repeat(most)), Err(XetError::XorbHash));
    limit(&small.repeat(most + 1), u64::from(MAX_XORB_CHUNKS));
    // Zeros that would unpack to more than anybody wants.
    let zeros = write::packed(&[0; 131_072], Codec::Lz4);
    let zeros = [&header(write::length(&zeros), 1, 131_072), &zeros[..]].concat();
    limit(&zeros.repeat(8193), MAX_UNPACKED_BYTES);
    limit(&vec![0; usize::try_from(MAX_XORB_BYTES).unwrap() + 1], MAX_XORB_BYTES);
}

/// A xorb of six chunks, and a shard with one file of two segments.
fn upload() -> (Vec<Piece>, XetHash, Vec<u8>) {
    let pieces: Vec<Piece> = (1..7).map(|n| (noise(n * 100), Codec::Plain)).collect();
    let (hash, _) = write::xorb(&pieces, false);
    let shard = write::shard(&[vec![(hash, 1..4, &pieces), (hash, 0..2, &pieces)]], &[&pieces], End::Bare);
    (pieces, hash, shard)
}

/// Byte `at` in record `record` of a shard.
fn changed(shard: &[u8], record: usize, at: usize, to: &[u8]) -> Vec<u8> {
    let mut shard = shard.to_vec();
    shard[record * 48 + at..][..to.len()].copy_from_slice(to);
    shard
}

#[test]
fn shards_that_break_the_rules_are_refused() {
    let (_, _, shard) = upload();
    // Records: 0 header, 1 file, 2 and 3 segments, 4 and 5 proofs, 6 SHA-256, 7 bookend, 8 xorb, 9 to 14 chunks, 15 bookend.
    assert_eq!(shard.len(), 16 * 48);
    let malformed = |shard: &[u8], place: u64| {
        let error = Shard::read(shard).unwrap_err();
        assert!(matches!(error, XetError::Malformed { part: Part::Shard, at, .. } if at == place), "{error} {place}");
    };
    malformed(&changed(&shard, 0, 3, b"x"), 0);
    malformed(&changed(&shard, 0, 32, &[3]), 32);
    malformed(&changed(&shard, 0, 40, &[201]), 40);
    malformed(&changed(&shard, 1, 32, &[1]), 48 + 32);
    malformed(&changed(&shard, 2, 32, &[1]), 96 + 32);
    malformed(&changed(&shard, 2, 40, &[4]), 96 + 40);
    malformed(&changed(&shard, 2, 44, &[0, 0, 2]), 96 + 40);
    malformed(&changed(&shard, 2, 36, &[2, 0]), 96 + 36);
    malformed(&changed(&shard, 2, 36, &[0, 0, 7]), 96 + 36);
    malformed(&changed(&shard, 7, 40, &[1]), 7 * 48 + 32);
    malformed(&changed(&shard, 8, 32, &[1]), 8 * 48 + 32);
    assert_eq!(Shard::read(&changed(&shard, 1, 35, &[0x40])).unwrap_err(), XetError::Unverified { file: 0 });
    let contradicts = |shard: &[u8], place: u64| {
        let error = Shard::read(shard).unwrap_err();
        assert!(matches!(error, XetError::ShardXorb { xorb: 0, at, .. } if at == place), "{error} {place}");
    };
    contradicts(&changed(&shard, 8, 40, &[1]), 8 * 48 + 40);
    contradicts(&changed(&shard, 8, 0, &[1]), 8 * 48);
    contradicts(&changed(&shard, 9, 32, &[1]), 9 * 48 + 32);
    contradicts(&changed(&shard, 9, 36, &[0]), 9 * 48 + 36);
    contradicts(&changed(&shard, 9, 36, &[0, 0, 3]), 9 * 48 + 36);
    contradicts(&changed(&shard, 9, 36, &[101]), 10 * 48 + 32);
    contradicts(&changed(&shard, 14, 0, &[1]), 8 * 48);
    // Counts that nothing could hold: refused before anything is read.
    for (record, count) in [(1, u32::MAX), (1, 1 << 30), (8, 60_000)] {
        let error = Shard::read(&changed(&shard, record, 36, &count.to_le_bytes())).unwrap_err();
        assert!(matches!(error, XetError::Cut { part: Part::Shard, .. }), "{error}");
    }
    let error = Shard::read(&changed(&shard, 8, 36, &u32::MAX.to_le_bytes())).unwrap_err();
    assert!(matches!(error, XetError::TooLarge { .. }), "{error}");
    for length in 0..shard.len() {
        assert!(Shard::read(&shard[..length]).is_err(), "{length}");
    }
    for more in [1, 48, 200, 248] {
        let longer = [&shard[..], &vec![0; more]].concat();
        assert_eq!(Shard::read(&longer).unwrap_err(), XetError::Trailing { part: Part::Shard, at: 16 * 48 });
    }
}

#[test]
fn footers_of_shards_that_contradict_them_are_refused() {
    let (pieces, hash, _) = upload();
    let shard = write::shard(&[vec![(hash, 1..4, &pieces)]], &[&pieces], End::Footer);
    assert!(Shard::read(&shard).is_ok());
    let footer = shard.len() - 200;
    let stated: Vec<usize> = (0..104).chain(192..200).collect();
    for at in 0..200 {
        let mut damaged = shard.clone();
        damaged[footer + at] ^= 0x10;
        assert_eq!(Shard::read(&damaged).is_err(), stated.contains(&at), "{at}");
    }
    let mut huge = shard.clone();
    huge[footer + 32..][..8].copy_from_slice(&u64::MAX.to_le_bytes());
    assert!(matches!(Shard::read(&huge).unwrap_err(), XetError::Malformed { .. }));
    for length in 14 * 48 + 1..shard.len() {
        assert!(Shard::read(&shard[..length]).is_err(), "{length}");
    }
    assert!(Shard::read(&[&shard[..], &[0]].concat()).is_err());
}

#[test]
fn files_that_do_not_fit_their_xorbs_are_refused() {
    let (pieces, hash, shard) = upload();
    let (_, bytes) = write::xorb(&pieces, false);
    let index = Arc::new(Xorb::read(&bytes, &hash).unwrap().into_index());
    let mut stored = BTreeMap::from([(hash, (bytes, index))]);
    let mut check = |shard: &[u8]| Shard::read(shard).unwrap().files()[0].check(&mut stored);
    assert_eq!(check(&shard), Ok(()));
    let segment = |result: Result<(), XetError>, segment: u32| {
        let error = result.unwrap_err();
        assert!(matches!(error, XetError::Segment { file: 0, segment: n, .. } if n == segment), "{error}");
        assert_eq!(error.exit(), Exit::Integrity);
    };
    segment(check(&changed(&shard, 2, 44, &[7])), 0);
    segment(check(&changed(&shard, 2, 44, &[3])), 0);
    segment(check(&changed(&shard, 3, 36, &[45, 1])), 1);
    // A proof of somebody who does not have the chunks.
    segment(check(&changed(&shard, 5, 31, &[0])), 1);
    assert_eq!(check(&changed(&shard, 3, 0, &[0])), Err(XetError::NoXorb { file: 0, segment: 1 }));
    assert_eq!(check(&changed(&shard, 1, 0, &[0])), Err(XetError::FileHash { file: 0 }));
    // A stored xorb that changed since.
    let at = usize::try_from(stored[&hash].1.chunks()[2].range().start).unwrap();
    for at in [at, at + 2, at + 4, at + 5, at + 8, at + 300] {
        let mut stored = stored.clone();
        stored.get_mut(&hash).unwrap().0[at] ^= 1;
        let shard = Shard::read(&shard).unwrap();
        let mut content = shard.files()[0].rebuild(&mut stored).unwrap();
        assert!(content.next().unwrap().is_some());
        let error = content.next().unwrap_err();
        assert!(matches!(error, XetError::Changed { chunk: 2, .. }), "{error}");
    }
}

#[test]
fn files_of_too_fine_chunks_are_refused() {
    let pieces: Vec<Piece> = (0..2000).map(|n| (vec![n as u8], Codec::Plain)).collect();
    let (hash, _) = write::xorb(&pieces, false);
    let read = |end| Shard::read(&write::shard(&[vec![(hash, 0..end, &pieces)]], &[], End::Bare)).map(drop);
    assert_eq!(read(1025), Ok(()));
    assert!(matches!(read(1026), Err(XetError::TooLarge { .. })));
}

#[test]
fn every_error_has_its_own_code() {
    let (part, at, file, segment, chunk, xorb, problem) = (Part::Shard, 0, 0, 0, 0, 0, "");
    let errors = [
        XetError::HashText,
        XetError::Cut { part, at },
        XetError::Trailing { part, at },
        XetError::TooLarge { what: "", limit: 1 },
        XetError::Malformed { part, at, problem },
        XetError::Packed { chunk, at },
        XetError::XorbHash,
        XetError::Changed { chunk, at },
        XetError::NoXorb { file, segment },
        XetError::Segment { file, segment, problem },
        XetError::Unverified { file },
        XetError::FileHash { file },
        XetError::ShardXorb { xorb, at, problem },
    ];
    let codes: std::collections::BTreeSet<&str> = errors.iter().map(|error| error.code()).collect();
    assert_eq!(codes.len(), errors.len());
    assert!(errors.iter().all(|error| error.code().starts_with("DX") && !error.hint().is_empty()));
}
