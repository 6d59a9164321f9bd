//! Columns and events together: how coarse the quasi-identifiers must be so that enough of the events is left.
//!
//! Larger classes let more of the events be told. So the quasi-identifiers are recoded for a smallest class that grows from
//! the policy's, as for a table without events, and the events of the classes are told for each. The first class size at
//! which few enough events are suppressed is looked for with the topmost labels only; from there on it is doubled as
//! long as the loss of columns and events together falls.

use std::collections::BTreeMap;

use acequia_privacy::normalised_loss;

use super::cut;
use super::read::Persons;
use super::specialise::{Demands, Guard, Ways, specialise};
use super::tree::{ItemTree, NOTHING};
use crate::DeidentifyError;
use crate::engine::Recoded;
use crate::policy::{ModelSpec, Policy, Recoding};

/// Rounds after which nothing moves any more in practice.
const ROUNDS: usize = 64;
/// Halvings between a class size that is too small and one that is not.
const HALVINGS: usize = 3;
/// What an event counts that is told at all, in bits, when a cut is looked for; tried in order.
const KEEP_BITS: [f64; 7] = [0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 64.0];

/// What is released of columns and events.
pub(super) struct Plan {
    pub(super) recoded: Recoded,
    /// For each class what its rows hold in the quasi-identifiers, in order.
    pub(super) labels: Vec<Vec<Option<String>>>,
    /// Class of each row; `None` when the row is suppressed.
    pub(super) class_of: Vec<Option<u32>>,
    /// Node of each event; [`NOTHING`] when it is suppressed.
    pub(super) told: Vec<u32>,
    /// Smallest class that the quasi-identifiers were recoded for.
    pub(super) class_size: u64,
    /// Events suppressed, those of suppressed persons included.
    pub(super) suppressed: u64,
    /// Share of the events' information that is lost.
    pub(super) event_loss: f64,
    /// Weighted mean over columns and events.
    pub(super) loss: f64,
}

/// What the search works on.
pub(super) struct Task<'a> {
    pub(super) persons: &'a Persons,
    pub(super) policy: &'a Policy,
    pub(super) files: &'a BTreeMap<String, Vec<u8>>,
    pub(super) tree: &'a ItemTree,
    /// Finest node that may be told of each event; [`NOTHING`] if none may.
    pub(super) finest: &'a [u32],
    pub(super) demands: Demands,
    pub(super) recoding: Recoding,
    /// Most events that may be suppressed.
    pub(super) limit: u64,
    pub(super) weight: f64,
}

/// What the policy demands of combinations of codes.
pub(super) fn demands(policy: &Policy, persons: &Persons) -> Result<Demands, DeidentifyError> {
    let mut guards = Vec::new();
    for model in &policy.models {
        let ModelSpec::LkcPrivacy { column, l, c, values } = model else { continue };
        let coded = persons.table.column(column)?;
        let is_guarded = |value: &Option<Box<str>>| {
            values.is_empty() || values.iter().any(|guarded| value.as_deref() == Some(guarded.as_str()))
        };
        let guarded = coded.values.iter().map(is_guarded).collect();
        guards.push(Guard { known: *l, values: coded.codes.clone(), guarded, confidence: *c });
    }
    Ok(Demands { k: policy.class_size(), known: policy.known_codes(), guards })
}

#[expect(clippy::cast_precision_loss, reason = "counts of events are far below 2^53")]
pub(super) fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// How many events of each leaf are told as each node, ascending: sums over it do not depend on the order of events.
pub(super) fn tally(leaf: &[u32], told: &[u32]) -> Vec<(u32, u32, u64)> {
    let mut pairs: Vec<(u32, u32)> = leaf.iter().copied().zip(told.iter().copied()).collect();
    pairs.sort_unstable();
    pairs.chunk_by(|a, b| a == b).map(|same| (same[0].0, same[0].1, same.len() as u64)).collect()
}

impl Task<'_> {
    /// Finds what is released.
    ///
    /// # Errors
    /// [`DeidentifyError::Unreachable`] and [`DeidentifyError::EventsUnreachable`] when nothing satisfies the policy.
    pub(super) fn search(&self) -> Result<Plan, DeidentifyError> {
        let least = self.policy.class_size();
        let (mut too_small, mut size, mut fewest) = (None, least, u64::MAX);
        loop {
            match self.attempt(size, false) {
                Ok(plan) if plan.suppressed <= self.limit => break,
                Ok(plan) => fewest = fewest.min(plan.suppressed),
                Err(DeidentifyError::Unreachable { .. }) if size > least => return Err(self.unreachable(fewest)),
                Err(error) => return Err(error),
            }
            too_small = Some(size);
            size *= 2;
            if size > self.persons.events.persons() as u64 {
                return Err(self.unreachable(fewest));
            }
        }
        if let Some(mut low) = too_small {
            for _ in 0..HALVINGS {
                let middle = u64::midpoint(low, size);
                if self.attempt(middle, false).is_ok_and(|plan| plan.suppressed <= self.limit) {
                    size = middle;
                } else {
                    low = middle;
                }
            }
        }
        let mut best: Option<Plan> = None;
        loop {
            let next = match self.attempt(size, true) {
                Ok(plan) => plan,
                Err(error) => return best.ok_or(error),
            };
            let within = next.suppressed <= self.limit;
            match &best {
                Some(best) if within && next.loss >= best.loss => break,
                Some(_) if !within => break,
                _ => {}
            }
            if within {
                best = Some(next);
            } else {
                fewest = fewest.min(next.suppressed);
            }
            // More of what is told below the topmost labels is given up than was looked for at first.
            size += if within { size } else { size.div_ceil(4) };
            if size > self.persons.events.persons() as u64 {
                break;
            }
        }
        best.ok_or_else(|| self.unreachable(fewest))
    }

    fn unreachable(&self, suppressed: u64) -> DeidentifyError {
        let events = self.persons.events.leaf.len() as u64;
        DeidentifyError::EventsUnreachable { suppressed, limit: self.limit, events }
    }

    /// What is released when the quasi-identifiers are recoded for a smallest class; `whole`: with all detail of the events,
    /// otherwise with their topmost labels.
    fn attempt(&self, class_size: u64, whole: bool) -> Result<Plan, DeidentifyError> {
        let policy = Policy { k: class_size, ..self.policy.clone() };
        let recoded = self.persons.table.prepare(&policy, self.files)?.recode(&policy, self.files)?;
        let (class_of_tuple, labels) = recoded.released_classes();
        let labels: Vec<Vec<Option<String>>> =
            labels.iter().map(|labels| labels.iter().map(|label| label.map(str::to_owned)).collect()).collect();
        let mut class_of = vec![None; self.persons.events.persons()];
        let mut classes: Vec<Vec<u32>> = vec![Vec::new(); labels.len()];
        for row in recoded.kept() {
            let class = class_of_tuple[recoded.of_row[row] as usize];
            class_of[row] = Some(class);
            classes[class as usize].push(u32::try_from(row).expect("fewer than 2^32 rows"));
        }
        let told = if whole { self.tell(&classes) } else { self.tell_with(&classes, self.tree, self.finest, 1) };
        let (mut suppressed, mut kept, mut own) = (0, 0.0, 0.0);
        for (leaf, node, events) in tally(&self.persons.events.leaf, &told) {
            suppressed += if node == NOTHING { events } else { 0 };
            kept += self.tree.kept_bits(leaf, node) * share(events, 1);
            own += self.tree.own_bits[leaf as usize] * share(events, 1);
        }
        let event_loss = if own > 0.0 { (1.0 - kept / own).max(0.0) } else { 0.0 };
        let (mut lost, mut weights) = (self.weight * event_loss, self.weight);
        for (at, column) in recoded.columns.iter().enumerate() {
            let rows = recoded.rows as u64;
            lost += column.weight * normalised_loss(recoded.covered_sum(at, true), rows, column.leaves);
            weights += column.weight;
        }
        Ok(Plan { recoded, labels, class_of, told, class_size, suppressed, event_loss, loss: lost / weights })
    }

    fn tell(&self, classes: &[Vec<u32>]) -> Vec<u32> {
        let mut told = self.tell_with(classes, self.tree, self.finest, ROUNDS);
        if self.recoding == Recoding::Local {
            return told;
        }
        let flat = vec![NOTHING; self.tree.parent.len()];
        let finest_told = told.clone();
        for keep in KEEP_BITS {
            let chosen = cut::cut(self.tree, &finest_told, keep);
            let finest = cut::finest(self.tree, self.finest, &chosen);
            told = self.tell_ways(classes, Ways { parent: &flat, bits: &self.tree.bits }, &finest, ROUNDS);
            if told.iter().filter(|node| **node == NOTHING).count() as u64 <= self.limit {
                break;
            }
        }
        told
    }

    fn tell_with(&self, classes: &[Vec<u32>], tree: &ItemTree, finest: &[u32], rounds: usize) -> Vec<u32> {
        self.tell_ways(classes, Ways { parent: &tree.parent, bits: &tree.bits }, finest, rounds)
    }

    fn tell_ways(&self, classes: &[Vec<u32>], ways: Ways<'_>, finest: &[u32], rounds: usize) -> Vec<u32> {
        let mut told = vec![NOTHING; finest.len()];
        for rows in classes {
            specialise(ways, &self.demands, rows, (&self.persons.events.start, finest), rounds, &mut told);
        }
        told
    }
}
