//! Makes the events of each class as detailed as the policy allows: local recoding of items over their hierarchy, from the
//! top down.
//!
//! A class is persons who agree in all released quasi-identifiers. At first nothing of its events is told. Then groups of
//! persons move one step down: all persons of the class whose item is told as a node, or not told, and lies below one of its
//! children. Those are kept back who would then be too few to share a combination of at most m items; the rest moves. Where
//! too few are left behind, either some who would go must stay, or what is told of those few is given up, whichever keeps more. So what is told satisfies the policy after every step: support is counted as in
//! Apriori (Agrawal and Srikant, VLDB 1994), and used as in the k^m-anonymisation of Terrovitis et al. (PVLDB 2008), but
//! downwards and person by person. Groups that gain most information go first; rounds follow until nobody moves.
//!
//! Persons are told apart by their items alone: those with the same items fare alike, in whatever order rows came.

use hashbrown::HashMap;

use super::tree::NOTHING;

/// The hierarchy that items move down.
#[derive(Clone, Copy)]
pub(super) struct Ways<'a> {
    /// One step up from each node; [`NOTHING`] above the topmost.
    pub(super) parent: &'a [u32],
    /// Information of an event that is told as a node, in bits.
    pub(super) bits: &'a [f64],
}

/// What must hold of every combination of items that occurs in a class.
pub(super) struct Demands {
    /// Fewest persons who share a combination.
    pub(super) k: u64,
    /// Most items of a combination.
    pub(super) known: usize,
    pub(super) guards: Vec<Guard>,
}

/// Values of a sensitive column that must not be inferred from few items.
pub(super) struct Guard {
    /// Most items of a combination.
    pub(super) known: usize,
    /// Value of each person.
    pub(super) values: Vec<u32>,
    /// For each value, whether it must not be inferred.
    pub(super) guarded: Vec<bool>,
    /// Largest share of those who share a combination that may hold one such value.
    pub(super) confidence: f64,
}

impl Demands {
    fn largest(&self) -> usize {
        self.guards.iter().map(|guard| guard.known).max().unwrap_or(0).max(self.known)
    }
}

/// Items of persons, one after the other.
#[derive(Default)]
struct Sets {
    start: Vec<u32>,
    items: Vec<u32>,
    /// Place of each in its class.
    persons: Vec<u32>,
}

impl Sets {
    fn clear(&mut self) {
        self.start.clear();
        self.start.push(0);
        self.items.clear();
        self.persons.clear();
    }

    /// `but`: an item to leave out, since all of them hold it.
    fn push(&mut self, person: u32, items: &[u32], but: u32) {
        self.items.extend(items.iter().filter(|item| **item != but));
        self.start.push(narrow(self.items.len()));
        self.persons.push(person);
    }

    fn len(&self) -> usize {
        self.persons.len()
    }

    /// All items of a set.
    fn of(&self, set: usize) -> &[u32] {
        &self.items[self.start[set] as usize..self.start[set + 1] as usize]
    }

    fn rest(&self, set: u32, from: u32) -> &[u32] {
        &self.items[from as usize..self.start[set as usize + 1] as usize]
    }
}

fn narrow(length: usize) -> u32 {
    u32::try_from(length).expect("fewer than 2^32 events")
}

/// Finds combinations that break a demand.
struct Counter<'a> {
    demands: &'a Demands,
    /// The class: the row of each person.
    rows: &'a [u32],
    counts: Vec<u32>,
    /// For each guard, the count of each value.
    values: Vec<Vec<u64>>,
}

/// A set, and where in its items the rest begins.
type Rest = (u32, u32);

impl Counter<'_> {
    /// Whether those who share a combination of `size` items are too few, or tell too much.
    fn breaks(&mut self, size: usize, sets: &Sets, who: impl ExactSizeIterator<Item = u32> + Clone) -> bool {
        let all = who.len() as u64;
        (size <= self.demands.known && all < self.demands.k) || self.tells(size, sets, who)
    }

    fn tells(&mut self, size: usize, sets: &Sets, who: impl ExactSizeIterator<Item = u32> + Clone) -> bool {
        let mut told = false;
        for (guard, counts) in self.demands.guards.iter().zip(&mut self.values) {
            if size > guard.known {
                continue;
            }
            let value = |set: u32| guard.values[self.rows[sets.persons[set as usize] as usize] as usize] as usize;
            who.clone().for_each(|set| counts[value(set)] += 1);
            let most = guard.most(who.len() as u64);
            for set in who.clone() {
                let value = value(set);
                told |= guard.guarded[value] && counts[value] > most;
            }
            who.clone().for_each(|set| counts[value(set)] = 0);
        }
        told
    }

    /// Visits combinations that break a demand, without the item that all sets share, and the sets that hold them. One that
    /// does is not extended: what breaks it is dealt with first.
    fn broken(&mut self, sets: &Sets, alive: impl Fn(u32) -> bool, visit: &mut dyn FnMut(&[u32], &[Rest])) {
        let rests: Vec<Rest> =
            (0..narrow(sets.len())).filter(|set| alive(*set)).map(|set| (set, sets.start[set as usize])).collect();
        self.extend(sets, &rests, 2, &mut Vec::new(), visit);
    }

    fn extend(
        &mut self,
        sets: &Sets,
        rests: &[Rest],
        size: usize,
        combination: &mut Vec<u32>,
        visit: &mut dyn FnMut(&[u32], &[Rest]),
    ) {
        if size > self.demands.largest() {
            return;
        }
        let mut seen = Vec::new();
        for (set, from) in rests {
            for item in sets.rest(*set, *from) {
                if self.counts[*item as usize] == 0 {
                    seen.push(*item);
                }
                self.counts[*item as usize] += 1;
            }
        }
        seen.sort_unstable();
        let few = |count: u32| size <= self.demands.known && u64::from(count) < self.demands.k;
        let guarded = self.demands.guards.iter().any(|guard| size <= guard.known);
        let deeper = size < self.demands.largest();
        // Who holds each item, where that is needed.
        let mut end = 0;
        let mut ends = Vec::with_capacity(seen.len());
        for item in &seen {
            let count = &mut self.counts[*item as usize];
            let wanted = deeper || guarded || few(*count);
            let begin = end;
            end += if wanted { *count } else { 0 };
            ends.push(end);
            *count = if wanted { begin } else { u32::MAX };
        }
        let mut holders: Vec<Rest> = vec![(0, 0); end as usize];
        if end > 0 {
            for (set, from) in rests {
                for (at, item) in (*from..).zip(sets.rest(*set, *from)) {
                    let place = &mut self.counts[*item as usize];
                    if *place != u32::MAX {
                        holders[*place as usize] = (*set, at + 1);
                        *place += 1;
                    }
                }
            }
        }
        seen.iter().for_each(|item| self.counts[*item as usize] = 0);
        let mut begin = 0;
        for (item, end) in seen.iter().zip(ends) {
            let holders = &holders[begin as usize..end as usize];
            begin = end;
            if holders.is_empty() {
                continue;
            }
            combination.push(*item);
            if self.breaks(size, sets, holders.iter().map(|(set, _)| *set)) {
                visit(combination, holders);
            } else if deeper {
                self.extend(sets, holders, size + 1, combination, visit);
            }
            combination.pop();
        }
    }
}

impl Guard {
    /// Most persons of so many who may hold one guarded value.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a share of persons"
    )]
    fn most(&self, persons: u64) -> u64 {
        let most = (self.confidence * persons as f64).floor() as u64;
        // Rounding must not let one too many pass.
        if most > 0 && most as f64 / persons as f64 > self.confidence { most - 1 } else { most }
    }
}

/// An event that may go one step down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Move {
    from: u32,
    to: u32,
    person: u32,
    event: u32,
}

/// What it counts that an event is told at all, in bits, beside its information: what is given up must be worth it.
const TOLD_AT_ALL: f64 = 4.0;

#[expect(clippy::cast_precision_loss, reason = "counts of events are far below 2^53")]
fn real(count: usize) -> f64 {
    count as f64
}

/// Events of one class on the way down.
struct Class<'a> {
    ways: Ways<'a>,
    /// Nodes that lie above the class's items, ascending; below, nodes are places in here.
    nodes: Vec<u32>,
    parent: Vec<u32>,
    /// Where the events of each person begin, and where those of the last end.
    start: Vec<u32>,
    /// Finest node that may be told of each event.
    finest: Vec<u32>,
    /// Node that is told of each event.
    told: Vec<u32>,
    /// What is told of each person, ascending, each once.
    held: Vec<Vec<u32>>,
    /// Persons of whom each node is told, ascending.
    holders: Vec<Vec<u32>>,
    counter: Counter<'a>,
    movers: Sets,
    left: Sets,
    /// What would be told of movers.
    after: Sets,
    /// Attempts to move a group so far, and the last one at which what is told of each person changed.
    attempts: u32,
    changed: Vec<u32>,
    /// Attempts after which all stood still, by the two nodes: tried again only when something has changed since.
    in_vain: HashMap<(u32, u32), InVain>,
}

/// An attempt that moved nobody, and how many events and persons it looked at.
struct InVain {
    attempt: u32,
    looked_at: [usize; 3],
}

/// Tells events of a class. `rows`: its persons. `start`, `finest`: for each row, where its events begin, and the finest node
/// of each event that may be told, [`NOTHING`] if none may. `told`: what is told of each event, [`NOTHING`] at first, as long
/// as `finest`. `rounds`: most times that each item goes down a step.
pub(super) fn specialise(
    ways: Ways<'_>,
    demands: &Demands,
    rows: &[u32],
    (start, finest): (&[usize], &[u32]),
    rounds: usize,
    told: &mut [u32],
) {
    let mut class = Class::new(ways, demands, rows, (start, finest));
    for _ in 0..rounds {
        if class.round() == 0 {
            break;
        }
    }
    let mut at = 0;
    for row in rows {
        for told in &mut told[start[*row as usize]..start[*row as usize + 1]] {
            *told = class.nodes.get(class.told[at] as usize).copied().unwrap_or(NOTHING);
            at += 1;
        }
    }
}

impl<'a> Class<'a> {
    fn new(ways: Ways<'a>, demands: &'a Demands, rows: &'a [u32], (start, finest): (&[usize], &[u32])) -> Self {
        let of = |row: &u32| start[*row as usize]..start[*row as usize + 1];
        let mut nodes: Vec<u32> =
            rows.iter().flat_map(of).map(|event| finest[event]).filter(|node| *node != NOTHING).collect();
        nodes.sort_unstable();
        nodes.dedup();
        let mut above = Vec::new();
        for node in &nodes {
            let mut node = ways.parent[*node as usize];
            while node != NOTHING {
                above.push(node);
                node = ways.parent[node as usize];
            }
        }
        nodes.extend(above);
        nodes.sort_unstable();
        nodes.dedup();
        let place = |node: u32| nodes.binary_search(&node).map_or(NOTHING, narrow);
        let mut own_start = vec![0];
        let mut own_finest = Vec::new();
        for row in rows {
            own_finest.extend(of(row).map(|event| place(finest[event])));
            own_start.push(narrow(own_finest.len()));
        }
        let values = demands.guards.iter().map(|guard| vec![0; guard.guarded.len()]).collect();
        Self {
            ways,
            parent: nodes.iter().map(|node| place(ways.parent[*node as usize])).collect(),
            told: vec![NOTHING; own_finest.len()],
            held: vec![Vec::new(); rows.len()],
            holders: vec![Vec::new(); nodes.len()],
            counter: Counter { demands, rows, counts: vec![0; nodes.len()], values },
            start: own_start,
            finest: own_finest,
            nodes,
            movers: Sets::default(),
            left: Sets::default(),
            after: Sets::default(),
            attempts: 0,
            changed: vec![0; rows.len()],
            in_vain: HashMap::new(),
        }
    }

    fn events(&self, person: u32) -> std::ops::Range<usize> {
        self.start[person as usize] as usize..self.start[person as usize + 1] as usize
    }

    /// The node one step down from what is told of an event; `None` when there is none.
    fn next(&self, event: usize) -> Option<u32> {
        let (told, mut node) = (self.told[event], self.finest[event]);
        if node == told {
            return None;
        }
        while self.parent[node as usize] != told {
            node = self.parent[node as usize];
        }
        Some(node)
    }

    /// Information of an event that is told as a node, in bits.
    fn bits(&self, node: u32) -> f64 {
        self.nodes.get(node as usize).map_or(0.0, |node| self.ways.bits[*node as usize])
    }

    /// Moves what can move by one step; how many events did.
    fn round(&mut self) -> usize {
        let mut moves: Vec<Move> = Vec::new();
        for person in 0..narrow(self.held.len()) {
            for event in self.events(person) {
                if let Some(to) = self.next(event) {
                    moves.push(Move { from: self.told[event], to, person, event: narrow(event) });
                }
            }
        }
        moves.sort_unstable();
        let gain = |moves: &[Move]| (self.bits(moves[0].to) - self.bits(moves[0].from)) * real(moves.len());
        let mut groups: Vec<&[Move]> = moves.chunk_by(|a, b| (a.from, a.to) == (b.from, b.to)).collect();
        groups.sort_by(|a, b| gain(b).total_cmp(&gain(a)).then_with(|| a[0].cmp(&b[0])));
        let mut moved = 0;
        for group in groups {
            // What was given up meanwhile is not there any more.
            let group: Vec<Move> =
                group.iter().copied().filter(|step| self.told[step.event as usize] == step.from).collect();
            if !group.is_empty() {
                moved += self.lower(&group);
            }
        }
        moved
    }

    /// What is told of a person, ascending, each once, if the given events, which ascend, were told as `to`.
    fn told_of(&self, person: u32, lowered: &[Move], to: u32, all: &mut Vec<u32>) {
        all.clear();
        let mut lowered = lowered.iter().peekable();
        for event in self.events(person) {
            let is_lowered = lowered.next_if(|step| step.event as usize == event).is_some();
            let told = if is_lowered { to } else { self.told[event] };
            if told != NOTHING {
                all.push(told);
            }
        }
        all.sort_unstable();
        all.dedup();
    }

    /// Brings up to date what is held of a person whose events are told differently now.
    fn hold_anew(&mut self, person: u32) {
        let mut held = std::mem::take(&mut self.held[person as usize]);
        self.told_of(person, &[], NOTHING, &mut held);
        self.held[person as usize] = held;
        self.changed[person as usize] = self.attempts;
    }

    /// Whether a group was tried in vain, and nothing that this hangs on has changed since: neither who would move, nor
    /// whom they would join or leave, nor what is told of any of them.
    fn still_in_vain(&self, group: &[Move], looked_at: [usize; 3]) -> bool {
        let (from, to) = (group[0].from, group[0].to);
        let Some(before) = self.in_vain.get(&(from, to)) else { return false };
        let same = |person: &u32| self.changed[*person as usize] <= before.attempt;
        before.looked_at == looked_at
            && group.iter().all(|step| same(&step.person))
            && self.holders[to as usize].iter().all(same)
            && self.holders.get(from as usize).is_none_or(|holders| holders.iter().all(same))
    }

    /// Moves as many of a group of events as can go from one node to another; how many did.
    fn lower(&mut self, group: &[Move]) -> usize {
        let (from, to) = (group[0].from, group[0].to);
        let looked_at =
            [group.len(), self.holders[to as usize].len(), self.holders.get(from as usize).map_or(0, Vec::len)];
        if self.still_in_vain(group, looked_at) {
            return 0;
        }
        self.attempts += 1;
        let by_person: Vec<&[Move]> = group.chunk_by(|a, b| a.person == b.person).collect();
        if ((by_person.len() + self.holders[to as usize].len()) as u64) < self.counter.demands.k {
            return 0;
        }
        let mut movers = std::mem::take(&mut self.movers);
        let mut left = std::mem::take(&mut self.left);
        movers.clear();
        let mut told = std::mem::take(&mut self.after);
        told.clear();
        let mut after = Vec::new();
        for moves in &by_person {
            self.told_of(moves[0].person, moves, to, &mut after);
            movers.push(moves[0].person, &after, to);
            told.push(moves[0].person, &after, NOTHING);
        }
        for person in &self.holders[to as usize] {
            if by_person.binary_search_by_key(person, |moves| moves[0].person).is_err() {
                movers.push(*person, &self.held[*person as usize], to);
            }
        }
        let mut goes = vec![true; by_person.len()];
        self.hold_back(&movers, &mut goes);
        let mut given_up = Vec::new();
        if from != NOTHING && goes.contains(&true) {
            // Either those stay without whom too few are left, or what is told of those few is given up.
            let mut cautious = goes.clone();
            let mut first = true;
            loop {
                self.fill_left(from, (&by_person, &told), &cautious, &mut left);
                let back = self.needed(from, (&by_person, &told), &cautious, &left);
                if back.is_empty() {
                    break;
                }
                if first {
                    given_up = self.give_up(&left);
                    first = false;
                }
                back.iter().for_each(|set| cautious[*set as usize] = false);
                self.hold_back(&movers, &mut cautious);
            }
            let lost: usize =
                given_up.iter().map(|person| self.staying(*person, from, (&by_person, &goes)).len()).sum();
            let price = real(lost) * (self.bits(from) + TOLD_AT_ALL);
            if first || self.worth(&by_person, &goes) - price <= self.worth(&by_person, &cautious) {
                goes = cautious;
                given_up.clear();
            }
        }
        self.movers = movers;
        self.left = left;
        self.after = told;
        for person in &given_up {
            let events = self.staying(*person, from, (&by_person, &goes));
            events.into_iter().for_each(|event| self.told[event] = NOTHING);
            self.hold_anew(*person);
        }
        let mut moved = 0;
        for (moves, _) in by_person.iter().zip(&goes).filter(|(_, goes)| **goes) {
            let person = moves[0].person;
            moves.iter().for_each(|step| self.told[step.event as usize] = to);
            moved += moves.len();
            self.hold_anew(person);
            self.holders[to as usize].push(person);
        }
        if moved == 0 && given_up.is_empty() {
            self.in_vain.insert((from, to), InVain { attempt: self.attempts, looked_at });
        }
        if moved > 0 {
            self.holders[to as usize].sort_unstable();
            self.holders[to as usize].dedup();
            if from != NOTHING {
                let mut holders = std::mem::take(&mut self.holders[from as usize]);
                holders.retain(|person| self.held[*person as usize].binary_search(&from).is_ok());
                self.holders[from as usize] = holders;
            }
        }
        moved
    }

    /// What is gained when some go, in bits: the step itself, and half of what further steps could add.
    fn worth(&self, by_person: &[&[Move]], goes: &[bool]) -> f64 {
        let going = by_person.iter().zip(goes).filter(|(_, goes)| **goes).flat_map(|(moves, _)| *moves);
        let gain = |step: &Move| {
            let [from, to, finest] = [step.from, step.to, self.finest[step.event as usize]].map(|node| self.bits(node));
            to - from + 0.5 * (finest - to).max(0.0)
        };
        going.map(gain).sum()
    }

    /// Events of a person that stay told as a node when those who go do.
    fn staying(&self, person: u32, from: u32, (by_person, goes): (&[&[Move]], &[bool])) -> Vec<usize> {
        let at = by_person.binary_search_by_key(&person, |moves| moves[0].person).ok().filter(|at| goes[*at]);
        let going = at.map_or(&[][..], |at| by_person[at]);
        let stays =
            |event: &usize| self.told[*event] == from && !going.iter().any(|step| step.event as usize == *event);
        self.events(person).filter(stays).collect()
    }

    /// Of those who would move, keeps back who would share too few combinations at the new node. `movers`: first those of
    /// `goes`, then those of whom the node is told already.
    fn hold_back(&mut self, movers: &Sets, goes: &mut [bool]) {
        while goes.contains(&true) {
            let alive = |set: u32| goes.get(set as usize).copied().unwrap_or(true);
            let all: Vec<u32> = (0..narrow(movers.len())).filter(|set| alive(*set)).collect();
            if self.counter.breaks(1, movers, all.iter().copied()) {
                goes.fill(false);
                return;
            }
            let mut back: Vec<u32> = Vec::new();
            self.counter.broken(movers, alive, &mut |_, who| {
                back.extend(who.iter().map(|(set, _)| *set).filter(|set| (*set as usize) < goes.len()));
            });
            if back.is_empty() {
                return;
            }
            back.iter().for_each(|set| goes[*set as usize] = false);
        }
    }

    /// Who would be left at a node, with what else is told of them then.
    fn fill_left(&self, from: u32, (by_person, told): (&[&[Move]], &Sets), goes: &[bool], left: &mut Sets) {
        left.clear();
        for person in &self.holders[from as usize] {
            let mover = by_person.binary_search_by_key(person, |moves| moves[0].person).ok().filter(|at| goes[*at]);
            match mover {
                Some(at) if told.of(at).binary_search(&from).is_err() => {}
                Some(at) => left.push(*person, told.of(at), from),
                None => left.push(*person, &self.held[*person as usize], from),
            }
        }
    }

    /// Of those who would go from a node altogether, those without whom too few are left.
    fn needed(&mut self, from: u32, (by_person, told): (&[&[Move]], &Sets), goes: &[bool], left: &Sets) -> Vec<u32> {
        if left.len() == 0 {
            return Vec::new();
        }
        let leaves = |at: &u32| goes[*at as usize] && told.of(*at as usize).binary_search(&from).is_err();
        let gone = (0..narrow(goes.len())).filter(leaves);
        if self.counter.breaks(1, left, 0..narrow(left.len())) {
            return gone.collect();
        }
        let mut broken: Vec<Vec<u32>> = Vec::new();
        self.counter.broken(left, |_| true, &mut |combination, _| broken.push(combination.to_vec()));
        let holds = |mover: &u32| {
            let held = &self.held[by_person[*mover as usize][0].person as usize];
            broken.iter().any(|combination| combination.iter().all(|item| held.binary_search(item).is_ok()))
        };
        if broken.is_empty() { Vec::new() } else { gone.filter(holds).collect() }
    }

    /// Of those left at a node, whose items must be given up so that the others are enough.
    fn give_up(&mut self, left: &Sets) -> Vec<u32> {
        let mut stays = vec![true; left.len()];
        loop {
            let alive = |set: u32| stays[set as usize];
            let all: Vec<u32> = (0..narrow(left.len())).filter(|set| alive(*set)).collect();
            if all.is_empty() {
                break;
            }
            if self.counter.breaks(1, left, all.iter().copied()) {
                stays.fill(false);
                break;
            }
            let mut back: Vec<u32> = Vec::new();
            self.counter.broken(left, alive, &mut |_, who| back.extend(who.iter().map(|(set, _)| *set)));
            if back.is_empty() {
                break;
            }
            back.iter().for_each(|set| stays[*set as usize] = false);
        }
        left.persons.iter().zip(stays).filter(|(_, stays)| !stays).map(|(person, _)| *person).collect()
    }
}
