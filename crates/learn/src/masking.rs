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

    fn mask(self) -> u128 {
        if self.bits == 128 { u128::MAX } else { (1 << self.bits) - 1 }
    }

    /// Rounds to the ring's fraction. What could overflow once all sites are added is refused, never clipped: a clipped sum
    /// would be a wrong result that nobody notices.
    pub(crate) fn encode(self, value: i128, sites: usize) -> Result<u128, LearnError> {
        let drop = FRACTION - self.fraction;
        let rounded = if drop == 0 { value } else { (value + (1 << (drop - 1))) >> drop };
        let headroom = usize::BITS - sites.leading_zeros();
        if rounded.unsigned_abs() >> (self.bits - 1 - headroom) != 0 {
            return Err(LearnError::Range { what: "a masked sum" });
        }
        #[expect(clippy::cast_sign_loss, reason = "two's complement is the ring")]
        Ok(rounded as u128 & self.mask())
    }

    /// Back to a signed number with the fraction of plain sums.
    pub(crate) fn decode(self, value: u128) -> i128 {
        let drop = 128 - self.bits;
        #[expect(clippy::cast_possible_wrap, reason = "two's complement is the ring")]
        let signed = ((value << drop) as i128) >> drop;
        signed << (FRACTION - self.fraction)
    }
}

/// A site's vector in two shares.
pub(crate) struct Shares {
    pub(crate) seed: [u8; 32],
    pub(crate) masked: Vec<u128>,
}

pub(crate) fn subtract_stream(ring: Ring, seed: &[u8; 32], context: &Digest, values: &mut [u128]) {
    each_mask(ring, seed, context, values.len(), |at, mask| {
        values[at] = values[at].wrapping_sub(mask) & ring.mask();
    });
}

pub(crate) fn add_stream(ring: Ring, seed: &[u8; 32], context: &Digest, values: &mut [u128]) {
    each_mask(ring, seed, context, values.len(), |at, mask| {
        values[at] = values[at].wrapping_add(mask) & ring.mask();
    });
}

fn each_mask(ring: Ring, seed: &[u8; 32], context: &Digest, len: usize, mut put: impl FnMut(usize, u128)) {
    let mut stream = blake3::Hasher::new_keyed(seed).update(context.as_bytes()).finalize_xof();
    let width = (ring.bits / 8) as usize;
    let mut block = [0u8; 4096];
    let per_block = block.len() / width;
    for start in (0..len).step_by(per_block) {
        stream.fill(&mut block);
        for at in start..len.min(start + per_block) {
            let mut bytes = [0u8; 16];
            let from = (at - start) * width;
            bytes[..width].copy_from_slice(&block[from..from + width]);
            put(at, u128::from_le_bytes(bytes));
        }
    }
    block.zeroize();
}

/// Splits sums into two shares.
pub(crate) fn share(
    ring: Ring,
    sums: Sums,
    context: &Digest,
    sites: usize,
    seed: [u8; 32],
) -> Result<Shares, LearnError> {
    let mut masked =
        sums.into_values().into_iter().map(|value| ring.encode(value, sites)).collect::<Result<Vec<_>, _>>()?;
    subtract_stream(ring, &seed, context, &mut masked);
    Ok(Shares { seed, masked })
}

/// Adds up two totals.
pub(crate) fn combine(ring: Ring, one: &[u128], other: &[u128]) -> Sums {
    let values = one.iter().zip(other).map(|(a, b)| ring.decode(a.wrapping_add(*b) & ring.mask())).collect();
    Sums::from_values(values)
}

/// Adds a masked vector to a total.
pub(crate) fn add_masked(ring: Ring, masked: &[u128], total: &mut [u128]) {
    for (total, value) in total.iter_mut().zip(masked) {
        *total = total.wrapping_add(*value) & ring.mask();
    }
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
        let (mut one, mut other) = (vec![0; len], vec![0; len]);
        for (at, site) in sites.iter().enumerate() {
            let mut sums = Sums::zeros(len);
            site.iter().enumerate().for_each(|(at, x)| sums.add(at, *x));
            let shares = share(ring, sums, &contexts[at], sites.len(), [u8::try_from(at).unwrap() + 1; 32]).unwrap();
            add_masked(ring, &shares.masked, &mut one);
            add_stream(ring, &shares.seed, &contexts[0], &mut other);
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
