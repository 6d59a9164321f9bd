//! Pages for people. Every page works without JavaScript and loads nothing but the style sheet and the mark.

mod catalogue;
mod dataset;
pub(crate) mod difference;
mod diversity;
mod model;
mod models;
pub(crate) mod network;
mod plain;
mod risk;
pub(crate) mod rows;
mod statistics;
mod tombstone;
mod usage;
mod version;
mod words;

use maud::{Markup, PreEscaped, html};

use crate::frame::Frame;
use crate::http::percent_encoded;
use crate::refusal::{PROBLEMS, Refusal};
use crate::{Mirrored, PublishedVersion};

pub(crate) use catalogue::{Catalogue, Listed, catalogue};
pub(crate) use dataset::dataset;
pub(crate) use model::{evidence_in_short, model};
pub(crate) use models::{Models, models};
pub(crate) use tombstone::tombstone;
pub(crate) use version::{Tab, checksums, compared};
pub(crate) use words::license_address;

/// A whole document around `main`. `head` goes into the head as it is.
fn document(title: &str, description: &str, head: &Markup, main: &Markup) -> String {
    let links = [
        ("/#list", "Data sets".to_owned(), false),
        ("/models", "Models".to_owned(), false),
        ("/#how", "How it works".to_owned(), false),
        ("/#patients", "For patients".to_owned(), false),
    ];
    let foot = html! {
        p { "An " i { "acequia" } " is a watercourse that a community owns, cleans and shares by its own rules. This one carries health data that people and institutions gave for the common good." }
        p { "Reading takes no cookie and no script; no visitor is counted, nothing is loaded from anywhere else." }
        ul {
            li { a href="/#list" { "All data sets" } }
            li { a href="/models" { "All models" } }
            li { a href="/network" { "What neighbours publish" } }
            li { a href="/api/datasets" { "The list for programs" } }
            li { a href="/catalogue.ttl" { "The list for catalogues (DCAT-AP)" } }
            li { a href="/api/openapi.json" { "Interface (OpenAPI)" } }
            li { a href="/sitemap.xml" { "Site map" } }
        }
    };
    let frame = Frame {
        language: "en",
        title,
        description,
        head: head.clone(),
        skip: "Skip to the content",
        navigation: "Site",
        links: &links,
        beside: html! {},
        foot,
    };
    frame.around(main)
}

/// The page for a refused request.
pub(crate) fn refusal(refusal: &Refusal) -> String {
    let status = refusal.problem().status;
    let missing = status == axum::http::StatusCode::NOT_FOUND;
    let heading = if missing { "Nothing here" } else { "This did not work" };
    let main = html! {
        div.frame.narrow {
            p.eyebrow { (status.as_u16()) }
            h1 { (heading) }
            p.lead { (refusal.message()) }
            @if missing {
                p { "The address may be mistyped. The page of a published version stays, even when the version itself was taken down." }
            }
            @if let Refusal::Gone(gone) = refusal {
                p { a href=(gone.page) { "The page of this version" } }
                @if let Some((number, path)) = &gone.successor {
                    p { "In its place is " a href=(path) { "version " (number) } "." }
                }
            }
            p { a href="/" { "See all data sets" } }
        }
    };
    document(&format!("{heading} · Acequia"), refusal.message(), &html! {}, &main)
}

/// What each kind of refusal means, where problem details point.
pub(crate) fn problems() -> String {
    let main = html! {
        div.frame.narrow {
            h1 { "When a request is refused" }
            p.lead { "A refusal carries a status, the headers X-Error-Code and X-Error-Message, and problem details as RFC 9457 has them. Their type leads here." }
            @for problem in &PROBLEMS {
                section aria-labelledby=(problem.kind) { h2 #(problem.kind) { (problem.title) } p { (problem.help) } }
            }
            p { a href="/api/openapi.json" { "Description of the interface (OpenAPI 3.1)" } }
        }
    };
    document("When a request is refused · Acequia", "What each refusal of this node means.", &html! {}, &main)
}

/// Path of a version's own page.
pub(crate) fn version_path(version: &PublishedVersion) -> String {
    let manifest = version.manifest();
    format!("{}/v/{}", version.repository_path(), percent_encoded(&manifest.version))
}

/// Whose a mirrored version is, as a link where the node says where its pages are.
fn origin(mirrored: &Mirrored) -> Markup {
    html! {
        @match &mirrored.web {
            Some(web) => { a href=(web) rel="noopener" { (mirrored.by) } }
            None => { (mirrored.by) }
        }
    }
}

/// A block of JSON-LD. Browsers never run it; `<` is escaped so that no text can end the block.
fn json_ld(document: &serde_json::Value) -> Markup {
    let text = document.to_string().replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026");
    html! { script type="application/ld+json" { (PreEscaped(text)) } }
}

/// A table that scrolls inside its own frame on a narrow screen, reachable by keyboard.
fn wide(label: &str, table: &Markup) -> Markup {
    html! { div.wide role="region" aria-label=(format!("Table: {label}")) tabindex="0" { (table) } }
}
