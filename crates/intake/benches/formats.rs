//! Formats that stream, over hundreds of megabytes: CPU time and peak memory of a process of its own for each.
//!
//! `cargo bench -p acequia-intake --bench formats` prints a table; words behind `--` choose rows by what they contain.
//! The Apple Health sample beside the checkout (`../shared/data/ehr/apple-health`) is repeated with shifted days into a
//! temporary file; without it the bench says so and measures nothing. Figures are the kernel's (Linux).

use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use acequia_intake::{Limits, Survey, read_into};

const LIMITS: Limits = Limits { unpacked_bytes: 1 << 40, growth: 200, entries: 1 };

struct Job {
    name: &'static str,
    /// Size of the input.
    megabytes: usize,
    write: fn(&Path, usize),
    /// Least megabytes per CPU second.
    least: f64,
}

const JOBS: &[Job] = &[
    Job { name: "apple-health, 100 MB", megabytes: 100, write: apple_health, least: 150.0 },
    Job { name: "apple-health, 400 MB", megabytes: 400, write: apple_health, least: 150.0 },
    Job { name: "hl7-v2, 100 MB", megabytes: 100, write: hl7_v2, least: 0.0 },
    Job { name: "phenopackets, 100 MB", megabytes: 100, write: phenopackets, least: 0.0 },
];

fn shared(set: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/ehr").join(set)
}

fn unzipped(path: &Path) -> Vec<u8> {
    let mut plain = Vec::new();
    let packed = File::open(path).expect("the sample");
    flate2::read::MultiGzDecoder::new(packed).read_to_end(&mut plain).expect("a whole sample");
    plain
}

/// The sample's records again and again, each time in another year, so that none is a duplicate.
fn apple_health(to: &Path, megabytes: usize) {
    let export = String::from_utf8(unzipped(&shared("apple-health").join("export.xml.gz"))).expect("UTF-8");
    let records = export.find("<Record").expect("records");
    let end = export.find("</HealthData>").expect("an end");
    let body = &export[records..end];
    let mut out = BufWriter::new(File::create(to).expect("a temporary file"));
    let head = export[..records].replace("DateOfBirth=\"\"", "DateOfBirth=\"1970-01-01\"");
    out.write_all(head.as_bytes()).expect("room");
    for copy in 0..(megabytes << 20).div_ceil(body.len()) {
        let year = format!("startDate=\"{}", 2030 + copy);
        out.write_all(body.replace("startDate=\"2017", &year).as_bytes()).expect("room");
    }
    out.write_all(b"</HealthData>\n").and_then(|()| out.flush()).expect("room");
}

fn repeated(to: &Path, megabytes: usize, body: &[u8]) {
    let mut out = BufWriter::new(File::create(to).expect("a temporary file"));
    for _ in 0..(megabytes << 20).div_ceil(body.len()) {
        out.write_all(body).expect("room");
    }
    out.flush().expect("room");
}

fn hl7_v2(to: &Path, megabytes: usize) {
    let body = std::fs::read(shared("hl7v2").join("004_Natus_ORU_R01_NBS.hl7")).expect("the sample");
    repeated(to, megabytes, &body);
}

fn phenopackets(to: &Path, megabytes: usize) {
    repeated(to, megabytes, &unzipped(&shared("phenopackets").join("phenopackets.jsonl.gz")));
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

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    if let Some(file) = std::env::var_os("ACEQUIA_BENCH_FILE") {
        let mut survey = Survey::default();
        let mut source = File::open(file).expect("the file just written");
        read_into(&mut source, None, &LIMITS, &mut survey).expect("a file that can be read");
        let (cpu_s, peak_mb) = used();
        println!("{cpu_s} {peak_mb} {} {}", survey.total(), survey.with_fate("ready"));
        return ExitCode::SUCCESS;
    }
    if !shared("apple-health").is_dir() {
        eprintln!("skipped: the samples are not here (../shared/data/ehr)");
        return ExitCode::SUCCESS;
    }
    println!("{:<24} {:>7} {:>14} {:>8} {:>11} {:>11}", "", "CPU s", "MB/s / goal", "peak MB", "units", "ready");
    let mut missed = 0;
    for job in JOBS.iter().filter(|job| words.is_empty() || words.iter().any(|word| job.name.contains(word.as_str()))) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("input");
        (job.write)(&file, job.megabytes);
        let megabytes = std::fs::metadata(&file).map_or(0.0, |file| file.len() as f64 / 1e6);
        let output = Command::new(std::env::current_exe().expect("this program"))
            .env("ACEQUIA_BENCH_FILE", &file)
            .output()
            .expect("this program runs again");
        assert!(output.status.success(), "{}: {}", job.name, String::from_utf8_lossy(&output.stderr));
        let figures = String::from_utf8_lossy(&output.stdout).into_owned();
        let figures: Vec<f64> = figures.split_whitespace().filter_map(|text| text.parse().ok()).collect();
        let [cpu_s, peak_mb, units, ready] = figures[..] else { panic!("{}: figures", job.name) };
        let speed = megabytes / cpu_s;
        let word = if speed >= job.least { "ok" } else { "MISS" };
        missed += usize::from(speed < job.least);
        println!(
            "{:<24} {cpu_s:>7.2} {speed:>7.0} / {:<4.0} {peak_mb:>8.0} {units:>11.0} {ready:>11.0} {word}",
            job.name, job.least
        );
    }
    if missed > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
