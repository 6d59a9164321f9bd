//! Intake: files of people and institutions become source records, item fates and problems.
//!
//! Comes in: one donated file of a format in [`FORMATS`]; plain, gzip or zip.
//! Goes out: persons, events, the fate of every unit of input, and the problems found, each with row and column and never
//! with a value: told to a [`acequia_omop::Sink`] while the file streams ([`read_into`]), or collected ([`read`]). Tables
//! of the OMOP CDM stay tables ([`read_tables`]). A file that cannot be read at all is an [`IntakeError`]; the caller
//! quarantines and counts it.
//!
//! Everything is still identified: callers hold the bytes as `Identified` and use this crate inside `map`.
//!
//! ```
//! use acequia_intake::{Limits, Mapping, read};
//! use acequia_omop::Vocabulary;
//! let mapping = Mapping::parse(r#"
//!     [source]
//!     id = "clinic"
//!     title = "A clinic"
//!     place = "NL"
//!     type_concept_id = 32817
//!     [index]
//!     date = "2020-01-01"
//!     [person]
//!     key = "id"
//!     sex = "female"
//!     age_years = "age"
//!     [[event]]
//!     table = "condition_occurrence"
//!     concept_id = 4112853
//! "#, Vocabulary::bundled())?;
//! let file = read(b"id,age\n1,50\n2,-3\n", Some(&mapping), &Limits::default())?;
//! assert_eq!(file.records.len(), 1);
//! assert_eq!(file.problems[0].to_string(), "row 3, column age: the number is below the smallest allowed, 0 (IN102)");
//! # Ok::<(), acequia_intake::IntakeError>(())
//! ```
//!
//! To add a format: a module in `formats` with one `read` function, a variant of [`Format`], an entry in [`FORMATS`].

mod error;
mod fhir;
mod formats;
mod json;
mod mapping;
mod survey;
mod tabular;
mod unpack;

pub use error::IntakeError;
pub use fhir::expected_pass;
pub use formats::omop::{CdmDefinition, CdmField, RowSink, cdm_tables};
pub use formats::{FORMATS, FormatInfo};
pub use mapping::Mapping;
pub use survey::{MakeFile, Survey, set_aside};
pub use unpack::{Source, stream};

use acequia_omop::{Code, Event, Excluded, Fate, ItemHead, Party, Pass, Passes, Person, Sink, SourceFile, Unmapped};
use acequia_types::{Coded, Place, Problem};

/// What kind of file it is. What is known of each is in [`FORMATS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Format {
    /// A FHIR R4 `Bundle` (HL7 FHIR R4 §2.36).
    FhirBundle,
    /// FHIR resources, one per line (HL7 Bulk Data).
    FhirNdjson,
    /// Delimited text with a header row; needs a mapping.
    Csv,
    /// HL7 v2 messages.
    Hl7V2,
    /// A C-CDA document.
    Ccda,
    /// Apple Health `export.xml`.
    AppleHealth,
    /// GA4GH phenopackets.
    Phenopackets,
    /// A table of the OMOP CDM as delimited text.
    OmopCsv,
    /// A table of the OMOP CDM as Parquet.
    OmopParquet,
}

impl Format {
    /// The word used in manifests and on the command line.
    pub fn as_str(self) -> &'static str {
        formats::info(self).word
    }
}

/// How much a file may ask for.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Largest file after unpacking, all files of an archive together.
    pub unpacked_bytes: u64,
    /// Largest growth by unpacking, as a factor.
    pub growth: u64,
    /// Most files in an archive.
    pub entries: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { unpacked_bytes: 512 * 1024 * 1024, growth: 200, entries: 10_000 }
    }
}

/// Most rows or resources in one file; each costs memory beyond its bytes.
pub(crate) const MOST_ITEMS: usize = 2_000_000;

/// Tells the format of unpacked text by its first bytes.
pub fn sniff(text: &str) -> Option<Format> {
    formats::sniff(text.as_bytes())
}

/// Unpacks, checks the encoding and tells the format, without reading records. Of an archive: that of its first file
/// that is of any.
///
/// # Errors
/// [`IntakeError`] when the file cannot be read at all.
pub fn format_of(bytes: &[u8], mapping: Option<&Mapping>, limits: &Limits) -> Result<Format, IntakeError> {
    let (mut format, mut last) = (None, Err(IntakeError::UnknownFormat));
    unpack::members(&mut std::io::Cursor::new(bytes), limits, &mut |member| {
        if format.is_none() {
            last = told_by_content(&member.head, mapping);
            format = last.as_ref().ok().copied();
        }
        Ok(())
    })?;
    format.map_or(last, Ok)
}

fn told_by_content(head: &[u8], mapping: Option<&Mapping>) -> Result<Format, IntakeError> {
    if head.starts_with(&[0xff, 0xfe]) || head.starts_with(&[0xfe, 0xff]) {
        return Err(IntakeError::Utf16);
    }
    if head.iter().all(u8::is_ascii_whitespace) {
        return Err(IntakeError::Empty);
    }
    match (formats::sniff(head), mapping) {
        // Who gives a mapping says that the table is to be read by it, even if it looks like one of the model.
        (Some(Format::Csv | Format::OmopCsv) | None, Some(_)) => Ok(Format::Csv),
        (Some(Format::Csv), None) => Err(IntakeError::NeedsMapping),
        (Some(format), _) => Ok(format),
        (None, None) => Err(IntakeError::UnknownFormat),
    }
}

/// Reads one donated file. `mapping` is needed for tables and ignored for the rest.
///
/// # Errors
/// [`IntakeError`] when the file cannot be read at all: what is wrong with single rows is in
/// [`SourceFile::problems`].
pub fn read(bytes: &[u8], mapping: Option<&Mapping>, limits: &Limits) -> Result<SourceFile, IntakeError> {
    let mut sink = acequia_omop::Collector::default();
    read_into(&mut std::io::Cursor::new(bytes), mapping, limits, &mut sink)?;
    Ok(sink.finish())
}

/// Reads a donated file, or every file of an archive, and tells what they say; returns the formats found, in order.
/// Memory is bounded for all formats but FHIR and mapped tables, which are read as a whole.
///
/// A file of an archive that is of no format, such as a route or a picture beside an export, is one unmapped item.
///
/// # Errors
/// [`IntakeError`] when the file cannot be read at all; what was told before stays told.
pub fn read_into(
    source: &mut dyn Source,
    mapping: Option<&Mapping>,
    limits: &Limits,
    sink: &mut dyn Sink,
) -> Result<Vec<Format>, IntakeError> {
    let (mut found, mut first_error) = (Vec::new(), None);
    unpack::members(source, limits, &mut |mut member| {
        let format = told_by_content(&member.head, mapping);
        if member.of == 1 {
            let format = format?;
            found.push(format);
            return formats::read(format, &mut member.stream(), mapping, sink);
        }
        let (number, label) = (member.number, label(member.number, member.of));
        let mut aside = |fate| {
            sink.begin(&ItemHead { row: number, kind: "file in archive", ..ItemHead::default() });
            sink.end(Some(fate));
        };
        let format = match format {
            _ if member.copy => {
                aside(Fate::Excluded(Excluded::ToldElsewhere));
                return Ok(());
            }
            Ok(format) => format,
            Err(IntakeError::UnknownFormat | IntakeError::NeedsMapping | IntakeError::Empty) => {
                aside(Fate::Unmapped(Unmapped::Kind));
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let mut inside = InArchive { label: label.clone(), sink: &mut *sink };
        match formats::read(format, &mut member.stream(), mapping, &mut inside) {
            Ok(()) => found.push(format),
            // These concern the archive as a whole.
            Err(error @ (IntakeError::CdmTable | IntakeError::TooLarge { .. } | IntakeError::Archive)) => {
                return Err(error);
            }
            // One bad file does not keep the others out.
            Err(error) => {
                let place = Place { intake: Some(label), ..Place::default() };
                sink.begin(&ItemHead { row: number, kind: "file in archive", ..ItemHead::default() });
                sink.problem(Problem::new(error.code(), error.to_string(), place, error.hint()));
                sink.end(Some(Fate::Rejected(error.code().to_owned())));
                first_error.get_or_insert(error);
            }
        }
        Ok(())
    })?;
    if found.is_empty() { Err(first_error.unwrap_or(IntakeError::UnknownFormat)) } else { Ok(found) }
}

/// Reads OMOP tables, one file or an archive of many, into rows of CDM 5.4.
///
/// # Errors
/// [`IntakeError`] when a file is no table of the model or cannot be read on. Files of an archive that are no tables,
/// such as those some systems add beside each file, are passed over.
pub fn read_tables(source: &mut dyn Source, limits: &Limits, sink: &mut dyn RowSink) -> Result<(), IntakeError> {
    let mut tables = 0;
    unpack::members(source, limits, &mut |mut member| {
        let read = match told_by_content(&member.head, None) {
            Ok(Format::OmopCsv) => formats::omop::read_csv,
            Ok(Format::OmopParquet) => formats::omop::read_parquet,
            _ if member.of > 1 => return Ok(()),
            Err(IntakeError::Empty) => return Err(IntakeError::Empty),
            _ => return Err(IntakeError::NoCdmTable),
        };
        tables += 1;
        read(&mut member.stream(), sink)
    })?;
    if tables == 0 { Err(IntakeError::NoCdmTable) } else { Ok(()) }
}

/// How places name a file of an archive; empty where there is one only.
pub(crate) fn label(number: u64, of: usize) -> String {
    if of > 1 { format!("file {number} of the archive") } else { String::new() }
}

/// Names the file of an archive in the places of problems.
struct InArchive<'s> {
    label: String,
    sink: &'s mut dyn Sink,
}

impl Sink for InArchive<'_> {
    fn known(&mut self, content: &[u8]) -> bool {
        self.sink.known(content)
    }
    fn begin(&mut self, item: &ItemHead<'_>) {
        self.sink.begin(item);
    }
    fn person(&mut self, person: &Person<'_>) {
        self.sink.person(person);
    }
    fn withhold(&mut self, person: &str) {
        self.sink.withhold(person);
    }
    fn event(&mut self, event: &Event<'_>) {
        self.sink.event(event);
    }
    fn party(&mut self, party: &Party<'_>) {
        self.sink.party(party);
    }
    fn define(&mut self, key: &str, codes: &[Code<'_>]) {
        self.sink.define(key, codes);
    }
    fn problem(&mut self, mut problem: Problem) {
        problem.place.intake = Some(self.label.clone());
        self.sink.problem(problem);
    }
    fn end(&mut self, fate: Option<Fate>) {
        self.sink.end(fate);
    }
}

/// Tells FHIR text to a sink, one pass of it: what [`read`] does for a donated file, for files of any size. Of NDJSON,
/// `text` may be any run of whole lines, of which the first has the number `first_row`. Returns which passes the text
/// needs.
///
/// ```
/// use acequia_intake::{Format, tell};
/// use acequia_omop::{Collector, Pass};
/// let lines = "{\"resourceType\":\"Patient\",\"id\":\"p\",\"birthDate\":\"1950\"}\n{\"resourceType\":\"Claim\"}\n";
/// let mut sink = Collector::default();
/// let passes = tell(lines, Format::FhirNdjson, 1, Pass::Persons, &mut sink)?;
/// assert!(!passes.needs(Pass::Events));
/// assert_eq!(sink.finish().items.len(), 2);
/// # Ok::<(), acequia_intake::IntakeError>(())
/// ```
///
/// # Errors
/// [`IntakeError`] when a bundle is not JSON or no bundle, or the format is a table.
pub fn tell(
    text: &str,
    format: Format,
    first_row: u64,
    pass: Pass,
    sink: &mut dyn Sink,
) -> Result<Passes, IntakeError> {
    match format {
        Format::FhirNdjson => Ok(fhir::tell_lines(text, first_row, pass, sink)),
        Format::FhirBundle => fhir::tell_bundle(text, pass, sink),
        Format::Csv => Err(IntakeError::NeedsMapping),
        // In the other formats everything about a person comes together.
        other if pass == Pass::Persons => {
            formats::read(other, &mut text.as_bytes(), None, sink)?;
            Ok(Passes::default())
        }
        _ => Ok(Passes::default()),
    }
}

/// Tells by its first bytes whether FHIR text of any size can be read line by line; `None` when it is no JSON object. A
/// first line that is a whole object or does not end within `head`, or a second that begins with one, makes it NDJSON: a
/// bundle in one line is one item of NDJSON.
pub fn lines_of(head: &[u8]) -> Option<bool> {
    let head = head.strip_prefix(&[0xef, 0xbb, 0xbf]).unwrap_or(head).trim_ascii_start();
    if head.first() != Some(&b'{') {
        return None;
    }
    let Some(end) = memchr::memchr(b'\n', head) else { return Some(true) };
    let first = head[..end].trim_ascii_end();
    // A pretty-printed object does not close in its first line, and its second is a member.
    Some((first.len() > 2 && first.ends_with(b"}")) || head[end + 1..].starts_with(b"{"))
}

fn text_of(bytes: &[u8]) -> Result<&str, IntakeError> {
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(IntakeError::Utf16);
    }
    let bytes = bytes.strip_prefix(&[0xef, 0xbb, 0xbf]).unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let before = &bytes[..error.valid_up_to()];
        let row = before.iter().filter(|byte| **byte == b'\n').count() as u64 + 1;
        let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        IntakeError::Encoding { row, byte: (error.valid_up_to() - line_start) as u64 + 1 }
    })?;
    if text.trim().is_empty() { Err(IntakeError::Empty) } else { Ok(text) }
}
