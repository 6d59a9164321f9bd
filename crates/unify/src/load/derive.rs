//! Tables that follow from others, in one sorted pass each: `condition_era`, `drug_era` (OMOP CDM 5.4; persistence window
//! of 30 days) and `observation_period` (first to last event).

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};

use acequia_omop::{CdmTable, Vocabulary};

use super::LoadError;
use super::columns::{Cell, Rows};
use super::state::each_record;
use crate::IdKey;

/// Days between two spells of one era.
const WINDOW_DAYS: i32 = 30;

/// `period_type_concept_id` of what is derived from an EHR: 32817.
const EHR: i64 = 32_817;

/// One stretch of a condition or of a drug. A load writes one per row aside, and reads them back to derive eras.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Spell {
    pub(super) drug: bool,
    pub(super) person: i64,
    pub(super) concept: i64,
    pub(super) start: i32,
    pub(super) end: i32,
    /// Row it comes from, by which it is found when the row makes place.
    pub(super) row: i64,
}

impl Spell {
    pub(super) const BYTES: usize = 33;

    pub(super) const fn condition(person: i64, concept: i64, start: i32, end: i32, row: i64) -> Self {
        Self { drug: false, person, concept, start, end, row }
    }

    pub(super) const fn drug(person: i64, concept: i64, start: i32, end: i32, row: i64) -> Self {
        Self { drug: true, person, concept, start, end, row }
    }
}

/// What a load notes about spells for the loads after it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Noted {
    Spell(Spell),
    /// The spell of this row, noted by an earlier load, no longer counts.
    Replaced(i64),
}

impl Noted {
    pub(super) fn write(&self, into: &mut Vec<u8>) {
        let (kind, spell) = match self {
            Self::Spell(spell) => (u8::from(spell.drug), *spell),
            Self::Replaced(row) => (2, Spell::condition(0, 0, 0, 0, *row)),
        };
        into.push(kind);
        into.extend_from_slice(&spell.person.to_le_bytes());
        into.extend_from_slice(&spell.concept.to_le_bytes());
        into.extend_from_slice(&spell.start.to_le_bytes());
        into.extend_from_slice(&spell.end.to_le_bytes());
        into.extend_from_slice(&spell.row.to_le_bytes());
    }

    /// Every note of a file, one after the other.
    pub(super) fn each(path: &Path, mut take: impl FnMut(Self)) -> Result<(), LoadError> {
        each_record(path, Spell::BYTES, |bytes| Self::read(bytes).into_iter().for_each(&mut take))
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let eight = |at: usize| Some(i64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        let four = |at: usize| Some(i32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let kind = *bytes.first()?;
        if kind == 2 {
            return Some(Self::Replaced(eight(25)?));
        }
        Some(Self::Spell(Spell {
            drug: kind == 1,
            person: eight(1)?,
            concept: eight(9)?,
            start: four(17)?,
            end: four(21)?,
            row: eight(25)?,
        }))
    }
}

/// What a spell is to a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It came with this load.
    New,
    /// It came with an earlier one, and counts.
    Before,
    /// It counted until this load.
    Gone,
}

/// Every spell of earlier loads that counts, or did before its row was `removed`, and every spell of this load.
pub(super) fn each_spell(
    old: &[PathBuf],
    new: Option<&Path>,
    removed: &BTreeSet<i64>,
    mut take: impl FnMut(Spell, Standing),
) -> Result<(), LoadError> {
    if let Some(new) = new {
        Noted::each(new, |noted| {
            if let Noted::Spell(spell) = noted {
                take(spell, Standing::New);
            }
        })?;
    }
    // A row may come, go and come again: a load only takes from those before it.
    let mut replaced = HashSet::new();
    for file in old.iter().rev() {
        let mut by_this = Vec::new();
        Noted::each(file, |noted| match noted {
            Noted::Replaced(row) => by_this.push(row),
            Noted::Spell(spell) if replaced.contains(&spell.row) => {}
            Noted::Spell(spell) if removed.contains(&spell.row) => take(spell, Standing::Gone),
            Noted::Spell(spell) => take(spell, Standing::Before),
        })?;
        replaced.extend(by_this);
    }
    Ok(())
}

/// Ingredients of drugs, each looked up once.
fn ingredients(spells: &mut Vec<Spell>, vocabulary: &Vocabulary) -> u64 {
    let mut known: std::collections::BTreeMap<i64, Vec<i64>> = std::collections::BTreeMap::new();
    let mut more = Vec::new();
    let mut without = 0;
    for spell in spells.iter_mut().filter(|spell| spell.drug) {
        let found = known.entry(spell.concept).or_insert_with(|| {
            let is_ingredient = |id: i64| {
                vocabulary.by_id(id).is_some_and(|concept| {
                    concept.concept_class_id == "Ingredient" && concept.domain_id == "Drug" && concept.is_standard()
                })
            };
            if is_ingredient(spell.concept) {
                return vec![spell.concept];
            }
            vocabulary.ancestors(spell.concept).filter(|id| is_ingredient(*id)).collect()
        });
        match found.split_first() {
            // Without ancestors in the vocabulary, the drug stands for itself.
            None => without += 1,
            Some((first, others)) => {
                more.extend(others.iter().map(|concept| Spell { concept: *concept, ..*spell }));
                spell.concept = *first;
            }
        }
    }
    spells.extend(more);
    without
}

/// Eras of conditions and drugs. Returns them with the number of drug spells of which no ingredient is known.
pub(super) fn eras(mut spells: Vec<Spell>, vocabulary: &Vocabulary, key: &IdKey) -> (Rows, Rows, u64) {
    let without = ingredients(&mut spells, vocabulary);
    spells.sort_unstable();
    let of_drugs = spells.iter().filter(|spell| spell.drug).count();
    let mut conditions = Rows::new(CdmTable::ConditionEra, spells.len() - of_drugs);
    let mut drugs = Rows::new(CdmTable::DrugEra, of_drugs);
    let mut text = Vec::new();
    let mut at = 0;
    while at < spells.len() {
        let first = spells[at];
        let (mut end, mut count, mut covered_to, mut gap) = (first.end, 0_i64, first.start - 1, 0_i64);
        while let Some(spell) = spells.get(at) {
            let same = (spell.drug, spell.person, spell.concept) == (first.drug, first.person, first.concept);
            if !same || (count > 0 && spell.start > end.saturating_add(WINDOW_DAYS)) {
                break;
            }
            gap += i64::from((spell.start - covered_to - 1).max(0));
            covered_to = covered_to.max(spell.end);
            end = end.max(spell.end);
            count += 1;
            at += 1;
        }
        let kind = if first.drug { "drug_era" } else { "condition_era" };
        let mut parts = [0; 20];
        parts[..8].copy_from_slice(&first.person.to_le_bytes());
        parts[8..16].copy_from_slice(&first.concept.to_le_bytes());
        parts[16..].copy_from_slice(&first.start.to_le_bytes());
        let id = key.row_id(&mut text, kind, &parts, 0);
        let cells = [
            Cell::Id(id),
            Cell::Id(first.person),
            Cell::Id(first.concept),
            Cell::Day(first.start),
            Cell::Day(end),
            Cell::Id(count),
            Cell::Id(gap),
        ];
        if first.drug { drugs.push(&cells) } else { conditions.push(&cells[..6]) }
    }
    (conditions, drugs, without)
}

/// One period per person, from the first to the last event: spans sorted by person.
pub(super) fn periods(spans: impl Iterator<Item = (i64, (i32, i32))>, key: &IdKey) -> Rows {
    let mut rows = Rows::new(CdmTable::ObservationPeriod, spans.size_hint().0);
    let mut text = Vec::new();
    for (person, (start, end)) in spans {
        let id = key.row_id(&mut text, "observation_period", &person.to_le_bytes(), 0);
        rows.push(&[Cell::Id(id), Cell::Id(person), Cell::Day(start), Cell::Day(end), Cell::Id(EHR)]);
    }
    rows
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, AsArray};
    use arrow::datatypes::{Date32Type, Int64Type};

    use super::*;

    #[test]
    fn spells_within_thirty_days_are_one_era() {
        let key = IdKey::new([1; 32]);
        let spell = |start, end| Spell::drug(7, 1_000, start, end, 0);
        let spells = vec![spell(100, 109), spell(0, 9), spell(38, 40), spell(70, 70)];
        let (conditions, mut drugs, without) = eras(spells, Vocabulary::bundled(), &key);
        assert_eq!((conditions.len(), drugs.len(), without), (0, 1, 4), "each gap is at most 30 days");
        let batch = drugs.finish().unwrap();
        assert_eq!(batch.column(4).as_primitive::<Date32Type>().value(0), 109);
        // Days 10-37, 41-69 and 71-99 are not covered.
        assert_eq!(batch.column(6).as_primitive::<Int64Type>().value(0), 28 + 29 + 29);
        let apart = vec![Spell::condition(7, 1, 0, 0, 0), Spell::condition(7, 1, 31, 31, 0)];
        let (mut conditions, _, _) = eras(apart, Vocabulary::bundled(), &key);
        assert_eq!(conditions.len(), 2, "31 days apart");
        assert_eq!(conditions.finish().unwrap().column(0).null_count(), 0);
    }

    #[test]
    fn a_note_is_read_as_written() {
        for note in [Noted::Spell(Spell::drug(-7, 1_000, -5, 9, i64::MAX)), Noted::Replaced(-8)] {
            let mut bytes = Vec::new();
            note.write(&mut bytes);
            assert_eq!((bytes.len(), Noted::read(&bytes)), (Spell::BYTES, Some(note)));
        }
    }
}
