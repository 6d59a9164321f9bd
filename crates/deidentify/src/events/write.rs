//! Writes the released persons and their events, joined by a number that says nothing: the place of the person among persons
//! ordered by what they hold.

use std::path::{Path, PathBuf};

use arrow::datatypes::DataType;

use super::read::Persons;
use super::search::Plan;
use super::spec::{CODE, DATE, PERSON};
use super::tree::{ItemTree, NOTHING};
use crate::DeidentifyError;
use crate::coded::CodedColumn;
use crate::file::{Aside, kept_type};
use crate::policy::Policy;

/// Where the events of a released table lie: `safe.csv` has `safe.events.csv` beside it.
pub fn events_path(persons: &Path) -> PathBuf {
    let mut name = persons.file_stem().unwrap_or_default().to_owned();
    name.push(".events");
    if let Some(extension) = persons.extension() {
        name.push(".");
        name.push(extension);
    }
    persons.with_file_name(name)
}

/// What is told of each person, ascending, each once.
pub(super) fn told_sets(persons: &Persons, plan: &Plan) -> Vec<Vec<u32>> {
    let set = |person: usize| {
        let told = persons.events.of(person).map(|event| plan.told[event]);
        let mut set: Vec<u32> = told.filter(|node| *node != NOTHING).collect();
        set.sort_unstable();
        set.dedup();
        set
    };
    (0..persons.events.persons()).map(set).collect()
}

/// Writes both tables aside; how many rows of events.
pub(super) fn write(
    persons: &Persons,
    policy: &Policy,
    plan: &Plan,
    tree: &ItemTree,
    (out_persons, out_events): (&Aside<'_>, &Aside<'_>),
) -> Result<u64, DeidentifyError> {
    let table = &persons.table;
    let recoded = &plan.recoded;
    let kept: Vec<(&CodedColumn, Option<usize>)> = table
        .columns()
        .iter()
        .filter(|column| policy.columns.get(&column.name).is_some_and(|column| column.role.is_released()))
        .map(|column| (&**column, recoded.columns.iter().position(|quasi| quasi.coded.name == column.name)))
        .collect();
    let others: Vec<&CodedColumn> =
        kept.iter().filter(|(_, quasi)| quasi.is_none()).map(|(column, _)| *column).collect();
    let sets = told_sets(persons, plan);
    let mut order: Vec<(u32, usize)> =
        plan.class_of.iter().enumerate().filter_map(|(row, class)| Some(((*class)?, row))).collect();
    order.sort_unstable_by(|(class, row), (other_class, other)| {
        let codes = |row: usize| others.iter().map(move |column| column.codes[row]);
        class.cmp(other_class).then_with(|| sets[*row].cmp(&sets[*other])).then_with(|| codes(*row).cmp(codes(*other)))
    });
    let columns = kept.iter().map(|(column, quasi)| {
        let exact = quasi.is_none_or(|at| recoded.levels_used(at).1 == 0);
        let kind = if exact { kept_type(table.type_of(&column.name)) } else { DataType::Utf8 };
        (column.name.clone(), kind)
    });
    let number = (PERSON.to_owned(), DataType::Int64);
    let mut writer = out_persons.writer(std::iter::once(number.clone()).chain(columns).collect(), table.delimiter())?;
    let text = |name: &str| (name.to_owned(), DataType::Utf8);
    let mut columns = vec![number, text(CODE)];
    columns.extend((tree.date_levels > 0).then(|| text(DATE)));
    let mut events = out_events.writer(columns, table.delimiter())?;
    let mut rows = 0;
    for (at, (class, row)) in order.iter().enumerate() {
        let number = (at + 1).to_string();
        let labels = &plan.labels[*class as usize];
        let fields = kept.iter().map(|(column, quasi)| match quasi {
            Some(at) => labels[*at].as_deref(),
            None => column.value(*row),
        });
        writer.row(std::iter::once(Some(number.as_str())).chain(fields))?;
        for node in &sets[*row] {
            let label = &tree.labels[*node as usize];
            let date = (tree.date_levels > 0).then_some(label.date.as_deref());
            events.row([Some(number.as_str()), Some(&*label.code)].into_iter().chain(date))?;
            rows += 1;
        }
    }
    writer.finish()?;
    events.finish()?;
    Ok(rows)
}
