//! `bom.cdx.json`: a bill of materials of the model (CycloneDX 1.6, `modelCard`). Digests are those of the files, licences those
//! of the lineage; nothing is typed for it.

use acequia_gate::ReleasedFile;
use acequia_learn::{Estimate, Record, SiteEvaluation};
use serde_json::{Value, json};

use super::card::INDEXED;
use super::plan::{ModelPlan, Source};
use crate::Agent;

/// The bill. `files` are the model in its formats.
pub(super) fn bill(document: &Value, records: &[(String, &Record)], plan: &ModelPlan, files: &[ReleasedFile]) -> Value {
    let texts = |pointer: &str| document.pointer(pointer).cloned().unwrap_or_default();
    let model_ref = format!("{}@{}", plan.model, plan.version);
    let data: Vec<(String, &Source)> =
        plan.learned_from.iter().enumerate().map(|(at, source)| (format!("data-{}", at + 1), source)).collect();
    let sites = records.iter().flat_map(|(_, record)| &record.sites);
    let measures: Vec<Value> =
        sites.flat_map(|site| site.estimates.iter().filter_map(|one| measure(site, one))).collect();
    let mut components = Vec::new();
    for file in files {
        components.push(json!({
            "type": "file", "bom-ref": file.path, "name": file.path,
            "hashes": [{ "alg": "SHA-256", "content": file.sha256 }],
        }));
    }
    for (reference, source) in &data {
        components.push(component(reference, source));
    }
    let depends: Vec<&str> = files
        .iter()
        .map(|file| file.path.as_str())
        .chain(data.iter().map(|(reference, _)| reference.as_str()))
        .collect();
    let use_cases: Vec<&str> = [plan.intended_use.purpose.as_str()].into();
    let limits: Vec<&str> = plan.limits.iter().chain(&plan.intended_use.out_of_scope).map(String::as_str).collect();
    let mut considerations = json!({
        "users": [plan.intended_use.users], "useCases": use_cases, "technicalLimitations": limits,
    });
    if !plan.ethics.is_empty() {
        considerations["ethicalConsiderations"] = json!([{ "name": plan.ethics }]);
    }
    let io = |pointer: &str| -> Vec<Value> {
        let listed = document.pointer(pointer).and_then(Value::as_array).into_iter().flatten();
        listed.map(|one| json!({ "format": format!("{} ({})", one["name"].as_str().unwrap_or_default(), one["type"].as_str().unwrap_or_default()) })).collect()
    };
    json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "timestamp": format!("{}T00:00:00Z", plan.released_on),
            "tools": { "components": [{ "type": "application", "name": "acequia", "version": plan.program.trim_start_matches("acequia ") }] },
            "component": {
                "type": "machine-learning-model",
                "bom-ref": model_ref,
                "group": plan.model.namespace(),
                "name": plan.model.name(),
                "version": plan.version,
                "description": plan.summary,
                "licenses": [{ "expression": plan.license }],
                "authors": plan.creators.iter().map(author).collect::<Vec<Value>>(),
                "modelCard": {
                    "modelParameters": {
                        "approach": { "type": "supervised" },
                        "task": texts("/model/task"),
                        "architectureFamily": texts("/model/kind"),
                        "datasets": data.iter().map(|(reference, _)| json!({ "ref": reference })).collect::<Vec<Value>>(),
                        "inputs": io("/formats/onnx/inputs"),
                        "outputs": io("/formats/onnx/outputs"),
                    },
                    "quantitativeAnalysis": { "performanceMetrics": measures },
                    "considerations": considerations,
                },
            },
        },
        "components": components,
        "dependencies": [{ "ref": model_ref, "dependsOn": depends }],
    })
}

/// What was measured at a site; of the measures that the card's front matter has too.
fn measure(site: &SiteEvaluation, one: &Estimate) -> Option<Value> {
    let (_, kind, _) = INDEXED.iter().find(|(name, ..)| *name == one.name)?;
    let mut measure = json!({ "type": kind, "value": one.value.to_string(), "slice": site.site });
    if let Some((low, high)) = one.interval {
        measure["confidenceInterval"] = json!({ "lowerBound": low.to_string(), "upperBound": high.to_string() });
    }
    Some(measure)
}

fn author(agent: &Agent) -> Value {
    json!({ "name": agent.name })
}

fn component(reference: &str, source: &Source) -> Value {
    let mut component = json!({
        "type": "data", "bom-ref": reference,
        "name": source.name.as_ref().map_or_else(|| source.title.clone(), ToString::to_string),
        "description": source.title,
    });
    if let Some(version) = &source.version {
        component["version"] = json!(version);
    }
    if let Some(license) = &source.license {
        component["licenses"] = json!([{ "expression": license }]);
    }
    if let Some(url) = &source.url {
        component["externalReferences"] = json!([{ "type": "documentation", "url": url }]);
    }
    // The digest of the manifest is over all files of the version.
    if let Some(manifest) = &source.manifest {
        component["hashes"] = json!([{ "alg": "SHA-256", "content": manifest }]);
    }
    component
}
