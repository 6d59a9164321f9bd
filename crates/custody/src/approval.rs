//! Permission for one particular thing to leave the node.

use std::collections::{BTreeMap, BTreeSet};

use acequia_types::{Coded, Day, Digest, DonorId, Exit, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{Ask, Conditions, Grant, History, Operation, Policy, Purpose, Reason};

/// Permission for the thing with digest [`Approval::subject`] to leave. Made only by [`approve`], [`approve_granted`] and
/// [`RunDecision::approve`].
///
/// ```compile_fail,E0451
/// use acequia_custody::{Approval, Purpose};
/// use acequia_types::{Digest, Timestamp};
/// let (subject, purpose, decided_at) = (Digest::of(b""), Purpose::Research, Timestamp::from_unix_s(0));
/// let forged = Approval { subject, purpose, terms: Default::default(), donors: 1, decided_at };
/// ```
/// ```
/// use acequia_custody::{Purpose, approve};
/// use acequia_types::{Digest, Timestamp};
/// let refused = approve(Digest::of(b""), Purpose::Research, &Default::default(), |_| None, Timestamp::from_unix_s(0));
/// assert!(refused.is_err(), "nobody consented, so nothing is approved");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    subject: Digest,
    purpose: Purpose,
    terms: Conditions,
    donors: usize,
    decided_at: Timestamp,
}

impl Approval {
    /// Digest of what may leave.
    pub fn subject(&self) -> Digest {
        self.subject
    }

    /// For what it may leave.
    pub fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// Under which terms it may leave: whoever has it is held to them.
    pub fn terms(&self) -> &Conditions {
        &self.terms
    }

    /// How many donors' consent it rests on.
    pub fn donors(&self) -> usize {
        self.donors
    }

    /// When consent was evaluated.
    pub fn decided_at(&self) -> Timestamp {
        self.decided_at
    }
}

/// Why a thing may not leave: how many donors stand in the way, by reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.words())]
pub struct ApprovalRefused {
    /// The purpose asked for.
    pub purpose: Purpose,
    /// Donors behind the thing.
    pub donors: usize,
    /// How many donors do not permit, by reason.
    pub denied: BTreeMap<Reason, usize>,
}

impl ApprovalRefused {
    fn words(&self) -> String {
        let Self { purpose, donors, denied } = self;
        match donors {
            0 => format!("nobody who could allow {purpose} does so at this moment"),
            _ => format!("{} of {donors} donors do not allow {purpose} at this moment", denied.values().sum::<usize>()),
        }
    }
}

impl Coded for ApprovalRefused {
    fn code(&self) -> &'static str {
        "CU002"
    }
    fn hint(&self) -> &'static str {
        "a consent changed since the data was prepared; run the recipe again, it leaves those donors out"
    }
    fn exit(&self) -> Exit {
        Exit::NotPermitted
    }
}

/// Evaluates every donor's consent again for a thing about to leave, by no rule beyond the donors'.
///
/// # Errors
/// [`ApprovalRefused`] when one donor or more does not allow `purpose` at `now`, or when there is no donor at all.
pub fn approve(
    subject: Digest,
    purpose: Purpose,
    donors: &BTreeSet<DonorId>,
    history_of: impl Fn(&DonorId) -> Option<History>,
    now: Timestamp,
) -> Result<Approval, ApprovalRefused> {
    let ask = Ask { purpose, operation: Operation::Use, policy: &Policy::SILENT, now, terms: Conditions::none() };
    approve_asking(subject, donors, history_of, (purpose, now), |_| ask)
}

/// Evaluates every donor's consent again for a thing about to leave that was made under `grant`: for its purpose, to do with
/// each donor's record what it was granted for, under its terms, by the trustee's policy.
///
/// # Errors
/// As [`approve`].
pub fn approve_granted(
    subject: Digest,
    grant: &Grant,
    donors: &BTreeSet<DonorId>,
    history_of: impl Fn(&DonorId) -> Option<History>,
    policy: &Policy,
    now: Timestamp,
) -> Result<Approval, ApprovalRefused> {
    let ask = |donor: &DonorId| {
        let operation = grant.operation(donor).unwrap_or_default();
        Ask { purpose: grant.purpose(), operation, policy, now, terms: grant.terms() }
    };
    let approval = approve_asking(subject, donors, history_of, (grant.purpose(), now), ask)?;
    Ok(Approval { terms: grant.terms().clone(), ..approval })
}

fn approve_asking<'a>(
    subject: Digest,
    donors: &BTreeSet<DonorId>,
    history_of: impl Fn(&DonorId) -> Option<History>,
    (purpose, now): (Purpose, Timestamp),
    ask: impl Fn(&DonorId) -> Ask<'a>,
) -> Result<Approval, ApprovalRefused> {
    let mut denied: BTreeMap<Reason, usize> = BTreeMap::new();
    for donor in donors {
        if let Some(reason) = ask(donor).about(donor, history_of(donor).as_ref()).reason() {
            *denied.entry(reason).or_default() += 1;
        }
    }
    if !denied.is_empty() || donors.is_empty() {
        return Err(ApprovalRefused { purpose, donors: donors.len(), denied });
    }
    Ok(Approval { subject, purpose, terms: Conditions::default(), donors: donors.len(), decided_at: now })
}

/// What a person at an institution decided about a run over the institution's own register: whether sums of it may leave.
///
/// It says nothing about records of this node's donors: what leaves about them rests on [`approve_granted`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunDecision {
    /// Digest of the run plan that was read.
    pub plan: Digest,
    /// Whether it may run here.
    pub allowed: bool,
    /// Who decided; or the standing rule that did.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// Last day on which it holds (included).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_day: Option<Day>,
}

impl RunDecision {
    /// Approves one answer (its digest) of the run with this plan.
    ///
    /// # Errors
    /// [`ApprovalRefused`] when the decision is about another plan, is a no, is from the future or past its last day.
    pub fn approve(&self, subject: Digest, plan: Digest, now: Timestamp) -> Result<Approval, ApprovalRefused> {
        let purpose = Purpose::ModelTraining;
        let refused = |reason| ApprovalRefused { purpose, donors: 0, denied: BTreeMap::from([(reason, 1)]) };
        if self.plan != plan || !self.allowed {
            return Err(refused(Reason::Institution));
        }
        if self.at > now {
            return Err(refused(Reason::Clock));
        }
        if self.last_day.is_some_and(|last| last < now.day()) {
            return Err(refused(Reason::Expired));
        }
        Ok(Approval { subject, purpose, terms: Conditions::default(), donors: 0, decided_at: now })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ConsentEvent, ConsentKind, Level};

    #[test]
    fn a_decision_of_an_institution_is_about_one_plan_and_for_a_time() {
        let now = acequia_types::parse_timestamp("2026-06-01").unwrap();
        let (plan, other) = (Digest::of(b"plan"), Digest::of(b"other"));
        let yes = RunDecision { plan, allowed: true, by: "anna".to_owned(), at: now, last_day: Some(now.day()) };
        let approval = yes.approve(Digest::of(b"x"), plan, now).unwrap();
        assert_eq!(
            (approval.subject(), approval.purpose(), approval.donors()),
            (Digest::of(b"x"), Purpose::ModelTraining, 0)
        );
        let later = Timestamp::from_unix_s(now.unix_s() + 86_400);
        let reason = |decision: &RunDecision, plan, now| {
            decision.approve(Digest::of(b"x"), plan, now).unwrap_err().denied.into_keys().next().unwrap()
        };
        assert_eq!(reason(&yes, other, now), Reason::Institution);
        assert_eq!(reason(&yes, plan, later), Reason::Expired);
        assert_eq!(reason(&RunDecision { at: later, ..yes.clone() }, plan, now), Reason::Clock);
        assert_eq!(reason(&RunDecision { allowed: false, ..yes }, plan, now), Reason::Institution);
    }

    #[test]
    fn one_withdrawal_stops_the_whole_thing() {
        let donors: BTreeSet<_> = ["a", "b"].iter().map(|d| DonorId::parse(d).unwrap()).collect();
        let now = acequia_types::parse_timestamp("2026-06-01").unwrap();
        let given = || vec![ConsentEvent::give("2026-01-01", &[Purpose::OpenPublication])];
        let all = approve(Digest::of(b"x"), Purpose::OpenPublication, &donors, |_| Some(History::new(given())), now);
        assert_eq!(all.unwrap().donors(), 2);
        let one_left = |donor: &DonorId| {
            let mut events = given();
            if donor.as_str() == "b" {
                events.push(ConsentEvent::new(now, ConsentKind::Withdraw { level: Level::default() }));
            }
            Some(History::new(events))
        };
        let refused = approve(Digest::of(b"x"), Purpose::OpenPublication, &donors, one_left, now).unwrap_err();
        assert_eq!(refused.denied, BTreeMap::from([(Reason::Withdrawn, 1)]));
    }
}
