//! Downcoding: the attacker undoes part of the recoding, cell by cell (Cohen, "Attacks on deidentification's defenses",
//! USENIX Security 2022).
//!
//! A cell that was made coarser stands for several finer nodes of its hierarchy. The attacker knows the program: rows that
//! fit a class of less loss stand there. So a finer node is ruled out when a class of less loss covers everything the row
//! could then be, alone or together with others that split one further column. If one node is left, it is the value. Of
//! several he guesses the one with most persons not yet accounted for by finer released rows; how the values of each
//! column are spread he knows from elsewhere. The baseline guesses from that spread alone.

use std::collections::BTreeMap;

use hashbrown::HashMap;

use super::scene::{Scene, sample};
use super::{Attack, AttackKind, AttackSettings, numbers, percent, share};

/// What is known of the cells of one class and column.
#[derive(Debug)]
struct Refined {
    /// Finer groups, one level down.
    finer: Vec<u32>,
    /// Those not ruled out.
    left: Vec<u32>,
    guess: u32,
    baseline: u32,
}

/// A node of each column: level and one of the values below it.
type Nodes = Vec<(usize, u32)>;

pub(super) fn run(scene: &Scene<'_>, settings: &AttackSettings, order: &[u32]) -> Option<Attack> {
    let spread = spread(scene);
    let mut rng = numbers(settings, 500);
    let targets = sample(&mut rng, order.len() as u64, settings.targets);
    let mut known: HashMap<(u32, usize), Refined> = HashMap::new();
    let (mut cells, mut right, mut baseline, mut narrowed, mut certain, mut certain_right) = (0, 0, 0, 0, 0, 0);
    for target in &targets {
        let row = order[usize::try_from(*target).unwrap_or(0)];
        let class = scene.class_of(row);
        let levels = &scene.combinations[scene.classes[class as usize].rank as usize];
        for (column, level) in levels.iter().enumerate().filter(|(_, level)| **level > 0) {
            let refined = known.entry((class, column)).or_insert_with(|| refine(scene, &spread, class, row, column));
            // A cell whose label has one child was not made coarser by this level.
            if refined.finer.len() < 2 {
                continue;
            }
            let truth = scene.columns[column].groups[level - 1][scene.code(column, row) as usize];
            cells += 1;
            right += u64::from(refined.guess == truth);
            baseline += u64::from(refined.baseline == truth);
            narrowed += u64::from(refined.left.len() < refined.finer.len());
            if refined.left.len() == 1 {
                certain += 1;
                certain_right += u64::from(refined.left[0] == truth);
            }
        }
    }
    if cells == 0 {
        return None;
    }
    let attacker = "knows the hierarchies, how the program recodes, and how the values of each column are spread; names the \
                    next finer value of cells that were made coarser";
    let mut attack = Attack::new(AttackKind::Downcoding, "one level finer", attacker.to_owned(), cells, right).against(
        share(baseline, cells),
        "guessing from the spread of the column alone",
        None,
    );
    attack.measure("share of cells with something ruled out", share(narrowed, cells));
    attack.measure("cells named with certainty", super::real(certain));
    attack.measure("of these right", share(certain_right, certain));
    attack.conclusion = format!(
        "Named the finer value of {} of the cells; {} from the spread alone. In {} something could be ruled out; {certain} of \
         {cells} cells were named with certainty.",
        percent(attack.rate),
        percent(share(baseline, cells)),
        percent(share(narrowed, cells))
    );
    Some(attack)
}

/// For each column and level, the persons of each group: in the table, and of those released no coarser than this level.
type Spread = Vec<Vec<(Vec<u64>, Vec<u64>)>>;

fn spread(scene: &Scene<'_>) -> Spread {
    let mut all: Spread = scene
        .columns
        .iter()
        .map(|column| column.labels.iter().map(|labels| (vec![0; labels.len()], vec![0; labels.len()])).collect())
        .collect();
    for alike in &scene.persons {
        let levels = scene.classes.get(alike.class as usize).map(|class| &scene.combinations[class.rank as usize]);
        for (at, column) in scene.columns.iter().enumerate() {
            let code = column.coded.codes[alike.row as usize] as usize;
            for (level, groups) in column.groups.iter().enumerate() {
                let (persons, finer) = &mut all[at][level];
                persons[groups[code] as usize] += u64::from(alike.persons);
                if levels.is_some_and(|levels| levels[at] <= level) {
                    finer[groups[code] as usize] += u64::from(alike.persons);
                }
            }
        }
    }
    all
}

fn refine(scene: &Scene<'_>, spread: &Spread, class: u32, row: u32, column: usize) -> Refined {
    let released = &scene.classes[class as usize];
    let levels = &scene.combinations[released.rank as usize];
    let nodes: Nodes = levels.iter().enumerate().map(|(at, level)| (*level, scene.code(at, row))).collect();
    let (level, code) = nodes[column];
    let below = children(scene, column, level, code);
    let ruled_out = |finer: &(u32, u32)| {
        let mut nodes = nodes.clone();
        nodes[column] = (level - 1, finer.1);
        taken(scene, &nodes, released.rank, Some(column))
    };
    let left: Vec<u32> = below.iter().filter(|finer| !ruled_out(finer)).map(|finer| finer.0).collect();
    let finer: Vec<u32> = below.iter().map(|finer| finer.0).collect();
    let (persons, released_finer) = &spread[column][level - 1];
    let most = |groups: &[u32], weight: &dyn Fn(usize) -> u64| {
        groups.iter().copied().max_by_key(|group| (weight(*group as usize), u32::MAX - group)).unwrap_or(0)
    };
    let baseline = most(&finer, &|group| persons[group]);
    let guess = if left.is_empty() {
        baseline
    } else {
        most(&left, &|group| persons[group].saturating_sub(released_finer[group]))
    };
    Refined { finer, left, guess, baseline }
}

/// Groups one level below a node, each with one of its values.
fn children(scene: &Scene<'_>, column: usize, level: usize, code: u32) -> Vec<(u32, u32)> {
    let groups = &scene.columns[column].groups;
    let node = groups[level][code as usize];
    let mut finer = BTreeMap::new();
    for (value, (above, below)) in (0..).zip(groups[level].iter().zip(&groups[level - 1])) {
        if *above == node {
            finer.entry(*below).or_insert(value);
        }
    }
    finer.into_iter().collect()
}

/// Whether every row inside the nodes stands in a class of a lower rank. `split`: the column that was split already;
/// without one, no further column is split.
fn taken(scene: &Scene<'_>, nodes: &Nodes, rank: u32, split: Option<usize>) -> bool {
    let inside = || nodes.iter().enumerate().map(|(column, (level, code))| (column, *code, *level));
    if scene.first_compatible(inside()).is_some_and(|class| scene.classes[class as usize].rank < rank) {
        return true;
    }
    let Some(done) = split else { return false };
    (0..nodes.len()).filter(|column| *column != done && nodes[*column].0 > 0).any(|column| {
        let (level, code) = nodes[column];
        let finer = children(scene, column, level, code);
        // Wide nodes are hardly ever taken in all their parts, and each part costs a look at all classes.
        finer.len() <= 16
            && finer.iter().all(|(_, value)| {
                let mut nodes = nodes.clone();
                nodes[column] = (level - 1, *value);
                taken(scene, &nodes, rank, None)
            })
    })
}
