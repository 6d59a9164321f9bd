//! A model version: the frozen model in three formats, its card, and the records of what it is worth.
//!
//! | path | what |
//! |---|---|
//! | `model.json` | `acequia-model/1`: the frozen model |
//! | `model.onnx` | the same, to predict with: from raw columns to a risk |
//! | `model.safetensors` | its numbers |
//! | `README.md` | model card: the Hub's front matter with `model-index`, and the sections of Mitchell et al. 2019 |
//! | `card.json` | `acequia-model-card/1`: the same for programs, with what the plan states |
//! | `bom.cdx.json` | CycloneDX 1.6, a bill of materials of the model |
//! | `validation/*.json`, `validation/*.html` | records as `acequia validate` made them, and as pages to print |
//! | `manifest.json` | `acequia-release/1` with `"artefact": "model"` |
//!
//! Everything but the model and its records is computed from them and the plan, so [`verify`] makes it again and compares.

mod bill;
mod card;
mod document;
mod licence;
mod plan;

use std::collections::BTreeMap;

use acequia_gate::{Artefact, Manifest, Outbound, Parcel, ReleasedFile};
use acequia_learn::{Model, Record, TestedModel, validation_page};
use bytes::Bytes;
use serde_json::Value;

pub use licence::{Conflict, Terms, conflict};
pub use plan::{IntendedUse, ModelPlan, PredictorPlan, Source};

use crate::ReleaseError;
use crate::make::{MANIFEST_SCHEMA, json_bytes};
use crate::verify::Verification;

/// Makes one version of a model, then makes it again from its own files and compares.
///
/// # Errors
/// [`ReleaseError::Plan`] for an unfit or too incomplete plan, [`ReleaseError::Licence`] when the model learned from something whose
/// terms its licence does not carry, [`ReleaseError::Learn`], also when its ONNX file predicts otherwise than it does,
/// [`ReleaseError::SelfCheck`].
pub fn release_model(model: &Outbound<TestedModel>, plan: &ModelPlan) -> Result<Outbound<Parcel>, ReleaseError> {
    model.derive(plan, make)
}

fn make(tested: &TestedModel, plan: &ModelPlan) -> Result<Parcel, ReleaseError> {
    plan.check(tested)?;
    tested.model().predicts_alike()?;
    let mut files = files(tested, plan)?;
    let manifest = Manifest {
        schema: MANIFEST_SCHEMA.to_owned(),
        artefact: Artefact::Model,
        dataset: plan.model.clone(),
        version: plan.version.clone(),
        title: plan.title.clone(),
        summary: plan.summary.clone(),
        license: plan.license.clone(),
        terms: Default::default(),
        released_on: plan.released_on,
        program: plan.program.clone(),
        recipe: plan.recipe,
        seed: 0,
        inputs: Vec::new(),
        splits: Vec::new(),
        files: files.iter().map(|(path, bytes)| ReleasedFile::of(path, bytes)).collect(),
    };
    files.insert("manifest.json".to_owned(), manifest.to_bytes().into());
    let verification = crate::verify(&manifest, |path| files.get(path).cloned());
    match verification.checks.iter().find(|check| !check.held) {
        Some(check) => Err(ReleaseError::SelfCheck { check: format!("{} ({})", check.name, check.detail) }),
        None => Ok(Parcel { manifest, files }),
    }
}

/// Every file but the manifest.
fn files(tested: &TestedModel, plan: &ModelPlan) -> Result<BTreeMap<String, Bytes>, ReleaseError> {
    let model = tested.model();
    let mut files: BTreeMap<String, Bytes> = BTreeMap::new();
    files.insert("model.json".to_owned(), model.to_json().into_bytes().into());
    files.insert("model.onnx".to_owned(), model.to_onnx()?.into());
    files.insert("model.safetensors".to_owned(), model.to_safetensors()?.into());
    let mut records = Vec::with_capacity(tested.records().len());
    for record in tested.records() {
        let path = record_path(record, &files);
        files.insert(format!("{path}.json"), record.to_json().into_bytes().into());
        files.insert(format!("{path}.html"), validation_page(record).into_bytes().into());
        records.push((path, record));
    }
    let document = document::document(model, &records, plan);
    files.insert("README.md".to_owned(), card::card(model, &records, plan, &document).into_bytes().into());
    let of = |path: &str| ReleasedFile::of(path, files.get(path).map_or(&[], |bytes| bytes.as_ref()));
    let bill = bill::bill(&document, &records, plan, &[of("model.json"), of("model.onnx"), of("model.safetensors")]);
    for (path, value) in [("card.json", &document), ("bom.cdx.json", &bill)] {
        let bytes =
            json_bytes(value).ok_or_else(|| ReleaseError::SelfCheck { check: format!("{path} can be written") })?;
        files.insert(path.to_owned(), bytes.into());
    }
    Ok(files)
}

/// Where a record lies, without its ending: after the sites that were measured.
fn record_path(record: &Record, taken: &BTreeMap<String, Bytes>) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let sites: Vec<String> = record.sites.iter().map(|site| site.site.chars().map(plain).collect()).collect();
    let name: String = sites.join("-").chars().take(60).collect();
    let first = format!("validation/{name}");
    let mut numbered = (2_u32..).map(|number| format!("validation/{name}-{number}"));
    std::iter::once(first)
        .chain(&mut numbered)
        .find(|path| !taken.contains_key(&format!("{path}.json")))
        .unwrap_or_default()
}

/// Rechecks what is particular to a model.
pub(crate) fn recheck(manifest: &Manifest, read: &dyn Fn(&str) -> Option<Bytes>, verification: &mut Verification) {
    let read_model = || -> Result<(TestedModel, ModelPlan), String> {
        let text = |path: &str| -> Result<String, String> {
            let bytes = read(path).ok_or_else(|| format!("{path} is missing"))?;
            String::from_utf8(bytes.to_vec()).map_err(|_| format!("{path} is not UTF-8"))
        };
        let model = Model::from_json(&text("model.json")?).map_err(|error| error.to_string())?;
        let paths = manifest.files.iter().map(|file| file.path.as_str());
        let paths = paths.filter(|path| path.starts_with("validation/") && path.ends_with(".json"));
        let records = paths
            .map(|path| Record::from_json(&text(path)?).map_err(|error| format!("{path}: {error}")))
            .collect::<Result<Vec<_>, String>>()?;
        let document: Value = serde_json::from_str(&text("card.json")?).map_err(|_| "card.json is not JSON")?;
        let plan = serde_json::from_value(document["stated"].clone()).map_err(|_| "card.json states no plan")?;
        let tested = TestedModel::new(model, records).map_err(|error| error.to_string())?;
        Ok((tested, plan))
    };
    let read_again = read_model();
    let words = match &read_again {
        Ok((tested, _)) => Ok(format!("model {}, {} records", tested.model().digest(), tested.records().len())),
        Err(problem) => Err(problem.clone()),
    };
    verification.put("the model was attacked, and its records are about it", words);
    let Ok((tested, plan)) = read_again else { return };
    let alike = tested.model().predicts_alike().map(|()| "run on made-up rows".to_owned());
    verification.put("its ONNX file predicts what it predicts, to 1e-5", alike.map_err(|error| error.to_string()));
    let told = (&plan.model, &plan.version, &plan.title, &plan.summary, &plan.license, plan.released_on);
    let stands = (&manifest.dataset, &manifest.version, &manifest.title, &manifest.summary, &manifest.license);
    let outcome = match told == (stands.0, stands.1, stands.2, stands.3, stands.4, manifest.released_on) {
        true => plan.check(&tested).map(|()| "complete enough".to_owned()).map_err(|error| error.to_string()),
        false => Err("card.json states another name, version, title or licence".to_owned()),
    };
    verification.put(
        "the card states what the manifest says, and its licence carries the terms that are stated of what it learned from",
        outcome,
    );
    let outcome = files(&tested, &plan).map_err(|error| error.to_string()).and_then(|again| {
        let differs = again.iter().find(|(path, bytes)| read(path).as_ref() != Some(bytes));
        let listed = manifest.files.iter().map(|file| &file.path).eq(again.keys());
        match (differs, listed) {
            (Some((path, _)), _) => Err(format!("{path} made again differs")),
            (None, false) => Err("the manifest lists other files".to_owned()),
            (None, true) => Ok(format!("{} files made again, the same bytes", again.len())),
        }
    });
    verification.put("every file follows from model, records and card", outcome);
}
