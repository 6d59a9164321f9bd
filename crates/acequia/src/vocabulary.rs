//! `acequia vocabulary`: load, compare and search vocabularies; propose, review and export local codes.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use acequia_blobs::{read_file, write_file_atomically};
use acequia_node::{Exit, Failure};
use acequia_omop::{ConceptRef, InvalidReason, SearchScope, Standard, Vocabulary};
use acequia_vocabulary::{
    Candidates, Change, INDEX_NAME, VocabularyFileError, candidates, compare, compare_codes, load, open, read_codes,
    read_review, read_used_codes, source_to_concept_map, sssom, write_review,
};
use clap::{Args, Subcommand};
use serde_json::json;

use crate::show::Out;

/// Largest table of codes and largest review file.
const TABLE_BYTES: u64 = 256 << 20;
/// Concepts listed of a list.
const LISTED: usize = 20;

#[derive(Subcommand)]
pub(crate) enum VocabularyCommand {
    /// Make an index of an Athena export: the zip, or the folder with its tables
    ///
    /// Tables are tab-separated without quotes, as Athena sends them. Without --out the index becomes that of the node.
    /// Compare it with the old one before you switch: see `acequia vocabulary diff`.
    #[command(
        after_help = "Examples:\n  acequia vocabulary load vocabulary_download_v5.zip -o new.index\n  acequia --home my-node vocabulary load athena/"
    )]
    Load {
        /// Zip or folder
        export: PathBuf,
        /// Where the index goes [default: the node's folder]
        #[arg(long, short, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Compare two indexes: concepts added, removed, changed; mappings changed; what changes for codes in use
    #[command(
        after_help = "Example:\n  acequia vocabulary diff my-node/vocabulary.index new.index --codes used.csv -o changes.csv\n\nused.csv has the columns system and code."
    )]
    Diff {
        /// Index in use
        old: PathBuf,
        /// Index to switch to
        new: PathBuf,
        /// Table of codes in use (columns: system, code)
        #[arg(long, value_name = "FILE")]
        codes: Option<PathBuf>,
        /// List every change in this file (CSV)
        #[arg(long, short, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Find concepts by words, or by their code
    #[command(
        after_help = "Examples:\n  acequia vocabulary search potassium serum\n  acequia vocabulary search 2823-3\n  acequia vocabulary search tamoxif --domain Drug --standard"
    )]
    Search {
        /// Words, beginnings of words, or a code
        #[arg(required = true)]
        words: Vec<String>,
        /// Only this vocabulary (SNOMED, LOINC, …)
        #[arg(long, value_name = "ID")]
        vocabulary: Option<String>,
        /// Only this domain (Condition, Drug, Measurement, …)
        #[arg(long, value_name = "ID")]
        domain: Option<String>,
        /// Only valid standard concepts
        #[arg(long)]
        standard: bool,
        /// Concepts to list
        #[arg(long, default_value_t = 10, value_name = "N")]
        limit: usize,
        #[command(flatten)]
        index: Index,
    },
    /// Show a concept: what it is, what it maps to, what is above and below
    #[command(
        after_help = "Examples:\n  acequia vocabulary show 3023103\n  acequia vocabulary show http://loinc.org 2823-3\n  acequia vocabulary show ICD10CM E119"
    )]
    Show {
        /// A concept id; or a vocabulary, FHIR system or OID, followed by a code
        #[arg(required = true, num_args = 1..=2, value_name = "ID | SYSTEM CODE")]
        what: Vec<String>,
        #[command(flatten)]
        index: Index,
    },
    /// Propose concepts for local codes, as a file for review
    ///
    /// The table has the columns code and name, and if you have them system, unit, low, high (ends of the usual values),
    /// count and domain. In the review file set status to approved, rejected or unmatched and put two different persons
    /// into author and approved_by: only what two persons decided is used.
    #[command(after_help = "Example:\n  acequia vocabulary candidates codes.csv -o review.csv")]
    Candidates {
        /// Table of local codes (CSV)
        codes: PathBuf,
        /// The review file
        #[arg(long, short, value_name = "FILE")]
        out: PathBuf,
        /// Candidates for each code
        #[arg(long, default_value_t = 5, value_name = "N")]
        each: usize,
        #[command(flatten)]
        index: Index,
    },
    /// Check a review file and export what two persons decided
    #[command(
        after_help = "Example:\n  acequia vocabulary export review.csv --sssom codes.sssom.tsv --source-to-concept-map stcm.csv"
    )]
    Export {
        /// The review file
        review: PathBuf,
        /// Write SSSOM/TSV
        #[arg(long, value_name = "FILE")]
        sssom: Option<PathBuf>,
        /// Write the OMOP table source_to_concept_map (CSV)
        #[arg(long, value_name = "FILE")]
        source_to_concept_map: Option<PathBuf>,
        /// Id of your vocabulary in source_to_concept_map, at most 20 characters
        #[arg(long, default_value = "Local", value_name = "ID")]
        vocabulary_id: String,
        /// Id (URI) of the mapping set in SSSOM
        #[arg(long, default_value = "urn:acequia:local-codes", value_name = "URI")]
        mapping_set: String,
        #[command(flatten)]
        index: Index,
    },
}

/// Which vocabularies are asked.
#[derive(Args)]
pub(crate) struct Index {
    /// Index to use [default: that of the node, or else the pack that comes with the program]
    #[arg(long, value_name = "FILE")]
    index: Option<PathBuf>,
}

impl Index {
    fn open(&self, home: &Path) -> Result<Vocabulary, VocabularyFileError> {
        let of_node = home.join(INDEX_NAME);
        match &self.index {
            Some(index) => open(index),
            None if of_node.is_file() => open(&of_node),
            None => Ok(Vocabulary::bundled().clone()),
        }
    }
}

pub(crate) fn run(command: &VocabularyCommand, home: &Path, quiet: bool, out: &Out) -> Result<ExitCode, Failure> {
    match command {
        VocabularyCommand::Load { export, out: index } => {
            let index = index.clone().unwrap_or_else(|| home.join(INDEX_NAME));
            let loaded = load(export, &index, &mut |table, rows| {
                if !quiet && !out.json {
                    eprintln!("reading {table}, row {rows}");
                }
            })?;
            let built = &loaded.built;
            out.print(
                || json!({ "index": index.display().to_string(), "loaded": loaded }),
                || {
                    format!(
                        "{} holds {} concepts, {} mappings, {} pairs of ancestor and descendant, {} synonyms.\nVersion: {}\n\
                         Rows about concepts that CONCEPT does not list: {}. Relationships of other kinds: {}. Tables not used: {}.",
                        index.display(),
                        built.concepts,
                        built.mappings,
                        built.ancestors,
                        built.synonyms,
                        loaded.version,
                        built.without_concept,
                        loaded.other_relationships,
                        loaded.unused_tables.join(", "),
                    )
                },
            );
        }
        VocabularyCommand::Diff { old, new, codes, out: list } => {
            diff(old, new, codes.as_deref(), list.as_deref(), out)?;
        }
        VocabularyCommand::Search { words, vocabulary, domain, standard, limit, index } => {
            let opened = index.open(home)?;
            let scope =
                SearchScope { vocabulary_id: vocabulary.as_deref(), domain_id: domain.as_deref(), standard: *standard };
            let found = opened.search(&words.join(" "), scope, *limit);
            out.print(
                || {
                    let found = found.iter().map(|found| {
                        json!({ "score": found.score, "by_code": found.by_code, "concept": of(&found.concept) })
                    });
                    json!({ "version": opened.version(), "found": found.collect::<Vec<_>>() })
                },
                || {
                    let mut text = String::new();
                    for found in &found {
                        text += &format!("{:.2}  {}\n", found.score, line(&found.concept));
                    }
                    text + &format!("{} found in {}", found.len(), opened.version())
                },
            );
            if found.is_empty() {
                return Ok(ExitCode::from(Exit::NotFound.code()));
            }
        }
        VocabularyCommand::Show { what, index } => return show(what, &index.open(home)?, out),
        VocabularyCommand::Candidates { codes, out: to, each, index } => {
            let codes = read_codes(&read_file(codes, "the table of codes", TABLE_BYTES)?)?;
            let review = candidates(&codes, &index.open(home)?, Candidates { each: *each });
            write_file_atomically(to, &write_review(&review))?;
            let found = review.progress().codes - review.rows.iter().filter(|row| row.rank.is_none()).count() as u64;
            out.print(
                || json!({ "codes": codes.len(), "with_candidates": found, "rows": review.rows.len() }),
                || {
                    format!(
                        "{}: {} candidates for {found} of {} codes. Two persons decide about each code: set status \
                         (approved, rejected, unmatched), author and approved_by.",
                        to.display(),
                        review.rows.iter().filter(|row| row.rank.is_some()).count(),
                        codes.len(),
                    )
                },
            );
        }
        VocabularyCommand::Export {
            review,
            sssom: tsv,
            source_to_concept_map: table,
            vocabulary_id,
            mapping_set,
            index,
        } => {
            let vocabulary = index.open(home)?;
            let review = read_review(&read_file(review, "the review file", TABLE_BYTES)?)?;
            review.check(&vocabulary)?;
            let progress = review.progress();
            if let Some(tsv) = tsv {
                write_file_atomically(tsv, sssom(&review, &vocabulary, mapping_set).as_bytes())?;
            }
            if let Some(table) = table {
                let text = source_to_concept_map(&review, &vocabulary, vocabulary_id)?;
                write_file_atomically(table, text.as_bytes())?;
            }
            out.print(
                || json!({ "progress": progress, "mappings": review.decisions().count() }),
                || {
                    format!(
                        "{} of {} codes are decided by two persons, {} wait for the second, {} are open. Exported: {} mappings.",
                        progress.decided,
                        progress.codes,
                        progress.waiting,
                        progress.open,
                        review.decisions().count()
                    )
                },
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn diff(old: &Path, new: &Path, codes: Option<&Path>, list: Option<&Path>, out: &Out) -> Result<(), Failure> {
    let (old, new) = (open(old)?, open(new)?);
    let codes = match codes {
        Some(codes) => read_used_codes(&read_file(codes, "the table of codes", TABLE_BYTES)?)?,
        None => Vec::new(),
    };
    let mut listed = String::from("concept_id,vocabulary_id,code,change,old,new\n");
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    let changes = compare(&old, &new, |change: Change| {
        if list.is_some() {
            let kind = json!(change.kind);
            listed += &format!(
                "{},{},{},{},{},{}\n",
                change.concept_id,
                quoted(&change.vocabulary_id),
                quoted(&change.code),
                kind.as_str().unwrap_or_default(),
                quoted(&change.old),
                quoted(&change.new)
            );
        }
        Ok::<_, Failure>(())
    })?;
    if let Some(list) = list {
        write_file_atomically(list, listed.as_bytes())?;
    }
    let used = compare_codes(&old, &new, &codes);
    out.print(
        || json!({ "changes": changes, "codes_in_use": codes.len(), "codes_changed": used }),
        || {
            let mut text = format!(
                "{} ({} concepts) -> {} ({} concepts)\n",
                changes.old_version, changes.old_concepts, changes.new_version, changes.new_concepts
            );
            for (vocabulary, kinds) in &changes.by_vocabulary {
                let kinds: Vec<_> =
                    kinds.iter().map(|(kind, n)| format!("{} {n}", json!(kind).as_str().unwrap_or_default())).collect();
                text += &format!("{vocabulary:<24} {}\n", kinds.join(", "));
            }
            if changes.by_kind.is_empty() {
                text += "no change\n";
            }
            if !codes.is_empty() {
                text += &format!("Of {} codes in use, {} change:\n", codes.len(), used.len());
            }
            for change in used.iter().take(LISTED * 5) {
                text += &format!("  {} {}: {} -> {}\n", change.system, change.code, change.old, change.new);
            }
            text
        },
    );
    Ok(())
}

fn show(what: &[String], vocabulary: &Vocabulary, out: &Out) -> Result<ExitCode, Failure> {
    let concept = match what {
        [system, code] => vocabulary.resolve(system, code),
        [id] => id.parse().ok().and_then(|id| vocabulary.by_id(id)),
        _ => None,
    };
    let Some(concept) = concept else {
        eprintln!("no such concept in {}", vocabulary.version());
        return Ok(ExitCode::from(Exit::NotFound.code()));
    };
    let id = concept.concept_id;
    let synonyms: Vec<_> = vocabulary.synonyms(id).collect();
    let mapped: Vec<_> = vocabulary.maps_to(id).collect();
    let (above, below) = (vocabulary.ancestors(id).count(), vocabulary.descendants(id).count());
    let named = |id: i64| vocabulary.by_id(id).map_or_else(|| id.to_string(), |concept| line(&concept));
    out.print(
        || {
            let mapped =
                mapped.iter().map(|(target, value)| json!({ "concept_id": target, "value_concept_id": value }));
            json!({
                "version": vocabulary.version(), "concept": of(&concept), "synonyms": synonyms,
                "maps_to": mapped.collect::<Vec<_>>(),
                "ancestors": vocabulary.ancestors(id).collect::<Vec<_>>(),
                "descendants": below,
            })
        },
        || {
            let mut text = format!(
                "{}\nclass {}, valid {} to {}\n",
                line(&concept),
                concept.concept_class_id,
                concept.valid_start,
                concept.valid_end
            );
            for (target, value) in &mapped {
                let value = value.map_or(String::new(), |value| format!(" with value {}", named(value)));
                text += &format!("maps to   {}{value}\n", named(*target));
            }
            for synonym in synonyms.iter().take(LISTED) {
                text += &format!("also      {synonym}\n");
            }
            for ancestor in vocabulary.ancestors(id).take(LISTED) {
                text += &format!("above     {}\n", named(ancestor));
            }
            for descendant in vocabulary.descendants(id).take(LISTED) {
                text += &format!("below     {}\n", named(descendant));
            }
            text + &format!("{above} concepts above, {below} below, in {}", vocabulary.version())
        },
    );
    Ok(ExitCode::SUCCESS)
}

fn standing(concept: &ConceptRef<'_>) -> &'static str {
    match (concept.invalid_reason, concept.standard) {
        (Some(InvalidReason::Deleted), _) => "deleted",
        (Some(InvalidReason::Updated), _) => "replaced",
        (None, Some(Standard::Standard)) => "standard",
        (None, Some(Standard::Classification)) => "classification",
        (None, None) => "source",
    }
}

fn line(concept: &ConceptRef<'_>) -> String {
    let ConceptRef { concept_id, name, domain_id, vocabulary_id, code, .. } = concept;
    format!("{concept_id:<10} {vocabulary_id} {code}  {name}  [{domain_id}, {}]", standing(concept))
}

fn of(concept: &ConceptRef<'_>) -> serde_json::Value {
    json!({
        "concept_id": concept.concept_id, "concept_name": concept.name, "domain_id": concept.domain_id,
        "vocabulary_id": concept.vocabulary_id, "concept_class_id": concept.concept_class_id,
        "concept_code": concept.code, "standing": standing(concept),
        "valid_start_date": concept.valid_start.to_string(), "valid_end_date": concept.valid_end.to_string(),
    })
}
