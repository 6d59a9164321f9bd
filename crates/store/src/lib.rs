//! The node's own records: donations, consent, keys (wrapped), finished steps, published versions.
//!
//! Comes in: typed records. Goes out: the same, from SQLite (WAL, `synchronous = FULL`). Every change is one
//! transaction; publishing asks consent inside the transaction that assigns the version.
//!
//! ```
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! # let folder = tempfile::tempdir().unwrap();
//! use acequia_custody::{ConsentEvent, Purpose};
//! use acequia_store::Store;
//! use acequia_types::DonorId;
//! let store = Store::open(&folder.path().join("records.sqlite")).await?;
//! let donor = DonorId::parse("donor-0001").unwrap();
//! let given = ConsentEvent::give("2026-01-01", &[Purpose::Research]);
//! assert_eq!(store.append_consent(&donor, &[given.clone()]).await?, 1);
//! assert_eq!(store.append_consent(&donor, &[given]).await?, 0, "the same event counts once");
//! # Ok::<(), acequia_store::StoreError>(())
//! # }).unwrap();
//! ```

mod error;
mod records;
mod sqlite;

pub use error::StoreError;
pub use records::{Added, Donation, Published, Release, State, Step};
pub use sqlite::Store;
