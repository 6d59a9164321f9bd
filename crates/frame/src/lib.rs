//! Frames: a table in memory as Arrow batches, a step as SQL, and the engine that runs it.
//!
//! Comes in: record batches. Goes out: a [`Table`] whose content has a digest, Parquet bytes, or the result of a
//! [`SqlStep`]. A stage names a step and its inputs; which engine runs it is the node's choice.
//!
//! ```
//! use acequia_frame::Table;
//! use arrow::array::{ArrayRef, Int64Array, RecordBatch};
//! use std::sync::Arc;
//! let batch = RecordBatch::try_from_iter([("person_id", Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef)])?;
//! let table = Table::new("person", vec![batch])?;
//! assert_eq!(table.rows(), 2);
//! let again = Table::from_parquet("person", table.to_parquet()?.into())?;
//! assert_eq!(again.digest(), table.digest());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod engine;
mod parquet;
mod table;

pub use engine::{Engine, EngineError, SqlStep};
pub use parquet::ParquetFile;
pub use table::{FrameError, Table};
