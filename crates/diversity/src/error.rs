//! Why a report is not made. Messages name files, columns and rows, never a value of a person.

use acequia_frame::FrameError;
use acequia_types::{Coded, Exit};

/// Why a report is not made.
#[derive(Debug, thiserror::Error)]
pub enum DiversityError {
    /// A table cannot be read as Arrow columns.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A file cannot be read or written.
    #[error("{what} cannot be {doing}: {kind}")]
    Io {
        /// What, in words.
        what: String,
        /// "read", "written".
        doing: &'static str,
        /// Kind of error.
        kind: std::io::ErrorKind,
    },
    /// A reference population cannot be used.
    #[error("reference population: {problem}")]
    Reference {
        /// Place and what is wrong.
        problem: String,
    },
    /// A table of people, consents or predictions cannot be used.
    #[error("{table}: {problem}")]
    Table {
        /// Which table, in words.
        table: String,
        /// Row or column, and what is wrong.
        problem: String,
    },
    /// The reference knows no such area.
    #[error("the reference population has no area of that name; it has {known}")]
    Area {
        /// Areas it knows, shortened.
        known: String,
    },
    /// A column that was asked for is not there.
    #[error("the table of people has no column {column}")]
    NoColumn {
        /// Which column.
        column: String,
    },
    /// An age cannot be told without a day.
    #[error("the table has days of birth, but the day at which age counts is not known")]
    NoDay,
    /// The earlier report cannot be read.
    #[error("the earlier report cannot be read")]
    Previous,
    /// Nobody is in the data, or too few to say anything.
    #[error("the data hold fewer than {minimum} people, so every count would be hidden")]
    TooFew {
        /// Least number of people.
        minimum: u64,
    },
}

impl Coded for DiversityError {
    fn code(&self) -> &'static str {
        match self {
            Self::Frame(error) => error.code(),
            Self::Io { .. } => "DV001",
            Self::Reference { .. } => "DV002",
            Self::Table { .. } => "DV003",
            Self::Area { .. } => "DV004",
            Self::NoColumn { .. } => "DV005",
            Self::NoDay => "DV006",
            Self::Previous => "DV007",
            Self::TooFew { .. } => "DV008",
        }
    }
    fn hint(&self) -> &'static str {
        match self {
            Self::Frame(error) => error.hint(),
            Self::Io { .. } => "check the path, its permissions and the free space",
            Self::Reference { .. } => "docs/trustee.md shows the forms of reference tables",
            Self::Table { .. } => "correct the table at the stated place",
            Self::Area { .. } => "give --area one of these names, as it is written there",
            Self::NoColumn { .. } => "name a column of the table's header",
            Self::NoDay => "give --on YYYY-MM-DD",
            Self::Previous => "give a diversity.json that this program wrote",
            Self::TooFew { .. } => "report on more people together",
        }
    }
    fn exit(&self) -> Exit {
        match self {
            Self::Frame(error) => error.exit(),
            Self::Io { kind: std::io::ErrorKind::NotFound, .. } => Exit::NotFound,
            Self::Io { .. } | Self::Table { .. } => Exit::Failure,
            Self::Reference { .. } | Self::Area { .. } | Self::NoColumn { .. } | Self::NoDay | Self::Previous => {
                Exit::Usage
            }
            Self::TooFew { .. } => Exit::PolicyRefused,
        }
    }
}
