//! The whole course with the real program: what a newcomer does, and what must never happen.
//!
//! Cargo builds the program because crate `acequia` has an integration test; see `program`.

mod access;
mod bucket;
mod catalogues;
mod clients;
#[cfg(feature = "cluster")]
mod cluster;
mod course;
mod crash;
mod demo;
mod deposits;
mod foreign;
mod hostile;
mod leak;
mod learning;
mod manual;
mod models;
mod papers;
mod peers;
#[path = "../../../store/tests/it/postgres.rs"]
#[allow(dead_code, reason = "the tests of `store` use the rest")]
mod postgres;
mod records;
mod relay;
#[path = "../../../blobs/tests/it/server.rs"]
#[allow(dead_code, reason = "the tests of `blobs` use the rest")]
mod server;
mod training;
mod withdrawal;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// The program that was built with the same profile as this test.
pub(crate) fn program() -> PathBuf {
    let test = std::env::current_exe().expect("a path of this test");
    let folder = test.parent().and_then(Path::parent).expect("target folder");
    let program = folder.join("acequia");
    assert!(program.exists(), "build the program first: cargo test --release -p acequia --no-run");
    program
}

/// Every file in a folder and in those inside it.
pub(crate) fn files(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { all.extend(files(&path)) } else { all.push(path) }
    }
    all
}

/// A node in a folder of its own.
pub(crate) struct Home {
    pub(crate) folder: tempfile::TempDir,
    /// What its commands have in their environment besides.
    pub(crate) environment: Vec<(String, String)>,
}

impl Home {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder"), environment: Vec::new() }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("node")
    }

    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.arg("--home").arg(self.path()).args(words).stdin(Stdio::null());
        command
            .env_remove("ACEQUIA_HOME")
            .env_remove("ACEQUIA_FAILPOINT")
            .env_remove("ACEQUIA_THREADS")
            .env_remove("ACEQUIA_ADDRESS")
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    pub(crate) fn run(&self, words: &[&str]) -> Output {
        self.command(words).output().expect("the program runs")
    }

    /// Runs with `--json`, expects success, returns the document.
    #[track_caller]
    pub(crate) fn json(&self, words: &[&str]) -> Value {
        let output = self.run(&[words, &["--json"]].concat());
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("one JSON document")
    }

    /// Runs with `--json`, expects this exit status and code.
    #[track_caller]
    pub(crate) fn refused(&self, words: &[&str], exit: i32, code: &str) -> Output {
        let output = self.run(&[words, &["--json"]].concat());
        let stdout: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        assert_eq!(
            (output.status.code(), stdout["error"]["code"].as_str()),
            (Some(exit), Some(code)),
            "{words:?}: {output:?}"
        );
        output
    }
}

pub(crate) const DATASET: &str = "acequia/breast-cancer-survival";

/// The recipe of the example, changed, in the demo's folder.
pub(crate) fn changed_recipe(home: &Home, name: &str, changes: &[(&str, &str)]) -> PathBuf {
    let example = home.path().join("demo").join("example");
    let mut text = std::fs::read_to_string(example.join("recipe.toml")).expect("the recipe");
    for (from, to) in changes {
        assert!(text.contains(from), "the recipe has no {from}");
        text = text.replacen(from, to, 1);
    }
    let path = example.join(name);
    std::fs::write(&path, text).expect("written");
    path
}

/// Publishes the demo's data set once more under the next number, from the same records.
pub(crate) fn another_version(home: &Home) {
    let next = ("version = \"1.0.0\"\ntitle", "version = \"1.0.1\"\ntitle");
    let recipe = changed_recipe(home, "another.toml", &[next]);
    home.json(&["run", recipe.to_str().expect("a path")]);
}
