//! What can go wrong between the catalogue and an answer.

use acequia_types::{Coded, Digest, Exit};

/// Why the hub cannot serve something it should.
///
/// What a client asked for in vain is not an error of the hub; it is answered with a status and a code.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// A published file's bytes are not in the store.
    #[error("the store has no bytes under the content address {sha256}")]
    Missing {
        /// Which content.
        sha256: Digest,
    },
    /// The store could not read a published file.
    #[error("the store cannot read the content {sha256}")]
    Unreadable {
        /// Which content.
        sha256: Digest,
        /// What the store says.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The store's bytes are not those that were published.
    #[error("the stored bytes of {sha256} are not those that were published")]
    Damaged {
        /// Which content.
        sha256: Digest,
    },
    /// One version number stands for two different manifests.
    #[error("{dataset} has two different versions numbered {version}")]
    TwoManifests {
        /// Which data set.
        dataset: String,
        /// Which version.
        version: String,
    },
    /// A manifest lists a path that no client may write to its disk.
    #[error(
        "{dataset} {version} lists a file, number {position} in its manifest, whose path is not a plain relative one"
    )]
    Path {
        /// Which data set.
        dataset: String,
        /// Which version.
        version: String,
        /// One-based position in the manifest's list of files.
        position: usize,
    },
    /// The address the node is told to give out is no web address.
    #[error("the public address is not of the form http(s)://host[:port]")]
    Address,
}

impl Coded for HubError {
    fn code(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "HU001",
            Self::Unreadable { .. } => "HU002",
            Self::Damaged { .. } => "HU003",
            Self::TwoManifests { .. } => "HU004",
            Self::Path { .. } => "HU005",
            Self::Address => "HU006",
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            Self::Missing { .. } | Self::Damaged { .. } => "run `acequia doctor`; restore the blob store from a backup",
            Self::Unreadable { .. } => {
                "check the disk and the permissions of the blob store, then run `acequia doctor`"
            }
            Self::TwoManifests { .. } => "versions never change: publish the newer one under the next version number",
            Self::Path { .. } => "release the version again with plain relative paths",
            Self::Address => "give the address as readers type it, for instance https://data.example.org",
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Missing { .. } | Self::Damaged { .. } | Self::TwoManifests { .. } | Self::Path { .. } => {
                Exit::Integrity
            }
            Self::Unreadable { .. } => Exit::Temporary,
            Self::Address => Exit::Usage,
        }
    }
}
