//! Custody: who may open a donor's record, and what may leave the node.
//!
//! Comes in: consent histories and values that still identify people. Goes out: a [`Grant`] (may open) or an
//! [`Approval`] (may leave), or the reason why not. Everything here is a pure function of its arguments; the clock and
//! the histories are handed in. Unknown, expired, unreadable: deny.
//!
//! ```
//! use acequia_custody::{ConsentEvent, Decision, History, Identified, Purpose, evaluate};
//! use acequia_types::{DonorId, parse_timestamp};
//!
//! let donor = DonorId::parse("donor-0001")?;
//! let record = Identified::new(donor.clone(), "a record");
//! let now = parse_timestamp("2026-06-01").unwrap();
//! let history = History::new(vec![ConsentEvent::give("2026-01-01", &[Purpose::OpenPublication])]);
//! let Decision::Permit(grant) = evaluate(&donor, Some(&history), Purpose::OpenPublication, now) else { panic!() };
//! assert_eq!(record.open(&grant)?, &"a record");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! An identified value has no way to be read, printed or written without a grant:
//!
//! ```compile_fail,E0277
//! # use acequia_custody::Identified; use acequia_types::DonorId;
//! let record = Identified::new(DonorId::parse("donor-0001").unwrap(), "a record");
//! println!("{}", record);
//! ```
//! ```
//! # use acequia_custody::Identified; use acequia_types::DonorId;
//! let record = Identified::new(DonorId::parse("donor-0001").unwrap(), "a record");
//! println!("{:?}", record); // prints the type, never the value
//! ```

mod approval;
mod chain;
mod evaluate;
mod event;
pub mod fhir;
mod identified;
pub mod notice;
mod purpose;
pub mod receipt;
pub mod rights;
mod terms;
mod vocabulary;

pub use approval::{Approval, ApprovalRefused, RunDecision, approve, approve_granted};
pub use chain::{ChainBroken, Link, SALT_BYTES, beginning, commit, verify_chain};
pub use evaluate::{
    Ask, Decision, Grant, Operation, Paper, Policy, Query, Reason, Reasons, Verdict, decide, evaluate, evaluate_all,
    evaluate_query, held,
};
pub use event::{Authority, ConsentEvent, ConsentKind, History, Level, Notice, Party, Recorded};
pub use identified::{Identified, NotGranted};
pub use purpose::{Purpose, Purposes};
pub use terms::{Conditions, Country, DataClass, DuoTerm, Facts, Reach, Tier, joint_terms};
pub use vocabulary::{Term, Vocabulary, plain_words, purpose_of, term_of, terms};
