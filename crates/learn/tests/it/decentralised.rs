//! Sites without a fixed coordinator under a simulated network: late, lost and doubled messages, sites that stop and come
//! back. A seed decides everything, so every failure can be replayed.

use std::collections::BTreeMap;

use acequia_learn::*;

use crate::support::*;

/// Random numbers of the simulation.
struct Dice(SeededEntropy);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
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
}

/// Far more than any run takes that can end.
const PATIENT_TICKS: u64 = 5_000;

struct Played {
    /// Results of the sites that did not stop; none when the run could not go on safely.
    outcomes: Vec<Outcome>,
    /// For each round, the different sets of sites that were summed.
    sums: BTreeMap<u32, Vec<Vec<String>>>,
    crashed: Option<String>,
    ticks: u64,
}

fn play(plan: &Plan, tables: Vec<Data>, seed: u64, trouble: Trouble) -> Played {
    let roster = Roster::new(tables.iter().map(|table| table.name().to_owned())).unwrap();
    let mut entropy = SeededEntropy::new(seed + 1);
    let mut peers: BTreeMap<String, Peer> = tables
        .into_iter()
        .map(|table| {
            let name = table.name().to_owned();
            let key = ShareKey::drawn(&mut entropy).unwrap();
            let (rules, ledger) = (SiteRules::own(), &mut Ledger::default());
            let site = Site::join(&name, plan, &roster, vec![table], rules, ledger, key).unwrap();
            (name, Peer::new(site, plan, &roster))
        })
        .collect();
    let mut dice = Dice(SeededEntropy::new(seed));
    let mut network: BTreeMap<(u64, u64), Envelope> = BTreeMap::new();
    let (mut clock, mut sent) = (0, 0);
    let names: Vec<String> = peers.keys().cloned().collect();
    let victim = names[usize::try_from(dice.below(names.len() as u64)).unwrap()].clone();
    let crash_at = 1 + dice.below(60);
    let cut = names[usize::try_from(dice.below(names.len() as u64)).unwrap()].clone();
    let mut sums: BTreeMap<u32, Vec<Vec<String>>> = BTreeMap::new();
    let mut crashed = None;
    loop {
        if clock >= PATIENT_TICKS && crashed.is_some() {
            return Played { outcomes: Vec::new(), sums, crashed, ticks: clock };
        }
        assert!(
            clock < PATIENT_TICKS,
            "seed {seed}: no end; rounds {:?}",
            peers.values().map(Peer::round).collect::<Vec<_>>()
        );
        if trouble.crash && clock == crash_at && peers[&victim].outcome().is_none() {
            peers.remove(&victim);
            crashed = Some(victim.clone());
        }
        let mut new = Vec::new();
        while let Some(entry) = network.first_entry().filter(|entry| entry.key().0 <= clock) {
            let envelope = entry.remove();
            let is_cut = trouble.partition && (20..70).contains(&clock) && (envelope.from == cut || envelope.to == cut);
            if is_cut && envelope.from != envelope.to {
                continue;
            }
            if let PeerMessage::Total(total) = &envelope.body {
                let sets = sums.entry(total.round).or_default();
                if !sets.contains(&total.sites) {
                    sets.push(total.sites.clone());
                }
            }
            if let Some(peer) = peers.get_mut(&envelope.to) {
                new.extend(peer.receive(envelope, now()).unwrap());
            }
        }
        if peers.values().all(|peer| peer.outcome().is_some()) {
            let outcomes = peers.values().map(|peer| peer.outcome().unwrap().clone()).collect();
            return Played { outcomes, sums, crashed, ticks: clock };
        }
        for peer in peers.values_mut() {
            new.extend(peer.tick(now()).unwrap());
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

#[test]
fn every_seed_ends_with_one_result_whatever_is_lost_late_or_stops() {
    let quiet = Trouble { lost: 0, delay: 1, crash: false, partition: false };
    let troubles = [
        quiet,
        Trouble { lost: 10, delay: 3, ..quiet },
        Trouble { lost: 5, delay: 6, partition: true, ..quiet },
        Trouble { lost: 5, delay: 3, crash: true, ..quiet },
    ];
    let seeds = std::env::var("ACEQUIA_SIMULATIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(8);
    let (mut crashes, mut stopped, mut ticks) = (0, 0, 0);
    for protection in ["none", "two-aggregators"] {
        let plan = plan(
            "{ kind = \"logistic\" }",
            "{ kind = \"binary\", value = { name = \"death\" } }",
            "[[variables]]\nname = \"age\"\n",
            protection,
        );
        let tables = four_sites(&plan);
        let whole = run(&plan, tables.clone(), Architecture::Federated).outcome;
        for (kind, trouble) in troubles.into_iter().enumerate() {
            for seed in 0..seeds {
                let seed = seed * 10 + kind as u64;
                let played = play(&plan, tables.clone(), seed, trouble);
                crashes += u64::from(played.crashed.is_some());
                ticks += played.ticks;
                if played.outcomes.is_empty() {
                    // Who added up died between agreement and sum: safe, but to be started again.
                    stopped += 1;
                    assert!(played.sums.values().all(|sets| sets.len() == 1), "{protection}, seed {seed}");
                    continue;
                }
                assert!(
                    played.outcomes.windows(2).all(|pair| pair[0] == pair[1]),
                    "{protection}, seed {seed}: two results"
                );
                for (round, sets) in &played.sums {
                    assert_eq!(
                        sets.len(),
                        1,
                        "{protection}, seed {seed}, round {round}: two sums, whose difference is data"
                    );
                }
                if played.sums.values().all(|sets| sets[0].len() == 4) {
                    assert_eq!(played.outcomes[0], whole, "{protection}, seed {seed}");
                }
                let again = play(&plan, tables.clone(), seed, trouble);
                assert_eq!((again.ticks, &again.outcomes), (played.ticks, &played.outcomes), "a seed replays");
            }
        }
    }
    println!("{} crashes survived, {stopped} runs stopped, {ticks} ticks", crashes - stopped);
    // Of 26 sites that died for good under these conditions, 10 stopped their run: safe, and a limit that the manual states.
    assert!(stopped * 2 <= crashes, "{stopped} of {crashes}");
}
