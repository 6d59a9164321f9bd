//! All tables of a set of persons, shifted together: as Arrow tables, or from files to files.
//!
//! A table is gone through batch by batch, first to see how days and codes are spread, then to shift. Written rows come in
//! the order of the pseudonyms, and within a person in the order they had: the order of a table is often that of the true
//! days. Where a table might need more than the memory given, persons are taken in parts and the table is read once for
//! each.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use acequia_frame::{FrameError, ParquetFile, Table};
use acequia_types::{Day, spreadsheet_safe};
use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, StringArray, StringBuilder, UInt32Array};
use arrow::compute::{cast, concat_batches, filter_record_batch, take_record_batch};
use arrow::datatypes::{
    DataType, Date32Type, Date64Type, Field, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use chrono::Months;
use hashbrown::HashMap;
use serde::{Deserialize, Serialize};

use super::recovery::{Recovery, Survey};
use super::{DateShift, PersonShift, ShiftKey, day_of, since_epoch, week};
use crate::DeidentifyError;
use crate::file::{Rows, is_parquet, wrong as wrong_file};
use crate::transform::{OLDEST_AGE, number, wrong};

/// How tables are shifted. Unknown keys are refused.
///
/// ```
/// let plan: acequia_deidentify::ShiftPlan = toml::from_str(r#"
///     person = "patient_id"         # the column that names the person, in every table
///     key = "dates.key"             # 64 hex digits, beside this file; `acequia shift-dates --new-key` makes it
///     days_max = 364                # largest shift
///     step_days = 7                 # whole weeks
///     window = { from = "2015-01-01", to = "2024-12-31" }
///     calendar_bound = ["U07"]      # codes that begin so are blanked
///     [tables.visits]               # by the name of the file, without its ending
///     dates = ["admitted", "discharged"]
///     births = ["born"]
///     ages = ["age"]
///     codes = ["diagnosis"]
///     drop = ["record_number"]
/// "#)?;
/// assert_eq!(plan.tables["visits"].dates.len(), 2);
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShiftPlan {
    /// Column that names the person, in every table. Released as a pseudonym.
    pub person: String,
    /// File of the key; see [`ShiftKey`].
    pub key: String,
    /// Largest shift, in days, in both directions.
    pub days_max: u32,
    /// Shifts are multiples of so many days: 7 keeps weekdays.
    #[serde(default = "week")]
    pub step_days: u32,
    /// When the data were collected. Rows that could not be where they are under every shift are left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
    /// Codes that belong to a time; those that begin so are blanked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub calendar_bound: Vec<String>,
    /// The tables, by name of the file without its ending.
    pub tables: BTreeMap<String, TablePlan>,
}

/// First and last day of collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// First day.
    pub from: Day,
    /// Last day.
    pub to: Day,
}

/// What the columns of a table are; those not named are kept. A column of days that is not named is refused.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TablePlan {
    /// Days, with or without a time: shifted.
    pub dates: Vec<String>,
    /// Days or years of birth: only the year is kept, and nothing of people over 89.
    pub births: Vec<String>,
    /// Ages in years: over 89 is 90.
    pub ages: Vec<String>,
    /// Codes: those that belong to a time are blanked.
    pub codes: Vec<String>,
    /// Columns that are left out.
    pub drop: Vec<String>,
}

/// What was done, as `acequia-date-shift/1`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShiftReceipt {
    /// `acequia-date-shift/1`.
    pub schema: String,
    /// Largest shift, in days, in both directions.
    pub days_max: u32,
    /// Shifts are multiples of so many days.
    pub step_days: u32,
    /// How many shifts there are.
    pub shifts: u64,
    /// What is released of weekdays, in words.
    pub weekdays: String,
    /// Persons.
    pub persons: u64,
    /// First and last released day that is possible under every shift.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released_window: Option<Window>,
    /// Codes that were blanked because they belong to a time, beside those the plan names.
    pub blanked_codes: Vec<String>,
    /// Persons over 89 whose birth is left out.
    pub births_left_out: u64,
    /// Each table.
    pub tables: Vec<ShiftedTable>,
    /// The attack that was run.
    pub recovery: Recovery,
    /// Who rechecked.
    pub verified_by: String,
}

/// What was done to a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShiftedTable {
    /// Its name.
    pub table: String,
    /// Rows that came in.
    pub rows: u64,
    /// Rows that went out.
    pub released: u64,
    /// Rows left out because a day lies too near an edge of the window.
    pub truncated: u64,
    /// Days that were shifted.
    pub days: u64,
    /// Codes that were blanked.
    pub codes_blanked: u64,
    /// Ages over 89.
    pub ages_pooled: u64,
}

impl ShiftPlan {
    fn shift(&self) -> DateShift {
        DateShift { key: self.key.clone(), days_max: self.days_max, step_days: self.step_days }
    }

    /// Refuses a plan that contradicts itself.
    fn check(&self) -> Result<(), DeidentifyError> {
        self.shift().check()?;
        for (name, table) in &self.tables {
            let mut all: Vec<&String> =
                [&table.dates, &table.births, &table.ages, &table.codes, &table.drop].into_iter().flatten().collect();
            all.push(&self.person);
            all.sort_unstable();
            if let Some(twice) = all.windows(2).find(|pair| pair[0] == pair[1]) {
                return Err(wrong(format!("tables.{name}: column {} is named twice", twice[0])));
            }
        }
        if self.window.is_some_and(|_| self.released_window().is_none()) {
            return Err(wrong("window: nothing is left of it when days_max is taken off both ends".to_owned()));
        }
        Ok(())
    }

    /// Days that are possible under every shift.
    fn released_window(&self) -> Option<Window> {
        let window = self.window?;
        let most = chrono::Days::new(u64::from(self.days_max / self.step_days.max(1) * self.step_days.max(1)));
        let (from, to) = (window.from.checked_add_days(most)?, window.to.checked_sub_days(most)?);
        (from <= to).then_some(Window { from, to })
    }
}

/// What a column is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    Person,
    Date,
    Birth,
    Age,
    Code,
    Keep,
    Drop,
}

fn uses(plan: &ShiftPlan, table: &str, schema: &Schema) -> Result<Vec<Use>, DeidentifyError> {
    let named = plan.tables.get(table).ok_or_else(|| wrong(format!("tables.{table}: the table is not in the plan")))?;
    let missing = |column: &String| DeidentifyError::Columns {
        column: format!("{table}.{column}"),
        problem: "in the plan but not in the table",
    };
    let all = [&named.dates, &named.births, &named.ages, &named.codes, &named.drop].into_iter().flatten();
    for column in all.chain(std::iter::once(&plan.person)) {
        if schema.index_of(column).is_err() {
            return Err(missing(column));
        }
    }
    let of = |field: &Arc<Field>| {
        let name = field.name();
        let lists = [
            (Use::Date, &named.dates),
            (Use::Birth, &named.births),
            (Use::Age, &named.ages),
            (Use::Code, &named.codes),
            (Use::Drop, &named.drop),
        ];
        let found = lists.into_iter().find(|(_, list)| list.contains(name)).map(|(found, _)| found);
        let what = if *name == plan.person { Use::Person } else { found.unwrap_or(Use::Keep) };
        let days = matches!(field.data_type(), DataType::Date32 | DataType::Date64 | DataType::Timestamp(..));
        if days && !matches!(what, Use::Date | Use::Birth | Use::Drop) {
            let problem = "holds days: name it under dates, births or drop";
            return Err(DeidentifyError::Type { column: format!("{table}.{name}"), problem });
        }
        Ok(what)
    };
    schema.fields().iter().map(of).collect()
}

/// A batch with its columns as text beside it where text is looked at.
struct Seen<'a> {
    table: &'a str,
    uses: &'a [Use],
    batch: &'a RecordBatch,
    /// Rows before the batch.
    before: u64,
}

/// A column as text.
fn texts(table: &str, name: &str, column: &ArrayRef) -> Result<StringArray, DeidentifyError> {
    if let Some(texts) = column.as_string_opt::<i32>() {
        return Ok(texts.clone());
    }
    let refused =
        || DeidentifyError::Type { column: format!("{table}.{name}"), problem: "the type cannot be read as text" };
    let options = FormatOptions::default();
    let formatter = ArrayFormatter::try_new(column.as_ref(), &options).map_err(|_| refused())?;
    let mut out = StringBuilder::new();
    for row in 0..column.len() {
        if column.is_null(row) {
            out.append_null();
        } else {
            out.append_value(formatter.value(row).try_to_string().map_err(|_| refused())?);
        }
    }
    Ok(out.finish())
}

impl Seen<'_> {
    fn name(&self, at: usize) -> String {
        self.batch.schema_ref().field(at).name().clone()
    }

    fn text(&self, at: usize) -> Result<StringArray, DeidentifyError> {
        texts(self.table, &self.name(at), self.batch.column(at))
    }

    fn value(&self, row: usize, at: usize, problem: &'static str) -> DeidentifyError {
        let row = usize::try_from(self.before).unwrap_or(usize::MAX).saturating_add(row + 1);
        DeidentifyError::Value { row, column: format!("{}.{}", self.table, self.name(at)), problem }
    }

    fn columns(&self, of: Use) -> impl Iterator<Item = usize> + '_ {
        self.uses.iter().enumerate().filter(move |(_, what)| **what == of).map(|(at, _)| at)
    }

    fn persons(&self) -> Result<StringArray, DeidentifyError> {
        let at = self.columns(Use::Person).next().unwrap_or(0);
        let persons = self.text(at)?;
        match (0..persons.len()).find(|row| text_at(&persons, *row).is_none()) {
            Some(row) => Err(self.value(row, at, "the person is missing")),
            None => Ok(persons),
        }
    }

    /// Days since 1970-01-01 of a column; missing ones are none.
    fn days(&self, at: usize) -> Result<Vec<Option<i64>>, DeidentifyError> {
        let column = self.text(at)?;
        let day = |row: usize| match text_at(&column, row) {
            None => Ok(None),
            Some(text) => match day_of(text) {
                Some((day, _)) => Ok(Some(since_epoch(day))),
                None => Err(self.value(row, at, "not a day (YYYY-MM-DD)")),
            },
        };
        (0..column.len()).map(day).collect()
    }
}

/// A text; an empty one is missing.
fn text_at(column: &StringArray, row: usize) -> Option<&str> {
    column.is_valid(row).then(|| column.value(row)).filter(|text| !text.is_empty())
}

/// What the first pass learns.
#[derive(Default)]
struct First {
    survey: Survey,
    persons: hashbrown::HashSet<u128>,
    /// Last day of each person, and first day that could be the birth; of persons with a birth.
    last: HashMap<u128, i64>,
    births: HashMap<u128, i64>,
}

/// A person as a number: 128 bits of the pseudonym.
fn identity(pseudonym: &str) -> u128 {
    u128::from_str_radix(pseudonym, 16).unwrap_or(0)
}

/// The year of a birth, and its last possible day where only the year is known.
fn birth_of(text: &str) -> Option<(i32, i64)> {
    use chrono::Datelike;
    if let Some((day, _)) = day_of(text) {
        return Some((day.year(), since_epoch(day)));
    }
    let year: i32 = text.trim().parse().ok().filter(|year| (1800..2200).contains(year))?;
    Some((year, since_epoch(Day::from_ymd_opt(year, 1, 1)?)))
}

impl First {
    fn look(&mut self, seen: &Seen<'_>, shift: &PersonShift, likely: &mut [(u64, u64)]) -> Result<(), DeidentifyError> {
        let persons = seen.persons()?;
        let dates: Vec<Vec<Option<i64>>> = seen.columns(Use::Date).map(|at| seen.days(at)).collect::<Result<_, _>>()?;
        let codes: Vec<StringArray> = seen.columns(Use::Code).map(|at| seen.text(at)).collect::<Result<_, _>>()?;
        let births: Vec<(usize, StringArray)> =
            seen.columns(Use::Birth).map(|at| Ok((at, seen.text(at)?))).collect::<Result<_, DeidentifyError>>()?;
        let mut known: Option<(String, u128)> = None;
        for row in 0..persons.len() {
            let person = persons.value(row);
            // Rows of a person often come together.
            if known.as_ref().is_none_or(|(last, _)| last != person) {
                known = Some((person.to_owned(), identity(&shift.pseudonym(person))));
            }
            let id = known.as_ref().map_or(0, |(_, id)| *id);
            self.persons.insert(id);
            let days = dates.iter().filter_map(|days| days[row]);
            let first = days.clone().next();
            for day in days {
                self.survey.event(person, day, None);
                let last = self.last.entry(id).or_insert(day);
                *last = (*last).max(day);
            }
            for codes in &codes {
                if let (Some(code), Some(day)) = (text_at(codes, row), first) {
                    self.survey.event(person, day, Some(code));
                }
            }
            for (at, births) in &births {
                let Some(text) = text_at(births, row) else { continue };
                let (_, day) =
                    birth_of(text).ok_or_else(|| seen.value(row, *at, "not a day (YYYY-MM-DD) or a year of birth"))?;
                if day_of(text).is_some() {
                    self.survey.birth(person, day);
                }
                let born = self.births.entry(id).or_insert(day);
                *born = (*born).min(day);
            }
        }
        // Columns that are kept must not hold days.
        for (at, (values, days)) in likely.iter_mut().enumerate() {
            if seen.uses[at] != Use::Keep || !matches!(seen.batch.column(at).data_type(), DataType::Utf8) {
                continue;
            }
            let column = seen.text(at)?;
            for text in (0..column.len()).filter_map(|row| text_at(&column, row)) {
                *values += 1;
                let digits = text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_digit());
                let written = digits.then(|| format!("{}-{}-{}", &text[..4], &text[4..6], &text[6..]));
                let is_day = day_of(written.as_deref().unwrap_or(text)).is_some();
                *days += u64::from(is_day);
            }
        }
        Ok(())
    }

    /// Persons who are over 89 on their last day.
    fn oldest(&self) -> BTreeSet<u128> {
        let day = |days: i64| Day::default().checked_add_signed(chrono::TimeDelta::days(days));
        let over = |(id, born): (&u128, &i64)| {
            let ninetieth = day(*born)?.checked_add_months(Months::new(OLDEST_AGE * 12))?;
            let last = self.last.get(id).and_then(|last| day(*last))?;
            (last >= ninetieth).then_some(*id)
        };
        self.births.iter().filter_map(over).collect()
    }
}

/// How the second pass works.
struct Second<'a> {
    plan: &'a ShiftPlan,
    shift: &'a PersonShift,
    window: Option<(i64, i64)>,
    blanked: &'a BTreeSet<String>,
    oldest: &'a BTreeSet<u128>,
    /// Days by which the texts of a person moved, told from the texts themselves.
    moved: HashMap<u128, i64>,
}

/// The schema of what is released.
fn released_schema(schema: &Schema, uses: &[Use]) -> SchemaRef {
    let fields = schema.fields().iter().zip(uses).filter(|(_, what)| **what != Use::Drop).map(|(field, what)| {
        let kind = match (what, field.data_type()) {
            (Use::Person, _) => DataType::Utf8,
            (Use::Birth, DataType::Utf8 | DataType::LargeUtf8) => DataType::Utf8,
            (Use::Birth, _) => DataType::Int64,
            (_, kind) => kind.clone(),
        };
        Field::new(field.name(), kind, true)
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

impl Second<'_> {
    fn is_blank(&self, code: &str) -> bool {
        is_blank(self.plan, self.blanked, code)
    }

    /// The rows of a batch that belong to a part of the persons, shifted, with their pseudonyms.
    fn shifted(
        &mut self,
        seen: &Seen<'_>,
        schema: &SchemaRef,
        part: (u128, u128),
        done: &mut ShiftedTable,
    ) -> Result<(RecordBatch, Vec<u128>), DeidentifyError> {
        let failed = |source| FrameError::Arrow { table: seen.table.to_owned(), source };
        let persons = seen.persons()?;
        let pseudonyms: Vec<String> = persons.iter().flatten().map(|person| self.shift.pseudonym(person)).collect();
        let ids: Vec<u128> = pseudonyms.iter().map(|pseudonym| identity(pseudonym)).collect();
        // Parts follow the order of pseudonyms, so that together they are in order.
        let is_in: Vec<bool> = ids.iter().map(|id| ((id >> 64) * part.1) >> 64 == part.0).collect();
        let by: Vec<i64> = persons.iter().flatten().map(|person| self.shift.days(person)).collect();
        let mut stays = is_in.clone();
        for at in seen.columns(Use::Date) {
            for (row, day) in seen.days(at)?.into_iter().enumerate() {
                let outside =
                    |day: i64| self.window.is_some_and(|(first, last)| !(first..=last).contains(&(day + by[row])));
                stays[row] &= !day.is_some_and(outside);
            }
        }
        done.rows += is_in.iter().filter(|is_in| **is_in).count() as u64;
        done.released += stays.iter().filter(|stays| **stays).count() as u64;
        let mut arrays: Vec<ArrayRef> = Vec::new();
        for (at, what) in seen.uses.iter().enumerate() {
            let column = seen.batch.column(at);
            let array: ArrayRef = match what {
                Use::Drop => continue,
                Use::Keep => Arc::clone(column),
                Use::Person => Arc::new(StringArray::from_iter_values(&pseudonyms)),
                Use::Date => {
                    let valid = |row: &usize| stays[*row] && column.is_valid(*row);
                    done.days += (0..column.len()).filter(valid).count() as u64;
                    shifted_array(column, &by).ok_or_else(|| DeidentifyError::Type {
                        column: format!("{}.{}", seen.table, seen.name(at)),
                        problem: "a day cannot be shifted: the type holds no days, or the calendar ends",
                    })?
                }
                Use::Birth => {
                    let column = seen.text(at)?;
                    let year = |row: usize| {
                        let text = text_at(&column, row).filter(|_| !self.oldest.contains(&ids[row]))?;
                        // Births as days move along, so that ages stay right to the year; years stay.
                        let (year, _) = birth_of(text)?;
                        let moved = super::shifted_text(text, by[row]);
                        Some(moved.map_or_else(|| year.to_string(), |moved| moved[..4].to_owned()))
                    };
                    let years: StringArray = (0..column.len()).map(year).collect();
                    cast(&years, schema.field(arrays.len()).data_type()).map_err(failed)?
                }
                Use::Age => {
                    let text = seen.text(at)?;
                    let mut pooled = vec![false; text.len()];
                    for (row, pooled) in pooled.iter_mut().enumerate() {
                        let Some(text) = text_at(&text, row) else { continue };
                        let age = number(text).ok_or_else(|| seen.value(row, at, "not an age in years"))?;
                        *pooled = age >= f64::from(OLDEST_AGE);
                    }
                    done.ages_pooled +=
                        pooled.iter().zip(&stays).filter(|(pooled, stays)| **pooled && **stays).count() as u64;
                    let oldest = StringArray::from_iter_values(std::iter::repeat_n(OLDEST_AGE.to_string(), text.len()));
                    let oldest = cast(&oldest, column.data_type()).map_err(failed)?;
                    arrow::compute::kernels::zip::zip(&BooleanArray::from(pooled), &oldest, column).map_err(failed)?
                }
                Use::Code => {
                    let text = seen.text(at)?;
                    let blank: BooleanArray = (0..text.len())
                        .map(|row| Some(text_at(&text, row).is_some_and(|code| self.is_blank(code))))
                        .collect();
                    let count = |row: &usize| blank.value(*row) && stays[*row];
                    done.codes_blanked += (0..blank.len()).filter(count).count() as u64;
                    arrow::compute::nullif(column, &blank).map_err(failed)?
                }
            };
            arrays.push(array);
        }
        let whole = RecordBatch::try_new(Arc::clone(schema), arrays).map_err(failed)?;
        self.recheck(seen, &whole, &ids, &stays)?;
        let mask = BooleanArray::from(stays.clone());
        let kept = ids.into_iter().zip(stays).filter(|(_, stays)| *stays).map(|(id, _)| id).collect();
        Ok((filter_record_batch(&whole, &mask).map_err(failed)?, kept))
    }

    /// Rechecks, from texts and without the key, that all days of a person moved by the same number of days, over all
    /// batches of all tables, and that the number is one of those stated.
    fn recheck(
        &mut self,
        seen: &Seen<'_>,
        after: &RecordBatch,
        ids: &[u128],
        stays: &[bool],
    ) -> Result<(), DeidentifyError> {
        let (step, most) = (i64::from(self.plan.step_days), i64::from(self.plan.days_max));
        for at in seen.columns(Use::Date) {
            let name = seen.name(at);
            let shifted = after.column_by_name(&name).ok_or_else(|| seen.value(0, at, "was lost"))?;
            let (before, after) = (seen.text(at)?, texts(seen.table, &name, shifted)?);
            for row in (0..stays.len()).filter(|row| stays[*row]) {
                let refused = || seen.value(row, at, "did not move like the person's other days");
                match (text_at(&before, row), text_at(&after, row)) {
                    (None, None) => {}
                    (Some(before), Some(after)) => {
                        let (Some((from, rest)), Some((to, rest_after))) = (day_of(before), day_of(after)) else {
                            return Err(refused());
                        };
                        let by = to.signed_duration_since(from).num_days();
                        let known = *self.moved.entry(ids[row]).or_insert(by);
                        if known != by || rest != rest_after || by.abs() > most || by % step != 0 {
                            return Err(refused());
                        }
                    }
                    _ => return Err(refused()),
                }
            }
        }
        Ok(())
    }
}

fn is_blank(plan: &ShiftPlan, blanked: &BTreeSet<String>, code: &str) -> bool {
    blanked.contains(code) || plan.calendar_bound.iter().any(|start| code.starts_with(start.as_str()))
}

/// A column of days with each row moved; nothing when it holds none, or one leaves the calendar.
fn shifted_array(column: &ArrayRef, by: &[i64]) -> Option<ArrayRef> {
    const DAY_S: i64 = 86_400;
    fn moved<T: arrow::datatypes::ArrowPrimitiveType<Native = i64>>(
        column: &ArrayRef,
        by: &[i64],
        unit: i64,
    ) -> Option<ArrayRef> {
        let array = column.as_primitive::<T>();
        let mut out = arrow::array::PrimitiveBuilder::<T>::with_capacity(array.len());
        for (value, by) in array.iter().zip(by) {
            match value {
                Some(value) => out.append_value(value.checked_add(by.checked_mul(unit)?)?),
                None => out.append_null(),
            }
        }
        Some(Arc::new(out.finish().with_data_type(column.data_type().clone())))
    }
    match column.data_type() {
        DataType::Date32 => {
            let array = column.as_primitive::<Date32Type>();
            let mut out = arrow::array::PrimitiveBuilder::<Date32Type>::with_capacity(array.len());
            for (value, by) in array.iter().zip(by) {
                match value {
                    Some(value) => out.append_value(i32::try_from(i64::from(value).checked_add(*by)?).ok()?),
                    None => out.append_null(),
                }
            }
            Some(Arc::new(out.finish()))
        }
        DataType::Date64 => moved::<Date64Type>(column, by, DAY_S * 1_000),
        DataType::Timestamp(TimeUnit::Second, _) => moved::<TimestampSecondType>(column, by, DAY_S),
        DataType::Timestamp(TimeUnit::Millisecond, _) => moved::<TimestampMillisecondType>(column, by, DAY_S * 1_000),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            moved::<TimestampMicrosecondType>(column, by, DAY_S * 1_000_000)
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            moved::<TimestampNanosecondType>(column, by, DAY_S * 1_000_000_000)
        }
        DataType::Utf8 => {
            let array = column.as_string::<i32>();
            let mut out = StringBuilder::new();
            for (row, by) in (0..array.len()).zip(by) {
                match text_at(array, row) {
                    Some(text) => out.append_value(super::shifted_text(text, *by)?),
                    None => out.append_option(array.is_valid(row).then_some("")),
                }
            }
            Some(Arc::new(out.finish()))
        }
        _ => None,
    }
}

/// Where the batches of a table come from.
enum Source<'a> {
    Table(&'a Table),
    File(&'a Path),
}

/// Rows of a batch made from a CSV file.
const BATCH_ROWS: usize = 65_536;

type Batches<'a> = Box<dyn Iterator<Item = Result<RecordBatch, DeidentifyError>> + 'a>;

impl Source<'_> {
    fn open(&self) -> Result<(SchemaRef, Batches<'_>, Option<u8>), DeidentifyError> {
        match self {
            Source::Table(table) => {
                let batches = table.batches().iter().cloned().map(Ok);
                Ok((Arc::clone(table.schema()), Box::new(batches), None))
            }
            Source::File(path) if is_parquet(path) => {
                let file =
                    File::open(path).map_err(|error| wrong_file(path, format!("cannot be read: {}", error.kind())))?;
                let (schema, batches) = Table::parquet_batches("table", file)?;
                Ok((schema, Box::new(batches.map(|batch| Ok(batch?))), None))
            }
            Source::File(path) => {
                let mut rows = Rows::open(path)?;
                let fields: Vec<Field> =
                    rows.headers.iter().map(|name| Field::new(name, DataType::Utf8, true)).collect();
                let (schema, delimiter) = (Arc::new(Schema::new(fields)), rows.delimiter);
                let of = Arc::clone(&schema);
                let mut next = move || -> Result<Option<RecordBatch>, DeidentifyError> {
                    let mut columns: Vec<StringBuilder> = of.fields().iter().map(|_| StringBuilder::new()).collect();
                    let mut count = 0;
                    while count < BATCH_ROWS && rows.next()? {
                        columns.iter_mut().enumerate().for_each(|(at, column)| column.append_option(rows.field(at)));
                        count += 1;
                    }
                    if count == 0 {
                        return Ok(None);
                    }
                    let arrays = columns.iter_mut().map(|column| Arc::new(column.finish()) as ArrayRef).collect();
                    let failed = |source| FrameError::Arrow { table: "table".to_owned(), source };
                    Ok(Some(RecordBatch::try_new(Arc::clone(&of), arrays).map_err(failed)?))
                };
                Ok((schema, Box::new(std::iter::from_fn(move || next().transpose())), Some(delimiter)))
            }
        }
    }
}

/// What both ways share: survey, attack, and what is left out.
struct Begun {
    shift: PersonShift,
    window: Option<(i64, i64)>,
    blanked: BTreeSet<String>,
    oldest: BTreeSet<u128>,
    persons: u64,
    recovery: Recovery,
}

fn begin(plan: &ShiftPlan, key: &ShiftKey, sources: &[(String, Source<'_>)]) -> Result<Begun, DeidentifyError> {
    plan.check()?;
    let given: BTreeSet<&String> = sources.iter().map(|(name, _)| name).collect();
    if let Some(missing) = plan.tables.keys().find(|name| !given.contains(name)) {
        return Err(wrong(format!("tables.{missing}: the table was not given")));
    }
    if given.len() < sources.len() {
        return Err(wrong("two tables have the same name".to_owned()));
    }
    let shift = plan.shift().shift(key);
    let mut first = First::default();
    for (name, source) in sources {
        let (schema, batches, _) = source.open()?;
        let uses = uses(plan, name, &schema)?;
        let mut likely = vec![(0, 0); uses.len()];
        let mut before = 0;
        for batch in batches {
            let batch = batch?;
            first.look(&Seen { table: name, uses: &uses, batch: &batch, before }, &shift, &mut likely)?;
            before += batch.num_rows() as u64;
        }
        for (field, (values, days)) in schema.fields().iter().zip(likely) {
            if days > 0 && days * 2 >= values {
                let problem = "holds days: name it under dates, births or drop";
                return Err(DeidentifyError::Type { column: format!("{name}.{}", field.name()), problem });
            }
        }
    }
    let window = plan.released_window().map(|window| (since_epoch(window.from), since_epoch(window.to)));
    let telling = first.survey.of_a_time();
    let mut blanked = BTreeSet::new();
    let mut recovery = first.survey.recover(&shift, window, |code| is_blank(plan, &blanked, code));
    let (mut next, mut many) = (0, 1);
    while !recovery.held() {
        if next >= telling.len() {
            return Err(DeidentifyError::Recovered { found: recovery.rate, maximum: recovery.limit });
        }
        let end = (next + many).min(telling.len());
        blanked.extend(telling[next..end].iter().map(|code| (*code).to_owned()));
        (next, many) = (end, many * 2);
        recovery = first.survey.recover(&shift, window, |code| is_blank(plan, &blanked, code));
    }
    let persons = first.persons.len() as u64;
    Ok(Begun { shift, window, blanked, oldest: first.oldest(), persons, recovery })
}

impl Begun {
    fn second<'a>(&'a self, plan: &'a ShiftPlan) -> Second<'a> {
        Second {
            plan,
            shift: &self.shift,
            window: self.window,
            blanked: &self.blanked,
            oldest: &self.oldest,
            moved: HashMap::new(),
        }
    }

    fn receipt(self, plan: &ShiftPlan, tables: Vec<ShiftedTable>) -> ShiftReceipt {
        let weekdays = if plan.step_days.is_multiple_of(7) {
            "kept: a released day has the weekday of the true day, and weekdays tell nothing about the shift"
        } else {
            "not kept: the weekdays of a person with many days tell the shift but for whole weeks"
        };
        ShiftReceipt {
            schema: "acequia-date-shift/1".to_owned(),
            days_max: plan.days_max,
            step_days: plan.step_days,
            shifts: self.shift.count(),
            weekdays: weekdays.to_owned(),
            persons: self.persons,
            released_window: plan.released_window(),
            blanked_codes: self.blanked.into_iter().collect(),
            births_left_out: self.oldest.len() as u64,
            tables,
            recovery: self.recovery,
            verified_by: "every interval compared as text, over all tables of a person".to_owned(),
        }
    }
}

fn counted(name: &str) -> ShiftedTable {
    ShiftedTable {
        table: name.to_owned(),
        rows: 0,
        released: 0,
        truncated: 0,
        days: 0,
        codes_blanked: 0,
        ages_pooled: 0,
    }
}

/// The rows of a part of the persons, in the order of their pseudonyms.
fn part_of_table(
    source: &Source<'_>,
    second: &mut Second<'_>,
    name: &str,
    part: (u128, u128),
    done: &mut ShiftedTable,
) -> Result<RecordBatch, DeidentifyError> {
    let failed = |source| FrameError::Arrow { table: name.to_owned(), source };
    let (schema, batches, _) = source.open()?;
    let uses = uses(second.plan, name, &schema)?;
    let schema = released_schema(&schema, &uses);
    let (mut parts, mut ids, mut before) = (Vec::new(), Vec::new(), 0);
    for batch in batches {
        let batch = batch?;
        let seen = Seen { table: name, uses: &uses, batch: &batch, before };
        let (shifted, of) = second.shifted(&seen, &schema, part, done)?;
        parts.push(shifted);
        ids.extend(of);
        before += batch.num_rows() as u64;
    }
    let all = concat_batches(&schema, &parts).map_err(failed)?;
    drop(parts);
    let mut order: Vec<u32> = (0..u32::try_from(ids.len()).expect("fewer than 2^32 rows of a part")).collect();
    order.sort_by_key(|row| ids[*row as usize]);
    Ok(take_record_batch(&all, &UInt32Array::from(order)).map_err(failed)?)
}

/// Shifts the days of all persons in a set of tables. Days are Date32, Date64, Timestamp or text that begins with a day;
/// instants move by whole days of 86,400 seconds.
///
/// ```
/// use std::sync::Arc;
/// use acequia_deidentify::{ShiftKey, ShiftPlan, shift_tables};
/// use acequia_frame::Table;
/// use arrow::array::{ArrayRef, RecordBatch, StringArray};
/// let plan: ShiftPlan = toml::from_str(r#"
///     person = "id"
///     key = "dates.key"
///     days_max = 364
///     [tables.visits]
///     dates = ["came", "left"]
/// "#)?;
/// let columns: [(&str, ArrayRef); 3] = [
///     ("id", Arc::new(StringArray::from(vec!["a", "a"]))),
///     ("came", Arc::new(StringArray::from(vec!["2024-02-28", "2024-03-05"]))),
///     ("left", Arc::new(StringArray::from(vec!["2024-03-01", "2024-03-06"]))),
/// ];
/// let visits = Table::new("visits", vec![RecordBatch::try_from_iter(columns)?])?;
/// let (tables, receipt) = shift_tables(&[visits], &plan, &ShiftKey::from_bytes([1; 32]))?;
/// assert_eq!((tables[0].rows(), receipt.persons, receipt.tables[0].days), (2, 1, 4));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`DeidentifyError::Policy`] when the plan contradicts itself; [`DeidentifyError::Columns`], [`DeidentifyError::Type`] and
/// [`DeidentifyError::Value`] when plan and tables do not fit together; [`DeidentifyError::Recovered`] when shifts are found
/// too often.
pub fn shift_tables(
    tables: &[Table],
    plan: &ShiftPlan,
    key: &ShiftKey,
) -> Result<(Vec<Table>, ShiftReceipt), DeidentifyError> {
    let sources: Vec<(String, Source<'_>)> =
        tables.iter().map(|table| (table.name().to_owned(), Source::Table(table))).collect();
    let begun = begin(plan, key, &sources)?;
    let (mut out, mut done) = (Vec::new(), Vec::new());
    {
        let mut second = begun.second(plan);
        for (name, source) in &sources {
            let mut counts = counted(name);
            let batch = part_of_table(source, &mut second, name, (0, 1), &mut counts)?;
            counts.truncated = counts.rows - counts.released;
            out.push(Table::new(name, vec![batch])?);
            done.push(counts);
        }
    }
    Ok((out, begun.receipt(plan, done)))
}

/// Shifts the days of all persons in a set of files into files of the same names in a folder: CSV stays CSV, Parquet stays
/// Parquet. Each is written aside, and all get their names at the end.
///
/// # Errors
/// As [`shift_tables`]; [`DeidentifyError::File`] when a file cannot be read or written.
pub fn shift_files(
    tables: &[PathBuf],
    plan: &ShiftPlan,
    key: &ShiftKey,
    folder: &Path,
    memory_bytes: u64,
) -> Result<ShiftReceipt, DeidentifyError> {
    let sources: Vec<(String, Source<'_>)> = tables.iter().map(|path| (stem(path), Source::File(path))).collect();
    let begun = begin(plan, key, &sources)?;
    std::fs::create_dir_all(folder).map_err(|error| wrong_file(folder, format!("cannot be made: {}", error.kind())))?;
    let mut asides = Asides(Vec::new());
    let mut done = Vec::new();
    {
        let mut second = begun.second(plan);
        for ((name, source), path) in sources.iter().zip(tables) {
            let mut counts = counted(name);
            let out = folder.join(written_name(path));
            let same =
                |a: &Path, b: &Path| a.canonicalize().ok().zip(b.canonicalize().ok()).is_some_and(|(a, b)| a == b);
            if same(path, &out) {
                return Err(wrong_file(&out, "would be written over the table it comes from"));
            }
            let mut aside = out.clone().into_os_string();
            aside.push(".part");
            let aside = PathBuf::from(aside);
            asides.0.push((aside.clone(), out.clone()));
            let size = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
            let need = size.saturating_mul(if is_parquet(path) { 24 } else { 6 });
            let parts = u128::from(need.div_ceil(memory_bytes.max(1)).max(1));
            let (_, _, delimiter) = source.open()?;
            let mut writer: Option<Out> = None;
            for part in 0..parts {
                let batch = part_of_table(source, &mut second, name, (part, parts), &mut counts)?;
                let writer = match &mut writer {
                    Some(writer) => writer,
                    None => writer.insert(Out::create(&aside, &out, batch.schema(), delimiter)?),
                };
                writer.write(&batch)?;
            }
            if let Some(writer) = writer {
                writer.finish()?;
            }
            counts.truncated = counts.rows - counts.released;
            // What is on disk must be what was counted.
            let mut rows = Rows::open(&aside)?;
            let mut on_disk = 0;
            while rows.next()? {
                on_disk += 1;
            }
            if on_disk != counts.released {
                return Err(wrong_file(&out, "was not written whole"));
            }
            done.push(counts);
        }
    }
    asides.name()?;
    Ok(begun.receipt(plan, done))
}

/// The name of a file without its endings.
fn stem(path: &Path) -> String {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    name.rsplit_once('.').map_or(name, |(stem, _)| stem).to_owned()
}

/// Packed files are written plain.
fn written_name(path: &Path) -> String {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    name.strip_suffix(".gz").map(str::to_owned).unwrap_or(name)
}

/// Files that have no names yet, with the names they get. What is left of them is removed.
struct Asides(Vec<(PathBuf, PathBuf)>);

impl Asides {
    fn name(&self) -> Result<(), DeidentifyError> {
        for (aside, out) in &self.0 {
            std::fs::rename(aside, out)
                .map_err(|error| wrong_file(out, format!("cannot be written: {}", error.kind())))?;
        }
        Ok(())
    }
}

impl Drop for Asides {
    fn drop(&mut self) {
        // What did not pass must not lie about; with its name it is no longer here.
        self.0.iter().for_each(|(aside, _)| drop(std::fs::remove_file(aside)));
    }
}

/// Writes batches as CSV or Parquet.
enum Out {
    Csv(Box<csv::Writer<File>>, PathBuf),
    Parquet(Box<ParquetFile>, PathBuf),
}

impl Out {
    fn create(aside: &Path, out: &Path, schema: SchemaRef, delimiter: Option<u8>) -> Result<Self, DeidentifyError> {
        let failed = |error: std::io::Error| wrong_file(out, format!("cannot be written: {}", error.kind()));
        let file = File::create(aside).map_err(failed)?;
        match delimiter {
            None => Ok(Self::Parquet(Box::new(ParquetFile::create("shifted", file, schema)?), out.to_owned())),
            Some(delimiter) => {
                let mut writer = csv::WriterBuilder::new().delimiter(delimiter).from_writer(file);
                let names = schema.fields().iter().map(|field| field.name().as_str());
                writer.write_record(names).map_err(|_| wrong_file(out, "cannot be written"))?;
                Ok(Self::Csv(Box::new(writer), out.to_owned()))
            }
        }
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<(), DeidentifyError> {
        match self {
            Self::Parquet(writer, _) => Ok(writer.write(batch)?),
            Self::Csv(writer, out) => {
                let columns: Vec<&StringArray> =
                    batch.columns().iter().map(|column| column.as_string::<i32>()).collect();
                for row in 0..batch.num_rows() {
                    let fields = columns
                        .iter()
                        .map(|column| spreadsheet_safe(text_at(column, row).unwrap_or_default()).into_owned());
                    writer.write_record(fields).map_err(|_| wrong_file(out, "cannot be written"))?;
                }
                Ok(())
            }
        }
    }

    fn finish(self) -> Result<(), DeidentifyError> {
        let (file, out) = match self {
            Self::Parquet(writer, out) => (writer.finish()?, out),
            Self::Csv(writer, out) => {
                let file = writer.into_inner().map_err(|_| wrong_file(&out, "cannot be written"))?;
                (file, out)
            }
        };
        file.sync_all().map_err(|error| wrong_file(&out, format!("cannot be written: {}", error.kind())))
    }
}
