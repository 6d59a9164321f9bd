//! Matching with known events: the attacker knows all quasi-identifiers of a person and one to five of the codes.
//!
//! He knows the hierarchies and how this program recodes. He takes the finest class that fits the quasi-identifiers; among
//! its persons he keeps, for one known code after the other, the rarest first, those who hold the finest label of it that
//! anybody still fitting holds; and he guesses one of the persons left. A code that nobody left holds any label of is no
//! help to him. After the adversary of El Emam et al., "De-identification methods for open health data: the case of the
//! Heritage Health Prize claims dataset", JMIR 14(1), 2012, whose power is the number of events he knows.

use rand::RngExt;

use super::read::Persons;
use super::search::Plan;
use super::tree::ItemTree;
use super::write::told_sets;
use crate::attack::{Attack, AttackKind, AttackSettings, Kept, Scene, numbers, percent, sample};
use crate::search::NOWHERE;

/// Most codes that an attacker knows.
const KNOWN: usize = 5;

/// Attacks with one to five known codes. Up to `known` of them the highest chance may not exceed `maximum`.
pub(super) fn known_codes(
    persons: &Persons,
    plan: &Plan,
    tree: &ItemTree,
    kept: &[Kept],
    (settings, known, maximum): (&AttackSettings, usize, f64),
) -> Vec<Attack> {
    let scene = Scene::new(&plan.recoded, kept);
    let events = &persons.events;
    let sets = told_sets(persons, plan);
    // Of each class, who holds each node.
    let mut holders: Vec<Vec<(u32, u32)>> = vec![Vec::new(); scene.classes.len()];
    let mut members: Vec<Vec<u32>> = vec![Vec::new(); scene.classes.len()];
    for (row, set) in (0..).zip(&sets) {
        let class = scene.class_of(row);
        if class != NOWHERE {
            members[class as usize].push(row);
            holders[class as usize].extend(set.iter().map(|node| (*node, row)));
        }
    }
    holders.iter_mut().for_each(|holders| holders.sort_unstable());
    // Persons by what they hold: the draw does not depend on the order of rows.
    let mut order: Vec<u32> = (0..).take(events.persons()).collect();
    let person = |row: u32| {
        let columns = 0..scene.columns.len();
        let codes = columns.map(|column| scene.code(column, row)).collect::<Vec<u32>>();
        (codes, &events.leaf[events.of(row as usize)])
    };
    order.sort_by_cached_key(|row| person(*row));
    let mut attacks = Vec::new();
    for codes in 1..=KNOWN {
        let with_enough: Vec<u32> =
            order.iter().copied().filter(|row| events.of(*row as usize).len() >= codes).collect();
        let mut rng = numbers(settings, 200 + codes as u64);
        let targets = sample(&mut rng, with_enough.len() as u64, settings.targets);
        let (mut successes, mut highest, mut sum) = (0, 0.0_f64, 0.0);
        for target in &targets {
            let row = with_enough[usize::try_from(*target).unwrap_or(0)];
            let of_person = &events.leaf[events.of(row as usize)];
            let drawn = sample(&mut rng, of_person.len() as u64, codes as u64);
            let mut leaves: Vec<u32> =
                drawn.iter().filter_map(|at| of_person.get(usize::try_from(*at).ok()?).copied()).collect();
            leaves.sort_by(|a, b| {
                let bits = |leaf: &u32| tree.own_bits[*leaf as usize];
                bits(b).total_cmp(&bits(a)).then(a.cmp(b))
            });
            let Some(class) = scene.first_compatible(scene.known_of_row(row)) else { continue };
            if class != scene.class_of(row) {
                continue;
            }
            let left = narrowed(tree, &holders[class as usize], members[class as usize].clone(), &leaves);
            if left.binary_search(&row).is_ok() {
                let chance = 1.0 / crate::receipt::real(left.len() as u64);
                highest = highest.max(chance);
                sum += chance;
                successes += u64::from(rng.random_range(0..left.len()) == 0);
            }
        }
        let attacker = format!(
            "knows that the person is in the data, the exact value of every quasi-identifier, and {codes} of the person's \
             codes as recorded, drawn for each person; takes the finest class that fits, keeps who holds the finest labels of \
             the codes, and guesses one of them"
        );
        let variant = format!("prosecutor who knows {codes} {}", if codes == 1 { "code" } else { "codes" });
        let mut attack = Attack::new(AttackKind::Matching, &variant, attacker, targets.len() as u64, successes);
        attack.census = targets.len() == with_enough.len();
        attack.highest = Some(highest);
        attack.measure(
            "expected rate",
            if targets.is_empty() { 0.0 } else { sum / crate::receipt::real(targets.len() as u64) },
        );
        if codes <= known {
            attack.limit = Some(maximum);
            attack.held = highest <= maximum;
        }
        attack.conclusion = format!(
            "Found {} of {} persons ({}, at most {}). The person easiest to find is found with a chance of {}{}.",
            attack.successes,
            attack.attempts,
            percent(attack.rate),
            percent(attack.interval.upper),
            percent(highest),
            if codes <= known { "" } else { "; more is known than the policy protects from" }
        );
        attacks.push(attack);
    }
    attacks
}

/// Who of a class still fits after looking at some codes. `holders`: nodes with the persons who hold them, ascending.
fn narrowed(tree: &ItemTree, holders: &[(u32, u32)], mut left: Vec<u32>, leaves: &[u32]) -> Vec<u32> {
    for leaf in leaves {
        for step in &tree.paths[*leaf as usize] {
            let from = holders.partition_point(|(node, _)| *node < step.node);
            let to = holders.partition_point(|(node, _)| *node <= step.node);
            let hold: Vec<u32> = left
                .iter()
                .copied()
                .filter(|row| holders[from..to].binary_search(&(step.node, *row)).is_ok())
                .collect();
            if !hold.is_empty() {
                left = hold;
                break;
            }
        }
    }
    left
}
