//! Parquet files that several threads encode and one order of parts puts together.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::{ArrowColumnChunk, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::ColumnPath;

/// One row group, encoded.
pub(super) struct Encoded {
    chunks: Vec<ArrowColumnChunk>,
    pub(super) rows: u64,
}

/// Encodes rows of one table; shared by all threads.
#[derive(Clone)]
pub(super) struct Encoder {
    factory: Arc<ArrowRowGroupWriterFactory>,
    schema: SchemaRef,
}

impl Encoder {
    pub(super) fn encode(&self, batch: &RecordBatch) -> Result<Encoded, ParquetError> {
        let mut writers = self.factory.create_column_writers(0)?;
        let mut each = writers.iter_mut();
        for (field, column) in self.schema.fields().iter().zip(batch.columns()) {
            for leaf in compute_leaves(field, column)? {
                if let Some(writer) = each.next() {
                    writer.write(&leaf)?;
                }
            }
        }
        let chunks = writers
            .into_iter()
            .map(parquet::arrow::arrow_writer::ArrowColumnWriter::close)
            .collect::<Result<_, _>>()?;
        Ok(Encoded { chunks, rows: batch.num_rows() as u64 })
    }
}

/// A file that row groups are appended to.
pub(super) struct Output {
    writer: SerializedFileWriter<BufWriter<File>>,
    pub(super) encoder: Encoder,
    pub(super) rows: u64,
    pub(super) path: PathBuf,
}

fn properties(schema: &SchemaRef, key: Option<&str>) -> Result<WriterProperties, ParquetError> {
    let mut properties = WriterProperties::builder()
        .set_created_by("acequia".to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_offset_index_disabled(true);
    for field in schema.fields() {
        let path = || ColumnPath::from(field.name().as_str());
        // Keyed ids and digests are random: neither a dictionary nor compression finds anything in them.
        let random = Some(field.name().as_str()) == key
            || matches!(field.data_type(), DataType::FixedSizeBinary(_))
            || field.name() == "row_id";
        if random {
            properties = properties
                .set_column_dictionary_enabled(path(), false)
                .set_column_compression(path(), Compression::UNCOMPRESSED)
                .set_column_statistics_enabled(path(), EnabledStatistics::None);
        }
        if matches!(field.data_type(), DataType::Timestamp(..)) {
            properties = properties.set_column_dictionary_enabled(path(), false);
        }
    }
    Ok(properties.build())
}

impl Output {
    pub(super) fn create(path: &Path, schema: &SchemaRef, key: Option<&str>) -> Result<Self, ParquetError> {
        let file = BufWriter::with_capacity(1 << 18, File::create(path)?);
        let writer = ArrowWriter::try_new(file, Arc::clone(schema), Some(properties(schema, key)?))?;
        let (writer, factory) = writer.into_serialized_writer()?;
        let encoder = Encoder { factory: Arc::new(factory), schema: Arc::clone(schema) };
        Ok(Self { writer, encoder, rows: 0, path: path.to_owned() })
    }

    pub(super) fn append(&mut self, encoded: Encoded) -> Result<(), ParquetError> {
        let mut group = self.writer.next_row_group()?;
        for chunk in encoded.chunks {
            chunk.append_to_row_group(&mut group)?;
        }
        group.close()?;
        self.rows += encoded.rows;
        Ok(())
    }

    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<(), ParquetError> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let encoded = self.encoder.encode(batch)?;
        self.append(encoded)
    }

    /// Ends the file and syncs it.
    pub(super) fn finish(self) -> Result<u64, ParquetError> {
        let file = self.writer.into_inner()?;
        file.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()?;
        Ok(self.rows)
    }
}
