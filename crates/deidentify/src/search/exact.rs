//! The exact search: the best of all combinations of levels, with proof.
//!
//! Combinations form a tree: a combination's parent has its last raised column one level lower. The walk goes depth
//! first, each combination grouped from its parent's groups, and leaves out every branch whose bound is above the best
//! score found. The bound of loss and entropy comes from the marginals of the columns, needs no counting, and never falls
//! on the way up; so what is left out cannot hold the best. A greedy climb gives a first score to compare with.
//!
//! Several goals are pursued in one walk: a branch is left out when no goal can gain from it.
//! Equal scores are decided by the levels, so the answer does not depend on the order of the walk.

use super::Lattice;
use super::judge::{Conditions, Goal, Judge, Judged};
use crate::grouping::{Groups, Scratch};

/// The best combination for one goal.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Found {
    /// Level of each column.
    pub(crate) levels: Vec<usize>,
    pub(crate) score: f64,
    pub(crate) suppressed: u64,
}

/// What a search did.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// For each goal, the best combination; `None` when none keeps to the limit.
    pub(crate) found: Vec<Option<Found>>,
    /// Combinations that were counted.
    pub(crate) counted: u64,
}

/// Finds the best combination for each goal. `prepare` completes the distinct tuples with what conditions look at.
pub(crate) fn search<const W: usize>(
    lattice: &Lattice<'_>,
    tuples: &Groups<W>,
    conditions: &Conditions,
    goals: &[Goal],
) -> Outcome {
    let mut walk = Walk {
        lattice,
        judge: Judge::new(lattice, conditions, goals),
        goals,
        best: vec![None; goals.len()],
        counted: 0,
        order: order(lattice),
        scratch: Scratch::default(),
    };
    let mut levels = lattice.lowest();
    let lowest = lattice.at_levels(tuples, &levels, &mut walk.scratch);
    walk.climb(&lowest, levels.clone());
    walk.down(&lowest, &mut levels, 0);
    Outcome { found: walk.best, counted: walk.counted }
}

/// Columns in the order in which the walk raises them: those that merge most for what they lose come first, so that most
/// combinations are made from few groups.
fn order(lattice: &Lattice<'_>) -> Vec<usize> {
    let worth = |at: &usize| {
        let column = &lattice.columns[*at];
        let (first, last) = (column.labels[0].len(), column.labels[column.levels() - 1].len());
        first / last.max(1)
    };
    let mut order: Vec<usize> = (0..lattice.columns.len()).collect();
    order.sort_by_key(|at| std::cmp::Reverse(worth(at)));
    order
}

struct Walk<'a> {
    lattice: &'a Lattice<'a>,
    judge: Judge<'a>,
    goals: &'a [Goal],
    best: Vec<Option<Found>>,
    counted: u64,
    order: Vec<usize>,
    scratch: Scratch,
}

impl Walk<'_> {
    /// Judges a combination and keeps it where it is the best so far.
    fn visit<const W: usize>(&mut self, groups: &Groups<W>, levels: &[usize]) -> Judged {
        self.counted += 1;
        let judged = self.judge.judge(groups, levels);
        for (goal, best) in self.goals.iter().zip(&mut self.best) {
            if judged.suppressed > goal.limit {
                continue;
            }
            let score = self.judge.score(&judged, levels, goal.metric);
            let better = best
                .as_ref()
                .is_none_or(|best| score < best.score || (score == best.score && levels < best.levels.as_slice()));
            if better {
                *best = Some(Found { levels: levels.to_vec(), score, suppressed: judged.suppressed });
            }
        }
        judged
    }

    /// Whether a branch can still hold something better for some goal.
    fn worth(&self, levels: &[usize], below: &Judged) -> bool {
        self.goals.iter().zip(&self.best).any(|(goal, best)| {
            best.as_ref().is_none_or(|best| {
                self.judge.bound(levels, goal.metric) <= best.score
                    && self.judge.bound_above(below, goal.metric) <= best.score
            })
        })
    }

    fn raise<const W: usize>(&mut self, groups: &Groups<W>, levels: &[usize], at: usize) -> Groups<W> {
        groups.roll_up(self.lattice.fields[at], &self.lattice.columns[at].up[levels[at]], &mut self.scratch)
    }

    /// From the exact values upwards, always the step that saves most suppressed rows for what it loses, until every goal
    /// has a combination within its limit.
    fn climb<const W: usize>(&mut self, lowest: &Groups<W>, mut levels: Vec<usize>) {
        let mut groups = lowest.clone();
        let mut judged = self.visit(&groups, &levels);
        while self.best.iter().any(Option::is_none) {
            let mut steps = Vec::new();
            for at in 0..levels.len() {
                if levels[at] + 1 == self.lattice.columns[at].levels() {
                    continue;
                }
                let above = self.raise(&groups, &levels, at);
                levels[at] += 1;
                let found = self.visit(&above, &levels);
                let cost = self.judge.bound(&levels, acequia_privacy::Metric::Loss);
                levels[at] -= 1;
                #[expect(clippy::cast_precision_loss, reason = "a comparison of counts of rows")]
                let saved = judged.suppressed as f64 - found.suppressed as f64;
                let before = self.judge.bound(&levels, acequia_privacy::Metric::Loss);
                steps.push((saved / (cost - before).max(1e-9), at, above, found));
            }
            let Some(best) = steps.into_iter().reduce(|a, b| if b.0 > a.0 { b } else { a }) else { return };
            levels[best.1] += 1;
            (groups, judged) = (best.2, best.3);
        }
    }

    /// Visits a combination and, unless bounds forbid it, everything made from it by raising columns from the `from`th of the order on.
    fn down<const W: usize>(&mut self, groups: &Groups<W>, levels: &mut Vec<usize>, from: usize) {
        let judged = self.visit(groups, levels);
        for nth in from..self.order.len() {
            let at = self.order[nth];
            if levels[at] + 1 == self.lattice.columns[at].levels() {
                continue;
            }
            levels[at] += 1;
            let worth = self.worth(levels, &judged);
            levels[at] -= 1;
            if worth {
                let above = self.raise(groups, levels, at);
                levels[at] += 1;
                self.down(&above, levels, nth);
                levels[at] -= 1;
            }
        }
    }
}
