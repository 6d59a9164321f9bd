//! Where tables come from: a folder of files, or memory.

use std::collections::BTreeMap;

use acequia_frame::Table;
use acequia_omop::{CdmTable, Field};
use arrow::array::RecordBatch;

use crate::CleanseError;
use crate::column::Column;

/// A field that is asked for, and whether its values are needed or only where it has one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) field: &'static Field,
    pub(crate) values: bool,
}

/// Some rows of a table: the columns in the order they were asked for.
pub(crate) struct Rows {
    pub(crate) count: usize,
    pub(crate) columns: Vec<Column>,
}

/// What takes rows as they are read.
pub(crate) type Taker<'a> = &'a mut dyn FnMut(&Rows) -> Result<(), CleanseError>;

/// Tables of the model that can be scanned any number of times.
pub(crate) trait Tables {
    /// Names of the columns in lower case, or nothing if the table is not there.
    fn columns(&self, table: CdmTable) -> Option<&[String]>;

    /// Goes through all rows once, in their order.
    fn scan(&self, table: CdmTable, wanted: &[Wanted], take: Taker<'_>) -> Result<(), CleanseError>;

    /// Rows that had more or fewer fields than the header; what they have is used.
    fn uneven(&self, _table: CdmTable) -> u64 {
        0
    }
}

/// Tables in memory by their name in the model; others are not looked at.
pub(crate) struct Memory<'a> {
    tables: BTreeMap<CdmTable, (&'a Table, Vec<String>)>,
}

impl<'a> Memory<'a> {
    pub(crate) fn new(tables: &'a BTreeMap<String, Table>) -> Self {
        let named = |(name, table): (&String, &'a Table)| {
            let columns = table.schema().fields().iter().map(|field| field.name().to_lowercase()).collect();
            Some((CdmTable::parse(name)?, (table, columns)))
        };
        Self { tables: tables.iter().filter_map(named).collect() }
    }
}

impl Tables for Memory<'_> {
    fn columns(&self, table: CdmTable) -> Option<&[String]> {
        self.tables.get(&table).map(|(_, columns)| columns.as_slice())
    }

    fn scan(&self, table: CdmTable, wanted: &[Wanted], take: Taker<'_>) -> Result<(), CleanseError> {
        let Some((rows, columns)) = self.tables.get(&table) else { return Ok(()) };
        for batch in rows.batches() {
            take(&read(table, batch, columns, wanted)?)?;
        }
        Ok(())
    }
}

/// The wanted columns of a batch. A column that is not there counts as empty.
pub(crate) fn read(
    table: CdmTable,
    batch: &RecordBatch,
    names: &[String],
    wanted: &[Wanted],
) -> Result<Rows, CleanseError> {
    let mut columns = Vec::with_capacity(wanted.len());
    for wanted in wanted {
        let column = match names.iter().position(|name| *name == wanted.field.name) {
            Some(at) => Column::read(batch.column(at), wanted.field.field_type, wanted.values).map_err(|source| {
                CleanseError::Column { table: table.name(), field: wanted.field.name.clone(), source }
            })?,
            None => Column::presence(batch.num_rows(), Some(arrow::buffer::BooleanBuffer::new_unset(batch.num_rows()))),
        };
        columns.push(column);
    }
    Ok(Rows { count: batch.num_rows(), columns })
}
