//! Consent as people meet it, its invariants, and a second opinion.

mod decisions;
mod duo;
mod formats;
mod grants;
mod histories;
mod invariants;
mod oracle;
mod rights;
