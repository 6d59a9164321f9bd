//! A table of a vocabulary export.

#![no_main]

use acequia_vocabulary::{load, open};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let folder = tempfile::tempdir().expect("a temporary folder");
    // The first half is CONCEPT, the second CONCEPT_RELATIONSHIP.
    let (concepts, relationships) = bytes.split_at(bytes.len() / 2);
    std::fs::write(folder.path().join("CONCEPT.csv"), concepts).expect("room");
    std::fs::write(folder.path().join("CONCEPT_RELATIONSHIP.csv"), relationships).expect("room");
    let index = folder.path().join("index");
    if load(folder.path(), &index, &mut |_, _| {}).is_ok() {
        open(&index).expect("what is written can be opened");
    }
    let zip = folder.path().join("export.zip");
    std::fs::write(&zip, bytes).expect("room");
    let _ = load(&zip, &index, &mut |_, _| {});
});
