//! The node's own records: donations, consent, keys (wrapped), finished steps, published versions, accounts, where deposits lie.
//!
//! Comes in: typed records. Goes out: the same, from SQLite (WAL, `synchronous = FULL`) or PostgreSQL by URL. Every change is
//! one transaction; publishing asks consent inside the transaction that assigns the version. Consent records and notices are
//! only ever added: triggers of the database forbid anything else, and a chain of digests shows it.
//!
//! ```
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! # let folder = tempfile::tempdir().unwrap();
//! use acequia_custody::{ConsentEvent, Purpose};
//! use acequia_store::Store;
//! use acequia_types::{DonorId, parse_timestamp};
//! let store = Store::open(&folder.path().join("records.sqlite")).await?;
//! let donor = DonorId::parse("donor-0001").unwrap();
//! let given = ConsentEvent::give("2026-01-01", &[Purpose::Research]);
//! let now = parse_timestamp("2026-01-02").unwrap();
//! assert_eq!(store.append_consent(&donor, &[given.clone()], now).await?, 1);
//! assert_eq!(store.append_consent(&donor, &[given], now).await?, 0, "the same event counts once");
//! # Ok::<(), acequia_store::StoreError>(())
//! # }).unwrap();
//! ```

mod accounts;
mod consent;
mod database;
mod deposits;
mod error;
mod journal;
mod keys;
mod layouts;
mod records;

pub use accounts::{Account, Holder, Invited, Opener, StoredPasskey};
pub use database::Store;
pub use deposits::StoredObject;
pub use error::StoreError;
pub use journal::{Access, Entry};
pub use keys::{Epoch, KeyStore, Wrapped};
pub use records::{Added, Donation, NoticeText, Publication, Published, Release, State, Step, TakenDown, Tombstone};
