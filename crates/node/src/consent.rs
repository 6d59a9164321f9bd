//! `consent`: who allows what, and changes to it.

use std::collections::BTreeMap;

use acequia_custody::notice::Notices;
use acequia_custody::rights::Rules;
use acequia_custody::{Ask, ConsentEvent, ConsentKind, History, Level, Operation, Purpose, Reason};
use acequia_store::NoticeText;
use acequia_types::{Day, DonorId, Timestamp};
use acequia_vault::Withdrawal;
use serde::Serialize;

use crate::failure::{Failure, NodeError};
use crate::home::Node;

/// What a donor does.
#[derive(Debug, Clone)]
pub enum ConsentChange {
    /// Allows purposes, perhaps until a day.
    Give {
        /// Which.
        purposes: Vec<Purpose>,
        /// Last day of validity.
        expires_on: Option<Day>,
        /// Language in which the donor was shown the notice about open publication.
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
        matches!(self, Self::Give { purposes, shown: None, .. } if purposes.contains(&Purpose::OpenPublication))
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

/// What a donor reads before allowing open publication, under the law in force; at a node [`Node::notice`] says it under its rules.
///
/// # Errors
/// [`NodeError::NotFound`] when the notice is not in that language.
pub fn bundled_notice(language: &str) -> Result<NoticeText, Failure> {
    notice(language, Rules::gdpr().cooling_off_days, Timestamp::from_unix_s(0))
}

fn notice(language: &str, days: u32, published_at: Timestamp) -> Result<NoticeText, Failure> {
    let notices = Notices::open_publication();
    let found = notices.shown(language, days).zip(notices.words(language, days));
    let (shown, text) = found.ok_or(NodeError::NotFound { what: "notice in that language" })?;
    let (id, version, language) = (shown.id, shown.version, shown.language);
    Ok(NoticeText { id, version, language, material: notices.material, text, published_at })
}

impl Node {
    pub(crate) fn reason(
        &self,
        donor: &DonorId,
        history: &History,
        (purpose, operation): (Purpose, Operation),
        now: Timestamp,
    ) -> Option<Reason> {
        Ask { purpose, operation, policy: &self.policy, now }.about(donor, Some(history)).reason()
    }

    fn line(&self, donor: DonorId, history: &History) -> ConsentLine {
        let now = self.clock.now();
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
    /// [`NodeError::NotFound`] when the notice is not in that language.
    pub async fn notice(&self, language: &str) -> Result<NoticeText, Failure> {
        let notice = notice(language, self.rules.cooling_off_days, self.clock.now())?;
        self.store.add_notice(&notice).await?;
        Ok(notice)
    }

    /// What followed from a donor's withdrawal.
    ///
    /// # Errors
    /// When nothing of the donor is on file.
    pub async fn withdrawal(&self, donor: &DonorId) -> Result<Withdrawal, Failure> {
        Ok(self.desk().withdrawal(donor, &self.policy, self.clock.now()).await?)
    }

    /// How one donor stands.
    ///
    /// # Errors
    /// [`NodeError::NotFound`] when nothing is on file.
    pub async fn consent(&self, donor: &DonorId) -> Result<ConsentLine, Failure> {
        let history = self.store.consent(donor).await?.ok_or(NodeError::NotFound { what: "donor" })?;
        Ok(self.line(donor.clone(), &history))
    }

    /// How everybody stands.
    ///
    /// # Errors
    /// Errors of the store.
    pub async fn consents(&self) -> Result<Vec<ConsentLine>, Failure> {
        let all = self.store.consents().await?;
        Ok(all.into_iter().map(|(donor, history)| self.line(donor, &history)).collect())
    }

    /// Records what a donor does, now. The next version follows it; what is published stays.
    ///
    /// # Errors
    /// [`NodeError::NotFound`] when the donor never gave anything to this node.
    pub async fn change_consent(&self, donor: &DonorId, change: ConsentChange) -> Result<ConsentLine, Failure> {
        // No lock: a donor can withdraw while a run goes on, and the run finds out before it publishes.
        let has_record = self.store.donations().await?.iter().any(|donation| donation.donor == *donor);
        let history = self.store.consent(donor).await?;
        if !has_record && history.is_none() {
            return Err(NodeError::NotFound { what: "donor" }.into());
        }
        // Acts are told apart by the second, and a withdrawal wins within one: an act after another waits for the next
        // second, so that the later one counts. A clock that stands still does not hold it up for ever.
        let last = history.and_then(|history| history.events().next_back().map(|event| event.at));
        for _ in 0..25 {
            if last != Some(self.clock.now()) {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        let mut notice = None;
        let kind = match change {
            ConsentChange::Give { purposes, expires_on, shown } => {
                if let Some(language) = shown {
                    self.notice(&language).await?;
                    notice = Notices::open_publication().shown(&language, self.rules.cooling_off_days).map(Box::new);
                }
                ConsentKind::Give { purposes: purposes.into_iter().collect(), expires_on, conditions: None }
            }
            ConsentChange::Refuse { purposes } => ConsentKind::Refuse { purposes: purposes.into_iter().collect() },
            ConsentChange::Withdraw { level } => ConsentKind::Withdraw { level },
        };
        let now = self.clock.now();
        let mut events = vec![ConsentEvent { notice, ..ConsentEvent::new(now, kind) }];
        // A refusal or withdrawal also undoes what was to begin later.
        if let (Some(last), false) =
            (last.filter(|last| *last > now), matches!(events[0].kind, ConsentKind::Give { .. }))
        {
            events.push(ConsentEvent::new(last, events[0].kind.clone()));
        }
        self.store.append_consent(donor, &events, self.clock.now()).await?;
        self.consent(donor).await
    }
}
