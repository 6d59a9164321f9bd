//! Ensembles of trees of ai.onnx.ml: of random forests, scikit-learn, XGBoost, LightGBM and this project.

use std::collections::HashMap;

use tract_onnx::pb::NodeProto;
use tract_onnx::tract_hir::internal::*;

use super::kernel::{Attributes, Fact, Kernel, Values, only, table, tensor};
use super::linear::{Classes, Transform, highest, rows_of};

/// How a cell is compared with a threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    AtMost,
    Below,
    AtLeast,
    Above,
    Equal,
    Unequal,
}

const MODES: [(&str, Option<Mode>); 7] = [
    ("BRANCH_LEQ", Some(Mode::AtMost)),
    ("BRANCH_LT", Some(Mode::Below)),
    ("BRANCH_GTE", Some(Mode::AtLeast)),
    ("BRANCH_GT", Some(Mode::Above)),
    ("BRANCH_EQ", Some(Mode::Equal)),
    ("BRANCH_NEQ", Some(Mode::Unequal)),
    ("LEAF", None),
];

#[derive(Debug, Clone)]
enum Node {
    Branch {
        column: usize,
        mode: Mode,
        threshold: f64,
        missing_is_true: bool,
        yes: usize,
        no: usize,
    },
    /// Targets and weights.
    Leaf(Vec<(usize, f64)>),
}

/// How leaves of a row become one score of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Aggregate {
    Sum,
    Average,
    Min,
    Max,
}

const AGGREGATES: [(&str, Aggregate); 4] =
    [("SUM", Aggregate::Sum), ("AVERAGE", Aggregate::Average), ("MIN", Aggregate::Min), ("MAX", Aggregate::Max)];

#[derive(Debug)]
struct Trees {
    nodes: Vec<Node>,
    roots: Vec<usize>,
    targets: usize,
    /// Columns that are looked at, at least.
    columns: usize,
}

impl Trees {
    /// Checks that nodes are trees: from the roots every node is reached once at most, and all targets are there.
    fn new(nodes: Vec<Node>, roots: Vec<usize>, targets: usize) -> TractResult<Self> {
        ensure!(!roots.is_empty() && (1..=4096).contains(&targets), "it has no trees, or no targets");
        let mut reached = vec![false; nodes.len()];
        let mut open = roots.clone();
        while let Some(at) = open.pop() {
            let node = nodes.get(at).context("a branch leads nowhere")?;
            ensure!(!std::mem::replace(&mut reached[at], true), "two branches lead to one node");
            match node {
                Node::Branch { yes, no, .. } => open.extend([*yes, *no]),
                Node::Leaf(weights) => {
                    ensure!(weights.iter().all(|(target, _)| *target < targets), "a leaf is of no target");
                }
            }
        }
        let looked = nodes.iter().filter_map(|node| match node {
            Node::Branch { column, .. } => Some(column + 1),
            Node::Leaf(_) => None,
        });
        let columns = looked.max().unwrap_or(0);
        Ok(Self { nodes, roots, targets, columns })
    }

    /// The attributes of version 1 to 4; `weights` is how those of leaves begin.
    fn listed(attributes: &Attributes<'_>, weights: &str, targets: usize) -> TractResult<Self> {
        let (trees, ids) = (attributes.ints("nodes_treeids"), attributes.ints("nodes_nodeids"));
        let (yes, no) = (attributes.ints("nodes_truenodeids"), attributes.ints("nodes_falsenodeids"));
        let (columns, modes) = (attributes.ints("nodes_featureids"), attributes.texts("nodes_modes")?);
        let values = attributes.floats_or_tensor("nodes_values")?;
        let missing = attributes.ints("nodes_missing_value_tracks_true");
        let many = ids.len();
        let lengths = [trees.len(), yes.len(), no.len(), columns.len(), modes.len(), values.len()];
        ensure!(
            lengths.iter().all(|length| *length == many) && (missing.is_empty() || missing.len() == many),
            "lists of nodes differ in length"
        );
        let mut places = HashMap::with_capacity(many);
        for (at, node) in trees.iter().zip(ids).enumerate() {
            ensure!(places.insert(node, at).is_none(), "a node is there twice");
        }
        let place = |tree: &i64, node: &i64| places.get(&(tree, node)).copied().context("a branch leads nowhere");
        let mut nodes = Vec::with_capacity(many);
        for at in 0..many {
            let known =
                MODES.iter().find(|(word, _)| *word == modes[at]).context("a node is of no kind that is run")?;
            nodes.push(match known.1 {
                None => Node::Leaf(Vec::new()),
                Some(mode) => Node::Branch {
                    column: column(columns[at])?,
                    mode,
                    threshold: values[at],
                    missing_is_true: missing.get(at) == Some(&1),
                    yes: place(&trees[at], &yes[at])?,
                    no: place(&trees[at], &no[at])?,
                },
            });
        }
        let name = |what: &str| format!("{weights}_{what}");
        let (of, node_ids) = (attributes.ints(&name("ids")), attributes.ints(&name("nodeids")));
        let (tree_ids, amounts) = (attributes.ints(&name("treeids")), attributes.floats_or_tensor(&name("weights"))?);
        ensure!(
            [node_ids.len(), tree_ids.len(), amounts.len()].iter().all(|length| *length == of.len()),
            "lists of weights differ in length"
        );
        for at in 0..of.len() {
            match &mut nodes[place(&tree_ids[at], &node_ids[at])?] {
                Node::Leaf(weights) => weights.push((column(of[at])?, amounts[at])),
                Node::Branch { .. } => bail!("a branch has a weight"),
            }
        }
        // The first node of each tree.
        let roots = (0..many).filter(|at| *at == 0 || trees[*at] != trees[at - 1]).collect();
        Self::new(nodes, roots, targets)
    }

    /// The leaf of a row in each tree.
    fn leaves<'t>(&'t self, row: &[f64]) -> impl Iterator<Item = &'t [(usize, f64)]> {
        self.roots.iter().map(move |root| {
            let mut at = *root;
            loop {
                match &self.nodes[at] {
                    Node::Leaf(weights) => return weights.as_slice(),
                    Node::Branch { column, mode, threshold, missing_is_true, yes, no } => {
                        let x = row[*column];
                        let holds = match mode {
                            Mode::AtMost => x <= *threshold,
                            Mode::Below => x < *threshold,
                            Mode::AtLeast => x >= *threshold,
                            Mode::Above => x > *threshold,
                            Mode::Equal => x == *threshold,
                            Mode::Unequal => x != *threshold,
                        };
                        at = if holds || (*missing_is_true && x.is_nan()) { *yes } else { *no };
                    }
                }
            }
        })
    }

    /// Scores of targets; none where no leaf is of a target.
    fn scores(&self, row: &[f64], aggregate: Aggregate) -> Vec<Option<f64>> {
        let mut scores: Vec<Option<f64>> = vec![None; self.targets];
        for (target, weight) in self.leaves(row).flatten() {
            let score = &mut scores[*target];
            *score = Some(match (*score, aggregate) {
                (None, _) => *weight,
                (Some(score), Aggregate::Sum | Aggregate::Average) => score + weight,
                (Some(score), Aggregate::Min) => score.min(*weight),
                (Some(score), Aggregate::Max) => score.max(*weight),
            });
        }
        if aggregate == Aggregate::Average {
            #[expect(clippy::cast_precision_loss, reason = "models have few trees")]
            let trees = self.roots.len() as f64;
            scores.iter_mut().flatten().for_each(|score| *score /= trees);
        }
        scores
    }

    fn rows(&self, input: &Tensor) -> TractResult<(Vec<f64>, usize)> {
        let width = table(input.shape())?.1;
        ensure!(width >= self.columns.max(1), "it looks at more columns than there are");
        Ok((rows_of(input, width)?, width))
    }
}

fn column(number: i64) -> TractResult<usize> {
    usize::try_from(number).ok().filter(|column| *column < 1 << 20).context("a column or target has no number")
}

#[derive(Debug)]
struct Regressor {
    name: &'static str,
    trees: Trees,
    aggregate: Aggregate,
    base: Vec<f64>,
    transform: Transform,
}

impl Regressor {
    /// Single precision; of version 5 the type of the input.
    fn kind(&self, input: DatumType) -> DatumType {
        match (self.name, input) {
            ("TreeEnsemble", DatumType::F64) => DatumType::F64,
            _ => DatumType::F32,
        }
    }
}

impl Kernel for Regressor {
    fn name(&self) -> &'static str {
        self.name
    }

    fn facts(&self, inputs: &[Fact]) -> TractResult<Vec<Fact>> {
        let (kind, shape) = only(inputs)?;
        Ok(vec![(self.kind(*kind), vec![table(shape)?.0, self.trees.targets])])
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let input = only(inputs)?;
        let (cells, width) = self.trees.rows(input)?;
        let mut all = Vec::new();
        for row in cells.chunks_exact(width) {
            let found = self.trees.scores(row, self.aggregate);
            let mut scores: Vec<f64> = found.iter().map(|score| score.unwrap_or(0.0)).collect();
            if self.base.len() == scores.len() {
                scores.iter_mut().zip(&self.base).for_each(|(score, base)| *score += base);
            }
            if scores.len() > 1 {
                self.transform.apply(&mut scores);
            }
            all.extend(scores);
        }
        let shape = [table(input.shape())?.0, self.trees.targets];
        Ok(tvec!(tensor(self.kind(input.datum_type()), &shape, &all)?.into_tvalue()))
    }
}

pub(super) fn regressor(node: &NodeProto) -> TractResult<impl Kernel> {
    let attributes = Attributes(node);
    let targets = usize::try_from(attributes.int("n_targets").unwrap_or(1)).unwrap_or(0);
    Ok(Regressor {
        name: "TreeEnsembleRegressor",
        trees: Trees::listed(&attributes, "target", targets)?,
        aggregate: attributes.one_of("aggregate_function", &AGGREGATES, Aggregate::Sum)?,
        base: attributes.floats_or_tensor("base_values")?,
        transform: Transform::of(&attributes)?,
    })
}

/// Version 5: branches and leaves in lists of their own.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small whole numbers, written as bytes")]
pub(super) fn ensemble(node: &NodeProto) -> TractResult<impl Kernel> {
    let attributes = Attributes(node);
    let listed = |name: &str| match attributes.tensor(name)? {
        Some(Values::Numbers(numbers)) => Ok(numbers),
        _ => bail!("{name} are no numbers"),
    };
    let (modes, splits, amounts) = (listed("nodes_modes")?, listed("nodes_splits")?, listed("leaf_weights")?);
    let columns = attributes.ints("nodes_featureids");
    let (yes, no) = (attributes.ints("nodes_truenodeids"), attributes.ints("nodes_falsenodeids"));
    let (yes_leaf, no_leaf) = (attributes.ints("nodes_trueleafs"), attributes.ints("nodes_falseleafs"));
    let missing = attributes.ints("nodes_missing_value_tracks_true");
    let many = columns.len();
    let lengths = [modes.len(), splits.len(), yes.len(), no.len(), yes_leaf.len(), no_leaf.len()];
    ensure!(
        lengths.iter().all(|length| *length == many) && (missing.is_empty() || missing.len() == many),
        "lists of nodes differ in length"
    );
    let of = attributes.ints("leaf_targetids");
    ensure!(of.len() == amounts.len(), "lists of leaves differ in length");
    // Leaves come after branches.
    let place = |id: i64, is_leaf: i64| {
        let id = usize::try_from(id).ok().filter(|id| *id < if is_leaf == 1 { of.len() } else { many });
        Ok(id.context("a branch leads nowhere")? + if is_leaf == 1 { many } else { 0 })
    };
    let mut nodes = Vec::with_capacity(many + of.len());
    for at in 0..many {
        let mode = match MODES.get(modes[at] as usize) {
            Some((_, Some(mode))) if modes[at] >= 0.0 => *mode,
            _ => bail!("a node is of no kind that is run"),
        };
        nodes.push(Node::Branch {
            column: column(columns[at])?,
            mode,
            threshold: splits[at],
            missing_is_true: missing.get(at) == Some(&1),
            yes: place(yes[at], yes_leaf[at])?,
            no: place(no[at], no_leaf[at])?,
        });
    }
    for (target, amount) in of.iter().zip(&amounts) {
        nodes.push(Node::Leaf(vec![(column(*target)?, *amount)]));
    }
    // A branch whose two sides are one leaf stands for a tree of one leaf.
    for at in 0..many {
        if let Node::Branch { yes, no, .. } = nodes[at]
            && yes == no
        {
            nodes[at] = nodes[yes].clone();
        }
    }
    let roots = attributes.ints("tree_roots").iter().map(|root| place(*root, 0)).collect::<TractResult<Vec<_>>>()?;
    let targets = usize::try_from(attributes.int("n_targets").unwrap_or(1)).unwrap_or(0);
    let aggregates = [Aggregate::Average, Aggregate::Sum, Aggregate::Min, Aggregate::Max];
    let aggregate = usize::try_from(attributes.int("aggregate_function").unwrap_or(1)).ok();
    let transforms = [Transform::None, Transform::Softmax, Transform::Logistic, Transform::SoftmaxZero];
    let transform = usize::try_from(attributes.int("post_transform").unwrap_or(0)).ok();
    Ok(Regressor {
        name: "TreeEnsemble",
        trees: Trees::new(nodes, roots, targets)?,
        aggregate: *aggregate.and_then(|at| aggregates.get(at)).context("aggregate_function is none that is run")?,
        base: Vec::new(),
        transform: *transform.and_then(|at| transforms.get(at)).context("post_transform is none that is run")?,
    })
}

/// Whose scores leaves hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    /// Those of all classes.
    All,
    /// One score of two classes, which is that of the second.
    Second,
}

#[derive(Debug)]
struct Classifier {
    trees: Trees,
    classes: Classes,
    base: Vec<f64>,
    transform: Transform,
    side: Side,
    /// Whether all leaves are of one of two classes and none is below zero: then scores are shares.
    are_shares: bool,
}

impl Classifier {
    /// Scores of a row, and the place of its class.
    fn row(&self, row: &[f64]) -> (Vec<f64>, usize) {
        let found = self.trees.scores(row, Aggregate::Sum);
        let mut scores: Vec<f64> = found.iter().map(|score| score.unwrap_or(0.0)).collect();
        scores.iter_mut().zip(&self.base).for_each(|(score, base)| *score += base);
        let is_second = |score: f64| usize::from(score > if self.are_shares { 0.5 } else { 0.0 });
        if self.side == Side::Second {
            return (self.transform.of_second(scores[0], self.are_shares), is_second(scores[0]));
        }
        let best = if scores.len() == 2 { is_second(scores[1]) } else { highest(&scores) };
        self.transform.apply(&mut scores);
        (scores, best)
    }
}

impl Kernel for Classifier {
    fn name(&self) -> &'static str {
        "TreeEnsembleClassifier"
    }

    fn outputs(&self) -> usize {
        2
    }

    fn facts(&self, inputs: &[Fact]) -> TractResult<Vec<Fact>> {
        let rows = table(&only(inputs)?.1)?.0;
        Ok(vec![(self.classes.kind(), vec![rows]), (DatumType::F32, vec![rows, self.classes.len()])])
    }

    fn eval(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let input = only(inputs)?;
        let (cells, width) = self.trees.rows(input)?;
        let (mut places, mut all) = (Vec::new(), Vec::new());
        for row in cells.chunks_exact(width) {
            let (scores, best) = self.row(row);
            places.push(best);
            all.extend(scores);
        }
        let scores = tensor(DatumType::F32, &[places.len(), self.classes.len()], &all)?;
        Ok(tvec!(self.classes.labels(&places)?, scores.into_tvalue()))
    }
}

pub(super) fn classifier(node: &NodeProto) -> TractResult<impl Kernel> {
    let attributes = Attributes(node);
    let classes = Classes::of(&attributes)?;
    ensure!(classes.len() >= 2, "it has one class only");
    let trees = Trees::listed(&attributes, "class", classes.len())?;
    let of = attributes.ints("class_ids");
    let base = attributes.floats_or_tensor("base_values")?;
    let is_positive = attributes.floats_or_tensor("class_weights")?.iter().all(|weight| *weight >= 0.0);
    let all = |class: i64| of.iter().all(|one| *one == class);
    let both = || {
        let mut leaves = trees.nodes.iter().filter_map(|node| match node {
            Node::Leaf(weights) => Some(weights),
            Node::Branch { .. } => None,
        });
        leaves.all(|weights| [0, 1].iter().all(|class| weights.iter().any(|(one, _)| one == class)))
    };
    // What onnxruntime says of anything else for two classes follows no rule.
    let side = match (classes.len(), base.len()) {
        (2, 0 | 1) if all(0) => Side::Second,
        (2, 0) if all(1) || both() => Side::All,
        (many, 0) if many > 2 => Side::All,
        (many, bases) if many > 2 && bases == many => Side::All,
        _ => bail!("its leaves have scores of some of its classes only, or its base values are not of all"),
    };
    let are_shares = classes.len() == 2 && is_positive && (all(0) || all(1));
    Ok(Classifier { trees, classes, base, transform: Transform::of(&attributes)?, side, are_shares })
}
