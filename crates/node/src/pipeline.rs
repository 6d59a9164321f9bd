//! `run`: the order of the stages, stated once.
//!
//! ```text
//! consent ─► vault ─► unify ─► cleanse ─► cohort ─► deidentify ─► gate ─► release ─► publish
//! ```

use std::collections::{BTreeMap, BTreeSet};

use acequia_custody::{
    Approval, Ask, Conditions, Grant, History, Identified, Operation, Policy, Purpose, approve_granted,
};
use acequia_deidentify::deidentify_beside;
use acequia_frame::{FrameError, Table};
use acequia_gate::{InputDigest, let_out};
use acequia_omop::Held;
use acequia_release::{ConsentGroup, ConsentOutcome, ConsentPlan, PeoplePlan, Plan, Report};
use acequia_store::{Donation, Published, Release, TakenDown, Tombstone};
use acequia_types::{Digest, DonorId, Timestamp, digest_named};
use acequia_vault::{is_model, left_version, purpose_of};
use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::Int64Type;
use serde::Serialize;
use serde_json::{Value, json};
use std::sync::Arc;

use crate::cohort::{CleanTables, FEWEST_COUNTED, Selection};
use crate::failpoint::failpoint;
use crate::failure::{Failure, NodeError};
use crate::home::Node;
use crate::progress::Progress;
use crate::recipe::Recipe;
use crate::steps::{Made, step_key};

/// Column of the cohort that names the person; the policy removes it.
const PERSON_ID: &str = "person_id";
/// Column with the split assignment; the policy takes it out of the table.
pub(crate) const ASSIGNMENT: &str = "assignment";

/// What a run did.
#[derive(Debug, Clone, Serialize)]
pub struct RunReport {
    /// `namespace/name`.
    pub dataset: String,
    /// Version.
    pub version: String,
    /// Digest of the manifest: the version's name.
    pub manifest: Digest,
    /// Whether this run published it; `false` when it was out already.
    pub published: bool,
    /// Each stage, in order, with `ran`, `reused` or `published before`.
    pub stages: Vec<StageReport>,
    /// Donations by what became of them.
    pub donations: BTreeMap<String, u64>,
    /// Rows per split.
    pub splits: Vec<(String, u64)>,
    /// Measured risk, as in `risk.json`.
    pub risk: Value,
}

/// One stage of a run.
#[derive(Debug, Clone, Serialize)]
pub struct StageReport {
    /// Name.
    pub stage: String,
    /// `ran` or `reused`.
    pub how: String,
    /// Counts, without any value of a record.
    pub detail: Value,
}

impl StageReport {
    fn new(stage: &str, ran: bool, detail: Value) -> Self {
        Self { stage: stage.to_owned(), how: if ran { "ran" } else { "reused" }.to_owned(), detail }
    }
}

impl Node {
    /// Walks the course for one recipe. What is finished and unchanged is taken over; a version that is already
    /// published from the same inputs is left alone. Then recipients are told what follows from it.
    ///
    /// # Errors
    /// The coded error of the stage that refused.
    pub async fn run(&self, recipe: &Recipe, progress: &dyn Progress) -> Result<RunReport, Failure> {
        let _lock = self.lock()?;
        let report = self.walk(recipe, progress).await?;
        self.hand_over_notices().await?;
        Ok(report)
    }

    async fn walk(&self, recipe: &Recipe, progress: &dyn Progress) -> Result<RunReport, Failure> {
        let mut stages = Vec::new();
        let mut note = |stage: &str, ran: bool, detail: Value| stages.push(StageReport::new(stage, ran, detail));

        let asked_by = self.policy_for(recipe.cohort.digest).await?;
        let stays = self.in_newest(recipe).await?;
        let plan = recipe.plan(Vec::new(), ConsentPlan::default())?;
        let terms = plan.conditions();
        let selection = self.select(&recipe.cohort, stays.as_ref(), &asked_by, &terms).await?;
        let donations: BTreeMap<String, u64> =
            selection.outcomes.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        if self.store.releases().await?.iter().any(|release| release.dataset == plan.dataset && is_model(release)) {
            return Err(NodeError::Recipe { message: "dataset: a model of this node has this name".to_owned() }.into());
        }
        let reason = format!("{} {}", plan.dataset, plan.version);
        let clean = self.clean_tables(&recipe.cohort, &selection, &reason, progress, &mut note).await?;
        let donors: BTreeSet<DonorId> = selection.granted.iter().map(|donation| donation.donor.clone()).collect();

        // cohort
        let split_key = self.split_key(recipe, &selection).await?;
        let cohort_key = step_key(
            "cohort",
            &[("cleanse", clean.key.as_bytes()), ("sql", recipe.cohort.sql.as_bytes()), ("split key", &split_key)],
        );
        progress.start("cohort", 1);
        let (cohort, ran) = self
            .step("cohort", cohort_key, || {
                let rows = self.cohort_rows(&recipe.cohort, &clean.tables)?;
                let source = clean.person_source.as_ref().ok_or(NodeError::Work { step: "unify".to_owned() })?;
                let cohort = assign(&rows, source, &split_key)?.sorted()?;
                let persons = clean.tables.get("person").map_or(0, Table::rows);
                let detail = json!({
                    "persons": persons,
                    "rows": cohort.rows(),
                    "outside": persons.saturating_sub(cohort.rows()),
                });
                Ok(Made { tables: BTreeMap::from([("cohort".to_owned(), cohort)]), detail })
            })
            .await?;
        let (rows, outside) = (&cohort.detail["rows"], &cohort.detail["outside"]);
        progress.finish(&format!("{rows} persons, {outside} outside the cohort"));
        note("cohort", ran, cohort.detail.clone());

        // Is it out already?
        let inputs = input_digests(&selection.granted);
        let mut plan = recipe.plan(inputs, consent_plan(&selection))?;
        plan.previous_diversity = self.diversity_before(&plan).await?;
        let policy = serde_json::to_vec(&recipe.policy).unwrap_or_default();
        let hierarchies: Vec<u8> =
            recipe.hierarchies.values().flat_map(|bytes| Digest::of(bytes).as_bytes().to_vec()).collect();
        let plan_bytes = serde_json::to_vec(&plan).unwrap_or_default();
        let release_key = step_key(
            "release",
            &[
                ("cohort", cohort_key.as_bytes()),
                ("policy", &policy),
                ("hierarchies", &hierarchies),
                ("plan", &plan_bytes),
            ],
        );
        if let Some(out) = self.store.release(&plan.dataset, &plan.version).await? {
            if out.detail["key"] != release_key.to_string() {
                return Err(NodeError::Published { dataset: plan.dataset.to_string(), version: plan.version }.into());
            }
            for stage in ["deidentify", "release"] {
                note(stage, false, json!({ "published": true }));
            }
            let manifest = self.manifest(&out)?;
            let risk = self.blobs.get(&file_digest(&out, "risk.json")?)?;
            return Ok(RunReport {
                dataset: plan.dataset.to_string(),
                version: plan.version,
                manifest: out.manifest,
                published: false,
                stages,
                donations,
                splits: manifest.get().splits.clone(),
                risk: serde_json::from_slice(&risk).unwrap_or_default(),
            });
        }

        // It follows from the cohort, which the key names.
        plan.people = people_plan(&clean, cohort.detail["rows"].as_u64().unwrap_or(0))?;

        // deidentify
        progress.start("deidentify", 1);
        let everybody = cohort.tables.values().next().map_or_else(|| Ok(BTreeSet::new()), crate::ledger::persons)?;
        let releases = self.store.releases().await?;
        let mut earlier: Vec<Release> =
            releases.into_iter().filter(|release| release.dataset == plan.dataset).collect();
        earlier.sort_by_key(|release| release.published_at);
        self.compare_with_earlier(&earlier, &plan.version, &everybody, recipe.policy.class_size())?;
        let table = cohort.tables.into_values().next().ok_or(NodeError::Work { step: "cohort".to_owned() })?;
        let identified = Identified::of_many(donors, table);
        let before = self.open_ledger(&earlier)?;
        let (policy, ledger) = (&recipe.policy, &recipe.ledger);
        let safe = deidentify_beside(identified, &selection.grant, policy, &recipe.hierarchies, &before, ledger)?;
        let risk = serde_json::to_value(safe.receipt()).unwrap_or_default();
        progress.finish(&risk_in_words(&risk));
        note("deidentify", true, risk.clone());
        failpoint("deidentify.done");

        // gate, release
        progress.start("release", 1);
        let (subject, safe_donors) = (safe.digest(), safe.donors().clone());
        let kept_ledger = self.keep_ledger(&everybody, &safe)?;
        let consents = self.store.consents().await?;
        let approval = self.approve(subject, &selection.grant, &safe_donors, &consents, &asked_by)?;
        let outbound = let_out(safe, &approval)?;
        let parcel = acequia_release::release(&outbound, &plan)?;
        failpoint("release.made");
        let manifest = &parcel.get().manifest;
        let mut detail = kept_ledger;
        detail["key"] = release_key.to_string().into();
        detail["split_key"] = hex::encode(split_key).into();
        let approve = |consents: &BTreeMap<DonorId, History>| {
            self.approve(subject, &selection.grant, &safe_donors, consents, &asked_by)
        };
        let published = self.put_out(&parcel, &safe_donors, recipe.cohort.purpose, &earlier, detail, approve).await?;
        progress.finish(&format!("{} {} published", manifest.dataset, manifest.version));
        note("release", true, json!({ "files": manifest.files.len(), "manifest": manifest.digest() }));
        Ok(RunReport {
            dataset: manifest.dataset.to_string(),
            version: manifest.version.clone(),
            manifest: manifest.digest(),
            published: matches!(published, Published::New),
            stages,
            donations,
            splits: manifest.splits.clone(),
            risk,
        })
    }

    fn approve(
        &self,
        subject: Digest,
        grant: &Grant,
        donors: &BTreeSet<DonorId>,
        consents: &BTreeMap<DonorId, History>,
        policy: &Policy,
    ) -> Result<Approval, Failure> {
        let history = |donor: &DonorId| consents.get(donor).cloned();
        Ok(approve_granted(subject, grant, donors, history, policy, self.clock.now())?)
    }

    /// Versions that are served, with who is in them. A version of a program that did not keep that is left out.
    pub(crate) async fn served(&self, releases: &[Release]) -> Result<Vec<(String, BTreeSet<String>)>, Failure> {
        let stones = self.store.tombstones().await?;
        let mut served = Vec::new();
        for release in releases {
            let down = stones.iter().any(|(_, stone)| stone.is_of(&release.dataset, &release.version));
            if let Some(subjects) = self.vault.subjects_of(release)?.filter(|_| !down) {
                served.push((release.version.clone(), subjects));
            }
        }
        Ok(served)
    }

    /// Whether somebody in a published version, by her random name there, has left it since. Who was erased has no name any more.
    pub(crate) fn has_left(
        &self,
        subject: &str,
        donors_by_name: &BTreeMap<String, DonorId>,
        consents: &BTreeMap<DonorId, History>,
        purpose: Purpose,
    ) -> bool {
        let (operation, now) = (Operation::Republish, self.clock.now());
        let ask = Ask { purpose, operation, policy: &self.policy, now, terms: Conditions::none() };
        let reasons = |donor: &DonorId| ask.about(donor, consents.get(donor)).reasons();
        donors_by_name.get(subject).is_none_or(|donor| left_version(reasons(donor)))
    }

    /// Takes versions down with people in them who left after a newer version without them was out. (Those who left before
    /// are seen by the publication of that version.)
    pub(crate) async fn give_way(&self) -> Result<(), Failure> {
        let releases = self.store.releases().await?;
        let names = self.store.subjects().await?;
        let donors_by_name: BTreeMap<String, DonorId> = names.into_iter().map(|(donor, name)| (name, donor)).collect();
        let consents = self.store.consents().await?;
        let mut by_dataset: BTreeMap<String, Vec<Release>> = BTreeMap::new();
        for release in releases {
            by_dataset.entry(release.dataset.to_string()).or_default().push(release);
        }
        for (dataset, mut releases) in by_dataset {
            releases.sort_by_key(|release| release.published_at);
            let Some(purpose) = releases.last().map(purpose_of) else { continue };
            let mut served = self.served(&releases).await?;
            let Some((newest, still_in)) = served.pop() else { continue };
            for (version, subjects) in served {
                let left = |subject: &&String| self.has_left(subject, &donors_by_name, &consents, purpose);
                let mut left = subjects.iter().filter(left).peekable();
                if left.peek().is_some() && !left.any(|subject| still_in.contains(subject)) {
                    let (dataset, successor) = (dataset.clone(), Some(newest.clone()));
                    let stone = Tombstone { dataset, version, reason: TakenDown::Withdrawal, successor };
                    self.store.take_down(&stone, self.clock.now()).await?;
                }
            }
        }
        Ok(())
    }

    /// Donors in the newest version of a data set, and when it was published: what of theirs was there then may stay in the next
    /// version, though no further use is begun. Not where the version was taken down for a fault of its own.
    async fn in_newest(&self, recipe: &Recipe) -> Result<Option<(BTreeSet<DonorId>, Timestamp)>, Failure> {
        if recipe.cohort.purpose != Purpose::OpenPublication {
            return Ok(None);
        }
        let dataset = recipe.plan(Vec::new(), ConsentPlan::default())?.dataset;
        let releases = self.store.releases().await?.into_iter().filter(|release| release.dataset == dataset);
        let Some(newest) = releases.max_by_key(|release| release.published_at) else { return Ok(None) };
        let stones = self.store.tombstones().await?;
        let faulty =
            |stone: &Tombstone| stone.is_of(&newest.dataset, &newest.version) && stone.reason != TakenDown::Withdrawal;
        if stones.iter().any(|(_, stone)| faulty(stone)) {
            return Ok(None);
        }
        let subjects = self.vault.subjects_of(&newest)?.unwrap_or_default();
        let names = self.store.subjects().await?.into_iter().filter(|(_, name)| subjects.contains(name));
        Ok(Some((names.map(|(donor, _)| donor).collect(), newest.published_at)))
    }

    /// The diversity report of the greatest earlier version, to tell what changed.
    async fn diversity_before(&self, plan: &Plan) -> Result<Option<Report>, Failure> {
        let number = |version: &str| version.split('.').map(|part| part.parse().unwrap_or(0)).collect::<Vec<u64>>();
        let this = number(&plan.version);
        let earlier = self.store.releases().await?.into_iter();
        let earlier = earlier.filter(|release| release.dataset == plan.dataset && number(&release.version) < this);
        let Some(earlier) = earlier.max_by_key(|release| number(&release.version)) else { return Ok(None) };
        let bytes = self.blobs.get(&file_digest(&earlier, "diversity.json")?)?;
        // A version of another program may have another layout; then nothing is compared.
        Ok(Report::parse(&bytes).ok().map(|report| Report { change: None, ..report }))
    }

    /// The key of the split assignment.
    ///
    /// The first version derives it from the seed and the digests of all granted files, so that the same inputs give the
    /// same splits at any node, while nobody who lacks the files can compute who is where. Later versions of the data set
    /// keep the key of the first, so that people keep their place in the order from which splits are cut: when others join
    /// or leave, only those near a cut move.
    async fn split_key(&self, recipe: &Recipe, selection: &Selection) -> Result<[u8; 32], Failure> {
        let dataset = recipe.plan(Vec::new(), ConsentPlan::default())?.dataset;
        let earlier = self.store.releases().await?.into_iter().filter(|release| release.dataset == dataset);
        let first = earlier.min_by_key(|release| release.published_at);
        if let Some(kept) = first.and_then(|release| release.detail["split_key"].as_str().map(str::to_owned)) {
            let mut key = [0; 32];
            if hex::decode_to_slice(&kept, &mut key).is_ok() {
                return Ok(key);
            }
        }
        let mut digests: Vec<Digest> = selection.granted.iter().map(|donation| donation.plaintext).collect();
        digests.sort();
        let mut hasher = blake3::Hasher::new_derive_key("acequia 2026 split key v1");
        hasher.update(&recipe.seed.to_le_bytes());
        for digest in &digests {
            hasher.update(digest.as_bytes());
        }
        Ok(*hasher.finalize().as_bytes())
    }
}

/// Adds the assignment column: keyed BLAKE3 of the person's source key digest, 63 bits.
fn assign(rows: &Table, person_source: &Table, split_key: &[u8; 32]) -> Result<Table, Failure> {
    let ids = person_source.column(PERSON_ID)?;
    let digests = person_source.column("source_key_digest")?;
    let (ids, digests) = (ids.as_primitive::<Int64Type>(), digests.as_primitive::<Int64Type>());
    let by_person: BTreeMap<i64, i64> = ids.values().iter().copied().zip(digests.values().iter().copied()).collect();
    let persons = rows.column(PERSON_ID)?;
    let persons = persons
        .as_primitive_opt::<Int64Type>()
        .ok_or_else(|| NodeError::Recipe { message: "the cohort's person_id must be BIGINT".to_owned() })?;
    let mut assignment = Vec::with_capacity(persons.len());
    for person in persons.iter() {
        let digest = person.and_then(|person| by_person.get(&person));
        let digest = digest
            .ok_or_else(|| NodeError::Recipe { message: "the cohort has a person_id that is no person".to_owned() })?;
        let hash = blake3::keyed_hash(split_key, &digest.to_le_bytes());
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&hash.as_bytes()[..8]);
        assignment.push(i64::try_from(u64::from_be_bytes(bytes) >> 1).unwrap_or(0));
    }
    let batch = rows.to_batch()?;
    let mut fields: Vec<_> = batch.schema().fields().iter().cloned().collect();
    fields.push(Arc::new(arrow::datatypes::Field::new(ASSIGNMENT, arrow::datatypes::DataType::Int64, false)));
    let mut columns = batch.columns().to_vec();
    columns.push(Arc::new(Int64Array::from(assignment)) as ArrayRef);
    let schema = Arc::new(arrow::datatypes::Schema::new(fields));
    let batch = RecordBatch::try_new(schema, columns)
        .map_err(|source| FrameError::Arrow { table: "cohort".to_owned(), source })?;
    Ok(Table::new("cohort", vec![batch])?)
}

/// Fewer individual donors than this are not counted, nor is there a digest over their files.
const FEWEST_DONORS: usize = 12;

/// Where records came from. Digests of single files are not published: those of individual donors would let anybody who
/// holds a copy of a record test whether it is in; one digest stands for all files of a source.
fn input_digests(granted: &[Donation]) -> Vec<InputDigest> {
    let mut by_source: BTreeMap<&str, (BTreeSet<&str>, Vec<Digest>)> = BTreeMap::new();
    for donation in granted {
        let (formats, digests) = by_source.entry(donation.source.as_str()).or_default();
        formats.insert(donation.format.as_str());
        digests.push(donation.plaintext);
    }
    let digest = |(source, (formats, mut digests)): (&str, (BTreeSet<&str>, Vec<Digest>))| {
        let mut format = formats.into_iter().collect::<Vec<_>>().join(", ");
        if source == crate::INDIVIDUAL_DONORS && digests.len() < FEWEST_DONORS {
            format = format!("not counted: fewer than {FEWEST_DONORS} files");
            digests.clear();
        }
        digests.sort();
        let parts = digests.iter().map(|digest| ("file", digest.as_bytes().as_slice()));
        let digest = digest_named("acequia inputs v1", parts);
        InputDigest { source: source.to_owned(), format, files: digests.len() as u64, digest }
    };
    by_source.into_iter().map(digest).collect()
}

const OUTCOMES: [(&str, &str); 10] = [
    ("included", "included"),
    ("refused", "said no to open publication"),
    ("withdrawn", "withdrew"),
    ("condition", "set conditions that this use does not keep"),
    ("expired", "consent ran out"),
    ("not-asked", "were not asked for this purpose"),
    ("not-yet", "consent starts later"),
    ("cooling-off", "have time to think it over"),
    ("unknown", "no consent on file"),
    ("quarantined", "file could not be read"),
];

fn consent_plan(selection: &Selection) -> ConsentPlan {
    let listed = |outcomes: &BTreeMap<&'static str, u64>| -> Vec<ConsentOutcome> {
        let outcome = |(name, title): &(&str, &str)| {
            let count = outcomes.get(name).copied()?;
            Some(ConsentOutcome { name: (*name).to_owned(), title: (*title).to_owned(), count })
        };
        OUTCOMES.iter().filter_map(outcome).collect()
    };
    // An institution gives few files for many people; rates are told only where they are about donors.
    let many = |outcomes: &BTreeMap<&'static str, u64>| outcomes.values().sum::<u64>() >= FEWEST_COUNTED;
    let told = selection.by_source.len() > 1 && selection.by_source.values().all(many);
    let by_source = selection.by_source.iter().filter(|_| told);
    ConsentPlan {
        counted: "donated files".to_owned(),
        outcomes: listed(&selection.outcomes),
        grouped_by: "source".to_owned(),
        by_group: by_source
            .map(|(source, outcomes)| ConsentGroup { label: source.clone(), outcomes: listed(outcomes) })
            .collect(),
    }
}

/// Everybody in the records by source, and who of them is in no row of the cohort. Nothing where there are few individual
/// donors, who are not counted.
fn people_plan(clean: &CleanTables, cohort_rows: u64) -> Result<Option<PeoplePlan>, Failure> {
    let mut by_source: BTreeMap<String, u64> = BTreeMap::new();
    let source = clean.person_source.as_ref().map(|table| table.column("source")).transpose()?;
    for name in
        source.iter().filter_map(|source| source.as_string_opt::<i32>()).flat_map(|names| names.iter().flatten())
    {
        *by_source.entry(name.to_owned()).or_default() += 1;
    }
    if by_source.get(crate::INDIVIDUAL_DONORS).is_some_and(|people| *people < FEWEST_DONORS as u64) {
        return Ok(None);
    }
    let outside = by_source.values().sum::<u64>().saturating_sub(cohort_rows);
    let reason = format!("held: {}", Held::NoBirthDate.as_str());
    let records_without_birth_date = clean.reasons[&reason].as_u64().unwrap_or(0);
    Ok(Some(PeoplePlan { by_source, outside, records_without_birth_date }))
}

pub(crate) fn file_digest(release: &Release, path: &str) -> Result<Digest, Failure> {
    let found = release.files.iter().find(|(own, _)| own == path).map(|(_, digest)| *digest);
    Ok(found.ok_or(NodeError::NotFound { what: "file in the version" })?)
}

fn risk_in_words(risk: &Value) -> String {
    let number = |value: &Value| value.as_f64().unwrap_or(f64::NAN);
    format!(
        "{} of {} rows, smallest class {}, highest risk {:.3}",
        risk["rows"]["released"],
        risk["rows"]["input"],
        risk["classes"]["smallest"],
        number(&risk["risk"]["prosecutor"]["maximum"])
    )
}
