//! The search for a recoding: what must hold, what is made small, and how a combination of levels is judged.

mod anytime;
mod exact;
mod judge;
mod ladder;
mod local;
mod specialise;

#[cfg(test)]
pub(crate) use anytime::search as search_anytime;
#[cfg(test)]
pub(crate) use specialise::specialise;

pub(crate) use exact::{Found, Outcome, search};
pub(crate) use judge::{Conditions, Goal, Sensitive};
pub(crate) use local::{Local, NOWHERE, recode_locally};

use crate::encode::QuasiIdentifier;
use crate::grouping::{Field, Groups, Key, Lift, Scratch, layout, layout_in_order, raised_bits};

/// Lattices of more combinations are not searched whole.
const MOST_LISTED: u64 = 1 << 20;

/// Nor are those of large tables, where combinations times distinct tuples are more than this.
const MOST_WORK: u64 = 1 << 34;

/// Quasi-identifiers with the layout of their keys.
#[derive(Debug)]
pub(crate) struct Lattice<'a> {
    pub(crate) columns: &'a [QuasiIdentifier],
    pub(crate) fields: Vec<Field>,
    /// Words that a key needs.
    pub(crate) words: usize,
    /// Rows of the table.
    pub(crate) rows: u64,
    /// Rows of the table and of the population table that may follow it.
    all_rows: usize,
    /// Where the codes lie in keys of [`Lattice::new`], when these fields are others.
    usual: Option<Vec<Field>>,
}

impl<'a> Lattice<'a> {
    pub(crate) fn new(columns: &'a [QuasiIdentifier], rows: usize, all_rows: usize) -> Self {
        let (fields, words) = layout(columns.iter().map(|column| column.coded.values.len()));
        Self { columns, fields, words, rows: rows as u64, all_rows, usual: None }
    }

    /// The same with keys that ascend by the columns in an order, where these need no more than `words` words.
    fn in_order(&self, order: &[usize], words: usize) -> Option<Self> {
        let domains: Vec<usize> = self.columns.iter().map(|column| column.coded.values.len()).collect();
        let (fields, needed) = layout_in_order(&domains, order);
        let usual = Some(self.fields.clone());
        (needed <= words).then_some(Self { fields, words: needed, usual, ..*self })
    }

    /// A key as [`Lattice::new`] lays it out, by which groups of the same size are told apart.
    fn usual_key<const W: usize>(&self, key: &Key<W>) -> Key<W> {
        self.usual.as_ref().map_or(*key, |usual| relaid(key, &self.fields, usual))
    }

    /// Combinations of levels; saturates.
    pub(crate) fn size(&self) -> u64 {
        let levels = |column: &QuasiIdentifier| (column.levels() - column.minimum_level) as u64;
        self.columns.iter().fold(1, |size, column| size.saturating_mul(levels(column)))
    }

    /// Whether there are too many combinations to visit each of them.
    fn is_large(&self, tuples: usize) -> bool {
        self.size() > MOST_LISTED || self.size().saturating_mul(tuples as u64) > MOST_WORK
    }

    /// The lowest levels at which the columns may be released.
    pub(crate) fn lowest(&self) -> Vec<usize> {
        self.columns.iter().map(|column| column.minimum_level).collect()
    }

    /// Groups of distinct tuples at these levels.
    pub(crate) fn at_levels<const W: usize>(
        &self,
        tuples: &Groups<W>,
        levels: &[usize],
        scratch: &mut Scratch,
    ) -> Groups<W> {
        self.raise(tuples, &vec![0; levels.len()], levels, scratch)
    }

    /// Groups at some levels, from groups at levels that are nowhere higher.
    pub(crate) fn raise<const W: usize>(
        &self,
        groups: &Groups<W>,
        from: &[usize],
        to: &[usize],
        scratch: &mut Scratch,
    ) -> Groups<W> {
        let through = |at: usize| {
            let column = &self.columns[at];
            let first: Vec<u32> = match from[at] {
                0 => column.groups[to[at]].clone(),
                level => {
                    let up = column.up[level..to[at]].iter();
                    let last = up.fold(None, |map: Option<Vec<u32>>, up| {
                        Some(
                            map.map_or_else(|| up.clone(), |map| map.iter().map(|group| up[*group as usize]).collect()),
                        )
                    });
                    last.unwrap_or_default()
                }
            };
            (self.fields[at], first)
        };
        let maps: Vec<_> = (0..to.len()).filter(|at| to[*at] > from[*at]).map(through).collect();
        if maps.is_empty() {
            return groups.merge_none(scratch);
        }
        let raised = maps.into_iter().map(|(field, map)| (field, raised_bits(field, &map)));
        let lift = Lift::of(raised, groups.len());
        groups.merge_by(scratch, |key| lift.raise(key))
    }

    /// Distinct tuples of codes and the tuple of each row.
    pub(crate) fn tuples<const W: usize>(&self) -> (Groups<W>, Vec<u32>) {
        Groups::of_rows(self.all_rows, |row| {
            let mut key = [0; W];
            for (field, column) in self.fields.iter().zip(self.columns) {
                field.set(&mut key, column.coded.codes[row]);
            }
            key
        })
    }
}

/// A key with its codes in other places.
fn relaid<const W: usize>(key: &Key<W>, from: &[Field], to: &[Field]) -> Key<W> {
    let mut other = [0; W];
    for (from, to) in from.iter().zip(to) {
        to.set(&mut other, u32::try_from(from.get(key)).unwrap_or(u32::MAX));
    }
    other
}

/// Calls a function with the number of words as a constant.
macro_rules! with_words {
    ($words:expr, $function:ident ( $($argument:expr),* $(,)? )) => {
        match $words {
            0 | 1 => $function::<1>($($argument),*),
            2 => $function::<2>($($argument),*),
            3 | 4 => $function::<4>($($argument),*),
            _ => $function::<8>($($argument),*),
        }
    };
}
pub(crate) use with_words;
