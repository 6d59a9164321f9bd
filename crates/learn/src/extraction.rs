//! Extraction: can somebody who has the model, a person's outcome and all of her columns but one tell the missing one, and better if
//! the model learned from her?
//!
//! The attacker takes the value under which the model explains the outcome best, weighed by how frequent the value is (Fredrikson
//! et al. 2014, section 3). What such a guess owes to the world is the same for people the model never saw; what it owes to the
//! model having learned from somebody is the difference between the two (Yeom et al. 2018, section 4).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::Model;
use crate::special::normal_quantile;
use crate::table::Data;

/// Values that the attacker tries for a column: the most frequent ones.
const MOST_VALUES: usize = 16;
/// Rows of each side that are attacked: those with the smallest marks, which is to say any.
const MOST_ROWS: usize = 2_000;

/// What an extraction test found: the column that tells most.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Extraction {
    /// Which column was guessed.
    pub column: String,
    /// Share of rows the model learned from for which the guess was right.
    pub found_in: f64,
    /// Share of others.
    pub found_out: f64,
    /// Lower end of the 95 % interval of the difference, over all columns that were tried (Bonferroni).
    pub low: f64,
}

impl Extraction {
    /// The finding in a sentence.
    pub(crate) fn words(&self) -> String {
        format!(
            "An attacker who knows a person's outcome and all but one of her columns guesses the missing one: at worst {}, right for {:.1} % of those it learned from and {:.1} % of others.",
            self.column,
            self.found_in * 100.0,
            self.found_out * 100.0
        )
    }
}

/// Attacks every column of a model. `losses` are of the rows of a table under the model. `None` without columns or rows, and for a model
/// of images.
pub(crate) fn extraction(
    model: &Model,
    learned: &[Data],
    others: &[Data],
    losses: &dyn Fn(&Data) -> Vec<f64>,
) -> Option<Extraction> {
    if model.variables.iter().any(|one| one.variable.image.is_some()) {
        // What is left of an image whose pixels are missing is no row.
        return None;
    }
    let (learned, others) = (some(learned)?, some(others)?);
    let mut columns: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (at, variable) in model.variables.iter().enumerate() {
        columns.entry(variable.variable.source()).or_default().push(at);
    }
    #[expect(clippy::cast_precision_loss, reason = "columns are few")]
    let z = normal_quantile(1.0 - 0.025 / columns.len() as f64);
    let found = columns.iter().map(|(column, places)| {
        let values = frequent(&learned, places);
        let (found_in, n_in) = guessed(&learned, places, &values, losses);
        let (found_out, n_out) = guessed(&others, places, &values, losses);
        let share = (found_in * n_in + found_out * n_out) / (n_in + n_out);
        let error = (share * (1.0 - share) * (1.0 / n_in + 1.0 / n_out)).sqrt();
        Extraction { column: (*column).to_owned(), found_in, found_out, low: found_in - found_out - z * error }
    });
    found.max_by(|a, b| a.low.total_cmp(&b.low))
}

/// At most so many rows of some tables, as one.
fn some(tables: &[Data]) -> Option<Data> {
    let tables: Vec<Data> = tables.iter().filter(|table| table.rows > 0).cloned().collect();
    if tables.is_empty() {
        return None;
    }
    let all = Data::pooled("attacked", &tables);
    let mut rows: Vec<usize> = (0..all.rows).collect();
    rows.sort_by_key(|row| (all.marks[*row], *row));
    rows.truncate(MOST_ROWS);
    Some(all.pick(&rows))
}

/// What a row has of a column: the bits of all variables that come from it.
fn value(data: &Data, row: usize, places: &[usize]) -> Vec<u64> {
    places.iter().map(|place| data.row(row)[*place].to_bits()).collect()
}

/// The most frequent values with the logarithm of their share.
#[expect(clippy::cast_precision_loss, reason = "counts of rows are far below 2^53")]
fn frequent(data: &Data, places: &[usize]) -> Vec<(Vec<u64>, f64)> {
    let mut counts: BTreeMap<Vec<u64>, usize> = BTreeMap::new();
    for row in 0..data.rows {
        *counts.entry(value(data, row, places)).or_default() += 1;
    }
    let mut all: Vec<(Vec<u64>, usize)> = counts.into_iter().collect();
    all.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    all.truncate(MOST_VALUES);
    all.into_iter().map(|(value, count)| (value, libm::log(count as f64 / data.rows as f64))).collect()
}

/// Share of rows whose value is guessed, and how many rows there are.
#[expect(clippy::cast_precision_loss, reason = "counts of rows are far below 2^53")]
fn guessed(
    data: &Data,
    places: &[usize],
    values: &[(Vec<u64>, f64)],
    losses: &dyn Fn(&Data) -> Vec<f64>,
) -> (f64, f64) {
    let mut best: Vec<(f64, usize)> = vec![(f64::NEG_INFINITY, usize::MAX); data.rows];
    for (at, (value, weight)) in values.iter().enumerate() {
        let mut tried = data.clone();
        for row in 0..tried.rows {
            for (place, bits) in places.iter().zip(value) {
                tried.x[row * tried.width + place] = f64::from_bits(*bits);
            }
        }
        for (row, loss) in losses(&tried).into_iter().enumerate() {
            let score = weight - loss;
            if score > best[row].0 {
                best[row] = (score, at);
            }
        }
    }
    let right = best
        .iter()
        .enumerate()
        .filter(|(row, (_, at))| values.get(*at).is_some_and(|(guess, _)| *guess == value(data, *row, places)));
    (right.count() as f64 / data.rows as f64, data.rows as f64)
}
