//! The formats of Xet, by which Hugging Face clients upload and download: xorbs, which hold chunks of files, and shards, which say what
//! chunks a file is made of.
//!
//! Of uploads, bytes come in that anybody may have made, and chunks and files go out whose hashes are the ones they were announced under, or
//! where the bytes contradict themselves. For downloads, the bytes of a file come in as it lies, and a [`Plan`] goes out: of which xorbs it is
//! made, which are put together when they are asked for. Functions only: whoever calls keeps the bytes and answers the client.
//!
//! The formats are those of the [Xet protocol specification](https://huggingface.co/docs/xet) 1.1.0, and what `hf_xet` 1.1.3 to 1.8.0 and
//! `@huggingface/hub` 2.17 were seen to send where it leaves room: xorbs with and without a footer; shards with a footer, with one after
//! lookup tables, without both, and without both under a header that states one.
//!
//! `hf_xet` remembers for three weeks which xorbs it sent to an address, path included, and does not send them there again, whatever
//! repository and token. So whoever removes xorbs, or keeps those of one deposit from another, gives out an address of its own for each
//! such place, and another one after a removal.
//!
//! ```no_run
//! # fn keep(_: &[u8]) {}
//! # fn stored() -> impl acequia_xet::Xorbs<Error = acequia_xet::XetError> { std::collections::BTreeMap::<_, (Vec<u8>, _)>::new() }
//! # fn upload(address: &str, xorb: &[u8], shard: &[u8]) -> Result<(), acequia_xet::XetError> {
//! use acequia_xet::{Shard, XetHash, Xorb};
//!
//! // A xorb arrives: every chunk is unpacked and hashed, and all together are what the address says.
//! let index = Xorb::read(xorb, &XetHash::parse(address)?)?.into_index();
//! println!("{} bytes in {} chunks", index.bytes(), index.chunks().len());
//!
//! // The shard arrives: which files are made of it.
//! let mut xorbs = stored();
//! for file in Shard::read(shard)?.files() {
//!     let mut content = file.rebuild(&mut xorbs)?;
//!     while let Some(piece) = content.next()? {
//!         keep(piece);
//!     }
//! }
//! # Ok(()) }
//! ```

mod chunk;
mod cut;
mod error;
mod hash;
mod lz4;
mod plan;
mod rebuild;
mod shard;
mod xorb;

pub use chunk::{Chunk, Codec, MAX_CHUNK_BYTES, Unpacker};
pub use cut::Cutter;
pub use error::{Part, XetError};
pub use hash::{Merkle, RangeHasher, XetHash, chunk_hash};
pub use plan::{MOST_CHUNKS, Plan, Planned, Planner};
pub use rebuild::{Rebuild, Xorbs};
pub use shard::{File, MAX_SHARD_BYTES, Segment, Shard, ShardXorb};
pub use xorb::{Chunks, MAX_UNPACKED_BYTES, MAX_XORB_BYTES, MAX_XORB_CHUNKS, Xorb, XorbIndex, XorbReader};
