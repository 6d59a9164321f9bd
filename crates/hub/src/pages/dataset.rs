//! A data set's page: plain words first, numbers behind them.

use maud::{Markup, html};

use super::catalogue::kind;
use super::words::{counted, license_address, one_in, size, thousands};
use super::{diversity, document, json_ld, plain, risk, rows, statistics, usage, version_path, wide};
use crate::PublishedVersion;
use crate::catalogue::Dataset;
use crate::describe::{Description, FORMS, dcat, schema_org};
use crate::facts::{Facts, Kind, count, list};
use crate::http::percent_encoded;

/// A part of what there is to say about a version, on a page of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tab {
    Card,
    Data,
    Files,
    Versions,
    Use,
    Governance,
}

/// All tabs: the last segment of the address, and what people read.
const TABS: [(Tab, &str, &str); 6] = [
    (Tab::Card, "card", "Card"),
    (Tab::Data, "data", "Data"),
    (Tab::Files, "files", "Files"),
    (Tab::Versions, "versions", "Versions"),
    (Tab::Use, "use", "Use it"),
    (Tab::Governance, "governance", "Governance"),
];

impl Tab {
    /// The tab of an address.
    pub(crate) fn of(segment: &str) -> Option<Self> {
        TABS.iter().find(|(_, own, _)| *own == segment).map(|(tab, ..)| *tab)
    }

    /// What stands on it: ids and titles of its sections.
    fn sections(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Card => &[("plain", "In plain words"), ("withdraw", "For patients")],
            Self::Data => &[("columns", "What is in it"), ("splits", "Train, validation, test"), ("rows", "Rows")],
            Self::Files => &[("files", "Files")],
            Self::Versions => &[("versions", "Versions")],
            Self::Use => &[("use", "Use it"), ("catalogues", "Cite and catalogue")],
            Self::Governance => {
                &[("risk", "Could I be found?"), ("diversity", "Who is in it"), ("made", "How it was made")]
            }
        }
    }
}

/// A tab of a version's page. `rows` are those of the tab with the data.
pub(crate) fn dataset(described: Description<'_>, tab: Tab, rows: Option<&rows::Shown>) -> String {
    let Description { dataset, version, facts, address } = described;
    let manifest = version.manifest();
    let newest = dataset.newest();
    let own = described.iri();
    let canonical = if tab == Tab::Card { own } else { format!("{own}/{}", segment(tab)) };
    let head = html! {
        link rel="canonical" href=(canonical);
        @for offered in &FORMS {
            link rel="describedby" type=(offered.media_type) href=(format!("{}/{}", version_path(version), offered.name));
        }
        // What could not be read would be stated wrongly there.
        @if tab == Tab::Card && facts.complete { (json_ld(&schema_org::dataset(described))) }
    };
    let main = html! {
        div.top {
            div.frame {
                nav.crumbs aria-label="Where you are" {
                    ol { li { a href="/#list" { "All data sets" } } li aria-current="page" { (manifest.dataset) } }
                }
                h1 { (manifest.title) }
                p.lead { (manifest.summary) }
                ul.badges aria-label="In short" {
                    (kind(&facts.brief))
                    li.badge { "Version " (manifest.version) ", " (version.published_at().day()) }
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
                }
                @if newest.commit() != version.commit() {
                    p.notice {
                        "This is version " (manifest.version) ". There is a newer one: "
                        a href=(format!("/datasets/{}", manifest.dataset)) { "version " (newest.manifest().version) } "."
                    }
                }
                (figures(version, facts))
            }
        }
        div.frame {
            nav.tabs aria-label="About this data set" {
                ul {
                    @for (other, segment, title) in TABS {
                        li { a href=(tab_path(version, segment)) aria-current=[(other == tab).then_some("page")] { (title) } }
                    }
                }
            }
        }
        div.frame.with-parts[tab.sections().len() > 1] {
            @if tab.sections().len() > 1 {
                nav.parts aria-label="On this page" { ul { @for (id, title) in tab.sections() { li { a href=(format!("#{id}")) { (title) } } } } }
            }
            div.body {
                @match tab {
                    Tab::Card => { (plain::section(facts, version)) (elsewhere(version)) (withdrawal(facts)) }
                    Tab::Data => { (statistics::columns_section(facts)) (statistics::splits_section(facts, version)) (rows::section(rows, version, facts)) }
                    Tab::Files => { (files(version)) }
                    Tab::Versions => { (versions(dataset, version)) }
                    Tab::Use => { (usage::section(version, address)) (catalogues(described)) }
                    Tab::Governance => { (risk::section(facts)) (diversity::section(facts)) (made(version, address)) }
                }
            }
        }
    };
    let (_, _, title) = TABS.iter().find(|(other, ..)| *other == tab).copied().unwrap_or(TABS[0]);
    let title = if tab == Tab::Card { String::new() } else { format!("{title}: ") };
    document(&format!("{title}{} · Acequia", manifest.title), &manifest.summary, &head, &main)
}

fn segment(tab: Tab) -> &'static str {
    TABS.iter().find(|(other, ..)| *other == tab).map_or("card", |(_, segment, _)| segment)
}

/// Path of a tab of a version; the card is the version's own page.
fn tab_path(version: &PublishedVersion, segment: &str) -> String {
    if segment == "card" { version_path(version) } else { format!("{}/{segment}", version_path(version)) }
}

/// From the card to what readers ask next.
fn elsewhere(version: &PublishedVersion) -> Markup {
    let to = |segment: &str| tab_path(version, segment);
    html! {
        section #next aria-labelledby="next-title" {
            h2 #next-title { "What else is told here" }
            ul {
                li { a href=(format!("{}#risk", to("governance"))) { "Could I be found in it?" } " The measured risk, and how it was attacked." }
                li { a href=(format!("{}#diversity", to("governance"))) { "Who is in it, and who is missing?" } }
                li { a href=(to("data")) { "What is in the columns" } ", train, validation and test in the same axes, and the rows." }
                li { a href=(to("use")) { "How to load it" } " with the tools you have." }
                li { a href=(format!("{}#made", to("governance"))) { "How it was made, and how to check it" } }
            }
        }
    }
}

/// The numbers a reader looks for first.
fn figures(version: &PublishedVersion, facts: &Facts) -> Markup {
    let columns = list(&facts.dictionary, "/columns").len();
    html! {
        dl.figures {
            div {
                dt {
                    @match facts.brief.kind {
                        Kind::Real => { "people, one row each" }
                        Kind::Synthetic => { "synthetic rows" }
                        Kind::NotStated => { "rows" }
                    }
                }
                dd { (thousands(version.people())) }
            }
            @if columns > 0 { div { dt { "facts about each" } dd { (columns) } } }
            div {
                dt { "highest chance to pick out a person" }
                dd { @match facts.brief.highest_risk { Some(risk) => { "1 in " (thousands(one_in(risk))) } None => { "not stated" } } }
            }
            @if let Some(suppressed) = count(&facts.risk, "/rows/suppressed") {
                div { dt { "people left out to protect them" } dd { (thousands(suppressed)) } }
            }
        }
    }
}

fn files(version: &PublishedVersion) -> Markup {
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

/// Section: the same description in the forms that other catalogues read, and how to cite the version.
fn catalogues(described: Description<'_>) -> Markup {
    let missing = dcat::missing(described);
    html! {
        section #catalogues aria-labelledby="catalogues-title" {
            h2 #catalogues-title { "Cite and catalogue" }
            p { "Nobody typed these: each is computed from the manifest, the data dictionary and the description of this version." }
            ul {
                @for offered in &FORMS {
                    li { a href=(format!("{}/{}", version_path(described.version), offered.name)) type=(offered.media_type) { (offered.title) } }
                }
            }
            @if !missing.is_empty() {
                p.note { "The record for catalogues is in DCAT-AP only. HealthDCAT-AP also asks for: " (missing.join(", ")) "." }
            }
            @if let Some((iri, label)) = described.use_term() {
                p { "What may be done with it: " a href=(iri) rel="noopener" { (label) } " (Data Use Ontology). Nobody may try to find out who a row is about." }
            }
        }
    }
}

fn versions(dataset: &Dataset, shown: &PublishedVersion) -> Markup {
    html! {
        section #versions aria-labelledby="versions-title" {
            h2 #versions-title { "Versions" }
            p { "A published version never changes. When somebody withdraws, or data is added, a new version follows; an earlier one that holds people who left is taken down, and its page stays and says so." }
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
                            ", " (counted(version.people(), "row", "rows")) ", commit " code { (version.commit()[..12]) }
                            @if let Some(before) = dataset.before(version) {
                                ", " a href=(compare_path(before, version)) { "what changed since " (before.manifest().version) }
                            }
                        }
                    }
                }
            }
            @if dataset.served().count() > 2 { (compare_form(dataset, shown)) }
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

fn compare_form(dataset: &Dataset, shown: &PublishedVersion) -> Markup {
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

fn made(version: &PublishedVersion, address: &str) -> Markup {
    let manifest = version.manifest();
    html! {
        section #made aria-labelledby="made-title" {
            h2 #made-title { "How it was made, and how to check it" }
            @if manifest.inputs.is_empty() { p { "The inputs are not stated." } }
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
                dt { "Released" } dd { (manifest.released_on) }
                dt { "Made by" } dd { (manifest.program) }
                dt { "Recipe (SHA-256)" } dd { code.digest { (manifest.recipe) } }
                dt { "Seed of the split" } dd { code { (manifest.seed) } }
                dt { "Manifest (SHA-256)" } dd { code.digest { (version.digest()) } }
                @if let Some((seal, key)) = version.seal() {
                    dt { "Exit seal (Ed25519)" } dd { code.digest { (seal) } }
                    dt { "This node's public key" } dd { code.digest { (key) } }
                }
            }
            p { "The same inputs, recipe and seed give the same bytes. To check a downloaded copy, in its folder:" }
            pre role="region" tabindex="0" aria-label="Commands to check a copy" {
                code {
                    "curl --fail --remote-name " (address) (version_path(version)) "/SHA256SUMS\n"
                    "sha256sum --check SHA256SUMS\n"
                    "acequia verify .    # also recounts every number that the rows can confirm"
                }
            }
        }
    }
}

fn withdrawal(facts: &Facts) -> Markup {
    html! {
        section #withdraw aria-labelledby="withdraw-title" {
            h2 #withdraw-title { "If your records may be in here" }
            div.notice {
                @if facts.brief.kind == Kind::Synthetic {
                    p { "No row here is yours or anybody's. Your records may have helped to make the generator; what follows holds for that too." }
                }
                p { b { "You can take your consent back at any time, and need not say why." } " Tell whoever you gave your records to, or the operator of this node." }
                ul {
                    li { "From then on your original records stay closed: no new work may open them." }
                    li { "The next version of this data set is made without you. It comes when enough people joined or left together, so that comparing versions does not point at you." }
                    li { "Versions already published cannot be called back from those who downloaded them. They hold neither your name nor your address, and the chance of picking your row in one version is the one stated above." }
                }
            }
        }
    }
}

/// `SHA256SUMS` of a version, as `sha256sum --check` reads it.
pub(crate) fn checksums(version: &PublishedVersion) -> String {
    version.files().values().map(|file| format!("{}  {}\n", file.sha256, file.path)).collect()
}
