//! R `survival`, lifelines and scikit-survival say the same.

use acequia_learn::*;

use crate::support::*;

fn cox(task: &str, variables: &str, protection: &str) -> Plan {
    plan(&format!("{{ kind = \"cox\", {task} }}"), RFS, variables, protection)
}

/// Exact times: whole days.
const EXACT: &str = "time_grid = { days = 1 }, newton = { tolerance = 1e-11 }";

#[test]
fn cox_model_b_is_the_published_one_in_every_architecture() {
    let reference = reference();
    for ties in ["efron", "breslow"] {
        let published = &reference["model_B"][format!("fit_{ties}")];
        let plan = cox(&format!("ties = \"{ties}\", {EXACT}"), MODEL_B, "none");
        let central = model(run(
            &plan,
            vec![read("rotterdam", &example("rotterdam.csv"), &plan, &SiteMap::default())],
            Architecture::Centralised,
        ));
        all_close(central.coefficients(), &numbers(&published["coef"]), 1e-8);
        all_close(central.standard_errors(), &numbers(&published["se"]), 1e-7);
        close(central.fit.log_likelihood.unwrap(), published["loglik"].as_f64().unwrap(), 1e-5);
        close(central.fit.log_likelihood_null.unwrap(), published["loglik_null"].as_f64().unwrap(), 1e-5);
        let hazards: Vec<f64> = (1..=5).map(|year| central.baseline_at(365.25 * f64::from(year)).unwrap()).collect();
        let theirs = &reference["model_B"]["baseline_cumhaz_uncentred_years_1_to_5"][ties];
        all_close(&hazards, &numbers(theirs), 1e-7);

        let sites = four_sites(&plan);
        assert_eq!(
            sites.iter().map(|site| site.rows() as f64).collect::<Vec<_>>(),
            numbers(&reference["federated_C"]["site_rows"])
        );
        assert_eq!(
            sites.iter().map(|site| site.events() as f64).collect::<Vec<_>>(),
            numbers(&reference["federated_C"]["site_events"])
        );
        let federated = run(&plan, sites, Architecture::Federated);
        assert!(federated.rounds <= 8, "{}", federated.rounds);
        let federated = model(federated);
        assert_eq!(federated.form, central.form, "the same to the last bit");
        let exact = &reference["federated_C"]["exact_distributed_result"][ties];
        all_close(federated.coefficients(), &numbers(&exact["coef"]), 1e-10);
    }
}

#[test]
fn cox_model_a_is_the_published_one() {
    let reference = reference();
    for ties in ["efron", "breslow"] {
        let mut plan = cox(&format!("ties = \"{ties}\", {EXACT}"), MODEL_A, "none");
        as_in_the_paper(&mut plan);
        let table = read("rotterdam", &example("rotterdam.csv"), &plan, &SiteMap::default());
        assert_eq!((table.rows(), table.events(), table.outside()), (1546, 965, 1436));
        let model = model(run(&plan, vec![table], Architecture::Centralised));
        let published = &reference["model_A"][format!("fit_{ties}")];
        all_close(model.coefficients(), &numbers(&published["coef"]), 1e-7);
        close(model.fit.log_likelihood.unwrap(), published["loglik"].as_f64().unwrap(), 1e-5);
        if ties == "breslow" {
            all_close(model.standard_errors(), &numbers(&published["se"]), 1e-7);
            let hazards: Vec<f64> = (1..=7).map(|year| model.baseline_at(365.25 * f64::from(year)).unwrap()).collect();
            all_close(
                &hazards,
                &numbers(&reference["model_A"]["baseline_cumhaz_breslow_uncentred_years_1_to_7"]),
                1e-5,
            );
        }
    }
}

#[test]
fn cox_on_time_grids_and_stratified_by_site() {
    let reference = reference();
    let grids = &reference["federated_C"]["time_grid_instead_of_exact_times"];
    for ties in ["efron", "breslow"] {
        for (name, days) in [("weekly_7", 7.0), ("monthly_30p4375", 30.4375), ("quarterly_91p3125", 91.3125)] {
            let task = format!("ties = \"{ties}\", time_grid = {{ days = {days} }}, newton = {{ tolerance = 1e-11 }}");
            let plan = cox(&task, MODEL_B, "none");
            let fitted = model(run(&plan, four_sites(&plan), Architecture::Federated));
            all_close(fitted.coefficients(), &numbers(&grids[name][ties]), 1e-9);
        }
        let plan = cox(&format!("ties = \"{ties}\", stratified_by_site = true, {EXACT}"), MODEL_B, "none");
        let central = model(run(&plan, four_sites(&plan), Architecture::Centralised));
        let federated = model(run(&plan, four_sites(&plan), Architecture::Federated));
        assert_eq!(federated.form, central.form);
        let exact = &reference["federated_C"]["exact_distributed_result"][ties];
        all_close(federated.coefficients(), &numbers(&exact["stratified_coef"]), 1e-10);
        close(
            federated.fit.log_likelihood.unwrap(),
            reference["federated_C"]["stratified"][ties]["loglik"].as_f64().unwrap(),
            1e-5,
        );
    }
    let se = numbers(&reference["federated_C"]["stratified"]["efron"]["se"]);
    let plan = cox(&format!("stratified_by_site = true, {EXACT}"), MODEL_B, "none");
    all_close(model(run(&plan, four_sites(&plan), Architecture::Federated)).standard_errors(), &se, 1e-8);
}

#[test]
fn two_real_sites_with_other_columns() {
    let reference = reference();
    let theirs = &reference["federated_C"]["two_real_sites_rotterdam_gbsg"];
    for (stratified, ties) in [(false, "efron"), (false, "breslow"), (true, "efron"), (true, "breslow")] {
        let plan = cox(&format!("ties = \"{ties}\", stratified_by_site = {stratified}, {EXACT}"), MODEL_B, "none");
        let sites = vec![
            read("rotterdam", &example("rotterdam.csv"), &plan, &SiteMap::default()),
            read("gbsg", &example("gbsg.csv"), &plan, &gbsg_map(Some(1826.25))),
        ];
        let fitted = model(run(&plan, sites, Architecture::Federated));
        let name = if stratified { format!("stratified_{ties}") } else { format!("pooled_{ties}") };
        all_close(fitted.coefficients(), &numbers(&theirs[name]), 1e-8);
    }
}

#[test]
fn discrete_time_survival() {
    let reference = reference();
    let theirs = &reference["federated_C"]["discrete_time_stacked"];
    for link in ["logit", "cloglog"] {
        let task = format!(
            "{{ kind = \"discrete-time\", link = \"{link}\", ends_days = [365.25, 730.5, 1095.75, 1461, 1826.25], newton = {{ tolerance = 1e-10 }} }}"
        );
        let plan = plan(&task, RFS, MODEL_B, "none");
        let fitted = model(run(&plan, four_sites(&plan), Architecture::Federated));
        let Form::DiscreteTime { intercepts, coefficients, .. } = &fitted.form else { panic!() };
        let ours: Vec<f64> = intercepts.iter().chain(coefficients).copied().collect();
        all_close(&ours, &numbers(&theirs[link]), 1e-8);
        close(-2.0 * fitted.fit.log_likelihood.unwrap(), theirs[format!("{link}_deviance")].as_f64().unwrap(), 1e-5);
    }
}

#[test]
fn kaplan_meier_and_log_rank() {
    let reference = reference();
    let uncut = RFS.replace(", cut_days = 1826.25", "");
    let km = plan("{ kind = \"kaplan-meier\", time_grid = { days = 1 } }", &uncut, "", "none");
    let cohorts = [
        ("rotterdam_rfs_uncut", four_sites(&km)),
        ("gbsg_uncut", vec![read("gbsg", &example("gbsg.csv"), &km, &gbsg_map(None))]),
    ];
    for (name, sites) in cohorts {
        let Outcome::Survival(curve) = run(&km, sites, Architecture::Federated).outcome else { panic!() };
        let theirs = &reference["km_D"][name];
        let at: Vec<(f64, f64)> = (1..=5).map(|year| curve.at(365.25 * f64::from(year))).collect();
        all_close(&at.iter().map(|one| one.0).collect::<Vec<_>>(), &numbers(&theirs["km_1_to_5y"]), 1e-9);
        all_close(&at.iter().map(|one| one.1).collect::<Vec<_>>(), &numbers(&theirs["greenwood_se"]), 1e-9);
        close(curve.median_days.unwrap() / 365.25, theirs["median_years"].as_f64().unwrap(), 1e-8);
        assert_eq!((curve.rows, curve.events), (theirs["n"].as_u64().unwrap(), theirs["events"].as_u64().unwrap()));
    }
    let group = "[[variables]]\nname = \"hormon\"\n";
    let test = |stratified: bool, outcome: &str| {
        plan(
            &format!(
                "{{ kind = \"log-rank\", time_grid = {{ days = 1 }}, groups = [0, 1], stratified_by_site = {stratified} }}"
            ),
            outcome,
            group,
            "none",
        )
    };
    let log_rank = |plan: &Plan, sites: Vec<Data>| match run(plan, sites, Architecture::Federated).outcome {
        Outcome::LogRank(result) => result,
        other => panic!("{other:?}"),
    };
    let gbsg = test(false, &uncut);
    let result = log_rank(&gbsg, vec![read("gbsg", &example("gbsg.csv"), &gbsg, &gbsg_map(None))]);
    let theirs = &reference["km_D"]["logrank_gbsg_hormon"];
    close(result.chi_squared, theirs["chisq"].as_f64().unwrap(), 1e-8);
    all_close(&result.observed, &numbers(&theirs["observed"]), 0.0);
    all_close(&result.expected, &numbers(&theirs["expected"]), 1e-6);
    let theirs = &reference["km_D"]["logrank_rotterdam5y_hormon"];
    for (stratified, name) in [(false, "chisq"), (true, "stratified_by_site_chisq")] {
        let plan = test(stratified, RFS);
        close(log_rank(&plan, four_sites(&plan)).chi_squared, theirs[name].as_f64().unwrap(), 1e-8);
    }
}

#[test]
fn the_99th_percentile_of_nodes_is_19() {
    let quantile = "{ kind = \"quantile\", shares = [0.5, 0.99, 0.0, 1.0], low = 0, high = 100, resolution = 1 }";
    let plan = plan(quantile, "", "[[variables]]\nname = \"nodes\"\n[[variables]]\nname = \"age\"\n", "none");
    let Outcome::Quantile(result) = run(&plan, four_sites(&plan), Architecture::Federated).outcome else { panic!() };
    assert_eq!(result.variables[0], ("nodes".to_owned(), vec![1.0, 19.0, 0.0, 34.0]));
    // R: quantile(rotterdam$age, c(.5, .99, 0, 1), type = 1); by sorting here.
    let text = std::fs::read_to_string(example("rotterdam.csv")).unwrap();
    let mut ages: Vec<u32> =
        text.lines().skip(1).map(|line| line.split(',').nth(2).unwrap().parse().unwrap()).collect();
    ages.sort_unstable();
    let at = |share: f64| f64::from(ages[((share * 2982.0).ceil() as usize).max(1) - 1]);
    assert_eq!(result.variables[1].1, [at(0.5), at(0.99), at(0.0), at(1.0)]);
}
