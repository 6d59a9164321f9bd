//! Papers that follow from the records.

use serde_json::json;

use crate::{Home, changed_recipe};

#[test]
fn papers_follow_from_the_records() {
    let home = Home::new();
    home.json(&["demo", "--no-serve"]);
    the_yearly_report_hides_small_counts(&home);
    the_register_of_breaches_keeps_the_clock(&home);
    an_assessment_is_of_one_recipe(&home);
}

fn the_yearly_report_hides_small_counts(home: &Home) {
    home.json(&["rights", "recipient", "lab-1", "--contact", "post@lab.example", "--dataset", crate::DATASET]);
    let year = &home.json(&["release", "list"])[0]["published_at"].as_str().unwrap()[..4].to_owned();
    let first = home.run(&["papers", "altruism", year]).stdout;
    assert_eq!(first, home.run(&["papers", "altruism", year]).stdout, "the same bytes");
    let report = home.json(&["papers", "altruism", year]);
    assert_eq!(report["results"].as_array().unwrap().len(), 1);
    assert_eq!(
        (&report["recipients"][0]["recipient"], &report["recipients"][0]["fee"]),
        (&json!("lab-1"), &json!("none"))
    );
    // Totals reconcile with what the other commands say.
    let consents = home.json(&["consent", "list"]);
    let gave = consents.as_array().unwrap().iter().filter(|line| {
        line["events"]
            .as_array()
            .unwrap()
            .iter()
            .any(|event| event["event"] == "give" && event["at"].as_str().unwrap().starts_with(year.as_str()))
    });
    assert_eq!(report["donors"]["gave"], json!(gave.count()));
    home.json(&["rights", "open", "donor-0001", "access"]);
    let report = home.json(&["papers", "altruism", year]);
    assert_eq!(report["requests"][0]["received"], "fewer than 12");
    assert!(!report.to_string().contains("donor-"), "no donor is named");
    let other = home.json(&["papers", "altruism", "2019"]);
    assert_eq!((&other["donors"]["gave"], other["results"].as_array().unwrap().len()), (&json!(0), 0));
    assert_eq!(other["recipients_told"], json!({ "notices": 0, "confirmed": 0 }));
}

/// Where an assessment is needed, nothing opens without one of this very recipe.
fn an_assessment_is_of_one_recipe(home: &Home) {
    std::fs::write(home.path().join("settings.toml"), "[governance]\nneeds_assessment = true\n").unwrap();
    let change = ("version = \"1.0.0\"\ntitle", "version = \"1.1.0\"\ntitle");
    let recipe = changed_recipe(home, "assessed.toml", &[change]);
    let recipe = recipe.to_str().unwrap();
    home.refused(&["run", recipe], 4, "NO017");
    let paper = home.json(&["papers", "assessment", recipe]);
    assert_eq!((&paper["approval"], &paper["approval_is_of_this_pipeline"]), (&json!(null), &json!(false)));
    let approve = |risk: &str, until: &str| {
        home.json(&["papers", "assessment", recipe, "--approved-by", "ann", "--until", until, "--risk", risk])
    };
    approve("high", "2999-12-31");
    home.refused(&["run", recipe], 4, "NO017");
    approve("low", "2020-01-01");
    home.refused(&["run", recipe], 4, "NO017");
    assert_eq!(approve("low", "2999-12-31")["approval_is_of_this_pipeline"], true);
    let other = changed_recipe(home, "other.toml", &[change, ("k = 12", "k = 13")]);
    home.refused(&["run", other.to_str().unwrap()], 4, "NO017");
    assert_eq!(home.json(&["run", recipe])["published"], true);
}

fn the_register_of_breaches_keeps_the_clock(home: &Home) {
    let words = ["--aware", "2026-05-04T09:30:00Z", "--nature", "a laptop was lost", "--dataset", crate::DATASET];
    let register = home.json(&[&["papers", "breach"], &words[..]].concat());
    assert_eq!(register[0]["tell_by"], "2026-05-07T09:30:00Z");
    assert_eq!((&register[0]["overdue"], &register[0]["decided"]), (&json!(true), &json!(false)));
    assert!(register[0]["donors_concerned"].as_u64().unwrap() > 100);
    home.refused(&["papers", "breach", "1", "--close"], 2, "NO018");
    let told = home.json(&[
        "papers",
        "breach",
        "1",
        "--effects",
        "none",
        "--measures",
        "it was encrypted",
        "--authority-told",
    ]);
    assert_eq!((&told[0]["overdue"], &told[0]["decided"]), (&json!(true), &json!(true)), "told, but late");
    assert_eq!(told[0]["events"].as_array().unwrap().len(), 3);
    let again = home.json(&["papers", "breach", "1", "--authority-told"]);
    assert_eq!(again[0]["overdue"], true, "told again does not make it in time");
    home.json(&["papers", "breach", "1", "--close"]);
    // Entered later, told in time.
    let words = ["--aware", "2026-05-04T09:30:00Z", "--nature", "another", "--dataset"];
    let version = format!("{}@v1.0.0", crate::DATASET);
    let register = home.json(&[&["papers", "breach"], &words[..], &[version.as_str()]].concat());
    assert!(register[1]["donors_concerned"].as_u64().unwrap() > 100);
    let told = home.json(&["papers", "breach", "2", "--authority-told", "--told-at", "2026-05-06T09:30:00Z"]);
    assert_eq!((&told[1]["overdue"], &told[1]["decided"]), (&json!(false), &json!(true)));
    home.refused(&["papers", "breach", "1", "--people-told"], 3, "NO009");
    home.refused(&["papers", "breach", "7", "--close"], 3, "NO009");
    assert!(home.run(&["doctor"]).status.success());
}
