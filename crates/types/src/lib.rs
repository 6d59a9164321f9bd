//! The words every other crate uses: typed ids, digests, the clock, coded errors and problems.
//!
//! Comes in: nothing. Goes out: values that cannot be confused with one another and that never print a patient's data.
//! No I/O and no async live here.
//!
//! ```
//! use acequia_types::{DonorId, Digest};
//! let donor = DonorId::parse("donor-0001")?;
//! assert_eq!(donor.as_str(), "donor-0001");
//! assert_eq!(Digest::of(b"").to_string().len(), 64);
//! # Ok::<(), acequia_types::IdError>(())
//! ```

mod clock;
mod digest;
mod error;
mod id;
mod problem;
mod spreadsheet;
mod words;

pub use clock::{Clock, Day, FixedClock, SystemClock, Timestamp, parse_day, parse_timestamp};
pub use digest::{Digest, DigestParseError, DigestWriter, digest_named};
pub use error::{Coded, Exit};
pub use id::{DatasetName, DonorId, IdError, IntakeId, SourceId};
pub use problem::{Place, Problem};
pub use spreadsheet::{spreadsheet_safe, spreadsheet_undone};
pub use words::thousands;
