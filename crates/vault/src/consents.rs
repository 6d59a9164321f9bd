//! `consent`: who allows what, and changes to it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use acequia_custody::notice::Notices;
use acequia_custody::{
    Ask, Conditions, ConsentEvent, ConsentKind, History, Level, Notice, Operation, Party, Policy, Purpose, Purposes,
    Reason,
};
use acequia_store::NoticeText;
use acequia_types::{Clock, Day, DonorId, Timestamp};
use serde::Serialize;

use crate::desk::{Desk, DeskError};

/// What a donor does.
#[derive(Debug, Clone)]
pub enum ConsentChange {
    /// Allows purposes and no others, perhaps until a day.
    Give {
        /// Which.
        purposes: Vec<Purpose>,
        /// Last day of validity.
        expires_on: Option<Day>,
        /// Language in which the donor was shown the notice about open publication.
        shown: Option<String>,
    },
    /// Allows one purpose more. Whatever else was said stays: other purposes, the last day, conditions, and how far a
    /// withdrawal of contact or collection went.
    Allow {
        /// Which.
        purpose: Purpose,
        /// As in `Give`.
        shown: Option<String>,
    },
    /// Says no to purposes.
    Refuse {
        /// Which.
        purposes: Vec<Purpose>,
    },
    /// Withdraws, for all purposes.
    Withdraw {
        /// How far.
        level: Level,
    },
}

impl ConsentChange {
    /// Whether open publication is allowed by somebody of whom it is not on record that she was told what that means.
    pub fn gives_unshown(&self) -> bool {
        match self {
            Self::Give { purposes, shown: None, .. } => purposes.contains(&Purpose::OpenPublication),
            Self::Allow { purpose, shown: None } => *purpose == Purpose::OpenPublication,
            _ => false,
        }
    }
}

/// How one donor stands.
#[derive(Debug, Clone, Serialize)]
pub struct ConsentLine {
    /// Account of the donor.
    pub donor: DonorId,
    /// Purpose to `permitted` or the reason why not.
    pub purposes: BTreeMap<&'static str, &'static str>,
    /// `contact`, `collect`, `use`, `republish`: whether it is allowed for some purpose.
    pub operations: BTreeMap<&'static str, bool>,
    /// Day from which a consent to open publication counts that does not count yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_publication_counts_from: Option<Day>,
    /// Events, oldest first.
    pub events: Vec<ConsentEvent>,
}

/// What a donor reads before allowing open publication, where a consent counts after `cooling_off_days`; `None` when it is
/// not in that language.
pub fn open_publication_notice(language: &str, cooling_off_days: u32, published_at: Timestamp) -> Option<NoticeText> {
    let notices = Notices::open_publication();
    let (shown, text) = notices.shown(language, cooling_off_days).zip(notices.words(language, cooling_off_days))?;
    let Notice { id, version, language, .. } = shown;
    Some(NoticeText { id, version, language, material: notices.material, text, published_at })
}

/// One consent, as a further act has to repeat it.
struct Given {
    purposes: Purposes,
    expires_on: Option<Day>,
    conditions: Option<Box<Conditions>>,
    notice: Option<Box<Notice>>,
}

/// What a donor last said, as far as a further act has to repeat it.
#[derive(Default)]
struct Said {
    at: Option<Timestamp>,
    /// Consents of one instant; together they allow what all of them allow.
    gives: Vec<Given>,
    level: Option<Level>,
}

impl Said {
    /// Only what the donor said: what somebody else gave for her is hers to give anew.
    fn by(history: &History, now: Timestamp) -> Self {
        let mut said = Self::default();
        for event in history.events().filter(|event| event.at <= now) {
            match &event.kind {
                ConsentKind::Give { purposes, expires_on, conditions } => {
                    if said.at != Some(event.at) {
                        (said.at, said.gives, said.level) = (Some(event.at), Vec::new(), None);
                    }
                    let purposes = if event.by == Party::Donor { *purposes } else { Purposes::NONE };
                    let (conditions, notice) = (conditions.clone(), event.notice.clone());
                    said.gives.push(Given { purposes, expires_on: *expires_on, conditions, notice });
                }
                ConsentKind::Refuse { purposes } => said.narrow(*purposes),
                ConsentKind::Withdraw { level } => {
                    if *level >= Operation::Use.stopped_by() {
                        said.narrow(Purposes::ALL);
                    }
                    said.level = said.level.max(Some(*level));
                }
                ConsentKind::Invalidate | ConsentKind::OrderErasure => said.narrow(Purposes::ALL),
                _ => {}
            }
        }
        said
    }

    fn narrow(&mut self, purposes: Purposes) {
        for give in &mut self.gives {
            give.purposes = give.purposes.without(purposes);
        }
    }

    /// The act of allowing one purpose more: beside those of before that hold (`holds`), and under every limit of before as long as
    /// something of before is left. A smaller withdrawal stays in force beside it.
    fn and(self, purpose: Purpose, holds: Purposes, shown: Option<&Notice>, now: Timestamp) -> Vec<ConsentEvent> {
        let before = self.gives.iter().fold(holds, |all, give| all.and(give.purposes));
        let purposes: Purposes = before.iter().chain([purpose]).collect();
        let mut events: Vec<ConsentEvent> = Vec::new();
        if before.is_empty() {
            let give = ConsentKind::Give { purposes, expires_on: None, conditions: None };
            events.push(ConsentEvent { notice: shown.cloned().map(Box::new), ..ConsentEvent::new(now, give) });
        } else {
            for given in self.gives {
                let kept = given.notice.filter(|_| before.contains(Purpose::OpenPublication));
                let notice = shown.cloned().map(Box::new).or(kept);
                let Given { expires_on, conditions, .. } = given;
                let give = ConsentKind::Give { purposes, expires_on, conditions };
                events.push(ConsentEvent { notice, ..ConsentEvent::new(now, give) });
            }
        }
        // Using is what was just allowed; contact and collection stay as far withdrawn as they were.
        let smaller = self.level.map(|level| level.min(Level::NoNewCollection));
        events.extend(smaller.map(|level| ConsentEvent::new(now, ConsentKind::Withdraw { level })));
        events
    }
}

/// Purposes that the person allows, whatever else stands against their use.
fn persons(donor: &DonorId, history: &History, policy: &Policy, now: Timestamp) -> Purposes {
    const PERSONAL: [Reason; 10] = [
        Reason::Unknown,
        Reason::Erased,
        Reason::Invalidated,
        Reason::Withdrawn,
        Reason::Refused,
        Reason::NoAuthority,
        Reason::RepresentationEnded,
        Reason::Expired,
        Reason::NotYet,
        Reason::NotAsked,
    ];
    let allows = |purpose: &Purpose| {
        let ask = Ask { purpose: *purpose, operation: Operation::Use, policy, now, terms: Conditions::none() };
        let reasons = ask.about(donor, Some(history)).reasons();
        !PERSONAL.into_iter().any(|reason| reasons.contains(reason))
    };
    Purpose::ALL.into_iter().filter(allows).collect()
}

/// The acts of a donor who allows one purpose more.
fn one_more(
    donor: &DonorId,
    history: Option<&History>,
    purpose: Purpose,
    shown: Option<&Notice>,
    (policy, now): (&Policy, Timestamp),
) -> Vec<ConsentEvent> {
    let holds = history.map_or(Purposes::NONE, |history| persons(donor, history, policy, now));
    let said = history.map(|history| Said::by(history, now)).unwrap_or_default();
    said.and(purpose, holds, shown, now)
}

/// An act that narrows, now and wherever a later act would have widened again what it narrows.
fn undone(history: Option<&History>, kind: &ConsentKind, now: Timestamp) -> Vec<ConsentEvent> {
    let later = history.into_iter().flat_map(|history| history.events().map(|event| event.at)).filter(|at| *at > now);
    let instants: BTreeSet<Timestamp> = later.chain([now]).collect();
    instants.into_iter().map(|at| ConsentEvent::new(at, kind.clone())).collect()
}

impl Desk {
    /// Why something may not be done with a donor's record, if it may not.
    pub fn reason(
        &self,
        donor: &DonorId,
        history: &History,
        (purpose, operation): (Purpose, Operation),
        now: Timestamp,
    ) -> Option<Reason> {
        Ask { purpose, operation, policy: &self.policy, now, terms: Conditions::none() }
            .about(donor, Some(history))
            .reason()
    }

    fn line(&self, donor: DonorId, history: &History, now: Timestamp) -> ConsentLine {
        let reason = |purpose, operation| self.reason(&donor, history, (purpose, operation), now);
        let state = |purpose| reason(purpose, Operation::Use).map_or("permitted", Reason::as_str);
        let purposes = Purpose::ALL.into_iter().map(|purpose| (purpose.as_str(), state(purpose))).collect();
        let allowed = |operation| Purpose::ALL.into_iter().any(|purpose| reason(purpose, operation).is_none());
        let operations = Operation::ALL.into_iter().map(|operation| (operation.as_str(), allowed(operation))).collect();
        let open = (Purpose::OpenPublication, Operation::Use);
        let later = |days: u32| Timestamp::from_unix_s(now.unix_s() + i64::from(days) * 86_400);
        let counts = |days: &u32| self.reason(&donor, history, open, later(*days)).is_none();
        let open_publication_counts_from = (reason(open.0, open.1) == Some(Reason::CoolingOff))
            .then(|| (1..=self.rules.cooling_off_days).find(counts).map(|days| later(days).day()))
            .flatten();
        let events = history.events().cloned().collect();
        ConsentLine { purposes, operations, open_publication_counts_from, events, donor }
    }

    /// What a donor reads before allowing open publication: that it cannot be called back. The words go on record, for a consent
    /// names them.
    ///
    /// # Errors
    /// [`DeskError::NoLanguage`] when the notice is not in that language.
    pub async fn notice(&self, language: &str, now: Timestamp) -> Result<NoticeText, DeskError> {
        let notice =
            open_publication_notice(language, self.rules.cooling_off_days, now).ok_or(DeskError::NoLanguage)?;
        self.store.add_notice(&notice).await?;
        Ok(notice)
    }

    /// How one donor stands.
    ///
    /// # Errors
    /// [`DeskError::NoDonor`] when nothing is on file.
    pub async fn standing(&self, donor: &DonorId, now: Timestamp) -> Result<ConsentLine, DeskError> {
        let history = self.store.consent(donor).await?.ok_or(DeskError::NoDonor)?;
        Ok(self.line(donor.clone(), &history, now))
    }

    /// How everybody stands.
    ///
    /// # Errors
    /// [`DeskError::Store`].
    pub async fn standings(&self, now: Timestamp) -> Result<Vec<ConsentLine>, DeskError> {
        let all = self.store.consents().await?;
        Ok(all.into_iter().map(|(donor, history)| self.line(donor, &history, now)).collect())
    }

    /// Records what a donor does, now. The next version follows it; what is published stays.
    ///
    /// # Errors
    /// [`DeskError::NoDonor`] when the donor never gave anything to this node.
    pub async fn change_consent(
        &self,
        donor: &DonorId,
        change: ConsentChange,
        clock: &dyn Clock,
    ) -> Result<ConsentLine, DeskError> {
        // No lock: a donor can withdraw while a run goes on, and the run finds out before it publishes.
        // Who was invited decides before anything is given.
        if self.donations(donor).await?.is_empty() && self.store.subject(donor).await?.is_none() {
            return Err(DeskError::NoDonor);
        }
        let shown = match &change {
            ConsentChange::Give { shown: Some(language), .. } | ConsentChange::Allow { shown: Some(language), .. } => {
                self.notice(language, clock.now()).await?;
                Notices::open_publication().shown(language, self.rules.cooling_off_days)
            }
            _ => None,
        };
        let narrows = matches!(change, ConsentChange::Refuse { .. } | ConsentChange::Withdraw { .. });
        // Acts are told apart by the second, and what narrows wins within one: an act that widens waits for the next second, so that
        // it counts. A clock that stands still does not hold it up for ever. What narrows waits for nothing.
        if !narrows {
            let history = self.store.consent(donor).await?;
            let last = history.and_then(|history| history.events().next_back().map(|event| event.at));
            for _ in 0..25 {
                if last != Some(clock.now()) {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        let mut at = clock.now();
        let decide = |history: Option<&History>| -> Result<(Vec<ConsentEvent>, Timestamp), DeskError> {
            let now = clock.now();
            at = now;
            let events = match change {
                ConsentChange::Give { purposes, expires_on, .. } => {
                    let purposes = purposes.into_iter().collect();
                    let give = ConsentKind::Give { purposes, expires_on, conditions: None };
                    vec![ConsentEvent { notice: shown.map(Box::new), ..ConsentEvent::new(now, give) }]
                }
                ConsentChange::Allow { purpose, .. } => {
                    one_more(donor, history, purpose, shown.as_ref(), (&self.policy, now))
                }
                ConsentChange::Refuse { purposes } => {
                    let kind = ConsentKind::Refuse { purposes: purposes.into_iter().collect() };
                    undone(history, &kind, now)
                }
                ConsentChange::Withdraw { level } => undone(history, &ConsentKind::Withdraw { level }, now),
            };
            Ok((events, now))
        };
        self.store.decide_consent(donor, decide).await?;
        let now = at;
        self.standing(donor, now).await
    }
}

#[cfg(test)]
mod tests {
    use acequia_custody::rights::Rules;
    use acequia_custody::{Authority, Recorded};

    use super::*;

    /// The same numbers on every machine (xorshift, Marsaglia 2003).
    struct Dice(u64);

    impl Dice {
        fn below(&mut self, n: u64) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0 % n
        }

        fn purposes(&mut self) -> Purposes {
            Purpose::ALL.into_iter().filter(|_| self.below(2) == 0).collect()
        }
    }

    const DAY: i64 = 86_400;

    fn at(day: i64) -> Timestamp {
        Timestamp::from_unix_s(1_780_000_000 + day * DAY)
    }

    fn event(dice: &mut Dice) -> ConsentEvent {
        let expires_on = (dice.below(3) == 0).then(|| at(i64::try_from(dice.below(80)).unwrap()).day());
        let kind = match dice.below(12) {
            0..4 => {
                let after_death = dice.below(2) == 0;
                let conditions =
                    (dice.below(3) == 0).then(|| Box::new(Conditions { after_death, ..Conditions::default() }));
                ConsentKind::Give { purposes: dice.purposes(), expires_on, conditions }
            }
            4 => ConsentKind::Refuse { purposes: dice.purposes() },
            5 => ConsentKind::Withdraw { level: Level::ALL[usize::try_from(dice.below(4)).unwrap()] },
            6 => ConsentKind::Invalidate,
            7 => {
                let all = [Authority::Proxy, Authority::Parental, Authority::Court];
                ConsentKind::Represent { authority: all[usize::try_from(dice.below(3)).unwrap()], expires_on }
            }
            8 => ConsentKind::EndRepresentation,
            9 => ConsentKind::Restrict,
            10 => ConsentKind::Object { purposes: dice.purposes() },
            _ => ConsentKind::Died,
        };
        let by = match (&kind, dice.below(6)) {
            (ConsentKind::Represent { .. } | ConsentKind::EndRepresentation, _) => Party::Desk,
            (_, 0 | 1) => Party::Representative,
            (_, 2) => Party::Institution,
            _ => Party::Donor,
        };
        // Some acts share an instant, and some are still to come.
        ConsentEvent::new(at(i64::try_from(dice.below(25)).unwrap() * 2), kind).by(by)
    }

    /// Whoever allows one thing allows nothing else by it, now or later, and no smaller withdrawal is undone.
    #[test]
    fn one_yes_opens_no_other_purpose() {
        let (mut dice, donor, policy) =
            (Dice(88_172_645_463_325_252), DonorId::parse("d").unwrap(), Rules::gdpr().policy());
        let now = at(40);
        let mut opened = 0;
        for _ in 0..30_000 {
            let events: Vec<ConsentEvent> = (0..1 + dice.below(7)).map(|_| event(&mut dice)).collect();
            let record = |event: &ConsentEvent| Recorded { known_at: at(0), event: event.clone() };
            let before = History::recorded(events.iter().map(record).collect());
            let wanted = Purpose::ALL[usize::try_from(dice.below(3)).unwrap()];
            let acts = one_more(&donor, Some(&before), wanted, None, (&policy, now));
            let after = History::recorded(events.iter().chain(&acts).map(record).collect());
            for (purpose, later) in
                Purpose::ALL.into_iter().flat_map(|purpose| [0, 1, 5, 16, 60].map(|days| (purpose, days)))
            {
                let then = Timestamp::from_unix_s(now.unix_s() + later * DAY);
                for operation in Operation::ALL {
                    let reason = |history: &History| {
                        Ask { purpose, operation, policy: &policy, now: then, terms: Conditions::none() }
                            .about(&donor, Some(history))
                            .reason()
                    };
                    if purpose != wanted {
                        assert!(
                            reason(&before).is_none() || reason(&after).is_some(),
                            "{wanted} opened {purpose} to {operation:?} after {later} days: {events:?} then {acts:?}"
                        );
                    } else if operation == Operation::Use && later == 0 {
                        opened += usize::from(reason(&before).is_some() && reason(&after).is_none());
                    }
                }
            }
        }
        assert!(opened > 3_000, "{opened} times something was opened at all");
    }

    #[test]
    fn a_smaller_withdrawal_outlasts_a_greater_one_and_a_yes() {
        let give =
            ConsentEvent::new(at(0), ConsentKind::Give { purposes: Purposes::ALL, expires_on: None, conditions: None });
        let withdraw = |day, level| ConsentEvent::new(at(day), ConsentKind::Withdraw { level });
        let before = vec![give, withdraw(1, Level::NoContact), withdraw(2, Level::NoFurtherUse)];
        let (donor, policy) = (DonorId::parse("d").unwrap(), Rules::gdpr().policy());
        let history = History::new(before.clone());
        let acts = one_more(&donor, Some(&history), Purpose::Research, None, (&policy, at(3)));
        let after = History::new([before, acts].concat());
        let allowed = |operation| {
            Ask { purpose: Purpose::Research, operation, policy: &policy, now: at(3), terms: Conditions::none() }
                .about(&donor, Some(&after))
                .reason()
                .is_none()
        };
        assert!(allowed(Operation::Use) && !allowed(Operation::Contact));
    }

    #[test]
    fn what_narrows_also_undoes_all_that_was_to_begin_later() {
        let give = |day| {
            ConsentEvent::new(
                at(day),
                ConsentKind::Give { purposes: Purposes::ALL, expires_on: None, conditions: None },
            )
        };
        let before = vec![give(0), give(10), give(20)];
        let kind = ConsentKind::Refuse { purposes: Purposes::ALL };
        let acts = undone(Some(&History::new(before.clone())), &kind, at(5));
        let after = History::new([before, acts].concat());
        for day in [5, 10, 15, 20, 25] {
            let ask = Ask {
                purpose: Purpose::Research,
                operation: Operation::Use,
                policy: &Policy::SILENT,
                now: at(day),
                terms: Conditions::none(),
            };
            assert_eq!(ask.about(&DonorId::parse("d").unwrap(), Some(&after)).reason(), Some(Reason::Refused), "{day}");
        }
    }
}
