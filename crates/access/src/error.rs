//! What can go wrong with access.

use acequia_store::StoreError;
use acequia_types::{Coded, Exit};

use crate::TokenError;

/// Something is wrong with access. Messages name requests and settings, never a person.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// The settings cannot be used.
    #[error("[access] of settings.toml cannot be used: {what}")]
    Settings {
        /// Which key, and what is wrong with it.
        what: &'static str,
    },
    /// The secret that the provider gave the node cannot be read.
    #[error("the client secret of [access] in settings.toml cannot be read")]
    Secret,
    /// The institutional login cannot be asked, or says what is not so.
    #[error("the institutional login did not answer as it must: {what}")]
    Provider {
        /// What is wrong.
        what: &'static str,
    },
    /// There is no request of that name.
    #[error("there is no such request for access")]
    NoRequest,
    /// There is no promise of that name.
    #[error("there is no such promise")]
    NoPromise,
    /// What is decided does not fit how the request or promise stands.
    #[error("it cannot be decided so: {what}")]
    Decision {
        /// Why.
        what: &'static str,
    },
    /// What somebody wrote into a form cannot be.
    #[error("{what}")]
    Form {
        /// What is wrong, as a sentence.
        what: &'static str,
    },
    /// No randomness.
    #[error("the system gives no random numbers")]
    Randomness,
    /// A sealed part of a request cannot be opened.
    #[error("a sealed part of a request for access cannot be opened")]
    Sealed,
    /// A token.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The records failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Coded for AccessError {
    fn code(&self) -> &'static str {
        match self {
            Self::Settings { .. } => "AX004",
            Self::Secret => "AX005",
            Self::Provider { .. } => "AX006",
            Self::NoRequest => "AX007",
            Self::Decision { .. } => "AX008",
            Self::Form { .. } => "AX009",
            Self::Randomness => "AX003",
            Self::Sealed => "AX010",
            Self::NoPromise => "AX011",
            Self::Token(error) => error.code(),
            Self::Store(error) => error.code(),
        }
    }
    fn hint(&self) -> &'static str {
        match self {
            Self::Settings { .. } => "docs/trustee.md explains every key of [access]",
            Self::Secret => {
                "name a file that only the node's user reads with client_secret_file, or a variable with client_secret_env"
            }
            Self::Provider { .. } => {
                "try again; if it stays so, compare issuer, client_id and redirect address with what the provider has on file"
            }
            Self::NoRequest => "see `acequia access list`",
            Self::NoPromise => "see `acequia access promises`",
            Self::Decision { .. } => "see `acequia access show REQUEST`, or `acequia access promises`",
            Self::Form { .. } => "go back and correct it",
            Self::Randomness => "look at the system's log; without random numbers nothing can be kept safe",
            Self::Sealed => "restore the keys and the records of the node from backups of the same day",
            Self::Token(error) => error.hint(),
            Self::Store(error) => error.hint(),
        }
    }
    fn exit(&self) -> Exit {
        match self {
            Self::Settings { .. } | Self::Secret | Self::Form { .. } => Exit::Usage,
            Self::Provider { .. } => Exit::Temporary,
            Self::NoRequest | Self::NoPromise => Exit::NotFound,
            Self::Decision { .. } => Exit::PolicyRefused,
            Self::Randomness => Exit::Failure,
            Self::Sealed => Exit::Integrity,
            Self::Token(error) => error.exit(),
            Self::Store(error) => error.exit(),
        }
    }
}
