//! What `./demo` shows: three hospitals train over the network, the model is that of all rows in one table, it is measured on another
//! cohort, and model and record are published.

use std::path::Path;

use serde_json::Value;

use crate::Home;
use crate::manual::root;

fn document(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn coefficients(model: &Value) -> Vec<f64> {
    model["form"]["coefficients"].as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
}

fn largest_difference(one: &Value, other: &Value) -> f64 {
    let (one, other) = (coefficients(one), coefficients(other));
    assert!(one.len() == other.len() && !one.is_empty());
    one.iter().zip(&other).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

#[test]
fn the_hospitals_of_the_demo_give_the_model_of_all_rows_and_it_is_published_with_its_record() {
    let home = Home::new();
    let shown = home.json(&["demo", "--network", "--no-serve"])["network"].clone();
    assert_eq!(shown["sites"], serde_json::json!(["hospital-a", "hospital-b", "hospital-c"]));
    let told = shown["largest_difference"].as_f64().unwrap();
    assert!(told <= 1e-6, "{told}");

    // The same again, found here: all rows in one table, and the hospitals' tables without masks.
    let folder = home.path().join("demo/network");
    let plan = root().join("examples/breast-cancer/survival.plan.toml");
    let plan = plan.to_str().unwrap();
    let whole = format!("rotterdam={}", root().join("examples/breast-cancer/rotterdam.csv").display());
    let pooled =
        home.json(&["train", plan, "--site", &whole, "--mode", "centralised", "--unmasked"])["outcome"].clone();
    let sites: Vec<String> = ["hospital-a", "hospital-b", "hospital-c"]
        .iter()
        .map(|name| format!("{name}={}", folder.join(format!("{name}.csv")).display()))
        .collect();
    let words: Vec<&str> = sites.iter().flat_map(|site| ["--site", site.as_str()]).collect();
    let plain = home.json(&[&["train", plan, "--unmasked"][..], &words].concat())["outcome"].clone();
    let model = document(&folder.join("model.json"));
    let (masked, unmasked) = (largest_difference(&model, &pooled), largest_difference(&plain, &pooled));
    println!("federated and pooled: {masked:.1e} masked, {unmasked:.1e} without masks");
    assert!(masked <= 1e-6 && unmasked <= 1e-8, "{masked} {unmasked}");
    assert!((masked - told).abs() < 1e-12, "it tells what is so");
    assert_eq!((&model["fit"]["rows"], &model["fit"]["events"]), (&2982.into(), &1275.into()));

    // Measured on the German trial, which it did not learn from.
    let record = document(&folder.join("record.json"));
    assert_eq!((&record["evidence"], &record["sites"][0]["site"]), (&"L2".into(), &"gbsg".into()));
    assert_eq!((&record["sites"][0]["rows"], &record["sites"][0]["events"]), (&686.into(), &285.into()));
    let concordance = shown["concordance"].as_f64().unwrap();
    assert!((concordance - 0.6524).abs() < 1e-3, "{concordance}");
    let page = std::fs::read_to_string(folder.join("record.html")).unwrap();
    assert!(page.contains("Not a medical device") && page.contains("gbsg"));

    // Both are out, and hold together.
    let published = &shown["published"];
    assert_eq!(published["published"], true);
    let name = format!("{}@{}", published["model"].as_str().unwrap(), published["version"].as_str().unwrap());
    let copy = home.folder.path().join("copy");
    home.json(&["verify", &name]);
    home.json(&["release", "export", published["model"].as_str().unwrap(), "--to", copy.to_str().unwrap()]);
    home.json(&["verify", copy.to_str().unwrap()]);
    assert_eq!(document(&copy.join("validation/gbsg.json")), record, "as it was measured");
    assert!(copy.join("validation/gbsg.html").is_file());
    assert_eq!(document(&copy.join("model.json")), model);

    // Shown once more, it trains again and leaves what is out.
    let again = home.json(&["demo", "--network", "--no-serve"])["network"].clone();
    assert!(again["published"].is_null() && again["largest_difference"].as_f64().unwrap() <= 1e-6);
}
