//! From consents to a cohort: whose records may be used, as cleansed OMOP tables, and rows of them.
//!
//! ```text
//! consent ─► vault ─► unify ─► cleanse ─► cohort
//! ```

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use acequia_cleanse::{Scorecard, Status, Thresholds};
use acequia_custody::{Ask, Conditions, Decision, Grant, Identified, Operation, Policy};
use acequia_frame::{SqlStep, Table};
use acequia_intake::{Limits, Mapping};
use acequia_omop::Vocabulary;
use acequia_store::{Donation, State};
use acequia_types::{Digest, DonorId, Timestamp};
use acequia_unify::{Donated, PERSON_SOURCE, Unifier};
use acequia_vault::Use;
use acequia_vocabulary::Review;
use serde_json::{Value, json};

use crate::failure::{Failure, NodeError};
use crate::home::Node;
use crate::progress::Progress;
use crate::recipe::CohortDefinition;
use crate::steps::{Made, step_key};

/// Table of values before and after repairs; it stays between the steps.
const REPAIR_VALUES: &str = "repair_values";
/// Originals that are opened with one entry on record.
const OPENED_AT_ONCE: usize = 64;
/// Smaller counts of rows are not told in the report of a run.
pub(crate) const FEWEST_COUNTED: u64 = 12;

/// The donations a run may use, and why not the others.
pub(crate) struct Selection {
    pub(crate) granted: Vec<Donation>,
    pub(crate) grant: Grant,
    pub(crate) outcomes: BTreeMap<&'static str, u64>,
    /// The same for each source of the recipe.
    pub(crate) by_source: BTreeMap<String, BTreeMap<&'static str, u64>>,
}

/// Cleansed OMOP tables.
pub(crate) struct CleanTables {
    pub(crate) tables: BTreeMap<String, Table>,
    /// Which source and key each person comes from.
    pub(crate) person_source: Option<Table>,
    /// Why records were not loaded, and how many.
    pub(crate) reasons: Value,
    /// Name of the step that made them.
    pub(crate) key: Digest,
}

impl Node {
    /// Asks every donor's consent.
    ///
    /// `terms` are what everybody is held to who has what is published of them; there are none where nothing is, or openly.
    /// `stays` are donors in a version that is out, and when it came out: what of theirs was there then may stay in the next.
    ///
    /// # Errors
    /// [`NodeError::NothingGranted`]; errors of the store.
    pub(crate) async fn select(
        &self,
        cohort: &CohortDefinition,
        stays: Option<&(BTreeSet<DonorId>, Timestamp)>,
        policy: &Policy,
        terms: &Conditions,
    ) -> Result<Selection, Failure> {
        let consents = self.store.consents().await?;
        let (purpose, now) = (cohort.purpose, self.clock.now());
        let ask = |donor: &DonorId, operation| {
            Ask { purpose, operation, policy, now, terms }.about(donor, consents.get(donor))
        };
        let (mut granted, mut grants, mut outcomes) = (Vec::new(), Vec::new(), BTreeMap::new());
        let mut by_source: BTreeMap<String, BTreeMap<&'static str, u64>> = BTreeMap::new();
        for donation in self.store.donations().await? {
            if !cohort.sources.contains(&donation.source) {
                *outcomes.entry("other-source").or_default() += 1;
                continue;
            }
            let own = by_source.entry(donation.source.as_str().to_owned()).or_default();
            if matches!(donation.state, State::Quarantined { .. }) {
                *outcomes.entry("quarantined").or_default() += 1;
                *own.entry("quarantined").or_default() += 1;
                continue;
            }
            let stays = stays.is_some_and(|(donors, published_at)| {
                donors.contains(&donation.donor) && donation.received_at < *published_at
            });
            let decision = match ask(&donation.donor, Operation::Use) {
                Decision::Deny(_) if stays => ask(&donation.donor, Operation::Republish),
                decision => decision,
            };
            match decision {
                Decision::Permit(grant) => {
                    grants.push(grant);
                    granted.push(donation);
                    *outcomes.entry("included").or_default() += 1;
                    *own.entry("included").or_default() += 1;
                }
                // What a person must judge first stays closed until then.
                Decision::Refer(reasons) | Decision::Deny(reasons) => {
                    *outcomes.entry(reasons.first().as_str()).or_default() += 1;
                    *own.entry(reasons.first().as_str()).or_default() += 1;
                }
            }
        }
        if granted.is_empty() {
            return Err(NodeError::NothingGranted { purpose: purpose.to_string() }.into());
        }
        Ok(Selection { granted, grant: Grant::join(purpose, grants), outcomes, by_source })
    }

    /// Unifies and cleanses what was selected, or takes it over from an earlier run. `note` hears of each stage: whether it
    /// ran, and its counts.
    ///
    /// # Errors
    /// The coded error of the stage that refused.
    pub(crate) async fn clean_tables(
        &self,
        cohort: &CohortDefinition,
        selection: &Selection,
        reason: &str,
        progress: &dyn Progress,
        note: &mut (dyn FnMut(&str, bool, Value) + Send),
    ) -> Result<CleanTables, Failure> {
        // unify
        let id_key = self.id_key();
        let inputs: Vec<u8> = selection.granted.iter().flat_map(|d| d.intake.as_str().bytes().chain([0])).collect();
        let id_key_check = id_key.check();
        let vocabulary = self.vocabulary()?;
        if let Some(review) = &cohort.review {
            review.check(&vocabulary)?;
        }
        let local_codes = cohort.review.as_ref().map(Review::local_codes).unwrap_or_default();
        let unify_key = step_key(
            "unify",
            &[
                ("inputs", &inputs),
                ("id key", &id_key_check),
                ("vocabulary", vocabulary.version().as_bytes()),
                ("local codes", &local_codes.digest()),
            ],
        );
        progress.start("unify", selection.granted.len() as u64);
        let (unified, ran) = match self.finished(unify_key).await? {
            Some(made) => (made, false),
            None => {
                let mut unifier = Unifier::new(id_key, &vocabulary, local_codes.into());
                for file in self.open_granted(selection, &vocabulary, reason, progress).await? {
                    unifier.add(file, &selection.grant)?;
                }
                let unified = unifier.finish()?.into_open(&selection.grant)?;
                let detail = serde_json::to_value(&unified.report).unwrap_or_default();
                let made = Made { tables: unified.tables, detail };
                self.keep("unify", unify_key, &made).await?;
                (made, true)
            }
        };
        progress.finish(&counts_in_words(&unified.detail["counts"]));
        note("unify", ran, unified.detail.clone());

        // cleanse
        let thresholds = Thresholds::as_of(cohort.as_of);
        let thresholds_text = format!("{thresholds:?}");
        let key = step_key("cleanse", &[("unify", unify_key.as_bytes()), ("thresholds", thresholds_text.as_bytes())]);
        progress.start("cleanse", 1);
        let person_source = unified.tables.get(PERSON_SOURCE).cloned();
        let (clean, ran) = self
            .step("cleanse", key, || {
                let cleansed = acequia_cleanse::cleanse(&unified.tables, &thresholds)?;
                let scorecard = cleansed.scorecard.without_small_counts(FEWEST_COUNTED);
                let detail = scorecard_in_brief(&scorecard);
                let mut tables = cleansed.tables;
                tables.insert("repairs".to_owned(), cleansed.repairs);
                tables.insert(REPAIR_VALUES.to_owned(), cleansed.repair_values);
                Ok(Made { tables, detail })
            })
            .await?;
        progress.finish(&scorecard_in_words(&clean.detail));
        note("cleanse", ran, clean.detail);
        Ok(CleanTables { tables: clean.tables, person_source, reasons: unified.detail["reasons"].clone(), key })
    }

    /// The rows that the cohort's SQL selects.
    ///
    /// # Errors
    /// The engine's.
    pub(crate) fn cohort_rows(
        &self,
        cohort: &CohortDefinition,
        tables: &BTreeMap<String, Table>,
    ) -> Result<Table, Failure> {
        let sql = SqlStep { name: "cohort".to_owned(), sql: cohort.sql.clone(), expects: None };
        let hidden = [PERSON_SOURCE, REPAIR_VALUES];
        let inputs: Vec<&Table> = tables.values().filter(|table| !hidden.contains(&table.name())).collect();
        Ok(self.engine.run(&sql, &inputs)?)
    }

    async fn open_granted(
        &self,
        selection: &Selection,
        vocabulary: &Vocabulary,
        reason: &str,
        progress: &dyn Progress,
    ) -> Result<Vec<Identified<Donated>>, Failure> {
        let mut files = Vec::with_capacity(selection.granted.len());
        let mut mappings = BTreeMap::new();
        let mut opened = Vec::new().into_iter();
        for (at, donation) in selection.granted.iter().enumerate() {
            // Consent is asked again, and the access put on record, before each batch.
            if at % OPENED_AT_ONCE == 0 {
                let batch: Vec<&Donation> = selection.granted[at..].iter().take(OPENED_AT_ONCE).collect();
                let used = Use { actor: "run", reason };
                opened = self.vault.open_all(&batch, &selection.grant, used, self.clock.now()).await?.into_iter();
            }
            let mapping = match donation.mapping {
                None => None,
                Some(digest) => {
                    let known = match mappings.entry(digest) {
                        Entry::Occupied(known) => known.into_mut(),
                        Entry::Vacant(place) => {
                            let text = self.blobs.get(&digest)?;
                            place.insert(Mapping::parse(&String::from_utf8_lossy(&text), vocabulary)?)
                        }
                    };
                    Some(&*known)
                }
            };
            let sealed = opened.next().ok_or(NodeError::Work { step: "vault".to_owned() })?;
            let own = donation.source.as_str() == crate::INDIVIDUAL_DONORS;
            let read = sealed.map(|bytes| {
                let read = acequia_intake::read(&bytes, mapping, &Limits::default())?;
                Ok::<_, acequia_intake::IntakeError>(if own { own_record(read) } else { read })
            });
            let donors = read.donors().clone();
            let file = read.into_open(&selection.grant)??;
            let (intake, source, donor) = (donation.intake.clone(), donation.source.clone(), donation.donor.clone());
            files.push(Identified::of_many(donors, Donated { intake, source, donor, file }));
            progress.advance(1);
        }
        Ok(files)
    }
}

/// A donor is one person, whatever number each hospital gave her: files of one donor meet in one person, and a second
/// patient in a file stays out.
fn own_record(file: acequia_omop::SourceFile) -> acequia_omop::SourceFile {
    let mut file = file.only_first_person();
    file.records.iter_mut().for_each(|record| record.person.key.clear());
    file
}

fn counts_in_words(counts: &Value) -> String {
    format!(
        "{} items: {} loaded, {} excluded, {} held, {} unmapped, {} rejected",
        counts["total"], counts["loaded"], counts["excluded"], counts["held"], counts["unmapped"], counts["rejected"]
    )
}

/// What a run tells of the scorecard: numbers of checks, those that failed, and counts that are not small.
fn scorecard_in_brief(scorecard: &Scorecard) -> Value {
    let failed = scorecard.checks.iter().filter(|check| check.status == Status::Fail);
    json!({
        "outcomes": scorecard.outcomes(),
        "failed": failed.collect::<Vec<_>>(),
        "repairs": scorecard.repairs,
        "rows_in": scorecard.rows_in,
        "rows_out": scorecard.rows_out,
        "minimum": scorecard.minimum,
    })
}

fn scorecard_in_words(scorecard: &Value) -> String {
    format!("{} checks passed, {} failed", scorecard["outcomes"]["pass"], scorecard["outcomes"]["fail"])
}
