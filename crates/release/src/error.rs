//! Why a version is not made. Messages name settings, columns and counts, never a value of a row.

use acequia_frame::FrameError;
use acequia_types::{Coded, Exit};

/// Why a version is not made.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// A setting of the plan cannot be used.
    #[error("release plan: {field} {problem}")]
    Plan {
        /// Which setting, as it is named in [`crate::Plan`].
        field: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Rows and assignment numbers do not pair up.
    #[error("the table has {rows} rows but {numbers} assignment numbers")]
    AssignmentLength {
        /// Rows of the table.
        rows: usize,
        /// Assignment numbers given.
        numbers: usize,
    },
    /// One person would be in the data twice, perhaps in two splits.
    #[error("{repeated} assignment numbers occur more than once, so a person could be in two splits")]
    AssignmentRepeated {
        /// How many numbers occur more than once.
        repeated: usize,
    },
    /// A split would have no row.
    #[error("the {split} split has no row ({rows} rows in all)")]
    EmptySplit {
        /// Which split.
        split: &'static str,
        /// Rows to divide.
        rows: usize,
    },
    /// A column of the table is not described.
    #[error("column {column} has no description in the release plan")]
    Undescribed {
        /// Which column.
        column: String,
    },
    /// The plan describes a column that the table does not have.
    #[error("the release plan describes column {column}, which the table does not have")]
    DescribedOnly {
        /// Which column.
        column: String,
    },
    /// A column has a type that cannot be published.
    #[error("column {column} has type {found}, which a release cannot hold")]
    ColumnType {
        /// Which column.
        column: String,
        /// Its type.
        found: String,
    },
    /// A column name is not fit for a file format.
    #[error("column {position} has a name with characters other than a-z, A-Z, 0-9, '_', '-' and '.'")]
    ColumnName {
        /// One-based position in the table.
        position: usize,
    },
    /// The receipt does not state what a reader must know.
    #[error("the risk receipt does not state {what}")]
    Receipt {
        /// What is missing: a JSON pointer.
        what: &'static str,
    },
    /// The recount disagrees with the receipt.
    #[error(
        "{classes} equivalence classes have fewer than k = {k} rows when counted from the rows about to be published"
    )]
    ClassTooSmall {
        /// How many classes are too small.
        classes: usize,
        /// The policy's k.
        k: u64,
    },
    /// The licence of a model does not carry what something asks that it learned from.
    #[error("the model cannot stand under its licence: {license}, under which it got {source_title}, {asks}")]
    Licence {
        /// What it learned from.
        source_title: String,
        /// Its licence (SPDX), or its term of the Data Use Ontology.
        license: String,
        /// What that asks.
        asks: &'static str,
    },
    /// A model or a record cannot be published.
    #[error(transparent)]
    Learn(#[from] acequia_learn::LearnError),
    /// The finished files do not verify.
    #[error("the finished version fails its own check: {check}")]
    SelfCheck {
        /// Which check.
        check: String,
    },
    /// A table operation failed.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

impl Coded for ReleaseError {
    fn code(&self) -> &'static str {
        match self {
            Self::Plan { .. } => "RE001",
            Self::AssignmentLength { .. } => "RE002",
            Self::AssignmentRepeated { .. } => "RE003",
            Self::EmptySplit { .. } => "RE004",
            Self::Undescribed { .. } => "RE005",
            Self::DescribedOnly { .. } => "RE006",
            Self::ColumnType { .. } => "RE007",
            Self::ColumnName { .. } => "RE008",
            Self::Receipt { .. } => "RE009",
            Self::ClassTooSmall { .. } => "RE010",
            Self::SelfCheck { .. } => "RE011",
            Self::Licence { .. } => "RE012",
            Self::Learn(error) => error.code(),
            Self::Frame(error) => error.code(),
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            Self::Plan { .. } => {
                "correct the setting: under [release] in the recipe of a data set, or in the card of a model"
            }
            Self::AssignmentLength { .. } | Self::Receipt { .. } | Self::SelfCheck { .. } => {
                "this is a defect of the program; please report it with the code"
            }
            Self::AssignmentRepeated { .. } => {
                "make the cohort's SQL return one row and one assignment number per person"
            }
            Self::EmptySplit { .. } => "gather more records, or give the split a larger share under [release.split]",
            Self::Undescribed { .. } => {
                "describe the column under [release.columns], or leave it out of the cohort's SQL"
            }
            Self::DescribedOnly { .. } => "remove the description, or return the column from the cohort's SQL",
            Self::ColumnType { .. } => "cast the column in the cohort's SQL to text, a number, a boolean or a date",
            Self::ColumnName { .. } => "rename the column in the cohort's SQL",
            Self::ClassTooSmall { .. } => "do not publish; run the recipe again and report it with the code",
            Self::Licence { .. } => {
                "publish the model under that licence or term, or ask whoever holds the rights; leave it out of the training otherwise"
            }
            Self::Learn(error) => error.hint(),
            Self::Frame(error) => error.hint(),
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Plan { .. } | Self::Undescribed { .. } | Self::DescribedOnly { .. } | Self::ColumnName { .. } => {
                Exit::Usage
            }
            Self::AssignmentRepeated { .. }
            | Self::EmptySplit { .. }
            | Self::ClassTooSmall { .. }
            | Self::Licence { .. } => Exit::PolicyRefused,
            Self::SelfCheck { .. } => Exit::Integrity,
            Self::AssignmentLength { .. } | Self::ColumnType { .. } | Self::Receipt { .. } => Exit::Failure,
            Self::Learn(error) => error.exit(),
            Self::Frame(error) => error.exit(),
        }
    }
}
