//! Reads by Xet: which xorbs a file is made of, and their bytes, put together from the file as it lies when they are asked for.
//!
//! Every address names a version, and passes the door that `resolve` passes. Plans of files are worked out in the background, once for each
//! content, and kept beside the blobs; until there is one, clients are not told of Xet and read the file as they always did.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use acequia_gate::ReleasedFile;
use acequia_types::{Clock, Coded, Digest, SystemClock};
use acequia_xet::{Plan, Planned, Planner, XetHash};
use axum::body::Body;
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, Response};
use bytes::Bytes;
use serde::{Serialize, Serializer};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;

use crate::admission::{Reader, admit, is_open};
use crate::api::{Snapshot, answer_at};
use crate::body::{CHUNK_BYTES, Source};
use crate::catalogue::{is_large, plural};
use crate::files::{part, partial, unreadable};
use crate::http::{percent_encoded, put};
use crate::range::{Wanted, wanted};
use crate::refusal::Refusal;
use crate::{Catalogue, HubError, PublishedVersion, Shelf};

const HASH: HeaderName = HeaderName::from_static("x-xet-hash");
const CAS_URL: HeaderName = HeaderName::from_static("x-xet-cas-url");
const ACCESS_TOKEN: HeaderName = HeaderName::from_static("x-xet-access-token");
const EXPIRATION: HeaderName = HeaderName::from_static("x-xet-token-expiration");

/// How long clients may use what they are told, in seconds. Whether they still may read is asked each time.
const GOOD_FOR_S: i64 = 6 * 60 * 60;
/// What clients of open data show, who need no pass.
const PUBLIC: &str = "public";
/// Xorbs of a file that clients are told of, at most: some 400 bytes of an answer each. Files of more are read as they always were.
const MOST_XORBS: usize = 65_536;
/// Xorbs of all plans that are kept in mind, of 48 bytes each. Others are read again.
const MOST_IN_MIND: usize = 500_000;
/// Turns at putting xorbs together: each takes twice its length until it is checked, and its length until it is sent.
static COMPOSING: Semaphore = Semaphore::const_new(8);

/// Where a repository at one commit is read by Xet.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// `http(s)://host[:port]` of the node.
    pub address: &'a str,
    /// The repository's address in the interface after that, without a slash at its end: `/api/datasets/namespace/name`.
    pub repository: &'a str,
    /// The commit.
    pub commit: &'a str,
    /// What a client shows that may read it, if it must show anything.
    pub pass: Option<&'a str>,
}

impl Place<'_> {
    fn cas(&self) -> String {
        format!("{}{}/xet/{}", self.address, self.repository, self.commit)
    }

    /// `GET …/xet-read-token/{revision}`: where to read, and what to show there.
    pub fn token(&self, until_unix_s: i64) -> Response<Body> {
        let (cas, pass) = (self.cas(), self.pass.unwrap_or(PUBLIC));
        token(&cas, pass, until_unix_s)
    }

    /// Tells clients on an answer with a file that it can be read by Xet, too.
    pub fn tell(&self, headers: &mut HeaderMap, hash: &XetHash) {
        put(headers, HASH, &hash.to_string());
        let (own, cas) = (format!("{}{}", self.address, self.repository), self.cas());
        let links = format!(
            "<{own}/xet-read-token/{}>; rel=\"xet-auth\", <{cas}/v1/reconstructions/{hash}>; rel=\"xet-reconstruction-info\"",
            self.commit
        );
        put(headers, header::LINK, &links);
    }

    fn xorb(&self, file: &XetHash, number: usize) -> String {
        let pass = self.pass.map(|pass| format!("?pass={}", percent_encoded(pass))).unwrap_or_default();
        format!("{}/xorbs/{file}/{number}{pass}", self.cas())
    }
}

/// The form in which clients are told where to go on and what to show there.
pub fn token(cas: &str, pass: &str, until_unix_s: i64) -> Response<Body> {
    let told = json!({ "casUrl": cas, "accessToken": pass, "exp": until_unix_s });
    let mut response = answer_at(&HeaderMap::new(), &told, None);
    let headers = response.headers_mut();
    put(headers, CAS_URL, cas);
    put(headers, ACCESS_TOKEN, pass);
    put(headers, EXPIRATION, &until_unix_s.to_string());
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// What is asked for below `…/xet/{commit}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wants {
    /// Of which xorbs a file is made. The second form of the protocol names the addresses of xorbs otherwise.
    Reconstruction {
        /// The file.
        file: XetHash,
        /// Whether it is the second form.
        second: bool,
    },
    /// The bytes of one of a file's xorbs.
    Xorb {
        /// The file.
        file: XetHash,
        /// Its place among the file's xorbs.
        number: usize,
    },
}

impl Wants {
    /// Reads the rest of the path.
    pub fn parse(rest: &[&str]) -> Option<Self> {
        let hash = |text: &str| XetHash::parse(text).ok();
        match rest {
            // Clients before hf_xet 1.2 name no version.
            ["v1", "reconstructions", file] | ["reconstructions", file] => {
                Some(Self::Reconstruction { file: hash(file)?, second: false })
            }
            ["v2", "reconstructions", file] => Some(Self::Reconstruction { file: hash(file)?, second: true }),
            ["xorbs", file, number] => Some(Self::Xorb { file: hash(file)?, number: number.parse().ok()? }),
            _ => None,
        }
    }

    /// The file.
    pub fn file(&self) -> &XetHash {
        match self {
            Self::Reconstruction { file, .. } | Self::Xorb { file, .. } => file,
        }
    }

    /// Answers from the plan of the file, whose bytes are `sha256` of `source`.
    ///
    /// # Errors
    /// [`Refusal::Range`], [`Refusal::Page`] when there are fewer xorbs, [`Refusal::Store`].
    pub async fn answer<S: Source + ?Sized>(
        &self,
        source: &Arc<S>,
        sha256: Digest,
        plan: &Plan,
        place: Place<'_>,
        (method, request): (&Method, &HeaderMap),
    ) -> Result<Response<Body>, Refusal> {
        match self {
            Self::Reconstruction { second, .. } => reconstruction(plan, *second, place, request),
            Self::Xorb { number, .. } => {
                let xorb = plan.xorbs().get(*number).ok_or(Refusal::Page)?;
                answer_xorb(source, sha256, xorb, method, request).await
            }
        }
    }
}

/// Which xorbs hold the bytes that the header `Range` asks for (specification, "Reconstruction"; all of the file without one).
fn reconstruction(plan: &Plan, second: bool, place: Place<'_>, request: &HeaderMap) -> Result<Response<Body>, Refusal> {
    let asked = request.get(header::RANGE).and_then(|value| value.to_str().ok());
    let range = match wanted(asked, plan.bytes()) {
        Wanted::Whole => 0..plan.bytes(),
        Wanted::Part(part) => part,
        Wanted::Outside => return Err(Refusal::Range { size_bytes: plan.bytes() }),
    };
    let (first, last) = match (plan.number_at(range.start), plan.number_at(range.end.saturating_sub(1))) {
        (Some(first), Some(last)) => (first, last),
        _ => return Err(Refusal::Range { size_bytes: plan.bytes() }),
    };
    let numbers: Vec<usize> = (first..=last).collect();
    let mut seen = HashSet::new();
    let distinct = numbers.iter().copied().filter(|number| seen.insert(plan.xorbs()[*number].hash())).collect();
    let fetched = Fetched { plan, place, second, numbers: distinct };
    let told = Told {
        offset_into_first_range: range.start - plan.xorbs()[first].at(),
        terms: Terms(plan.xorbs().get(first..=last).unwrap_or_default()),
        fetch_info: (!second).then_some(&fetched),
        xorbs: second.then_some(&fetched),
    };
    Ok(answer_at(&HeaderMap::new(), &told, None))
}

/// A reconstruction. Of a file of many xorbs it is long, so it is written from the plan without standing in memory twice.
#[derive(Serialize)]
struct Told<'a> {
    offset_into_first_range: u64,
    terms: Terms<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fetch_info: Option<&'a Fetched<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    xorbs: Option<&'a Fetched<'a>>,
}

#[derive(Clone, Copy, Serialize)]
struct Span {
    start: u64,
    end: u64,
}

impl Span {
    fn chunks(xorb: &Planned) -> Self {
        Self { start: 0, end: u64::from(xorb.chunks()) }
    }
}

struct Terms<'a>(&'a [Planned]);

impl Serialize for Terms<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Term {
            hash: String,
            unpacked_length: u32,
            range: Span,
        }
        serializer.collect_seq(self.0.iter().map(|xorb| Term {
            hash: xorb.hash().to_string(),
            unpacked_length: xorb.bytes(),
            range: Span::chunks(xorb),
        }))
    }
}

/// Where each distinct xorb is fetched.
struct Fetched<'a> {
    plan: &'a Plan,
    place: Place<'a>,
    second: bool,
    numbers: Vec<usize>,
}

impl Serialize for Fetched<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(untagged)]
        enum Entry {
            First { range: Span, url: String, url_range: Span },
            Second { url: String, ranges: [Part; 1] },
        }
        #[derive(Serialize)]
        struct Part {
            chunks: Span,
            bytes: Span,
        }
        serializer.collect_map(self.numbers.iter().map(|number| {
            let xorb = &self.plan.xorbs()[*number];
            let (chunks, bytes) = (Span::chunks(xorb), Span { start: 0, end: xorb.stored_bytes() - 1 });
            let url = self.place.xorb(self.plan.hash(), *number);
            let entry = match self.second {
                true => Entry::Second { url, ranges: [Part { chunks, bytes }] },
                false => Entry::First { range: chunks, url, url_range: bytes },
            };
            (xorb.hash().to_string(), [entry])
        }))
    }
}

/// A xorb, whole or in part. It is put together and checked before anything of it is sent: 2 MiB at most.
async fn answer_xorb<S: Source + ?Sized>(
    source: &Arc<S>,
    sha256: Digest,
    xorb: &Planned,
    method: &Method,
    request: &HeaderMap,
) -> Result<Response<Body>, Refusal> {
    let tag = xorb.hash().to_string();
    let part = part(xorb.stored_bytes(), &tag, method, request)?;
    let range = part.clone().unwrap_or(0..xorb.stored_bytes());
    let body = if *method == Method::HEAD || range.is_empty() {
        Body::empty()
    } else {
        let (source, xorb) = (Arc::clone(source), *xorb);
        let _turn = COMPOSING.acquire().await.map_err(|_| Refusal::Busy)?;
        let composed = tokio::task::spawn_blocking(move || composed(&*source, sha256, &xorb)).await;
        let bytes = composed
            .unwrap_or_else(|source| Err(HubError::Unreadable { sha256, source: Box::new(source) }))
            .map_err(|error| unreadable(&error))?;
        let at = |place: u64| usize::try_from(place).unwrap_or(usize::MAX);
        Body::from(bytes.slice(at(range.start)..at(range.end)))
    };
    let mut response = partial(part, xorb.stored_bytes(), body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    put(headers, header::ETAG, &format!("\"{tag}\""));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    // As files: what was taken down is asked for again.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, no-cache"));
    Ok(response)
}

fn composed<S: Source + ?Sized>(source: &S, sha256: Digest, xorb: &Planned) -> Result<Bytes, HubError> {
    let content = read_all(source, sha256, xorb.at()..xorb.at() + u64::from(xorb.bytes()))?;
    xorb.compose(&content).map(Bytes::from).ok_or(HubError::Damaged { sha256 })
}

fn read_all<S: Source + ?Sized>(source: &S, sha256: Digest, range: Range<u64>) -> Result<Vec<u8>, HubError> {
    let mut content = Vec::with_capacity(usize::try_from(range.end - range.start).unwrap_or(0));
    let mut at = range.start;
    while at < range.end {
        let piece = source.read(&sha256, at..range.end.min(at + CHUNK_BYTES))?;
        if piece.is_empty() {
            return Err(HubError::Damaged { sha256 });
        }
        at += piece.len() as u64;
        content.extend_from_slice(&piece);
    }
    Ok(content)
}

/// Plans a content that is `bytes` long, if it is still the one of its digest. Blocks.
///
/// # Errors
/// [`HubError::Missing`], [`HubError::Unreadable`], [`HubError::Damaged`].
pub fn plan<S: Source + ?Sized>(source: &S, sha256: Digest, bytes: u64) -> Result<Plan, HubError> {
    let (mut planner, mut digest, mut at) = (Planner::default(), Sha256::new(), 0);
    while at < bytes {
        let piece = source.read(&sha256, at..bytes.min(at + CHUNK_BYTES))?;
        if piece.is_empty() {
            return Err(HubError::Damaged { sha256 });
        }
        at += piece.len() as u64;
        digest.update(&piece);
        planner.push(&piece);
    }
    if Digest::from_bytes(digest.finalize().into()) != sha256 {
        return Err(HubError::Damaged { sha256 });
    }
    Ok(planner.finish())
}

/// What is known of the files of published versions.
#[derive(Default)]
pub(crate) struct Plans {
    /// Hashes of files that there is a plan of.
    hashes: RwLock<BTreeMap<Digest, XetHash>>,
    in_mind: Mutex<BTreeMap<Digest, Arc<Plan>>>,
    /// Of the shelf whose files were planned, or are being planned.
    planned: Mutex<Option<Digest>>,
    one_at_a_time: tokio::sync::Mutex<()>,
}

impl Plans {
    /// The hash of a file, once it is planned.
    pub(crate) fn hash(&self, file: &ReleasedFile) -> Option<XetHash> {
        self.hashes.read().unwrap_or_else(PoisonError::into_inner).get(&file.sha256).copied()
    }

    /// The file of a version with this hash.
    fn named<'v>(&self, version: &'v PublishedVersion, hash: &XetHash) -> Option<(&'v String, &'v ReleasedFile)> {
        let hashes = self.hashes.read().unwrap_or_else(PoisonError::into_inner);
        version.files().iter().find(|(_, file)| hashes.get(&file.sha256) == Some(hash))
    }

    /// Plans what is new on the shelf, in the background.
    pub(crate) fn notice(self: &Arc<Self>, catalogue: &Arc<dyn Catalogue>, shelf: &Arc<Shelf>) {
        let mut planned = self.planned.lock().unwrap_or_else(PoisonError::into_inner);
        if planned.replace(shelf.fingerprint()) == Some(shelf.fingerprint()) {
            return;
        }
        let (plans, catalogue, shelf) = (Arc::clone(self), Arc::clone(catalogue), Arc::clone(shelf));
        tokio::spawn(async move {
            let _alone = plans.one_at_a_time.lock().await;
            let own = Arc::clone(&plans);
            let _ = tokio::task::spawn_blocking(move || own.plan_all(&*catalogue, &shelf)).await;
        });
    }

    fn plan_all(&self, catalogue: &dyn Catalogue, shelf: &Shelf) {
        let mut there = BTreeSet::new();
        for version in shelf.served() {
            for file in version.files().values().filter(|file| is_large(file) && file.bytes > 0) {
                if !there.insert(file.sha256) || self.hash(file).is_some() {
                    continue;
                }
                match kept(catalogue, file) {
                    Some(plan) => self.put(file.sha256, plan),
                    None => match self::plan(catalogue, file.sha256, file.bytes) {
                        Ok(plan) => {
                            catalogue.keep(&file.sha256, &plan.to_bytes());
                            self.put(file.sha256, plan);
                        }
                        // Who reads the file hears of it; it is tried again when something is published.
                        Err(error) => tracing::warn!(code = error.code(), "not told as xorbs: {error}"),
                    },
                }
            }
        }
        // What is not served any more leaves no trace of its bytes either.
        self.hashes.write().unwrap_or_else(PoisonError::into_inner).retain(|sha256, _| there.contains(sha256));
        self.in_mind.lock().unwrap_or_else(PoisonError::into_inner).retain(|sha256, _| there.contains(sha256));
        catalogue.keep_only(&|sha256| there.contains(sha256));
    }

    fn put(&self, sha256: Digest, plan: Plan) {
        if plan.xorbs().len() > MOST_XORBS {
            return;
        }
        self.hashes.write().unwrap_or_else(PoisonError::into_inner).insert(sha256, *plan.hash());
        let mut in_mind = self.in_mind.lock().unwrap_or_else(PoisonError::into_inner);
        let xorbs = in_mind.values().fold(plan.xorbs().len(), |sum, plan| sum.saturating_add(plan.xorbs().len()));
        if xorbs > MOST_IN_MIND {
            in_mind.clear();
        }
        in_mind.insert(sha256, Arc::new(plan));
    }

    async fn plan(&self, catalogue: &Arc<dyn Catalogue>, file: &ReleasedFile) -> Option<Arc<Plan>> {
        self.hash(file)?;
        let in_mind = || self.in_mind.lock().unwrap_or_else(PoisonError::into_inner).get(&file.sha256).cloned();
        if let Some(plan) = in_mind() {
            return Some(plan);
        }
        let (catalogue, wanted) = (Arc::clone(catalogue), file.clone());
        let read = tokio::task::spawn_blocking(move || match kept(&*catalogue, &wanted) {
            Some(plan) => Some(plan),
            None => self::plan(&*catalogue, wanted.sha256, wanted.bytes).ok(),
        });
        let plan = read.await.ok()??;
        self.put(file.sha256, plan);
        in_mind()
    }
}

fn kept(catalogue: &dyn Catalogue, file: &ReleasedFile) -> Option<Plan> {
    Plan::from_bytes(&catalogue.kept(&file.sha256)?).filter(|plan| plan.bytes() == file.bytes)
}

/// A published version that a request asks for by Xet, or may be told of it.
pub(crate) struct Asked<'a> {
    pub(crate) plans: &'a Plans,
    pub(crate) version: &'a PublishedVersion,
    pub(crate) address: &'a str,
    pub(crate) head: &'a Parts,
}

impl Asked<'_> {
    fn repository(&self) -> String {
        format!("/api/{}/{}", plural(self.version.artefact()), self.version.manifest().dataset)
    }

    /// What this request's client shows at further addresses. Nothing for what is open.
    ///
    /// # Errors
    /// As `resolve` refuses, and [`Refusal::SignIn`] for who reads by something that cannot be shown elsewhere.
    fn pass(&self) -> Result<Option<String>, Refusal> {
        if self.version.tier() == acequia_custody::Tier::Open {
            return Ok(None);
        }
        admit(self.version, &self.head.extensions)?;
        let pass = self.head.extensions.get::<Reader>().and_then(|reader| reader.0.pass(self.version));
        pass.map(Some).ok_or_else(|| Refusal::SignIn { page: crate::admission::page(self.version) })
    }

    /// The hash by which this request's client can read a file.
    pub(crate) fn hashes(&self) -> impl Fn(&ReleasedFile) -> Option<XetHash> {
        let can = self.pass().is_ok();
        move |file| can.then(|| self.plans.hash(file)).flatten()
    }

    /// Tells of Xet on an answer with a file.
    pub(crate) fn tell(&self, file: &ReleasedFile, headers: &mut HeaderMap) {
        if let (Some(hash), Ok(_)) = (self.plans.hash(file), self.pass()) {
            let repository = self.repository();
            let commit = self.version.commit();
            Place { address: self.address, repository: &repository, commit, pass: None }.tell(headers, &hash);
        }
    }

    pub(crate) fn token(&self) -> Result<Response<Body>, Refusal> {
        let (pass, repository) = (self.pass()?, self.repository());
        let (commit, pass) = (self.version.commit(), pass.as_deref());
        let until = SystemClock.now().unix_s() + GOOD_FOR_S;
        Ok(Place { address: self.address, repository: &repository, commit, pass }.token(until))
    }

    /// Answers below `…/xet/{commit}`.
    pub(crate) async fn answer(
        &self,
        catalogue: &Arc<dyn Catalogue>,
        rest: &[&str],
    ) -> Result<Response<Body>, Refusal> {
        let wants = Wants::parse(rest).ok_or(Refusal::Page)?;
        let absent = || Refusal::Entry { commit: self.version.commit().to_owned() };
        let (path, file) = self.plans.named(self.version, wants.file()).ok_or_else(absent)?;
        let pass = if is_open(self.version, path) { None } else { self.pass()? };
        let plan = self.plans.plan(catalogue, file).await.ok_or_else(absent)?;
        let repository = self.repository();
        let (commit, pass) = (self.version.commit(), pass.as_deref());
        let place = Place { address: self.address, repository: &repository, commit, pass };
        wants.answer(catalogue, file.sha256, &plan, place, (&self.head.method, &self.head.headers)).await
    }
}

/// A repository at one commit, told of with the hashes by which its files can be read by Xet.
pub struct Hashed<'a, S, H> {
    /// The repository.
    pub of: &'a S,
    /// The hash of a file, if it has one.
    pub hash: H,
}

impl<S: Snapshot, H: Fn(&ReleasedFile) -> Option<XetHash>> Snapshot for Hashed<'_, S, H> {
    fn artefact(&self) -> acequia_gate::Artefact {
        self.of.artefact()
    }

    fn name(&self) -> String {
        self.of.name()
    }

    fn commit(&self) -> &str {
        self.of.commit()
    }

    fn files(&self) -> &BTreeMap<String, ReleasedFile> {
        self.of.files()
    }

    fn is_large(&self, file: &ReleasedFile) -> bool {
        self.of.is_large(file)
    }

    fn last_change(&self, path: &str, is_folder: bool) -> crate::api::Change {
        self.of.last_change(path, is_folder)
    }

    fn xet_hash(&self, file: &ReleasedFile) -> Option<XetHash> {
        (self.hash)(file)
    }
}
