//! The list of models.

use maud::{Markup, html};

use super::catalogue::{List, Listed, list, search};
use super::document;
use super::model::evidence_in_short;
use super::words::counted;
use crate::search::{Counted, Facet, Query};

/// One page of the list.
pub(crate) struct Models<'a> {
    pub(crate) listed: &'a [Listed<'a>],
    /// How many match the search.
    pub(crate) found: u64,
    /// How many there are.
    pub(crate) of: usize,
    /// What was searched for.
    pub(crate) wanted: &'a Query,
    /// How the search can be narrowed down.
    pub(crate) facets: &'a [(Facet, Vec<Counted<'a>>)],
    /// One-based.
    pub(crate) page: usize,
    pub(crate) pages: usize,
}

pub(crate) fn models(view: &Models<'_>) -> String {
    let searched = !view.wanted.words.trim().is_empty() || !view.wanted.chosen.is_empty();
    let of = counted(view.of as u64, "model", "models");
    let main = html! {
        div.top {
            div.frame {
                h1 { "Models" }
                p.lead { "Trained on records that people and institutions gave for it, and attacked before they were published. Each page says what the model is worth where it did not learn, or that nobody measured it. All are free, and none is a medical device." }
                (search("/models", "Search the models", view.wanted))
            }
        }
        div.frame {
            (list(&List {
                path: "/models",
                heading: &of,
                of: &of,
                found: view.found,
                wanted: view.wanted,
                facets: view.facets,
                cards: view.listed.iter().map(card).collect(),
                empty: empty(searched),
                page: (view.page, view.pages),
            }))
        }
    };
    document(
        "Models · Acequia",
        "Open models from an altruistic data trustee, each with what was measured of it and where.",
        &html! {},
        &main,
    )
}

fn empty(searched: bool) -> Markup {
    html! {
        div.empty {
            @if searched {
                p { "No model has all of these words in its name, description or tags, with what was chosen." }
                p { a href="/models" { "Show all models" } }
            } @else {
                p { "No model is published here yet." }
                p { "The operator of this node publishes one with " code { "acequia publish card.toml" } "." }
            }
        }
    }
}

fn card(listed: &Listed<'_>) -> Markup {
    let manifest = listed.version.manifest();
    html! {
        li.card {
            h3 { a href=(listed.version.repository_path()) { (manifest.title) } }
            p.name { code { (manifest.dataset) } " · version " (manifest.version) ", " (listed.version.published_at().day()) }
            p { (manifest.summary) }
            ul.badges aria-label="In short" {
                li.badge { "Evidence " (evidence_in_short(listed.brief.evidence.as_deref())) }
                li.badge { "Licence " (manifest.license) }
                @if let Some(mirrored) = listed.version.origin() { li.badge { "Mirrored from " (mirrored.by) } }
            }
        }
    }
}
