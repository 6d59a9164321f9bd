//! Secure summation by one coordinator: double masking, after Bonawitz et al. 2017 (Practical Secure Aggregation, CCS; the version
//! of section 6.2 against a coordinator that lies, with signed keys and signed survivors).
//!
//! Each two sites agree on a mask that one adds and the other subtracts, so that these cancel out in the sum. Each site adds a
//! second one of its own. The secrets behind both are shared among all sites, so that enough of them together can tell the
//! coordinator one of the two for each site and never both: the own mask of who is in the sum, the key of who dropped out on the way.
//! Before, so many sites as are needed for that sign who is in the sum, and none signs two sets for one question.
//!
//! All secrets are made anew for each question, from the site's own key, the digest of plan, roster, round and question, and the site's
//! sums: what is told about a site that dropped out is of no use for another round, and a site that was started again says what it
//! said before. Keys are agreed on by X25519 (RFC 7748), shares are sealed with ChaCha20-Poly1305 (RFC 8439) and are Shamir's.

use std::collections::{BTreeMap, BTreeSet};

use acequia_types::{Digest, digest_named};
use chacha20poly1305::aead::{Aead, KeyInit, Payload as Sealing};
use chacha20poly1305::{ChaCha20Poly1305, Key, Nonce};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use serde::{Deserialize, Serialize};
use vsss_rs::Gf256;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use crate::LearnError;
use crate::masking::{Residues, Ring};
use crate::plan::{Dropouts, Plan};
use crate::protocol::{Ask, Head, Message, Payload, Roster, length_of};
use crate::sovereignty::Turned;
use crate::sums::Sums;

/// Sites in a run, at most: a share is one of 255.
pub(crate) const SITES_MAX: usize = 255;

/// Knows by the signed roster what sites signed.
pub trait Signatures: Send + Sync {
    /// Whether `site` signed the statement.
    fn has_signed(&self, site: &str, statement: &Digest, signature: &str) -> bool;
}

/// Signs as a site.
pub trait Vouching: Signatures {
    /// This site's signature under a statement.
    fn sign(&self, statement: &Digest) -> String;
}

/// Sites that it takes to take masks off: more than two thirds of all, so that no two sets of so many are without a site in common
/// that keeps to the rules, as long as fewer than a third do not.
pub(crate) fn threshold(sites: usize) -> usize {
    2 * sites / 3 + 1
}

/// Sites that a sum has, at least.
pub(crate) fn needed(plan: &Plan, sites: usize, wanted: usize) -> usize {
    match plan.privacy.dropouts {
        Dropouts::Wait => sites,
        Dropouts::LeaveOut => threshold(sites).max(plan.privacy.minimum_sites).max(wanted).max(2),
    }
}

/// What a site answers a question with first: public keys for this question, signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoundKeys {
    /// For masks with each other site.
    mask: [u8; 32],
    /// For sealing shares.
    seal: [u8; 32],
    signature: String,
}

impl RoundKeys {
    fn statement(context: &Digest, site: &str, mask: &[u8; 32], seal: &[u8; 32]) -> Digest {
        let parts =
            [("round", context.as_bytes().as_slice()), ("site", site.as_bytes()), ("mask", mask), ("seal", seal)];
        digest_named("acequia round keys 1", parts)
    }

    fn are_of(&self, site: &str, context: &Digest, signatures: &dyn Signatures) -> bool {
        let statement = Self::statement(context, site, &self.mask, &self.seal);
        signatures.has_signed(site, &statement, &self.signature)
    }
}

/// A site's secrets, in shares for the others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealedShares {
    /// Digest of the site's own mask, which shares of it are held against.
    commitment: Digest,
    /// For each site.
    sealed: BTreeMap<String, Vec<u8>>,
}

/// Shares that take masks off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Revealed {
    /// Of the own masks of sites in the sum.
    own: BTreeMap<String, Vec<u8>>,
    /// Of the keys of sites that dropped out.
    keys: BTreeMap<String, Vec<u8>>,
}

/// What a site is told after the question, step by step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Turn {
    /// Keys of all who answered: share your secrets with them.
    Share(BTreeMap<String, RoundKeys>),
    /// What others shared with this site: send the masked sums.
    Mask(BTreeMap<String, Vec<u8>>),
    /// Whose masked sums are there: sign it.
    Confirm(Vec<String>),
    /// Who signed: take the masks off.
    Unmask(BTreeMap<String, String>),
}

impl Turn {
    /// Its place in the round.
    fn step(&self) -> &'static str {
        match self {
            Self::Share(_) => "share",
            Self::Mask(_) => "mask",
            Self::Confirm(_) => "confirm",
            Self::Unmask(_) => "unmask",
        }
    }

    /// As it stands in the log of the site that takes it.
    pub(crate) fn turned(&self, question: Digest) -> Turned {
        let mut bytes = Vec::new();
        // Writing to memory does not fail, and maps are sorted.
        let _ = ciborium::into_writer(self, &mut bytes);
        let over = match self {
            Self::Confirm(over) => over.clone(),
            _ => Vec::new(),
        };
        let told = digest_named("acequia turn 1", [("turn", bytes.as_slice())]);
        Turned { step: self.step().to_owned(), question, told, over }
    }

    /// What leaves in answer to it, in words for the log.
    pub(crate) fn words(&self, sites: usize) -> String {
        match self {
            Self::Share(_) => "Secrets behind this site's masks, in shares that are sealed for the other sites.".to_owned(),
            Self::Mask(_) => "The sums of this round, masked.".to_owned(),
            Self::Confirm(over) => format!("This site's signature that the sum is over {} of {sites} sites.", over.len()),
            Self::Unmask(_) => {
                "Shares of the others' masks: of the own mask of each site in the sum, of the key of each that dropped out.".to_owned()
            }
        }
    }
}

fn over_statement(context: &Digest, sites: &[String]) -> Digest {
    let round = [("round", context.as_bytes().as_slice())];
    digest_named("acequia sum over 1", round.into_iter().chain(sites.iter().map(|site| ("site", site.as_bytes()))))
}

fn commitment(context: &Digest, site: &str, own: &[u8]) -> Digest {
    digest_named(
        "acequia own mask 1",
        [("round", context.as_bytes().as_slice()), ("site", site.as_bytes()), ("mask", own)],
    )
}

/// A key that two sites have in common for one question and one use.
fn agreed(
    purpose: &str,
    secret: &StaticSecret,
    public: &[u8; 32],
    context: &Digest,
    (from, to): (&str, &str),
) -> Option<Zeroizing<[u8; 32]>> {
    let shared = secret.diffie_hellman(&PublicKey::from(*public));
    let between = digest_named("acequia pair 1", [("from", from.as_bytes()), ("to", to.as_bytes())]);
    let mut hash = blake3::Hasher::new_derive_key(purpose);
    hash.update(shared.as_bytes()).update(context.as_bytes()).update(between.as_bytes());
    shared.was_contributory().then(|| Zeroizing::new(*hash.finalize().as_bytes()))
}

fn pair_mask(
    secret: &StaticSecret,
    public: &[u8; 32],
    context: &Digest,
    one: &str,
    other: &str,
) -> Option<Zeroizing<[u8; 32]>> {
    agreed("acequia pair mask 1", secret, public, context, (one.min(other), one.max(other)))
}

fn seal_key(
    secret: &StaticSecret,
    public: &[u8; 32],
    context: &Digest,
    way: (&str, &str),
) -> Option<Zeroizing<[u8; 32]>> {
    agreed("acequia sealed share 1", secret, public, context, way)
}

/// Adds the mask that two sites agreed on at the first in order, and subtracts it at the other.
fn put_pair(mask: &[u8; 32], context: &Digest, site: &str, other: &str, values: &mut Residues) {
    match site < other {
        true => values.add_stream(mask, context),
        false => values.subtract_stream(mask, context),
    }
}

/// What a site keeps to itself in a round.
struct Secrets {
    mask: StaticSecret,
    seal: StaticSecret,
    own: Zeroizing<[u8; 32]>,
    dealer: Zeroizing<[u8; 32]>,
}

impl Secrets {
    fn of(seed: &[u8; 32]) -> Self {
        let derived = |purpose: &str| Zeroizing::new(blake3::derive_key(purpose, seed));
        Self {
            mask: StaticSecret::from(*derived("acequia mask key 1")),
            seal: StaticSecret::from(*derived("acequia seal key 1")),
            own: derived("acequia own mask 1"),
            dealer: derived("acequia dealer 1"),
        }
    }

    /// Shares of the mask key and of the own mask for each place in the roster.
    fn shares(&self, sites: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut numbers = ChaCha20Rng::from_seed(*self.dealer);
        let mut dealt =
            |secret: &[u8]| Gf256::split_bytes(threshold(sites), sites, secret, &mut numbers).unwrap_or_default();
        // With two sites at least, and few enough for as many shares, there are no other errors.
        let keys = dealt(self.mask.as_bytes());
        keys.into_iter().zip(dealt(&*self.own)).collect()
    }
}

/// Bytes of a share: its place, and a secret's length.
const SHARE_BYTES: usize = 33;

/// A site's part in a round.
pub(crate) struct Part {
    name: String,
    sites: Vec<String>,
    needed: usize,
    context: Digest,
    question: Digest,
    /// Until masks come off: they are long, and the next question may be, too.
    sums: Option<Residues>,
    secrets: Secrets,
    keys: RoundKeys,
    /// Who answered the question, with their keys.
    asked: BTreeMap<String, RoundKeys>,
    /// This site's own shares of its key and of its own mask.
    dealt: Option<(Vec<u8>, Vec<u8>)>,
    /// Who shared secrets: shares of the key and of the own mask.
    shares: BTreeMap<String, (Vec<u8>, Vec<u8>)>,
    /// Who is in the sum.
    over: Vec<String>,
}

/// A round as a site sees it.
pub(crate) struct Place<'r> {
    pub(crate) name: &'r str,
    pub(crate) roster: &'r Roster,
    pub(crate) context: Digest,
    pub(crate) question: Digest,
    pub(crate) ring: Ring,
    pub(crate) needed: usize,
}

impl Part {
    /// Keys for a question whose answer is `sums`; `seed` follows from both.
    ///
    /// # Errors
    /// [`LearnError::Range`] when a sum does not fit.
    pub(crate) fn begin(
        place: &Place<'_>,
        sums: Sums,
        seed: &[u8; 32],
        vouching: &dyn Vouching,
    ) -> Result<Self, LearnError> {
        let secrets = Secrets::of(seed);
        let mask = PublicKey::from(&secrets.mask).to_bytes();
        let seal = PublicKey::from(&secrets.seal).to_bytes();
        let signature = vouching.sign(&RoundKeys::statement(&place.context, place.name, &mask, &seal));
        Ok(Self {
            name: place.name.to_owned(),
            sites: place.roster.sites().to_vec(),
            needed: place.needed,
            context: place.context,
            question: place.question,
            sums: Some(Residues::encode(place.ring, sums.values(), place.roster.sites().len())?),
            secrets,
            keys: RoundKeys { mask, seal, signature },
            asked: BTreeMap::new(),
            dealt: None,
            shares: BTreeMap::new(),
            over: Vec::new(),
        })
    }

    pub(crate) fn context(&self) -> Digest {
        self.context
    }

    pub(crate) fn question(&self) -> Digest {
        self.question
    }

    pub(crate) fn keys(&self) -> RoundKeys {
        self.keys.clone()
    }

    fn refuse(reason: &'static str) -> LearnError {
        LearnError::Protocol { from: "the coordinator".to_owned(), reason }
    }

    fn enough(&self, sites: usize) -> Result<(), LearnError> {
        match sites < self.needed {
            true => Err(Self::refuse("too few sites are left for a sum that hides this one's")),
            false => Ok(()),
        }
    }

    fn place_of(&self, site: &str) -> Option<usize> {
        self.sites.iter().position(|other| other == site)
    }

    /// Takes a turn. `None` where one before it is missing: this site was started again meanwhile.
    ///
    /// # Errors
    /// [`LearnError::Protocol`] when keys or signatures are not those of the roster, or too few sites are left; [`LearnError::Range`] when a
    /// sum does not fit.
    pub(crate) fn take(&mut self, turn: &Turn, vouching: &dyn Vouching) -> Result<Option<Payload>, LearnError> {
        let is_ready = match turn {
            Turn::Share(_) => true,
            Turn::Mask(_) => !self.asked.is_empty() && self.sums.is_some(),
            Turn::Confirm(_) => !self.shares.is_empty(),
            Turn::Unmask(_) => !self.over.is_empty(),
        };
        if !is_ready {
            return Ok(None);
        }
        Ok(Some(match turn {
            Turn::Share(keys) => Payload::Shares(self.share(keys, vouching)?),
            Turn::Mask(shares) => Payload::Masked(self.mask(shares)?),
            Turn::Confirm(sites) => Payload::Confirmation(self.confirm(sites, vouching)?),
            Turn::Unmask(confirmed) => Payload::Revealed(self.reveal(confirmed, vouching)?),
        }))
    }

    fn share(
        &mut self,
        keys: &BTreeMap<String, RoundKeys>,
        vouching: &dyn Vouching,
    ) -> Result<SealedShares, LearnError> {
        if keys.get(&self.name) != Some(&self.keys) || keys.keys().any(|site| self.place_of(site).is_none()) {
            return Err(Self::refuse("keys are not those of the sites that take part"));
        }
        self.enough(keys.len())?;
        if !keys.iter().all(|(site, keys)| keys.are_of(site, &self.context, vouching)) {
            return Err(Self::refuse("keys are not signed by the sites whose they are said to be"));
        }
        let mut shares = self.secrets.shares(self.sites.len());
        let mut sealed = BTreeMap::new();
        for (site, theirs) in keys.iter().filter(|(site, _)| **site != self.name) {
            let dealt = self.place_of(site).and_then(|place| shares.get(place));
            let (key_share, own_share) = dealt.ok_or_else(|| Self::refuse("too many sites for shares"))?;
            let plain = Zeroizing::new([key_share.as_slice(), own_share].concat());
            let way = (self.name.as_str(), site.as_str());
            let bytes = seal_key(&self.secrets.seal, &theirs.seal, &self.context, way)
                .and_then(|key| cipher(&key).encrypt(&Nonce::default(), sealing(&plain, &self.context)).ok())
                .ok_or_else(|| Self::refuse("a key is none that secrets can be sealed with"))?;
            sealed.insert(site.clone(), bytes);
        }
        self.asked.clone_from(keys);
        self.dealt =
            self.place_of(&self.name).filter(|place| *place < shares.len()).map(|place| shares.swap_remove(place));
        Ok(SealedShares { commitment: commitment(&self.context, &self.name, &*self.secrets.own), sealed })
    }

    fn mask(&mut self, sealed: &BTreeMap<String, Vec<u8>>) -> Result<Residues, LearnError> {
        if sealed.contains_key(&self.name) || sealed.keys().any(|site| !self.asked.contains_key(site)) {
            return Err(Self::refuse("shares are not of sites that gave keys"));
        }
        self.enough(sealed.len() + 1)?;
        let own = self.dealt.clone().ok_or_else(|| Self::refuse("it told nobody's keys before"))?;
        let mut shares = BTreeMap::from([(self.name.clone(), own)]);
        for (site, bytes) in sealed {
            let way = (site.as_str(), self.name.as_str());
            let plain = seal_key(&self.secrets.seal, &self.asked[site].seal, &self.context, way)
                .and_then(|key| cipher(&key).decrypt(&Nonce::default(), sealing(bytes, &self.context)).ok())
                .map(Zeroizing::new)
                .filter(|plain| plain.len() == 2 * SHARE_BYTES)
                .ok_or_else(|| Self::refuse("shares cannot be opened"))?;
            let (key_share, own_share) = plain.split_at(SHARE_BYTES);
            shares.insert(site.clone(), (key_share.to_vec(), own_share.to_vec()));
        }
        let mut masked = self.sums.clone().ok_or_else(|| Self::refuse("its part of the round is over"))?;
        masked.add_stream(&self.secrets.own, &self.context);
        for site in sealed.keys() {
            let mask = pair_mask(&self.secrets.mask, &self.asked[site].mask, &self.context, &self.name, site);
            let mask = mask.ok_or_else(|| Self::refuse("a key is none that a mask can be made with"))?;
            put_pair(&mask, &self.context, &self.name, site, &mut masked);
        }
        self.shares = shares;
        Ok(masked)
    }

    fn confirm(&mut self, sites: &[String], vouching: &dyn Vouching) -> Result<String, LearnError> {
        let ascending = sites.windows(2).all(|pair| pair[0] < pair[1]);
        if !ascending || !sites.contains(&self.name) || sites.iter().any(|site| !self.shares.contains_key(site)) {
            return Err(Self::refuse("the sum is not over sites that shared their secrets"));
        }
        self.enough(sites.len())?;
        self.over = sites.to_vec();
        Ok(vouching.sign(&over_statement(&self.context, sites)))
    }

    fn reveal(
        &mut self,
        confirmed: &BTreeMap<String, String>,
        vouching: &dyn Vouching,
    ) -> Result<Revealed, LearnError> {
        let statement = over_statement(&self.context, &self.over);
        let signed = |(site, signature): (&String, &String)| {
            self.over.contains(site) && vouching.has_signed(site, &statement, signature)
        };
        if confirmed.len() < threshold(self.sites.len()) || !confirmed.iter().all(signed) {
            return Err(Self::refuse("too few sites signed who is in the sum"));
        }
        let (mut own, mut keys) = (BTreeMap::new(), BTreeMap::new());
        for (site, (key_share, own_share)) in &self.shares {
            match self.over.contains(site) {
                true => own.insert(site.clone(), own_share.clone()),
                false => keys.insert(site.clone(), key_share.clone()),
            };
        }
        self.sums = None;
        Ok(Revealed { own, keys })
    }
}

fn cipher(key: &Zeroizing<[u8; 32]>) -> ChaCha20Poly1305 {
    ChaCha20Poly1305::new(&Key::from(**key))
}

fn sealing<'b>(msg: &'b [u8], context: &'b Digest) -> Sealing<'b, 'b> {
    Sealing { msg, aad: context.as_bytes() }
}

/// How far a round is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Step {
    Keys,
    Shares,
    Sums,
    Confirmations,
    Shown,
    Done,
}

/// What a coordinator has of a round, but the sum.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    context: Digest,
    step: Step,
    keys: BTreeMap<String, RoundKeys>,
    shares: BTreeMap<String, SealedShares>,
    /// Whose masked sums are in the total, by the digest of what they sent.
    summed: BTreeMap<String, Digest>,
    confirmed: BTreeMap<String, String>,
    revealed: BTreeMap<String, Revealed>,
}

/// The sum of a round at its coordinator, which sees nobody's share of it.
#[derive(Debug, Clone, PartialEq)]
pub struct MaskedSum {
    plan: Plan,
    sites: Vec<String>,
    ask: Ask,
    ring: Ring,
    record: Record,
    total: Residues,
}

impl MaskedSum {
    /// Begins with the question; sites answer it with keys.
    pub fn new(plan: &Plan, roster: &Roster, ask: &Ask) -> Self {
        let record = Record {
            context: ask.context(),
            step: Step::Keys,
            keys: BTreeMap::new(),
            shares: BTreeMap::new(),
            summed: BTreeMap::new(),
            confirmed: BTreeMap::new(),
            revealed: BTreeMap::new(),
        };
        let ring = Ring::of(plan, &ask.question);
        let total = Residues::zeros(ring, length_of(plan, &ask.question));
        Self { plan: plan.clone(), sites: roster.sites().to_vec(), ask: ask.clone(), ring, record, total }
    }

    /// The record of the round, to be on disk before [`MaskedSum::turns`] are told: after a crash it goes on with the same sites, which
    /// answer nothing else.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // Writing to memory does not fail.
        let _ = ciborium::into_writer(&self.record, &mut bytes);
        bytes
    }

    /// What sites sent, added up, once in a round: when all of it is there. To be on disk before the record.
    pub fn masked_total(&self) -> Option<&[u8]> {
        (self.record.step == Step::Confirmations).then(|| self.total.bytes())
    }

    /// Reads a record, and the total where it was written; `None` when it is of another question, or damaged.
    pub fn from_bytes(
        bytes: &[u8],
        masked_total: Option<&[u8]>,
        plan: &Plan,
        roster: &Roster,
        ask: &Ask,
    ) -> Option<Self> {
        let record: Record = ciborium::from_reader(bytes).ok()?;
        let mut sum = Self::new(plan, roster, ask);
        if record.context != sum.record.context {
            return None;
        }
        sum.record = record;
        if sum.record.step > Step::Sums {
            sum.total = Residues::read(sum.ring, masked_total?, sum.total.len())?;
        }
        if sum.is_done() {
            sum.unmask().ok()?;
        }
        Some(sum)
    }

    /// Who is told something in this step.
    fn is_told(&self, site: &str) -> bool {
        match self.record.step {
            Step::Keys => self.sites.iter().any(|own| own == site),
            Step::Shares => self.record.keys.contains_key(site),
            Step::Sums => self.record.shares.contains_key(site),
            Step::Confirmations | Step::Shown => self.record.summed.contains_key(site),
            Step::Done => false,
        }
    }

    /// What a site is told in a step after the question.
    fn turn(&self, site: &str, step: Step) -> Option<Turn> {
        let for_it = |shares: &SealedShares| shares.sealed.get(site).cloned();
        match step {
            Step::Shares => Some(Turn::Share(self.record.keys.clone())),
            Step::Sums => {
                let sealed =
                    self.record.shares.iter().filter_map(|(from, shares)| Some((from.clone(), for_it(shares)?)));
                Some(Turn::Mask(sealed.collect()))
            }
            Step::Confirmations => Some(Turn::Confirm(self.over())),
            Step::Shown => Some(Turn::Unmask(self.record.confirmed.clone())),
            Step::Keys | Step::Done => None,
        }
    }

    /// What each site is told in this step; nothing before the question was answered, and nothing when the sum is there.
    pub fn turns(&self) -> BTreeMap<String, Turn> {
        let told = self.sites.iter().filter(|site| self.is_told(site));
        told.filter_map(|site| Some((site.clone(), self.turn(site, self.record.step)?))).collect()
    }

    /// All turns of a site up to this step: what it is told again when it was started again meanwhile.
    pub fn turns_of(&self, site: &str) -> Vec<Turn> {
        let steps = [Step::Shares, Step::Sums, Step::Confirmations, Step::Shown];
        steps.into_iter().filter(|step| *step <= self.record.step).filter_map(|step| self.turn(site, step)).collect()
    }

    /// Whose sums are in the total, sorted.
    pub fn over(&self) -> Vec<String> {
        self.record.summed.keys().cloned().collect()
    }

    /// Whether the sum is there.
    pub fn is_done(&self) -> bool {
        self.record.step == Step::Done
    }

    /// Takes what a site sent in this step.
    ///
    /// # Errors
    /// [`LearnError::Protocol`] when it is not of this step, or the site sent something else before.
    pub fn receive(&mut self, from: &str, bytes: &[u8], signatures: &dyn Signatures) -> Result<(), LearnError> {
        let refuse = |reason| Err(LearnError::Protocol { from: from.to_owned(), reason });
        let (head, numbers) = Head::split(from, bytes, &self.ask)?;
        if !self.is_told(from) {
            return refuse("it is not asked in this step");
        }
        if self.record.step == Step::Sums && head.is_masked() {
            return self.add(from, numbers);
        }
        let message = Message::read(from, bytes, &self.plan, &self.ask)?;
        let context = self.record.context;
        let others = |of: Vec<&String>| of.into_iter().filter(|site| *site != from).cloned().collect::<BTreeSet<_>>();
        let is_new = match (self.record.step, message.payload) {
            (Step::Keys, Payload::Keys(keys)) => {
                if !keys.are_of(from, &context, signatures) {
                    return refuse("its keys are not signed by it");
                }
                keeps(&mut self.record.keys, from, keys)
            }
            (Step::Shares, Payload::Shares(shares)) => {
                let all: BTreeSet<String> = shares.sealed.keys().cloned().collect();
                if all != others(self.record.keys.keys().collect()) {
                    return refuse("its shares are not for the sites that gave keys");
                }
                keeps(&mut self.record.shares, from, shares)
            }
            (Step::Confirmations, Payload::Confirmation(signature)) => {
                if !signatures.has_signed(from, &over_statement(&context, &self.over()), &signature) {
                    return refuse("it did not sign who is in the sum");
                }
                keeps(&mut self.record.confirmed, from, signature)
            }
            (Step::Shown, Payload::Revealed(revealed)) => {
                let place = self.sites.iter().position(|site| site == from).map_or(0, |place| place + 1);
                let is_share = |share: &Vec<u8>| share.len() == SHARE_BYTES && usize::from(share[0]) == place;
                let sound = revealed.own.values().chain(revealed.keys.values()).all(is_share);
                let dropped = self.dropped();
                if !sound || !revealed.own.keys().eq(self.record.summed.keys()) || !revealed.keys.keys().eq(&dropped) {
                    return refuse("its shares are not those that take the masks off");
                }
                keeps(&mut self.record.revealed, from, revealed)
            }
            _ => return refuse("it is of another step"),
        };
        if is_new { Ok(()) } else { refuse("it said something else before") }
    }

    /// Adds masked sums, once. They are long, and are not copied for it.
    fn add(&mut self, from: &str, masked: &[u8]) -> Result<(), LearnError> {
        let refuse = |reason| Err(LearnError::Protocol { from: from.to_owned(), reason });
        let digest = Digest::of(masked);
        match self.record.summed.get(from) {
            Some(before) if *before == digest => Ok(()),
            Some(_) => refuse("it said something else before"),
            None if self.total.add_bytes(masked) => {
                self.record.summed.insert(from.to_owned(), digest);
                Ok(())
            }
            None => refuse("it has another length"),
        }
    }

    /// Who shared secrets, and whose sums never came.
    fn dropped(&self) -> BTreeSet<String> {
        self.record.shares.keys().filter(|site| !self.record.summed.contains_key(*site)).cloned().collect()
    }

    /// Ends the step with the sites that answered in it.
    ///
    /// # Errors
    /// [`LearnError::TooFewSites`]; [`LearnError::Protocol`] when shares do not fit the masks that they are of.
    pub fn close_step(&mut self) -> Result<(), LearnError> {
        let all = self.sites.len();
        let least = needed(&self.plan, all, 0);
        let (left, needed, next) = match self.record.step {
            Step::Keys => (self.record.keys.len(), least, Step::Shares),
            Step::Shares => (self.record.shares.len(), least, Step::Sums),
            Step::Sums => (self.record.summed.len(), least, Step::Confirmations),
            Step::Confirmations => (self.record.confirmed.len(), threshold(all), Step::Shown),
            Step::Shown => (self.record.revealed.len(), threshold(all), Step::Done),
            Step::Done => return Ok(()),
        };
        if left < needed {
            return Err(LearnError::TooFewSites { left, needed, round: self.ask.round });
        }
        if next == Step::Done {
            self.unmask()?;
        }
        self.record.step = next;
        Ok(())
    }

    fn unmask(&mut self) -> Result<(), LearnError> {
        let context = self.record.context;
        let over = self.over();
        let mut total = std::mem::replace(&mut self.total, Residues::zeros(self.ring, 0));
        for site in &over {
            let own = self.recovered(
                site,
                |revealed| &revealed.own,
                |own| commitment(&context, site, own) == self.record.shares[site].commitment,
            )?;
            total.subtract_stream(&own, &context);
        }
        for gone in self.dropped() {
            let keys = &self.record.keys[&gone];
            let is_its = |key: &[u8; 32]| PublicKey::from(&StaticSecret::from(*key)).to_bytes() == keys.mask;
            let secret = StaticSecret::from(*self.recovered(&gone, |revealed| &revealed.keys, is_its)?);
            for site in &over {
                let mask = pair_mask(&secret, &self.record.keys[site].mask, &context, &gone, site);
                let mask = mask.ok_or_else(|| unfit(&gone))?;
                // What the gone site would have put in cancels out what the other one did.
                put_pair(&mask, &context, &gone, site, &mut total);
            }
        }
        self.total = total;
        Ok(())
    }

    /// A secret of a site from the shares of as many others as it takes. Where one of them is wrong and more are there, it is left out.
    fn recovered(
        &self,
        site: &str,
        of: impl Fn(&Revealed) -> &BTreeMap<String, Vec<u8>>,
        is_its: impl Fn(&[u8; 32]) -> bool,
    ) -> Result<Zeroizing<[u8; 32]>, LearnError> {
        let takes = threshold(self.sites.len());
        let shares: Vec<&Vec<u8>> =
            self.record.revealed.values().filter_map(|revealed| of(revealed).get(site)).collect();
        for first in 0..shares.len() {
            let some = (0..takes.min(shares.len())).map(|at| shares[(first + at) % shares.len()].clone());
            let secret = Gf256::combine_bytes(some.collect::<Vec<_>>()).ok().map(Zeroizing::new);
            let secret = secret.and_then(|secret| <[u8; 32]>::try_from(secret.as_slice()).ok()).map(Zeroizing::new);
            if let Some(secret) = secret.filter(|secret| is_its(secret)) {
                return Ok(secret);
            }
        }
        Err(unfit(site))
    }

    /// The sum over [`MaskedSum::over`], once it is there.
    pub(crate) fn sum(&self, ask: &Ask) -> Option<Sums> {
        let is_of_it = self.is_done() && ask.context() == self.record.context;
        is_of_it.then(|| self.total.decode(self.ring))
    }
}

fn unfit(site: &str) -> LearnError {
    LearnError::Protocol { from: site.to_owned(), reason: "its masks do not come off: shares of them are wrong" }
}

/// Keeps what is said first; whether it is that.
fn keeps<T: PartialEq>(kept: &mut BTreeMap<String, T>, from: &str, said: T) -> bool {
    match kept.get(from) {
        Some(before) => *before == said,
        None => {
            kept.insert(from.to_owned(), said);
            true
        }
    }
}
