//! Groups of any combination of levels, made from the smallest groups at hand that lie below it.
//!
//! Grouping from the distinct tuples costs as much at high levels as at low ones. So groups that were made on the way are
//! kept, as long as all of them together are no more than the tuples.

use super::Lattice;
use crate::grouping::{Groups, Scratch};

/// Groups kept at most.
const MOST_RUNGS: usize = 48;

/// So many groups may be kept in any case.
const FEW_GROUPS: usize = 1 << 16;

struct Rung<const W: usize> {
    levels: Vec<usize>,
    groups: Groups<W>,
    used: u64,
}

/// Groups at hand.
pub(super) struct Ladder<'a, const W: usize> {
    lattice: &'a Lattice<'a>,
    tuples: &'a Groups<W>,
    rungs: Vec<Rung<W>>,
    scratch: Scratch,
    clock: u64,
    /// Groups that were gone through.
    pub(super) visited: u64,
}

impl<'a, const W: usize> Ladder<'a, W> {
    pub(super) fn new(lattice: &'a Lattice<'a>, tuples: &'a Groups<W>) -> Self {
        Self { lattice, tuples, rungs: Vec::new(), scratch: Scratch::default(), clock: 0, visited: 0 }
    }

    /// Looks at the groups of a combination.
    pub(super) fn at<R>(&mut self, levels: &[usize], look: impl FnOnce(&Groups<W>) -> R) -> R {
        self.clock += 1;
        let below = |rung: &&mut Rung<W>| rung.levels.iter().zip(levels).all(|(below, above)| below <= above);
        let base = self.rungs.iter_mut().filter(below).min_by_key(|rung| rung.groups.len());
        let (from, groups) = match base {
            Some(rung) => {
                rung.used = self.clock;
                (rung.groups.len(), self.lattice.raise(&rung.groups, &rung.levels, levels, &mut self.scratch))
            }
            None => {
                let exact = vec![0; levels.len()];
                (self.tuples.len(), self.lattice.raise(self.tuples, &exact, levels, &mut self.scratch))
            }
        };
        self.visited += from as u64;
        let result = look(&groups);
        if groups.len() * 2 <= from {
            self.keep(levels, groups);
        }
        result
    }

    fn keep(&mut self, levels: &[usize], groups: Groups<W>) {
        let most = self.tuples.len().max(FEW_GROUPS);
        let mut held: usize = self.rungs.iter().map(|rung| rung.groups.len()).sum();
        while !self.rungs.is_empty() && (held + groups.len() > most || self.rungs.len() >= MOST_RUNGS) {
            let oldest = (0..self.rungs.len()).min_by_key(|at| self.rungs[*at].used).unwrap_or(0);
            held -= self.rungs.swap_remove(oldest).groups.len();
        }
        self.rungs.push(Rung { levels: levels.to_vec(), groups, used: self.clock });
    }
}
