//! The rights desk: requests of persons about their data, from receipt to answer.
//!
//! Every event of a request goes into the journal `rights`, checked in the transaction that adds it. What a request needs done is
//! a list of tasks, each of which may be done twice without harm and is ticked off afterwards: what a crash interrupted
//! goes on where it stopped.
//!
//! Source: GDPR Art. 12, 15–22; reference design §3.5, §3.8.

use std::collections::BTreeMap;

use acequia_blobs::BlobStore;
use acequia_custody::rights::{Alarm, Event, Happened, Refusal, Request, Right, RightsError, Rules, State, Task};
use acequia_custody::{ConsentEvent, ConsentKind, Party, Policy, Purposes, held};
use acequia_store::{Donation, Entry, Store, StoreError};
use acequia_types::{Coded, DonorId, Exit, Timestamp};
use maud::{DOCTYPE, Markup, html};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::texts::Texts;
use crate::{Vault, VaultError};

const RIGHTS: &str = "rights";

/// What the desk cannot do.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    /// There is no such request.
    #[error("there is no request {number}")]
    NoRequest {
        /// Its number.
        number: u64,
    },
    /// The donor never gave anything to this node.
    #[error("there is no donor of that name")]
    NoDonor,
    /// The corrected record is not there yet.
    #[error("no corrected record was donated since request {number} came in")]
    NotCorrected {
        /// Its number.
        number: u64,
    },
    /// A recipient that did not confirm a notice in time gets no further data.
    #[error("{recipient} has not confirmed a notice that was due by {due_on}")]
    Suspended {
        /// Which.
        recipient: String,
        /// Last day.
        due_on: acequia_types::Day,
    },
    /// There is no such notice.
    #[error("there is no notice of that number")]
    NoNotice,
    /// More requests in a day than the pages take.
    #[error("there were too many requests today")]
    TooMany,
    /// There is no notice in that language.
    #[error("there is no notice in that language")]
    NoLanguage,
    /// An export needs somewhere to go.
    #[error("request {number} hands data over, and no folder is named")]
    NoFolder {
        /// Its number.
        number: u64,
    },
    /// The request does not allow this now.
    #[error(transparent)]
    Rights(#[from] RightsError),
    /// The vault failed.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The records failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<acequia_blobs::BlobError> for DeskError {
    fn from(error: acequia_blobs::BlobError) -> Self {
        Self::Vault(error.into())
    }
}

impl Coded for DeskError {
    fn code(&self) -> &'static str {
        match self {
            Self::NoRequest { .. } => "RI011",
            Self::NoDonor => "RI012",
            Self::NotCorrected { .. } => "RI013",
            Self::NoFolder { .. } => "RI014",
            Self::Suspended { .. } => "RI015",
            Self::NoNotice => "RI016",
            Self::NoLanguage => "RI017",
            Self::TooMany => "RI018",
            Self::Rights(error) => error.code(),
            Self::Vault(error) => error.code(),
            Self::Store(error) => error.code(),
        }
    }
    fn hint(&self) -> &'static str {
        match self {
            Self::NoRequest { .. } => "see `acequia rights list`",
            Self::NoDonor => "see `acequia consent list`",
            Self::NotCorrected { .. } => "donate the corrected record under the same donor, then execute again",
            Self::NoFolder { .. } => "name one with --to",
            Self::Suspended { .. } => {
                "see `acequia rights notices`; record the confirmation with `acequia rights confirm`"
            }
            Self::NoNotice => "see `acequia rights notices`",
            Self::NoLanguage => "take one of en, de, fr",
            Self::TooMany => "ask again tomorrow, or write to the trustee",
            Self::Rights(error) => error.hint(),
            Self::Vault(error) => error.hint(),
            Self::Store(error) => error.hint(),
        }
    }
    fn exit(&self) -> Exit {
        match self {
            Self::NoRequest { .. } | Self::NoDonor | Self::NoNotice | Self::NoLanguage => Exit::NotFound,
            Self::NotCorrected { .. } | Self::Suspended { .. } => Exit::PolicyRefused,
            Self::NoFolder { .. } => Exit::Usage,
            Self::TooMany => Exit::Temporary,
            Self::Rights(error) => error.exit(),
            Self::Vault(error) => error.exit(),
            Self::Store(error) => error.exit(),
        }
    }
}

/// A request with its number and history.
#[derive(Debug, Clone, Serialize)]
pub struct Case {
    /// Its number.
    pub number: u64,
    /// Whose it is; nobody's after erasure.
    pub donor: Option<DonorId>,
    /// As it stands.
    #[serde(flatten)]
    pub request: Request,
    /// How it stands against its clock.
    pub alarm: Alarm,
    /// What happened.
    pub events: Vec<Happened>,
    #[serde(skip)]
    pub(crate) subject: String,
}

/// What a donor gets on asking for access: path in the folder to content.
pub type Export = BTreeMap<String, Zeroizing<Vec<u8>>>;

/// Takes what is handed over to a donor, and says when it is safe.
pub type HandOver<'a> = dyn FnMut(&Export) -> Result<(), VaultError> + Send + 'a;

/// The desk of one node.
pub struct Desk {
    pub(crate) store: Store,
    pub(crate) vault: Vault,
    blobs: BlobStore,
    pub(crate) rules: Rules,
    pub(crate) policy: Policy,
    pub(crate) reached: fn(&'static str),
}

#[derive(Serialize, Deserialize)]
struct Written {
    request: u64,
    #[serde(flatten)]
    event: Event,
}

pub(crate) fn bad() -> StoreError {
    StoreError::Record { kind: "request" }
}

/// The events of each request, and whose it is.
fn by_number(entries: &[Entry]) -> Result<BTreeMap<u64, (String, Vec<Happened>)>, StoreError> {
    let mut all: BTreeMap<u64, (String, Vec<Happened>)> = BTreeMap::new();
    for entry in entries {
        let Written { request, event } = Written::deserialize(&entry.entry).map_err(|_| bad())?;
        let subject = entry.subject.clone().ok_or_else(bad)?;
        let (_, events) = all.entry(request).or_insert_with(|| (subject, Vec::new()));
        events.push(Happened { at: entry.at, event });
    }
    Ok(all)
}

impl Desk {
    /// A desk over the node's records, vault and blobs, under a rule pack.
    pub fn new(store: Store, vault: Vault, blobs: BlobStore, rules: Rules) -> Self {
        let policy = rules.policy();
        Self { store, vault, blobs, rules, policy, reached: |_| {} }
    }

    /// The trustee's rules about consent, as they follow from the rule pack.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Calls `reached` at places where a test may stop the program.
    #[must_use]
    pub fn watched(self, reached: fn(&'static str)) -> Self {
        Self { reached, ..self }
    }

    async fn case_of(
        &self,
        number: u64,
        subject: String,
        events: Vec<Happened>,
        now: Timestamp,
    ) -> Result<Case, DeskError> {
        let request = Request::of(&events, &self.rules)?;
        let alarm = request.alarm(now, &self.rules);
        Ok(Case { number, donor: self.store.donor_of(&subject).await?, request, alarm, events, subject })
    }

    /// Every request, by number.
    ///
    /// # Errors
    /// [`DeskError::Store`].
    pub async fn cases(&self, now: Timestamp) -> Result<Vec<Case>, DeskError> {
        let mut cases = Vec::new();
        for (number, (subject, events)) in by_number(&self.store.entries(RIGHTS).await?)? {
            cases.push(self.case_of(number, subject, events, now).await?);
        }
        Ok(cases)
    }

    /// The requests of one donor, by number.
    ///
    /// # Errors
    /// [`DeskError::Store`].
    pub async fn requests(&self, donor: &DonorId, now: Timestamp) -> Result<Vec<Case>, DeskError> {
        match self.store.subject(donor).await? {
            Some(subject) => self.cases_of(&subject, now).await,
            None => Ok(Vec::new()),
        }
    }

    pub(crate) async fn cases_of(&self, subject: &str, now: Timestamp) -> Result<Vec<Case>, DeskError> {
        let mut cases = Vec::new();
        for (number, (subject, events)) in by_number(&self.store.entries_about(RIGHTS, subject).await?)? {
            cases.push(self.case_of(number, subject, events, now).await?);
        }
        Ok(cases)
    }

    /// One request.
    ///
    /// # Errors
    /// [`DeskError::NoRequest`].
    pub async fn case(&self, number: u64, now: Timestamp) -> Result<Case, DeskError> {
        let mut all = by_number(&self.store.entries(RIGHTS).await?)?;
        let (subject, events) = all.remove(&number).ok_or(DeskError::NoRequest { number })?;
        self.case_of(number, subject, events, now).await
    }

    /// Takes in a request. Data that shall be erased are not used from now on, while the person may still think it over.
    ///
    /// # Errors
    /// [`DeskError::NoDonor`] when nothing of the donor is here.
    pub async fn receive(
        &self,
        donor: &DonorId,
        right: Right,
        purposes: Option<Purposes>,
        now: Timestamp,
    ) -> Result<Case, DeskError> {
        let (number, _) = self.take_in(donor, right, purposes, usize::MAX, now).await?;
        self.restrict_for(number, now).await
    }

    /// The same for somebody who asks by herself and has shown who she is: asking for what is asked for already leads to that request,
    /// and whatever a crash left undone of it is done. At most `most` requests of a donor are taken in within a day.
    ///
    /// # Errors
    /// [`DeskError::NoDonor`]; [`DeskError::TooMany`].
    pub async fn ask(
        &self,
        donor: &DonorId,
        right: Right,
        purposes: Option<Purposes>,
        (by, most): (&str, usize),
        now: Timestamp,
    ) -> Result<Case, DeskError> {
        let (number, _) = self.take_in(donor, right, purposes, most, now).await?;
        let case = self.restrict_for(number, now).await?;
        let identified = case.events.iter().any(|happened| matches!(happened.event, Event::Identified { .. }));
        if identified { Ok(case) } else { self.happen(number, Event::Identified { by: by.to_owned() }, now).await }
    }

    /// Puts a request on record; with a limit, unless one for the same is open, which then is the one. Says whether it is new.
    async fn take_in(
        &self,
        donor: &DonorId,
        right: Right,
        purposes: Option<Purposes>,
        most: usize,
        now: Timestamp,
    ) -> Result<(u64, bool), DeskError> {
        /// Why nothing was added.
        enum Stop {
            Open(u64),
            Failed(DeskError),
        }
        impl From<StoreError> for Stop {
            fn from(error: StoreError) -> Self {
                Self::Failed(error.into())
            }
        }
        let known = self.store.subject(donor).await?.is_some() || !self.donations(donor).await?.is_empty();
        if !known {
            return Err(DeskError::NoDonor);
        }
        let subject = self.store.name_subject(donor).await?;
        let mut number = 0;
        let receive = |before: &[Entry]| -> Result<Value, Stop> {
            let all = by_number(before)?;
            number = all.keys().next_back().map_or(1, |last| last + 1);
            if most < usize::MAX {
                let mut today = 0;
                for (other, (_, events)) in all.iter().filter(|(_, (whose, _))| *whose == subject) {
                    let request = Request::of(events, &self.rules).map_err(|error| Stop::Failed(error.into()))?;
                    if request.right == right && !request.state.is_final() {
                        return Err(Stop::Open(*other));
                    }
                    today += usize::from(now.unix_s() - request.received_at.unix_s() < 86_400);
                }
                if today >= most {
                    return Err(Stop::Failed(DeskError::TooMany));
                }
            }
            let event = Event::Received { right, purposes };
            serde_json::to_value(Written { request: number, event }).map_err(|_| bad().into())
        };
        match self.store.append_entry(RIGHTS, now, Some(&subject), receive).await {
            Ok(_) => Ok((number, true)),
            Err(Stop::Open(number)) => Ok((number, false)),
            Err(Stop::Failed(error)) => Err(error),
        }
    }

    /// Nothing uses data that shall be erased. Doing it again changes nothing.
    async fn restrict_for(&self, number: u64, now: Timestamp) -> Result<Case, DeskError> {
        let case = self.case(number, now).await?;
        if let (Right::Erasure, false, Some(donor)) = (case.request.right, case.request.state.is_final(), &case.donor) {
            self.consent(donor, ConsentKind::Restrict, Party::Donor, case.request.received_at).await?;
        }
        Ok(case)
    }

    /// Ends the restriction that an erasure request brought, unless something else restricts the record too: another request, or a
    /// restriction of before or after.
    async fn lift_for(&self, case: &Case, donor: &DonorId, now: Timestamp) -> Result<(), DeskError> {
        let others = self.cases_of(&case.subject, now).await?;
        let open = |other: &&Case| other.number != case.number && !other.request.state.is_final();
        if others.iter().filter(open).any(|other| matches!(other.request.right, Right::Erasure | Right::Restriction)) {
            return Ok(());
        }
        let erasures: Vec<Timestamp> = others
            .iter()
            .filter(|other| other.request.right == Right::Erasure)
            .map(|other| other.request.received_at)
            .collect();
        let mut restricted = false;
        if let Some(history) = self.store.consent(donor).await? {
            for event in history.events().filter(|event| event.at <= now) {
                match event.kind {
                    // A request's own restriction is that of the donor at the instant of its receipt.
                    ConsentKind::Restrict if event.by == Party::Donor && erasures.contains(&event.at) => {}
                    ConsentKind::Restrict => restricted = true,
                    ConsentKind::LiftRestriction => restricted = false,
                    _ => {}
                }
            }
        }
        if restricted {
            return Ok(());
        }
        // Within one second the restriction would win.
        let at = if case.request.received_at == now { Timestamp::from_unix_s(now.unix_s() + 1) } else { now };
        self.consent(donor, ConsentKind::LiftRestriction, Party::Desk, at).await
    }

    /// Records what happened to a request.
    ///
    /// # Errors
    /// [`DeskError::Rights`] when it is not possible now; then nothing is recorded.
    pub async fn happen(&self, number: u64, event: Event, now: Timestamp) -> Result<Case, DeskError> {
        let case = self.case(number, now).await?;
        let ends_restriction = matches!(event, Event::Refused { .. } | Event::TakenBack | Event::Duplicate { .. })
            && case.request.right == Right::Erasure;
        let check = |before: &[Entry]| -> Result<Value, DeskError> {
            let (_, events) = by_number(before)?.remove(&number).ok_or(DeskError::NoRequest { number })?;
            let happened = Happened { at: now, event: event.clone() };
            Request::of(&events, &self.rules)?.after(&happened, &self.rules)?;
            serde_json::to_value(Written { request: number, event }).map_err(|_| bad().into())
        };
        self.store.append_entry(RIGHTS, now, Some(&case.subject), check).await?;
        if let (true, Some(donor)) = (ends_restriction, &case.donor) {
            self.lift_for(&case, donor, now).await?;
        }
        self.case(number, now).await
    }

    /// Does what is left of a request, task after task; what was interrupted goes on where it stopped. `export` takes what is handed
    /// over, and says when it is safe.
    ///
    /// # Errors
    /// [`DeskError::Rights`] when approvals, identity or time are missing; errors of the task that failed.
    pub async fn execute(
        &self,
        number: u64,
        now: Timestamp,
        mut export: Option<&mut HandOver<'_>>,
    ) -> Result<Case, DeskError> {
        loop {
            let case = self.case(number, now).await?;
            let Some(task) = case.request.left.first().copied() else { return Ok(case) };
            case.request.may_execute(now, &self.rules)?;
            let export: Option<&mut HandOver<'_>> = match &mut export {
                Some(export) => Some(&mut **export),
                None => None,
            };
            self.perform(&case, task, now, export).await?;
            (self.reached)("rights.performed");
            self.happen(number, Event::Done { task }, now).await?;
            (self.reached)("rights.ticked");
        }
    }

    /// Does the next tasks of a request without ticking them off, as a crash may leave them; for tests.
    ///
    /// # Errors
    /// Errors of the task that failed.
    #[doc(hidden)]
    pub async fn execute_unticked(&self, number: u64, tasks: usize, now: Timestamp) -> Result<(), DeskError> {
        let case = self.case(number, now).await?;
        for task in case.request.left.iter().take(tasks) {
            self.perform(&case, *task, now, None).await?;
        }
        Ok(())
    }

    /// One task. Doing it again changes nothing.
    async fn perform(
        &self,
        case: &Case,
        task: Task,
        now: Timestamp,
        export: Option<&mut HandOver<'_>>,
    ) -> Result<(), DeskError> {
        // After erasure the name is gone, and with it everything that could be done again, but for one thing: a crash may have left
        // the name in the database's log.
        let Some(donor) = &case.donor else { return Ok(self.store.fold().await?) };
        match task {
            Task::Export => {
                let export = export.ok_or(DeskError::NoFolder { number: case.number })?;
                export(&self.export(case, donor, now).await?)?;
            }
            Task::Correct => {
                let since = case.request.received_at;
                if !self.donations(donor).await?.iter().any(|donation| donation.received_at >= since) {
                    return Err(DeskError::NotCorrected { number: case.number });
                }
            }
            Task::Restrict => self.consent(donor, ConsentKind::Restrict, Party::Donor, now).await?,
            Task::Object => {
                let purposes = case.request.purposes;
                self.consent(donor, ConsentKind::Object { purposes }, Party::Donor, now).await?;
            }
            Task::OrderErasure => {
                let history = self.store.consent(donor).await?;
                if history.is_some_and(|history| held(&history, now, Timestamp::from_unix_s(253_402_300_799))) {
                    return Err(RightsError::Held.into());
                }
                self.consent(donor, ConsentKind::OrderErasure, Party::Donor, case.request.received_at).await?;
            }
            Task::TellRecipients => self.tell(case, now).await?,
            Task::DestroyKey => drop(self.vault.shred(&[donor], now).await?),
            Task::RemoveCopies => {
                for donation in self.donations(donor).await? {
                    self.blobs.remove(&donation.sealed)?;
                }
                // Rows last: where a removal fails, the next try finds what is left by them.
                let steps = self.store.steps().await?;
                for (_, digest) in steps.iter().flat_map(|step| &step.blobs) {
                    self.blobs.remove(digest)?;
                }
                let keys: Vec<_> = steps.iter().map(|step| step.key).collect();
                self.store.forget_steps(&keys).await?;
            }
            Task::ForgetRecords => {
                let certificate = self.certificate(case, donor, now).await?;
                self.store.erase(donor, now, Some(&certificate)).await?;
            }
        }
        Ok(())
    }

    /// An act of consent that a request brings about; one that is on file with the same time counts once.
    async fn consent(&self, donor: &DonorId, kind: ConsentKind, by: Party, at: Timestamp) -> Result<(), DeskError> {
        self.store.append_consent(donor, &[ConsentEvent::new(at, kind).by(by)], at).await?;
        Ok(())
    }

    pub(crate) async fn donations(&self, donor: &DonorId) -> Result<Vec<Donation>, StoreError> {
        self.store.donations_of(donor).await
    }

    /// What was done, store by store; it names nobody.
    async fn certificate(&self, case: &Case, donor: &DonorId, now: Timestamp) -> Result<Value, DeskError> {
        let donations = self.donations(donor).await?;
        let since = donations.iter().map(|donation| donation.received_at).min();
        let releases = self.store.releases().await?;
        let mut published = Vec::new();
        for release in &releases {
            // What is not known of a version is told as if the donor were in it.
            let in_it = match self.vault.subjects_of(release)? {
                Some(subjects) => subjects.contains(&case.subject),
                None => since.is_some_and(|since| release.published_at >= since),
            };
            if in_it {
                published.push(format!("{} {}", release.dataset, release.version));
            }
        }
        let mut gone = 0;
        for donation in &donations {
            gone += u64::from(!self.blobs.contains(&donation.sealed)?);
        }
        let key_gone = !self.vault.donors().await?.contains(donor);
        let told = self.notices().await?.iter().filter(|(notice, _)| notice.request == Some(case.number)).count();
        Ok(json!({
            "certificate": "acequia-erasure/1",
            "request": case.number,
            "requested_at": case.request.received_at,
            "erased_at": now,
            "approved_by": case.request.approved_by,
            "stores": [
                { "store": "keys", "key destroyed": key_gone, "epoch renewed": true },
                { "store": "originals", "sealed objects": donations.len(), "removed": gone },
                { "store": "work tables", "steps left": self.store.steps().await?.len() },
                { "store": "records", "donations": donations.len(), "consent payloads and name": "removed" },
                { "store": "backups of the data", "readable": false, "why": "they hold no key" },
                { "store": "backups of keys", "kept at most days": 30 },
                { "store": "release ledger", "kept": "released values under numbers, so that versions together tell no more than one" },
            ],
            "recipients told": told,
            "published, not to be called back": published,
        }))
    }

    /// The certificate of an erasure, once it is done.
    ///
    /// # Errors
    /// [`DeskError::Store`].
    pub async fn certificate_of(&self, number: u64) -> Result<Option<Value>, DeskError> {
        let entries = self.store.entries("erasure").await?;
        Ok(entries.into_iter().map(|entry| entry.entry).find(|entry| entry["request"] == number))
    }

    /// What a donor gets on asking for access: every original as it was given, the consent history, who opened what and when, the
    /// requests, and the consent as FHIR in a bundle that refers to the originals.
    async fn export(&self, case: &Case, donor: &DonorId, now: Timestamp) -> Result<Export, DeskError> {
        let pass = case.request.hand_over(donor, now, &self.rules)?;
        let donations = self.donations(donor).await?;
        let opened = self.vault.hand_back(&donations.iter().collect::<Vec<_>>(), &pass, case.number, now).await?;
        let history = self.store.consent(donor).await?;
        let mut files = Export::new();
        let mut entries = Vec::new();
        for (donation, bytes) in donations.iter().zip(opened) {
            let path = format!("originals/{}", donation.intake);
            entries.push(json!({ "resource": {
                "resourceType": "DocumentReference",
                "id": donation.intake.as_str(),
                "status": "current",
                "date": donation.received_at.to_string(),
                "content": [{ "attachment": { "url": path, "size": donation.bytes, "title": donation.format } }],
            } }));
            files.insert(path, bytes);
        }
        let mut consent = json!(null);
        if let Some(history) = &history {
            consent = json!(history.records());
            for release in [acequia_custody::fhir::Release::R4, acequia_custody::fhir::Release::R5] {
                let resource = acequia_custody::fhir::to_fhir(donor, history, now, release);
                match release {
                    acequia_custody::fhir::Release::R4 => entries.push(json!({ "resource": resource })),
                    acequia_custody::fhir::Release::R5 => {
                        drop(files.insert("consent.r5.json".into(), pretty(&resource)))
                    }
                }
            }
        }
        let bundle =
            json!({ "resourceType": "Bundle", "type": "collection", "timestamp": now.to_string(), "entry": entries });
        files.insert("bundle.r4.json".into(), pretty(&bundle));
        let accesses = self.store.accesses(Some(&case.subject)).await?;
        let accesses: Vec<Value> =
            accesses.iter().map(|(entry, access)| json!({ "at": entry.at, "access": access })).collect();
        let requests = self.cases_of(&case.subject, now).await?;
        let about = json!({ "donor": donor, "consent": consent, "accesses": accesses, "requests": requests });
        files.insert("about-you.json".into(), pretty(&about));
        Ok(files)
    }

    /// The letter to the person, as a page that can be printed.
    ///
    /// # Errors
    /// [`DeskError::NoRequest`].
    pub async fn letter(&self, number: u64, texts: &Texts, now: Timestamp) -> Result<String, DeskError> {
        let case = self.case(number, now).await?;
        let certificate = self.certificate_of(number).await?;
        Ok(page(texts, "title", &case.content(certificate.as_ref(), texts)))
    }
}

fn pretty(value: &Value) -> Zeroizing<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(value).unwrap_or_default();
    bytes.push(b'\n');
    Zeroizing::new(bytes)
}

/// The word by which a value is written.
pub(crate) fn word<T: Serialize>(value: T) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

impl Case {
    /// What the person is told about the request, without a page around it.
    pub fn content(&self, certificate: Option<&Value>, texts: &Texts) -> Markup {
        let say = |key: &str| texts.say(key);
        let request = &self.request;
        let outcome = match request.state {
            State::IdentityCheck | State::NeedsInfo => say("identity"),
            State::Accepted | State::Executing | State::Finalising if request.extended => say("extended"),
            State::Accepted | State::Executing | State::Finalising => say("open"),
            State::Closed => say("closed"),
            State::Refused => say("refused"),
            State::Duplicate => say("duplicate"),
            State::TakenBack => say("taken-back"),
        };
        let refusal = request.refusal.map(|reason| match reason {
            Refusal::Identity => say("identity-refusal"),
            other => say(other.as_str()),
        });
        let published = certificate.and_then(|paper| paper["published, not to be called back"].as_array());
        let published: Vec<&str> = published.into_iter().flatten().filter_map(Value::as_str).collect();
        html! {
            dl {
                dt { (say("number")) } dd { (self.number) }
                dt { (say("right")) } dd { (say(request.right.as_str())) " (" (say("article")) " " (request.right.article()) ")" }
                dt { (say("received")) } dd { (request.received_at.day()) }
                @if !request.state.is_final() { dt { (say("due")) } dd { (request.due_on) } }
            }
            p { (outcome) }
            @if let Some(refusal) = refusal { p { strong { (refusal) } } }
            @if !request.done.is_empty() {
                h2 { (say("done")) }
                ul { @for task in &request.done { li { (say(&word(task))) } } }
            }
            @if !published.is_empty() {
                h2 { (say("published")) }
                ul { @for version in published { li { (version) } } }
            }
            p { (say("complaint")) }
        }
    }
}

/// A page that can be printed, with a text as its title.
pub(crate) fn page(texts: &Texts, title: &str, content: &Markup) -> String {
    let title = texts.say(title);
    let page = html! {
        (DOCTYPE)
        html lang=(texts.language()) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) }
                style { "body{font:1rem/1.5 system-ui,sans-serif;max-width:40rem;margin:2rem auto;padding:0 1rem}dt{font-weight:600}" }
            }
            body { main { h1 { (title) } (content) } }
        }
    };
    page.into_string()
}
