//! `croissant.json`: Croissant 1.1 JSON-LD with the RAI 1.0 vocabulary, DUO use terms and PROV-O provenance.
//!
//! One FileObject and one RecordSet per split, because loaders read records from a FileObject everywhere, while a
//! FileSet over several remote files does not load. Addresses of files are relative to the document.

use acequia_custody::DuoTerm;
use acequia_gate::ReleasedFile;
use serde_json::{Map, Value, json};

use crate::dictionary::{Dictionary, Entry};
use crate::split::SPLITS;
use crate::{Agent, AgentKind, Plan, UseTerm, card};

/// The official context of Croissant 1.1 and the prefixes of the vocabularies used beside it. Readers warn about a
/// context that lacks one of the official keys, so all are here, used or not.
fn context() -> Value {
    let mut fields: Map<String, Value> = TERMS.iter().map(|(term, iri)| ((*term).to_owned(), (*iri).into())).collect();
    for (term, definition) in [
        ("data", json!({"@id": "cr:data", "@type": "@json"})),
        ("dataType", json!({"@id": "cr:dataType", "@type": "@vocab"})),
        ("description", json!({"@container": "@language"})),
        ("examples", json!({"@id": "cr:examples", "@type": "@json"})),
        ("name", json!({"@container": "@language"})),
    ] {
        fields.insert(term.to_owned(), definition);
    }
    Value::Object(fields)
}

/// Terms of the context that stand for one IRI.
const TERMS: &[(&str, &str)] = &[
    ("@language", "en"),
    ("@vocab", "https://schema.org/"),
    ("arrayShape", "cr:arrayShape"),
    ("citeAs", "cr:citeAs"),
    ("column", "cr:column"),
    ("conformsTo", "dct:conformsTo"),
    ("containedIn", "cr:containedIn"),
    ("cr", "http://mlcommons.org/croissant/"),
    ("rai", "http://mlcommons.org/croissant/RAI/"),
    ("dct", "http://purl.org/dc/terms/"),
    ("dpv", "https://w3id.org/dpv#"),
    ("duo", "http://purl.obolibrary.org/obo/DUO_"),
    ("equivalentProperty", "cr:equivalentProperty"),
    ("extract", "cr:extract"),
    ("field", "cr:field"),
    ("fileProperty", "cr:fileProperty"),
    ("fileObject", "cr:fileObject"),
    ("fileSet", "cr:fileSet"),
    ("format", "cr:format"),
    ("includes", "cr:includes"),
    ("isArray", "cr:isArray"),
    ("isLiveDataset", "cr:isLiveDataset"),
    ("jsonPath", "cr:jsonPath"),
    ("healthdcatap", "http://healthdataportal.eu/ns/health#"),
    ("key", "cr:key"),
    ("md5", "cr:md5"),
    ("odrl", "http://www.w3.org/ns/odrl/2/"),
    ("parentField", "cr:parentField"),
    ("path", "cr:path"),
    ("prov", "http://www.w3.org/ns/prov#"),
    ("recordSet", "cr:recordSet"),
    ("references", "cr:references"),
    ("regex", "cr:regex"),
    ("repeated", "cr:repeated"),
    ("replace", "cr:replace"),
    ("samplingRate", "cr:samplingRate"),
    ("sc", "https://schema.org/"),
    ("separator", "cr:separator"),
    ("source", "cr:source"),
    ("subField", "cr:subField"),
    ("transform", "cr:transform"),
];

/// Describes the version. `files` are the Parquet files in the order of the splits, then the other files.
pub(crate) fn croissant(plan: &Plan, dictionary: &Dictionary, files: &[ReleasedFile]) -> Value {
    let mut document = json!({
        "@context": context(),
        "@type": "sc:Dataset",
        "conformsTo": ["http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0"],
        "name": plan.title,
        "alternateName": plan.dataset.to_string(),
        "description": format!("{}\n\n{}", plan.summary, plan.description),
        "url": plan.home,
        "license": license_address(&plan.license, &plan.home),
        "citeAs": card::citation(plan),
        "creator": plan.creators.iter().map(agent).collect::<Vec<_>>(),
        "publisher": agent(&plan.publisher),
        "datePublished": plan.released_on.to_string(),
        "dateModified": plan.released_on.to_string(),
        "version": plan.version,
        "cr:sdVersion": plan.version,
        "inLanguage": plan.languages,
        "isLiveDataset": false,
        "keywords": plan.keywords,
        "usageInfo": usage(plan),
        "prov:wasDerivedFrom": plan.inputs.iter().map(|input| json!({
            "@type": "prov:Entity",
            "prov:label": format!("{} ({}, {} files)", input.source, input.format, input.files),
            "identifier": format!("sha256:{}", input.digest),
        })).collect::<Vec<_>>(),
        "prov:wasGeneratedBy": {
            "@type": "prov:Activity",
            "prov:label": format!("recipe sha256:{}, split seed {}", plan.recipe, plan.seed),
            "prov:wasAssociatedWith": {"@type": "prov:SoftwareAgent", "prov:label": plan.program},
        },
    });
    if let Some(fields) = document.as_object_mut() {
        for (name, value) in responsible_ai(plan, dictionary) {
            fields.insert(format!("rai:{name}"), value);
        }
        for (name, value) in health(plan) {
            fields.insert(name.to_owned(), value);
        }
        fields.insert("distribution".to_owned(), files.iter().map(file_object).collect());
        let mut records: Vec<Value> =
            SPLITS.iter().zip(files).map(|(split, file)| record_set(split, file, dictionary)).collect();
        records.insert(0, splits());
        fields.insert("recordSet".to_owned(), Value::Array(records));
    }
    document
}

fn term_iri(term: &UseTerm) -> String {
    format!("http://purl.obolibrary.org/obo/DUO_{}", term.number().unwrap_or_default())
}

/// A term of the Data Use Ontology.
pub(crate) fn use_term(term: &UseTerm) -> Value {
    let iri = term_iri(term);
    json!({
        "@type": "DefinedTerm",
        "@id": iri,
        "name": term.label,
        "description": term.plain,
        "termCode": format!("DUO_{}", term.number().unwrap_or_default()),
        "inDefinedTermSet": "http://purl.obolibrary.org/obo/duo.owl",
        "url": iri,
    })
}

/// What may be done: the term of the Data Use Ontology that donors agreed to, and the same as an offer of ODRL 2.2, whose
/// one prohibition holds whatever the term is.
fn usage(plan: &Plan) -> Value {
    let term = term_iri(&plan.use_term);
    let purpose = json!({
        "odrl:leftOperand": {"@id": "odrl:purpose"},
        "odrl:operator": {"@id": "odrl:isA"},
        "odrl:rightOperand": {"@id": term},
    });
    // The other terms are modifiers (DUO:0000017) of that permission.
    let conditions = plan.conditions();
    let modifiers: Vec<DuoTerm> =
        conditions.duo.iter().copied().filter(|modifier| modifier.id() != plan.use_term.id).collect();
    let constraint = |modifier: &DuoTerm| {
        json!({
            "odrl:leftOperand": {"@id": "duo:0000017"},
            "odrl:operator": {"@id": "odrl:isA"},
            "odrl:rightOperand": {"@id": duo_iri(*modifier)},
        })
    };
    let constraint = match modifiers.is_empty() {
        true => purpose,
        false => Value::Array([purpose].into_iter().chain(modifiers.iter().map(constraint)).collect()),
    };
    let mut permission = json!({ "odrl:action": {"@id": "odrl:use"}, "odrl:constraint": constraint });
    if asks_for_attribution(&plan.license) {
        permission["odrl:duty"] = json!({"odrl:action": {"@id": "odrl:attribute"}});
    }
    let offer = json!({
        "@type": "odrl:Offer",
        "odrl:permission": permission,
        "odrl:prohibition": {"odrl:action": {"@id": "https://w3id.org/dpv/risk#Reidentification"}, "description": card::NO_NAMING},
    });
    let listed = modifiers.into_iter().map(|modifier| {
        let iri = duo_iri(modifier);
        json!({
            "@type": "DefinedTerm",
            "@id": iri,
            "name": modifier.short(),
            "description": modifier.promise(),
            "termCode": modifier.id().replace(':', "_"),
            "inDefinedTermSet": "http://purl.obolibrary.org/obo/duo.owl",
            "url": iri,
        })
    });
    [use_term(&plan.use_term)].into_iter().chain(listed).chain([offer]).collect()
}

fn duo_iri(term: DuoTerm) -> String {
    format!("http://purl.obolibrary.org/obo/{}", term.id().replace(':', "_"))
}

/// Whether an SPDX licence asks users to name where the data come from. CC0-1.0 and PDDL-1.0 do not; of licences that are
/// not known here nothing is said.
fn asks_for_attribution(spdx: &str) -> bool {
    let license = spdx.to_ascii_lowercase();
    ["cc-by-", "odc-by-", "odbl-"].iter().any(|family| license.starts_with(family))
}

/// Where the Commission keeps the list of categories until its final place is known (HealthDCAT-AP).
const HEALTH_CATEGORIES: &str = "http://13.81.34.152:1101/resource/authority/healthcategories/";

/// What catalogues of health data ask for, under the names of HealthDCAT-AP. What is not stated is left out.
fn health(plan: &Plan) -> Vec<(&'static str, Value)> {
    let told = &plan.health;
    let reference = |iri: &str| json!({"@id": iri});
    let references = |iris: &[String]| (!iris.is_empty()).then(|| iris.iter().map(|iri| reference(iri)).collect());
    let one = |iri: &str| (!iri.is_empty()).then(|| reference(iri));
    let expanded = |code: &String| if code.contains(':') { code.clone() } else { format!("{HEALTH_CATEGORIES}{code}") };
    let categories: Vec<String> = told.categories.iter().map(expanded).collect();
    let conditions: Vec<Value> = told
        .conditions
        .iter()
        .map(|condition| json!({"@type": "DefinedTerm", "@id": condition.iri, "name": condition.label}))
        .collect();
    let all = [
        ("about", (!conditions.is_empty()).then(|| conditions.into())),
        ("healthdcatap:healthCategory", references(&categories)),
        ("healthdcatap:healthTheme", references(&told.themes)),
        ("healthdcatap:hdab", told.access_body.as_ref().map(agent)),
        ("healthdcatap:custodian", told.custodian.as_ref().map(agent)),
        ("healthdcatap:hasCodingSystem", references(&told.coding_systems)),
        ("healthdcatap:populationCoverage", (!told.population.is_empty()).then(|| told.population.as_str().into())),
        ("healthdcatap:minTypicalAge", told.minimum_age_years.map(Value::from)),
        ("healthdcatap:maxTypicalAge", told.maximum_age_years.map(Value::from)),
        ("dpv:hasLegalBasis", one(&told.legal_basis)),
        ("dpv:hasPurpose", one(&told.purpose)),
    ];
    all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

/// Texts of the plan under the names of the vocabulary; what is not stated is left out.
fn responsible_ai(plan: &Plan, dictionary: &Dictionary) -> Vec<(&'static str, Value)> {
    let told = &plan.collection;
    let text = |text: &str| (!text.is_empty()).then(|| Value::from(text));
    let texts = |texts: &[String]| (!texts.is_empty()).then(|| Value::from(texts.to_vec()));
    let misuse = std::iter::once(card::NO_NAMING).chain(told.misuse.iter().map(String::as_str));
    let uses = [told.use_cases.clone(), misuse.map(|misuse| format!("Not for: {misuse}")).collect()].concat();
    let marker = dictionary.columns.iter().find_map(|entry| entry.suppressed.as_ref());
    let left_out = marker.map(|marker| format!("{marker} stands where de-identification left a value out."));
    let missing: Vec<String> = [told.missing_data.clone()]
        .into_iter()
        .chain(left_out)
        .chain(plan.not_recorded.iter().map(|fact| format!("Not recorded: {} ({})", fact.name, fact.reason)))
        .filter(|text| !text.is_empty())
        .collect();
    let all = [
        ("dataCollection", text(&told.collection)),
        ("dataCollectionType", texts(&told.collection_types)),
        ("dataCollectionMissingData", text(&missing.join(" "))),
        ("dataCollectionRawData", text(&told.raw_data)),
        ("dataCollectionTimeframe", text(&told.timeframe)),
        ("dataPreprocessingProtocol", texts(&told.preprocessing)),
        ("dataImputationProtocol", text(&told.imputation)),
        ("dataAnnotationProtocol", text(&told.annotation)),
        ("dataBiases", texts(&told.biases)),
        ("dataLimitations", texts(&told.limitations)),
        ("dataUseCases", texts(&uses)),
        ("dataSocialImpact", text(&told.social_impact)),
        ("personalSensitiveInformation", texts(&told.sensitive)),
        ("dataReleaseMaintenancePlan", text(&told.maintenance)),
    ];
    all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

/// Where the licence's text is.
/// Where a licence's text stands: in the SPDX list, or at the data set's home where it is the trustee's own.
pub(crate) fn license_address(spdx: &str, home: &str) -> String {
    if spdx.starts_with("LicenseRef-") { home.to_owned() } else { format!("https://spdx.org/licenses/{spdx}") }
}

pub(crate) fn agent(agent: &Agent) -> Value {
    let kind = match agent.kind {
        AgentKind::Organization => "Organization",
        AgentKind::Person => "Person",
    };
    let mut fields = Map::new();
    fields.insert("@type".to_owned(), kind.into());
    fields.insert("name".to_owned(), agent.name.as_str().into());
    if let Some(url) = &agent.url {
        fields.insert("url".to_owned(), url.as_str().into());
    }
    if let Some(contact) = &agent.contact {
        let place = if contact.contains('@') { "email" } else { "url" };
        fields.insert("contactPoint".to_owned(), json!({"@type": "ContactPoint", place: contact}));
    }
    Value::Object(fields)
}

fn file_object(file: &ReleasedFile) -> Value {
    let kind = match file.path.rsplit('.').next() {
        Some("parquet") => "application/x-parquet",
        Some("md") => "text/markdown",
        _ => "application/json",
    };
    json!({
        "@type": "cr:FileObject",
        "@id": file.path,
        "name": file.path,
        "contentUrl": file.path,
        "contentSize": format!("{} B", file.bytes),
        "encodingFormat": kind,
        "sha256": file.sha256,
    })
}

fn splits() -> Value {
    let kind = |split: &str| match split {
        "train" => "cr:TrainingSplit",
        "validation" => "cr:ValidationSplit",
        _ => "cr:TestSplit",
    };
    json!({
        "@type": "cr:RecordSet",
        "@id": "splits",
        "name": "splits",
        "description": "The splits of the data set; no person is in two of them.",
        "dataType": "cr:Split",
        "key": {"@id": "splits/name"},
        "field": [
            {"@type": "cr:Field", "@id": "splits/name", "name": "name", "description": "Name of the split.",
             "dataType": "sc:Text"},
            {"@type": "cr:Field", "@id": "splits/url", "name": "url", "description": "Kind of split.",
             "dataType": "sc:URL"},
        ],
        "data": SPLITS.iter().map(|split| json!({
            "splits/name": split,
            "splits/url": kind(split).replace("cr:", "http://mlcommons.org/croissant/"),
        })).collect::<Vec<_>>(),
    })
}

fn record_set(split: &str, file: &ReleasedFile, dictionary: &Dictionary) -> Value {
    json!({
        "@type": "cr:RecordSet",
        "@id": split,
        "name": split,
        "description": format!("One record per person, {split} split."),
        "field": dictionary.columns.iter().map(|entry| field(split, file, entry)).collect::<Vec<_>>(),
    })
}

fn field(split: &str, file: &ReleasedFile, entry: &Entry) -> Value {
    let kind = match entry.kind.as_str() {
        "bool" => "sc:Boolean",
        "date32" => "sc:Date",
        "float32" | "float64" => "sc:Float",
        "string" => "sc:Text",
        _ => "sc:Integer",
    };
    let mut description = entry.description.clone();
    if let Some(unit) = &entry.unit {
        description.push_str(&format!(" Unit: {unit} (UCUM)."));
    }
    if let Some(words) = &entry.generalisation {
        description.push_str(&format!(" De-identification: {words}."));
    }
    if let Some(marker) = &entry.suppressed {
        description
            .push_str(&format!(" {marker} stands where de-identification left the value out; read it as missing."));
    }
    if !entry.values.is_empty() {
        let codes: Vec<String> = entry.values.iter().map(|(code, label)| format!("{code} = {label}")).collect();
        description.push_str(&format!(" Codes: {}.", codes.join("; ")));
    }
    let mut field = json!({
        "@type": "cr:Field",
        "@id": format!("{split}/{}", entry.name),
        "name": entry.name,
        "description": description,
        "dataType": kind,
        "source": {"fileObject": {"@id": file.path}, "extract": {"column": entry.name}},
    });
    if let (Some(fields), false) = (field.as_object_mut(), entry.equivalent.is_empty()) {
        fields.insert("equivalentProperty".to_owned(), entry.equivalent.clone().into());
    }
    field
}

/// Path and SHA-256 of every file the document lists. For [`crate::verify`].
pub(crate) fn listed(document: &Value) -> Vec<(&str, &str)> {
    let files = document.get("distribution").and_then(Value::as_array).map_or(&[] as &[Value], Vec::as_slice);
    files
        .iter()
        .map(|file| {
            let of = |key: &str| file.get(key).and_then(Value::as_str).unwrap_or_default();
            (of("contentUrl"), of("sha256"))
        })
        .collect()
}
