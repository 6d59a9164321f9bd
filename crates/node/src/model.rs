//! Publishing a model: consent of those it learned from, licences of what it learned from, the gate, and the version.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use acequia_custody::{
    Approval, Ask, Conditions, Grant, History, Operation, Policy, Purpose, RunDecision, approve_granted,
};
use acequia_gate::{Artefact, Manifest, let_out};
use acequia_learn::{LearnError, LearnedFrom, Model, Record, TestedModel};
use acequia_release::{ModelPlan, Source, release_model};
use acequia_store::{Published, Release};
use acequia_types::{DatasetName, Digest, DonorId, digest_named};
use acequia_vault::{ARTEFACT, is_model};
use serde::Serialize;
use serde_json::{Value, json};

use crate::failpoint::failpoint;
use crate::failure::{Failure, NodeError};
use crate::home::Node;
use crate::pipeline::file_digest;
use crate::progress::Progress;
use crate::recipe::Files;

/// Name of the site that a node's donors are in a run.
pub const DONORS_SITE: &str = "donors";

/// Names that addresses of the hub begin with; a model of theirs could not be read by Hub clients.
const RESERVED: [&str; 9] = ["api", "assets", "catalogue", "datasets", "ga4gh", "models", "oai", "spaces", "you"];

/// A model's card with the files it refers to: what `acequia publish` reads.
#[derive(Debug, Clone)]
pub struct ModelRecipe {
    /// The model.
    pub model: Model,
    /// What it is worth.
    pub records: Vec<Record>,
    plan: toml::Table,
    digest: Digest,
}

impl ModelRecipe {
    /// Reads a card (TOML). `file` names the model and `records` its validation records, all beside the card; the other keys are
    /// those of [`ModelPlan`].
    ///
    /// # Errors
    /// [`NodeError::Recipe`] with row and key, [`NodeError::Io`] when a file is missing, the errors of the model's reader.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let files = Files::beside(path)?;
        let mut plan: toml::Table = files.parse()?;
        let wrong = |message: &str| NodeError::Recipe { message: message.to_owned() };
        let file = plan.remove("file").and_then(|value| value.as_str().map(str::to_owned));
        let file = file.ok_or_else(|| wrong("file: name the model's file, such as model.json"))?;
        let model = files.read(&file)?;
        let records = match plan.remove("records") {
            None => Vec::new(),
            Some(toml::Value::Array(names)) => {
                let name = |value: &toml::Value| value.as_str().map(str::to_owned);
                let names: Option<Vec<String>> = names.iter().map(name).collect();
                names.ok_or_else(|| wrong("records: a list of names of files"))?
            }
            Some(_) => return Err(wrong("records: a list of names of files").into()),
        };
        let records = records.iter().map(|name| files.read(name)).collect::<Result<Vec<_>, Failure>>()?;
        let parts = [("card", files.text.as_bytes()), ("model", model.as_slice())].into_iter();
        let parts = parts.chain(records.iter().map(|record| ("record", record.as_slice())));
        let digest = digest_named("acequia model card v1", parts);
        let read = |bytes: &Vec<u8>| Ok(Record::from_json(&String::from_utf8_lossy(bytes))?);
        let records = records.iter().map(read).collect::<Result<Vec<_>, Failure>>()?;
        if records.iter().any(|record| acequia_net::check_statements(record).is_err()) {
            let problem = "a statement in it is not signed by the key that stands there";
            return Err(LearnError::Record { problem }.into());
        }
        Ok(Self { model: Model::from_bytes(&model)?, records, plan, digest })
    }

    /// `namespace/name` and version, as the card states them.
    ///
    /// # Errors
    /// [`NodeError::Recipe`] when the card is not one.
    pub fn named(&self) -> Result<(String, String), Failure> {
        let plan = self.plan()?;
        Ok((plan.model.to_string(), plan.version))
    }

    fn plan(&self) -> Result<ModelPlan, NodeError> {
        let mut plan = self.plan.clone();
        plan.insert("program".to_owned(), crate::PROGRAM.into());
        plan.insert("recipe".to_owned(), self.digest.to_string().into());
        plan.try_into().map_err(|error: toml::de::Error| NodeError::Recipe { message: error.message().to_owned() })
    }
}

/// What publishing a model did.
#[derive(Debug, Clone, Serialize)]
pub struct ModelReport {
    /// `namespace/name`.
    pub model: String,
    /// Version.
    pub version: String,
    /// Digest of the manifest: the version's name.
    pub manifest: Digest,
    /// Digest of the frozen model.
    pub digest: Digest,
    /// Whether it came out now; `false` when it was out already.
    pub published: bool,
    /// Donors of this node among those it learned from.
    pub donors: usize,
    /// What it learned from, as the card names it.
    pub learned_from: Vec<Source>,
    /// Evidence in words, one for each record.
    pub evidence: Vec<String>,
    /// How much of what a card should state it states, and what is missing.
    pub completeness: Value,
}

impl Node {
    /// Publishes a model: its donors' consent is asked again in the transaction that assigns the version, and earlier versions with
    /// people in them who left give way in it. `by` is who decided that the model may go out.
    ///
    /// # Errors
    /// The coded error of the check that refused; [`NodeError::Untraced`] when it learned from donors and no training of it is on record.
    pub async fn publish_model(
        &self,
        recipe: &ModelRecipe,
        by: &str,
        progress: &dyn Progress,
    ) -> Result<ModelReport, Failure> {
        let _lock = self.lock()?;
        progress.start("publish", 1);
        let mut plan = recipe.plan()?;
        if RESERVED.contains(&plan.model.namespace()) {
            return Err(NodeError::Recipe {
                message: "model: the part before the slash is an address of the hub".to_owned(),
            }
            .into());
        }
        let releases = self.store.releases().await?;
        if releases.iter().any(|release| release.dataset == plan.model && !is_model(release)) {
            return Err(NodeError::Recipe { message: "model: a data set of this node has this name".to_owned() }.into());
        }
        self.name_sources(&mut plan, &recipe.model, &releases)?;
        let tested = TestedModel::new(recipe.model.clone(), recipe.records.clone())?;
        let (subject, digest, run) = (tested.digest(), recipe.model.digest(), recipe.model.plan);
        let (donors, policy) = self.donors_of(&recipe.model).await?;
        let decision =
            RunDecision { plan: run, allowed: true, by: by.to_owned(), at: self.clock.now(), last_day: None };
        let grant = self.grant_of(&donors, &policy, &self.store.consents().await?);
        let approve = |consents: &BTreeMap<DonorId, History>| -> Result<Approval, Failure> {
            let now = self.clock.now();
            if donors.is_empty() {
                return Ok(decision.approve(subject, run, now)?);
            }
            let history = |donor: &DonorId| consents.get(donor).cloned();
            Ok(approve_granted(subject, &grant, &donors, history, &policy, now)?)
        };
        let outbound = let_out(tested, &approve(&self.store.consents().await?)?)?;
        let parcel = release_model(&outbound, &plan)?;
        failpoint("release.made");
        let manifest = &parcel.get().manifest;
        let card = parcel.get().files.get("card.json");
        let document: Value = card.and_then(|bytes| serde_json::from_slice(bytes).ok()).unwrap_or_default();
        let detail = json!({ ARTEFACT: "model", "model": digest, "decided_by": by });
        let earlier: Vec<Release> = releases.into_iter().filter(|release| release.dataset == plan.model).collect();
        let published = self.put_out(&parcel, &donors, Purpose::ModelTraining, &earlier, detail, approve).await?;
        self.hand_over_notices().await?;
        progress.finish(&format!("{} {} published", manifest.dataset, manifest.version));
        Ok(ModelReport {
            model: manifest.dataset.to_string(),
            version: manifest.version.clone(),
            manifest: manifest.digest(),
            digest,
            published: matches!(published, Published::New),
            donors: donors.len(),
            learned_from: plan.learned_from,
            evidence: recipe.records.iter().map(|record| record.evidence_words.clone()).collect(),
            completeness: document["completeness"].clone(),
        })
    }

    /// Donors whose rows a model learned from, with the policy that their cohort is used under: those of whom it is on record that exactly
    /// this model was to be told, whether or not they allowed it then. No donor when its plan was never run on donors here.
    async fn donors_of(&self, model: &Model) -> Result<(BTreeSet<DonorId>, Policy), Failure> {
        let run = crate::training::reason_of(model.plan);
        let told = format!("{run}, model {}, cohort ", model.digest());
        let accesses = self.store.accesses(None).await?;
        let mut subjects: BTreeSet<String> = BTreeSet::new();
        let mut cohort = None;
        for (entry, access) in &accesses {
            if let Some(digest) = access.reason.strip_prefix(&told) {
                cohort = Digest::parse(digest).ok();
                subjects.extend(entry.subject.clone());
            }
        }
        let ran_here = || accesses.iter().any(|(_, access)| access.reason.starts_with(&run));
        let Some(cohort) = cohort else {
            if model.sites.iter().any(|site| site == DONORS_SITE) || ran_here() {
                return Err(NodeError::Untraced.into());
            }
            return Ok((BTreeSet::new(), self.policy.clone()));
        };
        let names = self.store.subjects().await?;
        let donors: BTreeSet<DonorId> =
            names.into_iter().filter(|(_, name)| subjects.contains(name)).map(|(donor, _)| donor).collect();
        // Who was erased has no name any more, and allows nothing.
        if donors.len() < subjects.len() {
            return Err(NodeError::Left.into());
        }
        Ok((donors, self.policy_for(cohort).await?))
    }

    /// What donors allow now, for what their rows were used for. Who allows nothing is not in it, and [`approve_granted`] refuses.
    fn grant_of(&self, donors: &BTreeSet<DonorId>, policy: &Policy, consents: &BTreeMap<DonorId, History>) -> Grant {
        let purpose = Purpose::ModelTraining;
        let ask = Ask { purpose, operation: Operation::Use, policy, now: self.clock.now(), terms: Conditions::none() };
        Grant::join(purpose, donors.iter().filter_map(|donor| ask.about(donor, consents.get(donor)).grant()))
    }

    /// Completes what the card says the model learned from: every published version of its lineage is named, and what this node knows
    /// of a version is not typed.
    fn name_sources(&self, plan: &mut ModelPlan, model: &Model, releases: &[Release]) -> Result<(), Failure> {
        for known in &model.learned_from {
            let is_same = |source: &&mut Source| {
                source.name.as_ref().is_some_and(|name| name.to_string() == known.name)
                    && source.version.as_ref().is_none_or(|version| *version == known.version)
            };
            let at = plan.learned_from.iter_mut().find(is_same);
            let source = match at {
                Some(source) => source,
                None => {
                    plan.learned_from.push(Source { title: known.name.clone(), ..Source::default() });
                    let last = plan.learned_from.len() - 1;
                    &mut plan.learned_from[last]
                }
            };
            source.name = DatasetName::parse(&known.name).ok();
            source.version = Some(known.version.clone());
            source.manifest = Some(known.manifest);
            source.license = Some(known.license.clone());
        }
        for source in &mut plan.learned_from {
            let (Some(name), Some(version)) = (&source.name, &source.version) else { continue };
            let own = |release: &&Release| release.dataset == *name && release.version == *version;
            let Some(release) = releases.iter().find(own) else { continue };
            if source.manifest.is_some_and(|manifest| manifest != release.manifest) {
                let message = format!("learned_from: {name} {version} of this node is another one");
                return Err(NodeError::Recipe { message }.into());
            }
            let manifest = self.manifest(release)?;
            source.manifest = Some(release.manifest);
            source.license = Some(manifest.get().license.clone());
            if source.title.trim().is_empty() || source.title == name.to_string() {
                source.title.clone_from(&manifest.get().title);
            }
            let described = if is_model(release) { "card.json" } else { "croissant.json" };
            let bytes = self.blobs.get(&file_digest(release, described)?)?;
            let document: Value = serde_json::from_slice(&bytes).unwrap_or_default();
            let code = document.pointer("/usageInfo/0/termCode").and_then(Value::as_str);
            source.use_term = code.map(|code| code.replace('_', ":")).or(source.use_term.take());
        }
        Ok(())
    }
}

/// The published version that a table is from: that of a `manifest.json` beside it or above it which lists the table with the digest
/// it has. Clients of hubs lay files down as links, so both the link and what it leads to are looked at.
pub fn published_source(table: &Path) -> Option<LearnedFrom> {
    let places = [std::path::absolute(table).ok(), table.canonicalize().ok()];
    places.into_iter().flatten().find_map(|place| listed_above(&place))
}

fn listed_above(table: &Path) -> Option<LearnedFrom> {
    const LARGEST_MANIFEST_BYTES: u64 = 64 * 1024 * 1024;
    table.ancestors().skip(1).take(3).find_map(|folder| {
        let manifest = folder.join("manifest.json");
        let bytes = acequia_blobs::read_file(&manifest, "manifest.json", LARGEST_MANIFEST_BYTES).ok()?;
        let manifest: Manifest = serde_json::from_slice(&bytes).ok()?;
        let path = table.strip_prefix(folder).ok()?.to_str()?.replace('\\', "/");
        let file = manifest.files.iter().find(|file| file.path == path && manifest.artefact == Artefact::Dataset)?;
        let bytes = acequia_blobs::read_file(table, "the table", file.bytes).ok()?;
        (Digest::of(&bytes) == file.sha256).then(|| LearnedFrom {
            name: manifest.dataset.to_string(),
            version: manifest.version.clone(),
            manifest: manifest.digest(),
            license: manifest.license.clone(),
        })
    })
}
