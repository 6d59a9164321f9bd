//! Quasi-identifiers: what each value becomes at each level, and how much that costs.

use std::sync::Arc;

use acequia_privacy::{entropy_bits, normalised_loss};
use hashbrown::HashMap;

use crate::DeidentifyError;
use crate::coded::CodedColumn;
use crate::hierarchy::Hierarchy;
use crate::policy::Column;

/// One quasi-identifier under its hierarchy.
#[derive(Debug)]
pub(crate) struct QuasiIdentifier {
    pub(crate) coded: Arc<CodedColumn>,
    pub(crate) weight: f64,
    /// Lowest level at which it may be released.
    pub(crate) minimum_level: usize,
    pub(crate) hierarchy: Hierarchy,
    /// For each level, the group of each code. Groups are numbered in the order of codes.
    pub(crate) groups: Vec<Vec<u32>>,
    /// For each level, the label of each group; `None` is missing.
    pub(crate) labels: Vec<Vec<Option<String>>>,
    /// For each level, the number of leaves of the hierarchy that each group stands for.
    pub(crate) covered: Vec<Vec<u64>>,
    /// Leaves of the hierarchy, those included that do not occur; one more for missing values.
    pub(crate) leaves: u64,
    /// For each level but the last, the group one level up of each group.
    pub(crate) up: Vec<Vec<u32>>,
    /// For each level, the leaves that all rows together stand for.
    pub(crate) covered_sum: Vec<u128>,
    /// For each level, the entropy that all rows together lose, in bits.
    pub(crate) entropy: Vec<f64>,
}

impl QuasiIdentifier {
    pub(crate) fn new(
        coded: Arc<CodedColumn>,
        settings: &Column,
        hierarchy: Hierarchy,
    ) -> Result<Self, DeidentifyError> {
        let (weight, minimum_level) = (settings.weight, settings.minimum_level);
        let levels = hierarchy.levels();
        if minimum_level >= levels {
            let problem = format!("minimum_level is {minimum_level}, and its highest level is {}", levels - 1);
            return Err(DeidentifyError::Hierarchy { column: coded.name.clone(), problem });
        }
        let missing = coded.values.first().is_some_and(Option::is_none);
        let (mut groups, mut labels) = (Vec::with_capacity(levels), Vec::with_capacity(levels));
        for level in 0..levels {
            let mut group_of: HashMap<Option<String>, u32> = HashMap::new();
            let mut level_groups = Vec::with_capacity(coded.values.len());
            let mut level_labels = Vec::new();
            for (code, value) in coded.values.iter().enumerate() {
                let label = match value {
                    // A missing value stays one, until nothing is left of any value.
                    None if level + 1 == levels => Some(hierarchy.root().to_owned()),
                    None => None,
                    Some(text) => Some(hierarchy.label(text, level).ok_or_else(|| {
                        DeidentifyError::NotInHierarchy { row: coded.row_of(code), column: coded.name.clone() }
                    })?),
                };
                let next = u32::try_from(level_labels.len()).expect("fewer than 2^32 groups");
                let group = *group_of.entry(label.clone()).or_insert(next);
                if group == next {
                    level_labels.push(label);
                }
                level_groups.push(group);
            }
            groups.push(level_groups);
            labels.push(level_labels);
        }
        let (leaves, covered) = covered(&coded, &hierarchy, &groups, &labels, missing);
        let up = groups
            .windows(2)
            .map(|pair| {
                let size = pair[0].iter().max().map_or(0, |most| *most as usize + 1);
                let mut up = vec![0; size];
                pair[0].iter().zip(&pair[1]).for_each(|(below, above)| up[*below as usize] = *above);
                up
            })
            .collect();
        let counts = &coded.counts;
        let rows: Vec<Vec<u64>> = groups
            .iter()
            .map(|of_code| {
                let mut rows = vec![0; of_code.iter().max().map_or(0, |most| *most as usize + 1)];
                of_code.iter().zip(counts).for_each(|(group, count)| rows[*group as usize] += count);
                rows
            })
            .collect();
        let sum = |level: usize| {
            let each = rows[level].iter().zip(&covered[level]);
            each.map(|(rows, covered)| u128::from(*rows) * u128::from(*covered)).sum()
        };
        let lost = |level: usize| {
            let each = groups[level].iter().zip(counts);
            each.map(|(group, count)| entropy_bits(*count, rows[level][*group as usize])).sum()
        };
        let (covered_sum, entropy) = ((0..levels).map(sum).collect(), (0..levels).map(lost).collect());
        Ok(Self { coded, weight, minimum_level, hierarchy, groups, labels, covered, leaves, up, covered_sum, entropy })
    }

    pub(crate) fn levels(&self) -> usize {
        self.groups.len()
    }

    /// Loss of the column over all rows at a level, with the leaves that suppressed rows add.
    pub(crate) fn loss(&self, level: usize, added: u128, rows: u64) -> f64 {
        normalised_loss(self.covered_sum[level] + added, rows, self.leaves)
    }

    /// Leaves that a suppressed row of a group stands for beyond those the group does.
    #[inline]
    pub(crate) fn beyond(&self, level: usize, group: usize) -> u64 {
        self.leaves - self.covered[level][group]
    }
}

/// Leaves of the hierarchy, and how many of them each group of each level stands for.
fn covered(
    coded: &CodedColumn,
    hierarchy: &Hierarchy,
    groups: &[Vec<u32>],
    labels: &[Vec<Option<String>>],
    missing: bool,
) -> (u64, Vec<Vec<u64>>) {
    let known: Option<Vec<HashMap<&str, u64>>> = hierarchy.leaves_by_label();
    let listed = known.as_ref().map(|_| hierarchy.leaves());
    let leaves = listed.unwrap_or((coded.values.len() - usize::from(missing)) as u64) + u64::from(missing);
    let mut all = Vec::with_capacity(groups.len());
    for (level, (of_code, labels)) in groups.iter().zip(labels).enumerate() {
        let mut covered = vec![0; labels.len()];
        match &known {
            Some(by_label) => {
                for (covered, label) in covered.iter_mut().zip(labels) {
                    let listed = label.as_deref().and_then(|label| by_label[level].get(label));
                    *covered = listed.copied().unwrap_or(1);
                }
            }
            None => of_code.iter().for_each(|group| covered[*group as usize] += 1),
        }
        if level + 1 == groups.len() {
            covered.fill(leaves);
        }
        all.push(covered);
    }
    (leaves, all)
}
