//! What was heard of a member's list so far, and whether what it says next can be believed.

use std::collections::BTreeMap;

use acequia_gate::{Artefact, ExitSeal, OriginGate};
use acequia_types::{DatasetName, Digest, Timestamp};

use super::{ENTRIES_MAX, Entry, PAGE_ENTRIES_MAX, Page, beginning, is_version, next};
use crate::error::NetError;
use crate::identity::MemberKey;

/// Seconds that clocks of members may differ by.
const CLOCKS_S: i64 = 24 * 60 * 60;
/// Letters of a class of reasons.
const REASON_MAX: usize = 32;

/// A version that a member published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownVersion {
    /// What it holds.
    pub artefact: Artefact,
    /// `namespace/name`.
    pub dataset: DatasetName,
    /// Version.
    pub version: String,
    /// Digest of its manifest.
    pub manifest: Digest,
    /// Seal of the member's gate over the manifest.
    pub seal: ExitSeal,
    /// When it was published there.
    pub published_at: Timestamp,
    /// That it is not served any more.
    pub taken_down: Option<TakenDownThere>,
}

/// That a version is not served any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakenDownThere {
    /// Since when.
    pub at: Timestamp,
    /// Why: a class of reasons, in a word.
    pub reason: String,
    /// The version in its place.
    pub successor: Option<String>,
}

/// What a member's list says, as far as it was heard.
#[derive(Debug, Clone)]
pub struct Heard {
    name: String,
    key: MemberKey,
    gate: Option<Gate>,
    count: u64,
    head: Digest,
    /// In the order in which they were published.
    versions: Vec<KnownVersion>,
    places: BTreeMap<(String, String), usize>,
}

#[derive(Debug, Clone)]
struct Gate {
    key: String,
    said: String,
    origin: OriginGate,
}

impl Heard {
    /// Nothing yet of the member with this name and key.
    pub fn nothing_of(name: &str, key: MemberKey) -> Self {
        let (gate, versions, places) = (None, Vec::new(), BTreeMap::new());
        Self { name: name.to_owned(), key, gate, count: 0, head: beginning(), versions, places }
    }

    /// Entries that were heard.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Versions in the order in which they were published.
    pub fn versions(&self) -> &[KnownVersion] {
        &self.versions
    }

    /// A version.
    pub fn version(&self, dataset: &DatasetName, version: &str) -> Option<&KnownVersion> {
        self.places.get(&(dataset.to_string(), version.to_owned())).map(|place| &self.versions[*place])
    }

    /// The member's gate, once something was heard.
    pub fn gate(&self) -> Option<&OriginGate> {
        self.gate.as_ref().map(|gate| &gate.origin)
    }

    /// The gate's key, and its word that it is this member's.
    pub fn bound(&self) -> Option<(&str, &str)> {
        self.gate.as_ref().map(|gate| (gate.key.as_str(), gate.said.as_str()))
    }

    /// Takes a page that the member just told; nothing of it if anything in it cannot be. `now` bounds its dates.
    ///
    /// # Errors
    /// [`NetError::Contradiction`].
    pub fn take(&mut self, page: &Page, now: Timestamp) -> Result<(), NetError> {
        let latest = Timestamp::from_unix_s(now.unix_s().saturating_add(CLOCKS_S));
        let mut after = self.clone();
        after.add(page, Some(latest)).map_err(|reason| self.contradiction(reason))?;
        *self = after;
        Ok(())
    }

    /// Takes a page that was taken before, as this node kept it. Seals are checked again where a version is let in.
    ///
    /// # Errors
    /// [`NetError::Contradiction`].
    pub fn replay(&mut self, page: &Page) -> Result<(), NetError> {
        self.add(page, None).map_err(|reason| self.contradiction(reason))
    }

    fn contradiction(&self, reason: &'static str) -> NetError {
        NetError::Contradiction { member: self.name.clone(), reason }
    }

    /// `latest` is there for what is told just now, whose signatures are checked.
    fn add(&mut self, page: &Page, latest: Option<Timestamp>) -> Result<(), &'static str> {
        let statement = &page.statement;
        if latest.is_some() && !statement.is_signed(&self.key) {
            return Err("it is not signed with the member's key");
        }
        if self.gate.as_ref().is_some_and(|gate| gate.key != statement.gate) {
            return Err("its gate has another key than before");
        }
        if page.of < self.count || statement.entries < self.count {
            return Err("it has fewer entries than before");
        }
        if page.since != self.count
            || page.entries.len() > PAGE_ENTRIES_MAX
            || self.count.checked_add(page.entries()) != Some(statement.entries)
            || statement.entries > page.of
            || (page.is_followed() && page.entries.len() < PAGE_ENTRIES_MAX)
        {
            return Err("its entries do not add up");
        }
        if page.of > ENTRIES_MAX {
            return Err("it is too long");
        }
        let origin = match &self.gate {
            Some(gate) => gate.origin.clone(),
            None => {
                let origin = OriginGate::of_member(&statement.gate, self.key.0.as_bytes(), &statement.said);
                origin.ok_or("its gate does not say that it is this member's")?
            }
        };
        for entry in &page.entries {
            self.head = next(&self.head, entry);
            self.enter(entry, latest.map(|latest| (&origin, latest)))?;
        }
        // Also without a new entry: so it shows when an old one changed.
        if self.head != statement.head {
            return Err("it changed entries that it told before");
        }
        self.count = statement.entries;
        let (key, said) = (statement.gate.clone(), statement.said.clone());
        self.gate.get_or_insert(Gate { key, said, origin });
        Ok(())
    }

    fn enter(&mut self, entry: &Entry, checked: Option<(&OriginGate, Timestamp)>) -> Result<(), &'static str> {
        let (dataset, version) = entry.of();
        let name = (dataset.to_string(), version.to_owned());
        let possible = |at: Timestamp| at.unix_s() >= 0 && checked.is_none_or(|(_, latest)| at <= latest);
        match entry {
            Entry::Published { artefact, dataset, version, manifest, seal, published_at } => {
                if !is_version(version) {
                    return Err("a version has a number that is none");
                }
                if !possible(*published_at) {
                    return Err("a version was published in the future");
                }
                if checked.is_some_and(|(gate, _)| !gate.sealed(manifest, seal)) {
                    return Err("a version does not carry the seal of its gate");
                }
                if self.places.insert(name, self.versions.len()).is_some() {
                    return Err("a version was published twice");
                }
                self.versions.push(KnownVersion {
                    artefact: *artefact,
                    dataset: dataset.clone(),
                    version: version.clone(),
                    manifest: *manifest,
                    seal: seal.clone(),
                    published_at: *published_at,
                    taken_down: None,
                });
            }
            Entry::TakenDown { reason, successor, at, .. } => {
                let place = self.places.get(&name).ok_or("a version was taken down that never was published")?;
                let word = |letter: char| letter.is_ascii_lowercase() || letter == '-';
                if reason.is_empty() || reason.len() > REASON_MAX || !reason.chars().all(word) {
                    return Err("a version was taken down for a reason that is none");
                }
                if !possible(*at) || successor.as_deref().is_some_and(|next| !is_version(next)) {
                    return Err("a version was taken down in the future, or for one with a number that is none");
                }
                let down = TakenDownThere { at: *at, reason: reason.clone(), successor: successor.clone() };
                if self.versions[*place].taken_down.replace(down).is_some() {
                    return Err("a version was taken down twice");
                }
            }
        }
        Ok(())
    }
}

/// Takes any page, as what was told and as what was kept; for the fuzz target.
pub(crate) fn take_anything(page: &Page) {
    let key = acequia_types::digest_named("a key for the fuzz target", []);
    let secret = iroh::SecretKey::from_bytes(key.as_bytes());
    let mut heard = Heard::nothing_of("somebody", MemberKey(secret.public()));
    let _ = heard.take(page, Timestamp::from_unix_s(0));
    let _ = heard.replay(page);
}
