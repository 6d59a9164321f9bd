//! Dated acts about one donor's data, and all of them together as a history.
//!
//! Source: reference design §3.2. Two times are kept apart: from when an act counts (`at`, ISO/IEC TS 27560 event time) and
//! when the node learnt of it (`known_at`), so that "what held then, as known then" stays answerable.

use std::collections::BTreeSet;

use acequia_types::{Day, Digest, Timestamp};
use serde::{Deserialize, Serialize};

use crate::purpose::Purposes;
use crate::terms::Conditions;

#[cfg(doc)]
use crate::Purpose;

/// How far a withdrawal goes. Each level includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Do not contact me any more.
    NoContact,
    /// And take in nothing new.
    NoNewCollection,
    /// And begin no further use. What is in a published data set may stay in its next versions.
    NoFurtherUse,
    /// And leave me out of the next versions.
    #[default]
    LeaveNextVersions,
}

impl Level {
    /// Every level, each with those before it.
    pub const ALL: [Self; 4] = [Self::NoContact, Self::NoNewCollection, Self::NoFurtherUse, Self::LeaveNextVersions];

    /// The word used in files and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoContact => "no-contact",
            Self::NoNewCollection => "no-new-collection",
            Self::NoFurtherUse => "no-further-use",
            Self::LeaveNextVersions => "leave-next-versions",
        }
    }

    /// Reads the word.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.as_str() == text)
    }
}

/// Who acted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Party {
    /// The donor.
    #[default]
    Donor,
    /// Somebody who acts for the donor.
    Representative,
    /// The institution that holds the record.
    Institution,
    /// The trustee's rights desk.
    Desk,
}

/// Why somebody may act for a donor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Authority {
    /// The donor chose the representative and goes on deciding too.
    Proxy,
    /// Parental responsibility; the donor cannot give alone.
    Parental,
    /// A court's order; the donor cannot give alone.
    Court,
}

/// The notice a person was shown, word for word.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Notice {
    /// Which notice.
    pub id: String,
    /// Its version.
    pub version: u32,
    /// Language shown, by BCP 47.
    pub language: String,
    /// Digest of the text shown.
    pub digest: Digest,
}

/// What was done. At one instant acts count in the order of this list: an act that narrows comes after one that widens.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
pub enum ConsentKind {
    /// Somebody may act for the donor, perhaps until a day (that day included). Counts from the desk only, which has seen
    /// the paper.
    Represent {
        /// Why.
        authority: Authority,
        /// Last day: for a minor, the day before majority.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires_on: Option<Day>,
    },
    /// Nobody acts for the donor any more. Counts from the desk only.
    EndRepresentation,
    /// Allowed these purposes and no others, perhaps until a day (that day included) and under conditions.
    Give {
        /// What is allowed.
        purposes: Purposes,
        /// Last day of validity.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires_on: Option<Day>,
        /// What it depends on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        conditions: Option<Box<Conditions>>,
    },
    /// Took the opt-out back. Counts from whoever may give.
    ReverseOptOut,
    /// Took an objection back, or the desk decided on it.
    SettleObjection {
        /// For which purposes.
        purposes: Purposes,
    },
    /// The restriction ended. Counts from whoever may give, and from the desk.
    LiftRestriction,
    /// The institution allows these purposes and no others, perhaps until a day. Counts from the institution only.
    InstitutionPermits {
        /// What it allows.
        purposes: Purposes,
        /// Last day of validity.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires_on: Option<Day>,
    },
    /// Said no to these purposes.
    Refuse {
        /// What is refused.
        purposes: Purposes,
    },
    /// Quality control found that what was given until now was not valid, for instance unsigned.
    Invalidate,
    /// Withdrew.
    Withdraw {
        /// How far.
        #[serde(default, skip_serializing_if = "is_whole")]
        level: Level,
    },
    /// Opted out of secondary use (EHDS Art. 71).
    OptOut,
    /// Objected to these purposes (GDPR Art. 21).
    Object {
        /// Which.
        purposes: Purposes,
    },
    /// Processing is restricted (GDPR Art. 18).
    Restrict,
    /// The institution's permission ended.
    InstitutionEnds,
    /// A duty to keep the data begins: blocks erasure, permits nothing.
    LegalHold,
    /// The duty to keep the data ended. Counts from the desk only.
    LiftLegalHold,
    /// The donor died.
    Died,
    /// Erasure was ordered (GDPR Art. 17). Final.
    OrderErasure,
}

fn is_whole(level: &Level) -> bool {
    *level == Level::default()
}

/// One dated act. What is written must be understood whole: an unknown key, such as a misspelt day of expiry, is refused,
/// for what it meant to limit would be without limit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "Written")]
pub struct ConsentEvent {
    /// From when it counts.
    pub at: Timestamp,
    /// What was done.
    #[serde(flatten)]
    pub kind: ConsentKind,
    /// Who did it.
    #[serde(skip_serializing_if = "is_donor")]
    pub by: Party,
    /// What the person had been shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notice: Option<Box<Notice>>,
}

fn is_donor(party: &Party) -> bool {
    *party == Party::Donor
}

/// A consent event as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    at: Timestamp,
    event: Act,
    #[serde(default)]
    by: Party,
    #[serde(default)]
    notice: Option<Box<Notice>>,
    #[serde(default)]
    purposes: Option<BTreeSet<crate::Purpose>>,
    #[serde(default)]
    expires_on: Option<Day>,
    #[serde(default)]
    conditions: Option<Box<Conditions>>,
    #[serde(default)]
    level: Option<Level>,
    #[serde(default)]
    authority: Option<Authority>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Act {
    Represent,
    EndRepresentation,
    Give,
    ReverseOptOut,
    SettleObjection,
    LiftRestriction,
    InstitutionPermits,
    Refuse,
    Invalidate,
    Withdraw,
    OptOut,
    Object,
    Restrict,
    InstitutionEnds,
    LegalHold,
    LiftLegalHold,
    Died,
    OrderErasure,
}

impl TryFrom<Written> for ConsentEvent {
    type Error = &'static str;
    fn try_from(written: Written) -> Result<Self, Self::Error> {
        let Written { at, event, by, notice, purposes, expires_on, conditions, level, authority } = written;
        let names_purposes =
            matches!(event, Act::Give | Act::Refuse | Act::SettleObjection | Act::Object | Act::InstitutionPermits);
        let purposes: Purposes = match (names_purposes, purposes) {
            (true, Some(purposes)) => purposes.into_iter().collect(),
            (false, None) => Purposes::NONE,
            (true, None) => return Err("purposes are missing"),
            (false, Some(_)) if event == Act::Withdraw => return Err("withdraw is for all purposes and names none"),
            (false, Some(_)) => return Err("this event names no purposes"),
        };
        if expires_on.is_some() && !matches!(event, Act::Give | Act::Represent | Act::InstitutionPermits) {
            return Err("expires_on belongs to give, represent and institution-permits only");
        }
        if conditions.is_some() && event != Act::Give {
            return Err("conditions belong to give only");
        }
        if level.is_some() && event != Act::Withdraw {
            return Err("level belongs to withdraw only");
        }
        if authority.is_some() != (event == Act::Represent) {
            return Err("authority belongs to represent, and to nothing else");
        }
        let kind = match event {
            Act::Represent => {
                ConsentKind::Represent { authority: authority.ok_or("authority is missing")?, expires_on }
            }
            Act::EndRepresentation => ConsentKind::EndRepresentation,
            Act::Give => ConsentKind::Give { purposes, expires_on, conditions },
            Act::ReverseOptOut => ConsentKind::ReverseOptOut,
            Act::SettleObjection => ConsentKind::SettleObjection { purposes },
            Act::LiftRestriction => ConsentKind::LiftRestriction,
            Act::InstitutionPermits => ConsentKind::InstitutionPermits { purposes, expires_on },
            Act::Refuse => ConsentKind::Refuse { purposes },
            Act::Invalidate => ConsentKind::Invalidate,
            Act::Withdraw => ConsentKind::Withdraw { level: level.unwrap_or_default() },
            Act::OptOut => ConsentKind::OptOut,
            Act::Object => ConsentKind::Object { purposes },
            Act::Restrict => ConsentKind::Restrict,
            Act::InstitutionEnds => ConsentKind::InstitutionEnds,
            Act::LegalHold => ConsentKind::LegalHold,
            Act::LiftLegalHold => ConsentKind::LiftLegalHold,
            Act::Died => ConsentKind::Died,
            Act::OrderErasure => ConsentKind::OrderErasure,
        };
        Ok(Self { at, kind, by, notice })
    }
}

impl ConsentEvent {
    /// An act of the donor's own, without a notice.
    pub fn new(at: Timestamp, kind: ConsentKind) -> Self {
        Self { at, kind, by: Party::Donor, notice: None }
    }

    /// The same act by somebody else.
    #[must_use]
    pub fn by(self, by: Party) -> Self {
        Self { by, ..self }
    }

    /// Consent given at the start of `day` (`YYYY-MM-DD`) without expiry; for examples and tests.
    ///
    /// # Panics
    /// When `day` is not a calendar day.
    pub fn give(day: &str, purposes: &[crate::Purpose]) -> Self {
        let at = acequia_types::parse_timestamp(day).expect("a calendar day");
        let purposes = purposes.iter().copied().collect();
        Self::new(at, ConsentKind::Give { purposes, expires_on: None, conditions: None })
    }
}

/// An act and when the node learnt of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Recorded {
    /// When the node learnt of it.
    pub known_at: Timestamp,
    /// The act.
    #[serde(flatten)]
    pub event: ConsentEvent,
}

/// Everything that was done about one donor's data, by the time from which it counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History(Vec<Recorded>);

impl History {
    /// Events that were known all along.
    pub fn new(events: Vec<ConsentEvent>) -> Self {
        let known_at = Timestamp::from_unix_s(0);
        Self::recorded(events.into_iter().map(|event| Recorded { known_at, event }).collect())
    }

    /// Events with the time they became known. The order in which they are handed in does not matter.
    pub fn recorded(mut events: Vec<Recorded>) -> Self {
        // The order of kinds settles what happens at one instant; the rest makes the order total.
        events.sort_by(|a, b| (&a.event, a.known_at).cmp(&(&b.event, b.known_at)));
        Self(events)
    }

    /// What was done, by the time from which it counts.
    pub fn events(&self) -> impl DoubleEndedIterator<Item = &ConsentEvent> + ExactSizeIterator {
        self.0.iter().map(|recorded| &recorded.event)
    }

    /// What was done and when it became known.
    pub fn records(&self) -> &[Recorded] {
        &self.0
    }

    /// When a kind of event first counts, as known at `known_at`.
    pub fn first(&self, known_at: Timestamp, is: impl Fn(&ConsentKind) -> bool) -> Option<Timestamp> {
        let mut known = self.0.iter().filter(|recorded| recorded.known_at <= known_at);
        known.find(|recorded| is(&recorded.event.kind)).map(|recorded| recorded.event.at)
    }
}
