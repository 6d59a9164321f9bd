//! Papers from what is on record: the yearly report of data altruism, the impact assessment, the register of breaches.
//!
//! The same records give the same bytes: a paper states what happened in its period, never when it was printed.
//!
//! Source: Regulation (EU) 2022/868 Art. 20 and 21 (records and yearly report); GDPR Art. 33 and 35; reference design §1.1, §1.2.

use std::collections::{BTreeMap, BTreeSet};

use acequia_custody::receipt::activities;
use acequia_custody::{ConsentKind, Paper, Policy};
use acequia_types::{Day, Digest, Timestamp, digest_named};
use acequia_vault::{NoticeState, named_version};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::failure::{Failure, NodeError};
use crate::home::Node;
use crate::recipe::Assessable;
use crate::settings::Settings;

/// Smaller counts of people are not told in a paper for the public.
const FEWEST_TOLD: u64 = 12;
const ASSESSMENTS: &str = "assessments";
const BREACHES: &str = "breaches";

/// A count of people as a paper for the public tells it.
fn people(count: usize) -> Value {
    match count as u64 {
        0 => json!(0),
        1..FEWEST_TOLD => json!(format!("fewer than {FEWEST_TOLD}")),
        count => json!(count),
    }
}

/// People who allowed one purpose, in steps: beside all people or another purpose an exact count would tell of the few between.
fn band(count: usize) -> Value {
    match count as u64 {
        0..FEWEST_TOLD => people(count),
        count => {
            let from = count - count % FEWEST_TOLD;
            json!(format!("{from} to {}", from + FEWEST_TOLD - 1))
        }
    }
}

/// What an impact assessment said, and about what: another policy or another pipeline needs another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assessed {
    /// Digest of the recipe, its policy and the files it names.
    pub recipe: Digest,
    /// Digest of the program's version and its record of processing activities.
    pub pipeline: Digest,
    /// Who approved it, by an id of the desk's.
    pub by: String,
    /// Last day on which it counts.
    pub until: Day,
    /// What risk is left: `low`, `medium`, `high`. A high one needs the authority's advice first (Art. 36).
    pub residual_risk: ResidualRisk,
}

/// What risk an assessment found to be left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResidualRisk {
    /// Little.
    Low,
    /// Some.
    Medium,
    /// Too much to begin without the authority.
    High,
}

impl ResidualRisk {
    /// Reads the word.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "low" => Some(Self::Low),
            "medium" => Some(Self::Medium),
            "high" => Some(Self::High),
            _ => None,
        }
    }
}

/// Digest of what the program does with personal data: its version and its record of processing.
fn pipeline() -> Digest {
    let rows = serde_json::to_vec(&activities()).unwrap_or_default();
    digest_named("acequia pipeline v1", [("program", crate::PROGRAM.as_bytes()), ("processing", rows.as_slice())])
}

/// What happened to a breach. The words are the desk's, and name nobody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "event", deny_unknown_fields)]
pub enum BreachEvent {
    /// The trustee became aware of it.
    Aware {
        /// When: the clock counts from here.
        aware_at: Timestamp,
        /// What happened (Art. 33(3)(a)).
        nature: String,
        /// Data set that is concerned, perhaps with a version.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        dataset: Option<String>,
    },
    /// Its likely effects, and what was done (Art. 33(3)(c), (d)).
    Assessed {
        /// Likely effects.
        effects: String,
        /// What was done.
        measures: String,
        /// Whether it is likely to be a high risk, so that people are told (Art. 34).
        high_risk: bool,
    },
    /// The authority was told.
    AuthorityTold {
        /// When, if not at the moment of the entry.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        told_at: Option<Timestamp>,
    },
    /// The people were told.
    PeopleTold,
    /// It was decided that nobody has to be told, and why (Art. 33(1), 33(5)).
    NotTold {
        /// Why.
        why: String,
    },
    /// It is dealt with.
    Closed,
}

#[derive(Serialize, Deserialize)]
struct BreachEntry {
    breach: u64,
    #[serde(flatten)]
    event: BreachEvent,
}

/// A breach as it stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Breach {
    /// Its number.
    pub number: u64,
    /// When the trustee became aware of it.
    pub aware_at: Timestamp,
    /// Until when the authority must be told.
    pub tell_by: Timestamp,
    /// Whether the authority was told, or it was decided not to.
    pub decided: bool,
    /// Whether the time passed before that.
    pub overdue: bool,
    /// Donors whose data may be concerned, where the data set is known.
    pub donors_concerned: Option<Value>,
    /// What happened, oldest first.
    pub events: Vec<Value>,
}

impl Node {
    /// The yearly report of a data altruism organisation, for everybody: no small count of people is in it.
    ///
    /// # Errors
    /// Errors of the store.
    pub async fn altruism_report(&self, year: i32) -> Result<Value, Failure> {
        let in_year = |day: Day| day.to_string().starts_with(&format!("{year:04}-"));
        let within = |at: Timestamp| in_year(at.day());
        let trustee = Settings::read(&self.home)?.trustee();
        let (mut gave, mut withdrew) = (BTreeSet::new(), BTreeSet::new());
        let mut purposes: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        for (donor, history) in self.store.consents().await? {
            for event in history.events().filter(|event| within(event.at)) {
                match &event.kind {
                    ConsentKind::Give { purposes: given, .. } => {
                        gave.insert(donor.to_string());
                        for purpose in given.iter() {
                            purposes.entry(purpose.as_str()).or_default().insert(donor.to_string());
                        }
                    }
                    ConsentKind::Withdraw { .. } => drop(withdrew.insert(donor.to_string())),
                    _ => {}
                }
            }
        }
        let taken_in = self.store.donations().await?.iter().filter(|donation| within(donation.received_at)).count();
        let releases = self.store.releases().await?;
        let stones = self.store.tombstones().await?;
        let results: Vec<Value> = releases
            .iter()
            .filter(|release| within(release.published_at))
            .map(|release| {
                json!({
                    "dataset": release.dataset,
                    "version": release.version,
                    "published_on": release.published_at.day(),
                    "manifest": release.manifest,
                    "access": "open, to anybody",
                    "fee": "none",
                })
            })
            .collect();
        let taken_down: Vec<Value> = stones
            .iter()
            .filter(|(at, _)| within(*at))
            .map(|(at, stone)| json!({ "on": at.day(), "dataset": stone.dataset, "version": stone.version, "reason": stone.reason }))
            .collect();
        let mut processed: BTreeMap<(String, String, String), u64> = BTreeMap::new();
        for (entry, access) in self.store.accesses(None).await? {
            if let (true, Some(purpose), None) = (within(entry.at), access.purpose, access.refused) {
                let key = (access.actor.clone(), purpose.as_str().to_owned(), access.reason.clone());
                *processed.entry(key).or_default() += access.objects;
            }
        }
        let processed: Vec<Value> = processed
            .into_iter()
            .map(|((by, purpose, result), objects)| {
                json!({ "by": by, "purpose": purpose, "for": result, "records": people(usize::try_from(objects).unwrap_or(usize::MAX)) })
            })
            .collect();
        let desk = self.desk();
        let recipients: Vec<Value> = self
            .store
            .entries("recipients")
            .await?
            .iter()
            .filter(|entry| within(entry.at))
            .map(|entry| json!({ "recipient": entry.entry["id"], "dataset": entry.entry["dataset"], "since": entry.at.day(), "fee": "none" }))
            .collect();
        let mut requests: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
        let end = acequia_types::parse_timestamp(&format!("{:04}-01-01", year + 1)).unwrap_or_else(|| self.clock.now());
        for case in desk.cases(end).await?.into_iter().filter(|case| within(case.request.received_at)) {
            let (all, in_time) = requests.entry(case.request.right.as_str()).or_default();
            *all += 1;
            *in_time += usize::from(case.request.ended_at.is_some_and(|ended| ended.day() <= case.request.due_on));
        }
        let requests: Vec<Value> = requests
            .into_iter()
            .map(|(right, (all, in_time))| json!({ "right": right, "received": people(all), "answered_in_time": people(in_time) }))
            .collect();
        let mut notices = desk.dated_notices().await?;
        // Notices about requests would tell how many there were.
        notices.retain(|(notice, told_on, _)| notice.request.is_none() && in_year(*told_on));
        let confirmed = notices.iter().filter(|(notice, ..)| notice.state == NoticeState::Confirmed).count();
        let by_purpose: BTreeMap<&str, Value> =
            purposes.iter().map(|(purpose, donors)| (*purpose, band(donors.len()))).collect();
        Ok(json!({
            "report": "acequia-altruism/1",
            "rule": "Regulation (EU) 2022/868, Art. 21(3) and 20",
            "organisation": trustee,
            "year": year,
            "activities": activities().iter().map(|activity| json!({ "activity": activity.id, "purpose": activity.purpose })).collect::<Vec<_>>(),
            "donors": {
                "gave": people(gave.len()),
                "by_purpose": by_purpose,
                "withdrew": people(withdrew.len()),
                "files_taken_in": people(taken_in),
            },
            "processed_by": processed,
            "safeguards": ["sealed with a key per donor", "consent asked again at every access and in the transaction that publishes", "de-identified, with the measured risk printed beside the data"],
            "results": results,
            "taken_down": taken_down,
            "recipients": recipients,
            "recipients_told": { "notices": notices.len(), "confirmed": confirmed },
            "requests": requests,
            "reward": "none was asked from donors or readers",
            "finances": "not kept by the program; attach the accounts",
        }))
    }

    /// The impact assessment of a recipe or of the cohort of a training, as it follows from recipe, program and records: to be read, completed and approved by
    /// people. It names the digests that it is about.
    ///
    /// # Errors
    /// Errors of the store.
    pub async fn impact_assessment(&self, assessed: &Assessable) -> Result<Value, Failure> {
        let (cohort, policy) = (&assessed.cohort, assessed.policy.as_ref());
        let approved = self.assessments().await?.into_iter().rev().find(|assessed| assessed.recipe == cohort.digest);
        let current = approved.as_ref().is_some_and(|assessed| assessed.pipeline == pipeline());
        Ok(json!({
            "assessment": "acequia-dpia/1",
            "rule": "GDPR Art. 35(7)",
            "controller": Settings::read(&self.home)?.trustee(),
            "recipe": cohort.digest,
            "pipeline": pipeline(),
            "program": crate::PROGRAM,
            "processing": activities(),
            "purpose": cohort.purpose,
            "sources": cohort.sources,
            "necessity": match policy {
                Some(_) => "open data sets cannot be made from records that stay closed; only columns that the policy names are released",
                None => "a model learns from records; only sums over all rows leave a site, and the model is attacked before it is written",
            },
            "risks": match policy {
                Some(policy) => json!({
                    "re-identification": { "class_size": policy.class_size(), "policy": policy },
                    "versions compared": "refused where fewer persons than a class joined or left",
                    "withdrawal": "what was downloaded cannot be called back; said before, with time to think",
                }),
                None => json!({
                    "membership": "tested on every model; the plan's limit decides whether it is written",
                    "withdrawal": "asked before every round; the run begins anew without who withdrew. A model that is out cannot be called back",
                }),
            },
            "time_to_think_days": self.rules.cooling_off_days,
            "approval": approved,
            "approval_is_of_this_pipeline": current,
        }))
    }

    /// Records that an impact assessment of a recipe was approved.
    ///
    /// # Errors
    /// Errors of the store.
    pub async fn assess(
        &self,
        assessed: &Assessable,
        by: String,
        until: Day,
        residual_risk: ResidualRisk,
    ) -> Result<Assessed, Failure> {
        let assessed = Assessed { recipe: assessed.cohort.digest, pipeline: pipeline(), by, until, residual_risk };
        let value = serde_json::to_value(&assessed).unwrap_or_default();
        self.store.append_entry(ASSESSMENTS, self.clock.now(), None, |_| Ok::<_, Failure>(value)).await?;
        Ok(assessed)
    }

    async fn assessments(&self) -> Result<Vec<Assessed>, Failure> {
        let bad = || NodeError::Work { step: ASSESSMENTS.to_owned() };
        let read = |entry: acequia_store::Entry| Ok(Assessed::deserialize(&entry.entry).map_err(|_| bad())?);
        self.store.entries(ASSESSMENTS).await?.into_iter().map(read).collect()
    }

    /// The policy under which a recipe runs: where `settings.toml` asks for an impact assessment, nothing opens without one of this
    /// very recipe and pipeline, nor with one that found a high risk.
    ///
    /// # Errors
    /// [`NodeError::NoAssessment`]; the policy itself holds when one runs out while the work is done.
    pub(crate) async fn policy_for(&self, recipe: Digest) -> Result<Policy, Failure> {
        if !Settings::read(&self.home)?.needs_assessment() {
            return Ok(self.policy.clone());
        }
        let newest = self.assessments().await?.into_iter().rev().find(|assessed| assessed.recipe == recipe);
        let valid =
            newest.filter(|assessed| assessed.pipeline == pipeline() && assessed.residual_risk != ResidualRisk::High);
        let until = valid.map(|assessed| assessed.until).filter(|until| *until >= self.clock.now().day());
        let until = until.ok_or(NodeError::NoAssessment)?;
        Ok(Policy { assessment: Paper::Until(until), ..self.policy.clone() })
    }

    /// Records what happened to a breach; a new one gets the next number.
    ///
    /// # Errors
    /// [`NodeError::NotFound`] when there is no breach of that number, or it is closed; [`NodeError::Undecided`] when it is to
    /// be closed before anybody decided whether the authority is told.
    pub async fn record_breach(&self, number: Option<u64>, event: BreachEvent) -> Result<Breach, Failure> {
        let mut placed = 0;
        let place = |before: &[acequia_store::Entry]| -> Result<Value, Failure> {
            let of = |entry: &acequia_store::Entry| entry.entry["breach"].as_u64().unwrap_or_default();
            placed = match number {
                None => before.iter().map(of).max().unwrap_or_default() + 1,
                Some(number) => {
                    let own: Vec<_> = before.iter().filter(|entry| of(entry) == number).collect();
                    let closed = own.iter().any(|entry| entry.entry["event"] == "closed");
                    if own.is_empty() || closed {
                        return Err(NodeError::NotFound { what: "open breach" }.into());
                    }
                    let decides = |entry: &&acequia_store::Entry| {
                        matches!(entry.entry["event"].as_str(), Some("authority-told" | "not-told"))
                    };
                    if event == BreachEvent::Closed && !own.iter().any(decides) {
                        return Err(NodeError::Undecided { number }.into());
                    }
                    number
                }
            };
            let entry = BreachEntry { breach: placed, event };
            Ok(serde_json::to_value(entry).map_err(|_| NodeError::Work { step: BREACHES.to_owned() })?)
        };
        self.store.append_entry(BREACHES, self.clock.now(), None, place).await?;
        let found = self.breaches().await?.into_iter().find(|breach| breach.number == placed);
        Ok(found.ok_or(NodeError::NotFound { what: "open breach" })?)
    }

    /// The register of breaches, with its clocks (GDPR Art. 33(5)).
    ///
    /// # Errors
    /// Errors of the store.
    pub async fn breaches(&self) -> Result<Vec<Breach>, Failure> {
        let bad = || NodeError::Work { step: BREACHES.to_owned() };
        let now = self.clock.now();
        let releases = self.store.releases().await?;
        let mut all: BTreeMap<u64, Breach> = BTreeMap::new();
        for entry in self.store.entries(BREACHES).await? {
            let BreachEntry { breach: number, event } = BreachEntry::deserialize(&entry.entry).map_err(|_| bad())?;
            let written = json!({ "at": entry.at, "what": event });
            match &event {
                BreachEvent::Aware { aware_at, dataset, .. } => {
                    let hours = i64::from(self.rules.breach_notice_hours);
                    let tell_by = Timestamp::from_unix_s(aware_at.unix_s() + hours * 3600);
                    let mut donors = BTreeSet::new();
                    let mut known = false;
                    for release in &releases {
                        let (name, version) = named_version(dataset.as_deref().unwrap_or_default());
                        let meant = release.dataset.to_string() == name && version.is_none_or(|v| v == release.version);
                        if meant && let Some(subjects) = self.vault.subjects_of(release)? {
                            known = true;
                            donors.extend(subjects);
                        }
                    }
                    let donors_concerned = known.then(|| json!(donors.len()));
                    let breach = Breach {
                        number,
                        aware_at: *aware_at,
                        tell_by,
                        decided: false,
                        overdue: now > tell_by,
                        donors_concerned,
                        events: vec![written],
                    };
                    all.insert(number, breach);
                }
                event => {
                    let breach = all.get_mut(&number).ok_or_else(bad)?;
                    let decided_at = match event {
                        BreachEvent::AuthorityTold { told_at } => Some(told_at.unwrap_or(entry.at)),
                        BreachEvent::NotTold { .. } => Some(entry.at),
                        _ => None,
                    };
                    // Whether it was in time is settled by the first decision, not when the register is read.
                    if let Some(at) = decided_at.filter(|_| !breach.decided) {
                        breach.overdue = at > breach.tell_by;
                        breach.decided = true;
                    }
                    breach.events.push(written);
                }
            }
        }
        Ok(all.into_values().collect())
    }
}
