//! Model files of any format, and validation records: what `acequia validate` and `acequia publish` are given.

#![no_main]

use acequia_learn::{Model, Record, TestedModel, validation_page};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(model) = Model::from_bytes(bytes) {
        let written = [Ok(model.to_json().into_bytes()), model.to_onnx(), model.to_safetensors()];
        for again in written.into_iter().flatten() {
            assert_eq!(Model::from_bytes(&again).expect("what is written is read"), model);
        }
        let _ = TestedModel::new(model, Vec::new());
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(record) = Record::from_json(text) {
        assert!(!validation_page(&record).is_empty());
    }
});
