//! What an attacker has before him: the released classes with their labels, and the persons he looks for.
//!
//! Everything is on codes. A label is a text that a released row may hold in a column; a label covers a value when the
//! value becomes that label at some level. Hierarchies are public, so the attacker knows what each label covers.

use std::cmp::Ordering;
use std::ops::ControlFlow;
use std::sync::Arc;

use hashbrown::HashMap;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::coded::CodedColumn;
use crate::encode::QuasiIdentifier;
use crate::engine::{Recoded, Tuples};
use crate::grouping::sort_rows;
use crate::policy::Role;
use crate::search::NOWHERE;

/// A kept column that is no quasi-identifier; released as it came.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    pub(crate) role: Role,
    pub(crate) coded: Arc<CodedColumn>,
}

/// A released equivalence class.
#[derive(Debug)]
pub(crate) struct Released {
    pub(crate) rows: u64,
    /// Its combination of levels, by loss: 0 loses least.
    pub(crate) rank: u32,
    /// Label of each quasi-identifier.
    pub(crate) labels: Box<[u32]>,
}

/// Persons who agree in all quasi-identifiers before recoding.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Alike {
    /// One of their rows, where rows are in memory.
    pub(crate) row: u32,
    pub(crate) tuple: u32,
    pub(crate) persons: u32,
    /// Their class; [`NOWHERE`] when they were suppressed.
    pub(crate) class: u32,
}

/// Classes, as bits; few of them as the words that are not 0.
#[derive(Debug)]
enum Set {
    Dense(Vec<u64>),
    Sparse(Vec<(u32, u64)>),
}

impl Set {
    /// `members` ascending.
    fn of(members: &[u32], words: usize) -> Self {
        let mut sparse: Vec<(u32, u64)> = Vec::new();
        for member in members {
            match sparse.last_mut() {
                Some((word, bits)) if *word == member / 64 => *bits |= 1 << (member % 64),
                _ => sparse.push((member / 64, 1 << (member % 64))),
            }
        }
        if sparse.len() * 8 < words {
            sparse.shrink_to_fit();
            return Self::Sparse(sparse);
        }
        let mut dense = vec![0; words];
        sparse.into_iter().for_each(|(word, bits)| dense[word as usize] = bits);
        Self::Dense(dense)
    }

    /// Adds its classes to some.
    fn add_to(&self, classes: &mut [u64]) {
        match self {
            Self::Dense(words) => classes.iter_mut().zip(words).for_each(|(all, own)| *all |= own),
            Self::Sparse(words) => words.iter().for_each(|(word, own)| classes[*word as usize] |= own),
        }
    }
}

/// Labels of one quasi-identifier.
#[derive(Debug)]
struct Labels {
    /// For each level, the label of each group.
    of: Vec<Vec<u32>>,
    /// For each label, the classes that hold it.
    classes: Vec<Set>,
}

/// The released table and the persons behind it.
#[derive(Debug)]
pub(crate) struct Scene<'a> {
    pub(crate) columns: &'a [QuasiIdentifier],
    pub(crate) kept: &'a [Kept],
    /// Rows of the table, suppressed ones included.
    pub(crate) rows: usize,
    of_row: &'a [u32],
    tuples: &'a Tuples,
    pub(crate) combinations: &'a [Vec<usize>],
    /// In the order of their rank: what loses least comes first.
    pub(crate) classes: Vec<Released>,
    /// Ordered by what they hold, not by row.
    pub(crate) persons: Vec<Alike>,
    labels: Vec<Labels>,
    words: usize,
}

fn narrow(length: usize) -> u32 {
    u32::try_from(length).expect("fewer than 2^32 rows")
}

impl<'a> Scene<'a> {
    pub(crate) fn new(recoded: &'a Recoded, kept: &'a [Kept]) -> Self {
        let columns = &recoded.columns;
        let texts: Vec<Vec<Option<&str>>> = columns
            .iter()
            .map(|column| {
                let mut texts: Vec<Option<&str>> = column.labels.iter().flatten().map(Option::as_deref).collect();
                texts.sort_unstable();
                texts.dedup();
                texts
            })
            .collect();
        let of: Vec<Vec<Vec<u32>>> = columns
            .iter()
            .zip(&texts)
            .map(|(column, texts)| {
                let place = |label: &Option<String>| narrow(texts.binary_search(&label.as_deref()).unwrap_or(0));
                column.labels.iter().map(|labels| labels.iter().map(place).collect()).collect()
            })
            .collect();
        let alike = |(tuple, rows): (u32, &u32)| Alike { row: u32::MAX, tuple, persons: *rows, class: NOWHERE };
        let mut persons: Vec<Alike> = (0..).zip(&recoded.tuples.rows).map(alike).collect();
        for (row, tuple) in (0..).zip(&recoded.of_row) {
            let alike = &mut persons[*tuple as usize];
            alike.row = alike.row.min(row);
        }
        let (mut classes, mut known): (Vec<Released>, HashMap<Box<[u32]>, u32>) = (Vec::new(), HashMap::new());
        let mut labels = vec![0; columns.len()];
        for (alike, rank) in persons.iter_mut().zip(&recoded.local.of_tuple) {
            let Some(levels) = recoded.local.combinations.get(*rank as usize) else { continue };
            if alike.persons == 0 {
                continue;
            }
            for (at, (column, level)) in columns.iter().zip(levels).enumerate() {
                let group = column.groups[*level][recoded.tuples.code(alike.tuple as usize, at)];
                labels[at] = of[at][*level][group as usize];
            }
            let class = match known.get(labels.as_slice()) {
                Some(class) => *class,
                None => {
                    let class = narrow(classes.len());
                    let labels: Box<[u32]> = labels.as_slice().into();
                    known.insert(labels.clone(), class);
                    classes.push(Released { rows: 0, rank: *rank, labels });
                    class
                }
            };
            alike.class = class;
            let class = &mut classes[class as usize];
            class.rows += u64::from(alike.persons);
            class.rank = class.rank.min(*rank);
        }
        let mut order: Vec<u32> = (0..narrow(classes.len())).collect();
        let by_rank = |a: &u32, b: &u32| -> Ordering {
            let (a, b) = (&classes[*a as usize], &classes[*b as usize]);
            a.rank.cmp(&b.rank).then_with(|| a.labels.cmp(&b.labels))
        };
        order.sort_unstable_by(by_rank);
        let mut place = vec![0; classes.len()];
        (0..).zip(&order).for_each(|(at, class)| place[*class as usize] = at);
        let mut by_place: Vec<(u32, Released)> = place.iter().copied().zip(classes).collect();
        by_place.sort_unstable_by_key(|(at, _)| *at);
        let classes: Vec<Released> = by_place.into_iter().map(|(_, class)| class).collect();
        persons
            .iter_mut()
            .filter(|alike| alike.class != NOWHERE)
            .for_each(|alike| alike.class = place[alike.class as usize]);
        let words = classes.len().div_ceil(64);
        let labels = of
            .into_iter()
            .zip(&texts)
            .enumerate()
            .map(|(at, (of, texts))| {
                let mut members: Vec<Vec<u32>> = vec![Vec::new(); texts.len()];
                (0..).zip(&classes).for_each(|(class, released)| members[released.labels[at] as usize].push(class));
                Labels { of, classes: members.iter().map(|members| Set::of(members, words)).collect() }
            })
            .collect();
        Self {
            columns,
            kept,
            rows: recoded.rows,
            of_row: &recoded.of_row,
            tuples: &recoded.tuples,
            combinations: &recoded.local.combinations,
            classes,
            persons,
            labels,
            words,
        }
    }

    /// Words of 64 classes that a look at all classes goes through.
    pub(crate) fn words(&self) -> usize {
        self.words
    }

    /// Released rows.
    pub(crate) fn released(&self) -> u64 {
        self.classes.iter().map(|class| class.rows).sum()
    }

    /// Class of a row; [`NOWHERE`] when it was suppressed.
    pub(crate) fn class_of(&self, row: u32) -> u32 {
        self.persons[self.of_row[row as usize] as usize].class
    }

    /// Code of a quasi-identifier of a row. Rows of a population table follow those of the table.
    pub(crate) fn code(&self, column: usize, row: u32) -> u32 {
        self.columns[column].coded.codes[row as usize]
    }

    /// Labels that cover a value from a level on, each once and only those that some class holds.
    fn covering(&self, column: usize, code: u32, from: usize, into: &mut Vec<u32>) {
        into.clear();
        let (groups, labels) = (&self.columns[column].groups, &self.labels[column]);
        for (group, of_group) in groups.iter().zip(&labels.of).skip(from) {
            let label = of_group[group[code as usize] as usize];
            let held = !matches!(&labels.classes[label as usize], Set::Sparse(words) if words.is_empty());
            if held && !into.contains(&label) {
                into.push(label);
            }
        }
    }

    /// Label of the last level, which covers everything.
    pub(crate) fn root(&self, column: usize) -> u32 {
        self.labels[column].of.last().and_then(|labels| labels.first()).copied().unwrap_or(0)
    }

    /// Whether a label covers a value.
    pub(crate) fn covers(&self, column: usize, label: u32, code: u32) -> bool {
        let groups = &self.columns[column].groups;
        (0..groups.len()).any(|level| self.labels[column].of[level][groups[level][code as usize] as usize] == label)
    }

    /// For each value of a column, whether a label covers it.
    pub(crate) fn covered(&self, column: usize, label: u32) -> Vec<bool> {
        (0..narrow(self.columns[column].coded.values.len())).map(|code| self.covers(column, label, code)).collect()
    }

    /// Goes through the classes that could hold a person of whom some quasi-identifiers are known, 64 at a time, what loses
    /// least first. `known`: column, value and the level from which on labels count.
    pub(crate) fn compatible(
        &self,
        known: impl IntoIterator<Item = (usize, u32, usize)>,
        mut visit: impl FnMut(usize, u64) -> ControlFlow<()>,
    ) {
        // Column by column over all classes, so that the processor works on several words at a time.
        let mut candidates = vec![u64::MAX; self.words];
        let mut of_column = vec![0; self.words];
        let mut labels = Vec::new();
        for (column, code, from) in known {
            self.covering(column, code, from, &mut labels);
            of_column.fill(0);
            labels.iter().for_each(|label| self.labels[column].classes[*label as usize].add_to(&mut of_column));
            candidates.iter_mut().zip(&of_column).for_each(|(left, own)| *left &= own);
        }
        let beyond = self.classes.len() % 64;
        if let (Some(last), 1..) = (candidates.last_mut(), beyond) {
            *last &= (1 << beyond) - 1;
        }
        for (word, bits) in candidates.into_iter().enumerate() {
            if bits != 0 && visit(word, bits).is_break() {
                return;
            }
        }
    }

    /// The first class that could hold a person, what loses least first.
    pub(crate) fn first_compatible(&self, known: impl IntoIterator<Item = (usize, u32, usize)>) -> Option<u32> {
        let mut first = None;
        self.compatible(known, |word, bits| {
            first = Some(narrow(word * 64) + bits.trailing_zeros());
            ControlFlow::Break(())
        });
        first
    }

    /// All classes that could hold a person.
    pub(crate) fn all_compatible(&self, known: impl IntoIterator<Item = (usize, u32, usize)>, into: &mut Vec<u32>) {
        into.clear();
        self.compatible(known, |word, mut bits| {
            while bits != 0 {
                into.push(narrow(word * 64) + bits.trailing_zeros());
                bits &= bits - 1;
            }
            ControlFlow::Continue(())
        });
    }

    /// All quasi-identifiers of a row, exact.
    pub(crate) fn known_of_row(&self, row: u32) -> impl Iterator<Item = (usize, u32, usize)> + '_ {
        (0..self.columns.len()).map(move |column| (column, self.code(column, row), 0))
    }

    /// All quasi-identifiers of persons who agree in them, exact.
    pub(crate) fn known(&self, alike: &Alike) -> impl Iterator<Item = (usize, u32, usize)> + '_ {
        let tuple = alike.tuple as usize;
        (0..self.columns.len()).map(move |column| (column, narrow(self.tuples.code(tuple, column)), 0))
    }

    /// Whether a population table was given.
    pub(crate) fn has_population(&self) -> bool {
        !self.tuples.population.is_empty()
    }

    /// People of the population table who agree in all quasi-identifiers, and how many.
    pub(crate) fn population(&self) -> impl Iterator<Item = (&Alike, u64)> {
        let count = |(alike, count)| (alike, u64::from(count));
        self.persons.iter().zip(self.tuples.population.iter().copied()).map(count).filter(|(_, count)| *count > 0)
    }

    /// Rows of released persons in an order that says nothing about the order of the table.
    pub(crate) fn in_order(&self) -> Vec<u32> {
        let released = (0..narrow(self.rows)).filter(|row| self.class_of(*row) != NOWHERE);
        let kept = self.kept.iter().map(|kept| kept.coded.values.len());
        let domains: Vec<usize> = std::iter::once(self.persons.len()).chain(kept).collect();
        sort_rows(released, &domains, |at, row| match at.checked_sub(1) {
            None => self.of_row[row as usize],
            Some(at) => self.kept[at].coded.codes[row as usize],
        })
    }
}

/// `count` of `all` numbers, or all of them where there are no more; ascending.
pub(crate) fn sample(rng: &mut ChaCha8Rng, all: u64, count: u64) -> Vec<u64> {
    if all <= count {
        return (0..all).collect();
    }
    // Floyd's algorithm: every set of that size is equally likely.
    let mut taken = std::collections::BTreeSet::new();
    for last in all - count..all {
        let drawn = rng.random_range(0..=last);
        if !taken.insert(drawn) {
            taken.insert(last);
        }
    }
    taken.into_iter().collect()
}
