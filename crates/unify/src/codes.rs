//! What codes mean: each distinct code, or list of codes, is resolved once.

use std::sync::Arc;

use acequia_omop::{
    CdmTable, Code, Concepts, Kind, LocalCodes, Unit, Units, Vocabulary, normal_code, source_concept_id, vocabulary_of,
};
use serde::{Deserialize, Serialize};

use crate::hash::{DigestMap, Seed};

/// Longest source value in a table of the model.
const SOURCE_VALUE_BYTES: usize = 50;

/// The text, or as many whole characters of its beginning as fit.
pub(crate) fn cut(text: &str, longest: usize) -> &str {
    &text[..text.floor_char_boundary(longest)]
}

/// Why there is no standard concept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoConcept {
    /// The source gives a text, not a code.
    NoCode,
    /// The system is none of the vocabulary's.
    UnknownSystem,
    /// The vocabulary has the system but not the code.
    UnknownCode,
    /// The concept is retired and maps to no other.
    Retired,
    /// The concept is valid but has no standard one.
    NoStandard,
}

impl NoConcept {
    /// The word used in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoCode => "no-code",
            Self::UnknownSystem => "unknown-system",
            Self::UnknownCode => "unknown-code",
            Self::Retired => "retired",
            Self::NoStandard => "no-standard-concept",
        }
    }
}

/// One row that a code asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) concept_id: i64,
    /// The table of the concept's domain; `None` where the domain has none.
    pub(crate) table: Option<CdmTable>,
    pub(crate) value: Option<i64>,
}

/// What a list of codes means.
#[derive(Debug, Clone)]
pub(crate) struct Meaning {
    pub(crate) source_value: String,
    pub(crate) source_concept_id: i64,
    pub(crate) targets: Vec<Target>,
    pub(crate) why_not: Option<NoConcept>,
    /// The concept is a substance, an organism or a product, not a finding.
    pub(crate) substance: bool,
    /// Unit in which the course keeps numbers of the concept.
    pub(crate) unit: Option<&'static str>,
    /// Codes that were given besides the one that was taken.
    pub(crate) losers: u64,
    system: String,
}

/// The codes of an event that no pack and no vocabulary knew, by their number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeUse {
    /// System as received.
    pub system: String,
    /// Code as received, at most 50 bytes.
    pub code: String,
    /// Concepts it became; empty when none.
    pub concept_ids: Vec<i64>,
    /// Why it has none.
    pub why_not: Option<NoConcept>,
    /// Events with it.
    pub events: u64,
}

/// Which vocabularies are preferred among the codes of one element (rules of the FHIR-to-OMOP guide).
fn rank(kind: Kind, vocabulary: &str) -> u8 {
    let order: &[&str] = match kind {
        Kind::Drug => &["RxNorm", "RxNorm Extension", "CVX", "NDC", "ATC", "SNOMED"],
        Kind::Measurement => &["LOINC", "SNOMED"],
        Kind::Observation | Kind::Note => &["SNOMED", "LOINC"],
        _ => &["SNOMED", "LOINC", "CPT4", "HCPCS", "ICD10PCS"],
    };
    let known = order.iter().position(|name| *name == vocabulary);
    let last = if vocabulary.starts_with("ICD") { u8::MAX } else { u8::MAX - 1 };
    known.and_then(|at| u8::try_from(at).ok()).unwrap_or(last)
}

fn table_of_domain(domain: &str) -> Option<CdmTable> {
    match domain {
        "Condition" => Some(CdmTable::ConditionOccurrence),
        "Procedure" => Some(CdmTable::ProcedureOccurrence),
        "Drug" => Some(CdmTable::DrugExposure),
        "Device" => Some(CdmTable::DeviceExposure),
        "Measurement" => Some(CdmTable::Measurement),
        "Observation" => Some(CdmTable::Observation),
        "Specimen" => Some(CdmTable::Specimen),
        // Units, routes, genders, sites, values: the event keeps the table of its kind.
        _ => None,
    }
}

/// Resolves codes and remembers the answers. Each thread has its own; the answers are the same.
pub(crate) struct Memo<'v> {
    vocabulary: &'v Vocabulary,
    local: Arc<LocalCodes>,
    spelling: Arc<Units<'v>>,
    seed: Seed,
    known: DigestMap<u32>,
    meanings: Vec<Meaning>,
    uses: Vec<u64>,
    units: DigestMap<Option<i64>>,
    concepts: DigestMap<i64>,
    text: Vec<u8>,
}

impl<'v> Memo<'v> {
    pub(crate) fn new(
        vocabulary: &'v Vocabulary,
        local: Arc<LocalCodes>,
        spelling: Arc<Units<'v>>,
        seed: Seed,
    ) -> Self {
        Self {
            vocabulary,
            local,
            spelling,
            seed,
            known: DigestMap::default(),
            meanings: Vec::new(),
            uses: Vec::new(),
            units: DigestMap::default(),
            concepts: DigestMap::default(),
            text: Vec::new(),
        }
    }

    fn digest(&mut self, first: u8, codes: &[Code<'_>], text: &str) -> u128 {
        self.text.clear();
        self.text.push(first);
        for code in codes {
            for part in [code.system, code.code] {
                self.text.extend_from_slice(part.as_bytes());
                self.text.push(0);
            }
        }
        self.text.extend_from_slice(text.as_bytes());
        self.seed.of(&self.text)
    }

    /// What the codes of an event mean; the number stands for it in [`Self::meaning`].
    pub(crate) fn resolve(&mut self, kind: Kind, concept_id: Option<i64>, codes: &[Code<'_>], text: &str) -> u32 {
        let digest = match concept_id {
            Some(concept_id) => self.digest(u8::MAX, &[Code { system: text, code: "" }], &concept_id.to_string()),
            None => self.digest(kind as u8, codes, if codes.is_empty() { text } else { "" }),
        };
        if let Some(known) = self.known.get(&digest) {
            self.uses[*known as usize] += 1;
            return *known;
        }
        let meaning = match concept_id {
            Some(concept_id) => self.stated(concept_id, text),
            None => self.look_up(kind, codes, text),
        };
        let number = u32::try_from(self.meanings.len()).unwrap_or(u32::MAX);
        self.meanings.push(meaning);
        self.uses.push(1);
        self.known.insert(digest, number);
        number
    }

    pub(crate) fn meaning(&self, number: u32) -> &Meaning {
        &self.meanings[number as usize]
    }

    fn stated(&self, concept_id: i64, text: &str) -> Meaning {
        let local = Concepts::bundled().by_id(concept_id);
        let domain = match (self.vocabulary.by_id(concept_id), local) {
            (Some(concept), _) => Some(concept.domain_id.to_owned()),
            (None, Some(concept)) => Some(concept.domain.to_owned()),
            (None, None) => None,
        };
        let table = domain.as_deref().and_then(table_of_domain);
        Meaning {
            source_value: text.to_owned(),
            source_concept_id: 0,
            targets: vec![Target { concept_id, table, value: None }],
            why_not: domain.is_none().then_some(NoConcept::UnknownCode),
            substance: false,
            unit: local.and_then(|concept| concept.unit),
            losers: 0,
            system: String::new(),
        }
    }

    fn look_up(&self, kind: Kind, codes: &[Code<'_>], text: &str) -> Meaning {
        let mut best: Option<(bool, u8, Meaning)> = None;
        for code in codes {
            let meaning = self.one(code);
            let rank = rank(kind, vocabulary_of(code.system));
            let mapped = !meaning.targets.is_empty();
            let better = |(other_mapped, other_rank, _): &(bool, u8, Meaning)| {
                (mapped && !other_mapped) || (mapped == *other_mapped && rank < *other_rank)
            };
            if best.as_ref().is_none_or(better) {
                best = Some((mapped, rank, meaning));
            }
        }
        match best {
            Some((_, _, mut meaning)) => {
                meaning.losers = codes.len() as u64 - 1;
                meaning
            }
            None => Meaning {
                source_value: text.to_owned(),
                source_concept_id: 0,
                targets: Vec::new(),
                why_not: Some(NoConcept::NoCode),
                substance: false,
                unit: None,
                losers: 0,
                system: String::new(),
            },
        }
    }

    fn one(&self, code: &Code<'_>) -> Meaning {
        let empty = Meaning {
            source_value: code.code.to_owned(),
            source_concept_id: 0,
            targets: Vec::new(),
            why_not: None,
            substance: false,
            unit: None,
            losers: 0,
            system: code.system.to_owned(),
        };
        if let Some(decided) = self.local.targets(code.system, code.code) {
            return self.decided(decided, empty);
        }
        // The course's own concepts come first: they carry the unit in which it keeps numbers.
        let own = Concepts::bundled().by_code(vocabulary_of(code.system), code.code.trim());
        let unit = own.and_then(|concept| concept.unit);
        if let Some(source) = self.vocabulary.resolve(code.system, code.code) {
            let targets: Vec<Target> = self
                .vocabulary
                .maps_to(source.concept_id)
                .filter_map(|(concept_id, value)| {
                    let concept = self.vocabulary.by_id(concept_id)?;
                    Some(Target { concept_id, table: table_of_domain(concept.domain_id), value })
                })
                .collect();
            let substance =
                targets.first().and_then(|target| self.vocabulary.by_id(target.concept_id)).is_some_and(|concept| {
                    concept.domain_id == "Drug"
                        || ["Substance", "Organism", "Pharma/Biol Product", "Ingredient"]
                            .contains(&concept.concept_class_id)
                });
            let retired = source.invalid_reason.is_some();
            let why_not =
                targets.is_empty().then_some(if retired { NoConcept::Retired } else { NoConcept::NoStandard });
            if why_not.is_none() || own.is_none() {
                let source_concept_id = source.concept_id;
                return Meaning { source_concept_id, targets, why_not, substance, unit, ..empty };
            }
        }
        if let Some(concept) = own {
            let target = Target { concept_id: concept.concept_id, table: table_of_domain(concept.domain), value: None };
            return Meaning { source_concept_id: concept.concept_id, targets: vec![target], unit, ..empty };
        }
        let vocabulary = vocabulary_of(code.system);
        let known_system = self.vocabulary.vocabularies().iter().any(|info| info.vocabulary_id == vocabulary);
        Meaning {
            source_concept_id: source_concept_id(code.system, &normal_code(vocabulary, code.code)),
            why_not: Some(if known_system { NoConcept::UnknownCode } else { NoConcept::UnknownSystem }),
            ..empty
        }
    }

    /// What people of the site decided about a code of theirs; deciding that it has no concept counts too.
    fn decided(&self, concepts: &[i64], of: Meaning) -> Meaning {
        let domain = |concept_id| self.vocabulary.by_id(concept_id).map(|concept| concept.domain_id);
        let target = |concept_id: &i64| Target {
            concept_id: *concept_id,
            table: domain(*concept_id).and_then(table_of_domain),
            value: None,
        };
        let vocabulary = vocabulary_of(&of.system);
        Meaning {
            source_concept_id: source_concept_id(&of.system, &normal_code(vocabulary, &of.source_value)),
            targets: concepts.iter().map(target).collect(),
            why_not: concepts.is_empty().then_some(NoConcept::NoStandard),
            substance: concepts.first().and_then(|concept_id| domain(*concept_id)) == Some("Drug"),
            ..of
        }
    }

    /// The concept of a value, qualifier, race or route: the first standard one of any code; 0 when there is none.
    pub(crate) fn concept(&mut self, codes: &[Code<'_>]) -> i64 {
        let digest = self.digest(b'v', codes, "");
        if let Some(known) = self.concepts.get(&digest) {
            return *known;
        }
        let concept = codes.iter().find_map(|code| self.one(code).targets.first().map(|target| target.concept_id));
        let concept = concept.unwrap_or(0);
        self.concepts.insert(digest, concept);
        concept
    }

    /// The concept of a unit: UCUM, after the spelling was corrected; 0 for one that is neither, `None` for no unit.
    pub(crate) fn unit(&mut self, unit: &str) -> Option<i64> {
        if unit.is_empty() {
            return None;
        }
        let digest = self.digest(b'u', &[], unit);
        if let Some(known) = self.units.get(&digest) {
            return *known;
        }
        let read = self.spelling.read(unit, false);
        let own = || Concepts::bundled().by_code("UCUM", &read.ucum).map(|concept| concept.concept_id);
        let found = read.concept_id.or_else(own).unwrap_or(0);
        self.units.insert(digest, Some(found));
        Some(found)
    }

    /// Factor that turns a number in `from` into the course's unit of the concept.
    pub(crate) fn factor(&self, number: u32, from: &str) -> Option<(f64, &'static str)> {
        let to = self.meanings[number as usize].unit?;
        Unit::factor(from, to).map(|factor| (factor, to))
    }

    /// Distinct codes with what they became.
    pub(crate) fn uses(self) -> impl Iterator<Item = (CodeUse, u64)> {
        self.meanings.into_iter().zip(self.uses).map(|(meaning, events)| {
            let losers = meaning.losers * events;
            let code = cut(&meaning.source_value, SOURCE_VALUE_BYTES).to_owned();
            // A text is no code; it may say anything about the patient and stays out of reports.
            let code = if meaning.why_not == Some(NoConcept::NoCode) { String::new() } else { code };
            let concept_ids = meaning.targets.iter().map(|target| target.concept_id).collect();
            (CodeUse { system: meaning.system, code, concept_ids, why_not: meaning.why_not, events }, losers)
        })
    }
}
