//! Runs with a coordinator under a simulated network: two aggregators, with proofs or without, and double masking. Messages are late,
//! lost and doubled, and coordinator, aggregators and sites die at any place and come back with what is on their disk. A seed decides
//! everything, so every failure can be replayed. How [`Boss`] goes from step to step is as the coordinator of the network does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use acequia_learn::*;
use acequia_types::Digest;

use crate::decentralised::{Dice, seeds};
use crate::double_masking::Member;
use crate::support::*;

const SITES: [&str; 4] = ["east", "north", "south", "west"];
const ADDERS: [&str; 2] = ["university", "patients"];
const BOSS: &str = "coordinator";

/// What goes wrong.
#[derive(Debug, Clone, Copy)]
struct Trouble {
    /// Messages lost, of a hundred.
    lost: u64,
    /// Longest delay, in ticks.
    delay: u64,
    /// Whether a site dies for good at some time.
    crash: bool,
    /// Whether somebody is cut off for a while.
    partition: bool,
    /// Whether processes die at any place, and come back with what is on disk.
    restart: bool,
    /// Whether aggregators come back without what they closed; to see that this is noticed.
    forgets: bool,
}

const QUIET: Trouble = Trouble { lost: 0, delay: 1, crash: false, partition: false, restart: false, forgets: false };
const TROUBLES: [Trouble; 5] = [
    QUIET,
    Trouble { lost: 10, delay: 3, ..QUIET },
    Trouble { lost: 5, delay: 6, partition: true, ..QUIET },
    Trouble { lost: 5, delay: 3, restart: true, ..QUIET },
    Trouble { lost: 5, delay: 3, crash: true, ..QUIET },
];

/// Ticks after which a step goes on without whoever did not answer.
const PATIENT: u64 = 120;
/// Ticks between two times that the same is asked.
const AGAIN: u64 = 10;
/// How often somebody gives the command again after the run stopped.
const TRIES: u32 = 8;
/// After this many ticks no process dies any more.
const CALM: u64 = 1_500;
/// Far more than any run takes.
const ENDLESS: u64 = 20_000;

#[derive(Debug, Clone)]
enum Word {
    // To sites.
    Ask(Ask),
    Turn(Digest, Turn),
    Taken,
    // To aggregators.
    Open(Ask),
    Share(Vec<u8>),
    Present,
    Verify(Vec<String>),
    Settle(Vec<u8>),
    Close(Vec<String>),
    // To the coordinator.
    Sent,
    Masked(Vec<u8>),
    Again,
    Opened,
    /// Whose shares are there, and over which sites the question was closed before.
    Are(Vec<String>, Option<Vec<String>>),
    Verified(Vec<u8>),
    Settled(Vec<String>),
    Part(Vec<u8>),
    No,
}

#[derive(Debug, Clone)]
struct Letter {
    from: String,
    to: String,
    round: u32,
    /// Which of the coordinator's questions it is about.
    about: u64,
    word: Word,
}

/// How far a process gets with what it writes and says before it dies.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Lives,
    /// Before it writes.
    Unwritten,
    /// After it wrote, before it says anything.
    Unsaid,
}

struct World {
    plan: Plan,
    roster: Roster,
    dice: Dice,
    trouble: Trouble,
    clock: u64,
}

impl World {
    fn fate(&mut self) -> Fate {
        if !self.trouble.restart || self.clock >= CALM || self.dice.below(120) != 0 {
            return Fate::Lives;
        }
        if self.dice.below(2) == 0 { Fate::Unwritten } else { Fate::Unsaid }
    }
}

// Sites.

#[derive(Default)]
struct SiteDisk {
    log: ExitLog,
    drawn: Option<Vec<u8>>,
}

struct SiteMachine {
    table: Data,
    disk: SiteDisk,
    process: Option<Site>,
    /// What is to be taken by aggregators, and who took it; about which question.
    shares: BTreeMap<String, (Vec<u8>, bool)>,
    asked: (u32, u64),
    back_at: u64,
}

impl SiteMachine {
    fn start(&mut self, world: &World) {
        let name = self.table.name().to_owned();
        let key = ShareKey::from([name.as_bytes()[0]; 32]);
        let (tables, mut ledger) = (vec![self.table.clone()], Ledger::default());
        let site = Site::join(&name, &world.plan, &world.roster, tables, SiteRules::own(), &mut ledger, key).unwrap();
        let site = site.vouching(Arc::new(Member(name))).resumed(self.disk.log.clone());
        self.process = Some(match &self.disk.drawn {
            Some(drawn) => site.having_drawn(drawn),
            None => site,
        });
        self.shares.clear();
    }

    /// What it says, and whether it is dead then.
    fn hear(&mut self, letter: &Letter, fate: Fate) -> (Vec<Letter>, bool) {
        let name = self.table.name().to_owned();
        let (round, about) = (letter.round, letter.about);
        let say =
            |to: &str, about: u64, word: Word| Letter { from: name.clone(), to: to.to_owned(), round, about, word };
        let Some(site) = self.process.as_mut() else { return (Vec::new(), false) };
        let said = match &letter.word {
            Word::Ask(ask) => match site.answer(ask, now()) {
                Err(_) => vec![say(BOSS, about, Word::No)],
                Ok(updates) => {
                    if fate == Fate::Unwritten {
                        return (Vec::new(), true);
                    }
                    self.disk = SiteDisk { log: site.log().clone(), drawn: site.drawn() };
                    match updates.as_slice() {
                        [one] if one.to() == "coordinator" => {
                            vec![say(BOSS, about, Word::Masked(one.bytes().to_vec()))]
                        }
                        all => {
                            // Asked anew, it hands over anew: an aggregator may have been started again.
                            if self.asked != (round, about) {
                                self.shares.clear();
                            }
                            self.asked = (round, about);
                            for update in all {
                                let share = (update.bytes().to_vec(), false);
                                self.shares.entry(update.to().to_owned()).or_insert(share);
                            }
                            let left = self.shares.iter().filter(|(_, (_, taken))| !taken);
                            let mut said: Vec<Letter> =
                                left.map(|(to, (share, _))| say(to, about, Word::Share(share.clone()))).collect();
                            if said.is_empty() {
                                said.push(say(BOSS, about, Word::Sent));
                            }
                            said
                        }
                    }
                }
            },
            Word::Turn(context, turn) => match site.turn(context, turn, now()) {
                Err(_) => vec![say(BOSS, about, Word::No)],
                Ok(None) => vec![say(BOSS, about, Word::Again)],
                Ok(Some(update)) => {
                    if fate == Fate::Unwritten {
                        return (Vec::new(), true);
                    }
                    self.disk.log = site.log().clone();
                    vec![say(BOSS, about, Word::Masked(update.bytes().to_vec()))]
                }
            },
            // A share that an aggregator did not take, since its round is not open, goes again when it is asked for again.
            Word::Taken if self.asked == (round, about) => {
                if let Some((_, taken)) = self.shares.get_mut(&letter.from) {
                    *taken = true;
                }
                let all = !self.shares.is_empty() && self.shares.values().all(|(_, taken)| *taken);
                if all { vec![say(BOSS, about, Word::Sent)] } else { Vec::new() }
            }
            _ => Vec::new(),
        };
        (said, fate != Fate::Lives)
    }
}

// Aggregators.

struct AdderMachine {
    own: usize,
    disk: Vec<Closed>,
    process: Option<(Aggregator, Option<Ask>)>,
    back_at: u64,
}

impl AdderMachine {
    fn start(&mut self, world: &World) {
        self.process = Some((self.aggregator(world), None));
        if world.trouble.forgets {
            self.disk.clear();
        }
    }

    fn aggregator(&self, world: &World) -> Aggregator {
        let mut aggregator = Aggregator::new(&world.plan, &world.roster);
        aggregator.verifies(self.own, VerifyKey::drawn(&mut SeededEntropy::new(5)).unwrap());
        aggregator
    }

    fn hear(&mut self, letter: &Letter, world: &World, fate: Fate) -> (Vec<Letter>, bool) {
        let word = match self.word(letter, world, fate) {
            Some(word) => word,
            None => return (Vec::new(), true),
        };
        let to = letter.from.clone();
        let (from, round, about) = (ADDERS[self.own].to_owned(), letter.round, letter.about);
        (vec![Letter { from, to, round, about, word }], fate != Fate::Lives)
    }

    /// None where it dies before it writes.
    fn word(&mut self, letter: &Letter, world: &World, fate: Fate) -> Option<Word> {
        let fresh = self.aggregator(world);
        let (aggregator, asked) = self.process.as_mut()?;
        if let Word::Open(ask) = &letter.word {
            // The coordinator goes through its rounds once more; what was closed is on disk.
            if asked.as_ref().is_some_and(|asked| ask.round < asked.round) {
                *aggregator = fresh;
            }
            return Some(match aggregator.open(ask) {
                Ok(()) => {
                    *asked = Some(ask.clone());
                    Word::Opened
                }
                Err(_) => Word::No,
            });
        }
        let Some(ask) = asked.clone().filter(|ask| ask.round == letter.round) else { return Some(Word::No) };
        let taken: Result<Word, LearnError> = match &letter.word {
            Word::Share(share) => aggregator.receive(&letter.from, share).map(|()| Word::Taken),
            Word::Present => {
                let closed = Closed::binds(&ask, &self.disk).map(<[String]>::to_vec);
                Ok(Word::Are(aggregator.present(), closed))
            }
            Word::Verify(sites) => aggregator.verify(sites).map(|found| Word::Verified(found.to_bytes())),
            Word::Settle(found) => Verification::from_bytes("the other", found)
                .and_then(|found| aggregator.settle(&found))
                .map(Word::Settled),
            Word::Close(sites) => {
                let closing = Closed::over(&ask, sites.iter().cloned());
                let dropouts = world.plan.privacy.dropouts;
                match closing.is_new(BOSS, &self.disk, world.roster.sites(), dropouts) {
                    Err(error) => Err(error),
                    Ok(is_new) => match aggregator.close(closing.sites()) {
                        Err(error) => Err(error),
                        Ok(part) => {
                            if is_new {
                                if fate == Fate::Unwritten {
                                    return None;
                                }
                                self.disk.push(closing);
                            }
                            Ok(Word::Part(part.to_bytes()))
                        }
                    },
                }
            }
            _ => Ok(Word::No),
        };
        Some(taken.unwrap_or(Word::No))
    }
}

// The coordinator.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    Ask,
    Present,
    Verify,
    Settle,
    Close,
    Turns,
}

#[derive(Clone)]
struct BossDisk {
    round: u32,
    state: State,
    live: Vec<String>,
    /// The record of a round, and the masked total.
    sum: Option<(Vec<u8>, Option<Vec<u8>>)>,
    outcome: Option<Outcome>,
}

struct Boss {
    run: Run,
    live: Vec<String>,
    phase: Phase,
    since: u64,
    /// To each what is asked, word after word; the last answer counts.
    asks: BTreeMap<String, (Vec<Word>, usize, u64)>,
    got: BTreeMap<String, Word>,
    /// Sites that say their shares are with the aggregators.
    sent: BTreeSet<String>,
    sum: Option<MaskedSum>,
    number: u64,
}

/// A run that cannot go on now.
struct Stops;

impl Boss {
    fn start(world: &World, disk: &BossDisk, numbers: u64) -> Self {
        let run = Run::resume(&world.plan, &world.roster, disk.round, disk.state.clone());
        let live = match world.plan.privacy.dropouts {
            Dropouts::Wait => world.roster.sites().to_vec(),
            Dropouts::LeaveOut => disk.live.clone(),
        };
        let sum = disk.sum.as_ref().and_then(|(record, total)| {
            MaskedSum::from_bytes(record, total.as_deref(), &world.plan, &world.roster, &run.ask())
        });
        let mut boss = Self {
            run,
            live,
            phase: Phase::Ask,
            since: world.clock,
            asks: BTreeMap::new(),
            got: BTreeMap::new(),
            sent: BTreeSet::new(),
            sum,
            number: numbers,
        };
        boss.begin_round(world);
        boss
    }

    fn is_shared(world: &World) -> bool {
        world.plan.aggregation.protection.is_shared()
    }

    fn begin(&mut self, world: &World, phase: Phase, asks: impl IntoIterator<Item = (String, Word)>) {
        self.phase = phase;
        self.since = world.clock;
        self.got.clear();
        self.asks.clear();
        for (to, word) in asks {
            self.number += 1;
            self.asks.insert(to, (vec![word], 0, self.number));
        }
    }

    fn ask_adders(&mut self, world: &World, phase: Phase, word: &Word) {
        self.begin(world, phase, ADDERS.map(|adder| (adder.to_owned(), word.clone())));
    }

    fn begin_round(&mut self, world: &World) {
        let ask = self.run.ask();
        if Self::is_shared(world) {
            return self.ask_adders(world, Phase::Open, &Word::Open(ask));
        }
        let sum = self.sum.take().unwrap_or_else(|| MaskedSum::new(&world.plan, &world.roster, &ask));
        let is_asked = sum.turns().is_empty() && !sum.is_done();
        self.sum = Some(sum);
        match is_asked {
            true => {
                let live = self.live.clone();
                self.begin(world, Phase::Ask, live.into_iter().map(|site| (site, Word::Ask(ask.clone()))));
            }
            false => self.turns(world),
        }
    }

    fn turns(&mut self, world: &World) {
        let context = self.run.ask().context();
        let turns = self.sum.as_ref().map_or_else(BTreeMap::new, MaskedSum::turns);
        self.begin(world, Phase::Turns, turns.into_iter().map(|(site, turn)| (site, Word::Turn(context, turn))));
    }

    fn hear(&mut self, letter: Letter) {
        let ask = self.run.ask();
        let Some((words, at, about)) = self.asks.get_mut(&letter.from) else { return };
        if *about != letter.about || self.got.contains_key(&letter.from) {
            return;
        }
        self.number += 1;
        match letter.word {
            // It was started again: all from the beginning.
            Word::Again => {
                let turns = self.sum.as_ref().map_or_else(Vec::new, |sum| sum.turns_of(&letter.from));
                let turns = turns.into_iter().map(|turn| Word::Turn(ask.context(), turn));
                *words = std::iter::once(Word::Ask(ask.clone())).chain(turns).collect();
                (*at, *about) = (0, self.number);
            }
            Word::Masked(_) if *at + 1 < words.len() => (*at, *about) = (*at + 1, self.number),
            word => drop(self.got.insert(letter.from, word)),
        }
    }

    /// What is asked now.
    fn says(&self, world: &World) -> Vec<Letter> {
        if !(world.clock - self.since).is_multiple_of(AGAIN) {
            return Vec::new();
        }
        let open = self.asks.iter().filter(|(to, _)| !self.got.contains_key(*to));
        open.map(|(to, (words, at, about))| Letter {
            from: BOSS.to_owned(),
            to: to.clone(),
            round: self.run.round(),
            about: *about,
            word: words[*at].clone(),
        })
        .collect()
    }

    fn needed(world: &World) -> usize {
        let least = match world.plan.privacy.dropouts {
            Dropouts::Wait => world.roster.sites().len(),
            Dropouts::LeaveOut => 1,
        };
        least.max(world.plan.privacy.minimum_sites).max(SITES_MIN)
    }

    /// Goes on once all answered, or the time is over. What is to be on disk is written unless it dies before.
    fn goes_on(&mut self, world: &World, disk: &mut BossDisk, fate: Fate) -> Result<(), Stops> {
        let late = world.clock - self.since > PATIENT;
        if self.got.len() < self.asks.len() && !late {
            return Ok(());
        }
        let (got, ask) = (std::mem::take(&mut self.got), self.run.ask());
        let both = |got: &BTreeMap<String, Word>| match (got.get(ADDERS[0]), got.get(ADDERS[1])) {
            (Some(one), Some(other)) => Ok([one.clone(), other.clone()]),
            _ => Err(Stops),
        };
        match self.phase {
            Phase::Open => {
                let [Word::Opened, Word::Opened] = both(&got)? else { return Err(Stops) };
                let live = self.live.clone();
                self.begin(world, Phase::Ask, live.into_iter().map(|site| (site, Word::Ask(ask.clone()))));
            }
            Phase::Ask if Self::is_shared(world) => {
                self.sent =
                    got.into_iter().filter(|(_, word)| matches!(word, Word::Sent)).map(|(site, _)| site).collect();
                self.ask_adders(world, Phase::Present, &Word::Present);
            }
            Phase::Present => {
                let [Word::Are(one, closed), Word::Are(other, before)] = both(&got)? else { return Err(Stops) };
                let there = |site: &String| one.contains(site) && other.contains(site);
                match closed.or(before) {
                    Some(closed) if closed.iter().all(there) => self.live = closed,
                    Some(_) => return Err(Stops),
                    None => {
                        let sent = std::mem::take(&mut self.sent);
                        self.live.retain(|site| sent.contains(site) && there(site));
                    }
                }
                match world.plan.aggregation.protection {
                    Protection::Proven => self.ask_adders(world, Phase::Verify, &Word::Verify(self.live.clone())),
                    _ => self.closes(world, disk, fate)?,
                }
            }
            Phase::Verify => {
                let [Word::Verified(one), Word::Verified(other)] = both(&got)? else { return Err(Stops) };
                let words = [(ADDERS[0], other), (ADDERS[1], one)];
                self.begin(world, Phase::Settle, words.map(|(to, word)| (to.to_owned(), Word::Settle(word))));
            }
            Phase::Settle => {
                let [Word::Settled(one), Word::Settled(other)] = both(&got)? else { return Err(Stops) };
                assert!(one.is_empty() && other.is_empty(), "honest sites are believed");
                self.closes(world, disk, fate)?;
            }
            Phase::Close => {
                let [Word::Part(one), Word::Part(other)] = both(&got)? else { return Err(Stops) };
                let read = |bytes: &[u8]| PartTotal::from_bytes("an aggregator", bytes, &world.plan, &ask).unwrap();
                let progress = self.run.close_masked(&read(&one), &read(&other)).map_err(|_| Stops)?;
                self.progresses(progress, world, disk, fate)?;
            }
            Phase::Ask | Phase::Turns => {
                let Some(sum) = self.sum.as_mut() else { return Err(Stops) };
                for (site, word) in got {
                    if let Word::Masked(bytes) = word {
                        sum.receive(&site, &bytes, &Member(BOSS.to_owned())).unwrap();
                    }
                }
                sum.close_step().map_err(|_| Stops)?;
                if fate == Fate::Unwritten {
                    return Ok(());
                }
                let before = disk.sum.take().and_then(|(_, total)| total);
                let total = sum.masked_total().map(<[u8]>::to_vec).or(before);
                disk.sum = Some((sum.to_bytes(), total));
                if !sum.is_done() {
                    self.turns(world);
                    return Ok(());
                }
                self.live = sum.over();
                let progress = self.run.close_summed(sum).map_err(|_| Stops)?;
                self.progresses(progress, world, disk, fate)?;
            }
        }
        Ok(())
    }

    fn closes(&mut self, world: &World, disk: &mut BossDisk, fate: Fate) -> Result<(), Stops> {
        if self.live.len() < Self::needed(world) {
            return Err(Stops);
        }
        if fate != Fate::Unwritten {
            // Before the round is closed over them: after a crash it can be closed over the same sites only.
            disk.live.clone_from(&self.live);
            self.ask_adders(world, Phase::Close, &Word::Close(self.live.clone()));
        }
        Ok(())
    }

    fn progresses(&mut self, progress: Progress, world: &World, disk: &mut BossDisk, fate: Fate) -> Result<(), Stops> {
        if fate == Fate::Unwritten {
            return Ok(());
        }
        match progress {
            Progress::Done(outcome) => disk.outcome = Some(*outcome),
            Progress::Round(round) => {
                let (state, live) = (self.run.state().clone(), self.live.clone());
                *disk = BossDisk { round, state, live, sum: None, outcome: None };
                self.sum = None;
                self.begin_round(world);
            }
        }
        Ok(())
    }
}

#[derive(Debug, Clone, PartialEq)]
struct Played {
    /// None where it was given up.
    outcome: Option<Outcome>,
    /// For each aggregator and question the sets of sites of which half of a sum was shown; of double masking, for the coordinator and for
    /// what sites signed. Halves of two aggregators over two sets are noise together.
    sums: BTreeMap<(String, Digest), BTreeSet<Vec<String>>>,
    /// The set of the last sum.
    last: Vec<String>,
    ticks: u64,
    restarts: u64,
    stops: u32,
}

fn play(plan: &Plan, tables: &[Data], seed: u64, trouble: Trouble) -> Played {
    let roster = Roster::new(SITES.map(str::to_owned)).unwrap();
    let dice = Dice(SeededEntropy::new(seed));
    let mut world = World { plan: plan.clone(), roster, dice, trouble, clock: 0 };
    let mut sites: BTreeMap<String, SiteMachine> = BTreeMap::new();
    for table in tables {
        let mut machine = SiteMachine {
            table: table.clone(),
            disk: SiteDisk::default(),
            process: None,
            shares: BTreeMap::new(),
            asked: (0, 0),
            back_at: 0,
        };
        machine.start(&world);
        sites.insert(table.name().to_owned(), machine);
    }
    let mut adders: BTreeMap<String, AdderMachine> = BTreeMap::new();
    for (own, name) in ADDERS.into_iter().enumerate() {
        let mut machine = AdderMachine { own, disk: Vec::new(), process: None, back_at: 0 };
        machine.start(&world);
        adders.insert(name.to_owned(), machine);
    }
    let start = Run::new(plan, &world.roster);
    let live = world.roster.sites().to_vec();
    let mut disk = BossDisk { round: 1, state: start.state().clone(), live, sum: None, outcome: None };
    let (mut boss, mut boss_back_at) = (Some(Boss::start(&world, &disk, 0)), 0);
    // Which numbers of questions were used; a process that was started again uses others.
    let mut numbers = 1_u64 << 32;
    let all: Vec<String> =
        SITES.iter().chain(&ADDERS).map(|name| (*name).to_owned()).chain([BOSS.to_owned()]).collect();
    let pick = |dice: &mut Dice, from: &[String]| from[usize::try_from(dice.below(from.len() as u64)).unwrap()].clone();
    let victim = pick(&mut world.dice, &SITES.map(str::to_owned));
    let crash_at = 1 + world.dice.below(60);
    let cut = pick(&mut world.dice, &all);
    let mut network: BTreeMap<(u64, u64), Letter> = BTreeMap::new();
    let mut played = Played { outcome: None, sums: BTreeMap::new(), last: Vec::new(), ticks: 0, restarts: 0, stops: 0 };
    let mut sent = 0;
    while disk.outcome.is_none() && played.stops < TRIES {
        assert!(world.clock < ENDLESS, "seed {seed}: no end of {trouble:?}");
        if trouble.crash && world.clock == crash_at {
            sites.remove(&victim);
        }
        let mut said: Vec<Letter> = Vec::new();
        // Those who died come back.
        for machine in sites.values_mut().filter(|one| one.process.is_none() && world.clock >= one.back_at) {
            machine.start(&world);
        }
        for machine in adders.values_mut().filter(|one| one.process.is_none() && world.clock >= one.back_at) {
            machine.start(&world);
        }
        if boss.is_none() && world.clock >= boss_back_at {
            numbers += 1 << 32;
            boss = Some(Boss::start(&world, &disk, numbers));
        }
        while let Some(entry) = network.first_entry().filter(|entry| entry.key().0 <= world.clock) {
            let letter = entry.remove();
            let is_cut = trouble.partition && (20..90).contains(&world.clock);
            if is_cut && (letter.from == cut || letter.to == cut) {
                continue;
            }
            let fate = world.fate();
            let dies = if let Some(machine) = sites.get_mut(&letter.to) {
                let (words, dies) = machine.hear(&letter, fate);
                if !dies {
                    said.extend(words);
                } else if machine.process.is_some() {
                    (machine.process, machine.back_at) = (None, world.clock + 1 + world.dice.below(40));
                    played.restarts += 1;
                }
                false
            } else if let Some(machine) = adders.get_mut(&letter.to) {
                let alive = machine.process.is_some();
                let (words, dies) = if alive { machine.hear(&letter, &world, fate) } else { (Vec::new(), false) };
                // What it wrote and does not say was closed all the same, and is said when it is asked again.
                if !dies {
                    said.extend(words);
                } else {
                    (machine.process, machine.back_at) = (None, world.clock + 1 + world.dice.below(40));
                    played.restarts += 1;
                }
                false
            } else {
                letter.to == BOSS && {
                    if let Some(boss) = boss.as_mut() {
                        boss.hear(letter);
                    }
                    fate != Fate::Lives
                }
            };
            if dies && boss.take().is_some() {
                boss_back_at = world.clock + 1 + world.dice.below(40);
                played.restarts += 1;
            }
        }
        let fate = world.fate();
        if let Some(own) = boss.as_mut() {
            let goes = own.goes_on(&world, &mut disk, fate);
            let over = own.sum.as_ref().filter(|sum| sum.is_done()).map(MaskedSum::over);
            if let Some(over) = over {
                played.sums.entry((BOSS.to_owned(), own.run.ask().context())).or_default().insert(over.clone());
                played.last = over;
            }
            match goes {
                Err(Stops) => {
                    played.stops += 1;
                    (boss, boss_back_at) = (None, world.clock + 20);
                }
                Ok(()) if fate != Fate::Lives => {
                    (boss, boss_back_at) = (None, world.clock + 1 + world.dice.below(40));
                    played.restarts += 1;
                }
                Ok(()) => said.extend(own.says(&world)),
            }
        }
        for letter in &said {
            if let Word::Part(bytes) = &letter.word {
                let head: serde_json::Value =
                    serde_json::from_slice(bytes.split(|byte| *byte == b'\n').next().unwrap()).unwrap();
                let sites: Vec<String> = serde_json::from_value(head["sites"].clone()).unwrap();
                let context: Digest = serde_json::from_value(head["context"].clone()).unwrap();
                played.sums.entry((letter.from.clone(), context)).or_default().insert(sites.clone());
                played.last = sites;
            }
        }
        for letter in said {
            let copies = 1 + u64::from(world.dice.below(20) == 0);
            for _ in 0..copies {
                if world.dice.below(100) >= trouble.lost {
                    let late = world.dice.below(trouble.delay + 1);
                    network.insert((world.clock + 1 + late, sent), letter.clone());
                    sent += 1;
                }
            }
        }
        world.clock += 1;
    }
    // Whatever sites signed in each step of double masking: one set for a question.
    for machine in sites.values() {
        for left in
            machine.disk.log.entries().iter().filter_map(|entry| entry.left.turned.as_ref().map(|t| (&entry.left, t)))
        {
            if !left.1.over.is_empty() {
                played.sums.entry(("signed".to_owned(), left.0.context)).or_default().insert(left.1.over.clone());
            }
        }
    }
    (played.outcome, played.ticks) = (disk.outcome, world.clock);
    played
}

/// Means of two rounds; rows of a site are 21, 22, 24 or 28, so that a result tells whose rows are in it.
fn simulated(protection: &str, dropouts: Dropouts) -> (Plan, Vec<Data>) {
    let aggregation = match protection {
        "double-masking" => "protection = \"double-masking\"".to_owned(),
        "proven" => format!(
            "protection = \"proven\", aggregators = {ADDERS:?}, proof = {{ rows = 50, ranges = {{ age = [0, 120] }} }}"
        ),
        other => format!("protection = \"{other}\", aggregators = {ADDERS:?}"),
    };
    let mut plan = Plan::from_toml(&format!(
        "schema = \"acequia-plan/1\"\ntitle = \"A test\"\ntask = {{ kind = \"moments\" }}\nprivacy = {{ minimum_rows = 20, minimum_count = 1 }}\n\
         aggregation = {{ {aggregation} }}\nvariables = [{{ name = \"age\" }}]"
    ))
    .unwrap();
    plan.privacy.dropouts = dropouts;
    let table = |(nth, name): (usize, &str)| {
        let rows: String = (0..20 + (1 << nth)).map(|row| format!("{}\n", 30 + 7 * nth + row)).collect();
        Data::from_csv(name, format!("age\n{rows}").as_bytes(), &plan.needs(), &SiteMap::default()).unwrap()
    };
    let tables = SITES.into_iter().enumerate().map(table).collect();
    (plan, tables)
}

fn rows_of(outcome: &Outcome) -> u64 {
    let Outcome::Moments(moments) = outcome else { panic!("{outcome:?}") };
    moments.rows
}

#[test]
fn every_seed_of_a_coordinated_run_gives_one_result_or_none() {
    let (mut given_up, mut ended, mut restarts, mut without) = (0, 0, 0, 0);
    for protection in ["two-aggregators", "proven", "double-masking"] {
        for dropouts in [Dropouts::Wait, Dropouts::LeaveOut] {
            let (plan, tables) = simulated(protection, dropouts);
            let whole = run(&plan, tables.clone(), Architecture::Federated).outcome;
            for (kind, trouble) in TROUBLES.into_iter().enumerate() {
                for seed in 0..seeds() {
                    let seed = seed * 10 + kind as u64;
                    let what = format!("{protection}, {dropouts:?}, seed {seed} of {trouble:?}");
                    let played = play(&plan, &tables, seed, trouble);
                    for sets in played.sums.values() {
                        assert_eq!(sets.len(), 1, "{what}: two sums, whose difference is data");
                        assert!(sets.iter().all(|set| set.len() >= SITES_MIN), "{what}");
                        assert!(dropouts == Dropouts::LeaveOut || sets.iter().all(|set| set.len() == 4), "{what}");
                    }
                    restarts += played.restarts;
                    match &played.outcome {
                        Some(outcome) => {
                            ended += 1;
                            let all = played.sums.values().flatten().all(|set| set.len() == 4);
                            if all {
                                assert_eq!(outcome, &whole, "{what}");
                            } else {
                                without += 1;
                                let of =
                                    |site: &String| tables.iter().find(|table| table.name() == site).unwrap().rows();
                                let rows: usize = played.last.iter().map(of).sum();
                                assert_eq!(
                                    rows_of(outcome),
                                    rows as u64,
                                    "{what}: rows of those who are in the last sum"
                                );
                            }
                        }
                        None => {
                            // Only where something is gone for good, or sites were left out till too few were left.
                            given_up += 1;
                            assert!(trouble.crash || dropouts == Dropouts::LeaveOut || trouble.lost > 0, "{what}");
                        }
                    }
                    assert_eq!(play(&plan, &tables, seed, trouble), played, "{what}: a seed replays");
                }
            }
        }
    }
    println!(
        "{ended} runs ended, {without} of them without a site, {given_up} were given up, {restarts} processes died"
    );
    assert!(given_up * 4 < ended && without > 0 && restarts > seeds(), "{given_up} {without} {restarts}");
}

/// What the list of closed rounds is for: of aggregators that forget theirs when they are started again, some seed shows halves of
/// sums over two sets of sites. It also shows that the simulation would notice.
#[test]
fn aggregators_that_forget_what_they_closed_are_noticed() {
    let (plan, tables) = simulated("two-aggregators", Dropouts::LeaveOut);
    let remembers = Trouble { lost: 30, delay: 8, restart: true, ..QUIET };
    let is_doubled =
        |seed: &u64, trouble| play(&plan, &tables, *seed, trouble).sums.values().any(|sets| sets.len() > 1);
    let seed = (0..5_000).find(|seed| is_doubled(seed, Trouble { forgets: true, ..remembers })).unwrap();
    assert!(!is_doubled(&seed, remembers), "seed {seed}");
}
