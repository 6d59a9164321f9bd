//! The independent verifier of persons with events. It reads both released tables from disk as text, and knows neither the
//! hierarchies nor the search: a class is persons with the same bytes in all quasi-identifiers, an item is the bytes of a
//! row of events. It counts every combination of items that occurs.

use std::collections::BTreeMap;
use std::path::Path;

use acequia_privacy::{ItemSupport, item_confidence, item_support};

use super::spec::{CODE, DATE, PERSON};
use crate::DeidentifyError;
use crate::file::{Rows, wrong};
use crate::policy::{ModelSpec, Policy, Role};
use crate::verify::{Beside, Recount, Recounter};
use crate::verify_values::ValueChecks;

/// What the verifier counted in events, beside the [`Recount`] of their persons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct EventRecount {
    /// Rows of events.
    pub events: u64,
    /// Most items of a combination.
    pub known: u64,
    /// Combinations that occur, each in its class.
    pub combinations: u64,
    /// Persons who share the rarest; 0 without persons.
    pub smallest: u64,
}

/// Recounts a released table of persons and its events, and checks that they satisfy a policy together. `whole`: values of
/// sensitive columns before persons were suppressed, for models that compare with them.
///
/// # Errors
/// [`DeidentifyError::Recount`], [`DeidentifyError::NotDiverse`] or [`DeidentifyError::Model`] when they do not;
/// [`DeidentifyError::Columns`] when a column is there that the policy does not release; [`DeidentifyError::Untransformed`]
/// when a value is there that a transformation should have changed; [`DeidentifyError::File`] when
/// events and persons do not belong together.
pub fn recount_events(
    persons: &Path,
    events: &Path,
    policy: &Policy,
    files: &BTreeMap<String, Vec<u8>>,
    whole: Option<&BTreeMap<String, BTreeMap<String, u64>>>,
) -> Result<(Recount, EventRecount), DeidentifyError> {
    policy.check()?;
    let (mut recount, read) = read_persons(persons, policy, files, whole)?;
    let (rows, items) = read_events(events, policy, &read)?;
    let known = policy.known_codes();
    let mut by_class: BTreeMap<&[u8], Vec<usize>> = BTreeMap::new();
    for (person, class) in read.classes.iter().enumerate() {
        by_class.entry(class).or_default().push(person);
    }
    let mut support = ItemSupport::default();
    let mut confidence = vec![0.0_f64; policy.models.len()];
    for members in by_class.values() {
        let sets: Vec<&[u32]> = members.iter().map(|person| items[*person].as_slice()).collect();
        let found = item_support(&sets, 0..=known, policy.class_size());
        support.combinations += found.combinations;
        support.below += found.below;
        support.smallest = if support.smallest == 0 { found.smallest } else { support.smallest.min(found.smallest) };
        for (highest, (model, column)) in confidence.iter_mut().zip(policy.models.iter().zip(&read.sensitive)) {
            let ModelSpec::LkcPrivacy { l, values, .. } = model else { continue };
            let of_members: Vec<u32> = members.iter().map(|person| column.codes[*person]).collect();
            // A value that nobody holds guards nothing; without any, all values are guarded.
            let mut guarded: Vec<u32> = values.iter().filter_map(|value| column.known.get(value).copied()).collect();
            if guarded.is_empty() && !values.is_empty() {
                guarded.push(u32::MAX);
            }
            *highest = highest.max(item_confidence(&sets, &of_members, &guarded, *l));
        }
    }
    for (at, model) in policy.models.iter().enumerate() {
        let (measured, held) = match model {
            ModelSpec::KmAnonymity { .. } => (real(support.smallest), support.below == 0),
            ModelSpec::LkcPrivacy { c, .. } => (confidence[at], support.below == 0 && confidence[at] <= *c),
            _ => continue,
        };
        if !held {
            return Err(DeidentifyError::Model { model: model.words() });
        }
        recount.models[at] = Some(measured);
    }
    let (combinations, smallest) = (support.combinations, support.smallest);
    Ok((recount, EventRecount { events: rows, known: known as u64, combinations, smallest }))
}

#[expect(clippy::cast_precision_loss, reason = "counts of persons are far below 2^53")]
fn real(count: u64) -> f64 {
    count as f64
}

/// Persons as read back.
struct Read {
    /// Place of each number.
    numbers: BTreeMap<String, usize>,
    /// Bytes of all quasi-identifiers of each.
    classes: Vec<Vec<u8>>,
    /// For each model of the policy, the column it looks at, where it is one of events.
    sensitive: Vec<Values>,
}

#[derive(Default)]
struct Values {
    known: BTreeMap<String, u32>,
    codes: Vec<u32>,
}

fn read_persons(
    path: &Path,
    policy: &Policy,
    files: &BTreeMap<String, Vec<u8>>,
    whole: Option<&BTreeMap<String, BTreeMap<String, u64>>>,
) -> Result<(Recount, Read), DeidentifyError> {
    let mut rows = Rows::open(path)?;
    for header in rows.headers.iter().filter(|header| *header != PERSON) {
        if !policy.columns.get(header).is_some_and(|column| column.role.is_released()) {
            let problem = "released although the policy removes it or does not know it";
            return Err(DeidentifyError::Columns { column: header.clone(), problem });
        }
    }
    let place = |name: &str| {
        let problem = "in the policy but not in the table";
        let missing = || DeidentifyError::Columns { column: name.to_owned(), problem };
        rows.headers.iter().position(|header| header == name).ok_or_else(missing)
    };
    let person = place(PERSON)?;
    let of_role = |role| policy.of_role(role).map(|(name, _)| place(name)).collect::<Result<Vec<usize>, _>>();
    let (quasi_identifiers, sensitive) = (of_role(Role::QuasiIdentifier)?, of_role(Role::Sensitive)?);
    let of_model = |model: &ModelSpec| match model {
        ModelSpec::LkcPrivacy { column, .. } => place(column).map(Some),
        _ => Ok(None),
    };
    let guarded: Vec<Option<usize>> = policy.models.iter().map(of_model).collect::<Result<_, _>>()?;
    let names: Vec<&str> = policy.of_role(Role::Sensitive).map(|(name, _)| name).collect();
    let mut recounter = Recounter::new(&names);
    let mut checks = ValueChecks::new(policy, &rows.headers, Some(files))?;
    let mut read = Read { numbers: BTreeMap::new(), classes: Vec::new(), sensitive: Vec::new() };
    read.sensitive.resize_with(policy.models.len(), Values::default);
    while rows.next()? {
        let row = read.classes.len() + 2;
        let field = |at: &usize| rows.field(*at);
        let number = field(&person).ok_or_else(|| wrong(path, format!("row {row} has no person")))?;
        if read.numbers.insert(number.to_owned(), read.classes.len()).is_some() {
            return Err(wrong(path, format!("row {row}: a person is there twice")));
        }
        recounter.row(quasi_identifiers.iter().map(field), sensitive.iter().map(field));
        if let Some(checks) = &mut checks {
            checks.row(|at| rows.field(at));
        }
        let mut class = Vec::new();
        for at in &quasi_identifiers {
            // A missing value is told from an empty one, and no value runs into the next.
            let value = field(at);
            class.push(u8::from(value.is_some()));
            class.extend(value.unwrap_or_default().bytes().flat_map(|byte| [1, byte]));
            class.push(0);
        }
        read.classes.push(class);
        for (at, values) in guarded.iter().zip(&mut read.sensitive) {
            let Some(at) = at else { continue };
            let next = u32::try_from(values.known.len()).expect("fewer than 2^32 values");
            let value = field(at).unwrap_or(crate::verify::MISSING);
            let code = *values.known.entry(value.to_owned()).or_insert(next);
            values.codes.push(code);
        }
    }
    if let Some(checks) = checks {
        checks.finish()?;
    }
    let recount = recounter.finish(policy, &Beside { whole, hierarchy_files: Some(files), ..Beside::default() })?;
    Ok((recount, read))
}

/// Rows, and the items of each person, ascending, each once.
fn read_events(path: &Path, policy: &Policy, read: &Read) -> Result<(u64, Vec<Vec<u32>>), DeidentifyError> {
    let mut rows = Rows::open(path)?;
    let dated = policy.events.as_ref().is_some_and(|events| events.date.is_some());
    for header in &rows.headers {
        let expected = [PERSON, CODE].contains(&header.as_str()) || dated && header == DATE;
        if !expected {
            let problem = "released with the events although the policy does not release it";
            return Err(DeidentifyError::Columns { column: header.clone(), problem });
        }
    }
    let place = |name: &str| {
        let problem = "missing in the table of events";
        let missing = || DeidentifyError::Columns { column: name.to_owned(), problem };
        rows.headers.iter().position(|header| header == name).ok_or_else(missing)
    };
    let (person, code) = (place(PERSON)?, place(CODE)?);
    let date = if dated { Some(place(DATE)?) } else { None };
    let mut known: BTreeMap<(String, Option<String>), u32> = BTreeMap::new();
    let mut items = vec![Vec::new(); read.classes.len()];
    let mut count = 0;
    while rows.next()? {
        count += 1;
        let row = count + 1;
        let number = rows.field(person).and_then(|number| read.numbers.get(number));
        let number =
            number.ok_or_else(|| wrong(path, format!("row {row}: its person is not in the table of persons")))?;
        let code = rows.field(code).ok_or_else(|| wrong(path, format!("row {row} has no code")))?;
        let key = (code.to_owned(), date.and_then(|at| rows.field(at)).map(str::to_owned));
        let next = u32::try_from(known.len()).expect("fewer than 2^32 items");
        items[*number].push(*known.entry(key).or_insert(next));
    }
    for items in &mut items {
        items.sort_unstable();
        items.dedup();
    }
    Ok((count, items))
}
