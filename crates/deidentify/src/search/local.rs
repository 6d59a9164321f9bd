//! Local recoding over fixed domains: rows of one table at different levels, every value from the same hierarchies.
//!
//! A greedy cover: combinations of levels are visited in the order of their loss, lowest first. At each, the rows not yet
//! placed are grouped; classes that meet the conditions are placed there, the others wait for the next combination.
//! The domains are the hierarchies', fixed before the data is seen, which leaves an attacker little to conclude from how
//! coarse a row is (Cohen, "Attacks on deidentification's defenses", USENIX Security 2022). Where there are too many
//! combinations to visit, rows are placed from above instead: see `specialise.rs`.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use acequia_privacy::{Distribution, Metric};

use super::Lattice;
use super::judge::{Conditions, Judge};
use crate::grouping::{Groups, Scratch};

/// A row is nowhere: suppressed.
pub(crate) const NOWHERE: u32 = u32::MAX;

/// Where each distinct tuple went.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Local {
    /// Combinations of levels that are used.
    pub(crate) combinations: Vec<Vec<usize>>,
    /// Combination of each tuple; [`NOWHERE`] when suppressed.
    pub(crate) of_tuple: Vec<u32>,
    pub(crate) suppressed: u64,
    /// Combinations that were counted.
    pub(crate) counted: u64,
    /// Where all rows have the same levels: the score, and a score that no other levels undercut.
    pub(crate) score: Option<(f64, f64)>,
}

impl Local {
    /// Every tuple suppressed.
    pub(crate) fn nowhere(tuples: usize) -> Self {
        let of_tuple = vec![NOWHERE; tuples];
        Self { combinations: Vec::new(), of_tuple, suppressed: 0, counted: 0, score: None }
    }
}

/// A combination waiting for its turn: lowest loss first, then lowest levels.
struct Waiting {
    bound: f64,
    levels: Vec<usize>,
    /// Columns before this one are not raised any more, so that each combination comes once.
    from: usize,
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for Waiting {}
impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Waiting {
    fn cmp(&self, other: &Self) -> Ordering {
        self.bound.total_cmp(&other.bound).then_with(|| self.levels.cmp(&other.levels))
    }
}

/// Places every tuple at the combination of least loss at which its class meets the conditions.
pub(crate) fn recode_locally<const W: usize>(
    lattice: &Lattice<'_>,
    tuples: &Groups<W>,
    conditions: &Conditions,
) -> Local {
    if lattice.is_large(tuples.len()) {
        return super::specialise::specialise(lattice, tuples, conditions);
    }
    let judge = Judge::new(lattice, conditions, &[]);
    let none = Distribution::default();
    let mut local = Local::nowhere(tuples.len());
    let mut scratch = Scratch::default();
    let mut left = tuples.clone();
    let mut origin: Vec<u32> = (0..).take(tuples.len()).collect();
    let mut queue = BinaryHeap::new();
    queue.push(Reverse(Waiting { bound: 0.0, levels: lattice.lowest(), from: 0 }));
    while let Some(Reverse(next)) = queue.pop() {
        if left.rows.iter().map(|rows| u64::from(*rows)).sum::<u64>() < judge.smallest_class() {
            break;
        }
        for at in next.from..next.levels.len() {
            if next.levels[at] + 1 < lattice.columns[at].levels() {
                let mut levels = next.levels.clone();
                levels[at] += 1;
                queue.push(Reverse(Waiting { bound: judge.bound(&levels, Metric::Loss), levels, from: at }));
            }
        }
        local.counted += 1;
        let classes = lattice.at_levels(&left, &next.levels, &mut scratch);
        let holds: Vec<bool> = (0..classes.len()).map(|at| conditions.class_holds(&classes, at, &none)).collect();
        if !holds.contains(&true) {
            continue;
        }
        let number = u32::try_from(local.combinations.len()).expect("fewer than 2^32 combinations");
        let keep: Vec<bool> = scratch.new_groups().iter().map(|class| !holds[*class as usize]).collect();
        for (at, keep) in keep.iter().enumerate() {
            if !keep {
                local.of_tuple[origin[at] as usize] = number;
            }
        }
        local.combinations.push(next.levels);
        left = left.filter(&keep);
        let mut keep = keep.into_iter();
        origin.retain(|_| keep.next().unwrap_or(true));
    }
    local.suppressed = left.rows.iter().map(|rows| u64::from(*rows)).sum();
    local
}
