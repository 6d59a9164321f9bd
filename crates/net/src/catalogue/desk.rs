//! Answers members who ask what this node published, and for that: nothing else, and never more than they were told.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use acequia_gate::GateKey;
use acequia_types::{Clock, Digest};
use bytes::Bytes;
use tokio::sync::Semaphore;

use super::{Given, Offered, QUESTION_BYTES_MAX};
use crate::error::NetError;
use crate::identity::Identity;
use crate::link::{Incoming, Link, Network, Protocol};
use crate::message::{CatalogueReply, CatalogueRequest, Frame, read};
use crate::roster::Roster;
use crate::site::blocking;

/// Connections of one member, questions that are answered at a time, and of one member.
const LINKS_OF_MEMBER: usize = 8;
const AT_ONCE: usize = 32;
const AT_ONCE_OF_LINK: usize = 8;
/// How long a question may take to arrive, and an answer to be taken.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where the desk gets from what it tells and gives. The node implements it over its records and blobs.
pub trait CatalogueSource: Send + Sync + 'static {
    /// What is told and given at this moment. Called once for each question.
    fn offered(&self) -> Arc<Offered>;

    /// Bytes of a file; `None` when they cannot be read now. Called off the async threads, and only for what is offered.
    fn read(&self, sha256: &Digest, range: Range<u64>) -> Option<Bytes>;
}

/// Tells members what this node published.
pub struct CatalogueDesk {
    roster: Arc<Roster>,
    identity: Identity,
    /// Public key of this node's gate, and its word that it is this member's.
    gate: (String, String),
    source: Arc<dyn CatalogueSource>,
    clock: Arc<dyn Clock>,
    turns: Semaphore,
    /// Connections of each member, oldest first.
    links: Mutex<BTreeMap<String, VecDeque<Link>>>,
}

impl CatalogueDesk {
    /// The desk of the member that `network` belongs to.
    pub fn new(
        network: &Network,
        identity: &Identity,
        gate: &GateKey,
        source: Arc<dyn CatalogueSource>,
        clock: Arc<dyn Clock>,
    ) -> Arc<Self> {
        Arc::new(Self {
            roster: Arc::clone(network.roster()),
            identity: identity.clone(),
            gate: (gate.verifier().to_hex(), gate.say_whose(identity.key().0.as_bytes())),
            source,
            clock,
            turns: Semaphore::new(AT_ONCE),
            links: Mutex::default(),
        })
    }

    /// Answers whoever dials in, and dials nobody. Ends when the endpoint is closed.
    pub async fn serve(self: Arc<Self>, network: &Network) {
        let mut links = network.listen(Protocol::Catalogue);
        while let Some(link) = links.recv().await {
            self.admit(&link);
            let desk = Arc::clone(&self);
            tokio::spawn(async move { desk.answer_all(&link).await });
        }
    }

    /// Of too many connections of a member the oldest ends: it may be of a process that was killed, which said nothing.
    fn admit(&self, link: &Link) {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        let open = links.entry(link.member().to_owned()).or_default();
        open.retain(|link| !link.is_closed());
        open.push_back(link.clone());
        while open.len() > LINKS_OF_MEMBER {
            if let Some(oldest) = open.pop_front() {
                oldest.close("the member has newer connections");
            }
        }
    }

    async fn answer_all(self: &Arc<Self>, link: &Link) {
        let turns = Arc::new(Semaphore::new(AT_ONCE_OF_LINK));
        while let Some(incoming) = link.next().await {
            // Whoever asks faster than it takes the answers waits; QUIC keeps what it sent.
            let Ok(turn) = Arc::clone(&turns).acquire_owned().await else { return };
            let desk = Arc::clone(self);
            tokio::spawn(async move {
                let _ = tokio::time::timeout(PATIENCE, desk.answer_one(incoming)).await;
                drop(turn);
            });
        }
    }

    async fn answer_one(self: &Arc<Self>, mut incoming: Incoming) {
        let from = incoming.from.clone();
        let bytes = incoming.read_up_to(QUESTION_BYTES_MAX).await;
        let Ok(_turn) = self.turns.acquire().await else { return };
        let answered = match bytes {
            Ok(bytes) => {
                let desk = Arc::clone(self);
                blocking(move || desk.reply(&from, &bytes)).await
            }
            Err(error) => Err(error),
        };
        let frame = answered.unwrap_or_else(|error| {
            tracing::warn!(%error, "refused");
            Frame::from(&CatalogueReply::No { reason: error.to_string() })
        });
        incoming.answer(&frame).await;
    }

    fn reply(&self, from: &str, bytes: &[u8]) -> Result<Frame, NetError> {
        self.roster.valid_on(self.clock.now().day())?;
        let refuse = |reason| NetError::Message { from: from.to_owned(), reason };
        let (request, rest) = read::<CatalogueRequest>(from, bytes)?;
        if !rest.is_empty() {
            return Err(refuse("something follows a question"));
        }
        let offered = self.source.offered();
        match request {
            CatalogueRequest::Since { since } => {
                let page = offered.page(since, &self.gate, &self.identity);
                Ok(Frame::from(&CatalogueReply::Page { page }))
            }
            CatalogueRequest::Piece { sha256, from: first, length } => {
                // What is not served any more, sealed, or unknown gets one answer: nobody can ask what this node holds.
                let range = offered.range(&sha256, first, length);
                let given = range.and_then(|range| {
                    let wanted = range.end - range.start;
                    let bytes = if range.is_empty() { Some(Bytes::new()) } else { self.source.read(&sha256, range) };
                    bytes.filter(|bytes| bytes.len() as u64 == wanted).map(Given)
                });
                Ok(given.map_or_else(|| Frame::from(&CatalogueReply::NotHere), Frame::piece))
            }
        }
    }
}
