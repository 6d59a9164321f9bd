//! Whether figures of a distribution give hidden counts away.
//!
//! A distance or an effective number is a function of all counts. Beside a small hidden count its decimals may leave one
//! possibility only. So a figure is shown with as many digits as leave, for every hidden count, another table that agrees
//! with everything shown; with none, it is left out.

use crate::measures::{Pair, hill_numbers, kullback_leibler, post_stratification, stability_index, total_variation};

/// Digits are taken away this often before the figures are left out.
const COARSEST: i32 = 2;
/// Moves that are tried, alone and two together.
const MOVES: usize = 60;

/// Figures of one distribution, rounded to what may be shown.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Figures {
    pub(crate) total_variation: Option<f64>,
    pub(crate) stability: Option<f64>,
    pub(crate) kullback_leibler: Option<f64>,
    pub(crate) effective_number: Option<f64>,
    pub(crate) inverse_simpson: Option<f64>,
    pub(crate) design_effect: Option<f64>,
    pub(crate) effective_size: Option<f64>,
    pub(crate) outside: Option<u64>,
}

/// What a cell adds and takes: place and people.
pub(crate) type Move = Vec<(usize, i64)>;

/// Lower and upper end of a share that counts as represented, relative to the reference: the four fifths rule (Uniform
/// Guidelines on Employee Selection Procedures, 29 CFR 1607.4 D, 1978) and its inverse.
pub(crate) const REPRESENTED: (f64, f64) = (0.8, 1.25);

fn rounded(value: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    (value * scale).round() / scale
}

fn figures(pairs: &[Pair], compared: bool, coarse: i32) -> Figures {
    let counts: Vec<u64> = pairs.iter().map(|pair| pair.count).collect();
    let hill = hill_numbers(&counts);
    let mut figures = Figures {
        effective_number: hill.map(|(first, _)| rounded(first, 2 - coarse)),
        inverse_simpson: hill.map(|(_, second)| rounded(second, 2 - coarse)),
        ..Figures::default()
    };
    if compared {
        let people: u64 = counts.iter().sum();
        let reference: f64 = pairs.iter().map(|pair| pair.reference).sum();
        let ratio = |pair: &Pair| pair.count as f64 / people as f64 / (pair.reference / reference);
        let weighting = post_stratification(pairs);
        figures.total_variation = total_variation(pairs).map(|value| rounded(value, 3 - coarse));
        figures.stability = stability_index(pairs).map(|value| rounded(value, 3 - coarse));
        figures.kullback_leibler = kullback_leibler(pairs).map(|value| rounded(value, 3 - coarse));
        figures.design_effect = weighting.map(|(effect, _)| rounded(effect, 2 - coarse));
        figures.effective_size = weighting.map(|(_, size)| rounded(size, -coarse));
        let odd = |pair: &&Pair| pair.reference > 0.0 && !(REPRESENTED.0..=REPRESENTED.1).contains(&ratio(pair));
        figures.outside = (people > 0).then(|| pairs.iter().filter(odd).count() as u64);
    }
    figures
}

/// The parts of [`Figures`], those first that say most.
const PARTS: [fn(&mut Figures); 8] = [
    |figures| figures.total_variation = None,
    |figures| figures.effective_number = None,
    |figures| figures.outside = None,
    |figures| figures.kullback_leibler = None,
    |figures| figures.stability = None,
    |figures| figures.effective_size = None,
    |figures| figures.design_effect = None,
    |figures| figures.inverse_simpson = None,
];

/// Each part with the digits chosen for it, or left out.
fn chosen(pairs: &[Pair], compared: bool, levels: &[Option<i32>; 8]) -> [Figures; 1 + COARSEST as usize] {
    std::array::from_fn(|coarse| {
        let mut figures = figures(pairs, compared, coarse as i32);
        for (clear, level) in PARTS.iter().zip(levels) {
            if *level != Some(coarse as i32) {
                clear(&mut figures);
            }
        }
        figures
    })
}

/// The figures with as many digits as keep the `hidden` counts hidden, and whether that cost digits or figures. Parts are
/// taken one after the other, each with the most digits that still leave another possibility for every hidden count.
/// `moves` are those that change nothing else that is shown.
pub(crate) fn safe_figures(pairs: &[Pair], compared: bool, hidden: &[bool], moves: &[Move]) -> (Figures, bool) {
    let full = figures(pairs, compared, 0);
    if !pairs.iter().zip(hidden).any(|(pair, hidden)| *hidden && pair.count > 0) {
        return (full, false);
    }
    let mut levels: [Option<i32>; 8] = [None; 8];
    for part in 0..levels.len() {
        for coarse in 0..=COARSEST {
            levels[part] = Some(coarse);
            let shown = chosen(pairs, compared, &levels);
            if keeps(pairs, hidden, moves, &|pairs| chosen(pairs, compared, &levels) == shown) {
                break;
            }
            levels[part] = None;
        }
    }
    let shown = chosen(pairs, compared, &levels);
    let mut all = shown[0];
    for other in &shown[1..] {
        all.total_variation = all.total_variation.or(other.total_variation);
        all.effective_number = all.effective_number.or(other.effective_number);
        all.outside = all.outside.or(other.outside);
        all.kullback_leibler = all.kullback_leibler.or(other.kullback_leibler);
        all.stability = all.stability.or(other.stability);
        all.effective_size = all.effective_size.or(other.effective_size);
        all.design_effect = all.design_effect.or(other.design_effect);
        all.inverse_simpson = all.inverse_simpson.or(other.inverse_simpson);
    }
    (all, all != full)
}

fn keeps(pairs: &[Pair], hidden: &[bool], moves: &[Move], agrees: &dyn Fn(&[Pair]) -> bool) -> bool {
    let mut open: Vec<bool> = pairs.iter().zip(hidden).map(|(pair, hidden)| *hidden && pair.count > 0).collect();
    let mut scaled: Vec<(&Move, i64)> = Vec::new();
    for step in moves.iter().take(MOVES) {
        scaled.extend([1, -1, 2, -2].map(|times| (step, times)));
    }
    let attempt = |parts: &[(&Move, i64)], open: &mut Vec<bool>| {
        let mut changed = pairs.to_vec();
        for (step, times) in parts {
            for (at, people) in step.iter() {
                let count = i64::try_from(changed[*at].count).unwrap_or(i64::MAX) + people * times;
                let Ok(count) = u64::try_from(count) else { return };
                changed[*at].count = count;
            }
        }
        let helps = (0..pairs.len()).any(|at| open[at] && changed[at].count != pairs[at].count);
        if helps && agrees(&changed) {
            (0..pairs.len()).for_each(|at| open[at] &= changed[at].count == pairs[at].count);
        }
    };
    for one in &scaled {
        if !open.contains(&true) {
            return true;
        }
        attempt(&[*one], &mut open);
    }
    for (at, one) in scaled.iter().enumerate() {
        for two in &scaled[at + 1..] {
            if !open.contains(&true) {
                return true;
            }
            attempt(&[*one, *two], &mut open);
        }
    }
    !open.contains(&true)
}

/// Moves of one line of counts whose total is known: somebody goes from one hidden cell to another.
pub(crate) fn line_moves(hidden: &[bool]) -> Vec<Move> {
    let cells: Vec<usize> = (0..hidden.len()).filter(|at| hidden[*at]).collect();
    let mut moves = Vec::new();
    for (at, one) in cells.iter().enumerate() {
        moves.extend(cells[at + 1..].iter().map(|two| vec![(*one, 1), (*two, -1)]));
    }
    moves
}

/// Moves that also keep the margins that are shown. `margins[cell]` lists the places of a cell's margins, none for a
/// margin that is hidden.
pub(crate) fn table_moves(hidden: &[bool], margins: &[Vec<Option<usize>>]) -> Vec<Move> {
    let mut moves = line_moves(hidden);
    let cells: Vec<usize> = (0..hidden.len()).filter(|at| hidden[*at]).take(24).collect();
    for &a in &cells {
        for &b in cells.iter().filter(|b| **b > a) {
            for &c in cells.iter().filter(|c| **c > b) {
                let fourth = cells.iter().filter(|d| **d > a && **d != b && **d != c);
                moves.extend(fourth.map(|&d| vec![(a, 1), (b, -1), (c, -1), (d, 1)]));
            }
        }
    }
    let keeps = |step: &Move| {
        let mut change: std::collections::BTreeMap<(usize, usize), i64> = std::collections::BTreeMap::new();
        for (cell, people) in step {
            for (dimension, margin) in margins[*cell].iter().enumerate() {
                if let Some(margin) = margin {
                    *change.entry((dimension, *margin)).or_default() += people;
                }
            }
        }
        change.values().all(|people| *people == 0)
    };
    moves.retain(keeps);
    moves
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(counts: &[u64]) -> Vec<Pair> {
        counts.iter().map(|count| Pair { count: *count, reference: 1.0 }).collect()
    }

    #[test]
    fn digits_that_would_give_a_hidden_count_away_are_left_out() {
        // 3 and 14 are hidden; their sum is known. To two digits Simpson's index would leave 3 and 14 only.
        let hidden = [true, true, false];
        let small = pairs(&[3, 14, 20]);
        let (shown, lost) = safe_figures(&small, true, &hidden, &line_moves(&hidden));
        assert!(lost && shown.inverse_simpson != figures(&small, true, 0).inverse_simpson);
        // Among a million people they move no digit of a distance, but the weight of a nearly empty cell they do.
        let (shown, lost) = safe_figures(&pairs(&[3, 14, 1_000_000]), true, &hidden, &line_moves(&hidden));
        assert!(lost && shown.design_effect.is_none());
        assert_eq!((shown.total_variation, shown.effective_number), (Some(0.667), Some(1.0)));
        assert!(!safe_figures(&small, true, &[false; 3], &[]).1);
        let nothing = Figures::default();
        assert_eq!(safe_figures(&small, true, &[true, false, false], &[]), (nothing, true));
    }

    #[test]
    fn moves_keep_shown_margins() {
        let hidden = [true; 4];
        let square = [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(a, b)| vec![Some(a), Some(b)]);
        assert_eq!(table_moves(&hidden, &square), [vec![(0, 1), (1, -1), (2, -1), (3, 1)]]);
        let open = [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(a, _)| vec![Some(a), None]);
        assert_eq!(table_moves(&hidden, &open).len(), 4);
    }
}
