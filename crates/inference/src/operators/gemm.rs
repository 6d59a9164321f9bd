//! Products of matrices with factors and a sum, as simpler operators: tract has the factors in single precision only.

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
}

/// `Gemm` in steps; every other operator as it is.
pub(crate) fn as_simpler(node: NodeProto) -> Vec<NodeProto> {
    let (Some(output), [a, b, ..], true) = (node.output.first(), node.input.as_slice(), node.op_type == "Gemm") else {
        return vec![node];
    };
    let attributes = Attributes(&node);
    let mut steps = Steps { output: output.clone(), made: Vec::new() };
    let a = steps.transposed(a, attributes.int("transA"), "a");
    let b = steps.transposed(b, attributes.int("transB"), "b");
    let product = steps.add("MatMul", &[&a, &b], "product", Vec::new());
    let mut last = steps.times(&product, attributes.single("alpha"), "alpha");
    if let Some(c) = node.input.get(2).filter(|c| !c.is_empty()) {
        let c = steps.times(c, attributes.single("beta"), "beta");
        last = steps.add("Add", &[&last, &c], "sum", Vec::new());
    }
    steps.add("Identity", &[&last], "named", Vec::new());
    if let Some(named) = steps.made.last_mut() {
        named.output = vec![output.clone()];
    }
    steps.made
}
