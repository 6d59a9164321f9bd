//! Quasi-identifiers: what each value becomes at each level, and how much that costs.

use std::sync::Arc;

use acequia_privacy::{entropy_bits, normalised_loss};
use hashbrown::HashMap;

use crate::DeidentifyError;
use crate::coded::CodedColumn;
use crate::hierarchy::Hierarchy;
use crate::policy::Column;
use crate::transform::Transformation;

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
    /// For each code, the lowest level at which its label is not rare; empty where rare values are left as they are.
    pub(crate) raised: Vec<usize>,
    /// Rows from which on a label is not rare.
    rare: u64,
}

impl QuasiIdentifier {
    pub(crate) fn new(
        coded: Arc<CodedColumn>,
        settings: &Column,
        hierarchy: Hierarchy,
        smallest: u64,
    ) -> Result<Self, DeidentifyError> {
        let (weight, minimum_level) = (settings.weight, settings.minimum_level);
        let levels = hierarchy.levels();
        if minimum_level >= levels {
            let problem = format!("minimum_level is {minimum_level}, and its highest level is {}", levels - 1);
            return Err(DeidentifyError::Hierarchy { column: coded.name.clone(), problem });
        }
        let missing = coded.values.first().is_some_and(Option::is_none);
        let rare = settings.transform.as_ref().and_then(|transform| transform.rare.as_ref());
        let rare = rare.map(|rare| rare.fewer_than.unwrap_or(smallest));
        let raised = match rare {
            Some(fewer_than) => raised(&coded, &hierarchy, fewer_than),
            None => Vec::new(),
        };
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
                    Some(text) => {
                        Some(hierarchy.label(text, level.max(raised.get(code).copied().unwrap_or(0))).ok_or_else(
                            || DeidentifyError::NotInHierarchy { row: coded.row_of(code), column: coded.name.clone() },
                        )?)
                    }
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
        let (leaves, mut covered) = covered(&coded, &hierarchy, &groups, &labels, missing);
        // A raised label stands for what it stands for at its own level.
        for (code, own) in raised.iter().enumerate() {
            for level in 0..*own {
                let group = groups[level][code] as usize;
                let higher = covered[*own][groups[*own][code] as usize];
                covered[level][group] = covered[level][group].max(higher);
            }
        }
        let up: Vec<Vec<u32>> = groups
            .windows(2)
            .map(|pair| {
                let size = pair[0].iter().max().map_or(0, |most| *most as usize + 1);
                let mut up = vec![0; size];
                pair[0].iter().zip(&pair[1]).for_each(|(below, above)| up[*below as usize] = *above);
                up
            })
            .collect();
        let splits = |(pair, up): (&[Vec<u32>], &Vec<u32>)| {
            let mut codes = pair[0].iter().zip(&pair[1]);
            codes.any(|(below, above)| up[*below as usize] != *above)
        };
        if !raised.is_empty() && groups.windows(2).zip(&up).any(splits) {
            let problem = "a label is used at two levels, so rare values cannot take it".to_owned();
            return Err(DeidentifyError::Hierarchy { column: coded.name.clone(), problem });
        }
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
        Ok(Self {
            coded,
            weight,
            minimum_level,
            hierarchy,
            groups,
            labels,
            covered,
            leaves,
            up,
            covered_sum,
            entropy,
            raised,
            rare: rare.unwrap_or(0),
        })
    }

    pub(crate) fn levels(&self) -> usize {
        self.groups.len()
    }

    /// What became of rare values, for the receipt.
    pub(crate) fn rare_step(&self) -> Option<Transformation> {
        if self.raised.is_empty() {
            return None;
        }
        let rows = |all: bool| -> u64 {
            let each = self.raised.iter().zip(&self.coded.counts);
            each.filter(|(level, _)| all || **level > 0).map(|(_, count)| count).sum()
        };
        let (raised, all) = (rows(false), rows(true));
        Some(Transformation {
            columns: vec![self.coded.name.clone()],
            kind: "rare".to_owned(),
            words: format!(
                "values of fewer than {} rows take the lowest label that is not rare ({raised} rows)",
                self.rare
            ),
            kept: if all == 0 { 1.0 } else { 1.0 - crate::transform::real(raised) / crate::transform::real(all) },
        })
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

/// For each code, the lowest level at which so many rows have its label; the last where none has.
fn raised(coded: &CodedColumn, hierarchy: &Hierarchy, fewer_than: u64) -> Vec<usize> {
    let levels = hierarchy.levels();
    let mut raised = vec![levels - 1; coded.values.len()];
    for level in (0..levels).rev() {
        let label = |value: &Option<Box<str>>| value.as_deref().and_then(|text| hierarchy.label(text, level));
        let mut rows: HashMap<Option<String>, u64> = HashMap::new();
        coded
            .values
            .iter()
            .zip(&coded.counts)
            .for_each(|(value, count)| *rows.entry(label(value)).or_default() += count);
        for (value, raised) in coded.values.iter().zip(&mut raised) {
            // A missing value stays one.
            let below = *raised == level + 1 && rows[&label(value)] >= fewer_than;
            if value.is_none() || below {
                *raised = level;
            }
        }
    }
    raised
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::coded::Coder;
    use crate::policy::Policy;

    #[test]
    fn rare_values_take_the_lowest_label_that_is_not_rare() {
        let policy = r#"[columns]
            c = { role = "quasi-identifier", transform = { rare = { fewer_than = 3 } }, hierarchy = { prefixes = [2, 1] } }"#;
        let policy: Policy = toml::from_str(policy).unwrap();
        let settings = &policy.columns["c"];
        let mut coder = Coder::new("c");
        ["aaa", "aaa", "aaa", "aab", "aba", "abb", "bbb"].iter().for_each(|value| coder.push(Some(value)));
        coder.push(None);
        let hierarchy = Hierarchy::build("c", settings.hierarchy.as_ref().unwrap(), &BTreeMap::new()).unwrap();
        let column = QuasiIdentifier::new(Arc::new(coder.finish()), settings, hierarchy, 5).unwrap();
        let label = |level: usize, code: usize| column.labels[level][column.groups[level][code] as usize].as_deref();
        // Missing stays missing; aaa is frequent, aab shares aa*, aba and abb share a* only, bbb nothing.
        let exact: Vec<Option<&str>> = (0..6).map(|code| label(0, code)).collect();
        assert_eq!(exact, [None, Some("aaa"), Some("aa*"), Some("a*"), Some("a*"), Some("*")]);
        assert_eq!((1..6).map(|code| label(1, code).unwrap()).collect::<Vec<_>>(), ["aa*", "aa*", "a*", "a*", "*"]);
        // A raised label stands for all that it could be.
        let covered = |code: usize| column.covered[0][column.groups[0][code] as usize];
        assert_eq!([1, 2, 3, 5].map(covered), [1, 2, 4, 6]);
        assert_eq!(column.rare_step().unwrap().kept, 1.0 - 4.0 / 8.0);
    }
}
