//! Putting changes into the tables, and taking persons out of them.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use acequia_omop::CdmTable;
use arrow::array::{AsArray, BooleanArray, Int64Array, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Int16Type, Int64Type, Schema, SchemaRef};
use arrow::error::ArrowError;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde::Serialize;

use super::columns::file_schema;
use super::derive::{self, Noted};
use super::index::Index;
use super::known::{Items, write_keys};
use super::map::MEASUREMENT_DOMAIN;
use super::output::{Output, Packing};
use super::state;
use super::{
    LINEAGE, LoadError, Record, STATE, TABLES, changes, clear, hex, is_derived, key_of, lineage, move_state,
    state_file, write_whole,
};
use crate::IdKey;

/// Rows per row group of a folded table.
const GROUP_ROWS: usize = 131_072;

/// What folding or removing did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Folded {
    /// Rows in the tables now.
    pub rows: BTreeMap<String, u64>,
    /// Rows that are gone.
    pub gone: BTreeMap<String, u64>,
}

/// A column of ids, in ascending order.
pub(super) fn write_ids(path: &Path, name: &'static str, column: &str, mut ids: Vec<i64>) -> Result<(), LoadError> {
    let error = super::parquet_error(name);
    ids.sort_unstable();
    ids.dedup();
    let schema = Arc::new(Schema::new(vec![Field::new(column, DataType::Int64, false)]));
    let mut output = Output::create(path, &schema, None, Packing::Changes).map_err(&error)?;
    let batch = RecordBatch::try_new(schema, vec![Arc::new(Int64Array::from(ids))])
        .map_err(|source| LoadError::Arrow { table: name, source })?;
    output.write(&batch).map_err(&error)?;
    output.finish().map(|_| ()).map_err(error)
}

type Batches = Box<dyn Iterator<Item = Result<RecordBatch, LoadError>>>;

/// Batches of a file; none where there is no such file.
fn batches(path: &Path, table: &'static str, rows: usize) -> Result<Batches, LoadError> {
    some_batches(path, table, rows, None)
}

/// The same of some columns, in the order of the file.
fn columns(path: &Path, table: &'static str, names: &[&str]) -> Result<Batches, LoadError> {
    some_batches(path, table, GROUP_ROWS, Some(names))
}

fn some_batches(path: &Path, table: &'static str, rows: usize, columns: Option<&[&str]>) -> Result<Batches, LoadError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Box::new(std::iter::empty())),
        Err(source) => return Err(LoadError::Io { what: "a table", doing: "read", source }),
    };
    let read = move |source| LoadError::Parquet { table, doing: "read", source };
    let mut builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(read)?;
    if let Some(columns) = columns {
        let mask = ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied());
        builder = builder.with_projection(mask);
    }
    let reader = builder.with_batch_size(rows).build().map_err(read)?;
    Ok(Box::new(reader.map(move |batch| batch.map_err(|source| LoadError::Arrow { table, source }))))
}

/// Pairs of rows that share an id. Persons and deaths share theirs on purpose.
pub(super) fn check_ids(lineage: &Path, rows: u64) -> Result<u64, LoadError> {
    /// What is compared at a time, range by range of ids, so that memory is bounded.
    const IDS: u64 = 1 << 21;
    let ranges = rows / IDS + 1;
    let range_of = |id: i64| (u128::from(id.unsigned_abs()) * u128::from(ranges)) >> 63;
    let (mut pairs, mut some) = (0, Vec::new());
    for range in 0..u128::from(ranges) {
        some.clear();
        for batch in columns(lineage, LINEAGE, &["table_name", "row_id"])? {
            let batch = batch?;
            let tables = batch.column(0).as_dictionary_opt::<Int16Type>();
            let (Some(tables), Some(ids)) = (tables, ids(&batch, "row_id")) else { continue };
            let death = tables.values().as_string_opt::<i32>().and_then(|names| {
                names.iter().position(|name| name == Some(CdmTable::Death.name())).and_then(|at| i16::try_from(at).ok())
            });
            let of = tables.keys().values().iter().zip(ids.values());
            let own = of.filter(|(table, id)| Some(**table) != death && range_of(**id) == range);
            some.extend(own.map(|(_, id)| *id));
        }
        some.sort_unstable();
        pairs += some.windows(2).filter(|pair| pair[0] == pair[1]).count() as u64;
    }
    Ok(pairs)
}

fn ids<'b>(batch: &'b RecordBatch, column: &str) -> Option<&'b Int64Array> {
    batch.column_by_name(column)?.as_primitive_opt::<Int64Type>()
}

/// Columns by which a row of a table is found: its key, or what stands for it.
fn id_columns(table: CdmTable) -> Vec<&'static str> {
    match table {
        CdmTable::Death => vec!["person_id"],
        other => key_of(other).into_iter().collect(),
    }
}

/// What of a table later loads replace.
enum By {
    /// All of it: the last one is whole.
    Whole,
    /// The rows of persons that they derived anew.
    Person,
    /// Rows with the same ids, in these columns.
    Ids(Vec<&'static str>),
    /// Pairs whose measurement they replace, or whose specimen is gone.
    Facts,
}

impl By {
    fn of(table: CdmTable) -> Self {
        match table {
            CdmTable::ObservationPeriod => Self::Whole,
            CdmTable::ConditionEra | CdmTable::DrugEra => Self::Person,
            CdmTable::FactRelationship => Self::Facts,
            other => Self::Ids(id_columns(other)),
        }
    }
}

/// Measurement and specimen of each pair of a batch: a measurement comes with the pairs that it is in.
fn pairs(batch: &RecordBatch) -> Vec<(i64, i64)> {
    let columns = ["domain_concept_id_1", "fact_id_1", "fact_id_2"].map(|column| ids(batch, column));
    let [Some(domains), Some(ones), Some(others)] = columns else { return vec![(0, 0); batch.num_rows()] };
    let facts = domains.values().iter().zip(ones.values()).zip(others.values());
    facts
        .map(|((domain, one), other)| if *domain == MEASUREMENT_DOMAIN { (*one, *other) } else { (*other, *one) })
        .collect()
}

/// What waiting changes made of visits, and of parts of them.
#[derive(Default)]
struct Visits {
    /// Those that they brought: the whole that a part belongs to (none of a whole one), and whose it is.
    now: HashMap<i64, (Option<i64>, i64)>,
    /// Rows that made place for nothing.
    gone: HashSet<i64>,
}

impl Visits {
    /// Takes in the visits of a batch of `visit_occurrence` or `visit_detail`.
    fn add(&mut self, batch: &RecordBatch) {
        let whole = ids(batch, "visit_occurrence_id");
        let (Some(visits), Some(persons)) = (ids(batch, "visit_detail_id").or(whole), ids(batch, "person_id")) else {
            return;
        };
        let parts = batch.column_by_name("visit_detail_id").is_some();
        for (at, (visit, person)) in visits.values().iter().zip(persons.values()).enumerate() {
            let of = whole.filter(|_| parts).map(|whole| whole.value(at));
            self.now.insert(*visit, (of, *person));
        }
    }

    /// What an event of a person stands in now, given the visit and the part of it that it names.
    fn of_event(&self, person: i64, visit: Option<i64>, part: Option<i64>) -> (Option<i64>, Option<i64>) {
        let Some(named) = part.or(visit) else { return (None, None) };
        match self.now.get(&named) {
            _ if self.gone.contains(&named) => (None, None),
            Some((_, of)) if *of != person => (None, None),
            Some((Some(whole), _)) => (Some(*whole), Some(named)),
            Some((None, _)) => (Some(named), None),
            None => (visit.filter(|visit| !self.gone.contains(visit)), part),
        }
    }

    /// A batch of events in the visits that there are now; of others, the batch as it is.
    fn put_right(&self, batch: RecordBatch) -> Result<RecordBatch, ArrowError> {
        let schema = batch.schema();
        let nullable = |name: &str| schema.index_of(name).ok().filter(|at| schema.field(*at).is_nullable());
        let (Some(visit_at), Some(part_at)) = (nullable("visit_occurrence_id"), nullable("visit_detail_id")) else {
            return Ok(batch);
        };
        let columns = ["person_id", "visit_occurrence_id", "visit_detail_id"].map(|name| ids(&batch, name));
        let [Some(persons), Some(visits), Some(parts)] = columns else { return Ok(batch) };
        if self.now.is_empty() && self.gone.is_empty() {
            return Ok(batch);
        }
        let named = persons.values().iter().zip(visits).zip(parts);
        let (visits, parts): (Vec<_>, Vec<_>) =
            named.map(|((person, visit), part)| self.of_event(*person, visit, part)).unzip();
        let mut columns = batch.columns().to_vec();
        columns[visit_at] = Arc::new(Int64Array::from(visits));
        columns[part_at] = Arc::new(Int64Array::from(parts));
        RecordBatch::try_new(schema, columns)
    }
}

/// Rewrites one table: rows of `sources` (path, generation) that `alive` keeps.
fn rewrite(
    name: &'static str,
    schema: &SchemaRef,
    key: Option<&str>,
    sources: &[(std::path::PathBuf, u32)],
    target: &Path,
    mut alive: impl FnMut(&RecordBatch, u32) -> Vec<bool>,
    visits: &Visits,
) -> Result<(u64, u64), LoadError> {
    let error = super::parquet_error(name);
    let mut output = Output::create(target, schema, key, Packing::Tables).map_err(&error)?;
    let mut gone = 0;
    for (path, generation) in sources {
        for batch in batches(path, name, GROUP_ROWS)? {
            let batch = batch?;
            let keep = alive(&batch, *generation);
            let dead = keep.iter().filter(|keep| !**keep).count();
            gone += dead as u64;
            let kept = if dead == 0 {
                batch
            } else {
                filter_record_batch(&batch, &BooleanArray::from(keep))
                    .map_err(|source| LoadError::Arrow { table: name, source })?
            };
            let kept = visits.put_right(kept).map_err(|source| LoadError::Arrow { table: name, source })?;
            output.write(&kept).map_err(&error)?;
        }
    }
    let rows = output.finish().map_err(error)?;
    Ok((rows, gone))
}

fn no_load() -> LoadError {
    let source = std::io::Error::from(std::io::ErrorKind::NotFound);
    LoadError::Io { what: "the record of earlier loads", doing: "read", source }
}

/// Puts all changes into the tables. Running it again after it was cut off ends in the same state.
///
/// # Errors
/// [`LoadError`] when the folder was never loaded into, or a file cannot be read or written.
pub fn fold(out: &Path) -> Result<Folded, LoadError> {
    let record = Record::read(out)?.ok_or_else(no_load)?;
    let waiting: Vec<u32> = (record.folded + 1..=record.generation).collect();
    // The last load that had a row, and the last that derived all eras of a person.
    let (mut last, mut last_eras): (HashMap<i64, u32>, HashMap<i64, u32>) = (HashMap::new(), HashMap::new());
    let mut visits = Visits::default();
    for generation in &waiting {
        let dir = changes(out, *generation);
        if !dir.is_dir() {
            let source = std::io::Error::from(std::io::ErrorKind::NotFound);
            return Err(LoadError::Io { what: "a folder of changes that wait", doing: "read", source });
        }
        let each = |path: &Path, table: &'static str, columns: &[&str], take: &mut dyn FnMut(i64)| {
            for batch in batches(path, table, GROUP_ROWS)? {
                let batch = batch?;
                for column in columns.iter().filter_map(|column| ids(&batch, column)) {
                    column.values().iter().for_each(|id| take(*id));
                }
            }
            Ok::<(), LoadError>(())
        };
        each(&dir.join("eras_of.parquet"), "eras_of", &["person_id"], &mut |id| {
            last_eras.insert(id, *generation);
        })?;
        each(&dir.join("removed.parquet"), "removed", &["row_id"], &mut |id| {
            last.insert(id, *generation);
            visits.gone.insert(id);
        })?;
        for table in TABLES.iter().filter(|table| !is_derived(**table) && **table != CdmTable::FactRelationship) {
            each(&dir.join(format!("{}.parquet", table.name())), table.name(), &id_columns(*table), &mut |id| {
                last.insert(id, *generation);
                visits.gone.remove(&id);
            })?;
        }
        for name in [CdmTable::VisitOccurrence.name(), CdmTable::VisitDetail.name()] {
            for batch in batches(&dir.join(format!("{name}.parquet")), name, GROUP_ROWS)? {
                visits.add(&batch?);
            }
        }
    }
    let lives = |batch: &RecordBatch, generation: u32, by: By| -> Vec<bool> {
        let (last, columns) = match by {
            By::Whole => return vec![true; batch.num_rows()],
            By::Person => (&last_eras, vec!["person_id"]),
            By::Ids(columns) => (&last, columns),
            By::Facts => {
                let stands = |(measurement, specimen): &(i64, i64)| {
                    last.get(measurement).is_none_or(|newest| generation >= *newest) && !visits.gone.contains(specimen)
                };
                return pairs(batch).iter().map(stands).collect();
            }
        };
        let mut keep = vec![true; batch.num_rows()];
        for column in columns.iter().filter_map(|column| ids(batch, column)) {
            for (keep, id) in keep.iter_mut().zip(column.values()) {
                *keep &= last.get(id).is_none_or(|newest| generation >= *newest);
            }
        }
        keep
    };
    let (folded, aside) = rewrite_all(
        out,
        |name, by| {
            let file = format!("{name}.parquet");
            let base = out.join(&file);
            let mut sources: Vec<_> = waiting.iter().map(|g| (changes(out, *g).join(&file), *g)).collect();
            if matches!(by, By::Whole) {
                sources.retain(|(path, _)| path.exists());
                return sources.pop().map_or_else(|| vec![(base, 0)], |last| vec![last]);
            }
            sources.insert(0, (base, 0));
            sources
        },
        lives,
        &visits,
    )?;
    Record { folded: record.generation, ..record }.put_in_place(out, &aside)?;
    Ok(folded)
}

/// Rewrites all tables and lineage aside. Returns where they lie.
fn rewrite_all(
    out: &Path,
    sources: impl Fn(&'static str, &By) -> Vec<(std::path::PathBuf, u32)>,
    lives: impl Fn(&RecordBatch, u32, By) -> Vec<bool>,
    visits: &Visits,
) -> Result<(Folded, PathBuf), LoadError> {
    let io = |source| LoadError::Io { what: "a file of the output", doing: "written", source };
    let dir = out.join(STATE).join("fold");
    clear(&dir)?;
    std::fs::create_dir_all(&dir).map_err(io)?;
    let mut folded = Folded::default();
    for table in TABLES {
        let name = table.name();
        let target = dir.join(format!("{name}.parquet"));
        let sources = sources(name, &By::of(table));
        let alive = |batch: &RecordBatch, generation| lives(batch, generation, By::of(table));
        let (rows, gone) = rewrite(name, file_schema(table), key_of(table), &sources, &target, alive, visits)?;
        folded.rows.insert(name.to_owned(), rows);
        if gone > 0 {
            folded.gone.insert(name.to_owned(), gone);
        }
    }
    let (target, of_rows) = (dir.join("lineage.parquet"), || By::Ids(vec!["row_id"]));
    let alive = |batch: &RecordBatch, generation| lives(batch, generation, of_rows());
    let (rows, gone) =
        rewrite(LINEAGE, lineage::schema(), None, &sources(LINEAGE, &of_rows()), &target, alive, visits)?;
    folded.rows.insert(LINEAGE.to_owned(), rows);
    if gone > 0 {
        folded.gone.insert(LINEAGE.to_owned(), gone);
    }
    Ok((folded, dir))
}

/// Rows of some persons, by these files of lineage, of which a later one knows better.
pub(super) fn rows_of(lineage: &[PathBuf], of: impl Fn(i64) -> bool) -> Result<HashSet<i64>, LoadError> {
    let mut found = HashSet::new();
    for path in lineage {
        for batch in columns(path, LINEAGE, &["row_id", "person_id"])? {
            let batch = batch?;
            if let (Some(rows), Some(persons)) = (ids(&batch, "row_id"), ids(&batch, "person_id")) {
                for (row, person) in rows.values().iter().zip(persons.values()) {
                    if of(*person) {
                        found.insert(*row);
                    } else if !found.is_empty() {
                        found.remove(row);
                    }
                }
            }
        }
    }
    Ok(found)
}

/// Takes persons out of the tables, the lineage and the state, by their keys in the source (`Patient.id`). Changes are
/// folded first. Rows of coarse locations and of institutions stay: they are no one's.
///
/// # Errors
/// [`LoadError`] when the folder was loaded with another key or source, or a file cannot be read or written.
pub fn remove_persons(out: &Path, key: &IdKey, source: &str, persons: &[&str]) -> Result<Folded, LoadError> {
    let key = key.of_source(source);
    let mut record = Record::read(out)?.ok_or_else(no_load)?;
    if record.source != source || record.key_check != hex(&key.check()) {
        return Err(LoadError::OtherSource);
    }
    if record.folded < record.generation {
        fold(out)?;
        record = Record::read(out)?.ok_or_else(no_load)?;
    }
    // A load that was cut off before its record may have left rows of theirs.
    for left in [out.join("changes"), out.join(STATE).join("new")] {
        clear(&left)?;
    }
    let mut buffer = Vec::new();
    let gone: HashSet<i64> =
        persons.iter().map(|person| key.row_id(&mut buffer, "person", person.as_bytes(), 0)).collect();
    // Pairs of rows name no person; they go with the rows they name.
    let facts = rows_of(&[out.join("lineage.parquet")], |person| gone.contains(&person))?;
    let (folded, aside) = rewrite_all(
        out,
        |name, _| vec![(out.join(format!("{name}.parquet")), 0)],
        |batch, _, _| {
            let mut keep = vec![true; batch.num_rows()];
            if let Some(persons) = ids(batch, "person_id") {
                keep.iter_mut().zip(persons.values()).for_each(|(keep, person)| *keep = !gone.contains(person));
            }
            for column in ["fact_id_1", "fact_id_2"].iter().filter_map(|column| ids(batch, column)) {
                keep.iter_mut().zip(column.values()).for_each(|(keep, fact)| *keep &= !facts.contains(fact));
            }
            keep
        },
        &Visits::default(),
    )?;
    // The state without them is that of a generation of its own, which counts from the record on.
    let generations = record.generations();
    let files: Vec<_> = generations.clone().map(|past| state_file(out, "items", past)).collect();
    let known = Items::read(&files)?;
    let (mut index, mut spells) = (Index::default(), Vec::new());
    for past in generations.clone() {
        state::read_index(&state_file(out, "index", past), &mut index)?;
    }
    let noted: Vec<_> = generations.clone().map(|past| state_file(out, "spells", past)).collect();
    derive::each_spell(&noted, None, &BTreeSet::new(), |spell, _| {
        if !gone.contains(&spell.person) {
            Noted::Spell(spell).write(&mut spells);
        }
    })?;
    index.persons.retain(|_, person| !gone.contains(&person.id));
    index.visits.own.retain(|_, visit| visit.visit != 0 && !gone.contains(&visit.person));
    for found in [&mut index.specimens, &mut index.drugs] {
        found.retain(|_, row| *row != 0 && !facts.contains(row));
    }
    let mut items = Vec::new();
    let kept = known.entries().iter().filter(|entry| !gone.contains(&entry.person));
    kept.for_each(|entry| entry.write(&mut items));
    let io = |source| LoadError::Io { what: "the state of the load", doing: "written", source };
    let generation = record.generation + 1;
    let staged = out.join(STATE).join("new");
    std::fs::create_dir_all(&staged).map_err(io)?;
    write_whole(&staged.join("items"), &items)?;
    write_whole(&staged.join("spells"), &spells)?;
    state::write_index(&index, File::create(staged.join("index")).map_err(io)?).map_err(io)?;
    write_keys(&staged.join("items"), &staged.join("keys"))?;
    move_state(&staged, out, generation)?;
    clear(&staged)?;
    Record { generation, folded: generation, from: generation, ..record }.put_in_place(out, &aside)?;
    Ok(folded)
}
