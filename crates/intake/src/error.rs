//! Why a whole file cannot be read.

use acequia_types::{Coded, Exit};

/// The file as a whole cannot be read. Positions only, never content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IntakeError {
    /// Nothing in it.
    #[error("the file is empty")]
    Empty,
    /// None of the formats.
    #[error("the file is of no format that is read")]
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
    /// No file inside, or too many.
    #[error("the archive holds no file, or too many: {files}")]
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
    /// An archive in an archive.
    #[error("the archive holds another archive")]
    ArchiveNested,
    /// An archive made to harm.
    #[error("the archive has links, locked files, paths that leave it, or files that share a name or bytes")]
    ArchiveUnsafe,
    /// The disk or network failed.
    #[error("the file cannot be read to its end: {kind}")]
    Unreadable {
        /// Kind of error.
        kind: std::io::ErrorKind,
    },
    /// What was read cannot be written.
    #[error("what was read cannot be written: {kind}")]
    Unwritable {
        /// Kind of error.
        kind: std::io::ErrorKind,
    },
    /// The Parquet file is damaged.
    #[error("the Parquet file cannot be read; it is damaged or cut off")]
    Parquet,
    /// Not a table of the model.
    #[error("row 1: no table of OMOP CDM 5.3 or 5.4 has these columns")]
    NoCdmTable,
    /// A column of a Parquet file has a type that does not become the field's.
    #[error("column {column}: the type is not that of the field in CDM 5.4")]
    CdmColumn {
        /// Which field of the model.
        column: String,
    },
    /// A table of the model where persons and events are wanted.
    #[error("the file is a table of the OMOP CDM, which is read as a table and not as one donor's record")]
    CdmTable,
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
            Self::ArchiveNested => "IN019",
            Self::ArchiveUnsafe => "IN020",
            Self::Unreadable { .. } => "IN021",
            Self::Unwritable { .. } => "IN022",
            Self::Parquet => "IN035",
            Self::NoCdmTable => "IN036",
            Self::CdmColumn { .. } => "IN037",
            Self::CdmTable => "IN038",
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
            Self::UnknownFormat => "docs/hospital.md lists the formats; a table needs a mapping",
            Self::Truncated { .. } => "the download or export stopped early; fetch the file again",
            Self::Json { .. } => "export the file again, or mend the JSON at the stated place",
            Self::Encoding { .. } | Self::Utf16 => "save the file as UTF-8, for instance with `iconv -t UTF-8`",
            Self::TooLarge { .. } => {
                "split the file, or donate it unpacked; the limit protects the node from archive bombs"
            }
            Self::Archive => "pack the file again, or donate it unpacked",
            Self::ArchiveContent { .. } => "pack the files again, fewer at a time",
            Self::NotABundle => "export as a FHIR R4 Bundle or as NDJSON",
            Self::NeedsMapping => "write a mapping for the table (docs/hospital.md) and pass it with --mapping",
            Self::Mapping { .. } => "see docs/hospital.md for every key of a mapping",
            Self::MissingColumn { .. } => "correct the column name in the mapping, or export the column",
            Self::UnmappedColumn { .. } => "map the column, or list it under [ignore] with the reason",
            Self::UnknownConcept { .. } => {
                "correct the id; `acequia donate --help` tells where the known concepts are listed"
            }
            Self::Header => "give every column one name in the first row",
            Self::ArchiveNested => "unpack the inner archive and donate its files",
            Self::ArchiveUnsafe => "pack the files again with a common program; nothing was unpacked",
            Self::Unreadable { .. } => "check the disk or the network share, then try again",
            Self::Unwritable { .. } => "check the folder and the room on the disk",
            Self::Parquet => "export the table again",
            Self::NoCdmTable => "name the columns as in CDM 5.3 or 5.4, with all required ones",
            Self::CdmColumn { .. } => "export the column in the type of the model",
            Self::CdmTable => "bring it into 5.4 with `acequia read --to`, then use it as OMOP tables",
            Self::Xml { .. } => "export the file again, or mend the XML at the stated place",
            Self::XmlTruncated { .. } => "the download or export stopped early; fetch the file again",
            Self::XmlTooLarge { .. } => {
                "no export of the format looks like this; the limits protect the node from documents made to exhaust it"
            }
            Self::XmlDoctype { .. } => {
                "remove the document type; clinical documents have none, and none is ever followed"
            }
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
