//! Requests of persons about their data, as a state machine with clocks: a pure function of the events so far.
//!
//! Comes in: what happened to a request, with its time, and a rule pack with the deadlines. Goes out: the request as it stands,
//! what is left to do, when the answer is due, or why an event is not possible now.
//!
//! Source: GDPR Art. 12 and 15–21, Regulation (EEC, Euratom) 1182/71 Art. 3 for months; reference design §3.8.
//!
//! ```
//! use acequia_custody::rights::{Event, Happened, Request, Right, Rules};
//! use acequia_types::parse_timestamp;
//! let rules = Rules::gdpr();
//! let received = Happened { at: parse_timestamp("2026-01-31").unwrap(), event: Event::Received { right: Right::Access, purposes: None } };
//! let request = Request::of(&[received], &rules)?;
//! assert_eq!(request.due_on.to_string(), "2026-02-28", "a month from the last of January");
//! # Ok::<(), acequia_custody::rights::RightsError>(())
//! ```

use std::collections::BTreeSet;

use acequia_types::{Coded, Day, DonorId, Exit, Timestamp};
use chrono::Months;
use serde::{Deserialize, Serialize};

use crate::{Policy, Purposes};

/// What a person asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Right {
    /// A copy and an explanation (GDPR Art. 15).
    Access,
    /// Correction (Art. 16).
    Rectification,
    /// Erasure (Art. 17).
    Erasure,
    /// Restriction (Art. 18).
    Restriction,
    /// The data in a form for machines (Art. 20).
    Portability,
    /// Objection (Art. 21).
    Objection,
}

impl Right {
    /// Every right.
    pub const ALL: [Self; 6] =
        [Self::Access, Self::Rectification, Self::Erasure, Self::Restriction, Self::Portability, Self::Objection];

    /// The word used in files and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Rectification => "rectification",
            Self::Erasure => "erasure",
            Self::Restriction => "restriction",
            Self::Portability => "portability",
            Self::Objection => "objection",
        }
    }

    /// Its article of the GDPR.
    pub const fn article(self) -> u8 {
        match self {
            Self::Access => 15,
            Self::Rectification => 16,
            Self::Erasure => 17,
            Self::Restriction => 18,
            Self::Portability => 20,
            Self::Objection => 21,
        }
    }

    /// Reads the word.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|right| right.as_str() == text)
    }

    /// What is done, in this order, each on its own so that what was interrupted goes on where it stopped.
    pub const fn tasks(self) -> &'static [Task] {
        match self {
            Self::Access | Self::Portability => &[Task::Export],
            Self::Rectification => &[Task::Correct, Task::TellRecipients],
            Self::Erasure => {
                &[Task::OrderErasure, Task::TellRecipients, Task::DestroyKey, Task::RemoveCopies, Task::ForgetRecords]
            }
            Self::Restriction => &[Task::Restrict, Task::TellRecipients],
            Self::Objection => &[Task::Object],
        }
    }
}

/// One thing to do for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// Hand over the data and the consent history.
    Export,
    /// A corrected donation is taken in.
    Correct,
    /// The order goes into the consent history: from now on nothing opens.
    OrderErasure,
    /// The donor's key is destroyed and a new epoch begins.
    DestroyKey,
    /// Sealed originals and work tables are removed.
    RemoveCopies,
    /// Consent payloads, donations and the name itself go.
    ForgetRecords,
    /// The restriction goes into the consent history.
    Restrict,
    /// The objection goes into the consent history.
    Object,
    /// Recipients are told (Art. 19).
    TellRecipients,
}

/// Why a request is refused. Each needs words to the person, and names the ways to complain (Art. 12(4)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Refusal {
    /// Who asks could not be shown to be the donor (Art. 12(2)).
    Identity,
    /// Manifestly unfounded (Art. 12(5)).
    Unfounded,
    /// Excessive (Art. 12(5)).
    Excessive,
    /// A duty to keep the data stands against it (Art. 17(3)(b)).
    LegalDuty,
    /// Erasure would make the research impossible, with a recorded justification (Art. 17(3)(d)).
    Research,
    /// It would harm the rights of others (Art. 15(4), 20(4)).
    Others,
}

impl Refusal {
    /// Every reason.
    pub const ALL: [Self; 6] =
        [Self::Identity, Self::Unfounded, Self::Excessive, Self::LegalDuty, Self::Research, Self::Others];

    /// The word used in files and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Unfounded => "unfounded",
            Self::Excessive => "excessive",
            Self::LegalDuty => "legal-duty",
            Self::Research => "research",
            Self::Others => "others",
        }
    }

    /// Reads the word.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|refusal| refusal.as_str() == text)
    }
}

/// What happened to a request. Staff are named by an id; nothing a person wrote is in here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "event", deny_unknown_fields)]
pub enum Event {
    /// It came in.
    Received {
        /// Which right.
        right: Right,
        /// Purposes objected to; all when absent. For an objection only.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        purposes: Option<Purposes>,
    },
    /// Its receipt was confirmed.
    Acknowledged,
    /// Who asks was shown to be the donor.
    Identified {
        /// Who checked.
        by: String,
    },
    /// More is needed to tell who asks.
    MoreAsked,
    /// It came.
    MoreGiven,
    /// The person waived the time for second thoughts.
    WindowWaived,
    /// Somebody on the desk approved it.
    Approved {
        /// Who.
        by: String,
    },
    /// The person was told that it takes longer.
    Extended,
    /// A task is done.
    Done {
        /// Which.
        task: Task,
    },
    /// It is answered and closed.
    Closed,
    /// It is refused.
    Refused {
        /// Why.
        reason: Refusal,
    },
    /// The same was asked before.
    Duplicate {
        /// Number of the earlier request.
        of: u64,
    },
    /// The person took it back.
    TakenBack,
}

/// An event and its time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Happened {
    /// When.
    pub at: Timestamp,
    /// What.
    #[serde(flatten)]
    pub event: Event,
}

/// Where a request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Who asks is not yet shown to be the donor.
    IdentityCheck,
    /// More is needed from the person.
    NeedsInfo,
    /// It waits for approvals, or for the time of second thoughts to pass.
    Accepted,
    /// Tasks are left.
    Executing,
    /// All is done but the answer.
    Finalising,
    /// Answered.
    Closed,
    /// Refused.
    Refused,
    /// The same as an earlier one.
    Duplicate,
    /// Taken back.
    TakenBack,
}

impl State {
    /// Whether nothing more can happen.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Closed | Self::Refused | Self::Duplicate | Self::TakenBack)
    }
}

/// How a request stands against its clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Alarm {
    /// Time enough, or answered.
    None,
    /// This share of the time has passed, in per cent.
    Warn(u8),
    /// The last day has passed.
    Overdue,
}

/// Deadlines, as a versioned file states them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    /// Which law.
    pub id: String,
    /// Which version of it.
    pub version: String,
    /// Against what it was reviewed.
    pub review: String,
    /// Months until an answer.
    pub answer_months: u32,
    /// Further months, if the person is told in time.
    pub extension_months: u32,
    /// Whether the clock begins anew when what was needed to tell who asks is there.
    pub identity_restarts_clock: bool,
    /// Hours from awareness of a breach until the authority is told.
    pub breach_notice_hours: u32,
    /// Days until receipt is confirmed.
    pub acknowledge_days: u32,
    /// Days before an erasure is executed, unless waived.
    pub second_thoughts_days: u32,
    /// Days until recipients must have confirmed.
    pub recipients_confirm_days: u32,
    /// Shares of the time after which the desk is warned, in per cent, rising.
    pub warn_percent: Vec<u8>,
    /// Persons who must approve an erasure.
    pub approvals_for_erasure: usize,
    /// Days before a consent to open publication counts.
    pub cooling_off_days: u32,
}

impl Rules {
    /// Reads a rule pack.
    ///
    /// # Errors
    /// [`RightsError::Rules`] when a key is missing, unknown or of another type.
    pub fn parse(text: &str) -> Result<Self, RightsError> {
        toml::from_str(text).map_err(|_| RightsError::Rules)
    }

    /// Regulation (EU) 2016/679 as in force: `data/rules/eu-gdpr-2016-679.toml`.
    ///
    /// # Panics
    /// Never: a test reads the file.
    pub fn gdpr() -> Self {
        Self::parse(include_str!("../data/rules/eu-gdpr-2016-679.toml")).expect("the bundled rule pack")
    }

    /// The policy that follows from them, for every question about consent.
    pub fn policy(&self) -> Policy {
        Policy { cooling_off_s: self.cooling_off_days.saturating_mul(86_400), ..Policy::SILENT }
    }

    fn due(&self, from: Day, extended: bool) -> Day {
        // From the day of receipt, not from the end of the first month: the 31st stays the 31st where there is one.
        let months = self.answer_months + if extended { self.extension_months } else { 0 };
        from.checked_add_months(Months::new(months)).unwrap_or(Day::MAX)
    }
}

/// Why something cannot happen to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RightsError {
    /// A rule pack cannot be read.
    #[error("the rule pack cannot be read")]
    Rules,
    /// The request's events do not begin with its receipt.
    #[error("the request does not begin with its receipt")]
    Beginning,
    /// It is answered, refused, a duplicate or taken back.
    #[error("the request is closed")]
    Final,
    /// Who asks was not shown to be the donor.
    #[error("who asks is not yet shown to be the donor")]
    NotIdentified,
    /// Two different persons must approve.
    #[error("the request has {found} of {needed} approvals by different persons")]
    Approvals {
        /// There are.
        found: usize,
        /// Needed.
        needed: usize,
    },
    /// The time for second thoughts has not passed.
    #[error("the time for second thoughts lasts until {until}")]
    SecondThoughts {
        /// Last day of it.
        until: Day,
    },
    /// The last day has passed, or it was extended before.
    #[error("the time cannot be extended: that must be told once, before {due_on} is over")]
    Extension {
        /// When the answer is due.
        due_on: Day,
    },
    /// A task is not the next one.
    #[error("another task comes first")]
    Order,
    /// Tasks are left.
    #[error("{left} tasks are left")]
    Unfinished {
        /// How many.
        left: usize,
    },
    /// A duty to keep the data stands against erasure.
    #[error("a duty to keep the data stands against erasure")]
    Held,
}

impl Coded for RightsError {
    fn code(&self) -> &'static str {
        match self {
            Self::Rules => "RI001",
            Self::Beginning => "RI002",
            Self::Final => "RI003",
            Self::NotIdentified => "RI004",
            Self::Approvals { .. } => "RI005",
            Self::SecondThoughts { .. } => "RI006",
            Self::Extension { .. } => "RI007",
            Self::Order => "RI008",
            Self::Unfinished { .. } => "RI009",
            Self::Held => "RI010",
        }
    }
    fn hint(&self) -> &'static str {
        match self {
            Self::Rules => "compare it with crates/custody/data/rules",
            Self::Beginning => "run `acequia doctor`; restore the records from a backup",
            Self::Final => "open another request",
            Self::NotIdentified => "check who asks, then `acequia rights identify`",
            Self::Approvals { .. } => "another person must `acequia rights approve`",
            Self::SecondThoughts { .. } => "wait, or record with `acequia rights waive` that the person wants it now",
            Self::Extension { .. } => "answer; say why it took longer",
            Self::Order | Self::Unfinished { .. } => "run `acequia rights execute`, it goes on where it stopped",
            Self::Held => "refuse with `--reason legal-duty`, or end the hold first",
        }
    }
    fn exit(&self) -> Exit {
        match self {
            Self::Rules => Exit::Usage,
            Self::Beginning => Exit::Integrity,
            _ => Exit::PolicyRefused,
        }
    }
}

/// Permission to hand a donor's own data back to the donor. Made only by [`Request::hand_over`].
///
/// ```compile_fail,E0451
/// use acequia_custody::rights::Pass;
/// let forged = Pass { donor: acequia_types::DonorId::parse("d").unwrap() };
/// ```
/// ```
/// use acequia_custody::rights::Pass;
/// fn whose(pass: &Pass) -> &acequia_types::DonorId { pass.donor() }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pass {
    donor: DonorId,
}

impl Pass {
    /// Whose data.
    pub fn donor(&self) -> &DonorId {
        &self.donor
    }
}

/// A request as it stands. Made by [`Request::of`] from its events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Request {
    /// What is asked for.
    pub right: Right,
    /// Purposes objected to.
    pub purposes: Purposes,
    /// When it came in.
    pub received_at: Timestamp,
    /// Where it stands.
    pub state: State,
    /// From which day the time counts.
    pub counts_from: Day,
    /// Last day for the answer.
    pub due_on: Day,
    /// Last day to confirm receipt.
    pub acknowledge_by: Day,
    /// Whether receipt was confirmed.
    pub acknowledged: bool,
    /// Whether it was extended.
    pub extended: bool,
    /// Last day for second thoughts; executed after it.
    pub second_thoughts_until: Option<Day>,
    /// Who approved.
    pub approved_by: BTreeSet<String>,
    /// Who checked who asks.
    pub identified_by: Option<String>,
    /// Tasks that are done.
    pub done: Vec<Task>,
    /// Tasks that are left, in order.
    pub left: Vec<Task>,
    /// Why it was refused.
    pub refusal: Option<Refusal>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

impl Request {
    /// The request that these events, oldest first, amount to.
    ///
    /// # Errors
    /// [`RightsError`] at the first event that was not possible.
    pub fn of(events: &[Happened], rules: &Rules) -> Result<Self, RightsError> {
        let (first, rest) = events.split_first().ok_or(RightsError::Beginning)?;
        let Event::Received { right, purposes } = &first.event else { return Err(RightsError::Beginning) };
        let counts_from = first.at.day();
        let days = |days: u32| counts_from + chrono::Days::new(u64::from(days));
        let mut request = Self {
            right: *right,
            purposes: purposes.unwrap_or(Purposes::ALL),
            received_at: first.at,
            state: State::IdentityCheck,
            counts_from,
            due_on: rules.due(counts_from, false),
            acknowledge_by: days(rules.acknowledge_days),
            acknowledged: false,
            extended: false,
            second_thoughts_until: (*right == Right::Erasure).then(|| days(rules.second_thoughts_days)),
            approved_by: BTreeSet::new(),
            identified_by: None,
            done: Vec::new(),
            left: right.tasks().to_vec(),
            refusal: None,
            ended_at: None,
        };
        for happened in rest {
            request.apply(happened, rules)?;
        }
        Ok(request)
    }

    /// What one more event makes of it.
    ///
    /// # Errors
    /// [`RightsError`] when it is not possible now; the request stays as it was.
    pub fn after(&self, happened: &Happened, rules: &Rules) -> Result<Self, RightsError> {
        let mut next = self.clone();
        next.apply(happened, rules)?;
        Ok(next)
    }

    fn apply(&mut self, happened: &Happened, rules: &Rules) -> Result<(), RightsError> {
        if self.state.is_final() {
            return Err(RightsError::Final);
        }
        let (at, day) = (happened.at, happened.at.day());
        match &happened.event {
            Event::Received { .. } => return Err(RightsError::Beginning),
            Event::Acknowledged => self.acknowledged = true,
            Event::Identified { by } => {
                self.identified_by = Some(by.clone());
                self.state = State::Accepted;
            }
            Event::MoreAsked => self.state = State::NeedsInfo,
            Event::MoreGiven => {
                self.state = if self.identified_by.is_some() { State::Accepted } else { State::IdentityCheck };
                if rules.identity_restarts_clock && self.identified_by.is_none() {
                    self.counts_from = self.counts_from.max(day);
                    self.due_on = rules.due(self.counts_from, self.extended);
                }
            }
            Event::WindowWaived => self.second_thoughts_until = None,
            Event::Approved { by } => drop(self.approved_by.insert(by.clone())),
            Event::Extended => {
                if self.extended || day > self.due_on {
                    return Err(RightsError::Extension { due_on: self.due_on });
                }
                self.extended = true;
                self.due_on = rules.due(self.counts_from, true);
            }
            Event::Done { task } => {
                self.may_execute(at, rules)?;
                if self.left.first() != Some(task) {
                    return Err(RightsError::Order);
                }
                self.done.push(self.left.remove(0));
                self.state = if self.left.is_empty() { State::Finalising } else { State::Executing };
            }
            Event::Closed => {
                if !self.left.is_empty() {
                    return Err(RightsError::Unfinished { left: self.left.len() });
                }
                self.end(State::Closed, at);
            }
            // What was begun is finished: half an erasure cannot be refused or taken back.
            Event::Refused { .. } | Event::Duplicate { .. } | Event::TakenBack if !self.done.is_empty() => {
                return Err(RightsError::Unfinished { left: self.left.len() });
            }
            Event::Refused { reason } => {
                self.refusal = Some(*reason);
                self.end(State::Refused, at);
            }
            Event::Duplicate { .. } => self.end(State::Duplicate, at),
            Event::TakenBack => self.end(State::TakenBack, at),
        }
        Ok(())
    }

    fn end(&mut self, state: State, at: Timestamp) {
        self.state = state;
        self.ended_at = Some(at);
    }

    /// Whether its tasks may be done now.
    ///
    /// # Errors
    /// [`RightsError`] that says what is missing.
    pub fn may_execute(&self, at: Timestamp, rules: &Rules) -> Result<(), RightsError> {
        if self.state.is_final() {
            return Err(RightsError::Final);
        }
        if self.identified_by.is_none() || self.state == State::NeedsInfo {
            return Err(RightsError::NotIdentified);
        }
        if self.right == Right::Erasure {
            let (found, needed) = (self.approved_by.len(), rules.approvals_for_erasure);
            if found < needed {
                return Err(RightsError::Approvals { found, needed });
            }
            if let Some(until) = self.second_thoughts_until.filter(|until| at.day() <= *until) {
                return Err(RightsError::SecondThoughts { until });
            }
        }
        Ok(())
    }

    /// Permission to hand the donor's data over: for access and portability, once it is clear who asks.
    ///
    /// # Errors
    /// [`RightsError`] that says what is missing; [`RightsError::Order`] for another right.
    pub fn hand_over(&self, donor: &DonorId, at: Timestamp, rules: &Rules) -> Result<Pass, RightsError> {
        self.may_execute(at, rules)?;
        match self.right {
            Right::Access | Right::Portability => Ok(Pass { donor: donor.clone() }),
            _ => Err(RightsError::Order),
        }
    }

    /// How it stands against its clock.
    pub fn alarm(&self, now: Timestamp, rules: &Rules) -> Alarm {
        if self.state.is_final() {
            return Alarm::None;
        }
        let today = now.day();
        if today > self.due_on {
            return Alarm::Overdue;
        }
        let all = (self.due_on - self.counts_from).num_days().max(1);
        let passed = (today - self.counts_from).num_days() * 100 / all;
        let reached = rules.warn_percent.iter().rev().find(|percent| passed >= i64::from(**percent));
        reached.map_or(Alarm::None, |percent| Alarm::Warn(*percent))
    }
}
