//! Models from training to stock clients: card, gate, licences, consent, and the formats of others.

use std::path::{Path, PathBuf};
use std::process::Command;

use acequia_learn::{
    Architecture, Data, Model, Outcome, Plan, SeededEntropy, SiteMap, SiteRules, membership_test, run_here,
};
use acequia_types::parse_timestamp;
use serde_json::{Value, json};

use crate::clients::{python, script};
use crate::manual::root;
use crate::{Home, changed_recipe};

const MODEL: &str = "acequia/breast-cancer-recurrence";

fn example(name: &str) -> String {
    root().join("examples/breast-cancer").join(name).display().to_string()
}

fn at(home: &Home, name: &str) -> String {
    home.folder.path().join(name).display().to_string()
}

/// Trains, measures elsewhere and lays the card beside both. Returns the card's path.
fn prepared(home: &Home, site: &str) -> String {
    let plan = example("survival.plan.toml");
    home.json(&["train", &plan, "--site", site, "-o", &at(home, "model.json")]);
    measured(home);
    let card = at(home, "survival.model.toml");
    std::fs::copy(example("survival.model.toml"), &card).unwrap();
    card
}

fn measured(home: &Home) {
    let gbsg = format!("gbsg={}", example("gbsg.csv"));
    let words = ["validate", &at(home, "model.json"), "--at", &gbsg, "--by", "meno", "--bootstraps", "100"];
    home.json(&[&words[..], &["-o", &at(home, "record.json")]].concat());
}

/// Publishes the model of the example with some of the card's texts replaced, and returns the paths of its pages.
pub(crate) fn published(home: &Home, changes: &[(&str, &str)]) -> Vec<String> {
    let card = prepared(home, &rotterdam());
    home.json(&["publish", &changed(&card, changes), "--by", "anna"]);
    let page = format!("/models/{MODEL}");
    let tabs = ["evidence", "files", "versions", "use", "governance"].map(|tab| format!("{page}/v/1.0.0/{tab}"));
    ["/models".to_owned(), page].into_iter().chain(tabs).collect()
}

fn rotterdam() -> String {
    format!("rotterdam={}", example("rotterdam.csv"))
}

/// The card with some of its text replaced.
fn changed(card: &str, changes: &[(&str, &str)]) -> String {
    let mut text = std::fs::read_to_string(card).unwrap();
    for (from, to) in changes {
        assert!(text.contains(from), "the card has no {from}");
        text = text.replacen(from, to, 1);
    }
    let path = Path::new(card).with_file_name("changed.model.toml");
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[test]
fn stock_clients_read_a_published_model_and_predict_with_it() {
    let Some(python) = python() else { return };
    let home = Home::new();
    home.json(&["init"]);
    let card = prepared(&home, &rotterdam());
    let report = home.json(&["publish", &card, "--by", "anna"]);
    assert_eq!((&report["published"], &report["donors"]), (&true.into(), &0.into()), "{report}");
    script(&python, "models.py", &home, |_, endpoint| vec![endpoint, MODEL.to_owned()]);
}

#[test]
fn a_model_is_published_once_rechecked_and_taken_down() {
    let home = Home::new();
    home.json(&["init"]);
    let card = prepared(&home, &rotterdam());
    let report = home.json(&["publish", &card, "--by", "anna"]);
    let again = home.json(&["publish", &card, "--by", "anna"]);
    assert_eq!((&again["published"], &again["manifest"]), (&false.into(), &report["manifest"]));
    assert!(report["evidence"][0].as_str().unwrap().starts_with("L2, external"), "{report}");
    assert!(report["completeness"]["stated"].as_u64() > Some(16), "{report}");

    // Everything but model and records is made again.
    let verified = home.json(&["verify", &format!("{MODEL}@1.0.0")]);
    let checks = verified["checks"].as_array().unwrap();
    assert!(
        checks.iter().any(|check| check["name"] == "every file follows from model, records and card"),
        "{verified}"
    );
    let copy = at(&home, "copy");
    home.json(&["release", "export", MODEL, "--to", &copy]);
    home.json(&["verify", &copy]);
    let path = Path::new(&copy).join("README.md");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("Not for:", "Good for:")).unwrap();
    home.refused(&["verify", &copy], 6, "NO010");

    // ONNX and safetensors hold the whole model.
    for file in ["model.onnx", "model.safetensors"] {
        let (model, gbsg) = (Path::new(&copy).join(file), format!("gbsg={}", example("gbsg.csv")));
        let record = home.json(&["validate", model.to_str().unwrap(), "--at", &gbsg, "--bootstraps", "0"]);
        assert_eq!(record["model"], report["digest"], "{file}");
    }

    // A version is what it is; another number is another version.
    let other = changed(&card, &[("Teaching and research", "Teaching")]);
    home.refused(&["publish", &other, "--by", "anna"], 5, "ST007");
    let next = changed(&card, &[("version = \"1.0.0\"\ntitle", "version = \"1.1.0\"\ntitle")]);
    assert_eq!(home.json(&["publish", &next, "--by", "anna"])["version"], "1.1.0");
    home.json(&["release", "take-down", &format!("{MODEL}@1.0.0"), "--reason", "error"]);
    home.json(&["doctor"]);
}

#[test]
fn what_must_not_be_published_stays() {
    let home = Home::new();
    home.json(&["init"]);
    let card = prepared(&home, &rotterdam());
    let refused = |card: &str, exit: i32, code: &str| home.refused(&["publish", card, "--by", "anna"], exit, code);
    refused(&changed(&card, &[("[predictors.grade]", "[predictors.colour]")]), 2, "RE001");
    refused(&changed(&card, &[("purpose = \"Teaching", "aim = \"Teaching")]), 2, "NO005");
    refused(&changed(&card, &[("\"acequia/breast-cancer-recurrence\"", "\"api/breast-cancer\"")]), 2, "NO005");
    refused(&changed(&card, &[("file = \"model.json\"", "file = \"other.json\"")]), 3, "NO004");
    // What it learned from asks for the same licence.
    let source = "[[learned_from]]\ntitle = \"A register\"\nlicense = \"CC-BY-SA-4.0\"\n\n[[learned_from]]";
    let shared = changed(&card, &[("[[learned_from]]", source)]);
    refused(&shared, 5, "RE012");
    refused(&changed(&card, &[("[[learned_from]]", &source.replace("CC-BY-SA-4.0", "CC-BY-NC-4.0"))]), 5, "RE012");
    refused(
        &changed(
            &card,
            &[("[[learned_from]]", &source.replace("license = \"CC-BY-SA-4.0\"", "use_term = \"DUO:0000046\""))],
        ),
        5,
        "RE012",
    );

    // A record of another model, a model that nobody attacked, one that tells, and files that run code.
    let model = std::fs::read_to_string(at(&home, "model.json")).unwrap();
    let write = |text: &[u8]| std::fs::write(at(&home, "model.json"), text).unwrap();
    write(model.replace("by size, nodes and grade", "by size").as_bytes());
    refused(&card, 5, "LE018");
    let mut untested: Value = serde_json::from_str(&model).unwrap();
    untested.as_object_mut().unwrap().remove("membership");
    write(untested.to_string().as_bytes());
    refused(&card, 5, "LE017");
    let mut telling: Value = serde_json::from_str(&model).unwrap();
    telling["membership"]["interval"] = json!([0.7, 0.8]);
    write(telling.to_string().as_bytes());
    refused(&card, 5, "LE015");
    for pickle in [&b"\x80\x04\x95\x0f\x00\x00\x00."[..], b"PK\x03\x04archive/data.pkl", b"(dp0\nS'a'\np1\nI1\ns."] {
        write(pickle);
        refused(&card, 5, "LE019");
    }
    write(model.as_bytes());
    // What is stated is signed, and only what is not measured can be.
    let (record, page) = (at(&home, "record.json"), at(&home, "record.html"));
    let state = |level: &str| {
        let who = ["--by", "Dr. Anna Weber", "--reference", "doi:10.1000/1", "-o", &record, "--page", &page];
        home.run(&[&["network", "state", record.as_str(), "--level", level][..], &who].concat())
    };
    assert_eq!(state("L2").status.code(), Some(2), "it is measured");
    assert!(state("L3").status.success());
    assert!(std::fs::read_to_string(&page).unwrap().contains("Stated, not measured: L3"));
    let stated = std::fs::read_to_string(&record).unwrap();
    std::fs::write(&record, stated.replace("\"level\": \"L3\"", "\"level\": \"L5\"")).unwrap();
    refused(&card, 5, "LE018");
    std::fs::write(&record, &stated).unwrap();
    assert_eq!(home.json(&["release", "list"]), json!([]), "nothing of it is out");
    let alike = ("license = \"CC-BY-4.0\"", "license = \"CC-BY-SA-4.0\"");
    let alike = changed(&card, &[("[[learned_from]]", source), alike]);
    assert_eq!(home.json(&["publish", &alike, "--by", "anna"])["published"], true);
}

/// A data set that asks for share-alike is recognised by its bytes, wherever it was downloaded to.
#[test]
fn a_model_carries_the_terms_of_the_data_set_it_learned_from() {
    let home = Home::new();
    home.json(&["demo", "--no-serve"]);
    let changes = [
        ("license = \"CC-BY-4.0\"", "license = \"CC-BY-SA-4.0\""),
        ("version = \"1.0.0\"\ntitle", "version = \"1.0.1\"\ntitle"),
    ];
    let recipe = changed_recipe(&home, "shared.toml", &changes);
    home.json(&["run", recipe.to_str().unwrap()]);
    let copy = at(&home, "downloaded");
    home.json(&["release", "export", "acequia/breast-cancer-survival@1.0.1", "--to", &copy]);
    let plan = at(&home, "plan.toml");
    std::fs::write(&plan, "schema = \"acequia-plan/1\"\ntitle = \"Recurrence or death\"\ntask = { kind = \"logistic\" }\noutcome = { kind = \"binary\", value = { name = \"event\" } }\nprivacy = { minimum_rows = 50 }\n\n[[variables]]\nname = \"grade3\"\ncolumn = \"grade\"\nsteps = [{ one_of = [\"3\"] }]\n\n[[variables]]\nname = \"therapy\"\ncolumn = \"hormone_therapy\"\nsteps = [{ one_of = [\"true\", \"yes\", \"1\"] }]\n\n[aggregation]\nprotection = \"none\"\n").unwrap();
    let table = Path::new(&copy).join("data/train-00000-of-00001.parquet");
    let site = format!("pool={}", table.display());
    let trained = home.json(&["train", &plan, "--site", &site, "-o", &at(&home, "model.json")]);
    let learned = &trained["outcome"]["learned_from"][0];
    assert_eq!(
        (&learned["name"], &learned["license"]),
        (&"acequia/breast-cancer-survival".into(), &"CC-BY-SA-4.0".into()),
        "{trained}"
    );
    let card = at(&home, "event.model.toml");
    let text = std::fs::read_to_string(example("survival.model.toml")).unwrap();
    let (head, _) = text.split_once("[predictors.size]").unwrap();
    let head = head.replace("records = [\"record.json\"]", "records = []");
    let predictors = "[predictors.grade]\ntitle = \"Grade\"\ndescription = \"Histologic grade.\"\n\n[predictors.hormone_therapy]\ntitle = \"Hormone therapy\"\ndescription = \"Whether it was given.\"\n";
    std::fs::write(&card, format!("{head}{predictors}")).unwrap();
    // Nobody named the data set in the card; its lineage did.
    home.refused(&["publish", &card, "--by", "anna"], 5, "RE012");
    let kept = changed(&card, &[("license = \"CC-BY-4.0\"", "license = \"CC-BY-SA-4.0\"")]);
    let report = home.json(&["publish", &kept, "--by", "anna"]);
    let source = &report["learned_from"][0];
    assert_eq!(
        (&source["title"], &source["use_term"]),
        (&"Breast cancer survival".into(), &"DUO:0000042".into()),
        "{report}"
    );
    // Clients of hubs lay files down as links to a store of blobs.
    let cache = home.folder.path().join("cache");
    let snapshot = cache.join("snapshots/abc");
    std::fs::create_dir_all(cache.join("blobs")).unwrap();
    std::fs::create_dir_all(snapshot.join("data")).unwrap();
    for (name, from) in [
        ("data/train-00000-of-00001.parquet", table.clone()),
        ("manifest.json", Path::new(&copy).join("manifest.json")),
    ] {
        let blob = cache.join("blobs").join(name.replace('/', "-"));
        std::fs::copy(from, &blob).unwrap();
        std::os::unix::fs::symlink(&blob, snapshot.join(name)).unwrap();
    }
    let linked = acequia_node::published_source(&snapshot.join("data/train-00000-of-00001.parquet"));
    assert_eq!(linked.map(|source| source.license).as_deref(), Some("CC-BY-SA-4.0"));
    // A table that was changed is not the published one.
    let rows = std::fs::read(&table).unwrap();
    std::fs::write(&table, [&rows[..rows.len() - 1], &[rows[rows.len() - 1] ^ 1]].concat()).unwrap();
    assert_eq!(acequia_node::published_source(&table), None);
    // No data set takes the name of a model, and no model that of a data set.
    let taken = changed(&kept, &[("acequia/breast-cancer-recurrence", "acequia/breast-cancer-survival")]);
    home.refused(&["publish", &taken, "--by", "anna"], 2, "NO005");
}

/// Consent counts at the moment of publishing, and a version whose people left gives way.
#[test]
fn who_withdraws_is_in_no_model_that_comes_out_later() {
    let home = Home::new();
    home.json(&["init"]);
    let donate = |donor: usize| {
        let text = std::fs::read_to_string(example("rotterdam.csv")).unwrap();
        let (header, rows) = text.split_once('\n').unwrap();
        let own = rows.lines().enumerate().filter(|(nth, _)| nth % 4 == donor).map(|(_, row)| format!("{row}\n"));
        let (table, consent) =
            (at(&home, &format!("part-{donor}.csv")), at(&home, &format!("part-{donor}.consent.json")));
        std::fs::write(&table, format!("{header}\n{}", own.collect::<String>())).unwrap();
        let event = r#"{"at":"2026-01-15T00:00:00Z","event":"give","purposes":["model-training"]}"#;
        std::fs::write(&consent, format!("{{\"donor\":\"clinic-{donor}\",\"events\":[{event}]}}")).unwrap();
        home.json(&["donate", &table, "--mapping", &example("rotterdam.mapping.toml"), "--consent", &consent]);
    };
    (0..4).for_each(donate);
    let (plan, cohort) = (example("survival.plan.toml"), example("donors.cohort.toml"));
    let train = || {
        home.json(&["train", &plan, "--donors", &cohort, "-o", &at(&home, "model.json")]);
        measured(&home);
    };
    train();
    let card = at(&home, "survival.model.toml");
    std::fs::copy(example("survival.model.toml"), &card).unwrap();
    assert_eq!(home.json(&["publish", &card, "--by", "anna"])["donors"], 4);
    // Under another name and with other sites it is still a model of a plan that ran on donors here.
    let model = std::fs::read_to_string(at(&home, "model.json")).unwrap();
    let renamed = model.replace("by size, nodes and grade", "by size").replace("\"donors\"", "\"rotterdam\"");
    assert_ne!(renamed, model);
    std::fs::write(at(&home, "model.json"), renamed).unwrap();
    let bare = ("records = [\"record.json\"]", "records = []");
    let other = changed(&card, &[bare, ("version = \"1.0.0\"\ntitle", "version = \"1.0.2\"\ntitle")]);
    home.refused(&["publish", &other, "--by", "anna"], 4, "NO019");
    std::fs::write(at(&home, "model.json"), model).unwrap();
    // The donor sees in which model her records are.
    let report = home.json(&["consent", "report", "clinic-3"]);
    assert!(report.to_string().contains(MODEL), "{report}");

    home.json(&["consent", "withdraw", "clinic-3"]);
    let next = changed(&card, &[("version = \"1.0.0\"\ntitle", "version = \"1.1.0\"\ntitle")]);
    home.refused(&["publish", &next, "--by", "anna"], 4, "CU002");
    train();
    assert_eq!(home.json(&["publish", &next, "--by", "anna"])["donors"], 3);
    let versions = home.json(&["release", "list"]);
    assert_eq!((&versions[0]["taken_down"], &versions[0]["successor"]), (&"withdrawal".into(), &"1.1.0".into()));
    assert!(versions[1]["taken_down"].is_null());
    // A model of somebody's donors that this node did not train is not published as theirs.
    let elsewhere = Home::new();
    elsewhere.json(&["init"]);
    elsewhere.refused(&["publish", &next, "--by", "anna"], 4, "NO019");
}

/// Every kind of model, with every kind of step, predicts in onnxruntime what it predicts here.
#[test]
fn every_kind_of_model_predicts_the_same_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let steps = "[[variables]]\nname = \"size50\"\ncolumn = \"size\"\nsteps = [{ levels = [\"<=20\", \"20-50\", \">50\"] }, { one_of = [\">50\", \"20-50\"] }]\n\
        [[variables]]\nname = \"coded\"\ncolumn = \"grade\"\nsteps = [{ levels = [\"2\", \"3\"] }, { codes = { \"1\" = 9.0, \"2\" = 0.1, \"3\" = 1.7 } }]\n\
        [[variables]]\nname = \"meno\"\nsteps = [{ levels = [\"0\", \"1\"] }, { subtract = 0.5 }]\n\
        [[variables]]\nname = \"nodes3\"\ncolumn = \"nodes\"\nsteps = [{ cap = 19 }, { spline_term = { knots = [0, 1, 9] } }]\n\
        [[variables]]\nname = \"age\"\nstandardise = true\n\
        [[variables]]\nname = \"young\"\ncolumn = \"age\"\nsteps = [{ band = { edges = [40, 55], labels = [\"a\", \"b\", \"c\"] } }, { one_of = [\"a\", \"c\"] }]\n\
        [[variables]]\nname = \"class\"\ncolumn = \"age\"\nsteps = [{ band = { edges = [45, 60, 70], labels = [\"0\", \"1\", \"2.5\", \"3\"] } }]\n\
        [[variables]]\nname = \"pgr\"\nsteps = [{ subtract = -1 }, { divide = 100 }, { floor = 0.01 }, \"log\"]\n\
        [[variables]]\nname = \"er\"\nsteps = [{ subtract = -1 }, { divide = 1000 }, { power_log = 0.5 }]\n\
        [[variables]]\nname = \"root\"\ncolumn = \"nodes\"\nsteps = [{ power = 0.5 }, { above = 1.5 }]\n";
    let survival = "outcome = { kind = \"survival\", components = [{ time = \"rtime\", event = \"recur\" }, { time = \"dtime\", event = \"death\" }], cut_days = 1826.25 }\n";
    let binary = "outcome = { kind = \"binary\", value = { name = \"death\" } }\n";
    let number = "outcome = { kind = \"number\", value = { name = \"year\" } }\n";
    let network = "{ kind = \"averaging\", strategy = { kind = \"fed-avg\" }, start = \"uniform\", network = { hidden = [6, 3] }, rounds = 3, local_steps = 10, batch = 64, rate = 0.01 }";
    let kinds = [
        ("cox", "{ kind = \"cox\", ridge = 1.0 }", survival),
        (
            "logit",
            "{ kind = \"discrete-time\", ends_days = [365.25, 730.5, 1826.25], link = \"logit\", ridge = 1.0 }",
            survival,
        ),
        (
            "cloglog",
            "{ kind = \"discrete-time\", ends_days = [365.25, 730.5, 1826.25], link = \"cloglog\", ridge = 1.0 }",
            survival,
        ),
        ("logistic", "{ kind = \"logistic\", ridge = 1.0 }", binary),
        ("linear", "{ kind = \"linear\", ridge = 1.0 }", number),
        ("boosting", "{ kind = \"boosting\", trees = 20, depth = 3 }", binary),
        ("network", network, binary),
        ("network-of-survival", network, survival),
    ];
    let now = parse_timestamp("2026-06-01").unwrap();
    for (name, task, outcome) in kinds {
        let text = format!(
            "schema = \"acequia-plan/1\"\ntitle = \"{name}\"\ntask = {task}\n{outcome}privacy = {{ minimum_rows = 50 }}\naggregation = {{ protection = \"none\" }}\n{steps}"
        );
        // Trees look at the order of values only.
        let text = if name == "boosting" { text.replace("standardise = true\n", "") } else { text };
        let plan = Plan::from_toml(&text).unwrap();
        let data =
            Data::read("rotterdam", &PathBuf::from(example("rotterdam.csv")), &plan.needs(), &SiteMap::default())
                .unwrap();
        let tables = vec![data.clone()];
        let report =
            run_here(&plan, tables, Architecture::Centralised, &SiteRules::own(), now, &mut SeededEntropy::new(1))
                .unwrap();
        let Outcome::Model(model) = report.outcome else { panic!("{name} gives a model") };
        let model = model
            .tested(
                membership_test(&plan, std::slice::from_ref(&data)),
                &acequia_learn::PrivacyRule { membership_auc: 1.0, ..plan.privacy },
            )
            .unwrap();
        let (onnx, tensors) = (model.to_onnx().unwrap(), model.to_safetensors().unwrap());
        assert_eq!(
            (onnx.clone(), tensors.clone()),
            (model.to_onnx().unwrap(), model.to_safetensors().unwrap()),
            "the same bytes"
        );
        for bytes in [model.to_json().as_bytes(), &onnx, &tensors] {
            assert_eq!(Model::from_bytes(bytes).unwrap(), model, "{name}");
        }
        model.predicts_alike().unwrap_or_else(|error| panic!("{name}: {error}"));
        // A file whose numbers are not those of its own document is none.
        if let Some(coefficient) = model.coefficients().first() {
            for bytes in [&onnx, &tensors] {
                let number = coefficient.to_le_bytes();
                let place = bytes.windows(8).position(|window| window == number).unwrap();
                let mut broken = bytes.clone();
                broken[place] ^= 1;
                assert!(Model::from_bytes(&broken).is_err(), "{name}");
            }
        }
        std::fs::write(folder.path().join(format!("{name}.onnx")), &onnx).unwrap();
        std::fs::write(folder.path().join(format!("{name}.json")), expected(&model, &data).to_string()).unwrap();
    }
    write_model_of_images(folder.path());
    let Some(python) = python() else { return };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/predictions.py");
    let output = Command::new(python).arg(script).arg(folder.path()).output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stdout}\n{stderr}");
    println!("{stdout}");
}

/// A model of images, and what it says of each: stripes that are upright or lie.
fn write_model_of_images(folder: &Path) {
    let mut table = "file,upright\n".to_owned();
    let mut images: Vec<Vec<f64>> = Vec::new();
    for nth in 0..60_usize {
        let upright = nth % 2 == 0;
        let grey = |place: usize| {
            let stripe = if upright { place % 10 } else { place / 10 };
            u8::try_from((stripe * 7 + nth * 3 + place) % 200 + usize::from(stripe % 3 == 0) * 55).unwrap()
        };
        let pixels: Vec<u8> = (0..80).map(grey).collect();
        let file = std::fs::File::create(folder.join(format!("{nth}.png"))).unwrap();
        let mut encoder = png::Encoder::new(file, 10, 8);
        encoder.set_color(png::ColorType::Grayscale);
        encoder.write_header().unwrap().write_image_data(&pixels).unwrap();
        images.push(pixels.iter().map(|grey| f64::from(*grey) / 255.0).collect());
        table += &format!("{nth}.png,{}\n", u8::from(upright));
    }
    std::fs::write(folder.join("images.csv"), table).unwrap();
    let plan = Plan::from_toml(
        "schema = \"acequia-plan/1\"\ntitle = \"Stripes\"\nprivacy = { minimum_rows = 50 }\naggregation = { protection = \"none\" }\n\
         outcome = { kind = \"binary\", value = { name = \"upright\" } }\n\
         variables = [{ name = \"image\", column = \"file\", image = { width = 10, height = 8 } }]\n\
         [task]\nkind = \"averaging\"\nstrategy = { kind = \"fed-avg\" }\nstart = \"uniform\"\nrounds = 3\nlocal_steps = 10\nbatch = 20\nrate = 0.1\n\
         network = { convolutions = [{ filters = 3 }, { filters = 2, kernel = 5 }], hidden = [4] }\n",
    )
    .unwrap();
    let data = Data::read("site", &folder.join("images.csv"), &plan.needs(), &SiteMap::default()).unwrap();
    let (rules, now) = (SiteRules::own(), parse_timestamp("2026-06-01").unwrap());
    let tables = vec![data.clone()];
    let report = run_here(&plan, tables, Architecture::Centralised, &rules, now, &mut SeededEntropy::new(1)).unwrap();
    let Outcome::Model(model) = report.outcome else { panic!("a model") };
    model.predicts_alike().unwrap();
    let (predictors, ..) = data.predicted(&model);
    let probability: Vec<f64> = predictors.iter().map(|lp| model.risk(*lp, 0.0).unwrap()).collect();
    let expected = json!({ "linear_predictor": predictors, "probability": probability });
    let told = json!({ "columns": { "file": images }, "expected": expected });
    std::fs::write(folder.join("image.onnx"), model.to_onnx().unwrap()).unwrap();
    std::fs::write(folder.join("image.json"), told.to_string()).unwrap();
}

/// The columns of the table as a clinician has them, and what the model says of each row.
fn expected(model: &Model, data: &Data) -> Value {
    let text = std::fs::read_to_string(example("rotterdam.csv")).unwrap();
    let mut lines = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let header = lines.next().unwrap();
    let rows: Vec<Vec<&str>> = lines.collect();
    let mut columns = serde_json::Map::new();
    for variable in model.inputs() {
        let place = header.iter().position(|name| *name == variable.source()).unwrap();
        let cell = |row: &Vec<&str>| {
            if matches!(variable.source(), "size" | "grade" | "meno") {
                json!(row[place])
            } else {
                json!(row[place].parse::<f64>().unwrap())
            }
        };
        columns.insert(variable.source().to_owned(), rows.iter().map(cell).collect());
    }
    let (predictors, ..) = data.predicted(model);
    assert_eq!(predictors.len(), rows.len(), "no row was left out");
    let mut expected = json!({ "linear_predictor": predictors });
    let horizons = model.horizons_days();
    let risk = |days: f64| -> Vec<f64> { predictors.iter().map(|lp| model.risk(*lp, days).unwrap()).collect() };
    match (model.is_survival(), model.risk(0.0, 0.0)) {
        (true, _) if horizons.is_empty() => {}
        (true, _) => {
            let by_day: Vec<Vec<f64>> = horizons.iter().map(|days| risk(*days)).collect();
            expected["risk"] =
                (0..predictors.len()).map(|row| by_day.iter().map(|day| json!(day[row])).collect::<Value>()).collect();
        }
        (false, Some(_)) => expected["probability"] = json!(risk(0.0)),
        (false, None) => expected["prediction"] = json!(predictors),
    }
    json!({ "columns": columns, "expected": expected })
}
