//! The search for lattices too large to be walked: a good combination, and a proven bound on how much better any other
//! can be.
//!
//! First a descent from the top, where nothing is left, always to the neighbour of the best score, and from where it ends
//! steps and exchanges of a level between two columns. Then branch and bound over boxes: all combinations from a lowest to
//! a highest one. In a box, generalisation costs at least what the lowest combination's does, and at least as many rows are
//! too few for a class of k as at the highest. Whatever is counted on the way may be the best so far; the least bound of the
//! boxes left is what no combination undercuts. So the search can stop after any count and say what it certifies. It
//! stops after so many groups that it went through, and not after seconds, which makes its answer the same on every machine.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use acequia_privacy::{Metric, loss, normalised_loss};
use hashbrown::HashMap;

use super::Lattice;
use super::exact::{Found, Outcome};
use super::judge::{Conditions, Goal, Judge};
use super::ladder::Ladder;
use crate::grouping::Groups;

/// Distinct tuples that effort is counted in at most: larger tables are searched less.
const MOST_TUPLES: u64 = 1 << 20;

/// How often the search may go through all tuples of a table of any size.
const LEAST_PASSES: u64 = 64;

/// Searches for each goal. `effort`: how often it may go through all distinct tuples. Groups of high levels are fewer, so
/// more combinations than that are counted.
pub(crate) fn search<const W: usize>(
    lattice: &Lattice<'_>,
    tuples: &Groups<W>,
    conditions: &Conditions,
    goals: &[Goal],
    effort: u64,
) -> Outcome {
    let mut outcome = Outcome { found: Vec::new(), counted: 0 };
    for goal in goals {
        let mut work = Anytime {
            lattice,
            ladder: Ladder::new(lattice, tuples),
            grow: conditions.grow(),
            judge: Judge::new(lattice, conditions, std::slice::from_ref(goal)),
            goal: *goal,
            marginals: marginals(lattice, tuples),
            known: HashMap::new(),
            best: None,
            most_visited: (effort.saturating_mul(MOST_TUPLES.min(tuples.len() as u64)))
                .max(LEAST_PASSES.saturating_mul(tuples.len() as u64)),
        };
        let top: Vec<usize> = lattice.columns.iter().map(|column| column.levels() - 1).collect();
        if tuples.len() as u64 > MOST_TUPLES {
            work.lay_rungs(&top);
        }
        work.climb_down(top.clone());
        let bound = work.boxes(&lattice.lowest(), &top);
        outcome.counted += work.known.len() as u64;
        outcome.found.push(work.best.map(|best| Found { least_score: bound.min(best.score), ..best }));
    }
    outcome
}

/// Groups of one column at one level: leaves covered, then rows and leaves of all rows up to this group, by leaves.
struct Marginal(Vec<(u64, u64, u128)>);

impl Marginal {
    /// Leaves that so many rows stand for at least.
    fn least(&self, rows: u64) -> u128 {
        let at = self.0.partition_point(|(_, up_to, _)| *up_to < rows);
        let (before_rows, before_sum) = at.checked_sub(1).map_or((0, 0), |at| (self.0[at].1, self.0[at].2));
        let each = self.0.get(at).map_or(0, |(covered, _, _)| *covered);
        before_sum + u128::from(rows.saturating_sub(before_rows)) * u128::from(each)
    }
}

fn marginals<const W: usize>(lattice: &Lattice<'_>, tuples: &Groups<W>) -> Vec<Vec<Marginal>> {
    let of_column = |(column, field): (&crate::encode::QuasiIdentifier, &crate::grouping::Field)| {
        let of_level = |level: usize| {
            let mut rows = vec![0_u64; column.labels[level].len()];
            for (key, count) in tuples.keys.iter().zip(&tuples.rows) {
                rows[column.groups[level][field.get(key)] as usize] += u64::from(*count);
            }
            let mut groups: Vec<(u64, u64)> = column.covered[level].iter().copied().zip(rows).collect();
            groups.sort_unstable();
            let (mut up_to, mut sum) = (0, 0);
            let cumulated = groups.into_iter().map(|(covered, rows)| {
                up_to += rows;
                sum += u128::from(rows) * u128::from(covered);
                (covered, up_to, sum)
            });
            Marginal(cumulated.collect())
        };
        (0..column.levels()).map(of_level).collect()
    };
    lattice.columns.iter().zip(&lattice.fields).map(of_column).collect()
}

/// All combinations from `lowest` to `highest`.
struct LevelBox {
    bound: f64,
    lowest: Vec<usize>,
    highest: Vec<usize>,
    /// Rows that are suppressed at least.
    suppressed: u64,
}

impl PartialEq for LevelBox {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for LevelBox {}
impl PartialOrd for LevelBox {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for LevelBox {
    fn cmp(&self, other: &Self) -> Ordering {
        let levels = |of: &Self| (of.lowest.clone(), of.highest.clone());
        self.bound.total_cmp(&other.bound).then_with(|| levels(self).cmp(&levels(other)))
    }
}

struct Anytime<'a, const W: usize> {
    lattice: &'a Lattice<'a>,
    ladder: Ladder<'a, W>,
    judge: Judge<'a>,
    /// Whether suppressed rows can only become fewer on the way up.
    grow: bool,
    goal: Goal,
    marginals: Vec<Vec<Marginal>>,
    /// Score, if within the limit, and rows suppressed at least at every combination below.
    known: HashMap<Vec<usize>, (Option<f64>, u64)>,
    best: Option<Found>,
    /// Groups to go through at most.
    most_visited: u64,
}

impl<const W: usize> Anytime<'_, W> {
    /// Counts one combination; `None` when the effort is spent.
    fn count(&mut self, levels: &[usize]) -> Option<(Option<f64>, u64)> {
        if let Some(known) = self.known.get(levels) {
            return Some(*known);
        }
        if self.ladder.visited >= self.most_visited {
            return None;
        }
        let (judge, grow) = (&mut self.judge, self.grow);
        let (judged, least) = self.ladder.at(levels, |groups| {
            let judged = judge.judge(groups, levels);
            let too_few = |rows: &&u32| u64::from(**rows) < judge.smallest_class();
            let least = match grow {
                true => judged.suppressed,
                false => groups.rows.iter().filter(too_few).map(|rows| u64::from(*rows)).sum(),
            };
            (judged, least)
        });
        let score = (judged.suppressed <= self.goal.limit).then(|| self.judge.score(&judged, levels, self.goal.metric));
        if let Some(score) = score {
            let better = self
                .best
                .as_ref()
                .is_none_or(|best| score < best.score || (score == best.score && levels < best.levels.as_slice()));
            if better {
                let levels = levels.to_vec();
                self.best = Some(Found { levels, score, suppressed: judged.suppressed, least_score: score });
            }
        }
        self.known.insert(levels.to_vec(), (score, least));
        Some((score, least))
    }

    /// A bound for all combinations from `lowest` on at which at least so many rows are suppressed.
    fn bound(&self, lowest: &[usize], suppressed: u64) -> f64 {
        let rows = self.lattice.rows;
        let kept = rows - suppressed;
        let k = self.judge.smallest_class();
        #[expect(clippy::cast_precision_loss, reason = "counts of rows are far below 2^53")]
        let real = |count: u64| count as f64;
        match self.goal.metric {
            Metric::Loss => loss(self.lattice.columns.iter().zip(&self.marginals).zip(lowest).map(
                |((column, marginals), level)| {
                    let leaves = marginals[*level].least(kept) + u128::from(suppressed) * u128::from(column.leaves);
                    (column.weight, normalised_loss(leaves, rows, column.leaves))
                },
            )),
            Metric::GeneralisationLoss | Metric::Entropy | Metric::GeneralisationEntropy => {
                self.judge.bound(lowest, self.goal.metric)
            }
            Metric::Discernibility => real(kept) * real(k) + real(rows) * real(suppressed),
            Metric::ClassSize => real(rows) / real(kept / k + 1),
        }
    }

    /// Whether a combination can be better than the best so far, as far as its marginals tell.
    fn may_gain(&self, levels: &[usize]) -> bool {
        self.best.as_ref().is_none_or(|best| self.bound(levels, 0) < best.score)
    }

    /// Groups of all columns at their lowest level, at the next, and so on up, each made from the one before: going through
    /// all tuples of a large table once or twice instead of at every step of the way down.
    fn lay_rungs(&mut self, top: &[usize]) {
        let mut levels = self.lattice.lowest();
        while levels != top {
            self.ladder.at(&levels, |_| ());
            levels.iter_mut().zip(top).for_each(|(level, top)| *level = (*level + 1).min(*top));
        }
    }

    /// Goes to the best neighbour until none is better.
    fn climb_down(&mut self, mut at: Vec<usize>) {
        let Some((mut score, _)) = self.count(&at) else { return };
        let lowest = self.lattice.lowest();
        let better = |new: Option<f64>, old: Option<f64>| new.is_some_and(|new| old.is_none_or(|old| new < old));
        'steps: loop {
            // All neighbours lie above this one, and are quickly made from its groups.
            let below: Vec<usize> =
                at.iter().zip(&lowest).map(|(at, lowest)| lowest.max(&at.saturating_sub(1)).to_owned()).collect();
            self.ladder.at(&below, |_| ());
            let mut next: Option<(Vec<usize>, Option<f64>)> = None;
            for column in 0..at.len() {
                for up in [false, true] {
                    let mut levels = at.clone();
                    if up && at[column] + 1 < self.lattice.columns[column].levels() {
                        levels[column] += 1;
                    } else if !up && at[column] > lowest[column] {
                        levels[column] -= 1;
                    } else {
                        continue;
                    }
                    if !self.may_gain(&levels) {
                        continue;
                    }
                    let Some((found, _)) = self.count(&levels) else { return };
                    if better(found, next.as_ref().map_or(score, |(_, score)| *score)) {
                        next = Some((levels, found));
                    }
                }
            }
            if let Some((levels, found)) = next {
                (at, score) = (levels, found);
                continue;
            }
            for down in 0..at.len() {
                for up in 0..at.len() {
                    if down == up || at[down] == lowest[down] || at[up] + 1 == self.lattice.columns[up].levels() {
                        continue;
                    }
                    let mut levels = at.clone();
                    levels[down] -= 1;
                    levels[up] += 1;
                    if !self.may_gain(&levels) {
                        continue;
                    }
                    let Some((found, _)) = self.count(&levels) else { return };
                    if better(found, score) {
                        (at, score) = (levels, found);
                        continue 'steps;
                    }
                }
            }
            return;
        }
    }

    /// Branch and bound over boxes. Gives a score that no combination undercuts.
    fn boxes(&mut self, lowest: &[usize], highest: &[usize]) -> f64 {
        let mut queue = BinaryHeap::new();
        queue.push(Reverse(LevelBox {
            bound: self.bound(lowest, 0),
            lowest: lowest.to_vec(),
            highest: highest.to_vec(),
            suppressed: 0,
        }));
        while let Some(Reverse(next)) = queue.pop() {
            if self.best.as_ref().is_some_and(|best| next.bound > best.score) {
                return next.bound;
            }
            let Some((column, middle)) = self.cut(&next) else { continue };
            let mut highest = next.highest.clone();
            highest[column] = middle;
            let Some((_, suppressed)) = self.count(&highest) else { return next.bound };
            let suppressed = suppressed.max(next.suppressed);
            let mut lowest = next.lowest.clone();
            lowest[column] = middle + 1;
            let halves = [
                LevelBox { bound: 0.0, lowest: next.lowest, highest, suppressed },
                LevelBox { bound: 0.0, lowest, highest: next.highest, suppressed: next.suppressed },
            ];
            for half in halves {
                if half.suppressed <= self.goal.limit {
                    let bound = self.bound(&half.lowest, half.suppressed).max(next.bound);
                    // A box of one combination was counted when its highest was.
                    if half.lowest != half.highest {
                        queue.push(Reverse(LevelBox { bound, ..half }));
                    } else if self.count(&half.highest).is_none() {
                        return next.bound;
                    }
                }
            }
        }
        self.best.as_ref().map_or(f64::INFINITY, |best| best.score)
    }

    /// Where a box is cut in two: the column in which its ends differ most, and the highest level of the lower half.
    fn cut(&self, of: &LevelBox) -> Option<(usize, usize)> {
        let spread = |at: usize| {
            let column = &self.lattice.columns[at];
            let loss = |level: usize| column.loss(level, 0, self.lattice.rows);
            column.weight * (loss(of.highest[at]) - loss(of.lowest[at]))
        };
        let wide = (0..of.lowest.len()).filter(|at| of.lowest[*at] < of.highest[*at]);
        let column = wide.reduce(|best, at| if spread(at) > spread(best) { at } else { best })?;
        Some((column, usize::midpoint(of.lowest[column], of.highest[column])))
    }
}
