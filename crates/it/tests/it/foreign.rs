//! Models of other programs through the real program: in a process of their own, measured as by their own runtime.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::Home;
use crate::clients::python;
use crate::manual::root;

fn example(name: &str) -> String {
    root().join("examples/breast-cancer").join(name).display().to_string()
}

fn estimate(record: &Value, name: &str) -> f64 {
    let all = record["sites"][0]["estimates"].as_array().unwrap();
    all.iter().find(|one| one["name"] == name).unwrap_or_else(|| panic!("{name}"))["value"].as_f64().unwrap()
}

#[test]
fn models_of_others_are_worth_what_their_runtime_says() {
    let Some(python) = python() else { return };
    let (home, folder) = (Home::new(), tempfile::tempdir().unwrap());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/foreign.py");
    let models = root().join("crates/inference/tests/data");
    let output = Command::new(python)
        .arg(script)
        .args([folder.path(), models.as_path(), Path::new(&example("rotterdam.csv"))])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut measured = 0;
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "onnx") {
            continue;
        }
        let worth: Value = serde_json::from_slice(&std::fs::read(path.with_extension("json")).unwrap()).unwrap();
        let (model, at) = (path.display().to_string(), format!("here={}", example("rotterdam.csv")));
        let record = home.json(&["validate", &model, "--at", &at, "--bootstraps", "0"]);
        for (name, expected) in worth.as_object().unwrap() {
            let (found, expected) = (estimate(&record, name), expected.as_f64().unwrap());
            assert!((found - expected).abs() < 1e-5, "{model}: {name} is {found}, and {expected} by onnxruntime");
        }
        assert_eq!(record["evidence"], "L0", "nobody says where it was developed");
        measured += 1;
    }
    assert_eq!(measured, 13);
}

/// What the command says to who gives too little, something else, or a file made to harm.
#[test]
fn a_model_of_others_is_refused_with_what_would_be_taken() {
    let (home, folder) = (Home::new(), tempfile::tempdir().unwrap());
    let at = format!("gbsg={}", example("gbsg.csv"));
    let lonely = folder.path().join("lonely.onnx");
    std::fs::copy(example("theirs.onnx"), &lonely).unwrap();
    let lonely = lonely.display().to_string();
    let said = home.refused(&["validate", &lonely, "--at", &at], 2, "LE021");
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains("it gives label (int64 [rows]), probabilities (float [rows, 2])"), "{said}");
    let manifest = example("theirs.import.toml");
    let record = home.json(&["validate", &lonely, "--manifest", &manifest, "--at", &at, "--bootstraps", "20"]);
    assert_eq!(record["imported"]["creators"][0], "Somebody else");
    // A loop, which nobody can tell the end of.
    let neighbours = root().join("crates/inference/tests/data/neighbours.onnx").display().to_string();
    home.refused(&["validate", &neighbours, "--manifest", &manifest, "--at", &at], 5, "IF003");
    let broken = folder.path().join("broken.onnx");
    let bytes = std::fs::read(example("theirs.onnx")).unwrap();
    std::fs::write(&broken, &bytes[..bytes.len() / 2]).unwrap();
    home.refused(&["validate", &broken.display().to_string(), "--manifest", &manifest, "--at", &at], 6, "IF001");
    // It is measured, and not published.
    let card = std::fs::read_to_string(example("survival.model.toml"))
        .unwrap()
        .replace("\"model.json\"", "\"theirs.onnx\"")
        .replace("[\"record.json\"]", "[]");
    std::fs::write(folder.path().join("theirs.model.toml"), card).unwrap();
    std::fs::copy(example("theirs.onnx"), folder.path().join("theirs.onnx")).unwrap();
    home.json(&["init"]);
    let card = folder.path().join("theirs.model.toml").display().to_string();
    home.refused(&["publish", &card, "--by", "anna"], 2, "LE021");
}
