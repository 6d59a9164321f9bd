//! What a combination of levels is worth: which classes are kept, and what is lost.

use acequia_privacy::{Class, Classes, Distribution, Metric, Model, TableModel, entropy_bits, loss};

use super::Lattice;
use crate::encode::QuasiIdentifier;
use crate::grouping::{Field, Groups, Key};

/// A sensitive column that models look at.
#[derive(Debug)]
pub(crate) struct Sensitive {
    /// How its values are spread in the whole table.
    pub(crate) whole: Distribution,
    /// Conditions on the counts of its values.
    pub(crate) models: Vec<Model>,
}

/// What every kept class, and all of them together, must meet.
#[derive(Debug, Default)]
pub(crate) struct Conditions {
    /// On sizes: k-anonymity, k-map, δ-presence.
    pub(crate) sizes: Vec<Model>,
    /// On sensitive columns, in the order of [`Groups::sensitive`].
    pub(crate) sensitive: Vec<Sensitive>,
    /// On all kept classes together.
    pub(crate) table: Vec<TableModel>,
}

/// What is made small, under which limit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Goal {
    pub(crate) metric: Metric,
    /// Rows that may be suppressed.
    pub(crate) limit: u64,
}

impl Conditions {
    fn no_sensitive() -> Distribution {
        Distribution::default()
    }

    /// Whether a class may be kept.
    pub(crate) fn class_holds<const W: usize>(&self, groups: &Groups<W>, at: usize, none: &Distribution) -> bool {
        let rows = u64::from(groups.rows[at]);
        let population = groups.population.get(at).map_or(rows, |population| u64::from(*population));
        let size = Class { rows, population, sensitive: &[] };
        self.sizes.iter().all(|model| model.holds(&size, none))
            && self.sensitive.iter().zip(&groups.sensitive).all(|(column, histograms)| {
                let class = Class { sensitive: histograms.of(at), ..size };
                column.models.iter().all(|model| model.holds(&class, &column.whole))
            })
    }

    /// Which classes may not be kept, by class. Where a condition on the whole table fails, the smallest classes go,
    /// equally large ones in the order of their keys as `usual` gives them, until it holds.
    pub(crate) fn outside<const W: usize>(&self, groups: &Groups<W>, usual: impl Fn(&Key<W>) -> Key<W>) -> Vec<bool> {
        let none = Self::no_sensitive();
        let mut outside: Vec<bool> = match (self.sizes.as_slice(), self.sensitive.is_empty()) {
            ([Model::KAnonymity { k }], true) => groups.rows.iter().map(|rows| u64::from(*rows) < *k).collect(),
            _ => (0..groups.len()).map(|at| !self.class_holds(groups, at, &none)).collect(),
        };
        if self.table.is_empty() {
            return outside;
        }
        let mut order: Vec<usize> = (0..groups.len()).filter(|at| !outside[*at]).collect();
        order.sort_unstable_by_key(|at| (groups.rows[*at], usual(&groups.keys[*at])));
        let holds = |from: usize| {
            let kept = Classes::of(order[from..].iter().map(|at| u64::from(groups.rows[*at])));
            self.table.iter().all(|model| model.holds(&kept))
        };
        let (mut low, mut high) = (0, order.len());
        if holds(0) {
            high = 0;
        }
        while low < high {
            let middle = usize::midpoint(low, high);
            if holds(middle) { high = middle } else { low = middle + 1 }
        }
        order[..high].iter().for_each(|at| outside[*at] = true);
        outside
    }

    /// Whether suppressed rows can only become fewer the higher the levels, whatever the table.
    pub(crate) fn grow(&self) -> bool {
        let mut models = self.sizes.iter().chain(self.sensitive.iter().flat_map(|column| &column.models));
        self.table.is_empty() && models.all(Model::grows)
    }
}

/// What was counted at one combination of levels.
#[derive(Debug)]
pub(crate) struct Judged {
    pub(crate) suppressed: u64,
    kept_classes: u64,
    kept_squares: u128,
    /// Lower bound on the discernibility of every combination above.
    least_discernibility: u128,
    classes: u64,
    /// For each column, leaves that suppressed rows stand for beyond those their groups do. Not counted where more rows are
    /// suppressed than any goal allows; nor is the entropy.
    beyond: Vec<u128>,
    /// Entropy that suppressed rows lose beyond that of their groups, in bits.
    suppressed_entropy: f64,
}

/// Judges combinations for one table.
pub(crate) struct Judge<'a> {
    lattice: &'a Lattice<'a>,
    conditions: &'a Conditions,
    entropy: bool,
    /// Smallest class that k-anonymity allows.
    k: u64,
    /// For each column, a count for each label; zeros between two judgements.
    histograms: Vec<Vec<u64>>,
    /// Groups that may not be kept.
    gone: Vec<u32>,
    /// Rows that may be suppressed under any goal.
    most: u64,
}

impl<'a> Judge<'a> {
    pub(crate) fn new(lattice: &'a Lattice<'a>, conditions: &'a Conditions, goals: &[Goal]) -> Self {
        let k = conditions.sizes.iter().map(|model| if let Model::KAnonymity { k } = model { *k } else { 1 }).max();
        Self {
            lattice,
            conditions,
            entropy: goals.iter().any(|goal| goal.metric == Metric::Entropy),
            k: k.unwrap_or(1),
            histograms: lattice.columns.iter().map(|column| vec![0; column.coded.values.len()]).collect(),
            gone: Vec::new(),
            most: goals.iter().map(|goal| goal.limit).max().unwrap_or(0),
        }
    }

    /// Rows that a class needs at least.
    pub(crate) fn smallest_class(&self) -> u64 {
        self.k.max(1)
    }

    /// Counts what is kept and what is lost.
    pub(crate) fn judge<const W: usize>(&mut self, groups: &Groups<W>, levels: &[usize]) -> Judged {
        let outside = self.conditions.outside(groups, |key| self.lattice.usual_key(key));
        let columns = self.lattice.columns;
        let mut judged = Judged {
            suppressed: 0,
            kept_classes: 0,
            kept_squares: 0,
            least_discernibility: 0,
            classes: groups.len() as u64,
            beyond: vec![0; columns.len()],
            suppressed_entropy: 0.0,
        };
        let k = self.k.min(self.lattice.rows);
        self.gone.clear();
        for ((at, rows), outside) in (0..).zip(&groups.rows).zip(&outside) {
            let rows = u64::from(*rows);
            // A row is merged into a class of at least k, or suppressed at the price of the whole table.
            judged.least_discernibility += u128::from(rows) * u128::from(rows.max(k));
            if *outside {
                judged.suppressed += rows;
                self.gone.push(at);
            } else {
                judged.kept_classes += 1;
                judged.kept_squares += u128::from(rows) * u128::from(rows);
            }
        }
        // Nobody asks for the score of what no goal allows.
        if judged.suppressed > self.most {
            return judged;
        }
        // What suppressed rows lose hangs on how often each label occurs among them: count first, weigh once per label.
        let mut counted: Vec<(Field, &mut Vec<u64>)> = Vec::with_capacity(columns.len());
        for ((column, histogram), (level, field)) in
            columns.iter().zip(&mut self.histograms).zip(levels.iter().zip(&self.lattice.fields))
        {
            if column.labels[*level].len() == 1 {
                histogram[0] = judged.suppressed;
            } else {
                counted.push((*field, histogram));
            }
        }
        for group in &self.gone {
            let (key, rows) = (&groups.keys[*group as usize], u64::from(groups.rows[*group as usize]));
            for (field, histogram) in &mut counted {
                histogram[field.get(key)] += rows;
            }
        }
        for (at, (column, histogram)) in columns.iter().zip(&mut self.histograms).enumerate() {
            let histogram = &mut histogram[..column.labels[levels[at]].len()];
            for (label, count) in histogram.iter_mut().enumerate() {
                let count = std::mem::take(count);
                judged.beyond[at] += u128::from(count) * u128::from(column.beyond(levels[at], label));
                if self.entropy {
                    judged.suppressed_entropy += entropy_bits(count, judged.suppressed);
                }
            }
        }
        judged
    }

    /// The score under a metric; smaller is better.
    pub(crate) fn score(&self, judged: &Judged, levels: &[usize], metric: Metric) -> f64 {
        let rows = self.lattice.rows;
        match metric {
            Metric::Loss => loss_of(self.lattice.columns, levels, Some(&judged.beyond), rows),
            Metric::GeneralisationLoss | Metric::GeneralisationEntropy => self.bound(levels, metric),
            Metric::Entropy => entropy_of(self.lattice.columns, levels) + judged.suppressed_entropy,
            Metric::Discernibility => wide(judged.kept_squares + u128::from(rows) * u128::from(judged.suppressed)),
            Metric::ClassSize => {
                let classes = judged.kept_classes + u64::from(judged.suppressed > 0);
                if classes == 0 { 0.0 } else { wide(u128::from(rows)) / wide(u128::from(classes)) }
            }
        }
    }

    /// A bound that no combination with these levels or higher ones undercuts, from the marginals alone; 0 where a metric
    /// has none.
    pub(crate) fn bound(&self, levels: &[usize], metric: Metric) -> f64 {
        match metric {
            Metric::Loss | Metric::GeneralisationLoss => loss_of(self.lattice.columns, levels, None, self.lattice.rows),
            Metric::Entropy | Metric::GeneralisationEntropy => entropy_of(self.lattice.columns, levels),
            Metric::Discernibility | Metric::ClassSize => 0.0,
        }
    }

    /// A bound for all combinations above one that was judged.
    pub(crate) fn bound_above(&self, judged: &Judged, metric: Metric) -> f64 {
        match metric {
            Metric::Loss | Metric::Entropy | Metric::GeneralisationLoss | Metric::GeneralisationEntropy => 0.0,
            Metric::Discernibility => wide(judged.least_discernibility),
            Metric::ClassSize => {
                // A kept class above holds at least one class of here, and at least k rows; the suppressed rows are one more.
                let rows = self.lattice.rows;
                let most = judged.classes.min(rows / self.k.max(1)).saturating_add(1);
                wide(u128::from(rows)) / wide(u128::from(most))
            }
        }
    }
}

fn loss_of(columns: &[QuasiIdentifier], levels: &[usize], beyond: Option<&[u128]>, rows: u64) -> f64 {
    loss(
        columns.iter().zip(levels).enumerate().map(|(at, (column, level))| {
            (column.weight, column.loss(*level, beyond.map_or(0, |beyond| beyond[at]), rows))
        }),
    )
}

fn entropy_of(columns: &[QuasiIdentifier], levels: &[usize]) -> f64 {
    columns.iter().zip(levels).map(|(column, level)| column.entropy[*level]).sum()
}

#[expect(clippy::cast_precision_loss, reason = "scores are wanted to 53 bits")]
fn wide(count: u128) -> f64 {
    count as f64
}
