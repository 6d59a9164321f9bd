//! What the answers of an object store mean. Of an answer only its status and its code go on: nothing else that a server or a
//! library says gets into an error, since it may hold addresses, names of keys or what was signed.

use std::error::Error as _;

use object_store::client::{HttpError, HttpErrorKind};
use quick_xml::events::Event;

use crate::BlobError;

/// What an answer that is no success says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// There is no such object. Of a question about an object without its bytes: or no such bucket.
    Missing,
    /// The range begins behind the end of the object.
    Outside,
    /// There is such an object already.
    Exists,
    /// The server does not know this kind of request.
    NotOffered,
    /// Anything else.
    Error(BlobError),
}

impl Told {
    /// The error, or what it means here that something is not there.
    pub(crate) fn or(self, missing: impl FnOnce() -> BlobError) -> BlobError {
        match self {
            Self::Error(error) => error,
            Self::Missing | Self::Outside | Self::Exists | Self::NotOffered => missing(),
        }
    }

    /// What an error of the client says about `place`.
    pub(crate) fn of(error: &object_store::Error, place: &str) -> Self {
        if let object_store::Error::NotImplemented { .. } | object_store::Error::NotSupported { .. } = error {
            return Self::NotOffered;
        }
        if let Some(kind) = transport(error) {
            let why = match kind {
                HttpErrorKind::Connect => "no connection",
                HttpErrorKind::Timeout => "no answer in time",
                HttpErrorKind::Request | HttpErrorKind::Interrupted => "the connection broke off",
                _ => "the answer broke off",
            };
            return Self::Error(BlobError::Unreachable { place: place.to_owned(), why: why.to_owned() });
        }
        // The client tells status and body as text only.
        let text = error.to_string();
        let (status, body) = match text.split_once("status code: ") {
            Some((_, rest)) => (rest.get(..3).and_then(|digits| digits.parse().ok()), rest),
            None => (None, text.as_str()),
        };
        match (status, error) {
            (Some(status), _) => Self::of_answer(status, body, place),
            (None, object_store::Error::NotFound { .. }) => Self::of_answer(404, body, place),
            (None, object_store::Error::AlreadyExists { .. }) => Self::Exists,
            (None, _) if text.contains("credentials") || text.contains("token") || text.contains("metadata") => {
                let answer = "no credentials were found".to_owned();
                Self::Error(BlobError::Refused { place: place.to_owned(), answer })
            }
            (None, _) => Self::of_answer(200, body, place),
        }
    }

    /// What a status and a body say about `place`.
    pub(crate) fn of_answer(status: u16, body: &str, place: &str) -> Self {
        let code = code(body);
        let place = place.to_owned();
        let answer = match code {
            Some(code) => format!("{status} {code}"),
            None => status.to_string(),
        };
        match (status, code.unwrap_or_default()) {
            (_, "NoSuchBucket") => Self::Error(BlobError::NoBucket { place }),
            (_, "NotImplemented") | (501, _) => Self::NotOffered,
            (404, _) => Self::Missing,
            (416, _) | (_, "InvalidRange") => Self::Outside,
            (409 | 412, "" | "PreconditionFailed" | "ConditionalRequestConflict") => Self::Exists,
            (401 | 403, _) | (_, "AccessDenied" | "InvalidAccessKeyId" | "SignatureDoesNotMatch" | "ExpiredToken") => {
                Self::Error(BlobError::Refused { place, answer })
            }
            (408 | 429 | 500.., _) | (_, "InternalError" | "SlowDown") => {
                Self::Error(BlobError::Unreachable { place, why: format!("it answers {answer}") })
            }
            _ => Self::Error(BlobError::Answer { place, answer }),
        }
    }
}

/// How a connection failed, if it did.
fn transport(error: &object_store::Error) -> Option<HttpErrorKind> {
    let mut next = error.source();
    while let Some(source) = next {
        if let Some(http) = source.downcast_ref::<HttpError>() {
            return Some(http.kind());
        }
        next = source.source();
    }
    None
}

/// The code of S3 in an error, such as `NoSuchBucket`.
fn code(body: &str) -> Option<&str> {
    let after = body.split_once("<Code>").or_else(|| body.split_once("(code: "))?.1;
    let end = after.find(|c: char| !c.is_ascii_alphanumeric())?;
    (1..=64).contains(&end).then(|| &after[..end])
}

/// Uploads that nobody ended.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Uploads {
    /// Key and id of each.
    pub(crate) uploads: Vec<(String, String)>,
    /// Behind which key and id there are more.
    pub(crate) next: Option<(String, String)>,
}

/// Reads the answer to ListMultipartUploads.
pub(crate) fn uploads(xml: &str) -> Option<Uploads> {
    let mut reader = quick_xml::Reader::from_str(xml);
    let mut all = Uploads::default();
    let (mut path, mut key, mut id) = (Vec::new(), String::new(), String::new());
    let (mut is_truncated, mut next) = (false, (String::new(), String::new()));
    loop {
        match reader.read_event().ok()? {
            Event::Start(start) => path.push(start.local_name().as_ref().to_owned()),
            Event::End(_) => {
                if path.pop()? == "Upload" {
                    all.uploads.push((std::mem::take(&mut key), std::mem::take(&mut id)));
                }
            }
            Event::Text(text) => match path.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
                [_, "IsTruncated"] => is_truncated = &*text == "true",
                [_, "NextKeyMarker"] => next.0.push_str(&text),
                [_, "NextUploadIdMarker"] => next.1.push_str(&text),
                [_, "Upload", "Key"] => key.push_str(&text),
                [_, "Upload", "UploadId"] => id.push_str(&text),
                _ => {}
            },
            // Neither our keys nor the ids of uploads hold what is written as a reference.
            Event::GeneralRef(_) if path.len() == 3 => return None,
            Event::Eof => {
                all.next = (is_truncated && !next.0.is_empty()).then_some(next);
                return path.is_empty().then_some(all);
            }
            _ => {}
        }
    }
}
