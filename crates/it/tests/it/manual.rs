//! The manual says what the program does.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::Home;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            all.push(path);
        }
    }
    all
}

/// Texts like `"AB001"`.
fn codes(text: &str) -> BTreeSet<String> {
    let bytes = text.as_bytes();
    let is_code = |at: usize| {
        bytes[at..at + 2].iter().all(u8::is_ascii_uppercase) && bytes[at + 2..at + 5].iter().all(u8::is_ascii_digit)
    };
    (1..bytes.len().saturating_sub(5))
        .filter(|at| matches!(bytes[at - 1], b'"' | b'`') && matches!(bytes[at + 5], b'"' | b'`') && is_code(*at))
        .map(|at| text[at..at + 5].to_owned())
        .collect()
}

#[test]
fn every_error_code_is_in_the_manual_and_no_other() {
    let mut used = BTreeSet::new();
    for krate in std::fs::read_dir(root().join("crates")).unwrap() {
        let source = krate.unwrap().path().join("src");
        if source.is_dir() {
            for path in sources(&source) {
                let text = std::fs::read_to_string(path).unwrap();
                used.extend(codes(text.split("#[cfg(test)]").next().unwrap_or_default()));
            }
        }
    }
    let manual = codes(&std::fs::read_to_string(root().join("docs/errors.md")).unwrap());
    let missing: Vec<_> = used.difference(&manual).collect();
    let obsolete: Vec<_> = manual.difference(&used).collect();
    assert!(missing.is_empty() && obsolete.is_empty(), "missing {missing:?}, obsolete {obsolete:?}");
}

#[test]
fn every_command_has_help_with_an_example() {
    let home = Home::new();
    let commands: [&[&str]; 25] = [
        &[],
        &["init"],
        &["donate"],
        &["consent"],
        &["consent", "list"],
        &["consent", "show"],
        &["consent", "give"],
        &["consent", "refuse"],
        &["consent", "withdraw"],
        &["run"],
        &["release"],
        &["release", "list"],
        &["release", "export"],
        &["verify"],
        &["serve"],
        &["doctor"],
        &["demo"],
        &["vocabulary"],
        &["vocabulary", "load"],
        &["vocabulary", "diff"],
        &["vocabulary", "search"],
        &["vocabulary", "show"],
        &["vocabulary", "candidates"],
        &["vocabulary", "export"],
        &["completions"],
    ];
    for command in commands {
        let output = home.run(&[command, &["--help"]].concat());
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && text.contains("Example"), "{command:?}: {text}");
    }
    for shell in ["bash", "zsh", "fish"] {
        assert!(home.run(&["completions", shell]).stdout.len() > 1000);
    }
}

/// Commands of the guides: every line of a `sh` block that begins with `acequia`, run in order in one folder.
#[test]
fn every_command_in_the_guides_runs() {
    let mut guides = vec![root().join("README.md")];
    for entry in std::fs::read_dir(root().join("docs")).unwrap() {
        guides.push(entry.unwrap().path());
    }
    guides.sort();
    let mut run = 0;
    for guide in guides {
        let text = std::fs::read_to_string(&guide).unwrap();
        let home = Home::new();
        let here = home.folder.path();
        std::os::unix::fs::symlink(root().join("examples"), here.join("examples")).unwrap();
        let mut block: Option<(String, Vec<String>)> = None;
        for line in text.lines() {
            match (&mut block, line.strip_prefix("```")) {
                (None, Some(kind)) => block = Some((kind.trim().to_owned(), Vec::new())),
                (Some((kind, lines)), Some(_)) => {
                    if let Some(file) = kind
                        .strip_prefix("toml title=")
                        .or_else(|| kind.strip_prefix("csv title="))
                        .or_else(|| kind.strip_prefix("json title="))
                    {
                        std::fs::write(here.join(file), lines.join("\n") + "\n").unwrap();
                    } else if kind == "sh" {
                        for line in lines.iter().filter(|line| line.starts_with("acequia ")) {
                            let words: Vec<&str> = line.split_whitespace().skip(1).collect();
                            if words.contains(&"serve") || words == ["demo"] {
                                continue;
                            }
                            let output = std::process::Command::new(crate::program())
                                .args(&words)
                                .current_dir(here)
                                .env("ACEQUIA_HOME", "my-node")
                                .output()
                                .unwrap();
                            let stderr = String::from_utf8_lossy(&output.stderr);
                            assert!(output.status.success(), "{}: {line}: {stderr}", guide.display());
                            run += 1;
                        }
                    }
                    block = None;
                }
                (Some((_, lines)), None) => lines.push(line.to_owned()),
                (None, None) => {}
            }
        }
    }
    assert!(run > 15, "only {run} commands in the guides");
}
