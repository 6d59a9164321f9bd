//! What changed between two versions of a data set: columns, rows, statistics, splits, files, words.
//!
//! A difference is computed once, in the background, and kept: both versions never change. Nobody waits for it; who asks
//! too early is told to come back. One that could not be computed is tried again. Documents of the versions give all but
//! the rows, which are compared by a digest of their values, in passes of bounded memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use acequia_types::Coded;
use arrow::datatypes::{DataType, Field};
use arrow::row::{RowConverter, SortField};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;

use crate::facts::{Facts, FactsCache, PAUSE, count, list, number, text};
use crate::http::iso_ms;
use crate::{Catalogue, HubError, PublishedVersion, rows};

/// Layout of the document.
pub(crate) const SCHEMA: &str = "acequia-difference/1";
/// Differences that are kept in memory.
const KEPT: usize = 1024;
/// Differences that may wait for being computed.
const MOST_WAITING: usize = 16;
/// How long a request waits for one that is nearly ready.
const PATIENCE: Duration = Duration::from_millis(100);
/// Digests that are held per version at a time: 34 MB for both versions.
const PASS_ROWS: u64 = 1_000_000;
/// Passes over the tables. Each of them reads and hashes all rows of both versions, so that eight are minutes of work for
/// one difference while the others wait; versions with more rows than fit into them are not compared row by row.
const MOST_PASSES: u64 = 8;
/// Fewest people of a count that is printed, when the version does not say.
const MINIMUM_CELL: u64 = 12;

type Key = (String, String);

/// Differences by the commits of both versions.
#[derive(Default)]
pub(crate) struct Differences {
    ready: Mutex<BTreeMap<Key, Outcome>>,
    running: Mutex<BTreeMap<Key, watch::Receiver<bool>>>,
    one_at_a_time: tokio::sync::Mutex<()>,
}

enum Outcome {
    Told(Arc<Value>),
    /// It could not be computed, and is not tried again before this.
    Failed(Instant),
}

/// What there is to answer now.
#[derive(Debug)]
pub(crate) enum State {
    Ready(Arc<Value>),
    /// It is being computed.
    Computing,
    /// Too many are waiting.
    Busy,
    /// The store could not deliver.
    Failed,
}

impl Differences {
    /// The difference, or that it is on its way. Answers within [`PATIENCE`].
    pub(crate) async fn between(
        self: &Arc<Self>,
        catalogue: &Arc<dyn Catalogue>,
        facts: &Arc<FactsCache>,
        from: &Arc<PublishedVersion>,
        to: &Arc<PublishedVersion>,
    ) -> State {
        let key = (from.commit().to_owned(), to.commit().to_owned());
        let Some(mut done) = self.start(catalogue, facts, from, to, &key) else { return State::Busy };
        // The sender says `true` when it is done, or is gone.
        let _ = tokio::time::timeout(PATIENCE, done.wait_for(|done| *done)).await;
        match self.ready.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            Some(Outcome::Told(told)) => State::Ready(told.clone()),
            Some(Outcome::Failed(_)) => State::Failed,
            None => State::Computing,
        }
    }

    /// Starts computing unless it is ready or on its way already; `None` when too many wait.
    fn start(
        self: &Arc<Self>,
        catalogue: &Arc<dyn Catalogue>,
        facts: &Arc<FactsCache>,
        from: &Arc<PublishedVersion>,
        to: &Arc<PublishedVersion>,
        key: &Key,
    ) -> Option<watch::Receiver<bool>> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        match ready.get(key) {
            Some(Outcome::Told(_)) => return Some(watch::channel(true).1),
            Some(Outcome::Failed(until)) if Instant::now() < *until => return Some(watch::channel(true).1),
            Some(Outcome::Failed(_)) | None => {}
        }
        if let Some(known) = running.get(key) {
            return Some(known.clone());
        }
        if running.len() >= MOST_WAITING {
            return None;
        }
        ready.remove(key);
        let (tell, told) = watch::channel(false);
        running.insert(key.clone(), told.clone());
        let (own, catalogue, facts) = (self.clone(), catalogue.clone(), facts.clone());
        let (from, to, key) = (from.clone(), to.clone(), key.clone());
        tokio::spawn(async move {
            let document = {
                let _turn = own.one_at_a_time.lock().await;
                compute(&catalogue, &facts, &from, &to).await
            };
            {
                let mut ready = own.ready.lock().unwrap_or_else(PoisonError::into_inner);
                if ready.len() >= KEPT {
                    ready.pop_first();
                }
                let failed = || Outcome::Failed(Instant::now() + PAUSE);
                ready.insert(key.clone(), document.map_or_else(failed, |told| Outcome::Told(Arc::new(told))));
            }
            own.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
            // Nobody may be waiting any more.
            let _ = tell.send(true);
        });
        Some(told)
    }
}

/// `None` when it could not be computed now; it is then tried again when next asked for.
async fn compute(
    catalogue: &Arc<dyn Catalogue>,
    facts: &FactsCache,
    from: &Arc<PublishedVersion>,
    to: &Arc<PublishedVersion>,
) -> Option<Value> {
    let (facts_from, facts_to) =
        (facts.complete(catalogue, from).await.ok()?, facts.complete(catalogue, to).await.ok()?);
    let (catalogue, from, to) = (catalogue.clone(), from.clone(), to.clone());
    let worked = tokio::task::spawn_blocking(move || {
        let minimum =
            [&facts_from, &facts_to].map(|facts| count(&facts.statistics, "/minimum_cell").unwrap_or(MINIMUM_CELL));
        let minimum = minimum[0].max(minimum[1]);
        let rows = compare_rows(&catalogue, &from, &to, minimum)
            .map_err(|error| tracing::error!(code = error.code(), "two versions are not compared: {error}"))
            .ok()?;
        Some(document(&from, &facts_from, &to, &facts_to, minimum, &rows))
    });
    worked.await.ok().flatten()
}

fn document(
    from: &PublishedVersion,
    facts_from: &Facts,
    to: &PublishedVersion,
    facts_to: &Facts,
    minimum: u64,
    rows: &Value,
) -> Value {
    let side = |version: &PublishedVersion| {
        json!({
            "version": version.manifest().version, "commit": version.commit(),
            "published_at": iso_ms(version.published_at()), "rows": version.people(), "bytes": version.total_bytes(),
        })
    };
    json!({
        "schema": SCHEMA,
        "dataset": to.manifest().dataset.to_string(),
        "from": side(from),
        "to": side(to),
        "minimum_cell": minimum,
        "columns": columns(&facts_from.dictionary, &facts_to.dictionary),
        "splits": splits(from, to),
        "rows": rows,
        "statistics": statistics(&facts_from.statistics, &facts_to.statistics),
        "risk": changed(&[
            ("k", &facts_from.risk["policy"]["k"], &facts_to.risk["policy"]["k"]),
            ("smallest class", &facts_from.risk["classes"]["smallest"], &facts_to.risk["classes"]["smallest"]),
            ("highest risk", &facts_from.risk["risk"]["prosecutor"]["maximum"], &facts_to.risk["risk"]["prosecutor"]["maximum"]),
            ("rows left out", &facts_from.risk["rows"]["suppressed"], &facts_to.risk["rows"]["suppressed"]),
        ]),
        "words": changed(&[
            ("title", &from.manifest().title.as_str().into(), &to.manifest().title.as_str().into()),
            ("summary", &from.manifest().summary.as_str().into(), &to.manifest().summary.as_str().into()),
            ("license", &from.manifest().license.as_str().into(), &to.manifest().license.as_str().into()),
            ("program", &from.manifest().program.as_str().into(), &to.manifest().program.as_str().into()),
            ("recipe", &from.manifest().recipe.to_string().into(), &to.manifest().recipe.to_string().into()),
        ]),
        "files": files(from, to),
    })
}

/// Those of named values that differ.
fn changed(values: &[(&str, &Value, &Value)]) -> Value {
    let differing = values.iter().filter(|(_, from, to)| from != to);
    differing.map(|(name, from, to)| json!({ "name": name, "from": from, "to": to })).collect()
}

/// Columns of a dictionary by name.
fn by_name(document: &Value) -> BTreeMap<&str, &Value> {
    list(document, "/columns").iter().filter_map(|column| Some((text(column, "/name")?, column))).collect()
}

fn columns(from: &Value, to: &Value) -> Value {
    let (old, new) = (by_name(from), by_name(to));
    let brief = |name: &str, column: &Value| json!({ "name": name, "title": column["title"], "type": column["type"] });
    let only = |these: &BTreeMap<&str, &Value>, others: &BTreeMap<&str, &Value>| -> Value {
        these.iter().filter(|(name, _)| !others.contains_key(*name)).map(|(name, column)| brief(name, column)).collect()
    };
    let mut same = 0;
    let mut different = Vec::new();
    for (name, column) in &new {
        let Some(before) = old.get(name) else { continue };
        let fields = ["type", "title", "description", "unit", "role", "generalisation", "values", "equivalent"];
        let all: Vec<(&str, &Value, &Value)> =
            fields.iter().map(|field| (*field, &before[*field], &column[*field])).collect();
        let what = changed(&all);
        if what.as_array().is_some_and(Vec::is_empty) {
            same += 1;
        } else {
            different.push(json!({ "name": name, "title": column["title"], "what": what }));
        }
    }
    json!({ "added": only(&new, &old), "removed": only(&old, &new), "changed": different, "same": same })
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn splits(from: &PublishedVersion, to: &PublishedVersion) -> Value {
    let rows = |version: &PublishedVersion, name: &str| {
        version.manifest().splits.iter().find(|(split, _)| split == name).map_or(0, |(_, rows)| *rows)
    };
    let both = from.manifest().splits.iter().chain(&to.manifest().splits);
    let mut seen = BTreeSet::new();
    let names = both.map(|(name, _)| name.as_str()).filter(|name| seen.insert(*name));
    let line = |name: &str| {
        let (old, new) = (rows(from, name), rows(to, name));
        json!({ "name": name, "from": old, "to": new, "difference": signed(new).saturating_sub(signed(old)) })
    };
    names.map(line).collect()
}

fn files(from: &PublishedVersion, to: &PublishedVersion) -> Value {
    let (old, new) = (from.files(), to.files());
    let only = |these: &BTreeMap<String, _>, others: &BTreeMap<String, _>| -> Vec<String> {
        these.keys().filter(|path| !others.contains_key(*path)).cloned().collect()
    };
    let mut same = 0;
    let mut different = Vec::new();
    for (path, file) in new {
        match old.get(path) {
            Some(before) if before.sha256 == file.sha256 => same += 1,
            Some(before) => different.push(json!({
                "path": path,
                "from": { "bytes": before.bytes, "sha256": before.sha256.to_string() },
                "to": { "bytes": file.bytes, "sha256": file.sha256.to_string() },
            })),
            None => {}
        }
    }
    json!({ "added": only(new, old), "removed": only(old, new), "changed": different, "same": same })
}

/// Counts of a bin over all splits; `None` when one of them is hidden.
fn whole(counts: Option<&Value>, splits: &[&str]) -> Option<u64> {
    let counts = counts?;
    splits.iter().try_fold(0_u64, |sum, split| sum.checked_add(counts.get(*split)?.as_u64()?))
}

fn statistics(from: &Value, to: &Value) -> Value {
    let (old, new) = (by_name(from), by_name(to));
    new.iter().filter_map(|(name, column)| Some(statistics_of(name, old.get(name)?, from, column, to))).collect()
}

/// One column in both versions: the share of people per value, the middle, and how far apart the distributions are.
fn statistics_of(name: &str, old: &Value, from: &Value, new: &Value, to: &Value) -> Value {
    let names = |document: &'static str, all: &'_ Value| -> Vec<String> {
        list(all, document).iter().filter_map(|split| text(split, "/name").map(str::to_owned)).collect()
    };
    let (splits_from, splits_to) = (names("/splits", from), names("/splits", to));
    let rows = |all: &Value| list(all, "/splits").iter().filter_map(|split| count(split, "/rows")).sum::<u64>();
    let (rows_from, rows_to) = (rows(from), rows(to));
    let share = |counts: Option<&Value>, splits: &[String], rows: u64| {
        let splits: Vec<&str> = splits.iter().map(String::as_str).collect();
        whole(counts, &splits).filter(|_| rows > 0).map(|count| count as f64 / rows as f64)
    };
    let bins = |column: &'_ Value| -> Vec<(String, Option<Value>)> {
        list(column, "/bins")
            .iter()
            .filter_map(|bin| Some((text(bin, "/label")?.to_owned(), bin.get("counts").cloned())))
            .collect()
    };
    let (bins_from, bins_to) = (bins(old), bins(new));
    let labels =
        |bins: &[(String, Option<Value>)]| -> Vec<String> { bins.iter().map(|(label, _)| label.clone()).collect() };
    let is_number = text(new, "/kind") == Some("number") || text(old, "/kind") == Some("number");
    // Intervals of a number can only be compared when they are the same; of categories the union is shown.
    let comparable = !is_number || labels(&bins_from) == labels(&bins_to);
    let mut lines = Vec::new();
    let mut distance = Some(0.0);
    if comparable {
        let mut all = labels(&bins_to);
        all.extend(labels(&bins_from).into_iter().filter(|label| !bins_to.iter().any(|(known, _)| known == label)));
        // A value that the other version does not list has no row there.
        let find = |bins: &[(String, Option<Value>)], label: &str, splits: &[String], rows: u64| {
            bins.iter()
                .find(|(known, _)| known == label)
                .map_or(Some(0.0), |(_, counts)| share(counts.as_ref(), splits, rows))
        };
        for label in all {
            let before = find(&bins_from, &label, &splits_from, rows_from);
            let after = find(&bins_to, &label, &splits_to, rows_to);
            distance = match (distance, before, after) {
                (Some(sum), Some(before), Some(after)) => Some(sum + (after - before).abs() / 2.0),
                _ => None,
            };
            lines.push(json!({ "label": label, "from": before, "to": after }));
        }
    }
    let middle = |measure: &str| -> Value {
        let both = splits_to.iter().filter_map(|split| {
            let at = format!("/{measure}/{split}");
            Some(json!({ "split": split, "from": number(old, &at)?, "to": number(new, &at)? }))
        });
        both.collect()
    };
    let missing = |column: &Value, splits: &[String], rows| share(column.get("missing"), splits, rows);
    json!({
        "name": name,
        "title": new["title"],
        "kind": new["kind"],
        "comparable": comparable,
        "total_variation_distance": distance.filter(|_| comparable),
        "bins": lines,
        "missing": { "from": missing(old, &splits_from, rows_from), "to": missing(new, &splits_to, rows_to) },
        "mean": middle("mean"),
        "median": middle("median"),
    })
}

/// A row's digest and the position of its split.
type Fingerprint = ([u8; 16], u8);

/// Compares the rows of both versions as multisets over the columns that all tables of both have in the same type.
///
/// # Errors
/// [`HubError::Unreadable`] when a table cannot be read.
fn compare_rows(
    catalogue: &Arc<dyn Catalogue>,
    from: &PublishedVersion,
    to: &PublishedVersion,
    minimum: u64,
) -> Result<Value, HubError> {
    let not = |reason: &str| json!({ "compared": false, "reason": reason });
    let (old, new) = (columns_of(catalogue, from)?, columns_of(catalogue, to)?);
    let (Some(old), Some(mut common)) = (old, new) else { return Ok(not("A version has no tables.")) };
    common.retain(|name, kind| old.get(name) == Some(kind));
    let common: Vec<(String, DataType)> = common.into_iter().collect();
    if common.is_empty() {
        return Ok(not("The versions have no column in common."));
    }
    let passes = from.people().max(to.people()).div_ceil(PASS_ROWS).max(1);
    if passes > MOST_PASSES {
        let most = PASS_ROWS * MOST_PASSES;
        return Ok(not(&format!("A version has more than {most} rows, which are too many to be compared one by one.")));
    }
    let both = from.manifest().splits.iter().chain(&to.manifest().splits);
    let names: BTreeSet<&str> = both.map(|(name, _)| name.as_str()).collect();
    let names: Vec<&str> = names.into_iter().collect();
    let (mut same, mut added, mut removed, mut moved) = (0_u64, 0_u64, 0_u64, 0_u64);
    for pass in 0..passes {
        let mut before = fingerprints(catalogue, from, &names, &common, (pass, passes))?;
        let mut after = fingerprints(catalogue, to, &names, &common, (pass, passes))?;
        before.sort_unstable();
        after.sort_unstable();
        let (mut old, mut new) =
            (before.chunk_by(|a, b| a.0 == b.0).peekable(), after.chunk_by(|a, b| a.0 == b.0).peekable());
        loop {
            let order = match (old.peek(), new.peek()) {
                (None, None) => break,
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (Some(a), Some(b)) => a[0].0.cmp(&b[0].0),
            };
            match order {
                std::cmp::Ordering::Less => removed += old.next().map_or(0, |run| run.len() as u64),
                std::cmp::Ordering::Greater => added += new.next().map_or(0, |run| run.len() as u64),
                std::cmp::Ordering::Equal => {
                    let (Some(a), Some(b)) = (old.next(), new.next()) else { break };
                    let kept = a.len().min(b.len()) as u64;
                    let stayed: u64 = (0..=u8::MAX)
                        .map(|split| {
                            let of = |run: &[Fingerprint]| run.iter().filter(|(_, own)| *own == split).count() as u64;
                            of(a).min(of(b))
                        })
                        .take(a.iter().chain(b).map(|(_, split)| usize::from(*split) + 1).max().unwrap_or(0))
                        .sum();
                    same += kept;
                    moved += kept - stayed;
                    removed += a.len() as u64 - kept;
                    added += b.len() as u64 - kept;
                }
            }
        }
    }
    let small = |count: u64| (1..minimum).contains(&count);
    // Each of the three follows from any other and the numbers of rows, which everybody knows: they are hidden together.
    let hidden = [same, added, removed].into_iter().any(small);
    let shown = |count: u64| if hidden { Value::Null } else { count.into() };
    // So do those that stayed in their part and those that moved to another one.
    let moved_hidden = hidden || small(moved) || small(same - moved);
    Ok(json!({
        "compared": true,
        "columns": common.iter().map(|(name, _)| name).collect::<Vec<_>>(),
        "same": shown(same),
        "added": shown(added),
        "removed": shown(removed),
        "in_another_split": if moved_hidden { Value::Null } else { moved.into() },
    }))
}

/// The columns that all tables of a version have in the same type; `None` when it has no tables.
fn columns_of(
    catalogue: &Arc<dyn Catalogue>,
    version: &PublishedVersion,
) -> Result<Option<BTreeMap<String, DataType>>, HubError> {
    let mut common: Option<BTreeMap<String, DataType>> = None;
    for (_, files) in rows::splits(version) {
        for file in files {
            let own = rows::open(catalogue, file)?.schema().clone();
            let named = |field: &Arc<Field>| (field.name().clone(), field.data_type().clone());
            match &mut common {
                None => common = Some(own.fields().iter().map(named).collect()),
                Some(common) => {
                    common.retain(|name, kind| own.field_with_name(name).is_ok_and(|field| field.data_type() == kind))
                }
            }
        }
    }
    Ok(common)
}

/// Digests of the rows that belong to this pass. `names` are the splits of both versions.
fn fingerprints(
    catalogue: &Arc<dyn Catalogue>,
    version: &PublishedVersion,
    names: &[&str],
    columns: &[(String, DataType)],
    (pass, passes): (u64, u64),
) -> Result<Vec<Fingerprint>, HubError> {
    let mut all = Vec::new();
    for (split, files) in rows::splits(version) {
        let place = names.iter().position(|name| *name == split).unwrap_or_default() as u8;
        for file in files {
            let reader = rows::open(catalogue, file)?.build().map_err(rows::unreadable(file))?;
            let fields = columns.iter().map(|(_, kind)| SortField::new(kind.clone())).collect();
            let converter = RowConverter::new(fields).map_err(rows::unreadable(file))?;
            for batch in reader {
                let batch = batch.map_err(rows::unreadable(file))?;
                let places = columns.iter().map(|(name, _)| batch.schema_ref().index_of(name));
                let places = places.collect::<Result<Vec<_>, _>>().map_err(rows::unreadable(file))?;
                let wanted: Vec<_> = places.into_iter().map(|at| batch.column(at).clone()).collect();
                let encoded = converter.convert_columns(&wanted).map_err(rows::unreadable(file))?;
                for row in encoded.iter() {
                    let hash = Sha256::digest(row.as_ref());
                    let mut short = [0; 16];
                    short.copy_from_slice(&hash[..16]);
                    let part = u64::from_be_bytes([
                        hash[16], hash[17], hash[18], hash[19], hash[20], hash[21], hash[22], hash[23],
                    ]);
                    if part % passes == pass {
                        all.push((short, place));
                    }
                }
            }
        }
    }
    Ok(all)
}
