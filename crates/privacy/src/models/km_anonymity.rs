//! (k,k^m)-anonymity: whoever knows a person's demographics and any m of the person's items still finds at least k
//! persons. k^m-anonymity for sets of items alone is from Terrovitis, Mamoulis and Kalnis, "Privacy-preserving
//! anonymization of set-valued data", PVLDB 1(1), 2008; with demographics it is from Poulis, Loukides,
//! Gkoulalas-Divanis and Skiadopoulos, "Anonymizing data with relational and transaction attributes", ECML PKDD 2013.

use super::Value;

/// What an attacker finds in one class of persons who agree in all demographics, over all combinations of at most m items
/// that occur in it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ItemSupport {
    /// Combinations that occur, the empty one included.
    pub combinations: u64,
    /// Persons behind the rarest of them; 0 when there are no persons.
    pub smallest: u64,
    /// Combinations with fewer than k persons.
    pub below: u64,
    /// Persons who hold at least one of those.
    pub persons_below: u64,
    /// Persons who hold a combination that nobody else holds.
    pub persons_alone: u64,
}

/// Visits every combination of at most `m` items that occurs, the empty one first, with the persons who hold all of it.
/// `persons`: the items of each, ascending and distinct.
///
/// Memory is bounded by the items of all persons times m: combinations are extended one item at a time among those who
/// hold the rest (Zaki, "Scalable algorithms for association mining", TKDE 12(3), 2000).
pub fn each_combination(persons: &[&[Value]], m: usize, visit: &mut dyn FnMut(&[Value], &[u32])) {
    let all: Vec<u32> = (0..).take(persons.len()).collect();
    if all.is_empty() {
        return;
    }
    visit(&[], &all);
    let rests: Vec<(u32, &[Value])> = all.iter().copied().zip(persons.iter().copied()).collect();
    extend(&rests, m, &mut Vec::with_capacity(m), visit);
}

fn extend(
    rests: &[(u32, &[Value])],
    left: usize,
    combination: &mut Vec<Value>,
    visit: &mut dyn FnMut(&[Value], &[u32]),
) {
    if left == 0 {
        return;
    }
    let mut next: Vec<(Value, u32, &[Value])> = Vec::with_capacity(rests.iter().map(|(_, rest)| rest.len()).sum());
    for (person, rest) in rests {
        next.extend(rest.iter().enumerate().map(|(at, item)| (*item, *person, &rest[at + 1..])));
    }
    next.sort_unstable_by_key(|(item, person, _)| (*item, *person));
    let mut persons = Vec::new();
    for group in next.chunk_by(|a, b| a.0 == b.0) {
        combination.push(group[0].0);
        persons.clear();
        persons.extend(group.iter().map(|(_, person, _)| *person));
        visit(combination, &persons);
        if left > 1 {
            let rests: Vec<(u32, &[Value])> = group.iter().map(|(_, person, rest)| (*person, *rest)).collect();
            extend(&rests, left - 1, combination, visit);
        }
        combination.pop();
    }
}

/// Measures one class. It satisfies (k,k^m)-anonymity when `below` is 0. `persons`: the items of each person of the class,
/// ascending and distinct. `sizes`: which numbers of known items count, such as `0..=m`.
pub fn item_support(persons: &[&[Value]], sizes: std::ops::RangeInclusive<usize>, k: u64) -> ItemSupport {
    let mut found = ItemSupport::default();
    let (mut below, mut alone) = (vec![false; persons.len()], vec![false; persons.len()]);
    each_combination(persons, *sizes.end(), &mut |items, who| {
        if !sizes.contains(&items.len()) {
            return;
        }
        let support = who.len() as u64;
        found.combinations += 1;
        found.smallest = if found.smallest == 0 { support } else { found.smallest.min(support) };
        if support < k {
            found.below += 1;
            who.iter().for_each(|person| below[*person as usize] = true);
        }
        if let [person] = who {
            alone[*person as usize] = true;
        }
    });
    let count = |flags: &[bool]| flags.iter().filter(|flag| **flag).count() as u64;
    (found.persons_below, found.persons_alone) = (count(&below), count(&alone));
    found
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// The example of Terrovitis et al. 2008, figure 1: {a1,b1,b2}, {a2,b1}, {a2,b1,b2}, {a1,a2,b2}.
    #[test]
    fn agrees_with_the_example_of_the_paper() {
        let persons: [&[Value]; 4] = [&[1, 11, 12], &[2, 11], &[2, 11, 12], &[1, 2, 12]];
        let found = item_support(&persons, 0..=2, 2);
        // Pairs: a1b1 1, a1b2 2, b1b2 2, a2b1 2, a2b2 2, a1a2 1.
        assert_eq!((found.combinations, found.smallest, found.below), (1 + 4 + 6, 1, 2));
        assert_eq!((found.persons_below, found.persons_alone), (2, 2));
        // With a1 and a2 generalised to A, and b1 and b2 kept, the table is 2^2-anonymous.
        let persons: [&[Value]; 4] = [&[0, 11, 12], &[0, 11], &[0, 11, 12], &[0, 12]];
        assert_eq!(item_support(&persons, 0..=2, 2).below, 0);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn agrees_with_counting_by_hand(
            sets in proptest::collection::vec(proptest::collection::btree_set(0..8_u32, 0..6), 0..12), m in 0..4_usize, k in 1..4_u64,
        ) {
            let lists: Vec<Vec<u32>> = sets.iter().map(|set| set.iter().copied().collect()).collect();
            let persons: Vec<&[u32]> = lists.iter().map(Vec::as_slice).collect();
            let mut counts: BTreeMap<Vec<u32>, u64> = BTreeMap::new();
            for list in &lists {
                for mask in (0_u32..1 << list.len()).filter(|mask| mask.count_ones() as usize <= m) {
                    let chosen = list.iter().enumerate().filter(|(at, _)| mask >> at & 1 == 1).map(|(_, item)| *item);
                    *counts.entry(chosen.collect()).or_default() += 1;
                }
            }
            let found = item_support(&persons, 0..=m, k);
            prop_assert_eq!(found.combinations, counts.len() as u64);
            prop_assert_eq!(found.smallest, counts.values().copied().min().unwrap_or(0));
            prop_assert_eq!(found.below, counts.values().filter(|count| **count < k).count() as u64);
            // Knowing more never helps to hide.
            prop_assert!(item_support(&persons, 0..=m + 1, k).persons_below >= found.persons_below);
        }
    }
}
