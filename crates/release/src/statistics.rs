//! `statistics.json`: counts per column and split, small cells hidden.

use std::collections::{BTreeMap, BTreeSet};

use acequia_frame::Table;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::ReleaseError;
use crate::dictionary::{Dictionary, Entry};
use crate::rows::{Known, Values, values};
use acequia_diversity::{interval, natural, suppress};

/// Layout `acequia-statistics/1`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Statistics {
    schema: String,
    /// Counts from 1 to this number (exclusive) are null, and so are others from which they would follow.
    minimum_cell: u64,
    splits: Vec<SplitRows>,
    columns: Vec<Column>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct SplitRows {
    name: String,
    rows: u64,
}

/// One column.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Column {
    name: String,
    title: String,
    /// `number` or `category`.
    kind: &'static str,
    unit: Option<String>,
    /// Split to rows without a value, null when hidden.
    missing: Map<String, Value>,
    bins: Vec<Bin>,
    /// Split to mean; numbers only.
    #[serde(skip_serializing_if = "Map::is_empty")]
    mean: Map<String, Value>,
    /// Split to median; numbers only.
    #[serde(skip_serializing_if = "Map::is_empty")]
    median: Map<String, Value>,
}

/// One bar of a histogram: the half-open interval `[low, high)`, or a category.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Bin {
    /// What a person reads.
    label: String,
    /// The value in the data; absent for bins of a number.
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
    low: Option<f64>,
    high: Option<f64>,
    counts: Map<String, Value>,
}

/// A bin with counts per split, not yet suppressed.
struct Counted {
    label: String,
    value: Option<String>,
    low: Option<f64>,
    high: Option<f64>,
    counts: Vec<u64>,
}

pub(crate) const SCHEMA: &str = "acequia-statistics/1";

/// A column of whole numbers with at most this many different ones is shown as categories.
const CATEGORIES_OF_NUMBERS: usize = 12;
/// More categories than this are shown as the most frequent ones and "other".
const CATEGORIES: usize = 60;
/// A histogram has at most this many bins, the open one at the end included.
const BINS: usize = 20;

impl Statistics {
    /// Rows of all splits with a value; `None` where the number of any split is hidden.
    pub(crate) fn rows_with(&self, column: &str, value: &str) -> Option<u64> {
        let column = self.columns.iter().find(|own| own.name == column)?;
        let bin = column.bins.iter().find(|bin| bin.value.as_deref() == Some(value))?;
        bin.counts.values().map(Value::as_u64).sum()
    }
}

/// Counts every column over the splits, which come in the order they are to be shown.
pub(crate) fn statistics(
    splits: &[(&str, &Table)],
    dictionary: &Dictionary,
    minimum_cell: u64,
) -> Result<Statistics, ReleaseError> {
    let names: Vec<&str> = splits.iter().map(|(name, _)| *name).collect();
    let rows = splits.iter().map(|(name, table)| SplitRows { name: (*name).to_owned(), rows: table.rows() as u64 });
    let mut columns = Vec::with_capacity(dictionary.columns.len());
    for entry in &dictionary.columns {
        let read: Result<Vec<Values>, _> = splits.iter().map(|(_, table)| values(table, &entry.name)).collect();
        columns.push(column(&names, entry, &read?, minimum_cell));
    }
    Ok(Statistics { schema: SCHEMA.to_owned(), minimum_cell, splits: rows.collect(), columns })
}

fn column(names: &[&str], entry: &Entry, values: &[Values], minimum_cell: u64) -> Column {
    let numbers = number_columns(entry, values);
    let counted = match &numbers {
        Some((sorted, whole)) => histogram(sorted, *whole),
        None => categories(entry, values),
    };
    // Missing rows are a cell like the others: the column total would give a hidden count away otherwise.
    let mut table: Vec<Vec<u64>> = counted.iter().map(|bin| bin.counts.clone()).collect();
    table.push(values.iter().map(|value| value.missing).collect());
    let mut shown = suppress(&table, minimum_cell);
    let by_split = |cells: &[Option<u64>]| -> Map<String, Value> {
        names.iter().zip(cells).map(|(name, cell)| ((*name).to_owned(), Value::from(*cell))).collect()
    };
    let missing = shown.pop().map(|cells| by_split(&cells)).unwrap_or_default();
    let bins = counted.into_iter().zip(&shown).map(|(bin, cells)| Bin {
        label: bin.label,
        value: bin.value,
        low: bin.low,
        high: bin.high,
        counts: by_split(cells),
    });
    let centre = |of: fn(&[f64]) -> f64| -> Map<String, Value> {
        let Some((sorted, _)) = &numbers else { return Map::new() };
        let value = |sorted: &&[f64]| {
            // A mean of a handful of people says too much about each of them.
            if (sorted.len() as u64) < minimum_cell { Value::Null } else { Value::from(of(sorted)) }
        };
        names.iter().zip(sorted).map(|(name, sorted)| ((*name).to_owned(), value(sorted))).collect()
    };
    Column {
        name: entry.name.clone(),
        title: entry.title.clone(),
        kind: if numbers.is_some() { "number" } else { "category" },
        unit: entry.unit.clone(),
        missing,
        bins: bins.collect(),
        mean: centre(mean),
        median: centre(median),
    }
}

/// The sorted numbers of each split, when the column is to be shown as a histogram.
fn number_columns<'a>(entry: &Entry, values: &'a [Values]) -> Option<(Vec<&'a [f64]>, bool)> {
    let mut sorted = Vec::with_capacity(values.len());
    let mut all_whole = true;
    for value in values {
        let Known::Numbers { sorted: numbers, whole } = &value.known else { return None };
        sorted.push(numbers.as_slice());
        all_whole &= *whole;
    }
    if !entry.values.is_empty() {
        return None;
    }
    let mut distinct = BTreeSet::new();
    for number in sorted.iter().copied().flatten() {
        distinct.insert(number.to_bits());
        if !all_whole || distinct.len() > CATEGORIES_OF_NUMBERS {
            return Some((sorted, all_whole));
        }
    }
    None
}

/// Bins with edges at round numbers. A long tail beyond the 99th percentile is one open bin, so that it neither
/// squeezes the rest nor prints an extreme value.
fn histogram(sorted: &[&[f64]], whole: bool) -> Vec<Counted> {
    let mut all: Vec<f64> = sorted.iter().copied().flatten().copied().collect();
    all.sort_unstable_by(f64::total_cmp);
    let (Some(&least), Some(&most)) = (all.first(), all.last()) else { return Vec::new() };
    let p99 = all[(all.len() - 1) * 99 / 100];
    let open = most - least > 1.25 * (p99 - least) && p99 > least;
    let top = if open { p99 } else { most };
    let step = round_step((top - least) / (BINS - 3) as f64, whole);
    let first = (least / step).floor();
    let bins = ((top / step).floor() - first) as usize + 1;
    let edge = |at: usize| (first + at as f64) * step;
    let mut cut = Vec::with_capacity(bins + 1);
    for at in 0..bins {
        let (low, high) = (edge(at), edge(at + 1));
        let label = match (whole, step > 1.0) {
            (true, false) => number_label(low),
            (true, true) => format!("{}-{}", number_label(low), number_label(high - 1.0)),
            (false, _) => format!("{} to <{}", number_label(low), number_label(high)),
        };
        cut.push((label, low, Some(high)));
    }
    if open || sorted.iter().copied().flatten().any(|value| *value >= edge(bins)) {
        cut.push((format!(">={}", number_label(edge(bins))), edge(bins), None));
    }
    let below = |numbers: &[f64], bound: f64| numbers.partition_point(|value| *value < bound) as u64;
    let bin = |(at, (label, low, high)): (usize, (String, f64, Option<f64>))| Counted {
        label,
        value: None,
        low: Some(low),
        high,
        // The first bin takes all below it, so that counts add up even if an edge is rounded above the least value.
        counts: sorted
            .iter()
            .map(|numbers| {
                let to = high.map_or(numbers.len() as u64, |high| below(numbers, high));
                to - if at == 0 { 0 } else { below(numbers, low) }
            })
            .collect(),
    };
    cut.into_iter().enumerate().map(bin).collect()
}

/// The smallest of 1, 2, 5 times a power of ten that is at least `raw`; at least 1 for whole numbers.
fn round_step(raw: f64, whole: bool) -> f64 {
    let raw = if whole { raw.max(1.0) } else { raw };
    if !(raw > 0.0 && raw.is_finite()) {
        return 1.0;
    }
    let power = 10_f64.powi(raw.log10().floor() as i32);
    [1.0, 2.0, 5.0].into_iter().map(|factor| factor * power).find(|step| *step >= raw).unwrap_or(10.0 * power)
}

/// Edges are products of a round step, so twelve digits are exact and hide binary noise such as 0.30000000000000004.
fn number_label(value: f64) -> String {
    let text = format!("{value:.12}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

fn categories(entry: &Entry, values: &[Values]) -> Vec<Counted> {
    let mut counts: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for (split, value) in values.iter().enumerate() {
        let mut add = |text: String, n: u64| counts.entry(text).or_insert_with(|| vec![0; values.len()])[split] += n;
        match &value.known {
            Known::Texts(texts) => texts.iter().for_each(|(text, n)| add(text.clone(), *n)),
            Known::Numbers { sorted, .. } => {
                sorted.chunk_by(|a, b| a == b).for_each(|run| add(number_label(run[0]), run.len() as u64))
            }
        }
    }
    // A code that the dictionary knows is shown even when nobody has it: an empty category is information.
    for code in entry.values.keys() {
        counts.entry(code.clone()).or_insert_with(|| vec![0; values.len()]);
    }
    let mut rest = vec![0; values.len()];
    let mut ranked: Vec<(String, Vec<u64>)> = counts.into_iter().collect();
    if ranked.len() > CATEGORIES {
        ranked.sort_by(|a, b| b.1.iter().sum::<u64>().cmp(&a.1.iter().sum()).then_with(|| natural(&a.0, &b.0)));
        for (_, counts) in ranked.split_off(CATEGORIES) {
            rest.iter_mut().zip(counts).for_each(|(sum, n)| *sum += n);
        }
    }
    ranked.sort_by(|a, b| natural(&a.0, &b.0));
    let bin = |(value, counts): (String, Vec<u64>)| {
        let bounds = interval(&value);
        let label = entry.values.get(&value).cloned().unwrap_or_else(|| value.clone());
        Counted {
            label,
            low: bounds.and_then(|bounds| bounds.low),
            high: bounds.and_then(|bounds| bounds.high),
            value: Some(value),
            counts,
        }
    };
    let mut bins: Vec<Counted> = ranked.into_iter().map(bin).collect();
    if rest.iter().any(|&n| n > 0) {
        bins.push(Counted { label: "other".to_owned(), value: None, low: None, high: None, counts: rest });
    }
    bins
}

fn mean(sorted: &[f64]) -> f64 {
    sorted.iter().sum::<f64>() / sorted.len() as f64
}

fn median(sorted: &[f64]) -> f64 {
    let half = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[half] } else { f64::midpoint(sorted[half - 1], sorted[half]) }
}
