//! Predictions of models that other programs made.
//!
//! Comes in: an ONNX file of anybody, and rows. Goes out: what the model says of each row, as its maker's runtime would say it to
//! 1e-5. This crate is the one door to tract, which runs the graph.
//!
//! A model file is outside bytes. [`ModelFile::read`] refuses what is not plain tabular inference before anything is built: operators
//! that are not listed, operator sets of vendors, weights in other files, loops and branches. In a program whose `main` begins with
//! [`confinable`] a graph runs in a process of its own that has no more memory and processor time than it needs, may write nothing,
//! and takes nothing along when it breaks off; elsewhere, as in tests, it runs where it is called.
//!
//! ```no_run
//! use acequia_inference::{Cells, Input, ModelFile, predict};
//! let model = ModelFile::read(std::fs::read("model.onnx")?)?;
//! let input = Input { name: model.inputs()[0].name.clone(), width: 2, cells: Cells::Numbers(vec![61.0, 3.0, 48.0, 0.0]) };
//! let risks = predict(&model, &[input], "probabilities")?;
//! assert_eq!(risks.values.len(), 2 * risks.width);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod confined;
mod error;
mod file;
mod operators;
mod run;
mod wire;

pub use confined::{Limits, confinable};
pub use error::InferenceError;
pub use file::{Element, FILE_BYTES_MAX, ModelFile, Port};
pub use run::{Cells, Input, Predictions};

/// What a model says of rows: all numbers of one output, row by row.
///
/// # Errors
/// [`InferenceError::Port`] when inputs or output are not the model's, or rows do not fit them; [`InferenceError::Unready`],
/// [`InferenceError::Failed`], [`InferenceError::Exhausted`] and [`InferenceError::Process`].
pub fn predict(model: &ModelFile, inputs: &[Input], output: &str) -> Result<Predictions, InferenceError> {
    predict_within(model, inputs, output, &Limits::default())
}

/// As [`predict`], with other limits. They hold where models run in a process of their own.
///
/// # Errors
/// As [`predict`].
pub fn predict_within(
    model: &ModelFile,
    inputs: &[Input],
    output: &str,
    limits: &Limits,
) -> Result<Predictions, InferenceError> {
    match confined::is_confinable() {
        true => confined::predict(model, inputs, output, limits),
        false => run::predict(model, inputs, output),
    }
}
