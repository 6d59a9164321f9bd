//! A data set's page: plain words first, numbers behind them.

use maud::{Markup, html};

use super::catalogue::kind;
use super::version::{Parts, Sections, Tab, complete, described_in, files, made, page, tab_path, versions};
use super::words::{one_in, thousands};
use super::{diversity, json_ld, plain, risk, rows, statistics, usage};
use crate::PublishedVersion;
use crate::describe::{Description, dcat, schema_org};
use crate::facts::{Facts, Kind, count, list};

/// What stands on a tab.
fn sections(tab: Tab) -> Sections {
    match tab {
        Tab::Card | Tab::Evidence => &[("plain", "In plain words"), ("withdraw", "For patients")],
        Tab::Data => &[("columns", "What is in it"), ("splits", "Train, validation, test"), ("rows", "Rows")],
        Tab::Files => &[("files", "Files")],
        Tab::Versions => &[("versions", "Versions")],
        Tab::Use => &[("use", "Use it"), ("catalogues", "Cite and catalogue")],
        Tab::Governance => &[
            ("risk", "Could I be found?"),
            ("diversity", "Who is in it"),
            ("complete", "How complete the card is"),
            ("made", "How it was made"),
        ],
    }
}

/// A tab of a version's page. `rows` are those of the tab with the data.
pub(crate) fn dataset(described: Description<'_>, tab: Tab, rows: Option<&rows::Shown>) -> String {
    let Description { dataset, version, facts, address } = described;
    let body = html! {
        @match tab {
            Tab::Card | Tab::Evidence => { (plain::section(facts, version)) (elsewhere(version)) (withdrawal(facts)) }
            Tab::Data => { (statistics::columns_section(facts)) (statistics::splits_section(facts, version)) (rows::section(rows, version, facts)) }
            Tab::Files => { (files(version)) }
            Tab::Versions => { (versions(dataset, version)) }
            Tab::Use => { (usage::section(version, address)) (catalogues(described)) }
            Tab::Governance => { (risk::section(facts)) (diversity::section(facts)) (complete(&facts.dictionary)) (made(version, address)) }
        }
    };
    let parts = Parts {
        // What could not be read would be stated wrongly there.
        head: html! { @if tab == Tab::Card && facts.complete { (json_ld(&schema_org::dataset(described))) } },
        list: ("/#list", "All data sets"),
        badges: kind(&facts.brief),
        figures: figures(version, facts),
        sections: sections(tab),
        body,
    };
    page(described, tab, &parts)
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
                        Kind::Mixed => { "rows of people and of simulated donors" }
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

/// Section: the same description in the forms that other catalogues read, and how to cite the version.
fn catalogues(described: Description<'_>) -> Markup {
    let missing = dcat::missing(described);
    html! {
        section #catalogues aria-labelledby="catalogues-title" {
            h2 #catalogues-title { "Cite and catalogue" }
            p { "Nobody typed these: each is computed from the manifest, the data dictionary and the description of this version." }
            (described_in(described))
            @if !missing.is_empty() {
                p.note { "The record for catalogues is in DCAT-AP only. HealthDCAT-AP also asks for: " (missing.join(", ")) "." }
            }
            @if let Some((iri, label)) = described.use_term() {
                p { "What may be done with it: " a href=(iri) rel="noopener" { (label) } " (Data Use Ontology). Nobody may try to find out who a row is about." }
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
