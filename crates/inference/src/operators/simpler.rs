//! Operators that are run as simpler ones. Of products of matrices tract has the factors in single precision only; its sum of exponentials
//! overflows where the logarithm of the sum does not.

use tract_onnx::pb::attribute_proto::AttributeType;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{AttributeProto, NodeProto, TensorProto};

use super::kernel::Attributes;

struct Steps {
    output: String,
    made: Vec<NodeProto>,
}

impl Steps {
    /// Adds an operator, and names what it makes.
    fn add(&mut self, operator: &str, inputs: &[&str], step: &str, attribute: Vec<AttributeProto>) -> String {
        let made = format!("{}/{step}", self.output);
        self.made.push(NodeProto {
            input: inputs.iter().map(|input| (*input).to_owned()).collect(),
            output: vec![made.clone()],
            name: made.clone(),
            op_type: operator.to_owned(),
            attribute,
            ..NodeProto::default()
        });
        made
    }

    fn transposed(&mut self, input: &str, flag: Option<i64>, step: &str) -> String {
        match flag {
            None | Some(0) => input.to_owned(),
            Some(_) => {
                let turned = AttributeProto {
                    name: "perm".to_owned(),
                    r#type: AttributeType::Ints.into(),
                    ints: vec![1, 0],
                    ..AttributeProto::default()
                };
                self.add("Transpose", &[input], step, vec![turned])
            }
        }
    }

    fn times(&mut self, input: &str, factor: Option<f32>, step: &str) -> String {
        let Some(factor) = factor.filter(|factor| *factor != 1.0) else { return input.to_owned() };
        let number =
            TensorProto { data_type: DataType::Float.into(), float_data: vec![factor], ..TensorProto::default() };
        let value = AttributeProto {
            name: "value".to_owned(),
            r#type: AttributeType::Tensor.into(),
            t: Some(number),
            ..AttributeProto::default()
        };
        let single = self.add("Constant", &[], &format!("{step}/single"), vec![value]);
        let like = self.add("CastLike", &[&single, input], &format!("{step}/like"), Vec::new());
        self.add("Mul", &[&like, input], step, Vec::new())
    }

    /// The last step under the name of the whole.
    fn ended(mut self, last: &str) -> Vec<NodeProto> {
        self.add("Identity", &[last], "named", Vec::new());
        if let Some(named) = self.made.last_mut() {
            named.output = vec![self.output];
        }
        self.made
    }
}

/// `Gemm` and `ReduceLogSumExp` in steps; every other operator as it is.
pub(crate) fn as_simpler(node: NodeProto) -> Vec<NodeProto> {
    match (node.op_type.as_str(), node.output.first(), node.input.as_slice()) {
        ("Gemm", Some(output), [a, b, ..]) => product(&node, output, a, b),
        ("ReduceLogSumExp", Some(output), [x, axes @ ..]) => log_sum_exp(&node, output, x, axes),
        _ => vec![node],
    }
}

/// The largest number, and the logarithm of the sum of the exponentials of what others are below it.
fn log_sum_exp(node: &NodeProto, output: &str, x: &str, axes: &[String]) -> Vec<NodeProto> {
    let mut steps = Steps { output: output.to_owned(), made: Vec::new() };
    let reduced: Vec<AttributeProto> = node.attribute.clone();
    let kept = AttributeProto {
        name: "keepdims".to_owned(),
        r#type: AttributeType::Int.into(),
        i: 1,
        ..AttributeProto::default()
    };
    let others = reduced.iter().filter(|attribute| attribute.name != "keepdims").cloned();
    let largest_kept = others.chain([kept]).collect();
    let axes = || axes.iter().map(String::as_str);
    let of_x: Vec<&str> = std::iter::once(x).chain(axes()).collect();
    let kept = steps.add("ReduceMax", &of_x, "largest/kept", largest_kept);
    let largest = steps.add("ReduceMax", &of_x, "largest", reduced.clone());
    let below = steps.add("Sub", &[x, &kept], "below", Vec::new());
    let share = steps.add("Exp", &[&below], "share", Vec::new());
    let of_shares: Vec<&str> = std::iter::once(share.as_str()).chain(axes()).collect();
    let log = steps.add("ReduceLogSum", &of_shares, "log", reduced);
    let last = steps.add("Add", &[&largest, &log], "sum", Vec::new());
    steps.ended(&last)
}

fn product(node: &NodeProto, output: &str, a: &str, b: &str) -> Vec<NodeProto> {
    let attributes = Attributes(node);
    let mut steps = Steps { output: output.to_owned(), made: Vec::new() };
    let a = steps.transposed(a, attributes.int("transA"), "a");
    let b = steps.transposed(b, attributes.int("transB"), "b");
    let product = steps.add("MatMul", &[&a, &b], "product", Vec::new());
    let mut last = steps.times(&product, attributes.single("alpha"), "alpha");
    if let Some(c) = node.input.get(2).filter(|c| !c.is_empty()) {
        let c = steps.times(c, attributes.single("beta"), "beta");
        last = steps.add("Add", &[&last, &c], "sum", Vec::new());
    }
    steps.ended(&last)
}
