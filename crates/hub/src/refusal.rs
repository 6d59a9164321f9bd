//! Why a request is not answered, as people and programs are told: one table of problems.

use axum::body::Body;
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::{HeaderMap, Response, StatusCode};
use serde_json::{Value, json};

use crate::http::{REPO_COMMIT, accepts, content, json_bytes, put};

const ERROR_CODE: HeaderName = HeaderName::from_static("x-error-code");
const ERROR_MESSAGE: HeaderName = HeaderName::from_static("x-error-message");

/// Why a request is not answered with what it asked for.
#[derive(Debug)]
pub enum Refusal {
    /// No such data set or model. Spaces are asked for with the same routes; there are none.
    Repo,
    /// The data set has no such version.
    Revision,
    /// The version is not served any more (RFC 9110 §15.5.11).
    Gone(Gone),
    /// The version has no such file or folder.
    Entry { commit: String },
    /// No such page or route.
    Page,
    /// Who are you?
    Login,
    /// The rows are not open, and nobody is signed in. Where it says how to get access.
    SignIn { page: String },
    /// The rows are not open to who is signed in. Where it says how to get access.
    NotAdmitted { page: String },
    /// The route knows other methods only.
    Method { allow: &'static str },
    /// The request cannot be understood.
    Bad { what: &'static str },
    /// The request cannot be understood, and the sentence says where.
    Malformed {
        /// What is wrong.
        message: String,
    },
    /// The body of the request is too long.
    TooLong,
    /// The range lies outside the file.
    Range { size_bytes: u64 },
    /// The store cannot deliver.
    Store,
    /// The request would change, move or delete what is published.
    Immutable,
    /// The request would give a tag or a repository a name that is taken; where the repository is.
    Exists(Option<String>),
    /// Too much is being computed already.
    Busy,
    /// The token does not allow it.
    Forbidden {
        /// What, as a sentence.
        message: String,
    },
    /// Somebody else was first.
    Stale {
        /// What changed, as a sentence.
        message: String,
    },
    /// More than the node takes.
    Limit {
        /// Which limit, as a sentence.
        message: String,
    },
    /// What was handed in has something wrong.
    Unfit {
        /// What, as a sentence.
        message: String,
        /// Each finding: the file, and what is wrong with it.
        findings: Value,
    },
}

/// Where the page of a version that is not served any more is, and what is in its place.
#[derive(Debug)]
pub struct Gone {
    /// Path of its page, which says why.
    pub(crate) page: String,
    /// Number and path of the version in its place.
    pub(crate) successor: Option<(String, String)>,
}

impl Gone {
    /// The header `Link`: the page, and the version in its place (RFC 5829).
    pub(crate) fn links(&self) -> String {
        let mut links = format!("<{}>; rel=\"describedby\"; type=\"text/html\"", self.page);
        if let Some((_, path)) = &self.successor {
            links.push_str(&format!(", <{path}>; rel=\"successor-version\""));
        }
        links
    }
}

/// A kind of refusal: what RFC 9457 calls a problem type.
pub(crate) struct Problem {
    /// Its place on the page of all kinds.
    pub(crate) kind: &'static str,
    pub(crate) status: StatusCode,
    /// The code that selects the exception class in Hub clients, where they know one.
    code: Option<&'static str>,
    pub(crate) title: &'static str,
    /// What happened, when the refusal itself does not say more.
    message: &'static str,
    /// What to do about it.
    pub(crate) help: &'static str,
}

const fn problem(
    kind: &'static str,
    status: StatusCode,
    code: Option<&'static str>,
    title: &'static str,
    message: &'static str,
    help: &'static str,
) -> Problem {
    Problem { kind, status, code, title, message, help }
}

/// Every kind of refusal, for the page that problem details point to. [`Refusal::place`] says which is which.
pub(crate) static PROBLEMS: [Problem; 20] = [
    problem(
        "repo-not-found",
        StatusCode::NOT_FOUND,
        Some("RepoNotFound"),
        "No such data set or model",
        "This node has no such data set or model.",
        "See the lists of data sets and models. Names are namespace/name, in the same case.",
    ),
    problem(
        "revision-not-found",
        StatusCode::NOT_FOUND,
        Some("RevisionNotFound"),
        "No such version",
        "There is no such version.",
        "Ask for main, for a tag such as v1.0.0, or for a whole commit of 40 hex digits; the start of one is not enough.",
    ),
    problem(
        "taken-down",
        StatusCode::GONE,
        // Hub clients know no code of their own for this; with it they say that the version cannot be had.
        Some("RevisionNotFound"),
        "Not served any more",
        "This version is not served any more. Its page says why, and whether another version is in its place.",
        "People in the version left, or it was taken down for another reason. The header Link leads to the page that says which, and to the version in its place if there is one. Use that, and delete copies of this one.",
    ),
    problem(
        "entry-not-found",
        StatusCode::NOT_FOUND,
        Some("EntryNotFound"),
        "No such file or folder",
        "This version has no such file or folder.",
        "List the files of the version first: /api/datasets/{namespace}/{name}/tree/{revision}.",
    ),
    problem(
        "not-found",
        StatusCode::NOT_FOUND,
        None,
        "No such page",
        "There is no page at this address.",
        "Check the address. The page of a published version stays, even when the version itself was taken down.",
    ),
    problem(
        "not-logged-in",
        StatusCode::UNAUTHORIZED,
        None,
        "Nobody is logged in",
        "Nobody is logged in. What is open needs no login.",
        "Leave the token out to read what is open. Make a new token if yours ran out or was revoked.",
    ),
    problem(
        "method-not-allowed",
        StatusCode::METHOD_NOT_ALLOWED,
        None,
        "Another method",
        "This address is for reading only.",
        "The header Allow says which methods the address knows.",
    ),
    problem(
        "bad-request",
        StatusCode::BAD_REQUEST,
        None,
        "The request cannot be understood",
        "The request cannot be understood.",
        "The description of the interface says what each address takes: /api/openapi.json.",
    ),
    problem(
        "too-long",
        StatusCode::PAYLOAD_TOO_LARGE,
        None,
        "The request is too long",
        "The request is too long.",
        "Ask for fewer paths at a time.",
    ),
    problem(
        "range-not-satisfiable",
        StatusCode::RANGE_NOT_SATISFIABLE,
        None,
        "Outside the file",
        "The range lies outside the file.",
        "The header Content-Range says how long the file is.",
    ),
    problem(
        "store-failed",
        StatusCode::SERVICE_UNAVAILABLE,
        None,
        "The node cannot read this now",
        "The node cannot read this from its store now. Its operator finds the reason in the log.",
        "Try again after the number of seconds in the header Retry-After; the operator finds the reason in the log.",
    ),
    problem(
        "immutable",
        StatusCode::FORBIDDEN,
        Some("Immutable"),
        "Published versions never change",
        "A published version never changes: no tag moves, no history is rewritten, no file is replaced or deleted. Publish the next version.",
        "A correction or a withdrawal makes a new version, which passes the gate as every version does. Nobody moves a tag, rewrites history or deletes a file; the operator can only take a version down as a whole, and its page stays.",
    ),
    problem(
        "exists",
        StatusCode::CONFLICT,
        Some("Exists"),
        "The name is taken",
        "This name is taken, and what it stands for never changes.",
        "What is published under this name stays. Choose the next version number.",
    ),
    problem(
        "busy",
        StatusCode::SERVICE_UNAVAILABLE,
        None,
        "Too much is being computed",
        "Too much is being computed now. Try again in a few seconds.",
        "Try again after the number of seconds in the header Retry-After.",
    ),
    problem(
        "not-permitted",
        StatusCode::FORBIDDEN,
        Some("Forbidden"),
        "Not permitted",
        "The token does not allow this.",
        "A token says for which names it counts, whether it may write, and until when. The history of a deposit only grows: nothing is rewritten, moved or deleted, whatever the token.",
    ),
    problem(
        "stale",
        StatusCode::PRECONDITION_FAILED,
        Some("Stale"),
        "Somebody was first",
        "The deposit changed since the commit that this one was made from.",
        "Look at what changed, and make the commit again from the newest one.",
    ),
    problem(
        "limit",
        StatusCode::PAYLOAD_TOO_LARGE,
        Some("Limit"),
        "More than the node takes",
        "This is more than the node takes.",
        "Split files that are too long. The trustee can raise the limits of deposits in the settings of the node.",
    ),
    problem(
        "unfit",
        StatusCode::UNPROCESSABLE_ENTITY,
        Some("Unfit"),
        "Not fit to be handed in",
        "Something is wrong with what was handed in.",
        "The member findings names each file and what is wrong with it. Mend it, commit, and make the tag then.",
    ),
    problem(
        "sign-in",
        StatusCode::UNAUTHORIZED,
        Some("GatedRepo"),
        "Sign in to read the rows",
        "Those who gave these rows put conditions on their use, so who reads them signs in and keeps the conditions. The header Link leads to the page that says how.",
        "Card, statistics and descriptions are open. For the rows sign in on the page that the header Link names, promise what it asks for or ask for access, and send a token of yours with the request.",
    ),
    problem(
        "not-admitted",
        StatusCode::FORBIDDEN,
        Some("GatedRepo"),
        "The rows are not open to you yet",
        "Those who gave these rows put conditions on their use, which you did not promise to keep, or for which nobody granted you access yet. The header Link leads to the page that says how.",
        "On the page that the header Link names, promise what it asks for, or ask for access where people decide.",
    ),
];

impl Refusal {
    /// Which of [`PROBLEMS`] it is.
    fn place(&self) -> usize {
        match self {
            Self::Repo => 0,
            Self::Revision => 1,
            Self::Gone(_) => 2,
            Self::Entry { .. } => 3,
            Self::Page => 4,
            Self::Login => 5,
            Self::Method { .. } => 6,
            Self::Bad { .. } | Self::Malformed { .. } => 7,
            Self::TooLong => 8,
            Self::Range { .. } => 9,
            Self::Store => 10,
            Self::Immutable => 11,
            Self::Exists(_) => 12,
            Self::Busy => 13,
            Self::Forbidden { .. } => 14,
            Self::Stale { .. } => 15,
            Self::Limit { .. } => 16,
            Self::Unfit { .. } => 17,
            Self::SignIn { .. } => 18,
            Self::NotAdmitted { .. } => 19,
        }
    }

    pub(crate) fn problem(&self) -> &'static Problem {
        &PROBLEMS[self.place()]
    }

    pub(crate) fn message(&self) -> &str {
        match self {
            Self::Bad { what } => what,
            Self::Malformed { message }
            | Self::Forbidden { message }
            | Self::Stale { message }
            | Self::Limit { message }
            | Self::Unfit { message, .. } => message,
            _ => self.problem().message,
        }
    }

    /// The answer to a program: the members that Hub clients read and those of RFC 9457 in one object. Clients that
    /// know problem details say so in `Accept`; others read a body only when it is called plain JSON.
    pub fn to_program(&self, request: &HeaderMap) -> Response<Body> {
        let problem = self.problem();
        let mut body = json!({
            "error": self.message(),
            "type": format!("/problems#{}", problem.kind),
            "title": problem.title,
            "status": problem.status.as_u16(),
            "detail": self.message(),
        });
        if let Some(code) = problem.code {
            body["code"] = Value::from(code);
        }
        if let Self::Gone(gone) = self {
            body["page"] = Value::from(gone.page.as_str());
            if let Some((number, _)) = &gone.successor {
                body["successor"] = Value::from(number.as_str());
            }
        }
        if let Self::SignIn { page } | Self::NotAdmitted { page } = self {
            body["page"] = Value::from(page.as_str());
        }
        if let Self::Unfit { findings, .. } = self {
            body["findings"] = findings.clone();
        }
        // Clients that create a repository "unless it exists" take its address from here.
        if let Self::Exists(Some(url)) = self {
            body["url"] = Value::from(url.as_str());
        }
        let kind =
            if accepts(request, "application/problem+json") { "application/problem+json" } else { "application/json" };
        self.with_headers(content(problem.status, kind, json_bytes(&body)))
    }

    /// Adds the headers that every form of this refusal carries.
    pub(crate) fn with_headers(&self, mut response: Response<Body>) -> Response<Body> {
        let headers = response.headers_mut();
        if let Some(code) = self.problem().code {
            headers.insert(ERROR_CODE, HeaderValue::from_static(code));
        }
        put(headers, ERROR_MESSAGE, self.message());
        match self {
            Self::Entry { commit } => put(headers, REPO_COMMIT, commit),
            Self::Gone(gone) => put(headers, header::LINK, &gone.links()),
            Self::Method { allow } => put(headers, header::ALLOW, allow),
            Self::Range { size_bytes } => put(headers, header::CONTENT_RANGE, &format!("bytes */{size_bytes}")),
            Self::Login => put(headers, header::WWW_AUTHENTICATE, "Bearer"),
            Self::Busy => put(headers, header::RETRY_AFTER, "5"),
            Self::Store => put(headers, header::RETRY_AFTER, "30"),
            Self::SignIn { page } | Self::NotAdmitted { page } => {
                put(headers, header::LINK, &format!("<{page}>; rel=\"describedby\"; type=\"text/html\""));
                if matches!(self, Self::SignIn { .. }) {
                    put(headers, header::WWW_AUTHENTICATE, "Bearer");
                }
            }
            _ => {}
        }
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        response
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_refusal_is_the_problem_of_its_name() {
        let all = [
            (Refusal::Repo, "repo-not-found"),
            (Refusal::Revision, "revision-not-found"),
            (Refusal::Gone(Gone { page: String::new(), successor: None }), "taken-down"),
            (Refusal::Entry { commit: String::new() }, "entry-not-found"),
            (Refusal::Page, "not-found"),
            (Refusal::Login, "not-logged-in"),
            (Refusal::Method { allow: "GET" }, "method-not-allowed"),
            (Refusal::Bad { what: "What is bad." }, "bad-request"),
            (Refusal::TooLong, "too-long"),
            (Refusal::Range { size_bytes: 1 }, "range-not-satisfiable"),
            (Refusal::Store, "store-failed"),
            (Refusal::Immutable, "immutable"),
            (Refusal::Exists(None), "exists"),
            (Refusal::Busy, "busy"),
            (Refusal::Forbidden { message: "Not so.".to_owned() }, "not-permitted"),
            (Refusal::Stale { message: "Late.".to_owned() }, "stale"),
            (Refusal::Limit { message: "Long.".to_owned() }, "limit"),
            (Refusal::Unfit { message: "Wrong.".to_owned(), findings: json!([]) }, "unfit"),
            (Refusal::SignIn { page: "/p".to_owned() }, "sign-in"),
            (Refusal::NotAdmitted { page: "/p".to_owned() }, "not-admitted"),
        ];
        assert_eq!(all.len(), PROBLEMS.len());
        for (refusal, kind) in &all {
            assert_eq!(refusal.problem().kind, *kind);
            // Headers carry it as it is.
            assert!(refusal.message().is_ascii() && refusal.message().ends_with('.'), "{kind}");
            assert!(!refusal.problem().status.is_success());
        }
        let kinds: BTreeSet<&str> = PROBLEMS.iter().map(|problem| problem.kind).collect();
        assert_eq!(kinds.len(), PROBLEMS.len(), "no kind twice");
    }
}
