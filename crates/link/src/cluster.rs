//! From pairs to people: pairs of two files, or clusters of one.

use std::collections::BTreeMap;

use crate::config::Config;

/// A pair with the log2 odds that it is one person.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Scored {
    pub(crate) a: u32,
    pub(crate) b: u32,
    pub(crate) log_odds: f64,
}

/// Best first; equal ones in the order of their records.
pub(crate) fn sort_best_first(pairs: &mut [Scored]) {
    pairs.sort_unstable_by(|x, y| y.log_odds.total_cmp(&x.log_odds).then((x.a, x.b).cmp(&(y.a, y.b))));
}

/// Keeps the best pairs such that no record is in two of them: greedily, the best first.
pub(crate) fn one_to_one(pairs: &mut Vec<Scored>, count: usize) {
    sort_best_first(pairs);
    let mut taken = vec![false; count];
    pairs.retain(|pair| {
        let is_free = !taken[pair.a as usize] && !taken[pair.b as usize];
        if is_free {
            (taken[pair.a as usize], taken[pair.b as usize]) = (true, true);
        }
        is_free
    });
    pairs.sort_unstable_by_key(|pair| (pair.a, pair.b));
}

/// Sets that grow together (union by smallest member, so that the name of a set does not depend on the order).
pub(crate) struct Sets {
    parent: Vec<u32>,
    size: Vec<u32>,
}

impl Sets {
    pub(crate) fn new(count: usize) -> Self {
        Self { parent: (0..count as u32).collect(), size: vec![1; count] }
    }

    pub(crate) fn find(&mut self, at: u32) -> u32 {
        let mut root = at;
        while self.parent[root as usize] != root {
            root = self.parent[root as usize];
        }
        let mut next = at;
        while self.parent[next as usize] != root {
            next = std::mem::replace(&mut self.parent[next as usize], root);
        }
        root
    }

    pub(crate) fn join(&mut self, a: u32, b: u32, largest: u32) {
        let (a, b) = (self.find(a), self.find(b));
        if a == b || self.size[a as usize] + self.size[b as usize] > largest {
            return;
        }
        let (root, other) = (a.min(b), a.max(b));
        self.parent[other as usize] = root;
        self.size[root as usize] += self.size[other as usize];
    }
}

/// Records by component and by cluster; both named by their smallest record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Partition {
    /// Records that pairs above the threshold connect, directly or not.
    pub(crate) component: Vec<u32>,
    /// Records of one person. Within a component.
    pub(crate) cluster: Vec<u32>,
}

/// No pair counts for more than this when a cluster is judged: one slip of the model must not outweigh all other pairs.
const MOST_BITS: f64 = 20.0;

/// The people among records, from pairs above the threshold.
///
/// Records connected by pairs are a component. Within one, the two groups with the highest average log-odds over all pairs between
/// them are joined while that average is above the threshold (average linkage, Sokal and Michener 1958): one wrong pair does not make two
/// families one person. The result depends on the records and pairs of a component only, never on order.
pub(crate) fn partition(
    count: usize,
    mut pairs: Vec<Scored>,
    config: &Config,
    log_odds: &dyn Fn(usize, usize) -> f64,
) -> Partition {
    let threshold = (config.probability / (1.0 - config.probability)).log2();
    pairs.retain(|pair| pair.log_odds >= threshold);
    sort_best_first(&mut pairs);
    let mut all = Sets::new(count);
    pairs.iter().for_each(|pair| all.join(pair.a, pair.b, u32::MAX));
    // Too large for one person: cut where the pairs are weakest.
    let mut parts = Sets::new(count);
    pairs.iter().for_each(|pair| parts.join(pair.a, pair.b, config.clusters.largest as u32));
    let mut groups: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    let component: Vec<u32> = (0..count as u32).map(|record| all.find(record)).collect();
    let mut cluster: Vec<u32> = (0..count as u32).map(|record| parts.find(record)).collect();
    for record in 0..count as u32 {
        groups.entry(cluster[record as usize]).or_default().push(record);
    }
    for members in groups.into_values().filter(|members| members.len() > 2) {
        for (record, root) in members.iter().zip(average_linkage(&members, threshold, log_odds)) {
            cluster[*record as usize] = members[root];
        }
    }
    Partition { component, cluster }
}

/// For each member the smallest member of its group.
fn average_linkage(members: &[u32], threshold: f64, log_odds: &dyn Fn(usize, usize) -> f64) -> Vec<usize> {
    let count = members.len();
    // Sums of log-odds between groups; a group is named by its smallest member.
    let mut sums = vec![0.0; count * count];
    for a in 0..count {
        for b in a + 1..count {
            let found = log_odds(members[a] as usize, members[b] as usize).clamp(-MOST_BITS, MOST_BITS);
            (sums[a * count + b], sums[b * count + a]) = (found, found);
        }
    }
    let mut size = vec![1.0; count];
    let mut root: Vec<usize> = (0..count).collect();
    loop {
        let mut best: Option<(f64, usize, usize)> = None;
        for a in 0..count {
            for b in a + 1..count {
                if size[a] == 0.0 || size[b] == 0.0 {
                    continue;
                }
                let average = sums[a * count + b] / (size[a] * size[b]);
                if average >= threshold && best.is_none_or(|(most, ..)| average > most) {
                    best = Some((average, a, b));
                }
            }
        }
        let Some((_, a, b)) = best else { return root };
        for other in 0..count {
            let more = sums[b * count + other];
            sums[a * count + other] += more;
            sums[other * count + a] += more;
        }
        size[a] += size[b];
        size[b] = 0.0;
        root.iter_mut().filter(|root| **root == b).for_each(|root| *root = a);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        Config::parse("[[column]]\nname = \"a\"\ncompare = \"name\"\n").unwrap()
    }

    fn scored(pairs: &[(u32, u32, f64)]) -> Vec<Scored> {
        pairs.iter().map(|(a, b, log_odds)| Scored { a: *a, b: *b, log_odds: *log_odds }).collect()
    }

    #[test]
    fn nobody_is_linked_twice() {
        let mut pairs = scored(&[(0, 3, 5.0), (0, 4, 9.0), (1, 4, 8.0), (1, 3, 1.0), (2, 5, 2.0)]);
        one_to_one(&mut pairs, 6);
        assert_eq!(pairs, scored(&[(0, 4, 9.0), (1, 3, 1.0), (2, 5, 2.0)]));
    }

    #[test]
    fn one_wrong_pair_does_not_join_two_people() {
        // 0-1-2 and 3-4-5 are people; 2-3 is a slip.
        let people = |a: usize, b: usize| match (a / 3 == b / 3, a.min(b), a.max(b)) {
            (true, ..) => 8.0,
            (false, 2, 3) => 1.0,
            _ => -9.0,
        };
        let pairs = scored(&[(0, 1, 8.0), (1, 2, 8.0), (2, 3, 1.0), (3, 4, 8.0), (4, 5, 8.0)]);
        let found = partition(6, pairs, &config(), &people);
        assert_eq!((found.component, found.cluster), (vec![0; 6], vec![0, 0, 0, 3, 3, 3]));
    }

    #[test]
    fn a_component_too_large_for_one_person_is_cut_at_its_weakest() {
        let mut config = config();
        config.clusters.largest = 3;
        let pairs = scored(&[(0, 1, 9.0), (1, 2, 8.0), (2, 3, 1.0), (3, 4, 7.0)]);
        let found = partition(5, pairs, &config, &|_, _| 5.0);
        assert_eq!(found.cluster, [0, 0, 0, 3, 3]);
    }
}
