//! Persons with events: a person's diagnoses and their dates are quasi-identifiers too.
//!
//! Comes in: a table with one row per person, and a second one with the events of persons; or a table of encounters, which is
//! both. Goes out: a table of persons and a table of events, safe together. Whoever knows a person's quasi-identifiers and
//! any m of the person's codes finds at least k persons ((k,k^m)-anonymity), and may be kept from inferring a sensitive value
//! (LKC-privacy); `acequia_privacy` says where both come from.
//!
//! ```toml
//! k = 12
//! recoding = "local"               # each person and each event as exact as it can be
//! [columns]
//! patient_nbr = { role = "person-id" }
//! age = { role = "quasi-identifier", hierarchy = { intervals = { levels = [10, 20], lower = 0, upper = 90 } } }
//! sex = { role = "quasi-identifier", hierarchy = "suppress" }
//! readmitted = { role = "sensitive" }
//!
//! [events]
//! codes = ["diag_1", "diag_2"]     # columns of the table itself, or of a second table that has the person column too
//! hierarchy = { icd = "icd-9" }    # as for quasi-identifiers
//! missing = ["?"]                  # values that are no code
//! # minimum_level = 1              # lowest level at which a code may be released
//! # date = "admitted"              # column of dates; released not finer than date_minimum_level, which is 1
//! # date_hierarchy = { dates = ["month", "year"] }
//! # rare = 12                      # codes of fewer persons are generalised first; k without it
//! # recoding = "global"            # one label per code wherever it is released; the policy's without it
//! # suppression_limit = 0.05       # largest share of events that may be suppressed; the policy's without it
//! # weight = 1.0                   # how much losing events counts beside the weights of columns
//!
//! [[models]]
//! model = "km-anonymity"           # k persons share the quasi-identifiers and any m codes
//! m = 2
//! [[models]]
//! model = "lkc-privacy"            # and of whom l codes are known, no value is inferred with more than c
//! column = "readmitted"
//! l = 1
//! c = 0.8
//! ```
//!
//! Columns of persons may be transformed and persons drawn as in a table without events. Days of columns are not moved where
//! events keep dates: these are generalised where they lie, and both together would tell the shift.
//!
//! Rows of one person are pooled: the first says what the person is, all say what happened. A code that a person has several
//! times counts once. What happens to the codes is in `specialise.rs` and, for one label per code, in `cut.rs`; how
//! coarse the columns become for it is in `search.rs`; what the other helper modules do is at their heads.

mod attack;
mod cut;
mod facts;
mod measure;
mod read;
mod search;
mod spec;
mod specialise;
#[cfg(test)]
mod tests;
mod tree;
mod verify;
mod write;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use acequia_privacy::Model;
pub use facts::{
    EventCounts, EventFacts, EventLevel, EventRisk, EventUtility, Findable, KnownCodes, LevelRisk, PooledRows,
};
use measure::{Counted, findable};
use read::Persons;
use search::{Plan, Task, share};
pub use spec::EventSpec;
use tree::{ItemTree, Levels, NOTHING};
pub use verify::{EventRecount, recount_events};
pub use write::events_path;

use crate::DeidentifyError;
use crate::attack::attack;
use crate::coded::CodedColumn;
use crate::encode::QuasiIdentifier;
use crate::engine::Recoded;
use crate::file::Aside;
use crate::hierarchy::Hierarchy;
use crate::policy::{ModelSpec, Policy};
use crate::proof::Receipt;
use crate::receipt::{receipt, with_transformations};
use crate::transform::Work;

/// De-identifies persons and their events into two files, the second beside the first (see [`events_path`]), recounts both
/// from disk, and gives them their names only then. `events`: the table of events, where it is not `table` itself. Works in
/// memory.
///
/// # Errors
/// [`DeidentifyError::Unreachable`] when no recoding satisfies the policy, [`DeidentifyError::EventsUnreachable`] when too
/// many events would have to be suppressed; others when tables, policy and hierarchies do not fit together, or a file cannot
/// be read or written. Nothing is left under either name then.
pub fn deidentify_events(
    table: &Path,
    events: Option<&Path>,
    policy: &Policy,
    files: &BTreeMap<String, Vec<u8>>,
    out: &Path,
) -> Result<Receipt, DeidentifyError> {
    let Ready { spec, mut persons, hierarchies, tree, finest, rare } =
        Ready::read(table, events, policy, files, Some(files))?;
    let distinct = persons.events.leaf.len() as u64;
    let recorded = persons.table.columns().to_vec();
    // Columns are worked on as in a table without events: there is one row per person by now.
    let steps = std::mem::take(&mut persons.steps);
    let mut work = Work::before(policy, recorded.clone(), persons.events.persons(), steps)?;
    let (whole, plan, recoding) = loop {
        persons.table.take(&work);
        let whole = persons.table.prepare(policy, files)?.whole();
        let task = Task {
            persons: &persons,
            policy,
            files,
            tree: &tree,
            finest: &finest,
            demands: search::demands(policy, &persons)?,
            recoding: spec.recoding.unwrap_or(policy.recoding),
            limit: limit(spec.suppression_limit.unwrap_or(policy.suppression_limit), distinct),
            weight: spec.weight,
        };
        let (plan, recoding) = (task.search()?, task.recoding);
        let class_of = |row: usize| plan.class_of[row];
        let kept: Vec<usize> = (0..plan.class_of.len()).filter(|row| class_of(*row).is_some()).collect();
        if policy.transforms() && work.again(&kept)? {
            continue;
        }
        work.after(policy, &plan.recoded, &kept, |row| class_of(row).unwrap_or(u32::MAX))?;
        persons.table.take(&work);
        break (whole, plan, recoding);
    };

    let out_events = events_path(out);
    let (aside_persons, aside_events) = (Aside::new(out), Aside::new(&out_events));
    let released = write::write(&persons, policy, &plan, &tree, (&aside_persons, &aside_events))?;
    let (recount, of_events) = recount_events(aside_persons.path(), aside_events.path(), policy, files, Some(&whole))?;
    let kept = persons.table.kept_beside(policy);
    let mut attacks = attack(policy, &plan.recoded, &kept, &recount, policy.attacks.extent)?;
    if let Some((attacks, _)) = &mut attacks {
        let maximum = policy.attacks.maximum.unwrap_or(policy.maximum_risk);
        let with_codes =
            attack::known_codes(&persons, &plan, &tree, &kept, (&policy.attacks, policy.known_codes(), maximum));
        attacks.add(with_codes)?;
    }
    let mut receipt = receipt(policy, &plan.recoded, &recount, attacks);
    let (known, k) = (policy.known_codes(), policy.class_size());
    let described = Described { persons: &persons, hierarchies: &hierarchies, tree: &tree };
    receipt.events = Some(EventFacts {
        known_codes: known as u64,
        recoding,
        pooled: described.pooled(),
        counts: described.counts(&plan, rare, released),
        levels: described.levels(&plan),
        date_levels: described.date_levels(&plan),
        utility: described.utility(&plan),
        recoded_for: plan.class_size,
        before: described.findable_at(&columns_of(&plan.recoded, &recorded), None, known, k, false),
        after: described.findable_after(&plan, known, k),
        combinations: of_events.combinations,
        smallest: of_events.smallest,
    });
    aside_events.name()?;
    aside_persons.name().inspect_err(|_| {
        // Events without their persons must not lie about.
        let _ = std::fs::remove_file(&out_events);
    })?;
    Ok(with_transformations(receipt, policy, work.steps, persons.sampling.take()))
}

/// Measures how easily persons are found by their events in a table as it is, under the models of a policy. `events`: the
/// table of events, where it is not `table` itself.
///
/// # Errors
/// As for [`deidentify_events`].
pub fn risk_of_events(
    table: &Path,
    events: Option<&Path>,
    policy: &Policy,
    files: &BTreeMap<String, Vec<u8>>,
) -> Result<EventRisk, DeidentifyError> {
    let Ready { persons, hierarchies, tree, .. } = Ready::read(table, events, policy, files, None)?;
    let prepared = persons.table.prepare(policy, files)?;
    let columns: Vec<&[u32]> = prepared.columns.iter().map(|column| column.coded.codes.as_slice()).collect();
    let described = Described { persons: &persons, hierarchies: &hierarchies, tree: &tree };
    let counts = EventCounts {
        read: persons.events.read,
        of_others: persons.events.of_others,
        repeated: persons.events.repeated,
        distinct: persons.events.leaf.len() as u64,
        ..EventCounts::default()
    };
    let (known, k) = (policy.known_codes(), policy.class_size());
    let level = |level: usize| LevelRisk {
        level: level as u64,
        words: hierarchies.code.words(level),
        findable: described.findable_at(&columns, Some(level), known, k, true),
    };
    Ok(EventRisk {
        pooled: described.pooled(),
        counts,
        quasi_identifiers: prepared.columns.iter().map(|column| column.coded.name.clone()).collect(),
        k,
        levels: (0..hierarchies.code.levels() - 1).map(level).collect(),
    })
}

/// What a model of events says of a class of whose persons no code is known.
pub(crate) fn class_models(model: &ModelSpec, column: &CodedColumn) -> Vec<Model> {
    let ModelSpec::LkcPrivacy { c, values, .. } = model else { return Vec::new() };
    let code = |value: &String| column.values.iter().position(|other| other.as_deref() == Some(value.as_str()));
    let codes = values.iter().filter_map(code).filter_map(|at| u32::try_from(at).ok()).map(Some);
    let codes: Vec<Option<u32>> = if values.is_empty() { vec![None] } else { codes.collect() };
    codes.into_iter().map(|value| Model::AlphaK { alpha: *c, value }).collect()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a share of events"
)]
fn limit(share: f64, events: u64) -> u64 {
    (share * events as f64).floor() as u64
}

/// Quasi-identifiers as recorded.
fn columns_of<'r>(recoded: &Recoded, recorded: &'r [Arc<CodedColumn>]) -> Vec<&'r [u32]> {
    let as_recorded = |column: &QuasiIdentifier| {
        let found = recorded.iter().find(|recorded| recorded.name == column.coded.name);
        found.map(|recorded| recorded.codes.as_slice())
    };
    recoded.columns.iter().filter_map(as_recorded).collect()
}

/// Hierarchies of codes and dates.
struct Hierarchies {
    code: Hierarchy,
    date: Option<Hierarchy>,
}

/// Codes of fewer persons than the policy calls rare, and events with one.
#[derive(Debug, Clone, Copy)]
struct Rare {
    codes: u64,
    events: u64,
}

/// What is read, ready for the search.
struct Ready<'a> {
    spec: &'a EventSpec,
    persons: Persons,
    hierarchies: Hierarchies,
    tree: ItemTree,
    /// Finest node that may be told of each event.
    finest: Vec<u32>,
    rare: Rare,
}

impl<'a> Ready<'a> {
    fn read(
        table: &Path,
        events: Option<&Path>,
        policy: &'a Policy,
        files: &BTreeMap<String, Vec<u8>>,
        working: Option<&BTreeMap<String, Vec<u8>>>,
    ) -> Result<Self, DeidentifyError> {
        policy.check()?;
        let no_section = || DeidentifyError::Policy { message: "a section [events] is needed".to_owned() };
        let spec = policy.events.as_ref().ok_or_else(no_section)?;
        let code_column = spec.codes.first().map_or("", String::as_str);
        let date_column = spec.date.as_deref().unwrap_or_default();
        let code = Hierarchy::build(code_column, &spec.hierarchy, files)?;
        let date = spec.date_hierarchy.as_ref().map(|date| Hierarchy::build(date_column, date, files)).transpose()?;
        let minimum = |column: &str, level: usize, hierarchy: &Hierarchy| {
            let highest = hierarchy.levels() - 1;
            if level < highest {
                return Ok(());
            }
            let problem = format!("the lowest level to release is {level}, and nothing is left from {highest} on");
            Err(DeidentifyError::Hierarchy { column: column.to_owned(), problem })
        };
        minimum(code_column, spec.minimum_level, &code)?;
        if let Some(date) = &date {
            minimum(date_column, spec.date_minimum_level, date)?;
        }
        let persons = read::read(table, events, policy, spec, working)?;
        persons.table.check(policy)?;
        let levels = Levels {
            code: &code,
            code_minimum: spec.minimum_level,
            date: date.as_ref().map(|date| (date, spec.date_minimum_level)),
        };
        let tree = ItemTree::new(&persons.events.leaves, &levels, (code_column, date_column))?;
        let (finest, rare) = without_rare(&persons, &tree, spec.rare.unwrap_or_else(|| policy.class_size()));
        Ok(Self { spec, hierarchies: Hierarchies { code, date }, tree, finest, rare, persons })
    }
}

/// The finest node of each event that at least `rare` persons lie below.
fn without_rare(persons: &Persons, tree: &ItemTree, rare: u64) -> (Vec<u32>, Rare) {
    let events = &persons.events;
    let mut persons_of = vec![0_u64; tree.parent.len()];
    let mut of_person = Vec::new();
    for person in 0..events.persons() {
        of_person.clear();
        for leaf in &events.leaf[events.of(person)] {
            of_person.extend(tree.paths[*leaf as usize].iter().map(|step| step.node));
        }
        of_person.sort_unstable();
        of_person.dedup();
        of_person.iter().for_each(|node| persons_of[*node as usize] += 1);
    }
    let finest = |path: &Vec<tree::Step>| {
        path.iter().map(|step| step.node).find(|node| persons_of[*node as usize] >= rare).unwrap_or(NOTHING)
    };
    let of_leaf: Vec<u32> = tree.paths.iter().map(finest).collect();
    let mut counted = Rare { codes: 0, events: 0 };
    for (leaf, path) in events.leaves.iter().zip(&tree.paths) {
        if path.first().is_none_or(|step| persons_of[step.node as usize] < rare) {
            counted.codes += 1;
            counted.events += leaf.events;
        }
    }
    (events.leaf.iter().map(|leaf| of_leaf[*leaf as usize]).collect(), counted)
}

/// What the receipt tells.
struct Described<'a> {
    persons: &'a Persons,
    hierarchies: &'a Hierarchies,
    tree: &'a ItemTree,
}

impl Described<'_> {
    fn pooled(&self) -> PooledRows {
        PooledRows {
            rows: self.persons.rows,
            persons: self.persons.events.persons() as u64,
            of_several_rows: self.persons.pooled,
            disagreeing: self.persons.disagreeing.clone(),
        }
    }

    fn counts(&self, plan: &Plan, rare: Rare, released: u64) -> EventCounts {
        let events = &self.persons.events;
        let of = |kept: bool| {
            let persons = (0..events.persons()).filter(move |person| plan.class_of[*person].is_some() == kept);
            persons.flat_map(|person| &plan.told[events.of(person)])
        };
        let told = of(true).filter(|node| **node != NOTHING).count() as u64;
        EventCounts {
            read: events.read,
            of_others: events.of_others,
            repeated: events.repeated,
            distinct: events.leaf.len() as u64,
            rare_codes: rare.codes,
            rare_events: rare.events,
            merged: told - released,
            released,
            suppressed: of(true).count() as u64 - told,
            suppressed_with_persons: of(false).count() as u64,
        }
    }

    /// Events by a level of what is told of them.
    fn by_level(&self, plan: &Plan, levels: usize, level_of: impl Fn(tree::Step) -> usize) -> Vec<u64> {
        let mut events = vec![0; levels];
        for (leaf, node) in self.persons.events.leaf.iter().zip(&plan.told) {
            if let Some(step) = self.tree.step(*leaf, *node) {
                events[level_of(step)] += 1;
            }
        }
        events
    }

    fn levels(&self, plan: &Plan) -> Vec<EventLevel> {
        let events = self.by_level(plan, self.tree.code_levels - 1, |step| step.code_level);
        self.in_words(&events, &self.hierarchies.code)
    }

    fn date_levels(&self, plan: &Plan) -> Vec<EventLevel> {
        let Some(date) = &self.hierarchies.date else { return Vec::new() };
        self.in_words(&self.by_level(plan, self.tree.date_levels, |step| step.date_level), date)
    }

    fn in_words(&self, events: &[u64], hierarchy: &Hierarchy) -> Vec<EventLevel> {
        let all = self.persons.events.leaf.len() as u64;
        let level = |(level, events): (usize, &u64)| EventLevel {
            level: level as u64,
            words: hierarchy.words(level),
            events: *events,
            share: share(*events, all),
        };
        events.iter().enumerate().map(level).collect()
    }

    /// What is left of codes and dates. Suppressed events count as nothing.
    fn utility(&self, plan: &Plan) -> EventUtility {
        let tree = self.tree;
        let events = self.persons.events.leaf.len() as u64;
        let leaves = self.persons.events.leaves.len() as u64;
        let highest = tree.code_levels - 1 + tree.date_levels.saturating_sub(1);
        let (mut granularity, mut height) = (0.0, 0_u64);
        for (leaf, node, count) in search::tally(&self.persons.events.leaf, &plan.told) {
            match tree.step(leaf, node) {
                Some(step) => {
                    let covered = share(tree.leaves_below[step.node as usize] - 1, (leaves - 1).max(1));
                    granularity += share(count, 1) * (1.0 - covered);
                    height += count * (step.code_level + if tree.date_levels > 0 { step.date_level } else { 0 }) as u64;
                }
                None => height += count * highest as u64,
            }
        }
        if events == 0 {
            return EventUtility { granularity: 1.0, precision: 1.0, entropy: 1.0 };
        }
        EventUtility {
            granularity: granularity / crate::receipt::real(events),
            precision: 1.0 - share(height, events * highest as u64),
            entropy: 1.0 - plan.event_loss,
        }
    }

    /// Who could be found by the columns as recorded and the events, as recorded or with all codes at one level. A code
    /// that has less detail than the level stays as it is.
    fn findable_at(&self, columns: &[&[u32]], level: Option<usize>, known: usize, k: u64, by_size: bool) -> Findable {
        let events = &self.persons.events;
        let persons = events.persons();
        let mut order: Vec<u32> = (0..).take(persons).collect();
        let tuple = |row: &u32| {
            let row = *row as usize;
            columns.iter().map(move |codes| codes[row])
        };
        order.sort_unstable_by(|a, b| tuple(a).cmp(tuple(b)));
        let mut classes = vec![0; persons];
        for (class, rows) in (0..).zip(order.chunk_by(|a, b| tuple(a).eq(tuple(b)))) {
            rows.iter().for_each(|row| classes[*row as usize] = class);
        }
        // The same label is the same item, whatever it came from.
        let item_of_leaf: Vec<u32> = match level {
            None => (0..).take(events.leaves.len()).collect(),
            Some(level) => {
                let label = |leaf: &tree::Leaf| self.hierarchies.code.label(&leaf.code, level).unwrap_or_default();
                let labels: Vec<String> = events.leaves.iter().map(label).collect();
                let mut known: Vec<&String> = labels.iter().collect();
                known.sort_unstable();
                known.dedup();
                let place = |label: &String| known.binary_search(&label).unwrap_or(0);
                labels.iter().map(|label| u32::try_from(place(label)).expect("fewer than 2^32 labels")).collect()
            }
        };
        let sets: Vec<Vec<u32>> = (0..persons)
            .map(|person| {
                let mut set: Vec<u32> =
                    events.leaf[events.of(person)].iter().map(|leaf| item_of_leaf[*leaf as usize]).collect();
                set.sort_unstable();
                set.dedup();
                set
            })
            .collect();
        let items = sets.iter().map(Vec::as_slice).collect();
        findable(&Counted { classes, items }, known, k, by_size)
    }

    /// Who could be found by what is released.
    fn findable_after(&self, plan: &Plan, known: usize, k: u64) -> Findable {
        let sets = write::told_sets(self.persons, plan);
        let released = plan.class_of.iter().zip(&sets).filter_map(|(class, set)| Some(((*class)?, set.as_slice())));
        let (classes, items) = released.unzip();
        findable(&Counted { classes, items }, known, k, false)
    }
}
