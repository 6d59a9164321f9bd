//! A second opinion: the same rules in Python, on random histories.

use std::io::Write;
use std::process::{Command, Stdio};

use acequia_custody::{Policy, Recorded, Verdict};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Value, json};

use crate::histories::{Question, policy, question, records};

const CASES: usize = 10_000;

fn as_json(records: &[Recorded], question: &Question, policy: &Policy) -> Value {
    json!({
        "history": records,
        "policy": policy,
        "query": {
            "facts": question.facts,
            "purpose": question.purpose,
            "operation": question.operation,
            "data_class": question.data_class,
            "agreement": question.agreement,
            "permit_approved_at": question.permit_approved_at,
            "institutional": question.institutional,
            "valid_at": question.valid_at,
            "known_at": question.known_at,
            "state_as_of": question.state_as_of,
        },
    })
}

fn in_words(verdict: Verdict) -> String {
    let words = |reasons: acequia_custody::Reasons| {
        let mut words: Vec<&str> = reasons.iter().map(|reason| reason.as_str()).collect();
        words.sort_unstable();
        words.join(",")
    };
    match verdict {
        Verdict::Permit { until } => format!("permit {}", until.map_or("none".to_owned(), |day| day.to_string())),
        Verdict::Refer(reasons) => format!("refer {}", words(reasons)),
        Verdict::Deny(reasons) => format!("deny {}", words(reasons)),
    }
}

#[test]
fn an_independent_oracle_agrees_on_random_histories_and_questions() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/oracle/oracle.py");
    let spawned = Command::new("python3").arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let mut python = match spawned {
        Ok(python) => python,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("skipped: there is no python3, so no second opinion on consent");
            return;
        }
        Err(error) => panic!("{error}"),
    };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[26; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let cases = (records(), question(), policy());
    let cases: Vec<_> = (0..CASES).map(|_| cases.new_tree(&mut runner).unwrap().current()).collect();
    let mut lines = String::new();
    for (records, question, policy) in &cases {
        lines += &as_json(records, question, policy).to_string();
        lines.push('\n');
    }
    let mut stdin = python.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(lines.as_bytes()));
    let output = python.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success());
    let answers = String::from_utf8(output.stdout).unwrap();
    assert_eq!(answers.lines().count(), CASES);
    let (mut differ, mut kinds) = (Vec::new(), std::collections::BTreeMap::<String, usize>::new());
    for ((records, question, policy), answer) in cases.iter().zip(answers.lines()) {
        let ours = in_words(question.ask(records, policy));
        for word in ours.split([' ', ',']).filter(|word| !word.starts_with("20") && *word != "none") {
            *kinds.entry(word.to_owned()).or_default() += 1;
        }
        if ours != answer {
            differ.push(format!("ours {ours}, oracle {answer}: {}", as_json(records, question, policy)));
        }
    }
    assert!(differ.is_empty(), "{} of {CASES} differ, such as {}", differ.len(), differ[0]);
    // The cases are worth asking about: every kind of answer and every reason comes up.
    let rare: Vec<_> = acequia_custody::Reason::ALL
        .iter()
        .map(|reason| reason.as_str())
        .chain(["permit", "refer", "deny"])
        .filter(|word| kinds.get(*word).is_none_or(|count| *count < 20))
        .collect();
    assert!(rare.is_empty(), "hardly asked about: {rare:?} in {kinds:?}");
}
