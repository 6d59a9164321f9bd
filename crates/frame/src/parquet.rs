//! Parquet bytes of a table: same rows, same bytes.

use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use crate::{FrameError, Table};

/// Rows per row group. Small enough that a streaming client fetches little before the first row.
const ROW_GROUP_ROWS: usize = 131_072;

impl Table {
    /// Writes the table as one Parquet file with page index, Zstandard level 3.
    ///
    /// The writer's own version is left out of the footer: the manifest states it, and the bytes then depend on the rows only.
    ///
    /// # Errors
    /// [`FrameError::Parquet`] when a column type has no Parquet form.
    pub fn to_parquet(&self) -> Result<Vec<u8>, FrameError> {
        let written = |source| FrameError::Parquet { table: self.name().to_owned(), doing: "written", source };
        let level = ZstdLevel::try_new(3).map_err(written)?;
        let properties = WriterProperties::builder()
            .set_created_by("acequia".to_owned())
            .set_compression(Compression::ZSTD(level))
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
            .build();
        let mut writer = ArrowWriter::try_new(Vec::new(), self.schema().clone(), Some(properties)).map_err(written)?;
        for batch in self.batches() {
            writer.write(batch).map_err(written)?;
        }
        writer.into_inner().map_err(written)
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
