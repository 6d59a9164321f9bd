//! What an institution sees of the records it gave, and what it permits with them.
//!
//! Source: reference design §3.3 (the institution's layer); DGA Art. 20 for what is kept about holders of data.

use std::collections::{BTreeMap, BTreeSet};

use acequia_custody::{ConsentEvent, ConsentKind, Party, Purpose, Purposes};
use acequia_store::State;
use acequia_types::{Clock, Day, DonorId, SourceId, Timestamp};
use serde::Serialize;

use crate::desk::{Desk, DeskError};

/// What an institution gave, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Source {
    /// Which.
    pub source: SourceId,
    /// How many people's records it gave.
    pub donors: u64,
    /// What came in, by day, newest first.
    pub batches: Vec<Batch>,
    /// For how many of the people the institution permits a purpose now.
    pub permitted: BTreeMap<Purpose, u64>,
    /// For how many of them it permits something, but the last day has passed, or it ended the permission.
    pub ended: u64,
    /// For how many of them it never said anything.
    pub unsaid: u64,
    /// The last day of the permissions that end first.
    pub permitted_until: Option<Day>,
    /// Published versions that hold people from this source, oldest first.
    pub versions: Vec<HeldPeople>,
}

/// What came in on one day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Batch {
    /// Which day.
    pub day: Day,
    /// How many files.
    pub files: u64,
    /// Their length.
    pub bytes: u64,
    /// Records read from those that could be read.
    pub records: u64,
    /// Problems found in them by code.
    pub problems: BTreeMap<String, u64>,
    /// Files set aside, by code.
    pub quarantined: BTreeMap<String, u64>,
}

/// A published version with people from the source in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HeldPeople {
    /// `namespace/name`.
    pub dataset: String,
    /// Version.
    pub version: String,
    /// When it was published.
    pub published_on: Day,
    /// How many of the people are in it; `None` where that is not known.
    pub people: Option<u64>,
    /// Whether it is still served.
    pub served: bool,
}

/// People whose consent is written in one transaction.
const AT_ONCE: usize = 250;

impl Desk {
    /// What an institution gave, and what became of it.
    ///
    /// # Errors
    /// [`DeskError::Store`], [`DeskError::Vault`].
    pub async fn source(&self, source: &SourceId, now: Timestamp) -> Result<Source, DeskError> {
        let donations = self.store.donations_from(source).await?;
        let donors: BTreeSet<&DonorId> = donations.iter().map(|donation| &donation.donor).collect();
        let mut batches: BTreeMap<Day, Batch> = BTreeMap::new();
        for donation in &donations {
            let day = donation.received_at.day();
            let batch = batches.entry(day).or_insert_with(|| Batch {
                day,
                files: 0,
                bytes: 0,
                records: 0,
                problems: BTreeMap::new(),
                quarantined: BTreeMap::new(),
            });
            batch.files += 1;
            batch.bytes += donation.bytes;
            match &donation.state {
                State::Quarantined { code } => *batch.quarantined.entry(code.clone()).or_default() += 1,
                State::Accepted => {
                    batch.records += donation.detail["items"].as_u64().unwrap_or_default();
                    for (code, count) in donation.detail["problems"].as_object().into_iter().flatten() {
                        *batch.problems.entry(code.clone()).or_default() += count.as_u64().unwrap_or_default();
                    }
                }
            }
        }
        let histories = self.store.consents().await?;
        let (mut permitted, mut ended, mut unsaid, mut permitted_until) = (BTreeMap::new(), 0, 0, None::<Day>);
        for donor in &donors {
            let mut said: Option<(Purposes, Option<Day>)> = None;
            let events = histories.get(*donor).map(|history| history.events().collect()).unwrap_or_else(Vec::new);
            for event in events.into_iter().filter(|event| event.at <= now) {
                match &event.kind {
                    ConsentKind::InstitutionPermits { purposes, expires_on } if event.by == Party::Institution => {
                        said = Some((*purposes, *expires_on));
                    }
                    ConsentKind::InstitutionEnds => said = Some((Purposes::NONE, None)),
                    _ => {}
                }
            }
            match said {
                None => unsaid += 1,
                Some((purposes, last)) if purposes.is_empty() || last.is_some_and(|last| last < now.day()) => {
                    ended += 1
                }
                Some((purposes, last)) => {
                    for purpose in purposes.iter() {
                        *permitted.entry(purpose).or_default() += 1;
                    }
                    permitted_until = [permitted_until, last].into_iter().flatten().min();
                }
            }
        }
        let names = self.store.subjects().await?;
        let subjects: BTreeSet<&String> = donors.iter().filter_map(|donor| names.get(*donor)).collect();
        let stones = self.store.tombstones().await?;
        let first = donations.iter().map(|donation| donation.received_at).min();
        let mut versions = Vec::new();
        for release in self.store.releases().await? {
            let people = match self.vault.subjects_of(&release)? {
                Some(held) => Some(held.iter().filter(|subject| subjects.contains(subject)).count() as u64),
                None if first.is_some_and(|first| first <= release.published_at) => None,
                None => Some(0),
            };
            if people != Some(0) {
                versions.push(HeldPeople {
                    served: !stones.iter().any(|(_, stone)| stone.is_of(&release.dataset, &release.version)),
                    dataset: release.dataset.to_string(),
                    version: release.version,
                    published_on: release.published_at.day(),
                    people,
                });
            }
        }
        let (batches, donors) = (batches.into_values().rev().collect(), donors.len() as u64);
        Ok(Source { source: source.clone(), donors, batches, permitted, ended, unsaid, permitted_until, versions })
    }

    /// Records that an institution permits these purposes, and no others, with the records it gave, perhaps until a day; no
    /// purpose ends its permission. Nobody's own consent is widened by it, and what another institution decided about a person is not
    /// either: a permission counts for people whose records all come from this source, an end for everybody. Returns for how
    /// many people. People are written down some hundred at a time, so that others get their turn; what was interrupted is done by asking again.
    ///
    /// # Errors
    /// [`DeskError::Store`].
    pub async fn institution_permits(
        &self,
        source: &SourceId,
        purposes: Purposes,
        expires_on: Option<Day>,
        clock: &dyn Clock,
    ) -> Result<u64, DeskError> {
        let donations = self.store.donations_from(source).await?;
        let mut donors: BTreeSet<DonorId> = donations.into_iter().map(|donation| donation.donor).collect();
        let kind = match purposes.is_empty() {
            true => ConsentKind::InstitutionEnds,
            false => {
                let elsewhere = self.store.donors_beside(source).await?;
                donors.retain(|donor| !elsewhere.contains(donor));
                ConsentKind::InstitutionPermits { purposes, expires_on }
            }
        };
        let now = clock.now();
        let event = ConsentEvent::new(now, kind).by(Party::Institution);
        let all: Vec<&DonorId> = donors.iter().collect();
        for some in all.chunks(AT_ONCE) {
            self.store.append_consent_of_all(some, &event, now).await?;
        }
        Ok(donors.len() as u64)
    }
}
