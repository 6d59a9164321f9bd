//! The pages: plain English, no script, nothing loaded from elsewhere.

use std::sync::Arc;

use acequia_custody::{Conditions, DuoTerm, Tier};
use acequia_hub::wire::{Fields, plural};
use acequia_hub::{Frame, PublishedVersion};
use acequia_types::Timestamp;
use axum::http::StatusCode;
use maud::{Markup, html};
use url::Url;

use crate::readers::{Outcome, Record, digest_of};
use crate::session::Session;
use crate::token::{Token, TokenLine};

/// A page in the frame that all pages of a node share.
fn framed(signed_in: bool, title: &str, here: &str, main: &Markup) -> String {
    let mut links = vec![("/#list", "Data sets".to_owned(), false), ("/models", "Models".to_owned(), false)];
    links.push(match signed_in {
        true => ("/account", "Your account".to_owned(), here == "/account"),
        false => ("/login", "Sign in".to_owned(), here == "/login"),
    });
    let beside = html! {
        @if signed_in { form method="post" action="/logout" { button type="submit" { "Sign out" } } }
    };
    let foot = html! {
        p { "One cookie keeps you signed in; it goes when you sign out, and after twelve hours. There are no scripts, no visitor is counted, nothing is loaded from anywhere else." }
        ul {
            li { a href="/#list" { "All data sets" } }
            li { a href="/models" { "All models" } }
            li { a href="/api/openapi.json" { "Interface (OpenAPI)" } }
        }
    };
    let frame = Frame {
        language: "en",
        title: &format!("{title} · Acequia"),
        description: "Who may read what is not open, and how to get access.",
        head: html! {},
        skip: "Skip to the content",
        navigation: "Site",
        links: &links,
        beside,
        foot,
    };
    frame.around(&html! { div.frame.narrow { h1 { (title) } (main) } })
}

/// A request that got nothing.
pub(super) fn stopped(signed_in: bool, status: StatusCode, code: &str, words: &str) -> String {
    let title = if status == StatusCode::NOT_FOUND { "Nothing here" } else { "This did not work" };
    let main = html! {
        p.lead { (words) }
        p.note { "Code " (code) }
        p { a href=(if signed_in { "/account" } else { "/login" }) { @if signed_in { "Your account" } @else { "Sign in" } } }
    };
    framed(signed_in, title, "", &main)
}

/// A link that writes to somebody, or leads to a page.
fn reached(contact: &str) -> Markup {
    html! {
        @if contact.starts_with("https://") { a href=(contact) rel="noopener" { (contact) } }
        @else if contact.contains('@') { a href=(format!("mailto:{contact}")) { (contact) } }
        @else { (contact) }
    }
}

/// Where one goes to the institutional login. `login` is what it is called; `None` where there is none. Who just `left` learns where to sign
/// out of that login, if it says where.
pub(super) fn login(
    login: Option<&str>,
    left: Option<Option<&Url>>,
    next: Option<&str>,
    contact: Option<&str>,
) -> String {
    let main = html! {
        @if let Some(there) = left {
            p.notice {
                "You are signed out of this node. This browser may still be signed in with " (login.unwrap_or_default()) ": on a computer that others use, sign out there too."
                @if let Some(there) = there { " " a href=(there) rel="noopener" { "Sign out there" } }
            }
        }
        p.lead { "What is open needs no account. Some who gave data put conditions on their use; then who reads the rows signs in." }
        @match login {
            Some(name) => {
                p.buttons {
                    a.button href=(format!("/login/start?next={}", next.unwrap_or("/account"))) { "Sign in with " (name) }
                }
                h2 { "What this node learns about you" }
                p { "A name that your institution made for you here, and if it says so your own name and where you work. The node keeps only a number that follows from the first. Your name and place of work are shown to the trustee when you ask for access, and to nobody else; otherwise they are forgotten when you sign out." }
            }
            None => {
                p.notice {
                    "Nobody can sign in here: this node has no institutional login."
                    @if let Some(contact) = contact { " Write to the trustee: " (reached(contact)) }
                }
            }
        }
    };
    framed(false, "Sign in", "/login", &main)
}

/// A token that was just made.
pub(super) struct Made<'m> {
    pub(super) token: &'m Token,
    pub(super) secret: &'m str,
}

/// What the account page shows.
pub(super) struct Account<'a> {
    pub(super) session: &'a Session,
    /// Path of the page of access, name, whether it is open.
    pub(super) seen: &'a [(String, String, bool)],
    pub(super) tokens: &'a [TokenLine],
    pub(super) made: Option<Made<'a>>,
    pub(super) visas: usize,
    pub(super) address: &'a str,
    pub(super) now: Timestamp,
}

pub(super) fn account(shown: &Account<'_>) -> String {
    let counting: Vec<&TokenLine> =
        shown.tokens.iter().filter(|token| token.revoked_at.is_none() && shown.now <= token.until).collect();
    let open: Vec<&str> = shown.seen.iter().filter(|(_, _, open)| *open).map(|(_, name, _)| name.as_str()).collect();
    let main = html! {
        p.lead {
            "You are signed in"
            @if let Some(name) = &shown.session.name { " as " (name) }
            @if let Some(affiliation) = &shown.session.affiliation { ", " (affiliation) }
            "."
        }
        @if let Some(made) = &shown.made {
            div.notice role="status" {
                h2 { "Your new token" }
                p { "Copy it now: it is shown this once. Whoever has it reads as you do." }
                pre tabindex="0" aria-label="The token" { code { (made.secret) } }
                p { "For " (scopes(&made.token.scopes)) ", until " (made.token.until.day()) "." }
                pre tabindex="0" aria-label="How to use it" { code { "export HF_ENDPOINT=" (shown.address) " HF_TOKEN=" (made.secret) } }
            }
        }
        h2 { "What you asked for" }
        @if shown.seen.is_empty() {
            p { "Nothing yet. The page of each data set says whether its rows need a promise or a decision." }
        } @else {
            ul {
                @for (path, name, open) in shown.seen {
                    li { a href=(path) { (name) } ": " @if *open { "open to you" } @else { "not open to you now" } }
                }
            }
        }
        @if shown.visas > 0 {
            p { "Your institution says more about you: " (shown.visas) " visas that count here. They open what they are for, until they end or you sign in again." }
        }
        h2 { "Tokens" }
        p { "A program shows a token in your place. It reads what you may read, as far as its names go, and writes nothing." }
        @if counting.is_empty() {
            p { "You have none." }
        } @else {
            ul.cards {
                @for token in &counting {
                    li.card {
                        h3 { (token.holder) }
                        p.note { "For " (scopes(&token.scopes)) ", until " (token.until.day()) ". The trustee knows it as " code { (token.id) } "." }
                        form method="post" action="/account/tokens/revoke" {
                            input type="hidden" name="token" value=(token.id);
                            button.button.calm type="submit" { "Revoke " span.unseen { (token.holder) " " } "now" }
                        }
                    }
                }
            }
        }
        h2 { "Make a token" }
        form method="post" action="/account/tokens" {
            div.field {
                label for="token-name" { "Name, for yourself" }
                input #token-name type="text" name="name" required maxlength="80" autocomplete="off";
            }
            div.field {
                label for="token-scopes" { "What it is for" }
                input #token-scopes type="text" name="scopes" required maxlength="2000" autocomplete="off" spellcheck="false"
                    value=(open.join(", ")) aria-describedby="token-scopes-help";
                p.note #token-scopes-help { "Names with commas between them, such as namespace/name, or namespace/* for all of a namespace." }
            }
            div.field {
                label for="token-days" { "How long it counts" }
                select #token-days name="days" {
                    option value="30" { "30 days" }
                    option value="90" { "90 days" }
                    option value="365" { "365 days" }
                }
            }
            p.buttons { button.button type="submit" { "Make the token" } }
        }
    };
    framed(true, "Your account", "/account", &main)
}

fn scopes(scopes: &[crate::Scope]) -> String {
    scopes.iter().map(crate::Scope::as_str).collect::<Vec<_>>().join(", ")
}

/// What the page of access shows.
pub(super) struct Shown<'s> {
    pub(super) version: &'s PublishedVersion,
    /// Every served version of the name.
    pub(super) others: &'s [Arc<PublishedVersion>],
    pub(super) path: &'s str,
    pub(super) session: Option<&'s Session>,
    pub(super) record: Option<&'s Record>,
    /// Visas of this login open it.
    pub(super) by_visas: bool,
    pub(super) login: bool,
    pub(super) contact: Option<&'s str>,
    /// What is wrong with the form that was sent, and what was in it.
    pub(super) problem: Option<(&'static str, &'s Fields)>,
    pub(super) now: Timestamp,
}

/// What a term asks for, with the names that it is about.
fn words_of(term: DuoTerm, terms: &Conditions) -> String {
    let countries: Vec<&str> = terms.countries.iter().map(|country| country.as_str()).collect();
    let names = match term {
        DuoTerm::Disease => terms.diseases.iter().map(String::as_str).collect(),
        DuoTerm::Geography => countries,
        DuoTerm::Institution => terms.institutions.iter().map(String::as_str).collect(),
        DuoTerm::Project => terms.projects.iter().map(String::as_str).collect(),
        DuoTerm::User => terms.users.iter().map(String::as_str).collect(),
        _ => Vec::new(),
    };
    match names.as_slice() {
        [] => term.promise().to_owned(),
        names => format!("{} Named: {}.", term.promise(), names.join(", ")),
    }
}

fn term_list(terms: &Conditions) -> Markup {
    html! {
        ul {
            @for term in &terms.duo {
                li { (words_of(*term, terms)) " " span.note { "(" (term.id()) ")" } }
            }
        }
    }
}

pub(super) fn access(shown: &Shown<'_>) -> String {
    let manifest = shown.version.manifest();
    let terms = &manifest.terms;
    let page = format!("/{}/{}", plural(manifest.artefact), manifest.dataset);
    let admitted = shown.by_visas || shown.record.is_some_and(|record| record.admits(shown.version, shown.now));
    let digest = digest_of(terms);
    let others: Vec<&str> = shown
        .others
        .iter()
        .filter(|version| digest_of(&version.manifest().terms) != digest)
        .map(|version| version.manifest().version.as_str())
        .collect();
    let main = html! {
        p.lead { a href=(page) { (manifest.title) } ", version " (manifest.version) }
        @if let Some((what, _)) = shown.problem { p.notice role="alert" { (what) } }
        @match terms.tier() {
            Tier::Open => { p { "Everybody may read the rows, without signing in." } }
            Tier::Registered => {
                p { "Those who gave these rows put conditions on their use. Who reads them signs in and promises to keep them. Card, statistics and descriptions are open." }
            }
            Tier::Controlled => {
                p { "Those who gave these rows put conditions on their use that somebody has to look at. You ask for access, and people at the trustee decide. Card, statistics and descriptions are open." }
            }
        }
        @if terms.tier() != Tier::Open {
            @if admitted {
                div.notice role="status" {
                    p { strong { "The rows are open to you." } " " (since(shown)) }
                    p { "On " a href=(page) { "the page of the data set" } " they can be seen and downloaded. For programs, make a token on " a href="/account" { "your account page" } "." }
                }
            }
            @match (shown.session, shown.login) {
                (None, true) => {
                    h2 { "Conditions" }
                    (term_list(terms))
                    p.buttons { a.button href=(format!("/login?next={}", shown.path)) { "Sign in" } }
                }
                (None, false) => {
                    h2 { "Conditions" }
                    (term_list(terms))
                    p.notice {
                        "Nobody can sign in here: this node has no institutional login."
                        @if let Some(contact) = shown.contact { " Write to the trustee: " (reached(contact)) }
                    }
                }
                (Some(_), _) if admitted => {
                    h2 { "What you keep to" }
                    (term_list(terms))
                }
                (Some(session), _) => {
                    (before(shown))
                    @if terms.tier() == Tier::Controlled {
                        (request(shown, session))
                    } @else if let Some(taken) = shown.record.and_then(|record| record.taken_back(shown.version)) {
                        p.notice {
                            "Your promise was taken back on " (taken.at.day()) ". Reason: " (taken.reason)
                            @if let Some(contact) = shown.contact { " Write to the trustee: " (reached(contact)) }
                        }
                        h2 { "Conditions" }
                        (term_list(terms))
                    } @else {
                        (promise(shown))
                    }
                }
            }
        }
        @if !others.is_empty() {
            h2 { "Other versions" }
            p { "These versions have other conditions; each needs a promise or a decision of its own." }
            ul { @for other in others { li { a href=(format!("{}?version={other}", shown.path)) { "Version " (other) } } } }
        }
    };
    framed(shown.session.is_some(), "Access to the rows", "", &main)
}

/// Why the rows are open.
fn since(shown: &Shown<'_>) -> Markup {
    let record = shown.record;
    html! {
        @if let Some(until) = record.and_then(|record| record.granted(shown.version, shown.now)) {
            "Access was granted, until " (until.day()) "."
        } @else if let Some(at) = record.and_then(|record| record.promised(shown.version)) {
            "You promised on " (at.day()) " to keep the conditions."
        } @else {
            "What your institution says about you opens them."
        }
    }
}

/// What became of earlier requests.
fn before(shown: &Shown<'_>) -> Markup {
    let requests: Vec<_> = shown.record.into_iter().flat_map(|record| record.asked(shown.version)).collect();
    let earlier = shown.record.is_some_and(|record| {
        let manifest = shown.version.manifest();
        requests.is_empty()
            && record.taken_back(shown.version).is_none()
            && record.names().contains(&(manifest.artefact, &manifest.dataset))
    });
    html! {
        @if earlier {
            p.notice { "What you promised or were granted before was for other conditions. These are new." }
        }
        @if !requests.is_empty() {
            h2 { "Your requests" }
            ul {
                @for request in &requests {
                    li {
                        "Sent " (request.at.day()) ": "
                        @match &request.outcome {
                            Outcome::Asked => { "nobody decided yet." }
                            Outcome::Granted { until, .. } => { "granted, and ended on " (until.day()) "." }
                            Outcome::Refused { at, reason, .. } => { "refused on " (at.day()) ". Reason: " (reason) }
                            Outcome::Revoked { at, reason, .. } => { "granted first, and revoked on " (at.day()) ". Reason: " (reason) }
                        }
                    }
                }
            }
        }
    }
}

/// Boxes to tick, none of them ticked.
fn promise(shown: &Shown<'_>) -> Markup {
    let manifest = shown.version.manifest();
    html! {
        form method="post" action=(format!("{}/promise", shown.path)) {
            input type="hidden" name="version" value=(manifest.version);
            fieldset.ask {
                legend { "I promise, for the whole time that I have the rows" }
                @for term in &manifest.terms.duo {
                    @let id = format!("term-{}", term.short());
                    div {
                        input id=(id) type="checkbox" name="term" value=(term.id()) required;
                        label for=(id) { (words_of(*term, &manifest.terms)) }
                    }
                }
            }
            p.note { "The promise is kept on record with the day, these conditions and the version. It does not name you." }
            p.buttons { button.button type="submit" { "Promise" } }
        }
    }
}

fn request(shown: &Shown<'_>, session: &Session) -> Markup {
    let manifest = shown.version.manifest();
    let waits = shown.record.is_some_and(|record| record.asked(shown.version).any(|one| one.outcome == Outcome::Asked));
    let sent = |name: &str| shown.problem.and_then(|(_, fields)| fields.get(name)).unwrap_or_default().to_owned();
    let name = Some(sent("name")).filter(|name| !name.is_empty()).or_else(|| session.name.clone()).unwrap_or_default();
    let needs_ethics = manifest.terms.duo.contains(&DuoTerm::Ethics);
    let line = |id: &str, label: &str, value: &str, complete: &str, note: Option<&str>, required: bool| {
        let help = format!("{id}-help");
        html! {
            div.field {
                label for=(id) { (label) }
                input id=(id) type="text" name=(id) value=(value) required[required] maxlength="300" autocomplete=(complete)
                    aria-describedby=[note.map(|_| help.as_str())];
                @if let Some(note) = note { p.note id=(help) { (note) } }
            }
        }
    };
    html! {
        h2 { "Conditions" }
        (term_list(&manifest.terms))
        @if !waits {
            h2 { "Ask for access" }
            form method="post" action=(format!("{}/request", shown.path)) {
                input type="hidden" name="version" value=(manifest.version);
                (line("name", "Your name", &name, "name", None, true))
                (line("contact", "How the trustee reaches you", &sent("contact"), "email", Some("An e-mail address, for instance."), true))
                (line("institution", "Institution", &sent("institution"), "organization", None, true))
                (line("country", "Country", &sent("country"), "country", Some("Two letters, such as DE."), true))
                (line("project", "Project", &sent("project"), "off", None, true))
                div.field {
                    label for="statement" { "What you need the rows for, and how you keep the conditions" }
                    textarea #statement name="statement" rows="8" required maxlength="5000" { (sent("statement")) }
                }
                (line("ethics", "Approval of an ethics committee", &sent("ethics"), "off", Some("Committee, number and date."), needs_ethics))
                p.note { "The trustee reads this" @if session.affiliation.is_some() { ", and where your institution says that you work" } ". It stays on record, sealed. Write nothing about patients." }
                p.buttons { button.button type="submit" { "Send the request" } }
            }
        }
    }
}
