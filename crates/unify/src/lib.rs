//! Unify: granted source records become OMOP CDM 5.4 tables, with a lineage row for every table row.
//!
//! Comes in: source files of any format, each still `Identified`, and a [`Grant`] that covers their donors. Goes out:
//! [`Unified`], still identified: the tables, the lineage, and a report in which every input item has exactly one fate.
//!
//! Ids are the first 63 bits of keyed BLAKE3 over (source, donor, the source's key), so they stay the same from run to
//! run and cannot be computed from a source key by anybody without the node's id key.
//!
//! ```
//! use acequia_omop::Vocabulary;
//! use acequia_custody::{ConsentEvent, Decision, Grant, History, Identified, Purpose, evaluate};
//! use acequia_types::{DonorId, IntakeId, SourceId, parse_timestamp};
//! use acequia_unify::{Donated, IdKey, Unifier};
//!
//! let donor = DonorId::parse("donor-0001")?;
//! let history = History::new(vec![ConsentEvent::give("2026-01-01", &[Purpose::Research])]);
//! let now = parse_timestamp("2026-02-01").unwrap();
//! let Decision::Permit(grant) = evaluate(&donor, Some(&history), Purpose::Research, now) else { panic!() };
//!
//! let mut unifier = Unifier::new(IdKey::new([7; 32]), Vocabulary::bundled(), Default::default());
//! let donated = Donated {
//!     intake: IntakeId::parse("in-1")?,
//!     source: SourceId::parse("individual-donors")?,
//!     donor: donor.clone(),
//!     file: Default::default(),
//! };
//! unifier.add(Identified::new(donor, donated), &grant)?;
//! let unified = unifier.finish()?;
//! assert!(unified.open(&grant)?.report.counts.add_up());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod codes;
mod hash;
mod ids;
pub mod load;
mod rows;
pub mod steps;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use acequia_custody::{Grant, Identified, NotGranted};
use acequia_frame::{FrameError, Table};
use acequia_omop::{
    CdmError, CdmTable, Fate, ItemCounts, LocalCodes, SourceFile, TableBuilder, Units, Unmapped, Vocabulary,
};
use acequia_types::{Coded, DonorId, Exit, IntakeId, Problem, SourceId};
use arrow::array::{ArrayRef, Int64Builder, RecordBatch, StringBuilder};
use serde::{Deserialize, Serialize};

use codes::Memo;
use hash::Seed;
pub use ids::IdKey;

/// Name of the lineage table: `table_name`, `row_id`, `source`, `intake`, `item_row`, `note`.
pub const LINEAGE: &str = "lineage";

/// Name of the table that links a person to its source: `person_id`, `source`, `source_key_digest` (63 bits). Split
/// assignment starts from it. It never leaves the node.
pub const PERSON_SOURCE: &str = "person_source";

/// One donated file, read.
#[derive(Debug, Clone)]
pub struct Donated {
    /// Which donation.
    pub intake: IntakeId,
    /// Which source it belongs to.
    pub source: SourceId,
    /// Who gave it.
    pub donor: DonorId,
    /// What intake read.
    pub file: SourceFile,
}

/// What unification made of all files.
#[derive(Debug, Clone)]
pub struct Unified {
    /// OMOP tables by name, plus [`LINEAGE`] and [`PERSON_SOURCE`]; rows in ascending order of their key.
    pub tables: BTreeMap<String, Table>,
    /// Counts.
    pub report: Report,
}

/// Counts over all files. Holds no value of any record.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Files read.
    pub files: u64,
    /// Fates of all items.
    pub counts: ItemCounts,
    /// The same by source.
    pub by_source: BTreeMap<String, ItemCounts>,
    /// Items by fate and reason, such as `excluded: entered-in-error`.
    pub reasons: BTreeMap<String, u64>,
    /// Rows by table.
    pub rows: BTreeMap<String, u64>,
    /// Dates of which the day or month was not known and the first possible day was taken.
    pub imputed_dates: u64,
    /// Numbers converted into the unit Acequia keeps.
    pub converted_units: u64,
    /// Problems by code.
    pub problems: BTreeMap<String, u64>,
}

/// Why unification stops.
#[derive(Debug, thiserror::Error)]
pub enum UnifyError {
    /// The grant leaves out a donor.
    #[error("a donated file is not covered by the grant")]
    NotGranted(#[from] NotGranted),
    /// A row does not fit the model.
    #[error("a row does not fit the Common Data Model")]
    Cdm(#[from] CdmError),
    /// A table cannot be built.
    #[error("a table cannot be built")]
    Frame(#[from] FrameError),
    /// Items got lost.
    #[error("donation {intake}: {total} items came in, but their fates do not add up")]
    Counts {
        /// Which donation.
        intake: IntakeId,
        /// Items that came in.
        total: u64,
    },
}

impl Coded for UnifyError {
    fn code(&self) -> &'static str {
        match self {
            Self::NotGranted(error) => error.code(),
            Self::Cdm(error) => error.code(),
            Self::Frame(error) => error.code(),
            Self::Counts { .. } => "UN001",
        }
    }
    fn hint(&self) -> &'static str {
        match self {
            Self::NotGranted(error) => error.hint(),
            Self::Cdm(error) => error.hint(),
            Self::Frame(error) => error.hint(),
            Self::Counts { .. } => "this is a defect of the program; please report it with the code",
        }
    }
    fn exit(&self) -> Exit {
        match self {
            Self::NotGranted(error) => error.exit(),
            _ => Exit::Failure,
        }
    }
}

/// Collects files and builds the tables.
pub struct Unifier<'v> {
    key: IdKey,
    memo: Memo<'v>,
    builders: BTreeMap<CdmTable, TableBuilder>,
    lineage: Lineage,
    persons: HashMap<i64, PersonSource>,
    deaths: BTreeSet<i64>,
    donors: BTreeSet<DonorId>,
    report: Report,
}

struct PersonSource {
    source: String,
    source_key_digest: i64,
}

#[derive(Default)]
struct Lineage {
    table: StringBuilder,
    row_id: Int64Builder,
    source: StringBuilder,
    intake: StringBuilder,
    item_row: Int64Builder,
    note: StringBuilder,
}

impl<'v> Unifier<'v> {
    /// Starts with the node's id key. Codes mean what people of the site decided (`local_codes`), or else what the
    /// vocabulary says; a code that maps to several concepts becomes several rows.
    pub fn new(key: IdKey, vocabulary: &'v Vocabulary, local_codes: Arc<LocalCodes>) -> Self {
        let seed = Seed::new(key.seed());
        let memo = Memo::new(vocabulary, local_codes, Arc::new(Units::new(vocabulary)), seed);
        let filled = CdmTable::ALL.iter().filter(|table| !table.is_vocabulary());
        let builders = filled.map(|table| (*table, TableBuilder::new(*table))).collect();
        Self {
            key,
            memo,
            builders,
            lineage: Lineage::default(),
            persons: HashMap::new(),
            deaths: BTreeSet::new(),
            donors: BTreeSet::new(),
            report: Report::default(),
        }
    }

    /// Adds one file and returns the problems found in it, placed in its donation.
    ///
    /// # Errors
    /// [`UnifyError::NotGranted`] when the grant does not cover the file; [`UnifyError::Counts`] when an item would be
    /// left without a fate.
    pub fn add(&mut self, donated: Identified<Donated>, grant: &Grant) -> Result<Vec<Problem>, UnifyError> {
        self.donors.extend(donated.donors().iter().cloned());
        let Donated { intake, source, donor, mut file } = donated.into_open(grant)?;
        for record in &file.records {
            let fates = self.record(&intake, &source, &donor, record, &file.items)?;
            for (item, fate) in fates {
                let known = &mut file.items[item].fate;
                // One item can yield several events; the worst fate stands for it.
                if !matches!(known, Some(Fate::Unmapped(_) | Fate::Held(_))) {
                    *known = Some(fate);
                }
            }
        }
        let counts = ItemCounts::of(&file.items);
        if !counts.add_up() {
            return Err(UnifyError::Counts { intake, total: counts.total });
        }
        self.report.files += 1;
        self.report.counts = self.report.counts.plus(counts);
        let of_source = self.report.by_source.entry(source.to_string()).or_default();
        *of_source = of_source.plus(counts);
        for item in &file.items {
            let reason = match &item.fate {
                Some(Fate::Excluded(why)) => format!("excluded: {}", why.as_str()),
                Some(Fate::Held(why)) => format!("held: {}", why.as_str()),
                Some(Fate::Unmapped(Unmapped::Kind)) => format!("unmapped: no table for {}", item.kind),
                Some(Fate::Unmapped(why)) => format!("unmapped: {}", why.as_str()),
                Some(Fate::Rejected(code)) => format!("rejected: {code}"),
                Some(Fate::Loaded) | None => continue,
            };
            *self.report.reasons.entry(reason).or_default() += 1;
        }
        for problem in &mut file.problems {
            problem.place.intake = Some(intake.to_string());
            *self.report.problems.entry(problem.code.clone()).or_default() += 1;
        }
        Ok(file.problems)
    }

    /// All tables.
    ///
    /// # Errors
    /// [`UnifyError`] when a table cannot be built.
    pub fn finish(mut self) -> Result<Identified<Unified>, UnifyError> {
        let mut tables = BTreeMap::new();
        for (table, builder) in std::mem::take(&mut self.builders) {
            self.report.rows.insert(table.name().to_owned(), builder.rows() as u64);
            tables.insert(table.name().to_owned(), Table::new(table.name(), vec![builder.finish()?])?.sorted()?);
        }
        tables.insert(LINEAGE.to_owned(), self.lineage.finish()?);
        tables.insert(PERSON_SOURCE.to_owned(), person_source(&self.persons)?);
        let unified = Unified { tables, report: self.report };
        Ok(Identified::of_many(self.donors, unified))
    }
}

impl Lineage {
    fn push(&mut self, table: CdmTable, row_id: i64, source: &SourceId, intake: &IntakeId, item_row: u64, note: &str) {
        self.table.append_value(table.name());
        self.row_id.append_value(row_id);
        self.source.append_value(source.as_str());
        self.intake.append_value(intake.as_str());
        self.item_row.append_value(i64::try_from(item_row).unwrap_or(i64::MAX));
        self.note.append_value(note);
    }

    fn finish(mut self) -> Result<Table, FrameError> {
        let columns: [(&str, ArrayRef); 6] = [
            ("table_name", Arc::new(self.table.finish())),
            ("row_id", Arc::new(self.row_id.finish())),
            ("source", Arc::new(self.source.finish())),
            ("intake", Arc::new(self.intake.finish())),
            ("item_row", Arc::new(self.item_row.finish())),
            ("note", Arc::new(self.note.finish())),
        ];
        small_table(LINEAGE, columns)
    }
}

fn person_source(persons: &HashMap<i64, PersonSource>) -> Result<Table, FrameError> {
    let (mut ids, mut sources, mut digests) = (Int64Builder::new(), StringBuilder::new(), Int64Builder::new());
    for (person_id, person) in persons {
        ids.append_value(*person_id);
        sources.append_value(&person.source);
        digests.append_value(person.source_key_digest);
    }
    let columns: [(&str, ArrayRef); 3] = [
        ("person_id", Arc::new(ids.finish())),
        ("source", Arc::new(sources.finish())),
        ("source_key_digest", Arc::new(digests.finish())),
    ];
    small_table(PERSON_SOURCE, columns)
}

fn small_table<const N: usize>(name: &str, columns: [(&str, ArrayRef); N]) -> Result<Table, FrameError> {
    let batch =
        RecordBatch::try_from_iter(columns).map_err(|source| FrameError::Arrow { table: name.to_owned(), source })?;
    Table::new(name, vec![batch])?.sorted()
}
