//! Tables larger than memory: rows lie on disk, and only distinct tuples are in memory.
//!
//! Reading sorts rows into parts by a hash of their quasi-identifiers' codes, so that all rows of a tuple lie in one part;
//! a part is then counted on its own. The search knows tuples and how many rows each has, never rows. Writing goes through
//! the parts again, sorts rows into ranges of classes, and each range in memory. Memory grows with the number of distinct
//! tuples and of different values, not with the number of rows. What lies on disk are codes in files without a name,
//! beside the table that is written; they vanish with the process.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, Write};
use std::path::Path;
use std::sync::Arc;

use arrow::datatypes::DataType;
use hashbrown::{HashMap, HashSet};

use crate::DeidentifyError;
use crate::attack::Extent;
use crate::coded::{CodedColumn, Coder};
use crate::engine::{Placed, Prepared, Recoded, place, suppression_limit};
use crate::file::{Aside, Rows, kept_type, no_kept_days};
use crate::grouping::{Groups, Histograms, Key};
use crate::policy::{ModelSpec, Policy, Role};
use crate::proof::Receipt;
use crate::receipt::with_transformations;
use crate::search::{Conditions, Goal, NOWHERE, with_words};
use crate::transform::{RowWork, Sampling, Transformation, fixed, mapped, needs_memory};
use crate::verify::Beside;

/// Parts that rows are sorted into.
const PARTS: usize = 64;

/// Rows of a range of classes that are sorted in memory together.
const RANGE_ROWS: u64 = 4_000_000;

/// Records of equal length on disk, written once, then read from the start as often as needed.
struct Spill {
    file: BufWriter<File>,
    width: usize,
    records: u64,
}

fn failed(error: &std::io::Error) -> DeidentifyError {
    DeidentifyError::File { file: "rows kept aside on disk".to_owned(), problem: error.kind().to_string() }
}

impl Spill {
    fn new(folder: &Path, width: usize) -> Result<Self, DeidentifyError> {
        let file = tempfile::tempfile_in(folder).map_err(|error| failed(&error))?;
        Ok(Self { file: BufWriter::with_capacity(1 << 17, file), width, records: 0 })
    }

    fn push(&mut self, record: impl IntoIterator<Item = u32>) -> Result<(), DeidentifyError> {
        for code in record {
            self.file.write_all(&code.to_le_bytes()).map_err(|error| failed(&error))?;
        }
        self.records += 1;
        Ok(())
    }

    fn scan(&mut self, mut each: impl FnMut(&[u32]) -> Result<(), DeidentifyError>) -> Result<(), DeidentifyError> {
        self.file.flush().map_err(|error| failed(&error))?;
        let file = self.file.get_mut();
        file.rewind().map_err(|error| failed(&error))?;
        let mut reader = BufReader::with_capacity(1 << 17, file);
        let (mut bytes, mut codes) = (vec![0; self.width * 4], vec![0; self.width]);
        for _ in 0..self.records {
            reader.read_exact(&mut bytes).map_err(|error| failed(&error))?;
            for (code, bytes) in codes.iter_mut().zip(bytes.as_chunks::<4>().0) {
                *code = u32::from_le_bytes(*bytes);
            }
            each(&codes)?;
        }
        Ok(())
    }
}

/// Person ids on disk, to see that each comes once.
struct Persons(Vec<BufWriter<File>>);

impl Persons {
    fn new(folder: &Path) -> Result<Self, DeidentifyError> {
        let file = |_| Ok(BufWriter::with_capacity(1 << 15, tempfile::tempfile_in(folder)?));
        Ok(Self((0..PARTS).map(file).collect::<Result<_, std::io::Error>>().map_err(|error| failed(&error))?))
    }

    fn push(&mut self, id: &str) -> Result<(), DeidentifyError> {
        let part = part_of(id.bytes().map(u32::from));
        let length = u32::try_from(id.len()).unwrap_or(u32::MAX);
        let written =
            self.0[part].write_all(&length.to_le_bytes()).and_then(|()| self.0[part].write_all(id.as_bytes()));
        written.map_err(|error| failed(&error))
    }

    fn all_differ(self) -> Result<bool, DeidentifyError> {
        for part in self.0 {
            let mut file = part.into_inner().map_err(|error| failed(error.error()))?;
            file.rewind().map_err(|error| failed(&error))?;
            let mut reader = BufReader::with_capacity(1 << 17, file);
            let (mut length, mut seen) = ([0; 4], HashSet::new());
            while reader.read_exact(&mut length).is_ok() {
                let mut id = vec![0; u32::from_le_bytes(length) as usize].into_boxed_slice();
                reader.read_exact(&mut id).map_err(|error| failed(&error))?;
                if !seen.insert(id) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }
}

fn part_of(codes: impl IntoIterator<Item = u32>) -> usize {
    let mixed = codes.into_iter().fold(0x9e37_79b9_7f4a_7c15_u64, |hash, code| {
        (hash ^ u64::from(code)).wrapping_mul(0xda94_2042_e4dd_58b5).rotate_left(29)
    });
    (mixed >> 32) as usize % PARTS
}

/// A table whose rows lie on disk.
struct LargeTable {
    /// Quasi-identifiers in order of name, then the other kept columns in the order of the file. They have no codes of rows.
    columns: Vec<Arc<CodedColumn>>,
    quasi_identifiers: usize,
    /// For each column, the code of each code on disk.
    places: Vec<Vec<u32>>,
    /// Kept columns in the order of the file.
    header: Vec<String>,
    delimiter: u8,
    types: BTreeMap<String, DataType>,
    /// For each row, codes of the columns, and 1 for rows of a population table.
    parts: Vec<Spill>,
    rows: usize,
    /// What was done while rows were read, and what to their values then.
    steps: Vec<Transformation>,
    sampling: Option<Sampling>,
}

/// De-identifies a table without holding its rows in memory.
pub(crate) fn deidentify_large(
    table: &Path,
    population: Option<&Path>,
    policy: &Policy,
    files: &BTreeMap<String, Vec<u8>>,
    out: &Path,
) -> Result<Receipt, DeidentifyError> {
    policy.check()?;
    if policy.models.iter().any(ModelSpec::needs_population) && population.is_none() {
        return Err(DeidentifyError::Population { problem: "is missing" });
    }
    let folder = out.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
    needs_memory(policy)?;
    let mut read = LargeTable::read(table, population, policy, files, folder)?;
    let columns = read.columns.clone();
    let column = |name: &str| {
        let problem = "in the policy but not in the table";
        let unknown = || DeidentifyError::Columns { column: name.to_owned(), problem };
        columns.iter().find(|column| column.name == name).cloned().ok_or_else(unknown)
    };
    let prepared = Prepared::new(policy, files, read.rows, column)?;
    let whole = prepared.whole();
    let conditions = prepared.conditions(policy, files)?;
    let goal = Goal { metric: policy.metric, limit: suppression_limit(policy, read.rows) };
    let words = prepared.lattice().words;
    let placed = with_words!(words, place_tuples(&mut read, &prepared, &conditions, policy, goal))?;
    let recoded = prepared.released(policy, goal, Vec::new(), placed)?;
    let aside = Aside::new(out);
    with_words!(words, write(&mut read, &aside, &recoded, folder))?;
    // What attacks beyond the gate's look at are rows, and those are on disk.
    let beside = Beside { whole: Some(&whole), hierarchy_files: Some(files), population };
    let receipt = aside.recount_and_name(policy, &beside, &recoded, &[], Extent::Gate)?;
    read.steps.extend(recoded.columns.iter().filter_map(crate::encode::QuasiIdentifier::rare_step));
    Ok(with_transformations(receipt, policy, read.steps, read.sampling))
}

fn place_tuples<const W: usize>(
    table: &mut LargeTable,
    prepared: &Prepared,
    conditions: &Conditions,
    policy: &Policy,
    goal: Goal,
) -> Result<Placed, DeidentifyError> {
    let tuples = table.tuples::<W>(prepared)?;
    Ok(place(&prepared.lattice(), tuples, conditions, policy, goal))
}

impl LargeTable {
    fn read(
        table: &Path,
        population: Option<&Path>,
        policy: &Policy,
        files: &BTreeMap<String, Vec<u8>>,
        folder: &Path,
    ) -> Result<Self, DeidentifyError> {
        let unknown = |column: &str, problem| DeidentifyError::Columns { column: column.to_owned(), problem };
        let mut file = Rows::open(table)?;
        if let Some(column) = file.headers.iter().find(|name| !policy.columns.contains_key(*name)) {
            return Err(unknown(column, "in the table but not in the policy"));
        }
        let kept = |name: &&String| policy.columns.get(*name).is_some_and(|column| column.role.is_released());
        let header: Vec<String> = file.headers.iter().filter(kept).cloned().collect();
        let mut names: Vec<String> = policy.of_role(Role::QuasiIdentifier).map(|(name, _)| name.to_owned()).collect();
        let quasi_identifiers = names.len();
        let others: Vec<String> = header.iter().filter(|name| !names.contains(name)).cloned().collect();
        names.extend(others);
        let (delimiter, types) = (file.delimiter, file.types.clone());
        let person_id = policy.of_role(Role::PersonId).next().map(|(name, _)| name);
        let id_place = person_id.and_then(|id| file.headers.iter().position(|column| column == id));
        let mut persons = id_place.map(|_| Persons::new(folder)).transpose()?;
        let not_one_row = || DeidentifyError::NotOneRowPerPerson { column: person_id.unwrap_or_default().to_owned() };

        let mut work = RowWork::new(policy, files, &file.headers, table)?;
        let mut coders: Vec<Coder> = names.iter().map(|name| Coder::new(name)).collect();
        let mut parts: Vec<Spill> =
            (0..PARTS).map(|_| Spill::new(folder, names.len() + 1)).collect::<Result<_, _>>()?;
        let mut rows = 0_usize;
        let mut codes = Vec::with_capacity(names.len() + 1);
        for part in std::iter::once(None).chain(population.map(Some)) {
            if let Some(path) = part {
                file = Rows::open(path)?;
                coders.iter_mut().for_each(Coder::population);
            }
            let place = |name: &String| file.headers.iter().position(|column| column == name);
            let places: Vec<usize> = names
                .iter()
                .map(|name| place(name).ok_or_else(|| unknown(name, "in the policy but not in the table")))
                .collect::<Result<_, _>>()?;
            while file.next()? {
                codes.clear();
                match work.as_mut().filter(|_| part.is_none()) {
                    None => codes.extend(coders.iter_mut().zip(&places).map(|(coder, at)| coder.code(file.field(*at)))),
                    Some(work) => {
                        if !work.draws(&file) {
                            continue;
                        }
                        for (coder, at) in coders.iter_mut().zip(&places) {
                            coder.at_row(work.rows - 1);
                            codes.push(coder.code(work.field(&file, *at)?.as_deref()));
                        }
                    }
                }
                codes.push(u32::from(part.is_some()));
                parts[part_of(codes[..quasi_identifiers].iter().copied())].push(codes.iter().copied())?;
                if part.is_none() {
                    rows += 1;
                    if let (Some(persons), Some(at)) = (&mut persons, id_place) {
                        persons.push(file.field(at).ok_or_else(not_one_row)?)?;
                    }
                }
            }
        }
        if let Some(persons) = persons
            && !persons.all_differ()?
        {
            return Err(not_one_row());
        }
        let (sampling, mut steps) = work.map_or(Ok((None, Vec::new())), |work| work.finish(policy))?;
        let (mut columns, mut all_places) = (Vec::new(), Vec::new());
        for coder in coders {
            let (mut column, mut places) = coder.finish_with_places();
            if let Some((values, step)) = fixed(policy, &column)? {
                let (other, moved) = mapped(&column, &values);
                places.iter_mut().for_each(|place| *place = moved[*place as usize]);
                column = other;
                steps.push(step);
            }
            columns.push(Arc::new(column));
            all_places.push(places);
        }
        no_kept_days(policy, &columns, &types)?;
        let places = all_places;
        Ok(Self { columns, quasi_identifiers, places, header, delimiter, types, parts, rows, steps, sampling })
    }

    /// Distinct tuples with what the conditions look at, part by part.
    fn tuples<const W: usize>(&mut self, prepared: &Prepared) -> Result<Groups<W>, DeidentifyError> {
        let lattice = prepared.lattice();
        // Where each sensitive column is in a record, and the code that conditions know for each code there.
        let sensitive: Vec<(usize, Vec<u32>)> = prepared
            .sensitive_names()
            .filter_map(|name| {
                let at = self.columns.iter().position(|column| column.name == name)?;
                let (_, natural) = CodedColumn::clone(&self.columns[at]).in_natural_order_with_places();
                let through = |code: &u32| natural.as_ref().map_or(*code, |natural| natural[*code as usize]);
                Some((at, self.places[at].iter().map(through).collect()))
            })
            .collect();
        let (mut keys, mut rows, mut population) = (Vec::<Key<W>>::new(), Vec::<u32>::new(), Vec::<u32>::new());
        let mut starts: Vec<Vec<u32>> = vec![vec![0]; sensitive.len()];
        let mut pairs: Vec<Vec<(u32, u64)>> = vec![Vec::new(); sensitive.len()];
        let many = |count: usize| u32::try_from(count).expect("fewer than 2^32 distinct tuples");
        let mut any_population = false;
        let (fields, places) = (&lattice.fields, &self.places);
        for part in &mut self.parts {
            let mut known: HashMap<Key<W>, u32> = HashMap::new();
            let before = keys.len();
            let mut counts: Vec<Vec<Vec<(u32, u64)>>> = vec![Vec::new(); sensitive.len()];
            part.scan(|record| {
                let mut key = [0; W];
                for ((field, places), code) in fields.iter().zip(places).zip(record) {
                    field.set(&mut key, places[*code as usize]);
                }
                let next = many(keys.len() - before);
                let tuple = *known.entry(key).or_insert(next);
                let at = before + tuple as usize;
                if tuple == next {
                    keys.push(key);
                    rows.push(0);
                    population.push(0);
                    counts.iter_mut().for_each(|counts| counts.push(Vec::new()));
                }
                if record.last() == Some(&1) {
                    any_population = true;
                    population[at] += 1;
                    return Ok(());
                }
                rows[at] += 1;
                for ((at, codes), counts) in sensitive.iter().zip(&mut counts) {
                    let value = codes[record[*at] as usize];
                    let counts = &mut counts[tuple as usize];
                    match counts.iter_mut().find(|(other, _)| *other == value) {
                        Some((_, count)) => *count += 1,
                        None => counts.push((value, 1)),
                    }
                }
                Ok(())
            })?;
            for ((counts, starts), pairs) in counts.into_iter().zip(&mut starts).zip(&mut pairs) {
                for mut of_tuple in counts {
                    of_tuple.sort_unstable();
                    pairs.extend(of_tuple);
                    starts.push(many(pairs.len()));
                }
            }
        }
        // Parts follow the order of rows; tuples must not.
        let mut order: Vec<u32> = (0..many(keys.len())).collect();
        order.sort_unstable_by_key(|at| keys[*at as usize]);
        let in_order = |values: &[u32]| order.iter().map(|at| values[*at as usize]).collect::<Vec<_>>();
        let histograms = starts.iter().zip(&pairs).map(|(starts, pairs)| {
            let of_tuple = |at: &u32| pairs[starts[*at as usize] as usize..starts[*at as usize + 1] as usize].to_vec();
            Histograms::new(order.iter().map(of_tuple))
        });
        Ok(Groups {
            sensitive: histograms.collect(),
            rows: in_order(&rows),
            population: if any_population { in_order(&population) } else { Vec::new() },
            keys: order.iter().map(|at| keys[*at as usize]).collect(),
        })
    }
}

/// Writes the released rows in the order of what they hold: ranges of classes one after the other, each sorted in memory.
fn write<const W: usize>(
    table: &mut LargeTable,
    aside: &Aside<'_>,
    recoded: &Recoded,
    folder: &Path,
) -> Result<(), DeidentifyError> {
    let (class_of, labels) = recoded.released_classes();
    let others = table.quasi_identifiers..table.columns.len();
    // Where a kept column is: among the labels of a class, or among the other codes of a record.
    enum From {
        Label(usize),
        Code(usize),
    }
    let (mut sources, mut columns) = (Vec::new(), Vec::new());
    for name in &table.header {
        let quasi = recoded.columns.iter().position(|column| column.coded.name == *name);
        let exact = quasi.is_none_or(|at| recoded.levels_used(at).1 == 0);
        columns.push((name.clone(), if exact { kept_type(table.types.get(name)) } else { DataType::Utf8 }));
        let code = others.clone().position(|at| table.columns[at].name == *name);
        sources.push(quasi.map(From::Label).or(code.map(From::Code)));
    }
    let mut rows_of = vec![0_u64; labels.len()];
    for (tuple, rows) in recoded.tuples.rows.iter().enumerate() {
        if recoded.local.of_tuple[tuple] != NOWHERE {
            rows_of[class_of[tuple] as usize] += u64::from(*rows);
        }
    }
    let mut writer = aside.writer(columns, table.delimiter)?;
    if others.is_empty() {
        for (labels, rows) in labels.iter().zip(rows_of) {
            for _ in 0..rows {
                writer.row(
                    sources.iter().map(|from| if let Some(From::Label(at)) = from { labels[*at] } else { None }),
                )?;
            }
        }
        return writer.finish();
    }
    let mut range_of = Vec::with_capacity(labels.len());
    let (mut range, mut filled) = (0_usize, 0_u64);
    for rows in &rows_of {
        if filled > 0 && filled + rows > RANGE_ROWS {
            (range, filled) = (range + 1, 0);
        }
        filled += rows;
        range_of.push(range);
    }
    let width = 1 + others.len();
    let mut ranges: Vec<Spill> = (0..=range).map(|_| Spill::new(folder, width)).collect::<Result<_, _>>()?;
    let (fields, places) = (recoded.tuples.fields(), &table.places);
    for part in &mut table.parts {
        let mut known: HashMap<Key<W>, u32> = HashMap::new();
        part.scan(|record| {
            if record.last() == Some(&1) {
                return Ok(());
            }
            let mut key = [0; W];
            for ((field, places), code) in fields.iter().zip(places).zip(record) {
                field.set(&mut key, places[*code as usize]);
            }
            let class = *known.entry(key).or_insert_with(|| {
                let tuple = recoded.tuples.find(&key).filter(|tuple| recoded.local.of_tuple[*tuple] != NOWHERE);
                tuple.map_or(NOWHERE, |tuple| class_of[tuple])
            });
            if class == NOWHERE {
                return Ok(());
            }
            let codes = others.clone().map(|at| places[at][record[at] as usize]);
            ranges[range_of[class as usize]].push(std::iter::once(class).chain(codes))
        })?;
    }
    for mut range in ranges {
        let mut records: Vec<u32> = Vec::with_capacity(usize::try_from(range.records).unwrap_or(0) * width);
        range.scan(|record| {
            records.extend_from_slice(record);
            Ok(())
        })?;
        let mut order: Vec<&[u32]> = records.chunks_exact(width).collect();
        order.sort_unstable();
        for record in order {
            let labels = &labels[record[0] as usize];
            writer.row(sources.iter().map(|from| match from {
                Some(From::Label(at)) => labels[*at],
                Some(From::Code(at)) => {
                    let column = &table.columns[others.start + at];
                    column.values[record[1 + at] as usize].as_deref()
                }
                None => None,
            }))?;
        }
    }
    writer.finish()
}
