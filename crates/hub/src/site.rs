//! Which address is answered by what.

use std::sync::{Arc, LazyLock};

use acequia_custody::Tier;
use acequia_gate::{Artefact, ReleasedFile, SEAL_FILE};
use acequia_types::{Clock, Digest, SystemClock};
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, Response, StatusCode};
use tokio::sync::Semaphore;

use crate::admission::{admit, is_open};
use crate::api::Versioned;
use crate::catalogue::{Repository, artefact_of};
use crate::describe::{
    Agent, Description, Form, cite, datacite, dcat, drs, forms, oai, ro_crate, schema_org, signposting,
};
use crate::difference::{Differences, State as Progress};
use crate::facts::{Brief, Facts, FactsCache, whole};
use crate::finding::Finder;
use crate::http::{
    Fields, REPO_COMMIT, accepts, content, fresh, json_bytes, names, own_address, parse_address, put, see, segments,
};
use crate::pages::Tab;
use crate::refusal::{Gone, Refusal};
use crate::search::{Facet, Found, Index, Query};
use crate::selection::{Chosen, Selection};
use crate::xet::{self, Hashed, Plans};
use crate::{
    Catalogue, HubError, PublishedVersion, Shelf, api, body, bundle, files, http, openapi, pages, rows, viewer,
};

/// The style sheet. Its address holds its digest, so that it can be kept for ever.
const STYLE: &str = include_str!("../assets/style.css");
const MARK: &str = include_str!("../assets/mark.svg");
static STYLE_PATH: LazyLock<String> =
    LazyLock::new(|| format!("/assets/style-{}.css", Digest::of(STYLE.as_bytes()).short(12)));
static MARK_PATH: LazyLock<String> =
    LazyLock::new(|| format!("/assets/mark-{}.svg", Digest::of(MARK.as_bytes()).short(12)));

pub(crate) fn style_path() -> &'static str {
    &STYLE_PATH
}

pub(crate) fn mark_path() -> &'static str {
    &MARK_PATH
}

const ROBOTS: &str = "User-agent: *\nAllow: /\n";
const PAGE: &str = "text/html; charset=utf-8";
/// Pages load the style sheet and the mark from this node and nothing else; no script, no frame.
const PAGE_POLICY: &str =
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
const DATA_POLICY: &str = "default-src 'none'; base-uri 'none'; frame-ancestors 'none'; sandbox";
/// Longest body of a request: `paths-info` names paths only.
const LONGEST_BODY_BYTES: usize = 1024 * 1024;
/// Data sets on a page of the catalogue.
const CATALOGUE_PAGE: usize = 20;
/// Data sets on a page of the DCAT feed.
const FEED_PAGE: usize = 50;
/// Addresses in one part of the site map (sitemaps.org protocol 0.9).
const SITEMAP_PART: usize = 50_000;
const LONGEST_SEARCH_CHARACTERS: usize = 200;
/// A whole version as one file.
const BUNDLE: &str = "bundle.tar";
/// Values of facets that a search looks at.
const MOST_CHOSEN: usize = 64;

struct Site {
    catalogue: Arc<dyn Catalogue>,
    address: Option<String>,
    facts: Arc<FactsCache>,
    differences: Arc<Differences>,
    finder: Arc<Finder>,
    plans: Arc<Plans>,
    /// Of looking through whole tables.
    turns: Semaphore,
}

/// Turns at a time.
const TURNS: usize = 2;

/// Serves the pages and the Hub-compatible routes over a catalogue. Addresses given out use the reader's `Host` header.
pub fn router(catalogue: Arc<dyn Catalogue>) -> Router {
    build(catalogue, None)
}

/// As [`router`], giving out `public_address` (`https://data.example.org`): for a node behind a proxy.
///
/// # Errors
/// [`HubError::Address`] when it is not `http(s)://host[:port]`.
pub fn router_at(catalogue: Arc<dyn Catalogue>, public_address: &str) -> Result<Router, HubError> {
    let address = parse_address(public_address).ok_or(HubError::Address)?;
    Ok(build(catalogue, Some(address)))
}

fn build(catalogue: Arc<dyn Catalogue>, address: Option<String>) -> Router {
    // One handler sees the raw path: several routes have segments with encoded slashes or a path of any length.
    let site = Site {
        catalogue,
        address,
        facts: Arc::default(),
        differences: Arc::default(),
        finder: Arc::default(),
        plans: Arc::default(),
        turns: Semaphore::new(TURNS),
    };
    Router::new().fallback(serve).with_state(Arc::new(site))
}

/// Who reads the answer, which decides the form of a refusal.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reader {
    Person,
    Program,
}

async fn serve(State(site): State<Arc<Site>>, request: Request) -> Response<Body> {
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    let segments = segments(&path);
    let parts: Vec<&str> = segments.iter().flatten().map(String::as_str).collect();
    let reader = reader(&parts);
    let asked = request.headers().clone();
    let answered = if segments.is_some() { site.answer(&parts, request).await } else { Err(Refusal::Page) };
    let mut response = answered.unwrap_or_else(|refusal| match reader {
        Reader::Program => refusal.to_program(&asked),
        Reader::Person => refusal.with_headers(content(refusal.problem().status, PAGE, pages::refusal(&refusal))),
    });
    if method == Method::HEAD {
        *response.body_mut() = Body::empty();
    }
    guard(&mut response, reader);
    // No client address and no query: neither belongs in a log.
    let shown: String = path.chars().take(200).collect();
    tracing::info!(%method, path = %shown, status = response.status().as_u16(), "answered");
    response
}

/// Who asks for this path. Files may be asked for without `datasets/`, as those of a model are.
fn reader(parts: &[&str]) -> Reader {
    let file = |at: usize| parts.get(at).is_some_and(|part| matches!(*part, "resolve" | "raw"));
    let first = parts.first().copied().unwrap_or_default();
    let is_tab = || artefact_of(first).is_some_and(|artefact| pages::Tab::of(artefact, parts[5]).is_some());
    let described = parts.len() > 5 && parts[3] == "v" && !(parts.len() == 6 && is_tab());
    let program = matches!(first, "api" | "oai" | "ga4gh" | "catalogue.ttl" | "catalogue.jsonld" | "v1" | "v2");
    let program = program || (parts.len() == 1 && viewer::ROUTES.contains(&first));
    if program || described || file(1) || file(2) || file(3) || writes(parts) {
        Reader::Program
    } else {
        Reader::Person
    }
}

/// The methods that an address answers, as the header `Allow` has them.
fn allowed(parts: &[&str]) -> &'static str {
    match parts {
        ["api", "datasets" | "models", _, _, "paths-info", _] => "POST, OPTIONS",
        // A harvester chooses (OAI-PMH 2.0, section 3.1.1).
        ["oai"] => "GET, HEAD, POST",
        // Where files are sent to by Xet, if anywhere.
        ["v1" | "v2", ..] => "GET, HEAD, POST, OPTIONS",
        _ => "GET, HEAD",
    }
}

/// Whether Hub clients write, or ask how to, under this path.
fn writes(parts: &[&str]) -> bool {
    match parts {
        ["api", "repos", "create" | "delete" | "move"] | ["api", "validate-yaml"] => true,
        ["api", "datasets" | "models", _, _, kind, ..] => matches!(
            *kind,
            "commit" | "preupload" | "tag" | "branch" | "super-squash" | "settings" | "lfs-files" | "xet-write-token"
        ),
        ["datasets", _, name, "info", "lfs", ..] | [_, name, "info", "lfs", ..] => name.ends_with(".git"),
        _ => false,
    }
}

/// Every attempt to change what is published is refused; only a name that is taken gets an answer of its own, since
/// clients ask for that ("create unless it exists").
fn refused_write(parts: &[&str], shelf: &Shelf, body: &[u8], address: &str) -> Refusal {
    let body: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |key: &str| body.get(key).and_then(serde_json::Value::as_str).unwrap_or_default();
    match parts {
        ["api", "repos", "create"] => {
            let (namespace, name) = text("name").split_once('/').unwrap_or((text("organization"), text("name")));
            // Who says nothing may mean either.
            let meant = |artefact: &Artefact| match text("type") {
                "dataset" => *artefact == Artefact::Dataset,
                "model" => *artefact == Artefact::Model,
                _ => true,
            };
            let mut kinds = [Artefact::Dataset, Artefact::Model].into_iter().filter(meant);
            let taken = kinds.find_map(|artefact| shelf.repository(artefact, namespace, name));
            taken.map_or(Refusal::Immutable, |repository| {
                Refusal::Exists(Some(format!("{address}{}", repository.newest().repository_path())))
            })
        }
        ["api", kind @ ("datasets" | "models"), namespace, name, rest @ ..] => {
            match (of_kind(shelf, kind, namespace, name), rest) {
                (None, _) => Refusal::Repo,
                (Some(dataset), ["tag", _]) if dataset.revision(text("tag")).is_some() => Refusal::Exists(None),
                (Some(dataset), ["branch", wanted]) if dataset.revision(wanted).is_some() => Refusal::Exists(None),
                _ => Refusal::Immutable,
            }
        }
        _ => Refusal::Immutable,
    }
}

/// The data set or model of an address.
fn of_kind<'s>(shelf: &'s Shelf, plural: &str, namespace: &str, name: &str) -> Option<&'s Repository> {
    shelf.repository(artefact_of(plural)?, namespace, name)
}

/// The two versions of `FROM..TO`; where the later one comes first, their numbers the other way round.
///
/// # Errors
/// [`Refusal::Bad`] when both are the same.
fn two<'d>(dataset: &'d Repository, both: &str) -> Result<Pair<'d>, Refusal> {
    const FORM: Refusal = Refusal::Bad { what: "Two versions are compared as FROM..TO, for instance v1.0.0..v1.1.0." };
    const SAME: Refusal = Refusal::Bad { what: "Both are the same version. Name two different ones." };
    let (from, to) = both.split_once("...").or_else(|| both.split_once("..")).ok_or(FORM)?;
    let (from, to) = (served(dataset, from)?, served(dataset, to)?);
    let place = |version: &PublishedVersion| dataset.versions().iter().position(|own| own.commit() == version.commit());
    match place(from).cmp(&place(to)) {
        std::cmp::Ordering::Less => Ok(Pair::InOrder(from, to)),
        std::cmp::Ordering::Equal => Err(SAME),
        std::cmp::Ordering::Greater => Ok(Pair::Reversed(pages::compared(to, from))),
    }
}

/// Two versions to compare. There is one difference of each pair, from the earlier version to the later one.
enum Pair<'d> {
    InOrder(&'d Arc<PublishedVersion>, &'d Arc<PublishedVersion>),
    /// `FROM..TO` in the right order, percent-encoded.
    Reversed(String),
}

impl Site {
    async fn answer(&self, parts: &[&str], request: Request) -> Result<Response<Body>, Refusal> {
        let (head, body) = request.into_parts();
        let (headers, method) = (&head.headers, &head.method);
        let allowed = allowed(parts);
        let shelf = self.catalogue.shelf();
        let reads = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
        if writes(parts) && *method != Method::OPTIONS {
            if *method == Method::DELETE || reads {
                return Err(Refusal::Immutable);
            }
            // A body that is too long to look at names nothing that could exist.
            let body = axum::body::to_bytes(body, LONGEST_BODY_BYTES).await.unwrap_or_default();
            let address = own_address(headers, self.address.as_deref());
            return Err(refused_write(parts, &shelf, &body, &address));
        }
        match *method {
            Method::OPTIONS if reader(parts) == Reader::Program => return Ok(preflight(allowed)),
            _ if !allowed.split(", ").any(|known| known == method.as_str()) => {
                return Err(Refusal::Method { allow: allowed });
            }
            _ => {}
        }
        let raw_query = head.uri.query().unwrap_or_default();
        let query = Fields::parse(raw_query);
        // Pages take what they can; programs are told what they got wrong.
        if reader(parts) == Reader::Program && !openapi::well_typed(&query) {
            const WRONG: Refusal = Refusal::Bad { what: "Numbers must be whole ones, and truth values true or false." };
            return Err(WRONG);
        }
        let address = own_address(headers, self.address.as_deref());
        let find =
            |kind: &str, namespace: &str, name: &str| of_kind(&shelf, kind, namespace, name).ok_or(Refusal::Repo);
        let find_dataset = |namespace: &str, name: &str| shelf.dataset(namespace, name).ok_or(Refusal::Repo);
        match parts {
            [] => self.catalogue_page(&shelf, &query, &address, headers).await,
            ["datasets"] => Ok(see("/")),
            ["models"] => self.models_page(&shelf, &query, headers).await,
            ["healthz"] => Ok(content(StatusCode::OK, "text/plain; charset=utf-8", "ok\n")),
            ["robots.txt"] => {
                let text = format!("{ROBOTS}Sitemap: {address}/sitemap.xml\n");
                Ok(fresh(headers, "text/plain; charset=utf-8", text))
            }
            ["sitemap.xml"] => {
                let map = sitemap(&shelf, &address, query.number("part")).ok_or(Refusal::Page)?;
                Ok(fresh(headers, "application/xml", map))
            }
            [route] if viewer::ROUTES.contains(route) => self.view(&shelf, route, &query, &address, &head).await,
            ["problems"] => Ok(fresh(headers, PAGE, pages::problems())),
            ["network"] => {
                let page = pages::network::page(&self.catalogue.neighbours(), query.get("of"), query.number("page"));
                Ok(fresh(headers, PAGE, page.ok_or(Refusal::Page)?))
            }
            ["catalogue.ttl"] => self.feed(&shelf, &query, &address, headers, "ttl").await,
            ["catalogue.jsonld"] => self.feed(&shelf, &query, &address, headers, "jsonld").await,
            ["catalogue"] => {
                let forms = [("text/turtle", "/catalogue.ttl"), ("application/ld+json", "/catalogue.jsonld")];
                let asked =
                    forms.into_iter().find(|(form, _)| !accepts(headers, "text/html") && accepts(headers, form));
                let mut response = see(asked.map_or("/", |(_, path)| path));
                response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
                Ok(response)
            }
            ["oai"] if *method == Method::POST => {
                let body = axum::body::to_bytes(body, LONGEST_BODY_BYTES).await.map_err(|_| Refusal::TooLong)?;
                self.oai(&shelf, &Fields::parse(&String::from_utf8_lossy(&body)), &address).await
            }
            ["oai"] => self.oai(&shelf, &query, &address).await,
            ["ga4gh", "drs", "v1", rest @ ..] => self.drs(&shelf, rest, &address, &head),
            ["favicon.ico"] => Ok(for_ever(headers, "image/svg+xml", MARK)),
            ["assets", name] if STYLE_PATH.ends_with(&format!("/{name}")) => {
                Ok(for_ever(headers, "text/css; charset=utf-8", STYLE))
            }
            ["assets", name] if MARK_PATH.ends_with(&format!("/{name}")) => {
                Ok(for_ever(headers, "image/svg+xml", MARK))
            }

            [kind @ ("datasets" | "models"), namespace, name] => {
                let repository = find(kind, namespace, name)?;
                match query.get("version") {
                    Some(wanted) => {
                        let version = repository.revision(wanted).ok_or(Refusal::Revision)?;
                        Ok(see(&pages::version_path(version)))
                    }
                    None => {
                        self.version_page(repository, repository.newest(), Tab::Card, &query, &address, &head).await
                    }
                }
            }
            [kind @ ("datasets" | "models"), namespace, name, "v", wanted] => {
                let repository = find(kind, namespace, name)?;
                let version = repository.revision(wanted).ok_or(Refusal::Revision)?;
                self.version_page(repository, version, Tab::Card, &query, &address, &head).await
            }
            [kind @ ("datasets" | "models"), namespace, name, "v", wanted, tab]
                if artefact_of(kind).is_some_and(|artefact| Tab::of(artefact, tab).is_some()) =>
            {
                let repository = find(kind, namespace, name)?;
                let version = repository.revision(wanted).ok_or(Refusal::Revision)?;
                let tab = Tab::of(version.artefact(), tab).unwrap_or(Tab::Card);
                self.version_page(repository, version, tab, &query, &address, &head).await
            }
            [kind @ ("datasets" | "models"), namespace, name, "v", wanted, form]
                if artefact_of(kind).is_some_and(|artefact| forms(artefact).any(|offered| offered.name == *form)) =>
            {
                let repository = find(kind, namespace, name)?;
                let version = served(repository, wanted)?;
                self.described(repository, version, form, &address, headers).await
            }
            [kind @ ("datasets" | "models"), namespace, name, "v", wanted, BUNDLE] => {
                let repository = find(kind, namespace, name)?;
                let version = served(repository, wanted)?;
                admit(version, &head.extensions)?;
                self.bundle(repository, version, &address, method, headers).await
            }
            [kind @ ("datasets" | "models"), namespace, name, "v", wanted, "SHA256SUMS"] => {
                let version = served(find(kind, namespace, name)?, wanted)?;
                Ok(fresh(headers, "text/plain; charset=utf-8", pages::checksums(version)))
            }
            [kind @ ("datasets" | "models"), namespace, name, "v", wanted, SEAL_FILE] => {
                let version = served(find(kind, namespace, name)?, wanted)?;
                let seal = version.seal_file().ok_or_else(|| Refusal::Entry { commit: version.commit().to_owned() })?;
                Ok(fresh(headers, "application/json", seal))
            }
            ["datasets", namespace, name, "compare"] => {
                let dataset = find_dataset(namespace, name)?;
                let of = |field: &str| query.get(field).and_then(|wanted| dataset.revision(wanted));
                let (from, to) = (of("from").ok_or(Refusal::Revision)?, of("to").ok_or(Refusal::Revision)?);
                Ok(see(&format!("/datasets/{namespace}/{name}/compare/{}", pages::compared(from, to))))
            }
            ["datasets", namespace, name, "compare", both] => match two(find_dataset(namespace, name)?, both)? {
                Pair::InOrder(from, to) => self.difference_page(from, to, headers).await,
                Pair::Reversed(right) => Ok(see(&format!("/datasets/{namespace}/{name}/compare/{right}"))),
            },
            // The files beside their descriptions, as a downloaded version has them.
            [kind @ ("datasets" | "models"), namespace, name, "v", wanted, path @ ..] => {
                let dataset = find(kind, namespace, name)?;
                let at = Versioned { dataset, version: served(dataset, wanted)? };
                self.resolve(at, &path.join("/"), &head).await
            }
            // Where people come to who know the addresses of other hubs.
            [kind @ ("datasets" | "models"), namespace, name, "tree" | "blob", wanted, ..] => {
                let version = find(kind, namespace, name)?.revision(wanted).ok_or(Refusal::Revision)?;
                Ok(see(&pages::version_path(version)))
            }
            [kind @ ("datasets" | "models"), namespace, name, "resolve" | "raw", wanted, path @ ..] => {
                let dataset = find(kind, namespace, name)?;
                let at = Versioned { dataset, version: served(dataset, wanted)? };
                self.resolve(at, &path.join("/"), &head).await
            }
            // Hub clients ask for files of models by their name alone.
            [namespace, name, "resolve" | "raw", wanted, path @ ..] => {
                let dataset = find("models", namespace, name)?;
                let at = Versioned { dataset, version: served(dataset, wanted)? };
                self.resolve(at, &path.join("/"), &head).await
            }
            [namespace, name, "tree" | "blob", wanted, ..] => {
                let version = find("models", namespace, name)?.revision(wanted).ok_or(Refusal::Revision)?;
                Ok(see(&pages::version_path(version)))
            }
            [_, "resolve" | "raw", ..] | [_, _, "resolve" | "raw", ..] => Err(Refusal::Repo),
            ["datasets" | "models", _] => Err(Refusal::Repo),
            // Pages of other hubs have no word before the name of a model.
            [namespace, name] if shelf.repository(Artefact::Model, namespace, name).is_some() => {
                Ok(see(&format!("/models/{namespace}/{name}")))
            }

            ["api", "whoami-v2"] | ["v1" | "v2", ..] => Err(Refusal::Login),
            ["api", "openapi.json"] => {
                let document = openapi::document(&address);
                Ok(fresh(headers, "application/json", serde_json::to_vec_pretty(&document).unwrap_or_default()))
            }
            ["api", kind @ ("datasets" | "models")] => {
                let artefact = artefact_of(kind).ok_or(Refusal::Page)?;
                let (wanted, limit) = api::wanted_page(&query)?;
                let indexed = self.finder.indexed(&self.catalogue, &self.facts, &shelf).await;
                let found = indexed.of(artefact).find(&wanted, 0, limit);
                let shown = self.listed(&shelf, artefact, &found.names).await;
                Ok(api::listing(
                    headers,
                    &shown,
                    found.last.as_ref().filter(|_| found.more),
                    &query,
                    raw_query,
                    (&address, artefact),
                ))
            }
            ["api", "spaces"] => Ok(api::answer(headers, &serde_json::json!([]), None)),
            ["api", kind @ ("datasets" | "models"), namespace, name, rest @ ..] => {
                self.plans.notice(&self.catalogue, &shelf);
                let dataset = find(kind, namespace, name)?;
                let is_dataset = *kind == "datasets";
                let revision = |wanted: &str| served(dataset, wanted);
                served(dataset, "main")?;
                match rest {
                    [] => self.info(dataset, dataset.newest(), &query, headers).await,
                    ["revision", wanted] => self.info(dataset, revision(wanted)?, &query, headers).await,
                    ["tree", wanted, folder @ ..] => {
                        let version = revision(wanted)?;
                        let asked = self.by_xet(version, &address, &head);
                        let at = Hashed { of: &Versioned { dataset, version }, hash: asked.hashes() };
                        let mut response = api::tree(headers, &at, &folder.join("/"), &query, &address)?;
                        personal(version, &mut response);
                        Ok(response)
                    }
                    ["paths-info", wanted] => {
                        let version = revision(wanted)?;
                        let body = axum::body::to_bytes(body, LONGEST_BODY_BYTES).await;
                        let body = body.map_err(|_| Refusal::TooLong)?;
                        let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
                        let (paths, expand) = api::wanted_paths(kind.unwrap_or_default(), &body)?;
                        let asked = self.by_xet(version, &address, &head);
                        let at = Hashed { of: &Versioned { dataset, version }, hash: asked.hashes() };
                        let found = api::paths_info(&at, &paths, expand);
                        Ok(api::answer(&HeaderMap::new(), &found, Some(version)))
                    }
                    ["refs"] => Ok(api::answer(headers, &api::refs(dataset, &query), Some(dataset.newest()))),
                    ["commits", wanted] => {
                        let version = revision(wanted)?;
                        Ok(api::answer(headers, &api::commits(dataset, version), Some(version)))
                    }
                    ["xet-read-token", wanted] => self.by_xet(revision(wanted)?, &address, &head).token(),
                    ["xet", commit, wanted @ ..] => {
                        let version = revision(commit)?;
                        let asked = self.by_xet(version, &address, &head);
                        let mut response = asked.answer(&self.catalogue, wanted).await?;
                        personal(version, &mut response);
                        Ok(response)
                    }
                    ["compare", both] if is_dataset => match two(dataset, both)? {
                        Pair::InOrder(from, to) => self.difference(from, to, headers).await,
                        Pair::Reversed(right) => Ok(see(&format!("/api/datasets/{namespace}/{name}/compare/{right}"))),
                    },
                    ["auth-check"] => {
                        admit(dataset.newest(), &head.extensions)?;
                        let mut response = content(StatusCode::OK, "text/plain; charset=utf-8", "OK");
                        personal(dataset.newest(), &mut response);
                        Ok(response)
                    }
                    ["croissant"] if is_dataset => self.croissant(dataset.newest(), &address, headers).await,
                    ["croissant", wanted] if is_dataset => self.croissant(revision(wanted)?, &address, headers).await,
                    _ => Err(Refusal::Page),
                }
            }
            ["api", "datasets" | "models" | "spaces", ..] => Err(Refusal::Repo),
            _ => Err(Refusal::Page),
        }
    }

    /// Data sets or models by name, with what listings say about them. Those of which no version is served any more are left out: the
    /// index that names them may be older than the shelf.
    async fn listed<'s>(
        &self,
        shelf: &'s Shelf,
        artefact: Artefact,
        names: &[&str],
    ) -> Vec<(&'s Repository, Arc<Brief>)> {
        let mut listed = Vec::with_capacity(names.len());
        for name in names {
            let named = name.split_once('/');
            let repository = named.and_then(|(namespace, name)| shelf.repository(artefact, namespace, name));
            if let Some(repository) = repository.filter(|repository| repository.is_served()) {
                listed.push((repository, self.facts.brief(&self.catalogue, repository.newest()).await));
            }
        }
        listed
    }

    /// A version as it is read by Xet.
    fn by_xet<'a>(&'a self, version: &'a PublishedVersion, address: &'a str, head: &'a Parts) -> xet::Asked<'a> {
        xet::Asked { plans: &self.plans, version, address, head }
    }

    /// A file of a version, if who asks may have it.
    async fn resolve(&self, at: Versioned<'_>, path: &str, head: &Parts) -> Result<Response<Body>, Refusal> {
        let version = at.version;
        self.plans.notice(&self.catalogue, &self.catalogue.shelf());
        // What is not there is told before anybody signs in for it.
        let closed = version.files().contains_key(path) && !is_open(version, path);
        if closed {
            admit(version, &head.extensions)?;
        }
        let mut response = files::resolve(&self.catalogue, at, path, &head.method, &head.headers).await?;
        if let Some(file) = version.files().get(path)
            && self.plans.hash(file).is_some()
        {
            let address = own_address(&head.headers, self.address.as_deref());
            self.by_xet(version, &address, head).tell(file, response.headers_mut());
        }
        if closed {
            personal(version, &mut response);
        }
        Ok(response)
    }

    async fn info(
        &self,
        dataset: &Repository,
        version: &PublishedVersion,
        query: &Fields,
        headers: &HeaderMap,
    ) -> Result<Response<Body>, Refusal> {
        let brief = self.facts.brief(&self.catalogue, version).await;
        Ok(api::answer(headers, &api::info(dataset, version, &brief, query), Some(version)))
    }

    async fn croissant(
        &self,
        version: &PublishedVersion,
        address: &str,
        headers: &HeaderMap,
    ) -> Result<Response<Body>, Refusal> {
        let absent = || Refusal::Entry { commit: version.commit().to_owned() };
        let bytes = whole(&self.catalogue, version, "croissant.json").await.map_err(|()| Refusal::Store)?;
        let document = api::croissant(&bytes.ok_or_else(absent)?, version, address).ok_or_else(absent)?;
        let mut response = fresh(headers, "application/ld+json", json_bytes(&document));
        put(response.headers_mut(), REPO_COMMIT, version.commit());
        let described = format!("<{address}{}>; rel=\"describes\"", pages::version_path(version));
        put(response.headers_mut(), header::LINK, &described);
        Ok(response)
    }

    /// `GET /api/datasets/{id}/compare/{from}..{to}`: 202 with `Retry-After` until it is computed.
    async fn difference(
        &self,
        from: &Arc<PublishedVersion>,
        to: &Arc<PublishedVersion>,
        headers: &HeaderMap,
    ) -> Result<Response<Body>, Refusal> {
        match self.differences.between(&self.catalogue, &self.facts, from, to).await {
            Progress::Ready(told) => Ok(api::answer(headers, &told, Some(to))),
            Progress::Busy => Err(Refusal::Busy),
            Progress::Failed => Err(Refusal::Store),
            Progress::Computing => {
                let body = json_bytes(&serde_json::json!({ "status": "computing" }));
                let mut response = content(StatusCode::ACCEPTED, "application/json", body);
                response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
                Ok(response)
            }
        }
    }

    async fn difference_page(
        &self,
        from: &Arc<PublishedVersion>,
        to: &Arc<PublishedVersion>,
        headers: &HeaderMap,
    ) -> Result<Response<Body>, Refusal> {
        let name = &to.manifest().dataset;
        let json = format!("/api/datasets/{name}/compare/{}..{}", from.tag(), to.tag());
        let compared = pages::difference::Compared { from, to, json: &json };
        match self.differences.between(&self.catalogue, &self.facts, from, to).await {
            Progress::Ready(told) => Ok(fresh(headers, PAGE, pages::difference::difference(&compared, &told))),
            Progress::Busy => Err(Refusal::Busy),
            Progress::Failed => Err(Refusal::Store),
            Progress::Computing => {
                let mut response = content(StatusCode::ACCEPTED, PAGE, pages::difference::computing(&compared));
                response.headers_mut().insert(HeaderName::from_static("refresh"), HeaderValue::from_static("2"));
                Ok(response)
            }
        }
    }

    /// The routes of the data set viewer. Beside the Hub's parameters, `at` names a version.
    async fn view(
        &self,
        shelf: &Shelf,
        route: &str,
        query: &Fields,
        address: &str,
        head: &Parts,
    ) -> Result<Response<Body>, Refusal> {
        let headers = &head.headers;
        const NEEDED: Refusal = Refusal::Bad { what: "Name a data set, for instance dataset=namespace/name." };
        let (namespace, name) = query.get("dataset").and_then(|name| name.split_once('/')).ok_or(NEEDED)?;
        let dataset = shelf.dataset(namespace, name).ok_or(Refusal::Repo)?;
        let version = served(dataset, query.get("at").unwrap_or("main"))?;
        let shows_rows = matches!(route, "first-rows" | "rows" | "filter" | "search");
        if shows_rows {
            admit(version, &head.extensions)?;
        }
        let facts = self.facts.complete(&self.catalogue, version).await?;
        let viewed = viewer::Viewed { version, facts: &facts, address };
        let told = match route {
            "is-valid" => viewed.is_valid(),
            "splits" => viewed.splits_listed(),
            "size" => viewed.size(),
            "info" => viewed.info(query.get("config").is_some()),
            "parquet" => viewed.parquet(),
            "statistics" => {
                let (split, rows, _) = viewed.split(query)?;
                viewed.statistics(split, rows)
            }
            "filter" | "search" => {
                let (page, selection) = (viewer::Page::of(query)?, viewed.selection(route, query)?);
                let (_, _, files) = viewed.split(query)?;
                viewed.chosen(self.selected(selection, files.into_iter().cloned().collect(), page).await?)
            }
            _ => {
                let first = route == "first-rows";
                let page = if first {
                    viewer::Page { offset: 0, length: viewer::MOST_ROWS }
                } else {
                    viewer::Page::of(query)?
                };
                let (split, rows, files) = viewed.split(query)?;
                let files = files.into_iter().cloned().collect();
                viewed.rows(split, rows, page, &self.read_rows(files, page).await?, first)
            }
        };
        let mut response = api::answer(headers, &told, Some(version));
        put(response.headers_mut(), HeaderName::from_static("x-revision"), version.commit());
        if shows_rows {
            personal(version, &mut response);
        }
        Ok(response)
    }

    /// The rows of the tab with the data; `None` when they cannot be read now.
    async fn shown_rows(
        &self,
        version: &PublishedVersion,
        facts: &Facts,
        query: &Fields,
    ) -> Option<pages::rows::Shown> {
        let splits = rows::splits(version);
        let wanted = query.get("split");
        let (split, files) = splits.iter().find(|(split, _)| wanted == Some(*split)).or(splits.first())?;
        let files: Vec<ReleasedFile> = files.iter().map(|file| (*file).clone()).collect();
        let total = version.manifest().splits.iter().find(|(name, _)| name == split).map_or(0, |(_, rows)| *rows);
        let page = viewer::Page { offset: query.number("row").unwrap_or(0), length: pages::rows::PAGE };
        let given = |field: &str, longest: usize| -> String {
            query.get(field).unwrap_or_default().trim().chars().take(longest).collect()
        };
        let (words, condition) = (given("q", LONGEST_SEARCH_CHARACTERS), given("where", 1000));
        let mut shown = pages::rows::Shown {
            split: (*split).to_owned(),
            total,
            offset: page.offset,
            records: Vec::new(),
            chosen: pages::rows::Chosen { words, condition, found: None },
        };
        let selection = match (&shown.chosen.words, &shown.chosen.condition) {
            (words, condition) if words.is_empty() && condition.is_empty() => None,
            (words, condition) if condition.is_empty() => Some(Selection::of_words(words)),
            (_, condition) => Some(Selection::of_condition(Some(condition), None, &viewer::columns(facts))),
        };
        let Some(selection) = selection else {
            let read = self.read_rows(files, page).await.ok()?;
            shown.records = (page.offset..).zip(read.iter().flat_map(viewer::records)).collect();
            return Some(shown);
        };
        match selection {
            Err(refusal) => shown.chosen.found = Some(Err(refusal.message().to_owned())),
            Ok(selection) => {
                let chosen = self.selected(selection, files, page).await.ok()?;
                shown.chosen.found = Some(Ok((chosen.total, chosen.partial)));
                shown.records = chosen.records;
            }
        }
        Some(shown)
    }

    /// Rows that were chosen. Each choice goes through a whole split: few at a time, and others wait.
    async fn selected(
        &self,
        selection: Selection,
        files: Vec<ReleasedFile>,
        page: viewer::Page,
    ) -> Result<Chosen, Refusal> {
        let catalogue = self.catalogue.clone();
        let _turn = self.turns.acquire().await.map_err(|_| Refusal::Store)?;
        let read = tokio::task::spawn_blocking(move || selection.read(&catalogue, &files, page)).await;
        read.map_err(|_| Refusal::Store)?.map_err(|error| files::unreadable(&error))
    }

    /// Rows of some files, read off the async threads.
    async fn read_rows(
        &self,
        files: Vec<ReleasedFile>,
        page: viewer::Page,
    ) -> Result<Vec<arrow::array::RecordBatch>, Refusal> {
        let catalogue = self.catalogue.clone();
        let read = tokio::task::spawn_blocking(move || viewer::read(&catalogue, &files, page)).await;
        read.map_err(|_| Refusal::Store)?.map_err(|error| files::unreadable(&error))
    }

    /// One form of a version's description.
    async fn described(
        &self,
        dataset: &Repository,
        version: &PublishedVersion,
        name: &str,
        address: &str,
        headers: &HeaderMap,
    ) -> Result<Response<Body>, Refusal> {
        let offered = forms(version.artefact()).find(|offered| offered.name == name).ok_or(Refusal::Page)?;
        let facts = self.facts.complete(&self.catalogue, version).await?;
        let described = Description { dataset, version, facts: &facts, address };
        let pretty = |value: &serde_json::Value| serde_json::to_vec_pretty(value).unwrap_or_default();
        let bytes = match offered.form {
            Form::Croissant => return self.croissant(version, address, headers).await,
            Form::DcatTurtle => dcat::version(described).turtle(),
            Form::DcatJsonLd => dcat::version(described).json_ld(),
            Form::SchemaOrg => pretty(&schema_org::dataset(described)),
            Form::SchemaOrgOfModel => pretty(&schema_org::model(described)),
            Form::DataCite => pretty(&datacite::json(described)),
            Form::DataCiteXml => {
                format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{}", datacite::resource(described)).into_bytes()
            }
            Form::RoCrate => pretty(&ro_crate::crate_of(described)),
            Form::Linkset => pretty(&signposting::linkset(described)),
            Form::Csl => pretty(&cite::csl(described)),
            Form::Bibtex => cite::bibtex(described).into_bytes(),
            Form::CitationFile => cite::citation_file(described).into_bytes(),
        };
        let mut response = fresh(headers, offered.media_type, bytes);
        put(response.headers_mut(), REPO_COMMIT, version.commit());
        put(response.headers_mut(), header::LINK, &format!("<{}>; rel=\"describes\"", described.iri()));
        Ok(response)
    }

    /// A version as a tar archive, whole or a range of it.
    async fn bundle(
        &self,
        dataset: &Repository,
        version: &PublishedVersion,
        address: &str,
        method: &Method,
        headers: &HeaderMap,
    ) -> Result<Response<Body>, Refusal> {
        let facts = self.facts.complete(&self.catalogue, version).await?;
        let described = Description { dataset, version, facts: &facts, address };
        let ro_crate = serde_json::to_vec_pretty(&ro_crate::crate_of(described)).unwrap_or_default();
        let seal = version.seal_file().map(|seal| (SEAL_FILE, seal));
        let computed = [
            ("SHA256SUMS", pages::checksums(version).into()),
            ("ro-crate-metadata.json", ro_crate.into()),
            ("CITATION.cff", cite::citation_file(described).into()),
        ];
        let computed: Vec<(&str, bytes::Bytes)> = computed.into_iter().chain(seal).collect();
        let bundle = bundle::Bundle::of(version, &computed);
        let (size_bytes, tag, name) = (bundle.size_bytes, bundle.etag.clone(), bundle.name.clone());
        let part = files::part(size_bytes, &tag, method, headers)?;
        let range = part.clone().unwrap_or(0..size_bytes);
        let body = if *method == Method::HEAD || range.is_empty() {
            Body::empty()
        } else {
            let body = body::of_parts(&self.catalogue, bundle.parts, range).await;
            body.map_err(|error| files::unreadable(&error))?
        };
        let mut response = files::partial(part, size_bytes, body);
        let own = response.headers_mut();
        own.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-tar"));
        put(own, header::ETAG, &format!("\"{tag}\""));
        put(own, REPO_COMMIT, version.commit());
        own.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        own.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, no-cache"));
        put(
            own,
            header::CONTENT_DISPOSITION,
            &format!("attachment; filename*=UTF-8''{}", http::percent_encoded(&name)),
        );
        personal(version, &mut response);
        Ok(response)
    }

    /// The documents of several data sets' newest versions, in the same order.
    ///
    /// # Errors
    /// [`Refusal::Store`] when one of them cannot be read now.
    async fn facts_of(&self, datasets: &[&Repository]) -> Result<Vec<Arc<Facts>>, Refusal> {
        let mut all = Vec::with_capacity(datasets.len());
        for dataset in datasets {
            all.push(self.facts.complete(&self.catalogue, dataset.newest()).await?);
        }
        Ok(all)
    }

    /// A page of the DCAT feed of the whole catalogue.
    async fn feed(
        &self,
        shelf: &Shelf,
        query: &Fields,
        address: &str,
        headers: &HeaderMap,
        extension: &str,
    ) -> Result<Response<Body>, Refusal> {
        let pages = shelf.len().div_ceil(FEED_PAGE).max(1);
        let page = query.number("page").unwrap_or(1);
        if page == 0 || page > pages {
            return Err(Refusal::Page);
        }
        let shown: Vec<&Repository> = shelf.datasets().skip((page - 1) * FEED_PAGE).take(FEED_PAGE).collect();
        let facts = self.facts_of(&shown).await?;
        let described: Vec<Description<'_>> = shown
            .iter()
            .zip(&facts)
            .map(|(dataset, facts)| Description { dataset, version: dataset.newest(), facts, address })
            .collect();
        let operator = self.operator(address);
        let stated = Some(operator.contact.as_str()).filter(|contact| !contact.is_empty());
        let agent = Agent { name: &operator.name, url: None, contact: stated, is_person: false };
        let feed = dcat::Feed { address, operator: agent, extension, page, pages, total: shelf.len() };
        let graph = dcat::feed(&feed, &described);
        let mut response = match extension {
            "ttl" => fresh(headers, "text/turtle", graph.turtle()),
            _ => fresh(headers, "application/ld+json", graph.json_ld()),
        };
        let to =
            |page: usize, relation: &str| format!("<{address}/catalogue.{extension}?page={page}>; rel=\"{relation}\"");
        let mut links = vec![to(1, "first"), to(pages, "last")];
        links.extend((page > 1).then(|| to(page - 1, "prev")));
        links.extend((page < pages).then(|| to(page + 1, "next")));
        put(response.headers_mut(), header::LINK, &links.join(", "));
        Ok(response)
    }

    /// Who runs the node; by its address when it does not say.
    fn operator(&self, address: &str) -> crate::Operator {
        let unnamed =
            || crate::Operator { name: format!("The node at {}", http::host(address)), contact: String::new() };
        self.catalogue.operator().unwrap_or_else(unnamed)
    }

    async fn oai(&self, shelf: &Shelf, query: &Fields, address: &str) -> Result<Response<Body>, Refusal> {
        let wanted = oai::wanted(query, shelf, address);
        let facts = self.facts_of(&oai::needed(&wanted)).await?;
        let operator = self.operator(address);
        // A page may hold an @ too.
        let is_mail = |contact: &&str| contact.contains('@') && !contact.contains('/');
        let repository = oai::Identity {
            address,
            name: &operator.name,
            admin_email: Some(operator.contact.as_str()).filter(is_mail),
            now: SystemClock.now(),
        };
        let answer = oai::answer(&wanted, &facts, query, &repository, shelf);
        Ok(content(StatusCode::OK, "text/xml; charset=utf-8", answer))
    }

    /// GA4GH DRS, which has refusals of its own form.
    fn drs(&self, shelf: &Shelf, parts: &[&str], address: &str, head: &Parts) -> Result<Response<Body>, Refusal> {
        let headers = &head.headers;
        let answer = match parts {
            ["service-info"] => Some(drs::service_info(address, &self.operator(address).name, shelf.files())),
            ["objects", id] => drs::object(shelf, id, address),
            ["objects", id, "access", drs::ACCESS] => match drs::access(shelf, id, address) {
                Some((version, access)) => {
                    admit(version, &head.extensions)?;
                    let mut response = fresh(headers, "application/json", json_bytes(&access));
                    personal(version, &mut response);
                    return Ok(response);
                }
                None => None,
            },
            _ => None,
        };
        Ok(match answer {
            Some(answer) => fresh(headers, "application/json", json_bytes(&answer)),
            None => content(StatusCode::NOT_FOUND, "application/json", json_bytes(&drs::not_found())),
        })
    }

    async fn catalogue_page(
        &self,
        shelf: &Arc<Shelf>,
        query: &Fields,
        address: &str,
        headers: &HeaderMap,
    ) -> Result<Response<Body>, Refusal> {
        let wanted = searched(query);
        let indexed = self.finder.indexed(&self.catalogue, &self.facts, shelf).await;
        let (found, page, pages) = page_of(indexed.of(Artefact::Dataset), &wanted, query);
        let shown = self.listed(shelf, Artefact::Dataset, &found.names).await;
        let words = Query { words: wanted.words.clone(), ..Query::default() };
        let found_models = match wanted.words.trim() {
            "" => 0,
            _ => page_of(indexed.of(Artefact::Model), &words, &Fields::default()).0.total,
        };
        let listed: Vec<pages::Listed<'_>> =
            shown.iter().map(|(dataset, brief)| pages::Listed { version: dataset.newest(), brief }).collect();
        let view = pages::Catalogue {
            listed: &listed,
            found: found.total,
            of: shelf.len(),
            models: shelf.models(),
            found_models,
            people: indexed.people,
            highest_risk: indexed.highest_risk,
            wanted: &wanted,
            facets: &found.facets,
            page,
            pages,
            address,
            donors_page: self.catalogue.donors_page(),
        };
        Ok(fresh(headers, PAGE, pages::catalogue(&view)))
    }

    /// The list of models.
    async fn models_page(
        &self,
        shelf: &Arc<Shelf>,
        query: &Fields,
        headers: &HeaderMap,
    ) -> Result<Response<Body>, Refusal> {
        let wanted = searched(query);
        let indexed = self.finder.indexed(&self.catalogue, &self.facts, shelf).await;
        let (found, page, pages) = page_of(indexed.of(Artefact::Model), &wanted, query);
        let shown = self.listed(shelf, Artefact::Model, &found.names).await;
        let listed: Vec<pages::Listed<'_>> =
            shown.iter().map(|(model, brief)| pages::Listed { version: model.newest(), brief }).collect();
        let view = pages::Models {
            listed: &listed,
            found: found.total,
            of: shelf.models(),
            wanted: &wanted,
            facets: &found.facets,
            page,
            pages,
        };
        Ok(fresh(headers, PAGE, pages::models(&view)))
    }

    async fn version_page(
        &self,
        dataset: &Repository,
        version: &PublishedVersion,
        tab: Tab,
        query: &Fields,
        address: &str,
        head: &Parts,
    ) -> Result<Response<Body>, Refusal> {
        let headers = &head.headers;
        if let Some(down) = version.tombstone() {
            let mut response = content(StatusCode::GONE, PAGE, pages::tombstone(dataset, version, down));
            response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
            let links = gone(dataset, version).map(|gone| gone.links());
            put(response.headers_mut(), header::LINK, &links.unwrap_or_default());
            return Ok(response);
        }
        // Harvesters and citation tools that ask the page itself for a form are sent to it.
        if !accepts(headers, "text/html") {
            let asked: Vec<_> =
                forms(version.artefact()).filter(|offered| accepts(headers, offered.media_type)).collect();
            // Of several forms of one media type that of the profile which is asked for, or else that of the general catalogues.
            let by_profile =
                asked.iter().find(|offered| offered.profile.is_some_and(|profile| names(headers, profile)));
            let general = asked.iter().find(|offered| matches!(offered.form, Form::SchemaOrg | Form::SchemaOrgOfModel));
            if let Some(offered) = by_profile.or(general).or(asked.first()) {
                let mut response = see(&format!("{}/{}", pages::version_path(version), offered.name));
                response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
                return Ok(response);
            }
        }
        let facts = self.facts.of(&self.catalogue, version).await;
        let described = Description { dataset, version, facts: &facts, address };
        let admitted = admit(version, &head.extensions).is_ok();
        let rows = if tab == Tab::Data && admitted { self.shown_rows(version, &facts, query).await } else { None };
        let page = match version.artefact() {
            Artefact::Dataset => pages::dataset(described, tab, rows.as_ref()),
            Artefact::Model => pages::model(described, tab),
        };
        let mut response = fresh(headers, PAGE, page);
        put(response.headers_mut(), header::LINK, &signposting::header(described));
        response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
        if rows.is_some() {
            personal(version, &mut response);
        }
        put(response.headers_mut(), REPO_COMMIT, version.commit());
        Ok(response)
    }
}

/// What only some may read stays with who asked.
fn personal(version: &PublishedVersion, response: &mut Response<Body>) {
    if version.tier() != Tier::Open {
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
        headers.append(header::VARY, HeaderValue::from_static("Authorization, Cookie"));
    }
}

/// What a list is asked for: words, and values of facets.
fn searched(query: &Fields) -> Query {
    let words = query.get("q").unwrap_or_default().chars().take(LONGEST_SEARCH_CHARACTERS).collect();
    let of = |facet: Facet| query.all(facet.field()).map(move |value| (facet, value.to_owned()));
    let chosen = Facet::ALL.into_iter().flat_map(of).take(MOST_CHOSEN).collect();
    Query { words, chosen, ..Query::default() }
}

/// The page of a list that is asked for, or the last one: what is on it, its number, and how many there are.
fn page_of<'i>(index: &'i Index, wanted: &Query, query: &Fields) -> (Found<'i>, usize, usize) {
    let asked = query.number("page").unwrap_or(1).max(1);
    let found = index.find(wanted, (asked - 1).saturating_mul(CATALOGUE_PAGE), CATALOGUE_PAGE);
    let pages = usize::try_from(found.total).unwrap_or(usize::MAX).div_ceil(CATALOGUE_PAGE).max(1);
    match asked <= pages {
        true => (found, asked, pages),
        false => (index.find(wanted, (pages - 1) * CATALOGUE_PAGE, CATALOGUE_PAGE), pages, pages),
    }
}

/// The version of a data set that a revision means, if there is one and it is served.
fn served<'d>(dataset: &'d Repository, revision: &str) -> Result<&'d Arc<PublishedVersion>, Refusal> {
    let version = dataset.revision(revision).ok_or(Refusal::Revision)?;
    gone(dataset, version).map_or(Ok(version), |gone| Err(Refusal::Gone(gone)))
}

/// What is left of a version that was taken down; `None` while it is served.
fn gone(dataset: &Repository, version: &PublishedVersion) -> Option<Gone> {
    let successor = dataset.successor(version.tombstone()?, version);
    let successor = successor.map(|next| (next.manifest().version.clone(), pages::version_path(next)));
    Some(Gone { page: pages::version_path(version), successor })
}

/// What a browser asks before a program on another site may call.
fn preflight(allowed: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(allowed));
    let asked = "Range, If-None-Match, If-Range, Content-Type, Authorization, X-HF-Download-Counter";
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(asked));
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
    response
}

/// An answer whose address changes with its content.
fn for_ever(headers: &HeaderMap, content_type: &'static str, bytes: &'static str) -> Response<Body> {
    let mut response = fresh(headers, content_type, bytes);
    let cache = HeaderValue::from_static("public, max-age=31536000, immutable");
    response.headers_mut().insert(header::CACHE_CONTROL, cache);
    response
}

/// Every version's page, in the order of names (sitemaps.org protocol 0.9). Beyond 50,000 of them the map is an index
/// of parts; `None` when there is no such part.
fn sitemap(shelf: &Shelf, address: &str, part: Option<usize>) -> Option<String> {
    const HEAD: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";
    const NAMESPACE: &str = "xmlns=\"http://www.sitemaps.org/schemas/sitemap/0.9\"";
    /// A line of the map.
    enum Line<'s> {
        Page(&'static str),
        Repository(&'s PublishedVersion),
        Version(&'s PublishedVersion),
    }
    let addresses = 2 + shelf.len() + shelf.models() + shelf.served_versions();
    let parts = addresses.div_ceil(SITEMAP_PART);
    if part.is_none() && parts > 1 {
        let listed: String = (1..=parts)
            .map(|part| format!("<sitemap><loc>{address}/sitemap.xml?part={part}</loc></sitemap>\n"))
            .collect();
        return Some(format!("{HEAD}<sitemapindex {NAMESPACE}>\n{listed}</sitemapindex>\n"));
    }
    let part = part.unwrap_or(1);
    if part == 0 || part > parts {
        return None;
    }
    let repositories = shelf.datasets().chain(shelf.repositories(Artefact::Model));
    let repositories = repositories.map(|repository| Line::Repository(repository.newest()));
    let versions = shelf.served().map(|version| Line::Version(version));
    let all = ["/", "/models"].map(Line::Page).into_iter().chain(repositories).chain(versions);
    let written = |line| match line {
        Line::Page(path) => format!("<url><loc>{address}{path}</loc></url>\n"),
        Line::Repository(newest) => {
            let (path, day) = (newest.repository_path(), newest.published_at().day());
            format!("<url><loc>{address}{path}</loc><lastmod>{day}</lastmod></url>\n")
        }
        Line::Version(version) => {
            let (path, day) = (pages::version_path(version), version.published_at().day());
            format!("<url><loc>{address}{path}</loc><lastmod>{day}</lastmod></url>\n")
        }
    };
    // The lines of other parts are not written.
    let listed: String = all.skip((part - 1) * SITEMAP_PART).take(SITEMAP_PART).map(written).collect();
    Some(format!("{HEAD}<urlset {NAMESPACE}>\n{listed}</urlset>\n"))
}

/// Headers on every answer.
fn guard(response: &mut Response<Body>, reader: Reader) {
    // By reader and not by content type: a 304 has no content type, and its headers replace those the browser kept.
    let policy = if reader == Reader::Person { PAGE_POLICY } else { DATA_POLICY };
    let headers = response.headers_mut();
    let fixed: [(HeaderName, &'static str); 5] = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (header::CONTENT_SECURITY_POLICY, policy),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if reader == Reader::Program {
        // Open data without cookies or logins: any site may read it.
        let any = HeaderValue::from_static("*");
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, any);
        let seen = "ETag, Link, Accept-Ranges, Content-Range, Content-Length, X-Repo-Commit, X-Error-Code, X-Error-Message, X-Revision, X-Xet-Hash, X-Xet-Cas-Url, X-Xet-Access-Token, X-Xet-Token-Expiration, Retry-After";
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(seen));
    }
}
