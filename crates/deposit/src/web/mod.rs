//! The write interface of the Hub, and the reads of drafts, in front of another router.
//!
//! A request is answered here only when it carries a token that counts and that covers the name it is about, or when its address is one
//! that such a token asked for. Everything else goes on as if there were no deposits.

mod lfs;
mod reads;
mod writes;
mod xet;

use std::sync::Arc;

use acequia_gate::Artefact;
use acequia_hub::HubError;
use acequia_hub::wire::{self, Refusal};
use acequia_types::{Coded, DatasetName};
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, Response};
use serde_json::Value;
use tower::ServiceExt;

pub(crate) use xet::XorbIndexes;

use crate::{DepositError, DepositName, Deposits, Draft};
use acequia_access::Token;

/// Whether something of this name is published: then the deposit of that name is for the trustee only.
pub type Published = Arc<dyn Fn(Artefact, &DatasetName) -> bool + Send + Sync>;

/// Longest body that is JSON: names of files with a few bytes of each.
const LONGEST_JSON_BYTES: usize = 16 << 20;

pub(crate) struct Front {
    deposits: Arc<Deposits>,
    published: Published,
    address: Option<String>,
    behind: Router,
}

/// Deposits in front of `behind`. `public_address` is given out instead of the client's `Host`, for a node behind a proxy.
///
/// # Errors
/// [`HubError::Address`] when it is not `http(s)://host[:port]`.
pub fn router(
    deposits: Arc<Deposits>,
    published: Published,
    public_address: Option<&str>,
    behind: Router,
) -> Result<Router, HubError> {
    let address = public_address.map(|address| wire::parse_address(address).ok_or(HubError::Address)).transpose()?;
    let front = Front { deposits, published, address, behind };
    Ok(Router::new().fallback(serve).with_state(Arc::new(front)))
}

/// A request that is answered here.
pub(crate) struct Asked<'r> {
    pub(crate) front: &'r Front,
    pub(crate) head: &'r Parts,
    /// As clients reach the node.
    pub(crate) address: String,
}

/// What a request is about.
enum About {
    Whoami,
    Create,
    Validate,
    Delete,
    Rename,
    /// Something of this deposit.
    Deposit(DepositName),
}

fn about(parts: &[&str]) -> Option<About> {
    let of = |kind: &str, namespace: &str, name: &str| {
        DepositName::of(wire::artefact_of(kind)?, namespace, name).map(About::Deposit)
    };
    match parts {
        ["api", "whoami-v2"] => Some(About::Whoami),
        ["api", "repos", "create"] => Some(About::Create),
        ["api", "repos", "delete"] => Some(About::Delete),
        ["api", "repos", "move"] => Some(About::Rename),
        ["api", "validate-yaml"] => Some(About::Validate),
        ["api", kind, namespace, name, ..] => of(kind, namespace, name),
        ["datasets", namespace, name, "info", "lfs", ..] => of("datasets", namespace, name.strip_suffix(".git")?),
        [namespace, name, "info", "lfs", ..] => of("models", namespace, name.strip_suffix(".git")?),
        [kind @ ("datasets" | "models"), namespace, name, "resolve" | "raw", _, _, ..] => of(kind, namespace, name),
        [namespace, name, "resolve" | "raw", _, _, ..] => of("models", namespace, name),
        _ => None,
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, secret) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(secret.trim())
}

async fn serve(State(front): State<Arc<Front>>, request: Request) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let segments = wire::segments(&path).unwrap_or_default();
    let parts: Vec<&str> = segments.iter().map(String::as_str).collect();
    let method = request.method().clone();
    let headers = request.headers().clone();
    match front.answer(&parts, request).await {
        Ok(Answered::Not(request)) => match front.behind.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        },
        Ok(Answered::With(mut response)) => {
            guard(&mut response);
            if method == Method::HEAD {
                *response.body_mut() = Body::empty();
            }
            // Neither the token nor a signature of an address belongs in a log.
            let shown = if parts.first() == Some(&"deposits") { "/deposits" } else { path.as_str() };
            let shown: String = shown.chars().take(200).collect();
            tracing::info!(%method, path = %shown, status = response.status().as_u16(), "answered");
            response
        }
        Err(refusal) => {
            let mut response = refusal.to_program(&headers);
            guard(&mut response);
            response
        }
    }
}

enum Answered {
    With(Response<Body>),
    /// It is for who stands behind.
    Not(Request),
}

/// Headers on every answer: what is private stays with who asked.
fn guard(response: &mut Response<Body>) {
    let headers = response.headers_mut();
    let fixed: [(HeaderName, &'static str); 6] = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; base-uri 'none'; frame-ancestors 'none'; sandbox"),
        (header::CACHE_CONTROL, "private, no-cache"),
        (header::VARY, "Authorization"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

/// What clients are told. What failed inside stands in the log.
pub(crate) fn refused(error: DepositError) -> Refusal {
    let message = format!("{}; {}.", sentence(&error.to_string()), error.hint());
    match error {
        DepositError::Missing => Refusal::Repo,
        DepositError::Exists => Refusal::Exists(None),
        DepositError::Revision => Refusal::Revision,
        DepositError::Stale => Refusal::Stale { message },
        DepositError::Grows { .. } | DepositError::Aside | DepositError::Capability => Refusal::Forbidden { message },
        DepositError::Limit { .. } => Refusal::Limit { message },
        DepositError::OtherRequest => Refusal::Unfit { message, findings: Value::Array(Vec::new()) },
        DepositError::Mending => Refusal::Busy,
        DepositError::Sealed | DepositError::Store(_) | DepositError::Blobs(_) => {
            tracing::error!(code = error.code(), "{error}");
            Refusal::Store
        }
        _ => Refusal::Malformed { message },
    }
}

/// With a capital, and without what a header cannot carry.
fn sentence(text: &str) -> String {
    let mut characters = text.chars().map(|c| if c.is_ascii() && !c.is_ascii_control() { c } else { '?' });
    characters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(characters).collect()
}

fn forbidden(message: &str) -> Refusal {
    Refusal::Forbidden { message: message.to_owned() }
}

impl Front {
    async fn answer(&self, parts: &[&str], request: Request) -> Result<Answered, Refusal> {
        if let ["deposits", _, _, _, _, _, _, _, _, _] = parts {
            return lfs::upload(self, parts, request).await.map(Answered::With);
        }
        if let ["api", kind, namespace, name, "xet-write", rest @ ..] = parts
            && let Some(pass) = bearer(request.headers())
            && let Some(key) = xet::passed(self, pass).await?
            && key == format!("{kind}/{namespace}/{name}")
        {
            // The number of its beginning is there for clients to tell deposits of one name apart.
            let is_number = |part: &&&str| part.bytes().all(|byte| byte.is_ascii_digit());
            let rest = if rest.first().filter(is_number).is_some() { &rest[1..] } else { rest };
            return xet::answer(self, &key, rest, request).await.map(Answered::With);
        }
        if let ["v1" | "v2", ..] = parts {
            let Some(pass) = bearer(request.headers()) else { return Ok(Answered::Not(request)) };
            let Some(key) = xet::passed(self, pass).await? else { return Ok(Answered::Not(request)) };
            return xet::answer(self, &key, parts, request).await.map(Answered::With);
        }
        if let ["api", kind, namespace, name, "xet", commit, rest @ ..] = parts
            && let Some(name) = wire::artefact_of(kind).and_then(|kind| DepositName::of(kind, namespace, name))
        {
            // Xorbs are read without a token: their addresses carry the pass.
            let query = wire::Fields::parse(request.uri().query().unwrap_or_default());
            let shown = bearer(request.headers()).or_else(|| query.get("pass"));
            if let Some(pass) = shown
                && let Some(draft) = xet::read_by(self, pass, &name).await?
            {
                let (head, _) = request.into_parts();
                let query = wire::Fields::parse(head.uri.query().unwrap_or_default());
                let pass = bearer(&head.headers).or_else(|| query.get("pass")).unwrap_or_default();
                let address = wire::own_address(&head.headers, self.address.as_deref());
                let asked = (&head.method, &head.headers);
                let answer = xet::read((self, &address), &draft, (commit, rest), pass, asked).await?;
                return Ok(Answered::With(answer));
            }
            return Ok(Answered::Not(request));
        }
        let Some(about) = about(parts) else { return Ok(Answered::Not(request)) };
        let token = match bearer(request.headers()) {
            Some(secret) => self.deposits.token_of(secret).await.map_err(refused)?,
            None => None,
        };
        let Some(token) = token else { return Ok(Answered::Not(request)) };
        let draft = match &about {
            About::Deposit(name) => match self.seen(&token, name).await? {
                Some(draft) => Some(draft),
                None => return Ok(Answered::Not(request)),
            },
            _ => None,
        };
        let (head, body) = request.into_parts();
        let address = wire::own_address(&head.headers, self.address.as_deref());
        let asked = Asked { front: self, head: &head, address };
        let response = match (about, draft) {
            (About::Whoami, _) => asked.whoami(&token),
            (About::Create, _) => asked.create(&token, body).await?,
            (About::Validate, _) => asked.validate(body).await?,
            (About::Deposit(_), Some(draft)) => asked.deposit(&token, &draft, parts, body).await?,
            (About::Delete, _) => asked.delete(&token, body).await?,
            (About::Rename | About::Deposit(_), _) => {
                return Err(forbidden("A deposit is not renamed. Begin another, and delete this one."));
            }
        };
        Ok(Answered::With(response))
    }

    /// The deposit of this name, if the token sees it.
    async fn seen(&self, token: &Token, name: &DepositName) -> Result<Option<Arc<Draft>>, Refusal> {
        if !token.covers(&name.name) || (self.published)(name.artefact, &name.name) {
            return Ok(None);
        }
        self.deposits.draft(name).await.map_err(refused)
    }
}

impl Asked<'_> {
    fn deposits(&self) -> &Arc<Deposits> {
        &self.front.deposits
    }

    /// What is asked of a deposit that the token sees.
    async fn deposit(
        &self,
        token: &Token,
        draft: &Arc<Draft>,
        parts: &[&str],
        body: Body,
    ) -> Result<Response<Body>, Refusal> {
        let method = &self.head.method;
        let reads = matches!(*method, Method::GET | Method::HEAD);
        // After the name.
        let rest = match parts {
            ["api", _, _, _, rest @ ..] => rest,
            ["datasets" | "models", _, _, rest @ ..] if matches!(rest.first(), Some(&"resolve" | &"raw" | &"info")) => {
                rest
            }
            [_, _, rest @ ..] => rest,
            _ => return Err(Refusal::Page),
        };
        match rest {
            ["paths-info", _] if *method == Method::POST => self.read(draft, rest, body).await,
            ["xet-write-token", ..] if reads => self.xet_token(token, draft),
            ["xet-read-token", wanted] if reads => {
                let at = draft.revision(wanted).ok_or(Refusal::Revision)?;
                Ok(self.xet_read_token(token, &at))
            }
            _ if reads => self.read(draft, rest, body).await,
            _ if !token.write => Err(forbidden("This token reads only. Ask the trustee for one that may write.")),
            _ => self.write(token, draft, rest, body).await,
        }
    }
}

/// Reads a body of JSON.
pub(crate) async fn json(body: Body) -> Result<Value, Refusal> {
    let bytes = axum::body::to_bytes(body, LONGEST_JSON_BYTES).await.map_err(|_| Refusal::TooLong)?;
    let malformed = |_| Refusal::Malformed { message: "The body must be JSON.".to_owned() };
    serde_json::from_slice(&bytes).map_err(malformed)
}
