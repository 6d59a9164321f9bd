//! Repairs: new tables beside the old ones, every change recorded.
//!
//! - `set-aside`: an event before the year of birth or long after death leaves its table.
//! - `drop-duplicate`: of rows that agree in everything but their key, the first stays.
//! - `clear-end`: an end before the start is emptied.
//! - `clear-value`: a number outside its plausible range is emptied; the row stays.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use acequia_frame::{FrameError, Table};
use acequia_omop::CdmTable;
use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Date32Array, Float64Array, Int64Builder, RecordBatch, StringBuilder,
};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Date32Type, Float64Type};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use crate::Thresholds;
use crate::checks::{epoch_days, ranges};
use crate::view::{EventFields, Lives, days, event_fields, ids, numbers};

/// What was done.
#[derive(Default)]
pub(crate) struct Repairs {
    rows: Vec<(&'static str, i64, &'static str, String, &'static str)>,
    pub(crate) counts: BTreeMap<String, u64>,
    pub(crate) removed: BTreeMap<String, u64>,
}

impl Repairs {
    fn note(&mut self, table: &'static str, row_id: i64, field: &'static str, check_id: String, action: &'static str) {
        *self.counts.entry(action.to_owned()).or_default() += 1;
        self.rows.push((table, row_id, field, check_id, action));
    }

    fn remove(&mut self, table: &'static str, row_id: i64, check_id: String, action: &'static str) {
        *self.removed.entry(table.to_owned()).or_default() += 1;
        self.note(table, row_id, "", check_id, action);
    }

    pub(crate) fn into_table(mut self) -> Result<Table, FrameError> {
        self.rows.sort();
        let mut texts: [StringBuilder; 4] = Default::default();
        let mut row_ids = Int64Builder::new();
        for (table, row_id, field, check_id, action) in &self.rows {
            for (builder, text) in texts.iter_mut().zip([*table, *field, check_id.as_str(), *action]) {
                builder.append_value(text);
            }
            row_ids.append_value(*row_id);
        }
        let [mut table, mut field, mut check_id, mut action] = texts;
        let columns: [(&str, ArrayRef); 5] = [
            ("table_name", Arc::new(table.finish())),
            ("row_id", Arc::new(row_ids.finish())),
            ("field", Arc::new(field.finish())),
            ("check_id", Arc::new(check_id.finish())),
            ("action", Arc::new(action.finish())),
        ];
        let batch = RecordBatch::try_from_iter(columns);
        let batch = batch.map_err(|source| FrameError::Arrow { table: "repairs".to_owned(), source })?;
        Table::new("repairs", vec![batch])
    }
}

/// Makes the repaired tables.
pub(crate) fn repair(
    tables: &BTreeMap<String, Table>,
    thresholds: &Thresholds,
) -> Result<(BTreeMap<String, Table>, Repairs), FrameError> {
    let lives = Lives::of(tables)?;
    let mut repairs = Repairs::default();
    let mut repaired = tables.clone();
    for cdm in CdmTable::ALL {
        let (Some(table), Some(event), Some(key)) = (tables.get(cdm.name()), event_fields(*cdm), cdm.key()) else {
            continue;
        };
        let table = events(*cdm, table, &event, key, &lives, thresholds, &mut repairs)?;
        repaired.insert(cdm.name().to_owned(), table);
    }
    Ok((repaired, repairs))
}

fn events(
    cdm: CdmTable,
    table: &Table,
    event: &EventFields,
    key: &str,
    lives: &Lives,
    thresholds: &Thresholds,
    repairs: &mut Repairs,
) -> Result<Table, FrameError> {
    let name = cdm.name();
    let failed = |source| FrameError::Arrow { table: name.to_owned(), source };
    let (row_ids, persons, starts) = (ids(table, key)?, ids(table, "person_id")?, days(table, event.start)?);
    let today = epoch_days(thresholds.as_of);
    let repeated = repeated(table, key)?;
    let mut keep = Vec::with_capacity(row_ids.len());
    for row in 0..row_ids.len() {
        let row_id = row_ids[row].unwrap_or(0);
        let impossible = if lives.before_birth(persons[row], starts[row]) {
            Some(format!("after-birth.{name}"))
        } else if lives.after_death(persons[row], starts[row]) {
            Some(format!("before-death.{name}"))
        } else if starts[row].is_some_and(|day| day > today) {
            Some(format!("past.{name}"))
        } else {
            None
        };
        keep.push(impossible.is_none() && !repeated[row]);
        if let Some(check_id) = impossible {
            repairs.remove(name, row_id, check_id, "set-aside");
        } else if repeated[row] {
            repairs.remove(name, row_id, format!("duplicate.{name}"), "drop-duplicate");
        }
    }

    let batch = table.to_batch()?;
    let mut columns = batch.columns().to_vec();
    let at = |column: &str| batch.schema().index_of(column).ok();
    if let Some(end) = event.end
        && let Some(at) = at(end)
        && let Some(ends) = columns[at].as_primitive_opt::<Date32Type>()
    {
        // A required end date cannot be emptied, so it is set to the start.
        let required = !batch.schema().field(at).is_nullable();
        let mended: Date32Array = (0..ends.len())
            .map(|row| {
                let stated = ends.is_valid(row).then(|| ends.value(row));
                match (starts[row], stated) {
                    (Some(start), Some(stated)) if stated < start => {
                        if keep[row] {
                            repairs.note(name, row_ids[row].unwrap_or(0), end, format!("order.{name}"), "clear-end");
                        }
                        required.then_some(start)
                    }
                    _ => stated,
                }
            })
            .collect();
        columns[at] = Arc::new(mended);
    }
    if cdm == CdmTable::Measurement
        && let Some(at) = at("value_as_number")
        && let Some(values) = columns[at].as_primitive_opt::<Float64Type>()
    {
        let (concepts, ranges) = (ids(table, event.concept)?, ranges());
        let found = numbers(table, "value_as_number")?;
        let mended: Float64Array = (0..values.len())
            .map(|row| {
                let range = ranges.iter().find(|range| Some(range.concept_id) == concepts[row]);
                match (found[row], range) {
                    (Some(number), Some(range)) if !(range.low..=range.high).contains(&number) => {
                        if keep[row] {
                            repairs.note(
                                name,
                                row_ids[row].unwrap_or(0),
                                "value_as_number",
                                range.check_id.clone(),
                                "clear-value",
                            );
                        }
                        None
                    }
                    (number, _) => number,
                }
            })
            .collect();
        columns[at] = Arc::new(mended);
    }
    let batch = RecordBatch::try_new(batch.schema(), columns).map_err(failed)?;
    let batch = filter_record_batch(&batch, &BooleanArray::from(keep)).map_err(failed)?;
    Table::with_schema(name, Arc::clone(table.schema()), vec![batch])
}

/// Which rows agree with an earlier one in everything but the key.
fn repeated(table: &Table, key: &str) -> Result<Vec<bool>, FrameError> {
    let batch = table.to_batch()?;
    let failed = |source| FrameError::Arrow { table: table.name().to_owned(), source };
    let options = FormatOptions::default().with_null("\u{0}");
    let mut formatters = Vec::new();
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        if field.name() != key && column.null_count() < column.len() {
            formatters.push(ArrayFormatter::try_new(column.as_ref(), &options).map_err(failed)?);
        }
    }
    let mut seen = HashSet::with_capacity(batch.num_rows());
    let mut text = String::new();
    let mut repeated = Vec::with_capacity(batch.num_rows());
    for row in 0..batch.num_rows() {
        use std::fmt::Write;
        text.clear();
        for formatter in &formatters {
            // Writing to a String does not fail; the unit separator keeps neighbours apart.
            let _ = write!(text, "{}\u{1f}", formatter.value(row));
        }
        repeated.push(!seen.insert(text.clone()));
    }
    Ok(repeated)
}
