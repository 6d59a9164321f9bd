//! `consent`: who allows what, and changes to it.

use std::collections::BTreeMap;
use std::time::Duration;

use acequia_custody::notice::Notices;
use acequia_custody::{
    Ask, Conditions, ConsentEvent, ConsentKind, History, Level, Notice, Operation, Purpose, Purposes, Reason,
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

/// What a donor last said, as far as a further act has to repeat it.
#[derive(Default)]
struct Said {
    purposes: Purposes,
    expires_on: Option<Day>,
    conditions: Option<Box<Conditions>>,
    notice: Option<Box<Notice>>,
    level: Option<Level>,
}

impl Said {
    fn by(history: &History, now: Timestamp) -> Self {
        let mut said = Self::default();
        for event in history.events().filter(|event| event.at <= now) {
            match &event.kind {
                ConsentKind::Give { purposes, expires_on, conditions } => {
                    said = Self {
                        purposes: *purposes,
                        expires_on: *expires_on,
                        conditions: conditions.clone(),
                        notice: event.notice.clone(),
                        level: None,
                    };
                }
                ConsentKind::Refuse { purposes } => said.purposes = said.purposes.without(*purposes),
                ConsentKind::Withdraw { level } => {
                    if *level >= Operation::Use.stopped_by() {
                        said.purposes = Purposes::NONE;
                    }
                    said.level = said.level.max(Some(*level));
                }
                ConsentKind::Invalidate | ConsentKind::OrderErasure => said = Self::default(),
                _ => {}
            }
        }
        // What ran out is not renewed unasked.
        if said.expires_on.is_some_and(|last| last < now.day()) {
            (said.purposes, said.expires_on) = (Purposes::NONE, None);
        }
        said
    }

    /// The act of allowing one purpose more, and what keeps a smaller withdrawal in force beside it.
    fn and(self, purpose: Purpose, shown: Option<Box<Notice>>, now: Timestamp) -> Vec<ConsentEvent> {
        let purposes = self.purposes.iter().chain([purpose]).collect();
        // Nothing is left to limit when nothing is left that was allowed.
        let (expires_on, conditions) =
            if self.purposes.is_empty() { (None, self.conditions) } else { (self.expires_on, self.conditions) };
        let kept = self.notice.filter(|_| self.purposes.contains(Purpose::OpenPublication));
        let give = ConsentKind::Give { purposes, expires_on, conditions };
        let mut events = vec![ConsentEvent { notice: shown.or(kept), ..ConsentEvent::new(now, give) }];
        let smaller = self.level.filter(|level| *level < Operation::Use.stopped_by());
        events.extend(smaller.map(|level| ConsentEvent::new(now, ConsentKind::Withdraw { level })));
        events
    }
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
        Ask { purpose, operation, policy: &self.policy, now }.about(donor, Some(history)).reason()
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
        let history = self.store.consent(donor).await?;
        // Who was invited decides before anything is given.
        if self.donations(donor).await?.is_empty() && self.store.subject(donor).await?.is_none() {
            return Err(DeskError::NoDonor);
        }
        // Acts are told apart by the second, and a withdrawal wins within one: an act after another waits for the next
        // second, so that the later one counts. A clock that stands still does not hold it up for ever.
        let last = history.as_ref().and_then(|history| history.events().next_back().map(|event| event.at));
        for _ in 0..25 {
            if last != Some(clock.now()) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let now = clock.now();
        let days = self.rules.cooling_off_days;
        let shown = match &change {
            ConsentChange::Give { shown: Some(language), .. } | ConsentChange::Allow { shown: Some(language), .. } => {
                self.notice(language, now).await?;
                Notices::open_publication().shown(language, days).map(Box::new)
            }
            _ => None,
        };
        let narrows = matches!(change, ConsentChange::Refuse { .. } | ConsentChange::Withdraw { .. });
        let mut events = match change {
            ConsentChange::Give { purposes, expires_on, .. } => {
                let purposes = purposes.into_iter().collect();
                let give = ConsentKind::Give { purposes, expires_on, conditions: None };
                vec![ConsentEvent { notice: shown, ..ConsentEvent::new(now, give) }]
            }
            ConsentChange::Allow { purpose, .. } => {
                let said = history.as_ref().map(|history| Said::by(history, now)).unwrap_or_default();
                said.and(purpose, shown, now)
            }
            ConsentChange::Refuse { purposes } => {
                vec![ConsentEvent::new(now, ConsentKind::Refuse { purposes: purposes.into_iter().collect() })]
            }
            ConsentChange::Withdraw { level } => vec![ConsentEvent::new(now, ConsentKind::Withdraw { level })],
        };
        // A refusal or withdrawal also undoes what was to begin later.
        if let (Some(last), true) = (last.filter(|last| *last > now), narrows) {
            events.push(ConsentEvent::new(last, events[0].kind.clone()));
        }
        self.store.append_consent(donor, &events, now).await?;
        self.standing(donor, now).await
    }
}
