//! Runs without a coordinator: sites among themselves. Who is proposed a plan asks its own people, attacks a model of its own rows,
//! and signs that it takes part; once all signed, each begins by itself, and whoever is in line adds up ([`Peer`]).
//!
//! Of two sites one dials the other, and a connection carries both directions. Sites that can be dialled add up in turns and
//! are connected with all; one that opens no port dials them, answers and agrees like any other, and never adds up itself.
//! What a site promised is on disk before it says so: killed and started again it goes on in its place.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use acequia_gate::let_out;
use acequia_learn::{
    Dropouts, Envelope, LearnError, Left, Membership, Outcome, PATIENCE, PEERS_MIN, PartTotal, Peer, PeerMessage, Plan,
    Promise, Protection, Roster as Sites, RoundTotal, Unattacked, membership_test,
};
use acequia_types::{Digest, Timestamp, digest_named};
use bytes::Bytes;
use futures_util::future::join_all;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::error::NetError;
use crate::link::{ASK_AGAIN, Incoming, Link, Protocol, Switchboard};
use crate::message::{Frame, PeerReply, PeerRequest, What, read};
use crate::proposal;
use crate::queue::Among;
use crate::refusals::Asked;
use crate::roster::{Member, Role, Roster};
use crate::site::{Approve, DIAL_AGAIN, SiteAgent, SiteEvent, blocking, lock, result_text, told_to_others};

/// What a site's signature under a proposal is for.
const AGREEMENT: &str = "acequia agreement 1";
/// Between two attempts to dial a site, at most: a run may wait for it.
const DIAL_AT_MOST: Duration = Duration::from_secs(5);
/// Between two times that something is said again, at first and at most.
const AGAIN: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));
/// How long a message waits for this site to reach its round.
const HOLD: Duration = Duration::from_secs(10);
/// How long another site has to answer a proposal.
const INVITED: Duration = Duration::from_secs(10);
/// Between two attempts at what this site itself refuses, and two times that one refusal is told.
const RETRY: Duration = Duration::from_secs(10);
/// Proposals of one site that wait for the people here, at most.
const PROPOSALS_MAX: usize = 16;

/// Whether others can dial a member.
fn can_be_dialled(roster: &Roster, member: &Member) -> bool {
    !member.addresses.is_empty() || !roster.document().relays.is_empty()
}

/// Who of these sites adds up.
fn adders(roster: &Roster, sites: &[String]) -> Vec<String> {
    let can = |site: &&String| roster.named(site).is_some_and(|member| can_be_dialled(roster, member));
    sites.iter().filter(can).cloned().collect()
}

/// What all sites of a run sign; one that could not attack a model of its own rows signs that, too.
fn agreement(plan: &Digest, roster: &Digest, sites: &[String], is_unattacked: bool) -> Digest {
    let head = [("plan", plan.as_bytes().as_slice()), ("roster", roster.as_bytes().as_slice())];
    let unattacked = is_unattacked.then_some(("attack", b"not run".as_slice()));
    let sites = sites.iter().map(|site| ("site", site.as_bytes()));
    digest_named(AGREEMENT, head.into_iter().chain(sites).chain(unattacked))
}

fn refuse(from: &str, reason: &'static str) -> NetError {
    NetError::Message { from: from.to_owned(), reason }
}

/// Kinds of message, as far as one takes another's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Here,
    Share,
    Have,
    Propose,
    Accept,
    Part,
    Total,
}

/// Which message of which run: said again, it is the same or takes the place of the one before.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Mark {
    run: Digest,
    round: u32,
    attempt: u32,
    kind: Kind,
}

impl Mark {
    fn of<S>(run: Digest, envelope: &Envelope<S>) -> Self {
        let kind = match &envelope.body {
            PeerMessage::Here => Kind::Here,
            PeerMessage::Share { .. } => Kind::Share,
            PeerMessage::Have(_) => Kind::Have,
            PeerMessage::Propose(_) => Kind::Propose,
            PeerMessage::Accept(_) => Kind::Accept,
            PeerMessage::Part(_) => Kind::Part,
            PeerMessage::Total(_) => Kind::Total,
        };
        // A sum is the same whoever added it up.
        let attempt = if kind == Kind::Total { 0 } else { envelope.attempt };
        Self { run, round: envelope.round, attempt, kind }
    }

    /// Whether it is long, and taken once it arrived: no need to say it twice over one connection.
    fn is_long(&self) -> bool {
        matches!(self.kind, Kind::Share | Kind::Part | Kind::Total)
    }
}

/// What is on its way, and what arrived.
#[derive(Default)]
struct Sent {
    /// For each site the connection, and the long messages that it took over it. A process that was started again has others.
    taken: BTreeMap<String, (u64, BTreeSet<Mark>)>,
    /// On its way over a connection; and what is to follow it there in its place.
    under_way: BTreeMap<(u64, Mark), Option<Frame>>,
}

impl Sent {
    fn is_taken(&self, link: &Link, mark: &Mark) -> bool {
        self.taken.get(link.member()).is_some_and(|(number, marks)| *number == link.number() && marks.contains(mark))
    }

    fn take(&mut self, link: &Link, mark: Mark) {
        let taken = self.taken.entry(link.member().to_owned()).or_default();
        if taken.0 != link.number() {
            *taken = (link.number(), BTreeSet::new());
        }
        taken.1.retain(|other| other.run != mark.run || other.round + 1 >= mark.round);
        taken.1.insert(mark);
    }
}

/// Where a run is, for those who do not want to wait for its desk.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    round: u32,
    attempt: u32,
    /// First, and second with masks.
    adds_up: Vec<String>,
    /// Whether this site's shares of it were made.
    shared: bool,
}

/// What a peer did.
#[derive(Default)]
struct Done {
    /// To whom what goes.
    leaves: Vec<(String, Mark, Frame)>,
    /// What it told itself, to be taken once the others have it.
    own: Option<Envelope>,
    /// What went wrong beside.
    failure: Option<LearnError>,
}

/// A run that this site takes part in.
struct Taking {
    digest: Digest,
    plan: Plan,
    sites: Vec<String>,
    /// None once it is over.
    at_work: Mutex<Option<AtWork>>,
    place: watch::Sender<Place>,
    is_over: AtomicBool,
}

struct AtWork {
    peer: Peer,
    approve: Option<Approve>,
    /// Entries of the site's log that are on disk.
    persisted: usize,
    /// What is on disk of the promise, and of where it stands.
    promised: Promise,
    stands: u32,
    /// Round and attempt whose shares were made.
    shared: Option<(u32, u32)>,
}

impl AtWork {
    fn place(&self) -> Place {
        let (round, attempt) = (self.peer.round(), self.peer.promise().attempt);
        Place { round, attempt, adds_up: self.peer.adding_up(), shared: self.shared == Some((round, attempt)) }
    }
}

/// When a proposal is looked after next.
struct Look {
    at: Instant,
    wait: Duration,
    /// How many agreed, and whether the people here did, when it was looked after last.
    stands: (usize, bool),
    /// Whether this site refused something in it, and waits before it tries again.
    is_barred: bool,
}

/// Where a proposal stands here.
struct Gathering {
    text: String,
    among: Among,
    agreed: BTreeMap<String, String>,
    /// Whether this site asks the others.
    asks: bool,
}

/// A site among sites.
pub(crate) struct Peers {
    agent: Arc<SiteAgent>,
    board: Switchboard,
    runs: Mutex<BTreeMap<Digest, Arc<Taking>>>,
    sent: Mutex<Sent>,
    /// What was refused, and when it was told last.
    refusals: Mutex<BTreeMap<String, Instant>>,
    /// When proposals are looked after next.
    looks: Mutex<BTreeMap<Digest, Look>>,
    /// Somebody told who else agreed.
    heard: Notify,
    tasks: Mutex<JoinSet<()>>,
}

/// Ends what runs beside when the agent ends.
struct Ends(Arc<Peers>);

impl Drop for Ends {
    fn drop(&mut self) {
        lock(&self.0.tasks).abort_all();
        lock(&self.0.runs).clear();
    }
}

impl Peers {
    /// Meets the other sites, and takes part in what this site's people allow. Does not end by itself.
    pub(crate) async fn serve(agent: Arc<SiteAgent>) {
        let roster = Arc::clone(agent.network.roster());
        let own = agent.network.own().clone();
        let peers = Arc::new(Self {
            agent,
            board: Switchboard::default(),
            runs: Mutex::default(),
            sent: Mutex::default(),
            refusals: Mutex::default(),
            looks: Mutex::default(),
            heard: Notify::new(),
            tasks: Mutex::default(),
        });
        let _ends = Ends(Arc::clone(&peers));
        if can_be_dialled(&roster, &own) {
            peers.spawn(Arc::clone(&peers).accept());
        }
        for member in roster.with_role(Role::Site) {
            if member.name != own.name && can_be_dialled(&roster, member) {
                peers.spawn(Arc::clone(&peers).stay_with(member.clone()));
            }
        }
        loop {
            if let Err(error) = peers.gather_all().await {
                peers.refused("this site", &error);
            }
            tokio::select! {
                () = tokio::time::sleep(ASK_AGAIN) => {}
                () = peers.heard.notified() => {}
            }
        }
    }

    fn name(&self) -> &str {
        &self.agent.network.own().name
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = lock(&self.tasks);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }

    /// Tells whoever watches, but not the same all the time.
    fn refused(&self, from: &str, error: &NetError) {
        let (text, now) = (format!("{from}: {error}"), Instant::now());
        let mut told = lock(&self.refusals);
        told.retain(|_, at| now.duration_since(*at) < RETRY);
        if told.len() < 256 && told.insert(text.clone(), now).is_none() {
            (self.agent.watch)(SiteEvent::Refused(text));
        }
    }

    async fn accept(self: Arc<Self>) {
        let mut links = self.agent.network.listen(Protocol::Peers);
        while let Some(link) = links.recv().await {
            self.spawn(Arc::clone(&self).answer_all(link));
        }
    }

    async fn stay_with(self: Arc<Self>, member: Member) {
        let mut wait = DIAL_AGAIN.0;
        loop {
            if self.board.get(&member.name).is_none()
                && let Ok(link) = self.agent.network.dial(&member, Protocol::Peers).await
            {
                wait = DIAL_AGAIN.0;
                Arc::clone(&self).answer_all(link).await;
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(DIAL_AT_MOST);
        }
    }

    async fn answer_all(self: Arc<Self>, link: Link) {
        let member = link.member().to_owned();
        // Members of other roles are answered that they are none here.
        let is_site = self.agent.network.roster().expect(&member, Role::Site).is_ok();
        if is_site {
            self.board.put(link.clone());
            (self.agent.watch)(SiteEvent::Connected(member.clone()));
        }
        while let Some(incoming) = link.next().await {
            self.spawn(Arc::clone(&self).answer(incoming));
        }
        if is_site && self.board.get(&member).is_none() {
            (self.agent.watch)(SiteEvent::Lost(member));
            self.board.changed.notify_waiters();
        }
    }

    async fn answer(self: Arc<Self>, mut incoming: Incoming) {
        let from = incoming.from.clone();
        let mut asked = Asked::default();
        let reply = match incoming.read().await {
            Ok(bytes) => self.reply(&from, bytes.into(), &mut asked).await,
            Err(error) => Err(error),
        };
        let reply = reply.unwrap_or_else(|error| {
            self.agent.refusals.enter(&from, asked, &error, self.agent.clock.now());
            self.refused(&from, &error);
            PeerReply::No { reason: told_to_others(&error) }
        });
        incoming.answer(&Frame::from(&reply)).await;
    }

    async fn reply(self: &Arc<Self>, from: &str, bytes: Bytes, asked: &mut Asked) -> Result<PeerReply, NetError> {
        let roster = self.agent.network.roster();
        roster.valid_on(self.agent.clock.now().day())?;
        roster.expect(from, Role::Site)?;
        let (request, rest) = read::<PeerRequest>(from, &bytes)?;
        *asked = request.asked();
        let numbers = bytes.slice(bytes.len() - rest.len()..);
        match request {
            PeerRequest::Invite { plan, roster, sites, by, signature, agreed } => {
                if !sites.iter().any(|site| site == from) {
                    return Err(refuse(
                        from,
                        "the sites are not in order, or this site or the sender is not among them",
                    ));
                }
                let agent = Arc::clone(&self.agent);
                let among = Among { by, sites, roster, signature };
                let (run, agreed) = blocking(move || agent.invited(&plan, among, agreed)).await?;
                self.hears(run, agreed.len());
                Ok(PeerReply::Agreed { agreed })
            }
            PeerRequest::Say { plan, round, attempt, what } => {
                if !what.has_numbers() && !numbers.is_empty() {
                    return Err(refuse(from, "numbers follow where none belong"));
                }
                self.said(from, plan, (round, attempt), what, numbers).await
            }
        }
    }

    /// Looks after a proposal at once where more sites agreed than when it was looked after last.
    fn hears(&self, run: Digest, agreed: usize) {
        let mut looks = lock(&self.looks);
        let is_news = looks.get_mut(&run).is_none_or(|look| {
            let is_news = look.stands.0 < agreed && !look.is_barred;
            if is_news {
                look.at = Instant::now();
            }
            is_news
        });
        if is_news {
            self.heard.notify_one();
        }
    }

    /// Takes a message of a run.
    async fn said(
        self: &Arc<Self>,
        from: &str,
        run: Digest,
        (round, attempt): (u32, u32),
        what: What,
        numbers: Bytes,
    ) -> Result<PeerReply, NetError> {
        let taking = lock(&self.runs).get(&run).cloned();
        let is_behind = matches!(what, What::Here | What::Share { .. });
        let takes_part = |sites: &[String]| sites.iter().any(|site| site == from);
        let Some(taking) = taking else {
            let agent = Arc::clone(&self.agent);
            let known = blocking(move || Ok((agent.queue.among(&run)?, agent.queue.has_result(&run)))).await?;
            return match known {
                (Some(among), _) if !takes_part(&among.sites) => Err(refuse(from, "the sender does not take part")),
                (Some(_), true) => {
                    self.help(from, run, round, is_behind).await?;
                    Ok(PeerReply::Yes)
                }
                (Some(_), false) => Ok(PeerReply::Later),
                (None, _) => Err(refuse(from, "no such run was proposed here")),
            };
        };
        if !takes_part(&taking.sites) {
            return Err(refuse(from, "the sender does not take part"));
        }
        let mut place = taking.place.subscribe();
        let reached = tokio::time::timeout(HOLD, place.wait_for(|place| place.round >= round));
        let reached = match reached.await {
            Ok(Ok(place)) => place.round,
            _ => return Ok(PeerReply::Later),
        };
        if taking.is_over.load(Ordering::Acquire) || round + 1 < reached {
            self.help(from, run, round, is_behind).await?;
            return Ok(PeerReply::Yes);
        }
        let (from, own) = (from.to_owned(), self.name().to_owned());
        self.act(&taking, move |peer, now| {
            let body = match what {
                What::Here => PeerMessage::Here,
                What::Share { accepted } => PeerMessage::Share { share: numbers, accepted },
                What::Have { sites } => PeerMessage::Have(sites),
                What::Propose { sites } => PeerMessage::Propose(sites),
                What::Accept { sites } => PeerMessage::Accept(sites),
                // Halves of a round that is over are of no use.
                What::Part if round != peer.round() => return Ok(Vec::new()),
                What::Part => {
                    let ask = peer.ask(attempt);
                    PeerMessage::Part(PartTotal::from_bytes(&from, &numbers, peer.plan(), &ask)?)
                }
                What::Total => PeerMessage::Total(RoundTotal::from_bytes(&from, &numbers)?),
            };
            peer.receive(Envelope { from, to: own, round, attempt, body }, now)
        })
        .await?;
        Ok(PeerReply::Yes)
    }

    /// Sends the sum of a round that is over to a site that is behind.
    async fn help(self: &Arc<Self>, to: &str, run: Digest, round: u32, is_behind: bool) -> Result<(), NetError> {
        let mark = Mark { run, round, attempt: 0, kind: Kind::Total };
        let link = self.board.get(to).filter(|link| is_behind && !lock(&self.sent).is_taken(link, &mark));
        if link.is_none() {
            return Ok(());
        }
        let agent = Arc::clone(&self.agent);
        if let Some(total) = blocking(move || agent.queue.sum(&run, round)).await? {
            let (from, to) = (self.name().to_owned(), to.to_owned());
            let envelope = Envelope { from, to: to.clone(), round, attempt: 0, body: PeerMessage::Total(total) };
            self.send(to, mark, Frame::peer(run, envelope, &mut None));
        }
        Ok(())
    }

    /// Sends a message, unless there is no connection or it was taken already. What is lost is said again.
    fn send(self: &Arc<Self>, to: String, mark: Mark, frame: Frame) {
        let Some(link) = self.board.get(&to) else { return };
        let mut sent = lock(&self.sent);
        if mark.is_long() && sent.is_taken(&link, &mark) {
            return;
        }
        let key = (link.number(), mark);
        if let Some(next) = sent.under_way.get_mut(&key) {
            *next = (!key.1.is_long()).then_some(frame);
            return;
        }
        sent.under_way.insert(key.clone(), None);
        drop(sent);
        let peers = Arc::clone(self);
        self.spawn(async move {
            let mut frame = frame;
            loop {
                let answer = link.ask(&frame).await;
                let reply = answer.and_then(|answer| Ok(read::<PeerReply>(&to, &answer)?.0));
                let mut sent = lock(&peers.sent);
                if matches!(reply, Ok(PeerReply::Yes)) && key.1.is_long() {
                    sent.take(&link, key.1.clone());
                }
                let next = sent.under_way.get_mut(&key).and_then(Option::take);
                if next.is_none() {
                    sent.under_way.remove(&key);
                }
                drop(sent);
                if let Ok(PeerReply::No { reason }) = reply {
                    peers.refused("this site", &NetError::Refused { member: to.clone(), reason });
                }
                match next {
                    Some(next) => frame = next,
                    None => return,
                }
            }
        });
    }

    /// Lets the peer of a run do something, and sends what it says. On the site's thread.
    async fn act(
        self: &Arc<Self>,
        taking: &Arc<Taking>,
        what: impl FnOnce(&mut Peer, Timestamp) -> Result<Vec<Envelope>, LearnError> + Send + 'static,
    ) -> Result<(), NetError> {
        let (agent, run) = (Arc::clone(&self.agent), Arc::clone(taking));
        let mut done = self.agent.desk.work(move || agent.act(&run, what)).await?;
        loop {
            for (to, mark, frame) in done.leaves {
                self.send(to, mark, frame);
            }
            if let Some(failure) = done.failure {
                return Err(failure.into());
            }
            let Some(own) = done.own else { return Ok(()) };
            let (agent, run) = (Arc::clone(&self.agent), Arc::clone(taking));
            let work = move || agent.act(&run, |peer, now| peer.receive(own.arrived(), now));
            done = self.agent.desk.work(work).await?;
        }
    }

    /// Whether somebody who adds up lacks this site's share, as far as it can be reached.
    fn lacks(&self, taking: &Taking, place: &Place) -> bool {
        let mark = Mark { run: taking.digest, round: place.round, attempt: place.attempt, kind: Kind::Share };
        let others = place.adds_up.iter().filter(|site| *site != self.name());
        let mut links = others.filter_map(|site| self.board.get(site));
        let sent = lock(&self.sent);
        let lacks =
            |link: Link| !sent.is_taken(&link, &mark) && !sent.under_way.contains_key(&(link.number(), mark.clone()));
        !place.shared || links.any(lacks)
    }

    /// Keeps a run going: time passes, what may be lost is said again, and whoever is gone is not waited for.
    async fn go(self: Arc<Self>, taking: Arc<Taking>) {
        let within = self.agent.settings.answer_within;
        let (tick, lost) = ((within / PATIENCE).max(Duration::from_millis(1)), within / 6);
        let mut place = taking.place.subscribe();
        let mut tick_at = Instant::now() + tick;
        let (mut wait, mut again_at) = (AGAIN.0, Instant::now());
        let (mut gone, mut refused_at): (Option<Instant>, Option<Instant>) = (None, None);
        while !taking.is_over.load(Ordering::Acquire) {
            let now = Instant::now();
            let current = place.borrow_and_update().clone();
            let mut done = Vec::new();
            if now >= tick_at {
                tick_at = now + tick;
                done.push(self.act(&taking, Peer::tick).await);
            }
            if now >= again_at {
                (again_at, wait) = (now + wait, (wait * 2).min(AGAIN.1));
                done.push(self.act(&taking, |peer, _| peer.again()).await);
                if refused_at.is_none_or(|at| now >= at + RETRY) && self.lacks(&taking, &current) {
                    let shares = self.act(&taking, Peer::shares).await;
                    refused_at = shares.is_err().then_some(now);
                    done.push(shares);
                }
            }
            let is_gone = |site: &String| site != self.name() && self.board.get(site).is_none();
            gone = current.adds_up.iter().any(is_gone).then(|| gone.unwrap_or(now));
            if gone.is_some_and(|since| now >= since + lost * (1 << current.attempt.min(4))) {
                gone = None;
                done.push(self.act(&taking, Peer::take_over).await);
            }
            for error in done.into_iter().filter_map(Result::err) {
                let asked = Asked { what: "ask", about: Some(taking.digest), round: Some(current.round) };
                self.agent.refusals.enter(self.name(), asked, &error, self.agent.clock.now());
                self.refused("this site", &error);
            }
            let next = tick_at.min(again_at);
            let changed = self.board.changed.notified();
            tokio::select! {
                moved = place.changed() => {
                    if moved.is_err() {
                        return;
                    }
                    (gone, refused_at) = (None, None);
                    (wait, again_at) = (AGAIN.0, Instant::now() + AGAIN.0);
                }
                // Who came back may have lost everything.
                () = changed => (wait, again_at) = (AGAIN.0, Instant::now()),
                () = tokio::time::sleep_until(next) => {}
            }
        }
    }

    /// Looks after all proposals: shows them to the people here, signs what they allow, asks other sites, begins.
    async fn gather_all(self: &Arc<Self>) -> Result<(), NetError> {
        let agent = Arc::clone(&self.agent);
        let found = blocking(move || agent.queue.gathering()).await?;
        lock(&self.runs).retain(|_, taking| !taking.is_over.load(Ordering::Acquire));
        lock(&self.looks).retain(|run, _| found.iter().any(|(of, _)| of == run));
        for (run, is_offered) in found {
            let is_early = lock(&self.looks).get(&run).is_some_and(|look| Instant::now() < look.at);
            if is_early || lock(&self.runs).contains_key(&run) {
                continue;
            }
            let stands = self.gather(run, is_offered).await;
            let mut looks = lock(&self.looks);
            let look = looks.entry(run).or_insert(Look {
                at: Instant::now(),
                wait: ASK_AGAIN,
                stands: (0, false),
                is_barred: false,
            });
            look.is_barred = false;
            match stands {
                // Nothing happened: people think.
                Ok(stands) if stands == look.stands => look.wait = (look.wait * 2).clamp(ASK_AGAIN, AGAIN.1),
                // Who knows more tells the others, or begins.
                Ok(stands) => {
                    (look.wait, look.stands) = (Duration::ZERO, stands);
                    self.heard.notify_one();
                }
                Err(error) => {
                    // Whoever agrees meanwhile does not make this site try again before its time.
                    (look.wait, look.is_barred) = (RETRY, true);
                    // What this site does not take part in, and why: its rules, or an attack that tells its rows.
                    let asked = Asked { what: "taking part", about: Some(run), round: None };
                    self.agent.refusals.enter(self.name(), asked, &error, self.agent.clock.now());
                    self.refused("this site", &error);
                }
            }
            look.at = Instant::now() + look.wait;
        }
        Ok(())
    }

    /// Returns how many agreed, and whether the people here did.
    async fn gather(self: &Arc<Self>, run: Digest, is_offered: bool) -> Result<(usize, bool), NetError> {
        let agent = Arc::clone(&self.agent);
        let gathering = blocking(move || agent.gather(run, is_offered)).await?;
        let Gathering { text, among, agreed, asks } = gathering;
        if among.sites.iter().all(|site| agreed.contains_key(site)) {
            let agent = Arc::clone(&self.agent);
            if let Some(taking) = blocking(move || agent.begin_among(run)).await? {
                let taking = Arc::new(taking);
                lock(&self.runs).insert(run, Arc::clone(&taking));
                (self.agent.watch)(SiteEvent::Begun(run));
                self.spawn(Arc::clone(self).go(taking));
            }
            return Ok((agreed.len(), true));
        }
        let is_allowed = agreed.contains_key(self.name());
        if !asks {
            return Ok((agreed.len(), is_allowed));
        }
        let (roster, sites, by) = (among.roster, among.sites.clone(), among.by.clone());
        let signature = match by == self.name() {
            true => Some(proposal::sign(&self.agent.identity, &run, &roster, &sites)),
            false => among.signature.clone(),
        };
        let invite = PeerRequest::Invite { plan: text, roster, sites, by, signature, agreed: agreed.clone() };
        let frame = Frame::from(&invite);
        // Also those that agreed: they may know of sites that this one cannot reach.
        let others = among.sites.iter().filter(|site| *site != self.name());
        let asked = join_all(others.filter_map(|site| self.board.get(site)).map(|link| {
            let frame = frame.clone();
            async move {
                let answer = tokio::time::timeout(INVITED, link.ask(&frame)).await;
                let reply = answer.ok().and_then(Result::ok);
                reply.and_then(|reply| {
                    Some((link.member().to_owned(), read::<PeerReply>(link.member(), &reply).ok()?.0))
                })
            }
        }));
        let mut told = BTreeMap::new();
        for (site, reply) in asked.await.into_iter().flatten() {
            match reply {
                PeerReply::Agreed { agreed } => told.extend(agreed),
                PeerReply::No { reason } => {
                    self.refused("this site", &NetError::Refused { member: site, reason });
                }
                PeerReply::Yes | PeerReply::Later => {}
            }
        }
        let agent = Arc::clone(&self.agent);
        let agreed = blocking(move || agent.learned_of(&run, &among, told)).await?;
        Ok((agreed.len(), is_allowed))
    }
}

impl SiteAgent {
    /// Whether a plan can run among these sites, and this site's rules allow it.
    fn may_run_among(&self, from: &str, plan: &Plan, among: &Among) -> Result<(), NetError> {
        let roster = self.network.roster();
        if among.roster != roster.digest() {
            return Err(refuse(from, "it has another roster than this site"));
        }
        for site in &among.sites {
            roster.expect(site, Role::Site)?;
        }
        let takes_part = |name: &str| among.sites.iter().any(|site| site == name);
        if !among.sites.windows(2).all(|pair| pair[0] < pair[1]) || !takes_part(&among.by) || !takes_part(self.name()) {
            return Err(refuse(from, "the sites are not in order, or this site or the sender is not among them"));
        }
        if plan.aggregation.protection == Protection::Proven {
            let message = "protection proven needs two aggregators that are no sites: a coordinator runs it".to_owned();
            return Err(LearnError::Plan { message }.into());
        }
        let is_masked = plan.aggregation.protection.is_masked();
        let (least, adding) = if is_masked { (PEERS_MIN, 2) } else { (2, 1) };
        if among.sites.len() < least {
            return Err(refuse(from, "of fewer than three sites, each could take its own sums from the masked ones"));
        }
        if adders(roster, &among.sites).len() < adding {
            return Err(refuse(
                from,
                "too few of the sites have an address in the roster, at which others dial them to add up",
            ));
        }
        // Sums may be over as few sites as the plan says, and this site sees to more.
        let kept = match plan.privacy.dropouts {
            Dropouts::Wait => among.sites.len(),
            Dropouts::LeaveOut => {
                let majority = among.sites.len() / 2 + 1;
                plan.privacy.minimum_sites.max(majority).max(if is_masked { PEERS_MIN } else { 1 })
            }
        };
        let wanted = self.settings.rules.minimum_sites;
        if wanted > kept {
            let reason = format!("its rules want {wanted} sites in every sum, and there may be {kept}");
            return Err(LearnError::Withheld { site: self.name().to_owned(), reason }.into());
        }
        Ok(())
    }

    /// Takes in a proposal, and what the sender knows of who agreed. Says who agreed as far as this site knows.
    fn invited(
        &self,
        text: &str,
        among: Among,
        agreed: BTreeMap<String, String>,
    ) -> Result<(Digest, BTreeMap<String, String>), NetError> {
        let plan = Plan::from_json(text)?;
        let (run, from) = (plan.digest(), among.by.clone());
        self.may_run_among(&from, &plan, &among)?;
        proposal::verify(self.network.roster(), &from, &run, &among.sites, among.signature.as_deref())?;
        plan.valid_on(self.clock.now().day())?;
        {
            let _files = lock(&self.files);
            if self.queue.among(&run)?.is_none() {
                let waiting = self.queue.list()?;
                let waits = waiting
                    .iter()
                    .filter(|run| run.decision.is_none() && run.among.as_ref().is_some_and(|among| among.by == from));
                if waits.count() >= PROPOSALS_MAX {
                    return Err(refuse(&from, "too many of its proposals wait for the people here"));
                }
            }
            self.queue.propose(&run, text, &among)?;
        }
        self.show_among(&run)?;
        if self.decision(&run)?.is_some_and(|decision| !decision.allowed) {
            let reason = "its people decided against it".to_owned();
            return Err(LearnError::Withheld { site: self.name().to_owned(), reason }.into());
        }
        Ok((run, self.learned_of(&run, &among, agreed)?))
    }

    /// Shows a proposal to the people here, once.
    fn show_among(&self, run: &Digest) -> Result<(), NetError> {
        let missing = || NetError::NoRun { run: run.to_string() };
        let (text, among) = (self.queue.plan(run)?, self.queue.among(run)?.ok_or_else(missing)?);
        if self.queue.offered_by(run)?.is_some() {
            return Ok(());
        }
        let plan = Plan::from_json(&text)?;
        self.may_run_among(&among.by, &plan, &among)?;
        let words = self.preview(&plan, &among.sites, Some(adders(self.network.roster(), &among.sites)))?;
        let signature = match among.by == self.name() {
            true => Some(proposal::sign(&self.identity, run, &among.roster, &among.sites)),
            false => among.signature.clone(),
        };
        self.enter(&among.by, signature, run, &text, (&plan.title, plan.task.kind(), words), plan.last_day)
    }

    /// Keeps what others signed, where they did, and says who did.
    fn learned_of(
        &self,
        run: &Digest,
        among: &Among,
        told: BTreeMap<String, String>,
    ) -> Result<BTreeMap<String, String>, NetError> {
        let _files = lock(&self.files);
        let roster = self.network.roster();
        let mut agreed = self.queue.agreed(run)?;
        let subjects = [false, true].map(|unattacked| agreement(run, &among.roster, &among.sites, unattacked));
        let before = agreed.len();
        for (site, signature) in told {
            let signed =
                |member: &Member| subjects.iter().any(|subject| member.key.verifies(AGREEMENT, subject, &signature));
            if among.sites.contains(&site) && !agreed.contains_key(&site) && roster.named(&site).is_some_and(signed) {
                agreed.insert(site, signature);
            }
        }
        if agreed.len() > before {
            self.queue.keep_agreed(run, &agreed)?;
        }
        Ok(agreed)
    }

    /// Where a proposal stands; this site signs once its people allowed it.
    fn gather(&self, run: Digest, is_offered: bool) -> Result<Gathering, NetError> {
        if !is_offered {
            self.show_among(&run)?;
        }
        let missing = || NetError::NoRun { run: run.to_string() };
        let (text, among) = (self.queue.plan(&run)?, self.queue.among(&run)?.ok_or_else(missing)?);
        let now = self.clock.now();
        let decision = self.decision(&run)?;
        let is_allowed = decision.is_some_and(|decision| decision.approve(run, run, now).is_ok());
        let mut agreed = self.queue.agreed(&run)?;
        if is_allowed && !agreed.contains_key(self.name()) {
            let plan = Plan::from_json(&text)?;
            self.may_run_among(&among.by, &plan, &among)?;
            let signature = self.agree(&run, &plan, &among)?;
            agreed = {
                let _files = lock(&self.files);
                let mut agreed = self.queue.agreed(&run)?;
                agreed.insert(self.name().to_owned(), signature);
                self.queue.keep_agreed(&run, &agreed)?;
                agreed
            };
        }
        let asks = is_allowed || among.by == self.name();
        Ok(Gathering { text, among, agreed, asks })
    }

    /// Signs that this site takes part. Every site sees the model as soon as it is there; so each attacks a model of half of its own
    /// rows before, and signs nothing where the attack tells them from the others.
    fn agree(&self, run: &Digest, plan: &Plan, among: &Among) -> Result<String, NetError> {
        let withheld = |reason: &str| LearnError::Withheld { site: self.name().to_owned(), reason: reason.to_owned() };
        let held = self.held(plan)?;
        if held.still_allowed.as_ref().is_some_and(|still_allowed| !still_allowed(0)) {
            return Err(LearnError::Withdrawn { site: self.name().to_owned() }.into());
        }
        let is_attacked = plan.task.gives_a_model();
        let found = match is_attacked {
            true => membership_test(plan, &held.tables).within(&plan.privacy),
            false => Ok(()),
        };
        let unattacked = match found {
            Ok(()) => None,
            Err(LearnError::Untested { reason }) if self.settings.rules.unattacked == Unattacked::Mark => Some(reason),
            Err(error @ LearnError::Untested { .. }) => return Err(error.into()),
            Err(_) => return Err(withheld("an attack tells its rows from others").into()),
        };
        let subject = agreement(run, &among.roster, &among.sites, unattacked.is_some());
        let signature = self.identity.sign(AGREEMENT, &subject);
        let words = match (is_attacked, unattacked) {
            (_, Some(reason)) => {
                format!("That this site takes part, and that an attack could not be run, for {reason}.")
            }
            (true, None) => "That this site takes part, and that an attack stayed within the plan's limit.".to_owned(),
            (false, None) => "That this site takes part.".to_owned(),
        };
        let _files = lock(&self.files);
        let mut log = self.queue.log(run)?;
        log.record(Left {
            at: self.clock.now(),
            plan: *run,
            context: *run,
            round: 0,
            attempt: 0,
            to: among.sites.iter().filter(|site| *site != self.name()).cloned().collect(),
            words,
            sent: vec![Digest::of(signature.as_bytes())],
            turned: None,
        });
        if let Some(entry) = log.entries().last() {
            self.queue.leaves(run, entry)?;
        }
        Ok(signature)
    }

    /// Begins a run that all agreed to, or goes on with it where this site stood. Nothing while its people do not allow it.
    fn begin_among(&self, run: Digest) -> Result<Option<Taking>, NetError> {
        let _files = lock(&self.files);
        let now = self.clock.now();
        let is_allowed = self.decision(&run)?.is_some_and(|decision| decision.approve(run, run, now).is_ok());
        let Some(among) = self.queue.among(&run)?.filter(|_| is_allowed) else { return Ok(None) };
        let plan = Plan::from_json(&self.queue.plan(&run)?)?;
        self.may_run_among(&among.by, &plan, &among)?;
        let held = self.held(&plan)?;
        let sites = among.sites;
        self.begins(&run, &among.by, &sites, &held)?;
        let named = Sites::new(sites.iter().cloned())?.identified_by(among.roster);
        let (site, persisted) = self.joins(&run, &plan, &named, &held)?;
        let site = site.in_turns(adders(self.network.roster(), &sites));
        let (standing, promise) = self.queue.stood(&run)?;
        let before = standing.as_ref().map_or(0, |standing| standing.round - 1);
        let latest = self.queue.sum(&run, before)?;
        let stands = standing.as_ref().map_or(1, |standing| standing.round);
        let peer = Peer::new(site, &plan, &named).resumed(standing, latest, promise);
        let promised = peer.promise().clone();
        let at_work = AtWork { peer, approve: held.approve, persisted, promised, stands, shared: None };
        let place = watch::Sender::new(at_work.place());
        let (at_work, is_over) = (Mutex::new(Some(at_work)), AtomicBool::new(false));
        Ok(Some(Taking { digest: run, plan, sites, at_work, place, is_over }))
    }

    /// Lets the peer of a run do something. What leaves is returned with everything on disk that it follows from.
    fn act(
        &self,
        taking: &Taking,
        what: impl FnOnce(&mut Peer, Timestamp) -> Result<Vec<Envelope>, LearnError>,
    ) -> Result<Done, NetError> {
        let run = taking.digest;
        let mut at_work = lock(&taking.at_work);
        let Some(work) = at_work.as_mut() else { return Ok(Done::default()) };
        let now = self.clock.now();
        let nobody = || refuse("this site", "nobody here allowed this run");
        self.decision(&run)?.ok_or_else(nobody)?.approve(run, run, now)?;
        let mut done = Done::default();
        let mut said: VecDeque<Envelope> = match what(&mut work.peer, now) {
            Ok(said) => said.into(),
            Err(error) => {
                done.failure = Some(error);
                VecDeque::new()
            }
        };
        let mut leaves = Vec::new();
        while let Some(envelope) = said.pop_front() {
            if matches!(envelope.body, PeerMessage::Share { .. }) {
                work.shared = Some((envelope.round, envelope.attempt));
            }
            if envelope.to != self.name() {
                leaves.push(envelope);
                continue;
            }
            // The others need not wait until this site has answered the next question.
            if matches!(envelope.body, PeerMessage::Total(_)) && !leaves.is_empty() {
                done.own = Some(envelope);
                continue;
            }
            match work.peer.receive(envelope.arrived(), now) {
                Ok(more) => said.extend(more),
                Err(error) => done.failure = Some(error),
            }
        }
        self.keep_work(taking, work)?;
        // People may have said no meanwhile.
        let decision = self.decision(&run)?.ok_or_else(nobody)?;
        let mut sum = None;
        for envelope in leaves {
            let (to, mark) = (envelope.to.clone(), Mark::of(run, &envelope));
            let outbound = envelope.through(|update| {
                // The people at the site in any case; those whose rows they are besides.
                let decided = decision.approve(update.digest(), run, now)?;
                let approval = match &work.approve {
                    Some(approve) => approve(update.digest())?,
                    None => decided,
                };
                Ok::<_, NetError>(let_out(update, &approval)?)
            })?;
            done.leaves.push((to, mark, Frame::peer(run, outbound, &mut sum)));
        }
        let place = work.place();
        let is_over = self.ends(taking, work, done.failure.as_ref())?;
        if is_over {
            *at_work = None;
            taking.is_over.store(true, Ordering::Release);
        }
        drop(at_work);
        let moved = taking.place.send_if_modified(|before| {
            let moved = (before.round, before.attempt) != (place.round, place.attempt);
            let is_new = *before != place;
            before.clone_from(&place);
            if moved {
                (self.watch)(SiteEvent::AddsUp(run, place.round, place.adds_up.clone()));
            }
            is_new
        });
        if is_over && !moved {
            taking.place.send_modify(|_| {});
        }
        Ok(done)
    }

    /// Puts on disk what is to be said, and what follows from it: what left, the sum before, where this site stands, what it promised.
    fn keep_work(&self, taking: &Taking, work: &mut AtWork) -> Result<(), NetError> {
        let run = taking.digest;
        while let Some(entry) = work.peer.log().entries().get(work.persisted) {
            self.queue.leaves(&run, entry)?;
            work.persisted += 1;
            (self.watch)(SiteEvent::Answered(run, entry.left.round));
        }
        let round = work.peer.round();
        let is_over = work.peer.outcome().is_some();
        if let Some(latest) = work.peer.latest().filter(|_| is_over || round != work.stands) {
            self.queue.keep_sum(&run, latest)?;
            // Who answered this round had the sum before; where sites are left out, they follow by the sums.
            if taking.plan.privacy.dropouts == Dropouts::Wait && latest.round > 1 {
                self.queue.drop_sum(&run, latest.round - 1);
            }
        }
        if round != work.stands {
            self.queue.stands(&run, &work.peer.standing())?;
            work.stands = round;
            // Nothing was promised in a round that begins.
            work.promised = Promise { round, ..Promise::default() };
        }
        if *work.peer.promise() != work.promised {
            self.queue.promises(&run, work.peer.promise())?;
            work.promised = work.peer.promise().clone();
        }
        Ok(())
    }

    /// Keeps the result, or that there is none.
    fn ends(&self, taking: &Taking, work: &AtWork, failure: Option<&LearnError>) -> Result<bool, NetError> {
        let run = taking.digest;
        let kept = match work.peer.outcome() {
            Some(outcome) => self.may_keep(taking, work, outcome.clone()),
            None if work.peer.has_failed() || matches!(failure, Some(LearnError::Withdrawn { .. })) => {
                Err(failure.map_or_else(|| "the sums lead to no result".to_owned(), ToString::to_string))
            }
            None => return Ok(false),
        };
        match kept {
            Ok(outcome) => {
                self.queue.finish(&run, &result_text(&outcome))?;
                (self.watch)(SiteEvent::Finished(run));
            }
            Err(reason) => {
                self.queue.fail(&run, reason.clone())?;
                (self.watch)(SiteEvent::Refused(format!("run {}: {reason}", run.short(12))));
            }
        }
        Ok(true)
    }

    /// Sites that signed that they could not attack a model of their own rows.
    fn unattacked(&self, taking: &Taking) -> Result<Vec<String>, NetError> {
        let roster = self.network.roster();
        let subject = agreement(&taking.digest, &roster.digest(), &taking.sites, true);
        let signed = |(site, signature): &(String, String)| {
            roster.named(site).is_some_and(|member| member.key.verifies(AGREEMENT, &subject, signature))
        };
        Ok(self.queue.agreed(&taking.digest)?.into_iter().filter(signed).map(|(site, _)| site).collect())
    }

    /// The result as it is kept: every site attacked before it signed.
    fn may_keep(&self, taking: &Taking, work: &AtWork, outcome: Outcome) -> Result<Outcome, String> {
        let privacy = &taking.plan.privacy;
        let outcome = match outcome {
            Outcome::Model(model) => {
                let not_run = self.unattacked(taking).map_err(|error| error.to_string())?;
                let (sites, allowed) = (work.peer.members().len() as u64, privacy.membership_auc);
                let found = Membership::AtSites { sites, allowed, not_run };
                Outcome::Model(Box::new(model.tested(found, privacy).map_err(|error| error.to_string())?))
            }
            other => other,
        };
        self.holdings.tell(&outcome).map_err(|error| error.to_string())?;
        Ok(outcome)
    }
}
