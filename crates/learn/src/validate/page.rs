//! The record as one page of HTML: for whoever decides whether to trust a model, on a screen, aloud and on paper.
//!
//! No script and no other file. Every plot stands beside or above the same numbers as text. The same record gives the same
//! bytes. Headings of TRIPOD+AI and PROBAST+AI hold what the run knows, and empty fields for what people must say.

use acequia_types::thousands;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::validate::record::{Import, Predictor};
use crate::validate::{Estimate, Heading, NetBenefit, Pooled, Record, SiteEvaluation, Subgroup};

const STYLE: &str = include_str!("page.css");

/// The page.
pub fn page(record: &Record) -> String {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "Validation: " (record.title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    header {
                        h1 { "Validation: " (record.title) }
                        p.statement { (record.statement) }
                        p.evidence { strong { "Evidence " } (record.evidence_words) }
                        @for statement in &record.statements {
                            p.evidence { (statement.words()) " Signed with key " code { (statement.key.get(..16).unwrap_or(&statement.key)) } "." }
                        }
                    }
                    (facts(record))
                    @if record.sites.len() > 1 { (all_sites(record)) }
                    @for (at, site) in record.sites.iter().enumerate() { (one_site(site, at)) }
                    (model(record))
                    (reporting(record))
                    p.note { "Record " code { (record.digest()) } ". Whoever has model, tables and seed can measure it again." }
                }
            }
        }
    }
    .into_string()
}

fn facts(record: &Record) -> Markup {
    let measured: Vec<&str> = record.sites.iter().map(|site| site.site.as_str()).collect();
    html! {
        dl.facts {
            dt { "Model" } dd { (record.kind) ", " code { (record.model.short(16)) } }
            @if let Some(import) = &record.imported {
                dt { "Made by" } dd { (import.creators.join(", ")) ": " (import.name) " " (import.version) ", under " (import.license) }
                dt { "Intended use" } dd { (import.intended_use) }
            }
            dt { "Learned from" }
            dd { @if record.trained_at.is_empty() { "not known" } @else { (record.trained_at.join(", ")) } }
            dt { "Measured at" } dd { (measured.join(", ")) ", on " (record.measured_on) }
            @if record.settings.horizon_days > 0.0 {
                dt { "Horizon" } dd { (format!("{:.2} days ({:.2} years)", record.settings.horizon_days, record.settings.horizon_days / 365.25)) }
            }
            dt { "Intervals" } dd { "95 %, from " (thousands(u64::from(record.settings.bootstraps))) " bootstrap samples, seed " (record.settings.seed) }
            dt { "Measured with" } dd { (record.program) }
            @if !record.signatures.is_empty() {
                dt { "Signed by" }
                dd {
                    @for (at, signed) in record.signatures.iter().enumerate() {
                        @if at > 0 { ", " }
                        (signed.site) " (key " code { (signed.key.get(..16).unwrap_or(&signed.key)) } ")"
                    }
                }
            }
        }
    }
}

/// Sites pooled, and their discrimination side by side.
fn all_sites(record: &Record) -> Markup {
    html! {
        section {
            h2 { "All sites" }
            p { "Pooled by random effects (restricted maximum likelihood; Hartung and Knapp). The prediction interval is where another site's value should lie; it needs three sites." }
            @for name in ["harrell_c", "auc", "calibration_slope", "observed_over_expected"] { (forest(record, name)) }
            div.wide { table.folds {
                thead { tr {
                    th scope="col" { "Measure" } th.number scope="col" { "Sites" } th.number scope="col" { "Value" }
                    th scope="col" { "95 % interval" } th scope="col" { "For the next site" } th scope="col" { "Spread between sites" }
                } }
                tbody { @for one in &record.pooled { tr {
                    th scope="row" { (words(&one.name)) }
                    td.number data-head="Sites" { (one.sites) }
                    td.number data-head="Value" { (number(one.value)) }
                    td.range data-head="95 % interval" { (range(one.interval)) }
                    td.range data-head="For the next site" { (range(one.prediction)) }
                    td data-head="Spread between sites" { (number(one.between_sites)) " (" (one.scale) ")" }
                } } }
            } }
        }
    }
}

/// One measure at every site with its bootstrap interval, and pooled.
fn forest(record: &Record, name: &str) -> Markup {
    const ROW: f64 = 26.0;
    let rows: Vec<(&str, &Estimate)> = record
        .sites
        .iter()
        .filter_map(|site| Some((site.site.as_str(), site.estimates.iter().find(|one| one.name == name)?)))
        .collect();
    let Some(pooled) = record.pooled.iter().find(|one| one.name == name) else { return html! {} };
    let ends = rows
        .iter()
        .flat_map(|(_, one)| [Some((one.value, one.value)), one.interval])
        .chain([pooled.interval, pooled.prediction])
        .flatten()
        .flat_map(|(low, high)| [low, high]);
    let (low, high) =
        ends.fold((pooled.value, pooled.value), |(low, high): (f64, f64), value| (low.min(value), high.max(value)));
    let (low, high, step) = axis(low, high);
    let height = ROW * (rows.len() as f64 + 1.0) + 8.0;
    let x = |value: f64| 130.0 + 210.0 * ((value - low) / (high - low)).clamp(0.0, 1.0);
    let spoken = rows
        .iter()
        .map(|(site, one)| format!("{site} {}{}", number(one.value), bracket(one.interval)))
        .chain([format!("pooled {}{}", number(pooled.value), bracket(pooled.interval))])
        .collect::<Vec<_>>()
        .join("; ");
    html! {
        figure {
            figcaption { (words(name)) ", site by site" }
            svg.chart viewBox=(format!("0 0 360 {:.0}", height + 24.0)) role="img" aria-label=(format!("{}. {spoken}.", words(name))) {
                @for tick in ticks(low, high, step) {
                    line.grid x1=(px(x(tick))) x2=(px(x(tick))) y1="0" y2=(px(height)) {}
                    text.tick x=(px(x(tick))) y=(px(height + 16.0)) text-anchor="middle" { (label(tick, step)) }
                }
                @for (at, (site, one)) in rows.iter().enumerate() {
                    @let y = ROW * (at as f64 + 0.5) + 4.0;
                    text x="122" y=(px(y + 4.5)) text-anchor="end" { (shortened(site)) }
                    @if let Some((from, to)) = one.interval { line.model x1=(px(x(from))) x2=(px(x(to))) y1=(px(y)) y2=(px(y)) {} }
                    rect.fifth x=(px(x(one.value) - 4.5)) y=(px(y - 4.5)) width="9" height="9" {}
                }
                @let y = ROW * (rows.len() as f64 + 0.5) + 4.0;
                text x="122" y=(px(y + 4.5)) text-anchor="end" { "pooled" }
                @if let Some((from, to)) = pooled.prediction { line.reference x1=(px(x(from))) x2=(px(x(to))) y1=(px(y)) y2=(px(y)) {} }
                (diamond(pooled, &x, y))
            }
        }
    }
}

fn diamond(pooled: &Pooled, x: &dyn Fn(f64) -> f64, y: f64) -> Markup {
    let (from, to) = pooled.interval.unwrap_or((pooled.value, pooled.value));
    let points = [
        (x(from).min(x(pooled.value) - 5.0), y),
        (x(pooled.value), y - 7.0),
        (x(to).max(x(pooled.value) + 5.0), y),
        (x(pooled.value), y + 7.0),
    ];
    html! { polygon.pooled points=(points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect::<Vec<_>>().join(" ")) {} }
}

fn one_site(site: &SiteEvaluation, at: usize) -> Markup {
    let far: Vec<_> = site.unlike_training.iter().filter(|(_, share)| *share > 0.0).collect();
    html! {
        section {
            h2 { "Site " (site.site) }
            p { (thousands(site.rows)) " rows, " (thousands(site.events)) " with the event; " (thousands(site.dropped)) " left out for a missing value." }
            div.plots { (discrimination(site, at)) (calibration(site, at)) (benefit(site, at)) }
            div.wide { table.folds {
                thead { tr {
                    th scope="col" { "Measure" } th.number scope="col" { "Value" } th.number scope="col" { "Standard error" } th scope="col" { "95 % interval" }
                } }
                tbody { @for one in &site.estimates { tr {
                    th scope="row" { (words(&one.name)) span.best { (best(&one.name)) } }
                    td.number data-head="Value" { (number(one.value)) }
                    td.number data-head="Standard error" { (one.standard_error.map(number).unwrap_or_default()) }
                    td.range data-head="95 % interval" { (range(one.interval)) }
                } } }
            } }
            @if site.bootstraps_failed > 0 { p.note { (site.bootstraps_failed) " bootstrap samples gave no estimate." } }
            @if !site.subgroups.is_empty() { (subgroups(&site.subgroups)) }
            @if !far.is_empty() {
                p { "More than four standard deviations from the training mean: "
                    (far.iter().map(|(name, share)| format!("{name} in {:.1} % of rows", share * 100.0)).collect::<Vec<_>>().join("; ")) "." }
            }
        }
    }
}

fn subgroups(groups: &[Subgroup]) -> Markup {
    let mut measures: Vec<&str> = Vec::new();
    for one in groups.iter().flat_map(|group| &group.estimates) {
        if !measures.contains(&one.name.as_str()) {
            measures.push(&one.name);
        }
    }
    let value = |group: &Subgroup, name: &str| {
        group.estimates.iter().find(|one| one.name == name).map(|one| {
            let precision = match (one.interval, one.standard_error) {
                (Some((low, high)), _) => format!(" ({} to {})", number(low), number(high)),
                (None, Some(error)) => format!(" ± {}", number(error)),
                (None, None) => String::new(),
            };
            format!("{}{precision}", number(one.value))
        })
    };
    html! {
        h3 { "Subgroups" }
        div.wide { table.folds {
            caption { "Values with 95 % intervals from 200 bootstrap samples at most, or ± standard error. Groups with few rows or events are not shown." }
            thead { tr {
                th scope="col" { "Group" } th.number scope="col" { "Rows" } th.number scope="col" { "Events" }
                @for name in &measures { th.number scope="col" { (words(name)) } }
            } }
            tbody { @for group in groups { tr {
                th scope="row" { (group.column) @match &group.value { Some(value) => { " = " (value) } None => { ": not shown" } } }
                td.number data-head="Rows" { (group.rows.map(thousands).unwrap_or_default()) }
                td.number data-head="Events" { (group.events.map(thousands).unwrap_or_default()) }
                @for name in &measures { td.number data-head=(words(name)) { (value(group, name).unwrap_or_default()) } }
            } } }
        } }
    }
}

fn model(record: &Record) -> Markup {
    let has_coefficients = record.predictors.iter().any(|one| one.coefficient.is_some());
    let value = |value: Option<f64>| value.map(number).unwrap_or_default();
    let factor = |one: &Predictor| one.coefficient.map(|b| number(libm::exp(b))).unwrap_or_default();
    let is_ratio = record.kind != "linear regression";
    html! {
        section {
            h2 { "The model" }
            @if let Some(plan) = record.plan {
                p { "Frozen: nothing was refitted. It comes from run plan " code { (plan.short(16)) } "." }
            }
            @if let Some(import) = &record.imported { (imported(import)) }
            @if has_coefficients {
                div.wide { table.folds {
                    thead { tr {
                        th scope="col" { "Predictor" } th scope="col" { "Column" } th.number scope="col" { "Coefficient" }
                        th.number scope="col" { "Standard error" } @if is_ratio { th.number scope="col" { "exp(coefficient)" } }
                    } }
                    tbody { @for one in &record.predictors { tr {
                        th scope="row" { (one.name) }
                        td data-head="Column" { (one.column) }
                        td.number data-head="Coefficient" { (value(one.coefficient)) }
                        td.number data-head="Standard error" { (value(one.standard_error)) }
                        @if is_ratio { td.number data-head="exp(coefficient)" { (factor(one)) } }
                    } } }
                } }
            } @else {
                p { "Predictors: " (record.predictors.iter().map(|one| one.name.as_str()).collect::<Vec<_>>().join(", ")) "." }
            }
            h3 { "Does it tell whose rows it learned from?" }
            p { (record.membership.as_ref().map_or("No membership-inference test is on record for this model.".to_owned(), crate::Membership::words)) }
        }
    }
}

/// What is known of a model of another program.
fn imported(import: &Import) -> Markup {
    let unknown = "Its maker does not say.";
    html! {
        p { "Frozen: nothing was refitted. It was made by another program; what stands here of it is what its maker says." }
        dl.facts {
            dt { "File" } dd { (import.format) ", SHA-256 " code { (import.file) } }
            @if !import.producer.is_empty() { dt { "Written by" } dd { (import.producer) } }
            dt { "Learned from the rows of" } dd { (import.population.as_deref().unwrap_or(unknown)) }
            dt { "Developed at" } dd { (import.developed_at.as_ref().map_or(unknown.to_owned(), |sites| sites.join(", "))) }
            dt { "Examples of its maker" }
            dd {
                @match import.examples {
                    0 => { "none; whether it says here what it says at its maker's was not checked" }
                    1 => { "one, and it came out the same here" }
                    many => { (many) ", and all came out the same here" }
                }
            }
        }
    }
}

fn reporting(record: &Record) -> Markup {
    let of =
        |guideline: &str| record.headings.iter().filter(move |one| one.item.starts_with(guideline)).collect::<Vec<_>>();
    html! {
        section {
            h2 { "TRIPOD+AI" }
            p { "Items of the reporting guideline for prediction models (Collins et al. 2024). What the run knows is filled in; what only people can say is an empty field." }
            (items(&of("TRIPOD+AI")))
        }
        section {
            h2 { "PROBAST+AI" }
            p { "Domains for judging an evaluation (Moons et al. 2025). Facts of the run are given; no judgement is made for you." }
            (items(&of("PROBAST+AI")))
        }
    }
}

fn items(headings: &[&Heading]) -> Markup {
    html! {
        div.items { @for heading in headings {
            div.item {
                h3 { (heading.about) span { (heading.item) } }
                div {
                    @if let Some(known) = &heading.known { p { (known) } }
                    @if let Some(field) = &heading.person {
                        @match &field.answer {
                            Some(answer) => { div.field.answered { (answer) } }
                            None => { div.field { b { "For a person to write: " } (field.asks) } }
                        }
                    }
                }
            }
        } }
    }
}

fn discrimination(site: &SiteEvaluation, at: usize) -> Markup {
    if site.roc.is_empty() {
        return html! {};
    }
    let points = site.roc.iter().map(|one| (1.0 - one.specificity, one.sensitivity));
    let points: Vec<(f64, f64)> = [(0.0, 0.0)].into_iter().chain(points).chain([(1.0, 1.0)]).collect();
    let plot = Plot {
        id: format!("roc-{at}"),
        title: "Discrimination",
        description: format!(
            "Receiver operating characteristic. {}.",
            site.roc
                .iter()
                .map(|one| {
                    let (with, without) = (one.sensitivity, 1.0 - one.specificity);
                    format!(
                        "Flagging {:.2} of all: {with:.2} of those with the event, {without:.2} of those without",
                        one.flagged
                    )
                })
                .collect::<Vec<_>>()
                .join("; ")
        ),
        x: (0.0, 1.0, 0.2),
        y: (0.0, 1.0, 0.2),
        labels: ("flagged of those without the event", "flagged of those with it"),
    };
    let legend = html! {
        ul.legend {
            li { (swatch(&html! { line.model x1="0" x2="26" y1="6" y2="6" {} })) "model" }
            li { (swatch(&html! { line.reference x1="0" x2="26" y1="6" y2="6" {} })) "chance" }
        }
    };
    plot.draw(
        &legend,
        &html! {
            polyline.reference points=(plot.line(&[(0.0, 0.0), (1.0, 1.0)])) {}
            polyline.model points=(plot.line(&points)) {}
        },
    )
}

fn calibration(site: &SiteEvaluation, at: usize) -> Markup {
    let most = site.calibration_curve.iter().chain(&site.fifths).flat_map(|(x, y)| [*x, *y]).fold(0.05, f64::max);
    let (_, top, step) = axis(0.0, most.min(1.0));
    let plot = Plot {
        id: format!("calibration-{at}"),
        title: "Calibration",
        description: format!(
            "Observed over predicted risk. In fifths by predicted risk: {}.",
            site.fifths
                .iter()
                .map(|(x, y)| format!("{x:.2} predicted, {y:.2} observed"))
                .collect::<Vec<_>>()
                .join("; ")
        ),
        x: (0.0, top, step),
        y: (0.0, top, step),
        labels: ("predicted risk", "observed risk"),
    };
    let legend = html! {
        ul.legend {
            li { (swatch(&html! { line.model x1="0" x2="26" y1="6" y2="6" {} })) "smoothed" }
            li { (swatch(&html! { rect.fifth x="8" y="1.5" width="9" height="9" {} })) "fifths of rows" }
            li { (swatch(&html! { line.reference x1="0" x2="26" y1="6" y2="6" {} })) "perfect" }
        }
    };
    plot.draw(
        &legend,
        &html! {
            polyline.reference points=(plot.line(&[(0.0, 0.0), (top, top)])) {}
            polyline.model points=(plot.line(&site.calibration_curve)) {}
            @for (x, y) in &site.fifths {
                @let (x, y) = plot.at(*x, *y);
                rect.fifth x=(px(x - 4.5)) y=(px(y - 4.5)) width="9" height="9" {}
            }
        },
    )
}

fn benefit(site: &SiteEvaluation, at: usize) -> Markup {
    let high = site.net_benefit.iter().flat_map(|one| [one.model, one.everybody]).fold(0.05, f64::max);
    let low = site.net_benefit.iter().map(|one| one.interval.map_or(one.model, |(low, _)| low)).fold(0.0, f64::min);
    // What acting on everybody costs at high thresholds is cut off: far below, it would flatten everything else.
    let (low, high, step) = axis((low - 0.1 * high).max(-0.5 * high), high);
    let first = site.net_benefit.first().map_or(0.0, |one| one.threshold);
    let last = site.net_benefit.last().map_or(1.0, |one| one.threshold);
    let (from, to, across) = if first < last { axis(first, last) } else { axis(0.0, 1.0) };
    let plot = Plot {
        id: format!("benefit-{at}"),
        title: "Decision curve",
        description: format!(
            "Net benefit over the risk from which on somebody acts. {}.",
            site.net_benefit
                .iter()
                .map(|one| format!("At {:.2}: model {:.3}, everybody {:.3}", one.threshold, one.model, one.everybody))
                .collect::<Vec<_>>()
                .join("; ")
        ),
        x: (from, to, across),
        y: (low, high, step),
        labels: ("threshold: risk from which on one acts", "net benefit"),
    };
    let points =
        |of: fn(&NetBenefit) -> f64| site.net_benefit.iter().map(|one| (one.threshold, of(one))).collect::<Vec<_>>();
    let sides = |of: fn((f64, f64)) -> f64| {
        site.net_benefit.iter().filter_map(move |one| Some((one.threshold, of(one.interval?)))).collect::<Vec<_>>()
    };
    let mut band = sides(|(low, _)| low);
    band.extend(sides(|(_, high)| high).into_iter().rev());
    let legend = html! {
        ul.legend {
            li { (swatch(&html! { rect.band x="0" y="0" width="26" height="12" {} line.model x1="0" x2="26" y1="6" y2="6" {} })) "model, 95 %" }
            li { (swatch(&html! { line.other x1="0" x2="26" y1="6" y2="6" {} })) "everybody" }
            li { (swatch(&html! { line.reference x1="0" x2="26" y1="6" y2="6" {} })) "nobody" }
        }
    };
    plot.draw(
        &legend,
        &html! {
            polygon.band points=(plot.line(&band)) {}
            polyline.reference points=(plot.line(&[(from, 0.0), (to, 0.0)])) {}
            polyline.other points=(plot.line(&points(|one| one.everybody))) {}
            polyline.model points=(plot.line(&points(|one| one.model))) {}
        },
    )
}

/// A plot with two axes: each from, to, and between two ticks.
struct Plot<'a> {
    id: String,
    title: &'a str,
    description: String,
    x: (f64, f64, f64),
    y: (f64, f64, f64),
    labels: (&'a str, &'a str),
}

impl Plot<'_> {
    const LEFT: f64 = 58.0;
    const RIGHT: f64 = 350.0;
    const TOP: f64 = 8.0;
    const BOTTOM: f64 = 268.0;

    fn at(&self, x: f64, y: f64) -> (f64, f64) {
        let share = |value: f64, (low, high, _): (f64, f64, f64)| (value - low) / (high - low);
        (
            Self::LEFT + (Self::RIGHT - Self::LEFT) * share(x, self.x),
            Self::BOTTOM - (Self::BOTTOM - Self::TOP) * share(y, self.y),
        )
    }

    fn line(&self, points: &[(f64, f64)]) -> String {
        points.iter().map(|(x, y)| self.at(*x, *y)).map(|(x, y)| format!("{x:.1},{y:.1}")).collect::<Vec<_>>().join(" ")
    }

    fn draw(&self, legend: &Markup, inner: &Markup) -> Markup {
        let (left, right, top, bottom) = (Self::LEFT, Self::RIGHT, Self::TOP, Self::BOTTOM);
        let (middle_x, middle_y) = (f64::midpoint(left, right), f64::midpoint(top, bottom));
        html! {
            figure {
                figcaption { (self.title) }
                (legend)
                svg.chart viewBox="0 0 360 312" role="img" aria-labelledby={ (self.id) "-t " (self.id) "-d" } {
                    title id={ (self.id) "-t" } { (self.title) }
                    desc id={ (self.id) "-d" } { (self.description) }
                    // Lines that leave the axes end at the frame.
                    clipPath id={ (self.id) "-c" } { rect x=(px(left)) y=(px(top)) width=(px(right - left)) height=(px(bottom - top)) {} }
                    @for x in ticks(self.x.0, self.x.1, self.x.2) {
                        @let place = self.at(x, self.y.0).0;
                        line.grid x1=(px(place)) x2=(px(place)) y1=(px(top)) y2=(px(bottom)) {}
                        text.tick x=(px(place)) y=(px(bottom + 17.0)) text-anchor="middle" { (label(x, self.x.2)) }
                    }
                    @for y in ticks(self.y.0, self.y.1, self.y.2) {
                        @let place = self.at(self.x.0, y).1;
                        line.grid x1=(px(left)) x2=(px(right)) y1=(px(place)) y2=(px(place)) {}
                        text.tick x=(px(left - 6.0)) y=(px(place + 4.0)) text-anchor="end" { (label(y, self.y.2)) }
                    }
                    rect.frame x=(px(left)) y=(px(top)) width=(px(right - left)) height=(px(bottom - top)) {}
                    g clip-path={ "url(#" (self.id) "-c)" } { (inner) }
                    text x=(px(middle_x)) y="306" text-anchor="middle" { (self.labels.0) }
                    text x="14" y=(px(middle_y)) text-anchor="middle" transform=(format!("rotate(-90 14 {middle_y:.1})")) { (self.labels.1) }
                }
            }
        }
    }
}

fn swatch(inner: &Markup) -> Markup {
    html! { svg viewBox="0 0 26 12" aria-hidden="true" { (inner) } }
}

/// Round ends of an axis around two values, and what lies between two ticks: about five of them.
fn axis(low: f64, high: f64) -> (f64, f64, f64) {
    let span = (high - low).max(1e-3);
    let rough = span / 5.0;
    let unit = libm::pow(10.0, libm::floor(libm::log10(rough)));
    let step =
        [1.0, 2.0, 5.0, 10.0].into_iter().map(|times| times * unit).find(|step| *step >= rough - 1e-12).unwrap_or(unit);
    let (from, to) = ((low / step + 1e-9).floor() * step, (high / step - 1e-9).ceil() * step);
    (from, if to > from { to } else { from + step }, step)
}

fn ticks(from: f64, to: f64, step: f64) -> Vec<f64> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "about five")]
    let many = ((to - from) / step).round() as u32;
    (0..=many).map(|at| from + f64::from(at) * step).collect()
}

/// A tick's number with as many digits as its step needs.
fn label(value: f64, step: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few digits")]
    let digits = (-libm::floor(libm::log10(step) + 1e-9)).clamp(0.0, 6.0) as usize;
    let text = format!("{value:.digits$}");
    // Minus zero is zero.
    if text.trim_start_matches('-').chars().all(|c| matches!(c, '0' | '.')) {
        text.trim_start_matches('-').to_owned()
    } else {
        text
    }
}

fn shortened(name: &str) -> String {
    if name.chars().count() <= 16 { name.to_owned() } else { name.chars().take(15).chain(['…']).collect() }
}

fn px(value: f64) -> String {
    format!("{value:.1}")
}

fn number(value: f64) -> String {
    if value.is_finite() { format!("{value:.4}") } else { "none".to_owned() }
}

fn range(interval: Option<(f64, f64)>) -> String {
    interval.map_or(String::new(), |(low, high)| format!("{} to {}", number(low), number(high)))
}

fn bracket(interval: Option<(f64, f64)>) -> String {
    interval.map_or(String::new(), |interval| format!(" ({})", range(Some(interval))))
}

fn words(name: &str) -> String {
    match name {
        "harrell_c" => "Harrell's C".to_owned(),
        "uno_c" => "Uno's C".to_owned(),
        "auc" => "AUC (DeLong)".to_owned(),
        "auc_at_horizon" => "AUC at the horizon".to_owned(),
        "royston_d" => "Royston's D".to_owned(),
        "royston_r2d" => "Royston's R²D".to_owned(),
        "observed_over_expected" => "Observed / expected".to_owned(),
        "brier" => "Brier score".to_owned(),
        "integrated_brier" => "Integrated Brier score".to_owned(),
        "e50" => "E50".to_owned(),
        "e90" => "E90".to_owned(),
        _ => {
            let plain = name.replace('_', " ");
            let mut letters = plain.chars();
            letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
        }
    }
}

/// How a measure is read.
fn best(name: &str) -> &'static str {
    match name {
        "harrell_c" | "uno_c" | "auc" | "auc_at_horizon" => "ranking of people by risk: 0.5 is chance, 1 is perfect",
        "calibration_slope" => "1 is best; below 1, risks are too extreme",
        "calibration_intercept" | "calibration_in_the_large" => "0 is best; above 0, risks are too low",
        "observed_over_expected" => "1 is best; above 1, risks are too low",
        "brier" | "integrated_brier" => "squared error of risks: 0 is best",
        "index_of_prediction_accuracy" => "gain over knowing no predictor: 0 is none",
        "log_loss" => "0 is best",
        "royston_d" => "separation of risk groups: higher is better",
        "royston_r2d" => "share of variation explained",
        "integrated_calibration_index" => "mean distance of predicted from observed risk: 0 is best",
        "e50" => "its median",
        "e90" => "its ninetieth percentile",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_at_round_numbers_around_the_values() {
        assert_eq!(axis(0.0, 0.76), (0.0, 0.8, 0.2));
        let (from, to, step) = axis(-0.07, 0.45);
        assert!(from <= -0.07 && to >= 0.45 && step > 0.0);
        assert_eq!(
            ticks(0.0, 0.8, 0.2).iter().map(|tick| label(*tick, 0.2)).collect::<Vec<_>>(),
            ["0.0", "0.2", "0.4", "0.6", "0.8"]
        );
        assert_eq!(label(-0.000_000_1, 0.1), "0.0");
    }
}
