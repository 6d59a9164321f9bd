//! schema.org, which search engines read from the page: `Dataset`, and `SoftwareApplication` for a model.

use serde_json::{Map, Value, json};

use super::{Agent, Description, Source};
use crate::catalogue::is_large;
use crate::facts::text;
use crate::http::content_type;

fn agent(agent: Agent<'_>) -> Value {
    let mut fields = Map::new();
    fields.insert("@type".to_owned(), if agent.is_person { "Person" } else { "Organization" }.into());
    fields.insert("name".to_owned(), agent.name.into());
    if let Some(url) = agent.url {
        fields.insert("url".to_owned(), url.into());
    }
    if let Some(contact) = agent.contact {
        let place = if contact.contains('@') { "email" } else { "url" };
        fields.insert("contactPoint".to_owned(), json!({ "@type": "ContactPoint", place: contact }));
    }
    Value::Object(fields)
}

/// What every version says. What is not stated is left out.
fn version(described: Description<'_>, kind: &str) -> Value {
    let manifest = described.version.manifest();
    let mut document = json!({
        "@context": "https://schema.org/",
        "@type": kind,
        "@id": described.iri(),
        "name": manifest.title,
        "alternateName": manifest.dataset.to_string(),
        "description": described.text(),
        "url": described.iri(),
        "identifier": [described.iri(), format!("sha256:{}", described.version.digest())],
        "version": manifest.version,
        "license": described.license_iri(),
        "creator": described.creators().into_iter().map(agent).collect::<Vec<_>>(),
        "publisher": agent(described.publisher()),
        "datePublished": manifest.released_on.to_string(),
        "dateModified": manifest.released_on.to_string(),
        "isAccessibleForFree": true,
        "keywords": described.keywords(),
    });
    let about = |(iri, name): (&str, &str)| json!({ "@type": "MedicalCondition", "@id": iri, "name": name });
    let about: Vec<Value> = described.conditions().into_iter().map(about).collect();
    if !about.is_empty() {
        document["about"] = about.into();
    }
    if !described.languages().is_empty() {
        document["inLanguage"] = described.languages().into();
    }
    if let Some((iri, label)) = described.use_term() {
        document["usageInfo"] = iri.into();
        document["conditionsOfAccess"] = described.access(label).into();
    }
    document
}

/// A model: what it is, what it learned from, and where its files are.
pub(crate) fn model(described: Description<'_>) -> Value {
    let mut document = version(described, "SoftwareApplication");
    document["applicationCategory"] = "Prediction model".into();
    let large = described.version.files().values().filter(|file| is_large(file));
    document["downloadUrl"] = large.map(|file| described.file_iri(file)).collect::<Vec<_>>().into();
    let source = |source: &Source<'_>| {
        let mut fields = json!({ "@type": "Dataset", "name": source.title });
        if let Some(iri) = source.iri {
            fields["@id"] = iri.into();
        }
        fields
    };
    let sources: Vec<Value> = described.sources().iter().map(source).collect();
    if !sources.is_empty() {
        document["isBasedOn"] = sources.into();
    }
    document
}

/// A data set.
pub(crate) fn dataset(described: Description<'_>) -> Value {
    let download = |file: &acequia_gate::ReleasedFile| {
        json!({
            "@type": "DataDownload",
            "name": file.path,
            "contentUrl": described.file_iri(file),
            "encodingFormat": content_type(&file.path).split(';').next(),
            "contentSize": format!("{} B", file.bytes),
            "sha256": file.sha256.to_string(),
        })
    };
    let variable = |column: &Value| {
        let mut fields = json!({ "@type": "PropertyValue", "name": text(column, "/name")? });
        let words = text(column, "/description").or_else(|| text(column, "/title"));
        let elsewhere = column.get("equivalent").and_then(|all| all.get(0)).and_then(Value::as_str);
        for (name, value) in [("description", words), ("unitText", text(column, "/unit")), ("propertyID", elsewhere)] {
            if let Some(value) = value {
                fields[name] = value.into();
            }
        }
        Some(fields)
    };
    let mut document = version(described, "Dataset");
    document["includedInDataCatalog"] = json!({
        "@type": "DataCatalog", "name": "Open health data of this node", "url": format!("{}/", described.address),
    });
    let large = described.version.files().values().filter(|file| is_large(file));
    document["distribution"] = large.map(download).collect::<Vec<_>>().into();
    document["variableMeasured"] = described.columns().iter().filter_map(variable).collect::<Vec<_>>().into();
    if let Some((from, to)) = described.timeframe() {
        document["temporalCoverage"] = format!("{from}/{to}").into();
    }
    document
}
