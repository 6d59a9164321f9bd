//! Models as scikit-learn, XGBoost and LightGBM export them.

use std::path::{Path, PathBuf};

use acequia_inference::{Cells, InferenceError, Input, ModelFile, predict};
use acequia_types::Coded;

use crate::told::{difference, inputs, models, read, told};

pub(crate) fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

#[test]
fn models_of_others_say_what_their_runtime_says() {
    let mut run = 0;
    for path in models(&data("")) {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        match name.as_str() {
            // It goes through rows in a loop.
            "neighbours" => assert!(matches!(read(&path), Err(InferenceError::Refused { .. }))),
            _ => {
                let difference = difference(&path).unwrap_or_else(|problem| panic!("{name}: {problem}"));
                assert!(difference <= 1e-5, "{name}: {difference:e}");
                println!("{name}: largest difference {difference:.1e}");
                run += 1;
            }
        }
    }
    assert!(run >= 14, "{run}");
}

#[test]
fn a_file_says_what_it_takes_and_gives() {
    let model = read(&data("texts.onnx")).unwrap();
    assert_eq!(
        model.described(),
        "it takes age (float [rows, 1]), nodes (float [rows, 1]), pgr (float [rows, 1]), size (string [rows, 1]), \
         grade (string [rows, 1]); it gives label (int64 [rows]), probabilities (float [rows, 2])"
    );
    assert_eq!(model.producer(), "skl2onnx 1.20.0");
    let told_apart = read(&data("logistic.onnx")).unwrap();
    assert_eq!(told_apart.output("output_probability").unwrap().width, None);
}

#[test]
fn what_does_not_fit_is_an_error_with_what_would() {
    let path = data("forest.onnx");
    let (model, mut inputs) = (read(&path).unwrap(), inputs(&told(&path)));
    let code = |inputs: &[Input], output: &str| predict(&model, inputs, output).unwrap_err().code();
    assert_eq!(code(&inputs, "risk"), "IF005");
    assert_eq!(code(&[], "probabilities"), "IF005");
    inputs[0].width = 4;
    assert_eq!(code(&inputs, "probabilities"), "IF005");
    inputs[0].width = 5;
    inputs[0].name = "Y".to_owned();
    assert_eq!(code(&inputs, "probabilities"), "IF005");
    inputs[0].name = "X".to_owned();
    inputs[0].cells = Cells::Texts { texts: vec!["a".to_owned()], cells: vec![0; 5] };
    assert_eq!(code(&inputs, "probabilities"), "IF005");
    inputs[0].cells = Cells::Numbers(vec![1e300; 5]);
    assert_eq!(code(&inputs, "probabilities"), "IF005");
    inputs[0].cells = Cells::Numbers(Vec::new());
    assert!(predict(&model, &inputs, "probabilities").unwrap().values.is_empty(), "no rows, no predictions");
}

/// A file without weights is no model, whatever it is.
#[test]
fn what_is_no_model_is_refused() {
    for bytes in [&b""[..], b"PK\x03\x04", b"{}", &[0x80, 4], b"plain text", &[0; 64]] {
        let error = ModelFile::read(bytes.to_vec()).unwrap_err();
        assert!(matches!(error.code(), "IF001" | "IF003"), "{error}");
    }
    let error = ModelFile::read(vec![0; 17 << 20]).unwrap_err();
    assert_eq!(error.code(), "IF002");
}
