//! Rows of published tables, read by ranges from the catalogue. Everything here blocks: call it off the async threads.

use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;

use acequia_gate::ReleasedFile;
use acequia_types::Digest;
use arrow::array::RecordBatch;
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};

use crate::body::CHUNK_BYTES;
use crate::{Catalogue, HubError, PublishedVersion};

/// Rows that are decoded at a time.
const BATCH_ROWS: usize = 8 * 1024;

/// A published file as Parquet readers want it.
#[derive(Clone)]
pub(crate) struct Remote {
    catalogue: Arc<dyn Catalogue>,
    sha256: Digest,
    size_bytes: u64,
}

impl Remote {
    /// Bytes `range`, in the pieces that a catalogue gives.
    fn bytes(&self, range: Range<u64>) -> Result<Bytes, HubError> {
        if range.end - range.start <= CHUNK_BYTES {
            return self.catalogue.read(&self.sha256, range);
        }
        let mut whole = Vec::with_capacity(usize::try_from(range.end - range.start).unwrap_or_default());
        let mut start = range.start;
        while start < range.end {
            let end = range.end.min(start + CHUNK_BYTES);
            whole.extend_from_slice(&self.catalogue.read(&self.sha256, start..end)?);
            start = end;
        }
        Ok(whole.into())
    }
}

impl Length for Remote {
    fn len(&self) -> u64 {
        self.size_bytes
    }
}

/// Reads on from a place in a [`Remote`].
pub(crate) struct Tail {
    remote: Remote,
    at: u64,
    piece: Bytes,
}

impl Read for Tail {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.piece.is_empty() && self.at < self.remote.size_bytes {
            let end = self.remote.size_bytes.min(self.at + CHUNK_BYTES);
            self.piece = self.remote.bytes(self.at..end).map_err(io::Error::other)?;
            self.at = end;
        }
        let taken = into.len().min(self.piece.len());
        into[..taken].copy_from_slice(&self.piece.split_to(taken));
        Ok(taken)
    }
}

impl ChunkReader for Remote {
    type T = Tail;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Tail> {
        Ok(Tail { remote: self.clone(), at: start, piece: Bytes::new() })
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        let end = start.saturating_add(length as u64);
        if end > self.size_bytes {
            return Err(ParquetError::EOF("the file ends before what its footer names".to_owned()));
        }
        self.bytes(start..end).map_err(|error| ParquetError::External(Box::new(error)))
    }
}

/// Opens a published Parquet file.
///
/// # Errors
/// [`HubError::Unreadable`] when the store cannot deliver or the file is no Parquet.
pub(crate) fn open(
    catalogue: &Arc<dyn Catalogue>,
    file: &ReleasedFile,
) -> Result<ParquetRecordBatchReaderBuilder<Remote>, HubError> {
    let remote = Remote { catalogue: catalogue.clone(), sha256: file.sha256, size_bytes: file.bytes };
    let builder = ParquetRecordBatchReaderBuilder::try_new(remote).map_err(unreadable(file))?;
    Ok(builder.with_batch_size(BATCH_ROWS))
}

/// What a reader of a published file says when it fails.
pub(crate) fn unreadable<E: std::error::Error + Send + Sync + 'static>(
    file: &ReleasedFile,
) -> impl FnOnce(E) -> HubError + use<E> {
    let sha256 = file.sha256;
    move |source| HubError::Unreadable { sha256, source: Box::new(source) }
}

/// Rows `offset..offset + limit` of a file. Row groups and pages outside are not read.
///
/// # Errors
/// As [`open`].
pub(crate) fn slice(
    catalogue: &Arc<dyn Catalogue>,
    file: &ReleasedFile,
    offset: usize,
    limit: usize,
) -> Result<Vec<RecordBatch>, HubError> {
    let reader = open(catalogue, file)?.with_offset(offset).with_limit(limit).build().map_err(unreadable(file))?;
    reader.collect::<Result<Vec<_>, _>>().map_err(unreadable(file))
}

/// The Parquet files of each split, in the order of the manifest. A file belongs to the split its name begins with, as
/// releases name them.
pub(crate) fn splits(version: &PublishedVersion) -> Vec<(&str, Vec<&ReleasedFile>)> {
    let tables = || version.files().values().filter(|file| file.path.ends_with(".parquet"));
    let of = |split: &str| {
        let named = |file: &&ReleasedFile| {
            let name = file.path.rsplit('/').next().unwrap_or_default();
            name.strip_prefix(split).is_some_and(|rest| rest.starts_with(['-', '.']))
        };
        tables().filter(named).collect()
    };
    version.manifest().splits.iter().map(|(split, _)| (split.as_str(), of(split))).collect()
}
