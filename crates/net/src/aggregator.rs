//! An aggregator: adds up shares of sums, which are noise to it. It keeps on disk over which sites it closed a round: a second
//! sum over other sites is refused also after a crash, for the difference of the two could be somebody's data.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use acequia_learn::{Aggregator, Ask, Dropouts, Plan, Roster as Sites};
use acequia_types::{Clock, Digest};
use serde::{Deserialize, Serialize};

use crate::error::NetError;
use crate::link::{Link, Network, Protocol};
use crate::message::{Frame, Reply, Request, read};
use crate::queue::{append_line, lines_of};
use crate::refusals::{Asked, Refusals};
use crate::roster::{Role, Roster};
use crate::site::blocking;

const WHAT: &str = "the list of closed rounds";

/// Sites in a masked sum, at least, whatever a plan says: a sum over one is that one's.
pub(crate) const SITES_MIN: usize = 2;

/// A round that was closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Closed {
    context: Digest,
    question: Digest,
    sites: Vec<String>,
}

/// A run at an aggregator.
struct Sum {
    plan: Plan,
    coordinator: String,
    sites: Vec<String>,
    aggregator: Aggregator,
    ask: Ask,
}

/// An aggregator's desk.
pub struct AggregatorDesk {
    roster: Arc<Roster>,
    folder: PathBuf,
    clock: Arc<dyn Clock>,
    refusals: Refusals,
    runs: Mutex<BTreeMap<Digest, Sum>>,
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
        Ok(Arc::new(Self { roster, refusals: Refusals::new(&folder), folder, clock, runs: Mutex::default() }))
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
            desk.reply(&from, &bytes, &mut asked).inspect_err(|error| {
                desk.refusals.enter(&from, asked, error, desk.clock.now());
            })
        });
        reply.await.unwrap_or_else(|error| {
            tracing::warn!(%error, "refused");
            Frame::from(&Reply::No { reason: error.to_string() })
        })
    }

    /// The run that somebody speaks of, if it takes part in this role.
    fn of<'r>(
        &self,
        runs: &'r mut BTreeMap<Digest, Sum>,
        from: &str,
        digest: &Digest,
        role: Role,
    ) -> Result<&'r mut Sum, NetError> {
        let refuse = |reason| NetError::Message { from: from.to_owned(), reason };
        self.roster.expect(from, role)?;
        let sum = runs.get_mut(digest).ok_or_else(|| refuse("the run was not opened here"))?;
        let takes_part = match role {
            Role::Coordinator => sum.coordinator == from,
            _ => sum.sites.iter().any(|site| site == from),
        };
        if takes_part { Ok(sum) } else { Err(refuse("the sender does not take part")) }
    }

    fn reply(&self, from: &str, bytes: &[u8], asked: &mut Asked) -> Result<Frame, NetError> {
        self.roster.valid_on(self.clock.now().day())?;
        let refuse = |reason| NetError::Message { from: from.to_owned(), reason };
        let (request, numbers) = read::<Request>(from, bytes)?;
        *asked = request.asked();
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        match request {
            Request::Open { plan, sites, ask } => {
                self.roster.expect(from, Role::Coordinator)?;
                for site in &sites {
                    self.roster.expect(site, Role::Site)?;
                }
                let plan = Plan::from_json(&plan)?;
                let digest = plan.digest();
                if ask.attempt != 0 {
                    return Err(refuse("nobody takes over where there is a coordinator"));
                }
                let sum = match runs.entry(digest) {
                    Entry::Occupied(entry) => entry.into_mut(),
                    Entry::Vacant(entry) => {
                        let roster = Sites::new(sites)?.identified_by(self.roster.digest());
                        let mut aggregator = Aggregator::new(&plan, &roster);
                        aggregator.open(&ask)?;
                        let (coordinator, sites) = (from.to_owned(), roster.sites().to_vec());
                        entry.insert(Sum { plan, coordinator, sites, aggregator, ask });
                        return Ok(Frame::from(&Reply::Yes));
                    }
                };
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
                Ok(Frame::from(&Reply::Yes))
            }
            Request::Share { plan, round } => {
                let sum = self.of(&mut runs, from, &plan, Role::Site)?;
                if round != sum.ask.round {
                    return Err(refuse("the round is not open here"));
                }
                sum.aggregator.receive(from, numbers)?;
                Ok(Frame::from(&Reply::Yes))
            }
            Request::Present { plan, round } => {
                let sum = self.of(&mut runs, from, &plan, Role::Coordinator)?;
                let sites = if round == sum.ask.round { sum.aggregator.present() } else { Vec::new() };
                Ok(Frame::from(&Reply::Present { sites }))
            }
            Request::Close { plan, round, sites } => {
                let sum = self.of(&mut runs, from, &plan, Role::Coordinator)?;
                if round != sum.ask.round {
                    return Err(refuse("the round is not open here"));
                }
                let sites: BTreeSet<String> = sites.into_iter().collect();
                let sites: Vec<String> = sites.into_iter().collect();
                let closing = Closed { context: sum.ask.context(), question: sum.ask.question.digest(), sites };
                if closing.sites.len() < SITES_MIN {
                    return Err(refuse("a sum over one site would be that site's own"));
                }
                if sum.plan.privacy.dropouts == Dropouts::Wait && closing.sites != sum.sites {
                    return Err(refuse("the plan lets nobody add up without a site that takes part"));
                }
                let path = self.folder.join(format!("{plan}.closed.jsonl"));
                let before = lines_of(&path, WHAT)?
                    .lines()
                    .map(serde_json::from_str::<Closed>)
                    .collect::<Result<Vec<_>, _>>()
                    .map_err(|_| NetError::File { what: WHAT, problem: std::io::ErrorKind::InvalidData })?;
                let known = before.iter().find(|closed| closed.context == closing.context);
                if known.is_some_and(|closed| *closed != closing) {
                    return Err(refuse("the round was closed with other sites"));
                }
                // Two sums of one question over two sets of sites differ by somebody's rows, whatever the round.
                if before.iter().any(|closed| closed.question == closing.question && closed.sites != closing.sites) {
                    return Err(refuse("the same question was closed with other sites"));
                }
                let grew = |closed: &Closed| closing.sites.iter().any(|site| !closed.sites.contains(site));
                if known.is_none() && before.last().is_some_and(grew) {
                    return Err(refuse("a site that was left out stays out"));
                }
                let total = sum.aggregator.close(&closing.sites)?;
                if known.is_none() {
                    // On record before the sum is seen by anybody.
                    append_line(&path, &serde_json::to_string(&closing).unwrap_or_default(), WHAT)?;
                }
                Ok(Frame::part(&total))
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
