//! The risk of being recognised, in plain words and then in numbers.

use maud::{Markup, html};
use serde_json::Value;

use super::statistics::column_title;
use super::wide;
use super::words::{counted, enumerated, one_in, rounded, thousands};
use crate::chart::{Words, categories, crowd, percent};
use crate::facts::{Facts, Kind, count, list, number, text};

/// Attackers of the literature, with what each is supposed to know (El Emam and Dankar 2008, JAMIA 15(5)).
const ATTACKERS: [(&str, &str); 3] = [
    ("prosecutor", "looks for one person, and knows that this person is in the data"),
    ("journalist", "looks for anyone, and does not know who is in the data"),
    ("marketer", "wants to recognise as many as possible, not one in particular"),
];

/// Section: could somebody find me in it?
pub(super) fn section(facts: &Facts) -> Markup {
    let risk = &facts.risk;
    html! {
        section #risk aria-labelledby="risk-title" {
            h2 #risk-title { "Could somebody find me in it?" }
            @if facts.brief.kind == Kind::Synthetic {
                p { "The rows were made by a generator; none of them is a real person's." }
            }
            @if risk.is_null() { p { "The risk of being recognised is not stated for this version." } }
            @else { (report(facts, risk)) }
        }
    }
}

fn report(facts: &Facts, risk: &Value) -> Markup {
    let known: Vec<String> = list(risk, "/quasi_identifiers")
        .iter()
        .filter_map(|entry| text(entry, "/column"))
        .map(|name| column_title(facts, name).to_lowercase())
        .collect();
    html! {
        @match facts.brief.highest_risk {
            Some(highest) => {
                p.statement {
                    "If somebody knew all these facts about you"
                    @if !known.is_empty() { " (" (enumerated(&known)) ")" }
                    ", and that you are in the data, the chance of picking your row is "
                    strong { "at most 1 in " (thousands(one_in(highest))) } "."
                }
                (alike(risk))
                @if let Some(average) = number(risk, "/risk/prosecutor/average").filter(|average| *average > 0.0) {
                    p { "For most people it is smaller: 1 in " (thousands(one_in(average))) " on average. " (smallest(risk)) }
                }
            }
            None => { p { "The highest chance of picking one person's row is not stated." } }
        }
        p { (suppressed(risk)) }
        (sharing(risk))
        (removed(risk))
        (before(risk))
        (attacks(facts, risk))
        h3 { "Under which attacker" }
        @if let Some(attacker) = text(risk, "/attacker") { p { "The limit was set for the " b { (attacker) } "." } }
        (wide("Risk per attacker", &attackers(risk)))
        h3 { "What was made coarser" }
        @if list(risk, "/quasi_identifiers").is_empty() { p { "Not stated." } }
        @else { (wide("Columns made coarser", &coarser(facts, risk))) }
        @if let Some(total) = number(risk, "/loss/total") {
            p { "Detail lost by this over all these columns: " b { (percent(total)) } ", where 0 % keeps every value and 100 % keeps none." }
        }
        @let models = list(risk, "/models");
        @if !models.is_empty() {
            h3 { "Which promises hold" }
            (wide("Privacy models", &models_table(models)))
            (disclosed(facts, models))
        }
        @if let Some(verifier) = text(risk, "/verified_by") { p.note { "Checked by: " (verifier) } }
    }
}

/// The smallest group as people who look the same.
fn alike(risk: &Value) -> Markup {
    let Some(smallest) = count(risk, "/classes/smallest") else { return html! {} };
    let title = format!("{} people who look the same", thousands(smallest));
    let description =
        "The smallest group in the data: to somebody who knows all those facts, these people look the same.";
    html! {
        figure.crowd {
            (crowd(&Words { id: "crowd", title: &title, description }, smallest))
            figcaption.note { "The smallest group: at least " (thousands(smallest)) " people look the same to somebody who knows all those facts." }
        }
    }
}

/// Sizes of groups as the chart puts them together.
const SIZES: [(u64, u64, &str); 6] = [
    (1, 11, "under 12"),
    (12, 19, "12 to 19"),
    (20, 49, "20 to 49"),
    (50, 99, "50 to 99"),
    (100, 199, "100 to 199"),
    (200, u64::MAX, "200 and more"),
];

/// How many people share their facts with how many.
fn sharing(risk: &Value) -> Markup {
    let sizes: Vec<(u64, u64)> = list(risk, "/classes/sizes")
        .iter()
        .filter_map(|entry| {
            let size = count(entry, "/size")?;
            Some((size, size.checked_mul(count(entry, "/classes")?)?))
        })
        .collect();
    let Some(total) =
        sizes.iter().try_fold(0_u64, |sum, (_, people)| sum.checked_add(*people)).filter(|total| *total > 0)
    else {
        return html! {};
    };
    let of = |least: u64, most: u64| -> u64 {
        sizes.iter().filter(|(size, _)| (least..=most).contains(size)).map(|(_, people)| people).sum()
    };
    let rows: Vec<(&str, u64)> = SIZES.iter().map(|(least, most, label)| (*label, of(*least, *most))).collect();
    let rows = &rows[usize::from(rows[0].1 == 0)..];
    let labels: Vec<&str> = rows.iter().map(|(label, _)| *label).collect();
    let shares: Vec<Option<f64>> = rows.iter().map(|(_, people)| Some(*people as f64 / total as f64)).collect();
    let words = Words {
        id: "sharing",
        title: "How many people look alike",
        description: "Share of people by the size of the group that shares all their facts. The numbers are in the table below.",
    };
    html! {
        h3 { "With how many others do people share their facts?" }
        (categories(&words, &labels, &[shares]))
        details {
            summary { "Numbers of people who look alike" }
            (wide("People who look alike", &html! {
                table {
                    caption { "People by the size of their group" }
                    thead { tr { th scope="col" { "People in the group" } th.number scope="col" { "people" } th.number scope="col" { "share" } } }
                    tbody {
                        @for (label, people) in rows {
                            tr { th scope="row" { (label) } td.number { (thousands(*people)) } td.number { (percent(*people as f64 / total as f64)) } }
                        }
                    }
                }
            }))
        }
    }
}

/// Attacks as people call them.
const ATTACKS: [(&str, &str); 5] = [
    ("matching", "find a person's row"),
    ("singling-out", "describe somebody so that only one person fits"),
    ("linkability", "join two halves of a record"),
    ("inference", "guess what a person's row holds"),
    ("downcoding", "undo what was made coarser"),
];

/// What happened when the rows were attacked before they left.
fn attacks(facts: &Facts, risk: &Value) -> Markup {
    let results = list(risk, "/attacks/results");
    if results.is_empty() {
        return html! {};
    }
    let words = |name: &str| {
        ATTACKS.iter().find(|(own, _)| *own == name).map_or_else(|| name.to_owned(), |(_, words)| (*words).to_owned())
    };
    let kinds: Vec<String> = ATTACKS
        .iter()
        .filter(|(name, _)| results.iter().any(|attack| text(attack, "/attack") == Some(*name)))
        .map(|(_, words)| (*words).to_owned())
        .collect();
    let share = |attack: &Value, pointer: &str| number(attack, pointer).map_or_else(|| "–".to_owned(), percent);
    let limited = results.iter().filter(|attack| number(attack, "/limit").is_some()).count();
    html! {
        h3 { "What happened when we attacked it ourselves" }
        p {
            "Before the data left, " (counted(results.len() as u64, "attack was", "attacks were")) " run on the very rows that are published"
            @if !kinds.is_empty() { ": to " (enumerated(&kinds)) }
            ". " (counted(limited as u64, "of them has a limit", "of them have a limit")) " and stayed within it, or nothing would have left; the others show what more knowledge would do."
        }
        (beyond(facts, results))
        details {
            summary { "Results of every attack" }
            (wide("Attacks", &html! {
                table {
                    caption { "Attacks on the released rows" }
                    thead {
                        tr {
                            th scope="col" { "Attempt to" }
                            th.number scope="col" { "attempts" }
                            th.number scope="col" { "successful" }
                            th.number scope="col" { "without the person's row" }
                            th.number scope="col" { "limit" }
                        }
                    }
                    tbody {
                        @for attack in results {
                            tr {
                                th scope="row" {
                                    (text(attack, "/attack").map_or_else(|| "not stated".to_owned(), words))
                                    @if let Some(variant) = text(attack, "/variant") { " (" (variant) ")" }
                                }
                                td.number { (count(attack, "/attempts").map_or_else(|| "–".to_owned(), thousands)) }
                                td.number { (share(attack, "/rate")) }
                                td.number { (share(attack, "/control/rate")) }
                                td.number { (share(attack, "/limit")) }
                            }
                        }
                    }
                }
            }))
            ul { @for conclusion in results.iter().filter_map(|attack| text(attack, "/conclusion")) { li { (conclusion) } } }
        }
    }
}

/// Who knows more than the policy assumes: said openly, for patients decide by it.
fn beyond(facts: &Facts, results: &[Value]) -> Markup {
    let more = |attack: &Value| {
        let column = text(attack, "/variant")?.strip_prefix("prosecutor who also knows ")?;
        let rate = number(attack, "/rate").filter(|_| text(attack, "/attack") == Some("matching"))?;
        Some(format!("{} in {} of cases", column_title(facts, column).to_lowercase(), percent(rate)))
    };
    let known: Vec<String> = results.iter().filter_map(more).collect();
    html! {
        @if !known.is_empty() {
            p.notice {
                b { "What the limit does not cover. " }
                "Somebody who knows all those facts about you and one more thing finds your row more often: with "
                (enumerated(&known)) "."
            }
        }
    }
}

fn smallest(risk: &Value) -> Markup {
    html! {
        @if let Some(smallest) = count(risk, "/classes/smallest") {
            "Nobody shares these facts with fewer than " (thousands(smallest.saturating_sub(1))) " others in the data."
        }
    }
}

fn suppressed(risk: &Value) -> Markup {
    let rows = |name: &str| count(risk, &format!("/rows/{name}"));
    html! {
        @match (rows("input"), rows("suppressed")) {
            (Some(input), Some(suppressed)) => {
                @if suppressed == 0 { "Nobody had to be left out for being too unusual." }
                @else {
                    (thousands(suppressed)) " of " (thousands(input)) " people in the cohort were left out because too few others shared their facts."
                }
            }
            _ => { "How many people were left out is not stated." }
        }
    }
}

fn removed(risk: &Value) -> Markup {
    let removed: Vec<String> =
        list(risk, "/removed_columns").iter().filter_map(|name| name.as_str().map(str::to_owned)).collect();
    html! { @if !removed.is_empty() { p { "Columns removed altogether: " (enumerated(&removed)) "." } } }
}

/// What the chance would be in the table with every detail.
fn before(risk: &Value) -> Markup {
    let average = number(risk, "/before/average").or_else(|| number(risk, "/before/risk/prosecutor/average"));
    html! {
        @if let Some(average) = average {
            p { "With every detail kept, the chance would have been " (percent(average)) " on average." }
        }
    }
}

fn attackers(risk: &Value) -> Markup {
    let shown = |value: Option<f64>| match value {
        Some(value) => percent(value),
        None => "not stated".to_owned(),
    };
    html! {
        table {
            caption { "Chance of recognising a person" }
            thead {
                tr {
                    th scope="col" { "Attacker" }
                    th.number scope="col" { "highest" }
                    th.number scope="col" { "on average" }
                    th.number scope="col" { "share above the limit" }
                }
            }
            tbody {
                @for (name, who) in ATTACKERS {
                    @let of = |measure: &str| number(risk, &format!("/risk/{name}/{measure}"));
                    tr {
                        th scope="row" { b { (name) } ": " (who) }
                        td.number { (shown(of("maximum"))) }
                        td.number { (shown(of("average"))) }
                        td.number { (shown(of("at_risk_share"))) }
                    }
                }
            }
        }
        @for (name, _) in ATTACKERS {
            @if let Some(assumption) = text(risk, &format!("/risk/{name}/assumption")) {
                p.note { "Assumed of the " (name) ": " (assumption) }
            }
        }
    }
}

fn coarser(facts: &Facts, risk: &Value) -> Markup {
    let how = |name: &str| {
        let entry = list(&facts.dictionary, "/columns").iter().find(|entry| text(entry, "/name") == Some(name));
        entry.and_then(|entry| text(entry, "/generalisation"))
    };
    html! {
        table {
            caption { "Facts that others may know, and how they were made coarser" }
            thead {
                tr {
                    th scope="col" { "Fact" }
                    th scope="col" { "Now in the data" }
                    th.number scope="col" { "level" }
                    th.number scope="col" { "detail lost" }
                }
            }
            tbody {
                @for entry in list(risk, "/quasi_identifiers") {
                    @let name = text(entry, "/column").unwrap_or("(no name)");
                    tr {
                        th scope="row" { (column_title(facts, name)) }
                        td { (how(name).or_else(|| text(entry, "/words")).or_else(|| text(entry, "/hierarchy")).unwrap_or("not stated")) }
                        td.number {
                            @match (count(entry, "/level"), count(entry, "/levels")) {
                                // Row by row: the words say how much is at which.
                                (Some(level), Some(levels)) => {
                                    @if let Some(lowest) = count(entry, "/lowest_level").filter(|lowest| *lowest < level) { (lowest) " to " }
                                    (level) " of " (levels)
                                }
                                (Some(level), None) => { (level) }
                                _ => { "not stated" }
                            }
                        }
                        td.number { (number(entry, "/loss").map_or_else(|| "not stated".to_owned(), percent)) }
                    }
                }
            }
        }
    }
}

/// What can be learned without picking a row: a group in which everybody has the same sensitive value (the homogeneity
/// attack of Machanavajjhala et al. 2007, TKDD 1(1), section 2.1).
fn disclosed(facts: &Facts, models: &[Value]) -> Markup {
    let alike = |model: &Value| {
        let column = text(model, "/name")?.strip_prefix("distinct l-diversity of ")?;
        (number(model, "/measured")? < 2.0).then(|| column_title(facts, column).to_lowercase())
    };
    let columns: Vec<String> = models.iter().filter_map(alike).collect();
    html! {
        @if !columns.is_empty() {
            p.notice {
                "What these promises do not cover: in at least one group of people who share all those facts, everybody has the same value of "
                (enumerated(&columns)) ". Whoever knows that you are in that group learns that value, without knowing which row is yours."
            }
        }
    }
}

fn models_table(models: &[Value]) -> Markup {
    let shown = |value: Option<&Value>| match value {
        Some(Value::Number(number)) => rounded(number.as_f64().unwrap_or_default(), 4),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Bool(held)) => if *held { "yes" } else { "no" }.to_owned(),
        _ => "not stated".to_owned(),
    };
    html! {
        table {
            caption { "Privacy models asked for, and what was measured" }
            thead { tr { th scope="col" { "Model" } th.number scope="col" { "asked" } th.number scope="col" { "measured" } th scope="col" { "held" } } }
            tbody {
                @for model in models {
                    tr {
                        th scope="row" { (text(model, "/name").unwrap_or("(no name)")) }
                        // Where a model has several parameters, its name tells them.
                        @let several = text(model, "/name").is_some_and(|name| name.contains('('));
                        @let none = if several { "in its name" } else { "measured only" };
                        td.number { (model.get("parameter").filter(|p| !p.is_null()).map_or_else(|| none.to_owned(), |p| shown(Some(p)))) }
                        td.number { (shown(model.get("measured"))) }
                        td { @if model.get("parameter").is_some_and(|p| !p.is_null()) { (shown(model.get("held"))) } @else { "–" } }
                    }
                }
            }
        }
    }
}
