//! What changed between two versions, for people.

use maud::{Markup, html};
use serde_json::Value;

use super::words::{counted, rounded, thousands};
use super::{document, version_path, wide};
use crate::PublishedVersion;
use crate::chart::{Words, categories, percent, swatch};
use crate::facts::{count, list, number, text};

/// Charts with more bars than this would fill a page; the rest is in the table.
const BARS: usize = 24;

/// Two versions that are compared, and the address of the same as JSON.
pub(crate) struct Compared<'a> {
    pub(crate) from: &'a PublishedVersion,
    pub(crate) to: &'a PublishedVersion,
    pub(crate) json: &'a str,
}

/// The page while the difference is being computed.
pub(crate) fn computing(compared: &Compared<'_>) -> String {
    let main = html! {
        (top(compared))
        div.frame.narrow {
            p.lead { "The two versions are being compared. This is done once." }
            p { "This page looks again by itself every two seconds. " a href="" { "Look again now" } }
        }
    };
    document(&title(compared), "Two versions of a data set are being compared.", &html! {}, &main)
}

pub(crate) fn difference(compared: &Compared<'_>, told: &Value) -> String {
    let main = html! {
        (top(compared))
        div.frame {
            div.body {
                (rows(told))
                (splits(told))
                (columns(told))
                (statistics(told))
                (lines("risk", "Risk", "The measured risk is the same.", told))
                (lines("words", "Title, licence, program", "Title, summary, licence, program and recipe are the same.", told))
                (files(told))
                p { a href=(compared.json) { "The same as JSON" } }
            }
        }
    };
    document(&title(compared), "What changed between two versions of a data set.", &html! {}, &main)
}

fn title(compared: &Compared<'_>) -> String {
    let (from, to) = (compared.from.manifest(), compared.to.manifest());
    format!("{} and {} of {} compared · Acequia", from.version, to.version, to.title)
}

fn top(compared: &Compared<'_>) -> Markup {
    let (from, to) = (compared.from, compared.to);
    html! {
        div.top {
            div.frame {
                nav.crumbs aria-label="Where you are" {
                    ol {
                        li { a href="/#list" { "All data sets" } }
                        li { a href=(format!("/datasets/{}", to.manifest().dataset)) { (to.manifest().dataset) } }
                        li aria-current="page" { (from.manifest().version) " and " (to.manifest().version) }
                    }
                }
                h1 { "What changed from " (from.manifest().version) " to " (to.manifest().version) }
                p.lead {
                    (to.manifest().title) ": "
                    a href=(version_path(from)) { "version " (from.manifest().version) } ", " (from.published_at().day()) ", and "
                    a href=(version_path(to)) { "version " (to.manifest().version) } ", " (to.published_at().day()) "."
                }
            }
        }
    }
}

/// Hidden counts are small ones, or such as would give one away.
fn number_or_hidden(value: &Value) -> String {
    value.as_u64().map_or_else(|| "hidden".to_owned(), thousands)
}

fn rows(told: &Value) -> Markup {
    let rows = &told["rows"];
    let minimum = count(told, "/minimum_cell").unwrap_or_default();
    html! {
        section aria-labelledby="rows-title" {
            h2 #rows-title { "Rows" }
            @if rows["compared"] == true {
                (wide("Rows", &html! {
                    table {
                        caption { "Rows of both versions, compared by their values" }
                        thead { tr { th scope="col" { "Row" } th.number scope="col" { "How many" } } }
                        tbody {
                            @for (name, words) in [("same", "in both versions"), ("added", "only in the newer one"), ("removed", "only in the older one"), ("in_another_split", "in both, but in another part")] {
                                tr { th scope="row" { (words) } td.number { (number_or_hidden(&rows[name])) } }
                            }
                        }
                    }
                }))
                p.note {
                    "A row that was made coarser or finer counts as another row, so these are not numbers of people who joined or left. "
                    "“Hidden” means fewer than " (minimum) ", or a count from which such a small one would follow."
                }
            } @else {
                p { (text(rows, "/reason").unwrap_or("The rows are not compared.")) }
            }
        }
    }
}

fn splits(told: &Value) -> Markup {
    html! {
        section aria-labelledby="splits-title" {
            h2 #splits-title { "Train, validation and test" }
            (wide("Rows per part", &html! {
                table {
                    caption { "Rows per part in both versions" }
                    thead { tr { th scope="col" { "Part" } th.number scope="col" { "older" } th.number scope="col" { "newer" } th.number scope="col" { "difference" } } }
                    tbody {
                        @for split in list(told, "/splits") {
                            tr {
                                th scope="row" { (text(split, "/name").unwrap_or_default()) }
                                td.number { (thousands(count(split, "/from").unwrap_or_default())) }
                                td.number { (thousands(count(split, "/to").unwrap_or_default())) }
                                td.number { (signed(split["difference"].as_i64().unwrap_or_default())) }
                            }
                        }
                    }
                }
            }))
        }
    }
}

fn signed(difference: i64) -> String {
    let sign = match difference {
        0 => "",
        1.. => "+",
        _ => "−",
    };
    format!("{sign}{}", thousands(difference.unsigned_abs()))
}

fn columns(told: &Value) -> Markup {
    let (added, removed, changed) =
        (list(told, "/columns/added"), list(told, "/columns/removed"), list(told, "/columns/changed"));
    let same = count(told, "/columns/same").unwrap_or_default();
    html! {
        section aria-labelledby="columns-title" {
            h2 #columns-title { "Columns" }
            @if same > 0 { p { (counted(same, "column means", "columns mean")) " the same in both versions." } }
            @for (all, words) in [(added, "New"), (removed, "No longer there")] {
                @if !all.is_empty() {
                    h3 { (words) }
                    ul { @for column in all { li { code { (text(column, "/name").unwrap_or_default()) } ", " (text(column, "/title").unwrap_or_default()) } } }
                }
            }
            @for column in changed {
                h3 { (text(column, "/title").unwrap_or_default()) " " code { (text(column, "/name").unwrap_or_default()) } }
                ul {
                    @for what in list(column, "/what") {
                        li { (text(what, "/name").unwrap_or_default()) ": " (shown(&what["from"])) " became " (shown(&what["to"])) }
                    }
                }
            }
        }
    }
}

/// A value of a document in a sentence.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::String(text) => format!("“{text}”"),
        Value::Number(number) => number.as_f64().map_or_else(|| number.to_string(), |number| rounded(number, 4)),
        other => other.to_string(),
    }
}

fn statistics(told: &Value) -> Markup {
    let all = list(told, "/statistics");
    html! {
        section aria-labelledby="statistics-title" {
            h2 #statistics-title { "Values" }
            @if all.is_empty() { p { "No column can be compared." } }
            @else {
                p { "The share of people with each value, in all parts together." }
                ul.legend aria-label="Marks in the charts" {
                    li { (swatch(0)) "older version" }
                    li { (swatch(1)) "newer version" }
                }
                div.columns { @for (at, column) in all.iter().enumerate() { (column_card(at, column)) } }
            }
        }
    }
}

fn column_card(at: usize, column: &Value) -> Markup {
    let title = text(column, "/title").or_else(|| text(column, "/name")).unwrap_or("(no name)");
    let bins = list(column, "/bins");
    let labels: Vec<&str> =
        bins.iter().map(|bin| super::statistics::shown(text(bin, "/label").unwrap_or("(no label)"))).collect();
    let shares = |side: &str| bins.iter().map(|bin| bin[side].as_f64()).collect::<Vec<_>>();
    let (older, newer) = (shares("from"), shares("to"));
    let drawn = labels.len().min(BARS);
    let id = format!("difference-{at}");
    let description = format!(
        "Share of people per value of {title}, in the older and the newer version. The numbers are in the table below."
    );
    let words = Words { id: &id, title, description: &description };
    let in_words = |share: Option<f64>| share.map_or_else(|| "hidden".to_owned(), percent);
    html! {
        article.column {
            h3 { (title) }
            p.name { code { (text(column, "/name").unwrap_or_default()) } }
            @if column["comparable"] != true {
                p.note { "Its bins differ between the versions, so only middles are compared." }
            } @else if !labels.is_empty() {
                (categories(&words, &labels[..drawn], &[older[..drawn].to_vec(), newer[..drawn].to_vec()]))
            }
            @match number(column, "/total_variation_distance") {
                Some(0.0) => { p { "No difference." } }
                Some(distance) => { p { (rounded(distance * 100.0, 1)) " % of people would need another value to make the versions alike." } }
                None => {}
            }
            @for measure in ["median", "mean"] {
                @let all = list(column, &format!("/{measure}"));
                @if !all.is_empty() {
                    ul.middles {
                        @for one in all {
                            li {
                                (text(one, "/split").unwrap_or_default()) ": " (measure) " "
                                (number(one, "/from").map(|value| rounded(value, 2)).unwrap_or_default()) " became "
                                (number(one, "/to").map(|value| rounded(value, 2)).unwrap_or_default())
                            }
                        }
                    }
                }
            }
            @if !labels.is_empty() {
                details {
                    summary { "Numbers of " (title) }
                    (wide(&format!("Numbers of {title}"), &html! {
                        table {
                            caption { "Share of people per value of " (title) }
                            thead { tr { th scope="col" { "Value" } th.number scope="col" { "older" } th.number scope="col" { "newer" } } }
                            tbody {
                                @for (at, label) in labels.iter().enumerate() {
                                    tr { th scope="row" { (label) } td.number { (in_words(older[at])) } td.number { (in_words(newer[at])) } }
                                }
                            }
                        }
                    }))
                }
            }
        }
    }
}

/// Named values that differ.
fn lines(name: &str, title: &str, same: &str, told: &Value) -> Markup {
    let all = told.get(name).and_then(Value::as_array).map_or(&[] as &[Value], Vec::as_slice);
    let id = format!("{name}-title");
    html! {
        section aria-labelledby=(id) {
            h2 #(id) { (title) }
            @if all.is_empty() { p { (same) } }
            @else {
                ul { @for line in all { li { (text(line, "/name").unwrap_or_default()) ": " (shown(&line["from"])) " became " (shown(&line["to"])) } } }
            }
        }
    }
}

fn files(told: &Value) -> Markup {
    let names = |pointer: &str| -> Vec<String> {
        list(told, pointer)
            .iter()
            .filter_map(|file| file.as_str().or_else(|| text(file, "/path")).map(str::to_owned))
            .collect()
    };
    let all = [("New", names("/files/added")), ("Gone", names("/files/removed")), ("Changed", names("/files/changed"))];
    html! {
        section aria-labelledby="files-title" {
            h2 #files-title { "Files" }
            dl.facts {
                @for (words, files) in &all {
                    @if !files.is_empty() { dt { (words) } dd { @for (at, file) in files.iter().enumerate() { @if at > 0 { ", " } code { (file) } } } }
                }
                dt { "The same" } dd { (counted(count(told, "/files/same").unwrap_or_default(), "file", "files")) }
            }
        }
    }
}
