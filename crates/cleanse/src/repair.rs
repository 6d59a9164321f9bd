//! Repairs: proposals written to a log; the safe ones are made in new tables, the rest is flagged. Nothing is edited in
//! place.
//!
//! The log names rule, table, row, field and whether the repair was made; values before and after stand in a second table
//! that stays inside the node.
//!
//! Memory: sixteen bytes for each row of the table at hand (a digest, to know repeated rows), and the log.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use acequia_frame::{FrameError, Table};
use acequia_omop::{CdmTable, FieldType};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, StringArray, StringBuilder};
use arrow::buffer::BooleanBuffer;
use arrow::compute::kernels::zip::zip;
use arrow::compute::{cast, filter_record_batch, nullif};
use arrow::datatypes::{DataType, Int64Type};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use crate::CleanseError;
use crate::column::{Column, bits};
use crate::csv_file::Unreadable;
use crate::definition::{Check, Kind};
use crate::index::{Index, NOWHERE, Needs, People};
use crate::rule::Rule;
use crate::tables::Tables;

/// A kind of repair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Repair {
    /// A value of a text file that is not of its field's type is emptied, for a typed table cannot hold it.
    ClearUnreadable,
    /// A known misspelling of a unit is written in UCUM, and the unit's concept filled in where it was 0 or missing.
    UnitSpelling,
    /// Blanks around a source value are removed.
    TrimCode,
    /// Start and end change places where the end is first and both lie in the person's life and the past.
    SwapDates,
    /// Of rows that agree in everything but their key, the first stays.
    DropDuplicate,
    /// An end before the start is emptied, or set to the start where an end is required.
    ClearEnd,
    /// A number outside its plausible range is emptied; the row stays.
    ClearValue,
    /// An event before birth, long after death or in the future leaves its table.
    SetAside,
}

impl Repair {
    /// All, in the order in which they are tried.
    pub const ALL: [Self; 8] = [
        Self::ClearUnreadable,
        Self::UnitSpelling,
        Self::TrimCode,
        Self::SwapDates,
        Self::ClearEnd,
        Self::ClearValue,
        Self::SetAside,
        Self::DropDuplicate,
    ];

    /// Name in the log.
    pub const fn id(self) -> &'static str {
        match self {
            Self::ClearUnreadable => "clear-unreadable",
            Self::UnitSpelling => "unit-spelling",
            Self::TrimCode => "trim-code",
            Self::SwapDates => "swap-dates",
            Self::DropDuplicate => "drop-duplicate",
            Self::ClearEnd => "clear-end",
            Self::ClearValue => "clear-value",
            Self::SetAside => "set-aside",
        }
    }

    /// Whether it is made without being asked for: it loses nothing that could be used.
    pub const fn is_safe(self) -> bool {
        matches!(
            self,
            Self::ClearUnreadable | Self::UnitSpelling | Self::TrimCode | Self::SwapDates | Self::DropDuplicate
        )
    }

    /// The kind of this name.
    pub fn parse(id: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|repair| repair.id() == id)
    }

    /// Those that are made without being asked for.
    pub fn safe() -> BTreeSet<Self> {
        Self::ALL.into_iter().filter(|repair| repair.is_safe()).collect()
    }
}

/// What was proposed and made.
#[derive(Default)]
pub(crate) struct Log {
    rule: Vec<&'static str>,
    table: Vec<&'static str>,
    row_id: Vec<i64>,
    field: Vec<String>,
    made: Vec<bool>,
    original: Vec<Option<String>>,
    new: Vec<Option<String>>,
    /// Rows that left a table.
    pub(crate) removed: BTreeMap<&'static str, u64>,
}

impl Log {
    fn note(
        &mut self,
        repair: Repair,
        table: CdmTable,
        row_id: i64,
        field: &str,
        made: bool,
        change: Option<(&Array1<'_>, &Array1<'_>, usize)>,
    ) {
        self.rule.push(repair.id());
        self.table.push(table.name());
        self.row_id.push(row_id);
        self.field.push(field.to_owned());
        self.made.push(made);
        let (original, new) = change.map_or((None, None), |(before, after, row)| (before.text(row), after.text(row)));
        self.original.push(original);
        self.new.push(new);
    }

    /// Repairs by kind and whether they were made: `trim-code`, or `set-aside (proposed)`.
    pub(crate) fn counts(&self) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for (rule, made) in self.rule.iter().zip(&self.made) {
            let name = if *made { (*rule).to_owned() } else { format!("{rule} (proposed)") };
            *counts.entry(name).or_default() += 1;
        }
        counts
    }

    /// The log, and the values before and after that stay inside. Both in the order of rule, table, row and field.
    pub(crate) fn into_tables(self) -> Result<(Table, Table), FrameError> {
        let mut order: Vec<usize> = (0..self.rule.len()).collect();
        order.sort_by_key(|at| (self.rule[*at], self.table[*at], self.row_id[*at], &self.field[*at]));
        let texts = |value: &dyn Fn(usize) -> Option<String>| -> ArrayRef {
            Arc::new(order.iter().map(|at| value(*at)).collect::<StringArray>())
        };
        let rows: ArrayRef = Arc::new(order.iter().map(|at| self.row_id[*at]).collect::<Int64Array>());
        let named = [
            ("rule_id", texts(&|at| Some(self.rule[at].to_owned()))),
            ("table_name", texts(&|at| Some(self.table[at].to_owned()))),
            ("row_id", rows),
            ("field", texts(&|at| Some(self.field[at].clone()))),
        ];
        let action = texts(&|at| Some(if self.made[at] { "made" } else { "proposed" }.to_owned()));
        let (original, new) = (texts(&|at| self.original[at].clone()), texts(&|at| self.new[at].clone()));
        let table = |name: &str, more: Vec<(&str, ArrayRef)>| {
            let columns = named.iter().map(|(name, column)| (*name, Arc::clone(column))).chain(more);
            let columns = columns.map(|(name, column)| {
                let nullable = matches!(name, "original" | "new");
                (name, column, nullable)
            });
            let batch = RecordBatch::try_from_iter_with_nullable(columns)
                .map_err(|source| FrameError::Arrow { table: name.to_owned(), source })?;
            Table::new(name, vec![batch])
        };
        let log = table("repairs", vec![("action", action)])?;
        let values = table("repair_values", vec![("original", original), ("new", new)])?;
        Ok((log, values))
    }
}

/// A column whose values can be told as text.
struct Array1<'a>(&'a ArrayRef);

impl Array1<'_> {
    fn text(&self, row: usize) -> Option<String> {
        let options = FormatOptions::default();
        let formatter = ArrayFormatter::try_new(self.0.as_ref(), &options).ok()?;
        self.0.is_valid(row).then(|| formatter.value(row).to_string())
    }
}

/// What repairs need to know.
pub(crate) struct Repairer<'a> {
    apply: &'a BTreeSet<Repair>,
    people: Option<People>,
    /// Unit concepts by UCUM code, as far as the corrections need them.
    units: HashMap<String, i64>,
    rules: Vec<(&'a Check, &'a Rule)>,
    today: i32,
    pub(crate) log: Log,
}

/// Spellings and what they are in UCUM; source: UCUM 2.2 and spellings seen in hospital data.
fn spellings() -> HashMap<&'static str, &'static str> {
    let text = include_str!("../data/units.csv");
    text.lines().skip(1).filter_map(|line| line.rsplit_once(',')).collect()
}

/// The right spelling, if the text is a known wrong one.
fn respelled(spellings: &HashMap<&'static str, &'static str>, unit: &str) -> Option<String> {
    let unit = unit.trim();
    if let Some(ucum) = spellings.get(unit) {
        return Some((*ucum).to_owned());
    }
    // The micro sign and the Greek letter are `u` in UCUM.
    if unit.contains(['µ', 'μ']) {
        let plain = unit.replace(['µ', 'μ'], "u");
        return Some(spellings.get(plain.as_str()).map_or(plain, |ucum| (*ucum).to_owned()));
    }
    None
}

/// Pairs of start and end in a table; a date and its time go together.
fn spans(table: CdmTable) -> &'static [[&'static str; 2]] {
    match table {
        CdmTable::VisitOccurrence => {
            &[["visit_start_date", "visit_end_date"], ["visit_start_datetime", "visit_end_datetime"]]
        }
        CdmTable::VisitDetail => &[
            ["visit_detail_start_date", "visit_detail_end_date"],
            ["visit_detail_start_datetime", "visit_detail_end_datetime"],
        ],
        CdmTable::ConditionOccurrence => {
            &[["condition_start_date", "condition_end_date"], ["condition_start_datetime", "condition_end_datetime"]]
        }
        CdmTable::DrugExposure => &[
            ["drug_exposure_start_date", "drug_exposure_end_date"],
            ["drug_exposure_start_datetime", "drug_exposure_end_datetime"],
        ],
        CdmTable::DeviceExposure => &[
            ["device_exposure_start_date", "device_exposure_end_date"],
            ["device_exposure_start_datetime", "device_exposure_end_datetime"],
        ],
        CdmTable::ProcedureOccurrence => {
            &[["procedure_date", "procedure_end_date"], ["procedure_datetime", "procedure_end_datetime"]]
        }
        CdmTable::Episode => {
            &[["episode_start_date", "episode_end_date"], ["episode_start_datetime", "episode_end_datetime"]]
        }
        CdmTable::PayerPlanPeriod => &[["payer_plan_period_start_date", "payer_plan_period_end_date"]],
        CdmTable::ObservationPeriod => &[["observation_period_start_date", "observation_period_end_date"]],
        _ => &[],
    }
}

/// The day an event happened.
fn event_day(table: CdmTable) -> Option<&'static str> {
    Some(match table {
        CdmTable::Measurement => "measurement_date",
        CdmTable::Observation => "observation_date",
        CdmTable::Specimen => "specimen_date",
        CdmTable::Note => "note_date",
        CdmTable::ObservationPeriod | CdmTable::PayerPlanPeriod => return None,
        _ => spans(table).first()?[0],
    })
}

/// Whether rows that agree in everything but their key are the same event twice.
fn has_duplicates(table: CdmTable) -> bool {
    event_day(table).is_some() || table == CdmTable::Death
}

impl<'a> Repairer<'a> {
    pub(crate) fn new(
        tables: &dyn Tables,
        checks: &'a [Check],
        apply: &'a BTreeSet<Repair>,
        today: i32,
    ) -> Result<Self, CleanseError> {
        let index = Index::build(tables, &Needs { people: true, ..Needs::default() })?;
        let rules = checks.iter().filter_map(|check| match &check.kind {
            Kind::Rule(rule) if rule.clear => Some((check, rule.as_ref())),
            _ => None,
        });
        Ok(Self {
            apply,
            people: index.people,
            units: units(tables)?,
            rules: rules.collect(),
            today,
            log: Log::default(),
        })
    }

    /// Whether anything may be changed in the table.
    pub(crate) fn concerns(table: CdmTable) -> bool {
        !table.is_vocabulary() && table.fields().iter().any(|field| field.name == "person_id")
    }

    pub(crate) fn table(&mut self, table: CdmTable) -> TableRepair<'_, 'a> {
        TableRepair { own: self, table, known: HashSet::new(), before: 0, spellings: spellings() }
    }
}

fn units(tables: &dyn Tables) -> Result<HashMap<String, i64>, CleanseError> {
    let wanted: HashSet<&str> = spellings().into_values().collect();
    let pack = acequia_omop::Concepts::bundled();
    let mut units: HashMap<String, i64> =
        wanted.iter().filter_map(|ucum| Some(((*ucum).to_owned(), pack.by_code("UCUM", ucum)?.concept_id))).collect();
    let names = ["concept_id", "vocabulary_id", "concept_code"];
    if !names.iter().all(|name| crate::index::has(tables, CdmTable::Concept, name)) {
        return Ok(units);
    }
    let fields: Vec<_> = names
        .iter()
        .filter_map(|name| CdmTable::Concept.fields().iter().find(|field| field.name == *name))
        .map(|field| crate::tables::Wanted { field, values: true })
        .collect();
    tables.scan(CdmTable::Concept, &fields, &mut |rows| {
        let [id, vocabulary, code] = rows.columns.as_slice() else { return Ok(()) };
        let (Some(vocabularies), Some(codes)) = (vocabulary.texts(), code.texts()) else { return Ok(()) };
        let known = |row: &usize| id.is_valid(*row) && vocabulary.is_valid(*row) && code.is_valid(*row);
        for row in (0..rows.count).filter(known) {
            if vocabularies.get(row) == "UCUM" && wanted.contains(codes.get(row)) {
                units.insert(codes.get(row).to_owned(), id.ints()[row]);
            }
        }
        Ok(())
    })?;
    Ok(units)
}

/// Repairs one table, batch after batch.
pub(crate) struct TableRepair<'r, 'a> {
    own: &'r mut Repairer<'a>,
    table: CdmTable,
    /// Digests of rows so far.
    known: HashSet<[u8; 16]>,
    /// Rows so far.
    before: u64,
    spellings: HashMap<&'static str, &'static str>,
}

impl TableRepair<'_, '_> {
    /// The batch with the repairs that are to be made.
    pub(crate) fn batch(
        &mut self,
        batch: RecordBatch,
        unreadable: Vec<Unreadable>,
    ) -> Result<RecordBatch, CleanseError> {
        let table = self.table;
        let failed = |source: ArrowError| FrameError::Arrow { table: table.name().to_owned(), source };
        let names: Vec<String> = batch.schema().fields().iter().map(|field| field.name().to_lowercase()).collect();
        let at = |name: &str| names.iter().position(|own| own == name);
        let mut columns = batch.columns().to_vec();
        let rows = batch.num_rows();
        let read = |columns: &[ArrayRef], place: usize, field_type: FieldType| {
            Column::read(&columns[place], field_type, true).map_err(failed)
        };

        let key = match table.key().and_then(at) {
            Some(place) => Some(read(&columns, place, FieldType::Integer)?),
            None => None,
        };
        let before = self.before;
        let row_id = |row: usize| match key.as_ref().filter(|key| key.is_valid(row)) {
            Some(key) => key.ints()[row],
            None => i64::try_from(before + row as u64 + 1).unwrap_or(i64::MAX),
        };
        self.before += rows as u64;
        for value in unreadable {
            self.own.log.note(Repair::ClearUnreadable, table, row_id(value.row), &names[value.column], true, None);
            self.own.log.original.pop();
            self.own.log.original.push(Some(value.text));
        }

        self.respell(&mut columns, &names, &row_id).map_err(failed)?;
        self.trim(&mut columns, &names, &row_id).map_err(failed)?;

        // The life of each row's person.
        let lives: Vec<(i32, i32)> = match (&self.own.people, at("person_id")) {
            (Some(people), Some(place)) => {
                let person = read(&columns, place, FieldType::Integer)?;
                let positions = people.keys.positions(person.ints(), person.valid.as_ref());
                let life = |place: &u32| match *place {
                    NOWHERE => (i32::MIN, i32::MAX),
                    place => (people.born[place as usize], people.died[place as usize].saturating_add(60)),
                };
                positions.iter().map(life).collect()
            }
            _ => vec![(i32::MIN, i32::MAX); rows],
        };
        let possible = |row: usize, day: i32| (lives[row].0..=lives[row].1).contains(&day) && day <= self.own.today;

        // Start after end.
        let (swap_made, clear_made) =
            (self.own.apply.contains(&Repair::SwapDates), self.own.apply.contains(&Repair::ClearEnd));
        let mut turned: Vec<(usize, usize, BooleanBuffer, BooleanBuffer)> = Vec::new();
        if let Some([start_name, end_name]) = spans(table).first()
            && let (Some(start_at), Some(end_at)) = (at(start_name), at(end_name))
        {
            let (start, end) = (read(&columns, start_at, FieldType::Date)?, read(&columns, end_at, FieldType::Date)?);
            let (from, to) = (start.days(), end.days());
            let backwards = |row: usize| start.is_valid(row) && end.is_valid(row) && from[row] > to[row];
            let can_swap = |row: usize| possible(row, from[row]) && possible(row, to[row]);
            let swap = bits(rows, |row| backwards(row) && can_swap(row));
            let clear = bits(rows, |row| backwards(row) && !can_swap(row));
            for [start, end] in spans(table) {
                if let (Some(start), Some(end)) = (at(start), at(end)) {
                    turned.push((start, end, swap.clone(), clear.clone()));
                }
            }
        }
        for (start_at, end_at, swap, clear) in turned {
            let (start, end) = (Arc::clone(&columns[start_at]), Arc::clone(&columns[end_at]));
            if swap.count_set_bits() > 0 && start.data_type() == end.data_type() {
                let mask = BooleanArray::new(swap.clone(), None);
                let (new_start, new_end) =
                    (zip(&mask, &end, &start).map_err(failed)?, zip(&mask, &start, &end).map_err(failed)?);
                // A time may be missing where the date is not: a required start is never emptied.
                if new_start.null_count() <= start.null_count() || batch.schema().field(start_at).is_nullable() {
                    for row in swap.set_indices().filter(|row| start.is_valid(*row) || end.is_valid(*row)) {
                        for (place, old, new) in [(start_at, &start, &new_start), (end_at, &end, &new_end)] {
                            let change = Some((&Array1(old), &Array1(new), row));
                            self.own.log.note(Repair::SwapDates, table, row_id(row), &names[place], swap_made, change);
                        }
                    }
                    if swap_made {
                        (columns[start_at], columns[end_at]) = (new_start, new_end);
                    }
                }
            }
            if clear.count_set_bits() > 0 {
                let mask = BooleanArray::new(clear.clone(), None);
                let end = Arc::clone(&columns[end_at]);
                let required = table.fields().iter().any(|field| field.name == names[end_at] && field.required);
                let new_end = if required { zip(&mask, &columns[start_at], &end) } else { nullif(&end, &mask) }
                    .map_err(failed)?;
                for row in clear.set_indices().filter(|row| end.is_valid(*row)) {
                    let change = Some((&Array1(&end), &Array1(&new_end), row));
                    self.own.log.note(Repair::ClearEnd, table, row_id(row), &names[end_at], clear_made, change);
                }
                if clear_made {
                    columns[end_at] = new_end;
                }
            }
        }

        self.clear_values(&mut columns, &names, rows, &row_id)?;

        // Impossible events, then repeated rows.
        let mut keep = vec![true; rows];
        if let Some(place) = event_day(table).and_then(at) {
            let day = read(&columns, place, FieldType::Date)?;
            let made = self.own.apply.contains(&Repair::SetAside);
            for row in (0..rows).filter(|row| day.is_valid(*row)) {
                let happened = day.days()[row];
                if happened < lives[row].0 || happened > lives[row].1 || happened > self.own.today {
                    self.own.log.note(Repair::SetAside, table, row_id(row), "", made, None);
                    keep[row] = !made;
                }
            }
        }
        if has_duplicates(table) {
            self.drop_repeated(&columns, &names, &mut keep, &row_id).map_err(failed)?;
        }
        let removed = keep.iter().filter(|keep| !**keep).count() as u64;
        if removed > 0 {
            *self.own.log.removed.entry(table.name()).or_default() += removed;
        }
        let batch = RecordBatch::try_new(batch.schema(), columns).map_err(failed)?;
        Ok(filter_record_batch(&batch, &BooleanArray::from(keep)).map_err(failed)?)
    }

    fn respell(
        &mut self,
        columns: &mut [ArrayRef],
        names: &[String],
        row_id: &impl Fn(usize) -> i64,
    ) -> Result<(), ArrowError> {
        let Some(place) = names.iter().position(|name| name == "unit_source_value") else { return Ok(()) };
        let made = self.own.apply.contains(&Repair::UnitSpelling);
        let before = Arc::clone(&columns[place]);
        let texts = cast(&before, &DataType::Utf8)?;
        let texts = texts.as_string::<i32>();
        let mut seen: HashMap<&str, Option<String>> = HashMap::new();
        let mut right = Vec::with_capacity(texts.len());
        for text in texts {
            right.push(
                text.and_then(|text| seen.entry(text).or_insert_with(|| respelled(&self.spellings, text)).clone()),
            );
        }
        if right.iter().all(Option::is_none) {
            return Ok(());
        }
        let after: StringArray = texts.iter().zip(&right).map(|(text, right)| right.as_deref().or(text)).collect();
        let after = cast(&after, before.data_type())?;
        for row in (0..right.len()).filter(|row| right[*row].is_some()) {
            let change = Some((&Array1(&before), &Array1(&after), row));
            self.own.log.note(Repair::UnitSpelling, self.table, row_id(row), "unit_source_value", made, change);
        }
        if made {
            columns[place] = after;
        }
        let Some(place) = names.iter().position(|name| name == "unit_concept_id") else { return Ok(()) };
        let before = Arc::clone(&columns[place]);
        let ids = cast(&before, &DataType::Int64)?;
        let ids = ids.as_primitive::<Int64Type>();
        let filled: Vec<Option<i64>> = right
            .iter()
            .enumerate()
            .map(|(row, right)| {
                let empty = ids.is_null(row) || ids.value(row) == 0;
                right.as_ref().filter(|_| empty).and_then(|ucum| self.own.units.get(ucum).copied())
            })
            .collect();
        if filled.iter().any(Option::is_some) {
            let after: Int64Array = ids.iter().zip(&filled).map(|(id, filled)| filled.or(id)).collect();
            let after = cast(&after, before.data_type())?;
            for row in (0..filled.len()).filter(|row| filled[*row].is_some()) {
                let change = Some((&Array1(&before), &Array1(&after), row));
                self.own.log.note(Repair::UnitSpelling, self.table, row_id(row), "unit_concept_id", made, change);
            }
            if made {
                columns[place] = after;
            }
        }
        Ok(())
    }

    fn trim(
        &mut self,
        columns: &mut [ArrayRef],
        names: &[String],
        row_id: &impl Fn(usize) -> i64,
    ) -> Result<(), ArrowError> {
        let made = self.own.apply.contains(&Repair::TrimCode);
        for (place, name) in names.iter().enumerate().filter(|(_, name)| name.ends_with("_source_value")) {
            let before = Arc::clone(&columns[place]);
            if before.null_count() == before.len() {
                continue;
            }
            let texts = cast(&before, &DataType::Utf8)?;
            let texts = texts.as_string::<i32>();
            let padded = |row: &usize| texts.is_valid(*row) && texts.value(*row).trim().len() < texts.value(*row).len();
            let rows: Vec<usize> = (0..texts.len()).filter(padded).collect();
            if rows.is_empty() {
                continue;
            }
            let mut after = StringBuilder::new();
            for text in texts {
                after.append_option(text.map(str::trim).filter(|text| !text.is_empty()));
            }
            let after = cast(&after.finish(), before.data_type())?;
            for row in rows {
                let change = Some((&Array1(&before), &Array1(&after), row));
                self.own.log.note(Repair::TrimCode, self.table, row_id(row), name, made, change);
            }
            if made {
                columns[place] = after;
            }
        }
        Ok(())
    }

    fn clear_values(
        &mut self,
        columns: &mut [ArrayRef],
        names: &[String],
        rows: usize,
        row_id: &impl Fn(usize) -> i64,
    ) -> Result<(), CleanseError> {
        let made = self.own.apply.contains(&Repair::ClearValue);
        let own: Vec<_> = self.own.rules.iter().copied().filter(|(check, _)| check.table == self.table).collect();
        for (check, rule) in own {
            let Some(field) = &check.field else { continue };
            let Some(place) = names.iter().position(|name| name == field) else { continue };
            let mut needed = BTreeMap::new();
            for field in rule.fields() {
                let Some(place) = names.iter().position(|name| *name == field.name) else { continue };
                let column = Column::read(&columns[place], field.field_type, true).map_err(|source| {
                    CleanseError::Column { table: self.table.name(), field: field.name.clone(), source }
                })?;
                needed.insert(field.name.as_str(), column);
            }
            if rule.fields().any(|field| !needed.contains_key(field.name.as_str())) {
                continue;
            }
            let (_, failing) = rule.judge(rows, self.own.today, |name| &needed[name]);
            if failing.count_set_bits() == 0 {
                continue;
            }
            let before = Arc::clone(&columns[place]);
            let after = nullif(&before, &BooleanArray::new(failing.clone(), None))
                .map_err(|source| FrameError::Arrow { table: self.table.name().to_owned(), source })?;
            for row in failing.set_indices().filter(|row| before.is_valid(*row)) {
                let change = Some((&Array1(&before), &Array1(&after), row));
                self.own.log.note(Repair::ClearValue, self.table, row_id(row), field, made, change);
            }
            if made {
                columns[place] = after;
            }
        }
        Ok(())
    }

    fn drop_repeated(
        &mut self,
        columns: &[ArrayRef],
        names: &[String],
        keep: &mut [bool],
        row_id: &impl Fn(usize) -> i64,
    ) -> Result<(), ArrowError> {
        let made = self.own.apply.contains(&Repair::DropDuplicate);
        let content: Vec<ArrayRef> = names
            .iter()
            .zip(columns)
            .filter(|(name, _)| Some(name.as_str()) != self.table.key())
            .map(|(_, column)| Arc::clone(column))
            .collect();
        let fields = content.iter().map(|column| SortField::new(column.data_type().clone())).collect();
        let converted = RowConverter::new(fields)?.convert_columns(&content)?;
        for (row, keep) in keep.iter_mut().enumerate().filter(|(_, keep)| **keep) {
            let digest = blake3::hash(converted.row(row).data());
            let mut first = [0; 16];
            first.copy_from_slice(&digest.as_bytes()[..16]);
            if !self.known.insert(first) {
                self.own.log.note(Repair::DropDuplicate, self.table, row_id(row), "", made, None);
                *keep = !made;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_are_told_apart_from_units_that_are_right() {
        let spellings = spellings();
        let right = |unit: &str| respelled(&spellings, unit);
        assert_eq!(right("K/uL").as_deref(), Some("10*3/uL"));
        assert_eq!(right("µg/dl").as_deref(), Some("ug/dL"));
        assert_eq!(right("μmol/L").as_deref(), Some("umol/L"));
        assert_eq!((right("mg/dL"), right("units"), right("")), (None, None, None));
        assert!(spellings.iter().all(|(wrong, ucum)| wrong != ucum && !spellings.contains_key(ucum)));
    }
}
