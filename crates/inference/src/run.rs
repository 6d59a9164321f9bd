//! A graph made ready, and rows put through it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tract_onnx::tract_hir::internal::*;

use crate::file::{Element, ModelFile, Port, checked, plain};
use crate::{InferenceError, operators};

/// Rows that are run at once, where the file leaves it open.
const ROWS_AT_ONCE: usize = 256;

/// Cells of one input, at most.
const WIDTH_MAX: usize = 1 << 16;

/// Largest difference that other rows in a batch may make to a prediction.
const APART: f64 = 1e-5;

/// Cells of an input, row by row.
#[derive(Debug, Clone, PartialEq)]
pub enum Cells {
    /// Numbers; NaN where there is none.
    Numbers(Vec<f64>),
    /// Texts that occur, and which of them each cell is; what is beyond them is the empty text.
    Texts {
        /// The texts.
        texts: Vec<String>,
        /// Places in them.
        cells: Vec<u32>,
    },
}

impl Cells {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Numbers(cells) => cells.len(),
            Self::Texts { cells, .. } => cells.len(),
        }
    }

    fn part(&self, from: usize, length: usize) -> Self {
        match self {
            Self::Numbers(cells) => Self::Numbers(cells[from..from + length].to_vec()),
            Self::Texts { texts, cells } => {
                Self::Texts { texts: texts.clone(), cells: cells[from..from + length].to_vec() }
            }
        }
    }

    /// The first cells, and then the first row again and again.
    fn padded(&self, keep: usize, length: usize, width: usize) -> Self {
        fn kept<T: Copy>(cells: &[T], keep: usize, length: usize, width: usize) -> Vec<T> {
            cells[..keep].iter().chain(cells[..width].iter().cycle()).take(length).copied().collect()
        }
        match self {
            Self::Numbers(cells) => Self::Numbers(kept(cells, keep, length, width)),
            Self::Texts { texts, cells } => {
                Self::Texts { texts: texts.clone(), cells: kept(cells, keep, length, width) }
            }
        }
    }
}

/// What is put into an input of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Input {
    /// Its name in the file.
    pub name: String,
    /// Columns.
    pub width: usize,
    /// Its cells.
    pub cells: Cells,
}

/// Numbers of one output, row by row.
#[derive(Debug, Clone, PartialEq)]
pub struct Predictions {
    /// Columns.
    pub width: usize,
    /// The numbers.
    pub values: Vec<f64>,
}

fn misfit(problem: String) -> InferenceError {
    InferenceError::Port { problem }
}

/// Inputs in the order of the model, and how many rows they have.
pub(crate) fn fitted<'i>(model: &ModelFile, inputs: &'i [Input]) -> Result<(Vec<&'i Input>, usize), InferenceError> {
    if let Some(other) = inputs.iter().find(|input| model.inputs().iter().all(|port| port.name != input.name)) {
        return Err(misfit(format!("it has no input {}; {}", plain(&other.name), model.described())));
    }
    let mut all = Vec::with_capacity(inputs.len());
    for port in model.inputs() {
        let mut own = inputs.iter().filter(|input| input.name == port.name);
        let (Some(input), None) = (own.next(), own.next()) else {
            return Err(misfit(format!("input {port} is needed once")));
        };
        let width = if port.is_table { port.width.unwrap_or(input.width) } else { 1 };
        if input.width != width || !(1..=WIDTH_MAX).contains(&width) || !input.cells.len().is_multiple_of(width) {
            return Err(misfit(format!("input {port} is not given {} columns", input.width)));
        }
        if matches!(input.cells, Cells::Numbers(_)) != port.element.is_number() {
            return Err(misfit(format!("input {port} is given the other of numbers and texts")));
        }
        all.push(input);
    }
    let rows = all.first().map_or(0, |input| input.cells.len() / input.width);
    match all.iter().all(|input| input.cells.len() / input.width == rows) {
        true => Ok((all, rows)),
        false => Err(misfit("inputs have different numbers of rows".to_owned())),
    }
}

/// See [`crate::predict`].
pub(crate) fn predict(model: &ModelFile, inputs: &[Input], output: &str) -> Result<Predictions, InferenceError> {
    let (inputs, rows) = fitted(model, inputs)?;
    model.output(output)?;
    let widths: Vec<usize> = inputs.iter().map(|input| input.width).collect();
    let plan = Plan::new(model.bytes(), &widths, output, rows)?;
    let mut values = Vec::new();
    for from in (0..rows).step_by(plan.rows) {
        let here = plan.rows.min(rows - from);
        let cells = inputs.iter().map(|input| input.cells.part(from * input.width, here * input.width)).collect();
        values.extend(plan.batch(cells, from == 0, here)?);
    }
    Ok(Predictions { width: plan.width, values })
}

/// A graph that is ready for so many rows at once.
pub(crate) struct Plan {
    graph: Arc<TypedRunnableModel>,
    ports: Vec<Port>,
    widths: Vec<usize>,
    pub(crate) rows: usize,
    pub(crate) width: usize,
}

/// Work that others wrote, whose panics are errors here.
fn guarded<T>(work: impl FnOnce() -> TractResult<T>, wrong: fn(String) -> InferenceError) -> Result<T, InferenceError> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error)) => Err(wrong(plain(&format!("{error:#}")))),
        Err(_) => Err(wrong("an operator broke off".to_owned())),
    }
}

impl Plan {
    /// Makes a file ready: its inputs have so many columns, and this many rows are to be run.
    pub(crate) fn new(bytes: &[u8], widths: &[usize], output: &str, rows: usize) -> Result<Self, InferenceError> {
        let model = ModelFile::read(bytes.to_vec())?;
        let ports = model.inputs().to_vec();
        let rows = match ports.iter().find_map(|port| port.rows) {
            Some(fixed) if fixed <= 1 << 16 => fixed,
            Some(_) => return Err(misfit("it takes more than 65536 rows at once".to_owned())),
            None => rows.clamp(1, ROWS_AT_ONCE),
        };
        let unready = |problem: String| InferenceError::Unready { problem };
        let (graph, width) = guarded(|| ready(bytes, &ports, widths, output, rows), unready)?;
        Ok(Self { graph, ports, widths: widths.to_vec(), rows, width })
    }

    /// Whether an input takes texts.
    pub(crate) fn is_text(&self, at: usize) -> bool {
        self.ports.get(at).is_some_and(|port| !port.element.is_number())
    }

    /// What the model says of some rows, as many as are run at once or fewer.
    pub(crate) fn batch(&self, cells: Vec<Cells>, is_first: bool, rows: usize) -> Result<Vec<f64>, InferenceError> {
        let filled = |keep: usize| -> Vec<Cells> {
            let all = cells.iter().zip(&self.widths);
            all.map(|(cells, width)| cells.padded(keep * width, self.rows * width, *width)).collect()
        };
        let mut said = self.run(&filled(rows))?;
        said.truncate(rows * self.width);
        // Whose risk is it, if it depends on the rows beside?
        if is_first && rows > 1 {
            let half = rows / 2;
            let again = self.run(&filled(half))?;
            let is_apart = |(a, b): (&f64, &f64)| (a - b).abs() <= APART * (1.0 + a.abs());
            if !said[..half * self.width].iter().zip(&again).all(is_apart) {
                let problem = "what it says of a row depends on the other rows that it is given at once";
                return Err(InferenceError::Failed { problem: problem.to_owned() });
            }
        }
        Ok(said)
    }

    fn run(&self, batch: &[Cells]) -> Result<Vec<f64>, InferenceError> {
        let mut tensors = TVec::new();
        for ((port, width), cells) in self.ports.iter().zip(&self.widths).zip(batch) {
            let shape = if port.is_table { vec![self.rows, *width] } else { vec![self.rows] };
            tensors.push(tensor(port, &shape, cells)?.into_tvalue());
        }
        // What tract says could repeat values of rows.
        let failed = |_: String| InferenceError::Failed { problem: "an operator cannot take these rows".to_owned() };
        let values = guarded(
            || {
                let outputs = self.graph.run(tensors)?;
                let output = outputs.first().context("no output")?.cast_to::<f64>()?.into_owned();
                ensure!(output.len() == self.rows * self.width, "another shape");
                Ok(output.try_as_plain_ram()?.as_slice::<f64>()?.to_vec())
            },
            failed,
        )?;
        match values.iter().filter(|value| !value.is_finite()).count() {
            0 => Ok(values),
            _ => Err(InferenceError::Failed { problem: "of some rows it says what is no number".to_owned() }),
        }
    }
}

fn kind(element: Element) -> DatumType {
    match element {
        Element::Float => DatumType::F32,
        Element::Double => DatumType::F64,
        Element::Int32 => DatumType::I32,
        Element::Int64 => DatumType::I64,
        Element::Bool => DatumType::Bool,
        Element::Text => DatumType::String,
    }
}

fn ready(
    bytes: &[u8],
    ports: &[Port],
    widths: &[usize],
    output: &str,
    rows: usize,
) -> TractResult<(Arc<TypedRunnableModel>, usize)> {
    let proto = checked(bytes)?;
    let place = proto.graph.as_ref().and_then(|graph| graph.output.iter().position(|one| one.name == output));
    let mut onnx = tract_onnx::onnx().with_ignore_value_info(true);
    operators::register(&mut onnx.op_register);
    let mut model = onnx.model_for_proto_model(&proto)?;
    drop(proto);
    for (at, (port, width)) in ports.iter().zip(widths).enumerate() {
        let shape = if port.is_table { tvec![rows, *width] } else { tvec![rows] };
        model.set_input_fact(at, InferenceFact::dt_shape(kind(port.element), shape))?;
    }
    let wanted = *place.and_then(|place| model.outputs.get(place)).context("no such output")?;
    model.select_output_outlets(&[wanted])?;
    let typed = model.into_optimized()?;
    let fact = typed.output_fact(0)?;
    let shape = fact.shape.as_concrete().context("the shape of its output is open")?.to_vec();
    let width = match shape.as_slice() {
        [all] if *all == rows => 1,
        [all, width] if *all == rows && (1..=WIDTH_MAX).contains(width) => *width,
        _ => bail!("its output has not one row for each row that it is given"),
    };
    ensure!(fact.datum_type.is_number() || fact.datum_type == DatumType::Bool, "its output are no numbers");
    Ok((typed.into_runnable()?, width))
}

/// Cells as a tensor of an input's type.
fn tensor(port: &Port, shape: &[usize], cells: &Cells) -> Result<Tensor, InferenceError> {
    let unfit = |problem: &str| misfit(format!("input {port} is given a cell that is {problem}"));
    let made = match cells {
        Cells::Numbers(numbers) => {
            let is_whole = |x: &f64| x.fract() == 0.0 && x.abs() < 9e15;
            match port.element {
                Element::Float if numbers.iter().any(|x| x.is_finite() && x.abs() > f64::from(f32::MAX)) => {
                    return Err(unfit("too large for single precision"));
                }
                Element::Int32 if numbers.iter().any(|x| !is_whole(x) || x.abs() > f64::from(i32::MAX)) => {
                    return Err(unfit("no whole number of 32 bits"));
                }
                Element::Int64 if !numbers.iter().all(is_whole) => return Err(unfit("no whole number")),
                Element::Bool if numbers.iter().any(|x| *x != 0.0 && *x != 1.0) => {
                    return Err(unfit("neither 0 nor 1"));
                }
                _ => {}
            }
            Tensor::from_shape(shape, numbers).and_then(|all| Ok(all.cast_to_dt(kind(port.element))?.into_owned()))
        }
        Cells::Texts { texts, cells } => {
            let text = |at: &u32| texts.get(*at as usize).cloned().unwrap_or_default();
            tensor1(&cells.iter().map(text).collect::<Vec<String>>()).into_shape(shape)
        }
    };
    made.map_err(|_| unfit("of no type that it takes"))
}
