//! The record as one page that can be printed: no script, nothing fetched, plots as SVG that says what it shows.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::validate::{Estimate, Record, SiteEvaluation};

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:0 auto;padding:1rem;color:#1a1a1a;background:#fff}\
h1{font-size:1.6rem}h2{margin-top:2rem;border-bottom:1px solid #888}table{border-collapse:collapse;margin:1rem 0}\
th,td{text-align:left;padding:.25rem .75rem .25rem 0;border-bottom:1px solid #ccc;vertical-align:top}td.n,th.n{text-align:right}\
.statement{border:2px solid #8a1c00;padding:.75rem;font-weight:600}.empty{color:#6b3a00;font-style:italic}\
.plots{display:flex;flex-wrap:wrap;gap:1rem}svg{max-width:100%;height:auto}figure{margin:0;max-width:360px}\
.scroll{overflow-x:auto}@media print{h2{break-after:avoid}table,figure{break-inside:avoid}}";

fn number(value: f64) -> String {
    if value.is_finite() { format!("{value:.4}") } else { "none".to_owned() }
}

fn range(interval: Option<(f64, f64)>) -> String {
    interval.map_or(String::new(), |(low, high)| format!("{} to {}", number(low), number(high)))
}

fn words(name: &str) -> String {
    let plain = name.replace('_', " ");
    match name {
        "harrell_c" => "Harrell's C".to_owned(),
        "uno_c" => "Uno's C".to_owned(),
        "auc" => "AUC (DeLong)".to_owned(),
        "royston_d" => "Royston's D".to_owned(),
        "royston_r2d" => "Royston's R²D".to_owned(),
        "observed_over_expected" => "observed / expected".to_owned(),
        _ => plain,
    }
}

struct Plot<'a> {
    id: String,
    title: &'a str,
    description: String,
    x: (f64, f64),
    y: (f64, f64),
    labels: (&'a str, &'a str),
}

impl Plot<'_> {
    fn at(&self, x: f64, y: f64) -> (f64, f64) {
        let share = |value: f64, (low, high): (f64, f64)| ((value - low) / (high - low)).clamp(0.0, 1.0);
        (48.0 + 296.0 * share(x, self.x), 264.0 - 248.0 * share(y, self.y))
    }

    fn line(&self, points: &[(f64, f64)]) -> String {
        points.iter().map(|(x, y)| self.at(*x, *y)).map(|(x, y)| format!("{x:.1},{y:.1}")).collect::<Vec<_>>().join(" ")
    }

    fn draw(&self, inner: &Markup) -> Markup {
        html! {
            figure {
                svg viewBox="0 0 360 304" width="360" height="304" role="img" aria-labelledby={ (self.id) "-t " (self.id) "-d" } {
                    title id={ (self.id) "-t" } { (self.title) }
                    desc id={ (self.id) "-d" } { (self.description) }
                    rect x="48" y="16" width="296" height="248" fill="none" stroke="#888" {}
                    @for part in 0..=4 {
                        @let share = f64::from(part) / 4.0;
                        @let (x, y) = (self.x.0 + share * (self.x.1 - self.x.0), self.y.0 + share * (self.y.1 - self.y.0));
                        text x=(format!("{:.1}", self.at(x, 0.0).0)) y="280" font-size="11" text-anchor="middle" { (format!("{x:.2}")) }
                        text x="43" y=(format!("{:.1}", self.at(0.0, y).1 + 4.0)) font-size="11" text-anchor="end" { (format!("{y:.2}")) }
                    }
                    text x="196" y="298" font-size="12" text-anchor="middle" { (self.labels.0) }
                    text x="12" y="140" font-size="12" text-anchor="middle" transform="rotate(-90 12 140)" { (self.labels.1) }
                    (inner)
                }
                figcaption { (self.title) }
            }
        }
    }
}

fn calibration(site: &SiteEvaluation, at: usize) -> Markup {
    let top =
        site.calibration_curve.iter().chain(&site.fifths).flat_map(|(x, y)| [*x, *y]).fold(0.1, f64::max).min(1.0);
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
        x: (0.0, top),
        y: (0.0, top),
        labels: ("predicted risk", "observed risk"),
    };
    plot.draw(&html! {
        polyline points=(plot.line(&[(0.0, 0.0), (top, top)])) fill="none" stroke="#888" stroke-dasharray="4 4" {}
        polyline points=(plot.line(&site.calibration_curve)) fill="none" stroke="#00558c" stroke-width="2" {}
        @for (x, y) in &site.fifths {
            @let (x, y) = plot.at(*x, *y);
            rect x=(format!("{:.1}", x - 4.0)) y=(format!("{:.1}", y - 4.0)) width="8" height="8" fill="#b34700" {}
        }
    })
}

fn benefit(site: &SiteEvaluation, at: usize) -> Markup {
    let all = site.net_benefit.iter().flat_map(|one| [one.model, one.everybody]);
    let (low, high) = all.fold((-0.05, 0.1), |(low, high): (f64, f64), y| (low.min(y).max(-0.3), high.max(y)));
    let last = site.net_benefit.last().map_or(1.0, |one| one.threshold);
    let plot = Plot {
        id: format!("benefit-{at}"),
        title: "Decision curve",
        description: format!(
            "Net benefit over the risk from which on somebody acts. {}.",
            site.net_benefit
                .iter()
                .map(|one| format!("at {:.2}: model {:.3}, everybody {:.3}", one.threshold, one.model, one.everybody))
                .collect::<Vec<_>>()
                .join("; ")
        ),
        x: (0.0, last),
        y: (low, high),
        labels: ("threshold", "net benefit"),
    };
    let points = |of: fn(&crate::validate::NetBenefit) -> f64| {
        site.net_benefit.iter().map(|one| (one.threshold, of(one))).collect::<Vec<_>>()
    };
    plot.draw(&html! {
        polyline points=(plot.line(&[(0.0, 0.0), (last, 0.0)])) fill="none" stroke="#888" {}
        polyline points=(plot.line(&points(|one| one.everybody))) fill="none" stroke="#b34700" stroke-dasharray="6 4" stroke-width="2" {}
        polyline points=(plot.line(&points(|one| one.model))) fill="none" stroke="#00558c" stroke-width="2" {}
    })
}

fn estimates(rows: &[Estimate]) -> Markup {
    html! {
        div.scroll { table {
            thead { tr { th { "measure" } th.n { "value" } th.n { "standard error" } th { "95 % interval (bootstrap)" } } }
            tbody {
                @for one in rows {
                    tr {
                        td { (words(&one.name)) }
                        td.n { (number(one.value)) }
                        td.n { (one.standard_error.map(number).unwrap_or_default()) }
                        td { (range(one.interval)) }
                    }
                }
            }
        } }
    }
}

/// The page.
pub fn page(record: &Record) -> String {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "Validation: " (record.title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                h1 { "Validation: " (record.title) }
                p.statement { (record.statement) }
                p { strong { "Evidence: " } (record.evidence_words) }
                div.scroll { table { tbody {
                    tr { th { "model" } td { (record.kind) ", digest " code { (record.model.short(16)) } } }
                    tr { th { "trained at" } td { (record.trained_at.join(", ")) } }
                    tr { th { "intervals" } td { (record.settings.bootstraps) " bootstrap samples, seed " (record.settings.seed) } }
                    @if record.settings.horizon_days > 0.0 {
                        tr { th { "horizon" } td { (format!("{:.2}", record.settings.horizon_days)) " days" } }
                    }
                } } }
                @if record.sites.len() > 1 {
                    h2 { "All sites" }
                    p { "Pooled by random effects. The prediction interval is for the next site." }
                    div.scroll { table {
                        thead { tr { th { "measure" } th.n { "sites" } th.n { "value" } th { "95 % interval" } th { "95 % prediction interval" } th.n { "spread between sites" } } }
                        tbody { @for one in &record.pooled { tr {
                            td { (words(&one.name)) } td.n { (one.sites) } td.n { (number(one.value)) }
                            td { (range(one.interval)) } td { (range(one.prediction)) }
                            td.n { (number(one.between_sites)) " (" (one.scale) ")" }
                        } } }
                    } }
                }
                @for (at, site) in record.sites.iter().enumerate() {
                    h2 { "Site " (site.site) }
                    p { (site.rows) " rows, " (site.events) " with the event; " (site.dropped) " left out for a missing value." }
                    div.plots { (calibration(site, at)) (benefit(site, at)) }
                    p { "Blue line: the model. Squares: fifths by predicted risk. Orange dashes: acting on everybody." }
                    (estimates(&site.estimates))
                    @if !site.subgroups.is_empty() {
                        h3 { "Subgroups" }
                        div.scroll { table {
                            thead { tr { th { "group" } th.n { "rows" } th.n { "events" } th { "measures (standard error)" } } }
                            tbody { @for group in &site.subgroups { tr {
                                td { (group.column) " = " (group.value) }
                                td.n { (group.rows.map_or("few".to_owned(), |rows| rows.to_string())) }
                                td.n { (group.events.map_or("few".to_owned(), |events| events.to_string())) }
                                td { (group.estimates.iter().map(|one| {
                                    let error = one.standard_error.map_or(String::new(), |error| format!(" ({error:.4})"));
                                    format!("{} {:.4}{error}", words(&one.name), one.value)
                                }).collect::<Vec<_>>().join("; ")) }
                            } } }
                        } }
                    }
                    @let far: Vec<_> = site.unlike_training.iter().filter(|(_, share)| *share > 0.0).collect();
                    @if !far.is_empty() {
                        p { "More than four standard deviations from the training mean: "
                            (far.iter().map(|(name, share)| format!("{name} in {:.1} % of rows", share * 100.0)).collect::<Vec<_>>().join("; ")) "." }
                    }
                }
                h2 { "TRIPOD+AI and PROBAST+AI" }
                p { "Filled in from the run. What only people know is marked and empty." }
                div.scroll { table {
                    thead { tr { th { "item" } th { "asks for" } th { "text" } } }
                    tbody { @for heading in &record.headings { tr {
                        td { (heading.item) } td { (heading.asks) }
                        td { @match &heading.text { Some(text) => { (text) } None => { span.empty { "for a person to write" } } } }
                    } } }
                } }
                p { "Record " code { (record.digest().short(16)) } "." }
                }
            }
        }
    }
    .into_string()
}
