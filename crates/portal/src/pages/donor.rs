//! Pages of donors.

use acequia_custody::receipt::Controller;
use acequia_custody::rights::Right;
use acequia_custody::{Level, Purpose};
use acequia_store::NoticeText;
use acequia_types::{Day, Timestamp};
use acequia_vault::{Case, ConsentLine, Happening, Texts, What, Withdrawal, stands};
use maud::{Markup, html};
use qrcode::{Color, EcLevel, QrCode};
use serde_json::Value;

use super::boxes;

/// What is decided, purpose by purpose, and the buttons to decide otherwise. No button is the chosen one.
pub(crate) fn you(texts: &Texts, standing: Option<&ConsentLine>, files: u64, lately: &[Happening]) -> Markup {
    let say = |key: &str| texts.say(key);
    html! {
        p.lead { (say("you-lead")) }
        @if files == 0 { p.notice { (say("you-nothing")) } } @else { p { (texts.count("you-files", files)) } }
        div.choices {
            @for purpose in Purpose::ALL {
                (choice(texts, purpose, standing))
            }
        }
        section aria-labelledby="out" {
            h2 #out { (say("withdraw-title")) }
            p { (say("you-withdraw")) }
            p.buttons { a.button.stop href="/you/withdraw" { (say("you-withdraw-button")) } }
        }
        section aria-labelledby="lately" {
            h2 #lately { (say("you-lately")) }
            (days(texts, lately, true))
            p { a href="/you/timeline" { (say("you-all")) } }
        }
    }
}

fn choice(texts: &Texts, purpose: Purpose, standing: Option<&ConsentLine>) -> Markup {
    let state = standing.and_then(|line| line.purposes.get(purpose.as_str()).copied()).unwrap_or("not-asked");
    let from = standing.and_then(|line| line.open_publication_counts_from);
    let word = stands(state);
    let class = match word.as_str() {
        "stands-permitted" | "stands-cooling-off" => "yes",
        "stands-not-asked" => "open",
        _ => "no",
    };
    // Where something else stands against a use, the person may still say no to it.
    let said_no = matches!(word.as_str(), "stands-refused" | "stands-withdrawn");
    let heading = format!("purpose-{purpose}");
    let button = |action: &str, class: &str, key: &str| {
        html! {
            form method="post" action=(action) {
                input type="hidden" name="purpose" value=(purpose);
                button class=(class) type="submit" {
                    (texts.say(key)) span.unseen { ": " (texts.say(&heading)) }
                }
            }
        }
    };
    html! {
        section class=(format!("panel {class}")) aria-labelledby=(heading) {
            h2 id=(heading) { (texts.say(&heading)) }
            p { (texts.say(&format!("{heading}-more"))) }
            p.stands {
                @match (word.as_str(), from) {
                    ("stands-cooling-off", Some(day)) => (texts.say_with("stands-cooling-off-until", &[("day", &day.to_string())])),
                    _ => (texts.say(&word)),
                }
            }
            div.buttons {
                @if class != "yes" {
                    @if purpose == Purpose::OpenPublication {
                        a.button.calm href=(format!("/you/allow?purpose={purpose}")) {
                            (texts.say("choice-allow")) span.unseen { ": " (texts.say(&heading)) }
                        }
                    } @else { (button("/you/allow", "button calm", "choice-allow")) }
                }
                @if class == "yes" { (button("/you/refuse", "button calm", "choice-stop")) }
                @if class != "yes" && !said_no { (button("/you/refuse", "button calm", "choice-refuse")) }
            }
        }
    }
}

/// What is read before something is allowed. For what cannot be called back, one question shows that it was understood.
pub(crate) fn allow(texts: &Texts, purpose: Purpose, notice: Option<&NoticeText>, mistaken: bool) -> Markup {
    let say = |key: &str| texts.say(key);
    html! {
        p.lead { (say(&format!("purpose-{purpose}"))) }
        p { (say(&format!("purpose-{purpose}-more"))) }
        form method="post" action="/you/allow" {
            input type="hidden" name="purpose" value=(purpose);
            @if let Some(notice) = notice {
                div.ask lang=(notice.language) {
                    @for paragraph in notice.text.split("\n\n") {
                        p { @for (at, line) in paragraph.lines().enumerate() {
                            @if at > 0 && line.starts_with(|c: char| c.is_ascii_digit()) { br; }
                            (line) " "
                        } }
                    }
                }
                input type="hidden" name="language" value=(notice.language);
                input type="hidden" name="notice" value=(notice.digest().to_string());
                fieldset.ask {
                    legend { (say("allow-question")) }
                    @if mistaken { p.said role="alert" { (say("allow-mistaken")) } }
                    div { input #recall-yes type="radio" name="recall" value="yes" required; label for="recall-yes" { (say("allow-yes")) } }
                    div { input #recall-no type="radio" name="recall" value="no"; label for="recall-no" { (say("allow-no")) } }
                }
            }
            p.buttons {
                button.button type="submit" { (say("allow-button")) }
                a.button.calm href="/you" { (say("allow-back")) }
            }
        }
    }
}

/// How far to withdraw; each way is one button.
pub(crate) fn withdraw(texts: &Texts) -> Markup {
    html! {
        p.lead { (texts.say("withdraw-lead")) }
        div.choices {
            @for level in Level::ALL.into_iter().rev() {
                @let key = format!("level-{}", level.as_str());
                section.panel aria-labelledby=(key) {
                    h2 id=(key) { (texts.say(&key)) }
                    p { (texts.say(&format!("{key}-more"))) }
                    form method="post" action="/you/withdraw" {
                        input type="hidden" name="level" value=(level.as_str());
                        p.buttons {
                            button.button.stop type="submit" {
                                (texts.say("withdraw-button")) span.unseen { ": " (texts.say(&key)) }
                            }
                        }
                    }
                }
            }
        }
        p { (texts.say("withdraw-erase")) " " a href="/you/requests" { (texts.say("nav-requests")) } }
        p { a href="/you" { (texts.say("allow-back")) } }
    }
}

/// What followed from a withdrawal.
pub(crate) fn report(texts: &Texts, report: &Withdrawal) -> Markup {
    html! { (report.content(texts)) p { a href="/you" { (texts.say("stop-back")) } } }
}

/// Everything that happened, newest first.
pub(crate) fn timeline(texts: &Texts, happened: &[Happening]) -> Markup {
    html! {
        p.lead { (texts.say("timeline-lead")) }
        @if happened.is_empty() { p.empty { (texts.say("timeline-nothing")) } } @else { (days(texts, happened, false)) }
    }
}

/// Day by day; `below` a heading of the page's own, or not.
fn days(texts: &Texts, happened: &[Happening], below: bool) -> Markup {
    let mut by_day: Vec<(Day, Vec<&Happening>)> = Vec::new();
    for one in happened {
        match by_day.last_mut() {
            Some((day, all)) if *day == one.at.day() => all.push(one),
            _ => by_day.push((one.at.day(), vec![one])),
        }
    }
    html! {
        ol.happened {
            @for (day, all) in &by_day {
                li {
                    @if below { h3 { time datetime=(day) { (day) } } } @else { h2 { time datetime=(day) { (day) } } }
                    ul { @for one in all { li { (one.say(texts)) } } }
                }
            }
        }
    }
}

/// A QR code as a picture in the page. Dark on light in every scheme, since cameras want it so.
fn qr(texts: &Texts, text: &str) -> Markup {
    let Ok(code) = QrCode::with_error_correction_level(text, EcLevel::L) else { return html! {} };
    let (width, colors) = (code.width(), code.to_colors());
    let mut path = String::new();
    for (at, color) in colors.iter().enumerate() {
        if *color == Color::Dark {
            path.push_str(&format!("M{} {}h1v1h-1z", at % width + 4, at / width + 4));
        }
    }
    let size = width + 8;
    html! {
        svg.qr viewBox=(format!("0 0 {size} {size}")) role="img" aria-label=(texts.say("receipt-code")) shape-rendering="crispEdges" {
            rect width=(size) height=(size) fill="#fff" {}
            path d=(path) fill="#000" {}
        }
    }
}

/// In place of a receipt: nothing was decided yet.
pub(crate) fn no_receipt(texts: &Texts) -> Markup {
    html! { p.lead { (texts.say("stands-not-asked")) } p { a href="/you" { (texts.say("stop-back")) } } }
}

/// What a donor allowed, to print and keep.
pub(crate) fn receipt(
    texts: &Texts,
    trustee: &Controller,
    standing: &ConsentLine,
    now: Timestamp,
    address: &str,
) -> Markup {
    let say = |key: &str| texts.say(key);
    html! {
        p.lead { (say("receipt-lead")) }
        div.receipt {
            div {
                dl.facts {
                    dt { (say("report-account")) } dd { (standing.donor) }
                    dt { (say("check-day")) } dd { time datetime=(now.day()) { (now.day()) } }
                    dt { (say("check-trustee")) } dd { (trustee.name) }
                    dt { (say("receipt-contact")) } dd { (trustee.contact) }
                    dt { (say("receipt-authority")) } dd { (trustee.authority) }
                    @for purpose in Purpose::ALL {
                        dt { (say(&format!("purpose-{purpose}"))) }
                        dd { (say(&stands(standing.purposes.get(purpose.as_str()).copied().unwrap_or("not-asked")))) }
                    }
                }
            }
            div { (qr(texts, address)) p.note { (say("receipt-code-help")) } }
        }
        h2 { (say("receipt-history")) }
        @let acts: Vec<Happening> = standing.events.iter().rev().map(|act| Happening { at: act.at, what: What::Decided { act: act.clone() } }).collect();
        (days(texts, &acts, true))
        p.buttons { a.button.calm href="/you/receipt.json" { (say("receipt-json")) } }
        p { (say("complaint")) }
    }
}

/// The donor's requests, and a form to ask.
pub(crate) fn requests(texts: &Texts, requests: &[Case]) -> Markup {
    let say = |key: &str| texts.say(key);
    html! {
        p.lead { (say("requests-lead")) }
        @if !requests.is_empty() {
            h2 { (say("requests-yours")) }
            ul.cards {
                @for case in requests.iter().rev() {
                    li.card {
                        h3 { a href=(format!("/you/requests/{}", case.number)) { (say(case.request.right.as_str())) } }
                        p.note {
                            (say("number")) " " (case.number) ". " (say("received")) " " (case.request.received_at.day()) ". "
                            @if case.request.state.is_final() { (say("requests-done")) }
                            @else { (say("due")) " " (case.request.due_on) "." }
                        }
                    }
                }
            }
        }
        form method="post" action="/you/requests" {
            fieldset.ask {
                legend { (say("requests-ask")) }
                @for right in Right::ALL {
                    @let id = format!("right-{}", right.as_str());
                    div {
                        input id=(id) type="radio" name="right" value=(right.as_str()) required;
                        label for=(id) {
                            (say(right.as_str()))
                            " " span.note { (texts.say_with("requests-article", &[("number", &right.article().to_string())])) }
                        }
                    }
                }
            }
            fieldset.ask {
                legend { (say("requests-objection")) }
                (boxes(texts))
            }
            p.note { (say("requests-erasure")) }
            p.buttons { button.button type="submit" { (say("requests-button")) } }
        }
    }
}

/// One request: what the letter says, and the way back.
pub(crate) fn request(texts: &Texts, case: &Case, certificate: Option<&Value>) -> Markup {
    html! {
        (case.content(certificate, texts))
        @if !case.request.state.is_final() {
            form method="post" action=(format!("/you/requests/{}/take-back", case.number)) {
                p.buttons { button.button.calm type="submit" { (texts.say("requests-take-back")) } }
            }
        }
        p { a href="/you/requests" { (texts.say("nav-requests")) } }
    }
}
