//! A named table of Arrow record batches.

use std::sync::Arc;

use acequia_types::{Coded, Digest, digest_named};
use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::compute::{concat_batches, lexsort_to_indices, take_record_batch};
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};

/// What can go wrong with a table. Messages name tables and columns, never values.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// Batches of one table disagree about its columns.
    #[error("table {table}: batches have different columns")]
    Schema {
        /// Which table.
        table: String,
    },
    /// A column is not there.
    #[error("table {table} has no column {column}")]
    NoColumn {
        /// Which table.
        table: String,
        /// Which column.
        column: String,
    },
    /// The Parquet bytes cannot be read or written.
    #[error("table {table}: Parquet cannot be {doing}")]
    Parquet {
        /// Which table.
        table: String,
        /// "read" or "written".
        doing: &'static str,
        /// The cause.
        #[source]
        source: ::parquet::errors::ParquetError,
    },
    /// An Arrow kernel failed.
    #[error("table {table}: column operation failed")]
    Arrow {
        /// Which table.
        table: String,
        /// The cause.
        #[source]
        source: ArrowError,
    },
}

impl Coded for FrameError {
    fn code(&self) -> &'static str {
        match self {
            Self::Schema { .. } => "FR001",
            Self::NoColumn { .. } => "FR002",
            Self::Parquet { .. } => "FR003",
            Self::Arrow { .. } => "FR004",
        }
    }
    fn hint(&self) -> &'static str {
        match self {
            Self::Schema { .. } | Self::Arrow { .. } => {
                "this is a defect of the program; please report it with the code"
            }
            Self::NoColumn { .. } => "check the column names in the recipe against the table",
            Self::Parquet { .. } => "the file may be damaged; run `acequia doctor`",
        }
    }
}

/// A named table. Batches share one schema; an empty table has a schema and no batch.
#[derive(Debug, Clone)]
pub struct Table {
    name: String,
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
}

impl Table {
    /// A table of at least one batch.
    ///
    /// # Errors
    /// [`FrameError::Schema`] when there is no batch or the batches differ in schema.
    pub fn new(name: &str, batches: Vec<RecordBatch>) -> Result<Self, FrameError> {
        let schema = batches.first().map(RecordBatch::schema).ok_or(FrameError::Schema { table: name.to_owned() })?;
        Self::with_schema(name, schema, batches)
    }

    /// A table with a stated schema and any number of batches.
    ///
    /// # Errors
    /// [`FrameError::Schema`] when a batch has other columns.
    pub fn with_schema(name: &str, schema: SchemaRef, batches: Vec<RecordBatch>) -> Result<Self, FrameError> {
        if batches.iter().any(|batch| batch.schema().fields() != schema.fields()) {
            return Err(FrameError::Schema { table: name.to_owned() });
        }
        Ok(Self { name: name.to_owned(), schema, batches })
    }

    /// The table's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Same rows under another name.
    #[must_use]
    pub fn renamed(mut self, name: &str) -> Self {
        name.clone_into(&mut self.name);
        self
    }

    /// Its columns.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Its batches.
    pub fn batches(&self) -> &[RecordBatch] {
        &self.batches
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.batches.iter().map(RecordBatch::num_rows).sum()
    }

    /// All rows as one batch.
    ///
    /// # Errors
    /// [`FrameError::Arrow`] when a column outgrows its offset type.
    pub fn to_batch(&self) -> Result<RecordBatch, FrameError> {
        concat_batches(&self.schema, &self.batches).map_err(|source| self.arrow(source))
    }

    /// One column over all rows.
    ///
    /// # Errors
    /// [`FrameError::NoColumn`] when there is no such column.
    pub fn column(&self, name: &str) -> Result<ArrayRef, FrameError> {
        let at = self.schema.index_of(name).map_err(|_| self.no_column(name))?;
        let parts: Vec<&dyn Array> = self.batches.iter().map(|batch| batch.column(at).as_ref()).collect();
        if parts.is_empty() {
            return Ok(arrow::array::new_empty_array(self.schema.field(at).data_type()));
        }
        arrow::compute::concat(&parts).map_err(|source| self.arrow(source))
    }

    /// The named columns, in the order given.
    ///
    /// # Errors
    /// [`FrameError::NoColumn`] when one is missing.
    pub fn select(&self, names: &[&str]) -> Result<Self, FrameError> {
        let mut indices = Vec::with_capacity(names.len());
        for name in names {
            indices.push(self.schema.index_of(name).map_err(|_| self.no_column(name))?);
        }
        let schema = Arc::new(self.schema.project(&indices).map_err(|source| self.arrow(source))?);
        let batches: Result<Vec<_>, _> = self.batches.iter().map(|batch| batch.project(&indices)).collect();
        Self::with_schema(&self.name, schema, batches.map_err(|source| self.arrow(source))?)
    }

    /// Rows in ascending order of all columns from left to right, nulls first. Equal rows are exchangeable, so the
    /// result depends on the rows only, never on the order they came in.
    ///
    /// # Errors
    /// [`FrameError::Arrow`] when a column type has no order.
    pub fn sorted(&self) -> Result<Self, FrameError> {
        let batch = self.to_batch()?;
        if batch.num_rows() < 2 {
            return Ok(self.clone());
        }
        let columns: Vec<_> = batch
            .columns()
            .iter()
            .map(|values| arrow::compute::SortColumn { values: Arc::clone(values), options: None })
            .collect();
        let order = lexsort_to_indices(&columns, None).map_err(|source| self.arrow(source))?;
        let sorted = take_record_batch(&batch, &order).map_err(|source| self.arrow(source))?;
        Self::with_schema(&self.name, Arc::clone(&self.schema), vec![sorted])
    }

    /// Digest of column names, types and values in row order; how rows are cut into batches does not matter.
    pub fn digest(&self) -> Digest {
        let options = FormatOptions::default().with_null("\u{0}");
        let mut columns = Vec::with_capacity(self.schema.fields().len());
        for (at, field) in self.schema.fields().iter().enumerate() {
            let mut bytes = format!("{}", field.data_type()).into_bytes();
            for batch in &self.batches {
                let Ok(formatter) = ArrayFormatter::try_new(batch.column(at).as_ref(), &options) else { continue };
                for row in 0..batch.num_rows() {
                    let text = formatter.value(row).to_string();
                    bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
                    bytes.extend_from_slice(text.as_bytes());
                }
            }
            columns.push((field.name().clone(), bytes));
        }
        digest_named("acequia table v1", columns.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())))
    }

    /// An empty table with these columns.
    pub fn empty(name: &str, schema: Schema) -> Self {
        Self { name: name.to_owned(), schema: Arc::new(schema), batches: Vec::new() }
    }

    fn no_column(&self, column: &str) -> FrameError {
        FrameError::NoColumn { table: self.name.clone(), column: column.to_owned() }
    }

    pub(crate) fn arrow(&self, source: ArrowError) -> FrameError {
        FrameError::Arrow { table: self.name.clone(), source }
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringArray};

    use super::*;

    fn table(ids: &[i64], names: &[Option<&str>]) -> Table {
        let ids = Arc::new(Int64Array::from(ids.to_vec())) as ArrayRef;
        let names = Arc::new(StringArray::from(names.to_vec())) as ArrayRef;
        Table::new(
            "t",
            vec![RecordBatch::try_from_iter_with_nullable([("id", ids, false), ("name", names, true)]).unwrap()],
        )
        .unwrap()
    }

    #[test]
    fn sorting_forgets_the_order_rows_came_in() {
        let a = table(&[2, 1, 1], &[Some("x"), None, Some("y")]);
        let b = table(&[1, 2, 1], &[Some("y"), Some("x"), None]);
        assert_ne!(a.digest(), b.digest());
        assert_eq!(a.sorted().unwrap().digest(), b.sorted().unwrap().digest());
    }

    #[test]
    fn a_null_is_not_an_empty_text() {
        assert_ne!(table(&[1], &[None]).digest(), table(&[1], &[Some("")]).digest());
    }
}
