//! Blobs as objects of a bucket, in Amazon S3 or what speaks its language.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use acequia_types::{Digest, DigestWriter};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, future, stream};
use md5::{Digest as _, Md5};
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, AwsAuthorizer};
use object_store::client::{
    ClientConfigKey, ClientOptions, HttpClient, HttpConnector, HttpRequest, HttpRequestBody, ReqwestConnector,
};
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::signer::Signer;
use object_store::{
    BackoffConfig, Certificate, GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions,
    PutPayload, RetryConfig,
};
use tokio::sync::OnceCell;
use tokio::task::JoinSet;

use crate::BlobError;
use crate::answer::{BROKE_OFF, Told, Uploads, uploads};
use crate::blocks::{BLOCK_BYTES, Blocks, Piece};
use crate::bridge::Bridge;
use crate::source::{Memory, Source, size_of};
use crate::store::{Trial, Tried};

/// Larger blobs go in parts of this size, and are fetched so.
const PART_BYTES: u64 = 8 * 1024 * 1024;
/// Parts on their way at a time, so that a call holds at most one more than these in memory.
const PARTS_AT_ONCE: usize = 4;
/// Most parts of an upload, by S3.
const MOST_PARTS: u64 = 10_000;
/// Longer ranges are not kept as blocks.
const LONGEST_OF_BLOCKS: u64 = 4 * BLOCK_BYTES;

/// Says under a prefix whose blobs these are.
const OWNER: &str = "owner";

/// How often a request is made again: 100 ms, then up to twice as long each time, about six seconds in all.
const RETRIES: usize = 6;

/// `<prefix>/ab/abcdef…`.
pub(crate) struct Bucket {
    /// Dropped last: the rest lets go of connections first.
    remote: Arc<Remote>,
    bridge: Bridge,
}

impl std::fmt::Debug for Bucket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.remote.place)
    }
}

/// What threads of the bridge share.
struct Remote {
    s3: AmazonS3,
    /// For what `object_store` has no call for.
    http: HttpClient,
    region: String,
    signs: bool,
    place: String,
    prefix: String,
    owner: String,
    blocks: Blocks,
    /// That the prefix is this node's; asked once, before anything is changed.
    claimed: OnceCell<()>,
    /// Whether the bucket was seen: the answer to a question about an object that is not there does not tell.
    seen: AtomicBool,
}

/// Bucket and prefix of an address; `None` when it has another form. Nothing else may stand in it, above all no keys.
pub(crate) fn parse(address: &str) -> Option<(&str, &str)> {
    let rest = address.strip_prefix("s3://")?;
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
    let plain = |text: &str, more: &[u8]| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || more.contains(&byte));
    let segment = |part: &str| !part.is_empty() && part != "." && part != ".." && plain(part, b"-_.");
    let good = (3..=63).contains(&bucket.len())
        && plain(bucket, b"-.")
        && prefix.len() <= 512
        && (prefix.is_empty() || prefix.split('/').all(segment));
    good.then_some((bucket, prefix))
}

/// Hands out reqwest's client, and keeps it.
#[derive(Debug, Default)]
struct Keeping(Arc<Mutex<Option<HttpClient>>>);

impl HttpConnector for Keeping {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = ReqwestConnector::default().connect(options)?;
        // The last one that is asked for is the one for objects; those before are for credentials.
        *self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(client.clone());
        Ok(client)
    }
}

impl Bucket {
    /// Asks nobody yet. Keys, endpoint and region are variables of an environment (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT` …).
    pub(crate) fn open(
        address: &str,
        owner: &str,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, BlobError> {
        let (bucket, prefix) = parse(address).ok_or(BlobError::Address)?;
        let place = format!("s3://{bucket}{}{prefix}", if prefix.is_empty() { "" } else { "/" });
        let unusable = |what: &str| BlobError::Refused {
            place: place.clone(),
            answer: format!("{what} in the environment cannot be used"),
        };
        let bridge = Bridge::start()?;
        let kept = Keeping::default();
        let client = Arc::clone(&kept.0);
        let mut builder = AmazonS3Builder::new();
        // A request moves a part at most: these are for a slow line, not for a long transfer.
        let mut options = ClientOptions::new()
            .with_config(ClientConfigKey::Timeout, "60 s")
            .with_config(ClientConfigKey::ConnectTimeout, "5 s");
        for (name, value) in environment.into_iter().filter(|(name, _)| name.starts_with("AWS_")) {
            match name.to_ascii_lowercase().parse() {
                Ok(AmazonS3ConfigKey::Client(key)) => options = options.with_config(key, value),
                Ok(key) => builder = builder.with_config(key, value),
                // `object_store` does not know this one, which the other tools of AWS do.
                Err(_) if name == "AWS_CA_BUNDLE" => {
                    let pem = crate::read_file(std::path::Path::new(&value), "the file of AWS_CA_BUNDLE", 1024 * 1024)?;
                    for certificate in Certificate::from_pem_bundle(&pem).map_err(|_| unusable("AWS_CA_BUNDLE"))? {
                        options = options.with_root_certificate(certificate);
                    }
                }
                Err(_) => {}
            }
        }
        let backoff =
            BackoffConfig { init_backoff: Duration::from_millis(100), max_backoff: Duration::from_secs(5), base: 2.0 };
        let retry = RetryConfig { backoff, max_retries: RETRIES, retry_timeout: Duration::from_secs(120) };
        let builder =
            builder.with_bucket_name(bucket).with_client_options(options).with_http_connector(kept).with_retry(retry);
        let region = builder.get_config_value(&AmazonS3ConfigKey::Region);
        let signs = builder.get_config_value(&AmazonS3ConfigKey::SkipSignature).is_none_or(|skips| skips != "true");
        let unusable = || unusable("one of the AWS_ variables or certificates");
        let s3 = {
            let _inside = bridge.enter();
            builder.build().map_err(|_| unusable())?
        };
        let http = client.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take().ok_or_else(unusable)?;
        let remote = Remote {
            s3,
            http,
            region: region.unwrap_or_else(|| "us-east-1".to_owned()),
            signs,
            place,
            prefix: if prefix.is_empty() { String::new() } else { format!("{prefix}/") },
            owner: owner.to_owned(),
            blocks: Blocks::default(),
            claimed: OnceCell::new(),
            seen: AtomicBool::new(false),
        };
        Ok(Self { remote: Arc::new(remote), bridge })
    }

    pub(crate) fn place(&self) -> String {
        self.remote.place.clone()
    }

    /// Stores bytes. What is there already, as far as its length and entity tag tell, is left as it is.
    pub(crate) fn put(&self, digest: &Digest, bytes: &[u8]) -> Result<(), BlobError> {
        let remote = &self.remote;
        self.bridge.wait(async {
            remote.claim().await?;
            let path = remote.path(digest);
            let same = |found: &ObjectMeta| {
                found.size == bytes.len() as u64 && found.e_tag.as_deref().is_some_and(|tag| is_tag_of(tag, bytes))
            };
            if remote.head(&path).await?.as_ref().is_some_and(same) {
                return Ok(());
            }
            remote.blocks.forget(digest);
            remote.write(&path, &mut Memory(bytes), None).await
        })
    }

    /// Stores bytes without looking whether they are there.
    pub(crate) fn put_new(&self, digest: &Digest, bytes: &[u8]) -> Result<(), BlobError> {
        let remote = &self.remote;
        self.bridge.wait(async {
            remote.claim().await?;
            remote.write(&remote.path(digest), &mut Memory(bytes), None).await
        })
    }

    /// Stores what a source gives, if it is what the address says.
    pub(crate) fn put_from(&self, digest: &Digest, source: &mut dyn Source) -> Result<(), BlobError> {
        let remote = &self.remote;
        self.bridge.wait(async {
            remote.claim().await?;
            remote.blocks.forget(digest);
            remote.write(&remote.path(digest), source, Some(digest)).await
        })
    }

    pub(crate) fn get(&self, digest: &Digest) -> Result<Bytes, BlobError> {
        self.bridge.wait(self.remote.get(digest))
    }

    pub(crate) fn get_all(&self, digests: &[Digest], at_once: usize) -> Result<Vec<Bytes>, BlobError> {
        let all = digests.iter().map(|digest| self.remote.get(digest));
        self.bridge.wait(stream::iter(all).buffered(at_once).try_collect())
    }

    pub(crate) fn read_range(&self, digest: &Digest, range: Range<u64>) -> Result<Bytes, BlobError> {
        let outside = || BlobError::Range { digest: *digest };
        let wanted = range.end.checked_sub(range.start).ok_or_else(outside)?;
        if wanted == 0 {
            return self.len_bytes(digest)?.map(|_| Bytes::new()).ok_or(BlobError::Missing { digest: *digest });
        }
        if wanted > LONGEST_OF_BLOCKS {
            let remote = &self.remote;
            return self.bridge.wait(async { remote.long_range(digest, range, Vec::new()).await });
        }
        let (first, last) = (range.start / BLOCK_BYTES, (range.end - 1) / BLOCK_BYTES);
        let reads_on = first > 0 && self.remote.blocks.is_known(digest, first - 1);
        let pieces =
            self.bridge.wait(future::try_join_all((first..=last).map(|block| self.remote.block(digest, block))))?;
        let of_bytes = pieces.last().map_or(0, |piece| piece.of_bytes);
        if range.end > of_bytes {
            return Err(outside());
        }
        // Whoever reads a file from its beginning will ask for the next block, too.
        if reads_on && (last + 1) * BLOCK_BYTES < of_bytes && !self.remote.blocks.is_known(digest, last + 1) {
            let (remote, digest) = (Arc::clone(&self.remote), *digest);
            self.bridge.spawn(async move {
                // Who then asks for it hears what went wrong.
                let _ = remote.block(&digest, last + 1).await;
            });
        }
        cut(&pieces, first * BLOCK_BYTES, range).ok_or(BlobError::Damaged { digest: *digest })
    }

    pub(crate) fn source(&self, digest: &Digest) -> Result<ObjectSource<'_>, BlobError> {
        let length_bytes = self.len_bytes(digest)?.ok_or(BlobError::Missing { digest: *digest })?;
        Ok(ObjectSource { bucket: self, digest: *digest, at: 0, length_bytes })
    }

    pub(crate) fn len_bytes(&self, digest: &Digest) -> Result<Option<u64>, BlobError> {
        let remote = &self.remote;
        Ok(self.bridge.wait(remote.head(&remote.path(digest)))?.map(|found| found.size))
    }

    pub(crate) fn remove(&self, digest: &Digest) -> Result<(), BlobError> {
        let remote = &self.remote;
        self.bridge.wait(async {
            remote.claim().await?;
            remote.blocks.forget(digest);
            remote.remove(&remote.path(digest)).await
        })
    }

    pub(crate) fn list(&self) -> Result<Vec<Digest>, BlobError> {
        let remote = &self.remote;
        let mut found = self.bridge.wait(async {
            let listed = remote
                .s3
                .list(remote.below().as_ref())
                .try_filter_map(|object| future::ready(Ok(remote.digest(object.location.as_ref()))));
            listed.try_collect::<Vec<_>>().await.map_err(|error| remote.other(&error))
        })?;
        found.sort();
        Ok(found)
    }

    /// Calls uploads off that nobody ended, whose bytes are paid for and seen by nobody, and removes what was tried out.
    pub(crate) fn sweep(&self) -> Result<u64, BlobError> {
        let remote = &self.remote;
        self.bridge.wait(async {
            remote.claim().await?;
            let aside = Path::from(format!("{}aside", remote.prefix));
            let left: Result<Vec<_>, _> = remote.s3.list(Some(&aside)).try_collect().await;
            let mut swept = 0;
            for object in left.map_err(|error| remote.other(&error))? {
                remote.remove(&object.location).await?;
                swept += 1;
            }
            let mut behind = None;
            loop {
                let open = remote.open_uploads(behind.as_ref()).await?;
                // Some servers list those of all prefixes, whatever they are asked for.
                for (key, id) in open.uploads.iter().filter(|(key, _)| remote.digest(key).is_some()) {
                    remote.call_off(&Path::from(key.as_str()), id).await?;
                    swept += 1;
                }
                if open.next.is_none() || open.next == behind {
                    return Ok(swept);
                }
                behind = open.next;
            }
        })
    }

    pub(crate) fn try_out(&self, bytes: &[u8], name: &str) -> Result<(), Trial> {
        let remote = &self.remote;
        let path = Path::from(format!("{}aside/{name}", remote.prefix));
        self.bridge.wait(async {
            remote.claim().await.map_err(Tried::Written.failed())?;
            let payload = PutPayload::from(Bytes::copy_from_slice(bytes));
            let told = |told: Told| told.or(|| BlobError::NoBucket { place: remote.place.clone() });
            remote.put(&path, payload, PutMode::Overwrite).await.map_err(told).map_err(Tried::Written.failed())?;
            let end = bytes.len() as u64;
            let found = remote.fetch(&path, 1..end).await.map_err(told).map_err(Tried::Read.failed())?;
            if found.bytes != bytes[1..] || found.of_bytes != end {
                let answer = "other bytes than were written".to_owned();
                return Err(Tried::Read.failed()(BlobError::Answer { place: remote.place.clone(), answer }));
            }
            let above = Path::from(format!("{}aside", remote.prefix));
            let listed: Result<Vec<_>, _> = remote.s3.list(Some(&above)).try_collect().await;
            listed.map_err(|error| Tried::Listed.failed()(remote.other(&error)))?;
            remote.remove(&path).await.map_err(Tried::Removed.failed())
        })
    }
}

impl Remote {
    fn path(&self, digest: &Digest) -> Path {
        let name = digest.to_string();
        Path::from(format!("{}{}/{name}", self.prefix, &name[..2]))
    }

    /// The address of an object that is a blob.
    fn digest(&self, key: &str) -> Option<Digest> {
        let (shard, name) = key.strip_prefix(&self.prefix)?.split_once('/')?;
        let digest = Digest::parse(name).ok()?;
        (shard.len() == 2 && name.starts_with(shard)).then_some(digest)
    }

    fn below(&self) -> Option<Path> {
        (!self.prefix.is_empty()).then(|| Path::from(self.prefix.as_str()))
    }

    fn told(&self, error: &object_store::Error) -> Told {
        Told::of(error, &self.place)
    }

    /// An error of a request that is not about an object, or not about one that may be missing.
    fn other(&self, error: &object_store::Error) -> BlobError {
        self.told(error).or(|| BlobError::NoBucket { place: self.place.clone() })
    }

    fn of_blob(&self, told: Told, digest: &Digest) -> BlobError {
        match told {
            Told::Outside => BlobError::Range { digest: *digest },
            told => told.or(|| BlobError::Missing { digest: *digest }),
        }
    }

    async fn put(&self, path: &Path, payload: PutPayload, mode: PutMode) -> Result<(), Told> {
        let put = self.s3.put_opts(path, payload, PutOptions::from(mode)).await;
        put.map(drop).map_err(|error| self.told(&error))
    }

    /// What is known of an object without its bytes.
    async fn head(&self, path: &Path) -> Result<Option<ObjectMeta>, BlobError> {
        let answer = self.s3.head(path).await.map_err(|error| self.told(&error));
        match answer {
            Ok(found) => {
                self.seen.store(true, Ordering::Relaxed);
                Ok(Some(found))
            }
            Err(Told::Missing) => {
                // There is no body that would say whether the object is missing or the bucket.
                if !self.seen.load(Ordering::Relaxed) {
                    match self.fetch(&Path::from(format!("{}{OWNER}", self.prefix)), 0..1).await {
                        Ok(_) | Err(Told::Missing | Told::Outside) => self.seen.store(true, Ordering::Relaxed),
                        Err(told) => return Err(told.or(|| BlobError::NoBucket { place: self.place.clone() })),
                    }
                }
                Ok(None)
            }
            Err(told) => Err(told.or(|| BlobError::NoBucket { place: self.place.clone() })),
        }
    }

    /// Some of the bytes of an object; fewer where it ends before.
    /// Fetches a range; again where the answer broke off, which `object_store` does not ask for again.
    async fn fetch(&self, path: &Path, range: Range<u64>) -> Result<Piece, Told> {
        for wait_ms in [200, 1000] {
            match self.fetch_once(path, range.clone()).await {
                Err(Told::Error(BlobError::Unreachable { why, .. })) if why == BROKE_OFF => {
                    tokio::time::sleep(Duration::from_millis(wait_ms)).await;
                }
                other => return other,
            }
        }
        self.fetch_once(path, range).await
    }

    async fn fetch_once(&self, path: &Path, range: Range<u64>) -> Result<Piece, Told> {
        let options = GetOptions { range: Some(GetRange::Bounded(range)), ..GetOptions::default() };
        let told = |error| self.told(&error);
        let answer = self.s3.get_opts(path, options).await.map_err(told)?;
        let of_bytes = answer.meta.size;
        Ok(Piece { bytes: answer.bytes().await.map_err(told)?, of_bytes })
    }

    async fn block(&self, digest: &Digest, number: u64) -> Result<Piece, BlobError> {
        let place = self.blocks.place(digest, number);
        let range = number * BLOCK_BYTES..(number + 1) * BLOCK_BYTES;
        let fetch = async || {
            let fetched = self.fetch(&self.path(digest), range).await;
            fetched.map_err(|told| self.of_blob(told, digest))
        };
        place.get_or_try_init(fetch).await.cloned()
    }

    async fn get(&self, digest: &Digest) -> Result<Bytes, BlobError> {
        let first = match self.fetch(&self.path(digest), 0..PART_BYTES).await {
            Ok(first) => first,
            // No range lies inside an object without bytes.
            Err(Told::Outside) => return Ok(Bytes::new()),
            Err(told) => return Err(self.of_blob(told, digest)),
        };
        if first.of_bytes <= PART_BYTES {
            return Ok(first.bytes);
        }
        self.long_range(digest, PART_BYTES..first.of_bytes, first.bytes.into()).await
    }

    /// Appends a range to what is there, several parts at once.
    async fn long_range(&self, digest: &Digest, range: Range<u64>, mut whole: Vec<u8>) -> Result<Bytes, BlobError> {
        let outside = || BlobError::Range { digest: *digest };
        // Whatever length a server states, there is memory for it or there is none.
        whole.try_reserve_exact(size_of(range.end - range.start)).map_err(|_| outside())?;
        let path = self.path(digest);
        let parts = range.clone().step_by(size_of(PART_BYTES)).map(|start| {
            let part = start..range.end.min(start + PART_BYTES);
            let path = &path;
            async move {
                let wanted = part.end - part.start;
                let piece = self.fetch(path, part).await.map_err(|told| self.of_blob(told, digest))?;
                if piece.bytes.len() as u64 == wanted { Ok(piece.bytes) } else { Err(outside()) }
            }
        });
        let mut parts = stream::iter(parts).buffered(PARTS_AT_ONCE);
        while let Some(part) = parts.next().await {
            whole.extend_from_slice(&part?);
        }
        Ok(whole.into())
    }

    /// Makes sure that nobody else keeps blobs under this prefix, by an object that says whose it is.
    async fn claim(&self) -> Result<(), BlobError> {
        let claim = async || {
            let path = Path::from(format!("{}{OWNER}", self.prefix));
            let foreign = || BlobError::Foreign { place: self.place.clone() };
            let none = |told: Told| told.or(|| BlobError::NoBucket { place: self.place.clone() });
            for _ in 0..2 {
                match self.fetch(&path, 0..1024).await {
                    Ok(found) if found.bytes == self.owner.as_bytes() => return Ok(()),
                    Ok(_) | Err(Told::Outside) => return Err(foreign()),
                    Err(Told::Missing) => {}
                    Err(told) => return Err(none(told)),
                }
                let owner = || PutPayload::from(Bytes::from(self.owner.clone()));
                match self.put(&path, owner(), PutMode::Create).await {
                    Ok(()) => return Ok(()),
                    // Somebody was faster.
                    Err(Told::Exists(_)) => {}
                    Err(Told::NotOffered(_)) => {
                        return self.put(&path, owner(), PutMode::Overwrite).await.map_err(none);
                    }
                    Err(told) => return Err(none(told)),
                }
            }
            Err(foreign())
        };
        self.claimed.get_or_try_init(claim).await?;
        self.seen.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Writes an object whole or not at all. With an address, what is not of that address is not written.
    async fn write(&self, path: &Path, source: &mut dyn Source, check: Option<&Digest>) -> Result<(), BlobError> {
        let no_bucket = |told: Told| told.or(|| BlobError::NoBucket { place: self.place.clone() });
        let length_bytes = source.length_bytes();
        if length_bytes <= PART_BYTES {
            let bytes = source.take(PART_BYTES + 1)?;
            if let Some(digest) = check
                && Digest::of(&bytes) != *digest
            {
                return Err(BlobError::Damaged { digest: *digest });
            }
            return self.put(path, PutPayload::from(bytes), PutMode::Overwrite).await.map_err(no_bucket);
        }
        let id = self.s3.create_multipart(path).await.map_err(|error| self.other(&error))?;
        let written = match self.write_parts(path, &id, source, check).await {
            Ok(parts) => self.complete(path, &id, parts, length_bytes).await,
            Err(error) => Err(error),
        };
        if written.is_err() {
            // Where that is not possible either, `sweep` does it later.
            let _ = self.call_off(path, &id).await;
        }
        written
    }

    async fn write_parts(
        &self,
        path: &Path,
        id: &str,
        source: &mut dyn Source,
        check: Option<&Digest>,
    ) -> Result<Vec<PartId>, BlobError> {
        let part_bytes = part_bytes(source.length_bytes());
        let mut found = DigestWriter::default();
        // Dropped with an error, it stops what is on its way.
        let mut sending = JoinSet::new();
        let mut sent = BTreeMap::new();
        for number in 0.. {
            let part = source.take(part_bytes)?;
            if part.is_empty() {
                break;
            }
            if check.is_some() {
                std::io::Write::write_all(&mut found, &part).map_err(crate::error::io("a blob", "read"))?;
            }
            if sending.len() == PARTS_AT_ONCE {
                self.next_sent(&mut sending, &mut sent).await?;
            }
            let (s3, path, id) = (self.s3.clone(), path.clone(), id.to_owned());
            sending.spawn(async move { (number, s3.put_part(&path, &id, number, PutPayload::from(part)).await) });
        }
        while !sending.is_empty() {
            self.next_sent(&mut sending, &mut sent).await?;
        }
        match check {
            Some(digest) if found.finish() != *digest => Err(BlobError::Damaged { digest: *digest }),
            _ => Ok(sent.into_values().collect()),
        }
    }

    async fn next_sent(
        &self,
        sending: &mut JoinSet<(usize, object_store::Result<PartId>)>,
        sent: &mut BTreeMap<usize, PartId>,
    ) -> Result<(), BlobError> {
        let lost = || BlobError::Unreachable { place: self.place.clone(), why: "a part was not sent".to_owned() };
        let (number, part) = sending.join_next().await.ok_or_else(lost)?.map_err(|_| lost())?;
        sent.insert(number, part.map_err(|error| self.other(&error))?);
        Ok(())
    }

    async fn complete(&self, path: &Path, id: &String, parts: Vec<PartId>, length_bytes: u64) -> Result<(), BlobError> {
        let tags = parts.iter().map(|part| part.content_id.clone()).collect::<Vec<_>>();
        let Err(error) = self.s3.complete_multipart(path, id, parts).await else { return Ok(()) };
        // The answer may be lost where the work was done; asked again, a server then knows no such upload.
        let done = |found: &ObjectMeta| {
            found.size == length_bytes
                && found.e_tag.is_some()
                && found.e_tag.as_deref().map(bare) == tag_of_parts(&tags).as_deref()
        };
        match self.head(path).await {
            Ok(Some(found)) if done(&found) => Ok(()),
            _ => Err(self.other(&error)),
        }
    }

    /// Removes an object, if it is there.
    async fn remove(&self, path: &Path) -> Result<(), BlobError> {
        self.patiently(async || match self.s3.delete(path).await.map_err(|error| self.told(&error)) {
            Ok(()) | Err(Told::Missing) => Ok(()),
            Err(told) => Err(told.or(|| BlobError::NoBucket { place: self.place.clone() })),
        })
        .await
    }

    async fn call_off(&self, path: &Path, id: &String) -> Result<(), BlobError> {
        self.patiently(async || match self.s3.abort_multipart(path, id).await.map_err(|error| self.told(&error)) {
            Ok(()) | Err(Told::Missing) => Ok(()),
            Err(told) => Err(told.or(|| BlobError::NoBucket { place: self.place.clone() })),
        })
        .await
    }

    /// Asks again where `object_store` does not, since it cannot know that asking twice does no harm.
    async fn patiently<T>(&self, ask: impl AsyncFn() -> Result<T, BlobError>) -> Result<T, BlobError> {
        for wait_ms in [200, 1000] {
            match ask().await {
                Err(BlobError::Unreachable { .. }) => tokio::time::sleep(Duration::from_millis(wait_ms)).await,
                other => return other,
            }
        }
        ask().await
    }

    /// Uploads below the prefix that are neither complete nor called off: a thousand at most, behind those of an earlier list.
    ///
    /// Source: ListMultipartUploads of the Amazon S3 API, which `object_store` has no call for.
    async fn open_uploads(&self, behind: Option<&(String, String)>) -> Result<Uploads, BlobError> {
        let answer = |text: &str| BlobError::Answer { place: self.place.clone(), answer: text.to_owned() };
        self.patiently(async || {
            // Only the address of the bucket is wanted of it.
            let bucket = self.s3.signed_url(Default::default(), &Path::default(), Duration::from_secs(1)).await;
            let mut url = bucket.map_err(|error| self.other(&error))?;
            url.set_query(None);
            url.query_pairs_mut().append_pair("uploads", "").append_pair("prefix", &self.prefix);
            if let Some((key, id)) = behind {
                url.query_pairs_mut().append_pair("key-marker", key).append_pair("upload-id-marker", id);
            }
            let mut request = HttpRequest::new(HttpRequestBody::empty());
            *request.uri_mut() = url.as_str().parse().map_err(|_| answer("no address of the bucket"))?;
            if self.signs {
                let credential = self.s3.credentials().get_credential().await.map_err(|error| self.other(&error))?;
                AwsAuthorizer::new(&credential, "s3", &self.region).authorize(&mut request, None);
            }
            let unreachable =
                |_| BlobError::Unreachable { place: self.place.clone(), why: "it does not answer".to_owned() };
            let response = self.http.execute(request).await.map_err(unreachable)?;
            let status = response.status().as_u16();
            let body = response.into_body().bytes().await.map_err(unreachable)?;
            let body = String::from_utf8_lossy(&body);
            if status != 200 {
                return match Told::of_answer(status, &body, &self.place) {
                    // Where a store has no such list, a rule of the bucket must end them.
                    Told::NotOffered(_) => Ok(Uploads::default()),
                    told => Err(told.or(|| BlobError::NoBucket { place: self.place.clone() })),
                };
            }
            uploads(&body).ok_or_else(|| answer("a list of uploads that cannot be read"))
        })
        .await
    }
}

/// A blob of the bucket, part by part.
pub(crate) struct ObjectSource<'a> {
    bucket: &'a Bucket,
    digest: Digest,
    at: u64,
    length_bytes: u64,
}

impl Source for ObjectSource<'_> {
    fn length_bytes(&self) -> u64 {
        self.length_bytes
    }

    fn take(&mut self, most_bytes: u64) -> Result<Bytes, BlobError> {
        let end = self.length_bytes.min(self.at.saturating_add(most_bytes));
        if self.at == end {
            return Ok(Bytes::new());
        }
        let remote = &self.bucket.remote;
        let piece = self.bucket.bridge.wait(remote.long_range(&self.digest, self.at..end, Vec::new()))?;
        self.at = end;
        Ok(piece)
    }
}

/// Bytes `range` of pieces that follow each other from `start`.
fn cut(pieces: &[Piece], start: u64, range: Range<u64>) -> Option<Bytes> {
    let (from, to) = (size_of(range.start - start), size_of(range.end - start));
    if let [piece] = pieces {
        return (to <= piece.bytes.len()).then(|| piece.bytes.slice(from..to));
    }
    let all = pieces.iter().map(|piece| &piece.bytes[..]).collect::<Vec<_>>().concat();
    (to <= all.len()).then(|| Bytes::from(all).slice(from..to))
}

/// Size of parts of a blob of this length.
fn part_bytes(length_bytes: u64) -> u64 {
    PART_BYTES.max(length_bytes.div_ceil(MOST_PARTS).next_multiple_of(1024 * 1024))
}

fn bare(tag: &str) -> &str {
    tag.trim_matches('"')
}

/// Whether an entity tag is that of these bytes, written by [`Remote::write`]: their MD5, or that of the MD5s of their
/// parts. Where a server makes tags in another way it never is, and bytes are written again.
fn is_tag_of(tag: &str, bytes: &[u8]) -> bool {
    if bytes.len() as u64 <= PART_BYTES {
        return bare(tag) == hex::encode(Md5::digest(bytes));
    }
    let parts = bytes.chunks(size_of(part_bytes(bytes.len() as u64)));
    let tags: Vec<String> = parts.map(|part| hex::encode(Md5::digest(part))).collect();
    tag_of_parts(&tags).is_some_and(|of_parts| bare(tag) == of_parts)
}

/// The entity tag that S3 gives an object of these parts.
fn tag_of_parts(tags: &[String]) -> Option<String> {
    let mut all = Md5::new();
    for tag in tags {
        all.update(hex::decode(bare(tag)).ok()?);
    }
    Some(format!("{}-{}", hex::encode(all.finalize()), tags.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_holds_a_bucket_and_a_prefix_and_nothing_else() {
        assert_eq!(parse("s3://blobs"), Some(("blobs", "")));
        assert_eq!(parse("s3://blobs/"), Some(("blobs", "")));
        assert_eq!(parse("s3://blobs.example/a/b_1/"), Some(("blobs.example", "a/b_1")));
        for other in [
            "",
            "blobs",
            "s3:/blobs",
            "s3://",
            "s3://ab",
            "s3://key:secret@blobs",
            "s3://blobs?x=1",
            "s3://blobs/../b",
            "s3://blobs//b",
            "s3://blobs/./b",
            "s3://blobs/a b",
            "s3://blobs/ä",
            "S3://blobs",
            "gs://blobs",
            "https://blobs/a",
        ] {
            assert_eq!(parse(other), None, "{other}");
        }
    }

    #[test]
    fn entity_tags_are_those_of_s3() {
        // Of the empty object and of one of two parts, as the AWS command line writes it (8 MiB parts).
        assert!(is_tag_of("\"d41d8cd98f00b204e9800998ecf8427e\"", b""));
        let bytes = vec![0; size_of(PART_BYTES) + 1];
        let first = hex::encode(Md5::digest(&bytes[1..]));
        let second = hex::encode(Md5::digest([0]));
        assert_eq!(
            (first.as_str(), second.as_str()),
            ("96995b58d4cbf6aaa9041b4f00c7f6ae", "93b885adfe0da089cdf634904fd59f71")
        );
        let both = hex::decode(format!("{first}{second}")).unwrap();
        assert!(is_tag_of(&format!("\"{}-2\"", hex::encode(Md5::digest(both))), &bytes));
        assert!(!is_tag_of(&first, &bytes));
    }

    #[test]
    fn no_blob_has_more_parts_than_s3_allows() {
        for length in [1, PART_BYTES + 1, 80 << 30, 5 << 40] {
            let part = part_bytes(length);
            assert!(length.div_ceil(part) <= MOST_PARTS && part >= PART_BYTES, "{length}: {part}");
        }
    }

    #[test]
    fn ranges_are_cut_out_of_blocks() {
        let piece = |bytes: &'static [u8]| Piece { bytes: Bytes::from_static(bytes), of_bytes: 6 };
        assert_eq!(cut(&[piece(b"abc")], 10, 11..13).unwrap(), "bc");
        assert_eq!(cut(&[piece(b"abc"), piece(b"def")], 10, 11..15).unwrap(), "bcde");
        assert_eq!(cut(&[piece(b"abc")], 10, 11..14), None);
    }
}
