//! Charts of the report as SVG that speaks: a role, a title, a description, and shapes besides colours. Beside each stands
//! a table with the same numbers.

use maud::{Markup, html};

use super::words::percent;

const WIDTH: f64 = 440.0;
const RIGHT: f64 = 372.0;
/// About the width of a letter of a label.
const LETTER: f64 = 6.9;
/// Farthest left edge of the plot; labels end before it.
const LEFT: f64 = 190.0;
/// Labels longer than this are cut; the table beside the chart has them whole.
const LABEL_CHARACTERS: usize = 26;

/// What a chart says to those who do not see it.
pub(super) struct Words<'a> {
    /// Unique on the page.
    pub(super) id: &'a str,
    pub(super) title: &'a str,
    pub(super) description: &'a str,
}

/// One row of [`bars`]: a share before, where it may be shown, and after.
pub(super) struct Bar<'a> {
    pub(super) label: &'a str,
    pub(super) before: Option<f64>,
    pub(super) after: Option<f64>,
}

/// Shares from 0 to 1 as bars, those before above those after.
pub(super) fn bars(words: &Words<'_>, rows: &[Bar<'_>]) -> Markup {
    let both = rows.iter().any(|row| row.before.is_some()) && rows.iter().any(|row| row.after.is_some());
    let height = if both { 40.0 } else { 26.0 };
    let most = axis_end(rows.iter().flat_map(|row| [row.before, row.after]).flatten());
    let bottom = rows.len() as f64 * height + 4.0;
    let left = left(rows.iter().map(|row| row.label));
    let x = |share: f64| left + (RIGHT - left) * (share / most).clamp(0.0, 1.0);
    let inner = html! {
        (grid(left, most, bottom))
        @for (at, row) in rows.iter().enumerate() {
            @let top = at as f64 * height;
            text.label x=(px(left - 8.0)) y=(px(top + height / 2.0 + 4.0)) text-anchor="end" { (cut(row.label)) }
            @for (share, class, part) in [(row.before, "before", 0.0), (row.after, "after", 1.0)] {
                @if let Some(share) = share {
                    @let middle = if both { top + 12.0 + 16.0 * part } else { top + height / 2.0 };
                    rect class=(class) x=(px(left)) y=(px(middle - 6.0)) width=(px(x(share) - left)) height="12" rx="2" {}
                    text.value x=(px(x(share) + 5.0)) y=(px(middle + 4.0)) { (percent(share)) }
                }
            }
        }
    };
    picture(words, bottom + 20.0, &inner)
}

/// One row of [`intervals`].
pub(super) struct Rate<'a> {
    pub(super) label: &'a str,
    pub(super) rate: f64,
    pub(super) interval: (f64, f64),
    pub(super) control: Option<f64>,
    pub(super) limit: Option<f64>,
}

/// Rates from 0 to 1 as dots with their interval as a line, the control as a diamond, the limit as a broken stroke.
pub(super) fn intervals(words: &Words<'_>, rows: &[Rate<'_>]) -> Markup {
    const HEIGHT: f64 = 28.0;
    let ends = rows.iter().flat_map(|row| [Some(row.interval.1), Some(row.rate), row.control, row.limit]);
    let most = axis_end(ends.flatten());
    let bottom = rows.len() as f64 * HEIGHT + 4.0;
    let left = left(rows.iter().map(|row| row.label));
    let x = |share: f64| left + (RIGHT - left) * (share / most).clamp(0.0, 1.0);
    let inner = html! {
        (grid(left, most, bottom))
        @for (at, row) in rows.iter().enumerate() {
            @let middle = at as f64 * HEIGHT + HEIGHT / 2.0;
            text.label x=(px(left - 8.0)) y=(px(middle + 4.0)) text-anchor="end" { (cut(row.label)) }
            @if let Some(limit) = row.limit {
                line.limit x1=(px(x(limit))) x2=(px(x(limit))) y1=(px(middle - 12.0)) y2=(px(middle + 12.0)) {}
            }
            line.interval x1=(px(x(row.interval.0))) x2=(px(x(row.interval.1))) y1=(px(middle)) y2=(px(middle)) {}
            @if let Some(control) = row.control {
                polygon.control points=(diamond(x(control), middle)) {}
            }
            circle.after cx=(px(x(row.rate))) cy=(px(middle)) r="4.5" {}
            text.value x=(px(RIGHT + 14.0)) y=(px(middle + 4.0)) { (percent(row.rate)) }
        }
    };
    picture(words, bottom + 20.0, &inner)
}

/// A legend entry's picture.
pub(super) fn swatch(kind: &str) -> Markup {
    html! {
        svg viewBox="0 0 20 14" aria-hidden="true" focusable="false" class="chart-swatch chart" {
            @match kind {
                "interval" => { line.interval x1="1" x2="19" y1="7" y2="7" {} circle.after cx="10" cy="7" r="4.5" {} }
                "control" => { polygon.control points=(diamond(10.0, 7.0)) {} }
                "limit" => { line.limit x1="10" x2="10" y1="0" y2="14" {} }
                other => { rect class=(other) x="1" y="1" width="18" height="12" rx="2" {} }
            }
        }
    }
}

/// Left edge of the plot: as far left as the labels leave room.
fn left<'a>(labels: impl Iterator<Item = &'a str>) -> f64 {
    let longest = labels.map(|label| label.chars().count()).max().unwrap_or(0);
    (longest as f64 * LETTER + 14.0).min(LEFT)
}

fn picture(words: &Words<'_>, height: f64, inner: &Markup) -> Markup {
    let (title, description) = (format!("{}-title", words.id), format!("{}-desc", words.id));
    html! {
        svg.chart role="img" viewBox=(format!("0 0 {WIDTH} {}", px(height))) aria-labelledby=(title) aria-describedby=(description) {
            title id=(title) { (words.title) }
            desc id=(description) { (words.description) }
            (inner)
        }
    }
}

fn grid(left: f64, most: f64, bottom: f64) -> Markup {
    html! {
        @for part in 0..=2 {
            @let at = left + (RIGHT - left) * f64::from(part) / 2.0;
            line.grid x1=(px(at)) x2=(px(at)) y1="2" y2=(px(bottom)) {}
            text.tick x=(px(at)) y=(px(bottom + 15.0)) text-anchor="middle" { (percent(most * f64::from(part) / 2.0)) }
        }
    }
}

fn diamond(x: f64, y: f64) -> String {
    let points = [(x, y - 5.5), (x + 5.5, y), (x, y + 5.5), (x - 5.5, y)];
    points.map(|(x, y)| format!("{},{}", px(x), px(y))).join(" ")
}

/// The end of an axis of shares: the next round one.
fn axis_end(shares: impl Iterator<Item = f64>) -> f64 {
    let most = shares.fold(0.0, f64::max);
    [0.01, 0.02, 0.04, 0.1, 0.2, 0.4, 0.6, 0.8].into_iter().find(|end| most <= *end).unwrap_or(1.0)
}

/// A length with a tenth of a unit, the same text on every machine.
fn px(length: f64) -> String {
    let tenths = (length.clamp(-1e6, 1e6) * 10.0).round() / 10.0;
    format!("{}", if tenths == 0.0 { 0.0 } else { tenths })
}

fn cut(label: &str) -> String {
    if label.chars().count() <= LABEL_CHARACTERS {
        return label.to_owned();
    }
    label.chars().take(LABEL_CHARACTERS - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn nothing_is_drawn_outside(rows in prop::collection::vec((prop::option::of(0.0..=1.0_f64), 0.0..=1.0_f64), 1..12)) {
            let words = Words { id: "c", title: "t", description: "d" };
            let of: Vec<Bar<'_>> =
                rows.iter().map(|(before, after)| Bar { label: "<x>", before: *before, after: Some(*after) }).collect();
            let rates: Vec<Rate<'_>> = rows
                .iter()
                .map(|(control, rate)| Rate { label: "y", rate: *rate, interval: (rate / 2.0, rate.sqrt()), control: *control, limit: Some(0.09) })
                .collect();
            for svg in [bars(&words, &of), intervals(&words, &rates)] {
                let svg = svg.into_string();
                prop_assert!(!svg.contains("<x>") && !svg.contains("NaN"));
                for attribute in [" x=\"", " x1=\"", " x2=\"", " width=\"", " y=\"", " cx=\"", " cy=\""] {
                    for value in svg.split(attribute).skip(1) {
                        let number: f64 = value.split('"').next().unwrap_or("").parse().unwrap();
                        prop_assert!((-8.0..=WIDTH.max(12.0 * 40.0 + 30.0)).contains(&number), "{attribute}{number}");
                    }
                }
            }
        }
    }
}
