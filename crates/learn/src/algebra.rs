//! The little linear algebra that Newton's method needs: symmetric matrices of some dozen rows.

use crate::LearnError;

/// Entries of a symmetric matrix of order `p`, upper triangle, row after row.
pub(crate) const fn packed_len(p: usize) -> usize {
    p * (p + 1) / 2
}

/// A symmetric matrix, stored whole.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Symmetric {
    pub(crate) order: usize,
    pub(crate) entries: Vec<f64>,
}

impl Symmetric {
    pub(crate) fn zeros(order: usize) -> Self {
        Self { order, entries: vec![0.0; order * order] }
    }

    pub(crate) fn from_packed(order: usize, packed: impl Fn(usize) -> f64) -> Self {
        let mut matrix = Self::zeros(order);
        let mut at = 0;
        for row in 0..order {
            for column in row..order {
                matrix.set(row, column, packed(at));
                at += 1;
            }
        }
        matrix
    }

    pub(crate) fn get(&self, row: usize, column: usize) -> f64 {
        self.entries[row * self.order + column]
    }

    pub(crate) fn set(&mut self, row: usize, column: usize, value: f64) {
        self.entries[row * self.order + column] = value;
        self.entries[column * self.order + row] = value;
    }

    /// Cholesky factor, lower triangle.
    ///
    /// # Errors
    /// [`LearnError::Estimate`] when the matrix is not positive definite to working precision.
    pub(crate) fn cholesky(&self) -> Result<Factor, LearnError> {
        self.cholesky_above(1e-12).ok_or(LearnError::Estimate {
            reason: "the information matrix is singular: a variable is determined by others or constant",
        })
    }

    /// As [`Symmetric::cholesky`], with pivots above this part of their diagonal; none where one is not.
    pub(crate) fn cholesky_above(&self, part: f64) -> Option<Factor> {
        let p = self.order;
        let mut lower = vec![0.0; p * p];
        for row in 0..p {
            for column in 0..=row {
                let mut sum = self.get(row, column);
                for k in 0..column {
                    sum -= lower[row * p + k] * lower[column * p + k];
                }
                if row == column {
                    // A pivot this small beside its diagonal is rounding: the variable is determined by others.
                    if sum.is_nan() || sum <= self.get(row, row).abs() * part {
                        return None;
                    }
                    lower[row * p + row] = sum.sqrt();
                } else {
                    lower[row * p + column] = sum / lower[column * p + column];
                }
            }
        }
        Some(Factor { order: p, lower })
    }

    /// Eigenvalues, largest first, and unit eigenvectors (Jacobi rotations; Golub and Van Loan 2013, section 8.5). Each
    /// vector's entry of largest size is positive.
    pub(crate) fn eigen(&self) -> (Vec<f64>, Vec<Vec<f64>>) {
        let p = self.order;
        let mut a = self.clone();
        let mut vectors = vec![0.0; p * p];
        (0..p).for_each(|at| vectors[at * p + at] = 1.0);
        for _sweep in 0..60 {
            let off: f64 =
                (0..p).flat_map(|r| (r + 1..p).map(move |c| (r, c))).map(|(r, c)| a.get(r, c) * a.get(r, c)).sum();
            let scale: f64 = (0..p).map(|at| a.get(at, at) * a.get(at, at)).sum();
            if off <= scale * 1e-30 {
                break;
            }
            for r in 0..p {
                for c in r + 1..p {
                    let apq = a.get(r, c);
                    if apq == 0.0 {
                        continue;
                    }
                    let theta = (a.get(c, c) - a.get(r, r)) / (2.0 * apq);
                    let t = theta.signum() / (theta.abs() + (theta * theta + 1.0).sqrt());
                    let t = if theta == 0.0 { 1.0 } else { t };
                    let cos = 1.0 / (t * t + 1.0).sqrt();
                    let sin = t * cos;
                    for k in 0..p {
                        let (akr, akc) = (a.entries[k * p + r], a.entries[k * p + c]);
                        a.entries[k * p + r] = cos * akr - sin * akc;
                        a.entries[k * p + c] = sin * akr + cos * akc;
                    }
                    for k in 0..p {
                        let (ark, ack) = (a.entries[r * p + k], a.entries[c * p + k]);
                        a.entries[r * p + k] = cos * ark - sin * ack;
                        a.entries[c * p + k] = sin * ark + cos * ack;
                        let (vkr, vkc) = (vectors[k * p + r], vectors[k * p + c]);
                        vectors[k * p + r] = cos * vkr - sin * vkc;
                        vectors[k * p + c] = sin * vkr + cos * vkc;
                    }
                }
            }
        }
        let mut order: Vec<usize> = (0..p).collect();
        order.sort_by(|x, y| a.get(*y, *y).total_cmp(&a.get(*x, *x)));
        let values = order.iter().map(|at| a.get(*at, *at)).collect();
        let directions = order
            .iter()
            .map(|at| {
                let vector: Vec<f64> = (0..p).map(|k| vectors[k * p + at]).collect();
                let largest = vector
                    .iter()
                    .copied()
                    .fold(0.0, |best: f64, entry| if entry.abs() > best.abs() + 1e-12 { entry } else { best });
                let sign = if largest < 0.0 { -1.0 } else { 1.0 };
                vector.into_iter().map(|entry| entry * sign).collect()
            })
            .collect();
        (values, directions)
    }
}

/// A Cholesky factor.
pub(crate) struct Factor {
    order: usize,
    lower: Vec<f64>,
}

impl Factor {
    /// Solves for one right side with the lower triangle alone.
    pub(crate) fn forward(&self, right: &[f64]) -> Vec<f64> {
        let p = self.order;
        let mut x = right.to_vec();
        for row in 0..p {
            for k in 0..row {
                x[row] -= self.lower[row * p + k] * x[k];
            }
            x[row] /= self.lower[row * p + row];
        }
        x
    }

    /// Solves for one right side.
    pub(crate) fn solve(&self, right: &[f64]) -> Vec<f64> {
        let p = self.order;
        let mut x = self.forward(right);
        for row in (0..p).rev() {
            for k in row + 1..p {
                x[row] -= self.lower[k * p + row] * x[k];
            }
            x[row] /= self.lower[row * p + row];
        }
        x
    }

    /// The inverse matrix.
    pub(crate) fn inverse(&self) -> Symmetric {
        let p = self.order;
        let mut inverse = Symmetric::zeros(p);
        for column in 0..p {
            let mut unit = vec![0.0; p];
            unit[column] = 1.0;
            for (row, value) in self.solve(&unit).into_iter().enumerate().skip(column) {
                inverse.set(row, column, value);
            }
        }
        inverse
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_is_solved_and_a_singular_one_refused() {
        let matrix = Symmetric { order: 2, entries: vec![4.0, 2.0, 2.0, 3.0] };
        let x = matrix.cholesky().unwrap().solve(&[2.0, 5.0]);
        assert!((x[0] + 0.5).abs() < 1e-14 && (x[1] - 2.0).abs() < 1e-14);
        let singular = Symmetric { order: 2, entries: vec![1.0, 2.0, 2.0, 4.0] };
        assert!(singular.cholesky().is_err());
    }

    #[test]
    fn eigenvectors_diagonalise() {
        let matrix = Symmetric { order: 3, entries: vec![2.0, 1.0, 0.5, 1.0, 3.0, 0.2, 0.5, 0.2, 1.0] };
        let (values, vectors) = matrix.eigen();
        assert!(values[0] >= values[1] && values[1] >= values[2]);
        for (value, vector) in values.iter().zip(&vectors) {
            for row in 0..3 {
                let product: f64 = (0..3).map(|k| matrix.get(row, k) * vector[k]).sum();
                assert!((product - value * vector[row]).abs() < 1e-12);
            }
        }
    }
}
