//! Secure summation by two aggregators: additive shares, nothing but the sum over all sites is ever seen.
//!
//! A site draws a 32-byte seed, sends it to one aggregator, and to the other its vector less a stream that is expanded from
//! the seed. Each share alone is uniformly random. Each aggregator adds up what it got; the two totals added give the sum.
//! The stream is BLAKE3 keyed with the seed, over the digest of plan, roster, round and question: whoever is told another
//! question than the others subtracts another stream, and the total is noise instead of somebody's data (Pasquini et al. 2022
//! show what happens otherwise).

use acequia_types::Digest;
use zeroize::Zeroize;

use crate::LearnError;
use crate::plan::{Plan, Protection};
use crate::sums::{FRACTION, Sums};
use crate::tasks::Question;

/// Numbers modulo 2^bits with so many bits after the binary point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ring {
    pub(crate) bits: u32,
    pub(crate) fraction: u32,
}

impl Ring {
    /// Sums of variables as they come have no bound that is known beforehand; they are few, and get 128 bits. All others are
    /// of scaled variables and get 64.
    pub(crate) fn of(plan: &Plan, question: &Question) -> Self {
        match question {
            // Elements of a field of 128 bits, not of this ring, take as many bytes.
            _ if plan.aggregation.protection == Protection::Proven => Self { bits: 128, fraction: FRACTION },
            Question::Prepare | Question::Spread { .. } => Self { bits: 128, fraction: FRACTION },
            _ => Self { bits: 64, fraction: plan.aggregation.fraction_bits },
        }
    }

    /// Rounds to the ring's fraction. What could overflow once all sites are added is refused, never clipped: a clipped sum
    /// would be a wrong result that nobody notices.
    fn encode(self, value: i128, sites: usize) -> Result<i128, LearnError> {
        let drop = FRACTION - self.fraction;
        let rounded = if drop == 0 { value } else { (value + (1 << (drop - 1))) >> drop };
        let headroom = usize::BITS - sites.leading_zeros();
        if rounded.unsigned_abs() >> (self.bits - 1 - headroom) != 0 {
            return Err(LearnError::Range { what: "a masked sum" });
        }
        Ok(rounded)
    }

    /// Bytes of a number.
    fn width(self) -> usize {
        (self.bits / 8) as usize
    }
}

/// Numbers of a ring, in memory as they are on the wire: little-endian, 8 or 16 bytes each. So masks of long vectors are put on in place.
#[derive(Debug, Clone)]
pub struct Residues {
    bytes: Vec<u8>,
    /// Bytes in front of the first number: what was received is kept with its head, since to move it takes as long as to add it up.
    skip: usize,
    width: usize,
}

impl PartialEq for Residues {
    fn eq(&self, other: &Self) -> bool {
        self.width == other.width && self.bytes() == other.bytes()
    }
}

impl Eq for Residues {}

impl Residues {
    /// Zeros.
    pub(crate) fn zeros(ring: Ring, len: usize) -> Self {
        Self { bytes: vec![0; len * ring.width()], skip: 0, width: ring.width() }
    }

    /// Sums, rounded to the ring, with room for those of so many sites.
    pub(crate) fn encode(ring: Ring, sums: &[i128], sites: usize) -> Result<Self, LearnError> {
        let mut residues = Self { bytes: Vec::with_capacity(sums.len() * ring.width()), skip: 0, width: ring.width() };
        for value in sums {
            // The lower bytes of two's complement are the ring.
            residues.bytes.extend_from_slice(&ring.encode(*value, sites)?.to_le_bytes()[..ring.width()]);
        }
        Ok(residues)
    }

    /// Reads so many numbers; `None` where there are more or fewer.
    pub(crate) fn read(ring: Ring, bytes: &[u8], expected: usize) -> Option<Self> {
        Self::of_own(ring, bytes.to_vec(), 0, expected)
    }

    /// As [`Residues::read`], of the bytes from `skip` on, which are kept.
    pub(crate) fn of_own(ring: Ring, bytes: Vec<u8>, skip: usize, expected: usize) -> Option<Self> {
        (expected.checked_mul(ring.width())? == bytes.len().checked_sub(skip)?).then(|| Self {
            bytes,
            skip,
            width: ring.width(),
        })
    }

    /// Numbers of 128 bits.
    pub fn wide(numbers: &[u128]) -> Self {
        Self { bytes: numbers.iter().flat_map(|number| number.to_le_bytes()).collect(), skip: 0, width: 16 }
    }

    /// The numbers.
    pub fn numbers(&self) -> impl Iterator<Item = u128> {
        self.bytes().chunks_exact(self.width).map(|chunk| {
            let mut number = [0; 16];
            number[..chunk.len()].copy_from_slice(chunk);
            u128::from_le_bytes(number)
        })
    }

    /// As they are on the wire.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[self.skip..]
    }

    /// The same, given away.
    pub(crate) fn into_bytes(mut self) -> Vec<u8> {
        self.bytes.drain(..self.skip);
        self.bytes
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.bytes().len() / self.width
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.bytes().is_empty()
    }

    /// Adds others, number by number.
    pub(crate) fn add(&mut self, others: &Self) {
        self.add_bytes(others.bytes());
    }

    /// Adds as many others as they are on the wire; whether they are as many.
    pub(crate) fn add_bytes(&mut self, others: &[u8]) -> bool {
        let as_many = self.bytes().len() == others.len();
        if as_many {
            put(self.width, &mut self.bytes[self.skip..], others, Way::Add);
        }
        as_many
    }

    /// Adds what a seed is expanded to.
    pub(crate) fn add_stream(&mut self, seed: &[u8; 32], context: &Digest) {
        self.put_stream(seed, context, Way::Add);
    }

    /// Subtracts it.
    pub(crate) fn subtract_stream(&mut self, seed: &[u8; 32], context: &Digest) {
        self.put_stream(seed, context, Way::Subtract);
    }

    fn put_stream(&mut self, seed: &[u8; 32], context: &Digest, way: Way) {
        let mut stream = blake3::Hasher::new_keyed(seed).update(context.as_bytes()).finalize_xof();
        let mut block = [0u8; 4096];
        for bytes in self.bytes[self.skip..].chunks_mut(block.len()) {
            stream.fill(&mut block);
            put(self.width, bytes, &block, way);
        }
        block.zeroize();
    }

    /// Back to signed sums with the fraction of plain ones.
    pub(crate) fn decode(&self, ring: Ring) -> Sums {
        let raise = FRACTION - ring.fraction;
        let values = match self.width {
            8 => self
                .bytes()
                .as_chunks()
                .0
                .iter()
                .map(|number| i128::from(i64::from_le_bytes(*number)) << raise)
                .collect(),
            _ => self.bytes().as_chunks().0.iter().map(|number| i128::from_le_bytes(*number) << raise).collect(),
        };
        Sums::from_values(values)
    }
}

#[derive(Clone, Copy)]
enum Way {
    Add,
    Subtract,
}

/// Adds or subtracts numbers of 8 or 16 bytes, as far as there are of both.
fn put(width: usize, to: &mut [u8], by: &[u8], way: Way) {
    match width {
        8 => {
            for (to, by) in to.as_chunks_mut().0.iter_mut().zip(by.as_chunks().0) {
                let (one, other) = (u64::from_le_bytes(*to), u64::from_le_bytes(*by));
                *to = match way {
                    Way::Add => one.wrapping_add(other),
                    Way::Subtract => one.wrapping_sub(other),
                }
                .to_le_bytes();
            }
        }
        _ => {
            for (to, by) in to.as_chunks_mut().0.iter_mut().zip(by.as_chunks().0) {
                let (one, other) = (u128::from_le_bytes(*to), u128::from_le_bytes(*by));
                *to = match way {
                    Way::Add => one.wrapping_add(other),
                    Way::Subtract => one.wrapping_sub(other),
                }
                .to_le_bytes();
            }
        }
    }
}

/// A site's vector in two shares.
pub(crate) struct Shares {
    pub(crate) seed: [u8; 32],
    pub(crate) masked: Residues,
}

/// Splits sums into two shares.
pub(crate) fn share(
    ring: Ring,
    sums: Sums,
    context: &Digest,
    sites: usize,
    seed: [u8; 32],
) -> Result<Shares, LearnError> {
    let mut masked = Residues::encode(ring, sums.values(), sites)?;
    drop(sums);
    masked.subtract_stream(&seed, context);
    Ok(Shares { seed, masked })
}

/// Adds up two totals.
pub(crate) fn combine(ring: Ring, one: &Residues, other: &Residues) -> Sums {
    let raise = FRACTION - ring.fraction;
    let values = match ring.width() {
        8 => {
            let pairs = one.bytes().as_chunks().0.iter().zip(other.bytes().as_chunks().0);
            let sum = |(one, other): (&_, &_)| i64::from_le_bytes(*one).wrapping_add(i64::from_le_bytes(*other));
            pairs.map(|pair| i128::from(sum(pair)) << raise).collect()
        }
        _ => {
            let pairs = one.bytes().as_chunks().0.iter().zip(other.bytes().as_chunks().0);
            let sum = |(one, other): (&_, &_)| i128::from_le_bytes(*one).wrapping_add(i128::from_le_bytes(*other));
            pairs.map(|pair| sum(pair) << raise).collect()
        }
    };
    Sums::from_values(values)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn context(of: &str) -> Digest {
        Digest::of(of.as_bytes())
    }

    fn total(ring: Ring, sites: &[Vec<f64>], contexts: &[Digest]) -> Sums {
        let len = sites[0].len();
        let (mut one, mut other) = (Residues::zeros(ring, len), Residues::zeros(ring, len));
        for (at, site) in sites.iter().enumerate() {
            let mut sums = Sums::zeros(len);
            site.iter().enumerate().for_each(|(at, x)| sums.add(at, *x));
            let shares = share(ring, sums, &contexts[at], sites.len(), [u8::try_from(at).unwrap() + 1; 32]).unwrap();
            one.add(&shares.masked);
            other.add_stream(&shares.seed, &contexts[0]);
        }
        combine(ring, &one, &other)
    }

    proptest! {
        /// Sum of shares is the sum of what was shared, negative numbers included.
        #[test]
        fn the_two_totals_give_the_sum(sites in prop::collection::vec(prop::collection::vec(-1e6f64..1e6, 5), 1..6)) {
            for ring in [Ring { bits: 64, fraction: 32 }, Ring { bits: 128, fraction: FRACTION }] {
                let sum = total(ring, &sites, &vec![context("round"); sites.len()]);
                let mut plain = Sums::zeros(5);
                for site in &sites {
                    site.iter().enumerate().for_each(|(at, x)| plain.add(at, *x));
                }
                // Each site rounds once, by half of the ring's last bit at most. Compared as integers: floats would round again.
                let rounding = (sites.len() as i128) << (FRACTION - ring.fraction) >> 1;
                for (masked, plain) in sum.values().iter().zip(plain.values()) {
                    prop_assert!((masked - plain).abs() <= rounding, "{masked} {plain}");
                }
            }
        }
    }

    #[test]
    fn what_is_kept_with_its_head_is_the_same_numbers() {
        let ring = Ring { bits: 64, fraction: 32 };
        let mut plain = Residues::encode(ring, &[1 << 60, -(3 << 60)], 2).unwrap();
        let bytes = [b"head", plain.bytes()].concat();
        assert!(
            Residues::of_own(ring, bytes.clone(), 3, 2).is_none()
                && Residues::of_own(ring, bytes.clone(), 99, 2).is_none()
        );
        let mut kept = Residues::of_own(ring, bytes, 4, 2).unwrap();
        assert_eq!((&kept, kept.len()), (&plain, 2));
        for one in [&mut plain, &mut kept] {
            one.add_stream(&[7; 32], &context("round"));
            one.add(&one.clone());
        }
        assert!(kept == plain && kept.numbers().eq(plain.numbers()));
        assert_eq!(combine(ring, &kept, &plain).values(), combine(ring, &plain, &plain).values());
        assert_eq!(kept.into_bytes(), plain.bytes());
    }

    #[test]
    fn who_was_asked_something_else_turns_the_sum_into_noise() {
        let ring = Ring { bits: 64, fraction: 32 };
        let sites = vec![vec![1.0, 2.0], vec![3.0, 4.0]];
        let sum = total(ring, &sites, &[context("one"), context("another")]);
        assert!((sum.get(0) - 4.0).abs() > 1e3 && (sum.get(1) - 6.0).abs() > 1e3, "not 4 and 6, and nothing near");
    }

    #[test]
    fn a_number_without_room_for_the_others_is_refused() {
        let ring = Ring { bits: 64, fraction: 32 };
        let mut sums = Sums::zeros(1);
        sums.add(0, 1e9);
        assert!(share(ring, sums.clone(), &context("x"), 1, [0; 32]).is_ok());
        assert!(share(ring, sums, &context("x"), 4, [0; 32]).is_err());
    }
}
