//! Blobs that move house: from the node's folder to a bucket, and back.

use std::path::Path;

use acequia_blobs::BlobStore;
use acequia_types::Digest;
use serde::Serialize;

use crate::failpoint::{COPY_POINT, failpoint};
use crate::failure::{Failure, NodeError};
use crate::home::Node;
use crate::progress::Progress;

/// What became of the node's blobs when they were copied.
#[derive(Debug, Clone, Serialize)]
pub struct CopyReport {
    /// Where they lie.
    pub from: String,
    /// Where they were copied to.
    pub to: String,
    /// Blobs in all: the sum of the four that follow.
    pub blobs: u64,
    /// Written now.
    pub copied: u64,
    /// There already.
    pub present: u64,
    /// There already with other bytes, and written anew.
    pub mended: u64,
    /// Not copied, since their bytes are not what they were.
    pub damaged: Vec<Digest>,
    /// Bytes that were written now.
    pub bytes: u64,
}

impl Node {
    /// Copies every blob to a bucket (`s3://bucket/prefix`) or a folder, and reads each there as a whole. What an earlier try
    /// copied is not copied again. The node goes on using the blobs where they lie until `settings.toml` names the other place.
    ///
    /// # Errors
    /// [`NodeError::SamePlace`]; [`NodeError::Busy`]; what keeps either place from working.
    pub async fn copy_blobs(&self, to: &str, progress: &dyn Progress) -> Result<CopyReport, Failure> {
        let _lock = self.lock()?;
        let other = match to.starts_with("s3://") {
            true => crate::settings::connect(to, &self.owner())?,
            false => BlobStore::open(Path::new(to))?,
        };
        let really =
            |place: &str| std::fs::canonicalize(place).map_or(place.to_owned(), |path| path.display().to_string());
        if really(&other.place()) == really(&self.blobs.place()) {
            return Err(NodeError::SamePlace.into());
        }
        other.try_out().map_err(|trial| trial.error)?;
        let all = self.blobs.list()?;
        progress.start("copy", all.len() as u64);
        let done = || {
            progress.advance(1);
            failpoint(COPY_POINT);
        };
        let copied = self.blobs.copy_all(&all, &other, &done)?;
        progress.finish(&format!("{} of {} blobs", copied.copied + copied.present + copied.mended, all.len()));
        Ok(CopyReport {
            from: self.blobs.place(),
            to: other.place(),
            blobs: all.len() as u64,
            copied: copied.copied,
            present: copied.present,
            mended: copied.mended,
            damaged: copied.damaged,
            bytes: copied.bytes,
        })
    }
}
