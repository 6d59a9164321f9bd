//! How long validation records take: the example's model at GBSG, 686 rows, two subgroup columns, one thread; and external validations A
//! and B of the reference (Royston and Altman 2013, McLernon et al. 2023), whose numbers `tests/it/whole.rs` compares, beside the goal.
//!
//! `cargo bench --workspace --bench validation -- 1000 record.html` (bootstrap samples, and where to write the page)

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

/// CPU seconds of this process so far, of the 100 Hz clock that Linux counts in.
fn cpu_s() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(") ").next().unwrap_or_default();
    // Fields 14 and 15 (proc(5)): in user mode and in the kernel.
    after_name.split(' ').skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// CPU seconds for A and B together that are aimed at.
const GOAL_CPU_S: f64 = 5.0;

/// Trains on Rotterdam and validates on GBSG, with follow-up cut at five years or whole, as the reference has it. CPU seconds of the validation alone.
fn external(name: &str, plan: &str, cut: bool, bootstraps: u32) -> Result<f64, LearnError> {
    let plan = Plan::from_toml(plan)?;
    let rotterdam = Data::read("rotterdam", &example("rotterdam.csv"), &plan.needs(), &SiteMap::default())?;
    let (rules, now) = (SiteRules::own(), Timestamp::from_unix_s(0));
    let report = run_here(&plan, vec![rotterdam], Architecture::Centralised, &rules, now, &mut SystemEntropy)?;
    let Outcome::Model(model) = report.outcome else { unreachable!("the plan is of a model") };
    let settings = Validation { bootstraps, horizon_days: 1826.25, ..Validation::usual(&*model) };
    let request =
        ValidationRequest::new(*model, settings, vec!["meno".to_owned(), "hormon".to_owned()], Missing::Refuse);
    let map = text("gbsg.site.toml");
    let map = if cut { map } else { map.replace("cut_days", "# cut_days") };
    let reading = request.reading();
    let gbsg = Data::read("gbsg", &example("gbsg.csv"), &reading.needs(), &SiteMap::from_toml(&map)?)?;
    let (started, before) = (Instant::now(), cpu_s());
    let site = evaluate(&request.model, &gbsg, &request.by, &request.settings)?;
    let record = Record::new(&request.model, vec![site], &request.settings, now.day());
    let page = validation_page(&record);
    let used = cpu_s() - before;
    let c = record.sites[0].estimates.iter().find(|one| one.name == "harrell_c").map_or(f64::NAN, |one| one.value);
    println!(
        "external validation {name}: C {c:.4}, {bootstraps} bootstrap samples, record and page of {} bytes: {used:.2} CPU s ({:.2} s)",
        page.len(),
        started.elapsed().as_secs_f64()
    );
    Ok(used)
}

const HEAD: &str = "schema = \"acequia-plan/1\"\ntitle = \"A bench\"\ntask = { kind = \"cox\", time_grid = { days = 1 } }\nprivacy = { minimum_rows = 20 }\naggregation = { protection = \"none\" }\n";
const COMPONENTS: &str =
    "components = [{ time = \"rtime\", event = \"recur\" }, { time = \"dtime\", event = \"death\" }]";

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
    let sizes = "[[variables]]\nname = \"size2050\"\ncolumn = \"size\"\nsteps = [{ one_of = [\"20-50\"] }]\n[[variables]]\nname = \"size50\"\ncolumn = \"size\"\nsteps = [{ one_of = [\">50\"] }]\n";
    let a = format!(
        "{HEAD}outcome = {{ kind = \"survival\", {COMPONENTS}, censored_at = \"last\", cut_days = 2557 }}\ncohort = {{ where = [{{ column = \"nodes\", above = 0 }}] }}\n{sizes}\
         [[variables]]\nname = \"age3\"\ncolumn = \"age\"\nsteps = [{{ divide = 100 }}, {{ power = 3 }}]\n\
         [[variables]]\nname = \"age3log\"\ncolumn = \"age\"\nsteps = [{{ divide = 100 }}, {{ power_log = 3 }}]\n\
         [[variables]]\nname = \"meno\"\n[[variables]]\nname = \"nodes\"\nsteps = [{{ power = -0.5 }}]\n\
         [[variables]]\nname = \"er\"\nsteps = [{{ divide = 1000 }}]\n[[variables]]\nname = \"hormon\"\n"
    );
    let b = format!(
        "{HEAD}outcome = {{ kind = \"survival\", {COMPONENTS}, cut_days = 1826.25 }}\n{sizes}\
         [[variables]]\nname = \"nodes2\"\ncolumn = \"nodes\"\nsteps = [{{ cap = 19 }}]\n\
         [[variables]]\nname = \"nodes3\"\ncolumn = \"nodes\"\nsteps = [{{ cap = 19 }}, {{ spline_term = {{ knots = [0, 1, 9] }} }}]\n\
         [[variables]]\nname = \"grade3\"\ncolumn = \"grade\"\nsteps = [{{ one_of = [\"3\"] }}]\n"
    );
    let used = external("A", &a, false, bootstraps)? + external("B", &b, true, bootstraps)?;
    println!(
        "A and B together: {used:.2} CPU s, goal {GOAL_CPU_S}: {}",
        if used <= GOAL_CPU_S { "reached" } else { "missed" }
    );
    if let Some(path) = std::env::args().skip(1).find(|word| word.ends_with(".html")) {
        std::fs::write(path, page).expect("a place to write to");
    }
    Ok(())
}
