//! What a load remembers for the next: every item with the digest of its content, and what references resolve to.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::Path;

use acequia_omop::Coding;

use super::LoadError;
use super::index::{Index, PersonRef, VisitRef};
use crate::hash::DigestMap;

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

    /// Every entry of a file with its place there, one after the other. Returns how many there are.
    pub(super) fn each(path: &Path, mut take: impl FnMut(u32, Self)) -> Result<u32, LoadError> {
        let file = File::open(path).map_err(unreadable)?;
        let entries = file.metadata().map_err(unreadable)?.len() / Self::BYTES as u64;
        let entries = u32::try_from(entries).map_err(|_| unreadable(std::io::ErrorKind::FileTooLarge.into()))?;
        // Entry by entry: touching fresh memory for the whole file costs more than reading it.
        let (mut file, mut bytes) = (BufReader::with_capacity(1 << 16, file), [0; Self::BYTES]);
        for place in 0..entries {
            file.read_exact(&mut bytes).map_err(unreadable)?;
            Self::read(&bytes).into_iter().for_each(|entry| take(place, entry));
        }
        Ok(entries)
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

pub(super) fn unreadable(source: std::io::Error) -> LoadError {
    LoadError::Io { what: "the state of an earlier load", doing: "read", source }
}

pub(super) fn read_file(path: &Path) -> Result<Vec<u8>, LoadError> {
    std::fs::read(path).map_err(unreadable)
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
    let mut input = BufReader::with_capacity(1 << 20, File::open(path).map_err(unreadable)?);
    read_parts(&mut input, index).map_err(unreadable)
}

/// Visits for which room is made at once.
const MOST_RESERVED: usize = 1 << 22;

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
    let visits = count(input)?;
    // Growing bit by bit would move the largest map several times. A damaged number must not ask for all memory.
    index.visits.reserve(visits.min(MOST_RESERVED));
    for _ in 0..visits {
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
