//! Whatever happened to a file, there are predictions or an error, and never a panic.

use acequia_inference::{ModelFile, predict};
use proptest::prelude::*;

use crate::foreign::data;
use crate::told::{inputs, told};

/// Files whose operators make nothing larger than their inputs, so that a flipped bit asks for no memory.
const SMALL: [&str; 4] = ["logistic", "gradient-boosting", "support-vectors", "ordinal"];

fn told_of(name: &str) -> (Vec<u8>, Vec<acequia_inference::Input>) {
    let path = data(&format!("{name}.onnx"));
    (std::fs::read(&path).unwrap(), inputs(&told(&path)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_changed_file_is_read_or_refused(
        name in prop::sample::select(SMALL.to_vec()),
        places in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        end in any::<prop::sample::Index>(),
        is_cut in any::<bool>(),
    ) {
        let (mut bytes, inputs) = told_of(name);
        for (place, value) in &places {
            let at = place.index(bytes.len());
            bytes[at] = *value;
        }
        if is_cut {
            bytes.truncate(end.index(bytes.len()));
        }
        if let Ok(model) = ModelFile::read(bytes) {
            for output in model.outputs() {
                let _ = predict(&model, &inputs, &output.name);
            }
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..256)) {
        let _ = ModelFile::read(bytes);
    }
}
