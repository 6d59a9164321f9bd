//! Attacks by a coordinator, a researcher or an aggregator: each is refused, or useless.

use acequia_learn::*;

use crate::support::*;

const AGE: &str = "[[variables]]\nname = \"age\"\n";

fn table(name: &str, plan: &Plan, ages: impl IntoIterator<Item = u32>) -> Data {
    let csv: String = ages.into_iter().enumerate().map(|(id, age)| format!("{name}{id},{age}\n")).collect();
    Data::from_csv(name, format!("pid,age\n{csv}").as_bytes(), &plan.needs(), &SiteMap::default()).unwrap()
}

fn rules() -> SiteRules {
    SiteRules::cautious()
}

fn roster(names: &[&str]) -> Roster {
    Roster::new(names.iter().map(|name| (*name).to_owned())).unwrap()
}

fn join(
    name: &str,
    plan: &Plan,
    roster: &Roster,
    ledger: &mut Ledger,
    ages: impl IntoIterator<Item = u32>,
) -> Result<Site, LearnError> {
    Site::join(name, plan, roster, vec![table(name, plan, ages)], rules(), ledger, ShareKey::from([7; 32]))
}

#[track_caller]
fn withheld(outcome: Result<impl Sized, LearnError>, words: &str) {
    match outcome {
        Err(LearnError::Withheld { reason, .. } | LearnError::Few { reason, .. }) => {
            assert!(reason.contains(words), "{reason}");
        }
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it answered"),
    }
}

#[track_caller]
fn refused(outcome: Result<impl Sized, LearnError>, words: &str) {
    match outcome {
        Err(LearnError::Protocol { reason, .. }) => assert!(reason.contains(words), "{reason}"),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was taken"),
    }
}

fn masked() -> Plan {
    plan("{ kind = \"moments\" }", "", AGE, "two-aggregators")
}

#[test]
fn a_site_alone_or_with_few_rows_does_not_answer() {
    let plan = masked();
    let alone = roster(&["north"]);
    let mut site = join("north", &plan, &alone, &mut Ledger::default(), 40..80).unwrap();
    withheld(site.answer(&Run::new(&plan, &alone).ask(), now()), "sites take part");
    let two = roster(&["north", "south"]);
    let mut site = join("north", &plan, &two, &mut Ledger::default(), 40..50).unwrap();
    withheld(site.answer(&Run::new(&plan, &two).ask(), now()), "rows are in the cohort");
}

#[test]
fn one_row_that_makes_up_a_sum_and_sums_that_show_persons_stay() {
    let two = roster(&["north", "south"]);
    let one = masked();
    let ages = (40..80).chain([5000]);
    let mut site = join("north", &one, &two, &mut Ledger::default(), ages).unwrap();
    withheld(site.answer(&Run::new(&one, &two).ask(), now()), "makes up too much");
    let open = plan("{ kind = \"histogram\", edges = [0, 50, 100] }", "", AGE, "none");
    let mut site = join("north", &open, &two, &mut Ledger::default(), 40..80).unwrap();
    withheld(site.answer(&Run::new(&open, &two).ask(), now()), "without a mask");
}

#[test]
fn a_cohort_that_differs_by_one_person_is_not_answered() {
    let two = roster(&["north", "south"]);
    let (mut ledger, one) = (Ledger::default(), masked());
    let mut left_out = one.clone();
    left_out.cohort.conditions = vec![Condition {
        column: "age".into(),
        above: Some(40.0),
        one_of: None,
        at_least: None,
        at_most: None,
        below: None,
    }];
    join("north", &one, &two, &mut ledger, 40..80).unwrap();
    withheld(join("north", &left_out, &two, &mut ledger, 40..80), "differs from an earlier one");
    join("north", &one, &two, &mut ledger, 40..80).expect("the same cohort again is no difference");
    let kept: Ledger = serde_json::from_str(&serde_json::to_string(&ledger).unwrap()).unwrap();
    assert_eq!(kept, ledger);
}

#[test]
fn another_question_in_the_same_round_or_of_another_plan_gets_no_answer() {
    let two = roster(&["north", "south"]);
    let one = masked();
    let mut site = join("north", &one, &two, &mut Ledger::default(), 40..80).unwrap();
    let ask = Run::new(&one, &two).ask();
    let first = site.answer(&ask, now()).unwrap();
    assert_eq!(site.answer(&ask, now()).unwrap(), first, "the same question, the same answer");
    // For another who adds up it has another mask, and the first one's answer stays what it was.
    let second = site.answer(&Ask { attempt: 1, ..ask.clone() }, now()).unwrap();
    let seed = |updates: &[SiteUpdate]| updates[1].bytes().last_chunk::<32>().copied().unwrap();
    assert_ne!(seed(&second), seed(&first));
    assert_eq!(site.answer(&ask, now()).unwrap(), first, "also after another answer");
    let probe = Ask { question: Question::Spread { means: vec![0.0] }.into(), ..ask.clone() };
    refused(site.answer(&probe, now()), "another question was answered");
    let foreign = Ask { round: 2, question: Question::Below { points: vec![vec![50.0]] }.into(), ..ask.clone() };
    refused(site.answer(&foreign, now()), "does not follow from the plan");
    let mut other = one.clone();
    other.title = "Another".to_owned();
    refused(site.answer(&Run::new(&other, &two).ask(), now()), "another plan");
    site.stop();
    withheld(site.answer(&ask, now()), "stopped");
    assert_eq!(site.log().entries().len(), 2, "one thing left for each who adds up, and the log says so");
    assert!(site.log().entries()[0].left.words.contains("No row, name or date of a person leaves"));
    assert_eq!(ExitLog::from_lines(&site.log().to_lines()).unwrap(), *site.log());
}

#[test]
fn an_aggregator_closes_a_round_once_and_never_over_few_sites() {
    let mut plan = masked();
    plan.privacy.minimum_sites = 2;
    let three = roster(&["a", "b", "c"]);
    let ask = Run::new(&plan, &three).ask();
    let mut aggregator = Aggregator::new(&plan, &three);
    aggregator.open(&ask).unwrap();
    for name in ["a", "b", "c"] {
        let mut site = join(name, &plan, &three, &mut Ledger::default(), 30..80).unwrap();
        let updates = site.answer(&ask, now()).unwrap();
        aggregator.receive(updates[0].site(), updates[0].bytes()).unwrap();
        // Said twice, it counts once; said differently, it does not count.
        aggregator.receive(updates[0].site(), updates[0].bytes()).unwrap();
        refused(aggregator.receive(updates[1].site(), updates[1].bytes()), "different share");
    }
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    assert!(matches!(aggregator.close(&names(&["a"])), Err(LearnError::TooFewSites { .. })));
    aggregator.close(&names(&["a", "b", "c"])).unwrap();
    refused(aggregator.close(&names(&["a", "b"])), "closed with other sites");
    let probe = Ask { question: Question::Spread { means: vec![0.0] }.into(), ..ask };
    refused(aggregator.open(&probe), "asked twice");
}

#[test]
fn a_site_that_is_asked_something_else_makes_the_sum_useless() {
    let plan = masked();
    let two = roster(&["north", "south"]);
    let ask = Ask { round: 2, question: Question::Spread { means: vec![50.0] }.into(), ..Run::new(&plan, &two).ask() };
    let probe = Ask { question: Question::Spread { means: vec![0.0] }.into(), ..ask.clone() };
    let mut aggregator = Aggregator::new(&plan, &two);
    aggregator.open(&ask).unwrap();
    let mut site = join("north", &plan, &two, &mut Ledger::default(), 40..80).unwrap();
    let updates = site.answer(&probe, now()).unwrap();
    refused(aggregator.receive(updates[0].site(), updates[0].bytes()), "answers another question");
}

/// What crosses a network is read as it was said, for the question it answers and in the name of who says it; anything else is no
/// message, whatever its bytes.
#[test]
fn messages_are_read_for_their_question_only() {
    for protection in ["two-aggregators", "none"] {
        let plan = plan("{ kind = \"moments\" }", "", AGE, protection);
        let roster = roster(&["north", "south"]);
        let run = Run::new(&plan, &roster);
        let mut aggregators = [Aggregator::new(&plan, &roster), Aggregator::new(&plan, &roster)];
        for aggregator in &mut aggregators {
            aggregator.open(&run.ask()).unwrap();
        }
        for name in ["north", "south"] {
            let mut site = join(name, &plan, &roster, &mut Ledger::default(), 40..80).unwrap();
            let updates = site.answer(&run.ask(), now()).unwrap();
            for (update, aggregator) in updates.iter().zip(&mut aggregators) {
                let bytes = update.bytes();
                let read = Message::from_bytes(name, bytes, &plan, &run.ask()).unwrap();
                assert_eq!((&*read.site, read.round, read.context), (name, 1, run.ask().context()));
                refused(Message::from_bytes("east", bytes, &plan, &run.ask()), "somebody else");
                let later = Ask { round: 2, ..run.ask() };
                refused(Message::from_bytes(name, bytes, &plan, &later), "another question");
                for cut in [0, 1, bytes.len() / 2, bytes.len() - 1] {
                    assert!(Message::from_bytes(name, &bytes[..cut], &plan, &run.ask()).is_err());
                }
                refused(Message::from_bytes(name, &[&bytes[..], b"x"].concat(), &plan, &run.ask()), "another length");
                if protection == "two-aggregators" {
                    aggregator.receive(name, bytes).unwrap();
                }
            }
        }
        if protection == "none" {
            continue;
        }
        let sites = ["north", "south"].map(str::to_owned);
        let [one, other] = aggregators.each_mut().map(|aggregator| aggregator.close(&sites).unwrap());
        for part in [&one, &other] {
            let bytes = part.to_bytes();
            assert_eq!(&PartTotal::from_bytes("a", &bytes, &plan, &run.ask()).unwrap(), part);
            assert!(PartTotal::from_bytes("a", &bytes[1..], &plan, &run.ask()).is_err());
        }
    }
}

/// A site that was killed in the middle of a round says what it said before, and no second thing; with other rows it has another
/// mask, so that the difference of two shares tells nothing.
#[test]
fn a_site_that_was_started_again_says_the_same() {
    let plan = masked();
    let roster = roster(&["north", "south"]);
    let ask = Run::new(&plan, &roster).ask();
    let said = |ages: std::ops::Range<u32>, key: [u8; 32], log: &ExitLog| {
        let tables = vec![table("north", &plan, ages)];
        let site = Site::join("north", &plan, &roster, tables, rules(), &mut Ledger::default(), key.into()).unwrap();
        let mut site = site.resumed(log.clone());
        (site.answer(&ask, now()), site.log().clone())
    };
    let (first, log) = said(40..80, [1; 32], &ExitLog::default());
    let first = first.unwrap();
    let (again, longer) = said(40..80, [1; 32], &log);
    assert_eq!(again.unwrap(), first);
    assert_eq!((log.entries().len(), longer.entries().len()), (1, 1), "what was said again is on record once");
    withheld(said(40..81, [1; 32], &log).0, "its rows changed");
    let seed = |updates: &[SiteUpdate]| updates[1].bytes().last_chunk::<32>().copied().unwrap();
    assert_ne!(seed(&said(40..81, [1; 32], &ExitLog::default()).0.unwrap()), seed(&first), "other rows, another mask");
    assert_ne!(seed(&said(40..80, [2; 32], &ExitLog::default()).0.unwrap()), seed(&first), "another key, another mask");
    let mut site = join("north", &plan, &roster, &mut Ledger::default(), 40..80).unwrap().resumed(log);
    let other = Ask { question: Question::Spread { means: vec![50.0] }.into(), ..ask.clone() };
    refused(site.answer(&other, now()), "another question was answered");
}

/// Masks of a run whose members are known by another document do not fit.
#[test]
fn a_roster_is_bound_to_the_keys_of_its_members() {
    let names = || roster(&["north", "south"]);
    let signed = |document: &[u8]| names().identified_by(acequia_types::Digest::of(document)).digest();
    assert_ne!(signed(b"one"), signed(b"other"));
    assert_ne!(signed(b"one"), names().digest());
}

/// 60 rows of a hospital: a number of each person, a group, her age and what the attacker is after.
fn sixty(name: &str, plan: &Plan) -> Data {
    let rows: String = (0..60)
        .map(|row| format!("{name}{row},{},{},{}\n", ["a", "b", "c"][row % 3], 40.0 + row as f64 / 2.0, secret(row)))
        .collect();
    Data::from_csv(name, format!("pid,group,age,score\n{rows}").as_bytes(), &plan.needs(), &SiteMap::default()).unwrap()
}

fn secret(row: usize) -> f64 {
    (row * 37 % 101) as f64
}

const SCORE: &str = "{ kind = \"number\", value = { name = \"score\" } }";

/// Variables that single out the person `north7` (43.5 years), each in another way.
fn aimed() -> Vec<&'static str> {
    vec![
        "[[variables]]\nname = \"she\"\ncolumn = \"pid\"\nsteps = [{ one_of = [\"north7\"] }]\n",
        // All but her.
        "[[variables]]\nname = \"others\"\ncolumn = \"age\"\nsteps = [{ band = { edges = [43.2, 43.7], labels = [\"o\", \"x\", \"p\"] } }, { one_of = [\"o\", \"p\"] }]\n",
        // Neither is about few; their difference is she.
        "[[variables]]\nname = \"one\"\ncolumn = \"age\"\nsteps = [{ band = { edges = [43.2, 43.7, 55], labels = [\"w\", \"x\", \"y\", \"z\"] } }, { one_of = [\"x\", \"y\"] }]\n[[variables]]\nname = \"other\"\ncolumn = \"age\"\nsteps = [{ band = { edges = [43.2, 43.7, 55], labels = [\"w\", \"x\", \"y\", \"z\"] } }, { one_of = [\"y\"] }]\n",
        // A sum of three bends of a line is 0 but at her age.
        "[[variables]]\nname = \"low\"\ncolumn = \"age\"\nsteps = [{ floor = 43.0 }]\n[[variables]]\nname = \"mid\"\ncolumn = \"age\"\nsteps = [{ floor = 43.5 }]\n[[variables]]\nname = \"high\"\ncolumn = \"age\"\nsteps = [{ floor = 44.0 }]\n[[variables]]\nname = \"a\"\ncolumn = \"age\"\nsteps = [{ above = 43.2 }]\n[[variables]]\nname = \"b\"\ncolumn = \"age\"\nsteps = [{ floor = 43.2 }, { cap = 43.7 }]\n",
    ]
}

/// dsBase issue 251: an indicator of one person in a masked regression is fitted exactly, and the coefficient is her outcome.
#[test]
fn a_variable_about_one_person_tells_nothing_also_under_masks() {
    let run = |variables: &str, rules: &SiteRules, protection: &str| {
        let plan = plan("{ kind = \"linear\" }", SCORE, variables, protection);
        let tables = vec![sixty("north", &plan), sixty("south", &plan)];
        run_here(&plan, tables, Architecture::Federated, rules, now(), &mut SeededEntropy::new(3))
    };
    // It is a real attack: where no rule stands against it, the intercept and her coefficient are her score. The person is at one
    // hospital only.
    let she = aimed()[0];
    let fitted = model(run(she, &SiteRules::own(), "two-aggregators").unwrap());
    let Form::Linear { intercept, .. } = &fitted.form else { panic!() };
    close(intercept + fitted.coefficients()[0], secret(7), 1e-6);
    for protection in ["two-aggregators", "double-masking", "none"] {
        for variables in aimed() {
            withheld(run(variables, &SiteRules::cautious(), protection), "");
        }
    }
    // The site where she is says what the one says where she is not.
    for name in ["north", "south"] {
        let plan = plan("{ kind = \"linear\" }", SCORE, she, "two-aggregators");
        let two = roster(&["north", "south"]);
        let (tables, ledger) = (vec![sixty(name, &plan)], &mut Ledger::default());
        let mut site = Site::join(name, &plan, &two, tables, rules(), ledger, ShareKey::from([7; 32])).unwrap();
        withheld(site.answer(&Run::new(&plan, &two).ask(), now()), "she is about fewer than 10 of its persons");
        assert!(site.log().entries().is_empty());
    }
    // What is about many goes through, and is the pooled result.
    let groups = "[[variables]]\nname = \"a\"\ncolumn = \"group\"\nsteps = [{ one_of = [\"a\"] }]\n[[variables]]\nname = \"b\"\ncolumn = \"group\"\nsteps = [{ one_of = [\"b\"] }]\n[[variables]]\nname = \"age\"\n";
    let cautious = model(run(groups, &SiteRules::cautious(), "two-aggregators").unwrap());
    let pooled = model(run(groups, &SiteRules::own(), "none").unwrap());
    all_close(cautious.coefficients(), pooled.coefficients(), 1e-6);
}

/// By symmetry the outcome: its sums of products with the variables would be hers.
#[test]
fn an_outcome_about_one_person_tells_nothing() {
    for kind in ["number", "binary"] {
        let outcome = format!(
            "{{ kind = \"{kind}\", value = {{ name = \"she\", column = \"pid\", steps = [{{ one_of = [\"north7\"] }}] }} }}"
        );
        let task = if kind == "number" { "{ kind = \"linear\" }" } else { "{ kind = \"logistic\", ridge = 1.0 }" };
        let plan = plan(task, &outcome, "[[variables]]\nname = \"score\"\n", "two-aggregators");
        let tables = vec![sixty("north", &plan), sixty("south", &plan)];
        let run = run_here(&plan, tables, Architecture::Federated, &rules(), now(), &mut SeededEntropy::new(3));
        withheld(run, "she is about fewer than 10");
    }
}

/// Every task looks at its variables before anything of them leaves.
#[test]
fn no_task_answers_about_one_person() {
    let she = aimed()[0];
    let age = "[[variables]]\nname = \"age\"\n";
    let (late, number) = (
        "{ kind = \"survival\", components = [{ time = \"age\", event = \"dead\" }] }",
        "{ kind = \"binary\", value = { name = \"dead\" } }",
    );
    for (task, outcome) in [
        ("{ kind = \"moments\" }", ""),
        ("{ kind = \"histogram\", edges = [0, 0.5, 1] }", ""),
        ("{ kind = \"quantile\", shares = [0.5], low = 0, high = 1, resolution = 0.5 }", ""),
        ("{ kind = \"log-rank\", groups = [0, 1] }", late),
        ("{ kind = \"logistic\" }", number),
        ("{ kind = \"cox\" }", late),
        ("{ kind = \"cox\", stratified_by_site = true }", late),
        ("{ kind = \"discrete-time\", link = \"logit\", ends_days = [50, 80] }", late),
        ("{ kind = \"pca\", components = 1 }", ""),
        ("{ kind = \"boosting\", trees = 1, depth = 1 }", number),
        (
            "{ kind = \"averaging\", strategy = { kind = \"fed-avg\" }, rounds = 1, local_steps = 1, batch = 20, rate = 0.1 }",
            number,
        ),
    ] {
        let plan = plan(task, outcome, &format!("{she}{age}"), "two-aggregators");
        let table = |name: &str| {
            let rows: String =
                (0..60).map(|row| format!("{name}{row},{},{}\n", 40.0 + row as f64 / 2.0, row % 2)).collect();
            Data::from_csv(name, format!("pid,age,dead\n{rows}").as_bytes(), &plan.needs(), &SiteMap::default())
                .unwrap()
        };
        let tables = vec![table("north"), table("south")];
        let run = run_here(&plan, tables, Architecture::Federated, &rules(), now(), &mut SeededEntropy::new(3));
        match run {
            Err(LearnError::Few { reason, .. }) => assert!(reason.contains("fewer than 10"), "{task}: {reason}"),
            other => panic!("{task}: {:?}", other.map(|report| report.outcome)),
        }
    }
}

/// Dominance looks at the outcome too, where sums tell its amounts, and in every question.
#[test]
fn one_person_who_makes_up_a_sum_of_the_outcome_is_not_told() {
    let plan = plan("{ kind = \"linear\" }", SCORE, AGE, "two-aggregators");
    let table = |name: &str| {
        let rows: String = (0..60)
            .map(|row| format!("{name}{row},{},{}\n", 40 + row, if row == 7 { 90_000.0 } else { secret(row) }))
            .collect();
        Data::from_csv(name, format!("pid,age,score\n{rows}").as_bytes(), &plan.needs(), &SiteMap::default()).unwrap()
    };
    let two = roster(&["north", "south"]);
    let join = |ledger: &mut Ledger| {
        Site::join("north", &plan, &two, vec![table("north")], rules(), ledger, ShareKey::from([7; 32])).unwrap()
    };
    let ask = Run::new(&plan, &two).ask();
    withheld(join(&mut Ledger::default()).answer(&ask, now()), "too much of the sum of score");
    // Also from a centre that the coordinator chooses, in a round of its choice.
    let scales = vec![Scale { mean: 70.0, sd: 10.0 }, Scale { mean: 50.0, sd: 20.0 }];
    let products = Ask { round: 2, question: Question::Products { scales }.into(), ..ask };
    withheld(join(&mut Ledger::default()).answer(&products, now()), "too much of the sum of score");
}

/// A site that sends what no rows give: whoever gets the sum does not go on with it, masked or not. Sites answer no question with
/// numbers that an honest one never has.
#[test]
fn a_poisoned_sum_and_a_poisoned_question_are_not_believed() {
    let names = ["north", "south"];
    let two = roster(&names);
    for protection in ["none", "two-aggregators"] {
        let plan = plan("{ kind = \"moments\" }", "", AGE, protection);
        let mut run = Run::new(&plan, &two);
        let ask = run.ask();
        let mut aggregators = [Aggregator::new(&plan, &two), Aggregator::new(&plan, &two)];
        aggregators.iter_mut().for_each(|aggregator| aggregator.open(&ask).unwrap());
        for name in names {
            let own = SiteRules { coordinator: Coordinator::Own, ..rules() };
            let (tables, ledger) = (vec![table(name, &plan, 40..80)], &mut Ledger::default());
            let mut site = Site::join(name, &plan, &two, tables, own, ledger, ShareKey::from([7; 32])).unwrap();
            for (update, aggregator) in site.answer(&ask, now()).unwrap().iter().zip(&mut aggregators) {
                let mut message = Message::from_bytes(name, update.bytes(), &plan, &ask).unwrap();
                // The sum of squares, less than there are.
                match &mut message.payload {
                    Payload::Plain(sums) if name == "south" => {
                        let mut values = sums.values();
                        values[3] -= 200_000 << 60;
                        *sums = PackedSums::of(&values);
                    }
                    _ => {}
                }
                let mut bytes = message.to_bytes();
                if let Payload::Masked(values) = &message.payload
                    && name == "south"
                {
                    let start = bytes.len() - values.bytes().len();
                    let (numbers, _) = bytes[start..].as_chunks_mut();
                    numbers[3] = u128::from_le_bytes(numbers[3]).wrapping_sub(200_000 << 60).to_le_bytes();
                }
                match protection {
                    "none" => run.receive(name, &bytes).unwrap(),
                    _ => aggregator.receive(name, &bytes).unwrap(),
                }
            }
        }
        let ended = match protection {
            "none" => run.close(),
            _ => {
                let sites = names.map(str::to_owned);
                let [one, other] = aggregators.each_mut().map(|aggregator| aggregator.close(&sites).unwrap());
                run.close_masked(&one, &other)
            }
        };
        assert!(matches!(ended, Err(LearnError::Implausible { what: "sums of squares" })), "{ended:?}");
    }
    let plan = plan("{ kind = \"logistic\" }", "{ kind = \"binary\", value = { name = \"old\" } }", AGE, "none");
    let ask = Run::new(&plan, &two).ask();
    for (mean, sd, coefficient) in [(60.0, 1e-200, 0.0), (f64::MAX, 1.0, 0.0), (60.0, 10.0, 1e6)] {
        let question = Question::Score { scales: vec![Scale { mean, sd }], coefficients: vec![0.0, coefficient] };
        let poisoned = Ask { round: 2, question: question.into(), ..ask.clone() };
        let csv: String = (40..80).map(|age| format!("{age},{}\n", u8::from(age > 60))).collect();
        let data = Data::from_csv("north", format!("age,old\n{csv}").as_bytes(), &plan.needs(), &SiteMap::default());
        let (tables, ledger) = (vec![data.unwrap()], &mut Ledger::default());
        let mut site = Site::join("north", &plan, &two, tables, rules(), ledger, ShareKey::from([7; 32])).unwrap();
        refused(site.answer(&poisoned, now()), "does not follow from the plan");
    }
}

/// One site's steps move the mean no further than the plan lets them.
#[test]
fn steps_that_run_away_are_cut_by_each_site() {
    let moved = |longest: &str| {
        let task = format!(
            "{{ kind = \"averaging\", strategy = {{ kind = \"fed-avg\" }}, rounds = 1, local_steps = 50, batch = 20, rate = 1.0{longest} }}"
        );
        let plan = plan(
            &task,
            "{ kind = \"binary\", value = { name = \"death\" } }",
            "[[variables]]\nname = \"nodes\"\n",
            "two-aggregators",
        );
        let fitted = model(run(&plan, four_sites(&plan), Architecture::Federated));
        let Form::Logistic { intercept, .. } = &fitted.form else { panic!() };
        intercept.hypot(fitted.coefficients()[0])
    };
    assert!(moved("") > 0.5);
    let cut = moved(", longest_change = 0.25");
    assert!(cut > 0.05 && cut <= 0.25 + 1e-6, "{cut}");
}

/// A plan is answered on its last day, and not after.
#[test]
fn a_plan_that_is_over_is_not_answered() {
    let two = roster(&["north", "south"]);
    let mut plan = masked();
    plan.last_day = acequia_types::parse_day("2026-06-01");
    let mut site = join("north", &plan, &two, &mut Ledger::default(), 40..80).unwrap();
    let ask = Run::new(&plan, &two).ask();
    site.answer(&ask, now()).unwrap();
    let after = acequia_types::parse_timestamp("2026-06-02").unwrap();
    let mut site = join("north", &plan, &two, &mut Ledger::default(), 40..80).unwrap();
    match site.answer(&ask, after) {
        Err(LearnError::Expired { last_day }) => assert_eq!(last_day, "2026-06-01"),
        other => panic!("{other:?}"),
    }
    assert!(site.log().entries().is_empty());
}

/// A column that names persons is nobody's variable, condition or outcome, whatever is in it.
#[test]
fn a_column_that_names_persons_is_not_used() {
    let map = SiteMap { person: Some("pid".to_owned()), ..SiteMap::default() };
    let read = |plan: &Plan| Data::from_csv("north", "pid,age\n1,50\n2,60\n".as_bytes(), &plan.needs(), &map);
    let mut chosen = masked();
    chosen.cohort.conditions = vec![Condition {
        column: "pid".into(),
        one_of: Some(vec!["1".into()]),
        at_least: None,
        above: None,
        at_most: None,
        below: None,
    }];
    withheld(read(&chosen), "names persons");
    withheld(read(&plan("{ kind = \"moments\" }", "", aimed()[0], "none")), "names persons");
    assert_eq!(read(&masked()).unwrap().rows(), 2);
}

/// A cohort of a few persons, many times over, is one of a few persons.
#[test]
fn copies_of_rows_make_no_cohort_larger() {
    let two = roster(&["north", "south"]);
    let plan = masked();
    let joined = |csv: String, map: &SiteMap| {
        let data = Data::from_csv("north", csv.as_bytes(), &plan.needs(), map).unwrap();
        Site::join("north", &plan, &two, vec![data], rules(), &mut Ledger::default(), ShareKey::from([7; 32])).unwrap()
    };
    let copied: String = (0..60).map(|row| format!("p{},{}\n", row % 15, 40 + row % 15)).collect();
    let mut site = joined(format!("pid,age\n{copied}"), &SiteMap::default());
    withheld(site.answer(&Run::new(&plan, &two).ask(), now()), "each person counts once");
    // Copies that were edited are noticed where the table names the person.
    let edited: String = (0..60).map(|row| format!("p{},{}\n", row % 15, 40 + row)).collect();
    let map = SiteMap { person: Some("pid".to_owned()), ..SiteMap::default() };
    let mut site = joined(format!("pid,age\n{edited}"), &map);
    withheld(site.answer(&Run::new(&plan, &two).ask(), now()), "each person counts once");
    // Of a variable that is about twenty rows of two persons, too.
    let of_two: String =
        (0..60).map(|row| format!("p{},{}\n", if row < 20 { row % 2 } else { row }, u8::from(row < 20))).collect();
    let mut site = joined(format!("pid,age\n{of_two}"), &map);
    withheld(site.answer(&Run::new(&plan, &two).ask(), now()), "fewer than 10");
}

/// Rows of chance: what a model knows of them, it knows by heart.
fn rows_of_chance(rows: u64) -> String {
    let mut text = "a,b,c,d,e,f,y\n".to_owned();
    for row in 0..rows {
        let digest = acequia_types::Digest::of(&row.to_le_bytes());
        let bytes = digest.as_bytes();
        let cells: Vec<String> = bytes[..6].iter().map(|byte| (byte % 4).to_string()).collect();
        text += &format!("{},{}\n", cells.join(","), bytes[6] % 2);
    }
    text
}

#[test]
fn a_model_that_knows_rows_by_heart_gives_their_columns_away() {
    let attacked = |task: &str| {
        let variables: String =
            ["a", "b", "c", "d", "e", "f"].map(|name| format!("[[variables]]\nname = \"{name}\"\n")).concat();
        let plan = Plan::from_toml(&format!(
            "schema = \"acequia-plan/1\"\ntitle = \"Chance\"\ntask = {task}\noutcome = {{ kind = \"binary\", value = {{ name = \"y\" }} }}\nprivacy = {{ minimum_rows = 10 }}\naggregation = {{ protection = \"none\" }}\n{variables}"
        ))
        .unwrap();
        let data =
            Data::from_csv("chance", rows_of_chance(600).as_bytes(), &plan.needs(), &SiteMap::default()).unwrap();
        let found = membership_test(&plan, &[data]);
        let allowed = found.within(&plan.privacy).is_ok();
        let Membership::LossThreshold { extraction: Some(extraction), .. } = found else { panic!("{found:?}") };
        (extraction, allowed)
    };
    let (by_heart, allowed) = attacked(
        "{ kind = \"boosting\", trees = 100, depth = 7, rate = 0.5, lambda = 0.01, gamma = 0.0, least_weight = 0.01 }",
    );
    assert!(by_heart.found_in > by_heart.found_out + 0.15 && by_heart.low > 0.05 && !allowed, "{by_heart:?}");
    let (lines, allowed) = attacked("{ kind = \"logistic\", ridge = 1.0 }");
    assert!(lines.low < 0.05 && allowed, "{lines:?}");
}
