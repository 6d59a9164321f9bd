//! The review file: a table that people open in a spreadsheet, and what they decided.

use std::collections::{BTreeMap, BTreeSet};

use acequia_omop::{LocalCodes, Vocabulary};
use acequia_types::{spreadsheet_safe, spreadsheet_undone};
use serde::{Deserialize, Serialize};

use crate::VocabularyFileError;

/// What people decided about a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Nobody has decided.
    #[default]
    Proposed,
    /// This is what the code means.
    Approved,
    /// This is not what the code means.
    Rejected,
    /// No standard concept says what the code means; its concept is left empty.
    Unmatched,
}

/// How exactly the concept says what the code means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Equivalence {
    /// The same.
    #[default]
    Exact,
    /// Nearly the same; interchangeable for most uses.
    Close,
    /// The concept is wider than the code.
    Broad,
    /// The concept is narrower than the code.
    Narrow,
    /// Related in another way.
    Related,
}

impl Equivalence {
    /// SSSOM `predicate_id` (SKOS mapping properties).
    pub const fn predicate(self) -> &'static str {
        match self {
            Self::Exact => "skos:exactMatch",
            Self::Close => "skos:closeMatch",
            Self::Broad => "skos:broadMatch",
            Self::Narrow => "skos:narrowMatch",
            Self::Related => "skos:relatedMatch",
        }
    }
}

/// One candidate for one code.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReviewRow {
    /// System of the local code.
    pub source_system: String,
    /// The local code.
    pub source_code: String,
    /// Its name at the source.
    pub source_name: String,
    /// Its unit at the source.
    pub source_unit: String,
    /// How often it occurs, if known.
    pub source_count: Option<u64>,
    /// Place of the candidate, from 1.
    pub rank: Option<u32>,
    /// Score that gave the place.
    pub score: Option<f64>,
    /// The candidate; empty for "no standard concept".
    pub concept_id: Option<i64>,
    /// Its name.
    pub concept_name: String,
    /// Its vocabulary.
    pub vocabulary_id: String,
    /// Its code.
    pub concept_code: String,
    /// Its domain.
    pub domain_id: String,
    /// What speaks for and against it.
    pub why: String,
    /// Decision.
    pub status: Status,
    /// How exactly it fits.
    pub equivalence: Equivalence,
    /// Who decided.
    pub author: String,
    /// Who decided the same, independently.
    pub approved_by: String,
    /// Day of the second decision, YYYY-MM-DD.
    pub approved_on: String,
    /// Anything worth knowing.
    pub comment: String,
}

impl ReviewRow {
    /// The fields that hold any text.
    fn texts(&mut self) -> impl Iterator<Item = &mut String> {
        [
            &mut self.source_system,
            &mut self.source_code,
            &mut self.source_name,
            &mut self.source_unit,
            &mut self.concept_name,
            &mut self.vocabulary_id,
            &mut self.concept_code,
            &mut self.domain_id,
            &mut self.why,
            &mut self.author,
            &mut self.approved_by,
            &mut self.approved_on,
            &mut self.comment,
        ]
        .into_iter()
    }
}

/// A decision of two persons.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision<'r> {
    /// The row.
    pub row: &'r ReviewRow,
    /// The concept; `None` when there is none.
    pub concept_id: Option<i64>,
}

/// A review file with what can be used of it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Review {
    /// All rows, as in the file.
    pub rows: Vec<ReviewRow>,
}

/// How far a review is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// Distinct codes.
    pub codes: u64,
    /// Codes decided by two persons.
    pub decided: u64,
    /// Codes that one person decided: they wait for a second.
    pub waiting: u64,
    /// Codes nobody decided.
    pub open: u64,
}

impl ReviewRow {
    /// Decided by two different persons.
    fn decided(&self) -> bool {
        let (author, second) = (self.author.trim(), self.approved_by.trim());
        matches!(self.status, Status::Approved | Status::Unmatched)
            && !author.is_empty()
            && !second.is_empty()
            && !author.eq_ignore_ascii_case(second)
    }
}

impl Review {
    /// The decisions that two persons have made, in file order. Those of one person are left out.
    pub fn decisions(&self) -> impl Iterator<Item = Decision<'_>> {
        self.rows
            .iter()
            .filter(|row| row.decided())
            .map(|row| Decision { row, concept_id: row.concept_id.filter(|_| row.status == Status::Approved) })
    }

    /// How far it is.
    pub fn progress(&self) -> Progress {
        let mut codes: BTreeMap<(&str, &str), u8> = BTreeMap::new();
        for row in &self.rows {
            let state = match row.status {
                _ if row.decided() => 2,
                Status::Approved | Status::Unmatched => 1,
                Status::Proposed | Status::Rejected => 0,
            };
            let best = codes.entry((&row.source_system, &row.source_code)).or_default();
            *best = state.max(*best);
        }
        let count = |wanted: u8| codes.values().filter(|state| **state == wanted).count() as u64;
        Progress { codes: codes.len() as u64, decided: count(2), waiting: count(1), open: count(0) }
    }

    /// The decisions as what unification asks before the vocabulary.
    pub fn local_codes(&self) -> LocalCodes {
        let mut codes = LocalCodes::default();
        self.decisions().for_each(|decision| {
            codes.add(&decision.row.source_system, &decision.row.source_code, decision.concept_id);
        });
        codes
    }

    /// Checks the decisions against a vocabulary.
    ///
    /// # Errors
    /// [`VocabularyFileError::Row`]: a code is both mapped and said to have no concept, or an approved concept is none of
    /// the vocabulary or no valid standard one.
    pub fn check(&self, vocabulary: &Vocabulary) -> Result<(), VocabularyFileError> {
        let mut mapped = BTreeSet::new();
        let mut unmatched = BTreeSet::new();
        for (row, line) in self.rows.iter().zip(2..).filter(|(row, _)| row.decided()) {
            let wrong = |what| VocabularyFileError::Row { table: "the review file", line, what };
            let code = (row.source_system.as_str(), row.source_code.as_str());
            if row.status == Status::Unmatched {
                unmatched.insert(code);
            } else {
                let concept_id = row.concept_id.ok_or_else(|| wrong("it is approved, but has no concept_id"))?;
                let concept =
                    vocabulary.by_id(concept_id).ok_or_else(|| wrong("its concept_id is not in the vocabulary"))?;
                if !concept.is_standard() {
                    return Err(wrong("its concept is no valid standard concept"));
                }
                mapped.insert(code);
            }
            if mapped.contains(&code) && unmatched.contains(&code) {
                return Err(wrong("the same code is both mapped and said to have no concept"));
            }
        }
        Ok(())
    }
}

/// Reads a review file. Spreadsheets may have changed the delimiter to a semicolon or a tab.
///
/// # Errors
/// [`VocabularyFileError::Row`] with the line; [`VocabularyFileError::NoColumn`].
pub fn read_review(bytes: &[u8]) -> Result<Review, VocabularyFileError> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut reader = csv::ReaderBuilder::new().delimiter(delimiter(bytes)).trim(csv::Trim::All).from_reader(bytes);
    let wrong = |line, what| VocabularyFileError::Row { table: "the review file", line, what };
    let headers = reader.headers().map_err(|_| wrong(1, "it is not UTF-8"))?;
    for column in ["source_system", "source_code", "concept_id", "status", "author", "approved_by"] {
        if !headers.iter().any(|header| header == column) {
            return Err(VocabularyFileError::NoColumn { table: "the review file", column });
        }
    }
    let mut rows = Vec::new();
    for (row, line) in reader.deserialize().zip(2..) {
        let what = "a field cannot be read: status is proposed, approved, rejected or unmatched; equivalence is exact, \
                    close, broad, narrow or related; the other columns are those of the written file";
        let mut row: ReviewRow = row.map_err(|_| wrong(line, what))?;
        row.texts().for_each(|text| *text = spreadsheet_undone(text).to_owned());
        rows.push(row);
    }
    Ok(Review { rows })
}

/// Writes a review file: comma-separated, one row for each candidate. People open it in a spreadsheet, and codes are what
/// somebody sent: what would run there has an apostrophe in front, which [`read_review`] takes away.
pub fn write_review(review: &Review) -> Vec<u8> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    // The header comes with the first row, so one is written and cut off again: a file without rows has one too.
    let example = ReviewRow::default();
    let none = review.rows.is_empty();
    for row in review.rows.iter().chain(none.then_some(&example)) {
        // Memory can be written, and the fields are plain.
        let mut row = row.clone();
        row.texts().for_each(|text| *text = spreadsheet_safe(text).into_owned());
        let _ = writer.serialize(row);
    }
    let mut bytes = writer.into_inner().unwrap_or_default();
    if none {
        bytes.truncate(bytes.iter().position(|byte| *byte == b'\n').map_or(0, |end| end + 1));
    }
    bytes
}

/// The delimiter of a header.
pub(crate) fn delimiter(bytes: &[u8]) -> u8 {
    let header = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let count = |wanted: u8| header.iter().filter(|byte| **byte == wanted).count();
    [b',', b';', b'\t'].into_iter().max_by_key(|delimiter| (count(*delimiter), *delimiter == b',')).unwrap_or(b',')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(code: &str, concept_id: Option<i64>, status: Status, author: &str, second: &str) -> ReviewRow {
        ReviewRow {
            source_system: "lab".to_owned(),
            source_code: code.to_owned(),
            concept_id,
            status,
            author: author.to_owned(),
            approved_by: second.to_owned(),
            score: Some(0.5),
            comment: "a, \"b\"\nc".to_owned(),
            ..ReviewRow::default()
        }
    }

    #[test]
    fn only_what_two_persons_decided_counts() {
        let review = Review {
            rows: vec![
                row("A", Some(3_000_483), Status::Approved, "ana", "ben"),
                row("A", Some(1), Status::Rejected, "ana", "ben"),
                row("B", Some(3_000_483), Status::Approved, "ana", ""),
                row("C", Some(3_000_483), Status::Approved, "ana", "Ana"),
                row("=HYPERLINK(\"x\")", Some(3_000_483), Status::Proposed, "", ""),
                row("E", None, Status::Unmatched, "ana", "ben"),
            ],
        };
        assert_eq!(review.progress(), Progress { codes: 5, decided: 2, waiting: 2, open: 1 });
        let codes = review.local_codes();
        assert_eq!(codes.targets("lab", "A"), Some(&[3_000_483][..]));
        assert_eq!(codes.targets("lab", "E"), Some(&[][..]));
        assert_eq!(codes.targets("lab", "B"), None);
        assert!(review.check(Vocabulary::bundled()).is_ok());
        assert_eq!(read_review(&write_review(&Review::default())).unwrap(), Review::default());
        let again = read_review(&write_review(&review)).unwrap();
        assert_eq!(again, review);
        assert!(String::from_utf8(write_review(&review)).unwrap().contains(",\"'=HYPERLINK"));
        let semicolons = String::from_utf8(write_review(&Review { rows: vec![ReviewRow::default()] })).unwrap();
        assert_eq!(read_review(semicolons.replace(',', ";").as_bytes()).unwrap().rows.len(), 1);
    }

    #[test]
    fn a_decision_that_cannot_hold_is_refused_with_its_line() {
        let line = |rows: Vec<ReviewRow>| match (Review { rows }).check(Vocabulary::bundled()) {
            Err(VocabularyFileError::Row { line, .. }) => Some(line),
            _ => None,
        };
        let fine = row("A", Some(3_000_483), Status::Approved, "ana", "ben");
        assert_eq!(line(vec![fine.clone()]), None);
        assert_eq!(line(vec![fine.clone(), row("A", None, Status::Unmatched, "ana", "ben")]), Some(3));
        assert_eq!(line(vec![row("A", Some(999), Status::Approved, "ana", "ben")]), Some(2));
        assert_eq!(line(vec![row("A", Some(2_000_000_003), Status::Approved, "ana", "ben")]), Some(2));
        assert!(matches!(read_review(b"x,y\n"), Err(VocabularyFileError::NoColumn { .. })));
        let broken =
            String::from_utf8(write_review(&Review { rows: vec![fine] })).unwrap().replace("approved,", "perhaps,");
        assert!(matches!(read_review(broken.as_bytes()), Err(VocabularyFileError::Row { line: 2, .. })));
    }
}
