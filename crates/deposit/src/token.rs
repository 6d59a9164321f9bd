//! Tokens: what lets a member of the network write. A token is 256 random bits, shown once; the node keeps its digest.

use acequia_types::{DatasetName, Digest, Timestamp};
use serde::{Deserialize, Serialize};

use crate::DepositError;

/// What every token begins with, so that one is recognised where it should not be. `@huggingface/hub` takes none without `hf_`.
pub(crate) const PREFIX: &str = "hf_acequia_";

/// The names that a token counts for: `namespace/*`, or one `namespace/name`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Scope(String);

impl Scope {
    /// Reads `namespace/*` or `namespace/name`.
    ///
    /// # Errors
    /// [`DepositError::Token`].
    pub fn parse(text: &str) -> Result<Self, DepositError> {
        let (namespace, name) = text.split_once('/').unwrap_or((text, ""));
        // A star stands for any name, which must be one by itself.
        let tried = if name == "*" { format!("{namespace}/any") } else { text.to_owned() };
        match DatasetName::parse(&tried) {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(_) => Err(DepositError::Token { what: "a scope is namespace/* or namespace/name" }),
        }
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Before the slash.
    pub fn namespace(&self) -> &str {
        self.0.split('/').next().unwrap_or_default()
    }

    /// Whether the name lies in it.
    pub fn covers(&self, name: &DatasetName) -> bool {
        match self.0.strip_suffix("/*") {
            Some(namespace) => name.namespace() == namespace,
            None => self.0 == name.to_string(),
        }
    }
}

impl From<Scope> for String {
    fn from(scope: Scope) -> Self {
        scope.0
    }
}

impl TryFrom<String> for Scope {
    type Error = DepositError;
    fn try_from(text: String) -> Result<Self, DepositError> {
        Self::parse(&text)
    }
}

/// A token, as the node knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Short name of the token in lists and histories.
    pub id: String,
    /// Whom it was made for.
    pub holder: String,
    /// The names it counts for.
    pub scopes: Vec<Scope>,
    /// Whether it may write; otherwise it only reads.
    pub write: bool,
    /// When it stops counting.
    pub until: Timestamp,
    /// Who of the trustee made it.
    pub by: String,
    /// Digest of the secret.
    digest: Digest,
}

impl Token {
    /// Makes a token with its secret, which nobody can find out from it.
    ///
    /// # Errors
    /// [`DepositError::Token`] when it counts for nothing; [`DepositError::Blobs`] without randomness.
    pub fn make(
        holder: &str,
        scopes: &[Scope],
        write: bool,
        until: Timestamp,
        by: &str,
    ) -> Result<(Self, String), DepositError> {
        if scopes.is_empty() || holder.trim().is_empty() || by.trim().is_empty() {
            return Err(DepositError::Token { what: "a token needs a holder, a scope and who made it" });
        }
        let mut bytes = [0; 36];
        getrandom::fill(&mut bytes).map_err(|_| acequia_blobs::BlobError::NoRandomness)?;
        let (id, secret) = bytes.split_at(4);
        let secret = format!("{PREFIX}{}", hex::encode(secret));
        let token = Self {
            id: hex::encode(id),
            holder: holder.trim().to_owned(),
            scopes: scopes.to_vec(),
            write,
            until,
            by: by.trim().to_owned(),
            digest: Digest::of(secret.as_bytes()),
        };
        Ok((token, secret))
    }

    /// Whether this is its secret. Digests are compared, which tell nothing about secrets that are nearly right.
    pub(crate) fn is_of(&self, secret: &Digest) -> bool {
        self.digest == *secret
    }

    /// Whether the name lies in its scopes.
    pub fn covers(&self, name: &DatasetName) -> bool {
        self.scopes.iter().any(|scope| scope.covers(name))
    }
}

/// What happened to tokens.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub(crate) enum TokenEvent {
    Made { token: Token },
    Revoked { id: String, by: String },
}

/// A token in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TokenLine {
    /// Short name.
    pub id: String,
    /// Whom it was made for.
    pub holder: String,
    /// The names it counts for.
    pub scopes: Vec<Scope>,
    /// Whether it may write.
    pub write: bool,
    /// When it was made.
    pub made_at: Timestamp,
    /// When it stops counting.
    pub until: Timestamp,
    /// Since when it counts no more, though its time is not up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Timestamp>,
}
