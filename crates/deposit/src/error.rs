//! What can go wrong with deposits.

use acequia_access::TokenError;
use acequia_blobs::BlobError;
use acequia_store::StoreError;
use acequia_types::{Coded, Exit};

/// Something is wrong with a deposit or with what is written to it. Messages name deposits, files and rules, never what stands in a
/// file.
#[derive(Debug, thiserror::Error)]
pub enum DepositError {
    /// No such deposit, or none that the asker may see.
    #[error("there is no such deposit")]
    Missing,
    /// The name is taken.
    #[error("a deposit of this name is there already")]
    Exists,
    /// No such tag or commit.
    #[error("the deposit has no such tag or commit")]
    Revision,
    /// The request or a line of it cannot be understood.
    #[error("the commit cannot be understood: line {line} {what}")]
    Line {
        /// From 1.
        line: usize,
        /// What is wrong with it.
        what: &'static str,
    },
    /// A path that cannot be in a deposit.
    #[error("the commit names a path in line {line} that no deposit can have")]
    Path {
        /// From 1.
        line: usize,
    },
    /// A commit names bytes that never arrived.
    #[error("the commit names a file in line {line} whose bytes have not arrived")]
    NotUploaded {
        /// From 1.
        line: usize,
    },
    /// The deposit changed since the commit that this one was made from.
    #[error("the deposit changed since the commit that this one was made from")]
    Stale,
    /// Something that is there would be moved, rewritten or deleted.
    #[error("the history of a deposit only grows: {what}")]
    Grows {
        /// What was asked for.
        what: &'static str,
    },
    /// More than the node takes.
    #[error("{what} of {most} {unit} would be exceeded")]
    Limit {
        /// Which limit.
        what: &'static str,
        /// The limit.
        most: u64,
        /// Of what.
        unit: &'static str,
    },
    /// The bytes that arrived are not those that were announced.
    #[error("the bytes that arrived are not those that were announced")]
    Damaged,
    /// The address for uploading is not, or no longer, good.
    #[error("this address for uploading is not good, or not any more")]
    Capability,
    /// A token that cannot be made, or is not there.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The version cannot be handed in as a release: its tag.
    #[error("a deposit is handed in under a tag such as v1.0.0")]
    Tag,
    /// A branch that cannot be called so.
    #[error("a branch cannot be called so")]
    BranchName,
    /// A commit of a branch is handed in.
    #[error("only commits of main are handed in")]
    Aside,
    /// A key that stands for one request came with another.
    #[error("this idempotency key was used for another request")]
    OtherRequest,
    /// The sealed bytes of a deposit cannot be opened.
    #[error("sealed bytes of a deposit cannot be opened")]
    Sealed,
    /// Another command mends the node.
    #[error("the node is being mended")]
    Mending,
    /// The records failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The blobs failed.
    #[error(transparent)]
    Blobs(#[from] BlobError),
}

impl Coded for DepositError {
    fn code(&self) -> &'static str {
        match self {
            Self::Missing => "DP001",
            Self::Exists => "DP002",
            Self::Revision => "DP003",
            Self::Line { .. } => "DP004",
            Self::Path { .. } => "DP005",
            Self::NotUploaded { .. } => "DP006",
            Self::Stale => "DP007",
            Self::Grows { .. } => "DP008",
            Self::Limit { .. } => "DP009",
            Self::Damaged => "DP010",
            Self::Capability => "DP011",
            Self::Token(error) => error.code(),
            Self::Tag => "DP013",
            Self::Sealed => "DP014",
            Self::Mending => "DP015",
            Self::OtherRequest => "DP016",
            Self::BranchName => "DP017",
            Self::Aside => "DP018",
            Self::Store(error) => error.code(),
            Self::Blobs(error) => error.code(),
        }
    }
    fn hint(&self) -> &'static str {
        match self {
            Self::Missing => "see `acequia deposit list`; a token sees the names it was made for",
            Self::Exists => "write to it, or choose another name",
            Self::Revision => "see `acequia deposit show NAME` for its tags and commits",
            Self::Line { .. } => "commits are lines of JSON as Hub clients write them; update the client",
            Self::Path { .. } => "use relative paths without `..`, `:` and control characters",
            Self::NotUploaded { .. } => "upload the file first; a client does so by itself when it is run again",
            Self::Stale => "read what changed, and make the commit again from the newest one",
            Self::Grows { .. } => "commit what should be there instead, and make a new tag",
            Self::Limit { .. } => {
                "split what is too large, or ask the trustee to raise it in [deposits] of settings.toml"
            }
            Self::Damaged => "run the upload again; what arrived whole is kept",
            Self::Capability => "run the upload again; it asks for a new address",
            Self::Token(error) => error.hint(),
            Self::Tag => "name the tag vX.Y.Z",
            Self::BranchName => {
                "use letters, digits, '-', '_', '.' and '/' between them; not what looks like a tag or a commit"
            }
            Self::Aside => "commit to main what should be handed in",
            Self::OtherRequest => "make a new key for each request, and keep it only for asking the same again",
            Self::Sealed => "restore keys and blobs of the node from backups of the same day",
            Self::Mending => "wait until `acequia doctor --mend` is done, then try again",
            Self::Store(error) => error.hint(),
            Self::Blobs(error) => error.hint(),
        }
    }
    fn exit(&self) -> Exit {
        match self {
            Self::Missing | Self::Revision => Exit::NotFound,
            Self::Exists | Self::Stale | Self::Grows { .. } | Self::Limit { .. } | Self::Aside => Exit::PolicyRefused,
            Self::Line { .. }
            | Self::Path { .. }
            | Self::NotUploaded { .. }
            | Self::Tag
            | Self::BranchName
            | Self::OtherRequest => Exit::Usage,
            Self::Token(error) => error.exit(),
            Self::Capability => Exit::NotPermitted,
            Self::Damaged | Self::Sealed => Exit::Integrity,
            Self::Mending => Exit::Temporary,
            Self::Store(error) => error.exit(),
            Self::Blobs(error) => error.exit(),
        }
    }
}
