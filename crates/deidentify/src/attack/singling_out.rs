//! Singling out: the attacker makes descriptions out of released rows and hopes that exactly one person fits.
//!
//! After Giomi et al. 2023, section 5.1. *Univariate*: a value that the release holds once. *Multivariate*: some columns
//! of one released row. The baseline joins values of different rows, so that it has the same columns but no row behind it.
//! Who fits is counted in the table before recoding, suppressed persons included: a label fits all values it covers.

use std::collections::BTreeMap;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::scene::{Scene, sample};
use super::{Attack, AttackKind, AttackSettings, numbers, percent, share};

/// Most columns of a description.
const COLUMNS: usize = 5;

/// One condition: a column and what it is released as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Condition {
    /// Quasi-identifiers first, then the other kept columns.
    column: usize,
    /// A label, or the code of a value.
    value: u32,
}

/// Looks up who fits a description.
struct Crowd<'s, 'a> {
    scene: &'s Scene<'a>,
    /// Rows by value, for each column that was asked for.
    rows_by_value: Vec<Option<Vec<Vec<u32>>>>,
    /// Values that a label covers.
    covered: BTreeMap<Condition, Vec<bool>>,
}

impl<'s, 'a> Crowd<'s, 'a> {
    fn new(scene: &'s Scene<'a>) -> Self {
        let columns = scene.columns.len() + scene.kept.len();
        Self { scene, rows_by_value: vec![None; columns], covered: BTreeMap::new() }
    }

    fn codes(&self, column: usize) -> (&'s [u32], usize) {
        let quasi = self.scene.columns.len();
        let coded =
            if column < quasi { &*self.scene.columns[column].coded } else { &*self.scene.kept[column - quasi].coded };
        (&coded.codes[..self.scene.rows], coded.values.len())
    }

    /// What a released row holds in a column.
    fn condition(&self, column: usize, row: u32) -> Condition {
        let quasi = self.scene.columns.len();
        let value = if column < quasi {
            self.scene.classes[self.scene.class_of(row) as usize].labels[column]
        } else {
            self.scene.kept[column - quasi].coded.codes[row as usize]
        };
        Condition { column, value }
    }

    fn prepare(&mut self, condition: Condition) {
        let column = condition.column;
        let (codes, values) = self.codes(column);
        if self.rows_by_value[column].is_none() {
            let mut rows = vec![Vec::new(); values];
            (0..).zip(codes).for_each(|(row, code)| rows[*code as usize].push(row));
            self.rows_by_value[column] = Some(rows);
        }
        if column < self.scene.columns.len() && !self.covered.contains_key(&condition) {
            self.covered.insert(condition, self.scene.covered(column, condition.value));
        }
    }

    fn fits(&self, condition: Condition, code: u32) -> bool {
        match self.covered.get(&condition) {
            Some(covered) => covered[code as usize],
            None => condition.value == code,
        }
    }

    /// Whether exactly one person fits all conditions.
    fn singles_out(&mut self, conditions: &[Condition]) -> bool {
        conditions.iter().for_each(|condition| self.prepare(*condition));
        let values = |condition: &Condition| -> Vec<&Vec<u32>> {
            let rows = self.rows_by_value[condition.column].as_deref().unwrap_or_default();
            match self.covered.get(condition) {
                Some(covered) => {
                    rows.iter().zip(covered).filter(|(_, covered)| **covered).map(|(rows, _)| rows).collect()
                }
                None => rows.get(condition.value as usize).into_iter().collect(),
            }
        };
        // The rarest condition leaves the fewest persons to look at.
        let size = |condition: &&Condition| values(condition).iter().map(|rows| rows.len()).sum::<usize>();
        let Some(rarest) = conditions.iter().min_by_key(size) else { return false };
        let mut found = 0;
        for row in values(rarest).into_iter().flatten() {
            let fits = |condition: &Condition| self.fits(*condition, self.codes(condition.column).0[*row as usize]);
            if conditions.iter().all(fits) {
                found += 1;
                if found > 1 {
                    return false;
                }
            }
        }
        found == 1
    }
}

pub(super) fn run(scene: &Scene<'_>, settings: &AttackSettings, order: &[u32]) -> Vec<Attack> {
    if order.is_empty() {
        return Vec::new();
    }
    let mut crowd = Crowd::new(scene);
    let columns = scene.columns.len() + scene.kept.len();
    let mut attacks = vec![univariate(&mut crowd, columns, settings, order)];
    for known in 2..=COLUMNS.min(columns) {
        attacks.push(multivariate(&mut crowd, columns, known, settings, order));
    }
    attacks
}

fn univariate(crowd: &mut Crowd<'_, '_>, columns: usize, settings: &AttackSettings, order: &[u32]) -> Attack {
    let mut rng = numbers(settings, 200);
    let (mut once, mut different) = (Vec::new(), Vec::new());
    for column in 0..columns {
        let mut held: Vec<Condition> = order.iter().map(|row| crowd.condition(column, *row)).collect();
        held.sort_unstable();
        for same in held.chunk_by(|a, b| a == b) {
            different.push(same[0]);
            if same.len() == 1 {
                once.push(same[0]);
            }
        }
    }
    let mut successes = |rng: &mut ChaCha8Rng, conditions: &[Condition]| {
        let chosen = sample(rng, conditions.len() as u64, settings.targets);
        let chosen: Vec<Condition> =
            chosen.iter().filter_map(|at| conditions.get(usize::try_from(*at).ok()?).copied()).collect();
        let right = chosen.iter().filter(|condition| crowd.singles_out(&[**condition])).count();
        (right as u64, chosen.len() as u64)
    };
    let (right, attempts) = successes(&mut rng, &once);
    let (by_chance, tried) = successes(&mut rng, &different);
    let attacker = "takes a value that the release holds once, and claims that one person has it";
    finish("by one column", attacker.to_owned(), (right, attempts), share(by_chance, tried), "any value of the release")
}

fn multivariate(
    crowd: &mut Crowd<'_, '_>,
    columns: usize,
    known: usize,
    settings: &AttackSettings,
    order: &[u32],
) -> Attack {
    let mut rng = numbers(settings, 200 + known as u64);
    let row = |rng: &mut ChaCha8Rng| order[rng.random_range(0..order.len())];
    let (mut right, mut by_chance) = (0, 0);
    for _ in 0..settings.targets {
        let chosen: Vec<usize> = sample(&mut rng, columns as u64, known as u64)
            .into_iter()
            .filter_map(|column| usize::try_from(column).ok())
            .collect();
        let one = row(&mut rng);
        let conditions: Vec<Condition> = chosen.iter().map(|column| crowd.condition(*column, one)).collect();
        right += u64::from(crowd.singles_out(&conditions));
        let mixed: Vec<Condition> = chosen
            .iter()
            .map(|column| {
                let other = row(&mut rng);
                crowd.condition(*column, other)
            })
            .collect();
        by_chance += u64::from(crowd.singles_out(&mixed));
    }
    let attacker = format!(
        "takes {known} of the {columns} released columns of one row, drawn each time, and claims that one person fits"
    );
    let control = share(by_chance, settings.targets);
    let what = "the same columns with values of different rows";
    finish(&format!("by {known} columns"), attacker, (right, settings.targets), control, what)
}

fn finish(variant: &str, attacker: String, counted: (u64, u64), control: f64, what: &str) -> Attack {
    let (right, attempts) = counted;
    let mut attack =
        Attack::new(AttackKind::SinglingOut, variant, attacker, attempts, right).against(control, what, None);
    attack.conclusion = if attempts == 0 {
        "No value of the release is there once: there is nothing to begin with.".to_owned()
    } else {
        format!(
            "{} of {attempts} descriptions fitted exactly one person ({}); {} of those made without a row behind them.",
            right,
            percent(attack.rate),
            percent(control)
        )
    };
    attack
}
