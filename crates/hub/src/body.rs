//! Streaming a file from the catalogue: bounded memory, read off the async threads, checked as it goes.

use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use acequia_gate::ReleasedFile;
use acequia_types::{Coded, Digest};
use axum::body::{Body, HttpBody};
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use sha2::{Digest as _, Sha256};
use tokio::task::JoinHandle;

use crate::{Catalogue, HubError};

/// Most bytes that are asked of [`Catalogue::read`] at a time; a download holds two such pieces in memory at most.
pub const CHUNK_BYTES: u64 = 256 * 1024;

/// Reads one piece off the async threads and checks its length.
pub(crate) async fn read_piece(
    catalogue: Arc<dyn Catalogue>,
    sha256: Digest,
    range: Range<u64>,
) -> Result<Bytes, HubError> {
    spawn(catalogue, sha256, range).await.unwrap_or(Err(HubError::Damaged { sha256 }))
}

fn spawn(catalogue: Arc<dyn Catalogue>, sha256: Digest, range: Range<u64>) -> JoinHandle<Result<Bytes, HubError>> {
    tokio::task::spawn_blocking(move || {
        let wanted = range.end - range.start;
        let bytes = catalogue.read(&sha256, range)?;
        if bytes.len() as u64 == wanted { Ok(bytes) } else { Err(HubError::Damaged { sha256 }) }
    })
}

/// A body of the bytes `range` of `file`. The first piece is read before this returns, so that a file that is not there
/// gets an error status and not a broken download.
///
/// # Errors
/// What the catalogue says of the first piece.
pub(crate) async fn of_file(
    catalogue: &Arc<dyn Catalogue>,
    file: &ReleasedFile,
    range: Range<u64>,
) -> Result<Body, HubError> {
    let first = range.start..range.end.min(range.start + CHUNK_BYTES);
    let piece =
        if first.is_empty() { Bytes::new() } else { read_piece(catalogue.clone(), file.sha256, first.clone()).await? };
    let whole = range.start == 0 && range.end == file.bytes;
    if first.end == range.end {
        if whole && Digest::of(&piece) != file.sha256 {
            return Err(HubError::Damaged { sha256: file.sha256 });
        }
        return Ok(Body::from(piece));
    }
    let mut pieces = Pieces {
        catalogue: catalogue.clone(),
        sha256: file.sha256,
        remaining: range,
        ready: None,
        reading: None,
        hash: whole.then(Sha256::new),
    };
    pieces.take(piece).map(|first| pieces.ready = Some(first))?;
    Ok(Body::new(pieces))
}

/// The rest of a file. While one piece is sent the next is read.
///
/// A whole file is hashed on the way; the last piece is held back when the digest is not the published one, so a
/// damaged file never arrives complete.
struct Pieces {
    catalogue: Arc<dyn Catalogue>,
    sha256: Digest,
    /// Not yet handed to hyper.
    remaining: Range<u64>,
    ready: Option<Bytes>,
    reading: Option<JoinHandle<Result<Bytes, HubError>>>,
    hash: Option<Sha256>,
}

impl Pieces {
    /// Accounts for a piece that arrived and starts reading the next.
    fn take(&mut self, piece: Bytes) -> Result<Bytes, HubError> {
        if let Some(hash) = &mut self.hash {
            hash.update(&piece);
        }
        let after = self.remaining.start + piece.len() as u64;
        if after < self.remaining.end {
            let next = after..self.remaining.end.min(after + CHUNK_BYTES);
            self.reading = Some(spawn(self.catalogue.clone(), self.sha256, next));
        } else if let Some(hash) = self.hash.take()
            && Digest::from_bytes(hash.finalize().into()) != self.sha256
        {
            return Err(HubError::Damaged { sha256: self.sha256 });
        }
        Ok(piece)
    }
}

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = HubError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, HubError>>> {
        let this = &mut *self;
        let piece = match (this.ready.take(), &mut this.reading) {
            (Some(piece), _) => piece,
            (None, None) => return Poll::Ready(None),
            (None, Some(reading)) => {
                let read = ready!(Pin::new(reading).poll(cx)).unwrap_or(Err(HubError::Damaged { sha256: this.sha256 }));
                this.reading = None;
                match read.and_then(|piece| this.take(piece)) {
                    Ok(piece) => piece,
                    Err(error) => {
                        tracing::error!(code = error.code(), "a download was broken off: {error}");
                        return Poll::Ready(Some(Err(error)));
                    }
                }
            }
        };
        this.remaining.start += piece.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.remaining.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining.end - self.remaining.start)
    }
}
