//! What is wrong with an upload.

use acequia_types::{Coded, Exit};

/// Which of the two uploads, for messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Chunks.
    Xorb,
    /// What files are made of.
    Shard,
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Xorb => "xorb",
            Self::Shard => "shard",
        })
    }
}

/// Why a xorb or a shard is not taken. Places are bytes from its beginning; files, segments and chunks count from 0.
///
/// No hash of what was found is in here: of short contents it would tell the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum XetError {
    /// A hash in an address is none.
    #[error("not a Xet hash of 64 lower-case hex digits")]
    HashText,
    /// The bytes end inside of something.
    #[error("the {part} ends too early: what begins at byte {at} is not whole")]
    Cut {
        /// Of which upload.
        part: Part,
        /// Where the last thing begins.
        at: u64,
    },
    /// There are bytes after the end.
    #[error("the {part} goes on at byte {at}, where it should end")]
    Trailing {
        /// Of which upload.
        part: Part,
        /// The first byte too many.
        at: u64,
    },
    /// Something exceeds what is taken.
    #[error("{what} exceeds the limit of {limit}")]
    TooLarge {
        /// What is too large, and its unit.
        what: &'static str,
        /// The limit.
        limit: u64,
    },
    /// Bytes do not follow the format.
    #[error("the {part} cannot be read at byte {at}: {problem}")]
    Malformed {
        /// Of which upload.
        part: Part,
        /// Where it was noticed.
        at: u64,
        /// What is wrong.
        problem: &'static str,
    },
    /// The packed bytes of a chunk are not what its header says.
    #[error("chunk {chunk} of the xorb, at byte {at}, does not unpack to the length it states")]
    Packed {
        /// Which chunk.
        chunk: u32,
        /// Where its header begins.
        at: u64,
    },
    /// The content has another hash than the address.
    #[error("the chunks of the xorb do not have the hash of its address")]
    XorbHash,
    /// A chunk that was whole once has changed.
    #[error("chunk {chunk} of a stored xorb, at byte {at}, is not what it was when it was uploaded")]
    Changed {
        /// Which chunk.
        chunk: u32,
        /// Where its header begins.
        at: u64,
    },
    /// A file of a shard is made of what is not there.
    #[error("segment {segment} of file {file} of the shard refers to a xorb that was not uploaded")]
    NoXorb {
        /// Which file.
        file: u32,
        /// Which of its segments.
        segment: u32,
    },
    /// A segment contradicts the xorb it refers to.
    #[error("segment {segment} of file {file} of the shard does not fit its xorb: {problem}")]
    Segment {
        /// Which file.
        file: u32,
        /// Which of its segments.
        segment: u32,
        /// What does not fit.
        problem: &'static str,
    },
    /// A file comes without the proof that its sender has the chunks.
    #[error("file {file} of the shard has no verification entries")]
    Unverified {
        /// Which file.
        file: u32,
    },
    /// All chunks of a file together have another hash than it states.
    #[error("the chunks of file {file} of the shard do not have the file's hash")]
    FileHash {
        /// Which file.
        file: u32,
    },
    /// What a shard says about a xorb contradicts itself.
    #[error("xorb {xorb} that the shard describes, at byte {at}, contradicts itself: {problem}")]
    ShardXorb {
        /// Which xorb of the shard.
        xorb: u32,
        /// Where it was noticed.
        at: u64,
        /// What does not fit.
        problem: &'static str,
    },
}

impl Coded for XetError {
    fn code(&self) -> &'static str {
        match self {
            Self::HashText => "DX001",
            Self::Cut { .. } => "DX002",
            Self::Trailing { .. } => "DX003",
            Self::TooLarge { .. } => "DX004",
            Self::Malformed { .. } => "DX005",
            Self::Packed { .. } => "DX006",
            Self::XorbHash => "DX007",
            Self::Changed { .. } => "DX008",
            Self::NoXorb { .. } => "DX009",
            Self::Segment { .. } => "DX010",
            Self::Unverified { .. } => "DX011",
            Self::FileHash { .. } => "DX012",
            Self::ShardXorb { .. } => "DX013",
        }
    }
    fn hint(&self) -> &'static str {
        match self {
            Self::HashText => "use a current client; addresses have hashes as the Xet protocol prints them",
            Self::Cut { .. } | Self::Trailing { .. } | Self::Packed { .. } | Self::XorbHash => {
                "upload again; something changed the bytes on the way"
            }
            Self::TooLarge { .. } => "use a current client, which keeps to the sizes of the Xet protocol",
            Self::Malformed { .. } | Self::ShardXorb { .. } => {
                "upload again with a current client; hf_xet from 1.1.3 on is known to be read"
            }
            Self::Changed { .. } => "upload the file again, and check the disk that held the upload",
            Self::NoXorb { .. } => "upload the file again; uploads that no shard followed are kept for a while only",
            Self::Segment { .. } | Self::Unverified { .. } | Self::FileHash { .. } => {
                "upload the file again from its content with a current client"
            }
        }
    }
    fn exit(&self) -> Exit {
        match self {
            Self::HashText => Exit::Usage,
            Self::TooLarge { .. } => Exit::PolicyRefused,
            Self::NoXorb { .. } => Exit::NotFound,
            _ => Exit::Integrity,
        }
    }
}
