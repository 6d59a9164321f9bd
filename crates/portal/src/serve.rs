//! Answers requests: who asks, whether it is allowed, and then the page.

use std::sync::Arc;
use std::time::Duration;

use acequia_custody::receipt::receipt;
use acequia_custody::rights::{Event, Right};
use acequia_custody::{Level, Purpose, Purposes};
use acequia_hub::wire::{Reply, content, cookie, same_origin};
use acequia_store::{Account, Holder, Opener};
use acequia_types::{Day, Digest, DonorId, SourceId, Timestamp, parse_day};
use acequia_vault::{ConsentChange, DeskError, Texts};
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{self, HeaderValue};
use axum::http::{HeaderMap, Method, Response, StatusCode};
use maud::Markup;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::access::{NOT_SIGNED_IN_S, Principal, Resource, Situation, allowed};
use crate::forms::{Fields, language};
use crate::passkeys::{Passkeys, Verified};
use crate::routes::{About, Form, Found, Route, Verb, find};
use crate::session::{By, Ceremony, Session, Sessions, random};
use crate::{House, PortalError, code_digest, pages};

/// Pages load the style sheet, the mark and one script from this node and nothing else; no frame.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
const DATA_POLICY: &str = "default-src 'none'; frame-ancestors 'none'";
const PAGE: &str = "text/html; charset=utf-8";
/// Longest form or answer of an authenticator.
const LONGEST_BODY_BYTES: usize = 64 * 1024;
/// How long it may take to come in.
const LONGEST_SENDING: Duration = Duration::from_secs(15);
/// Requests about rights that the pages take from a donor in a day.
const REQUESTS_A_DAY: usize = 12;
const LANGUAGE: &str = "language";
/// Longest signed receipt that is looked at.
const LONGEST_RECEIPT_BYTES: usize = 8 * 1024;

struct Site {
    house: House,
    passkeys: Passkeys,
    sessions: Sessions,
    public: Router,
}

pub(crate) fn router(house: House, public: Router) -> Result<Router, PortalError> {
    let passkeys = Passkeys::new(&house.origin, &house.trustee.name)?;
    let site = Site { house, passkeys, sessions: Sessions::default(), public };
    Ok(Router::new().fallback(serve).with_state(Arc::new(site)))
}

/// Who is here, and how.
struct Visit {
    /// The session and its digest.
    session: Option<(Digest, Session)>,
    /// The account it is about.
    account: Option<Account>,
    language: String,
    /// The page's own address, to come back to.
    path: String,
    now: Timestamp,
}

impl Visit {
    /// Whether a passkey was used, not merely a code.
    fn signed_in(&self) -> Option<&Account> {
        let (_, session) = self.session.as_ref()?;
        matches!(session.by, By::Passkey(_)).then_some(self.account.as_ref()?)
    }

    fn principal(&self) -> Principal {
        match (&self.session, &self.account) {
            (Some((_, session)), Some(account)) => match (&session.by, &account.holder) {
                (By::Code(_), _) => Principal::Joining { account: account.id.clone() },
                (By::Passkey(_), Holder::Donor(_)) => Principal::Donor { account: account.id.clone() },
                (By::Passkey(_), Holder::Institution(_)) => Principal::Institution { account: account.id.clone() },
            },
            _ => Principal::Visitor,
        }
    }

    fn donor(&self) -> Option<&DonorId> {
        match &self.signed_in()?.holder {
            Holder::Donor(donor) => Some(donor),
            Holder::Institution(_) => None,
        }
    }

    fn source(&self) -> Option<&SourceId> {
        match &self.signed_in()?.holder {
            Holder::Institution(source) => Some(source),
            Holder::Donor(_) => None,
        }
    }
}

/// Why a request gets no page of its own.
enum Stop {
    /// Elsewhere on this node.
    See(String),
    /// The script goes there first, and comes back.
    Again(String),
    /// Not allowed.
    Denied,
    /// There is no such thing, or it is somebody else's, which is not told apart.
    Nothing,
    /// The form does not say what it must.
    Bad,
    /// The answer of the authenticator is not believed, or the code does not count.
    Unproven(&'static str),
    /// Too many come in at once.
    Full,
    /// The node failed; told with the code only.
    Failed(PortalError),
}

impl<E: Into<PortalError>> From<E> for Stop {
    fn from(error: E) -> Self {
        match error.into() {
            PortalError::Desk(DeskError::NoDonor | DeskError::NoRequest { .. }) => Self::Nothing,
            error => Self::Failed(error),
        }
    }
}

/// A page to go on to: one of ours, perhaps with a purpose, and nothing else.
fn next(wanted: Option<&str>) -> Option<String> {
    let (path, query) = wanted?.split_once('?').unwrap_or((wanted?, ""));
    let Found::Route(route, _) = find(&Method::GET, path) else { return None };
    if route.facts().form != Form::Page || path.starts_with("//") || path == "/you/sign-in" {
        return None;
    }
    let purpose = Fields::of(query.as_bytes()).get("purpose").and_then(Purpose::parse);
    Some(purpose.map_or_else(|| path.to_owned(), |purpose| format!("{path}?purpose={purpose}")))
}

/// Signing in, and back to where one was. What was to be done is not done, and the page says so.
fn sign_in(visit: &Visit, verb: Verb) -> String {
    let shown = match visit.path.as_str() {
        "/you/refuse" | "/you/allow" => "/you",
        path => path,
    };
    let back = next(Some(shown)).filter(|path| path != "/you").map(|path| format!("next={path}"));
    let undone = (verb == Verb::Post).then(|| "undone=1".to_owned());
    let query: Vec<String> = undone.into_iter().chain(back).collect();
    if query.is_empty() { "/you/sign-in".to_owned() } else { format!("/you/sign-in?{}", query.join("&")) }
}

/// Signing in again on the way to an act that lets others do more.
fn again(visit: &Visit, fields: &Fields) -> String {
    let back = match (visit.path.as_str(), fields.get("purpose").and_then(Purpose::parse)) {
        ("/you/allow", Some(purpose)) => format!("/you/allow%3Fpurpose={purpose}"),
        ("/institution/permit", _) => "/institution".to_owned(),
        (path, _) if path.starts_with("/you/passkeys") => "/you/passkeys".to_owned(),
        (path, _) if path.starts_with("/you/requests/") => path.trim_end_matches("/take-back").to_owned(),
        _ => "/you".to_owned(),
    };
    format!("/you/sign-in?again=1&next={back}")
}

async fn serve(State(site): State<Arc<Site>>, request: Request) -> Response<Body> {
    let found = find(request.method(), request.uri().path());
    let (route, number) = match found {
        Found::Elsewhere => {
            return site.public.clone().oneshot(request).await.unwrap_or_else(|never| match never {});
        }
        Found::Route(route, number) => (Some(route), number),
        Found::Nothing | Found::OtherMethod(_) => (None, None),
    };
    let (method, headers) = (request.method().clone(), request.headers().clone());
    if let Some(elsewhere) = site.by_its_name(&headers, request.uri().path_and_query().map_or("/", |all| all.as_str()))
        && method == Method::GET
    {
        return Reply::see(&elsewhere).finished(PAGE_POLICY);
    }
    let (path, query) = (request.uri().path().to_owned(), request.uri().query().unwrap_or_default().to_owned());
    // The whole request is here before anybody looks at who sent it: one that dribbles in outlives no sign-out.
    let body = match method {
        Method::POST => {
            let read = axum::body::to_bytes(request.into_body(), LONGEST_BODY_BYTES);
            match tokio::time::timeout(LONGEST_SENDING, read).await {
                Ok(Ok(body)) => Some(body.to_vec()),
                _ => None,
            }
        }
        _ => Some(Vec::new()),
    };
    let asked = Asked { route, number, found, method, headers, path, query, body };
    // An act goes on when the browser leaves: a withdrawal is not lost with the connection.
    let answer = tokio::spawn(async move { site.whole(asked).await });
    answer.await.unwrap_or_else(|_| {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    })
}

/// A whole request.
struct Asked {
    route: Option<Route>,
    number: Option<u64>,
    found: Found,
    method: Method,
    headers: HeaderMap,
    path: String,
    query: String,
    /// `None` when it is too long or did not come in time.
    body: Option<Vec<u8>>,
}

impl Site {
    async fn whole(&self, asked: Asked) -> Response<Body> {
        let Asked { route, number, found, method, headers, path, query, body } = asked;
        let query = Fields::of(query.as_bytes());
        let form = route.map_or(Form::Page, |route| route.facts().form);
        let chosen = query.get(LANGUAGE).or_else(|| cookie(&headers, LANGUAGE)).map(str::to_owned);
        let language = language(&self.house.languages, chosen.as_deref(), &headers).to_owned();
        let now = self.house.clock.now();
        let mut visit = Visit { session: None, account: None, language: language.clone(), path, now };
        let answered = match (self.recognise(&headers, &mut visit).await, body) {
            (Err(stop), _) => Err(stop),
            (Ok(()), None) => Err(Stop::Bad),
            (Ok(()), Some(body)) => match (route, found) {
                (Some(route), _) => self.decided(route, number, &visit, &headers, &body, &query).await,
                (None, Found::OtherMethod(methods)) => {
                    let mut reply = self.refused(&visit, Stop::Bad, form);
                    *reply.response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
                    reply.response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(methods));
                    Ok(reply)
                }
                (None, _) => Err(Stop::Nothing),
            },
        };
        let mut reply = answered.unwrap_or_else(|stop| self.refused(&visit, stop, form));
        if query.get(LANGUAGE).is_some() {
            let secure = self.secure();
            reply = reply.with_cookie(format!("{LANGUAGE}={language}; Path=/; SameSite=Lax; Max-Age=31536000{secure}"));
        }
        let status = reply.response.status().as_u16();
        // The route and not the address: a number in it says whose request it is.
        tracing::info!(%method, route = route.map_or("none", |route| route.facts().path), status, "answered");
        let mut response = reply.finished(if form == Form::Page { PAGE_POLICY } else { DATA_POLICY });
        if method == Method::HEAD {
            *response.body_mut() = Body::empty();
        }
        response
    }

    fn secure(&self) -> &'static str {
        if self.passkeys.origin.starts_with("https:") { "; Secure" } else { "" }
    }

    /// With the prefix, browsers take the cookie from this very host over HTTPS only (RFC 6265bis §4.1.3.2).
    fn session_cookie(&self) -> &'static str {
        if self.passkeys.origin.starts_with("https:") { "__Host-session" } else { "session" }
    }

    fn token(&self, token: &str, seconds: i64) -> String {
        let (name, secure) = (self.session_cookie(), self.secure());
        format!("{name}={token}; Path=/; HttpOnly; SameSite=Strict; Max-Age={seconds}{secure}")
    }

    /// A reader who came by the number of the own machine goes to its name, since passkeys are bound to names.
    fn by_its_name(&self, headers: &HeaderMap, target: &str) -> Option<String> {
        let port = self.passkeys.origin.strip_prefix("http://localhost")?;
        let host = headers.get(header::HOST)?.to_str().ok()?;
        let numbers = ["127.0.0.1", "[::1]"].iter().any(|number| host == format!("{number}{port}"));
        (numbers && target.starts_with('/')).then(|| format!("{}{target}", self.passkeys.origin))
    }

    fn texts(&self, visit: &Visit) -> Texts {
        (self.house.texts)(&visit.language)
    }

    /// Who the cookie says is here, as long as the account and the passkey are there.
    async fn recognise(&self, headers: &HeaderMap, visit: &mut Visit) -> Result<(), Stop> {
        let Some(token) = cookie(headers, self.session_cookie()) else { return Ok(()) };
        let Some((digest, session)) = self.sessions.find(token, visit.now) else { return Ok(()) };
        let account = self.house.store.account(&session.account).await?;
        let holds = match (&session.by, &account) {
            (_, None) => false,
            (By::Code(code), Some(_)) => self.house.store.invited(code, visit.now).await?.is_some(),
            (By::Passkey(name), Some(account)) => {
                self.house.store.passkeys(&account.id).await?.iter().any(|key| key.credential == *name)
            }
        };
        if holds {
            (visit.session, visit.account) = (Some((digest, session)), account);
        } else {
            self.sessions.end(&digest);
        }
        Ok(())
    }

    /// The thing a route is about.
    async fn resource(&self, about: About, number: Option<u64>, visit: &Visit) -> Result<Resource, Stop> {
        let account = visit.account.as_ref().map(|account| account.id.clone()).unwrap_or_default();
        Ok(match about {
            About::Node => Resource::Node,
            About::Account => Resource::Account { account },
            About::Record => Resource::Record { account },
            About::Source => Resource::Source { account },
            About::Request => {
                let Some(number) = number else { return Err(Stop::Nothing) };
                let case = self.house.desk.case(number, visit.now).await?;
                // Whose it is follows from the records, never from the address.
                let own = case.donor.is_some() && case.donor.as_ref() == visit.donor();
                Resource::Request { account: if own { account } else { "somebody else's".to_owned() } }
            }
        })
    }

    /// Answers a route if the policies allow it.
    async fn decided(
        &self,
        route: Route,
        number: Option<u64>,
        visit: &Visit,
        headers: &HeaderMap,
        body: &[u8],
        query: &Fields,
    ) -> Result<Reply, Stop> {
        let facts = route.facts();
        let principal = visit.principal();
        let signed_in_s = match &visit.session {
            Some((_, session)) if visit.signed_in().is_some() => visit.now.unix_s() - session.since.unix_s(),
            _ => NOT_SIGNED_IN_S,
        };
        let situation = Situation { same_origin: same_origin(headers, &self.passkeys.origin), signed_in_s };
        if matches!(principal, Principal::Visitor) && facts.about != About::Node {
            return Err(match facts.form {
                Form::Page => Stop::See(sign_in(visit, facts.verb)),
                Form::Json => Stop::Denied,
            });
        }
        let resource = self.resource(facts.about, number, visit).await?;
        if !allowed(&principal, facts.action, &resource, situation) {
            // The same with a passkey used just now?
            let fresh = Situation { signed_in_s: 0, ..situation };
            if allowed(&principal, facts.action, &resource, fresh) {
                let again = again(visit, &Fields::of(body));
                return Err(if facts.form == Form::Page { Stop::See(again) } else { Stop::Again(again) });
            }
            return Err(match (&principal, facts.about) {
                (Principal::Joining { .. }, _) if facts.form == Form::Page => Stop::See("/you/passkeys".to_owned()),
                (Principal::Donor { .. }, About::Source) => Stop::See("/you".to_owned()),
                (Principal::Institution { .. }, About::Record) => Stop::See("/institution".to_owned()),
                (_, About::Request) if situation.same_origin || facts.verb == Verb::Get => Stop::Nothing,
                _ => Stop::Denied,
            });
        }
        self.answer(route, number, visit, query, body).await
    }

    /// A page in its frame. Texts are made here, after everything was fetched.
    fn page(&self, visit: &Visit, title: &str, content: impl FnOnce(&Texts) -> Markup) -> Reply {
        self.page_at(visit, &visit.path, title, content)
    }

    /// The same with another address, where it is shown in other languages.
    fn page_at(&self, visit: &Visit, at: &str, title: &str, content: impl FnOnce(&Texts) -> Markup) -> Reply {
        let texts = self.texts(visit);
        let main = content(&texts);
        let text = pages::framed(&texts, &self.house.languages, visit.signed_in(), at, title, &main);
        self::content(StatusCode::OK, PAGE, text).into()
    }

    fn refused(&self, visit: &Visit, stop: Stop, form: Form) -> Reply {
        let (status, key, code) = match &stop {
            Stop::See(path) => return Reply::see(path),
            Stop::Again(path) => return Reply::json(StatusCode::FORBIDDEN, &json!({ "status": 403, "next": path })),
            Stop::Denied => (StatusCode::FORBIDDEN, "stop-denied", "PO010"),
            Stop::Nothing => (StatusCode::NOT_FOUND, "stop-nothing", "PO011"),
            Stop::Bad => (StatusCode::BAD_REQUEST, "stop-bad", "PO012"),
            Stop::Unproven(key) => (StatusCode::FORBIDDEN, *key, "PO013"),
            Stop::Full => (StatusCode::SERVICE_UNAVAILABLE, "stop-full", "PO014"),
            Stop::Failed(PortalError::Desk(DeskError::TooMany)) => {
                (StatusCode::TOO_MANY_REQUESTS, "stop-many", "RI018")
            }
            Stop::Failed(error) => {
                use acequia_types::Coded;
                tracing::error!(code = error.code(), "{error}");
                (StatusCode::INTERNAL_SERVER_ERROR, "stop-failed", error.code())
            }
        };
        let mut reply = match form {
            Form::Json => {
                let detail = self.texts(visit).say(key);
                Reply::json(status, &json!({ "status": status.as_u16(), "code": code, "detail": detail }))
            }
            Form::Page => self.page(visit, "stop-title", |texts| pages::stopped(texts, key, code)),
        };
        *reply.response.status_mut() = status;
        reply
    }

    async fn answer(
        &self,
        route: Route,
        number: Option<u64>,
        visit: &Visit,
        query: &Fields,
        body: &[u8],
    ) -> Result<Reply, Stop> {
        let House { desk, store, clock, .. } = &self.house;
        let fields = Fields::of(body);
        let now = visit.now;
        match route {
            Route::Script => {
                let mut response = content(StatusCode::OK, "text/javascript; charset=utf-8", pages::SCRIPT);
                let kept = HeaderValue::from_static("public, max-age=31536000, immutable");
                response.headers_mut().insert(header::CACHE_CONTROL, kept);
                return Ok(response.into());
            }
            Route::Keys => {
                return Ok(Reply::json(StatusCode::OK, &json!({ "keys": [self.house.signer.public_key()] })));
            }
            Route::CheckReceipt => {
                let signed = query.get("r").filter(|signed| signed.len() <= LONGEST_RECEIPT_BYTES);
                let told = signed.and_then(|signed| self.house.signer.verify(signed));
                // What was signed stays in the address: in another language it is the same receipt.
                let at = told
                    .as_ref()
                    .and(signed)
                    .map_or_else(|| visit.path.clone(), |signed| format!("/receipt?r={signed}"));
                let page = |texts: &Texts| pages::checked(texts, signed.is_some(), told.as_ref());
                return Ok(self.page_at(visit, &at, "check-title", page));
            }
            Route::SignInPage => {
                let to = next(query.get("next"));
                let why = ["again", "undone"].into_iter().find(|why| query.get(why).is_some());
                let again = why == Some("again");
                if let (Some(account), false) = (visit.signed_in(), again) {
                    return Ok(Reply::see(home(account)));
                }
                let back = to.as_deref().map(|to| format!("next={}", to.replace('?', "%3F")));
                let words: Vec<String> = why.map(|why| format!("{why}=1")).into_iter().chain(back).collect();
                let at =
                    if words.is_empty() { visit.path.clone() } else { format!("{}?{}", visit.path, words.join("&")) };
                return Ok(self.page_at(visit, &at, "sign-in-title", |texts| pages::sign_in(texts, to.as_deref(), why)));
            }
            Route::JoinPage => return Ok(self.page(visit, "join-title", pages::join)),
            Route::SignInStart => {
                let (options, state) = self.passkeys.sign_in().ok_or(Stop::Bad)?;
                return self.start(Ceremony::SignIn(state), options, now);
            }
            Route::SignInFinish => return self.finish_sign_in(visit, body).await,
            Route::Join => {
                let code = code_digest(fields.get("code").unwrap_or_default());
                let account = store.invited(&code, now).await?.ok_or(Stop::Unproven("stop-code"))?;
                let cookie = self.begin(&account, By::Code(code), now)?;
                return Ok(Reply::see("/you/passkeys").with_cookie(cookie));
            }
            Route::SignOut => {
                if let Some((digest, _)) = &visit.session {
                    self.sessions.end(digest);
                }
                return Ok(Reply::see("/you/sign-in").with_cookie(self.token("", 0)));
            }
            _ => {}
        }
        let Some(account) = &visit.account else { return Err(Stop::Denied) };
        match route {
            Route::Passkeys => {
                let keys = store.passkeys(&account.id).await?;
                let joining = visit.signed_in().is_none();
                return Ok(self.page(visit, "passkeys-title", |texts| pages::passkeys(texts, account, &keys, joining)));
            }
            Route::PasskeyStart => {
                let Some((session, _)) = &visit.session else { return Err(Stop::Denied) };
                let keys = store.passkeys(&account.id).await?;
                let own = if visit.signed_in().is_some() { keys.as_slice() } else { &[] };
                let shown = account.holder.name();
                let (options, state) = self.passkeys.register(account, shown, own).ok_or(Stop::Bad)?;
                return self.start(Ceremony::Register { session: *session, state }, options, now);
            }
            Route::PasskeyFinish => return self.finish_passkey(visit, account, body).await,
            Route::PasskeyRemove => {
                let name = fields.get("passkey").ok_or(Stop::Bad)?;
                store.remove_passkey(&account.id, name, now).await?;
                return Ok(Reply::see("/you/passkeys"));
            }
            _ => {}
        }
        if let Some(source) = visit.source() {
            return match route {
                Route::Institution => {
                    let seen = desk.source(source, now).await?;
                    Ok(self.page(visit, "institution-title", |texts| pages::institution(texts, &seen)))
                }
                Route::Permit => {
                    let purposes = fields.all("purpose").map(Purpose::parse).collect::<Option<Purposes>>();
                    let purposes = purposes.filter(|purposes| !purposes.is_empty()).ok_or(Stop::Bad)?;
                    let until = match fields.get("until").unwrap_or_default() {
                        "" => None,
                        day => Some(parse_day(day).filter(|day: &Day| *day >= now.day()).ok_or(Stop::Bad)?),
                    };
                    desk.institution_permits(source, purposes, until, clock.as_ref()).await?;
                    Ok(Reply::see("/institution"))
                }
                Route::EndPermission => {
                    desk.institution_permits(source, Purposes::NONE, None, clock.as_ref()).await?;
                    Ok(Reply::see("/institution"))
                }
                _ => Err(Stop::Denied),
            };
        }
        let Some(donor) = visit.donor() else { return Err(Stop::Denied) };
        match route {
            Route::You => {
                let standing = absent(desk.standing(donor, now).await)?;
                let files = store.donations_of(donor).await?.len() as u64;
                let lately: Vec<_> = desk.acts(donor, now).await?.into_iter().take(3).collect();
                Ok(self.page(visit, "you-title", |texts| pages::you(texts, standing.as_ref(), files, &lately)))
            }
            Route::AllowPage => {
                let purpose = query.get("purpose").and_then(Purpose::parse).ok_or(Stop::Nothing)?;
                self.allow_page(visit, purpose, false).await
            }
            Route::Allow => {
                let purpose = fields.get("purpose").and_then(Purpose::parse).ok_or(Stop::Bad)?;
                let mut shown = None;
                if purpose == Purpose::OpenPublication {
                    let language = fields.get("language").ok_or(Stop::Bad)?;
                    let notice = desk.notice(language, now).await.map_err(|_| Stop::Bad)?;
                    // Consent is to the words that were on the page, and to no others.
                    if fields.get("notice") != Some(notice.digest().to_string().as_str()) {
                        return self.allow_page(visit, purpose, false).await;
                    }
                    if fields.get("recall") != Some("no") {
                        return self.allow_page(visit, purpose, true).await;
                    }
                    shown = Some(language.to_owned());
                }
                desk.change_consent(donor, ConsentChange::Allow { purpose, shown }, clock.as_ref()).await?;
                Ok(Reply::see("/you"))
            }
            Route::Refuse => {
                let purpose = fields.get("purpose").and_then(Purpose::parse).ok_or(Stop::Bad)?;
                let change = ConsentChange::Refuse { purposes: vec![purpose] };
                desk.change_consent(donor, change, clock.as_ref()).await?;
                Ok(Reply::see("/you"))
            }
            Route::WithdrawPage => Ok(self.page(visit, "withdraw-title", pages::withdraw)),
            Route::Withdraw => {
                let level = fields.get("level").and_then(Level::parse).ok_or(Stop::Bad)?;
                desk.change_consent(donor, ConsentChange::Withdraw { level }, clock.as_ref()).await?;
                Ok(Reply::see("/you/report"))
            }
            Route::Report => {
                let Some(report) = absent(desk.withdrawal(donor, desk.policy(), now).await)? else {
                    return Ok(Reply::see("/you"));
                };
                Ok(self.page(visit, "report-title", |texts| pages::report(texts, &report)))
            }
            Route::Timeline => {
                let happened = desk.timeline(donor, now).await?;
                Ok(self.page(visit, "timeline-title", |texts| pages::timeline(texts, &happened)))
            }
            Route::Receipt | Route::ReceiptJson => {
                let Some(history) = store.consent(donor).await? else {
                    let page = route == Route::Receipt;
                    let told = page.then(|| self.page(visit, "receipt-title", pages::no_receipt));
                    return told.ok_or(Stop::Nothing);
                };
                let paper = receipt(donor, &history, &self.house.trustee, &visit.language);
                if route == Route::ReceiptJson {
                    let mut response = content(StatusCode::OK, "application/ld+json", format!("{paper:#}\n"));
                    let name = HeaderValue::from_static("attachment; filename=\"consent-receipt.json\"");
                    response.headers_mut().insert(header::CONTENT_DISPOSITION, name);
                    return Ok(response.into());
                }
                let standing = desk.standing(donor, now).await?;
                let told = json!({
                    "iss": self.house.trustee.name,
                    "iat": now.unix_s(),
                    "jti": paper["@id"],
                    "purposes": standing.purposes,
                });
                let signed = self.house.signer.sign(&told);
                let address = format!("{}/receipt?r={signed}", self.passkeys.origin);
                Ok(self.page(visit, "receipt-title", |texts| {
                    pages::receipt(texts, &self.house.trustee, &standing, now, &address)
                }))
            }
            Route::Requests => {
                let requests = desk.requests(donor, now).await?;
                Ok(self.page(visit, "requests-title", |texts| pages::requests(texts, &requests)))
            }
            Route::Ask => {
                let right = fields.get("right").and_then(Right::parse).ok_or(Stop::Bad)?;
                let objected: Option<Purposes> = fields.all("purpose").map(Purpose::parse).collect();
                let objected = objected.filter(|purposes| right == Right::Objection && !purposes.is_empty());
                let number = desk.ask(donor, right, objected, ("passkey", REQUESTS_A_DAY), now).await?.number;
                Ok(Reply::see(&format!("/you/requests/{number}")))
            }
            Route::Request => {
                let case = desk.case(number.ok_or(Stop::Nothing)?, now).await?;
                let certificate = desk.certificate_of(case.number).await?;
                Ok(self.page(visit, "title", |texts| pages::request(texts, &case, certificate.as_ref())))
            }
            Route::TakeBack => {
                let number = number.ok_or(Stop::Nothing)?;
                // What is closed meanwhile stays as it is; the page says so.
                match desk.happen(number, Event::TakenBack, now).await {
                    Ok(_) | Err(DeskError::Rights(_)) => Ok(Reply::see(&format!("/you/requests/{number}"))),
                    Err(error) => Err(error.into()),
                }
            }
            _ => Err(Stop::Denied),
        }
    }

    async fn allow_page(&self, visit: &Visit, purpose: Purpose, mistaken: bool) -> Result<Reply, Stop> {
        let mut notice = None;
        if purpose == Purpose::OpenPublication {
            // The notice is reviewed word for word; a language that it lacks is not made up.
            let desk = &self.house.desk;
            notice = Some(match desk.notice(&visit.language, visit.now).await {
                Err(DeskError::NoLanguage) => desk.notice("en", visit.now).await?,
                other => other?,
            });
        }
        let at = format!("/you/allow?purpose={purpose}");
        Ok(self.page_at(visit, &at, "allow-title", |texts| pages::allow(texts, purpose, notice.as_ref(), mistaken)))
    }

    fn start(&self, ceremony: Ceremony, options: Value, now: Timestamp) -> Result<Reply, Stop> {
        let name = random().map_err(|_| PortalError::Randomness)?;
        self.sessions.start(&name, ceremony, now);
        Ok(Reply::json(StatusCode::OK, &json!({ "ceremony": name, "options": options })))
    }

    /// Begins a session; returns its cookie.
    fn begin(&self, account: &Account, by: By, now: Timestamp) -> Result<String, Stop> {
        let token = random().map_err(|_| PortalError::Randomness)?;
        self.sessions.begin(&token, account.id.clone(), by, now).map_err(|_| Stop::Full)?;
        Ok(self.token(&token, 12 * 3600))
    }

    async fn finish_sign_in(&self, visit: &Visit, body: &[u8]) -> Result<Reply, Stop> {
        let answer: Value = serde_json::from_slice(body).map_err(|_| Stop::Bad)?;
        let unproven = Stop::Unproven("stop-passkey");
        let Some(Ceremony::SignIn(state)) =
            self.sessions.take(answer["ceremony"].as_str().unwrap_or_default(), visit.now)
        else {
            return Err(Stop::Unproven("stop-late"));
        };
        let Some(claimed) = self.passkeys.claimed(&answer["credential"]) else { return Err(unproven) };
        let store = &self.house.store;
        let Some(account) = store.account(&claimed.account).await? else { return Err(unproven) };
        let own = store.passkeys(&account.id).await?;
        match self.passkeys.verified(&claimed, state, &own) {
            Verified::Yes { credential, passkey } => {
                store.signed_in(&account.id, (&credential, &passkey), visit.now).await?;
                if let Some((digest, _)) = &visit.session {
                    self.sessions.end(digest);
                }
                let cookie = self.begin(&account, By::Passkey(credential), visit.now)?;
                let to = next(answer["next"].as_str()).unwrap_or_else(|| home(&account).to_owned());
                Ok(Reply::json(StatusCode::OK, &json!({ "next": to })).with_cookie(cookie))
            }
            Verified::Copied { credential } => {
                // Nobody knows who holds the copy and who the passkey: it opens nothing for either.
                store.passkey_copied(&account.holder, &credential, visit.now).await?;
                Err(Stop::Unproven("stop-copied"))
            }
            Verified::No => Err(unproven),
        }
    }

    async fn finish_passkey(&self, visit: &Visit, account: &Account, body: &[u8]) -> Result<Reply, Stop> {
        let answer: Value = serde_json::from_slice(body).map_err(|_| Stop::Bad)?;
        let Some((digest, session)) = &visit.session else { return Err(Stop::Denied) };
        let taken = self.sessions.take(answer["ceremony"].as_str().unwrap_or_default(), visit.now);
        let Some(Ceremony::Register { session: own, state }) = taken else { return Err(Stop::Unproven("stop-late")) };
        // It must be a ceremony of this very session, or a passkey could be slipped under somebody's account.
        if own != *digest {
            return Err(Stop::Unproven("stop-late"));
        }
        let registered = self.passkeys.registered(&answer["credential"], &state);
        let (credential, passkey) = registered.ok_or(Stop::Unproven("stop-passkey"))?;
        let by = match &session.by {
            By::Code(code) => Opener::Code(code),
            By::Passkey(own) => Opener::Passkey(own),
        };
        let key = (credential.as_str(), passkey.as_str());
        if !self.house.store.add_passkey(&account.id, key, by, visit.now).await? {
            return Err(Stop::Unproven("stop-code"));
        }
        if matches!(by, Opener::Passkey(_)) {
            return Ok(Reply::json(StatusCode::OK, &json!({ "next": "/you/passkeys" })));
        }
        // Another session than the one that came in by the code.
        self.sessions.end(digest);
        let cookie = self.begin(account, By::Passkey(credential), visit.now)?;
        Ok(Reply::json(StatusCode::OK, &json!({ "next": home(account) })).with_cookie(cookie))
    }
}

/// Where somebody begins.
fn home(account: &Account) -> &'static str {
    match account.holder {
        Holder::Donor(_) => "/you",
        Holder::Institution(_) => "/institution",
    }
}

/// Nothing on file is no failure of somebody who was just invited.
fn absent<T>(answer: Result<T, DeskError>) -> Result<Option<T>, Stop> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(DeskError::NoDonor) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
