//! Why records are not linked.

use acequia_types::{Coded, Exit};

/// Why records are not linked. Names files, columns, rules and rows, never values.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// A table cannot be read or a result cannot be written.
    #[error("{file}: {problem}")]
    File {
        /// Name of the file, without its folder.
        file: String,
        /// What is wrong, and at which row.
        problem: String,
    },
    /// The configuration contradicts itself.
    #[error("the linkage configuration cannot be used: {message}")]
    Config {
        /// Key and what is wrong.
        message: String,
    },
    /// A column is not as the configuration says.
    #[error("column {column} {problem}")]
    Column {
        /// Which column.
        column: String,
        /// What is wrong.
        problem: String,
    },
    /// A blocking rule would compare more pairs than allowed.
    #[error(
        "the blocking rule {rule} would compare {pairs} pairs where {limit} are allowed; its largest block has {largest} records"
    )]
    TooManyPairs {
        /// The rule, as columns and transformations.
        rule: String,
        /// Pairs that the rule would compare.
        pairs: u64,
        /// Pairs that are allowed, all rules together.
        limit: u64,
        /// Records that share the most frequent key.
        largest: u64,
    },
    /// The key file cannot be used.
    #[error("the key file {problem}")]
    Key {
        /// What is wrong.
        problem: String,
    },
    /// A file of encoded records is damaged.
    #[error("{file}: not a file of encoded records: {problem}")]
    Encoded {
        /// Name of the file, without its folder.
        file: String,
        /// What is wrong, and at which byte or record.
        problem: String,
    },
    /// Two files of encoded records were not made alike.
    #[error("the two files of encoded records cannot be compared: they differ in {what}")]
    Different {
        /// What differs.
        what: &'static str,
    },
    /// The register of clusters is damaged or was made otherwise.
    #[error("the register of clusters cannot be used: line {line}: {problem}")]
    Register {
        /// One-based line.
        line: usize,
        /// What is wrong.
        problem: String,
    },
}

impl Coded for LinkError {
    fn code(&self) -> &'static str {
        match self {
            Self::File { .. } => "LI001",
            Self::Config { .. } => "LI002",
            Self::Column { .. } => "LI003",
            Self::TooManyPairs { .. } => "LI004",
            Self::Key { .. } => "LI005",
            Self::Encoded { .. } => "LI006",
            Self::Different { .. } => "LI007",
            Self::Register { .. } => "LI008",
        }
    }
    fn hint(&self) -> &'static str {
        match self {
            Self::File { .. } => "give CSV files with a header row, UTF-8, plain or .gz",
            Self::Config { .. } => "correct the configuration; docs/hospital.md explains every key",
            Self::Column { .. } => {
                "correct the column's name or the file; both files need the columns that are compared"
            }
            Self::TooManyPairs { .. } => {
                "add a second column to the rule, or raise blocking.limit_pairs if the time and memory are there"
            }
            Self::Key { .. } => "make one with `acequia link key -o project.key` and give every party the same file",
            Self::Encoded { .. } => "fetch the file again, or encode the table again",
            Self::Different { .. } => "encode both tables with the same key file and the same configuration file",
            Self::Register { .. } => "restore the register from a backup; do not edit it",
        }
    }
    fn exit(&self) -> Exit {
        match self {
            Self::Config { .. } | Self::Column { .. } | Self::Key { .. } => Exit::Usage,
            Self::TooManyPairs { .. } => Exit::PolicyRefused,
            Self::Encoded { .. } | Self::Register { .. } => Exit::Integrity,
            Self::File { .. } | Self::Different { .. } => Exit::Failure,
        }
    }
}
