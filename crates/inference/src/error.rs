//! What can go wrong with a model file, with a code and a hint. Names of the graph and places, never a value of a row.

use acequia_types::{Coded, Exit};

/// Errors of reading and running model files.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InferenceError {
    /// It is no ONNX file, or a damaged one.
    #[error("the model file is damaged or no ONNX: {problem}")]
    Damaged {
        /// What is wrong.
        problem: String,
    },
    /// It is larger than what is run.
    #[error("the model file is too large: {what}, and {limit} are allowed")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// How much is allowed.
        limit: u64,
    },
    /// It needs what is not in the file, or could run without end.
    #[error("the model file is refused: {reason}")]
    Refused {
        /// Why.
        reason: String,
    },
    /// An operator that is not run here.
    #[error("the model needs the operator {operator} of {domain}, which is not run here")]
    Operator {
        /// Its name.
        operator: String,
        /// Its operator set.
        domain: String,
    },
    /// What is asked of the model is not what it has.
    #[error("the model does not fit: {problem}")]
    Port {
        /// What is wrong, with the names and shapes that it has.
        problem: String,
    },
    /// The graph contradicts itself, or uses an operator in a way that is not run here.
    #[error("the model cannot be made ready: {problem}")]
    Unready {
        /// Where, in words of the graph.
        problem: String,
    },
    /// It gives no predictions.
    #[error("the model gives no predictions: {problem}")]
    Failed {
        /// What happened, without values.
        problem: String,
    },
    /// It took more than it may.
    #[error("the model took more than {limit}")]
    Exhausted {
        /// Of what, with the limit.
        limit: String,
    },
    /// The process that it should run in cannot be started or reached.
    #[error("no process can be started for the model: {problem}")]
    Process {
        /// What the operating system says.
        problem: std::io::ErrorKind,
    },
}

impl Coded for InferenceError {
    fn code(&self) -> &'static str {
        match self {
            Self::Damaged { .. } => "IF001",
            Self::TooLarge { .. } => "IF002",
            Self::Refused { .. } => "IF003",
            Self::Operator { .. } => "IF004",
            Self::Port { .. } => "IF005",
            Self::Unready { .. } => "IF006",
            Self::Failed { .. } => "IF007",
            Self::Exhausted { .. } => "IF008",
            Self::Process { .. } => "IF009",
        }
    }
    fn hint(&self) -> &'static str {
        match self {
            Self::Damaged { .. } => "fetch or export the file again",
            Self::TooLarge { .. } => "export a smaller model: fewer or shallower trees, fewer units",
            Self::Refused { .. } => {
                "export one file with all weights in it, with operators of ai.onnx and ai.onnx.ml, without loops and branches"
            }
            Self::Operator { .. } => "export with other operators or an older operator set",
            Self::Port { .. } => {
                "correct the manifest: names, order and number of columns, or the column of the output"
            }
            Self::Unready { .. } => "export again with another operator set (13 to 18 are tried most), then report it",
            Self::Failed { .. } => "give it rows as its maker describes them; without values missing that it needs",
            Self::Exhausted { .. } => "export a smaller model",
            Self::Process { .. } => "try again; if it stays, the machine has no room for another process",
        }
    }
    fn exit(&self) -> Exit {
        match self {
            Self::Damaged { .. } => Exit::Integrity,
            Self::TooLarge { .. } | Self::Refused { .. } | Self::Operator { .. } | Self::Exhausted { .. } => {
                Exit::PolicyRefused
            }
            Self::Port { .. } => Exit::Usage,
            Self::Unready { .. } | Self::Failed { .. } => Exit::Failure,
            Self::Process { .. } => Exit::Temporary,
        }
    }
}
