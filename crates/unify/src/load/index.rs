//! What later passes look up: persons, visits, definitions, prescriptions.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashSet};
use std::ops::Range;
use std::sync::Arc;

use acequia_blobs::MappedFile;
use acequia_omop::{Coding, When};

use super::state::VisitRecord;
use crate::hash::DigestMap;

#[derive(Debug, Clone, Copy)]
pub(super) struct PersonRef {
    pub(super) id: i64,
    /// Without a year of birth, nothing of the person can be loaded.
    pub(super) held: bool,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct VisitRef {
    /// `visit_occurrence_id`; 0 when the visit is gone.
    pub(super) visit: i64,
    /// `visit_detail_id`, 0 for a whole visit.
    pub(super) detail: i64,
    pub(super) person: i64,
    pub(super) start_day: i32,
}

/// Where a row came from: the part of lineage that is the same for all rows of an item.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Origin {
    /// Number of the kind of item, see [`super::map::Kinds`].
    pub(super) kind: u8,
    pub(super) item: u128,
    pub(super) content: u128,
}

/// A row of `person`, with `death` beside it. It waits until all parties are known, which it names by what finds them.
#[derive(Debug, Clone)]
pub(super) struct PersonRow {
    pub(super) id: i64,
    pub(super) origin: Origin,
    pub(super) sex: i64,
    pub(super) sex_source: String,
    pub(super) birth: When,
    pub(super) race: (i64, String),
    pub(super) ethnicity: (i64, String),
    pub(super) death: Option<When>,
    pub(super) location: Option<u128>,
    pub(super) provider: Option<u128>,
    pub(super) care_site: Option<u128>,
    pub(super) type_concept_id: i64,
}

/// A row of `location`, `care_site` or `provider`.
#[derive(Debug, Clone)]
pub(super) struct PartyRow {
    pub(super) id: i64,
    pub(super) origin: Origin,
    pub(super) what: PartyKind,
}

#[derive(Debug, Clone)]
pub(super) enum PartyKind {
    Location { state: String, zip: String, country: String },
    CareSite { name: String, place: i64, place_source: String, location: Option<i64> },
    Provider { specialty: i64, specialty_source: String, sex: i64, care_site: Option<i64> },
}

/// A part of a visit: its row waits until all visits are known.
#[derive(Debug, Clone)]
pub(super) struct DetailRow {
    pub(super) key: u128,
    pub(super) parent: u128,
    pub(super) origin: Origin,
    pub(super) id: i64,
    pub(super) person: i64,
    pub(super) concept_id: i64,
    pub(super) start: When,
    pub(super) end: Option<When>,
    pub(super) type_concept_id: i64,
    pub(super) provider: Option<i64>,
    pub(super) care_site: Option<i64>,
    pub(super) source_value: String,
    pub(super) admitted_from: String,
    pub(super) discharged_to: String,
}

/// Visits of this load, and behind them those of earlier ones.
#[derive(Debug, Clone, Default)]
pub(super) struct Visits {
    pub(super) own: DigestMap<VisitRef>,
    /// The latest last.
    before: Vec<Arc<VisitsOnDisk>>,
}

impl Visits {
    pub(super) fn get(&self, key: u128) -> Option<VisitRef> {
        let before = || self.before.iter().rev().find_map(|visits| visits.get(key));
        self.own.get(&key).copied().or_else(before).filter(|visit| visit.visit != 0)
    }

    /// Says of all visits of some persons that they are gone. All visits are gone through.
    pub(super) fn forget(&mut self, persons: &BTreeSet<i64>) {
        let mut keys: BTreeSet<u128> = self.own.keys().copied().collect();
        for visits in &self.before {
            visits.each(|key, visit| {
                if persons.contains(&visit.person) {
                    keys.insert(key);
                }
            });
        }
        // Of a visit that is another's now, this is not the last word.
        let found = keys.into_iter().filter_map(|key| Some((key, self.get(key)?)));
        let gone: Vec<_> = found.filter(|(_, visit)| persons.contains(&visit.person)).collect();
        self.own.extend(gone.into_iter().map(|(key, visit)| (key, VisitRef { visit: 0, ..visit })));
    }

    /// Puts those of a later load before those of earlier ones.
    pub(super) fn put_before(&mut self, visits: VisitsOnDisk) {
        self.before.push(Arc::new(visits));
    }
}

/// Visits of one load, in ascending order of their digests, in the file that they were written to: a small change then costs
/// what it asks for, not what the folder has.
#[derive(Debug)]
pub(super) struct VisitsOnDisk {
    file: MappedFile,
    at: Range<usize>,
}

impl VisitsOnDisk {
    /// Records of visits at a place of a file.
    pub(super) fn new(file: MappedFile, at: Range<usize>) -> Self {
        Self { file, at }
    }

    fn each(&self, mut take: impl FnMut(u128, VisitRef)) {
        let bytes = self.file.as_ref().get(self.at.clone()).unwrap_or_default();
        for record in bytes.chunks_exact(VisitRecord::BYTES) {
            if let (Some(key), Some(visit)) = (VisitRecord::key(record), VisitRecord::read(record)) {
                take(key, visit);
            }
        }
    }

    fn get(&self, key: u128) -> Option<VisitRef> {
        let bytes = self.file.as_ref().get(self.at.clone())?;
        let record = |nth: usize| bytes.get(nth * VisitRecord::BYTES..(nth + 1) * VisitRecord::BYTES);
        let (mut from, mut to) = (0, bytes.len() / VisitRecord::BYTES);
        while from < to {
            let middle = from + (to - from) / 2;
            match VisitRecord::key(record(middle)?)?.cmp(&key) {
                Ordering::Less => from = middle + 1,
                Ordering::Equal => return VisitRecord::read(record(middle)?),
                Ordering::Greater => to = middle,
            }
        }
        None
    }
}

#[derive(Debug, Default)]
pub(super) struct Index {
    pub(super) persons: DigestMap<PersonRef>,
    pub(super) visits: Visits,
    pub(super) definitions: DigestMap<Vec<Coding>>,
    /// Rows of drug events, which dispenses may repeat; 0 when gone.
    pub(super) drugs: DigestMap<i64>,
    /// Rows; 0 when gone.
    pub(super) specimens: DigestMap<i64>,
    pub(super) parties: DigestMap<i64>,
}

/// What a key finds, unless it is gone.
pub(super) fn standing(map: &DigestMap<i64>, key: u128) -> Option<i64> {
    map.get(&key).copied().filter(|row| *row != 0)
}

impl Index {
    /// Says of visits of some persons, and of what is found as these rows, that they are gone; of what this index had before,
    /// `changed` takes the news.
    pub(super) fn forget(&mut self, persons: &BTreeSet<i64>, rows: &HashSet<i64>, changed: &mut Self) {
        self.visits.forget(persons);
        let gone = self.visits.own.iter().filter(|(_, visit)| visit.visit == 0);
        changed.visits.own.extend(gone.map(|(key, visit)| (*key, *visit)));
        for (map, changed) in [(&mut self.drugs, &mut changed.drugs), (&mut self.specimens, &mut changed.specimens)] {
            for (key, row) in map.iter_mut().filter(|(_, row)| rows.contains(*row)) {
                *row = 0;
                changed.insert(*key, 0);
            }
        }
    }

    /// Takes in what the next part found: the last state of an item counts, but of a person whatever is known.
    pub(super) fn absorb(&mut self, other: Self) {
        for (key, person) in other.persons {
            let known = self.persons.entry(key).or_insert(person);
            known.held &= person.held;
        }
        // Of all maps this one grows with the input; two of it would be the most that a load ever holds.
        let (own, others) = (&mut self.visits.own, other.visits.own);
        if own.is_empty() {
            *own = others;
        } else {
            own.extend(others);
        }
        self.definitions.extend(other.definitions);
        self.drugs.extend(other.drugs);
        self.specimens.extend(other.specimens);
        self.parties.extend(other.parties);
    }
}
