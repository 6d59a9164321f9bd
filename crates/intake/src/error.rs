//! Why a whole file cannot be read.

use acequia_types::{Coded, Exit};

/// The file as a whole cannot be read. Positions only, never content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IntakeError {
    /// Nothing in it.
    #[error("the file is empty")]
    Empty,
    /// Neither JSON nor a table.
    #[error("the file is neither FHIR JSON nor a table with a header row")]
    UnknownFormat,
    /// The JSON stops in the middle.
    #[error("row {row}: the JSON ends too early; the file is cut off")]
    Truncated {
        /// One-based line.
        row: u64,
    },
    /// The JSON is wrong.
    #[error("row {row}, character {character}: the JSON is not well-formed")]
    Json {
        /// One-based line.
        row: u64,
        /// One-based position in the line.
        character: u64,
    },
    /// Not UTF-8.
    #[error("row {row}, byte {byte}: the text is not UTF-8")]
    Encoding {
        /// One-based line.
        row: u64,
        /// One-based byte in the line.
        byte: u64,
    },
    /// UTF-16.
    #[error("the text is UTF-16, not UTF-8")]
    Utf16,
    /// The archive would grow beyond the limit.
    #[error("the archive would unpack to more than {limit_bytes} bytes or {growth} times its size")]
    TooLarge {
        /// Allowed bytes.
        limit_bytes: u64,
        /// Allowed growth.
        growth: u64,
    },
    /// The archive is damaged.
    #[error("the archive cannot be unpacked; it is damaged or cut off")]
    Archive,
    /// Not exactly one file inside, or a name that leaves the archive.
    #[error("the archive must hold exactly one file with a plain name; it holds {files}")]
    ArchiveContent {
        /// Files inside.
        files: usize,
    },
    /// JSON, but no FHIR bundle.
    #[error("the JSON is not a FHIR R4 Bundle")]
    NotABundle,
    /// A table without a mapping.
    #[error("the file is a table, and no mapping was given")]
    NeedsMapping,
    /// The mapping cannot be read.
    #[error("the mapping cannot be read: {message}")]
    Mapping {
        /// Line and key; a mapping holds no patient data.
        message: String,
    },
    /// The mapping names a column that the table does not have.
    #[error("row 1: the table has no column {column}, which the mapping names")]
    MissingColumn {
        /// Which column.
        column: String,
    },
    /// The table has a column of which the mapping says nothing.
    #[error("row 1: the mapping says nothing about column number {number}")]
    UnmappedColumn {
        /// One-based number. The header is not repeated: a file without header row holds patients there.
        number: usize,
    },
    /// The mapping names a concept that the program does not know.
    #[error("[[event]] number {event}: concept {concept_id} is not in the concept pack")]
    UnknownConcept {
        /// One-based number of the event in the mapping.
        event: usize,
        /// Which concept.
        concept_id: i64,
    },
    /// More rows or resources than one file may have.
    #[error("the file holds more than {most} rows or resources")]
    TooMany {
        /// How many it may hold.
        most: usize,
    },
    /// A quoted field that is never closed.
    #[error("row {row}: a quoted field begins here and is never closed")]
    OpenQuote {
        /// One-based line.
        row: u64,
    },
    /// The XML is wrong.
    #[error("row {row}: the XML is not well-formed")]
    Xml {
        /// One-based line.
        row: u64,
    },
    /// The XML stops in the middle.
    #[error("row {row}: the XML ends too early; the file is cut off")]
    XmlTruncated {
        /// One-based line.
        row: u64,
    },
    /// Nested too deeply, or a tag or text is too long.
    #[error("row {row}: the XML is nested too deeply, or a tag, a text or an entry is too long")]
    XmlTooLarge {
        /// One-based line.
        row: u64,
    },
    /// A document type where none belongs, or an entity that only one could declare.
    #[error("row {row}: the XML has a document type, or an entity that only a document type can declare")]
    XmlDoctype {
        /// One-based line.
        row: u64,
    },
    /// The XML is not in the character set it states.
    #[error("row {row}: the XML is not in the character set it states")]
    XmlEncoding {
        /// One-based line.
        row: u64,
    },
    /// The header row is broken.
    #[error("row 1: the header row cannot be read or names a column twice")]
    Header,
}

impl Coded for IntakeError {
    fn code(&self) -> &'static str {
        match self {
            Self::Empty => "IN001",
            Self::UnknownFormat => "IN002",
            Self::Truncated { .. } => "IN003",
            Self::Json { .. } => "IN004",
            Self::Encoding { .. } => "IN005",
            Self::Utf16 => "IN006",
            Self::TooLarge { .. } => "IN007",
            Self::Archive => "IN008",
            Self::ArchiveContent { .. } => "IN009",
            Self::NotABundle => "IN010",
            Self::NeedsMapping => "IN011",
            Self::Mapping { .. } => "IN012",
            Self::MissingColumn { .. } => "IN013",
            Self::UnmappedColumn { .. } => "IN014",
            Self::Header => "IN015",
            Self::UnknownConcept { .. } => "IN016",
            Self::TooMany { .. } => "IN017",
            Self::OpenQuote { .. } => "IN018",
            Self::Xml { .. } => "IN030",
            Self::XmlTruncated { .. } => "IN031",
            Self::XmlTooLarge { .. } => "IN032",
            Self::XmlDoctype { .. } => "IN033",
            Self::XmlEncoding { .. } => "IN034",
        }
    }
    fn hint(&self) -> &'static str {
        match self {
            Self::TooMany { .. } => "split the file",
            Self::OpenQuote { .. } => "close the quote, or double it where it belongs to the text",
            Self::Empty => "export the file again; it has no content",
            Self::UnknownFormat => "donate a FHIR R4 bundle, FHIR NDJSON, or a CSV file with a mapping",
            Self::Truncated { .. } => "the download or export stopped early; fetch the file again",
            Self::Json { .. } => "export the file again, or mend the JSON at the stated place",
            Self::Encoding { .. } | Self::Utf16 => "save the file as UTF-8, for instance with `iconv -t UTF-8`",
            Self::TooLarge { .. } => {
                "split the file, or donate it unpacked; the limit protects the node from archive bombs"
            }
            Self::Archive => "pack the file again, or donate it unpacked",
            Self::ArchiveContent { .. } => "donate the files one by one, or pack each on its own",
            Self::NotABundle => "export as a FHIR R4 Bundle or as NDJSON",
            Self::NeedsMapping => "write a mapping for the table (docs/hospital.md) and pass it with --mapping",
            Self::Mapping { .. } => "see docs/hospital.md for every key of a mapping",
            Self::MissingColumn { .. } => "correct the column name in the mapping, or export the column",
            Self::UnmappedColumn { .. } => "map the column, or list it under [ignore] with the reason",
            Self::UnknownConcept { .. } => {
                "correct the id; `acequia donate --help` tells where the known concepts are listed"
            }
            Self::Header => "give every column one name in the first row",
            Self::Xml { .. } => "export the file again, or mend the XML at the stated place",
            Self::XmlTruncated { .. } => "the download or export stopped early; fetch the file again",
            Self::XmlTooLarge { .. } => {
                "no export of the format looks like this; the limits protect the node from documents made to exhaust it"
            }
            Self::XmlDoctype { .. } => "remove the document type; clinical documents have none, and none is ever followed",
            Self::XmlEncoding { .. } => "save the file as UTF-8, or state its character set in the first line",
        }
    }
    fn exit(&self) -> Exit {
        match self {
            Self::NeedsMapping | Self::Mapping { .. } | Self::UnknownConcept { .. } => Exit::Usage,
            _ => Exit::Failure,
        }
    }
}
