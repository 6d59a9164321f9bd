//! Suppression of small counts, with the complementary cells that keep them from being worked out again.
//!
//! Source for the method: Willenborg and de Waal, "Elements of Statistical Disclosure Control", Springer 2001, ch. 5–6
//! (minimum frequency rule, secondary suppression). All counts of a report are one system: a count that is shown in one
//! table and missing in another would give both away. Two readers are assumed: one solves the sums as linear equations
//! over whole numbers from 0 on; the other guesses that every hidden count is a small one.

use acequia_privacy::{Echelon, Residue};

/// `counts[total]` is the sum of `counts[parts]`, and a reader knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sum {
    /// Place of the total.
    pub total: usize,
    /// Places of its parts.
    pub parts: Vec<usize>,
}

/// Which counts to hide: those from 1 to `minimum - 1`, and as many others as are needed so that none follows from the
/// sums. Zero is shown where it can be: it is about nobody.
///
/// `open` counts are known to the reader whatever is done here, such as the number of people. `wanted` counts, such as
/// those of a single column, are worth more to readers than others and hidden after them.
///
/// # Panics
/// When a sum names a place that is not there.
pub fn suppress_sums(counts: &[u64], sums: &[Sum], open: &[usize], wanted: &[usize], minimum: u64) -> Vec<bool> {
    let mut hidden = vec![false; counts.len()];
    let mut free = vec![false; counts.len()];
    open.iter().for_each(|at| free[*at] = true);
    let mut late = vec![false; counts.len()];
    wanted.iter().for_each(|at| late[*at] = true);
    // Smallest count first, zeros last: hiding a zero tells a reader something that is not so.
    let order = |at: usize| (counts[at] == 0, late[at], counts[at], at);
    for (at, &count) in counts.iter().enumerate() {
        hidden[at] = !free[at] && count > 0 && count < minimum;
    }
    // Every round hides at least one more count, so this ends.
    loop {
        let mut changed = false;
        for sum in sums {
            if hidden[sum.total] {
                // A hidden total with a shown part would be bounded by it.
                for &part in sum.parts.iter().filter(|part| counts[**part] > 0) {
                    changed |= !hidden[part] && !free[part];
                    hidden[part] |= !free[part];
                }
                continue;
            }
            while !is_safe(sum, counts, &hidden, minimum) {
                let shown = sum.parts.iter().filter(|part| !hidden[**part] && !free[**part]);
                let Some(&next) = shown.min_by_key(|part| order(**part)) else {
                    // Nothing is left to hide it behind but the total itself.
                    let whole = !free[sum.total] && sum.parts.iter().any(|part| hidden[*part]);
                    changed |= whole && !hidden[sum.total];
                    hidden[sum.total] |= whole;
                    break;
                };
                hidden[next] = true;
                changed = true;
            }
        }
        if changed {
            continue;
        }
        for at in solved(counts, sums, &hidden) {
            let near = sums.iter().filter(|sum| sum.total == at || sum.parts.contains(&at));
            let members = near.flat_map(|sum| sum.parts.iter().chain([&sum.total]));
            let shown = members.filter(|place| !hidden[**place] && !free[**place]);
            if let Some(&next) = shown.min_by_key(|place| order(**place)) {
                hidden[next] = true;
                changed = true;
            }
        }
        if !changed {
            return hidden;
        }
    }
}

/// Whether a reader who knows the total and the shown parts is left with more than one possibility, and the hidden
/// parts together reach the minimum.
fn is_safe(sum: &Sum, counts: &[u64], hidden: &[bool], minimum: u64) -> bool {
    let cells: Vec<u64> = sum.parts.iter().filter(|part| hidden[**part]).map(|part| counts[*part]).collect();
    let (number, people) = (cells.len() as u64, cells.iter().sum::<u64>());
    if number == 0 {
        return true;
    }
    if number < 2 || people < minimum {
        return false;
    }
    // A reader may guess that every hidden count is between 1 and minimum - 1. That guess pins all of them down exactly
    // when the sum is at one of its ends.
    let only_small = cells.iter().all(|&n| n > 0 && n < minimum);
    !only_small || (people > number && people < number * (minimum - 1))
}

/// Hidden counts above 0 that follow from what is shown: by linear algebra, or because counts are never negative.
fn solved(counts: &[u64], sums: &[Sum], hidden: &[bool]) -> Vec<usize> {
    let unknown: Vec<usize> = (0..counts.len()).filter(|at| hidden[*at]).collect();
    let mut place = vec![usize::MAX; counts.len()];
    unknown.iter().enumerate().for_each(|(column, at)| place[*at] = column);
    let mut known = Echelon::new(unknown.len());
    for sum in sums {
        let mut row = vec![Residue::ZERO; unknown.len()];
        for &part in sum.parts.iter().filter(|part| hidden[**part]) {
            row[place[part]] = Residue::ONE;
        }
        if hidden[sum.total] {
            row[place[sum.total]] = -Residue::ONE;
        }
        known.take(row);
    }
    let mut found: Vec<usize> = known.determined().map(|column| unknown[column]).collect();
    found.extend(pinned(counts, sums, hidden));
    found.retain(|at| counts[*at] > 0);
    found.sort_unstable();
    found.dedup();
    found
}

/// Hidden counts whose least and greatest possible values meet, by going through the sums until nothing tightens.
fn pinned(counts: &[u64], sums: &[Sum], hidden: &[bool]) -> Vec<usize> {
    let greatest = i128::from(counts.iter().copied().max().unwrap_or(0)) * 4 + 1;
    let mut bounds: Vec<(i128, i128)> = counts
        .iter()
        .zip(hidden)
        .map(|(count, hidden)| if *hidden { (0, greatest) } else { (i128::from(*count), i128::from(*count)) })
        .collect();
    // Bounds only tighten; the number of rounds caps slow convergence, which leaves them wider and hides no less.
    for _ in 0..64 {
        let before = bounds.clone();
        for sum in sums {
            let (low, high) =
                sum.parts.iter().fold((0, 0), |(low, high), part| (low + bounds[*part].0, high + bounds[*part].1));
            let total = bounds[sum.total];
            bounds[sum.total] = (total.0.max(low), total.1.min(high));
            for &part in &sum.parts {
                let own = bounds[part];
                bounds[part] = (own.0.max(total.0 - (high - own.1)), own.1.min(total.1 - (low - own.0)));
            }
        }
        if bounds == before {
            break;
        }
    }
    (0..counts.len()).filter(|at| hidden[*at] && bounds[*at].0 == bounds[*at].1).collect()
}

/// Hides small counts of a table, `counts[row][column]` with rows of the same length.
///
/// A row's total counts as known to the reader if it reaches `minimum`, column totals always.
pub fn suppress(counts: &[Vec<u64>], minimum: u64) -> Vec<Vec<Option<u64>>> {
    let width = counts.first().map_or(0, Vec::len);
    let mut all: Vec<u64> = counts.iter().flatten().copied().collect();
    let (mut sums, mut open) = (Vec::new(), Vec::new());
    let mut total = |parts: Vec<usize>| {
        open.push(all.len());
        sums.push(Sum { total: all.len(), parts: parts.clone() });
        all.push(parts.iter().map(|part| all[*part]).sum());
    };
    for column in 0..width {
        total((0..counts.len()).map(|row| row * width + column).collect());
    }
    // The total of a row of one cell would be the cell.
    let totalled = |own: &Vec<u64>| own.len() > 1 && own.iter().sum::<u64>() >= minimum;
    for (row, own) in counts.iter().enumerate().filter(|(_, own)| totalled(own)) {
        total((0..own.len()).map(|column| row * width + column).collect());
    }
    let hidden = suppress_sums(&all, &sums, &open, &[], minimum);
    let cell = |at: usize| (!hidden[at]).then_some(all[at]);
    (0..counts.len()).map(|row| (0..width).map(|column| cell(row * width + column)).collect()).collect()
}

/// One line of counts whose total is known: see [`suppress`].
pub fn suppress_line(counts: &[u64], minimum: u64) -> Vec<Option<u64>> {
    let column: Vec<Vec<u64>> = counts.iter().map(|&n| vec![n]).collect();
    suppress(&column, minimum).into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_single_small_count_takes_the_next_smallest_with_it() {
        assert_eq!(suppress_line(&[100, 3, 40, 0], 12), [Some(100), None, None, Some(0)]);
        assert_eq!(suppress_line(&[100, 40, 0], 12), [Some(100), Some(40), Some(0)]);
    }

    #[test]
    fn two_small_counts_whose_sum_gives_them_away_take_a_third() {
        assert_eq!(suppress_line(&[1, 1, 50, 60], 12), [None, None, None, Some(60)]);
        assert_eq!(suppress_line(&[11, 11, 50, 60], 12), [None, None, None, Some(60)]);
        assert_eq!(suppress_line(&[5, 9, 50, 60], 12), [None, None, Some(50), Some(60)]);
    }

    #[test]
    fn the_total_over_splits_gives_nothing_away() {
        // Row 1 totals 122; with 100 and 13 shown the 9 would follow.
        let shown = suppress(&[vec![100, 13, 9], vec![200, 40, 3], vec![300, 60, 60]], 12);
        assert_eq!(shown[0].iter().filter(|cell| cell.is_none()).count(), 2);
        assert_eq!(shown[1].iter().filter(|cell| cell.is_none()).count(), 2);
    }

    proptest! {
        #[test]
        fn every_hidden_count_has_company_and_no_small_count_is_shown(
            counts in proptest::collection::vec(proptest::collection::vec(0_u64..40, 3), 2..8),
            minimum in 2_u64..15,
        ) {
            let shown = suppress(&counts, minimum);
            for (row, cells) in counts.iter().zip(&shown) {
                for (&n, &cell) in row.iter().zip(cells) {
                    prop_assert!(cell.is_none_or(|shown| shown == n && !(n > 0 && n < minimum)));
                }
            }
            for c in 0..3 {
                let hidden: Vec<u64> = (0..counts.len()).filter(|&r| shown[r][c].is_none()).map(|r| counts[r][c]).collect();
                let total: u64 = counts.iter().map(|row| row[c]).sum();
                prop_assert!(hidden.is_empty() || hidden.len() >= 2);
                prop_assert!(hidden.is_empty() || hidden.iter().sum::<u64>() >= minimum || total < minimum);
            }
        }
    }

    /// Every table of whole numbers from 0 on with the shown cells and all totals, by trying them all.
    fn possible(shown: &[Vec<Option<u64>>], counts: &[Vec<u64>]) -> Vec<Vec<u64>> {
        let hidden: Vec<(usize, usize)> = (0..shown.len())
            .flat_map(|r| (0..shown[r].len()).map(move |c| (r, c)))
            .filter(|(r, c)| shown[*r][*c].is_none())
            .collect();
        let mut rows: Vec<u64> = vec![0; counts.len()];
        let mut columns: Vec<u64> = vec![0; counts[0].len()];
        for &(r, c) in &hidden {
            rows[r] += counts[r][c];
            columns[c] += counts[r][c];
        }
        fn go(
            at: usize,
            hidden: &[(usize, usize)],
            rows: &mut [u64],
            columns: &mut [u64],
            own: &mut Vec<u64>,
            all: &mut Vec<Vec<u64>>,
        ) {
            let Some(&(r, c)) = hidden.get(at) else {
                if rows.iter().chain(columns.iter()).all(|left| *left == 0) {
                    all.push(own.clone());
                }
                return;
            };
            // Cells come row by row: what an earlier row has left over can go nowhere any more.
            if rows[..r].iter().any(|left| *left > 0) {
                return;
            }
            for n in 0..=rows[r].min(columns[c]) {
                rows[r] -= n;
                columns[c] -= n;
                own.push(n);
                go(at + 1, hidden, rows, columns, own, all);
                own.pop();
                rows[r] += n;
                columns[c] += n;
            }
        }
        let mut all = Vec::new();
        go(0, &hidden, &mut rows, &mut columns, &mut Vec::new(), &mut all);
        all
    }

    #[test]
    fn a_cell_between_two_blocks_does_not_follow() {
        // Two hidden cells in every line are not enough: the 4 alone joins two blocks of hidden cells, so it would be
        // the sum of the rows of one block minus the sum of its columns.
        let counts = vec![vec![5, 6, 4, 50], vec![6, 5, 60, 60], vec![70, 70, 5, 6], vec![80, 80, 6, 7]];
        let shown = suppress(&counts, 10);
        let all = possible(&shown, &counts);
        let hidden = shown.iter().flatten().filter(|cell| cell.is_none()).count();
        assert!((0..hidden).all(|at| all.iter().any(|one| one[at] != all[0][at])), "{shown:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn no_hidden_count_can_be_solved_for(
            counts in proptest::collection::vec(proptest::collection::vec(0_u64..6, 3), 3..4),
            minimum in 2_u64..4,
        ) {
            let shown = suppress(&counts, minimum);
            prop_assume!(counts.iter().all(|row| row.iter().sum::<u64>() >= minimum));
            prop_assume!((0..3).all(|c| counts.iter().map(|row| row[c]).sum::<u64>() >= minimum));
            let all = possible(&shown, &counts);
            let hidden: Vec<u64> = (0..counts.len())
                .flat_map(|r| (0..3).map(move |c| (r, c)))
                .filter(|(r, c)| shown[*r][*c].is_none())
                .map(|(r, c)| counts[r][c])
                .collect();
            for (at, &count) in hidden.iter().enumerate() {
                // When everything is hidden there is nothing more to hide it behind.
                let out_of_cover = hidden.len() == counts.len() * 3;
                prop_assert!(count == 0 || out_of_cover || all.iter().any(|one| one[at] != count), "{shown:?} {counts:?}");
            }
        }
    }
}
