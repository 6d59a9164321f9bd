//! What is in the columns, the splits drawn in the same axes, and how alike the splits are.

use maud::{Markup, html};
use serde_json::Value;

use super::wide;
use super::words::{counted, rounded, thousands};
use crate::PublishedVersion;
use crate::chart::{Shares, Words, categories, histogram, percent, swatch};
use crate::facts::{Facts, count, list, number, text};

/// Charts with more bars than this would fill a page; the rest is in the table.
const BARS: usize = 24;

/// One column, read from `statistics.json` and `dictionary.json`.
struct Column<'a> {
    name: &'a str,
    title: &'a str,
    unit: Option<&'a str>,
    is_number: bool,
    labels: Vec<&'a str>,
    /// Bin edges when the bins are intervals of a number.
    edges: Option<Vec<String>>,
    /// Per split, per bin; `None` is hidden.
    counts: Vec<Vec<Option<u64>>>,
    /// Per split.
    missing: Vec<Option<u64>>,
    /// How far it was made coarser, 0 not at all; absent for a column that others cannot know.
    level: Option<u64>,
    statistics: &'a Value,
    dictionary: Option<&'a Value>,
}

impl Column<'_> {
    /// Whether every value was replaced by `*`.
    fn is_left_out(&self) -> bool {
        is_left_out(&self.labels)
    }
}

/// Whether these are the groups of a column that was replaced by `*`.
pub(super) fn is_left_out(labels: &[&str]) -> bool {
    labels == ["*"]
}

/// A value as people read it: `*` is what stands where a value was left out.
pub(super) fn shown(label: &str) -> &str {
    if label == "*" { "left out (*)" } else { label }
}

/// A split and its rows.
struct Split<'a> {
    name: &'a str,
    rows: u64,
}

fn splits(facts: &Facts) -> Vec<Split<'_>> {
    let read = |split| Some(Split { name: text(split, "/name")?, rows: count(split, "/rows")? });
    list(&facts.statistics, "/splits").iter().filter_map(read).collect()
}

fn columns<'a>(facts: &'a Facts, splits: &[Split<'_>]) -> Vec<Column<'a>> {
    let read = |statistics: &'a Value| {
        let name = text(statistics, "/name")?;
        let bins = list(statistics, "/bins");
        let is_number = text(statistics, "/kind") == Some("number");
        let of_split = |split: &Split<'_>| -> Vec<Option<u64>> {
            bins.iter().map(|bin| bin.get("counts")?.get(split.name)?.as_u64()).collect()
        };
        let missing = |split: &Split<'_>| match statistics.get("missing").and_then(|missing| missing.get(split.name)) {
            Some(value) => value.as_u64(),
            None => Some(0),
        };
        let edge = |value: Option<f64>| value.map(|value| rounded(value, 2));
        let edges = || -> Option<Vec<String>> {
            let (last, others) = bins.split_last()?;
            bins.windows(2).all(|pair| number(&pair[0], "/high") == number(&pair[1], "/low")).then_some(())?;
            let lows: Option<Vec<String>> = others.iter().map(|bin| edge(number(bin, "/low"))).collect();
            let low = edge(number(last, "/low"))?;
            // The last bin may be open: "180 and more".
            let end = match edge(number(last, "/high")) {
                Some(high) => [low, high],
                None => [format!("{low}+"), String::new()],
            };
            Some(lows?.into_iter().chain(end).collect())
        };
        Some(Column {
            name,
            title: text(statistics, "/title").unwrap_or(name),
            unit: text(statistics, "/unit").map(unit_in_words),
            is_number,
            labels: bins.iter().map(|bin| text(bin, "/label").unwrap_or("(no label)")).collect(),
            edges: if is_number { edges() } else { None },
            counts: splits.iter().map(of_split).collect(),
            missing: splits.iter().map(missing).collect(),
            level: quasi_identifier(facts, name).and_then(|entry| count(entry, "/level")),
            statistics,
            dictionary: list(&facts.dictionary, "/columns").iter().find(|entry| text(entry, "/name") == Some(name)),
        })
    };
    list(&facts.statistics, "/columns").iter().filter_map(read).collect()
}

/// UCUM codes whose meaning a reader may not guess; others are shown as they are.
fn unit_in_words(ucum: &str) -> &str {
    match ucum {
        "a" => "years",
        "mo" => "months",
        "wk" => "weeks",
        "d" => "days",
        "h" => "hours",
        "1" | "{count}" => "number",
        _ => ucum,
    }
}

fn share(count: Option<u64>, rows: u64) -> Option<f64> {
    count.filter(|_| rows > 0).map(|count| count as f64 / rows as f64)
}

fn quasi_identifier<'a>(facts: &'a Facts, name: &str) -> Option<&'a Value> {
    list(&facts.risk, "/quasi_identifiers").iter().find(|entry| text(entry, "/column") == Some(name))
}

/// The title of a column for people, by its name.
pub(super) fn column_title<'a>(facts: &'a Facts, name: &'a str) -> &'a str {
    let find = |document: &'a Value| list(document, "/columns").iter().find(|entry| text(entry, "/name") == Some(name));
    find(&facts.dictionary).or_else(|| find(&facts.statistics)).and_then(|entry| text(entry, "/title")).unwrap_or(name)
}

/// Section: each column with its chart.
pub(super) fn columns_section(facts: &Facts) -> Markup {
    let splits = splits(facts);
    let columns = columns(facts, &splits);
    let minimum = count(&facts.statistics, "/minimum_cell");
    html! {
        section #columns aria-labelledby="columns-title" {
            h2 #columns-title { "What is in it" }
            @if columns.is_empty() {
                p { "The contents of the columns are not stated." }
                (dictionary_only(facts))
            } @else {
                p {
                    "One row is one person; " (counted(columns.len() as u64, "column", "columns")) ". "
                    "The charts show what share of the people in each part of the data has a value, so parts of different size can be compared."
                }
                (legend(&splits))
                @if let Some(minimum) = minimum {
                    p.note { "“Hidden” means fewer than " (minimum) " people, or a count from which such a small one could be worked out." }
                }
                div.columns { @for (at, column) in columns.iter().enumerate() { (column_card(at, column, &splits)) } }
            }
        }
    }
}

fn legend(splits: &[Split<'_>]) -> Markup {
    html! {
        ul.legend aria-label="Marks in the charts" {
            @for (at, split) in splits.iter().enumerate().take(3) {
                li { (swatch(at)) (split.name) " (" (thousands(split.rows)) ")" }
            }
        }
    }
}

fn column_card(at: usize, column: &Column<'_>, splits: &[Split<'_>]) -> Markup {
    let described = |pointer: &str| column.dictionary.and_then(|entry| text(entry, pointer));
    let id = format!("chart-{at}");
    let unit = column.unit.map(|unit| format!(" in {unit}")).unwrap_or_default();
    let names: Vec<String> = splits.iter().map(|split| split.name.to_owned()).collect();
    let description = format!(
        "Share of people per value of {}{unit}, for {}. The numbers are in the table below.",
        column.title,
        super::words::enumerated(&names)
    );
    let words = Words { id: &id, title: column.title, description: &description };
    html! {
        article.column {
            h3 { (column.title) @if let Some(unit) = column.unit { span.unit { " (" (unit) ")" } } }
            p.name { code { (column.name) } }
            @if let Some(description) = described("/description") { p { (description) } }
            @match (column.level, described("/generalisation")) {
                _ if column.is_left_out() => { p.note { "Left out to protect people: every row says *." } }
                (Some(0), _) | (None, Some("not changed")) => { p.note { "Kept as recorded" } }
                (_, Some(how)) => { p.note { "Made coarser: " (how) } }
                _ => {}
            }
            @if !column.is_left_out() { (chart(&words, column, splits)) }
            (middles(column, splits))
            details {
                summary { "Numbers of " (column.title) }
                (wide(&format!("Numbers of {}", column.title), &numbers(column, splits)))
                @if let Some(entry) = column.dictionary { (codes(entry)) }
            }
        }
    }
}

fn chart(words: &Words<'_>, column: &Column<'_>, splits: &[Split<'_>]) -> Markup {
    let of_split = |at: usize, split: &Split<'_>| -> Shares {
        column.counts[at].iter().map(|count| share(*count, split.rows)).collect()
    };
    let hides = column.counts.iter().flatten().any(Option::is_none);
    let note = html! { @if hides { p.note { "Some counts are hidden." } } };
    let mut shares: Vec<Shares> = splits.iter().enumerate().map(|(at, split)| of_split(at, split)).collect();
    if column.labels.is_empty() {
        return html! { p.note { "No chart: the values are not stated." } };
    }
    if let Some(edges) = &column.edges {
        return html! { (histogram(words, edges, &shares)) (note) };
    }
    let mut labels: Vec<&str> = column.labels.iter().copied().map(shown).take(BARS).collect();
    let left_out = column.labels.len() - labels.len();
    for shares in &mut shares {
        shares.truncate(BARS);
    }
    if column.missing.iter().any(|missing| *missing != Some(0)) {
        labels.push("not known");
        for (at, shares) in shares.iter_mut().enumerate() {
            shares.push(share(column.missing[at], splits[at].rows));
        }
    }
    html! {
        (categories(words, &labels, &shares))
        (note)
        @if left_out > 0 { p.note { (counted(left_out as u64, "more value", "more values")) " in the table." } }
    }
}

/// Means and medians, when the column is a number.
fn middles(column: &Column<'_>, splits: &[Split<'_>]) -> Markup {
    if !column.is_number {
        return html! {};
    }
    let of = |measure: &str, split: &Split<'_>| number(column.statistics, &format!("/{measure}/{}", split.name));
    let shown: Vec<(&str, Option<f64>, Option<f64>)> =
        splits.iter().map(|split| (split.name, of("median", split), of("mean", split))).collect();
    html! {
        @if shown.iter().any(|(_, median, mean)| median.is_some() || mean.is_some()) {
            ul.middles {
                @for (name, median, mean) in shown {
                    li {
                        (name) ": "
                        @if let Some(median) = median { "median " b { (rounded(median, 2)) } }
                        @if let Some(mean) = mean { ", mean " (rounded(mean, 2)) }
                    }
                }
            }
        }
    }
}

fn numbers(column: &Column<'_>, splits: &[Split<'_>]) -> Markup {
    let cell = |count: Option<u64>, rows: u64| match count {
        Some(count) => {
            html! { td.number { (thousands(count)) } td.number { (share(count.into(), rows).map(percent).unwrap_or_default()) } }
        }
        None => html! { td.number { "hidden" } td.number { "hidden" } },
    };
    html! {
        table {
            caption { "People per value of " (column.title) }
            thead {
                tr {
                    th scope="col" rowspan="2" { "Value" }
                    @for split in splits { th.number scope="colgroup" colspan="2" { (split.name) } }
                }
                tr { @for _ in splits { th.number scope="col" { "people" } th.number scope="col" { "share" } } }
            }
            tbody {
                @for (bin, label) in column.labels.iter().enumerate() {
                    tr {
                        th scope="row" { (shown(label)) }
                        @for (at, split) in splits.iter().enumerate() { (cell(column.counts[at].get(bin).copied().flatten(), split.rows)) }
                    }
                }
                tr {
                    th scope="row" { "not known" }
                    @for (at, split) in splits.iter().enumerate() { (cell(column.missing[at], split.rows)) }
                }
            }
        }
    }
}

/// Codes and their labels, and the same concept elsewhere.
fn codes(entry: &Value) -> Markup {
    let values = entry.get("values").and_then(Value::as_object).filter(|values| !values.is_empty());
    let equivalent = list(entry, "/equivalent");
    html! {
        @if let Some(values) = values {
            dl.codes {
                @for (code, label) in values { dt { code { (code) } } dd { (label.as_str().unwrap_or_default()) } }
            }
        }
        @if !equivalent.is_empty() {
            p.note {
                "The same concept elsewhere: "
                @for (at, address) in equivalent.iter().filter_map(Value::as_str).enumerate() {
                    @if at > 0 { ", " }
                    @if address.starts_with("https://") || address.starts_with("http://") { a href=(address) rel="noopener" { (address) } }
                    @else { code { (address) } }
                }
            }
        }
    }
}

/// The columns as the dictionary has them, when there are no statistics.
fn dictionary_only(facts: &Facts) -> Markup {
    let columns = list(&facts.dictionary, "/columns");
    html! {
        @if !columns.is_empty() {
            dl.codes {
                @for column in columns {
                    dt { code { (text(column, "/name").unwrap_or("(no name)")) } }
                    dd { (text(column, "/description").or_else(|| text(column, "/title")).unwrap_or("not stated")) }
                }
            }
        }
    }
}

/// Section: how the parts compare.
pub(super) fn splits_section(facts: &Facts, version: &PublishedVersion) -> Markup {
    let manifest = version.manifest();
    let people = version.people();
    let splits = splits(facts);
    let columns = columns(facts, &splits);
    html! {
        section #splits aria-labelledby="splits-title" {
            h2 #splits-title { "Train, validation and test" }
            p {
                "Every person is in exactly one part. Models learn on the first, are tuned on the second, and are judged on the third, which they must not have seen."
            }
            (wide("Rows per part", &html! {
                table {
                    caption { "Rows per part" }
                    thead { tr { th scope="col" { "Part" } th.number scope="col" { "Rows" } th.number scope="col" { "Share" } } }
                    tbody {
                        @for (name, rows) in &manifest.splits {
                            tr { th scope="row" { (name) } td.number { (thousands(*rows)) } td.number { (share(Some(*rows), people).map(percent).unwrap_or_default()) } }
                        }
                        tr { th scope="row" { "together" } td.number { (thousands(people)) } td.number { "100 %" } }
                    }
                }
            }))
            @if !columns.is_empty() && splits.len() > 1 {
                h3 { "Are the parts alike?" }
                p { "For each column: its middle or most common value in each part, and the largest difference between the first part and another in the share of people with any one value." }
                (wide("Comparison of the parts", &comparison(&columns, &splits)))
            }
        }
    }
}

fn comparison(columns: &[Column<'_>], splits: &[Split<'_>]) -> Markup {
    html! {
        table {
            caption { "Comparison of the parts by column" }
            thead {
                tr {
                    th scope="col" { "Column" }
                    @for split in splits { th scope="col" { (split.name) } }
                    th.number scope="col" { "largest difference" }
                }
            }
            tbody {
                @for column in columns {
                    tr {
                        th scope="row" { (column.title) }
                        @for (at, split) in splits.iter().enumerate() { td { (typical(column, at, split)) } }
                        td.number {
                            @match largest_difference(column, splits) {
                                Some(difference) => { (rounded(difference * 100.0, 1)) " points" }
                                None => { "–" }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The median of a number, or the most common value with its share.
fn typical(column: &Column<'_>, at: usize, split: &Split<'_>) -> String {
    if let Some(median) = number(column.statistics, &format!("/median/{}", split.name)).filter(|_| column.is_number) {
        return format!("median {}", rounded(median, 2));
    }
    let counts = column.counts[at].iter().enumerate().filter_map(|(bin, count)| Some((bin, (*count)?)));
    if column.is_left_out() {
        return "left out".to_owned();
    }
    // The first of equals, so that the page does not depend on the order of comparison.
    let most = counts.reduce(|best, next| if next.1 > best.1 { next } else { best });
    match most {
        Some((bin, count)) => {
            format!(
                "{} ({})",
                shown(column.labels[bin]),
                share(Some(count), split.rows).map(percent).unwrap_or_default()
            )
        }
        None => "not stated".to_owned(),
    }
}

fn largest_difference(column: &Column<'_>, splits: &[Split<'_>]) -> Option<f64> {
    if column.is_left_out() {
        return None;
    }
    let of = |at: usize, bin: usize| share(column.counts[at][bin], splits[at].rows);
    let differences = (1..splits.len())
        .flat_map(|at| (0..column.labels.len()).map(move |bin| (at, bin)))
        .filter_map(|(at, bin)| Some((of(0, bin)? - of(at, bin)?).abs()));
    differences.reduce(f64::max)
}
