//! Answers requests: the pages of readers, the interfaces for programs, and for everything else who asks.

mod pages;
mod passes;
mod passports;
mod people;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use acequia_gate::Artefact;
use acequia_hub::wire::{self, Refusal, Reply, artefact_of, cookie, plural, same_origin};
use acequia_hub::{Admission, Admits, Catalogue, PublishedVersion, Reader};
use acequia_store::Store;
use acequia_types::{Clock, Coded, DatasetName, Digest, Timestamp};
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header;
use axum::http::{HeaderMap, Method, Response, StatusCode};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::fetch::Fetcher;
use crate::oidc::{Login, Provider};
use crate::passport::{Issuer, Trust, TrustedIssuer, Visa};
use crate::readers::{ReaderId, Readers, Record};
use crate::session::{Session, Sessions, random};
use crate::token::{Scope, Token, Tokens};
use crate::{AccessError, TokenError};
use passes::{Passes, Whose};

const PAGE: &str = "text/html; charset=utf-8";
/// Pages load the style sheet and the mark from this node and nothing else; no script, no frame.
const PAGE_POLICY: &str =
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
const DATA_POLICY: &str = "default-src 'none'; base-uri 'none'; frame-ancestors 'none'; sandbox";
/// Longest form.
const LONGEST_FORM_BYTES: usize = 64 * 1024;
/// Longest body with passports.
const LONGEST_PASSPORTS_BYTES: usize = 1024 * 1024;
/// How long it may take to come in.
const LONGEST_SENDING: Duration = Duration::from_secs(15);
/// How long a pass counts that was handed out for passports, in seconds.
const PASS_S: i64 = 3600;
/// Passes at once; beyond it, those that ended go, and then no new one is made.
const MOST_PASSES: usize = 100_000;
/// What a pass begins with.
const PASS: &str = "acequia_pass_";

/// What access stands on.
pub struct House {
    /// Journals.
    pub store: Store,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// A secret of the node for this; naming, sealing and signing keys follow from it.
    pub root: [u8; 32],
    /// What is published.
    pub catalogue: Arc<dyn Catalogue>,
    /// Who signs people in; without one nobody can promise or ask.
    pub login: Option<Login>,
    /// Whose visas are believed.
    pub visas: Vec<TrustedIssuer>,
    /// `http(s)://host[:port]` as readers reach the node.
    pub address: String,
    /// Where readers write to when nothing else helps.
    pub contact: Option<String>,
}

struct Site {
    clock: Arc<dyn Clock>,
    catalogue: Arc<dyn Catalogue>,
    provider: Option<Provider>,
    trust: Trust,
    issuer: Issuer,
    address: String,
    contact: Option<String>,
    fetcher: Fetcher,
    sessions: Sessions,
    readers: Readers,
    tokens: Tokens,
    passes: Mutex<HashMap<Digest, Pass>>,
    /// For addresses that are read without a token.
    elsewhere: Passes,
    behind: Router,
}

/// Visas, of each person by themselves: those of one say nothing of another.
type People = Vec<Arc<Vec<Visa>>>;

/// What was handed out for passports: opens what they open, for a while.
struct Pass {
    visas: People,
    until: Timestamp,
}

/// Serves pages and interfaces of access, and everything else by `behind`, to which every request says what it may read.
///
/// # Errors
/// [`AccessError::Settings`] when login or issuers cannot be used.
pub fn router(house: House, behind: Router) -> Result<Router, AccessError> {
    let address = house.address.trim_end_matches('/').to_owned();
    let signing = acequia_blobs::Key::from_bytes(house.root).derive("acequia 2026 visa signing key v1");
    let site = Site {
        provider: house.login.map(|login| Provider::new(login, &address)).transpose()?,
        trust: Trust::new(house.visas, &address)?,
        issuer: Issuer::new(signing.as_bytes(), &address)?,
        fetcher: Fetcher::new()?,
        sessions: Sessions::default(),
        readers: Readers::new(house.store.clone(), Arc::clone(&house.clock), house.root),
        tokens: Tokens::new(house.store, Arc::clone(&house.clock)),
        passes: Mutex::default(),
        elsewhere: Passes::new(
            acequia_blobs::Key::from_bytes(house.root).derive("acequia 2026 reading pass key v1").as_bytes(),
        ),
        clock: house.clock,
        catalogue: house.catalogue,
        contact: house.contact,
        address,
        behind,
    };
    Ok(Router::new().fallback(serve).with_state(Arc::new(site)))
}

/// What is asked for here.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Route {
    LoginPage,
    LoginStart,
    LoginCallback,
    Logout,
    Account,
    TokenMake,
    TokenRevoke,
    /// The page of access to something.
    Access(Artefact, String),
    Promise(Artefact, String),
    Ask(Artefact, String),
    Metadata,
    Keys,
    Userinfo,
    Exchange,
    Drs,
}

impl Route {
    /// The route of an address, its method, and its pattern for the log: whose data set a reader looks at belongs in none.
    fn of(parts: &[&str]) -> Option<(Self, &'static str, &'static str)> {
        let named = |kind: &str, namespace: &str, name: &str| Some((artefact_of(kind)?, format!("{namespace}/{name}")));
        Some(match parts {
            ["login"] => (Self::LoginPage, "GET", "/login"),
            ["login", "start"] => (Self::LoginStart, "GET", "/login/start"),
            ["login", "callback"] => (Self::LoginCallback, "GET", "/login/callback"),
            ["logout"] => (Self::Logout, "POST", "/logout"),
            ["account"] => (Self::Account, "GET", "/account"),
            ["account", "tokens"] => (Self::TokenMake, "POST", "/account/tokens"),
            ["account", "tokens", "revoke"] => (Self::TokenRevoke, "POST", "/account/tokens/revoke"),
            [kind @ ("datasets" | "models"), namespace, name, "access"] => {
                let (artefact, name) = named(kind, namespace, name)?;
                (Self::Access(artefact, name), "GET", "/{kind}/{namespace}/{name}/access")
            }
            [kind @ ("datasets" | "models"), namespace, name, "access", "promise"] => {
                let (artefact, name) = named(kind, namespace, name)?;
                (Self::Promise(artefact, name), "POST", "/{kind}/{namespace}/{name}/access/promise")
            }
            [kind @ ("datasets" | "models"), namespace, name, "access", "request"] => {
                let (artefact, name) = named(kind, namespace, name)?;
                (Self::Ask(artefact, name), "POST", "/{kind}/{namespace}/{name}/access/request")
            }
            [".well-known", "openid-configuration"] => (Self::Metadata, "GET", "/.well-known/openid-configuration"),
            ["ga4gh", "jwks.json"] => (Self::Keys, "GET", "/ga4gh/jwks.json"),
            ["ga4gh", "userinfo"] => (Self::Userinfo, "GET", "/ga4gh/userinfo"),
            ["ga4gh", "token"] => (Self::Exchange, "POST", "/ga4gh/token"),
            _ => return None,
        })
    }

    fn is_for_programs(&self) -> bool {
        matches!(self, Self::Metadata | Self::Keys | Self::Userinfo | Self::Exchange | Self::Drs)
    }
}

/// Who asks.
#[derive(Clone, Default)]
struct Visit {
    session: Option<Session>,
    /// The secret of the session.
    cookie: Option<String>,
    token: Option<Token>,
    reader: Option<ReaderId>,
    visas: People,
    /// Came with a pass.
    passed: bool,
    /// What passes for other addresses stand for.
    whose: Option<Whose>,
    /// The pass of an address of Xet.
    shown: Option<String>,
}

impl Visit {
    fn is_known(&self) -> bool {
        self.reader.is_some() || self.passed
    }
}

/// What a request may read.
struct Reading {
    site: Arc<Site>,
    record: Option<Arc<Record>>,
    /// Of a token; a session has none.
    scopes: Option<Vec<Scope>>,
    visas: People,
    known: bool,
    whose: Option<Whose>,
    /// The pass that was shown. Another one would be good for longer.
    shown: Option<String>,
    now: Timestamp,
}

impl Admits for Reading {
    fn admits(&self, version: &PublishedVersion) -> Admission {
        let name = &version.manifest().dataset;
        let in_scope = self.scopes.as_ref().is_none_or(|scopes| scopes.iter().any(|scope| scope.covers(name)));
        let recorded = || self.record.as_ref().is_some_and(|record| record.admits(version, self.now));
        let by_visas = || {
            let (trust, own) = (&self.site.trust, &self.site.address);
            self.visas.iter().any(|visas| trust.admits(visas, version, own, self.now))
        };
        match () {
            () if in_scope && (recorded() || by_visas()) => Admission::Granted,
            () if self.known => Admission::Refused,
            () => Admission::Unknown,
        }
    }

    fn pass(&self, version: &PublishedVersion) -> Option<String> {
        if self.shown.is_some() {
            return self.shown.clone();
        }
        let manifest = version.manifest();
        let name = format!("{}/{}", plural(manifest.artefact), manifest.dataset);
        Some(self.site.elsewhere.make(self.whose.as_ref()?, &name, self.now))
    }
}

/// Why a request gets no answer of its own.
enum Stop {
    /// Elsewhere on this node.
    See(String),
    /// There is no such thing.
    Nothing,
    /// From a page of somebody else, or from nobody.
    Foreign,
    /// Too long, or not in time.
    Long,
    /// Nobody is signed in, where programs ask.
    Unknown,
    /// The login under way is not the one of this browser, or was ended already.
    NoLogin,
    /// Too many are signed in.
    Full,
    /// With its code.
    Failed(AccessError),
}

impl<E: Into<AccessError>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

fn page(status: StatusCode, text: String) -> Reply {
    wire::content(status, PAGE, text).into()
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, secret) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(secret.trim())
}

/// A page of this node to go on to, and nothing else.
fn next(wanted: Option<&str>) -> Option<String> {
    let wanted = wanted.filter(|path| path.len() <= 512 && path.bytes().all(|b| b.is_ascii_graphic() && b != b'\\'))?;
    // Read as a browser would: what leads to another host is no page of ours.
    let own = url::Url::parse("https://own.invalid/").ok()?;
    let there = own.join(wanted).ok()?;
    let path = there.path();
    let is_own = wanted.starts_with('/') && there.host_str() == Some("own.invalid") && there.scheme() == "https";
    let shown = path == "/" || ["/datasets/", "/models/", "/account"].iter().any(|begin| path.starts_with(begin));
    (is_own && shown && !path.starts_with("//")).then(|| path.to_owned())
}

async fn serve(State(site): State<Arc<Site>>, request: Request) -> Response<Body> {
    let path = request.uri().path().to_owned();
    let segments = wire::segments(&path).unwrap_or_default();
    let parts: Vec<&str> = segments.iter().map(String::as_str).collect();
    if let (["ga4gh", "drs", "v1", "objects", rest @ ..], &Method::POST) = (parts.as_slice(), request.method())
        && matches!(rest, [_] | [_, "access", _])
    {
        let hands_out = rest.len() == 3;
        return match site.passported(request, hands_out).await {
            Ok(response) => response,
            Err(stop) => site.stopped(&Visit::default(), &stop, &Route::Drs).finished(DATA_POLICY),
        };
    }
    let Some((route, method, pattern)) = Route::of(&parts) else { return site.on(&parts, request).await };
    let (head, body) = request.into_parts();
    let programs = route.is_for_programs();
    if method == "GET"
        && !programs
        && let Some(elsewhere) =
            site.by_its_name(&head.headers, head.uri.path_and_query().map_or("/", |all| all.as_str()))
    {
        return Reply::see(&elsewhere).finished(PAGE_POLICY);
    }
    let asked = if head.method == Method::HEAD { "GET" } else { head.method.as_str() };
    let mut reply = if asked == method {
        // The whole request is here before anybody looks at who sent it, and an act goes on when the browser leaves.
        let read = tokio::time::timeout(LONGEST_SENDING, axum::body::to_bytes(body, LONGEST_FORM_BYTES)).await;
        let body = match read {
            Ok(Ok(body)) => Some(body),
            _ => None,
        };
        let query = head.uri.query().unwrap_or_default().to_owned();
        let whole = {
            let (site, headers, route) = (Arc::clone(&site), head.headers.clone(), route.clone());
            tokio::spawn(async move { site.whole(&route, &headers, &query, body.as_deref()).await })
        };
        whole.await.unwrap_or_else(|_| Refusal::Store.to_program(&HeaderMap::new()).into())
    } else {
        let allow = if method == "GET" { "GET, HEAD" } else { "POST" };
        Reply::from(Refusal::Method { allow }.to_program(&head.headers))
    };
    if head.method == Method::HEAD {
        *reply.response.body_mut() = Body::empty();
    }
    // Neither a code nor a state belongs in a log, and whose page it was neither.
    tracing::info!(method = %head.method, route = pattern, status = reply.response.status().as_u16(), "answered");
    reply.finished(if programs { DATA_POLICY } else { PAGE_POLICY })
}

impl Site {
    fn is_secure(&self) -> bool {
        self.address.starts_with("https:")
    }

    /// With the prefix, browsers take a cookie from this very host over HTTPS only (RFC 6265bis §4.1.3.2).
    fn cookie_name(&self, name: &str) -> String {
        if self.is_secure() { format!("__Host-{name}") } else { name.to_owned() }
    }

    /// Lax, since the way back from the provider begins at another site; what changes something asks where a form came from.
    fn cookie(&self, name: &str, value: &str, seconds: i64) -> String {
        let secure = if self.is_secure() { "; Secure" } else { "" };
        format!("{}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={seconds}{secure}", self.cookie_name(name))
    }

    /// A reader who came by the number of the own machine goes to its name, which the provider knows.
    fn by_its_name(&self, headers: &HeaderMap, target: &str) -> Option<String> {
        self.provider.as_ref()?;
        let port = self.address.strip_prefix("http://localhost")?;
        let host = headers.get(header::HOST)?.to_str().ok()?;
        let numbers = ["127.0.0.1", "[::1]"].iter().any(|number| host == format!("{number}{port}"));
        (numbers && target.starts_with('/')).then(|| format!("{}{target}", self.address))
    }

    /// Who asks, by a token, a pass or a session. A token that does not count is no other way in.
    async fn visit(&self, headers: &HeaderMap) -> Result<Visit, AccessError> {
        let now = self.clock.now();
        if let Some(secret) = bearer(headers) {
            if secret.starts_with(PASS) {
                return Ok(self.passported_visit(Digest::of(secret.as_bytes()), now));
            }
            return Ok(self.token_visit(self.tokens.of_secret(secret).await?));
        }
        let Some(secret) = cookie(headers, &self.cookie_name("reader")) else { return Ok(Visit::default()) };
        let Some(session) = self.sessions.find(secret, now) else { return Ok(Visit::default()) };
        let reader = session.reader.clone();
        let visas = vec![self.sessions.visas(&reader)];
        Ok(Visit {
            cookie: Some(secret.to_owned()),
            session: Some(session),
            reader: Some(reader),
            visas,
            ..Visit::default()
        })
    }

    fn passported_visit(&self, digest: Digest, now: Timestamp) -> Visit {
        let mut passes = self.passes.lock().unwrap_or_else(PoisonError::into_inner);
        let good = passes.get(&digest).filter(|pass| now <= pass.until).map(|pass| pass.visas.clone());
        if good.is_none() {
            passes.remove(&digest);
        }
        let whose = Some(Whose::Passports(digest));
        good.map_or_else(Visit::default, |visas| Visit { visas, passed: true, whose, ..Visit::default() })
    }

    fn token_visit(&self, token: Option<Token>) -> Visit {
        let reader = token.as_ref().and_then(|token| ReaderId::parse(token.reader.as_deref()?));
        let visas = reader.iter().map(|reader| self.sessions.visas(reader)).collect();
        // A member's token is for deposits, and names no reader.
        let token = token.filter(|_| reader.is_some());
        let whose = token.as_ref().map(|token| Whose::Token(token.id.clone()));
        Visit { token, reader, visas, whose, ..Visit::default() }
    }

    /// Who asks below an address of Xet, which is read with a pass: shown as a token or, where clients show none, in the address.
    async fn xet_visit(&self, name: &str, headers: &HeaderMap, query: &wire::Fields) -> Result<Visit, AccessError> {
        let now = self.clock.now();
        let shown = bearer(headers).or_else(|| query.get("pass"));
        let visit = match shown.and_then(|pass| self.elsewhere.read(pass, name, now)) {
            Some(Whose::Token(id)) => self.token_visit(self.tokens.named(&id).await?),
            Some(Whose::Passports(digest)) => self.passported_visit(digest, now),
            None => return self.visit(headers).await,
        };
        Ok(Visit { shown: shown.map(str::to_owned), ..visit })
    }

    async fn reading(self: &Arc<Self>, visit: &Visit) -> Result<Reading, AccessError> {
        let record = match &visit.reader {
            Some(reader) => Some(self.readers.record(reader).await?),
            None => None,
        };
        Ok(Reading {
            site: Arc::clone(self),
            record,
            scopes: visit.token.as_ref().map(|token| token.scopes.clone()),
            visas: visit.visas.clone(),
            known: visit.is_known(),
            whose: visit.whose.clone(),
            shown: visit.shown.clone(),
            now: self.clock.now(),
        })
    }

    /// A request that is answered behind, which learns who asks.
    async fn on(self: &Arc<Self>, parts: &[&str], mut request: Request) -> Response<Body> {
        let visit = match parts {
            ["api", kind @ ("datasets" | "models"), namespace, name, "xet", ..] => {
                let query = wire::Fields::parse(request.uri().query().unwrap_or_default());
                self.xet_visit(&format!("{kind}/{namespace}/{name}"), request.headers(), &query).await
            }
            _ => self.visit(request.headers()).await,
        };
        let visit = match visit {
            Ok(visit) => visit,
            Err(error) => return self.stopped(&Visit::default(), &error.into(), &Route::Drs).finished(DATA_POLICY),
        };
        if let (["api", "whoami-v2"], Some(token)) = (parts, &visit.token) {
            return Reply::json(StatusCode::OK, &whoami(token)).finished(DATA_POLICY);
        }
        if visit.is_known() {
            match self.reading(&visit).await {
                Ok(reading) => {
                    request.extensions_mut().insert(Reader(Arc::new(reading)));
                }
                Err(error) => return self.stopped(&visit, &error.into(), &Route::Drs).finished(DATA_POLICY),
            }
        }
        self.behind.clone().oneshot(request).await.unwrap_or_else(|never| match never {})
    }

    async fn whole(self: &Arc<Self>, route: &Route, headers: &HeaderMap, query: &str, body: Option<&[u8]>) -> Reply {
        let visit = match self.visit(headers).await {
            Ok(visit) => visit,
            Err(error) => return self.stopped(&Visit::default(), &error.into(), route),
        };
        let answered = match body {
            None => Err(Stop::Long),
            Some(body) => {
                let fields = wire::Fields::parse(&String::from_utf8_lossy(body));
                self.answered(route, &visit, headers, &wire::Fields::parse(query), &fields).await
            }
        };
        answered.unwrap_or_else(|stop| self.stopped(&visit, &stop, route))
    }

    async fn answered(
        self: &Arc<Self>,
        route: &Route,
        visit: &Visit,
        headers: &HeaderMap,
        query: &wire::Fields,
        fields: &wire::Fields,
    ) -> Result<Reply, Stop> {
        // Every act of a person comes from a page of this node, and whoever acts has a session: no token presses a button.
        let acts = matches!(
            route,
            Route::Logout | Route::TokenMake | Route::TokenRevoke | Route::Promise(..) | Route::Ask(..)
        );
        if acts && !same_origin(headers, &self.address) {
            return Err(Stop::Foreign);
        }
        match route {
            Route::LoginPage => Ok(self.login_page(visit, query).await),
            Route::LoginStart => self.login_start(headers, query).await,
            Route::LoginCallback => self.login_callback(visit, headers, query).await,
            Route::Logout => Ok(self.logout(visit)),
            Route::Account => self.account(visit, None).await,
            Route::TokenMake => self.make_token(visit, fields).await,
            Route::TokenRevoke => self.revoke_token(visit, fields).await,
            Route::Access(artefact, name) => self.access_page(visit, (*artefact, name), query, None).await,
            Route::Promise(artefact, name) => self.promise(visit, (*artefact, name), fields).await,
            Route::Ask(artefact, name) => self.ask(visit, (*artefact, name), fields).await,
            Route::Metadata => Ok(Reply::json(StatusCode::OK, &self.described())),
            Route::Keys => Ok(Reply::json(StatusCode::OK, &self.issuer.keys())),
            Route::Userinfo => self.userinfo(visit).await,
            Route::Exchange => self.exchange(fields).await,
            Route::Drs => Err(Stop::Nothing),
        }
    }

    /// The served versions of a name, newest last.
    fn versions(&self, artefact: Artefact, name: &DatasetName) -> Vec<Arc<PublishedVersion>> {
        self.catalogue.shelf().versions_of(artefact, name).cloned().collect()
    }

    fn stopped(&self, visit: &Visit, stop: &Stop, route: &Route) -> Reply {
        let (status, code, words): (StatusCode, &str, String) = match stop {
            Stop::See(path) => return Reply::see(path),
            Stop::Nothing => (StatusCode::NOT_FOUND, "AX020", "There is no page at this address.".to_owned()),
            Stop::Foreign => (
                StatusCode::FORBIDDEN,
                "AX021",
                "This did not come from a page of this node, so nothing was done. Go back to the page and press the button there.".to_owned(),
            ),
            Stop::Long => (StatusCode::BAD_REQUEST, "AX022", "The request is too long, came too slowly, or cannot be read.".to_owned()),
            // Programs only come here, and are told by the forms of the hub.
            Stop::Unknown => (StatusCode::UNAUTHORIZED, "", String::new()),
            Stop::NoLogin => (
                StatusCode::FORBIDDEN,
                "AX024",
                "This is not the answer to a login that this browser began, or it was used already. Sign in again.".to_owned(),
            ),
            Stop::Full => (StatusCode::SERVICE_UNAVAILABLE, "AX025", "Too many people are signed in. Try again later.".to_owned()),
            Stop::Failed(error) => {
                let status = match error {
                    AccessError::Form { .. } | AccessError::Token(TokenError::Unfit { .. }) => StatusCode::UNPROCESSABLE_ENTITY,
                    AccessError::Token(TokenError::Missing) | AccessError::NoRequest => StatusCode::NOT_FOUND,
                    AccessError::Provider { .. } => StatusCode::BAD_GATEWAY,
                    _ => StatusCode::INTERNAL_SERVER_ERROR,
                };
                if status.is_server_error() {
                    tracing::warn!(code = error.code(), "{error}");
                }
                let words = match error {
                    AccessError::Form { what } | AccessError::Token(TokenError::Unfit { what }) => (*what).to_owned(),
                    AccessError::Provider { .. } => {
                        "Signing in did not work: the institutional login did not answer as it must. Try again; if it stays so, tell the trustee the code below.".to_owned()
                    }
                    _ => "The node failed. Its operator finds the reason in the log.".to_owned(),
                };
                (status, error.code(), words)
            }
        };
        if route.is_for_programs() {
            let refusal = match stop {
                Stop::Unknown => Refusal::Login,
                Stop::Long => Refusal::Malformed { message: words },
                Stop::Full => Refusal::Busy,
                Stop::Failed(_) => Refusal::Store,
                _ => Refusal::Page,
            };
            return Reply::from(refusal.to_program(&HeaderMap::new()));
        }
        page(status, pages::stopped(visit.session.is_some(), status, code, &words))
    }
}

/// What Hub clients ask who they are.
fn whoami(token: &Token) -> Value {
    let namespaces: Vec<&str> = token.scopes.iter().map(Scope::namespace).collect();
    let name = format!("reader-{}", token.reader.as_deref().unwrap_or_default().get(..12).unwrap_or_default());
    let mut organisations: Vec<Value> = Vec::new();
    for namespace in namespaces {
        if !organisations.iter().any(|known| known["name"] == namespace) {
            organisations.push(json!({ "type": "org", "name": namespace, "fullname": namespace }));
        }
    }
    json!({
        "type": "user", "id": token.id, "name": name, "fullname": name, "isPro": false, "canPay": false, "avatarUrl": "",
        "orgs": organisations,
        "auth": { "type": "access_token", "accessToken": { "displayName": token.id, "role": "read" } },
    })
}

/// Path of the page of access to something.
fn access_path(artefact: Artefact, name: &str) -> String {
    format!("/{}/{name}/access", plural(artefact))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_of_this_node_are_gone_on_to() {
        for good in ["/", "/account", "/datasets/a/b/access", "/models/a/b"] {
            assert_eq!(next(Some(good)).as_deref(), Some(good));
        }
        for bad in [
            "",
            "datasets/a",
            "//evil.example/datasets/",
            "/\\evil.example",
            "https://evil.example/datasets/",
            "/login/start",
            "/datasets/../login/start",
            "javascript:alert(1)",
            "/datasets/a\r\nset-cookie: x",
            "/%2f%2fevil.example",
            "/logout",
            "/\t/evil.example",
            "/datasets/..//evil.example",
        ] {
            assert_eq!(next(Some(bad)), None, "{bad}");
        }
        assert_eq!(next(None), None);
        assert_eq!(next(Some(&format!("/datasets/{}", "a".repeat(600)))), None);
    }
}
