//! What other nodes of the network publish: there, and mirrored here.

use acequia_gate::Artefact;
use maud::{Markup, html};

use super::document;
use super::words::{counted, thousands};
use crate::catalogue::plural;
use crate::http::percent_encoded;
use crate::{Neighbour, NeighbourState, NeighbourVersion};

/// Versions of a node on a page.
const SHOWN: usize = 20;

/// All nodes with their newest versions, or a page of those of one; `None` when there is no such page.
pub(crate) fn page(neighbours: &[Neighbour], of: Option<&str>, page: Option<usize>) -> Option<String> {
    let shown: Vec<&Neighbour> = match of {
        Some(name) => vec![neighbours.iter().find(|neighbour| neighbour.name == name)?],
        None => neighbours.iter().collect(),
    };
    let asked = page.unwrap_or(1);
    let pages = shown.first().map_or(1, |neighbour| served(neighbour).count().div_ceil(SHOWN).max(1));
    if asked == 0 || asked > if of.is_some() { pages } else { 1 } {
        return None;
    }
    let main = html! {
        div.top {
            div.frame {
                h1 { "What neighbours publish" }
                p.lead { "Other nodes of this one's network publish data sets and models of their own. What is mirrored can be had here, byte for byte as it is there, and is found by the search." }
            }
        }
        div.frame {
            @if neighbours.is_empty() {
                div.empty { p { "This node knows of no other node that publishes." } }
            }
            @for neighbour in &shown { (section(neighbour, of.is_some().then_some((asked, pages)))) }
            @if of.is_some() { p { a href="/network" { "All neighbours" } } }
        }
    };
    let description = "Data sets and models of other nodes of the network.";
    Some(document("What neighbours publish · Acequia", description, &html! {}, &main))
}

fn served(neighbour: &Neighbour) -> impl Iterator<Item = &NeighbourVersion> {
    neighbour.versions.iter().filter(|version| version.state != NeighbourState::TakenDown)
}

/// One node; `page` is there where it is the only one.
fn section(neighbour: &Neighbour, page: Option<(usize, usize)>) -> Markup {
    let id = format!("of-{}", neighbour.name);
    let count = served(neighbour).count();
    let mirrored = served(neighbour).filter(|version| version.state == NeighbourState::Mirrored).count();
    let from = page.map_or(0, |(page, _)| (page - 1) * SHOWN);
    let of_it = format!("/network?of={}", percent_encoded(&neighbour.name));
    html! {
        section aria-labelledby=(id) {
            h2 id=(id) { (neighbour.title.as_deref().unwrap_or(&neighbour.name)) }
            p {
                (counted(count as u64, "version", "versions")) ", " (thousands(mirrored as u64)) " of them mirrored here. "
                @if let Some(web) = &neighbour.web { a href=(web) rel="noopener" { "Its own pages" } ". " }
                @match neighbour.heard_at {
                    Some(at) => { "Last heard on " (at.day()) "." }
                    None => { "It was not heard yet." }
                }
            }
            @if neighbour.refused {
                p.notice { "What this node told last contradicts what it told before. Nothing of it was taken in; what stands here is from before." }
            }
            ul.cards { @for version in served(neighbour).skip(from).take(SHOWN) { (card(neighbour, version)) } }
            @match page {
                None if count > SHOWN => { p { a href=(of_it) { "All " (thousands(count as u64)) " versions" } } }
                Some((page, pages)) if pages > 1 => {
                    nav.pager aria-label="Pages" {
                        @if page > 1 { a rel="prev" href=(format!("{of_it}&page={}", page - 1)) { "Previous page" } }
                        span { "Page " (page) " of " (pages) }
                        @if page < pages { a rel="next" href=(format!("{of_it}&page={}", page + 1)) { "Next page" } }
                    }
                }
                _ => {}
            }
        }
    }
}

fn card(neighbour: &Neighbour, version: &NeighbourVersion) -> Markup {
    let name = version.dataset.to_string();
    let title = version.title.as_deref().unwrap_or(&name);
    let path = format!("/{}/{name}/v/{}", plural(version.artefact), percent_encoded(&version.version));
    let mirrored = version.state == NeighbourState::Mirrored;
    // Where it can be read: here, or there if the node says where its pages are.
    let address = match (&neighbour.web, mirrored) {
        (_, true) => Some(path),
        (Some(web), false) => Some(format!("{web}{path}")),
        (None, false) => None,
    };
    html! {
        li.card {
            h3 {
                @match &address {
                    Some(address) => { a href=(address) rel=[(!mirrored).then_some("noopener")] { (title) } }
                    None => { (title) }
                }
            }
            p.name { code { (name) } " · version " (version.version) ", " (version.published_at.day()) }
            @if let Some(summary) = &version.summary { p { (summary) } }
            ul.badges aria-label="In short" {
                li.badge { @match version.artefact { Artefact::Dataset => { "Data set" } Artefact::Model => { "Model" } } }
                li.badge { @if mirrored { "Mirrored here" } @else { "There only" } }
            }
        }
    }
}
