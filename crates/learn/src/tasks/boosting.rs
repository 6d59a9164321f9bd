//! Gradient boosting on histograms. Every gradient is a multiple of 2^-32 and is added as an integer, so the tree over many
//! sites is the tree over their union, bit for bit (gain and weights: Chen and Guestrin 2016, equations 5 and 7).
//!
//! Bins are agreed first: the range within four standard deviations of the mean is counted in equal steps, and edges are put
//! where the running count passes equal shares.

use serde::{Deserialize, Serialize};

use crate::LearnError;
use crate::model::{Form, Model};
use crate::plan::{Boosting, Plan};
use crate::sums::Sums;
use crate::table::{Data, Observed};
use crate::tasks::regression::logistic;
use crate::tasks::scale::{Scale, prepared};
use crate::tasks::{Block, Kept, Next, Outcome, Question, fit};

/// Equal steps that bins are chosen from.
pub(crate) const SKETCH: usize = 1024;

/// A node of a tree.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Node {
    /// Rows whose variable is at most the threshold go left.
    Split {
        /// Which variable, counted from 0.
        variable: usize,
        /// The last value that goes left.
        threshold: f64,
        /// Index of the left node.
        left: usize,
        /// Index of the right node.
        right: usize,
    },
    /// Adds this to the log odds.
    Leaf(f64),
}

/// A tree; the first node is the root.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tree {
    /// Nodes, parents before children.
    pub nodes: Vec<Node>,
}

impl Tree {
    /// The leaf of a row. A node points only forward, so the walk ends.
    pub(crate) fn leaf(&self, x: &[f64]) -> usize {
        let mut at = 0;
        while let Node::Split { variable, threshold, left, right } = &self.nodes[at] {
            at = if x[*variable] <= *threshold { *left } else { *right };
        }
        at
    }

    pub(crate) fn value(&self, x: &[f64]) -> f64 {
        match &self.nodes[self.leaf(x)] {
            Node::Leaf(value) => *value,
            Node::Split { .. } => 0.0,
        }
    }

    pub(crate) fn is_sound(&self, variables: usize) -> bool {
        !self.nodes.is_empty()
            && self.nodes.iter().enumerate().all(|(at, node)| match node {
                Node::Leaf(value) => value.is_finite(),
                Node::Split { variable, threshold, left, right } => {
                    *variable < variables
                        && threshold.is_finite()
                        && *left > at
                        && *right > at
                        && *left < self.nodes.len()
                        && *right < self.nodes.len()
                }
            })
    }
}

/// Log odds of every row after the finished trees, kept between rounds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Margins(Vec<Margin>);

#[derive(Debug, Clone, Default)]
pub(crate) struct Margin {
    trees: Vec<Tree>,
    base: f64,
    values: Vec<f64>,
}

impl Margins {
    pub(crate) fn of(&mut self, part: usize) -> &mut Margin {
        if self.0.len() <= part {
            self.0.resize_with(part + 1, Margin::default);
        }
        &mut self.0[part]
    }
}

impl Margin {
    fn update(&mut self, data: &Data, base: f64, trees: &[Tree]) {
        let known = self.trees.len();
        let is_continued = self.values.len() == data.rows
            && self.base.to_bits() == base.to_bits()
            && known <= trees.len()
            && self.trees == trees[..known];
        if !is_continued {
            *self = Self { trees: Vec::new(), base, values: vec![base; data.rows] };
        }
        for tree in &trees[self.trees.len()..] {
            for (row, value) in self.values.iter_mut().enumerate() {
                *value += tree.value(data.row(row));
            }
            self.trees.push(tree.clone());
        }
    }
}

pub(crate) fn fits(settings: &Boosting, p: usize, question: &Question) -> bool {
    let Question::Level { edges, base, trees, growing, open } = question else { return false };
    edges.len() == p
        && edges.iter().all(|edges| edges.len() < settings.bins && edges.windows(2).all(|pair| pair[0] < pair[1]))
        && base.is_finite()
        && trees.len() < settings.trees
        && trees.iter().chain([growing]).all(|tree| tree.is_sound(p))
        && !open.is_empty()
        && open.windows(2).all(|pair| pair[0] < pair[1])
        && open.iter().all(|at| matches!(growing.nodes.get(*at), Some(Node::Leaf(_))))
}

pub(crate) fn shape(edges: &[Vec<f64>], open: usize) -> Vec<Block> {
    let bins: usize = edges.iter().map(|edges| edges.len() + 1).sum();
    vec![
        Block::new("gradients per bin of each variable, for each open node", open * bins, true),
        Block::new("second derivatives per bin of each variable, for each open node", open * bins, true),
    ]
}

/// Rounded to a multiple of 2^-32, so that sums with a 64-bit ring are exact too.
fn quantised(x: f64) -> f64 {
    const UNIT: f64 = (1u64 << 32) as f64;
    (x * UNIT).round() / UNIT
}

#[expect(clippy::too_many_arguments, reason = "the fields of one question")]
pub(crate) fn add(
    data: &Data,
    edges: &[Vec<f64>],
    base: f64,
    trees: &[Tree],
    growing: &Tree,
    open: &[usize],
    margin: &mut Margin,
    sums: &mut Sums,
) {
    let Observed::Number(values) = &data.observed else { return };
    margin.update(data, base, trees);
    let bins: usize = edges.iter().map(|edges| edges.len() + 1).sum();
    let second = open.len() * bins;
    for (row, (margin, value)) in margin.values.iter().zip(values).enumerate() {
        let x = data.row(row);
        let Ok(node) = open.binary_search(&growing.leaf(x)) else { continue };
        let probability = logistic(*margin);
        let gradient = quantised(probability - value);
        let curvature = quantised(probability * (1.0 - probability));
        let mut start = node * bins;
        for (x, edges) in x.iter().zip(edges) {
            let at = start + edges.partition_point(|edge| edge < x);
            sums.add(at, gradient);
            sums.add(second + at, curvature);
            start += edges.len() + 1;
        }
    }
}

/// Edges at equal shares of rows, from counts on equal steps.
fn choose_edges(steps: &[f64], counts: &[u64], bins: usize) -> Vec<f64> {
    let rows: u64 = counts.iter().sum();
    let mut edges = Vec::new();
    let mut below = 0;
    let mut next = 1;
    for (at, count) in counts.iter().enumerate().take(counts.len() - 1) {
        below += count;
        if below > 0 && below < rows && below * bins as u64 >= next * rows {
            edges.push(steps[at + 1]);
            while next < bins as u64 && below * bins as u64 >= next * rows {
                next += 1;
            }
        }
        if edges.len() == bins - 1 {
            break;
        }
    }
    edges
}

/// Equal steps over the range within four standard deviations of the mean, half a hair off so that values that are
/// multiples of a step do not lie on an edge.
fn sketch_steps(scale: &Scale) -> Vec<f64> {
    let width = 8.0 * scale.sd / SKETCH as f64;
    (0..=SKETCH).map(|at| scale.mean - 4.0 * scale.sd + width * at as f64).collect()
}

struct Split {
    gain: f64,
    variable: usize,
    threshold: f64,
    left: f64,
    right: f64,
}

/// The split of one open node with the largest gain; the first one among equals.
fn best_split(settings: &Boosting, edges: &[Vec<f64>], sums: &Sums, node: usize, open: usize) -> Option<Split> {
    let bins: usize = edges.iter().map(|edges| edges.len() + 1).sum();
    let second = open * bins;
    let mut best: Option<Split> = None;
    let mut start = node * bins;
    let score = |g: f64, h: f64| g * g / (h + settings.lambda);
    let weight = |g: f64, h: f64| -g / (h + settings.lambda) * settings.rate;
    for (variable, edges) in edges.iter().enumerate() {
        let total = |from: usize| (0..=edges.len()).map(|bin| sums.get(from + start + bin)).sum::<f64>();
        let (g, h) = (total(0), total(second));
        let (mut left_g, mut left_h) = (0.0, 0.0);
        for (bin, edge) in edges.iter().enumerate() {
            left_g += sums.get(start + bin);
            left_h += sums.get(second + start + bin);
            let (right_g, right_h) = (g - left_g, h - left_h);
            if left_h < settings.least_weight || right_h < settings.least_weight {
                continue;
            }
            let gain = 0.5 * (score(left_g, left_h) + score(right_g, right_h) - score(g, h)) - settings.gamma;
            if gain > 0.0 && best.as_ref().is_none_or(|best| gain > best.gain) {
                best = Some(Split {
                    gain,
                    variable,
                    threshold: *edge,
                    left: weight(left_g, left_h),
                    right: weight(right_g, right_h),
                });
            }
        }
        start += edges.len() + 1;
    }
    best
}

#[expect(clippy::cast_precision_loss, reason = "counts of rows are far below 2^53")]
pub(crate) fn step(
    plan: &Plan,
    settings: &Boosting,
    question: &Question,
    mut kept: Kept,
    sums: &Sums,
    sites: &[String],
) -> Result<Next, LearnError> {
    match question {
        Question::Histogram { edges: steps } => {
            let edges: Vec<Vec<f64>> = steps
                .iter()
                .enumerate()
                .map(|(j, steps)| {
                    let counts: Vec<u64> = (0..SKETCH).map(|at| sums.whole(j * SKETCH + at)).collect();
                    choose_edges(steps, &counts, settings.bins)
                })
                .collect();
            let share = kept.events as f64 / kept.rows as f64;
            if share <= 0.0 || share >= 1.0 {
                return Err(LearnError::Estimate { reason: "all rows have the same outcome" });
            }
            let base = libm::log(share / (1.0 - share));
            let growing = Tree { nodes: vec![Node::Leaf(0.0)] };
            Ok(Next::ask(Question::Level { edges, base, trees: Vec::new(), growing, open: vec![0] }, kept))
        }
        Question::Level { edges, base, trees, growing, open } => {
            let (mut growing, mut trees) = (growing.clone(), trees.clone());
            let depth_of = |tree: &Tree, node: usize| {
                let mut at = node;
                let mut depth = 0;
                while let Some(parent) = tree
                    .nodes
                    .iter()
                    .position(|one| matches!(one, Node::Split { left, right, .. } if *left == at || *right == at))
                {
                    at = parent;
                    depth += 1;
                }
                depth
            };
            let mut still_open = Vec::new();
            for (index, node) in open.iter().enumerate() {
                let Some(split) = best_split(settings, edges, sums, index, open.len()) else { continue };
                let left = growing.nodes.len();
                growing.nodes.push(Node::Leaf(split.left));
                growing.nodes.push(Node::Leaf(split.right));
                growing.nodes[*node] =
                    Node::Split { variable: split.variable, threshold: split.threshold, left, right: left + 1 };
                if depth_of(&growing, left) < settings.depth {
                    still_open.extend([left, left + 1]);
                }
            }
            kept.iterations += 1;
            if !still_open.is_empty() {
                let (edges, base, open) = (edges.clone(), *base, still_open);
                return Ok(Next::ask(Question::Level { edges, base, trees, growing, open }, kept));
            }
            // A root that cannot be split means that no further tree can be.
            let is_stump = growing.nodes.len() == 1;
            if !is_stump {
                trees.push(growing);
            }
            if is_stump || trees.len() == settings.trees {
                let scales = kept.scales.clone();
                let form = Form::Boosting { base: *base, trees };
                let fit = fit(&kept, None);
                return Ok(Next::Done(Box::new(Outcome::Model(Box::new(Model::new(plan, &scales, form, fit, sites))))));
            }
            let growing = Tree { nodes: vec![Node::Leaf(0.0)] };
            Ok(Next::ask(Question::Level { edges: edges.clone(), base: *base, trees, growing, open: vec![0] }, kept))
        }
        _ => {
            let prepared = prepared(plan, sums)?;
            let edges = prepared.scales.iter().map(sketch_steps).collect();
            let kept =
                Kept { rows: prepared.rows, events: prepared.events, scales: prepared.scales, ..Kept::default() };
            Ok(Next::ask(Question::Histogram { edges }, kept))
        }
    }
}
