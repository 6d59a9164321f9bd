//! A walk over the bytes of an ONNX file before anything is made of them.
//!
//! Two bytes can stand for a message that takes a kilobyte of memory. So messages are counted where they lie (the encoding of
//! protocol buffers: a tag, then a number or a length with bytes), and what may not be in a file is refused at the same time.

use crate::InferenceError;

/// Most of each kind that a file may hold; tabular models of any use have far fewer.
const NODES_MAX: u64 = 10_000;
const ATTRIBUTES_MAX: u64 = 60_000;
const TENSORS_MAX: u64 = 20_000;
const VALUES_MAX: u64 = 100_000;
const TEXTS_MAX: u64 = 4_000_000;

/// A kind of message of onnx.proto.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Model,
    Graph,
    Node,
    Attribute,
    Tensor,
    /// A name with a type.
    Value,
    Type,
    TensorType,
    Shape,
    Dimension,
    /// Two texts, or a set of operators with its version.
    Entry,
    Annotation,
    /// Bytes, or numbers in a row.
    Text,
}

/// What a field of a message is; `Err` says why a file with it is refused.
fn field(of: Kind, number: u64) -> Result<Kind, &'static str> {
    Ok(match (of, number) {
        (Kind::Model, 7) => Kind::Graph,
        (Kind::Model, 8 | 14) | (Kind::Graph | Kind::Tensor, 16) | (Kind::Node, 9) | (Kind::Value, 4) => Kind::Entry,
        (Kind::Model, 20) => return Err("it holds how to train on, not only how to predict"),
        (Kind::Model, 25) => return Err("it defines functions of its own"),
        (Kind::Graph, 1) => Kind::Node,
        (Kind::Graph, 5) | (Kind::Attribute, 5 | 10) => Kind::Tensor,
        (Kind::Graph, 11..=13) => Kind::Value,
        (Kind::Graph, 14) => Kind::Annotation,
        (Kind::Graph, 15) | (Kind::Attribute, 22 | 23) => return Err("it has sparse tensors"),
        (Kind::Node, 5) => Kind::Attribute,
        (Kind::Attribute, 6 | 11) => return Err("it has graphs within graphs, as loops and branches have"),
        (Kind::Attribute, 14 | 15) => return Err("an attribute is a type"),
        (Kind::Attribute, 21) => return Err("an attribute refers to one of a function"),
        (Kind::Tensor, 13) => return Err(OUTSIDE),
        (Kind::Value, 2) => Kind::Type,
        (Kind::Type, 1) => Kind::TensorType,
        (Kind::TensorType, 2) => Kind::Shape,
        (Kind::Shape, 1) => Kind::Dimension,
        (Kind::Annotation, 2) => Kind::Entry,
        _ => Kind::Text,
    })
}

const OUTSIDE: &str = "its weights are in another file";

#[derive(Debug, Default)]
struct Counts {
    nodes: u64,
    attributes: u64,
    tensors: u64,
    values: u64,
    texts: u64,
}

impl Counts {
    fn add(&mut self, kind: Kind) -> Result<(), InferenceError> {
        let (count, limit, what) = match kind {
            Kind::Model | Kind::Graph => return Ok(()),
            Kind::Node => (&mut self.nodes, NODES_MAX, "it has more operators"),
            Kind::Attribute => (&mut self.attributes, ATTRIBUTES_MAX, "it has more attributes"),
            Kind::Tensor => (&mut self.tensors, TENSORS_MAX, "it has more tensors"),
            Kind::Text => (&mut self.texts, TEXTS_MAX, "it has more texts"),
            _ => (&mut self.values, VALUES_MAX, "it describes more values"),
        };
        *count += 1;
        if *count > limit { Err(InferenceError::TooLarge { what, limit }) } else { Ok(()) }
    }
}

fn damaged() -> InferenceError {
    InferenceError::Damaged { problem: "it ends in the middle, or is none".to_owned() }
}

fn varint(bytes: &mut &[u8]) -> Result<u64, InferenceError> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first().ok_or_else(damaged)?;
        *bytes = rest;
        number |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(damaged())
}

fn cut<'b>(bytes: &mut &'b [u8], length: u64) -> Result<&'b [u8], InferenceError> {
    let (part, rest) = usize::try_from(length).ok().and_then(|at| bytes.split_at_checked(at)).ok_or_else(damaged)?;
    *bytes = rest;
    Ok(part)
}

fn walk(kind: Kind, mut bytes: &[u8], counts: &mut Counts) -> Result<(), InferenceError> {
    let refused = |reason: &str| InferenceError::Refused { reason: reason.to_owned() };
    while !bytes.is_empty() {
        let tag = varint(&mut bytes)?;
        let part = field(kind, tag >> 3).map_err(refused)?;
        match tag & 7 {
            0 => {
                let number = varint(&mut bytes)?;
                if (kind, tag >> 3, number) == (Kind::Tensor, 14, 1) {
                    return Err(refused(OUTSIDE));
                }
            }
            1 => drop(cut(&mut bytes, 8)?),
            2 => {
                let length = varint(&mut bytes)?;
                let inner = cut(&mut bytes, length)?;
                counts.add(part)?;
                // No message holds one of its own kind, so this goes no deeper than there are kinds.
                if part != Kind::Text {
                    walk(part, inner, counts)?;
                }
            }
            5 => drop(cut(&mut bytes, 4)?),
            // Groups are older than ONNX.
            _ => return Err(damaged()),
        }
    }
    Ok(())
}

/// Refuses a file that is no ONNX, has too much of anything, or what no tabular model needs.
pub(crate) fn check(bytes: &[u8]) -> Result<(), InferenceError> {
    walk(Kind::Model, bytes, &mut Counts::default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_bytes_that_become_much_are_refused_before_they_do() {
        // A graph of a million empty nodes.
        let nodes = [0x0a, 0x00].repeat(1_000_000);
        let mut bytes = vec![0x3a];
        let mut length = nodes.len();
        while length >= 0x80 {
            bytes.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        bytes.push(length as u8);
        bytes.extend(nodes);
        assert!(matches!(check(&bytes), Err(InferenceError::TooLarge { limit: NODES_MAX, .. })));
    }

    #[test]
    fn what_ends_too_early_is_damaged() {
        assert!(check(&[0x3a, 0x05, 0x0a]).is_err());
        assert!(check(&[0xff; 11]).is_err());
        assert!(check(&[]).is_ok(), "an empty message; it has no graph");
    }
}
