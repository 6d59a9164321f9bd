//! Access: who may read what is not open, in front of the hub.
//!
//! Comes in: requests; the records and the published versions of a node; the institutional login and the issuers of visas that the settings
//! name. Goes out: pages where readers sign in, promise what the terms of a version ask for, or ask people to decide; tokens for their programs;
//! visas about what was granted here; and, in the extensions of every request that goes on, an [`acequia_hub::Reader`] who says what may be read.
//!
//! - [`Readers`] is the core: journals of what readers promised and asked for and of what the trustee decided.
//! - [`Tokens`] are what programs show instead of signing in; `deposit` shares them.
//! - [`router`] puts the pages and interfaces in front of another router.
//!
//! Whether rows are open to somebody follows from the terms of the version alone ([`acequia_custody::Conditions`]) and from these records, which are
//! asked at every request: what is revoked is closed with the next one. Nothing here opens what is open anyway, and without this crate nothing else is.

mod error;
mod fetch;
mod jose;
mod oidc;
mod passport;
mod readers;
mod session;
mod token;
mod web;

pub use error::AccessError;
pub use jose::read_signed;
pub use oidc::Login;
pub use passport::TrustedIssuer;
pub use readers::{
    About, Decision, Outcome, PromiseLine, ReaderId, Readers, RequestLine, RequestShown, TakenBack, Words,
};
pub use token::{NewToken, Scope, Token, TokenError, TokenLine, Tokens};
pub use web::{House, router};
