//! Items and their hierarchy: what a person's event may be released as.
//!
//! An item is a code, or a code with the part of the calendar its date lies in. From its finest form upwards an item loses
//! its date, level by level, then the detail of its code; at the top nothing is left, which is suppression. Labels that
//! read the same are the same node, since nobody who reads them can tell them apart.

use hashbrown::HashMap;

use crate::DeidentifyError;
use crate::hierarchy::Hierarchy;

/// No node: the item is suppressed.
pub(super) const NOTHING: u32 = u32::MAX;

/// What an item is released as.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Label {
    pub(super) code: Box<str>,
    /// `None` where the date is not told.
    pub(super) date: Option<Box<str>>,
}

/// A step of a leaf's way up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) node: u32,
    pub(super) code_level: usize,
    /// The highest level of the date's hierarchy where no date is told.
    pub(super) date_level: usize,
}

/// A distinct pair of code and date as recorded.
#[derive(Debug)]
pub(super) struct Leaf {
    pub(super) code: Box<str>,
    pub(super) date: Option<Box<str>>,
    /// The first row that holds it, from 1.
    pub(super) row: usize,
    /// Events with it, one for each person.
    pub(super) events: u64,
}

/// The hierarchy over the items that occur.
#[derive(Debug)]
pub(super) struct ItemTree {
    /// In the order of their texts.
    pub(super) labels: Vec<Label>,
    /// One step up; [`NOTHING`] above the topmost.
    pub(super) parent: Vec<u32>,
    /// Information of an event that is released as the node, in bits: −log2 of the share of events at or below it.
    pub(super) bits: Vec<f64>,
    /// Leaves at or below each node.
    pub(super) leaves_below: Vec<u64>,
    /// For each leaf its nodes, finest first.
    pub(super) paths: Vec<Vec<Step>>,
    /// Information of an event as recorded, for each leaf.
    pub(super) own_bits: Vec<f64>,
    pub(super) code_levels: usize,
    /// 0 without dates.
    pub(super) date_levels: usize,
}

/// The hierarchies that an [`ItemTree`] is built from, and the lowest levels that may be released.
pub(super) struct Levels<'a> {
    pub(super) code: &'a Hierarchy,
    pub(super) code_minimum: usize,
    pub(super) date: Option<(&'a Hierarchy, usize)>,
}

impl Levels<'_> {
    /// Ways up, without a step that reads like the one before.
    fn path(&self, leaf: &Leaf, names: (&str, &str)) -> Result<Vec<(Label, usize, usize)>, DeidentifyError> {
        let unknown = |column: &str| DeidentifyError::NotInHierarchy { row: leaf.row, column: column.to_owned() };
        let code = |level: usize| -> Result<Box<str>, DeidentifyError> {
            Ok(self.code.label(&leaf.code, level).ok_or_else(|| unknown(names.0))?.into())
        };
        let mut path: Vec<(Label, usize, usize)> = Vec::new();
        let mut push = |label: Label, code_level: usize, date_level: usize| {
            if path.last().is_none_or(|(last, ..)| *last != label) {
                path.push((label, code_level, date_level));
            }
        };
        // The levels below the minimum are asked for too, so that a value without a place is told at any minimum.
        code(0)?;
        let top = self.code.levels() - 1;
        let date_top = self.date.map_or(0, |(date, _)| date.levels() - 1);
        if let (Some((hierarchy, minimum)), Some(date)) = (self.date, &leaf.date) {
            hierarchy.label(date, 0).ok_or_else(|| unknown(names.1))?;
            for level in minimum..date_top {
                let date = hierarchy.label(date, level).ok_or_else(|| unknown(names.1))?;
                if self.code_minimum < top {
                    let label = Label { code: code(self.code_minimum)?, date: Some(date.into()) };
                    push(label, self.code_minimum, level);
                }
            }
        }
        for level in self.code_minimum..top {
            push(Label { code: code(level)?, date: None }, level, date_top);
        }
        Ok(path)
    }
}

impl ItemTree {
    /// `names`: the columns of codes and of dates, for errors.
    pub(super) fn new(leaves: &[Leaf], levels: &Levels<'_>, names: (&str, &str)) -> Result<Self, DeidentifyError> {
        let paths: Vec<Vec<(Label, usize, usize)>> =
            leaves.iter().map(|leaf| levels.path(leaf, names)).collect::<Result<_, _>>()?;
        let mut labels: Vec<Label> = paths.iter().flatten().map(|(label, ..)| label.clone()).collect();
        labels.sort_unstable();
        labels.dedup();
        let paths: Vec<Vec<Step>> = {
            let number: HashMap<&Label, u32> = labels.iter().zip(0..).collect();
            let step = |(label, code_level, date_level): &(Label, usize, usize)| Step {
                node: number[label],
                code_level: *code_level,
                date_level: *date_level,
            };
            paths.iter().map(|path| path.iter().map(step).collect()).collect()
        };
        let mut parent: Vec<Option<u32>> = vec![None; labels.len()];
        for path in &paths {
            let above = path.iter().skip(1).map(|step| step.node).chain([NOTHING]);
            for (step, above) in path.iter().zip(above) {
                let known = parent[step.node as usize].get_or_insert(above);
                if *known != above {
                    let problem = "a label stands for two groups that are not the same one level up".to_owned();
                    return Err(DeidentifyError::Hierarchy { column: names.0.to_owned(), problem });
                }
            }
        }
        let mut events = vec![0_u64; labels.len()];
        let mut leaves_below = vec![0_u64; labels.len()];
        for (leaf, path) in leaves.iter().zip(&paths) {
            for step in path {
                events[step.node as usize] += leaf.events;
                leaves_below[step.node as usize] += 1;
            }
        }
        let total = leaves.iter().map(|leaf| leaf.events).sum();
        Ok(Self {
            parent: parent.into_iter().map(|parent| parent.unwrap_or(NOTHING)).collect(),
            bits: events.iter().map(|events| bits(*events, total)).collect(),
            leaves_below,
            own_bits: leaves.iter().map(|leaf| bits(leaf.events, total)).collect(),
            paths,
            labels,
            code_levels: levels.code.levels(),
            date_levels: levels.date.map_or(0, |(date, _)| date.levels()),
        })
    }

    /// The step of a leaf that is released as a node; `None` when it is suppressed.
    pub(super) fn step(&self, leaf: u32, node: u32) -> Option<Step> {
        self.paths[leaf as usize].iter().find(|step| step.node == node).copied()
    }

    /// Information that an event keeps, in bits.
    pub(super) fn kept_bits(&self, leaf: u32, node: u32) -> f64 {
        match self.step(leaf, node) {
            None => 0.0,
            Some(step) if step.code_level == 0 && (self.date_levels == 0 || step.date_level == 0) => {
                self.own_bits[leaf as usize]
            }
            Some(step) => self.bits[step.node as usize],
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of events are far below 2^53")]
fn bits(part: u64, whole: u64) -> f64 {
    if part == 0 { 0.0 } else { (whole as f64 / part as f64).log2() }
}
