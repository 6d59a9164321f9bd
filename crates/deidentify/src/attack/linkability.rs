//! Linkability: the attacker holds two lists of the same persons without names in common, each with one half of the
//! quasi-identifiers, and joins them through the release.
//!
//! After Giomi et al. 2023, section 5.2. For a person of the first list he adds up the released rows that fit the known
//! half, by what they hold in the other half, takes the most frequent, and guesses one of the persons of the second list
//! whom it fits. The control does the same with the person's own row left out of the release.

use hashbrown::HashMap;
use rand::RngExt;

use super::scene::{Scene, sample};
use super::{Attack, AttackKind, AttackSettings, numbers, percent, real, share};
use crate::search::NOWHERE;

pub(super) fn run(scene: &Scene<'_>, settings: &AttackSettings) -> Option<Attack> {
    let columns = scene.columns.len();
    if columns < 2 {
        return None;
    }
    let mut rng = numbers(settings, 400);
    let first: Vec<usize> = sample(&mut rng, columns as u64, columns as u64 / 2)
        .into_iter()
        .filter_map(|at| usize::try_from(at).ok())
        .collect();
    let second: Vec<usize> = (0..columns).filter(|column| !first.contains(column)).collect();
    // Classes that agree in the second half.
    let mut halves: Vec<Vec<u32>> = Vec::new();
    let mut known: HashMap<Vec<u32>, u32> = HashMap::new();
    let mut half_of = Vec::with_capacity(scene.classes.len());
    for class in &scene.classes {
        let labels: Vec<u32> = second.iter().map(|column| class.labels[*column]).collect();
        let next = u32::try_from(halves.len()).expect("fewer than 2^32 classes");
        half_of.push(*known.entry(labels.clone()).or_insert_with(|| {
            halves.push(labels);
            next
        }));
    }
    // Persons of the second list, by their exact half.
    let mut list: Vec<(Vec<u32>, u64)> = {
        let mut persons: HashMap<Vec<u32>, u64> = HashMap::new();
        for alike in &scene.persons {
            let codes: Vec<u32> = second.iter().map(|column| scene.code(*column, alike.row)).collect();
            *persons.entry(codes).or_default() += u64::from(alike.persons);
        }
        persons.into_iter().collect()
    };
    list.sort_unstable();
    let mut fitting: Vec<Option<u64>> = vec![None; halves.len()];
    let mut fit = |half: u32| {
        *fitting[half as usize].get_or_insert_with(|| {
            let labels = &halves[half as usize];
            let covered: Vec<Vec<bool>> =
                second.iter().zip(labels).map(|(column, label)| scene.covered(*column, *label)).collect();
            let fits = |codes: &[u32]| codes.iter().zip(&covered).all(|(code, covered)| covered[*code as usize]);
            list.iter().filter(|(codes, _)| fits(codes)).map(|(_, persons)| persons).sum()
        })
    };
    // Targets are drawn from all persons, suppressed ones included: the lists do not depend on the release.
    let all = scene.rows as u64;
    let mut targets = sample(&mut rng, all, settings.targets).into_iter().peekable();
    let (mut attempts, mut successes, mut control, mut expected, mut before) = (0, 0, 0.0, 0.0, 0);
    let mut classes = Vec::new();
    let mut rows_of: Vec<u64> = vec![0; halves.len()];
    for alike in &scene.persons {
        let after = before + u64::from(alike.persons);
        let mut persons = 0;
        while targets.next_if(|target| *target < after).is_some() {
            persons += 1;
        }
        before = after;
        if persons == 0 {
            continue;
        }
        attempts += persons;
        scene.all_compatible(first.iter().map(|column| (*column, scene.code(*column, alike.row), 0)), &mut classes);
        let mut touched: Vec<u32> = Vec::new();
        for class in &classes {
            let half = half_of[*class as usize];
            touched.push(half);
            rows_of[half as usize] += scene.classes[*class as usize].rows;
        }
        touched.sort_unstable();
        touched.dedup();
        let guess =
            |rows_of: &[u64]| touched.iter().copied().max_by_key(|half| (rows_of[*half as usize], u32::MAX - half));
        let right = |half: u32| {
            let labels = &halves[half as usize];
            let covers =
                |(column, label): (&usize, &u32)| scene.covers(*column, *label, scene.code(*column, alike.row));
            second.iter().zip(labels).all(covers)
        };
        if let Some(half) = guess(&rows_of).filter(|half| right(*half)) {
            let list = fit(half);
            expected += real(persons) / real(list);
            successes += (0..persons).filter(|_| rng.random_range(0..list) == 0).count() as u64;
        }
        let own = (alike.class != NOWHERE).then(|| half_of[alike.class as usize] as usize);
        if let Some(own) = own {
            rows_of[own] = rows_of[own].saturating_sub(1);
        }
        if let Some(half) = guess(&rows_of).filter(|half| right(*half) && rows_of[*half as usize] > 0) {
            control += real(persons) / real(fit(half));
        }
        touched.iter().for_each(|half| rows_of[*half as usize] = 0);
    }
    let named = |columns: &[usize]| {
        columns.iter().map(|column| scene.columns[*column].coded.name.as_str()).collect::<Vec<_>>().join(", ")
    };
    let attacker = format!(
        "has one list with {} and another with {} of the same persons; joins them through the release",
        named(&first),
        named(&second)
    );
    let control = if attempts == 0 { 0.0 } else { control / real(attempts) };
    let mut attack =
        Attack::new(AttackKind::Linkability, "two halves of the quasi-identifiers", attacker, attempts, successes)
            .against(
                control,
                "the same with the person's own row left out of the release",
                settings.linkability_maximum,
            );
    attack.census = attempts == all;
    attack.measure("expected rate", if attempts == 0 { 0.0 } else { expected / real(attempts) });
    attack.measure("guessing any person of the list", share(1, all));
    attack.conclusion = format!(
        "Joined {} of {attempts} persons ({}); {} without the person's own row. The row itself adds {}.",
        successes,
        percent(attack.rate),
        percent(control),
        percent(attack.excess.unwrap_or(0.0))
    );
    Some(attack)
}
