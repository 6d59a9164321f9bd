//! What there is to serve: versions that passed the gate, grouped by data set.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use acequia_custody::Tier;
use acequia_gate::{Artefact, ExitSeal, GateVerifier, Manifest, Outbound, ReleasedFile, SealFile};
use acequia_types::{DatasetName, Digest, Timestamp};
use bytes::Bytes;

use crate::HubError;
use crate::admission::is_open;
use crate::http::percent_encoded;

/// Name of the manifest inside a version. It is served from the sealed manifest itself, not from the store.
pub(crate) const MANIFEST: &str = "manifest.json";

/// Who runs a node, as catalogues and harvesters name the publisher of its catalogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    /// Name of the organisation.
    pub name: String,
    /// An e-mail address or an `https://` page; empty when none is stated.
    pub contact: String,
}

/// Where the hub gets versions and bytes from. The node implements it over its store and blobs.
pub trait Catalogue: Send + Sync + 'static {
    /// Everything published at this moment. Called once per request, so it must be cheap: keep an `Arc` and replace it
    /// when a version is added. A request works on one shelf from start to end.
    fn shelf(&self) -> Arc<Shelf>;

    /// Who runs the node; `None` when it does not say.
    fn operator(&self) -> Option<Operator> {
        None
    }

    /// Where those who gave sign in, on this node; `None` when they cannot.
    fn donors_page(&self) -> Option<&'static str> {
        None
    }

    /// What other nodes of the network publish, in the order of their names. Called once per request of the page that shows it.
    fn neighbours(&self) -> Arc<Vec<Neighbour>> {
        Arc::default()
    }

    /// The bytes `range.start..range.end` of the content `sha256`. Called off the async threads, for at most
    /// [`crate::CHUNK_BYTES`] bytes at a time and only within the length that the manifest states.
    ///
    /// # Errors
    /// [`HubError::Missing`] or [`HubError::Unreadable`].
    fn read(&self, sha256: &Digest, range: Range<u64>) -> Result<Bytes, HubError>;

    /// What was worked out from the content `sha256` and kept by [`Catalogue::keep`], if it is there. Called off the async threads.
    fn kept(&self, _sha256: &Digest) -> Option<Bytes> {
        None
    }

    /// Keeps what was worked out from the content `sha256`, if there is a place for it: it can be worked out again at any time.
    fn keep(&self, _sha256: &Digest, _derived: &[u8]) {}

    /// Removes what was kept of contents that are not `wanted` any more.
    fn keep_only(&self, _wanted: &dyn Fn(&Digest) -> bool) {}
}

/// Another node of the network, and what it published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbour {
    /// Its name in the network.
    pub name: String,
    /// Its name for people.
    pub title: Option<String>,
    /// Where its pages are, `http(s)://host[:port]`.
    pub web: Option<String>,
    /// When it was last heard; `None` before it was.
    pub heard_at: Option<Timestamp>,
    /// Whether it told last what contradicts what it told before, which was refused.
    pub refused: bool,
    /// Its versions, newest first.
    pub versions: Vec<NeighbourVersion>,
}

/// A version of another node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NeighbourVersion {
    /// What it holds.
    pub artefact: Artefact,
    /// `namespace/name`.
    pub dataset: DatasetName,
    /// Version.
    pub version: String,
    /// Title, where its manifest is here.
    pub title: Option<String>,
    /// One sentence in plain words, where its manifest is here.
    pub summary: Option<String>,
    /// When it was published there.
    pub published_at: Timestamp,
    /// Whether it is served there and here.
    pub state: NeighbourState,
}

/// Where a version of another node is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NeighbourState {
    /// There.
    Known,
    /// There and here.
    Mirrored,
    /// Nowhere any more.
    TakenDown,
}

/// What the addresses of a kind of repository begin with.
pub fn plural(artefact: Artefact) -> &'static str {
    match artefact {
        Artefact::Dataset => "datasets",
        Artefact::Model => "models",
    }
}

/// The kind of repository that addresses beginning with this word are of.
pub fn artefact_of(plural: &str) -> Option<Artefact> {
    [Artefact::Dataset, Artefact::Model].into_iter().find(|artefact| self::plural(*artefact) == plural)
}

/// A version of a data set or model that went out through the gate.
///
/// It takes an [`Outbound`] manifest, which only `gate` makes, by letting a version out or by checking its exit seal:
///
/// ```compile_fail,E0308
/// use acequia_hub::PublishedVersion;
/// fn shelve(manifest: acequia_gate::Manifest, at: acequia_types::Timestamp) {
///     let _ = PublishedVersion::new(manifest, at);
/// }
/// ```
/// ```
/// use acequia_hub::PublishedVersion;
/// fn shelve(manifest: acequia_gate::Outbound<acequia_gate::Manifest>, at: acequia_types::Timestamp) {
///     let _ = PublishedVersion::new(manifest, at);
/// }
/// ```
///
/// Nor can one be built by hand:
///
/// ```compile_fail,E0451
/// use acequia_hub::PublishedVersion;
/// fn forge(good: PublishedVersion, at: acequia_types::Timestamp) -> PublishedVersion {
///     PublishedVersion { published_at: at, ..good }
/// }
/// ```
/// ```
/// use acequia_hub::PublishedVersion;
/// fn keep(good: PublishedVersion, at: acequia_types::Timestamp) -> PublishedVersion {
///     let _ = at; good
/// }
/// ```
#[derive(Debug)]
pub struct PublishedVersion {
    manifest: Outbound<Manifest>,
    published_at: Timestamp,
    digest: Digest,
    commit: String,
    manifest_bytes: Bytes,
    files: BTreeMap<String, ReleasedFile>,
    seal: Option<(String, String)>,
    taken_down: Option<TakenDownVersion>,
    mirrored: Option<Mirrored>,
}

/// That another node published a version, which is served here too: the same bytes under the same name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirrored {
    /// The node's name for people.
    pub by: String,
    /// Where its pages are, `http(s)://host[:port]`, if it says so.
    pub web: Option<String>,
    /// Since when it is served here.
    pub at: Timestamp,
}

/// That a version is not served any more. Its page stays and says so; its files are gone for readers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakenDownVersion {
    /// Since when.
    pub at: Timestamp,
    /// Why, as a sentence; a class of reasons that names nobody.
    pub reason: &'static str,
    /// The version in its place.
    pub successor: Option<String>,
}

impl PublishedVersion {
    /// A version and the instant its row was committed.
    pub fn new(manifest: Outbound<Manifest>, published_at: Timestamp) -> Self {
        let stated = manifest.get();
        let manifest_bytes = Bytes::from(stated.to_bytes());
        let digest = Digest::of(&manifest_bytes);
        let own = ReleasedFile::of(MANIFEST, &manifest_bytes);
        let files = stated.files.iter().chain([&own]).map(|file| (file.path.clone(), file.clone())).collect();
        Self {
            manifest,
            published_at,
            digest,
            commit: digest.short(40),
            manifest_bytes,
            files,
            seal: None,
            taken_down: None,
            mirrored: None,
        }
    }

    /// The same, of another node.
    #[must_use]
    pub fn mirrored(self, mirrored: Mirrored) -> Self {
        Self { mirrored: Some(mirrored), ..self }
    }

    /// Whose it is, if another node published it.
    pub(crate) fn origin(&self) -> Option<&Mirrored> {
        self.mirrored.as_ref()
    }

    /// The same, with the exit seal and the node's public key printed on its page for others to check.
    #[must_use]
    pub fn with_seal(self, seal: &ExitSeal, verifier: &GateVerifier) -> Self {
        Self { seal: Some((seal.as_str().to_owned(), verifier.to_hex())), ..self }
    }

    /// The same, not served any more.
    #[must_use]
    pub fn taken_down(self, taken_down: TakenDownVersion) -> Self {
        Self { taken_down: Some(taken_down), ..self }
    }

    /// Why it is not served any more, if it is not.
    pub(crate) fn tombstone(&self) -> Option<&TakenDownVersion> {
        self.taken_down.as_ref()
    }

    /// The statement that the version is.
    pub fn manifest(&self) -> &Manifest {
        self.manifest.get()
    }

    /// When it was published.
    pub fn published_at(&self) -> Timestamp {
        self.published_at
    }

    /// The 40 hex digits that Hub clients call a commit.
    pub fn commit(&self) -> &str {
        &self.commit
    }

    /// Digest of `manifest.json`.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// All files by path, `manifest.json` included.
    pub fn files(&self) -> &BTreeMap<String, ReleasedFile> {
        &self.files
    }

    /// The seal as a file, for whoever has a copy.
    pub(crate) fn seal_file(&self) -> Option<Bytes> {
        let (seal, key) = self.seal()?;
        Some(SealFile::new(self.digest, &ExitSeal::from_text(seal.to_owned()), key).to_bytes().into())
    }

    /// Exit seal (128 hex digits) and the node's public key (64 hex digits).
    pub(crate) fn seal(&self) -> Option<(&str, &str)> {
        self.seal.as_ref().map(|(seal, key)| (seal.as_str(), key.as_str()))
    }

    pub(crate) fn manifest_bytes(&self) -> &Bytes {
        &self.manifest_bytes
    }

    /// The tag of the version: its number after a `v`.
    pub(crate) fn tag(&self) -> String {
        format!("v{}", self.manifest().version.trim_start_matches('v'))
    }

    /// Who may read its rows.
    pub fn tier(&self) -> Tier {
        self.manifest().terms.tier()
    }

    /// Rows of all splits: people, as a released row is one person.
    pub(crate) fn people(&self) -> u64 {
        self.manifest().splits.iter().fold(0, |sum, (_, rows)| sum.saturating_add(*rows))
    }

    pub(crate) fn total_bytes(&self) -> u64 {
        self.files.values().fold(0, |sum, file| sum.saturating_add(file.bytes))
    }

    /// What it holds.
    pub(crate) fn artefact(&self) -> Artefact {
        self.manifest().artefact
    }

    /// Path of a file's bytes, which never change under it. Hub clients know files of models by their name alone.
    pub(crate) fn file_path(&self, path: &str) -> String {
        let path: Vec<String> = path.split('/').map(percent_encoded).collect();
        let kind = match self.artefact() {
            Artefact::Dataset => "/datasets",
            Artefact::Model => "",
        };
        format!("{kind}/{}/resolve/{}/{}", self.manifest().dataset, self.commit, path.join("/"))
    }

    /// Path of the repository's page.
    pub(crate) fn repository_path(&self) -> String {
        format!("/{}/{}", plural(self.artefact()), self.manifest().dataset)
    }
}

/// Files that Hub clients expect under their SHA-256 ("LFS" files): tables and models. The rest goes by git blob id.
pub(crate) fn is_large(file: &ReleasedFile) -> bool {
    [".parquet", ".onnx", ".safetensors"].iter().any(|ending| file.path.ends_with(ending))
}

/// The versions of one data set or model, oldest first. Never empty.
#[derive(Debug)]
pub(crate) struct Repository {
    versions: Vec<Arc<PublishedVersion>>,
}

impl Repository {
    pub(crate) fn versions(&self) -> &[Arc<PublishedVersion>] {
        &self.versions
    }

    /// The newest that is served; when none is, the newest.
    pub(crate) fn newest(&self) -> &Arc<PublishedVersion> {
        self.served().next_back().unwrap_or(&self.versions[self.versions.len() - 1])
    }

    /// The versions that are served, oldest first.
    pub(crate) fn served(&self) -> impl DoubleEndedIterator<Item = &Arc<PublishedVersion>> {
        self.versions.iter().filter(|version| version.tombstone().is_none())
    }

    /// Whether any version is served.
    pub(crate) fn is_served(&self) -> bool {
        self.newest().tombstone().is_none()
    }

    /// When anything about it last changed here: a version was published, mirrored or taken down. Never goes back.
    pub(crate) fn changed_at(&self) -> Timestamp {
        let taken_down = self.versions.iter().filter_map(|version| Some(version.tombstone()?.at));
        let mirrored = self.versions.iter().filter_map(|version| Some(version.origin()?.at));
        let all = self.versions.iter().map(|version| version.published_at()).chain(taken_down).chain(mirrored);
        all.max().unwrap_or(Timestamp::from_unix_s(0))
    }

    /// The version in the place of one that was taken down.
    pub(crate) fn successor(
        &self,
        down: &TakenDownVersion,
        version: &PublishedVersion,
    ) -> Option<&Arc<PublishedVersion>> {
        self.revision(down.successor.as_deref()?).filter(|other| other.commit() != version.commit())
    }

    /// The last served version before this one.
    pub(crate) fn before(&self, version: &PublishedVersion) -> Option<&Arc<PublishedVersion>> {
        let at = self.versions.iter().position(|other| other.commit() == version.commit())?;
        self.versions[..at].iter().rev().find(|version| version.tombstone().is_none())
    }

    /// What a client's revision means: `main` or `HEAD` (the newest), a tag `v1.0.0` or `1.0.0`, or a whole commit id.
    /// The start of a commit id is not accepted: it could come to mean another version later.
    pub(crate) fn revision(&self, revision: &str) -> Option<&Arc<PublishedVersion>> {
        if matches!(revision, "main" | "HEAD" | "refs/heads/main") {
            return Some(self.newest());
        }
        let name = revision.strip_prefix("refs/tags/").unwrap_or(revision);
        let bare = name.strip_prefix('v').unwrap_or(name);
        let tagged = |v: &&Arc<PublishedVersion>| v.manifest().version.trim_start_matches('v') == bare;
        self.versions.iter().find(tagged).or_else(|| self.versions.iter().find(|v| v.commit() == revision))
    }
}

/// Repositories of one kind by name.
#[derive(Debug, Default)]
struct Collection {
    all: BTreeMap<String, Repository>,
    /// Those of which a version is served.
    served: usize,
}

/// Everything published at one moment: an immutable index, built when something is published.
#[derive(Debug)]
pub struct Shelf {
    datasets: Collection,
    models: Collection,
    /// Versions that are served.
    served_versions: usize,
    /// Where a file is first found, by its content.
    files: BTreeMap<Digest, (Arc<PublishedVersion>, String)>,
    /// Served versions by commit.
    commits: BTreeMap<String, Arc<PublishedVersion>>,
    fingerprint: Digest,
}

impl Default for Shelf {
    fn default() -> Self {
        let fingerprint = Digest::of(b"");
        Self {
            datasets: Collection::default(),
            models: Collection::default(),
            served_versions: 0,
            files: BTreeMap::new(),
            commits: BTreeMap::new(),
            fingerprint,
        }
    }
}

impl Shelf {
    /// Puts versions in order: by data set or model, then by time of publishing, then by version number.
    ///
    /// # Errors
    /// [`HubError::TwoManifests`] when two different manifests claim the same version;
    /// [`HubError::Path`] when a manifest lists a path that is absolute, empty, or climbs out of its folder.
    pub fn of(versions: impl IntoIterator<Item = Arc<PublishedVersion>>) -> Result<Self, HubError> {
        let (mut datasets, mut models) = (Collection::default(), Collection::default());
        for version in versions {
            let manifest = version.manifest();
            if let Some(at) = manifest.files.iter().position(|file| !file.is_plain()) {
                let dataset = manifest.dataset.to_string();
                return Err(HubError::Path { dataset, version: manifest.version.clone(), position: at + 1 });
            }
            let collection = match version.artefact() {
                Artefact::Dataset => &mut datasets,
                Artefact::Model => &mut models,
            };
            let entry = collection.all.entry(manifest.dataset.to_string());
            let repository = entry.or_insert_with(|| Repository { versions: Vec::new() });
            match repository.versions.iter().find(|other| other.tag() == version.tag()) {
                Some(same) if same.digest() == version.digest() => continue,
                Some(_) => {
                    let dataset = manifest.dataset.to_string();
                    return Err(HubError::TwoManifests { dataset, version: manifest.version.clone() });
                }
                None => repository.versions.push(version),
            }
        }
        for repository in datasets.all.values_mut().chain(models.all.values_mut()) {
            repository.versions.sort_by(|a, b| {
                let numbers = || version_order(&a.manifest().version, &b.manifest().version);
                a.published_at.cmp(&b.published_at).then_with(numbers)
            });
        }
        let mut files = BTreeMap::new();
        let mut commits = BTreeMap::new();
        let mut listed = String::new();
        let all = || datasets.all.values().chain(models.all.values());
        for version in all().flat_map(|repository| &repository.versions) {
            let down = version.tombstone().is_some();
            listed.push_str(&format!("{} {} {down}\n", version.digest, version.published_at));
            if down {
                continue;
            }
            commits.insert(version.commit.clone(), version.clone());
            for (path, file) in &version.files {
                let found = files.entry(file.sha256).or_insert_with(|| (version.clone(), path.clone()));
                // The same bytes may be open in one version and not in another.
                if !is_open(&found.0, &found.1) && is_open(version, path) {
                    *found = (version.clone(), path.clone());
                }
            }
        }
        let served_versions = all().map(|repository| repository.served().count()).sum();
        for collection in [&mut datasets, &mut models] {
            collection.served = collection.all.values().filter(|repository| repository.is_served()).count();
        }
        let fingerprint = Digest::of(listed.as_bytes());
        Ok(Self { datasets, models, served_versions, files, commits, fingerprint })
    }

    /// Tells shelves with other versions apart.
    pub(crate) fn fingerprint(&self) -> Digest {
        self.fingerprint
    }

    /// The first served version that holds a file of this content, and the file's path in it.
    pub(crate) fn file(&self, sha256: &Digest) -> Option<(&Arc<PublishedVersion>, &str)> {
        self.files.get(sha256).map(|(version, path)| (version, path.as_str()))
    }

    /// How many different files.
    pub(crate) fn files(&self) -> usize {
        self.files.len()
    }

    /// The version of a commit.
    pub(crate) fn commit(&self, commit: &str) -> Option<&Arc<PublishedVersion>> {
        self.commits.get(commit)
    }

    fn of_kind(&self, artefact: Artefact) -> &Collection {
        match artefact {
            Artefact::Dataset => &self.datasets,
            Artefact::Model => &self.models,
        }
    }

    /// The data set or model of this name.
    pub(crate) fn repository(&self, artefact: Artefact, namespace: &str, name: &str) -> Option<&Repository> {
        self.of_kind(artefact).all.get(&format!("{namespace}/{name}"))
    }

    /// Whether a version of this name is or was served.
    pub fn holds(&self, artefact: Artefact, name: &DatasetName) -> bool {
        self.of_kind(artefact).all.contains_key(&name.to_string())
    }

    /// The versions of this name that are served, oldest first.
    pub fn versions_of(&self, artefact: Artefact, name: &DatasetName) -> impl Iterator<Item = &Arc<PublishedVersion>> {
        self.of_kind(artefact).all.get(&name.to_string()).into_iter().flat_map(Repository::served)
    }

    pub(crate) fn dataset(&self, namespace: &str, name: &str) -> Option<&Repository> {
        self.repository(Artefact::Dataset, namespace, name)
    }

    /// Data sets or models of which a version is served, in the order of their names.
    pub(crate) fn repositories(&self, artefact: Artefact) -> impl Iterator<Item = &Repository> {
        self.of_kind(artefact).all.values().filter(|repository| repository.is_served())
    }

    /// Data sets of which a version is served, in the order of their names.
    pub(crate) fn datasets(&self) -> impl Iterator<Item = &Repository> {
        self.repositories(Artefact::Dataset)
    }

    /// Data sets or models of which a version is or was served, in the order of their names.
    pub(crate) fn repositories_ever(&self, artefact: Artefact) -> impl Iterator<Item = &Repository> {
        self.of_kind(artefact).all.values()
    }

    /// Every version that is served: data sets, then models, oldest first.
    pub fn served(&self) -> impl Iterator<Item = &Arc<PublishedVersion>> {
        self.datasets.all.values().chain(self.models.all.values()).flat_map(Repository::served)
    }

    /// How many models are served.
    pub(crate) fn models(&self) -> usize {
        self.models.served
    }

    /// How many versions are served.
    pub(crate) fn served_versions(&self) -> usize {
        self.served_versions
    }

    /// How many data sets are served.
    pub fn len(&self) -> usize {
        self.datasets.served
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.datasets.served == 0
    }
}

/// Compares `1.10.0` after `1.9.0`: part by part, numbers as numbers.
fn version_order(a: &str, b: &str) -> Ordering {
    let parts = |text: &str| -> Vec<(u64, String)> {
        text.trim_start_matches('v').split('.').map(|part| (part.parse().unwrap_or(0), part.to_owned())).collect()
    };
    parts(a).cmp(&parts(b))
}
