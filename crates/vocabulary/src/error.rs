//! What can go wrong with vocabulary files.

use acequia_blobs::BlobError;
use acequia_omop::VocabularyError;
use acequia_types::{Coded, Exit};

/// A vocabulary file cannot be used. Codes and names are not repeated: a local code may name a person.
#[derive(Debug, thiserror::Error)]
pub enum VocabularyFileError {
    /// The index.
    #[error(transparent)]
    Index(#[from] VocabularyError),
    /// A file of this machine.
    #[error(transparent)]
    File(#[from] BlobError),
    /// The export lacks a table.
    #[error("the export has no table {table}")]
    NoTable {
        /// Table.
        table: &'static str,
    },
    /// A table lacks a column.
    #[error("{table} has no column {column}")]
    NoColumn {
        /// Table or file, in words.
        table: &'static str,
        /// Column.
        column: &'static str,
    },
    /// A row cannot be read.
    #[error("{table}, line {line}: {what}")]
    Row {
        /// Table or file, in words.
        table: &'static str,
        /// Line, from 1, the header counted.
        line: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// The zip cannot be read.
    #[error("the zip of the export cannot be read")]
    Zip,
}

impl Coded for VocabularyFileError {
    fn code(&self) -> &'static str {
        match self {
            Self::Index(error) => error.code(),
            Self::File(error) => error.code(),
            Self::NoTable { .. } => "VO010",
            Self::NoColumn { .. } => "VO011",
            Self::Row { .. } => "VO012",
            Self::Zip => "VO013",
        }
    }
    fn hint(&self) -> &'static str {
        match self {
            Self::Index(error) => error.hint(),
            Self::File(error) => error.hint(),
            Self::NoTable { .. } => "give the zip that Athena sends, or the folder with its files (CONCEPT.csv, …)",
            Self::NoColumn { .. } => "see docs/vocabulary.md for the columns, and keep the header row",
            Self::Row { .. } => "correct the stated line, or download the export again",
            Self::Zip => "download the export again, it is cut off or no zip",
        }
    }
    fn exit(&self) -> Exit {
        match self {
            Self::Index(error) => error.exit(),
            Self::File(error) => error.exit(),
            Self::NoTable { .. } => Exit::NotFound,
            _ => Exit::Failure,
        }
    }
}
