//! The manual says what the program does.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::leak::Served;
use crate::{Home, files};

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Rust sources below a folder.
fn sources(folder: &Path) -> impl Iterator<Item = PathBuf> {
    files(folder).into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
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

/// Every test that the page of threats names is there.
#[test]
fn threats_name_tests_that_exist() {
    let page = std::fs::read_to_string(root().join("docs/threats.md")).unwrap();
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| T")).collect();
    let shown = rows.iter().filter_map(|row| row.split('|').nth(3)).flat_map(|cell| cell.split('`').skip(1).step_by(2));
    let named: BTreeSet<&str> = shown.collect();
    assert!(rows.len() >= 16 && named.len() > 30, "{} {}", rows.len(), named.len());
    let mut text = String::new();
    for krate in std::fs::read_dir(root().join("crates")).unwrap() {
        for folder in ["src", "tests"] {
            let folder = krate.as_ref().unwrap().path().join(folder);
            if folder.is_dir() {
                text.extend(sources(&folder).map(|path| std::fs::read_to_string(path).unwrap()));
            }
        }
    }
    for name in named {
        assert!(text.contains(&format!("fn {name}(")), "no test is called {name}");
    }
}

#[test]
fn every_command_has_help_with_an_example() {
    let home = Home::new();
    let commands: &[&[&str]] = &[
        &[],
        &["init"],
        &["donate"],
        &["read"],
        &["consent"],
        &["consent", "list"],
        &["consent", "show"],
        &["consent", "give"],
        &["consent", "refuse"],
        &["consent", "withdraw"],
        &["consent", "notice"],
        &["consent", "report"],
        &["consent", "timeline"],
        &["account"],
        &["account", "invite"],
        &["account", "list"],
        &["account", "close"],
        &["access"],
        &["access", "list"],
        &["access", "show"],
        &["access", "grant"],
        &["access", "refuse"],
        &["access", "revoke"],
        &["access", "promises"],
        &["access", "take-back"],
        &["access", "give-back"],
        &["token"],
        &["token", "create"],
        &["token", "list"],
        &["token", "revoke"],
        &["deposit"],
        &["deposit", "list"],
        &["deposit", "show"],
        &["deposit", "take"],
        &["deposit", "refuse"],
        &["deposit", "remove"],
        &["run"],
        &["release"],
        &["release", "list"],
        &["release", "export"],
        &["release", "take-down"],
        &["verify"],
        &["serve"],
        &["doctor"],
        &["blobs"],
        &["blobs", "copy"],
        &["demo"],
        &["hierarchy"],
        &["shift-dates"],
        &["deidentify"],
        &["diversity"],
        &["risk"],
        &["check-anonymity"],
        &["link"],
        &["link", "key"],
        &["link", "encode"],
        &["link", "private"],
        &["link", "forget"],
        &["cleanse"],
        &["unify"],
        &["vocabulary"],
        &["vocabulary", "load"],
        &["vocabulary", "diff"],
        &["vocabulary", "search"],
        &["vocabulary", "show"],
        &["vocabulary", "candidates"],
        &["vocabulary", "export"],
        &["rights"],
        &["rights", "open"],
        &["rights", "list"],
        &["rights", "show"],
        &["rights", "acknowledge"],
        &["rights", "identify"],
        &["rights", "ask"],
        &["rights", "answered"],
        &["rights", "approve"],
        &["rights", "waive"],
        &["rights", "extend"],
        &["rights", "execute"],
        &["rights", "close"],
        &["rights", "refuse"],
        &["rights", "take-back"],
        &["rights", "letter"],
        &["rights", "certificate"],
        &["rights", "recipient"],
        &["rights", "notices"],
        &["rights", "notify"],
        &["rights", "confirm"],
        &["papers"],
        &["papers", "receipt"],
        &["papers", "consent"],
        &["papers", "import"],
        &["papers", "processing"],
        &["papers", "altruism"],
        &["papers", "assessment"],
        &["papers", "breach"],
        &["train"],
        &["network"],
        &["network", "key"],
        &["network", "card"],
        &["network", "sign"],
        &["network", "join"],
        &["network", "members"],
        &["network", "log"],
        &["network", "run"],
        &["network", "aggregate"],
        &["network", "relay"],
        &["network", "check"],
        &["network", "catalogue"],
        &["network", "catalogue", "sync"],
        &["network", "catalogue", "list"],
        &["network", "catalogue", "fetch"],
        &["network", "catalogue", "mirror"],
        &["site"],
        &["site", "serve"],
        &["site", "runs"],
        &["site", "show"],
        &["site", "budget"],
        &["site", "approve"],
        &["site", "refuse"],
        &["site", "stop"],
        &["site", "resume"],
        &["validate"],
        &["publish"],
        &["completions"],
    ];
    for command in commands {
        let output = home.run(&[*command, &["--help"]].concat());
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && text.contains("Example"), "{command:?}: {text}");
    }
    for shell in ["bash", "zsh", "fish"] {
        assert!(home.run(&["completions", shell]).stdout.len() > 1000);
    }
}

/// A fenced block of a guide: its tag and its lines.
type Block = (String, Vec<String>);

fn blocks(text: &str) -> Vec<Block> {
    let mut all = Vec::new();
    let mut open: Option<Block> = None;
    for line in text.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(tag)) => open = Some((tag.trim().to_owned(), Vec::new())),
            (Some(_), Some(_)) => all.extend(open.take()),
            (Some((_, lines)), None) => lines.push(line.to_owned()),
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a block is never closed");
    all
}

/// A reader who follows one guide in a folder of her own.
struct Reader {
    home: Home,
    guide: String,
    /// What she exported.
    exported: Vec<(String, String)>,
    /// What she left running.
    running: Vec<Child>,
    run: usize,
}

impl Drop for Reader {
    fn drop(&mut self) {
        for child in &mut self.running {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Reader {
    fn here(&self) -> &Path {
        self.home.folder.path()
    }

    fn acequia(&self, words: &[&str]) -> Command {
        let mut command = Command::new(crate::program());
        command.args(words).current_dir(self.here()).stdin(Stdio::null());
        for variable in ["ACEQUIA_HOME", "ACEQUIA_FAILPOINT", "ACEQUIA_THREADS"] {
            command.env_remove(variable);
        }
        // The port of the guides may be taken on the machine that tests.
        command.env("ACEQUIA_ADDRESS", "127.0.0.1:0").envs(self.exported.iter().cloned());
        command
    }

    /// Serves what she published, as long as the value lives.
    fn serving(&self) -> Served {
        Served::of(self.acequia(&["serve"]), &self.here().join("serve.log"))
    }

    /// One line of a shell. Every line is known here, so that none is written that nobody runs.
    fn shell(&mut self, line: &str) {
        let command = line.split(" #").next().unwrap_or_default().trim();
        let words: Vec<&str> = command.split_whitespace().collect();
        let guide = &self.guide;
        assert!(!command.contains(['\'', '"', '|', '$', '\\', ';']), "{guide}: too clever for this test: {line}");
        match words.as_slice() {
            [] => return,
            // `./test` runs the demo and everything else; to run them from inside it would never end.
            ["./demo" | "./test"] => assert!(root().join(words[0]).is_file(), "{guide}: {line}"),
            ["cargo", "install", "--path", path, "--features", "cluster"] | ["cargo", "install", "--path", path] => {
                assert!(root().join(path).join("Cargo.toml").is_file(), "{line}")
            }
            ["export", pair] => {
                let (name, value) = pair.split_once('=').expect("NAME=VALUE");
                self.exported.push((name.to_owned(), value.to_owned()));
            }
            ["cp", from, to] => drop(std::fs::copy(self.here().join(from), self.here().join(to)).expect(line)),
            ["acequia", "serve"] => {
                let answer = self.serving().get("/");
                assert!(answer.starts_with(b"HTTP/1.1 200 "), "{guide}: {line}");
            }
            ["acequia", words @ .., "&"] => {
                let log = std::fs::File::create(self.here().join(format!("background-{}.log", self.run))).unwrap();
                let child = self.acequia(words).stdout(Stdio::null()).stderr(log).spawn().unwrap();
                self.running.push(child);
            }
            ["acequia", words @ ..] => {
                let output = self.acequia(words).output().unwrap();
                let stderr = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success(), "{guide}: {line}: {stderr}");
            }
            _ => panic!("{guide}: nobody runs {line}"),
        }
        self.run += 1;
    }

    /// A Python block, with nothing set but the address.
    fn python(&mut self, served: &Served, code: &str) {
        let Some(python) = crate::clients::python() else { return };
        let cache = self.here().join("hf");
        let output = Command::new(python)
            .args(["-c", code])
            .env("HF_ENDPOINT", format!("http://{}", served.address))
            .env("HF_HOME", cache)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}: {}", self.guide, String::from_utf8_lossy(&output.stderr));
        self.run += 1;
    }
}

/// README and guides, block by block: files are written, commands run in order in one folder, Python reads what they published.
#[test]
fn every_block_of_the_guides_runs() {
    let mut guides = vec![root().join("README.md")];
    for entry in std::fs::read_dir(root().join("docs")).unwrap() {
        guides.push(entry.unwrap().path());
    }
    guides.sort();
    let mut run = 0;
    for path in guides {
        let guide = path.file_name().unwrap().to_string_lossy().into_owned();
        let mut reader = Reader { home: Home::new(), guide, exported: Vec::new(), running: Vec::new(), run: 0 };
        std::os::unix::fs::symlink(root().join("examples"), reader.here().join("examples")).unwrap();
        let mut python = Vec::new();
        for (tag, lines) in blocks(&std::fs::read_to_string(&path).unwrap()) {
            match (tag.as_str(), tag.split_once(" title=")) {
                ("text" | "mermaid", _) => {}
                ("sh", _) => lines.iter().for_each(|line| reader.shell(line)),
                ("python", _) => python.push(lines.join("\n")),
                (_, Some(("toml" | "csv" | "json" | "hl7" | "sql", file))) => {
                    let file = reader.here().join(file);
                    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
                    std::fs::write(file, lines.join("\n") + "\n").unwrap();
                }
                _ => panic!("{}: nobody looks at blocks of {tag}", reader.guide),
            }
        }
        if !python.is_empty() {
            let served = reader.serving();
            python.iter().for_each(|code| reader.python(&served, code));
        }
        run += reader.run;
    }
    assert!(run > 25, "only {run} commands in the guides");
}

/// The README begins with five lines on what this is, a picture, and the two commands, in this order.
#[test]
fn the_readme_begins_as_promised() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let mut parts = readme.split("\n\n");
    assert_eq!(parts.next(), Some("# Acequia"));
    assert_eq!(parts.next().map(|words| words.lines().count()), Some(5));
    assert!(parts.next().is_some_and(|picture| picture.starts_with("```") && picture.contains("GATE")));
    assert!(parts.next().is_some_and(|heading| heading.starts_with("## ")));
    assert_eq!(parts.next(), Some("```sh\n./demo\n./test\n```"));
    assert!(readme.contains("## Your own data in five minutes"));
    // Links inside the project lead somewhere.
    let mut links = 0;
    for guide in [
        "README.md",
        "CONTRIBUTING.md",
        "ARCHITECTURE.md",
        "docs/hospital.md",
        "docs/trustee.md",
        "docs/learning.md",
        "docs/models.md",
        "docs/network.md",
        "docs/errors.md",
    ] {
        let text = std::fs::read_to_string(root().join(guide)).unwrap();
        let folder = root().join(guide).parent().unwrap().to_owned();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()) {
            if !target.is_empty() && !target.contains("://") {
                assert!(folder.join(target).exists(), "{guide}: {target}");
                links += 1;
            }
        }
    }
    assert!(links > 5);
}
