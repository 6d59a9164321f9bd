//! Making an index from the rows of the vocabulary tables, in memory that grows with the number of concepts only.

use std::collections::HashMap;
use std::io::{self, Seek, SeekFrom, Write};

use acequia_types::Day;

use super::layout::{ATTRIBUTES, CONTENT, DIRECTORY, FORMAT, MAGIC, SECTIONS, Section, push_ascending};
use super::sorted::{KeyedTexts, Pairs, Scratch};
use super::{VocabularyError, VocabularyInfo};
use crate::vocabulary::words::words;

/// A row of CONCEPT. Text as the export writes it.
#[derive(Debug, Clone, Copy)]
pub struct ConceptRow<'r> {
    /// `concept_id`, 0 to 4,294,967,295.
    pub concept_id: u32,
    /// `concept_name`.
    pub name: &'r str,
    /// `domain_id`.
    pub domain_id: &'r str,
    /// `vocabulary_id`.
    pub vocabulary_id: &'r str,
    /// `concept_class_id`.
    pub concept_class_id: &'r str,
    /// `concept_code`.
    pub code: &'r str,
    /// `standard_concept`: `S`, `C` or empty.
    pub standard: &'r str,
    /// `invalid_reason`: `D`, `U` or empty.
    pub invalid_reason: &'r str,
    /// `valid_start_date`.
    pub valid_start: Day,
    /// `valid_end_date`.
    pub valid_end: Day,
}

/// Relationships an index keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relation {
    /// `Maps to`.
    MapsTo,
    /// `Maps to value`.
    MapsToValue,
}

/// What an index was built from.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Built {
    /// Concepts.
    pub concepts: u64,
    /// Rows of `Maps to` and `Maps to value` taken.
    pub mappings: u64,
    /// Rows of CONCEPT_ANCESTOR taken, those of a concept with itself left out.
    pub ancestors: u64,
    /// Synonyms taken.
    pub synonyms: u64,
    /// Distinct words of names and synonyms.
    pub words: u64,
    /// Rows about a concept that CONCEPT does not list: they cannot be used.
    pub without_concept: u64,
}

/// Texts that repeat, numbered as they come.
#[derive(Default)]
struct Interned {
    numbers: HashMap<String, u16>,
    last: Option<(String, u16)>,
}

impl Interned {
    fn number(&mut self, text: &str, what: &'static str) -> Result<u16, VocabularyError> {
        if let Some((last, number)) = &self.last
            && last == text
        {
            return Ok(*number);
        }
        let next = u16::try_from(self.numbers.len()).map_err(|_| VocabularyError::TooMany { what })?;
        let number = match self.numbers.get(text) {
            Some(number) => *number,
            None => {
                self.numbers.insert(text.to_owned(), next);
                next
            }
        };
        self.last = Some((text.to_owned(), number));
        Ok(number)
    }

    /// The texts in order, and for each number its place in that order.
    fn sorted(self) -> (Vec<String>, Vec<u16>) {
        let mut texts: Vec<_> = self.numbers.into_iter().collect();
        texts.sort_unstable();
        let mut places = vec![0; texts.len()];
        for (place, (_, number)) in texts.iter().enumerate() {
            places[usize::from(*number)] = u16::try_from(place).unwrap_or(u16::MAX);
        }
        (texts.into_iter().map(|(text, _)| text).collect(), places)
    }
}

/// From `concept_id` to ordinal without a search: a bit for every id, counted by word, in pages that exist only where
/// ids do.
struct Ordinals {
    pages: Vec<Option<Box<Page>>>,
}

struct Page {
    bits: [u64; 1024],
    before: [u32; 1024],
}

impl Ordinals {
    fn new(sorted: &[u32]) -> Self {
        let mut pages: Vec<Option<Box<Page>>> = Vec::new();
        pages.resize_with(1 << 16, || None);
        for (ordinal, id) in sorted.iter().enumerate() {
            let page =
                pages[(id >> 16) as usize].get_or_insert_with(|| Box::new(Page { bits: [0; 1024], before: [0; 1024] }));
            let word = (id & 0xffff) as usize / 64;
            if page.bits[word] == 0 {
                page.before[word] = u32::try_from(ordinal).unwrap_or(u32::MAX);
            }
            page.bits[word] |= 1 << (id & 63);
        }
        Self { pages }
    }

    fn get(&self, id: u32) -> Option<u32> {
        let page = self.pages[(id >> 16) as usize].as_ref()?;
        let word = (id & 0xffff) as usize / 64;
        let bit = 1_u64 << (id & 63);
        (page.bits[word] & bit != 0).then(|| page.before[word] + (page.bits[word] & (bit - 1)).count_ones())
    }
}

/// What is fixed once every concept is known.
struct Sealed {
    ordinals: Ordinals,
    /// Row number of each ordinal.
    rows: Vec<u32>,
    ids: Vec<u32>,
}

/// Builds an index. Vocabularies and concepts come first; after the first relationship, ancestor or synonym no further
/// concept is taken.
///
/// The same rows give the same bytes in any order. With a [`Scratch`] memory stays near 60 bytes for each concept plus
/// the codes and 300 MB; without one, everything is held.
///
/// ```
/// use acequia_omop::{ConceptRow, Relation, Vocabulary, VocabularyBuilder, VocabularyError};
/// use acequia_types::parse_day;
/// let row = ConceptRow {
///     concept_id: 201_826, name: "Type 2 diabetes mellitus", domain_id: "Condition", vocabulary_id: "Local",
///     concept_class_id: "Disorder", code: "DM2", standard: "S", invalid_reason: "",
///     valid_start: parse_day("1970-01-01").unwrap(), valid_end: parse_day("2099-12-31").unwrap(),
/// };
/// let mut builder = VocabularyBuilder::new("example", None);
/// builder.concept(&row)?;
/// builder.concept(&ConceptRow { concept_id: 7, code: "E11", standard: "", ..row })?;
/// builder.relate(7, 201_826, Relation::MapsTo)?;
/// let mut bytes = std::io::Cursor::new(Vec::new());
/// builder.finish(&mut bytes)?;
/// let vocabulary = Vocabulary::from_bytes(std::sync::Arc::new(bytes.into_inner()))?;
/// assert_eq!(vocabulary.maps_to(7).next(), Some((201_826, None)));
/// # Ok::<(), VocabularyError>(())
/// ```
pub struct VocabularyBuilder<'s> {
    version: String,
    scratch: Option<&'s mut dyn Scratch>,
    infos: HashMap<String, VocabularyInfo>,
    vocabularies: Interned,
    domains: Interned,
    classes: Interned,
    ids: Vec<u32>,
    attributes: Vec<u8>,
    code_ends: Vec<u32>,
    codes: Vec<u8>,
    names: KeyedTexts,
    sealed: Option<Sealed>,
    maps: Pairs,
    values: Pairs,
    below: Pairs,
    above: Pairs,
    synonyms: KeyedTexts,
    built: Built,
}

impl<'s> VocabularyBuilder<'s> {
    /// An empty index of a version (`vocabulary_version` of the row `None` of VOCABULARY).
    pub fn new(version: &str, scratch: Option<&'s mut dyn Scratch>) -> Self {
        Self {
            version: version.to_owned(),
            scratch,
            infos: HashMap::new(),
            vocabularies: Interned::default(),
            domains: Interned::default(),
            classes: Interned::default(),
            ids: Vec::new(),
            attributes: Vec::new(),
            code_ends: Vec::new(),
            codes: Vec::new(),
            names: KeyedTexts::default(),
            sealed: None,
            maps: Pairs::default(),
            values: Pairs::default(),
            below: Pairs::default(),
            above: Pairs::default(),
            synonyms: KeyedTexts::default(),
            built: Built::default(),
        }
    }

    /// Names a vocabulary and its version. Only those with concepts are kept.
    pub fn vocabulary(&mut self, info: VocabularyInfo) {
        self.infos.insert(info.vocabulary_id.clone(), info);
    }

    /// Takes a concept.
    ///
    /// # Errors
    /// [`VocabularyError::Row`] for values outside the model, or when relationships came before;
    /// [`VocabularyError::TooMany`]; [`VocabularyError::Write`] from the scratch file.
    pub fn concept(&mut self, row: &ConceptRow<'_>) -> Result<(), VocabularyError> {
        let wrong = |what| VocabularyError::Row { table: "CONCEPT", what };
        if self.sealed.is_some() {
            return Err(wrong("it comes after relationships"));
        }
        let letter = |text: &str, allowed: &[u8], what| match text.as_bytes() {
            [] => Ok(b' '),
            [letter] if allowed.contains(letter) => Ok(*letter),
            _ => Err(wrong(what)),
        };
        let standard = letter(row.standard, b"SC", "standard_concept is not S, C or empty")?;
        let invalid = letter(row.invalid_reason, b"DU", "invalid_reason is not D, U or empty")?;
        let days = |day: Day| i32::try_from(day.signed_duration_since(Day::default()).num_days()).unwrap_or(i32::MAX);
        self.codes.extend_from_slice(row.code.as_bytes());
        let end = u32::try_from(self.codes.len()).map_err(|_| VocabularyError::TooMany { what: "bytes of codes" })?;
        self.ids.push(row.concept_id);
        self.code_ends.push(end);
        let numbers = [
            self.domains.number(row.domain_id, "domains")?,
            self.vocabularies.number(row.vocabulary_id, "vocabularies")?,
            self.classes.number(row.concept_class_id, "classes")?,
        ];
        numbers.iter().for_each(|number| self.attributes.extend_from_slice(&number.to_le_bytes()));
        self.attributes.extend_from_slice(&[standard, invalid]);
        self.attributes.extend_from_slice(&days(row.valid_start).to_le_bytes());
        self.attributes.extend_from_slice(&days(row.valid_end).to_le_bytes());
        self.names.push(reborrow(&mut self.scratch), row.concept_id, row.name)?;
        self.built.concepts += 1;
        Ok(())
    }

    fn seal(&mut self) -> Result<&Sealed, VocabularyError> {
        if self.sealed.is_none() {
            let count = u32::try_from(self.ids.len()).map_err(|_| VocabularyError::TooMany { what: "concepts" })?;
            let mut keyed: Vec<u64> =
                (0..count).map(|row| u64::from(self.ids[row as usize]) << 32 | u64::from(row)).collect();
            keyed.sort_unstable();
            let rows: Vec<u32> = keyed.iter().map(|key| *key as u32).collect();
            let ids: Vec<u32> = keyed.iter().map(|key| u32::try_from(key >> 32).unwrap_or(0)).collect();
            drop(keyed);
            if ids.windows(2).any(|pair| pair[0] == pair[1]) {
                return Err(VocabularyError::Row { table: "CONCEPT", what: "a concept_id occurs twice" });
            }
            self.ids = Vec::new();
            self.sealed = Some(Sealed { ordinals: Ordinals::new(&ids), rows, ids });
        }
        self.sealed.as_ref().ok_or(VocabularyError::TooMany { what: "concepts" })
    }

    fn pair(&mut self, from: u32, to: u32) -> Result<Option<(u32, u32)>, VocabularyError> {
        let ordinals = &self.seal()?.ordinals;
        let pair = ordinals.get(from).zip(ordinals.get(to));
        self.built.without_concept += u64::from(pair.is_none());
        Ok(pair)
    }

    /// Takes a valid row of CONCEPT_RELATIONSHIP.
    ///
    /// # Errors
    /// [`VocabularyError::Row`] when a concept occurs twice, [`VocabularyError::Write`].
    pub fn relate(&mut self, from: u32, to: u32, relation: Relation) -> Result<(), VocabularyError> {
        let Some((from, to)) = self.pair(from, to)? else { return Ok(()) };
        self.built.mappings += 1;
        let pairs = match relation {
            Relation::MapsTo => &mut self.maps,
            Relation::MapsToValue => &mut self.values,
        };
        Ok(pairs.push(reborrow(&mut self.scratch), from, to)?)
    }

    /// Takes a row of CONCEPT_ANCESTOR.
    ///
    /// # Errors
    /// As [`VocabularyBuilder::relate`].
    pub fn ancestor(&mut self, ancestor: u32, descendant: u32) -> Result<(), VocabularyError> {
        if ancestor == descendant {
            return Ok(());
        }
        let Some((above, below)) = self.pair(ancestor, descendant)? else { return Ok(()) };
        self.built.ancestors += 1;
        self.below.push(reborrow(&mut self.scratch), above, below)?;
        Ok(self.above.push(reborrow(&mut self.scratch), below, above)?)
    }

    /// Takes a row of CONCEPT_SYNONYM.
    ///
    /// # Errors
    /// As [`VocabularyBuilder::relate`].
    pub fn synonym(&mut self, concept_id: u32, name: &str) -> Result<(), VocabularyError> {
        let Some((ordinal, _)) = self.pair(concept_id, concept_id)? else { return Ok(()) };
        self.built.synonyms += 1;
        // NUL ends a synonym in the index.
        let name = name.replace('\0', " ");
        Ok(self.synonyms.push(reborrow(&mut self.scratch), ordinal, &name)?)
    }

    /// Writes the index. `out` is taken to be at its beginning; give it a buffer.
    ///
    /// # Errors
    /// [`VocabularyError::Row`], [`VocabularyError::TooMany`], [`VocabularyError::Write`].
    pub fn finish(mut self, out: &mut (impl Write + Seek)) -> Result<Built, VocabularyError> {
        self.seal()?;
        let Self { version, mut scratch, mut infos, vocabularies, domains, classes, .. } = self;
        let Some(Sealed { rows, ids, ordinals }) = self.sealed else {
            return Err(VocabularyError::TooMany { what: "concepts" });
        };
        drop(ordinals);
        let mut built = self.built;
        let (vocabularies, vocabulary_places) = vocabularies.sorted();
        let (domains, domain_places) = domains.sorted();
        let (classes, class_places) = classes.sorted();

        out.write_all(&[0; CONTENT])?;
        let mut file = Sections { out, hash: blake3::Hasher::new(), position: CONTENT as u64, directory: Vec::new() };
        file.texts(Section::Version, [version.as_str()].into_iter())?;
        let infos: Vec<_> = vocabularies
            .into_iter()
            .flat_map(|id| {
                let info = infos.remove(&id).unwrap_or_default();
                [id, info.name, info.version]
            })
            .collect();
        file.texts(Section::Vocabularies, infos.iter().map(String::as_str))?;
        file.texts(Section::Domains, domains.iter().map(String::as_str))?;
        file.texts(Section::Classes, classes.iter().map(String::as_str))?;
        file.section(Section::Ids, |file| ids.iter().try_for_each(|id| file.u32(*id)))?;
        drop(ids);

        // Names come sorted by concept_id, which is the order of ordinals; their words are numbered on the way.
        let mut numbered: HashMap<Box<str>, u32> = HashMap::new();
        let mut postings = Pairs::default();
        let mut learn = |ordinal: u32, name: &str, scratch: &mut Option<&mut dyn Scratch>| -> io::Result<()> {
            words(name, |word| {
                let next = u32::try_from(numbered.len()).map_err(|_| io::ErrorKind::OutOfMemory)?;
                let number = match numbered.get(word) {
                    Some(number) => *number,
                    None => {
                        numbered.insert(word.into(), next);
                        next
                    }
                };
                postings.push(reborrow(scratch), number, ordinal)
            })
        };
        let mut offsets = vec![0_u32];
        let mut end = 0_u64;
        file.section(Section::Names, |file| {
            self.names.drain(|_, name| {
                let ordinal = u32::try_from(offsets.len() - 1).unwrap_or(u32::MAX);
                end += name.len() as u64;
                offsets.push(end as u32);
                file.write(name)?;
                learn(ordinal, super::text(name), &mut scratch)
            })
        })?;
        if end > u64::from(u32::MAX) {
            return Err(VocabularyError::TooMany { what: "bytes of names" });
        }
        file.section(Section::NameOffsets, |file| offsets.iter().try_for_each(|offset| file.u32(*offset)))?;
        drop(offsets);

        let code = |row: u32| {
            let start = row.checked_sub(1).map_or(0, |before| self.code_ends[before as usize]);
            &self.codes[start as usize..self.code_ends[row as usize] as usize]
        };
        file.section(Section::CodeOffsets, |file| {
            let mut end = 0;
            file.u32(end)?;
            rows.iter().try_for_each(|row| {
                end += u32::try_from(code(*row).len()).unwrap_or(0);
                file.u32(end)
            })
        })?;
        file.section(Section::Codes, |file| rows.iter().try_for_each(|row| file.write(code(*row))))?;

        let attributes = |row: u32| &self.attributes[row as usize * ATTRIBUTES..(row as usize + 1) * ATTRIBUTES];
        let number =
            |row: u32, at: usize| usize::from(u16::from_le_bytes([attributes(row)[at], attributes(row)[at + 1]]));
        file.section(Section::Attributes, |file| {
            rows.iter().try_for_each(|row| {
                file.write(&domain_places[number(*row, 0)].to_le_bytes())?;
                file.write(&vocabulary_places[number(*row, 2)].to_le_bytes())?;
                file.write(&class_places[number(*row, 4)].to_le_bytes())?;
                file.write(&attributes(*row)[6..])
            })
        })?;
        file.section(Section::ByCode, |file| {
            let vocabulary = |row: u32| vocabulary_places[number(row, 2)];
            let invalid = |row: u32| attributes(row)[7] != b' ';
            by_code(&rows, vocabulary, code, invalid).iter().try_for_each(|ordinal| file.u32(*ordinal))
        })?;
        self.codes = Vec::new();
        self.code_ends = Vec::new();
        self.attributes = Vec::new();
        drop(rows);

        for (which, pairs) in [
            (Section::MapsTo, self.maps),
            (Section::MapsToValue, self.values),
            (Section::Descendants, self.below),
            (Section::Ancestors, self.above),
        ] {
            file.adjacency(which, pairs)?;
        }

        file.lists(Section::Synonyms, |file, table| {
            let mut last = None;
            self.synonyms.drain(|ordinal, name| {
                if last.replace(ordinal) == Some(ordinal) {
                    file.write(&[0])?;
                } else {
                    table.begin(ordinal, file.position);
                }
                file.write(name)?;
                learn(ordinal, super::text(name), &mut scratch)
            })
        })?;

        // Words are numbered in the order in which they came; the index holds them sorted, and the lists beside them.
        let mut sorted: Vec<(Box<str>, u32)> = numbered.into_iter().collect();
        sorted.sort_unstable();
        built.words = sorted.len() as u64;
        file.texts(Section::Words, sorted.iter().map(|(word, _)| &**word))?;
        file.section(Section::Postings, |file| {
            let start = file.position;
            let mut spans: Vec<(u64, u64, u32)> = vec![(0, 0, 0); sorted.len()];
            let (mut list, mut last, mut current) = (Vec::new(), None, None);
            postings.drain(|number, ordinal| {
                if current.replace(number) != Some(number) {
                    file.write(&list)?;
                    list.clear();
                    last = None;
                    spans[number as usize].0 = file.position - start;
                }
                push_ascending(&mut list, &mut last, ordinal);
                let span = &mut spans[number as usize];
                span.1 = file.position - start + list.len() as u64;
                span.2 += 1;
                Ok(())
            })?;
            file.write(&list)?;
            if u32::try_from(file.position - start).is_err() {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
            for (_, number) in &sorted {
                let (from, to, concepts) = spans[*number as usize];
                file.u32(from as u32)?;
                file.u32(to as u32)?;
                file.u32(concepts)?;
            }
            Ok(())
        })?;
        file.finish()?;
        Ok(built)
    }
}

/// Lends the scratch on for one call.
fn reborrow<'a>(scratch: &'a mut Option<&mut dyn Scratch>) -> Option<&'a mut dyn Scratch> {
    match scratch {
        Some(scratch) => Some(&mut **scratch),
        None => None,
    }
}

/// Ordinals in order of (vocabulary, code, valid first, ordinal).
fn by_code<'c>(
    rows: &[u32],
    vocabulary: impl Fn(u32) -> u16,
    code: impl Fn(u32) -> &'c [u8],
    invalid: impl Fn(u32) -> bool,
) -> Vec<u32> {
    /// Bytes of a code that fit beside vocabulary and ordinal into one number; few codes are longer.
    const BEGINNING: usize = 10;
    let key = |row: u32| {
        let mut beginning = [0_u8; 16];
        let bytes = code(row);
        let length = bytes.len().min(BEGINNING);
        beginning[16 - BEGINNING..16 - BEGINNING + length].copy_from_slice(&bytes[..length]);
        u128::from(vocabulary(row)) << 80 | u128::from_be_bytes(beginning)
    };
    let mut keyed: Vec<u128> =
        rows.iter().enumerate().map(|(ordinal, row)| key(*row) << 32 | ordinal as u128).collect();
    keyed.sort_unstable();
    let mut ordinals: Vec<u32> = keyed.iter().map(|key| *key as u32).collect();
    let mut start = 0;
    while start < keyed.len() {
        let end = start + keyed[start..].iter().take_while(|key| *key >> 32 == keyed[start] >> 32).count();
        if end - start > 1 {
            ordinals[start..end].sort_unstable_by_key(|ordinal| {
                let row = rows[*ordinal as usize];
                (code(row), invalid(row), *ordinal)
            });
        }
        start = end;
    }
    ordinals
}

/// Keys of lists and where in the file each list begins.
#[derive(Default)]
struct ListTable {
    keys: Vec<u32>,
    starts: Vec<u64>,
}

impl ListTable {
    fn begin(&mut self, key: u32, position: u64) {
        self.keys.push(key);
        self.starts.push(position);
    }
}

/// The file while it is written.
struct Sections<'o, W> {
    out: &'o mut W,
    hash: blake3::Hasher,
    position: u64,
    directory: Vec<(u64, u64)>,
}

impl<W: Write + Seek> Sections<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.hash.update(bytes);
        self.position += bytes.len() as u64;
        Ok(())
    }

    fn u32(&mut self, number: u32) -> io::Result<()> {
        self.write(&number.to_le_bytes())
    }

    fn section(
        &mut self,
        which: Section,
        fill: impl FnOnce(&mut Self) -> io::Result<()>,
    ) -> Result<(), VocabularyError> {
        debug_assert_eq!(which as usize, self.directory.len(), "sections come in the order of the directory");
        let start = self.position;
        fill(self)?;
        self.directory.push((start, self.position - start));
        Ok(())
    }

    fn texts<'t>(
        &mut self,
        which: Section,
        texts: impl Iterator<Item = &'t str> + Clone,
    ) -> Result<(), VocabularyError> {
        let bytes: usize = texts.clone().map(str::len).sum();
        let count = u32::try_from(texts.clone().count()).ok().filter(|_| u32::try_from(bytes).is_ok());
        let count = count.ok_or(VocabularyError::TooMany { what: "texts" })?;
        self.section(which, |file| {
            file.u32(count)?;
            let mut end = 0_u32;
            file.u32(end)?;
            for text in texts.clone() {
                end += u32::try_from(text.len()).unwrap_or(0);
                file.u32(end)?;
            }
            texts.into_iter().try_for_each(|text| file.write(text.as_bytes()))
        })
    }

    fn adjacency(&mut self, which: Section, pairs: Pairs) -> Result<(), VocabularyError> {
        self.lists(which, |file, table| {
            let (mut list, mut last, mut current) = (Vec::new(), None, None);
            pairs.drain(|key, value| {
                if current.replace(key) != Some(key) {
                    file.write(&list)?;
                    list.clear();
                    last = None;
                    table.begin(key, file.position);
                }
                push_ascending(&mut list, &mut last, value);
                Ok(())
            })?;
            file.write(&list)
        })
    }

    fn lists(
        &mut self,
        which: Section,
        fill: impl FnOnce(&mut Self, &mut ListTable) -> io::Result<()>,
    ) -> Result<(), VocabularyError> {
        self.section(which, |file| {
            let start = file.position;
            let mut table = ListTable::default();
            fill(file, &mut table)?;
            let offset = |position: u64| u32::try_from(position - start).map_err(|_| io::ErrorKind::FileTooLarge);
            table.starts.push(file.position);
            table.keys.iter().try_for_each(|key| file.u32(*key))?;
            table.starts.iter().try_for_each(|position| file.u32(offset(*position)?))?;
            file.u32(u32::try_from(table.keys.len()).unwrap_or(u32::MAX))
        })
    }

    fn finish(mut self) -> Result<(), VocabularyError> {
        debug_assert_eq!(self.directory.len(), SECTIONS, "every section is written");
        let directory: Vec<u8> = self
            .directory
            .iter()
            .flat_map(|(start, length)| [start.to_le_bytes(), length.to_le_bytes()])
            .flatten()
            .collect();
        self.hash.update(&directory);
        self.hash.update(&self.position.to_le_bytes());
        let mut header = Vec::with_capacity(DIRECTORY);
        header.extend_from_slice(MAGIC);
        header.extend_from_slice(&FORMAT.to_le_bytes());
        header.extend_from_slice(&u32::try_from(SECTIONS).unwrap_or(0).to_le_bytes());
        header.extend_from_slice(&self.position.to_le_bytes());
        header.extend_from_slice(self.hash.finalize().as_bytes());
        header.extend_from_slice(&directory);
        self.out.seek(SeekFrom::Start(0))?;
        self.out.write_all(&header)?;
        self.out.flush()?;
        Ok(())
    }
}
