//! Sites without a fixed coordinator under a simulated network: late, lost and doubled messages, sites that stop and come
//! back. A seed decides everything, so every failure can be replayed.

use std::collections::{BTreeMap, BTreeSet};

use acequia_learn::*;
use bytes::Bytes;

use crate::support::*;

/// Random numbers of the simulation.
pub(crate) struct Dice(pub(crate) SeededEntropy);

impl Dice {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes).unwrap();
        u64::from_le_bytes(bytes) % bound
    }
}

/// What goes wrong.
#[derive(Clone, Copy)]
struct Trouble {
    /// Messages lost, of a hundred.
    lost: u64,
    /// Longest delay, in ticks.
    delay: u64,
    /// Whether a site stops for good at some time.
    crash: bool,
    /// Whether a site is cut off for a while.
    partition: bool,
    /// Whether processes die at any place, and come back with what is on disk.
    restart: bool,
    /// Whether they come back without their promises; to see that this is noticed.
    forgets: bool,
}

/// Far more than any run takes that can end.
const PATIENT_TICKS: u64 = 5_000;
/// After this many ticks no process dies any more.
const CALM: u64 = 1_500;

struct Played {
    /// Results of the sites that did not stop; none when the run could not go on safely.
    outcomes: Vec<Outcome>,
    /// For each round, the different sets of sites of which a sum, or half of one, was shown.
    sums: BTreeMap<u32, BTreeSet<Vec<String>>>,
    crashed: Option<String>,
    restarts: u64,
    ticks: u64,
}

/// What a site has on disk.
#[derive(Default)]
struct Disk {
    log: ExitLog,
    totals: BTreeMap<u32, RoundTotal>,
    standing: Option<Standing>,
    promise: Option<Promise>,
    outcome: Option<Outcome>,
}

impl Disk {
    /// Writes in this order, as far as the process lives.
    fn write(&mut self, peer: &Peer, steps: u64) {
        let is_new = self.standing.as_ref().is_none_or(|standing| standing.round != peer.round());
        if steps > 0 {
            self.log = peer.log().clone();
        }
        if let Some(total) = peer.latest().filter(|_| steps > 1) {
            self.totals.entry(total.round).or_insert_with(|| total.clone());
        }
        if steps > 2 && is_new {
            self.standing = Some(peer.standing());
        }
        if steps > 3 {
            self.promise = Some(peer.promise().clone());
        }
        if steps > 4 {
            self.outcome = peer.outcome().cloned();
        }
    }
}

/// All steps of [`Disk::write`].
const WHOLE: u64 = 5;

/// A site: its rows, its disk, and its process if it lives.
struct Machine {
    table: Data,
    key: [u8; 32],
    disk: Disk,
    process: Option<Peer>,
    /// When it is started again.
    back_at: u64,
}

impl Machine {
    fn start(&mut self, plan: &Plan, roster: &Roster, forgets: bool) {
        let (name, table) = (self.table.name().to_owned(), vec![self.table.clone()]);
        let site =
            Site::join(&name, plan, roster, table, SiteRules::own(), &mut Ledger::default(), self.key.into()).unwrap();
        let latest = self.disk.totals.values().next_back().cloned();
        let promise = self.disk.promise.clone().filter(|_| !forgets);
        let peer = Peer::new(site.resumed(self.disk.log.clone()), plan, roster);
        self.process = Some(peer.resumed(self.disk.standing.clone(), latest, promise));
    }

    /// What it says to somebody who is more than a round behind, or once it has the result: sums are on disk.
    fn helps(&self, envelope: &Envelope<Bytes>) -> Option<Envelope> {
        let is_behind = matches!(envelope.body, PeerMessage::Here | PeerMessage::Share { .. });
        let total = self.disk.totals.get(&envelope.round).filter(|_| is_behind)?.clone();
        let (from, to) = (envelope.to.clone(), envelope.from.clone());
        let Envelope { round, attempt, .. } = *envelope;
        Some(Envelope { from, to, round, attempt, body: PeerMessage::Total(total) })
    }
}

fn play(plan: &Plan, tables: Vec<Data>, seed: u64, trouble: Trouble) -> Played {
    let roster = Roster::new(tables.iter().map(|table| table.name().to_owned())).unwrap();
    let mut entropy = SeededEntropy::new(seed + 1);
    let mut machines: BTreeMap<String, Machine> = tables
        .into_iter()
        .map(|table| {
            let mut key = [0; 32];
            entropy.fill(&mut key).unwrap();
            let mut machine = Machine { table, key, disk: Disk::default(), process: None, back_at: 0 };
            machine.start(plan, &roster, false);
            (machine.table.name().to_owned(), machine)
        })
        .collect();
    let mut dice = Dice(SeededEntropy::new(seed));
    let mut network: BTreeMap<(u64, u64), Envelope> = BTreeMap::new();
    let (mut clock, mut sent, mut restarts) = (0, 0, 0);
    let names: Vec<String> = machines.keys().cloned().collect();
    let victim = names[usize::try_from(dice.below(names.len() as u64)).unwrap()].clone();
    let crash_at = 1 + dice.below(60);
    let cut = names[usize::try_from(dice.below(names.len() as u64)).unwrap()].clone();
    let mut sums: BTreeMap<u32, BTreeSet<Vec<String>>> = BTreeMap::new();
    let mut crashed = None;
    loop {
        if clock >= PATIENT_TICKS && crashed.is_some() {
            return Played { outcomes: Vec::new(), sums, crashed, restarts, ticks: clock };
        }
        assert!(
            clock < PATIENT_TICKS,
            "seed {seed}: no end; rounds {:?}",
            machines.values().map(|machine| machine.process.as_ref().map(Peer::round)).collect::<Vec<_>>()
        );
        if trouble.crash && clock == crash_at && machines[&victim].disk.outcome.is_none() {
            machines.remove(&victim);
            crashed = Some(victim.clone());
        }
        let mut new = Vec::new();
        // What happens at each site, in order: messages, then time.
        let mut events: Vec<(String, Option<Envelope>)> = Vec::new();
        while let Some(entry) = network.first_entry().filter(|entry| entry.key().0 <= clock) {
            let envelope = entry.remove();
            let is_cut = trouble.partition && (20..70).contains(&clock) && (envelope.from == cut || envelope.to == cut);
            if !is_cut || envelope.from == envelope.to {
                events.push((envelope.to.clone(), Some(envelope)));
            }
        }
        events.extend(machines.keys().map(|name| (name.clone(), None)));
        for (name, envelope) in events {
            let Some(machine) = machines.get_mut(&name) else { continue };
            if machine.process.is_none() && clock >= machine.back_at {
                machine.start(plan, &roster, trouble.forgets);
            }
            let Some(peer) = machine.process.as_mut() else { continue };
            if machine.disk.outcome.is_some()
                || envelope.as_ref().is_some_and(|envelope| envelope.round + 1 < peer.round())
            {
                new.extend(envelope.and_then(|envelope| machine.helps(&envelope.arrived())));
                continue;
            }
            let said = match envelope {
                Some(envelope) => peer.receive(envelope.arrived(), now()).unwrap(),
                None => [peer.tick(now()).unwrap(), peer.shares(now()).unwrap()].concat(),
            };
            // It dies before, while or after it writes, and while it sends.
            let dies = trouble.restart && clock < CALM && dice.below(150) == 0;
            let steps = if dies { dice.below(WHOLE + 2) } else { WHOLE };
            machine.disk.write(peer, steps);
            let some = usize::try_from(dice.below(said.len() as u64 + 1)).unwrap();
            let left = if steps < WHOLE {
                0
            } else if dies {
                some
            } else {
                said.len()
            };
            new.extend(said.into_iter().take(left));
            if dies {
                machine.process = None;
                machine.back_at = clock + 1 + dice.below(60);
                restarts += 1;
            }
        }
        for envelope in &new {
            match &envelope.body {
                PeerMessage::Total(total) => drop(sums.entry(total.round).or_default().insert(total.sites.clone())),
                PeerMessage::Part(part) => drop(sums.entry(part.round).or_default().insert(part.sites.clone())),
                _ => {}
            }
        }
        if machines.values().all(|machine| machine.disk.outcome.is_some()) {
            let outcomes = machines.into_values().map(|machine| machine.disk.outcome.unwrap()).collect();
            return Played { outcomes, sums, crashed, restarts, ticks: clock };
        }
        for envelope in new {
            let is_own = envelope.from == envelope.to;
            let copies = if is_own { 1 } else { 1 + u64::from(dice.below(20) == 0) };
            for _ in 0..copies {
                if is_own || dice.below(100) >= trouble.lost {
                    let late = if is_own { 0 } else { dice.below(trouble.delay + 1) };
                    network.insert((clock + 1 + late, sent), envelope.clone());
                    sent += 1;
                }
            }
        }
        clock += 1;
    }
}

fn cox(protection: &str) -> Plan {
    plan("{ kind = \"cox\", time_grid = { days = 30.4375 }, newton = { tolerance = 1e-6 } }", RFS, MODEL_B, protection)
}

#[test]
fn without_a_coordinator_the_model_is_the_federated_one() {
    for protection in ["none", "two-aggregators"] {
        let plan = cox(protection);
        let federated = run(&plan, four_sites(&plan), Architecture::Federated);
        let decentralised = run(&plan, four_sites(&plan), Architecture::Decentralised);
        assert_eq!(decentralised.outcome, federated.outcome, "{protection}");
        assert_eq!(decentralised.rounds, federated.rounds);
    }
}

/// Averaged weights depend on the settings, but on nothing else: neither on who adds up, nor on whether a site was started again
/// between two rounds, since sites keep nothing from one to the next.
#[test]
fn averaging_depends_on_the_plan_and_the_rows_only() {
    let strategies = [
        "{ kind = \"fed-avg\" }",
        "{ kind = \"fed-prox\", mu = 0.1 }",
        "{ kind = \"scaffold\", server_rate = 0.5 }",
        "{ kind = \"fed-adam\", server_rate = 0.1 }",
        "{ kind = \"fed-yogi\", server_rate = 0.1 }",
        "{ kind = \"fed-adagrad\", server_rate = 0.1 }",
    ];
    for strategy in strategies {
        let of = |protection: &str| {
            plan(
                &format!(
                    "{{ kind = \"averaging\", strategy = {strategy}, rounds = 3, local_steps = 20, batch = 16, rate = 0.1 }}"
                ),
                RFS,
                MODEL_B,
                protection,
            )
        };
        let open = of("none");
        let federated = run(&open, four_sites(&open), Architecture::Federated);
        assert_eq!(federated.rounds, 4, "sums of the variables, and three rounds of steps");
        assert_eq!(run(&open, four_sites(&open), Architecture::Decentralised).outcome, federated.outcome, "{strategy}");
        let masked = of("two-aggregators");
        let (plain, masked) = (model(federated), model(run(&masked, four_sites(&masked), Architecture::Federated)));
        all_close(masked.coefficients(), plain.coefficients(), 1e-6);
        assert!(plain.standard_errors().is_empty() && plain.coefficients().iter().any(|b| b.abs() > 0.01));
        assert_eq!(Model::from_json(&plain.to_json()).unwrap(), plain);

        let tables = four_sites(&open);
        let roster = Roster::new(tables.iter().map(|table| table.name().to_owned())).unwrap();
        let join = |table: &Data| {
            let (rules, key) = (SiteRules::own(), ShareKey::from([1; 32]));
            let (name, tables) = (table.name().to_owned(), vec![table.clone()]);
            Site::join(&name, &open, &roster, tables, rules, &mut Ledger::default(), key).unwrap()
        };
        let (mut sites, mut coordinator): (Vec<Site>, Run) =
            (tables.iter().map(join).collect(), Run::new(&open, &roster));
        let again = loop {
            let ask = coordinator.ask();
            for (site, table) in sites.iter_mut().zip(&tables) {
                let log = site.log().clone();
                *site = join(table).resumed(log);
                let update = site.answer(&ask, now()).unwrap().remove(0);
                coordinator.receive(update.site(), update.bytes()).unwrap();
            }
            if let Progress::Done(outcome) = coordinator.close().unwrap() {
                break outcome;
            }
        };
        assert_eq!(*again, Outcome::Model(Box::new(plain)), "{strategy}");
    }
}

const QUIET: Trouble = Trouble { lost: 0, delay: 1, crash: false, partition: false, restart: false, forgets: false };

/// Three rounds and more of four sites.
fn simulated(protection: &str, dropouts: Dropouts) -> (Plan, Vec<Data>) {
    let mut plan = plan(
        "{ kind = \"logistic\" }",
        "{ kind = \"binary\", value = { name = \"death\" } }",
        "[[variables]]\nname = \"age\"\n",
        protection,
    );
    plan.privacy.dropouts = dropouts;
    let tables = four_sites(&plan);
    (plan, tables)
}

pub(crate) fn seeds() -> u64 {
    std::env::var("ACEQUIA_SIMULATIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(8)
}

#[test]
fn every_seed_ends_with_one_result_whatever_is_lost_late_or_stops() {
    let troubles = [
        QUIET,
        Trouble { lost: 10, delay: 3, ..QUIET },
        Trouble { lost: 5, delay: 6, partition: true, ..QUIET },
        Trouble { lost: 5, delay: 3, restart: true, ..QUIET },
        Trouble { lost: 5, delay: 3, crash: true, ..QUIET },
    ];
    let (mut crashes, mut stopped, mut ticks, mut restarts) = (0, 0, 0, 0);
    for (protection, dropouts) in [
        ("none", Dropouts::LeaveOut),
        ("two-aggregators", Dropouts::LeaveOut),
        ("none", Dropouts::Wait),
        ("two-aggregators", Dropouts::Wait),
    ] {
        let (plan, tables) = simulated(protection, dropouts);
        let whole = run(&plan, tables.clone(), Architecture::Federated).outcome;
        for (kind, trouble) in troubles.into_iter().enumerate() {
            // Who waits for a site that is dead waits for ever.
            if trouble.crash && dropouts == Dropouts::Wait {
                continue;
            }
            for seed in 0..seeds() {
                let seed = seed * 10 + kind as u64;
                let played = play(&plan, tables.clone(), seed, trouble);
                crashes += u64::from(played.crashed.is_some());
                (ticks, restarts) = (ticks + played.ticks, restarts + played.restarts);
                for (round, sets) in &played.sums {
                    assert_eq!(
                        sets.len(),
                        1,
                        "{protection}, seed {seed}, round {round}: two sums, whose difference is data"
                    );
                    assert!(dropouts == Dropouts::LeaveOut || sets.iter().all(|sites| sites.len() == 4));
                }
                if played.outcomes.is_empty() {
                    // Who added up died between agreement and sum: safe, but to be started again.
                    stopped += 1;
                    continue;
                }
                assert!(
                    played.outcomes.windows(2).all(|pair| pair[0] == pair[1]),
                    "{protection}, seed {seed}: two results"
                );
                if played.sums.values().flatten().all(|sites| sites.len() == 4) {
                    assert_eq!(played.outcomes[0], whole, "{protection}, seed {seed}");
                }
                let again = play(&plan, tables.clone(), seed, trouble);
                assert_eq!((again.ticks, &again.outcomes), (played.ticks, &played.outcomes), "a seed replays");
            }
        }
    }
    println!("{} crashes survived, {stopped} runs stopped, {restarts} restarts, {ticks} ticks", crashes - stopped);
    // Of 624 sites that died for good under these conditions, 137 stopped their run: safe, and a limit that the manual states.
    assert!(stopped * 2 <= crashes, "{stopped} of {crashes}");
    assert!(restarts > seeds(), "{restarts}");
}

/// What [`Promise`] is for: among sites that forget theirs when they are started again, some seed adds up one round over two sets.
/// It also shows that the simulation would notice.
#[test]
fn sites_that_forget_what_they_promised_are_noticed() {
    let (plan, tables) = simulated("none", Dropouts::LeaveOut);
    let remembers = Trouble { lost: 20, delay: 8, restart: true, ..QUIET };
    let is_doubled = |seed: &u64, trouble| {
        // A run that contradicts itself may also come to no end.
        let played = std::panic::catch_unwind(|| play(&plan, tables.clone(), *seed, trouble));
        played.is_ok_and(|played| played.sums.values().any(|sets| sets.len() > 1))
    };
    let seed = (0..2_000).find(|seed| is_doubled(seed, Trouble { forgets: true, ..remembers })).unwrap();
    assert!(!is_doubled(&seed, remembers), "seed {seed}");
}
