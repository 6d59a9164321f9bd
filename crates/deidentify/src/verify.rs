//! The independent verifier: recounts a released table itself and shares no code with the search.
//!
//! It reads what is about to leave as text, value by value, and knows neither codes, nor tuples, nor levels. A class is a
//! set of rows with the same bytes in all quasi-identifiers.

use std::collections::BTreeMap;
use std::path::Path;

use acequia_frame::Table;
use acequia_privacy::{Class, Classes, Distribution, Ground, Model, TableModel};
use arrow::array::Array;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use hashbrown::{HashMap, HashTable};

use crate::DeidentifyError;
use crate::hierarchy::Hierarchy;
use crate::policy::{Distance, ModelSpec, Policy, Role};
use crate::verify_population::people;
use crate::verify_values::ValueChecks;

/// What the verifier counted.
#[derive(Debug, Clone, PartialEq)]
pub struct Recount {
    /// Rows of the released table.
    pub rows: u64,
    /// Its equivalence classes.
    pub classes: Classes,
    /// For each sensitive column, the counts of its values in every class.
    pub sensitive: BTreeMap<String, Vec<Vec<(u32, u64)>>>,
    /// The worst class under each further model of the policy, in their order; `None` for a model that needs a table
    /// which was not given.
    pub models: Vec<Option<f64>>,
}

/// What the verifier compares with, beyond the released table.
#[derive(Debug, Default)]
pub struct Beside<'a> {
    /// For each sensitive column, how often each value was in the table before rows were suppressed. Without it, the
    /// released table's own values are taken.
    pub whole: Option<&'a BTreeMap<String, BTreeMap<String, u64>>>,
    /// Hierarchy files that the policy names.
    pub hierarchy_files: Option<&'a BTreeMap<String, Vec<u8>>>,
    /// Table of the population, for models that compare with one: [`ModelSpec::KMap`], [`ModelSpec::DeltaPresence`]. Without
    /// it they are not checked.
    pub population: Option<&'a Path>,
}

/// What stands for a missing sensitive value; no value of a table begins with this character.
pub(crate) const MISSING: &str = "\u{0}missing";

struct Counted {
    key: Box<[u8]>,
    rows: u64,
    /// For each sensitive column, values and counts.
    sensitive: Vec<Vec<(u32, u64)>>,
}

/// Counts classes, one row after the other.
pub struct Recounter {
    sensitive_names: Vec<String>,
    hasher: std::hash::BuildHasherDefault<Fnv>,
    index: HashTable<u32>,
    classes: Vec<Counted>,
    values: Vec<HashMap<Box<str>, u32>>,
    key: Vec<u8>,
    rows: u64,
}

/// Fowler–Noll–Vo over eight bytes at a time: the verifier's own, so that a fault of the search's is not shared.
#[derive(Debug, Clone, Default)]
struct Fnv(u64);

impl std::hash::Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 29)
    }
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.0 = (self.0 ^ u64::from_le_bytes(word)).wrapping_mul(0x0100_0000_01b3).rotate_left(23);
        }
        self.0 = self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

impl Recounter {
    /// For these sensitive columns.
    pub fn new(sensitive: &[&str]) -> Self {
        Self {
            sensitive_names: sensitive.iter().map(|name| (*name).to_owned()).collect(),
            hasher: std::hash::BuildHasherDefault::default(),
            index: HashTable::new(),
            classes: Vec::new(),
            values: vec![HashMap::new(); sensitive.len()],
            key: Vec::new(),
            rows: 0,
        }
    }

    /// Counts one row: its quasi-identifiers and its sensitive values, each in the same order every time.
    pub fn row<'v>(
        &mut self,
        quasi_identifiers: impl IntoIterator<Item = Option<&'v str>>,
        sensitive: impl IntoIterator<Item = Option<&'v str>>,
    ) {
        use std::hash::BuildHasher;
        self.rows += 1;
        self.key.clear();
        for value in quasi_identifiers {
            // The length goes first, so that no two rows can be confused.
            let length = value.map_or(u32::MAX, |value| u32::try_from(value.len()).unwrap_or(u32::MAX - 1));
            self.key.extend_from_slice(&length.to_le_bytes());
            self.key.extend_from_slice(value.unwrap_or_default().as_bytes());
        }
        let (classes, hasher) = (&self.classes, &self.hasher);
        let hash = hasher.hash_one(self.key.as_slice());
        let found = self.index.find(hash, |at| *classes[*at as usize].key == *self.key).copied();
        let at = found.unwrap_or_else(|| {
            let at = u32::try_from(self.classes.len()).expect("fewer than 2^32 classes");
            let sensitive = vec![Vec::new(); self.sensitive_names.len()];
            self.classes.push(Counted { key: self.key.as_slice().into(), rows: 0, sensitive });
            let (classes, hasher) = (&self.classes, &self.hasher);
            self.index.insert_unique(hash, at, |at| hasher.hash_one(&*classes[*at as usize].key));
            at
        });
        let class = &mut self.classes[at as usize];
        class.rows += 1;
        for ((known, counts), value) in self.values.iter_mut().zip(&mut class.sensitive).zip(sensitive) {
            // A missing value is a value: knowing that it is missing is knowing something.
            let text = value.unwrap_or(MISSING);
            let code = match known.get(text) {
                Some(code) => *code,
                None => {
                    let next = u32::try_from(known.len()).expect("fewer than 2^32 values");
                    known.insert(text.into(), next);
                    next
                }
            };
            match counts.iter_mut().find(|(value, _)| *value == code) {
                Some((_, count)) => *count += 1,
                None => counts.push((code, 1)),
            }
        }
    }

    /// Compares what was counted with a policy.
    ///
    /// # Errors
    /// [`DeidentifyError::Recount`] when a class is too small, [`DeidentifyError::NotDiverse`] when it holds too few
    /// values, [`DeidentifyError::Model`] when another model does not hold.
    pub fn finish(mut self, policy: &Policy, beside: &Beside<'_>) -> Result<Recount, DeidentifyError> {
        let classes = Classes::of(self.classes.iter().map(|class| class.rows));
        let required = policy.class_size();
        if let Some(found) = classes.smallest().filter(|found| *found < required) {
            return Err(DeidentifyError::Recount { found, required });
        }
        let mut wholes: Vec<BTreeMap<u32, u64>> = vec![BTreeMap::new(); self.sensitive_names.len()];
        for (at, name) in self.sensitive_names.iter().enumerate() {
            match beside.whole.and_then(|whole| whole.get(name)) {
                Some(counts) => {
                    for (text, count) in counts {
                        let next = u32::try_from(self.values[at].len()).expect("fewer than 2^32 values");
                        let code = *self.values[at].entry(text.as_str().into()).or_insert(next);
                        *wholes[at].entry(code).or_default() += count;
                    }
                }
                None => {
                    for (value, count) in self.classes.iter().flat_map(|class| &class.sensitive[at]) {
                        *wholes[at].entry(*value).or_default() += count;
                    }
                }
            }
        }
        for class in &mut self.classes {
            class.sensitive.iter_mut().for_each(|counts| counts.sort_unstable());
        }
        for (name, required) in &policy.l_diversity {
            let Some(at) = self.sensitive_names.iter().position(|other| other == name) else { continue };
            let found = self.classes.iter().map(|class| class.sensitive[at].len() as u64).min();
            if let Some(found) = found.filter(|found| found < required) {
                return Err(DeidentifyError::NotDiverse { column: name.clone(), found, required: *required });
            }
        }
        let mut models = Vec::new();
        let population = match beside.population {
            Some(path) if policy.models.iter().any(ModelSpec::needs_population) => {
                let keys: Vec<&[u8]> = self.classes.iter().map(|class| &*class.key).collect();
                Some(people(path, policy, beside.hierarchy_files, &keys)?)
            }
            _ => None,
        };
        for spec in &policy.models {
            if let (true, Some(population)) = (spec.needs_population(), &population) {
                models.push(Some(self.check_population(spec, population)?));
                continue;
            }
            models.push(self.check(spec, &classes, &wholes, beside)?);
        }
        let names = self.sensitive_names.iter().enumerate();
        let sensitive = names
            .map(|(at, name)| (name.clone(), self.classes.iter().map(|class| class.sensitive[at].clone()).collect()))
            .collect();
        Ok(Recount { rows: self.rows, classes, sensitive, models })
    }

    /// The worst class under a model, or an error when it does not hold.
    fn check(
        &self,
        spec: &ModelSpec,
        classes: &Classes,
        wholes: &[BTreeMap<u32, u64>],
        beside: &Beside<'_>,
    ) -> Result<Option<f64>, DeidentifyError> {
        let broken = || DeidentifyError::Model { model: spec.words() };
        let on_table =
            |model: TableModel, measured: f64| if model.holds(classes) { Ok(Some(measured)) } else { Err(broken()) };
        let (model, ground) = match spec {
            // Without a population table nothing can be said.
            ModelSpec::KMap { .. } | ModelSpec::DeltaPresence { .. } => return Ok(None),
            // Those of events are recounted with the events.
            ModelSpec::KmAnonymity { .. } | ModelSpec::LkcPrivacy { .. } => return Ok(None),
            ModelSpec::AverageRisk { maximum } => {
                return on_table(TableModel::AverageRisk { maximum: *maximum }, classes.marketer());
            }
            ModelSpec::RecordsAtRisk { risk, share } => {
                let measured = classes.prosecutor(*risk).at_risk_share;
                return on_table(TableModel::RecordsAtRisk { risk: *risk, share: *share }, measured);
            }
            ModelSpec::PopulationUniqueness { share, population, estimator } => {
                let measured = acequia_privacy::population_uniques(classes, *population).share(*estimator);
                let (share, population, estimator) = (*share, *population, *estimator);
                return on_table(TableModel::PopulationUniqueness { share, population, estimator }, measured);
            }
            ModelSpec::DistinctL { l, .. } => (Model::DistinctL { l: *l }, None),
            ModelSpec::EntropyL { l, .. } => (Model::EntropyL { l: *l }, None),
            ModelSpec::RecursiveCl { c, l, .. } => (Model::RecursiveCl { c: *c, l: *l }, None),
            ModelSpec::TCloseness { t, distance, hierarchy, .. } => {
                let ground = match distance {
                    Distance::Equal => Ground::Equal,
                    Distance::Ordered => Ground::Ordered,
                    Distance::Hierarchical => Ground::Hierarchical,
                };
                (Model::TCloseness { t: *t, ground }, Some((ground, hierarchy.as_ref())))
            }
            ModelSpec::DeltaDisclosure { delta, .. } => (Model::DeltaDisclosure { delta: *delta }, None),
            ModelSpec::BetaLikeness { beta, enhanced, .. } => {
                (Model::BetaLikeness { beta: *beta, enhanced: *enhanced }, None)
            }
            ModelSpec::AlphaK { alpha, value, column } => {
                let at = self.sensitive_names.iter().position(|name| name == column).ok_or_else(broken)?;
                let code = value.as_ref().map(|value| self.values[at].get(value.as_str()).copied().unwrap_or(u32::MAX));
                (Model::AlphaK { alpha: *alpha, value: code }, None)
            }
        };
        let at =
            self.sensitive_names.iter().position(|name| Some(name.as_str()) == spec.column()).ok_or_else(broken)?;
        // Ordered distances need values in their order; the others do not mind.
        let place = order(&self.values[at]);
        let mut whole = Distribution::of(wholes[at].iter().map(|(value, count)| (place[*value as usize], *count)));
        if let Some((Ground::Hierarchical, Some(hierarchy))) = ground {
            let none = BTreeMap::new();
            let name = &self.sensitive_names[at];
            let hierarchy = Hierarchy::build(name, hierarchy, beside.hierarchy_files.unwrap_or(&none))?;
            whole = whole.with_hierarchy(self.nodes(at, &place, &hierarchy)?);
        }
        let named = |model: Model| match model {
            Model::AlphaK { alpha, value } => Model::AlphaK {
                alpha,
                value: value.map(|value| place.get(value as usize).copied().unwrap_or(u32::MAX)),
            },
            other => other,
        };
        let model = named(model);
        let mut worst: Option<f64> = None;
        for class in &self.classes {
            let mut sensitive: Vec<(u32, u64)> =
                class.sensitive[at].iter().map(|(value, count)| (place[*value as usize], *count)).collect();
            sensitive.sort_unstable();
            let class = Class { rows: class.rows, population: class.rows, sensitive: &sensitive };
            if !model.holds(&class, &whole) {
                return Err(broken());
            }
            let measured = model.measure(&class, &whole);
            worst = Some(worst.map_or(measured, |worst| {
                if model.larger_is_better() { worst.min(measured) } else { worst.max(measured) }
            }));
        }
        Ok(Some(worst.unwrap_or(0.0)))
    }

    /// The worst class under a model that compares with a population, or an error when it does not hold. `population`:
    /// people whom each class could hold.
    fn check_population(&self, spec: &ModelSpec, population: &[u64]) -> Result<f64, DeidentifyError> {
        let model = match spec {
            ModelSpec::KMap { k } => Model::KMap { k: *k },
            ModelSpec::DeltaPresence { minimum, maximum } => {
                Model::DeltaPresence { minimum: *minimum, maximum: *maximum }
            }
            _ => return Err(DeidentifyError::Model { model: spec.words() }),
        };
        let none = Distribution::default();
        let mut worst: Option<f64> = None;
        for (class, people) in self.classes.iter().zip(population) {
            let class = Class { rows: class.rows, population: *people, sensitive: &[] };
            if !model.holds(&class, &none) {
                return Err(DeidentifyError::Model { model: spec.words() });
            }
            let measured = model.measure(&class, &none);
            worst = Some(worst.map_or(measured, |worst| {
                if model.larger_is_better() { worst.min(measured) } else { worst.max(measured) }
            }));
        }
        Ok(worst.unwrap_or(0.0))
    }

    /// For each level of a hierarchy above the values, the node of each value, by place.
    fn nodes(&self, at: usize, place: &[u32], hierarchy: &Hierarchy) -> Result<Vec<Vec<u32>>, DeidentifyError> {
        let mut texts: Vec<&str> = vec![""; place.len()];
        for (text, code) in &self.values[at] {
            texts[place[*code as usize] as usize] = text;
        }
        let column = &self.sensitive_names[at];
        (1..hierarchy.levels())
            .map(|level| {
                let mut numbers: BTreeMap<String, u32> = BTreeMap::new();
                texts
                    .iter()
                    .map(|text| {
                        let missing = *text == MISSING;
                        let above = || if level + 1 == hierarchy.levels() { hierarchy.root() } else { MISSING };
                        let label = if missing { Some(above().to_owned()) } else { hierarchy.label(text, level) };
                        let label =
                            label.ok_or_else(|| DeidentifyError::NotInHierarchy { row: 0, column: column.clone() })?;
                        let next = u32::try_from(numbers.len()).expect("fewer than 2^32 nodes");
                        Ok(*numbers.entry(label).or_insert(next))
                    })
                    .collect()
            })
            .collect()
    }
}

/// The place of each value in the order of values: numbers by size when all are numbers, texts otherwise.
fn order(values: &HashMap<Box<str>, u32>) -> Vec<u32> {
    let mut sorted: Vec<(&str, u32)> = values.iter().map(|(text, code)| (&**text, *code)).collect();
    // A missing value comes before all others, as it does in the search.
    let number = |text: &str| if text == MISSING { Some(f64::NEG_INFINITY) } else { text.trim().parse::<f64>().ok() };
    if sorted.iter().all(|(text, _)| number(text).is_some_and(|number| !number.is_nan())) {
        sorted.sort_by(|a, b| number(a.0).unwrap_or(0.0).total_cmp(&number(b.0).unwrap_or(0.0)));
    } else {
        sorted.sort_unstable();
    }
    let mut place = vec![0; sorted.len()];
    for (at, (_, code)) in (0..).zip(sorted) {
        place[code as usize] = at;
    }
    place
}

/// Recounts a released table and checks that it satisfies the policy.
///
/// # Errors
/// [`DeidentifyError::Columns`] when a column is there that the policy removes, or does not know; those of
/// [`Recounter::finish`].
pub fn verify(table: &Table, policy: &Policy, beside: &Beside<'_>) -> Result<Recount, DeidentifyError> {
    for field in table.schema().fields() {
        let role = policy.columns.get(field.name()).map(|column| column.role);
        if !matches!(role, Some(Role::QuasiIdentifier | Role::Sensitive | Role::Insensitive)) {
            return Err(DeidentifyError::Columns {
                column: field.name().clone(),
                problem: "released although the policy removes it",
            });
        }
    }
    let quasi_identifiers: Vec<&str> = policy.of_role(Role::QuasiIdentifier).map(|(name, _)| name).collect();
    let sensitive: Vec<&str> = policy.of_role(Role::Sensitive).map(|(name, _)| name).collect();
    let (keys, values) = (strings(table, &quasi_identifiers)?, strings(table, &sensitive)?);
    ValueChecks::of_table(policy, table, beside.hierarchy_files)?;
    let mut recounter = Recounter::new(&sensitive);
    for (key, values) in keys.iter().zip(&values) {
        recounter.row(key.iter().map(Option::as_deref), values.iter().map(Option::as_deref));
    }
    recounter.finish(policy, beside)
}

pub(crate) fn strings(table: &Table, names: &[&str]) -> Result<Vec<Vec<Option<String>>>, DeidentifyError> {
    let options = FormatOptions::default();
    let mut rows = vec![Vec::with_capacity(names.len()); table.rows()];
    for name in names {
        let column = table.column(name)?;
        let problem = "the type cannot be read as text";
        let formatter = ArrayFormatter::try_new(column.as_ref(), &options)
            .map_err(|_| DeidentifyError::Type { column: (*name).to_owned(), problem })?;
        for (row, key) in rows.iter_mut().enumerate() {
            key.push(column.is_valid(row).then(|| formatter.value(row).to_string()));
        }
    }
    Ok(rows)
}
