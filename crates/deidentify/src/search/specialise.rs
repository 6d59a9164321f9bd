//! Local recoding from above: for tables of so many columns that combinations of levels cannot be visited one by one.
//!
//! All rows begin in one class in which nothing is left. A class is split by lowering one column by one level; what falls
//! into children too small to stand alone stays where it is, and may be split by other columns. The column that gains
//! most detail for the bits of class size it uses up goes first. The idea of specialising from the top is that of Fung,
//! Wang and Yu ("Top-down specialization for information and privacy preservation", ICDE 2005), here class by class; the
//! domains are the hierarchies' and fixed before the data is seen.
//!
//! A few rows can keep a large class from being split. Where it costs less to set them aside, they are, and all rows set
//! aside are specialised again from the top as a table of their own.

use acequia_privacy::{Class, Distribution, value_loss};
use hashbrown::HashMap;

use super::Lattice;
use super::judge::Conditions;
use super::local::{Local, NOWHERE};
use crate::grouping::Groups;

/// Tuples of one class, as a range of [`Specialisation::order`], and the class's levels.
struct Open {
    from: usize,
    to: usize,
    levels: Vec<usize>,
}

/// How a class would be split by a column.
struct Split {
    column: usize,
    /// Detail gained for each bit used up.
    worth: f64,
    /// Groups, one level below, that become classes of their own.
    alone: Vec<u32>,
    /// Whether the other rows are set aside, rather than stay a class.
    aside: bool,
}

/// One child of a class.
#[derive(Clone, Default)]
struct Child {
    group: u32,
    rows: u64,
    /// Rows of the population, less those of tuples that are placed elsewhere.
    population: u64,
    sensitive: Vec<Vec<(u32, u64)>>,
}

struct Specialisation<'a, const W: usize> {
    lattice: &'a Lattice<'a>,
    tuples: &'a Groups<W>,
    conditions: &'a Conditions,
    /// Weight of each column over the sum of weights.
    weights: Vec<f64>,
    /// For each column and level, the loss of each group.
    losses: Vec<Vec<Vec<f64>>>,
    order: Vec<u32>,
    numbers: HashMap<Vec<usize>, u32>,
    local: Local,
    /// For each column, the child of each group while one split is weighed; [`NOWHERE`] in between.
    child_of: Vec<Vec<u32>>,
    /// Rows set aside.
    aside: Vec<u32>,
}

/// Places every tuple; nothing is suppressed as long as all rows together may be released.
pub(crate) fn specialise<const W: usize>(lattice: &Lattice<'_>, tuples: &Groups<W>, conditions: &Conditions) -> Local {
    let weights: f64 = lattice.columns.iter().map(|column| column.weight).sum();
    let losses = |column: &crate::encode::QuasiIdentifier| {
        column
            .covered
            .iter()
            .map(|covered| covered.iter().map(|covered| value_loss(*covered, column.leaves)).collect())
            .collect()
    };
    let mut work = Specialisation {
        lattice,
        tuples,
        conditions,
        weights: lattice.columns.iter().map(|column| column.weight / weights).collect(),
        losses: lattice.columns.iter().map(losses).collect(),
        order: Vec::new(),
        numbers: HashMap::new(),
        local: Local::nowhere(tuples.len()),
        child_of: lattice.columns.iter().map(|column| vec![NOWHERE; column.coded.values.len()]).collect(),
        aside: Vec::new(),
    };
    let mut rest: Vec<u32> = (0..tuples.len()).map(|at| u32::try_from(at).expect("fewer than 2^32 tuples")).collect();
    loop {
        let before = rest.len();
        work.split_from_the_top(&rest, true);
        let aside = std::mem::take(&mut work.aside);
        if aside.is_empty() {
            break;
        }
        // The last ones are placed without setting anybody aside.
        if !work.may_stand(&aside) || aside.len() * 2 > before {
            work.split_from_the_top(&rest, false);
            break;
        }
        rest = aside;
    }
    let rows = |(rows, number): (&u32, &u32)| if *number == NOWHERE { u64::from(*rows) } else { 0 };
    work.local.suppressed = tuples.rows.iter().zip(&work.local.of_tuple).map(rows).sum();
    work.local
}

impl<const W: usize> Specialisation<'_, W> {
    /// Splits the class of these tuples, then its children, as long as it can be done.
    fn split_from_the_top(&mut self, tuples: &[u32], aside: bool) {
        self.aside.clear();
        self.order.clear();
        self.order.extend_from_slice(tuples);
        if !self.may_stand(tuples) {
            return;
        }
        let levels = self.lattice.columns.iter().map(|column| column.levels() - 1).collect();
        let mut open = vec![Open { from: 0, to: tuples.len(), levels }];
        while let Some(class) = open.pop() {
            self.local.counted += 1;
            match self.best_split(&class, aside) {
                Some(split) => self.split(class, &split, &mut open),
                None => self.place(&class),
            }
        }
    }

    fn place(&mut self, class: &Open) {
        let next = u32::try_from(self.local.combinations.len()).expect("fewer than 2^32 combinations");
        let number = *self.numbers.entry(class.levels.clone()).or_insert(next);
        if number == next {
            self.local.combinations.push(class.levels.clone());
        }
        for tuple in &self.order[class.from..class.to] {
            self.local.of_tuple[*tuple as usize] = number;
        }
    }

    fn holds(&self, child: &Child) -> bool {
        let none = Distribution::default();
        let size = Class { rows: child.rows, population: child.population, sensitive: &[] };
        self.conditions.sizes.iter().all(|model| model.holds(&size, &none))
            && self.conditions.sensitive.iter().zip(&child.sensitive).all(|(column, counts)| {
                let class = Class { sensitive: counts, ..size };
                column.models.iter().all(|model| model.holds(&class, &column.whole))
            })
    }

    /// Whether these tuples together may be a class.
    fn may_stand(&self, tuples: &[u32]) -> bool {
        let mut all = Child { sensitive: vec![Vec::new(); self.conditions.sensitive.len()], ..Child::default() };
        tuples.iter().for_each(|tuple| self.add(&mut all, *tuple));
        all.sensitive.iter_mut().for_each(sum_by_value);
        self.holds(&all)
    }

    fn add(&self, child: &mut Child, tuple: u32) {
        let rows = self.tuples.rows[tuple as usize];
        child.rows += u64::from(rows);
        child.population += u64::from(self.tuples.population.get(tuple as usize).copied().unwrap_or(rows));
        for (counts, histograms) in child.sensitive.iter_mut().zip(&self.tuples.sensitive) {
            counts.extend_from_slice(histograms.of(tuple as usize));
        }
    }

    /// Group of a tuple in a column at a level.
    #[inline]
    fn group(&self, tuple: u32, column: usize, level: usize) -> u32 {
        let code = self.lattice.fields[column].get(&self.tuples.keys[tuple as usize]);
        self.lattice.columns[column].groups[level][code]
    }

    /// Children of a class one level lower in a column, in the order of their groups.
    fn children(&mut self, class: &Open, column: usize) -> Vec<Child> {
        let level = class.levels[column] - 1;
        let mut child_of = std::mem::take(&mut self.child_of[column]);
        let mut children: Vec<Child> = Vec::new();
        for tuple in &self.order[class.from..class.to] {
            let group = self.group(*tuple, column, level);
            let at = &mut child_of[group as usize];
            if *at == NOWHERE {
                *at = u32::try_from(children.len()).expect("fewer than 2^32 groups");
                let sensitive = vec![Vec::new(); self.conditions.sensitive.len()];
                children.push(Child { group, sensitive, ..Child::default() });
            }
            self.add(&mut children[*at as usize], *tuple);
        }
        for child in &mut children {
            child_of[child.group as usize] = NOWHERE;
            child.sensitive.iter_mut().for_each(sum_by_value);
        }
        self.child_of[column] = child_of;
        children.sort_unstable_by_key(|child| child.group);
        children
    }

    fn best_split(&mut self, class: &Open, aside: bool) -> Option<Split> {
        let splits: Vec<Split> = (0..class.levels.len())
            .filter(|column| class.levels[*column] > self.lattice.columns[*column].minimum_level)
            .filter_map(|column| self.weigh(class, column, aside))
            .collect();
        splits.into_iter().reduce(|best, split| if split.worth > best.worth { split } else { best })
    }

    #[expect(clippy::cast_precision_loss, reason = "a comparison of counts of rows")]
    fn weigh(&mut self, class: &Open, column: usize, aside: bool) -> Option<Split> {
        let children = self.children(class, column);
        let rows: u64 = children.iter().map(|child| child.rows).sum();
        let level = class.levels[column];
        let losses = &self.losses[column];
        let above = self.group(self.order[class.from], column, level);
        // Detail that a child's rows gain together.
        let gain = |child: &Child| {
            self.weights[column]
                * child.rows as f64
                * (losses[level][above as usize] - losses[level - 1][child.group as usize])
        };
        let (mut alone, mut left): (Vec<&Child>, Vec<&Child>) = children.iter().partition(|child| self.holds(child));
        let mut rest = Child { sensitive: vec![Vec::new(); self.conditions.sensitive.len()], ..Child::default() };
        left.iter().for_each(|child| rest.merge(child));
        let mut set_aside = false;
        if rest.rows > 0 && !self.holds(&rest) {
            // Children stay with the rest, smallest first, until it may stand; or the rest goes.
            alone.sort_by_key(|child| (std::cmp::Reverse(child.rows), child.group));
            let lost = alone.last().map_or(f64::INFINITY, |child| gain(child));
            let detail: f64 = (0..class.levels.len())
                .map(|at| {
                    let group = self.group(self.order[class.from], at, class.levels[at]);
                    self.weights[at] * (1.0 - self.losses[at][class.levels[at]][group as usize])
                })
                .sum();
            set_aside = aside && rest.rows as f64 * detail.max(f64::MIN_POSITIVE) < lost && !alone.is_empty();
            while !set_aside && !self.holds(&rest) {
                let child = alone.pop()?;
                rest.merge(child);
                left.push(child);
            }
        }
        // A child of no rows is made of the population alone.
        alone.retain(|child| child.rows > 0);
        if alone.is_empty() {
            return None;
        }
        let gained: f64 = alone.iter().map(|child| gain(child)).sum();
        let bits = |part: u64| part as f64 * (rows as f64 / part as f64).log2();
        let mut used: f64 = alone.iter().map(|child| bits(child.rows)).sum();
        if rest.rows > 0 {
            used += bits(rest.rows);
        }
        let worth = if used > 0.0 { gained / used } else { f64::INFINITY };
        Some(Split { column, worth, alone: alone.iter().map(|child| child.group).collect(), aside: set_aside })
    }

    fn split(&mut self, class: Open, split: &Split, open: &mut Vec<Open>) {
        let column = split.column;
        let level = class.levels[column] - 1;
        let mut place = std::mem::take(&mut self.child_of[column]);
        for (at, group) in (0..).zip(&split.alone) {
            place[*group as usize] = at;
        }
        let part = |tuple: u32, place: &[u32]| place[self.group(tuple, column, level) as usize];
        let mut parts: Vec<(u32, u32)> =
            self.order[class.from..class.to].iter().map(|tuple| (part(*tuple, &place), *tuple)).collect();
        parts.sort_unstable();
        split.alone.iter().for_each(|group| place[*group as usize] = NOWHERE);
        self.child_of[column] = place;
        let mut from = class.from;
        for same in parts.chunk_by(|a, b| a.0 == b.0) {
            let to = from + same.len();
            for (slot, (_, tuple)) in self.order[from..to].iter_mut().zip(same) {
                *slot = *tuple;
            }
            let mut levels = class.levels.clone();
            let rows = same.iter().any(|(_, tuple)| self.tuples.rows[*tuple as usize] > 0);
            match (same[0].0 == NOWHERE, split.aside) {
                // Tuples of the population alone are placed nowhere.
                _ if !rows => {}
                (true, true) => self.aside.extend(same.iter().map(|(_, tuple)| *tuple)),
                (true, false) => open.push(Open { from, to, levels }),
                (false, _) => {
                    levels[column] = level;
                    open.push(Open { from, to, levels });
                }
            }
            from = to;
        }
    }
}

impl Child {
    fn merge(&mut self, other: &Self) {
        self.rows += other.rows;
        self.population += other.population;
        for (counts, more) in self.sensitive.iter_mut().zip(&other.sensitive) {
            counts.extend_from_slice(more);
            sum_by_value(counts);
        }
    }
}

/// Sorts counts by value, and adds those of the same value.
fn sum_by_value(counts: &mut Vec<(u32, u64)>) {
    counts.sort_unstable_by_key(|(value, _)| *value);
    counts.dedup_by(|next, kept| {
        let same = next.0 == kept.0;
        if same {
            kept.1 += next.1;
        }
        same
    });
}
