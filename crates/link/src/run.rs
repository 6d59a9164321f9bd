//! Linking two tables, or the records of one.

use serde::Serialize;

use crate::LinkError;
use crate::block::{Blocking, RuleSize};
use crate::cluster::{Partition, Scored, one_to_one, partition};
use crate::compare::{Reach, Records};
use crate::config::Config;
use crate::model::{Compared, Counts, Model, Sampled, Scorer, probability};
use crate::table::Table;

/// Two records that are one person.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Link {
    /// Zero-based row of the first table.
    pub a: u32,
    /// Zero-based row of the second table, or of the same.
    pub b: u32,
    /// log2 of the odds that they are one person.
    pub weight: f64,
    /// Probability that they are one person, under the model.
    pub probability: f64,
}

/// What was done and what the model says about it. Holds no value of any record.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// What was compared, and how.
    pub config: Config,
    /// Records of each table.
    pub records: Vec<u64>,
    /// Pairs in question.
    pub pairs_possible: u64,
    /// Blocking rules in use, with their sizes, counted before anything was compared.
    pub rules: Vec<RuleSize>,
    /// Rules that were too large; only where they are chosen by size.
    pub rules_left_out: Vec<RuleSize>,
    /// Pairs that were compared.
    pub pairs_compared: u64,
    /// The estimated model.
    pub model: Model,
    /// log2 odds from which on a pair is linked.
    pub threshold: f64,
    /// Pairs that are linked.
    pub links: u64,
    /// People; where one table is searched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub people: Option<u64>,
    /// Records of the largest cluster; where one table is searched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub largest_cluster: Option<u64>,
    /// What the model expects of the links.
    pub expected: Expected,
}

/// What the model expects, from the probabilities of the pairs. It knows nothing about people whom no rule brought together.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Expected {
    /// Share of links that are one person.
    pub precision: f64,
    /// Share of compared pairs of one person that are linked.
    pub recall: f64,
}

/// Links between two tables.
#[derive(Debug, Clone, PartialEq)]
pub struct Linked {
    /// Links, in the order of their rows.
    pub links: Vec<Link>,
    /// What was done.
    pub summary: Summary,
}

/// People in one table.
#[derive(Debug, Clone, PartialEq)]
pub struct Clustered {
    /// For each row, the first row of the same person.
    pub cluster: Vec<u32>,
    /// All pairs of rows of one person, with their weights.
    pub links: Vec<Link>,
    /// What was done.
    pub summary: Summary,
}

/// Pairs of the blocks, scored.
pub(crate) struct Pairs {
    /// Those that may count.
    pub(crate) scored: Vec<Scored>,
    /// How many were compared.
    pub(crate) compared: u64,
    /// Expected pairs of one person among all compared.
    pub(crate) expected: f64,
}

/// Pairs below even odds by more than this are not kept, bits.
const KEPT: f64 = -10.0;

pub(crate) fn score(
    records: &Records,
    blocking: &Blocking,
    scorer: &Scorer<'_>,
    threads: usize,
    known: Option<Sampled>,
) -> Pairs {
    let mut pairs = Pairs { scored: Vec::new(), compared: 0, expected: 0.0 };
    let mut take = |scored: Scored| {
        pairs.compared += 1;
        pairs.expected += probability(scored.log_odds);
        if scored.log_odds >= KEPT {
            pairs.scored.push(scored);
        }
    };
    let rate = |pair: Compared| Scored { a: pair.a, b: pair.b, log_odds: scorer.log_odds(pair) };
    match known {
        Some(known) if known.every == 1 => known.pairs.into_iter().map(rate).for_each(&mut take),
        _ => {
            // Chunk by chunk only what may count is kept; the sums are put together in the order of the chunks.
            let found = blocking.sweep_folded(records, threads, |pairs| {
                let mut part = Pairs { scored: Vec::new(), compared: 0, expected: 0.0 };
                for (a, b) in pairs {
                    let log_odds = scorer.compare(a, b);
                    part.compared += 1;
                    part.expected += probability(log_odds);
                    if log_odds >= KEPT {
                        part.scored.push(Scored { a: a as u32, b: b as u32, log_odds });
                    }
                }
                part
            });
            for part in found {
                pairs.compared += part.compared;
                pairs.expected += part.expected;
                pairs.scored.extend(part.scored);
            }
        }
    }
    pairs
}

/// Finds the records of two tables that are one person.
///
/// Columns of both tables are those of the configuration. With `one_to_one`, no record is linked twice. `threads` changes the time,
/// never the result.
///
/// # Errors
/// [`LinkError::Column`] when a table lacks a column, [`LinkError::TooManyPairs`] when blocking rules are too coarse.
///
/// ```
/// use acequia_link::{Config, Table, link};
/// let names = ["given", "surname", "born"];
/// let a = Table::from_rows(names, [vec!["Anna", "Lindqvist", "1952-04-13"], vec!["Omar", "Haddad", "1960-01-30"]])?;
/// let b = Table::from_rows(names, [vec!["Omar", "Hadad", "1960-01-30"], vec!["Ana", "Lindqvist", "1952-04-13"]])?;
/// let config = Config::parse(r#"
///     column = [
///         { name = "given", compare = "name" },
///         { name = "surname", compare = "name", about = "household" },
///         { name = "born", compare = "date" },
///     ]"#)?;
/// let linked = link(&a, &b, &config, 1)?;
/// let rows: Vec<_> = linked.links.iter().map(|link| (link.a, link.b)).collect();
/// assert_eq!(rows, [(0, 1), (1, 0)]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn link(a: &Table, b: &Table, config: &Config, threads: usize) -> Result<Linked, LinkError> {
    let records = Records::new(config, a, Some(b))?;
    let found = prepare(&records, config, threads)?;
    let scorer = Scorer::new(&found.model, &records, &found.counts);
    let pairs = score(&records, &found.blocking, &scorer, threads, Some(found.sampled));
    let threshold = threshold(config);
    let mut chosen = pairs.scored;
    chosen.retain(|pair| pair.log_odds >= threshold);
    if config.one_to_one {
        one_to_one(&mut chosen, records.count);
    }
    let links: Vec<Link> =
        chosen.iter().map(|pair| Link { b: pair.b - records.first as u32, ..as_link(pair) }).collect();
    let summary = summary(config, &records, found.blocking, found.model, pairs.compared, pairs.expected, &links);
    Ok(Linked { links, summary })
}

/// Finds the people in one table. `threads` changes the time, never the result.
///
/// # Errors
/// See [`link`].
pub fn dedupe(table: &Table, config: &Config, threads: usize) -> Result<Clustered, LinkError> {
    let records = Records::new(config, table, None)?;
    let found = prepare(&records, config, threads)?;
    let scorer = Scorer::new(&found.model, &records, &found.counts);
    let pairs = score(&records, &found.blocking, &scorer, threads, Some(found.sampled));
    let Partition { cluster, .. } = partition(records.count, pairs.scored, config, &|a, b| scorer.compare(a, b));
    let mut members = std::collections::BTreeMap::<u32, Vec<u32>>::new();
    for (row, first) in cluster.iter().enumerate() {
        members.entry(*first).or_default().push(row as u32);
    }
    let (people, largest) = (members.len() as u64, members.values().map(Vec::len).max().unwrap_or(0) as u64);
    let mut links = Vec::new();
    for members in members.values() {
        for (at, a) in members.iter().enumerate() {
            for b in &members[at + 1..] {
                let log_odds = scorer.compare(*a as usize, *b as usize);
                links.push(as_link(&Scored { a: *a, b: *b, log_odds }));
            }
        }
    }
    let mut summary = summary(config, &records, found.blocking, found.model, pairs.compared, pairs.expected, &links);
    (summary.people, summary.largest_cluster) = (Some(people), Some(largest));
    Ok(Clustered { cluster, links, summary })
}

/// All that is known before pairs are judged.
pub(crate) struct Prepared {
    pub(crate) blocking: Blocking,
    pub(crate) model: Model,
    pub(crate) counts: Counts,
    pub(crate) sampled: Sampled,
}

pub(crate) fn prepare(records: &Records, config: &Config, threads: usize) -> Result<Prepared, LinkError> {
    let blocking = Blocking::new(records, config)?;
    let (mut model, sampled) = Model::estimate(records, &blocking, threads);
    let counts = Counts::of(records);
    Scorer::new(&model.clone(), records, &counts).settle(&mut model, &sampled, records.pairs());
    Ok(Prepared { blocking, model, counts, sampled })
}

pub(crate) fn threshold(config: &Config) -> f64 {
    (config.probability / (1.0 - config.probability)).log2()
}

fn as_link(pair: &Scored) -> Link {
    Link { a: pair.a, b: pair.b, weight: pair.log_odds, probability: probability(pair.log_odds) }
}

fn summary(
    config: &Config,
    records: &Records,
    blocking: Blocking,
    model: Model,
    compared: u64,
    expected: f64,
    links: &[Link],
) -> Summary {
    let right: f64 = links.iter().map(|link| link.probability).sum();
    let share = |of: f64| if of > 0.0 { (right / of).min(1.0) } else { 1.0 };
    let tables = match records.reach {
        Reach::Between => vec![records.first as u64, (records.count - records.first) as u64],
        Reach::Within | Reach::Added => vec![records.count as u64],
    };
    Summary {
        config: config.clone(),
        records: tables,
        pairs_possible: records.pairs(),
        rules: blocking.sizes,
        rules_left_out: blocking.left_out,
        pairs_compared: compared,
        model,
        threshold: threshold(config),
        links: links.len() as u64,
        people: None,
        largest_cluster: None,
        expected: Expected { precision: share(links.len() as f64), recall: share(expected) },
    }
}
