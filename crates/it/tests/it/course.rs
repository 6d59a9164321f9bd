//! What a newcomer does.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::leak::Served;
use crate::{DATASET, Home, changed_recipe};

fn how(report: &Value) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    report["stages"].as_array().unwrap().iter().map(|stage| (text(&stage["stage"]), text(&stage["how"]))).collect()
}

fn stages(pairs: [(&str, &str); 5]) -> BTreeMap<String, String> {
    pairs.into_iter().map(|(stage, how)| (stage.to_owned(), how.to_owned())).collect()
}

#[test]
fn the_demo_publishes_once_and_its_numbers_add_up() {
    let home = Home::new();
    let first = home.json(&["demo", "--no-serve"]);
    let expected = acequia_simulate::donors(300, 300).expected;
    let donations = &first["run"]["donations"];
    // The two institutions are included too.
    assert_eq!(donations["included"], expected.included + 2);
    assert_eq!(donations["refused"], expected.refused);
    assert_eq!(donations["withdrawn"], expected.withdrawn);
    assert_eq!(donations["expired"], expected.expired);
    assert_eq!(donations["unknown"], expected.unknown);
    assert_eq!(donations["quarantined"], expected.quarantined);

    let counts = &first["run"]["stages"][0]["detail"]["counts"];
    let count = |name: &str| counts[name].as_u64().unwrap();
    let fates = ["loaded", "excluded", "held", "unmapped", "rejected"];
    assert_eq!(count("total"), fates.iter().map(|fate| count(fate)).sum::<u64>());
    assert!(fates.iter().all(|fate| count(fate) > 0), "every fate occurs: {counts}");

    let risk = &first["run"]["risk"];
    assert!(risk["classes"]["smallest"].as_u64().unwrap() >= 12);
    assert!(risk["risk"]["prosecutor"]["maximum"].as_f64().unwrap() <= 0.09);
    let released: u64 = first["run"]["splits"].as_array().unwrap().iter().map(|split| split[1].as_u64().unwrap()).sum();
    assert_eq!(risk["rows"]["released"], released);
    assert_eq!(risk["rows"]["input"], released + risk["rows"]["suppressed"].as_u64().unwrap());

    let again = home.json(&["demo", "--no-serve"]);
    assert_eq!((again["donated"]["known"].as_u64(), &again["run"]["published"]), (Some(302), &Value::Bool(false)));
    assert_eq!(again["run"]["manifest"], first["run"]["manifest"]);
    assert!(how(&again["run"]).values().all(|how| how == "reused"));

    let verified = home.json(&["verify", DATASET]);
    let checks = verified["checks"].as_array().unwrap();
    assert!(checks.len() > 10 && checks.iter().all(|check| check["held"] == true));
    assert!(home.run(&["doctor"]).status.success());

    // A downloaded copy can be rechecked without the node; a changed one is found out.
    let copy = home.folder.path().join("copy");
    home.json(&["release", "export", DATASET, "--to", copy.to_str().unwrap()]);
    home.json(&["verify", copy.to_str().unwrap()]);
    let card = copy.join("README.md");
    let text = std::fs::read_to_string(&card).unwrap();
    std::fs::write(&card, text + " ").unwrap();
    let output = home.run(&["verify", copy.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(6));
}

#[test]
fn two_demos_at_once_serve_on_two_addresses() {
    // The second finds the usual port taken, by the first or by whatever runs on this machine.
    let homes = [Home::new(), Home::new()];
    let served = homes.each_ref().map(|home| Served::of(home.command(&["demo"]), &home.folder.path().join("log")));
    assert_ne!(served[0].address, served[1].address);
    for served in &served {
        let page = String::from_utf8(served.get(&format!("/datasets/{DATASET}"))).unwrap();
        assert!(page.starts_with("HTTP/1.1 200 ") && page.contains("1 in 12"));
    }
}

#[test]
fn the_same_input_gives_the_same_bytes_on_any_number_of_threads() {
    let manifest =
        |threads: &str| Home::new().json(&["demo", "--no-serve", "--threads", threads])["run"]["manifest"].clone();
    let one = manifest("1");
    assert!(one.is_string());
    assert_eq!(one, manifest("2"));
}

#[test]
fn a_changed_recipe_runs_what_depends_on_it_and_no_more() {
    let home = Home::new();
    home.json(&["demo", "--no-serve"]);
    let run = |name: &str, changes: &[(&str, &str)]| {
        let recipe = changed_recipe(&home, name, changes);
        home.json(&["run", recipe.to_str().unwrap()])
    };
    let version = |to: &'static str| ("version = \"1.0.0\"\ntitle", to);

    let texts = run(
        "texts.toml",
        &[version("version = \"1.1.0\"\ntitle"), ("title = \"Breast cancer survival\"", "title = \"Another title\"")],
    );
    let kept = stages([
        ("unify", "reused"),
        ("cleanse", "reused"),
        ("cohort", "reused"),
        ("deidentify", "ran"),
        ("release", "ran"),
    ]);
    assert_eq!(how(&texts), kept);

    std::fs::copy(home.path().join("demo/example/cohort.sql"), home.path().join("demo/example/other.sql")).unwrap();
    let sql = home.path().join("demo/example/other.sql");
    let text = std::fs::read_to_string(&sql).unwrap();
    // Hundreds leave: whoever compares the versions would find those who stay in groups of fewer than k.
    std::fs::write(&sql, text.replace("f.days >= 0", "f.days >= 730")).unwrap();
    let changes = [version("version = \"1.2.0\"\ntitle"), ("cohort.sql", "other.sql")];
    let shorter = changed_recipe(&home, "shorter.toml", &changes);
    home.refused(&["run", shorter.to_str().unwrap()], 5, "DE021");
    std::fs::write(&sql, text.replace("f.days >= 0", "f.days > -1")).unwrap();
    let cohort = run("cohort.toml", &changes);
    let from_cohort = stages([
        ("unify", "reused"),
        ("cleanse", "reused"),
        ("cohort", "ran"),
        ("deidentify", "ran"),
        ("release", "ran"),
    ]);
    assert_eq!(how(&cohort), from_cohort);

    // The version is out: other content under it is refused, and nothing is lost by trying.
    let recipe =
        changed_recipe(&home, "same.toml", &[("title = \"Breast cancer survival\"", "title = \"Third title\"")]);
    home.refused(&["run", recipe.to_str().unwrap()], 5, "NO006");
    assert_eq!(home.json(&["release", "list"]).as_array().unwrap().len(), 3);
}

#[test]
fn who_withdraws_is_not_in_the_next_version() {
    let home = Home::new();
    let first = home.json(&["demo", "--no-serve"]);
    let line = home.json(&["consent", "withdraw", "donor-0001"]);
    assert_eq!(line["purposes"]["open-publication"], "withdrawn");
    let recipe = changed_recipe(&home, "next.toml", &[("version = \"1.0.0\"\ntitle", "version = \"1.0.1\"\ntitle")]);
    // One person alone would be the difference between the two versions.
    home.refused(&["run", recipe.to_str().unwrap()], 5, "NO013");
    let others: Vec<String> = home
        .json(&["consent", "list"])
        .as_array()
        .unwrap()
        .iter()
        .filter(|line| line["purposes"]["open-publication"] == "permitted")
        .map(|line| line["donor"].as_str().unwrap().to_owned())
        .filter(|donor| donor.starts_with("donor-"))
        .take(19)
        .collect();
    for donor in &others {
        home.json(&["consent", "withdraw", donor]);
    }
    let next = home.json(&["run", recipe.to_str().unwrap()]);
    let included = |report: &Value| report["donations"]["included"].as_u64().unwrap();
    // Two of the donors who allow publication gave a file that cannot be read.
    assert_eq!(included(&next), included(&first["run"]) - 18);
    let rows = |report: &Value| report["risk"]["rows"]["input"].as_u64().unwrap();
    let fewer = rows(&first["run"]) - rows(&next);
    assert!((12..=20).contains(&fewer), "{fewer} persons fewer");
    // Whoever left was in a class with others; some of those stay out too, or the one who is missing would be found.
    let withheld = next["risk"]["rows"]["withheld"].as_u64().unwrap();
    assert!(withheld > 0 && withheld < rows(&next) / 5, "{withheld} rows withheld");
    assert!(how(&next)["unify"] == "ran");

    home.json(&["consent", "give", "donor-0001", "--purpose", "research"]);
    let shown = home.json(&["consent", "show", "donor-0001"]);
    assert_eq!(
        (&shown["purposes"]["research"], &shown["purposes"]["open-publication"]),
        // The newest consent stands for all she allows; what it leaves out stays withdrawn.
        (&"permitted".into(), &"withdrawn".into())
    );
    home.refused(&["consent", "withdraw", "nobody-here"], 3, "NO009");
}

#[test]
fn a_donor_can_withdraw_while_a_run_goes_on() {
    let home = Home::new();
    home.json(&["demo", "--no-serve"]);
    let recipe = changed_recipe(&home, "next.toml", &[("version = \"1.0.0\"\ntitle", "version = \"1.0.1\"\ntitle")]);
    let mut run = home.command(&["run", recipe.to_str().unwrap()]);
    run.env("ACEQUIA_FAILPOINT", "release.stored").env("ACEQUIA_FAILPOINT_S", "4");
    let mut running = run.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let mut said = std::io::BufReader::new(running.stderr.take().unwrap());
    let mut line = String::new();
    while std::io::BufRead::read_line(&mut said, &mut line).unwrap() > 0 && !line.contains("failpoint release.stored") {
        line.clear();
    }
    let shown = home.json(&["consent", "withdraw", "donor-0001"]);
    assert_eq!(shown["purposes"]["open-publication"], "withdrawn");
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut said, &mut rest).unwrap();
    assert_eq!(running.wait().unwrap().code(), Some(4), "{rest}");
    assert!(rest.contains("CU002"), "{rest}");
    assert_eq!(home.json(&["release", "list"]).as_array().unwrap().len(), 1);
}

#[test]
fn only_a_recipe_for_open_publication_publishes() {
    let home = Home::new();
    home.json(&["demo", "--no-serve"]);
    let change = [("purpose = \"open-publication\"", "purpose = \"research\"")];
    let recipe = changed_recipe(&home, "research.toml", &change);
    home.refused(&["run", recipe.to_str().unwrap()], 2, "NO005");
}

#[test]
fn a_policy_that_cannot_be_met_publishes_nothing() {
    let home = Home::new();
    home.json(&["demo", "--no-serve"]);
    let changes = [
        ("version = \"1.0.0\"\ntitle", "version = \"2.0.0\"\ntitle"),
        ("k = 12", "k = 5000"),
        ("suppression_limit = 0.05", "suppression_limit = 0.0"),
    ];
    let recipe = changed_recipe(&home, "strict.toml", &changes);
    home.refused(&["run", recipe.to_str().unwrap()], 5, "DE007");
    assert_eq!(home.json(&["release", "list"]).as_array().unwrap().len(), 1);
}
