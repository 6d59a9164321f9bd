//! Division of persons into train, validation and test.

use std::collections::BTreeMap;

use crate::ReleaseError;

/// Names of the splits, in the order of the manifest.
pub(crate) const SPLITS: [&str; 3] = ["train", "validation", "test"];

/// Rows of each split, as positions in the table.
///
/// Within each stratum rows are ordered by a seeded one-to-one mix of their assignment number and cut at exact shares, so
/// where a person lands depends on the number, the seed and who else is in the stratum, never on the order of the rows.
///
/// # Errors
/// [`ReleaseError::AssignmentLength`], [`ReleaseError::AssignmentRepeated`], [`ReleaseError::EmptySplit`].
pub(crate) fn divide(
    strata: &[u32],
    numbers: &[u64],
    parts_per_million: [u64; 3],
    seed: u64,
) -> Result<[Vec<u32>; 3], ReleaseError> {
    if strata.len() != numbers.len() {
        return Err(ReleaseError::AssignmentLength { rows: strata.len(), numbers: numbers.len() });
    }
    check_distinct(numbers)?;
    let mut members: BTreeMap<u32, Vec<(u64, u32)>> = BTreeMap::new();
    for (row, (&stratum, &number)) in strata.iter().zip(numbers).enumerate() {
        members.entry(stratum).or_default().push((mix(number, seed), row as u32));
    }
    let mut splits = [const { Vec::new() }; 3];
    for rows in members.values_mut() {
        rows.sort_unstable();
        let mut rest = rows.as_slice();
        for (split, size) in splits.iter_mut().zip(largest_remainder(rows.len(), parts_per_million)) {
            let (here, after) = rest.split_at(size);
            split.extend(here.iter().map(|&(_, row)| row));
            rest = after;
        }
    }
    if let Some(empty) = splits.iter().position(Vec::is_empty) {
        return Err(ReleaseError::EmptySplit { split: SPLITS[empty], rows: strata.len() });
    }
    check_division(&splits, strata.len())?;
    Ok(splits)
}

fn check_distinct(numbers: &[u64]) -> Result<(), ReleaseError> {
    let mut sorted = numbers.to_vec();
    sorted.sort_unstable();
    let repeated = sorted.chunk_by(|a, b| a == b).filter(|run| run.len() > 1).count();
    if repeated > 0 { Err(ReleaseError::AssignmentRepeated { repeated }) } else { Ok(()) }
}

/// Every row in exactly one split, checked anew because everything published rests on it.
fn check_division(splits: &[Vec<u32>; 3], rows: usize) -> Result<(), ReleaseError> {
    let mut seen = vec![false; rows];
    for &row in splits.iter().flatten() {
        match seen.get_mut(row as usize) {
            Some(slot) if !*slot => *slot = true,
            _ => return Err(ReleaseError::SelfCheck { check: "splits are disjoint".to_owned() }),
        }
    }
    if seen.into_iter().all(|slot| slot) {
        Ok(())
    } else {
        Err(ReleaseError::SelfCheck { check: "splits hold every row".to_owned() })
    }
}

/// Divides `rows` by shares in exact whole-number arithmetic; rows left over go to the largest remainders, ties to the
/// earlier split. Source: largest-remainder (Hamilton) apportionment; every size is within one row of its exact share.
fn largest_remainder(rows: usize, parts_per_million: [u64; 3]) -> [usize; 3] {
    let exact = parts_per_million.map(|part| rows as u128 * u128::from(part));
    let mut sizes = exact.map(|product| (product / 1_000_000) as usize);
    let mut order = [0, 1, 2];
    order.sort_by_key(|&i| (std::cmp::Reverse(exact[i] % 1_000_000), i));
    let left = rows - sizes.iter().sum::<usize>();
    for &i in order.iter().take(left) {
        sizes[i] += 1;
    }
    sizes
}

/// One-to-one for each seed: the finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014) over number and seed.
fn mix(number: u64, seed: u64) -> u64 {
    let finalise = |mut z: u64| {
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    finalise(number ^ finalise(seed.wrapping_add(0x9e37_79b9_7f4a_7c15)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::SplitPlan;

    const SHARES: [u64; 3] = [700_000, 150_000, 150_000];

    #[test]
    fn a_person_twice_is_refused() {
        let error = divide(&[0; 20], &[7; 20], SHARES, 1).unwrap_err();
        assert_eq!(error.to_string(), "1 assignment numbers occur more than once, so a person could be in two splits");
    }

    #[test]
    fn too_few_rows_for_three_splits_are_refused() {
        assert!(matches!(
            divide(&[0; 2], &[1, 2], SHARES, 1),
            Err(ReleaseError::EmptySplit { split: "validation" | "test", rows: 2 })
        ));
        assert!(matches!(divide(&[], &[], SHARES, 1), Err(ReleaseError::EmptySplit { split: "train", rows: 0 })));
    }

    #[test]
    fn shares_are_cut_exactly() {
        assert_eq!(largest_remainder(100, SHARES), [70, 15, 15]);
        assert_eq!(largest_remainder(10, SHARES), [7, 2, 1]);
        assert_eq!(largest_remainder(1, SHARES), [1, 0, 0]);
        let plan = SplitPlan { stratify_by: "event".into(), train: 0.29, validation: 0.01, test: 0.7 };
        assert_eq!(plan.parts_per_million().unwrap(), [290_000, 10_000, 700_000]);
        assert!(SplitPlan { train: 0.8, ..SplitPlan::default() }.parts_per_million().is_err());
        assert!(SplitPlan { train: f64::NAN, ..SplitPlan::default() }.parts_per_million().is_err());
    }

    #[test]
    fn the_seed_moves_people() {
        let numbers: Vec<u64> = (0..200).collect();
        assert_ne!(divide(&[0; 200], &numbers, SHARES, 1).unwrap(), divide(&[0; 200], &numbers, SHARES, 2).unwrap());
    }

    proptest! {
        #[test]
        fn splits_are_disjoint_complete_and_stratified_within_one_row(
            strata in proptest::collection::vec(0_u32..4, 40..300), seed: u64, train in 100_000_u64..800_000,
        ) {
            let numbers: Vec<u64> = (0..strata.len() as u64).map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect();
            let parts = [train, 100_000, 900_000 - train];
            let Ok(splits) = divide(&strata, &numbers, parts, seed) else { return Ok(()) };
            let mut rows: Vec<u32> = splits.iter().flatten().copied().collect();
            rows.sort_unstable();
            prop_assert_eq!(rows, (0..strata.len() as u32).collect::<Vec<_>>());
            for stratum in 0..4 {
                let of = |rows: &mut dyn Iterator<Item = &u32>| rows.filter(|&&r| strata[r as usize] == stratum).count() as f64;
                let all = strata.iter().filter(|&&s| s == stratum).count() as f64;
                for (split, part) in splits.iter().zip(parts) {
                    prop_assert!((of(&mut split.iter()) - all * part as f64 / 1e6).abs() < 1.0);
                }
            }
        }

        #[test]
        fn the_order_of_rows_does_not_matter(strata in proptest::collection::vec(0_u32..3, 30..120), seed: u64, turn in 0_usize..100) {
            let numbers: Vec<u64> = (0..strata.len() as u64).map(|i| i * 17 + 3).collect();
            let Ok(straight) = divide(&strata, &numbers, SHARES, seed) else { return Ok(()) };
            let (mut strata, mut turned) = (strata, numbers.clone());
            let by = turn % strata.len();
            strata.rotate_left(by);
            turned.rotate_left(by);
            let other = divide(&strata, &turned, SHARES, seed).unwrap();
            for (a, b) in straight.iter().zip(&other) {
                let people = |rows: &[u32], numbers: &[u64]| {
                    let mut people: Vec<u64> = rows.iter().map(|&r| numbers[r as usize]).collect();
                    people.sort_unstable();
                    people
                };
                prop_assert_eq!(people(a, &numbers), people(b, &turned));
            }
        }
    }
}
