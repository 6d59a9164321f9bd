//! Support vector machines for two classes, with probabilities (Platt 2000) where the file has them.

use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use super::kernel::{Attributes, Fact, Kernel, only, table, tensor};
use super::linear::{Classes, rows_of};
use super::numbers::logistic;

#[derive(Debug, Clone, Copy)]
enum Likeness {
    Linear,
    Poly,
    Rbf,
    Sigmoid,
}

#[derive(Debug)]
struct Classifier {
    likeness: Likeness,
    /// gamma, coef0, degree.
    parameters: [f64; 3],
    vectors: Vec<f64>,
    width: usize,
    coefficients: Vec<f64>,
    rho: f64,
    /// Slope and intercept of the log odds of the first class.
    platt: Option<(f64, f64)>,
    classes: Classes,
}

impl Classifier {
    fn likeness(&self, vector: &[f64], row: &[f64]) -> f64 {
        let [gamma, coef0, degree] = self.parameters;
        let product: f64 = vector.iter().zip(row).map(|(a, b)| a * b).sum();
        match self.likeness {
            Likeness::Linear => product,
            Likeness::Poly => libm::pow(gamma * product + coef0, degree),
            Likeness::Rbf => libm::exp(-gamma * vector.iter().zip(row).map(|(a, b)| (a - b) * (a - b)).sum::<f64>()),
            Likeness::Sigmoid => libm::tanh(gamma * product + coef0),
        }
    }
}

/// Probabilities of two classes from the probability of the first against the second: coupling of pairs as libsvm does it (Wu, Lin and
/// Weng 2004, algorithm 2), whose steps end before they are exact.
fn coupled(first: f64) -> [f64; 2] {
    let second = 1.0 - first;
    let q = [[second * second, -second * first], [-second * first, first * first]];
    let mut p = [0.5, 0.5];
    for _ in 0..100 {
        let mut qp = [q[0][0] * p[0] + q[0][1] * p[1], q[1][0] * p[0] + q[1][1] * p[1]];
        let mut pqp = p[0] * qp[0] + p[1] * qp[1];
        if qp.iter().all(|one| (one - pqp).abs() < 0.005 / 2.0) {
            break;
        }
        for class in 0..2 {
            let step = (pqp - qp[class]) / q[class][class];
            p[class] += step;
            pqp = (pqp + step * (step * q[class][class] + 2.0 * qp[class])) / (1.0 + step) / (1.0 + step);
            for other in 0..2 {
                qp[other] = (qp[other] + step * q[class][other]) / (1.0 + step);
                p[other] /= 1.0 + step;
            }
        }
    }
    p
}

impl Kernel for Classifier {
    fn name(&self) -> &'static str {
        "SVMClassifier"
    }

    fn outputs(&self) -> usize {
        2
    }

    fn facts(&self, inputs: &[Fact]) -> TractResult<Vec<Fact>> {
        let (rows, columns) = table(&only(inputs)?.1)?;
        ensure!(columns == self.width, "it has another number of columns than its input");
        Ok(vec![(self.classes.kind(), vec![rows]), (DatumType::F32, vec![rows, 2])])
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let input = only(inputs)?;
        let (mut places, mut cells) = (Vec::new(), Vec::new());
        for row in rows_of(input, self.width)?.chunks_exact(self.width) {
            let like = self.vectors.chunks_exact(self.width).zip(&self.coefficients);
            let score = like.map(|(vector, c)| c * self.likeness(vector, row)).sum::<f64>() + self.rho;
            places.push(usize::from(score <= 0.0));
            cells.extend(match self.platt {
                Some((a, b)) => coupled((1.0 - logistic(score * a + b)).clamp(1e-7, 1.0 - 1e-7)),
                None => [-score, score],
            });
        }
        let scores = tensor(DatumType::F32, &[places.len(), 2], &cells)?;
        Ok(tvec!(self.classes.labels(&places)?, scores.into_tvalue()))
    }
}

pub(super) fn classifier(node: &NodeProto) -> TractResult<impl Kernel> {
    let attributes = Attributes(node);
    let classes = Classes::of(&attributes)?;
    let counts = attributes.ints("vectors_per_class").iter().map(|count| usize::try_from(*count).ok());
    let counts = counts.collect::<Option<Vec<usize>>>().context("a class has no number of vectors")?;
    ensure!(classes.len() == 2 && counts.len() == 2, "SVMClassifier is run for two classes with support vectors");
    let many = counts[0].checked_add(counts[1]).filter(|many| *many > 0).context("it has no support vectors")?;
    let (vectors, coefficients) = (attributes.floats("support_vectors"), attributes.floats("coefficients"));
    ensure!(
        coefficients.len() == many && !vectors.is_empty() && vectors.len().is_multiple_of(many),
        "support vectors and coefficients do not fit one another"
    );
    let (a, b) = (attributes.floats("prob_a"), attributes.floats("prob_b"));
    ensure!(a.len() == b.len() && a.len() <= 1, "prob_a and prob_b are not for two classes");
    ensure!(matches!(attributes.text("post_transform")?, None | Some("NONE")), "post_transform is none that is run");
    let parameters = attributes.floats("kernel_params");
    let parameter = |at: usize| parameters.get(at).copied().unwrap_or(0.0);
    let kinds = [
        ("LINEAR", Likeness::Linear),
        ("POLY", Likeness::Poly),
        ("RBF", Likeness::Rbf),
        ("SIGMOID", Likeness::Sigmoid),
    ];
    Ok(Classifier {
        likeness: attributes.one_of("kernel_type", &kinds, Likeness::Linear)?,
        parameters: [parameter(0), parameter(1), parameter(2)],
        width: vectors.len() / many,
        vectors,
        coefficients,
        rho: *attributes.floats("rho").first().context("it has no rho")?,
        platt: a.first().copied().zip(b.first().copied()),
        classes,
    })
}
