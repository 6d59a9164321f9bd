//! How a run grows with its sites: the example's Cox plan over 10, 25, 50 and 100 sites of 298 rows each in one process, with masks
//! and without. Linear means: CPU seconds per site stay the same. With double masking each site has a mask with every other, so what it
//! does grows with their number.
//!
//! `cargo bench -p acequia-learn --bench sites`

use std::path::{Path, PathBuf};

use acequia_learn::*;
use acequia_types::Timestamp;

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/breast-cancer").join(name)
}

/// CPU seconds of this process, all threads.
fn cpu_s() -> f64 {
    let text = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|nanoseconds| nanoseconds.parse::<f64>().ok()).unwrap_or(f64::NAN) / 1e9
}

fn main() -> Result<(), LearnError> {
    let read = |name: &str| std::fs::read_to_string(example(name)).expect("an example of the checkout");
    let plan = Plan::from_toml(&read("survival.plan.toml"))?;
    let rotterdam = read("rotterdam.csv");
    let (header, rows) = rotterdam.split_once('\n').expect("a header");
    let rows: Vec<&str> = rows.lines().collect();
    // A tenth of the people each; further sites have the same people under other numbers, so that all are alike.
    let site = |nth: usize| {
        let own: String = rows
            .iter()
            .skip(nth % 10)
            .step_by(10)
            .map(|row| {
                let (pid, rest) = row.split_once(',').expect("a number of the person");
                format!("{pid}{:03},{rest}\n", nth / 10)
            })
            .collect();
        let csv = format!("{header}\n{own}");
        Data::from_csv(&format!("site-{nth:03}"), csv.as_bytes(), &plan.needs(), &SiteMap::default())
    };
    let mut missed = false;
    for protection in [Protection::None, Protection::TwoAggregators, Protection::DoubleMasking] {
        let aggregators = match protection {
            Protection::TwoAggregators => Aggregation::default().aggregators,
            _ => Vec::new(),
        };
        let aggregation = Aggregation { protection, aggregators, ..Aggregation::default() };
        let plan = Plan { aggregation, ..plan.clone() };
        let mut first = None;
        for sites in [10, 25, 50, 100] {
            let tables = (0..sites).map(site).collect::<Result<Vec<_>, _>>()?;
            let run = || {
                let began = cpu_s();
                let (now, rules) = (Timestamp::from_unix_s(0), SiteRules::own());
                let report = run_here(&plan, tables.clone(), Architecture::Federated, &rules, now, &mut SystemEntropy)?;
                Ok::<_, LearnError>((cpu_s() - began, report))
            };
            let mut best = run()?;
            for _ in 0..4 {
                let other = run()?;
                if other.0 < best.0 {
                    best = other;
                }
            }
            let (cpu_s, report) = best;
            let each_ms = cpu_s * 1e3 / f64::from(sites as u32);
            let ratio = each_ms / *first.get_or_insert(each_ms);
            missed |= ratio > 1.1 && protection != Protection::DoubleMasking;
            println!(
                "{sites:>4} sites, {}: {:.3} CPU s, {} rounds, {each_ms:.2} ms a site ({ratio:.2} times that of ten), {:.0} kB left each site",
                match protection {
                    Protection::None => "without masks",
                    Protection::TwoAggregators => "two aggregators",
                    Protection::DoubleMasking => "double masking",
                    Protection::Proven => "proven",
                },
                cpu_s,
                report.rounds,
                report.bytes_out as f64 / f64::from(sites as u32) / 1e3
            );
        }
    }
    if missed {
        println!("MISS: more than a tenth above linear");
    }
    Ok(())
}
