//! Building OMOP tables row by row, checked against the model.

use std::sync::Arc;

use acequia_types::{Coded, Day};
use arrow::array::{
    ArrayRef, Date32Builder, Float64Builder, Int64Builder, RecordBatch, StringBuilder, TimestampSecondBuilder,
};
use chrono::Datelike;

use crate::{CdmTable, FieldType};

/// One value on its way into a field.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cell<'a> {
    /// No value.
    Null,
    /// For `integer` fields: ids, concept ids, years.
    Id(i64),
    /// For `float` fields.
    Number(f64),
    /// For `date` fields, and for `datetime` fields as midnight.
    Day(Day),
    /// For `varchar` fields.
    Text(&'a str),
}

impl<'a> From<Option<&'a str>> for Cell<'a> {
    fn from(value: Option<&'a str>) -> Self {
        value.map_or(Self::Null, Self::Text)
    }
}

impl From<Option<i64>> for Cell<'_> {
    fn from(value: Option<i64>) -> Self {
        value.map_or(Self::Null, Self::Id)
    }
}

impl From<Option<Day>> for Cell<'_> {
    fn from(value: Option<Day>) -> Self {
        value.map_or(Self::Null, Self::Day)
    }
}

impl From<Option<f64>> for Cell<'_> {
    fn from(value: Option<f64>) -> Self {
        value.map_or(Self::Null, Self::Number)
    }
}

/// A row does not fit the model.
#[derive(Debug, thiserror::Error)]
pub enum CdmError {
    /// The table has no such field.
    #[error("table {table} has no field {field}")]
    NoField {
        /// Which table.
        table: &'static str,
        /// Which field.
        field: String,
    },
    /// The value is of another type than the field.
    #[error("table {table}, field {field}: value of another type")]
    Type {
        /// Which table.
        table: &'static str,
        /// Which field.
        field: String,
    },
    /// A required field has no value.
    #[error("table {table}, field {field}: a value is required")]
    Missing {
        /// Which table.
        table: &'static str,
        /// Which field.
        field: String,
    },
    /// Arrow could not build the table.
    #[error("table {table} cannot be built")]
    Arrow {
        /// Which table.
        table: &'static str,
        /// The cause.
        #[source]
        source: arrow::error::ArrowError,
    },
}

impl Coded for CdmError {
    fn code(&self) -> &'static str {
        match self {
            Self::NoField { .. } => "OM001",
            Self::Type { .. } => "OM002",
            Self::Missing { .. } => "OM003",
            Self::Arrow { .. } => "OM004",
        }
    }
    fn hint(&self) -> &'static str {
        "this is a defect of the program; please report it with the code"
    }
}

enum Column {
    Integer(Int64Builder),
    Float(Float64Builder),
    Date(Date32Builder),
    Datetime(TimestampSecondBuilder),
    Varchar(StringBuilder),
}

/// Collects rows of one table.
pub struct TableBuilder {
    table: CdmTable,
    columns: Vec<Column>,
    rows: usize,
}

const EPOCH_DAYS_FROM_CE: i32 = 719_163;

impl TableBuilder {
    /// An empty table.
    pub fn new(table: CdmTable) -> Self {
        let columns = table
            .fields()
            .iter()
            .map(|field| match field.field_type {
                FieldType::Integer => Column::Integer(Int64Builder::new()),
                FieldType::Float => Column::Float(Float64Builder::new()),
                FieldType::Date => Column::Date(Date32Builder::new()),
                FieldType::Datetime => Column::Datetime(TimestampSecondBuilder::new()),
                FieldType::Varchar => Column::Varchar(StringBuilder::new()),
            })
            .collect();
        Self { table, columns, rows: 0 }
    }

    /// Rows so far.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Adds one row; fields that are not named are null. A row that does not fit is not added at all.
    ///
    /// # Errors
    /// [`CdmError`] when a field is unknown, a value has another type, or a required field stays empty.
    pub fn push(&mut self, cells: &[(&str, Cell<'_>)]) -> Result<(), CdmError> {
        let (table, fields) = (self.table.name(), self.table.fields());
        let mut row = vec![Cell::Null; fields.len()];
        for (name, cell) in cells {
            let at = fields.iter().position(|field| field.name == *name);
            let at = at.ok_or_else(|| CdmError::NoField { table, field: (*name).to_owned() })?;
            let fits = matches!(
                (fields[at].field_type, cell),
                (_, Cell::Null)
                    | (FieldType::Integer, Cell::Id(_))
                    | (FieldType::Float, Cell::Number(_))
                    | (FieldType::Date | FieldType::Datetime, Cell::Day(_))
                    | (FieldType::Varchar, Cell::Text(_))
            );
            if !fits {
                return Err(CdmError::Type { table, field: (*name).to_owned() });
            }
            row[at] = *cell;
        }
        if let Some((field, _)) = fields.iter().zip(&row).find(|(field, cell)| field.required && **cell == Cell::Null) {
            return Err(CdmError::Missing { table, field: field.name.clone() });
        }
        for (column, cell) in self.columns.iter_mut().zip(row) {
            match (column, cell) {
                (Column::Integer(column), Cell::Id(value)) => column.append_value(value),
                (Column::Integer(column), _) => column.append_null(),
                (Column::Float(column), Cell::Number(value)) => column.append_value(value),
                (Column::Float(column), _) => column.append_null(),
                (Column::Date(column), Cell::Day(day)) => {
                    column.append_value(day.num_days_from_ce() - EPOCH_DAYS_FROM_CE)
                }
                (Column::Date(column), _) => column.append_null(),
                (Column::Datetime(column), Cell::Day(day)) => {
                    column.append_value(i64::from(day.num_days_from_ce() - EPOCH_DAYS_FROM_CE) * 86_400);
                }
                (Column::Datetime(column), _) => column.append_null(),
                (Column::Varchar(column), Cell::Text(text)) => column.append_value(text),
                (Column::Varchar(column), _) => column.append_null(),
            }
        }
        self.rows += 1;
        Ok(())
    }

    /// All rows as one batch.
    ///
    /// # Errors
    /// [`CdmError::Arrow`] when Arrow refuses the columns.
    pub fn finish(mut self) -> Result<RecordBatch, CdmError> {
        let columns: Vec<ArrayRef> = self
            .columns
            .iter_mut()
            .map(|column| match column {
                Column::Integer(column) => Arc::new(column.finish()) as ArrayRef,
                Column::Float(column) => Arc::new(column.finish()),
                Column::Date(column) => Arc::new(column.finish()),
                Column::Datetime(column) => Arc::new(column.finish()),
                Column::Varchar(column) => Arc::new(column.finish()),
            })
            .collect();
        RecordBatch::try_new(Arc::clone(self.table.schema()), columns)
            .map_err(|source| CdmError::Arrow { table: self.table.name(), source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_does_not_fit_leaves_no_trace() {
        let mut builder = TableBuilder::new(CdmTable::Death);
        let missing = builder.push(&[("person_id", Cell::Id(1))]).unwrap_err();
        assert_eq!(missing.to_string(), "table death, field death_date: a value is required");
        assert!(matches!(builder.push(&[("person", Cell::Id(1))]), Err(CdmError::NoField { .. })));
        assert!(matches!(builder.push(&[("person_id", Cell::Text("x"))]), Err(CdmError::Type { .. })));
        let day = acequia_types::parse_day("1970-01-02").unwrap();
        builder.push(&[("person_id", Cell::Id(1)), ("death_date", Cell::Day(day))]).unwrap();
        let batch = builder.finish().unwrap();
        assert_eq!(batch.num_rows(), 1);
        let dates = batch.column_by_name("death_date").unwrap();
        assert_eq!(arrow::util::display::array_value_to_string(dates, 0).unwrap(), "1970-01-02");
    }
}
