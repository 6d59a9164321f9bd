//! Transformations besides generalisation over hierarchies: sampling, date shifts, pooled ages and births, top and bottom
//! coding, rare values, microaggregation. One file each.
//!
//! *When.* While rows are read: sampling, and the shift of each person's dates. Before the search: ages and births, limits
//! and microaggregation of quasi-identifiers, and whatever changes a column that a privacy model looks at, so that the
//! search sees what will be released. After it, on the rows that are released: everything else, so that a number of rows
//! that is promised holds for the rows that are there. Whether it does is rechecked by `verify_values.rs`, from text.

mod class;
mod limits;
mod microaggregation;
mod pool;
mod sampling;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use acequia_types::Day;
use arrow::datatypes::DataType;
use serde::{Deserialize, Serialize};

use crate::DeidentifyError;
use crate::coded::CodedColumn;
use crate::engine::Recoded;
use crate::policy::{ModelSpec, Policy, Role};
use crate::shift::recovery::Survey;
use crate::shift::{DateShift, PersonShift};

pub use class::ClassValue;
pub use limits::Bound;
pub use microaggregation::Microaggregation;
pub use pool::Rare;
pub(crate) use sampling::RowWork;
pub use sampling::{Sample, Sampling};

use limits::Limits;
use pool::Pool;

/// Oldest age that is stated: those beyond are one group (45 CFR 164.514(b)(2)(i)(C)).
pub(crate) const OLDEST_AGE: u32 = 90;

/// What happens to the values of a column besides generalisation. Unknown keys are refused.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Transform {
    /// Days of the column are moved by the person's shift; see `date_shift` of the policy.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub shift: bool,
    /// The column holds ages in years: everybody older than 89 is 90.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub ages_pooled: bool,
    /// The column holds days or years of birth: whoever is older than 89 on this day gets the birth of somebody who is 90.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub births_as_of: Option<Day>,
    /// Bottom coding: numbers below become this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bottom: Option<Bound>,
    /// Top coding: numbers above become this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top: Option<Bound>,
    /// Values of few rows. Of a quasi-identifier they take the lowest label of their hierarchy that is not rare; of other
    /// columns they become one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rare: Option<Rare>,
    /// All rows of an equivalence class get one value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<ClassValue>,
}

impl Transform {
    fn is_limited(&self) -> bool {
        self.bottom.is_some() || self.top.is_some()
    }
}

/// What a transformation did, for the receipt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Transformation {
    /// Columns that it changed together.
    pub columns: Vec<String>,
    /// `date-shift`, `ages-pooled`, `births-pooled`, `limits`, `rare`, `microaggregation` or `class-value`.
    pub kind: String,
    /// What was done, in words.
    pub words: String,
    /// Share that is left, 0 to 1. Numbers: 1 − SSE/SST, the share of the variance between rows that is kept
    /// (Domingo-Ferrer and Mateo-Sanz, TKDE 14(1), 2002); other values: share of rows that hold what they held. A date
    /// shift keeps all intervals, so 1.
    pub kept: f64,
}

/// Columns on their way through the transformations.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) columns: Vec<Arc<CodedColumn>>,
    /// Types of columns whose values no longer have the type they came in.
    pub(crate) types: BTreeMap<String, DataType>,
    pub(crate) steps: Vec<Transformation>,
    /// Names of columns that hold other values than they came with.
    pub(crate) changed: BTreeSet<String>,
    rows: usize,
    /// Columns that models look at, as they came, with what of them is pooled so far.
    watched: BTreeMap<String, (Arc<CodedColumn>, Pooled)>,
}

/// How the values of a column are pooled.
#[derive(Debug, Clone)]
enum Pooled {
    Limits(Limits),
    Rare(Pool),
}

impl Pooled {
    fn of(column: &str, transform: &Transform, smallest: u64) -> Option<Self> {
        match (&transform.rare, transform.is_limited()) {
            (Some(rare), _) => Some(Self::Rare(Pool::new(rare, smallest))),
            (None, true) => Some(Self::Limits(Limits::new(column, transform, smallest))),
            (None, false) => None,
        }
    }

    /// Pools more where fewer rows than promised hold a value; whether anything changed. `counts`: rows of each value.
    fn tighten(&mut self, column: &CodedColumn, counts: &[u64]) -> Result<bool, DeidentifyError> {
        match self {
            Self::Limits(limits) => limits.tighten(column, counts),
            Self::Rare(pool) => Ok(pool.tighten(column, counts)),
        }
    }

    /// What each value of the column becomes.
    fn values(&self, column: &CodedColumn) -> Vec<Option<Box<str>>> {
        let become_ = |value: &Option<Box<str>>| {
            value.as_deref().map(|text| match self {
                Self::Limits(limits) => limits.value(text),
                Self::Rare(pool) => pool.value(text),
            })
        };
        column.values.iter().map(become_).collect()
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Limits(_) => "limits",
            Self::Rare(_) => "rare",
        }
    }

    fn words(&self) -> String {
        match self {
            Self::Limits(limits) => limits.words(),
            Self::Rare(pool) => pool.words(),
        }
    }
}

pub(crate) fn wrong(message: String) -> DeidentifyError {
    DeidentifyError::Policy { message }
}

/// A number as text says it; missing for what is none.
pub(crate) fn number(text: &str) -> Option<f64> {
    text.trim().parse::<f64>().ok().filter(|number| number.is_finite())
}

#[expect(clippy::cast_precision_loss, reason = "counts of rows are far below 2^53")]
pub(crate) fn real(count: u64) -> f64 {
    count as f64
}

impl Policy {
    /// Whether anything happens to values besides generalisation, once rows are read.
    pub(crate) fn transforms(&self) -> bool {
        !self.microaggregate.is_empty() || self.columns.values().any(|column| column.transform.is_some())
    }

    /// Whether a model looks at a column.
    fn watches(&self, name: &str) -> bool {
        self.l_diversity.contains_key(name) || self.models.iter().any(|model| model.column() == Some(name))
    }

    /// Refuses transformations that contradict themselves or the rest of the policy.
    pub(crate) fn check_transformations(&self) -> Result<(), DeidentifyError> {
        if let Some(sample) = &self.sample {
            sample.check()?;
        }
        if let Some(shift) = &self.date_shift {
            shift.check()?;
        }
        let needs_population = self.models.iter().any(ModelSpec::needs_population);
        for (name, column) in &self.columns {
            let Some(transform) = &column.transform else { continue };
            let refused = |problem: &str| Err(wrong(format!("column {name}: {problem}")));
            if !column.role.is_released() {
                return refused("a transformation belongs to columns that are released");
            }
            let quasi = column.role == Role::QuasiIdentifier;
            if transform.shift && self.date_shift.is_none() {
                return refused("shift needs [date_shift]");
            }
            if transform.shift && self.of_role(Role::PersonId).count() != 1 {
                return refused("shift needs a column with the role person-id");
            }
            let comparable = transform.ages_pooled || transform.rare.is_some();
            if quasi && needs_population && !comparable {
                return refused("a population table cannot be compared with it when its values are changed");
            }
            let ways = [
                transform.shift,
                transform.ages_pooled,
                transform.births_as_of.is_some(),
                transform.is_limited(),
                transform.rare.is_some(),
                transform.class.is_some(),
            ];
            let both = transform.shift && transform.births_as_of.is_some();
            match ways.iter().filter(|way| **way).count() {
                0 => return refused("a transformation must say what it does"),
                1 => {}
                _ if both => return refused("births are pooled, or shifted, not both"),
                _ => return refused("one transformation at a time: pool, limit, or aggregate"),
            }
            for bound in [&transform.bottom, &transform.top].into_iter().flatten() {
                bound.check(name)?;
            }
            if let (Some(Bound::At(bottom)), Some(Bound::At(top))) = (&transform.bottom, &transform.top)
                && bottom >= top
            {
                return refused("bottom must be below top");
            }
            if let Some(crate::policy::HierarchySpec::Intervals { intervals }) = &column.hierarchy
                && transform.ages_pooled
                && intervals.upper > i64::from(OLDEST_AGE)
            {
                return refused("where ages are pooled, the bands must end at 90 or below: intervals.upper");
            }
            if transform.class.is_some() && self.watches(name) {
                return refused("a model looks at it, so it cannot be one value in every class");
            }
        }
        for step in &self.microaggregate {
            step.check(self)?;
        }
        Ok(())
    }
}

/// Refuses what cannot be done with rows on disk: it looks at the rows that are released, or at many at once.
pub(crate) fn needs_memory(policy: &Policy) -> Result<(), DeidentifyError> {
    let refused = |column: &str, what| Err(DeidentifyError::InMemory { column: column.to_owned(), what });
    if let Some(name) = policy.microaggregate.iter().flat_map(|step| &step.columns).next() {
        return refused(name, "microaggregation");
    }
    for (name, column) in &policy.columns {
        let Some(transform) = &column.transform else { continue };
        if transform.class.is_some() {
            return refused(name, "one value for every class");
        }
        if column.role != Role::QuasiIdentifier && transform.is_limited() {
            return refused(name, "top or bottom coding");
        }
        if column.role != Role::QuasiIdentifier && transform.rare.is_some() {
            return refused(name, "pooling of rare values");
        }
    }
    Ok(())
}

/// The column with other values: `values` holds what each code becomes.
pub(crate) fn mapped(column: &CodedColumn, values: &[Option<Box<str>>]) -> (CodedColumn, Vec<u32>) {
    let mut distinct: Vec<&Option<Box<str>>> = values.iter().collect();
    distinct.sort_unstable();
    distinct.dedup();
    let place: Vec<u32> = values
        .iter()
        .map(|value| {
            let at = distinct.binary_search(&value).unwrap_or(0);
            u32::try_from(at).expect("fewer than 2^32 values")
        })
        .collect();
    let (mut counts, mut first_row) = (vec![0; distinct.len()], vec![u64::MAX; distinct.len()]);
    for (code, at) in place.iter().enumerate() {
        counts[*at as usize] += column.counts[code];
        first_row[*at as usize] = first_row[*at as usize].min(column.first_row[code]);
    }
    let column = CodedColumn {
        name: column.name.clone(),
        codes: column.codes.iter().map(|code| place[*code as usize]).collect(),
        values: distinct.into_iter().cloned().collect(),
        counts,
        first_row,
    };
    (column, place)
}

/// What each value of a column becomes.
pub(crate) type Values = Vec<Option<Box<str>>>;

/// What the values of a column become before the search by what the policy says of the column alone: pooled ages and
/// births, and the limits of a quasi-identifier. Nothing where they stay.
pub(crate) fn fixed(
    policy: &Policy,
    column: &CodedColumn,
) -> Result<Option<(Values, Transformation)>, DeidentifyError> {
    let Some(settings) = policy.columns.get(&column.name) else { return Ok(None) };
    let Some(transform) = &settings.transform else { return Ok(None) };
    let (values, kind, words) = if transform.ages_pooled {
        (limits::ages(column, settings.role == Role::QuasiIdentifier)?, "ages-pooled", "ages over 89 are 90".to_owned())
    } else if let Some(day) = transform.births_as_of {
        (
            limits::births(column, day)?,
            "births-pooled",
            format!("whoever is over 89 on {day} is born 90 years before it"),
        )
    } else if settings.role == Role::QuasiIdentifier && transform.is_limited() {
        let mut limits = Limits::new(&column.name, transform, policy.class_size());
        limits.tighten(column, &column.counts)?;
        let values = column.values.iter().map(|value| value.as_deref().map(|text| limits.value(text))).collect();
        (values, "limits", limits.words())
    } else {
        return Ok(None);
    };
    let kept = kept_of_values(column, &values, &column.counts);
    let step = Transformation { columns: vec![column.name.clone()], kind: kind.to_owned(), words, kept };
    Ok(Some((values, step)))
}

/// Share of a column that is left when its values become others. `counts`: rows of each value.
fn kept_of_values(column: &CodedColumn, values: &[Option<Box<str>>], counts: &[u64]) -> f64 {
    let pairs = column.values.iter().zip(values).zip(counts);
    kept(pairs.map(|((before, after), rows)| (before.as_deref(), after.as_deref(), *rows)))
}

/// Share that is left of values that became others, with their rows: of the variance where all are numbers, of the rows
/// elsewhere.
fn kept<'v>(pairs: impl Iterator<Item = (Option<&'v str>, Option<&'v str>, u64)>) -> f64 {
    let pairs: Vec<_> = pairs.filter(|(before, _, rows)| before.is_some() && *rows > 0).collect();
    let numbers: Option<Vec<(f64, f64, f64)>> = pairs
        .iter()
        .map(|(before, after, rows)| Some((number((*before)?)?, number((*after)?)?, real(*rows))))
        .collect();
    let rows: f64 = pairs.iter().map(|(_, _, rows)| real(*rows)).sum();
    match numbers {
        _ if rows == 0.0 => 1.0,
        Some(numbers) => {
            let mean = numbers.iter().map(|(before, _, rows)| before * rows).sum::<f64>() / rows;
            let all: f64 = numbers.iter().map(|(before, _, rows)| rows * (before - mean).powi(2)).sum();
            let lost: f64 = numbers.iter().map(|(before, after, rows)| rows * (before - after).powi(2)).sum();
            if all > 0.0 { (1.0 - lost / all).max(0.0) } else { 1.0 }
        }
        None => {
            pairs.iter().filter(|(before, after, _)| before == after).map(|(_, _, rows)| real(*rows)).sum::<f64>()
                / rows
        }
    }
}

impl Work {
    /// Takes the columns of a table, and does what is done before the search.
    pub(crate) fn before(
        policy: &Policy,
        columns: Vec<Arc<CodedColumn>>,
        rows: usize,
        steps: Vec<Transformation>,
    ) -> Result<Self, DeidentifyError> {
        let mut work =
            Self { columns, types: BTreeMap::new(), steps, changed: BTreeSet::new(), rows, watched: BTreeMap::new() };
        if !policy.transforms() {
            return Ok(work);
        }
        let people = work.columns.first().map_or(rows, |column| column.codes.len()) > rows;
        for at in 0..work.columns.len() {
            let column = Arc::clone(&work.columns[at]);
            if let Some((values, step)) = fixed(policy, &column)? {
                work.replace(at, mapped(&column, &values).0);
                work.steps.push(step);
                continue;
            }
            let transform = policy.columns.get(&column.name).and_then(|column| column.transform.as_ref());
            let pooled = transform.and_then(|transform| Pooled::of(&column.name, transform, policy.class_size()));
            if let Some(mut pooled) = pooled.filter(|_| policy.watches(&column.name)) {
                pooled.tighten(&column, &column.counts)?;
                work.replace(at, mapped(&column, &pooled.values(&column)).0);
                work.watched.insert(column.name.clone(), (column, pooled));
            }
        }
        let of_quasi = |step: &&Microaggregation| step.is_of(policy, Role::QuasiIdentifier);
        for step in policy.microaggregate.iter().filter(of_quasi) {
            if people {
                return Err(wrong("a population table cannot be compared with microaggregated columns".to_owned()));
            }
            let all: Vec<usize> = (0..rows).collect();
            work.microaggregate(step, policy, &all)?;
        }
        Ok(work)
    }

    fn place(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }

    /// Puts another column in the place of one. Whole numbers stay whole where they can.
    fn replace(&mut self, at: usize, column: CodedColumn) {
        let texts = || column.values.iter().flatten();
        let kind = if texts().all(|text| text.parse::<i64>().is_ok()) {
            None
        } else if texts().all(|text| number(text).is_some()) {
            Some(DataType::Float64)
        } else {
            Some(DataType::Utf8)
        };
        match kind {
            Some(kind) => self.types.insert(column.name.clone(), kind),
            None => self.types.remove(&column.name),
        };
        self.changed.insert(column.name.clone());
        self.columns[at] = Arc::new(column);
    }

    /// Whether values that models look at must be pooled further, since some of their rows were suppressed; they are then,
    /// and the search has to run again. Each time more is pooled, so this ends.
    pub(crate) fn again(&mut self, kept: &[usize]) -> Result<bool, DeidentifyError> {
        let mut changed = Vec::new();
        for (name, (original, pooled)) in &mut self.watched {
            if pooled.tighten(original, &released(original, kept))? {
                changed.push((name.clone(), mapped(original, &pooled.values(original)).0));
            }
        }
        let any = !changed.is_empty();
        for (name, column) in changed {
            if let Some(at) = self.place(&name) {
                self.replace(at, column);
            }
        }
        Ok(any)
    }

    /// Does what is done to released rows. `kept`: these rows; `class_of`: the class of each of them.
    pub(crate) fn after(
        &mut self,
        policy: &Policy,
        recoded: &Recoded,
        kept: &[usize],
        class_of: impl Fn(usize) -> u32,
    ) -> Result<(), DeidentifyError> {
        if !policy.transforms() {
            return Ok(());
        }
        for (name, (original, pooled)) in &self.watched {
            let kept = kept_of_values(original, &pooled.values(original), &released(original, kept));
            self.steps.push(step(name, pooled, kept));
        }
        self.steps.extend(recoded.columns.iter().filter_map(crate::encode::QuasiIdentifier::rare_step));
        for (name, settings) in &policy.columns {
            let Some(transform) = &settings.transform else { continue };
            let Some(at) = self.place(name) else { continue };
            let column = Arc::clone(&self.columns[at]);
            if let Some(value) = transform.class {
                let new = class::aggregated(&column, self.rows, kept, &class_of, value)?;
                let pairs = kept.iter().map(|row| (column.value(*row), new.value(*row), 1));
                let left = self::kept(pairs);
                let words = format!("the {} of its equivalence class", value.as_str());
                let columns = vec![name.clone()];
                self.steps.push(Transformation { columns, kind: "class-value".to_owned(), words, kept: left });
                self.replace(at, new);
            } else if settings.role != Role::QuasiIdentifier
                && !policy.watches(name)
                && let Some(mut pooled) = Pooled::of(name, transform, policy.class_size())
            {
                let counts = released(&column, kept);
                pooled.tighten(&column, &counts)?;
                let values = pooled.values(&column);
                self.steps.push(step(name, &pooled, kept_of_values(&column, &values, &counts)));
                self.replace(at, mapped(&column, &values).0);
            }
        }
        let of_others = |step: &&Microaggregation| !step.is_of(policy, Role::QuasiIdentifier);
        for step in policy.microaggregate.iter().filter(of_others) {
            self.microaggregate(step, policy, kept)?;
        }
        Ok(())
    }

    fn microaggregate(
        &mut self,
        spec: &Microaggregation,
        policy: &Policy,
        rows: &[usize],
    ) -> Result<(), DeidentifyError> {
        let missing = |name: &String| DeidentifyError::Columns {
            column: name.clone(),
            problem: "in the policy but not in the table",
        };
        let places: Vec<usize> =
            spec.columns.iter().map(|name| self.place(name).ok_or_else(|| missing(name))).collect::<Result<_, _>>()?;
        let before: Vec<Arc<CodedColumn>> = places.iter().map(|at| Arc::clone(&self.columns[*at])).collect();
        let (after, groups) = spec.run(&before, self.rows, rows, policy.class_size())?;
        let left = before
            .iter()
            .zip(&after)
            .map(|(before, after)| kept(rows.iter().map(|row| (before.value(*row), after.value(*row), 1))));
        #[expect(clippy::cast_precision_loss, reason = "a few columns")]
        let left = left.sum::<f64>() / before.len().max(1) as f64;
        let words = spec.words(policy.class_size(), groups);
        let step =
            Transformation { columns: spec.columns.clone(), kind: "microaggregation".to_owned(), words, kept: left };
        self.steps.push(step);
        for (at, column) in places.into_iter().zip(after) {
            self.replace(at, column);
        }
        Ok(())
    }
}

/// What a shift of days did. The attack on it comes first.
///
/// # Errors
/// [`DeidentifyError::Recovered`].
pub(crate) fn shift_step(
    spec: &DateShift,
    shift: &PersonShift,
    survey: &Survey,
    columns: Vec<String>,
) -> Result<Transformation, DeidentifyError> {
    let recovery = survey.recover(shift, None, |_| false);
    if !recovery.held() {
        return Err(DeidentifyError::Recovered { found: recovery.rate, maximum: recovery.limit });
    }
    let words = format!(
        "one shift per person of at most {} days, in steps of {}; an attacker who knows the calendar finds {:.4} of the \
         shifts, and a guess {:.4}",
        spec.days_max, spec.step_days, recovery.rate, recovery.chance
    );
    Ok(Transformation { columns, kind: "date-shift".to_owned(), words, kept: 1.0 })
}

fn step(name: &str, pooled: &Pooled, kept: f64) -> Transformation {
    Transformation { columns: vec![name.to_owned()], kind: pooled.kind().to_owned(), words: pooled.words(), kept }
}

/// Released rows of each value of a column.
fn released(column: &CodedColumn, kept: &[usize]) -> Vec<u64> {
    let mut counts = vec![0; column.values.len()];
    kept.iter().for_each(|row| counts[column.codes[*row] as usize] += 1);
    counts
}
