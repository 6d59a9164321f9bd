//! An ONNX file as it is read: what it takes and gives, or why it is refused.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use prost::Message;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::dimension;
use tract_onnx::pb::type_proto;
use tract_onnx::pb::{GraphProto, ModelProto, TensorProto, ValueInfoProto};

use crate::operators::{self, ML_DOMAIN};
use crate::{InferenceError, wire};

/// Bytes of a model file, at most.
pub const FILE_BYTES_MAX: u64 = 16 << 20;

/// Numbers in one tensor of a file, at most; a byte of a file can stand for one of eight bytes.
const ELEMENTS_MAX: i64 = 8 << 20;

/// Sets of operators of ai.onnx and ai.onnx.ml that are run: those that the conformance tests hold against onnxruntime.
const OPSETS: std::ops::RangeInclusive<i64> = 7..=24;
const ML_OPSETS: std::ops::RangeInclusive<i64> = 1..=5;

/// What the cells of a tensor are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element {
    /// Single precision.
    Float,
    /// Double precision.
    Double,
    /// Whole numbers of 32 bits.
    Int32,
    /// Whole numbers of 64 bits.
    Int64,
    /// 0 or 1.
    Bool,
    /// Texts.
    Text,
}

impl Element {
    fn of(data_type: i32) -> Option<Self> {
        Some(match DataType::try_from(data_type).ok()? {
            DataType::Float => Self::Float,
            DataType::Double => Self::Double,
            DataType::Int32 => Self::Int32,
            DataType::Int64 => Self::Int64,
            DataType::Bool => Self::Bool,
            DataType::String => Self::Text,
            _ => return None,
        })
    }

    /// Whether cells are numbers.
    pub fn is_number(self) -> bool {
        self != Self::Text
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Float => "float",
            Self::Double => "double",
            Self::Int32 => "int32",
            Self::Int64 => "int64",
            Self::Bool => "bool",
            Self::Text => "string",
        })
    }
}

/// An input or output of a model: a number for each row and column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// Its name in the file.
    pub name: String,
    /// What its cells are.
    pub element: Element,
    /// Columns; none where the file leaves them open, or where there is one number a row and no second axis.
    pub width: Option<usize>,
    /// Whether it has an axis of columns.
    pub is_table: bool,
    /// Rows that are run at once, where the file fixes them.
    pub rows: Option<usize>,
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} [", plain(&self.name), self.element)?;
        match self.rows {
            Some(rows) => write!(f, "{rows}")?,
            None => f.write_str("rows")?,
        }
        match (self.is_table, self.width) {
            (false, _) => {}
            (true, Some(width)) => write!(f, ", {width}")?,
            (true, None) => f.write_str(", any")?,
        }
        f.write_str("])")
    }
}

/// A model file that passed the checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelFile {
    bytes: Arc<[u8]>,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    producer: String,
}

impl ModelFile {
    /// Reads an ONNX file. Nothing of it is run.
    ///
    /// # Errors
    /// [`InferenceError::Damaged`], [`InferenceError::TooLarge`]; [`InferenceError::Refused`] for outside data, loops, branches and
    /// functions; [`InferenceError::Operator`].
    pub fn read(bytes: Vec<u8>) -> Result<Self, InferenceError> {
        let proto = checked(&bytes)?;
        let graph = proto.graph.unwrap_or_default();
        let initialised: HashSet<&str> = graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
        let free = graph.input.iter().filter(|input| !initialised.contains(input.name.as_str()));
        let inputs = free.map(port).collect::<Result<Vec<_>, _>>()?;
        let outputs: Vec<Port> = graph.output.iter().filter_map(output_port).collect();
        if inputs.is_empty() || outputs.is_empty() {
            return Err(refused("it takes no table of numbers or texts, or gives none".to_owned()));
        }
        let producer = [proto.producer_name.as_str(), proto.producer_version.as_str()].join(" ");
        Ok(Self { bytes: bytes.into(), inputs, outputs, producer: plain(producer.trim()) })
    }

    /// The file.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What it takes.
    pub fn inputs(&self) -> &[Port] {
        &self.inputs
    }

    /// What it gives, of what can be read as a table.
    pub fn outputs(&self) -> &[Port] {
        &self.outputs
    }

    /// The program that wrote it, by its own words; may be empty.
    pub fn producer(&self) -> &str {
        &self.producer
    }

    /// The output of this name.
    ///
    /// # Errors
    /// [`InferenceError::Port`] with those that there are.
    pub fn output(&self, name: &str) -> Result<&Port, InferenceError> {
        self.outputs.iter().find(|port| port.name == name).ok_or_else(|| InferenceError::Port {
            problem: format!("it has no output {}; it gives {}", plain(name), listed(&self.outputs)),
        })
    }

    /// Inputs in words, for who writes a manifest.
    pub fn described(&self) -> String {
        format!("it takes {}; it gives {}", listed(&self.inputs), listed(&self.outputs))
    }
}

fn listed(ports: &[Port]) -> String {
    ports.iter().map(Port::to_string).collect::<Vec<_>>().join(", ")
}

/// A name of somebody's file for a message: short, and without what a terminal would act on.
pub(crate) fn plain(name: &str) -> String {
    name.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).take(120).collect()
}

fn refused(reason: String) -> InferenceError {
    InferenceError::Refused { reason }
}

fn damaged(problem: String) -> InferenceError {
    InferenceError::Damaged { problem }
}

/// The messages of a file, once they may be made ready to run. Where probabilities are told apart by class at the end (`ZipMap`), they
/// stay a table.
pub(crate) fn checked(bytes: &[u8]) -> Result<ModelProto, InferenceError> {
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(InferenceError::TooLarge { what: "it has more bytes", limit: FILE_BYTES_MAX });
    }
    wire::check(bytes)?;
    let mut proto = ModelProto::decode(bytes).map_err(|_| damaged("it is not what onnx.proto describes".to_owned()))?;
    let version = |domains: &[&str]| {
        proto.opset_import.iter().find(|import| domains.contains(&import.domain.as_str())).map(|import| import.version)
    };
    let (general, ml) = (version(&["", "ai.onnx"]), version(&[ML_DOMAIN]));
    let graph = proto.graph.as_mut().filter(|graph| !graph.node.is_empty());
    let graph = graph.ok_or_else(|| damaged("it has no graph, or an empty one".to_owned()))?;
    for node in &graph.node {
        let (version, known, named) = match node.domain.as_str() {
            "" | "ai.onnx" => (general, OPSETS, "ai.onnx"),
            ML_DOMAIN => (ml, ML_OPSETS, ML_DOMAIN),
            other => {
                return Err(InferenceError::Operator { operator: plain(&node.op_type), domain: plain(other) });
            }
        };
        let version = version.ok_or_else(|| damaged(format!("it uses {named} and does not say which version")))?;
        if !known.contains(&version) {
            return Err(refused(format!(
                "it uses version {version} of {named}, and {} to {} are run",
                known.start(),
                known.end()
            )));
        }
        if !operators::is_run(node) {
            return Err(InferenceError::Operator { operator: plain(&node.op_type), domain: named.to_owned() });
        }
        for tensor in node.attribute.iter().filter_map(|attribute| attribute.t.as_ref()) {
            is_sound(tensor)?;
        }
    }
    graph.initializer.iter().try_for_each(is_sound)?;
    graph.node = std::mem::take(&mut graph.node).into_iter().flat_map(operators::as_simpler).collect();
    is_in_order(graph)?;
    graph.value_info.clear();
    graph.node.iter_mut().filter(|node| node.op_type == "ZipMap").for_each(|node| {
        "Identity".clone_into(&mut node.op_type);
        node.domain.clear();
        node.attribute.clear();
    });
    Ok(proto)
}

/// Whether a tensor has as many numbers as its shape says, of a type that is run.
fn is_sound(tensor: &TensorProto) -> Result<(), InferenceError> {
    let name = || plain(&tensor.name);
    let mut elements: i64 = 1;
    for dim in &tensor.dims {
        elements = elements.checked_mul(*dim).filter(|count| *dim >= 0 && *count <= ELEMENTS_MAX).ok_or(
            InferenceError::TooLarge { what: "a tensor has more numbers", limit: ELEMENTS_MAX.unsigned_abs() },
        )?;
    }
    if tensor.dims.len() > 8 {
        return Err(refused(format!("tensor {} has more than eight axes", name())));
    }
    let count = usize::try_from(elements).unwrap_or_default();
    let (size, listed) = match DataType::try_from(tensor.data_type) {
        Ok(DataType::Float) => (4, tensor.float_data.len()),
        Ok(DataType::Double) => (8, tensor.double_data.len()),
        Ok(DataType::Int64) => (8, tensor.int64_data.len()),
        Ok(DataType::Int32) => (4, tensor.int32_data.len()),
        Ok(DataType::Bool | DataType::Uint8 | DataType::Int8) => (1, tensor.int32_data.len()),
        Ok(DataType::String) => (0, tensor.string_data.len()),
        _ => return Err(refused(format!("tensor {} is of a type that tabular models do not need", name()))),
    };
    let fits = match (tensor.raw_data.is_empty(), size) {
        (true, _) => listed == count,
        (false, 0) => false,
        (false, size) => tensor.raw_data.len() == count * size && listed == 0,
    };
    let texts = tensor.string_data.iter().all(|text| std::str::from_utf8(text).is_ok());
    if fits && texts { Ok(()) } else { Err(damaged(format!("tensor {} is not as large as its shape", name()))) }
}

/// Whether every value is made once, before it is used: then the graph has no circle.
fn is_in_order(graph: &GraphProto) -> Result<(), InferenceError> {
    let mut made: HashSet<&str> = HashSet::new();
    let named: Vec<&str> = graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
    for name in &named {
        if !made.insert(name) {
            return Err(damaged(format!("value {} is made twice", plain(name))));
        }
    }
    // Older files list what has a value among the inputs too.
    let mut taken = HashSet::new();
    if graph.input.iter().any(|input| !taken.insert(input.name.as_str())) {
        return Err(damaged("two inputs have one name".to_owned()));
    }
    made.extend(taken);
    for node in &graph.node {
        if let Some(unknown) = node.input.iter().find(|input| !input.is_empty() && !made.contains(input.as_str())) {
            return Err(damaged(format!("value {} is used before it is made", plain(unknown))));
        }
        for output in node.output.iter().filter(|output| !output.is_empty()) {
            if !made.insert(output) {
                return Err(damaged(format!("value {} is made twice", plain(output))));
            }
        }
        if node.output.first().is_none_or(String::is_empty) {
            return Err(refused(format!("an operator {} makes nothing", plain(&node.op_type))));
        }
    }
    let mut given = HashSet::new();
    for output in &graph.output {
        if !made.contains(output.name.as_str()) || !given.insert(output.name.as_str()) {
            return Err(damaged(format!("output {} is not made, or there twice", plain(&output.name))));
        }
    }
    Ok(())
}

/// An input as a table.
fn port(value: &ValueInfoProto) -> Result<Port, InferenceError> {
    tensor_port(value)
        .ok_or_else(|| refused(format!("input {} is no column or table of numbers or texts", plain(&value.name))))
}

fn tensor_port(value: &ValueInfoProto) -> Option<Port> {
    let type_proto::Value::TensorType(tensor) = value.r#type.as_ref()?.value.as_ref()?;
    let element = Element::of(tensor.elem_type)?;
    let mut port = Port { name: value.name.clone(), element, width: None, is_table: true, rows: None };
    let Some(shape) = &tensor.shape else { return Some(port) };
    let fixed = |at: usize| match shape.dim.get(at).and_then(|dim| dim.value.as_ref()) {
        Some(dimension::Value::DimValue(length)) if *length > 0 => usize::try_from(*length).ok(),
        _ => None,
    };
    port.rows = fixed(0);
    match shape.dim.len() {
        1 => port.is_table = false,
        2 => port.width = fixed(1),
        _ => return None,
    }
    Some(port)
}

/// An output as a table: one that is one, or one that was told apart by class.
fn output_port(value: &ValueInfoProto) -> Option<Port> {
    let map = || Port { name: value.name.clone(), element: Element::Float, width: None, is_table: true, rows: None };
    // Sequences of maps are not among the messages here, so such a type has no value.
    let is_map = value.r#type.as_ref().is_some_and(|kind| kind.value.is_none());
    if is_map { Some(map()) } else { tensor_port(value) }
}
