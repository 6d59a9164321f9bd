//! Local recoding over fixed domains: rows of one table at different levels, every value from the same hierarchies.
//!
//! A greedy cover: combinations of levels are visited in the order of their loss, lowest first. At each, the rows not yet
//! placed are grouped; classes that meet the conditions are placed there, the others wait for the next combination.
//! The domains are the hierarchies', fixed before the data is seen, which leaves an attacker little to conclude from how
//! coarse a row is (Cohen, "Attacks on deidentification's defenses", USENIX Security 2022). Where there are too many
//! combinations to visit, rows are placed from above instead: see `specialise.rs`.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::rc::Rc;

use acequia_privacy::{Distribution, Metric};

use super::Lattice;
use super::judge::{Conditions, Judge};
use crate::grouping::{Groups, Lift, Scratch, hash32, narrow, raised_bits};

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
    let mut crowds = Crowds::new(lattice, judge.smallest_class());
    let mut left = tuples.clone();
    let mut origin: Vec<u32> = (0..).take(tuples.len()).collect();
    let mut queue = BinaryHeap::new();
    local.suppressed = left.rows.iter().map(|rows| u64::from(*rows)).sum();
    queue.push(Reverse(Waiting { bound: 0.0, levels: lattice.lowest(), from: 0 }));
    while let Some(Reverse(next)) = queue.pop() {
        if local.suppressed < judge.smallest_class() {
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
        let near = crowds.of(lattice, &left, &next.levels);
        if near.is_empty() {
            continue;
        }
        let few = left.select(near);
        let classes = lattice.at_levels(&few, &next.levels, &mut scratch);
        let holds: Vec<bool> = (0..classes.len()).map(|at| conditions.class_holds(&classes, at, &none)).collect();
        if !holds.contains(&true) {
            continue;
        }
        let number = u32::try_from(local.combinations.len()).expect("fewer than 2^32 combinations");
        let mut keep = vec![true; left.len()];
        for (at, class) in near.iter().zip(scratch.new_groups()) {
            if holds[*class as usize] {
                let at = *at as usize;
                keep[at] = false;
                local.of_tuple[origin[at] as usize] = number;
                local.suppressed -= u64::from(left.rows[at]);
            }
        }
        local.combinations.push(next.levels);
        left = left.filter(&keep);
        let mut keep = keep.into_iter();
        origin.retain(|_| keep.next().unwrap_or(true));
    }
    local
}

/// Finds groups that may be in a class of k, without making classes: most combinations have hardly any. Rows are counted by
/// a hash of what the group becomes; where fewer than k come together, there is no class of k.
struct Crowds<const W: usize> {
    k: u64,
    /// For each column and level, what becomes of its codes.
    tables: Vec<Vec<Option<Raised>>>,
    /// Entries of all tables.
    held: usize,
    place: Vec<u32>,
    rows: Vec<u32>,
    near: Vec<u32>,
}

type Raised = Option<Rc<[u64]>>;

/// Entries of tables kept at most.
const MOST_HELD: usize = 1 << 22;

impl<const W: usize> Crowds<W> {
    fn new(lattice: &Lattice<'_>, k: u64) -> Self {
        let tables = lattice.columns.iter().map(|column| vec![None; column.levels()]).collect();
        Self { k, tables, held: 0, place: Vec::new(), rows: Vec::new(), near: Vec::new() }
    }

    /// Groups that may be in a class of k at these levels, ascending.
    fn of(&mut self, lattice: &Lattice<'_>, groups: &Groups<W>, levels: &[usize]) -> &[u32] {
        if self.held > MOST_HELD {
            self.tables.iter_mut().flatten().for_each(|table| *table = None);
            self.held = 0;
        }
        let held = &mut self.held;
        let raised = levels.iter().enumerate().filter(|(_, level)| **level > 0).map(|(at, level)| {
            let field = lattice.fields[at];
            let table = self.tables[at][*level].get_or_insert_with(|| {
                let table = raised_bits(field, &lattice.columns[at].groups[*level]);
                *held += table.as_ref().map_or(0, |table| table.len());
                table
            });
            (field, table.clone())
        });
        let lift = Lift::of(raised, groups.len());
        let slots = (groups.len() * 4).next_power_of_two().max(64);
        self.rows.clear();
        self.rows.resize(slots, 0);
        self.place.clear();
        for (key, rows) in groups.keys.iter().zip(&groups.rows) {
            let place = hash32(&lift.raise(key)) & (narrow(slots) - 1);
            self.place.push(place);
            let count = &mut self.rows[place as usize];
            *count = count.saturating_add(*rows);
        }
        self.near.clear();
        let may = |place: &u32| u64::from(self.rows[*place as usize]) >= self.k;
        self.near.extend((0..).zip(&self.place).filter(|(_, place)| may(place)).map(|(at, _)| at));
        &self.near
    }
}
