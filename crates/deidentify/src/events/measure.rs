//! Counts persons who could be found by their codes.

use acequia_privacy::each_combination;

use super::facts::{Findable, KnownCodes};
use super::search::share;

/// Persons with their class and their items.
pub(super) struct Counted<'a> {
    /// Class of each.
    pub(super) classes: Vec<u32>,
    /// Items of each, ascending, each once.
    pub(super) items: Vec<&'a [u32]>,
}

/// Who could be found by all quasi-identifiers and at most `known` codes. `by_size`: whether to tell how many share the
/// rarest combination.
pub(super) fn findable(counted: &Counted<'_>, known: usize, k: u64, by_size: bool) -> Findable {
    let persons = counted.items.len();
    let mut order: Vec<u32> = (0..).take(persons).collect();
    let items = |person: &u32| counted.items[*person as usize];
    let class = |person: &u32| counted.classes[*person as usize];
    order.sort_unstable_by(|a, b| items(a).cmp(items(b)));
    let alone = |order: &[u32], same: &dyn Fn(&u32, &u32) -> bool| {
        order.chunk_by(|a, b| same(a, b)).filter(|group| group.len() == 1).count() as u64
    };
    let alone_by_codes = alone(&order, &|a, b| items(a) == items(b));
    order.sort_unstable_by(|a, b| class(a).cmp(&class(b)).then_with(|| items(a).cmp(items(b))));
    let same = |a: &u32, b: &u32| class(a) == class(b) && items(a) == items(b);
    let alone_by_codes_and_columns = alone(&order, &same);
    // For each number of codes, how many share the rarest combination of each person.
    let mut rarest: Vec<Vec<u64>> = vec![vec![u64::MAX; persons]; known + 1];
    for members in order.chunk_by(|a, b| class(a) == class(b)) {
        let sets: Vec<&[u32]> = members.iter().map(items).collect();
        each_combination(&sets, known, &mut |combination, who| {
            let rarest = &mut rarest[combination.len()];
            for place in who {
                let rarest = &mut rarest[members[*place as usize] as usize];
                *rarest = (*rarest).min(who.len() as u64);
            }
        });
    }
    let mut with: Vec<KnownCodes> = Vec::new();
    let mut least = vec![u64::MAX; persons];
    for (codes, rarest) in rarest.iter().enumerate() {
        least.iter_mut().zip(rarest).for_each(|(least, rarest)| *least = (*least).min(*rarest));
        let mut sharing = vec![0; usize::try_from(k.saturating_sub(1)).unwrap_or(0)];
        for least in &least {
            let at = usize::try_from(least - 1).unwrap_or(usize::MAX);
            if let Some(persons) = sharing.get_mut(at) {
                *persons += 1;
            }
        }
        let alone = least.iter().filter(|least| **least == 1).count() as u64;
        let below_k = sharing.iter().sum();
        with.push(KnownCodes {
            codes: codes as u64,
            alone,
            below_k,
            sharing: if by_size { sharing } else { Vec::new() },
        });
    }
    let all: usize = counted.items.iter().map(|items| items.len()).sum();
    Findable {
        persons: persons as u64,
        mean_codes: share(all as u64, persons as u64),
        alone_by_codes,
        alone_by_codes_and_columns,
        known: with,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_by_hand() {
        // Two classes; the first two persons of class 0 agree in everything, the third holds one code of theirs.
        let counted = Counted { classes: vec![0, 0, 0, 1], items: vec![&[1, 2], &[1, 2], &[1], &[1, 2]] };
        let found = findable(&counted, 2, 3, true);
        assert_eq!((found.persons, found.alone_by_codes, found.alone_by_codes_and_columns), (4, 1, 2));
        // By columns alone the person of class 1 is alone.
        assert_eq!((found.known[0].alone, found.known[0].below_k), (1, 1));
        // Code 2 is shared by two in class 0, code 1 by three.
        assert_eq!((found.known[1].alone, found.known[1].below_k), (1, 3));
        assert_eq!(found.known[2].sharing, [1, 2]);
        assert_eq!((found.known[2].below(2), found.known[2].below(3)), (1, 3));
    }
}
