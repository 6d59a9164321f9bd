//! Consent as a history of events, and the decision that follows from it.
//!
//! Source: reference design `consent-governance-security` §3.1–3.3 (data-plane enforcement, fail-closed evaluation).

use std::collections::{BTreeMap, BTreeSet};

use acequia_types::{Day, DonorId, Timestamp};
use serde::{Deserialize, Serialize};

/// What a donor may allow. Each purpose is asked for on its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Purpose {
    /// Publication in an open, de-identified data set that cannot be called back (DUO:0000042, general research use).
    OpenPublication,
    /// Health research inside the network, nothing published (DUO:0000006, health or medical research).
    Research,
    /// Training, testing and evaluating medical models (DUO:0000006).
    ModelTraining,
}

impl Purpose {
    /// Every purpose, in the order people are asked.
    pub const ALL: [Self; 3] = [Self::OpenPublication, Self::Research, Self::ModelTraining];

    /// The word used in files and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OpenPublication => "open-publication",
            Self::Research => "research",
            Self::ModelTraining => "model-training",
        }
    }

    /// Reads the word; an unknown purpose is `None` and must be treated as denied.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|purpose| purpose.as_str() == text)
    }
}

impl std::fmt::Display for Purpose {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the donor did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
pub enum ConsentKind {
    /// Allowed these purposes, perhaps until a day (that day included).
    Give {
        /// What is allowed.
        purposes: BTreeSet<Purpose>,
        /// Last day of validity.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires_on: Option<Day>,
    },
    /// Said no to these purposes.
    Refuse {
        /// What is refused.
        purposes: BTreeSet<Purpose>,
    },
    /// Withdrew everything.
    Withdraw,
}

/// One dated act of a donor. What is written must be understood whole: an unknown key, such as a misspelt day of expiry, is
/// refused, for what it meant to limit would be without limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Written")]
pub struct ConsentEvent {
    /// From when it counts.
    pub at: Timestamp,
    /// What was done.
    #[serde(flatten)]
    pub kind: ConsentKind,
}

/// A consent event as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    at: Timestamp,
    event: Act,
    #[serde(default)]
    purposes: Option<BTreeSet<Purpose>>,
    #[serde(default)]
    expires_on: Option<Day>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Act {
    Give,
    Refuse,
    Withdraw,
}

impl TryFrom<Written> for ConsentEvent {
    type Error = &'static str;
    fn try_from(written: Written) -> Result<Self, Self::Error> {
        let Written { at, event, purposes, expires_on } = written;
        let kind = match (event, purposes, expires_on) {
            (Act::Give, Some(purposes), expires_on) => ConsentKind::Give { purposes, expires_on },
            (Act::Refuse, Some(purposes), None) => ConsentKind::Refuse { purposes },
            (Act::Withdraw, None, None) => ConsentKind::Withdraw,
            (Act::Give | Act::Refuse, None, _) => return Err("purposes are missing"),
            (Act::Refuse | Act::Withdraw, _, Some(_)) => return Err("expires_on belongs to give only"),
            (Act::Withdraw, Some(_), _) => return Err("withdraw is for all purposes and names none"),
        };
        Ok(Self { at, kind })
    }
}

impl ConsentEvent {
    /// Consent given at the start of `day` (`YYYY-MM-DD`) without expiry; for examples and tests.
    ///
    /// # Panics
    /// When `day` is not a calendar day.
    pub fn give(day: &str, purposes: &[Purpose]) -> Self {
        let at = acequia_types::parse_timestamp(day).expect("a calendar day");
        Self { at, kind: ConsentKind::Give { purposes: purposes.iter().copied().collect(), expires_on: None } }
    }
}

/// All consent events of one donor, oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct History(Vec<ConsentEvent>);

impl History {
    /// Sorts the events by time. At equal times giving comes first, so that a refusal or withdrawal wins the tie.
    pub fn new(mut events: Vec<ConsentEvent>) -> Self {
        events.sort_by_key(|event| {
            let rank = match event.kind {
                ConsentKind::Give { .. } => 0,
                ConsentKind::Refuse { .. } => 1,
                ConsentKind::Withdraw => 2,
            };
            (event.at, rank)
        });
        Self(events)
    }

    /// The events, oldest first.
    pub fn events(&self) -> &[ConsentEvent] {
        &self.0
    }
}

/// Why a record stays closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DenyReason {
    /// No consent is on file, or it cannot be read.
    Unknown,
    /// Consent is on file, but this purpose was never asked for.
    NotAsked,
    /// The donor said no.
    Refused,
    /// The donor withdrew.
    Withdrawn,
    /// The last day of validity has passed.
    Expired,
    /// The consent starts in the future.
    NotYet,
}

impl DenyReason {
    /// The word used in counts and reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::NotAsked => "not-asked",
            Self::Refused => "refused",
            Self::Withdrawn => "withdrawn",
            Self::Expired => "expired",
            Self::NotYet => "not-yet",
        }
    }
}

/// Permission to open the records of the donors it names, for one purpose.
///
/// Only [`evaluate`] makes one:
///
/// ```compile_fail,E0451
/// use acequia_custody::{Grant, Purpose};
/// let forged = Grant { purpose: Purpose::OpenPublication, donors: Default::default(), valid_until: None };
/// ```
/// ```
/// use acequia_custody::{Grant, Purpose};
/// let nobody = Grant::join(Purpose::OpenPublication, []);
/// assert_eq!(nobody.donors().len(), 0);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    purpose: Purpose,
    donors: BTreeMap<DonorId, Option<Day>>,
    valid_until: Option<Day>,
}

impl Grant {
    /// One grant over the donors of many, all for `purpose`; grants for another purpose are left out.
    pub fn join(purpose: Purpose, grants: impl IntoIterator<Item = Grant>) -> Self {
        let mut all = Self { purpose, donors: BTreeMap::new(), valid_until: None };
        for grant in grants.into_iter().filter(|grant| grant.purpose == purpose) {
            for (donor, until) in grant.donors {
                all.valid_until = match (all.valid_until, until) {
                    (Some(a), Some(b)) => Some(a.min(b)),
                    (a, b) => a.or(b),
                };
                all.donors.insert(donor, until);
            }
        }
        all
    }

    /// Whether the grant names this donor.
    pub fn covers(&self, donor: &DonorId) -> bool {
        self.donors.contains_key(donor)
    }

    /// The donors it names.
    pub fn donors(&self) -> BTreeSet<DonorId> {
        self.donors.keys().cloned().collect()
    }

    /// What it was given for.
    pub fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// The earliest last day of validity among its donors.
    pub fn valid_until(&self) -> Option<Day> {
        self.valid_until
    }
}

/// Outcome of [`evaluate`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// The record may be opened.
    Permit(Grant),
    /// The record stays closed.
    Deny(DenyReason),
}

/// Decides whether `donor`'s record may be opened for `purpose` at `now`.
///
/// The newest event about the purpose decides. `None` as history (nothing on file, or unreadable) denies. A later
/// refusal or withdrawal always outweighs an earlier consent; events in the future never permit.
pub fn evaluate(donor: &DonorId, history: Option<&History>, purpose: Purpose, now: Timestamp) -> Decision {
    let Some(history) = history else { return Decision::Deny(DenyReason::Unknown) };
    if history.events().is_empty() {
        return Decision::Deny(DenyReason::Unknown);
    }
    let mut decision = Decision::Deny(DenyReason::NotAsked);
    for event in history.events() {
        match &event.kind {
            ConsentKind::Give { purposes, .. }
                if purposes.contains(&purpose)
                    && event.at > now
                    && decision == Decision::Deny(DenyReason::NotAsked) =>
            {
                decision = Decision::Deny(DenyReason::NotYet);
            }
            ConsentKind::Give { purposes, expires_on } if purposes.contains(&purpose) && event.at <= now => {
                decision = match expires_on {
                    Some(last) if *last < now.day() => Decision::Deny(DenyReason::Expired),
                    until => Decision::Permit(Grant {
                        purpose,
                        donors: BTreeMap::from([(donor.clone(), *until)]),
                        valid_until: *until,
                    }),
                };
            }
            // A donor who narrows a consent by giving a smaller one again no longer allows what is left out.
            ConsentKind::Give { .. } if event.at <= now && matches!(decision, Decision::Permit(_)) => {
                decision = Decision::Deny(DenyReason::NotAsked);
            }
            ConsentKind::Refuse { purposes } if purposes.contains(&purpose) && event.at <= now => {
                decision = Decision::Deny(DenyReason::Refused);
            }
            ConsentKind::Withdraw if event.at <= now => decision = Decision::Deny(DenyReason::Withdrawn),
            _ => {}
        }
    }
    decision
}

#[cfg(test)]
mod tests {
    use acequia_types::parse_timestamp;
    use proptest::prelude::*;

    use super::*;

    fn donor() -> DonorId {
        DonorId::parse("d").unwrap()
    }

    fn at(day: &str, kind: ConsentKind) -> ConsentEvent {
        ConsentEvent { at: parse_timestamp(day).unwrap(), kind }
    }

    #[track_caller]
    fn check(events: Vec<ConsentEvent>, now: &str, expected: Option<DenyReason>) {
        let history = History::new(events);
        let decision = evaluate(&donor(), Some(&history), Purpose::OpenPublication, parse_timestamp(now).unwrap());
        match (decision, expected) {
            (Decision::Permit(_), None) => {}
            (Decision::Deny(reason), Some(expected)) => assert_eq!(reason, expected),
            (decision, expected) => panic!("{decision:?}, expected {expected:?}"),
        }
    }

    fn open() -> BTreeSet<Purpose> {
        BTreeSet::from([Purpose::OpenPublication])
    }

    #[test]
    fn nothing_on_file_denies() {
        check(vec![], "2026-01-01", Some(DenyReason::Unknown));
        let decision = evaluate(&donor(), None, Purpose::Research, parse_timestamp("2026-01-01").unwrap());
        assert_eq!(decision, Decision::Deny(DenyReason::Unknown));
    }

    #[test]
    fn consent_permits_from_its_day_to_its_last_day() {
        let expires_on = acequia_types::parse_day("2026-06-30");
        let give = || at("2026-01-01", ConsentKind::Give { purposes: open(), expires_on });
        check(vec![give()], "2025-12-31", Some(DenyReason::NotYet));
        check(vec![give()], "2026-06-30", None);
        check(vec![give()], "2026-07-01", Some(DenyReason::Expired));
    }

    #[test]
    fn withdrawal_wins_even_on_the_same_second() {
        let give = at("2026-01-01", ConsentKind::Give { purposes: open(), expires_on: None });
        check(vec![at("2026-01-01", ConsentKind::Withdraw), give], "2026-01-02", Some(DenyReason::Withdrawn));
    }

    #[test]
    fn another_purpose_or_a_narrowed_consent_does_not_open_this_one() {
        let research = BTreeSet::from([Purpose::Research]);
        let other = at("2026-02-01", ConsentKind::Give { purposes: research, expires_on: None });
        let give = at("2026-01-01", ConsentKind::Give { purposes: open(), expires_on: None });
        check(vec![other.clone()], "2026-03-01", Some(DenyReason::NotAsked));
        check(vec![give, other], "2026-03-01", Some(DenyReason::NotAsked));
    }

    fn events() -> impl Strategy<Value = Vec<ConsentEvent>> {
        let purposes = proptest::collection::btree_set(proptest::sample::select(Purpose::ALL.to_vec()), 0..3);
        let kind = prop_oneof![
            purposes.clone().prop_map(|purposes| ConsentKind::Give { purposes, expires_on: None }),
            purposes.prop_map(|purposes| ConsentKind::Refuse { purposes }),
            Just(ConsentKind::Withdraw),
        ];
        let event = (0i64..2_000, kind).prop_map(|(s, kind)| ConsentEvent { at: Timestamp::from_unix_s(s), kind });
        proptest::collection::vec(event, 0..8)
    }

    proptest! {
        #[test]
        fn a_withdrawal_never_opens_a_record(mut history in events(), when in 0i64..2_000, now in 0i64..2_000) {
            let now = Timestamp::from_unix_s(now);
            let before = evaluate(&donor(), Some(&History::new(history.clone())), Purpose::Research, now);
            history.push(ConsentEvent { at: Timestamp::from_unix_s(when), kind: ConsentKind::Withdraw });
            let after = evaluate(&donor(), Some(&History::new(history)), Purpose::Research, now);
            prop_assert!(!(matches!(before, Decision::Deny(_)) && matches!(after, Decision::Permit(_))));
        }

        #[test]
        fn the_order_of_delivery_does_not_matter(history in events(), now in 0i64..2_000) {
            // Two events of one kind at one instant have no order of their own; keep the first of each.
            let mut seen = std::collections::HashSet::new();
            let history: Vec<_> = history.into_iter().filter(|e| seen.insert(e.at)).collect();
            let now = Timestamp::from_unix_s(now);
            let mut reversed = history.clone();
            reversed.reverse();
            prop_assert_eq!(
                evaluate(&donor(), Some(&History::new(history)), Purpose::Research, now),
                evaluate(&donor(), Some(&History::new(reversed)), Purpose::Research, now)
            );
        }
    }
}
