//! A model that another program made: its ONNX file, and a manifest that says what the file cannot.
//!
//! The file says how numbers become a number. Which columns of a table these are, in which units and codes, what is predicted for
//! whom and until when, and who made it under which licence, only its maker knows; so it is written down, and the two together are
//! the frozen model.

use std::collections::BTreeMap;

use acequia_inference::{Cells, Input, ModelFile, predict};
use acequia_types::{Digest, digest_named};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::LearnError;
use crate::plan::{Cohort, Outcome};
use crate::table::Data;
use crate::tasks::{Scale, logistic};
use crate::variable::{Step, Variable, check_steps, evaluate};

const YEAR_DAYS: f64 = 365.25;

/// Largest difference between what a model says of an example and what its maker's program said.
const APART: f64 = 1e-5;

/// What the maker of a model says about it; written as `NAME.import.toml`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelManifest {
    /// Layout of this document: `acequia-import/1`.
    pub schema: String,
    /// What the model is called.
    pub name: String,
    /// Its version, in its maker's counting.
    pub version: String,
    /// One sentence on what it predicts.
    pub title: String,
    /// SPDX expression of its licence.
    pub license: String,
    /// Who made it.
    pub creators: Vec<Creator>,
    /// What it is for, and for whom.
    pub intended_use: String,
    /// Whose rows it learned from, in words; unknown when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub population: Option<String>,
    /// Names of the sites whose rows it learned from; unknown when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub developed_at: Option<Vec<String>>,
    /// For whose rows it is.
    #[serde(default)]
    pub cohort: Cohort,
    /// What it predicts: an outcome of 0 and 1, or the first of some events.
    pub outcome: Outcome,
    /// Which numbers of the file are its predictions.
    pub output: OutputPort,
    /// What goes into each input of the file.
    pub inputs: Vec<InputPort>,
    /// Rows with what the maker's program says of them: whether the file says the same here is checked at every use.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub examples: Vec<Example>,
}

/// Somebody who made a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Creator {
    /// Name.
    pub name: String,
    /// Address of a page about them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// Which numbers of a file are predictions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputPort {
    /// Name of the output.
    pub name: String,
    /// Which of its columns, from 0; needed where it has several and the model states one risk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
    /// What the numbers are.
    #[serde(default)]
    pub states: States,
    /// For survival: until when; one for each column that is read, ascending.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub horizons_years: Vec<f64>,
}

/// What the numbers of an output are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum States {
    /// Probability of the outcome, or of the event by the horizon.
    #[default]
    Risk,
    /// Probability of no event by the horizon.
    Survival,
    /// Log odds of the outcome.
    LogOdds,
}

/// What goes into an input of the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputPort {
    /// Name of the input.
    pub name: String,
    /// Its columns, in the order of the file.
    pub columns: Vec<InputColumn>,
}

/// One column of an input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputColumn {
    /// Its name in the record.
    pub name: String,
    /// The column of tables that it comes from; the name when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
    /// UCUM unit of the number; `1` for one without. Not for texts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// What is done with the column, in order; as in a run plan.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Step>,
    /// For an input of texts: all texts that it knows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
    /// What happens where a row has no value.
    #[serde(default, skip_serializing_if = "Lacking::is_usual")]
    pub missing: Lacking,
    /// Mean in training, where the maker states it: to tell rows that are unlike all others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean: Option<f64>,
    /// Standard deviation in training.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sd: Option<f64>,
}

/// What happens where a row has no value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lacking {
    /// The model is not for such a row.
    #[default]
    Needed,
    /// The model gets NaN, or an empty text, and knows what to do.
    Passed,
}

impl Lacking {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
    fn is_usual(&self) -> bool {
        *self == Self::Needed
    }
}

/// A row and what the maker's program says of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Example {
    /// Cells by column of the table; a column that is left out has no value.
    pub row: BTreeMap<String, Cell>,
    /// The numbers of the output that are read, as they are there.
    pub gives: Vec<f64>,
}

/// A cell of an example.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Cell {
    /// A number.
    Number(f64),
    /// A text.
    Text(String),
}

impl InputColumn {
    fn source(&self) -> &str {
        self.column.as_deref().unwrap_or(&self.name)
    }

    /// As a variable: a number, or for texts the place among its values.
    #[expect(clippy::cast_precision_loss, reason = "a column knows few texts")]
    fn variable(&self) -> Variable {
        let mut steps = self.steps.clone();
        if !self.values.is_empty() {
            let places = self.values.iter().enumerate().map(|(at, text)| (text.clone(), at as f64));
            steps.push(Step::Codes(places.collect()));
        }
        Variable { column: self.column.clone(), steps, ..Variable::plain(&self.name) }
    }

    fn seen(&self) -> Option<Scale> {
        self.mean.zip(self.sd).map(|(mean, sd)| Scale { mean, sd })
    }
}

fn wrong(message: impl Into<String>) -> LearnError {
    LearnError::Manifest { message: message.into() }
}

impl ModelManifest {
    /// Reads a manifest in TOML.
    ///
    /// # Errors
    /// [`LearnError::Manifest`] with the line, or with the key that contradicts another.
    pub fn from_toml(text: &str) -> Result<Self, LearnError> {
        let manifest: Self = toml::from_str(text).map_err(|error| {
            let line = error.span().map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
            wrong(format!("{}{}", line.map_or(String::new(), |line| format!("line {line}: ")), error.message()))
        })?;
        manifest.check()?;
        Ok(manifest)
    }

    fn columns(&self) -> impl Iterator<Item = &InputColumn> {
        self.inputs.iter().flat_map(|input| &input.columns)
    }

    fn check(&self) -> Result<(), LearnError> {
        if self.schema != "acequia-import/1" {
            return Err(wrong("schema must be acequia-import/1"));
        }
        let stated = [
            ("name", &self.name),
            ("version", &self.version),
            ("title", &self.title),
            ("license", &self.license),
            ("intended_use", &self.intended_use),
        ];
        let optional = self.population.iter().map(|text| ("population", text));
        let names = self.creators.iter().map(|creator| ("creators", &creator.name));
        let sites = self.developed_at.iter().flatten().map(|site| ("developed_at", site));
        for (key, text) in stated.into_iter().chain(optional).chain(names).chain(sites) {
            if text.trim().is_empty() || text.chars().count() > 2000 || text.chars().any(char::is_control) {
                return Err(wrong(format!("{key} must be one line of at most 2000 letters, and not empty")));
            }
        }
        if self.creators.is_empty() {
            return Err(wrong("creators names nobody"));
        }
        self.check_outcome()?;
        self.check_columns()?;
        // TOML knows numbers that JSON, in which it travels and is named, does not.
        let travelled = serde_json::to_vec(self).ok().and_then(|bytes| serde_json::from_slice::<Self>(&bytes).ok());
        if travelled.as_ref() == Some(self) { Ok(()) } else { Err(wrong("a number in it is not finite")) }
    }

    fn check_outcome(&self) -> Result<(), LearnError> {
        let horizons = &self.output.horizons_years;
        match &self.outcome {
            Outcome::Number { .. } => return Err(wrong("outcome must be binary or survival")),
            Outcome::Binary { value } => {
                check_steps(&value.name, &value.steps)?;
                if !horizons.is_empty() || self.output.states == States::Survival {
                    return Err(wrong("output.horizons_years and survival are for an outcome of kind survival"));
                }
            }
            Outcome::Survival { components, cut_days, .. } => {
                let ascending = horizons.windows(2).all(|pair| pair[0] < pair[1]);
                let whole = horizons.iter().all(|years| years.is_finite() && *years > 0.0 && *years <= 200.0);
                if components.is_empty() || !(1..=20).contains(&horizons.len()) || !ascending || !whole {
                    return Err(wrong(
                        "an outcome of kind survival needs components, and output.horizons_years: one to twenty, ascending",
                    ));
                }
                let last = self.horizons_days().last().copied().unwrap_or_default();
                if cut_days.is_some_and(|cut| !(cut.is_finite() && cut >= last - 1e-6)) {
                    return Err(wrong("outcome.cut_days cuts follow-up before the last of output.horizons_years"));
                }
            }
        }
        if self.output.column.is_some() && horizons.len() > 1 {
            return Err(wrong("output.column is for one risk; with several horizons all columns are read"));
        }
        Ok(())
    }

    fn check_columns(&self) -> Result<(), LearnError> {
        let mut names: Vec<&str> = self.columns().map(|column| column.name.as_str()).collect();
        names.sort_unstable();
        let mut ports: Vec<&str> = self.inputs.iter().map(|input| input.name.as_str()).collect();
        ports.sort_unstable();
        let twice = |names: &[&str]| names.windows(2).any(|pair| pair[0] == pair[1]);
        if names.is_empty() || names.len() > 4096 || twice(&names) || twice(&ports) {
            return Err(wrong("inputs needs columns, 4096 at most, and no two with one name"));
        }
        for column in self.columns() {
            let of = |what: &str| wrong(format!("column {}: {what}", column.name));
            let steps = column.variable().steps;
            check_steps(&column.name, &steps).map_err(|error| match error {
                LearnError::Plan { message } => wrong(message),
                other => other,
            })?;
            let is_number = !steps.first().is_some_and(Step::takes_text);
            let unit = column.unit.as_ref().is_some_and(|unit| !unit.trim().is_empty());
            if is_number != unit {
                return Err(of("a number needs its unit (UCUM; 1 where it has none), and a text has none"));
            }
            if column.values.len() > 10_000 || column.values.len() != known(&column.values) {
                return Err(of("values lists a text twice, or more than 10000"));
            }
            let sound = |scale: Scale| scale.is_sound();
            if column.mean.is_some() != column.sd.is_some() || !column.seen().is_none_or(sound) {
                return Err(of("mean and sd belong together, and sd is above 0"));
            }
        }
        let risks = self.output.horizons_years.len().max(1);
        let misfit = |example: &Example| {
            example.gives.len() != risks
                || example.row.keys().any(|key| self.columns().all(|column| column.source() != key.as_str()))
        };
        if self.examples.len() > 1000 || self.examples.iter().any(misfit) {
            return Err(wrong(
                "examples must name columns of inputs, and give one number for each risk; a thousand at most",
            ));
        }
        Ok(())
    }

    /// Days by which it states risks; empty for an outcome of 0 and 1.
    pub fn horizons_days(&self) -> Vec<f64> {
        self.output.horizons_years.iter().map(|years| years * YEAR_DAYS).collect()
    }
}

fn known(texts: &[String]) -> usize {
    texts.iter().collect::<std::collections::BTreeSet<_>>().len()
}

/// A frozen model of another program.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(into = "ImportedDocument")]
pub struct ImportedModel {
    manifest: ModelManifest,
    file: ModelFile,
}

/// How it travels.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ImportedDocument {
    manifest: ModelManifest,
    /// The file, in base64.
    onnx: String,
}

impl From<ImportedModel> for ImportedDocument {
    fn from(model: ImportedModel) -> Self {
        Self { onnx: STANDARD.encode(model.file.bytes()), manifest: model.manifest }
    }
}

impl TryFrom<ImportedDocument> for ImportedModel {
    type Error = LearnError;

    fn try_from(document: ImportedDocument) -> Result<Self, LearnError> {
        let bytes = STANDARD.decode(&document.onnx);
        let bytes = bytes.map_err(|_| LearnError::Model { message: "its file is not in base64".to_owned() })?;
        Self::new(document.manifest, bytes)
    }
}

impl ImportedModel {
    /// Puts file and manifest together. Nothing is run.
    ///
    /// # Errors
    /// [`LearnError::Inference`] for a file that is not run; [`LearnError::Manifest`] when the two do not fit.
    pub fn new(manifest: ModelManifest, onnx: Vec<u8>) -> Result<Self, LearnError> {
        manifest.check()?;
        let file = ModelFile::read(onnx)?;
        for port in file.inputs() {
            let input = manifest.inputs.iter().find(|input| input.name == port.name);
            let input = input.ok_or_else(|| wrong(format!("inputs lacks {port}; {}", file.described())))?;
            let width = if port.is_table { port.width.unwrap_or(input.columns.len()) } else { 1 };
            if input.columns.len() != width {
                return Err(wrong(format!("input {port} is given {} columns", input.columns.len())));
            }
            for column in &input.columns {
                let of = |what: &str| wrong(format!("input {port}, column {}: {what}", column.name));
                match (port.element.is_number(), column.values.is_empty()) {
                    (true, false) => return Err(of("it takes numbers; give texts codes instead of values")),
                    (false, true) => return Err(of("it takes texts; list those that it knows as values")),
                    _ => {}
                }
            }
        }
        if let Some(input) =
            manifest.inputs.iter().find(|input| file.inputs().iter().all(|port| port.name != input.name))
        {
            return Err(wrong(format!("the file has no input {}; {}", input.name, file.described())));
        }
        let output = file.output(&manifest.output.name)?;
        let read = manifest.output.horizons_years.len().max(1);
        let width = if output.is_table { output.width } else { Some(1) };
        match (width, manifest.output.column) {
            (Some(width), Some(column)) if column >= width => {
                return Err(wrong(format!("output {output} has no column {column}; the first is 0")));
            }
            (Some(width), None) if width != read => {
                let classes = if width == 2 { "; of two classes, column = 1 is the second" } else { "" };
                return Err(wrong(format!("output {output} has {width} columns, and {read} are read{classes}")));
            }
            _ => {}
        }
        Ok(Self { manifest, file })
    }

    /// What its maker says.
    pub fn manifest(&self) -> &ModelManifest {
        &self.manifest
    }

    /// Its file.
    pub fn file(&self) -> &ModelFile {
        &self.file
    }

    /// Names the frozen model: manifest and file.
    pub fn digest(&self) -> Digest {
        let manifest = serde_json::to_vec(&self.manifest).unwrap_or_default();
        digest_named("acequia imported model 1", [("manifest", manifest.as_slice()), ("file", self.file.bytes())])
    }

    /// Its columns as variables, for reading a table.
    pub(crate) fn variables(&self) -> Vec<Variable> {
        self.manifest.columns().map(InputColumn::variable).collect()
    }

    /// Which of them a row may lack.
    pub(crate) fn may_lack(&self) -> Vec<bool> {
        self.manifest.columns().map(|column| column.missing == Lacking::Passed).collect()
    }

    pub(crate) fn seen(&self) -> Vec<Option<Scale>> {
        self.manifest.columns().map(InputColumn::seen).collect()
    }

    /// Risks of rows instead of what they are computed from: one for each horizon.
    ///
    /// # Errors
    /// [`LearnError::Inference`], [`LearnError::Unlike`] when an example of its maker comes out otherwise, [`LearnError::Manifest`] when
    /// what comes out are no risks.
    pub(crate) fn predicted(&self, data: &Data) -> Result<Data, LearnError> {
        let examples = self.manifest.examples.iter().map(|example| self.example(example));
        let mut rows: Vec<f64> = examples.collect::<Result<Vec<_>, _>>()?.concat();
        rows.extend_from_slice(&data.x);
        let said = self.said(&rows)?;
        let width = self.manifest.output.horizons_years.len().max(1);
        let (of_examples, of_rows) = said.split_at(self.manifest.examples.len() * width);
        for (at, (example, said)) in self.manifest.examples.iter().zip(of_examples.chunks_exact(width)).enumerate() {
            for (told, said) in example.gives.iter().zip(said) {
                let apart = (told - said).abs() / told.abs().max(1.0);
                if apart.is_nan() || apart > APART {
                    return Err(LearnError::Unlike { example: at + 1, told: *told, said: *said });
                }
            }
        }
        let risks = of_rows.iter().map(|number| self.risk(*number)).collect::<Option<Vec<f64>>>();
        let risks = risks.ok_or_else(|| {
            wrong(format!(
                "output {} holds what is no probability; name another, or what it states",
                self.manifest.output.name
            ))
        })?;
        Ok(data.with(risks, width))
    }

    fn example(&self, example: &Example) -> Result<Vec<f64>, LearnError> {
        let cell = |(column, variable): (&InputColumn, Variable)| {
            let text = match example.row.get(column.source()) {
                None if column.missing == Lacking::Passed => return Ok(f64::NAN),
                None => return Err(wrong(format!("an example has no value of {}", column.source()))),
                Some(Cell::Number(number)) => number.to_string(),
                Some(Cell::Text(text)) => text.clone(),
            };
            evaluate(&text, &[&variable.steps]).map_err(|_| {
                wrong(format!("a value of {} in an example does not go through its steps", column.source()))
            })
        };
        self.manifest.columns().zip(self.variables()).map(cell).collect()
    }

    /// The numbers that are read, row by row.
    fn said(&self, rows: &[f64]) -> Result<Vec<f64>, LearnError> {
        let width = self.manifest.columns().count();
        let mut inputs = Vec::with_capacity(self.manifest.inputs.len());
        let mut from = 0;
        for port in &self.manifest.inputs {
            let own = port.columns.len();
            let cells = rows.chunks_exact(width).flat_map(|row| row[from..from + own].iter().copied());
            let cells = match port.columns.iter().all(|column| column.values.is_empty()) {
                true => Cells::Numbers(cells.collect()),
                false => texts(&port.columns, cells),
            };
            inputs.push(Input { name: port.name.clone(), width: own, cells });
            from += own;
        }
        let said = predict(&self.file, &inputs, &self.manifest.output.name)?;
        let read = self.manifest.output.horizons_years.len().max(1);
        match self.manifest.output.column {
            Some(column) if column < said.width => {
                Ok(said.values.chunks_exact(said.width).map(|row| row[column]).collect())
            }
            None if said.width == read => Ok(said.values),
            _ => Err(wrong(format!(
                "output {} has {} columns; output.column says which is read, from 0",
                self.manifest.output.name, said.width
            ))),
        }
    }

    fn risk(&self, number: f64) -> Option<f64> {
        // Single precision is a little beyond 0 and 1 where it was summed.
        let share = |number: f64| (-1e-6..=1.0 + 1e-6).contains(&number).then(|| number.clamp(0.0, 1.0));
        match self.manifest.output.states {
            States::Risk => share(number),
            States::Survival => share(number).map(|without| 1.0 - without),
            States::LogOdds => Some(logistic(number)),
        }
    }
}

/// Places in the texts of each column as places in the texts of all.
fn texts(columns: &[InputColumn], cells: impl Iterator<Item = f64>) -> Cells {
    let mut starts = Vec::with_capacity(columns.len());
    let mut texts: Vec<String> = Vec::new();
    for column in columns {
        starts.push(texts.len());
        texts.extend(column.values.iter().cloned());
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "places among few texts")]
    let place = |(at, cell): (usize, f64)| match cell.is_nan() {
        true => u32::MAX,
        false => (starts[at % columns.len()] + cell as usize) as u32,
    };
    let cells = cells.enumerate().map(place).collect();
    Cells::Texts { texts: texts.into(), cells }
}
