//! What a model file says of itself: its tensors, or its inputs, outputs and operators. Headers only, whatever the length of the file.

use std::collections::BTreeMap;

use serde::Serialize;

use super::formats::{LONGEST_HEADER_BYTES, bits, varint};
use crate::DepositError;
use crate::stow::SealedFile;

/// Tensors, inputs, outputs and texts that are listed; more are counted.
const MOST_LISTED: usize = 200;
/// Characters of a name or a text.
const LONGEST_TEXT: usize = 200;
/// Fields of a graph that are looked at.
const MOST_FIELDS: u32 = 2_000_000;
/// Longest field that is read: a name or a number. Longer ones are walked through or passed over.
const LONGEST_FIELD_BYTES: u64 = 4096;

/// What a model file says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "format", rename_all = "kebab-case")]
pub enum ModelSummary {
    /// Tensors by name.
    Safetensors {
        /// How many tensors.
        tensors: u64,
        /// How many numbers.
        parameters: u64,
        /// How many numbers of each type.
        types: BTreeMap<String, u64>,
        /// The first tensors, in the order of names.
        first: Vec<Tensor>,
        /// Texts that came with them.
        metadata: BTreeMap<String, String>,
    },
    /// A graph.
    Onnx {
        /// Sets of operators, by their domains.
        operator_sets: BTreeMap<String, u64>,
        /// How often each operator is there, on the outermost level.
        operators: BTreeMap<String, u64>,
        /// What goes in.
        inputs: Vec<Tensor>,
        /// What comes out.
        outputs: Vec<Tensor>,
        /// Which program wrote it.
        #[serde(skip_serializing_if = "Option::is_none")]
        producer: Option<String>,
    },
}

/// A tensor, or a place where one goes in or comes out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Tensor {
    /// Its name.
    pub name: String,
    /// Type of its numbers, as its format names it.
    #[serde(rename = "type")]
    pub kind: String,
    /// Lengths of its sides; a name where any length goes.
    pub shape: Vec<String>,
}

fn short(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(LONGEST_TEXT).collect()
}

/// Of a file that [`super::formats::check`] found nothing wrong with. Nothing of any other kind.
pub(crate) fn of(path: &str, file: &SealedFile) -> Result<Option<ModelSummary>, DepositError> {
    let lower = path.to_ascii_lowercase();
    if lower.ends_with(".safetensors") {
        safetensors(file)
    } else if lower.ends_with(".onnx") {
        onnx(file)
    } else {
        Ok(None)
    }
}

fn safetensors(file: &SealedFile) -> Result<Option<ModelSummary>, DepositError> {
    let Ok(length) = file.read(0..8)?.as_slice().try_into().map(u64::from_le_bytes) else { return Ok(None) };
    if length > LONGEST_HEADER_BYTES {
        return Ok(None);
    }
    let header: serde_json::Value = match serde_json::from_slice(&file.read(8..8 + length)?) {
        Ok(header) => header,
        Err(_) => return Ok(None),
    };
    let Some(named) = header.as_object() else { return Ok(None) };
    let (mut tensors, mut parameters, mut types) = (0, 0_u64, BTreeMap::new());
    let (mut all, mut metadata) = (BTreeMap::new(), BTreeMap::new());
    for (name, told) in named {
        if name == "__metadata__" {
            let texts = told.as_object().into_iter().flatten().take(MOST_LISTED);
            metadata.extend(texts.filter_map(|(key, text)| Some((short(key), short(text.as_str()?)))));
            continue;
        }
        let kind = told["dtype"].as_str().filter(|kind| bits(kind).is_some());
        let sides: Option<Vec<u64>> = told["shape"].as_array().and_then(|all| all.iter().map(|n| n.as_u64()).collect());
        let (Some(kind), Some(sides)) = (kind, sides) else { return Ok(None) };
        let numbers = sides.iter().fold(1_u64, |product, side| product.saturating_mul(*side));
        tensors += 1;
        parameters = parameters.saturating_add(numbers);
        let of_type: &mut u64 = types.entry(kind.to_owned()).or_default();
        *of_type = of_type.saturating_add(numbers);
        let shape = sides.iter().take(MOST_LISTED).map(u64::to_string).collect();
        all.insert(name.clone(), Tensor { name: short(name), kind: kind.to_owned(), shape });
        if all.len() > MOST_LISTED {
            all.pop_last();
        }
    }
    Ok(Some(ModelSummary::Safetensors { tensors, parameters, types, first: all.into_values().collect(), metadata }))
}

/// A field of a message (Protocol Buffers, "Message Structure").
enum Field {
    Number(u64),
    /// Where its bytes lie.
    Bytes(u64, u64),
}

/// Walks over the fields of messages, counting them.
struct Walk<'f> {
    file: &'f SealedFile,
    left: u32,
}

impl Walk<'_> {
    /// The number and value of the field at `at`, which goes to the place behind it. Nothing at the end or where it breaks off.
    fn next(&mut self, at: &mut u64, end: u64) -> Result<Option<(u64, Field)>, DepositError> {
        if *at >= end || self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let head = self.file.read(*at..end.min(*at + 20))?;
        let parsed = || {
            let (key, key_bytes) = varint(&head)?;
            let rest = head.get(usize::try_from(key_bytes).ok()?..)?;
            let from = at.checked_add(key_bytes)?;
            let (field, next) = match key & 7 {
                0 => varint(rest).and_then(|(value, bytes)| Some((Field::Number(value), from.checked_add(bytes)?)))?,
                1 => (Field::Number(0), from.checked_add(8)?),
                2 => {
                    let (length, bytes) = varint(rest)?;
                    let start = from.checked_add(bytes)?;
                    (Field::Bytes(start, start.checked_add(length)?), start.checked_add(length)?)
                }
                5 => (Field::Number(0), from.checked_add(4)?),
                _ => return None,
            };
            (next <= end).then_some((key >> 3, field, next))
        };
        let Some((number, field, next)) = parsed() else { return Ok(None) };
        *at = next;
        Ok(Some((number, field)))
    }

    fn text(&self, from: u64, to: u64) -> Result<String, DepositError> {
        let bytes = self.file.read(from..to.min(from + LONGEST_FIELD_BYTES))?;
        Ok(short(&String::from_utf8_lossy(&bytes)))
    }

    /// `ValueInfoProto`: a name, and in its type the kind of numbers and the sides.
    fn port(&mut self, mut at: u64, end: u64) -> Result<Tensor, DepositError> {
        let mut port = Tensor { name: String::new(), kind: "other".to_owned(), shape: Vec::new() };
        while let Some((number, field)) = self.next(&mut at, end)? {
            match (number, field) {
                (1, Field::Bytes(from, to)) => port.name = self.text(from, to)?,
                (2, Field::Bytes(mut from, to)) => {
                    // `TypeProto`: a tensor is its first kind.
                    while let Some((number, field)) = self.next(&mut from, to)? {
                        if let (1, Field::Bytes(from, to)) = (number, field) {
                            self.tensor(from, to, &mut port)?;
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(port)
    }

    fn tensor(&mut self, mut at: u64, end: u64, port: &mut Tensor) -> Result<(), DepositError> {
        while let Some((number, field)) = self.next(&mut at, end)? {
            match (number, field) {
                (1, Field::Number(kind)) => port.kind = element(kind).to_owned(),
                (2, Field::Bytes(mut from, to)) => {
                    while let Some((number, field)) = self.next(&mut from, to)? {
                        if let (1, Field::Bytes(mut from, to)) = (number, field)
                            && port.shape.len() < MOST_LISTED
                        {
                            let mut side = "?".to_owned();
                            while let Some((number, field)) = self.next(&mut from, to)? {
                                match (number, field) {
                                    (1, Field::Number(length)) => side = length.to_string(),
                                    (2, Field::Bytes(from, to)) => side = self.text(from, to)?,
                                    _ => {}
                                }
                            }
                            port.shape.push(side);
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Types of numbers (onnx.proto, `TensorProto.DataType`).
fn element(kind: u64) -> &'static str {
    const NAMES: [&str; 24] = [
        "undefined",
        "float32",
        "uint8",
        "int8",
        "uint16",
        "int16",
        "int32",
        "int64",
        "string",
        "bool",
        "float16",
        "float64",
        "uint32",
        "uint64",
        "complex64",
        "complex128",
        "bfloat16",
        "float8e4m3fn",
        "float8e4m3fnuz",
        "float8e5m2",
        "float8e5m2fnuz",
        "uint4",
        "int4",
        "float4e2m1",
    ];
    usize::try_from(kind).ok().and_then(|kind| NAMES.get(kind).copied()).unwrap_or("other")
}

fn onnx(file: &SealedFile) -> Result<Option<ModelSummary>, DepositError> {
    let mut walk = Walk { file, left: MOST_FIELDS };
    let (mut operator_sets, mut operators) = (BTreeMap::new(), BTreeMap::<String, u64>::new());
    let (mut inputs, mut outputs, mut producer) = (Vec::new(), Vec::new(), None);
    let (mut at, mut own) = (0, Vec::new());
    while let Some((number, field)) = walk.next(&mut at, file.len())? {
        match (number, field) {
            (2, Field::Bytes(from, to)) => producer = Some(walk.text(from, to)?).filter(|text| !text.is_empty()),
            (8, Field::Bytes(mut from, to)) => {
                let (mut domain, mut version) = (String::new(), 0);
                while let Some((number, field)) = walk.next(&mut from, to)? {
                    match (number, field) {
                        (1, Field::Bytes(from, to)) => domain = walk.text(from, to)?,
                        (2, Field::Number(told)) => version = told,
                        _ => {}
                    }
                }
                let domain = if domain.is_empty() { "ai.onnx".to_owned() } else { domain };
                if operator_sets.len() < MOST_LISTED {
                    operator_sets.insert(domain, version);
                }
            }
            (7, Field::Bytes(mut from, to)) => {
                while let Some((number, field)) = walk.next(&mut from, to)? {
                    match (number, field) {
                        (1, Field::Bytes(mut from, to)) => {
                            let mut operator = "?".to_owned();
                            while let Some((number, field)) = walk.next(&mut from, to)? {
                                if let (4, Field::Bytes(from, to)) = (number, field) {
                                    operator = walk.text(from, to)?;
                                }
                            }
                            if operators.len() < MOST_LISTED || operators.contains_key(&operator) {
                                *operators.entry(operator).or_default() += 1;
                            }
                        }
                        // Older graphs list weights among the inputs; their names tell.
                        (5, Field::Bytes(mut from, to)) => {
                            while let Some((number, field)) = walk.next(&mut from, to)? {
                                if let (8, Field::Bytes(from, to)) = (number, field)
                                    && own.len() < MOST_LISTED
                                {
                                    own.push(walk.text(from, to)?);
                                }
                            }
                        }
                        (11, Field::Bytes(from, to)) if inputs.len() < MOST_LISTED => inputs.push(walk.port(from, to)?),
                        (12, Field::Bytes(from, to)) if outputs.len() < MOST_LISTED => {
                            outputs.push(walk.port(from, to)?);
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    inputs.retain(|input| !own.contains(&input.name));
    Ok(Some(ModelSummary::Onnx { operator_sets, operators, inputs, outputs, producer }))
}
