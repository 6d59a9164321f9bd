//! Several versions of one table: what they tell together.
//!
//! Each version may keep its promises and two together break them. Somebody who compares them knows of a person, at worst,
//! in which versions the person is and in which class there. So persons are told apart only by their *history*: their class
//! in every version, or absence from it. Persons of one history are the candidates that an attacker is left with, both by
//! intersecting classes (a person who is in several versions) and by taking one version from another (a person who joined
//! or left). Compare: Byun et al., "Secure anonymization for incremental datasets", SDM 2006 (difference and intersection
//! attacks); Fung et al., "Anonymity for continuous data publishing", EDBT 2008; Xiao and Tao, "m-invariance: towards
//! privacy preserving re-publication of dynamic datasets", SIGMOD 2007.
//!
//! What earlier versions have told cannot be taken back. A group that was smaller than required before is only required
//! not to become smaller.

use std::collections::{BTreeMap, BTreeSet};

use crate::Value;

/// One version: who is in it, in which class, and with which sensitive values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Version {
    /// Ascending, each once.
    persons: Vec<u64>,
    classes: Vec<u32>,
    /// For each sensitive column, the value of each person; no columns where they are not known.
    sensitive: Vec<Vec<Value>>,
    only_persons: bool,
}

/// What must remain of every group of persons with one history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remaining {
    /// Persons.
    pub k: u64,
    /// For each sensitive column, different values; 1 asks for nothing.
    pub l: Vec<u64>,
}

/// What must hold beside the size of groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Republication {
    /// Nothing.
    Histories,
    /// The class of a person has the same set of values in each version that the person is in, its signature, and at least
    /// m of them (Xiao and Tao 2007, Def. 5, where each value is in a class once and counterfeit rows stand in for those who
    /// left; here no row is invented).
    MInvariance {
        /// How many values.
        m: u64,
        /// Which sensitive columns, by place.
        columns: Vec<usize>,
    },
    /// The class of a person is the same in each version that the person is in. Classes of all versions are then numbered
    /// alike, by what their rows hold.
    FixedRecoding,
}

impl Version {
    /// From person, class and sensitive values, in any order. Of a person who is there twice, one row counts.
    pub fn of(rows: impl IntoIterator<Item = (u64, u32, Vec<Value>)>) -> Self {
        let mut rows: Vec<(u64, u32, Vec<Value>)> = rows.into_iter().collect();
        rows.sort_unstable();
        rows.dedup_by_key(|row| row.0);
        let columns = rows.iter().map(|row| row.2.len()).min().unwrap_or(0);
        Self {
            persons: rows.iter().map(|row| row.0).collect(),
            classes: rows.iter().map(|row| row.1).collect(),
            sensitive: (0..columns).map(|at| rows.iter().map(|row| row.2[at]).collect()).collect(),
            only_persons: false,
        }
    }

    /// A version of which no more is known than who is in it.
    pub fn of_persons(persons: impl IntoIterator<Item = u64>) -> Self {
        Self { only_persons: true, ..Self::of(persons.into_iter().map(|person| (person, 0, Vec::new()))) }
    }

    /// Persons, ascending.
    pub fn persons(&self) -> &[u64] {
        &self.persons
    }

    /// The version without some persons.
    #[must_use]
    pub fn without(&self, left_out: &BTreeSet<u64>) -> Self {
        fn kept<T: Copy>(values: &[T], keep: &[bool]) -> Vec<T> {
            values.iter().zip(keep).filter(|(_, keep)| **keep).map(|(value, _)| *value).collect()
        }
        let keep: Vec<bool> = self.persons.iter().map(|person| !left_out.contains(person)).collect();
        Self {
            persons: kept(&self.persons, &keep),
            classes: kept(&self.classes, &keep),
            sensitive: self.sensitive.iter().map(|values| kept(values, &keep)).collect(),
            only_persons: self.only_persons,
        }
    }

    fn place(&self, person: u64) -> Option<usize> {
        self.persons.binary_search(&person).ok()
    }

    /// Values of a column, by class.
    fn signatures(&self, column: usize) -> BTreeMap<u32, BTreeSet<Value>> {
        let mut signatures: BTreeMap<u32, BTreeSet<Value>> = BTreeMap::new();
        if let Some(values) = self.sensitive.get(column) {
            for (class, value) in self.classes.iter().zip(values) {
                signatures.entry(*class).or_default().insert(*value);
            }
        }
        signatures
    }
}

/// Everybody who was ever in a version.
struct Known<'a> {
    persons: Vec<u64>,
    /// For each person, the group of those with the same history in the earlier versions; 0 are the newcomers.
    before: Vec<u32>,
    /// Sensitive values in the last version that a person is in.
    last: Vec<Option<(&'a Version, usize)>>,
}

/// One history in the earlier versions, seen from the new one.
struct Group {
    /// What must remain of each part of it.
    k: u64,
    l: Vec<u64>,
    newcomers: bool,
    /// Persons who are in the new version, by class there.
    present: BTreeMap<u32, Vec<usize>>,
    /// Persons who are not.
    absent: Vec<usize>,
}

impl<'a> Known<'a> {
    fn new(earlier: &'a [Version], new: &'a Version) -> Self {
        let mut persons: Vec<u64> =
            earlier.iter().chain([new]).flat_map(|version| version.persons.iter().copied()).collect();
        persons.sort_unstable();
        persons.dedup();
        let mut before = vec![0_u32; persons.len()];
        let mut last = vec![None; persons.len()];
        for version in earlier {
            let mut at = 0;
            let mut keys: Vec<(u32, Option<u32>)> = Vec::with_capacity(persons.len());
            for (person, (group, last)) in persons.iter().zip(before.iter().zip(&mut last)) {
                let here = version.persons.get(at) == Some(person);
                keys.push((*group, here.then(|| version.classes[at])));
                if here {
                    *last = Some((version, at));
                    at += 1;
                }
            }
            // The first of all keys is that of persons who were in no version.
            let numbers: BTreeSet<(u32, Option<u32>)> = keys.iter().copied().chain([(0, None)]).collect();
            let numbers: Vec<(u32, Option<u32>)> = numbers.into_iter().collect();
            for (group, key) in before.iter_mut().zip(&keys) {
                let number = numbers.binary_search(key).unwrap_or(0);
                *group = u32::try_from(number).expect("fewer than 2^32 persons");
            }
        }
        Self { persons, before, last }
    }

    /// Different values of a column among persons; `None` when they are not known of everybody.
    fn distinct(&self, persons: &[usize], new: &Version, column: usize) -> Option<u64> {
        let mut values = BTreeSet::new();
        for at in persons {
            let value = match new.place(self.persons[*at]) {
                Some(row) => new.sensitive.get(column).map(|values| values[row]),
                None => self.last_value(*at, column),
            };
            values.insert(value?);
        }
        Some(values.len() as u64)
    }

    fn last_value(&self, at: usize, column: usize) -> Option<Value> {
        let (version, row) = self.last[at]?;
        version.sensitive.get(column).map(|values| values[row])
    }

    fn groups(&self, new: &Version, remaining: &Remaining) -> Vec<Group> {
        let mut members: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        for (at, group) in self.before.iter().enumerate() {
            members.entry(*group).or_default().push(at);
        }
        let group = |(number, members): (u32, Vec<usize>)| {
            let newcomers = number == 0;
            let (mut k, mut l) = (remaining.k, remaining.l.clone());
            if !newcomers {
                k = k.min(members.len() as u64);
                for (column, l) in l.iter_mut().enumerate() {
                    let values: BTreeSet<Option<Value>> =
                        members.iter().map(|at| self.last_value(*at, column)).collect();
                    *l = (*l).min(values.len() as u64);
                }
            }
            let (mut present, mut absent) = (BTreeMap::<u32, Vec<usize>>::new(), Vec::new());
            for at in members {
                match new.place(self.persons[at]) {
                    Some(row) => present.entry(new.classes[row]).or_default().push(at),
                    None => absent.push(at),
                }
            }
            Group { k, l, newcomers, present, absent }
        };
        members.into_iter().map(group).collect()
    }

    fn remains(&self, persons: &[usize], group: &Group, new: &Version) -> bool {
        let mut columns = group.l.iter().enumerate().filter(|(_, l)| **l > 1);
        persons.len() as u64 >= group.k
            && columns.all(|(column, l)| self.distinct(persons, new, column).is_none_or(|distinct| distinct >= *l))
    }
}

/// Persons of any version who are exposed once a new version stands beside the earlier ones: too few share their history,
/// or too few sensitive values are left among those, or the rule does not hold for them. Ascending.
///
/// Sensitive values are coded alike in all versions, and so are classes under [`Republication::FixedRecoding`].
pub fn exposed(earlier: &[Version], new: &Version, remaining: &Remaining, rule: &Republication) -> Vec<u64> {
    let known = Known::new(earlier, new);
    let mut exposed: BTreeSet<u64> = broken(earlier, new, rule);
    for group in known.groups(new, remaining) {
        let absent = Some(&group.absent).filter(|absent| !group.newcomers && !absent.is_empty());
        for part in group.present.values().chain(absent) {
            if !known.remains(part, &group, new) {
                exposed.extend(part.iter().map(|at| known.persons[*at]));
            }
        }
    }
    exposed.into_iter().collect()
}

/// Persons to leave out of a new version, so that nobody is exposed and every class keeps what is required of a group.
/// Few, but not proven to be the fewest: a group that is too small goes, and where too few of a history would be missing,
/// more of it go, in the order of persons' numbers, which must say nothing about them.
pub fn withhold(earlier: &[Version], new: &Version, remaining: &Remaining, rule: &Republication) -> BTreeSet<u64> {
    let known = Known::new(earlier, new);
    let mut withheld = BTreeSet::new();
    let mut left = new.clone();
    loop {
        let mut out: BTreeSet<u64> = broken(earlier, &left, rule);
        out.retain(|person| left.place(*person).is_some());
        let mut classes: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        for group in known.groups(&left, remaining) {
            for (class, part) in &group.present {
                classes.entry(*class).or_default().extend(part);
            }
            out.extend(known.leave_out(group, &left).into_iter().map(|at| known.persons[at]));
        }
        let whole = Group {
            k: remaining.k,
            l: remaining.l.clone(),
            newcomers: true,
            present: BTreeMap::new(),
            absent: Vec::new(),
        };
        for class in classes.values().filter(|class| !known.remains(class, &whole, &left)) {
            out.extend(class.iter().map(|at| known.persons[*at]));
        }
        if out.is_empty() {
            return withheld;
        }
        left = left.without(&out);
        withheld.extend(out);
    }
}

impl Known<'_> {
    /// Who of a history must go, so that each part of it is large enough.
    fn leave_out(&self, mut group: Group, new: &Version) -> Vec<usize> {
        let mut out = Vec::new();
        let small: Vec<u32> = group
            .present
            .iter()
            .filter(|(_, part)| !self.remains(part, &group, new))
            .map(|(class, _)| *class)
            .collect();
        for class in small {
            out.extend(group.present.remove(&class).unwrap_or_default());
        }
        if group.newcomers {
            return out;
        }
        group.absent.extend(&out);
        while !group.absent.is_empty() && !self.remains(&group.absent, &group, new) {
            let lacking = usize::try_from(group.k).unwrap_or(usize::MAX).saturating_sub(group.absent.len()).max(1);
            // From a class that can spare them, the largest; otherwise the smallest class, whole.
            let largest = group.present.iter().max_by_key(|(class, part)| (part.len(), std::cmp::Reverse(**class)));
            let spared = largest.and_then(|(class, part)| {
                let (taken, kept) = part.split_at(lacking.min(part.len()));
                self.remains(kept, &group, new).then(|| (*class, taken.to_vec(), kept.to_vec()))
            });
            let taken = match spared {
                Some((class, taken, kept)) => {
                    group.present.insert(class, kept);
                    taken
                }
                None => {
                    let smallest = group.present.iter().min_by_key(|(class, part)| (part.len(), **class));
                    let Some(class) = smallest.map(|(class, _)| *class) else { break };
                    group.present.remove(&class).unwrap_or_default()
                }
            };
            group.absent.extend(&taken);
            out.extend(taken);
        }
        out
    }
}

/// Persons of the new version for whom the rule does not hold.
fn broken(earlier: &[Version], new: &Version, rule: &Republication) -> BTreeSet<u64> {
    let mut broken = BTreeSet::new();
    match rule {
        Republication::Histories => {}
        Republication::FixedRecoding => {
            for version in earlier.iter().filter(|version| !version.only_persons) {
                for (person, class) in new.persons.iter().zip(&new.classes) {
                    if version.place(*person).is_some_and(|row| version.classes[row] != *class) {
                        broken.insert(*person);
                    }
                }
            }
        }
        Republication::MInvariance { m, columns } => {
            for column in columns {
                let now = new.signatures(*column);
                let of = |signatures: &BTreeMap<u32, BTreeSet<Value>>, class| signatures.get(&class).cloned();
                for (person, class) in new.persons.iter().zip(&new.classes) {
                    if of(&now, *class).is_none_or(|signature| (signature.len() as u64) < *m) {
                        broken.insert(*person);
                    }
                }
                for version in earlier {
                    let before = version.signatures(*column);
                    for (person, class) in new.persons.iter().zip(&new.classes) {
                        let Some(row) = version.place(*person) else { continue };
                        let signature = before.get(&version.classes[row]);
                        if signature.is_some_and(|signature| now.get(class) != Some(signature)) {
                            broken.insert(*person);
                        }
                    }
                }
            }
        }
    }
    broken
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TWO: Remaining = Remaining { k: 2, l: Vec::new() };

    /// Persons by class; each with the sensitive value that stands beside.
    fn version(classes: &[&[(u64, Value)]]) -> Version {
        let rows = (0_u32..)
            .zip(classes)
            .flat_map(|(class, members)| members.iter().map(move |(person, value)| (*person, class, vec![*value])));
        Version::of(rows)
    }

    #[test]
    fn intersecting_two_versions_isolates_nobody() {
        // Both versions are 2-anonymous, and 2 is the only person who is in both first classes.
        let first = version(&[&[(1, 0), (2, 1)], &[(3, 0), (4, 1)]]);
        let second = version(&[&[(2, 1), (3, 0)], &[(1, 0), (4, 1)]]);
        assert_eq!(exposed(std::slice::from_ref(&first), &second, &TWO, &Republication::Histories), [1, 2, 3, 4]);
        assert_eq!(exposed(std::slice::from_ref(&first), &first, &TWO, &Republication::Histories), []);
        assert_eq!(withhold(&[first], &second, &TWO, &Republication::Histories), BTreeSet::from([1, 2, 3, 4]));
    }

    #[test]
    fn one_who_left_and_one_who_joined_are_not_the_difference() {
        let all = [(1, 0), (2, 1), (3, 0), (4, 1), (5, 2)];
        let (whole, without) = (version(&[&all]), version(&[&all[1..]]));
        assert_eq!(exposed(std::slice::from_ref(&whole), &without, &TWO, &Republication::Histories), [1]);
        // One more goes, and the two who are missing cannot be told apart.
        assert_eq!(
            withhold(std::slice::from_ref(&whole), &without, &TWO, &Republication::Histories),
            BTreeSet::from([2])
        );
        assert_eq!(exposed(std::slice::from_ref(&without), &whole, &TWO, &Republication::Histories), [1]);
        assert_eq!(withhold(&[without], &whole, &TWO, &Republication::Histories), BTreeSet::from([1]));
    }

    #[test]
    fn the_candidates_that_remain_are_diverse() {
        // Four left, all with value 7.
        let first = version(&[&[(1, 7), (2, 7), (3, 7), (4, 7), (5, 8), (6, 8), (7, 9), (8, 7)]]);
        let second = version(&[&[(5, 8), (6, 8), (7, 9), (8, 7)]]);
        let diverse = Remaining { k: 2, l: vec![2] };
        let exposed_now = exposed(std::slice::from_ref(&first), &second, &diverse, &Republication::Histories);
        assert_eq!(exposed_now, [1, 2, 3, 4]);
        assert_eq!(exposed(std::slice::from_ref(&first), &second, &TWO, &Republication::Histories), []);
        let out = withhold(std::slice::from_ref(&first), &second, &diverse, &Republication::Histories);
        assert_eq!(out, BTreeSet::from([5]));
    }

    #[test]
    fn eliminating_values_over_versions_is_blocked_by_signatures() {
        // The example of the paper in small: what 1 and 2 share with 3 and 4 first, and with 5 and 6 then, leaves value 0.
        let first = version(&[&[(1, 0), (2, 0), (3, 1), (4, 1)]]);
        let second = version(&[&[(1, 0), (2, 0), (5, 2), (6, 2)], &[(3, 1), (4, 1), (7, 0), (8, 0)]]);
        assert_eq!(exposed(std::slice::from_ref(&first), &second, &TWO, &Republication::Histories), []);
        let invariant = Republication::MInvariance { m: 2, columns: vec![0] };
        // 3 and 4 are again among values 0 and 1.
        assert_eq!(exposed(std::slice::from_ref(&first), &second, &TWO, &invariant), [1, 2]);
        let diverse = Remaining { k: 2, l: vec![2] };
        assert!(exposed(&[first], &second, &diverse, &Republication::Histories).contains(&1));
    }

    #[test]
    fn what_was_told_before_is_not_held_against_a_version() {
        let before = version(&[&[(1, 0)], &[(2, 0), (3, 1), (4, 0)]]);
        assert_eq!(exposed(std::slice::from_ref(&before), &before, &TWO, &Republication::Histories), []);
        let moved = version(&[&[(1, 0), (2, 0), (3, 1), (4, 0)]]);
        assert_eq!(exposed(std::slice::from_ref(&before), &moved, &TWO, &Republication::FixedRecoding), [2, 3, 4]);
    }

    #[test]
    fn a_version_of_which_only_the_persons_are_known_counts_too() {
        let list = Version::of_persons(1..=6);
        let new = Version::of((2..=6).map(|person| (person, 0, vec![0])));
        assert_eq!(exposed(std::slice::from_ref(&list), &new, &TWO, &Republication::Histories), [1]);
        assert_eq!(withhold(&[list], &new, &TWO, &Republication::Histories).len(), 1);
    }

    fn versions() -> impl Strategy<Value = Vec<Version>> {
        let row = (0..40_u64, 0..4_u32, 0..3_u32).prop_map(|(person, class, value)| (person, class, vec![value]));
        let version = proptest::collection::vec(row, 0..60).prop_map(Version::of);
        proptest::collection::vec(version, 1..4)
    }

    fn rule() -> impl Strategy<Value = Republication> {
        prop_oneof![
            Just(Republication::Histories),
            Just(Republication::FixedRecoding),
            Just(Republication::MInvariance { m: 2, columns: vec![0] }),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_left_exposes_nobody_more(
            mut versions in versions(), rule in rule(), k in 1..6_u64, l in 1..4_u64,
        ) {
            let remaining = Remaining { k, l: vec![l] };
            let new = versions.pop().unwrap_or_default();
            let withheld = withhold(&versions, &new, &remaining, &rule);
            prop_assert!(withheld.iter().all(|person| new.persons().contains(person)));
            let left = new.without(&withheld);
            prop_assert_eq!(exposed(&versions, &left, &remaining, &rule), Vec::<u64>::new());
            let mut sizes: BTreeMap<u32, u64> = BTreeMap::new();
            left.classes.iter().for_each(|class| *sizes.entry(*class).or_default() += 1);
            prop_assert!(sizes.values().all(|size| *size >= k));
        }

        #[test]
        fn candidates_counted_by_hand_agree(mut versions in versions(), k in 1..6_u64) {
            let new = versions.pop().unwrap_or_default();
            let found = exposed(&versions, &new, &Remaining { k, l: Vec::new() }, &Republication::Histories);
            let history = |person: u64, versions: &[Version]| -> Vec<Option<u32>> {
                versions.iter().map(|version| version.place(person).map(|row| version.classes[row])).collect()
            };
            let mut all = versions.clone();
            all.push(new);
            for person in 0..40 {
                let (before, now) = (history(person, &versions), history(person, &all));
                let alike = |history_of: &dyn Fn(u64) -> Vec<Option<u32>>, own: &Vec<Option<u32>>| {
                    (0..40).filter(|other| history_of(*other) == *own).count() as u64
                };
                let ever = now.iter().any(Option::is_some);
                let newcomer = before.iter().all(Option::is_none);
                let required = if newcomer { k } else { k.min(alike(&|other| history(other, &versions), &before)) };
                let expected = ever && alike(&|other| history(other, &all), &now) < required;
                prop_assert_eq!(found.contains(&person), expected, "person {} of {:?}", person, all);
            }
        }
    }
}
