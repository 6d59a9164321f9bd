//! The model of Fellegi and Sunter (1969): how much more likely a pair's levels are for one person than for two.
//!
//! `u`, the levels of two people, is counted: exactly for equal values, from their frequencies, and on random pairs for the rest.
//! `m`, the levels of one person, is estimated by expectation maximisation (Dempster et al. 1977; Winkler 1988) over all pairs in question; pairs
//! outside the blocks count as different people. A third class stands for people of one household, who share surname and address: without it
//! a family becomes one person, because columns are taken as independent.

use serde::{Deserialize, Serialize};

use crate::block::Blocking;
use crate::compare::{ABSENT, Records, level_of};
use crate::config::About;
use crate::table::MISSING;

/// What was estimated. Weights are binary logarithms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Model {
    /// One entry per compared column, in order.
    pub columns: Vec<ColumnModel>,
    /// Share of all pairs in question that are one person.
    pub matched: f64,
    /// Share of all pairs that are two people of one household.
    pub household: f64,
    /// Pairs that were in question when this was estimated.
    pub pairs: u64,
    /// Rounds of expectation maximisation.
    pub rounds: u32,
}

/// What was estimated for a column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ColumnModel {
    /// The column.
    pub column: String,
    /// Whom it is about.
    pub about: About,
    /// From "different" to "same".
    pub levels: Vec<LevelModel>,
}

/// What was estimated for a level of a column.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LevelModel {
    /// What the level means.
    pub level: String,
    /// Probability for two records of one person.
    pub m: f64,
    /// Probability for two records of two people.
    pub u: f64,
    /// log2(m / u): what the level adds to the weight of a pair.
    pub weight: f64,
}

/// Random pairs that are looked at.
const SAMPLE: u64 = 100_000;
/// Most rounds.
const ROUNDS: u32 = 60;
/// Pairs that the estimation uses at most; with more, records are sampled.
const MOST_ESTIMATED: u64 = 4_000_000;

/// A pair with its levels.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Compared {
    pub(crate) a: u32,
    pub(crate) b: u32,
    pub(crate) levels: u64,
}

/// Pairs that the model was estimated on.
pub(crate) struct Sampled {
    pub(crate) pairs: Vec<Compared>,
    /// Each stands for so many.
    pub(crate) every: u64,
}

/// Frequencies of the levels among all pairs in question, one person or two.
fn overall(records: &Records) -> Vec<Vec<f64>> {
    let mut counts: Vec<Vec<f64>> =
        records.columns.iter().map(|column| vec![0.0; column.comparator.levels().len() + 1]).collect();
    // All pairs where there are few, random ones otherwise.
    let mut count = |a: usize, b: usize| {
        for (counts, column) in counts.iter_mut().zip(&records.columns) {
            counts[usize::from(records.level(column, a, b))] += 1.0;
        }
    };
    if records.pairs() <= SAMPLE {
        for a in 0..records.count {
            let Some(least) = records.partners(a) else { continue };
            (least..records.count).for_each(|b| count(a, b));
        }
    } else {
        (0..SAMPLE).filter_map(|number| records.random_pair(number)).for_each(|(a, b)| count(a, b));
    }
    for (counts, column) in counts.iter_mut().zip(&records.columns) {
        let same = column.comparator.same() as usize;
        let present: f64 = counts[1..].iter().sum();
        let exact = equal_share(records, &column.rows, column.values.len());
        // A level that no pair of the sample has is rare, not impossible.
        let smooth = 0.3;
        let other: f64 = counts[1..same].iter().map(|count| count + smooth).sum();
        for count in &mut counts[1..same] {
            *count = if present > 0.0 { (*count + smooth) / other * (1.0 - exact) } else { 1.0 / same as f64 };
        }
        counts[same] = exact;
    }
    counts
}

/// Share of pairs with equal values among those where both are there.
fn equal_share(records: &Records, rows: &[u32], values: usize) -> f64 {
    let frequency = |rows: &[u32]| {
        let (mut counts, mut all) = (vec![0_u64; values], 0_u64);
        for row in rows.iter().filter(|row| **row != MISSING) {
            counts[*row as usize] += 1;
            all += 1;
        }
        (counts, all)
    };
    let within = |count: u64| count as f64 * (count.saturating_sub(1)) as f64 / 2.0;
    let (first, rest) = rows.split_at(records.first);
    let ((a, all_a), (b, all_b)) = (frequency(first), frequency(rest));
    let (equal, all) = if records.reach == crate::compare::Reach::Between {
        (a.iter().zip(&b).map(|(a, b)| *a as f64 * *b as f64).sum::<f64>(), all_a as f64 * all_b as f64)
    } else {
        (a.iter().zip(&b).map(|(a, b)| within(a + b)).sum::<f64>(), within(all_a + all_b))
    };
    if all > 0.0 { equal / all } else { 0.0 }
}

/// Pairs of one pattern of levels.
struct Pattern {
    levels: u64,
    count: f64,
}

impl Model {
    /// Estimates the model; the pairs of the blocks with their levels come along.
    pub(crate) fn estimate(records: &Records, blocking: &Blocking, threads: usize) -> (Self, Sampled) {
        let total = records.pairs().max(1) as f64;
        let blocked: u64 = blocking.sizes.iter().map(|size| size.pairs).sum();
        let every = blocked.div_ceil(MOST_ESTIMATED).max(1);
        let pairs = blocking.sweep(records, threads, |a, b, out| {
            if every == 1 || crate::hash::mix(a as u64, b as u64).is_multiple_of(every) {
                out.push(Compared { a: a as u32, b: b as u32, levels: records.compare(a, b) });
            }
        });
        let mut levels: Vec<u64> = pairs.iter().map(|pair| pair.levels).collect();
        levels.sort_unstable();
        let patterns: Vec<Pattern> = levels
            .chunk_by(|a, b| a == b)
            .map(|equal| Pattern { levels: equal[0], count: (equal.len() as u64 * every) as f64 })
            .collect();
        let overall = overall(records);
        let mut model = Self::start(records, &overall);
        while model.rounds < ROUNDS {
            model.rounds += 1;
            if model.round(&patterns, &overall, total) < 1e-5 {
                break;
            }
        }
        model.finish();
        (model, Sampled { pairs, every })
    }

    fn start(records: &Records, overall: &[Vec<f64>]) -> Self {
        let columns = records
            .columns
            .iter()
            .zip(overall)
            .map(|(column, overall)| {
                let names = column.comparator.levels();
                let rest = 0.1 / (names.len() - 1) as f64;
                let level = |(at, name): (usize, &&str)| LevelModel {
                    level: (*name).to_owned(),
                    m: if at + 1 == names.len() { 0.9 } else { rest },
                    u: overall[at + 1].max(0.1 / records.pairs().max(1) as f64),
                    weight: 0.0,
                };
                let levels = names.iter().enumerate().map(level).collect();
                ColumnModel { column: column.name.clone(), about: column.about, levels }
            })
            .collect::<Vec<_>>();
        let people = (records.count - records.first).max(1).min(records.first.max(1));
        let pairs = records.pairs().max(1);
        let matched = (people as f64 / 4.0 / pairs as f64).clamp(1e-12, 0.25);
        // Without two columns about the person alone, nothing tells a household from a person with slips.
        let of = |about: About| columns.iter().filter(|column| column.about == about).count();
        let household = if of(About::Person) >= 2 && of(About::Household) >= 1 { matched / 4.0 } else { 0.0 };
        Self { columns, matched, household, pairs, rounds: 0 }
    }

    /// Natural logarithms of m/u, by column and level; 0 for a missing value.
    fn ratios(&self) -> Vec<Vec<f64>> {
        let of = |column: &ColumnModel| {
            std::iter::once(0.0).chain(column.levels.iter().map(|level| (level.m / level.u).ln())).collect()
        };
        self.columns.iter().map(of).collect()
    }

    /// One round; returns the largest change of a probability.
    fn round(&mut self, patterns: &[Pattern], overall: &[Vec<f64>], total: f64) -> f64 {
        let ratios = self.ratios();
        let (log_matched, log_household) = (self.matched.ln(), self.household.ln());
        let log_other = (1.0 - self.matched - self.household).ln();
        let (mut matched, mut household) = (0.0, 0.0);
        let mut counts: Vec<Vec<f64>> = self.columns.iter().map(|column| vec![0.0; column.levels.len() + 1]).collect();
        for pattern in patterns {
            let (mut person, mut home) = (log_matched, log_household);
            for (at, ratios) in ratios.iter().enumerate() {
                let ratio = ratios[usize::from(level_of(pattern.levels, at))];
                person += ratio;
                if self.columns[at].about == About::Household {
                    home += ratio;
                }
            }
            let (is_person, is_home) = shares(person, home, log_other);
            household += pattern.count * is_home;
            let weight = pattern.count * is_person;
            matched += weight;
            if weight > 0.0 {
                for (at, counts) in counts.iter_mut().enumerate() {
                    counts[usize::from(level_of(pattern.levels, at))] += weight;
                }
            }
        }
        let mut change = 0.0_f64;
        let mut set = |value: &mut f64, new: f64| {
            change = change.max((*value - new).abs());
            *value = new;
        };
        self.matched = (matched / total).clamp(1e-15, 0.5);
        self.household = if self.household > 0.0 { (household / total).clamp(1e-15, 0.4) } else { 0.0 };
        for ((column, counts), overall) in self.columns.iter_mut().zip(&counts).zip(overall) {
            let smooth = 0.1;
            let present: f64 = counts[1..].iter().map(|count| count + smooth).sum();
            let shared = self.matched + if column.about == About::Household { self.household } else { 0.0 };
            for (at, level) in column.levels.iter_mut().enumerate() {
                set(&mut level.m, (counts[at + 1] + smooth) / present);
                // What all pairs show is a mixture; the part of one person is taken out.
                let other = (overall[at + 1] - shared * level.m) / (1.0 - shared);
                level.u = other.max(overall[at + 1] * 0.02).max(0.1 / total).min(1.0);
            }
        }
        change
    }

    fn finish(&mut self) {
        for level in self.columns.iter_mut().flat_map(|column| &mut column.levels) {
            level.weight = (level.m / level.u).log2();
        }
    }
}

/// Probabilities of one person and of one household from the logarithms of the three classes' likelihoods.
fn shares(person: f64, home: f64, other: f64) -> (f64, f64) {
    let largest = person.max(home).max(other);
    let (person, home, other) = ((person - largest).exp(), (home - largest).exp(), (other - largest).exp());
    let all = person + home + other;
    (person / all, home / all)
}

/// The model as a table of weights, with the frequency of every value.
///
/// A rare value that agrees says more than a frequent one: the weight of equal values is log2(m / frequency of the value).
pub(crate) struct Scorer<'a> {
    records: &'a Records,
    /// log2(m/u), by column and level.
    weights: Vec<Vec<f64>>,
    /// What a value adds to the weight of "same", by column and value.
    rarity: Vec<Vec<f64>>,
    is_household: Vec<bool>,
    matched: f64,
    household: f64,
}

/// How often each value was seen, by column and value, and how many records have any.
#[derive(Debug, Clone)]
pub(crate) struct Counts {
    pub(crate) values: Vec<Vec<u64>>,
    pub(crate) present: Vec<u64>,
}

impl Counts {
    pub(crate) fn of(records: &Records) -> Self {
        let (mut values, mut present) = (Vec::new(), Vec::new());
        for column in &records.columns {
            let (mut counts, mut all) = (vec![0; column.values.len()], 0);
            for row in column.rows.iter().filter(|row| **row != MISSING) {
                counts[*row as usize] += 1;
                all += 1;
            }
            values.push(counts);
            present.push(all);
        }
        Self { values, present }
    }

    /// What each value adds to the weight of "same": log2(usual frequency / its own).
    fn rarity(&self, model: &Model) -> Vec<Vec<f64>> {
        let of = |(column, (counts, present)): (&ColumnModel, (&Vec<u64>, &u64))| {
            let (usual, weight) = column.levels.last().map_or((1.0, 0.0), |level| (level.u, level.weight));
            // The two records of the pair do not count as others who share the value; what is usual counts as an eighth of
            // the records, so that a value seen once is rare within reason.
            let prior = *present as f64 / 8.0;
            let weigh = |count: &u64| {
                let frequency = (count.saturating_sub(2) as f64 + prior * usual) / (*present as f64 + prior).max(1.0);
                // Agreement in a frequent value weighs less, down to nothing.
                (usual / frequency.max(1e-15)).log2().max(-weight.max(0.0))
            };
            counts.iter().map(weigh).collect()
        };
        model.columns.iter().zip(self.values.iter().zip(&self.present)).map(of).collect()
    }
}

impl<'a> Scorer<'a> {
    pub(crate) fn new(model: &Model, records: &'a Records, counts: &Counts) -> Self {
        let rarity = counts.rarity(model);
        let weights = model
            .columns
            .iter()
            .map(|column| std::iter::once(0.0).chain(column.levels.iter().map(|level| level.weight)).collect())
            .collect();
        let is_household = model.columns.iter().map(|column| column.about == About::Household).collect();
        Self { records, weights, rarity, is_household, matched: model.matched, household: model.household }
    }

    /// Weights of a pair for one person and for one household, in bits.
    fn weights(&self, pair: Compared) -> (f64, f64) {
        let (mut person, mut home) = (0.0, 0.0);
        for (at, column) in self.records.columns.iter().enumerate() {
            let level = level_of(pair.levels, at);
            if level == ABSENT {
                continue;
            }
            let mut weight = self.weights[at][usize::from(level)];
            if level == column.comparator.same() {
                weight += self.rarity[at][column.rows[pair.a as usize] as usize];
            }
            person += weight;
            if self.is_household[at] {
                home += weight;
            }
        }
        (person, home)
    }

    /// log2 of the odds that the pair is one person.
    pub(crate) fn log_odds(&self, pair: Compared) -> f64 {
        let (person, home) = self.weights(pair);
        let other = 1.0 - self.matched - self.household;
        // Bits beyond 1,000 would overflow the sum.
        let home = if self.household > 0.0 { self.household.log2() + home.min(900.0) } else { f64::NEG_INFINITY };
        self.matched.log2() + person - (home.exp2() + other).log2()
    }

    pub(crate) fn compare(&self, a: usize, b: usize) -> f64 {
        self.log_odds(Compared { a: a as u32, b: b as u32, levels: self.records.compare(a, b) })
    }

    /// Estimates the shares of the classes again, now that the frequency of values counts.
    pub(crate) fn settle(&mut self, model: &mut Model, sampled: &Sampled, total: u64) {
        let weights: Vec<(f64, f64)> = sampled.pairs.iter().map(|pair| self.weights(*pair)).collect();
        let every = sampled.every as f64;
        let bits = std::f64::consts::LN_2;
        for _ in 0..8 {
            let (log_matched, log_household) = (self.matched.ln(), self.household.ln());
            let log_other = (1.0 - self.matched - self.household).ln();
            let (mut matched, mut household) = (0.0, 0.0);
            for (person, home) in &weights {
                // Far below even odds nothing is added that counts.
                if log_matched + person * bits < -12.0 && log_household + home * bits < -12.0 {
                    continue;
                }
                let (is_person, is_home) = shares(log_matched + person * bits, log_household + home * bits, log_other);
                matched += is_person * every;
                household += is_home * every;
            }
            self.matched = (matched / total.max(1) as f64).clamp(1e-15, 0.5);
            self.household =
                if self.household > 0.0 { (household / total.max(1) as f64).clamp(1e-15, 0.4) } else { 0.0 };
        }
        (model.matched, model.household) = (self.matched, self.household);
    }
}

/// The probability of log2 odds.
pub(crate) fn probability(log_odds: f64) -> f64 {
    1.0 / (1.0 + (-log_odds).exp2())
}
