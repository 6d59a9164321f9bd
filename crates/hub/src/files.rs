//! `resolve`: the bytes of a file, whole or in part.

use std::sync::Arc;

use acequia_gate::ReleasedFile;
use axum::body::Body;
use axum::http::header::{self, HeaderValue};
use axum::http::{HeaderMap, Method, Response, StatusCode};

use crate::catalogue::{MANIFEST, is_large};
use crate::http::{REPO_COMMIT, Refusal, content_type, none_match, not_modified, percent_encoded, put, range_allowed};
use crate::range::{Wanted, wanted};
use crate::{Catalogue, HubError, PublishedVersion, body};
use acequia_types::Coded;

/// The `ETag` of a file, without quotes. It becomes a file name in the client's cache: SHA-256 for tables, git blob id
/// for the rest, which clients compare with one they computed.
pub(crate) fn etag(file: &ReleasedFile) -> String {
    if is_large(file) { file.sha256.to_string() } else { file.git_oid.clone() }
}

/// Answers `GET` and `HEAD` of a file of `version`.
///
/// `fixed` says that the address names the version for good, so that the answer may be kept for ever.
pub(crate) async fn resolve(
    catalogue: &Arc<dyn Catalogue>,
    version: &PublishedVersion,
    path: &str,
    fixed: bool,
    method: &Method,
    request: &HeaderMap,
) -> Result<Response<Body>, Refusal> {
    let file = version.files().get(path).ok_or_else(|| Refusal::Entry { commit: version.commit().to_owned() })?;
    let tag = etag(file);
    let mut response = if none_match(request, &tag) {
        not_modified()
    } else {
        // RFC 9110 §14.2: a range means something for GET only.
        let asked = request.get(header::RANGE).filter(|_| *method == Method::GET && range_allowed(request, &tag));
        let part = match wanted(asked.and_then(|value| value.to_str().ok()), file.bytes) {
            Wanted::Whole => None,
            Wanted::Part(part) => Some(part),
            Wanted::Outside => return Err(Refusal::Range { size_bytes: file.bytes }),
        };
        let range = part.clone().unwrap_or(0..file.bytes);
        let length = range.end - range.start;
        let body = if *method == Method::HEAD {
            Body::empty()
        } else if path == MANIFEST {
            let slice = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
            Body::from(version.manifest_bytes().slice(slice(range.start)..slice(range.end)))
        } else {
            body::of_file(catalogue, file, range.clone()).await.map_err(|error| unreadable(&error))?
        };
        let mut response = Response::new(body);
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type(path)));
        if part.is_some() {
            put(headers, header::CONTENT_RANGE, &format!("bytes {}-{}/{}", range.start, range.end - 1, file.bytes));
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        }
        response
    };
    let headers = response.headers_mut();
    put(headers, header::ETAG, &format!("\"{tag}\""));
    put(headers, REPO_COMMIT, version.commit());
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    let name = path.rsplit('/').next().unwrap_or(path);
    if is_large(file) {
        put(headers, header::CONTENT_DISPOSITION, &format!("attachment; filename*=UTF-8''{}", percent_encoded(name)));
    }
    let cache = if fixed { "public, max-age=31536000, immutable" } else { "no-cache" };
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    Ok(response)
}

/// Says in the log what the store says; the reader learns only that it failed.
pub(crate) fn unreadable(error: &HubError) -> Refusal {
    tracing::error!(code = error.code(), "{error}");
    Refusal::Store
}
