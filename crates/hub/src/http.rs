//! The few pieces of HTTP the answers are made of: decoding, conditional requests, headers.

use acequia_types::{Digest, Timestamp};
use axum::body::Body;
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::{HeaderMap, Response, StatusCode};
use bytes::Bytes;
use serde::Serialize;

/// `X-Repo-Commit`: which version an answer is about. Clients keep even the absence of a file under it.
pub const REPO_COMMIT: HeaderName = HeaderName::from_static("x-repo-commit");

/// Longest path and query that are looked at.
const LONGEST_TARGET_BYTES: usize = 8 * 1024;

/// Undoes percent-encoding. `None` when an escape is malformed or the result is not UTF-8.
pub fn percent_decoded(text: &str) -> Option<String> {
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
pub fn percent_encoded(segment: &str) -> String {
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
pub fn segments(path: &str) -> Option<Vec<String>> {
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
pub struct Fields(Vec<(String, String)>);

impl Fields {
    /// Badly encoded fields are left out.
    pub fn parse(text: &str) -> Self {
        let decode = |part: &str| percent_decoded(&part.replace('+', " "));
        let pairs = text.split('&').filter(|part| !part.is_empty()).filter_map(|part| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            Some((decode(name)?, decode(value)?))
        });
        Self(pairs.collect())
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    pub fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        let name = name.to_owned();
        self.0.iter().filter(move |(field, _)| *field == name).map(|(_, value)| value.as_str())
    }

    /// Names of the fields, as often as they were given.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// `true`, `True` (Python's way) or `1`.
    pub fn is_true(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| value.eq_ignore_ascii_case("true") || value == "1")
    }

    pub fn number(&self, name: &str) -> Option<usize> {
        self.get(name)?.parse().ok()
    }
}

/// Sets a header whose value is made of our own ASCII text; a value that is none is left out.
pub fn put(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// An answer held in memory.
pub fn content(status: StatusCode, content_type: &'static str, bytes: impl Into<Bytes>) -> Response<Body> {
    let bytes = bytes.into();
    let length = bytes.len();
    let mut response = Response::new(Body::from(bytes));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    response
}

/// An answer of pages that are somebody's own, before it has the headers that all of these have.
pub struct Reply {
    /// The answer.
    pub response: Response<Body>,
    cookies: Vec<String>,
}

impl From<Response<Body>> for Reply {
    fn from(response: Response<Body>) -> Self {
        Self { response, cookies: Vec::new() }
    }
}

impl Reply {
    /// Sends whoever asks on to another page.
    pub fn see(place: &str) -> Self {
        let mut response = content(StatusCode::SEE_OTHER, "text/plain; charset=utf-8", "");
        put(response.headers_mut(), header::LOCATION, place);
        response.into()
    }

    /// JSON.
    pub fn json(status: StatusCode, value: &serde_json::Value) -> Self {
        content(status, "application/json", json_bytes(value)).into()
    }

    /// The same with a cookie, as it stands after `Set-Cookie:`.
    #[must_use]
    pub fn with_cookie(mut self, cookie: String) -> Self {
        self.cookies.push(cookie);
        self
    }

    /// The answer with its cookies, under a content security policy. It stays in no cache, unless it says otherwise.
    pub fn finished(self, policy: &'static str) -> Response<Body> {
        let Self { mut response, cookies } = self;
        let headers = response.headers_mut();
        for cookie in cookies {
            if let Ok(cookie) = HeaderValue::from_str(&cookie) {
                headers.append(header::SET_COOKIE, cookie);
            }
        }
        let fixed: [(HeaderName, &'static str); 5] = [
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            // Browsers say where a form came from only when the policy lets them say it to the same site.
            (header::REFERRER_POLICY, "same-origin"),
            (header::X_FRAME_OPTIONS, "DENY"),
            (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
            (header::CONTENT_SECURITY_POLICY, policy),
        ];
        for (name, value) in fixed {
            headers.insert(name, HeaderValue::from_static(value));
        }
        headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        response
    }
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

pub fn json_bytes(value: &impl Serialize) -> Vec<u8> {
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

/// Whether the request asks for a profile by its name (RFC 6906, as Signposting has it).
pub(crate) fn names(headers: &HeaderMap, profile: &str) -> bool {
    let texts = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    texts.flat_map(|text| text.split(['"', ' ', ';', '=', ','])).any(|given| given == profile)
}

/// The form of time that Hub clients parse: with milliseconds and `Z`.
pub fn iso_ms(at: Timestamp) -> String {
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
pub fn own_address(headers: &HeaderMap, fixed: Option<&str>) -> String {
    if let Some(fixed) = fixed {
        return fixed.to_owned();
    }
    let host = headers.get(header::HOST).and_then(|value| value.to_str().ok()).filter(|host| is_host(host));
    // Viewer clients put this before the host; the addresses given out are those without it.
    let host = host.map(|host| host.strip_prefix("datasets-server.").unwrap_or(host));
    format!("http://{}", host.unwrap_or("localhost"))
}

/// The host of an address, with its port.
pub(crate) fn host(address: &str) -> &str {
    address.split_once("://").map_or(address, |(_, host)| host)
}

/// The host of an address without its port; that of an IPv6 address without its brackets.
pub(crate) fn host_name(address: &str) -> &str {
    let host = host(address);
    match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((v6, _)) => v6,
        None => host.split(':').next().unwrap_or(host),
    }
}

/// Reads `http(s)://host[:port]`, without a path.
pub fn parse_address(text: &str) -> Option<String> {
    let text = text.trim_end_matches('/');
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"))?;
    is_host(host).then(|| text.to_owned())
}

/// A cookie by its name (RFC 6265 §5.4).
pub fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let texts = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = texts.flat_map(|text| text.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(found, _)| *found == name).map(|(_, value)| value)
}

/// Whether a request was sent by a page of `origin`. Browsers say so of every form and script; who says nothing is not believed.
pub fn same_origin(headers: &HeaderMap, origin: &str) -> bool {
    let said = |name: &str| headers.get(name).map(|value| value.as_bytes());
    match said("sec-fetch-site") {
        Some(site) => site == b"same-origin" && said("origin").is_none_or(|said| said == origin.as_bytes()),
        None => said("origin") == Some(origin.as_bytes()),
    }
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
        for (address, with_port, name) in [
            ("https://data.example.org", "data.example.org", "data.example.org"),
            ("http://127.0.0.1:8080", "127.0.0.1:8080", "127.0.0.1"),
            ("http://[2001:db8::1]:80", "[2001:db8::1]:80", "2001:db8::1"),
            ("http://[::1]", "[::1]", "::1"),
        ] {
            assert_eq!((host(address), host_name(address)), (with_port, name));
        }
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

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn only_pages_of_this_node_are_believed() {
        let own = "https://data.example.org";
        let from = |pairs: &[(&'static str, &'static str)]| same_origin(&headers(pairs), own);
        assert!(from(&[("origin", own)]) && from(&[("sec-fetch-site", "same-origin")]));
        assert!(from(&[("origin", own), ("sec-fetch-site", "same-origin")]));
        for forged in [
            &[][..],
            &[("origin", "null")],
            &[("origin", "https://data.example.org.evil.example")],
            &[("origin", "https://evil.example"), ("sec-fetch-site", "same-origin")],
            &[("origin", own), ("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "same-site")],
            &[("sec-fetch-site", "none")],
        ] {
            assert!(!from(forged), "{forged:?}");
        }
    }

    #[test]
    fn cookies_by_their_names() {
        let headers = headers(&[("cookie", "a=1; session=x=y; b"), ("cookie", "language=de")]);
        assert_eq!((cookie(&headers, "session"), cookie(&headers, "language")), (Some("x=y"), Some("de")));
        assert_eq!((cookie(&headers, "b"), cookie(&headers, "sess")), (None, None));
    }
}
