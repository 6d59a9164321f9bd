//! Pages for those who give: donors sign in with a passkey, choose what their data may do, see what they did, and stop it; institutions see
//! what they gave and what became of it.
//!
//! Comes in: requests of browsers; the [`Desk`] and the [`Store`] of a node. Goes out: pages that work without JavaScript, but for
//! the passkey itself, and acts of consent that the desk records exactly as the commands do.
//!
//! Every route names an action, every action has a Cedar policy, and every request is decided by them (`routes.rs`,
//! `access.rs`). Nobody is named by an address: whose record a page is about follows from who is signed in. What a page says is said in the
//! reader's language.
//!
//! ```no_run
//! # async fn serve(house: acequia_portal::House, hub: axum::Router) -> Result<(), Box<dyn std::error::Error>> {
//! let app = acequia_portal::router(house, hub)?;
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
//! axum::serve(listener, app).await?;
//! # Ok(())
//! # }
//! ```

mod access;
mod forms;
mod pages;
mod passkeys;
mod routes;
mod serve;
mod session;

use std::sync::Arc;

use acequia_custody::receipt::Controller;
use acequia_store::{Invited, Store, StoreError};
use acequia_types::{Clock, Coded, Digest, Exit, Timestamp};
use acequia_vault::{Desk, DeskError, Texts};
use serde_json::Value;

pub use acequia_store::{Account, Holder};

/// What the pages stand on.
pub struct House {
    /// Acts of consent, rights, and what happened.
    pub desk: Desk,
    /// Accounts.
    pub store: Store,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The trustee, as papers name it.
    pub trustee: Controller,
    /// Signs receipts.
    pub signer: Arc<dyn Signer>,
    /// Texts in a language.
    pub texts: Box<dyn Fn(&str) -> Texts + Send + Sync>,
    /// Languages there are, first the one for who asks for none of them.
    pub languages: Vec<String>,
    /// `https://host[:port]` as browsers reach the node. Passkeys are bound to it; over plain HTTP only `localhost` will do.
    pub origin: String,
}

/// Signs what the node says, and recognises what it signed.
pub trait Signer: Send + Sync {
    /// A JSON Web Signature in compact form (RFC 7515).
    fn sign(&self, payload: &Value) -> String;

    /// What was signed by this node; `None` when it was not.
    fn verify(&self, signed: &str) -> Option<Value>;

    /// The public key (RFC 8037).
    fn public_key(&self) -> Value;
}

/// Why the pages cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum PortalError {
    /// The address is none that passkeys can be bound to.
    #[error("passkeys cannot be bound to this node's address")]
    Origin,
    /// No randomness.
    #[error("the system gives no random numbers")]
    Randomness,
    /// The records failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The desk refused.
    #[error(transparent)]
    Desk(#[from] DeskError),
}

impl Coded for PortalError {
    fn code(&self) -> &'static str {
        match self {
            Self::Origin => "PO001",
            Self::Randomness => "PO002",
            Self::Store(error) => error.code(),
            Self::Desk(error) => error.code(),
        }
    }
    fn hint(&self) -> &'static str {
        match self {
            Self::Origin => "state --public-address https://host; without it the pages are those of http://localhost",
            Self::Randomness => "look at the system's log; without random numbers nothing can be kept safe",
            Self::Store(error) => error.hint(),
            Self::Desk(error) => error.hint(),
        }
    }
    fn exit(&self) -> Exit {
        match self {
            Self::Origin => Exit::Usage,
            Self::Randomness => Exit::Failure,
            Self::Store(error) => error.exit(),
            Self::Desk(error) => error.exit(),
        }
    }
}

/// Serves the pages, and everything else by `public`.
///
/// # Errors
/// [`PortalError::Origin`].
pub fn router(house: House, public: axum::Router) -> Result<axum::Router, PortalError> {
    serve::router(house, public)
}

/// A code for somebody, and until when it counts; without a code a second person must ask for one too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invitation {
    /// For whom.
    pub holder: Holder,
    /// What is handed over: four groups of letters and digits.
    pub code: Option<String>,
    /// Until when it counts, or until when a second person may ask.
    pub until: Timestamp,
}

/// How long a code counts, in seconds.
const CODE_S: i64 = 14 * 86_400;
/// Without those that look alike.
const LETTERS: &[u8; 32] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";
const CODE_LETTERS: usize = 20;

/// The digest of a code, however it was typed.
fn code_digest(typed: &str) -> Digest {
    let plain: String = typed.chars().filter(char::is_ascii_alphanumeric).collect();
    Digest::of(format!("acequia code v1 {}", plain.to_ascii_uppercase()).as_bytes())
}

/// Invites somebody to the pages of a node: makes the account if it is new, and a code of 100 bits that counts once, for two weeks. `by` is
/// who knows the person. Whoever has passkeys and lost them is invited by two different persons.
///
/// # Errors
/// [`PortalError::Randomness`], [`PortalError::Store`].
pub async fn invite(store: &Store, holder: &Holder, by: &str, now: Timestamp) -> Result<Invitation, PortalError> {
    let mut bytes = [0; CODE_LETTERS];
    getrandom::fill(&mut bytes).map_err(|_| PortalError::Randomness)?;
    let letters: String = bytes.iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect();
    let groups: Vec<&str> = (0..CODE_LETTERS / 5).map(|at| &letters[at * 5..at * 5 + 5]).collect();
    let code = groups.join("-");
    let mut id = [0; 16];
    getrandom::fill(&mut id).map_err(|_| PortalError::Randomness)?;
    let until = Timestamp::from_unix_s(now.unix_s() + CODE_S);
    let invited = store.invite(holder, &hex::encode(id), &code_digest(&code), by, (now, until)).await?;
    let code = matches!(invited, Invited::Until(_)).then_some(code);
    Ok(Invitation { holder: holder.clone(), code, until })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_the_same_however_it_is_typed() {
        assert_eq!(code_digest("ABCDE-FGHJK-LMNPQ-RSTUV"), code_digest(" abcde fghjk lmnpq rstuv "));
        assert_ne!(code_digest("ABCDE-FGHJK-LMNPQ-RSTUV"), code_digest("ABCDE-FGHJK-LMNPQ-RSTUW"));
    }
}
