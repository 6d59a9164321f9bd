//! The input in parts of bounded size: runs of whole lines of one file, or several small files together.

use std::io::Read;
use std::ops::Range;

use super::{Input, LoadError};

/// Bytes of one part. Large enough for row groups worth reading, small enough that a few lie in memory at once.
pub const PART_BYTES: usize = 16 << 20;

/// Largest file that must be read whole (a bundle), and longest line.
pub(super) const LARGEST_WHOLE_BYTES: usize = 512 << 20;

/// A piece of one file.
pub(super) struct Piece {
    pub(super) input: usize,
    pub(super) first_row: u64,
    at: Range<usize>,
    /// The file does not go on after this piece, or has no lines.
    pub(super) whole: bool,
}

/// A part of the input, with its place in the order.
pub(super) struct Part {
    pub(super) number: usize,
    pub(super) pieces: Vec<Piece>,
    bytes: Vec<u8>,
}

impl Part {
    /// The bytes of one of its pieces.
    pub(super) fn of(&self, piece: &Piece) -> &[u8] {
        &self.bytes[piece.at.clone()]
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }
}

struct Open {
    input: usize,
    reader: Box<dyn Read + Send>,
    next_row: u64,
    /// The begin of a line whose end was not read yet.
    rest: Vec<u8>,
    fresh: bool,
}

/// Hands out parts, one after the other.
pub(super) struct Feed<'f> {
    inputs: &'f [Input<'f>],
    order: std::vec::IntoIter<usize>,
    open: Option<Open>,
    number: usize,
    part_bytes: usize,
    spare: Vec<Vec<u8>>,
}

impl<'f> Feed<'f> {
    /// `spare` are buffers of an earlier feed: fresh memory costs more than reading into it.
    pub(super) fn new(inputs: &'f [Input<'f>], order: Vec<usize>, part_bytes: usize, spare: Vec<Vec<u8>>) -> Self {
        Self { inputs, order: order.into_iter(), open: None, number: 0, part_bytes: part_bytes.max(1), spare }
    }

    /// Gives its buffers to the next feed.
    pub(super) fn into_spare(self) -> Vec<Vec<u8>> {
        self.spare
    }

    /// Gives the buffer back for later parts.
    pub(super) fn recycle(&mut self, part: Part) {
        let mut bytes = part.bytes;
        if bytes.capacity() <= 2 * self.part_bytes {
            bytes.clear();
            self.spare.push(bytes);
        }
    }

    /// The next part; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Part>, LoadError> {
        let (mut pieces, mut bytes) = (Vec::new(), self.spare.pop().unwrap_or_default());
        while bytes.len() < self.part_bytes {
            let open = match self.open.take() {
                Some(open) => open,
                None => {
                    let Some(input) = self.order.next() else { break };
                    let reader = (self.inputs[input].open)().map_err(|source| LoadError::Input { input, source })?;
                    Open { input, reader, next_row: 1, rest: Vec::new(), fresh: true }
                }
            };
            pieces.extend(self.piece(open, &mut bytes)?);
        }
        if pieces.is_empty() {
            self.spare.push(bytes);
            return Ok(None);
        }
        self.number += 1;
        Ok(Some(Part { number: self.number - 1, pieces, bytes }))
    }

    fn piece(&mut self, mut open: Open, bytes: &mut Vec<u8>) -> Result<Option<Piece>, LoadError> {
        let lines = self.inputs[open.input].lines;
        let read = |source| LoadError::Input { input: open.input, source };
        let (start, room) = (bytes.len(), self.part_bytes - bytes.len());
        bytes.append(&mut open.rest);
        let mut want = if lines { room.max(1 << 16).min(self.part_bytes) } else { LARGEST_WHOLE_BYTES + 1 };
        let ended = loop {
            let before = bytes.len() - start;
            let missing = want.saturating_sub(before);
            if lines {
                // One byte more than is taken: else the reader grows the buffer to see that this was the end.
                bytes.reserve_exact(missing + 1);
            }
            let got = open.reader.by_ref().take(missing as u64).read_to_end(bytes).map_err(read)?;
            if got < missing || missing == 0 && got == 0 && before == 0 {
                break true;
            }
            if !lines || bytes.len() - start > LARGEST_WHOLE_BYTES {
                return Err(LoadError::TooLarge { input: open.input });
            }
            if memchr::memrchr(b'\n', &bytes[start..]).is_some() {
                break false;
            }
            want += self.part_bytes;
        };
        if open.fresh && bytes[start..].starts_with(&[0xef, 0xbb, 0xbf]) {
            bytes.drain(start..start + 3);
        }
        let (input, first_row) = (open.input, open.next_row);
        if ended {
            let at = start..bytes.len();
            return Ok((!at.is_empty()).then_some(Piece { input, first_row, at, whole: true }));
        }
        let end = memchr::memrchr(b'\n', &bytes[start..]).map_or(bytes.len(), |at| start + at + 1);
        open.rest.extend_from_slice(&bytes[end..]);
        bytes.truncate(end);
        open.next_row += memchr::memchr_iter(b'\n', &bytes[start..]).count() as u64;
        open.fresh = false;
        self.open = Some(open);
        Ok(Some(Piece { input, first_row, at: start..end, whole: false }))
    }
}
