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
    /// The address names no bucket. It is not repeated: somebody may have put a password into it.
    #[error("the address of the blobs is not of the form s3://bucket/prefix")]
    Address,
    /// The object store did not answer, or only that it cannot now, as often as it was asked.
    #[error("{place} cannot be reached: {why}")]
    Unreachable {
        /// Bucket and prefix.
        place: String,
        /// In words, without what a server or a library says.
        why: String,
    },
    /// The object store does not let these credentials do this.
    #[error("{place} is closed to this node: {answer}")]
    Refused {
        /// Bucket and prefix.
        place: String,
        /// Status and code of the answer.
        answer: String,
    },
    /// There is no such bucket.
    #[error("there is no bucket for {place}")]
    NoBucket {
        /// Bucket and prefix.
        place: String,
    },
    /// The object store answered what nobody expects.
    #[error("{place} gave an answer that is no good: {answer}")]
    Answer {
        /// Bucket and prefix.
        place: String,
        /// Status and code of the answer.
        answer: String,
    },
    /// Another node keeps its blobs there: cleaning up would take them away.
    #[error("{place} is where another node keeps its blobs")]
    Foreign {
        /// Bucket and prefix.
        place: String,
    },
}

impl BlobError {
    /// Whether it says nothing about a blob, only that the object store cannot be used now.
    pub fn is_of_the_store(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Refused { .. } | Self::NoBucket { .. } | Self::Answer { .. } => true,
            Self::Foreign { .. } | Self::Address => true,
            Self::Io { .. } | Self::TooLarge { .. } | Self::Missing { .. } | Self::Damaged { .. } => false,
            Self::Range { .. } | Self::Sealed | Self::NoRandomness => false,
        }
    }
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
            Self::Address => "BL008",
            Self::Unreachable { .. } => "BL009",
            Self::Refused { .. } => "BL010",
            Self::NoBucket { .. } => "BL011",
            Self::Answer { .. } => "BL012",
            Self::Foreign { .. } => "BL013",
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
            Self::Address => {
                "write s3://bucket/prefix; keys and endpoint come from the environment (AWS_ACCESS_KEY_ID and others)"
            }
            Self::Unreachable { .. } => {
                "try again: nothing was lost; look at AWS_ENDPOINT, AWS_ALLOW_HTTP=true for http://, and the network"
            }
            Self::Refused { .. } => {
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY of somebody who may read, write, list and remove there"
            }
            Self::NoBucket { .. } => "make the bucket, or correct its name; look at AWS_ENDPOINT and AWS_REGION",
            Self::Answer { .. } => "look at AWS_ENDPOINT and AWS_REGION, and at the log of the object store",
            Self::Foreign { .. } => "give each node a prefix of its own",
        }
    }
    fn exit(&self) -> Exit {
        match self {
            Self::Io { kind: std::io::ErrorKind::NotFound, .. } => Exit::NotFound,
            Self::Missing { .. } | Self::Damaged { .. } | Self::Sealed => Exit::Integrity,
            Self::NoRandomness | Self::Unreachable { .. } => Exit::Temporary,
            Self::Address => Exit::Usage,
            Self::NoBucket { .. } => Exit::NotFound,
            Self::Refused { .. } | Self::Foreign { .. } => Exit::NotPermitted,
            _ => Exit::Failure,
        }
    }
}

pub(crate) fn io(what: &str, doing: &'static str) -> impl FnOnce(std::io::Error) -> BlobError {
    move |error| BlobError::Io { what: what.to_owned(), doing, kind: error.kind() }
}
