//! The few pieces of HTTP the answers are made of: decoding, conditional requests, refusals, headers.

use acequia_types::{Digest, Timestamp};
use axum::body::Body;
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::{HeaderMap, Response, StatusCode};
use bytes::Bytes;
use serde_json::{Value, json};

/// `X-Repo-Commit`: which version an answer is about. Clients keep even the absence of a file under it.
pub(crate) const REPO_COMMIT: HeaderName = HeaderName::from_static("x-repo-commit");
const ERROR_CODE: HeaderName = HeaderName::from_static("x-error-code");
const ERROR_MESSAGE: HeaderName = HeaderName::from_static("x-error-message");

/// Longest path and query that are looked at.
const LONGEST_TARGET_BYTES: usize = 8 * 1024;

/// Undoes percent-encoding. `None` when an escape is malformed or the result is not UTF-8.
pub(crate) fn percent_decoded(text: &str) -> Option<String> {
    if !text.contains('%') {
        return Some(text.to_owned());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        let value = digit(rest.next())? * 16 + digit(rest.next())?;
        bytes.push(u8::try_from(value).ok()?);
    }
    String::from_utf8(bytes).ok()
}

/// Percent-encodes what may not stand in a path segment.
pub(crate) fn percent_encoded(segment: &str) -> String {
    let mut out = String::with_capacity(segment.len());
    for byte in segment.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// The decoded segments of a path, without a single trailing slash; `None` when it is too long or badly encoded.
///
/// Segments are decoded after splitting, so a revision may hold `%2F`.
pub(crate) fn segments(path: &str) -> Option<Vec<String>> {
    if path.len() > LONGEST_TARGET_BYTES {
        return None;
    }
    let path = path.strip_prefix('/').unwrap_or(path);
    let path = path.strip_suffix('/').unwrap_or(path);
    if path.is_empty() {
        return Some(Vec::new());
    }
    path.split('/').map(percent_decoded).collect()
}

/// Fields of a query or of a form body (`application/x-www-form-urlencoded`), in order, repeats kept.
#[derive(Debug, Default)]
pub(crate) struct Fields(Vec<(String, String)>);

impl Fields {
    /// Badly encoded fields are left out.
    pub(crate) fn parse(text: &str) -> Self {
        let decode = |part: &str| percent_decoded(&part.replace('+', " "));
        let pairs = text.split('&').filter(|part| !part.is_empty()).filter_map(|part| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            Some((decode(name)?, decode(value)?))
        });
        Self(pairs.collect())
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    pub(crate) fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        let name = name.to_owned();
        self.0.iter().filter(move |(field, _)| *field == name).map(|(_, value)| value.as_str())
    }

    /// Names of the fields, as often as they were given.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// `true`, `True` (Python's way) or `1`.
    pub(crate) fn is_true(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| value.eq_ignore_ascii_case("true") || value == "1")
    }

    pub(crate) fn number(&self, name: &str) -> Option<usize> {
        self.get(name)?.parse().ok()
    }
}

/// Why a request is not answered with what it asked for.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// No such data set. Models and spaces are asked for with the same routes; there are none.
    Repo,
    /// The data set has no such version.
    Revision,
    /// The version has no such file or folder.
    Entry { commit: String },
    /// No such page or route.
    Page,
    /// Who are you? Nothing here needs a login.
    Login,
    /// The route knows other methods only.
    Method { allow: &'static str },
    /// The request cannot be understood.
    Bad { what: &'static str },
    /// The body of the request is too long.
    TooLong,
    /// The range lies outside the file.
    Range { size_bytes: u64 },
    /// The store cannot deliver.
    Store,
    /// The request would change, move or delete what is published.
    Immutable,
    /// The request would give a tag or a repository a name that is taken.
    Exists,
    /// Too much is being computed already.
    Busy,
}

/// Every kind of refusal with its slug and what to do about it, for the page that problem details point to.
pub(crate) const PROBLEMS: [(&str, &str, &str); 13] = [
    (
        "repo-not-found",
        "No such data set",
        "See the list of data sets. Names are namespace/name, in the same case. Models are not published here yet.",
    ),
    (
        "revision-not-found",
        "No such version",
        "Ask for main, for a tag such as v1.0.0, or for a whole commit of 40 hex digits; the start of one is not enough.",
    ),
    (
        "entry-not-found",
        "No such file or folder",
        "List the files of the version first: /api/datasets/{namespace}/{name}/tree/{revision}.",
    ),
    (
        "not-found",
        "No such page",
        "Check the address. Published versions are never removed to make room for newer ones.",
    ),
    ("not-logged-in", "Nobody is logged in", "Leave the token out: everything here is open."),
    ("method-not-allowed", "Another method", "The header Allow says which methods the address knows."),
    (
        "bad-request",
        "The request cannot be understood",
        "The description of the interface says what each address takes: /api/openapi.json.",
    ),
    ("too-long", "The request is too long", "Ask for fewer paths at a time."),
    ("range-not-satisfiable", "Outside the file", "The header Content-Range says how long the file is."),
    ("store-failed", "The node cannot read this now", "Try again later; the operator finds the reason in the log."),
    (
        "immutable",
        "Published versions never change",
        "A correction or a withdrawal makes a new version, which passes the gate as every version does. Nobody moves a tag, rewrites history or deletes a file.",
    ),
    ("exists", "The name is taken", "What is published under this name stays. Choose the next version number."),
    ("busy", "Too much is being computed", "Try again after the number of seconds in the header Retry-After."),
];

impl Refusal {
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Repo | Self::Revision | Self::Entry { .. } | Self::Page => StatusCode::NOT_FOUND,
            Self::Login => StatusCode::UNAUTHORIZED,
            Self::Method { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::Bad { .. } => StatusCode::BAD_REQUEST,
            Self::TooLong => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Range { .. } => StatusCode::RANGE_NOT_SATISFIABLE,
            Self::Store => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Immutable => StatusCode::FORBIDDEN,
            Self::Exists => StatusCode::CONFLICT,
            Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// Which of [`PROBLEMS`] it is.
    fn slug(&self) -> &'static str {
        match self {
            Self::Repo => "repo-not-found",
            Self::Revision => "revision-not-found",
            Self::Entry { .. } => "entry-not-found",
            Self::Page => "not-found",
            Self::Login => "not-logged-in",
            Self::Method { .. } => "method-not-allowed",
            Self::Bad { .. } => "bad-request",
            Self::TooLong => "too-long",
            Self::Range { .. } => "range-not-satisfiable",
            Self::Store => "store-failed",
            Self::Immutable => "immutable",
            Self::Exists => "exists",
            Self::Busy => "busy",
        }
    }

    /// The code that selects the exception class in Hub clients.
    fn code(&self) -> Option<&'static str> {
        match self {
            Self::Repo => Some("RepoNotFound"),
            Self::Revision => Some("RevisionNotFound"),
            Self::Entry { .. } => Some("EntryNotFound"),
            Self::Immutable => Some("Immutable"),
            Self::Exists => Some("Exists"),
            _ => None,
        }
    }

    pub(crate) fn message(&self) -> &'static str {
        match self {
            Self::Repo => "This node has no such data set.",
            Self::Revision => "This data set has no such version.",
            Self::Entry { .. } => "This version has no such file or folder.",
            Self::Page => "There is no page at this address.",
            Self::Login => "Nobody is logged in; everything on this node is open and needs no login.",
            Self::Method { .. } => "This address is for reading only.",
            Self::Bad { what } => what,
            Self::TooLong => "The request is too long.",
            Self::Range { .. } => "The range lies outside the file.",
            Self::Store => "The node cannot read this from its store now. Its operator finds the reason in the log.",
            Self::Immutable => {
                "A published version never changes: no tag moves, no history is rewritten, no file is replaced or deleted. Publish the next version."
            }
            Self::Exists => "This name is taken, and what it stands for never changes.",
            Self::Busy => "Too much is being computed now. Try again in a few seconds.",
        }
    }

    /// The answer to a program: the members that Hub clients read and those of RFC 9457 in one object. Clients that
    /// know problem details say so in `Accept`; others read a body only when it is called plain JSON.
    pub(crate) fn to_program(&self, request: &HeaderMap) -> Response<Body> {
        let slug = self.slug();
        let title = PROBLEMS.iter().find(|(known, ..)| *known == slug).map_or("", |(_, title, _)| title);
        let mut body = json!({
            "error": self.message(),
            "type": format!("/problems#{slug}"),
            "title": title,
            "status": self.status().as_u16(),
            "detail": self.message(),
        });
        if let Some(code) = self.code() {
            body["code"] = Value::from(code);
        }
        let kind =
            if accepts(request, "application/problem+json") { "application/problem+json" } else { "application/json" };
        self.with_headers(content(self.status(), kind, json_bytes(&body)))
    }

    /// Adds the headers that every form of this refusal carries.
    pub(crate) fn with_headers(&self, mut response: Response<Body>) -> Response<Body> {
        let headers = response.headers_mut();
        if let Some(code) = self.code() {
            headers.insert(ERROR_CODE, HeaderValue::from_static(code));
        }
        if let Ok(message) = HeaderValue::from_str(self.message()) {
            headers.insert(ERROR_MESSAGE, message);
        }
        match self {
            Self::Entry { commit } => put(headers, REPO_COMMIT, commit),
            Self::Method { allow } => put(headers, header::ALLOW, allow),
            Self::Range { size_bytes } => put(headers, header::CONTENT_RANGE, &format!("bytes */{size_bytes}")),
            Self::Busy => put(headers, header::RETRY_AFTER, "5"),
            _ => {}
        }
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        response
    }
}

/// Sets a header whose value is made of our own ASCII text; a value that is none is left out.
pub(crate) fn put(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// An answer held in memory.
pub(crate) fn content(status: StatusCode, content_type: &'static str, bytes: impl Into<Bytes>) -> Response<Body> {
    let bytes = bytes.into();
    let length = bytes.len();
    let mut response = Response::new(Body::from(bytes));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    response
}

/// An answer 200 in memory that a client may keep and ask about again: its `ETag` is its digest.
pub(crate) fn fresh(request: &HeaderMap, content_type: &'static str, bytes: impl Into<Bytes>) -> Response<Body> {
    let bytes = bytes.into();
    let tag = Digest::of(&bytes).short(32);
    let mut response =
        if none_match(request, &tag) { not_modified() } else { content(StatusCode::OK, content_type, bytes) };
    put(response.headers_mut(), header::ETAG, &format!("\"{tag}\""));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// The client has it already.
pub(crate) fn not_modified() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    response
}

/// Elsewhere on this node.
pub(crate) fn see(path: &str) -> Response<Body> {
    let mut response = content(StatusCode::SEE_OTHER, "text/plain; charset=utf-8", "");
    put(response.headers_mut(), header::LOCATION, path);
    response
}

pub(crate) fn json_bytes(value: &Value) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

/// Whether `If-None-Match` names `tag` (weak comparison, RFC 9110 §13.1.2).
pub(crate) fn none_match(headers: &HeaderMap, tag: &str) -> bool {
    let texts = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut tags = texts.flat_map(|text| text.split(',')).map(str::trim);
    tags.any(|given| given == "*" || given.strip_prefix("W/").unwrap_or(given).trim_matches('"') == tag)
}

/// Whether `If-Range` lets a range be served: absent, or the very same strong tag (RFC 9110 §13.1.5).
pub(crate) fn range_allowed(headers: &HeaderMap, tag: &str) -> bool {
    headers.get(header::IF_RANGE).is_none_or(|value| value.as_bytes() == format!("\"{tag}\"").as_bytes())
}

/// Whether `Accept` names this media type. `*/*` does not count: every client sends it.
pub(crate) fn accepts(headers: &HeaderMap, media_type: &str) -> bool {
    let texts = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut types = texts.flat_map(|text| text.split(','));
    types.any(|given| given.split(';').next().is_some_and(|given| given.trim().eq_ignore_ascii_case(media_type)))
}

/// The form of time that Hub clients parse: with milliseconds and `Z`.
pub(crate) fn iso_ms(at: Timestamp) -> String {
    at.to_string().replace('Z', ".000Z")
}

/// What a file is, by its name.
pub(crate) fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map_or("", |(_, extension)| extension) {
        "parquet" => "application/vnd.apache.parquet",
        "json" if path.ends_with("croissant.json") => "application/ld+json",
        "json" => "application/json",
        "md" => "text/markdown; charset=utf-8",
        "csv" => "text/csv; charset=utf-8",
        "jsonld" => "application/ld+json",
        "ttl" => "text/turtle",
        "txt" | "toml" | "sql" | "yaml" | "yml" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

/// `http(s)://host[:port]` of this node as the reader reaches it.
///
/// The `Host` header is the reader's own text and lands in snippets, so only what can be a host name or an address is
/// taken from it; otherwise the addresses on the page are those of the local machine.
pub(crate) fn own_address(headers: &HeaderMap, fixed: Option<&str>) -> String {
    if let Some(fixed) = fixed {
        return fixed.to_owned();
    }
    let host = headers.get(header::HOST).and_then(|value| value.to_str().ok()).filter(|host| is_host(host));
    // Viewer clients put this before the host; the addresses given out are those without it.
    let host = host.map(|host| host.strip_prefix("datasets-server.").unwrap_or(host));
    format!("http://{}", host.unwrap_or("localhost"))
}

/// Reads `http(s)://host[:port]`, without a path.
pub(crate) fn parse_address(text: &str) -> Option<String> {
    let text = text.trim_end_matches('/');
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"))?;
    is_host(host).then(|| text.to_owned())
}

fn is_host(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((v6, port)) if v6.parse::<std::net::Ipv6Addr>().is_ok() => ("v6", port),
            _ => return false,
        },
        None => host.find(':').map_or((host, ""), |at| host.split_at(at)),
    };
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let named = name.len() <= 253 && name.strip_suffix('.').unwrap_or(name).split('.').all(label);
    let ported = port.is_empty()
        || port
            .strip_prefix(':')
            .is_some_and(|p| p.len() <= 5 && p.bytes().all(|b| b.is_ascii_digit()) && p.parse::<u16>().is_ok());
    named && ported
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_keep_an_encoded_slash() {
        assert_eq!(segments("/api/x/refs%2Fpr%2F1/"), Some(vec!["api".into(), "x".into(), "refs/pr/1".into()]));
        assert_eq!(segments("/"), Some(vec![]));
        assert_eq!(segments("/a//b").map(|s| s.len()), Some(3));
        for bad in ["/%", "/%2", "/%zz", "/%ff", &"/a".repeat(5000)] {
            assert_eq!(segments(bad), None, "{bad:.10}");
        }
    }

    #[test]
    fn fields_repeat_and_decode() {
        let fields = Fields::parse("expand=a&expand=b+c&flag=True&x=%2F&bad=%zz&&empty");
        assert_eq!(fields.all("expand").collect::<Vec<_>>(), ["a", "b c"]);
        assert!(fields.is_true("flag") && !fields.is_true("empty"));
        assert_eq!((fields.get("x"), fields.get("bad")), (Some("/"), None));
    }

    #[test]
    fn only_a_host_becomes_part_of_a_page() {
        for good in ["localhost", "127.0.0.1:8080", "data.example.org", "[::1]:80", "node_1.local."] {
            assert!(is_host(good), "{good}");
        }
        for bad in [
            "",
            "a b",
            "a/b",
            "evil.com\"><script>",
            "a:99999",
            "a:",
            "a:80:90",
            "[::1",
            "[zz]",
            "-a",
            "user@host",
            "a..b",
            "a'b",
            "a:+80",
            "$(reboot)",
            &"a".repeat(300),
        ] {
            assert!(!is_host(bad), "{bad}");
        }
        assert_eq!(parse_address("https://data.example.org/").as_deref(), Some("https://data.example.org"));
        assert_eq!(parse_address("ftp://a"), None);
        assert_eq!(parse_address("https://a/b"), None);
    }

    #[test]
    fn conditions() {
        let mut headers = HeaderMap::new();
        assert!(!none_match(&headers, "abc") && range_allowed(&headers, "abc"));
        put(&mut headers, header::IF_NONE_MATCH, "\"x\", W/\"abc\"");
        put(&mut headers, header::IF_RANGE, "W/\"abc\"");
        assert!(none_match(&headers, "abc") && !none_match(&headers, "ab"));
        assert!(!range_allowed(&headers, "abc"));
    }
}
