//! Differencing: answers about several cohorts that together tell about a few persons.
//!
//! The answer about a cohort is a sum over its persons. From several such sums anybody can add up and subtract; a combination that leaves
//! few persons over tells about them, be it the difference of two cohorts, or one less two that make up the rest of it. Cohorts are
//! vectors here, of 1 for each person who is in it, and combinations are looked at by elimination, exactly: over the integers modulo a
//! prime of 61 bits, where no chance coincidence of 0 and 1 lets a rank drop.

use std::collections::{BTreeMap, BTreeSet};

use acequia_privacy::{Echelon, Residue};

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
        let mut row = vec![Residue::ZERO; cohorts.len()];
        within.iter().for_each(|at| row[*at] = Residue::ONE);
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
        let sum = |within: &Vec<usize>| within.iter().fold(Residue::ZERO, |sum, at| sum + combination[*at]);
        left.take(few.iter().map(|(within, _)| sum(within)).collect());
    }
    left.rows().any(|row| {
        let persons: u64 =
            row.iter().zip(&few).filter(|(entry, _)| **entry != Residue::ZERO).map(|(_, (_, persons))| persons).sum();
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
