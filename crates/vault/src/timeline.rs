//! What happened to a donor's data, as the donor may see it: who opened them for what, which versions hold them, who was told, and
//! every act of consent.
//!
//! Source: reference design §3.8, §3.11; GDPR Art. 15(1).

use std::collections::BTreeMap;

use acequia_custody::rights::{Event, Happened, Right};
use acequia_custody::{ConsentEvent, ConsentKind, Party, Purpose, Purposes, Reason};
use acequia_types::{DonorId, Timestamp, thousands};
use serde::Serialize;

use crate::desk::{Desk, DeskError};
use crate::report::{HeldVersion, Told};
use crate::texts::Texts;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Happening {
    /// When; of what is known by the day only, the start of the day.
    pub at: Timestamp,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "happened")]
pub enum What {
    /// A file came in.
    Given {
        /// Its format.
        format: String,
        /// Its length.
        bytes: u64,
        /// Whether it could be read.
        readable: bool,
    },
    /// Somebody decided.
    Decided {
        /// What.
        act: ConsentEvent,
    },
    /// The record was opened, or was to be opened and stayed closed, on this day.
    Opened {
        /// For what; nothing when it was handed back to the donor.
        #[serde(skip_serializing_if = "Option::is_none")]
        purpose: Option<Purpose>,
        /// The data set, training or request it was for.
        reason: String,
        /// How often that day.
        times: u64,
        /// Why it stayed closed.
        #[serde(skip_serializing_if = "Option::is_none")]
        refused: Option<Reason>,
    },
    /// A version with the donor in it was published.
    Published {
        /// Which.
        version: HeldVersion,
    },
    /// A version with the donor in it is not served any more.
    TakenDown {
        /// Which.
        version: HeldVersion,
    },
    /// A recipient was told.
    Told {
        /// Who, about what.
        notice: Told,
    },
    /// A request came in, or something happened to it.
    Request {
        /// Its number.
        number: u64,
        /// For what.
        right: Right,
        /// What happened.
        event: Event,
    },
    /// Something happened to the account on the node's pages: `signed-in`, `passkey-added` and others.
    Account {
        /// What.
        event: String,
        /// Who did it.
        by: String,
    },
}

impl Desk {
    /// What happened to a donor's data, newest first.
    ///
    /// # Errors
    /// [`DeskError::NoDonor`] when the donor is not known.
    pub async fn timeline(&self, donor: &DonorId, now: Timestamp) -> Result<Vec<Happening>, DeskError> {
        let mut all = self.acts(donor, now).await?;
        if self.store.consent(donor).await?.is_some() {
            let report = self.withdrawal(donor, &self.policy, now).await?;
            let start = |day: acequia_types::Day| acequia_types::parse_timestamp(&day.to_string()).unwrap_or(now);
            for version in report.versions {
                if let Some(day) = version.taken_down_on {
                    all.push(Happening { at: start(day), what: What::TakenDown { version: version.clone() } });
                }
                all.push(Happening { at: start(version.published_on), what: What::Published { version } });
            }
            all.extend(
                report.told.into_iter().map(|notice| Happening { at: start(notice.on), what: What::Told { notice } }),
            );
        }
        all.sort_by_key(|happening| std::cmp::Reverse(happening.at));
        Ok(all)
    }

    /// The same without versions and recipients, for which every version is gone through: what came in, was decided, opened and asked
    /// for.
    ///
    /// # Errors
    /// [`DeskError::NoDonor`] when the donor is not known.
    pub async fn acts(&self, donor: &DonorId, now: Timestamp) -> Result<Vec<Happening>, DeskError> {
        let subject = self.store.subject(donor).await?.ok_or(DeskError::NoDonor)?;
        let mut all = Vec::new();
        for donation in self.donations(donor).await? {
            let readable = donation.state == acequia_store::State::Accepted;
            let what = What::Given { format: donation.format, bytes: donation.bytes, readable };
            all.push(Happening { at: donation.received_at, what });
        }
        if let Some(history) = self.store.consent(donor).await? {
            all.extend(history.events().map(|act| Happening { at: act.at, what: What::Decided { act: act.clone() } }));
        }
        // A run opens a record at every step; what is told is the day, for what, and how often.
        let mut opened: BTreeMap<_, (Timestamp, u64)> = BTreeMap::new();
        for (entry, access) in self.store.accesses(Some(&subject)).await? {
            let key = (entry.at.day(), access.purpose, access.reason, access.refused);
            let (_, times) = opened.entry(key).or_insert((entry.at, 0));
            *times += 1;
        }
        all.extend(opened.into_iter().map(|((_, purpose, reason, refused), (at, times))| Happening {
            at,
            what: What::Opened { purpose, reason, times, refused },
        }));
        for case in self.cases_of(&subject, now).await? {
            let (number, right) = (case.number, case.request.right);
            all.extend(
                case.events
                    .into_iter()
                    .map(|Happened { at, event }| Happening { at, what: What::Request { number, right, event } }),
            );
        }
        for entry in self.store.entries_about("account", &subject).await? {
            let word = |key: &str| entry.entry[key].as_str().unwrap_or_default().to_owned();
            all.push(Happening { at: entry.at, what: What::Account { event: word("event"), by: word("by") } });
        }
        all.sort_by_key(|happening| std::cmp::Reverse(happening.at));
        Ok(all)
    }
}

/// The key of the text for a decision or a reason of the evaluator: `stands-permitted` and others.
pub fn stands(state: &str) -> String {
    let known = ["permitted", "cooling-off", "not-asked", "refused", "withdrawn", "expired", "restricted", "objected"];
    let word = match state {
        "unknown" => "not-asked",
        "invalidated" => "withdrawn",
        state if known.contains(&state) => state,
        _ => "closed",
    };
    format!("stands-{word}")
}

fn listed(texts: &Texts, purposes: Purposes) -> String {
    let words: Vec<String> = purposes.iter().map(|purpose| texts.say(&format!("purpose-{purpose}"))).collect();
    words.join("; ")
}

fn by(texts: &Texts, party: Party) -> String {
    match party {
        Party::Donor => String::new(),
        Party::Representative => format!(" ({})", texts.say("by-representative")),
        Party::Institution => format!(" ({})", texts.say("by-institution")),
        Party::Desk => format!(" ({})", texts.say("by-desk")),
    }
}

impl Happening {
    /// It in words.
    pub fn say(&self, texts: &Texts) -> String {
        match &self.what {
            What::Given { format, bytes, readable } => {
                let key = if *readable { "line-given" } else { "line-unreadable" };
                texts.say_with(key, &[("format", format), ("size", &thousands(bytes.div_ceil(1024)))])
            }
            What::Decided { act } => {
                let said = match &act.kind {
                    ConsentKind::Give { purposes, .. } => {
                        texts.say_with("line-gave", &[("purposes", &listed(texts, *purposes))])
                    }
                    ConsentKind::Refuse { purposes } => {
                        texts.say_with("line-refused", &[("purposes", &listed(texts, *purposes))])
                    }
                    ConsentKind::Withdraw { level } => {
                        texts.say_with("line-withdrew", &[("level", &texts.say(&format!("level-{}", level.as_str())))])
                    }
                    ConsentKind::Object { purposes } => {
                        texts.say_with("line-objected", &[("purposes", &listed(texts, *purposes))])
                    }
                    ConsentKind::InstitutionPermits { purposes, .. } => {
                        texts.say_with("line-permits", &[("purposes", &listed(texts, *purposes))])
                    }
                    ConsentKind::Restrict => texts.say("line-restricted"),
                    ConsentKind::LiftRestriction => texts.say("line-unrestricted"),
                    ConsentKind::OrderErasure => texts.say("line-erasure"),
                    ConsentKind::InstitutionEnds => texts.say("line-permission-ended"),
                    ConsentKind::OptOut => texts.say("line-opted-out"),
                    _ => texts.say("line-other-act"),
                };
                format!("{said}{}", by(texts, act.by))
            }
            What::Opened { purpose: None, reason, .. } => texts.say_with("line-handed", &[("reason", reason)]),
            What::Opened { purpose: Some(purpose), reason, refused, times } => {
                let purpose = texts.say(&format!("purpose-{purpose}"));
                match refused {
                    Some(refused) => {
                        let why = texts.say(&stands(Reason::as_str(*refused)));
                        texts
                            .say_with("line-stayed-closed", &[("purpose", &purpose), ("reason", reason), ("why", &why)])
                    }
                    None => {
                        let said = texts.say_with("line-opened", &[("purpose", &purpose), ("reason", reason)]);
                        if *times > 1 { format!("{said} {}", texts.count("line-times", *times)) } else { said }
                    }
                }
            }
            What::Published { version } => {
                let key = if version.known { "line-published" } else { "line-perhaps-published" };
                texts.say_with(key, &[("dataset", &version.dataset), ("version", &version.version)])
            }
            What::TakenDown { version } => {
                texts.say_with("line-taken-down", &[("dataset", &version.dataset), ("version", &version.version)])
            }
            What::Told { notice } => {
                let key = if notice.confirmed { "line-told-confirmed" } else { "line-told" };
                texts.say_with(key, &[("recipient", &notice.recipient), ("dataset", &notice.dataset)])
            }
            What::Request { number, right, event } => {
                let key = match event {
                    Event::Received { .. } => "line-asked",
                    Event::Closed => "line-answered",
                    Event::Refused { .. } => "line-request-refused",
                    Event::TakenBack => "line-taken-back",
                    _ => "line-request",
                };
                texts.say_with(key, &[("number", &number.to_string()), ("right", &texts.say(right.as_str()))])
            }
            What::Account { event, .. } => {
                let known = [
                    "invited",
                    "invitation-asked",
                    "signed-in",
                    "passkey-added",
                    "passkey-removed",
                    "passkey-copied",
                    "recovered",
                    "closed",
                ];
                let word = if known.contains(&event.as_str()) { event.as_str() } else { "other" };
                texts.say(&format!("line-account-{word}"))
            }
        }
    }
}
