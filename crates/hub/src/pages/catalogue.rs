//! The front page: what this node is, and what it offers.

use maud::{Markup, html};

use super::document;
use super::words::{counted, one_in, thousands};
use crate::PublishedVersion;
use crate::facts::{Brief, Kind};
use crate::http::percent_encoded;
use crate::search::{Counted, Facet, Query};

/// One data set in the list.
pub(crate) struct Listed<'a> {
    pub(crate) version: &'a PublishedVersion,
    pub(crate) brief: &'a Brief,
}

/// One page of the list.
pub(crate) struct Catalogue<'a> {
    pub(crate) listed: &'a [Listed<'a>],
    /// How many match the search.
    pub(crate) found: u64,
    /// How many there are.
    pub(crate) of: usize,
    /// How many models there are.
    pub(crate) models: usize,
    /// How many models match the words of the search.
    pub(crate) found_models: u64,
    /// Rows of people in all data sets; `None` where one does not say whose rows they are. Not a number of people: who is in
    /// several data sets has a row in each.
    pub(crate) people: Option<u64>,
    /// The highest stated chance among them; `None` where one does not state it.
    pub(crate) highest_risk: Option<f64>,
    /// What was searched for.
    pub(crate) wanted: &'a Query,
    /// How the search can be narrowed down.
    pub(crate) facets: &'a [(Facet, Vec<Counted<'a>>)],
    /// One-based.
    pub(crate) page: usize,
    pub(crate) pages: usize,
    /// Of this node, for the snippet.
    pub(crate) address: &'a str,
    /// Where those who gave sign in.
    pub(crate) donors_page: Option<&'static str>,
}

/// How a record becomes open data: what happens, and what it means for whoever gave it.
const COURSE: [(&str, &str); 6] = [
    ("Given", "People and institutions give records, each for the purposes they choose. They can change their mind."),
    ("Sealed", "Every record is locked with a key of its own. Without a consent that covers it, nothing can open it."),
    ("Unified and checked", "Records from everywhere are brought into one form, and every repair is written down."),
    (
        "Made coarser",
        "Names, numbers and exact dates are left out, and the rest is made coarser until nobody stands alone.",
    ),
    ("Measured", "The risk that somebody is recognised is measured and attacked. If it is too high, nothing leaves."),
    (
        "Open",
        "What passes the gate is published for everybody, without account or charge, unless those who gave it asked for conditions; and a version never changes.",
    ),
];

pub(crate) fn catalogue(view: &Catalogue<'_>) -> String {
    let words = view.wanted.words.trim();
    let searched = !words.is_empty() || !view.wanted.chosen.is_empty();
    let main = html! {
        section.hero {
            div.frame {
                div.words {
                    h1 { "Open health data, given on purpose" }
                    p.lead {
                        "People and institutions give health records to this altruistic data trustee. It gives back data sets that anyone may use without charge, so that medical AI can be built, checked and trusted by all."
                    }
                    (search("/", "Search the data sets", view.wanted))
                }
                (watercourse())
            }
        }
        div.frame {
            @if !searched && (!view.listed.is_empty() || view.models > 0) { (figures(view)) }
            @if searched && view.found_models > 0 {
                p { a href=(format!("/models?q={}", percent_encoded(words))) { (counted(view.found_models, "model has", "models have")) " these words too" } }
            }
            (list(&List {
                path: "/",
                heading: "Data sets",
                of: &counted(view.of as u64, "data set", "data sets"),
                found: view.found,
                wanted: view.wanted,
                facets: view.facets,
                cards: view.listed.iter().map(card).collect(),
                empty: empty(searched),
                page: (view.page, view.pages),
            }))
            section aria-labelledby="how" {
                h2 #how { "How a record becomes open data" }
                ol.course { @for (title, text) in COURSE { li { h3 { (title) } p { (text) } } } }
                p.note { "“Nothing identified leaves” is not a promise of a policy but of the program: a part that publishes does not take anything else, or it cannot be built." }
            }
            div.pair.wide-pair {
                section.panel aria-labelledby="patients" {
                    h2 #patients { "For patients and their families" }
                    ul {
                        li { "You decide for which purpose your record may be used, and for how long. Nobody can widen that, not even by a vote." }
                        li { "You can take your consent back at any time and need not say why. From then on your record stays closed, and later versions are made without you." }
                        li { "Every data set says in plain words how hard it would be to find you in it, and who is missing from it." }
                        li { "What is published cannot be called back from those who have it. Think about that before you allow it." }
                    }
                    @if let Some(page) = view.donors_page {
                        p { a.button href=(page) { "Your data: see, choose, stop" } }
                    }
                }
                section.panel aria-labelledby="researchers" {
                    h2 #researchers { "For researchers and clinicians" }
                    p { "The tools you know read this node: set one address. Train, validation and test are fixed and disjoint by person, so results can be compared." }
                    @if let Some(first) = view.listed.first() {
                        pre role="region" tabindex="0" aria-label="Python that loads a data set" {
                            code {
                                "import os\nos.environ[\"HF_ENDPOINT\"] = \"" (view.address) "\"\nfrom datasets import load_dataset\n\ndata = load_dataset(\n    \"" (first.version.manifest().dataset) "\",\n    revision=\"" (first.version.tag()) "\",\n)"
                            }
                        }
                    }
                    p { "Each version states its inputs, recipe and seed; " code { "acequia verify" } " recounts every number on its page." }
                }
                section.panel aria-labelledby="hospitals" {
                    h2 #hospitals { "For hospitals and registers" }
                    ul {
                        li { "Give records once, in the form that you have them: they are unified, checked and de-identified here, and every record in is counted out." }
                        li { "Or let them stay at home: models are trained across hospitals, and only masked sums leave. You approve each run, and can stop it at any time." }
                        li { "Either way patients choose, and a log shows you what was done with which consent." }
                    }
                    p { a href="/network" { "Who is in the network" } }
                }
            }
        }
    };
    let description = "Open, de-identified and synthetic health data sets from an altruistic data trustee.";
    let title = if searched { "Search · Acequia" } else { "Acequia: open health data, given on purpose" };
    document(title, description, &html! {}, &main)
}

fn figures(view: &Catalogue<'_>) -> Markup {
    html! {
        dl.figures {
            div { dt { @if view.of == 1 { "open data set" } @else { "open data sets" } } dd { (thousands(view.of as u64)) } }
            @if let Some(people) = view.people.filter(|people| *people > 0) {
                div { dt { "rows of people in them" } dd { (thousands(people)) } }
            }
            @if let Some(risk) = view.highest_risk {
                div { dt { "highest chance to pick out a person" } dd { "1 in " (thousands(one_in(risk))) } }
            }
            @if view.models > 0 {
                div { dt { a href="/models" { @if view.models == 1 { "open model" } @else { "open models" } } } dd { (thousands(view.models as u64)) } }
            }
            div { dt { "to use them, for anybody" } dd { "Free" } }
        }
    }
}

/// Many small streams, one channel, a gate, and fields.
fn watercourse() -> Markup {
    let springs = [
        "M6 62C60 62 70 158 150 160",
        "M6 112C60 112 80 160 150 160",
        "M6 160H150",
        "M6 208C60 208 80 160 150 160",
        "M6 258C60 258 70 162 150 160",
    ];
    let branches = ["M244 160C310 160 300 66 354 66", "M244 160H354", "M244 160C310 160 300 254 354 254"];
    html! {
        svg.watercourse viewBox="0 0 460 320" aria-hidden="true" focusable="false" {
            g.stream fill="none" stroke-linecap="round" {
                @for path in springs { path d=(path) stroke-width="5" {} }
                path d="M150 160H244" stroke-width="14" {}
                @for path in branches { path d=(path) stroke-width="7" {} }
            }
            @for y in [62, 112, 160, 208, 258] { circle.spring cx="10" cy=(y) r="7" {} }
            @for top in [30, 124, 218] {
                rect.field x="354" y=(top) width="100" height="72" rx="12" {}
                @for furrow in [18, 36, 54] { line.furrow x1="368" x2="440" y1=(top + furrow) y2=(top + furrow) {} }
            }
            g.gate { path d="M176 214V96M218 214V96" {} path d="M164 96H230" {} rect x="183" y="112" width="28" height="58" rx="3" {} }
        }
    }
}

/// The words of a search, with what was chosen kept.
pub(super) fn search(path: &str, label: &str, wanted: &Query) -> Markup {
    html! {
        form.search role="search" action=(path) method="get" {
            label for="q" { (label) }
            div.row {
                input #q type="search" name="q" value=(wanted.words) maxlength="200" autocomplete="off";
                button type="submit" { "Search" }
            }
            @for (facet, value) in &wanted.chosen { input type="hidden" name=(facet.field()) value=(value); }
        }
    }
}

/// A page of a list, of data sets or of models.
pub(super) struct List<'a> {
    pub(super) path: &'a str,
    /// Over the list where nothing was searched for.
    pub(super) heading: &'a str,
    /// How many there are, in words.
    pub(super) of: &'a str,
    pub(super) found: u64,
    pub(super) wanted: &'a Query,
    pub(super) facets: &'a [(Facet, Vec<Counted<'a>>)],
    pub(super) cards: Vec<Markup>,
    /// In place of cards.
    pub(super) empty: Markup,
    /// Its number, and how many there are.
    pub(super) page: (usize, usize),
}

pub(super) fn list(list: &List<'_>) -> Markup {
    let words = list.wanted.words.trim();
    let (page, pages) = list.page;
    html! {
        section aria-labelledby="list" {
            h2 #list {
                @if words.is_empty() && list.wanted.chosen.is_empty() { (list.heading) }
                @else {
                    (thousands(list.found)) " of " (list.of)
                    @if !words.is_empty() { " for “" (words) "”" }
                }
            }
            div.found {
                @if !list.facets.is_empty() { (facets(list.path, list.wanted, list.facets)) }
                div {
                    @if list.cards.is_empty() { (list.empty) }
                    @else {
                        ul.cards { @for card in &list.cards { (card) } }
                        @if pages > 1 { (pager(list.path, list.wanted, page, pages)) }
                    }
                }
            }
        }
    }
}

fn empty(searched: bool) -> Markup {
    html! {
        div.empty {
            @if searched {
                p { "No data set has all of these words, or the beginnings of words, in its name, description or tags, with what was chosen." }
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
            p.name { code { (manifest.dataset) } " · version " (manifest.version) ", " (listed.version.published_at().day()) }
            p { (manifest.summary) }
            (badges(listed.version, listed.brief))
        }
    }
}

/// The facts a reader looks for first.
fn badges(version: &PublishedVersion, brief: &Brief) -> Markup {
    html! {
        ul.badges aria-label="In short" {
            (kind(brief))
            li.badge {
                @if brief.kind == Kind::Real { (counted(version.people(), "person", "people")) }
                @else { (counted(version.people(), "row", "rows")) }
            }
            @match brief.highest_risk {
                Some(risk) => { li.badge.risk { "Risk at most 1 in " (thousands(one_in(risk))) } }
                None => { li.badge { "Risk: not stated" } }
            }
            li.badge { "Licence " (version.manifest().license) }
            @if let Some(mirrored) = version.origin() { li.badge { "Mirrored from " (mirrored.by) } }
        }
    }
}

/// Whose rows they are.
pub(super) fn kind(brief: &Brief) -> Markup {
    html! {
        @match brief.kind {
            Kind::Real => { li.badge.real { "Real people, de-identified" } }
            Kind::Mixed => { li.badge.real { "Real people and simulated donors, de-identified" } }
            Kind::Synthetic => { li.badge.synthetic { "Synthetic rows, no real person" } }
            Kind::NotStated => { li.badge { "Real or synthetic: not stated" } }
        }
    }
}

/// Values to choose from. Without scripts: a form whose button applies the choice.
fn facets(page: &str, wanted: &Query, facets: &[(Facet, Vec<Counted<'_>>)]) -> Markup {
    let words = wanted.words.trim();
    html! {
        form.facets action=(page) method="get" aria-label="Narrow down" {
            @if !words.is_empty() { input type="hidden" name="q" value=(words); }
            @for (facet, values) in facets {
                @let chosen = values.iter().any(|value| value.chosen);
                details open[chosen || matches!(facet, Facet::Condition | Facet::Kind | Facet::Evidence)] {
                    summary { (facet.title()) }
                    fieldset {
                        legend.unseen { (facet.title()) }
                        @for (at, value) in values.iter().enumerate() {
                            @let id = format!("{}-{at}", facet.field());
                            div {
                                input type="checkbox" id=(id) name=(facet.field()) value=(value.value) checked[value.chosen];
                                label for=(id) { (value.value) " " span.count { (thousands(value.count)) } }
                            }
                        }
                    }
                }
            }
            div.row {
                button type="submit" { "Apply" }
                @if !wanted.chosen.is_empty() {
                    a href=(if words.is_empty() { page.to_owned() } else { format!("{page}?q={}", percent_encoded(words)) }) { "Clear" }
                }
            }
        }
    }
}

fn pager(path: &str, wanted: &Query, page: usize, pages: usize) -> Markup {
    let address = |page: usize| {
        let words = wanted.words.trim();
        let words = (!words.is_empty()).then(|| format!("q={}&", percent_encoded(words)));
        let chosen =
            wanted.chosen.iter().map(|(facet, value)| format!("{}={}&", facet.field(), percent_encoded(value)));
        format!("{path}?{}page={page}", words.into_iter().chain(chosen).collect::<String>())
    };
    html! {
        nav.pager aria-label="Pages" {
            @if page > 1 { a rel="prev" href=(address(page - 1)) { "Previous page" } }
            span { "Page " (page) " of " (pages) }
            @if page < pages { a rel="next" href=(address(page + 1)) { "Next page" } }
        }
    }
}
