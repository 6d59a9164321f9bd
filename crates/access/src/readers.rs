//! What readers promised and asked for, and what the trustee decided. Each reader has a journal of the store, which only grows.
//!
//! Who a reader is follows from issuer and subject of the institutional login by a keyed digest, so the journal names nobody; what somebody
//! writes into a request is sealed. Promises and grants are about one name under exactly one set of terms: new terms need new ones.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use acequia_blobs::{Key, open, seal};
use acequia_custody::{Conditions, Country, DataClass, DuoTerm, Facts, Reason, Tier};
use acequia_gate::Artefact;
use acequia_hub::PublishedVersion;
use acequia_hub::wire::plural;
use acequia_store::{Entry, Store, StoreError};
use acequia_types::{Clock, DatasetName, Digest, Timestamp, digest_named};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::AccessError;

/// What the streams of readers begin with.
const READERS: &str = "access/reader/";
/// Requests of one reader that nobody decided yet.
const MOST_OPEN: usize = 20;
/// Entries of one reader: who comes to it presses buttons for their own sake.
const MOST_ENTRIES: u64 = 10_000;
/// Digits of a reader in the name of a request.
const SHORT: usize = 12;
const KIND: &str = "access";

/// Who reads, as the node's records have it: says neither who nor where.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct ReaderId(String);

impl ReaderId {
    pub(crate) fn of(key: &[u8; 32], issuer: &str, subject: &str) -> Self {
        let parts: [(&str, &[u8]); 3] = [("key", key), ("issuer", issuer.as_bytes()), ("subject", subject.as_bytes())];
        Self(digest_named("acequia reader v1", parts).short(32))
    }

    /// Of the digits that a token or a stream has.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let digits = text.len() == 32 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        digits.then(|| Self(text.to_owned()))
    }

    /// 32 hex digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn stream(&self) -> String {
        format!("{READERS}{}", self.0)
    }
}

/// What a promise, a request or a grant is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// What it is.
    pub artefact: Artefact,
    /// `namespace/name`.
    pub name: DatasetName,
    /// The version whose page it was.
    pub version: String,
    /// Digest of the terms, which other versions may share.
    pub terms: Digest,
}

/// What stands for terms in promises and grants.
pub(crate) fn digest_of(terms: &Conditions) -> Digest {
    // Sets are in order, so the same terms are the same bytes.
    Digest::of(&serde_json::to_vec(terms).unwrap_or_default())
}

impl About {
    pub(crate) fn of(version: &PublishedVersion) -> Self {
        let manifest = version.manifest();
        Self {
            artefact: manifest.artefact,
            name: manifest.dataset.clone(),
            version: manifest.version.clone(),
            terms: digest_of(&manifest.terms),
        }
    }

    /// Whether it is about this version too.
    fn covers(&self, version: &PublishedVersion) -> bool {
        let manifest = version.manifest();
        self.artefact == manifest.artefact && self.name == manifest.dataset && self.terms == digest_of(&manifest.terms)
    }
}

/// What somebody writes who asks for access. Sealed in the records.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Words {
    /// Name of the person.
    pub name: String,
    /// Where the person works, as the login says, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affiliation: Option<String>,
    /// How the trustee reaches the person.
    pub contact: String,
    /// What the project is called.
    pub project: String,
    /// What the rows are needed for.
    pub statement: String,
    /// Where the work is done.
    pub institution: String,
    /// In which country.
    pub country: Country,
    /// Reference of the ethics committee's approval, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ethics: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
enum Event {
    Promised { about: About, terms: BTreeSet<DuoTerm> },
    Asked { about: About, sealed: String },
    Granted { request: u64, until: Timestamp, by: String },
    Refused { request: u64, reason: String, by: String },
    Revoked { request: u64, reason: String, by: String },
    TakenBack { promise: u64, reason: String, by: String },
    GivenBack { promise: u64, by: String },
}

/// That the trustee does not let somebody's promise count any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TakenBack {
    /// When it was.
    pub at: Timestamp,
    /// Why; she reads it.
    pub reason: String,
    /// By whom.
    pub by: String,
}

/// How a request stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Outcome {
    /// Nobody decided yet.
    Asked,
    /// Granted, until then.
    Granted {
        /// When it was.
        at: Timestamp,
        /// Until when it counts.
        until: Timestamp,
        /// By whom.
        by: String,
    },
    /// Refused.
    Refused {
        /// When it was.
        at: Timestamp,
        /// Why.
        reason: String,
        /// By whom.
        by: String,
    },
    /// Granted first, and taken back since.
    Revoked {
        /// When it was.
        at: Timestamp,
        /// Why.
        reason: String,
        /// By whom.
        by: String,
    },
}

/// A request as it stands.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) number: u64,
    pub(crate) at: Timestamp,
    pub(crate) about: About,
    pub(crate) outcome: Outcome,
    sealed: String,
}

#[derive(Debug, Clone)]
struct Promise {
    number: u64,
    at: Timestamp,
    about: About,
    terms: BTreeSet<DuoTerm>,
    taken_back: Option<TakenBack>,
}

/// What a reader's journal says.
#[derive(Debug, Clone, Default)]
pub(crate) struct Record {
    last: u64,
    promises: Vec<Promise>,
    requests: Vec<Request>,
}

impl Record {
    fn apply(&mut self, entry: &Entry) -> Result<(), StoreError> {
        let event = Event::deserialize(&entry.entry).map_err(|_| StoreError::Record { kind: KIND })?;
        let decided = |requests: &mut Vec<Request>, number: u64, outcome: Outcome| {
            if let Some(request) = requests.iter_mut().find(|request| request.number == number) {
                request.outcome = outcome;
            }
        };
        let at = entry.at;
        match event {
            Event::Promised { about, terms } => {
                self.promises.push(Promise { number: entry.number, at, about, terms, taken_back: None });
            }
            Event::TakenBack { promise, reason, by } => {
                if let Some(promise) = self.promises.iter_mut().find(|own| own.number == promise) {
                    promise.taken_back = Some(TakenBack { at, reason, by });
                }
            }
            Event::GivenBack { promise, .. } => {
                if let Some(promise) = self.promises.iter_mut().find(|own| own.number == promise) {
                    promise.taken_back = None;
                }
            }
            Event::Asked { about, sealed } => {
                let number = entry.number;
                self.requests.push(Request { number, at, about, outcome: Outcome::Asked, sealed });
            }
            Event::Granted { request, until, by } => {
                decided(&mut self.requests, request, Outcome::Granted { at, until, by });
            }
            Event::Refused { request, reason, by } => {
                decided(&mut self.requests, request, Outcome::Refused { at, reason, by });
            }
            Event::Revoked { request, reason, by } => {
                decided(&mut self.requests, request, Outcome::Revoked { at, reason, by });
            }
        }
        self.last = entry.number;
        Ok(())
    }

    fn of(entries: &[Entry]) -> Result<Self, StoreError> {
        let mut record = Self::default();
        entries.iter().try_for_each(|entry| record.apply(entry))?;
        Ok(record)
    }

    /// When the reader promised what this version asks for; `None` when she did not.
    pub(crate) fn promised(&self, version: &PublishedVersion) -> Option<Timestamp> {
        // Of two that were made at once, one taken back closes both.
        if self.taken_back(version).is_some() {
            return None;
        }
        let counts = |promise: &&Promise| promise.about.covers(version);
        let counted = self.promises.iter().filter(counts);
        counted.into_iter().find(|promise| kept(version, &promise.terms)).map(|promise| promise.at)
    }

    /// That her promise of what this version asks for was taken back: she makes no other one for it.
    pub(crate) fn taken_back(&self, version: &PublishedVersion) -> Option<&TakenBack> {
        let about = self.promises.iter().filter(|promise| promise.about.covers(version));
        about.filter_map(|promise| promise.taken_back.as_ref()).next_back()
    }

    /// Until when the reader was granted this version.
    pub(crate) fn granted(&self, version: &PublishedVersion, now: Timestamp) -> Option<Timestamp> {
        let until = |request: &Request| match &request.outcome {
            Outcome::Granted { until, .. } if now <= *until && request.about.covers(version) => Some(*until),
            _ => None,
        };
        self.requests.iter().filter_map(until).max()
    }

    /// What she asked for about this version, newest last.
    pub(crate) fn asked<'r>(&'r self, version: &'r PublishedVersion) -> impl Iterator<Item = &'r Request> {
        self.requests.iter().filter(move |request| request.about.covers(version))
    }

    pub(crate) fn requests(&self) -> &[Request] {
        &self.requests
    }

    /// Names that she promised for or asked for, each once.
    pub(crate) fn names(&self) -> Vec<(Artefact, &DatasetName)> {
        let promised = self.promises.iter().map(|promise| &promise.about);
        let mut all: Vec<_> = promised
            .chain(self.requests.iter().map(|request| &request.about))
            .map(|about| (about.artefact, &about.name))
            .collect();
        all.sort_by_key(|(artefact, name)| (plural(*artefact), name.to_string()));
        all.dedup();
        all
    }

    /// Whether the rows of this version are open to her.
    pub(crate) fn admits(&self, version: &PublishedVersion, now: Timestamp) -> bool {
        match version.manifest().terms.tier() {
            Tier::Open => true,
            Tier::Registered => self.promised(version).is_some() || self.granted_for(version, now),
            Tier::Controlled => self.granted_for(version, now),
        }
    }

    fn granted_for(&self, version: &PublishedVersion, now: Timestamp) -> bool {
        self.granted(version, now).is_some() && decidable(&version.manifest().terms)
    }
}

/// Whether who keeps these terms keeps all that a version asks of everybody who may promise for herself.
pub(crate) fn kept(version: &PublishedVersion, terms: &BTreeSet<DuoTerm>) -> bool {
    let asked = &version.manifest().terms;
    let kept = Conditions { duo: terms.intersection(&asked.duo).copied().collect(), ..asked.clone() };
    judged(asked, kept).next().is_none()
}

/// Whether people can grant these terms: who is held to them all meets them, but for what only people can judge, and they did.
pub(crate) fn decidable(terms: &Conditions) -> bool {
    judged(terms, terms.clone()).all(|reason| reason == Reason::AskResearchSpecific)
}

fn judged(asked: &Conditions, kept: Conditions) -> impl Iterator<Item = Reason> {
    let facts = Facts { terms: kept, ..Facts::default() };
    let reasons = asked.judge(&facts, DataClass::Structured, None);
    reasons.iter().collect::<Vec<_>>().into_iter()
}

/// A request in a list of the trustee.
#[derive(Debug, Clone, Serialize)]
pub struct RequestLine {
    /// Name of the request.
    pub request: String,
    /// `datasets/namespace/name` or `models/namespace/name`.
    pub about: String,
    /// The version whose terms it is about.
    pub version: String,
    /// When it was sent.
    pub at: Timestamp,
    /// How it stands.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// Whether a grant ran out.
    pub ended: bool,
}

/// A promise in a list of the trustee.
#[derive(Debug, Clone, Serialize)]
pub struct PromiseLine {
    /// Name of the promise.
    pub promise: String,
    /// `datasets/namespace/name` or `models/namespace/name`.
    pub about: String,
    /// The version whose terms it is about.
    pub version: String,
    /// When it was made.
    pub at: Timestamp,
    /// What was promised.
    pub terms: BTreeSet<DuoTerm>,
    /// That it does not count any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub taken_back: Option<TakenBack>,
}

/// A request with what was written.
#[derive(Debug, Clone, Serialize)]
pub struct RequestShown {
    /// How it stands.
    #[serde(flatten)]
    pub line: RequestLine,
    /// Who asks, as the node knows her.
    pub reader: ReaderId,
    /// Digest of the terms.
    pub terms: Digest,
    /// What was written.
    pub words: Words,
}

/// What the trustee decides about a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// The rows are open to her until then.
    Grant {
        /// When it ends.
        until: Timestamp,
    },
    /// They are not.
    Refuse {
        /// Why; she reads it.
        reason: String,
    },
    /// They are not any more.
    Revoke {
        /// Why; she reads it.
        reason: String,
    },
}

/// The readers of a node.
pub struct Readers {
    store: Store,
    clock: Arc<dyn Clock>,
    /// Who a reader is.
    naming: [u8; 32],
    /// Seals what readers write.
    sealing: Key,
    known: Mutex<HashMap<String, Arc<Record>>>,
}

/// Readers whose records are kept in mind.
const MOST_KNOWN: usize = 10_000;

impl Readers {
    /// The readers in a node's records; `root` is a secret of the node for this.
    pub fn new(store: Store, clock: Arc<dyn Clock>, root: [u8; 32]) -> Self {
        let root = Key::from_bytes(root);
        let naming = *root.derive("acequia 2026 reader naming key v1").as_bytes();
        let sealing = root.derive("acequia 2026 access request key v1");
        Self { store, clock, naming, sealing, known: Mutex::default() }
    }

    /// The reader whom the login knows by this name.
    pub fn id_of(&self, issuer: &str, subject: &str) -> ReaderId {
        ReaderId::of(&self.naming, issuer, subject)
    }

    /// What a reader's journal says at this moment.
    pub(crate) async fn record(&self, reader: &ReaderId) -> Result<Arc<Record>, AccessError> {
        let stream = reader.stream();
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&stream).cloned();
        let last = known.as_ref().map_or(0, |record| record.last);
        let entries = self.store.entries_after(&stream, last).await?;
        if let (Some(known), true) = (&known, entries.is_empty()) {
            return Ok(Arc::clone(known));
        }
        let mut record = known.map_or_else(Record::default, Arc::unwrap_or_clone);
        entries.iter().try_for_each(|entry| record.apply(entry))?;
        let record = Arc::new(record);
        let mut all = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MOST_KNOWN {
            all.clear();
        }
        all.insert(stream, Arc::clone(&record));
        Ok(record)
    }

    async fn append(
        &self,
        reader: &ReaderId,
        most: u64,
        decide: impl FnOnce(&Record) -> Result<Event, AccessError>,
    ) -> Result<u64, AccessError> {
        let at = self.clock.now();
        let decide = |entries: &[Entry]| {
            if entries.len() as u64 >= most {
                return Err(AccessError::Form { what: "You asked for too much. Write to the trustee." });
            }
            let event = decide(&Record::of(entries)?)?;
            let entry: Value = serde_json::to_value(event).map_err(|_| StoreError::Record { kind: KIND })?;
            Ok(entry)
        };
        self.store.append_entry(&reader.stream(), at, None, decide).await
    }

    /// Records that a reader promises to keep these terms of a version.
    ///
    /// # Errors
    /// [`AccessError::Form`] when they are not all that she must promise, or people decide about the version.
    pub async fn promise(
        &self,
        reader: &ReaderId,
        version: &PublishedVersion,
        terms: BTreeSet<DuoTerm>,
    ) -> Result<(), AccessError> {
        if version.manifest().terms.tier() != Tier::Registered {
            return Err(AccessError::Form { what: "No promise opens this version." });
        }
        if !kept(version, &terms) {
            return Err(AccessError::Form { what: "Tick every box: who reads the rows keeps all of it." });
        }
        let about = About::of(version);
        // The same once more says nothing new.
        if self.record(reader).await?.promised(version).is_some() {
            return Ok(());
        }
        let decide = |record: &Record| match record.taken_back(version) {
            Some(_) => Err(AccessError::Form { what: "Your promise was taken back. Write to the trustee." }),
            None => Ok(Event::Promised { about, terms }),
        };
        self.append(reader, MOST_ENTRIES, decide).await?;
        Ok(())
    }

    /// Records that a reader asks for access to a version. Returns the name of the request.
    ///
    /// # Errors
    /// [`AccessError::Form`] when she asked already, or people decide nothing about the version.
    pub async fn ask(
        &self,
        reader: &ReaderId,
        version: &PublishedVersion,
        words: &Words,
    ) -> Result<String, AccessError> {
        if version.manifest().terms.tier() != Tier::Controlled {
            return Err(AccessError::Form { what: "Nobody decides about this version." });
        }
        let about = About::of(version);
        let plain = serde_json::to_vec(words).map_err(|_| StoreError::Record { kind: KIND })?;
        let sealed = seal(&self.sealing, reader.as_str().as_bytes(), &plain).map_err(|_| AccessError::Randomness)?;
        let (now, sealed) = (self.clock.now(), STANDARD.encode(sealed));
        let decide = |record: &Record| {
            let open = || record.requests.iter().filter(|request| request.outcome == Outcome::Asked);
            if record.asked(version).any(|request| request.outcome == Outcome::Asked) {
                return Err(AccessError::Form { what: "You asked already, and nobody decided yet." });
            }
            if record.granted(version, now).is_some() {
                return Err(AccessError::Form { what: "You have access already." });
            }
            if open().count() >= MOST_OPEN {
                return Err(AccessError::Form {
                    what: "Too many of your requests are open. Wait until some are decided.",
                });
            }
            Ok(Event::Asked { about, sealed })
        };
        let number = self.append(reader, MOST_ENTRIES, decide).await?;
        Ok(name_of(reader, number))
    }

    async fn readers(&self) -> Result<Vec<ReaderId>, AccessError> {
        let streams = self.store.streams(READERS).await?;
        Ok(streams.iter().filter_map(|stream| ReaderId::parse(stream.strip_prefix(READERS)?)).collect())
    }

    fn line(&self, reader: &ReaderId, request: &Request) -> RequestLine {
        let now = self.clock.now();
        RequestLine {
            request: name_of(reader, request.number),
            about: format!("{}/{}", plural(request.about.artefact), request.about.name),
            version: request.about.version.clone(),
            at: request.at,
            outcome: request.outcome.clone(),
            ended: matches!(&request.outcome, Outcome::Granted { until, .. } if now > *until),
        }
    }

    /// Every request, oldest first.
    ///
    /// # Errors
    /// Errors of the records.
    pub async fn list(&self) -> Result<Vec<RequestLine>, AccessError> {
        let mut lines = Vec::new();
        for reader in self.readers().await? {
            let record = self.record(&reader).await?;
            lines.extend(record.requests.iter().map(|request| self.line(&reader, request)));
        }
        lines.sort_by(|a, b| (a.at, &a.request).cmp(&(b.at, &b.request)));
        Ok(lines)
    }

    fn promise_line(reader: &ReaderId, promise: &Promise) -> PromiseLine {
        PromiseLine {
            promise: name_of(reader, promise.number),
            about: format!("{}/{}", plural(promise.about.artefact), promise.about.name),
            version: promise.about.version.clone(),
            at: promise.at,
            terms: promise.terms.clone(),
            taken_back: promise.taken_back.clone(),
        }
    }

    /// Every promise, oldest first.
    ///
    /// # Errors
    /// Errors of the records.
    pub async fn promises(&self) -> Result<Vec<PromiseLine>, AccessError> {
        let mut lines = Vec::new();
        for reader in self.readers().await? {
            let record = self.record(&reader).await?;
            lines.extend(record.promises.iter().map(|promise| Self::promise_line(&reader, promise)));
        }
        lines.sort_by(|a, b| (a.at, &a.promise).cmp(&(b.at, &b.promise)));
        Ok(lines)
    }

    /// Takes a promise back, with a reason that the reader reads, or lets it count again, without one. It counts from her next question
    /// on. As long as it is taken back she can make no other one of the same terms.
    ///
    /// # Errors
    /// [`AccessError::NoPromise`]; [`AccessError::Decision`] when it does not fit how the promise stands.
    pub async fn decide_promise(
        &self,
        name: &str,
        taken_back_for: Option<&str>,
        by: &str,
    ) -> Result<PromiseLine, AccessError> {
        let (reader, number) = self.found(name).await.map_err(|error| match error {
            AccessError::NoRequest => AccessError::NoPromise,
            error => error,
        })?;
        let by = by.trim().to_owned();
        if by.is_empty() {
            return Err(AccessError::Decision { what: "it must be known who decides" });
        }
        let refused = |what| Err::<Event, _>(AccessError::Decision { what });
        let event = |record: &Record| {
            let promise = record.promises.iter().find(|promise| promise.number == number);
            let stands = promise.ok_or(AccessError::NoPromise)?.taken_back.is_some();
            let promise = number;
            match (taken_back_for.map(str::trim), stands) {
                (Some(""), _) => refused("the reader must be told why"),
                (Some(_), true) => refused("the promise was taken back already"),
                (None, false) => refused("the promise counts"),
                (Some(reason), false) => Ok(Event::TakenBack { promise, reason: reason.to_owned(), by }),
                (None, true) => Ok(Event::GivenBack { promise, by }),
            }
        };
        // However much a reader wrote, the trustee has the last word.
        self.append(&reader, u64::MAX, event).await?;
        let record = self.record(&reader).await?;
        let promise = record.promises.iter().find(|promise| promise.number == number).ok_or(AccessError::NoPromise)?;
        Ok(Self::promise_line(&reader, promise))
    }

    async fn found(&self, name: &str) -> Result<(ReaderId, u64), AccessError> {
        let (short, number) = name.rsplit_once('-').ok_or(AccessError::NoRequest)?;
        let number: u64 = number.parse().map_err(|_| AccessError::NoRequest)?;
        let readers = self.readers().await?;
        let mut fitting = readers.into_iter().filter(|reader| short.len() >= SHORT && reader.0.starts_with(short));
        match (fitting.next(), fitting.next()) {
            (Some(reader), None) => Ok((reader, number)),
            _ => Err(AccessError::NoRequest),
        }
    }

    /// A request with what was written.
    ///
    /// # Errors
    /// [`AccessError::NoRequest`], [`AccessError::Sealed`].
    pub async fn show(&self, name: &str) -> Result<RequestShown, AccessError> {
        let (reader, number) = self.found(name).await?;
        let record = self.record(&reader).await?;
        let request = record.requests.iter().find(|request| request.number == number).ok_or(AccessError::NoRequest)?;
        let sealed = STANDARD.decode(&request.sealed).map_err(|_| AccessError::Sealed)?;
        let plain = open(&self.sealing, reader.as_str().as_bytes(), &sealed).map_err(|_| AccessError::Sealed)?;
        let words = serde_json::from_slice(&plain).map_err(|_| AccessError::Sealed)?;
        Ok(RequestShown { line: self.line(&reader, request), terms: request.about.terms, reader, words })
    }

    /// Records what the trustee decides about a request. It counts from the reader's next question on.
    ///
    /// # Errors
    /// [`AccessError::NoRequest`]; [`AccessError::Decision`] when it does not fit how the request stands.
    pub async fn decide(&self, name: &str, decision: &Decision, by: &str) -> Result<RequestLine, AccessError> {
        let (reader, number) = self.found(name).await?;
        let by = by.trim().to_owned();
        if by.is_empty() {
            return Err(AccessError::Decision { what: "it must be known who decides" });
        }
        let refused = |what| Err::<Event, _>(AccessError::Decision { what });
        let now = self.clock.now();
        let event = |record: &Record| {
            let request = record.requests.iter().find(|request| request.number == number);
            let stands = &request.ok_or(AccessError::NoRequest)?.outcome;
            let request = number;
            match (decision, stands) {
                (Decision::Grant { until }, _) if *until <= now => refused("the grant would have ended already"),
                // A grant may be made longer or shorter, and given again.
                (Decision::Grant { until }, _) => Ok(Event::Granted { request, until: *until, by }),
                (Decision::Refuse { reason } | Decision::Revoke { reason }, _) if reason.trim().is_empty() => {
                    refused("the reader must be told why")
                }
                (Decision::Refuse { reason }, Outcome::Asked) => {
                    Ok(Event::Refused { request, reason: reason.trim().to_owned(), by })
                }
                (Decision::Refuse { .. }, _) => refused("it was decided already; a grant is revoked"),
                (Decision::Revoke { reason }, Outcome::Granted { .. }) => {
                    Ok(Event::Revoked { request, reason: reason.trim().to_owned(), by })
                }
                (Decision::Revoke { .. }, _) => refused("nothing is granted by it"),
            }
        };
        // However much a reader wrote, the trustee has the last word.
        self.append(&reader, u64::MAX, event).await?;
        let record = self.record(&reader).await?;
        let request = record.requests.iter().find(|request| request.number == number).ok_or(AccessError::NoRequest)?;
        Ok(self.line(&reader, request))
    }
}

pub(crate) fn name_of(reader: &ReaderId, number: u64) -> String {
    format!("{}-{number}", &reader.0[..SHORT])
}
