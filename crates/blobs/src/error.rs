//! What can go wrong with files and seals.

use acequia_types::{Coded, Digest, Exit};

/// A file or a sealed object cannot be used. Donated files are named by a label, never by path: a path may hold a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlobError {
    /// The operating system refused.
    #[error("{what} cannot be {doing}: {kind}")]
    Io {
        /// Which file, in words.
        what: String,
        /// "read" or "written".
        doing: &'static str,
        /// Kind of error.
        kind: std::io::ErrorKind,
    },
    /// Larger than allowed.
    #[error("{what} is larger than {limit_bytes} bytes")]
    TooLarge {
        /// Which file, in words.
        what: String,
        /// Allowed bytes.
        limit_bytes: u64,
    },
    /// Nothing is stored under this address.
    #[error("no bytes are stored under {digest}")]
    Missing {
        /// The address.
        digest: Digest,
    },
    /// The bytes under this address are other bytes.
    #[error("the bytes stored under {digest} are damaged")]
    Damaged {
        /// The address.
        digest: Digest,
    },
    /// The asked range is not inside the bytes.
    #[error("the range is outside the bytes stored under {digest}")]
    Range {
        /// The address.
        digest: Digest,
    },
    /// Wrong key, wrong context, or changed bytes: which of them is not told.
    #[error("a sealed object cannot be opened: its key, its place or its bytes are not the right ones")]
    Sealed,
    /// The operating system gives no randomness.
    #[error("the operating system gives no random bytes")]
    NoRandomness,
}

impl Coded for BlobError {
    fn code(&self) -> &'static str {
        match self {
            Self::Io { .. } => "BL001",
            Self::TooLarge { .. } => "BL002",
            Self::Missing { .. } => "BL003",
            Self::Damaged { .. } => "BL004",
            Self::Range { .. } => "BL005",
            Self::Sealed => "BL006",
            Self::NoRandomness => "BL007",
        }
    }
    fn hint(&self) -> &'static str {
        match self {
            Self::Io { .. } => "check the path, its permissions and the free space",
            Self::TooLarge { .. } => "split the file",
            Self::Missing { .. } | Self::Damaged { .. } | Self::Sealed => {
                "run `acequia doctor`; restore the node's folder from a backup"
            }
            Self::Range { .. } => "ask for bytes inside the file",
            Self::NoRandomness => "try again; if it stays, the machine is not fit to hold keys",
        }
    }
    fn exit(&self) -> Exit {
        match self {
            Self::Io { kind: std::io::ErrorKind::NotFound, .. } => Exit::NotFound,
            Self::Missing { .. } | Self::Damaged { .. } | Self::Sealed => Exit::Integrity,
            Self::NoRandomness => Exit::Temporary,
            _ => Exit::Failure,
        }
    }
}

pub(crate) fn io(what: &str, doing: &'static str) -> impl FnOnce(std::io::Error) -> BlobError {
    move |error| BlobError::Io { what: what.to_owned(), doing, kind: error.kind() }
}
