//! What outside authors hand in with the clients they have: drafts that nobody sees until the trustee takes them.
//!
//! [`xet`] reads what current Hugging Face clients upload. No I/O and no async there.

pub mod xet;
