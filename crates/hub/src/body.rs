//! Streaming files from the catalogue, one or several with bytes between them: bounded memory, read off the async threads,
//! checked as it goes.

use std::collections::VecDeque;
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

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
    let read = tokio::task::spawn_blocking(move || read_exactly(&*catalogue, sha256, range)).await;
    read.unwrap_or_else(|source| Err(HubError::Unreadable { sha256, source: Box::new(source) }))
}

/// Where the bytes of files come from.
pub trait Source: Send + Sync + 'static {
    /// The bytes `range.start..range.end` of the content `sha256`; as of [`Catalogue::read`].
    ///
    /// # Errors
    /// [`HubError::Missing`] or [`HubError::Unreadable`].
    fn read(&self, sha256: &Digest, range: Range<u64>) -> Result<Bytes, HubError>;
}

impl Source for dyn Catalogue {
    fn read(&self, sha256: &Digest, range: Range<u64>) -> Result<Bytes, HubError> {
        Catalogue::read(self, sha256, range)
    }
}

fn read_exactly<S: Source + ?Sized>(source: &S, sha256: Digest, range: Range<u64>) -> Result<Bytes, HubError> {
    let wanted = range.end - range.start;
    let bytes = source.read(&sha256, range)?;
    if bytes.len() as u64 == wanted { Ok(bytes) } else { Err(HubError::Damaged { sha256 }) }
}

/// A part of what is sent.
#[derive(Debug, Clone)]
pub(crate) enum Part {
    Bytes(Bytes),
    /// A file of the store.
    File {
        sha256: Digest,
        bytes: u64,
    },
}

impl Part {
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File { bytes, .. } => *bytes,
        }
    }
}

/// A body of the bytes `range` of `parts`, one after the other.
///
/// The first [`CHUNK_BYTES`] are read before this returns, so that a file that is not there gets an error status and not
/// a broken download. Every file that the range covers whole is hashed on the way, and its last piece is held back when
/// the digest is not the published one: a damaged file never arrives complete.
///
/// # Errors
/// What the catalogue says of the first piece; [`HubError::Damaged`] when a file that ends in it is not the published one.
pub(crate) async fn of_parts<S: Source + ?Sized>(
    source: &Arc<S>,
    parts: impl IntoIterator<Item = Part>,
    range: Range<u64>,
) -> Result<Body, HubError> {
    let mut wanted = VecDeque::new();
    let mut start = 0;
    for part in parts {
        let own = start..start + part.len();
        start = own.end;
        let (from, to) = (range.start.max(own.start), range.end.min(own.end));
        if from < to {
            let is_whole = from == own.start && to == own.end;
            let hash = matches!(part, Part::File { .. } if is_whole).then(Sha256::new);
            wanted.push_back(Stretch { part, range: from - own.start..to - own.start, hash });
        }
    }
    let mut reading = Reading::start(Remaining { source: source.clone(), wanted });
    let (remaining, piece) = reading.done().await?;
    if remaining.wanted.is_empty() {
        return Ok(Body::from(piece));
    }
    let remaining_bytes = range.end - range.start;
    Ok(Body::new(Pieces { ready: Some(piece), reading: Some(Reading::start(remaining)), remaining_bytes }))
}

/// What is wanted of a part.
struct Stretch {
    part: Part,
    /// Not yet read.
    range: Range<u64>,
    /// Of what was read, when the whole file is wanted.
    hash: Option<Sha256>,
}

/// What is still to be read.
struct Remaining<S: ?Sized> {
    source: Arc<S>,
    wanted: VecDeque<Stretch>,
}

impl<S: Source + ?Sized> Remaining<S> {
    /// The next [`CHUNK_BYTES`], or what there is; small parts are put together. Blocks.
    fn next(&mut self) -> Result<Bytes, HubError> {
        let mut pieces = Vec::new();
        let mut room_bytes = CHUNK_BYTES;
        while room_bytes > 0
            && let Some(stretch) = self.wanted.front_mut()
        {
            let range = stretch.range.start..stretch.range.end.min(stretch.range.start + room_bytes);
            stretch.range.start = range.end;
            room_bytes -= range.end - range.start;
            match &stretch.part {
                Part::Bytes(bytes) => {
                    let at = |place: u64| usize::try_from(place).unwrap_or(usize::MAX);
                    pieces.push(bytes.slice(at(range.start)..at(range.end)));
                }
                Part::File { sha256, .. } => {
                    let piece = read_exactly(&*self.source, *sha256, range)?;
                    if let Some(hash) = &mut stretch.hash {
                        hash.update(&piece);
                    }
                    if stretch.range.is_empty()
                        && let Some(hash) = stretch.hash.take()
                        && Digest::from_bytes(hash.finalize().into()) != *sha256
                    {
                        return Err(HubError::Damaged { sha256: *sha256 });
                    }
                    pieces.push(piece);
                }
            }
            if stretch.range.is_empty() {
                self.wanted.pop_front();
            }
        }
        Ok(if pieces.len() == 1 { pieces.swap_remove(0) } else { pieces.concat().into() })
    }
}

/// A piece that is being read off the async threads, with the source it comes from.
struct Reading<S: ?Sized> {
    task: JoinHandle<Result<(Remaining<S>, Bytes), HubError>>,
    /// The file that a message names when the task is gone.
    named: Option<Digest>,
}

impl<S: Source + ?Sized> Reading<S> {
    fn start(mut remaining: Remaining<S>) -> Self {
        let named = remaining.wanted.iter().find_map(|stretch| match stretch.part {
            Part::File { sha256, .. } => Some(sha256),
            Part::Bytes(_) => None,
        });
        let task = tokio::task::spawn_blocking(move || remaining.next().map(|piece| (remaining, piece)));
        Self { task, named }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(Remaining<S>, Bytes), HubError>> {
        let sha256 = self.named.unwrap_or_else(|| Digest::of(b""));
        let read = ready!(Pin::new(&mut self.task).poll(cx));
        Poll::Ready(read.unwrap_or_else(|source| Err(HubError::Unreadable { sha256, source: Box::new(source) })))
    }

    async fn done(&mut self) -> Result<(Remaining<S>, Bytes), HubError> {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }
}

/// A body in pieces. While one is sent the next is read.
struct Pieces<S: ?Sized> {
    ready: Option<Bytes>,
    reading: Option<Reading<S>>,
    /// Not yet handed to hyper.
    remaining_bytes: u64,
}

impl<S: Source + ?Sized> HttpBody for Pieces<S> {
    type Data = Bytes;
    type Error = HubError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, HubError>>> {
        let this = &mut *self;
        let piece = match (this.ready.take(), &mut this.reading) {
            (Some(piece), _) => piece,
            (None, None) => return Poll::Ready(None),
            (None, Some(reading)) => {
                let read = ready!(reading.poll(cx));
                this.reading = None;
                match read {
                    Ok((remaining, piece)) => {
                        this.reading = (!remaining.wanted.is_empty()).then(|| Reading::start(remaining));
                        piece
                    }
                    Err(error) => {
                        tracing::error!(code = error.code(), "a download was broken off: {error}");
                        return Poll::Ready(Some(Err(error)));
                    }
                }
            }
        };
        this.remaining_bytes -= piece.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.remaining_bytes == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining_bytes)
    }
}
