//! Rounds without a network: a question goes out, sums come back. Nothing here waits, sends or reads a clock, so a simulator
//! or a network drives the same code.
//!
//! [`Site`] answers an [`Ask`] with [`SiteUpdate`]s, the only thing that leaves it. [`Aggregator`]s add up shares.
//! The [`Run`] turns sums into the next question; it sees no site's sums unless the plan says that none are protected.

use std::collections::BTreeMap;
use std::sync::Arc;

use acequia_types::{Digest, Timestamp, digest_named};
use bytes::Bytes;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::LearnError;
use crate::double_masking::{
    MaskedSum, Part, Place, Revealed, RoundKeys, SITES_MAX, SealedShares, Turn, Vouching, needed,
};
use crate::masking::{Residues, Ring, combine, share};
use crate::plan::{Plan, Protection};
use crate::proven::{Measurement, Proofs, Verification, VerifyKey, check_rows};
use crate::sovereignty::{ExitLog, Judged, Leaving, Ledger, Left, SiteRules, Turned, check, leaving};
use crate::sums::{PackedSums, Packing, Sums};
use crate::table::Data;
use crate::tasks::{Margins, Next, Outcome, Posed, Question, State, advance, answer, fits, in_turn, shape, start};

pub(crate) fn out_of_turn() -> LearnError {
    LearnError::Protocol { from: "coordinator".to_owned(), reason: "the question does not belong to the plan" }
}

/// Source of random bytes. The node hands in the operating system's, a simulator a seeded one.
pub trait Entropy {
    /// Fills with random bytes.
    ///
    /// # Errors
    /// [`LearnError::Entropy`] when there are none.
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), LearnError>;
}

/// Random bytes of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), LearnError> {
        getrandom::fill(bytes).map_err(|_| LearnError::Entropy)
    }
}

/// Random bytes that a seed decides, for simulations and tests. No secret is safe with it.
#[derive(Debug, Clone)]
pub struct SeededEntropy {
    seed: u64,
    drawn: u64,
}

impl SeededEntropy {
    /// Starts at a seed.
    pub fn new(seed: u64) -> Self {
        Self { seed, drawn: 0 }
    }
}

impl Entropy for SeededEntropy {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), LearnError> {
        let mut hash = blake3::Hasher::new_derive_key("acequia simulated entropy 1");
        hash.update(&self.seed.to_le_bytes());
        hash.update(&self.drawn.to_le_bytes());
        hash.finalize_xof().fill(bytes);
        self.drawn += 1;
        Ok(())
    }
}

/// A site's secret that its shares follow from, together with the question and the sums: asked again, it says what it said
/// before, also after it was started again. A share of other sums has another mask.
#[derive(Clone)]
pub struct ShareKey(Zeroizing<[u8; 32]>);

impl ShareKey {
    /// A key for one run in one process.
    ///
    /// # Errors
    /// [`LearnError::Entropy`].
    pub fn drawn(entropy: &mut dyn Entropy) -> Result<Self, LearnError> {
        let mut key = Zeroizing::new([0; 32]);
        entropy.fill(&mut *key)?;
        Ok(Self(key))
    }

    /// What a site draws for a question about its rows, in secret: the same each time it is asked. Of other rows it draws anew, or the
    /// difference of two answers would be without noise.
    fn chance(&self, question: &Digest, rows: &Digest) -> Chance {
        let mut hash = blake3::Hasher::new_keyed(&self.0);
        hash.update(b"acequia chance 1").update(question.as_bytes()).update(rows.as_bytes());
        Chance(Zeroizing::new(*hash.finalize().as_bytes()))
    }

    /// A mark under a digest that only who has the key can make.
    pub(crate) fn marked(&self, digest: &Digest) -> Digest {
        let mut hash = blake3::Hasher::new_keyed(&self.0);
        Digest::from_bytes(*hash.update(b"acequia mark 1").update(digest.as_bytes()).finalize().as_bytes())
    }

    /// The seed of a site's mask.
    fn seed(&self, context: &Digest, sums: &Sums) -> [u8; 32] {
        let mut hash = blake3::Hasher::new_keyed(&self.0);
        hash.update(b"acequia share 1").update(context.as_bytes());
        for values in sums.values().chunks(1 << 10) {
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            hash.update(&bytes);
        }
        *hash.finalize().as_bytes()
    }
}

impl From<[u8; 32]> for ShareKey {
    fn from(key: [u8; 32]) -> Self {
        Self(Zeroizing::new(key))
    }
}

impl std::fmt::Debug for ShareKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ShareKey")
    }
}

/// Seed of what a site draws for one question. Who adds up does not matter to it: asked again by another, the site must not draw
/// again, or the mean of its answers would be without noise.
pub(crate) struct Chance(Zeroizing<[u8; 32]>);

impl Chance {
    /// Random numbers that nobody else can guess.
    pub(crate) fn numbers(&self) -> ChaCha20Rng {
        ChaCha20Rng::from_seed(*self.0)
    }
}

/// Who takes part, in the order of names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Roster {
    sites: Vec<String>,
    /// Digest of the signed document that says whose key each name is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    identities: Option<Digest>,
}

impl Roster {
    /// A roster of these sites.
    ///
    /// # Errors
    /// [`LearnError::Plan`] when two have the same name or there is none.
    pub fn new(sites: impl IntoIterator<Item = String>) -> Result<Self, LearnError> {
        let mut sites: Vec<String> = sites.into_iter().collect();
        sites.sort_unstable();
        if sites.is_empty() || sites.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(LearnError::Plan { message: "sites need different names, and one at least".to_owned() });
        }
        Ok(Self { sites, identities: None })
    }

    /// The same roster, bound to the signed document (its digest) that says whose key each name is: masks of a run under
    /// another document do not fit.
    #[must_use]
    pub fn identified_by(self, document: Digest) -> Self {
        Self { identities: Some(document), ..self }
    }

    /// Names, sorted.
    pub fn sites(&self) -> &[String] {
        &self.sites
    }

    /// Names the roster.
    pub fn digest(&self) -> Digest {
        let sites = self.sites.iter().map(|site| ("site", site.as_bytes()));
        let identities = self.identities.as_ref().map(|document| ("identities", document.as_bytes().as_slice()));
        digest_named("acequia roster 1", sites.chain(identities))
    }
}

/// Who adds up in a round of a plan (its digest) without a fixed coordinator, first in line first: a hash decides.
pub fn line(adders: &[String], plan: &Digest, round: u32) -> Vec<String> {
    let round = round.to_le_bytes();
    let mut line = adders.to_vec();
    line.sort_by_cached_key(|site| {
        digest_named(
            "acequia line 1",
            [("plan", plan.as_bytes().as_slice()), ("round", round.as_slice()), ("site", site.as_bytes())],
        )
    });
    line
}

/// First and second in line once somebody took over so often.
fn in_line(adders: &[String], plan: &Digest, ask: &Ask) -> Vec<String> {
    let mut line = line(adders, plan, ask.round);
    let first = ask.attempt as usize % line.len().max(1);
    line.rotate_left(first);
    line.truncate(2);
    line
}

/// What goes out in a round, the same to every site.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ask {
    /// Digest of the run plan.
    pub plan: Digest,
    /// Digest of the roster.
    pub roster: Digest,
    /// From 1.
    pub round: u32,
    /// How often somebody took over in this round; 0 with a fixed coordinator.
    #[serde(default)]
    pub attempt: u32,
    /// What is asked.
    pub question: Posed,
}

impl Ask {
    /// Digest that everything said in the round is bound to. Sites compare it with one another.
    pub fn context(&self) -> Digest {
        digest_named(
            "acequia round 2",
            [
                ("plan", self.plan.as_bytes().as_slice()),
                ("roster", self.roster.as_bytes().as_slice()),
                ("round", self.round.to_le_bytes().as_slice()),
                ("attempt", self.attempt.to_le_bytes().as_slice()),
                ("question", self.question.digest().as_bytes().as_slice()),
            ],
        )
    }
}

/// What a message carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// Sums as they are.
    Plain(PackedSums),
    /// A share: the vector less the stream.
    Masked(Residues),
    /// The other share: what the stream is expanded from.
    Seed([u8; 32]),
    /// A share with a proof, as the VDAF writes it.
    Proven(Vec<u8>),
    /// Keys for double masking.
    Keys(RoundKeys),
    /// Secrets behind the site's masks, in shares for the others.
    Shares(SealedShares),
    /// The site's signature that a sum is over some sites.
    Confirmation(String),
    /// Shares that take masks off.
    Revealed(Revealed),
}

impl Payload {
    fn kind(&self) -> &'static str {
        match self {
            Self::Plain(_) => "plain",
            Self::Masked(_) => MASKED,
            Self::Seed(_) => "seed",
            Self::Proven(_) => "proven",
            Self::Keys(_) => "keys",
            Self::Shares(_) => "shares",
            Self::Confirmation(_) => "confirmation",
            Self::Revealed(_) => "revealed",
        }
    }
}

/// A site's answer on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Who says it.
    pub site: String,
    /// In which round.
    pub round: u32,
    /// Digest of plan, roster, round and question.
    pub context: Digest,
    /// The numbers.
    pub payload: Payload,
}

impl Message {
    /// The message as bytes: a line of JSON, then little-endian numbers, or CBOR (RFC 8949) where it carries none.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.clone().into_bytes()
    }

    /// As [`Message::to_bytes`]. Long lists of numbers are not in memory twice.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        let kind = self.payload.kind();
        let mut head =
            serde_json::json!({ "site": self.site, "round": self.round, "context": self.context, "kind": kind });
        if let Payload::Plain(sums) = &self.payload {
            head["packing"] = serde_json::json!(sums.packing());
        }
        let mut bytes = head.to_string().into_bytes();
        bytes.push(b'\n');
        let in_front_of = |mut numbers: Vec<u8>| {
            numbers.splice(..0, bytes.iter().copied());
            numbers
        };
        match self.payload {
            Payload::Plain(sums) => return in_front_of(sums.into_bytes()),
            Payload::Masked(values) => return in_front_of(values.into_bytes()),
            Payload::Proven(share) => return in_front_of(share),
            Payload::Seed(seed) => bytes.extend_from_slice(&seed),
            Payload::Keys(keys) => write_cbor(&keys, &mut bytes),
            Payload::Shares(shares) => write_cbor(&shares, &mut bytes),
            Payload::Confirmation(signature) => write_cbor(&signature, &mut bytes),
            Payload::Revealed(revealed) => write_cbor(&revealed, &mut bytes),
        }
        bytes
    }

    /// Reads an answer to a question of a plan. What has another length than the question calls for is none.
    ///
    /// # Errors
    /// [`LearnError::Protocol`] when the bytes are no answer to it.
    pub fn from_bytes(from: &str, bytes: &[u8], plan: &Plan, ask: &Ask) -> Result<Self, LearnError> {
        if !fits(plan, &ask.question) {
            let reason = "the question does not follow from the plan";
            return Err(LearnError::Protocol { from: from.to_owned(), reason });
        }
        Self::read(from, bytes, plan, ask)
    }

    /// As [`Message::from_bytes`], of a question that is known to follow from the plan: to look at a long one takes as long as to read an
    /// answer.
    pub(crate) fn read(from: &str, bytes: &[u8], plan: &Plan, ask: &Ask) -> Result<Self, LearnError> {
        let refuse = |reason| LearnError::Protocol { from: from.to_owned(), reason };
        let (head, numbers) = Head::split(from, bytes, ask)?;
        let ring = Ring::of(plan, &ask.question);
        let expected = length_of(plan, &ask.question);
        let wrong = || refuse("it has another length");
        let payload = match head.kind.as_str() {
            "plain" => {
                let read = head.packing.and_then(|packing| PackedSums::read(packing, numbers, expected));
                Payload::Plain(read.ok_or_else(wrong)?)
            }
            MASKED => Payload::Masked(Residues::read(ring, numbers, expected).ok_or_else(wrong)?),
            "seed" => Payload::Seed(numbers.try_into().map_err(|_| wrong())?),
            // Whoever adds up reads it with the proof.
            "proven" if numbers.len() <= Measurement::share_bytes_max(plan, &ask.question)? => {
                Payload::Proven(numbers.to_vec())
            }
            "proven" => return Err(wrong()),
            "keys" => Payload::Keys(read_cbor(numbers).ok_or_else(wrong)?),
            "shares" => Payload::Shares(read_cbor(numbers).ok_or_else(wrong)?),
            "confirmation" => Payload::Confirmation(read_cbor(numbers).ok_or_else(wrong)?),
            "revealed" => Payload::Revealed(read_cbor(numbers).ok_or_else(wrong)?),
            _ => return Err(refuse("its head cannot be read")),
        };
        Ok(Self { site: head.site, round: head.round, context: head.context, payload })
    }
}

/// What a message of masked numbers is called.
const MASKED: &str = "masked";

/// The line in front of a message.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Head {
    site: String,
    round: u32,
    context: Digest,
    kind: String,
    #[serde(default)]
    packing: Option<Packing>,
}

impl Head {
    /// The head of an answer to this question, and what is behind it.
    pub(crate) fn split<'b>(from: &str, bytes: &'b [u8], ask: &Ask) -> Result<(Self, &'b [u8]), LearnError> {
        let refuse = |reason| LearnError::Protocol { from: from.to_owned(), reason };
        let (head, numbers) = split_head(bytes).ok_or_else(|| refuse("it has no head"))?;
        let head: Self = serde_json::from_slice(head).map_err(|_| refuse("its head cannot be read"))?;
        if head.site != from || head.round != ask.round || head.context != ask.context() {
            return Err(refuse("it answers another question, or for somebody else"));
        }
        Ok((head, numbers))
    }

    pub(crate) fn is_masked(&self) -> bool {
        self.kind == MASKED
    }
}

pub(crate) fn write_cbor(value: &impl Serialize, bytes: &mut Vec<u8>) {
    // Writing to memory does not fail.
    let _ = ciborium::into_writer(value, bytes);
}

/// Reads all of the bytes.
pub(crate) fn read_cbor<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let mut rest = bytes;
    let value = ciborium::from_reader(&mut rest).ok()?;
    rest.is_empty().then_some(value)
}

/// A line, and what is behind it.
pub(crate) fn split_head(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().take(1 << 16).position(|byte| *byte == b'\n')?;
    Some((&bytes[..end], &bytes[end + 1..]))
}

/// Numbers that a question calls for.
pub(crate) fn length_of(plan: &Plan, question: &Question) -> usize {
    shape(plan, question).iter().map(|block| block.numbers).sum()
}

/// Proof that the site's rules were checked: only [`Site::answer`] makes one. The gate lets nothing else of a run out.
///
/// ```compile_fail,E0451
/// fn forge(update: acequia_learn::SiteUpdate) -> acequia_learn::SiteUpdate {
///     acequia_learn::SiteUpdate { round: 2, ..update }
/// }
/// ```
/// ```
/// fn read(update: &acequia_learn::SiteUpdate) -> &[u8] {
///     update.bytes()
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteUpdate {
    site: String,
    round: u32,
    to: String,
    digest: Digest,
    bytes: Bytes,
}

impl SiteUpdate {
    fn new(message: Message, to: String) -> Self {
        let (site, round) = (message.site.clone(), message.round);
        let bytes = message.into_bytes();
        let digest = Digest::of(&bytes);
        Self { site, round, to, digest, bytes: bytes.into() }
    }

    /// Who says it.
    pub fn site(&self) -> &str {
        &self.site
    }

    /// In which round.
    pub fn round(&self) -> u32 {
        self.round
    }

    /// Who gets it.
    pub fn to(&self) -> &str {
        &self.to
    }

    /// What leaves; see [`Message::from_bytes`].
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Digest of the bytes.
    pub fn digest(&self) -> Digest {
        self.digest
    }
}

/// Asked with the round before each answer: whether all rows may still be used. Rows are people, who may withdraw while a run
/// lasts.
pub type StillAllowed = Arc<dyn Fn(u32) -> bool + Send + Sync>;

/// Why sites among themselves prove nothing.
pub(crate) const NO_PROOFS_AMONG_SITES: &str =
    "protection proven needs two aggregators that are no sites: a coordinator runs it";

/// Shares of the sums that answer a question, over these rows (their digest).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Drawn {
    context: Digest,
    rows: Digest,
    shares: [Vec<u8>; 2],
}

/// A site in a run.
pub struct Site {
    name: String,
    still_allowed: Option<StillAllowed>,
    plan: Plan,
    digest: Digest,
    roster: Roster,
    rules: SiteRules,
    tables: Vec<Data>,
    /// What the rules look at of them.
    judged: Judged,
    /// Digest over the rows of the tables.
    held: Digest,
    margins: Margins,
    log: ExitLog,
    stopped: bool,
    share_key: ShareKey,
    /// Who adds up in turns, where nobody coordinates.
    adders: Option<Vec<String>>,
    /// For each round the question that was answered, as it was asked when somebody had taken over so often.
    answered: BTreeMap<u32, (u32, Digest)>,
    /// Digests of what left in answer to a question.
    said: BTreeMap<Digest, Vec<Digest>>,
    /// The last answer and what it answers: asked again at once, it is not computed again.
    latest: Option<(Digest, Vec<SiteUpdate>)>,
    /// The last sums and what they answer, where somebody may take over: another mask is no reason to sum again.
    summed: Option<(Digest, PackedSums)>,
    /// Shares that were drawn for a question, where they cannot be made again.
    drawn: Option<Drawn>,
    /// Signs for this site, where masks are between sites.
    vouching: Option<Arc<dyn Vouching>>,
    /// This site's part in the masks of the round.
    part: Option<Part>,
    /// What this site was told in each step of a round, and what it sent.
    turned: Vec<(Digest, Turned, Vec<Digest>)>,
}

impl Site {
    /// Joins a run with the rows of one table, or of several that stay strata of their own. Its shares follow from a key.
    ///
    /// # Errors
    /// [`LearnError::Withheld`] when the cohort differs too little from an earlier one of the ledger.
    pub fn join(
        name: &str,
        plan: &Plan,
        roster: &Roster,
        tables: Vec<Data>,
        rules: SiteRules,
        ledger: &mut Ledger,
        share_key: ShareKey,
    ) -> Result<Self, LearnError> {
        ledger.enter(name, &tables, rules.minimum_difference)?;
        ledger.spend(name, plan, rules.budget)?;
        Ok(Self {
            name: name.to_owned(),
            still_allowed: None,
            digest: plan.digest(),
            plan: plan.clone(),
            roster: roster.clone(),
            rules,
            held: Data::held(&tables),
            judged: Judged::new(&tables),
            tables,
            margins: Margins::default(),
            log: ExitLog::default(),
            stopped: false,
            share_key,
            adders: None,
            answered: BTreeMap::new(),
            said: BTreeMap::new(),
            latest: None,
            summed: None,
            drawn: None,
            vouching: None,
            part: None,
            turned: Vec::new(),
        })
    }

    /// The same site after what its log says left before: no round of this run that was answered is answered with another
    /// question, or with other rows, and the log goes on.
    #[must_use]
    pub fn resumed(mut self, log: ExitLog) -> Self {
        for entry in log.entries().iter().filter(|entry| entry.left.plan == self.digest) {
            if let Some(turned) = &entry.left.turned {
                self.turned.push((entry.left.context, turned.clone(), entry.left.sent.clone()));
                continue;
            }
            self.answered.entry(entry.left.round).or_insert((entry.left.attempt, entry.left.context));
            self.said.insert(entry.left.context, entry.left.sent.clone());
        }
        self.log = log;
        self
    }

    /// What must be on disk before the last answer leaves: shares with proofs are drawn, and after a restart they could not be made
    /// again. `None` where all follows from the site's key.
    pub fn drawn(&self) -> Option<Vec<u8>> {
        let drawn = self.drawn.as_ref()?;
        let mut bytes = Vec::new();
        write_cbor(drawn, &mut bytes);
        Some(bytes)
    }

    /// The same site with what [`Site::drawn`] gave before a restart. What cannot be read is not believed, and drawn again.
    #[must_use]
    pub fn having_drawn(self, bytes: &[u8]) -> Self {
        Self { drawn: read_cbor(bytes), ..self }
    }

    /// Puts on record something else that leaves for this run.
    pub fn note(&mut self, left: Left) {
        self.log.record(left);
    }

    /// The same site, which asks before each answer.
    #[must_use]
    pub fn asking(self, still_allowed: StillAllowed) -> Self {
        Self { still_allowed: Some(still_allowed), ..self }
    }

    /// The same site in a run without a fixed coordinator: these sites add up in turns.
    #[must_use]
    pub fn in_turns(self, adders: Vec<String>) -> Self {
        Self { adders: Some(adders), ..self }
    }

    /// The same site, which signs what it says to other sites by way of the coordinator.
    #[must_use]
    pub fn vouching(self, vouching: Arc<dyn Vouching>) -> Self {
        Self { vouching: Some(vouching), ..self }
    }

    /// Who adds up in turns; nobody where there is a coordinator.
    pub(crate) fn adders(&self) -> Option<&[String]> {
        self.adders.as_deref()
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Everything that left.
    pub fn log(&self) -> &ExitLog {
        &self.log
    }

    /// Answers nothing any more, at once.
    pub fn stop(&mut self) {
        self.stopped = true;
    }

    fn rows(&self) -> u64 {
        self.tables.iter().map(|table| table.rows as u64).sum()
    }

    /// What would leave, for a person to decide.
    ///
    /// # Errors
    /// [`LearnError::Protocol`] when the question is not of this run.
    pub fn look(&self, ask: &Ask) -> Result<Leaving, LearnError> {
        self.belongs(ask)?;
        Ok(leaving(&self.plan, &ask.question, ask.round, self.rows(), self.roster.sites.len(), self.adders()))
    }

    /// Whether the site's rules would let the answer out, as far as they do not depend on the round.
    ///
    /// # Errors
    /// [`LearnError::Withheld`] or [`LearnError::Few`] with the rule; [`LearnError::Protocol`] when the question is not of this run.
    pub fn would_answer(&mut self, ask: &Ask) -> Result<(), LearnError> {
        self.belongs(ask)?;
        let sites = self.roster.sites.len();
        check(&self.name, &self.plan, &self.rules, (&self.tables, &mut self.judged), sites, &ask.question)
    }

    fn belongs(&self, ask: &Ask) -> Result<(), LearnError> {
        let refuse = |reason| Err(LearnError::Protocol { from: "the coordinator".to_owned(), reason });
        if ask.plan != self.digest {
            return refuse("it is about another plan");
        }
        if ask.roster != self.roster.digest() {
            return refuse("it is about another roster");
        }
        if !fits(&self.plan, &ask.question) || !in_turn(&self.plan, &ask.question, ask.round) {
            return refuse("the question does not follow from the plan");
        }
        Ok(())
    }

    /// Answers a question. The same question again gets the same answer; another one in the same round gets none, for the
    /// difference of two answers could be somebody's data.
    ///
    /// # Errors
    /// [`LearnError::Protocol`], [`LearnError::Expired`], [`LearnError::Withdrawn`] or [`LearnError::Withheld`] when it does
    /// not answer; [`LearnError::Range`] when a sum does not fit.
    pub fn answer(&mut self, ask: &Ask, now: Timestamp) -> Result<Vec<SiteUpdate>, LearnError> {
        if self.stopped {
            return Err(LearnError::Withheld { site: self.name.clone(), reason: "it was stopped".to_owned() });
        }
        self.belongs(ask)?;
        // Not only before something new is computed: what was computed with her does not leave any more either.
        if let Some(still_allowed) = &self.still_allowed
            && !still_allowed(ask.round)
        {
            self.stopped = true;
            return Err(LearnError::Withdrawn { site: self.name.clone() });
        }
        let context = ask.context();
        let asked = Ask { attempt: 0, ..ask.clone() }.context();
        let other =
            |(attempt, answered): &(u32, Digest)| Ask { attempt: *attempt, ..ask.clone() }.context() != *answered;
        if self.answered.get(&ask.round).is_some_and(other) {
            return Err(LearnError::Protocol {
                from: "the coordinator".to_owned(),
                reason: "another question was answered in this round",
            });
        }
        match &self.latest {
            Some((answered, updates)) if *answered == context => return Ok(updates.clone()),
            // Answers may be long; the next one takes their place in memory.
            _ => self.latest = None,
        }
        self.plan.valid_on(now.day())?;
        let sites = self.roster.sites.len();
        check(&self.name, &self.plan, &self.rules, (&self.tables, &mut self.judged), sites, &ask.question)?;
        let sums = match self.summed.take() {
            Some((question, sums)) if question == asked => Sums::from_values(sums.values()),
            _ => {
                let chance = self.share_key.chance(&asked, &self.held);
                answer(&self.plan, &self.tables, &ask.question, &mut self.margins, chance)?
            }
        };
        if self.adders.is_some() {
            self.summed = Some((asked, PackedSums::of(sums.values())));
        }
        let ring = Ring::of(&self.plan, &ask.question);
        let to = match &self.adders {
            Some(adders) => in_line(adders, &self.digest, ask),
            None if self.plan.aggregation.protection.is_shared() => self.plan.aggregation.aggregators.clone(),
            None => vec!["coordinator".to_owned()],
        };
        let payloads = match self.plan.aggregation.protection {
            Protection::None => {
                let packed = PackedSums::of(sums.values());
                // Long sums are not in memory twice while they are sent.
                drop(sums);
                vec![Payload::Plain(packed)]
            }
            Protection::DoubleMasking if self.adders.is_none() => {
                let seed = Zeroizing::new(self.share_key.seed(&context, &sums));
                let vouching = self.vouching.as_deref().ok_or(LearnError::Plan {
                    message: "double masking needs sites that sign; run it over the network".to_owned(),
                })?;
                if sites > SITES_MAX {
                    let message = format!("double masking is for at most {SITES_MAX} sites");
                    return Err(LearnError::Plan { message });
                }
                let needed = needed(&self.plan, sites, self.rules.minimum_sites);
                let question = ask.question.digest();
                let place = Place { name: &self.name, roster: &self.roster, context, question, ring, needed };
                let part = Part::begin(&place, sums, &seed, vouching)?;
                let keys = part.keys();
                self.part = Some(part);
                vec![Payload::Keys(keys)]
            }
            Protection::Proven if self.adders.is_none() => {
                self.drawn_for(&context, &ask.question, &sums)?.into_iter().map(Payload::Proven).collect()
            }
            Protection::Proven => {
                return Err(LearnError::Plan { message: NO_PROOFS_AMONG_SITES.to_owned() });
            }
            Protection::TwoAggregators | Protection::DoubleMasking => {
                let seed = self.share_key.seed(&context, &sums);
                let shares = share(ring, sums, &context, sites, seed)?;
                vec![Payload::Masked(shares.masked), Payload::Seed(shares.seed)]
            }
        };
        let updates: Vec<SiteUpdate> = to
            .into_iter()
            .zip(payloads)
            .map(|(to, payload)| {
                let message = Message { site: self.name.clone(), round: ask.round, context, payload };
                SiteUpdate::new(message, to)
            })
            .collect();
        let words = leaving(&self.plan, &ask.question, ask.round, self.rows(), sites, self.adders()).words;
        let words = match self.part.as_ref().is_some_and(|part| part.context() == context) {
            true => format!("Public keys for the masks of this round. What follows, step by step: {words}"),
            false => words,
        };
        let sent: Vec<Digest> = updates.iter().map(|update| update.digest).collect();
        match self.said.get(&context) {
            Some(before) if *before != sent => {
                let reason = "its rows changed since it answered this round".to_owned();
                return Err(LearnError::Withheld { site: self.name.clone(), reason });
            }
            Some(_) => {}
            None => {
                self.said.insert(context, sent.clone());
                self.log.record(Left {
                    at: now,
                    plan: self.digest,
                    context,
                    round: ask.round,
                    attempt: ask.attempt,
                    to: updates.iter().map(|update| update.to.clone()).collect(),
                    words,
                    sent,
                    turned: None,
                });
            }
        }
        self.answered.entry(ask.round).or_insert((ask.attempt, context));
        self.latest = Some((context, updates.clone()));
        Ok(updates)
    }

    /// Shares with proofs. They are drawn once for a question, for two sharings of one sum do not fit one another.
    fn drawn_for(&mut self, context: &Digest, question: &Question, sums: &Sums) -> Result<[Vec<u8>; 2], LearnError> {
        if let Some(drawn) = &self.drawn
            && (drawn.context, drawn.rows) == (*context, self.held)
        {
            return Ok(drawn.shares.clone());
        }
        check_rows(&self.plan, &self.tables)?;
        let shares = Measurement::of(&self.plan, question)?.shares(sums, context, &self.name)?;
        self.drawn = Some(Drawn { context: *context, rows: self.held, shares: shares.clone() });
        Ok(shares)
    }

    /// Takes a turn of double masking in the round of a question (its digest) that was answered with keys. `None` where something before
    /// it is missing, since this site was started again meanwhile: the question and all turns up to this one are to be told again.
    /// The same turn again gets the same answer, and another one in the same step none; that holds after a restart too.
    ///
    /// # Errors
    /// [`LearnError::Protocol`], [`LearnError::Withdrawn`] or [`LearnError::Withheld`] when it does not answer; [`LearnError::Range`] when a
    /// sum does not fit.
    pub fn turn(&mut self, context: &Digest, turn: &Turn, now: Timestamp) -> Result<Option<SiteUpdate>, LearnError> {
        let refuse = |reason| Err(LearnError::Protocol { from: "the coordinator".to_owned(), reason });
        if self.stopped {
            return Err(LearnError::Withheld { site: self.name.clone(), reason: "it was stopped".to_owned() });
        }
        let here = self.answered.iter().find(|(_, (_, answered))| answered == context);
        let Some((round, _)) = here.map(|(round, answered)| (*round, *answered)) else {
            return refuse("the question of it was not answered here");
        };
        if let Some(still_allowed) = &self.still_allowed
            && !still_allowed(round)
        {
            self.stopped = true;
            return Err(LearnError::Withdrawn { site: self.name.clone() });
        }
        let (Some(part), Some(vouching)) = (&mut self.part, &self.vouching) else { return Ok(None) };
        if part.context() != *context {
            return Ok(None);
        }
        let turned = turn.turned(part.question());
        let before = self.turned.iter().find(|(of, before, _)| of == context && before.step == turned.step);
        if before.is_some_and(|(_, before, _)| *before != turned) {
            return refuse("something else was told in this step");
        }
        let before = before.map(|(_, _, sent)| sent.clone());
        if before.is_none() {
            may_be_over(&turned, self.turned.iter().map(|(_, before, _)| before))?;
        }
        let Some(payload) = part.take(turn, vouching.as_ref())? else { return Ok(None) };
        if matches!(turn, Turn::Unmask(_)) {
            // Asked once more, it begins once more: its part of the round is over.
            self.latest = None;
        }
        let message = Message { site: self.name.clone(), round, context: *context, payload };
        let update = SiteUpdate::new(message, "coordinator".to_owned());
        let sent = vec![update.digest];
        match before {
            Some(before) if before != sent => {
                let reason = "its rows changed since it answered this round".to_owned();
                return Err(LearnError::Withheld { site: self.name.clone(), reason });
            }
            Some(_) => {}
            None => {
                self.turned.push((*context, turned.clone(), sent.clone()));
                self.log.record(Left {
                    at: now,
                    plan: self.digest,
                    context: *context,
                    round,
                    attempt: 0,
                    to: vec!["coordinator".to_owned()],
                    words: turn.words(self.roster.sites.len()),
                    sent,
                    turned: Some(turned),
                });
            }
        }
        Ok(Some(update))
    }
}

/// Two sums of one question over sets of sites that differ give their difference away, whatever the rounds.
///
/// # Errors
/// [`LearnError::Protocol`] when a site comes back that an earlier sum of the run was without, or the same question was summed over
/// others.
fn may_be_over<'t>(turned: &Turned, before: impl Iterator<Item = &'t Turned>) -> Result<(), LearnError> {
    let refuse = |reason| Err(LearnError::Protocol { from: "the coordinator".to_owned(), reason });
    if turned.over.is_empty() {
        return Ok(());
    }
    for before in before.filter(|before| !before.over.is_empty()) {
        if turned.over.iter().any(|site| !before.over.contains(site)) {
            return refuse("a site that was left out stays out");
        }
        if before.question == turned.question && before.over != turned.over {
            return refuse("the same question was summed over other sites");
        }
    }
    Ok(())
}

/// A total of one aggregator over named sites. Half of the sum: noise by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartTotal {
    /// In which round.
    pub round: u32,
    /// Digest of plan, roster, round and question.
    pub context: Digest,
    /// Whose shares are in it, sorted.
    pub sites: Vec<String>,
    values: Residues,
}

impl PartTotal {
    /// As bytes: a line of JSON, then little-endian numbers, as long as those of a share.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.clone().into_bytes()
    }

    /// As [`PartTotal::to_bytes`]. Long lists of numbers are not in memory twice.
    pub fn into_bytes(self) -> Vec<u8> {
        let head = serde_json::json!({ "round": self.round, "context": self.context, "sites": self.sites });
        let mut bytes = self.values.into_bytes();
        bytes.splice(..0, format!("{head}\n").into_bytes());
        bytes
    }

    /// Reads half of a sum over the answers to a question of a plan.
    ///
    /// # Errors
    /// [`LearnError::Protocol`] when the bytes are none.
    pub fn from_bytes(from: &str, bytes: &[u8], plan: &Plan, ask: &Ask) -> Result<Self, LearnError> {
        if !fits(plan, &ask.question) {
            return Err(LearnError::Protocol { from: from.to_owned(), reason: "it answers another question" });
        }
        Self::of_own(from, bytes.to_vec(), 0, plan, ask)
    }

    /// As [`PartTotal::from_bytes`], for whoever asked the question and knows that it follows from the plan; of the bytes from `skip` on.
    ///
    /// # Errors
    /// As of [`PartTotal::from_bytes`].
    pub fn of_own(from: &str, bytes: Vec<u8>, skip: usize, plan: &Plan, ask: &Ask) -> Result<Self, LearnError> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Head {
            round: u32,
            context: Digest,
            sites: Vec<String>,
        }
        let refuse = |reason| LearnError::Protocol { from: from.to_owned(), reason };
        let (head, numbers) = bytes.get(skip..).and_then(split_head).ok_or_else(|| refuse("it has no head"))?;
        let head: Head = serde_json::from_slice(head).map_err(|_| refuse("its head cannot be read"))?;
        if head.round != ask.round || head.context != ask.context() {
            return Err(refuse("it answers another question"));
        }
        let skip = bytes.len() - numbers.len();
        let values = Residues::of_own(Ring::of(plan, &ask.question), bytes, skip, length_of(plan, &ask.question));
        let values = values.ok_or_else(|| refuse("it has another length"))?;
        Ok(Self { round: head.round, context: head.context, sites: head.sites, values })
    }
}

/// One of the two organisations that add up shares. It enforces the plan's smallest number of sites by itself.
pub struct Aggregator {
    plan: Plan,
    digest: Digest,
    roster: Roster,
    asked: Option<Ask>,
    /// `None` once a share is in the sum: it is long, and not needed any more.
    shares: BTreeMap<String, Option<Payload>>,
    closed: Option<PartTotal>,
    /// Whether it is the first (0) or the second (1) of the plan, and what it draws its questions to proofs from.
    verifies: Option<(usize, VerifyKey)>,
    proofs: Option<Proofs>,
}

impl Aggregator {
    /// An aggregator of a run.
    pub fn new(plan: &Plan, roster: &Roster) -> Self {
        Self {
            plan: plan.clone(),
            digest: plan.digest(),
            roster: roster.clone(),
            asked: None,
            shares: BTreeMap::new(),
            closed: None,
            verifies: None,
            proofs: None,
        }
    }

    /// Has agreed with the other aggregator on a key, as the first (0) or the second (1) of the plan. Counts for rounds that are opened
    /// later; needed where shares come with proofs.
    pub fn verifies(&mut self, own: usize, key: VerifyKey) {
        self.verifies = Some((own, key));
    }

    /// Looks at the proofs of these sites. What comes out is for the other aggregator.
    ///
    /// # Errors
    /// [`LearnError::Protocol`] when a share is not here, or nothing is to be proven.
    pub fn verify(&mut self, sites: &[String]) -> Result<Verification, LearnError> {
        let refuse = |reason| LearnError::Protocol { from: "the coordinator".to_owned(), reason };
        let ask = self.asked.as_ref().ok_or_else(|| refuse("no round is open"))?;
        let proofs = match self.proofs.take() {
            Some(proofs) => proofs,
            None => {
                let (own, key) = self.verifies.clone().ok_or_else(|| refuse("there is nothing to prove"))?;
                Proofs::new(Measurement::of(&self.plan, &ask.question)?, key, own, ask.context())
            }
        };
        let proofs = self.proofs.insert(proofs);
        for site in sites {
            match self.shares.get(site) {
                Some(Some(Payload::Proven(share))) => proofs.look(site, share),
                _ => return Err(refuse("a site is named whose share is not here")),
            }
        }
        Ok(proofs.said().clone())
    }

    /// Decides about the proofs that were looked at, with what the other aggregator found. Sites whose proofs do not hold; no sum is
    /// closed over them.
    ///
    /// # Errors
    /// [`LearnError::Protocol`] when it is about another round.
    pub fn settle(&mut self, other: &Verification) -> Result<Vec<String>, LearnError> {
        let refuse = |reason| LearnError::Protocol { from: "an aggregator".to_owned(), reason };
        let proofs = self.proofs.as_mut().ok_or_else(|| refuse("no proof was looked at"))?;
        if other.context != proofs.said().context {
            return Err(refuse("it is about proofs of another round"));
        }
        // A word that leaves a site out says nothing against it.
        if !proofs.are_looked_at_in(other) {
            return Err(refuse("it is not about all proofs that were looked at here"));
        }
        Ok(proofs.settle(other))
    }

    /// Takes the question of a round, as the sites got it.
    ///
    /// # Errors
    /// [`LearnError::Protocol`] when it is of another run or changes the question of a round.
    pub fn open(&mut self, ask: &Ask) -> Result<(), LearnError> {
        let refuse = |reason| Err(LearnError::Protocol { from: "the coordinator".to_owned(), reason });
        if ask.plan != self.digest || ask.roster != self.roster.digest() || !fits(&self.plan, &ask.question) {
            return refuse("it is about another run");
        }
        if let Some(asked) = &self.asked {
            if asked == ask {
                return Ok(());
            }
            if ask.round <= asked.round {
                return refuse("a round is asked twice with different questions");
            }
        }
        self.asked = Some(ask.clone());
        self.shares.clear();
        self.closed = None;
        self.proofs = None;
        Ok(())
    }

    /// Takes a share of a site, as it was sent.
    ///
    /// # Errors
    /// [`LearnError::Protocol`] when it is not of this round, or is sent twice with different content.
    pub fn receive(&mut self, from: &str, bytes: &[u8]) -> Result<(), LearnError> {
        self.receive_own(from, bytes.to_vec(), 0)
    }

    /// As [`Aggregator::receive`], of the bytes from `skip` on, which are kept: shares are long.
    ///
    /// # Errors
    /// As of [`Aggregator::receive`].
    pub fn receive_own(&mut self, from: &str, bytes: Vec<u8>, skip: usize) -> Result<(), LearnError> {
        let refuse = |reason| LearnError::Protocol { from: from.to_owned(), reason };
        let ask = self.asked.as_ref().ok_or_else(|| refuse("no round is open"))?;
        if !self.roster.sites.iter().any(|site| site == from) {
            return Err(refuse("the site is not in the roster"));
        }
        let message = bytes.get(skip..).ok_or_else(|| refuse("it has no head"))?;
        let (head, numbers) = Head::split(from, message, ask)?;
        if !head.is_masked() {
            let message = Message::read(from, message, &self.plan, ask)?;
            return self.take(message);
        }
        let (skip, ring) = (bytes.len() - numbers.len(), Ring::of(&self.plan, &ask.question));
        let values = Residues::of_own(ring, bytes, skip, length_of(&self.plan, &ask.question));
        let payload = Payload::Masked(values.ok_or_else(|| refuse("it has another length"))?);
        self.take(Message { site: head.site, round: head.round, context: head.context, payload })
    }

    /// Takes a share that was read for the question of this round.
    pub(crate) fn take(&mut self, message: Message) -> Result<(), LearnError> {
        let refuse = |reason| Err(LearnError::Protocol { from: message.site.clone(), reason });
        let is_proven = self.plan.aggregation.protection == Protection::Proven;
        let is_share = match message.payload {
            Payload::Masked(_) | Payload::Seed(_) => !is_proven,
            Payload::Proven(_) => is_proven,
            _ => false,
        };
        if !is_share {
            return refuse("it is no share");
        }
        match self.shares.get(&message.site) {
            Some(Some(before)) if *before != message.payload => refuse("a second, different share"),
            Some(_) => Ok(()),
            None => {
                self.shares.insert(message.site, Some(message.payload));
                Ok(())
            }
        }
    }

    /// Whose shares are here.
    pub fn present(&self) -> Vec<String> {
        self.shares.keys().cloned().collect()
    }

    /// Adds up the shares of these sites, once per round. A second set of sites in the same round is refused: the
    /// difference of the two totals would be somebody's data.
    ///
    /// # Errors
    /// [`LearnError::TooFewSites`] or [`LearnError::Protocol`].
    pub fn close(&mut self, sites: &[String]) -> Result<PartTotal, LearnError> {
        let refuse = |reason| Err(LearnError::Protocol { from: "the coordinator".to_owned(), reason });
        let Some(ask) = &self.asked else { return refuse("no round is open") };
        let mut sites = sites.to_vec();
        sites.sort_unstable();
        sites.dedup();
        if let Some(total) = &self.closed {
            return if total.sites == sites {
                Ok(total.clone())
            } else {
                refuse("the round was closed with other sites")
            };
        }
        let needed = self.plan.privacy.minimum_sites;
        if sites.len() < needed {
            return Err(LearnError::TooFewSites { left: sites.len(), needed, round: ask.round });
        }
        if sites.iter().any(|site| !self.shares.contains_key(site)) {
            return refuse("a site is named whose share is not here");
        }
        let context = ask.context();
        let ring = Ring::of(&self.plan, &ask.question);
        if self.plan.aggregation.protection == Protection::Proven {
            let values = self.proofs.as_ref().and_then(|proofs| proofs.add_up(&sites));
            let Some(values) = values else { return refuse("a site is named whose share is not proven") };
            let total = PartTotal { round: ask.round, context, sites, values: Residues::wide(&values) };
            self.closed = Some(total.clone());
            return Ok(total);
        }
        let length = length_of(&self.plan, &ask.question);
        let mut values = Residues::zeros(ring, length);
        for site in &sites {
            match &self.shares[site] {
                Some(Payload::Masked(masked)) => values.add(masked),
                Some(Payload::Seed(seed)) => values.add_stream(seed, &context),
                _ => return refuse("a share is not masked"),
            }
        }
        self.shares.values_mut().for_each(|share| *share = None);
        let total = PartTotal { round: ask.round, context, sites, values };
        self.closed = Some(total.clone());
        Ok(total)
    }
}

/// A run seen from the coordinator: which question is asked, and what the sums lead to. All of it can be handed to another
/// coordinator with [`Run::state`] and [`Run::resume`].
#[derive(Debug, Clone)]
pub struct Run {
    plan: Plan,
    digest: Digest,
    roster: Roster,
    round: u32,
    state: State,
    received: BTreeMap<String, PackedSums>,
}

/// Where a run stands after a round.
#[derive(Debug, Clone, PartialEq)]
pub enum Progress {
    /// Another round.
    Round(u32),
    /// The result.
    Done(Box<Outcome>),
}

impl Run {
    /// Begins.
    pub fn new(plan: &Plan, roster: &Roster) -> Self {
        Self::resume(plan, roster, 1, start(plan))
    }

    /// Goes on where another coordinator stopped.
    pub fn resume(plan: &Plan, roster: &Roster, round: u32, state: State) -> Self {
        let (digest, roster) = (plan.digest(), roster.clone());
        Self { plan: plan.clone(), digest, roster, round, state, received: BTreeMap::new() }
    }

    /// Which round.
    pub fn round(&self) -> u32 {
        self.round
    }

    /// All that a successor needs.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The question of this round.
    pub fn ask(&self) -> Ask {
        Ask {
            plan: self.digest,
            roster: self.roster.digest(),
            round: self.round,
            attempt: 0,
            question: self.state.question.clone(),
        }
    }

    /// Numbers of an answer to the question that is asked.
    pub(crate) fn length(&self) -> usize {
        length_of(&self.plan, &self.state.question)
    }

    /// Takes the unprotected sums of a site, as they were sent.
    ///
    /// # Errors
    /// [`LearnError::Protocol`] when they are not of this round, or the plan wants them masked.
    pub fn receive(&mut self, from: &str, bytes: &[u8]) -> Result<(), LearnError> {
        let refuse = |reason| Err(LearnError::Protocol { from: from.to_owned(), reason });
        if !self.roster.sites.iter().any(|site| site == from) {
            return refuse("the site is not in the roster");
        }
        let message = Message::read(from, bytes, &self.plan, &self.ask())?;
        match message.payload {
            Payload::Plain(values) if self.plan.aggregation.protection == Protection::None => {
                match self.received.get(from) {
                    Some(before) if *before != values => refuse("a second, different answer"),
                    _ => {
                        self.received.insert(message.site, values);
                        Ok(())
                    }
                }
            }
            _ => refuse("it is not protected as the plan says"),
        }
    }

    /// Sites that have not answered yet.
    pub fn missing(&self) -> Vec<String> {
        self.roster.sites.iter().filter(|site| !self.received.contains_key(*site)).cloned().collect()
    }

    /// Ends the round with the sites that answered.
    ///
    /// # Errors
    /// [`LearnError::TooFewSites`], or what the estimator finds.
    pub fn close(&mut self) -> Result<Progress, LearnError> {
        let mut total = Sums::zeros(self.length());
        let received = std::mem::take(&mut self.received);
        self.enough(received.len())?;
        let sites: Vec<String> = received.keys().cloned().collect();
        received.values().for_each(|sums| total.merge(sums));
        self.go_on(total.checked()?, &sites)
    }

    /// Ends the round with the totals of both aggregators.
    ///
    /// # Errors
    /// [`LearnError::Protocol`] when the totals are not of the same sites and question, and as [`Run::close`].
    pub fn close_masked(&mut self, one: &PartTotal, other: &PartTotal) -> Result<Progress, LearnError> {
        let context = self.ask().context();
        let same = one.context == context && other.context == context && one.sites == other.sites;
        if !same || one.values.len() != self.length() || other.values.len() != self.length() {
            return Err(LearnError::Protocol {
                from: "an aggregator".to_owned(),
                reason: "the two totals are not of one round",
            });
        }
        self.enough(one.sites.len())?;
        if self.plan.aggregation.protection == Protection::Proven {
            let measurement = Measurement::of(&self.plan, &self.state.question)?;
            return self.go_on(measurement.combine(&one.values, &other.values, one.sites.len())?, &one.sites);
        }
        let ring = Ring::of(&self.plan, &self.state.question);
        self.go_on(combine(ring, &one.values, &other.values), &one.sites)
    }

    /// Ends the round with a sum whose masks came off.
    ///
    /// # Errors
    /// [`LearnError::Protocol`] when it is not of this round or not done, and as [`Run::close`].
    pub fn close_summed(&mut self, sum: &MaskedSum) -> Result<Progress, LearnError> {
        let values = sum.sum(&self.ask()).ok_or(LearnError::Protocol {
            from: "the coordinator".to_owned(),
            reason: "the sum is not of this round",
        })?;
        let over = sum.over();
        self.enough(over.len())?;
        self.go_on(values, &over)
    }

    /// Two halves as one sum, without going on.
    pub(crate) fn combine(&self, one: &PartTotal, other: &PartTotal) -> Result<Vec<i128>, LearnError> {
        if one.values.len() != self.length() || other.values.len() != self.length() {
            return Err(LearnError::Protocol {
                from: "an aggregator".to_owned(),
                reason: "the two totals are not of one round",
            });
        }
        let ring = Ring::of(&self.plan, &self.state.question);
        Ok(combine(ring, &one.values, &other.values).into_values())
    }

    /// Goes on from a sum of [`Run::length`] that others added up.
    pub(crate) fn adopt(&mut self, sums: &PackedSums, sites: &[String]) -> Result<Progress, LearnError> {
        self.go_on(Sums::from_values(sums.values()), sites)
    }

    fn enough(&self, left: usize) -> Result<(), LearnError> {
        let needed = self.plan.privacy.minimum_sites;
        if left < needed { Err(LearnError::TooFewSites { left, needed, round: self.round }) } else { Ok(()) }
    }

    fn go_on(&mut self, sums: Sums, sites: &[String]) -> Result<Progress, LearnError> {
        match advance(&self.plan, &self.state, sums, sites)? {
            Next::Ask(state) => {
                self.round += 1;
                self.state = *state;
                Ok(Progress::Round(self.round))
            }
            Next::Done(outcome) => Ok(Progress::Done(outcome)),
        }
    }
}
