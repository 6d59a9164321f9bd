//! Stock clients from PyPI, and Chromium.

use std::path::Path;
use std::process::Command;

use crate::leak::Served;
use crate::{DATASET, Home};

/// The Python of the environment that `./test` makes; `None` when there is none.
pub(crate) fn python() -> Option<String> {
    let python = std::env::var("ACEQUIA_TEST_PYTHON").ok();
    if python.is_none() {
        println!("skipped: run ./test, which installs the clients");
    }
    python
}

/// Runs a script of `clients/` against the demo's data set and expects that it ends well.
#[track_caller]
fn script(python: &str, name: &str, words: impl FnOnce(&str) -> Vec<String>) {
    let home = Home::new();
    home.json(&["demo", "--no-serve"]);
    let served = Served::start(&home);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients").join(name);
    let endpoint = format!("http://{}", served.address);
    let output = Command::new(python).arg(script).args(words(&endpoint)).output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stdout}\n{stderr}");
    println!("{stdout}");
}

#[test]
fn stock_hub_clients_read_the_data_set() {
    let Some(python) = python() else { return };
    let program = crate::program().display().to_string();
    script(&python, "clients.py", |endpoint| vec![endpoint.to_owned(), DATASET.to_owned(), program]);
}

/// RDF against its shapes, Croissant, RO-Crate, DataCite, OAI-PMH, DRS, Signposting, OpenAPI, as harvesters read them.
#[test]
fn catalogues_and_harvesters_read_the_data_set() {
    let Some(python) = python() else { return };
    let shapes = crate::manual::root().join("../shared/data/standards");
    script(&python, "catalogues.py", |endpoint| {
        let shapes = shapes.is_dir().then(|| shapes.display().to_string());
        [endpoint.to_owned(), DATASET.to_owned()].into_iter().chain(shapes).collect()
    });
}

/// In Chromium, on phones and wide screens, light and dark, with the keyboard, judged by axe-core.
#[test]
fn pages_stand_in_a_browser() {
    let Some(python) = python() else { return };
    if Command::new("chromium").arg("--version").output().is_err() {
        println!("skipped: Chromium is not installed");
        return;
    }
    script(&python, "pages.py", |endpoint| {
        let page = format!("/datasets/{DATASET}");
        let paths = [endpoint, "/", &page, "/?q=nothing-like-this", "/datasets/no/such", "/problems"];
        let tabs = ["data", "files", "versions", "use", "governance"].map(|tab| format!("{page}/v/1.0.0/{tab}"));
        paths.into_iter().map(str::to_owned).chain(tabs).chain([format!("{page}/compare/1.0.0..1.0.0")]).collect()
    });
}
