//! An aggregator: adds up shares of sums, which are noise to it. It keeps on disk over which sites it closed a round: a second
//! sum over other sites is refused also after a crash, for the difference of the two could be somebody's data.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use acequia_learn::{
    Aggregator, Ask, Closed, LearnError, Plan, Protection, Roster as Sites, Verification, VerifyHalf, VerifyKey,
};
use acequia_types::{Clock, Digest, digest_named};
use serde::{Deserialize, Serialize};

use crate::error::NetError;
use crate::identity::Identity;
use crate::link::{Link, Network, Protocol};
use crate::message::{Frame, Reply, Request, read};
use crate::proposal;
use crate::queue::{append_line, lines_of};
use crate::refusals::{Asked, Refusals};
use crate::roster::{Role, Roster};
use crate::site::{blocking, lock};

const WHAT: &str = "the list of closed rounds";

const HALVES: &str = "the list of keys for proofs";

/// The other aggregator's half of the key under which proofs of a run are looked at.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pinned {
    roster: Digest,
    half: String,
}

/// What aggregators sign for one another: a half of a key, and what they found of proofs.
const PROOFS: &str = "acequia proofs 1";

/// An aggregator's half of the key for the proofs of a run, as it is signed.
pub(crate) fn of_half(run: &Digest, roster: &Digest, half: &str) -> Digest {
    let head = [("plan", run.as_bytes().as_slice()), ("roster", roster.as_bytes().as_slice())];
    digest_named("acequia half of a verify key 1", head.into_iter().chain([("half", half.as_bytes())]))
}

/// A run at an aggregator.
struct Sum {
    plan: Plan,
    /// Name of the other aggregator, where shares come with proofs.
    other: Option<String>,
    coordinator: String,
    sites: Vec<String>,
    aggregator: Aggregator,
    ask: Ask,
}

/// An aggregator's desk.
pub struct AggregatorDesk {
    roster: Arc<Roster>,
    name: String,
    identity: Identity,
    folder: PathBuf,
    clock: Arc<dyn Clock>,
    refusals: Refusals,
    /// Each behind a lock of its own: looking at the proofs of one run takes a while.
    runs: Mutex<BTreeMap<Digest, Arc<Mutex<Sum>>>>,
}

impl AggregatorDesk {
    /// The desk of the member that `network` belongs to; `folder` holds the list of closed rounds.
    ///
    /// # Errors
    /// [`NetError::NotAMember`] when it is no aggregator.
    pub fn new(network: &Network, folder: impl Into<PathBuf>, clock: Arc<dyn Clock>) -> Result<Arc<Self>, NetError> {
        let roster = Arc::clone(network.roster());
        roster.expect(&network.own().name, Role::Aggregator)?;
        let folder = folder.into();
        let (name, identity) = (network.own().name.clone(), network.identity().clone());
        Ok(Arc::new(Self {
            roster,
            name,
            identity,
            refusals: Refusals::new(&folder),
            folder,
            clock,
            runs: Mutex::default(),
        }))
    }

    /// Answers whoever dials in, and dials nobody. Ends when the endpoint is closed.
    pub async fn serve(self: Arc<Self>, network: &Network) {
        let mut links = network.listen(Protocol::Run);
        while let Some(link) = links.recv().await {
            tokio::spawn(Arc::clone(&self).answer_all(link));
        }
    }

    async fn answer_all(self: Arc<Self>, link: Link) {
        while let Some(mut incoming) = link.next().await {
            let desk = Arc::clone(&self);
            tokio::spawn(async move {
                let Ok(bytes) = incoming.read().await else { return };
                let from = incoming.from.clone();
                let frame = desk.answer(&from, bytes).await;
                incoming.answer(&frame).await;
            });
        }
    }

    /// Answers one message.
    pub(crate) async fn answer(self: &Arc<Self>, from: &str, bytes: Vec<u8>) -> Frame {
        let (desk, from) = (Arc::clone(self), from.to_owned());
        let reply = blocking(move || {
            let mut asked = Asked::default();
            desk.reply(&from, bytes, &mut asked).inspect_err(|error| {
                desk.refusals.enter(&from, asked, error, desk.clock.now());
            })
        });
        reply.await.unwrap_or_else(|error| {
            tracing::warn!(%error, "refused");
            Frame::from(&Reply::No { reason: error.to_string() })
        })
    }

    /// The run that somebody speaks of, if it takes part in this role.
    fn of(&self, from: &str, digest: &Digest, role: Role) -> Result<Arc<Mutex<Sum>>, NetError> {
        let refuse = |reason| NetError::Message { from: from.to_owned(), reason };
        self.roster.expect(from, role)?;
        let run = lock(&self.runs).get(digest).cloned().ok_or_else(|| refuse("the run was not opened here"))?;
        let takes_part = {
            let sum = lock(&run);
            match role {
                Role::Coordinator => sum.coordinator == from,
                _ => sum.sites.iter().any(|site| site == from),
            }
        };
        if takes_part { Ok(run) } else { Err(refuse("the sender does not take part")) }
    }

    /// The other aggregator of a plan whose shares come with proofs.
    fn other(&self, plan: &Plan) -> Result<Option<String>, NetError> {
        if plan.aggregation.protection != Protection::Proven {
            return Ok(None);
        }
        let names = &plan.aggregation.aggregators;
        let other = names.iter().find(|name| **name != self.name).filter(|_| names.contains(&self.name));
        let other =
            other.ok_or(NetError::Message { from: self.name.clone(), reason: "the plan names other aggregators" })?;
        self.roster.expect(other, Role::Aggregator)?;
        Ok(Some(other.clone()))
    }

    fn half(&self, run: &Digest) -> VerifyHalf {
        VerifyHalf::of(&self.identity.share_key(), run, &self.roster.digest())
    }

    /// Yes, with this aggregator's half of the key where proofs are to be verified.
    fn opened(&self, sum: &Sum) -> Frame {
        if sum.other.is_none() {
            return Frame::from(&Reply::Yes);
        }
        let run = sum.ask.plan;
        let key = hex::encode(self.half(&run).public());
        let signature = self.identity.sign(PROOFS, &of_half(&run, &self.roster.digest(), &key));
        Frame::from(&Reply::Opened { key, signature })
    }

    /// The key that this aggregator and the other have, and nobody else.
    fn agreed(&self, run: &Digest, other: &str, half: &str, signature: &str) -> Result<VerifyKey, NetError> {
        self.signed_by(other, &of_half(run, &self.roster.digest(), half), signature)?;
        let bytes = hex::decode(half).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
        let key = bytes.and_then(|bytes| self.half(run).with(&bytes));
        key.ok_or_else(|| NetError::Message { from: other.to_owned(), reason: "it is no half of a key" })
    }

    /// One key for a run, also after a crash: proofs of the same share under many keys would tell the share itself.
    fn pin(&self, run: &Digest, half: String, agreed: VerifyKey) -> Result<VerifyKey, NetError> {
        let path = self.folder.join(format!("{run}.halves.jsonl"));
        let pinned = Pinned { roster: self.roster.digest(), half };
        let before = lines_of(&path, HALVES)?
            .lines()
            .map(serde_json::from_str::<Pinned>)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| NetError::File { what: HALVES, problem: std::io::ErrorKind::InvalidData })?;
        match before.iter().find(|before| before.roster == pinned.roster) {
            Some(before) if *before == pinned => {}
            Some(_) => {
                let reason = "proofs of this run were looked at under another key";
                return Err(NetError::Message { from: self.name.clone(), reason });
            }
            None => append_line(&path, &serde_json::to_string(&pinned).unwrap_or_default(), HALVES)?,
        }
        Ok(agreed)
    }

    fn path_of_closed(&self, run: &Digest) -> PathBuf {
        self.folder.join(format!("{run}.closed.jsonl"))
    }

    /// The rounds of a run that were closed.
    fn closed(&self, run: &Digest) -> Result<Vec<Closed>, NetError> {
        let lines = lines_of(&self.path_of_closed(run), WHAT)?;
        let closed = lines.lines().map(serde_json::from_str).collect::<Result<_, _>>();
        closed.map_err(|_| NetError::File { what: WHAT, problem: std::io::ErrorKind::InvalidData })
    }

    fn signed_by(&self, other: &str, digest: &Digest, signature: &str) -> Result<(), NetError> {
        match self.roster.expect(other, Role::Aggregator)?.key.verifies(PROOFS, digest, signature) {
            true => Ok(()),
            false => Err(NetError::Message { from: other.to_owned(), reason: "the other aggregator did not sign it" }),
        }
    }

    fn reply(&self, from: &str, bytes: Vec<u8>, asked: &mut Asked) -> Result<Frame, NetError> {
        self.roster.valid_on(self.clock.now().day())?;
        let refuse = |reason| NetError::Message { from: from.to_owned(), reason };
        let (request, numbers) = read::<Request>(from, &bytes)?;
        let head_bytes = bytes.len() - numbers.len();
        *asked = request.asked();
        match request {
            Request::Open { plan, signature, sites, ask } => {
                self.roster.expect(from, Role::Coordinator)?;
                for site in &sites {
                    self.roster.expect(site, Role::Site)?;
                }
                let plan = Plan::from_json(&plan)?;
                let digest = plan.digest();
                proposal::verify(&self.roster, from, &digest, &[], signature.as_deref())?;
                if ask.attempt != 0 {
                    return Err(refuse("nobody takes over where there is a coordinator"));
                }
                let mut runs = lock(&self.runs);
                let run = match runs.entry(digest) {
                    Entry::Occupied(entry) => Arc::clone(entry.get()),
                    Entry::Vacant(entry) => {
                        let roster = Sites::new(sites)?.identified_by(self.roster.digest());
                        let mut aggregator = Aggregator::new(&plan, &roster);
                        aggregator.open(&ask)?;
                        let (coordinator, sites) = (from.to_owned(), roster.sites().to_vec());
                        let other = self.other(&plan)?;
                        let sum = Sum { plan, other, coordinator, sites, aggregator, ask };
                        let opened = self.opened(&sum);
                        entry.insert(Arc::new(Mutex::new(sum)));
                        return Ok(opened);
                    }
                };
                drop(runs);
                let mut sum = lock(&run);
                let sum = &mut *sum;
                if sum.coordinator != from || ask.roster != sum.ask.roster {
                    return Err(refuse("the run was opened by somebody else, or with other sites"));
                }
                // The run goes through its rounds once more; what was closed is on disk.
                if ask.round < sum.ask.round {
                    let roster = Sites::new(sum.sites.iter().cloned())?.identified_by(self.roster.digest());
                    sum.aggregator = Aggregator::new(&sum.plan, &roster);
                }
                sum.aggregator.open(&ask)?;
                sum.ask = ask;
                Ok(self.opened(sum))
            }
            Request::Verify { plan, round, sites, key, signature } => {
                let run = self.of(from, &plan, Role::Coordinator)?;
                let mut sum = lock(&run);
                if round != sum.ask.round {
                    return Err(refuse("the round is not open here"));
                }
                let other = sum.other.clone().ok_or_else(|| refuse("the plan asks for no proofs"))?;
                let key =
                    self.agreed(&plan, &other, &key, &signature).and_then(|agreed| self.pin(&plan, key, agreed))?;
                let own = usize::from(sum.plan.aggregation.aggregators[0] != self.name);
                sum.aggregator.verifies(own, key);
                let verification = sum.aggregator.verify(&sites)?;
                let signature = self.identity.sign(PROOFS, &verification.digest());
                Ok(Frame::verified(&verification, signature))
            }
            Request::Settle { plan, round, signature } => {
                let run = self.of(from, &plan, Role::Coordinator)?;
                let mut sum = lock(&run);
                if round != sum.ask.round {
                    return Err(refuse("the round is not open here"));
                }
                let other = sum.other.clone().ok_or_else(|| refuse("the plan asks for no proofs"))?;
                let verification = Verification::from_bytes(&other, numbers)?;
                self.signed_by(&other, &verification.digest(), &signature)?;
                let refused = sum.aggregator.settle(&verification)?;
                for site in &refused {
                    // Of the site, whoever told it: what was sent is on record with who sent it.
                    let error = LearnError::Unproven { site: site.clone(), round }.into();
                    let asked = Asked { what: "share", about: Some(plan), round: Some(round) };
                    self.refusals.enter(site, asked, &error, self.clock.now());
                }
                Ok(Frame::from(&Reply::Settled { refused }))
            }
            Request::Share { plan, round } => {
                let run = self.of(from, &plan, Role::Site)?;
                let mut sum = lock(&run);
                if round != sum.ask.round {
                    return Err(refuse("the round is not open here"));
                }
                sum.aggregator.receive_own(from, bytes, head_bytes)?;
                Ok(Frame::from(&Reply::Yes))
            }
            Request::Present { plan, round } => {
                let run = self.of(from, &plan, Role::Coordinator)?;
                let sum = lock(&run);
                if round != sum.ask.round {
                    return Ok(Frame::from(&Reply::Present { sites: Vec::new(), closed: None }));
                }
                let before = self.closed(&plan)?;
                let closed = Closed::binds(&sum.ask, &before).map(<[String]>::to_vec);
                Ok(Frame::from(&Reply::Present { sites: sum.aggregator.present(), closed }))
            }
            Request::Close { plan, round, sites } => {
                let run = self.of(from, &plan, Role::Coordinator)?;
                let mut sum = lock(&run);
                if round != sum.ask.round {
                    return Err(refuse("the round is not open here"));
                }
                let closing = Closed::over(&sum.ask, sites);
                let before = self.closed(&plan)?;
                let is_new = closing.is_new(from, &before, &sum.sites, sum.plan.privacy.dropouts)?;
                let total = sum.aggregator.close(closing.sites())?;
                if is_new {
                    // On record before the sum is seen by anybody.
                    append_line(
                        &self.path_of_closed(&plan),
                        &serde_json::to_string(&closing).unwrap_or_default(),
                        WHAT,
                    )?;
                }
                Ok(Frame::part(total))
            }
            Request::Offer { .. }
            | Request::Begin { .. }
            | Request::Ask { .. }
            | Request::Turn { .. }
            | Request::Attack { .. }
            | Request::Examine { .. }
            | Request::End { .. } => Err(refuse("an aggregator holds no rows")),
        }
    }
}
