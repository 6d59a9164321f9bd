//! The stage as a whole process on the reference tables, beside the goals: reading, searching, writing, recounting.
//!
//! `cargo bench --workspace --bench reference` prints a table; words behind `--` choose rows by what they contain. Each
//! row is a process of its own; CPU time and peak memory are the kernel's figures for it (Linux). Needs the reference tables beside
//! the checkout (`../shared/data/anonymity`); without them it says so and measures nothing.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use acequia_deidentify::{FileTable, Policy, deidentify_events, deidentify_file, read_policy, recount};
use acequia_privacy::Metric;
use serde_json::{Value, json};

/// One row of the table.
struct Job {
    name: &'static str,
    what: What,
    table: &'static str,
    columns: Columns,
    /// Most CPU time, in seconds.
    cpu_s: f64,
    /// Most memory, in MB.
    peak_mb: Option<f64>,
    /// What is measured and what it should be.
    goal: Goal,
}

#[derive(Clone, Copy)]
enum What {
    /// One optimum, written.
    Global { limit: f64 },
    /// Local recoding, written.
    Local,
    /// All metrics at four limits, not written.
    Optima,
    /// Recount of what local recoding wrote.
    Verify,
    /// Persons and their diagnoses, written: nobody shares age, sex, race and two codes with fewer than eleven.
    Events,
}

#[derive(Clone, Copy)]
enum Goal {
    Loss(f64),
    Granularity(f64),
    /// Share of codes that are told in more detail than chapters.
    Detail(f64),
    Holds,
}

const DIABETES: &[&str] = &[
    "race",
    "gender",
    "age",
    "admission_type_id",
    "discharge_disposition_id",
    "admission_source_id",
    "time_in_hospital",
    "medical_specialty",
    "diag_1",
];
/// All columns but this one.
const ADULT: Columns = Columns::AllBut("occupation");
const FARS: Columns = Columns::AllBut("istatenum");
const IHIS: Columns = Columns::AllBut("EDUC");
const EIGHT: Columns = Columns::First(8);
const NINE: Columns = Columns::First(9);
/// Race, sex and age.
const THREE: Columns = Columns::First(3);
const ALL: Columns = Columns::AllBut("");

/// Which columns are quasi-identifiers.
#[derive(Clone, Copy)]
enum Columns {
    AllBut(&'static str),
    /// So many of [`DIABETES`].
    First(usize),
}

impl Columns {
    fn contains(self, column: &str) -> bool {
        match self {
            Self::AllBut(other) => column != other,
            Self::First(count) => DIABETES[..count].contains(&column),
        }
    }
}

const fn job(name: &'static str, what: What, table: &'static str, columns: Columns, cpu_s: f64, goal: Goal) -> Job {
    Job { name, what, table, columns, cpu_s, peak_mb: None, goal }
}

const FIVE: What = What::Global { limit: 0.05 };

const JOBS: [Job; 16] = [
    job("adult", FIVE, "adult", ADULT, 0.3, Goal::Loss(0.170_123)),
    job("diabetes130", FIVE, "diabetes130", EIGHT, 0.7, Goal::Loss(0.179_708)),
    job("diabetes130, 9 columns", FIVE, "diabetes130", NINE, 6.0, Goal::Loss(0.250_971)),
    Job { peak_mb: Some(160.0), ..job("ihis", FIVE, "ihis", IHIS, 3.5, Goal::Loss(0.062_816)) },
    job("adult, 16 optima", What::Optima, "adult", ADULT, 0.4, Goal::Holds),
    job("diabetes130, 16 optima", What::Optima, "diabetes130", EIGHT, 2.0, Goal::Holds),
    job("ihis, 16 optima", What::Optima, "ihis", IHIS, 18.0, Goal::Holds),
    job("adult, local", What::Local, "adult", ADULT, 0.3, Goal::Granularity(0.971)),
    job("fars, local", What::Local, "fars", FARS, 0.2, Goal::Granularity(0.957)),
    job("diabetes130, local", What::Local, "diabetes130", EIGHT, 0.8, Goal::Granularity(0.958)),
    job("ihis, local", What::Local, "ihis", IHIS, 3.5, Goal::Granularity(0.991)),
    job("mach2019", What::Global { limit: 1.0 }, "mach2019", ALL, 3.0, Goal::Loss(0.4956)),
    job("mach2019, local", What::Local, "mach2019", ALL, 30.0, Goal::Granularity(0.634)),
    job("adult, verifier", What::Verify, "adult", ADULT, 0.1, Goal::Holds),
    job("ihis, verifier", What::Verify, "ihis", IHIS, 1.5, Goal::Holds),
    job("diabetes130, events", What::Events, "diabetes130", THREE, 5.0, Goal::Detail(0.4)),
];

fn folder(table: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/anonymity").join(table)
}

fn file(table: &str) -> PathBuf {
    let name = match table {
        "fars" => "fars_subset.csv.gz",
        "ihis" => "ihis_surrogate.csv.gz",
        "mach2019" => "mach2019_int.csv.gz",
        other => return folder(other).join(format!("{other}.csv.gz")),
    };
    folder(table).join(name)
}

const EVENTS: &str = "[events]
codes = [\"diag_1\", \"diag_2\", \"diag_3\"]
missing = [\"?\"]
hierarchy = { icd = \"icd-9\" }
[[models]]
model = \"km-anonymity\"
m = 2
";

/// The policy of a job, as a file beside its hierarchies.
fn policy(job: &Job, columns: &[String], at: &Path) {
    let (limit, recoding) = match job.what {
        What::Global { limit } => (limit, "global"),
        What::Optima => (1.0, "global"),
        What::Local | What::Verify | What::Events => (0.05, "local"),
    };
    let with_events = matches!(job.what, What::Events);
    let (k, risk, events) = if with_events { (12, 0.09, EVENTS) } else { (5, 1.0, "") };
    let mut text = format!(
        "k = {k}\nmaximum_risk = {risk}\nsuppression_limit = {limit}\nrecoding = {recoding:?}\n{events}[columns]\n"
    );
    for column in columns {
        let prefix = if job.table == "mach2019" { "mach2019_int" } else { job.table };
        if with_events && column.starts_with("diag_") {
            continue;
        }
        let role = if with_events && column == "patient_nbr" {
            "role = \"person-id\"".to_owned()
        } else if with_events && !job.columns.contains(column) {
            "role = \"direct-identifier\"".to_owned()
        } else if !job.columns.contains(column) {
            "role = \"insensitive\"".to_owned()
        } else {
            std::fs::copy(
                folder(job.table).join(format!("{prefix}_hierarchy_{column}.csv")),
                at.join(format!("{column}.csv")),
            )
            .expect("a hierarchy for every quasi-identifier");
            format!("role = \"quasi-identifier\", hierarchy = {{ file = \"{column}.csv\" }}")
        };
        writeln!(text, "{column:?} = {{ {role} }}").expect("writing to a string");
    }
    std::fs::write(at.join("policy.toml"), text).expect("a writable temporary folder");
}

/// Runs one job in this process and prints its figures.
fn run(job: &Job, at: &Path) -> Value {
    let (policy, files): (Policy, BTreeMap<String, Vec<u8>>) =
        read_policy(&at.join("policy.toml")).expect("the policy just written");
    let (from, to) = (file(job.table), at.join("released.csv"));
    match job.what {
        What::Global { .. } | What::Local => {
            let receipt =
                deidentify_file(&from, None, &policy, &files, &to, u64::MAX).expect("the table can be released");
            json!({ "loss": receipt.loss.total, "granularity": receipt.loss.granularity,
                    "suppressed": receipt.rows.suppressed, "least": receipt.loss.least_score })
        }
        What::Optima => {
            let table = FileTable::read(&from, None).expect("the table");
            let goals: Vec<(Metric, f64)> = Metric::ALL
                .into_iter()
                .flat_map(|metric| [0.0, 0.02, 0.05, 1.0].map(|limit| (metric, limit)))
                .collect();
            let optima = table.optima(&policy, &files, &goals).expect("the table fits the policy");
            json!({ "optima": optima.optima.iter().flatten().count(), "counted": optima.counted })
        }
        What::Events => {
            let receipt = deidentify_events(&from, None, &policy, &files, &to).expect("the table can be released");
            let facts = receipt.events.expect("events are released");
            let gone = facts.counts.suppressed + facts.counts.suppressed_with_persons;
            json!({ "detail": facts.levels[..2].iter().map(|level| level.share).sum::<f64>(),
                    "full": facts.levels[0].share, "gone": gone, "smallest": facts.smallest,
                    "granularity": receipt.loss.granularity, "below": facts.after.known[2].below_k })
        }
        What::Verify => {
            let recount = recount(&to, &policy, &files, None).expect("the released table satisfies the policy");
            json!({ "rows": recount.rows })
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

fn measure(job: &Job, number: usize) -> bool {
    let at = tempfile::tempdir().expect("a temporary folder");
    let table = FileTable::read(&file(job.table), None).expect("the table");
    let columns: Vec<String> = table.column_names().into_iter().map(str::to_owned).collect();
    policy(job, &columns, at.path());
    if let What::Verify = job.what {
        run(&Job { what: What::Local, ..*job }, at.path());
    }
    let output = Command::new(std::env::current_exe().expect("this program"))
        .arg(number.to_string())
        .env("ACEQUIA_BENCH_FOLDER", at.path())
        .output()
        .expect("this program runs again");
    assert!(output.status.success(), "{}: {}", job.name, String::from_utf8_lossy(&output.stderr));
    let found: Value = serde_json::from_slice(&output.stdout).expect("figures");
    let (cpu_s, peak_mb) = (found["cpu_s"].as_f64().unwrap_or(f64::NAN), found["peak_mb"].as_f64().unwrap_or(f64::NAN));
    let (result, reached) = match job.goal {
        Goal::Loss(most) => {
            let loss = found["loss"].as_f64().unwrap_or(f64::NAN);
            let certified = found["least"].as_f64().map_or(String::new(), |least| format!(" (none below {least:.4})"));
            (format!("loss {loss:.6}{certified}"), loss <= most)
        }
        Goal::Granularity(least) => {
            let granularity = found["granularity"].as_f64().unwrap_or(f64::NAN);
            let suppressed = found["suppressed"].as_u64().unwrap_or(u64::MAX);
            (format!("granularity {granularity:.5}, {suppressed} suppressed"), granularity >= least && suppressed <= 3)
        }
        Goal::Detail(least) => {
            let number = |name: &str| found[name].as_f64().unwrap_or(f64::NAN);
            let result = format!(
                "{:.1} % of codes in full, {:.1} % finer than chapters, {} left out; granularity of columns {:.4}; {} persons below k, \
                 rarest combination shared by {}",
                number("full") * 100.0,
                number("detail") * 100.0,
                number("gone"),
                number("granularity"),
                number("below"),
                number("smallest")
            );
            (result, number("detail") >= least && number("below") == 0.0)
        }
        Goal::Holds => (found.to_string(), true),
    };
    let result = if let Goal::Holds = job.goal { short(&found) } else { result };
    let reached = reached && cpu_s <= job.cpu_s && job.peak_mb.is_none_or(|most| peak_mb <= most);
    let goal = job.peak_mb.map_or(String::new(), |most| format!(" / {most:.0}"));
    println!(
        "{:<24} {cpu_s:>7.2} / {:<5.2} {peak_mb:>7.0}{goal:<6} {:<4} {result}",
        job.name,
        job.cpu_s,
        if reached { "ok" } else { "MISS" },
    );
    reached
}

fn short(found: &Value) -> String {
    match (found["optima"].as_u64(), found["rows"].as_u64()) {
        (Some(optima), _) => format!("{optima} optima, {} combinations counted", found["counted"]),
        (_, Some(rows)) => format!("{rows} rows recounted"),
        _ => String::new(),
    }
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
    if !folder("adult").is_dir() {
        eprintln!("skipped: the reference tables are not here (../shared/data/anonymity)");
        return ExitCode::SUCCESS;
    }
    println!("{:<24} {:>15} {:>13} {:<4} result", "k = 5, of events 12", "CPU s / goal", "MB / goal", "");
    let chosen = |job: &Job| words.is_empty() || words.iter().any(|word| job.name.contains(word.as_str()));
    let missed = JOBS.iter().enumerate().filter(|(_, job)| chosen(job)).filter(|(at, job)| !measure(job, *at)).count();
    if missed > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
