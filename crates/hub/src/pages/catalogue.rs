//! The front page: what this node is, and what it offers.

use maud::{Markup, html};

use super::document;
use super::words::{counted, one_in, thousands};
use crate::PublishedVersion;
use crate::facts::{Brief, Kind};

/// One data set in the list.
pub(crate) struct Listed<'a> {
    pub(crate) version: &'a PublishedVersion,
    pub(crate) brief: &'a Brief,
}

/// One page of the list.
pub(crate) struct Catalogue<'a> {
    pub(crate) listed: &'a [Listed<'a>],
    /// How many match the search.
    pub(crate) found: usize,
    /// How many there are.
    pub(crate) of: usize,
    /// What was searched for; empty when nothing.
    pub(crate) words: &'a str,
    /// One-based.
    pub(crate) page: usize,
    pub(crate) pages: usize,
}

pub(crate) fn catalogue(view: &Catalogue<'_>) -> String {
    let searched = !view.words.trim().is_empty();
    let main = html! {
        section.hero {
            h1 { "Open health data, given on purpose" }
            p.lead {
                "This node is an altruistic data trustee: people and institutions give it health records, and it gives back data sets that anyone may use without charge. "
                "Nothing leaves before the risk of recognising a person has been measured, and that number stands beside the data."
            }
            form.search role="search" action="/" method="get" {
                label for="q" { "Search the data sets" }
                div.row {
                    input #q type="search" name="q" value=(view.words) maxlength="200" autocomplete="off";
                    button type="submit" { "Search" }
                }
            }
        }
        section aria-labelledby="list" {
            h2 #list {
                @if searched {
                    (thousands(view.found as u64)) " of " (counted(view.of as u64, "data set", "data sets")) " for “" (view.words) "”"
                } @else {
                    (counted(view.of as u64, "data set", "data sets"))
                }
            }
            @if view.listed.is_empty() { (empty(searched)) }
            @else {
                ul.cards { @for listed in view.listed { (card(listed)) } }
                @if view.pages > 1 { (pager(view)) }
            }
        }
    };
    let description = "Open, de-identified and synthetic health data sets from an altruistic data trustee.";
    let title = if searched { "Search · Acequia" } else { "Acequia: open health data, given on purpose" };
    document(title, description, &html! {}, &main)
}

fn empty(searched: bool) -> Markup {
    html! {
        div.empty {
            @if searched {
                p { "No data set has all of these words in its name, title, summary or tags." }
                p { a href="/" { "Show all data sets" } }
            } @else {
                p { "Nothing is published here yet." }
                p { "The operator of this node publishes a data set with " code { "acequia run recipe.toml" } "." }
            }
        }
    }
}

fn card(listed: &Listed<'_>) -> Markup {
    let manifest = listed.version.manifest();
    html! {
        li.card {
            h3 { a href=(format!("/datasets/{}", manifest.dataset)) { (manifest.title) } }
            p { (manifest.summary) }
            (badges(listed.version, listed.brief))
            p.name { code { (manifest.dataset) } }
        }
    }
}

/// The facts a reader looks for first.
pub(super) fn badges(version: &PublishedVersion, brief: &Brief) -> Markup {
    let manifest = version.manifest();
    html! {
        ul.badges aria-label="In short" {
            @match brief.kind {
                Kind::Real => { li.badge.real { "Real people, de-identified" } }
                Kind::Synthetic => { li.badge.synthetic { "Synthetic rows, no real person" } }
                Kind::NotStated => { li.badge { "Real or synthetic: not stated" } }
            }
            li.badge {
                @if brief.kind == Kind::Synthetic { (counted(version.people(), "row", "rows")) }
                @else { (counted(version.people(), "person", "people")) }
            }
            li.badge { "Version " (manifest.version) }
            li.badge { "Licence " (manifest.license) }
            @match brief.highest_risk {
                Some(risk) => { li.badge.risk { "Risk at most 1 in " (thousands(one_in(risk))) } }
                None => { li.badge { "Risk: not stated" } }
            }
        }
    }
}

fn pager(view: &Catalogue<'_>) -> Markup {
    let address = |page: usize| match view.words.trim() {
        "" => format!("/?page={page}"),
        words => format!("/?q={}&page={page}", crate::http::percent_encoded(words)),
    };
    html! {
        nav.pager aria-label="Pages" {
            @if view.page > 1 { a rel="prev" href=(address(view.page - 1)) { "Previous page" } }
            span { "Page " (view.page) " of " (view.pages) }
            @if view.page < view.pages { a rel="next" href=(address(view.page + 1)) { "Next page" } }
        }
    }
}
