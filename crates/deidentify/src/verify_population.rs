//! The independent verifier of populations: how many people of a population table each released class could hold, from the
//! text of both and the public hierarchies. Shares no code with the search, and knows no codes and no levels.
//!
//! A person could be in a class when, for every quasi-identifier, the class's label is what the person's value becomes at
//! some level.

use std::collections::BTreeMap;
use std::path::Path;

use hashbrown::HashMap;

use crate::DeidentifyError;
use crate::file::Rows;
use crate::hierarchy::Hierarchy;
use crate::policy::{Policy, Role};

/// A label; `None` is missing.
type Label = Option<Box<str>>;

/// The labels of classes as a tree: one step for each quasi-identifier.
#[derive(Default)]
struct Trie {
    steps: HashMap<(u32, Label), u32>,
    nodes: u32,
    /// The class of each last node.
    classes: HashMap<u32, usize>,
}

/// Labels of a key of the recounter: for each quasi-identifier a length and a text; the largest length is a missing one.
fn labels(mut key: &[u8]) -> Vec<Label> {
    let mut labels = Vec::new();
    while let Some((length, rest)) = key.split_first_chunk::<4>() {
        let length = u32::from_le_bytes(*length);
        let size = if length == u32::MAX { 0 } else { length as usize };
        let (text, after) = rest.split_at(size.min(rest.len()));
        labels.push((length != u32::MAX).then(|| String::from_utf8_lossy(text).into()));
        key = after;
    }
    labels
}

impl Trie {
    fn of(keys: &[&[u8]]) -> Self {
        let mut trie = Self { nodes: 1, ..Self::default() };
        for (class, key) in keys.iter().enumerate() {
            let mut node = 0;
            for label in labels(key) {
                let next = trie.nodes;
                node = *trie.steps.entry((node, label)).or_insert(next);
                trie.nodes += u32::from(node == next);
            }
            trie.classes.insert(node, class);
        }
        trie
    }

    /// Counts people in all classes that could hold them. `could`: for each quasi-identifier, what the value may have become.
    fn count(&self, could: &[&[Label]], people: u64, counts: &mut [u64]) {
        let mut open = vec![0_u32];
        for could in could {
            let mut next = Vec::new();
            for node in open {
                next.extend(could.iter().filter_map(|label| self.steps.get(&(node, label.clone()))));
            }
            open = next;
        }
        for node in open {
            if let Some(class) = self.classes.get(&node) {
                counts[*class] += people;
            }
        }
    }
}

/// People of a population table whom each class could hold. `keys`: the labels of each class, as the recounter keeps them.
pub(crate) fn people(
    path: &Path,
    policy: &Policy,
    hierarchy_files: Option<&BTreeMap<String, Vec<u8>>>,
    keys: &[&[u8]],
) -> Result<Vec<u64>, DeidentifyError> {
    let none = BTreeMap::new();
    let mut rows = Rows::open(path)?;
    let mut columns = Vec::new();
    for (name, column) in policy.of_role(Role::QuasiIdentifier) {
        let missing = || DeidentifyError::Population { problem: "has not all quasi-identifiers" };
        let at = rows.headers.iter().position(|header| header == name).ok_or_else(missing)?;
        let spec = column.hierarchy.as_ref().ok_or_else(missing)?;
        let hierarchy = Hierarchy::build(name, spec, hierarchy_files.unwrap_or(&none))?;
        let pooled = column.transform.as_ref().is_some_and(|transform| transform.ages_pooled);
        columns.push((name, at, hierarchy, pooled));
    }
    let mut tuples: HashMap<Vec<Label>, u64> = HashMap::new();
    let mut could: Vec<HashMap<Label, Vec<Label>>> = vec![HashMap::new(); columns.len()];
    let mut row = 0;
    while rows.next()? {
        row += 1;
        let tuple: Vec<Label> = columns.iter().map(|(_, at, ..)| rows.field(*at).map(Into::into)).collect();
        for ((value, could), (name, _, hierarchy, pooled)) in tuple.iter().zip(&mut could).zip(&columns) {
            if could.contains_key(value) {
                continue;
            }
            let of_age =
                value.as_deref().filter(|text| *pooled && text.trim().parse::<f64>().is_ok_and(|age| age > 90.0));
            let text = if of_age.is_some() { Some("90") } else { value.as_deref() };
            let mut labels: Vec<Label> = Vec::new();
            for level in 0..hierarchy.levels() {
                let label = match text {
                    None => (level + 1 == hierarchy.levels()).then(|| hierarchy.root().to_owned()),
                    Some(text) => Some(
                        hierarchy
                            .label(text, level)
                            .ok_or_else(|| DeidentifyError::NotInHierarchy { row, column: (*name).to_owned() })?,
                    ),
                };
                labels.push(label.map(Into::into));
            }
            labels.sort_unstable();
            labels.dedup();
            could.insert(value.clone(), labels);
        }
        *tuples.entry(tuple).or_default() += 1;
    }
    let trie = Trie::of(keys);
    let mut counts = vec![0; keys.len()];
    // Sums do not depend on the order of the map.
    for (tuple, people) in &tuples {
        let labels: Vec<&[Label]> =
            tuple.iter().zip(&could).map(|(value, could)| could.get(value).map_or(&[][..], Vec::as_slice)).collect();
        trie.count(&labels, *people, &mut counts);
    }
    Ok(counts)
}
