//! People over time: new records join the clusters that are there, and what merges or splits is logged.
//!
//! Model, blocking rules and frequencies are those of the first records and stay: the same record is judged the same today and next year. New
//! records are compared with representatives of each cluster; components they touch are judged again from all their records. The result is the
//! partition that all records together would have got at once, as long as no cluster has more different records than representatives.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;

use acequia_types::Timestamp;
use serde::{Deserialize, Serialize};

use crate::LinkError;
use crate::block::Blocking;
use crate::cluster::partition;
use crate::compare::{Reach, Records};
use crate::config::Config;
use crate::key::Key;
use crate::model::{Counts, Model, Scorer};
use crate::run::{prepare, score, threshold};
use crate::table::{Table, write_whole, wrong};

/// Clusters of records, one per person. Holds what was compared of every record: it is identified data and is kept like the records.
#[derive(Debug, Clone)]
pub struct Register {
    header: Header,
    records: BTreeMap<String, Entry>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    format: String,
    key_check: String,
    /// Changes made so far.
    batch: u64,
    config: Config,
    model: Option<Model>,
    /// Records with a value, by column.
    present: Vec<u64>,
    /// How often the frequent values were seen, by keyed digest of column and value.
    frequent: BTreeMap<String, u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    record: String,
    #[serde(flatten)]
    entry: Entry,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    /// Change that brought the record.
    batch: u64,
    /// Records that pairs above the threshold connect; named by one of them.
    component: String,
    cluster: String,
    values: Vec<Option<String>>,
}

const FORMAT: &str = "acequia link register 1";

/// What happened to a cluster. Names clusters and numbers of records, never records.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
pub enum Event {
    /// A person who was not there.
    New {
        /// The cluster.
        cluster: String,
        /// Its records.
        records: u64,
    },
    /// New records of a person who was there.
    Joined {
        /// The cluster.
        cluster: String,
        /// Records that joined.
        records: u64,
        /// Highest log2 odds of a pair of one that joined and one that was there.
        weight: f64,
    },
    /// Clusters that are one person.
    Merged {
        /// The cluster that remains: the one with the oldest record.
        into: String,
        /// The others.
        from: Vec<String>,
        /// Highest log2 odds of a pair that came together.
        weight: f64,
    },
    /// A cluster that is several people.
    Split {
        /// The cluster.
        from: String,
        /// What became of it; the first keeps the id if it holds the oldest record.
        into: Vec<String>,
        /// Highest log2 odds of a pair that came apart.
        weight: f64,
    },
    /// Records that were taken out, or changed.
    Left {
        /// The cluster.
        cluster: String,
        /// Records that left.
        records: u64,
    },
    /// A cluster without records.
    Ended {
        /// The cluster.
        cluster: String,
    },
}

/// An entry of the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Logged {
    /// When, as the caller said.
    pub at: Timestamp,
    /// Number of the change.
    pub batch: u64,
    /// What.
    #[serde(flatten)]
    pub event: Event,
}

/// What a change did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Records that were not there.
    pub new: u64,
    /// Records whose values differ from those that were there.
    pub updated: u64,
    /// Records that were there as they are.
    pub unchanged: u64,
    /// Records taken out.
    pub removed: u64,
    /// Records that were judged again.
    pub judged: u64,
    /// Pairs that were compared.
    pub pairs_compared: u64,
    /// Records in the register.
    pub records: u64,
    /// People in the register.
    pub people: u64,
}

impl Register {
    /// An empty register. The configuration must name the column that names records.
    ///
    /// # Errors
    /// [`LinkError::Config`] when it does not.
    pub fn new(config: Config, key: &Key) -> Result<Self, LinkError> {
        config.check()?;
        if config.id.is_none() {
            let message = "a register needs `id`, the column that names a record".to_owned();
            return Err(LinkError::Config { message });
        }
        let header = Header {
            format: FORMAT.to_owned(),
            key_check: key.check(),
            batch: 0,
            config,
            model: None,
            present: Vec::new(),
            frequent: BTreeMap::new(),
        };
        Ok(Self { header, records: BTreeMap::new() })
    }

    /// What is compared and how.
    pub fn config(&self) -> &Config {
        &self.header.config
    }

    /// Number of the last change.
    pub fn batch(&self) -> u64 {
        self.header.batch
    }

    /// Record names with their clusters, by name.
    pub fn clusters(&self) -> impl Iterator<Item = (&str, &str)> {
        self.records.iter().map(|(name, entry)| (name.as_str(), entry.cluster.as_str()))
    }

    /// Takes in the rows of a table; a row whose record is there already replaces it. `at` is what the log says about when.
    ///
    /// # Errors
    /// See [`crate::link`]. The register is unchanged then.
    pub fn add(
        &mut self,
        table: &Table,
        key: &Key,
        at: Timestamp,
        threads: usize,
    ) -> Result<(Change, Vec<Logged>), LinkError> {
        let id = self.header.config.id.clone().unwrap_or_default();
        let names = table.record_names(&id)?;
        let columns: Vec<_> = self
            .header
            .config
            .column
            .iter()
            .map(|column| {
                table.column(&column.name).ok_or_else(|| LinkError::Column {
                    column: column.name.clone(),
                    problem: "is not in the file".to_owned(),
                })
            })
            .collect::<Result<_, _>>()?;
        let mut incoming = BTreeMap::new();
        for (row, name) in names.into_iter().enumerate() {
            let values = columns.iter().map(|column| column.text(row).map(str::to_owned)).collect::<Vec<_>>();
            incoming.insert(name.to_owned(), values);
        }
        self.change(incoming, &BTreeSet::new(), key, at, threads)
    }

    /// Takes records out, for instance those of a donor who withdraws. Names that are not there are counted nowhere.
    ///
    /// # Errors
    /// See [`crate::link`]. The register is unchanged then.
    pub fn remove(
        &mut self,
        names: &BTreeSet<String>,
        key: &Key,
        at: Timestamp,
        threads: usize,
    ) -> Result<(Change, Vec<Logged>), LinkError> {
        self.change(BTreeMap::new(), names, key, at, threads)
    }

    fn change(
        &mut self,
        incoming: BTreeMap<String, Vec<Option<String>>>,
        removed: &BTreeSet<String>,
        key: &Key,
        at: Timestamp,
        threads: usize,
    ) -> Result<(Change, Vec<Logged>), LinkError> {
        if self.header.key_check != key.check() {
            return Err(LinkError::Key { problem: "is not the one that the register was made with".to_owned() });
        }
        let mut next = self.clone();
        let outcome = next.changed(incoming, removed, key, at, threads)?;
        *self = next;
        Ok(outcome)
    }

    fn changed(
        &mut self,
        incoming: BTreeMap<String, Vec<Option<String>>>,
        removed: &BTreeSet<String>,
        key: &Key,
        at: Timestamp,
        threads: usize,
    ) -> Result<(Change, Vec<Logged>), LinkError> {
        let mut change = Change {
            new: 0,
            updated: 0,
            unchanged: 0,
            removed: 0,
            judged: 0,
            pairs_compared: 0,
            records: 0,
            people: 0,
        };
        // Clusters before, of all records that are judged again; and components to judge again.
        let mut before: BTreeMap<String, String> = BTreeMap::new();
        let mut touched: BTreeSet<String> = BTreeSet::new();
        let mut left: BTreeMap<String, u64> = BTreeMap::new();
        let batch = self.header.batch + 1;
        for name in removed {
            if let Some(entry) = self.records.remove(name) {
                change.removed += 1;
                *left.entry(entry.cluster).or_default() += 1;
                touched.insert(entry.component);
            }
        }
        let mut fresh: BTreeMap<String, Vec<Option<String>>> = BTreeMap::new();
        for (name, values) in incoming {
            match self.records.get(&name) {
                Some(entry) if entry.values == values => change.unchanged += 1,
                Some(_) => {
                    if let Some(entry) = self.records.remove(&name) {
                        *left.entry(entry.cluster).or_default() += 1;
                        touched.insert(entry.component);
                    }
                    change.updated += 1;
                    fresh.insert(name, values);
                }
                None => {
                    change.new += 1;
                    fresh.insert(name, values);
                }
            }
        }
        if fresh.is_empty() && change.removed == 0 {
            (change.records, change.people) = self.counts();
            return Ok((change, Vec::new()));
        }
        self.header.batch = batch;
        if self.header.model.is_none() {
            self.start(&fresh, key, threads)?;
        }
        touched.extend(self.touched(&fresh, key, threads, &mut change)?);
        let mut judged: BTreeMap<String, Entry> = BTreeMap::new();
        let again: Vec<String> = self
            .records
            .iter()
            .filter(|(_, entry)| touched.contains(&entry.component))
            .map(|(name, _)| name.clone())
            .collect();
        for name in again {
            if let Some(entry) = self.records.remove(&name) {
                before.insert(name.clone(), entry.cluster.clone());
                judged.insert(name, entry);
            }
        }
        for (name, values) in fresh {
            judged.insert(name, Entry { batch, component: String::new(), cluster: String::new(), values });
        }
        change.judged = judged.len() as u64;
        let events = self.judge(judged, &before, left, key, threads, &mut change)?;
        (change.records, change.people) = self.counts();
        Ok((change, events.into_iter().map(|event| Logged { at, batch, event }).collect()))
    }

    fn counts(&self) -> (u64, u64) {
        let people: BTreeSet<&str> = self.records.values().map(|entry| entry.cluster.as_str()).collect();
        (self.records.len() as u64, people.len() as u64)
    }

    fn table<'a>(&self, rows: impl Iterator<Item = &'a Vec<Option<String>>>) -> Result<Table, LinkError> {
        let names = self.header.config.column.iter().map(|column| column.name.as_str());
        let rows = rows.map(|values| values.iter().map(|value| value.as_deref().unwrap_or_default()).collect());
        Table::from_rows(names, rows).map_err(|problem| LinkError::Register { line: 0, problem })
    }

    /// Estimates the model on the first records and settles rules and frequencies.
    fn start(
        &mut self,
        fresh: &BTreeMap<String, Vec<Option<String>>>,
        key: &Key,
        threads: usize,
    ) -> Result<(), LinkError> {
        let table = self.table(fresh.values())?;
        let records = Records::new(&self.header.config, &table, None)?;
        let found = prepare(&records, &self.header.config, threads)?;
        let digest = digests(key);
        for (at, column) in records.columns.iter().enumerate() {
            for (value, count) in column.values.iter().zip(&found.counts.values[at]) {
                // Those seen twice weigh like those never seen; see the model.
                if *count > 2 {
                    self.header.frequent.insert(digest(at, &value.text), *count);
                }
            }
        }
        self.header.present = found.counts.present;
        self.header.model = Some(found.model);
        let blocking = &mut self.header.config.blocking;
        if blocking.rules.is_empty() {
            let chosen = found.blocking.sizes.iter().filter(|size| !size.rule.starts_with("similar spelling"));
            blocking.rules = chosen.map(|size| size.rule.split(" + ").map(str::to_owned).collect()).collect();
            if found.blocking.left_out.iter().any(|size| size.rule.starts_with("similar spelling")) {
                blocking.bands = 0;
            }
            if blocking.rules.is_empty() {
                blocking.rules = self.header.config.column.iter().map(|column| vec![column.name.clone()]).collect();
            }
        }
        Ok(())
    }

    /// The frequencies of the first records, for the values of these.
    fn frequencies(&self, records: &Records, key: &Key) -> Counts {
        let digest = digests(key);
        let seen = |at: usize, text: &str| self.header.frequent.get(&digest(at, text)).copied().unwrap_or(0);
        let of = |(at, column): (usize, &crate::compare::Column)| {
            column.values.iter().map(|value| seen(at, &value.text)).collect()
        };
        Counts { values: records.columns.iter().enumerate().map(of).collect(), present: self.header.present.clone() }
    }

    /// Components with a record that is one person with a new one.
    fn touched(
        &self,
        fresh: &BTreeMap<String, Vec<Option<String>>>,
        key: &Key,
        threads: usize,
        change: &mut Change,
    ) -> Result<BTreeSet<String>, LinkError> {
        let Some(model) = self.header.model.as_ref().filter(|_| !self.records.is_empty() && !fresh.is_empty()) else {
            return Ok(BTreeSet::new());
        };
        // The oldest different records of each cluster.
        let mut members: BTreeMap<&str, Vec<&Entry>> = BTreeMap::new();
        for entry in self.records.values() {
            let known = members.entry(&entry.cluster).or_default();
            if known.iter().all(|other| other.values != entry.values) {
                known.push(entry);
            }
        }
        let most = self.header.config.clusters.representatives;
        let representatives: Vec<&Entry> = members
            .into_values()
            .flat_map(|mut members| {
                members.sort_by_key(|entry| entry.batch);
                members.truncate(most);
                members
            })
            .collect();
        let old = self.table(representatives.iter().map(|entry| &entry.values))?;
        let new = self.table(fresh.values())?;
        let records = Records::of(&self.header.config, &[&old, &new], Reach::Added)?;
        let blocking = Blocking::new(&records, &self.header.config)?;
        let counts = self.frequencies(&records, key);
        let scorer = Scorer::new(model, &records, &counts);
        let pairs = score(&records, &blocking, &scorer, threads, None);
        change.pairs_compared += pairs.compared;
        let threshold = threshold(&self.header.config);
        let near = pairs.scored.iter().filter(|pair| pair.log_odds >= threshold && (pair.a as usize) < records.first);
        Ok(near.map(|pair| representatives[pair.a as usize].component.clone()).collect())
    }

    /// Clusters the records anew and says what changed.
    fn judge(
        &mut self,
        mut judged: BTreeMap<String, Entry>,
        before: &BTreeMap<String, String>,
        mut left: BTreeMap<String, u64>,
        key: &Key,
        threads: usize,
        change: &mut Change,
    ) -> Result<Vec<Event>, LinkError> {
        let mut events = Vec::new();
        let names: Vec<String> = judged.keys().cloned().collect();
        let table = self.table(judged.values().map(|entry| &entry.values))?;
        let mut groups: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        if let Some(model) = self.header.model.as_ref().filter(|_| !names.is_empty()) {
            let records = Records::of(&self.header.config, &[&table], Reach::Within)?;
            let blocking = Blocking::new(&records, &self.header.config)?;
            let counts = self.frequencies(&records, key);
            let scorer = Scorer::new(model, &records, &counts);
            let pairs = score(&records, &blocking, &scorer, threads, None);
            change.pairs_compared += pairs.compared;
            let log_odds = |a: usize, b: usize| scorer.compare(a, b);
            let found = partition(names.len(), pairs.scored, &self.header.config, &log_odds);
            for (at, cluster) in found.cluster.iter().enumerate() {
                groups.entry(*cluster).or_default().push(at);
            }
            for (at, component) in found.component.iter().enumerate() {
                if let Some(entry) = judged.get_mut(&names[at]) {
                    entry.component = names[*component as usize].clone();
                }
            }
            self.name_clusters(&mut judged, &names, groups.values(), before, key);
            events = happened(&judged, &names, before, &log_odds);
        }
        self.records.append(&mut judged);
        // Clusters that lost records without any of theirs being judged elsewhere.
        let present: BTreeSet<&str> = self.records.values().map(|entry| entry.cluster.as_str()).collect();
        let mut gone = Vec::new();
        while let Some((cluster, records)) = left.pop_first() {
            let has_ended = !present.contains(cluster.as_str()) && !before.values().any(|other| *other == cluster);
            gone.push(Event::Left { cluster: cluster.clone(), records });
            if has_ended {
                gone.push(Event::Ended { cluster });
            }
        }
        gone.extend(events);
        Ok(gone)
    }

    /// A cluster keeps the id that its oldest record had, unless a cluster with an older record has it.
    fn name_clusters<'a>(
        &self,
        judged: &mut BTreeMap<String, Entry>,
        names: &[String],
        groups: impl Iterator<Item = &'a Vec<usize>>,
        before: &BTreeMap<String, String>,
        key: &Key,
    ) {
        let mut used: BTreeSet<String> = self.records.values().map(|entry| entry.cluster.clone()).collect();
        let secret = key.derive("acequia link 2026-11 cluster id");
        let oldest = |group: &Vec<usize>, judged: &BTreeMap<String, Entry>| {
            let of = |at: &usize| (!before.contains_key(&names[*at]), judged[&names[*at]].batch, names[*at].clone());
            group.iter().map(of).min().unwrap_or_default()
        };
        let mut ordered: Vec<_> = groups.map(|group| (oldest(group, judged), group)).collect();
        ordered.sort();
        for ((_, _, founder), group) in ordered {
            let kept = before.get(&founder).filter(|id| !used.contains(*id)).cloned();
            let id = kept.unwrap_or_else(|| {
                let made = (0_u64..).map(|number| {
                    let mut hasher = blake3::Hasher::new_keyed(&secret);
                    hasher.update(founder.as_bytes()).update(&number.to_le_bytes());
                    hex::encode(&hasher.finalize().as_bytes()[..16])
                });
                // An id that is in use or was given up by a cluster still to be named is not given again.
                let is_free = |id: &String| !used.contains(id) && !before.values().any(|other| other == id);
                made.into_iter().find(is_free).unwrap_or_default()
            });
            used.insert(id.clone());
            for at in group {
                if let Some(entry) = judged.get_mut(&names[*at]) {
                    entry.cluster.clone_from(&id);
                }
            }
        }
    }

    /// Reads a register.
    ///
    /// # Errors
    /// [`LinkError::File`] when it cannot be read, [`LinkError::Register`] when it is damaged.
    pub fn read(path: &Path) -> Result<Self, LinkError> {
        let text =
            std::fs::read_to_string(path).map_err(|error| wrong(path, format!("cannot be read: {}", error.kind())))?;
        Self::parse(&text)
    }

    /// Reads the text of a register: a header and one record per line, as JSON.
    ///
    /// # Errors
    /// [`LinkError::Register`] with the line.
    pub fn parse(text: &str) -> Result<Self, LinkError> {
        let problem = |line: usize, problem: &str| LinkError::Register { line, problem: problem.to_owned() };
        let mut lines = text.lines();
        let header: Header = serde_json::from_str(lines.next().unwrap_or_default())
            .map_err(|_| problem(1, "the header cannot be read"))?;
        header.config.check()?;
        let width = header.config.column.len();
        let fits = header.model.as_ref().is_none_or(|model| {
            let alike = |(model, column): (&crate::ColumnModel, &crate::ColumnConfig)| {
                model.column == column.name && model.levels.len() == column.compare.levels().len()
            };
            model.columns.len() == width && model.columns.iter().zip(&header.config.column).all(alike)
        });
        if header.format != FORMAT || !fits || (header.model.is_some() && header.present.len() != width) {
            return Err(problem(1, "the header does not fit itself"));
        }
        let mut records = BTreeMap::new();
        for (at, line) in lines.enumerate() {
            let line: Line = serde_json::from_str(line).map_err(|_| problem(at + 2, "it is not a record"))?;
            if line.entry.values.len() != width || records.insert(line.record, line.entry).is_some() {
                return Err(problem(at + 2, "the record does not fit or is there twice"));
            }
        }
        Ok(Self { header, records })
    }

    /// The text of a register.
    pub fn to_text(&self) -> String {
        let mut text = serde_json::to_string(&self.header).unwrap_or_default() + "\n";
        for (record, entry) in &self.records {
            let line = Line { record: record.clone(), entry: entry.clone() };
            text += &(serde_json::to_string(&line).unwrap_or_default() + "\n");
        }
        text
    }

    /// Writes the register and adds to its log. The log is written first: lines of a change that did not come to an end are replaced when
    /// it is made again.
    ///
    /// # Errors
    /// [`LinkError::File`] when a file cannot be read or written.
    pub fn write(&self, path: &Path, log: &Path, logged: &[Logged]) -> Result<(), LinkError> {
        let before = match std::fs::read_to_string(log) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(wrong(log, format!("cannot be read: {}", error.kind()))),
        };
        let mut text = String::new();
        for (at, line) in before.lines().enumerate() {
            let known: Logged = serde_json::from_str(line)
                .map_err(|_| wrong(log, format!("line {}: not an entry of the log", at + 1)))?;
            if logged.is_empty() || known.batch < self.header.batch {
                text += &format!("{line}\n");
            }
        }
        for entry in logged {
            text += &(serde_json::to_string(entry).unwrap_or_default() + "\n");
        }
        write_whole(log, |file: &mut dyn Write| file.write_all(text.as_bytes()))?;
        let text = self.to_text();
        write_whole(path, |file: &mut dyn Write| file.write_all(text.as_bytes()))
    }
}

/// Keyed digest of a column's value.
fn digests(key: &Key) -> impl Fn(usize, &str) -> String {
    let secret = key.derive("acequia link 2026-11 frequent value");
    move |column, text| {
        let mut hasher = blake3::Hasher::new_keyed(&secret);
        hasher.update(&(column as u64).to_le_bytes()).update(text.as_bytes());
        hex::encode(&hasher.finalize().as_bytes()[..16])
    }
}

/// Differences between the clusters before and now, in the order of their ids.
fn happened(
    judged: &BTreeMap<String, Entry>,
    names: &[String],
    before: &BTreeMap<String, String>,
    log_odds: &dyn Fn(usize, usize) -> f64,
) -> Vec<Event> {
    let mut now: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    let mut then: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (at, name) in names.iter().enumerate() {
        now.entry(&judged[name].cluster).or_default().push(at);
        if let Some(cluster) = before.get(name) {
            then.entry(cluster).or_default().push(at);
        }
    }
    let was = |at: usize| before.get(&names[at]).map(String::as_str);
    let is = |at: usize| judged[&names[at]].cluster.as_str();
    let strongest = |members: &[usize], counts: &dyn Fn(usize, usize) -> bool| {
        let pairs = members.iter().flat_map(|a| members.iter().map(move |b| (*a, *b)));
        let pairs = pairs.filter(|(a, b)| a < b && counts(*a, *b));
        pairs.map(|(a, b)| log_odds(a, b)).fold(f64::NEG_INFINITY, f64::max)
    };
    let mut events = Vec::new();
    for (cluster, members) in &then {
        let parts: BTreeSet<&str> = members.iter().map(|at| is(*at)).collect();
        if parts.len() > 1 {
            let weight = strongest(members, &|a, b| is(a) != is(b));
            // The part that keeps the id comes first.
            let mut into: Vec<String> = parts.into_iter().map(str::to_owned).collect();
            into.sort_by_key(|part| (part != cluster, part.clone()));
            events.push(Event::Split { from: (*cluster).to_owned(), into, weight });
        }
    }
    for (cluster, members) in &now {
        let origins: BTreeSet<&str> = members.iter().filter_map(|at| was(*at)).collect();
        let fresh = members.iter().filter(|at| was(**at).is_none()).count() as u64;
        let cluster = (*cluster).to_owned();
        if origins.is_empty() {
            events.push(Event::New { cluster, records: members.len() as u64 });
            continue;
        }
        let from: Vec<String> = origins.into_iter().filter(|origin| *origin != cluster).map(str::to_owned).collect();
        let splits = |origin: &String| then[origin.as_str()].iter().any(|at| is(*at) != cluster);
        // A part of a split alone is told by the split.
        if !(from.is_empty() || (from.len() == 1 && splits(&from[0]) && !then.contains_key(cluster.as_str()))) {
            let weight = strongest(members, &|a, b| was(a).is_some() && was(b).is_some() && was(a) != was(b));
            events.push(Event::Merged { into: cluster.clone(), from, weight });
        }
        if fresh > 0 {
            let weight = strongest(members, &|a, b| was(a).is_none() != was(b).is_none());
            events.push(Event::Joined { cluster, records: fresh, weight });
        }
    }
    events
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damage_is_found_and_named_by_its_line() {
        let config = Config::parse("id = \"id\"\n[[column]]\nname = \"a\"\ncompare = \"name\"\n").unwrap();
        let key = Key::parse("5f1c0b7e93d24a68810f36c2e9ab57d40c6b12f8a73e95d1480b6ce2379fa1d5").unwrap();
        let mut register = Register::new(config, &key).unwrap();
        let table = Table::from_csv("id,a\nr1,Secretperson\nr2,Other\n".as_bytes()).unwrap();
        register.add(&table, &key, Timestamp::from_unix_s(0), 1).unwrap();
        let text = register.to_text();
        assert_eq!(Register::parse(&text).unwrap().to_text(), text);
        for (damaged, line) in [
            (text.replace("register 1", "register 9"), 1),
            (text.replace("\"values\":[\"Other\"]", "\"values\":[\"Other\",null]"), 3),
            (text.replace("\"cluster\"", "\"clutter\""), 2),
            (format!("{text}{}\n", text.lines().last().unwrap()), 4),
            (String::new(), 1),
        ] {
            match Register::parse(&damaged) {
                Err(error @ LinkError::Register { line: found, .. }) => {
                    assert_eq!(found, line);
                    assert!(!error.to_string().contains("Secretperson"));
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(Register::new(Config { id: None, ..register.config().clone() }, &key).is_err());
    }
}
