//! `acequia cleanse`: checks and repairs of a folder of OMOP tables, without a node.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use acequia_cleanse::{
    Check, Findings, Folder, Repair, Repaired, Scorecard, Settings, Status, Thresholds, default_checks, dqd_results,
    page, read_checks,
};
use acequia_node::{Clock, Day, Failure, NodeError, SystemClock, parse_day};
use clap::Args;
use serde_json::{Value, json};

use crate::show::Out;

/// Words of the command.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  acequia cleanse omop/\n  acequia cleanse omop/ -o checked --page quality.html\n  acequia cleanse checked --thresholds ours.csv\n  acequia cleanse omop/ --checks our-checks --dqd-json dqd.json --all-rows"
)]
pub(crate) struct CleanseArgs {
    /// Folder of OMOP tables, or the folder an earlier run wrote: then only the thresholds are applied anew
    folder: PathBuf,
    /// Folder for what is found and for the repaired tables
    ///
    /// scorecard.json and repairs.parquet name no value; inside/ (findings with row ids, values before and after) stays
    /// where the data are; omop/ has the repaired tables.
    #[arg(long, short, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Folder of further checks (TOML, or CSV with ranges)
    #[arg(long, value_name = "FOLDER")]
    checks: Option<PathBuf>,
    /// Thresholds other than the usual ones: a CSV file with check,threshold
    #[arg(long, value_name = "FILE")]
    thresholds: Option<PathBuf>,
    /// Write the results as OHDSI's dashboard does
    #[arg(long, value_name = "FILE")]
    dqd_json: Option<PathBuf>,
    /// Write the scorecard as a page
    #[arg(long, value_name = "FILE.html")]
    page: Option<PathBuf>,
    /// Make this kind of repair too; once for each: clear-end, clear-value, set-aside
    #[arg(long = "apply", value_name = "REPAIR", value_parser = repair)]
    apply: Vec<Repair>,
    /// The day that counts as today [default: today]
    #[arg(long, value_name = "DAY", value_parser = day)]
    as_of: Option<Day>,
    /// Keep the ids of all failing rows, not of the first hundred of each check
    #[arg(long)]
    all_rows: bool,
    /// Hide counts from 1 to this minus 1 in all that names no row; 0 hides none
    #[arg(long, default_value_t = 10, value_name = "N")]
    minimum: u64,
}

fn repair(text: &str) -> Result<Repair, String> {
    Repair::parse(text).ok_or_else(|| "one of clear-end, clear-value, set-aside".to_owned())
}

fn day(text: &str) -> Result<Day, String> {
    parse_day(text).ok_or_else(|| "a day as YYYY-MM-DD".to_owned())
}

/// Findings of the folder as `inside/findings.json`.
const FINDINGS: &str = "inside/findings.json";

pub(crate) fn run(args: &CleanseArgs, out: &Out) -> Result<(), Failure> {
    let own = args.checks.as_deref().map(read_checks).transpose()?.unwrap_or_default();
    let checks: Vec<Check> = default_checks().iter().cloned().chain(own).collect();
    let earlier = args.folder.join(FINDINGS);
    let (findings, folder) = if earlier.is_file() {
        (Findings::parse(&read(&earlier)?)?, None)
    } else {
        let as_of = args.as_of.unwrap_or_else(|| SystemClock.now().day());
        let folder = Folder::open(&args.folder)?;
        let settings = Settings::as_of(as_of);
        let settings = Settings { row_ids: if args.all_rows { usize::MAX } else { settings.row_ids }, ..settings };
        (folder.check(&checks, settings)?, Some(folder))
    };
    let mut thresholds = Thresholds::as_of(parse_day(&findings.as_of).unwrap_or_default());
    if let Some(path) = &args.thresholds {
        thresholds.read(&String::from_utf8_lossy(&read(path)?), &checks)?;
    }
    let mut scorecard = Scorecard::judge(&findings, &checks, &thresholds);
    if let (Some(to), Some(folder)) = (&args.out, &folder) {
        write(&to.join(FINDINGS), &serde_json::to_vec(&findings).unwrap_or_default())?;
        write(&to.join("inside/timing.csv"), timing(&findings).as_bytes())?;
        let apply: BTreeSet<Repair> = Repair::safe().into_iter().chain(args.apply.iter().copied()).collect();
        let repaired = folder.repair(&checks, &apply, thresholds.as_of, &to.join("omop"))?;
        write(&to.join("repairs.parquet"), &repaired.repairs.to_parquet()?)?;
        write(&to.join("inside/repair-values.parquet"), &repaired.values.to_parquet()?)?;
        note_repairs(&mut scorecard, repaired);
    }
    let scorecard = scorecard.without_small_counts(args.minimum);
    if let Some(to) = &args.out {
        write(&to.join("scorecard.json"), &serde_json::to_vec_pretty(&scorecard).unwrap_or_default())?;
    }
    if let Some(path) = &args.dqd_json {
        let source = folder.as_ref().map(Folder::source).transpose()?.unwrap_or_default();
        let results = dqd_results(&findings, &checks, &scorecard, &source);
        write(path, &serde_json::to_vec_pretty(&results).unwrap_or_default())?;
    }
    if let Some(path) = &args.page {
        let name =
            args.folder.file_name().map_or_else(|| "OMOP".to_owned(), |name| name.to_string_lossy().into_owned());
        write(path, page(&name, &scorecard, &checks).as_bytes())?;
    }
    out.print(|| document(&scorecard), || words(&scorecard, &checks));
    Ok(())
}

fn note_repairs(scorecard: &mut Scorecard, repaired: Repaired) {
    let shown = |counts: BTreeMap<String, u64>| counts.into_iter().map(|(name, count)| (name, Some(count))).collect();
    scorecard.repairs = shown(repaired.counts);
    scorecard.rows_out = shown(repaired.rows_out);
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let failed =
        |error: std::io::Error| NodeError::Io { what: path.display().to_string(), doing: "read", kind: error.kind() };
    Ok(std::fs::read(path).map_err(failed)?)
}

/// Writes aside and renames, so that a file is whole or not there.
fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let failed = |error: std::io::Error| NodeError::Io {
        what: path.display().to_string(),
        doing: "written",
        kind: error.kind(),
    };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    let aside = path.with_extension("part");
    std::fs::write(&aside, bytes).map_err(failed)?;
    Ok(std::fs::rename(&aside, path).map_err(failed)?)
}

/// Seconds of each check. They depend on the machine, so they stand apart from the findings.
fn timing(findings: &Findings) -> String {
    let mut text = format!("check,seconds\nreading and indexing,{:.6}\n", findings.shared_seconds);
    for finding in &findings.findings {
        text += &format!("{},{:.6}\n", finding.id, finding.seconds);
    }
    text
}

fn document(scorecard: &Scorecard) -> Value {
    json!({ "outcomes": scorecard.outcomes(), "scorecard": scorecard })
}

/// How many failed checks are listed.
const LISTED: usize = 15;

fn words(scorecard: &Scorecard, checks: &[Check]) -> String {
    let outcomes = scorecard.outcomes();
    let mut text = format!(
        "{} of {} checks that apply are passed, {} fail; {} do not apply, {} could not be made.\n",
        outcomes.pass,
        outcomes.applied(),
        outcomes.fail,
        outcomes.not_applicable,
        outcomes.error
    );
    let gravity = |id: &str| {
        let check = checks.iter().find(|check| check.id == id);
        check.map_or(2, |check| match check.severity.as_str() {
            "fatal" => 0,
            "convention" => 1,
            _ => 2,
        })
    };
    let mut failed: Vec<_> = scorecard.checks.iter().filter(|check| check.status == Status::Fail).collect();
    failed.sort_by_key(|check| gravity(&check.id));
    for check in failed.iter().take(LISTED) {
        let counts = match (check.failing, check.rows) {
            (Some(failing), Some(rows)) => format!("{failing} of {rows}"),
            _ => format!("under {}", scorecard.minimum),
        };
        text += &format!("  {counts:>20}  {}\n", check.what);
    }
    if failed.len() > LISTED {
        text += &format!("  … and {} more; --page or --json has all\n", failed.len() - LISTED);
    }
    for (name, count) in &scorecard.repairs {
        let count = count.map_or_else(|| format!("under {}", scorecard.minimum), |count| count.to_string());
        text += &format!("  repair {name}: {count}\n");
    }
    text
}
