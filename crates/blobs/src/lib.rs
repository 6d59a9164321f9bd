//! Bytes by content address in a local folder or a bucket of S3, and sealing under keys.
//!
//! Comes in: bytes. Goes out: a SHA-256 address under which the same bytes can be read back, or sealed bytes that only a
//! [`Key`] opens. Files are written aside, synced, renamed, and their folder synced, and objects of a bucket are there when
//! their last part is, so a crash leaves either the whole blob or none.
//!
//! ```
//! use acequia_blobs::{BlobStore, Key, open, seal};
//! # let folder = tempfile::tempdir()?;
//! let blobs = BlobStore::open(folder.path())?;
//! let key = Key::generate()?;
//! let address = blobs.put(&seal(&key, b"record 7", b"a record")?)?;
//! assert_eq!(&*open(&key, b"record 7", &blobs.get(&address)?)?, b"a record");
//! assert!(open(&key, b"record 8", &blobs.get(&address)?).is_err(), "the context is part of the seal");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod answer;
mod blocks;
mod bridge;
mod bucket;
mod error;
mod files;
mod folder;
mod map;
mod moving;
mod seal;
mod source;
mod store;

pub use error::BlobError;
pub use files::{ScratchFolder, make_private, read_file, sweep_aside, write_file_atomically, write_stream_atomically};
pub use map::{MappedFile, map_file};
pub use moving::Copied;
pub use seal::{Key, open, seal};
pub use store::{BlobStore, Trial, Tried};
