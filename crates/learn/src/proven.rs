//! Shares that come with a proof: two aggregators see that each number of a site is within what the plan states, and see no number.
//!
//! What a site sums is a measurement of Prio3SumVec, a verifiable distributed aggregation function (VDAF,
//! draft-irtf-cfrg-vdaf-18, section 7.4.3), as the crate `prio` has it. Each number becomes a whole one from 0 to what so many rows as the
//! plan states can come to. The digest of plan, roster, round and question is the application's context of the VDAF, so a share for
//! another question is proven to nobody.
//!
//! What is proven is the range, and no more: not that the numbers are sums over rows, nor how they hang together.

use std::collections::BTreeMap;
use std::io::Cursor;

use acequia_types::{Digest, digest_named};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prio::codec::{Encode, ParameterizedDecode};
use prio::field::Field128;
use prio::vdaf::prio3::{
    Prio3InputShare, Prio3PublicShare, Prio3SumVec, Prio3VerifierShare, Prio3VerifyState, optimal_chunk_length,
};
use prio::vdaf::{AggregateShare, Aggregator as _, Client, Collector, VerifyTransition};
use serde::{Deserialize, Serialize};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use crate::LearnError;
use crate::masking::Residues;
use crate::plan::{Plan, Proof, Protection, Task};
use crate::protocol::{Entropy, ShareKey, length_of, read_cbor, write_cbor};
use crate::sums::{FRACTION, Sums};
use crate::table::Data;
use crate::tasks::Question;

/// Bits that are proven in a round, at most: of these a proof takes a second on one core, and a share 8 MB.
const BITS_MAX: usize = 1 << 18;
/// The two of them.
const AGGREGATORS: usize = 2;

/// What both aggregators draw their questions to a proof from, and no site knows.
#[derive(Clone)]
pub struct VerifyKey(Zeroizing<[u8; 32]>);

impl std::fmt::Debug for VerifyKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("VerifyKey")
    }
}

impl VerifyKey {
    /// A key for one run in one process.
    ///
    /// # Errors
    /// [`LearnError::Entropy`].
    pub fn drawn(entropy: &mut dyn Entropy) -> Result<Self, LearnError> {
        let mut key = Zeroizing::new([0; 32]);
        entropy.fill(&mut *key)?;
        Ok(Self(key))
    }
}

/// An aggregator's half of the agreement on a [`VerifyKey`] for one run (X25519). It follows from the aggregator's own key, so it is
/// the same after a restart.
pub struct VerifyHalf {
    secret: StaticSecret,
    run: Digest,
}

impl VerifyHalf {
    /// The half of whoever has the key, for a plan and roster (their digests).
    pub fn of(key: &ShareKey, plan: &Digest, roster: &Digest) -> Self {
        let run = digest_named(
            "acequia proven run 1",
            [("plan", plan.as_bytes().as_slice()), ("roster", roster.as_bytes().as_slice())],
        );
        Self { secret: StaticSecret::from(*key.marked(&run).as_bytes()), run }
    }

    /// What the other aggregator is told.
    pub fn public(&self) -> [u8; 32] {
        PublicKey::from(&self.secret).to_bytes()
    }

    /// The key that only the two have; none where the other's half is no honest one.
    pub fn with(&self, other: &[u8; 32]) -> Option<VerifyKey> {
        let shared = self.secret.diffie_hellman(&PublicKey::from(*other));
        let (own, other) = (self.public(), *other);
        let mut both = [own, other];
        both.sort_unstable();
        let mut hash = blake3::Hasher::new_derive_key("acequia verify key 1");
        hash.update(shared.as_bytes()).update(self.run.as_bytes()).update(&both[0]).update(&both[1]);
        shared.was_contributory().then(|| VerifyKey(Zeroizing::new(*hash.finalize().as_bytes())))
    }
}

/// What one aggregator tells the other about the proofs of a round: random numbers that, with its own, only say whether each holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verification {
    /// Digest of plan, roster, round and question.
    pub context: Digest,
    /// For each site its share of the verifier (base64); empty for a share that cannot be read.
    shares: BTreeMap<String, String>,
}

impl Verification {
    /// As CBOR (RFC 8949).
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        write_cbor(self, &mut bytes);
        bytes
    }

    /// Reads what [`Verification::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`LearnError::Protocol`].
    pub fn from_bytes(from: &str, bytes: &[u8]) -> Result<Self, LearnError> {
        read_cbor(bytes).ok_or(LearnError::Protocol { from: from.to_owned(), reason: "it is no word about proofs" })
    }

    /// Names it, for a signature.
    pub fn digest(&self) -> Digest {
        digest_named("acequia verification 1", [("verification", self.to_bytes().as_slice())])
    }
}

/// The numbers of a question as a measurement: how each becomes a whole number in a range.
pub(crate) struct Measurement {
    vdaf: Prio3SumVec,
    /// Rows of a site, at most.
    rows: u64,
    /// Bits after the binary point; none where all numbers are counts.
    fraction: u32,
    /// What one row adds, from and to.
    ranges: Vec<(f64, f64)>,
}

fn contradicts(message: &str) -> LearnError {
    LearnError::Plan { message: message.to_owned() }
}

/// Whether what the plan states about proofs can be proven.
///
/// # Errors
/// [`LearnError::Plan`].
pub(crate) fn check_proof(plan: &Plan) -> Result<(), LearnError> {
    let aggregation = &plan.aggregation;
    let proof = match (&aggregation.proof, aggregation.protection) {
        (None, Protection::Proven) => {
            return Err(contradicts("protection proven needs aggregation.proof: what a site's numbers are at most"));
        }
        (Some(_), Protection::TwoAggregators | Protection::DoubleMasking | Protection::None) => {
            return Err(contradicts("aggregation.proof is for protection proven"));
        }
        (None, _) => return Ok(()),
        (Some(proof), _) => proof,
    };
    if !(1..=1 << 30).contains(&proof.rows) || proof.rows < plan.privacy.minimum_rows {
        return Err(contradicts("aggregation.proof.rows must be from privacy.minimum_rows to 2^30"));
    }
    let numbers = match &plan.task {
        Task::Count => 2,
        Task::Moments => 2 + 2 * plan.variables.len(),
        Task::Histogram { edges } => plan.variables.len() * (edges.len().saturating_sub(1)),
        _ => {
            return Err(contradicts(
                "proofs are for the tasks count, moments and histogram: sums of others have no range that a plan can state",
            ));
        }
    };
    let is_moments = matches!(plan.task, Task::Moments);
    let sound = |name: &String| {
        proof.ranges.get(name).is_some_and(|[low, high]| low < high && [low, high].iter().all(|end| end.abs() < 1e15))
    };
    if is_moments && !(plan.variables.iter().all(|one| sound(&one.name)) && proof.ranges.len() == plan.variables.len())
    {
        return Err(contradicts("aggregation.proof.ranges must name a range for each variable, and nothing else"));
    }
    if !is_moments && !proof.ranges.is_empty() {
        return Err(contradicts("aggregation.proof.ranges is for moments: counts have no other range than rows"));
    }
    let fraction = if is_moments { aggregation.fraction_bits } else { 0 };
    if numbers * bits(proof, fraction) > BITS_MAX {
        return Err(contradicts("that is more than can be proven in a round: ask for fewer variables or edges"));
    }
    Ok(())
}

/// Bits of one number.
fn bits(proof: &Proof, fraction: u32) -> usize {
    (u64::BITS - proof.rows.leading_zeros() + fraction) as usize
}

/// Whether a site's rows are within what the plan states, each of them.
///
/// # Errors
/// [`LearnError::Estimate`].
pub(crate) fn check_rows(plan: &Plan, tables: &[Data]) -> Result<(), LearnError> {
    let Some(proof) = &plan.aggregation.proof else { return Ok(()) };
    if tables.iter().map(|table| table.rows as u64).sum::<u64>() > proof.rows {
        return Err(LearnError::Estimate { reason: "a site has more rows than the plan's aggregation.proof.rows" });
    }
    let ranges: Vec<Option<&[f64; 2]>> = plan.variables.iter().map(|one| proof.ranges.get(&one.name)).collect();
    let is_within = |data: &Data, row: usize| {
        data.row(row).iter().zip(&ranges).all(|(x, range)| range.is_none_or(|[low, high]| low <= x && x <= high))
    };
    if tables.iter().any(|data| !(0..data.rows).all(|row| is_within(data, row))) {
        return Err(LearnError::Estimate { reason: "a row is outside a range of the plan's aggregation.proof.ranges" });
    }
    Ok(())
}

impl Measurement {
    /// Of a question that follows from a plan.
    ///
    /// # Errors
    /// [`LearnError::Plan`] for a plan without proofs.
    pub(crate) fn of(plan: &Plan, question: &Question) -> Result<Self, LearnError> {
        let proof = plan.aggregation.proof.as_ref().ok_or_else(|| contradicts("the plan asks for no proofs"))?;
        let length = length_of(plan, question);
        let mut ranges = vec![(0.0, 1.0); length];
        let stated: Vec<(f64, f64)> = plan
            .variables
            .iter()
            .map(|one| proof.ranges.get(&one.name).map_or((0.0, 1.0), |[low, high]| (*low, *high)))
            .collect();
        let is_exact = match question {
            Question::Prepare => {
                let p = stated.len();
                for (j, (low, high)) in stated.into_iter().enumerate() {
                    let (one, other) = (low * low, high * high);
                    let least = if low <= 0.0 && high >= 0.0 { 0.0 } else { one.min(other) };
                    ranges[2 + j] = (low, high);
                    // A single number has one square.
                    ranges[2 + p + j] = (least, one.max(other).max(least + f64::MIN_POSITIVE));
                }
                false
            }
            Question::Spread { means } => {
                for (j, ((low, high), mean)) in stated.into_iter().zip(means).enumerate() {
                    ranges[1 + j] = (0.0, (low - mean).powi(2).max((high - mean).powi(2)));
                }
                false
            }
            _ => true,
        };
        let fraction = if is_exact { 0 } else { plan.aggregation.fraction_bits };
        let most = u128::from(proof.rows) << fraction;
        let chunk = optimal_chunk_length(length * bits(proof, fraction));
        let vdaf = Prio3SumVec::new_sum_vec(2, most, length, chunk).map_err(|_| contradicts("it cannot be proven"))?;
        Ok(Self { vdaf, rows: proof.rows, fraction, ranges })
    }

    /// Bytes of a share, at most: the sums' bits, each an element of the field, and a proof that is shorter than they are; some hundred
    /// bytes besides for sums of few bits.
    pub(crate) fn share_bytes_max(plan: &Plan, question: &Question) -> Result<usize, LearnError> {
        let measurement = Self::of(plan, question)?;
        let proof = plan.aggregation.proof.as_ref().ok_or_else(|| contradicts("the plan asks for no proofs"))?;
        let bits = measurement.ranges.len() * bits(proof, measurement.fraction);
        Ok((2 * bits + 64) * size_of::<u128>())
    }

    /// A number of the sums is a count where a row adds 0 or 1.
    fn is_count(&self, at: usize) -> bool {
        self.ranges[at] == (0.0, 1.0)
    }

    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "rows are at most 2^30, and a number is from 0 to them times 2^52"
    )]
    fn encode(&self, sums: &Sums) -> Result<Vec<u128>, LearnError> {
        let unit = libm::exp2(f64::from(self.fraction));
        let rows = sums.whole(0) as f64;
        let one = |at: usize| {
            // A variable of 0 and 1 is a count too, and as exact.
            if self.is_count(at) {
                let value =
                    u128::try_from(sums.values()[at]).map_err(|_| LearnError::Range { what: "a proven sum" })?;
                let drop = FRACTION - self.fraction;
                return Ok((value + (1 << (drop - 1))) >> drop);
            }
            let (low, high) = self.ranges[at];
            let share = (sums.get(at) - low * rows) / (high - low);
            // Rounding alone may lead a hair beyond.
            Ok((share.clamp(0.0, rows) * unit).round() as u128)
        };
        (0..sums.len()).map(one).collect()
    }

    /// The sum over sites, from the sum of their measurements.
    #[expect(clippy::cast_precision_loss, reason = "numbers are below 2^100, and rounded once")]
    fn decode(&self, totals: &[u128], sites: usize) -> Result<Sums, LearnError> {
        let most = u128::from(self.rows) << self.fraction;
        if totals.iter().any(|total| *total > most.saturating_mul(sites as u128)) {
            return Err(LearnError::Implausible { what: "proven sums" });
        }
        let unit = libm::exp2(f64::from(self.fraction));
        let rows = totals.first().map_or(0.0, |rows| *rows as f64 / unit);
        let mut sums = Sums::zeros(totals.len());
        for (at, total) in totals.iter().enumerate() {
            if self.is_count(at) {
                let bits = i128::try_from(*total).map_err(|_| LearnError::Range { what: "a proven sum" })?;
                sums.add_bits(at, bits << (FRACTION - self.fraction));
            } else {
                let (low, high) = self.ranges[at];
                sums.add(at, low * rows + *total as f64 / unit * (high - low));
            }
        }
        sums.checked()
    }

    /// Shares for the first and the second aggregator. What is drawn for them is new each time.
    ///
    /// # Errors
    /// [`LearnError::Range`] when a sum is outside its range, [`LearnError::Entropy`].
    pub(crate) fn shares(
        &self,
        sums: &Sums,
        context: &Digest,
        site: &str,
    ) -> Result<[Vec<u8>; AGGREGATORS], LearnError> {
        self.shares_of(&self.encode(sums)?, context, site)
    }

    fn shares_of(&self, numbers: &[u128], context: &Digest, site: &str) -> Result<[Vec<u8>; AGGREGATORS], LearnError> {
        let sharded = self.vdaf.shard(context.as_bytes(), &numbers.to_vec(), &nonce(context, site));
        let (public, shares) = sharded.map_err(|_| LearnError::Range { what: "a proven sum" })?;
        let bytes = |at: usize| {
            let mut bytes = Vec::new();
            let written = public.encode(&mut bytes).and_then(|()| shares[at].encode(&mut bytes));
            written.map_err(|_| LearnError::Range { what: "a proven sum" })?;
            Ok::<_, LearnError>(bytes)
        };
        Ok([bytes(0)?, bytes(1)?])
    }

    /// Looks at a site's share as the first (0) or the second (1) aggregator. None where it cannot be read.
    fn look(&self, key: &VerifyKey, own: usize, context: &Digest, site: &str, share: &[u8]) -> Option<Looked> {
        let mut bytes = Cursor::new(share);
        let public = Prio3PublicShare::decode_with_param(&self.vdaf, &mut bytes).ok()?;
        let input = Prio3InputShare::decode_with_param(&(&self.vdaf, own), &mut bytes).ok()?;
        if bytes.position() != share.len() as u64 {
            return None;
        }
        let nonce = nonce(context, site);
        let begun = self.vdaf.verify_init(&key.0, context.as_bytes(), own, &(), &nonce, &public, &input);
        begun.ok().map(|(state, verifier)| Looked { state, verifier })
    }

    /// The output share of a site whose proof holds.
    fn proven(&self, own: usize, context: &Digest, looked: Looked, other: &[u8]) -> Option<Vec<Field128>> {
        let mut bytes = Cursor::new(other);
        let theirs = Prio3VerifierShare::decode_with_param(&looked.state, &mut bytes).ok()?;
        if bytes.position() != other.len() as u64 {
            return None;
        }
        let in_order = if own == 0 { [looked.verifier, theirs] } else { [theirs, looked.verifier] };
        let message = self.vdaf.verifier_shares_to_message(context.as_bytes(), &(), in_order).ok()?;
        match self.vdaf.verify_next(context.as_bytes(), looked.state, message).ok()? {
            VerifyTransition::Finish(share) => Some(share.as_ref().to_vec()),
            VerifyTransition::Continue(..) => None,
        }
    }

    /// The sum over so many sites, from both halves.
    ///
    /// # Errors
    /// [`LearnError::Implausible`] when no sites give it.
    pub(crate) fn combine(&self, one: &Residues, other: &Residues, sites: usize) -> Result<Sums, LearnError> {
        let share = |values: &Residues| AggregateShare::from(values.numbers().map(Field128::from).collect::<Vec<_>>());
        let totals = self.vdaf.unshard(&(), [share(one), share(other)], sites);
        self.decode(&totals.map_err(|_| LearnError::Implausible { what: "proven sums" })?, sites)
    }
}

/// No two reports of a run have the same: a site has one for each question.
fn nonce(context: &Digest, site: &str) -> [u8; 16] {
    let parts = [("context", context.as_bytes().as_slice()), ("site", site.as_bytes())];
    let digest = digest_named("acequia report 1", parts);
    std::array::from_fn(|at| digest.as_bytes()[at])
}

/// A share that was looked at, before the other aggregator's word about it is there.
struct Looked {
    state: Prio3VerifyState<Field128, 32>,
    verifier: Prio3VerifierShare<Field128, 32>,
}

/// The proofs of a round, at one aggregator.
pub(crate) struct Proofs {
    measurement: Measurement,
    key: VerifyKey,
    /// Whether it is the first (0) or the second (1) of the plan.
    own: usize,
    context: Digest,
    looked: BTreeMap<String, Option<Looked>>,
    said: Verification,
    proven: BTreeMap<String, Vec<Field128>>,
}

impl Proofs {
    pub(crate) fn new(measurement: Measurement, key: VerifyKey, own: usize, context: Digest) -> Self {
        let said = Verification { context, shares: BTreeMap::new() };
        Self { measurement, key, own, context, looked: BTreeMap::new(), said, proven: BTreeMap::new() }
    }

    /// Looks at the share of a site, once.
    pub(crate) fn look(&mut self, site: &str, share: &[u8]) {
        if self.said.shares.contains_key(site) {
            return;
        }
        let looked = self.measurement.look(&self.key, self.own, &self.context, site, share);
        let said = looked.as_ref().and_then(|looked| {
            let mut bytes = Vec::new();
            looked.verifier.encode(&mut bytes).ok().map(|()| STANDARD.encode(bytes))
        });
        self.said.shares.insert(site.to_owned(), said.unwrap_or_default());
        self.looked.insert(site.to_owned(), looked);
    }

    /// What the other aggregator is told.
    pub(crate) fn said(&self) -> &Verification {
        &self.said
    }

    /// Whether the other aggregator looked at all proofs that wait for its word.
    pub(crate) fn are_looked_at_in(&self, other: &Verification) -> bool {
        self.looked.keys().all(|site| other.shares.contains_key(site))
    }

    /// Sites whose proofs do not hold, now that the other's word is there.
    pub(crate) fn settle(&mut self, other: &Verification) -> Vec<String> {
        for (site, looked) in std::mem::take(&mut self.looked) {
            let theirs = other.shares.get(&site).and_then(|text| STANDARD.decode(text).ok());
            let share = looked
                .zip(theirs)
                .and_then(|(looked, theirs)| self.measurement.proven(self.own, &self.context, looked, &theirs));
            if let Some(share) = share {
                self.proven.insert(site, share);
            }
        }
        self.said.shares.keys().filter(|site| !self.proven.contains_key(*site)).cloned().collect()
    }

    /// Half of the sum over these sites; none where one of them was not proven.
    pub(crate) fn add_up(&self, sites: &[String]) -> Option<Vec<u128>> {
        let mut total = vec![Field128::from(0u128); self.measurement.ranges.len()];
        for site in sites {
            total.iter_mut().zip(self.proven.get(site)?).for_each(|(total, one)| *total += *one);
        }
        Some(total.into_iter().map(u128::from).collect())
    }
}
