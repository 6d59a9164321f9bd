//! The pages. Everything a reader sees is said by [`Texts`], in the reader's language.

mod donor;
mod institution;

use std::sync::LazyLock;

use acequia_custody::Purpose;
use acequia_hub::Frame;
use acequia_store::{Account, Holder, StoredPasskey};
use acequia_types::Digest;
use acequia_vault::{Texts, stands};
use maud::{Markup, html};
use serde_json::Value;

pub(crate) use donor::{allow, no_receipt, receipt, report, request, requests, timeline, withdraw, you};
pub(crate) use institution::institution;

/// The one script: passkeys need it.
pub(crate) const SCRIPT: &str = include_str!("../../assets/passkey.js");
static SCRIPT_PATH: LazyLock<String> =
    LazyLock::new(|| format!("/assets/passkey-{}.js", Digest::of(SCRIPT.as_bytes()).short(12)));

pub(crate) fn script_path() -> &'static str {
    &SCRIPT_PATH
}

/// A page in the frame that all pages of a node share.
pub(crate) fn framed(
    texts: &Texts,
    languages: &[String],
    account: Option<&Account>,
    path: &str,
    title: &str,
    main: &Markup,
) -> String {
    let pages: &[(&str, &str)] = match account.map(|account| &account.holder) {
        Some(Holder::Donor(_)) => &[
            ("/you", "nav-you"),
            ("/you/timeline", "nav-timeline"),
            ("/you/receipt", "nav-receipt"),
            ("/you/requests", "nav-requests"),
            ("/you/passkeys", "nav-passkeys"),
        ],
        Some(Holder::Institution(_)) => &[("/institution", "nav-institution"), ("/you/passkeys", "nav-passkeys")],
        None => &[("/", "nav-sets"), ("/you/sign-in", "nav-sign-in"), ("/you/join", "nav-join")],
    };
    let links: Vec<(&str, String, bool)> =
        pages.iter().map(|(address, key)| (*address, texts.say(key), *address == path)).collect();
    let beside = html! {
        @if account.is_some() {
            form method="post" action="/you/sign-out" { button type="submit" { (texts.say("nav-sign-out")) } }
        }
    };
    let joint = if path.contains('?') { '&' } else { '?' };
    let foot = html! {
        p { (texts.say("foot-cookie")) }
        ul.languages {
            @for language in languages {
                li {
                    a href=(format!("{path}{joint}language={language}")) lang=(language) hreflang=(language)
                        aria-current=[(language == texts.language()).then_some("true")] { (endonym(language)) }
                }
            }
        }
    };
    let frame = Frame {
        language: texts.language(),
        title: &format!("{} · Acequia", texts.say(title)),
        description: &texts.say("foot-about"),
        head: html! { script src=(script_path()) defer {} },
        skip: &texts.say("nav-skip"),
        navigation: &texts.say("nav-name"),
        links: &links,
        beside,
        foot,
    };
    frame.around(&html! { div.frame.narrow { h1 { (texts.say(title)) } (main) } })
}

/// A language's name for itself.
fn endonym(language: &str) -> &str {
    match language {
        "en" => "English",
        "de" => "Deutsch",
        "fr" => "Français",
        other => other,
    }
}

/// A request that got nothing.
pub(crate) fn stopped(texts: &Texts, key: &str, code: &str) -> Markup {
    html! {
        p.lead { (texts.say(key)) }
        p.note { (texts.say_with("stop-code-of", &[("code", code)])) }
        p { a href="/you" { (texts.say("stop-back")) } }
    }
}

/// A button that begins a ceremony with an authenticator, and where it says what came of it.
fn ceremony(texts: &Texts, base: &str, kind: &str, label: &str, next: Option<&str>) -> Markup {
    html! {
        p.buttons {
            // The script switches it on: without one it could do nothing.
            button.button type="button" disabled data-ceremony=(base) data-kind=(kind) data-next=[next]
                data-wait=(texts.say("passkey-wait")) data-failed=(texts.say("passkey-failed"))
                data-none=(texts.say("passkey-none")) aria-describedby="said" { (texts.say(label)) }
        }
        p.said #said role="status" tabindex="-1" {}
        noscript { p.notice { (texts.say("passkey-noscript")) } }
    }
}

/// Purposes to choose among, none of them chosen.
fn boxes(texts: &Texts) -> Markup {
    html! {
        @for purpose in Purpose::ALL {
            @let id = format!("choose-{purpose}");
            div {
                input id=(id) type="checkbox" name="purpose" value=(purpose);
                label for=(id) { (texts.say(&format!("purpose-{purpose}"))) }
            }
        }
    }
}

/// Where a passkey is asked for.
pub(crate) fn sign_in(texts: &Texts, next: Option<&str>, why: Option<&str>) -> Markup {
    html! {
        @if why == Some("undone") { p.notice role="alert" { (texts.say("sign-in-undone")) } }
        p.lead { (texts.say(if why == Some("again") { "sign-in-again" } else { "sign-in-lead" })) }
        (ceremony(texts, "/you/sign-in", "get", "sign-in-button", next))
        h2 { (texts.say("sign-in-new-title")) }
        p { (texts.say("sign-in-new")) " " a href="/you/join" { (texts.say("nav-join")) } }
        h2 { (texts.say("sign-in-lost-title")) }
        p { (texts.say("sign-in-lost")) }
    }
}

/// Where a code is entered.
pub(crate) fn join(texts: &Texts) -> Markup {
    html! {
        p.lead { (texts.say("join-lead")) }
        form method="post" action="/you/join" {
            div.field {
                label for="code" { (texts.say("join-code")) }
                input #code type="text" name="code" required autocomplete="off" autocapitalize="characters"
                    spellcheck="false" maxlength="60" aria-describedby="code-help";
                p.note #code-help { (texts.say("join-help")) }
            }
            p.buttons { button.button type="submit" { (texts.say("join-button")) } }
        }
    }
}

/// The passkeys of an account.
pub(crate) fn passkeys(texts: &Texts, account: &Account, keys: &[StoredPasskey], joining: bool) -> Markup {
    html! {
        @if joining {
            p.lead { (texts.say_with("passkeys-join", &[("account", account.holder.name())])) }
            @if !keys.is_empty() { p.notice { (texts.say("passkeys-replace")) } }
        } @else {
            p.lead { (texts.say("passkeys-lead")) }
            ul.cards {
                @for (at, key) in keys.iter().enumerate() {
                    li.card {
                        h2 { (texts.say_with("passkeys-one", &[("number", &(at + 1).to_string())])) }
                        p.note {
                            (texts.say_with("passkeys-added", &[("day", &key.added_at.day().to_string())]))
                            @if let Some(used) = key.used_at {
                                " " (texts.say_with("passkeys-used", &[("day", &used.day().to_string())]))
                            }
                        }
                        @if keys.len() > 1 {
                            form method="post" action="/you/passkeys/remove" {
                                input type="hidden" name="passkey" value=(key.credential);
                                button.button.calm type="submit" {
                                    (texts.say_with("passkeys-remove", &[("number", &(at + 1).to_string())]))
                                }
                            }
                        }
                    }
                }
            }
        }
        (ceremony(texts, "/you/passkeys", "create", if joining { "passkeys-create" } else { "passkeys-add" }, None))
        p.note { (texts.say("passkeys-what")) }
    }
}

/// What a receipt says, for whoever holds one.
pub(crate) fn checked(texts: &Texts, given: bool, told: Option<&Value>) -> Markup {
    let purposes = told.and_then(|told| told["purposes"].as_object());
    html! {
        @match (given, told, purposes) {
            (true, Some(told), Some(purposes)) => {
                p.lead { (texts.say("check-genuine")) }
                dl.facts {
                    dt { (texts.say("check-trustee")) } dd { (told["iss"].as_str().unwrap_or_default()) }
                    dt { (texts.say("check-day")) }
                    dd { (told["iat"].as_i64().map(acequia_types::Timestamp::from_unix_s).map(|at| at.day().to_string()).unwrap_or_default()) }
                    @for (purpose, state) in purposes {
                        dt { (texts.say(&format!("purpose-{purpose}"))) }
                        dd { (texts.say(&stands(state.as_str().unwrap_or_default()))) }
                    }
                }
                p.note { (texts.say("check-later")) }
            }
            (true, ..) => { p.lead { (texts.say("check-forged")) } }
            (false, ..) => { p.lead { (texts.say("check-none")) } }
        }
    }
}
