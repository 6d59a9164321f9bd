//! What a version says about itself in its JSON documents, read leniently: a part that is absent or oddly formed is
//! "not stated" on the page and never an error.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use acequia_gate::Artefact;
use acequia_types::Coded;
use serde_json::{Map, Value};

use crate::body::{CHUNK_BYTES, read_piece};
use crate::card::{front_matter, tags};
use crate::refusal::Refusal;
use crate::{Catalogue, PublishedVersion};

/// What listings say about a version.
#[derive(Debug)]
pub(crate) struct Brief {
    /// Front matter of `README.md`.
    pub(crate) card: Map<String, Value>,
    /// Tags that listings are filtered by.
    pub(crate) tags: Vec<String>,
    /// Whose records the rows are.
    pub(crate) kind: Kind,
    /// The highest chance of picking one person's row, under the prosecutor attacker.
    pub(crate) highest_risk: Option<f64>,
    /// Names of diseases and findings.
    pub(crate) conditions: Vec<String>,
    /// What may be done: the label of the Data Use Ontology's term.
    pub(crate) purpose: Option<String>,
    /// Numbers of a model, as its card counts them.
    pub(crate) parameters: Option<u64>,
    /// How far the evidence about a model goes: the least level of the records that its card names.
    pub(crate) evidence: Option<String>,
    /// Keywords and the description, for the search.
    pub(crate) words: String,
    /// Whether every document it is made from could be read, or is not part of the version.
    pub(crate) complete: bool,
}

/// Whose records the rows are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Rows of people.
    Real,
    /// Rows of people, and rows of simulated donors beside them.
    Mixed,
    /// Rows that a generator made.
    Synthetic,
    /// The card does not say.
    NotStated,
}

/// The documents of one version. Absent ones are `Null`.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) brief: Arc<Brief>,
    /// `acequia-statistics/1`.
    pub(crate) statistics: Value,
    /// `acequia-dictionary/1`.
    pub(crate) dictionary: Value,
    /// `acequia-risk/1`.
    pub(crate) risk: Value,
    /// `acequia-diversity/1`.
    pub(crate) diversity: Value,
    /// Of a data set Croissant with the RAI vocabulary, of a model `acequia-model-card/1`: what it is for, and what not. Both call
    /// title, creators, publisher, keywords and use term what schema.org calls them.
    pub(crate) croissant: Value,
    /// `acequia-validation/1`: what a model is worth, in the order in which its card names them.
    pub(crate) records: Vec<Value>,
    /// Whether every document could be read, or is not part of the version.
    pub(crate) complete: bool,
}

impl Brief {
    fn of(readme: &[u8], risk: &Value, croissant: &Value, complete: bool) -> Self {
        let card = front_matter(&String::from_utf8_lossy(readme));
        let tags = tags(&card);
        // A risk report is made for rows of people only.
        let tagged = |name: &str| tags.iter().any(|tag| tag == name);
        let kind = if tagged("synthetic") {
            Kind::Synthetic
        } else if tagged("partly-simulated") {
            Kind::Mixed
        } else if !risk.is_null() || tagged("de-identified") {
            Kind::Real
        } else {
            Kind::NotStated
        };
        let highest_risk = number(risk, "/risk/prosecutor/maximum").filter(|risk| *risk > 0.0 && *risk <= 1.0);
        let named = |pointer: &str| -> Vec<String> {
            list(croissant, pointer).iter().filter_map(|term| text(term, "/name").map(str::to_owned)).collect()
        };
        let keywords = list(croissant, "/keywords").iter().filter_map(Value::as_str);
        let words: Vec<&str> = keywords.chain(text(croissant, "/description")).collect();
        Self {
            card,
            tags,
            kind,
            highest_risk,
            conditions: named("/about"),
            purpose: named("/usageInfo").into_iter().next(),
            parameters: count(croissant, "/formats/safetensors/parameters"),
            evidence: list(croissant, "/evidence")
                .iter()
                .filter_map(|one| text(one, "/level"))
                .min()
                .map(str::to_owned),
            words: words.join("\n"),
            complete,
        }
    }
}

/// A text at a JSON pointer, if there is one with something in it.
pub(crate) fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer)?.as_str().filter(|text| !text.trim().is_empty())
}

/// A finite number at a JSON pointer.
pub(crate) fn number(value: &Value, pointer: &str) -> Option<f64> {
    value.pointer(pointer)?.as_f64().filter(|number| number.is_finite())
}

/// A count at a JSON pointer.
pub(crate) fn count(value: &Value, pointer: &str) -> Option<u64> {
    value.pointer(pointer)?.as_u64()
}

/// A list at a JSON pointer; an empty one when there is none.
pub(crate) fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Documents longer than this are not shown on pages; they can still be downloaded.
const LONGEST_DOCUMENT_BYTES: u64 = 8 * 1024 * 1024;
/// Bytes of documents that are kept in memory, as files; read, they take a few times as much.
const KEPT_BYTES: u64 = 64 * 1024 * 1024;
/// The documents that [`Facts`] are made from.
const DOCUMENTS: [&str; 7] =
    ["README.md", "statistics.json", "dictionary.json", "risk.json", "diversity.json", "croissant.json", "card.json"];

/// The document that describes a version.
fn description(version: &PublishedVersion) -> &'static str {
    match version.artefact() {
        Artefact::Dataset => "croissant.json",
        Artefact::Model => "card.json",
    }
}
/// How long work over many documents is not done again after one of them could not be read.
pub(crate) const PAUSE: Duration = Duration::from_secs(2);

/// Documents by commit. A version never changes, so neither does an entry.
#[derive(Default)]
pub(crate) struct FactsCache {
    briefs: Mutex<BTreeMap<String, Arc<Brief>>>,
    facts: Mutex<KeptFacts>,
}

/// Whole documents by commit, and how many bytes of files they are.
#[derive(Default)]
struct KeptFacts {
    all: BTreeMap<String, Arc<Facts>>,
    bytes: u64,
}

impl FactsCache {
    /// What listings need. What cannot be read now is absent, and is tried again next time.
    pub(crate) async fn brief(&self, catalogue: &Arc<dyn Catalogue>, version: &PublishedVersion) -> Arc<Brief> {
        if let Some(brief) = kept(&self.briefs, version) {
            return brief;
        }
        let readme = whole(catalogue, version, "README.md").await;
        let risk = document(catalogue, version, "risk.json").await;
        let croissant = document(catalogue, version, description(version)).await;
        let complete = readme.is_ok() && risk.is_ok() && croissant.is_ok();
        let readme = readme.ok().flatten().unwrap_or_default();
        let (risk, croissant) = (risk.unwrap_or_default(), croissant.unwrap_or_default());
        let brief = Arc::new(Brief::of(&readme, &risk, &croissant, complete));
        if complete {
            self.briefs
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(version.commit().to_owned(), brief.clone());
        }
        brief
    }

    /// All documents of `version`. What cannot be read now is absent, and is tried again next time.
    pub(crate) async fn of(&self, catalogue: &Arc<dyn Catalogue>, version: &PublishedVersion) -> Arc<Facts> {
        if let Some(facts) = self.facts.lock().unwrap_or_else(PoisonError::into_inner).all.get(version.commit()) {
            return facts.clone();
        }
        let statistics = document(catalogue, version, "statistics.json").await;
        let dictionary = document(catalogue, version, "dictionary.json").await;
        let risk = document(catalogue, version, "risk.json").await;
        let diversity = document(catalogue, version, "diversity.json").await;
        let croissant = document(catalogue, version, description(version)).await;
        let (mut records, mut records_read, mut record_bytes) = (Vec::new(), true, 0);
        let described = croissant.as_ref().ok().map(|document| list(document, "/evidence")).unwrap_or_default();
        for path in described.iter().filter_map(|one| text(one, "/record")) {
            let record = document(catalogue, version, path).await;
            records_read &= record.is_ok();
            record_bytes += version.files().get(path).map_or(0, |file| file.bytes);
            records.push(record.unwrap_or_default());
        }
        let brief = self.brief(catalogue, version).await;
        let read = [&statistics, &dictionary, &risk, &diversity, &croissant].into_iter().all(Result::is_ok);
        let complete = read && records_read && brief.complete;
        let facts = Arc::new(Facts {
            brief,
            statistics: statistics.unwrap_or_default(),
            dictionary: dictionary.unwrap_or_default(),
            risk: risk.unwrap_or_default(),
            diversity: diversity.unwrap_or_default(),
            croissant: croissant.unwrap_or_default(),
            records,
            complete,
        });
        if complete {
            let read = DOCUMENTS.iter().filter_map(|path| Some(version.files().get(*path)?.bytes));
            // Those that are too long were not read.
            let bytes = record_bytes + read.filter(|bytes| *bytes <= LONGEST_DOCUMENT_BYTES).sum::<u64>();
            let mut kept = self.facts.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.bytes + bytes > KEPT_BYTES {
                *kept = KeptFacts::default();
            }
            if kept.all.insert(version.commit().to_owned(), facts.clone()).is_none() {
                kept.bytes += bytes;
            }
        }
        facts
    }

    /// As [`FactsCache::of`], for what states them to programs: what is left out there would be stated wrongly.
    ///
    /// # Errors
    /// [`Refusal::Store`] when a document cannot be read now.
    pub(crate) async fn complete(
        &self,
        catalogue: &Arc<dyn Catalogue>,
        version: &PublishedVersion,
    ) -> Result<Arc<Facts>, Refusal> {
        let facts = self.of(catalogue, version).await;
        if facts.complete { Ok(facts) } else { Err(Refusal::Store) }
    }
}

fn kept<T>(all: &Mutex<BTreeMap<String, Arc<T>>>, version: &PublishedVersion) -> Option<Arc<T>> {
    all.lock().unwrap_or_else(PoisonError::into_inner).get(version.commit()).cloned()
}

/// A JSON document; `Null` when there is none or it is not JSON.
async fn document(catalogue: &Arc<dyn Catalogue>, version: &PublishedVersion, path: &str) -> Result<Value, ()> {
    let bytes = whole(catalogue, version, path).await?;
    Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default())
}

/// A whole small file: `Ok(None)` when the version has none or it is too long, `Err` when the store fails.
pub(crate) async fn whole(
    catalogue: &Arc<dyn Catalogue>,
    version: &PublishedVersion,
    path: &str,
) -> Result<Option<Vec<u8>>, ()> {
    let Some(file) = version.files().get(path).filter(|file| file.bytes <= LONGEST_DOCUMENT_BYTES) else {
        return Ok(None);
    };
    let mut bytes = Vec::with_capacity(usize::try_from(file.bytes).unwrap_or_default());
    let mut start = 0;
    while start < file.bytes {
        let end = file.bytes.min(start + CHUNK_BYTES);
        let piece = read_piece(catalogue.clone(), file.sha256, start..end).await.map_err(|error| {
            tracing::error!(code = error.code(), "a document of a page is left out: {error}");
        })?;
        bytes.extend_from_slice(&piece);
        start = end;
    }
    if acequia_types::Digest::of(&bytes) != file.sha256 {
        tracing::error!("a document of a page is left out: its bytes are not the published ones");
        return Err(());
    }
    Ok(Some(bytes))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn whose_rows_they_are_is_what_the_card_says() {
        let kind = |tags: &str, risk: Value| {
            let readme = format!("---\ntags:\n{tags}---\n");
            Brief::of(readme.as_bytes(), &risk, &Value::Null, true).kind
        };
        let risk = || json!({ "risk": {} });
        assert_eq!(kind("- health\n", risk()), Kind::Real);
        assert_eq!(kind("- de-identified\n- partly-simulated\n", risk()), Kind::Mixed);
        assert_eq!(kind("- synthetic\n- de-identified\n", risk()), Kind::Synthetic);
        assert_eq!(kind("- health\n", Value::Null), Kind::NotStated);
    }
}
