//! What can go wrong with the records.

use acequia_types::{Coded, Exit};

/// The records cannot be read or written. Messages carry no row values.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be opened.
    #[error("the node's records cannot be opened")]
    Open,
    /// Another process holds the records for too long.
    #[error("the node's records are in use by another command")]
    Busy,
    /// A statement failed.
    #[error("the node's records cannot be {doing}")]
    Sql {
        /// "read" or "written", and what.
        doing: &'static str,
    },
    /// A record on disk cannot be understood.
    #[error("a record of kind {kind} cannot be understood")]
    Record {
        /// Kind of record.
        kind: &'static str,
    },
    /// The database itself is damaged.
    #[error("the integrity check of the node's records failed")]
    Damaged,
    /// A chain of records was tampered with.
    #[error("records were changed outside the program: {broken}")]
    Chain {
        /// Where; names no donor.
        broken: acequia_custody::ChainBroken,
    },
    /// Made by a newer program.
    #[error("the node's records are of layout {found}, this program knows up to {known}")]
    Layout {
        /// Layout on disk.
        found: i64,
        /// Newest layout this program knows.
        known: i64,
    },
    /// Another manifest is already published under this version.
    #[error("{dataset} {version} is published with another content")]
    Immutable {
        /// Which data set.
        dataset: String,
        /// Which version.
        version: String,
    },
}

impl Coded for StoreError {
    fn code(&self) -> &'static str {
        match self {
            Self::Open => "ST001",
            Self::Busy => "ST002",
            Self::Sql { .. } => "ST003",
            Self::Record { .. } => "ST004",
            Self::Damaged => "ST005",
            Self::Layout { .. } => "ST006",
            Self::Immutable { .. } => "ST007",
            Self::Chain { .. } => "ST008",
        }
    }
    fn hint(&self) -> &'static str {
        match self {
            Self::Open => {
                "check the permissions of the node's folder and the free space, or that the database server runs"
            }
            Self::Busy => "wait until the other command is done, then try again",
            Self::Sql { .. } => "check the free space; run `acequia doctor`",
            Self::Record { .. } | Self::Damaged | Self::Chain { .. } => "restore the node's folder from a backup",
            Self::Layout { .. } => "use the newer program",
            Self::Immutable { .. } => "raise the version in the recipe: published versions are immutable",
        }
    }
    fn exit(&self) -> Exit {
        match self {
            Self::Busy => Exit::Temporary,
            Self::Record { .. } | Self::Damaged | Self::Chain { .. } => Exit::Integrity,
            Self::Immutable { .. } => Exit::PolicyRefused,
            _ => Exit::Failure,
        }
    }
}

pub(crate) fn sql(doing: &'static str) -> impl FnOnce(sqlx::Error) -> StoreError {
    move |error| match &error {
        sqlx::Error::Database(database) if database.code().is_some_and(|code| is_busy(&code)) => StoreError::Busy,
        sqlx::Error::PoolTimedOut => StoreError::Busy,
        _ => StoreError::Sql { doing },
    }
}

/// SQLITE_BUSY (5) and its extended codes; in PostgreSQL, whose codes have five characters, a lock that was not available, a
/// failed serialisation, a deadlock.
fn is_busy(code: &str) -> bool {
    match code.len() {
        5 => matches!(code, "55P03" | "40001" | "40P01"),
        _ => code.parse::<i64>().is_ok_and(|code| code & 0xff == 5),
    }
}
