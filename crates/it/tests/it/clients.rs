//! Stock clients from PyPI, and Chromium.

use std::process::Command;

use crate::leak::Served;
use crate::{DATASET, Home};

/// The Python of the environment that `./test` makes; `None` when there is none.
fn python() -> Option<String> {
    let python = std::env::var("ACEQUIA_TEST_PYTHON").ok();
    if python.is_none() {
        println!("skipped: run ./test, which installs the clients");
    }
    python
}

#[test]
fn stock_hub_clients_read_the_data_set() {
    let Some(python) = python() else { return };
    let home = Home::new();
    home.json(&["demo", "--no-serve"]);
    let served = Served::start(&home);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/clients/clients.py");
    let endpoint = format!("http://{}", served.address);
    let output = Command::new(python).args([script, &endpoint, DATASET]).output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stdout}\n{stderr}");
    println!("{stdout}");
}

#[test]
fn pages_come_up_in_chromium() {
    if Command::new("chromium").arg("--version").output().is_err() {
        println!("skipped: Chromium is not installed");
        return;
    }
    let home = Home::new();
    home.json(&["demo", "--no-serve"]);
    let served = Served::start(&home);
    for (path, expected) in [("/".to_owned(), "Breast cancer survival"), (format!("/datasets/{DATASET}"), "1 in ")] {
        let url = format!("http://{}{path}", served.address);
        let profile = home.folder.path().join("chromium");
        let output = Command::new("chromium")
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--window-size=390,844",
                "--dump-dom",
                "--enable-logging=stderr",
            ])
            .arg(format!("--user-data-dir={}", profile.display()))
            .arg(&url)
            .output()
            .unwrap();
        let (page, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(page.contains(expected), "{path}: {page}");
        assert_eq!(page.matches("<h1").count(), 1, "one first heading on {path}");
        // The content security policy is strict: Chromium says so when a page breaks it.
        assert!(!log.contains("Content Security Policy") && !log.contains("CONSOLE"), "{log}");
    }
}
