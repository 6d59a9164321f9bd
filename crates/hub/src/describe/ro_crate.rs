//! RO-Crate 1.1 with a Process Run of its making (PROV as `CreateAction`).
//!
//! Paths are relative, so that the document describes a downloaded version as well as the one on this node, where the
//! files lie beside it.

use std::collections::BTreeSet;

use acequia_gate::InputDigest;
use serde_json::{Value, json};

use super::{Agent, Description, Source};
use crate::facts::text;
use crate::http::{content_type, percent_encoded};
use crate::pages::license_address;

fn encoded(path: &str) -> String {
    path.split('/').map(percent_encoded).collect::<Vec<_>>().join("/")
}

/// `ro-crate-metadata.json`.
pub(crate) fn crate_of(described: Description<'_>) -> Value {
    let manifest = described.version.manifest();
    let reference = |id: String| json!({ "@id": id });
    let mut agents: Vec<Agent<'_>> = described.creators();
    agents.push(described.publisher());
    let id_of = |name: &str| format!("#agent-{}", acequia_types::Digest::of(name.as_bytes()).short(12));
    let mut graph = vec![
        json!({
            "@id": "ro-crate-metadata.json", "@type": "CreativeWork",
            "conformsTo": { "@id": "https://w3id.org/ro/crate/1.1" }, "about": { "@id": "./" },
        }),
        json!({
            "@id": "./", "@type": "Dataset",
            "name": manifest.title, "description": described.text(), "version": manifest.version,
            "identifier": format!("sha256:{}", described.version.digest()),
            "url": described.iri(),
            "datePublished": manifest.released_on.to_string(),
            "license": { "@id": described.license_iri() },
            "keywords": described.keywords().join(", "),
            "author": described.creators().iter().map(|agent| reference(id_of(agent.name))).collect::<Vec<_>>(),
            "publisher": reference(id_of(described.publisher().name)),
            "conditionsOfAccess": described.use_term().map(|(_, label)| described.access(label)),
            "hasPart": described.version.files().keys().map(|path| reference(encoded(path))).collect::<Vec<_>>(),
            "mentions": { "@id": "#run" },
        }),
        json!({ "@id": described.license_iri(), "@type": "CreativeWork", "name": manifest.license }),
    ];
    for file in described.version.files().values() {
        let mut entity = json!({
            "@id": encoded(&file.path), "@type": "File", "name": file.path,
            "contentSize": file.bytes.to_string(), "encodingFormat": content_type(&file.path).split(';').next(),
            "sha256": file.sha256.to_string(),
        });
        if let Some(words) = about(&file.path, described.is_model()) {
            entity["description"] = words.into();
        }
        graph.push(entity);
    }
    agents.sort_by_key(|agent| agent.name);
    agents.dedup_by_key(|agent| agent.name);
    for agent in agents {
        let mut entity = json!({
            "@id": id_of(agent.name), "@type": if agent.is_person { "Person" } else { "Organization" }, "name": agent.name,
        });
        if let Some(url) = agent.url {
            entity["url"] = url.into();
        }
        graph.push(entity);
    }
    let used = if described.is_model() { learned_from(described) } else { sealed_inputs(described) };
    let (name, how) = if described.is_model() {
        let plan = text(&described.facts.croissant, "/model/plan").unwrap_or_default();
        ("From records at their sites to this model", format!("Run plan sha256:{plan}."))
    } else {
        let how = format!("Recipe sha256:{}, split seed {}.", manifest.recipe, manifest.seed);
        ("From donated records to this version", how)
    };
    // No `endTime`: the day of release is chosen by whoever releases, and when the program ran is not recorded.
    graph.push(json!({
        "@id": "#run", "@type": "CreateAction", "name": name, "description": how, "instrument": { "@id": "#program" },
        "object": used.iter().map(|entity| json!({ "@id": entity["@id"] })).collect::<Vec<_>>(),
        "result": { "@id": "./" },
    }));
    graph.push(json!({ "@id": "#program", "@type": "SoftwareApplication", "name": manifest.program, "version": manifest.program.rsplit(' ').next() }));
    graph.extend(used);
    for column in described.columns() {
        if let Some(name) = text(column, "/name") {
            graph.push(json!({
                "@id": format!("#column-{}", percent_encoded(name)), "@type": "PropertyValue", "name": name,
                "description": text(column, "/description"), "unitText": text(column, "/unit"),
            }));
        }
    }
    let measured: Vec<Value> = described
        .columns()
        .iter()
        .filter_map(|column| text(column, "/name"))
        .map(|name| reference(format!("#column-{}", percent_encoded(name))))
        .collect();
    graph[1]["variableMeasured"] = measured.into();
    json!({ "@context": "https://w3id.org/ro/crate/1.1/context", "@graph": graph })
}

/// What a data set was made of.
fn sealed_inputs(described: Description<'_>) -> Vec<Value> {
    let entity = |(at, input): (usize, &InputDigest)| {
        json!({
            "@id": format!("#input-{}", at + 1), "@type": "CreativeWork", "name": input.source,
            "description": format!("{} files, {}; sealed, never published.", input.files, input.format),
            "identifier": format!("sha256:{}", input.digest),
        })
    };
    described.version.manifest().inputs.iter().enumerate().map(entity).collect()
}

/// What a model learned from. A source that is described nowhere is one of this crate.
fn learned_from(described: Description<'_>) -> Vec<Value> {
    let entity = |(at, source): (usize, &Source<'_>)| {
        let mut entity = json!({
            "@id": source.iri.map_or_else(|| format!("#source-{}", at + 1), str::to_owned),
            "@type": "Dataset", "name": source.title,
        });
        let published = source.published.map(|(name, version)| format!("{name} {version}"));
        let manifest = source.manifest.map(|digest| format!("sha256:{digest}"));
        for (key, value) in [("alternateName", published), ("identifier", manifest)] {
            if let Some(value) = value {
                entity[key] = value.into();
            }
        }
        if let Some(license) = source.license.and_then(license_address) {
            entity["license"] = json!({ "@id": license });
        }
        entity
    };
    let mut named = BTreeSet::new();
    let sources = described.sources();
    sources
        .iter()
        .enumerate()
        .filter(|(_, source)| source.iri.is_none_or(|iri| named.insert(iri)))
        .map(entity)
        .collect()
}

/// What the program's own documents hold.
fn about(path: &str, of_model: bool) -> Option<&'static str> {
    Some(match path {
        "manifest.json" => "Every file with its digests; names the version.",
        "README.md" if of_model => "Model card.",
        "README.md" => "Data set card.",
        "card.json" => "Model card, for programs.",
        "bom.cdx.json" => "Bill of materials (CycloneDX).",
        "model.json" => "The model with all that a run needs to measure it.",
        "model.onnx" => "The model, to run (ONNX).",
        "model.safetensors" => "The model's numbers (safetensors).",
        path if path.starts_with("validation/") => "A record of how well it did at a site.",
        "dictionary.json" => "What each column means.",
        "statistics.json" => "Counts per column and split; small ones are hidden.",
        "risk.json" => "The measured risk of re-identification.",
        "diversity.json" => "Who is in the data, compared with a reference population.",
        "croissant.json" => "Croissant description.",
        path if path.ends_with(".parquet") => "Rows of one split.",
        _ => return None,
    })
}
