//! Sums that do not depend on the order of their terms.
//!
//! A term is rounded once, to a multiple of 2^-60, and added as a 128-bit integer. Integers add associatively, so the sum over
//! all rows of all sites is the same to the last bit however rows are spread over sites, threads and rounds. That is why a
//! federated estimate equals the pooled one here, instead of nearly equalling it.

use crate::LearnError;

/// Bits after the binary point. A sum then reaches to 2^67 (1.5e20), and a term is off by at most 2^-60 (8.7e-19).
pub(crate) const FRACTION: u32 = 60;

const SCALE: f64 = (1u64 << FRACTION) as f64;
/// Multiples of the last bit in 1.
pub(crate) const GRID: f64 = SCALE;
/// A single term above this would leave no room for others.
const LARGEST_TERM: f64 = (1u64 << 62) as f64;

/// A vector of sums.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sums {
    values: Vec<i128>,
    overflow: bool,
}

impl Sums {
    /// As many sums of nothing.
    pub(crate) fn zeros(len: usize) -> Self {
        Self { values: vec![0; len], overflow: false }
    }

    pub(crate) fn from_values(values: Vec<i128>) -> Self {
        Self { values, overflow: false }
    }

    /// How many sums there are.
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    pub(crate) fn values(&self) -> &[i128] {
        &self.values
    }

    pub(crate) fn into_values(self) -> Vec<i128> {
        self.values
    }

    /// Adds a term. Remembers when it does not fit; [`Sums::checked`] then fails.
    #[inline]
    pub(crate) fn add(&mut self, at: usize, term: f64) {
        if term.abs() < LARGEST_TERM {
            #[expect(clippy::cast_possible_truncation, reason = "the term is below 2^62, scaled below 2^122")]
            let term = (term * SCALE) as i128;
            match self.values[at].checked_add(term) {
                Some(sum) => self.values[at] = sum,
                None => self.overflow = true,
            }
        } else {
            self.overflow = true;
        }
    }

    /// Adds multiples of the last bit.
    pub(crate) fn add_bits(&mut self, at: usize, bits: i128) {
        match self.values[at].checked_add(bits) {
            Some(sum) => self.values[at] = sum,
            None => self.overflow = true,
        }
    }

    /// Adds a whole number.
    #[inline]
    pub(crate) fn count(&mut self, at: usize, rows: u64) {
        match self.values[at].checked_add(i128::from(rows) << FRACTION) {
            Some(sum) => self.values[at] = sum,
            None => self.overflow = true,
        }
    }

    /// Adds the sums of another part.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.overflow |= other.overflow || self.values.len() != other.values.len();
        for (mine, theirs) in self.values.iter_mut().zip(&other.values) {
            match mine.checked_add(*theirs) {
                Some(sum) => *mine = sum,
                None => self.overflow = true,
            }
        }
    }

    /// The sums, if every term fitted.
    ///
    /// # Errors
    /// [`LearnError::Range`] when one did not.
    pub(crate) fn checked(self) -> Result<Self, LearnError> {
        if self.overflow { Err(LearnError::Range { what: "a sum over rows" }) } else { Ok(self) }
    }

    /// One sum as a number.
    #[expect(clippy::cast_precision_loss, reason = "rounding once, at the end, is what is wanted")]
    pub(crate) fn get(&self, at: usize) -> f64 {
        self.values[at] as f64 / SCALE
    }

    /// One sum as a whole number, rounded.
    pub(crate) fn whole(&self, at: usize) -> u64 {
        let half = 1i128 << (FRACTION - 1);
        u64::try_from((self.values[at] + half) >> FRACTION).unwrap_or(0)
    }

    /// Running sums from the end of equally long blocks: block i becomes the sum of the blocks i to the last.
    pub(crate) fn accumulate_from_end(&mut self, start: usize, blocks: usize, width: usize) {
        for block in (0..blocks.saturating_sub(1)).rev() {
            for item in 0..width {
                let later = self.values[start + (block + 1) * width + item];
                match self.values[start + block * width + item].checked_add(later) {
                    Some(sum) => self.values[start + block * width + item] = sum,
                    None => self.overflow = true,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Any order, any split over sites: one sum.
        #[test]
        fn sums_are_the_same_in_any_order(terms in prop::collection::vec(-1e9f64..1e9, 1..60), cut in 0usize..60) {
            let cut = cut.min(terms.len());
            let sum = |terms: &mut dyn Iterator<Item = &f64>| {
                let mut sums = Sums::zeros(1);
                terms.for_each(|term| sums.add(0, *term));
                sums
            };
            let whole = sum(&mut terms.iter());
            let mut parts = sum(&mut terms[cut..].iter().rev());
            parts.merge(&sum(&mut terms[..cut].iter()));
            prop_assert_eq!(&whole, &parts);
            let plain: f64 = terms.iter().sum();
            // The float sum is the one that rounds: each addition by half a unit in the last place of what it holds so far
            // (Higham 2002, equation 4.4).
            let size: f64 = terms.iter().map(|term| term.abs()).sum();
            let rounding = f64::EPSILON * size * f64::from(u32::try_from(terms.len()).unwrap());
            prop_assert!((whole.get(0) - plain).abs() <= rounding, "{} {plain}", whole.get(0));
        }
    }

    #[test]
    fn what_does_not_fit_is_an_error_and_never_a_wrong_sum() {
        for term in [f64::NAN, f64::INFINITY, 1e19] {
            let mut sums = Sums::zeros(1);
            sums.add(0, term);
            assert!(sums.checked().is_err());
        }
        let mut sums = Sums::zeros(1);
        (0..64).for_each(|_| sums.add(0, 4e18));
        assert!(sums.checked().is_err());
    }
}
