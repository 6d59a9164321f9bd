//! Differencing: answers about several cohorts that together tell about a few persons.
//!
//! The answer about a cohort is a sum over its persons. From several such sums anybody can add up and subtract; a combination that leaves
//! few persons over tells about them, be it the difference of two cohorts, or one less two that make up the rest of it. Cohorts are
//! vectors here, of 1 for each person who is in it, and combinations are looked at by elimination, exactly: over the integers modulo a
//! prime of 61 bits, where no chance coincidence of 0 and 1 lets a rank drop.

use std::collections::{BTreeMap, BTreeSet};

/// The prime 2^61 - 1.
const PRIME: u64 = (1 << 61) - 1;

fn times(a: u64, b: u64) -> u64 {
    #[expect(clippy::cast_possible_truncation, reason = "below the prime")]
    let product = (u128::from(a) * u128::from(b) % u128::from(PRIME)) as u64;
    product
}

fn less(a: u64, b: u64) -> u64 {
    if a >= b { a - b } else { a + PRIME - b }
}

/// By Fermat's little theorem.
fn inverse(a: u64) -> u64 {
    let (mut power, mut exponent, mut result) = (a, PRIME - 2, 1);
    while exponent > 0 {
        if exponent & 1 == 1 {
            result = times(result, power);
        }
        power = times(power, power);
        exponent >>= 1;
    }
    result
}

/// Rows in reduced echelon form.
struct Echelon {
    width: usize,
    /// Column of its leading 1, and the row.
    rows: Vec<(usize, Vec<u64>)>,
}

impl Echelon {
    fn new(width: usize) -> Self {
        Self { width, rows: Vec::new() }
    }

    fn is_full(&self) -> bool {
        self.rows.len() == self.width
    }

    /// Takes in a row, unless it follows from those that are there.
    fn take(&mut self, mut row: Vec<u64>) {
        for (lead, other) in &self.rows {
            let factor = row[*lead];
            if factor != 0 {
                row.iter_mut().zip(other).for_each(|(own, other)| *own = less(*own, times(factor, *other)));
            }
        }
        let Some(lead) = row.iter().position(|entry| *entry != 0) else { return };
        let scale = inverse(row[lead]);
        row.iter_mut().for_each(|entry| *entry = times(*entry, scale));
        for (_, other) in &mut self.rows {
            let factor = other[lead];
            if factor != 0 {
                other.iter_mut().zip(&row).for_each(|(own, new)| *own = less(*own, times(factor, *new)));
            }
        }
        self.rows.push((lead, row));
    }

    /// Combinations (of columns) that every row makes zero.
    fn null(&self) -> Vec<Vec<u64>> {
        let leads: BTreeSet<usize> = self.rows.iter().map(|(lead, _)| *lead).collect();
        let free = (0..self.width).filter(|column| !leads.contains(column));
        free.map(|column| {
            let mut combination = vec![0; self.width];
            combination[column] = 1;
            for (lead, row) in &self.rows {
                combination[*lead] = less(0, row[column]);
            }
            combination
        })
        .collect()
    }
}

/// Whether a combination of these cohorts leaves from one to fewer than `least` persons over.
///
/// Exact for a single combination that leaves groups of few persons only; of several, each of a reduced basis is looked at.
pub(crate) fn tells_of_few(cohorts: &[&BTreeSet<u64>], least: u64) -> bool {
    let mut of: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for (at, cohort) in cohorts.iter().enumerate() {
        cohort.iter().for_each(|mark| of.entry(*mark).or_default().push(at));
    }
    // Persons who are in the same cohorts are never told apart.
    let mut groups: BTreeMap<Vec<usize>, u64> = BTreeMap::new();
    of.into_values().for_each(|within| *groups.entry(within).or_default() += 1);
    let mut many = Echelon::new(cohorts.len());
    for within in groups.iter().filter(|(_, persons)| **persons >= least).map(|(within, _)| within) {
        let mut row = vec![0; cohorts.len()];
        within.iter().for_each(|at| row[*at] = 1);
        many.take(row);
        if many.is_full() {
            return false;
        }
    }
    // What is left of a combination that has nothing of any large group.
    let few: Vec<(&Vec<usize>, u64)> =
        groups.iter().filter(|(_, persons)| **persons < least).map(|(within, persons)| (within, *persons)).collect();
    let mut left = Echelon::new(few.len());
    for combination in many.null() {
        let sum = |within: &Vec<usize>| within.iter().fold(0, |sum, at| less(sum, less(0, combination[*at])));
        left.take(few.iter().map(|(within, _)| sum(within)).collect());
    }
    left.rows.iter().any(|(_, row)| {
        let persons: u64 =
            row.iter().zip(&few).filter(|(entry, _)| **entry != 0).map(|(_, (_, persons))| persons).sum();
        persons < least
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cohorts of persons from one number up to another.
    fn cohorts(of: &[&[(u64, u64)]]) -> Vec<BTreeSet<u64>> {
        of.iter().map(|ranges| ranges.iter().flat_map(|(from, to)| *from..*to).collect()).collect()
    }

    #[track_caller]
    fn tells(of: &[&[(u64, u64)]], expected: bool) {
        let cohorts = cohorts(of);
        assert_eq!(tells_of_few(&cohorts.iter().collect::<Vec<_>>(), 10), expected);
    }

    #[test]
    fn what_is_left_of_sums_and_differences_is_seen() {
        tells(&[&[(0, 50)]], false);
        tells(&[&[(0, 50)], &[(0, 41)]], true);
        tells(&[&[(0, 50)], &[(0, 40)]], false);
        // Two that make up a third but for one person.
        tells(&[&[(0, 30)], &[(30, 60)], &[(0, 61)]], true);
        tells(&[&[(0, 30)], &[(30, 60)], &[(0, 60)]], false);
        tells(&[&[(0, 30)], &[(30, 60)], &[(0, 70)]], false);
        // Two that overlap: both, less the overlap, are all but two.
        tells(&[&[(0, 40)], &[(20, 60)], &[(20, 40)], &[(0, 62)]], true);
        tells(&[&[(0, 40)], &[(20, 60)], &[(0, 62)]], false);
        // Each twice, in three pairs: half of the sum is known, and so is each part.
        tells(&[&[(0, 20), (20, 40)], &[(20, 40), (40, 60)], &[(0, 20), (40, 60)], &[(0, 61)]], true);
        // A cohort of few is one by itself.
        tells(&[&[(0, 5)]], true);
    }

    #[test]
    fn one_that_is_the_same_or_of_others_tells_nothing() {
        tells(&[&[(0, 50)], &[(0, 50)]], false);
        tells(&[&[(0, 50)], &[(60, 100)]], false);
        tells(&[&[(0, 50)], &[(40, 100)], &[(0, 100)]], false);
    }

    #[test]
    fn many_cohorts_are_looked_at_in_no_time() {
        let all: Vec<BTreeSet<u64>> = (1..200).map(|to| (0..to * 25).collect()).collect();
        let mut all: Vec<&BTreeSet<u64>> = all.iter().collect();
        assert!(!tells_of_few(&all, 10));
        let but_one: BTreeSet<u64> = (25..4_974).collect();
        all.push(&but_one);
        assert!(tells_of_few(&all, 10));
    }
}
