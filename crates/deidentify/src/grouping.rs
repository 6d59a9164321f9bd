//! Groups of rows that agree in all quasi-identifiers at given levels, and rolling them up by one level of one column.
//!
//! A group is a key of packed codes with the number of its rows. Groups of a combination of levels are made from the
//! groups of the combination one level below, never from rows: the work falls as the levels rise. Keys are one, two, four
//! or eight words, whatever the quasi-identifiers need together.
//!
//! Groups in any order are merged by hashing, which waits for memory once or more for each group of a large table. Groups
//! whose keys ascend are merged by going through them once: raising a column moves a key only among those that agree in
//! all columns before it.

use std::rc::Rc;

/// Packed codes of one group, one field per quasi-identifier.
pub(crate) type Key<const W: usize> = [u64; W];

/// Where a quasi-identifier's code lies in a key. A field never crosses a word.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field {
    word: usize,
    shift: u32,
    mask: u64,
}

impl Field {
    #[inline]
    pub(crate) fn get<const W: usize>(self, key: &Key<W>) -> usize {
        #[expect(clippy::cast_possible_truncation, reason = "a field is at most 32 bits")]
        {
            (key[self.word] >> self.shift & self.mask) as usize
        }
    }

    /// As [`Field::get`], of a key among others.
    #[inline]
    pub(crate) fn get_from(self, words: &[u64]) -> usize {
        #[expect(clippy::cast_possible_truncation, reason = "a field is at most 32 bits")]
        {
            (words[self.word] >> self.shift & self.mask) as usize
        }
    }

    #[inline]
    pub(crate) fn set<const W: usize>(self, key: &mut Key<W>, code: u32) {
        key[self.word] = key[self.word] & !(self.mask << self.shift) | u64::from(code) << self.shift;
    }

    /// The bits of all fields before this one, where fields begin at the highest bits.
    fn before<const W: usize>(self) -> Key<W> {
        let mut bits = [0; W];
        bits[..self.word].fill(u64::MAX);
        bits[self.word] = !((self.mask << self.shift) | ((1 << self.shift) - 1));
        bits
    }
}

/// What raising some columns does to a key: which bits stay, and what others become.
#[derive(Debug)]
pub(crate) struct Lift<const W: usize> {
    stays: Key<W>,
    maps: Vec<Map>,
}

/// New bits for those of one field, or of neighbouring ones together.
#[derive(Debug)]
struct Map {
    word: usize,
    shift: u32,
    bits: u32,
    /// In their place already.
    table: Rc<[u64]>,
}

/// Bits of neighbouring fields that are mapped together at most: the table stays in the processor's nearest cache.
const BITS_TOGETHER: u32 = 11;

/// What becomes of the codes of a field, for [`Lift::of`]; nothing where all of them become 0.
pub(crate) fn raised_bits(field: Field, replace: &[u32]) -> Option<Rc<[u64]>> {
    if replace.iter().all(|code| *code == 0) {
        return None;
    }
    let mut table = vec![0; usize::try_from(field.mask + 1).expect("a field is at most 32 bits")];
    table.iter_mut().zip(replace).for_each(|(bits, code)| *bits = u64::from(*code) << field.shift);
    Some(table.into())
}

impl<const W: usize> Lift<W> {
    /// `raised`: fields with what [`raised_bits`] gives for them, in the order of the layout. `groups`: how many keys will
    /// be raised; for many it is worth mapping neighbouring fields together.
    pub(crate) fn of(raised: impl IntoIterator<Item = (Field, Option<Rc<[u64]>>)>, groups: usize) -> Self {
        let mut lift = Self { stays: [u64::MAX; W], maps: Vec::<Map>::new() };
        for (field, table) in raised {
            lift.stays[field.word] &= !(field.mask << field.shift);
            let bits = field.mask.count_ones();
            let Some(table) = table else { continue };
            match lift.maps.last_mut() {
                Some(last)
                    if last.word == field.word
                        && last.shift + last.bits == field.shift
                        && last.bits + bits <= BITS_TOGETHER
                        && groups >> 3 >= 1 << (last.bits + bits) =>
                {
                    last.table = table.iter().flat_map(|high| last.table.iter().map(move |low| high | low)).collect();
                    last.bits += bits;
                }
                _ => lift.maps.push(Map { word: field.word, shift: field.shift, bits, table }),
            }
        }
        lift
    }

    #[inline]
    pub(crate) fn raise(&self, key: &Key<W>) -> Key<W> {
        let mut raised = *key;
        raised.iter_mut().zip(&self.stays).for_each(|(word, stays)| *word &= stays);
        for map in &self.maps {
            #[expect(clippy::cast_possible_truncation, reason = "a field is at most 32 bits")]
            let at = (key[map.word] >> map.shift) as usize & (map.table.len() - 1);
            raised[map.word] |= map.table[at];
        }
        raised
    }
}

/// Fields for columns of the given numbers of codes, and how many words they need.
pub(crate) fn layout(domains: impl IntoIterator<Item = usize>) -> (Vec<Field>, usize) {
    let (mut word, mut used) = (0, 0);
    let fields = domains
        .into_iter()
        .map(|domain| {
            let bits = usize::BITS - domain.saturating_sub(1).leading_zeros();
            if used + bits > u64::BITS {
                (word, used) = (word + 1, 0);
            }
            let field = Field { word, shift: used.min(u64::BITS - 1), mask: (1 << bits) - 1 };
            used += bits;
            field
        })
        .collect();
    (fields, word + 1)
}

/// As [`layout`], but the first column of an order has the highest bits, so that keys ascend by the columns in that order.
pub(crate) fn layout_in_order(domains: &[usize], order: &[usize]) -> (Vec<Field>, usize) {
    let (mut word, mut left) = (0, u64::BITS);
    let mut fields = vec![Field { word: 0, shift: 0, mask: 0 }; domains.len()];
    for at in order {
        let bits = usize::BITS - domains[*at].saturating_sub(1).leading_zeros();
        if bits > left {
            (word, left) = (word + 1, u64::BITS);
        }
        left -= bits;
        fields[*at] = Field { word, shift: left.min(u64::BITS - 1), mask: (1 << bits) - 1 };
    }
    (fields, word + 1)
}

/// Sorts rows by the codes of columns, the first column first. `domains`: how many codes each column may hold. Rows that
/// agree in all columns come in any order.
///
/// The leading columns are packed into one number, so that comparing rows seldom looks at the columns again.
pub(crate) fn sort_rows(
    rows: impl Iterator<Item = u32>,
    domains: &[usize],
    code: impl Fn(usize, u32) -> u32,
) -> Vec<u32> {
    let bits = |domain: &usize| usize::BITS - domain.saturating_sub(1).leading_zeros();
    let mut left = u64::BITS;
    let packed = domains.iter().take_while(|domain| left.checked_sub(bits(domain)).map(|less| left = less).is_some());
    let packed: Vec<u32> = packed.map(bits).collect();
    let key = |row: u32| {
        packed
            .iter()
            .enumerate()
            .fold(0_u64, |key, (at, bits)| key.checked_shl(*bits).unwrap_or(0) | u64::from(code(at, row)))
    };
    let mut keyed: Vec<(u64, u32)> = rows.map(|row| (key(row), row)).collect();
    let rest = |row: u32| (packed.len()..domains.len()).map(move |at| (at, row));
    let codes = |row: u32| rest(row).map(|(at, row)| code(at, row));
    keyed.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| codes(a.1).cmp(codes(b.1))));
    keyed.into_iter().map(|(_, row)| row).collect()
}

/// Counts of the values of one sensitive column in each group.
#[derive(Debug, Clone, Default)]
pub(crate) struct Histograms {
    /// Where each group's pairs begin; one more than there are groups.
    starts: Vec<u32>,
    /// Value and count, ascending by value in each group.
    pairs: Vec<(u32, u64)>,
}

impl Histograms {
    /// From value and count per group.
    pub(crate) fn new(groups: impl IntoIterator<Item = impl IntoIterator<Item = (u32, u64)>>) -> Self {
        let mut made = Self { starts: vec![0], pairs: Vec::new() };
        for group in groups {
            made.pairs.extend(group);
            made.starts.push(narrow(made.pairs.len()));
        }
        made
    }

    pub(crate) fn of(&self, group: usize) -> &[(u32, u64)] {
        &self.pairs[self.starts[group] as usize..self.starts[group + 1] as usize]
    }

    /// Merges groups; `into`: the new group of each old one.
    fn merge(&self, into: &[u32], groups: usize) -> Self {
        let mut starts = vec![0_u32; groups + 1];
        for (old, new) in into.iter().enumerate() {
            starts[*new as usize + 1] += narrow(self.of(old).len());
        }
        for at in 0..groups {
            starts[at + 1] += starts[at];
        }
        let mut next: Vec<u32> = starts[..groups].to_vec();
        let mut gathered = vec![(0, 0); self.pairs.len()];
        for (old, new) in into.iter().enumerate() {
            let place = next[*new as usize] as usize;
            let from = self.of(old);
            gathered[place..place + from.len()].copy_from_slice(from);
            next[*new as usize] += narrow(from.len());
        }
        let mut merged = Self { starts: Vec::with_capacity(groups + 1), pairs: Vec::with_capacity(gathered.len()) };
        merged.starts.push(0);
        for at in 0..groups {
            let pairs = &mut gathered[starts[at] as usize..starts[at + 1] as usize];
            pairs.sort_unstable_by_key(|(value, _)| *value);
            let begin = merged.pairs.len();
            for (value, count) in pairs.iter() {
                match merged.pairs[begin..].last_mut() {
                    Some(last) if last.0 == *value => last.1 += count,
                    _ => merged.pairs.push((*value, *count)),
                }
            }
            merged.starts.push(narrow(merged.pairs.len()));
        }
        merged
    }
}

/// Groups at one combination of levels.
#[derive(Debug, Clone)]
pub(crate) struct Groups<const W: usize> {
    pub(crate) keys: Vec<Key<W>>,
    /// Rows of each group.
    pub(crate) rows: Vec<u32>,
    /// Rows of the population in each group; empty when no model asks for them.
    pub(crate) population: Vec<u32>,
    /// For each sensitive column that a model looks at.
    pub(crate) sensitive: Vec<Histograms>,
}

/// Slots from which on a table is filled further.
const LARGE_TABLE: usize = 1 << 24;

/// Memory that roll-ups use again.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// Open addressing: 0 is free, otherwise the upper half of a hash and one more than the group.
    slots: Vec<u64>,
    /// New group of each old one.
    into: Vec<u32>,
}

pub(crate) fn narrow(length: usize) -> u32 {
    u32::try_from(length).expect("a table of fewer than 2^32 groups")
}

#[inline]
fn hash<const W: usize>(key: &Key<W>) -> u64 {
    let mut hash = 0_u64;
    for word in key {
        let wide = u128::from(hash ^ word ^ 0x9e37_79b9_7f4a_7c15) * 0xda94_2042_e4dd_58b5_u128;
        #[expect(clippy::cast_possible_truncation, reason = "the two halves are folded")]
        {
            hash = (wide >> 64) as u64 ^ wide as u64;
        }
    }
    hash
}

/// The upper half of the hash of a key.
#[inline]
pub(crate) fn hash32<const W: usize>(key: &Key<W>) -> u32 {
    (hash(key) >> 32) as u32
}

impl Scratch {
    /// New group of each old one, after the last roll-up.
    pub(crate) fn new_groups(&self) -> &[u32] {
        &self.into
    }

    /// Room for so many groups at first.
    fn clear(&mut self, entries: usize) -> usize {
        let size = (entries * 2).next_power_of_two().max(16);
        self.slots.clear();
        self.slots.resize(size, 0);
        size - 1
    }

    /// Makes room for one more group where there is too little.
    #[inline]
    fn grow<const W: usize>(&mut self, mask: usize, keys: &mut Vec<Key<W>>) -> usize {
        // Half full is fast; large tables are filled further, for memory's sake.
        let most = if mask < LARGE_TABLE { mask / 2 } else { mask / 8 * 7 };
        if keys.len() <= most {
            return mask;
        }
        let mask = self.clear(mask + 1);
        for key in std::mem::take(keys) {
            self.group(mask, key, keys);
        }
        mask
    }

    /// The group of a key: a known one, or the next one, which is then pushed.
    #[inline]
    fn group<const W: usize>(&mut self, mask: usize, key: Key<W>, keys: &mut Vec<Key<W>>) -> (u32, bool) {
        let hash = hash(&key);
        let tag = hash & 0xffff_ffff_0000_0000;
        #[expect(clippy::cast_possible_truncation, reason = "the mask is below 2^33")]
        let mut at = hash as usize & mask;
        loop {
            let slot = self.slots[at];
            if slot == 0 {
                keys.push(key);
                let number = narrow(keys.len());
                self.slots[at] = tag | u64::from(number);
                return (number - 1, true);
            }
            #[expect(clippy::cast_possible_truncation, reason = "the lower half is the group")]
            let group = slot as u32 - 1;
            if slot & 0xffff_ffff_0000_0000 == tag && keys[group as usize] == key {
                return (group, false);
            }
            at = (at + 1) & mask;
        }
    }
}

impl<const W: usize> Groups<W> {
    /// The groups for which `keep` holds, in the same order.
    pub(crate) fn filter(&self, keep: &[bool]) -> Self {
        fn kept<T: Copy>(values: &[T], keep: &[bool]) -> Vec<T> {
            values.iter().zip(keep).filter(|(_, keep)| **keep).map(|(value, _)| *value).collect()
        }
        let histograms = |histograms: &Histograms| {
            let groups = (0..self.len()).filter(|at| keep[*at]);
            Histograms::new(groups.map(|at| histograms.of(at).to_vec()))
        };
        Self {
            keys: kept(&self.keys, keep),
            rows: kept(&self.rows, keep),
            population: kept(&self.population, keep),
            sensitive: self.sensitive.iter().map(histograms).collect(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// These groups, in this order.
    pub(crate) fn select(&self, groups: &[u32]) -> Self {
        fn chosen<T: Copy>(values: &[T], groups: &[u32]) -> Vec<T> {
            if values.is_empty() { Vec::new() } else { groups.iter().map(|at| values[*at as usize]).collect() }
        }
        let histograms = |histograms: &Histograms| {
            Histograms::new(groups.iter().map(|at| histograms.of(*at as usize).iter().copied()))
        };
        Self {
            keys: chosen(&self.keys, groups),
            rows: chosen(&self.rows, groups),
            population: chosen(&self.population, groups),
            sensitive: self.sensitive.iter().map(histograms).collect(),
        }
    }

    /// The same groups under other keys, ascending by them.
    pub(crate) fn in_order_of(&self, key: impl Fn(&Key<W>) -> Key<W>) -> Self {
        let mut order: Vec<(Key<W>, u32)> = self.keys.iter().map(key).zip(0..).collect();
        order.sort_unstable();
        let places: Vec<u32> = order.iter().map(|(_, at)| *at).collect();
        Self { keys: order.into_iter().map(|(key, _)| key).collect(), ..self.select(&places) }
    }

    /// As [`Groups::roll_up`], of groups whose keys ascend; so do those of the result. The layout is that of
    /// [`layout_in_order`].
    pub(crate) fn roll_up_in_order(&self, field: Field, replace: &[u32], scratch: &mut Scratch) -> Self {
        let before: Key<W> = field.before();
        let differs = |a: &Key<W>, b: &Key<W>| {
            a.iter().zip(b).zip(&before).fold(0, |bits, ((a, b), before)| bits | (a ^ b) & before) != 0
        };
        let tracks = !self.population.is_empty() || !self.sensitive.is_empty();
        let (mut keys, mut rows) = (Vec::<Key<W>>::with_capacity(self.len()), Vec::<u32>::with_capacity(self.len()));
        let mut into = std::mem::take(&mut scratch.into);
        into.clear();
        // Where the keys begin that agree in all columns before this one, among the merged ones and among these.
        let (mut run, mut own_run, mut ascends) = (0, 0, true);
        for (at, (key, count)) in self.keys.iter().zip(&self.rows).enumerate() {
            let mut raised = *key;
            field.set(&mut raised, replace[field.get(key)]);
            match keys.last() {
                Some(last) if *last == raised => {
                    if let Some(rows) = rows.last_mut() {
                        *rows += count;
                    }
                }
                last => {
                    if last.is_some_and(|last| differs(last, &raised)) {
                        if !ascends {
                            sort_run(&mut keys, &mut rows, run, &mut into[own_run..]);
                        }
                        (run, own_run, ascends) = (keys.len(), at, true);
                    } else {
                        ascends &= last.is_none_or(|last| *last < raised);
                    }
                    keys.push(raised);
                    rows.push(*count);
                }
            }
            if tracks {
                into.push(narrow(keys.len() - 1));
            } else {
                own_run = 0;
            }
        }
        if !ascends {
            sort_run(&mut keys, &mut rows, run, &mut into[own_run..]);
        }
        self.merged(keys, rows, into, scratch)
    }

    /// Groups of equal keys, in the order of keys. Also gives the group of each row.
    pub(crate) fn of_rows(rows: usize, key: impl Fn(usize) -> Key<W>) -> (Self, Vec<u32>) {
        let mut scratch = Scratch::default();
        let mut mask = scratch.clear(1024);
        let (mut keys, mut counts, mut of_row) = (Vec::new(), Vec::<u32>::new(), Vec::with_capacity(rows));
        for row in 0..rows {
            mask = scratch.grow(mask, &mut keys);
            let (group, new) = scratch.group(mask, key(row), &mut keys);
            if new {
                counts.push(0);
            }
            counts[group as usize] += 1;
            of_row.push(group);
        }
        // The order of rows must not show in anything that follows.
        let mut order: Vec<u32> = (0..narrow(keys.len())).collect();
        order.sort_unstable_by_key(|group| keys[*group as usize]);
        let mut place = vec![0; keys.len()];
        for (at, group) in order.iter().enumerate() {
            place[*group as usize] = narrow(at);
        }
        of_row.iter_mut().for_each(|group| *group = place[*group as usize]);
        let sorted = Self {
            keys: order.iter().map(|group| keys[*group as usize]).collect(),
            rows: order.iter().map(|group| counts[*group as usize]).collect(),
            population: Vec::new(),
            sensitive: Vec::new(),
        };
        (sorted, of_row)
    }

    /// Merges groups that agree once the codes of one column are replaced.
    pub(crate) fn roll_up(&self, field: Field, replace: &[u32], scratch: &mut Scratch) -> Self {
        self.merge_by(scratch, |key| {
            let mut raised = *key;
            field.set(&mut raised, replace[field.get(key)]);
            raised
        })
    }

    /// The same groups, as if each were merged with itself alone.
    pub(crate) fn merge_none(&self, scratch: &mut Scratch) -> Self {
        scratch.into.clear();
        scratch.into.extend(0..narrow(self.len()));
        self.clone()
    }

    /// Merges groups that agree under `change`.
    pub(crate) fn merge_by(&self, scratch: &mut Scratch, change: impl Fn(&Key<W>) -> Key<W>) -> Self {
        // Merged groups are fewer, often by far: few slots stay in the processor's cache, so it is worth waiting to see.
        let mut mask = scratch.clear(self.len() / 8);
        let mut keys: Vec<Key<W>> = Vec::new();
        let mut rows: Vec<u32> = Vec::new();
        let mut into = std::mem::take(&mut scratch.into);
        into.clear();
        for (key, count) in self.keys.iter().zip(&self.rows) {
            mask = scratch.grow(mask, &mut keys);
            let (group, new) = scratch.group(mask, change(key), &mut keys);
            if new {
                rows.push(0);
            }
            rows[group as usize] += count;
            into.push(group);
        }
        self.merged(keys, rows, into, scratch)
    }

    /// Groups with the rest of what is known of them.
    fn merged(&self, keys: Vec<Key<W>>, rows: Vec<u32>, into: Vec<u32>, scratch: &mut Scratch) -> Self {
        let mut population = Vec::new();
        if !self.population.is_empty() {
            population.resize(keys.len(), 0);
            for (group, count) in into.iter().zip(&self.population) {
                population[*group as usize] += count;
            }
        }
        let sensitive = self.sensitive.iter().map(|histograms| histograms.merge(&into, keys.len())).collect();
        scratch.into = into;
        Self { keys, rows, population, sensitive }
    }
}

/// Sorts the groups from `run` on and merges equal ones. `into`: the group of each old one that is among them, put right.
fn sort_run<const W: usize>(keys: &mut Vec<Key<W>>, rows: &mut Vec<u32>, run: usize, into: &mut [u32]) {
    let mut order: Vec<(Key<W>, u32, u32)> =
        keys[run..].iter().zip(&rows[run..]).zip(0..).map(|((key, rows), at)| (*key, *rows, at)).collect();
    // What belongs together lies in a few ascending pieces, which a stable sort merges.
    order.sort_by_key(|(key, _, _)| *key);
    keys.truncate(run);
    rows.truncate(run);
    let mut place = vec![0; if into.is_empty() { 0 } else { order.len() }];
    for (key, count, at) in order {
        match (keys[run..].last(), rows.last_mut()) {
            (Some(last), Some(rows)) if *last == key => *rows += count,
            _ => {
                keys.push(key);
                rows.push(count);
            }
        }
        if let Some(place) = place.get_mut(at as usize) {
            *place = narrow(keys.len() - 1);
        }
    }
    into.iter_mut().for_each(|group| *group = place[*group as usize - run]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fields_do_not_cross_words() {
        let (fields, words) = layout([1 << 30, 1 << 30, 1 << 30, 1, 2]);
        assert_eq!(words, 2);
        let mut key = [0; 2];
        for (field, code) in fields.iter().zip([(1 << 30) - 1, 5, 77, 0, 1]) {
            field.set(&mut key, code);
        }
        let codes: Vec<usize> = fields.iter().map(|field| field.get(&key)).collect();
        assert_eq!(codes, [(1 << 30) - 1, 5, 77, 0, 1]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn rolling_up_equals_grouping_the_recoded_rows(rows in proptest::collection::vec((0..40_u32, 0..9_u32, 0..5_u32), 1..300)) {
            let (fields, words) = layout([40, 9]);
            prop_assert_eq!(words, 1);
            let key = |a: u32, b: u32| {
                let mut key = [0; 1];
                fields[0].set(&mut key, a);
                fields[1].set(&mut key, b);
                key
            };
            let (mut groups, of_row) = Groups::<1>::of_rows(rows.len(), |row| key(rows[row].0, rows[row].1));
            let mut values = vec![std::collections::BTreeMap::<u32, u64>::new(); groups.len()];
            for (group, row) in of_row.iter().zip(&rows) {
                *values[*group as usize].entry(row.2).or_default() += 1;
            }
            groups.sensitive.push(Histograms::new(values));
            let replace: Vec<u32> = (0..40).map(|code| code / 7).collect();
            let rolled = groups.roll_up(fields[0], &replace, &mut Scratch::default());
            let (expected, of_row) = Groups::<1>::of_rows(rows.len(), |row| key(rows[row].0 / 7, rows[row].1));
            prop_assert_eq!(rolled.len(), expected.len());
            for (at, key) in rolled.keys.iter().enumerate() {
                let there = expected.keys.iter().position(|other| other == key).unwrap();
                prop_assert_eq!(rolled.rows[at], expected.rows[there]);
                let mut counts = std::collections::BTreeMap::new();
                for (_, row) in of_row.iter().zip(&rows).filter(|(group, _)| **group as usize == there) {
                    *counts.entry(row.2).or_insert(0_u64) += 1;
                }
                prop_assert_eq!(rolled.sensitive[0].of(at).to_vec(), counts.into_iter().collect::<Vec<_>>());
            }
        }

        #[test]
        fn rolling_up_in_order_gives_the_same_groups_in_order(
            rows in proptest::collection::vec((0..40_u32, 0..9_u32, 0..30_u32, 0..5_u32), 1..300),
            domains in proptest::sample::select(vec![[40_usize, 9, 30], [1 << 30, 1 << 30, 1 << 30]]),
            order in Just(vec![0_usize, 1, 2]).prop_shuffle(),
            steps in proptest::collection::vec((0..3_usize, 2..8_u32), 1..4),
        ) {
            let (fields, words) = layout_in_order(&domains, &order);
            prop_assert!(words <= 2);
            let key = |row: &(u32, u32, u32, u32)| {
                let mut key = [0; 2];
                fields.iter().zip([row.0, row.1, row.2]).for_each(|(field, code)| field.set(&mut key, code));
                key
            };
            let (mut groups, of_row) = Groups::<2>::of_rows(rows.len(), |row| key(&rows[row]));
            let mut values = vec![std::collections::BTreeMap::<u32, u64>::new(); groups.len()];
            for (group, row) in of_row.iter().zip(&rows) {
                *values[*group as usize].entry(row.3).or_default() += 1;
            }
            groups.sensitive.push(Histograms::new(values));
            groups.population.clone_from(&groups.rows);
            let mut usual = groups.clone();
            let mut scratch = Scratch::default();
            for (column, width) in steps {
                // Labels that do not follow the order of the codes.
                let codes = [40, 9, 30][column];
                let replace: Vec<u32> = (0..codes).map(|code| (code * 7 + 3) % codes / width).collect();
                groups = groups.roll_up_in_order(fields[column], &replace, &mut scratch);
                usual = usual.roll_up(fields[column], &replace, &mut scratch);
                prop_assert!(groups.keys.is_sorted());
                let sorted = usual.in_order_of(|key| *key);
                prop_assert_eq!(&groups.keys, &sorted.keys);
                prop_assert_eq!((&groups.rows, &groups.population), (&sorted.rows, &sorted.population));
                for at in 0..sorted.len() {
                    prop_assert_eq!(groups.sensitive[0].of(at), sorted.sensitive[0].of(at));
                }
            }
        }

        #[test]
        fn lifting_keys_raises_every_column(
            codes in (0..40_u32, 0..9_u32, 0..30_u32, 0..5_u32),
            groups in proptest::sample::select(vec![1_usize, 1 << 20]),
            raises in proptest::array::uniform4(0..3_usize),
        ) {
            let domains = [40, 9, 30, 5];
            let (fields, _) = layout(domains);
            let codes = [codes.0, codes.1, codes.2, codes.3];
            let mut key = [0; 1];
            fields.iter().zip(codes).for_each(|(field, code)| field.set(&mut key, code));
            let mut expected = key;
            let mut raised = Vec::new();
            for (at, how) in raises.iter().enumerate().filter(|(_, how)| **how > 0) {
                let replace: Vec<u32> = (0..40).take(domains[at]).map(|code| if *how == 1 { code / 3 } else { 0 }).collect();
                fields[at].set(&mut expected, replace[codes[at] as usize]);
                raised.push((fields[at], raised_bits(fields[at], &replace)));
            }
            prop_assert_eq!(Lift::of(raised, groups).raise(&key), expected);
        }
    }
}
