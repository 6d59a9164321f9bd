//! Operators of ai.onnx.ml on tables of numbers, column by column.

use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use super::kernel::{Attributes, Fact, Kernel, numbers, only, table, tensor, text_tensor, texts};

/// Picks columns by number.
#[derive(Debug)]
struct Extractor;

impl Kernel for Extractor {
    fn name(&self) -> &'static str {
        "ArrayFeatureExtractor"
    }

    fn facts(&self, inputs: &[Fact]) -> TractResult<Vec<Fact>> {
        let [(kind, shape), (_, picked)] = inputs else { bail!("it needs two inputs") };
        let mut shape = if shape.len() == 1 { vec![1, shape[0]] } else { shape.clone() };
        *shape.last_mut().context("it needs an axis")? = picked.iter().product();
        Ok(vec![(*kind, shape)])
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let [from, picked] = inputs else { bail!("it needs two inputs") };
        let (kind, shape) = (from.datum_type(), from.shape());
        let columns = *shape.last().context("it needs an axis")?;
        let picked = numbers(picked)?;
        let places = picked.iter().map(|place| place_of(*place, columns)).collect::<TractResult<Vec<usize>>>()?;
        let facts = self.facts(&[(kind, shape.to_vec()), (DatumType::I64, vec![places.len()])])?;
        let rows = from.len() / columns.max(1);
        let cells = || (0..rows).flat_map(|row| places.iter().map(move |place| row * columns + place));
        let made = match kind {
            DatumType::String => {
                let all = texts(from)?;
                text_tensor(&facts[0].1, &cells().map(|cell| all[cell].clone()).collect::<Vec<_>>())?
            }
            kind => {
                let all = numbers(from)?;
                tensor(kind, &facts[0].1, &cells().map(|cell| all[cell]).collect::<Vec<_>>())?
            }
        };
        Ok(tvec!(made.into_tvalue()))
    }
}

/// A column's number as a place.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within the columns")]
#[expect(clippy::cast_precision_loss, reason = "tables have few columns")]
fn place_of(number: f64, columns: usize) -> TractResult<usize> {
    ensure!(number >= 0.0 && number < columns as f64, "a column is picked that is not there");
    Ok(number as usize)
}

pub(super) fn extractor(_: &NodeProto) -> TractResult<impl Kernel> {
    Ok(Extractor)
}

/// What is done to a cell, by its column.
#[derive(Debug)]
enum Cell {
    /// Less the first, times the second.
    Scale(Vec<f64>, Vec<f64>),
    /// Numbers for cells that are this one; NaN is itself here.
    Impute(Vec<f64>, f64),
    /// 1 above a bound.
    Above(f64),
}

#[derive(Debug)]
struct Cells {
    name: &'static str,
    cell: Cell,
}

/// The setting of a column: its own, or the one of all.
fn of_column(settings: &[f64], column: usize, columns: usize) -> TractResult<f64> {
    match settings.len() {
        1 => Ok(settings[0]),
        many if many == columns => Ok(settings[column]),
        _ => bail!("it has settings for another number of columns"),
    }
}

impl Kernel for Cells {
    fn name(&self) -> &'static str {
        self.name
    }

    fn facts(&self, inputs: &[Fact]) -> TractResult<Vec<Fact>> {
        let (kind, shape) = only(inputs)?.clone();
        table(&shape)?;
        ensure!(kind != DatumType::String, "it needs numbers");
        Ok(vec![(if matches!(self.cell, Cell::Scale(..)) { DatumType::F32 } else { kind }, shape)])
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let input = only(inputs)?;
        let (_, columns) = table(input.shape())?;
        let mut cells = numbers(input)?;
        for (at, cell) in cells.iter_mut().enumerate() {
            let column = at % columns.max(1);
            *cell = match &self.cell {
                Cell::Scale(offsets, scales) => {
                    (*cell - of_column(offsets, column, columns)?) * of_column(scales, column, columns)?
                }
                Cell::Impute(put, lacking) if *cell == *lacking || (cell.is_nan() && lacking.is_nan()) => {
                    // Settings for another number of columns: the first, as onnxruntime has it.
                    of_column(put, column, columns).unwrap_or(put[0])
                }
                Cell::Impute(..) => *cell,
                Cell::Above(bound) => f64::from(*cell > *bound),
            };
        }
        let kind = self.facts(&[(input.datum_type(), input.shape().to_vec())])?[0].0;
        Ok(tvec!(tensor(kind, input.shape(), &cells)?.into_tvalue()))
    }
}

pub(super) fn scaler(node: &NodeProto) -> TractResult<impl Kernel> {
    let attributes = Attributes(node);
    let (offsets, scales) = (attributes.floats("offset"), attributes.floats("scale"));
    ensure!(!offsets.is_empty() && !scales.is_empty(), "Scaler has no offset or no scale");
    Ok(Cells { name: "Scaler", cell: Cell::Scale(offsets, scales) })
}

#[expect(clippy::cast_precision_loss, reason = "whole numbers of models are small")]
pub(super) fn imputer(node: &NodeProto) -> TractResult<impl Kernel> {
    let attributes = Attributes(node);
    let floats = attributes.floats("imputed_value_floats");
    let (put, lacking) = match floats.is_empty() {
        false => (floats, attributes.float("replaced_value_float").unwrap_or(0.0)),
        true => {
            let ints = attributes.ints("imputed_value_int64s").iter().map(|number| *number as f64).collect();
            (ints, attributes.int("replaced_value_int64").unwrap_or(0) as f64)
        }
    };
    ensure!(!put.is_empty(), "Imputer has nothing to put in");
    Ok(Cells { name: "Imputer", cell: Cell::Impute(put, lacking) })
}

pub(super) fn binarizer(node: &NodeProto) -> TractResult<impl Kernel> {
    let bound = Attributes(node).float("threshold").unwrap_or(0.0);
    Ok(Cells { name: "Binarizer", cell: Cell::Above(bound) })
}

/// How rows are divided.
#[derive(Debug, Clone, Copy)]
enum Norm {
    Max,
    Sum,
    Length,
}

#[derive(Debug)]
struct Normalizer(Norm);

impl Kernel for Normalizer {
    fn name(&self) -> &'static str {
        "Normalizer"
    }

    fn facts(&self, inputs: &[Fact]) -> TractResult<Vec<Fact>> {
        let (_, shape) = only(inputs)?;
        table(shape)?;
        Ok(vec![(DatumType::F32, shape.clone())])
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let input = only(inputs)?;
        let (_, columns) = table(input.shape())?;
        let mut cells = numbers(input)?;
        for row in cells.chunks_exact_mut(columns.max(1)) {
            let norm = match self.0 {
                Norm::Max => row.iter().copied().fold(f64::NEG_INFINITY, f64::max),
                Norm::Sum => row.iter().map(|x| x.abs()).sum(),
                Norm::Length => row.iter().map(|x| x * x).sum::<f64>().sqrt(),
            };
            if norm != 0.0 {
                row.iter_mut().for_each(|x| *x /= norm);
            }
        }
        Ok(tvec!(tensor(DatumType::F32, input.shape(), &cells)?.into_tvalue()))
    }
}

pub(super) fn normalizer(node: &NodeProto) -> TractResult<impl Kernel> {
    let norms = [("MAX", Norm::Max), ("L1", Norm::Sum), ("L2", Norm::Length)];
    Ok(Normalizer(Attributes(node).one_of("norm", &norms, Norm::Max)?))
}

/// Puts tables side by side, each with so many columns.
#[derive(Debug)]
struct Vectorizer(Vec<usize>);

impl Kernel for Vectorizer {
    fn name(&self) -> &'static str {
        "FeatureVectorizer"
    }

    fn facts(&self, inputs: &[Fact]) -> TractResult<Vec<Fact>> {
        ensure!(inputs.len() == self.0.len(), "it has widths for another number of inputs");
        let rows = inputs.iter().map(|(_, shape)| Ok(table(shape)?.0)).collect::<TractResult<Vec<_>>>()?;
        ensure!(rows.windows(2).all(|pair| pair[0] == pair[1]), "inputs have different numbers of rows");
        let rows = *rows.first().context("it needs an input")?;
        Ok(vec![(DatumType::F32, vec![rows, self.0.iter().sum()])])
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let facts: Vec<Fact> = inputs.iter().map(|input| (input.datum_type(), input.shape().to_vec())).collect();
        let (kind, shape) = self.facts(&facts)?.remove(0);
        let all = inputs.iter().map(|input| numbers(input)).collect::<TractResult<Vec<_>>>()?;
        let mut cells = Vec::with_capacity(shape.iter().product());
        for row in 0..shape[0] {
            for ((width, numbers), (_, shape)) in self.0.iter().zip(&all).zip(&facts) {
                let own = table(shape)?.1;
                // What an input lacks is zero.
                cells.extend((0..*width).map(|at| if at < own { numbers[row * own + at] } else { 0.0 }));
            }
        }
        Ok(tvec!(tensor(kind, &shape, &cells)?.into_tvalue()))
    }
}

pub(super) fn vectorizer(node: &NodeProto) -> TractResult<impl Kernel> {
    let widths = Attributes(node).ints("inputdimensions").iter();
    let widths = widths.map(|width| usize::try_from(*width).ok().filter(|width| *width <= 1 << 16));
    Ok(Vectorizer(widths.collect::<Option<Vec<_>>>().context("a width is none")?))
}
