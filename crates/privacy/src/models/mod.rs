//! Privacy models: one file each.

pub(crate) mod alpha_k;
pub(crate) mod average_risk;
pub(crate) mod beta_likeness;
pub(crate) mod delta_disclosure;
pub(crate) mod delta_presence;
pub(crate) mod k_anonymity;
pub(crate) mod k_map;
pub(crate) mod km_anonymity;
pub(crate) mod l_diversity;
pub(crate) mod lkc_privacy;
pub(crate) mod population_uniqueness;
pub(crate) mod records_at_risk;
pub(crate) mod suda2;
pub(crate) mod t_closeness;

use crate::{Classes, real};

/// A value of a sensitive column, as a number.
pub type Value = u32;

/// One equivalence class, as a model sees it.
#[derive(Debug, Clone, Copy)]
pub struct Class<'a> {
    /// Rows that are released.
    pub rows: u64,
    /// Rows of the population table (or of the whole table, when a subset is released) in this class; `rows` without one.
    pub population: u64,
    /// Values of the model's sensitive column with their counts, ascending, none of them 0.
    pub sensitive: &'a [(Value, u64)],
}

/// How the values of a sensitive column are spread in the whole table.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Distribution {
    shares: Vec<f64>,
    /// For t-closeness over a hierarchy: for each level, bottom first, the node of each value.
    levels: Vec<Vec<u32>>,
}

/// What the distance of t-closeness is measured over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ground {
    /// All values equally far from each other.
    Equal,
    /// Values in an order; neighbours are 1 / (number of values − 1) apart.
    Ordered,
    /// Leaves of a hierarchy; as far apart as their lowest common ancestor is high.
    Hierarchical,
}

/// A condition that every class must meet. A class that does not is suppressed whole.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Model {
    /// See `k_anonymity.rs`.
    KAnonymity { k: u64 },
    /// See `k_map.rs`.
    KMap { k: u64 },
    /// See `l_diversity.rs`.
    DistinctL { l: u64 },
    /// See `l_diversity.rs`.
    EntropyL { l: f64 },
    /// See `l_diversity.rs`.
    RecursiveCl { c: f64, l: u64 },
    /// See `t_closeness.rs`.
    TCloseness { t: f64, ground: Ground },
    /// See `delta_presence.rs`.
    DeltaPresence { minimum: f64, maximum: f64 },
    /// See `delta_disclosure.rs`.
    DeltaDisclosure { delta: f64 },
    /// See `beta_likeness.rs`.
    BetaLikeness { beta: f64, enhanced: bool },
    /// See `alpha_k.rs`.
    AlphaK { alpha: f64, value: Option<Value> },
}

/// A condition on all kept classes together. Where it fails, the smallest classes are suppressed until it holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum TableModel {
    /// See `average_risk.rs`.
    AverageRisk { maximum: f64 },
    /// See `records_at_risk.rs`.
    RecordsAtRisk { risk: f64, share: f64 },
    /// See `population_uniqueness.rs`.
    PopulationUniqueness { share: f64, population: u64, estimator: population_uniqueness::Estimator },
}

impl Distribution {
    /// From values and their counts in the whole table. Values are numbers from 0 without large gaps.
    pub fn of(counts: impl IntoIterator<Item = (Value, u64)>) -> Self {
        let counts: Vec<(Value, u64)> = counts.into_iter().collect();
        let total: u64 = counts.iter().map(|(_, count)| count).sum();
        let mut shares = vec![0.0; counts.iter().map(|(value, _)| *value as usize + 1).max().unwrap_or(0)];
        for (value, count) in counts {
            shares[value as usize] += real(count) / real(total.max(1));
        }
        Self { shares, levels: Vec::new() }
    }

    /// Adds a hierarchy over the values: for each level above the values, bottom first, the node of each value.
    #[must_use]
    pub fn with_hierarchy(self, levels: Vec<Vec<u32>>) -> Self {
        Self { levels, ..self }
    }

    /// Share of a value in the whole table.
    pub fn share(&self, value: Value) -> f64 {
        self.shares.get(value as usize).copied().unwrap_or(0.0)
    }

    pub(crate) fn shares(&self) -> &[f64] {
        &self.shares
    }

    pub(crate) fn levels(&self) -> &[Vec<u32>] {
        &self.levels
    }
}

impl Model {
    /// Whether a class meets the condition. `whole`: the sensitive column in the whole table; not looked at by models
    /// without one.
    pub fn holds(&self, class: &Class<'_>, whole: &Distribution) -> bool {
        match *self {
            Self::KAnonymity { k } => k_anonymity::holds(class, k),
            Self::KMap { k } => k_map::holds(class, k),
            Self::DistinctL { l } => l_diversity::distinct(class.sensitive) >= l,
            Self::EntropyL { l } => l_diversity::entropy_holds(class.sensitive, l),
            Self::RecursiveCl { c, l } => l_diversity::recursive_holds(class.sensitive, c, l),
            Self::TCloseness { t, ground } => t_closeness::distance(class.sensitive, whole, ground) <= t,
            Self::DeltaPresence { minimum, maximum } => delta_presence::holds(class, minimum, maximum),
            Self::DeltaDisclosure { delta } => delta_disclosure::disclosure(class.sensitive, whole) < delta,
            Self::BetaLikeness { beta, enhanced } => beta_likeness::holds(class.sensitive, whole, beta, enhanced),
            Self::AlphaK { alpha, value } => alpha_k::holds(class.sensitive, alpha, value),
        }
    }

    /// What the class measures, in the unit of the model's parameter.
    pub fn measure(&self, class: &Class<'_>, whole: &Distribution) -> f64 {
        match *self {
            Self::KAnonymity { .. } => real(class.rows),
            Self::KMap { .. } => real(class.population),
            Self::DistinctL { .. } => real(l_diversity::distinct(class.sensitive)),
            Self::EntropyL { .. } => l_diversity::entropy(class.sensitive).exp(),
            Self::RecursiveCl { l, .. } => l_diversity::recursive(class.sensitive, l),
            Self::TCloseness { ground, .. } => t_closeness::distance(class.sensitive, whole, ground),
            Self::DeltaPresence { .. } => delta_presence::presence(class),
            Self::DeltaDisclosure { .. } => delta_disclosure::disclosure(class.sensitive, whole),
            Self::BetaLikeness { .. } => beta_likeness::gain(class.sensitive, whole),
            Self::AlphaK { value, .. } => alpha_k::confidence(class.sensitive, value),
        }
    }

    /// Whether the model looks at a sensitive column.
    pub const fn needs_sensitive(&self) -> bool {
        !matches!(self, Self::KAnonymity { .. } | Self::KMap { .. } | Self::DeltaPresence { .. })
    }

    /// Whether a class that meets the condition goes on meeting it when other classes, whatever they hold, are merged
    /// into it. Then fewer rows are suppressed the higher the levels, and what is infeasible stays so further down.
    pub const fn grows(&self) -> bool {
        matches!(self, Self::KAnonymity { .. } | Self::KMap { .. } | Self::DistinctL { .. })
    }

    /// Whether a larger measure is better.
    pub const fn larger_is_better(&self) -> bool {
        matches!(self, Self::KAnonymity { .. } | Self::KMap { .. } | Self::DistinctL { .. } | Self::EntropyL { .. })
    }
}

impl TableModel {
    /// Whether the kept classes together meet the condition. An empty table meets every one.
    pub fn holds(&self, classes: &Classes) -> bool {
        match *self {
            Self::AverageRisk { maximum } => average_risk::holds(classes, maximum),
            Self::RecordsAtRisk { risk, share } => records_at_risk::holds(classes, risk, share),
            Self::PopulationUniqueness { share, population, estimator } => {
                population_uniqueness::holds(classes, share, population, estimator)
            }
        }
    }
}
