//! Linear models of ai.onnx.ml, and what is done with scores of classes.

use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use super::kernel::{Attributes, Fact, Kernel, numbers, only, table, tensor, text_tensor};
use super::numbers::logistic;

/// What is done with the scores of a row. `PROBIT` is run nowhere here: nothing that exports it was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transform {
    None,
    Softmax,
    SoftmaxZero,
    Logistic,
}

impl Transform {
    pub(super) fn of(attributes: &Attributes<'_>) -> TractResult<Self> {
        let words = [
            ("NONE", Self::None),
            ("SOFTMAX", Self::Softmax),
            ("SOFTMAX_ZERO", Self::SoftmaxZero),
            ("LOGISTIC", Self::Logistic),
        ];
        attributes.one_of("post_transform", &words, Self::None)
    }

    /// Of one score, that of the second of two classes; taken for its share where it is one.
    pub(super) fn of_second(self, score: f64, is_share: bool) -> Vec<f64> {
        match (self, is_share) {
            (Self::Logistic, _) => vec![logistic(-score), logistic(score)],
            (_, true) => vec![1.0 - score, score],
            (_, false) => vec![-score, score],
        }
    }

    /// Of two scores or more.
    pub(super) fn apply(self, scores: &mut [f64]) {
        let highest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        match self {
            Self::None => return,
            Self::Logistic => {
                scores.iter_mut().for_each(|score| *score = logistic(*score));
                return;
            }
            Self::Softmax => scores.iter_mut().for_each(|score| *score = libm::exp(*score - highest)),
            Self::SoftmaxZero => scores.iter_mut().for_each(|score| {
                *score = if score.abs() > 1e-7 { libm::exp(*score - highest) } else { *score * libm::exp(-highest) }
            }),
        }
        let sum: f64 = scores.iter().sum();
        scores.iter_mut().for_each(|score| *score /= sum);
    }
}

/// Names of classes.
#[derive(Debug)]
pub(super) enum Classes {
    Numbers(Vec<i64>),
    Texts(Vec<String>),
}

impl Classes {
    /// From attributes whose names begin like this: `classlabels_ints` or `classlabels_int64s`, and `classlabels_strings`.
    pub(super) fn of(attributes: &Attributes<'_>) -> TractResult<Self> {
        let texts = attributes.texts("classlabels_strings")?;
        let numbers = [attributes.ints("classlabels_ints"), attributes.ints("classlabels_int64s")].concat();
        let classes = if texts.is_empty() { Self::Numbers(numbers) } else { Self::Texts(texts) };
        ensure!((1..=4096).contains(&classes.len()), "it has no classes, or more than 4096");
        Ok(classes)
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Numbers(numbers) => numbers.len(),
            Self::Texts(texts) => texts.len(),
        }
    }

    pub(super) fn kind(&self) -> DatumType {
        match self {
            Self::Numbers(_) => DatumType::I64,
            Self::Texts(_) => DatumType::String,
        }
    }

    /// The labels of rows, by the places of their classes.
    pub(super) fn labels(&self, places: &[usize]) -> TractResult<TValue> {
        Ok(match self {
            Self::Numbers(numbers) => tensor1(&places.iter().map(|at| numbers[*at]).collect::<Vec<_>>()),
            Self::Texts(texts) => {
                text_tensor(&[places.len()], &places.iter().map(|at| texts[*at].clone()).collect::<Vec<_>>())?
            }
        }
        .into_tvalue())
    }
}

/// The first of the highest scores.
pub(super) fn highest(scores: &[f64]) -> usize {
    (1..scores.len()).fold(0, |best, at| if scores[at] > scores[best] { at } else { best })
}

/// Scores: one line of coefficients for each.
#[derive(Debug)]
struct Lines {
    coefficients: Vec<f64>,
    intercepts: Vec<f64>,
}

impl Lines {
    fn of(attributes: &Attributes<'_>, lines: usize) -> TractResult<Self> {
        let (coefficients, mut intercepts) = (attributes.floats("coefficients"), attributes.floats("intercepts"));
        if intercepts.is_empty() {
            intercepts = vec![0.0; lines];
        }
        ensure!(
            intercepts.len() == lines && !coefficients.is_empty() && coefficients.len().is_multiple_of(lines),
            "coefficients and intercepts do not fit one another"
        );
        Ok(Self { coefficients, intercepts })
    }

    fn width(&self) -> usize {
        self.coefficients.len() / self.intercepts.len()
    }

    fn scores(&self, row: &[f64]) -> Vec<f64> {
        let lines = self.coefficients.chunks_exact(self.width()).zip(&self.intercepts);
        lines.map(|(line, b)| line.iter().zip(row).map(|(c, x)| c * x).sum::<f64>() + b).collect()
    }
}

/// Rows of a table of numbers with this many columns.
pub(super) fn rows_of(input: &Tensor, width: usize) -> TractResult<Vec<f64>> {
    ensure!(table(input.shape())?.1 == width, "it has another number of columns than its input");
    numbers(input)
}

#[derive(Debug)]
struct Classifier {
    lines: Lines,
    classes: Classes,
    transform: Transform,
}

impl Classifier {
    /// Whether the only score is that of the second of two classes.
    fn adds_second(&self) -> bool {
        self.lines.intercepts.len() == 1 && self.classes.len() == 2
    }
}

impl Kernel for Classifier {
    fn name(&self) -> &'static str {
        "LinearClassifier"
    }

    fn outputs(&self) -> usize {
        2
    }

    fn facts(&self, inputs: &[Fact]) -> TractResult<Vec<Fact>> {
        let (rows, columns) = table(&only(inputs)?.1)?;
        ensure!(columns == self.lines.width(), "it has another number of columns than its input");
        let scores = if self.adds_second() { 2 } else { self.lines.intercepts.len() };
        Ok(vec![(self.classes.kind(), vec![rows]), (DatumType::F32, vec![rows, scores])])
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let input = only(inputs)?;
        let facts = self.facts(&[(input.datum_type(), input.shape().to_vec())])?;
        let (mut places, mut cells) = (Vec::new(), Vec::new());
        for row in rows_of(input, self.lines.width())?.chunks_exact(self.lines.width()) {
            let mut scores = self.lines.scores(row);
            if self.adds_second() {
                places.push(usize::from(scores[0] > 0.0));
                scores = self.transform.of_second(scores[0], true);
            } else {
                places.push(highest(&scores));
                if scores.len() > 1 {
                    self.transform.apply(&mut scores);
                }
            }
            cells.extend(scores);
        }
        let scores = tensor(DatumType::F32, &facts[1].1, &cells)?;
        Ok(tvec!(self.classes.labels(&places)?, scores.into_tvalue()))
    }
}

pub(super) fn classifier(node: &NodeProto) -> TractResult<impl Kernel> {
    let attributes = Attributes(node);
    let classes = Classes::of(&attributes)?;
    let lines = match attributes.floats("intercepts").len() {
        0 => classes.len(),
        many => many,
    };
    let lines = Lines::of(&attributes, lines)?;
    let scores = lines.intercepts.len();
    ensure!(scores == classes.len() || (scores == 1 && classes.len() == 2), "it has other classes than scores");
    Ok(Classifier { lines, classes, transform: Transform::of(&attributes)? })
}

#[derive(Debug)]
struct Regressor {
    lines: Lines,
    transform: Transform,
}

impl Kernel for Regressor {
    fn name(&self) -> &'static str {
        "LinearRegressor"
    }

    fn facts(&self, inputs: &[Fact]) -> TractResult<Vec<Fact>> {
        let (rows, columns) = table(&only(inputs)?.1)?;
        ensure!(columns == self.lines.width(), "it has another number of columns than its input");
        Ok(vec![(DatumType::F32, vec![rows, self.lines.intercepts.len()])])
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let input = only(inputs)?;
        let facts = self.facts(&[(input.datum_type(), input.shape().to_vec())])?;
        let mut cells = Vec::new();
        for row in rows_of(input, self.lines.width())?.chunks_exact(self.lines.width()) {
            let mut scores = self.lines.scores(row);
            if scores.len() > 1 {
                self.transform.apply(&mut scores);
            }
            cells.extend(scores);
        }
        Ok(tvec!(tensor(DatumType::F32, &facts[0].1, &cells)?.into_tvalue()))
    }
}

pub(super) fn regressor(node: &NodeProto) -> TractResult<impl Kernel> {
    let attributes = Attributes(node);
    let targets = usize::try_from(attributes.int("targets").unwrap_or(1)).ok().filter(|targets| *targets >= 1);
    let lines = Lines::of(&attributes, targets.context("targets is none")?)?;
    Ok(Regressor { lines, transform: Transform::of(&attributes)? })
}
