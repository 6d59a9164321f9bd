//! The report as one page of HTML: for those who collect the data, and for whoever decides whom they may stand for.
//!
//! No script and no other file; it reads on a phone, aloud and on paper, light and dark. Every picture stands beside a
//! table with the same numbers. The same report gives the same bytes.

use acequia_types::thousands;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::audit::REPRESENTED;
use crate::people::title_of;
use crate::report::{Cell, Described, Events, Group, Groups, Report};

const STYLE: &str = include_str!("page.css");
/// Gaps that are listed.
const GAPS: usize = 10;

/// The page of a report, under a title.
pub fn page(title: &str, report: &Report) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (title) " · Who is in the data" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    header {
                        h1 { "Who is in the data: " (title) }
                        (statement(report))
                    }
                    (gaps(report))
                    (groups(report))
                    (intersections(report))
                    (missing(report))
                    (events(report))
                    (errors(report))
                    (coverage(report))
                    (consent(report))
                    (change(report))
                    (not_recorded(report))
                    (reading(report))
                }
            }
        }
    };
    page.into_string()
}

fn counted(number: Option<u64>) -> String {
    number.map_or_else(|| "hidden".to_owned(), thousands)
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

fn shared(share: Option<f64>) -> String {
    share.map_or_else(|| "–".to_owned(), per_cent)
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value}"))
}

fn px(length: f64) -> String {
    let tenths = (length * 10.0).round() / 10.0;
    format!("{}", if tenths == 0.0 { 0.0 } else { tenths })
}

fn wide(table: &Markup) -> Markup {
    html! { div.wide tabindex="0" role="group" aria-label="Table" { (table) } }
}

fn statement(report: &Report) -> Markup {
    // The widest comparison stands first.
    let first = report.dimensions.iter().find(|dimension| dimension.total_variation_distance.is_some());
    html! {
        @if let Some((distance, dimension)) = first.and_then(|first| Some((first.total_variation_distance?, first))) {
            p.statement {
                strong { (per_cent(distance)) } " of people would have to be in another group of "
                (dimension.title.to_lowercase()) " for the data to be like " (report.population) "."
            }
        } @else {
            p.statement { "There is no reference population to compare with, so nothing is said about who is missing." }
        }
        p.lead {
            @if let Some(people) = report.people { (thousands(people)) " people. " }
            @if !report.purpose.is_empty() { "Purpose: " (report.purpose.trim_end_matches('.')) ". " }
            @if let Some(day) = &report.age_on { "Age counts on " (day) ", or at death before. " }
            @if !report.source.is_empty() { "Source of the comparison: " (report.source.trim_end_matches('.')) "." }
        }
    }
}

fn gaps(report: &Report) -> Markup {
    let mut all: Vec<_> =
        report.dimensions.iter().flat_map(|dimension| dimension.gaps.iter().map(move |gap| (dimension, gap))).collect();
    all.sort_by(|a, b| b.1.people_needed.cmp(&a.1.people_needed).then_with(|| a.1.label.cmp(&b.1.label)));
    html! {
        section aria-labelledby="gaps" {
            h2 #gaps { "Who is missing" }
            @if all.is_empty() {
                p { "No group whose count may be shown has less than four fifths of its share in the reference." }
            } @else {
                p { "People who would have to join, everybody else staying, for a group to reach four fifths of its share in the reference. Groups overlap, so the numbers do not add up." }
                (wide(&html! {
                    table {
                        caption { "Gaps, most people needed first" }
                        thead { tr { th scope="col" { "Group" } th scope="col" { "Of" } th.number scope="col" { "Times the reference" } th.number scope="col" { "People needed" } } }
                        tbody {
                            @for (dimension, gap) in all.iter().take(GAPS) {
                                tr {
                                    th scope="row" { (gap.label) }
                                    td { (dimension.title.to_lowercase()) }
                                    td.number { (gap.ratio) }
                                    td.number { b { (thousands(gap.people_needed)) } }
                                }
                            }
                        }
                    }
                }))
                @if all.len() > GAPS { p.note { (all.len() - GAPS) " smaller gaps stand with their groups below." } }
            }
        }
    }
}

fn groups(report: &Report) -> Markup {
    html! {
        section aria-labelledby="groups" {
            h2 #groups { "Group by group" }
            ul.legend aria-label="Marks in the pictures" {
                li { svg viewBox="0 0 20 14" aria-hidden="true" { rect.bar x="1" y="3" width="18" height="8" rx="2" {} } "share in the data" }
                li { svg viewBox="0 0 20 14" aria-hidden="true" { line.whisker x1="2" y1="7" x2="18" y2="7" {} } "95 % interval" }
                li { svg viewBox="0 0 20 14" aria-hidden="true" { line.reference x1="10" y1="1" x2="10" y2="13" {} } "share in the reference" }
            }
            @for (at, dimension) in report.dimensions.iter().enumerate() { (dimension_of(at, dimension)) }
        }
    }
}

fn dimension_of(at: usize, dimension: &Described) -> Markup {
    html! {
        article {
            h3 { (dimension.title) }
            (picture(at, dimension))
            p {
                @if let Some(distance) = dimension.total_variation_distance {
                    b { (per_cent(distance)) } " of people would have to be in another group (total variation distance " (distance) "). "
                }
                @if let Some(effective) = dimension.effective_number {
                    "As varied as " b { (effective) } " equally large groups of " (dimension.cells.len())
                    @if let Some(simpson) = dimension.inverse_simpson { "; " (simpson) " if frequent groups count more (inverse Simpson index)" }
                    ". "
                }
                @if let Some(weighting) = &dimension.weighting {
                    "Weighted to match the reference, they tell as much as " b { (thousands(weighting.effective_size)) }
                    " people (design effect " (weighting.design_effect) "). "
                }
                @if let Some(outside) = dimension.cells_outside {
                    (outside) " of " (dimension.cells.len()) " groups have less than " (REPRESENTED.0) " or more than " (REPRESENTED.1) " times their share in the reference. "
                }
                @if let Some(index) = dimension.population_stability_index { "Population stability index " (index) ". " }
                @if let Some(divergence) = dimension.kullback_leibler { "Kullback–Leibler divergence " (divergence) " nats." }
            }
            @if let Some(note) = &dimension.note { p.note { "Note: " (note) "." } }
            details {
                summary { "The numbers of " (dimension.title.to_lowercase()) }
                (wide(&numbers(dimension)))
            }
        }
    }
}

fn numbers(dimension: &Described) -> Markup {
    let needed = |cell: &Cell| dimension.gaps.iter().find(|gap| gap.value == cell.value);
    html! {
        table {
            caption { "People by " (dimension.title.to_lowercase()) @if let Some(rows) = dimension.rows { " (" (thousands(rows)) " with a known value)" } }
            thead {
                tr {
                    th scope="col" { "Group" }
                    th.number scope="col" { "People" }
                    th.number scope="col" { "Share" }
                    th.number scope="col" { "95 % interval" }
                    th.number scope="col" { "Reference" }
                    th.number scope="col" { "Times the reference" }
                    th.number scope="col" { "People needed" }
                }
            }
            tbody {
                @for cell in &dimension.cells {
                    tr {
                        th scope="row" { (cell.label) }
                        td.number { (counted(cell.count)) }
                        td.number { (shared(cell.share)) }
                        td.number { @if let (Some(low), Some(high)) = (cell.low, cell.high) { (per_cent(low)) " to " (per_cent(high)) } @else { "–" } }
                        td.number { (shared(cell.reference_share)) }
                        td.number { (number(cell.ratio)) }
                        td.number { @if let Some(gap) = needed(cell) { (thousands(gap.people_needed)) } @else { "–" } }
                    }
                }
            }
        }
    }
}

/// Bars with interval, and the reference as a stroke. Long labels stand above their bar, so that it reads on a phone.
fn picture(at: usize, dimension: &Described) -> Markup {
    const WIDTH: f64 = 520.0;
    const RIGHT: f64 = 74.0;
    let longest = dimension.cells.iter().map(|cell| cell.label.chars().count()).max().unwrap_or(0);
    #[expect(clippy::cast_precision_loss, reason = "a few dozen letters")]
    let left = (longest.min(20) as f64 * 7.0 + 14.0).max(60.0);
    let above = longest > 20;
    let (left, height, bar) = if above { (4.0, 40.0, 20.0) } else { (left, 24.0, 4.0) };
    let most = dimension
        .cells
        .iter()
        .flat_map(|cell| [cell.high, cell.share, cell.reference_share])
        .flatten()
        .fold(0.02, f64::max);
    let x = |share: f64| left + share / most * (WIDTH - left - RIGHT);
    #[expect(clippy::cast_precision_loss, reason = "a few dozen cells")]
    let bottom = dimension.cells.len() as f64 * height + 2.0;
    html! {
        @if !dimension.cells.is_empty() {
            figure {
                svg.chart role="img" viewBox=(format!("0 0 {} {}", px(WIDTH), px(bottom))) aria-labelledby=(format!("d{at}-title d{at}-desc")) {
                    title id=(format!("d{at}-title")) { "Share of people by " (dimension.title.to_lowercase()) }
                    desc id=(format!("d{at}-desc")) { "One bar for each group with its 95 % interval; a stroke is the share in the reference. The table below has the numbers." }
                    @for (row, cell) in dimension.cells.iter().enumerate() {
                        @let top = row_top(row, height);
                        @let middle = top + bar + 8.0;
                        @if above { text x=(px(left)) y=(px(top + 15.0)) { (cell.label) } }
                        @else { text x=(px(left - 8.0)) y=(px(middle + 4.5)) text-anchor="end" { (cell.label) } }
                        @match cell.share {
                            Some(share) => {
                                rect.bar x=(px(left)) y=(px(middle - 7.0)) width=(px(x(share) - left)) height="14" rx="2" {}
                                @if let (Some(low), Some(high)) = (cell.low, cell.high) {
                                    line.halo x1=(px(x(low))) y1=(px(middle)) x2=(px(x(high))) y2=(px(middle)) {}
                                    line.whisker x1=(px(x(low))) y1=(px(middle)) x2=(px(x(high))) y2=(px(middle)) {}
                                }
                                text.value x=(px(WIDTH - RIGHT + 8.0)) y=(px(middle + 4.5)) { (per_cent(share)) }
                            }
                            None => { text.value x=(px(WIDTH - RIGHT + 8.0)) y=(px(middle + 4.5)) { "hidden" } }
                        }
                        @if let Some(reference) = cell.reference_share {
                            line.reference x1=(px(x(reference))) y1=(px(middle - 10.0)) x2=(px(x(reference))) y2=(px(middle + 10.0)) {}
                        }
                    }
                }
            }
        }
    }
}

fn row_top(row: usize, height: f64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a few dozen cells")]
    let row = row as f64;
    row * height
}

fn intersections(report: &Report) -> Markup {
    let titles = |columns: &[String]| {
        let words: Vec<String> = columns.iter().map(|column| title_of(column).to_lowercase()).collect();
        words.join(" × ")
    };
    html! {
        @if !report.intersectional.is_empty() {
            section aria-labelledby="together" {
                h2 #together { "Several things at once" }
                p { "A group that is large on its own can be small together with another fact. Small combinations are where models fail unseen, and where people can be recognised." }
                (wide(&html! {
                    table {
                        caption { "Combinations; small means fewer than " (report.minimum_cell) " people" }
                        thead { tr { th scope="col" { "Combination" } th.number scope="col" { "With anybody" } th.number scope="col" { "Small" } th.number scope="col" { "People in small ones" } th.number scope="col" { "Smallest of the others" } } }
                        tbody {
                            @for one in &report.intersectional {
                                tr {
                                    th scope="row" { (titles(&one.columns)) }
                                    td.number { (one.occupied.map_or_else(|| "–".to_owned(), thousands)) " of " (thousands(one.possible)) }
                                    td.number { (thousands(one.small)) }
                                    td.number { (counted(one.people_in_small)) }
                                    td.number { (one.smallest.map_or_else(|| "–".to_owned(), thousands)) }
                                }
                            }
                        }
                    }
                }))
            }
        }
    }
}

fn missing(report: &Report) -> Markup {
    let lacked: Vec<_> = report.missingness.iter().filter(|missing| missing.count != Some(0)).collect();
    let with: Vec<&Groups> =
        report.by_group.iter().filter(|groups| groups.groups.iter().any(|group| !group.missing.is_empty())).collect();
    html! {
        section aria-labelledby="missing" {
            h2 #missing { "Values that are not known" }
            @if report.missingness.is_empty() { p { "Not stated." } }
            @else if lacked.is_empty() { p { "None: every column is known for everybody." } }
            @else {
                p { "Values that are missing more often in one group than in another make the data say less about that group, unseen." }
                (wide(&html! {
                    table {
                        caption { "People without a value" }
                        thead { tr { th scope="col" { "Column" } th.number scope="col" { "People" } th.number scope="col" { "Share" } } }
                        tbody { @for missing in &lacked { tr { th scope="row" { (title_of(&missing.column)) } td.number { (counted(missing.count)) } td.number { (shared(missing.share)) } } } }
                    }
                }))
                @for groups in with {
                    details {
                        summary { "By " (groups.title.to_lowercase()) }
                        (wide(&html! {
                            table {
                                caption { "Share of people without a value, by " (groups.title.to_lowercase()) }
                                thead { tr { th scope="col" { (groups.title) } th.number scope="col" { "People" } @for missing in first(groups, |group| &group.missing) { th.number scope="col" { (title_of(&missing.column)) } } } }
                                tbody {
                                    @for group in &groups.groups {
                                        tr {
                                            th scope="row" { (group.label) }
                                            td.number { (counted(group.people)) }
                                            @for missing in &group.missing { td.number { (missing.share.map_or_else(|| "hidden".to_owned(), per_cent)) } }
                                        }
                                    }
                                }
                            }
                        }))
                    }
                }
            }
        }
    }
}

fn first<'a, T>(groups: &'a Groups, part: impl Fn(&'a Group) -> &'a Vec<T>) -> &'a [T] {
    groups.groups.first().map_or(&[], |group| part(group))
}

fn events(report: &Report) -> Markup {
    let with: Vec<&Groups> = report
        .by_group
        .iter()
        .filter(|groups| groups.groups.iter().any(|group| group.follow_up.is_some() || !group.events.is_empty()))
        .collect();
    let per_person = |events: &Events| match (events.share, events.per_person) {
        (Some(share), Some(mean)) => format!("{} ({mean})", per_cent(share)),
        _ => "hidden".to_owned(),
    };
    html! {
        @if !report.events.is_empty() || !with.is_empty() {
            section aria-labelledby="events" {
                h2 #events { "What happened to whom, and for how long it was seen" }
                p { "Fewer events in a group may mean better health, or less that was written down." }
                @if !report.events.is_empty() {
                    (wide(&html! {
                        table {
                            caption { "People with any event" }
                            thead { tr { th scope="col" { "Event" } th.number scope="col" { "People" } th.number scope="col" { "Share" } th.number scope="col" { "Events per person" } } }
                            tbody { @for events in &report.events { tr { th scope="row" { (title_of(&events.kind)) } td.number { (counted(events.people)) } td.number { (shared(events.share)) } td.number { (number(events.per_person)) } } } }
                        }
                    }))
                }
                @for groups in with {
                    details {
                        summary { "By " (groups.title.to_lowercase()) }
                        (wide(&html! {
                            table {
                                caption { "Share of people with any event (events per person) and years of follow-up, by " (groups.title.to_lowercase()) }
                                thead {
                                    tr {
                                        th scope="col" { (groups.title) } th.number scope="col" { "People" }
                                        @for events in first(groups, |group| &group.events) { th.number scope="col" { (title_of(&events.kind)) } }
                                        @if groups.groups.iter().any(|group| group.follow_up.is_some()) { th.number scope="col" { "Follow-up, mean" } th.number scope="col" { "median" } }
                                    }
                                }
                                tbody {
                                    @for group in &groups.groups {
                                        tr {
                                            th scope="row" { (group.label) }
                                            td.number { (counted(group.people)) }
                                            @for events in &group.events { td.number { (per_person(events)) } }
                                            @if groups.groups.iter().any(|group| group.follow_up.is_some()) {
                                                td.number { @if let Some(years) = group.follow_up { (years.mean_years) } @else { "hidden" } }
                                                td.number { @if let Some(years) = group.follow_up { (years.median_years) } @else { "hidden" } }
                                            }
                                        }
                                    }
                                }
                            }
                        }))
                    }
                }
            }
        }
    }
}

fn errors(report: &Report) -> Markup {
    let with: Vec<&Groups> =
        report.by_group.iter().filter(|groups| groups.groups.iter().any(|group| group.model_error.is_some())).collect();
    let words = |measure: &str| if measure == "brier-score" { "Brier score" } else { "mean absolute error" }.to_owned();
    html! {
        @if !with.is_empty() {
            section aria-labelledby="errors" {
                h2 #errors { "Where the model errs" }
                p { "The error of the predictions beside the size of each group. An interval that is wide says that the group is too small to tell." }
                @for groups in with {
                    (wide(&html! {
                        table {
                            caption { "Model error by " (groups.title.to_lowercase()) }
                            thead { tr { th scope="col" { (groups.title) } th.number scope="col" { "Predictions" } th.number scope="col" { "Error" } th.number scope="col" { "95 % interval" } th scope="col" { "Measure" } } }
                            tbody {
                                @for group in &groups.groups {
                                    tr {
                                        th scope="row" { (group.label) }
                                        @match &group.model_error {
                                            Some(error) => {
                                                td.number { (thousands(error.people)) }
                                                td.number { (error.error) }
                                                td.number { (error.low) " to " (error.high) }
                                                td { (words(&error.measure)) }
                                            }
                                            None => { td.number { "hidden" } td.number { "–" } td.number { "–" } td { "–" } }
                                        }
                                    }
                                }
                            }
                        }
                    }))
                }
            }
        }
    }
}

fn coverage(report: &Report) -> Markup {
    html! {
        @if !report.coverage.is_empty() {
            section aria-labelledby="coverage" {
                h2 #coverage { "What is covered" }
                (wide(&html! {
                    table {
                        caption { "Breadth" }
                        thead { tr { th scope="col" { "Of" } th.number scope="col" { "Different ones" } th.number scope="col" { "With 50 people or more" } } }
                        tbody { @for one in &report.coverage { tr { th scope="row" { (one.title) } td.number { (thousands(one.values)) } td.number { (thousands(one.with_50_people)) } } } }
                    }
                }))
                @for one in report.coverage.iter().filter(|one| !one.most.is_empty()) {
                    details {
                        summary { (one.title) ": people of each" }
                        (wide(&html! {
                            table {
                                caption { (one.title) ", those that may be counted openly" }
                                thead { tr { th scope="col" { (one.title) } th.number scope="col" { "People" } } }
                                tbody { @for line in &one.most { tr { th scope="row" { (line.label) } td.number { (thousands(line.people)) } } } }
                            }
                        }))
                    }
                }
            }
        }
    }
}

fn consent(report: &Report) -> Markup {
    let consent = &report.consent;
    html! {
        section aria-labelledby="consent" {
            h2 #consent { "Who agreed" }
            p { (consent.statement) }
            @for groups in &consent.by_group {
                (wide(&html! {
                    table {
                        caption { "Refusal and withdrawal by " (groups.title.to_lowercase()) }
                        thead { tr { th scope="col" { (groups.title) } th.number scope="col" { "Asked" } th.number scope="col" { "Refused" } th.number scope="col" { "Withdrew" } } }
                        tbody {
                            @for group in &groups.groups {
                                tr {
                                    th scope="row" { (group.label) }
                                    td.number { (counted(group.asked)) }
                                    td.number { (group.refusal_rate.map_or_else(|| "hidden or none".to_owned(), per_cent)) }
                                    td.number { (group.withdrawal_rate.map_or_else(|| "hidden or none".to_owned(), per_cent)) }
                                }
                            }
                        }
                    }
                }))
            }
        }
    }
}

fn change(report: &Report) -> Markup {
    html! {
        @if let Some(change) = &report.change {
            section aria-labelledby="change" {
                h2 #change { "Since the report before" }
                p {
                    "People: " (counted(change.people_before)) " before, " (counted(change.people_now)) " now. "
                    @if change.small_differences > 0 {
                        (thousands(change.small_differences)) " counts differ by fewer than " (report.minimum_cell)
                        " people from the report before: whoever has both learns of those few. Publish again when more have joined."
                    }
                }
                (wide(&html! {
                    table {
                        caption { "Distance from the reference, and how far the shares moved" }
                        thead { tr { th scope="col" { "Of" } th.number scope="col" { "Distance before" } th.number scope="col" { "Distance now" } th.number scope="col" { "Stability index between the two" } } }
                        tbody { @for one in &change.dimensions { tr { th scope="row" { (one.title) } td.number { (number(one.distance_before)) } td.number { (number(one.distance_now)) } td.number { (number(one.population_stability_index)) } } } }
                    }
                }))
                @for one in change.dimensions.iter().filter(|one| !one.cells.is_empty()) {
                    details {
                        summary { "Shares of " (one.title.to_lowercase()) ", before and now" }
                        (wide(&html! {
                            table {
                                caption { "Shares before and now" }
                                thead { tr { th scope="col" { "Group" } th.number scope="col" { "Before" } th.number scope="col" { "Now" } } }
                                tbody { @for cell in &one.cells { tr { th scope="row" { (cell.label) } td.number { (per_cent(cell.share_before)) } td.number { (per_cent(cell.share_now)) } } } }
                            }
                        }))
                    }
                }
            }
        }
    }
}

fn not_recorded(report: &Report) -> Markup {
    html! {
        @if !report.not_recorded.is_empty() {
            section aria-labelledby="absent" {
                h2 #absent { "What nobody wrote down" }
                ul { @for fact in &report.not_recorded { li { b { (title_of(&fact.name)) } ": " (fact.reason.trim_end_matches('.')) "." } } }
            }
        }
    }
}

fn reading(report: &Report) -> Markup {
    html! {
        section aria-labelledby="reading" {
            h2 #reading { "How to read this" }
            ul {
                @if report.minimum_cell > 1 {
                    li { "Counts from 1 to " (report.minimum_cell - 1) " are hidden, and as many others as are needed so that none of them follows from the rest. Figures of a whole distribution have fewer digits, or are left out, where they would give a hidden count away." }
                }
                li { "A group between " (REPRESENTED.0) " and " (REPRESENTED.1) " times its share in the reference counts as represented. A small group can be in proportion and still too small to learn from." }
                li { "Intervals are those of Wilson (1927); they tell how much chance could have done, not what selection did." }
                li { "What is reported follows STANDING Together, Recommendations 1.0 (2023)." }
            }
        }
    }
}
