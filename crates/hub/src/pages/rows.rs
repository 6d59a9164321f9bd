//! The rows of a split, a page at a time.

use maud::{Markup, html};
use serde_json::{Map, Value};

use super::statistics::{column_title, shown};
use super::words::{counted, thousands};
use super::{version_path, wide};
use acequia_custody::Tier;

use crate::facts::{Facts, list, text};
use crate::http::percent_encoded;
use crate::{PublishedVersion, admission};

/// Rows of a page.
pub(crate) const PAGE: usize = 50;

/// Rows as they are shown.
pub(crate) struct Shown {
    pub(crate) split: String,
    /// Rows of the split.
    pub(crate) total: u64,
    /// Number of the first row among those that are shown page by page, from 0.
    pub(crate) offset: usize,
    /// Rows with their places in the split.
    pub(crate) records: Vec<(usize, Map<String, Value>)>,
    /// What chose them.
    pub(crate) chosen: Chosen,
}

/// What was asked of the rows.
#[derive(Default)]
pub(crate) struct Chosen {
    /// Words that all occur in the texts of a row.
    pub(crate) words: String,
    /// A condition, as `/filter` of the viewer takes it.
    pub(crate) condition: String,
    /// How many rows were chosen, and whether only the first million was looked at; or what is wrong with the condition.
    pub(crate) found: Option<Result<(usize, bool), String>>,
}

/// Section: the rows.
pub(super) fn section(rows: Option<&Shown>, version: &PublishedVersion, facts: &Facts) -> Markup {
    let address = |split: &str, offset: usize| {
        let split = percent_encoded(split);
        let mut address = format!("{}/data?split={split}&row={offset}", version_path(version));
        if let Some(chosen) = rows.map(|rows| &rows.chosen) {
            for (field, value) in [("q", &chosen.words), ("where", &chosen.condition)] {
                if !value.is_empty() {
                    address.push_str(&format!("&{field}={}", percent_encoded(value)));
                }
            }
        }
        address + "#rows"
    };
    html! {
        section #rows aria-labelledby="rows-title" {
            h2 #rows-title { "Rows" }
            @if let Some(rows) = rows { (form(rows, version, facts)) }
            @match rows {
                Some(rows) if !rows.records.is_empty() => {
                    @let end = rows.offset + rows.records.len();
                    @let shown = match &rows.chosen.found { Some(Ok((found, _))) => *found, _ => usize::try_from(rows.total).unwrap_or(usize::MAX) };
                    nav.pager aria-label="Parts of the data" {
                        @for (split, _) in &version.manifest().splits {
                            a href=(address(split, 0)) aria-current=[(*split == rows.split).then_some("true")] { (split) }
                        }
                    }
                    @match &rows.chosen.found {
                        Some(Ok((found, partial))) => {
                            p role="status" {
                                "Rows " (thousands(rows.offset as u64 + 1)) " to " (thousands(end as u64)) " of " (counted(*found as u64, "row", "rows")) " that fit, of " (thousands(rows.total)) " in " (rows.split) "."
                                @if *partial { " Only the first million rows were looked at." }
                            }
                        }
                        _ => { p { "Rows " (thousands(rows.offset as u64 + 1)) " to " (thousands(end as u64)) " of " (thousands(rows.total)) " in " (rows.split) "." } }
                    }
                    (wide(&format!("Rows of {}", rows.split), &table(rows, facts)))
                    nav.pager aria-label="Pages of rows" {
                        @if rows.offset > 0 { a rel="prev" href=(address(&rows.split, rows.offset.saturating_sub(PAGE))) { "Earlier rows" } }
                        @if end < shown { a rel="next" href=(address(&rows.split, end)) { "Later rows" } }
                    }
                }
                Some(Shown { chosen: Chosen { found: Some(Err(wrong)), .. }, .. }) => { p.notice role="alert" { (wrong) } }
                Some(rows) if matches!(rows.chosen.found, Some(Ok((0, _)))) => {
                    p role="status" { "No row in " (rows.split) " fits. " a href=(format!("{}/data#rows", version_path(version))) { "Show all rows" } }
                }
                Some(rows) if rows.total > 0 && rows.offset as u64 >= rows.total => {
                    p { "There are " (thousands(rows.total)) " rows in " (rows.split) ". " a href=(address(&rows.split, 0)) { "Show the first" } }
                }
                None if version.tier() != Tier::Open => {
                    p { "Those who gave these rows put conditions on their use. They are for " (admission::in_words(version.tier())) ". "
                        a href=(admission::page(version)) { "How to get access" } }
                }
                _ => { p { "The rows cannot be shown here. They can be downloaded." } }
            }
        }
    }
}

/// Words and a condition that choose rows. It works without scripts: the answer is the page again.
fn form(rows: &Shown, version: &PublishedVersion, facts: &Facts) -> Markup {
    let names: Vec<&str> = list(&facts.dictionary, "/columns").iter().filter_map(|one| text(one, "/name")).collect();
    let example = names.first().map_or(String::new(), |name| format!("such as \"{name}\" IS NOT NULL"));
    html! {
        form.search action=(format!("{}/data#rows", version_path(version))) method="get" {
            input type="hidden" name="split" value=(rows.split);
            label for="rows-q" { "Words in the texts of a row" }
            div.row { input #rows-q type="search" name="q" value=(rows.chosen.words) maxlength="200" autocomplete="off"; }
            label for="rows-where" { "Or a condition" }
            div.row {
                input #rows-where type="text" name="where" value=(rows.chosen.condition) maxlength="1000" autocomplete="off" spellcheck="false" aria-describedby="rows-how";
                button type="submit" { "Show rows" }
            }
            p.note #rows-how {
                "Columns stand in double quotes, texts in single ones: =, <>, <, <=, >, >=, IS NULL, AND, OR, NOT, brackets"
                @if !example.is_empty() { "; " (example) } ". Columns: " (names.join(", ")) "."
            }
        }
    }
}

fn table(rows: &Shown, facts: &Facts) -> Markup {
    let columns: Vec<&String> = rows.records.first().map(|(_, row)| row.keys().collect()).unwrap_or_default();
    html! {
        table {
            caption { "Rows of " (rows.split) }
            thead { tr { th.number scope="col" { "Row" } @for column in &columns { th scope="col" { (column_title(facts, column)) } } } }
            tbody {
                @for (at, row) in &rows.records {
                    tr {
                        th.number scope="row" { (thousands(*at as u64 + 1)) }
                        @for column in &columns { (cell(row.get(*column).unwrap_or(&Value::Null))) }
                    }
                }
            }
        }
    }
}

fn cell(value: &Value) -> Markup {
    html! {
        @match value {
            Value::Null => { td.note { "not known" } }
            Value::Number(number) => { td.number { (number) } }
            Value::Bool(true) => { td { "yes" } }
            Value::Bool(false) => { td { "no" } }
            Value::String(text) => { td { (shown(text)) } }
            other => { td { (other) } }
        }
    }
}
