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
mod consent;
mod identified;

pub use approval::{Approval, ApprovalRefused, approve};
pub use consent::{ConsentEvent, ConsentKind, Decision, DenyReason, Grant, History, Purpose, evaluate};
pub use identified::{Identified, NotGranted};
