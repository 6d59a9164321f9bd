//! What a reader works out by adding up and subtracting numbers that are shown: linear algebra, exactly, over the integers modulo the
//! prime 2^61 - 1.
//!
//! What is determined over the rationals is determined modulo a prime. The converse fails only where the prime divides a minor of the
//! matrix; its entries are 0, 1 and -1 here, and nobody chooses them for that.

use std::collections::BTreeSet;
use std::ops::{Add, Mul, Neg, Sub};

const PRIME: u64 = (1 << 61) - 1;

/// An integer modulo 2^61 - 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Residue(u64);

impl Residue {
    /// 0.
    pub const ZERO: Self = Self(0);
    /// 1.
    pub const ONE: Self = Self(1);

    /// By Fermat's little theorem.
    fn inverse(self) -> Self {
        let (mut power, mut exponent, mut result) = (self, PRIME - 2, Self::ONE);
        while exponent > 0 {
            if exponent & 1 == 1 {
                result = result * power;
            }
            power = power * power;
            exponent >>= 1;
        }
        result
    }
}

impl Add for Residue {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self((self.0 + other.0) % PRIME)
    }
}

impl Sub for Residue {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        self + -other
    }
}

impl Neg for Residue {
    type Output = Self;
    fn neg(self) -> Self {
        Self((PRIME - self.0) % PRIME)
    }
}

impl Mul for Residue {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        #[expect(clippy::cast_possible_truncation, reason = "below the prime")]
        let product = (u128::from(self.0) * u128::from(other.0) % u128::from(PRIME)) as u64;
        Self(product)
    }
}

/// Rows (equations, or sums) in reduced echelon form.
#[derive(Debug, Clone)]
pub struct Echelon {
    width: usize,
    /// Column of its leading 1, and the row.
    rows: Vec<(usize, Vec<Residue>)>,
}

impl Echelon {
    /// Of no rows yet, which have `width` columns.
    pub fn new(width: usize) -> Self {
        Self { width, rows: Vec::new() }
    }

    /// Whether every row of this width follows from those that are there.
    pub fn is_full(&self) -> bool {
        self.rows.len() == self.width
    }

    /// The reduced rows, in the order in which they were taken in.
    pub fn rows(&self) -> impl Iterator<Item = &[Residue]> {
        self.rows.iter().map(|(_, row)| row.as_slice())
    }

    /// Takes in a row, unless it follows from those that are there.
    ///
    /// # Panics
    /// When it is not of the width.
    pub fn take(&mut self, mut row: Vec<Residue>) {
        assert_eq!(row.len(), self.width, "a row of another width");
        for (lead, other) in &self.rows {
            reduce(&mut row, *lead, other);
        }
        let Some(lead) = row.iter().position(|entry| *entry != Residue::ZERO) else { return };
        let scale = row[lead].inverse();
        row.iter_mut().for_each(|entry| *entry = *entry * scale);
        for (_, other) in &mut self.rows {
            reduce(other, lead, &row);
        }
        self.rows.push((lead, row));
    }

    /// Combinations of columns that every row makes zero: a basis of the null space.
    pub fn null(&self) -> Vec<Vec<Residue>> {
        let leads: BTreeSet<usize> = self.rows.iter().map(|(lead, _)| *lead).collect();
        let free = (0..self.width).filter(|column| !leads.contains(column));
        free.map(|column| {
            let mut combination = vec![Residue::ZERO; self.width];
            combination[column] = Residue::ONE;
            for (lead, row) in &self.rows {
                combination[*lead] = -row[column];
            }
            combination
        })
        .collect()
    }

    /// Columns whose value the equations determine: those that stand alone in a row.
    pub fn determined(&self) -> impl Iterator<Item = usize> {
        self.rows.iter().filter_map(|(lead, row)| {
            let filled = row.iter().filter(|entry| **entry != Residue::ZERO).count();
            (filled == 1).then_some(*lead)
        })
    }
}

/// Subtracts the multiple of `by`, whose leading 1 is at `lead`, that leaves nothing there.
fn reduce(row: &mut [Residue], lead: usize, by: &[Residue]) {
    let factor = row[lead];
    if factor != Residue::ZERO {
        row.iter_mut().zip(by).filter(|(_, by)| **by != Residue::ZERO).for_each(|(own, by)| *own = *own - factor * *by);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn residues(row: &[i8]) -> Vec<Residue> {
        let residue = |entry: &i8| match entry {
            0 => Residue::ZERO,
            1 => Residue::ONE,
            _ => -Residue::ONE,
        };
        row.iter().map(residue).collect()
    }

    #[test]
    fn what_follows_from_sums_is_determined() {
        let mut known = Echelon::new(4);
        known.take(residues(&[1, 1, 1, 0]));
        known.take(residues(&[1, 1, 0, 0]));
        assert_eq!(known.determined().collect::<Vec<_>>(), [2]);
        known.take(residues(&[1, -1, 0, 0]));
        assert_eq!(known.determined().collect::<BTreeSet<_>>(), BTreeSet::from([0, 1, 2]));
        assert!(!known.is_full());
    }

    proptest! {
        /// Rows and null space are each other's: together they span everything, and each row makes each combination zero.
        #[test]
        fn rows_and_null_space_make_up_the_whole(rows in prop::collection::vec(prop::collection::vec(-1i8..2, 5), 0..8)) {
            let mut echelon = Echelon::new(5);
            rows.iter().for_each(|row| echelon.take(residues(row)));
            let null = echelon.null();
            prop_assert_eq!(echelon.rows().count() + null.len(), 5);
            for row in rows.iter().map(|row| residues(row)) {
                for combination in &null {
                    let product = row.iter().zip(combination).fold(Residue::ZERO, |sum, (a, b)| sum + *a * *b);
                    prop_assert_eq!(product, Residue::ZERO);
                }
            }
            // A row alone in its column is one that no combination of the null space touches.
            for column in echelon.determined() {
                prop_assert!(null.iter().all(|combination| combination[column] == Residue::ZERO));
            }
            for column in 0..5 {
                let untouched = null.iter().all(|combination| combination[column] == Residue::ZERO);
                prop_assert_eq!(untouched, echelon.determined().any(|one| one == column));
            }
        }
    }
}
