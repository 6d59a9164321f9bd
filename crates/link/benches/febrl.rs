//! Linkage as a whole process on the FEBRL sets, beside the goals.
//!
//! `cargo bench -p acequia-link --bench febrl` prints a table; words behind `--` choose rows by what they contain. Each row is a process of
//! its own; CPU time and peak memory are the kernel's figures for it (Linux), over one thread. True links are read by the process that prints only: what
//! links never sees them. FEBRL 1 and 4 lie beside the checkout (`../shared/data/ehr/febrl`); without them it says so and measures nothing.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use acequia_link::{Config, Encoded, Key, Table, dedupe, encode, link, link_encoded};
use serde_json::{Value, json};

/// One row of the table.
struct Job {
    name: &'static str,
    what: What,
    set: &'static str,
    ssn: bool,
    /// Least F1.
    f1: f64,
    /// Most CPU time, in seconds.
    cpu_s: f64,
}

#[derive(Clone, Copy, PartialEq)]
enum What {
    Link,
    Dedupe,
    /// Encoding of both files.
    Encode,
    /// Comparison of the encoded files.
    Compare,
}

const fn job(name: &'static str, what: What, set: &'static str, ssn: bool, f1: f64, cpu_s: f64) -> Job {
    Job { name, what, set, ssn, f1, cpu_s }
}

const JOBS: [Job; 9] = [
    job("febrl4", What::Link, "febrl4", true, 0.9998, 1.0),
    job("febrl4 without SSN", What::Link, "febrl4", false, 0.998, 1.0),
    job("febrl3", What::Dedupe, "febrl3", true, 0.998, 1.0),
    job("febrl3 without SSN", What::Dedupe, "febrl3", false, 0.985, 1.0),
    job("febrl1", What::Dedupe, "febrl1", true, 0.998, 1.0),
    job("febrl1 without SSN", What::Dedupe, "febrl1", false, 0.985, 1.0),
    job("febrl4, encode twice", What::Encode, "febrl4", false, 0.0, 0.1),
    job("febrl4, all 25 M private", What::Compare, "febrl4", false, 0.998, 0.5),
    job("febrl4, private with SSN", What::Compare, "febrl4", true, 0.998, 0.5),
];

const KEY: &str = "5f1c0b7e93d24a68810f36c2e9ab57d40c6b12f8a73e95d1480b6ce2379fa1d5";

fn file(name: &str) -> PathBuf {
    let name = format!("{name}.csv.gz");
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(&name);
    if here.is_file() {
        return here;
    }
    let febrl = std::env::var_os("ACEQUIA_FEBRL").map(PathBuf::from);
    febrl
        .map(|folder| folder.join(&name))
        .filter(|path| path.is_file())
        .unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/ehr/febrl").join(name))
}

fn files(job: &Job) -> Vec<PathBuf> {
    if job.what == What::Dedupe {
        vec![file(job.set)]
    } else {
        ["a", "b"].map(|side| file(&format!("{}{side}", job.set))).into()
    }
}

/// The configuration that the program guesses, without the SSN where the job is.
fn config(job: &Job, tables: &[&Table]) -> Config {
    let mut config = Config::guess(tables).expect("columns that tell people apart");
    if !job.ssn {
        config.column.retain(|column| column.name != "soc_sec_id");
    }
    config
}

/// Runs one job in this process and says what it found.
fn run(job: &Job, at: &Path) -> Value {
    let encoded = |side: usize| at.join(format!("{side}.clk"));
    if job.what == What::Compare {
        let (a, b) = (Encoded::read(&encoded(0)), Encoded::read(&encoded(1)));
        let linked = link_encoded(&a.expect("encoded"), &b.expect("encoded"), 0.5, 1).expect("made alike");
        let links: Vec<_> = linked.links.iter().map(|link| (link.a, link.b)).collect();
        return json!({ "links": links, "summary": linked.summary });
    }
    let tables: Vec<Table> = files(job).iter().map(|file| Table::read(file).expect("a FEBRL file")).collect();
    let config = config(job, &tables.iter().collect::<Vec<_>>());
    match job.what {
        What::Link => {
            let linked = link(&tables[0], &tables[1], &config, 1).expect("linked");
            let links: Vec<_> = linked.links.iter().map(|link| (link.a, link.b)).collect();
            json!({ "links": links, "summary": linked.summary })
        }
        What::Dedupe => {
            let found = dedupe(&tables[0], &config, 1).expect("searched");
            let links: Vec<_> = found.links.iter().map(|link| (link.a, link.b)).collect();
            json!({ "links": links, "summary": found.summary })
        }
        What::Encode | What::Compare => {
            let key = Key::parse(KEY).expect("a key");
            for (side, table) in tables.iter().enumerate() {
                encode(table, &config, &key).expect("encoded").write(&encoded(side)).expect("written");
            }
            json!({ "links": [] })
        }
    }
}

/// CPU time in seconds and peak memory in MB of this process.
fn used() -> (f64, f64) {
    let read = |file: &str| std::fs::read_to_string(format!("/proc/self/{file}")).unwrap_or_default();
    let nanoseconds: f64 = read("schedstat").split(' ').next().and_then(|text| text.parse().ok()).unwrap_or(f64::NAN);
    let status = read("status");
    let peak =
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.trim().parse().ok());
    (nanoseconds / 1e9, peak.unwrap_or(f64::NAN) / 1024.0)
}

/// `rec-12-dup-3` is about person 12.
fn person(name: &str) -> &str {
    name.split('-').nth(1).unwrap_or_default()
}

/// Pairs of rows that are one person.
fn truth(job: &Job) -> BTreeSet<(u64, u64)> {
    let tables: Vec<Table> = files(job).iter().map(|file| Table::read(file).expect("a FEBRL file")).collect();
    let (a, b) = (&tables[0], tables.last().expect("a table"));
    let people = |table: &Table| -> Vec<String> {
        (0..table.len()).map(|row| person(table.field(row, "rec_id").expect("a name")).to_owned()).collect()
    };
    let (left, right) = (people(a), people(b));
    let mut rows = std::collections::BTreeMap::<&str, Vec<u64>>::new();
    right.iter().enumerate().for_each(|(row, person)| rows.entry(person).or_default().push(row as u64));
    let within = job.what == What::Dedupe;
    let pairs = left.iter().enumerate().flat_map(|(row, person)| {
        rows.get(person.as_str()).into_iter().flatten().map(move |other| (row as u64, *other))
    });
    pairs.filter(|(a, b)| !within || a < b).collect()
}

fn measure(job: &Job, number: usize) -> bool {
    let at = tempfile::tempdir().expect("a temporary folder");
    if job.what == What::Compare {
        run(&Job { what: What::Encode, ..*job }, at.path());
    }
    let output = Command::new(std::env::current_exe().expect("this program"))
        .arg(number.to_string())
        .env("ACEQUIA_BENCH_FOLDER", at.path())
        .output()
        .expect("this program runs again");
    assert!(output.status.success(), "{}: {}", job.name, String::from_utf8_lossy(&output.stderr));
    let found: Value = serde_json::from_slice(&output.stdout).expect("figures");
    let (cpu_s, peak_mb) = (found["cpu_s"].as_f64().unwrap_or(f64::NAN), found["peak_mb"].as_f64().unwrap_or(f64::NAN));
    let links: BTreeSet<(u64, u64)> = serde_json::from_value(found["links"].clone()).expect("links");
    let (mut f1, mut words) = (0.0, String::new());
    if job.what != What::Encode {
        let truth = truth(job);
        let right = links.intersection(&truth).count();
        f1 = 2.0 * right as f64 / (links.len() + truth.len()) as f64;
        let (missed, wrong) = (truth.len() - right, links.len() - right);
        let summary = &found["summary"];
        let pairs = summary["pairs_compared"].as_u64().or(summary["pairs"].as_u64()).unwrap_or(0);
        words = format!("F1 {f1:.5} / {:.4}: {missed} missed, {wrong} wrong; {pairs} pairs", job.f1);
        if std::env::var_os("ACEQUIA_BENCH_SUMMARY").is_some() {
            println!("{summary:#}");
        }
        if let Some(path) = std::env::var_os("ACEQUIA_BENCH_MISSED") {
            let list = |pairs: Vec<&(u64, u64)>| pairs.iter().map(|(a, b)| format!("{a} {b}\n")).collect::<String>();
            let text = format!(
                "missed\n{}wrong\n{}",
                list(truth.difference(&links).collect()),
                list(links.difference(&truth).collect())
            );
            std::fs::write(path, text).expect("a writable file");
        }
    }
    let reached = cpu_s <= job.cpu_s && f1 >= job.f1;
    println!(
        "{:<26} {cpu_s:>6.3} / {:<4.1} {peak_mb:>6.0}  {:<4} {words}",
        job.name,
        job.cpu_s,
        if reached { "ok" } else { "MISS" }
    );
    reached
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    if let Some(at) = std::env::var_os("ACEQUIA_BENCH_FOLDER") {
        let number: usize = words.first().and_then(|word| word.parse().ok()).expect("the number of a job");
        let mut found = run(&JOBS[number], Path::new(&at));
        let (cpu_s, peak_mb) = used();
        found["cpu_s"] = cpu_s.into();
        found["peak_mb"] = peak_mb.into();
        println!("{found}");
        return ExitCode::SUCCESS;
    }
    println!("{:<26} {:>13} {:>6}  {:<4} result", "", "CPU s / goal", "MB", "");
    let mut missed = 0;
    for (number, job) in JOBS.iter().enumerate() {
        if !words.is_empty() && !words.iter().any(|word| job.name.contains(word.as_str())) {
            continue;
        }
        if files(job).iter().any(|file| !file.is_file()) {
            eprintln!("skipped: {} is not here (../shared/data/ehr/febrl)", job.set);
            continue;
        }
        missed += usize::from(!measure(job, number));
    }
    if missed > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
