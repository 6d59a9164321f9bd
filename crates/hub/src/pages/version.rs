//! A version's page: what stands around its tabs, and the tabs that data sets and models share.

use acequia_custody::Tier;
use acequia_gate::Artefact;
use maud::{Markup, html};
use serde_json::Value;

use super::words::{counted, license_address, size, thousands};
use super::{document, version_path, wide};
use crate::catalogue::Repository;
use crate::describe::{Description, Form, forms};
use crate::facts::{count, list};
use crate::http::percent_encoded;
use crate::{PublishedVersion, admission};

/// A part of what there is to say about a version, on a page of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tab {
    Card,
    /// The rows of a data set.
    Data,
    /// What a model is worth.
    Evidence,
    Files,
    Versions,
    Use,
    Governance,
}

/// The tabs of data sets: the last segment of the address, and what people read.
const OF_DATASETS: [(Tab, &str, &str); 6] = [
    (Tab::Card, "card", "Card"),
    (Tab::Data, "data", "Data"),
    (Tab::Files, "files", "Files"),
    (Tab::Versions, "versions", "Versions"),
    (Tab::Use, "use", "Use it"),
    (Tab::Governance, "governance", "Governance"),
];

/// The tabs of models.
const OF_MODELS: [(Tab, &str, &str); 6] = [
    (Tab::Card, "card", "Card"),
    (Tab::Evidence, "evidence", "Evidence"),
    (Tab::Files, "files", "Files"),
    (Tab::Versions, "versions", "Versions"),
    (Tab::Use, "use", "Use it"),
    (Tab::Governance, "governance", "Governance"),
];

fn tabs(artefact: Artefact) -> &'static [(Tab, &'static str, &'static str)] {
    match artefact {
        Artefact::Dataset => &OF_DATASETS,
        Artefact::Model => &OF_MODELS,
    }
}

impl Tab {
    /// The tab of an address.
    pub(crate) fn of(artefact: Artefact, segment: &str) -> Option<Self> {
        tabs(artefact).iter().find(|(_, own, _)| *own == segment).map(|(tab, ..)| *tab)
    }
}

/// Ids and titles of what stands on a tab.
pub(super) type Sections = &'static [(&'static str, &'static str)];

/// What is particular to a page.
pub(super) struct Parts {
    /// Into the head as it is.
    pub(super) head: Markup,
    /// Where the list of its kind is, and what it is called.
    pub(super) list: (&'static str, &'static str),
    /// Before the version and the licence.
    pub(super) badges: Markup,
    /// Under them.
    pub(super) figures: Markup,
    pub(super) sections: Sections,
    pub(super) body: Markup,
}

/// A tab of a version's page.
pub(super) fn page(described: Description<'_>, tab: Tab, parts: &Parts) -> String {
    let Description { dataset, version, .. } = described;
    let (manifest, newest, artefact) = (version.manifest(), dataset.newest(), version.artefact());
    let own = described.iri();
    let (_, segment, title) =
        tabs(artefact).iter().find(|(other, ..)| *other == tab).copied().unwrap_or(OF_DATASETS[0]);
    let canonical = if tab == Tab::Card { own } else { format!("{own}/{segment}") };
    let head = html! {
        link rel="canonical" href=(canonical);
        @for offered in forms(artefact) {
            link rel=(if offered.form == Form::Linkset { "linkset" } else { "describedby" }) type=(offered.media_type) href=(format!("{}/{}", version_path(version), offered.name));
        }
        (parts.head)
    };
    let what = match artefact {
        Artefact::Dataset => "About this data set",
        Artefact::Model => "About this model",
    };
    let (list, list_title) = parts.list;
    let main = html! {
        div.top {
            div.frame {
                nav.crumbs aria-label="Where you are" {
                    ol { li { a href=(list) { (list_title) } } li aria-current="page" { (manifest.dataset) } }
                }
                h1 { (manifest.title) }
                p.lead { (manifest.summary) }
                ul.badges aria-label="In short" {
                    (parts.badges)
                    li.badge { "Version " (manifest.version) ", here since " (version.published_at().day()) }
                    li.badge {
                        "Licence "
                        @match license_address(&manifest.license) {
                            Some(address) => { a href=(address) rel="license noopener" { (manifest.license) } }
                            None => { (manifest.license) }
                        }
                    }
                    @if let Some((iri, label)) = described.use_term() {
                        li.badge { "For " a href=(iri) rel="noopener" { (label) } }
                    }
                    @if version.tier() != Tier::Open {
                        li.badge { "Rows: " a href=(admission::page(version)) { (admission::in_words(version.tier())) } }
                    }
                }
                @if newest.commit() != version.commit() {
                    p.notice {
                        "This is version " (manifest.version) ". There is a newer one: "
                        a href=(newest.repository_path()) { "version " (newest.manifest().version) } "."
                    }
                }
                @if let Some(mirrored) = version.origin() {
                    p.notice {
                        "Published by " (super::origin(mirrored)) ", mirrored here since " (mirrored.at.day()) ". "
                        "The bytes are the same, and the seal of that node's gate was checked."
                    }
                }
                (parts.figures)
            }
        }
        div.frame {
            nav.tabs aria-label=(what) {
                ul {
                    @for (other, segment, title) in tabs(artefact) {
                        li { a href=(tab_path(version, segment)) aria-current=[(*other == tab).then_some("page")] { (title) } }
                    }
                }
            }
        }
        div.frame.with-parts[parts.sections.len() > 1] {
            @if parts.sections.len() > 1 {
                nav.parts aria-label="On this page" { ul { @for (id, title) in parts.sections { li { a href=(format!("#{id}")) { (title) } } } } }
            }
            div.body { (parts.body) }
        }
    };
    let title = if tab == Tab::Card { String::new() } else { format!("{title}: ") };
    document(&format!("{title}{} · Acequia", manifest.title), &manifest.summary, &head, &main)
}

/// Path of a tab of a version; the card is the version's own page.
pub(super) fn tab_path(version: &PublishedVersion, segment: &str) -> String {
    if segment == "card" { version_path(version) } else { format!("{}/{segment}", version_path(version)) }
}

/// Links to the same description in the forms that other catalogues read.
pub(super) fn described_in(described: Description<'_>) -> Markup {
    html! {
        ul {
            @for offered in forms(described.version.artefact()) {
                li { a href=(format!("{}/{}", version_path(described.version), offered.name)) type=(offered.media_type) { (offered.title) } }
            }
        }
    }
}

pub(super) fn files(version: &PublishedVersion) -> Markup {
    html! {
        section #files aria-labelledby="files-title" {
            h2 #files-title { "Files" }
            p {
                (counted(version.files().len() as u64, "file", "files")) ", " (size(version.total_bytes())) " in all. "
                a href=(format!("{}/SHA256SUMS", version_path(version))) { "All checksums as one file" } ". "
                a href=(format!("{}/bundle.tar", version_path(version))) { "Everything as one archive" }
                ", which can be fetched in pieces: a download that was cut off goes on where it stopped."
            }
            (wide("Files", &html! {
                table {
                    caption { "Files of version " (version.manifest().version) }
                    thead { tr { th scope="col" { "File" } th.number scope="col" { "Size" } th scope="col" { "SHA-256" } } }
                    tbody {
                        @for file in version.files().values() {
                            tr {
                                th scope="row" { a href=(version.file_path(&file.path)) { (file.path) } }
                                td.number { (size(file.bytes)) }
                                td { code.digest { (file.sha256) } }
                            }
                        }
                    }
                }
            }))
        }
    }
}

pub(super) fn versions(dataset: &Repository, shown: &PublishedVersion) -> Markup {
    html! {
        section #versions aria-labelledby="versions-title" {
            h2 #versions-title { "Versions" }
            @match shown.artefact() {
                Artefact::Dataset => { p { "A published version never changes. When somebody withdraws, or data is added, a new version follows; an earlier one that holds people who left is taken down, and its page stays and says so." } }
                Artefact::Model => { p { "A published version never changes. When somebody whose records it learned from withdraws, the next one is trained without them; an earlier one is then taken down, and its page stays and says so." } }
            }
            ol.versions reversed {
                @for version in dataset.versions().iter().rev() {
                    li {
                        a href=(version_path(version)) aria-current=[(version.commit() == shown.commit()).then_some("page")] {
                            "Version " (version.manifest().version)
                        }
                        ", " (version.published_at().day())
                        @if let Some(down) = version.tombstone() {
                            ", not served any more since " (down.at.day())
                        } @else {
                            @if version.artefact() == Artefact::Dataset { ", " (counted(version.people(), "row", "rows")) }
                            ", commit " code { (version.commit()[..12]) }
                            @if let Some(before) = dataset.before(version).filter(|_| version.artefact() == Artefact::Dataset) {
                                ", " a href=(compare_path(before, version)) { "what changed since " (before.manifest().version) }
                            }
                        }
                    }
                }
            }
            @if shown.artefact() == Artefact::Dataset && dataset.served().count() > 2 { (compare_form(dataset, shown)) }
        }
    }
}

/// Two versions as the addresses of their comparison name them.
pub(crate) fn compared(from: &PublishedVersion, to: &PublishedVersion) -> String {
    let number = |version: &PublishedVersion| percent_encoded(&version.manifest().version);
    format!("{}..{}", number(from), number(to))
}

/// Path of the page that compares two versions.
fn compare_path(from: &PublishedVersion, to: &PublishedVersion) -> String {
    format!("/datasets/{}/compare/{}", to.manifest().dataset, compared(from, to))
}

fn compare_form(dataset: &Repository, shown: &PublishedVersion) -> Markup {
    let choose = |name: &str, label: &str, chosen: &str| {
        html! {
            label for=(name) { (label) }
            select id=(name) name=(name) {
                @for version in dataset.served().rev() {
                    option value=(version.manifest().version) selected[version.commit() == chosen] { (version.manifest().version) }
                }
            }
        }
    };
    let first = dataset.served().next().map_or("", |version| version.commit());
    html! {
        form.compare action=(format!("/datasets/{}/compare", shown.manifest().dataset)) method="get" {
            (choose("from", "Compare version", first)) (choose("to", "with version", shown.commit()))
            button type="submit" { "Compare" }
        }
    }
}

/// How much of what it should state a card states, by the document that says so.
pub(super) fn complete(document: &Value) -> Markup {
    let counts = count(document, "/completeness/stated").zip(count(document, "/completeness/of"));
    let missing: Vec<&str> = list(document, "/completeness/missing").iter().filter_map(Value::as_str).collect();
    html! {
        section #complete aria-labelledby="complete-title" {
            h2 #complete-title { "How complete the card is" }
            @match counts {
                Some((stated, of)) => p { "It states " (stated) " of " (of) " things that a card should state. Below six tenths nothing is published." }
                None => p { "Not counted for this version." }
            }
            @if !missing.is_empty() { p { "Not stated:" } ul { @for one in missing { li { (one) } } } }
        }
    }
}

pub(super) fn made(version: &PublishedVersion, address: &str) -> Markup {
    let manifest = version.manifest();
    html! {
        section #made aria-labelledby="made-title" {
            h2 #made-title { "How it was made, and how to check it" }
            @if version.artefact() == Artefact::Model {}
            @else if manifest.inputs.is_empty() { p { "The inputs are not stated." } }
            @else {
                (wide("Inputs", &html! {
                    table {
                        caption { "What went in" }
                        thead { tr { th scope="col" { "Source" } th scope="col" { "Format" } th.number scope="col" { "Files" } th scope="col" { "Digest over all of them" } } }
                        tbody {
                            @for input in &manifest.inputs {
                                tr {
                                    th scope="row" { (input.source) }
                                    td { (input.format) }
                                    td.number { (thousands(input.files)) }
                                    td { code.digest { (input.digest) } }
                                }
                            }
                        }
                    }
                }))
            }
            dl.facts {
                dt { "Released, as its makers state it" } dd { (manifest.released_on) }
                dt { "Published here" } dd { (version.published_at().day()) }
                dt { "Made by" } dd { (manifest.program) }
                @match version.artefact() {
                    Artefact::Dataset => {
                        dt { "Recipe (SHA-256)" } dd { code.digest { (manifest.recipe) } }
                        dt { "Seed of the split" } dd { code { (manifest.seed) } }
                    }
                    Artefact::Model => { dt { "Card, model and records as given (SHA-256)" } dd { code.digest { (manifest.recipe) } } }
                }
                dt { "Manifest (SHA-256)" } dd { code.digest { (version.digest()) } }
                @if let Some((seal, key)) = version.seal() {
                    dt { "Exit seal (Ed25519)" } dd { code.digest { (seal) } }
                    dt { @if version.origin().is_some() { "Public key of its publisher's gate" } @else { "This node's public key" } } dd { code.digest { (key) } }
                }
            }
            @match version.artefact() {
                Artefact::Dataset => { p { "The same inputs, recipe and seed give the same bytes." } }
                Artefact::Model => { p { "Everything but the model and the records is computed from them and the card, and is made again to check it." } }
            }
            p { "To check a downloaded copy, in its folder:" }
            pre role="region" tabindex="0" aria-label="Commands to check a copy" {
                code {
                    "curl --fail --remote-name " (address) (version_path(version)) "/SHA256SUMS\n"
                    @if let Some((_, key)) = version.seal() {
                        "curl --fail --remote-name " (address) (version_path(version)) "/seal.json    # of the key " (&key[..8.min(key.len())]) "…\n"
                    }
                    "sha256sum --check SHA256SUMS\n"
                    "acequia verify .    # "
                    @match version.artefact() {
                        Artefact::Dataset => { "also recounts every number that the rows can confirm" }
                        Artefact::Model => { "also makes every file again that follows from the model" }
                    }
                }
            }
        }
    }
}

/// `SHA256SUMS` of a version, as `sha256sum --check` reads it.
pub(crate) fn checksums(version: &PublishedVersion) -> String {
    version.files().values().map(|file| format!("{}  {}\n", file.sha256, file.path)).collect()
}
