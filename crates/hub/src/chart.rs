//! The charts of the pages as SVG that speaks: a role, a title, a description, and shapes besides colours.
//!
//! Drawn 360 units wide so that text keeps a readable size on a phone. Colours come from the style sheet by class.

use maud::{Markup, html};

const WIDTH: f64 = 360.0;
/// Farthest left edge of the bars; labels end before it.
const LEFT: f64 = 182.0;
/// About the width of a letter of a label.
const LETTER: f64 = 7.3;
const RIGHT: f64 = 302.0;
const ROW: f64 = 26.0;
/// Labels longer than this are cut; the table beside the chart has them whole.
const LABEL_CHARACTERS: usize = 23;

/// Shares of one split over the bins, from 0 to 1; `None` is a hidden count.
pub(crate) type Shares = Vec<Option<f64>>;

/// What a chart says to those who do not see it.
pub(crate) struct Words<'a> {
    /// Unique on the page.
    pub(crate) id: &'a str,
    pub(crate) title: &'a str,
    pub(crate) description: &'a str,
}

/// Shares per category: a bar for the first split, a diamond for the second, a ring for the third.
pub(crate) fn categories(words: &Words<'_>, labels: &[&str], splits: &[Shares]) -> Markup {
    let most = axis_end(splits.iter().flatten().flatten().copied());
    let bottom = labels.len() as f64 * ROW + 4.0;
    let left = left(labels.iter().copied());
    let x = |share: f64| left + (RIGHT - left) * (share / most).min(1.0);
    let share = |split: usize, bin: usize| splits.get(split).and_then(|shares| shares.get(bin)).copied().flatten();
    let inner = html! {
        (grid(left, most, bottom))
        @for (bin, label) in labels.iter().enumerate() {
            @let top = bin as f64 * ROW;
            @let middle = top + ROW / 2.0;
            text.label x=(px(left - 8.0)) y=(px(middle + 4.0)) text-anchor="end" { (cut(label)) }
            @if let Some(share) = share(0, bin) {
                rect.train x=(px(left)) y=(px(top + 6.0)) width=(px(x(share) - left)) height=(px(ROW - 12.0)) rx="2" {}
                text.value x=(px(RIGHT + 11.0)) y=(px(middle + 4.0)) { (percent(share)) }
            } @else {
                text.value x=(px(RIGHT + 11.0)) y=(px(middle + 4.0)) { "hidden" }
            }
            @if let Some(share) = share(1, bin) { (diamond(x(share), middle)) }
            @if let Some(share) = share(2, bin) { (ring(x(share), middle)) }
        }
    };
    picture(words, bottom + 20.0, &inner)
}

/// A histogram of a number: `edges` has one number more than there are bins.
pub(crate) fn histogram(words: &Words<'_>, edges: &[String], splits: &[Shares]) -> Markup {
    const TOP: f64 = 10.0;
    const BASE: f64 = 164.0;
    const START: f64 = 40.0;
    let bins = edges.len().saturating_sub(1).max(1);
    let step = (WIDTH - 12.0 - START) / bins as f64;
    let most = axis_end(splits.iter().flatten().flatten().copied());
    let y = |share: f64| BASE - (BASE - TOP) * (share / most).min(1.0);
    let x = |edge: usize| START + step * edge as f64;
    let share = |split: usize, bin: usize| splits.get(split).and_then(|shares| shares.get(bin)).copied().flatten();
    // As many edge labels as fit without touching, the first and the last among them.
    let longest = edges.iter().map(|edge| edge.chars().count()).max().unwrap_or(1) as f64 * 7.0 + 8.0;
    let every = (longest / step).ceil().max(1.0) as usize;
    let inner = html! {
        @for part in 0..=2 {
            @let share = most * f64::from(part) / 2.0;
            line.grid x1=(px(START)) x2=(px(WIDTH - 12.0)) y1=(px(y(share))) y2=(px(y(share))) {}
            text.tick x=(px(START - 6.0)) y=(px(y(share) + 4.0)) text-anchor="end" { (percent(share)) }
        }
        @for bin in 0..bins {
            @let middle = x(bin) + step / 2.0;
            @if let Some(share) = share(0, bin) {
                rect.train x=(px(x(bin) + 0.75)) y=(px(y(share))) width=(px(step - 1.5)) height=(px(BASE - y(share))) {}
            }
            @if let Some(share) = share(1, bin) { (diamond(middle, y(share))) }
            @if let Some(share) = share(2, bin) { (ring(middle, y(share))) }
        }
        @for (edge, label) in edges.iter().enumerate().filter(|(edge, _)| edge % every == 0) {
            text.tick x=(px(x(edge))) y=(px(BASE + 17.0)) text-anchor="middle" { (label) }
        }
    };
    picture(words, BASE + 24.0, &inner)
}

/// One row of [`against_reference`].
pub(crate) struct Compared<'a> {
    pub(crate) label: &'a str,
    pub(crate) share: Option<f64>,
    /// Interval of the share.
    pub(crate) interval: Option<(f64, f64)>,
    pub(crate) reference: Option<f64>,
}

/// Shares as bars with their interval as a line, the reference as a stroke across.
pub(crate) fn against_reference(words: &Words<'_>, rows: &[Compared<'_>]) -> Markup {
    let ends = rows.iter().flat_map(|row| [row.share, row.reference, row.interval.map(|(_, high)| high)]);
    let most = axis_end(ends.flatten());
    let bottom = rows.len() as f64 * ROW + 4.0;
    let left = left(rows.iter().map(|row| row.label));
    let x = |share: f64| left + (RIGHT - left) * (share / most).clamp(0.0, 1.0);
    let inner = html! {
        (grid(left, most, bottom))
        @for (at, row) in rows.iter().enumerate() {
            @let top = at as f64 * ROW;
            @let middle = top + ROW / 2.0;
            text.label x=(px(left - 8.0)) y=(px(middle + 4.0)) text-anchor="end" { (cut(row.label)) }
            @if let Some(share) = row.share {
                rect.train x=(px(left)) y=(px(top + 6.0)) width=(px(x(share) - left)) height=(px(ROW - 12.0)) rx="2" {}
                text.value x=(px(RIGHT + 11.0)) y=(px(middle + 4.0)) { (percent(share)) }
            } @else {
                text.value x=(px(RIGHT + 11.0)) y=(px(middle + 4.0)) { "hidden" }
            }
            @if let Some((low, high)) = row.interval {
                line.interval x1=(px(x(low))) x2=(px(x(high))) y1=(px(middle)) y2=(px(middle)) {}
            }
            @if let Some(reference) = row.reference {
                line.reference x1=(px(x(reference))) x2=(px(x(reference))) y1=(px(top + 2.0)) y2=(px(top + ROW - 2.0)) {}
            }
        }
    };
    picture(words, bottom + 20.0, &inner)
}

/// People who look the same: what "1 in N" means. Nothing when there would be too many to see.
pub(crate) fn crowd(words: &Words<'_>, size: u64) -> Markup {
    const IN_A_ROW: u64 = 12;
    const CELL: f64 = 29.0;
    const TALL: f64 = 40.0;
    if !(2..=5 * IN_A_ROW).contains(&size) {
        return html! {};
    }
    let rows = size.div_ceil(IN_A_ROW) as f64;
    let inner = html! {
        @for at in 0..size {
            @let (x, y) = ((at % IN_A_ROW) as f64 * CELL + CELL / 2.0 + 6.0, (at / IN_A_ROW) as f64 * TALL + 9.0);
            circle.person cx=(px(x)) cy=(px(y)) r="5.5" {}
            path.person d=(format!("M{} {}a8 8 0 0 1 16 0v8a3 3 0 0 1-3 3h-10a3 3 0 0 1-3-3z", px(x - 8.0), px(y + 15.0))) {}
        }
    };
    picture(words, rows * TALL + 2.0, &inner)
}

/// One line of [`curves`].
pub(crate) struct Curve<'a> {
    /// How it is drawn: a class of the style sheet, `first`, `second` or `none`.
    pub(crate) class: &'static str,
    pub(crate) points: &'a [(f64, f64)],
}

/// Lines over two axes, with points and a band beside the first line. What leaves the frame is cut off.
pub(crate) struct Curves<'a> {
    pub(crate) labels: (&'a str, &'a str),
    /// Ends of the axes, before they are rounded.
    pub(crate) x: (f64, f64),
    pub(crate) y: (f64, f64),
    pub(crate) curves: &'a [Curve<'a>],
    /// Squares.
    pub(crate) points: &'a [(f64, f64)],
    /// `x`, low and high.
    pub(crate) band: &'a [(f64, f64, f64)],
}

/// Calibration, decision curves and the like.
pub(crate) fn curves(words: &Words<'_>, drawn: &Curves<'_>) -> Markup {
    const START: f64 = 52.0;
    const END: f64 = 350.0;
    const TOP: f64 = 8.0;
    const BASE: f64 = 262.0;
    let ((x_low, x_high, x_step), (y_low, y_high, y_step)) = (axis(drawn.x), axis(drawn.y));
    let x = |value: f64| START + (END - START) * (value - x_low) / (x_high - x_low);
    let y = |value: f64| BASE - (BASE - TOP) * (value - y_low) / (y_high - y_low);
    let line = |points: &[(f64, f64)]| -> String {
        let finite = points.iter().filter(|(a, b)| a.is_finite() && b.is_finite());
        finite.map(|(a, b)| format!("{},{}", px(x(*a)), px(y(*b)))).collect::<Vec<_>>().join(" ")
    };
    let mut around: Vec<(f64, f64)> = drawn.band.iter().map(|(at, low, _)| (*at, *low)).collect();
    around.extend(drawn.band.iter().rev().map(|(at, _, high)| (*at, *high)));
    let clip = format!("{}-clip", words.id);
    let inner = html! {
        clipPath id=(clip) { rect x=(px(START)) y=(px(TOP)) width=(px(END - START)) height=(px(BASE - TOP)) {} }
        @for tick in ticks(x_low, x_high, x_step) {
            line.grid x1=(px(x(tick))) x2=(px(x(tick))) y1=(px(TOP)) y2=(px(BASE)) {}
            text.tick x=(px(x(tick))) y=(px(BASE + 16.0)) text-anchor="middle" { (ticked(tick, x_step)) }
        }
        @for tick in ticks(y_low, y_high, y_step) {
            line.grid x1=(px(START)) x2=(px(END)) y1=(px(y(tick))) y2=(px(y(tick))) {}
            text.tick x=(px(START - 6.0)) y=(px(y(tick) + 4.0)) text-anchor="end" { (ticked(tick, y_step)) }
        }
        g clip-path=(format!("url(#{clip})")) {
            @if !around.is_empty() { polygon.band points=(line(&around)) {} }
            @for curve in drawn.curves { polyline.curve.(curve.class) points=(line(curve.points)) {} }
            @for (a, b) in drawn.points { rect.square x=(px(x(*a) - 4.5)) y=(px(y(*b) - 4.5)) width="9" height="9" {} }
        }
        text.axis x=(px(f64::midpoint(START, END))) y=(px(BASE + 36.0)) text-anchor="middle" { (drawn.labels.0) }
        text.axis x="12" y=(px(f64::midpoint(TOP, BASE))) text-anchor="middle" transform=(format!("rotate(-90 12 {})", px(f64::midpoint(TOP, BASE)))) { (drawn.labels.1) }
    };
    picture(words, BASE + 42.0, &inner)
}

/// One row of [`forest`].
pub(crate) struct Estimated<'a> {
    pub(crate) label: &'a str,
    pub(crate) value: f64,
    pub(crate) interval: Option<(f64, f64)>,
    /// Whether the others are pooled in it.
    pub(crate) pooled: bool,
}

/// Values with their intervals, one under the other; `neutral` is where there is no effect, or chance.
pub(crate) fn forest(words: &Words<'_>, rows: &[Estimated<'_>], neutral: Option<f64>) -> Markup {
    let ends = rows.iter().flat_map(|row| {
        let (low, high) = row.interval.unwrap_or((row.value, row.value));
        [row.value, low, high]
    });
    let ends: Vec<f64> = ends.chain(neutral).filter(|value| value.is_finite()).collect();
    let low = ends.iter().copied().fold(f64::INFINITY, f64::min);
    let high = ends.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if ends.is_empty() {
        return html! {};
    }
    let (from, to, step) = axis((low, high));
    let bottom = rows.len() as f64 * ROW + 4.0;
    let left = left(rows.iter().map(|row| row.label));
    let x = |value: f64| left + (RIGHT - left) * ((value - from) / (to - from)).clamp(0.0, 1.0);
    let inner = html! {
        @for tick in ticks(from, to, step) {
            line.grid x1=(px(x(tick))) x2=(px(x(tick))) y1="2" y2=(px(bottom)) {}
            text.tick x=(px(x(tick))) y=(px(bottom + 15.0)) text-anchor="middle" { (ticked(tick, step)) }
        }
        @if let Some(neutral) = neutral {
            line.neutral x1=(px(x(neutral))) x2=(px(x(neutral))) y1="2" y2=(px(bottom)) {}
        }
        @for (at, row) in rows.iter().enumerate() {
            @let middle = at as f64 * ROW + ROW / 2.0;
            text.label x=(px(left - 8.0)) y=(px(middle + 4.0)) text-anchor="end" { (cut(row.label)) }
            @if let Some((low, high)) = row.interval {
                line.interval x1=(px(x(low))) x2=(px(x(high))) y1=(px(middle)) y2=(px(middle)) {}
            }
            @if row.pooled { (diamond(x(row.value), middle)) }
            @else { rect.square x=(px(x(row.value) - 4.5)) y=(px(middle - 4.5)) width="9" height="9" {} }
            text.value x=(px(RIGHT + 11.0)) y=(px(middle + 4.0)) { (format!("{:.3}", row.value)) }
        }
    };
    picture(words, bottom + 20.0, &inner)
}

/// Round ends of an axis around two values, and what lies between two ticks: about five of them.
fn axis((low, high): (f64, f64)) -> (f64, f64, f64) {
    let span = (high - low).max(1e-3);
    let unit = 10_f64.powf((span / 5.0).log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].into_iter().map(|times| times * unit);
    let step = steps.into_iter().find(|step| *step >= span / 5.0 - 1e-12).unwrap_or(unit);
    let (from, to) = ((low / step + 1e-9).floor() * step, (high / step - 1e-9).ceil() * step);
    (from, if to > from { to } else { from + step }, step)
}

fn ticks(from: f64, to: f64, step: f64) -> impl Iterator<Item = f64> {
    let many = ((to - from) / step).round().clamp(0.0, 20.0) as u32;
    (0..=many).map(move |at| from + f64::from(at) * step)
}

/// A tick's number with as many decimals as its step needs.
fn ticked(value: f64, step: f64) -> String {
    let decimals = (-(step.log10() + 1e-9).floor()).clamp(0.0, 6.0) as usize;
    let text = format!("{value:.decimals$}");
    // Minus zero is zero.
    let is_zero = text.trim_start_matches('-').chars().all(|c| matches!(c, '0' | '.'));
    if is_zero { text.trim_start_matches('-').to_owned() } else { text }
}

/// The mark of something in a legend of [`curves`]: a line, the squares, or the line with its band.
pub(crate) fn curve_swatch(class: &str) -> Markup {
    html! {
        svg.swatch viewBox="0 0 20 16" width="20" height="16" aria-hidden="true" focusable="false" {
            @match class {
                "square" => { rect.square x="5.5" y="3.5" width="9" height="9" {} }
                "band" => { rect.band x="0" y="2" width="20" height="12" {} line.curve.first x1="0" x2="20" y1="8" y2="8" {} }
                _ => { line.curve.(class) x1="0" x2="20" y1="8" y2="8" {} }
            }
        }
    }
}

/// The mark of a split in a legend: 0, 1, 2 as in the charts.
pub(crate) fn swatch(split: usize) -> Markup {
    html! {
        svg.swatch viewBox="0 0 20 16" width="20" height="16" aria-hidden="true" focusable="false" {
            @match split {
                0 => { rect.train x="1" y="3" width="18" height="10" rx="2" {} }
                1 => { (diamond(10.0, 8.0)) }
                _ => { (ring(10.0, 8.0)) }
            }
        }
    }
}

/// The stroke of the reference in a legend.
pub(crate) fn reference_swatch() -> Markup {
    html! {
        svg.swatch viewBox="0 0 20 16" width="20" height="16" aria-hidden="true" focusable="false" {
            line.reference x1="10" x2="10" y1="1" y2="15" {}
        }
    }
}

/// Left edge of the bars: as far left as the labels leave room.
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

fn diamond(x: f64, y: f64) -> Markup {
    let points = [(x, y - 5.5), (x + 5.5, y), (x, y + 5.5), (x - 5.5, y)];
    let points: Vec<String> = points.iter().map(|(x, y)| format!("{},{}", px(*x), px(*y))).collect();
    html! { polygon.validation points=(points.join(" ")) {} }
}

fn ring(x: f64, y: f64) -> Markup {
    // The halo keeps the ring visible on a bar.
    html! { circle.halo cx=(px(x)) cy=(px(y)) r="4" {} circle.test cx=(px(x)) cy=(px(y)) r="4" {} }
}

/// The end of an axis of shares: the next round one, so that charts of a page differ little in scale.
fn axis_end(shares: impl Iterator<Item = f64>) -> f64 {
    let most = shares.fold(0.0, f64::max);
    [0.02, 0.04, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8].into_iter().find(|end| most <= *end).unwrap_or(1.0)
}

/// A length with a tenth of a unit, the same text on every machine.
fn px(length: f64) -> String {
    let tenths = (length.clamp(-1e6, 1e6) * 10.0).round() / 10.0;
    format!("{}", if tenths == 0.0 { 0.0 } else { tenths })
}

/// A share in per cent: whole from 10 on, one decimal below. The sign stays on the number's line.
pub(crate) fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent == 0.0 || percent >= 9.95 { format!("{percent:.0}\u{a0}%") } else { format!("{percent:.1}\u{a0}%") }
}

fn cut(label: &str) -> String {
    if label.chars().count() <= LABEL_CHARACTERS {
        return label.to_owned();
    }
    let mut short: String = label.chars().take(LABEL_CHARACTERS - 1).collect();
    short.push('…');
    short
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_chart_can_be_read_aloud() {
        let words = Words { id: "c1", title: "Grade", description: "Share of people per grade." };
        let svg = categories(&words, &["I", "a very <long> label indeed"], &[vec![Some(0.25), None]]).into_string();
        for part in [
            "role=\"img\"",
            "<title id=\"c1-title\">Grade</title>",
            "<desc id=\"c1-desc\">Share of people per grade.</desc>",
            "aria-labelledby=\"c1-title\"",
            "25\u{a0}%",
            "hidden",
            "a very &lt;long&gt; label in…",
        ] {
            assert!(svg.contains(part), "{part} in {svg}");
        }
        assert!(!svg.contains("style="));
    }

    #[test]
    fn percentages() {
        let written = ["0", "0.4", "8.3", "10", "100"].map(|number| format!("{number}\u{a0}%"));
        assert_eq!([0.0, 0.004, 0.0832, 0.0996, 1.0].map(percent), written);
    }

    #[test]
    fn axes_end_at_round_numbers_around_the_values() {
        assert_eq!(axis((0.0, 0.76)), (0.0, 0.8, 0.2));
        let (from, to, step) = axis((-0.07, 0.45));
        assert!(from <= -0.07 && to >= 0.45 && step > 0.0);
        let written: Vec<String> = ticks(0.0, 0.8, 0.2).map(|tick| ticked(tick, 0.2)).collect();
        assert_eq!(written, ["0.0", "0.2", "0.4", "0.6", "0.8"]);
        assert_eq!(ticked(-0.000_000_1, 0.1), "0.0");
    }

    #[test]
    fn curves_and_forests_can_be_read_aloud() {
        let words = Words { id: "c2", title: "Calibration", description: "Observed over predicted." };
        let points = [(0.1, 0.12), (0.9, 0.8)];
        let drawn = Curves {
            labels: ("predicted", "observed"),
            x: (0.0, 1.0),
            y: (0.0, 1.0),
            curves: &[Curve { class: "first", points: &points }],
            points: &points,
            band: &[(0.1, 0.0, 0.2), (0.9, f64::NAN, 0.9)],
        };
        let rows = [Estimated { label: "north", value: 0.7, interval: Some((0.6, 0.8)), pooled: false }];
        for svg in [curves(&words, &drawn), forest(&words, &rows, Some(0.5))] {
            let svg = svg.into_string();
            assert!(svg.contains("role=\"img\"") && svg.contains("<title id=\"c2-title\">Calibration</title>"));
            assert!(!svg.contains("NaN") && !svg.contains("inf") && !svg.contains("style="), "{svg}");
        }
        assert!(forest(&words, &[], None).into_string().is_empty());
    }

    proptest! {
        #[test]
        fn nothing_is_drawn_outside(shares in prop::collection::vec(prop::option::of(0.0f64..=1.0), 1..30)) {
            let labels: Vec<&str> = shares.iter().map(|_| "x").collect();
            let words = Words { id: "c", title: "t", description: "d" };
            let edges: Vec<String> = (0..=shares.len()).map(|edge| edge.to_string()).collect();
            let splits = [shares.clone(), shares.clone(), shares];
            for svg in [categories(&words, &labels, &splits), histogram(&words, &edges, &splits)] {
                let svg = svg.into_string();
                for attribute in [" x=\"", " width=\"", " height=\"", " y=\"", " cx=\"", " cy=\""] {
                    for value in svg.split(attribute).skip(1) {
                        let number: f64 = value.split('"').next().unwrap_or("").parse().unwrap();
                        prop_assert!((0.0..=900.0).contains(&number), "{attribute}{number}");
                    }
                }
            }
        }
    }
}
