//! What members say to one another: a closed set. Each message is a head in CBOR (RFC 8949) and, where numbers about rows follow,
//! little-endian bytes.
//!
//! Numbers about a site's rows come from an [`Outbound`] only, and a [`Frame`] is the only thing that a connection carries:
//!
//! ```compile_fail,E0277
//! fn leak(update: &acequia_learn::SiteUpdate) -> acequia_net::Frame {
//!     acequia_net::Frame::from(update)
//! }
//! ```
//! ```
//! fn pass(update: &acequia_gate::Outbound<acequia_learn::SiteUpdate>) -> acequia_net::Frame {
//!     acequia_net::Frame::from(update)
//! }
//! ```

use std::collections::BTreeMap;

use acequia_gate::Outbound;
use acequia_learn::{
    Accepted, Ask, Envelope, PartTotal, PeerMessage, Plan, SiteFinding, SiteUpdate, Turn, ValidationRequest,
    Verification,
};
use acequia_types::Digest;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::catalogue::{Given, Page};
use crate::error::NetError;
use crate::refusals::Asked;

/// Bytes of a message, at most: a sum of two million numbers without a mask.
pub(crate) const MESSAGE_BYTES_MAX: usize = 33 << 20;

/// What is asked of a member. Tagged from outside: what carries its tag within is read into a buffer first, and questions are
/// long.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Request {
    /// To a site: would you answer this plan (JSON)?
    Offer {
        /// The plan.
        plan: String,
        /// The coordinator's signature under it.
        #[serde(default)]
        signature: Option<String>,
    },
    /// To a site: it begins, with these sites.
    Begin {
        /// Digest of the plan.
        plan: Digest,
        /// Digest of the signed roster.
        roster: Digest,
        /// All who take part.
        sites: Vec<String>,
    },
    /// To a site: the question of a round.
    Ask {
        /// The question.
        ask: Ask,
    },
    /// To a site, in the round of a question that it answered with keys: a step of double masking.
    Turn {
        /// Digest of the plan.
        plan: Digest,
        /// Digest of plan, roster, round and question.
        context: Digest,
        /// What the site is told.
        turn: Turn,
    },
    /// To a site, before a model is told to anybody: does it tell who was in the training?
    Attack {
        /// Digest of the plan.
        plan: Digest,
    },
    /// To a site: the result (JSON).
    End {
        /// Digest of the plan.
        plan: Digest,
        /// The result.
        outcome: String,
    },
    /// To a site: what is this model (a request as JSON) worth on your rows?
    Examine {
        /// The request.
        request: String,
        /// The coordinator's signature under it.
        #[serde(default)]
        signature: Option<String>,
    },
    /// To an aggregator: shares of this question will come.
    Open {
        /// The plan.
        plan: String,
        /// The coordinator's signature under it.
        #[serde(default)]
        signature: Option<String>,
        /// All who take part.
        sites: Vec<String>,
        /// The question.
        ask: Ask,
    },
    /// To an aggregator, by a site: a share. Numbers follow.
    Share {
        /// Digest of the plan.
        plan: Digest,
        /// In which round.
        round: u32,
    },
    /// To an aggregator: whose shares are there?
    Present {
        /// Digest of the plan.
        plan: Digest,
        /// In which round.
        round: u32,
    },
    /// To an aggregator: do the proofs of these hold, as far as its shares tell? With the other aggregator's half of the key.
    Verify {
        /// Digest of the plan.
        plan: Digest,
        /// In which round.
        round: u32,
        /// Whose shares.
        sites: Vec<String>,
        /// The other's half (hex).
        key: String,
        /// The other's signature under it.
        signature: String,
    },
    /// To an aggregator: what the other found of the proofs. It follows.
    Settle {
        /// Digest of the plan.
        plan: Digest,
        /// In which round.
        round: u32,
        /// The other's signature under it.
        signature: String,
    },
    /// To an aggregator: the sum over these.
    Close {
        /// Digest of the plan.
        plan: Digest,
        /// In which round.
        round: u32,
        /// Whose shares.
        sites: Vec<String>,
    },
}

impl Request {
    /// What is asked, for the record of what is refused.
    pub(crate) fn asked(&self) -> Asked {
        let of = |what, about, round| Asked { what, about, round };
        match self {
            Self::Offer { plan, .. } => of("offer", Plan::from_json(plan).ok().map(|plan| plan.digest()), None),
            Self::Begin { plan, .. } => of("begin", Some(*plan), None),
            Self::Ask { ask } => of("ask", Some(ask.plan), Some(ask.round)),
            Self::Turn { plan, .. } => of("turn", Some(*plan), None),
            Self::Attack { plan } => of("attack", Some(*plan), None),
            Self::End { plan, .. } => of("end", Some(*plan), None),
            Self::Examine { request, .. } => {
                of("examine", ValidationRequest::from_json(request).ok().map(|request| request.digest()), None)
            }
            Self::Open { ask, .. } => of("open", Some(ask.plan), Some(ask.round)),
            Self::Share { plan, round } => of("share", Some(*plan), Some(*round)),
            Self::Present { plan, round } => of("present", Some(*plan), Some(*round)),
            Self::Verify { plan, round, .. } => of("verify", Some(*plan), Some(*round)),
            Self::Settle { plan, round, .. } => of("settle", Some(*plan), Some(*round)),
            Self::Close { plan, round, .. } => of("close", Some(*plan), Some(*round)),
        }
    }
}

impl PeerRequest {
    /// As [`Request::asked`].
    pub(crate) fn asked(&self) -> Asked {
        match self {
            Self::Invite { plan, .. } => {
                Asked { what: "invite", about: Plan::from_json(plan).ok().map(|plan| plan.digest()), round: None }
            }
            Self::Say { plan, round, what, .. } => {
                Asked { what: what.in_a_word(), about: Some(*plan), round: Some(*round) }
            }
        }
    }
}

/// What a site tells of its attack on a model. Why it could not be run stays there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Attacked {
    /// It stayed below what the plan allows.
    Passed,
    /// It tells the site's rows from others.
    Failed,
    /// It could not be run.
    NotRun,
}

/// What a member answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Reply {
    /// Yes, or done.
    Yes,
    /// Nobody decided yet.
    Waits,
    /// No.
    No {
        /// In words.
        reason: String,
    },
    /// The shares are with the aggregators.
    Sent,
    /// Sums without a mask. Numbers follow.
    Sums,
    /// What a step of double masking calls for. It follows.
    Masked,
    /// The site was started again meanwhile: the question, and all turns up to this one.
    Again,
    /// Whose shares are there.
    Present {
        /// Names.
        sites: Vec<String>,
        /// Over which sites the question was closed before, if it was.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        closed: Option<Vec<String>>,
    },
    /// The round is open, and the aggregator's half of the key that proofs are verified with.
    Opened {
        /// The half (hex).
        key: String,
        /// The aggregator's signature under it.
        signature: String,
    },
    /// What the other aggregator is told of proofs. It follows.
    Verified {
        /// The aggregator's signature under it.
        signature: String,
    },
    /// Sites whose proofs do not hold: no sum is over them.
    Settled {
        /// Names.
        refused: Vec<String>,
    },
    /// Half of a sum. Numbers follow.
    Part,
    /// What the model is worth there. The evaluation (JSON) follows.
    Finding {
        /// The site's signature over request and evaluation.
        signature: String,
    },
    /// What came of the site's own attack.
    Attacked {
        /// Whether it stayed below what the plan allows.
        found: Attacked,
    },
}

/// What sites say to one another where nobody coordinates. Tagged from outside, as [`Request`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum PeerRequest {
    /// Would you run this plan (JSON) with these sites?
    Invite {
        /// The plan.
        plan: String,
        /// Digest of the signed roster.
        roster: Digest,
        /// All who take part, sorted.
        sites: Vec<String>,
        /// Which of them proposed it.
        #[serde(default)]
        by: String,
        /// Its signature.
        #[serde(default)]
        signature: Option<String>,
        /// Who agreed, as far as the sender knows: names and signatures.
        agreed: BTreeMap<String, String>,
    },
    /// A message of a run.
    Say {
        /// Digest of the plan.
        plan: Digest,
        /// In which round.
        round: u32,
        /// How often somebody took over in it.
        attempt: u32,
        /// What is said.
        what: What,
    },
}

/// What is said in a round; see [`PeerMessage`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum What {
    /// The sender is in this round.
    Here,
    /// A share, or sums without a mask. Numbers follow.
    Share {
        /// The set of sites that the sender accepted before.
        accepted: Option<Accepted>,
    },
    /// Shares of these sites are there.
    Have {
        /// Names.
        sites: Vec<String>,
    },
    /// The sum shall be over these sites.
    Propose {
        /// Names.
        sites: Vec<String>,
    },
    /// The sender accepts these sites.
    Accept {
        /// Names.
        sites: Vec<String>,
    },
    /// Half of a sum. Numbers follow.
    Part,
    /// The sum. Numbers follow.
    Total,
}

impl What {
    fn in_a_word(&self) -> &'static str {
        match self {
            Self::Here => "here",
            Self::Share { .. } => "share",
            Self::Have { .. } => "have",
            Self::Propose { .. } => "propose",
            Self::Accept { .. } => "accept",
            Self::Part => "part",
            Self::Total => "total",
        }
    }

    /// Whether numbers follow.
    pub(crate) fn has_numbers(&self) -> bool {
        matches!(self, Self::Share { .. } | Self::Part | Self::Total)
    }
}

/// What a site answers to another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum PeerReply {
    /// It was taken.
    Yes,
    /// This site is not so far; say it again.
    Later,
    /// Who agreed, as far as this site knows: names and signatures.
    Agreed {
        /// Names and signatures.
        agreed: BTreeMap<String, String>,
    },
    /// No.
    No {
        /// In words.
        reason: String,
    },
}

/// What a member asks another about what it published. Tagged from outside, as [`Request`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum CatalogueRequest {
    /// What did you publish or take down after the first `since` entries of your catalogue?
    Since {
        /// Entries that the sender has.
        since: u64,
    },
    /// Some bytes of a file of a served version. Never more than [`PIECE_BYTES_MAX`](crate::catalogue::PIECE_BYTES_MAX).
    Piece {
        /// Content address.
        sha256: Digest,
        /// The first byte.
        from: u64,
        /// How many.
        length: u64,
    },
}

/// What it answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum CatalogueReply {
    /// Entries of the catalogue.
    Page {
        /// The entries, and what they add up to.
        page: Page,
    },
    /// Here they are. The bytes follow.
    Piece,
    /// Nothing that is served has such bytes.
    NotHere,
    /// No.
    No {
        /// In words.
        reason: String,
    },
}

/// A message as bytes: its head, and what follows it. Cheap to copy; a question goes to many.
#[derive(Debug, Clone)]
pub struct Frame {
    head: Bytes,
    numbers: Bytes,
}

impl Frame {
    /// Bytes of the whole.
    pub(crate) fn len(&self) -> usize {
        self.head.len() + self.numbers.len()
    }

    /// The whole in pieces.
    pub(crate) fn pieces(&self) -> [Bytes; 2] {
        [self.head.clone(), self.numbers.clone()]
    }

    /// The whole in one piece, where it crosses no connection.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        self.pieces().concat()
    }

    /// As [`Frame::to_bytes`]; numbers that nobody else holds are not copied.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::from(self.numbers);
        bytes.splice(..0, self.head);
        bytes
    }

    fn of(head: &impl Serialize, numbers: impl Into<Bytes>) -> Self {
        let mut bytes = Vec::new();
        // Memory can be written, and every head is a map of plain values.
        let _ = ciborium::into_writer(head, &mut bytes);
        Self { head: bytes.into(), numbers: numbers.into() }
    }

    /// A share for an aggregator.
    pub(crate) fn share(plan: Digest, update: &Outbound<SiteUpdate>) -> Self {
        let round = update.get().round();
        Self::of(&Request::Share { plan, round }, update.get().bytes().clone())
    }

    /// A message as somebody might say it who does not keep to the rules; for tests.
    #[cfg(test)]
    pub(crate) fn by_hand(head: &serde_json::Value, numbers: &[u8]) -> Self {
        Self::of(head, numbers.to_vec())
    }

    /// What a model is worth at a site.
    pub(crate) fn finding(finding: &Outbound<SiteFinding>, signature: String) -> Self {
        let evaluation = serde_json::to_vec(finding.get().evaluation()).unwrap_or_default();
        Self::of(&Reply::Finding { signature }, evaluation)
    }

    /// A message of a run without a coordinator. The bytes of a sum are made once for all who get it.
    pub(crate) fn peer(plan: Digest, envelope: Envelope<Outbound<SiteUpdate>>, sum: &mut Option<Bytes>) -> Self {
        let (what, numbers) = match envelope.body {
            PeerMessage::Here => (What::Here, Bytes::new()),
            PeerMessage::Share { share, accepted } => (What::Share { accepted }, share.get().bytes().clone()),
            PeerMessage::Have(sites) => (What::Have { sites }, Bytes::new()),
            PeerMessage::Propose(sites) => (What::Propose { sites }, Bytes::new()),
            PeerMessage::Accept(sites) => (What::Accept { sites }, Bytes::new()),
            PeerMessage::Part(part) => (What::Part, part.into_bytes().into()),
            PeerMessage::Total(total) => (What::Total, sum.get_or_insert_with(|| total.to_bytes().into()).clone()),
        };
        let (round, attempt) = (envelope.round, envelope.attempt);
        Self::of(&PeerRequest::Say { plan, round, attempt, what }, numbers)
    }

    /// What a site says in a round of double masking.
    pub(crate) fn masked(update: &Outbound<SiteUpdate>) -> Self {
        Self::of(&Reply::Masked, update.get().bytes().clone())
    }

    /// Bytes of a file of a served version.
    pub(crate) fn piece(given: Given) -> Self {
        Self::of(&CatalogueReply::Piece, given.into_bytes())
    }

    /// What an aggregator tells the other of proofs.
    pub(crate) fn verified(verification: &Verification, signature: String) -> Self {
        Self::of(&Reply::Verified { signature }, verification.to_bytes())
    }

    /// The same, handed on by the coordinator, who cannot change it.
    pub(crate) fn settle(plan: Digest, round: u32, signature: String, verification: Vec<u8>) -> Self {
        Self::of(&Request::Settle { plan, round, signature }, verification)
    }

    /// Half of a sum over several sites: noise without the other half.
    pub(crate) fn part(total: PartTotal) -> Self {
        Self::of(&Reply::Part, total.into_bytes())
    }
}

/// Sums without a mask, for the coordinator.
impl From<&Outbound<SiteUpdate>> for Frame {
    fn from(update: &Outbound<SiteUpdate>) -> Self {
        Self::of(&Reply::Sums, update.get().bytes().clone())
    }
}

impl From<&Request> for Frame {
    fn from(request: &Request) -> Self {
        Self::of(request, Bytes::new())
    }
}

impl From<&PeerRequest> for Frame {
    fn from(request: &PeerRequest) -> Self {
        Self::of(request, Bytes::new())
    }
}

impl From<&PeerReply> for Frame {
    fn from(reply: &PeerReply) -> Self {
        Self::of(reply, Bytes::new())
    }
}

impl From<&CatalogueRequest> for Frame {
    fn from(request: &CatalogueRequest) -> Self {
        Self::of(request, Bytes::new())
    }
}

impl From<&CatalogueReply> for Frame {
    fn from(reply: &CatalogueReply) -> Self {
        Self::of(reply, Bytes::new())
    }
}

impl From<&Reply> for Frame {
    fn from(reply: &Reply) -> Self {
        Self::of(reply, Bytes::new())
    }
}

/// Reads a message: its head, and the bytes behind it.
///
/// # Errors
/// [`NetError::Message`].
pub(crate) fn read<'b, T: DeserializeOwned>(from: &str, bytes: &'b [u8]) -> Result<(T, &'b [u8]), NetError> {
    let mut rest = bytes;
    let head = ciborium::from_reader(&mut rest)
        .map_err(|_| NetError::Message { from: from.to_owned(), reason: "its head cannot be read" })?;
    Ok((head, rest))
}

/// Reads any bytes as each kind of message; for the fuzz target.
#[doc(hidden)]
pub fn read_anything(bytes: &[u8]) {
    if let Ok((request, _)) = read::<Request>("somebody", bytes) {
        let again = Frame::from(&request).to_bytes();
        let (read_again, _) =
            read::<Request>("somebody", &again).unwrap_or_else(|_| panic!("what was written is read"));
        // Numbers may be none.
        assert!(read_again == request || again == Frame::from(&read_again).to_bytes(), "what was written is read");
    }
    let _ = read::<Reply>("somebody", bytes);
    if let Ok((request, _)) = read::<PeerRequest>("somebody", bytes) {
        let again = Frame::from(&request).to_bytes();
        assert!(read::<PeerRequest>("somebody", &again).is_ok_and(|(read, _)| read == request));
    }
    if let Ok((reply, _)) = read::<PeerReply>("somebody", bytes) {
        let again = Frame::from(&reply).to_bytes();
        assert!(read::<PeerReply>("somebody", &again).is_ok_and(|(read, _)| read == reply));
    }
    if let Ok((request, _)) = read::<CatalogueRequest>("somebody", bytes) {
        let again = Frame::from(&request).to_bytes();
        assert!(read::<CatalogueRequest>("somebody", &again).is_ok_and(|(read, _)| read == request));
    }
    if let Ok((reply, _)) = read::<CatalogueReply>("somebody", bytes) {
        let again = Frame::from(&reply).to_bytes();
        assert!(read::<CatalogueReply>("somebody", &again).is_ok_and(|(read, _)| read == reply));
        if let CatalogueReply::Page { page } = reply {
            crate::catalogue::take_anything(&page);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_as_they_were_said() {
        let plan = Digest::of(b"plan");
        let requests = [
            Request::Offer { plan: "{\"a\": \"\\n\"}".to_owned(), signature: Some("00".to_owned()) },
            Request::Begin { plan, roster: plan, sites: vec!["north".to_owned()] },
            Request::Close { plan, round: 3, sites: vec!["north".to_owned(), "south".to_owned()] },
            Request::Turn { plan, context: plan, turn: Turn::Confirm(vec!["north".to_owned()]) },
            Request::Turn {
                plan,
                context: plan,
                turn: Turn::Mask(BTreeMap::from([("north".to_owned(), vec![0, 255])])),
            },
        ];
        for request in requests {
            let bytes = Frame::from(&request).to_bytes();
            let (read, rest) = read::<Request>("x", &bytes).unwrap();
            assert!(read == request && rest.is_empty());
        }
        let say = |what| PeerRequest::Say { plan, round: 2, attempt: 1, what };
        let sites = vec!["north".to_owned(), "south".to_owned()];
        let accepted = Some(Accepted { attempt: 0, sites: sites.clone() });
        let agreed = BTreeMap::from([("north".to_owned(), "00".to_owned())]);
        for request in [
            PeerRequest::Invite {
                plan: "{}".to_owned(),
                roster: plan,
                sites: sites.clone(),
                by: "north".to_owned(),
                signature: None,
                agreed,
            },
            say(What::Here),
            say(What::Share { accepted }),
            say(What::Share { accepted: None }),
            say(What::Accept { sites }),
            say(What::Total),
        ] {
            let bytes = Frame::from(&request).to_bytes();
            read_anything(&bytes);
            assert_eq!(read::<PeerRequest>("x", &bytes).unwrap(), (request, &b""[..]));
        }
        let hand = |value: serde_json::Value| Frame::by_hand(&value, &[]).to_bytes();
        let unknown = hand(serde_json::json!({ "present": { "plan": plan, "round": 1, "more": 1 } }));
        let kind = hand(serde_json::json!({ "present": { "plan": 1, "round": 1 } }));
        let half = hand(serde_json::json!({ "offer": {} }));
        // A list that claims to be longer than anything.
        let long = [&[0x9b][..], &[0xff; 8]].concat();
        for bad in [&b""[..], b"{}", b"\xff\n", &unknown, &kind, &half, &long] {
            assert!(read::<Request>("x", bad).is_err() && read::<PeerRequest>("x", bad).is_err());
            read_anything(bad);
        }
    }
}
