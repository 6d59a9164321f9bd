//! What a load remembers for the next: every item with the digest of its content, and what references resolve to.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::Path;

use acequia_omop::Coding;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry as Place;

use super::LoadError;
use super::index::{Index, PersonRef, VisitRef};
use crate::hash::{DigestMap, low};

/// One item as it was loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) item: u128,
    pub(super) content: u128,
    pub(super) person: i64,
    pub(super) first_day: i32,
    pub(super) last_day: i32,
    /// Rows with keyed ids, numbered from 0.
    pub(super) rows: u32,
    pub(super) generation: u32,
}

impl Entry {
    pub(super) const BYTES: usize = 56;

    pub(super) fn write(&self, into: &mut Vec<u8>) {
        into.extend_from_slice(&self.item.to_le_bytes());
        into.extend_from_slice(&self.content.to_le_bytes());
        into.extend_from_slice(&self.person.to_le_bytes());
        into.extend_from_slice(&self.first_day.to_le_bytes());
        into.extend_from_slice(&self.last_day.to_le_bytes());
        into.extend_from_slice(&self.rows.to_le_bytes());
        into.extend_from_slice(&self.generation.to_le_bytes());
    }

    /// All entries of a file.
    pub(super) fn all(bytes: &[u8]) -> impl Iterator<Item = Self> + '_ {
        bytes.chunks_exact(Self::BYTES).filter_map(Self::read)
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let sixteen = |at: usize| Some(u128::from_le_bytes(bytes.get(at..at + 16)?.try_into().ok()?));
        let four = |at: usize| bytes.get(at..at + 4)?.try_into().ok();
        Some(Self {
            item: sixteen(0)?,
            content: sixteen(16)?,
            person: i64::from_le_bytes(bytes.get(32..40)?.try_into().ok()?),
            first_day: i32::from_le_bytes(four(40)?),
            last_day: i32::from_le_bytes(four(44)?),
            rows: u32::from_le_bytes(four(48)?),
            generation: u32::from_le_bytes(four(52)?),
        })
    }
}

/// Items of earlier loads.
#[derive(Debug, Default)]
pub(super) struct Known {
    entries: Vec<Entry>,
    /// Places of entries, found by the low half of the digest of their item.
    by_item: HashTable<u32>,
    /// The same by their content.
    by_content: HashTable<u32>,
}

impl Known {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn has_content(&self, content: u128) -> bool {
        self.by_content.find(low(content), |at| self.entries[*at as usize].content == content).is_some()
    }

    pub(super) fn entry(&self, item: u128) -> Option<Entry> {
        let place = self.by_item.find(low(item), |at| self.entries[*at as usize].item == item);
        place.map(|at| self.entries[*at as usize])
    }

    /// Reads the entries of all loads in order; a later one of an item takes the place of an earlier.
    pub(super) fn read(paths: &[std::path::PathBuf]) -> Result<Self, LoadError> {
        let mut known = Self::default();
        for path in paths {
            let io = |source| LoadError::Io { what: "the state of an earlier load", doing: "read", source };
            let file = File::open(path).map_err(io)?;
            let entries = usize::try_from(file.metadata().map_err(io)?.len()).unwrap_or(0) / Entry::BYTES;
            known.reserve(entries);
            // Entry by entry: touching fresh memory for the whole file costs more than reading it.
            let (mut file, mut bytes) = (BufReader::with_capacity(1 << 16, file), [0; Entry::BYTES]);
            for _ in 0..entries {
                file.read_exact(&mut bytes).map_err(io)?;
                Entry::read(&bytes).into_iter().for_each(|entry| known.put(entry));
            }
        }
        let entries = &known.entries;
        let digest = |at: &u32| low(entries[*at as usize].content);
        known.by_content.reserve(entries.len(), digest);
        for (entry, at) in entries.iter().zip(0..) {
            known.by_content.insert_unique(low(entry.content), at, digest);
        }
        Ok(known)
    }

    fn reserve(&mut self, more: usize) {
        self.entries.reserve(more);
        self.by_item.reserve(more, |at| low(self.entries[*at as usize].item));
    }

    fn put(&mut self, entry: Entry) {
        let (item, next) = (entry.item, u32::try_from(self.entries.len()).unwrap_or(u32::MAX));
        let of = |at: &u32| self.entries[*at as usize].item;
        match self.by_item.entry(low(item), |at| of(at) == item, |at| low(of(at))) {
            Place::Occupied(place) => self.entries[*place.get() as usize] = entry,
            Place::Vacant(place) => {
                place.insert(next);
                self.entries.push(entry);
            }
        }
    }

    /// Puts new entries over those of before.
    pub(super) fn update(&mut self, entries: &[Entry]) {
        self.reserve(entries.len());
        entries.iter().for_each(|entry| self.put(*entry));
    }

    pub(super) fn retain(&mut self, keep: impl Fn(&Entry) -> bool) {
        self.entries.retain(keep);
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// First and last day of every person.
    pub(super) fn spans(&self) -> BTreeMap<i64, (i32, i32)> {
        let mut spans = BTreeMap::<i64, (i32, i32)>::new();
        let mut widen = |person, (first, last): (i32, i32)| {
            let span = spans.entry(person).or_insert((first, last));
            *span = (span.0.min(first), span.1.max(last));
        };
        // Items of one person mostly follow each other.
        let mut run: Option<(i64, (i32, i32))> = None;
        for entry in self.entries.iter().filter(|entry| entry.first_day <= entry.last_day) {
            match &mut run {
                Some((person, span)) if *person == entry.person => {
                    *span = (span.0.min(entry.first_day), span.1.max(entry.last_day));
                }
                _ => {
                    let next = (entry.person, (entry.first_day, entry.last_day));
                    if let Some((person, span)) = run.replace(next) {
                        widen(person, span);
                    }
                }
            }
        }
        if let Some((person, span)) = run {
            widen(person, span);
        }
        spans
    }
}

pub(super) fn read_file(path: &Path) -> Result<Vec<u8>, LoadError> {
    std::fs::read(path).map_err(|source| LoadError::Io { what: "the state of an earlier load", doing: "read", source })
}

const MAGIC: &[u8; 8] = b"acqidx01";

/// Writes what references resolve to, in ascending order of their digests: same input, same bytes.
pub(super) fn write_index(index: &Index, file: File) -> std::io::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 20, file);
    out.write_all(MAGIC)?;
    fn sorted<V>(map: &DigestMap<V>) -> Vec<(&u128, &V)> {
        let mut pairs: Vec<_> = map.iter().collect();
        pairs.sort_unstable_by_key(|(key, _)| **key);
        pairs
    }
    let count = |out: &mut BufWriter<File>, count: usize| out.write_all(&(count as u64).to_le_bytes());
    count(&mut out, index.persons.len())?;
    for (key, person) in sorted(&index.persons) {
        out.write_all(&key.to_le_bytes())?;
        out.write_all(&person.id.to_le_bytes())?;
        out.write_all(&[u8::from(person.held)])?;
    }
    count(&mut out, index.visits.len())?;
    for (key, visit) in sorted(&index.visits) {
        out.write_all(&key.to_le_bytes())?;
        for part in [visit.visit, visit.detail, visit.person] {
            out.write_all(&part.to_le_bytes())?;
        }
        out.write_all(&visit.start_day.to_le_bytes())?;
    }
    for map in [&index.specimens, &index.parties] {
        count(&mut out, map.len())?;
        for (key, id) in sorted(map) {
            out.write_all(&key.to_le_bytes())?;
            out.write_all(&id.to_le_bytes())?;
        }
    }
    let mut drugs: Vec<&u128> = index.drugs.iter().collect();
    drugs.sort_unstable();
    count(&mut out, drugs.len())?;
    for key in drugs {
        out.write_all(&key.to_le_bytes())?;
    }
    count(&mut out, index.definitions.len())?;
    for (key, codes) in sorted(&index.definitions) {
        out.write_all(&key.to_le_bytes())?;
        count(&mut out, codes.len())?;
        for text in codes.iter().flat_map(|code| [&code.system, &code.code]) {
            count(&mut out, text.len())?;
            out.write_all(text.as_bytes())?;
        }
    }
    out.flush()?;
    out.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()
}

/// Reads what [`write_index`] wrote, into an index.
pub(super) fn read_index(path: &Path, index: &mut Index) -> Result<(), LoadError> {
    let io = |source| LoadError::Io { what: "the state of an earlier load", doing: "read", source };
    let mut input = BufReader::with_capacity(1 << 20, File::open(path).map_err(io)?);
    read_parts(&mut input, index).map_err(io)
}

fn read_parts(input: &mut impl Read, index: &mut Index) -> std::io::Result<()> {
    fn bytes<const N: usize>(input: &mut impl Read) -> std::io::Result<[u8; N]> {
        let mut bytes = [0; N];
        input.read_exact(&mut bytes)?;
        Ok(bytes)
    }
    fn count(input: &mut impl Read) -> std::io::Result<usize> {
        let count = u64::from_le_bytes(bytes(input)?);
        usize::try_from(count).map_err(|_| std::io::ErrorKind::InvalidData.into())
    }
    fn digest(input: &mut impl Read) -> std::io::Result<u128> {
        bytes(input).map(u128::from_le_bytes)
    }
    fn id(input: &mut impl Read) -> std::io::Result<i64> {
        bytes(input).map(i64::from_le_bytes)
    }
    fn text(input: &mut impl Read) -> std::io::Result<String> {
        let length = count(input)?;
        if length > 1 << 20 {
            return Err(std::io::ErrorKind::InvalidData.into());
        }
        let mut bytes = vec![0; length];
        input.read_exact(&mut bytes)?;
        String::from_utf8(bytes).map_err(|_| std::io::ErrorKind::InvalidData.into())
    }
    if bytes::<8>(input)? != *MAGIC {
        return Err(std::io::ErrorKind::InvalidData.into());
    }
    for _ in 0..count(input)? {
        let (key, id) = (digest(input)?, id(input)?);
        let held = bytes::<1>(input)? == [1];
        index.persons.insert(key, PersonRef { id, held });
    }
    for _ in 0..count(input)? {
        let (key, visit, detail, person) = (digest(input)?, id(input)?, id(input)?, id(input)?);
        let start_day = i32::from_le_bytes(bytes(input)?);
        index.visits.insert(key, VisitRef { visit, detail, person, start_day });
    }
    for map in [&mut index.specimens, &mut index.parties] {
        for _ in 0..count(input)? {
            let (key, id) = (digest(input)?, id(input)?);
            map.insert(key, id);
        }
    }
    for _ in 0..count(input)? {
        let key = digest(input)?;
        index.drugs.insert(key);
    }
    for _ in 0..count(input)? {
        let key = digest(input)?;
        let mut codes = Vec::new();
        for _ in 0..count(input)? {
            codes.push(Coding { system: text(input)?, code: text(input)? });
        }
        index.definitions.insert(key, codes);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_read_as_written() {
        let entry =
            Entry { item: 1 << 100, content: 7, person: -3, first_day: -1, last_day: 9, rows: 2, generation: 4 };
        let mut bytes = Vec::new();
        entry.write(&mut bytes);
        assert_eq!((bytes.len(), Entry::read(&bytes)), (Entry::BYTES, Some(entry)));
    }
}
