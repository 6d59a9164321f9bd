//! Concepts: looking up what a code means.
//!
//! [`Concepts`] holds the standard and the local concepts of the bundled [`Vocabulary`], with the units of
//! `data/concepts.csv`, the concepts that the breast-cancer course needs. There `standard` is `S` for a standard concept
//! of the OHDSI vocabularies and `L` for a local one: OHDSI reserves ids from 2,000,000,000 for those. A code whose OHDSI
//! concept id could not be checked against a vocabulary file is `L` too, so that no wrong id is given.

use std::collections::HashMap;
use std::sync::LazyLock;

use crate::vocabulary::{ConceptRef, Vocabulary, pack};

/// First concept id that belongs to the site itself (OHDSI convention for custom concepts).
pub const LOCAL_CONCEPT_FLOOR: i64 = 2_000_000_000;

/// One concept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Concept {
    /// `concept_id`.
    pub concept_id: i64,
    /// `concept_name`.
    pub name: &'static str,
    /// `domain_id`: decides into which table an event goes.
    pub domain: &'static str,
    /// `vocabulary_id`.
    pub vocabulary: &'static str,
    /// `concept_code`.
    pub code: &'static str,
    /// Whether it is a standard concept of the OHDSI vocabularies.
    pub standard: bool,
    /// UCUM unit in which Acequia keeps values of this concept.
    pub unit: Option<&'static str>,
}

/// The concepts of the pack that comes with the program.
#[derive(Debug)]
pub struct Concepts {
    vocabulary: &'static Vocabulary,
    units: HashMap<i64, String>,
}

static BUNDLED: LazyLock<Concepts> = LazyLock::new(|| {
    let mut units = HashMap::new();
    pack::rows(pack::COURSE, |row| {
        if let (Ok(concept_id), false) = (row[0].parse(), row[6].is_empty()) {
            units.insert(concept_id, row[6].to_owned());
        }
    });
    Concepts { vocabulary: Vocabulary::bundled(), units }
});

impl Concepts {
    /// The pack that comes with the program.
    pub fn bundled() -> &'static Self {
        &BUNDLED
    }

    fn of(&'static self, concept: ConceptRef<'static>) -> Option<Concept> {
        let standard = concept.is_standard();
        (standard || concept.concept_id >= LOCAL_CONCEPT_FLOOR).then(|| Concept {
            concept_id: concept.concept_id,
            name: concept.name,
            domain: concept.domain_id,
            vocabulary: concept.vocabulary_id,
            code: concept.code,
            standard,
            unit: self.units.get(&concept.concept_id).map(String::as_str),
        })
    }

    /// The concept with this id.
    pub fn by_id(&'static self, concept_id: i64) -> Option<Concept> {
        self.of(self.vocabulary.by_id(concept_id)?)
    }

    /// The concept of a code in a vocabulary (`SNOMED`, `LOINC`, `RxNorm`, `UCUM`, …).
    pub fn by_code(&'static self, vocabulary: &str, code: &str) -> Option<Concept> {
        self.of(self.vocabulary.by_code(vocabulary, code)?)
    }

    /// All concepts, by ascending id.
    pub fn all(&'static self) -> impl Iterator<Item = Concept> {
        self.vocabulary.concepts().filter_map(|concept| self.of(concept))
    }
}

/// A stable source concept id for a code that no pack knows: 2,000,000,000 + 64 bits of BLAKE3 over system and code,
/// folded to 31 bits' room. Deterministic, so that the same unknown code gets the same id at every node.
pub fn source_concept_id(system: &str, code: &str) -> i64 {
    const ROOM: u64 = 146_483_647;
    const RESERVED_FOR_PACK: i64 = 1_000_000;
    let mut hash = blake3::Hasher::new_derive_key("acequia 2026 source concept id v1");
    hash.update(&(system.len() as u64).to_le_bytes());
    hash.update(system.as_bytes());
    hash.update(code.as_bytes());
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&hash.finalize().as_bytes()[..8]);
    LOCAL_CONCEPT_FLOOR + RESERVED_FOR_PACK + i64::try_from(u64::from_le_bytes(bytes) % ROOM).unwrap_or(0)
}

/// A unit of measurement, by its UCUM code.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Unit;

impl Unit {
    /// The factor that turns a value in UCUM unit `from` into `to`; `None` when the two are not of one dimension or
    /// one is no UCUM. See [`crate::Units`] for units as sources write them.
    pub fn factor(from: &str, to: &str) -> Option<f64> {
        crate::units::factor(from, to)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ids_and_codes_of_the_pack_are_unique() {
        let concepts = Concepts::bundled();
        let mut ids = BTreeSet::new();
        let mut codes = BTreeSet::new();
        for concept in concepts.all() {
            assert!(ids.insert(concept.concept_id) && codes.insert((concept.vocabulary, concept.code)));
            assert_eq!(concepts.by_id(concept.concept_id), Some(concept));
            assert_eq!(concepts.by_code(concept.vocabulary, concept.code), Some(concept));
            assert_eq!(concept.standard, concept.concept_id < LOCAL_CONCEPT_FLOOR, "{}", concept.concept_id);
        }
    }

    #[test]
    fn an_unknown_code_gets_a_stable_id_in_the_local_room() {
        let id = source_concept_id("https://lab.example", "X1");
        assert_eq!(id, source_concept_id("https://lab.example", "X1"));
        assert_ne!(id, source_concept_id("https://lab.example", "X2"));
        assert!((LOCAL_CONCEPT_FLOOR + 1_000_000..=i64::from(i32::MAX)).contains(&id));
    }

    #[test]
    fn units_convert_within_one_dimension_only() {
        assert_eq!(Unit::factor("cm", "mm"), Some(10.0));
        assert_eq!(Unit::factor("mm", "g"), None);
        assert_eq!(Unit::factor("fmol/l", "fmol/L"), Some(1.0));
    }
}
