//! Rows of Parquet, read where they lie sealed.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::io::{BufReader, Read};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::row::{RowConverter, SortField};
use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::reader::{ChunkReader, Length};
use twox_hash::XxHash3_128;

use crate::stow::SealedFile;

/// Most bytes of a group of rows, unpacked: readers hold parts of one in memory.
const LONGEST_GROUP_BYTES: i64 = 4 << 30;
/// Rows that are read at a time.
const BATCH_ROWS: usize = 4096;
/// Rows or persons of which a digest is in memory at a time; where there are more, the tables are read again and again.
const MOST_IN_MEMORY: u64 = 8_000_000;

/// Why rows cannot be compared, as a finding.
type Unread = &'static str;

/// A file as the reader of Parquet wants it.
struct Bare(Arc<SealedFile>);

impl Length for Bare {
    fn len(&self) -> u64 {
        self.0.len()
    }
}

/// Reads on from a place.
struct ReadingOn {
    file: Arc<SealedFile>,
    at: u64,
}

impl Read for ReadingOn {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let bytes = self.file.read(self.at..self.at + into.len() as u64).map_err(std::io::Error::other)?;
        into[..bytes.len()].copy_from_slice(&bytes);
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }
}

impl ChunkReader for Bare {
    type T = BufReader<ReadingOn>;

    fn get_read(&self, start: u64) -> ParquetResult<Self::T> {
        Ok(BufReader::with_capacity(64 * 1024, ReadingOn { file: Arc::clone(&self.0), at: start }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        let bytes = self.0.read(start..start.saturating_add(length as u64));
        let bytes = bytes.map_err(|error| ParquetError::External(Box::new(error)))?;
        if bytes.len() == length { Ok(bytes.into()) } else { Err(ParquetError::EOF("it breaks off".to_owned())) }
    }
}

/// One file of a split.
pub(crate) struct Table {
    file: Arc<SealedFile>,
    metadata: ArrowReaderMetadata,
}

impl Table {
    /// Reads what stands at the end of the file.
    ///
    /// # Errors
    /// What is wrong with it, as a finding.
    pub(crate) fn open(file: &Arc<SealedFile>) -> Result<Self, String> {
        let file = Arc::clone(file);
        let metadata = ArrowReaderMetadata::load(&Bare(Arc::clone(&file)), ArrowReaderOptions::new());
        let metadata = metadata.map_err(|_| "cannot be read as Parquet".to_owned())?;
        let mut groups = metadata.metadata().row_groups().iter();
        if groups.any(|group| group.total_byte_size() > LONGEST_GROUP_BYTES || group.total_byte_size() < 0) {
            return Err("has a row group of more than 4 GiB; write smaller ones".to_owned());
        }
        if metadata.metadata().file_metadata().num_rows() <= 0 {
            return Err("has no rows".to_owned());
        }
        Ok(Self { file, metadata })
    }

    fn rows(&self) -> u64 {
        u64::try_from(self.metadata.metadata().file_metadata().num_rows()).unwrap_or(0)
    }

    fn schema(&self) -> &SchemaRef {
        self.metadata.schema()
    }

    /// Columns with their types, in order.
    pub(crate) fn columns(&self) -> Vec<String> {
        self.schema().fields().iter().map(|field| field.name().clone()).collect()
    }

    /// Reads every row, as whoever loads the table will.
    ///
    /// # Errors
    /// What is wrong with it, as a finding.
    pub(crate) fn read_all(&self) -> Result<(), String> {
        let builder =
            ParquetRecordBatchReaderBuilder::new_with_metadata(Bare(Arc::clone(&self.file)), self.metadata.clone());
        let unread = || "has rows that cannot be read as Parquet".to_owned();
        let mut rows = 0u64;
        for batch in builder.with_batch_size(BATCH_ROWS).build().map_err(|_| unread())? {
            rows += batch.map_err(|_| unread())?.num_rows() as u64;
        }
        if rows == self.rows() { Ok(()) } else { Err(unread()) }
    }

    /// Tells a digest of every row, or of one column of it. Persons without a name are left out.
    fn each(&self, person: Option<&str>, tell: &mut dyn FnMut(u128)) -> Result<(), Unread> {
        let unread = |_: ParquetError| "rows of a split cannot be read";
        let metadata = self.metadata.clone();
        let mut builder = ParquetRecordBatchReaderBuilder::new_with_metadata(Bare(Arc::clone(&self.file)), metadata);
        if let Some(person) = person {
            let at = self.schema().fields().iter().position(|field| field.name() == person);
            let mask = ProjectionMask::roots(builder.parquet_schema(), at);
            builder = builder.with_projection(mask);
        }
        const INCOMPARABLE: &str = "rows of a split have types that cannot be compared";
        let mut converter: Option<RowConverter> = None;
        for batch in builder.with_batch_size(BATCH_ROWS).build().map_err(unread)? {
            let batch = batch.map_err(|_| "rows of a split cannot be read")?;
            if converter.is_none() {
                let fields =
                    batch.schema().fields().iter().map(|field| SortField::new(field.data_type().clone())).collect();
                converter = Some(RowConverter::new(fields).map_err(|_| INCOMPARABLE)?);
            }
            let Some(converter) = converter.as_mut() else { continue };
            let rows = converter.convert_columns(batch.columns()).map_err(|_| INCOMPARABLE)?;
            for (at, row) in rows.iter().enumerate() {
                if person.is_some() && batch.columns().iter().any(|column| column.is_null(at)) {
                    continue;
                }
                tell(XxHash3_128::oneshot(row.as_ref()));
            }
        }
        Ok(())
    }
}

/// How many rows, or persons, are in two splits, by the names of the two.
pub(crate) fn in_two_splits(
    splits: &BTreeMap<&str, Vec<&Table>>,
    person: Option<&str>,
) -> Result<BTreeMap<(String, String), u64>, Unread> {
    let mut both: BTreeMap<(String, String), u64> = BTreeMap::new();
    if splits.len() < 2 {
        return Ok(both);
    }
    let rows = splits.values().flatten().fold(0u64, |sum, table| sum.saturating_add(table.rows()));
    // Each pass looks at some of the digests: equal rows have equal ones.
    let passes = u128::from(rows.div_ceil(MOST_IN_MEMORY).max(1));
    for pass in 0..passes {
        // In which splits a row was seen, as bits.
        let mut seen: HashMap<u128, u32> = HashMap::new();
        for (number, tables) in splits.values().enumerate() {
            let own =
                1u32.checked_shl(u32::try_from(number).unwrap_or(u32::MAX)).ok_or("there are more than 32 splits")?;
            for table in tables {
                table.each(person, &mut |digest| {
                    if digest % passes == pass {
                        match seen.entry(digest) {
                            Entry::Occupied(mut entry) => *entry.get_mut() |= own,
                            Entry::Vacant(entry) => drop(entry.insert(own)),
                        }
                    }
                })?;
            }
        }
        let names: Vec<&str> = splits.keys().copied().collect();
        for bits in seen.into_values().filter(|bits| bits.count_ones() > 1) {
            for one in 0..names.len() {
                for other in one + 1..names.len() {
                    if bits >> one & 1 == 1 && bits >> other & 1 == 1 {
                        *both.entry((names[one].to_owned(), names[other].to_owned())).or_default() += 1;
                    }
                }
            }
        }
    }
    Ok(both)
}
