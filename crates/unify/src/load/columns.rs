//! Rows of one table as Arrow columns.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use acequia_omop::{CdmTable, FieldType};
use arrow::array::{
    ArrayRef, Date32Builder, Float64Builder, Int64Builder, RecordBatch, StringBuilder, TimestampMicrosecondBuilder,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;

use crate::codes::cut;

/// One value on its way into a field.
#[derive(Debug, Clone, Copy)]
pub(super) enum Cell<'a> {
    Null,
    Id(i64),
    Number(f64),
    /// Days since 1970-01-01.
    Day(i32),
    /// Seconds since 1970-01-01 on the source's clock.
    Second(i64),
    Text(&'a str),
}

impl<'a> Cell<'a> {
    /// An empty text is no text; a longer one than the field allows is cut.
    pub(super) fn text(text: &'a str, longest: usize) -> Self {
        if text.is_empty() {
            return Self::Null;
        }
        Self::Text(cut(text, longest))
    }
}

impl From<Option<i64>> for Cell<'_> {
    fn from(value: Option<i64>) -> Self {
        value.map_or(Self::Null, Self::Id)
    }
}

impl From<Option<f64>> for Cell<'_> {
    fn from(value: Option<f64>) -> Self {
        value.map_or(Self::Null, Self::Number)
    }
}

/// What most texts of a table (codes and units) need.
const SHORT_TEXT_BYTES: usize = 12;

enum Column {
    Integer(Int64Builder),
    Float(Float64Builder),
    Date(Date32Builder),
    Datetime(TimestampMicrosecondBuilder),
    Varchar(StringBuilder),
    /// Nothing but nulls so far.
    Empty(FieldType),
}

impl Column {
    fn with_nulls(field_type: FieldType, nulls: usize, room: usize) -> Self {
        let room = room.max(nulls);
        match field_type {
            FieldType::Integer => {
                let mut column = Int64Builder::with_capacity(room);
                column.append_nulls(nulls);
                Self::Integer(column)
            }
            FieldType::Float => {
                let mut column = Float64Builder::with_capacity(room);
                column.append_nulls(nulls);
                Self::Float(column)
            }
            FieldType::Date => {
                let mut column = Date32Builder::with_capacity(room);
                column.append_nulls(nulls);
                Self::Date(column)
            }
            FieldType::Datetime => {
                let mut column = TimestampMicrosecondBuilder::with_capacity(room);
                column.append_nulls(nulls);
                Self::Datetime(column)
            }
            FieldType::Varchar => {
                let mut column = StringBuilder::with_capacity(room, room * SHORT_TEXT_BYTES);
                column.append_nulls(nulls);
                Self::Varchar(column)
            }
        }
    }
}

/// Rows of one table of the model, in the order of its fields.
pub(super) struct Rows {
    table: CdmTable,
    columns: Vec<Column>,
    rows: usize,
    /// Rows that memory is asked for at once: growing step by step would copy all of it again and again.
    room: usize,
}

/// Rows of several tables.
pub(super) struct Tables {
    rows: BTreeMap<CdmTable, Rows>,
    room: usize,
}

impl Tables {
    /// With room for so many rows in each.
    pub(super) const fn with_room(room: usize) -> Self {
        Self { rows: BTreeMap::new(), room }
    }

    pub(super) fn of(&mut self, table: CdmTable) -> &mut Rows {
        self.rows.entry(table).or_insert_with(|| Rows::new(table, self.room))
    }

    /// Those that have any rows.
    pub(super) fn each(&mut self) -> impl Iterator<Item = (CdmTable, &mut Rows)> {
        self.rows.iter_mut().filter(|(_, rows)| rows.len() > 0).map(|(table, rows)| (*table, rows))
    }
}

/// Schemas of the files: like the model's, but with microseconds, which Parquet readers know.
static SCHEMAS: LazyLock<Vec<SchemaRef>> = LazyLock::new(|| {
    let field = |field: &acequia_omop::Field| {
        let arrow = match field.field_type {
            FieldType::Datetime => DataType::Timestamp(TimeUnit::Microsecond, None),
            other => other.arrow(),
        };
        Field::new(&field.name, arrow, !field.required)
    };
    let schema = |table: &CdmTable| Arc::new(Schema::new(table.fields().iter().map(field).collect::<Vec<_>>()));
    CdmTable::ALL.iter().map(schema).collect()
});

/// The schema of a table's files.
pub(super) fn file_schema(table: CdmTable) -> &'static SchemaRef {
    &SCHEMAS[table as usize]
}

impl Rows {
    /// Rows of a table, with room for so many in the columns that are filled.
    pub(super) fn new(table: CdmTable, room: usize) -> Self {
        let columns = table.fields().iter().map(|field| Column::Empty(field.field_type)).collect();
        Self { table, columns, rows: 0, room }
    }

    pub(super) const fn len(&self) -> usize {
        self.rows
    }

    /// Adds a row: one cell per field, in the order of the specification. A cell of another type than the field is null.
    pub(super) fn push(&mut self, cells: &[Cell<'_>]) {
        debug_assert_eq!(cells.len(), self.columns.len(), "{}", self.table.name());
        for (column, cell) in self.columns.iter_mut().zip(cells) {
            if let Column::Empty(field_type) = column {
                if matches!(cell, Cell::Null) {
                    continue;
                }
                *column = Column::with_nulls(*field_type, self.rows, self.room);
            }
            match (column, cell) {
                (Column::Integer(column), Cell::Id(value)) => column.append_value(*value),
                (Column::Integer(column), _) => column.append_null(),
                (Column::Float(column), Cell::Number(value)) => column.append_value(*value),
                (Column::Float(column), _) => column.append_null(),
                (Column::Date(column), Cell::Day(day)) => column.append_value(*day),
                (Column::Date(column), _) => column.append_null(),
                (Column::Datetime(column), Cell::Second(second)) => column.append_value(second * 1_000_000),
                (Column::Datetime(column), _) => column.append_null(),
                (Column::Varchar(column), Cell::Text(text)) => column.append_value(text),
                (Column::Varchar(column), _) => column.append_null(),
                (Column::Empty(_), _) => {}
            }
        }
        self.rows += 1;
    }

    /// All rows as one batch; the builder is empty again.
    pub(super) fn finish(&mut self) -> Result<RecordBatch, ArrowError> {
        let schema = file_schema(self.table);
        let rows = std::mem::take(&mut self.rows);
        let columns: Vec<ArrayRef> = self
            .columns
            .iter_mut()
            .zip(schema.fields())
            .map(|(column, field)| match column {
                Column::Integer(column) => Arc::new(column.finish()) as ArrayRef,
                Column::Float(column) => Arc::new(column.finish()),
                Column::Date(column) => Arc::new(column.finish()),
                Column::Datetime(column) => Arc::new(column.finish()),
                Column::Varchar(column) => Arc::new(column.finish()),
                Column::Empty(_) => arrow::array::new_null_array(field.data_type(), rows),
            })
            .collect();
        let fields = self.table.fields();
        self.columns = fields.iter().map(|field| Column::Empty(field.field_type)).collect();
        RecordBatch::try_new(Arc::clone(schema), columns)
    }
}
