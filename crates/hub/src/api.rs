//! The read side of the Hub's JSON interface for data sets and models, as `huggingface_hub`, `datasets` and `@huggingface/hub`
//! call it.

use std::borrow::Cow;
use std::collections::btree_map::Range;
use std::collections::{BTreeMap, BTreeSet};
use std::iter::Peekable;

use acequia_gate::{Artefact, ReleasedFile};
use acequia_types::{Digest, Timestamp};
use acequia_xet::XetHash;
use axum::body::Body;
use axum::http::{HeaderMap, Response, header};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::catalogue::{Repository, is_large, plural};
use crate::facts::Brief;
use crate::http::{Fields, REPO_COMMIT, fresh, iso_ms, json_bytes, percent_encoded, put};
use crate::openapi::is_truth;
use crate::refusal::Refusal;
use crate::search::{Facet, Order, Place, Query};
use crate::{PublishedVersion, admission};

/// Entries on a page of a tree, and with `expand`.
const TREE_PAGE: usize = 1000;
const TREE_PAGE_EXPANDED: usize = 50;
/// Data sets on a page of the listing, unless `limit` asks for another number up to the second.
const LIST_PAGE: usize = 100;
const LIST_PAGE_LONGEST: usize = 1000;

/// An answer 200 of JSON about a version, if any.
pub(crate) fn answer(request: &HeaderMap, value: &Value, version: Option<&PublishedVersion>) -> Response<Body> {
    answer_at(request, value, version.map(PublishedVersion::commit))
}

/// An answer 200 of JSON about a commit, if any.
pub fn answer_at(request: &HeaderMap, value: &impl Serialize, commit: Option<&str>) -> Response<Body> {
    let mut response = fresh(request, "application/json", json_bytes(value));
    if let Some(commit) = commit {
        put(response.headers_mut(), REPO_COMMIT, commit);
    }
    response
}

/// A repository at one commit, as Hub clients see it.
pub trait Snapshot {
    /// What the repository holds.
    fn artefact(&self) -> Artefact;
    /// `namespace/name`.
    fn name(&self) -> String;
    /// The 40 hex digits of the commit.
    fn commit(&self) -> &str;
    /// All files by path.
    fn files(&self) -> &BTreeMap<String, ReleasedFile>;
    /// Whether clients are to know this file by its SHA-256, as they do with large ones.
    fn is_large(&self, file: &ReleasedFile) -> bool;
    /// What brought the present content of a file, or of a folder.
    fn last_change(&self, path: &str, is_folder: bool) -> Change;

    /// The hash by which who asks can read a file by Xet, if so.
    fn xet_hash(&self, _file: &ReleasedFile) -> Option<XetHash> {
        None
    }

    /// Whether `folder` (no slashes at its ends) holds a file at any depth. The root always does.
    fn has_folder(&self, folder: &str) -> bool {
        let prefix = format!("{folder}/");
        folder.is_empty()
            || self.files().range(prefix.clone()..).next().is_some_and(|(path, _)| path.starts_with(&prefix))
    }
}

/// A commit, as lists of files name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// 40 hex digits.
    pub commit: String,
    /// One line.
    pub title: String,
    /// When.
    pub at: Timestamp,
}

/// A published version with those before it.
pub(crate) struct Versioned<'a> {
    pub(crate) dataset: &'a Repository,
    pub(crate) version: &'a PublishedVersion,
}

impl Snapshot for Versioned<'_> {
    fn artefact(&self) -> Artefact {
        self.version.artefact()
    }

    fn name(&self) -> String {
        self.version.manifest().dataset.to_string()
    }

    fn commit(&self) -> &str {
        self.version.commit()
    }

    fn files(&self) -> &BTreeMap<String, ReleasedFile> {
        self.version.files()
    }

    fn is_large(&self, file: &ReleasedFile) -> bool {
        is_large(file)
    }

    fn last_change(&self, path: &str, is_folder: bool) -> Change {
        let now = self.version.files().get(path).map(|file| file.sha256);
        let folder = is_folder.then(|| folder_oid(self.version.files(), path));
        let same = |other: &PublishedVersion| match &folder {
            Some(folder) => folder_oid(other.files(), path) == *folder,
            None => other.files().get(path).map(|old| old.sha256) == now,
        };
        let until = history(self.dataset, self.version);
        let last = until.into_iter().take_while(|other| same(other)).last().unwrap_or(self.version);
        Change { commit: last.commit().to_owned(), title: title(last), at: last.published_at() }
    }
}

/// `GET /api/{kind}/{namespace}/{name}[/revision/{revision}]`.
pub(crate) fn info(dataset: &Repository, version: &PublishedVersion, brief: &Brief, query: &Fields) -> Value {
    let mut all = described(dataset, version, brief);
    with_files(&mut all, &Versioned { dataset, version }, query);
    Value::Object(all)
}

/// `GET /api/{kind}/{namespace}/{name}[/revision/{revision}]` of what no manifest describes.
pub fn info_of(about: &About<'_>, at: &impl Snapshot, query: &Fields) -> Value {
    let mut all = fields(about);
    with_files(&mut all, at, query);
    Value::Object(all)
}

/// Adds the files, and leaves out what was not asked for.
fn with_files(all: &mut Map<String, Value>, at: &impl Snapshot, query: &Fields) {
    let wanted: BTreeSet<&str> = query.all("expand").chain(query.all("expand[]")).collect();
    let is_detailed = query.is_true("blobs");
    let siblings = at.files().values().map(|file| sibling(file, at.is_large(file), is_detailed)).collect();
    all.insert("siblings".to_owned(), siblings);
    let bytes = at.files().values().fold(0u64, |sum, file| sum.saturating_add(file.bytes));
    all.insert("usedStorage".to_owned(), Value::from(bytes));
    if !wanted.is_empty() {
        all.retain(|key, _| matches!(key.as_str(), "_id" | "id") || wanted.contains(key.as_str()));
    }
}

/// What listings say about a repository.
pub struct About<'a> {
    /// `namespace/name`.
    pub name: &'a str,
    /// The commit it is about.
    pub commit: &'a str,
    /// When the repository was made.
    pub created_at: Timestamp,
    /// When the commit was made.
    pub modified_at: Timestamp,
    /// Whether only some may see it.
    pub private: bool,
    /// Whether only some may read its rows: `false`, `"auto"` for who promises, `"manual"` for whom people decided for.
    pub gated: Value,
    /// Tags that listings are filtered by.
    pub tags: &'a [String],
    /// One or two sentences.
    pub description: &'a str,
    /// Front matter of the card.
    pub card: Value,
    /// What it holds.
    pub artefact: Artefact,
    /// Numbers of a model of the program itself, which all are of 64 bits.
    pub parameters: Option<u64>,
}

/// The fields of a data set that listings give too.
fn described(dataset: &Repository, version: &PublishedVersion, brief: &Brief) -> Map<String, Value> {
    let manifest = version.manifest();
    fields(&About {
        name: &manifest.dataset.to_string(),
        commit: version.commit(),
        created_at: dataset.versions()[0].published_at(),
        modified_at: version.published_at(),
        private: false,
        gated: admission::gated(version),
        tags: &brief.tags,
        description: &manifest.summary,
        card: card(version, brief),
        artefact: version.artefact(),
        parameters: brief.parameters,
    })
}

fn fields(about: &About<'_>) -> Map<String, Value> {
    let fields = json!({
        "_id": Digest::of(about.name.as_bytes()).short(24),
        "id": about.name,
        "author": about.name.split('/').next(),
        "sha": about.commit,
        "createdAt": iso_ms(about.created_at),
        "lastModified": iso_ms(about.modified_at),
        "private": about.private,
        "gated": about.gated,
        "disabled": false,
        // Neither is counted: a node keeps no record of its readers.
        "downloads": 0,
        "likes": 0,
        "tags": about.tags,
        "description": about.description,
        "cardData": about.card,
    });
    let mut fields = match fields {
        Value::Object(map) => map,
        _ => Map::new(),
    };
    if about.artefact == Artefact::Model {
        fields.insert("modelId".to_owned(), about.name.into());
        for key in ["pipeline_tag", "library_name"] {
            if let Some(value) = about.card.get(key) {
                fields.insert(key.to_owned(), value.clone());
            }
        }
        if let Some(numbers) = about.parameters {
            fields.insert("safetensors".to_owned(), json!({ "parameters": { "F64": numbers }, "total": numbers }));
        }
    }
    fields
}

/// The card's front matter; when it has none, what the manifest says.
fn card(version: &PublishedVersion, brief: &Brief) -> Value {
    if !brief.card.is_empty() {
        return Value::Object(brief.card.clone());
    }
    let manifest = version.manifest();
    json!({ "license": manifest.license.to_lowercase(), "pretty_name": manifest.title })
}

fn sibling(file: &ReleasedFile, is_large: bool, blobs: bool) -> Value {
    let mut sibling = json!({ "rfilename": file.path });
    if blobs {
        sibling["size"] = Value::from(file.bytes);
        sibling["blobId"] = Value::from(file.git_oid.clone());
        if is_large {
            sibling["lfs"] = json!({
                "sha256": file.sha256.to_string(), "size": file.bytes, "pointerSize": pointer_bytes(file)
            });
        }
    }
    sibling
}

/// Length of the text that git-lfs would keep in the repository instead of the file (git-lfs specification, "The
/// Pointer").
fn pointer_bytes(file: &ReleasedFile) -> usize {
    const FIXED: usize = "version https://git-lfs.github.com/spec/v1\noid sha256:\nsize \n".len();
    const HEX_DIGITS: usize = 64;
    FIXED + HEX_DIGITS + file.bytes.checked_ilog10().map_or(1, |digits| digits as usize + 1)
}

/// `GET /api/{kind}/{id}/tree/{revision}[/{folder}]`.
///
/// # Errors
/// [`Refusal::Entry`] when there is no such folder: clients create what is reported missing, but trip over an empty list.
pub fn tree(
    request: &HeaderMap,
    at: &impl Snapshot,
    folder: &str,
    query: &Fields,
    address: &str,
) -> Result<Response<Body>, Refusal> {
    let folder = folder.trim_matches('/');
    if !at.has_folder(folder) {
        return Err(Refusal::Entry { commit: at.commit().to_owned() });
    }
    let (recursive, expand) = (query.is_true("recursive"), query.is_true("expand"));
    let longest = if expand { TREE_PAGE_EXPANDED } else { TREE_PAGE };
    let limit = query.number("limit").unwrap_or(longest).clamp(1, longest);
    let mut entries = Entries::behind(at.files(), folder, recursive, query.get("cursor").unwrap_or_default());
    let (mut page, mut last) = (Vec::new(), String::new());
    for entry in entries.by_ref().take(limit) {
        last = entry.place();
        page.push(entry);
    }
    let told: Vec<Told<'_>> = page.iter().map(|entry| entry.told(at, expand)).collect();
    let mut response = fresh(request, "application/json", serde_json::to_vec(&told).unwrap_or_default());
    put(response.headers_mut(), REPO_COMMIT, at.commit());
    if entries.next().is_some() {
        // The next page names the commit, so that a version published meanwhile does not mix into the list.
        let folder: String =
            folder.split('/').filter(|p| !p.is_empty()).map(|p| format!("/{}", percent_encoded(p))).collect();
        let next = format!(
            "{address}/api/{}/{}/tree/{}{folder}?recursive={recursive}&expand={expand}&limit={limit}&cursor={}",
            plural(at.artefact()),
            at.name(),
            at.commit(),
            percent_encoded(&last),
        );
        put(response.headers_mut(), header::LINK, &format!("<{next}>; rel=\"next\""));
    }
    Ok(response)
}

/// Most paths that one question is answered for.
const MOST_PATHS: usize = 1_000;

/// `POST /api/{kind}/{id}/paths-info/{revision}`: what is there of `paths`; what is not there is left out.
pub fn paths_info(at: &impl Snapshot, paths: &[String], expand: bool) -> Value {
    let mut seen = BTreeSet::new();
    let different = paths.iter().map(|path| path.trim_matches('/')).filter(|path| seen.insert(*path));
    let found = different.take(MOST_PATHS).filter_map(|path| {
        if let Some(file) = at.files().get(path) {
            Some(Entry::File(file))
        } else if !path.is_empty() && at.has_folder(path) {
            Some(Entry::Folder(path.to_owned()))
        } else {
            None
        }
    });
    found.map(|entry| serde_json::to_value(entry.told(at, expand)).unwrap_or_default()).collect()
}

/// Reads the body of `paths-info`, JSON or form.
///
/// # Errors
/// [`Refusal::Bad`] when it is neither.
pub fn wanted_paths(content_type: &str, body: &[u8]) -> Result<(Vec<String>, bool), Refusal> {
    const BAD: Refusal = Refusal::Bad { what: "The body must be a form or a JSON object with `paths`." };
    const MANY: Refusal = Refusal::Bad { what: "Ask for at most 1,000 paths at a time." };
    let text = std::str::from_utf8(body).map_err(|_| BAD)?;
    if !content_type.trim_start().to_ascii_lowercase().starts_with("application/json") {
        let fields = Fields::parse(text);
        if text.trim().is_empty() || !fields.all("expand").all(is_truth) {
            return Err(BAD);
        }
        let paths: Vec<String> = fields.all("paths").map(str::to_owned).collect();
        return if paths.len() > MOST_PATHS { Err(MANY) } else { Ok((paths, fields.is_true("expand"))) };
    }
    let body: Value = serde_json::from_str(text).map_err(|_| BAD)?;
    let paths = match body.get("paths") {
        Some(Value::String(one)) => vec![one.clone()],
        Some(Value::Array(many)) => many.iter().filter_map(|path| path.as_str().map(str::to_owned)).collect(),
        _ => return Err(BAD),
    };
    if paths.len() > MOST_PATHS {
        return Err(MANY);
    }
    Ok((paths, body.get("expand").and_then(Value::as_bool).unwrap_or(false)))
}

/// One line of a tree.
enum Entry<'a> {
    File(&'a ReleasedFile),
    Folder(String),
}

/// What lies in a folder, folders and files in the order of git trees, in which a folder's name ends with a slash. Nothing before the
/// place where it begins is looked at.
struct Entries<'a> {
    files: Peekable<Range<'a, String, ReleasedFile>>,
    all: &'a BTreeMap<String, ReleasedFile>,
    /// Of the folder, with its slash; empty for the root.
    prefix: String,
    recursive: bool,
    /// The place of the entry before.
    before: String,
}

impl<'a> Entries<'a> {
    /// Those behind a place: all of them where it is empty.
    fn behind(all: &'a BTreeMap<String, ReleasedFile>, folder: &str, recursive: bool, place: &str) -> Self {
        let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let before = if place.starts_with(&prefix) { place.to_owned() } else { prefix.clone() };
        let mut entries = Self { files: all.range(before.clone()..).peekable(), all, prefix, recursive, before };
        if !recursive {
            entries.leave();
        }
        entries
    }

    /// Goes behind everything in the folder that was told last, if it was one.
    fn leave(&mut self) {
        if self.before.len() > self.prefix.len()
            && let Some(folder) = self.before.strip_suffix('/')
        {
            // `0` comes right behind the slash.
            self.files = self.all.range(format!("{folder}0")..).peekable();
        }
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        while self.files.peek().is_some_and(|(path, _)| **path == self.before) {
            self.files.next();
        }
        let (path, file) = *self.files.peek()?;
        let inside = path.strip_prefix(self.prefix.as_str())?;
        // The first folder on the way to the file that was not told yet.
        let mut folders = inside.match_indices('/').map(|(at, _)| &path[..=self.prefix.len() + at]);
        let new = match self.recursive {
            true => folders.find(|folder| !self.before.starts_with(*folder)),
            false => folders.next(),
        };
        match new {
            Some(folder) => {
                self.before = folder.to_owned();
                if !self.recursive {
                    self.leave();
                }
                Some(Entry::Folder(folder.trim_end_matches('/').to_owned()))
            }
            None => {
                self.before.clone_from(path);
                self.files.next();
                Some(Entry::File(file))
            }
        }
    }
}

impl Entry<'_> {
    /// Where it stands in the order of [`Entries`].
    fn place(&self) -> String {
        match self {
            Self::File(file) => file.path.clone(),
            Self::Folder(path) => format!("{path}/"),
        }
    }

    fn told(&self, at: &impl Snapshot, expand: bool) -> Told<'_> {
        let last = |path: &str, is_folder| expand.then(|| LastCommit::from(at.last_change(path, is_folder)));
        match self {
            Self::File(file) => Told {
                kind: "file",
                oid: Cow::Borrowed(&file.git_oid),
                size: file.bytes,
                path: &file.path,
                lfs: at.is_large(file).then(|| Lfs::of(file)),
                xet_hash: at.xet_hash(file).map(|hash| hash.to_string()),
                last_commit: last(&file.path, false),
            },
            Self::Folder(path) => Told {
                kind: "directory",
                oid: Cow::Owned(folder_oid(at.files(), path)),
                size: 0,
                path,
                lfs: None,
                xet_hash: None,
                last_commit: last(path, true),
            },
        }
    }
}

/// A line of a tree as clients read it. It is written as it is made: a page may have a thousand of them.
#[derive(Serialize)]
struct Told<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    oid: Cow<'a, str>,
    size: u64,
    path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    lfs: Option<Lfs>,
    #[serde(rename = "xetHash", skip_serializing_if = "Option::is_none")]
    xet_hash: Option<String>,
    #[serde(rename = "lastCommit", skip_serializing_if = "Option::is_none")]
    last_commit: Option<LastCommit>,
}

/// What git-lfs would know of a file.
#[derive(Serialize)]
struct Lfs {
    oid: Digest,
    size: u64,
    #[serde(rename = "pointerSize")]
    pointer_bytes: usize,
}

impl Lfs {
    fn of(file: &ReleasedFile) -> Self {
        Self { oid: file.sha256, size: file.bytes, pointer_bytes: pointer_bytes(file) }
    }
}

#[derive(Serialize)]
struct LastCommit {
    id: String,
    title: String,
    date: String,
}

impl From<Change> for LastCommit {
    fn from(change: Change) -> Self {
        Self { id: change.commit, title: change.title, date: iso_ms(change.at) }
    }
}

/// An id of a folder's content, in the shape of a git tree id.
fn folder_oid(files: &BTreeMap<String, ReleasedFile>, folder: &str) -> String {
    let prefix = format!("{folder}/");
    let inside = files.range(prefix.clone()..).take_while(|(path, _)| path.starts_with(&prefix));
    let listing: String = inside.map(|(path, file)| format!("{path}\0{}\n", file.sha256)).collect();
    Digest::of(listing.as_bytes()).short(40)
}

/// `version` and those before it, newest first.
fn history<'v>(dataset: &'v Repository, version: &'v PublishedVersion) -> Vec<&'v PublishedVersion> {
    let versions = dataset.versions();
    let at = versions.iter().position(|other| other.commit() == version.commit()).unwrap_or(0);
    versions[..=at].iter().rev().map(|version| &**version).collect()
}

fn title(version: &PublishedVersion) -> String {
    let down = if version.tombstone().is_some() { ", not served any more" } else { "" };
    format!("Version {}{down}", version.manifest().version)
}

/// `GET /api/{kind}/{id}/refs`.
pub(crate) fn refs(dataset: &Repository, query: &Fields) -> Value {
    let tag = |version: &PublishedVersion| {
        let name = version.tag();
        json!({ "name": name, "ref": format!("refs/tags/{name}"), "targetCommit": version.commit() })
    };
    let tags: Value = dataset.served().map(|version| tag(version)).collect();
    let main = json!({ "name": "main", "ref": "refs/heads/main", "targetCommit": dataset.newest().commit() });
    let mut refs = json!({ "branches": [main], "converts": [], "tags": tags });
    if query.is_true("include_prs") {
        refs["pullRequests"] = json!([]);
    }
    refs
}

/// `GET /api/{kind}/{id}/commits/{revision}`: one per version, newest first. Those that are not served any more say so in
/// the title, which clients show, and since when.
pub(crate) fn commits(dataset: &Repository, version: &PublishedVersion) -> Value {
    let commit = |version: &PublishedVersion| {
        let mut commit = json!({
            "id": version.commit(), "title": title(version), "message": version.manifest().summary,
            "authors": [{ "user": version.manifest().dataset.namespace() }], "date": iso_ms(version.published_at()),
        });
        if let Some(down) = version.tombstone() {
            commit["takenDown"] = json!({ "at": iso_ms(down.at), "reason": down.reason, "successor": down.successor });
        }
        commit
    };
    history(dataset, version).into_iter().map(commit).collect()
}

/// Which page of a listing is wanted: its query, where it begins, and how many entries it has.
///
/// # Errors
/// [`Refusal::Bad`] when `cursor` is none that a page gave out.
pub(crate) fn wanted_page(query: &Fields) -> Result<(Query, usize), Refusal> {
    let words: Vec<&str> = query.all("search").collect();
    // What a repository is for, and which library reads it, are tags too. Nothing here is run for others: no tag says so, and whoever
    // asks for what is run gets nothing.
    let tags = ["filter", "pipeline_tag", "library", "inference", "inference_provider", "apps", "num_parameters"];
    let filters = tags.into_iter().flat_map(|name| query.all(name)).flat_map(|filter| filter.split(','));
    let filters = filters.filter(|filter| !filter.is_empty());
    let author = query.get("author").map(|author| (Facet::Publisher, author.to_owned()));
    let gated = match query.get("gated") {
        Some("true" | "True" | "1") => Some(true),
        Some("false" | "False" | "0") => Some(false),
        _ => None,
    };
    let tiers = gated.into_iter().flat_map(admission::meant).map(|words| (Facet::Access, words.to_owned()));
    let order = match query.get("sort").unwrap_or("lastModified") {
        "createdAt" | "created_at" => Order::Created,
        "lastModified" | "last_modified" => Order::Published,
        _ => Order::Name,
    };
    let wanted = Query {
        words: words.join(" "),
        in_names: true,
        chosen: author.into_iter().chain(tiers).collect(),
        tags: filters.map(str::to_owned).collect(),
        order,
        reverse: query.get("direction") == Some("1"),
        after: query.get("cursor").map(place).transpose()?,
    };
    let limit = query.number("limit").unwrap_or(LIST_PAGE).clamp(1, LIST_PAGE_LONGEST);
    Ok((wanted, limit))
}

/// Reads a cursor of [`listing`].
fn place(cursor: &str) -> Result<Place, Refusal> {
    const BAD: Refusal = Refusal::Bad { what: "cursor must be taken from the header Link of the page before." };
    let (at_s, name) = cursor.split_once('~').ok_or(BAD)?;
    Ok(Place { at_s: at_s.parse().map_err(|_| BAD)?, name: name.to_owned() })
}

/// `GET /api/{kind}`: a page of a listing, linked to the one that begins behind `next`.
pub(crate) fn listing(
    request: &HeaderMap,
    shown: &[(&Repository, std::sync::Arc<Brief>)],
    next: Option<&Place>,
    query: &Fields,
    raw_query: &str,
    (address, artefact): (&str, Artefact),
) -> Response<Body> {
    let full = query.is_true("full");
    let wanted: BTreeSet<&str> = query.all("expand").collect();
    let page = shown.iter().map(|(dataset, brief)| {
        let version = dataset.newest();
        if !wanted.is_empty() {
            return info(dataset, version, brief, query);
        }
        let mut entry = described(dataset, version, brief);
        if full {
            entry.insert(
                "siblings".to_owned(),
                version.files().values().map(|file| sibling(file, is_large(file), false)).collect(),
            );
        } else {
            entry.remove("cardData");
        }
        Value::Object(entry)
    });
    let mut response = answer(request, &page.collect(), None);
    if let Some(place) = next {
        let same = |part: &&str| !part.is_empty() && !part.starts_with("cursor=");
        let mut next: Vec<&str> = raw_query.split('&').filter(same).collect();
        let cursor = format!("cursor={}~{}", place.at_s, percent_encoded(&place.name));
        next.push(&cursor);
        let link = format!("<{address}/api/{}?{}>; rel=\"next\"", plural(artefact), next.join("&"));
        put(response.headers_mut(), header::LINK, &link);
    }
    response
}

/// `GET /api/datasets/{id}/croissant`: the version's Croissant document with the addresses of this node in place of
/// paths, as `mlcroissant` resolves none against the document's own address.
pub(crate) fn croissant(bytes: &[u8], version: &PublishedVersion, address: &str) -> Option<Value> {
    let mut document: Value = serde_json::from_slice(bytes).ok()?;
    for file in document.get_mut("distribution")?.as_array_mut()? {
        let Some(path) = file.get("contentUrl").and_then(Value::as_str).map(str::to_owned) else { continue };
        if version.files().contains_key(&path) {
            file["contentUrl"] = Value::from(format!("{address}{}", version.file_path(&path)));
        }
    }
    document["url"] = Value::from(format!("{address}/datasets/{}", version.manifest().dataset));
    Some(document)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The same by making the whole list.
    fn naive(files: &BTreeMap<String, ReleasedFile>, folder: &str, recursive: bool) -> BTreeSet<String> {
        let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let mut all = BTreeSet::new();
        for path in files.keys() {
            let Some(inside) = path.strip_prefix(&prefix) else { continue };
            let mut folders = inside.match_indices('/').map(|(at, _)| path[..=prefix.len() + at].to_owned());
            match folders.next() {
                Some(first) if !recursive => all.extend([first]),
                first => all.extend(first.into_iter().chain(folders).chain([path.clone()])),
            }
        }
        all
    }

    #[test]
    fn a_pointer_is_as_long_as_git_lfs_writes_it() {
        for bytes in [0, 9, 10, 12_345, u64::MAX] {
            let file = ReleasedFile { bytes, ..ReleasedFile::of("a", b"") };
            let spec =
                format!("version https://git-lfs.github.com/spec/v1\noid sha256:{}\nsize {bytes}\n", file.sha256);
            assert_eq!(pointer_bytes(&file), spec.len(), "{bytes}");
        }
    }

    proptest! {
        #[test]
        fn pages_of_a_tree_are_the_tree(
            paths in prop::collection::btree_set("[a.0]{1,2}(/[a.0]{1,2}){0,3}", 0..12),
            folder in prop::sample::select(vec!["", "a", "a/a", "0", "a.", "none"]),
            recursive in any::<bool>(),
            limit in 1..5_usize,
        ) {
            // A name is a file or a folder.
            let is_folder = |path: &str| paths.iter().any(|other| other.starts_with(&format!("{path}/")));
            let files: BTreeMap<String, ReleasedFile> = paths
                .iter()
                .filter(|path| !is_folder(path))
                .map(|path| (path.clone(), ReleasedFile::of(path, b"")))
                .collect();
            let (mut all, mut place) = (Vec::new(), String::new());
            loop {
                let mut entries = Entries::behind(&files, folder, recursive, &place);
                let page: Vec<String> = entries.by_ref().take(limit).map(|entry| entry.place()).collect();
                place = page.last().cloned().unwrap_or_default();
                all.extend(page);
                if entries.next().is_none() {
                    break;
                }
            }
            prop_assert_eq!(all, naive(&files, folder, recursive).into_iter().collect::<Vec<_>>());
        }

        #[test]
        fn a_tree_begins_behind_any_place(
            paths in prop::collection::btree_set("[a.]{1,2}(/[a.]{1,2}){0,2}", 0..8), place in "[a./]{0,6}", recursive in any::<bool>(),
        ) {
            let files: BTreeMap<String, ReleasedFile> =
                paths.iter().map(|path| (path.clone(), ReleasedFile::of(path, b""))).collect();
            prop_assert!(Entries::behind(&files, "a", recursive, &place).count() < 50);
        }
    }
}
