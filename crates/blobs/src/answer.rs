//! What the answers of an object store mean. Of an answer only its status and its code go on: nothing else that a server or a
//! library says gets into an error, since it may hold addresses, names of keys or what was signed.

use std::error::Error as _;

use object_store::client::{HttpError, HttpErrorKind};
use quick_xml::events::Event;

use crate::BlobError;

/// Why an answer is not whole.
pub(crate) const BROKE_OFF: &str = "the answer broke off";

/// What an answer that is no success says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// There is no such object. Of a question about an object without its bytes: or no such bucket.
    Missing,
    /// The range begins behind the end of the object.
    Outside,
    /// There is such an object already.
    Exists(BlobError),
    /// The server does not know this kind of request.
    NotOffered(BlobError),
    /// Anything else.
    Error(BlobError),
}

impl Told {
    /// The error, or what it means here that something is not there.
    pub(crate) fn or(self, missing: impl FnOnce() -> BlobError) -> BlobError {
        match self {
            Self::Error(error) | Self::Exists(error) | Self::NotOffered(error) => error,
            Self::Missing | Self::Outside => missing(),
        }
    }

    /// What an error of the client says about `place`.
    pub(crate) fn of(error: &object_store::Error, place: &str) -> Self {
        if let object_store::Error::NotImplemented { .. } | object_store::Error::NotSupported { .. } = error {
            return Self::of_answer(501, "", place);
        }
        // The client tells much as text only.
        let text = error.to_string();
        // Asked last for credentials, and only by a machine that has none of its own, is the one that machines of AWS run on.
        if text.contains("/latest/api/token") || text.contains("/latest/meta-data") {
            let answer = "no credentials were found".to_owned();
            return Self::Error(BlobError::Refused { place: place.to_owned(), answer });
        }
        if let Some(kind) = transport(error) {
            let why = match kind {
                HttpErrorKind::Connect => "no connection",
                HttpErrorKind::Timeout => "no answer in time",
                HttpErrorKind::Request | HttpErrorKind::Interrupted => "the connection broke off",
                _ => BROKE_OFF,
            };
            return Self::Error(BlobError::Unreachable { place: place.to_owned(), why: why.to_owned() });
        }
        let (status, body) = match text.split_once("status code: ") {
            Some((_, rest)) => (rest.get(..3).and_then(|digits| digits.parse().ok()), rest),
            None => (None, text.as_str()),
        };
        match (status, error) {
            (Some(status), _) => Self::of_answer(status, body, place),
            (None, object_store::Error::NotFound { .. }) => Self::of_answer(404, body, place),
            (None, object_store::Error::AlreadyExists { .. }) => Self::of_answer(412, body, place),
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
            (_, "NotImplemented") | (501, _) => Self::NotOffered(BlobError::Answer { place, answer }),
            (404, _) => Self::Missing,
            (416, _) | (_, "InvalidRange") => Self::Outside,
            (409 | 412, "" | "PreconditionFailed" | "ConditionalRequestConflict") => {
                Self::Exists(BlobError::Answer { place, answer })
            }
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
                let ended = path.pop()?;
                if ended == "Upload" {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn told(status: u16, code: &str) -> Told {
        let body =
            format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>key AKID of s3://b</Message></Error>");
        Told::of_answer(status, &body, "s3://blobs/node")
    }

    #[test]
    fn answers_mean_what_the_amazon_s3_api_says() {
        let place = || "s3://blobs/node".to_owned();
        let refused = |answer: &str| Told::Error(BlobError::Refused { place: place(), answer: answer.to_owned() });
        let unreachable = |why: &str| Told::Error(BlobError::Unreachable { place: place(), why: why.to_owned() });
        assert_eq!(told(404, "NoSuchKey"), Told::Missing);
        assert_eq!(told(404, "NoSuchUpload"), Told::Missing);
        assert_eq!(told(404, "NoSuchBucket"), Told::Error(BlobError::NoBucket { place: place() }));
        assert_eq!(told(416, "InvalidRange"), Told::Outside);
        assert_eq!(told(403, "SignatureDoesNotMatch"), refused("403 SignatureDoesNotMatch"));
        assert_eq!(told(400, "ExpiredToken"), refused("400 ExpiredToken"));
        assert_eq!(told(503, "SlowDown"), unreachable("it answers 503 SlowDown"));
        assert_eq!(told(200, "InternalError"), unreachable("it answers 200 InternalError"));
        assert!(matches!(told(412, "PreconditionFailed"), Told::Exists(_)));
        assert!(matches!(told(501, "NotImplemented"), Told::NotOffered(_)));
        let moved = BlobError::Answer { place: place(), answer: "301 PermanentRedirect".to_owned() };
        assert_eq!(told(301, "PermanentRedirect"), Told::Error(moved));
        assert_eq!(Told::of_answer(403, "no XML", "s3://blobs/node"), refused("403"));
    }

    #[test]
    fn a_list_of_uploads_is_read_and_goes_on() {
        let list = |truncated: &str| {
            format!(
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListMultipartUploadsResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
                 <Bucket>blobs</Bucket><KeyMarker></KeyMarker><NextKeyMarker>node/cd/cd</NextKeyMarker>\
                 <NextUploadIdMarker>YW55</NextUploadIdMarker><MaxUploads>2</MaxUploads><IsTruncated>{truncated}</IsTruncated>\
                 <Upload><Key>node/ab/ab</Key><UploadId>VXBsb2Fk.-_</UploadId><Initiator><ID>arn</ID>\
                 <DisplayName>a &amp; b</DisplayName></Initiator><StorageClass>STANDARD</StorageClass></Upload>\
                 <Upload><Key>node/cd/cd</Key><UploadId>YW55</UploadId></Upload></ListMultipartUploadsResult>"
            )
        };
        let pair = |key: &str, id: &str| (key.to_owned(), id.to_owned());
        let both = vec![pair("node/ab/ab", "VXBsb2Fk.-_"), pair("node/cd/cd", "YW55")];
        let next = Some(pair("node/cd/cd", "YW55"));
        assert_eq!(uploads(&list("true")), Some(Uploads { uploads: both.clone(), next }));
        assert_eq!(uploads(&list("false")), Some(Uploads { uploads: both, next: None }));
        assert_eq!(uploads("<a><b></a>"), None);
        assert_eq!(uploads(&list("true")[..400]), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_answer_makes_reading_it_panic_or_gets_into_an_error(status in 100..600_u16, body in "\\PC{0,60}", tag in "[<>/&;A-Za-z ]{0,60}") {
            let _ = uploads(&tag);
            let body = format!("{body}<Code>{tag}");
            let said = format!("{:?}", Told::of_answer(status, &body, "place"));
            prop_assert!(!said.contains('<') && said.len() < 200, "{}", said);
        }
    }
}
