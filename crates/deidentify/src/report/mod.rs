//! The risk report as one page of HTML: for reviewers, ethics boards and authorities.
//!
//! Headings follow ISO/IEC 27559:2022 (context; data; identifiability; governance); the attacks are read by the three
//! criteria of the Article 29 Working Party's opinion 05/2014. The page needs no script and no other file, reads on a
//! phone, aloud and on paper. The same numbers give the same bytes.

mod chart;
mod words;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::attack::{Attack, AttackKind, Attacks, Extent};
use crate::file::TableRisk;
use crate::policy::{Attacker, Recoding};
use crate::proof::{ClassCounts, ColumnUtility, Receipt, StatedRisk};
use chart::{Bar, Rate, Words, bars, intervals, swatch};
use words::{enumerated, one_in, percent, rounded, thousands};

const STYLE: &str = include_str!("style.css");

/// Class sizes as the charts put them together: smallest, largest, words.
const SIZES: [(u64, u64, &str); 8] = [
    (1, 1, "1, alone"),
    (2, 2, "2"),
    (3, 4, "3 to 4"),
    (5, 11, "5 to 11"),
    (12, 24, "12 to 24"),
    (25, 49, "25 to 49"),
    (50, 99, "50 to 99"),
    (100, u64::MAX, "100 and more"),
];

/// The report as an HTML document.
///
/// `before`: the table as it came, for the trustee's own eyes; leave it out of whatever is published, for it tells how many
/// people stand alone. `receipt`: the released table. At least one of them makes sense; a report of neither is empty.
pub fn risk_report(title: &str, before: Option<&TableRisk>, receipt: Option<&Receipt>) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · Risk report" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    header {
                        h1 { "Risk report: " (title) }
                        p.lead { "How easily persons could be recognised, what was done about it, and what it cost. Structure after ISO/IEC 27559:2022." }
                        (verdict(before, receipt))
                    }
                    (context(before, receipt))
                    (data(before, receipt))
                    (identifiability(before, receipt))
                    @if let Some(receipt) = receipt { (utility(receipt)) }
                    (governance(receipt))
                }
            }
        }
    };
    page.into_string()
}

fn verdict(before: Option<&TableRisk>, receipt: Option<&Receipt>) -> Markup {
    html! {
        @match (receipt, before) {
            (Some(receipt), _) if receipt.rows.released > 0 => {
                p.statement {
                    "Whoever knows every quasi-identifier of a person, and that the person is in the data, finds the right row with a chance of at most "
                    strong { (one_in(receipt.risk.prosecutor.risk.maximum)) }
                    ". All attacks that were run stayed within their limits."
                    @if receipt.attacks.is_none() { " (No attack was run.)" }
                }
            }
            (Some(_), _) => { p.statement { "No row is released." } }
            (None, Some(before)) => {
                p.statement {
                    (percent(before.unique_share)) " of the rows are alone with their quasi-identifiers. "
                    (percent(before.risk.prosecutor.risk.at_risk_share)) " are recognised with a chance above the threshold of " (percent(before.threshold)) "."
                }
            }
            (None, None) => {}
        }
    }
}

fn context(before: Option<&TableRisk>, receipt: Option<&Receipt>) -> Markup {
    let threshold = receipt.map(|receipt| receipt.policy.maximum_risk).or(before.map(|before| before.threshold));
    html! {
        section aria-labelledby="context" {
            h2 #context { "1 Context" }
            p { "An open release has no control over who reads it. So an attempt to recognise somebody is taken to be certain, and only what the data allow counts." }
            @if let Some(receipt) = receipt {
                p { "The release is written for the " b { (attacker(receipt.attacker)) } "; the limit holds for the prosecutor, the strongest of the three." }
            }
            h3 { "Attackers" }
            ul {
                li { b { "Prosecutor: " } "looks for one person, and knows that this person is in the data." }
                li { b { "Journalist: " } "looks for anyone, and does not know who is in the data." }
                li { b { "Marketer: " } "wants to recognise as many as possible, no one in particular." }
            }
            @if let Some(threshold) = threshold {
                h3 { "Threshold and how it is read" }
                p {
                    "The highest chance of recognition that is allowed is " b { (rounded(threshold)) } ". " (reading(threshold))
                    @if let Some(receipt) = receipt {
                        " The policy asks for k = " (receipt.policy.k) "; the stricter of the two decides."
                    }
                }
            }
        }
    }
}

/// How a threshold becomes a class size.
fn reading(threshold: f64) -> Markup {
    if threshold <= 0.0 {
        return html! {};
    }
    let mut size: u64 = 1;
    while size < 1_000_000 && 1.0 / crate::receipt::real(size) > threshold {
        size += 1;
    }
    html! {
        "It is read strictly: a class must have at least " b { (size) } " rows, for 1/" (size) " = " (rounded(1.0 / crate::receipt::real(size)))
        @if size > 1 {
            " does not exceed it, while 1/" (size - 1) " = " (rounded(1.0 / crate::receipt::real(size - 1))) " does."
        } @else { " does not exceed it." }
    }
}

fn attacker(attacker: Attacker) -> &'static str {
    match attacker {
        Attacker::Prosecutor => "prosecutor",
        Attacker::Journalist => "journalist",
        Attacker::Marketer => "marketer",
    }
}

fn data(before: Option<&TableRisk>, receipt: Option<&Receipt>) -> Markup {
    html! {
        section aria-labelledby="data" {
            h2 #data { "2 Data" }
            @if let Some(receipt) = receipt {
                p {
                    (thousands(receipt.rows.input)) " rows came in; " (thousands(receipt.rows.released)) " are released and "
                    (thousands(receipt.rows.suppressed)) " were left out because too few others are like them (at most "
                    (percent(receipt.policy.suppression_limit)) " may be)."
                }
                p {
                    @match receipt.policy.recoding {
                        Recoding::Global => { "All rows are recoded alike." }
                        Recoding::Local => { "Each row is recoded as little as its class allows, over fixed hierarchies." }
                    }
                }
                (wide("Quasi-identifiers", &html! {
                    table {
                        caption { "Quasi-identifiers: what others may know of a person, and what is released of it" }
                        thead { tr { th scope="col" { "Column" } th scope="col" { "Released" } th scope="col" { "Hierarchy" } th.number scope="col" { "Level" } } }
                        tbody {
                            @for column in &receipt.quasi_identifiers {
                                tr {
                                    th scope="row" { (column.column) }
                                    td { (column.words) }
                                    td { (column.hierarchy) }
                                    td.number {
                                        @if column.lowest_level < column.level { (column.lowest_level) " to " }
                                        (column.level) " of " (column.levels)
                                    }
                                }
                            }
                        }
                    }
                }))
                @if let Some(sample) = &receipt.sample {
                    p {
                        "A sample: " (thousands(sample.drawn)) " of " (thousands(sample.rows)) " rows were drawn, each with a chance of "
                        (percent(sample.share)) ". Who was drawn is kept by " (sample.keyed_by) "."
                    }
                }
                @if !receipt.transformations.is_empty() { (transformations(receipt)) }
                @if !receipt.removed_columns.is_empty() {
                    p { "Removed altogether: " (enumerated(&receipt.removed_columns.iter().map(String::as_str).collect::<Vec<_>>())) "." }
                }
            } @else if let Some(before) = before {
                p {
                    (thousands(before.rows)) " rows. Taken to be known to an attacker: "
                    (enumerated(&before.quasi_identifiers.iter().map(String::as_str).collect::<Vec<_>>())) "."
                }
            }
        }
    }
}

fn transformations(receipt: &Receipt) -> Markup {
    wide(
        "Other transformations",
        &html! {
            table {
                caption { "Other transformations, and the share of the variance of numbers, or of the values, that is left" }
                thead { tr { th scope="col" { "Columns" } th scope="col" { "What was done" } th.number scope="col" { "Left" } } }
                tbody {
                    @for step in &receipt.transformations {
                        tr {
                            th scope="row" { (enumerated(&step.columns.iter().map(String::as_str).collect::<Vec<_>>())) }
                            td { (step.words) }
                            td.number { (percent(step.kept)) }
                        }
                    }
                }
            }
        },
    )
}

fn identifiability(before: Option<&TableRisk>, receipt: Option<&Receipt>) -> Markup {
    html! {
        section aria-labelledby="identifiability" {
            h2 #identifiability { "3 Identifiability" }
            h3 { "3.1 Maximum and average, sample and population" }
            (measured(before, receipt))
            h3 { "3.2 Class sizes and risk" }
            (sizes(before.map(|before| &before.classes), receipt.map(|receipt| &receipt.classes)))
            @if let Some(before) = before { (uniqueness(before)) }
            @if let Some(receipt) = receipt {
                @let number = if before.is_some() { "3.4" } else { "3.3" };
                h3 #adversarial { (number) " Adversarial testing" }
                @match &receipt.attacks {
                    Some(attacks) => { (tested(attacks)) }
                    None => { p { "No attack was run." } }
                }
            }
        }
    }
}

fn measured(before: Option<&TableRisk>, receipt: Option<&Receipt>) -> Markup {
    let mut rows: Vec<(&str, &str, &StatedRisk)> = Vec::new();
    for (when, risk) in [("before", before.map(|before| &before.risk)), ("after", receipt.map(|receipt| &receipt.risk))]
    {
        let Some(risk) = risk else { continue };
        rows.push((when, "Prosecutor (sample)", &risk.prosecutor));
        rows.push((when, "Journalist (upper bound)", &risk.journalist));
        if let Some(population) = &risk.population {
            rows.push((when, "Journalist (population table)", population));
        }
        rows.push((when, "Marketer", &risk.marketer));
        if let Some(sampled) = &risk.sampled {
            rows.push((when, "Prosecutor (not who was drawn)", sampled));
        }
    }
    let mut assumptions: Vec<(&str, &str)> =
        rows.iter().map(|(_, name, risk)| (*name, risk.assumption.as_str())).collect();
    assumptions.sort_unstable();
    assumptions.dedup();
    let above =
        receipt.map(|receipt| receipt.policy.maximum_risk).or(before.map(|before| before.threshold)).unwrap_or(0.0);
    html! {
        (wide("Risk by attacker", &html! {
            table {
                caption { "Chance of recognising a person" }
                thead {
                    tr {
                        th scope="col" { "Attacker" } th scope="col" { "Table" } th.number scope="col" { "Maximum" }
                        th.number scope="col" { "Average" } th.number scope="col" { "Rows above " (rounded(above)) }
                    }
                }
                tbody {
                    @for (when, name, stated) in &rows {
                        tr {
                            th scope="row" { (name) }
                            td { (when) }
                            td.number { (percent(stated.risk.maximum)) }
                            td.number { (percent(stated.risk.average)) }
                            td.number { (percent(stated.risk.at_risk_share)) }
                        }
                    }
                    @if let (None, Some(receipt)) = (before, receipt) {
                        tr {
                            th scope="row" { "Prosecutor (sample)" } td { "before" }
                            td.number { (percent(receipt.before.maximum)) } td.number { (percent(receipt.before.average)) } td.number { "not stated" }
                        }
                    }
                }
            }
        }))
        @for (name, assumption) in assumptions { p.note { (name) ": " (assumption) "." } }
    }
}

fn sizes(before: Option<&ClassCounts>, after: Option<&ClassCounts>) -> Markup {
    let rows_in = |counts: &ClassCounts, low: u64, high: u64| -> u64 {
        counts
            .sizes
            .iter()
            .filter(|entry| (low..=high).contains(&entry.size))
            .map(|entry| entry.size * entry.classes)
            .sum()
    };
    let all = |counts: &ClassCounts| rows_in(counts, 1, u64::MAX);
    let part = |counts: Option<&ClassCounts>, low: u64, high: u64| {
        counts.map(|counts| crate::receipt::real(rows_in(counts, low, high)) / crate::receipt::real(all(counts).max(1)))
    };
    let classes_in = |counts: Option<&ClassCounts>, low: u64, high: u64| {
        counts.map(|counts| {
            let of_size = counts.sizes.iter().filter(|entry| (low..=high).contains(&entry.size));
            of_size.map(|entry| entry.classes).sum::<u64>()
        })
    };
    let rows: Vec<Bar<'_>> = SIZES
        .iter()
        .map(|(low, high, label)| Bar { label, before: part(before, *low, *high), after: part(after, *low, *high) })
        .collect();
    let words = Words {
        id: "sizes",
        title: "Rows by the size of their class",
        description: "Share of rows in classes of each size, before and after de-identification. The chance of recognition is one over the size. The table below has the numbers.",
    };
    let count = |count: Option<u64>| count.map_or_else(|| "–".to_owned(), thousands);
    let shown = |share: Option<f64>| share.map_or_else(|| "–".to_owned(), percent);
    html! {
        figure {
            ul.legend {
                @if before.is_some() { li { (swatch("before")) "before" } }
                @if after.is_some() { li { (swatch("after")) "after" } }
            }
            (bars(&words, &rows))
            figcaption { "Share of rows by the number of rows that look alike. The chance of picking the right one is one over that number." }
        }
        (wide("Rows and classes by size", &html! {
            table {
                caption { "Rows and classes by the size of the class" }
                thead {
                    tr {
                        th scope="col" { "Rows that look alike" } th scope="col" { "Chance" }
                        @if before.is_some() { th.number scope="col" { "Classes before" } th.number scope="col" { "Rows before" } }
                        @if after.is_some() { th.number scope="col" { "Classes after" } th.number scope="col" { "Rows after" } }
                    }
                }
                tbody {
                    @for (low, high, label) in SIZES {
                        tr {
                            th scope="row" { (label) }
                            td { @if low == 1 { "certain" } @else { "at most " (one_in(1.0 / crate::receipt::real(low))) } }
                            @if before.is_some() { td.number { (count(classes_in(before, low, high))) } td.number { (shown(part(before, low, high))) } }
                            @if after.is_some() { td.number { (count(classes_in(after, low, high))) } td.number { (shown(part(after, low, high))) } }
                        }
                    }
                }
            }
        }))
    }
}

fn uniqueness(before: &TableRisk) -> Markup {
    html! {
        h3 { "3.3 Uniqueness before" }
        p { (percent(before.unique_share)) " of the rows are alone in the sample with their quasi-identifiers." }
        @if let Some(uniques) = &before.population_uniques {
            @let rows = [("Pitman", uniques.pitman), ("Zayatz", uniques.zayatz), ("shifted negative binomial", uniques.snb), ("chosen by the rule of Dankar et al.", Some(uniques.dankar))];
            (wide("Uniqueness in the population", &html! {
                table {
                    caption { "Share of the population that is unique, estimated from the sample" }
                    thead { tr { th scope="col" { "Estimate" } th.number scope="col" { "Share" } } }
                    tbody {
                        @for (name, share) in rows {
                            tr { th scope="row" { (name) } td.number { (share.map_or_else(|| "no answer".to_owned(), percent)) } }
                        }
                    }
                }
            }))
        }
        @if let Some(special) = &before.special_uniques {
            h4 { "Special uniques" }
            p {
                (thousands(special.unique_rows)) " of " (thousands(special.rows)) " rows are unique by "
                @if special.largest_size == 1 { "one column" } @else { "at most " (special.largest_size) " columns" }
                ". The fewer columns it takes, the likelier the person is unique in the population too (SUDA2)."
                @if let Some(dis) = &special.dis {
                    " At a sampling fraction of " (percent(dis.sampling_fraction)) " a match with a unique row is correct with a chance of " (percent(dis.file))
                    "; by row from " (percent(dis.rows.lowest)) " to " (percent(dis.rows.highest)) ", median " (percent(dis.rows.median)) "."
                }
            }
            (wide("Special uniques by size", &html! {
                table {
                    caption { "Minimal sample uniques by the number of columns they need" }
                    thead { tr { th scope="col" { "Columns" } th.number scope="col" { "Minimal uniques" } th.number scope="col" { "Rows that need no fewer" } } }
                    tbody {
                        @for (at, (uniques, rows)) in special.by_size.iter().zip(&special.rows_by_smallest).enumerate() {
                            tr { th scope="row" { (at + 1) } td.number { (thousands(*uniques)) } td.number { (thousands(*rows)) } }
                        }
                    }
                }
            }))
            @let shares: Vec<Bar<'_>> = before.quasi_identifiers.iter().zip(&special.columns)
                .map(|(name, column)| Bar { label: name, before: Some(column.score_share), after: None }).collect();
            @let words = Words { id: "special", title: "Columns in special uniques", description: "Share of all scores of minimal sample uniques that each column is part of. The table below has the numbers." };
            figure {
                (bars(&words, &shares))
                figcaption { "How much of the score of all minimal uniques each column has a part in: what to make coarser first." }
            }
            (wide("Columns in special uniques", &html! {
                table {
                    caption { "Columns in minimal sample uniques" }
                    thead { tr { th scope="col" { "Column" } th.number scope="col" { "Minimal uniques with it" } th.number scope="col" { "Share of scores" } } }
                    tbody {
                        @for (name, column) in before.quasi_identifiers.iter().zip(&special.columns) {
                            tr { th scope="row" { (name) } td.number { (thousands(column.uniques)) } td.number { (percent(column.score_share)) } }
                        }
                    }
                }
            }))
        }
    }
}

/// The groups of attacks: heading, what it asks, and which attacks answer.
const CRITERIA: [(&str, &str, AttackKind); 5] = [
    ("Re-identification", "Can the row of a person be found?", AttackKind::Matching),
    ("Singling out (WP29)", "Can a description be made that fits one person only?", AttackKind::SinglingOut),
    ("Linkability (WP29)", "Can two records of the same person be joined?", AttackKind::Linkability),
    ("Inference (WP29)", "Can something be learned of a person that was not known?", AttackKind::Inference),
    ("Downcoding", "Can the recoding be undone?", AttackKind::Downcoding),
];

fn tested(attacks: &Attacks) -> Markup {
    html! {
        p {
            "The attacks were run on the released table by somebody who knows the answers. Intervals: " (attacks.interval)
            ". Targets and guesses are drawn from seed " (attacks.seed) ", so that everybody gets the same numbers. "
            "The control is what the attacker reaches without the release, or without the person's own row in it: what is learned about people in general is what the data are for."
        }
        @if attacks.extent == Extent::Gate {
            p.note { "Only the attacks of the gate were run here; a full report runs all." }
        }
        @for (at, (name, asks, kind)) in CRITERIA.iter().enumerate() {
            @let of_kind: Vec<&Attack> = attacks.results.iter().filter(|attack| attack.attack == *kind).collect();
            @if !of_kind.is_empty() { (criterion(at, name, asks, &of_kind)) }
        }
    }
}

fn criterion(at: usize, name: &str, asks: &str, attacks: &[&Attack]) -> Markup {
    let drawn: Vec<Rate<'_>> = attacks
        .iter()
        .filter(|attack| attack.attempts > 0)
        .map(|attack| Rate {
            label: &attack.variant,
            rate: attack.rate,
            interval: (attack.interval.lower, attack.interval.upper),
            control: attack.control.as_ref().map(|control| control.rate),
            // A limit on the excess or on the highest chance is not on the axis of rates.
            limit: None,
        })
        .collect();
    let id = format!("attack-{at}");
    let description = format!(
        "{}: success rates with 95 % intervals{}. The table below has the numbers.",
        name,
        if attacks.iter().any(|attack| attack.control.is_some()) { " and controls" } else { "" }
    );
    let words = Words { id: &id, title: name, description: &description };
    let shown = |share: Option<f64>| share.map_or_else(|| "–".to_owned(), percent);
    html! {
        h4 { (name) }
        p { (asks) }
        @if !drawn.is_empty() {
            figure {
                ul.legend {
                    li { (swatch("interval")) "rate with interval" }
                    @if drawn.iter().any(|rate| rate.control.is_some()) { li { (swatch("control")) "control" } }
                }
                (intervals(&words, &drawn))
            }
        }
        (wide(name, &html! {
            table {
                caption { (name) ": attempts and successes" }
                thead {
                    tr {
                        th scope="col" { "Attack" } th.number scope="col" { "Attempts" } th.number scope="col" { "Successes" }
                        th.number scope="col" { "Rate" } th.number scope="col" { "95 % interval" } th.number scope="col" { "Control" }
                        th.number scope="col" { "Excess" } th.number scope="col" { "Highest chance" } th.number scope="col" { "Limit" }
                    }
                }
                tbody {
                    @for attack in attacks {
                        tr {
                            th scope="row" { (attack.variant) }
                            td.number { (thousands(attack.attempts)) @if attack.census { " (all)" } }
                            td.number { (thousands(attack.successes)) }
                            @if attack.attempts == 0 { td.number { "–" } td.number { "–" } } @else {
                                td.number { (percent(attack.rate)) }
                                td.number { (percent(attack.interval.lower)) " to " (percent(attack.interval.upper)) }
                            }
                            td.number { (shown(attack.control.as_ref().map(|control| control.rate))) }
                            td.number { (shown(attack.excess)) }
                            td.number { (shown(attack.highest)) }
                            td.number { (attack.limit.map_or_else(|| "reported only".to_owned(), percent)) }
                        }
                    }
                }
            }
        }))
        ul {
            @for attack in attacks {
                li {
                    b { (attack.variant) } ": the attacker " (attack.attacker) ". "
                    @if let Some(control) = &attack.control { "Control: " (control.what) ". " }
                    (attack.conclusion)
                }
            }
        }
    }
}

fn utility(receipt: &Receipt) -> Markup {
    let rows: Vec<Bar<'_>> = receipt
        .quasi_identifiers
        .iter()
        .map(|column| Bar { label: &column.column, before: None, after: Some(column.loss) })
        .collect();
    let words = Words {
        id: "loss",
        title: "Detail lost by column",
        description: "Mean share of detail lost over the released rows, per quasi-identifier. The table below has the numbers.",
    };
    html! {
        section aria-labelledby="utility" {
            h2 #utility { "4 What it cost" }
            p {
                "Over all quasi-identifiers " b { (percent(receipt.loss.granularity)) } " of the detail is kept, rows that were left out included. "
                @if receipt.loss.proven { "The search proved that no levels lose less." }
            }
            @if !rows.is_empty() {
                figure {
                    (bars(&words, &rows))
                    figcaption { "Detail lost in released rows: 0 % keeps every value, 100 % keeps none." }
                }
                (wide("Detail lost by column", &html! {
                    table {
                        caption { "Detail lost by column, over released rows" }
                        thead { tr { th scope="col" { "Column" } th.number scope="col" { "Lost" } } }
                        tbody { @for column in &receipt.quasi_identifiers { tr { th scope="row" { (column.column) } td.number { (percent(column.loss)) } } } }
                    }
                }))
            }
            (measures(receipt))
        }
    }
}

/// What is left under the measures of the field, by column and for the table.
fn measures(receipt: &Receipt) -> Markup {
    let all = &receipt.utility;
    let whole = [all.granularity, all.precision, all.entropy, all.ambiguity, all.discernibility, all.class_size];
    let of_column = |column: &ColumnUtility| {
        [
            column.granularity,
            column.precision,
            column.entropy,
            column.ambiguity,
            column.discernibility,
            column.class_size,
        ]
    };
    wide(
        "Measures of the field",
        &html! {
            table {
                caption { "What is left under the measures of the field: 100 % is the table as it came. Rows that were left out are counted." }
                thead {
                    tr {
                        th scope="col" { "Column" }
                        @for name in ["Granularity", "Precision", "Non-uniform entropy", "Ambiguity", "Discernibility", "Class size"] {
                            th.number scope="col" { (name) }
                        }
                    }
                }
                tbody {
                    // One value in every class is no generalisation: the table of transformations has it.
                    @for column in receipt.quasi_identifiers.iter().filter(|column| column.hierarchy != "class") {
                        tr { th scope="row" { (column.column) } @for share in of_column(&column.utility) { td.number { (percent(share)) } } }
                    }
                    tr { th scope="row" { "Table" } @for share in whole { td.number { (percent(share)) } } }
                }
            }
        },
    )
}

fn governance(receipt: Option<&Receipt>) -> Markup {
    html! {
        section aria-labelledby="governance" {
            h2 #governance { (if receipt.is_some() { "5" } else { "4" }) " Governance" }
            h3 { "Before release" }
            @if let Some(receipt) = receipt {
                (wide("Conditions", &html! {
                    table {
                        caption { "Conditions of the policy; a release that breaks one is refused" }
                        thead { tr { th scope="col" { "Condition" } th.number scope="col" { "Asked" } th.number scope="col" { "Measured" } th scope="col" { "Held" } } }
                        tbody {
                            @for model in &receipt.models {
                                tr {
                                    th scope="row" { (model.name) }
                                    td.number { (model.parameter.map_or_else(|| "–".to_owned(), rounded)) }
                                    td.number { (rounded(model.measured)) }
                                    td { (if model.held { "yes" } else { "no" }) }
                                }
                            }
                        }
                    }
                }))
                p { "Checked by: " (receipt.verified_by) ", from the text of the rows, by code that shares nothing with the search." }
            } @else {
                ul {
                    li { "Set the threshold, k, and which columns others may know." }
                    li { "De-identify under a policy; what is written is recounted and attacked before it gets its name." }
                }
            }
            h3 { "After release" }
            ul {
                li { "What is published cannot be called back: changes and withdrawals take effect in a later version." }
                li { "A later version must be compared with this one; publish none that differs by fewer than k persons." }
                li { "Measure again when other data about the same persons are published, or when attacks become known that were not run." }
                li { "The numbers hold for attackers who know the quasi-identifiers named above. Whoever knows more can do more." }
            }
        }
    }
}

/// A table that scrolls inside its own frame on a narrow screen, reachable by keyboard.
fn wide(label: &str, table: &Markup) -> Markup {
    html! { div.wide role="region" aria-label=(format!("Table: {label}")) tabindex="0" { (table) } }
}
