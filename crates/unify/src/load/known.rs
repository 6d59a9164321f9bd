//! Which items earlier loads had. Those of the first load, which are most, are looked up by sorted keys that were written
//! with it: a small change then costs what it has, not what the folder has. Those of later loads are in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use acequia_blobs::MappedFile;
use hashbrown::HashTable;
use hashbrown::hash_table::Entry as Place;

use super::state::{self, Entry};
use super::{LoadError, state_file};
use crate::hash::{DigestSet, low};

/// Items of earlier loads, each in its last state.
#[derive(Debug, Default)]
pub(super) struct Known {
    base: Option<Base>,
    /// Of later loads: what is here takes the place of what is there.
    later: Items,
    /// Contents that are told again although an earlier load had them.
    again: DigestSet,
}

impl Known {
    /// Reads what some loads into a folder had.
    pub(super) fn open(out: &Path, generations: RangeInclusive<u32>) -> Result<Self, LoadError> {
        let mut files = Vec::new();
        for past in generations {
            let file = state_file(out, "items", past);
            if file.metadata().map_err(state::unreadable)?.len() > 0 || !files.is_empty() {
                files.push((past, file));
            }
        }
        let mut known = Self::default();
        let Some(((first, items), later)) = files.split_first() else { return Ok(known) };
        known.base = Some(Base::open(items, &state_file(out, "keys", *first))?);
        let later: Vec<PathBuf> = later.iter().map(|(_, file)| file.clone()).collect();
        known.later = Items::read(&later)?;
        let entries = std::mem::take(&mut known.later.entries);
        known.supersede(&entries);
        known.later.entries = entries;
        Ok(known)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.base.is_none() && self.later.entries.is_empty()
    }

    /// Whether an item stands in this very state. Notes that this load has it too.
    pub(super) fn meet(&self, content: u128) -> bool {
        !self.again.contains(&content)
            && (self.later.meet(content) || self.base.as_ref().is_some_and(|base| base.meet(content)))
    }

    /// States that this load had besides `entries`, newer ones of the same items: which of two is the last was not seen, since
    /// the known one was passed over.
    pub(super) fn met_beside(&self, entries: &[Entry]) -> Result<DigestSet, LoadError> {
        let mut met = DigestSet::default();
        for entry in entries {
            if let Some(at) = self.later.place(entry.item) {
                met.extend(self.later.met.has(at).then(|| self.later.entries[at as usize].content));
            } else if let Some(base) = &self.base {
                met.extend(base.met_of(entry.item)?);
            }
        }
        Ok(met)
    }

    /// Has contents told again.
    pub(super) fn tell_again(&mut self, contents: impl IntoIterator<Item = u128>) {
        self.again.extend(contents);
    }

    /// Items that stand and are of these persons.
    pub(super) fn of_persons(&self, persons: &BTreeSet<i64>) -> Result<Vec<Entry>, LoadError> {
        let mut found = Vec::new();
        self.each_standing(|entry| {
            if persons.contains(&entry.person) {
                found.push(*entry);
            }
        })?;
        Ok(found)
    }

    /// Every item that stands.
    fn each_standing(&self, mut take: impl FnMut(&Entry)) -> Result<(), LoadError> {
        let mut standing = |entry: &Entry| {
            if entry.content != 0 {
                take(entry);
            }
        };
        self.later.entries.iter().for_each(&mut standing);
        let Some(base) = &self.base else { return Ok(()) };
        let mut superseded = base.superseded.iter().peekable();
        Entry::each(&base.file, |place, entry| {
            if superseded.next_if_eq(&&place).is_none() {
                standing(&entry);
            }
        })?;
        Ok(())
    }

    /// Rows that an item had.
    pub(super) fn rows_of(&self, item: u128) -> Option<u32> {
        match self.later.entry(item) {
            Some(entry) => Some(entry.rows).filter(|rows| *rows != Entry::NOTHING),
            None => self.base.as_ref()?.item(item).last().map(|key| key.rows),
        }
    }

    /// Puts new entries over those of before.
    pub(super) fn update(&mut self, entries: &[Entry]) {
        self.supersede(entries);
        entries.iter().for_each(|entry| self.later.put(*entry));
    }

    fn supersede(&mut self, entries: &[Entry]) {
        if let Some(base) = &mut self.base {
            let gone = entries.iter().flat_map(|entry| base.item(entry.item)).map(|key| key.place);
            let gone: Vec<u32> = gone.collect();
            base.superseded.extend(&gone);
            base.replaced.extend(gone);
        }
    }

    /// Items that stand, and that a file of entries with its keys lacks.
    pub(super) fn missing_from(&self, items: &Path, keys: &Path) -> Result<u64, LoadError> {
        let others = Base::open(items, keys)?;
        let mut missing = 0;
        self.each_standing(|entry| missing += u64::from(others.item(entry.item).next().is_none()))?;
        Ok(missing)
    }

    /// First and last day of every person.
    pub(super) fn spans(&self) -> Result<BTreeMap<i64, (i32, i32)>, LoadError> {
        let mut spans = Spans::default();
        self.later.entries.iter().for_each(|entry| spans.add(entry));
        let Some(base) = &self.base else { return Ok(spans.finish()) };
        let later = std::mem::take(&mut spans).finish();
        let known = base.spans();
        let mut spans = if base.still_reach(&known, &later)? {
            Spans::of(known)
        } else {
            Spans::of_entries(&base.file, &base.superseded)?
        };
        later.into_iter().for_each(|of_person| spans.widen(of_person));
        Ok(spans.finish())
    }
}

/// Places of entries that this load met, noted by several threads.
#[derive(Debug, Default)]
struct Met(Vec<AtomicU64>);

impl Met {
    fn of(entries: u64) -> Self {
        let words = usize::try_from(entries.div_ceil(64)).unwrap_or_default();
        Self((0..words).map(|_| AtomicU64::new(0)).collect())
    }

    fn note(&self, place: u32) {
        if let Some(word) = self.0.get(place as usize / 64) {
            word.fetch_or(1 << (place % 64), Ordering::Relaxed);
        }
    }

    fn has(&self, place: u32) -> bool {
        self.0.get(place as usize / 64).is_some_and(|word| word.load(Ordering::Relaxed) >> (place % 64) & 1 == 1)
    }
}

/// Items of the first load that had any.
#[derive(Debug)]
struct Base {
    file: PathBuf,
    /// The file of keys.
    keys: MappedFile,
    items: Keys,
    contents: Keys,
    /// First and last days of persons in the file of keys.
    spans: Range<usize>,
    /// Places of entries that later ones of the same item replace.
    superseded: BTreeSet<u32>,
    /// Those of them that were replaced after the keys were written.
    replaced: Vec<u32>,
    met: Met,
}

const MAGIC: &[u8; 8] = b"acqkey02";

impl Base {
    /// Opens the keys of a file of entries, and makes them if they are not there or of another file.
    fn open(items: &Path, keys: &Path) -> Result<Self, LoadError> {
        if let Some(base) = Self::read(items, keys)? {
            return Ok(base);
        }
        write_keys(items, keys)?;
        let damaged = || state::unreadable(std::io::ErrorKind::InvalidData.into());
        Self::read(items, keys)?.ok_or_else(damaged)
    }

    fn read(items: &Path, keys: &Path) -> Result<Option<Self>, LoadError> {
        let entries = items.metadata().map_err(state::unreadable)?.len() / Entry::BYTES as u64;
        if !keys.exists() {
            return Ok(None);
        }
        let keys = state::mapped(keys)?;
        let Some(parts) = Parts::of(keys.as_ref(), entries) else { return Ok(None) };
        let Parts { items: items_at, contents, superseded, spans } = parts;
        let (file, replaced, met) = (items.to_owned(), Vec::new(), Met::of(entries));
        Ok(Some(Self { file, keys, items: items_at, contents, spans, superseded, replaced, met }))
    }

    /// First and last day of every person as they were when the keys were written.
    fn spans(&self) -> BTreeMap<i64, (i32, i32)> {
        let bytes = self.keys.as_ref().get(self.spans.clone()).unwrap_or_default();
        let span = |bytes: &[u8]| {
            let person = i64::from_le_bytes(bytes.get(..8)?.try_into().ok()?);
            let day = |at: usize| bytes.get(at..at + 4)?.try_into().ok().map(i32::from_le_bytes);
            Some((person, (day(8)?, day(12)?)))
        };
        bytes.chunks_exact(SPAN_BYTES).filter_map(span).collect()
    }

    /// Whether days as far out as those that persons had are left to them, now that entries were replaced by `later` ones.
    fn still_reach(
        &self,
        known: &BTreeMap<i64, (i32, i32)>,
        later: &BTreeMap<i64, (i32, i32)>,
    ) -> Result<bool, LoadError> {
        let entries = state::mapped(&self.file)?;
        let reaches = |place: &u32| {
            let at = *place as usize * Entry::BYTES;
            let Some(entry) = entries.as_ref().get(at..).and_then(Entry::read) else { return false };
            let Some(before) = known.get(&entry.person) else { return true };
            let now = later.get(&entry.person);
            (entry.first_day > before.0 || now.is_some_and(|now| now.0 <= before.0))
                && (entry.last_day < before.1 || now.is_some_and(|now| now.1 >= before.1))
        };
        Ok(self.replaced.iter().all(reaches))
    }

    fn item(&self, item: u128) -> impl Iterator<Item = Key> + '_ {
        self.items.find(self.keys.as_ref(), item)
    }

    /// Items that came without a key of their own may stand in one state together.
    fn meet(&self, content: u128) -> bool {
        let found = self.contents.find(self.keys.as_ref(), content);
        let standing = found.filter(|key| self.superseded.is_empty() || !self.superseded.contains(&key.place));
        standing.map(|key| self.met.note(key.place)).count() > 0
    }

    /// The state of an item, if it was met.
    fn met_of(&self, item: u128) -> Result<Option<u128>, LoadError> {
        let Some(key) = self.item(item).last().filter(|key| self.met.has(key.place)) else { return Ok(None) };
        let entries = state::mapped(&self.file)?;
        let entry = entries.as_ref().get(key.place as usize * Entry::BYTES..).and_then(Entry::read);
        Ok(entry.map(|entry| entry.content))
    }
}

/// By what an entry is found: a digest of it, its place, its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    digest: u128,
    place: u32,
    rows: u32,
}

impl Key {
    const BYTES: usize = 24;

    fn read(bytes: &[u8]) -> Option<Self> {
        let digest = u128::from_le_bytes(bytes.get(..16)?.try_into().ok()?);
        Some(Self { digest, place: four(bytes.get(16..20)?)?, rows: four(bytes.get(20..24)?)? })
    }
}

fn four(bytes: &[u8]) -> Option<u32> {
    bytes.try_into().ok().map(u32::from_le_bytes)
}

/// Where keys lie in a file, in ascending order, and behind them, for each value of a digest's first bits, the number of the
/// first key that has it (one more at the end). Digests are spread evenly, so that few share their first bits.
#[derive(Debug, Clone, Copy)]
struct Keys {
    bits: u32,
    keys: usize,
    starts: usize,
}

impl Keys {
    /// About four keys for each value.
    fn bits(entries: u64) -> u32 {
        entries.checked_ilog2().unwrap_or(0).saturating_sub(2)
    }

    fn first_bits(digest: u128, bits: u32) -> usize {
        usize::try_from(digest.checked_shr(u128::BITS - bits).unwrap_or(0)).unwrap_or(0)
    }

    fn find<'b>(&self, bytes: &'b [u8], digest: u128) -> impl Iterator<Item = Key> + use<'b> {
        let at = self.starts + 4 * Self::first_bits(digest, self.bits);
        let start = |at: usize| bytes.get(at..at + 4).and_then(four).map_or(0, |key| key as usize);
        let (from, to) = (self.keys + Key::BYTES * start(at), self.keys + Key::BYTES * start(at + 4));
        let some = bytes.get(from..to).unwrap_or_default();
        some.chunks_exact(Key::BYTES).filter_map(Key::read).filter(move |key| key.digest == digest)
    }
}

/// The parts of a file of keys.
struct Parts {
    items: Keys,
    contents: Keys,
    /// Places that do not count.
    superseded: BTreeSet<u32>,
    /// Where first and last days of persons lie.
    spans: Range<usize>,
}

impl Parts {
    /// Those of a file about so many entries; `None` when it is another file.
    fn of(bytes: &[u8], entries: u64) -> Option<Self> {
        let footer = bytes.len().checked_sub(FOOTER_BYTES).and_then(|at| bytes.get(at..))?;
        let number =
            |nth: usize| -> Option<u64> { footer.get(8 * nth..8 * nth + 8)?.try_into().ok().map(u64::from_le_bytes) };
        if footer.get(FOOTER_BYTES - MAGIC.len()..)? != MAGIC || number(0)? != entries {
            return None;
        }
        let bits = Keys::bits(entries);
        let mut at = 0_usize;
        let mut part = |number: u64, each: usize| -> Option<Range<usize>> {
            let from = at;
            at = at.checked_add(usize::try_from(number).ok()?.checked_mul(each)?)?;
            Some(from..at)
        };
        let mut keys = |nth: usize| -> Option<Keys> {
            let keys = part(number(nth)?, Key::BYTES)?.start;
            Some(Keys { bits, keys, starts: part((1 << bits) + 1, 4)?.start })
        };
        let (items, contents) = (keys(1)?, keys(2)?);
        let (gone, spans) = (part(number(3)?, 4)?, part(number(4)?, SPAN_BYTES)?);
        if at.checked_add(FOOTER_BYTES)? != bytes.len() {
            return None;
        }
        let superseded = bytes.get(gone)?.chunks_exact(4).filter_map(four).collect();
        Some(Self { items, contents, superseded, spans })
    }
}

/// A person with first and last day.
const SPAN_BYTES: usize = 16;

/// Numbers of entries, items, contents, places that do not count, and persons; and [`MAGIC`].
const FOOTER_BYTES: usize = 5 * 8 + MAGIC.len();

/// About how many keys are sorted at a time, in 128 MB. Each time the whole file of entries is gone through.
const SORTED_AT_A_TIME: u64 = 1 << 22;

/// Writes the keys of a file of entries: items, contents that count, places of entries that later ones replace, and first
/// and last days of persons. Returns those places.
pub(super) fn write_keys(items: &Path, keys: &Path) -> Result<BTreeSet<u32>, LoadError> {
    let io = |source| LoadError::Io { what: "the state of the load", doing: "written", source };
    let entries = items.metadata().map_err(state::unreadable)?.len() / Entry::BYTES as u64;
    let aside = keys.with_extension("new");
    let mut out = BufWriter::with_capacity(1 << 18, File::create(&aside).map_err(io)?);
    let mut superseded = BTreeSet::new();
    let item = |entry: &Entry| Some(entry.item);
    let items_written = write_sorted(&mut out, items, entries, item, |key, next| {
        // Of an item that came twice the last state counts.
        let replaced = next.is_some_and(|next| next.digest == key.digest);
        if replaced {
            superseded.insert(key.place);
        }
        !replaced && key.rows != Entry::NOTHING
    })?;
    // What was held or rejected has no content, so that it is tried again.
    let content = |entry: &Entry| Some(entry.content).filter(|content| *content != 0);
    let counts = |key: &Key, _: Option<&Key>| superseded.is_empty() || !superseded.contains(&key.place);
    let contents_written = write_sorted(&mut out, items, entries, content, counts)?;
    let spans = Spans::of_entries(items, &superseded)?.finish();
    let mut footer: Vec<u8> = superseded.iter().flat_map(|place| place.to_le_bytes()).collect();
    for (person, (first, last)) in &spans {
        footer.extend_from_slice(&person.to_le_bytes());
        footer.extend_from_slice(&first.to_le_bytes());
        footer.extend_from_slice(&last.to_le_bytes());
    }
    for number in [entries, items_written, contents_written, superseded.len() as u64, spans.len() as u64] {
        footer.extend_from_slice(&number.to_le_bytes());
    }
    footer.extend_from_slice(MAGIC);
    out.write_all(&footer).map_err(io)?;
    out.into_inner().map_err(|error| io(error.into_error()))?.sync_all().map_err(io)?;
    std::fs::rename(&aside, keys).map_err(io)?;
    Ok(superseded)
}

/// Writes keys in ascending order and where each value of their first bits begins; `keep` sees each with the next one.
/// Returns how many there are.
fn write_sorted(
    out: &mut impl Write,
    items: &Path,
    entries: u64,
    digest: impl Fn(&Entry) -> Option<u128>,
    mut keep: impl FnMut(&Key, Option<&Key>) -> bool,
) -> Result<u64, LoadError> {
    let io = |source| LoadError::Io { what: "the state of the load", doing: "written", source };
    let bits = Keys::bits(entries);
    let ranges = u128::from(entries / SORTED_AT_A_TIME + 1);
    let mut starts: Vec<u32> = Vec::with_capacity((1 << bits) + 1);
    let mut written = 0_u32;
    // Digests are spread evenly, so that ranges are of one size but for little.
    let room = usize::try_from(entries.min(SORTED_AT_A_TIME + SORTED_AT_A_TIME / 64)).unwrap_or(0);
    let mut some = Vec::with_capacity(room);
    for range in 0..ranges {
        some.clear();
        Entry::each(items, |place, entry| {
            if let Some(digest) = digest(&entry)
                && ((digest >> 64) * ranges) >> 64 == range
            {
                some.push(Key { digest, place, rows: entry.rows });
            }
        })?;
        some.sort_unstable();
        for (nth, key) in some.iter().enumerate() {
            if !keep(key, some.get(nth + 1)) {
                continue;
            }
            while starts.len() <= Keys::first_bits(key.digest, bits) {
                starts.push(written);
            }
            let (digest, place, rows) = (key.digest.to_le_bytes(), key.place.to_le_bytes(), key.rows.to_le_bytes());
            out.write_all(&digest)
                .and_then(|()| out.write_all(&place))
                .and_then(|()| out.write_all(&rows))
                .map_err(io)?;
            written += 1;
        }
    }
    starts.resize((1 << bits) + 1, written);
    for start in &starts {
        out.write_all(&start.to_le_bytes()).map_err(io)?;
    }
    Ok(u64::from(written))
}

/// Entries in memory, each item once.
#[derive(Debug, Default)]
pub(super) struct Items {
    entries: Vec<Entry>,
    /// Places of entries, found by the low half of the digest of their item.
    by_item: HashTable<u32>,
    /// The same by their content.
    by_content: HashTable<u32>,
    met: Met,
}

impl Items {
    /// Reads the entries of loads in order; a later one of an item takes the place of an earlier.
    pub(super) fn read(paths: &[PathBuf]) -> Result<Self, LoadError> {
        let mut items = Self::default();
        for path in paths {
            Entry::each(path, |_, entry| items.put(entry))?;
        }
        let entries = &items.entries;
        let digest = |at: &u32| low(entries[*at as usize].content);
        items.by_content.reserve(entries.len(), digest);
        for (entry, at) in entries.iter().zip(0..) {
            items.by_content.insert_unique(low(entry.content), at, digest);
        }
        items.met = Met::of(items.entries.len() as u64);
        Ok(items)
    }

    fn meet(&self, content: u128) -> bool {
        let same = |at: &&u32| self.entries[**at as usize].content == content;
        self.by_content.iter_hash(low(content)).filter(same).map(|at| self.met.note(*at)).count() > 0
    }

    fn place(&self, item: u128) -> Option<u32> {
        self.by_item.find(low(item), |at| self.entries[*at as usize].item == item).copied()
    }

    fn entry(&self, item: u128) -> Option<&Entry> {
        self.place(item).map(|at| &self.entries[at as usize])
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

    /// All of them.
    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }
}

/// First and last day of every person, as entries are added.
#[derive(Default)]
struct Spans {
    spans: BTreeMap<i64, (i32, i32)>,
    /// Items of one person mostly follow each other.
    run: Option<(i64, (i32, i32))>,
}

impl Spans {
    fn of(spans: BTreeMap<i64, (i32, i32)>) -> Self {
        Self { spans, run: None }
    }

    /// Those of a file of entries but for some places.
    fn of_entries(items: &Path, without: &BTreeSet<u32>) -> Result<Self, LoadError> {
        let (mut spans, mut without) = (Self::default(), without.iter().peekable());
        Entry::each(items, |place, entry| {
            if without.next_if_eq(&&place).is_none() {
                spans.add(&entry);
            }
        })?;
        Ok(spans)
    }

    fn add(&mut self, entry: &Entry) {
        if entry.first_day > entry.last_day {
            return;
        }
        match &mut self.run {
            Some((person, span)) if *person == entry.person => {
                *span = (span.0.min(entry.first_day), span.1.max(entry.last_day));
            }
            _ => {
                if let Some(run) = self.run.replace((entry.person, (entry.first_day, entry.last_day))) {
                    self.widen(run);
                }
            }
        }
    }

    fn widen(&mut self, (person, (first, last)): (i64, (i32, i32))) {
        let span = self.spans.entry(person).or_insert((first, last));
        *span = (span.0.min(first), span.1.max(last));
    }

    fn finish(mut self) -> BTreeMap<i64, (i32, i32)> {
        if let Some(run) = self.run.take() {
            self.widen(run);
        }
        self.spans
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry() -> impl Strategy<Value = Entry> {
        // Few items and contents, spread over all values as digests are, so that they meet.
        let digest = (0_u128..12).prop_map(|n| n * (u128::MAX / 11));
        (digest.clone(), digest, 0_i64..3, 0_i32..9, 0_u32..3).prop_map(|(item, content, person, day, rows)| Entry {
            item,
            content,
            person,
            first_day: day,
            last_day: day + 1,
            rows,
            generation: 1,
        })
    }

    proptest! {
        /// By keys on disk, over any number of loads, the same is found as in memory.
        #[test]
        fn keys_on_disk_find_what_memory_does(loads in prop::collection::vec(prop::collection::vec(entry(), 0..40), 1..4)) {
            let out = tempfile::tempdir().unwrap();
            std::fs::create_dir_all(out.path().join(crate::load::STATE)).unwrap();
            let mut files = Vec::new();
            for (entries, past) in loads.iter().zip(1..) {
                let mut bytes = Vec::new();
                entries.iter().for_each(|entry| entry.write(&mut bytes));
                files.push(state_file(out.path(), "items", past));
                std::fs::write(files.last().unwrap(), bytes).unwrap();
            }
            let memory = Items::read(&files).unwrap();
            for _ in 0..2 {
                let known = Known::open(out.path(), 1..=u32::try_from(loads.len()).unwrap()).unwrap();
                for n in 0..12_u128 {
                    let digest = n * (u128::MAX / 11);
                    prop_assert_eq!(known.rows_of(digest), memory.entry(digest).map(|entry| entry.rows));
                    // Zero stands for no content.
                    prop_assert!(n == 0 || known.meet(digest) == memory.meet(digest));
                }
                let mut spans = Spans::default();
                memory.entries().iter().for_each(|entry| spans.add(entry));
                prop_assert_eq!(known.spans().unwrap(), spans.finish());
            }
        }
    }

    #[test]
    fn keys_of_another_file_are_made_again() {
        let out = tempfile::tempdir().unwrap();
        let (items, keys) = (out.path().join("items"), out.path().join("keys"));
        let mut bytes = Vec::new();
        let entry = Entry { item: 7, content: 9, person: 1, first_day: 0, last_day: 0, rows: 2, generation: 1 };
        entry.write(&mut bytes);
        std::fs::write(&items, &bytes).unwrap();
        for damaged in [&b""[..], b"acqkey01", &[0; 200]] {
            std::fs::write(&keys, damaged).unwrap();
            assert_eq!(Base::open(&items, &keys).unwrap().item(7).next().map(|key| key.rows), Some(2));
        }
        Entry { item: 8, ..entry }.write(&mut bytes);
        std::fs::write(&items, &bytes).unwrap();
        let base = Base::open(&items, &keys).unwrap();
        assert!(base.item(8).next().is_some() && base.meet(9) && !base.meet(8));
    }
}
