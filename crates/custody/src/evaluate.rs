//! Effective consent: a pure function of a history, a question and the trustee's policy.
//!
//! The answer is the meet of layers, none of which can widen another: the person's own acts (given, refused, withdrawn, by
//! somebody with authority), representation, the institution's permission, opt-out, restriction and objection, agreement and
//! licence, country, the conditions in DUO terms, and the governance policy with its impact assessment. One layer that
//! denies makes the answer *deny*; else one that must be judged by a person makes it *refer*; else *permit*. Nothing on file,
//! a fact that is not known, an event that cannot be read: deny.
//!
//! Rules of reading a history, at the instant `valid_at`, of what was known at `known_at`:
//!
//! 1. A consent states all that is allowed from then on. Several at one instant allow what all of them allow.
//! 2. The newest act about a purpose decides. Refusal, invalidation and withdrawal win at the same instant.
//! 3. Acts that narrow count whoever did them. Acts that widen need authority: the donor's own, unless parents or a court
//!    decide for the donor; or a representative's, in force when given and still in force.
//! 4. Expiry is computed, never written. The last day is included, in UTC.
//! 5. A consent to other purposes leaves the last refusal or withdrawal of this one as the reason.
//!
//! Source: reference design §3.3; GDPR Art. 4(11), 7, 8, 17, 18, 21; EHDS Art. 71 (opt-out binds later permits only).
//! `tests/oracle/oracle.py` states the same rules independently and agrees on random histories.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use acequia_types::{Day, DonorId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::event::{Authority, ConsentKind, History, Level, Party};
use crate::purpose::{Purpose, Purposes};
use crate::terms::{Conditions, Country, DataClass, Facts, Reach};

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $word:literal;)*) => {
        /// Why a record stays closed, or who must be asked. The first that applies, in this order, is the one counted.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum Reason {
            $($(#[$doc])* $name,)*
        }

        impl Reason {
            /// Every reason, in order.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The word used in counts and reports.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }
        }
    };
}

reasons! {
    /// No consent is on file, or it cannot be read.
    Unknown = "unknown";
    /// Erasure was ordered.
    Erased = "erased";
    /// The donor withdrew.
    Withdrawn = "withdrawn";
    /// The consent was found invalid.
    Invalidated = "invalidated";
    /// The donor said no.
    Refused = "refused";
    /// Whoever gave had no authority to.
    NoAuthority = "no-authority";
    /// The representative who gave may not act any more.
    RepresentationEnded = "representation-ended";
    /// The donor died and the consent was not meant to go on.
    Died = "died";
    /// The last day of validity has passed.
    Expired = "expired";
    /// The consent starts in the future.
    NotYet = "not-yet";
    /// The time to think it over has not passed.
    CoolingOff = "cooling-off";
    /// A material change of the notice came after the consent.
    NoticeOutdated = "notice-outdated";
    /// Consent is on file, but this purpose was never asked for.
    NotAsked = "not-asked";
    /// Processing is restricted (GDPR Art. 18).
    Restricted = "restricted";
    /// The donor objected (GDPR Art. 21).
    Objected = "objected";
    /// The donor opted out of secondary use (EHDS Art. 71).
    OptedOut = "opted-out";
    /// The institution's permission is missing, ended, or does not name the purpose.
    Institution = "institution";
    /// There is no agreement with the recipient, or it ended.
    Agreement = "agreement";
    /// The policy does not allow the country, or it is not known.
    Country = "country";
    /// A condition in DUO terms is not met.
    Condition = "condition";
    /// The donor does not give this kind of data.
    DataClass = "data-class";
    /// The governance policy does not allow the purpose.
    Policy = "policy";
    /// There is no valid data-protection impact assessment.
    Assessment = "assessment";
    /// What is known about consent is too old.
    Stale = "stale";
    /// Something on file is from the future: a clock is wrong.
    Clock = "clock";
    /// Refer: a research-specific restriction in words.
    AskResearchSpecific = "ask-research-specific";
    /// Refer: ethics approval is not shown.
    AskEthics = "ask-ethics";
    /// Refer: a promise is not made yet (publish, collaborate, return, wait).
    AskPromise = "ask-promise";
    /// Refer: the policy wants a decision of the committee.
    AskPolicy = "ask-policy";
}

impl Reason {
    /// Whether it asks for a person's judgement instead of denying.
    pub const fn refers(self) -> bool {
        self as u8 >= Self::AskResearchSpecific as u8
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A set of reasons.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Reasons(u32);

impl Reasons {
    /// None.
    pub const NONE: Self = Self(0);

    /// Only this one.
    pub const fn one(reason: Reason) -> Self {
        Self(1 << reason as u32)
    }

    /// Adds one.
    pub const fn add(&mut self, reason: Reason) {
        self.0 |= 1 << reason as u32;
    }

    /// Adds all of the other.
    pub const fn merge(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// Whether there is none.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether it is among them.
    pub const fn contains(self, reason: Reason) -> bool {
        self.0 & (1 << reason as u32) != 0
    }

    /// Those among them that deny.
    const DENY: u32 = (1 << Reason::AskResearchSpecific as u32) - 1;

    /// In order.
    pub fn iter(self) -> impl Iterator<Item = Reason> {
        Reason::ALL.iter().copied().filter(move |reason| self.contains(*reason))
    }

    /// The one that is counted.
    pub fn first(self) -> Reason {
        self.iter().next().unwrap_or(Reason::Unknown)
    }
}

impl std::fmt::Debug for Reasons {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// What would be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// Write to the donor.
    Contact,
    /// Take in more data.
    Collect,
    /// Use the data.
    #[default]
    Use,
    /// Keep the data in the next version of a data set it is in already.
    Republish,
}

impl Operation {
    /// Every operation, from the one that the lowest level of withdrawal forbids.
    pub const ALL: [Self; 4] = [Self::Contact, Self::Collect, Self::Use, Self::Republish];

    /// The word used in files and reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Contact => "contact",
            Self::Collect => "collect",
            Self::Use => "use",
            Self::Republish => "republish",
        }
    }

    /// The lowest level of withdrawal that forbids it.
    pub const fn stopped_by(self) -> Level {
        match self {
            Self::Contact => Level::NoContact,
            Self::Collect => Level::NoNewCollection,
            Self::Use => Level::NoFurtherUse,
            Self::Republish => Level::LeaveNextVersions,
        }
    }
}

/// A paper that must be there: an agreement with the recipient, an impact assessment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Paper {
    /// None is needed.
    NotNeeded,
    /// It is needed and not there.
    Missing,
    /// It is there, until this day (included).
    Until(Day),
}

impl Paper {
    fn valid_on(self, day: Day) -> bool {
        match self {
            Self::NotNeeded => true,
            Self::Missing => false,
            Self::Until(last) => day <= last,
        }
    }

    const fn last_day(self) -> Option<Day> {
        match self {
            Self::Until(day) => Some(day),
            Self::NotNeeded | Self::Missing => None,
        }
    }
}

/// The question: may this be done, with this, for this, by them, then?
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query<'a> {
    /// For what.
    pub purpose: Purpose,
    /// What would be done.
    pub operation: Operation,
    /// With which kind of data.
    pub data_class: DataClass,
    /// Facts about who asks.
    pub facts: &'a Facts,
    /// The agreement with the recipient; an open licence needs none.
    pub agreement: Paper,
    /// When the data permit was approved, if the use rests on one (EHDS Art. 68).
    pub permit_approved_at: Option<Timestamp>,
    /// Whether the record came from an institution whose own permission is needed.
    pub institutional: bool,
    /// The instant asked about.
    pub valid_at: Timestamp,
    /// What was known then; `None` is everything on file. What is on file then from after `valid_at` means that a clock
    /// is wrong, and denies.
    pub known_at: Option<Timestamp>,
    /// As of when this node's copy of the history is complete.
    pub state_as_of: Timestamp,
}

impl<'a> Query<'a> {
    /// Whether structured data may be used now, by everything on file, without agreement or permit.
    pub fn now(purpose: Purpose, facts: &'a Facts, now: Timestamp) -> Self {
        Self {
            purpose,
            operation: Operation::Use,
            data_class: DataClass::Structured,
            facts,
            agreement: Paper::NotNeeded,
            permit_approved_at: None,
            institutional: false,
            valid_at: now,
            known_at: None,
            state_as_of: now,
        }
    }
}

/// The trustee's own rules. They can only narrow: no policy permits what a donor does not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Policy {
    /// Purposes it allows.
    pub purposes: Purposes,
    /// Purposes among them on which the committee decides each time.
    pub refers: Purposes,
    /// Countries it allows; any when absent.
    pub countries: Option<BTreeSet<Country>>,
    /// The impact assessment (GDPR Art. 35).
    pub assessment: Paper,
    /// How old the state of consent may be, in seconds; any age when absent.
    pub state_age_max_s: Option<u32>,
    /// How long before a consent to open publication counts, in seconds: the time to think it over.
    pub cooling_off_s: u32,
    /// Oldest version of the notice that still counts; any, or none, when 0. Raised by a material change, not an editorial one.
    pub notice_version_min: u32,
}

impl Policy {
    /// No rule beyond the donor's.
    pub const SILENT: Self = Self {
        purposes: Purposes::ALL,
        refers: Purposes::NONE,
        countries: None,
        assessment: Paper::NotNeeded,
        state_age_max_s: None,
        cooling_off_s: 0,
        notice_version_min: 0,
    };
}

/// The answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Yes, until this day (included), if it ends.
    Permit {
        /// Last day.
        until: Option<Day>,
    },
    /// A person must judge.
    Refer(Reasons),
    /// No. Reasons to refer are among them too.
    Deny(Reasons),
}

/// Consents at one instant.
struct Given<'a> {
    at: Timestamp,
    purposes: Purposes,
    last_day: Option<Day>,
    conditions: [Option<&'a Conditions>; 4],
    /// More consents at one instant than can be held side by side.
    crowded: bool,
    authorised: bool,
    by_representative: bool,
    after_death: bool,
    notice_version: u32,
}

/// The institution's permissions at one instant.
struct Permission {
    at: Timestamp,
    purposes: Purposes,
    last_day: Option<Day>,
}

/// Who may act for the donor.
#[derive(Clone, Copy)]
struct Representation {
    at: Timestamp,
    alone: bool,
    last_day: Option<Day>,
}

fn earlier(a: Option<Day>, b: Option<Day>) -> Option<Day> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

fn passed(last: Option<Day>, day: Day) -> bool {
    last.is_some_and(|last| last < day)
}

/// What a history amounts to at one instant, for one purpose and operation.
#[derive(Default)]
struct State<'a> {
    known: bool,
    from_the_future: bool,
    given: Option<Given<'a>>,
    stopped: Option<(Timestamp, Reason)>,
    /// When somebody with authority last gave for the purpose, alone or with others.
    asked_at: Option<Timestamp>,
    /// Since when the purpose has been allowed without a break, by the same side: donor or representative.
    allowed_since: Option<Timestamp>,
    /// Whether a representative gave the consent before the one in force.
    before_by_representative: Option<bool>,
    represented: Option<Representation>,
    institution: Option<Result<Permission, ()>>,
    opted_out_at: Option<Timestamp>,
    restricted: bool,
    objected: bool,
    died: bool,
    erased: bool,
}

impl<'a> State<'a> {
    fn of(history: &'a History, query: &Query<'_>) -> Self {
        let mut state = Self::default();
        for recorded in history.records() {
            match query.known_at {
                Some(known_at) if recorded.known_at > known_at => continue,
                Some(_) => {}
                None => state.from_the_future |= recorded.known_at > query.valid_at,
            }
            state.known = true;
            if recorded.event.at <= query.valid_at {
                state.apply(&recorded.event, query);
            }
        }
        state
    }

    fn representation(&self, day: Day) -> Option<Representation> {
        self.represented.filter(|representation| !passed(representation.last_day, day))
    }

    /// Whether this party could widen at this instant.
    fn may_give(&self, party: Party, at: Timestamp) -> bool {
        match party {
            Party::Donor => self.representation(at.day()).is_none_or(|representation| representation.alone),
            Party::Representative => self.representation(at.day()).is_some(),
            Party::Institution | Party::Desk => false,
        }
    }

    fn stop(&mut self, at: Timestamp, reason: Reason) {
        // Later acts come later; at one instant the strongest comes last.
        self.stopped = Some((at, reason));
        self.allowed_since = None;
    }

    fn apply(&mut self, event: &'a crate::ConsentEvent, query: &Query<'_>) {
        let (at, by) = (event.at, event.by);
        match &event.kind {
            ConsentKind::Represent { authority, expires_on } if by == Party::Desk => {
                let alone = *authority == Authority::Proxy;
                let mut new = Representation { at, alone, last_day: *expires_on };
                if let Some(same) = self.represented.filter(|old| old.at == at) {
                    new.alone &= same.alone;
                    new.last_day = earlier(new.last_day, same.last_day);
                }
                self.represented = Some(new);
            }
            ConsentKind::EndRepresentation if by == Party::Desk => self.represented = None,
            ConsentKind::Give { purposes, expires_on, conditions } => {
                let authorised = self.may_give(by, at);
                if authorised && purposes.contains(query.purpose) {
                    self.asked_at = Some(at);
                }
                let mut new = Given {
                    at,
                    purposes: *purposes,
                    last_day: *expires_on,
                    conditions: [conditions.as_deref(), None, None, None],
                    crowded: false,
                    authorised,
                    by_representative: by == Party::Representative,
                    after_death: conditions.as_ref().is_some_and(|conditions| conditions.after_death),
                    notice_version: event.notice.as_ref().map_or(0, |notice| notice.version),
                };
                if let Some(old) = self.given.as_ref().filter(|old| old.at < at) {
                    self.before_by_representative = Some(old.by_representative);
                    if passed(old.last_day, at.day()) {
                        self.allowed_since = None;
                    }
                }
                // What somebody else thought over does not count for who gives now.
                if self.before_by_representative.is_some_and(|before| before != new.by_representative) {
                    self.allowed_since = None;
                }
                if let Some(same) = self.given.take().filter(|old| old.at == at) {
                    new.purposes = new.purposes.and(same.purposes);
                    new.last_day = earlier(new.last_day, same.last_day);
                    new.crowded = same.crowded;
                    if new.conditions[0].is_some() && !same.conditions.contains(&new.conditions[0]) {
                        let mut all = same.conditions;
                        match all.iter_mut().find(|place| place.is_none()) {
                            Some(place) => *place = new.conditions[0],
                            None => new.crowded = true,
                        }
                        new.conditions = all;
                    } else {
                        new.conditions = same.conditions;
                    }
                    new.authorised &= same.authorised;
                    new.by_representative |= same.by_representative;
                    new.after_death &= same.after_death;
                    new.notice_version = new.notice_version.min(same.notice_version);
                }
                let allowed = new.authorised && new.purposes.contains(query.purpose);
                self.allowed_since = allowed.then(|| self.allowed_since.unwrap_or(at));
                self.given = Some(new);
            }
            ConsentKind::Refuse { purposes } if purposes.contains(query.purpose) => self.stop(at, Reason::Refused),
            ConsentKind::Invalidate => self.stop(at, Reason::Invalidated),
            ConsentKind::Withdraw { level } if *level >= query.operation.stopped_by() => {
                self.stop(at, Reason::Withdrawn);
            }
            ConsentKind::InstitutionPermits { purposes, expires_on } if by == Party::Institution => {
                let mut new = Permission { at, purposes: *purposes, last_day: *expires_on };
                if let Some(Ok(same)) = self.institution.take()
                    && same.at == at
                {
                    new.purposes = new.purposes.and(same.purposes);
                    new.last_day = earlier(new.last_day, same.last_day);
                }
                self.institution = Some(Ok(new));
            }
            ConsentKind::InstitutionEnds => self.institution = Some(Err(())),
            ConsentKind::OptOut if self.opted_out_at.is_none() => self.opted_out_at = Some(at),
            ConsentKind::ReverseOptOut if self.may_give(by, at) => self.opted_out_at = None,
            ConsentKind::Restrict => self.restricted = true,
            ConsentKind::LiftRestriction if by == Party::Desk || self.may_give(by, at) => self.restricted = false,
            ConsentKind::Object { purposes } if purposes.contains(query.purpose) => self.objected = true,
            ConsentKind::SettleObjection { purposes }
                if purposes.contains(query.purpose) && (by == Party::Desk || self.may_give(by, at)) =>
            {
                self.objected = false;
            }
            ConsentKind::Died => self.died = true,
            ConsentKind::OrderErasure => self.erased = true,
            _ => {}
        }
    }

    /// The person's own layer: a reason, or the consent that holds.
    fn person(&self, history: &History, query: &Query<'_>, policy: &Policy) -> Result<&Given<'a>, Reason> {
        if !self.known {
            return Err(Reason::Unknown);
        }
        let given = self.given.as_ref();
        if let Some((at, reason)) = self.stopped
            && given.is_none_or(|given| given.at <= at)
        {
            return Err(reason);
        }
        let Some(given) = given.filter(|given| given.purposes.contains(query.purpose)) else {
            // A later consent to something else takes no stop back; the donor reads what stopped this purpose.
            if let Some((at, reason)) = self.stopped
                && self.asked_at.is_none_or(|asked_at| asked_at <= at)
            {
                return Err(reason);
            }
            // Only the reason depends on what is to come.
            let comes = history.records().iter().any(|recorded| {
                query.known_at.is_none_or(|known_at| recorded.known_at <= known_at)
                    && recorded.event.at > query.valid_at
                    && matches!(&recorded.event.kind, ConsentKind::Give { purposes, .. } if purposes.contains(query.purpose))
            });
            return Err(if comes { Reason::NotYet } else { Reason::NotAsked });
        };
        let day = query.valid_at.day();
        if !given.authorised {
            return Err(Reason::NoAuthority);
        }
        if given.by_representative && self.representation(day).is_none() {
            return Err(Reason::RepresentationEnded);
        }
        if self.died && !given.after_death {
            return Err(Reason::Died);
        }
        if passed(given.last_day, day) {
            return Err(Reason::Expired);
        }
        // Who renews a consent has thought it over before.
        let since = self.allowed_since.unwrap_or(given.at);
        let counts_from = since.unix_s().saturating_add(i64::from(policy.cooling_off_s));
        if query.purpose == Purpose::OpenPublication && query.valid_at.unix_s() < counts_from {
            return Err(Reason::CoolingOff);
        }
        if given.notice_version < policy.notice_version_min {
            return Err(Reason::NoticeOutdated);
        }
        if given.crowded {
            return Err(Reason::Unknown);
        }
        Ok(given)
    }
}

/// Decides. Allocates nothing; the same arguments give the same answer.
///
/// `None` as history (nothing on file, or unreadable) denies.
pub fn decide(history: Option<&History>, query: &Query<'_>, policy: &Policy) -> Verdict {
    let Some(history) = history else { return Verdict::Deny(Reasons::one(Reason::Unknown)) };
    let state = State::of(history, query);
    let day = query.valid_at.day();
    let mut reasons = Reasons::NONE;
    let mut until = earlier(query.agreement.last_day(), policy.assessment.last_day());

    match state.person(history, query, policy) {
        Err(reason) => reasons.add(reason),
        Ok(given) => {
            until = earlier(until, given.last_day);
            if given.by_representative {
                until = earlier(until, state.representation(day).and_then(|representation| representation.last_day));
            }
            for conditions in given.conditions.into_iter().flatten() {
                reasons.merge(conditions.judge(query.facts, query.data_class, given.last_day));
            }
        }
    }
    if state.from_the_future {
        reasons.add(Reason::Clock);
    }
    if state.erased {
        reasons.add(Reason::Erased);
    }
    match &state.institution {
        None if query.institutional => reasons.add(Reason::Institution),
        None => {}
        Some(Ok(permission)) if permission.purposes.contains(query.purpose) && !passed(permission.last_day, day) => {
            until = earlier(until, permission.last_day);
        }
        Some(_) => reasons.add(Reason::Institution),
    }
    if let Some(out) = state.opted_out_at
        && query.permit_approved_at.is_none_or(|approved| approved >= out)
    {
        reasons.add(Reason::OptedOut);
    }
    if state.restricted {
        reasons.add(Reason::Restricted);
    }
    if state.objected {
        reasons.add(Reason::Objected);
    }
    if !query.agreement.valid_on(day) {
        reasons.add(Reason::Agreement);
    }
    if let Some(countries) = &policy.countries {
        match query.facts.reach {
            Reach::Country(country) if countries.contains(&country) => {}
            _ => reasons.add(Reason::Country),
        }
    }
    if !policy.purposes.contains(query.purpose) {
        reasons.add(Reason::Policy);
    }
    if policy.refers.contains(query.purpose) {
        reasons.add(Reason::AskPolicy);
    }
    if !policy.assessment.valid_on(day) {
        reasons.add(Reason::Assessment);
    }
    if policy
        .state_age_max_s
        .is_some_and(|most| query.valid_at.unix_s() > query.state_as_of.unix_s().saturating_add(i64::from(most)))
    {
        reasons.add(Reason::Stale);
    }

    if reasons.0 & Reasons::DENY != 0 {
        Verdict::Deny(reasons)
    } else if !reasons.is_empty() {
        Verdict::Refer(reasons)
    } else {
        Verdict::Permit { until }
    }
}

/// Whether a duty to keep the data stands in the way of erasing it.
pub fn held(history: &History, valid_at: Timestamp, known_at: Timestamp) -> bool {
    let mut held = false;
    for recorded in history.records() {
        if recorded.known_at > known_at || recorded.event.at > valid_at {
            continue;
        }
        match recorded.event.kind {
            ConsentKind::LegalHold => held = true,
            ConsentKind::LiftLegalHold if recorded.event.by == Party::Desk => held = false,
            _ => {}
        }
    }
    held
}

/// Permission to open the records of the donors it names, for one purpose.
///
/// Only [`evaluate`], [`evaluate_all`] and [`Grant::join`] make one:
///
/// ```compile_fail,E0451
/// use acequia_custody::{Grant, Purpose};
/// let (purpose, terms) = (Purpose::OpenPublication, Default::default());
/// let forged = Grant { purpose, terms, donors: Default::default(), valid_until: None };
/// ```
/// ```
/// use acequia_custody::{Grant, Purpose};
/// let nobody = Grant::join(Purpose::OpenPublication, []);
/// assert_eq!(nobody.donors().len(), 0);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    purpose: Purpose,
    terms: Arc<Conditions>,
    donors: BTreeMap<DonorId, (Operation, Option<Day>)>,
    valid_until: Option<Day>,
}

impl Grant {
    /// One grant over the donors of many, all for `purpose` and under the terms of the first; grants for another purpose or under
    /// other terms are left out.
    pub fn join(purpose: Purpose, grants: impl IntoIterator<Item = Grant>) -> Self {
        let mut grants = grants.into_iter().filter(|grant| grant.purpose == purpose).peekable();
        let terms = grants.peek().map(|grant| grant.terms.clone()).unwrap_or_default();
        let mut all = Self { purpose, terms, donors: BTreeMap::new(), valid_until: None };
        for grant in grants {
            if grant.terms != all.terms {
                continue;
            }
            for (donor, (operation, until)) in grant.donors {
                all.add(donor, operation, until);
            }
        }
        all
    }

    fn add(&mut self, donor: DonorId, operation: Operation, until: Option<Day>) {
        self.valid_until = earlier(self.valid_until, until);
        // Of two operations the one that fewer donors allow is the one asked about again.
        let operation = self.donors.get(&donor).map_or(operation, |(other, _)| operation.min(*other));
        self.donors.insert(donor, (operation, until));
    }

    /// What may be done with this donor's record.
    pub fn operation(&self, donor: &DonorId) -> Option<Operation> {
        self.donors.get(donor).map(|(operation, _)| *operation)
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

    /// Under which terms what is made of the records may be published.
    pub fn terms(&self) -> &Conditions {
        &self.terms
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
    /// The record stays closed until a person has judged.
    Refer(Reasons),
    /// The record stays closed.
    Deny(Reasons),
}

impl Decision {
    /// The grant, if there is one.
    pub fn grant(self) -> Option<Grant> {
        match self {
            Self::Permit(grant) => Some(grant),
            Self::Refer(_) | Self::Deny(_) => None,
        }
    }

    /// Why not, if not: the first reason.
    pub fn reason(&self) -> Option<Reason> {
        match self {
            Self::Permit(_) => None,
            Self::Refer(reasons) | Self::Deny(reasons) => Some(reasons.first()),
        }
    }

    /// Every reason why not.
    pub fn reasons(&self) -> Reasons {
        match self {
            Self::Permit(_) => Reasons::NONE,
            Self::Refer(reasons) | Self::Deny(reasons) => *reasons,
        }
    }
}

/// Decides whether `donor`'s record may be opened, and gives the [`Grant`] if so.
pub fn evaluate_query(donor: &DonorId, history: Option<&History>, query: &Query<'_>, policy: &Policy) -> Decision {
    match decide(history, query, policy) {
        Verdict::Permit { until } => Decision::Permit(Grant {
            purpose: query.purpose,
            terms: Arc::new(query.facts.terms.clone()),
            donors: BTreeMap::from([(donor.clone(), (query.operation, until))]),
            valid_until: until,
        }),
        Verdict::Refer(reasons) => Decision::Refer(reasons),
        Verdict::Deny(reasons) => Decision::Deny(reasons),
    }
}

/// How a node asks: for what, to do what, by which policy, when. Nothing is known about who asks but that open publication is
/// for anybody, so that every condition that depends on who asks denies, unless the terms of what is published keep it.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// For what.
    pub purpose: Purpose,
    /// What would be done.
    pub operation: Operation,
    /// The trustee's own rules.
    pub policy: &'a Policy,
    /// When.
    pub now: Timestamp,
    /// What everybody is held to who has what is published; see [`Facts::of_publication`].
    pub terms: &'a Conditions,
}

impl Ask<'_> {
    /// Decides whether `donor`'s record may be opened.
    pub fn about(&self, donor: &DonorId, history: Option<&History>) -> Decision {
        let facts = match self.purpose {
            Purpose::OpenPublication => Facts::of_publication(self.terms),
            Purpose::Research | Purpose::ModelTraining => Facts { terms: self.terms.clone(), ..Facts::default() },
        };
        let query = Query { operation: self.operation, ..Query::now(self.purpose, &facts, self.now) };
        evaluate_query(donor, history, &query, self.policy)
    }
}

/// Decides whether `donor`'s record may be used for `purpose` at `now`, by no rule beyond the donor's; see [`Ask`].
pub fn evaluate(donor: &DonorId, history: Option<&History>, purpose: Purpose, now: Timestamp) -> Decision {
    let ask = Ask { purpose, operation: Operation::Use, policy: &Policy::SILENT, now, terms: Conditions::none() };
    ask.about(donor, history)
}

/// Decides over many donors at once: the grant for all who permit, and the others counted by reason.
pub fn evaluate_all<'h>(
    donors: impl IntoIterator<Item = (&'h DonorId, Option<&'h History>)>,
    query: &Query<'_>,
    policy: &Policy,
) -> (Grant, BTreeMap<Reason, usize>) {
    let terms = Arc::new(query.facts.terms.clone());
    let mut grant = Grant { purpose: query.purpose, terms, donors: BTreeMap::new(), valid_until: None };
    let mut others = BTreeMap::new();
    for (donor, history) in donors {
        match decide(history, query, policy) {
            Verdict::Permit { until } => grant.add(donor.clone(), query.operation, until),
            Verdict::Refer(reasons) | Verdict::Deny(reasons) => *others.entry(reasons.first()).or_default() += 1,
        }
    }
    (grant, others)
}
