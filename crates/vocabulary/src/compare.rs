//! Two versions of the vocabularies compared, before a site switches.

use std::collections::BTreeMap;
use std::iter::Peekable;

use acequia_omop::{ConceptRef, Vocabulary};
use serde::Serialize;

use crate::VocabularyFileError;
use crate::review::delimiter;

/// What happened to a concept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Only in the new one.
    Added,
    /// Only in the old one.
    Removed,
    /// Another domain: its rows go into another table.
    Domain,
    /// Standard before and not now, or the other way round.
    Standard,
    /// Valid before and not now, or the other way round.
    Validity,
    /// Another code.
    Code,
    /// Another name.
    Name,
    /// Maps to other concepts.
    Mapping,
}

/// One change of one concept. A concept may have several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The concept.
    pub concept_id: i64,
    /// Its vocabulary.
    pub vocabulary_id: String,
    /// Its code.
    pub code: String,
    /// What happened.
    pub kind: Kind,
    /// Before: a name, a domain, concept ids.
    pub old: String,
    /// Now.
    pub new: String,
}

/// Numbers of changes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Changes {
    /// Version before.
    pub old_version: String,
    /// Version now.
    pub new_version: String,
    /// Concepts before.
    pub old_concepts: u64,
    /// Concepts now.
    pub new_concepts: u64,
    /// By vocabulary and kind.
    pub by_vocabulary: BTreeMap<String, BTreeMap<Kind, u64>>,
    /// By kind.
    pub by_kind: BTreeMap<Kind, u64>,
}

/// Hands every change to `each`, by ascending concept id, and counts them. Memory does not grow with the vocabularies.
///
/// # Errors
/// Those of `each`.
pub fn compare<E>(
    old: &Vocabulary,
    new: &Vocabulary,
    mut each: impl FnMut(Change) -> Result<(), E>,
) -> Result<Changes, E> {
    let mut changes = Changes {
        old_version: old.version().to_owned(),
        new_version: new.version().to_owned(),
        old_concepts: old.len() as u64,
        new_concepts: new.len() as u64,
        ..Changes::default()
    };
    let mut note = |concept: &ConceptRef<'_>, kind, old: String, new: String| {
        let vocabulary_id = concept.vocabulary_id.to_owned();
        *changes.by_vocabulary.entry(vocabulary_id.clone()).or_default().entry(kind).or_default() += 1;
        *changes.by_kind.entry(kind).or_default() += 1;
        each(Change { concept_id: concept.concept_id, vocabulary_id, code: concept.code.to_owned(), kind, old, new })
    };
    let mut before = old.concepts().peekable();
    let mut now = new.concepts().peekable();
    while let Some(pair) = next_pair(&mut before, &mut now) {
        match pair {
            (None, None) => {}
            (None, Some(added)) => note(&added, Kind::Added, String::new(), added.name.to_owned())?,
            (Some(removed), None) => note(&removed, Kind::Removed, removed.name.to_owned(), String::new())?,
            (Some(was), Some(is)) => {
                let texts = [
                    (Kind::Domain, was.domain_id, is.domain_id),
                    (Kind::Standard, letter(was.standard), letter(is.standard)),
                    (Kind::Validity, reason(&was), reason(&is)),
                    (Kind::Code, was.code, is.code),
                    (Kind::Name, was.name, is.name),
                ];
                for (kind, was, is_now) in texts {
                    if was != is_now {
                        note(&is, kind, was.to_owned(), is_now.to_owned())?;
                    }
                }
                if !old.maps_to(was.concept_id).eq(new.maps_to(is.concept_id)) {
                    note(&is, Kind::Mapping, targets(old, was.concept_id), targets(new, is.concept_id))?;
                }
            }
        }
    }
    Ok(changes)
}

type Pair<'v> = (Option<ConceptRef<'v>>, Option<ConceptRef<'v>>);

/// The next concept of both, or of the one that has the lower id.
fn next_pair<'v>(
    before: &mut Peekable<impl Iterator<Item = ConceptRef<'v>>>,
    now: &mut Peekable<impl Iterator<Item = ConceptRef<'v>>>,
) -> Option<Pair<'v>> {
    let (was, is) = (before.peek().map(|c| c.concept_id), now.peek().map(|c| c.concept_id));
    match (was, is) {
        (None, None) => None,
        (Some(was), Some(is)) if was == is => Some((before.next(), now.next())),
        (Some(was), is) if is.is_none_or(|is| was < is) => Some((before.next(), None)),
        _ => Some((None, now.next())),
    }
}

fn letter(standard: Option<acequia_omop::Standard>) -> &'static str {
    match standard {
        Some(acequia_omop::Standard::Standard) => "S",
        Some(acequia_omop::Standard::Classification) => "C",
        None => "",
    }
}

fn reason(concept: &ConceptRef<'_>) -> &'static str {
    match concept.invalid_reason {
        Some(acequia_omop::InvalidReason::Deleted) => "D",
        Some(acequia_omop::InvalidReason::Updated) => "U",
        None => "",
    }
}

/// Targets as text: `3004501`, `4041881=9191 4041882`.
fn targets(vocabulary: &Vocabulary, concept_id: i64) -> String {
    let targets = vocabulary
        .maps_to(concept_id)
        .map(|(target, value)| value.map_or_else(|| target.to_string(), |value| format!("{target}={value}")));
    targets.collect::<Vec<_>>().join(" ")
}

/// What a switch does to one code that is in use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CodeChange {
    /// System as the source names it.
    pub system: String,
    /// Code as the source writes it.
    pub code: String,
    /// Standard concepts before, with the domain each.
    pub old: String,
    /// Standard concepts now.
    pub new: String,
}

/// Of the codes in use, those whose standard concepts or domains a switch changes, in their order.
pub fn compare_codes(old: &Vocabulary, new: &Vocabulary, codes: &[(String, String)]) -> Vec<CodeChange> {
    let meaning = |vocabulary: &Vocabulary, system: &str, code: &str| {
        let concept = vocabulary.resolve(system, code)?;
        let targets = vocabulary.maps_to(concept.concept_id).map(|(target, value)| {
            let domain = vocabulary.by_id(target).map_or("", |target| target.domain_id);
            value.map_or_else(|| format!("{target} {domain}"), |value| format!("{target}={value} {domain}"))
        });
        Some(targets.collect::<Vec<_>>().join(", ")).map(|targets| match targets.as_str() {
            "" => "no standard concept".to_owned(),
            _ => targets,
        })
    };
    let text = |meaning: Option<String>| meaning.unwrap_or_else(|| "unknown code".to_owned());
    codes
        .iter()
        .map(|(system, code)| CodeChange {
            old: text(meaning(old, system, code)),
            new: text(meaning(new, system, code)),
            system: system.clone(),
            code: code.clone(),
        })
        .filter(|change| change.old != change.new)
        .collect()
}

/// Reads codes in use: a table with columns `system` and `code`.
///
/// # Errors
/// [`VocabularyFileError::NoColumn`], [`VocabularyFileError::Row`].
pub fn read_used_codes(bytes: &[u8]) -> Result<Vec<(String, String)>, VocabularyFileError> {
    const TABLE: &str = "the table of codes";
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut reader = csv::ReaderBuilder::new().delimiter(delimiter(bytes)).trim(csv::Trim::All).from_reader(bytes);
    let unreadable = |line| VocabularyFileError::Row { table: TABLE, line, what: "it cannot be read as UTF-8 CSV" };
    let headers = reader.headers().map_err(|_| unreadable(1))?.clone();
    let place = |column: &'static str| {
        headers
            .iter()
            .position(|header| header.eq_ignore_ascii_case(column))
            .ok_or(VocabularyFileError::NoColumn { table: TABLE, column })
    };
    let (system, code) = (place("system")?, place("code")?);
    let mut codes = Vec::new();
    for (record, line) in reader.records().zip(2..) {
        let record = record.map_err(|_| unreadable(line))?;
        codes.push((record[system].to_owned(), record[code].to_owned()));
    }
    codes.sort_unstable();
    codes.dedup();
    Ok(codes)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::io::Cursor;
    use std::sync::Arc;

    use acequia_omop::{ConceptRow, Relation, VocabularyBuilder};
    use acequia_types::parse_day;

    use super::*;

    fn vocabulary(new: bool) -> Vocabulary {
        let row = ConceptRow {
            concept_id: 1,
            name: "Fever",
            domain_id: "Condition",
            vocabulary_id: "SNOMED",
            concept_class_id: "Finding",
            code: "386661006",
            standard: "S",
            invalid_reason: "",
            valid_start: parse_day("1970-01-01").unwrap(),
            valid_end: parse_day("2099-12-31").unwrap(),
        };
        let mut builder = VocabularyBuilder::new(if new { "2" } else { "1" }, None);
        let domain_id = if new { "Observation" } else { "Condition" };
        builder.concept(&ConceptRow { domain_id, ..row }).unwrap();
        builder
            .concept(&ConceptRow { concept_id: 2, code: "R50", vocabulary_id: "ICD10CM", standard: "", ..row })
            .unwrap();
        builder.concept(&ConceptRow { concept_id: if new { 4 } else { 3 }, code: "x", ..row }).unwrap();
        builder.relate(2, if new { 4 } else { 1 }, Relation::MapsTo).unwrap();
        let mut bytes = Cursor::new(Vec::new());
        builder.finish(&mut bytes).unwrap();
        Vocabulary::from_bytes(Arc::new(bytes.into_inner())).unwrap()
    }

    #[test]
    fn every_change_is_told_once() {
        let (old, new) = (vocabulary(false), vocabulary(true));
        let mut seen = Vec::new();
        let counts = compare(&old, &new, |change| {
            seen.push((change.concept_id, change.kind, change.old, change.new));
            Ok::<_, Infallible>(())
        })
        .unwrap();
        let text = str::to_owned;
        assert_eq!(
            seen,
            [
                (1, Kind::Domain, text("Condition"), text("Observation")),
                (2, Kind::Mapping, text("1"), text("4")),
                (3, Kind::Removed, text("Fever"), text("")),
                (4, Kind::Added, text(""), text("Fever")),
            ]
        );
        assert_eq!(counts.by_kind.values().sum::<u64>(), 4);
        let none = compare(&old, &old, |_| Err(())).unwrap();
        assert!(none.by_kind.is_empty());
    }

    #[test]
    fn of_the_codes_in_use_only_the_changed_ones_are_told() {
        let codes =
            read_used_codes(b"System;code\nICD10CM;R50\nhttp://snomed.info/sct;386661006\nICD10CM;Z99\n").unwrap();
        let changes = compare_codes(&vocabulary(false), &vocabulary(true), &codes);
        let told: Vec<_> =
            changes.iter().map(|change| (change.code.as_str(), change.old.as_str(), change.new.as_str())).collect();
        assert_eq!(told, [("R50", "1 Condition", "4 Condition"), ("386661006", "1 Condition", "1 Observation")]);
        assert!(matches!(read_used_codes(b"a,b\n"), Err(VocabularyFileError::NoColumn { .. })));
    }
}
