//! `consent`: who allows what, and changes to it.

use std::collections::BTreeMap;

use acequia_custody::{ConsentEvent, ConsentKind, Level, Purpose, evaluate};
use acequia_types::{Day, DonorId};
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
    },
    /// Says no to purposes.
    Refuse {
        /// Which.
        purposes: Vec<Purpose>,
    },
    /// Withdraws everything.
    Withdraw,
}

/// How one donor stands.
#[derive(Debug, Clone, Serialize)]
pub struct ConsentLine {
    /// Account of the donor.
    pub donor: DonorId,
    /// Purpose to `permitted` or the reason why not.
    pub purposes: BTreeMap<&'static str, &'static str>,
    /// Events, oldest first.
    pub events: Vec<ConsentEvent>,
}

impl Node {
    fn line(&self, donor: DonorId, history: &acequia_custody::History) -> ConsentLine {
        let now = self.clock.now();
        let state = |purpose: Purpose| {
            evaluate(&donor, Some(history), purpose, now).reason().map_or("permitted", |reason| reason.as_str())
        };
        let purposes = Purpose::ALL.into_iter().map(|purpose| (purpose.as_str(), state(purpose))).collect();
        ConsentLine { purposes, events: history.events().cloned().collect(), donor }
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
        let kind = match change {
            ConsentChange::Give { purposes, expires_on } => {
                ConsentKind::Give { purposes: purposes.into_iter().collect(), expires_on, conditions: None }
            }
            ConsentChange::Refuse { purposes } => ConsentKind::Refuse { purposes: purposes.into_iter().collect() },
            ConsentChange::Withdraw => ConsentKind::Withdraw { level: Level::default() },
        };
        let now = self.clock.now();
        let mut events = vec![ConsentEvent::new(now, kind)];
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
