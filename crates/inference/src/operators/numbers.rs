//! Functions of one number, in single and double precision. tract has some in single precision only, and some as approximations.

use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use super::kernel::{Attributes, Fact, Kernel, numbers, only, tensor};

#[derive(Debug)]
struct Function {
    name: &'static str,
    of: Of,
}

#[derive(Debug)]
enum Of {
    Number(fn(f64) -> f64),
    /// What is below zero, times this.
    Leaky(f64),
    /// A truth.
    Whether(fn(f64) -> bool),
}

impl Kernel for Function {
    fn name(&self) -> &'static str {
        self.name
    }

    fn facts(&self, inputs: &[Fact]) -> TractResult<Vec<Fact>> {
        let input = only(inputs)?;
        ensure!(matches!(input.0, DatumType::F32 | DatumType::F64), "it needs single or double precision");
        let kind = if matches!(self.of, Of::Whether(_)) { DatumType::Bool } else { input.0 };
        Ok(vec![(kind, input.1.clone())])
    }

    /// In double precision; single precision is rounded once.
    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let input = only(inputs)?;
        let kind = self.facts(&[(input.datum_type(), Vec::new())])?[0].0;
        let of = |x: f64| match self.of {
            Of::Number(of) => of(x),
            Of::Leaky(slope) => {
                if x < 0.0 {
                    x * slope
                } else {
                    x
                }
            }
            Of::Whether(holds) => f64::from(holds(x)),
        };
        let values: Vec<f64> = numbers(input)?.into_iter().map(of).collect();
        Ok(tvec!(tensor(kind, input.shape(), &values)?.into_tvalue()))
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
    erf "Erf" = Of::Number(libm::erf);
    exp "Exp" = Of::Number(libm::exp);
    is_nan "IsNaN" = Of::Whether(f64::is_nan);
    log "Log" = Of::Number(libm::log);
    round "Round" = Of::Number(f64::round_ties_even);
    sigmoid "Sigmoid" = Of::Number(logistic);
    softplus "Softplus" = Of::Number(|x| x.max(0.0) + libm::log1p(libm::exp(-x.abs())));
    tanh "Tanh" = Of::Number(libm::tanh);
}

pub(super) fn leaky_relu(node: &NodeProto) -> TractResult<impl Kernel> {
    Ok(Function { name: "LeakyRelu", of: Of::Leaky(Attributes(node).float("alpha").unwrap_or(f64::from(0.01_f32))) })
}

/// x times the probability that a standard normal number is below x, or its approximation (Hendrycks and Gimpel 2016).
pub(super) fn gelu(node: &NodeProto) -> TractResult<impl Kernel> {
    let exact = |x: f64| 0.5 * x * (1.0 + libm::erf(x * std::f64::consts::FRAC_1_SQRT_2));
    let approximate =
        |x: f64| 0.5 * x * (1.0 + libm::tanh((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x * x * x)));
    let kinds = [("none", exact as fn(f64) -> f64), ("tanh", approximate)];
    Ok(Function { name: "Gelu", of: Of::Number(Attributes(node).one_of("approximate", &kinds, exact)?) })
}

/// 1 / (1 + e^-x), without overflow.
pub(super) fn logistic(x: f64) -> f64 {
    let e = libm::exp(-x.abs());
    if x >= 0.0 { 1.0 / (1.0 + e) } else { e / (1.0 + e) }
}
