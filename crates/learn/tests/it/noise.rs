//! Training with noise: no exact number leaves a site, what is drawn is drawn once, and the guarantee goes with the model.

use acequia_learn::*;

use crate::support::*;

const VARIABLES: &str = r#"
[[variables]]
name = "age"
steps = [{ subtract = 55 }, { divide = 13 }]
[[variables]]
name = "nodes"
steps = [{ subtract = 3 }, { divide = 4 }]
"#;

fn noisy(noise: &str, rounds: u32) -> Plan {
    plan(
        &format!(
            "{{ kind = \"averaging\", strategy = {{ kind = \"fed-avg\" }}, rounds = {rounds}, local_steps = 1, rate = 1.0, noise = {{ {noise} }} }}"
        ),
        "{ kind = \"binary\", value = { name = \"death\" } }",
        VARIABLES,
        "none",
    )
}

const USUAL: &str = "clip = 1.0, multiplier = 1.0, sample = 0.1, rows = 2982, delta = 1e-5";

fn site(plan: &Plan, data: &Data, roster: &Roster, key: u8) -> Site {
    let (rules, key) = (SiteRules::own(), ShareKey::from([key; 32]));
    Site::join(data.name(), plan, roster, vec![data.clone()], rules, &mut Ledger::default(), key).unwrap()
}

/// The numbers of an answer without a mask, in multiples of the last bit.
fn numbers(update: &SiteUpdate, plan: &Plan, ask: &Ask) -> Vec<f64> {
    let message = Message::from_bytes(update.site(), update.bytes(), plan, ask).unwrap();
    let Payload::Plain(sums) = message.payload else { panic!("it is not masked") };
    let values = sums.values();
    values.iter().map(|value| *value as f64 / (1u64 << 60) as f64).collect()
}

#[test]
fn a_model_learns_through_the_noise_and_says_what_it_guarantees() {
    let plan = noisy(USUAL, 60);
    let trained = model(run(&plan, four_sites(&plan), Architecture::Federated));
    let guarantee = trained.differential_privacy.unwrap();
    // dp-accounting 0.6: the noise of one site is the guarantee; the other sites' comes on top.
    close(guarantee.epsilon, 6.336_596_135_764_658, 1e-6);
    assert_eq!((guarantee.delta, trained.fit.rows), (1e-5, 2982));
    assert!(trained.variables.iter().all(|variable| variable.seen.is_none()), "no exact mean is in it");
    assert_eq!(Model::from_json(&trained.to_json()).unwrap(), trained);
    let exact = crate::support::plan(
        "{ kind = \"logistic\" }",
        "{ kind = \"binary\", value = { name = \"death\" } }",
        VARIABLES,
        "none",
    );
    let exact = model(run(&exact, four_sites(&exact), Architecture::Federated));
    let rows = Data::pooled("all", &four_sites(&plan));
    // Share of pairs of a death and a survivor that the model ranks rightly.
    let ranks = |model: &Model| {
        let (lp, _, died) = rows.predicted(model);
        let of = |wanted: bool| (0..lp.len()).filter(|row| died[*row] == wanted).map(|row| lp[row]).collect::<Vec<_>>();
        let (dead, alive) = (of(true), of(false));
        let right: f64 = dead.iter().map(|d| alive.iter().map(|a| f64::from(u8::from(d > a))).sum::<f64>()).sum();
        right / (dead.len() * alive.len()) as f64
    };
    let (noisy, without) = (ranks(&trained), ranks(&exact));
    println!("area under the curve {noisy:.4} with noise, {without:.4} without; {}", guarantee.words());
    assert!(without > 0.65 && (noisy - without).abs() < 0.02, "{noisy} {without}");
    // Attacks are made without noise: that they failed is told, and no figure of theirs.
    let found = membership_test(&plan, &four_sites(&plan));
    assert!(matches!(found, Membership::LossThreshold { .. }), "{found:?}");
    let tested = trained.tested(found, &plan.privacy).unwrap();
    assert_eq!(tested.membership, Some(Membership::Within { allowed: plan.privacy.membership_auc }));
    // The same without a coordinator, and on any layout of one seed: what sites draw follows from their keys.
    assert_eq!(run(&plan, four_sites(&plan), Architecture::Decentralised).rounds, 60);
}

#[test]
fn noise_is_drawn_once_for_a_question_and_is_as_large_as_stated() {
    // So few rows are drawn that what leaves is noise.
    let plan = noisy("clip = 0.5, multiplier = 4.0, sample = 1e-9, rows = 2982, delta = 1e-5", 300);
    let data = four_sites(&plan).remove(0);
    let roster = Roster::new([data.name().to_owned()]).unwrap();
    let ask = Run::new(&plan, &roster).ask();
    let mut one = site(&plan, &data, &roster, 1);
    let said = numbers(&one.answer(&ask, now()).unwrap()[0], &plan, &ask);
    let other = Ask { attempt: 1, ..ask.clone() };
    let again = numbers(&one.answer(&other, now()).unwrap()[0], &plan, &other);
    assert_eq!(said, again, "whoever adds up, the mean of answers is no less noisy");
    let mut restarted = site(&plan, &data, &roster, 1).resumed(one.log().clone());
    assert_eq!(numbers(&restarted.answer(&ask, now()).unwrap()[0], &plan, &ask), said);
    assert_ne!(numbers(&site(&plan, &data, &roster, 2).answer(&ask, now()).unwrap()[0], &plan, &ask), said);

    let mut drawn = Vec::new();
    let (mut site, mut run) = (site(&plan, &data, &roster, 3), Run::new(&plan, &roster));
    loop {
        let ask = run.ask();
        let update = site.answer(&ask, now()).unwrap().remove(0);
        drawn.extend(numbers(&update, &plan, &ask));
        run.receive(update.site(), update.bytes()).unwrap();
        if let Progress::Done(_) = run.close().unwrap() {
            break;
        }
    }
    let n = drawn.len() as f64;
    let mean = drawn.iter().sum::<f64>() / n;
    let sd = (drawn.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt();
    // Standard errors: 2 / sqrt(900) = 0.067 and 0.047.
    assert!(
        drawn.len() == 900 && mean.abs() < 0.3 && (sd - 2.0).abs() < 0.2,
        "{n} numbers, mean {mean}, deviation {sd}"
    );
    let words = &site.log().entries()[0].left.words;
    assert!(words.contains("gradient over rows that are drawn, with noise (3)"), "{words}");
    assert!(words.contains("Differentially private for every row: epsilon"), "{words}");
}

#[test]
fn nothing_exact_is_asked_or_allowed_beside_noise() {
    let plan = noisy(USUAL, 5);
    let data = four_sites(&plan).remove(0);
    let roster = Roster::new([data.name().to_owned()]).unwrap();
    let ask = Run::new(&plan, &roster).ask();
    let mut site = site(&plan, &data, &roster, 1);
    for question in [Question::Prepare, Question::Count] {
        let refused = site.answer(&Ask { question: question.into(), ..ask.clone() }, now());
        assert!(matches!(refused, Err(LearnError::Protocol { .. })));
    }
    // A step is one of the plan's rounds: asked in many rounds from weights of choice, it would tell more than is accounted for.
    for round in [0, 2, 3, 1000] {
        let refused = site.answer(&Ask { round, ..ask.clone() }, now());
        assert!(matches!(refused, Err(LearnError::Protocol { .. })), "round {round}");
    }
    let text = |from: &str, to: &str| {
        let json = plan.to_json();
        assert!(json.contains(from), "{json}");
        Plan::from_json(&json.replace(from, to)).err().map(|error| error.to_string()).unwrap_or_default()
    };
    assert!(text("\"local_steps\": 1", "\"local_steps\": 2").contains("one local step"));
    assert!(text("\"kind\": \"fed-avg\"", "\"kind\": \"scaffold\"").contains("without a pull"));
    assert!(text("\"multiplier\": 1.0", "\"multiplier\": 0.0").contains("multiplier from 0.01"));
    let mut scaled = plan.clone();
    scaled.variables[0].standardise = true;
    assert!(Plan::from_json(&scaled.to_json()).unwrap_err().to_string().contains("contradict"));

    // A site that gives no more than so much away says no before anything is computed, whatever delta a plan states.
    let rules = SiteRules { budget: Some(Guarantee { epsilon: 1.0, delta: 1e-5 }), ..SiteRules::own() };
    let join = |plan: &Plan, ledger: &mut Ledger| {
        let (name, data, key) = (data.name().to_owned(), vec![data.clone()], ShareKey::from([1; 32]));
        Site::join(&name, plan, &roster, data, rules.clone(), ledger, key).map(drop)
    };
    assert!(matches!(join(&plan, &mut Ledger::default()), Err(LearnError::Withheld { .. })), "one run spends too much");
    let lavish = noisy(&USUAL.replace("delta = 1e-5", "delta = 1e-3"), 5);
    assert!(matches!(join(&lavish, &mut Ledger::default()), Err(LearnError::Withheld { .. })));
    let quiet = USUAL.replace("multiplier = 1.0", "multiplier = 12.0");
    let little = |nth: u32| Plan { title: format!("run {nth}"), ..noisy(&quiet, 50) };
    let (mut ledger, first) = (Ledger::default(), little(1));
    let each = first.task.guarantee().unwrap().epsilon;
    join(&first, &mut ledger).unwrap();
    join(&first, &mut ledger).expect("the same run again spends nothing");
    let runs = 1 + (2..=100).take_while(|nth| join(&little(*nth), &mut ledger).is_ok()).count() as u32;
    let together = |runs: u32| noisy(&quiet, 50 * runs).task.guarantee().unwrap().epsilon;
    println!("{runs} runs of epsilon {each:.3}; together {:.3}", together(runs));
    assert!(runs > 1 && together(runs) <= 1.0 && together(runs + 1) > 1.0, "runs add up as one of all their steps");
    let kept: Ledger = serde_json::from_str(&serde_json::to_string(&ledger).unwrap()).unwrap();
    assert_eq!(kept, ledger);
}

/// A refusal has no noise: no row may bring it about, from whatever weights a coordinator asks.
#[test]
fn a_row_beyond_numbers_is_no_reason_to_refuse() {
    let plan = noisy(USUAL, 5);
    let data = four_sites(&plan).remove(0);
    let roster = Roster::new([data.name().to_owned()]).unwrap();
    for weights in [vec![0.0, f64::MAX, -f64::MAX], vec![f64::MAX; 3], vec![1e300, 1e300, -1e300]] {
        let question = Question::Descend { step: 0, scales: Vec::new(), weights, anchor: None };
        let ask = Ask { question: question.into(), ..Run::new(&plan, &roster).ask() };
        let said = numbers(&site(&plan, &data, &roster, 1).answer(&ask, now()).unwrap()[0], &plan, &ask);
        assert!(said.iter().all(|x| x.is_finite()));
    }
    // Other rows, other noise: the difference of two answers tells nothing.
    let other = Data::from_csv(
        data.name(),
        "pid,age,nodes,death\n1,50,1,0\n2,60,2,1\n".as_bytes(),
        &plan.needs(),
        &SiteMap::default(),
    )
    .unwrap();
    let mut few = noisy(&USUAL.replace("sample = 0.1", "sample = 1e-9"), 5);
    few.privacy.minimum_rows = 1;
    let ask = Run::new(&few, &roster).ask();
    let of = |data: &Data| numbers(&site(&few, data, &roster, 1).answer(&ask, now()).unwrap()[0], &few, &ask);
    assert_ne!(of(&data), of(&other));
}

#[test]
fn steps_over_few_rows_stay_with_a_cautious_site() {
    let few = |batch: usize| {
        plan(
            &format!(
                "{{ kind = \"averaging\", strategy = {{ kind = \"fed-avg\" }}, rounds = 2, local_steps = 1, batch = {batch}, rate = 1.0 }}"
            ),
            "{ kind = \"binary\", value = { name = \"death\" } }",
            VARIABLES,
            "two-aggregators",
        )
    };
    for (batch, withheld) in [(1, true), (9, true), (10, false)] {
        let plan = few(batch);
        let tables = four_sites(&plan);
        let roster = Roster::new(tables.iter().map(|table| table.name().to_owned())).unwrap();
        let (name, key) = (tables[0].name().to_owned(), ShareKey::from([1; 32]));
        let (mut ledger, rules) = (Ledger::default(), SiteRules::cautious());
        let mut site = Site::join(&name, &plan, &roster, vec![tables[0].clone()], rules, &mut ledger, key).unwrap();
        let answer = site.answer(&Run::new(&plan, &roster).ask(), now());
        assert_eq!(matches!(answer, Err(LearnError::Withheld { .. })), withheld, "{batch}");
    }
}
