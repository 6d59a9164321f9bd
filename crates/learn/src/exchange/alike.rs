//! Whether a model's ONNX file predicts what the model predicts, by running it.

use std::collections::BTreeMap;

use acequia_inference::{Cells, Input, ModelFile, predict};

use super::wrong;
use crate::LearnError;
use crate::model::{Form, Model};
use crate::variable::{Step, Variable, evaluate};

/// Largest difference, of large numbers in relation to them: trees are summed in single precision, and convolutions are.
const APART: f64 = 1e-5;

/// Made-up rows that are tried.
const ROWS: usize = 64;

/// Linear predictors beyond are of no row that a model meets; their exponentials leave the numbers.
const FAR: f64 = 30.0;

/// A column of tables that a model reads: its variables, and whether they ask what its texts are.
struct Column<'m> {
    name: &'m str,
    variables: Vec<&'m Variable>,
    is_text: bool,
}

/// The columns of a model's ONNX file, in its order.
fn columns(variables: &[Variable]) -> Vec<Column<'_>> {
    let mut columns: Vec<Column<'_>> = Vec::new();
    for variable in variables {
        let name = variable.source();
        let asks = variable.steps.first().is_some_and(Step::takes_text);
        match columns.iter_mut().find(|column| column.name == name) {
            Some(column) => {
                column.variables.push(variable);
                column.is_text |= asks;
            }
            None => columns.push(Column { name, variables: vec![variable], is_text: asks }),
        }
    }
    columns
}

/// Cells that go through all steps of a column: round numbers, those on and beside every bound, and texts that steps ask for.
fn cells(column: &Column<'_>) -> Vec<String> {
    let mut numbers = vec![0.0, 0.25, 1.0, 2.0, 5.0, 13.0, 34.0, 89.0, -1.0];
    let mut texts: Vec<String> = Vec::new();
    for step in column.variables.iter().flat_map(|variable| &variable.steps) {
        match step {
            Step::Levels(wanted) | Step::OneOf(wanted) => texts.extend(wanted.iter().cloned()),
            Step::Codes(codes) => texts.extend(codes.keys().cloned()),
            Step::Band { edges: bounds, .. } | Step::SplineTerm { knots: bounds, .. } => {
                bounds.iter().for_each(|bound| numbers.extend([*bound, bound - 0.5, bound + 0.5]));
            }
            Step::Above(bound) | Step::Cap(bound) | Step::Floor(bound) => {
                numbers.extend([*bound, bound - 0.5, bound + 0.5]);
            }
            Step::Subtract(_) | Step::Divide(_) | Step::Power(_) | Step::PowerLog(_) | Step::Log => {}
        }
    }
    let mut all: Vec<String> = numbers.iter().map(f64::to_string).collect();
    if column.is_text {
        all = [texts, vec!["neither".to_owned()], all].concat();
    }
    let goes = |cell: &String| column.variables.iter().all(|variable| evaluate(cell, &[&variable.steps]).is_ok());
    all.retain(goes);
    all
}

/// Made-up pixels.
fn pixel(row: usize, at: usize) -> f64 {
    let byte = (row * 31 + at * 17 + (at / 7) * row) % 256;
    f64::from(u8::try_from(byte).unwrap_or_default()) / 255.0
}

impl Model {
    /// Runs the model's own ONNX file on made-up rows, and compares with what the model says of them.
    ///
    /// # Errors
    /// [`LearnError::Model`] when they differ by more than 1e-5; [`LearnError::Inference`] when the file cannot be run.
    pub fn predicts_alike(&self) -> Result<(), LearnError> {
        let file = ModelFile::read(self.to_onnx()?)?;
        let variables = self.inputs();
        let columns = columns(&variables);
        let all: Vec<Vec<String>> = columns.iter().map(cells).collect();
        let is_image = |column: &Column<'_>| column.variables.iter().any(|variable| variable.image.is_some());
        if columns.iter().zip(&all).any(|(column, cells)| cells.is_empty() && !is_image(column)) {
            return Err(wrong("no made-up cell goes through the steps of a column"));
        }
        let cell = |at: usize, row: usize| &all[at][(row * (at + 1) + at) % all[at].len()];
        let place: BTreeMap<&str, usize> = columns.iter().enumerate().map(|(at, column)| (column.name, at)).collect();
        let far = if matches!(self.form, Form::Linear { .. }) { f64::INFINITY } else { FAR };
        let mut kept = Vec::new();
        for row in 0..ROWS {
            let mut numbers = Vec::new();
            for variable in &variables {
                match variable.image {
                    Some(_) => numbers.extend((0..variable.numbers()).map(|at| pixel(row, at))),
                    None => {
                        let text = cell(place[variable.source()], row);
                        numbers.push(evaluate(text, &[&variable.steps]).unwrap_or(f64::NAN));
                    }
                }
            }
            let predictor = self.linear_predictors(&numbers);
            if let Some(predictor) = predictor.first().filter(|predictor| predictor.abs() < far) {
                kept.push((row, *predictor));
            }
        }
        if kept.is_empty() {
            return Err(wrong("no made-up row has a risk that can be compared"));
        }
        let input = |(at, column): (usize, &Column<'_>)| {
            let own = || kept.iter().map(|(row, _)| cell(at, *row));
            let (width, cells) = match column.variables.first() {
                Some(variable) if variable.image.is_some() => {
                    let width = variable.numbers();
                    let pixels = kept.iter().flat_map(|(row, _)| (0..width).map(|at| pixel(*row, at)));
                    (width, Cells::Numbers(pixels.collect()))
                }
                _ if column.is_text => {
                    let texts = all[at].clone();
                    let place = |cell: &String| texts.iter().position(|text| text == cell).unwrap_or(texts.len());
                    let cells = own().map(|cell| u32::try_from(place(cell)).unwrap_or(u32::MAX)).collect();
                    (1, Cells::Texts { texts: texts.into(), cells })
                }
                _ => (1, Cells::Numbers(own().map(|cell| cell.parse().unwrap_or(f64::NAN)).collect())),
            };
            Input { name: column.name.to_owned(), width, cells }
        };
        let inputs: Vec<Input> = columns.iter().enumerate().map(input).collect();
        for output in file.outputs() {
            let said = predict(&file, &inputs, &output.name)?;
            let expected: Vec<f64> = kept.iter().flat_map(|(_, lp)| self.of_output(&output.name, *lp)).collect();
            let apart = |(a, b): (&f64, &f64)| (a - b).abs() / b.abs().max(1.0);
            if said.values.len() != expected.len()
                || said.values.iter().zip(&expected).map(apart).any(|apart| apart.is_nan() || apart > APART)
            {
                return Err(wrong("its ONNX file predicts otherwise than it does"));
            }
        }
        Ok(())
    }

    /// What an output of its ONNX file should say, by its linear predictor.
    fn of_output(&self, output: &str, linear_predictor: f64) -> Vec<f64> {
        match output {
            "risk" => {
                let days = self.horizons_days();
                days.iter().map(|days| self.risk(linear_predictor, *days).unwrap_or(f64::NAN)).collect()
            }
            "probability" => vec![self.risk(linear_predictor, 0.0).unwrap_or(f64::NAN)],
            _ => vec![linear_predictor],
        }
    }
}
