//! A model in the formats that other programs read: ONNX to predict with, safetensors for its numbers.
//!
//! `model.json` says all there is; both others carry it whole in their metadata, so that the model can be had back from them
//! unchanged, and whoever has one of the files can tell what was frozen.

mod alike;
mod onnx;
mod safetensors;

use crate::LearnError;
use crate::model::{Form, Model};

/// Key of the metadata under which both formats carry the model's own document.
const DOCUMENT: &str = "acequia-model/1";

impl Model {
    /// The model as an ONNX graph that predicts from raw columns on, the steps of each variable included. The same model gives
    /// the same bytes.
    ///
    /// Inputs: for each column one tensor of shape `[rows, 1]`, `double`, or `string` where a variable asks which text it is
    /// (without spaces around it). What is missing, as NaN or as a text that says so, gives NaN, but for trees, which go on with it:
    /// complete rows are the caller's to see to. Outputs, `double`: `linear_predictor` of shape `[rows, 1]`, and
    ///
    /// | model | output | shape |
    /// |---|---|---|
    /// | linear | `prediction` | `[rows, 1]` |
    /// | logistic, boosting, network of log odds | `probability` | `[rows, 1]` |
    /// | Cox with a baseline, discrete time | `risk`, the probability of the event by each of [`Model::horizons_days`] | `[rows, horizons]` |
    ///
    /// An image comes in as pixels from 0 to 1, `double`, of shape `[rows, height * width]`, row of pixels after row of pixels.
    ///
    /// Operators of ONNX opset 17 and ai.onnx.ml 3 (ONNX 1.12). Trees are summed by the runtime in single precision, and
    /// convolutions are single; everything else is double.
    ///
    /// # Errors
    /// [`LearnError::Model`] when a variable has steps that give no number.
    pub fn to_onnx(&self) -> Result<Vec<u8>, LearnError> {
        onnx::written(self)
    }

    /// The model's numbers as safetensors (float64), with its own document in the metadata.
    ///
    /// # Errors
    /// [`LearnError::Model`] when it cannot be written.
    pub fn to_safetensors(&self) -> Result<Vec<u8>, LearnError> {
        safetensors::written(self)
    }

    /// Names and shapes of what [`Model::to_safetensors`] holds.
    pub fn tensors(&self) -> Vec<(String, Vec<usize>)> {
        safetensors::tensors(self).into_iter().map(|one| (one.name, one.shape)).collect()
    }

    /// Reads a model back from safetensors.
    ///
    /// # Errors
    /// [`LearnError::Foreign`] when the file is not one of [`Model::to_safetensors`]; [`LearnError::Model`] when it is damaged, or its
    /// numbers are not those of its document.
    pub fn from_safetensors(bytes: &[u8]) -> Result<Self, LearnError> {
        safetensors::read(bytes)
    }

    /// Reads a model back from ONNX.
    ///
    /// # Errors
    /// [`LearnError::Foreign`] when the file is not one of [`Model::to_onnx`]; [`LearnError::Model`] when it is damaged, or its graph is
    /// not the one of its document.
    pub fn from_onnx(bytes: &[u8]) -> Result<Self, LearnError> {
        onnx::read(bytes)
    }

    /// Days for which a survival model states risks in the formats of others: whole years up to the end of its training, and
    /// that end; the ends of the intervals of a discrete-time model. Empty for a model that states none.
    pub fn horizons_days(&self) -> Vec<f64> {
        const YEAR_DAYS: f64 = 365.25;
        match &self.form {
            Form::Cox { baseline, .. } if !baseline.is_empty() => {
                let cut = self.outcome.as_ref().and_then(crate::PlanOutcome::cut_days);
                let end = cut.or(baseline.last().map(|(days, _)| *days)).unwrap_or(0.0);
                let years = (1_u32..=100).map(|year| f64::from(year) * YEAR_DAYS).take_while(|days| *days < end - 1.0);
                years.chain([end]).collect()
            }
            Form::DiscreteTime { ends_days, .. } => ends_days.clone(),
            _ => Vec::new(),
        }
    }
}

fn wrong(message: &str) -> LearnError {
    LearnError::Model { message: message.to_owned() }
}

/// A document out of somebody's file: its model, if the rest of the file is what that model gives.
fn had_back(
    document: &str,
    bytes: &[u8],
    written: fn(&Model) -> Result<Vec<u8>, LearnError>,
) -> Result<Model, LearnError> {
    let model = Model::from_json(document)?;
    if written(&model)? != bytes {
        return Err(wrong("the file is not what its own document gives"));
    }
    Ok(model)
}
