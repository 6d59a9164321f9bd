//! One distribution compared with the reference.
//!
//! Formulas. Share of a cell: p = n / N over people with a known value. 95 % interval: Wilson, JASA 22(158), 1927.

use std::collections::BTreeMap;

use crate::audit::{Move, line_moves, safe_figures};
use crate::interval::{Interval, interval, natural};
use crate::measures::{Pair, people_needed};
use crate::reference::ReferenceCell;
use crate::report::{Cell, Described, Gap, Weighting};

/// What is compared.
#[derive(Debug, Clone, Default)]
pub struct Compared {
    /// Column, or columns joined by `*`.
    pub name: String,
    /// What people read.
    pub title: String,
    /// Value to label.
    pub labels: BTreeMap<String, String>,
    /// Counts in the order of the cells.
    pub cells: Vec<(String, u64)>,
    /// Reference share of each cell; `None` when it knows no such cell.
    pub reference: Vec<Option<f64>>,
    /// Whether there is a reference at all.
    pub has_reference: bool,
    /// Whether people of different bands were spread evenly over the reference's.
    pub mixed: bool,
    /// Whether de-identification left no value of the column.
    pub emptied: bool,
}

impl Compared {
    /// Puts counts beside the cells of a reference, and adds the cells that nobody is in.
    pub fn new(name: &str, title: &str, mut counts: BTreeMap<String, u64>, reference: &[ReferenceCell]) -> Self {
        let (shares, uncovered) = align(reference, counts.keys().map(String::as_str));
        for label in &uncovered {
            counts.entry((*label).to_owned()).or_insert(0);
        }
        let mut cells: Vec<(String, u64)> = counts.into_iter().collect();
        cells.sort_by(|a, b| natural(&a.0, &b.0));
        let reference_shares = cells.iter().map(|(value, _)| shares.get(value).copied().flatten()).collect();
        Self {
            name: name.to_owned(),
            title: title.to_owned(),
            labels: BTreeMap::new(),
            reference: reference_shares,
            cells,
            has_reference: !reference.is_empty(),
            mixed: false,
            emptied: false,
        }
    }
}

/// Describes a distribution of which the counts that are not `shown` stay hidden. `rows` is hidden when the number of
/// people without a value is.
pub fn describe(compared: &Compared, shown: &[Option<u64>], rows: Option<u64>) -> Described {
    let hidden: Vec<bool> = shown.iter().map(Option::is_none).collect();
    describe_with(compared, shown, rows, &line_moves(&hidden))
}

/// The same when other shown counts allow fewer moves between the cells.
pub(crate) fn describe_with(
    compared: &Compared,
    shown: &[Option<u64>],
    rows: Option<u64>,
    moves: &[Move],
) -> Described {
    let people: u64 = compared.cells.iter().map(|(_, n)| n).sum();
    let hidden: Vec<bool> = shown.iter().map(Option::is_none).collect();
    // With the number of people hidden, shares would give it away.
    let of = rows.unwrap_or(0);
    let cells: Vec<Cell> = compared
        .cells
        .iter()
        .zip(shown)
        .zip(&compared.reference)
        .map(|(((value, _), count), reference)| {
            let part = count.and_then(|n| share(n, of));
            let bounds = count.and_then(|n| wilson(n, of));
            Cell {
                label: compared.labels.get(value).unwrap_or(value).clone(),
                value: value.clone(),
                count: *count,
                share: part.map(round4),
                reference_share: reference.map(round4),
                ratio: part.zip(*reference).filter(|(_, q)| *q > 0.0).map(|(p, q)| round2(p / q)),
                low: bounds.map(|(low, _)| round4(low)),
                high: bounds.map(|(_, high)| round4(high)),
            }
        })
        .collect();
    let comparable = compared.has_reference && people > 0 && compared.reference.iter().all(Option::is_some);
    let pairs: Vec<Pair> = compared
        .cells
        .iter()
        .zip(&compared.reference)
        .map(|((_, count), reference)| Pair { count: *count, reference: reference.unwrap_or(0.0) })
        .collect();
    let (figures, lost) =
        if people > 0 { safe_figures(&pairs, comparable, &hidden, moves) } else { Default::default() };
    let mut gaps: Vec<Gap> = match (comparable, rows) {
        (true, Some(_)) => cells.iter().filter_map(|cell| gap(cell, people)).collect(),
        _ => Vec::new(),
    };
    gaps.sort_by(|a, b| b.people_needed.cmp(&a.people_needed).then_with(|| a.value.cmp(&b.value)));
    let mut notes = Vec::new();
    if compared.emptied {
        notes.push("de-identification left only * in this column, so nothing can be compared");
    } else if !compared.has_reference {
        notes.push("no reference population is known for this column");
    } else if !comparable {
        notes.push("the reference population is divided otherwise, so not every cell can be compared");
    } else if compared.mixed {
        notes.push(
            "people published in bands of different width are spread evenly over the reference's bands; an open band is compared whole",
        );
    }
    if lost {
        notes.push("figures of the whole distribution have fewer digits, or are left out, where they would give hidden counts away");
    }
    Described {
        name: compared.name.clone(),
        title: compared.title.clone(),
        rows,
        left_out: None,
        effective_number: figures.effective_number,
        total_variation_distance: figures.total_variation,
        inverse_simpson: figures.inverse_simpson,
        population_stability_index: figures.stability,
        kullback_leibler: figures.kullback_leibler,
        weighting: figures
            .design_effect
            .zip(figures.effective_size)
            .map(|(design_effect, size)| Weighting { design_effect, effective_size: size as u64 }),
        cells_outside: figures.outside,
        cells,
        gaps,
        note: (!notes.is_empty()).then(|| notes.join("; ")),
    }
}

/// How many people a cell lacks, from what is shown of it. The reference share counts as it is published, rounded.
fn gap(cell: &Cell, people: u64) -> Option<Gap> {
    let (count, reference) = cell.count.zip(cell.reference_share)?;
    let people_needed = people_needed(count, people, reference, crate::audit::REPRESENTED.0)?;
    Some(Gap { label: cell.label.clone(), value: cell.value.clone(), ratio: cell.ratio?, people_needed })
}

/// Whether some published values cover others, as they do when rows are recoded one by one.
pub fn overlapping<'a>(values: impl Iterator<Item = &'a String>) -> bool {
    let mut bands: Vec<Interval> = values.filter_map(|value| interval(value)).collect();
    bands.sort_by(|a, b| a.from().total_cmp(&b.from()).then(a.to().total_cmp(&b.to())));
    bands.windows(2).any(|pair| pair[1].from() < pair[0].to())
}

/// The reference's bands, with those that an open published band reaches into put together: how its people are spread over
/// them nobody knows. `None` when fewer than two would be left to compare.
fn undivided(values: &[&String], bands: &[(&str, Interval)]) -> Option<Vec<(String, Interval)>> {
    let published: Vec<Interval> = values.iter().filter_map(|value| interval(value)).collect();
    let under = |open: fn(&Interval) -> bool| -> Vec<bool> {
        let open: Vec<&Interval> = published.iter().filter(|band| open(band)).collect();
        bands.iter().map(|(_, band)| open.iter().any(|wanted| width(band, wanted) > 0.0)).collect()
    };
    let (low, high) = (under(|band| band.low.is_none()), under(|band| band.high.is_none()));
    if low.iter().zip(&high).any(|(low, high)| *low && *high) {
        return None;
    }
    let end = |under: &[bool], is_low: bool| {
        let own: Vec<&(&str, Interval)> =
            bands.iter().zip(under).filter(|(_, under)| **under).map(|(b, _)| b).collect();
        let from = own.iter().map(|(_, band)| band.from()).fold(f64::INFINITY, f64::min);
        let to = own.iter().map(|(_, band)| band.to()).fold(f64::NEG_INFINITY, f64::max);
        let whole = match is_low {
            true => Interval { low: None, high: Some(to) },
            false => Interval { low: Some(from), high: None },
        };
        let sign = if is_low { format!("<{to}") } else { format!(">={from}") };
        let known = own.iter().find(|(_, band)| *band == whole).map(|(label, _)| (*label).to_owned());
        let told = || values.iter().find(|value| interval(value) == Some(whole)).map(|value| (*value).clone());
        (!own.is_empty()).then(|| (known.or_else(told).unwrap_or(sign), whole))
    };
    let between = bands.iter().zip(low.iter().zip(&high)).filter(|(_, (low, high))| !**low && !**high);
    let between = between.map(|((label, band), _)| ((*label).to_owned(), *band));
    let all: Vec<(String, Interval)> = end(&low, true).into_iter().chain(between).chain(end(&high, false)).collect();
    (all.len() > 1).then_some(all)
}

/// How much of `wanted` lies in `band`; infinite when both are open at the same end.
fn width(band: &Interval, wanted: &Interval) -> f64 {
    (band.to().min(wanted.to()) - band.from().max(wanted.from())).max(0.0)
}

/// Counts in the reference's bands, of people in bands of different width: each published band's people are spread evenly
/// over the reference bands it covers, in whole people (largest remainders first). Reference bands that an open published
/// band reaches into become one, and `None` is the answer when that leaves nothing to compare. Values without a band stay
/// as they are.
pub fn spread(counts: BTreeMap<String, u64>, bands: &[(&str, Interval)]) -> Option<BTreeMap<String, u64>> {
    if bands.is_empty() {
        return Some(counts);
    }
    let bands = undivided(&counts.keys().collect::<Vec<_>>(), bands)?;
    let mut spread: BTreeMap<String, u64> = BTreeMap::new();
    for (value, count) in counts {
        let wanted = interval(&value);
        let widths: Vec<f64> =
            wanted.iter().flat_map(|wanted| bands.iter().map(|(_, band)| width(band, wanted))).collect();
        // An open band reaches into one of the bands only.
        let is_open = wanted.is_some_and(|wanted| wanted.low.is_none() || wanted.high.is_none());
        if let (true, Some(at)) = (is_open, widths.iter().position(|width| *width > 0.0)) {
            *spread.entry(bands[at].0.clone()).or_default() += count;
            continue;
        }
        let whole: f64 = widths.iter().sum();
        if whole <= 0.0 {
            *spread.entry(value).or_default() += count;
            continue;
        }
        let exact: Vec<f64> = widths.iter().map(|width| width / whole * count as f64).collect();
        let mut parts: Vec<u64> = exact.iter().map(|exact| exact.floor() as u64).collect();
        let mut order: Vec<usize> = (0..exact.len()).collect();
        order.sort_by(|a, b| exact[*b].fract().total_cmp(&exact[*a].fract()).then(a.cmp(b)));
        let left = count - parts.iter().sum::<u64>();
        order.iter().take(usize::try_from(left).unwrap_or(0)).for_each(|at| parts[*at] += 1);
        for ((label, _), part) in bands.iter().zip(parts).filter(|(_, part)| *part > 0) {
            *spread.entry(label.clone()).or_default() += part;
        }
    }
    Some(spread)
}

/// The reference share of each published value, and the reference cells that no published value covers.
///
/// Bands are divided in proportion to their overlap, as if people were spread evenly inside a band. A value that an open
/// reference band only partly covers has no share (`None`): how its people are spread is not known.
pub(crate) fn align<'a, 'v>(
    reference: &'a [ReferenceCell],
    published: impl Iterator<Item = &'v str>,
) -> (BTreeMap<String, Option<f64>>, Vec<&'a str>) {
    let total: f64 = reference.iter().map(|cell| cell.share).sum();
    let mut shares: BTreeMap<String, Option<f64>> = BTreeMap::new();
    let mut covered = vec![false; reference.len()];
    for value in published {
        let exact = reference.iter().position(|cell| cell.label == value);
        let share = match (exact, interval(value)) {
            (Some(at), _) => {
                covered[at] = true;
                Some(reference[at].share / total)
            }
            (None, Some(wanted)) => {
                let mut sum = Some(0.0);
                for (at, cell) in reference.iter().enumerate() {
                    let Some(band) = interval(&cell.label) else { continue };
                    if band.from() >= wanted.to() || band.to() <= wanted.from() {
                        continue;
                    }
                    covered[at] = true;
                    sum = sum.zip(overlap(band, wanted)).map(|(sum, part)| sum + part * cell.share / total);
                }
                sum
            }
            (None, None) => None,
        };
        shares.insert(value.to_owned(), share);
    }
    let left: Vec<&ReferenceCell> =
        reference.iter().zip(covered).filter(|(_, seen)| !seen).map(|(cell, _)| cell).collect();
    for cell in &left {
        shares.insert(cell.label.clone(), Some(cell.share / total));
    }
    (shares, left.into_iter().map(|cell| cell.label.as_str()).collect())
}

/// Part of `band` that lies in `wanted`.
fn overlap(band: Interval, wanted: Interval) -> Option<f64> {
    if wanted.from() <= band.from() && band.to() <= wanted.to() {
        return Some(1.0);
    }
    let length = band.to() - band.from();
    length.is_finite().then(|| (band.to().min(wanted.to()) - band.from().max(wanted.from())) / length)
}

/// Part of a whole; none of nothing.
pub fn share(n: u64, total: u64) -> Option<f64> {
    (total > 0).then(|| n as f64 / total as f64)
}

/// Wilson score interval at 95 %.
pub(crate) fn wilson(n: u64, total: u64) -> Option<(f64, f64)> {
    const Z: f64 = 1.959_963_984_540_054;
    let p = share(n, total)?;
    let total = total as f64;
    let centre = p + Z * Z / (2.0 * total);
    let spread = Z * (p * (1.0 - p) / total + Z * Z / (4.0 * total * total)).sqrt();
    let scale = 1.0 + Z * Z / total;
    Some((((centre - spread) / scale).max(0.0), ((centre + spread) / scale).min(1.0)))
}

/// Two decimals.
pub fn round2(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

/// Three decimals.
pub fn round3(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}

/// Four decimals.
pub fn round4(value: f64) -> f64 {
    (value * 10_000.0).round() / 10_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(cells: &[(&str, f64)]) -> Vec<ReferenceCell> {
        cells.iter().map(|(label, share)| ReferenceCell { label: (*label).to_owned(), share: *share }).collect()
    }

    #[test]
    fn the_wilson_interval_agrees_with_the_published_example() {
        // Newcombe, Statistics in Medicine 17, 1998, table I, method 3: 81 of 263 gives 0.2553 to 0.3662.
        let (low, high) = wilson(81, 263).unwrap();
        assert_eq!((round4(low), round4(high)), (0.2553, 0.3662));
        assert_eq!(round4(wilson(0, 20).unwrap().1), 0.1611);
        assert_eq!(wilson(0, 0), None);
    }

    #[test]
    fn reference_bands_add_up_to_coarser_published_ones() {
        let cells = reference(&[("0-4", 1.0), ("5-9", 1.0), ("10-14", 2.0), ("15-19", 2.0), ("20+", 4.0)]);
        let (shares, uncovered) = align(&cells, ["<10", "10-19"].into_iter());
        assert_eq!(shares["<10"], Some(0.2));
        assert_eq!(shares["10-19"], Some(0.4));
        assert_eq!(uncovered, ["20+"]);
        assert_eq!(shares["20+"], Some(0.4));
    }

    #[test]
    fn bands_of_different_width_are_spread_over_the_reference() {
        let bands: Vec<(&str, Interval)> =
            ["30-39", "40-49", "50+"].into_iter().map(|label| (label, interval(label).unwrap())).collect();
        let counts =
            |pairs: &[(&str, u64)]| pairs.iter().map(|(l, n)| ((*l).to_owned(), *n)).collect::<BTreeMap<_, _>>();
        let mixed = counts(&[("30-34", 7), ("30-49", 11), (">=50", 5), ("unknown", 3)]);
        assert!(overlapping(mixed.keys()));
        assert!(!overlapping(counts(&[("30-34", 7), ("35-49", 11), ("unknown", 3)]).keys()));
        let expected = counts(&[("30-39", 7 + 6), ("40-49", 5), ("50+", 5), ("unknown", 3)]);
        assert_eq!(spread(mixed, &bands), Some(expected));
    }

    #[test]
    fn people_of_an_open_band_are_not_spread() {
        let labels = ["20-24", "25-29", "30-34", "35-39", "75-79", "80-84", "85-89", "90+"];
        let bands: Vec<(&str, Interval)> = labels.into_iter().map(|l| (l, interval(l).unwrap())).collect();
        let counts =
            |pairs: &[(&str, u64)]| pairs.iter().map(|(l, n)| ((*l).to_owned(), *n)).collect::<BTreeMap<_, _>>();
        let published = counts(&[("<30", 31), ("30-34", 4), ("30-39", 10), ("75-79", 6), (">=80", 64)]);
        let expected = counts(&[("<30", 31), ("30-34", 9), ("35-39", 5), ("75-79", 6), (">=80", 64)]);
        assert_eq!(spread(published, &bands), Some(expected.clone()));
        // In its own bands it stays what it is, so that a finished report can be recounted.
        let own: Vec<(&str, Interval)> = expected.keys().map(|l| (l.as_str(), interval(l).unwrap())).collect();
        assert_eq!(spread(expected.clone(), &own), Some(expected));
        // It takes a band into which it reaches along, whose people may be above or below its end.
        let published = counts(&[("70-79", 6), ("75-79", 2), ("over 82", 20)]);
        assert_eq!(spread(published, &bands), Some(counts(&[("75-79", 8), (">=80", 20)])));
        // Where open bands meet, no part of the reference stands apart.
        assert_eq!(spread(counts(&[("<40", 6), (">=30", 2)]), &bands), None);
        assert_eq!(spread(counts(&[(">=10", 6), ("75-79", 2)]), &bands), None);
    }

    #[test]
    fn an_open_band_is_not_divided() {
        let cells = reference(&[("0-84", 9.0), ("85+", 1.0)]);
        let (shares, uncovered) = align(&cells, ["80-84", "85-89", ">=90"].into_iter());
        assert!(shares["80-84"].is_some());
        assert_eq!((shares["85-89"], shares[">=90"]), (None, None));
        assert!(uncovered.is_empty());
    }

    #[test]
    fn words_are_matched_by_name() {
        let cells = reference(&[("female", 51.0), ("male", 49.0)]);
        let (shares, uncovered) = align(&cells, ["female"].into_iter());
        assert_eq!(shares["female"], Some(0.51));
        assert_eq!(uncovered, ["male"]);
    }
}
