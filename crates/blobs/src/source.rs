//! Where the bytes of a blob come from while it is moved: never all of them at once.

use bytes::Bytes;

use crate::BlobError;

/// A blob, from its beginning.
pub(crate) trait Source {
    /// Of all of it; asked before anything is taken.
    fn length_bytes(&self) -> u64;

    /// The next bytes: as many as asked for, fewer at the end only.
    fn take(&mut self, most_bytes: u64) -> Result<Bytes, BlobError>;
}

/// What lies in memory.
pub(crate) struct Memory<'a>(pub(crate) &'a [u8]);

impl Source for Memory<'_> {
    fn length_bytes(&self) -> u64 {
        self.0.len() as u64
    }

    fn take(&mut self, most_bytes: u64) -> Result<Bytes, BlobError> {
        let (piece, rest) = self.0.split_at(self.0.len().min(size_of(most_bytes)));
        self.0 = rest;
        Ok(Bytes::copy_from_slice(piece))
    }
}

/// A number of bytes as a size in memory; one that does not fit is refused by whoever reserves it.
pub(crate) fn size_of(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}
