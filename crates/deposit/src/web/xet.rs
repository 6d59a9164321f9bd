//! The routes that current clients upload large files by: chunks in xorbs, and shards that say what files are made of them.
//!
//! A xorb is kept sealed as it came, and checked as it arrives. When a shard arrives each of its files is put together, held against
//! its SHA-256, and kept as any large file is: what is read back does not depend on how it came. Xorbs stay as long as uploads do,
//! since clients remember for weeks which chunks they sent.

use std::collections::BTreeMap;
use std::io::Write;
use std::ops::Range;
use std::sync::Arc;

use acequia_gate::ReleasedFile;
use acequia_hub::wire::{self, Refusal, Snapshot as _, XetPlace, XetWants};
use acequia_types::{Coded, DigestWriter};
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, Method, Response, StatusCode};
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::runtime::Handle;

use super::{Asked, Front, forbidden, refused, sentence};
use crate::capability::{Signer, Way};
use crate::stow::SealedFile;
use crate::{DepositError, DepositName, Deposits, Draft, Snapshot};
use acequia_access::Token;
use acequia_xet::{MAX_SHARD_BYTES, MAX_XORB_BYTES, Shard, XetError, XetHash, XorbIndex, XorbReader, Xorbs};

/// Bytes of a xorb that are looked at at a time.
const PIECE_BYTES: u64 = 1 << 20;

impl Asked<'_> {
    /// `GET …/xet-write-token/{revision}`: where to upload, and a pass for it.
    pub(super) fn xet_token(&self, token: &Token, draft: &Draft) -> Result<Response<Body>, Refusal> {
        if !token.write {
            return Err(forbidden("This token reads only. Ask the trustee for one that may write."));
        }
        let (address, pass, until) = self.to_write(token, draft);
        Ok(wire::xet_token(&address, &pass, until))
    }

    /// Where to upload by Xet, the pass for it, and until when.
    fn to_write(&self, token: &Token, draft: &Draft) -> (String, String, i64) {
        let until = Signer::until(self.deposits().now());
        let pass = self.deposits().signer.pass(Way::Write, &draft.name().key(), &token.id, until);
        // Clients remember which xorbs they sent to an address, whatever the token: each deposit has one of its own, also one of a name
        // that another had before it was removed.
        let anew = if draft.life > 1 { format!("/{}", draft.life) } else { String::new() };
        let address = format!("{}/api/{}/xet-write{anew}", self.address, draft.name().key());
        (address, pass, until.unix_s())
    }

    /// How an object is uploaded by Xet, for clients that ask as for LFS.
    pub(super) fn by_xet(&self, token: &Token, draft: &Draft, revision: &str) -> Value {
        let (address, pass, until) = self.to_write(token, draft);
        let revision = wire::percent_encoded(revision);
        let refresh = format!("{}/api/{}/xet-write-token/{revision}", self.address, draft.name().key());
        json!({ "upload": { "href": refresh, "header": {
            "X-Xet-Cas-Url": address, "X-Xet-Access-Token": pass, "X-Xet-Token-Expiration": until.to_string(),
        } } })
    }

    /// `GET …/xet-read-token/{revision}`: where to read, and a pass for it.
    pub(super) fn xet_read_token(&self, token: &Token, at: &Snapshot) -> Response<Body> {
        let key = at.draft().name().key();
        let until = Signer::until(self.deposits().now());
        let pass = self.deposits().signer.pass(Way::Read, &key, &token.id, until);
        let repository = format!("/api/{key}");
        let place =
            XetPlace { address: &self.address, repository: &repository, commit: at.commit(), pass: Some(&pass) };
        place.token(until.unix_s())
    }

    /// Tells of Xet on an answer with a file of a draft.
    pub(super) async fn tell_of_xet(
        &self,
        at: &Snapshot,
        file: &ReleasedFile,
        headers: &mut HeaderMap,
    ) -> Result<(), Refusal> {
        let key = at.draft().name().key();
        if at.is_large(file)
            && let Some(hash) = self.deposits().plan_hash(&key, file.sha256).await.map_err(refused)?
        {
            let repository = format!("/api/{key}");
            let commit = at.commit();
            XetPlace { address: &self.address, repository: &repository, commit, pass: None }.tell(headers, &hash);
        }
        Ok(())
    }

    /// The files of a draft with the hashes by which they can be read.
    pub(super) async fn hashes(&self, draft: &Draft) -> Result<impl Fn(&ReleasedFile) -> Option<XetHash>, Refusal> {
        let hashes = self.deposits().plan_hashes(&draft.name().key()).await.map_err(refused)?;
        Ok(move |file: &ReleasedFile| hashes.get(&file.sha256.to_string()).copied().filter(|_| file.bytes > 0))
    }
}

/// The draft that a pass reads, if it is the one of the address and the pass counts.
pub(super) async fn read_by(front: &Front, pass: &str, name: &DepositName) -> Result<Option<Arc<Draft>>, Refusal> {
    let deposits = &front.deposits;
    let Ok((key, token)) = deposits.signer.read_pass(Way::Read, pass, deposits.now()) else { return Ok(None) };
    if key != name.key() {
        return Ok(None);
    }
    match deposits.token_named(token).await.map_err(refused)? {
        Some(token) => front.seen(&token, name).await,
        None => Ok(None),
    }
}

/// What is read of a draft below `…/xet/{commit}`.
pub(super) async fn read(
    (front, address): (&Front, &str),
    draft: &Arc<Draft>,
    (commit, rest): (&str, &[&str]),
    pass: &str,
    (method, headers): (&Method, &HeaderMap),
) -> Result<Response<Body>, Refusal> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return Err(Refusal::Method { allow: "GET, HEAD" });
    }
    let deposits = &front.deposits;
    let at = draft.revision(commit).ok_or(Refusal::Revision)?;
    let wants = XetWants::parse(rest).ok_or(Refusal::Page)?;
    let key = draft.name().key();
    let absent = || Refusal::Entry { commit: at.commit().to_owned() };
    let sha256 = deposits.planned(&key, wants.file()).await.map_err(refused)?.ok_or_else(absent)?;
    let file = at.files().values().find(|file| file.sha256 == sha256).ok_or_else(absent)?;
    let plan = deposits.plan(&key, file.sha256).await.map_err(refused)?.ok_or_else(absent)?;
    let bytes = deposits.kept_open(draft.name(), file).await.map_err(refused)?;
    let repository = format!("/api/{key}");
    let place = XetPlace { address, repository: &repository, commit: at.commit(), pass: Some(pass) };
    wants.answer(&bytes, file.sha256, &plan, place, (method, headers)).await
}

/// The deposit that a pass is for, as records name it, if the pass counts.
pub(super) async fn passed(front: &Front, pass: &str) -> Result<Option<String>, Refusal> {
    let deposits = &front.deposits;
    let Ok((key, token)) = deposits.signer.read_pass(Way::Write, pass, deposits.now()) else { return Ok(None) };
    let token = deposits.token_named(token).await.map_err(refused)?.filter(|token| token.write);
    let (Some(token), Some(name)) = (token, DepositName::parse_key(key)) else { return Ok(None) };
    Ok(front.seen(&token, &name).await?.map(|_| key.to_owned()))
}

/// What is asked with a pass. Clients do without what is not found.
pub(super) async fn answer(
    front: &Front,
    key: &str,
    parts: &[&str],
    request: Request,
) -> Result<Response<Body>, Refusal> {
    let post = *request.method() == Method::POST;
    let body = request.into_body();
    // Clients before hf_xet 1.2 name no version, have other words, and put a shard's hash into its address.
    let told = match parts.strip_prefix(&["v1"]).unwrap_or(parts) {
        ["xorbs" | "xorb", "default", hash] if post => {
            let hash = XetHash::parse(hash).map_err(|error| refused_xet(&error))?;
            json!({ "was_inserted": xorb(&front.deposits, key, &hash, body).await? })
        }
        ["shards" | "shard"] | ["shards" | "shard", "default", _] if post => {
            let most = usize::try_from(MAX_SHARD_BYTES).unwrap_or(usize::MAX);
            let bytes = axum::body::to_bytes(body, most).await.map_err(|_| Refusal::TooLong)?;
            let _working = front.deposits.working().await.map_err(refused)?;
            let (deposits, key) = (Arc::clone(&front.deposits), key.to_owned());
            let handle = Handle::current();
            let done = tokio::task::spawn_blocking(move || shard(&deposits, &key, &bytes, &handle)).await;
            match done {
                Ok(Ok(())) => json!({ "result": 1 }),
                Ok(Err(Failed::Xet(error))) => return Err(refused_xet(&error)),
                Ok(Err(Failed::Deposit(error))) => return Err(refused(error)),
                Err(_) => return Err(Refusal::Store),
            }
        }
        _ => return Err(Refusal::Page),
    };
    Ok(wire::content(StatusCode::OK, "application/json", wire::json_bytes(&told)))
}

fn refused_xet(error: &XetError) -> Refusal {
    Refusal::Malformed { message: format!("{}; {}.", sentence(&error.to_string()), error.hint()) }
}

fn object(hash: &XetHash) -> String {
    format!("xorb-{hash}")
}

/// Takes a xorb in: every chunk of it is hashed while it arrives. `false` when it was here.
async fn xorb(deposits: &Deposits, key: &str, hash: &XetHash, body: Body) -> Result<bool, Refusal> {
    let object = object(hash);
    if deposits.object(key, &object, 0).await.map_err(refused)?.is_some() {
        return Ok(false);
    }
    deposits.room(key, 0, MAX_XORB_BYTES).await.map_err(refused)?;
    let _working = deposits.working().await.map_err(refused)?;
    let mut writer = deposits.sealed(key).await.map_err(refused)?.writer_to(&object, MAX_XORB_BYTES);
    let mut reader = XorbReader::default();
    let mut arriving = body.into_data_stream();
    while let Some(piece) = arriving.next().await {
        let piece = piece.map_err(|_| refused(DepositError::Damaged))?;
        let taken = tokio::task::spawn_blocking(move || {
            reader.feed(&piece, |_, _| Ok::<_, Failed>(()))?;
            writer.write(&piece).map_err(Failed::Deposit)?;
            Ok::<_, Failed>((reader, writer))
        });
        (reader, writer) = taken.await.map_err(|_| Refusal::Store)?.map_err(Failed::refused)?;
    }
    let index = reader.finish(hash).map_err(|error| refused_xet(&error))?;
    let written = tokio::task::spawn_blocking(move || writer.finish()).await.map_err(|_| Refusal::Store)?;
    deposits.keep(key, &object, 0, written.map_err(refused)?).await.map_err(refused)?;
    deposits.xorbs.put(key, Arc::new(index));
    Ok(true)
}

/// Why a shard is not taken.
enum Failed {
    Xet(XetError),
    Deposit(DepositError),
}

impl Failed {
    fn refused(self) -> Refusal {
        match self {
            Self::Xet(error) => refused_xet(&error),
            Self::Deposit(error) => refused(error),
        }
    }
}

impl From<XetError> for Failed {
    fn from(error: XetError) -> Self {
        Self::Xet(error)
    }
}

impl From<DepositError> for Failed {
    fn from(error: DepositError) -> Self {
        Self::Deposit(error)
    }
}

/// The xorbs of a deposit, as shards ask for them.
struct Here<'d> {
    deposits: &'d Deposits,
    key: &'d str,
    handle: &'d Handle,
    open: Option<(XetHash, SealedFile)>,
}

impl Here<'_> {
    fn open(&mut self, xorb: &XetHash) -> Result<Option<&SealedFile>, DepositError> {
        if self.open.as_ref().is_none_or(|(own, _)| own != xorb) {
            let stored = self.handle.block_on(self.deposits.object(self.key, &object(xorb), 0))?;
            let Some(stored) = stored else { return Ok(None) };
            let sealed = self.handle.block_on(self.deposits.sealed(self.key))?;
            self.open = Some((*xorb, sealed.file(&stored)));
        }
        Ok(self.open.as_ref().map(|(_, file)| file))
    }
}

impl Xorbs for Here<'_> {
    type Error = Failed;

    fn index(&mut self, xorb: &XetHash) -> Result<Option<Arc<XorbIndex>>, Failed> {
        if let Some(index) = self.deposits.xorbs.get(self.key, xorb) {
            return Ok(Some(index));
        }
        let Some(file) = self.open(xorb)? else { return Ok(None) };
        let (mut reader, mut at) = (XorbReader::default(), 0);
        while at < file.len() {
            let piece = file.read(at..at + PIECE_BYTES)?;
            at += piece.len() as u64;
            reader.feed(&piece, |_, _| Ok::<_, Failed>(()))?;
        }
        let index = Arc::new(reader.finish(xorb)?);
        self.deposits.xorbs.put(self.key, Arc::clone(&index));
        Ok(Some(index))
    }

    fn read(&mut self, xorb: &XetHash, range: Range<u64>, into: &mut Vec<u8>) -> Result<(), Failed> {
        let file = self.open(xorb)?.ok_or(DepositError::Sealed)?;
        into.extend_from_slice(&file.read(range)?);
        Ok(())
    }
}

/// Puts every file of a shard together. Blocks.
fn shard(deposits: &Deposits, key: &str, bytes: &[u8], handle: &Handle) -> Result<(), Failed> {
    let shard = Shard::read(bytes)?;
    let mut here = Here { deposits, key, handle, open: None };
    for file in shard.files() {
        // Older clients do not state the digest: the bytes are looked at twice, since they are sealed under it.
        let sha256 = match file.sha256() {
            Some(sha256) => sha256,
            None => {
                let mut digest = DigestWriter::default();
                let mut content = file.rebuild(&mut here)?;
                while let Some(piece) = content.next()? {
                    digest.write_all(piece).map_err(|_| DepositError::Damaged)?;
                }
                digest.finish()
            }
        };
        let object = sha256.to_string();
        if handle.block_on(deposits.object(key, &object, 0))?.is_some() {
            continue;
        }
        handle.block_on(deposits.room(key, file.bytes(), file.bytes()))?;
        let mut writer = handle.block_on(deposits.sealed(key))?.writer(&object, 0, file.bytes()).planned();
        let mut content = file.rebuild(&mut here)?;
        while let Some(piece) = content.next()? {
            writer.write(piece)?;
        }
        let (writer, written) = writer.finish()?;
        if written.sha256 != sha256 {
            return Err(DepositError::Damaged.into());
        }
        handle.block_on(deposits.keep(key, &object, 0, (writer, written)))?;
    }
    Ok(())
}

/// What is in xorbs that came lately, by deposit: reading one again costs its unpacking.
#[derive(Default)]
pub(crate) struct XorbIndexes(std::sync::Mutex<Indexes>);

#[derive(Default)]
struct Indexes {
    all: BTreeMap<(String, XetHash), Arc<XorbIndex>>,
    chunks: usize,
}

/// Most chunks that are kept in mind, of 52 bytes each.
const MOST_CHUNKS: usize = 1_000_000;

impl XorbIndexes {
    fn get(&self, key: &str, hash: &XetHash) -> Option<Arc<XorbIndex>> {
        let indexes = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        indexes.all.get(&(key.to_owned(), *hash)).cloned()
    }

    /// Forgets what is in mind of a deposit.
    pub(crate) fn forget(&self, key: &str) {
        let mut indexes = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        indexes.all.retain(|(own, _), _| own != key);
        indexes.chunks = indexes.all.values().map(|index| index.chunks().len()).sum();
    }

    fn put(&self, key: &str, index: Arc<XorbIndex>) {
        let mut indexes = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let chunks = index.chunks().len();
        if indexes.chunks.saturating_add(chunks) > MOST_CHUNKS {
            *indexes = Indexes::default();
        }
        indexes.chunks += chunks;
        indexes.all.insert((key.to_owned(), *index.hash()), index);
    }
}
