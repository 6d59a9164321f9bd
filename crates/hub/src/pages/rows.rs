//! The rows of a split, a page at a time.

use maud::{Markup, html};
use serde_json::{Map, Value};

use super::statistics::{column_title, shown};
use super::words::thousands;
use super::{version_path, wide};
use acequia_custody::Tier;

use crate::facts::Facts;
use crate::{PublishedVersion, admission};

/// Rows of a page.
pub(crate) const PAGE: usize = 50;

/// Rows as they are shown.
pub(crate) struct Shown {
    pub(crate) split: String,
    /// Rows of the split.
    pub(crate) total: u64,
    /// Number of the first row, from 0.
    pub(crate) offset: usize,
    pub(crate) records: Vec<Map<String, Value>>,
}

/// Section: the rows.
pub(super) fn section(rows: Option<&Shown>, version: &PublishedVersion, facts: &Facts) -> Markup {
    let address = |split: &str, offset: usize| {
        let split = crate::http::percent_encoded(split);
        format!("{}/data?split={split}&row={offset}#rows", version_path(version))
    };
    html! {
        section #rows aria-labelledby="rows-title" {
            h2 #rows-title { "Rows" }
            @match rows {
                Some(rows) if !rows.records.is_empty() => {
                    @let end = rows.offset + rows.records.len();
                    nav.pager aria-label="Parts of the data" {
                        @for (split, _) in &version.manifest().splits {
                            a href=(address(split, 0)) aria-current=[(*split == rows.split).then_some("true")] { (split) }
                        }
                    }
                    p { "Rows " (thousands(rows.offset as u64 + 1)) " to " (thousands(end as u64)) " of " (thousands(rows.total)) " in " (rows.split) "." }
                    (wide(&format!("Rows of {}", rows.split), &table(rows, facts)))
                    nav.pager aria-label="Pages of rows" {
                        @if rows.offset > 0 { a rel="prev" href=(address(&rows.split, rows.offset.saturating_sub(PAGE))) { "Earlier rows" } }
                        @if (end as u64) < rows.total { a rel="next" href=(address(&rows.split, end)) { "Later rows" } }
                    }
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

fn table(rows: &Shown, facts: &Facts) -> Markup {
    let columns: Vec<&String> = rows.records.first().map(|row| row.keys().collect()).unwrap_or_default();
    html! {
        table {
            caption { "Rows of " (rows.split) }
            thead { tr { th.number scope="col" { "Row" } @for column in &columns { th scope="col" { (column_title(facts, column)) } } } }
            tbody {
                @for (at, row) in rows.records.iter().enumerate() {
                    tr {
                        th.number scope="row" { (thousands((rows.offset + at) as u64 + 1)) }
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
