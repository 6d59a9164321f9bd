//! DataCite Metadata Schema 4.6, as JSON and as XML. A version needs no DOI: its identifier is its own address, and the
//! digest of its manifest stands beside it.

use serde_json::{Value, json};

use super::xml::{element, escaped};
use super::{Agent, Description};
use crate::catalogue::is_large;
use crate::http::content_type;

/// Attributes of the DataCite root element.
const ROOT: &str = "xmlns=\"http://datacite.org/schema/kernel-4\" xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" \
                    xsi:schemaLocation=\"http://datacite.org/schema/kernel-4 http://schema.datacite.org/meta/kernel-4/metadata.xsd\"";

fn name_type(agent: Agent<'_>) -> &'static str {
    if agent.is_person { "Personal" } else { "Organizational" }
}

/// A related thing: its address and how this version relates to it.
fn related(described: Description<'_>) -> Vec<(String, &'static str)> {
    let mut all = vec![(described.dataset_iri(), "IsVersionOf")];
    all.extend(
        described.previous().map(|previous| (Description { version: previous, ..described }.iri(), "IsNewVersionOf")),
    );
    if described.is_model() {
        all.extend(described.sources().iter().filter_map(|source| Some((source.iri?.to_owned(), "IsDerivedFrom"))));
    } else {
        all.push((described.form_iri("croissant.jsonld"), "HasMetadata"));
    }
    all
}

fn formats(described: Description<'_>) -> Vec<&'static str> {
    let files = described.version.files().values().filter(|file| is_large(file));
    let mut formats: Vec<&str> = files.filter_map(|file| content_type(&file.path).split(';').next()).collect();
    formats.sort_unstable();
    formats.dedup();
    formats
}

/// `application/vnd.datacite.datacite+json`.
pub(crate) fn json(described: Description<'_>) -> Value {
    let manifest = described.version.manifest();
    let day = manifest.released_on.to_string();
    let mut dates = vec![json!({ "date": day, "dateType": "Issued" })];
    if let Some((from, to)) = described.timeframe() {
        dates.push(json!({ "date": format!("{from}/{to}"), "dateType": "Collected" }));
    }
    let mut subjects: Vec<Value> =
        described.keywords().into_iter().map(|keyword| json!({ "subject": keyword })).collect();
    for (iri, label) in described.conditions() {
        subjects.push(json!({ "subject": label, "valueUri": iri }));
    }
    if let Some((iri, label)) = described.use_term() {
        subjects.push(json!({ "subject": label, "subjectScheme": "Data Use Ontology", "valueUri": iri }));
    }
    let contributors: Vec<Value> = described
        .health_agent("healthdcatap:custodian")
        .into_iter()
        .map(|agent| json!({ "name": agent.name, "nameType": name_type(agent), "contributorType": "DataManager" }))
        .collect();
    let creator = |agent: Agent<'_>| json!({ "name": agent.name, "nameType": name_type(agent) });
    let relation = |(iri, relation): (String, &str)| json!({ "relatedIdentifier": iri, "relatedIdentifierType": "URL", "relationType": relation });
    let language = described.language();
    let in_language = |mut words: Value| {
        if let Some(language) = language {
            words["lang"] = language.into();
        }
        words
    };
    let mut document = json!({
        "schemaVersion": "http://datacite.org/schema/kernel-4",
        "alternateIdentifiers": [
            { "alternateIdentifier": described.iri(), "alternateIdentifierType": "URL" },
            { "alternateIdentifier": described.version.digest().to_string(), "alternateIdentifierType": "SHA-256 of manifest.json" },
        ],
        "url": described.iri(),
        "creators": described.creators().into_iter().map(creator).collect::<Vec<_>>(),
        "titles": [in_language(json!({ "title": manifest.title }))],
        "publisher": { "name": described.publisher().name },
        "publicationYear": day[..4],
        "types": { "resourceType": resource_type(described).1, "resourceTypeGeneral": resource_type(described).0 },
        "subjects": subjects,
        "contributors": contributors,
        "dates": dates,
        "relatedIdentifiers": related(described).into_iter().map(relation).collect::<Vec<_>>(),
        "sizes": sizes(described),
        "formats": formats(described),
        "version": manifest.version,
        "rightsList": [{
            "rights": manifest.license, "rightsUri": described.license_iri(),
            "rightsIdentifier": manifest.license, "rightsIdentifierScheme": "SPDX", "schemeUri": "https://spdx.org/licenses/",
        }],
        "descriptions": [in_language(json!({ "description": described.text(), "descriptionType": "Abstract" }))],
    });
    if let Some(language) = language {
        document["language"] = language.into();
    }
    document
}

/// The general type of DataCite's list, and the own words for it.
fn resource_type(described: Description<'_>) -> (&'static str, &'static str) {
    if described.is_model() { ("Model", "Prediction model") } else { ("Dataset", "Health data set") }
}

fn sizes(described: Description<'_>) -> Vec<String> {
    let bytes = format!("{} bytes", described.version.total_bytes());
    if described.is_model() {
        return vec![bytes];
    }
    vec![bytes, format!("{} rows", described.version.people())]
}

/// The element `resource`, without the declaration of XML.
pub(crate) fn resource(described: Description<'_>) -> String {
    let manifest = described.version.manifest();
    let day = manifest.released_on.to_string();
    let mut out = format!("<resource {ROOT}>\n");
    out.push_str(&element("identifier", " identifierType=\"URL\"", &described.iri()));
    out.push_str("<creators>\n");
    for agent in described.creators() {
        let kind = format!(" nameType=\"{}\"", name_type(agent));
        out.push_str(&format!("<creator>{}</creator>\n", element("creatorName", &kind, agent.name).trim_end()));
    }
    out.push_str("</creators>\n<titles>\n");
    out.push_str(&element("title", "", &manifest.title));
    out.push_str("</titles>\n");
    out.push_str(&element("publisher", "", described.publisher().name));
    out.push_str(&element("publicationYear", "", &day[..4]));
    let (general, own) = resource_type(described);
    out.push_str(&element("resourceType", &format!(" resourceTypeGeneral=\"{general}\""), own));
    let mut subjects: Vec<(&str, String)> =
        described.keywords().into_iter().map(|keyword| (keyword, String::new())).collect();
    let of = |iri: &str, scheme: &str| format!("{scheme} valueURI=\"{}\"", escaped(iri));
    subjects.extend(described.conditions().into_iter().map(|(iri, label)| (label, of(iri, ""))));
    let duo = " subjectScheme=\"Data Use Ontology\"";
    subjects.extend(described.use_term().into_iter().map(|(iri, label)| (label, of(iri, duo))));
    if !subjects.is_empty() {
        out.push_str("<subjects>\n");
        subjects.iter().for_each(|(words, attributes)| out.push_str(&element("subject", attributes, words)));
        out.push_str("</subjects>\n");
    }
    if let Some(agent) = described.health_agent("healthdcatap:custodian") {
        let kind = format!(" nameType=\"{}\"", name_type(agent));
        let name = element("contributorName", &kind, agent.name);
        out.push_str(&format!(
            "<contributors>\n<contributor contributorType=\"DataManager\">{}</contributor>\n</contributors>\n",
            name.trim_end()
        ));
    }
    out.push_str("<dates>\n");
    out.push_str(&element("date", " dateType=\"Issued\"", &day));
    if let Some((from, to)) = described.timeframe() {
        out.push_str(&element("date", " dateType=\"Collected\"", &format!("{from}/{to}")));
    }
    out.push_str("</dates>\n");
    if let Some(language) = described.language() {
        out.push_str(&element("language", "", language));
    }
    out.push_str("<alternateIdentifiers>\n");
    let digest = described.version.digest().to_string();
    out.push_str(&element("alternateIdentifier", " alternateIdentifierType=\"SHA-256 of manifest.json\"", &digest));
    out.push_str("</alternateIdentifiers>\n<relatedIdentifiers>\n");
    for (iri, relation) in related(described) {
        let kind = format!(" relatedIdentifierType=\"URL\" relationType=\"{relation}\"");
        out.push_str(&element("relatedIdentifier", &kind, &iri));
    }
    out.push_str("</relatedIdentifiers>\n<sizes>\n");
    sizes(described).iter().for_each(|size| out.push_str(&element("size", "", size)));
    out.push_str("</sizes>\n<formats>\n");
    formats(described).iter().for_each(|format| out.push_str(&element("format", "", format)));
    out.push_str("</formats>\n");
    out.push_str(&element("version", "", &manifest.version));
    let rights = format!(
        " rightsURI=\"{}\" rightsIdentifier=\"{}\" rightsIdentifierScheme=\"SPDX\" schemeURI=\"https://spdx.org/licenses/\"",
        escaped(&described.license_iri()),
        escaped(&manifest.license)
    );
    out.push_str(&format!("<rightsList>\n{}</rightsList>\n", element("rights", &rights, &manifest.license)));
    let words = element("description", " descriptionType=\"Abstract\"", described.text());
    out.push_str(&format!("<descriptions>\n{words}</descriptions>\n</resource>\n"));
    out
}
