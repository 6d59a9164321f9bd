//! Models beside what onnxruntime says of rows.

use std::path::{Path, PathBuf};

use acequia_inference::{Cells, InferenceError, Input, ModelFile, Predictions, predict};
use serde_json::Value;

/// Every `NAME.onnx` of a folder.
pub(crate) fn models(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut models: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|extension| extension == "onnx")).collect();
    models.sort();
    models
}

pub(crate) fn read(path: &Path) -> Result<ModelFile, InferenceError> {
    ModelFile::read(std::fs::read(path).unwrap())
}

/// What lies beside a model.
pub(crate) fn told(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path.with_extension("json")).unwrap()).unwrap()
}

pub(crate) fn inputs(told: &Value) -> Vec<Input> {
    let cells = |one: &Value| match one["texts"].as_array() {
        Some(cells) => {
            let mut texts: Vec<String> = cells.iter().map(|cell| cell.as_str().unwrap().to_owned()).collect();
            texts.sort();
            texts.dedup();
            let place = |cell: &Value| texts.binary_search(&cell.as_str().unwrap().to_owned()).unwrap();
            let cells = cells.iter().map(|cell| u32::try_from(place(cell)).unwrap()).collect();
            Cells::Texts { texts: texts.clone(), cells }
        }
        None => Cells::Numbers(numbers(&one["numbers"])),
    };
    let input = |one: &Value| Input {
        name: one["name"].as_str().unwrap().to_owned(),
        width: usize::try_from(one["width"].as_u64().unwrap()).unwrap(),
        cells: cells(one),
    };
    told["inputs"].as_array().unwrap().iter().map(input).collect()
}

fn numbers(list: &Value) -> Vec<f64> {
    list.as_array().unwrap().iter().map(|number| number.as_f64().unwrap_or(f64::NAN)).collect()
}

/// Largest difference between what is said here and what was told, over all outputs.
pub(crate) fn difference(path: &Path) -> Result<f64, String> {
    let words = |error: InferenceError| error.to_string();
    let (model, told) = (read(path).map_err(words)?, told(path));
    let inputs = inputs(&told);
    let mut largest: f64 = 0.0;
    for (output, rows) in told["outputs"].as_object().unwrap() {
        let expected: Vec<f64> = rows.as_array().unwrap().iter().flat_map(numbers).collect();
        let Predictions { width, values } = predict(&model, &inputs, output).map_err(words)?;
        if width * rows.as_array().unwrap().len() != expected.len() || values.len() != expected.len() {
            return Err(format!("{output} has {width} columns"));
        }
        // Of large numbers the part that differs.
        let apart = |(a, b): (&f64, &f64)| (a - b).abs() / b.abs().max(1.0);
        largest = values.iter().zip(&expected).map(apart).fold(largest, f64::max);
    }
    Ok(largest)
}
