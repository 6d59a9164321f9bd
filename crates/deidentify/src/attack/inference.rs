//! Inference: the attacker guesses what a person's row holds without having to know which row it is.
//!
//! He finds the person's class and takes its most frequent value. The control takes the same guess with the person's own
//! row left out: what it still gets right is knowledge about people like that person, which is what the data is for.

use std::ops::ControlFlow;

use super::scene::{Scene, sample};
use super::{Attack, AttackKind, AttackSettings, numbers, percent, real, share};
use crate::policy::Role;
use crate::search::NOWHERE;
use crate::verify::Recount;

/// Counts over the classes of one column.
#[derive(Debug, Default)]
struct Tally {
    persons: u64,
    right: u64,
    /// Expected right guesses without the person's own row.
    control: f64,
    /// Persons in classes of one value.
    certain: u64,
}

impl Tally {
    /// `counts`: rows by value in one class. `alone`: chance of a guess for somebody alone in the class.
    fn class(&mut self, counts: impl Iterator<Item = u64> + Clone, alone: f64) {
        let most = counts.clone().max().unwrap_or(0);
        let rows = counts.clone().sum();
        self.persons += rows;
        self.right += most;
        self.certain += if most == rows && rows > 1 { rows } else { 0 };
        self.control += if rows == 1 { alone } else { without_own_row(most, counts) };
    }
}

/// Expected right guesses over a class when each person's own row is left out of it. Only holders of the single most
/// frequent value can still be right; of several most frequent values one is guessed at random.
fn without_own_row(most: u64, counts: impl Iterator<Item = u64> + Clone) -> f64 {
    let as_often = |often: u64| counts.clone().filter(|count| *count == often).count() as u64;
    if as_often(most) > 1 { 0.0 } else { real(most) / real(1 + as_often(most - 1)) }
}

fn finish(name: &str, known: &str, tally: &Tally, baseline: f64, settings: &AttackSettings) -> Attack {
    let attacker = format!("knows {known}; guesses {name} as the most frequent value in the person's class");
    let mut attack = Attack::new(AttackKind::Inference, name, attacker, tally.persons, tally.right);
    attack.census = true;
    let control = if tally.persons == 0 { 0.0 } else { tally.control / real(tally.persons) };
    attack = attack.against(control, "the same guess with the person's own row left out", settings.inference_maximum);
    attack.measure("always guessing the most frequent value", baseline);
    attack.measure("share of persons whose class holds one value", share(tally.certain, tally.persons));
    attack.conclusion = conclusion(&attack, baseline);
    attack
}

fn conclusion(attack: &Attack, baseline: f64) -> String {
    let control = attack.control.as_ref().map_or(0.0, |control| control.rate);
    let excess = attack.excess.unwrap_or(0.0);
    format!(
        "Right for {}; {} without the person's own row, {} by guessing the most frequent value. The row itself adds {}.",
        percent(attack.rate),
        percent(control),
        percent(baseline),
        percent(excess)
    )
}

/// Sensitive columns, from the classes that the verifier counted.
pub(super) fn of_recount(recount: &Recount, settings: &AttackSettings) -> Vec<Attack> {
    let attack = |(name, classes): (&String, &Vec<Vec<(u32, u64)>>)| {
        let mut whole: Vec<u64> = Vec::new();
        for (value, count) in classes.iter().flatten() {
            let value = *value as usize;
            whole.resize(whole.len().max(value + 1), 0);
            whole[value] += count;
        }
        let baseline = share(whole.iter().copied().max().unwrap_or(0), recount.rows);
        let mut tally = Tally::default();
        classes.iter().for_each(|class| tally.class(class.iter().map(|(_, count)| *count), baseline));
        finish(name, "every quasi-identifier", &tally, baseline, settings)
    };
    recount.sensitive.iter().map(attack).collect()
}

/// Every kept column that is no quasi-identifier.
pub(super) fn of_kept(scene: &Scene<'_>, settings: &AttackSettings) -> Vec<Attack> {
    let mut attacks = Vec::new();
    for kept in scene.kept {
        let codes = &kept.coded.codes[..scene.rows];
        let mut pairs: Vec<(u32, u32)> = (0..)
            .zip(codes)
            .map(|(row, code)| (scene.class_of(row), *code))
            .filter(|(class, _)| *class != NOWHERE)
            .collect();
        pairs.sort_unstable();
        let mut whole = vec![0_u64; kept.coded.values.len()];
        pairs.iter().for_each(|(_, code)| whole[*code as usize] += 1);
        let baseline = share(whole.iter().copied().max().unwrap_or(0), pairs.len() as u64);
        let mut tally = Tally::default();
        for class in pairs.chunk_by(|a, b| a.0 == b.0) {
            tally.class(class.chunk_by(|a, b| a == b).map(|same| same.len() as u64), baseline);
        }
        let mut limits = settings.clone();
        if kept.role != Role::Sensitive {
            limits.inference_maximum = None;
        }
        attacks.push(finish(&kept.coded.name, "every quasi-identifier", &tally, baseline, &limits));
    }
    attacks
}

/// Every quasi-identifier as the one thing that is not known. The attacker guesses the label that most of the fitting
/// rows hold; he is right when it covers the person's value and is not the root.
pub(super) fn of_quasi_identifiers(scene: &Scene<'_>, settings: &AttackSettings, order: &[u32]) -> Vec<Attack> {
    let columns = scene.columns.len();
    if columns < 2 {
        return Vec::new();
    }
    let mut attacks = Vec::new();
    for secret in 0..columns {
        let mut rng = numbers(settings, 300 + secret as u64);
        let targets = sample(&mut rng, order.len() as u64, settings.targets);
        let quasi = &scene.columns[secret];
        // The most frequent label of the release, for the baseline.
        let mut all: Vec<u64> = Vec::new();
        scene.classes.iter().for_each(|class| add(&mut all, class.labels[secret], class.rows));
        let common = most(&all, |label| !root(scene, secret, label));
        let (mut right, mut control, mut baseline) = (0, 0_u64, 0_u64);
        let mut rows_of: Vec<u64> = Vec::new();
        for target in &targets {
            let row = order[usize::try_from(*target).unwrap_or(0)];
            let code = scene.code(secret, row);
            let own = scene.class_of(row);
            rows_of.clear();
            let known =
                (0..columns).filter(|column| *column != secret).map(|column| (column, scene.code(column, row), 0));
            scene.compatible(known, |word, mut bits| {
                while bits != 0 {
                    let class = &scene.classes[word * 64 + bits.trailing_zeros() as usize];
                    add(&mut rows_of, class.labels[secret], class.rows);
                    bits &= bits - 1;
                }
                ControlFlow::Continue(())
            });
            let says = |label: Option<u32>| label.is_some_and(|label| scene.covers(secret, label, code));
            let guess = |rows_of: &[u64]| most(rows_of, |label| !root(scene, secret, label));
            right += u64::from(says(guess(&rows_of)));
            let label = scene.classes[own as usize].labels[secret];
            rows_of[label as usize] -= 1;
            control += u64::from(says(guess(&rows_of)));
            baseline += u64::from(says(common));
        }
        let attempts = targets.len() as u64;
        let name = &quasi.coded.name;
        let attacker = format!(
            "knows every quasi-identifier but {name}; guesses its released value as the one that most of the fitting rows hold"
        );
        let mut attack =
            Attack::new(AttackKind::Inference, &format!("{name} from the others"), attacker, attempts, right).against(
                share(control, attempts),
                "the same guess with the person's own row left out",
                None,
            );
        attack.census = targets.len() == order.len();
        attack.measure("always guessing the most frequent value", share(baseline, attempts));
        attack.conclusion = conclusion(&attack, share(baseline, attempts));
        attacks.push(attack);
    }
    attacks
}

fn add(counts: &mut Vec<u64>, label: u32, rows: u64) {
    let label = label as usize;
    counts.resize(counts.len().max(label + 1), 0);
    counts[label] += rows;
}

/// The most frequent label that says something; the first of several.
fn most(counts: &[u64], tells: impl Fn(u32) -> bool) -> Option<u32> {
    let mut best: Option<(u64, u32)> = None;
    for (label, count) in (0..).zip(counts) {
        if *count > 0 && best.is_none_or(|(most, _)| *count > most) && tells(label) {
            best = Some((*count, label));
        }
    }
    best.map(|(_, label)| label)
}

/// Whether a label is that of the last level, which says nothing.
fn root(scene: &Scene<'_>, column: usize, label: u32) -> bool {
    scene.root(column) == label
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

        /// Against taking each person out and guessing again; of several most frequent values the attacker takes one at
        /// random.
        #[test]
        fn the_control_leaves_each_row_out(counts in proptest::collection::vec(1..6_u64, 1..6)) {
            let mut tally = Tally::default();
            tally.class(counts.iter().copied(), 0.25);
            let mut expected = 0.0;
            for value in 0..counts.len() {
                let mut others = counts.clone();
                others[value] -= 1;
                let most = others.iter().copied().max().unwrap_or(0);
                let ties = others.iter().filter(|count| **count == most).count();
                let right = if most == 0 { 0.25 } else if others[value] == most { 1.0 / ties as f64 } else { 0.0 };
                expected += counts[value] as f64 * right;
            }
            prop_assert!((tally.control - expected).abs() < 1e-9, "{} {expected}", tally.control);
            prop_assert_eq!(tally.right, counts.iter().copied().max().unwrap());
        }
    }
}
