//! A run without a fixed coordinator. Every site has the same [`Run`] and finds the next question by itself from the sum of the
//! round; somebody only has to add up. Who does so changes from round to round, in an order that a hash of the plan decides,
//! and the next in line takes over when nothing happens.
//!
//! Which sites are in a sum is agreed on like a value in Paxos (Lamport 1998): a share is a promise and carries what was
//! accepted before, a majority must accept a set before any half of its sum is shown, and who takes over proposes a set that
//! may have been accepted again. So there are never two sums over different sites in one round, whoever fails, and the
//! difference of two sums is never somebody's data. Where a plan waits for sites that are gone, the set is always that of all.
//!
//! Two cases stop a run instead, where the plan leaves sites out, and it is started again without the site that died for good:
//! whoever adds up dies after a majority accepted a set with it in, and before the sum is out, for its rows cannot be left out
//! safely any more; or so many sites were left out before that no majority of the roster is left. Under losses and delays of
//! several ticks one in four deaths ends so. A site that comes back is no death: it has its [`Promise`] on disk.
//!
//! With masks, the first in line gets one share and the second the other; who takes over gets new shares with new masks. Every
//! site sees every sum, so no masked sum is over fewer than three sites: of two, each would take its own away.
//!
//! Nothing here sends, waits or writes. A driver puts [`Peer::promise`] and, in a new round, [`Peer::standing`] and
//! [`Peer::latest`] on disk before it sends what a call returned, hands envelopes to their own site back to it, and says
//! shares again ([`Peer::shares`]) where they may be lost.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;

use acequia_types::{Digest, Timestamp};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::LearnError;
use crate::plan::{Dropouts, Plan};
use crate::protocol::{
    Aggregator, Ask, Message, PartTotal, Payload, Progress, Roster, Run, Site, SiteUpdate, line, split_head,
};
use crate::sovereignty::ExitLog;
use crate::sums::{PackedSums, Packing, Sums};
use crate::tasks::{Outcome, State};

/// Ticks after which a sum goes on without sites that are silent. A site that is only slow must not be left out: it stays out,
/// and with it and a dead one too few may be left.
pub const PATIENCE: u32 = 12;
/// Ticks after which the next in line takes over for the first time: more than a round takes when six messages in a row are
/// each late by several ticks. A takeover that was not needed is safe, but a site that dies after one can stop the run. Each
/// further takeover of a round waits twice as long, or leaders on a slower network would replace one another for ever.
const TAKEOVER: u32 = 40;
/// Doublings of the wait, at most.
const DOUBLINGS: u32 = 4;
/// Takeovers in a round, at most: nobody has that much patience, and who claims more wants to waste it.
const ATTEMPTS_MAX: u32 = 10_000;
/// Attempts back, for which shares are kept: a sum that was agreed on may still be made of them.
const DESKS: u32 = 4;
/// Sites in a masked sum that every site sees, at least.
pub const PEERS_MIN: usize = 3;

/// The sum of a round over an agreed set of sites.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoundTotal {
    /// In which round.
    pub round: u32,
    /// Digest of plan, roster, round and question.
    pub question: Digest,
    /// Whose rows are in it, sorted.
    pub sites: Vec<String>,
    values: Arc<PackedSums>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TotalHead {
    round: u32,
    question: Digest,
    sites: Vec<String>,
    numbers: usize,
    packing: Packing,
}

impl RoundTotal {
    /// As bytes: a line of JSON, then little-endian numbers.
    pub fn to_bytes(&self) -> Vec<u8> {
        let (packing, numbers) = (self.values.packing(), self.values.len());
        let (round, question, sites) = (self.round, self.question, self.sites.clone());
        // A map of plain values can be written.
        let mut bytes = serde_json::to_vec(&TotalHead { round, question, sites, numbers, packing }).unwrap_or_default();
        bytes.push(b'\n');
        bytes.extend_from_slice(self.values.bytes());
        bytes
    }

    /// Reads the sum of a round.
    ///
    /// # Errors
    /// [`LearnError::Protocol`] when the bytes are none.
    pub fn from_bytes(from: &str, bytes: &[u8]) -> Result<Self, LearnError> {
        let refuse = |reason| LearnError::Protocol { from: from.to_owned(), reason };
        let (head, numbers) = split_head(bytes).ok_or_else(|| refuse("it has no head"))?;
        let head: TotalHead = serde_json::from_slice(head).map_err(|_| refuse("its head cannot be read"))?;
        let values =
            PackedSums::read(head.packing, numbers, head.numbers).ok_or_else(|| refuse("it has another length"))?;
        Ok(Self { round: head.round, question: head.question, sites: head.sites, values: Arc::new(values) })
    }
}

/// A set of sites that was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accepted {
    /// In which attempt.
    pub attempt: u32,
    /// The sites, sorted.
    pub sites: Vec<String>,
}

/// What peers say to one another. A share leaves as what the site's rules cleared, and arrives as bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerMessage<S = SiteUpdate> {
    /// The sender is in this round and attempt.
    Here,
    /// A share or unmasked sums, and the set of sites the sender accepted before in this round.
    Share {
        /// Cleared by the site's rules.
        share: S,
        /// What it accepted.
        accepted: Option<Accepted>,
    },
    /// The second in line has shares of these sites.
    Have(Vec<String>),
    /// The sum shall be over these sites.
    Propose(Vec<String>),
    /// The sender accepts these sites.
    Accept(Vec<String>),
    /// The second in line's half of the sum.
    Part(PartTotal),
    /// The sum.
    Total(RoundTotal),
}

/// A message on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope<S = SiteUpdate> {
    /// Who says it.
    pub from: String,
    /// To whom.
    pub to: String,
    /// In which round.
    pub round: u32,
    /// How often somebody took over in this round.
    pub attempt: u32,
    /// What is said.
    pub body: PeerMessage<S>,
}

impl<S> Envelope<S> {
    /// The same message, whose share went through something.
    ///
    /// # Errors
    /// Those of `through`.
    pub fn through<T, E>(self, through: impl FnOnce(S) -> Result<T, E>) -> Result<Envelope<T>, E> {
        let body = match self.body {
            PeerMessage::Here => PeerMessage::Here,
            PeerMessage::Share { share, accepted } => PeerMessage::Share { share: through(share)?, accepted },
            PeerMessage::Have(sites) => PeerMessage::Have(sites),
            PeerMessage::Propose(sites) => PeerMessage::Propose(sites),
            PeerMessage::Accept(sites) => PeerMessage::Accept(sites),
            PeerMessage::Part(part) => PeerMessage::Part(part),
            PeerMessage::Total(total) => PeerMessage::Total(total),
        };
        Ok(Envelope { from: self.from, to: self.to, round: self.round, attempt: self.attempt, body })
    }
}

impl Envelope {
    /// As it arrives.
    pub fn arrived(self) -> Envelope<Bytes> {
        let Ok(arrived) = self.through(|share| Ok::<_, Infallible>(share.bytes().clone()));
        arrived
    }
}

/// What a site must not forget within a round, whatever happens to its process. It is on disk before anything is said that
/// follows from it, or there could be two sums over different sites.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Promise {
    /// In which round.
    pub round: u32,
    /// It accepts no set of an earlier attempt, and proposes none.
    pub attempt: u32,
    /// What it accepted last.
    pub accepted: Option<Accepted>,
    /// What it proposed last, as the first in line.
    pub proposed: Option<Accepted>,
    /// Over which sites it handed over half of a sum, as the second in line: over no others in this round.
    pub closed: Option<Vec<String>>,
}

/// Where a site stands between two rounds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Standing {
    /// Which round it is in.
    pub round: u32,
    /// What is asked in it.
    pub state: State,
    /// Sites of the sum before.
    pub members: Vec<String>,
}

/// What somebody who adds up has in one attempt.
struct Desk {
    aggregator: Aggregator,
    promises: BTreeMap<String, Option<Accepted>>,
    plain: BTreeMap<String, PackedSums>,
    second_has: BTreeSet<String>,
    proposed: Option<Vec<String>>,
    /// What each site accepts.
    accepted: BTreeMap<String, Vec<String>>,
    /// The second's half, which may come before the last site accepted.
    part: Option<PartTotal>,
    waited: u32,
    /// Shares that the first in line was told of.
    told: usize,
    /// Whether the half of the sum was handed over.
    handed_over: bool,
}

impl Desk {
    /// The set that a majority accepts.
    fn agreed(&self, majority: usize) -> Option<&Vec<String>> {
        self.accepted.values().find(|set| self.accepted.values().filter(|other| other == set).count() >= majority)
    }
}

/// Why somebody who adds up looks at the desk. What was said is said again only when it may be lost.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Occasion {
    Message,
    Again,
}

/// A site of a run without a fixed coordinator.
pub struct Peer {
    site: Site,
    plan: Plan,
    digest: Digest,
    roster: Roster,
    /// Sites of the sum before. Who was left out once stays out: rounds over changing rows would not settle, and their
    /// differences would tell about who came and went.
    members: Vec<String>,
    run: Run,
    /// Who may add up.
    adders: Vec<String>,
    /// Who adds up in this round, first in line first.
    line: Vec<String>,
    waited: u32,
    promise: Promise,
    desks: BTreeMap<u32, Desk>,
    latest: Option<RoundTotal>,
    outcome: Option<Outcome>,
    failed: bool,
}

impl Peer {
    /// Takes part with a site. All sites add up in turns, unless the site says who does ([`Site::in_turns`]).
    pub fn new(site: Site, plan: &Plan, roster: &Roster) -> Self {
        let adders = site.adders().map_or_else(|| roster.sites().to_vec(), <[String]>::to_vec);
        let (digest, run) = (plan.digest(), Run::new(plan, roster));
        Self {
            site: site.in_turns(adders.clone()),
            plan: plan.clone(),
            digest,
            roster: roster.clone(),
            members: roster.sites().to_vec(),
            line: line(&adders, &digest, run.round()),
            adders,
            promise: Promise { round: run.round(), ..Promise::default() },
            run,
            waited: 0,
            desks: BTreeMap::new(),
            latest: None,
            outcome: None,
            failed: false,
        }
    }

    /// The same site after its process died, with what it had on disk: where it stood, the sum before, and its promise, which
    /// counts where it is of that round.
    #[must_use]
    pub fn resumed(mut self, standing: Option<Standing>, latest: Option<RoundTotal>, promise: Option<Promise>) -> Self {
        if let Some(Standing { round, state, members }) = standing {
            self.run = Run::resume(&self.plan, &self.roster, round, state);
            self.members = members;
        }
        self.line = line(&self.adders, &self.digest, self.run.round());
        self.latest = latest;
        let fresh = Promise { round: self.run.round(), ..Promise::default() };
        self.promise = promise.filter(|promise| promise.round == fresh.round).unwrap_or(fresh);
        self
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.site.name()
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Which round it is in.
    pub fn round(&self) -> u32 {
        self.run.round()
    }

    /// What is asked in this round, when somebody took over so often.
    pub fn ask(&self, attempt: u32) -> Ask {
        Ask { attempt, ..self.run.ask() }
    }

    /// The result, once there is one.
    pub fn outcome(&self) -> Option<&Outcome> {
        self.outcome.as_ref()
    }

    /// Whether the sum of the round leads to no result, here and so at every site.
    pub fn has_failed(&self) -> bool {
        self.failed
    }

    /// Sites that are in the next sum, at most.
    pub fn members(&self) -> &[String] {
        &self.members
    }

    /// Everything that left.
    pub fn log(&self) -> &ExitLog {
        self.site.log()
    }

    /// What must be on disk before it says more.
    pub fn promise(&self) -> &Promise {
        &self.promise
    }

    /// Where it stands in this round.
    pub fn standing(&self) -> Standing {
        Standing { round: self.round(), state: self.run.state().clone(), members: self.members.clone() }
    }

    /// The sum of the round before, or the last one: whoever is behind needs it.
    pub fn latest(&self) -> Option<&RoundTotal> {
        self.latest.as_ref()
    }

    /// Who adds up now: the first in line, and with masks the second.
    pub fn adding_up(&self) -> Vec<String> {
        (0..=usize::from(self.is_masked())).map(|place| self.in_line(self.promise.attempt, place)).collect()
    }

    fn in_line(&self, attempt: u32, place: usize) -> String {
        self.line[(attempt as usize + place) % self.line.len()].clone()
    }

    fn is_masked(&self) -> bool {
        self.plan.aggregation.protection.is_masked()
    }

    fn majority(&self) -> usize {
        self.roster.sites().len() / 2 + 1
    }

    /// Sites in a sum, at least.
    fn least(&self) -> usize {
        let masked = if self.is_masked() { PEERS_MIN.min(self.roster.sites().len()) } else { 1 };
        self.majority().max(self.plan.privacy.minimum_sites).max(masked)
    }

    fn may_sum(&self, sites: &[String]) -> bool {
        match self.plan.privacy.dropouts {
            Dropouts::Wait => sites == self.members,
            Dropouts::LeaveOut => {
                sites.len() >= self.least()
                    && sites.windows(2).all(|pair| pair[0] < pair[1])
                    && sites.iter().all(|site| self.members.contains(site))
            }
        }
    }

    fn say(&self, to: &str, attempt: u32, body: PeerMessage) -> Envelope {
        Envelope { from: self.name().to_owned(), to: to.to_owned(), round: self.run.round(), attempt, body }
    }

    fn say_all(&self, attempt: u32, body: &PeerMessage) -> Vec<Envelope> {
        self.roster.sites().iter().map(|to| self.say(to, attempt, body.clone())).collect()
    }

    fn say_others(&self, attempt: u32, body: &PeerMessage) -> Vec<Envelope> {
        self.say_all(attempt, body).into_iter().filter(|envelope| envelope.to != envelope.from).collect()
    }

    /// Its shares of this round and attempt, for whoever adds up. The driver says them again where they may be lost.
    ///
    /// # Errors
    /// What the site refuses; it then takes no part.
    pub fn shares(&mut self, now: Timestamp) -> Result<Vec<Envelope>, LearnError> {
        if self.outcome.is_some() {
            return Ok(Vec::new());
        }
        let attempt = self.promise.attempt;
        let updates = self.site.answer(&self.ask(attempt), now)?;
        let accepted = &self.promise.accepted;
        Ok(updates
            .into_iter()
            .map(|share| {
                let to = share.to().to_owned();
                self.say(&to, attempt, PeerMessage::Share { share, accepted: accepted.clone() })
            })
            .collect())
    }

    /// Turns to another in line.
    fn turn(&mut self, attempt: u32, now: Timestamp) -> Result<Vec<Envelope>, LearnError> {
        self.promise.attempt = attempt.min(ATTEMPTS_MAX);
        self.waited = 0;
        self.desks.retain(|of, _| of + DESKS > attempt);
        let here = self.say_others(self.promise.attempt, &PeerMessage::Here);
        Ok([here, self.shares(now)?].concat())
    }

    /// Turns to the next in line at once, where the driver knows that whoever adds up is gone.
    ///
    /// # Errors
    /// What the site refuses.
    pub fn take_over(&mut self, now: Timestamp) -> Result<Vec<Envelope>, LearnError> {
        match self.outcome {
            Some(_) => Ok(Vec::new()),
            None => self.turn(self.promise.attempt + 1, now),
        }
    }

    /// Says again what may be lost, besides shares.
    ///
    /// # Errors
    /// What the estimator finds.
    pub fn again(&mut self) -> Result<Vec<Envelope>, LearnError> {
        if self.outcome.is_some() {
            return Ok(Vec::new());
        }
        let mut all = self.say_others(self.promise.attempt, &PeerMessage::Here);
        let attempts: Vec<u32> = self.desks.keys().copied().collect();
        for attempt in attempts {
            all.extend(self.add_up(attempt, Occasion::Again)?);
        }
        Ok(all)
    }

    /// Time passes: goes on without who is silent, or turns to the next in line, and says again what may be lost.
    ///
    /// # Errors
    /// What the site refuses, or what the estimator finds.
    pub fn tick(&mut self, now: Timestamp) -> Result<Vec<Envelope>, LearnError> {
        if self.outcome.is_some() {
            return Ok(Vec::new());
        }
        self.waited += 1;
        self.desks.values_mut().for_each(|desk| desk.waited += 1);
        let mut all = Vec::new();
        if self.waited > TAKEOVER << self.promise.attempt.min(DOUBLINGS) {
            all = self.turn(self.promise.attempt + 1, now)?;
        }
        all.extend(self.again()?);
        Ok(all)
    }

    /// Takes a message.
    ///
    /// # Errors
    /// [`LearnError::Protocol`] when nobody who keeps to the rules says it: it changes nothing then. What the site refuses, or what
    /// the estimator finds. A message that came too early or too late is dropped, not an error.
    pub fn receive(&mut self, envelope: Envelope<Bytes>, now: Timestamp) -> Result<Vec<Envelope>, LearnError> {
        let Envelope { from, round, attempt, body, .. } = envelope;
        let refuse = |reason| Err(LearnError::Protocol { from: from.clone(), reason });
        if !self.roster.sites().contains(&from) {
            return refuse("the site is not in the roster");
        }
        if let PeerMessage::Total(total) = body {
            return self.adopt(&from, total, now);
        }
        if round < self.run.round() || self.outcome.is_some() {
            // Somebody is behind: the sum of that round helps.
            let is_behind = matches!(body, PeerMessage::Share { .. } | PeerMessage::Here) && from != self.name();
            let known = self.latest.iter().filter(|total| is_behind && total.round == round);
            let helps =
                |total: &RoundTotal| Envelope { round, ..self.say(&from, attempt, PeerMessage::Total(total.clone())) };
            return Ok(known.map(helps).collect());
        }
        if round > self.run.round() {
            return Ok(Vec::new());
        }
        if attempt > ATTEMPTS_MAX {
            return refuse("nobody takes over so often");
        }
        let (first, second) = (self.in_line(attempt, 0), self.in_line(attempt, 1));
        let adds_up = self.name() == first || (self.is_masked() && self.name() == second);
        let names = match &body {
            PeerMessage::Share { accepted: Some(accepted), .. } if accepted.attempt > attempt => {
                return refuse("it accepted what is still to come");
            }
            PeerMessage::Share { accepted, .. } => accepted.as_ref().map(|accepted| &accepted.sites),
            PeerMessage::Propose(sites) | PeerMessage::Accept(sites) => Some(sites),
            _ => None,
        };
        if names.is_some_and(|sites| !self.may_sum(sites)) {
            return refuse("no sum is over such sites");
        }
        let is_in_place = match &body {
            PeerMessage::Share { .. } | PeerMessage::Accept(_) => adds_up,
            PeerMessage::Propose(_) => from == first,
            PeerMessage::Have(_) | PeerMessage::Part(_) => from == second && self.name() == first,
            PeerMessage::Here | PeerMessage::Total(_) => true,
        };
        if !is_in_place {
            return refuse("it is not for this place in the line");
        }
        // Read before it moves anything.
        let mut read = match &body {
            PeerMessage::Share { share, .. } => {
                let read = Message::read(&from, share, &self.plan, &self.ask(attempt))?;
                if matches!(read.payload, Payload::Plain(_)) == self.is_masked() {
                    return refuse("it is not protected as the plan says");
                }
                Some(read)
            }
            _ => None,
        };
        let mut all = Vec::new();
        if attempt > self.promise.attempt {
            all.extend(self.turn(attempt, now)?);
        }
        match body {
            PeerMessage::Here | PeerMessage::Total(_) => return Ok(all),
            PeerMessage::Propose(sites) => {
                // A promise to a later attempt outlaws earlier ones.
                if attempt == self.promise.attempt {
                    self.promise.accepted = Some(Accepted { attempt, sites: sites.clone() });
                    for place in 0..=usize::from(self.is_masked()) {
                        let to = self.in_line(attempt, place);
                        all.push(self.say(&to, attempt, PeerMessage::Accept(sites.clone())));
                    }
                }
                return Ok(all);
            }
            PeerMessage::Share { accepted, .. } => {
                let (Some(desk), Some(read)) = (self.desk(attempt)?, read.take()) else { return Ok(all) };
                match read {
                    Message { payload: Payload::Plain(values), .. } => match desk.plain.get(&from) {
                        Some(before) if *before != values => return refuse("a second, different answer"),
                        _ => drop(desk.plain.insert(from.clone(), values)),
                    },
                    masked => desk.aggregator.take(masked)?,
                }
                desk.promises.insert(from, accepted);
            }
            PeerMessage::Have(sites) => {
                let known: Vec<String> = sites.into_iter().filter(|site| self.roster.sites().contains(site)).collect();
                let Some(desk) = self.desk(attempt)? else { return Ok(all) };
                desk.second_has.extend(known);
            }
            PeerMessage::Accept(sites) => {
                let Some(desk) = self.desk(attempt)? else { return Ok(all) };
                desk.accepted.insert(from, sites);
            }
            PeerMessage::Part(part) => {
                let Some(desk) = self.desk(attempt)? else { return Ok(all) };
                desk.part = Some(part);
            }
        }
        all.extend(self.add_up(attempt, Occasion::Message)?);
        Ok(all)
    }

    /// The desk of an attempt; none is made for one that is over.
    fn desk(&mut self, attempt: u32) -> Result<Option<&mut Desk>, LearnError> {
        if !self.desks.contains_key(&attempt) && attempt == self.promise.attempt {
            let mut aggregator = Aggregator::new(&self.plan, &self.roster);
            aggregator.open(&self.ask(attempt))?;
            // Proposed before the process died: no other set in the same attempt.
            let proposed = self.promise.proposed.clone().filter(|proposed| proposed.attempt == attempt);
            let desk = Desk {
                aggregator,
                promises: BTreeMap::new(),
                plain: BTreeMap::new(),
                second_has: BTreeSet::new(),
                proposed: proposed.map(|proposed| proposed.sites),
                accepted: BTreeMap::new(),
                part: None,
                waited: 0,
                told: 0,
                handed_over: false,
            };
            self.desks.insert(attempt, desk);
        }
        Ok(self.desks.get_mut(&attempt))
    }

    /// What the first and second in line do with what they have.
    fn add_up(&mut self, attempt: u32, occasion: Occasion) -> Result<Vec<Envelope>, LearnError> {
        let (first, second) = (self.in_line(attempt, 0), self.in_line(attempt, 1));
        let own = self.name().to_owned();
        match self.is_masked() {
            true if own == second && own != first => Ok(self.add_up_beside(attempt, &first, occasion)),
            _ if own == first => self.add_up_first(attempt, occasion),
            _ => Ok(Vec::new()),
        }
    }

    /// What the second in line does.
    fn add_up_beside(&mut self, attempt: u32, first: &str, occasion: Occasion) -> Vec<Envelope> {
        let majority = self.majority();
        let Some(desk) = self.desks.get_mut(&attempt) else { return Vec::new() };
        let present = desk.aggregator.present();
        let again = occasion == Occasion::Again;
        let news = again || present.len() > desk.told;
        desk.told = present.len();
        let agreed = desk.agreed(majority).cloned().filter(|_| again || !desk.handed_over);
        // Whoever is first in line again, later in the round, gets no half over other sites.
        let agreed = agreed.filter(|sites| self.promise.closed.as_ref().is_none_or(|closed| closed == sites));
        let part = agreed.and_then(|sites| desk.aggregator.close(&sites).ok());
        desk.handed_over |= part.is_some();
        if let Some(part) = &part {
            self.promise.closed = Some(part.sites.clone());
        }
        let have = news.then_some(PeerMessage::Have(present));
        have.into_iter().chain(part.map(PeerMessage::Part)).map(|body| self.say(first, attempt, body)).collect()
    }

    /// What the first in line does.
    fn add_up_first(&mut self, attempt: u32, occasion: Occasion) -> Result<Vec<Envelope>, LearnError> {
        let (masked, majority, least) = (self.is_masked(), self.majority(), self.least());
        let (everybody, members) = (self.roster.sites().len(), &self.members);
        let waits = self.plan.privacy.dropouts == Dropouts::Wait;
        let Some(desk) = self.desks.get_mut(&attempt) else { return Ok(Vec::new()) };
        let mut present: BTreeSet<String> = if masked {
            desk.aggregator.present().into_iter().filter(|site| desk.second_has.contains(site)).collect()
        } else {
            desk.plain.keys().cloned().collect()
        };
        present.retain(|site| members.contains(site));
        let mut is_new = occasion == Occasion::Again;
        // What was proposed in an earlier attempt may be forgotten: nothing new is.
        if desk.proposed.is_none() && desk.promises.len() >= majority && attempt == self.promise.attempt {
            let before = desk.promises.values().flatten().max_by_key(|accepted| accepted.attempt);
            let waited_enough = present.len() == members.len() || (desk.waited >= PATIENCE && !waits);
            let free = || (waited_enough && present.len() >= least).then(|| present.iter().cloned().collect());
            let sites = match before {
                Some(Accepted { sites, .. }) if sites.iter().all(|site| present.contains(site)) => Some(sites.clone()),
                Some(Accepted { sites, .. }) => {
                    // It may have been accepted by a majority, and then only the same set is safe, whoever is gone.
                    let told = desk.promises.values().flatten().filter(|other| other.sites == *sites).count();
                    let silent = everybody - desk.promises.len();
                    if told + silent < majority { free() } else { None }
                }
                None => free(),
            };
            is_new |= sites.is_some();
            self.promise.proposed = sites.clone().map(|sites| Accepted { attempt, sites });
            desk.proposed = sites;
        }
        let proposed = desk.proposed.clone();
        let agreed = desk.agreed(majority).cloned();
        let values = match agreed {
            Some(sites) if !masked && sites.iter().all(|site| desk.plain.contains_key(site)) => {
                let mut sum = Sums::zeros(desk.plain[&sites[0]].len());
                sites.iter().for_each(|site| sum.merge(&desk.plain[site]));
                Some((sites, sum.checked()?.into_values()))
            }
            Some(sites) if masked => {
                let part = desk.part.as_ref().filter(|part| part.sites == sites);
                let halves = part.and_then(|part| Some((desk.aggregator.close(&sites).ok()?, part)));
                halves.map(|(own, part)| Ok::<_, LearnError>((sites, self.run.combine(&own, part)?))).transpose()?
            }
            _ => None,
        };
        if let Some((sites, values)) = values {
            let (round, question) = (self.run.round(), self.run.ask().context());
            let total = RoundTotal { round, question, sites, values: Arc::new(PackedSums::of(&values)) };
            return Ok(self.say_all(attempt, &PeerMessage::Total(total)));
        }
        let proposed = proposed.filter(|_| is_new);
        Ok(proposed.map_or_else(Vec::new, |sites| self.say_all(attempt, &PeerMessage::Propose(sites))))
    }

    /// Goes on from the sum of the round.
    fn adopt(&mut self, from: &str, total: RoundTotal, now: Timestamp) -> Result<Vec<Envelope>, LearnError> {
        if self.outcome.is_some() || total.round != self.run.round() {
            return Ok(Vec::new());
        }
        let refuse = |reason| Err(LearnError::Protocol { from: from.to_owned(), reason });
        if total.question != self.run.ask().context() {
            return refuse("it answers another question");
        }
        if !self.may_sum(&total.sites) {
            return refuse("no sum is over such sites");
        }
        if total.values.len() != self.run.length() {
            return refuse("the sum has another length");
        }
        // The round has its sum: shares, which are long, go before the next question is made.
        self.desks.clear();
        let progress = self.run.adopt(&total.values, &total.sites);
        // A sum that leads nowhere leads nowhere at all sites.
        self.failed = progress.is_err();
        let progress = progress?;
        self.members.clone_from(&total.sites);
        self.latest = Some(total);
        self.waited = 0;
        match progress {
            // What was promised in the last round counts until its result is on disk.
            Progress::Done(outcome) => {
                self.outcome = Some(*outcome);
                Ok(Vec::new())
            }
            Progress::Round(round) => {
                self.line = line(&self.adders, &self.digest, round);
                self.promise = Promise { round, ..Promise::default() };
                self.shares(now)
            }
        }
    }
}
