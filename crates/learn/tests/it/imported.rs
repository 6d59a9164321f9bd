//! Models of other programs: read, refused, measured.

use std::path::Path;

use acequia_learn::*;
use acequia_types::{Coded, parse_day};
use proptest::prelude::*;

fn example(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/breast-cancer");
    std::fs::read(folder.join(name)).unwrap()
}

fn text(name: &str) -> String {
    String::from_utf8(example(name)).unwrap()
}

fn theirs(changes: &[(&str, &str)]) -> Result<ImportedModel, LearnError> {
    let mut manifest = text("theirs.import.toml");
    for (from, to) in changes {
        assert!(manifest.contains(from), "{from}");
        manifest = manifest.replace(from, to);
    }
    ImportedModel::new(ModelManifest::from_toml(&manifest)?, example("theirs.onnx"))
}

/// Rows of the German trial, as a hospital has them.
fn gbsg(request: &ValidationRequest) -> Data {
    let map = SiteMap::from_toml(&text("gbsg.site.toml")).unwrap();
    Data::from_csv("gbsg", example("gbsg.csv").as_slice(), &request.reading().needs(), &map).unwrap()
}

fn request(model: ImportedModel, by: &[&str]) -> ValidationRequest {
    let model = FrozenModel::from(model);
    let settings = Validation { bootstraps: 50, ..Validation::usual(&model) };
    let by = by.iter().map(|column| (*column).to_owned()).collect();
    ValidationRequest::new(model, settings, by, Missing::Refuse)
}

fn value(site: &SiteEvaluation, name: &str) -> f64 {
    site.estimates.iter().find(|one| one.name == name).unwrap_or_else(|| panic!("{name}")).value
}

#[test]
fn a_model_of_another_program_is_measured_as_ours_are() {
    let request = request(theirs(&[]).unwrap(), &["meno"]);
    let data = gbsg(&request);
    let site = evaluate(&request.model, &data, &request.by, &request.settings).unwrap();
    assert_eq!((site.rows, request.settings.horizon_days), (686, 1826.25));
    // Of a risk at one day the measures are those of scikit-survival and of the pages that the reference file names.
    assert!((value(&site, "harrell_c") - 0.66).abs() < 0.02, "{}", value(&site, "harrell_c"));
    assert_eq!(value(&site, "brier"), value(&site, "integrated_brier"), "one day, nothing to integrate over");
    assert!(site.subgroups.iter().any(|group| !group.estimates.is_empty()));
    assert!(site.unlike_training.is_empty(), "its maker states no means");
    let record = Record::new(&request.model, vec![site], &request.settings, parse_day("2026-11-23").unwrap());
    assert_eq!(record.evidence, Evidence::L2);
    assert!(record.evidence_words.contains("by what its maker says"), "{}", record.evidence_words);
    let import = record.imported.as_ref().unwrap();
    assert_eq!((import.name.as_str(), import.examples, record.plan), ("breast-cancer-five-years", 3, None));
    assert_eq!(import.file, acequia_types::Digest::of(&example("theirs.onnx")));
    assert_eq!(record.model, theirs(&[]).unwrap().digest());
    assert_eq!(Record::from_json(&record.to_json()).unwrap(), record);
    let page = validation_page(&record);
    for stated in ["Somebody else", "CC-BY-4.0", "skl2onnx", "Rotterdam, 1978 to 1993", "all came out the same"] {
        assert!(page.contains(stated), "{stated}");
    }
}

/// Nothing is claimed of a model whose maker does not say where it was developed, nor of one measured where it was.
#[test]
fn evidence_is_no_more_than_what_its_maker_says() {
    let evidence = |changes: &[(&str, &str)], name: &str| {
        let request = request(theirs(changes).unwrap(), &[]);
        let mut site = evaluate(&request.model, &gbsg(&request), &[], &request.settings).unwrap();
        name.clone_into(&mut site.site);
        Record::new(&request.model, vec![site], &request.settings, parse_day("2026-11-23").unwrap())
    };
    let unknown = evidence(&[("developed_at = [\"rotterdam\"]\n", "")], "gbsg");
    assert_eq!(unknown.evidence, Evidence::L0);
    assert!(unknown.evidence_words.starts_with("L0, not known"), "{}", unknown.evidence_words);
    assert!(validation_page(&unknown).contains("not known"));
    assert_eq!(evidence(&[], "rotterdam").evidence, Evidence::L0);
}

#[test]
fn file_and_manifest_name_the_model() {
    let model = theirs(&[]).unwrap();
    let other = theirs(&[("version = \"1.0\"", "version = \"1.1\"")]).unwrap();
    assert_ne!(model.digest(), other.digest());
    // Spaces and comments of the manifest are not part of it.
    assert_eq!(theirs(&[("schema =", "# once more\nschema   =")]).unwrap().digest(), model.digest());
    let one = request(model, &[]);
    let again = ValidationRequest::from_json(&one.to_json()).unwrap();
    assert_eq!((again.digest(), &again.model), (one.digest(), &one.model));
}

#[test]
fn an_example_that_comes_out_otherwise_stops_it() {
    let model = theirs(&[("gives = [0.5407381]", "gives = [0.5408]")]).unwrap();
    let request = request(model, &[]);
    let error = evaluate(&request.model, &gbsg(&request), &[], &request.settings).unwrap_err();
    assert_eq!(error.code(), "LE022");
    assert!(error.to_string().starts_with("of example 2 the model says 0.54073"), "{error}");
}

#[test]
fn what_contradicts_the_file_or_itself_is_refused_with_what_would_fit() {
    let refused = [
        ("schema = \"acequia-import/1\"", "schema = \"acequia-import/2\"", "LE020", "acequia-import/1"),
        ("license = \"CC-BY-4.0\"", "licence = \"CC-BY-4.0\"", "LE020", "line"),
        ("title = \"Recurrence", "title = \"Recur\\u0007rence", "LE020", "title"),
        ("creators = [{ name = \"Somebody else\" }]", "creators = []", "LE020", "creators"),
        ("kind = \"survival\"\ncomponents", "kind = \"number\"\nvalue = { name = \"x\" }\n#", "LE020", ""),
        ("cut_days = 1826.25", "cut_days = 365", "LE020", "cut_days"),
        ("horizons_years = [5]", "horizons_years = []", "LE020", "horizons_years"),
        ("horizons_years = [5]", "horizons_years = [5, 1]", "LE020", "ascending"),
        ("column = 1 ", "column = 2 ", "LE020", "no column 2"),
        ("column = 1 ", "# column = 1 ", "LE020", "column = 1 is the second"),
        (
            "name = \"probabilities\"",
            "name = \"risk\"",
            "IF005",
            "it gives label (int64 [rows]), probabilities (float [rows, 2])",
        ),
        ("states = \"risk\"", "states = \"chance\"", "LE020", "line"),
        (", unit = \"a\"", "", "LE020", "unit"),
        ("values = [\"1\", \"2\", \"3\"]", "unit = \"1\"", "LE020", "it takes texts"),
        ("{ name = \"age\", unit = \"a\" }", "{ name = \"age\", values = [\"old\"] }", "LE020", "it takes numbers"),
        ("name = \"grade\"\ncolumns", "name = \"degree\"\ncolumns", "LE020", "inputs lacks grade (string [rows, 1])"),
        ("steps = [{ cap = 19 }]", "steps = [{ run = \"rm\" }]", "LE020", "line"),
        ("row = { age = 48, ", "row = { aged = 48, ", "LE020", "examples"),
        ("gives = [0.5407381]", "gives = [0.5407381, 1]", "LE020", "examples"),
        ("gives = [0.5407381]", "gives = [nan]", "LE020", "finite"),
    ];
    for (from, to, code, says) in refused {
        let error = theirs(&[(from, to)]).expect_err(to);
        assert!(error.code() == code && error.to_string().contains(says), "{to}: {} {error}", error.code());
    }
}

#[test]
fn files_of_others_without_a_manifest_say_what_is_missing() {
    let error = Model::from_bytes(&example("theirs.onnx")).unwrap_err();
    assert_eq!(error.code(), "LE021");
    assert!(error.to_string().contains("it takes age (float [rows, 1])"), "{error}");
    // A safetensors file with a tensor and nothing else.
    let header = br#"{"weight":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}     "#;
    let tensors = [&(header.len() as u64).to_le_bytes()[..], header, &[0; 4]].concat();
    let error = Model::from_bytes(&tensors).unwrap_err();
    assert!(error.code() == "LE021" && error.to_string().contains("export the model as ONNX"), "{error}");
}

/// A site sees what it is asked to run, and its rules hold as for other models.
#[test]
fn a_site_answers_under_its_own_rules() {
    let request = request(theirs(&[]).unwrap(), &[]);
    let words = request.words(686);
    assert!(words.contains("breast-cancer-five-years 1.0 by Somebody else was made by another program"), "{words}");
    let now = acequia_types::Timestamp::from_unix_s(0);
    let data = gbsg(&request);
    let finding = request.answer(&data, &SiteRules::cautious(), now).unwrap();
    assert_eq!(finding.digest(), finding_digest(request.model.digest(), &request.settings, finding.evaluation()));
    let strict = SiteRules { minimum_rows: 700, ..SiteRules::cautious() };
    assert_eq!(request.answer(&data, &strict, now).unwrap_err().code(), "LE008");
}

#[test]
fn risks_are_asked_for_at_days_that_the_model_states() {
    let model = FrozenModel::from(theirs(&[]).unwrap());
    let settings = Validation { bootstraps: 0, ..Validation::usual(&model) }.at(365.25, &model);
    let request = ValidationRequest::new(model, settings, Vec::new(), Missing::Refuse);
    let error = evaluate(&request.model, &gbsg(&request), &[], &request.settings).unwrap_err();
    assert!(error.to_string().contains("states no risk by the horizon"), "{error}");
}

/// A binary outcome, cells that may be missing, codes, and log odds.
#[test]
fn an_outcome_of_0_and_1_takes_any_table() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../inference/tests/data/histogram-boosting.onnx");
    let manifest = r#"
        schema = "acequia-import/1"
        name = "boosted"
        version = "1"
        title = "Death after breast cancer"
        license = "MIT"
        creators = [{ name = "scikit-learn" }]
        intended_use = "Tests."
        outcome = { kind = "binary", value = { name = "death" } }
        output = { name = "probabilities", column = 1 }

        [[inputs]]
        name = "X"
        columns = [
            { name = "age", unit = "a", missing = "passed", mean = 55, sd = 13 },
            { name = "nodes", unit = "{count}", missing = "passed" },
            { name = "pgr", unit = "fmol/L", missing = "passed" },
            { name = "er", unit = "fmol/L", missing = "passed" },
            { name = "grade", steps = [{ codes = { "2" = 2, "3" = 3 } }], missing = "passed" },
        ]
    "#;
    let model = ImportedModel::new(ModelManifest::from_toml(manifest).unwrap(), std::fs::read(data).unwrap()).unwrap();
    let request = request(model, &[]);
    let table = text("rotterdam.csv");
    // One age and one grade are not known.
    let lacking = table.replacen(",74,1,<=20,3,", ",,1,<=20,,", 1);
    assert_ne!(lacking, table);
    let read = |csv: &str| Data::from_csv("r", csv.as_bytes(), &request.reading().needs(), &SiteMap::default());
    let (whole, lacking) = (read(&table).unwrap(), read(&lacking).unwrap());
    assert_eq!((whole.rows(), lacking.rows(), lacking.dropped()), (2982, 2982, 0));
    let site = evaluate(&request.model, &lacking, &[], &request.settings).unwrap();
    assert!(value(&site, "auc") > 0.7, "{}", value(&site, "auc"));
    assert_eq!(site.unlike_training, [("age".to_owned(), 0.0)]);
    let unknown = table.replacen(",74,1,<=20,3,", ",74,1,<=20,4,", 1);
    let error = read(&unknown).unwrap_err().to_string();
    assert_eq!(error, "r, row 1, column grade: is none of the texts with a code");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// A damaged manifest or request is an error, and what is read again is the same.
    #[test]
    fn a_damaged_manifest_is_read_or_refused(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        let mut bytes = example("theirs.import.toml");
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] = byte }
        if let Ok(text) = String::from_utf8(bytes)
            && let Ok(manifest) = ModelManifest::from_toml(&text)
            && let Ok(model) = ImportedModel::new(manifest, example("theirs.onnx"))
        {
            let request = request(model, &[]);
            let again = ValidationRequest::from_json(&request.to_json()).unwrap();
            prop_assert_eq!(again.model, request.model);
        }
    }

    #[test]
    fn a_damaged_request_is_read_or_refused(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = request(theirs(&[]).unwrap(), &[]).to_json().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(text) = String::from_utf8(bytes) {
            let _ = ValidationRequest::from_json(&text);
        }
    }
}
