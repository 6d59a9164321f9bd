//! Who is in the data compared with a reference population, and who is not.

use maud::{Markup, html};
use serde_json::Value;

use super::statistics::{column_title, is_left_out, shown};
use super::wide;
use super::words::{enumerated, rounded, thousands};
use crate::chart::{Compared, Words, against_reference, percent, reference_swatch, swatch};
use crate::facts::{Facts, count, list, number, text};

/// Section: who is in it, and who is not.
pub(super) fn section(facts: &Facts) -> Markup {
    let report = &facts.diversity;
    html! {
        section #diversity aria-labelledby="diversity-title" {
            h2 #diversity-title { "Who is in it, and who is not" }
            @if report.is_null() { p { "Not stated for this version." } }
            @else {
                p {
                    "What holds for these people may not hold for others. "
                    @match text(report, "/population") {
                        Some(population) => { "Compared with: " (population.trim_end_matches('.')) "." }
                        None => { "There is no reference population to compare with." }
                    }
                }
                @if let Some(source) = text(report, "/source") { p.note { "Source of the comparison: " (source.trim_end_matches('.')) "." } }
                @let dimensions = list(report, "/dimensions");
                @if !dimensions.is_empty() {
                    ul.legend aria-label="Marks in the charts" {
                        li { (swatch(0)) "share in the data" }
                        li { (reference_swatch()) "share in the reference" }
                    }
                    div.columns { @for (at, dimension) in dimensions.iter().enumerate() { (card(at, dimension)) } }
                }
                (intersections(facts, report))
                (missingness(facts, report))
                (consent(report))
                (not_recorded(report))
            }
        }
    }
}

fn card(at: usize, dimension: &Value) -> Markup {
    let title = text(dimension, "/title").or_else(|| text(dimension, "/name")).unwrap_or("(no name)");
    let cells = list(dimension, "/cells");
    let labels: Vec<&str> = cells.iter().filter_map(|cell| text(cell, "/label")).collect();
    if is_left_out(&labels) {
        return html! {
            article.column { h3 { (title) } p { "Left out of the data to protect people, so its groups cannot be compared." } }
        };
    }
    let rows: Vec<Compared<'_>> = cells
        .iter()
        .map(|cell| Compared {
            label: shown(text(cell, "/label").unwrap_or("(no label)")),
            share: number(cell, "/share"),
            interval: number(cell, "/low").zip(number(cell, "/high")),
            reference: number(cell, "/reference_share"),
        })
        .collect();
    let id = format!("diversity-{at}");
    let description =
        format!("Share of people per group of {title}, with the share in the reference population as a stroke.");
    html! {
        article.column {
            h3 { (title) }
            @if let Some(note) = text(dimension, "/note") { p.note { (note) } }
            @if !rows.is_empty() {
                (against_reference(&Words { id: &id, title, description: &description }, &rows))
            }
            @if let Some(effective) = number(dimension, "/effective_number") {
                p { "As varied as " b { (rounded(effective, 1)) } " equally large groups." }
            }
            @if let Some(distance) = number(dimension, "/total_variation_distance") {
                p { b { (percent(distance)) } " of people would have to be in another group for the shares to match the reference." }
            }
            @if let Some(size) = count(dimension, "/weighting/effective_size") {
                p { "Weighted to match the reference, they tell as much as " b { (thousands(size)) } " people." }
            }
            @let gaps = list(dimension, "/gaps");
            @if !gaps.is_empty() {
                p { "Missing most, with the people who would have to join for four fifths of the share in the reference:" }
                ul {
                    @for gap in gaps.iter().take(5) {
                        li {
                            (text(gap, "/label").unwrap_or("(no label)")) ": "
                            (count(gap, "/people_needed").map_or_else(|| "unknown".to_owned(), thousands))
                        }
                    }
                }
            }
            details {
                summary { "Groups of " (title) }
                (wide(&format!("Groups of {title}"), &numbers(title, cells)))
            }
        }
    }
}

fn numbers(title: &str, cells: &[Value]) -> Markup {
    let share = |cell: &Value, pointer: &str| number(cell, pointer).map(percent);
    html! {
        table {
            caption { "People per group of " (title) }
            thead {
                tr {
                    th scope="col" { "Group" }
                    th.number scope="col" { "people" }
                    th.number scope="col" { "share" }
                    th.number scope="col" { "95 % interval" }
                    th.number scope="col" { "reference" }
                    th.number scope="col" { "times the reference" }
                }
            }
            tbody {
                @for cell in cells {
                    tr {
                        th scope="row" { (shown(text(cell, "/label").unwrap_or("(no label)"))) }
                        td.number { (count(cell, "/count").map_or_else(|| "hidden".to_owned(), thousands)) }
                        td.number { (share(cell, "/share").unwrap_or_else(|| "hidden".to_owned())) }
                        td.number {
                            @match (share(cell, "/low"), share(cell, "/high")) {
                                (Some(low), Some(high)) => { (low) " to " (high) }
                                _ => { "–" }
                            }
                        }
                        td.number { (share(cell, "/reference_share").unwrap_or_else(|| "–".to_owned())) }
                        td.number { (number(cell, "/ratio").map_or_else(|| "–".to_owned(), |ratio| rounded(ratio, 2))) }
                    }
                }
            }
        }
    }
}

fn intersections(facts: &Facts, report: &Value) -> Markup {
    let found = list(report, "/intersectional");
    let names = |entry: &Value| -> String {
        let titles: Vec<String> = list(entry, "/columns")
            .iter()
            .filter_map(Value::as_str)
            .map(|name| column_title(facts, name).to_lowercase())
            .collect();
        enumerated(&titles)
    };
    html! {
        @if !found.is_empty() {
            h3 { "Combinations" }
            ul {
                @for entry in found {
                    li {
                        (names(entry)) ": "
                        @if (count(entry, "/empty"), count(entry, "/small")) == (Some(0), Some(0)) {
                            "every combination that could occur has enough people to be counted openly"
                        } @else if let (Some(empty), Some(possible)) = (count(entry, "/empty"), count(entry, "/possible")) {
                            (thousands(empty)) " of " (thousands(possible)) " combinations have nobody"
                        }
                        @if let Some(small) = count(entry, "/small").filter(|small| *small > 0) { "; " (thousands(small)) " have too few people to be counted openly" }
                        @if let Some(smallest) = count(entry, "/smallest") { "; the smallest of the others has " (thousands(smallest)) " people" }
                        "."
                    }
                }
            }
        }
    }
}

fn missingness(facts: &Facts, report: &Value) -> Markup {
    let missing: Vec<&Value> =
        list(report, "/missingness").iter().filter(|entry| count(entry, "/count") != Some(0)).collect();
    html! {
        h3 { "Values that are not known" }
        @if list(report, "/missingness").is_empty() { p { "Not stated." } }
        @else if missing.is_empty() { p { "None in the source. What was left out to protect people stands above as " code { "*" } ", where there is any." } }
        @else {
            ul {
                @for entry in missing {
                    li {
                        (column_title(facts, text(entry, "/column").unwrap_or("(no name)"))) ": "
                        @match (count(entry, "/count"), number(entry, "/share")) {
                            (Some(count), Some(share)) => { (thousands(count)) " people (" (percent(share)) ")" }
                            (Some(count), None) => { (thousands(count)) " people" }
                            _ => { "hidden, as it is a small number" }
                        }
                    }
                }
            }
        }
    }
}

fn consent(report: &Value) -> Markup {
    let outcomes = list(report, "/consent/outcomes");
    html! {
        h3 { "Who agreed" }
        @if let Some(statement) = text(report, "/consent/statement") { p { (statement) } }
        @if outcomes.is_empty() {
            @if text(report, "/consent/statement").is_none() { p { "Not stated." } }
        } @else {
            (wide("Who agreed", &html! {
                table {
                    caption { "Outcomes of consent" @if let Some(counted) = text(report, "/consent/counted") { ": " (counted) } }
                    thead { tr { th scope="col" { "Outcome" } th.number scope="col" { "number" } } }
                    tbody {
                        @for outcome in outcomes {
                            tr {
                                th scope="row" { (text(outcome, "/title").or_else(|| text(outcome, "/name")).unwrap_or("(no name)")) }
                                td.number { (count(outcome, "/count").map_or_else(|| "hidden".to_owned(), thousands)) }
                            }
                        }
                        @if let Some(total) = count(report, "/consent/total") {
                            tr { th scope="row" { "together" } td.number { (thousands(total)) } }
                        }
                    }
                }
            }))
        }
    }
}

fn not_recorded(report: &Value) -> Markup {
    let facts = list(report, "/not_recorded");
    html! {
        @if !facts.is_empty() {
            h3 { "What nobody wrote down" }
            ul {
                @for fact in facts {
                    @match fact.as_str() {
                        Some(name) => { li { (name) } }
                        None => {
                            li {
                                (text(fact, "/title").or_else(|| text(fact, "/name")).unwrap_or("(no name)"))
                                @if let Some(reason) = text(fact, "/reason") { ": " (reason) }
                            }
                        }
                    }
                }
            }
        }
    }
}
