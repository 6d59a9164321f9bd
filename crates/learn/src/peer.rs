//! A run without a fixed coordinator. Every site has the same [`Run`] and finds the next question by itself from the sum of the
//! round; somebody only has to add up. Who does so changes from round to round, in an order that a hash of the plan decides,
//! and the next in line takes over when nothing happens.
//!
//! Which sites are in a sum is agreed on like a value in Paxos (Lamport 1998): a share is a promise and carries what was
//! accepted before, a majority must accept a set before any half of its sum is shown, and who takes over proposes a set that
//! may have been accepted again. So there are never two sums over different sites in one round, whoever fails, and the
//! difference of two sums is never somebody's data.
//!
//! Two cases stop a run instead, and it is started again without the site that died for good: whoever adds up dies after a majority
//! accepted a set with it in, and before the sum is out, for its rows cannot be left out safely any more; or so many sites were
//! left out before that no majority of the roster is left. Under losses and delays of several ticks four in ten deaths end so.
//!
//! With masks, the first in line gets one share and the second the other; who takes over gets new shares with new masks.

use std::collections::{BTreeMap, BTreeSet};

use acequia_types::{Digest, Timestamp, digest_named};

use crate::LearnError;
use crate::plan::{Plan, Protection};
use crate::protocol::{Aggregator, Ask, Message, PartTotal, Payload, Progress, Roster, Run, Site, SiteUpdate};
use crate::sovereignty::ExitLog;
use crate::tasks::Outcome;

/// Ticks after which a sum goes on without sites that are silent. A site that is only slow must not be left out: it stays out,
/// and with it and a dead one too few may be left.
const PATIENCE: u32 = 12;
/// Ticks after which the next in line takes over for the first time: more than a round takes when six messages in a row are
/// each late by several ticks. A takeover that was not needed is safe, but a site that dies after one can stop the run. Each
/// further takeover of a round waits twice as long, or leaders on a slower network would replace one another for ever.
const TAKEOVER: u32 = 40;
/// Doublings of the wait, at most.
const DOUBLINGS: u32 = 4;

/// The sum of a round over an agreed set of sites.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoundTotal {
    /// In which round.
    pub round: u32,
    /// Digest of plan, roster, round and question.
    pub question: Digest,
    /// Whose rows are in it, sorted.
    pub sites: Vec<String>,
    pub(crate) values: Vec<i128>,
}

/// What peers say to one another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerMessage {
    /// A share or unmasked sums, and the set of sites the sender accepted before in this round, with the attempt.
    Share {
        /// Cleared by the site's rules.
        update: SiteUpdate,
        /// Attempt and sites.
        accepted: Option<(u32, Vec<String>)>,
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
pub struct Envelope {
    /// Who says it.
    pub from: String,
    /// To whom.
    pub to: String,
    /// In which round.
    pub round: u32,
    /// How often somebody took over in this round.
    pub attempt: u32,
    /// What is said.
    pub body: PeerMessage,
}

/// What somebody who adds up has in one attempt.
struct Desk {
    aggregator: Aggregator,
    promises: BTreeMap<String, Option<(u32, Vec<String>)>>,
    plain: BTreeMap<String, Vec<i128>>,
    second_has: BTreeSet<String>,
    proposed: Option<Vec<String>>,
    accepted_by: BTreeMap<Vec<String>, BTreeSet<String>>,
    waited: u32,
    /// Shares that the first in line was told of.
    told: usize,
    /// Whether the half of the sum was handed over.
    handed_over: bool,
}

/// Why somebody who adds up looks at the desk. What was said is said again only when time has passed: it may be lost.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Occasion {
    Message,
    Tick,
}

/// Who adds up in a round, first in line first.
fn line(plan: &Plan, roster: &Roster, round: u32) -> Vec<String> {
    let (plan, round) = (plan.digest(), round.to_le_bytes());
    let mut sites = roster.sites().to_vec();
    sites.sort_by_cached_key(|site| {
        digest_named(
            "acequia line 1",
            [("plan", plan.as_bytes().as_slice()), ("round", round.as_slice()), ("site", site.as_bytes())],
        )
    });
    sites
}

/// A site of a run without a fixed coordinator.
pub struct Peer {
    site: Site,
    plan: Plan,
    roster: Roster,
    /// Sites of the sum before. Who was left out once stays out: rounds over changing rows would not settle, and their
    /// differences would tell about who came and went.
    members: Vec<String>,
    run: Run,
    /// Who adds up in this round, first in line first.
    line: Vec<String>,
    attempt: u32,
    waited: u32,
    accepted: Option<(u32, Vec<String>)>,
    desks: BTreeMap<u32, Desk>,
    totals: BTreeMap<u32, RoundTotal>,
    outcome: Option<Outcome>,
}

impl Peer {
    /// Takes part with a site.
    pub fn new(site: Site, plan: &Plan, roster: &Roster) -> Self {
        let run = Run::new(plan, roster);
        Self {
            site,
            plan: plan.clone(),
            roster: roster.clone(),
            members: roster.sites().to_vec(),
            line: line(plan, roster, run.round()),
            run,
            attempt: 0,
            waited: 0,
            accepted: None,
            desks: BTreeMap::new(),
            totals: BTreeMap::new(),
            outcome: None,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.site.name()
    }

    /// Which round it is in.
    pub fn round(&self) -> u32 {
        self.run.round()
    }

    /// The result, once there is one.
    pub fn outcome(&self) -> Option<&Outcome> {
        self.outcome.as_ref()
    }

    /// Everything that left.
    pub fn log(&self) -> &ExitLog {
        self.site.log()
    }

    fn in_line(&self, attempt: u32, place: usize) -> String {
        self.line[(attempt as usize + place) % self.line.len()].clone()
    }

    fn ask(&self, attempt: u32) -> Ask {
        Ask { attempt, ..self.run.ask() }
    }

    fn is_masked(&self) -> bool {
        self.plan.aggregation.protection == Protection::TwoAggregators
    }

    fn majority(&self) -> usize {
        self.roster.sites().len() / 2 + 1
    }

    fn say(&self, to: &str, attempt: u32, body: PeerMessage) -> Envelope {
        Envelope { from: self.name().to_owned(), to: to.to_owned(), round: self.run.round(), attempt, body }
    }

    fn say_all(&self, attempt: u32, body: &PeerMessage) -> Vec<Envelope> {
        self.roster.sites().iter().map(|to| self.say(to, attempt, body.clone())).collect()
    }

    /// Its shares of this round and attempt, for whoever adds up.
    ///
    /// # Errors
    /// What the site refuses; it then takes no part.
    pub fn shares(&mut self, now: Timestamp) -> Result<Vec<Envelope>, LearnError> {
        let ask = self.ask(self.attempt);
        let updates = self.site.answer(&ask, now)?;
        Ok(updates
            .into_iter()
            .enumerate()
            .map(|(place, update)| {
                let to = self.in_line(self.attempt, place);
                self.say(&to, self.attempt, PeerMessage::Share { update, accepted: self.accepted.clone() })
            })
            .collect())
    }

    /// Time passes: says again what may be lost, goes on without who is silent, or turns to the next in line.
    ///
    /// # Errors
    /// What the site refuses, or what the estimator finds.
    pub fn tick(&mut self, now: Timestamp) -> Result<Vec<Envelope>, LearnError> {
        if self.outcome.is_some() {
            return Ok(Vec::new());
        }
        self.waited += 1;
        if self.waited > TAKEOVER << self.attempt.min(DOUBLINGS) {
            self.attempt += 1;
            self.waited = 0;
        }
        let mut all = self.shares(now)?;
        let attempts: Vec<u32> = self.desks.keys().copied().collect();
        for attempt in attempts {
            if let Some(desk) = self.desks.get_mut(&attempt) {
                desk.waited += 1;
            }
            all.extend(self.add_up(attempt, Occasion::Tick)?);
        }
        Ok(all)
    }

    /// Takes a message.
    ///
    /// # Errors
    /// What the site refuses, or what the estimator finds. A message that does not fit is dropped, not an error.
    pub fn receive(&mut self, envelope: Envelope, now: Timestamp) -> Result<Vec<Envelope>, LearnError> {
        let Envelope { from, round, attempt, body, .. } = envelope;
        if let PeerMessage::Total(total) = body {
            return self.adopt(total, now);
        }
        if round < self.run.round() || self.outcome.is_some() {
            // Somebody is behind: the sum of that round helps.
            let is_share = matches!(body, PeerMessage::Share { .. });
            let known = self.totals.get(&round).filter(|_| is_share && from != self.name());
            return Ok(known
                .map(|total| self.say(&from, attempt, PeerMessage::Total(total.clone())))
                .into_iter()
                .collect());
        }
        if round > self.run.round() || !self.roster.sites().contains(&from) {
            return Ok(Vec::new());
        }
        let mut all = Vec::new();
        if attempt > self.attempt {
            self.attempt = attempt;
            self.waited = 0;
            all.extend(self.shares(now)?);
        }
        match body {
            PeerMessage::Share { update, accepted } => {
                if self.is_masked() {
                    if self.desk(attempt)?.aggregator.receive(&from, update.bytes()).is_err() {
                        return Ok(all);
                    }
                } else {
                    let message = Message::from_bytes(&from, update.bytes(), &self.plan, &self.ask(attempt));
                    let Ok(Message { payload: Payload::Plain(values), .. }) = message else { return Ok(all) };
                    self.desk(attempt)?.plain.insert(from.clone(), values);
                }
                let desk = self.desk(attempt)?;
                desk.promises.insert(from, accepted);
            }
            PeerMessage::Have(sites) if from == self.in_line(attempt, 1) => {
                self.desk(attempt)?.second_has.extend(sites);
            }
            PeerMessage::Propose(sites) if from == self.in_line(attempt, 0) => {
                // A promise to a later attempt outlaws earlier ones.
                if attempt < self.attempt || !self.may_sum(&sites) {
                    return Ok(all);
                }
                self.accepted = Some((attempt, sites.clone()));
                for place in 0..=usize::from(self.is_masked()) {
                    let to = self.in_line(attempt, place);
                    all.push(self.say(&to, attempt, PeerMessage::Accept(sites.clone())));
                }
                return Ok(all);
            }
            PeerMessage::Accept(sites) => {
                self.desk(attempt)?.accepted_by.entry(sites).or_default().insert(from);
            }
            PeerMessage::Part(part) if from == self.in_line(attempt, 1) => {
                if let Some(total) = self.combine(attempt, &part)? {
                    return Ok([all, self.say_all(attempt, &PeerMessage::Total(total))].concat());
                }
                return Ok(all);
            }
            _ => return Ok(all),
        }
        all.extend(self.add_up(attempt, Occasion::Message)?);
        Ok(all)
    }

    fn may_sum(&self, sites: &[String]) -> bool {
        sites.len() >= self.majority().max(self.plan.privacy.minimum_sites)
            && sites.windows(2).all(|pair| pair[0] < pair[1])
            && sites.iter().all(|site| self.members.contains(site))
    }

    fn desk(&mut self, attempt: u32) -> Result<&mut Desk, LearnError> {
        if !self.desks.contains_key(&attempt) {
            let mut aggregator = Aggregator::new(&self.plan, &self.roster);
            aggregator.open(&self.ask(attempt))?;
            let desk = Desk {
                aggregator,
                promises: BTreeMap::new(),
                plain: BTreeMap::new(),
                second_has: BTreeSet::new(),
                proposed: None,
                accepted_by: BTreeMap::new(),
                waited: 0,
                told: 0,
                handed_over: false,
            };
            self.desks.insert(attempt, desk);
        }
        self.desks.get_mut(&attempt).ok_or_else(crate::protocol::out_of_turn)
    }

    /// What the first and second in line do with what they have.
    fn add_up(&mut self, attempt: u32, occasion: Occasion) -> Result<Vec<Envelope>, LearnError> {
        let (first, second) = (self.in_line(attempt, 0), self.in_line(attempt, 1));
        let (masked, majority, own) = (self.is_masked(), self.majority(), self.name().to_owned());
        let everybody = self.roster.sites().len();
        let members = self.members.clone();
        let least = majority.max(self.plan.privacy.minimum_sites);
        let Some(desk) = self.desks.get_mut(&attempt) else { return Ok(Vec::new()) };
        let agreed = desk.accepted_by.iter().find(|(_, by)| by.len() >= majority).map(|(sites, _)| sites.clone());
        let mut all = Vec::new();
        if masked && own == second && own != first {
            let present = desk.aggregator.present();
            let again = occasion == Occasion::Tick;
            let news = again || present.len() > desk.told;
            desk.told = present.len();
            let part = agreed
                .as_ref()
                .filter(|_| again || !desk.handed_over)
                .and_then(|sites| desk.aggregator.close(sites).ok());
            desk.handed_over |= part.is_some();
            if news {
                all.push(self.say(&first, attempt, PeerMessage::Have(present)));
            }
            all.extend(part.map(|part| self.say(&first, attempt, PeerMessage::Part(part))));
            return Ok(all);
        }
        if own != first {
            return Ok(all);
        }
        let mut present: BTreeSet<String> = if masked {
            desk.aggregator.present().into_iter().filter(|site| desk.second_has.contains(site)).collect()
        } else {
            desk.plain.keys().cloned().collect()
        };
        present.retain(|site| members.contains(site));
        let mut is_new = occasion == Occasion::Tick;
        if desk.proposed.is_none() && desk.promises.len() >= majority {
            let before = desk.promises.values().flatten().max_by_key(|(attempt, _)| *attempt);
            let waited_enough = present.len() == members.len() || desk.waited >= PATIENCE;
            let free = || (waited_enough && present.len() >= least).then(|| present.iter().cloned().collect());
            let sites = match before {
                Some((_, sites)) if sites.iter().all(|site| present.contains(site)) => Some(sites.clone()),
                Some((_, sites)) => {
                    // It may have been accepted by a majority, and then only the same set is safe, whoever is gone.
                    let told = desk.promises.values().flatten().filter(|(_, other)| other == sites).count();
                    let silent = everybody - desk.promises.len();
                    if told + silent < majority { free() } else { None }
                }
                None => free(),
            };
            is_new |= sites.is_some();
            desk.proposed = sites;
        }
        let proposed = desk.proposed.clone();
        let total = match (&agreed, masked) {
            (Some(sites), false) if sites.iter().all(|site| desk.plain.contains_key(site)) => {
                let mut sum = crate::sums::Sums::zeros(desk.plain[&sites[0]].len());
                sites.iter().for_each(|site| sum.merge(&crate::sums::Sums::from_values(desk.plain[site].clone())));
                Some((sites.clone(), sum.checked()?.values().to_vec()))
            }
            _ => None,
        };
        if let Some((sites, values)) = total {
            let total = RoundTotal { round: self.run.round(), question: self.run.ask().context(), sites, values };
            return Ok(self.say_all(attempt, &PeerMessage::Total(total)));
        }
        if let Some(sites) = proposed.filter(|_| is_new) {
            all.extend(self.say_all(attempt, &PeerMessage::Propose(sites)));
        }
        Ok(all)
    }

    /// The first in line adds the second's half to its own.
    fn combine(&mut self, attempt: u32, part: &PartTotal) -> Result<Option<RoundTotal>, LearnError> {
        let (majority, ask) = (self.majority(), self.ask(attempt));
        let Some(desk) = self.desks.get_mut(&attempt) else { return Ok(None) };
        let agreed = desk.accepted_by.get(&part.sites).is_some_and(|by| by.len() >= majority);
        if !agreed || part.context != ask.context() {
            return Ok(None);
        }
        let Ok(own) = desk.aggregator.close(&part.sites) else { return Ok(None) };
        let values = self.run.combine(&own, part)?;
        Ok(Some(RoundTotal {
            round: self.run.round(),
            question: self.run.ask().context(),
            sites: part.sites.clone(),
            values,
        }))
    }

    /// Goes on from the sum of the round.
    fn adopt(&mut self, total: RoundTotal, now: Timestamp) -> Result<Vec<Envelope>, LearnError> {
        if self.outcome.is_some() || total.round != self.run.round() || total.question != self.run.ask().context() {
            return Ok(Vec::new());
        }
        if !self.may_sum(&total.sites) {
            return Ok(Vec::new());
        }
        let progress = self.run.adopt(&total.values, &total.sites)?;
        self.members.clone_from(&total.sites);
        self.totals.insert(total.round, total);
        self.line = line(&self.plan, &self.roster, self.run.round());
        (self.attempt, self.waited, self.accepted) = (0, 0, None);
        self.desks.clear();
        match progress {
            Progress::Done(outcome) => {
                self.outcome = Some(*outcome);
                Ok(Vec::new())
            }
            Progress::Round(_) => self.shares(now),
        }
    }
}
