//! A site that answers runs of the network: it dials out, asks its own people first, and lets out what the gate lets out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use acequia_custody::{Approval, ApprovalRefused, RunDecision};
use acequia_gate::{Outbound, let_out};
use acequia_learn::{
    Ask, Data, LearnError, Ledger, Left, Plan, Protection, Roster as Sites, Run, Site, SiteRules, SiteUpdate,
    StillAllowed, SystemEntropy, VALIDATION, ValidationRequest, membership_test,
};
use acequia_types::{Clock, Day, Digest};
use futures_util::future::join_all;

use crate::aggregator::AggregatorDesk;
use crate::error::NetError;
use crate::identity::Identity;
use crate::link::{Asked, Link, Network};
use crate::message::{Frame, Reply, Request, read};
use crate::queue::{Begun, Offer, Queue};
use crate::roster::{Member, Role, Roster};

/// Between two attempts to dial a coordinator, at first and at most.
const DIAL_AGAIN: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));

/// The rows that a site holds, read for each plan.
pub trait Holdings: Send + Sync + 'static {
    /// Rows of the plan's cohort, with the plan's variables. Blocks.
    ///
    /// # Errors
    /// [`LearnError`], without any value of a row.
    fn rows(&self, plan: &Plan) -> Result<Held, LearnError>;

    /// Rows on which a model is to be measured. Blocks.
    ///
    /// # Errors
    /// [`LearnError`], without any value of a row.
    fn for_validation(&self, request: &ValidationRequest) -> Result<HeldForValidation, LearnError>;
}

/// Rows for one validation.
pub struct HeldForValidation {
    /// The table.
    pub data: Data,
    /// As [`Held::approve`].
    pub approve: Option<Approve>,
}

/// What a site's signature under a finding is for.
pub(crate) const FINDING: &str = "acequia finding 1";

/// Rows for one run.
pub struct Held {
    /// Tables, each a stratum.
    pub tables: Vec<Data>,
    /// Asked before each answer, where rows are of people who may withdraw.
    pub still_allowed: Option<StillAllowed>,
    /// Approves an answer (its digest) by the consent of the people whose rows they are; where there is none, the institution's
    /// own decision does.
    pub approve: Option<Approve>,
}

/// Approves one answer, by its digest.
pub type Approve = Arc<dyn Fn(Digest) -> Result<Approval, ApprovalRefused> + Send + Sync>;

/// How a site answers.
pub struct SiteSettings {
    /// Folder of its queue.
    pub folder: PathBuf,
    /// Its own rules; the stricter of these and the plan's count.
    pub rules: SiteRules,
    /// Kinds of task that are allowed without asking a person.
    pub standing: BTreeSet<String>,
}

/// What happens at a site, for whoever watches it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SiteEvent {
    /// A coordinator was reached.
    Connected(String),
    /// A coordinator was lost; it is dialled again.
    Lost(String),
    /// A plan was offered and waits for a person: digest and sentence.
    Waits(Digest, String),
    /// A run began.
    Begun(Digest),
    /// An answer left: run and round.
    Answered(Digest, u32),
    /// Something was refused, with the reason.
    Refused(String),
    /// The result of a run came.
    Finished(Digest),
}

/// Takes events.
pub type Watch = Arc<dyn Fn(SiteEvent) + Send + Sync>;

/// The way back to a coordinator.
#[derive(Clone, Copy)]
pub(crate) enum Way<'a> {
    /// The connection it asks over.
    Link(&'a Link),
    /// It is this very node, which may be an aggregator too.
    Here(Option<&'a Arc<AggregatorDesk>>),
}

/// A run that began.
struct Running {
    plan: Plan,
    site: Site,
    tables: Vec<Data>,
    approve: Option<Approve>,
    coordinator: String,
}

/// A site's agent.
pub struct SiteAgent {
    network: Network,
    queue: Queue,
    settings: SiteSettings,
    holdings: Arc<dyn Holdings>,
    clock: Arc<dyn Clock>,
    identity: Identity,
    running: Mutex<BTreeMap<Digest, Arc<Mutex<Running>>>>,
    /// Connections to aggregators that are no coordinators.
    aggregators: tokio::sync::Mutex<BTreeMap<String, Link>>,
    watch: Watch,
}

impl SiteAgent {
    /// Prepares the agent of the member that `identity` is.
    ///
    /// # Errors
    /// [`NetError::NotAMember`] when it is no site.
    pub fn new(
        network: Network,
        identity: &Identity,
        settings: SiteSettings,
        holdings: Arc<dyn Holdings>,
        clock: Arc<dyn Clock>,
        watch: Watch,
    ) -> Result<Arc<Self>, NetError> {
        network.roster().expect(&network.own().name, Role::Site)?;
        Ok(Arc::new(Self {
            queue: Queue::new(&settings.folder),
            identity: identity.clone(),
            network,
            settings,
            holdings,
            clock,
            running: Mutex::default(),
            aggregators: tokio::sync::Mutex::default(),
            watch,
        }))
    }

    /// Dials every coordinator of the roster, answers, and dials again whatever is lost. Does not end by itself.
    pub async fn serve(self: Arc<Self>) {
        let coordinators: Vec<Member> =
            self.roster().with_role(Role::Coordinator).into_iter().cloned().filter(|m| m.name != self.name()).collect();
        let mut tasks = tokio::task::JoinSet::new();
        for coordinator in coordinators {
            tasks.spawn(Arc::clone(&self).stay_with(coordinator));
        }
        while tasks.join_next().await.is_some() {}
    }

    fn name(&self) -> &str {
        &self.network.own().name
    }

    fn roster(&self) -> &Roster {
        self.network.roster()
    }

    async fn stay_with(self: Arc<Self>, coordinator: Member) {
        let mut wait = DIAL_AGAIN.0;
        loop {
            if let Ok(link) = self.network.dial(&coordinator).await {
                (self.watch)(SiteEvent::Connected(coordinator.name.clone()));
                wait = DIAL_AGAIN.0;
                while let Some(mut incoming) = link.next().await {
                    let (agent, link) = (Arc::clone(&self), link.clone());
                    tokio::spawn(async move {
                        let Ok(bytes) = incoming.read().await else { return };
                        let from = incoming.from.clone();
                        let frame = agent.answer(&from, &bytes, Way::Link(&link)).await;
                        incoming.answer(&frame).await;
                    });
                }
                (self.watch)(SiteEvent::Lost(coordinator.name.clone()));
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(DIAL_AGAIN.1);
        }
    }

    /// Answers what a coordinator asks. A no says why, in words about rules and files, never about rows.
    pub(crate) async fn answer(self: &Arc<Self>, from: &str, bytes: &[u8], way: Way<'_>) -> Frame {
        match self.reply(from, bytes, way).await {
            Ok(frame) => frame,
            Err(error) => {
                let reason = error.to_string();
                (self.watch)(SiteEvent::Refused(reason.clone()));
                Frame::from(&Reply::No { reason })
            }
        }
    }

    async fn reply(self: &Arc<Self>, from: &str, bytes: &[u8], way: Way<'_>) -> Result<Frame, NetError> {
        self.roster().valid_on(self.clock.now().day())?;
        self.roster().expect(from, Role::Coordinator)?;
        let (request, _) = read::<Request>(from, bytes)?;
        match request {
            Request::Offer { plan } => {
                let (agent, from) = (Arc::clone(self), from.to_owned());
                Ok(Frame::from(&blocking(move || agent.offered(&from, &plan)).await?))
            }
            Request::Begin { plan, sites } => {
                let (agent, from) = (Arc::clone(self), from.to_owned());
                Ok(Frame::from(&blocking(move || agent.begin(&from, plan, sites)).await?))
            }
            Request::Ask { ask } => self.asked(from, ask, way).await,
            Request::Attack { plan } => {
                let (agent, from) = (Arc::clone(self), from.to_owned());
                Ok(Frame::from(&blocking(move || agent.attack(&from, plan)).await?))
            }
            Request::End { plan, outcome } => {
                let (agent, from) = (Arc::clone(self), from.to_owned());
                Ok(Frame::from(&blocking(move || agent.end(&from, plan, &outcome)).await?))
            }
            Request::Examine { request } => {
                let (agent, from) = (Arc::clone(self), from.to_owned());
                blocking(move || agent.examined(&from, &request)).await
            }
            Request::Open { .. } | Request::Share { .. } | Request::Present { .. } | Request::Close { .. } => {
                Err(NetError::Message { from: from.to_owned(), reason: "a site adds nothing up" })
            }
        }
    }

    fn held(&self, plan: &Plan) -> Result<Held, NetError> {
        Ok(self.holdings.rows(plan)?)
    }

    /// The decision that holds now.
    fn decision(&self, plan: &Digest) -> Result<Option<RunDecision>, NetError> {
        if self.queue.is_stopped() {
            return Err(
                LearnError::Withheld { site: self.name().to_owned(), reason: "it is stopped".to_owned() }.into()
            );
        }
        self.queue.decision(plan)
    }

    fn offered(&self, from: &str, text: &str) -> Result<Reply, NetError> {
        let plan = Plan::from_json(text)?;
        let digest = plan.digest();
        if self.queue.decision(&digest)?.is_none() {
            // As if every site took part: a preview of the first round, for whoever decides.
            let sites = Sites::new(self.roster().with_role(Role::Site).iter().map(|member| member.name.clone()))?;
            let held = self.held(&plan)?;
            let rules = self.settings.rules.clone();
            let site = Site::join(self.name(), &plan, &sites, held.tables, rules, &mut Ledger::default())?;
            let leaving = site.look(&Run::new(&plan, &sites).ask())?;
            self.enter(from, &digest, text, (&leaving.title, plan.task.kind(), leaving.words), plan.last_day)?;
        }
        self.standing_of(&digest)
    }

    /// Enters what was offered, and decides where a standing rule does.
    fn enter(
        &self,
        from: &str,
        digest: &Digest,
        document: &str,
        (title, task, words): (&str, &str, String),
        last_day: Option<Day>,
    ) -> Result<(), NetError> {
        let now = self.clock.now();
        let offer = Offer { from: from.to_owned(), at: now, title: title.to_owned(), task: task.to_owned(), words };
        self.queue.offer(digest, document, &offer)?;
        if self.settings.standing.contains(task) {
            self.queue.decide(digest, true, &format!("the standing rule for {task}"), last_day, now)?;
        } else {
            (self.watch)(SiteEvent::Waits(*digest, offer.words));
        }
        Ok(())
    }

    fn standing_of(&self, digest: &Digest) -> Result<Reply, NetError> {
        Ok(match self.decision(digest)? {
            None => Reply::Waits,
            Some(decision) if decision.allowed => Reply::Yes,
            Some(_) => Reply::No { reason: "its people decided against it".to_owned() },
        })
    }

    /// Measures a model on this site's rows, once its people allowed it, and signs what comes out.
    fn examined(&self, from: &str, text: &str) -> Result<Frame, NetError> {
        let request = ValidationRequest::from_json(text)?;
        let digest = request.digest();
        let held = self.holdings.for_validation(&request)?;
        if self.queue.decision(&digest)?.is_none() {
            let words = request.words(held.data.rows() as u64);
            let title = format!("Worth of: {}", request.model.title);
            self.enter(from, &digest, text, (&title, VALIDATION, words), request.last_day)?;
        }
        let reply = self.standing_of(&digest)?;
        if reply != Reply::Yes {
            return Ok(Frame::from(&reply));
        }
        let now = self.clock.now();
        let decision = self.decision(&digest)?;
        let decision =
            decision.ok_or_else(|| NetError::Message { from: from.to_owned(), reason: "nobody here allowed it" })?;
        let finding = request.answer(&held.data, &self.settings.rules, now)?;
        let decided = decision.approve(finding.digest(), digest, now)?;
        let approval = match &held.approve {
            Some(approve) => approve(finding.digest())?,
            None => decided,
        };
        let signature = self.identity.sign(FINDING, &finding.digest());
        let outbound = let_out(finding, &approval)?;
        let mut log = self.queue.log(&digest)?;
        log.record(Left {
            at: now,
            plan: digest,
            context: digest,
            round: 1,
            to: vec![from.to_owned()],
            words: request.words(held.data.rows() as u64),
            sent: vec![outbound.get().digest()],
        });
        if let Some(entry) = log.entries().last() {
            self.queue.leaves(&digest, entry)?;
        }
        let evaluation = serde_json::to_string_pretty(outbound.get().evaluation()).unwrap_or_default() + "\n";
        self.queue.finish(&digest, &evaluation)?;
        (self.watch)(SiteEvent::Finished(digest));
        Ok(Frame::finding(&outbound, signature))
    }

    fn begin(&self, from: &str, digest: Digest, sites: Vec<String>) -> Result<Reply, NetError> {
        let refuse = |reason| NetError::Message { from: from.to_owned(), reason };
        let decision = self.decision(&digest)?.ok_or_else(|| refuse("nobody here allowed this run"))?;
        decision.approve(digest, digest, self.clock.now())?;
        for site in &sites {
            self.roster().expect(site, Role::Site)?;
        }
        if !sites.iter().any(|site| site == self.name()) {
            return Err(refuse("this site is not among those who take part"));
        }
        let begun = Begun { from: from.to_owned(), sites: sites.clone(), roster: self.roster().digest() };
        match self.queue.begun(&digest)? {
            // The difference of two sums over other sites could be the rows of one.
            Some(before) if before != begun => {
                return Err(refuse("the run began here with other sites or another roster"));
            }
            Some(_) => {}
            None => self.queue.begin(&digest, &begun)?,
        }
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if running.contains_key(&digest) {
            return Ok(Reply::Yes);
        }
        let plan = Plan::from_json(&self.queue.plan(&digest)?)?;
        let sites = Sites::new(sites)?.identified_by(self.roster().digest());
        let held = self.held(&plan)?;
        let mut ledger = self.queue.ledger()?;
        let site =
            Site::join(self.name(), &plan, &sites, held.tables.clone(), self.settings.rules.clone(), &mut ledger)?;
        let site = site.with_share_key(self.identity.share_key()).resumed(self.queue.log(&digest)?);
        let site = match held.still_allowed {
            Some(still_allowed) => site.asking(still_allowed),
            None => site,
        };
        self.queue.keep(&ledger)?;
        let run = Running { plan, site, tables: held.tables, approve: held.approve, coordinator: from.to_owned() };
        running.insert(digest, Arc::new(Mutex::new(run)));
        (self.watch)(SiteEvent::Begun(digest));
        Ok(Reply::Yes)
    }

    fn run(&self, from: &str, digest: &Digest) -> Result<Arc<Mutex<Running>>, NetError> {
        let here = || self.running.lock().unwrap_or_else(PoisonError::into_inner).get(digest).cloned();
        let running = match here() {
            Some(running) => Some(running),
            // This site was started again since: it goes on as it began.
            None => match self.queue.begun(digest)? {
                Some(begun) => {
                    self.begin(from, *digest, begun.sites)?;
                    here()
                }
                None => None,
            },
        };
        let running = running.filter(|run| run.lock().unwrap_or_else(PoisonError::into_inner).coordinator == from);
        running.ok_or_else(|| NetError::Message { from: from.to_owned(), reason: "the run did not begin here" })
    }

    /// The updates of a round, put on record and let out.
    fn cleared(&self, from: &str, ask: &Ask) -> Result<(Protection, Vec<Outbound<SiteUpdate>>), NetError> {
        let run = self.run(from, &ask.plan)?;
        let mut run = run.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now();
        let decision = self.decision(&ask.plan)?;
        let decision = decision
            .ok_or_else(|| NetError::Message { from: from.to_owned(), reason: "nobody here allowed this run" })?;
        let logged = run.site.log().entries().len();
        let updates = run.site.answer(ask, now, &mut SystemEntropy)?;
        let outbound = updates
            .into_iter()
            .map(|update| {
                // The people at the site in any case; those whose rows they are besides.
                let decided = decision.approve(update.digest(), ask.plan, now)?;
                let approval = match &run.approve {
                    Some(approve) => approve(update.digest())?,
                    None => decided,
                };
                Ok(let_out(update, &approval)?)
            })
            .collect::<Result<Vec<_>, NetError>>()?;
        for entry in &run.site.log().entries()[logged..] {
            self.queue.leaves(&ask.plan, entry)?;
        }
        Ok((run.plan.aggregation.protection, outbound))
    }

    async fn asked(self: &Arc<Self>, from: &str, ask: Ask, way: Way<'_>) -> Result<Frame, NetError> {
        let (plan, round) = (ask.plan, ask.round);
        let (agent, coordinator) = (Arc::clone(self), from.to_owned());
        let (protection, updates) = blocking(move || agent.cleared(&coordinator, &ask)).await?;
        if protection == Protection::None {
            let update = updates.first();
            let update =
                update.ok_or_else(|| NetError::Message { from: from.to_owned(), reason: "there is no answer" })?;
            (self.watch)(SiteEvent::Answered(plan, round));
            return Ok(Frame::from(update));
        }
        let sent = updates.iter().map(|update| self.hand_over(plan, update, from, way));
        for result in join_all(sent).await {
            result?;
        }
        (self.watch)(SiteEvent::Answered(plan, round));
        Ok(Frame::from(&Reply::Sent))
    }

    /// Hands a share to its aggregator.
    async fn hand_over(
        &self,
        plan: Digest,
        update: &Outbound<SiteUpdate>,
        coordinator: &str,
        way: Way<'_>,
    ) -> Result<(), NetError> {
        let name = update.get().to();
        let member = self.roster().expect(name, Role::Aggregator)?;
        let frame = Frame::share(plan, update);
        let answer = match way {
            Way::Link(link) if name == coordinator => link.ask(&frame).await?,
            Way::Here(Some(desk)) if name == coordinator => {
                desk.answer(self.name(), frame.bytes().to_vec()).await.bytes().to_vec()
            }
            _ => match self.aggregator(member, false).await?.ask(&frame).await {
                Ok(answer) => answer,
                // It may have been started again.
                Err(_) => self.aggregator(member, true).await?.ask(&frame).await?,
            },
        };
        match read::<Reply>(name, &answer)?.0 {
            Reply::Yes => Ok(()),
            Reply::No { reason } => Err(NetError::Refused { member: name.to_owned(), reason }),
            _ => Err(NetError::Message { from: name.to_owned(), reason: "it is no answer to a share" }),
        }
    }

    async fn aggregator(&self, member: &Member, again: bool) -> Result<Link, NetError> {
        let mut links = self.aggregators.lock().await;
        match links.get(&member.name) {
            Some(link) if !again && !link.is_closed() => Ok(link.clone()),
            _ => {
                let link = self.network.dial(member).await?;
                links.insert(member.name.clone(), link.clone());
                Ok(link)
            }
        }
    }

    /// Runs the plan on half of this site's rows, and looks whether the model tells them from the other half. A model of few rows
    /// remembers each of them more than the model of all sites does, so this errs to the safe side.
    fn attack(&self, from: &str, digest: Digest) -> Result<Reply, NetError> {
        let run = self.run(from, &digest)?;
        let run = run.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Reply::Attacked { membership: membership_test(&run.plan, &run.tables) })
    }

    /// Keeps the result.
    fn end(&self, from: &str, digest: Digest, text: &str) -> Result<Reply, NetError> {
        self.run(from, &digest)?;
        self.queue.finish(&digest, text)?;
        self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&digest);
        (self.watch)(SiteEvent::Finished(digest));
        Ok(Reply::Yes)
    }
}

/// Work that computes or writes files, off the threads that wait for the network.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, NetError> + Send + 'static,
) -> Result<T, NetError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(panic) if panic.is_panic() => std::panic::resume_unwind(panic.into_panic()),
        Err(_) => {
            Err(NetError::Unreachable { member: "this node".to_owned(), reason: "it is shutting down".to_owned() })
        }
    }
}
