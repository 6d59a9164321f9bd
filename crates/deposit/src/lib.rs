//! Deposits: what outside authors write with stock Hub clients.
//!
//! Comes in: a token of a member of the network, and what clients send: files, commits, tags. Goes out: a private draft with a history that only grows, read
//! back by those who hold a token for it and by nobody else. A deposit is donated material: it is never a release by itself, and never
//! becomes an `Outbound`. Who makes a tag hands the deposit in; the trustee takes it out into a folder, from where it goes through the
//! course as every donation does.
//!
//! - [`Deposits`] is the core: tokens, drafts, bytes sealed under a key per deposit, checks at hand-in. Its records are journals of
//!   `store`, which only grow; its bytes are sealed blobs.
//! - [`router`] puts the write interface of the Hub, and the reads of drafts, in front of another router. Without a token it answers nothing.

mod capability;
mod checks;
mod commit;
mod deposits;
mod draft;
mod error;
mod limits;
mod name;
mod plans;
mod stow;
mod web;

pub use acequia_access::{Scope, Token, TokenLine};
pub use checks::{Finding, ModelSummary, Tensor};
pub use commit::{CommitLine, CommitReader, LONGEST_LINE_BYTES};
pub use deposits::{DepositLine, DepositState, Deposits, Place, REMOVAL_POINTS, Swept};
pub use draft::{Committed, Decision, Draft, Once, Outcome, Snapshot, Tag, files};
pub use error::DepositError;
pub use limits::{Limits, is_large};
pub use name::DepositName;
pub use stow::{Sealed, SealedFile};
pub use web::{Published, router};
