//! Parquet bytes of a table: same rows, same bytes.

use std::fs::File;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

use crate::{FrameError, Table};

/// Rows per row group. Small enough that a streaming client fetches little before the first row.
const ROW_GROUP_ROWS: usize = 131_072;

fn properties() -> Result<WriterProperties, ParquetError> {
    let level = ZstdLevel::try_new(3)?;
    Ok(WriterProperties::builder()
        .set_created_by("acequia".to_owned())
        .set_compression(Compression::ZSTD(level))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .build())
}

/// A Parquet file that is written batch by batch.
pub struct ParquetFile {
    table: String,
    writer: ArrowWriter<File>,
}

impl ParquetFile {
    /// Begins a file for rows of this schema. `table` names it in errors.
    ///
    /// # Errors
    /// [`FrameError::Parquet`] when a column type has no Parquet form.
    pub fn create(table: &str, file: File, schema: SchemaRef) -> Result<Self, FrameError> {
        let written = |source| FrameError::Parquet { table: table.to_owned(), doing: "written", source };
        let writer = ArrowWriter::try_new(file, schema, Some(properties().map_err(written)?)).map_err(written)?;
        Ok(Self { table: table.to_owned(), writer })
    }

    /// Appends rows.
    ///
    /// # Errors
    /// [`FrameError::Parquet`] when they cannot be written.
    pub fn write(&mut self, batch: &RecordBatch) -> Result<(), FrameError> {
        let written = |source| FrameError::Parquet { table: self.table.clone(), doing: "written", source };
        self.writer.write(batch).map_err(written)
    }

    /// Writes the end and gives the file back, to sync it.
    ///
    /// # Errors
    /// [`FrameError::Parquet`] when it cannot be written.
    pub fn finish(self) -> Result<File, FrameError> {
        let table = self.table;
        self.writer.into_inner().map_err(|source| FrameError::Parquet { table, doing: "written", source })
    }
}

impl Table {
    /// Writes the table as one Parquet file with page index, Zstandard level 3.
    ///
    /// The writer's own version is left out of the footer: the manifest states it, and the bytes then depend on the rows only.
    ///
    /// # Errors
    /// [`FrameError::Parquet`] when a column type has no Parquet form.
    pub fn to_parquet(&self) -> Result<Vec<u8>, FrameError> {
        let written = |source| FrameError::Parquet { table: self.name().to_owned(), doing: "written", source };
        let properties = properties().map_err(written)?;
        let mut writer = ArrowWriter::try_new(Vec::new(), self.schema().clone(), Some(properties)).map_err(written)?;
        for batch in self.batches() {
            writer.write(batch).map_err(written)?;
        }
        writer.into_inner().map_err(written)
    }

    /// Reads a Parquet file batch by batch, so that it need not fit into memory.
    ///
    /// # Errors
    /// [`FrameError::Parquet`] when the file is not Parquet; of an item, when it is damaged.
    pub fn parquet_batches(
        name: &str,
        file: File,
    ) -> Result<(SchemaRef, impl Iterator<Item = Result<RecordBatch, FrameError>> + use<>), FrameError> {
        let table = name.to_owned();
        let read = |source| FrameError::Parquet { table: name.to_owned(), doing: "read", source };
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(read)?;
        let schema = builder.schema().clone();
        let batches = builder.with_batch_size(8_192).build().map_err(read)?;
        Ok((
            schema,
            batches.map(move |batch| batch.map_err(|source| FrameError::Arrow { table: table.clone(), source })),
        ))
    }

    /// Reads one Parquet file.
    ///
    /// # Errors
    /// [`FrameError::Parquet`] when the bytes are not Parquet or are damaged.
    pub fn from_parquet(name: &str, bytes: Bytes) -> Result<Self, FrameError> {
        let read = |source| FrameError::Parquet { table: name.to_owned(), doing: "read", source };
        let builder = ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(read)?;
        let schema = builder.schema().clone();
        let batches: Result<Vec<_>, _> = builder.with_batch_size(8_192).build().map_err(read)?.collect();
        let batches = batches.map_err(|source| FrameError::Arrow { table: name.to_owned(), source })?;
        Self::with_schema(name, schema, batches)
    }
}
