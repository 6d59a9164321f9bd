//! `resolve`: the bytes of a file, whole or in part.

use std::sync::Arc;

use acequia_gate::ReleasedFile;
use acequia_types::Coded;
use axum::body::Body;
use axum::http::header::{self, HeaderValue};
use axum::http::{HeaderMap, Method, Response, StatusCode};
use bytes::Bytes;

use crate::api::{Snapshot, Versioned};
use crate::body::Source;
use crate::catalogue::MANIFEST;
use crate::http::{REPO_COMMIT, content_type, none_match, not_modified, percent_encoded, put, range_allowed};
use crate::range::{Wanted, wanted};
use crate::refusal::Refusal;
use crate::{Catalogue, HubError, body};

/// The `ETag` of a file, without quotes. It becomes a file name in the client's cache: SHA-256 for tables, git blob id
/// for the rest, which clients compare with one they computed.
fn etag(file: &ReleasedFile, is_large: bool) -> String {
    if is_large { file.sha256.to_string() } else { file.git_oid.clone() }
}

/// Answers `GET` and `HEAD` of a file of `version`.
pub(crate) async fn resolve(
    catalogue: &Arc<dyn Catalogue>,
    at: Versioned<'_>,
    path: &str,
    method: &Method,
    request: &HeaderMap,
) -> Result<Response<Body>, Refusal> {
    let inline = (path == MANIFEST).then(|| at.version.manifest_bytes().clone());
    // A version never changes, but it can be taken down: whoever keeps a file asks again, and gets 304 or 410. Shared
    // caches may keep it although Hub clients send tokens.
    let cache = HeaderValue::from_static("public, no-cache");
    of_snapshot(catalogue, &at, (path, inline), cache, method, request).await
}

/// Answers `GET` and `HEAD` of a file, whose bytes are `inline` or come from `source`.
///
/// # Errors
/// [`Refusal::Entry`], [`Refusal::Range`], [`Refusal::Store`].
pub async fn of_snapshot<S: Source + ?Sized>(
    source: &Arc<S>,
    at: &impl Snapshot,
    (path, inline): (&str, Option<Bytes>),
    cache: HeaderValue,
    method: &Method,
    request: &HeaderMap,
) -> Result<Response<Body>, Refusal> {
    let file = at.files().get(path).ok_or_else(|| Refusal::Entry { commit: at.commit().to_owned() })?;
    let is_large = at.is_large(file);
    let tag = etag(file, is_large);
    let part = part(file.bytes, &tag, method, request)?;
    let range = part.clone().unwrap_or(0..file.bytes);
    let body = if *method == Method::HEAD || range.is_empty() {
        Body::empty()
    } else {
        let whole = match inline {
            Some(bytes) => body::Part::Bytes(bytes),
            None => body::Part::File { sha256: file.sha256, bytes: file.bytes },
        };
        body::of_parts(source, [whole], range).await.map_err(|error| unreadable(&error))?
    };
    let mut response = partial(part, file.bytes, body);
    if response.status() != StatusCode::NOT_MODIFIED {
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type(path)));
    }
    let headers = response.headers_mut();
    put(headers, header::ETAG, &format!("\"{tag}\""));
    put(headers, REPO_COMMIT, at.commit());
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    let name = path.rsplit('/').next().unwrap_or(path);
    if is_large {
        put(headers, header::CONTENT_DISPOSITION, &format!("attachment; filename*=UTF-8''{}", percent_encoded(name)));
    }
    headers.insert(header::CACHE_CONTROL, cache);
    Ok(response)
}

/// What of a file of `size_bytes` with this tag is asked for: all of it (`None`), a part, or nothing since the client
/// has it (an empty range).
///
/// # Errors
/// [`Refusal::Range`] when the part lies outside.
pub(crate) fn part(
    size_bytes: u64,
    tag: &str,
    method: &Method,
    request: &HeaderMap,
) -> Result<Option<std::ops::Range<u64>>, Refusal> {
    if none_match(request, tag) {
        return Ok(Some(0..0));
    }
    // RFC 9110 §14.2: a range means something for GET only.
    let asked = request.get(header::RANGE).filter(|_| *method == Method::GET && range_allowed(request, tag));
    match wanted(asked.and_then(|value| value.to_str().ok()), size_bytes) {
        Wanted::Whole => Ok(None),
        Wanted::Part(part) => Ok(Some(part)),
        Wanted::Outside => Err(Refusal::Range { size_bytes }),
    }
}

/// The answer 200, 206 or 304 to what [`part`] found, with its length.
pub(crate) fn partial(part: Option<std::ops::Range<u64>>, size_bytes: u64, body: Body) -> Response<Body> {
    if part.as_ref().is_some_and(std::ops::Range::is_empty) {
        return not_modified();
    }
    let range = part.clone().unwrap_or(0..size_bytes);
    let length = range.end - range.start;
    let stated = format!("bytes {}-{}/{size_bytes}", range.start, range.end.saturating_sub(1));
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    if part.is_some() {
        put(response.headers_mut(), header::CONTENT_RANGE, &stated);
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    response
}

/// Says in the log what the store says; the reader learns only that it failed.
pub(crate) fn unreadable(error: &HubError) -> Refusal {
    tracing::error!(code = error.code(), "{error}");
    Refusal::Store
}
