//! Neural networks: the same network wherever the rows lie, images as they come, and what a model of them says elsewhere.

use std::fs::{self, File};
use std::path::Path;

use acequia_learn::*;

use crate::support::*;

const DEATH: &str = "{ kind = \"binary\", value = { name = \"death\" } }";

const SCALED: &str = r#"
[[variables]]
name = "age"
standardise = true
[[variables]]
name = "nodes"
steps = [{ cap = 19 }]
standardise = true
[[variables]]
name = "grade3"
column = "grade"
steps = [{ one_of = ["3"] }]
"#;

fn averaging(network: &str, more: &str) -> String {
    format!(
        "{{ kind = \"averaging\", strategy = {{ kind = \"fed-avg\" }}, start = \"uniform\", seed = 3, network = {network}, {more} }}"
    )
}

fn weights(report: Report) -> Vec<f64> {
    match model(report).form {
        Form::Network { weights, .. } => weights,
        other => panic!("not a network: {other:?}"),
    }
}

/// One step over all rows of a site, weighted by rows, is a step over all rows of all sites.
#[test]
fn a_network_learns_the_same_wherever_its_rows_are() {
    let task = averaging("{ hidden = [5, 3] }", "rounds = 12, local_steps = 1, batch = 100000, rate = 1.0");
    for (outcome, kind) in [(DEATH, Score::LogOdds), (RFS, Score::LogRelativeHazard)] {
        let plain = plan(&task, outcome, SCALED, "none");
        let tables = four_sites(&plain);
        let central = run(&plain, tables.clone(), Architecture::Centralised);
        if kind == Score::LogRelativeHazard {
            // Risk sets are those of a site: a step over one site's rows is its own.
            let central = model(central);
            assert!(central.is_survival() && central.risk(0.3, 365.0).is_none());
            continue;
        }
        let federated = weights(run(&plain, tables.clone(), Architecture::Federated));
        let central = weights(central);
        all_close(&federated, &central, 1e-9);
        assert_eq!(federated, weights(run(&plain, tables.clone(), Architecture::Decentralised)));
        let masked = plan(&task, outcome, SCALED, "two-aggregators");
        all_close(&weights(run(&masked, tables, Architecture::Federated)), &central, 1e-6);
    }
}

/// Harrell's C of a network on GBSG, which it never saw, beside Cox's (0.6524 with other variables: `survival-reference.json`).
#[test]
fn networks_rank_as_well_as_regression_does() {
    let task = averaging("{ hidden = [8] }", "rounds = 30, local_steps = 40, batch = 64, rate = 0.05");
    let cox = plan("{ kind = \"cox\" }", RFS, SCALED, "none");
    let deep = plan(&task, RFS, SCALED, "none");
    let c = |plan: &Plan| {
        let learned = model(run(plan, four_sites(plan), Architecture::Federated));
        let gbsg = read("gbsg", &example("gbsg.csv"), plan, &gbsg_map(Some(1826.25)));
        let (predictor, time, event) = gbsg.predicted(&learned);
        concordance(&predictor, &time, &event)
    };
    let (cox, deep) = (c(&cox), c(&deep));
    println!("Harrell's C on GBSG: Cox {cox:.4}, network {deep:.4}");
    assert!(deep > cox - 0.02, "{deep} {cox}");
}

fn concordance(predictor: &[f64], time: &[f64], event: &[bool]) -> f64 {
    let (mut right, mut all) = (0.0, 0.0);
    for i in (0..time.len()).filter(|i| event[*i]) {
        for j in (0..time.len()).filter(|j| time[*j] > time[i]) {
            all += 1.0;
            right += match predictor[i].total_cmp(&predictor[j]) {
                std::cmp::Ordering::Greater => 1.0,
                std::cmp::Ordering::Equal => 0.5,
                std::cmp::Ordering::Less => 0.0,
            };
        }
    }
    right / all
}

fn png(path: &Path, side: u32, pixels: &[u8], color: png::ColorType) {
    let mut encoder = png::Encoder::new(File::create(path).unwrap(), side, side);
    encoder.set_color(color);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.write_header().unwrap().write_image_data(pixels).unwrap();
}

/// A table of images with a bright bar, upright or lying, in noise; 1 for an upright one.
fn bars(folder: &Path, name: &str, count: u64, seed: u64) -> std::path::PathBuf {
    let mut state = seed;
    let mut draw = |below: u64| {
        // Knuth's MMIX generator: these images only have to differ.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    fs::create_dir_all(folder.join("images")).unwrap();
    let mut table = "file,upright\n".to_owned();
    for nth in 0..count {
        let (upright, at) = (draw(2) == 1, draw(12) as usize);
        let pixel = |place: usize, noise: u64| {
            let bar = if upright { place % 12 } else { place / 12 } == at;
            (noise + if bar { 130 } else { 0 }) as u8
        };
        let pixels: Vec<u8> = (0..144).map(|place| pixel(place, draw(110))).collect();
        let file = format!("images/{name}-{nth}.png");
        png(&folder.join(&file), 12, &pixels, png::ColorType::Grayscale);
        table += &format!("{file},{}\n", u8::from(upright));
    }
    let path = folder.join(format!("{name}.csv"));
    fs::write(&path, table).unwrap();
    path
}

const IMAGE: &str = "[[variables]]\nname = \"picture\"\ncolumn = \"file\"\nimage = { width = 12, height = 12 }\n";

fn of_images(more: &str, protection: &str) -> Plan {
    let network = "{ convolutions = [{ filters = 4 }], hidden = [8] }";
    plan(&averaging(network, more), "{ kind = \"binary\", value = { name = \"upright\" } }", IMAGE, protection)
}

#[test]
fn a_network_learns_from_images_of_several_sites() {
    let folder = tempfile::tempdir().unwrap();
    let sites: Vec<_> =
        ["a", "b", "c"].iter().zip(1..).map(|(name, seed)| (*name, bars(folder.path(), name, 120, seed))).collect();
    let read_all = |plan: &Plan| -> Vec<Data> {
        sites.iter().map(|(name, path)| read(name, path, plan, &SiteMap::default())).collect()
    };
    let plan = of_images("rounds = 24, local_steps = 16, batch = 30, rate = 0.3", "two-aggregators");
    let report = run(&plan, read_all(&plan), Architecture::Federated);
    assert_eq!(report.rounds, 24, "pixels need no first look");
    let learned = model(report);
    let unseen = read("d", &bars(folder.path(), "d", 200, 9), &plan, &SiteMap::default());
    let (predictor, values, _) = unseen.predicted(&learned);
    let right = predictor.iter().zip(&values).filter(|(lp, value)| (**lp > 0.0) == (**value == 1.0)).count();
    println!("{right} of 200 unseen images");
    assert!(right >= 190, "{right} of 200");
    // The same weights from the same rows, and the same file back from each format.
    assert_eq!(model(run(&plan, read_all(&plan), Architecture::Federated)), learned);
    for bytes in [learned.to_json().into_bytes(), learned.to_onnx().unwrap(), learned.to_safetensors().unwrap()] {
        assert_eq!(Model::from_bytes(&bytes).unwrap(), learned);
    }
    let shapes = learned.tensors();
    assert!(shapes.contains(&("conv1.weight".to_owned(), vec![4, 1, 3, 3])), "{shapes:?}");
    // Steps over all rows are the same in one place.
    let steps = of_images("rounds = 3, local_steps = 1, batch = 1000, rate = 0.3", "none");
    let central = weights(run(&steps, read_all(&steps), Architecture::Centralised));
    all_close(&weights(run(&steps, read_all(&steps), Architecture::Federated)), &central, 1e-9);
    // Attacked like any other; there is no column to extract.
    let found = membership_test(&plan, &read_all(&plan));
    assert!(matches!(found, Membership::LossThreshold { extraction: None, .. }), "{found:?}");
}

#[test]
fn what_is_no_such_image_is_refused_without_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    png(&at("small.png"), 6, &[0; 36], png::ColorType::Grayscale);
    png(&at("colour.png"), 12, &[0; 432], png::ColorType::Rgb);
    png(&at("good.png"), 12, &[255; 144], png::ColorType::Grayscale);
    let good = fs::read(at("good.png")).unwrap();
    fs::write(at("cut.png"), &good[..good.len() - 20]).unwrap();
    fs::write(at("text.png"), "Jane Doe").unwrap();
    let plan = of_images("rounds = 1, local_steps = 1, batch = 30, rate = 0.3", "none");
    let tried = |name: &str| {
        fs::write(at("t.csv"), format!("file,upright\n{name},1\n")).unwrap();
        Data::read("site", &at("t.csv"), &plan.needs(), &SiteMap::default())
    };
    assert!(tried("good.png").is_ok());
    for (name, problem) in [
        ("Jane.png", "names an image that is not there"),
        ("../Jane.png", "is no path from the folder"),
        ("/etc/Jane", "is no path from the folder"),
        ("small.png", "of another size"),
        ("colour.png", "not grey"),
        ("cut.png", "damaged"),
        ("text.png", "no PNG"),
    ] {
        let error = tried(name).unwrap_err().to_string();
        assert!(error.starts_with("site, row 1, column file: ") && error.contains(problem), "{name}: {error}");
        assert!(!error.contains("Jane"), "{error}");
    }
    let csv = "file,upright\ngood.png,1\n";
    assert!(Data::from_csv("site", csv.as_bytes(), &plan.needs(), &SiteMap::default()).is_err(), "it lies nowhere");
    // Other pixels under the same name are other rows.
    let before = tried("good.png").unwrap().digest();
    png(&at("good.png"), 12, &[254; 144], png::ColorType::Grayscale);
    assert_ne!(tried("good.png").unwrap().digest(), before);
}

#[test]
fn plans_of_networks_that_cannot_work_are_refused() {
    let text = |network: &str, start: &str, outcome: &str, variables: &str| {
        format!(
            "schema = \"acequia-plan/1\"\ntitle = \"A test\"\noutcome = {outcome}\nprivacy = {{ minimum_rows = 20 }}\n\
             task = {{ kind = \"averaging\", strategy = {{ kind = \"fed-avg\" }}, {start} network = {network}, rounds = 1, local_steps = 1, rate = 1.0 }}\n{variables}"
        )
    };
    let uniform = "start = \"uniform\",";
    assert!(Plan::from_toml(&text("{ hidden = [3] }", uniform, DEATH, SCALED)).is_ok());
    for (network, start, variables, why) in [
        ("{ hidden = [3] }", "", SCALED.to_owned(), "zero"),
        ("{ hidden = [0] }", uniform, SCALED.to_owned(), "hidden layer"),
        ("{ convolutions = [{ filters = 2 }] }", uniform, SCALED.to_owned(), "image"),
        ("{ hidden = [3], code = \"rm\" }", uniform, SCALED.to_owned(), "code"),
        ("{ hidden = [3] }", uniform, format!("{SCALED}{IMAGE}"), "one image"),
        ("{ hidden = [3] }", uniform, IMAGE.replace("image =", "standardise = true\nimage ="), "as it is"),
        ("{ hidden = [3] }", uniform, IMAGE.replace("width = 12", "width = 0"), "pixels to a side"),
    ] {
        let error = Plan::from_toml(&text(network, start, DEATH, &variables)).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
    let cox = format!(
        "schema = \"acequia-plan/1\"\ntitle = \"A test\"\noutcome = {RFS}\nprivacy = {{ minimum_rows = 20 }}\ntask = {{ kind = \"cox\" }}\n{IMAGE}"
    );
    assert!(Plan::from_toml(&cox).unwrap_err().to_string().contains("task.network"));
}

#[test]
fn noise_hides_rows_of_a_network_too() {
    let task = averaging(
        "{ hidden = [4] }",
        "rounds = 60, local_steps = 1, rate = 2.0, noise = { clip = 1.0, multiplier = 1.0, sample = 0.1, rows = 2982, delta = 1e-5 }",
    );
    let known = "[[variables]]\nname = \"age\"\nsteps = [{ subtract = 55 }, { divide = 13 }]\n\
        [[variables]]\nname = \"nodes\"\nsteps = [{ subtract = 3 }, { divide = 4 }]\n";
    let noisy = plan(&task, DEATH, known, "none");
    let tables = four_sites(&noisy);
    let learned = model(run(&noisy, tables.clone(), Architecture::Federated));
    assert!(learned.differential_privacy.is_some_and(|found| found.epsilon < 20.0));
    let all = Data::pooled("all", &tables);
    let (predictor, values, _) = all.predicted(&learned);
    let of = |wanted: f64| predictor.iter().zip(&values).filter(move |(_, v)| **v == wanted).map(|(p, _)| *p);
    let higher: usize = of(1.0).map(|one| of(0.0).filter(|zero| one > *zero).count()).sum();
    let auc = higher as f64 / (of(1.0).count() * of(0.0).count()) as f64;
    println!("area under the curve with noise: {auc:.3}");
    assert!(auc > 0.65, "{auc}");
}

#[test]
fn a_cautious_site_keeps_weights_to_itself_that_outnumber_its_rows() {
    let task = averaging("{ hidden = [40] }", "rounds = 1, local_steps = 1, batch = 64, rate = 0.1");
    let tables = |plan: &Plan| four_sites(plan);
    let asked = |protection: &str| {
        let plan = plan(&task, DEATH, SCALED, protection);
        run_here(
            &plan,
            tables(&plan),
            Architecture::Federated,
            &SiteRules::cautious(),
            now(),
            &mut SeededEntropy::new(7),
        )
    };
    let error = asked("none").unwrap_err().to_string();
    assert!(error.contains("too few rows for so many coefficients"), "{error}");
    asked("two-aggregators").unwrap();
}
