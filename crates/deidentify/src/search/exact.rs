//! The exact search: the best of all combinations of levels, with proof.
//!
//! Combinations form a tree: a combination's parent has its last raised column one level lower. The walk goes depth
//! first, each combination grouped from its parent's groups, and leaves out every branch whose bound is above the best
//! score found. The bound of loss and entropy comes from the marginals of the columns, needs no counting, and never falls
//! on the way up; so what is left out cannot hold the best. A greedy climb gives a first score to compare with.
//!
//! Several goals are pursued in one walk: a branch is left out when no goal can gain from it.
//!
//! Where conditions can only grow truer on the way up (k-anonymity, k-map, distinct l-diversity) and few rows may be
//! suppressed, most combinations below the bound are infeasible, and a walk from below would count every one of them.
//! Then the highest combinations below the bound are counted first: what lies below an infeasible one is infeasible too
//! (predictive tagging, as in Kohlmayer et al., "Flash: efficient, stable and optimal k-anonymity", PASSAT 2012).
//! Equal scores are decided by the levels, so the answer does not depend on the order of the walk.

use super::{Lattice, relaid};
use acequia_privacy::Metric;

use super::judge::{Conditions, Goal, Judge, Judged};
use super::ladder::Ladder;
use crate::grouping::{Groups, Scratch};

/// The best combination for one goal.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Found {
    /// Level of each column.
    pub(crate) levels: Vec<usize>,
    pub(crate) score: f64,
    pub(crate) suppressed: u64,
    /// A score that no combination undercuts; the same as `score` when this one is proven to be the best.
    pub(crate) least_score: f64,
}

/// What a search did.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// For each goal, the best combination; `None` when none keeps to the limit.
    pub(crate) found: Vec<Option<Found>>,
    /// Combinations that were counted.
    pub(crate) counted: u64,
}

/// Finds the best combination for each goal. `effort`: combinations to count for each, where there are
/// too many to search all.
pub(crate) fn search<const W: usize>(
    lattice: &Lattice<'_>,
    tuples: &Groups<W>,
    conditions: &Conditions,
    goals: &[Goal],
    effort: u64,
) -> Outcome {
    if lattice.is_large(tuples.len()) {
        return super::anytime::search(lattice, tuples, conditions, goals, effort);
    }
    let order = order(lattice);
    // The walk raises later columns much more often, so these change least of a key.
    let sorted = lattice.in_order(&order, W);
    let in_order = sorted.as_ref().map(|sorted| tuples.in_order_of(|key| relaid(key, &lattice.fields, &sorted.fields)));
    let (lattice, tuples) = (sorted.as_ref().unwrap_or(lattice), in_order.as_ref().unwrap_or(tuples));
    let mut walk = Walk {
        lattice,
        judge: Judge::new(lattice, conditions, goals),
        goals,
        best: vec![None; goals.len()],
        counted: 0,
        order,
        ascends: sorted.is_some(),
        scratch: Scratch::default(),
    };
    let mut levels = lattice.lowest();
    let raised = levels.iter().any(|level| *level > 0).then(|| {
        let raised = lattice.at_levels(tuples, &levels, &mut walk.scratch);
        if walk.ascends { raised.in_order_of(|key| *key) } else { raised }
    });
    let lowest = raised.as_ref().unwrap_or(tuples);
    walk.climb(lowest, levels.clone());
    let tags = conditions.grow()
        && goals.iter().all(|goal| {
            goal.limit.saturating_mul(SMALL_LIMIT) <= lattice.rows
                && !matches!(goal.metric, Metric::Discernibility | Metric::ClassSize)
        });
    let listed = if tags { walk.below_the_bound() } else { Vec::new() };
    if listed.len() > FEW_LISTED || (tags && tuples.len() <= FEW_TUPLES) {
        walk.tag_from_above(&mut Ladder::new(lattice, tuples), &listed);
    } else {
        walk.down(lowest, &mut levels, 0);
    }
    Outcome { found: walk.best, counted: walk.counted }
}

/// Up to so many combinations below the bound, the walk from below is faster: it groups each from its parent's groups.
const FEW_LISTED: usize = 2_000;

/// Up to so many distinct tuples, grouping them afresh costs little more than grouping a parent's groups: the table of
/// groups stays in the processor's cache.
const FEW_TUPLES: usize = 1 << 17;

/// A limit on suppressed rows counts as small when it is at most one row in this many.
const SMALL_LIMIT: u64 = 8;

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
    /// Whether keys ascend.
    ascends: bool,
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
                let levels = levels.to_vec();
                *best = Some(Found { levels, score, suppressed: judged.suppressed, least_score: score });
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
        let (field, up) = (self.lattice.fields[at], &self.lattice.columns[at].up[levels[at]]);
        match self.ascends {
            true => groups.roll_up_in_order(field, up, &mut self.scratch),
            false => groups.roll_up(field, up, &mut self.scratch),
        }
    }

    /// From the exact values upwards, always the step that saves most suppressed rows for what it loses, until every goal
    /// has a combination within its limit.
    fn climb<const W: usize>(&mut self, lowest: &Groups<W>, mut levels: Vec<usize>) {
        let mut groups = lowest.clone();
        let mut judged = self.visit(&groups, &levels);
        while self.best.iter().any(Option::is_none) {
            let mut best: Option<(f64, usize, Groups<W>, Judged)> = None;
            for at in 0..levels.len() {
                if levels[at] + 1 == self.lattice.columns[at].levels() {
                    continue;
                }
                let above = self.raise(&groups, &levels, at);
                levels[at] += 1;
                let found = self.visit(&above, &levels);
                let cost = self.judge.bound(&levels, Metric::Loss);
                levels[at] -= 1;
                #[expect(clippy::cast_precision_loss, reason = "a comparison of counts of rows")]
                let saved = judged.suppressed as f64 - found.suppressed as f64;
                let before = self.judge.bound(&levels, Metric::Loss);
                let worth = saved / (cost - before).max(1e-9);
                if best.as_ref().is_none_or(|best| worth > best.0) {
                    best = Some((worth, at, above, found));
                }
            }
            let Some(best) = best else { return };
            levels[best.1] += 1;
            (groups, judged) = (best.2, best.3);
        }
    }

    /// Combinations whose bound lets them be better than the best so far, highest bound first.
    fn below_the_bound(&self) -> Vec<Vec<usize>> {
        let mut listed: Vec<(f64, Vec<usize>)> = Vec::new();
        let start = self.lattice.lowest();
        let mut levels = start.clone();
        loop {
            if self.could_gain(&levels, 0) {
                listed.push((self.judge.bound(&levels, self.goals[0].metric), levels.clone()));
            }
            let next = (0..levels.len()).find(|at| levels[*at] + 1 < self.lattice.columns[*at].levels());
            let Some(at) = next else { break };
            levels[at] += 1;
            levels[..at].copy_from_slice(&start[..at]);
        }
        listed.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        listed.into_iter().map(|(_, levels)| levels).collect()
    }

    /// Counts the highest combinations below the bound first, and leaves out what lies below an infeasible one.
    fn tag_from_above<const W: usize>(&mut self, ladder: &mut Ladder<'_, W>, listed: &[Vec<usize>]) {
        // Rows that are suppressed at least, known from a combination above.
        let mut suppressed = vec![0_u64; listed.len()];
        for (at, levels) in listed.iter().enumerate() {
            if !self.could_gain(levels, suppressed[at]) {
                continue;
            }
            let found = ladder.at(levels, |groups| self.visit(groups, levels).suppressed);
            for (other, least) in listed.iter().zip(&mut suppressed).skip(at + 1) {
                if *least < found && other.iter().zip(levels).all(|(below, above)| below <= above) {
                    *least = found;
                }
            }
        }
    }

    /// Whether a combination at which at least so many rows are suppressed can be better than the best for some goal.
    fn could_gain(&self, levels: &[usize], suppressed: u64) -> bool {
        self.goals.iter().zip(&self.best).any(|(goal, best)| {
            suppressed <= goal.limit
                && best.as_ref().is_none_or(|best| self.judge.bound(levels, goal.metric) <= best.score)
        })
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
