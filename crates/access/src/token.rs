//! Tokens: what programs of people show instead of signing in. A token is 256 random bits, shown once; the node keeps its digest.
//!
//! There are two sorts, in one journal. The trustee makes tokens for members of the network, who write and read deposits with them; readers make
//! tokens for themselves, which read published versions as their owner may, and never a deposit.

use std::sync::{Arc, Mutex, PoisonError};

use acequia_store::{Store, StoreError};
use acequia_types::{Clock, Coded, DatasetName, Digest, Exit, Timestamp};
use serde::{Deserialize, Serialize};

/// What every token begins with, so that one is recognised where it should not be. `@huggingface/hub` takes none without `hf_`.
const PREFIX: &str = "hf_acequia_";
/// Stream of what happened to tokens.
const TOKENS: &str = "deposit-tokens";

/// A token that cannot be made, or is not there.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// A name, a scope or a time that cannot be.
    #[error("{what}")]
    Unfit {
        /// What is wrong.
        what: &'static str,
    },
    /// There is no token of that name.
    #[error("there is no such token")]
    Missing,
    /// No randomness.
    #[error("the system gives no random numbers")]
    Randomness,
    /// The records failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Coded for TokenError {
    fn code(&self) -> &'static str {
        match self {
            Self::Unfit { .. } => "AX001",
            Self::Missing => "AX002",
            Self::Randomness => "AX003",
            Self::Store(error) => error.code(),
        }
    }
    fn hint(&self) -> &'static str {
        match self {
            Self::Unfit { .. } => "see `acequia token create --help`",
            Self::Missing => "see `acequia token list`",
            Self::Randomness => "look at the system's log; without random numbers nothing can be kept safe",
            Self::Store(error) => error.hint(),
        }
    }
    fn exit(&self) -> Exit {
        match self {
            Self::Unfit { .. } => Exit::Usage,
            Self::Missing => Exit::NotFound,
            Self::Randomness => Exit::Failure,
            Self::Store(error) => error.exit(),
        }
    }
}

/// The names that a token counts for: `namespace/*`, or one `namespace/name`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Scope(String);

impl Scope {
    /// Reads `namespace/*` or `namespace/name`.
    ///
    /// # Errors
    /// [`TokenError::Unfit`].
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        let (namespace, name) = text.split_once('/').unwrap_or((text, ""));
        // A star stands for any name, which must be one by itself.
        let tried = if name == "*" { format!("{namespace}/any") } else { text.to_owned() };
        match DatasetName::parse(&tried) {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(_) => Err(TokenError::Unfit { what: "a scope is namespace/* or namespace/name" }),
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
    type Error = TokenError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

/// A token, as the node knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Short name of the token in lists and histories.
    pub id: String,
    /// Whom or what it was made for.
    pub holder: String,
    /// The names it counts for.
    pub scopes: Vec<Scope>,
    /// Whether it may write; otherwise it only reads.
    pub write: bool,
    /// When it stops counting.
    pub until: Timestamp,
    /// Who of the trustee made it; of a reader's own token the reader.
    pub by: String,
    /// The reader as whom it reads; a member's token has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reader: Option<String>,
    /// Digest of the secret.
    digest: Digest,
}

/// A token to be made.
#[derive(Debug, Clone)]
pub struct NewToken<'t> {
    /// Whom or what it is for.
    pub holder: &'t str,
    /// The names it counts for.
    pub scopes: &'t [Scope],
    /// Whether it may write.
    pub write: bool,
    /// When it stops counting.
    pub until: Timestamp,
    /// Who makes it.
    pub by: &'t str,
    /// The reader as whom it reads.
    pub reader: Option<&'t str>,
}

impl Token {
    /// Makes a token with its secret, which nobody can find out from it.
    ///
    /// # Errors
    /// [`TokenError::Unfit`] when it counts for nothing; [`TokenError::Randomness`].
    pub fn make(new: &NewToken<'_>) -> Result<(Self, String), TokenError> {
        if new.scopes.is_empty() || new.holder.trim().is_empty() || new.by.trim().is_empty() {
            return Err(TokenError::Unfit { what: "a token needs a holder, a scope and who made it" });
        }
        if new.reader.is_some() && new.write {
            return Err(TokenError::Unfit { what: "a reader's token writes nothing" });
        }
        let mut bytes = [0; 40];
        getrandom::fill(&mut bytes).map_err(|_| TokenError::Randomness)?;
        let (id, secret) = bytes.split_at(8);
        let secret = format!("{PREFIX}{}", hex::encode(secret));
        let token = Self {
            id: hex::encode(id),
            holder: new.holder.trim().to_owned(),
            scopes: new.scopes.to_vec(),
            write: new.write,
            until: new.until,
            by: new.by.trim().to_owned(),
            reader: new.reader.map(str::to_owned),
            digest: Digest::of(secret.as_bytes()),
        };
        Ok((token, secret))
    }

    /// Whether the name lies in its scopes.
    pub fn covers(&self, name: &DatasetName) -> bool {
        self.scopes.iter().any(|scope| scope.covers(name))
    }
}

/// What happened to tokens.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
enum TokenEvent {
    Made { token: Token },
    Revoked { id: String, by: String },
}

/// A token in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TokenLine {
    /// Short name.
    pub id: String,
    /// Whom or what it was made for.
    pub holder: String,
    /// The names it counts for.
    pub scopes: Vec<Scope>,
    /// Whether it may write.
    pub write: bool,
    /// When it was made.
    pub made_at: Timestamp,
    /// When it stops counting.
    pub until: Timestamp,
    /// The reader as whom it reads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reader: Option<String>,
    /// Since when it counts no more, though its time is not up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Timestamp>,
}

#[derive(Default)]
struct Known {
    last: u64,
    all: Vec<State>,
}

#[derive(Clone)]
struct State {
    token: Token,
    made_at: Timestamp,
    revoked_at: Option<Timestamp>,
}

/// The tokens of a node.
pub struct Tokens {
    store: Store,
    clock: Arc<dyn Clock>,
    known: Mutex<Known>,
}

impl Tokens {
    /// The tokens in a node's records.
    pub fn new(store: Store, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock, known: Mutex::default() }
    }

    /// Makes a token. Returns it with its secret, which is not kept.
    ///
    /// # Errors
    /// [`TokenError::Unfit`]; errors of the records.
    pub async fn make(&self, new: &NewToken<'_>) -> Result<(Token, String), TokenError> {
        let now = self.clock.now();
        if new.until <= now {
            return Err(TokenError::Unfit { what: "the token would have expired already" });
        }
        let (token, secret) = Token::make(new)?;
        self.put(&TokenEvent::Made { token: token.clone() }).await?;
        Ok((token, secret))
    }

    /// Every token, oldest first.
    ///
    /// # Errors
    /// Errors of the records.
    pub async fn list(&self) -> Result<Vec<TokenLine>, TokenError> {
        let line = |state: State| TokenLine {
            id: state.token.id,
            holder: state.token.holder,
            scopes: state.token.scopes,
            write: state.token.write,
            made_at: state.made_at,
            until: state.token.until,
            reader: state.token.reader,
            revoked_at: state.revoked_at,
        };
        Ok(self.states().await?.into_iter().map(line).collect())
    }

    /// Revokes a token: from the next request on it opens nothing. `false` when it was revoked before. With `reader`, only one of that
    /// reader's own.
    ///
    /// # Errors
    /// [`TokenError::Missing`] when there is none of this id, or it is somebody else's.
    pub async fn revoke(&self, id: &str, by: &str, reader: Option<&str>) -> Result<bool, TokenError> {
        let states = self.states().await?;
        let own = |state: &&State| {
            state.token.id == id && reader.is_none_or(|reader| state.token.reader.as_deref() == Some(reader))
        };
        let state = states.iter().find(own).ok_or(TokenError::Missing)?;
        if state.revoked_at.is_some() {
            return Ok(false);
        }
        self.put(&TokenEvent::Revoked { id: id.to_owned(), by: by.to_owned() }).await?;
        Ok(true)
    }

    /// The token with this secret, if it counts now.
    ///
    /// # Errors
    /// Errors of the records.
    pub async fn of_secret(&self, secret: &str) -> Result<Option<Token>, TokenError> {
        if !secret.starts_with(PREFIX) {
            return Ok(None);
        }
        // Digests are compared, which tell nothing about secrets that are nearly right.
        let digest = Digest::of(secret.as_bytes());
        self.good(|token| token.digest == digest).await
    }

    /// The token of this id, if it counts now.
    ///
    /// # Errors
    /// Errors of the records.
    pub async fn named(&self, id: &str) -> Result<Option<Token>, TokenError> {
        self.good(|token| token.id == id).await
    }

    async fn good(&self, is_it: impl Fn(&Token) -> bool) -> Result<Option<Token>, TokenError> {
        let now = self.clock.now();
        let is_good = |state: &&State| is_it(&state.token) && state.revoked_at.is_none();
        let good = self.look(|all| all.iter().find(is_good).map(|state| state.token.clone())).await?;
        Ok(good.filter(|token| now <= token.until))
    }

    async fn put(&self, event: &TokenEvent) -> Result<(), TokenError> {
        let entry = serde_json::to_value(event).map_err(|_| StoreError::Record { kind: "token" })?;
        self.store.append_entry(TOKENS, self.clock.now(), None, |_| Ok::<_, StoreError>(entry)).await?;
        Ok(())
    }

    async fn states(&self) -> Result<Vec<State>, TokenError> {
        self.look(<[State]>::to_vec).await
    }

    /// Looks at all tokens as the records have them at this moment.
    async fn look<T>(&self, look: impl FnOnce(&[State]) -> T) -> Result<T, TokenError> {
        let last = self.known.lock().unwrap_or_else(PoisonError::into_inner).last;
        let entries = self.store.entries_after(TOKENS, last).await?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        // Another request may have read the same entries meanwhile.
        for entry in entries {
            if entry.number <= known.last {
                continue;
            }
            let unfit = |_| StoreError::Record { kind: "token" };
            match TokenEvent::deserialize(&entry.entry).map_err(unfit)? {
                TokenEvent::Made { token } => {
                    known.all.push(State { token, made_at: entry.at, revoked_at: None });
                }
                TokenEvent::Revoked { id, .. } => {
                    if let Some(own) = known.all.iter_mut().find(|state| state.token.id == id) {
                        own.revoked_at.get_or_insert(entry.at);
                    }
                }
            }
            known.last = entry.number;
        }
        Ok(look(&known.all))
    }
}
