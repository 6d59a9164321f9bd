//! Sums that do not depend on the order of their terms.
//!
//! A term is rounded once, to a multiple of 2^-60, and added as a 128-bit integer. Integers add associatively, so the sum over
//! all rows of all sites is the same to the last bit however rows are spread over sites, threads and rounds. That is why a
//! federated estimate equals the pooled one here, instead of nearly equalling it.

use serde::{Deserialize, Serialize};

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
    pub(crate) fn merge(&mut self, other: &PackedSums) {
        self.overflow |= self.values.len() != other.len();
        let mut mine = self.values.iter_mut();
        let mut overflow = false;
        other.packing.each(&other.bytes, other.numbers, |theirs| {
            if let Some(mine) = mine.next() {
                match mine.checked_add(theirs) {
                    Some(sum) => *mine = sum,
                    None => overflow = true,
                }
            }
        });
        self.overflow |= overflow;
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

/// Numbers of more bits are written in whole bytes.
const PACKED_BITS_MAX: u32 = 96;

/// How sums are written in few bytes without losing a bit: zeros at the end that all have are left out, and each gets as many bits as
/// the largest needs. On the wire: little-endian, from the lowest bit of the first byte on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Packing(u32, u32);

impl Packing {
    /// What fits these sums.
    pub(crate) fn of(values: &[i128]) -> Self {
        let all = values.iter().fold(0, |all, value| all | value);
        let shift = if all == 0 { 0 } else { all.trailing_zeros() };
        let magnitudes = values.iter().fold(0, |all, value| all | (value >> shift ^ value >> 127).unsigned_abs());
        let bits = 129 - magnitudes.leading_zeros();
        Self(shift, if bits > PACKED_BITS_MAX { bits.next_multiple_of(8).min(128) } else { bits })
    }

    fn bytes(self, numbers: usize) -> Option<usize> {
        Some(numbers.checked_mul(self.1 as usize)?.div_ceil(8))
    }

    pub(crate) fn write(self, values: &[i128], bytes: &mut Vec<u8>) {
        let Self(shift, bits) = self;
        bytes.reserve_exact(self.bytes(values.len()).unwrap_or(0));
        if bits.is_multiple_of(8) {
            let width = (bits / 8) as usize;
            values.iter().for_each(|value| bytes.extend_from_slice(&(value >> shift).to_le_bytes()[..width]));
            return;
        }
        let low = (1u128 << bits) - 1;
        let (mut held, mut many) = (0u128, 0);
        for value in values {
            #[expect(clippy::cast_sign_loss, reason = "the lower bits of two's complement")]
            let number = (value >> shift) as u128 & low;
            held |= number << many;
            many += bits;
            while many >= 32 {
                bytes.extend_from_slice(&held.to_le_bytes()[..4]);
                held >>= 32;
                many -= 32;
            }
        }
        bytes.extend_from_slice(&held.to_le_bytes()[..many.div_ceil(8) as usize]);
    }

    /// Whether so many sums are so many bytes, of a form that is written here.
    fn fits(self, bytes: &[u8], numbers: usize) -> bool {
        let Self(shift, bits) = self;
        let is_one = shift < 128 && (1..=128).contains(&bits) && (bits <= PACKED_BITS_MAX || bits.is_multiple_of(8));
        if !is_one || self.bytes(numbers) != Some(bytes.len()) {
            return false;
        }
        // Bits behind the last number are none.
        let spare = 8 * bytes.len() - numbers * bits as usize;
        bytes.last().is_none_or(|last| u32::from(*last) >> (8 - spare) == 0)
    }

    /// Unpacks what [`Packing::fits`].
    fn each(self, bytes: &[u8], numbers: usize, mut take: impl FnMut(i128)) {
        let Self(shift, bits) = self;
        // The sign of a number that is shorter than 128 bits.
        let spare = 128 - bits;
        #[expect(clippy::cast_possible_wrap, reason = "two's complement")]
        let signed = |number: u128| (((number << spare) as i128) >> spare) << shift;
        if bits.is_multiple_of(8) {
            for chunk in bytes.chunks_exact((bits / 8) as usize) {
                let mut number = [0; 16];
                number[..chunk.len()].copy_from_slice(chunk);
                take(signed(u128::from_le_bytes(number)));
            }
            return;
        }
        let mut pieces = bytes.chunks(4);
        let (mut held, mut many) = (0u128, 0);
        for _ in 0..numbers {
            while many < bits {
                let mut piece = [0; 4];
                let next = pieces.next().unwrap_or_default();
                piece[..next.len()].copy_from_slice(next);
                held |= u128::from(u32::from_le_bytes(piece)) << many;
                many += 32;
            }
            take(signed(held));
            held >>= bits;
            many -= bits;
        }
    }
}

/// Sums in few bytes, in memory as on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackedSums {
    packing: Packing,
    numbers: usize,
    bytes: Vec<u8>,
}

impl PackedSums {
    /// Packs sums, in multiples of 2^-60.
    pub fn of(values: &[i128]) -> Self {
        let (packing, mut bytes) = (Packing::of(values), Vec::new());
        packing.write(values, &mut bytes);
        Self { packing, numbers: values.len(), bytes }
    }

    /// Reads so many sums; `None` where there are more or fewer, or the packing is none.
    pub(crate) fn read(packing: Packing, bytes: &[u8], numbers: usize) -> Option<Self> {
        packing.fits(bytes, numbers).then(|| Self { packing, numbers, bytes: bytes.to_vec() })
    }

    pub(crate) fn packing(&self) -> Packing {
        self.packing
    }

    /// As they are on the wire.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The same, given away.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.numbers
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.numbers == 0
    }

    /// The sums, in multiples of 2^-60.
    pub fn values(&self) -> Vec<i128> {
        let mut values = Vec::with_capacity(self.numbers);
        self.packing.each(&self.bytes, self.numbers, |value| values.push(value));
        values
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
            parts.merge(&PackedSums::of(sum(&mut terms[..cut].iter()).values()));
            prop_assert_eq!(&whole, &parts);
            let plain: f64 = terms.iter().sum();
            // The float sum is the one that rounds: each addition by half a unit in the last place of what it holds so far
            // (Higham 2002, equation 4.4).
            let size: f64 = terms.iter().map(|term| term.abs()).sum();
            let rounding = f64::EPSILON * size * f64::from(u32::try_from(terms.len()).unwrap());
            prop_assert!((whole.get(0) - plain).abs() <= rounding, "{} {plain}", whole.get(0));
        }
    }

    proptest! {
        /// No bit is lost, whatever the sums; and no other length is read.
        #[test]
        fn packed_sums_come_back(
            values in prop::collection::vec(any::<i128>(), 0..20), narrower in 0u32..128, zeros in 0u32..128,
        ) {
            let values: Vec<i128> = values.into_iter().map(|value| (value >> narrower) << zeros.min(narrower)).collect();
            let packed = PackedSums::of(&values);
            let (packing, bytes) = (packed.packing(), packed.bytes());
            prop_assert_eq!(PackedSums::read(packing, bytes, values.len()).map(|read| read.values()), Some(values.clone()));
            prop_assert_eq!(PackedSums::read(packing, &[bytes, &[0]].concat(), values.len()), None);
            let widest = values.iter().map(|value| value.unsigned_abs()).max().unwrap_or(0);
            prop_assert!(bytes.len() <= (values.len() * (130 - widest.leading_zeros()) as usize).div_ceil(8) + values.len());
        }

        /// Outside bytes are read or refused.
        #[test]
        fn no_packing_makes_reading_panic(
            shift in any::<u32>(), bits in any::<u32>(), bytes in prop::collection::vec(any::<u8>(), 0..64), numbers in 0usize..600,
        ) {
            for packing in [Packing(shift, bits), Packing(shift % 130, bits % 130)] {
                if let Some(packed) = PackedSums::read(packing, &bytes, numbers) {
                    prop_assert_eq!(packed.values().len(), numbers);
                }
            }
        }
    }

    #[test]
    fn a_few_packed_sums_are_these_bytes() {
        let sums = [0, 3, -4, 1].map(|value: i128| value << 60);
        let packed = PackedSums::of(&sums);
        assert_eq!((packed.packing(), packed.bytes()), (Packing(60, 3), [0b0001_1000, 0b0000_0011].as_slice()));
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
