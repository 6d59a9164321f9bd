//! ONNX 1.12 (IR version 8): the parts of onnx.proto3 that a tabular model needs, and the graph of a model.

use std::collections::BTreeMap;

use acequia_inference::ModelFile;
use acequia_neural::{Convolution, Input, Network};
use prost::Message;

use super::{DOCUMENT, had_back, wrong};
use crate::LearnError;
use crate::model::{Form, Model, ModelVariable, Score};
use crate::plan::Link;
use crate::tasks::{Node, Tree};
use crate::variable::Step;

const IR_VERSION: i64 = 8;
const OPSET: i64 = 17;
const ML_DOMAIN: &str = "ai.onnx.ml";
const ML_OPSET: i64 = 3;

/// Types of tensor elements (`TensorProto.DataType`).
const FLOAT: i32 = 1;
const STRING: i32 = 8;
const INT: i32 = 7;
const DOUBLE: i32 = 11;
/// Types of attributes (`AttributeProto.AttributeType`).
const IS_FLOAT: i32 = 1;
const IS_INT: i32 = 2;
const IS_TEXT: i32 = 3;
const IS_TENSOR: i32 = 4;
const IS_FLOATS: i32 = 6;
const IS_INTS: i32 = 7;
const IS_TEXTS: i32 = 8;

#[derive(Clone, PartialEq, Message)]
struct ModelProto {
    #[prost(int64, tag = "1")]
    ir_version: i64,
    #[prost(string, tag = "2")]
    producer_name: String,
    #[prost(string, tag = "3")]
    producer_version: String,
    #[prost(string, tag = "6")]
    doc_string: String,
    #[prost(message, optional, tag = "7")]
    graph: Option<GraphProto>,
    #[prost(message, repeated, tag = "8")]
    opset_import: Vec<OperatorSetIdProto>,
    #[prost(message, repeated, tag = "14")]
    metadata_props: Vec<StringStringEntryProto>,
}

#[derive(Clone, PartialEq, Message)]
struct OperatorSetIdProto {
    #[prost(string, tag = "1")]
    domain: String,
    #[prost(int64, tag = "2")]
    version: i64,
}

#[derive(Clone, PartialEq, Message)]
struct StringStringEntryProto {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct GraphProto {
    #[prost(message, repeated, tag = "1")]
    node: Vec<NodeProto>,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(message, repeated, tag = "5")]
    initializer: Vec<TensorProto>,
    #[prost(string, tag = "10")]
    doc_string: String,
    #[prost(message, repeated, tag = "11")]
    input: Vec<ValueInfoProto>,
    #[prost(message, repeated, tag = "12")]
    output: Vec<ValueInfoProto>,
}

#[derive(Clone, PartialEq, Message)]
struct NodeProto {
    #[prost(string, repeated, tag = "1")]
    input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    output: Vec<String>,
    #[prost(string, tag = "3")]
    name: String,
    #[prost(string, tag = "4")]
    op_type: String,
    #[prost(message, repeated, tag = "5")]
    attribute: Vec<AttributeProto>,
    #[prost(string, tag = "7")]
    domain: String,
}

#[derive(Clone, PartialEq, Message)]
struct AttributeProto {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(float, tag = "2")]
    f: f32,
    #[prost(int64, tag = "3")]
    i: i64,
    #[prost(bytes = "vec", tag = "4")]
    s: Vec<u8>,
    #[prost(message, optional, tag = "5")]
    t: Option<TensorProto>,
    #[prost(float, repeated, tag = "7")]
    floats: Vec<f32>,
    #[prost(int64, repeated, tag = "8")]
    ints: Vec<i64>,
    #[prost(bytes = "vec", repeated, tag = "9")]
    strings: Vec<Vec<u8>>,
    #[prost(int32, tag = "20")]
    r#type: i32,
}

#[derive(Clone, PartialEq, Message)]
struct TensorProto {
    #[prost(int64, repeated, tag = "1")]
    dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    data_type: i32,
    #[prost(string, tag = "8")]
    name: String,
    #[prost(bytes = "vec", tag = "9")]
    raw_data: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct ValueInfoProto {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    r#type: Option<TypeProto>,
    #[prost(string, tag = "3")]
    doc_string: String,
}

#[derive(Clone, PartialEq, Message)]
struct TypeProto {
    #[prost(message, optional, tag = "1")]
    tensor_type: Option<TensorType>,
}

#[derive(Clone, PartialEq, Message)]
struct TensorType {
    #[prost(int32, tag = "1")]
    elem_type: i32,
    #[prost(message, optional, tag = "2")]
    shape: Option<TensorShapeProto>,
}

#[derive(Clone, PartialEq, Message)]
struct TensorShapeProto {
    #[prost(message, repeated, tag = "1")]
    dim: Vec<Dimension>,
}

#[derive(Clone, PartialEq, Message)]
struct Dimension {
    #[prost(int64, optional, tag = "1")]
    dim_value: Option<i64>,
    #[prost(string, optional, tag = "2")]
    dim_param: Option<String>,
}

/// A value of shape `[rows, width]`.
fn value(name: &str, elem_type: i32, width: usize, doc: &str) -> ValueInfoProto {
    let rows = Dimension { dim_value: None, dim_param: Some("rows".to_owned()) };
    let width = Dimension { dim_value: i64::try_from(width).ok(), dim_param: None };
    let shape = Some(TensorShapeProto { dim: vec![rows, width] });
    let r#type = Some(TypeProto { tensor_type: Some(TensorType { elem_type, shape }) });
    ValueInfoProto { name: name.to_owned(), r#type, doc_string: doc.to_owned() }
}

fn doubles(name: &str, dims: &[usize], numbers: &[f64]) -> TensorProto {
    TensorProto {
        dims: dims.iter().filter_map(|dim| i64::try_from(*dim).ok()).collect(),
        data_type: DOUBLE,
        name: name.to_owned(),
        raw_data: numbers.iter().flat_map(|number| number.to_le_bytes()).collect(),
    }
}

fn int(name: &str, i: i64) -> AttributeProto {
    AttributeProto { name: name.to_owned(), i, r#type: IS_INT, ..AttributeProto::default() }
}

fn ints(name: &str, ints: Vec<i64>) -> AttributeProto {
    AttributeProto { name: name.to_owned(), ints, r#type: IS_INTS, ..AttributeProto::default() }
}

fn text(name: &str, s: &str) -> AttributeProto {
    AttributeProto { name: name.to_owned(), s: s.as_bytes().to_vec(), r#type: IS_TEXT, ..AttributeProto::default() }
}

fn texts<'t>(name: &str, texts: impl Iterator<Item = &'t str>) -> AttributeProto {
    let strings = texts.map(|text| text.as_bytes().to_vec()).collect();
    AttributeProto { name: name.to_owned(), strings, r#type: IS_TEXTS, ..AttributeProto::default() }
}

fn tensor_attribute(name: &str, numbers: &[f64]) -> AttributeProto {
    let t = Some(doubles(name, &[numbers.len()], numbers));
    AttributeProto { name: name.to_owned(), t, r#type: IS_TENSOR, ..AttributeProto::default() }
}

/// A graph as it grows. Values are named after what they are, with a number.
#[derive(Default)]
struct Graph {
    nodes: Vec<NodeProto>,
    initializers: Vec<TensorProto>,
}

impl Graph {
    fn constant(&mut self, dims: &[usize], numbers: &[f64]) -> String {
        let name = format!("constant_{}", self.initializers.len());
        self.initializers.push(doubles(&name, dims, numbers));
        name
    }

    fn whole_numbers(&mut self, numbers: &[i64]) -> String {
        let name = format!("constant_{}", self.initializers.len());
        self.initializers.push(TensorProto {
            dims: vec![i64::try_from(numbers.len()).unwrap_or_default()],
            data_type: INT,
            name: name.clone(),
            raw_data: numbers.iter().flat_map(|number| number.to_le_bytes()).collect(),
        });
        name
    }

    fn scalar(&mut self, number: f64) -> String {
        self.constant(&[1], &[number])
    }

    fn node_of(
        &mut self,
        domain: &str,
        operator: &str,
        inputs: &[&str],
        output: Option<&str>,
        attribute: Vec<AttributeProto>,
    ) -> String {
        let name = format!("{}_{}", operator.to_lowercase(), self.nodes.len());
        let output = output.unwrap_or(&name).to_owned();
        self.nodes.push(NodeProto {
            input: inputs.iter().map(|input| (*input).to_owned()).collect(),
            output: vec![output.clone()],
            name,
            op_type: operator.to_owned(),
            attribute,
            domain: domain.to_owned(),
        });
        output
    }

    fn node(&mut self, operator: &str, inputs: &[&str]) -> String {
        self.node_of("", operator, inputs, None, Vec::new())
    }

    /// One value and a number.
    fn with(&mut self, operator: &str, input: &str, number: f64) -> String {
        let number = self.scalar(number);
        self.node(operator, &[input, &number])
    }

    fn cast(&mut self, input: &str, to: i32) -> String {
        self.node_of("", "Cast", &[input], None, vec![int("to", i64::from(to))])
    }

    fn double(&mut self, input: &str) -> String {
        self.cast(input, DOUBLE)
    }

    /// Names a value.
    fn named(&mut self, input: &str, name: &str) {
        self.node_of("", "Identity", &[input], Some(name), Vec::new());
    }

    /// 1 above a bound, 0 otherwise.
    fn above(&mut self, input: &str, bound: f64) -> String {
        let above = self.with("Greater", input, bound);
        self.double(&above)
    }
}

/// What is between two steps.
enum Wire<'m> {
    /// A text; one of some levels, or any.
    Text(String, Option<&'m [String]>),
    Number(String),
    /// A number in bands with labels.
    Banded {
        number: String,
        edges: &'m [f64],
        labels: &'m [String],
    },
}

impl Wire<'_> {
    fn number(self, graph: &mut Graph) -> Option<String> {
        match self {
            Self::Number(name) => Some(name),
            Self::Text(name, None) => Some(graph.double(&name)),
            Self::Text(name, Some(levels)) => {
                let codes: Option<BTreeMap<String, f64>> =
                    levels.iter().map(|level| Some((level.clone(), level.trim().parse().ok()?))).collect();
                Some(coded(graph, &name, &codes?))
            }
            Self::Banded { number, edges, labels } => {
                let weights: Option<Vec<f64>> = labels.iter().map(|label| label.trim().parse().ok()).collect();
                Some(banded(graph, &number, edges, &weights?))
            }
        }
    }
}

/// The weight of the band that a number falls into: the first one, and a step at each edge.
fn banded(graph: &mut Graph, number: &str, edges: &[f64], weights: &[f64]) -> String {
    let zero = graph.with("Mul", number, 0.0);
    let mut sum = graph.with("Add", &zero, weights[0]);
    for (at, edge) in edges.iter().enumerate() {
        let above = graph.above(number, *edge);
        let step = graph.with("Mul", &above, weights[at + 1] - weights[at]);
        sum = graph.node("Add", &[&sum, &step]);
    }
    sum
}

/// max(x - knot, 0) cubed.
fn cube_above(graph: &mut Graph, input: &str, knot: f64) -> String {
    let above = graph.with("Sub", input, knot);
    let above = graph.with("Max", &above, 0.0);
    let square = graph.node("Mul", &[&above, &above]);
    graph.node("Mul", &[&square, &above])
}

/// As the spline terms of [`crate::variable`].
fn spline_term(graph: &mut Graph, input: &str, knots: &[f64], term: usize) -> String {
    let (first, last, before, own) = (knots[0], knots[knots.len() - 1], knots[knots.len() - 2], knots[term - 1]);
    let scale = (last - first) * (last - first);
    let at_own = cube_above(graph, input, own);
    let at_before = cube_above(graph, input, before);
    let at_last = cube_above(graph, input, last);
    let less = graph.with("Mul", &at_before, (last - own) / (last - before));
    let more = graph.with("Mul", &at_last, (before - own) / (last - before));
    let sum = graph.node("Sub", &[&at_own, &less]);
    let sum = graph.node("Add", &[&sum, &more]);
    graph.with("Div", &sum, scale)
}

/// 1 for each of some texts, 0 for all others, or for the other levels where there are some; no number where the text says that there
/// is none, and where it is none of the levels.
fn one_of(graph: &mut Graph, input: &str, wanted: &[String], levels: Option<&[String]>, missing: &[String]) -> String {
    let floats = |name: &str, floats: Vec<f32>| AttributeProto {
        name: name.to_owned(),
        floats,
        r#type: IS_FLOATS,
        ..AttributeProto::default()
    };
    let is_wanted = |text: &str| wanted.iter().any(|one| one == text);
    let missing: Vec<&str> = missing.iter().map(String::as_str).chain([""]).filter(|text| !is_wanted(text)).collect();
    let others: Vec<&str> = levels.unwrap_or_default().iter().map(String::as_str).collect();
    let others: Vec<&str> = others.into_iter().filter(|text| !is_wanted(text) && !missing.contains(text)).collect();
    let default = AttributeProto {
        name: "default_float".to_owned(),
        f: levels.map(|_| f32::NAN).unwrap_or_default(),
        r#type: IS_FLOAT,
        ..AttributeProto::default()
    };
    let values = [vec![1.0; wanted.len()], vec![f32::NAN; missing.len()], vec![0.0; others.len()]].concat();
    let keys = wanted.iter().map(String::as_str).chain(missing).chain(others);
    let attributes = vec![texts("keys_strings", keys), floats("values_floats", values), default];
    let found = graph.node_of(ML_DOMAIN, "LabelEncoder", &[input], None, attributes);
    graph.double(&found)
}

/// The number that stands for a text, and none for all others: its place, and what is there.
fn coded(graph: &mut Graph, input: &str, codes: &BTreeMap<String, f64>) -> String {
    let places = ints("values_int64s", (0_i64..).take(codes.len()).collect());
    let other = int("default_int64", i64::try_from(codes.len()).unwrap_or_default());
    let attributes = vec![texts("keys_strings", codes.keys().map(String::as_str)), places, other];
    let place = graph.node_of(ML_DOMAIN, "LabelEncoder", &[input], None, attributes);
    let numbers: Vec<f64> = codes.values().copied().chain([f64::NAN]).collect();
    let numbers = graph.constant(&[numbers.len()], &numbers);
    graph.node("Gather", &[&numbers, &place])
}

fn walked(graph: &mut Graph, from: Wire<'_>, steps: &[Step], missing: &[String]) -> Option<String> {
    let mut wire = from;
    for step in steps {
        wire = match (step, wire) {
            (Step::Levels(levels), Wire::Text(name, None)) => Wire::Text(name, Some(levels)),
            (Step::Levels(levels), banded @ Wire::Banded { labels, .. }) => {
                let all = labels.iter().all(|label| levels.iter().any(|level| level == label.trim()));
                if all { banded } else { return None }
            }
            (Step::OneOf(wanted), Wire::Text(name, levels)) => {
                Wire::Number(one_of(graph, &name, wanted, levels, missing))
            }
            (Step::OneOf(wanted), Wire::Banded { number, edges, labels }) => {
                let weight = |label: &String| f64::from(wanted.iter().any(|one| one == label.trim()));
                let weights: Vec<f64> = labels.iter().map(weight).collect();
                Wire::Number(banded(graph, &number, edges, &weights))
            }
            (Step::Codes(codes), Wire::Text(name, None)) => Wire::Number(coded(graph, &name, codes)),
            (Step::Codes(codes), Wire::Text(name, Some(levels))) => {
                let codes = codes.iter().filter(|(text, _)| levels.contains(text));
                let codes = codes.map(|(text, code)| (text.clone(), *code)).collect();
                Wire::Number(coded(graph, &name, &codes))
            }
            (Step::Codes(codes), Wire::Banded { number, edges, labels }) => {
                let weights: Option<Vec<f64>> = labels.iter().map(|label| codes.get(label.trim()).copied()).collect();
                Wire::Number(banded(graph, &number, edges, &weights?))
            }
            (Step::Levels(_), Wire::Text(_, Some(_)) | Wire::Number(_))
            | (Step::OneOf(_) | Step::Codes(_), Wire::Number(_)) => return None,
            (Step::Band { edges, labels }, before) => Wire::Banded { number: before.number(graph)?, edges, labels },
            (step, before) => {
                let x = before.number(graph)?;
                Wire::Number(reckoned(graph, &x, step)?)
            }
        };
    }
    wire.number(graph)
}

/// A step from a number to a number.
fn reckoned(graph: &mut Graph, x: &str, step: &Step) -> Option<String> {
    Some(match step {
        Step::Above(bound) => {
            // What is no number stays none: it is above nothing.
            let above = graph.above(x, *bound);
            let nothing = graph.with("Mul", x, 0.0);
            graph.node("Add", &[&above, &nothing])
        }
        Step::Subtract(by) => graph.with("Sub", x, *by),
        Step::Divide(by) => graph.with("Div", x, *by),
        Step::Cap(bound) => graph.with("Min", x, *bound),
        Step::Floor(bound) => graph.with("Max", x, *bound),
        Step::Power(power) => graph.with("Pow", x, *power),
        Step::PowerLog(power) => {
            let power = graph.with("Pow", x, *power);
            let log = graph.node("Log", &[x]);
            graph.node("Mul", &[&power, &log])
        }
        Step::Log => graph.node("Log", &[x]),
        Step::SplineTerm { knots, term } => spline_term(graph, x, knots, *term),
        Step::Levels(_) | Step::OneOf(_) | Step::Codes(_) | Step::Band { .. } => return None,
    })
}

/// Whether a variable asks which text its column holds.
fn asks_for_text(variable: &ModelVariable) -> bool {
    variable.variable.steps.first().is_some_and(Step::takes_text)
}

/// Attributes of an ensemble of trees (ai.onnx.ml, TreeEnsembleRegressor 3).
fn ensemble(base: f64, trees: &[Tree]) -> Vec<AttributeProto> {
    let number = |at: usize| i64::try_from(at).unwrap_or_default();
    let (mut tree_ids, mut node_ids, mut features, mut modes) = (vec![], vec![], vec![], Vec::<&str>::new());
    let (mut values, mut yes, mut no) = (vec![], vec![], vec![]);
    let (mut target_trees, mut target_nodes, mut weights) = (vec![], vec![], vec![]);
    for (tree_id, tree) in trees.iter().enumerate() {
        for (node_id, node) in tree.nodes.iter().enumerate() {
            tree_ids.push(number(tree_id));
            node_ids.push(number(node_id));
            match node {
                Node::Split { variable, threshold, left, right } => {
                    features.push(number(*variable));
                    modes.push("BRANCH_LEQ");
                    values.push(*threshold);
                    yes.push(number(*left));
                    no.push(number(*right));
                }
                Node::Leaf(value) => {
                    features.push(0);
                    modes.push("LEAF");
                    values.push(0.0);
                    yes.push(0);
                    no.push(0);
                    target_trees.push(number(tree_id));
                    target_nodes.push(number(node_id));
                    weights.push(*value);
                }
            }
        }
    }
    vec![
        int("n_targets", 1),
        text("aggregate_function", "SUM"),
        text("post_transform", "NONE"),
        tensor_attribute("base_values_as_tensor", &[base]),
        ints("nodes_treeids", tree_ids),
        ints("nodes_nodeids", node_ids),
        ints("nodes_featureids", features),
        texts("nodes_modes", modes.into_iter()),
        tensor_attribute("nodes_values_as_tensor", &values),
        ints("nodes_truenodeids", yes),
        ints("nodes_falsenodeids", no),
        ints("target_treeids", target_trees),
        ints("target_nodeids", target_nodes),
        ints("target_ids", vec![0; weights.len()]),
        tensor_attribute("target_weights_as_tensor", &weights),
    ]
}

/// Adds what follows from the linear predictor, and returns the outputs.
fn predicted(graph: &mut Graph, model: &Model, predictor: &str) -> Vec<ValueInfoProto> {
    let mut outputs = vec![value("linear_predictor", DOUBLE, 1, "linear predictor")];
    match &model.form {
        Form::Linear { .. } => {
            graph.named(predictor, "prediction");
            outputs.push(value("prediction", DOUBLE, 1, "predicted value"));
        }
        Form::Network { score: Score::LogRelativeHazard, .. } => {}
        Form::Logistic { .. } | Form::Boosting { .. } | Form::Network { score: Score::LogOdds, .. } => {
            let probability = graph.node("Sigmoid", &[predictor]);
            graph.named(&probability, "probability");
            outputs.push(value("probability", DOUBLE, 1, "probability of the outcome"));
        }
        Form::Cox { .. } | Form::DiscreteTime { .. } => {
            let horizons = model.horizons_days();
            if horizons.is_empty() {
                return outputs;
            }
            let survived = match &model.form {
                Form::DiscreteTime { link, ends_days, intercepts, .. } => {
                    let n = intercepts.len();
                    let intercepts = graph.constant(&[1, n], intercepts);
                    let eta = graph.node("Add", &[predictor, &intercepts]);
                    let log_of_interval = match link {
                        Link::Logit => {
                            let odds = graph.node("Neg", &[&eta]);
                            let without = graph.node("Sigmoid", &[&odds]);
                            graph.node("Log", &[&without])
                        }
                        Link::Cloglog => {
                            let hazard = graph.node("Exp", &[&eta]);
                            graph.node("Neg", &[&hazard])
                        }
                    };
                    let upto = ends_days
                        .iter()
                        .flat_map(|end| horizons.iter().map(move |horizon| f64::from(*end <= *horizon + 1e-9)));
                    let upto: Vec<f64> = upto.collect();
                    let upto = graph.constant(&[n, horizons.len()], &upto);
                    graph.node("MatMul", &[&log_of_interval, &upto])
                }
                _ => {
                    let hazards: Vec<f64> =
                        horizons.iter().map(|days| model.baseline_at(*days).unwrap_or_default()).collect();
                    let hazards = graph.constant(&[1, hazards.len()], &hazards);
                    let relative = graph.node("Exp", &[predictor]);
                    let hazard = graph.node("MatMul", &[&relative, &hazards]);
                    graph.node("Neg", &[&hazard])
                }
            };
            let survived = graph.node("Exp", &[&survived]);
            let one = graph.scalar(1.0);
            let risk = graph.node("Sub", &[&one, &survived]);
            graph.named(&risk, "risk");
            let days: Vec<String> = horizons.iter().map(f64::to_string).collect();
            let doc = format!("probability of the event by day {}", days.join(", "));
            outputs.push(value("risk", DOUBLE, horizons.len(), &doc));
        }
    }
    outputs
}

fn graph_of(model: &Model) -> Option<GraphProto> {
    let mut graph = Graph::default();
    let mut inputs: Vec<ValueInfoProto> = Vec::new();
    let mut columns = Vec::with_capacity(model.variables.len());
    for variable in &model.variables {
        let column = variable.variable.source();
        let is_text = model.variables.iter().any(|one| one.variable.source() == column && asks_for_text(one));
        if !inputs.iter().any(|input| input.name == column) {
            let doc = if variable.variable.image.is_some() { "pixels from 0 (black) to 1" } else { "" };
            let kind = if is_text { STRING } else { DOUBLE };
            inputs.push(value(column, kind, variable.variable.numbers(), doc));
        }
        let from = if is_text { Wire::Text(column.to_owned(), None) } else { Wire::Number(column.to_owned()) };
        columns.push(walked(&mut graph, from, &variable.variable.steps, &model.cohort.missing_values)?);
    }
    let names: Vec<&str> = columns.iter().map(String::as_str).collect();
    let row = graph.node_of("", "Concat", &names, None, vec![int("axis", 1)]);
    let predictor = match &model.form {
        Form::Boosting { base, trees } => {
            let sum = graph.node_of(ML_DOMAIN, "TreeEnsembleRegressor", &[&row], None, ensemble(*base, trees));
            let sum = graph.double(&sum);
            only_of_numbers(&mut graph, &sum, &row, model.variables.len())
        }
        form => {
            let p = model.variables.len();
            let scales: Vec<_> = model.variables.iter().map(|one| one.scale).collect();
            let mut scaled = row;
            if scales.iter().any(Option::is_some) {
                let means: Vec<f64> = scales.iter().map(|scale| scale.map_or(0.0, |scale| scale.mean)).collect();
                let deviations: Vec<f64> = scales.iter().map(|scale| scale.map_or(1.0, |scale| scale.sd)).collect();
                let (means, deviations) = (graph.constant(&[1, p], &means), graph.constant(&[1, p], &deviations));
                let centred = graph.node("Sub", &[&scaled, &means]);
                scaled = graph.node("Div", &[&centred, &deviations]);
            }
            if let Form::Network { weights, .. } = form {
                let score = layers(&mut graph, &model.network()?, weights, scaled.clone())?;
                let numbers = model.variables.iter().map(|one| one.variable.numbers()).sum();
                let score = only_of_numbers(&mut graph, &score, &scaled, numbers);
                return Some(finished(graph, model, inputs, &score));
            }
            let coefficients = graph.constant(&[p, 1], model.coefficients());
            let slope = graph.node("MatMul", &[&scaled, &coefficients]);
            match form {
                Form::Linear { intercept, .. } | Form::Logistic { intercept, .. } => {
                    graph.with("Add", &slope, *intercept)
                }
                _ => slope,
            }
        }
    };
    Some(finished(graph, model, inputs, &predictor))
}

/// A prediction, or none where a number that it is made of is none: trees take a way all the same, and runtimes make 0 of the larger
/// of nothing and 0.
fn only_of_numbers(graph: &mut Graph, prediction: &str, row: &str, numbers: usize) -> String {
    let zeros = graph.constant(&[numbers, 1], &vec![0.0; numbers]);
    let nothing = graph.node("MatMul", &[row, &zeros]);
    graph.node("Add", &[prediction, &nothing])
}

fn finished(mut graph: Graph, model: &Model, input: Vec<ValueInfoProto>, predictor: &str) -> GraphProto {
    graph.named(predictor, "linear_predictor");
    let output = predicted(&mut graph, model, predictor);
    GraphProto {
        node: graph.nodes,
        name: "model".to_owned(),
        initializer: graph.initializers,
        doc_string: model.title.clone(),
        input,
        output,
    }
}

/// The layers of a network. Convolutions are single precision: runtimes have no others.
fn layers(graph: &mut Graph, network: &Network, weights: &[f64], row: String) -> Option<String> {
    let mut rest = weights;
    let mut parts = network.parameters().iter().map(|parameter| {
        let (own, others) = rest.split_at_checked(parameter.len())?;
        rest = others;
        Some((parameter, own))
    });
    let mut x = row;
    if let Input::Image { height, width } = network.input() {
        let sides = [1, height, width].map(|side| i64::try_from(side).unwrap_or_default());
        let shape = graph.whole_numbers(&[&[-1], &sides[..]].concat());
        x = graph.node("Reshape", &[&x, &shape]);
        if !network.layers().convolutions.is_empty() {
            x = graph.cast(&x, FLOAT);
        }
        for Convolution { kernel, .. } in &network.layers().convolutions {
            let ((filters, own), (bias, biases)) = (parts.next()??, parts.next()??);
            let filters = graph.constant(&filters.shape, own);
            let biases = graph.constant(&bias.shape, biases);
            let (filters, biases) = (graph.cast(&filters, FLOAT), graph.cast(&biases, FLOAT));
            let side = i64::try_from(kernel / 2).ok()?;
            let edges = vec![ints("pads", vec![side; 4])];
            x = graph.node_of("", "Conv", &[&x, &filters, &biases], None, edges);
            x = graph.node("Relu", &[&x]);
            let two = vec![ints("kernel_shape", vec![2, 2]), ints("strides", vec![2, 2])];
            x = graph.node_of("", "MaxPool", &[&x], None, two);
        }
        if !network.layers().convolutions.is_empty() {
            x = graph.double(&x);
        }
        x = graph.node("Flatten", &[&x]);
    }
    for layer in 0..=network.layers().hidden.len() {
        let ((matrix, own), (bias, biases)) = (parts.next()??, parts.next()??);
        let matrix = graph.constant(&matrix.shape, own);
        let biases = graph.constant(&bias.shape, biases);
        let transposed = graph.node_of("", "Transpose", &[&matrix], None, vec![ints("perm", vec![1, 0])]);
        let sums = graph.node("MatMul", &[&x, &transposed]);
        x = graph.node("Add", &[&sums, &biases]);
        if layer < network.layers().hidden.len() {
            x = graph.node("Relu", &[&x]);
        }
    }
    Some(x)
}

pub(super) fn written(model: &Model) -> Result<Vec<u8>, LearnError> {
    let graph = graph_of(model).ok_or_else(|| wrong("a variable has steps that give no number"))?;
    let clash = |input: &ValueInfoProto| {
        graph.node.iter().any(|node| node.output.contains(&input.name))
            || graph.initializer.iter().any(|constant| constant.name == input.name)
    };
    if graph.input.iter().any(clash) {
        return Err(wrong("a column has the name of a value of the graph; give it another one"));
    }
    let (producer, version) = model.program.split_once(' ').unwrap_or((model.program.as_str(), ""));
    let opset = |domain: &str, version| OperatorSetIdProto { domain: domain.to_owned(), version };
    let proto = ModelProto {
        ir_version: IR_VERSION,
        producer_name: producer.to_owned(),
        producer_version: version.to_owned(),
        doc_string: "Not a medical device.".to_owned(),
        graph: Some(graph),
        opset_import: vec![opset("", OPSET), opset(ML_DOMAIN, ML_OPSET)],
        metadata_props: vec![StringStringEntryProto { key: DOCUMENT.to_owned(), value: model.to_json() }],
    };
    Ok(proto.encode_to_vec())
}

pub(super) fn read(bytes: &[u8]) -> Result<Model, LearnError> {
    let proto = ModelProto::decode(bytes).map_err(|_| wrong("it is not an ONNX file"))?;
    let document = proto.metadata_props.iter().find(|entry| entry.key == DOCUMENT);
    let Some(document) = document else {
        let file = ModelFile::read(bytes.to_vec())?;
        let reason =
            format!("nothing says which columns it takes in which units, and what it predicts; {}", file.described());
        return Err(LearnError::Foreign { reason });
    };
    had_back(&document.value, bytes, written)
}
