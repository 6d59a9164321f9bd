//! A table of many rows, made up on the spot, de-identified from disk.
//!
//! `cargo bench --workspace --bench large -- 100000000` writes a CSV file with ten quasi-identifiers and so many rows into the
//! folder for temporary files (about 3 GB for a hundred million), releases it with all rows at the same levels and row by row, and prints CPU
//! time and peak memory of each process.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::{Command, ExitCode};

use acequia_deidentify::{Policy, deidentify_file};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const COLUMNS: &str = r#"
    age = { role = "quasi-identifier", hierarchy = { intervals = { levels = [5, 10, 20], lower = 0, upper = 90 } } }
    sex = { role = "quasi-identifier", hierarchy = "suppress" }
    postcode = { role = "quasi-identifier", hierarchy = { prefixes = [3, 2, 1] } }
    birth_month = { role = "quasi-identifier", hierarchy = { intervals = { levels = [3, 6], lower = 1, upper = 13 } } }
    ancestry = { role = "quasi-identifier", hierarchy = "suppress" }
    education = { role = "quasi-identifier", hierarchy = { intervals = { levels = [2, 4], lower = 0, upper = 12 } } }
    marital = { role = "quasi-identifier", hierarchy = "suppress" }
    children = { role = "quasi-identifier", hierarchy = { intervals = { levels = [2, 4], lower = 0, upper = 8 } } }
    occupation = { role = "quasi-identifier", hierarchy = { intervals = { levels = [3, 9], lower = 0, upper = 27 } } }
    year = { role = "quasi-identifier", hierarchy = { intervals = { levels = [2, 4], lower = 2010, upper = 2026 } } }
"#;

/// Rows in which values of neighbouring columns go together, as in people, and frequent values are much more frequent.
fn write(path: &Path, rows: u64) {
    let mut chance = ChaCha8Rng::seed_from_u64(1);
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path).expect("a writable temporary folder"));
    writeln!(file, "age,sex,postcode,birth_month,ancestry,education,marital,children,occupation,year")
        .expect("room on disk");
    for _ in 0..rows {
        let mut skewed = |most: u32| {
            let share: f64 = chance.random();
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a small number")]
            let value = (share * share * f64::from(most)) as u32;
            value
        };
        let age = 18 + skewed(80);
        let education = (skewed(6) + age / 20).min(11);
        let children = if age < 25 { skewed(2) } else { skewed(8) };
        let marital = if age < 25 { skewed(2) } else { skewed(6) };
        let (sex, postcode, month, ancestry) = (skewed(2), skewed(90), 1 + skewed(12), skewed(6));
        let (occupation, year) = ((education * 2 + skewed(4)).min(26), 2010 + skewed(16));
        writeln!(
            file,
            "{age},{},{:04},{month},{ancestry},{education},{marital},{children},{occupation},{year}",
            ["f", "m"][sex as usize],
            1000 + postcode * 97,
        )
        .expect("room on disk");
    }
    file.flush().expect("room on disk");
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
    let Some(rows) = words.first().and_then(|word| word.parse().ok()) else {
        eprintln!("skipped: say how many rows, for instance 100000000");
        return ExitCode::SUCCESS;
    };
    let folder = words.get(1).map(std::path::PathBuf::from);
    if let (Some(folder), Some(recoding)) = (&folder, words.get(2)) {
        let text = format!("k = 12\nmaximum_risk = 0.09\nrecoding = {recoding:?}\n[columns]\n{COLUMNS}");
        let policy: Policy = toml::from_str(&text).expect("a policy");
        let (from, to) = (folder.join("table.csv"), folder.join("released.csv"));
        let receipt =
            deidentify_file(&from, None, &policy, &BTreeMap::new(), &to, 0).expect("the table can be released");
        let (cpu_s, peak_mb) = used();
        println!(
            "{recoding:<8} {cpu_s:>8.0} s CPU {peak_mb:>8.0} MB  {} of {} rows, smallest class {}, granularity {:.4}, {} combinations counted{}",
            receipt.rows.released,
            receipt.rows.input,
            receipt.classes.smallest,
            receipt.loss.granularity,
            receipt.loss.combinations_tried,
            receipt.loss.least_score.map_or(String::new(), |least| format!(
                ", score {:.4}, none below {least:.4}",
                receipt.loss.score.unwrap_or(f64::NAN)
            )),
        );
        return ExitCode::SUCCESS;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    write(&folder.path().join("table.csv"), rows);
    for recoding in ["global", "local"] {
        let status = Command::new(std::env::current_exe().expect("this program"))
            .arg(rows.to_string())
            .arg(folder.path())
            .arg(recoding)
            .status()
            .expect("this program runs again");
        if !status.success() {
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
