//! Loading: files of any size become OMOP CDM 5.4 in Parquet, with lineage, counts and what is needed to load again.
//!
//! A reader ([`Reader`]) tells the events of its format to a sink; this module gives it parts of the input, on several
//! threads, and puts what comes out together in the order of the input, so that the files are the same on any number of
//! threads. Memory is bounded by the parts in work and by one entry per person and per visit.
//!
//! ```text
//! OUT/<table>.parquet        the tables, and lineage.parquet: a whole load
//! OUT/changes/<n>/           rows that later loads brought, and removed.parquet: ids of rows that they replace
//! OUT/report.json            counts of the last load
//! OUT/.acequia/              what the next load compares with
//! ```
//!
//! A load into a folder that has one already takes only what changed. [`fold`] puts changes into the tables;
//! [`remove_persons`] takes persons out of everything. Of an item that comes in several states the last counts, whole or not
//! at all: a load that meets others is tried again without them. Nothing counts before it is on record, and tables that the
//! record names are moved to their places by whoever comes next, so that a kill at any place loses nothing.

mod columns;
mod derive;
mod feed;
mod fold;
mod index;
mod known;
mod lineage;
mod map;
mod output;
mod state;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use acequia_omop::{CdmTable, Coding, Fate, ItemCounts, ItemHead, LocalCodes, Pass, Passes, Sink, Units, Vocabulary};
use acequia_types::{Coded, Exit, Place, Problem};
use serde::{Deserialize, Serialize};

pub use crate::codes::{CodeUse, NoConcept};
pub use feed::PART_BYTES;
pub use fold::{Folded, fold, remove_persons};
pub use lineage::MAP_VERSION;

use crate::IdKey;
use crate::codes::Memo;
use crate::hash::{DigestMap, DigestSet, Seed};
use columns::{Cell, Rows, Tables, file_schema};
use derive::{Noted, Spell, Standing};
use feed::{Feed, Part};
use index::{DetailRow, Index, PartyKind, PartyRow, PersonRow, VisitRef};
use known::Known;
use lineage::{Lineage, Note};
use map::{Kinds, Mapper, Passed, PassedOver, Shared, Tally};
use output::{Encoded, Encoder, Output, Packing};
use state::Entry;

/// A resource as short as most are, for a guess of how many a part holds.
const ITEM_BYTES: usize = 512;

/// Spells in memory while eras are derived.
const SPELLS_AT_A_TIME: u64 = 1 << 20;

/// Most problems that a report lists with their place; all are counted.
const LISTED_PROBLEMS: usize = 200;

/// One file of the input.
pub struct Input<'i> {
    /// Opens it from the start, unpacked; a load reads a file once per pass that it needs.
    pub open: Box<dyn Fn() -> std::io::Result<Box<dyn Read + Send>> + Send + Sync + 'i>,
    /// Whether any run of whole lines can be read by itself.
    pub lines: bool,
    /// The one pass that the whole file is expected to need (a bulk export holds one type of resource per file). It is
    /// then read once; should it need another, the load begins again without the expectation.
    pub expects: Option<Pass>,
}

/// Tells the events of a piece of input: its number, text and the number of its first line. Returns the passes the text
/// needs, or why it cannot be read at all.
pub type Reader<'r> = dyn Fn(usize, &str, u64, Pass, &mut dyn Sink) -> Result<Passes, Problem> + Sync + 'r;

/// How to load.
pub struct Settings<'s> {
    /// Secret for ids.
    pub key: IdKey,
    /// Name of the source; ids of two sources never meet.
    pub source: String,
    /// The vocabulary.
    pub vocabulary: &'s Vocabulary,
    /// What people of the site decided about its own codes; they go before the vocabulary.
    pub local_codes: Arc<LocalCodes>,
    /// Threads; 0 stands for 1.
    pub threads: usize,
    /// Bytes of the input that one thread works on at a time, [`PART_BYTES`] as a rule. Row groups follow from it.
    pub part_bytes: usize,
    /// Files that the caller could not tell the format of, for the report.
    pub refused: Vec<Problem>,
}

impl<'s> Settings<'s> {
    /// One thread, no local codes.
    pub fn new(key: IdKey, source: &str, vocabulary: &'s Vocabulary) -> Self {
        Self {
            key,
            source: source.to_owned(),
            vocabulary,
            local_codes: Arc::default(),
            threads: 1,
            part_bytes: PART_BYTES,
            refused: Vec::new(),
        }
    }
}

/// Counts of a load. Holds no value of any record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadReport {
    /// Which load into this folder, from 1.
    pub generation: u32,
    /// Files read.
    pub files: u64,
    /// Files that could not be read at all, with the reason.
    pub refused_files: Vec<Problem>,
    /// Fates of all items that were read; items that did not change since the last load are counted in `unchanged`.
    pub counts: ItemCounts,
    /// The same by kind of item, with the rows each kind became.
    pub by_kind: BTreeMap<String, KindCounts>,
    /// Items by fate and reason.
    pub reasons: BTreeMap<String, u64>,
    /// Items whose bytes were loaded before.
    pub unchanged: u64,
    /// Items that took the place of an earlier state of theirs.
    pub replaced: u64,
    /// Rows written, by table.
    pub rows: BTreeMap<String, u64>,
    /// Rows that made place.
    pub removed_rows: u64,
    /// Dates of which the day or month was not known and the first possible day was taken.
    pub imputed_dates: u64,
    /// Events without a date that took the day of their visit.
    pub dates_of_visits: u64,
    /// Numbers converted into the unit the course keeps.
    pub converted_units: u64,
    /// Codes that were given besides the one that was taken.
    pub other_codes: u64,
    /// Drug exposures that stand in `drug_era` for themselves, since the vocabulary knows no ingredient of theirs; after a
    /// change, those of persons whose eras it derived anew.
    pub drugs_without_ingredient: u64,
    /// Distinct codes without a standard concept, most frequent first; at most 1,000.
    pub unmapped_codes: Vec<CodeUse>,
    /// Distinct codes resolved.
    pub distinct_codes: u64,
    /// Problems by code.
    pub problems: BTreeMap<String, u64>,
    /// The first problems, with their places.
    pub listed_problems: Vec<Problem>,
    /// Version of the mapping rules.
    pub map_version: String,
    /// Version of the vocabulary.
    pub vocabulary_version: String,
}

/// Counts of one kind of item.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KindCounts {
    /// Fates.
    #[serde(flatten)]
    pub counts: ItemCounts,
    /// Rows written for it, in all tables.
    pub rows: u64,
}

/// Why a load stops.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file of the input cannot be read.
    #[error("file number {} of the input cannot be read", input + 1)]
    Input {
        /// Which, from 0.
        input: usize,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// A file that must be read whole, or a line, is too large.
    #[error("file number {} of the input has a line, or is one bundle, of more than 512 MB", input + 1)]
    TooLarge {
        /// Which, from 0.
        input: usize,
    },
    /// A file of the output or of the state cannot be used.
    #[error("{what} cannot be {doing}")]
    Io {
        /// What.
        what: &'static str,
        /// `read` or `written`.
        doing: &'static str,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// A table cannot be written.
    #[error("table {table} cannot be {doing}")]
    Parquet {
        /// Which.
        table: &'static str,
        /// `read` or `written`.
        doing: &'static str,
        /// The cause.
        #[source]
        source: parquet::errors::ParquetError,
    },
    /// Arrow refuses columns.
    #[error("table {table} cannot be built")]
    Arrow {
        /// Which.
        table: &'static str,
        /// The cause.
        #[source]
        source: arrow::error::ArrowError,
    },
    /// The folder belongs to another source or key.
    #[error("the folder was loaded from another source or with another key")]
    OtherSource,
    /// Two rows have the same id.
    #[error("{pairs} pairs of rows of different items have the same id")]
    Collision {
        /// How many.
        pairs: u64,
    },
    /// A thread stopped.
    #[error("a part of the input could not be worked on")]
    Thread,
    /// Items got lost.
    #[error("{total} items came in, but their fates do not add up")]
    Counts {
        /// Items that came in.
        total: u64,
    },
    /// Rows made by other rules must be made again, and the input does not hold all that they were made of.
    #[error(
        "the folder was loaded by other rules, with another vocabulary or other decisions on local codes, and {missing} \
         of its items are not in the input"
    )]
    Partial {
        /// Items of earlier loads that the input lacks.
        missing: u64,
    },
}

impl Coded for LoadError {
    fn code(&self) -> &'static str {
        match self {
            Self::Counts { .. } => "UN001",
            Self::Input { .. } => "UN002",
            Self::TooLarge { .. } => "UN003",
            Self::Io { .. } => "UN004",
            Self::Parquet { .. } | Self::Arrow { .. } => "UN005",
            Self::OtherSource => "UN006",
            Self::Collision { .. } => "UN007",
            Self::Thread => "UN008",
            Self::Partial { .. } => "UN010",
        }
    }
    fn hint(&self) -> &'static str {
        match self {
            Self::Input { .. } => "check that the file is there, whole and readable",
            Self::TooLarge { .. } => "export as NDJSON, one resource per line",
            Self::Io { .. } | Self::Parquet { .. } | Self::Arrow { .. } => {
                "check the folder's space and permissions; to begin anew, choose an empty folder"
            }
            Self::OtherSource => "load into a folder of its own, or give the source and key of the first load",
            Self::Collision { .. } => "load with another key; the chance of this is below one in a million million",
            Self::Partial { .. } => {
                "give the whole export again, or the vocabulary and the decisions of the last load; or load into an empty folder"
            }
            Self::Thread | Self::Counts { .. } => "this is a defect of the program; please report it with the code",
        }
    }
    fn exit(&self) -> Exit {
        match self {
            Self::OtherSource | Self::Partial { .. } => Exit::Usage,
            _ => Exit::Failure,
        }
    }
}

/// What is on record about the loads into a folder.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    source: String,
    key_check: String,
    map_version: String,
    vocabulary_version: String,
    /// The last generation, and the last that is in the tables.
    generation: u32,
    folded: u32,
    /// The first generation whose state counts: that of a whole load, or what a removal left of all before it.
    #[serde(default = "first_generation")]
    from: u32,
    /// Whole tables lie ready and are being moved to their places: whoever reads this finishes it.
    #[serde(default)]
    moving: bool,
}

const fn first_generation() -> u32 {
    1
}

const STATE: &str = ".acequia";

impl Record {
    fn path(out: &Path) -> PathBuf {
        out.join(STATE).join("loads.json")
    }

    /// The record, after what it says to be under way was finished.
    fn read(out: &Path) -> Result<Option<Self>, LoadError> {
        let io = |source| LoadError::Io { what: "the record of earlier loads", doing: "read", source };
        let record: Self = match std::fs::read(Self::path(out)) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| io(error.into()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io(error)),
        };
        record.finish_moves(out).map(Some)
    }

    /// Generations whose state counts.
    const fn generations(&self) -> RangeInclusive<u32> {
        self.from..=self.generation
    }

    /// Puts whole tables, which lie in the folder `aside` and nothing else, in place of those that are there. What a crash
    /// cuts off before this record is written does not count; what it cuts off later, the next command finishes.
    fn put_in_place(self, out: &Path, aside: &Path) -> Result<Self, LoadError> {
        let io = |source| LoadError::Io { what: "a folder of the output", doing: "written", source };
        let moving = out.join(STATE).join(MOVING);
        clear(&moving)?;
        std::fs::rename(aside, &moving).map_err(io)?;
        let record = Self { moving: true, ..self };
        record.write(out)?;
        record.finish_moves(out)
    }

    fn finish_moves(self, out: &Path) -> Result<Self, LoadError> {
        if !self.moving {
            return Ok(self);
        }
        let io = |source| LoadError::Io { what: "a file of the output", doing: "written", source };
        for entry in std::fs::read_dir(out.join(STATE)).map_err(io)? {
            let path = entry.map_err(io)?.path();
            if generation_of(&path).is_some_and(|generation| !self.generations().contains(&generation)) {
                std::fs::remove_file(path).map_err(io)?;
            }
        }
        clear(&out.join("changes"))?;
        let moving = out.join(STATE).join(MOVING);
        // What names others goes before what it names, so that a reader in between meets no name of nothing.
        for name in TABLES.iter().rev().map(|table| table.name()).chain([LINEAGE]) {
            let file = format!("{name}.parquet");
            match std::fs::rename(moving.join(&file), out.join(&file)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io(error)),
                _ => {}
            }
        }
        clear(&moving)?;
        let record = Self { moving: false, ..self };
        record.write(out)?;
        Ok(record)
    }

    /// The last thing a load does: what is not on record does not count.
    fn write(&self, out: &Path) -> Result<(), LoadError> {
        let bytes = serde_json::to_vec_pretty(self).unwrap_or_default();
        write_whole(&Self::path(out), &bytes)
    }
}

/// Writes aside, syncs and renames.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), LoadError> {
    let io = |source| LoadError::Io { what: "a file of the output", doing: "written", source };
    let aside = path.with_extension("new");
    let mut file = File::create(&aside).map_err(io)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(io)?;
    std::fs::rename(&aside, path).map_err(io)
}

fn state_file(out: &Path, name: &str, generation: u32) -> PathBuf {
    out.join(STATE).join(format!("{name}-{generation:06}"))
}

/// Files of the state of one load. Keys are made from items, so they go before others take the place of these.
const STATE_FILES: [&str; 4] = ["keys", "items", "spells", "index"];

/// The generation of a file of the state; `None` for other files.
fn generation_of(path: &Path) -> Option<u32> {
    let (name, generation) = path.file_name()?.to_str()?.rsplit_once('-')?;
    STATE_FILES.contains(&name).then(|| generation.parse().ok()).flatten()
}

/// Where tables lie that are being moved to their places.
const MOVING: &str = "moving";

/// Removes a folder and all in it, if it is there.
fn clear(folder: &Path) -> Result<(), LoadError> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(LoadError::Io { what: "a folder of the output", doing: "written", source: error })
        }
        _ => Ok(()),
    }
}

fn changes(out: &Path, generation: u32) -> PathBuf {
    out.join("changes").join(format!("{generation:06}"))
}

/// Tables that a load fills.
const TABLES: [CdmTable; 19] = [
    CdmTable::Location,
    CdmTable::CareSite,
    CdmTable::Provider,
    CdmTable::Person,
    CdmTable::ObservationPeriod,
    CdmTable::VisitOccurrence,
    CdmTable::VisitDetail,
    CdmTable::ConditionOccurrence,
    CdmTable::DrugExposure,
    CdmTable::ProcedureOccurrence,
    CdmTable::DeviceExposure,
    CdmTable::Measurement,
    CdmTable::Observation,
    CdmTable::Death,
    CdmTable::Note,
    CdmTable::Specimen,
    CdmTable::FactRelationship,
    CdmTable::ConditionEra,
    CdmTable::DrugEra,
];

/// The tables that follow from others: a later load writes them whole.
const DERIVED: [CdmTable; 3] = [CdmTable::ObservationPeriod, CdmTable::ConditionEra, CdmTable::DrugEra];

fn is_derived(table: CdmTable) -> bool {
    DERIVED.contains(&table)
}

fn key_of(table: CdmTable) -> Option<&'static str> {
    table.key()
}

/// Name of the lineage table in errors and files.
const LINEAGE: &str = "lineage";

fn parquet_error(table: &'static str) -> impl Fn(parquet::errors::ParquetError) -> LoadError {
    move |source| LoadError::Parquet { table, doing: "written", source }
}

/// The files that a load writes.
struct Outputs {
    dir: PathBuf,
    tables: BTreeMap<CdmTable, Output>,
    lineage: Output,
    entries: BufWriter<File>,
    spells: BufWriter<File>,
}

impl Outputs {
    fn write_entries(&mut self, entries: &[Entry]) -> Result<(), LoadError> {
        let io = |source| LoadError::Io { what: "the state of the load", doing: "written", source };
        let mut bytes = Vec::with_capacity(entries.len() * Entry::BYTES);
        entries.iter().for_each(|entry| entry.write(&mut bytes));
        self.entries.write_all(&bytes).map_err(io)
    }

    /// Writes what references resolve to, for the next load, the items and the spells.
    fn write_state(&mut self, index: &Index) -> Result<(), LoadError> {
        let io = |source| LoadError::Io { what: "a file of the output", doing: "written", source };
        self.spells.flush().and_then(|()| self.entries.flush()).map_err(io)?;
        state::write_index(index, File::create(self.dir.join("index")).map_err(io)?).map_err(io)
    }
}

/// Says of which earlier rows spells no longer count, and ends the file of spells.
fn end_spells(spells: &mut BufWriter<File>, replaced: &[i64]) -> Result<(), LoadError> {
    let io = |source| LoadError::Io { what: "a file of the output", doing: "written", source };
    let mut bytes = Vec::new();
    replaced.iter().for_each(|row| Noted::Replaced(*row).write(&mut bytes));
    spells.write_all(&bytes).map_err(io)?;
    spells.flush().and_then(|()| spells.get_ref().sync_all()).map_err(io)
}

fn write_rows(tables: &mut BTreeMap<CdmTable, Output>, table: CdmTable, rows: &mut Rows) -> Result<(), LoadError> {
    let batch = rows.finish().map_err(|source| LoadError::Arrow { table: table.name(), source })?;
    match tables.get_mut(&table) {
        Some(output) => output.write(&batch).map_err(parquet_error(table.name())),
        None => Ok(()),
    }
}

/// What was derived from events.
#[derive(Default)]
struct Derived {
    /// Persons all of whose eras were derived; none after the first load, which derives all.
    eras_of: BTreeSet<i64>,
    /// Earlier rows of spells that no longer count.
    replaced: Vec<i64>,
    /// Spells of drugs without a known ingredient.
    without_ingredient: u64,
}

/// Derives periods from the spans of all persons; and eras, some persons at a time, of those who have a new spell or had one
/// that is `removed`: of all in the first load.
fn derive_into(
    tables: &mut BTreeMap<CdmTable, Output>,
    spans: BTreeMap<i64, (i32, i32)>,
    (old, new): (&[PathBuf], &Path),
    removed: &BTreeSet<i64>,
    vocabulary: &Vocabulary,
    key: &IdKey,
) -> Result<Derived, LoadError> {
    let io = |source| LoadError::Io { what: "the state of an earlier load", doing: "read", source };
    write_rows(tables, CdmTable::ObservationPeriod, &mut derive::periods(spans.into_iter(), key))?;
    let mut bytes = 0;
    for file in old.iter().map(PathBuf::as_path).chain([new]) {
        bytes += file.metadata().map_err(io)?.len();
    }
    let ranges = bytes / Spell::BYTES as u64 / SPELLS_AT_A_TIME + 1;
    let range_of = |person: i64| (u128::from(person.unsigned_abs()) * u128::from(ranges)) >> 63;
    let about = usize::try_from(bytes / Spell::BYTES as u64 / ranges).unwrap_or_default();
    let mut derived = Derived::default();
    for range in 0..u128::from(ranges) {
        let (mut spells, mut changed) = (Vec::with_capacity(about), BTreeSet::new());
        derive::each_spell(old, Some(new), removed, |spell, standing| {
            if range_of(spell.person) == range {
                if standing != Standing::Before && !old.is_empty() {
                    changed.insert(spell.person);
                }
                match standing {
                    Standing::Gone => derived.replaced.push(spell.row),
                    Standing::Before | Standing::New => spells.push(spell),
                }
            }
        })?;
        if !old.is_empty() {
            spells.retain(|spell| changed.contains(&spell.person));
        }
        let (mut conditions, mut drugs, without) = derive::eras(spells, vocabulary, key);
        derived.without_ingredient += without;
        write_rows(tables, CdmTable::ConditionEra, &mut conditions)?;
        write_rows(tables, CdmTable::DrugEra, &mut drugs)?;
        derived.eras_of.append(&mut changed);
    }
    Ok(derived)
}

/// What one part of the input became, encoded.
struct Made {
    part: (Pass, usize),
    tables: Vec<(CdmTable, Encoded)>,
    lineage: Option<Encoded>,
    entries: Vec<Entry>,
    found: Index,
    persons: Vec<(PersonRow, String)>,
    withheld: DigestSet,
    parties: Vec<(PartyRow, String)>,
    details: Vec<(DetailRow, String)>,
    spells: Vec<Spell>,
    spans: BTreeMap<i64, (i32, i32)>,
    removed: Vec<i64>,
    partly: Vec<(u32, Fate)>,
    tally: Tally,
    problems: Vec<Problem>,
    refused: Vec<Problem>,
    passes: Vec<(usize, Passes)>,
}

/// Everything of a load that grows part by part, in the order of the parts.
struct Growing {
    outputs: Outputs,
    found: Index,
    persons: BTreeMap<i64, (PersonRow, String)>,
    withheld: DigestSet,
    parties: BTreeMap<i64, (PartyRow, String)>,
    details: Vec<(DetailRow, String)>,
    spans: BTreeMap<i64, (i32, i32)>,
    removed: Vec<i64>,
    /// Entries of a later load; those of a whole one are written as they come.
    new_entries: Vec<Entry>,
    keep_entries: bool,
    /// Parts with the number of their entries.
    parts: Vec<((Pass, usize), u32)>,
    /// Items that must be passed over in another attempt.
    partly: PassedOver,
    tally: Tally,
    problems: Vec<Problem>,
    refused: Vec<Problem>,
    passes: Vec<Passes>,
    /// Buffers of the pass before.
    spare: Vec<Vec<u8>>,
}

impl Growing {
    fn take(&mut self, made: Made) -> Result<(), LoadError> {
        for (table, encoded) in made.tables {
            if let Some(output) = self.outputs.tables.get_mut(&table) {
                output.append(encoded).map_err(parquet_error(table.name()))?;
            }
        }
        if let Some(encoded) = made.lineage {
            self.outputs.lineage.append(encoded).map_err(parquet_error(LINEAGE))?;
        }
        self.parts.push((made.part, u32::try_from(made.entries.len()).unwrap_or(u32::MAX)));
        if !made.partly.is_empty() {
            let partly = made.partly.into_iter().map(|(nth, fate)| (nth, Passed::Without(fate)));
            self.partly.insert(made.part, partly.collect());
        }
        let io = |source| LoadError::Io { what: "the state of the load", doing: "written", source };
        if self.keep_entries {
            self.new_entries.extend(made.entries);
        } else {
            self.outputs.write_entries(&made.entries)?;
        }
        let mut bytes = Vec::new();
        made.spells.iter().for_each(|spell| Noted::Spell(*spell).write(&mut bytes));
        self.outputs.spells.write_all(&bytes).map_err(io)?;
        self.found.absorb(made.found);
        for person in made.persons {
            self.persons.insert(person.0.id, person);
        }
        self.withheld.extend(made.withheld);
        for party in made.parties {
            self.parties.insert(party.0.id, party);
        }
        self.details.extend(made.details);
        for (person, (from, to)) in made.spans {
            let span = self.spans.entry(person).or_insert((from, to));
            *span = (span.0.min(from), span.1.max(to));
        }
        self.removed.extend(made.removed);
        self.tally.add(made.tally);
        let room = LISTED_PROBLEMS.saturating_sub(self.problems.len());
        self.problems.extend(made.problems.into_iter().take(room));
        self.refused.extend(made.refused);
        for (input, passes) in made.passes {
            self.passes[input] = self.passes[input].with(passes);
        }
        Ok(())
    }
}

/// States that do not count, by the places of their entries, for another attempt. `parts` says how many entries each part of
/// the input had, `before` what had none since it was passed over.
fn stale_states(parts: &[((Pass, usize), u32)], stale: &BTreeSet<u32>, before: &PassedOver) -> PassedOver {
    let mut passed = PassedOver::new();
    let (mut stale, mut first) = (stale.iter().copied().peekable(), 0);
    for (part, entries) in parts {
        while let Some(place) = stale.next_if(|place| place - first < *entries) {
            let mut nth = place - first;
            let without = before.get(part).into_iter().flatten().filter(|(_, why)| **why == Passed::Replaced);
            without.for_each(|(other, _)| nth += u32::from(*other <= nth));
            passed.entry(*part).or_default().insert(nth, Passed::Replaced);
        }
        first += entries;
    }
    passed
}

/// Hands work out in order and takes results in order.
struct Line<'f> {
    feed: Mutex<Feed<'f>>,
    turn: Mutex<Turn>,
    next: Condvar,
}

/// Whose turn it is. A thread that is early leaves its result and goes on with other work.
#[derive(Default)]
struct Turn {
    number: usize,
    early: BTreeMap<usize, Made>,
    /// Somebody takes results.
    taking: bool,
    failed: bool,
}

impl Line<'_> {
    /// Takes a result once those before it are taken, by this thread or another. Waits while more than `most` are early: each is
    /// as large as what it was made of.
    fn take(
        &self,
        number: usize,
        made: Made,
        most: usize,
        mut take: impl FnMut(Made) -> Result<(), LoadError>,
    ) -> Result<(), LoadError> {
        let mut turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        while turn.number + most < number && !turn.failed {
            turn = self.next.wait(turn).unwrap_or_else(PoisonError::into_inner);
        }
        if turn.failed {
            return Err(LoadError::Thread);
        }
        turn.early.insert(number, made);
        if turn.taking {
            return Ok(());
        }
        turn.taking = true;
        while let Some(made) = {
            let next = turn.number;
            turn.early.remove(&next)
        } {
            drop(turn);
            take(made)?;
            turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
            turn.number += 1;
            self.next.notify_all();
        }
        turn.taking = false;
        Ok(())
    }
}

/// Says that a thread stopped in the middle, so that the others do not wait for it.
struct Guard<'l, 'f>(&'l Line<'f>, bool);

impl Drop for Guard<'_, '_> {
    fn drop(&mut self) {
        if !self.1 {
            self.0.turn.lock().unwrap_or_else(PoisonError::into_inner).failed = true;
            self.0.next.notify_all();
        }
    }
}

/// Loads files into a folder: all of them the first time, what changed later.
///
/// # Errors
/// [`LoadError`]; what is wrong with single items is in the report.
pub fn load(
    inputs: &[Input<'_>],
    reader: &Reader<'_>,
    settings: &Settings<'_>,
    out: &Path,
) -> Result<LoadReport, LoadError> {
    let mut how = Attempt { expecting: true, again: DigestSet::default(), passed: PassedOver::new() };
    loop {
        // Nothing was moved to its place yet when another attempt is needed.
        match attempt(inputs, reader, settings, out, &how)? {
            Attempted::Done(report) => return Ok(*report),
            Attempted::Mixed => (how.expecting, how.passed) = (false, PassedOver::new()),
            // Each attempt knows more than the one before, unless the input is another each time that it is read.
            Attempted::CameBack(contents) if contents.is_subset(&how.again) => return Err(LoadError::Thread),
            Attempted::CameBack(contents) => {
                how.again.extend(contents);
                // More items are told, so that others have other places.
                how.passed.clear();
            }
            Attempted::Passed(more) => {
                if !add_passed(&mut how.passed, more) {
                    return Err(LoadError::Thread);
                }
            }
        }
    }
}

/// Returns whether anything was new.
fn add_passed(passed: &mut PassedOver, more: PassedOver) -> bool {
    let mut new = false;
    for (part, items) in more {
        let known = passed.entry(part).or_default();
        for (place, why) in items {
            new |= known.insert(place, why.clone()) != Some(why);
        }
    }
    new
}

/// How a load is tried.
struct Attempt {
    /// Files are taken to need the one pass that is expected of them.
    expecting: bool,
    /// Contents that are told although an earlier load had them.
    again: DigestSet,
    /// Items that do not count.
    passed: PassedOver,
}

/// What came of it.
enum Attempted {
    Done(Box<LoadReport>),
    /// A file holds items of other passes than was expected.
    Mixed,
    /// Items came in new states and in those of before (these contents), which were passed over: the last of them counts.
    CameBack(DigestSet),
    /// Items came in several states, of which the last counts, or were taken in part.
    Passed(PassedOver),
}

/// The vocabulary with the decisions on local codes: rows made by others are made again.
fn vocabulary_version(settings: &Settings<'_>) -> String {
    let version = settings.vocabulary.version();
    if settings.local_codes.is_empty() {
        return version.to_owned();
    }
    format!("{version}, local codes {}", hex(&settings.local_codes.digest()[..8]))
}

fn attempt(
    inputs: &[Input<'_>],
    reader: &Reader<'_>,
    settings: &Settings<'_>,
    out: &Path,
    how: &Attempt,
) -> Result<Attempted, LoadError> {
    let io = |source| LoadError::Io { what: "a folder of the output", doing: "written", source };
    std::fs::create_dir_all(out.join(STATE)).map_err(io)?;
    let key = settings.key.of_source(&settings.source);
    let seed = Seed::new(key.seed());
    let vocabulary_version = vocabulary_version(settings);
    let key_check = hex(&key.check());
    let before = Record::read(out)?;
    if let Some(record) = &before
        && (record.source != settings.source || record.key_check != key_check)
    {
        return Err(LoadError::OtherSource);
    }
    // Rows made by other rules or another vocabulary are made again.
    let same = |record: &Record| record.map_version == MAP_VERSION && record.vocabulary_version == vocabulary_version;
    let (before, outdated) = match before {
        Some(record) if same(&record) => (Some(record), None),
        other => (None, other),
    };
    let first = before.is_none();
    let generation = before.as_ref().or(outdated.as_ref()).map_or(1, |record| record.generation + 1);
    let from = before.as_ref().map_or(generation, |record| record.from);

    let (mut known, mut index) = (Known::default(), Index::default());
    if let Some(before) = &before {
        known = Known::open(out, before.generations())?;
        known.tell_again(how.again.iter().copied());
        for past in before.generations() {
            state::open_index(&state_file(out, "index", past), &mut index)?;
        }
    }

    let dir = out.join(STATE).join("new");
    clear(&dir)?;
    std::fs::create_dir_all(&dir).map_err(io)?;
    let mut tables = BTreeMap::new();
    let packing = if first { Packing::Tables } else { Packing::Changes };
    for table in TABLES {
        let path = dir.join(format!("{}.parquet", table.name()));
        let output = Output::create(&path, file_schema(table), key_of(table), packing);
        let output = output.map_err(parquet_error(table.name()))?;
        tables.insert(table, output);
    }
    let lineage = Output::create(&dir.join("lineage.parquet"), lineage::schema(), None, packing)
        .map_err(parquet_error(LINEAGE))?;
    let aside = |name| File::create(dir.join(name)).map(|file| BufWriter::with_capacity(1 << 18, file)).map_err(io);
    let (entries, new_spells) = (aside("items")?, aside("spells")?);
    let mut growing = Growing {
        outputs: Outputs { dir, tables, lineage, entries, spells: new_spells },
        found: Index::default(),
        persons: BTreeMap::new(),
        withheld: DigestSet::default(),
        parties: BTreeMap::new(),
        details: Vec::new(),
        spans: BTreeMap::new(),
        removed: Vec::new(),
        new_entries: Vec::new(),
        keep_entries: !first,
        parts: Vec::new(),
        partly: PassedOver::new(),
        tally: Tally::default(),
        problems: Vec::new(),
        refused: settings.refused.clone(),
        passes: vec![Passes::default(); inputs.len()],
        spare: Vec::new(),
    };

    let threads = settings.threads.max(1);
    let spelling = Arc::new(Units::new(settings.vocabulary));
    let mut memos: Vec<Memo<'_>> = (0..threads)
        .map(|_| Memo::new(settings.vocabulary, Arc::clone(&settings.local_codes), Arc::clone(&spelling), seed))
        .collect();
    let (mut new_index, mut defined, mut taken_back) = (Index::default(), false, Vec::new());
    for pass in Pass::ALL {
        let wanted = |input: &usize| match inputs[*input].expects.filter(|_| how.expecting) {
            Some(expected) => expected == pass,
            None => growing.passes[*input].needs(pass),
        };
        let order: Vec<usize> = (0..inputs.len()).filter(wanted).collect();
        let shared = Shared { key: &key, seed, index: &index, known: &known, generation, passed: &how.passed };
        memos = run_pass(inputs, order, reader, settings, &shared, pass, memos, &mut growing, &vocabulary_version)?;
        let only = Passes::only(pass);
        let surprised = |(input, found): (&Input<'_>, &Passes)| input.expects == Some(pass) && found.with(only) != only;
        if how.expecting && inputs.iter().zip(&growing.passes).any(surprised) {
            return Ok(Attempted::Mixed);
        }
        let found = std::mem::take(&mut growing.found);
        // Of what is held, a definition counts for what refers to it.
        let known_as = |(key, codes): (&u128, &Vec<Coding>)| index.definitions.get(key) == Some(codes);
        defined |= !found.definitions.iter().all(known_as);
        // The last state of a person's item decides, whatever was known before; what else says of her less takes nothing.
        let held = |index: &Index, key: &u128| index.persons.get(key).map(|person| person.held);
        let mut withheld = std::mem::take(&mut growing.withheld);
        withheld.retain(|key| held(&index, key) == Some(false) && held(&found, key) == Some(true));
        let persons: Vec<u128> = if first { Vec::new() } else { found.persons.keys().copied().collect() };
        if !first {
            new_index.absorb(clone_of(&found));
        }
        index.absorb(found);
        for key in &withheld {
            if let Some(person) = index.persons.get_mut(key) {
                person.held = true;
            }
        }
        for key in persons {
            new_index.persons.extend(index.persons.get(&key).map(|person| (key, *person)));
        }
        if let (Some(before), false) = (&before, withheld.is_empty()) {
            // All that is hers goes, and is tried again if it is in this input too.
            let ids = withheld.iter().filter_map(|key| index.persons.get(key).map(|person| person.id)).collect();
            let waiting = (before.folded + 1..generation).map(|past| changes(out, past));
            let lineage = [out.to_owned()].into_iter().chain(waiting);
            let lineage: Vec<PathBuf> = lineage.map(|folder| folder.join("lineage.parquet")).collect();
            let rows = fold::rows_of(&lineage, |person| BTreeSet::contains(&ids, &person))?;
            let items = known.of_persons(&ids)?;
            known.tell_again(items.iter().map(|entry| entry.content));
            index.forget(&ids, &rows, &mut new_index);
            growing.removed.extend(rows);
            let nothing = |entry: Entry| Entry {
                content: 0,
                first_day: i32::MAX,
                last_day: i32::MIN,
                rows: Entry::NOTHING,
                generation,
                ..entry
            };
            taken_back.extend(items.into_iter().map(nothing));
        }
        let mut rest = Rest::new(settings, &vocabulary_version);
        for (row, kind) in std::mem::take(&mut growing.persons).into_values() {
            rest.person(&row, &kind, &index);
        }
        for (row, kind) in std::mem::take(&mut growing.parties).into_values() {
            rest.party(&row, &kind);
        }
        for Ordered { row, kind, in_circle } in wholes_first(std::mem::take(&mut growing.details)) {
            let visit = rest.detail(&row, &kind, &index, in_circle);
            index.visits.own.insert(row.key, visit);
            if !first {
                new_index.visits.own.insert(row.key, visit);
            }
        }
        rest.write(&mut growing.outputs)?;
    }

    let came_back = known.met_beside(&growing.new_entries)?;
    if !came_back.is_empty() {
        return Ok(Attempted::CameBack(came_back));
    }
    let (mut last, mut stale) = (HashMap::new(), BTreeSet::new());
    for (entry, place) in growing.new_entries.iter().zip(0..) {
        stale.extend(last.insert(entry.item, place));
    }
    if !stale.is_empty() || !growing.partly.is_empty() {
        let mut passed = growing.partly;
        add_passed(&mut passed, stale_states(&growing.parts, &stale, &how.passed));
        return Ok(Attempted::Passed(passed));
    }
    taken_back.retain(|entry: &Entry| !last.contains_key(&entry.item));
    growing.new_entries.extend(taken_back);
    // What is held, and was not there before, is no change.
    growing.new_entries.retain(|entry| entry.rows != Entry::NOTHING || known.rows_of(entry.item).is_some());
    let nothing_new = !first && growing.new_entries.is_empty() && !defined;
    if !nothing_new {
        // What the next load needs lies on disk, and out of memory, before eras are derived.
        let entries = std::mem::take(&mut growing.new_entries);
        growing.outputs.write_entries(&entries)?;
        growing.new_entries = entries;
        growing.outputs.write_state(if first { &index } else { &new_index })?;
    }
    drop((index, new_index));

    // What follows from the events, with the keys of items sorted beside it.
    let old_spells: Vec<PathBuf> = (from..generation).map(|past| state_file(out, "spells", past)).collect();
    let removed: BTreeSet<i64> = growing.removed.iter().copied().collect();
    let mut report = report(&growing, memos);
    report.generation = generation - from + u32::from(!nothing_new);
    report.files = (inputs.len() + settings.refused.len()) as u64;
    report.map_version = MAP_VERSION.to_owned();
    report.vocabulary_version.clone_from(&vocabulary_version);
    if !report.counts.add_up() {
        return Err(LoadError::Counts { total: report.counts.total });
    }
    if !nothing_new {
        if !first {
            known.update(&growing.new_entries);
            growing.spans = known.spans()?;
        }
        let Growing { outputs, parts, spans, removed: gone, .. } = growing;
        let Outputs { dir, mut tables, lineage, entries, mut spells } = outputs;
        let keys = || -> Result<BTreeSet<u32>, LoadError> {
            entries.get_ref().sync_all().map_err(io)?;
            if first { known::write_keys(&dir.join("items"), &dir.join("keys")) } else { Ok(BTreeSet::new()) }
        };
        let (finished, stale) = std::thread::scope(|scope| {
            let (beside, done) = if threads > 1 { (Some(scope.spawn(keys)), BTreeSet::new()) } else { (None, keys()?) };
            let noted = dir.join("spells");
            let derived = derive_into(&mut tables, spans, (&old_spells, &noted), &removed, settings.vocabulary, &key)?;
            end_spells(&mut spells, &derived.replaced)?;
            for table in DERIVED {
                let rows = tables.get(&table).map_or(0, |output| output.rows);
                report.rows.insert(table.name().to_owned(), rows);
            }
            report.drugs_without_ingredient = derived.without_ingredient;
            let gone = Gone { rows: gone, eras_of: derived.eras_of.into_iter().collect() };
            let finished = finish(&dir, tables, lineage, if first { None } else { Some(gone) })?;
            let stale = beside.map_or(Ok(done), |keys| keys.join().unwrap_or(Err(LoadError::Thread)))?;
            Ok((finished, stale))
        })?;
        if !stale.is_empty() {
            return Ok(Attempted::Passed(stale_states(&parts, &stale, &how.passed)));
        }
        if finished.pairs > 0 {
            return Err(LoadError::Collision { pairs: finished.pairs });
        }
        if let Some(outdated) = outdated {
            let known = Known::open(out, outdated.generations())?;
            let missing = known.missing_from(&dir.join("items"), &dir.join("keys"))?;
            if missing > 0 {
                clear(&dir)?;
                return Err(LoadError::Partial { missing });
            }
        }
        move_state(&dir, out, generation)?;
        let folder = if first { dir } else { finished.move_changes(&dir, out, generation)? };
        let record = Record {
            source: settings.source.clone(),
            key_check,
            map_version: MAP_VERSION.to_owned(),
            vocabulary_version,
            generation,
            folded: before.map_or(generation, |record| record.folded),
            from,
            moving: false,
        };
        if first {
            record.put_in_place(out, &folder)?;
        } else {
            record.write(out)?;
        }
    } else {
        clear(&growing.outputs.dir)?;
    }
    let text = serde_json::to_vec_pretty(&report).unwrap_or_default();
    write_whole(&out.join("report.json"), &text)?;
    Ok(Attempted::Done(Box::new(report)))
}

/// The `person_id` that a load gives to a person, by her key in the source (`Patient.id`): what finds all her rows.
pub fn person_id(key: &IdKey, source: &str, person: &str) -> i64 {
    key.of_source(source).row_id(&mut Vec::new(), "person", person.as_bytes(), 0)
}

/// The id that a load gives to the row with this ordinal of an item, by kind (`Encounter`) and key (`Encounter.id`).
pub fn row_id(key: &IdKey, source: &str, kind: &str, item: &str, ordinal: u32) -> i64 {
    key.of_source(source).row_id(&mut Vec::new(), kind, item.as_bytes(), ordinal)
}

fn clone_of(index: &Index) -> Index {
    Index {
        persons: index.persons.clone(),
        visits: index.visits.clone(),
        definitions: index.definitions.clone(),
        drugs: index.drugs.clone(),
        specimens: index.specimens.clone(),
        parties: index.parties.clone(),
    }
}

#[expect(clippy::too_many_arguments, reason = "one pass and all it works on")]
fn run_pass<'v>(
    inputs: &[Input<'_>],
    order: Vec<usize>,
    reader: &Reader<'_>,
    settings: &Settings<'v>,
    shared: &Shared<'_>,
    pass: Pass,
    memos: Vec<Memo<'v>>,
    growing: &mut Growing,
    vocabulary_version: &str,
) -> Result<Vec<Memo<'v>>, LoadError> {
    if order.is_empty() {
        return Ok(memos);
    }
    let encoders: BTreeMap<CdmTable, Encoder> =
        growing.outputs.tables.iter().map(|(table, output)| (*table, output.encoder.clone())).collect();
    let lineage_encoder = growing.outputs.lineage.encoder.clone();
    let line = Line {
        feed: Mutex::new(Feed::new(inputs, order, settings.part_bytes, std::mem::take(&mut growing.spare))),
        turn: Mutex::new(Turn::default()),
        next: Condvar::new(),
    };
    let growing = Mutex::new(growing);
    let (source, most) = (settings.source.as_str(), memos.len());
    let work = |mut memo: Memo<'v>| -> Result<Memo<'v>, LoadError> {
        let mut guard = Guard(&line, false);
        loop {
            let part = line.feed.lock().unwrap_or_else(PoisonError::into_inner).next()?;
            let Some(part) = part else { break };
            let number = part.number;
            let made;
            (made, memo) =
                work_on(&part, reader, shared, pass, memo, &encoders, &lineage_encoder, source, vocabulary_version)?;
            line.feed.lock().unwrap_or_else(PoisonError::into_inner).recycle(part);
            line.take(number, made, most, |made| growing.lock().unwrap_or_else(PoisonError::into_inner).take(made))?;
        }
        guard.1 = true;
        Ok(memo)
    };
    let results: Vec<Result<Memo<'v>, LoadError>> = if memos.len() == 1 {
        memos.into_iter().map(work).collect()
    } else {
        std::thread::scope(|scope| {
            let work = &work;
            let handles: Vec<_> = memos.into_iter().map(|memo| scope.spawn(move || work(memo))).collect();
            handles.into_iter().map(|handle| handle.join().unwrap_or(Err(LoadError::Thread))).collect()
        })
    };
    let feed = line.feed.into_inner().unwrap_or_else(PoisonError::into_inner);
    growing.into_inner().unwrap_or_else(PoisonError::into_inner).spare = feed.into_spare();
    // The cause is worth more than the news that others stopped because of it.
    let mut kept = Vec::new();
    let mut failure = None;
    for result in results {
        match result {
            Ok(memo) => kept.push(memo),
            Err(LoadError::Thread) => {
                failure.get_or_insert(LoadError::Thread);
            }
            Err(error) => failure = Some(error),
        }
    }
    failure.map_or(Ok(kept), Err)
}

#[expect(clippy::too_many_arguments, reason = "one part and all it becomes")]
fn work_on<'v>(
    part: &Part,
    reader: &Reader<'_>,
    shared: &Shared<'_>,
    pass: Pass,
    memo: Memo<'v>,
    encoders: &BTreeMap<CdmTable, Encoder>,
    lineage_encoder: &Encoder,
    source: &str,
    vocabulary_version: &str,
) -> Result<(Made, Memo<'v>), LoadError> {
    let at = (pass, part.number);
    let mut mapper = Mapper::new(shared, at, memo, part.len() / ITEM_BYTES);
    let (mut refused, mut passes) = (Vec::new(), Vec::new());
    for piece in &part.pieces {
        let needs = tell(piece, part.of(piece), reader, pass, &mut mapper);
        match needs {
            Ok(needs) => passes.push((piece.input, needs)),
            Err(problem) => {
                passes.push((piece.input, Passes::default()));
                // Bundles are read in every pass, and told of once.
                if pass == Pass::Persons {
                    refused.push(problem);
                }
            }
        }
    }
    mapper.settle();
    let mut tables = Vec::new();
    for (table, rows) in mapper.tables.each() {
        let batch = rows.finish().map_err(|source| LoadError::Arrow { table: table.name(), source })?;
        if let Some(encoder) = encoders.get(&table) {
            tables.push((table, encoder.encode(&batch).map_err(parquet_error(table.name()))?));
        }
    }
    let lineage = if mapper.lineage.len() == 0 {
        None
    } else {
        let batch = std::mem::take(&mut mapper.lineage)
            .finish(&mapper.kinds, source, vocabulary_version)
            .map_err(|source| LoadError::Arrow { table: LINEAGE, source })?;
        Some(lineage_encoder.encode(&batch).map_err(parquet_error(LINEAGE))?)
    };
    let kinds = std::mem::take(&mut mapper.kinds);
    let name = |number: u8| kinds.name(number).to_owned();
    let persons = mapper
        .persons
        .into_iter()
        .map(|row| {
            let kind = name(row.origin.kind);
            (row, kind)
        })
        .collect();
    let parties = mapper
        .parties
        .into_iter()
        .map(|row| {
            let kind = name(row.origin.kind);
            (row, kind)
        })
        .collect();
    let details = mapper
        .details
        .into_iter()
        .map(|row| {
            let kind = name(row.origin.kind);
            (row, kind)
        })
        .collect();
    let made = Made {
        part: at,
        tables,
        lineage,
        entries: mapper.entries,
        found: mapper.found,
        persons,
        withheld: mapper.withheld,
        parties,
        details,
        spells: mapper.spells,
        spans: mapper.spans,
        removed: mapper.removed,
        partly: mapper.partly,
        tally: mapper.tally,
        problems: mapper.problems,
        refused,
        passes,
    };
    Ok((made, mapper.memo))
}

/// Tells a piece; lines that are not UTF-8 are told as rejected, the others are read.
fn tell(
    piece: &feed::Piece,
    bytes: &[u8],
    reader: &Reader<'_>,
    pass: Pass,
    sink: &mut dyn Sink,
) -> Result<Passes, Problem> {
    let hint = "save the file as UTF-8, for instance with `iconv -t UTF-8`";
    let (mut bytes, mut row, mut passes) = (bytes, piece.first_row, Passes::default());
    loop {
        let error = match std::str::from_utf8(bytes) {
            Ok(text) => return reader(piece.input, text, row, pass, sink).map(|needs| needs.with(passes)),
            Err(error) => error,
        };
        let good = &bytes[..error.valid_up_to()];
        let line_start = memchr::memrchr(b'\n', good).map_or(0, |at| at + 1);
        let line_end = memchr::memchr(b'\n', &bytes[line_start..]).map_or(bytes.len(), |at| line_start + at + 1);
        let only_line = line_start == 0 && line_end == bytes.len() && piece.whole;
        if let Ok(text) = std::str::from_utf8(&bytes[..line_start])
            && !text.is_empty()
        {
            passes = passes.with(reader(piece.input, text, row, pass, sink)?);
            row += memchr::memchr_iter(b'\n', text.as_bytes()).count() as u64;
        }
        if pass == Pass::Persons {
            let place = Place::row(row);
            if only_line {
                return Err(Problem::new("IN005", "the text is not UTF-8", place, hint));
            }
            sink.begin(&ItemHead { row, kind: "unknown", key: "", content: &bytes[line_start..line_end] });
            sink.problem(Problem::new("IN111", "the line is not UTF-8", place, hint));
            sink.end(Some(Fate::Rejected("IN111".to_owned())));
        }
        passes = passes.with(Passes::only(Pass::Persons));
        row += 1;
        bytes = &bytes[line_end..];
        if bytes.is_empty() {
            return Ok(passes);
        }
    }
}

/// A part of a visit, behind the whole it is a part of.
struct Ordered {
    row: DetailRow,
    kind: String,
    /// It is a part of itself, by way of others or not: of these each is a visit of its own.
    in_circle: bool,
}

/// Parts of visits in an order in which each comes after what it is a part of.
fn wholes_first(details: Vec<(DetailRow, String)>) -> Vec<Ordered> {
    #[derive(Clone, Copy, PartialEq)]
    enum Seen {
        Not,
        Above,
        Done,
    }
    let at: DigestMap<usize> = details.iter().enumerate().map(|(at, (row, _))| (row.key, at)).collect();
    let (mut seen, mut circles) = (vec![Seen::Not; details.len()], vec![false; details.len()]);
    let (mut order, mut path) = (Vec::with_capacity(details.len()), Vec::new());
    for start in 0..details.len() {
        let mut next = Some(start);
        while let Some(here) = next.filter(|here| seen[*here] != Seen::Done) {
            if seen[here] == Seen::Above {
                let circle = path.iter().skip_while(|other| **other != here);
                circle.for_each(|other: &usize| circles[*other] = true);
                break;
            }
            seen[here] = Seen::Above;
            path.push(here);
            let row = &details[here].0;
            next = at.get(&row.parent).copied().filter(|whole| details[*whole].0.person == row.person);
        }
        for here in path.drain(..).rev() {
            seen[here] = Seen::Done;
            order.push(here);
        }
    }
    let mut details: Vec<_> = details.into_iter().map(Some).collect();
    let in_order = order.into_iter().filter_map(|at| Some((at, details[at].take()?)));
    in_order.map(|(at, (row, kind))| Ordered { row, kind, in_circle: circles[at] }).collect()
}

/// Rows that are made when a pass is over.
struct Rest<'r> {
    tables: Tables,
    lineage: Lineage,
    kinds: Kinds,
    source: &'r str,
    vocabulary_version: &'r str,
}

impl<'r> Rest<'r> {
    fn new(settings: &'r Settings<'_>, vocabulary_version: &'r str) -> Self {
        Self {
            tables: Tables::with_room(0),
            lineage: Lineage::default(),
            kinds: Kinds::default(),
            source: &settings.source,
            vocabulary_version,
        }
    }

    fn push(&mut self, table: CdmTable, cells: &[Cell<'_>]) {
        self.tables.of(table).push(cells);
    }

    fn trace(
        &mut self,
        table: CdmTable,
        row_id: i64,
        person: i64,
        origin: &index::Origin,
        kind: &str,
        when: Option<acequia_omop::When>,
    ) {
        let origin = index::Origin { kind: self.kinds.number(kind), ..*origin };
        self.lineage.push(table, row_id, person, &origin, when, Note::None);
    }

    fn person(&mut self, row: &PersonRow, kind: &str, index: &Index) {
        use chrono::Datelike;
        let party = |named: Option<u128>| named.and_then(|named| index.parties.get(&named).copied());
        let birth = row.birth.partial();
        let day = row.birth.calendar_day();
        let midnight = row.birth.timestamp_s().or_else(|| birth.exact().map(|_| i64::from(row.birth.day) * 86_400));
        self.push(
            CdmTable::Person,
            &[
                Cell::Id(row.id),
                Cell::Id(row.sex),
                Cell::Id(i64::from(day.year())),
                birth.month.map(i64::from).into(),
                birth.day.map(i64::from).into(),
                midnight.map_or(Cell::Null, Cell::Second),
                Cell::Id(row.race.0),
                Cell::Id(row.ethnicity.0),
                party(row.location).into(),
                party(row.provider).into(),
                party(row.care_site).into(),
                Cell::Null,
                Cell::text(&row.sex_source, 50),
                Cell::Null,
                Cell::text(&row.race.1, 50),
                Cell::Null,
                Cell::text(&row.ethnicity.1, 50),
                Cell::Null,
            ],
        );
        self.trace(CdmTable::Person, row.id, row.id, &row.origin, kind, Some(row.birth));
        if let Some(died) = row.death {
            self.push(
                CdmTable::Death,
                &[
                    Cell::Id(row.id),
                    Cell::Day(died.day),
                    died.timestamp_s().map_or(Cell::Null, Cell::Second),
                    Cell::Id(row.type_concept_id),
                    Cell::Null,
                    Cell::Null,
                    Cell::Null,
                ],
            );
            self.trace(CdmTable::Death, row.id, row.id, &row.origin, kind, Some(died));
        }
    }

    fn party(&mut self, row: &PartyRow, kind: &str) {
        let table = match &row.what {
            PartyKind::Location { state, zip, country } => {
                self.push(
                    CdmTable::Location,
                    &[
                        Cell::Id(row.id),
                        Cell::Null,
                        Cell::Null,
                        Cell::Null,
                        Cell::text(state, 2),
                        Cell::text(zip, 9),
                        Cell::Null,
                        Cell::Null,
                        Cell::Null,
                        Cell::text(country, 80),
                        Cell::Null,
                        Cell::Null,
                    ],
                );
                CdmTable::Location
            }
            PartyKind::CareSite { name, place, place_source, location } => {
                let stated = !place_source.is_empty();
                self.push(
                    CdmTable::CareSite,
                    &[
                        Cell::Id(row.id),
                        Cell::text(name, 255),
                        if stated { Cell::Id(*place) } else { Cell::Null },
                        (*location).into(),
                        Cell::Null,
                        Cell::text(place_source, 50),
                    ],
                );
                CdmTable::CareSite
            }
            PartyKind::Provider { specialty, specialty_source, sex, care_site } => {
                let stated = !specialty_source.is_empty();
                self.push(
                    CdmTable::Provider,
                    &[
                        Cell::Id(row.id),
                        Cell::Null,
                        Cell::Null,
                        Cell::Null,
                        if stated { Cell::Id(*specialty) } else { Cell::Null },
                        (*care_site).into(),
                        Cell::Null,
                        Cell::Id(*sex),
                        Cell::Null,
                        Cell::text(specialty_source, 50),
                        Cell::Null,
                        Cell::Null,
                        Cell::Null,
                    ],
                );
                CdmTable::Provider
            }
        };
        self.trace(table, row.id, 0, &row.origin, kind, None);
    }

    /// The row of a part of a visit; one whose whole is not in the input is a visit of its own.
    fn detail(&mut self, row: &DetailRow, kind: &str, index: &Index, in_circle: bool) -> VisitRef {
        let second = |when: Option<acequia_omop::When>| {
            when.and_then(acequia_omop::When::timestamp_s).map_or(Cell::Null, Cell::Second)
        };
        let optional = |text: &str| if text.is_empty() { Cell::Null } else { Cell::Id(0) };
        let whole = if in_circle { None } else { index.visits.get(row.parent) };
        let parent = whole.filter(|visit| visit.person == row.person && visit.visit != row.id);
        let end_day = row.end.map_or(row.start.day, |end| end.day);
        let table = if parent.is_some() { CdmTable::VisitDetail } else { CdmTable::VisitOccurrence };
        let shared = [
            Cell::Id(row.id),
            Cell::Id(row.person),
            Cell::Id(row.concept_id),
            Cell::Day(row.start.day),
            second(Some(row.start)),
            Cell::Day(end_day),
            second(row.end),
            Cell::Id(row.type_concept_id),
            row.provider.into(),
            row.care_site.into(),
            Cell::text(&row.source_value, 50),
            Cell::Null,
            optional(&row.admitted_from),
            Cell::text(&row.admitted_from, 50),
        ];
        let (to, to_source) = (optional(&row.discharged_to), Cell::text(&row.discharged_to, 50));
        let mut cells = shared.to_vec();
        match parent {
            Some(parent) => {
                let whole = if parent.detail == 0 { Cell::Null } else { Cell::Id(parent.detail) };
                cells.extend([to_source, to, Cell::Null, whole, Cell::Id(parent.visit)]);
            }
            None => cells.extend([to, to_source, Cell::Null]),
        }
        self.push(table, &cells);
        self.trace(table, row.id, row.person, &row.origin, kind, Some(row.start));
        let (visit, detail) = parent.map_or((row.id, 0), |parent| (parent.visit, row.id));
        VisitRef { visit, detail, person: row.person, start_day: row.start.day }
    }

    fn write(mut self, outputs: &mut Outputs) -> Result<(), LoadError> {
        for (table, rows) in self.tables.each() {
            let batch = rows.finish().map_err(|source| LoadError::Arrow { table: table.name(), source })?;
            if let Some(output) = outputs.tables.get_mut(&table) {
                output.write(&batch).map_err(parquet_error(table.name()))?;
            }
        }
        if self.lineage.len() > 0 {
            let batch = self
                .lineage
                .finish(&self.kinds, self.source, self.vocabulary_version)
                .map_err(|source| LoadError::Arrow { table: LINEAGE, source })?;
            outputs.lineage.write(&batch).map_err(parquet_error(LINEAGE))?;
        }
        Ok(())
    }
}

fn report(growing: &Growing, memos: Vec<Memo<'_>>) -> LoadReport {
    let tally = &growing.tally;
    let mut codes: BTreeMap<(String, String), CodeUse> = BTreeMap::new();
    let mut other_codes = 0;
    for (code, losers) in memos.into_iter().flat_map(Memo::uses) {
        other_codes += losers;
        let known = codes.entry((code.system.clone(), code.code.clone()));
        known.and_modify(|known| known.events += code.events).or_insert(code);
    }
    let distinct_codes = codes.len() as u64;
    let mut unmapped: Vec<CodeUse> = codes.into_values().filter(|code| code.why_not.is_some()).collect();
    unmapped.sort_by(|a, b| b.events.cmp(&a.events).then_with(|| (&a.system, &a.code).cmp(&(&b.system, &b.code))));
    unmapped.truncate(1_000);
    let rows = growing.outputs.tables.iter().map(|(table, output)| (table.name().to_owned(), output.rows));
    LoadReport {
        counts: tally.counts,
        by_kind: tally
            .by_kind
            .iter()
            .map(|(kind, (counts, rows))| (kind.clone(), KindCounts { counts: *counts, rows: *rows }))
            .collect(),
        reasons: tally.reasons.clone(),
        unchanged: tally.unchanged,
        replaced: tally.replaced,
        rows: rows.collect(),
        removed_rows: growing.removed.len() as u64,
        imputed_dates: tally.imputed_dates,
        dates_of_visits: tally.dates_of_visits,
        converted_units: tally.converted_units,
        other_codes,
        unmapped_codes: unmapped,
        distinct_codes,
        problems: tally.problems.clone(),
        listed_problems: growing.problems.clone(),
        refused_files: growing.refused.clone(),
        ..LoadReport::default()
    }
}

/// What makes place for the rows of a later load.
struct Gone {
    /// Ids of rows.
    rows: Vec<i64>,
    /// Persons all of whose eras are derived anew.
    eras_of: Vec<i64>,
}

/// Files of tables that are whole.
struct Finished {
    files: Vec<PathBuf>,
    /// Pairs of rows that share an id.
    pairs: u64,
}

/// Ends the tables of a load: of the first one, or of one that makes something `gone`.
fn finish(
    dir: &Path,
    tables: BTreeMap<CdmTable, Output>,
    lineage: Output,
    gone: Option<Gone>,
) -> Result<Finished, LoadError> {
    let mut files = Vec::new();
    for (table, output) in tables {
        // A later load brings only what it has, but periods are whole each time.
        if gone.is_none() || output.rows > 0 || table == CdmTable::ObservationPeriod {
            files.push(output.path.clone());
            output.finish().map_err(parquet_error(table.name()))?;
        }
    }
    let path = lineage.path.clone();
    let rows = lineage.finish().map_err(parquet_error(LINEAGE))?;
    let pairs = fold::check_ids(&path, rows)?;
    files.push(path);
    for (name, column, ids) in
        gone.into_iter().flat_map(|gone| [("removed", "row_id", gone.rows), ("eras_of", "person_id", gone.eras_of)])
    {
        let path = dir.join(format!("{name}.parquet"));
        fold::write_ids(&path, name, column, ids)?;
        files.push(path);
    }
    Ok(Finished { files, pairs })
}

impl Finished {
    /// Moves the tables of a later load to their place; the caller's record comes last. Returns the place.
    fn move_changes(self, dir: &Path, out: &Path, generation: u32) -> Result<PathBuf, LoadError> {
        let io = |source| LoadError::Io { what: "a file of the output", doing: "written", source };
        let target = changes(out, generation);
        // A load that was cut off before its record may have left something.
        clear(&target)?;
        std::fs::create_dir_all(&target).map_err(io)?;
        for from in self.files {
            let to = target.join(from.file_name().unwrap_or_default());
            std::fs::rename(from, to).map_err(io)?;
        }
        clear(dir)?;
        Ok(target)
    }
}

/// Moves the state of a load to its place.
fn move_state(dir: &Path, out: &Path, generation: u32) -> Result<(), LoadError> {
    let io = |source| LoadError::Io { what: "a file of the output", doing: "written", source };
    let absent = |error: &std::io::Error| error.kind() == std::io::ErrorKind::NotFound;
    let keys = STATE_FILES[0];
    match std::fs::remove_file(state_file(out, keys, generation)) {
        Err(error) if !absent(&error) => return Err(io(error)),
        _ => {}
    }
    for name in STATE_FILES.iter().rev() {
        match std::fs::rename(dir.join(name), state_file(out, name, generation)) {
            // Only whole loads write keys.
            Err(error) if *name == keys && absent(&error) => {}
            moved => moved.map_err(io)?,
        }
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
