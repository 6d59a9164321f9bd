//! Asks members for their lists, and fetches files by content address: in pieces, from whoever gives them, until the bytes are those
//! of the address.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::{File, TryLockError};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use acequia_types::{Digest, DigestWriter};
use futures_util::StreamExt;

use super::{PAGE_BYTES_MAX, PIECE_BYTES_MAX, Page};
use crate::error::{NetError, file};
use crate::link::{Link, Network, Protocol};
use crate::message::{CatalogueReply, CatalogueRequest, Frame, read};
use crate::roster::Member;
use crate::site::blocking;

const WHAT: &str = "a file that is being fetched";
/// How long an answer may take. A member that was killed says nothing.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// Pieces that are asked for ahead.
const AHEAD: usize = 4;

/// Asks members what they published, and for that.
pub struct CatalogueClient {
    network: Network,
    links: Mutex<BTreeMap<String, Link>>,
    /// Members that could not be reached; they are not dialled again by this client.
    lost: Mutex<BTreeSet<String>>,
}

/// How a file was had.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fetched {
    /// Bytes that came now. More than the file has, where somebody gave wrong ones.
    pub bytes: u64,
    /// Bytes that were there from an earlier try.
    pub resumed_bytes: u64,
    /// Who gave some of what is in the file, in the order of names.
    pub from: BTreeSet<String>,
    /// Who gave other bytes than the address says.
    pub liars: BTreeSet<String>,
}

/// Why the next member is asked.
enum Failed {
    /// In words.
    Member(String),
    /// This node cannot write.
    Here(NetError),
}

impl CatalogueClient {
    /// Over the connections of `network`.
    pub fn new(network: Network) -> Self {
        Self { network, links: Mutex::default(), lost: Mutex::default() }
    }

    /// Closes all connections.
    pub async fn close(&self) {
        self.network.close().await;
    }

    async fn link(&self, member: &Member) -> Result<Link, NetError> {
        let lock = |links: &Mutex<BTreeMap<String, Link>>| {
            links
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .get(&member.name)
                .filter(|link| !link.is_closed())
                .cloned()
        };
        if let Some(link) = lock(&self.links) {
            return Ok(link);
        }
        let lost = || self.lost.lock().unwrap_or_else(PoisonError::into_inner);
        if lost().contains(&member.name) {
            return Err(NetError::Unreachable {
                member: member.name.clone(),
                reason: "it did not answer before".into(),
            });
        }
        match self.network.dial(member, Protocol::Catalogue).await {
            Ok(link) => {
                let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
                links.insert(member.name.clone(), link.clone());
                Ok(link)
            }
            Err(error) => {
                lost().insert(member.name.clone());
                Err(error)
            }
        }
    }

    async fn ask(&self, member: &Member, request: &CatalogueRequest, bytes_max: usize) -> Result<Vec<u8>, NetError> {
        let link = self.link(member).await?;
        let frame = Frame::from(request);
        match tokio::time::timeout(ANSWER_WITHIN, link.ask_for(&frame, bytes_max)).await {
            Ok(answer) => answer,
            Err(_) => {
                link.close("no answer in time");
                self.lost.lock().unwrap_or_else(PoisonError::into_inner).insert(member.name.clone());
                Err(NetError::Unreachable {
                    member: member.name.clone(),
                    reason: "it does not answer in time".to_owned(),
                })
            }
        }
    }

    /// The next page of a member's list, after the first `since` entries.
    ///
    /// # Errors
    /// [`NetError::Unreachable`], [`NetError::Refused`], [`NetError::Message`].
    pub async fn page(&self, member: &Member, since: u64) -> Result<Page, NetError> {
        let answer = self.ask(member, &CatalogueRequest::Since { since }, PAGE_BYTES_MAX).await?;
        match read::<CatalogueReply>(&member.name, &answer)? {
            (CatalogueReply::Page { page }, []) => Ok(page),
            (CatalogueReply::No { reason }, _) => {
                Err(NetError::Refused { member: member.name.clone(), reason: printable(&reason) })
            }
            _ => Err(NetError::Message { from: member.name.clone(), reason: "it is no page of a catalogue" }),
        }
    }

    /// Some bytes of a file, as many as were asked for; `None` when the member does not have it.
    async fn piece(
        &self,
        member: &Member,
        sha256: &Digest,
        from: u64,
        length: u64,
    ) -> Result<Option<Vec<u8>>, NetError> {
        let request = CatalogueRequest::Piece { sha256: *sha256, from, length };
        let bytes_max = usize::try_from(length).unwrap_or(0).saturating_add(1024);
        let mut answer = self.ask(member, &request, bytes_max).await?;
        let broken = |reason| NetError::Message { from: member.name.clone(), reason };
        let (reply, piece) = read::<CatalogueReply>(&member.name, &answer)?;
        match reply {
            CatalogueReply::Piece if piece.len() as u64 == length => {
                let head = answer.len() - piece.len();
                answer.drain(..head);
                Ok(Some(answer))
            }
            CatalogueReply::Piece => Err(broken("a piece has another length than was asked for")),
            CatalogueReply::NotHere => Ok(None),
            CatalogueReply::No { reason } => {
                Err(NetError::Refused { member: member.name.clone(), reason: printable(&reason) })
            }
            CatalogueReply::Page { .. } => Err(broken("it is no piece of a file")),
        }
    }

    /// Fetches a whole file of up to `bytes_max` bytes into memory, whose length nobody stated.
    ///
    /// # Errors
    /// [`NetError::NotHad`] when it is not there, too long, or other bytes; as of [`CatalogueClient::page`].
    pub async fn small(&self, member: &Member, sha256: &Digest, bytes_max: u64) -> Result<Vec<u8>, NetError> {
        let had = |did: &str| NetError::NotHad {
            what: format!("the file {sha256}"),
            asked: format!("{} ({did})", member.name),
        };
        let mut bytes = Vec::new();
        loop {
            let request =
                CatalogueRequest::Piece { sha256: *sha256, from: bytes.len() as u64, length: PIECE_BYTES_MAX };
            let answer_max = usize::try_from(PIECE_BYTES_MAX).unwrap_or(0) + 1024;
            let answer = self.ask(member, &request, answer_max).await?;
            let piece = match read::<CatalogueReply>(&member.name, &answer)? {
                (CatalogueReply::Piece, piece) => piece,
                _ => return Err(had("does not have it")),
            };
            bytes.extend_from_slice(piece);
            if bytes.len() as u64 > bytes_max {
                return Err(had("it is too long"));
            }
            if (piece.len() as u64) < PIECE_BYTES_MAX {
                break;
            }
        }
        if Digest::of(&bytes) == *sha256 { Ok(bytes) } else { Err(had("gave other bytes")) }
    }

    /// Fetches a file of `bytes` bytes to `target`, by way of `part`, where an earlier try may have left a part of it. The members are
    /// asked in their order; whoever fails, or gives other bytes, is followed by the next. `on_piece` is told of each piece that is
    /// on disk.
    ///
    /// # Errors
    /// [`NetError::NotHad`] when none of them gives it; [`NetError::Fetching`], [`NetError::File`].
    pub async fn fetch(
        &self,
        members: &[&Member],
        (sha256, bytes): (&Digest, u64),
        part: &Path,
        target: &Path,
        on_piece: &(dyn Fn(u64) + Sync),
    ) -> Result<Fetched, NetError> {
        for path in [part, target] {
            std::fs::create_dir_all(path.parent().unwrap_or(Path::new("."))).map_err(file(WHAT))?;
        }
        let mut options = File::options();
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let opened = options.create(true).read(true).write(true).truncate(false).open(part).map_err(file(WHAT))?;
        match opened.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(NetError::Fetching),
            Err(TryLockError::Error(error)) => return Err(file(WHAT)(error)),
        }
        let mut written = Written { file: opened, hash: DigestWriter::default(), length: 0 };
        let mut fetched = Fetched::default();
        let mut tried: Vec<String> = Vec::new();
        // What an earlier try left comes from nobody knows whom.
        written = blocking(move || written.resume(bytes).map_err(file(WHAT))).await?;
        fetched.resumed_bytes = written.length;
        let (mut known, mut alone) = (written.length == 0, false);
        let mut waiting: VecDeque<&Member> = members.iter().copied().collect();
        loop {
            if written.length == bytes {
                if written.hash.clone().finish() == *sha256 {
                    written.file.sync_all().and_then(|()| std::fs::rename(part, target)).map_err(file(WHAT))?;
                    let folder = target.parent().unwrap_or(Path::new("."));
                    File::open(folder).and_then(|folder| folder.sync_all()).map_err(file(WHAT))?;
                    return Ok(fetched);
                }
                // Whose bytes are wrong is known where all are of one member. Otherwise it is found out: each alone, from the
                // beginning.
                if known && fetched.from.len() <= 1 {
                    for liar in std::mem::take(&mut fetched.from) {
                        tracing::error!(member = %liar, file = %sha256, "gave other bytes than the address says; they are thrown away");
                        tried.push(format!("{liar} (gave other bytes)"));
                        fetched.liars.insert(liar);
                    }
                    if bytes == 0 {
                        break;
                    }
                } else {
                    tracing::warn!(file = %sha256, "the bytes of several tries are not those of the address; it is fetched anew");
                    waiting = members.iter().copied().filter(|member| !fetched.liars.contains(&member.name)).collect();
                    alone = true;
                }
                (known, fetched.resumed_bytes) = (true, 0);
                fetched.from.clear();
                written.restart().map_err(file(WHAT))?;
            }
            let Some(member) = waiting.pop_front() else { break };
            if alone && written.length > 0 {
                fetched.from.clear();
                written.restart().map_err(file(WHAT))?;
            }
            let before = written.length;
            let was_lost = self.lost.lock().unwrap_or_else(PoisonError::into_inner).contains(&member.name);
            let outcome = self.pieces(member, (sha256, bytes), &mut written, on_piece).await;
            fetched.bytes += written.length - before;
            if written.length > before {
                fetched.from.insert(member.name.clone());
            }
            match outcome {
                Ok(()) => {}
                Err(Failed::Here(error)) => return Err(error),
                Err(Failed::Member(did)) => {
                    // Once is enough for each member that is away.
                    if !was_lost {
                        tracing::warn!(member = %member.name, file = %sha256, "the next member is asked: {did}");
                    }
                    tried.push(format!("{} ({did})", member.name));
                }
            }
        }
        let nobody = || "anybody: no member of the roster hands out what it published".to_owned();
        let asked = if tried.is_empty() { nobody() } else { tried.join(", ") };
        Err(NetError::NotHad { what: format!("the file {sha256}"), asked })
    }

    /// Writes what is missing, as far as one member gives it.
    async fn pieces(
        &self,
        member: &Member,
        (sha256, bytes): (&Digest, u64),
        written: &mut Written,
        on_piece: &(dyn Fn(u64) + Sync),
    ) -> Result<(), Failed> {
        // Connected once, before several pieces are asked for at a time.
        if let Err(error) = self.link(member).await {
            return Err(Failed::Member(error.to_string()));
        }
        let first = written.length;
        let count = (bytes - first).div_ceil(PIECE_BYTES_MAX);
        let places = (0..count).map(|place| {
            let from = first + place * PIECE_BYTES_MAX;
            (from, PIECE_BYTES_MAX.min(bytes - from))
        });
        let asked = places.map(|(from, length)| self.piece(member, sha256, from, length));
        let mut pieces = std::pin::pin!(futures_util::stream::iter(asked).buffered(AHEAD));
        while let Some(piece) = pieces.next().await {
            let piece = match piece {
                Ok(Some(piece)) => piece,
                Ok(None) => return Err(Failed::Member("does not have it".to_owned())),
                Err(NetError::Unreachable { reason, .. } | NetError::Refused { reason, .. }) => {
                    return Err(Failed::Member(reason));
                }
                Err(NetError::Message { reason, .. }) => return Err(Failed::Member(reason.to_owned())),
                Err(error) => return Err(Failed::Here(error)),
            };
            written.append(&piece).map_err(|error| Failed::Here(file(WHAT)(error)))?;
            on_piece(piece.len() as u64);
        }
        Ok(())
    }
}

/// A part of a file, and the digest of what is there so far.
struct Written {
    file: File,
    hash: DigestWriter,
    length: u64,
}

impl Written {
    /// Takes up what is there; a part that is longer than the file is none.
    fn resume(mut self, bytes: u64) -> std::io::Result<Self> {
        if self.file.metadata()?.len() > bytes {
            self.restart()?;
        }
        self.file.seek(SeekFrom::Start(0))?;
        self.length = std::io::copy(&mut self.file, &mut self.hash)?;
        Ok(self)
    }

    fn append(&mut self, piece: &[u8]) -> std::io::Result<()> {
        self.file.write_all(piece)?;
        self.hash.write_all(piece)?;
        self.length += piece.len() as u64;
        Ok(())
    }

    fn restart(&mut self) -> std::io::Result<()> {
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        (self.hash, self.length) = (DigestWriter::default(), 0);
        Ok(())
    }
}

/// What another says, as a log can hold it.
fn printable(text: &str) -> String {
    text.chars().filter(|letter| !letter.is_control()).take(200).collect()
}
