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

type Writer = SerializedFileWriter<BufWriter<File>>;

/// A file that row groups are appended to. It is made with the first of them: a small change fills few tables.
pub(super) struct Output {
    writer: Option<Writer>,
    properties: WriterProperties,
    pub(super) encoder: Encoder,
    pub(super) rows: u64,
    pub(super) path: PathBuf,
}

/// How rows are kept.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    /// Compressed, in the tables.
    Tables,
    /// As they are, in changes: these are few, soon to be folded into the tables, and making ready to compress them takes
    /// longer than writing them.
    Changes,
}

fn properties(schema: &SchemaRef, key: Option<&str>, packing: Packing) -> Result<WriterProperties, ParquetError> {
    let compression = match packing {
        Packing::Tables => Compression::ZSTD(ZstdLevel::try_new(1)?),
        Packing::Changes => Compression::UNCOMPRESSED,
    };
    let mut properties = WriterProperties::builder()
        .set_created_by("acequia".to_owned())
        .set_compression(compression)
        .set_dictionary_enabled(packing == Packing::Tables)
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
    pub(super) fn create(
        path: &Path,
        schema: &SchemaRef,
        key: Option<&str>,
        packing: Packing,
    ) -> Result<Self, ParquetError> {
        let properties = properties(schema, key, packing)?;
        let writer = ArrowWriter::try_new(std::io::sink(), Arc::clone(schema), Some(properties.clone()))?;
        let (_, factory) = writer.into_serialized_writer()?;
        let encoder = Encoder { factory: Arc::new(factory), schema: Arc::clone(schema) };
        Ok(Self { writer: None, properties, encoder, rows: 0, path: path.to_owned() })
    }

    /// The writer, made when there is none yet.
    fn writer(&mut self) -> Result<Writer, ParquetError> {
        if let Some(writer) = self.writer.take() {
            return Ok(writer);
        }
        let file = BufWriter::with_capacity(1 << 18, File::create(&self.path)?);
        let writer = ArrowWriter::try_new(file, Arc::clone(&self.encoder.schema), Some(self.properties.clone()))?;
        Ok(writer.into_serialized_writer()?.0)
    }

    pub(super) fn append(&mut self, encoded: Encoded) -> Result<(), ParquetError> {
        let writer = self.writer()?;
        let writer = self.writer.insert(writer);
        let mut group = writer.next_row_group()?;
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

    /// Ends the file and syncs it. One without rows is made now.
    pub(super) fn finish(mut self) -> Result<u64, ParquetError> {
        let file = self.writer()?.into_inner()?;
        file.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()?;
        Ok(self.rows)
    }
}
