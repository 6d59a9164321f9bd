//! Functions of one number, in single and double precision. tract has some in single precision only, and some as approximations.

use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use super::kernel::{Fact, Kernel, numbers, only, tensor};

#[derive(Debug)]
struct Function {
    name: &'static str,
    of: fn(f64) -> f64,
}

impl Kernel for Function {
    fn name(&self) -> &'static str {
        self.name
    }

    fn facts(&self, inputs: &[Fact]) -> TractResult<Vec<Fact>> {
        let input = only(inputs)?;
        ensure!(matches!(input.0, DatumType::F32 | DatumType::F64), "it needs single or double precision");
        Ok(vec![input.clone()])
    }

    /// In double precision; single precision is rounded once.
    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let input = only(inputs)?;
        let values: Vec<f64> = numbers(input)?.into_iter().map(self.of).collect();
        Ok(tvec!(tensor(input.datum_type(), input.shape(), &values)?.into_tvalue()))
    }
}

macro_rules! functions {
    ($($name:ident $label:literal = $of:expr;)+) => {
        $(pub(super) fn $name(_: &NodeProto) -> TractResult<impl Kernel> {
            Ok(Function { name: $label, of: $of })
        })+
    };
}

functions! {
    erf "Erf" = libm::erf;
    exp "Exp" = libm::exp;
    log "Log" = libm::log;
    sigmoid "Sigmoid" = logistic;
    softplus "Softplus" = |x| x.max(0.0) + libm::log1p(libm::exp(-x.abs()));
    tanh "Tanh" = libm::tanh;
}

/// 1 / (1 + e^-x), without overflow.
pub(super) fn logistic(x: f64) -> f64 {
    let e = libm::exp(-x.abs());
    if x >= 0.0 { 1.0 / (1.0 + e) } else { e / (1.0 + e) }
}
