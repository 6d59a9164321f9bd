//! A validation sample sorted by time, with a whole-number weight per row. A bootstrap sample is the same rows with other
//! weights, so nothing is sorted twice.

#![expect(clippy::needless_range_loop, reason = "the row is the place in several columns at once")]

use crate::LearnError;
use crate::algebra::{Symmetric, packed_len};

/// Rows in ascending order of time; at equal times events come first.
pub(crate) struct Sample {
    pub(crate) time: Vec<f64>,
    pub(crate) event: Vec<bool>,
    /// Linear predictor.
    pub(crate) lp: Vec<f64>,
    /// Rank of the linear predictor among its different values, from 0.
    pub(crate) rank: Vec<usize>,
    /// Different values of the linear predictor.
    pub(crate) ranks: usize,
    /// Where each row came from.
    pub(crate) row: Vec<usize>,
}

impl Sample {
    pub(crate) fn new(lp: &[f64], time: &[f64], event: &[bool]) -> Self {
        let mut order: Vec<usize> = (0..lp.len()).collect();
        order.sort_by(|a, b| time[*a].total_cmp(&time[*b]).then(event[*b].cmp(&event[*a])).then(a.cmp(b)));
        let mut values: Vec<f64> = lp.to_vec();
        values.sort_by(f64::total_cmp);
        values.dedup();
        let rank = |x: f64| values.partition_point(|value| *value < x);
        Self {
            time: order.iter().map(|row| time[*row]).collect(),
            event: order.iter().map(|row| event[*row]).collect(),
            lp: order.iter().map(|row| lp[*row]).collect(),
            rank: order.iter().map(|row| rank(lp[*row])).collect(),
            ranks: values.len(),
            row: order,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.time.len()
    }

    /// End of the run of equal times that starts at `from`.
    pub(crate) fn same_time(&self, from: usize) -> usize {
        let time = self.time[from];
        from + self.time[from..].iter().take_while(|other| **other == time).count()
    }
}

/// Sums over ranks (Fenwick 1994).
struct Ranks(Vec<f64>);

impl Ranks {
    fn add(&mut self, rank: usize, weight: f64) {
        let mut at = rank + 1;
        while at < self.0.len() {
            self.0[at] += weight;
            at += at & at.wrapping_neg();
        }
    }

    /// Sum over ranks below.
    fn below(&self, rank: usize) -> f64 {
        let (mut at, mut sum) = (rank, 0.0);
        while at > 0 {
            sum += self.0[at];
            at &= at - 1;
        }
        sum
    }
}

/// A concordance with the standard error of its infinitesimal jackknife.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Concordance {
    pub(crate) c: f64,
    pub(crate) standard_error: f64,
    pub(crate) pairs: f64,
}

/// Share of comparable pairs in which who has the event first has the higher linear predictor; equal predictors count
/// half. A pair is comparable when the smaller time is an event; at equal times an event and a censored row are, two events
/// are not (Harrell 1982; as `concordance` of R `survival`). `pair_weight` weighs the pairs of an event.
pub(crate) fn concordance(sample: &Sample, weights: &[f64], pair_weight: Option<&[f64]>) -> Concordance {
    let n = sample.len();
    let (mut good, mut pairs) = (vec![0.0; n], vec![0.0; n]);
    let of = |row: usize| pair_weight.map_or(1.0, |pair_weight| pair_weight[row]);
    // As the earlier row of a pair: against everybody later.
    let mut later = Ranks(vec![0.0; sample.ranks + 1]);
    let mut all_later = 0.0;
    let mut end = n;
    while end > 0 {
        let mut start = end - 1;
        while start > 0 && sample.time[start - 1] == sample.time[start] {
            start -= 1;
        }
        let events = (start..end).take_while(|row| sample.event[*row]).count();
        for row in start + events..end {
            later.add(sample.rank[row], weights[row]);
            all_later += weights[row];
        }
        for row in start..start + events {
            let below = later.below(sample.rank[row]);
            let tied = later.below(sample.rank[row] + 1) - below;
            good[row] += (below + tied / 2.0) * of(row);
            pairs[row] += all_later * of(row);
        }
        for row in start..start + events {
            later.add(sample.rank[row], weights[row]);
            all_later += weights[row];
        }
        end = start;
    }
    let (total_good, total_pairs): (f64, f64) = weights
        .iter()
        .zip(good.iter().zip(&pairs))
        .fold((0.0, 0.0), |(g, p), (w, (good, pairs))| (g + w * good, p + w * pairs));
    // As the later row of a pair: against every event before.
    let mut earlier = Ranks(vec![0.0; sample.ranks + 1]);
    let mut all_earlier = 0.0;
    let mut start = 0;
    while start < n {
        let end = sample.same_time(start);
        let events = (start..end).take_while(|row| sample.event[*row]).count();
        let mut look = |rows: std::ops::Range<usize>, earlier: &Ranks, all_earlier: f64| {
            for row in rows {
                let below = earlier.below(sample.rank[row]);
                let tied = earlier.below(sample.rank[row] + 1) - below;
                good[row] += all_earlier - below - tied / 2.0;
                pairs[row] += all_earlier;
            }
        };
        look(start..start + events, &earlier, all_earlier);
        for row in start..start + events {
            earlier.add(sample.rank[row], weights[row] * of(row));
            all_earlier += weights[row] * of(row);
        }
        look(start + events..end, &earlier, all_earlier);
        start = end;
    }
    let c = total_good / total_pairs;
    let variance: f64 = (0..n)
        .map(|row| {
            let influence = (good[row] - c * pairs[row]) / total_pairs;
            weights[row] * influence * influence
        })
        .sum();
    Concordance { c, standard_error: variance.sqrt(), pairs: total_pairs }
}

/// A product-limit curve: value after each row's time, and just before it.
pub(crate) struct Curve {
    pub(crate) after: Vec<f64>,
    pub(crate) before: Vec<f64>,
    /// Greenwood's sum at each row's time.
    pub(crate) greenwood: Vec<f64>,
}

impl Curve {
    /// Value and standard error at a time.
    pub(crate) fn at(&self, sample: &Sample, time: f64) -> (f64, f64) {
        let upto = sample.time.partition_point(|other| *other <= time);
        if upto == 0 {
            return (1.0, 0.0);
        }
        (self.after[upto - 1], self.after[upto - 1] * self.greenwood[upto - 1].sqrt())
    }
}

/// Which end of follow-up the curve is about.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Of {
    /// Events.
    Event,
    /// Censoring; whoever has the event at the same time is still at risk.
    Censoring,
    /// Censoring; whoever has the event at the same time has left before.
    CensoringAfterEvents,
}

pub(crate) fn curve(sample: &Sample, weights: &[f64], of: Of) -> Curve {
    let n = sample.len();
    let mut at_risk: f64 = weights.iter().sum();
    let (mut value, mut greenwood) = (1.0, 0.0);
    let mut curve = Curve { after: vec![0.0; n], before: vec![0.0; n], greenwood: vec![0.0; n] };
    let mut start = 0;
    while start < n {
        let end = sample.same_time(start);
        let (mut events, mut censored) = (0.0, 0.0);
        for row in start..end {
            if sample.event[row] { events += weights[row] } else { censored += weights[row] }
        }
        let before = value;
        let (ends, exposed) = match of {
            Of::Event => (events, at_risk),
            Of::Censoring => (censored, at_risk),
            Of::CensoringAfterEvents => (censored, at_risk - events),
        };
        if ends > 0.0 {
            value *= 1.0 - ends / exposed;
            if exposed > ends {
                greenwood += ends / (exposed * (exposed - ends));
            }
        }
        for row in start..end {
            curve.before[row] = before;
            curve.after[row] = value;
            curve.greenwood[row] = greenwood;
        }
        at_risk -= events + censored;
        start = end;
    }
    curve
}

/// A Cox model of one or two columns (Efron ties): coefficients, covariance, cumulative baseline hazard per row.
pub(crate) struct SmallCox {
    pub(crate) coefficients: Vec<f64>,
    pub(crate) covariance: Symmetric,
    pub(crate) baseline: Vec<f64>,
}

pub(crate) fn small_cox(sample: &Sample, weights: &[f64], columns: &[&[f64]]) -> Result<SmallCox, LearnError> {
    let (n, p) = (sample.len(), columns.len());
    let total: f64 = weights.iter().sum();
    let centres: Vec<f64> =
        columns.iter().map(|column| column.iter().zip(weights).map(|(x, w)| x * w).sum::<f64>() / total).collect();
    let mut beta = vec![0.0; p];
    let mut reached = f64::NEG_INFINITY;
    let mut before = beta.clone();
    let width = 1 + p + packed_len(p);
    let (mut set, mut tied, mut z) = (vec![0.0; width], vec![0.0; width], vec![0.0; p]);
    for _ in 0..40 {
        let (mut log_likelihood, mut gradient, mut packed) = (0.0, vec![0.0; p], vec![0.0; packed_len(p)]);
        let mut increments: Vec<(usize, f64)> = Vec::new();
        set.fill(0.0);
        let mut end = n;
        while end > 0 {
            let mut start = end - 1;
            while start > 0 && sample.time[start - 1] == sample.time[start] {
                start -= 1;
            }
            tied.fill(0.0);
            let mut events = 0.0;
            for row in (start..end).filter(|row| weights[*row] > 0.0) {
                for (z, (column, centre)) in z.iter_mut().zip(columns.iter().zip(&centres)) {
                    *z = column[row] - centre;
                }
                let lp: f64 = z.iter().zip(&beta).map(|(z, b)| z * b).sum();
                let risk = libm::exp(lp) * weights[row];
                let add = |into: &mut [f64]| {
                    into[0] += risk;
                    let mut at = 1 + p;
                    for i in 0..p {
                        into[1 + i] += risk * z[i];
                        for other in &z[i..] {
                            into[at] += risk * z[i] * other;
                            at += 1;
                        }
                    }
                };
                add(&mut set);
                if sample.event[row] {
                    events += weights[row];
                    log_likelihood += weights[row] * lp;
                    gradient.iter_mut().zip(&z).for_each(|(g, z)| *g += weights[row] * z);
                    add(&mut tied);
                }
            }
            let mut increment = 0.0;
            let mut done = 0.0;
            while done < events {
                let share = done / events;
                let risk = set[0] - share * tied[0];
                log_likelihood -= libm::log(risk);
                increment += 1.0 / risk;
                let mut at = 0;
                for i in 0..p {
                    let mean = (set[1 + i] - share * tied[1 + i]) / risk;
                    gradient[i] -= mean;
                    for j in i..p {
                        let other = (set[1 + j] - share * tied[1 + j]) / risk;
                        packed[at] += (set[1 + p + at] - share * tied[1 + p + at]) / risk - mean * other;
                        at += 1;
                    }
                }
                done += 1.0;
            }
            if events > 0.0 {
                increments.push((start, increment));
            }
            end = start;
        }
        if log_likelihood < reached - 1e-9 * reached.abs() {
            beta.iter_mut().zip(&before).for_each(|(b, earlier)| *b = f64::midpoint(*b, *earlier));
            continue;
        }
        let information = Symmetric::from_packed(p, |at| packed[at]);
        let factor = information.cholesky()?;
        let step = factor.solve(&gradient);
        reached = log_likelihood;
        before.clone_from(&beta);
        beta.iter_mut().zip(&step).for_each(|(b, s)| *b += s);
        if step.iter().all(|step| step.abs() < 1e-10) {
            let shift: f64 = beta.iter().zip(&centres).map(|(b, centre)| b * centre).sum();
            let (mut baseline, mut hazard) = (vec![0.0; n], 0.0);
            let mut next = increments.iter().rev().peekable();
            for (row, value) in baseline.iter_mut().enumerate() {
                while let Some((start, increment)) = next.peek() {
                    if *start > row {
                        break;
                    }
                    hazard += increment * libm::exp(-shift);
                    next.next();
                }
                *value = hazard;
            }
            return Ok(SmallCox { coefficients: beta, covariance: factor.inverse(), baseline });
        }
    }
    Err(LearnError::Estimate { reason: "a calibration model does not settle" })
}

/// Quantile between order statistics (Hyndman and Fan 1996, type 7), of sorted values with whole weights.
pub(crate) fn quantile_7(sorted: &[(f64, f64)], share: f64) -> f64 {
    let n: f64 = sorted.iter().map(|(_, weight)| weight).sum();
    let position = (n - 1.0) * share;
    let (low, fraction) = (position.floor(), position - position.floor());
    let value = |index: f64| {
        let mut passed = 0.0;
        for (value, weight) in sorted {
            passed += weight;
            if index < passed {
                return *value;
            }
        }
        sorted.last().map_or(0.0, |(value, _)| *value)
    };
    let a = value(low);
    if fraction == 0.0 { a } else { a + fraction * (value(low + 1.0) - a) }
}
