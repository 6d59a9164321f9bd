//! From coded columns to a recoding: what the course, the command line and the benchmarks share.

use std::collections::BTreeMap;
use std::sync::Arc;

use acequia_privacy::{Classes, Distribution, Ground, Model, TableModel};

use crate::DeidentifyError;
use crate::coded::CodedColumn;
use crate::encode::QuasiIdentifier;
use crate::grouping::{Field, Groups, Histograms, Key, Scratch};
use crate::hierarchy::Hierarchy;
use crate::policy::{Distance, ModelSpec, Policy, Recoding, Role};
use crate::search::{Conditions, Goal, Lattice, Local, NOWHERE, Sensitive, recode_locally, search, with_words};

/// A table ready for the search.
pub(crate) struct Prepared {
    pub(crate) columns: Vec<QuasiIdentifier>,
    pub(crate) sensitive: BTreeMap<String, CodedColumn>,
    pub(crate) rows: usize,
    all_rows: usize,
}

/// Codes of the distinct tuples and how many rows have them.
#[derive(Debug, Default)]
pub(crate) struct Tuples {
    /// Words of each key, one key after the other.
    words: Vec<u64>,
    /// Words of one key.
    stride: usize,
    fields: Vec<Field>,
    pub(crate) rows: Vec<u32>,
    /// Rows that are kept out beside the suppressed ones, for the sake of earlier versions; `rows` does not count them.
    pub(crate) withheld: u64,
    /// Rows of the population table; empty without one.
    pub(crate) population: Vec<u32>,
}

impl Tuples {
    pub(crate) fn of<const W: usize>(lattice: &Lattice<'_>, groups: Groups<W>) -> Self {
        let Groups { keys, rows, population, .. } = groups;
        Self { words: keys.into_flattened(), stride: W, fields: lattice.fields.clone(), rows, withheld: 0, population }
    }

    pub(crate) fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The tuple with a key. Keys are in order.
    pub(crate) fn find<const W: usize>(&self, key: &Key<W>) -> Option<usize> {
        self.words.as_chunks::<W>().0.binary_search(key).ok()
    }

    #[inline]
    pub(crate) fn code(&self, tuple: usize, column: usize) -> usize {
        self.fields[column].get_from(&self.words[tuple * self.stride..])
    }
}

/// A recoding that was found.
pub(crate) struct Recoded {
    pub(crate) columns: Vec<QuasiIdentifier>,
    /// Distinct tuple of each row; empty where rows lie on disk.
    pub(crate) of_row: Vec<u32>,
    pub(crate) tuples: Tuples,
    pub(crate) local: Local,
    pub(crate) rows: usize,
    /// Combinations there are.
    pub(crate) combinations: u64,
    /// Classes before.
    pub(crate) before: Classes,
}

impl Prepared {
    pub(crate) fn lattice(&self) -> Lattice<'_> {
        Lattice::new(&self.columns, self.rows, self.all_rows)
    }

    /// Builds the hierarchies. `codes`: gives a column of the table; where a population table is compared with, its rows
    /// follow the table's.
    pub(crate) fn new(
        policy: &Policy,
        hierarchy_files: &BTreeMap<String, Vec<u8>>,
        rows: usize,
        mut codes: impl FnMut(&str) -> Result<Arc<CodedColumn>, DeidentifyError>,
    ) -> Result<Self, DeidentifyError> {
        let mut columns = Vec::new();
        for (name, column) in policy.of_role(Role::QuasiIdentifier) {
            let Some(spec) = &column.hierarchy else { continue };
            let hierarchy = Hierarchy::build(name, spec, hierarchy_files)?;
            columns.push(QuasiIdentifier::new(codes(name)?, column, hierarchy, policy.class_size())?);
        }
        let mut sensitive = BTreeMap::new();
        let of_models = policy.models.iter().filter_map(ModelSpec::column);
        for name in policy.l_diversity.keys().map(String::as_str).chain(of_models) {
            if !sensitive.contains_key(name) {
                sensitive.insert(name.to_owned(), Arc::unwrap_or_clone(codes(name)?).in_natural_order());
            }
        }
        let all_rows = columns.first().map_or(rows, |column| column.coded.codes.len());
        Ok(Self { columns, sensitive, rows, all_rows })
    }

    /// The conditions of a policy, and the names of the sensitive columns in their order.
    pub(crate) fn conditions(
        &self,
        policy: &Policy,
        hierarchy_files: &BTreeMap<String, Vec<u8>>,
    ) -> Result<Conditions, DeidentifyError> {
        let mut conditions =
            Conditions { sizes: vec![Model::KAnonymity { k: policy.class_size() }], ..Conditions::default() };
        for model in &policy.models {
            match model {
                ModelSpec::KMap { k } => conditions.sizes.push(Model::KMap { k: *k }),
                ModelSpec::DeltaPresence { minimum, maximum } => {
                    conditions.sizes.push(Model::DeltaPresence { minimum: *minimum, maximum: *maximum });
                }
                ModelSpec::AverageRisk { maximum } => {
                    conditions.table.push(TableModel::AverageRisk { maximum: *maximum });
                }
                ModelSpec::RecordsAtRisk { risk, share } => {
                    conditions.table.push(TableModel::RecordsAtRisk { risk: *risk, share: *share });
                }
                ModelSpec::PopulationUniqueness { share, population, estimator } => {
                    conditions.table.push(TableModel::PopulationUniqueness {
                        share: *share,
                        population: *population,
                        estimator: *estimator,
                    });
                }
                _ => {}
            }
        }
        for (name, column) in &self.sensitive {
            let mut models: Vec<Model> =
                policy.l_diversity.get(name).map(|l| Model::DistinctL { l: *l }).into_iter().collect();
            let mut whole = Distribution::of((0..).zip(column.counts.iter().copied()));
            for spec in policy.models.iter().filter(|spec| spec.column() == Some(name)) {
                models.extend(class_model(spec, column));
                models.extend(crate::events::class_models(spec, column));
                if let ModelSpec::TCloseness { hierarchy: Some(spec), .. } = spec {
                    whole = whole.with_hierarchy(nodes(column, &Hierarchy::build(name, spec, hierarchy_files)?)?);
                }
            }
            conditions.sensitive.push(Sensitive { whole, models });
        }
        Ok(conditions)
    }

    /// Finds the recoding that a policy asks for.
    pub(crate) fn recode(
        self,
        policy: &Policy,
        hierarchy_files: &BTreeMap<String, Vec<u8>>,
    ) -> Result<Recoded, DeidentifyError> {
        let conditions = self.conditions(policy, hierarchy_files)?;
        let words = self.lattice().words;
        let goal = Goal { metric: policy.metric, limit: suppression_limit(policy, self.rows) };
        let (of_row, placed) = with_words!(words, place_rows(&self, &conditions, policy, goal));
        self.released(policy, goal, of_row, placed)
    }

    /// What becomes of the table, if enough of it is left.
    pub(crate) fn released(
        self,
        policy: &Policy,
        goal: Goal,
        of_row: Vec<u32>,
        placed: Placed,
    ) -> Result<Recoded, DeidentifyError> {
        let Placed { tuples, local, before, combinations } = placed;
        if local.suppressed > goal.limit || (local.combinations.is_empty() && self.rows > 0) {
            return Err(DeidentifyError::Unreachable {
                k: policy.class_size(),
                limit: goal.limit,
                rows: self.rows as u64,
            });
        }
        Ok(Recoded { columns: self.columns, of_row, tuples, local, rows: self.rows, combinations, before })
    }

    /// The best levels for several goals at once: level of each quasi-identifier in order of name, score, rows suppressed.
    pub(crate) fn optima(
        &self,
        policy: &Policy,
        hierarchy_files: &BTreeMap<String, Vec<u8>>,
        goals: &[Goal],
    ) -> Result<crate::search::Outcome, DeidentifyError> {
        fn run<const W: usize>(
            prepared: &Prepared,
            conditions: &Conditions,
            goals: &[Goal],
            effort: u64,
        ) -> crate::search::Outcome {
            let lattice = prepared.lattice();
            let (tuples, _) = prepared.tuples::<W>(&lattice);
            search(&lattice, &tuples, conditions, goals, effort)
        }
        let conditions = self.conditions(policy, hierarchy_files)?;
        let words = self.lattice().words;
        Ok(with_words!(words, run(self, &conditions, goals, policy.effort)))
    }

    /// Columns that conditions look at, in their order.
    pub(crate) fn sensitive_names(&self) -> impl Iterator<Item = &str> {
        self.sensitive.keys().map(String::as_str)
    }

    /// How often each value of a sensitive column is in the table.
    pub(crate) fn whole(&self) -> BTreeMap<String, BTreeMap<String, u64>> {
        let count = |column: &CodedColumn| {
            let values =
                column.values.iter().map(|value| value.as_deref().unwrap_or(crate::verify::MISSING).to_owned());
            values.zip(column.counts.iter().copied()).filter(|(_, count)| *count > 0).collect::<BTreeMap<_, _>>()
        };
        self.sensitive.iter().map(|(name, column)| (name.clone(), count(column))).collect()
    }

    /// Distinct tuples with what the conditions look at, and the tuple of each row.
    pub(crate) fn tuples<const W: usize>(&self, lattice: &Lattice<'_>) -> (Groups<W>, Vec<u32>) {
        let (mut tuples, mut of_row) = lattice.tuples::<W>();
        if of_row.len() > self.rows {
            // Rows of the population table follow those of the table.
            tuples.population = std::mem::replace(&mut tuples.rows, vec![0; tuples.keys.len()]);
            for tuple in &of_row[..self.rows] {
                tuples.rows[*tuple as usize] += 1;
            }
            for (population, rows) in tuples.population.iter_mut().zip(&tuples.rows) {
                *population -= rows;
            }
            of_row.truncate(self.rows);
        }
        for column in self.sensitive.values() {
            let mut pairs: Vec<(u32, u32)> =
                of_row.iter().zip(&column.codes).map(|(tuple, value)| (*tuple, *value)).collect();
            pairs.sort_unstable();
            let mut groups = vec![Vec::new(); tuples.len()];
            for same in pairs.chunk_by(|a, b| a == b) {
                groups[same[0].0 as usize].push((same[0].1, same.len() as u64));
            }
            tuples.sensitive.push(Histograms::new(groups));
        }
        (tuples, of_row)
    }
}

/// Where every distinct tuple goes.
pub(crate) struct Placed {
    pub(crate) tuples: Tuples,
    pub(crate) local: Local,
    pub(crate) before: Classes,
    pub(crate) combinations: u64,
}

/// Finds a place for each distinct tuple.
pub(crate) fn place<const W: usize>(
    lattice: &Lattice<'_>,
    tuples: Groups<W>,
    conditions: &Conditions,
    policy: &Policy,
    goal: Goal,
) -> Placed {
    let before = Classes::of(tuples.rows.iter().filter(|rows| **rows > 0).map(|rows| u64::from(*rows)));
    let local = match policy.recoding {
        Recoding::Local => {
            let local = recode_locally(lattice, &tuples, conditions);
            // The last rows that are alike nobody can be too many, where the same levels for all leave none.
            if local.suppressed > goal.limit {
                Local { score: None, ..place_alike(lattice, &tuples, conditions, policy, goal) }
            } else {
                local
            }
        }
        Recoding::Global => place_alike(lattice, &tuples, conditions, policy, goal),
    };
    Placed { tuples: Tuples::of(lattice, tuples), local, before, combinations: lattice.size() }
}

/// All rows at the same levels, the best there are.
fn place_alike<const W: usize>(
    lattice: &Lattice<'_>,
    tuples: &Groups<W>,
    conditions: &Conditions,
    policy: &Policy,
    goal: Goal,
) -> Local {
    let outcome = search(lattice, tuples, conditions, &[goal], policy.effort);
    match outcome.found.into_iter().next().flatten() {
        Some(found) => {
            let of_tuple = apply(lattice, tuples, conditions, &found.levels);
            let (combinations, suppressed) = (vec![found.levels], found.suppressed);
            let score = Some((found.score, found.least_score));
            Local { combinations, of_tuple, suppressed, counted: outcome.counted, score }
        }
        None => {
            let suppressed = lattice.rows;
            Local { suppressed, counted: outcome.counted, ..Local::nowhere(tuples.len()) }
        }
    }
}

fn place_rows<const W: usize>(
    prepared: &Prepared,
    conditions: &Conditions,
    policy: &Policy,
    goal: Goal,
) -> (Vec<u32>, Placed) {
    let lattice = prepared.lattice();
    let (tuples, of_row) = prepared.tuples::<W>(&lattice);
    (of_row, place(&lattice, tuples, conditions, policy, goal))
}

/// Which tuples are kept at one combination of levels.
pub(crate) fn apply<const W: usize>(
    lattice: &Lattice<'_>,
    tuples: &Groups<W>,
    conditions: &Conditions,
    levels: &[usize],
) -> Vec<u32> {
    let mut scratch = Scratch::default();
    let classes = lattice.at_levels(tuples, levels, &mut scratch);
    let outside = conditions.outside(&classes, |key| *key);
    scratch.new_groups().iter().map(|class| if outside[*class as usize] { NOWHERE } else { 0 }).collect()
}

/// Rows that a policy lets be suppressed.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a share of rows"
)]
pub(crate) fn suppression_limit(policy: &Policy, rows: usize) -> u64 {
    (policy.suppression_limit * rows as f64).floor() as u64
}

/// The condition that a specification puts on classes.
pub(crate) fn class_model(spec: &ModelSpec, column: &CodedColumn) -> Option<Model> {
    Some(match spec {
        ModelSpec::DistinctL { l, .. } => Model::DistinctL { l: *l },
        ModelSpec::EntropyL { l, .. } => Model::EntropyL { l: *l },
        ModelSpec::RecursiveCl { c, l, .. } => Model::RecursiveCl { c: *c, l: *l },
        ModelSpec::TCloseness { t, distance, .. } => Model::TCloseness {
            t: *t,
            ground: match distance {
                Distance::Equal => Ground::Equal,
                Distance::Ordered => Ground::Ordered,
                Distance::Hierarchical => Ground::Hierarchical,
            },
        },
        ModelSpec::DeltaDisclosure { delta, .. } => Model::DeltaDisclosure { delta: *delta },
        ModelSpec::BetaLikeness { beta, enhanced, .. } => Model::BetaLikeness { beta: *beta, enhanced: *enhanced },
        ModelSpec::AlphaK { alpha, value, .. } => {
            let code = |value: &String| column.values.iter().position(|other| other.as_deref() == Some(value));
            // A value that does not occur bounds nothing: no class can have it.
            let value =
                value.as_ref().map(|value| code(value).and_then(|at| u32::try_from(at).ok()).unwrap_or(u32::MAX));
            Model::AlphaK { alpha: *alpha, value }
        }
        ModelSpec::KMap { .. }
        | ModelSpec::DeltaPresence { .. }
        | ModelSpec::AverageRisk { .. }
        | ModelSpec::RecordsAtRisk { .. }
        | ModelSpec::PopulationUniqueness { .. }
        | ModelSpec::KmAnonymity { .. }
        | ModelSpec::LkcPrivacy { .. } => return None,
    })
}

/// For each level above the values, the node of each value.
pub(crate) fn nodes(column: &CodedColumn, hierarchy: &Hierarchy) -> Result<Vec<Vec<u32>>, DeidentifyError> {
    let mut levels = Vec::new();
    for level in 1..hierarchy.levels() {
        let mut numbers = BTreeMap::new();
        let mut nodes = Vec::with_capacity(column.values.len());
        for (code, value) in column.values.iter().enumerate() {
            let label = match value {
                None if level + 1 == hierarchy.levels() => Some(hierarchy.root().to_owned()),
                None => Some(String::new()),
                Some(value) => hierarchy.label(value, level),
            };
            let label = label.ok_or_else(|| DeidentifyError::NotInHierarchy {
                row: column.row_of(code),
                column: column.name.clone(),
            })?;
            let next = u32::try_from(numbers.len()).expect("fewer than 2^32 nodes");
            nodes.push(*numbers.entry(label).or_insert(next));
        }
        levels.push(nodes);
    }
    Ok(levels)
}

impl Recoded {
    /// Level of a column for a row; `None` when the row is suppressed.
    pub(crate) fn level(&self, row: usize, column: usize) -> Option<usize> {
        let combination = self.local.of_tuple[self.of_row[row] as usize];
        self.local.combinations.get(combination as usize).map(|levels| levels[column])
    }

    /// What a row holds in a column after recoding: `None` is missing.
    pub(crate) fn label(&self, row: usize, at: usize, level: usize) -> Option<&str> {
        let column = &self.columns[at];
        let code = self.tuples.code(self.of_row[row] as usize, at);
        let group = column.groups[level][code];
        column.labels[level][group as usize].as_deref()
    }

    /// Rows that are kept, in order.
    pub(crate) fn kept(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.rows).filter(|row| self.local.of_tuple[self.of_row[*row] as usize] != NOWHERE)
    }

    /// Lowest and highest level of a column over all combinations in use.
    pub(crate) fn levels_used(&self, column: usize) -> (usize, usize) {
        let levels = || self.local.combinations.iter().map(|levels| levels[column]);
        (levels().min().unwrap_or(0), levels().max().unwrap_or(0))
    }

    /// Leaves that the rows of a column stand for together, suppressed ones for all.
    pub(crate) fn covered_sum(&self, column: usize, with_suppressed: bool) -> u128 {
        let at = &self.columns[column];
        let leaves = |tuple: usize| match self.local.combinations.get(self.local.of_tuple[tuple] as usize) {
            Some(levels) => {
                let level = levels[column];
                at.covered[level][at.groups[level][self.tuples.code(tuple, column)] as usize]
            }
            None if with_suppressed => at.leaves,
            None => 0,
        };
        let rows = self.tuples.rows.iter().enumerate().filter(|(_, rows)| **rows > 0);
        let withheld = if with_suppressed { u128::from(self.tuples.withheld) * u128::from(at.leaves) } else { 0 };
        withheld + rows.map(|(tuple, rows)| u128::from(*rows) * u128::from(leaves(tuple))).sum::<u128>()
    }
}
