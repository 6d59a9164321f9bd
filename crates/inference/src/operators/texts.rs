//! Operators of ai.onnx.ml that look values up.

use std::collections::HashMap;

use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use super::kernel::{Attributes, Fact, Kernel, Values, numbers, only, tensor, text_tensor, texts};

/// What is looked up: a text, or a number by its bits, all NaN alike and both zeros too.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    Text(String),
    Number(u64),
}

impl Key {
    fn number(number: f64) -> Self {
        let number = if number.is_nan() { f64::NAN } else { number + 0.0 };
        Self::Number(number.to_bits())
    }
}

impl Values {
    fn keys(self) -> Vec<Key> {
        match self {
            Self::Texts(texts) => texts.into_iter().map(Key::Text).collect(),
            Self::Numbers(numbers) => numbers.into_iter().map(Key::number).collect(),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Texts(texts) => texts.len(),
            Self::Numbers(numbers) => numbers.len(),
        }
    }
}

/// The keys of a tensor's cells.
fn keys_of(input: &Tensor) -> TractResult<Vec<Key>> {
    Ok(match input.datum_type() {
        DatumType::String => texts(input)?.into_iter().map(Key::Text).collect(),
        _ => numbers(input)?.into_iter().map(Key::number).collect(),
    })
}

/// Places of keys; of one that is there twice the first.
fn places(keys: Vec<Key>) -> HashMap<Key, usize> {
    let mut places = HashMap::with_capacity(keys.len());
    for (at, key) in keys.into_iter().enumerate() {
        places.entry(key).or_insert(at);
    }
    places
}

/// A table from keys to values; the last value is for all others.
#[derive(Debug)]
struct LabelEncoder {
    from_texts: bool,
    places: HashMap<Key, usize>,
    values: Values,
    kind: DatumType,
}

impl Kernel for LabelEncoder {
    fn name(&self) -> &'static str {
        "LabelEncoder"
    }

    fn facts(&self, inputs: &[Fact]) -> TractResult<Vec<Fact>> {
        let (kind, shape) = only(inputs)?;
        ensure!((*kind == DatumType::String) == self.from_texts, "its keys are of another type than its input");
        Ok(vec![(self.kind, shape.clone())])
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let input = only(inputs)?;
        let last = self.values.len() - 1;
        let found: Vec<usize> =
            keys_of(input)?.iter().map(|key| self.places.get(key).copied().unwrap_or(last)).collect();
        let made = match &self.values {
            Values::Texts(texts) => {
                text_tensor(input.shape(), &found.iter().map(|at| texts[*at].clone()).collect::<Vec<_>>())?
            }
            Values::Numbers(numbers) => {
                tensor(self.kind, input.shape(), &found.iter().map(|at| numbers[*at]).collect::<Vec<_>>())?
            }
        };
        Ok(tvec!(made.into_tvalue()))
    }
}

#[expect(clippy::cast_precision_loss, reason = "whole numbers of models are small")]
fn listed(attributes: &Attributes<'_>, name: &str) -> TractResult<Option<(Values, DatumType)>> {
    let floats = |numbers: &[i64]| numbers.iter().map(|number| *number as f64).collect();
    let (texts, ints, singles) = (format!("{name}_strings"), format!("{name}_int64s"), format!("{name}_floats"));
    Ok(if attributes.has(&texts) {
        Some((Values::Texts(attributes.texts(&texts)?), DatumType::String))
    } else if attributes.has(&ints) {
        Some((Values::Numbers(floats(attributes.ints(&ints))), DatumType::I64))
    } else if attributes.has(&singles) {
        Some((Values::Numbers(attributes.floats(&singles)), DatumType::F32))
    } else {
        let kind = attributes.tensor_kind(&format!("{name}_tensor"))?;
        attributes.tensor(&format!("{name}_tensor"))?.zip(kind)
    })
}

#[expect(clippy::cast_precision_loss, reason = "whole numbers of models are small")]
pub(super) fn label_encoder(node: &NodeProto) -> TractResult<impl Kernel> {
    let attributes = Attributes(node);
    ensure!(!attributes.has("classes_strings"), "LabelEncoder of version 1 is not run");
    let (keys, _) = listed(&attributes, "keys")?.context("LabelEncoder has no keys")?;
    let (mut values, kind) = listed(&attributes, "values")?.context("LabelEncoder has no values")?;
    ensure!(keys.len() == values.len(), "LabelEncoder has as many keys as values");
    let other = attributes.tensor("default_tensor")?;
    match (&mut values, other) {
        (Values::Texts(texts), Some(Values::Texts(other))) if other.len() == 1 => texts.extend(other),
        (Values::Numbers(numbers), Some(Values::Numbers(other))) if other.len() == 1 => numbers.extend(other),
        (_, Some(_)) => bail!("default_tensor is no single value of the type of values"),
        (Values::Texts(texts), None) => texts.push(attributes.text("default_string")?.unwrap_or("_Unused").to_owned()),
        (Values::Numbers(numbers), None) => numbers.push(match kind {
            DatumType::I64 | DatumType::I32 => attributes.int("default_int64").unwrap_or(-1) as f64,
            _ => attributes.float("default_float").unwrap_or(-0.0),
        }),
    }
    Ok(LabelEncoder { from_texts: matches!(keys, Values::Texts(_)), places: places(keys.keys()), values, kind })
}

/// A column for each category.
#[derive(Debug)]
struct OneHotEncoder {
    from_texts: bool,
    places: HashMap<Key, usize>,
    width: usize,
    zeros: bool,
}

impl Kernel for OneHotEncoder {
    fn name(&self) -> &'static str {
        "OneHotEncoder"
    }

    fn facts(&self, inputs: &[Fact]) -> TractResult<Vec<Fact>> {
        let (kind, shape) = only(inputs)?;
        ensure!((*kind == DatumType::String) == self.from_texts, "its categories are of another type than its input");
        Ok(vec![(DatumType::F32, [shape.as_slice(), &[self.width]].concat())])
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let input = only(inputs)?;
        let (kind, shape) = self.facts(&[(input.datum_type(), input.shape().to_vec())])?.remove(0);
        let mut cells = vec![0.0; shape.iter().product()];
        let keys = match input.datum_type() {
            DatumType::String => keys_of(input)?,
            // Numbers are taken as whole ones.
            _ => numbers(input)?.into_iter().map(|number| Key::number(number.trunc())).collect(),
        };
        for (row, key) in keys.iter().enumerate() {
            match self.places.get(key) {
                Some(at) => cells[row * self.width + at] = 1.0,
                None => ensure!(self.zeros, "a value is none of the categories"),
            }
        }
        Ok(tvec!(tensor(kind, &shape, &cells)?.into_tvalue()))
    }
}

pub(super) fn one_hot_encoder(node: &NodeProto) -> TractResult<impl Kernel> {
    let attributes = Attributes(node);
    let keys = listed(&attributes, "cats")?.context("OneHotEncoder has no categories")?.0;
    let (from_texts, width) = (matches!(keys, Values::Texts(_)), keys.len());
    ensure!(width > 0, "OneHotEncoder has no categories");
    let zeros = attributes.int("zeros").unwrap_or(1) != 0;
    Ok(OneHotEncoder { from_texts, places: places(keys.keys()), width, zeros })
}
