//! Principal components, and the sums of products they and least squares share.

use serde::{Deserialize, Serialize};

use crate::LearnError;
use crate::algebra::{Symmetric, packed_len};
use crate::plan::Plan;
use crate::sums::Sums;
use crate::table::{Data, Observed};
use crate::tasks::scale::{Scale, prepared};
use crate::tasks::{Kept, Next, Outcome, Question};

/// Principal components.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PcaResult {
    /// Rows.
    pub rows: u64,
    /// Variables, with the mean and unit that were taken out.
    pub variables: Vec<(String, f64, f64)>,
    /// Variance along each component, largest first.
    pub variances: Vec<f64>,
    /// Share of the whole variance.
    pub shares: Vec<f64>,
    /// Direction of each component. Its entry of largest size is positive.
    pub loadings: Vec<Vec<f64>>,
}

/// Rows, sums and products of scaled variables; the outcome comes last where there is a scale for it.
pub(crate) fn products(data: &Data, scales: &[Scale], sums: &mut Sums) {
    let q = scales.len();
    let mut z = vec![0.0; q];
    sums.count(0, data.rows as u64);
    for row in 0..data.rows {
        for (z, (x, scale)) in z.iter_mut().zip(data.row(row).iter().zip(scales)) {
            *z = scale.of(*x);
        }
        if let (true, Observed::Number(values)) = (q > data.width, &data.observed) {
            z[q - 1] = scales[q - 1].of(values[row]);
        }
        let mut at = 1 + q;
        for i in 0..q {
            sums.add(1 + i, z[i]);
            for other in &z[i..] {
                sums.add(at, z[i] * other);
                at += 1;
            }
        }
    }
}

/// Covariance of the scaled variables.
#[expect(clippy::cast_precision_loss, reason = "counts of rows are far below 2^53")]
pub(crate) fn covariance(sums: &Sums, q: usize) -> Symmetric {
    let n = sums.whole(0) as f64;
    let mut at = 1 + q;
    let mut matrix = Symmetric::zeros(q);
    for i in 0..q {
        for j in i..q {
            matrix.set(i, j, (sums.get(at) - sums.get(1 + i) * sums.get(1 + j) / n) / (n - 1.0));
            at += 1;
        }
    }
    debug_assert_eq!(at, 1 + q + packed_len(q));
    matrix
}

pub(crate) fn step(
    plan: &Plan,
    question: &Question,
    kept: Kept,
    sums: &Sums,
    components: usize,
    correlation: bool,
) -> Result<Next, LearnError> {
    let Question::Products { scales } = question else {
        let prepared = prepared(plan, sums)?;
        let kept = Kept { rows: prepared.rows, ..kept };
        return Ok(Next::ask(Question::Products { scales: prepared.scales }, kept));
    };
    let q = scales.len();
    let mut matrix = covariance(sums, q);
    if !correlation {
        for i in 0..q {
            for j in i..q {
                matrix.set(i, j, matrix.get(i, j) * scales[i].sd * scales[j].sd);
            }
        }
    }
    let (values, vectors) = matrix.eigen();
    let whole: f64 = values.iter().sum();
    let unit = |scale: &Scale| if correlation { scale.sd } else { 1.0 };
    Ok(Next::Done(Box::new(Outcome::Pca(PcaResult {
        rows: sums.whole(0),
        variables: plan
            .variables
            .iter()
            .zip(scales)
            .map(|(variable, scale)| (variable.name.clone(), scale.mean, unit(scale)))
            .collect(),
        variances: values[..components].to_vec(),
        shares: values[..components].iter().map(|value| value / whole).collect(),
        loadings: vectors.into_iter().take(components).collect(),
    }))))
}
