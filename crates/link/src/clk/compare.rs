//! All filters of one party against all of the other.
//!
//! No key, no truth: where to draw the line is estimated from the scores. Nobody is in a file twice, so once the best pairs are chosen one to one,
//! the pairs that were not chosen are pairs of different people, and show how often such pairs score high.

use serde::Serialize;

use super::file::Encoded;
use crate::LinkError;
use crate::hash::mix;
use crate::threads::in_chunks;

/// Two encoded records that are one person.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct PrivateLink {
    /// Zero-based record of the first file.
    pub a: u32,
    /// Zero-based record of the second file.
    pub b: u32,
    /// Dice's coefficient of the filters.
    pub dice: f64,
    /// Estimated probability that they are one person.
    pub probability: f64,
}

/// Links between two files of encoded records.
#[derive(Debug, Clone, PartialEq)]
pub struct PrivateLinked {
    /// In the order of the first file.
    pub links: Vec<PrivateLink>,
    /// What was done.
    pub summary: PrivateSummary,
}

/// What was done, and what the scores say about it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PrivateSummary {
    /// Records of each file.
    pub records: [u64; 2],
    /// Records without a single set bit; they are linked with nobody.
    pub empty: [u64; 2],
    /// Bits of a filter.
    pub bits: u32,
    /// Share of bits that are set, over both files.
    pub fill: f64,
    /// All pairs; each was compared, or cannot reach `considered_from` by its numbers of set bits.
    pub pairs: u64,
    /// Dice's coefficient from which on pairs were considered at all.
    pub considered_from: f64,
    /// Dice's coefficient from which on pairs are linked: the lowest of a link.
    pub threshold: Option<f64>,
    /// Links.
    pub links: u64,
    /// Expected share of links that are one person.
    pub expected_precision: f64,
    /// Expected share of one person's pairs, among those considered, that are linked.
    pub expected_recall: f64,
}

/// A pair that may count.
#[derive(Debug, Clone, Copy)]
struct Near {
    a: u32,
    b: u32,
    common: u32,
    dice: f64,
}

/// Pairs per record of the larger file that are considered beyond the links, about.
const CONSIDERED: f64 = 4.0;
/// Steps of Dice's coefficient in which scores are counted.
const STEPS: usize = 200;
/// Candidates that one record keeps at most.
const MOST_NEAR: usize = 64;

/// Links two files of encoded records, one to one, from the given probability on (usually 0.5). `threads` changes the time, never the
/// result.
///
/// # Errors
/// [`LinkError::Different`] when the files were made with different keys or configurations.
pub fn link_encoded(a: &Encoded, b: &Encoded, probability: f64, threads: usize) -> Result<PrivateLinked, LinkError> {
    a.check_alike(b)?;
    if !(probability > 0.0 && probability < 1.0) {
        return Err(LinkError::Config { message: "probability must be above 0 and below 1".to_owned() });
    }
    let sides = [Side::new(a), Side::new(b)];
    let sampled = Sampled::new(&sides);
    let least = sampled.least(&sides);
    let near = match a.bits() / 64 {
        2 => near::<2>(&sides, least, threads),
        4 => near::<4>(&sides, least, threads),
        8 => near::<8>(&sides, least, threads),
        16 => near::<16>(&sides, least, threads),
        32 => near::<32>(&sides, least, threads),
        64 => near::<64>(&sides, least, threads),
        _ => near::<128>(&sides, least, threads),
    };
    let (chosen, rest) = choose(near, &sides);
    let judged = judge(&chosen, &rest, &sampled, &sides);
    let mut links: Vec<PrivateLink> = chosen
        .iter()
        .map(|pair| PrivateLink { a: pair.a, b: pair.b, dice: pair.dice, probability: judged[step(pair.dice)] })
        .filter(|link| link.probability >= probability)
        .collect();
    links.sort_unstable_by_key(|link| (link.a, link.b));
    let right: f64 = links.iter().map(|link| link.probability).sum();
    let all: f64 = chosen.iter().map(|pair| judged[step(pair.dice)]).sum();
    let share = |of: f64| if of > 0.0 { right / of } else { 1.0 };
    let set: u64 = sides.iter().flat_map(|side| &side.set).map(|set| u64::from(*set)).sum();
    let total = (a.records() + b.records()) as u64 * a.bits() as u64;
    let summary = PrivateSummary {
        records: [a.records() as u64, b.records() as u64],
        empty: [&sides[0], &sides[1]].map(|side| side.set.iter().filter(|set| **set == 0).count() as u64),
        bits: a.header.bits,
        fill: if total > 0 { set as f64 / total as f64 } else { 0.0 },
        pairs: a.records() as u64 * b.records() as u64,
        considered_from: least,
        threshold: links.iter().map(|link| link.dice).reduce(f64::min),
        links: links.len() as u64,
        expected_precision: share(links.len() as f64),
        expected_recall: share(all),
    };
    Ok(PrivateLinked { links, summary })
}

/// A file with its records in the order of their numbers of set bits; empty ones left out.
struct Side<'a> {
    encoded: &'a Encoded,
    /// Set bits, by record.
    set: Vec<u32>,
    order: Vec<u32>,
}

impl<'a> Side<'a> {
    fn new(encoded: &'a Encoded) -> Self {
        let set: Vec<u32> = (0..encoded.records()).map(|record| encoded.set_bits(record)).collect();
        let mut order: Vec<u32> = (0..encoded.records() as u32).filter(|at| set[*at as usize] > 0).collect();
        order.sort_by_key(|at| set[*at as usize]);
        Self { encoded, set, order }
    }
}

fn dice_of(common: u32, set: u32) -> f64 {
    2.0 * f64::from(common) / f64::from(set.max(1))
}

fn step(dice: f64) -> usize {
    ((dice * STEPS as f64) as usize).min(STEPS)
}

/// Scores of random pairs: almost all of different people.
struct Sampled {
    /// Ascending.
    scores: Vec<f64>,
    median: f64,
    /// Standard deviation of a normal distribution with the same quartiles.
    spread: f64,
}

impl Sampled {
    fn new(sides: &[Side<'_>; 2]) -> Self {
        let [a, b] = sides;
        let (rows, columns) = (a.order.len() as u64, b.order.len() as u64);
        // Enough to see the few scores per record that are considered; all pairs where there are few.
        let wanted = (rows.min(columns) * 100).clamp(100_000, 100_000_000);
        let mut scores = Vec::new();
        let mut score = |row: u64, column: u64| {
            let (left, right) = (a.order[row as usize] as usize, b.order[column as usize] as usize);
            scores.push(a.encoded.dice(left, b.encoded, right));
        };
        if rows.saturating_mul(columns) <= wanted {
            (0..rows).for_each(|row| (0..columns).for_each(|column| score(row, column)));
        } else {
            (0..wanted / 4).for_each(|number| score(mix(number, 1) % rows, mix(number, 2) % columns));
        }
        scores.sort_unstable_by(f64::total_cmp);
        let quantile = |share: f64| scores.get((scores.len() as f64 * share) as usize).copied().unwrap_or(0.0);
        let (median, spread) = (quantile(0.5), (quantile(0.75) - quantile(0.25)) / 1.349);
        Self { median, spread, scores }
    }

    /// The score from which on about [`CONSIDERED`] pairs per record lie.
    fn least(&self, sides: &[Side<'_>; 2]) -> f64 {
        let share = CONSIDERED / sides.iter().map(|side| side.order.len()).min().unwrap_or(0).max(1) as f64;
        let above = (self.scores.len() as f64 * share) as usize;
        if above >= self.scores.len() { 0.0 } else { self.scores[self.scores.len() - 1 - above] }
    }

    /// Pairs of different people in a step of the score, were scores normally distributed: an expectation beyond what was seen.
    fn normal(&self, at: usize, pairs: f64) -> f64 {
        let z = ((at as f64 + 0.5) / STEPS as f64 - self.median) / self.spread.max(1e-3);
        pairs / STEPS as f64 / self.spread.max(1e-3) * 0.398_942_28 * (-z * z / 2.0).exp()
    }
}

/// Pairs with a score of at least `least`. All pairs are gone through; whole tiles are spared where the numbers of set
/// bits alone keep the score below: 2 |a ∧ b| ≤ 2 min(|a|, |b|).
fn near<const WORDS: usize>(sides: &[Side<'_>; 2], least: f64, threads: usize) -> Vec<Near> {
    let [a, b] = sides;
    let filters = |side: &Side<'_>| -> (Vec<[u64; WORDS]>, Vec<u32>) {
        let filter =
            |record: &u32| -> [u64; WORDS] { side.encoded.filter(*record as usize).try_into().unwrap_or([0; WORDS]) };
        (side.order.iter().map(filter).collect(), side.order.iter().map(|at| side.set[*at as usize]).collect())
    };
    let ((rows, rows_set), (columns, columns_set)) = (filters(a), filters(b));
    let tiles: Vec<Tile<WORDS>> = columns
        .chunks(TILE)
        .map(|columns| {
            std::array::from_fn(|word| std::array::from_fn(|at| columns.get(at).map_or(0, |column| column[word])))
        })
        .collect();
    // The comparison in whole numbers: 2 · common / set ≥ least, in 65,536ths, rounded down so that none is lost.
    let scaled = (least * 65_536.0).floor() as u32;
    in_chunks(rows.len(), TILE, threads, |range| {
        let mut found: Vec<Vec<Near>> = vec![Vec::new(); range.len()];
        for tile in (0..columns.len()).step_by(TILE) {
            let tile = tile..(tile + TILE).min(columns.len());
            let (fewest, most) = (columns_set[tile.start], columns_set[tile.end - 1]);
            for row in range.clone() {
                let set = rows_set[row];
                let nearest = set.clamp(fewest, most);
                if set.min(nearest) * 131_072 < scaled * (set + nearest) {
                    continue;
                }
                let (filter, found) = (&rows[row], &mut found[row - range.start]);
                let columns_set = &columns_set[tile.clone()];
                let mut commons = [0_u32; TILE];
                common_bits(filter, &tiles[tile.start / TILE], &mut commons);
                // Few tiles hold a pair that is near enough; no product is above 2^31.
                let is_near = |common: u32, other: u32| {
                    common.wrapping_mul(131_072) >= scaled.wrapping_mul(set.wrapping_add(other))
                };
                let near = commons
                    .iter()
                    .zip(columns_set)
                    .fold(false, |near, (common, other)| near | is_near(*common, *other));
                if !near {
                    continue;
                }
                for (at, (common, other)) in commons.iter().zip(columns_set).enumerate() {
                    if is_near(*common, *other) {
                        let dice = dice_of(*common, set + other);
                        found.push(Near { a: a.order[row], b: b.order[tile.start + at], common: *common, dice });
                    }
                }
                if found.len() > 4 * MOST_NEAR {
                    keep_best(found);
                }
            }
        }
        found.iter_mut().for_each(keep_best);
        found.into_iter().flatten().collect()
    })
}

/// Columns that a row is compared with at once; sixteen words of them fit the nearest memory of the processor.
const TILE: usize = 128;

/// Filters of a tile, word by word: the same word of neighbouring columns lies side by side.
type Tile<const WORDS: usize> = [[u64; TILE]; WORDS];

/// Bits that the row shares with each column.
fn common_bits<const WORDS: usize>(row: &[u64; WORDS], tile: &Tile<WORDS>, commons: &mut [u32; TILE]) {
    commons.fill(0);
    for (row, words) in row.chunks(16).zip(tile.chunks(16)) {
        if let (Ok(row), Ok(words)) = (row.try_into(), words.try_into()) {
            sixteen_words(row, words, commons);
            continue;
        }
        for (row, word) in row.iter().zip(words) {
            for (common, column) in commons.iter_mut().zip(word) {
                *common = common.wrapping_add((row & column).count_ones());
            }
        }
    }
}

/// Adds the bits of sixteen words. They are added bit by bit in a tree of adders, so that five words are counted instead of
/// sixteen (Harley and Seal, in Warren 2013, §5-1). No branch and no check in the loop: the compiler makes vector instructions of it,
/// for every processor.
#[allow(clippy::needless_range_loop)]
fn sixteen_words(row: &[u64; 16], words: &Tile<16>, commons: &mut [u32; TILE]) {
    for column in 0..TILE {
        let both = |word: usize| row[word] & words[word][column];
        let (mut ones, mut twos, mut fours, mut eights) = (0, 0, 0, 0);
        let first = add_four(&mut ones, &mut twos, [both(0), both(1), both(2), both(3)]);
        let second = add_four(&mut ones, &mut twos, [both(4), both(5), both(6), both(7)]);
        let third = add_four(&mut ones, &mut twos, [both(8), both(9), both(10), both(11)]);
        let fourth = add_four(&mut ones, &mut twos, [both(12), both(13), both(14), both(15)]);
        let low = add(&mut fours, first, second);
        let high = add(&mut fours, third, fourth);
        let sixteens = add(&mut eights, low, high);
        commons[column] = commons[column].wrapping_add(weighted([ones, twos, fours, eights, sixteens]));
    }
}

/// Adds four words; returns what is carried beyond the twos.
#[inline(always)]
fn add_four(ones: &mut u64, twos: &mut u64, words: [u64; 4]) -> u64 {
    let a = add(ones, words[0], words[1]);
    let b = add(ones, words[2], words[3]);
    add(twos, a, b)
}

/// Adds two words to a sum, bit by bit; returns what is carried.
#[inline(always)]
fn add(sum: &mut u64, a: u64, b: u64) -> u64 {
    let half = *sum ^ a;
    let carry = (*sum & a) | (half & b);
    *sum = half ^ b;
    carry
}

/// Set bits of words that count 1, 2, 4, 8 and 16. Nothing here can overflow.
#[inline(always)]
fn weighted(words: [u64; 5]) -> u32 {
    let [ones, twos, fours, eights, sixteens] = words.map(|word| {
        let pairs = word.wrapping_sub(word >> 1 & 0x5555_5555_5555_5555);
        (pairs & 0x3333_3333_3333_3333).wrapping_add(pairs >> 2 & 0x3333_3333_3333_3333)
    });
    // Four bits hold up to 4 + 2 · 4; eight bits up to 128, as there are 16 words of them.
    let bytes = |word: u64| (word & 0x0f0f_0f0f_0f0f_0f0f).wrapping_add(word >> 4 & 0x0f0f_0f0f_0f0f_0f0f);
    let low = bytes(ones.wrapping_add(twos << 1)).wrapping_add(bytes(fours) << 2);
    let bytes = low.wrapping_add(bytes(eights) << 3).wrapping_add(bytes(sixteens) << 4);
    let words = (bytes & 0x00ff_00ff_00ff_00ff).wrapping_add(bytes >> 8 & 0x00ff_00ff_00ff_00ff);
    let halves = words.wrapping_add(words >> 16);
    (halves.wrapping_add(halves >> 32) & 0xffff) as u32
}

fn best_first(x: &Near, y: &Near) -> std::cmp::Ordering {
    y.dice.total_cmp(&x.dice).then(y.common.cmp(&x.common)).then((x.a, x.b).cmp(&(y.a, y.b)))
}

fn keep_best(found: &mut Vec<Near>) {
    if found.len() > MOST_NEAR {
        found.sort_unstable_by(best_first);
        found.truncate(MOST_NEAR);
    }
}

/// Chooses pairs one to one, the best first; and the rest.
fn choose(mut near: Vec<Near>, sides: &[Side<'_>; 2]) -> (Vec<Near>, Vec<Near>) {
    near.sort_unstable_by(best_first);
    let mut taken = [vec![false; sides[0].set.len()], vec![false; sides[1].set.len()]];
    near.into_iter().partition(|pair| {
        let is_free = !taken[0][pair.a as usize] && !taken[1][pair.b as usize];
        if is_free {
            (taken[0][pair.a as usize], taken[1][pair.b as usize]) = (true, true);
        }
        is_free
    })
}

/// The probability that a chosen pair is one person, by step of its score.
///
/// A pair of different people with a high score is chosen only where both have no better partner, above all nobody of their own in the other
/// file. With the shares pa and pb of people who have one, those chosen relate to those not chosen as (1-pa)(1-pb) to the rest. Shares and
/// probabilities are estimated in turn. Probabilities never fall as scores rise (pooled adjacent violators, Ayer et al. 1955).
fn judge(chosen: &[Near], rest: &[Near], sampled: &Sampled, sides: &[Side<'_>; 2]) -> Vec<f64> {
    let count = |pairs: &[Near]| {
        let mut counts = vec![0.0; STEPS + 1];
        pairs.iter().for_each(|pair| counts[step(pair.dice)] += 1.0);
        counts
    };
    let (chosen, rest) = (count(chosen), count(rest));
    let records = sides.each_ref().map(|side| side.order.len().max(1) as f64);
    let mut matched = records[0].min(records[1]) / 2.0;
    let mut judged = vec![0.0; STEPS + 1];
    for _ in 0..200 {
        let single = (1.0 - matched / records[0]).max(0.0) * (1.0 - matched / records[1]).max(0.0);
        let odds = single / (1.0 - single).max(1e-12);
        let different = |at: usize| {
            let normal = sampled.normal(at, records[0] * records[1]) * single;
            (rest[at] * odds).max(normal)
        };
        let raw: Vec<(f64, f64)> = (0..=STEPS).map(|at| (chosen[at], different(at).min(chosen[at]))).collect();
        judged = rising(&raw);
        let now: f64 = judged.iter().zip(&chosen).map(|(judged, chosen)| judged * chosen).sum();
        let now = now.min(records[0]).min(records[1]);
        let change = (now - matched).abs();
        matched = now;
        if change < 1e-3 {
            break;
        }
    }
    judged
}

/// From pairs of all and wrong ones by step, the share of right ones, never falling.
fn rising(counts: &[(f64, f64)]) -> Vec<f64> {
    // Pools of steps: all, wrong, number of steps.
    let mut pools: Vec<(f64, f64, usize)> = Vec::new();
    let share = |pool: &(f64, f64, usize)| if pool.0 > 0.0 { 1.0 - pool.1 / pool.0 } else { -1.0 };
    for (all, wrong) in counts {
        pools.push((*all, *wrong, 1));
        while let [.., before, last] = pools.as_slice() {
            // A step without pairs takes the share of the one below.
            if share(before) <= share(last) && last.0 > 0.0 {
                break;
            }
            let joined = (before.0 + last.0, before.1 + last.1, before.2 + last.2);
            pools.truncate(pools.len() - 2);
            pools.push(joined);
        }
    }
    pools.iter().flat_map(|pool| std::iter::repeat_n(share(pool).max(0.0), pool.2)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_counted_right_for_every_length() {
        fn check<const WORDS: usize>() {
            for seed in 0..50_u64 {
                // From sparse to full, the extremes among them.
                let word = |salt: u64| match seed % 5 {
                    0 => u64::MAX,
                    1 => mix(seed, salt) & mix(seed, salt + 1000),
                    2 => mix(seed, salt) | mix(seed, salt + 1000),
                    _ => mix(seed, salt),
                };
                let row: [u64; WORDS] = std::array::from_fn(|at| word(at as u64));
                let tile: Tile<WORDS> =
                    std::array::from_fn(|at| std::array::from_fn(|column| word((at * TILE + column + 5000) as u64)));
                let counted =
                    |column: usize| (0..WORDS).map(|at| (row[at] & tile[at][column]).count_ones()).sum::<u32>();
                let mut commons = [0; TILE];
                common_bits(&row, &tile, &mut commons);
                assert_eq!(commons, std::array::from_fn(counted));
            }
        }
        check::<2>();
        check::<8>();
        check::<16>();
        check::<32>();
        check::<128>();
    }

    #[test]
    fn shares_never_fall_and_keep_the_number_of_wrong_pairs() {
        let counts = [(0.0, 0.0), (10.0, 9.0), (10.0, 2.0), (0.0, 0.0), (10.0, 5.0), (10.0, 0.0), (0.0, 0.0)];
        let found = rising(&counts);
        assert_eq!(found.len(), counts.len());
        assert!(found.windows(2).all(|pair| pair[0] <= pair[1]), "{found:?}");
        let wrong: f64 = found.iter().zip(counts).map(|(share, (all, _))| (1.0 - share) * all).sum();
        assert!((wrong - 16.0).abs() < 1e-9);
    }
}
