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
    let Payload::Plain(values) = message.payload else { panic!("it is not masked") };
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
    let text = |from: &str, to: &str| {
        let json = plan.to_json();
        assert!(json.contains(from), "{json}");
        Plan::from_json(&json.replace(from, to)).err().map(|error| error.to_string()).unwrap_or_default()
    };
    assert!(text("\"local_steps\": 1", "\"local_steps\": 2").contains("one local step"));
    assert!(text("\"kind\": \"fed-avg\"", "\"kind\": \"scaffold\"").contains("without a pull"));
    assert!(text("\"multiplier\": 1.0", "\"multiplier\": 0.0").contains("above 0"));
    let mut scaled = plan.clone();
    scaled.variables[0].standardise = true;
    assert!(Plan::from_json(&scaled.to_json()).unwrap_err().to_string().contains("contradict"));

    // A site that gives no more than so much away says no before anything is computed.
    let rules = SiteRules { epsilon: Some(1.0), ..SiteRules::own() };
    let join = |plan: &Plan, ledger: &mut Ledger| {
        let (name, data, key) = (data.name().to_owned(), vec![data.clone()], ShareKey::from([1; 32]));
        Site::join(&name, plan, &roster, data, rules.clone(), ledger, key).map(drop)
    };
    let withheld = |outcome: Result<(), LearnError>| matches!(outcome, Err(LearnError::Withheld { .. }));
    assert!(withheld(join(&plan, &mut Ledger::default())), "one run spends too much");
    let little = |title: &str| Plan {
        title: title.to_owned(),
        ..noisy(&USUAL.replace("multiplier = 1.0", "multiplier = 4.0"), 5)
    };
    let (mut ledger, first) = (Ledger::default(), little("first"));
    let each = first.task.guarantee().unwrap().epsilon;
    assert!(each < 1.0 && each > 0.1, "{each}");
    join(&first, &mut ledger).unwrap();
    join(&first, &mut ledger).expect("the same run again spends nothing");
    let spent = (2..=20).take_while(|nth| join(&little(&nth.to_string()), &mut ledger).is_ok()).count();
    assert_eq!(spent + 1, (1.0 / each) as usize, "runs add up");
    let kept: Ledger = serde_json::from_str(&serde_json::to_string(&ledger).unwrap()).unwrap();
    assert_eq!(kept, ledger);
}
