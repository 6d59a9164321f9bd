//! The scorecard as one page of HTML: for data managers and for whoever decides whether data are good enough.
//!
//! No script and no other file; it reads on a phone, aloud and on paper, light and dark. Every picture stands beside a
//! table with the same numbers. The same scorecard gives the same bytes.

use std::collections::{BTreeMap, HashMap};

use acequia_types::thousands;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::definition::{Category, Check, Context};
use crate::judge::{CheckResult, Outcomes, Scorecard, Status};

const STYLE: &str = include_str!("page.css");
/// Failing checks of one type that are shown at once; the rest can be opened.
const SHOWN: usize = 8;
/// Severities, gravest first, and what they mean.
const SEVERITIES: [(&str, &str); 3] = [
    ("fatal", "must be mended before anybody uses the data"),
    ("convention", "studies will miss or misread rows until it is mended"),
    ("characterization", "may be true of the data; know why before using them"),
];

/// The page. Hide small counts before ([`Scorecard::without_small_counts`]) if anybody outside may see it.
pub fn page(title: &str, scorecard: &Scorecard, checks: &[Check]) -> String {
    let checks: HashMap<&str, &Check> = checks.iter().map(|check| (check.id.as_str(), check)).collect();
    let outcomes = scorecard.outcomes();
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · Data quality" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    header {
                        h1 { "Data quality: " (title) }
                        (verdict(scorecard, outcomes))
                    }
                    (overall(scorecard))
                    (by_table(scorecard))
                    (faults(scorecard, &checks))
                    (errors(scorecard))
                    (repairs(scorecard))
                    (reading(scorecard))
                }
            }
        }
    };
    page.into_string()
}

#[expect(clippy::cast_precision_loss, reason = "counts of rows are far below 2^53")]
fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

fn per_cent(share: f64) -> String {
    let percent = share * 100.0;
    if share > 0.0 && percent < 0.1 {
        "under 0.1 %".to_owned()
    } else if share < 1.0 && percent > 99.9 {
        "over 99.9 %".to_owned()
    } else if (percent - percent.round()).abs() < 0.05 {
        format!("{percent:.0} %")
    } else {
        format!("{percent:.1} %")
    }
}

fn px(length: f64) -> String {
    let tenths = (length * 10.0).round() / 10.0;
    format!("{}", if tenths == 0.0 { 0.0 } else { tenths })
}

fn rows_in(scorecard: &Scorecard) -> u64 {
    scorecard.rows_in.values().flatten().sum()
}

fn verdict(scorecard: &Scorecard, outcomes: Outcomes) -> Markup {
    let applied = outcomes.applied();
    html! {
        p.statement {
            strong { (per_cent(share(outcomes.pass, applied))) } " of the checks that apply are passed: "
            (thousands(outcomes.pass)) " of " (thousands(applied)) ". " (thousands(outcomes.fail)) " fail."
        }
        p.lead {
            "About " (thousands(rows_in(scorecard))) " rows in " (scorecard.rows_in.len()) " tables. "
            (thousands(outcomes.not_applicable)) " checks say nothing about these data, because a table, a field or a concept is not there; "
            (thousands(outcomes.error)) " could not be made."
        }
    }
}

/// Outcomes of a group of checks.
fn count<'a>(checks: impl Iterator<Item = &'a CheckResult>) -> Outcomes {
    let mut outcomes = Outcomes::default();
    checks.for_each(|check| outcomes.add(check.status));
    outcomes
}

fn words(context: Context) -> &'static str {
    match context {
        Context::Verification => "against the model",
        Context::Validation => "against what is known",
    }
}

fn question(category: Category) -> &'static str {
    match category {
        Category::Conformance => "Is the form right?",
        Category::Completeness => "Is it there?",
        Category::Plausibility => "Can it be true?",
    }
}

fn overall(scorecard: &Scorecard) -> Markup {
    let mut groups = Vec::new();
    for category in Category::ALL {
        for context in Context::ALL {
            let own = scorecard.checks.iter().filter(|check| check.category == category && check.context == context);
            groups.push((category, context, count(own)));
        }
    }
    const LEFT: f64 = 190.0;
    const WIDTH: f64 = 330.0;
    const HEIGHT: f64 = 34.0;
    let bottom = groups.len() as f64 * HEIGHT;
    html! {
        section aria-labelledby="overall" {
            h2 #overall { "Overall" }
            p { "The checks answer three questions (Kahn and others, 2016), each from the data and the model themselves (verification) and from what is known outside (validation)." }
            figure {
                ul.legend {
                    li { svg viewBox="0 0 20 14" aria-hidden="true" { rect.pass x="1" y="1" width="18" height="12" rx="2" {} } "passed" }
                    li { svg viewBox="0 0 20 14" aria-hidden="true" { rect.fail x="1" y="1" width="18" height="12" rx="2" {} (hatch(1.0, 1.0, 18.0, 12.0)) } "failed" }
                }
                svg.chart role="img" viewBox=(format!("0 0 580 {}", px(bottom + 4.0))) aria-labelledby="overall-title" aria-describedby="overall-desc" {
                    title id="overall-title" { "Checks passed and failed by question and context" }
                    desc id="overall-desc" { "One bar for each of six groups; the dark part is the share that passed. The table below has the numbers." }
                    @for (at, (category, context, outcomes)) in groups.iter().enumerate() {
                        @let top = at as f64 * HEIGHT;
                        @let applied = outcomes.applied();
                        @let width = WIDTH * share(outcomes.pass, applied);
                        text x=(px(LEFT - 10.0)) y=(px(top + 15.0)) text-anchor="end" { (category.name()) }
                        text.tick x=(px(LEFT - 10.0)) y=(px(top + 28.0)) text-anchor="end" { (words(*context)) }
                        @if applied > 0 {
                            rect.pass x=(px(LEFT)) y=(px(top + 6.0)) width=(px(width)) height="20" {}
                            rect.fail x=(px(LEFT + width)) y=(px(top + 6.0)) width=(px(WIDTH - width)) height="20" {}
                            (hatch(LEFT + width, top + 6.0, WIDTH - width, 20.0))
                            text.value x=(px(LEFT + WIDTH + 6.0)) y=(px(top + 20.0)) { (floor_per_cent(outcomes.pass, applied)) }
                        } @else {
                            text.value x=(px(LEFT)) y=(px(top + 20.0)) { "nothing applies" }
                        }
                    }
                }
            }
            div.wide {
                table {
                    caption { "The same numbers" }
                    thead { tr { th scope="col" { "Question" } th scope="col" { "Context" } th.number scope="col" { "Passed" } th.number scope="col" { "Failed" } th.number scope="col" { "Do not apply" } th.number scope="col" { "Not made" } } }
                    tbody {
                        @for (category, context, outcomes) in &groups {
                            tr {
                                th scope="row" { (category.name()) ": " (question(*category)) }
                                td { (context.name()) ", " (words(*context)) }
                                td.number { (thousands(outcomes.pass)) }
                                td.number { (thousands(outcomes.fail)) }
                                td.number { (thousands(outcomes.not_applicable)) }
                                td.number { (thousands(outcomes.error)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Rounded down, so that 100 % means every check.
fn floor_per_cent(part: u64, whole: u64) -> String {
    format!("{} %", (part * 100).checked_div(whole).unwrap_or(0))
}

/// Strokes over a bar, so that it is told from its neighbour without colour.
fn hatch(x: f64, y: f64, width: f64, height: f64) -> Markup {
    const STEP: f64 = 7.0;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few dozen strokes")]
    let strokes = ((width - 2.0).max(0.0) / STEP) as usize;
    html! {
        @for at in 0..strokes {
            @let from = x + at as f64 * STEP + 1.0;
            line.hatch x1=(px(from)) y1=(px(y + height - 1.0)) x2=(px((from + STEP).min(x + width - 1.0))) y2=(px(y + 1.0)) {}
        }
    }
}

/// Steps of the heat map: share of failed checks up to which, class, words.
const STEPS: [(f64, &str, &str); 5] = [
    (0.0, "h0", "none fails"),
    (0.05, "h1", "up to 5 % fail"),
    (0.15, "h2", "up to 15 %"),
    (0.30, "h3", "up to 30 %"),
    (1.0, "h4", "more"),
];

fn step(outcomes: &Outcomes) -> &'static str {
    let failed = share(outcomes.fail, outcomes.applied());
    STEPS.iter().find(|(most, ..)| failed <= *most).map_or("h4", |(_, class, _)| class)
}

fn by_table(scorecard: &Scorecard) -> Markup {
    let mut tables: BTreeMap<&str, [Outcomes; 3]> = BTreeMap::new();
    for check in &scorecard.checks {
        tables.entry(&check.table).or_default()[check.category as usize].add(check.status);
    }
    let applies = |outcomes: &[Outcomes; 3]| outcomes.iter().map(Outcomes::applied).sum::<u64>() > 1;
    let (shown, silent): (Vec<_>, Vec<_>) = tables.iter().partition(|(_, outcomes)| applies(outcomes));
    const LEFT: f64 = 170.0;
    const CELL: f64 = 120.0;
    const HEIGHT: f64 = 24.0;
    const TOP: f64 = 22.0;
    html! {
        section aria-labelledby="tables" {
            h2 #tables { "Table by table" }
            p { "Each cell tells how many of the checks that apply failed." }
            figure {
                ul.legend {
                    @for (_, class, words) in STEPS {
                        li { svg viewBox="0 0 20 14" aria-hidden="true" { rect class=(class) x="1" y="1" width="18" height="12" rx="2" {} } (words) }
                    }
                }
                svg.chart role="img" viewBox=(format!("0 0 540 {}", px(TOP + shown.len() as f64 * HEIGHT + 2.0))) aria-labelledby="heat-title" aria-describedby="heat-desc" {
                    title id="heat-title" { "Failed checks by table and question" }
                    desc id="heat-desc" { "One row for each table, one column for each question; darker cells have a larger share of failed checks. The table below has the numbers." }
                    @for (column, category) in Category::ALL.iter().enumerate() {
                        text.tick x=(px(LEFT + column as f64 * CELL + CELL / 2.0)) y="14" text-anchor="middle" { (category.name()) }
                    }
                    @for (row, (table, outcomes)) in shown.iter().enumerate() {
                        @let top = TOP + row as f64 * HEIGHT;
                        text x=(px(LEFT - 8.0)) y=(px(top + 16.0)) text-anchor="end" { (table) }
                        @for (column, own) in outcomes.iter().enumerate() {
                            @let left = LEFT + column as f64 * CELL;
                            @if own.applied() > 0 {
                                rect class=(step(own)) x=(px(left + 1.0)) y=(px(top + 1.0)) width=(px(CELL - 2.0)) height=(px(HEIGHT - 2.0)) rx="2" {}
                                text class=(format!("on-{}", step(own))) x=(px(left + CELL / 2.0)) y=(px(top + 16.0)) text-anchor="middle" { (own.fail) " of " (own.applied()) }
                            } @else {
                                text.tick x=(px(left + CELL / 2.0)) y=(px(top + 16.0)) text-anchor="middle" { "–" }
                            }
                        }
                    }
                }
            }
            details {
                summary { "The same as a table, with rows" }
                div.wide {
                    table {
                        caption { "Failed of applying checks, by table" }
                        thead { tr { th scope="col" { "Table" } th.number scope="col" { "Rows" } @for category in Category::ALL { th.number scope="col" { (category.name()) } } } }
                        tbody {
                            @for (table, outcomes) in &shown {
                                tr {
                                    th scope="row" { (table) }
                                    td.number { (counted(scorecard.rows_in.get(**table).copied().flatten(), scorecard)) }
                                    @for own in outcomes.iter() { td.number { (own.fail) " of " (own.applied()) } }
                                }
                            }
                        }
                    }
                }
            }
            @if !silent.is_empty() {
                p.note { "Not there or without rows: " (silent.iter().map(|(table, _)| **table).collect::<Vec<_>>().join(", ")) "." }
            }
        }
    }
}

/// A count, or that it is hidden.
fn counted(count: Option<u64>, scorecard: &Scorecard) -> String {
    count.map_or_else(|| format!("under {}", scorecard.minimum), thousands)
}

/// What failed, by severity and type.
fn faults(scorecard: &Scorecard, checks: &HashMap<&str, &Check>) -> Markup {
    let mut groups: BTreeMap<(usize, &str), Vec<(&CheckResult, &Check)>> = BTreeMap::new();
    for result in scorecard.checks.iter().filter(|check| check.status == Status::Fail) {
        let Some(check) = checks.get(result.id.as_str()) else { continue };
        let severity = SEVERITIES.iter().position(|(name, _)| *name == check.severity).unwrap_or(SEVERITIES.len() - 1);
        let kind = if result.check == "user" { result.id.as_str() } else { result.check.as_str() };
        groups.entry((severity, kind)).or_default().push((result, check));
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    let failing = |result: &CheckResult| match (result.failing, result.rows) {
        (Some(failing), Some(rows)) => share(failing, rows),
        _ => 0.0,
    };
    for (_, own) in &mut groups {
        own.sort_by(|(a, _), (b, _)| failing(b).total_cmp(&failing(a)).then_with(|| a.id.cmp(&b.id)));
    }
    groups.sort_by_key(|((severity, kind), own)| (*severity, std::cmp::Reverse(own.len()), *kind));
    html! {
        section aria-labelledby="faults" {
            h2 #faults { "What to mend first" }
            @if groups.is_empty() { p { "Nothing failed." } }
            @for (at, (severity, meaning)) in SEVERITIES.iter().enumerate() {
                @if groups.iter().any(|((own, _), _)| *own == at) {
                    h3 { span.badge.(*severity) { (severity) } " " (meaning) }
                    @for ((own, _), results) in &groups {
                        @if *own == at { (fault(results, scorecard)) }
                    }
                }
            }
        }
    }
}

fn fault(results: &[(&CheckResult, &Check)], scorecard: &Scorecard) -> Markup {
    let Some((first, check)) = results.first() else { return html! {} };
    html! {
        article {
            h4 { (check.meaning) }
            p { b { "What to do: " } (check.remedy) }
            (listed(&results[..results.len().min(SHOWN)], first, scorecard))
            @if results.len() > SHOWN {
                details {
                    summary { (results.len() - SHOWN) " more of this kind" }
                    (listed(&results[SHOWN..], first, scorecard))
                }
            }
        }
    }
}

fn listed(results: &[(&CheckResult, &Check)], first: &CheckResult, scorecard: &Scorecard) -> Markup {
    html! {
        div.wide {
            table {
                caption { (first.check) }
                thead { tr { th scope="col" { "What fails" } th.number scope="col" { "Failing" } th.number scope="col" { "Of" } th.number scope="col" { "Share" } th.number scope="col" { "Allowed" } } }
                tbody {
                    @for (result, _) in results {
                        tr {
                            th scope="row" { (result.what) }
                            td.number { (result.failing.map_or_else(|| "hidden".to_owned(), thousands)) }
                            td.number { (counted(result.rows, scorecard)) }
                            td.number { @if let (Some(failing), Some(rows)) = (result.failing, result.rows) { (per_cent(share(failing, rows))) } @else { "–" } }
                            td.number { (per_cent(result.threshold / 100.0)) }
                        }
                    }
                }
            }
        }
    }
}

fn errors(scorecard: &Scorecard) -> Markup {
    let mut reasons: BTreeMap<&str, u64> = BTreeMap::new();
    for check in scorecard.checks.iter().filter(|check| check.status == Status::Error) {
        *reasons.entry(check.reason.as_deref().unwrap_or_default()).or_default() += 1;
    }
    html! {
        @if !reasons.is_empty() {
            section aria-labelledby="errors" {
                h2 #errors { "Checks that could not be made" }
                ul { @for (reason, count) in reasons { li { (thousands(count)) " checks: " (reason) "." } } }
            }
        }
    }
}

fn repairs(scorecard: &Scorecard) -> Markup {
    html! {
        @if !scorecard.repairs.is_empty() {
            section aria-labelledby="repairs" {
                h2 #repairs { "Repairs" }
                p { "Safe repairs were made in new tables; the others are proposals. The tables that came in are unchanged, and every repair is in the log." }
                div.wide {
                    table {
                        caption { "Repairs by kind" }
                        thead { tr { th scope="col" { "Repair" } th.number scope="col" { "Values or rows" } } }
                        tbody { @for (name, count) in &scorecard.repairs { tr { th scope="row" { (name) } td.number { (counted(*count, scorecard)) } } } }
                    }
                }
            }
        }
    }
}

fn reading(scorecard: &Scorecard) -> Markup {
    html! {
        section aria-labelledby="reading" {
            h2 #reading { "How to read this" }
            ul {
                li { "A check fails when a larger share of rows than allowed breaks it. The shares allowed are those of OHDSI's DataQualityDashboard 2.8.4, or of a file of the site." }
                li { "A passed check means that this fault was not found. Data can pass every check and still be wrong." }
                @if scorecard.minimum > 1 {
                    li { "Counts from 1 to " (scorecard.minimum - 1) " are hidden, and those from which they would follow." }
                }
                li { "Which rows fail stands in the findings, which stay where the data are." }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_for_people() {
        assert_eq!((thousands(7).as_str(), thousands(2_793_755).as_str()), ("7", "2,793,755"));
        assert_eq!(
            [0.0, 0.0001, 0.125, 0.9999, 1.0].map(per_cent),
            ["0 %", "under 0.1 %", "12.5 %", "over 99.9 %", "100 %"]
        );
        assert_eq!((floor_per_cent(999, 1000).as_str(), floor_per_cent(0, 0).as_str()), ("99 %", "0 %"));
    }
}
