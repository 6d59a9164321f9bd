//! From segments to the content of a file.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use crate::shard::File;
use crate::{Chunk, Merkle, RangeHasher, Segment, Unpacker, XetError, XetHash, XorbIndex};

/// Where the xorbs are that files are made of: each one that was read, as it came.
pub trait Xorbs {
    /// Why a xorb cannot be had.
    type Error: From<XetError>;

    /// What is in a xorb, or nothing if whoever sends the shard did not upload it. Asked for segment by segment, often for the same one
    /// again.
    ///
    /// # Errors
    /// When it cannot be told.
    fn index(&mut self, xorb: &XetHash) -> Result<Option<Arc<XorbIndex>>, Self::Error>;

    /// Puts the bytes at `range` of a xorb into `into`, which is empty. It is one chunk with its header: at most 256 KiB.
    ///
    /// # Errors
    /// When they cannot be read.
    fn read(&mut self, xorb: &XetHash, range: Range<u64>, into: &mut Vec<u8>) -> Result<(), Self::Error>;
}

/// Xorbs that are in memory, for tests and small uploads.
impl Xorbs for BTreeMap<XetHash, (Vec<u8>, Arc<XorbIndex>)> {
    type Error = XetError;

    fn index(&mut self, xorb: &XetHash) -> Result<Option<Arc<XorbIndex>>, XetError> {
        Ok(self.get(xorb).map(|(_, index)| Arc::clone(index)))
    }

    fn read(&mut self, xorb: &XetHash, range: Range<u64>, into: &mut Vec<u8>) -> Result<(), XetError> {
        let place = |place: u64| usize::try_from(place).unwrap_or(usize::MAX);
        let bytes = self.get(xorb).and_then(|(bytes, _)| bytes.get(place(range.start)..place(range.end)));
        // What is missing is noticed as changed.
        into.extend_from_slice(bytes.unwrap_or_default());
        Ok(())
    }
}

impl<'a> File<'a> {
    /// Checks the file against its xorbs, without their content: each segment lies in a xorb that is there and has the bytes it states, its
    /// proof is the one of its chunks, and all chunks together have the file's hash.
    ///
    /// # Errors
    /// The first segment that does not fit.
    pub fn check<X: Xorbs>(&self, xorbs: &mut X) -> Result<(), X::Error> {
        let mut merkle = Merkle::default();
        for (n, segment) in (0..).zip(self.segments()) {
            let index = self.index(n, &segment, xorbs)?;
            let wrong = |problem| XetError::Segment { file: self.number, segment: n, problem };
            let chunks = index.range(&segment.chunks).ok_or(wrong("the xorb has fewer chunks"))?;
            let mut proof = RangeHasher::default();
            for chunk in chunks {
                proof.push(chunk.hash());
                merkle.push(*chunk.hash(), chunk.bytes());
            }
            if chunks.iter().map(|chunk| u64::from(chunk.bytes())).sum::<u64>() != u64::from(segment.bytes) {
                return Err(wrong("the chunks have another length").into());
            }
            if proof.finish() != segment.proof {
                return Err(wrong("the verification entry is not that of the chunks").into());
            }
        }
        if merkle.file_hash() != self.hash() {
            return Err(XetError::FileHash { file: self.number }.into());
        }
        Ok(())
    }

    fn index<X: Xorbs>(&self, n: u32, segment: &Segment, xorbs: &mut X) -> Result<Arc<XorbIndex>, X::Error> {
        let missing = XetError::NoXorb { file: self.number, segment: n };
        Ok(xorbs.index(&segment.xorb)?.ok_or(missing)?)
    }

    /// Checks the file, and begins to give out its content.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn rebuild<'x, X: Xorbs>(&self, xorbs: &'x mut X) -> Result<Rebuild<'a, 'x, X>, X::Error> {
        self.check(xorbs)?;
        let (unpacker, stored) = <_>::default();
        Ok(Rebuild { file: *self, xorbs, segment: 0, chunks: None, unpacker, stored })
    }
}

/// The content of a file, chunk by chunk. It keeps the index of one xorb and less than a MiB.
#[derive(Debug)]
pub struct Rebuild<'a, 'x, X> {
    file: File<'a>,
    xorbs: &'x mut X,
    /// The segment after this one.
    segment: u32,
    /// Chunks of this segment that are still to come.
    chunks: Option<(Arc<XorbIndex>, Range<u32>)>,
    unpacker: Unpacker,
    stored: Vec<u8>,
}

impl<X: Xorbs> Rebuild<'_, '_, X> {
    /// The next bytes of the file, at most 128 KiB, or nothing after the last.
    ///
    /// # Errors
    /// When a xorb cannot be read, or is not what it was when it was uploaded.
    #[expect(
        clippy::should_implement_trait,
        reason = "what it gives is gone with the next call, which an iterator cannot say"
    )]
    pub fn next(&mut self) -> Result<Option<&[u8]>, X::Error> {
        let Some((xorb, chunk)) = self.chunk()? else { return Ok(None) };
        self.stored.clear();
        self.xorbs.read(&xorb, chunk.range(), &mut self.stored)?;
        Ok(Some(chunk.unpack(&self.stored, &mut self.unpacker)?))
    }

    /// The next chunk and its xorb.
    fn chunk(&mut self) -> Result<Option<(XetHash, Chunk)>, X::Error> {
        loop {
            if let Some((index, range)) = &mut self.chunks
                && let Some([chunk, ..]) = index.range(range)
            {
                range.start += 1;
                return Ok(Some((*index.hash(), *chunk)));
            }
            let Some(segment) = self.file.segment(self.segment) else { return Ok(None) };
            let index = self.file.index(self.segment, &segment, self.xorbs)?;
            self.chunks = Some((index, segment.chunks));
            self.segment += 1;
        }
    }
}
