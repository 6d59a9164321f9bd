//! Matching: the attacker looks for a person's row.
//!
//! He knows the hierarchies, and how this program recodes: a row stands in the class that loses least among all that could
//! hold it (Cohen, "Attacks on deidentification's defenses", USENIX Security 2022, on what minimal recoding tells). So he
//! takes the first class that covers what he knows, and one of its rows at random.

use acequia_privacy::{Risk, journalist as journalist_risk};
use rand::RngExt;

use super::scene::{Scene, sample};
use super::{Attack, AttackKind, AttackSettings, numbers, percent, real};
use crate::search::NOWHERE;

/// Looks at classes, 64 at a time, up to which every person is attacked.
const CENSUS: usize = 20_000_000;
/// How much of a person an attacker may know, in columns.
const KNOWN: usize = 5;

/// The attacker knows that the person is in the data, and every quasi-identifier.
pub(super) fn prosecutor(scene: &Scene<'_>, settings: &AttackSettings, maximum: f64) -> Attack {
    let mut rng = numbers(settings, 1);
    let census = scene.persons.len() * scene.words() <= CENSUS;
    let all = scene.rows as u64;
    let mut chosen = sample(&mut rng, all, if census { all } else { settings.targets }).into_iter().peekable();
    let (mut attempts, mut successes, mut highest, mut sum, mut before) = (0, 0, 0.0_f64, 0.0, 0);
    for alike in &scene.persons {
        let after = before + u64::from(alike.persons);
        let mut persons = 0;
        while chosen.next_if(|person| *person < after).is_some() {
            persons += 1;
        }
        before = after;
        if persons == 0 {
            continue;
        }
        attempts += persons;
        let Some(class) = scene.first_compatible(scene.known(alike)) else { continue };
        if class != alike.class {
            continue;
        }
        let rows = scene.classes[class as usize].rows;
        highest = highest.max(1.0 / real(rows));
        sum += real(persons) / real(rows);
        successes += (0..persons).filter(|_| rng.random_range(0..rows) == 0).count() as u64;
    }
    let attacker = "knows that the person is in the data, and the exact value of every quasi-identifier; takes the \
                    finest class that fits, and guesses one of its rows";
    let mut attack = Attack::new(AttackKind::Matching, "prosecutor", attacker.to_owned(), attempts, successes);
    attack.census = census;
    attack.highest = Some(highest);
    attack.limit = Some(maximum);
    attack.held = highest <= maximum;
    attack.measure("expected rate", if attempts == 0 { 0.0 } else { sum / real(attempts) });
    attack.conclusion = format!(
        "{} The person easiest to find is found with a chance of {}, {} the limit of {}.",
        found(&attack),
        percent(highest),
        if attack.held { "within" } else { "above" },
        percent(maximum)
    );
    attack
}

fn found(attack: &Attack) -> String {
    format!("Found {} of {} persons ({}).", attack.successes, attack.attempts, percent(attack.rate))
}

/// Released classes against a population table.
#[derive(Debug)]
pub(crate) struct Population {
    pub(crate) risk: Risk,
    /// People of the table in each class.
    people: Vec<u64>,
}

/// Counts the people of a population table whom each released row could be.
pub(crate) fn against_population(scene: &Scene<'_>, threshold: f64) -> Option<Population> {
    if !scene.has_population() {
        return None;
    }
    let mut people = vec![0; scene.classes.len()];
    let mut classes = Vec::new();
    // People who agree in all quasi-identifiers are looked up once.
    for (alike, count) in scene.population() {
        scene.all_compatible(scene.known(alike), &mut classes);
        classes.iter().for_each(|class| people[*class as usize] += count);
    }
    let risk =
        journalist_risk(scene.classes.iter().zip(&people).map(|(class, people)| (class.rows, *people)), threshold);
    Some(Population { risk, people })
}

/// The attacker has a table of the population, takes a released row, and guesses who it is.
pub(super) fn journalist(
    scene: &Scene<'_>,
    settings: &AttackSettings,
    maximum: f64,
    population: &Population,
) -> Attack {
    let mut rng = numbers(settings, 2);
    let mut successes = 0;
    for (class, people) in scene.classes.iter().zip(&population.people) {
        let people = class.rows.max(*people);
        successes += (0..class.rows).filter(|_| rng.random_range(0..people) == 0).count() as u64;
    }
    let attacker = "has a table of the population with every quasi-identifier, and does not know who is in the data; \
                    takes a released row, and guesses one of the people it could be";
    let mut attack = Attack::new(AttackKind::Matching, "journalist", attacker.to_owned(), scene.released(), successes);
    attack.census = true;
    attack.highest = Some(population.risk.maximum);
    attack.limit = Some(maximum);
    attack.held = population.risk.maximum <= maximum;
    attack.measure("expected rate", population.risk.average);
    attack.conclusion = format!(
        "{} The row easiest to name is named with a chance of {}.",
        found(&attack),
        percent(population.risk.maximum)
    );
    attack
}

/// Attackers who know one to five quasi-identifiers, other ones of each person.
pub(super) fn with_less(scene: &Scene<'_>, settings: &AttackSettings, order: &[u32]) -> Vec<Attack> {
    let columns = scene.columns.len();
    let mut attacks = Vec::new();
    for known in 1..=KNOWN.min(columns.saturating_sub(1)) {
        let mut rng = numbers(settings, 10 + known as u64);
        let (mut classes, mut successes, mut highest) = (Vec::new(), 0, 0.0_f64);
        let targets = sample(&mut rng, order.len() as u64, settings.targets);
        for target in &targets {
            let row = order[usize::try_from(*target).unwrap_or(0)];
            let of_person = sample(&mut rng, columns as u64, known as u64);
            let of_person = of_person.iter().filter_map(|column| usize::try_from(*column).ok());
            scene.all_compatible(of_person.map(|column| (column, scene.code(column, row), 0)), &mut classes);
            // With little knowledge many classes fit, and every row of them is as likely.
            let rows: u64 = classes.iter().map(|class| scene.classes[*class as usize].rows).sum();
            if classes.binary_search(&scene.class_of(row)).is_ok() {
                highest = highest.max(1.0 / real(rows));
                successes += u64::from(rng.random_range(0..rows) == 0);
            }
        }
        let attacker = format!(
            "knows that the person is in the data, and {known} of the {columns} quasi-identifiers, drawn for each person; \
             guesses one of the rows that fit"
        );
        let variant = format!("prosecutor who knows {known}");
        let mut attack = Attack::new(AttackKind::Matching, &variant, attacker, targets.len() as u64, successes);
        attack.census = targets.len() == order.len();
        attack.highest = Some(highest);
        attack.conclusion = found(&attack);
        attacks.push(attack);
    }
    attacks
}

/// Attackers who know, beyond every quasi-identifier, one column of which the policy says that nobody knows it.
pub(super) fn with_more(scene: &Scene<'_>, settings: &AttackSettings) -> Vec<Attack> {
    let mut attacks = Vec::new();
    for (at, kept) in scene.kept.iter().enumerate() {
        let mut rng = numbers(settings, 100 + at as u64);
        let mut pairs: Vec<(u32, u32)> = (0..)
            .zip(&kept.coded.codes[..scene.rows])
            .map(|(row, code)| (scene.class_of(row), *code))
            .filter(|(class, _)| *class != NOWHERE)
            .collect();
        pairs.sort_unstable();
        let (mut successes, mut alone) = (0, 0);
        for same in pairs.chunk_by(|a, b| a == b) {
            let rows = same.len() as u64;
            alone += u64::from(rows == 1);
            successes += (0..rows).filter(|_| rng.random_range(0..rows) == 0).count() as u64;
        }
        let name = &kept.coded.name;
        let attacker = format!(
            "knows that the person is in the data, every quasi-identifier, and also {name}, which the policy takes to be \
             unknown to attackers"
        );
        let variant = format!("prosecutor who also knows {name}");
        let mut attack = Attack::new(AttackKind::Matching, &variant, attacker, pairs.len() as u64, successes);
        attack.census = true;
        attack.measure("share of persons alone", super::share(alone, pairs.len() as u64));
        attack.conclusion = format!(
            "{} Outside what the policy protects from: it shows what depends on {name} staying unknown.",
            found(&attack)
        );
        attacks.push(attack);
    }
    attacks
}
