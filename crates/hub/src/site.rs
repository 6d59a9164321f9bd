//! Which address is answered by what.

use std::sync::{Arc, LazyLock};

use acequia_types::Digest;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::{HeaderMap, Method, Response, StatusCode};

use crate::catalogue::{Dataset, is_large};
use crate::facts::{Brief, FactsCache, Kind, whole};
use crate::http::{
    Fields, REPO_COMMIT, Refusal, content, fresh, json_bytes, own_address, parse_address, percent_encoded, put, see,
    segments,
};
use crate::{Catalogue, HubError, PublishedVersion, Shelf, api, files, http, pages};

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
/// Files named in the `Link` header of a page; more would outgrow what proxies pass.
const LINKED_FILES: usize = 16;
const LONGEST_SEARCH_CHARACTERS: usize = 200;

struct Site {
    catalogue: Arc<dyn Catalogue>,
    address: Option<String>,
    facts: FactsCache,
}

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
    let site = Site { catalogue, address, facts: FactsCache::default() };
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
    let answered = if segments.is_some() { site.answer(&parts, request).await } else { Err(Refusal::Page) };
    let mut response = answered.unwrap_or_else(|refusal| match reader {
        Reader::Program => refusal.to_program(),
        Reader::Person => refusal.with_headers(content(refusal.status(), PAGE, pages::refusal(&refusal))),
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
    let program = parts.first() == Some(&"api") || file(1) || file(2) || file(3);
    if program { Reader::Program } else { Reader::Person }
}

impl Site {
    async fn answer(&self, parts: &[&str], request: Request) -> Result<Response<Body>, Refusal> {
        let (head, body) = request.into_parts();
        let (headers, method) = (&head.headers, &head.method);
        let posted = matches!(parts, ["api", "datasets", _, _, "paths-info", _]);
        match *method {
            Method::GET | Method::HEAD if posted => return Err(Refusal::Method { allow: "POST, OPTIONS" }),
            Method::GET | Method::HEAD => {}
            Method::POST if posted => {}
            Method::OPTIONS if reader(parts) == Reader::Program => return Ok(preflight(posted)),
            _ if posted => return Err(Refusal::Method { allow: "POST, OPTIONS" }),
            _ => return Err(Refusal::Method { allow: "GET, HEAD" }),
        }
        let shelf = self.catalogue.shelf();
        let raw_query = head.uri.query().unwrap_or_default();
        let query = Fields::parse(raw_query);
        let address = own_address(headers, self.address.as_deref());
        let find = |namespace: &str, name: &str| shelf.dataset(namespace, name).ok_or(Refusal::Repo);
        match parts {
            [] => self.catalogue_page(&shelf, &query, &address, headers).await,
            ["datasets"] => Ok(see("/")),
            ["healthz"] => Ok(content(StatusCode::OK, "text/plain; charset=utf-8", "ok\n")),
            ["robots.txt"] => {
                let text = format!("{ROBOTS}Sitemap: {address}/sitemap.xml\n");
                Ok(fresh(headers, "text/plain; charset=utf-8", text))
            }
            ["sitemap.xml"] => Ok(fresh(headers, "application/xml", sitemap(&shelf, &address))),
            ["favicon.ico"] => Ok(for_ever(headers, "image/svg+xml", MARK)),
            ["assets", name] if STYLE_PATH.ends_with(&format!("/{name}")) => {
                Ok(for_ever(headers, "text/css; charset=utf-8", STYLE))
            }
            ["assets", name] if MARK_PATH.ends_with(&format!("/{name}")) => {
                Ok(for_ever(headers, "image/svg+xml", MARK))
            }

            ["datasets", namespace, name] => {
                let dataset = find(namespace, name)?;
                match query.get("version") {
                    Some(wanted) => {
                        let version = dataset.revision(wanted).ok_or(Refusal::Revision)?;
                        Ok(see(&pages::version_path(version)))
                    }
                    None => self.dataset_page(dataset, dataset.newest(), &address, headers).await,
                }
            }
            ["datasets", namespace, name, "v", wanted] => {
                let dataset = find(namespace, name)?;
                let version = dataset.revision(wanted).ok_or(Refusal::Revision)?;
                self.dataset_page(dataset, version, &address, headers).await
            }
            ["datasets", namespace, name, "v", wanted, "SHA256SUMS"] => {
                let version = served(find(namespace, name)?.revision(wanted))?;
                Ok(fresh(headers, "text/plain; charset=utf-8", pages::checksums(version)))
            }
            // Where people come to who know the addresses of other hubs.
            ["datasets", namespace, name, "tree" | "blob", wanted, ..] => {
                let version = find(namespace, name)?.revision(wanted).ok_or(Refusal::Revision)?;
                Ok(see(&pages::version_path(version)))
            }
            ["datasets", namespace, name, "resolve" | "raw", wanted, path @ ..] => {
                let version = served(find(namespace, name)?.revision(wanted))?;
                let fixed = *wanted == version.commit();
                files::resolve(&self.catalogue, version, &path.join("/"), fixed, method, headers).await
            }
            [_, "resolve" | "raw", ..] | [_, _, "resolve" | "raw", ..] => Err(Refusal::Repo),
            ["datasets", _] => Err(Refusal::Repo),

            ["api", "whoami-v2"] => Err(Refusal::Login),
            ["api", "datasets"] => {
                let chosen = self.chosen(&shelf, |version, brief| api::matches(version, brief, &query)).await;
                Ok(api::listing(headers, chosen, &query, raw_query, &address))
            }
            ["api", "models" | "spaces"] => Ok(api::answer(headers, &serde_json::json!([]), None)),
            ["api", "datasets", namespace, name, rest @ ..] => {
                let dataset = find(namespace, name)?;
                let revision = |wanted: &str| served(dataset.revision(wanted));
                served(Some(dataset.newest()))?;
                match rest {
                    [] => self.info(dataset, dataset.newest(), &query, headers).await,
                    ["revision", wanted] => self.info(dataset, revision(wanted)?, &query, headers).await,
                    ["tree", wanted, folder @ ..] => {
                        api::tree(headers, dataset, revision(wanted)?, &folder.join("/"), &query, &address)
                    }
                    ["paths-info", wanted] => {
                        let version = revision(wanted)?;
                        let body = axum::body::to_bytes(body, LONGEST_BODY_BYTES).await;
                        let body = body.map_err(|_| Refusal::TooLong)?;
                        let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
                        let (paths, expand) = api::wanted_paths(kind.unwrap_or_default(), &body)?;
                        let found = api::paths_info(dataset, version, &paths, expand);
                        Ok(api::answer(&HeaderMap::new(), &found, Some(version)))
                    }
                    ["refs"] => Ok(api::answer(headers, &api::refs(dataset, &query), Some(dataset.newest()))),
                    ["commits", wanted] => {
                        let version = revision(wanted)?;
                        Ok(api::answer(headers, &api::commits(dataset, version), Some(version)))
                    }
                    ["auth-check"] => Ok(content(StatusCode::OK, "text/plain; charset=utf-8", "OK")),
                    ["croissant"] => self.croissant(dataset.newest(), &address, headers).await,
                    ["croissant", wanted] => self.croissant(revision(wanted)?, &address, headers).await,
                    _ => Err(Refusal::Page),
                }
            }
            ["api", "datasets" | "models" | "spaces", ..] => Err(Refusal::Repo),
            _ => Err(Refusal::Page),
        }
    }

    /// Data sets whose newest version passes `test`, in the order of their names.
    async fn chosen<'s>(
        &self,
        shelf: &'s Shelf,
        test: impl Fn(&PublishedVersion, &Brief) -> bool,
    ) -> Vec<(&'s Dataset, Arc<Brief>)> {
        let mut chosen = Vec::new();
        for dataset in shelf.datasets().filter(|dataset| dataset.newest().tombstone().is_none()) {
            let brief = self.facts.brief(&self.catalogue, dataset.newest()).await;
            if test(dataset.newest(), &brief) {
                chosen.push((dataset, brief));
            }
        }
        chosen
    }

    async fn info(
        &self,
        dataset: &Dataset,
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
        Ok(response)
    }

    async fn catalogue_page(
        &self,
        shelf: &Shelf,
        query: &Fields,
        address: &str,
        headers: &HeaderMap,
    ) -> Result<Response<Body>, Refusal> {
        let words: String = query.get("q").unwrap_or_default().chars().take(LONGEST_SEARCH_CHARACTERS).collect();
        let mut chosen = self.chosen(shelf, |version, brief| api::says(version, brief, &words)).await;
        chosen.sort_by_key(|(dataset, _)| std::cmp::Reverse(dataset.newest().published_at()));
        let pages = chosen.len().div_ceil(CATALOGUE_PAGE).max(1);
        let page = query.number("page").unwrap_or(1).clamp(1, pages);
        let shown = chosen.iter().skip((page - 1) * CATALOGUE_PAGE).take(CATALOGUE_PAGE);
        let listed: Vec<pages::Listed<'_>> =
            shown.map(|(dataset, brief)| pages::Listed { version: dataset.newest(), brief }).collect();
        let real = chosen.iter().filter(|(_, brief)| brief.kind != Kind::Synthetic);
        // A sum is stated only when every part of it is.
        let people = real.clone().map(|(dataset, brief)| (brief.kind == Kind::Real).then(|| dataset.newest().people()));
        let risks = real.map(|(_, brief)| brief.highest_risk);
        let view = pages::Catalogue {
            listed: &listed,
            found: chosen.len(),
            of: shelf.len(),
            people: people.sum(),
            highest_risk: risks.collect::<Option<Vec<f64>>>().and_then(|risks| risks.into_iter().reduce(f64::max)),
            words: &words,
            page,
            pages,
            address,
        };
        Ok(fresh(headers, PAGE, pages::catalogue(&view)))
    }

    async fn dataset_page(
        &self,
        dataset: &Dataset,
        version: &PublishedVersion,
        address: &str,
        headers: &HeaderMap,
    ) -> Result<Response<Body>, Refusal> {
        if let Some(down) = version.tombstone() {
            let mut response = content(StatusCode::GONE, PAGE, pages::tombstone(dataset, version, down));
            response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
            return Ok(response);
        }
        let facts = self.facts.of(&self.catalogue, version).await;
        let mut response = fresh(headers, PAGE, pages::dataset(dataset, version, &facts, address));
        // Signposting (signposting.org/FAIR): what the page cites, describes and offers.
        let base = format!("{address}/datasets/{}", version.manifest().dataset);
        let mut links = vec![
            format!("<{address}{}>; rel=\"cite-as\"", pages::version_path(version)),
            "<https://schema.org/Dataset>; rel=\"type\"".to_owned(),
            format!(
                "<{address}/api/datasets/{}/croissant/{}>; rel=\"describedby\"; type=\"application/ld+json\"",
                version.manifest().dataset,
                version.commit()
            ),
        ];
        if let Some(license) = pages::license_address(&version.manifest().license) {
            links.push(format!("<{license}>; rel=\"license\""));
        }
        for file in version.files().values().filter(|file| is_large(file)).take(LINKED_FILES) {
            let path: Vec<String> = file.path.split('/').map(percent_encoded).collect();
            let kind = http::content_type(&file.path);
            let target = format!("{base}/resolve/{}/{}", version.commit(), path.join("/"));
            links.push(format!("<{target}>; rel=\"item\"; type=\"{kind}\""));
        }
        put(response.headers_mut(), header::LINK, &links.join(", "));
        put(response.headers_mut(), REPO_COMMIT, version.commit());
        Ok(response)
    }
}

/// The version, if there is one and it is served.
fn served(version: Option<&Arc<PublishedVersion>>) -> Result<&Arc<PublishedVersion>, Refusal> {
    let version = version.ok_or(Refusal::Revision)?;
    match version.tombstone() {
        Some(down) => Err(Refusal::Gone { successor: down.successor.clone() }),
        None => Ok(version),
    }
}

/// What a browser asks before a program on another site may call.
fn preflight(posted: bool) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    let methods = if posted { "POST" } else { "GET, HEAD" };
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(methods));
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

/// Pages for harvesters, in the order of names (sitemaps.org protocol 0.9, at most 50,000 addresses).
fn sitemap(shelf: &Shelf, address: &str) -> String {
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    out.push_str("<urlset xmlns=\"http://www.sitemaps.org/schemas/sitemap/0.9\">\n");
    out.push_str(&format!("<url><loc>{address}/</loc></url>\n"));
    for dataset in shelf.datasets().filter(|dataset| dataset.newest().tombstone().is_none()).take(49_999) {
        let version = dataset.newest();
        let (name, day) = (&version.manifest().dataset, version.published_at().day());
        out.push_str(&format!("<url><loc>{address}/datasets/{name}</loc><lastmod>{day}</lastmod></url>\n"));
    }
    out.push_str("</urlset>\n");
    out
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
        let seen =
            "ETag, Link, Accept-Ranges, Content-Range, Content-Length, X-Repo-Commit, X-Error-Code, X-Error-Message";
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(seen));
    }
}
