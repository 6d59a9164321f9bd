//! External validation on GBSG as R `survival`, scikit-survival and the STRATOS companion material find it.

use std::time::Instant;

use acequia_learn::*;
use serde_json::Value;

use crate::support::*;

pub(crate) fn trained(task: &str, variables: &str, change: impl FnOnce(&mut Plan)) -> Model {
    let mut plan = plan(&format!("{{ kind = \"cox\", {task} }}"), RFS, variables, "none");
    change(&mut plan);
    let table = read("rotterdam", &example("rotterdam.csv"), &plan, &SiteMap::default());
    model(run(&plan, vec![table], Architecture::Centralised))
}

pub(crate) const EXACT: &str = "time_grid = { days = 1 }, newton = { tolerance = 1e-11 }";

pub(crate) fn model_b() -> Model {
    trained(EXACT, MODEL_B, |_| ())
}

pub(crate) fn gbsg(model: &Model, cut_days: Option<f64>, groups: &[String]) -> Data {
    let (cohort, variables) = (Cohort::default(), model.inputs());
    let needs =
        Needs { cohort: &cohort, outcome: model.outcome.as_ref(), variables: &variables, may_lack: &[], groups };
    Data::read("gbsg", &example("gbsg.csv"), &needs, &gbsg_map(cut_days)).unwrap()
}

pub(crate) fn settings(model: &Model, days: f64, bootstraps: u32) -> Validation {
    Validation { horizon_days: days, bootstraps, ..Validation::usual(model) }
}

pub(crate) fn get(estimates: &[Estimate], name: &str) -> (f64, f64) {
    let one = estimates.iter().find(|one| one.name == name).unwrap_or_else(|| panic!("{name}"));
    (one.value, one.standard_error.unwrap_or(f64::NAN))
}

#[track_caller]
fn same(estimates: &[Estimate], name: &str, theirs: &Value, key: &str, within: f64) {
    let (value, error) = get(estimates, name);
    close(value, theirs[key].as_f64().unwrap(), within);
    if let Some(se) = theirs[format!("{key}_se")].as_f64() {
        close(error, se, within);
    }
}

#[track_caller]
pub(crate) fn subgroup<'a>(site: &'a SiteEvaluation, name: &str) -> &'a Subgroup {
    let named = |one: &Subgroup| one.value.as_ref().map(|value| format!("{}={value}", one.column));
    site.subgroups.iter().find(|one| named(one).as_deref() == Some(name)).unwrap_or_else(|| panic!("{name}"))
}

#[test]
fn model_b_at_gbsg() {
    let reference = reference();
    let theirs = &reference["model_B"]["val"];
    let model = model_b();
    let groups = ["meno".to_owned(), "hormon".to_owned()];
    let data = gbsg(&model, Some(1826.25), &groups);
    let mut settings = settings(&model, 1826.25, 0);
    settings.grid_days = (1..10).map(|half| f64::from(half) * 182.625).collect();
    let site = evaluate(&model, &data, &groups, &settings).unwrap();
    let ours = &site.estimates;
    same(ours, "harrell_c", theirs, "harrell_c", 1e-8);
    same(ours, "uno_c", theirs, "uno_c", 1e-8);
    same(ours, "calibration_slope", theirs, "calibration_slope_efron", 1e-8);
    same(ours, "royston_d", theirs, "royston_D", 1e-8);
    same(ours, "royston_r2d", theirs, "royston_R2D", 1e-8);
    same(ours, "observed_risk", theirs, "observed_5y", 1e-8);
    same(ours, "expected_risk", theirs, "expected_5y", 1e-8);
    same(ours, "observed_over_expected", theirs, "O_over_E_5y", 1e-8);
    // scikit-survival treats ties of events and censoring otherwise: up to 2e-4.
    same(ours, "integrated_brier", &theirs["ibs_scikit_survival"], "ibs", 2e-4);
    let published = &reference["model_B"]["published"];
    // The published ones come from `cph` of rms, whose baseline differs a little.
    same(ours, "integrated_calibration_index", published, "ICI", 2e-4);
    same(ours, "e50", published, "E50", 2e-4);
    same(ours, "e90", published, "E90", 5e-4);
    for group in theirs["subgroups"].as_array().unwrap() {
        let name = group["group"].as_str().unwrap();
        let one = subgroup(&site, name);
        assert_eq!((one.rows, one.events), (group["n"].as_u64(), group["events"].as_u64()));
        let (c, se) = get(&one.estimates, "harrell_c");
        close(c, group["c"].as_f64().unwrap(), 1e-8);
        close(se, group["se"].as_f64().unwrap(), 1e-8);
        close(get(&one.estimates, "calibration_slope").0, group["slope"].as_f64().unwrap(), 1e-8);
    }
    let curve = &theirs["decision_curve_5y"];
    let column = |of: fn(&NetBenefit) -> f64| site.net_benefit.iter().map(of).collect::<Vec<_>>();
    all_close(&column(|one| one.flagged), &numbers(&curve["fraction_flagged"]), 1e-9);
    all_close(&column(|one| one.model), &numbers(&curve["net_benefit_model"]), 1e-8);
    all_close(&column(|one| one.everybody), &numbers(&curve["net_benefit_all"]), 1e-8);

    // Cuts with ten between them at least of those with the event, and of those without, lose little of the area.
    let ends = |at: f64| (at, at);
    let cuts = site.roc.iter().map(|one| (1.0 - one.specificity, one.sensitivity));
    let corners: Vec<(f64, f64)> = [ends(0.0)].into_iter().chain(cuts).chain([ends(1.0)]).collect();
    assert!(site.roc.len() > 4 && corners.is_sorted_by(|a, b| a.0 <= b.0 && a.1 <= b.1));
    let area: f64 = corners.windows(2).map(|pair| (pair[1].0 - pair[0].0) * f64::midpoint(pair[0].1, pair[1].1)).sum();
    close(area, get(&site.estimates, "auc_at_horizon").0, 0.02);

    for (at, years) in [1.0, 2.0, 3.0, 4.0, 4.99].into_iter().enumerate() {
        settings.horizon_days = years * 365.25;
        let site = evaluate(&model, &data, &groups, &settings).unwrap();
        let item = |value: &Value| value[at].as_f64().unwrap();
        close(get(&site.estimates, "brier").0, item(&theirs["brier"]["model"]), 1e-6);
        close(get(&site.estimates, "index_of_prediction_accuracy").0, item(&theirs["brier"]["ipa"]), 1e-5);
        close(get(&site.estimates, "auc_at_horizon").0, item(&theirs["auc_cumulative_dynamic_ipcw"]["auc"]), 1e-6);
        if years == 4.99 {
            let fifths = &theirs["quintiles"];
            all_close(&site.fifths.iter().map(|one| one.1).collect::<Vec<_>>(), &numbers(&fifths["observed"]), 1e-6);
            for group in theirs["subgroups"].as_array().unwrap().iter().filter(|group| group["O_over_E_4p99"].is_f64())
            {
                let name = group["group"].as_str().unwrap();
                let one = subgroup(&site, name);
                close(get(&one.estimates, "observed_over_expected").0, group["O_over_E_4p99"].as_f64().unwrap(), 1e-4);
            }
        }
    }
    settings.horizon_days = 1826.25;
    let site = evaluate(&model, &data, &groups, &settings).unwrap();
    all_close(
        &site.fifths.iter().map(|one| one.0).collect::<Vec<_>>(),
        &numbers(&theirs["quintiles"]["predicted"]),
        1e-6,
    );
}

#[test]
fn model_a_and_b2_at_gbsg() {
    let reference = reference();
    let a = trained(&format!("ties = \"breslow\", {EXACT}"), MODEL_A, as_in_the_paper);
    let theirs = &reference["model_A"]["val"];
    let site = evaluate(&a, &gbsg(&a, None, &[]), &[], &settings(&a, 1826.25, 0)).unwrap();
    for (name, key) in [
        ("harrell_c", "harrell_c"),
        ("uno_c", "uno_c"),
        ("calibration_slope", "calibration_slope_efron"),
        ("royston_d", "royston_D"),
        ("royston_r2d", "royston_R2D"),
    ] {
        same(&site.estimates, name, theirs, key, 1e-7);
    }
    let pgr = "[[variables]]\nname = \"pgr2\"\ncolumn = \"pgr\"\nsteps = [{ cap = 1360 }]\n[[variables]]\nname = \"pgr3\"\ncolumn = \"pgr\"\nsteps = [{ cap = 1360 }, { spline_term = { knots = [0, 41, 486] } }]\n";
    let b2 = trained(EXACT, &format!("{MODEL_B}{pgr}"), |_| ());
    let theirs = &reference["model_B"]["B2_with_pgr"];
    all_close(b2.coefficients(), &numbers(&theirs["fit_efron_coef"]), 1e-8);
    let site = evaluate(&b2, &gbsg(&b2, Some(1826.25), &[]), &[], &settings(&b2, 4.99 * 365.25, 0)).unwrap();
    for (name, key) in [
        ("harrell_c", "harrell_c"),
        ("uno_c", "uno_c"),
        ("calibration_slope", "calibration_slope_efron"),
        ("royston_d", "royston_D"),
        ("royston_r2d", "royston_R2D"),
    ] {
        same(&site.estimates, name, &theirs["val"], key, 1e-7);
    }
    let auc = reference["model_B"]["val"]["auc_cumulative_dynamic_ipcw"]["auc_model_B2"][4].as_f64().unwrap();
    close(get(&site.estimates, "auc_at_horizon").0, auc, 1e-6);
}

#[test]
fn the_training_cohort_itself() {
    let reference = reference();
    let model = model_b();
    let plan = plan("{ kind = \"cox\" }", RFS, MODEL_B, "none");
    let data = read("rotterdam", &example("rotterdam.csv"), &plan, &SiteMap::default());
    let site = evaluate(&model, &data, &[], &settings(&model, 1800.0, 0)).unwrap();
    let theirs = &reference["model_B"]["dev"];
    same(&site.estimates, "harrell_c", theirs, "harrell_c", 1e-8);
    same(&site.estimates, "royston_d", theirs, "royston_D", 1e-8);
    same(&site.estimates, "royston_r2d", theirs, "royston_R2D", 1e-8);
    let record = Record::new(&model, vec![site], &settings(&model, 1800.0, 0), now().day());
    assert_eq!(record.evidence, Evidence::L0, "rows the model learned from are no external evidence");
}

#[test]
fn a_thousand_bootstraps_of_a_whole_record_take_seconds() {
    let model = model_b();
    let groups = ["meno".to_owned(), "hormon".to_owned()];
    let data = gbsg(&model, Some(1826.25), &groups);
    let settings = settings(&model, 4.99 * 365.25, 1000);
    let started = Instant::now();
    let site = evaluate(&model, &data, &groups, &settings).unwrap();
    println!("1,000 bootstraps of external validation B: {:.2} s", started.elapsed().as_secs_f64());
    assert_eq!(site.bootstraps_failed, 0);
    // The published intervals are of the same kind: C 0.62 to 0.69, AUC 0.62 to 0.73, slope 0.816 to 1.297.
    for (name, low, high) in
        [("harrell_c", 0.62, 0.69), ("auc_at_horizon", 0.62, 0.73), ("calibration_slope", 0.816, 1.297)]
    {
        let one = site.estimates.iter().find(|one| one.name == name).unwrap();
        let (a, b) = one.interval.unwrap();
        assert!((a - low).abs() < 0.03 && (b - high).abs() < 0.03, "{name}: {a} to {b}");
    }
    let again = evaluate(&model, &data, &groups, &Validation { bootstraps: 50, ..settings.clone() }).unwrap();
    let once_more = evaluate(&model, &data, &groups, &Validation { bootstraps: 50, ..settings.clone() }).unwrap();
    assert_eq!(again, once_more);
    let record = Record::new(&model, vec![site], &settings, now().day());
    assert_eq!(record.evidence, Evidence::L2);
    let read = Record::from_json(&record.to_json()).unwrap();
    assert_eq!((&read, read.digest()), (&record, record.digest()), "numbers round-trip");
    assert_eq!(Model::from_json(&model.to_json()).unwrap().digest(), model.digest());
}

/// A plan may hold persons out by lot: nobody learns from them, and what is measured on them where the model learned is internal.
#[test]
fn persons_held_out_are_learned_from_nowhere_and_measured_on_as_internal() {
    let held_out = |share: f64, seed: u64| Some(HeldOut { share, seed, only: false });
    let mut plan = plan(&format!("{{ kind = \"cox\", {EXACT} }}"), RFS, MODEL_B, "none");
    plan.cohort.held_out = held_out(0.25, 1);
    let map = SiteMap::from_toml("person = \"pid\"").unwrap();
    let table = read("rotterdam", &example("rotterdam.csv"), &plan, &map);
    let left: f64 = 2982.0 - table.rows() as f64;
    assert!((left / 2982.0 - 0.25).abs() < 0.03, "{left}");
    assert_eq!(
        read("rotterdam", &example("rotterdam.csv"), &plan, &map).rows(),
        table.rows(),
        "the lot falls the same"
    );
    let mut other = plan.clone();
    other.cohort.held_out = held_out(0.25, 2);
    assert_ne!(
        Data::held(&[read("rotterdam", &example("rotterdam.csv"), &other, &map)]),
        Data::held(std::slice::from_ref(&table))
    );
    assert!(plan.in_words().contains("About 25 % of the persons are held out by lot"));
    let model = model(run(&plan, vec![table.clone()], Architecture::Centralised));

    let asked = |held_out: bool| Validation { held_out, ..settings(&model, 1800.0, 0) };
    let rows = |held_out: bool| {
        let request = ValidationRequest::new(model.clone(), asked(held_out), Vec::new(), Missing::Refuse);
        let reading = request.reading();
        Data::read("rotterdam", &example("rotterdam.csv"), &reading.needs(), &map).unwrap()
    };
    assert_eq!(rows(true).rows() + table.rows(), 2982, "all others");
    assert_eq!(rows(false).rows(), 2982, "elsewhere nobody is held out");
    let internal = evaluate(&model, &rows(true), &[], &asked(true)).unwrap();
    let (c, _) = get(&internal.estimates, "harrell_c");
    assert!((0.6..0.75).contains(&c), "{c}");
    let record = Record::new(&model, vec![internal.clone()], &asked(true), now().day());
    assert_eq!(record.evidence, Evidence::L1);
    assert!(record.evidence_words.contains("held out from training by lot"));
    let apparent = evaluate(&model, &rows(false), &[], &asked(false)).unwrap();
    assert_eq!(Record::new(&model, vec![apparent], &asked(false), now().day()).evidence, Evidence::L0);
    let mut elsewhere = internal;
    elsewhere.site = "gbsg".to_owned();
    assert_eq!(Record::new(&model, vec![elsewhere], &asked(false), now().day()).evidence, Evidence::L2);
    // A model whose plan held nobody out has nobody to be measured on.
    let b = model_b();
    let settings = Validation { held_out: true, ..settings(&b, 1826.25, 0) };
    assert!(matches!(evaluate(&b, &gbsg(&b, Some(1826.25), &[]), &[], &settings), Err(LearnError::Model { .. })));
    let counts = "schema = \"acequia-plan/1\"\ntitle = \"A\"\ntask = { kind = \"count\" }\nprivacy = { minimum_rows = 20 }\naggregation = { protection = \"none\" }\ncohort = { held_out = { share = 0.5 } }\n";
    assert!(Plan::from_toml(counts).is_err(), "there is no model to measure");
    assert!(Plan::from_toml(&plan.to_json().replace("0.25", "1.5")).is_err());
}

/// What people must say is left to them, and the page needs nothing but itself.
#[test]
fn the_record_claims_nothing_for_people_and_its_page_stands_alone() {
    let model = model_b();
    let groups = ["meno".to_owned(), "grade".to_owned(), "pid".to_owned()];
    let data = gbsg(&model, Some(1826.25), &groups);
    let settings = settings(&model, 1826.25, 30);
    let north = evaluate(&model, &data, &groups, &settings).unwrap();
    let mut south = north.clone();
    south.site = "south".to_owned();
    let mut record = Record::new(&model, vec![north, south], &settings, now().day());
    assert_eq!(record.headings.len(), 27 + 4 + 1, "items of TRIPOD+AI, domains of PROBAST+AI and their sum");
    assert!(record.headings.iter().filter_map(|one| one.person.as_ref()).all(|field| field.answer.is_none()));
    for (item, known, person) in
        [("TRIPOD+AI 17", false, true), ("TRIPOD+AI 24", true, false), ("PROBAST+AI 4", true, true)]
    {
        let heading = record.headings.iter().find(|heading| heading.item == item).unwrap();
        assert_eq!((heading.known.is_some(), heading.person.is_some()), (known, person), "{item}");
    }
    let page = validation_page(&record);
    assert!(page.contains("Not a medical device") && page.matches("For a person to write:").count() > 15);
    assert!(
        page.contains("prefers-color-scheme: dark")
            && page.contains("@media print")
            && page.matches("<svg").count() > 6
    );
    for foreign in ["<script", "http://", "https://", "src=", "@import", "<link", "NaN", "inf "] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    // Every person is a group of her own by pid: none of them is named.
    let by_person: Vec<_> = record.sites[0].subgroups.iter().filter(|one| one.column == "pid").collect();
    assert!(by_person.len() == 1 && by_person[0].value.is_none() && by_person[0].rows.is_none());
    // What a person writes is on the page and changes the record's name.
    let before = record.digest();
    let field = record.headings.iter_mut().find_map(|heading| heading.person.as_mut()).unwrap();
    field.answer = Some("Written <by> a person".to_owned());
    assert!(validation_page(&record).contains("Written &lt;by&gt; a person") && record.digest() != before);
}
