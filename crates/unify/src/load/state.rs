//! What a load remembers for the next: every item with the digest of its content, and what references resolve to.

use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::ops::Range;
use std::path::Path;

use acequia_blobs::{MappedFile, map_file};
use acequia_omop::Coding;

use super::LoadError;
use super::index::{Index, PersonRef, VisitRef, VisitsOnDisk};
use crate::hash::DigestMap;

/// One item as it was loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) item: u128,
    pub(super) content: u128,
    pub(super) person: i64,
    pub(super) first_day: i32,
    pub(super) last_day: i32,
    /// Rows with keyed ids, numbered from 0; [`Entry::NOTHING`] of what was held or rejected.
    pub(super) rows: u32,
    pub(super) generation: u32,
}

impl Entry {
    pub(super) const BYTES: usize = 56;

    /// Rows of an item of which nothing stands: it is new whenever it comes.
    pub(super) const NOTHING: u32 = u32::MAX;

    pub(super) fn write(&self, into: &mut Vec<u8>) {
        into.extend_from_slice(&self.item.to_le_bytes());
        into.extend_from_slice(&self.content.to_le_bytes());
        into.extend_from_slice(&self.person.to_le_bytes());
        into.extend_from_slice(&self.first_day.to_le_bytes());
        into.extend_from_slice(&self.last_day.to_le_bytes());
        into.extend_from_slice(&self.rows.to_le_bytes());
        into.extend_from_slice(&self.generation.to_le_bytes());
    }

    /// Every entry of a file with its place there, one after the other. Returns how many there are.
    pub(super) fn each(path: &Path, mut take: impl FnMut(u32, Self)) -> Result<u32, LoadError> {
        let entries = path.metadata().map_err(unreadable)?.len() / Self::BYTES as u64;
        let entries = u32::try_from(entries).map_err(|_| unreadable(std::io::ErrorKind::FileTooLarge.into()))?;
        let mut places = 0..entries;
        each_record(path, Self::BYTES, |bytes| {
            if let (Some(place), Some(entry)) = (places.next(), Self::read(bytes)) {
                take(place, entry);
            }
        })?;
        Ok(entries)
    }

    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
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

/// Every record of a file of records of equal length, one after the other; half a record at the end is none. Some records at
/// a time: touching fresh memory for the whole file costs more than reading it.
pub(super) fn each_record(path: &Path, record_bytes: usize, mut take: impl FnMut(&[u8])) -> Result<(), LoadError> {
    let mut file = File::open(path).map_err(unreadable)?;
    let mut bytes = vec![0; (1 << 16) / record_bytes * record_bytes];
    let mut rest = 0;
    loop {
        let got = match file.read(&mut bytes[rest..]) {
            Ok(0) => return Ok(()),
            Ok(got) => got,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(unreadable(error)),
        };
        let filled = rest + got;
        let whole = filled - filled % record_bytes;
        bytes[..whole].chunks_exact(record_bytes).for_each(&mut take);
        bytes.copy_within(whole..filled, 0);
        rest = filled - whole;
    }
}

/// A file of the state, in place. None is written to once it is there.
pub(super) fn mapped(path: &Path) -> Result<MappedFile, LoadError> {
    map_file(path, "the state of an earlier load").map_err(|error| unreadable(std::io::Error::other(error)))
}

const MAGIC: &[u8; 8] = b"acqidx02";

/// The form before, in which drugs had no rows: it is read where persons are to be removed from a folder of an older program.
const OLD_MAGIC: &[u8; 8] = b"acqidx01";

/// Stands for a row that was not noted; ids are never negative.
const ROW_UNKNOWN: i64 = -1;

/// Writes what references resolve to, in ascending order of their digests: same input, same bytes. Of visits, only those that
/// are in memory.
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
    count(&mut out, index.visits.own.len())?;
    for (key, visit) in sorted(&index.visits.own) {
        out.write_all(&key.to_le_bytes())?;
        for part in [visit.visit, visit.detail, visit.person] {
            out.write_all(&part.to_le_bytes())?;
        }
        out.write_all(&visit.start_day.to_le_bytes())?;
    }
    for map in [&index.specimens, &index.parties, &index.drugs] {
        count(&mut out, map.len())?;
        for (key, id) in sorted(map) {
            out.write_all(&key.to_le_bytes())?;
            out.write_all(&id.to_le_bytes())?;
        }
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

/// A visit as [`write_index`] writes it.
pub(super) struct VisitRecord;

impl VisitRecord {
    pub(super) const BYTES: usize = 16 + 3 * 8 + 4;

    pub(super) fn key(bytes: &[u8]) -> Option<u128> {
        Some(u128::from_le_bytes(bytes.get(..16)?.try_into().ok()?))
    }

    pub(super) fn read(bytes: &[u8]) -> Option<VisitRef> {
        let id = |at: usize| Some(i64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        let start_day = i32::from_le_bytes(bytes.get(40..44)?.try_into().ok()?);
        Some(VisitRef { visit: id(16)?, detail: id(24)?, person: id(32)?, start_day })
    }
}

/// Reads what [`write_index`] wrote, into an index; visits, which are most, are left where they are.
pub(super) fn open_index(path: &Path, index: &mut Index) -> Result<(), LoadError> {
    let file = mapped(path)?;
    let visits = read_parts(file.as_ref(), index).map_err(unreadable)?;
    index.visits.put_before(VisitsOnDisk::new(file, visits));
    Ok(())
}

/// Reads what [`write_index`] wrote, into an index that is all in memory.
pub(super) fn read_index(path: &Path, index: &mut Index) -> Result<(), LoadError> {
    let file = mapped(path)?;
    let visits = read_parts(file.as_ref(), index).map_err(unreadable)?;
    for record in file.as_ref()[visits].chunks_exact(VisitRecord::BYTES) {
        if let (Some(key), Some(visit)) = (VisitRecord::key(record), VisitRecord::read(record)) {
            index.visits.own.insert(key, visit);
        }
    }
    Ok(())
}

/// Returns where the visits lie.
fn read_parts(whole: &[u8], index: &mut Index) -> std::io::Result<Range<usize>> {
    fn bytes<const N: usize>(input: &mut &[u8]) -> std::io::Result<[u8; N]> {
        let (bytes, rest) = input.split_first_chunk().ok_or(std::io::ErrorKind::UnexpectedEof)?;
        *input = rest;
        Ok(*bytes)
    }
    fn slice<'b>(input: &mut &'b [u8], length: usize) -> std::io::Result<&'b [u8]> {
        let (slice, rest) = input.split_at_checked(length).ok_or(std::io::ErrorKind::UnexpectedEof)?;
        *input = rest;
        Ok(slice)
    }
    fn count(input: &mut &[u8]) -> std::io::Result<usize> {
        let count = u64::from_le_bytes(bytes(input)?);
        usize::try_from(count).map_err(|_| std::io::ErrorKind::InvalidData.into())
    }
    fn digest(input: &mut &[u8]) -> std::io::Result<u128> {
        bytes(input).map(u128::from_le_bytes)
    }
    fn id(input: &mut &[u8]) -> std::io::Result<i64> {
        bytes(input).map(i64::from_le_bytes)
    }
    fn text(input: &mut &[u8]) -> std::io::Result<String> {
        let length = count(input)?;
        let text = std::str::from_utf8(slice(input, length)?).map_err(|_| std::io::ErrorKind::InvalidData)?;
        Ok(text.to_owned())
    }
    let mut rest = whole;
    let input = &mut rest;
    let magic = bytes::<8>(input)?;
    let old = magic == *OLD_MAGIC;
    if magic != *MAGIC && !old {
        return Err(std::io::ErrorKind::InvalidData.into());
    }
    for _ in 0..count(input)? {
        let (key, id) = (digest(input)?, id(input)?);
        let held = bytes::<1>(input)? == [1];
        index.persons.insert(key, PersonRef { id, held });
    }
    let length = count(input)?.checked_mul(VisitRecord::BYTES).ok_or(std::io::ErrorKind::InvalidData)?;
    let start = whole.len() - input.len();
    slice(input, length)?;
    for map in [&mut index.specimens, &mut index.parties] {
        for _ in 0..count(input)? {
            let (key, id) = (digest(input)?, id(input)?);
            map.insert(key, id);
        }
    }
    for _ in 0..count(input)? {
        let key = digest(input)?;
        index.drugs.insert(key, if old { ROW_UNKNOWN } else { id(input)? });
    }
    for _ in 0..count(input)? {
        let key = digest(input)?;
        let mut codes = Vec::new();
        for _ in 0..count(input)? {
            codes.push(Coding { system: text(input)?, code: text(input)? });
        }
        index.definitions.insert(key, codes);
    }
    Ok(start..start + length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn visits_are_found_where_they_lie_and_the_latest_counts() {
        let folder = tempfile::tempdir().unwrap();
        let visit = |start_day| VisitRef { visit: 7, detail: 0, person: 3, start_day };
        let written = |name: &str, visits: &[(u128, i32)]| {
            let mut index = Index::default();
            index.persons.insert(5, PersonRef { id: 3, held: false });
            index.visits.own.extend(visits.iter().map(|(key, day)| (*key, visit(*day))));
            let path = folder.path().join(name);
            write_index(&index, File::create(&path).unwrap()).unwrap();
            path
        };
        let first = written("first", &[(u128::MAX, 1), (2, 2), (3, 3), (1 << 90, 4)]);
        let second = written("second", &[(3, 30)]);
        let (mut index, mut whole) = (Index::default(), Index::default());
        for path in [&first, &second] {
            open_index(path, &mut index).unwrap();
            read_index(path, &mut whole).unwrap();
        }
        for (key, day) in [(u128::MAX, Some(1)), (2, Some(2)), (3, Some(30)), (1 << 90, Some(4)), (4, None), (0, None)]
        {
            assert_eq!(index.visits.get(key).map(|visit| visit.start_day), day, "{key}");
            assert_eq!(whole.visits.get(key).map(|visit| visit.start_day), day, "{key}");
        }
        assert!(index.persons.contains_key(&5) && index.visits.own.is_empty());
        // What this load has of a visit counts before what earlier ones had.
        let mut found = Index::default();
        found.visits.own.insert(2, visit(20));
        index.absorb(found);
        assert_eq!(index.visits.get(2).map(|visit| visit.start_day), Some(20));
        for cut in [0, 7, 8, 20, 60] {
            let bytes = std::fs::read(&first).unwrap();
            let broken = folder.path().join("broken");
            std::fs::write(&broken, &bytes[..cut]).unwrap();
            assert!(open_index(&broken, &mut Index::default()).is_err());
        }
    }

    #[test]
    fn an_index_of_the_form_before_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index");
        let mut index = Index::default();
        index.drugs.insert(9, 70);
        write_index(&index, File::create(&path).unwrap()).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        // The row of the drug stands before the number of definitions.
        let row = bytes.len() - 16;
        bytes.drain(row..row + 8);
        bytes[..MAGIC.len()].copy_from_slice(OLD_MAGIC);
        std::fs::write(&path, bytes).unwrap();
        let mut read = Index::default();
        read_index(&path, &mut read).unwrap();
        assert_eq!(read.drugs.get(&9), Some(&ROW_UNKNOWN));
    }

    #[test]
    fn an_entry_is_read_as_written() {
        let entry =
            Entry { item: 1 << 100, content: 7, person: -3, first_day: -1, last_day: 9, rows: 2, generation: 4 };
        let mut bytes = Vec::new();
        entry.write(&mut bytes);
        assert_eq!((bytes.len(), Entry::read(&bytes)), (Entry::BYTES, Some(entry)));
    }
}
