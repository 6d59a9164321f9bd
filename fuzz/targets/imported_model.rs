//! ONNX files of anybody, their manifests, and requests with them: what `acequia validate` and sites are given. Nothing is run here: the
//! limits of a graph are those of its process, and this one has none.

#![no_main]

use acequia_inference::ModelFile;
use acequia_learn::{ImportedModel, ModelManifest, ValidationRequest};
use libfuzzer_sys::fuzz_target;

const MANIFEST: &str = include_str!("../../examples/breast-cancer/theirs.import.toml");
const FILE: &[u8] = include_bytes!("../../examples/breast-cancer/theirs.onnx");

fuzz_target!(|bytes: &[u8]| {
    if let Ok(file) = ModelFile::read(bytes.to_vec()) {
        assert!(!file.described().is_empty());
        let manifest = ModelManifest::from_toml(MANIFEST).expect("the example is sound");
        let _ = ImportedModel::new(manifest, bytes.to_vec());
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(manifest) = ModelManifest::from_toml(text) {
        let _ = ImportedModel::new(manifest, FILE.to_vec());
    }
    if let Ok(request) = ValidationRequest::from_json(text) {
        let again = ValidationRequest::from_json(&request.to_json()).expect("what is written is read");
        assert_eq!(again.digest(), request.digest());
    }
});
