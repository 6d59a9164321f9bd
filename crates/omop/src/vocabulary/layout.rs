//! The index file, version 1. Everything is little-endian; text is UTF-8.
//!
//! ```text
//! 0   magic `ACQVOCAB`
//! 8   u32 format version, u32 number of sections
//! 16  u64 length of the file
//! 24  32 bytes BLAKE3 of the sections, then the directory, then the length
//! 56  directory: per section u64 offset, u64 length
//!     sections
//! ```
//!
//! Concepts are numbered by ascending `concept_id`; that number (an *ordinal*) is what the other sections hold.

use std::ops::Range;

pub(super) const MAGIC: &[u8; 8] = b"ACQVOCAB";
pub(super) const FORMAT: u32 = 1;
pub(super) const DIRECTORY: usize = 56;
pub(super) const SECTIONS: usize = 18;
pub(super) const CONTENT: usize = DIRECTORY + SECTIONS * 16;

/// What a section holds; its place in the directory is its number here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    /// Texts: the version.
    Version,
    /// Texts, three for each vocabulary in order of id: id, name, version.
    Vocabularies,
    /// Texts, sorted.
    Domains,
    /// Texts, sorted.
    Classes,
    /// u32 `concept_id`, ascending.
    Ids,
    /// Names, one after the other.
    Names,
    /// n + 1 u32 offsets into `Names`.
    NameOffsets,
    /// n + 1 u32 offsets into `Codes`.
    CodeOffsets,
    /// Codes, one after the other.
    Codes,
    /// [`ATTRIBUTES`] bytes for each concept: u16 domain, u16 vocabulary, u16 class, u8 standard, u8 invalid reason,
    /// i32 first valid day, i32 last valid day (days since 1970-01-01).
    Attributes,
    /// u32 ordinals sorted by (vocabulary, code, valid first, ordinal).
    ByCode,
    /// Lists: ordinals a concept maps to.
    MapsTo,
    /// Lists: ordinals of the values a concept maps to.
    MapsToValue,
    /// Lists: ordinals below a concept.
    Descendants,
    /// Lists: ordinals above a concept.
    Ancestors,
    /// Lists: NUL-separated other names.
    Synonyms,
    /// Texts, sorted: the words of names and synonyms.
    Words,
    /// Ordinals in whose name or synonyms a word occurs: pool, then for each word u32 start and end in it
    /// and u32 number of concepts.
    Postings,
}

/// Bytes of [`Section::Postings`] for each word, after the pool.
pub(super) const SPAN: usize = 12;

/// Bytes of [`Section::Attributes`] for each concept.
pub(super) const ATTRIBUTES: usize = 16;

/// u32 at `at`, if it lies inside.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

/// u64 at `at`, if it lies inside.
pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at.checked_add(8)?)?.try_into().ok()?))
}

/// u16 at `at`, if it lies inside.
pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

/// The bytes between two neighbouring offsets of a table of u32.
pub(super) fn between<'v>(offsets: &[u8], pool: &'v [u8], at: usize) -> Option<&'v [u8]> {
    let start = u32_at(offsets, at.checked_mul(4)?)?;
    let end = u32_at(offsets, at.checked_mul(4)?.checked_add(4)?)?;
    pool.get(start as usize..end as usize)
}

/// A list of bytes for some keys: pool, keys ascending (u32), one offset more than keys (u32), number of keys (u32). What
/// is known last comes last, so that a list is written as it comes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lists<'v> {
    count: usize,
    keys: &'v [u8],
    offsets: &'v [u8],
    pool: &'v [u8],
}

impl<'v> Lists<'v> {
    pub(super) fn read(section: &'v [u8]) -> Option<Self> {
        let tail = section.len().checked_sub(4)?;
        let count = u32_at(section, tail)? as usize;
        let (rest, offsets) =
            section[..tail].split_at_checked(tail.checked_sub(count.checked_add(1)?.checked_mul(4)?)?)?;
        let (pool, keys) = rest.split_at_checked(rest.len().checked_sub(count.checked_mul(4)?)?)?;
        Some(Self { count, keys, offsets, pool })
    }

    /// The list of a key; empty when it has none.
    pub(super) fn get(&self, key: u32) -> &'v [u8] {
        let found = search(self.count, |at| u32_at(self.keys, at * 4).map(|found| found.cmp(&key)));
        found.and_then(|at| between(self.offsets, self.pool, at)).unwrap_or_default()
    }
}

/// Texts: u32 count, count + 1 u32 offsets, pool.
#[derive(Debug, Clone, Copy)]
pub(super) struct Texts<'v> {
    pub(super) count: usize,
    offsets: &'v [u8],
    pool: &'v [u8],
}

impl<'v> Texts<'v> {
    pub(super) fn read(section: &'v [u8]) -> Option<Self> {
        let count = u32_at(section, 0)? as usize;
        let offsets: Range<usize> = 4..count.checked_add(1)?.checked_mul(4)?.checked_add(4)?;
        Some(Self { count, offsets: section.get(offsets.clone())?, pool: section.get(offsets.end..)? })
    }

    pub(super) fn get(&self, at: usize) -> &'v str {
        between(self.offsets, self.pool, at).map_or("", text)
    }

    /// The number of a text in sorted texts.
    pub(super) fn find(&self, wanted: &str) -> Option<usize> {
        search(self.count, |at| Some(self.get(at).cmp(wanted)))
    }

    /// The numbers of the texts that begin with `prefix`, in sorted texts.
    pub(super) fn with_prefix(&self, prefix: &str) -> Range<usize> {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.get(middle) < prefix { low = middle + 1 } else { high = middle }
        }
        let start = low;
        while low < self.count && self.get(low).starts_with(prefix) {
            low += 1;
        }
        start..low
    }
}

/// UTF-8, or nothing.
pub(super) fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

/// Binary search over `count` places. `None` from the comparison means that the place cannot be read.
pub(super) fn search(count: usize, compare: impl Fn(usize) -> Option<std::cmp::Ordering>) -> Option<usize> {
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low + (high - low) / 2;
        match compare(middle)? {
            std::cmp::Ordering::Less => low = middle + 1,
            std::cmp::Ordering::Greater => high = middle,
            std::cmp::Ordering::Equal => return Some(middle),
        }
    }
    None
}

/// Ascending numbers, written as LEB128 differences.
#[derive(Debug, Clone)]
pub(super) struct Ascending<'v> {
    bytes: &'v [u8],
    last: Option<u32>,
}

impl<'v> Ascending<'v> {
    pub(super) const fn new(bytes: &'v [u8]) -> Self {
        Self { bytes, last: None }
    }
}

impl Iterator for Ascending<'_> {
    type Item = u32;
    fn next(&mut self) -> Option<u32> {
        let (mut difference, mut shift) = (0_u32, 0_u32);
        loop {
            let (byte, rest) = self.bytes.split_first()?;
            self.bytes = rest;
            difference |= u32::from(byte & 0x7f).checked_shl(shift)?;
            if byte & 0x80 == 0 {
                break;
            }
            shift += 7;
        }
        let value = match self.last {
            None => difference,
            Some(last) => last.checked_add(difference)?,
        };
        self.last = Some(value);
        Some(value)
    }
}

/// Appends the difference to the number before it.
pub(super) fn push_ascending(into: &mut Vec<u8>, last: &mut Option<u32>, value: u32) {
    let mut difference = value - last.unwrap_or(0);
    *last = Some(value);
    while difference >= 0x80 {
        into.push(u8::try_from(difference & 0x7f).unwrap_or(0) | 0x80);
        difference >>= 7;
    }
    into.push(u8::try_from(difference).unwrap_or(0));
}
