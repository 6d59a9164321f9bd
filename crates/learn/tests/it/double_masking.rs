//! One coordinator that sees only the sum: whoever drops out, dies or lies.

use std::collections::BTreeMap;
use std::sync::Arc;

use acequia_learn::*;
use acequia_types::{Digest, digest_named};
use proptest::prelude::*;

use crate::support::*;

const NAMES: [&str; 5] = ["east", "north", "port", "south", "west"];
const AGE: &str = "[[variables]]\nname = \"age\"\n";

/// Stands for keys of a roster: a digest that others do not make here.
#[derive(Clone)]
pub(crate) struct Member(pub(crate) String);

impl Vouching for Member {
    fn sign(&self, statement: &Digest) -> String {
        digest_named("signature", [("by", self.0.as_bytes()), ("of", statement.as_bytes().as_slice())]).to_string()
    }
}

impl Signatures for Member {
    fn has_signed(&self, site: &str, statement: &Digest, signature: &str) -> bool {
        Member(site.to_owned()).sign(statement) == signature
    }
}

fn counted() -> Plan {
    let mut plan = plan("{ kind = \"count\" }", "", AGE, "double-masking");
    plan.privacy.dropouts = Dropouts::LeaveOut;
    plan
}

/// Rows of a site: 21, 22, 24, 28, 36, so that a count tells whose rows are in it.
fn rows(nth: usize) -> u64 {
    20 + (1 << nth)
}

fn joined(nth: usize, plan: &Plan, roster: &Roster, rules: SiteRules, log: Option<ExitLog>) -> Site {
    let name = NAMES[nth];
    let csv: String = (0..rows(nth)).map(|id| format!("{name}{id},{}\n", 40 + id)).collect();
    let csv = format!("pid,age\n{csv}");
    let data = Data::from_csv(name, csv.as_bytes(), &plan.needs(), &SiteMap::default()).unwrap();
    let key = ShareKey::from([u8::try_from(nth).unwrap() + 1; 32]);
    let site = Site::join(name, plan, roster, vec![data], rules, &mut Ledger::default(), key).unwrap();
    let site = site.vouching(Arc::new(Member(name.to_owned())));
    match log {
        Some(log) => site.resumed(log),
        None => site,
    }
}

struct Bench {
    plan: Plan,
    roster: Roster,
    run: Run,
    sites: Vec<Site>,
    sum: MaskedSum,
    masked_total: Option<Vec<u8>>,
}

impl Bench {
    fn new(plan: Plan, sites: usize) -> Self {
        let roster = Roster::new(NAMES[..sites].iter().map(|name| (*name).to_owned())).unwrap();
        let run = Run::new(&plan, &roster);
        let sum = MaskedSum::new(&plan, &roster, &run.ask());
        let sites = (0..sites).map(|nth| joined(nth, &plan, &roster, SiteRules::cautious(), None)).collect();
        Self { plan, roster, run, sites, sum, masked_total: None }
    }

    fn coordinator() -> Member {
        Member("coordinator".to_owned())
    }

    fn site(&mut self, name: &str) -> &mut Site {
        self.sites.iter_mut().find(|site| site.name() == name).unwrap()
    }

    /// The question, to sites that are there.
    fn ask(&mut self, is_there: impl Fn(usize) -> bool) {
        let ask = self.run.ask();
        for (nth, site) in self.sites.iter_mut().enumerate().filter(|(nth, _)| is_there(*nth)) {
            let updates = site.answer(&ask, now()).unwrap();
            assert_eq!(updates.len(), 1);
            self.sum.receive(NAMES[nth], updates[0].bytes(), &Self::coordinator()).unwrap();
        }
    }

    /// Ends a step. The coordinator is started again then.
    fn close_step(&mut self) -> Result<(), LearnError> {
        self.sum.close_step()?;
        if let Some(masked) = self.sum.masked_total() {
            self.masked_total = Some(masked.to_vec());
        }
        let (record, total, ask) = (self.sum.to_bytes(), self.masked_total.as_deref(), self.run.ask());
        let read = MaskedSum::from_bytes(&record, total, &self.plan, &self.roster, &ask).unwrap();
        assert_eq!(read, self.sum);
        self.sum = read;
        Ok(())
    }

    /// One more step, with sites that are there.
    fn step(&mut self, is_there: impl Fn(usize) -> bool) -> Result<(), LearnError> {
        self.close_step()?;
        let context = self.run.ask().context();
        for (name, turn) in self.sum.turns() {
            if is_there(NAMES.iter().position(|other| *other == name).unwrap()) {
                let update = self.site(&name).turn(&context, &turn, now())?.unwrap();
                self.sum.receive(&name, update.bytes(), &Self::coordinator())?;
            }
        }
        Ok(())
    }

    fn count(&mut self) -> u64 {
        match self.run.close_summed(&self.sum).unwrap() {
            Progress::Done(outcome) => match *outcome {
                Outcome::Count(counted) => counted.rows.unwrap(),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    fn turn_of(&mut self, name: &str, turn: &Turn) -> Result<Option<SiteUpdate>, LearnError> {
        let context = self.run.ask().context();
        self.site(name).turn(&context, turn, now())
    }
}

#[track_caller]
fn refused<T>(outcome: Result<T, LearnError>, words: &str) {
    match outcome {
        Err(LearnError::Protocol { reason, .. }) => assert!(reason.contains(words), "{reason}"),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was taken"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Sites may go at any step, and coordinator and sites may be started again at any step: the sum is that of the sites whose masked
    /// sums came, or there is none since too few are left. Four of five are needed.
    #[test]
    fn the_sum_is_over_who_is_left(
        gone_at in prop::collection::vec(0usize..12, 5),
        site_again in 0usize..8,
        nth in 0usize..5,
    ) {
        let mut bench = Bench::new(counted(), 5);
        let is_there = |step: usize| { let gone_at = gone_at.clone(); move |nth: usize| gone_at[nth] > step };
        bench.ask(is_there(0));
        for step in 1..=5 {
            if site_again == step && !bench.sites[nth].log().entries().is_empty() {
                let log = ExitLog::from_lines(&bench.sites[nth].log().to_lines()).unwrap();
                let mut again = joined(nth, &bench.plan, &bench.roster, SiteRules::cautious(), Some(log));
                let ask = bench.run.ask();
                if let Some(turn) = bench.sum.turns_of(NAMES[nth]).last() {
                    prop_assert!(again.turn(&ask.context(), turn, now()).unwrap().is_none(), "it needs the question again");
                }
                again.answer(&ask, now()).unwrap();
                for turn in bench.sum.turns_of(NAMES[nth]) {
                    let _ = again.turn(&ask.context(), &turn, now());
                }
                bench.sites[nth] = again;
            }
            let left = gone_at.iter().filter(|gone| **gone >= step).count();
            match bench.step(is_there(step)) {
                Ok(()) => {}
                Err(LearnError::TooFewSites { needed, .. }) => {
                    prop_assert!(needed == 4 && left < 4);
                    return Ok(());
                }
                Err(other) => return Err(TestCaseError::fail(other.to_string())),
            }
        }
        // Masked sums are the third thing that sites send.
        let over: Vec<usize> = (0..5).filter(|nth| gone_at[*nth] > 2).collect();
        prop_assert_eq!(bench.sum.over(), over.iter().map(|nth| NAMES[*nth].to_owned()).collect::<Vec<_>>());
        prop_assert_eq!(bench.count(), over.iter().map(|nth| rows(*nth)).sum::<u64>());
    }
}

/// What the coordinator holds before masks come off says nothing about a site: the same rows under another key look like others.
#[test]
fn one_sites_masked_sums_are_noise() {
    let mut bench = Bench::new(counted(), 4);
    bench.ask(|_| true);
    bench.step(|_| true).unwrap();
    bench.sum.close_step().unwrap();
    let turns = bench.sum.turns();
    let ask = bench.run.ask();
    for (name, turn) in turns {
        let update = bench.turn_of(&name, &turn).unwrap().unwrap();
        let Payload::Masked(masked) = Message::from_bytes(&name, update.bytes(), &bench.plan, &ask).unwrap().payload
        else {
            panic!("not masked")
        };
        // A count is below 2^40 in the ring; a mask is not, but for a chance of one in millions.
        assert!(masked.numbers().all(|number| (1u128 << 40..(1 << 64) - (1 << 40)).contains(&number)), "{masked:?}");
    }
}

#[test]
fn a_coordinator_that_lies_gets_nothing() {
    let mut bench = Bench::new(counted(), 5);
    bench.ask(|_| true);
    bench.sum.close_step().unwrap();
    let Turn::Share(keys) = bench.sum.turns().remove("east").unwrap() else { panic!("not keys") };

    // Keys of the coordinator's own making instead of a site's: it could open what is sealed for that site.
    let mut own = Bench::new(counted(), 5);
    own.sites[1] = {
        let forger = Member("coordinator".to_owned());
        joined(1, &own.plan, &own.roster, SiteRules::own(), None).vouching(Arc::new(forger))
    };
    let ask = own.run.ask();
    let forged = own.sites[1].answer(&ask, now()).unwrap();
    refused(own.sum.receive("north", forged[0].bytes(), &Bench::coordinator()), "not signed by it");
    let Payload::Keys(forged) = Message::from_bytes("north", forged[0].bytes(), &own.plan, &ask).unwrap().payload
    else {
        panic!("not keys")
    };
    let with_forged: BTreeMap<_, _> = keys.clone().into_iter().chain([("north".to_owned(), forged)]).collect();
    refused(bench.turn_of("east", &Turn::Share(with_forged)), "not signed by the sites");
    // A site's keys under another name, or for somebody who does not take part.
    let mut swapped = keys.clone();
    let north = swapped["north"].clone();
    swapped.insert("south".to_owned(), north.clone());
    refused(bench.turn_of("east", &Turn::Share(swapped)), "not signed by the sites");
    let strangers = keys.clone().into_iter().chain([("stranger".to_owned(), north)]).collect();
    refused(bench.turn_of("east", &Turn::Share(strangers)), "sites that take part");
    // Too few to hide among.
    let few: BTreeMap<_, _> = keys.clone().into_iter().take(3).collect();
    refused(bench.turn_of("east", &Turn::Share(few)), "too few");

    // Secrets go out once for a question, and not to others than before.
    let (all, four) = (keys.clone(), keys.into_iter().take(4).collect());
    let first = bench.turn_of("east", &Turn::Share(all.clone())).unwrap();
    assert_eq!(bench.turn_of("east", &Turn::Share(all)).unwrap(), first, "the same again");
    refused(bench.turn_of("east", &Turn::Share(four)), "something else was told");
}

#[test]
fn masks_come_off_one_sum_only() {
    let mut bench = Bench::new(counted(), 5);
    bench.ask(|_| true);
    bench.step(|_| true).unwrap();
    bench.step(|_| true).unwrap();
    bench.sum.close_step().unwrap();
    let all: Vec<String> = NAMES.iter().map(|name| (*name).to_owned()).collect();
    let without = |gone: &str| all.iter().filter(|name| *name != gone).cloned().collect::<Vec<_>>();
    // A set without the site that is asked, in disorder, with a name twice, or too small.
    refused(bench.turn_of("east", &Turn::Confirm(without("east"))), "not over sites");
    let backwards = Turn::Confirm(all.iter().rev().cloned().collect());
    refused(bench.turn_of("east", &backwards), "not over sites");
    refused(bench.turn_of("east", &Turn::Confirm(all[..3].to_vec())), "too few");
    // One set per question, also after the site was started again.
    assert!(bench.turn_of("east", &Turn::Confirm(all.clone())).unwrap().is_some());
    refused(bench.turn_of("east", &Turn::Confirm(without("west"))), "something else was told");
    let log = ExitLog::from_lines(&bench.sites[0].log().to_lines()).unwrap();
    let mut again = joined(0, &bench.plan, &bench.roster, SiteRules::cautious(), Some(log));
    let ask = bench.run.ask();
    again.answer(&ask, now()).unwrap();
    let turns = bench.sum.turns_of("east");
    for turn in &turns[..2] {
        assert!(again.turn(&ask.context(), turn, now()).unwrap().is_some());
    }
    refused(again.turn(&ask.context(), &Turn::Confirm(without("west")), now()), "something else was told");
    assert!(again.turn(&ask.context(), &turns[2], now()).unwrap().is_some());
    bench.sites[0] = again;
    // Nothing is shown before enough signed the same set.
    let statement = |over: &[String], by: &str| {
        let mut one = Bench::new(counted(), 5);
        one.ask(|_| true);
        one.step(|_| true).unwrap();
        one.step(|_| true).unwrap();
        one.sum.close_step().unwrap();
        let update = one.turn_of(by, &Turn::Confirm(over.to_vec())).unwrap().unwrap();
        match Message::from_bytes(by, update.bytes(), &one.plan, &one.run.ask()).unwrap().payload {
            Payload::Confirmation(signature) => signature,
            other => panic!("{other:?}"),
        }
    };
    let signed = |over: &[String], by: &[&str]| -> BTreeMap<String, String> {
        by.iter().map(|by| ((*by).to_owned(), statement(over, by))).collect()
    };
    refused(bench.turn_of("east", &Turn::Unmask(signed(&all, &NAMES[..3]))), "too few sites signed");
    let other = signed(&without("west"), &NAMES[..4]);
    refused(bench.turn_of("east", &Turn::Unmask(other)), "too few sites signed");
    let mut mixed = signed(&all, &NAMES[..3]);
    mixed.insert("south".to_owned(), statement(&without("west"), "south"));
    refused(bench.turn_of("east", &Turn::Unmask(mixed)), "too few sites signed");
    assert!(bench.turn_of("east", &Turn::Unmask(signed(&all, &NAMES[..4]))).unwrap().is_some());
}

#[test]
fn who_was_asked_something_else_takes_no_part() {
    let mut bench = Bench::new(plan("{ kind = \"moments\" }", "", AGE, "double-masking"), 4);
    let ask = bench.run.ask();
    let other = Ask { plan: counted().digest(), ..ask.clone() };
    refused(bench.sites[0].answer(&other, now()), "another plan");
    bench.ask(|_| true);
    // Whatever is said is of one question: keys for another are of no use.
    let context = Digest::of(b"another question");
    let Some(turn) = ({
        bench.sum.close_step().unwrap();
        bench.sum.turns().remove("east")
    }) else {
        panic!("no turn")
    };
    refused(bench.sites[0].turn(&context, &turn, now()), "not answered here");
    // Nor are messages of another step, or for somebody else.
    let update = bench.turn_of("east", &turn).unwrap().unwrap();
    refused(bench.sum.receive("north", update.bytes(), &Bench::coordinator()), "for somebody else");
    let keys = bench.sites[1].answer(&ask, now()).unwrap();
    refused(bench.sum.receive("north", keys[0].bytes(), &Bench::coordinator()), "another step");
    bench.sum.receive("east", update.bytes(), &Bench::coordinator()).unwrap();
}

#[test]
fn a_site_that_was_left_out_stays_out_and_a_plan_may_want_all() {
    // Two rounds: the second is over the sites of the first, or fewer.
    let mut two = plan("{ kind = \"moments\" }", "", AGE, "double-masking");
    two.privacy.dropouts = Dropouts::LeaveOut;
    let mut bench = Bench::new(two, 5);
    bench.ask(|_| true);
    bench.step(|_| true).unwrap();
    bench.step(|nth| nth != 4).unwrap();
    bench.step(|nth| nth != 4).unwrap();
    bench.step(|nth| nth != 4).unwrap();
    bench.step(|_| true).unwrap();
    assert!(matches!(bench.run.close_summed(&bench.sum).unwrap(), Progress::Round(2)));
    bench.sum = MaskedSum::new(&bench.plan, &bench.roster, &bench.run.ask());
    bench.ask(|_| true);
    bench.step(|_| true).unwrap();
    bench.step(|_| true).unwrap();
    refused(bench.step(|_| true), "left out stays out");

    let mut all = counted();
    all.privacy.dropouts = Dropouts::Wait;
    let mut bench = Bench::new(all, 5);
    bench.ask(|nth| nth != 2);
    assert!(matches!(bench.sum.close_step(), Err(LearnError::TooFewSites { left: 4, needed: 5, .. })));
}

#[test]
fn wrong_shares_are_noticed() {
    let mut bench = Bench::new(counted(), 5);
    bench.ask(|_| true);
    bench.step(|_| true).unwrap();
    bench.step(|nth| nth != 4).unwrap();
    bench.step(|nth| nth != 4).unwrap();
    bench.sum.close_step().unwrap();
    let turns = bench.sum.turns();
    for (name, turn) in &turns {
        let update = bench.turn_of(name, turn).unwrap().unwrap();
        let mut bytes = update.bytes().to_vec();
        if name == "north" {
            // Somewhere in the last share.
            let last = bytes.len() - 3;
            bytes[last] ^= 1;
        }
        bench.sum.receive(name, &bytes, &Bench::coordinator()).unwrap();
    }
    refused(bench.sum.close_step(), "do not come off");
}
