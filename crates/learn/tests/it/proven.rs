//! Shares that come with proofs: the same results, and no sum over what is out of range.

use acequia_learn::*;
use proptest::prelude::*;

use crate::support::*;

const COUNT: &str = "{ kind = \"count\" }";
const MOMENTS: &str = "{ kind = \"moments\" }";
const HISTOGRAM: &str = "{ kind = \"histogram\", edges = [0, 1, 4, 10, 40, 10000] }";
const VARIABLES: &str =
    "[[variables]]\nname = \"age\"\n[[variables]]\nname = \"nodes\"\n[[variables]]\nname = \"meno\"\n";
const RANGES: &str = ", ranges = { age = [18, 110], nodes = [0, 60], meno = [0, 1] }";

fn proven_text(task: &str, outcome: &str, variables: &str, ranges: &str) -> String {
    let outcome = if outcome.is_empty() { String::new() } else { format!("outcome = {outcome}") };
    format!(
        "schema = \"acequia-plan/1\"\ntitle = \"A test\"\ntask = {task}\n{outcome}\nprivacy = {{ minimum_rows = 20, minimum_count = 1 }}\n\
         aggregation = {{ protection = \"proven\", aggregators = [\"university\", \"patients\"], proof = {{ rows = 2000{ranges} }} }}\n{variables}"
    )
}

fn proven(task: &str, outcome: &str, variables: &str, ranges: &str) -> Plan {
    Plan::from_toml(&proven_text(task, outcome, variables, ranges)).unwrap()
}

/// Numbers that a result shows.
fn shown(outcome: &Outcome) -> Vec<f64> {
    match outcome {
        Outcome::Count(count) => [count.rows, count.events].into_iter().flatten().map(|n| n as f64).collect(),
        Outcome::Moments(moments) => moments.variables.iter().flat_map(|(_, mean, sd)| [*mean, *sd]).collect(),
        Outcome::Histogram(histogram) => {
            histogram.variables.iter().flat_map(|(_, counts)| counts).map(|n| n.unwrap() as f64).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_proven_is_what_is_summed_without() {
    for (task, outcome, variables, ranges) in
        [(COUNT, RFS, "", ""), (HISTOGRAM, "", VARIABLES, ""), (MOMENTS, "", VARIABLES, RANGES)]
    {
        let open = plan(task, outcome, variables, "none");
        let plain = run(&open, four_sites(&open), Architecture::Federated);
        let plan = proven(task, outcome, variables, ranges);
        let report = run(&plan, four_sites(&plan), Architecture::Federated);
        assert_eq!(report.rounds, plain.rounds);
        if task == MOMENTS {
            all_close(&shown(&report.outcome), &shown(&plain.outcome), 1e-6);
        } else {
            assert_eq!(report.outcome, plain.outcome, "counts are exact");
        }
        // Donors as one more site, who are asked before every answer.
        let asked: StillAllowed = std::sync::Arc::new(|_| true);
        let (rules, mut entropy) = (SiteRules::own(), SeededEntropy::new(3));
        let donors = Some(("site1", &asked));
        let hybrid =
            run_while_allowed(&plan, four_sites(&plan), Architecture::Federated, &rules, donors, now(), &mut entropy);
        assert_eq!(hybrid.unwrap().outcome, report.outcome);
        // Whoever holds all rows has nobody to prove anything to.
        assert_eq!(run(&plan, four_sites(&plan), Architecture::Centralised).outcome, plain.outcome);
        let among = run_here(&plan, four_sites(&plan), Architecture::Decentralised, &rules, now(), &mut entropy);
        assert!(matches!(among, Err(LearnError::Plan { .. })), "sites among themselves prove nothing");
        let words = &report.logs[0].1.entries()[0].left.words;
        assert!(words.contains("with a proof that each number is within what the plan states"), "{words}");
    }
}

#[test]
fn a_plan_says_what_is_to_be_proven() {
    let good = proven_text(MOMENTS, "", VARIABLES, RANGES);
    for (from, to) in [
        ("age = [18, 110], ", ""),
        ("age = [18, 110]", "age = [110, 18]"),
        ("age = [18, 110]", "size = [0, 1], age = [18, 110]"),
        ("rows = 2000", "rows = 19"),
        ("rows = 2000", "rows = 2000000000"),
        ("[\"university\", \"patients\"]", "[\"university\", \"university\"]"),
        ("\"proven\"", "\"two-aggregators\""),
        ("\"proven\"", "\"none\""),
        ("kind = \"moments\"", "kind = \"count\""),
        ("kind = \"moments\"", "kind = \"pca\", components = 1"),
    ] {
        assert!(good.contains(from));
        let error = Plan::from_toml(&good.replace(from, to)).unwrap_err();
        assert!(matches!(error, LearnError::Plan { .. }), "{to}: {error}");
    }
    let without = "schema = \"acequia-plan/1\"\ntitle = \"A\"\ntask = { kind = \"count\" }\nprivacy = { minimum_rows = 20 }\naggregation = { protection = \"proven\", aggregators = [\"a\", \"b\"] }\n";
    assert!(Plan::from_toml(without).is_err());
    let edges: Vec<String> = (0..30_000).map(|edge| edge.to_string()).collect();
    let endless =
        proven_text(&format!("{{ kind = \"histogram\", edges = [{}] }}", edges.join(", ")), "", VARIABLES, "");
    assert!(Plan::from_toml(&endless).unwrap_err().to_string().contains("more than can be proven"));
    // It is part of what the run is named by, and other plans are named as before.
    let other = Plan::from_toml(&good.replace("rows = 2000", "rows = 2001")).unwrap();
    assert_ne!(other.digest(), Plan::from_toml(&good).unwrap().digest());
    assert!(!plan(COUNT, RFS, "", "none").to_json().contains("proof"));
}

#[test]
fn a_site_answers_nothing_with_rows_outside_what_the_plan_states() {
    for (ranges, rows) in [(", ranges = { age = [18, 60], nodes = [0, 60], meno = [0, 1] }", 2000), (RANGES, 100)] {
        let text = proven_text(MOMENTS, "", VARIABLES, ranges).replace("rows = 2000", &format!("rows = {rows}"));
        let plan = Plan::from_toml(&text).unwrap();
        let ended = run_here(
            &plan,
            four_sites(&plan),
            Architecture::Federated,
            &SiteRules::own(),
            now(),
            &mut SeededEntropy::new(7),
        );
        assert!(matches!(ended, Err(LearnError::Estimate { .. })), "{ended:?}");
    }
}

/// One round by hand: whoever is between a site and an aggregator may change what is sent.
struct Round {
    plan: Plan,
    roster: Roster,
    aggregators: [Aggregator; 2],
}

/// Who sends it, to the first (0) or the second (1) aggregator, and what.
type Change<'c> = &'c mut dyn FnMut(&str, usize, Payload) -> Payload;

impl Round {
    fn new(plan: &Plan, keys: [u64; 2]) -> Self {
        let roster = Roster::new((0..4).map(|at| format!("site{at}"))).unwrap();
        let aggregators = [0, 1].map(|own| {
            let mut aggregator = Aggregator::new(plan, &roster);
            aggregator.verifies(own, VerifyKey::drawn(&mut SeededEntropy::new(keys[own])).unwrap());
            aggregator
        });
        Self { plan: plan.clone(), roster, aggregators }
    }

    /// Shares of all sites, changed; and what the two find of their proofs.
    fn play(&mut self, change: Change<'_>) -> [Vec<String>; 2] {
        self.send(change);
        let all = self.roster.sites().to_vec();
        let [one, other] = &mut self.aggregators;
        let (by_one, by_other) = (one.verify(&all).unwrap(), other.verify(&all).unwrap());
        // What one tells the other crosses a network.
        let read = |said: &Verification| Verification::from_bytes("the other", &said.to_bytes()).unwrap();
        [one.settle(&read(&by_other)).unwrap(), other.settle(&read(&by_one)).unwrap()]
    }

    fn send(&mut self, change: Change<'_>) {
        let ask = Run::new(&self.plan, &self.roster).ask();
        self.aggregators.iter_mut().for_each(|aggregator| aggregator.open(&ask).unwrap());
        for table in four_sites(&self.plan) {
            let name = table.name().to_owned();
            let key = ShareKey::from([table.rows() as u8; 32]);
            let (rules, mut ledger) = (SiteRules::own(), Ledger::default());
            let mut site = Site::join(&name, &self.plan, &self.roster, vec![table], rules, &mut ledger, key).unwrap();
            for update in site.answer(&ask, now()).unwrap() {
                let to = usize::from(update.to() == "patients");
                let mut message = Message::from_bytes(&name, update.bytes(), &self.plan, &ask).unwrap();
                message.payload = change(&name, to, message.payload);
                self.aggregators[to].receive(&name, &message.to_bytes()).unwrap();
            }
        }
    }

    fn sum(&mut self, over: &[&str]) -> Result<Progress, LearnError> {
        let over: Vec<String> = over.iter().map(|site| (*site).to_owned()).collect();
        let (one, other) = (self.aggregators[0].close(&over)?, self.aggregators[1].close(&over)?);
        let ask = Run::new(&self.plan, &self.roster).ask();
        let read = |part: &PartTotal| PartTotal::from_bytes("one", &part.to_bytes(), &self.plan, &ask).unwrap();
        Run::new(&self.plan, &self.roster).close_masked(&read(&one), &read(&other))
    }
}

/// Adds to the first number of the first aggregator's share, which stands behind the two seeds of the public share (VDAF, 7.2.6.1).
fn add(share: &mut [u8], much: u128) {
    // Field128 of the VDAF: 2^66 * 4611686018427387897 + 1.
    const P: u128 = 340_282_366_920_938_462_946_865_773_367_900_766_209;
    let at = 64..80;
    let before = u128::from_le_bytes(share[at.clone()].try_into().unwrap());
    let after = if before >= P - much { before - (P - much) } else { before + much };
    share[at].copy_from_slice(&after.to_le_bytes());
}

const MUCH: u128 = 1_000_000_000;

/// A site that counts a thousand million patients. Between two aggregators without proofs it is believed; with them both refuse its
/// share, and the sum is that of the others.
#[test]
fn a_thousand_million_in_a_count_are_refused_by_both() {
    let masked = plan(COUNT, RFS, "", "two-aggregators");
    let (roster, mut aggregators) = {
        let roster = Roster::new((0..4).map(|at| format!("site{at}"))).unwrap();
        let two = [Aggregator::new(&masked, &roster), Aggregator::new(&masked, &roster)];
        (roster, two)
    };
    let mut believed = Run::new(&masked, &roster);
    let ask = believed.ask();
    aggregators.iter_mut().for_each(|aggregator| aggregator.open(&ask).unwrap());
    for table in four_sites(&masked) {
        let name = table.name().to_owned();
        let (rules, mut ledger) = (SiteRules::own(), Ledger::default());
        let mut site = Site::join(&name, &masked, &roster, vec![table], rules, &mut ledger, [5; 32].into()).unwrap();
        for update in site.answer(&ask, now()).unwrap() {
            let to = usize::from(update.to() == "patients");
            let message = Message::from_bytes(&name, update.bytes(), &masked, &ask).unwrap();
            let mut bytes = message.to_bytes();
            if let Payload::Masked(numbers) = &message.payload
                && name == "site2"
            {
                let start = bytes.len() - numbers.bytes().len();
                let (numbers, _) = bytes[start..].as_chunks_mut();
                numbers[0] =
                    u64::from_le_bytes(numbers[0]).wrapping_add(u64::try_from(MUCH).unwrap() << 32).to_le_bytes();
            }
            aggregators[to].receive(&name, &bytes).unwrap();
        }
    }
    let all = roster.sites().to_vec();
    let halves = [aggregators[0].close(&all).unwrap(), aggregators[1].close(&all).unwrap()];
    let Progress::Done(outcome) = believed.close_masked(&halves[0], &halves[1]).unwrap() else { panic!() };
    let Outcome::Count(count) = *outcome else { panic!() };
    assert_eq!(count.rows, Some(2982 + 1_000_000_000), "nobody noticed");

    let plan = proven(COUNT, RFS, "", "");
    let mut round = Round::new(&plan, [1, 1]);
    let refused = round.play(&mut |site, to, payload| match payload {
        Payload::Proven(mut share) if site == "site2" && to == 0 => {
            add(&mut share, MUCH);
            Payload::Proven(share)
        }
        payload => payload,
    });
    assert_eq!(refused, [["site2"], ["site2"]], "by both");
    let all = ["site0", "site1", "site2", "site3"];
    assert!(matches!(round.sum(&all), Err(LearnError::Protocol { .. })), "no sum is over it");
    let Progress::Done(outcome) = round.sum(&["site0", "site1", "site3"]).unwrap() else { panic!() };
    let Outcome::Count(count) = *outcome else { panic!() };
    let others: u64 =
        four_sites(&plan).iter().filter(|site| site.name() != "site2").map(|site| site.rows() as u64).sum();
    assert_eq!(count.rows, Some(others), "that of the others");
}

#[test]
fn honest_shares_are_proven_and_all_others_are_not() {
    let plan = proven(MOMENTS, "", VARIABLES, RANGES);
    assert_eq!(Round::new(&plan, [1, 1]).play(&mut |_, _, payload| payload), [[""; 0]; 2], "all hold");
    // Aggregators with two keys, as when one of them lies about it: nothing holds.
    assert_eq!(Round::new(&plan, [1, 2]).play(&mut |_, _, payload| payload)[0].len(), 4);

    let only = |at: usize, how: fn(&mut Vec<u8>)| {
        move |site: &str, to: usize, payload: Payload| match payload {
            Payload::Proven(mut share) if site == "site1" && to == at => {
                how(&mut share);
                Payload::Proven(share)
            }
            payload => payload,
        }
    };
    let flip: fn(&mut Vec<u8>) = |share| {
        let last = share.len() - 1;
        share[last] ^= 1;
    };
    /// At which aggregator, and how.
    type Damage = (usize, fn(&mut Vec<u8>));
    let changes: [Damage; 6] = [
        // One more, which would be no harm in a range: the proof is of another number.
        (0, |share| add(share, 1)),
        (0, |share| share.truncate(share.len() - 16)),
        (0, |share| share.push(0)),
        (0, flip),
        (1, flip),
        (1, Vec::clear),
    ];
    for (at, how) in changes {
        let mut round = Round::new(&plan, [1, 1]);
        let refused = round.play(&mut only(at, how));
        assert_eq!(refused, [["site1"], ["site1"]]);
        assert!(round.sum(&["site0", "site2", "site3"]).is_ok());
    }
    // What another site proved is not this one's, nor what was proven for another plan.
    let mut kept: [Option<Payload>; 2] = [None, None];
    let mut round = Round::new(&plan, [1, 1]);
    let refused = round.play(&mut |site, to, payload| {
        if site == "site0" {
            kept[to] = Some(payload.clone());
        }
        if site == "site3" { kept[to].clone().unwrap() } else { payload }
    });
    assert_eq!(refused, [["site3"], ["site3"]]);
    let mut of_other = plan.clone();
    of_other.title = "Another".to_owned();
    let mut earlier = std::collections::BTreeMap::new();
    Round::new(&of_other, [1, 1]).play(&mut |site, to, payload| {
        earlier.insert((site.to_owned(), to), payload.clone());
        payload
    });
    let mut round = Round::new(&plan, [1, 1]);
    let refused = round.play(&mut |site, to, _| earlier[&(site.to_owned(), to)].clone());
    assert_eq!(refused[0].len(), 4, "bound to plan, roster, round and question");
    assert_eq!(refused[0], refused[1]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// What the first aggregator's share is changed to behind the public part, or what either is told of proofs: it is refused, and
    /// nothing breaks.
    #[test]
    fn whatever_bytes_come_no_sum_is_over_them(at in 64usize..4_000, bits in 1u8.., other in prop::collection::vec(any::<u8>(), 0..200)) {
        let plan = proven(COUNT, RFS, "", "");
        let refused = Round::new(&plan, [1, 1]).play(&mut |site, to, payload| match payload {
            Payload::Proven(mut share) if site == "site1" && to == 0 => {
                let at = 64 + (at - 64) % (share.len() - 64);
                share[at] ^= bits;
                Payload::Proven(share)
            }
            Payload::Proven(_) if site == "site2" => Payload::Proven(other.clone()),
            payload => payload,
        });
        prop_assert_eq!(&refused[0], &["site1", "site2"]);
        prop_assert_eq!(&refused[0], &refused[1]);
        if let Ok(word) = Verification::from_bytes("somebody", &other) {
            let _ = Round::new(&plan, [1, 1]).aggregators[0].settle(&word);
        }
    }
}

#[test]
fn no_proof_is_decided_by_a_word_about_another_round_and_none_is_summed_without() {
    let plan = proven(COUNT, RFS, "", "");
    let mut round = Round::new(&plan, [1, 1]);
    let ask = Run::new(&plan, &round.roster).ask();
    round.aggregators[0].open(&ask).unwrap();
    let two = vec!["site0".to_owned(), "site1".to_owned()];
    assert!(round.aggregators[0].verify(&two).is_err(), "no share is here");
    let masked =
        Message { site: "site0".to_owned(), round: 1, context: ask.context(), payload: Payload::Seed([0; 32]) };
    assert!(round.aggregators[0].receive("site0", &masked.to_bytes()).is_err(), "a share without a proof");
    round.play(&mut |_, _, payload| payload);
    let mut elsewhere = Round::new(&proven(HISTOGRAM, "", VARIABLES, ""), [1, 1]);
    elsewhere.play(&mut |_, _, payload| payload);
    let word = elsewhere.aggregators[1].verify(&[]).unwrap();
    assert!(round.aggregators[0].settle(&word).is_err());
    // A coordinator that lets one aggregator look at nothing makes no honest site a liar.
    let mut lied_to = Round::new(&plan, [1, 1]);
    lied_to.send(&mut |_, _, payload| payload);
    let [one, other] = &mut lied_to.aggregators;
    let all = lied_to.roster.sites().to_vec();
    let (nothing, by_other) = (one.verify(&[]).unwrap(), other.verify(&all).unwrap());
    assert!(other.settle(&nothing).is_err());
    let by_one = one.verify(&all).unwrap();
    assert!(one.settle(&by_other).unwrap().is_empty() && other.settle(&by_one).unwrap().is_empty());
    // Shares that nobody looked at are not added up.
    let mut hasty = Round::new(&plan, [1, 1]);
    hasty.aggregators[0].open(&ask).unwrap();
    assert!(hasty.sum(&["site0", "site1"]).is_err());
}

#[test]
fn a_site_that_was_started_again_sends_the_same_shares() {
    let plan = proven(COUNT, RFS, "", "");
    let roster = Roster::new((0..4).map(|at| format!("site{at}"))).unwrap();
    let ask = Run::new(&plan, &roster).ask();
    let table = four_sites(&plan).remove(0);
    let join = |table: &Data| {
        let (rules, mut ledger) = (SiteRules::own(), Ledger::default());
        Site::join("site0", &plan, &roster, vec![table.clone()], rules, &mut ledger, [1; 32].into()).unwrap()
    };
    let mut site = join(&table);
    let before = site.answer(&ask, now()).unwrap();
    let (log, drawn) = (site.log().clone(), site.drawn().unwrap());
    let mut again = join(&table).resumed(log.clone()).having_drawn(&drawn);
    assert_eq!(again.answer(&ask, now()).unwrap(), before);
    // Without them it would send others, which do not fit: it says nothing.
    let mut forgot = join(&table).resumed(log.clone());
    assert!(matches!(forgot.answer(&ask, now()), Err(LearnError::Withheld { .. })));
    // They are of these rows only.
    let mut other = join(&four_sites(&plan).remove(1)).resumed(log).having_drawn(&drawn);
    assert!(matches!(other.answer(&ask, now()), Err(LearnError::Withheld { .. })));
}

#[test]
fn only_the_two_aggregators_of_a_run_have_its_key() {
    let (run, roster) = (acequia_types::Digest::of(b"plan"), acequia_types::Digest::of(b"roster"));
    let half = |key: u8, run: &acequia_types::Digest| VerifyHalf::of(&ShareKey::from([key; 32]), run, &roster);
    let [one, other] = [half(1, &run), half(2, &run)];
    assert_eq!(half(1, &run).public(), one.public(), "after a restart too");
    assert_ne!(half(1, &roster).public(), one.public(), "of another run another");
    assert!(one.with(&[0; 32]).is_none(), "a half that gives everybody the same key");
    // The same key: what one looked at, the other decides about.
    let plan = proven(COUNT, RFS, "", "");
    let agreed = [one.with(&other.public()).unwrap(), other.with(&one.public()).unwrap()];
    let mut round = Round::new(&plan, [1, 2]);
    for (own, key) in agreed.into_iter().enumerate() {
        round.aggregators[own].verifies(own, key);
    }
    assert_eq!(round.play(&mut |_, _, payload| payload), [[""; 0]; 2]);
}
