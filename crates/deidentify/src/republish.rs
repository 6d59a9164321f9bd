//! A version beside earlier ones: recoded so that people stay in their classes, and judged together with all of them.
//!
//! Classes made anew for each version would cross the earlier ones, and few people would share both. So whoever is known
//! keeps the generalised values of the last version that had them, as long as the class still meets the conditions, and
//! newcomers are placed among themselves. With `recoding = "global"` everybody keeps the earlier levels. What still exposes
//! somebody beside an earlier version is withheld: see [`acequia_privacy::republication`].

use std::collections::{BTreeMap, BTreeSet};

use acequia_frame::Table;
use acequia_privacy::republication::{Remaining, Republication, Version, exposed, withhold};
use acequia_privacy::{Classes, Distribution};
use hashbrown::HashMap;
use serde::{Deserialize, Serialize};

use crate::DeidentifyError;
use crate::coded::CodedColumn;
use crate::engine::{Placed, Prepared, Recoded, Tuples, apply, place, suppression_limit};
use crate::grouping::{Groups, Histograms, Scratch};
use crate::policy::{Policy, Recoding, Role};
use crate::search::{Conditions, Goal, Lattice, Local, NOWHERE, recode_locally, with_words};

/// How a version must stand beside the earlier ones of its data set. Unknown keys are refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ledger {
    /// What must hold beside the number of candidates.
    #[serde(default)]
    pub rule: LedgerRule,
    /// Candidates that must remain of everybody when versions are compared; the policy's smallest class without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub k: Option<u64>,
    /// For m-invariance: different values in every class.
    #[serde(default = "two")]
    pub m: u64,
    /// For m-invariance: sensitive columns; those of `l_diversity` without it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<String>,
    /// Largest share of rows that may be withheld for the sake of the earlier versions.
    #[serde(default = "fifth")]
    pub withhold_limit: f64,
}

fn two() -> u64 {
    2
}

fn fifth() -> f64 {
    0.2
}

impl Default for Ledger {
    fn default() -> Self {
        Self { rule: LedgerRule::default(), k: None, m: two(), columns: Vec::new(), withhold_limit: fifth() }
    }
}

/// What must hold of versions together. Under every rule, everybody shares the whole history of classes with at least k
/// persons, and among those the sensitive values are as different as `l_diversity` asks of a class.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LedgerRule {
    /// No more than that: no intersection of classes and no difference of versions leaves fewer.
    #[default]
    Intersection,
    /// The class of a person also holds the same set of sensitive values in each version (Xiao and Tao, SIGMOD 2007).
    MInvariance,
    /// The generalised values of a person also never change. Whose recorded values changed stays out.
    FixedRecoding,
}

impl Ledger {
    /// Refuses settings that contradict themselves or the policy.
    ///
    /// # Errors
    /// [`DeidentifyError::Policy`].
    pub fn check(&self, policy: &Policy) -> Result<(), DeidentifyError> {
        let wrong = |message: String| Err(DeidentifyError::Policy { message });
        if self.k == Some(0) || self.m == 0 {
            return wrong("ledger: k and m must be at least 1".to_owned());
        }
        if !(0.0..=1.0).contains(&self.withhold_limit) {
            return wrong("ledger: withhold_limit must be from 0 to 1".to_owned());
        }
        let sensitive = |name: &String| policy.columns.get(name).is_some_and(|column| column.role == Role::Sensitive);
        if let Some(name) = self.columns.iter().find(|name| !sensitive(name)) {
            return wrong(format!("ledger: {name} is no sensitive column"));
        }
        if self.rule == LedgerRule::MInvariance && self.columns.is_empty() && policy.l_diversity.is_empty() {
            return wrong("ledger: m-invariance needs columns, or l_diversity of the policy".to_owned());
        }
        Ok(())
    }
}

/// A version that is out.
#[derive(Debug)]
pub struct EarlierVersion {
    /// One number per person, the same in all versions of a data set.
    pub assignment: Vec<u64>,
    /// Its rows, in the order of `assignment`; `None` when only the persons are known, released or not.
    pub rows: Option<EarlierRows>,
}

/// Rows of a version that is out.
#[derive(Debug)]
pub struct EarlierRows {
    /// The table as it was released.
    pub table: Table,
    /// Its quasi-identifiers.
    pub quasi_identifiers: Vec<String>,
}

/// Labels of a class by column.
type Labels = BTreeMap<String, Option<String>>;

/// Numbers classes and sensitive values alike in all versions, by what is written in their rows.
struct Registry {
    numbers: HashMap<Vec<(String, Option<String>)>, u32>,
    labels: Vec<Labels>,
    sensitive: Vec<String>,
    values: Vec<HashMap<Option<String>, u32>>,
}

impl Registry {
    fn new(policy: &Policy) -> Self {
        let sensitive: Vec<String> = policy.of_role(Role::Sensitive).map(|(name, _)| name.to_owned()).collect();
        let values = vec![HashMap::new(); sensitive.len()];
        Self { numbers: HashMap::new(), labels: Vec::new(), sensitive, values }
    }

    fn all(&mut self, earlier: &[EarlierVersion]) -> Result<Vec<Version>, DeidentifyError> {
        let version = |version: &EarlierVersion| match &version.rows {
            Some(rows) => Ok(self.version(&rows.table, &rows.quasi_identifiers, &version.assignment)?.0),
            None => Ok(Version::of_persons(version.assignment.iter().copied())),
        };
        earlier.iter().map(version).collect()
    }

    /// A version, and the class of each row of its table.
    fn version(
        &mut self,
        table: &Table,
        quasi_identifiers: &[String],
        assignment: &[u64],
    ) -> Result<(Version, Vec<u32>), DeidentifyError> {
        let mut columns = Vec::with_capacity(quasi_identifiers.len());
        for name in quasi_identifiers {
            columns.push(CodedColumn::of(table, name)?);
        }
        let mut known: HashMap<Vec<u32>, u32> = HashMap::new();
        let mut classes = Vec::with_capacity(table.rows());
        for row in 0..table.rows() {
            let codes: Vec<u32> = columns.iter().map(|column| column.codes[row]).collect();
            classes.push(match known.get(&codes) {
                Some(class) => *class,
                None => {
                    let label = |column: &CodedColumn| (column.name.clone(), column.value(row).map(str::to_owned));
                    let mut labels: Vec<(String, Option<String>)> = columns.iter().map(label).collect();
                    labels.sort_unstable();
                    let next = u32::try_from(self.labels.len()).expect("fewer than 2^32 classes");
                    let class = *self.numbers.entry(labels.clone()).or_insert(next);
                    if class == next {
                        self.labels.push(labels.into_iter().collect());
                    }
                    known.insert(codes, class);
                    class
                }
            });
        }
        let mut sensitive = Vec::with_capacity(self.sensitive.len());
        for (name, known) in self.sensitive.iter().zip(&mut self.values) {
            // A column that the earlier version did not have tells nothing about it.
            if table.column(name).is_err() {
                continue;
            }
            let column = CodedColumn::of(table, name)?;
            let number = |value: &Option<Box<str>>| {
                let next = u32::try_from(known.len()).expect("fewer than 2^32 values");
                *known.entry(value.as_deref().map(str::to_owned)).or_insert(next)
            };
            let numbers: Vec<u32> = column.values.iter().map(number).collect();
            sensitive.push(column.codes.iter().map(|code| numbers[*code as usize]).collect::<Vec<u32>>());
        }
        let complete = sensitive.len() == self.sensitive.len();
        let row = |(row, person): (usize, &u64)| {
            let values = if complete { sensitive.iter().map(|values| values[row]).collect() } else { Vec::new() };
            (*person, classes[row], values)
        };
        let version = Version::of(assignment.iter().enumerate().map(row));
        Ok((version, classes))
    }

    fn remaining(&self, policy: &Policy, ledger: &Ledger) -> (Remaining, Republication) {
        let l = self.sensitive.iter().map(|name| policy.l_diversity.get(name).copied().unwrap_or(1)).collect();
        let remaining = Remaining { k: ledger.k.unwrap_or_else(|| policy.class_size()), l };
        let named = |name: &String| match ledger.columns.is_empty() {
            true => policy.l_diversity.contains_key(name),
            false => ledger.columns.contains(name),
        };
        let rule = match ledger.rule {
            LedgerRule::Intersection => Republication::Histories,
            LedgerRule::FixedRecoding => Republication::FixedRecoding,
            LedgerRule::MInvariance => {
                let columns = self.sensitive.iter().enumerate().filter(|(_, name)| named(name));
                Republication::MInvariance { m: ledger.m, columns: columns.map(|(at, _)| at).collect() }
            }
        };
        (remaining, rule)
    }
}

/// Finds a recoding in which people keep the generalised values they had.
pub(crate) fn recode_beside(
    prepared: Prepared,
    policy: &Policy,
    hierarchy_files: &BTreeMap<String, Vec<u8>>,
    assignment: &[u64],
    earlier: &[EarlierVersion],
) -> Result<Recoded, DeidentifyError> {
    let mut registry = Registry::new(policy);
    let mut last: HashMap<u64, u32> = HashMap::new();
    for version in earlier {
        if let Some(rows) = &version.rows {
            let (_, classes) = registry.version(&rows.table, &rows.quasi_identifiers, &version.assignment)?;
            last.extend(version.assignment.iter().copied().zip(classes));
        }
    }
    let class: Vec<Option<u32>> = assignment.iter().map(|person| last.get(person).copied()).collect();
    if class.iter().all(Option::is_none) {
        return prepared.recode(policy, hierarchy_files);
    }
    let conditions = prepared.conditions(policy, hierarchy_files)?;
    let words = prepared.lattice().words;
    let goal = Goal { metric: policy.metric, limit: suppression_limit(policy, prepared.rows) };
    let (of_row, placed) =
        with_words!(words, place_beside(&prepared, &conditions, policy, goal, &class, &registry.labels));
    prepared.released(policy, goal, of_row, placed)
}

/// For each column, the levels at which a code has the label of a class; nothing when a column has none.
fn levels_with(lattice: &Lattice<'_>, codes: impl Fn(usize) -> usize, labels: &Labels) -> Option<Vec<Vec<usize>>> {
    if labels.len() != lattice.columns.len() {
        return None;
    }
    let fitting = |(at, column): (usize, &crate::encode::QuasiIdentifier)| {
        let label = labels.get(&column.coded.name)?;
        let code = codes(at);
        let has = |level: &usize| column.labels[*level][column.groups[*level][code] as usize] == *label;
        let levels: Vec<usize> = (column.minimum_level..column.levels()).filter(has).collect();
        (!levels.is_empty()).then_some(levels)
    };
    lattice.columns.iter().enumerate().map(fitting).collect()
}

fn place_beside<const W: usize>(
    prepared: &Prepared,
    conditions: &Conditions,
    policy: &Policy,
    goal: Goal,
    class: &[Option<u32>],
    labels: &[Labels],
) -> (Vec<u32>, Placed) {
    let lattice = prepared.lattice();
    let (tuples, of_row) = prepared.tuples::<W>(&lattice);
    let before = Classes::of(tuples.rows.iter().map(|rows| u64::from(*rows)));
    // Rows of one tuple can have been in different classes, so both together are told apart from here on.
    let mut units: Vec<(u32, Option<u32>)> = of_row.iter().copied().zip(class.iter().copied()).collect();
    units.sort_unstable();
    units.dedup();
    let fits: Vec<Option<Vec<Vec<usize>>>> = units
        .iter()
        .map(|(tuple, class)| {
            let key = &tuples.keys[*tuple as usize];
            levels_with(&lattice, |at| lattice.fields[at].get(key), &labels[(*class)? as usize])
        })
        .collect();
    if policy.recoding == Recoding::Global {
        let placed = common_levels(&lattice, &fits).and_then(|levels| {
            let of_tuple = apply(&lattice, &tuples, conditions, &levels);
            let suppressed =
                of_tuple.iter().zip(&tuples.rows).filter(|(to, _)| **to == NOWHERE).map(|(_, rows)| u64::from(*rows));
            let local = Local { combinations: vec![levels], suppressed: suppressed.sum(), ..Local::nowhere(0) };
            (local.suppressed <= goal.limit).then_some(Local { of_tuple, ..local })
        });
        return match placed {
            Some(local) => {
                let combinations = lattice.size();
                (of_row, Placed { tuples: Tuples::of(&lattice, tuples), local, before, combinations })
            }
            None => (of_row, place(&lattice, tuples, conditions, policy, goal)),
        };
    }

    let unit_of: Vec<u32> = of_row
        .iter()
        .zip(class)
        .map(|(tuple, class)| {
            let at = units.binary_search(&(*tuple, *class)).unwrap_or(0);
            u32::try_from(at).expect("fewer than 2^32 rows")
        })
        .collect();
    let keys = units.iter().map(|(tuple, _)| tuples.keys[*tuple as usize]).collect();
    let mut rows = vec![0; units.len()];
    unit_of.iter().for_each(|unit| rows[*unit as usize] += 1);
    let of_column = |column: &CodedColumn| histograms(&unit_of, column.codes.iter().copied(), units.len());
    let sensitive = prepared.sensitive.values().map(of_column).collect();
    let by_unit = Groups { keys, rows, population: Vec::new(), sensitive };
    let mut local = Local::nowhere(units.len());

    // Those who are known, in the classes they had.
    let known: Vec<bool> = fits.iter().map(Option::is_some).collect();
    let mut classes = by_unit.filter(&known);
    let known_units: Vec<usize> = (0..units.len()).filter(|at| known[*at]).collect();
    for (key, unit) in classes.keys.iter_mut().zip(&known_units) {
        *key = [0; W];
        key[0] = units[*unit].1.map_or(0, u64::from);
    }
    let mut scratch = Scratch::default();
    let classes = classes.merge_by(&mut scratch, |key| *key);
    let none = Distribution::default();
    let holds: Vec<bool> = (0..classes.len()).map(|at| conditions.class_holds(&classes, at, &none)).collect();
    let mut numbers: HashMap<Vec<usize>, u32> = HashMap::new();
    let mut number = |levels: Vec<usize>, combinations: &mut Vec<Vec<usize>>| {
        let next = u32::try_from(combinations.len()).expect("fewer than 2^32 combinations");
        *numbers.entry(levels).or_insert_with_key(|levels| {
            combinations.push(levels.clone());
            next
        })
    };
    let mut waiting = vec![true; units.len()];
    for (unit, class) in known_units.iter().zip(scratch.new_groups()) {
        if let (true, Some(fits)) = (holds[*class as usize], &fits[*unit]) {
            let levels = fits.iter().map(|levels| levels[0]).collect();
            local.of_tuple[*unit] = number(levels, &mut local.combinations);
            waiting[*unit] = false;
        }
    }

    // Newcomers, and those whose class is no more, among themselves.
    let pool = by_unit.filter(&waiting).merge_by(&mut scratch, |key| *key);
    let of_unit = scratch.new_groups().to_vec();
    let placed = recode_locally(&lattice, &pool, conditions);
    let waiting_units = (0..units.len()).filter(|at| waiting[*at]);
    for (unit, at) in waiting_units.zip(of_unit) {
        if let Some(levels) = placed.combinations.get(placed.of_tuple[at as usize] as usize) {
            local.of_tuple[unit] = number(levels.clone(), &mut local.combinations);
        } else if fits[unit].is_none() {
            local.suppressed += u64::from(by_unit.rows[unit]);
        }
    }
    local.counted = placed.counted;
    let combinations = lattice.size();
    (unit_of, Placed { tuples: Tuples::of(&lattice, by_unit), local, before, combinations })
}

/// The lowest levels at which everybody who is known has the labels of the earlier class.
fn common_levels(lattice: &Lattice<'_>, fits: &[Option<Vec<Vec<usize>>>]) -> Option<Vec<usize>> {
    let known: Vec<&Vec<Vec<usize>>> = fits.iter().flatten().collect();
    let common = |at: usize| {
        let mut levels = lattice.columns[at].minimum_level..lattice.columns[at].levels();
        levels.find(|level| known.iter().all(|fits| fits[at].contains(level)))
    };
    (!known.is_empty()).then(|| (0..lattice.columns.len()).map(common).collect()).flatten()
}

/// What classes must meet, and the columns that this looks at.
pub(crate) struct Judged {
    conditions: Conditions,
    sensitive: Vec<CodedColumn>,
    rows: usize,
}

impl Judged {
    pub(crate) fn of(
        prepared: &Prepared,
        policy: &Policy,
        hierarchy_files: &BTreeMap<String, Vec<u8>>,
    ) -> Result<Self, DeidentifyError> {
        let conditions = prepared.conditions(policy, hierarchy_files)?;
        Ok(Self { conditions, sensitive: prepared.sensitive.values().cloned().collect(), rows: prepared.rows })
    }

    /// Persons to withhold so that nobody is exposed beside the earlier versions. `released`: the rows that are kept as
    /// they would be released; `persons` and `kept`: whose they are, and their numbers in the table that was prepared.
    ///
    /// # Errors
    /// [`DeidentifyError::Exposed`] when more rows than the ledger's limit would have to go.
    pub(crate) fn withhold(
        &self,
        (released, persons, kept): (&Table, &[u64], &[usize]),
        earlier: &[EarlierVersion],
        policy: &Policy,
        ledger: &Ledger,
    ) -> Result<BTreeSet<u64>, DeidentifyError> {
        let mut registry = Registry::new(policy);
        let versions = registry.all(earlier)?;
        let (new, classes) = registry.version(released, &quasi_identifiers(policy), persons)?;
        let (remaining, rule) = registry.remaining(policy, ledger);
        let mut withheld = BTreeSet::new();
        loop {
            withheld.extend(withhold(&versions, &new.without(&withheld), &remaining, &rule));
            let outside = self.outside(persons, kept, &classes, &withheld);
            if outside.is_empty() {
                break;
            }
            withheld.extend(outside);
        }
        let (count, rows) = (withheld.len() as u64, self.rows as u64);
        let limit =
            suppression_limit(&Policy { suppression_limit: ledger.withhold_limit, ..policy.clone() }, self.rows);
        if count > limit || (count > 0 && withheld.len() == persons.len()) {
            return Err(DeidentifyError::Exposed { withheld: count, limit, rows });
        }
        Ok(withheld)
    }

    /// Persons whose class no longer meets the conditions once others are withheld.
    fn outside(&self, persons: &[u64], kept: &[usize], classes: &[u32], withheld: &BTreeSet<u64>) -> Vec<u64> {
        let left: Vec<usize> = (0..persons.len()).filter(|at| !withheld.contains(&persons[*at])).collect();
        let (mut groups, of_left) = Groups::<1>::of_rows(left.len(), |at| [u64::from(classes[left[at]])]);
        for column in &self.sensitive {
            let codes = left.iter().map(|at| column.codes[kept[*at]]);
            groups.sensitive.push(histograms(&of_left, codes, groups.len()));
        }
        let none = Distribution::default();
        let holds: Vec<bool> = (0..groups.len()).map(|at| self.conditions.class_holds(&groups, at, &none)).collect();
        left.iter().zip(&of_left).filter(|(_, group)| !holds[**group as usize]).map(|(at, _)| persons[*at]).collect()
    }
}

impl Recoded {
    /// Takes out a row that is withheld.
    pub(crate) fn take_out(&mut self, row: usize) {
        self.tuples.rows[self.of_row[row] as usize] -= 1;
        self.tuples.withheld += 1;
    }
}

/// Counts of values in each group. `of_row`: the group of each row.
fn histograms(of_row: &[u32], codes: impl Iterator<Item = u32>, groups: usize) -> Histograms {
    let mut pairs: Vec<(u32, u32)> = of_row.iter().copied().zip(codes).collect();
    pairs.sort_unstable();
    let mut counts = vec![Vec::new(); groups];
    for same in pairs.chunk_by(|a, b| a == b) {
        counts[same[0].0 as usize].push((same[0].1, same.len() as u64));
    }
    Histograms::new(counts)
}

fn quasi_identifiers(policy: &Policy) -> Vec<String> {
    policy.of_role(Role::QuasiIdentifier).map(|(name, _)| name.to_owned()).collect()
}

/// Counts a released table again together with the earlier versions, as text.
///
/// # Errors
/// [`DeidentifyError::Exposed`] when somebody is exposed beside them.
pub fn verify_beside(
    released: &Table,
    assignment: &[u64],
    earlier: &[EarlierVersion],
    policy: &Policy,
    ledger: &Ledger,
) -> Result<(), DeidentifyError> {
    let mut registry = Registry::new(policy);
    let versions = registry.all(earlier)?;
    let (new, _) = registry.version(released, &quasi_identifiers(policy), assignment)?;
    let (remaining, rule) = registry.remaining(policy, ledger);
    match exposed(&versions, &new, &remaining, &rule).len() as u64 {
        0 => Ok(()),
        withheld => Err(DeidentifyError::Exposed { withheld, limit: 0, rows: assignment.len() as u64 }),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use acequia_custody::{ConsentEvent, Decision, History, Identified, Purpose, evaluate};
    use acequia_types::{DonorId, parse_timestamp};
    use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
    use proptest::prelude::*;

    use super::*;
    use crate::proof::Deidentified;
    use crate::run::deidentify_beside;

    const POLICY: &str = r#"
        k = 3
        maximum_risk = 0.5
        suppression_limit = 0.3
        l_diversity = { event = 2 }
        [columns]
        person_id = { role = "person-id" }
        assignment = { role = "assignment" }
        age = { role = "quasi-identifier", hierarchy = { intervals = { levels = [5, 10, 20], lower = 20, upper = 80 } } }
        sex = { role = "quasi-identifier", hierarchy = "suppress" }
        event = { role = "sensitive" }
    "#;

    /// A person's facts follow from the number.
    fn facts(person: u64) -> (i64, &'static str, &'static str) {
        let mixed = person.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20;
        let age = 20 + i64::try_from(mixed % 60).unwrap();
        (
            age,
            ["f", "m"][usize::from((mixed / 60).is_multiple_of(2))],
            ["yes", "no", "unknown"][(mixed / 120 % 3) as usize],
        )
    }

    fn run(
        persons: &[u64],
        earlier: &[EarlierVersion],
        policy: &Policy,
        ledger: &Ledger,
    ) -> Result<Deidentified, DeidentifyError> {
        let ids = || Arc::new(persons.iter().map(|person| i64::try_from(*person).unwrap()).collect::<Int64Array>());
        let facts = || persons.iter().map(|person| facts(*person));
        let columns: [(&str, ArrayRef); 5] = [
            ("person_id", ids()),
            ("assignment", ids()),
            ("age", Arc::new(Int64Array::from_iter_values(facts().map(|facts| facts.0)))),
            ("sex", Arc::new(StringArray::from_iter_values(facts().map(|facts| facts.1)))),
            ("event", Arc::new(StringArray::from_iter_values(facts().map(|facts| facts.2)))),
        ];
        let table = Table::new("cohort", vec![RecordBatch::try_from_iter(columns).unwrap()]).unwrap();
        let donor = DonorId::parse("clinic").unwrap();
        let history = History::new(vec![ConsentEvent::give("2026-01-01", &[Purpose::OpenPublication])]);
        let now = parse_timestamp("2026-06-01").unwrap();
        let Decision::Permit(grant) = evaluate(&donor, Some(&history), Purpose::OpenPublication, now) else { panic!() };
        deidentify_beside(Identified::new(donor, table), &grant, policy, &BTreeMap::new(), earlier, ledger)
    }

    fn out(done: &Deidentified) -> EarlierVersion {
        let rows = EarlierRows { table: done.table().clone(), quasi_identifiers: vec!["age".into(), "sex".into()] };
        EarlierVersion { assignment: done.assignment().to_vec(), rows: Some(rows) }
    }

    fn policy(recoding: Recoding) -> Policy {
        Policy { recoding, ..toml::from_str(POLICY).unwrap() }
    }

    fn loose(rule: LedgerRule) -> Ledger {
        Ledger { rule, withhold_limit: 1.0, ..Ledger::default() }
    }

    /// What is written about a person in each version; `None` where the person is not.
    fn history(person: u64, versions: &[EarlierVersion]) -> Vec<Option<(Option<String>, Option<String>)>> {
        let of = |version: &EarlierVersion| {
            let at = version.assignment.iter().position(|other| *other == person)?;
            let table = &version.rows.as_ref()?.table;
            let text = |name: &str| CodedColumn::of(table, name).unwrap().value(at).map(str::to_owned);
            Some((text("age"), text("sex")))
        };
        versions.iter().map(of).collect()
    }

    #[test]
    fn who_left_is_one_of_several_that_are_missing() {
        for recoding in [Recoding::Global, Recoding::Local] {
            let (policy, all) = (policy(recoding), (1..=400).collect::<Vec<u64>>());
            let first = out(&run(&all, &[], &policy, &Ledger::default()).unwrap());
            let gone = first.assignment[17];
            let rest: Vec<u64> = all.iter().copied().filter(|person| *person != gone).collect();
            let versions = [first];
            let second = run(&rest, &versions, &policy, &loose(LedgerRule::Intersection)).unwrap();
            let receipt = second.receipt();
            assert!((1..=40).contains(&receipt.rows.withheld), "{recoding:?}: {:?}", receipt.rows);
            assert_eq!(receipt.rows.input, receipt.rows.released + receipt.rows.suppressed);
            let [first] = versions;
            let versions = [first, out(&second)];
            let own = history(gone, &versions);
            assert!(own[0].is_some() && own[1].is_none());
            assert!(all.iter().filter(|person| history(**person, &versions) == own).count() >= 3);
            // Without that, the one who is missing is found.
            let [first, _] = versions;
            let at: Vec<usize> = (0..first.assignment.len()).filter(|at| first.assignment[*at] != gone).collect();
            let rows = arrow::array::UInt32Array::from_iter_values(at.iter().map(|at| u32::try_from(*at).unwrap()));
            let batch = first.rows.as_ref().unwrap().table.to_batch().unwrap();
            let columns = batch.columns().iter().map(|column| arrow::compute::take(column, &rows, None).unwrap());
            let batch = RecordBatch::try_new(batch.schema(), columns.collect()).unwrap();
            let naive = Table::new("released", vec![batch]).unwrap();
            let persons: Vec<u64> = at.iter().map(|at| first.assignment[*at]).collect();
            let refused = verify_beside(&naive, &persons, &[first], &policy, &Ledger::default());
            assert!(matches!(refused, Err(DeidentifyError::Exposed { withheld: 1, .. })), "{recoding:?}");
        }
    }

    #[test]
    fn too_much_to_withhold_is_refused() {
        let (policy, all) = (policy(Recoding::Local), (1..=200).collect::<Vec<u64>>());
        let first = [out(&run(&all, &[], &policy, &Ledger::default()).unwrap())];
        let strict = Ledger { withhold_limit: 0.0, ..Ledger::default() };
        let refused = run(&all[1..], &first, &policy, &strict).unwrap_err();
        assert!(matches!(refused, DeidentifyError::Exposed { limit: 0, .. }), "{refused}");
        assert_eq!(run(&all, &first, &policy, &strict).unwrap().receipt().rows.withheld, 0);
    }

    #[test]
    fn settings_that_contradict_themselves_are_refused() {
        let policy = policy(Recoding::Local);
        let with = |change: &dyn Fn(&mut Ledger)| {
            let mut ledger = Ledger::default();
            change(&mut ledger);
            ledger.check(&policy).is_err()
        };
        assert!(!with(&|_| {}));
        assert!(with(&|ledger| ledger.k = Some(0)));
        assert!(with(&|ledger| ledger.withhold_limit = 1.5));
        assert!(with(&|ledger| ledger.columns = vec!["age".to_owned()]));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn nobody_is_alone_over_versions_whoever_comes_and_goes(
            seed in any::<u64>(), local in any::<bool>(), rule in 0..3_usize, shares in proptest::collection::vec(50..100_u64, 2..4),
        ) {
            let rule = [LedgerRule::Intersection, LedgerRule::MInvariance, LedgerRule::FixedRecoding][rule];
            let policy = policy(if local { Recoding::Local } else { Recoding::Global });
            let mut versions: Vec<EarlierVersion> = Vec::new();
            for (at, share) in shares.iter().enumerate() {
                let there = |person: &u64| {
                    let mixed = (person ^ seed).wrapping_mul(0x2545_f491_4f6c_dd1d).rotate_left(at as u32 * 17);
                    mixed % 100 < *share
                };
                let persons: Vec<u64> = (1..=150).filter(there).collect();
                match run(&persons, &versions, &policy, &loose(rule)) {
                    Ok(done) => versions.push(out(&done)),
                    Err(DeidentifyError::Exposed { .. } | DeidentifyError::Unreachable { .. }) => {}
                    Err(other) => prop_assert!(false, "{other}"),
                }
            }
            let last = versions.len().saturating_sub(1);
            let histories: Vec<_> = (1..=150).map(|person| history(person, &versions)).collect();
            for own in histories.iter().filter(|own| own.iter().any(Option::is_some)) {
                let alike = histories.iter().filter(|other| *other == own).count();
                let before = histories.iter().filter(|other| other[..last] == own[..last]).count();
                let newcomer = own[..last].iter().all(Option::is_none);
                prop_assert!(alike >= 3 || (!newcomer && alike >= before), "{own:?}");
                if rule == LedgerRule::FixedRecoding {
                    let written: BTreeSet<_> = own.iter().flatten().collect();
                    prop_assert_eq!(written.len(), 1);
                }
            }
        }
    }
}
