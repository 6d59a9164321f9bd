//! What people do on the pages: sign in and out, promise, ask, make tokens.

use std::sync::Arc;

use acequia_custody::{Country, DuoTerm};
use acequia_gate::Artefact;
use acequia_hub::PublishedVersion;
use acequia_hub::wire::{Fields, Reply, cookie};
use acequia_types::{DatasetName, Digest, Timestamp};
use axum::http::{HeaderMap, StatusCode};

use super::pages::{self, Made, Shown};
use super::{Site, Stop, Visit, access_path, next, page, random};
use crate::readers::{ReaderId, Words};
use crate::session::Session;
use crate::token::{NewToken, Scope};
use crate::{AccessError, TokenError};

const DAY_S: i64 = 86_400;
/// How long a browser keeps what a login under way needs, in seconds.
const LOGIN_S: i64 = 15 * 60;
/// Longest time that a reader's token counts, in days.
const LONGEST_DAYS: i64 = 365;
/// Tokens of one reader that count.
const MOST_TOKENS: usize = 20;
/// Names that one token counts for.
const MOST_SCOPES: usize = 50;
const LONGEST_LINE: usize = 300;
const LONGEST_STATEMENT: usize = 5_000;
/// Longest code of a provider that is looked at.
const LONGEST_CODE: usize = 4_096;

const fn form(what: &'static str) -> Stop {
    Stop::Failed(AccessError::Form { what })
}

/// What was written into a field, without what no person types.
fn written(fields: &Fields, name: &str, longest: usize) -> Option<String> {
    let text = fields.get(name)?.trim();
    let plain: String = text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect();
    (!plain.is_empty() && plain.chars().count() <= longest).then_some(plain)
}

impl Site {
    /// Signing in, and back to where one was.
    fn sign_in(&self, path: &str) -> Stop {
        let path = next(Some(path)).unwrap_or_else(|| "/account".to_owned());
        Stop::See(format!("/login?next={path}"))
    }

    fn signed_in<'v>(&self, visit: &'v Visit, path: &str) -> Result<(&'v Session, &'v ReaderId), Stop> {
        match &visit.session {
            Some(session) => Ok((session, &session.reader)),
            None => Err(self.sign_in(path)),
        }
    }

    pub(super) async fn login_page(&self, visit: &Visit, query: &Fields) -> Reply {
        let to = next(query.get("next"));
        if visit.session.is_some() {
            return Reply::see(to.as_deref().unwrap_or("/account"));
        }
        let login = self.provider.as_ref().map(|provider| provider.login.name.as_deref().unwrap_or("your institution"));
        let left = match &self.provider {
            Some(provider) if query.get("out").is_some() => Some(provider.sign_out_at(&self.fetcher).await),
            _ => None,
        };
        page(
            StatusCode::OK,
            pages::login(login, left.as_ref().map(Option::as_ref), to.as_deref(), self.contact.as_deref()),
        )
    }

    pub(super) async fn login_start(&self, headers: &HeaderMap, query: &Fields) -> Result<Reply, Stop> {
        let provider = self.provider.as_ref().ok_or(Stop::Nothing)?;
        let to = next(query.get("next")).unwrap_or_else(|| "/account".to_owned());
        // One for the browser, so that two logins under way do not end each other.
        let known = cookie(headers, &self.cookie_name("login")).filter(|known| known.len() == 64);
        let browser = match known {
            Some(known) => known.to_owned(),
            None => random()?,
        };
        let digest = Digest::of(browser.as_bytes());
        let (state, begun, address) = provider.begin(&self.fetcher, (to, digest), self.clock.now()).await?;
        self.sessions.begin_login(&state, begun);
        Ok(Reply::see(address.as_str()).with_cookie(self.cookie("login", &browser, LOGIN_S)))
    }

    pub(super) async fn login_callback(
        &self,
        visit: &Visit,
        headers: &HeaderMap,
        query: &Fields,
    ) -> Result<Reply, Stop> {
        let provider = self.provider.as_ref().ok_or(Stop::Nothing)?;
        let browser = cookie(headers, &self.cookie_name("login")).ok_or(Stop::NoLogin)?;
        let state = query.get("state").ok_or(Stop::NoLogin)?;
        let now = self.clock.now();
        let begun = self.sessions.take_login(state, &Digest::of(browser.as_bytes()), now).ok_or(Stop::NoLogin)?;
        if query.get("error").is_some() {
            // Whoever says no there comes back here, and may try again.
            return Ok(Reply::see(&format!("/login?next={}", begun.next)));
        }
        let code = query.get("code").filter(|code| !code.is_empty() && code.len() <= LONGEST_CODE);
        let answer = (code.ok_or(Stop::NoLogin)?, query.get("iss"));
        let identity = provider.finish(&self.fetcher, &begun, answer, self.clock.as_ref()).await?;
        let reader = self.readers.id_of(&provider.login.issuer, &identity.subject);
        let now = self.clock.now();
        let visas = match self.trust.is_empty() {
            true => Vec::new(),
            false => self.trust.visas(&self.fetcher, &identity.visas, &identity.subject, now).await,
        };
        let secret = random()?;
        if !self.sessions.begin(&secret, (reader.clone(), identity.name, identity.affiliation), now) {
            return Err(Stop::Full);
        }
        self.sessions.keep_visas(&reader, visas, now);
        if let Some(before) = &visit.cookie {
            self.sessions.end(before);
        }
        let reply = Reply::see(&begun.next).with_cookie(self.cookie("reader", &secret, 12 * 3600));
        Ok(reply.with_cookie(self.cookie("login", "", 0)))
    }

    pub(super) fn logout(&self, visit: &Visit) -> Reply {
        if let Some(secret) = &visit.cookie {
            self.sessions.end(secret);
        }
        Reply::see("/login?out=1").with_cookie(self.cookie("reader", "", 0))
    }

    pub(super) async fn account(&self, visit: &Visit, made: Option<Made<'_>>) -> Result<Reply, Stop> {
        let (session, reader) = self.signed_in(visit, "/account")?;
        let (record, now) = (self.readers.record(reader).await?, self.clock.now());
        let tokens = self.tokens.list().await?;
        let own = tokens.into_iter().filter(|token| token.reader.as_deref() == Some(reader.as_str()));
        let own: Vec<_> = own.collect();
        let mut seen = Vec::new();
        for (artefact, name) in record.names() {
            let newest = self.versions(artefact, name).pop();
            let open = newest.as_ref().is_some_and(|version| record.admits(version, now));
            seen.push((access_path(artefact, &name.to_string()), name.to_string(), open));
        }
        let visas = self.sessions.visas(reader).iter().filter(|visa| visa.counts(now)).count();
        let text = pages::account(&pages::Account {
            session,
            seen: &seen,
            tokens: &own,
            made,
            visas,
            address: &self.address,
            now,
        });
        Ok(page(StatusCode::OK, text))
    }

    pub(super) async fn make_token(&self, visit: &Visit, fields: &Fields) -> Result<Reply, Stop> {
        let (_, reader) = self.signed_in(visit, "/account")?;
        let name = written(fields, "name", 80).ok_or(form("Give the token a name of up to 80 letters."))?;
        let scopes: Vec<&str> = fields
            .get("scopes")
            .unwrap_or_default()
            .split([',', ' ', '\n', '\r'])
            .filter(|one| !one.is_empty())
            .collect();
        if scopes.is_empty() || scopes.len() > MOST_SCOPES {
            return Err(form("Name what the token is for: namespace/name, or namespace/* for all of a namespace."));
        }
        let scopes: Vec<Scope> = scopes.into_iter().map(Scope::parse).collect::<Result<_, _>>()?;
        let days = fields
            .get("days")
            .and_then(|days| days.parse::<i64>().ok())
            .filter(|days| (1..=LONGEST_DAYS).contains(days));
        let days = days.ok_or(form("A token counts for 1 to 365 days."))?;
        let now = self.clock.now();
        let tokens = self.tokens.list().await?;
        let counting = tokens.iter().filter(|token| {
            token.reader.as_deref() == Some(reader.as_str()) && token.revoked_at.is_none() && now <= token.until
        });
        if counting.count() >= MOST_TOKENS {
            return Err(form("You have twenty tokens. Revoke one that you do not need any more."));
        }
        let until = Timestamp::from_unix_s(now.unix_s() + days * DAY_S);
        let new = NewToken {
            holder: &name,
            scopes: &scopes,
            write: false,
            until,
            by: "reader",
            reader: Some(reader.as_str()),
        };
        let (token, secret) = self.tokens.make(&new).await?;
        self.account(visit, Some(Made { token: &token, secret: &secret })).await
    }

    pub(super) async fn revoke_token(&self, visit: &Visit, fields: &Fields) -> Result<Reply, Stop> {
        let (_, reader) = self.signed_in(visit, "/account")?;
        let id = fields.get("token").ok_or(Stop::Failed(TokenError::Missing.into()))?;
        self.tokens.revoke(id, "reader", Some(reader.as_str())).await?;
        Ok(Reply::see("/account"))
    }

    /// The version that a page of access is about: the newest, or the one that is asked for.
    fn version(
        &self,
        (artefact, name): (Artefact, &str),
        wanted: Option<&str>,
    ) -> Result<(Arc<PublishedVersion>, Vec<Arc<PublishedVersion>>), Stop> {
        let name = DatasetName::parse(name).map_err(|_| Stop::Nothing)?;
        let all = self.versions(artefact, &name);
        let found = match wanted {
            Some(wanted) => all.iter().find(|version| version.manifest().version == wanted),
            None => all.last(),
        };
        Ok((found.cloned().ok_or(Stop::Nothing)?, all))
    }

    pub(super) async fn access_page(
        &self,
        visit: &Visit,
        about: (Artefact, &str),
        query: &Fields,
        problem: Option<(&'static str, &Fields)>,
    ) -> Result<Reply, Stop> {
        let wanted = query.get("version").or_else(|| problem.and_then(|(_, fields)| fields.get("version")));
        let (version, all) = self.version(about, wanted)?;
        let path = access_path(about.0, about.1);
        let record = match &visit.session {
            Some(session) => Some(self.readers.record(&session.reader).await?),
            None => None,
        };
        let now = self.clock.now();
        let by_visas = visit.visas.iter().any(|visas| self.trust.admits(visas, &version, &self.address, now));
        let shown = Shown {
            version: &version,
            others: &all,
            path: &path,
            session: visit.session.as_ref(),
            record: record.as_deref(),
            by_visas,
            login: self.provider.is_some(),
            contact: self.contact.as_deref(),
            problem,
            now,
        };
        let status = if problem.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
        Ok(page(status, pages::access(&shown)))
    }

    pub(super) async fn promise(&self, visit: &Visit, about: (Artefact, &str), fields: &Fields) -> Result<Reply, Stop> {
        let path = access_path(about.0, about.1);
        let (_, reader) = self.signed_in(visit, &path)?;
        let (version, _) = self.version(about, fields.get("version"))?;
        let ticked = fields.all("term").filter_map(DuoTerm::parse).collect();
        match self.readers.promise(reader, &version, ticked).await {
            Ok(()) => Ok(Reply::see(&path)),
            Err(AccessError::Form { what }) => {
                self.access_page(visit, about, &Fields::default(), Some((what, fields))).await
            }
            Err(error) => Err(error.into()),
        }
    }

    pub(super) async fn ask(&self, visit: &Visit, about: (Artefact, &str), fields: &Fields) -> Result<Reply, Stop> {
        let path = access_path(about.0, about.1);
        let (session, reader) = self.signed_in(visit, &path)?;
        let (version, _) = self.version(about, fields.get("version"))?;
        let asked = match words(fields, session, version.manifest().terms.duo.contains(&DuoTerm::Ethics)) {
            Ok(words) => self.readers.ask(reader, &version, &words).await,
            Err(what) => Err(AccessError::Form { what }),
        };
        match asked {
            Ok(_) => Ok(Reply::see(&path)),
            Err(AccessError::Form { what }) => {
                self.access_page(visit, about, &Fields::default(), Some((what, fields))).await
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// What was written into the form of a request.
fn words(fields: &Fields, session: &Session, needs_ethics: bool) -> Result<Words, &'static str> {
    let line = |name, what| written(fields, name, LONGEST_LINE).ok_or(what);
    let ethics = written(fields, "ethics", LONGEST_LINE);
    if needs_ethics && ethics.is_none() {
        return Err("Say how the approval of the ethics committee is found: committee, number and date.");
    }
    let country = fields.get("country").map(|text| text.trim().to_ascii_uppercase());
    Ok(Words {
        name: line("name", "Say your name.")?,
        affiliation: session.affiliation.clone(),
        contact: line("contact", "Say how the trustee reaches you, by an e-mail address for instance.")?,
        project: line("project", "Say what the project is called.")?,
        statement: written(fields, "statement", LONGEST_STATEMENT)
            .ok_or("Say what you need the rows for, in up to 5,000 letters.")?,
        institution: line("institution", "Say at which institution you work.")?,
        country: country.as_deref().and_then(Country::parse).ok_or("Write the country as two letters, such as DE.")?,
        ethics,
    })
}
