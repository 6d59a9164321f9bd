//! The two naturally partitioned benchmark sets of FLamby (Ogier du Terrail et al. 2022), beside the checkout.

use acequia_learn::*;

use crate::support::*;

/// Regions of Fed-TCGA-BRCA: training and test rows.
pub(crate) fn tcga(plan: &Plan) -> Option<(Vec<Data>, Vec<Data>)> {
    let rows = std::fs::read_to_string(shared("federated/fed-tcga-brca/brca.csv")?).unwrap();
    let folds = std::fs::read_to_string(shared("federated/fed-tcga-brca/train_test_split.csv")?).unwrap();
    let fold: std::collections::HashMap<&str, &str> = folds
        .lines()
        .skip(1)
        .map(|line| line.split(',').collect::<Vec<_>>())
        .map(|fields| (fields[0], fields[2]))
        .collect();
    let header = rows.lines().next().unwrap();
    let part = |name: &str| {
        let csv: String = std::iter::once(header)
            .chain(rows.lines().skip(1).filter(|line| fold.get(line.split(',').next().unwrap()) == Some(&name)))
            .map(|line| format!("{line}\n"))
            .collect();
        Data::from_csv(name, csv.as_bytes(), &plan.needs(), &SiteMap::default()).unwrap()
    };
    let all = |kind: &str| (0..6).map(|region| part(&format!("{kind}_{region}"))).collect();
    Some((all("train"), all("test")))
}

pub(crate) fn tcga_plan(task: &str, protection: &str) -> Option<Plan> {
    let rows = std::fs::read_to_string(shared("federated/fed-tcga-brca/brca.csv")?).unwrap();
    let header = csv_fields(rows.lines().next().unwrap());
    let variables: String = header[1..40]
        .iter()
        .map(|name| format!("[[variables]]\nname = {name:?}\nstandardise = {}\n", name == "age_at_index"))
        .collect();
    Some(plan(
        &format!("{{ kind = \"cox\", ridge = {task} }}"),
        "{ kind = \"survival\", components = [{ time = \"T\", event = \"E\" }] }",
        &variables,
        protection,
    ))
}

fn csv_fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            c => fields.last_mut().unwrap().push(c),
        }
    }
    fields
}

#[test]
fn tcga_is_the_reference_in_seven_rounds() {
    let Some(exact) = tcga_plan("1.0, time_grid = { days = 1 }, newton = { tolerance = 1e-11 }", "none") else {
        return;
    };
    let reference = &reference()["fed_tcga_brca"]["reference"];
    let (train, _) = tcga(&exact).unwrap();
    let fitted = model(run(&exact, train, Architecture::Federated));
    let theirs = reference["tcga_ridge1_unstrat_efron"]["coef"].as_object().unwrap();
    for (variable, ours) in fitted.variables.iter().zip(fitted.coefficients()) {
        close(*ours, theirs[&variable.variable.name].as_f64().unwrap(), 1e-7);
    }
    close(
        fitted.fit.log_likelihood.unwrap(),
        reference["tcga_ridge1_unstrat_efron"]["loglik_at_optimum"].as_f64().unwrap(),
        1e-6,
    );

    for (protection, task, least) in [
        ("none", "1.0, time_grid = { days = 1 }, newton = { tolerance = 1e-6 }", 0.846),
        ("two-aggregators", "1.0, time_grid = { days = 1 }, newton = { tolerance = 1e-6 }", 0.846),
        (
            "two-aggregators",
            "10.0, time_grid = { days = 1 }, stratified_by_site = true, newton = { tolerance = 1e-6 }",
            0.857,
        ),
    ] {
        let plan = tcga_plan(task, protection).unwrap();
        let (train, test) = tcga(&plan).unwrap();
        let report = run(&plan, train, Architecture::Federated);
        let rounds = report.rounds;
        let fitted = model(report);
        let pooled = Data::pooled("test", &test);
        let c = harrell(&fitted, &pooled);
        let mean: f64 = test.iter().map(|region| harrell(&fitted, region)).sum::<f64>() / 6.0;
        println!("{protection}, ridge {task}: {rounds} rounds, C {c:.4} pooled test, {mean:.4} mean over regions");
        assert!(rounds <= 7, "{rounds}");
        assert!(c >= least && mean >= 0.821, "{c} {mean}");
    }
}

/// Harrell's C by looking at every pair: an independent check of the fast one.
pub(crate) fn harrell(model: &Model, data: &Data) -> f64 {
    let (lp, time, event) = data.predicted(model);
    let (mut pairs, mut good) = (0.0, 0.0);
    for i in 0..lp.len() {
        for j in 0..lp.len() {
            let comparable = event[i] && (time[i] < time[j] || (time[i] == time[j] && !event[j]));
            if comparable {
                pairs += 1.0;
                good += if lp[i] > lp[j] {
                    1.0
                } else if lp[i] == lp[j] {
                    0.5
                } else {
                    0.0
                };
            }
        }
    }
    good / pairs
}

#[test]
fn heart_is_the_reference() {
    let Some(path) = shared("federated/fed-heart-disease/fed_heart_disease_flamby_split.csv") else { return };
    let variables: String = ["age", "sex", "trestbps", "chol", "fbs", "thalach", "exang", "oldpeak"]
        .iter()
        .map(|name| (name.to_string(), *name, String::new()))
        .chain([("cp", 2), ("cp", 3), ("cp", 4), ("restecg", 1), ("restecg", 2)].iter().map(|(name, level)| {
            (format!("{name}_{level}"), *name, format!("steps = [{{ one_of = [\"{level}\"] }}]\n"))
        }))
        .map(|(name, column, steps)| {
            format!("[[variables]]\nname = \"{name}\"\ncolumn = \"{column}\"\n{steps}standardise = true\n")
        })
        .collect();
    let outcome = "{ kind = \"binary\", value = { name = \"label\" } }";
    let reference = &reference()["fed_heart_disease"]["logistic"]["LR_ridge1_pooled_norm"];
    let text = std::fs::read_to_string(path).unwrap();
    for (protection, within) in [("none", 1e-8), ("two-aggregators", 1e-6)] {
        let plan = plan("{ kind = \"logistic\", ridge = 1.0 }", outcome, &variables, protection);
        let part = |centre: usize, fold: &str| {
            let csv: String = text
                .lines()
                .enumerate()
                .filter(|(at, line)| {
                    *at == 0 || (line.starts_with(&format!("{centre},")) && line.contains(&format!(",{fold},")))
                })
                .map(|(_, line)| format!("{line}\n"))
                .collect();
            Data::from_csv(&format!("centre{centre}"), csv.as_bytes(), &plan.needs(), &SiteMap::default()).unwrap()
        };
        let train: Vec<Data> = (0..4).map(|centre| part(centre, "train")).collect();
        let test: Vec<Data> = (0..4).map(|centre| part(centre, "test")).collect();
        let fitted = model(run(&plan, train, Architecture::Federated));
        let Form::Logistic { intercept, .. } = &fitted.form else { panic!() };
        close(*intercept, reference["intercept"].as_f64().unwrap(), within);
        for (variable, ours) in fitted.variables.iter().zip(fitted.coefficients()) {
            close(*ours, reference["coef"][&variable.variable.name].as_f64().unwrap(), within);
        }
        let accuracy = |data: &Data| {
            let (lp, y, _) = data.predicted(&fitted);
            lp.iter().zip(&y).filter(|(lp, y)| (**lp > 0.0) == (**y == 1.0)).count() as f64 / lp.len() as f64
        };
        let mean = test.iter().map(accuracy).sum::<f64>() / 4.0;
        let settings = Validation { bootstraps: 0, ..Validation::usual(&fitted) };
        let site = evaluate(&fitted, &Data::pooled("test", &test), &[], &settings).unwrap();
        let get = |name: &str| site.estimates.iter().find(|one| one.name == name).unwrap();
        let theirs = &reference["test_full"];
        close(get("auc").value, theirs["auc"].as_f64().unwrap(), 1e-8);
        close(get("auc").standard_error.unwrap(), theirs["auc_delong_se"].as_f64().unwrap(), within);
        close(get("brier").value, theirs["brier"].as_f64().unwrap(), within);
        close(get("log_loss").value, theirs["logloss"].as_f64().unwrap(), within);
        close(get("accuracy_at_one_half").value, theirs["acc"].as_f64().unwrap(), 1e-9);
        close(get("calibration_slope").value, theirs["calibration"]["slope"].as_f64().unwrap(), within);
        close(get("calibration_intercept").value, theirs["calibration"]["intercept"].as_f64().unwrap(), within);
        close(get("calibration_in_the_large").value, theirs["calibration"]["citl"].as_f64().unwrap(), within);
        close(get("observed_over_expected").value, theirs["calibration"]["O_over_E"].as_f64().unwrap(), within);
        let auc = get("auc").value;
        println!("{protection}: mean accuracy {mean:.4}, AUC {auc:.4}");
        assert!(mean >= 0.80 && auc >= 0.881);
    }
}

/// Mean over seeds. The benchmark has five, of generators of its own; over five, strategies that depend on where they begin
/// scatter by more than what is published, so ours are more.
fn over_seeds(score: impl Fn(u64) -> f64) -> f64 {
    const SEEDS: u32 = 60;
    (42..42 + SEEDS).map(|seed| score(u64::from(seed))).sum::<f64>() / f64::from(SEEDS)
}

/// Settings of FLamby's benchmark, and its published mean and standard deviation (Ogier du Terrail et al. 2022, result files).
type Published<'p> = (&'p str, f64, f64, f64);

#[track_caller]
fn within_two(name: &str, ours: f64, published: f64, sd: f64) {
    println!("{name}: {ours:.4}, published {published:.4} (SD {sd:.4})");
    assert!((ours - published).abs() <= 2.0 * sd, "{name}: {ours} {published} {sd}");
}

#[test]
fn strategies_on_tcga_are_within_two_published_deviations() {
    let published: [Published<'_>; 6] = [
        ("{ kind = \"fed-avg\" }", 0.1, 0.7319, 0.1811),
        ("{ kind = \"fed-prox\", mu = 0.1 }", 0.1, 0.7290, 0.1683),
        ("{ kind = \"scaffold\" }", 0.01, 0.6869, 0.0360),
        ("{ kind = \"fed-adam\", server_rate = 0.1 }", 0.01, 0.8152, 0.0256),
        ("{ kind = \"fed-yogi\", server_rate = 0.1 }", 0.01, 0.8152, 0.0256),
        ("{ kind = \"fed-adagrad\", server_rate = 1.0 }", 0.01, 0.8129, 0.0048),
    ];
    let Some(exact) = tcga_plan("1.0", "none") else { return };
    let plain = |strategy: &str, rate: f64, seed: u64| {
        let task = format!(
            "schema = \"acequia-plan/1\"\ntitle = \"t\"\nprivacy = {{ minimum_rows = 1 }}\n[task]\nkind = \"averaging\"\nrounds = 5\n\
             local_steps = 100\nbatch = 8\nrate = {rate}\nseed = {seed}\nstart = \"uniform\"\nstrategy = {strategy}\n\
             [aggregation]\nprotection = \"none\"\n[outcome]\nkind = \"survival\"\ncomponents = [{{ time = \"T\", event = \"E\" }}]\n"
        );
        let mut plan = Plan::from_toml(&(task + "[[variables]]\nname = \"x\"\n")).unwrap();
        // Age as it comes: the benchmark does not scale it.
        plan.variables = exact.variables.iter().cloned().map(|one| Variable { standardise: false, ..one }).collect();
        plan
    };
    for (strategy, rate, mean, sd) in published {
        let ours = over_seeds(|seed| {
            let plan = plain(strategy, rate, seed);
            let (train, test) = tcga(&plan).unwrap();
            let fitted = model(run(&plan, train, Architecture::Federated));
            test.iter().map(|region| harrell(&fitted, region)).sum::<f64>() / 6.0
        });
        within_two(strategy, ours, mean, sd);
    }
}

/// The rows of one centre in one part, with FLamby's features; every feature less its mean and divided by its deviation in the
/// centre's training part.
pub(crate) fn heart_by_centre(text: &str, centre: &str, part: &str) -> String {
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split(',').collect()).collect();
    let at = |name: &str| rows[0].iter().position(|field| *field == name).unwrap();
    let number = |row: &[&str], name: &str| row[at(name)].parse::<f64>().unwrap();
    let features = |row: &[&str]| -> Vec<f64> {
        let plain =
            ["age", "sex", "trestbps", "chol", "fbs", "thalach", "exang", "oldpeak"].map(|name| number(row, name));
        let levels = [("cp", 2.0), ("cp", 3.0), ("cp", 4.0), ("restecg", 1.0), ("restecg", 2.0)];
        plain.into_iter().chain(levels.map(|(name, level)| f64::from(u8::from(number(row, name) == level)))).collect()
    };
    let of = |part: &str| -> Vec<&Vec<&str>> {
        rows[1..].iter().filter(|row| row[0] == centre && row.contains(&part)).collect()
    };
    let train: Vec<Vec<f64>> = of("train").iter().map(|row| features(row)).collect();
    let n = train.len() as f64;
    let scale = |j: usize| {
        let mean = train.iter().map(|row| row[j]).sum::<f64>() / n;
        (mean, (train.iter().map(|row| (row[j] - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt() + 1e-9)
    };
    let scales: Vec<(f64, f64)> = (0..13).map(scale).collect();
    let lines = of(part).into_iter().map(|row| {
        let values = features(row).into_iter().zip(&scales).map(|(x, (mean, sd))| format!("{}", (x - mean) / sd));
        format!("{},{}\n", values.collect::<Vec<_>>().join(","), row[at("label")])
    });
    let header: Vec<String> = (0..13).map(|j| format!("f{j}")).collect();
    format!("{},label\n{}", header.join(","), lines.collect::<String>())
}

#[test]
fn strategies_on_heart_are_within_two_published_deviations() {
    let Some(path) = shared("federated/fed-heart-disease/fed_heart_disease_flamby_split.csv") else { return };
    let text = std::fs::read_to_string(path).unwrap();
    let published: [Published<'_>; 6] = [
        ("{ kind = \"fed-avg\" }", 0.001, 0.6850, 0.0283),
        ("{ kind = \"fed-prox\", mu = 0.01 }", 0.001, 0.6850, 0.0283),
        ("{ kind = \"scaffold\" }", 0.001, 0.6840, 0.0280),
        ("{ kind = \"fed-adam\", server_rate = 0.01 }", 0.01, 0.7255, 0.0138),
        ("{ kind = \"fed-yogi\", server_rate = 0.01 }", 0.003162, 0.7314, 0.0125),
        ("{ kind = \"fed-adagrad\", server_rate = 0.316228 }", 0.003162, 0.7314, 0.0125),
    ];
    let variables: String = (0..13).map(|j| format!("[[variables]]\nname = \"f{j}\"\n")).collect();
    let outcome = "{ kind = \"binary\", value = { name = \"label\" } }";
    for (strategy, rate, mean, sd) in published {
        for protection in ["none", "two-aggregators"] {
            let ours = over_seeds(|seed| {
                let task = format!(
                    "{{ kind = \"averaging\", rounds = 15, local_steps = 100, batch = 4, rate = {rate}, seed = {seed}, start = \"uniform\", strategy = {strategy} }}"
                );
                let plan = plan(&task, outcome, &variables, protection);
                let read = |part: &str| -> Vec<Data> {
                    let centre = |centre: usize| {
                        let csv = heart_by_centre(&text, &centre.to_string(), part);
                        Data::from_csv(&format!("centre{centre}"), csv.as_bytes(), &plan.needs(), &SiteMap::default())
                            .unwrap()
                    };
                    (0..4).map(centre).collect()
                };
                let fitted = model(run(&plan, read("train"), Architecture::Federated));
                let accuracy = |data: &Data| {
                    let (lp, y, _) = data.predicted(&fitted);
                    lp.iter().zip(&y).filter(|(lp, y)| (**lp > 0.0) == (**y == 1.0)).count() as f64 / lp.len() as f64
                };
                read("test").iter().map(accuracy).sum::<f64>() / 4.0
            });
            within_two(&format!("{strategy}, {protection}"), ours, mean, sd);
        }
    }
}
