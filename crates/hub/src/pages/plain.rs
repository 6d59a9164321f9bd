//! What the data are, what they are good for and what not, as the trustee wrote it for everybody.

use maud::{Markup, html};
use serde_json::Value;

use crate::PublishedVersion;
use crate::facts::{Facts, list, text};

/// How the description marks a use that is none (`release` writes it so).
const NOT_FOR: &str = "Not for: ";

/// Section: in plain words.
pub(super) fn section(facts: &Facts, version: &PublishedVersion) -> Markup {
    let told = &facts.croissant;
    let summary = &version.manifest().summary;
    let paragraphs = text(told, "/description").unwrap_or_default().split("\n\n").map(str::trim);
    let paragraphs: Vec<&str> = paragraphs.filter(|text| !text.is_empty() && text != summary).collect();
    let uses: Vec<&str> = texts(told, "/rai:dataUseCases");
    let good: Vec<&str> = uses.iter().copied().filter(|text| !text.starts_with(NOT_FOR)).collect();
    let bad: Vec<&str> = uses.iter().filter_map(|text| text.strip_prefix(NOT_FOR)).collect();
    let limits = [texts(told, "/rai:dataBiases"), texts(told, "/rai:dataLimitations")].concat();
    html! {
        section #plain aria-labelledby="plain-title" {
            h2 #plain-title { "In plain words" }
            @for paragraph in &paragraphs { p { (paragraph) } }
            @if paragraphs.is_empty() { p { (summary) } }
            @if !good.is_empty() || !bad.is_empty() {
                div.pair {
                    (listed("good", "Good for", &good))
                    (listed("bad", "Not for", &bad))
                }
            }
            @if !limits.is_empty() {
                h3 { "Know this before you use it" }
                ul { @for limit in &limits { li { (limit) } } }
            }
            (origin(told))
        }
    }
}

fn listed(class: &str, title: &str, entries: &[&str]) -> Markup {
    html! {
        @if !entries.is_empty() {
            div class=(format!("panel {class}")) {
                h3 { (title) }
                ul { @for entry in entries { li { (entry) } } }
            }
        }
    }
}

/// Where the records come from.
fn origin(told: &Value) -> Markup {
    let facts = [
        ("Collected", text(told, "/rai:dataCollection").map(str::to_owned)),
        ("From when", text(told, "/rai:dataCollectionTimeframe").map(|span| span.replace('/', " to "))),
        ("Unknown values", text(told, "/rai:dataCollectionMissingData").map(str::to_owned)),
        ("Kept up to date", text(told, "/rai:dataReleaseMaintenancePlan").map(str::to_owned)),
    ];
    html! {
        @if facts.iter().any(|(_, text)| text.is_some()) {
            dl.facts { @for (name, text) in &facts { @if let Some(text) = text { dt { (name) } dd { (text) } } } }
        }
    }
}

/// One text or several, as JSON-LD allows both.
fn texts<'a>(value: &'a Value, pointer: &str) -> Vec<&'a str> {
    match text(value, pointer) {
        Some(one) => vec![one],
        None => list(value, pointer).iter().filter_map(Value::as_str).filter(|text| !text.trim().is_empty()).collect(),
    }
}
