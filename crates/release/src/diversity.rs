//! `diversity.json`: who is in the data compared with a reference population, and who is not.
//!
//! Formulas. Share of a cell: p = n / N over rows with a known value. 95 % interval: Wilson, JASA 22(158), 1927.
//! Effective number of cells: exp(−Σ p ln p), the Hill number of order 1 (Hill, Ecology 54(2), 1973).
//! Distance from the reference: total variation, ½ Σ |p − q|.

use std::collections::{BTreeMap, BTreeSet};

use acequia_frame::Table;
use serde::{Deserialize, Serialize};

use crate::dictionary::Dictionary;
use crate::label::{Interval, interval, natural};
use crate::representation::{
    Pair, hill_numbers, kullback_leibler, people_needed, post_stratification, stability_index,
};
use crate::rows::{Known, class_sizes, values};
use crate::suppress::suppress_line;
use crate::{ConsentPlan, Dimension, NotRecorded, Plan, ReferenceCell, ReleaseError};

/// Layout `acequia-diversity/1`. Shares and numbers are rounded, so that a hidden count cannot be solved for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Diversity {
    pub(crate) schema: String,
    /// What the reference population is; empty when there is none.
    pub(crate) population: String,
    pub(crate) source: String,
    pub(crate) minimum_cell: u64,
    pub(crate) dimensions: Vec<Described>,
    pub(crate) intersectional: Vec<Intersection>,
    pub(crate) missingness: Vec<Missing>,
    pub(crate) consent: Consent,
    pub(crate) not_recorded: Vec<NotRecorded>,
}

/// One column compared with the reference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Described {
    pub(crate) name: String,
    pub(crate) title: String,
    /// Rows with a known value.
    pub(crate) rows: u64,
    pub(crate) cells: Vec<Cell>,
    /// Hill number of order 1: how many equally common cells would be as diverse.
    pub(crate) effective_number: Option<f64>,
    /// From 0 (as the reference) to 1 (nothing in common); null without reference.
    pub(crate) total_variation_distance: Option<f64>,
    /// Hill number of order 2 (inverse Simpson index): counts frequent cells more than rare ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) inverse_simpson: Option<f64>,
    /// Symmetrised divergence from the reference; null when a cell is empty or a count is hidden.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) population_stability_index: Option<f64>,
    /// Divergence from the reference in nats; null when a count is hidden.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) kullback_leibler: Option<f64>,
    /// What it would cost to weight the people to the reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) weighting: Option<Weighting>,
    /// Cells whose share is below 0.8 of the reference's, most people needed first. Only cells whose count is shown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) gaps: Vec<Gap>,
    /// Why parts of the comparison are absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) note: Option<String>,
}

/// One cell; numbers are null when the count is hidden or the reference does not know the cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cell {
    /// What a person reads.
    pub(crate) label: String,
    /// The value in the data.
    pub(crate) value: String,
    pub(crate) count: Option<u64>,
    pub(crate) share: Option<f64>,
    pub(crate) reference_share: Option<f64>,
    /// share / reference_share.
    pub(crate) ratio: Option<f64>,
    /// Wilson 95 % interval of the share.
    pub(crate) low: Option<f64>,
    pub(crate) high: Option<f64>,
}

/// Post-stratification to the reference (Kish 1965).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Weighting {
    /// Times the variance of an unweighted mean.
    pub(crate) design_effect: f64,
    /// People that would tell as much without weights.
    pub(crate) effective_size: u64,
}

/// Who is missing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Gap {
    pub(crate) label: String,
    pub(crate) value: String,
    /// share / reference_share.
    pub(crate) ratio: f64,
    /// People of this cell that would have to join for a ratio of 0.8, everybody else staying.
    pub(crate) people_needed: u64,
}

/// Combinations of several columns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Intersection {
    pub(crate) columns: Vec<String>,
    /// Product of the numbers of values that occur.
    pub(crate) possible: u64,
    /// Combinations that nobody has.
    pub(crate) empty: u64,
    /// Combinations with fewer people than the minimum cell, but not none.
    pub(crate) small: u64,
    /// Fewest people in a combination that reaches the minimum cell.
    pub(crate) smallest: Option<u64>,
}

/// Unknown values of one column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Missing {
    pub(crate) column: String,
    pub(crate) count: Option<u64>,
    pub(crate) share: Option<f64>,
}

/// Who agreed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Consent {
    pub(crate) counted: String,
    pub(crate) total: u64,
    pub(crate) outcomes: Vec<Outcome>,
    pub(crate) statement: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) name: String,
    pub(crate) title: String,
    pub(crate) count: Option<u64>,
}

pub(crate) const SCHEMA: &str = "acequia-diversity/1";

/// Compares the union of the splits with the plan's reference.
pub(crate) fn diversity(splits: &[&Table], dictionary: &Dictionary, plan: &Plan) -> Result<Diversity, ReleaseError> {
    let minimum = plan.minimum_cell;
    let mut dimensions = Vec::with_capacity(plan.diversity.dimensions.len());
    for dimension in &plan.diversity.dimensions {
        dimensions.push(describe(splits, dictionary, dimension, minimum)?);
    }
    let mut intersectional = Vec::with_capacity(plan.diversity.intersections.len());
    for columns in &plan.diversity.intersections {
        intersectional.push(intersect(splits, columns, minimum)?);
    }
    let total: u64 = splits.iter().map(|table| table.rows() as u64).sum();
    let mut missingness = Vec::with_capacity(dictionary.columns.len());
    for entry in &dictionary.columns {
        let mut missing = 0;
        for table in splits {
            missing += values(table, &entry.name)?.missing;
        }
        // With the total, a column's two counts (known, missing) hide or show together.
        let count = suppress_line(&[missing, total - missing], minimum)[0];
        let share = count.and_then(|n| share(n, total));
        missingness.push(Missing { column: entry.name.clone(), count, share: share.map(round4) });
    }
    Ok(Diversity {
        schema: SCHEMA.to_owned(),
        population: plan.diversity.population.clone(),
        source: plan.diversity.source.clone(),
        minimum_cell: minimum,
        dimensions,
        intersectional,
        missingness,
        consent: consent(&plan.consent, minimum),
        not_recorded: plan.not_recorded.clone(),
    })
}

/// Counts per value over all splits.
fn counts(splits: &[&Table], dimension: &Dimension) -> Result<BTreeMap<String, u64>, ReleaseError> {
    let bands: Vec<(&str, Interval)> =
        dimension.reference.iter().filter_map(|cell| Some((cell.label.as_str(), interval(&cell.label)?))).collect();
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for table in splits {
        match values(table, &dimension.column)?.known {
            Known::Texts(texts) => texts.into_iter().for_each(|(text, n)| *counts.entry(text).or_default() += n),
            // Numbers that were not made coarser fall into the reference's own bands.
            Known::Numbers { sorted, .. } => {
                for run in sorted.chunk_by(|a, b| a == b) {
                    let exact = bands.iter().find(|(label, _)| label.parse() == Ok(run[0]));
                    let band = exact.or_else(|| bands.iter().find(|(_, band)| band.contains(run[0])));
                    let band = band.map(|(label, _)| *label);
                    let label = match band {
                        Some(label) => label.to_owned(),
                        None if bands.is_empty() => run[0].to_string(),
                        None => "other".to_owned(),
                    };
                    *counts.entry(label).or_default() += run.len() as u64;
                }
            }
        }
    }
    Ok(if overlapping(counts.keys()) { spread(counts, &bands) } else { counts })
}

fn dimension_overlaps(splits: &[&Table], dimension: &Dimension) -> Result<bool, ReleaseError> {
    let mut published = BTreeSet::new();
    for table in splits {
        if let Known::Texts(texts) = values(table, &dimension.column)?.known {
            published.extend(texts.into_keys());
        }
    }
    Ok(overlapping(published.iter()))
}

/// Whether some published values cover others, as they do when rows are recoded one by one.
fn overlapping<'a>(values: impl Iterator<Item = &'a String>) -> bool {
    let mut bands: Vec<Interval> = values.filter_map(|value| interval(value)).collect();
    bands.sort_by(|a, b| a.from().total_cmp(&b.from()).then(a.to().total_cmp(&b.to())));
    bands.windows(2).any(|pair| pair[1].from() < pair[0].to())
}

/// Counts in the reference's bands, of people in bands of different width: each published band's people are spread evenly
/// over the reference bands it covers, in whole people (largest remainders first). An open end reaches ten beyond the last
/// bound that is known. Values without a band stay as they are.
fn spread(counts: BTreeMap<String, u64>, bands: &[(&str, Interval)]) -> BTreeMap<String, u64> {
    const OPEN_END: f64 = 10.0;
    let bounds = || bands.iter().flat_map(|(_, band)| [band.from(), band.to()]).filter(|bound| bound.is_finite());
    let (lowest, highest) = (bounds().fold(f64::INFINITY, f64::min), bounds().fold(f64::NEG_INFINITY, f64::max));
    let width = |band: &Interval, wanted: &Interval| {
        let from = band.from().max(wanted.from()).max(lowest - OPEN_END);
        let to = band.to().min(wanted.to()).min(highest + OPEN_END);
        (to - from).max(0.0)
    };
    let mut spread: BTreeMap<String, u64> = BTreeMap::new();
    for (value, count) in counts {
        let widths: Vec<f64> = match interval(&value) {
            Some(wanted) => bands.iter().map(|(_, band)| width(band, &wanted)).collect(),
            None => Vec::new(),
        };
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
            *spread.entry((*label).to_owned()).or_default() += part;
        }
    }
    spread
}

fn describe(
    splits: &[&Table],
    dictionary: &Dictionary,
    dimension: &Dimension,
    minimum: u64,
) -> Result<Described, ReleaseError> {
    let entry = dictionary.columns.iter().find(|entry| entry.name == dimension.column);
    let mixed = dimension_overlaps(splits, dimension)?;
    let mut counts = counts(splits, dimension)?;
    let (reference, uncovered) = align(&dimension.reference, counts.keys().map(String::as_str));
    for label in &uncovered {
        counts.entry((*label).to_owned()).or_insert(0);
    }
    let mut cells: Vec<(String, u64)> = counts.into_iter().collect();
    cells.sort_by(|a, b| natural(&a.0, &b.0));
    let rows: u64 = cells.iter().map(|(_, n)| n).sum();
    let line: Vec<u64> = cells.iter().map(|(_, n)| *n).collect();
    let shown = suppress_line(&line, minimum);
    let known = |label: &str| reference.get(label).copied().flatten();
    let cell = |((value, _), count): (&(String, u64), &Option<u64>)| {
        let reference_share = known(value);
        let part = count.and_then(|n| share(n, rows));
        let bounds = count.and_then(|n| wilson(n, rows));
        Cell {
            label: entry.and_then(|entry| entry.values.get(value)).unwrap_or(value).clone(),
            value: value.clone(),
            count: *count,
            share: part.map(round4),
            reference_share: reference_share.map(round4),
            ratio: part.zip(reference_share).filter(|(_, q)| *q > 0.0).map(|(p, q)| round2(p / q)),
            low: bounds.map(|(low, _)| round4(low)),
            high: bounds.map(|(_, high)| round4(high)),
        }
    };
    let hill = hill_numbers(&line);
    let emptied = cells.len() == 1 && cells[0].0 == "*";
    // People whose value was left out are no cell of the reference; the others are compared among themselves.
    let told = || cells.iter().filter(|(value, _)| value != "*");
    let told_rows: u64 = told().map(|(_, n)| n).sum();
    let comparable = !emptied && !dimension.reference.is_empty() && told().all(|(value, _)| known(value).is_some());
    let of_told = |n: u64| n as f64 / told_rows.max(1) as f64;
    let distance = || told().map(|(value, n)| (of_told(*n) - known(value).unwrap_or(0.0)).abs()).sum::<f64>() / 2.0;
    // With every count shown these follow from what the page says anyway; with one hidden they could give it away.
    let open = shown.iter().all(Option::is_some);
    let pairs: Vec<Pair> =
        told().map(|(value, n)| Pair { count: *n, reference: known(value).unwrap_or(0.0) }).collect();
    let measured = comparable && open;
    let cells_shown: Vec<Cell> = cells.iter().zip(&shown).map(cell).collect();
    let mut gaps: Vec<Gap> =
        if comparable { cells_shown.iter().filter_map(|cell| gap(cell, told_rows)).collect() } else { Vec::new() };
    gaps.sort_by(|a, b| b.people_needed.cmp(&a.people_needed).then_with(|| a.value.cmp(&b.value)));
    let note = if dimension.reference.is_empty() {
        Some("no reference population is known for this column")
    } else if emptied {
        Some("de-identification left only * in this column, so nothing can be compared")
    } else if !comparable {
        Some("the reference population is divided otherwise, so not every cell can be compared")
    } else if mixed {
        Some("people are published in bands of different width; here they are spread evenly over the reference's bands")
    } else {
        None
    };
    Ok(Described {
        name: dimension.column.clone(),
        title: match (dimension.title.as_str(), entry) {
            ("", Some(entry)) => entry.title.clone(),
            (title, _) => title.to_owned(),
        },
        rows,
        cells: cells_shown,
        effective_number: hill.map(|(first, _)| round2(first)),
        total_variation_distance: (rows > 0 && comparable).then(|| round3(distance())),
        inverse_simpson: hill.filter(|_| open).map(|(_, second)| round2(second)),
        population_stability_index: measured.then(|| stability_index(&pairs)).flatten().map(round3),
        kullback_leibler: measured.then(|| kullback_leibler(&pairs)).flatten().map(round3),
        weighting: measured
            .then(|| post_stratification(&pairs))
            .flatten()
            .map(|(effect, size)| Weighting { design_effect: round2(effect), effective_size: size.floor() as u64 }),
        gaps,
        note: note.map(str::to_owned),
    })
}

/// How many people a cell lacks, from what is shown of it. The reference share counts as it is published, rounded.
fn gap(cell: &Cell, people: u64) -> Option<Gap> {
    /// The lower end of what counts as represented (four fifths rule).
    const RATIO: f64 = 0.8;
    let (count, reference) = cell.count.zip(cell.reference_share)?;
    let people_needed = people_needed(count, people, reference, RATIO)?;
    Some(Gap { label: cell.label.clone(), value: cell.value.clone(), ratio: cell.ratio?, people_needed })
}

/// The reference share of each published value, and the reference cells that no published value covers.
///
/// Bands are divided in proportion to their overlap, as if people were spread evenly inside a band. A value that an open
/// reference band only partly covers has no share (`None`): how its people are spread is not known.
fn align<'a, 'v>(
    reference: &'a [ReferenceCell],
    published: impl Iterator<Item = &'v str>,
) -> (BTreeMap<String, Option<f64>>, Vec<&'a str>) {
    let total: f64 = reference.iter().map(|cell| cell.share).sum();
    let mut shares: BTreeMap<String, Option<f64>> = BTreeMap::new();
    let mut covered = vec![false; reference.len()];
    let published: Vec<&str> = published.collect();
    if published == ["*"] {
        // The column was generalised away: a share of everybody would compare nothing.
        return (BTreeMap::from([("*".to_owned(), None)]), Vec::new());
    }
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

fn intersect(splits: &[&Table], columns: &[String], minimum: u64) -> Result<Intersection, ReleaseError> {
    let names: Vec<&str> = columns.iter().map(String::as_str).collect();
    let sizes = class_sizes(splits.iter().copied(), &names)?;
    let mut possible: u64 = 1;
    for name in &names {
        possible = possible.saturating_mul(class_sizes(splits.iter().copied(), &[name])?.len() as u64);
    }
    Ok(Intersection {
        columns: columns.to_vec(),
        possible,
        empty: possible.saturating_sub(sizes.len() as u64),
        small: sizes.iter().filter(|&&n| n < minimum).count() as u64,
        smallest: sizes.iter().copied().find(|&n| n >= minimum),
    })
}

fn consent(plan: &ConsentPlan, minimum: u64) -> Consent {
    let total: u64 = plan.outcomes.iter().map(|outcome| outcome.count).sum();
    let counts: Vec<u64> = plan.outcomes.iter().map(|outcome| outcome.count).collect();
    let shown = suppress_line(&counts, minimum);
    let outcome = |(outcome, count): (&crate::ConsentOutcome, Option<u64>)| Outcome {
        name: outcome.name.clone(),
        title: outcome.title.clone(),
        count,
    };
    let counted = if plan.counted.is_empty() { "donations" } else { &plan.counted };
    let statement = if plan.outcomes.is_empty() {
        "How many people refused is not stated.".to_owned()
    } else {
        let part = |outcome: &Outcome| match outcome.count {
            Some(count) => format!("{}: {count}", outcome.title),
            None => format!("{}: not shown", outcome.title),
        };
        let parts: Vec<String> =
            plan.outcomes.iter().zip(shown.iter().copied()).map(outcome).map(|outcome| part(&outcome)).collect();
        let hidden = if shown.contains(&None) {
            " Small counts are not shown, nor are counts from which they would follow."
        } else {
            ""
        };
        format!(
            "Of {total} {counted}: {}.{hidden} People who refuse or withdraw may differ from those who agree, and nothing about \
             them is in the data, so the difference cannot be measured from it.",
            parts.join("; ")
        )
    };
    Consent {
        counted: counted.to_owned(),
        total,
        outcomes: plan.outcomes.iter().zip(shown).map(outcome).collect(),
        statement,
    }
}

/// Counts of a finished report that do not agree with the rows: column and value. For [`crate::verify`].
pub(crate) fn disagreements(report: &Diversity, splits: &[&Table]) -> Result<Vec<String>, ReleaseError> {
    let mut wrong = Vec::new();
    for described in &report.dimensions {
        let compared = described.cells.iter().filter(|cell| cell.reference_share.is_some());
        let reference = compared.map(|cell| ReferenceCell { label: cell.value.clone(), share: 1.0 });
        let dimension =
            Dimension { column: described.name.clone(), title: String::new(), reference: reference.collect() };
        let counts = counts(splits, &dimension)?;
        let expected = |cell: &Cell| counts.get(&cell.value).copied().unwrap_or(0);
        let odd = described.cells.iter().any(|cell| cell.count.is_some_and(|n| n != expected(cell)));
        let known = described.cells.iter().map(expected).sum::<u64>() == described.rows;
        if odd || !known || counts.values().sum::<u64>() != described.rows {
            wrong.push(described.name.clone());
        }
    }
    Ok(wrong)
}

fn share(n: u64, total: u64) -> Option<f64> {
    (total > 0).then(|| n as f64 / total as f64)
}

/// Wilson score interval at 95 %.
fn wilson(n: u64, total: u64) -> Option<(f64, f64)> {
    const Z: f64 = 1.959_963_984_540_054;
    let p = share(n, total)?;
    let total = total as f64;
    let centre = p + Z * Z / (2.0 * total);
    let spread = Z * (p * (1.0 - p) / total + Z * Z / (4.0 * total * total)).sqrt();
    let scale = 1.0 + Z * Z / total;
    Some((((centre - spread) / scale).max(0.0), ((centre + spread) / scale).min(1.0)))
}

fn round2(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

fn round3(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}

fn round4(value: f64) -> f64 {
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
    fn a_column_without_values_left_is_not_compared_with_empty_bands() {
        let cells = reference(&[("0-84", 9.0), ("85+", 1.0)]);
        let (shares, uncovered) = align(&cells, ["*"].into_iter());
        assert_eq!((shares["*"], uncovered.len()), (None, 0));
    }

    #[test]
    fn bands_of_different_width_are_spread_over_the_reference() {
        let bands: Vec<(&str, Interval)> =
            ["30-39", "40-49", "50+"].into_iter().map(|label| (label, interval(label).unwrap())).collect();
        let counts =
            |pairs: &[(&str, u64)]| pairs.iter().map(|(l, n)| ((*l).to_owned(), *n)).collect::<BTreeMap<_, _>>();
        let mixed = counts(&[("30-34", 7), ("30-49", 11), (">=50", 5), ("*", 3)]);
        assert!(overlapping(mixed.keys()));
        assert!(!overlapping(counts(&[("30-34", 7), ("35-49", 11), ("*", 3)]).keys()));
        assert_eq!(spread(mixed, &bands), counts(&[("30-39", 7 + 6), ("40-49", 5), ("50+", 5), ("*", 3)]));
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
