//! The formats that are read, one file each, and the one list of them.
//!
//! Telling a format by its content, reading it, the table in the manual and the tests come from [`FORMATS`].

mod apple_health;
mod ccda;
mod er7;
mod hl7v2;
pub(crate) mod omop;
mod phenopackets;
mod systems;
mod time;
mod xml;

use std::collections::BTreeSet;
use std::io::{BufRead, Write};

use acequia_omop::{DateError, Fate, Sink};
use acequia_types::{Place, Problem};

use crate::{Format, IntakeError, Mapping, fhir, tabular};

/// One format.
#[derive(Debug)]
pub struct FormatInfo {
    /// Which.
    pub format: Format,
    /// The word used in manifests and on the command line.
    pub word: &'static str,
    /// What people call it.
    pub title: &'static str,
    /// Which version of which standard is read.
    pub standard: &'static str,
    /// What one unit of input is, of which every one is accounted for.
    pub unit: &'static str,
    /// What is needed besides the file.
    pub needs: &'static str,
    /// Whether the first bytes, unpacked, are of this format.
    sniff: fn(&[u8]) -> bool,
    read: Reading,
    /// What is kept together when bad records are taken out.
    pub(crate) aside: Aside,
}

/// The smallest part of a file that can be given again on its own.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Aside {
    /// A message with all its segments.
    Messages,
    /// A line.
    Lines,
    /// A row, under the header.
    Rows,
    /// A record, below the owner.
    Records,
    /// The file.
    Whole,
}

/// How a format is read.
#[derive(Debug, Clone, Copy)]
enum Reading {
    /// From a stream, in bounded memory.
    Stream(fn(&mut dyn BufRead, &mut dyn Sink) -> Result<(), IntakeError>),
    /// From a text as a whole.
    Text(fn(&str) -> Result<acequia_omop::SourceFile, IntakeError>),
    /// From a text and a mapping.
    Mapped(fn(&str, &Mapping) -> Result<acequia_omop::SourceFile, IntakeError>),
    /// As a table of the model: [`crate::read_tables`].
    Table,
}

/// Every format that is read, in the order in which a file is asked whether it is of it.
pub const FORMATS: &[FormatInfo] = &[
    FormatInfo {
        format: Format::OmopParquet,
        word: "omop-parquet",
        title: "OMOP CDM tables, Parquet",
        standard: "OMOP CDM 5.3, 5.4",
        unit: "row",
        needs: "the columns of a CDM table",
        sniff: omop::is_parquet,
        read: Reading::Table,
        aside: Aside::Whole,
    },
    FormatInfo {
        format: Format::Hl7V2,
        word: "hl7-v2",
        title: "HL7 v2 messages",
        standard: "HL7 v2.3 to v2.9, ER7, batches and MLLP frames",
        unit: "segment",
        needs: "nothing",
        sniff: |head| {
            let start = start(head);
            let named = [b"MSH".as_slice(), b"FHS", b"BHS"].iter().any(|name| start.starts_with(name));
            named && start.get(3).is_some_and(u8::is_ascii_punctuation)
        },
        read: Reading::Stream(hl7v2::read),
        aside: Aside::Messages,
    },
    FormatInfo {
        format: Format::AppleHealth,
        word: "apple-health",
        title: "Apple Health export",
        standard: "HealthKit export.xml, iOS 8 and later",
        unit: "record, workout, summary of a day",
        needs: "nothing",
        sniff: |head| is_xml(head) && (holds(head, b"<HealthData") || holds(head, b"<!DOCTYPE HealthData")),
        read: Reading::Stream(apple_health::read),
        aside: Aside::Records,
    },
    FormatInfo {
        format: Format::Ccda,
        word: "c-cda",
        title: "C-CDA documents",
        standard: "HL7 CDA R2, C-CDA R2.1",
        unit: "clinical statement",
        needs: "nothing",
        sniff: |head| {
            let named = [b"urn:hl7-org:v3".as_slice(), b"2.16.840.1.113883.", b"<ClinicalDocument"];
            is_xml(head) && named.iter().any(|name| holds(head, name))
        },
        read: Reading::Stream(ccda::read),
        aside: Aside::Whole,
    },
    FormatInfo {
        format: Format::Phenopackets,
        word: "phenopackets",
        title: "Phenopackets",
        standard: "GA4GH phenopackets 2 (ISO 4454), JSON or JSON lines",
        unit: "subject, feature, disease, measurement, action",
        needs: "nothing",
        sniff: |head| {
            let own = [b"\"phenotypicFeatures\"".as_slice(), b"\"phenopacketSchemaVersion\"", b"\"metaData\""];
            start(head).starts_with(b"{") && !holds(head, b"\"resourceType\"") && own.iter().any(|own| holds(head, own))
        },
        read: Reading::Stream(phenopackets::read),
        aside: Aside::Lines,
    },
    FormatInfo {
        format: Format::FhirNdjson,
        word: "fhir-r4-ndjson",
        title: "FHIR resources, one a line",
        standard: "HL7 FHIR R4, bulk data",
        unit: "resource",
        needs: "nothing",
        sniff: |head| lines_of_objects(head) == Some(true),
        read: Reading::Text(fhir::read_ndjson),
        aside: Aside::Lines,
    },
    FormatInfo {
        format: Format::FhirBundle,
        word: "fhir-r4-bundle",
        title: "FHIR bundles",
        standard: "HL7 FHIR R4, International Patient Summary",
        unit: "resource",
        needs: "nothing",
        sniff: |head| lines_of_objects(head) == Some(false),
        read: Reading::Text(fhir::read_bundle),
        aside: Aside::Whole,
    },
    FormatInfo {
        format: Format::OmopCsv,
        word: "omop-csv",
        title: "OMOP CDM tables, CSV",
        standard: "OMOP CDM 5.3, 5.4, vocabulary files of Athena",
        unit: "row",
        needs: "the columns of a CDM table",
        sniff: omop::is_table,
        read: Reading::Table,
        aside: Aside::Rows,
    },
    FormatInfo {
        format: Format::Csv,
        word: "csv",
        title: "Any table",
        standard: "delimited text with a header row",
        unit: "row",
        needs: "a mapping",
        sniff: is_delimited,
        read: Reading::Mapped(tabular::read),
        aside: Aside::Rows,
    },
];

/// What is known of a format.
pub(crate) fn info(format: Format) -> &'static FormatInfo {
    // Every variant is in the list: a test walks over them.
    FORMATS.iter().find(|info| info.format == format).unwrap_or(&FORMATS[FORMATS.len() - 1])
}

/// Tells the format of a file by its first bytes, unpacked.
pub(crate) fn sniff(head: &[u8]) -> Option<Format> {
    FORMATS.iter().find(|info| (info.sniff)(head)).map(|info| info.format)
}

/// Reads a stream of a known format and tells what it says.
pub(crate) fn read(
    format: Format,
    stream: &mut dyn BufRead,
    mapping: Option<&Mapping>,
    sink: &mut dyn Sink,
) -> Result<(), IntakeError> {
    let mut whole = || -> Result<Vec<u8>, IntakeError> {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).map_err(|error| crate::unpack::broken(&error))?;
        Ok(bytes)
    };
    let file = match (info(format).read, mapping) {
        (Reading::Stream(read), _) => return read(stream, sink),
        (Reading::Text(read), _) => read(crate::text_of(&whole()?)?)?,
        (Reading::Mapped(read), Some(mapping)) => read(crate::text_of(&whole()?)?, mapping)?,
        (Reading::Mapped(_), None) => return Err(IntakeError::NeedsMapping),
        (Reading::Table, _) => return Err(IntakeError::CdmTable),
    };
    file.tell(sink);
    Ok(())
}

/// The bytes without what may stand before the first of a text: byte order mark, blanks, the frame of a message.
fn start(head: &[u8]) -> &[u8] {
    let head = head.strip_prefix(&[0xef, 0xbb, 0xbf]).unwrap_or(head);
    let blank = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0x0b;
    &head[head.iter().position(|byte| !blank(byte)).unwrap_or(head.len())..]
}

fn holds(head: &[u8], part: &[u8]) -> bool {
    memchr::memmem::find(head, part).is_some()
}

fn is_xml(head: &[u8]) -> bool {
    start(head).starts_with(b"<")
}

/// Whether each line is an object of its own; `None` where there is no object. A pretty-printed bundle has its first
/// object on many lines.
fn lines_of_objects(head: &[u8]) -> Option<bool> {
    let start = start(head);
    if !start.starts_with(b"{") {
        return None;
    }
    let mut lines = start.split(|byte| *byte == b'\n');
    let first = lines.next().unwrap_or_default();
    Some(first.trim_ascii_end().ends_with(b"}") && lines.next().is_some_and(|line| line.starts_with(b"{")))
}

/// Whether the same delimiter stands equally often in the first rows; a letter may well begin with a comma.
fn is_delimited(head: &[u8]) -> bool {
    let mut lines = start(head).split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end);
    let (Some(header), Some(row)) = (lines.next(), lines.find(|line| !line.is_empty())) else { return false };
    [b',', b';', b'\t', b'|'].into_iter().any(|delimiter| {
        let count = |line: &[u8]| line.iter().filter(|byte| **byte == delimiter).count();
        count(header) > 0 && header.last() != Some(&delimiter) && count(header) == count(row)
    })
}

/// Copies the messages that begin on one of the rows or have a segment on one.
pub(crate) fn hl7v2_aside(stream: &mut dyn BufRead, rows: &BTreeSet<u64>, out: &mut dyn Write) -> std::io::Result<()> {
    let mut messages = er7::Messages::new(stream);
    let mut raw = er7::Raw::default();
    loop {
        match messages.next(&mut raw)? {
            er7::Next::Message => {
                let last = raw.row + raw.bytes.iter().filter(|byte| matches!(byte, b'\r' | b'\n')).count() as u64;
                if rows.range(raw.row..=last).next().is_some() {
                    out.write_all(&raw.bytes)?;
                }
            }
            er7::Next::Between(..) => {}
            er7::Next::End => return Ok(()),
        }
    }
}

/// Copies lines.
pub(crate) fn lines_aside(stream: &mut dyn BufRead, rows: &BTreeSet<u64>, out: &mut dyn Write) -> std::io::Result<()> {
    let (mut line, mut row) = (Vec::new(), 0);
    loop {
        line.clear();
        if stream.read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        row += 1;
        if rows.contains(&row) {
            out.write_all(&line)?;
            if !line.ends_with(b"\n") {
                out.write_all(b"\n")?;
            }
        }
    }
}

/// Copies the header and rows; a row may be of several lines.
pub(crate) fn rows_aside(
    stream: &mut dyn BufRead,
    rows: &BTreeSet<u64>,
    delimiter: u8,
    out: &mut dyn Write,
) -> std::io::Result<()> {
    let mut header = Vec::new();
    stream.read_until(b'\n', &mut header)?;
    let text = String::from_utf8_lossy(&header);
    // A table of the model states no delimiter; a mapping does.
    let delimiter = if header.contains(&delimiter) { delimiter } else { omop::delimiter_of(&text) };
    out.write_all(&header)?;
    let quoting = delimiter != b'\t';
    let builder = |reader| {
        csv::ReaderBuilder::new()
            .delimiter(delimiter)
            .quoting(quoting)
            .has_headers(false)
            .flexible(true)
            .from_reader(reader)
    };
    let mut reader = builder(stream);
    let style = if quoting { csv::QuoteStyle::Necessary } else { csv::QuoteStyle::Never };
    let mut writer = csv::WriterBuilder::new().delimiter(delimiter).quote_style(style).flexible(true).from_writer(out);
    let mut record = csv::ByteRecord::new();
    while reader.read_byte_record(&mut record)? {
        if record.position().is_some_and(|position| rows.contains(&(position.line() + 1))) {
            writer.write_byte_record(&record)?;
        }
    }
    writer.flush()
}

/// Copies records of an Apple Health export, below the owner.
pub(crate) fn records_aside(
    stream: &mut dyn BufRead,
    rows: &BTreeSet<u64>,
    out: &mut dyn Write,
) -> Result<(), IntakeError> {
    apple_health::aside(stream, rows, out)
}

/// Why an item yields no event, or no more of them.
pub(crate) enum Stop {
    /// By design.
    Fate(Fate),
    /// Because of a fault: the item is rejected.
    Problem(Problem),
}

impl From<Problem> for Stop {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

/// Ends an item.
fn conclude(sink: &mut dyn Sink, outcome: Result<(), Stop>) {
    match outcome {
        Ok(()) => sink.end(None),
        Err(Stop::Fate(fate)) => sink.end(Some(fate)),
        Err(Stop::Problem(problem)) => {
            let code = problem.code.clone();
            sink.problem(problem);
            sink.end(Some(Fate::Rejected(code)));
        }
    }
}

fn bad_date(error: DateError, place: Place) -> Problem {
    let (code, hint) = match error {
        DateError::Calendar => ("IN103", "correct the date at the source"),
        DateError::Form => ("IN104", "write the date in the form of the standard"),
    };
    Problem::new(code, error.to_string(), place, hint)
}

fn xml_error(bad: xml::BadXml) -> IntakeError {
    match bad {
        xml::BadXml::Malformed(row) => IntakeError::Xml { row },
        xml::BadXml::Truncated(row) => IntakeError::XmlTruncated { row },
        xml::BadXml::TooLarge(row) => IntakeError::XmlTooLarge { row },
        xml::BadXml::Doctype(row) => IntakeError::XmlDoctype { row },
        xml::BadXml::Encoding(row) => IntakeError::XmlEncoding { row },
        xml::BadXml::Io(error) => crate::unpack::broken(&error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_is_in_the_list_once() {
        use Format::*;
        let all = [FhirBundle, FhirNdjson, Csv, Hl7V2, Ccda, AppleHealth, Phenopackets, OmopCsv, OmopParquet];
        assert_eq!(all.len(), FORMATS.len());
        for format in all {
            assert_eq!(FORMATS.iter().filter(|info| info.format == format).count(), 1, "{format:?}");
            assert_eq!(info(format).format, format);
            assert_eq!(FORMATS.iter().filter(|info| info.word == format.as_str()).count(), 1, "{format:?}");
        }
    }

    #[test]
    fn formats_are_told_by_their_first_bytes() {
        for (head, expected) in [
            (&b"PAR1\x15"[..], Some(Format::OmopParquet)),
            (b"\x0bMSH|^~\\&|", Some(Format::Hl7V2)),
            (b"MSH|", Some(Format::Hl7V2)),
            (b"\xef\xbb\xbfFHS#^~", Some(Format::Hl7V2)),
            (b"<?xml version='1.0'?><!DOCTYPE HealthData [", Some(Format::AppleHealth)),
            (b"<ClinicalDocument xmlns='urn:hl7-org:v3'>", Some(Format::Ccda)),
            (b"<html><body>", None),
            (b"{\"id\":\"a\",\"phenotypicFeatures\":[]}", Some(Format::Phenopackets)),
            (b"{\"resourceType\":\"Bundle\"}", Some(Format::FhirBundle)),
            (b"{\"resourceType\":\"Patient\"}\n{\"a\":1}\n", Some(Format::FhirNdjson)),
            (b"person_id,death_date,death_type_concept_id\n1,2020-01-01,0\n", Some(Format::OmopCsv)),
            (b"id,age\n1,2\n", Some(Format::Csv)),
            (b"Dear trustee, I would like to", None),
            (b"", None),
        ] {
            assert_eq!(sniff(head), expected, "{}", String::from_utf8_lossy(head));
        }
    }
}
