//! How long a validation record takes: model B of the reference at GBSG, 686 rows, two subgroup columns, one thread.
//!
//! `cargo bench -p acequia-learn --bench validation -- 1000 record.html` (bootstrap samples, and where to write the page)

use std::path::{Path, PathBuf};
use std::time::Instant;

use acequia_learn::*;
use acequia_types::Timestamp;

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/breast-cancer").join(name)
}

fn text(name: &str) -> String {
    std::fs::read_to_string(example(name)).expect("an example of the checkout")
}

fn main() -> Result<(), LearnError> {
    let bootstraps: u32 = std::env::args().skip(1).find_map(|word| word.parse().ok()).unwrap_or(1000);
    let plan = Plan::from_toml(&text("survival.plan.toml"))?;
    let rotterdam = Data::read("rotterdam", &example("rotterdam.csv"), &plan.needs(), &SiteMap::default())?;
    let now = Timestamp::from_unix_s(0);

    let started = Instant::now();
    let report = run_here(
        &plan,
        vec![rotterdam.clone()],
        Architecture::Centralised,
        &SiteRules::own(),
        now,
        &mut SystemEntropy,
    )?;
    println!("training, {} rows, {} rounds: {:.3} s", rotterdam.rows(), report.rounds, started.elapsed().as_secs_f64());
    let Outcome::Model(model) = report.outcome else { unreachable!("the example's plan is of a model") };

    let started = Instant::now();
    let membership = membership_test(&plan, &[rotterdam]);
    println!("membership inference: {:.3} s. {}", started.elapsed().as_secs_f64(), membership.words());
    let model = model.tested(membership, &plan.privacy)?;

    let groups = ["meno".to_owned(), "hormon".to_owned()];
    let (cohort, variables) = (Cohort::default(), model.inputs());
    let needs = Needs {
        cohort: &cohort,
        outcome: model.outcome.as_ref(),
        variables: &variables,
        may_lack: &[],
        groups: &groups,
    };
    let gbsg = Data::read("gbsg", &example("gbsg.csv"), &needs, &SiteMap::from_toml(&text("gbsg.site.toml"))?)?;
    let settings = Validation { bootstraps, ..Validation::usual(&model) };
    let started = Instant::now();
    let site = evaluate(&model, &gbsg, &groups, &settings)?;
    println!(
        "validation, {} rows, {bootstraps} bootstrap samples: {:.3} s",
        gbsg.rows(),
        started.elapsed().as_secs_f64()
    );
    let started = Instant::now();
    let record = Record::new(&model, vec![site], &settings, now.day());
    let page = validation_page(&record);
    println!("record and page ({} bytes): {:.3} s", page.len(), started.elapsed().as_secs_f64());
    if let Some(path) = std::env::args().skip(1).find(|word| word.ends_with(".html")) {
        std::fs::write(path, page).expect("a place to write to");
    }
    Ok(())
}
