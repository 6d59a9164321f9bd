//! Who got data, and notices to them (GDPR Art. 19).
//!
//! Recipients and notices are journals. A notice is about a request of a person or about a version that is not served any more;
//! there is one for each recipient, by its [`Notice::id`], whatever happened in between. What follows from the records is derived
//! from them anew each time ([`Desk::due_notices`]), so that a crash loses none; a notice that was handed to a carrier is ticked off
//! afterwards, and the carrier knows by the id what it has already.
//!
//! Source: reference design §3.6(4), §3.8; GDPR Art. 19.

use std::collections::{BTreeMap, BTreeSet};

use acequia_custody::rights::Right;
use acequia_store::{Entry, StoreError, TakenDown};
use acequia_types::{Day, Timestamp, digest_named};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::desk::{Case, Desk, DeskError, bad};
use crate::texts::Texts;

const RECIPIENTS: &str = "recipients";
const NOTICES: &str = "notices";

/// Somebody who got data: a registered download, a node, whoever trained a model (GDPR Art. 19).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipient {
    /// Which: an id of the desk's.
    pub id: String,
    /// How to reach it.
    pub contact: String,
    /// Which data set it got: `namespace/name`, perhaps with a version after a space.
    pub dataset: String,
    /// Language of letters to it; English when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
}

impl Recipient {
    /// Whether it got this version.
    fn got(&self, dataset: &str, version: &str) -> bool {
        let (name, own) = named_version(&self.dataset);
        name == dataset && own.is_none_or(|own| own == version)
    }
}

/// A data set and, after a space or an at sign, a version of it, as people write them.
pub fn named_version(text: &str) -> (&str, Option<&str>) {
    text.split_once([' ', '@']).map_or((text, None), |(name, version)| (name, Some(version.trim_start_matches('v'))))
}

/// A notice to a recipient: about a request of a person, or about a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Notice {
    /// About which request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<u64>,
    /// To whom.
    pub recipient: String,
    /// What it got.
    pub dataset: String,
    /// Which right was exercised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub right: Option<Right>,
    /// Version that is not served any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<TakenDown>,
    /// The version in its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub successor: Option<String>,
    /// Where it stands.
    pub state: NoticeState,
}

/// Where a notice stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoticeState {
    /// It is to be handed to a carrier.
    Told,
    /// A carrier has it.
    Delivered,
    /// The recipient confirmed.
    Confirmed,
}

impl Notice {
    /// Its number, the same however often it is made: 32 hex digits.
    pub fn id(&self) -> String {
        let request = self.request.unwrap_or_default().to_le_bytes();
        let parts: [(&str, &[u8]); 4] = [
            ("request", &request),
            ("version", self.version.as_deref().unwrap_or_default().as_bytes()),
            ("recipient", self.recipient.as_bytes()),
            ("dataset", self.dataset.as_bytes()),
        ];
        digest_named("acequia notice v1", parts).short(32)
    }

    /// Whether its recipient had it and did not confirm in time, and so gets no further data.
    pub fn is_late(&self, confirm_by: Day, today: Day) -> bool {
        self.state == NoticeState::Delivered && confirm_by < today
    }

    /// The data set alone: `namespace/name`.
    pub(crate) fn data_set(&self) -> &str {
        named_version(&self.dataset).0
    }

    /// The letter: a subject and sentences.
    pub fn letter(&self, texts: &Texts, confirm_by: Day) -> (String, Vec<String>) {
        let (dataset, day) = (("dataset", self.dataset.as_str()), confirm_by.to_string());
        let mut sentences = Vec::new();
        match (&self.version, self.right) {
            (Some(version), _) => {
                let key = match self.reason {
                    Some(TakenDown::Withdrawal) => "recipient-superseded",
                    _ => "recipient-taken-down",
                };
                // The register may name a version too; the letter names the one that it is about.
                sentences.push(texts.say_with(key, &[("dataset", self.data_set()), ("version", version)]));
                match &self.successor {
                    Some(next) => sentences.push(texts.say_with("recipient-successor", &[("version", next)])),
                    None => sentences.push(texts.say("recipient-delete")),
                }
            }
            (None, Some(right)) => {
                sentences.push(texts.say_with(&format!("recipient-{}", right.as_str()), &[dataset]));
                if right == Right::Erasure {
                    sentences.push(texts.say("recipient-delete"));
                }
            }
            (None, None) => {}
        }
        sentences.push(texts.say_with("recipient-confirm", &[("day", &day)]));
        sentences.push(texts.say_with("recipient-id", &[("id", &self.id())]));
        (texts.say_with("recipient-subject", &[dataset]), sentences)
    }
}

impl Desk {
    /// Adds somebody to the register of recipients. The same again changes nothing.
    ///
    /// # Errors
    /// [`DeskError::Suspended`] when it has not confirmed a notice in time; [`DeskError::Store`].
    pub async fn add_recipient(&self, recipient: &Recipient, now: Timestamp) -> Result<(), DeskError> {
        let known = |other: &Recipient| (&other.id, &other.dataset) == (&recipient.id, &recipient.dataset);
        let registered = self.recipients().await?;
        // Who moved may say where to, and is told there what was not confirmed.
        if let Some(due_on) = self.suspended(now).await?.get(&recipient.id)
            && !registered.iter().any(known)
        {
            return Err(DeskError::Suspended { recipient: recipient.id.clone(), due_on: *due_on });
        }
        if registered.iter().rev().find(|other| known(other)) == Some(recipient) {
            return Ok(());
        }
        let value = serde_json::to_value(recipient).map_err(|_| bad())?;
        self.store.append_entry(RECIPIENTS, now, None, |_| Ok::<_, StoreError>(value)).await?;
        Ok(())
    }

    /// The register of recipients.
    ///
    /// # Errors
    /// [`DeskError::Store`].
    pub async fn recipients(&self) -> Result<Vec<Recipient>, DeskError> {
        let read = |entry: Entry| Recipient::deserialize(&entry.entry).map_err(|_| bad().into());
        self.store.entries(RECIPIENTS).await?.into_iter().map(read).collect()
    }

    /// Recipients that did not confirm in time, with the day by which they should have.
    ///
    /// # Errors
    /// [`DeskError::Store`].
    pub async fn suspended(&self, now: Timestamp) -> Result<BTreeMap<String, Day>, DeskError> {
        let late = self.notices().await?.into_iter().filter(|(notice, due_on)| notice.is_late(*due_on, now.day()));
        // The first day that passed, if there are several.
        Ok(late.rev().map(|(notice, due_on)| (notice.recipient, due_on)).collect())
    }

    /// Records one notice about a request for each recipient that may have got the donor's data, once.
    pub(crate) async fn tell(&self, case: &Case, now: Timestamp) -> Result<(), DeskError> {
        let mut known = Vec::new();
        for release in self.store.releases().await? {
            let in_it = self.vault.subjects_of(&release)?.is_none_or(|subjects| subjects.contains(&case.subject));
            known.push((release.dataset.to_string(), release.version, in_it));
        }
        let mut notices = Vec::new();
        for recipient in self.recipients().await? {
            let got = known.iter().filter(|(dataset, version, _)| recipient.got(dataset, version));
            let got: Vec<bool> = got.map(|(_, _, in_it)| *in_it).collect();
            // Of what this node did not publish it is not known who is in it.
            if !got.is_empty() && !got.contains(&true) {
                continue;
            }
            notices.push(Notice {
                request: Some(case.number),
                recipient: recipient.id,
                dataset: recipient.dataset,
                right: Some(case.request.right),
                version: None,
                reason: None,
                successor: None,
                state: NoticeState::Told,
            });
        }
        self.record_notices(notices, now).await
    }

    /// Records the notices that follow from versions not served any more, each once, and returns all that no carrier has yet, with
    /// their recipients and the day by which they must be confirmed.
    ///
    /// # Errors
    /// [`DeskError::Store`].
    pub async fn due_notices(&self, now: Timestamp) -> Result<Vec<(Notice, Recipient, Day)>, DeskError> {
        let recipients = self.recipients().await?;
        let mut on_record: BTreeSet<String> = self.notices().await?.iter().map(|(notice, _)| notice.id()).collect();
        let mut new = Vec::new();
        for (_, stone) in self.store.tombstones().await? {
            for recipient in recipients.iter().filter(|recipient| recipient.got(&stone.dataset, &stone.version)) {
                let notice = Notice {
                    request: None,
                    recipient: recipient.id.clone(),
                    dataset: recipient.dataset.clone(),
                    right: None,
                    version: Some(stone.version.clone()),
                    reason: Some(stone.reason),
                    successor: stone.successor.clone(),
                    state: NoticeState::Told,
                };
                if on_record.insert(notice.id()) {
                    new.push(notice);
                }
            }
        }
        if !new.is_empty() {
            self.record_notices(new, now).await?;
            (self.reached)("notify.told");
        }
        let told = self.notices().await?.into_iter().filter(|(notice, _)| notice.state == NoticeState::Told);
        let confirm_by = self.confirm_by(now.day());
        let to = |(notice, _): (Notice, Day)| {
            let of_it =
                |recipient: &&Recipient| (&recipient.id, &recipient.dataset) == (&notice.recipient, &notice.dataset);
            // A contact that changed was registered again.
            let recipient = recipients.iter().rev().find(of_it).cloned()?;
            Some((notice, recipient, confirm_by))
        };
        Ok(told.filter_map(to).collect())
    }

    /// Records that a carrier has these notices.
    ///
    /// # Errors
    /// [`DeskError::Store`].
    pub async fn delivered(&self, notices: Vec<Notice>, now: Timestamp) -> Result<(), DeskError> {
        let ticked = notices.into_iter().map(|notice| Notice { state: NoticeState::Delivered, ..notice });
        self.record_notices(ticked.collect(), now).await
    }

    /// Adds to the journal what is not there yet, in one transaction.
    async fn record_notices(&self, notices: Vec<Notice>, now: Timestamp) -> Result<(), DeskError> {
        if notices.is_empty() {
            return Ok(());
        }
        let values: Vec<Value> =
            notices.iter().map(serde_json::to_value).collect::<Result<_, _>>().map_err(|_| bad())?;
        let missing = |before: &[Entry]| {
            let there: BTreeSet<String> = before.iter().map(|entry| entry.entry.to_string()).collect();
            Ok::<_, StoreError>(values.into_iter().filter(|value| !there.contains(&value.to_string())).collect())
        };
        Ok(self.store.append_entries(NOTICES, now, missing).await?)
    }

    /// Records that a recipient confirmed what it was told about a request.
    ///
    /// # Errors
    /// [`DeskError::NoRequest`] when it was told nothing about that request.
    pub async fn confirm(&self, number: u64, recipient: &str, now: Timestamp) -> Result<(), DeskError> {
        let of_it = |notice: &Notice| notice.request == Some(number) && notice.recipient == recipient;
        self.confirm_those(of_it, now).await?.then_some(()).ok_or(DeskError::NoRequest { number })
    }

    /// Records that the recipient of a notice confirmed it.
    ///
    /// # Errors
    /// [`DeskError::NoNotice`].
    pub async fn confirm_notice(&self, id: &str, now: Timestamp) -> Result<(), DeskError> {
        self.confirm_those(|notice| notice.id() == id, now).await?.then_some(()).ok_or(DeskError::NoNotice)
    }

    async fn confirm_those(&self, which: impl Fn(&Notice) -> bool, now: Timestamp) -> Result<bool, DeskError> {
        let notices = self.notices().await?.into_iter().filter(|(notice, _)| which(notice));
        let confirmed: Vec<Notice> =
            notices.map(|(notice, _)| Notice { state: NoticeState::Confirmed, ..notice }).collect();
        let any = !confirmed.is_empty();
        self.record_notices(confirmed, now).await?;
        Ok(any)
    }

    /// Every notice as it stands, with the day by which it must be confirmed.
    ///
    /// # Errors
    /// [`DeskError::Store`].
    pub async fn notices(&self) -> Result<Vec<(Notice, Day)>, DeskError> {
        Ok(self.dated_notices().await?.into_iter().map(|(notice, _, due_on)| (notice, due_on)).collect())
    }

    /// Every notice as it stands, with the day it was told and the day by which it must be confirmed.
    ///
    /// # Errors
    /// [`DeskError::Store`].
    pub async fn dated_notices(&self) -> Result<Vec<(Notice, Day, Day)>, DeskError> {
        let mut all: Vec<(Notice, Day, Day)> = Vec::new();
        let mut at: BTreeMap<String, usize> = BTreeMap::new();
        for entry in self.store.entries(NOTICES).await? {
            let notice = Notice::deserialize(&entry.entry).map_err(|_| bad())?;
            let place = *at.entry(notice.id()).or_insert(all.len());
            match all.get_mut(place) {
                Some((other, _, due_on)) => {
                    // The time runs from when a carrier had it.
                    if other.state == NoticeState::Told {
                        *due_on = self.confirm_by(entry.at.day());
                    }
                    // A tick that comes late does not undo a confirmation.
                    other.state = other.state.max(notice.state);
                }
                None => all.push((notice, entry.at.day(), self.confirm_by(entry.at.day()))),
            }
        }
        Ok(all)
    }

    fn confirm_by(&self, from: Day) -> Day {
        from + chrono::Days::new(u64::from(self.rules.recipients_confirm_days))
    }
}
