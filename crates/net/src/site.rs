//! A site that answers runs of the network: it dials out, asks its own people first, and lets out what the gate lets out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use acequia_custody::{Approval, ApprovalRefused, RunDecision};
use acequia_gate::{Outbound, let_out};
use acequia_learn::{
    Ask, Data, LearnError, Ledger, Left, Outcome, Plan, Protection, Roster as Sites, Run, SITES_MIN, Site, SiteRules,
    SiteUpdate, StillAllowed, Turn, Unattacked, VALIDATION, ValidationRequest, membership_test,
};
use acequia_types::{Clock, Day, Digest};
use futures_util::future::join_all;

use crate::aggregator::AggregatorDesk;
use crate::error::{NetError, file};
use crate::identity::Identity;
use crate::link::{Link, Network, Protocol};
use crate::message::{Attacked, Frame, Reply, Request, read};
use crate::peers::Peers;
use crate::proposal;
use crate::queue::{Begun, Offer, Queue};
use crate::refusals::{Asked, Refusals};
use crate::roster::{Member, Role, Roster, Signer};

/// Between two attempts to dial a coordinator, at first and at most.
pub(crate) const DIAL_AGAIN: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));

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

    /// Asked by a coordinator about its own rows, before the outcome of a run with them is told to anybody; where nobody coordinates,
    /// before it is kept here. Blocks.
    ///
    /// # Errors
    /// [`LearnError`] when it may not be told.
    fn tell(&self, outcome: &Outcome) -> Result<(), LearnError> {
        let _ = outcome;
        Ok(())
    }
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
    /// Where nobody coordinates: how long a sum waits for a site before the run goes on without it, if the plan says so. After a
    /// sixth of it the next in line takes over from one that is not connected, after three times as long from one that is silent.
    pub answer_within: Duration,
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
    /// Who adds up now, where nobody coordinates: run, round, and first and second in line.
    AddsUp(Digest, u32, Vec<String>),
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
    still_allowed: Option<StillAllowed>,
    approve: Option<Approve>,
    coordinator: String,
    /// Entries of the site's log that are on disk.
    persisted: usize,
}

/// A site's agent.
pub struct SiteAgent {
    pub(crate) network: Network,
    pub(crate) queue: Queue,
    pub(crate) settings: SiteSettings,
    pub(crate) holdings: Arc<dyn Holdings>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) identity: Identity,
    /// Held while files of the queue are read and written together.
    pub(crate) files: Mutex<()>,
    /// What was refused here.
    pub(crate) refusals: Refusals,
    running: Mutex<BTreeMap<Digest, Arc<Mutex<Running>>>>,
    pub(crate) desk: Desk,
    /// Connections to aggregators that are no coordinators.
    aggregators: tokio::sync::Mutex<BTreeMap<String, Link>>,
    pub(crate) watch: Watch,
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
            refusals: Refusals::new(&settings.folder),
            identity: identity.clone(),
            files: Mutex::default(),
            network,
            settings,
            holdings,
            clock,
            running: Mutex::default(),
            desk: Desk::new()?,
            aggregators: tokio::sync::Mutex::default(),
            watch,
        }))
    }

    /// Dials every coordinator of the roster, answers, and dials again whatever is lost; and meets the other sites, for runs without
    /// a coordinator. Does not end by itself.
    pub async fn serve(self: Arc<Self>) {
        let coordinators: Vec<Member> = self
            .roster()
            .with_role(Role::Coordinator)
            .into_iter()
            .filter(|member| member.name != self.name())
            .cloned()
            .collect();
        let mut tasks = tokio::task::JoinSet::new();
        for coordinator in coordinators {
            tasks.spawn(Arc::clone(&self).stay_with(coordinator));
        }
        tasks.spawn(Peers::serve(self));
        while tasks.join_next().await.is_some() {}
    }

    pub(crate) fn name(&self) -> &str {
        &self.network.own().name
    }

    fn roster(&self) -> &Roster {
        self.network.roster()
    }

    async fn stay_with(self: Arc<Self>, coordinator: Member) {
        let mut wait = DIAL_AGAIN.0;
        loop {
            if let Ok(link) = self.network.dial(&coordinator, Protocol::Run).await {
                (self.watch)(SiteEvent::Connected(coordinator.name.clone()));
                wait = DIAL_AGAIN.0;
                while let Some(mut incoming) = link.next().await {
                    let (agent, link) = (Arc::clone(&self), link.clone());
                    tokio::spawn(async move {
                        let Ok(bytes) = incoming.read().await else { return };
                        let from = incoming.from.clone();
                        let frame = agent.answer(&from, bytes, Way::Link(&link)).await;
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
    pub(crate) async fn answer(self: &Arc<Self>, from: &str, bytes: Vec<u8>, way: Way<'_>) -> Frame {
        let mut asked = Asked::default();
        match self.reply(from, bytes, way, &mut asked).await {
            Ok(frame) => frame,
            Err(error) => {
                self.refusals.enter(from, asked, &error, self.clock.now());
                (self.watch)(SiteEvent::Refused(error.to_string()));
                Frame::from(&Reply::No { reason: told_to_others(&error) })
            }
        }
    }

    async fn reply(
        self: &Arc<Self>,
        from: &str,
        bytes: Vec<u8>,
        way: Way<'_>,
        asked: &mut Asked,
    ) -> Result<Frame, NetError> {
        self.roster().valid_on(self.clock.now().day())?;
        self.roster().expect(from, Role::Coordinator)?;
        let sender = from.to_owned();
        // A question may be long; its bytes are not needed while it is answered.
        let request = self.desk.work(move || Ok(read::<Request>(&sender, &bytes)?.0)).await?;
        *asked = request.asked();
        match request {
            Request::Offer { plan, signature } => {
                let (agent, from) = (Arc::clone(self), from.to_owned());
                Ok(Frame::from(&blocking(move || agent.offered(&from, &plan, signature)).await?))
            }
            Request::Begin { plan, roster, sites } => {
                if roster != self.roster().digest() {
                    return Err(NetError::Message {
                        from: from.to_owned(),
                        reason: "it has another roster than this site",
                    });
                }
                let (agent, from) = (Arc::clone(self), from.to_owned());
                Ok(Frame::from(&blocking(move || agent.begin(&from, plan, sites)).await?))
            }
            Request::Ask { ask } => self.asked(from, ask, way).await,
            Request::Turn { plan, context, turn } => {
                let (agent, from) = (Arc::clone(self), from.to_owned());
                self.desk.work(move || agent.turned(&from, plan, &context, &turn)).await
            }
            Request::Attack { plan } => {
                let (agent, from) = (Arc::clone(self), from.to_owned());
                Ok(Frame::from(&blocking(move || agent.attack(&from, plan)).await?))
            }
            Request::End { plan, outcome } => {
                let (agent, from) = (Arc::clone(self), from.to_owned());
                Ok(Frame::from(&blocking(move || agent.end(&from, plan, &outcome)).await?))
            }
            Request::Examine { request, signature } => {
                let (agent, from) = (Arc::clone(self), from.to_owned());
                blocking(move || agent.examined(&from, &request, signature)).await
            }
            Request::Open { .. }
            | Request::Share { .. }
            | Request::Present { .. }
            | Request::Verify { .. }
            | Request::Settle { .. }
            | Request::Close { .. } => {
                Err(NetError::Message { from: from.to_owned(), reason: "a site adds nothing up" })
            }
        }
    }

    pub(crate) fn held(&self, plan: &Plan) -> Result<Held, NetError> {
        Ok(self.holdings.rows(plan)?)
    }

    /// The decision that holds now.
    pub(crate) fn decision(&self, plan: &Digest) -> Result<Option<RunDecision>, NetError> {
        if self.queue.is_stopped() {
            return Err(
                LearnError::Withheld { site: self.name().to_owned(), reason: "it is stopped".to_owned() }.into()
            );
        }
        self.queue.decision(plan)
    }

    fn offered(&self, from: &str, text: &str, signature: Option<String>) -> Result<Reply, NetError> {
        let plan = Plan::from_json(text)?;
        let digest = plan.digest();
        proposal::verify(self.roster(), from, &digest, &[], signature.as_deref())?;
        plan.valid_on(self.clock.now().day())?;
        self.enough_sites(&plan)?;
        self.is_coordinated(from, &digest)?;
        if self.queue.waits(&digest)? && !self.settings.standing.contains(plan.task.kind()) {
            return Ok(Reply::Waits);
        }
        if self.queue.decision(&digest)?.is_none() {
            let all = self.roster().with_role(Role::Site).iter().map(|member| member.name.clone()).collect::<Vec<_>>();
            let words = self.preview(&plan, &all, None)?;
            self.enter(from, signature, &digest, text, (&plan.title, plan.task.kind(), words), plan.last_day)?;
        }
        self.standing_of(&digest)
    }

    /// What would leave in the first round, as if all of these sites took part; `adders` add up where nobody coordinates. Where the
    /// table does not fit the plan, whoever decides reads why, and nobody else.
    pub(crate) fn preview(
        &self,
        plan: &Plan,
        sites: &[String],
        adders: Option<Vec<String>>,
    ) -> Result<String, NetError> {
        let sites = Sites::new(sites.iter().cloned())?;
        let looked = self.held(plan).and_then(|held| {
            let rules = self.settings.rules.clone();
            // As if it began now; nothing of it is kept.
            let (mut ledger, key) = (self.queue.ledger()?, self.identity.share_key());
            let site = Site::join(self.name(), plan, &sites, held.tables, rules, &mut ledger, key)?;
            let mut site = match adders {
                Some(adders) => site.in_turns(adders),
                None => site,
            };
            let ask = Run::new(plan, &sites).ask();
            site.would_answer(&ask)?;
            Ok(format!("{} {}{}", plan.in_words(), self.budget_words(plan, &ledger), site.look(&ask)?.words))
        });
        Ok(match looked {
            Ok(words) => words,
            Err(NetError::Learn(error @ (LearnError::Withheld { .. } | LearnError::Few { .. }))) => {
                format!("{}. {} Nothing would leave, for this site's rules: {error}.", plan.title, plan.in_words())
            }
            Err(error) => format!("This site cannot answer the plan as its table is: {error}."),
        })
    }

    /// What a run with noise would leave of the budget, in a sentence.
    fn budget_words(&self, plan: &Plan, with_it: &Ledger) -> String {
        let Some(guarantee) = plan.task.guarantee() else { return String::new() };
        let delta = self.settings.rules.budget.map_or(guarantee.delta, |budget| budget.delta);
        let (spent, runs) = with_it.spent(delta);
        let of = self.settings.rules.budget.map_or(String::new(), |budget| format!(" of {}", budget.epsilon));
        format!("With it, {runs} runs with noise will have given away epsilon {spent:.3}{of} at delta {delta:e}. ")
    }

    /// A run that sites proposed to one another has no coordinator.
    fn is_coordinated(&self, from: &str, digest: &Digest) -> Result<(), NetError> {
        match self.queue.among(digest)? {
            Some(_) => Err(NetError::Message { from: from.to_owned(), reason: "the run is one without a coordinator" }),
            None => Ok(()),
        }
    }

    /// Whether so many sites are in every sum as this site's rules want. Aggregators see to what the plan says, and to no more.
    fn enough_sites(&self, plan: &Plan) -> Result<(), NetError> {
        let (wanted, kept) = (self.settings.rules.minimum_sites, plan.privacy.minimum_sites.max(SITES_MIN));
        if plan.aggregation.protection.is_shared() && wanted > kept {
            let reason = format!("its rules want {wanted} sites in every sum, and the plan's minimum_sites is {kept}");
            return Err(LearnError::Withheld { site: self.name().to_owned(), reason }.into());
        }
        Ok(())
    }

    /// What people here allowed, they allowed whoever offered it.
    fn is_of(&self, from: &str, digest: &Digest) -> Result<(), NetError> {
        match self.queue.offered_by(digest)? {
            Some(by) if by == from => Ok(()),
            _ => Err(NetError::Message { from: from.to_owned(), reason: "somebody else offered this run" }),
        }
    }

    /// Enters what was offered, and decides where a standing rule does.
    pub(crate) fn enter(
        &self,
        from: &str,
        signature: Option<String>,
        digest: &Digest,
        document: &str,
        (title, task, words): (&str, &str, String),
        last_day: Option<Day>,
    ) -> Result<(), NetError> {
        let now = self.clock.now();
        // Others wrote them, and they go to a terminal.
        let plain =
            |text: &str| text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect::<String>();
        let (title, words) = (plain(title), plain(&words));
        let offer = Offer { from: from.to_owned(), at: now, title, task: task.to_owned(), words, signature };
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
            Some(decision) if decision.allowed => {
                decision.approve(*digest, *digest, self.clock.now())?;
                Reply::Yes
            }
            Some(_) => {
                let reason = "its people decided against it".to_owned();
                return Err(LearnError::Withheld { site: self.name().to_owned(), reason }.into());
            }
        })
    }

    /// Measures a model on this site's rows, once its people allowed it, and signs what comes out.
    fn examined(&self, from: &str, text: &str, signature: Option<String>) -> Result<Frame, NetError> {
        let request = ValidationRequest::from_json(text)?;
        let digest = request.digest();
        proposal::verify(self.roster(), from, &digest, &[], signature.as_deref())?;
        if self.queue.waits(&digest)? && !self.settings.standing.contains(VALIDATION) {
            return Ok(Frame::from(&Reply::Waits));
        }
        let _files = lock(&self.files);
        if self.queue.decision(&digest)?.is_none() {
            let words = match self.holdings.for_validation(&request) {
                Ok(held) => request.words(held.data.rows() as u64),
                Err(error) => format!("This site cannot answer the request as its table is: {error}."),
            };
            let title = format!("Worth of: {}", request.model.title());
            self.enter(from, signature, &digest, text, (&title, VALIDATION, words), request.last_day)?;
        }
        let reply = self.standing_of(&digest)?;
        if reply != Reply::Yes {
            return Ok(Frame::from(&reply));
        }
        self.is_of(from, &digest)?;
        let now = self.clock.now();
        let decision = self.decision(&digest)?;
        let decision =
            decision.ok_or_else(|| NetError::Message { from: from.to_owned(), reason: "nobody here allowed it" })?;
        let held = self.holdings.for_validation(&request)?;
        let mut ledger = self.queue.ledger()?;
        ledger.enter(self.name(), std::slice::from_ref(&held.data), self.settings.rules.minimum_difference)?;
        self.queue.keep(&ledger)?;
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
            attempt: 0,
            to: vec![from.to_owned()],
            words: request.words(held.data.rows() as u64),
            sent: vec![outbound.get().digest()],
            turned: None,
        });
        if let Some(entry) = log.entries().last() {
            self.queue.leaves(&digest, entry)?;
        }
        let evaluation = serde_json::to_string_pretty(outbound.get().evaluation()).unwrap_or_default() + "\n";
        self.queue.finish(&digest, &evaluation)?;
        (self.watch)(SiteEvent::Finished(digest));
        Ok(Frame::finding(&outbound, signature))
    }

    /// Whether the outcome of a run with this site's rows may be told; see [`Holdings::tell`].
    pub(crate) async fn may_tell(&self, outcome: &Outcome) -> Result<(), NetError> {
        let (holdings, outcome) = (Arc::clone(&self.holdings), outcome.clone());
        blocking(move || Ok(holdings.tell(&outcome)?)).await
    }

    fn begin(&self, from: &str, digest: Digest, sites: Vec<String>) -> Result<Reply, NetError> {
        let refuse = |reason| NetError::Message { from: from.to_owned(), reason };
        let _files = lock(&self.files);
        let decision = self.decision(&digest)?.ok_or_else(|| refuse("nobody here allowed this run"))?;
        self.is_of(from, &digest)?;
        self.is_coordinated(from, &digest)?;
        decision.approve(digest, digest, self.clock.now())?;
        for site in &sites {
            self.roster().expect(site, Role::Site)?;
        }
        if !sites.iter().any(|site| site == self.name()) {
            return Err(refuse("this site is not among those who take part"));
        }
        let roster = self.roster().digest();
        self.began_so(&digest, from, &sites)?;
        let mut running = lock(&self.running);
        if running.contains_key(&digest) {
            return Ok(Reply::Yes);
        }
        let plan = Plan::from_json(&self.queue.plan(&digest)?)?;
        let held = self.held(&plan)?;
        self.begins(&digest, from, &sites, &held)?;
        let sites = Sites::new(sites)?.identified_by(roster);
        let (site, persisted) = self.joins(&digest, &plan, &sites, &held)?;
        let coordinator = from.to_owned();
        let Held { tables, still_allowed, approve } = held;
        let run = Running { plan, site, tables, still_allowed, approve, coordinator, persisted };
        running.insert(digest, Arc::new(Mutex::new(run)));
        (self.watch)(SiteEvent::Begun(digest));
        Ok(Reply::Yes)
    }

    /// How a run began here, if it did: with these sites and this roster, or it is not gone on with. The difference of two sums over
    /// other sites could be the rows of one.
    fn began_so(&self, run: &Digest, from: &str, sites: &[String]) -> Result<Option<Begun>, NetError> {
        let (before, roster) = (self.queue.begun(run)?, self.roster().digest());
        let other = |before: &Begun| (&*before.from, &*before.sites, before.roster) != (from, sites, roster);
        if before.as_ref().is_some_and(other) {
            let reason = "the run began here with other sites or another roster";
            return Err(NetError::Message { from: from.to_owned(), reason });
        }
        Ok(before)
    }

    /// Puts on record that a run begins, or sees that it goes on as it began, with the same rows.
    pub(crate) fn begins(&self, run: &Digest, from: &str, sites: &[String], held: &Held) -> Result<(), NetError> {
        let (roster, rows) = (self.roster().digest(), Data::held(&held.tables));
        match self.began_so(run, from, sites)? {
            Some(before) if before.rows != rows => Err(NetError::Message {
                from: from.to_owned(),
                reason: "the rows here are not those that the run began with; change its title to begin anew",
            }),
            Some(_) => Ok(()),
            None => self.queue.begin(run, &Begun { from: from.to_owned(), sites: sites.to_vec(), roster, rows }),
        }
    }

    /// Joins a run with these rows after what left before, of which so many entries are on disk.
    pub(crate) fn joins(
        &self,
        run: &Digest,
        plan: &Plan,
        sites: &Sites,
        held: &Held,
    ) -> Result<(Site, usize), NetError> {
        let mut ledger = self.queue.ledger()?;
        let (tables, rules, key) = (held.tables.clone(), self.settings.rules.clone(), self.identity.share_key());
        let site = Site::join(self.name(), plan, sites, tables, rules, &mut ledger, key)?;
        let site = site
            .vouching(Arc::new(Signer { identity: self.identity.clone(), roster: Arc::clone(self.network.roster()) }));
        let log = self.queue.log(run)?;
        let persisted = log.entries().len();
        let site = site.resumed(log);
        let site = match self.queue.drawn(run)? {
            Some(drawn) => site.having_drawn(&drawn),
            None => site,
        };
        let site = match &held.still_allowed {
            Some(still_allowed) => site.asking(Arc::clone(still_allowed)),
            None => site,
        };
        self.queue.keep(&ledger)?;
        Ok((site, persisted))
    }

    fn run(&self, from: &str, digest: &Digest) -> Result<Arc<Mutex<Running>>, NetError> {
        let here = || lock(&self.running).get(digest).cloned();
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
        let running = running.filter(|run| lock(run).coordinator == from);
        running.ok_or_else(|| NetError::Message { from: from.to_owned(), reason: "the run did not begin here" })
    }

    /// The updates of a round, put on record and let out.
    fn cleared(&self, from: &str, ask: &Ask) -> Result<(Protection, Vec<Outbound<SiteUpdate>>), NetError> {
        let run = self.run(from, &ask.plan)?;
        let mut run = lock(&run);
        let now = self.clock.now();
        let decision = self.decision(&ask.plan)?;
        let decision = decision
            .ok_or_else(|| NetError::Message { from: from.to_owned(), reason: "nobody here allowed this run" })?;
        // Asked before anything is computed, and once more before it leaves: people may say no meanwhile.
        decision.approve(ask.plan, ask.plan, now)?;
        if ask.attempt != 0 {
            return Err(NetError::Message {
                from: from.to_owned(),
                reason: "nobody takes over where there is a coordinator",
            });
        }
        let updates = run.site.answer(ask, now)?;
        let decision = self.decision(&ask.plan)?.unwrap_or(decision);
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
        if let Some(drawn) = run.site.drawn() {
            self.queue.keep_drawn(&ask.plan, &drawn)?;
        }
        self.persist(&ask.plan, &mut run)?;
        Ok((run.plan.aggregation.protection, outbound))
    }

    /// A step of double masking, put on record and let out.
    fn turned(&self, from: &str, plan: Digest, context: &Digest, turn: &Turn) -> Result<Frame, NetError> {
        let run = self.run(from, &plan)?;
        let mut run = lock(&run);
        let now = self.clock.now();
        let refuse = |reason| NetError::Message { from: from.to_owned(), reason };
        let decision = self.decision(&plan)?.ok_or_else(|| refuse("nobody here allowed this run"))?;
        decision.approve(plan, plan, now)?;
        let Some(update) = run.site.turn(context, turn, now)? else { return Ok(Frame::from(&Reply::Again)) };
        let decided = self.decision(&plan)?.unwrap_or(decision).approve(update.digest(), plan, now)?;
        let approval = match &run.approve {
            Some(approve) => approve(update.digest())?,
            None => decided,
        };
        let round = update.round();
        let outbound = let_out(update, &approval)?;
        self.persist(&plan, &mut run)?;
        if matches!(turn, Turn::Unmask(_)) {
            (self.watch)(SiteEvent::Answered(plan, round));
        }
        Ok(Frame::masked(&outbound))
    }

    /// Writes what the log has and the disk has not; before anything of it leaves.
    fn persist(&self, plan: &Digest, run: &mut Running) -> Result<(), NetError> {
        while let Some(entry) = run.site.log().entries().get(run.persisted) {
            self.queue.leaves(plan, entry)?;
            run.persisted += 1;
        }
        Ok(())
    }

    async fn asked(self: &Arc<Self>, from: &str, ask: Ask, way: Way<'_>) -> Result<Frame, NetError> {
        let (plan, round) = (ask.plan, ask.round);
        let (agent, coordinator) = (Arc::clone(self), from.to_owned());
        let (protection, updates) = self.desk.work(move || agent.cleared(&coordinator, &ask)).await?;
        if !protection.is_shared() {
            let update = updates.first();
            let update =
                update.ok_or_else(|| NetError::Message { from: from.to_owned(), reason: "there is no answer" })?;
            if protection == Protection::DoubleMasking {
                return Ok(Frame::masked(update));
            }
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
                desk.answer(self.name(), frame.into_bytes()).await.into_bytes()
            }
            _ => self.hand_on(member, &frame).await?,
        };
        match read::<Reply>(name, &answer)?.0 {
            Reply::Yes => Ok(()),
            Reply::No { reason } => Err(NetError::Refused { member: name.to_owned(), reason }),
            _ => Err(NetError::Message { from: name.to_owned(), reason: "it is no answer to a share" }),
        }
    }

    /// Hands on to an aggregator, which may be started again just now.
    async fn hand_on(&self, member: &Member, frame: &Frame) -> Result<Vec<u8>, NetError> {
        let mut tried = 0;
        loop {
            let asked = match self.aggregator(member, tried > 0).await {
                Ok(link) => link.ask(frame).await,
                Err(error) => Err(error),
            };
            match asked {
                Err(_) if tried < 20 => tokio::time::sleep(DIAL_AGAIN.0).await,
                done => return done,
            }
            tried += 1;
        }
    }

    async fn aggregator(&self, member: &Member, again: bool) -> Result<Link, NetError> {
        let mut links = self.aggregators.lock().await;
        match links.get(&member.name) {
            Some(link) if !again && !link.is_closed() => Ok(link.clone()),
            _ => {
                let link = self.network.dial(member, Protocol::Run).await?;
                links.insert(member.name.clone(), link.clone());
                Ok(link)
            }
        }
    }

    /// Runs the plan on half of this site's rows, and looks whether the model tells them from the other half. A model of few rows
    /// remembers each of them more than the model of all sites does, so this errs to the safe side. What it finds stays here; only
    /// whether it is within the plan's limit leaves.
    fn attack(&self, from: &str, digest: Digest) -> Result<Reply, NetError> {
        let run = self.run(from, &digest)?;
        let mut run = lock(&run);
        let now = self.clock.now();
        let refuse = |reason| NetError::Message { from: from.to_owned(), reason };
        let decision = self.decision(&digest)?.ok_or_else(|| refuse("nobody here allowed this run"))?;
        decision.approve(digest, digest, now)?;
        if run.site.log().entries().is_empty() {
            return Err(refuse("no round of it was answered"));
        }
        if let Some(still_allowed) = &run.still_allowed
            && !still_allowed(0)
        {
            return Err(LearnError::Withdrawn { site: self.name().to_owned() }.into());
        }
        let membership = membership_test(&run.plan, &run.tables);
        let asked = Asked { what: "attack", about: Some(digest), round: None };
        let (found, words) = match membership.within(&run.plan.privacy) {
            Ok(()) => (Attacked::Passed, "yes".to_owned()),
            Err(LearnError::Untested { reason }) => {
                let error = LearnError::Untested { reason: reason.clone() }.into();
                if self.settings.rules.unattacked == Unattacked::Refuse {
                    return Err(error);
                }
                self.refusals.enter(from, asked, &error, now);
                (Attacked::NotRun, format!("not run, for {reason}"))
            }
            Err(error) => {
                self.refusals.enter(from, asked, &error.into(), now);
                (Attacked::Failed, "no".to_owned())
            }
        };
        let left = Left {
            at: now,
            plan: digest,
            context: digest,
            round: 0,
            attempt: 0,
            to: vec![from.to_owned()],
            words: format!("Whether an attack stayed within the plan's limit: {words}."),
            sent: vec![Digest::of(match found {
                Attacked::Passed => b"passed".as_slice(),
                Attacked::Failed => b"failed",
                Attacked::NotRun => b"not run",
            })],
            turned: None,
        };
        run.site.note(left);
        self.persist(&digest, &mut run)?;
        Ok(Reply::Attacked { found })
    }

    /// Keeps the result.
    fn end(&self, from: &str, digest: Digest, text: &str) -> Result<Reply, NetError> {
        self.run(from, &digest)?;
        self.queue.finish(&digest, text)?;
        lock(&self.running).remove(&digest);
        (self.watch)(SiteEvent::Finished(digest));
        Ok(Reply::Yes)
    }
}

/// A result as it is kept.
pub(crate) fn result_text(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Model(model) => model.to_json(),
        other => serde_json::to_string_pretty(other).unwrap_or_default() + "\n",
    }
}

/// What a refusal says to others. Where a table does not fit, the place could tell whether a row of some kind is there; where too few
/// persons are behind a plan, which variable it is could tell whether somebody is.
pub(crate) fn told_to_others(error: &NetError) -> String {
    match error {
        NetError::Learn(LearnError::Untested { .. }) => {
            "this site cannot attack the model, and its rules tell none that was not attacked".to_owned()
        }
        NetError::Learn(LearnError::Few { site, .. }) => {
            format!("site {site} does not answer: its rules about few persons do not allow it, and its people see why")
        }
        NetError::Learn(
            LearnError::Withheld { .. }
            | LearnError::Protocol { .. }
            | LearnError::Expired { .. }
            | LearnError::Plan { .. }
            | LearnError::Model { .. },
        )
        | NetError::Message { .. }
        | NetError::NotAMember { .. }
        | NetError::Untrusted { .. }
        | NetError::Refused { .. }
        | NetError::Unsigned { .. }
        | NetError::Unreachable { .. }
        | NetError::Approval(_) => error.to_string(),
        _ => "this site cannot answer it; its people see why".to_owned(),
    }
}

type Work = Box<dyn FnOnce() + Send>;

/// The thread on which a site reads questions and answers them, one after the other. What a thread of its own frees it takes again
/// for the next; spread over a pool, long questions would leave their memory behind in each thread.
pub(crate) struct Desk(std::sync::mpsc::Sender<Work>);

impl Desk {
    fn new() -> Result<Self, NetError> {
        // Asking for consent waits for a database, on the runtime.
        let runtime = tokio::runtime::Handle::try_current();
        let runtime = runtime.map_err(|_| broken("its threads are not running"))?;
        let (give, take) = std::sync::mpsc::channel::<Work>();
        let began = std::thread::Builder::new().name("site".to_owned()).spawn(move || {
            let _entered = runtime.enter();
            // Ends with the agent.
            while let Ok(work) = take.recv() {
                let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
            }
        });
        began.map_err(file("a thread of the site"))?;
        Ok(Self(give))
    }

    pub(crate) async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, NetError> + Send + 'static,
    ) -> Result<T, NetError> {
        let (give, take) = tokio::sync::oneshot::channel();
        let gone = || broken("what it was doing broke off; its people see why");
        self.0.send(Box::new(move || drop(give.send(work())))).map_err(|_| gone())?;
        take.await.map_err(|_| gone())?
    }
}

fn broken(reason: &str) -> NetError {
    NetError::Unreachable { member: "this site".to_owned(), reason: reason.to_owned() }
}

/// A panic while one answer is made ends that answer, not the member.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
