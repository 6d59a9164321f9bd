//! Intake: files of people and institutions become source records, item fates and problems.
//!
//! Comes in: the bytes of one donated file (FHIR R4 bundle, FHIR NDJSON, or CSV with a mapping; plain, gzip or zip).
//! Goes out: an [`acequia_omop::SourceFile`]: persons with events, one [`acequia_omop::Item`] per CSV row or FHIR
//! resource, and the problems found, each with row and column and never with a value. A file that cannot be read at all
//! is an [`IntakeError`]; the caller quarantines and counts it.
//!
//! Everything is still identified: callers hold the bytes as `Identified` and use this crate inside `map`.
//!
//! ```
//! use acequia_intake::{Limits, Mapping, read};
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
//! "#)?;
//! let file = read(b"id,age\n1,50\n2,-3\n", Some(&mapping), &Limits::default())?;
//! assert_eq!(file.records.len(), 1);
//! assert_eq!(file.problems[0].to_string(), "row 3, column age: the number is below the smallest allowed, 0 (IN102)");
//! # Ok::<(), acequia_intake::IntakeError>(())
//! ```
//!
//! To add a format: a module with one `read` function, a variant of [`Format`], one arm in [`read`], one in [`sniff`].

mod error;
mod fhir;
mod json;
mod mapping;
mod tabular;
mod unpack;

pub use error::IntakeError;
pub use fhir::expected_pass;
pub use mapping::Mapping;
pub use unpack::stream;

use acequia_omop::{Pass, Passes, Sink, SourceFile};

/// What kind of file it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Format {
    /// A FHIR R4 `Bundle` (HL7 FHIR R4 §2.36).
    FhirBundle,
    /// FHIR resources, one per line (HL7 Bulk Data).
    FhirNdjson,
    /// Delimited text with a header row; needs a mapping.
    Csv,
}

impl Format {
    /// The word used in manifests and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FhirBundle => "fhir-r4-bundle",
            Self::FhirNdjson => "fhir-r4-ndjson",
            Self::Csv => "csv",
        }
    }
}

/// How much a file may ask for.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Largest file after unpacking.
    pub unpacked_bytes: u64,
    /// Largest growth by unpacking, as a factor.
    pub growth: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { unpacked_bytes: 512 * 1024 * 1024, growth: 200 }
    }
}

/// Most rows or resources in one file; each costs memory beyond its bytes.
pub(crate) const MOST_ITEMS: usize = 2_000_000;

/// Tells the format of unpacked text by its first bytes.
pub fn sniff(text: &str) -> Option<Format> {
    let start = text.trim_start();
    if start.starts_with('{') {
        // NDJSON has a whole object on its first line; a pretty-printed bundle does not.
        let first = start.lines().next().unwrap_or_default();
        let whole = first.trim_end().ends_with('}') && start.lines().nth(1).is_some_and(|line| line.starts_with('{'));
        return Some(if whole { Format::FhirNdjson } else { Format::FhirBundle });
    }
    // A table has the same delimiter equally often in its first rows; a letter may well begin with a comma.
    let mut lines = start.lines();
    let (header, row) = (lines.next()?.trim_end(), lines.find(|line| !line.trim().is_empty())?);
    let count = |line: &str, delimiter: char| line.matches(delimiter).count();
    let even = |delimiter: &char| {
        count(header, *delimiter) > 0
            && !header.ends_with(*delimiter)
            && count(header, *delimiter) == count(row, *delimiter)
    };
    [',', ';', '\t', '|'].iter().any(even).then_some(Format::Csv)
}

/// Unpacks, checks the encoding and tells the format, without reading records.
///
/// # Errors
/// [`IntakeError`] when the file cannot be read at all.
pub fn format_of(bytes: &[u8], mapping: Option<&Mapping>, limits: &Limits) -> Result<Format, IntakeError> {
    let unpacked = unpack::unpack(bytes, limits)?;
    told_by_content(text_of(&unpacked)?, mapping)
}

fn told_by_content(text: &str, mapping: Option<&Mapping>) -> Result<Format, IntakeError> {
    match (sniff(text), mapping) {
        (Some(Format::Csv) | None, Some(_)) => Ok(Format::Csv),
        (Some(Format::Csv), None) => Err(IntakeError::NeedsMapping),
        (Some(format), _) => Ok(format),
        (None, None) => Err(IntakeError::UnknownFormat),
    }
}

/// Reads one donated file. `mapping` is needed for CSV and ignored for FHIR.
///
/// # Errors
/// [`IntakeError`] when the file cannot be read at all: what is wrong with single rows is in
/// [`SourceFile::problems`].
pub fn read(bytes: &[u8], mapping: Option<&Mapping>, limits: &Limits) -> Result<SourceFile, IntakeError> {
    let unpacked = unpack::unpack(bytes, limits)?;
    let text = text_of(&unpacked)?;
    match (told_by_content(text, mapping)?, mapping) {
        (Format::FhirBundle, _) => fhir::read_bundle(text),
        (Format::FhirNdjson, _) => fhir::read_ndjson(text),
        (Format::Csv, Some(mapping)) => tabular::read(text, mapping),
        (Format::Csv, None) => Err(IntakeError::NeedsMapping),
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
