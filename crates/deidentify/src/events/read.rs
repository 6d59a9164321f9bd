//! Reads persons and their events. Rows of one person are pooled: the first row says what the person is, all rows say what
//! happened to the person.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use hashbrown::{HashMap, HashSet};

use super::spec::EventSpec;
use super::tree::Leaf;
use crate::DeidentifyError;
use crate::coded::Coder;
use crate::file::{FileTable, Rows, wrong};
use crate::policy::{Policy, Role};
use crate::transform::{RowWork, Sampling, Transformation};

/// Persons, one row each, and their events.
#[derive(Debug)]
pub(super) struct Persons {
    pub(super) table: FileTable,
    /// Rows of the table that the persons came from.
    pub(super) rows: u64,
    /// Persons with several rows.
    pub(super) pooled: u64,
    /// For each released column, persons whose rows hold different values there, where there are any.
    pub(super) disagreeing: BTreeMap<String, u64>,
    pub(super) events: Events,
    /// Which persons were drawn, where not all are.
    pub(super) sampling: Option<Sampling>,
    /// What was done to values while rows were read.
    pub(super) steps: Vec<Transformation>,
}

/// Events of all persons: of each person every item once.
#[derive(Debug)]
pub(super) struct Events {
    /// Where the events of each person begin, and where those of the last end.
    pub(super) start: Vec<usize>,
    /// Leaf of each event; ascending for each person.
    pub(super) leaf: Vec<u32>,
    /// In the order of their texts.
    pub(super) leaves: Vec<Leaf>,
    /// Fields that hold a code.
    pub(super) read: u64,
    /// Those that a person had already.
    pub(super) repeated: u64,
    /// Those of persons who are not in the table.
    pub(super) of_others: u64,
}

impl Events {
    pub(super) fn persons(&self) -> usize {
        self.start.len() - 1
    }

    pub(super) fn of(&self, person: usize) -> std::ops::Range<usize> {
        self.start[person]..self.start[person + 1]
    }
}

fn place(headers: &[String], column: &str) -> Result<usize, DeidentifyError> {
    let problem = "in the policy but not in the table";
    let missing = || DeidentifyError::Columns { column: column.to_owned(), problem };
    headers.iter().position(|header| header == column).ok_or_else(missing)
}

/// Collects events in any order.
struct Collector<'a> {
    spec: &'a EventSpec,
    known: HashMap<(Box<str>, Option<Box<str>>), u32>,
    leaves: Vec<Leaf>,
    /// Person and leaf.
    events: Vec<(u32, u32)>,
    of_others: u64,
}

/// Where the columns of events are.
struct Places {
    codes: Vec<usize>,
    date: Option<usize>,
}

impl<'a> Collector<'a> {
    fn new(spec: &'a EventSpec) -> Self {
        Self { spec, known: HashMap::new(), leaves: Vec::new(), events: Vec::new(), of_others: 0 }
    }

    fn places(&self, headers: &[String]) -> Result<Places, DeidentifyError> {
        let codes = self.spec.codes.iter().map(|name| place(headers, name)).collect::<Result<_, _>>()?;
        Ok(Places { codes, date: self.spec.date.as_ref().map(|name| place(headers, name)).transpose()? })
    }

    /// Takes the events of a row; `person`: `None` for somebody who is not in the table.
    fn row(&mut self, rows: &Rows, places: &Places, person: Option<u32>, row: usize) {
        let date = places.date.and_then(|at| rows.field(at));
        for at in &places.codes {
            let Some(code) = rows.field(*at).filter(|code| !self.spec.missing.iter().any(|none| none == code)) else {
                continue;
            };
            let Some(person) = person else {
                self.of_others += 1;
                continue;
            };
            let next = u32::try_from(self.leaves.len()).expect("fewer than 2^32 different events");
            let key: (Box<str>, Option<Box<str>>) = (code.into(), date.map(Into::into));
            let leaf = *self.known.entry(key).or_insert_with_key(|(code, date)| {
                self.leaves.push(Leaf { code: code.clone(), date: date.clone(), row, events: 0 });
                next
            });
            self.events.push((person, leaf));
        }
    }

    fn finish(mut self, persons: usize) -> Events {
        let mut order: Vec<u32> = (0..).take(self.leaves.len()).collect();
        let text = |leaf: &u32| (&self.leaves[*leaf as usize].code, &self.leaves[*leaf as usize].date);
        order.sort_unstable_by(|a, b| text(a).cmp(&text(b)));
        let mut place = vec![0; order.len()];
        (0..).zip(&order).for_each(|(at, leaf)| place[*leaf as usize] = at);
        let read = self.events.len() as u64 + self.of_others;
        self.events.iter_mut().for_each(|(_, leaf)| *leaf = place[*leaf as usize]);
        self.events.sort_unstable();
        self.events.dedup();
        let mut leaves: Vec<Option<Leaf>> = self.leaves.into_iter().map(Some).collect();
        let mut leaves: Vec<Leaf> = order.iter().filter_map(|leaf| leaves[*leaf as usize].take()).collect();
        let mut start = vec![0; persons + 1];
        for (person, leaf) in &self.events {
            start[*person as usize + 1] += 1;
            leaves[*leaf as usize].events += 1;
        }
        (0..persons).for_each(|person| start[person + 1] += start[person]);
        Events {
            start,
            leaf: self.events.iter().map(|(_, leaf)| *leaf).collect(),
            leaves,
            read,
            repeated: read - self.of_others - self.events.len() as u64,
            of_others: self.of_others,
        }
    }
}

/// Reads a table of persons or encounters, and a table of events where it is another one. `files`: with them, the persons
/// that the policy draws, with their days moved; without, everybody as recorded.
///
/// # Errors
/// [`DeidentifyError::File`], with the row; [`DeidentifyError::Columns`] when a column is missing or not in the policy;
/// [`DeidentifyError::Recovered`] when an attacker finds the shifts of days too often.
pub(super) fn read(
    table: &Path,
    second: Option<&Path>,
    policy: &Policy,
    spec: &EventSpec,
    files: Option<&BTreeMap<String, Vec<u8>>>,
) -> Result<Persons, DeidentifyError> {
    let person_column = policy.single(Role::PersonId)?;
    let mut rows = Rows::open(table)?;
    let mut work = match files {
        Some(files) => RowWork::new(policy, files, &rows.headers, table)?,
        None => None,
    };
    let mut not_drawn: HashSet<Box<str>> = HashSet::new();
    let person_at = place(&rows.headers, person_column)?;
    let mut collector = Collector::new(spec);
    let places = if second.is_none() { Some(collector.places(&rows.headers)?) } else { None };
    let is_event = |name: &String| second.is_none() && spec.columns().any(|column| column == name);
    let mut coders: Vec<(usize, bool, Coder)> = Vec::new();
    for (at, name) in rows.headers.iter().enumerate().filter(|(_, name)| !is_event(name)) {
        let problem = "in the table but not in the policy";
        let unknown = || DeidentifyError::Columns { column: name.clone(), problem };
        let role = policy.columns.get(name).ok_or_else(unknown)?.role;
        coders.push((at, role.is_released(), Coder::new(name)));
    }
    let mut index: HashMap<Box<str>, u32> = HashMap::new();
    let mut several: HashSet<u32> = HashSet::new();
    let mut differ: HashSet<(usize, u32)> = HashSet::new();
    let mut row = 0;
    while rows.next()? {
        row += 1;
        let id = rows.field(person_at).ok_or_else(|| wrong(table, format!("row {} has no person", row + 1)))?;
        // All rows of a person are drawn, or none.
        if work.as_mut().is_some_and(|work| !work.draws(&rows)) {
            if !not_drawn.contains(id) {
                not_drawn.insert(id.into());
            }
            continue;
        }
        let person = match index.get(id) {
            Some(person) => {
                several.insert(*person);
                for (number, (at, released, coder)) in coders.iter().enumerate() {
                    if *released && !coder.holds(*person as usize, value(&mut work, &rows, *at)?.as_deref()) {
                        differ.insert((number, *person));
                    }
                }
                *person
            }
            None => {
                let next = u32::try_from(index.len()).expect("fewer than 2^32 persons");
                index.insert(id.into(), next);
                for (at, _, coder) in &mut coders {
                    coder.push(value(&mut work, &rows, *at)?.as_deref());
                }
                next
            }
        };
        if let Some(places) = &places {
            collector.row(&rows, places, Some(person), row);
        }
    }
    if let Some(second) = second {
        let mut events = Rows::open(second)?;
        let person_at = place(&events.headers, person_column)?;
        let places = collector.places(&events.headers)?;
        let mut row = 0;
        while events.next()? {
            row += 1;
            let nobody = || wrong(second, format!("row {} has no person", row + 1));
            let id = events.field(person_at).ok_or_else(nobody)?;
            collector.row(&events, &places, index.get(id).copied(), row);
        }
    }
    let mut disagreeing = BTreeMap::new();
    for (number, (at, ..)) in coders.iter().enumerate() {
        let persons = differ.iter().filter(|(other, _)| *other == number).count() as u64;
        if persons > 0 {
            disagreeing.insert(rows.headers[*at].clone(), persons);
        }
    }
    let persons = index.len();
    let (_, steps) = work.map_or(Ok((None, Vec::new())), |work| work.finish(policy))?;
    let drawn = persons as u64;
    // Persons are drawn, not rows.
    let sampling = policy.sample.as_ref().map(|sample| sample.stated(drawn + not_drawn.len() as u64, drawn));
    let types = std::mem::take(&mut rows.types);
    let columns = coders.into_iter().map(|(_, _, coder)| Arc::new(coder.finish())).collect();
    Ok(Persons {
        table: FileTable::of_columns(columns, persons, rows.delimiter, types),
        rows: row as u64,
        pooled: several.len() as u64,
        disagreeing,
        events: collector.finish(persons),
        sampling: sampling.filter(|_| files.is_some()),
        steps,
    })
}

/// A field of a row as it is released, before anything is generalised.
fn value<'r>(work: &mut Option<RowWork>, rows: &'r Rows, at: usize) -> Result<Option<Cow<'r, str>>, DeidentifyError> {
    match work {
        Some(work) => work.field(rows, at),
        None => Ok(rows.field(at).map(Cow::Borrowed)),
    }
}
