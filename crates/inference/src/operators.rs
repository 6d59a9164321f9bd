//! Which operators are run, and those that tract lacks or has in single precision only.

mod features;
mod kernel;
mod linear;
mod numbers;
mod simpler;
mod support_vectors;
mod texts;
mod trees;

use tract_onnx::model::{OnnxOpRegister, ParsingContext};
use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::{InferenceOp, TractResult};

use kernel::Own;
pub(crate) use simpler::as_simpler;

/// The operator set of models of tables.
pub(crate) const ML_DOMAIN: &str = "ai.onnx.ml";

/// Operators of ai.onnx that run. Each is held against onnxruntime by the tests; loops, branches, random numbers and images are not
/// among them.
const GENERAL: [&str; 84] = [
    "Abs",
    "Add",
    "And",
    "ArgMax",
    "ArgMin",
    "BatchNormalization",
    "Cast",
    "Ceil",
    "Clip",
    "Concat",
    "Constant",
    "ConstantOfShape",
    "Conv",
    "CumSum",
    "Div",
    "Dropout",
    "Einsum",
    "Elu",
    "Equal",
    "Erf",
    "Exp",
    "Expand",
    "Flatten",
    "Floor",
    "Gather",
    "GatherElements",
    "Gelu",
    "Gemm",
    "Greater",
    "GreaterOrEqual",
    "HardSigmoid",
    "Identity",
    "IsNaN",
    "LayerNormalization",
    "LeakyRelu",
    "Less",
    "LessOrEqual",
    "Log",
    "LogSoftmax",
    "MatMul",
    "Max",
    "MaxPool",
    "Mean",
    "Min",
    "Mod",
    "Mul",
    "Neg",
    "Not",
    "OneHot",
    "Or",
    "PRelu",
    "Pow",
    "Range",
    "Reciprocal",
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceProd",
    "ReduceSum",
    "ReduceSumSquare",
    "Relu",
    "Reshape",
    "Round",
    "Selu",
    "Shape",
    "Sigmoid",
    "Sign",
    "Slice",
    "Softmax",
    "Softplus",
    "Split",
    "Sqrt",
    "Squeeze",
    "Sub",
    "Sum",
    "Tanh",
    "Tile",
    "Transpose",
    "Unsqueeze",
    "Where",
];

/// Operators of ai.onnx.ml that run.
const ML: [&str; 15] = [
    "ArrayFeatureExtractor",
    "Binarizer",
    "FeatureVectorizer",
    "Imputer",
    "LabelEncoder",
    "LinearClassifier",
    "LinearRegressor",
    "Normalizer",
    "OneHotEncoder",
    "SVMClassifier",
    "Scaler",
    "TreeEnsemble",
    "TreeEnsembleClassifier",
    "TreeEnsembleRegressor",
    "ZipMap",
];

/// Whether an operator runs.
pub(crate) fn is_run(node: &NodeProto) -> bool {
    match node.domain.as_str() {
        ML_DOMAIN => ML.contains(&node.op_type.as_str()),
        _ => GENERAL.contains(&node.op_type.as_str()),
    }
}

type Built = TractResult<(Box<dyn InferenceOp>, Vec<String>)>;

/// Puts this crate's operators in the place of tract's, or beside them.
pub(crate) fn register(operators: &mut OnnxOpRegister) {
    macro_rules! own {
        ($($name:literal => $build:path),+ $(,)?) => {
            $(operators.insert($name, |_: &ParsingContext<'_>, node: &NodeProto| -> Built {
                Ok((Own::expand($build(node)?), Vec::new()))
            });)+
        };
    }
    own! {
        "ArrayFeatureExtractor" => features::extractor,
        "Binarizer" => features::binarizer,
        "FeatureVectorizer" => features::vectorizer,
        "Imputer" => features::imputer,
        "Normalizer" => features::normalizer,
        "Scaler" => features::scaler,
        "LabelEncoder" => texts::label_encoder,
        "OneHotEncoder" => texts::one_hot_encoder,
        "LinearClassifier" => linear::classifier,
        "LinearRegressor" => linear::regressor,
        "SVMClassifier" => support_vectors::classifier,
        "TreeEnsemble" => trees::ensemble,
        "TreeEnsembleClassifier" => trees::classifier,
        "TreeEnsembleRegressor" => trees::regressor,
        "Erf" => numbers::erf,
        "Exp" => numbers::exp,
        "Gelu" => numbers::gelu,
        "IsNaN" => numbers::is_nan,
        "LeakyRelu" => numbers::leaky_relu,
        "Log" => numbers::log,
        "Round" => numbers::round,
        "Sigmoid" => numbers::sigmoid,
        "Softplus" => numbers::softplus,
        "Tanh" => numbers::tanh,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_sorted() {
        assert!(GENERAL.is_sorted() && ML.is_sorted());
    }
}
