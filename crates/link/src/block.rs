//! Which pairs are compared at all: records that agree in every key of at least one rule.
//!
//! The size of every rule is counted before anything is compared. Pairs come out once, in order, whatever rules they
//! share and however many threads work.

use std::ops::Range;

use hashbrown::HashMap;
use rphonetic::{Cologne, DoubleMetaphone, Encoder};
use serde::Serialize;

use crate::LinkError;
use crate::compare::{Comparator, Records, Value};
use crate::config::Config;
use crate::hash::mix;
use crate::table::MISSING;
use crate::threads::in_chunks;

/// What becomes of a value before it is a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transformation {
    Exact,
    /// Double Metaphone (Philips 2000).
    Sound,
    /// Cologne phonetics (Postel 1969), for German names.
    Cologne,
    /// The first five characters.
    Start,
    /// The year of a date.
    Year,
    /// Month and day of a date.
    Day,
}

impl Transformation {
    const ALL: [(Self, &'static str); 6] = [
        (Self::Exact, "exact"),
        (Self::Sound, "sound"),
        (Self::Cologne, "cologne"),
        (Self::Start, "start"),
        (Self::Year, "year"),
        (Self::Day, "day"),
    ];

    pub(crate) fn named(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, name)| *name == word).map(|(found, _)| *found)
    }

    fn apply(self, value: &Value) -> Option<String> {
        let sounds = |encoder: &dyn Encoder| {
            let words = value.text.split(' ');
            // The encoders know Latin letters only; other scripts are their own key.
            let sound = if value.text.is_ascii() {
                words.map(|word| encoder.encode(word)).collect::<Vec<_>>().join(" ")
            } else {
                value.text.clone()
            };
            if sound.trim().is_empty() { value.text.clone() } else { sound }
        };
        let digits = value.eight_digits().map(|_| value.text.as_str());
        match self {
            Self::Exact => Some(value.text.clone()),
            Self::Sound => Some(sounds(&DoubleMetaphone::default())),
            Self::Cologne => Some(sounds(&Cologne)),
            Self::Start => Some(value.text.chars().take(5).collect()),
            Self::Year => digits.map(|digits| digits[..4].to_owned()),
            Self::Day => digits.map(|digits| digits[4..].to_owned()),
        }
    }
}

/// Size of a rule, known before any pair is compared.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct RuleSize {
    /// The rule, as columns and transformations.
    pub rule: String,
    /// Pairs that agree in it.
    pub pairs: u64,
    /// Records that share its most frequent key.
    pub largest: u64,
}

/// Records in the order of a rule's key.
struct Blocks {
    /// Records; within a block ascending.
    order: Vec<u32>,
    /// Place in `order`, by record; [`MISSING`] without key or partner.
    place: Vec<u32>,
    /// End of the block, by place.
    end: Vec<u32>,
}

/// All rules in use.
pub(crate) struct Blocking {
    rules: Vec<Blocks>,
    pub(crate) sizes: Vec<RuleSize>,
    /// Rules that were too large; only where rules are chosen by size.
    pub(crate) left_out: Vec<RuleSize>,
}

/// A key: a column with its transformation, as numbers by record.
struct Key {
    name: String,
    numbers: Vec<u32>,
}

fn key(records: &Records, column: usize, transformation: Transformation) -> Key {
    let column = &records.columns[column];
    let mut known = HashMap::new();
    let numbers: Vec<u32> = column
        .values
        .iter()
        .map(|value| match transformation.apply(value) {
            Some(text) => {
                let next = known.len() as u32;
                *known.entry(text).or_insert(next)
            }
            None => MISSING,
        })
        .collect();
    let numbers = column.rows.iter().map(|row| numbers.get(*row as usize).copied().unwrap_or(MISSING)).collect();
    let word = Transformation::ALL.iter().find(|(found, _)| *found == transformation).map_or("", |(_, word)| *word);
    let name =
        if transformation == Transformation::Exact { column.name.clone() } else { format!("{}:{word}", column.name) };
    Key { name, numbers }
}

/// Keys and records with all keys of a rule, sorted.
fn keyed(keys: &[&Key], count: usize) -> Vec<(u64, u32)> {
    let mut keyed = Vec::with_capacity(count);
    keyed.extend((0..count).filter_map(|record| number(keys, record).map(|key| (key, record as u32))));
    keyed.sort_unstable();
    keyed
}

/// Number of the keys of a record together; `None` without one of them. Two different keys with one number cost a needless
/// comparison, nothing else.
fn number(keys: &[&Key], record: usize) -> Option<u64> {
    let mut hash = 0;
    for key in keys {
        let number = key.numbers[record];
        if number == MISSING {
            return None;
        }
        hash = mix(hash, u64::from(number));
    }
    Some(hash)
}

/// Pairs of all blocks and the largest block, from a share of the keys where there are many records.
fn estimate(keys: &[&Key], records: &Records) -> (u64, u64) {
    let every = (records.count as u64 / ESTIMATED_FROM).max(1);
    let mut counts: HashMap<u64, (u64, u64)> = HashMap::new();
    for record in 0..records.count {
        let Some(key) = number(keys, record).filter(|key| every == 1 || mix(*key, 3).is_multiple_of(every)) else {
            continue;
        };
        let (first, rest) = counts.entry(key).or_default();
        if record < records.first { *first += 1 } else { *rest += 1 }
    }
    // Sums and a largest element do not depend on the order of the map.
    let (mut pairs, mut largest) = (0_u64, 0_u64);
    for (first, rest) in counts.into_values() {
        let found = records.reach.pairs(first, first + rest);
        pairs += found;
        largest = largest.max(if found > 0 { first + rest } else { 0 });
    }
    (pairs.saturating_mul(every), largest)
}

/// Pairs of each block, and the largest block.
fn measure(keyed: &[(u64, u32)], records: &Records) -> (u64, u64) {
    let (mut pairs, mut largest) = (0_u64, 0_u64);
    for block in keyed.chunk_by(|a, b| a.0 == b.0) {
        let all = block.len() as u64;
        let first = block.partition_point(|(_, record)| (*record as usize) < records.first) as u64;
        let found = records.reach.pairs(first, all);
        pairs += found;
        if found > 0 {
            largest = largest.max(all);
        }
    }
    (pairs, largest)
}

fn blocks(keyed: &[(u64, u32)], count: usize) -> Blocks {
    let mut blocks = Blocks { order: Vec::new(), place: vec![MISSING; count], end: Vec::new() };
    for block in keyed.chunk_by(|a, b| a.0 == b.0).filter(|block| block.len() > 1) {
        let end = (blocks.order.len() + block.len()) as u32;
        for (_, record) in block {
            blocks.place[*record as usize] = blocks.order.len() as u32;
            blocks.order.push(*record);
            blocks.end.push(end);
        }
    }
    blocks
}

impl Blocking {
    /// The rules of the configuration, or rules chosen by size where it has none.
    ///
    /// # Errors
    /// [`LinkError::TooManyPairs`] when the configured rules would compare more pairs than allowed.
    pub(crate) fn new(records: &Records, config: &Config) -> Result<Self, LinkError> {
        let mut blocking = Self { rules: Vec::new(), sizes: Vec::new(), left_out: Vec::new() };
        let limit = config.blocking.limit_pairs;
        if config.blocking.rules.is_empty() {
            blocking.choose(records, limit);
        } else {
            let mut keys: Vec<Key> = Vec::new();
            for rule in &config.blocking.rules {
                let mut at = Vec::new();
                for word in rule {
                    let (name, transformation) = word.split_once(':').unwrap_or((word, "exact"));
                    let found = config.position(name).zip(Transformation::named(transformation));
                    let Some((column, transformation)) = found else { continue };
                    let made = key(records, column, transformation);
                    at.push(keys.iter().position(|known| known.name == made.name).unwrap_or_else(|| {
                        keys.push(made);
                        keys.len() - 1
                    }));
                }
                let keys: Vec<&Key> = at.iter().map(|at| &keys[*at]).collect();
                blocking.add(rule.join(" + "), &keyed(&keys, records.count), records, limit)?;
            }
        }
        if config.blocking.bands > 0 {
            let chosen = config.blocking.rules.is_empty();
            for (band, keyed) in bands(records, config.blocking.bands).into_iter().enumerate() {
                let name = format!("similar spelling {}", band + 1);
                match blocking.add(name, &keyed, records, limit) {
                    Err(LinkError::TooManyPairs { rule, pairs, largest, .. }) if chosen => {
                        blocking.left_out.push(RuleSize { rule, pairs, largest });
                    }
                    other => other?,
                }
            }
        }
        Ok(blocking)
    }

    fn add(&mut self, rule: String, keyed: &[(u64, u32)], records: &Records, limit: u64) -> Result<(), LinkError> {
        let (pairs, largest) = measure(keyed, records);
        let before: u64 = self.sizes.iter().map(|size| size.pairs).sum();
        if before.saturating_add(pairs) > limit {
            return Err(LinkError::TooManyPairs { rule, pairs, limit, largest });
        }
        self.sizes.push(RuleSize { rule, pairs, largest });
        self.rules.push(blocks(keyed, records.count));
        Ok(())
    }

    /// Single columns where their blocks are small, then two columns together, then three: each rule only where no part of
    /// it is a rule already, smallest first, as long as all together stay in proportion to the records.
    fn choose(&mut self, records: &Records, limit: u64) {
        let count = records.count as u64;
        let budget = limit.min(count.saturating_mul(PAIRS_PER_RECORD).max(10_000));
        let (single, several) = (budget / 8, budget / 4);
        // Coarse keys find more and are tried first; a fine key of the same column counts only alone, where the coarse one is too large.
        let (mut keys, mut coarse): (Vec<(usize, Key)>, usize) = (Vec::new(), 0);
        for (at, column) in records.columns.iter().enumerate() {
            use Transformation::{Day, Exact, Sound, Start, Year};
            let transformations: &[Transformation] = match column.comparator {
                Comparator::Name => &[Sound],
                Comparator::Text => &[Start],
                Comparator::Date => &[Exact, Year, Day],
                Comparator::Identifier | Comparator::Code | Comparator::Category => &[Exact],
            };
            keys.extend(transformations.iter().map(|transformation| (at, key(records, at, *transformation))));
            coarse = keys.len();
        }
        for (at, column) in records.columns.iter().enumerate() {
            if matches!(column.comparator, Comparator::Name | Comparator::Text) {
                keys.push((at, key(records, at, Transformation::Exact)));
            }
        }
        let mut used: Vec<Vec<usize>> = Vec::new();
        let mut grown: Vec<Vec<usize>> = vec![Vec::new()];
        for size in 1..=3 {
            let mut found: Vec<(u64, Vec<usize>, RuleSize)> = Vec::new();
            let mut too_large = Vec::new();
            let last = if size == 1 { keys.len() } else { coarse };
            for part in &grown {
                for next in part.last().map_or(0, |last| last + 1)..last {
                    let rule: Vec<usize> = part.iter().copied().chain([next]).collect();
                    let columns: Vec<usize> = rule.iter().map(|at| keys[*at].0).collect();
                    let is_twice = columns.windows(2).any(|pair| pair[0] == pair[1]);
                    let is_covered = used.iter().any(|used| used.iter().all(|at| rule.contains(at)));
                    let is_finer = next >= coarse && found.iter().any(|(_, rule, _)| keys[rule[0]].0 == columns[0]);
                    if is_twice || is_covered || is_finer {
                        continue;
                    }
                    let parts: Vec<&Key> = rule.iter().map(|at| &keys[*at].1).collect();
                    let (pairs, largest) = estimate(&parts, records);
                    let rule_name = parts.iter().map(|key| key.name.as_str()).collect::<Vec<_>>().join(" + ");
                    let measured = RuleSize { rule: rule_name, pairs, largest };
                    if pairs <= if size == 1 { single } else { several } {
                        found.push((pairs, rule, measured));
                    } else if size == 3 || next >= coarse {
                        self.left_out.push(measured);
                    } else {
                        too_large.push(rule);
                    }
                }
            }
            found.sort();
            for (pairs, rule, measured) in found {
                let before: u64 = self.sizes.iter().map(|size| size.pairs).sum();
                if pairs == 0 {
                    continue;
                }
                if before + pairs > budget || self.sizes.len() >= MOST_RULES {
                    self.left_out.push(measured);
                    continue;
                }
                let parts: Vec<&Key> = rule.iter().map(|at| &keys[*at].1).collect();
                let keyed = keyed(&parts, records.count);
                // The exact size, where it was estimated.
                let (pairs, largest) = measure(&keyed, records);
                if before + pairs > limit {
                    self.left_out.push(RuleSize { pairs, largest, ..measured });
                    continue;
                }
                self.rules.push(blocks(&keyed, records.count));
                self.sizes.push(RuleSize { pairs, largest, ..measured });
                used.push(rule);
            }
            grown = too_large;
        }
    }

    /// Partners of records of the range, sorted, each pair once: the first record above, the second below.
    pub(crate) fn pairs(&self, records: &Records, range: Range<usize>, found: &mut Vec<u64>) {
        found.clear();
        for blocks in &self.rules {
            for record in range.clone() {
                let place = blocks.place[record];
                let (Some(least), true) = (records.partners(record), place != MISSING) else { continue };
                let others = &blocks.order[place as usize + 1..blocks.end[place as usize] as usize];
                let others = &others[others.partition_point(|other| (*other as usize) < least)..];
                found.extend(others.iter().map(|other| (record as u64) << 32 | u64::from(*other)));
            }
        }
        found.sort_unstable();
        found.dedup();
    }

    /// Runs over all pairs, records in chunks; what comes out is in the order of the pairs.
    pub(crate) fn sweep<T: Send>(
        &self,
        records: &Records,
        threads: usize,
        each: impl Fn(usize, usize, &mut Vec<T>) + Sync,
    ) -> Vec<T> {
        self.in_chunks(records, threads, |pairs| {
            let mut out = Vec::with_capacity(pairs.len());
            pairs.iter().for_each(|pair| each((pair >> 32) as usize, *pair as u32 as usize, &mut out));
            out
        })
    }

    /// Folds the pairs of each chunk of records; the results are in the order of the chunks.
    pub(crate) fn sweep_folded<T: Send>(
        &self,
        records: &Records,
        threads: usize,
        fold: impl Fn(&mut dyn Iterator<Item = (usize, usize)>) -> T + Sync,
    ) -> Vec<T> {
        self.in_chunks(records, threads, |pairs| {
            vec![fold(&mut pairs.iter().map(|pair| ((pair >> 32) as usize, *pair as u32 as usize)))]
        })
    }

    fn in_chunks<T: Send>(&self, records: &Records, threads: usize, work: impl Fn(&[u64]) -> Vec<T> + Sync) -> Vec<T> {
        in_chunks(records.count, CHUNK, threads, |range| {
            let mut pairs = Vec::new();
            self.pairs(records, range, &mut pairs);
            work(&pairs)
        })
    }
}

/// Pairs per record that rules chosen by size may compare, all together.
const PAIRS_PER_RECORD: u64 = 64;
/// Rules that are chosen at most: each takes eight bytes per record.
const MOST_RULES: usize = 48;
/// Records from which on the size of a rule is estimated on a share of its keys before it is chosen.
const ESTIMATED_FROM: u64 = 50_000;
/// Records of a chunk.
const CHUNK: usize = 2048;

/// MinHash bands over the bigrams of all columns (Broder 1997; Indyk and Motwani 1998): records whose spellings are similar
/// over all columns together share a band, whichever columns the slips are in.
fn bands(records: &Records, bands: u32) -> Vec<Vec<(u64, u32)>> {
    const ROWS: usize = 4;
    let hashes = bands as usize * ROWS;
    // Bigrams of each distinct value are hashed once. One hash of a bigram feeds one row of one band (one permutation
    // hashing, Li et al. 2012): a record costs its bigrams, not bigrams times hashes.
    let grams: Vec<Vec<Vec<u64>>> = records
        .columns
        .iter()
        .enumerate()
        .map(|(at, column)| {
            // Columns that change places share their bigrams.
            let salt = column.swap.map_or(at, |other| other.min(at)) as u64;
            column.values.iter().map(|value| bigrams(&value.text).map(|gram| mix(gram, salt)).collect()).collect()
        })
        .collect();
    let mut found = vec![Vec::with_capacity(records.count); bands as usize];
    let mut least = vec![u64::MAX; hashes];
    for record in 0..records.count {
        least.fill(u64::MAX);
        for (column, grams) in records.columns.iter().zip(&grams) {
            let Some(grams) = grams.get(column.rows[record] as usize) else { continue };
            for gram in grams {
                let bin = (gram >> 32) as usize % hashes;
                least[bin] = least[bin].min(mix(*gram, 7));
            }
        }
        for (band, rows) in least.chunks(ROWS).enumerate() {
            // Empty rows agree with everybody: a band counts with at most one.
            if rows.iter().filter(|hash| **hash == u64::MAX).count() <= 1 {
                found[band].push((rows.iter().fold(0, |hash, row| mix(hash, *row)), record as u32));
            }
        }
    }
    found.iter_mut().for_each(|keyed| keyed.sort_unstable());
    found
}

/// Pairs of neighbouring characters, with the ends marked.
fn bigrams(text: &str) -> impl Iterator<Item = u64> {
    let letters = std::iter::once(' ').chain(text.chars()).chain([' ']);
    letters.clone().zip(letters.skip(1)).map(|(a, b)| u64::from(u32::from(a)) << 32 | u64::from(u32::from(b)))
}
