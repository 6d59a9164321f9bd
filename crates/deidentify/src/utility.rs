//! What is left of a table, under the measures of the field: each 1 for the table as it came, 0 for nothing.

use acequia_privacy::{Classes, ambiguity, entropy_bits, normalised_loss};

use crate::engine::Recoded;
use crate::proof::{ColumnUtility, Utility};
use crate::search::NOWHERE;

#[expect(clippy::cast_precision_loss, reason = "the quotient is wanted to 53 bits")]
fn share(part: u128, whole: u128) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[expect(clippy::cast_precision_loss, reason = "counts of rows are far below 2^53")]
fn real(count: u64) -> f64 {
    count as f64
}

/// Measures one column. Suppressed rows hold nothing.
pub(crate) fn of_column(recoded: &Recoded, column: usize) -> ColumnUtility {
    let at = &recoded.columns[column];
    let rows = recoded.rows as u64;
    let highest = at.levels() - 1;
    // All rows have the same levels, or suppressed rows have none.
    let same = (recoded.local.combinations.len() == 1).then(|| recoded.local.combinations[0][column]);
    let rows_of = |level: usize| {
        let mut counts = vec![0_u64; at.labels[level].len()];
        at.groups[level].iter().zip(&at.coded.counts).for_each(|(group, count)| counts[*group as usize] += count);
        counts
    };
    let counts: Vec<Vec<u64>> = (0..=highest).map(rows_of).collect();
    let mut gone = vec![0_u64; at.labels[same.unwrap_or(0)].len()];
    let (mut raised, mut lost_bits) = (0_u128, 0.0);
    // Rows of each value at each level; floats are added in the order of values, whatever the order of tuples.
    let mut kept = vec![vec![0_u64; at.coded.values.len()]; highest + 1];
    let mut released = kept.clone();
    for (tuple, rows) in recoded.tuples.rows.iter().enumerate() {
        let (code, rows) = (recoded.tuples.code(tuple, column), u64::from(*rows));
        match recoded.local.combinations.get(recoded.local.of_tuple[tuple] as usize) {
            Some(levels) => {
                let own = at.raised.get(code).copied().unwrap_or(0);
                raised += u128::from(rows) * levels[column].max(own) as u128;
                kept[levels[column]][code] += rows;
                released[levels[column]][code] += rows;
            }
            None => {
                raised += u128::from(rows) * highest as u128;
                let level = same.unwrap_or(0);
                kept[level][code] += rows;
                gone[at.groups[level][code] as usize] += rows;
            }
        }
    }
    for (level, kept) in kept.iter().enumerate() {
        for (code, kept) in kept.iter().enumerate().filter(|(_, kept)| **kept > 0) {
            let whole = counts[level][at.groups[level][code] as usize];
            lost_bits += real(*kept) * (real(whole) / real(at.coded.counts[code])).log2();
        }
    }
    // Of withheld rows it is only known that they hold nothing any more.
    raised += u128::from(recoded.tuples.withheld) * highest as u128;
    let suppressed: u64 = gone.iter().sum();
    lost_bits += gone.iter().map(|count| entropy_bits(*count, suppressed)).sum::<f64>();
    let all_bits: f64 = at.coded.counts.iter().map(|count| entropy_bits(*count, rows)).sum();
    lost_bits += if rows > 0 { all_bits * real(recoded.tuples.withheld) / real(rows) } else { 0.0 };
    let (discernibility, class_size) = alone(recoded, column, &released);
    ColumnUtility {
        ambiguity: 1.0 - value_ambiguity(recoded, column, &released),
        discernibility,
        class_size,
        granularity: 1.0 - normalised_loss(recoded.covered_sum(column, true), rows, at.leaves),
        precision: 1.0 - share(raised, u128::from(rows) * highest as u128),
        entropy: if all_bits > 0.0 { 1.0 - lost_bits / all_bits } else { 1.0 },
    }
}

/// Ambiguity of one column. `released`: rows of each code at each level.
fn value_ambiguity(recoded: &Recoded, column: usize, released: &[Vec<u64>]) -> f64 {
    let at = &recoded.columns[column];
    let mut by_size = std::collections::BTreeMap::<u64, u64>::new();
    let mut gone = recoded.rows as u64;
    for (level, codes) in released.iter().enumerate() {
        for (code, rows) in codes.iter().enumerate().filter(|(_, rows)| **rows > 0) {
            *by_size.entry(at.covered[level][at.groups[level][code] as usize]).or_default() += rows;
            gone -= rows;
        }
    }
    *by_size.entry(at.leaves).or_default() += gone;
    let pairs: Vec<([u64; 1], u64)> = by_size.into_iter().map(|(covered, rows)| ([covered], rows)).collect();
    ambiguity(pairs.iter().map(|(covered, rows)| (covered.as_slice(), *rows)), &[at.leaves])
}

/// Discernibility and class size of the classes that a column alone makes.
fn alone(recoded: &Recoded, column: usize, released: &[Vec<u64>]) -> (f64, f64) {
    let at = &recoded.columns[column];
    let mut classes = std::collections::BTreeMap::<Option<&str>, u64>::new();
    for (level, codes) in released.iter().enumerate() {
        for (code, rows) in codes.iter().enumerate().filter(|(_, rows)| **rows > 0) {
            *classes.entry(at.labels[level][at.groups[level][code] as usize].as_deref()).or_default() += rows;
        }
    }
    let rows = recoded.rows as u64;
    let suppressed = rows - classes.values().sum::<u64>();
    let before = Classes::of(at.coded.counts.iter().copied().filter(|count| *count > 0));
    left(&Classes::of(classes.into_values()), suppressed, &before, rows)
}

/// What is left under discernibility and average class size.
fn left(classes: &Classes, suppressed: u64, before: &Classes, rows: u64) -> (f64, f64) {
    let squares = u128::from(classes.discernibility(0)) + u128::from(rows) * u128::from(suppressed);
    let (squares_before, all) = (u128::from(before.discernibility(0)), u128::from(rows) * u128::from(rows));
    // Suppressed rows are in no class; where all are, what is left is one class of everybody.
    let size = if classes.count() == 0 { real(rows) } else { real(rows - suppressed) / real(classes.count()) };
    let size_before = real(rows) / real(before.count().max(1));
    (
        1.0 - share(squares.saturating_sub(squares_before), all - squares_before),
        if before.count() < 2 { 1.0 } else { 1.0 - (size - size_before) / (real(rows) - size_before) },
    )
}

/// Measures the table. `columns`: weight and measures of each quasi-identifier; `classes`: of the released rows.
pub(crate) fn of_table(recoded: &Recoded, columns: &[(f64, ColumnUtility)], classes: &Classes) -> Utility {
    let rows = recoded.rows as u64;
    let suppressed = recoded.local.suppressed + recoded.tuples.withheld;
    let weights: f64 = columns.iter().map(|(weight, _)| weight).sum();
    let mean = |of: fn(&ColumnUtility) -> f64| match columns {
        [] => 1.0,
        _ => columns.iter().map(|(weight, column)| weight * of(column)).sum::<f64>() / weights,
    };
    let (discernibility, class_size) = left(classes, suppressed, &recoded.before, rows);
    // A value stands for so many leaves; a row for so many rows that could have become it.
    let leaves: Vec<u64> = recoded.columns.iter().map(|column| column.leaves).collect();
    let mut by_size = std::collections::BTreeMap::<Vec<u64>, u64>::new();
    for (tuple, rows) in recoded.tuples.rows.iter().enumerate().filter(|(_, rows)| **rows > 0) {
        let combination = recoded.local.of_tuple[tuple];
        let stands_for = if combination == NOWHERE {
            leaves.clone()
        } else {
            let levels = &recoded.local.combinations[combination as usize];
            let columns = recoded.columns.iter().enumerate().zip(levels);
            let covered = |((at, column), level): ((usize, &crate::encode::QuasiIdentifier), &usize)| {
                column.covered[*level][column.groups[*level][recoded.tuples.code(tuple, at)] as usize]
            };
            columns.map(covered).collect()
        };
        *by_size.entry(stands_for).or_default() += u64::from(*rows);
    }
    if recoded.tuples.withheld > 0 {
        *by_size.entry(leaves.clone()).or_default() += recoded.tuples.withheld;
    }
    Utility {
        granularity: mean(|column| column.granularity),
        precision: mean(|column| column.precision),
        entropy: mean(|column| column.entropy),
        ambiguity: 1.0 - ambiguity(by_size.iter().map(|(covered, rows)| (covered.as_slice(), *rows)), &leaves),
        discernibility,
        class_size,
    }
}
