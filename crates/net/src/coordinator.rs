//! A coordinator: offers a plan, goes from round to round, and sees sums over all sites only. Where it stands is on disk after
//! every round: started again, it asks the same question again and gets the same answers.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use acequia_learn::{
    Ask, Dropouts, LearnError, MaskedSum, Membership, Outcome, PartTotal, Plan, Progress, Protection, Roster as Sites,
    Run, SITES_MIN, State,
};
use acequia_types::{Clock, Digest};
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::aggregator::AggregatorDesk;
use crate::error::{NetError, file};
use crate::link::{ASK_AGAIN, Link, Network, Protocol, Switchboard};
use crate::message::{Attacked, Frame, Reply, Request, read};
use crate::proposal;
use crate::queue::{cbor, cbor_document, read_if_there, write_whole};
use crate::refusals::{Asked, Refusals};
use crate::roster::{Member, Role, Roster};
use crate::site::{SiteAgent, Way, result_text};

const WHAT: &str = "the state of the run";
const ALLOWS: &str = "allows";
pub(crate) const WAITS: &str = "waits";
pub(crate) const REFUSES: &str = "refuses";

/// How a run is coordinated.
#[derive(Debug, Clone)]
pub struct CoordinatorSettings {
    /// Folder for the state of the run.
    pub folder: PathBuf,
    /// Folder for the closed rounds, where this member is an aggregator too.
    pub aggregator: PathBuf,
    /// How long people at the sites have to decide, and sites to dial in.
    pub decide_within: Duration,
    /// How long a site may take for one answer, reconnecting included. Who is late stays out for good: rounds over changing rows
    /// would not settle.
    pub answer_within: Duration,
    /// Sites that are asked; all of the roster when empty.
    pub sites: BTreeSet<String>,
}

/// What happens in a run, for whoever watches it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunEvent {
    /// A site dialled in.
    Connected(String),
    /// A site said yes or no, or waits for its people.
    Offered(String, &'static str),
    /// The run began, or goes on, with so many sites in this round.
    Round(u32, usize),
    /// A site is left out from now on, and why.
    LeftOut(String, String),
}

/// A finished run.
#[derive(Debug, Clone)]
pub struct NetworkReport {
    /// The result. A model carries what attacks at the sites found; see [`acequia_learn::Model::tested`].
    pub outcome: Outcome,
    /// Rounds it took.
    pub rounds: u32,
    /// Whose rows are in the result.
    pub sites: Vec<String>,
    /// Sites that were left out on the way.
    pub left_out: Vec<String>,
    /// Bytes of messages the coordinator sent.
    pub bytes_sent: u64,
    /// Bytes of messages it received.
    pub bytes_received: u64,
}

/// Where a run stands, on disk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    plan: Digest,
    roster: Digest,
    /// All who began.
    sites: Vec<String>,
    /// Who still answers.
    live: Vec<String>,
    round: u32,
    state: State,
}

/// An aggregator that is another member.
struct OtherAdder {
    network: Network,
    member: Member,
    link: tokio::sync::Mutex<Option<Link>>,
    within: Duration,
}

/// One of the two aggregators: this node's own, or another member's.
enum Adder {
    Own(Arc<AggregatorDesk>, String),
    Other(Box<OtherAdder>),
}

impl Adder {
    async fn ask(&self, request: &Request) -> Result<(String, Vec<u8>), NetError> {
        self.ask_frame(Frame::from(request)).await
    }

    async fn ask_frame(&self, frame: Frame) -> Result<(String, Vec<u8>), NetError> {
        match self {
            Self::Own(desk, name) => Ok((name.clone(), desk.answer(name, frame.into_bytes()).await.into_bytes())),
            Self::Other(other) => {
                let OtherAdder { network, member, link, within } = other.as_ref();
                let silent = || NetError::Unreachable {
                    member: member.name.clone(),
                    reason: "it does not answer in time".to_owned(),
                };
                let asked = async {
                    loop {
                        let mut kept = link.lock().await;
                        if kept.as_ref().is_none_or(Link::is_closed) {
                            *kept = network.dial(member, Protocol::Run).await.ok();
                        }
                        if let Some(link) = kept.as_ref()
                            && let Ok(answer) = link.ask(&frame).await
                        {
                            return answer;
                        }
                        *kept = None;
                        drop(kept);
                        tokio::time::sleep(ASK_AGAIN / 2).await;
                    }
                };
                let answer = tokio::time::timeout(*within, asked).await.map_err(|_| silent())?;
                Ok((member.name.clone(), answer))
            }
        }
    }

    /// Opens a round. What the other aggregator is told of the key for proofs, where the plan asks for them.
    async fn open(
        &self,
        (plan, signature): (&str, &str),
        sites: &[String],
        ask: &Ask,
    ) -> Result<Option<(String, String)>, NetError> {
        let (plan, signature) = (plan.to_owned(), Some(signature.to_owned()));
        let request = Request::Open { plan, signature, sites: sites.to_vec(), ask: ask.clone() };
        let (name, answer) = self.ask(&request).await?;
        match said(&name, &answer)? {
            (Reply::Yes, _) => Ok(None),
            (Reply::Opened { key, signature }, _) => Ok(Some((key, signature))),
            _ => Err(unexpected(&name)),
        }
    }

    /// Has proofs looked at, with the other's half of the key. What the other is to be told of them, signed.
    async fn verify(
        &self,
        ask: &Ask,
        sites: &[String],
        (key, signature): (String, String),
    ) -> Result<(String, Vec<u8>), NetError> {
        let request = Request::Verify { plan: ask.plan, round: ask.round, sites: sites.to_vec(), key, signature };
        let (name, answer) = self.ask(&request).await?;
        match said(&name, &answer)? {
            (Reply::Verified { signature }, verification) => Ok((signature, verification.to_vec())),
            _ => Err(unexpected(&name)),
        }
    }

    /// Has proofs decided about, with what the other found. Sites whose proofs do not hold.
    async fn settle(&self, ask: &Ask, (signature, found): (String, Vec<u8>)) -> Result<Vec<String>, NetError> {
        let frame = Frame::settle(ask.plan, ask.round, signature, found);
        let (name, answer) = self.ask_frame(frame).await?;
        match said(&name, &answer)? {
            (Reply::Settled { refused }, _) => Ok(refused),
            _ => Err(unexpected(&name)),
        }
    }

    /// Whose shares it has, and over which sites it closed the question before, if it did.
    async fn present(&self, ask: &Ask) -> Result<(BTreeSet<String>, Option<Vec<String>>), NetError> {
        let (name, answer) = self.ask(&Request::Present { plan: ask.plan, round: ask.round }).await?;
        match said(&name, &answer)? {
            (Reply::Present { sites, closed }, _) => Ok((sites.into_iter().collect(), closed)),
            _ => Err(unexpected(&name)),
        }
    }

    async fn close(&self, plan: &Plan, ask: &Ask, sites: &[String]) -> Result<PartTotal, NetError> {
        let request = Request::Close { plan: ask.plan, round: ask.round, sites: sites.to_vec() };
        let (name, answer) = self.ask(&request).await?;
        let head_bytes = match said(&name, &answer)? {
            (Reply::Part, numbers) => answer.len() - numbers.len(),
            _ => return Err(unexpected(&name)),
        };
        Ok(PartTotal::of_own(&name, answer, head_bytes, plan, ask)?)
    }
}

pub(crate) fn unexpected(from: &str) -> NetError {
    NetError::Message { from: from.to_owned(), reason: "it is no answer to the question" }
}

/// An answer that is no refusal.
pub(crate) fn said<'b>(from: &str, bytes: &'b [u8]) -> Result<(Reply, &'b [u8]), NetError> {
    match read::<Reply>(from, bytes)? {
        (Reply::No { reason }, _) => Err(NetError::Refused { member: from.to_owned(), reason }),
        answer => Ok(answer),
    }
}

/// Coordinates runs.
pub struct Coordinator {
    network: Network,
    settings: CoordinatorSettings,
    clock: Arc<dyn Clock>,
    switchboard: Arc<Switchboard>,
    own_desk: Option<Arc<AggregatorDesk>>,
    own_site: Option<Arc<SiteAgent>>,
    refusals: Arc<Refusals>,
    watch: Arc<dyn Fn(RunEvent) + Send + Sync>,
}

impl Coordinator {
    /// Prepares, and listens for sites. Where this member is an aggregator too, it adds up shares beside.
    ///
    /// # Errors
    /// [`NetError::NotAMember`] when it is no coordinator.
    pub fn new(
        network: Network,
        settings: CoordinatorSettings,
        clock: Arc<dyn Clock>,
        watch: Arc<dyn Fn(RunEvent) + Send + Sync>,
    ) -> Result<Self, NetError> {
        let own = network.own().clone();
        network.roster().expect(&own.name, Role::Coordinator)?;
        let own_desk = match own.roles.contains(&Role::Aggregator) {
            true => Some(AggregatorDesk::new(&network, settings.aggregator.clone(), Arc::clone(&clock))?),
            false => None,
        };
        let switchboard = Arc::new(Switchboard::default());
        let mut links = network.listen(Protocol::Run);
        let (board, desk, told) = (Arc::clone(&switchboard), own_desk.clone(), Arc::clone(&watch));
        tokio::spawn(async move {
            while let Some(link) = links.recv().await {
                told(RunEvent::Connected(link.member().to_owned()));
                board.put(link.clone());
                let desk = desk.clone();
                // Sites hand their shares over on the connection that is there.
                tokio::spawn(async move {
                    while let Some(mut incoming) = link.next().await {
                        let desk = desk.clone();
                        tokio::spawn(async move {
                            let Ok(bytes) = incoming.read().await else { return };
                            let from = incoming.from.clone();
                            let frame = match &desk {
                                Some(desk) => desk.answer(&from, bytes).await,
                                None => Frame::from(&Reply::No { reason: "no aggregator is here".to_owned() }),
                            };
                            incoming.answer(&frame).await;
                        });
                    }
                });
            }
        });
        let refusals = Arc::new(Refusals::new(&settings.folder));
        Ok(Self { network, settings, clock, switchboard, own_desk, own_site: None, refusals, watch })
    }

    /// The same coordinator, whose own rows take part as one more site.
    #[must_use]
    pub fn with_own_site(self, agent: Arc<SiteAgent>) -> Self {
        Self { own_site: Some(agent), ..self }
    }

    pub(crate) async fn ask_site(&self, site: &str, frame: &Frame, within: Duration) -> Result<Vec<u8>, NetError> {
        match &self.own_site {
            Some(agent) if *site == self.network.own().name => {
                let way = Way::Here(self.own_desk.as_ref());
                Ok(agent.answer(site, frame.to_bytes(), way).await.into_bytes())
            }
            _ => self.switchboard.ask(site, frame, within).await,
        }
    }

    pub(crate) fn roster(&self) -> &Roster {
        self.network.roster()
    }

    pub(crate) fn is_valid_now(&self) -> Result<(), NetError> {
        self.roster().valid_on(self.clock.now().day())
    }

    pub(crate) fn decide_within(&self) -> Duration {
        self.settings.decide_within
    }

    pub(crate) fn tell(&self, event: RunEvent) {
        (self.watch)(event);
    }

    fn adders(&self, plan: &Plan) -> Result<Vec<Adder>, NetError> {
        if !plan.aggregation.protection.is_shared() {
            return Ok(Vec::new());
        }
        let own = &self.network.own().name;
        let adders = plan.aggregation.aggregators.iter().map(|name| {
            let member = self.network.roster().expect(name, Role::Aggregator)?.clone();
            Ok(match &self.own_desk {
                Some(desk) if name == own => Adder::Own(Arc::clone(desk), name.clone()),
                _ => {
                    let within = self.settings.answer_within;
                    let (network, link) = (self.network.clone(), tokio::sync::Mutex::default());
                    Adder::Other(Box::new(OtherAdder { network, member, link, within }))
                }
            })
        });
        adders.collect()
    }

    /// Runs a plan to its end. Run again after a crash, it goes on where it was; see [`Coordinator::forget`].
    ///
    /// # Errors
    /// [`NetError`]; [`LearnError::TooFewSites`] when too few sites are left; [`LearnError::Tells`] when a model tells who was in
    /// the training.
    pub async fn run(&self, plan: &Plan) -> Result<NetworkReport, NetError> {
        let ended = self.run_through(plan).await;
        if let Err(error @ NetError::Learn(LearnError::Implausible { .. } | LearnError::Protocol { .. })) = &ended {
            // Whose it is, nobody sees where there are masks.
            let asked = Asked { what: "sum", about: Some(plan.digest()), round: None };
            self.refusals.enter("the sites together", asked, error, self.clock.now());
        }
        ended
    }

    async fn run_through(&self, plan: &Plan) -> Result<NetworkReport, NetError> {
        self.is_valid_now()?;
        let text = plan.to_json();
        let digest = plan.digest();
        let path = self.settings.folder.join(format!("{digest}.state.cbor"));
        let adders = self.adders(plan)?;
        let roster_digest = self.network.roster().digest();
        let signature = self.signed(&digest);
        let saved: Option<Saved> = cbor_document(&path, WHAT)?;
        let saved = saved.filter(|saved| saved.plan == digest && saved.roster == roster_digest);
        let (sites, mut live) = match &saved {
            Some(saved) => {
                let live = match plan.privacy.dropouts {
                    Dropouts::Wait => &saved.sites,
                    Dropouts::LeaveOut => &saved.live,
                };
                // They allowed it before.
                let within = self.settings.answer_within.min(self.settings.decide_within);
                self.offer(plan, &text, live.iter().cloned().collect(), within).await?;
                (saved.sites.clone(), live.clone())
            }
            None => {
                let sites = self.offer(plan, &text, self.asked_sites()?, self.settings.decide_within).await?;
                (sites.clone(), sites)
            }
        };
        let roster = Sites::new(sites.iter().cloned())?.identified_by(roster_digest);
        let is_resumed = saved.is_some();
        let mut run = match saved {
            Some(saved) => Run::resume(plan, &roster, saved.round, saved.state),
            None => Run::new(plan, &roster),
        };
        let begin = Request::Begin { plan: digest, roster: roster_digest, sites: sites.clone() };
        let began = self.ask_each(&live, &begin).await;
        // Who is silent now may be in a sum that was closed before: aggregators say so in the round.
        if !(is_resumed && plan.aggregation.protection.is_shared()) {
            live = self.answered(began).into_iter().map(|(site, _)| site).collect();
        }
        let least = match plan.privacy.dropouts {
            Dropouts::Wait => sites.len(),
            Dropouts::LeaveOut => 1,
        };
        let masked = usize::from(plan.aggregation.protection.is_masked());
        let needed = least.max(plan.privacy.minimum_sites).max(masked * SITES_MIN);
        if live.len() < needed {
            return Err(LearnError::TooFewSites { left: live.len(), needed, round: run.round() }.into());
        }
        let outcome = loop {
            self.save(&path, digest, roster_digest, (&sites, &live), &run)?;
            (self.watch)(RunEvent::Round(run.round(), live.len()));
            let ask = run.ask();
            let progress = if plan.aggregation.protection == Protection::DoubleMasking {
                let masked = self.settings.folder.join(format!("{digest}.masked.cbor"));
                let sum = self.masked_sum(plan, &roster, &ask, &live, &masked).await?;
                live = sum.over();
                run.close_summed(&sum)?
            } else if adders.is_empty() {
                let answers = self.ask_all(&live, &Request::Ask { ask: ask.clone() }).await;
                live.clear();
                for (site, answer) in answers {
                    let (_, numbers) = read::<Reply>(&site, &answer)?;
                    match run.receive(&site, numbers) {
                        Ok(()) => live.push(site),
                        Err(error) => self.leave_out(site, &ask, &error.into()),
                    }
                }
                if live.len() < needed {
                    return Err(LearnError::TooFewSites { left: live.len(), needed, round: ask.round }.into());
                }
                run.close()?
            } else {
                let signed = (text.as_str(), signature.as_str());
                let opened = join_all(adders.iter().map(|adder| adder.open(signed, &sites, &ask))).await;
                let keys = opened.into_iter().collect::<Result<Vec<_>, _>>()?;
                let mut present = self.handed_over(&adders, &ask, &live).await?;
                for site in self.unproven(&adders, keys, &ask, &present).await? {
                    let error = LearnError::Unproven { site: site.clone(), round: ask.round };
                    present.remove(&site);
                    self.leave_out(site, &ask, &error.into());
                }
                let asked = std::mem::replace(&mut live, present.into_iter().collect());
                if live.len() < needed {
                    return Err(LearnError::TooFewSites { left: live.len(), needed, round: ask.round }.into());
                }
                if live != asked {
                    // Before the round is closed over them: after a crash it can be closed over the same sites only.
                    self.save(&path, digest, roster_digest, (&sites, &live), &run)?;
                }
                let halves = join_all(adders.iter().map(|adder| adder.close(plan, &ask, &live))).await;
                let halves = halves.into_iter().collect::<Result<Vec<_>, _>>()?;
                let [one, other] = halves.as_slice() else { return Err(unexpected("an aggregator")) };
                run.close_masked(one, other)?
            };
            if let Progress::Done(outcome) = progress {
                break *outcome;
            }
        };
        let rounds = run.round();
        let outcome = self.end(plan, &live, outcome).await?;
        let left_out = sites.iter().filter(|site| !live.contains(site)).cloned().collect();
        let (bytes_sent, bytes_received) = self.network.traffic_bytes();
        Ok(NetworkReport { outcome, rounds, sites: live, left_out, bytes_sent, bytes_received })
    }

    /// Asks sites for their shares. Whose shares both aggregators have then; where one of them closed the question before, all sites of
    /// that sum and nobody else, for no other sum is ever shown: who is silent now may be among them.
    async fn handed_over(&self, adders: &[Adder], ask: &Ask, live: &[String]) -> Result<BTreeSet<String>, NetError> {
        let answers = self.ask_each(live, &Request::Ask { ask: ask.clone() }).await;
        let mut there: BTreeSet<String> = live.iter().cloned().collect();
        let mut closed = None;
        for adder in adders {
            let (sites, before) = adder.present(ask).await?;
            there.retain(|site| sites.contains(site));
            closed = closed.or(before);
        }
        let Some(closed) = closed else {
            let answered = self.answered(answers).into_iter().map(|(site, _)| site);
            return Ok(answered.filter(|site| there.contains(site)).collect());
        };
        match closed.iter().find(|site| !there.contains(*site)) {
            None => Ok(closed.into_iter().collect()),
            Some(silent) => Err(NetError::Unreachable {
                member: silent.clone(),
                reason: format!(
                    "round {} was closed with its rows and cannot be closed without them; run it again once it is back",
                    ask.round
                ),
            }),
        }
    }

    /// Sites whose shares are not proven to be in range, by either aggregator; none where the plan asks for no proofs. What the two
    /// tell one another goes through here, signed, so that it cannot be changed.
    async fn unproven(
        &self,
        adders: &[Adder],
        keys: Vec<Option<(String, String)>>,
        ask: &Ask,
        present: &BTreeSet<String>,
    ) -> Result<BTreeSet<String>, NetError> {
        let sites: Vec<String> = present.iter().cloned().collect();
        let ([one, other], [Some(of_one), Some(of_other)]) = (adders, keys.as_slice()) else {
            return Ok(BTreeSet::new());
        };
        let (of_one, of_other) = (of_one.clone(), of_other.clone());
        let found = join_all([one.verify(ask, &sites, of_other), other.verify(ask, &sites, of_one)]).await;
        let [by_one, by_other] = <[_; 2]>::try_from(found).map_err(|_| unexpected("an aggregator"))?;
        let (by_one, by_other) = (by_one?, by_other?);
        let refused = join_all([one.settle(ask, by_other), other.settle(ask, by_one)]).await;
        let refused = refused.into_iter().collect::<Result<Vec<_>, _>>()?;
        Ok(refused.into_iter().flatten().collect())
    }

    /// The sum of a round, whose masks come off in steps. What was settled in each is on disk before it is told: after a crash sites say
    /// to the same what they said before, and nothing to anything else.
    async fn masked_sum(
        &self,
        plan: &Plan,
        roster: &Sites,
        ask: &Ask,
        live: &[String],
        path: &std::path::Path,
    ) -> Result<MaskedSum, NetError> {
        let total = path.with_extension("total");
        let before = match read_if_there(path, WHAT)? {
            Some(record) => MaskedSum::from_bytes(&record, read_if_there(&total, WHAT)?.as_deref(), plan, roster, ask),
            None => None,
        };
        let keep = |sum: &MaskedSum| {
            if let Some(masked) = sum.masked_total() {
                write_whole(&total, masked, WHAT)?;
            }
            write_whole(path, &sum.to_bytes(), WHAT)
        };
        let mut sum = before.unwrap_or_else(|| MaskedSum::new(plan, roster, ask));
        let question = Frame::from(&Request::Ask { ask: ask.clone() });
        if sum.turns().is_empty() && !sum.is_done() {
            let within = self.settings.answer_within;
            let answers = join_all(live.iter().map(|site| self.ask_site(site, &question, within))).await;
            self.receive_all(&mut sum, ask, live.iter().cloned().zip(answers));
            sum.close_step()?;
            keep(&sum)?;
        }
        while !sum.is_done() {
            let turns = sum.turns();
            let answers = join_all(turns.keys().map(|site| self.turn(site, &sum, ask, &question))).await;
            self.receive_all(&mut sum, ask, turns.into_keys().zip(answers));
            sum.close_step()?;
            keep(&sum)?;
        }
        Ok(sum)
    }

    /// Tells a site its turn, and all before it where it was started again meanwhile.
    async fn turn(&self, site: &str, sum: &MaskedSum, ask: &Ask, question: &Frame) -> Result<Vec<u8>, NetError> {
        let within = self.settings.answer_within;
        let request = |turn| Frame::from(&Request::Turn { plan: ask.plan, context: ask.context(), turn });
        let turns = sum.turns_of(site);
        let mut answer = Vec::new();
        if let Some(last) = turns.last() {
            answer = self.ask_site(site, &request(last.clone()), within).await?;
        }
        if matches!(said(site, &answer), Ok((Reply::Again, _))) {
            said(site, &self.ask_site(site, question, within).await?)?;
            for turn in turns {
                answer = self.ask_site(site, &request(turn), within).await?;
                said(site, &answer)?;
            }
        }
        Ok(answer)
    }

    /// Takes what sites said in a step; who said nothing, or something else, is left out.
    fn receive_all(
        &self,
        sum: &mut MaskedSum,
        ask: &Ask,
        answers: impl Iterator<Item = (String, Result<Vec<u8>, NetError>)>,
    ) {
        for (site, answer) in answers {
            let taken = answer.and_then(|answer| match said(&site, &answer)? {
                (Reply::Masked, update) => Ok(sum.receive(&site, update, self.network.roster().as_ref())?),
                _ => Err(unexpected(&site)),
            });
            if let Err(error) = taken {
                self.leave_out(site, ask, &error);
            }
        }
    }

    /// Goes on without a site. What it said and should not have said is on record; that it said no, or nothing, is not.
    fn leave_out(&self, site: String, ask: &Ask, error: &NetError) {
        if !matches!(error, NetError::Refused { .. } | NetError::Unreachable { .. }) {
            let asked = Asked { what: "answer", about: Some(ask.plan), round: Some(ask.round) };
            self.refusals.enter(&site, asked, error, self.clock.now());
        }
        (self.watch)(RunEvent::LeftOut(site, error.to_string()));
    }

    /// Forgets where a run stands, once its result is kept: the next run of the same plan begins anew.
    ///
    /// # Errors
    /// [`NetError::File`].
    pub fn forget(folder: &std::path::Path, plan: &Plan) -> Result<(), NetError> {
        for of in ["state.cbor", "masked.cbor", "masked.total"] {
            match std::fs::remove_file(folder.join(format!("{}.{of}", plan.digest()))) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(file(WHAT)(error)),
                _ => {}
            }
        }
        Ok(())
    }

    /// Offers a plan without running it: what each site says, `None` where it cannot be reached in time.
    ///
    /// # Errors
    /// [`NetError::NotAMember`] when a site or aggregator of the plan is none of the roster.
    pub async fn offer_only(&self, plan: &Plan) -> Result<Vec<(String, Option<&'static str>)>, NetError> {
        self.is_valid_now()?;
        self.adders(plan)?;
        self.said_once(&self.offer_of(plan, plan.to_json())).await
    }

    /// What each site says to a message now, in a word; `None` where it cannot be reached in time.
    pub(crate) async fn said_once(&self, frame: &Frame) -> Result<Vec<(String, Option<&'static str>)>, NetError> {
        let asked = self.asked_sites()?;
        let within = self.settings.decide_within;
        let answers = join_all(asked.iter().map(|site| self.ask_site(site, frame, within))).await;
        let words = |site: &str, answer: &[u8]| match said(site, answer) {
            Ok((Reply::Yes | Reply::Finding { .. }, _)) => ALLOWS,
            Ok((Reply::Waits, _)) => WAITS,
            _ => REFUSES,
        };
        let said = asked.iter().zip(answers);
        Ok(said.map(|(site, answer)| (site.clone(), answer.ok().map(|answer| words(site, &answer)))).collect())
    }

    pub(crate) fn asked_sites(&self) -> Result<BTreeSet<String>, NetError> {
        let roster = self.network.roster();
        for site in &self.settings.sites {
            roster.expect(site, Role::Site)?;
        }
        // This member's own rows take part where they were handed in.
        let own = (self.own_site.is_none()).then(|| self.network.own().name.clone());
        let all = roster.with_role(Role::Site).into_iter().map(|member| member.name.clone());
        let all = all.filter(|site| Some(site) != own.as_ref());
        Ok(match self.settings.sites.is_empty() {
            true => all.collect(),
            false => self.settings.sites.clone(),
        })
    }

    fn save(
        &self,
        path: &std::path::Path,
        plan: Digest,
        roster: Digest,
        (sites, live): (&[String], &[String]),
        run: &Run,
    ) -> Result<(), NetError> {
        let (sites, live) = (sites.to_vec(), live.to_vec());
        let saved = Saved { plan, roster, sites, live, round: run.round(), state: run.state().clone() };
        write_whole(path, &cbor(&saved), WHAT)
    }

    /// This member's signature under a plan or request (its digest).
    pub(crate) fn signed(&self, digest: &Digest) -> String {
        proposal::sign(self.network.identity(), digest, &self.network.roster().digest(), &[])
    }

    /// A plan, signed.
    fn offer_of(&self, plan: &Plan, text: String) -> Frame {
        let signature = Some(self.signed(&plan.digest()));
        Frame::from(&Request::Offer { plan: text, signature })
    }

    /// Sites that allow the plan, once all decided or the time is over.
    async fn offer(
        &self,
        plan: &Plan,
        text: &str,
        asked: BTreeSet<String>,
        within: Duration,
    ) -> Result<Vec<String>, NetError> {
        let until = Instant::now() + within;
        let frame = self.offer_of(plan, text.to_owned());
        let decided = join_all(asked.iter().map(|site| self.decision(site, &frame, until))).await;
        let mut allowed = Vec::new();
        let mut waiting = 0;
        for (site, decision) in asked.into_iter().zip(decided) {
            match decision {
                Some(true) => allowed.push(site),
                Some(false) => {}
                None => waiting += 1,
            }
        }
        let needed = match plan.aggregation.protection {
            Protection::TwoAggregators | Protection::Proven | Protection::DoubleMasking => {
                plan.privacy.minimum_sites.max(SITES_MIN)
            }
            Protection::None => plan.privacy.minimum_sites,
        };
        if allowed.is_empty() || allowed.len() < needed {
            return Err(NetError::NotAllowed { allowed: allowed.len(), needed, waiting });
        }
        Ok(allowed)
    }

    async fn decision(&self, site: &str, frame: &Frame, until: Instant) -> Option<bool> {
        let mut told = "";
        let mut tell = |what: &'static str| {
            if told != what {
                told = what;
                (self.watch)(RunEvent::Offered(site.to_owned(), what));
            }
        };
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let answer = self.ask_site(site, frame, left).await.ok()?;
            match said(site, &answer) {
                Ok((Reply::Yes, _)) => {
                    tell(ALLOWS);
                    return Some(true);
                }
                Ok((Reply::Waits, _)) => tell(WAITS),
                _ => {
                    tell(REFUSES);
                    return Some(false);
                }
            }
            tokio::time::sleep(ASK_AGAIN.min(until.saturating_duration_since(Instant::now()))).await;
        }
    }

    /// Asks all at once. Who does not answer in time, or refuses, is left out.
    async fn ask_all(&self, sites: &[String], request: &Request) -> Vec<(String, Vec<u8>)> {
        self.answered(self.ask_each(sites, request).await)
    }

    /// Asks all at once: what each says that does not refuse.
    async fn ask_each(&self, sites: &[String], request: &Request) -> Vec<(String, Result<Vec<u8>, NetError>)> {
        let frame = Frame::from(request);
        let within = self.settings.answer_within;
        join_all(sites.iter().map(async |site| {
            let answer = self.ask_site(site, &frame, within).await;
            let answer = answer.and_then(|answer| said(site, &answer).map(drop).map(|()| answer));
            (site.clone(), answer)
        }))
        .await
    }

    /// Those who answered; the others are left out, and whoever watches is told why.
    fn answered(&self, answers: Vec<(String, Result<Vec<u8>, NetError>)>) -> Vec<(String, Vec<u8>)> {
        let told = answers.into_iter().filter_map(|(site, answer)| match answer {
            Ok(answer) => Some((site, answer)),
            Err(error) => {
                (self.watch)(RunEvent::LeftOut(site, error.to_string()));
                None
            }
        });
        told.collect()
    }

    /// Tells the sites the result; a model only when no attack with the rows of any site finds them in it.
    async fn end(&self, plan: &Plan, live: &[String], outcome: Outcome) -> Result<Outcome, NetError> {
        let digest = plan.digest();
        let outcome = match outcome {
            Outcome::Model(model) => {
                let attacked = self.ask_all(live, &Request::Attack { plan: digest }).await;
                let mut not_run = Vec::new();
                for (site, answer) in &attacked {
                    match read::<Reply>(site, answer)?.0 {
                        Reply::Attacked { found: Attacked::Passed } => {}
                        Reply::Attacked { found: Attacked::NotRun } => not_run.push(site.clone()),
                        Reply::Attacked { found: Attacked::Failed } => {
                            let reason = "an attack tells its rows from others".to_owned();
                            return Err(NetError::Refused { member: site.clone(), reason });
                        }
                        _ => return Err(unexpected(site)),
                    }
                }
                if let Some(silent) = live.iter().find(|site| !attacked.iter().any(|(other, _)| other == *site)) {
                    let reason = "it did not attack the model".to_owned();
                    return Err(NetError::Unreachable { member: silent.clone(), reason });
                }
                let (sites, allowed) = (live.len() as u64, plan.privacy.membership_auc);
                let found = Membership::AtSites { sites, allowed, not_run };
                Outcome::Model(Box::new(model.tested(found, &plan.privacy)?))
            }
            other => other,
        };
        if let Some(agent) = self.own_site.as_ref().filter(|_| live.contains(&self.network.own().name)) {
            agent.may_tell(&outcome).await?;
        }
        self.ask_all(live, &Request::End { plan: digest, outcome: result_text(&outcome) }).await;
        Ok(outcome)
    }
}
