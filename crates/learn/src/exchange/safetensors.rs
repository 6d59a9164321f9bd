//! safetensors 0.8: a header of JSON, then the numbers.

use std::collections::HashMap;

use ::safetensors::tensor::{Dtype, TensorView};
use ::safetensors::{SafeTensors, serialize};
use acequia_neural::Network;

use super::{DOCUMENT, had_back, wrong};
use crate::LearnError;
use crate::model::{Form, Model};
use crate::tasks::Node;

/// A name, a shape and numbers.
pub(super) struct Tensor {
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
    bytes: Vec<u8>,
}

fn tensor(name: &str, numbers: &[f64]) -> Tensor {
    let bytes = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    Tensor { name: name.to_owned(), shape: vec![numbers.len()], bytes }
}

pub(super) fn tensors(model: &Model) -> Vec<Tensor> {
    let scales = || model.variables.iter().map(|one| one.scale);
    let means: Vec<f64> = scales().map(|scale| scale.map_or(0.0, |scale| scale.mean)).collect();
    let deviations: Vec<f64> = scales().map(|scale| scale.map_or(1.0, |scale| scale.sd)).collect();
    let mut all = vec![tensor("scale.mean", &means), tensor("scale.sd", &deviations)];
    match &model.form {
        Form::Linear { intercept, coefficients, .. } | Form::Logistic { intercept, coefficients, .. } => {
            all.push(tensor("intercept", &[*intercept]));
            all.push(tensor("coefficients", coefficients));
        }
        Form::Cox { coefficients, baseline, .. } => {
            let (days, hazard): (Vec<f64>, Vec<f64>) = baseline.iter().copied().unzip();
            all.push(tensor("coefficients", coefficients));
            all.push(tensor("baseline.days", &days));
            all.push(tensor("baseline.cumulative_hazard", &hazard));
        }
        Form::DiscreteTime { ends_days, intercepts, coefficients, .. } => {
            all.push(tensor("coefficients", coefficients));
            all.push(tensor("intervals.ends_days", ends_days));
            all.push(tensor("intervals.intercepts", intercepts));
        }
        Form::Boosting { base, trees } => {
            let leaf = |node: &Node| match node {
                Node::Leaf(value) => [-1.0, *value, -1.0, -1.0],
                #[expect(clippy::cast_precision_loss, reason = "numbers of nodes are small")]
                Node::Split { variable, threshold, left, right } => {
                    [*variable as f64, *threshold, *left as f64, *right as f64]
                }
            };
            #[expect(clippy::cast_precision_loss, reason = "numbers of nodes are small")]
            let counts: Vec<f64> = trees.iter().map(|tree| tree.nodes.len() as f64).collect();
            let nodes: Vec<f64> = trees.iter().flat_map(|tree| tree.nodes.iter().flat_map(leaf)).collect();
            let rows = nodes.len() / 4;
            all.push(tensor("base", &[*base]));
            all.push(tensor("trees.nodes", &counts));
            // Variable or -1 for a leaf, threshold or value, left, right.
            all.push(Tensor { shape: vec![rows, 4], ..tensor("nodes", &nodes) });
        }
        Form::Network { weights, .. } => {
            let mut weights = weights.as_slice();
            for parameter in model.network().iter().flat_map(Network::parameters) {
                let Some((own, rest)) = weights.split_at_checked(parameter.len()) else { break };
                all.push(Tensor { shape: parameter.shape.clone(), ..tensor(&parameter.name, own) });
                weights = rest;
            }
        }
    }
    all
}

pub(super) fn written(model: &Model) -> Result<Vec<u8>, LearnError> {
    let unwritable = |_| wrong("it cannot be written as safetensors");
    let tensors = tensors(model);
    let views =
        tensors.iter().map(|one| Ok((one.name.as_str(), TensorView::new(Dtype::F64, one.shape.clone(), &one.bytes)?)));
    let views: Vec<(&str, TensorView<'_>)> = views.collect::<Result<_, _>>().map_err(unwritable)?;
    // One entry: a map of several would be written in any order.
    let metadata = HashMap::from([(DOCUMENT.to_owned(), model.to_json())]);
    serialize(views, Some(metadata)).map_err(unwritable)
}

pub(super) fn read(bytes: &[u8]) -> Result<Model, LearnError> {
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|_| wrong("it is not a safetensors file"))?;
    let document = header.metadata().as_ref().and_then(|metadata| metadata.get(DOCUMENT));
    let document = document.ok_or_else(|| LearnError::Foreign {
        reason: "safetensors hold numbers, and not what is done with them; export the model as ONNX".to_owned(),
    })?;
    had_back(document, bytes, written)
}
