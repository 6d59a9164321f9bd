//! Models in a process of their own, and what becomes of it when they ask for too much. This program is that process.

use std::process::ExitCode;

use acequia_inference::{Cells, Input, Limits, ModelFile, Predictions, confinable, predict, predict_within};
use acequia_types::Coded;
use prost::Message;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension::Value as Side};
use tract_onnx::pb::type_proto::{Tensor, Value as Type};
use tract_onnx::pb::{
    GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto, TypeProto, ValueInfoProto,
};

fn main() -> ExitCode {
    // The word of a confined process comes first; every other run is one of the tests.
    if let Some(exit) = confinable() {
        return exit;
    }
    if std::env::args().any(|word| word == "--list") {
        if !std::env::args().any(|word| word == "--ignored") {
            println!("confined: test");
        }
        return ExitCode::SUCCESS;
    }
    models_run_in_a_process_of_their_own();
    texts_go_over_too();
    a_model_that_wants_all_memory_ends_alone();
    a_model_that_wants_all_time_ends_alone();
    a_model_that_mixes_rows_is_refused();
    println!("test result: ok");
    ExitCode::SUCCESS
}

fn value(name: &str, width: i64) -> ValueInfoProto {
    let rows = Dimension { denotation: String::new(), value: Some(Side::DimParam("rows".to_owned())) };
    let width = Dimension { denotation: String::new(), value: Some(Side::DimValue(width)) };
    let shape = Some(TensorShapeProto { dim: vec![rows, width] });
    let tensor = Type::TensorType(Tensor { elem_type: DataType::Float.into(), shape });
    let r#type = Some(TypeProto { denotation: String::new(), value: Some(tensor) });
    ValueInfoProto { name: name.to_owned(), r#type, doc_string: String::new() }
}

/// A model of one column from operators: what each is, takes and makes.
fn model(nodes: &[(&str, &[&str], &str)], whole: &[(&str, &[i64])], floats: &[(&str, &[i64], f32)]) -> ModelFile {
    let node = |(operator, inputs, output): &(&str, &[&str], &str)| NodeProto {
        op_type: (*operator).to_owned(),
        name: (*output).to_owned(),
        input: inputs.iter().map(|input| (*input).to_owned()).collect(),
        output: vec![(*output).to_owned()],
        ..NodeProto::default()
    };
    let whole = whole.iter().map(|(name, numbers)| TensorProto {
        name: (*name).to_owned(),
        dims: vec![numbers.len() as i64],
        data_type: DataType::Int64.into(),
        int64_data: numbers.to_vec(),
        ..TensorProto::default()
    });
    let floats = floats.iter().map(|(name, shape, number)| TensorProto {
        name: (*name).to_owned(),
        dims: shape.to_vec(),
        data_type: DataType::Float.into(),
        float_data: vec![*number; shape.iter().product::<i64>() as usize],
        ..TensorProto::default()
    });
    let graph = GraphProto {
        node: nodes.iter().map(node).collect(),
        name: "graph".to_owned(),
        initializer: whole.chain(floats).collect(),
        input: vec![value("x", 1)],
        output: vec![value("y", 1)],
        ..GraphProto::default()
    };
    let set = OperatorSetIdProto { domain: String::new(), version: 17 };
    let proto = ModelProto { ir_version: 8, graph: Some(graph), opset_import: vec![set], ..ModelProto::default() };
    ModelFile::read(proto.encode_to_vec()).unwrap()
}

fn column(numbers: &[f64]) -> Vec<Input> {
    vec![Input { name: "x".to_owned(), width: 1, cells: Cells::Numbers(numbers.to_vec()) }]
}

/// A thousand rows, so more than one batch.
fn many() -> Vec<f64> {
    (0..1000).map(f64::from).collect()
}

fn models_run_in_a_process_of_their_own() {
    let twice = model(&[("Add", &["x", "x"], "y")], &[], &[]);
    let Predictions { width, values } = predict(&twice, &column(&many()), "y").unwrap();
    assert_eq!((width, values), (1, many().iter().map(|x| x * 2.0).collect()));
    assert!(predict(&twice, &column(&[]), "y").unwrap().values.is_empty());
    // What goes wrong there is told here.
    let lacking = predict(&twice, &column(&[1.0, f64::NAN]), "y").unwrap_err();
    assert_eq!((lacking.code(), lacking.to_string().contains("no number")), ("IF007", true), "{lacking}");
    let wide = model(&[("MatMul", &["x", "w"], "y")], &[], &[("w", &[2, 1], 1.0)]);
    assert_eq!(predict(&wide, &column(&[1.0]), "y").unwrap_err().code(), "IF006");
    assert_eq!(predict(&twice, &column(&[1e300]), "y").unwrap_err().code(), "IF005");
}

fn texts_go_over_too() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data");
    let model = ModelFile::read(std::fs::read(format!("{folder}/texts.onnx")).unwrap()).unwrap();
    let number = |name: &str| Input { name: name.to_owned(), width: 1, cells: Cells::Numbers(vec![50.0, 60.0]) };
    let text = |name: &str, texts: [&str; 2]| Input {
        name: name.to_owned(),
        width: 1,
        cells: Cells::Texts { texts: texts.map(str::to_owned).to_vec(), cells: vec![1, 0] },
    };
    let others = [number("age"), number("nodes"), number("pgr"), text("grade", ["3", "2"])];
    let said = |sizes: [&str; 2]| {
        let inputs = [&others[..], &[text("size", sizes)]].concat();
        predict(&model, &inputs, "probabilities").unwrap().values
    };
    assert_ne!(said([">50", "<=20"]), said(["<=20", "<=20"]));
}

fn a_model_that_wants_all_memory_ends_alone() {
    let bomb = model(
        &[("ConstantOfShape", &["s"], "c"), ("ReduceMax", &["c"], "m"), ("Add", &["x", "m"], "y")],
        &[("s", &[1 << 20, 1 << 14])],
        &[],
    );
    let error = predict_within(&bomb, &column(&[1.0]), "y", &Limits::default()).unwrap_err();
    assert!(matches!(error.code(), "IF006" | "IF007" | "IF008"), "{error}");
}

fn a_model_that_wants_all_time_ends_alone() {
    let nodes = [
        ("Expand", &["one", "s"][..], "m0"),
        ("MatMul", &["m0", "m0"], "m1"),
        ("MatMul", &["m1", "m1"], "m2"),
        ("MatMul", &["m2", "m2"], "m3"),
        ("MatMul", &["m3", "m3"], "m4"),
        ("ReduceMax", &["m4"], "m"),
        ("Add", &["x", "m"], "y"),
    ];
    let bomb = model(&nodes, &[("s", &[6000, 6000])], &[("one", &[1, 1], 1e-4)]);
    let limits = Limits { ready_s: 1, ..Limits::default() };
    let error = predict_within(&bomb, &column(&[1.0]), "y", &limits).unwrap_err();
    assert_eq!((error.code(), error.to_string().contains("seconds")), ("IF008", true), "{error}");
}

fn a_model_that_mixes_rows_is_refused() {
    let mixed = model(&[("ReduceMean", &["x"], "m"), ("Sub", &["x", "m"], "y")], &[], &[]);
    let error = predict(&mixed, &column(&many()), "y").unwrap_err();
    assert!(error.to_string().contains("depends on the other rows"), "{error}");
}
