//! Special uniques: rows that are unique by few columns.
//!
//! A minimal sample unique (MSU) of a row is a set of columns in which the row is unique while it is not in any smaller
//! part of that set. The fewer columns it needs, and the more such sets there are, the likelier a unique row is unique in
//! the population too.
//!
//! - What is found: Manning, Haglin and Keane, "A recursive search algorithm for statistical disclosure assessment", Data
//!   Mining and Knowledge Discovery 16(2), 2008.
//! - Score: Elliot, Manning and Ford, "A computational algorithm for handling the special uniques problem", IJUFKS 10(5),
//!   2002: an MSU of k out of A columns counts ∏ (A − i) for i from k to the largest size searched (at most A − 1).
//! - DIS: Skinner and Elliot, "A measure of disclosure risk for microdata", J. Royal Statistical Society B 64(4), 2002: the
//!   chance that a unique match is correct, π n₁ / (π n₁ + 2 (1 − π) n₂) for a sample of fraction π with n₁ unique rows and
//!   n₂ pairs. DIS-SUDA spreads it over rows by their scores.
//!
//! How it is found differs from the paper: column sets are visited so that every part of a set comes before the set, and
//! each keeps only those rows that are not unique yet, grouped by what they hold (the stripped partitions of Huhtala et
//! al., "TANE", The Computer Journal 42(2), 1999). Rows that agree in all columns are one witness.

use serde::{Deserialize, Serialize};

use crate::real;

/// Most columns that are looked at.
const COLUMNS: usize = 64;

/// Special uniques of a table. Says nothing about any single row's values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SpecialUniques {
    /// Largest number of columns of a set that was looked for.
    pub largest_size: u64,
    /// Rows.
    pub rows: u64,
    /// Rows with at least one MSU.
    pub unique_rows: u64,
    /// Number of MSUs of 1, 2, … columns.
    pub by_size: Vec<u64>,
    /// Rows by the size of their smallest MSU, from 1 column on.
    pub rows_by_smallest: Vec<u64>,
    /// For each column, in the order given: in how many MSUs it is, and its share of all scores.
    pub columns: Vec<ColumnShare>,
    /// Score of rows with an MSU: lowest, quartiles, highest.
    pub scores: Quartiles,
    /// DIS-SUDA of rows with an MSU; when the sampling fraction was given.
    pub dis: Option<Dis>,
}

/// A column's part in the MSUs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ColumnShare {
    /// MSUs that it is in.
    pub uniques: u64,
    /// Scores of these, over the scores of all MSUs; the shares of all columns add up to more than 1.
    pub score_share: f64,
}

/// Five numbers of a distribution; all 0 where there is none.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Quartiles {
    /// Lowest.
    pub lowest: f64,
    /// A quarter is at or below.
    pub lower: f64,
    /// Half is at or below.
    pub median: f64,
    /// Three quarters are at or below.
    pub upper: f64,
    /// Highest.
    pub highest: f64,
}

/// Chance that a match with a unique row is correct.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Dis {
    /// Rows over people of the population.
    pub sampling_fraction: f64,
    /// Over all unique rows.
    pub file: f64,
    /// Spread over rows by their score.
    pub rows: Quartiles,
}

/// What [`suda2`] refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suda2Refusal {
    /// No column, or more than 64.
    Columns,
    /// Columns of different length, or 2³¹ − 1 rows and more.
    Rows,
}

/// Finds all MSUs of at most `largest_size` columns (0: of any size).
///
/// `columns`: for each column the code of every row; codes are small numbers from 0 on, equal where values are equal.
/// `sampling_fraction`: rows over people of the population, 0 to 1, for the DIS.
///
/// # Errors
/// [`Suda2Refusal`].
///
/// ```
/// // The first row is alone in column 0, the second in columns 1 and 2, the third in 0 with 1 and 0 with 2.
/// let columns: [&[u32]; 3] = [&[1, 0, 0], &[0, 1, 0], &[0, 1, 0]];
/// let uniques = acequia_privacy::suda2(&columns, 0, None).unwrap();
/// assert_eq!(uniques.by_size, [3, 2, 0]);
/// assert_eq!(uniques.columns[0].score_share, 0.5);
/// ```
pub fn suda2(
    columns: &[&[u32]],
    largest_size: usize,
    sampling_fraction: Option<f64>,
) -> Result<SpecialUniques, Suda2Refusal> {
    if columns.is_empty() || columns.len() > COLUMNS {
        return Err(Suda2Refusal::Columns);
    }
    let rows = columns[0].len();
    if columns.iter().any(|column| column.len() != rows) || rows >= SINGLE as usize {
        return Err(Suda2Refusal::Rows);
    }
    let largest = if largest_size == 0 { columns.len() } else { largest_size.min(columns.len()) };
    let witnesses = Witnesses::of(columns, rows);
    let mut search = Search::new(&witnesses, columns.len(), largest);
    let everybody = Partition::whole(witnesses.alone.len());
    search.below(&everybody, columns.len(), 0, 0);
    Ok(search.finish(rows, sampling_fraction))
}

/// Distinct rows.
struct Witnesses {
    /// Codes by column.
    codes: Vec<Vec<u32>>,
    /// Whether one row only stands behind it.
    alone: Vec<bool>,
    /// Codes of each column: one more than the largest.
    domains: Vec<usize>,
    /// Witnesses behind which two rows stand.
    pairs: u64,
}

impl Witnesses {
    fn of(columns: &[&[u32]], rows: usize) -> Self {
        let domain = |column: &&[u32]| column.iter().max().map_or(0, |most| *most as usize + 1);
        let domains: Vec<usize> = columns.iter().map(domain).collect();
        // Rows in groups of one leave the refinement, but here a group of one is a witness too.
        let mut groups = vec![0_u32; rows];
        let mut count = usize::from(rows > 0);
        for (column, domain) in columns.iter().zip(&domains) {
            (groups, count) = refine_all(&groups, count, column, *domain);
        }
        let mut first = vec![u32::MAX; count];
        let mut sizes = vec![0_u32; count];
        for (row, group) in (0_u32..).zip(&groups) {
            sizes[*group as usize] += 1;
            first[*group as usize] = first[*group as usize].min(row);
        }
        let codes = columns.iter().map(|column| first.iter().map(|row| column[*row as usize]).collect()).collect();
        let pairs = sizes.iter().filter(|size| **size == 2).count() as u64;
        Self { codes, alone: sizes.iter().map(|size| *size == 1).collect(), domains, pairs }
    }
}

/// New group of each row, and how many there are, when groups are split by a column.
fn refine_all(groups: &[u32], count: usize, column: &[u32], domain: usize) -> (Vec<u32>, usize) {
    // Rows in the order of their group, then each group's rows by code.
    let mut starts = vec![0_u32; count + 1];
    groups.iter().for_each(|group| starts[*group as usize + 1] += 1);
    (0..count).for_each(|at| starts[at + 1] += starts[at]);
    let mut next = starts.clone();
    let mut order = vec![0_u32; groups.len()];
    for (row, group) in (0_u32..).zip(groups) {
        order[next[*group as usize] as usize] = row;
        next[*group as usize] += 1;
    }
    let (mut made, mut fresh) = (vec![0_u32; groups.len()], 0_u32);
    let mut group_of_code = vec![u32::MAX; domain];
    for group in 0..count {
        let members = &order[starts[group] as usize..starts[group + 1] as usize];
        for row in members {
            let place = &mut group_of_code[column[*row as usize] as usize];
            if *place == u32::MAX {
                *place = fresh;
                fresh += 1;
            }
            made[*row as usize] = *place;
        }
        members.iter().for_each(|row| group_of_code[column[*row as usize] as usize] = u32::MAX);
    }
    (made, fresh as usize)
}

/// Groups of at least two witnesses that agree in the columns of a set.
struct Partition {
    members: Vec<u32>,
    starts: Vec<u32>,
}

impl Partition {
    fn whole(witnesses: usize) -> Self {
        let count = u32::try_from(witnesses).unwrap_or(u32::MAX);
        Self { members: (0..count).collect(), starts: vec![0, count] }
    }
}

struct Search<'a> {
    witnesses: &'a Witnesses,
    columns: usize,
    largest: usize,
    /// For each witness, its latest MSU in `found`.
    latest: Vec<u32>,
    /// MSUs as sets of columns, each with the one found before it for the same witness.
    found: Vec<(u64, u32)>,
    /// Rows of each code in the group at hand.
    counts: Vec<u32>,
}

const NONE: u32 = u32::MAX;

impl<'a> Search<'a> {
    fn new(witnesses: &'a Witnesses, columns: usize, largest: usize) -> Self {
        let widest = witnesses.domains.iter().copied().max().unwrap_or(0);
        Self {
            witnesses,
            columns,
            largest,
            latest: vec![NONE; witnesses.alone.len()],
            found: Vec::new(),
            counts: vec![0; widest],
        }
    }

    /// Visits the sets that add columns before `end` to `set`. Adding ever lower columns, the lowest first, puts every part
    /// of a set before the set.
    fn below(&mut self, partition: &Partition, end: usize, set: u64, size: usize) {
        for column in 0..end {
            let larger = set | 1 << column;
            let split = self.split(partition, column, larger);
            if size + 1 < self.largest && !split.members.is_empty() {
                self.below(&split, column, larger, size + 1);
            }
        }
    }

    /// Splits groups by a column and notes who is unique now.
    fn split(&mut self, partition: &Partition, column: usize, set: u64) -> Partition {
        let codes = &self.witnesses.codes[column];
        let mut made = Partition { members: Vec::with_capacity(partition.members.len()), starts: vec![0] };
        for group in partition.starts.windows(2) {
            let members = &partition.members[group[0] as usize..group[1] as usize];
            members.iter().for_each(|witness| self.counts[codes[*witness as usize] as usize] += 1);
            // Each code's count becomes the place where its next member goes.
            let mut place = narrow(made.members.len());
            for witness in members {
                let count = &mut self.counts[codes[*witness as usize] as usize];
                if *count & PLACED != 0 {
                    continue;
                }
                if *count == 1 {
                    *count = PLACED | SINGLE;
                } else {
                    let here = place;
                    place += *count;
                    made.starts.push(place);
                    *count = PLACED | here;
                }
            }
            made.members.resize(place as usize, 0);
            for witness in members {
                let count = &mut self.counts[codes[*witness as usize] as usize];
                if *count == PLACED | SINGLE {
                    let witness = *witness as usize;
                    if self.witnesses.alone[witness] && !self.known_within(witness, set) {
                        self.found.push((set, self.latest[witness]));
                        self.latest[witness] = narrow(self.found.len() - 1);
                    }
                } else {
                    made.members[(*count & !PLACED) as usize] = *witness;
                    *count += 1;
                }
            }
            members.iter().for_each(|witness| self.counts[codes[*witness as usize] as usize] = 0);
        }
        made
    }

    /// Whether a witness has an MSU inside a set.
    fn known_within(&self, witness: usize, set: u64) -> bool {
        let mut at = self.latest[witness];
        while at != NONE {
            let (msu, before) = self.found[at as usize];
            if msu & set == msu {
                return true;
            }
            at = before;
        }
        false
    }

    fn finish(self, rows: usize, sampling_fraction: Option<f64>) -> SpecialUniques {
        let weights: Vec<f64> = (1..=self.largest).map(|size| weight(size, self.columns, self.largest)).collect();
        let (mut by_size, mut rows_by_smallest) = (vec![0; self.largest], vec![0; self.largest]);
        let mut uniques = vec![0_u64; self.columns];
        let mut column_scores = vec![0.0; self.columns];
        let (mut scores, mut all) = (Vec::new(), 0.0);
        for latest in self.latest.iter().filter(|latest| **latest != NONE) {
            let (mut score, mut smallest, mut at) = (0.0, self.largest, *latest);
            while at != NONE {
                let (set, before) = self.found[at as usize];
                let size = set.count_ones() as usize;
                by_size[size - 1] += 1;
                smallest = smallest.min(size);
                score += weights[size - 1];
                for column in (0..self.columns).filter(|column| set >> column & 1 == 1) {
                    uniques[column] += 1;
                    column_scores[column] += weights[size - 1];
                }
                at = before;
            }
            rows_by_smallest[smallest - 1] += 1;
            all += score;
            scores.push(score);
        }
        scores.sort_unstable_by(f64::total_cmp);
        let share = |score: f64| if all > 0.0 { score / all } else { 0.0 };
        let columns = uniques.iter().zip(&column_scores);
        let alone = self.witnesses.alone.iter().filter(|alone| **alone).count() as u64;
        SpecialUniques {
            largest_size: self.largest as u64,
            rows: rows as u64,
            unique_rows: scores.len() as u64,
            by_size,
            rows_by_smallest,
            columns: columns
                .map(|(uniques, score)| ColumnShare { uniques: *uniques, score_share: share(*score) })
                .collect(),
            scores: quartiles(&scores),
            dis: sampling_fraction.map(|fraction| dis(&scores, alone, self.witnesses.pairs, self.columns, fraction)),
        }
    }
}

const PLACED: u32 = 1 << 31;
const SINGLE: u32 = PLACED - 1;

fn narrow(length: usize) -> u32 {
    u32::try_from(length).expect("fewer than 2^32 rows and uniques")
}

/// Score of an MSU of `size` columns.
fn weight(size: usize, columns: usize, largest: usize) -> f64 {
    (size..=largest.min(columns - 1)).map(|at| real((columns - at) as u64)).product()
}

fn quartiles(ascending: &[f64]) -> Quartiles {
    let at = |quarter: usize| ascending.get((ascending.len().saturating_sub(1)) * quarter / 4).copied().unwrap_or(0.0);
    Quartiles { lowest: at(0), lower: at(1), median: at(2), upper: at(3), highest: at(4) }
}

fn dis(scores: &[f64], alone: u64, pairs: u64, columns: usize, fraction: f64) -> Dis {
    let fraction = fraction.clamp(0.0, 1.0);
    let (sampled, hidden) = (fraction * real(alone), 2.0 * (1.0 - fraction) * real(pairs));
    let file = if sampled > 0.0 { sampled / (sampled + hidden) } else { 0.0 };
    // The exponent was fitted by the authors for about eight columns.
    let power = 1.0 + (8.0 - real(columns as u64)) / 20.0;
    let spread: f64 = scores.iter().map(|score| score.powf(-power)).sum();
    let of_row = |score: &f64| {
        if file > 0.0 { 1.0 / (1.0 + real(alone) * (1.0 / file - 1.0) / (score.powf(power) * spread)) } else { 0.0 }
    };
    let mut rows: Vec<f64> = scores.iter().map(of_row).collect();
    rows.sort_unstable_by(f64::total_cmp);
    Dis { sampling_fraction: fraction, file, rows: quartiles(&rows) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All MSUs of a table, by trying every set of columns on every row.
    fn by_hand(columns: &[Vec<u32>], largest: usize) -> Vec<(usize, u64)> {
        let rows = columns[0].len();
        let unique = |row: usize, set: u64| {
            let same = |other: usize| {
                (0..columns.len()).all(|at| set >> at & 1 == 0 || columns[at][other] == columns[at][row])
            };
            (0..rows).filter(|other| same(*other)).count() == 1
        };
        let mut found = Vec::new();
        for row in 0..rows {
            for set in 1..1_u64 << columns.len() {
                let parts = (0..columns.len()).filter(|at| set >> at & 1 == 1).map(|at| set & !(1 << at));
                // A row alone in the table is unique by no column at all.
                let minimal = parts.into_iter().all(|part| !unique(row, part) || part == 0);
                if set.count_ones() as usize <= largest && unique(row, set) && minimal {
                    found.push((row, set));
                }
            }
        }
        found
    }

    /// The contributions that sdcMicro's tests expect of its first example: 50, 37.5 and 37.5 per cent.
    #[test]
    fn the_example_of_another_program() {
        let columns: [&[u32]; 3] = [&[2, 1, 1], &[0, 3, 0], &[0, 6, 0]];
        let uniques = suda2(&columns, 0, Some(0.1)).unwrap();
        let shares: Vec<f64> = uniques.columns.iter().map(|column| column.score_share).collect();
        assert_eq!(shares, [0.5, 0.375, 0.375]);
        assert_eq!((uniques.unique_rows, uniques.rows_by_smallest.as_slice()), (3, &[2, 1, 0][..]));
        assert_eq!(uniques.dis.unwrap().file, 1.0, "without pairs every unique match is correct");
    }

    #[test]
    fn odd_tables() {
        let none: [&[u32]; 1] = [&[]];
        assert_eq!(suda2(&none, 0, None).unwrap().unique_rows, 0);
        let alike: [&[u32]; 2] = [&[3, 3, 3], &[1, 1, 1]];
        let uniques = suda2(&alike, 0, Some(0.5)).unwrap();
        assert_eq!((uniques.unique_rows, uniques.scores.highest), (0, 0.0));
        assert_eq!(suda2(&[], 0, None), Err(Suda2Refusal::Columns));
        let uneven: [&[u32]; 2] = [&[3], &[]];
        assert_eq!(suda2(&uneven, 0, None), Err(Suda2Refusal::Rows));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn as_trying_everything_by_hand(
            rows in proptest::collection::vec((0..4_u32, 0..3_u32, 0..5_u32, 0..2_u32, 0..3_u32), 2..40),
            largest in 1..6_usize,
        ) {
            let columns: Vec<Vec<u32>> = vec![
                rows.iter().map(|row| row.0).collect(),
                rows.iter().map(|row| row.1).collect(),
                rows.iter().map(|row| row.2).collect(),
                rows.iter().map(|row| row.3).collect(),
                rows.iter().map(|row| row.4).collect(),
            ];
            let slices: Vec<&[u32]> = columns.iter().map(Vec::as_slice).collect();
            let found = suda2(&slices, largest, Some(0.1)).unwrap();
            let expected = by_hand(&columns, largest);
            let of_size = |size: usize| expected.iter().filter(|(_, set)| set.count_ones() as usize == size).count() as u64;
            let by_size: Vec<u64> = (1..=largest).map(of_size).collect();
            prop_assert_eq!(&found.by_size, &by_size);
            for (at, column) in found.columns.iter().enumerate() {
                prop_assert_eq!(column.uniques, expected.iter().filter(|(_, set)| set >> at & 1 == 1).count() as u64);
            }
            let mut unique: Vec<usize> = expected.iter().map(|(row, _)| *row).collect();
            unique.dedup();
            prop_assert_eq!(found.unique_rows, unique.len() as u64);
            prop_assert_eq!(found.rows_by_smallest.iter().sum::<u64>(), found.unique_rows);
            let mut scores: Vec<f64> = unique
                .iter()
                .map(|row| {
                    let sets = expected.iter().filter(|(other, _)| other == row);
                    sets.map(|(_, set)| weight(set.count_ones() as usize, 5, largest)).sum()
                })
                .collect();
            scores.sort_unstable_by(f64::total_cmp);
            prop_assert_eq!(found.scores.highest, scores.last().copied().unwrap_or(0.0));
            prop_assert_eq!(found.scores.lowest, scores.first().copied().unwrap_or(0.0));
            let dis = found.dis.unwrap();
            prop_assert!((0.0..=1.0).contains(&dis.file) && (0.0..=1.0).contains(&dis.rows.highest));
        }

        #[test]
        fn the_order_of_rows_does_not_show(
            rows in proptest::collection::vec((0..6_u32, 0..4_u32, 0..3_u32), 2..60), seed in any::<u64>(),
        ) {
            let mut shuffled = rows.clone();
            shuffled.sort_by_key(|row| (u64::from(row.0 * 31 + row.1 * 7 + row.2) ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let of = |rows: &[(u32, u32, u32)]| {
                let columns: [Vec<u32>; 3] = [
                    rows.iter().map(|row| row.0).collect(),
                    rows.iter().map(|row| row.1).collect(),
                    rows.iter().map(|row| row.2).collect(),
                ];
                let slices: Vec<&[u32]> = columns.iter().map(Vec::as_slice).collect();
                suda2(&slices, 0, Some(0.2)).unwrap()
            };
            let (a, b) = (of(&rows), of(&shuffled));
            prop_assert_eq!(a, b);
        }
    }
}
