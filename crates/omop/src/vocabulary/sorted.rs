//! Sorting more pairs and texts than memory should hold: sorted runs in a scratch file, merged when read.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, Read, Seek, SeekFrom, Write};

/// A file that a sort may use and then forget.
pub trait ScratchFile: Read + Write + Seek + Send {}
impl<T: Read + Write + Seek + Send> ScratchFile for T {}

/// Gives scratch files. This crate opens none itself.
pub trait Scratch {
    /// An empty file that vanishes when it is dropped.
    ///
    /// # Errors
    /// What the operating system says.
    fn file(&mut self) -> io::Result<Box<dyn ScratchFile>>;
}

/// Pairs held before a run is written: 64 MB.
const PAIRS_HELD: usize = 8 << 20;
/// Bytes of text held before a run is written.
const TEXT_HELD: usize = 48 << 20;
/// Bytes read ahead from each run.
const AHEAD: usize = 128 << 10;

/// The runs of one sort.
#[derive(Default)]
struct Runs {
    file: Option<Box<dyn ScratchFile>>,
    ends: Vec<u64>,
}

impl Runs {
    fn write(
        &mut self,
        scratch: &mut dyn Scratch,
        fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(scratch.file()?),
        };
        let mut out = io::BufWriter::with_capacity(AHEAD, file);
        fill(&mut out)?;
        out.flush()?;
        drop(out);
        let end = self.file.as_mut().map_or(Ok(0), |file| file.stream_position())?;
        self.ends.push(end);
        Ok(())
    }
}

/// One run, read ahead.
struct Reader {
    next: u64,
    end: u64,
    buffer: Vec<u8>,
    at: usize,
}

impl Reader {
    /// `length` bytes, or `None` at the end of the run.
    fn take(&mut self, file: &mut dyn ScratchFile, length: usize) -> io::Result<Option<&[u8]>> {
        if self.buffer.len() - self.at < length {
            self.buffer.drain(..self.at);
            self.at = 0;
            let wanted = AHEAD.max(length) as u64;
            let more = usize::try_from(wanted.min(self.end - self.next)).unwrap_or(0);
            let held = self.buffer.len();
            self.buffer.resize(held + more, 0);
            file.seek(SeekFrom::Start(self.next))?;
            file.read_exact(&mut self.buffer[held..])?;
            self.next += more as u64;
            if self.buffer.is_empty() {
                return Ok(None);
            }
            if self.buffer.len() < length {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let start = self.at;
        self.at += length;
        Ok(Some(&self.buffer[start..self.at]))
    }
}

fn readers(ends: &[u64]) -> Vec<Reader> {
    let starts = std::iter::once(0).chain(ends.iter().copied());
    starts.zip(ends).map(|(next, end)| Reader { next, end: *end, buffer: Vec::new(), at: 0 }).collect()
}

/// Pairs of u32, sorted and without repetition.
pub(super) struct Pairs {
    held: Vec<u64>,
    runs: Runs,
    /// Pairs held before a run is written.
    limit: usize,
}

impl Default for Pairs {
    fn default() -> Self {
        Self::with_limit(PAIRS_HELD)
    }
}

impl Pairs {
    fn with_limit(limit: usize) -> Self {
        Self { held: Vec::new(), runs: Runs::default(), limit }
    }

    pub(super) fn push(&mut self, scratch: Option<&mut dyn Scratch>, key: u32, value: u32) -> io::Result<()> {
        self.held.push(u64::from(key) << 32 | u64::from(value));
        if let Some(scratch) = scratch
            && self.held.len() >= self.limit
        {
            self.held.sort_unstable();
            self.held.dedup();
            let held = std::mem::take(&mut self.held);
            self.runs.write(scratch, |out| held.iter().try_for_each(|pair| out.write_all(&pair.to_le_bytes())))?;
            self.held = held;
            self.held.clear();
        }
        Ok(())
    }

    /// Hands every pair to `each`, in order.
    pub(super) fn drain(mut self, mut each: impl FnMut(u32, u32) -> io::Result<()>) -> io::Result<()> {
        let split = |pair: u64| (u32::try_from(pair >> 32).unwrap_or(0), pair as u32);
        self.held.sort_unstable();
        self.held.dedup();
        let Some(mut file) = self.runs.file.take() else {
            return self.held.iter().try_for_each(|pair| {
                let (key, value) = split(*pair);
                each(key, value)
            });
        };
        let mut readers = readers(&self.runs.ends);
        let mut held = self.held.iter().copied();
        let mut heap = BinaryHeap::new();
        let mut next = |run: usize, readers: &mut Vec<Reader>| -> io::Result<Option<u64>> {
            match readers.get_mut(run) {
                None => Ok(held.next()),
                Some(reader) => Ok(reader
                    .take(&mut *file, 8)?
                    .map(|bytes| bytes.iter().rev().fold(0_u64, |pair, byte| pair << 8 | u64::from(*byte)))),
            }
        };
        for run in 0..=readers.len() {
            heap.extend(next(run, &mut readers)?.map(|pair| Reverse((pair, run))));
        }
        let mut last = None;
        while let Some(Reverse((pair, run))) = heap.pop() {
            heap.extend(next(run, &mut readers)?.map(|pair| Reverse((pair, run))));
            if last.replace(pair) != Some(pair) {
                let (key, value) = split(pair);
                each(key, value)?;
            }
        }
        Ok(())
    }
}

/// Texts with a key, sorted by key and text, without repetition.
pub(super) struct KeyedTexts {
    pool: Vec<u8>,
    held: Vec<(u32, u32, u32)>,
    runs: Runs,
    /// Bytes held before a run is written.
    limit: usize,
}

impl Default for KeyedTexts {
    fn default() -> Self {
        Self::with_limit(TEXT_HELD)
    }
}

impl KeyedTexts {
    fn with_limit(limit: usize) -> Self {
        Self { pool: Vec::new(), held: Vec::new(), runs: Runs::default(), limit }
    }

    pub(super) fn push(&mut self, scratch: Option<&mut dyn Scratch>, key: u32, text: &str) -> io::Result<()> {
        let start = u32::try_from(self.pool.len()).map_err(|_| io::ErrorKind::OutOfMemory)?;
        let length = u32::try_from(text.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        self.pool.extend_from_slice(text.as_bytes());
        self.held.push((key, start, length));
        if let Some(scratch) = scratch
            && self.pool.len() + self.held.len() * 12 >= self.limit
        {
            self.sort();
            let Self { pool, held, runs, .. } = self;
            runs.write(scratch, |out| {
                held.iter().try_for_each(|held| {
                    out.write_all(&held.0.to_le_bytes())?;
                    out.write_all(&held.2.to_le_bytes())?;
                    out.write_all(Self::text(pool, held))
                })
            })?;
            pool.clear();
            held.clear();
        }
        Ok(())
    }

    fn text<'p>(pool: &'p [u8], held: &(u32, u32, u32)) -> &'p [u8] {
        &pool[held.1 as usize..held.1 as usize + held.2 as usize]
    }

    fn sort(&mut self) {
        let pool = &self.pool;
        self.held.sort_unstable_by(|a, b| (a.0, Self::text(pool, a)).cmp(&(b.0, Self::text(pool, b))));
        self.held.dedup_by(|b, a| a.0 == b.0 && Self::text(pool, a) == Self::text(pool, b));
    }

    /// Hands every text to `each`, in order.
    pub(super) fn drain(mut self, mut each: impl FnMut(u32, &[u8]) -> io::Result<()>) -> io::Result<()> {
        self.sort();
        let Some(mut file) = self.runs.file.take() else {
            return self.held.iter().try_for_each(|held| each(held.0, Self::text(&self.pool, held)));
        };
        let mut readers = readers(&self.runs.ends);
        let mut held = self.held.iter();
        let pool = &self.pool;
        let mut heap = BinaryHeap::new();
        let mut next = |run: usize, readers: &mut Vec<Reader>| -> io::Result<Option<(u32, Vec<u8>)>> {
            let Some(reader) = readers.get_mut(run) else {
                return Ok(held.next().map(|held| (held.0, Self::text(pool, held).to_vec())));
            };
            let word = |bytes: &[u8]| bytes.iter().rev().fold(0_u32, |word, byte| word << 8 | u32::from(*byte));
            let Some(key) = reader.take(&mut *file, 4)?.map(word) else { return Ok(None) };
            let length = reader.take(&mut *file, 4)?.map_or(0, word) as usize;
            let text =
                if length == 0 { Vec::new() } else { reader.take(&mut *file, length)?.unwrap_or_default().to_vec() };
            Ok(Some((key, text)))
        };
        for run in 0..=readers.len() {
            heap.extend(next(run, &mut readers)?.map(|record| Reverse((record, run))));
        }
        let mut last: Option<(u32, Vec<u8>)> = None;
        while let Some(Reverse((record, run))) = heap.pop() {
            heap.extend(next(run, &mut readers)?.map(|record| Reverse((record, run))));
            if last.as_ref() != Some(&record) {
                each(record.0, &record.1)?;
                last = Some(record);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::io::Cursor;

    use super::*;

    struct Memory;

    impl Scratch for Memory {
        fn file(&mut self) -> io::Result<Box<dyn ScratchFile>> {
            Ok(Box::new(Cursor::new(Vec::new())))
        }
    }

    #[test]
    fn sorting_by_runs_gives_the_same_as_sorting_at_once() {
        let mut pairs = Pairs::with_limit(40_000);
        let (mut expected, mut state) = (BTreeSet::new(), 1_u64);
        for _ in 0..300_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let (key, value) = (u32::try_from(state >> 56).unwrap(), u32::try_from(state >> 50 & 0xff).unwrap());
            expected.insert((key, value));
            pairs.push(Some(&mut Memory), key, value).unwrap();
        }
        let mut found = Vec::new();
        pairs
            .drain(|key, value| {
                found.push((key, value));
                Ok(())
            })
            .unwrap();
        assert!(found.into_iter().eq(expected));
    }

    #[test]
    fn texts_longer_than_what_is_read_ahead_come_back_whole() {
        let mut texts = KeyedTexts::with_limit(1 << 20);
        let long = "x".repeat(2 * AHEAD);
        for key in (0..60_u32).rev() {
            texts.push(Some(&mut Memory), key / 2, &long[..AHEAD + key as usize]).unwrap();
            texts.push(Some(&mut Memory), key / 2, "").unwrap();
        }
        let mut lengths = Vec::new();
        texts
            .drain(|key, text| {
                lengths.push((key, text.len()));
                Ok(())
            })
            .unwrap();
        let expected = (0..30).flat_map(|key| {
            let length = AHEAD + 2 * key as usize;
            [(key, 0), (key, length), (key, length + 1)]
        });
        assert!(lengths.into_iter().eq(expected));
    }
}
