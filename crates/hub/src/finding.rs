//! The search index of what is on the shelf, kept until something is published or taken down. One that lacks what could
//! not be read serves for a moment only.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use acequia_gate::Artefact;
use acequia_types::Digest;

use crate::admission;
use crate::card::texts;
use crate::catalogue::Repository;
use crate::facts::{Brief, FactsCache, Kind, PAUSE};
use crate::search::{Document, Facet, Index, size_class};
use crate::{Catalogue, PublishedVersion, Shelf};

/// A shelf with at most this many data sets is indexed anew before the next answer; of a larger one the index before
/// serves until the new one is ready.
const INDEXED_AT_ONCE: usize = 2_000;

/// The index of a shelf, and sums over all its data sets.
#[derive(Debug, Default)]
pub(crate) struct Indexed {
    fingerprint: Option<Digest>,
    /// When to try again, if a document could not be read.
    again_at: Option<Instant>,
    pub(crate) index: Index,
    models: Index,
    /// Rows of people in all data sets; `None` where one does not say whose rows they are.
    pub(crate) people: Option<u64>,
    /// The highest stated chance among them; `None` where one does not state it.
    pub(crate) highest_risk: Option<f64>,
}

impl Indexed {
    /// The index of data sets or of models.
    pub(crate) fn of(&self, artefact: Artefact) -> &Index {
        match artefact {
            Artefact::Dataset => &self.index,
            Artefact::Model => &self.models,
        }
    }

    fn is_of(&self, shelf: &Shelf) -> bool {
        self.fingerprint == Some(shelf.fingerprint()) && self.again_at.is_none_or(|at| Instant::now() < at)
    }
}

/// Keeps the newest index.
#[derive(Default)]
pub(crate) struct Finder {
    newest: Mutex<Arc<Indexed>>,
    building: tokio::sync::Mutex<()>,
}

impl Finder {
    fn newest(&self) -> Arc<Indexed> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The index of `shelf`, or of the one before while a large one is being indexed.
    pub(crate) async fn indexed(
        self: &Arc<Self>,
        catalogue: &Arc<dyn Catalogue>,
        facts: &Arc<FactsCache>,
        shelf: &Arc<Shelf>,
    ) -> Arc<Indexed> {
        let newest = self.newest();
        if newest.is_of(shelf) {
            return newest;
        }
        if shelf.len() > INDEXED_AT_ONCE && newest.fingerprint.is_some() {
            let (own, catalogue, facts, shelf) = (self.clone(), catalogue.clone(), facts.clone(), shelf.clone());
            tokio::spawn(async move {
                // Whoever holds it is at it.
                if let Ok(_turn) = own.building.try_lock() {
                    own.build(&catalogue, &facts, &shelf).await;
                }
            });
            return newest;
        }
        let _turn = self.building.lock().await;
        let newest = self.newest();
        if newest.is_of(shelf) { newest } else { self.build(catalogue, facts, shelf).await }
    }

    async fn build(&self, catalogue: &Arc<dyn Catalogue>, facts: &FactsCache, shelf: &Shelf) -> Arc<Indexed> {
        let mut documents = Vec::with_capacity(shelf.len());
        let (mut people, mut highest_risk) = (Some(0_u64), Some(0.0_f64));
        let mut complete = true;
        for dataset in shelf.datasets() {
            let brief = facts.brief(catalogue, dataset.newest()).await;
            complete &= brief.complete;
            if brief.kind != Kind::Synthetic {
                // A sum is stated only when every part of it is.
                let own = (brief.kind == Kind::Real).then(|| dataset.newest().people());
                people = people.zip(own).map(|(sum, own)| sum.saturating_add(own));
                highest_risk = highest_risk.zip(brief.highest_risk).map(|(most, own)| most.max(own));
            }
            documents.push(document(dataset, &brief));
        }
        let mut models = Vec::new();
        for model in shelf.repositories(Artefact::Model) {
            let brief = facts.brief(catalogue, model.newest()).await;
            complete &= brief.complete;
            models.push(model_document(model, &brief));
        }
        let fingerprint = Some(shelf.fingerprint());
        let indexed = tokio::task::spawn_blocking(|| (Index::of(documents), Index::of(models))).await;
        let (index, models) = indexed.unwrap_or_default();
        let highest_risk = highest_risk.filter(|risk| *risk > 0.0);
        let again_at = (!complete).then(|| Instant::now() + PAUSE);
        let indexed = Arc::new(Indexed { fingerprint, again_at, index, models, people, highest_risk });
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = indexed.clone();
        indexed
    }
}

/// The words of a kind, as a facet shows them.
fn kind(brief: &Brief) -> &'static str {
    match brief.kind {
        Kind::Real => "real people, de-identified",
        Kind::Mixed => "real people and simulated donors, de-identified",
        Kind::Synthetic => "synthetic",
        Kind::NotStated => "not stated",
    }
}

fn document(dataset: &Repository, brief: &Brief) -> Document {
    let version = dataset.newest();
    let mut facets =
        vec![(Facet::Kind, kind(brief).to_owned()), (Facet::Size, size_class(version.people()).to_owned())];
    facets.extend(common_facets(version, brief));
    facets.extend(texts(&brief.card, "task_categories").into_iter().map(|task| (Facet::Task, task)));
    listed(dataset, brief, facets)
}

fn model_document(model: &Repository, brief: &Brief) -> Document {
    let version = model.newest();
    let evidence = crate::pages::evidence_in_short(brief.evidence.as_deref());
    let mut facets = vec![(Facet::Evidence, evidence.to_owned())];
    facets.extend(common_facets(version, brief));
    facets.extend(texts(&brief.card, "pipeline_tag").into_iter().map(|task| (Facet::Task, task)));
    listed(model, brief, facets)
}

/// Facets of data sets and models.
fn common_facets(version: &PublishedVersion, brief: &Brief) -> Vec<(Facet, String)> {
    let manifest = version.manifest();
    let mut facets =
        vec![(Facet::Licence, manifest.license.clone()), (Facet::Publisher, manifest.dataset.namespace().to_owned())];
    facets.push((Facet::Access, admission::in_words(version.tier()).to_owned()));
    facets.extend(brief.conditions.iter().map(|condition| (Facet::Condition, condition.clone())));
    facets.extend(brief.purpose.iter().map(|purpose| (Facet::Purpose, purpose.clone())));
    facets.extend(texts(&brief.card, "language").into_iter().map(|language| (Facet::Language, language)));
    facets
}

fn listed(repository: &Repository, brief: &Brief, facets: Vec<(Facet, String)>) -> Document {
    let (version, manifest) = (repository.newest(), repository.newest().manifest());
    Document {
        name: manifest.dataset.to_string(),
        title: manifest.title.clone(),
        text: format!("{}\n{}", manifest.summary, brief.words),
        tags: brief.tags.clone(),
        facets,
        created_s: repository.versions()[0].published_at().unix_s(),
        published_s: version.published_at().unix_s(),
    }
}
