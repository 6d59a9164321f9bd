//! The two naturally partitioned benchmark sets of FLamby (Ogier du Terrail et al. 2022), beside the checkout.

use acequia_learn::*;

use crate::support::*;

/// Regions of Fed-TCGA-BRCA: training and test rows.
fn tcga(plan: &Plan) -> Option<(Vec<Data>, Vec<Data>)> {
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

fn tcga_plan(task: &str, protection: &str) -> Option<Plan> {
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
    let reference = &reference()["fed_tcga_brca"];
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
fn harrell(model: &Model, data: &Data) -> f64 {
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
    let reference = &reference()["fed_heart_disease"]["LR_ridge1_pooled_norm"];
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
