//! Suppression of small counts, with the complementary cells that keep them from being worked out again.
//!
//! Source for the method: Willenborg and de Waal, "Elements of Statistical Disclosure Control", Springer 2001, ch. 5–6
//! (minimum frequency rule, secondary suppression). The rows themselves are open, so this protects nobody by itself; it
//! is the habit of every page of this project, and pages are copied without the data.

/// Hides every count from 1 to `minimum - 1`, then as many others as are needed so that no hidden count follows from
/// the totals of its row and its column.
///
/// `counts[row][column]`; all rows have the same length. Zero is shown: it is about nobody. A line's total counts as
/// known to the reader if it reaches `minimum`, column totals always.
pub(crate) fn suppress(counts: &[Vec<u64>], minimum: u64) -> Vec<Vec<Option<u64>>> {
    let width = counts.first().map_or(0, Vec::len);
    let small = |n: u64| n > 0 && n < minimum;
    let mut hidden: Vec<Vec<bool>> = counts.iter().map(|row| row.iter().map(|&n| small(n)).collect()).collect();
    let columns = (0..width).map(|c| (0..counts.len()).map(|r| (r, c)).collect::<Vec<_>>());
    let rows = (0..counts.len())
        .filter(|&r| counts[r].iter().sum::<u64>() >= minimum)
        .map(|r| (0..width).map(|c| (r, c)).collect::<Vec<_>>());
    let lines: Vec<Vec<(usize, usize)>> = columns.chain(rows).collect();
    // Every pass hides at least one more cell, so this ends.
    loop {
        let mut changed = false;
        for line in &lines {
            while !is_safe(line, counts, &hidden, minimum) {
                let shown = line.iter().filter(|&&(r, c)| !hidden[r][c]);
                // Smallest count first, zeros last: hiding a zero tells a reader something that is not so.
                let Some(&(r, c)) = shown.min_by_key(|&&(r, c)| (counts[r][c] == 0, counts[r][c], r, c)) else { break };
                hidden[r][c] = true;
                changed = true;
            }
        }
        if !changed {
            break;
        }
    }
    let show =
        |(row, hide): (&Vec<u64>, &Vec<bool>)| row.iter().zip(hide).map(|(&n, &hide)| (!hide).then_some(n)).collect();
    counts.iter().zip(&hidden).map(show).collect()
}

/// Whether a reader who knows the line's total and its shown counts is left with more than one possibility, and the
/// hidden counts together reach the minimum.
fn is_safe(line: &[(usize, usize)], counts: &[Vec<u64>], hidden: &[Vec<bool>], minimum: u64) -> bool {
    let cells: Vec<u64> = line.iter().filter(|&&(r, c)| hidden[r][c]).map(|&(r, c)| counts[r][c]).collect();
    let (number, sum) = (cells.len() as u64, cells.iter().sum::<u64>());
    if number == 0 {
        return true;
    }
    if number < 2 || sum < minimum {
        return false;
    }
    // A reader may guess that every hidden count is between 1 and minimum - 1. That guess pins all of them down exactly
    // when the sum is at one of its ends.
    let only_small = cells.iter().all(|&n| n > 0 && n < minimum);
    !only_small || (sum > number && sum < number * (minimum - 1))
}

/// One line of counts: see [`suppress`].
pub(crate) fn suppress_line(counts: &[u64], minimum: u64) -> Vec<Option<u64>> {
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
}
