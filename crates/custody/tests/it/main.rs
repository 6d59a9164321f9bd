//! Consent as people meet it, its invariants, and a second opinion.

mod decisions;
mod duo;
mod histories;
mod invariants;
mod oracle;
mod rights;
