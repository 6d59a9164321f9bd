//! Vocabularies: from a code in a system to its concept, and from there to the standard concepts it maps to.
//!
//! Comes in: the bytes of an index, from the program itself or from a file that somebody else opened. Goes out:
//! [`Vocabulary`], which answers from those bytes without copying them. [`VocabularyBuilder`] makes such bytes from the
//! rows of an Athena export (OHDSI vocabulary tables of CDM 5.4).
//!
//! ```
//! use acequia_omop::Vocabulary;
//! let vocabulary = Vocabulary::bundled();
//! let tumour = vocabulary.resolve("http://snomed.info/sct", " 254837009 ").unwrap();
//! assert_eq!((tumour.concept_id, tumour.domain_id), (4_112_853, "Condition"));
//! assert_eq!(vocabulary.maps_to(4_112_853).collect::<Vec<_>>(), [(4_112_853, None)]);
//! ```

mod build;
mod layout;
mod local;
pub(crate) mod pack;
mod search;
mod sorted;
mod systems;
mod words;

use std::cmp::Ordering;
use std::ops::Range;
use std::sync::Arc;

use acequia_types::{Coded, Day, Exit};

pub use build::{Built, ConceptRow, Relation, VocabularyBuilder};
pub use local::LocalCodes;
pub use search::{Found, SearchScope};
pub use sorted::{Scratch, ScratchFile};
pub use systems::{normal_code, vocabulary_of};

use layout::{
    ATTRIBUTES, Ascending, CONTENT, DIRECTORY, FORMAT, Lists, MAGIC, SECTIONS, SPAN, Section, Texts, between, text,
    u16_at, u32_at, u64_at,
};

/// Who owns the bytes of an index: a vector, a memory-mapped file, bytes of the program.
pub type IndexBytes = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// `standard_concept` of a concept; a source concept has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standard {
    /// `S`: may stand in the `*_concept_id` fields.
    Standard,
    /// `C`: only groups others.
    Classification,
}

/// `invalid_reason` of a concept; a valid concept has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum InvalidReason {
    /// `D`: deleted.
    Deleted,
    /// `U`: replaced by another.
    Updated,
}

/// One concept, as a row of the OMOP table CONCEPT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConceptRef<'v> {
    /// `concept_id`.
    pub concept_id: i64,
    /// `concept_name`.
    pub name: &'v str,
    /// `domain_id`: decides into which table an event goes.
    pub domain_id: &'v str,
    /// `vocabulary_id`.
    pub vocabulary_id: &'v str,
    /// `concept_class_id`.
    pub concept_class_id: &'v str,
    /// `concept_code`.
    pub code: &'v str,
    /// `standard_concept`.
    pub standard: Option<Standard>,
    /// `invalid_reason`.
    pub invalid_reason: Option<InvalidReason>,
    /// `valid_start_date`.
    pub valid_start: Day,
    /// `valid_end_date`.
    pub valid_end: Day,
}

impl ConceptRef<'_> {
    /// Whether it is a valid standard concept.
    pub fn is_standard(&self) -> bool {
        self.standard == Some(Standard::Standard) && self.invalid_reason.is_none()
    }
}

/// One vocabulary of an index.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct VocabularyInfo {
    /// `vocabulary_id`.
    pub vocabulary_id: String,
    /// `vocabulary_name`.
    pub name: String,
    /// `vocabulary_version`, as the export states it.
    pub version: String,
}

/// An index cannot be read or built.
#[derive(Debug, thiserror::Error)]
pub enum VocabularyError {
    /// The bytes are no index.
    #[error("the file is no vocabulary index")]
    NotAnIndex,
    /// A format of another program version.
    #[error("the vocabulary index has format {found}, this program reads {FORMAT}")]
    Format {
        /// Format number found.
        found: u32,
    },
    /// The bytes are not those that were written.
    #[error("the vocabulary index is damaged ({part})")]
    Damaged {
        /// Which part.
        part: &'static str,
    },
    /// A row of a vocabulary table cannot be used.
    #[error("a row of {table} cannot be used: {what}")]
    Row {
        /// Table.
        table: &'static str,
        /// What is wrong.
        what: &'static str,
    },
    /// More than the format holds.
    #[error("the vocabulary has too many {what} for an index")]
    TooMany {
        /// Of what.
        what: &'static str,
    },
    /// A scratch file or the index cannot be written.
    #[error("the vocabulary index cannot be written: {0}")]
    Write(std::io::ErrorKind),
}

impl From<std::io::Error> for VocabularyError {
    fn from(error: std::io::Error) -> Self {
        Self::Write(error.kind())
    }
}

impl Coded for VocabularyError {
    fn code(&self) -> &'static str {
        match self {
            Self::NotAnIndex => "VO001",
            Self::Format { .. } => "VO002",
            Self::Damaged { .. } => "VO003",
            Self::Row { .. } => "VO004",
            Self::TooMany { .. } => "VO005",
            Self::Write(_) => "VO006",
        }
    }
    fn hint(&self) -> &'static str {
        match self {
            Self::NotAnIndex => "make one from an Athena export with `acequia vocabulary load`",
            Self::Format { .. } | Self::Damaged { .. } => "load the Athena export again with `acequia vocabulary load`",
            Self::Row { .. } => "download the export again; its tables are tab-separated, with a header and no quotes",
            Self::TooMany { .. } => "choose fewer vocabularies at Athena",
            Self::Write(_) => "check the free space and the permissions of the folder",
        }
    }
    fn exit(&self) -> Exit {
        match self {
            Self::Damaged { .. } => Exit::Integrity,
            _ => Exit::Failure,
        }
    }
}

/// Vocabularies, read in place from the bytes of an index.
///
/// No bytes make it panic: what does not fit is an error when it is opened, or an absent answer later.
#[derive(Clone)]
pub struct Vocabulary {
    bytes: IndexBytes,
    sections: [Range<usize>; SECTIONS],
    concepts: usize,
    version: String,
    vocabularies: Vec<VocabularyInfo>,
    domains: Vec<String>,
    classes: Vec<String>,
}

impl std::fmt::Debug for Vocabulary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vocabulary").field("version", &self.version).field("concepts", &self.concepts).finish()
    }
}

impl Vocabulary {
    /// The small open pack that comes with the program; `data/pack/NOTICES.md` states sources and licences.
    pub fn bundled() -> &'static Self {
        &pack::BUNDLED
    }

    /// Opens an index and checks every byte of it against its checksum.
    ///
    /// # Errors
    /// [`VocabularyError::NotAnIndex`], [`VocabularyError::Format`], [`VocabularyError::Damaged`].
    pub fn from_bytes(bytes: IndexBytes) -> Result<Self, VocabularyError> {
        {
            let all = (*bytes).as_ref();
            let length = header(all)?;
            let mut hash = blake3::Hasher::new();
            hash.update(&all[CONTENT..]);
            hash.update(&all[DIRECTORY..CONTENT]);
            hash.update(&length.to_le_bytes());
            if hash.finalize().as_bytes() != &all[24..DIRECTORY] {
                return Err(VocabularyError::Damaged { part: "checksum" });
            }
        }
        Self::from_checked_bytes(bytes)
    }

    /// Opens an index whose bytes this machine has checked before: only its structure is looked at, so that a large
    /// memory-mapped index opens without being read.
    ///
    /// # Errors
    /// As [`Vocabulary::from_bytes`], but for the checksum.
    pub fn from_checked_bytes(bytes: IndexBytes) -> Result<Self, VocabularyError> {
        let damaged = |part| VocabularyError::Damaged { part };
        let all = (*bytes).as_ref();
        header(all)?;
        let mut sections = std::array::from_fn(|_| 0..0);
        for (number, section) in sections.iter_mut().enumerate() {
            let at = DIRECTORY + number * 16;
            let read = |at| u64_at(all, at).and_then(|value| usize::try_from(value).ok());
            let range = read(at).zip(read(at + 8)).and_then(|(start, length)| Some(start..start.checked_add(length)?));
            *section = range
                .filter(|range| range.start >= CONTENT && range.end <= all.len())
                .ok_or_else(|| damaged("directory"))?;
        }
        let section = |which: Section| &all[sections[which as usize].clone()];
        let concepts = section(Section::Ids).len() / 4;
        let holds = |which: Section, length: Option<usize>| length == Some(section(which).len());
        let sized = holds(Section::Ids, concepts.checked_mul(4))
            && holds(Section::NameOffsets, (concepts + 1).checked_mul(4))
            && holds(Section::CodeOffsets, (concepts + 1).checked_mul(4))
            && holds(Section::Attributes, concepts.checked_mul(ATTRIBUTES))
            && holds(Section::ByCode, concepts.checked_mul(4));
        if !sized {
            return Err(damaged("length of a section"));
        }
        for which in
            [Section::MapsTo, Section::MapsToValue, Section::Descendants, Section::Ancestors, Section::Synonyms]
        {
            Lists::read(section(which)).ok_or_else(|| damaged("lists"))?;
        }
        let texts = |which: Section| Texts::read(section(which)).ok_or_else(|| damaged("texts"));
        let small = |which: Section| {
            let texts = texts(which)?;
            if texts.count > 3 * usize::from(u16::MAX) {
                return Err(damaged("texts"));
            }
            Ok((0..texts.count).map(|at| texts.get(at).to_owned()).collect::<Vec<_>>())
        };
        let words = texts(Section::Words)?.count;
        if words.checked_mul(SPAN).is_none_or(|spans| spans > section(Section::Postings).len()) {
            return Err(damaged("words"));
        }
        let version = small(Section::Version)?.into_iter().next().unwrap_or_default();
        let vocabularies = small(Section::Vocabularies)?;
        let vocabularies = vocabularies
            .chunks_exact(3)
            .map(|part| VocabularyInfo {
                vocabulary_id: part[0].clone(),
                name: part[1].clone(),
                version: part[2].clone(),
            })
            .collect();
        let (domains, classes) = (small(Section::Domains)?, small(Section::Classes)?);
        Ok(Self { bytes: Arc::clone(&bytes), sections, concepts, version, vocabularies, domains, classes })
    }

    /// The version of the whole, such as `v5.0 27-FEB-25`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// BLAKE3 of the content, as the index states it: names exactly these vocabularies, for lineage.
    pub fn digest(&self) -> [u8; 32] {
        (*self.bytes).as_ref().get(24..DIRECTORY).and_then(|digest| digest.try_into().ok()).unwrap_or_default()
    }

    /// The vocabularies in it, by id.
    pub fn vocabularies(&self) -> &[VocabularyInfo] {
        &self.vocabularies
    }

    /// Number of concepts.
    pub const fn len(&self) -> usize {
        self.concepts
    }

    /// Whether it holds no concept.
    pub const fn is_empty(&self) -> bool {
        self.concepts == 0
    }

    fn section(&self, which: Section) -> &[u8] {
        (*self.bytes).as_ref().get(self.sections[which as usize].clone()).unwrap_or_default()
    }

    fn lists(&self, which: Section, key: u32) -> &[u8] {
        Lists::read(self.section(which)).map_or(&[], |lists| lists.get(key))
    }

    fn id(&self, ordinal: u32) -> Option<i64> {
        u32_at(self.section(Section::Ids), ordinal as usize * 4).map(i64::from)
    }

    fn ordinal(&self, concept_id: i64) -> Option<u32> {
        let wanted = u32::try_from(concept_id).ok()?;
        let ids = self.section(Section::Ids);
        let found = layout::search(self.concepts, |at| u32_at(ids, at * 4).map(|id| id.cmp(&wanted)))?;
        u32::try_from(found).ok()
    }

    fn name(&self, ordinal: u32) -> &str {
        between(self.section(Section::NameOffsets), self.section(Section::Names), ordinal as usize).map_or("", text)
    }

    fn code_bytes(&self, ordinal: u32) -> Option<&[u8]> {
        between(self.section(Section::CodeOffsets), self.section(Section::Codes), ordinal as usize)
    }

    fn attributes(&self, ordinal: u32) -> Option<&[u8]> {
        let start = (ordinal as usize).checked_mul(ATTRIBUTES)?;
        self.section(Section::Attributes).get(start..start.checked_add(ATTRIBUTES)?)
    }

    fn vocabulary_number(&self, ordinal: u32) -> Option<u16> {
        u16_at(self.attributes(ordinal)?, 2)
    }

    fn at(&self, ordinal: u32) -> Option<ConceptRef<'_>> {
        let attributes = self.attributes(ordinal)?;
        let day = |at: usize| {
            let days = u32_at(attributes, at).unwrap_or(0).cast_signed();
            Day::default().checked_add_signed(chrono::TimeDelta::days(i64::from(days))).unwrap_or_default()
        };
        let number = |at: usize| usize::from(u16_at(attributes, at).unwrap_or(u16::MAX));
        Some(ConceptRef {
            concept_id: self.id(ordinal)?,
            name: self.name(ordinal),
            domain_id: self.domains.get(number(0)).map_or("", String::as_str),
            vocabulary_id: self.vocabularies.get(number(2)).map_or("", |info| info.vocabulary_id.as_str()),
            concept_class_id: self.classes.get(number(4)).map_or("", String::as_str),
            code: text(self.code_bytes(ordinal).unwrap_or_default()),
            standard: match attributes[6] {
                b'S' => Some(Standard::Standard),
                b'C' => Some(Standard::Classification),
                _ => None,
            },
            invalid_reason: match attributes[7] {
                b'D' => Some(InvalidReason::Deleted),
                b'U' => Some(InvalidReason::Updated),
                _ => None,
            },
            valid_start: day(8),
            valid_end: day(12),
        })
    }

    /// All concepts, by ascending id.
    pub fn concepts(&self) -> impl Iterator<Item = ConceptRef<'_>> {
        (0..u32::try_from(self.concepts).unwrap_or(u32::MAX)).filter_map(|ordinal| self.at(ordinal))
    }

    /// The concept with this id.
    pub fn by_id(&self, concept_id: i64) -> Option<ConceptRef<'_>> {
        self.at(self.ordinal(concept_id)?)
    }

    /// The concept of a code exactly as the vocabulary writes it (`SNOMED`, `LOINC`, `RxNorm`, `UCUM`, …). Of several,
    /// the valid one with the lowest id.
    pub fn by_code(&self, vocabulary_id: &str, code: &str) -> Option<ConceptRef<'_>> {
        let wanted = self.vocabularies.binary_search_by(|info| info.vocabulary_id.as_str().cmp(vocabulary_id)).ok()?;
        let wanted = u16::try_from(wanted).ok()?;
        let by_code = self.section(Section::ByCode);
        let compare = |at: usize| -> Option<Ordering> {
            let ordinal = u32_at(by_code, at * 4)?;
            let vocabulary = self.vocabulary_number(ordinal)?;
            Some(
                vocabulary.cmp(&wanted).then_with(|| self.code_bytes(ordinal).unwrap_or_default().cmp(code.as_bytes())),
            )
        };
        let mut first = layout::search(self.concepts, compare)?;
        while first > 0 && compare(first - 1) == Some(Ordering::Equal) {
            first -= 1;
        }
        self.at(u32_at(by_code, first * 4)?)
    }

    /// The concept of a code as a source writes it: `system` is a FHIR URI, an OID or a vocabulary id, the code may be
    /// padded and an ICD code may lack its dot.
    pub fn resolve(&self, system: &str, code: &str) -> Option<ConceptRef<'_>> {
        let vocabulary_id = vocabulary_of(system);
        let code = code.trim();
        self.by_code(vocabulary_id, code).or_else(|| {
            let normal = normal_code(vocabulary_id, code);
            (normal != code).then(|| self.by_code(vocabulary_id, &normal)).flatten()
        })
    }

    /// The standard concepts a concept maps to by valid `Maps to`, each with a value from `Maps to value`, by ascending
    /// id. A valid standard concept without such a row maps to itself. A value goes with targets of the domains
    /// Measurement and Observation, whose tables hold one; several values give the target once for each.
    pub fn maps_to(&self, concept_id: i64) -> impl Iterator<Item = (i64, Option<i64>)> + use<> {
        let mut found = Vec::new();
        if let Some(ordinal) = self.ordinal(concept_id) {
            let values: Vec<_> = self.maps_to_value(concept_id).collect();
            for target in Ascending::new(self.lists(Section::MapsTo, ordinal)).filter_map(|target| self.at(target)) {
                if values.is_empty() || !matches!(target.domain_id, "Measurement" | "Observation") {
                    found.push((target.concept_id, None));
                } else {
                    found.extend(values.iter().map(|value| (target.concept_id, Some(*value))));
                }
            }
            if found.is_empty() && self.at(ordinal).is_some_and(|concept| concept.is_standard()) {
                found.push((concept_id, None));
            }
        }
        found.into_iter()
    }

    /// The concepts of `Maps to value`, by ascending id.
    pub fn maps_to_value(&self, concept_id: i64) -> impl Iterator<Item = i64> + '_ {
        self.listed(Section::MapsToValue, concept_id)
    }

    /// Everything above a concept, by ascending id, without itself.
    pub fn ancestors(&self, concept_id: i64) -> impl Iterator<Item = i64> + '_ {
        self.listed(Section::Ancestors, concept_id)
    }

    /// Everything below a concept, by ascending id, without itself.
    pub fn descendants(&self, concept_id: i64) -> impl Iterator<Item = i64> + '_ {
        self.listed(Section::Descendants, concept_id)
    }

    fn listed(&self, which: Section, concept_id: i64) -> impl Iterator<Item = i64> + '_ {
        let list = self.ordinal(concept_id).map_or(&[][..], |ordinal| self.lists(which, ordinal));
        Ascending::new(list).filter_map(|ordinal| self.id(ordinal))
    }

    /// Other names of a concept (CONCEPT_SYNONYM), sorted.
    pub fn synonyms(&self, concept_id: i64) -> impl Iterator<Item = &str> + '_ {
        let list = self.ordinal(concept_id).map_or(&[][..], |ordinal| self.lists(Section::Synonyms, ordinal));
        list.split(|byte| *byte == 0).map(text).filter(|text| !text.is_empty())
    }
}

/// Checks the fixed part; gives the length it states.
fn header(all: &[u8]) -> Result<u64, VocabularyError> {
    if all.len() < CONTENT || !all.starts_with(MAGIC) {
        return Err(VocabularyError::NotAnIndex);
    }
    let found = u32_at(all, 8).unwrap_or(0);
    if found != FORMAT {
        return Err(VocabularyError::Format { found });
    }
    let length = u64_at(all, 16).unwrap_or(0);
    if u32_at(all, 12) != u32::try_from(SECTIONS).ok() || length != all.len() as u64 {
        return Err(VocabularyError::Damaged { part: "length" });
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::io::Cursor;

    use acequia_types::parse_day;
    use proptest::prelude::*;

    use super::*;

    fn row<'r>(concept_id: u32, vocabulary_id: &'r str, code: &'r str, standard: &'r str) -> ConceptRow<'r> {
        ConceptRow {
            concept_id,
            name: "Glucose [Mass/volume] in Blood",
            domain_id: "Measurement",
            vocabulary_id,
            concept_class_id: "Lab Test",
            code,
            standard,
            invalid_reason: "",
            valid_start: parse_day("1970-01-01").unwrap(),
            valid_end: parse_day("2099-12-31").unwrap(),
        }
    }

    fn built(fill: impl FnOnce(&mut VocabularyBuilder<'_>), scratch: Option<&mut dyn Scratch>) -> Vec<u8> {
        let mut builder = VocabularyBuilder::new("test 1", scratch);
        fill(&mut builder);
        let mut bytes = Cursor::new(Vec::new());
        builder.finish(&mut bytes).unwrap();
        bytes.into_inner()
    }

    fn small(reversed: bool) -> Vec<u8> {
        built(
            |builder| {
                let mut rows = [
                    row(10, "LOINC", "2345-7", "S"),
                    row(20, "Local", "GLU", ""),
                    row(30, "Local", "GLU-LONG-CODE-1", ""),
                    ConceptRow { domain_id: "Condition", ..row(31, "Local", "GLU-LONG-CODE-0", "S") },
                    ConceptRow { invalid_reason: "U", ..row(5, "LOINC", "2345-7", "") },
                    ConceptRow { domain_id: "Meas Value", ..row(40, "SNOMED", "1", "S") },
                ];
                if reversed {
                    rows.reverse();
                }
                rows.iter().for_each(|row| builder.concept(row).unwrap());
                let mut relations = [
                    (20, 10, Relation::MapsTo),
                    (20, 31, Relation::MapsTo),
                    (20, 40, Relation::MapsToValue),
                    (20, 999, Relation::MapsTo),
                ];
                if reversed {
                    relations.reverse();
                }
                relations.iter().for_each(|(from, to, what)| builder.relate(*from, *to, *what).unwrap());
                [(10, 20), (10, 30), (20, 30), (10, 10)].iter().for_each(|(a, b)| builder.ancestor(*a, *b).unwrap());
                builder.synonym(20, "Blutzucker").unwrap();
                builder.synonym(20, "Blood sugar").unwrap();
            },
            None,
        )
    }

    #[test]
    fn an_index_answers_what_its_rows_say() {
        let vocabulary = Vocabulary::from_bytes(Arc::new(small(false))).unwrap();
        assert_eq!((vocabulary.len(), vocabulary.version()), (6, "test 1"));
        let glucose = vocabulary.by_code("LOINC", "2345-7").unwrap();
        assert_eq!((glucose.concept_id, glucose.is_standard()), (10, true), "the valid one of two");
        assert_eq!(vocabulary.by_code("Local", "GLU-LONG-CODE-0").unwrap().concept_id, 31);
        assert_eq!(vocabulary.by_code("Local", "GLU-LONG-CODE-2"), None);
        assert_eq!(vocabulary.by_code("Other", "GLU"), None);
        assert_eq!(vocabulary.by_id(5).unwrap().invalid_reason, Some(InvalidReason::Updated));
        assert_eq!(vocabulary.by_id(6), None);
        assert_eq!(vocabulary.by_id(-1), None);
        // The value goes with the measurement, not with the condition.
        assert_eq!(vocabulary.maps_to(20).collect::<Vec<_>>(), [(10, Some(40)), (31, None)]);
        assert_eq!(vocabulary.maps_to(10).collect::<Vec<_>>(), [(10, None)]);
        assert_eq!(vocabulary.maps_to(30).count(), 0);
        assert_eq!(vocabulary.descendants(10).collect::<Vec<_>>(), [20, 30]);
        assert_eq!(vocabulary.ancestors(30).collect::<Vec<_>>(), [10, 20]);
        assert_eq!(vocabulary.synonyms(20).collect::<Vec<_>>(), ["Blood sugar", "Blutzucker"]);
        assert_eq!(
            vocabulary.concepts().map(|concept| concept.concept_id).collect::<Vec<_>>(),
            [5, 10, 20, 30, 31, 40]
        );
    }

    #[test]
    fn the_order_of_rows_does_not_change_the_bytes() {
        assert!(small(false) == small(true));
    }

    #[test]
    fn a_concept_twice_or_too_late_is_refused() {
        let mut builder = VocabularyBuilder::new("", None);
        builder.concept(&row(1, "A", "1", "S")).unwrap();
        builder.concept(&row(1, "A", "2", "S")).unwrap();
        assert!(matches!(builder.relate(1, 1, Relation::MapsTo), Err(VocabularyError::Row { .. })));
        let mut builder = VocabularyBuilder::new("", None);
        builder.concept(&row(1, "A", "1", "S")).unwrap();
        builder.relate(1, 1, Relation::MapsTo).unwrap();
        assert!(matches!(builder.concept(&row(2, "A", "2", "S")), Err(VocabularyError::Row { .. })));
        assert!(VocabularyBuilder::new("", None).concept(&row(1, "A", "1", "X")).is_err());
    }

    #[test]
    fn the_pack_is_sound() {
        let pack = Vocabulary::bundled();
        assert!(pack.len() > 2000, "{} concepts", pack.len());
        let mut codes = BTreeSet::new();
        for concept in pack.concepts() {
            assert!(!concept.name.is_empty() && !concept.domain_id.is_empty(), "{}", concept.concept_id);
            assert!(codes.insert((concept.vocabulary_id, concept.code)), "{} twice", concept.code);
            if concept.concept_id >= crate::LOCAL_CONCEPT_FLOOR {
                assert_eq!(concept.standard, None, "a local concept is never standard");
            }
            if concept.vocabulary_id == "SNOMED" {
                assert!(crate::Concepts::bundled().by_id(concept.concept_id).is_some());
            }
        }
        assert_eq!(pack.resolve("http://loinc.org", "2339-0").unwrap().concept_id, 3_000_483);
        let white = pack.resolve("urn:oid:2.16.840.1.113883.6.238", "2106-3").unwrap().concept_id;
        assert_eq!(pack.maps_to(white).collect::<Vec<_>>(), [(8527, None)]);
        assert_eq!(pack.by_code("UCUM", "mg/dL").unwrap().concept_id, 8840);
    }

    #[test]
    fn damage_is_an_error() {
        let bytes = small(false);
        let open = |bytes: &[u8]| Vocabulary::from_bytes(Arc::new(bytes.to_vec()));
        assert!(matches!(open(b"PK"), Err(VocabularyError::NotAnIndex)));
        assert!(matches!(open(&bytes[..bytes.len() - 1]), Err(VocabularyError::Damaged { .. })));
        let mut other = bytes.clone();
        other[8] = 9;
        assert!(matches!(open(&other), Err(VocabularyError::Format { found: 9 })));
        for at in 8..bytes.len() {
            let mut other = bytes.clone();
            other[at] ^= 0x10;
            assert!(open(&other).is_err(), "byte {at}");
        }
    }

    /// Asks everything there is to ask.
    fn exercise(vocabulary: &Vocabulary) {
        for concept in vocabulary.concepts().take(50) {
            let id = concept.concept_id;
            vocabulary.by_code(concept.vocabulary_id, concept.code);
            vocabulary.maps_to(id).take(100).for_each(drop);
            vocabulary.ancestors(id).take(100).for_each(drop);
            vocabulary.descendants(id).take(100).for_each(drop);
            vocabulary.synonyms(id).take(100).for_each(drop);
        }
        vocabulary.by_code("LOINC", "2345-7");
        vocabulary.search("glucose in bl", SearchScope::default(), 5);
    }

    #[test]
    fn a_search_ranks_by_what_is_rare() {
        let pack = Vocabulary::bundled();
        let best = |text: &str| pack.search(text, SearchScope::default(), 1).first().map(|found| found.concept.code);
        assert_eq!(best("Glucose [Mass/volume] in Blood"), Some("2339-0"));
        assert_eq!(best("potassium serum plasma"), Some("2823-3"));
        assert_eq!(best("2339-0"), Some("2339-0"), "a code finds itself");
        assert_eq!(best("xyzzy"), None);
        let drugs = SearchScope { domain_id: Some("Drug"), standard: true, ..SearchScope::default() };
        assert!(pack.search("tamoxif", drugs, 5).iter().all(|found| found.concept.name.contains("tamoxifen")));
        assert!(!pack.search("tamoxif", drugs, 5).is_empty(), "the beginning of a word");
        let found = pack.search("glucose", SearchScope::default(), 100);
        assert!(found.is_sorted_by(|a, b| a.score >= b.score));
        let index = Vocabulary::from_bytes(Arc::new(small(false))).unwrap();
        assert_eq!(index.search("Blutzucker", SearchScope::default(), 1)[0].concept.concept_id, 20, "a synonym");
    }

    proptest! {
        #[test]
        fn changed_bytes_never_panic(changes in prop::collection::vec((16_usize..2000, any::<u8>()), 1..8)) {
            let mut bytes = small(false);
            for (at, byte) in changes {
                if let Some(found) = bytes.get_mut(at) {
                    *found = byte;
                }
            }
            let length = bytes.len() as u64;
            bytes[16..24].copy_from_slice(&length.to_le_bytes());
            if let Ok(vocabulary) = Vocabulary::from_checked_bytes(Arc::new(bytes)) {
                exercise(&vocabulary);
            }
        }
    }
}
