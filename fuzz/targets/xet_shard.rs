//! What clients upload by Xet: shards, about xorbs of recorded uploads.

#![no_main]

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use acequia_xet::{Shard, XetHash, Xorb, XorbIndex};
use libfuzzer_sys::fuzz_target;

type Stored = BTreeMap<XetHash, (Vec<u8>, Arc<XorbIndex>)>;

macro_rules! recorded {
    ($folder:literal, $hash:literal) => {
        (
            $hash,
            include_bytes!(concat!("../../crates/xet/tests/data/recordings/", $folder, "/", $hash, ".xorb")).as_slice(),
        )
    };
}

static STORED: LazyLock<Stored> = LazyLock::new(|| {
    let recorded = [
        recorded!("one", "1b7efecdf6ae4f092443c479747e11fed70888744dbf9bb45bc77f0cee8010f1"),
        recorded!("zeros", "1809ba9b51b1c8a9ee3290cc999a535ab12a59076da0cb5610d513258b090873"),
        recorded!("mixed", "8aad7e15af51b38df3ae451b848e84047761bfde5bac690ccd94aab5a8f9d71a"),
    ];
    let read = |(hash, bytes): (&str, &[u8])| {
        let hash = XetHash::parse(hash).expect("a hash");
        let index = Xorb::read(bytes, &hash).expect("a recorded xorb").into_index();
        (hash, (bytes.to_vec(), Arc::new(index)))
    };
    recorded.into_iter().map(read).collect()
});

fuzz_target!(|bytes: &[u8]| {
    let Ok(shard) = Shard::read(bytes) else { return };
    for xorb in shard.xorbs() {
        assert_eq!(xorb.chunks().map(|(_, bytes)| u64::from(bytes)).sum::<u64>(), u64::from(xorb.bytes()));
        let _ = STORED.get(&xorb.hash()).map(|(_, index)| assert!(xorb.describes(index)));
    }
    let mut stored = STORED.clone();
    for file in shard.files() {
        assert_eq!(file.segments().map(|segment| u64::from(segment.bytes)).sum::<u64>(), file.bytes());
        let _ = file.sha256();
        let Ok(mut content) = file.rebuild(&mut stored) else { continue };
        let mut length = 0;
        while let Some(piece) = content.next().expect("xorbs are whole") {
            length += piece.len() as u64;
        }
        assert_eq!(length, file.bytes());
    }
});
