//! A model's page: what it is for and what it is worth, before how to get it.

use std::collections::{BTreeMap, BTreeSet};

use maud::{Markup, html};
use serde_json::Value;

use super::version::{Parts, Sections, Tab, complete, described_in, files, made, page, tab_path, versions};
use super::words::{counted, license_address, rounded, thousands};
use super::{json_ld, wide};
use crate::chart::{Curve, Curves, Estimated, Words, curve_swatch, curves, forest};
use crate::describe::{Description, schema_org};
use crate::facts::{Facts, count, list, number, text};

/// A level of evidence in a few words; the record says it with sites and day.
pub(crate) fn evidence_in_short(level: Option<&str>) -> &'static str {
    match level {
        Some("L0") => "L0: only where it learned",
        Some("L1") => "L1: on others where it learned",
        Some("L2") => "L2: at another site",
        Some("L3") => "L3: in another country or period",
        Some("L4") => "L4: ahead of time",
        Some("L5") => "L5: in a trial",
        _ => "none: nobody measured it elsewhere",
    }
}

/// What stands on a tab.
fn sections(tab: Tab) -> Sections {
    match tab {
        Tab::Card | Tab::Data => &[
            ("plain", "In plain words"),
            ("predictors", "What it looks at"),
            ("limits", "Limits"),
            ("withdraw", "For patients"),
        ],
        Tab::Evidence => &[("evidence", "What it is worth")],
        Tab::Files => &[("files", "Files"), ("formats", "What is in them")],
        Tab::Versions => &[("versions", "Versions")],
        Tab::Use => &[("use", "Use it"), ("catalogues", "Cite and catalogue")],
        Tab::Governance => &[
            ("learned", "What it learned from"),
            ("membership", "Could I be found?"),
            ("complete", "How complete the card is"),
            ("made", "How it was made"),
        ],
    }
}

/// A tab of a version's page.
pub(crate) fn model(described: Description<'_>, tab: Tab) -> String {
    let Description { dataset, version, facts, address } = described;
    let body = html! {
        @match tab {
            Tab::Card | Tab::Data => { (plain(described)) (predictors(facts)) (limits(facts)) (withdrawal(facts)) }
            Tab::Evidence => { (evidence(facts)) }
            Tab::Files => { (files(version)) (formats(facts)) }
            Tab::Versions => { (versions(dataset, version)) }
            Tab::Use => { (usage(described)) (catalogues(described)) }
            Tab::Governance => { (learned(facts)) (membership(facts)) (complete(&facts.croissant)) (made(version, address)) }
        }
    };
    let parts = Parts {
        head: html! { @if matches!(tab, Tab::Card | Tab::Data) && facts.complete { (json_ld(&schema_org::model(described))) } },
        list: ("/models", "All models"),
        badges: html! {
            li.badge { "Evidence " (evidence_in_short(facts.brief.evidence.as_deref())) }
            li.badge { "Not a medical device" }
        },
        figures: figures(facts),
        sections: sections(tab),
        body,
    };
    page(described, tab, &parts)
}

fn estimate<'a>(site: &'a Value, name: &str) -> Option<&'a Value> {
    list(site, "/estimates").iter().find(|one| text(one, "/name") == Some(name))
}

/// What was measured at sites where the model did not learn.
fn elsewhere(facts: &Facts) -> impl Iterator<Item = &Value> {
    let external = facts.records.iter().filter(|record| text(record, "/evidence").is_some_and(|level| level >= "L2"));
    external.flat_map(|record| list(record, "/sites"))
}

fn unmeasured(facts: &Facts) -> Markup {
    html! {
        @if facts.complete && elsewhere(facts).next().is_none() {
            p.notice { "Nobody has measured this model on people it did not learn from. Do not use its predictions." }
        }
    }
}

/// The numbers a reader looks for first.
fn figures(facts: &Facts) -> Markup {
    let discrimination = ["harrell_c", "auc"].into_iter().find_map(|name| {
        let found: Vec<f64> = elsewhere(facts).filter_map(|site| number(estimate(site, name)?, "/value")).collect();
        let low = found.iter().copied().fold(f64::INFINITY, f64::min);
        let high = found.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        (!found.is_empty()).then(|| match high - low < 0.0005 {
            true => format!("{low:.3}"),
            false => format!("{low:.2} to {high:.2}"),
        })
    });
    // Two records of one site are about the same people.
    let mut people: BTreeMap<&str, u64> = BTreeMap::new();
    for site in elsewhere(facts) {
        let most = people.entry(text(site, "/site").unwrap_or_default()).or_default();
        *most = count(site, "/rows").unwrap_or_default().max(*most);
    }
    let measured: u64 = people.values().fold(0, |sum, rows| sum.saturating_add(*rows));
    html! {
        dl.figures {
            div { dt { "ranking of people by risk where it did not learn (0.5 is chance, 1 perfect)" } dd { (discrimination.as_deref().unwrap_or("not measured")) } }
            @if measured > 0 { div { dt { "people it was measured on" } dd { (thousands(measured)) } } }
            @if let Some(rows) = count(&facts.croissant, "/model/rows") { div { dt { "people it learned from" } dd { (about(facts)) (thousands(rows)) } } }
            @let columns = predictor_columns(facts).len();
            @if columns > 0 { div { dt { "facts about a person that it needs" } dd { (columns) } } }
        }
    }
}

/// Columns that the model reads, with what the card says about each.
fn predictor_columns(facts: &Facts) -> Vec<(&str, &Value)> {
    let told = facts.croissant.pointer("/stated/predictors").and_then(Value::as_object);
    told.into_iter().flatten().map(|(column, told)| (column.as_str(), told)).collect()
}

fn stated<'a>(facts: &'a Facts, pointer: &str) -> &'a str {
    text(&facts.croissant, pointer).unwrap_or("Not stated.")
}

/// Section: what it is for, and what is known of it.
fn plain(described: Description<'_>) -> Markup {
    let Description { facts, version, .. } = described;
    let out_of_scope = list(&facts.croissant, "/stated/intended_use/out_of_scope");
    let records = list(&facts.croissant, "/evidence");
    html! {
        section #plain aria-labelledby="plain-title" {
            h2 #plain-title { "In plain words" }
            p.notice { b { (stated(facts, "/statement")) } }
            @for paragraph in described.text().split("\n\n") { p { (paragraph) } }
            dl.facts {
                dt { "What for" } dd { (stated(facts, "/stated/intended_use/purpose")) }
                dt { "Who uses it" } dd { (stated(facts, "/stated/intended_use/users")) }
                dt { "About whom" } dd { (stated(facts, "/stated/intended_use/population")) }
                dt { "Where in care" } dd { (stated(facts, "/stated/intended_use/setting")) }
                dt { "What it predicts" } dd { (stated(facts, "/stated/outcome")) }
            }
            @if !out_of_scope.is_empty() {
                p { "Not for:" }
                ul { @for one in out_of_scope.iter().filter_map(Value::as_str) { li { (one) } } }
            }
            h3 { "What is known of its worth" }
            (unmeasured(facts))
            @for record in records { p { (text(record, "/words").unwrap_or_default()) } }
            p { a href=(tab_path(version, "evidence")) { "All that was measured" } }
        }
    }
}

/// Section: predictors and their weights.
fn predictors(facts: &Facts) -> Markup {
    let weighted = list(&facts.croissant, "/model/predictors");
    let is_ratio = text(&facts.croissant, "/model/kind").is_some_and(|kind| kind != "linear regression");
    let of =
        |one: &Value| -> Option<(f64, f64)> { Some((number(one, "/coefficient")?, number(one, "/standard_error")?)) };
    let shown = |b: f64| if is_ratio { b.exp() } else { b };
    let labels: Vec<String> = weighted.iter().map(label).collect();
    let rows: Vec<Estimated<'_>> = weighted
        .iter()
        .zip(&labels)
        .filter(|(one, _)| !is_joint(one))
        .filter_map(|(one, label)| {
            let (b, error) = of(one)?;
            let interval = Some((shown(b - 1.96 * error), shown(b + 1.96 * error)));
            Some(Estimated { label, value: shown(b), interval, pooled: false })
        })
        .collect();
    let joint: BTreeSet<&str> =
        weighted.iter().filter(|one| is_joint(one)).filter_map(|one| text(one, "/column")).collect();
    let what = match text(&facts.croissant, "/model/kind") {
        Some("Cox proportional hazards") => "Hazard ratio",
        Some("logistic regression") => "Odds ratio",
        Some("discrete-time survival") => "exp(coefficient)",
        _ => "Coefficient",
    };
    html! {
        section #predictors aria-labelledby="predictors-title" {
            h2 #predictors-title { "What it looks at" }
            (wide("Columns", &html! {
                table {
                    caption { "What it needs to know about a person" }
                    thead { tr { th scope="col" { "Column" } th scope="col" { "What it is" } th scope="col" { "Unit or values" } } }
                    tbody { @for (column, told) in predictor_columns(facts) { tr {
                        th scope="row" { code { (column) } }
                        td { b { (text(told, "/title").unwrap_or_default()) } ". " (text(told, "/description").unwrap_or_default()) }
                        td { (unit(told)) }
                    } } }
                }
            }))
            @if !rows.is_empty() {
                h3 { (what) "s" }
                p {
                    @if is_ratio { "Above 1, the risk is higher than for those without it; below 1, lower. " }
                    "The line is the 95\u{a0}% interval."
                    @if !joint.is_empty() { " Not drawn are the terms of " (joint.iter().copied().collect::<Vec<_>>().join(", ")) ": together they make one curve, and none says anything alone." }
                }
                (forest(&Words { id: "weights", title: what, description: &spoken(&rows) }, &rows, is_ratio.then_some(1.0)))
                (wide("Variables", &html! {
                    table {
                        caption { "Variables of the model" }
                        thead { tr { th scope="col" { "Variable" } th scope="col" { "From" } th.number scope="col" { "Coefficient" } th.number scope="col" { "Standard error" } } }
                        tbody { @for one in weighted { tr {
                            th scope="row" { (text(one, "/name").unwrap_or_default()) }
                            td { code { (text(one, "/column").unwrap_or_default()) } @for step in list(one, "/steps").iter().filter_map(Value::as_str) { ", " (step) } }
                            td.number { @if let Some((b, _)) = of(one) { (format!("{b:.5}")) } }
                            td.number { @if let Some((_, error)) = of(one) { (format!("{error:.5}")) } }
                        } } }
                    }
                }))
            }
        }
    }
}

/// What a weight is of, as people say it; by its name where the card does not.
fn label(one: &Value) -> String {
    let last = list(one, "/steps").last().and_then(Value::as_str).and_then(|step| step.strip_prefix("is "));
    match (text(one, "/title"), last) {
        (Some(title), Some(value)) => format!("{title} {value}"),
        (Some(title), None) if list(one, "/steps").is_empty() => title.to_owned(),
        _ => text(one, "/name").unwrap_or_default().to_owned(),
    }
}

/// Whether it is one of several terms of a column that only count together.
fn is_joint(one: &Value) -> bool {
    one["joint"] == true
}

fn unit(told: &Value) -> String {
    if let Some(unit) = text(told, "/unit") {
        // UCUM has words for what is counted in braces.
        return unit.trim_matches(['{', '}']).to_owned();
    }
    let values = told.get("values").and_then(Value::as_object).into_iter().flatten();
    values.map(|(code, label)| format!("{code}: {}", label.as_str().unwrap_or_default())).collect::<Vec<_>>().join("; ")
}

fn spoken(rows: &[Estimated<'_>]) -> String {
    let one = |row: &Estimated<'_>| {
        let range = row.interval.map_or(String::new(), |(low, high)| format!(" ({low:.3} to {high:.3})"));
        format!("{} {:.3}{range}", row.label, row.value)
    };
    rows.iter().map(one).collect::<Vec<_>>().join("; ") + "."
}

fn limits(facts: &Facts) -> Markup {
    let known = list(&facts.croissant, "/stated/limits");
    html! {
        section #limits aria-labelledby="limits-title" {
            h2 #limits-title { "Limits" }
            @if known.is_empty() { p { "Not stated." } }
            ul { @for one in known.iter().filter_map(Value::as_str) { li { (one) } } }
            dl.facts {
                dt { "Ethics" } dd { (stated(facts, "/stated/ethics")) }
                dt { "Maintenance" } dd { (stated(facts, "/stated/maintenance")) }
                dt { "Contact" } dd { (stated(facts, "/stated/contact")) }
            }
        }
    }
}

/// Of training with noise, nobody knows how many people were there.
fn about(facts: &Facts) -> &'static str {
    if text(&facts.croissant, "/model/differential_privacy_words").is_some() { "about " } else { "" }
}

fn withdrawal(facts: &Facts) -> Markup {
    let learned = count(&facts.croissant, "/model/rows")
        .map_or("people".to_owned(), |rows| about(facts).to_owned() + &counted(rows, "person", "people"));
    html! {
        section #withdraw aria-labelledby="withdraw-title" {
            h2 #withdraw-title { "If it may have learned from your records" }
            div.notice {
                p { "It holds no row of anybody: a few numbers that follow from the records of " (learned) " together. It was attacked before it was published, and told little of who was among them; what may be told of the attacks stands under Governance." }
                p { b { "You can take your consent back at any time, and need not say why." } " The next version learns without you; a version that learned from you is then taken down here. Copies that others have cannot be called back." }
            }
        }
    }
}

/// What is measured, as people read it, and how it is read.
const MEASURES: [(&str, &str, &str); 20] = [
    ("harrell_c", "Harrell’s C", "ranking of people by risk: 0.5 is chance, 1 is perfect"),
    ("uno_c", "Uno’s C", "ranking of people by risk: 0.5 is chance, 1 is perfect"),
    ("auc", "AUC (DeLong)", "ranking of people by risk: 0.5 is chance, 1 is perfect"),
    ("auc_at_horizon", "AUC at the horizon", "ranking of people by risk: 0.5 is chance, 1 is perfect"),
    ("calibration_slope", "Calibration slope", "1 is best; below 1, risks are too extreme"),
    ("calibration_intercept", "Calibration intercept", "0 is best; above 0, risks are too low"),
    ("calibration_in_the_large", "Calibration in the large", "0 is best; above 0, risks are too low"),
    ("observed_over_expected", "Observed / expected", "1 is best; above 1, risks are too low"),
    (
        "integrated_calibration_index",
        "Integrated calibration index",
        "mean distance of predicted from observed risk: 0 is best",
    ),
    ("e50", "E50", "its median"),
    ("e90", "E90", "its ninetieth percentile"),
    ("brier", "Brier score", "squared error of risks: 0 is best"),
    ("integrated_brier", "Integrated Brier score", "squared error of risks: 0 is best"),
    ("index_of_prediction_accuracy", "Index of prediction accuracy", "gain over knowing no predictor: 0 is none"),
    ("log_loss", "Log loss", "0 is best"),
    ("royston_d", "Royston’s D", "separation of risk groups: higher is better"),
    ("royston_r2d", "Royston’s R²D", "share of variation explained"),
    ("brier_null", "Brier score without predictors", "to compare with"),
    ("integrated_brier_null", "Integrated Brier score without predictors", "to compare with"),
    ("log_loss_null", "Log loss without predictors", "to compare with"),
];

fn named(measure: &str) -> String {
    let known = MEASURES.iter().find(|(name, ..)| *name == measure).map(|(_, title, _)| (*title).to_owned());
    let plain = || {
        let plain = measure.replace('_', " ");
        let mut letters = plain.chars();
        letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
    };
    known.unwrap_or_else(plain)
}

fn read_as(measure: &str) -> &'static str {
    MEASURES.iter().find(|(name, ..)| *name == measure).map_or("", |(.., how)| how)
}

fn pair(value: &Value) -> Option<(f64, f64)> {
    Some((number(value, "/0")?, number(value, "/1")?))
}

fn pairs(value: &Value, pointer: &str) -> Vec<(f64, f64)> {
    list(value, pointer).iter().filter_map(pair).collect()
}

fn range(value: &Value, pointer: &str) -> String {
    let found = value.pointer(pointer).and_then(pair);
    found.map_or(String::new(), |(low, high)| format!("{low:.4} to {high:.4}"))
}

/// Section: every record, site by site.
fn evidence(facts: &Facts) -> Markup {
    let described = list(&facts.croissant, "/evidence");
    html! {
        section #evidence aria-labelledby="evidence-title" {
            h2 #evidence-title { "What it is worth" }
            (unmeasured(facts))
            @for (at, (record, told)) in facts.records.iter().zip(described).enumerate() { (one_record(record, told, at)) }
        }
    }
}

fn one_record(record: &Value, told: &Value, at: usize) -> Markup {
    let horizon = number(record, "/settings/horizon_days").filter(|days| *days > 0.0);
    let own: Vec<&Value> = list(record, "/sites").iter().collect();
    let signed = list(record, "/signatures").len();
    html! {
        p { (text(record, "/evidence_words").unwrap_or_default()) }
        @for stated in list(record, "/statements") {
            p {
                "Stated by a person and not measured: " (evidence_in_short(text(stated, "/level"))) ". By "
                (text(stated, "/by").unwrap_or_default()) " on " (text(stated, "/on").unwrap_or_default()) ", see "
                (text(stated, "/reference").unwrap_or_default()) "."
                @if let Some(says) = text(stated, "/says") { " " q { (says) } }
            }
        }
        p {
            "Frozen: nothing was refitted. "
            @if let Some(days) = horizon { "Risks are those by day " (rounded(days, 2)) " (" (rounded(days / 365.25, 2)) " years). " }
            "Intervals of 95\u{a0}% from " (thousands(count(record, "/settings/bootstraps").unwrap_or_default())) " bootstrap samples. "
            @if signed > 0 { (counted(signed as u64, "site", "sites")) " signed its own numbers. " }
        }
        @if let (Some(page), Some(json)) = (text(told, "/page"), text(told, "/record")) {
            p { "The whole record, with the headings of TRIPOD+AI and PROBAST+AI: " code { (json) } " and, to print, " code { (page) } ", under Files." }
        }
        @if own.len() > 1 { (by_site(record, at)) }
        @for (number, site) in own.iter().enumerate() { (one_site(site, &format!("{at}-{number}"))) }
    }
}

/// Discrimination at every site and pooled.
fn by_site(record: &Value, at: usize) -> Markup {
    let pooled = |name: &str| list(record, "/pooled").iter().find(|one| text(one, "/name") == Some(name));
    let charts = ["harrell_c", "auc", "calibration_slope"].into_iter().filter_map(|name| {
        let mut rows: Vec<Estimated<'_>> = list(record, "/sites")
            .iter()
            .filter_map(|site| {
                let one = estimate(site, name)?;
                let interval = one.get("interval").and_then(pair);
                Some(Estimated { label: text(site, "/site")?, value: number(one, "/value")?, interval, pooled: false })
            })
            .collect();
        let all = pooled(name)?;
        let interval = all.get("interval").and_then(pair);
        rows.push(Estimated { label: "all sites", value: number(all, "/value")?, interval, pooled: true });
        let neutral = if name == "calibration_slope" { 1.0 } else { 0.5 };
        let (id, title) = (format!("forest-{at}-{name}"), named(name));
        let chart = forest(&Words { id: &id, title: &title, description: &spoken(&rows) }, &rows, Some(neutral));
        Some(html! { figure { figcaption { (title) ", site by site" } (chart) } })
    });
    html! {
        h3 { "All sites" }
        div.plots { @for chart in charts { (chart) } }
        (wide("Pooled", &html! {
            table {
                caption { "Pooled by random effects; the last column is where another site should lie" }
                thead { tr { th scope="col" { "Measure" } th.number scope="col" { "Value" } th scope="col" { "95 % interval" } th scope="col" { "For the next site" } } }
                tbody { @for one in list(record, "/pooled") { tr {
                    th scope="row" { (named(text(one, "/name").unwrap_or_default())) }
                    td.number { (number(one, "/value").map(|value| format!("{value:.4}")).unwrap_or_default()) }
                    td { (range(one, "/interval")) } td { (range(one, "/prediction")) }
                } } }
            }
        }))
    }
}

fn one_site(site: &Value, id: &str) -> Markup {
    let name = text(site, "/site").unwrap_or_default();
    html! {
        h3 { "At " (name) }
        p {
            (counted(count(site, "/rows").unwrap_or_default(), "person", "people")) ", "
            (thousands(count(site, "/events").unwrap_or_default())) " with the event; "
            (thousands(count(site, "/dropped").unwrap_or_default())) " left out for a missing value."
        }
        div.plots { (discrimination(site, id)) (calibration(site, id)) (benefit(site, id)) }
        (wide(&format!("Measures at {name}"), &html! {
            table {
                caption { "Measures at " (name) }
                thead { tr { th scope="col" { "Measure" } th.number scope="col" { "Value" } th scope="col" { "95 % interval" } th scope="col" { "How it is read" } } }
                tbody { @for one in list(site, "/estimates") {
                    @let measure = text(one, "/name").unwrap_or_default();
                    tr {
                        th scope="row" { (named(measure)) }
                        td.number { (number(one, "/value").map(|value| format!("{value:.4}")).unwrap_or_default()) }
                        td { (range(one, "/interval")) }
                        td { (read_as(measure)) }
                    }
                } }
            }
        }))
        (subgroups(site, id))
    }
}

fn discrimination(site: &Value, id: &str) -> Markup {
    let cuts: Vec<(f64, f64, f64)> = list(site, "/roc")
        .iter()
        .filter_map(|one| {
            Some((number(one, "/flagged")?, number(one, "/sensitivity")?, 1.0 - number(one, "/specificity")?))
        })
        .collect();
    if cuts.is_empty() {
        return html! {};
    }
    let told: Vec<String> = cuts
        .iter()
        .map(|(flagged, with, without)| {
            format!("of {flagged:.2} of all, {with:.2} of those with the event and {without:.2} of those without")
        })
        .collect();
    let description = format!("Receiver operating characteristic: whom a cut picks out. {}.", told.join("; "));
    let cuts = cuts.iter().map(|(_, with, without)| (*without, *with));
    let model: Vec<(f64, f64)> = [(0.0, 0.0)].into_iter().chain(cuts).chain([(1.0, 1.0)]).collect();
    let chance = [(0.0, 0.0), (1.0, 1.0)];
    let drawn = Curves {
        labels: ("picked out of those without the event", "of those with it"),
        x: (0.0, 1.0),
        y: (0.0, 1.0),
        curves: &[Curve { class: "none", points: &chance }, Curve { class: "first", points: &model }],
        points: &[],
        band: &[],
    };
    html! {
        figure {
            figcaption { "Discrimination: whom does it pick out?" }
            (curves(&Words { id: &format!("roc-{id}"), title: "Discrimination", description: &description }, &drawn))
            ul.legend { li { (curve_swatch("first")) "the model" } li { (curve_swatch("none")) "chance" } }
        }
    }
}

fn calibration(site: &Value, id: &str) -> Markup {
    let (curve, fifths) = (pairs(site, "/calibration_curve"), pairs(site, "/fifths"));
    if curve.is_empty() && fifths.is_empty() {
        return html! {};
    }
    let most = curve.iter().chain(&fifths).flat_map(|(a, b)| [*a, *b]).fold(0.05, f64::max).min(1.0);
    let told: Vec<String> = fifths.iter().map(|(a, b)| format!("{a:.2} predicted, {b:.2} observed")).collect();
    let description =
        format!("Observed over predicted risk. In fifths of people by predicted risk: {}.", told.join("; "));
    let perfect = [(0.0, 0.0), (1.0, 1.0)];
    let drawn = Curves {
        labels: ("predicted risk", "observed risk"),
        x: (0.0, most),
        y: (0.0, most),
        curves: &[Curve { class: "none", points: &perfect }, Curve { class: "first", points: &curve }],
        points: &fifths,
        band: &[],
    };
    html! {
        figure {
            figcaption { "Calibration: are the risks right?" }
            (curves(&Words { id: &format!("calibration-{id}"), title: "Calibration", description: &description }, &drawn))
            ul.legend {
                li { (curve_swatch("first")) "smoothed" } li { (curve_swatch("square")) "fifths of people" } li { (curve_swatch("none")) "perfect" }
            }
        }
    }
}

fn benefit(site: &Value, id: &str) -> Markup {
    let all = list(site, "/net_benefit");
    let of = |key: &str| -> Vec<(f64, f64)> {
        all.iter().filter_map(|one| Some((number(one, "/threshold")?, number(one, key)?))).collect()
    };
    let (model, everybody) = (of("/model"), of("/everybody"));
    let (Some(first), Some(last)) = (model.first(), model.last()) else { return html! {} };
    let band: Vec<(f64, f64, f64)> = all
        .iter()
        .filter_map(|one| {
            let (low, high) = pair(one.get("interval")?)?;
            Some((number(one, "/threshold")?, low, high))
        })
        .collect();
    let ends: Vec<f64> =
        model.iter().map(|(_, benefit)| *benefit).chain(band.iter().flat_map(|(_, low, high)| [*low, *high])).collect();
    let high = ends.iter().copied().fold(0.02, f64::max);
    let low = ends.iter().copied().fold(0.0, f64::min).max(-high / 2.0);
    let told: Vec<String> = model
        .iter()
        .zip(&everybody)
        .map(|((threshold, own), (_, all))| format!("at {threshold:.2} model {own:.3}, everybody {all:.3}"))
        .collect();
    let description = format!("Net benefit over the risk from which on somebody acts: {}.", told.join("; "));
    let nobody = [(first.0, 0.0), (last.0, 0.0)];
    let drawn = Curves {
        labels: ("risk from which on somebody acts", "net benefit"),
        x: if first.0 < last.0 { (first.0, last.0) } else { (0.0, 1.0) },
        y: (low, high),
        curves: &[
            Curve { class: "none", points: &nobody },
            Curve { class: "second", points: &everybody },
            Curve { class: "first", points: &model },
        ],
        points: &[],
        band: &band,
    };
    html! {
        figure {
            figcaption { "Decision curve: does acting on it help?" }
            (curves(&Words { id: &format!("benefit-{id}"), title: "Decision curve", description: &description }, &drawn))
            ul.legend {
                li { (curve_swatch("band")) "the model, 95 %" } li { (curve_swatch("second")) "acting on everybody" } li { (curve_swatch("none")) "on nobody" }
            }
        }
    }
}

/// Groups by column, with discrimination as a chart.
fn subgroups(site: &Value, id: &str) -> Markup {
    let groups = list(site, "/subgroups");
    if groups.is_empty() {
        return html! {};
    }
    let mut measures: Vec<&str> = Vec::new();
    for one in groups.iter().flat_map(|group| list(group, "/estimates")).filter_map(|one| text(one, "/name")) {
        if !measures.contains(&one) {
            measures.push(one);
        }
    }
    let label = |group: &Value| {
        let column = text(group, "/column").unwrap_or_default();
        text(group, "/value").map_or(format!("{column}: not shown"), |value| format!("{column} = {value}"))
    };
    let labels: BTreeMap<usize, String> = groups.iter().enumerate().map(|(at, group)| (at, label(group))).collect();
    let chart = ["harrell_c", "auc"].into_iter().find_map(|name| {
        let rows: Vec<Estimated<'_>> = groups
            .iter()
            .enumerate()
            .filter_map(|(at, group)| {
                let one = estimate(group, name)?;
                let value = number(one, "/value")?;
                let interval = number(one, "/standard_error").map(|error| (value - 1.96 * error, value + 1.96 * error));
                Some(Estimated { label: labels.get(&at)?, value, interval, pooled: false })
            })
            .collect();
        let title = format!("{} in subgroups", named(name));
        let words = Words { id: &format!("groups-{id}"), title: &title, description: &spoken(&rows) };
        (!rows.is_empty()).then(|| html! { figure { figcaption { (title) } (forest(&words, &rows, Some(0.5))) } })
    });
    html! {
        h4 { "Subgroups" }
        @if let Some(chart) = chart { (chart) }
        (wide("Subgroups", &html! {
            table {
                caption { "Values ± standard error; groups with few people or events are not shown" }
                thead { tr { th scope="col" { "Group" } th.number scope="col" { "People" } th.number scope="col" { "Events" } @for name in &measures { th.number scope="col" { (named(name)) } } } }
                tbody { @for (at, group) in groups.iter().enumerate() { tr {
                    th scope="row" { (labels.get(&at).map(String::as_str).unwrap_or_default()) }
                    td.number { (count(group, "/rows").map(thousands).unwrap_or_default()) }
                    td.number { (count(group, "/events").map(thousands).unwrap_or_default()) }
                    @for name in &measures { td.number { (estimate(group, name).map(with_error).unwrap_or_default()) } }
                } } }
            }
        }))
    }
}

fn with_error(one: &Value) -> String {
    let error = number(one, "/standard_error").map_or(String::new(), |error| format!(" ± {error:.3}"));
    number(one, "/value").map_or(String::new(), |value| format!("{value:.3}{error}"))
}

/// Section: inputs and outputs of the files for other programs.
fn formats(facts: &Facts) -> Markup {
    let shape = |one: &Value| {
        list(one, "/shape")
            .iter()
            .map(|dim| dim.as_str().map_or_else(|| dim.to_string(), str::to_owned))
            .collect::<Vec<_>>()
            .join(" × ")
    };
    let horizons: Vec<String> = list(&facts.croissant, "/model/horizons_days")
        .iter()
        .filter_map(Value::as_f64)
        .map(|days| rounded(days, 2))
        .collect();
    html! {
        section #formats aria-labelledby="formats-title" {
            h2 #formats-title { "What is in them" }
            p { "No file here can run code when it is opened: pickles and their like are refused at publishing." }
            (wide("Inputs and outputs of model.onnx", &html! {
                table {
                    caption { "Inputs and outputs of " code { "model.onnx" } " (opset " (count(&facts.croissant, "/formats/onnx/opset").unwrap_or_default()) ")" }
                    thead { tr { th scope="col" { "Name" } th scope="col" { "Direction" } th scope="col" { "Type" } th scope="col" { "Shape" } } }
                    tbody { @for (way, pointer) in [("in", "/formats/onnx/inputs"), ("out", "/formats/onnx/outputs")] { @for one in list(&facts.croissant, pointer) { tr {
                        th scope="row" { code { (text(one, "/name").unwrap_or_default()) } }
                        td { (way) } td { (text(one, "/type").unwrap_or_default()) } td { (shape(one)) }
                    } } } }
                }
            }))
            @if !horizons.is_empty() { p { "The columns of " code { "risk" } " are for day " (horizons.join(", ")) "." } }
            @if let Some(numbers) = count(&facts.croissant, "/formats/safetensors/parameters") {
                p { code { "model.safetensors" } " holds " (counted(numbers, "number", "numbers")) " as float64: "
                    (facts.croissant.pointer("/formats/safetensors/tensors").and_then(Value::as_object).map(|all| all.keys().cloned().collect::<Vec<_>>().join(", ")).unwrap_or_default()) "." }
            }
        }
    }
}

/// Section: snippets that work when pasted.
fn usage(described: Description<'_>) -> Markup {
    let Description { version, facts, address, .. } = described;
    let (id, tag) = (version.manifest().dataset.to_string(), version.tag());
    let inputs: Vec<String> = list(&facts.croissant, "/formats/onnx/inputs")
        .iter()
        .filter_map(|input| {
            let name = text(input, "/name")?;
            let told = facts.croissant.pointer("/stated/predictors").and_then(|all| all.get(name));
            let code = told.and_then(|told| told.get("values")?.as_object()?.keys().next().cloned());
            let is_text = text(input, "/type") == Some("string");
            let value = match (is_text, code) {
                (true, code) => Value::from(code.unwrap_or_default()).to_string(),
                (false, code) => code.unwrap_or_else(|| "1.0".to_owned()),
            };
            let kind = if is_text { "str" } else { "float" };
            Some(format!("    {}: np.array([[{value}]], dtype={kind}),\n", Value::from(name)))
        })
        .collect();
    let inputs_of_text =
        list(&facts.croissant, "/formats/onnx/inputs").iter().filter(|input| text(input, "/type") == Some("string"));
    let texts: Vec<(&str, Vec<&str>)> = inputs_of_text
        .filter_map(|input| {
            Some((text(input, "/name")?, list(input, "/levels").iter().filter_map(Value::as_str).collect()))
        })
        .collect();
    let snippets = [
        (
            "Python: predict with onnxruntime",
            format!(
                "# pip install onnxruntime huggingface_hub numpy\nimport os\nos.environ[\"HF_ENDPOINT\"] = \"{address}\"  # before the import\nimport numpy as np, onnxruntime\nfrom huggingface_hub import hf_hub_download\n\npath = hf_hub_download(\"{id}\", \"model.onnx\", revision=\"{tag}\")\nmodel = onnxruntime.InferenceSession(path)\nnames = [output.name for output in model.get_outputs()]\npredicted = model.run(names, {{\n{}}})\nprint(dict(zip(names, predicted)))",
                inputs.concat()
            ),
        ),
        (
            "Python: its numbers with safetensors",
            format!(
                "# pip install safetensors huggingface_hub numpy\nimport os\nos.environ[\"HF_ENDPOINT\"] = \"{address}\"  # before the import\nfrom huggingface_hub import hf_hub_download\nfrom safetensors.numpy import load_file\n\nprint(load_file(hf_hub_download(\"{id}\", \"model.safetensors\", revision=\"{tag}\")))"
            ),
        ),
        (
            "Everything: huggingface_hub",
            format!(
                "# pip install huggingface_hub\nHF_ENDPOINT={address} hf download {id} --revision {tag} --local-dir model"
            ),
        ),
        (
            "A hospital: measure it on your own patients",
            format!(
                "# your table stays where it is; nothing is sent\ncurl --fail --location --remote-name {address}{}\nacequia validate model.json --at here=patients.csv --page record.html",
                version.file_path("model.json")
            ),
        ),
    ];
    html! {
        section #use aria-labelledby="use-title" {
            h2 #use-title { "Use it" }
            p { "No account, no token. Each snippet names this version, which never changes." }
            @if !texts.is_empty() {
                p { "Texts are given without spaces around them, and exactly so:" }
                ul { @for (name, levels) in &texts { li {
                    code { (name) } ": "
                    @if levels.is_empty() { "a text that the model does not know counts as none of those that it knows; check what you have before." }
                    @else {
                        @for (at, level) in levels.iter().enumerate() { @if at > 0 { ", " } code { (level) } }
                        "; any other text has no prediction (NaN)."
                    }
                } } }
            }
            @for (at, (title, text)) in snippets.iter().enumerate() {
                @let id = format!("use-{at}");
                h3 #(id) { (title) }
                pre role="region" tabindex="0" aria-labelledby=(id) { code { (text) } }
            }
        }
    }
}

fn catalogues(described: Description<'_>) -> Markup {
    html! {
        section #catalogues aria-labelledby="catalogues-title" {
            h2 #catalogues-title { "Cite and catalogue" }
            p { "Nobody typed these: each is computed from the manifest and the card of this version. " code { "bom.cdx.json" } " under Files is its bill of materials (CycloneDX)." }
            (described_in(described))
        }
    }
}

/// Section: data sets and tables, with their licences.
fn learned(facts: &Facts) -> Markup {
    let sources = list(&facts.croissant, "/stated/learned_from");
    let licensed = sources.iter().all(|source| text(source, "/license").is_some());
    let sites: Vec<&str> = list(&facts.croissant, "/model/sites").iter().filter_map(Value::as_str).collect();
    html! {
        section #learned aria-labelledby="learned-title" {
            h2 #learned-title { "What it learned from" }
            p {
                "From " (about(facts)) (counted(count(&facts.croissant, "/model/rows").unwrap_or_default(), "person", "people")) ", "
                @if let Some(events) = count(&facts.croissant, "/model/events") { (thousands(events)) " with the event, " }
                "at " (sites.join(", ")) "."
            }
            @if !sources.is_empty() {
                (wide("Sources", &html! {
                    table {
                        caption { @if licensed { "Its licence carries what each of these asks" } @else { "Its licence carries what those ask of which a licence is stated; what the others ask, nobody checked" } }
                        thead { tr { th scope="col" { "Source" } th scope="col" { "Version" } th scope="col" { "Licence" } } }
                        tbody { @for source in sources { tr {
                            th scope="row" {
                                @match text(source, "/url") { Some(url) => { a href=(url) rel="noopener" { (text(source, "/title").unwrap_or_default()) } } None => { (text(source, "/title").unwrap_or_default()) } }
                                @if let Some(name) = text(source, "/name") { " (" code { (name) } ")" }
                            }
                            td { (text(source, "/version").unwrap_or_default()) }
                            td {
                                @match text(source, "/license") {
                                    Some(license) => { @match license_address(license) { Some(address) => { a href=(address) rel="noopener" { (license) } } None => { (license) } } }
                                    None => { "not stated" }
                                }
                            }
                        } } }
                    }
                }))
            }
            dl.facts {
                dt { "Run plan (SHA-256)" } dd { code.digest { (text(&facts.croissant, "/model/plan").unwrap_or_default()) } }
                dt { "Frozen model" } dd { code.digest { (text(&facts.croissant, "/model/digest").unwrap_or_default()) } }
                dt { "Trained with" } dd { (text(&facts.croissant, "/model/program").unwrap_or_default()) }
            }
        }
    }
}

fn membership(facts: &Facts) -> Markup {
    html! {
        section #membership aria-labelledby="membership-title" {
            h2 #membership-title { "Could I be found?" }
            @let noise = text(&facts.croissant, "/model/differential_privacy_words");
            @if let Some(words) = &noise { p { (words) } }
            p { (stated(facts, "/model/membership_words")) }
            p.note {
                "A model on which an attack succeeds is not published. "
                @if noise.is_some() { "Attacks that were not tried are bounded by the noise." }
                @else { "Attacks that were not tried are not bounded by those that were." }
            }
        }
    }
}
