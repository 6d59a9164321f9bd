//! A node's worth of published versions in memory, for the tests and the example. All rows are made up.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, RwLock};

use acequia_frame::Table;
use acequia_gate::{Artefact, ExitSeal, GateKey, InputDigest, Manifest, ReleasedFile, readmit};
use acequia_hub::{Catalogue, HubError, Mirrored, Neighbour, PublishedVersion, Shelf, TakenDownVersion};
use acequia_types::{DatasetName, Digest, Timestamp, parse_day};
use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use bytes::Bytes;
use ed25519_dalek::{Signer, SigningKey};
use serde_json::{Value, json};

const SECRET: [u8; 32] = [7; 32];
const SPLITS: [&str; 3] = ["train", "validation", "test"];

/// Bytes by content address and what is on the shelf.
#[derive(Default)]
pub(crate) struct Memory {
    blobs: RwLock<BTreeMap<Digest, Bytes>>,
    versions: RwLock<Vec<Arc<PublishedVersion>>>,
    shelf: RwLock<Arc<Shelf>>,
    pub(crate) neighbours: RwLock<Arc<Vec<Neighbour>>>,
}

impl Catalogue for Memory {
    fn shelf(&self) -> Arc<Shelf> {
        self.shelf.read().unwrap().clone()
    }

    fn neighbours(&self) -> Arc<Vec<Neighbour>> {
        self.neighbours.read().unwrap().clone()
    }

    fn read(&self, sha256: &Digest, range: Range<u64>) -> Result<Bytes, HubError> {
        let blobs = self.blobs.read().unwrap();
        let bytes = blobs.get(sha256).ok_or(HubError::Missing { sha256: *sha256 })?;
        // What was cut off is missing, as in a file.
        let at = |place: u64| bytes.len().min(place as usize);
        Ok(bytes.slice(at(range.start)..at(range.end)))
    }
}

impl Memory {
    /// Publishes `files` as a version, sealed as the gate seals.
    pub(crate) fn publish(
        &self,
        name: &str,
        version: &str,
        title: &str,
        splits: [u64; 3],
        files: BTreeMap<String, Bytes>,
        at_s: i64,
    ) {
        let manifest = Manifest {
            schema: "acequia-release/1".into(),
            artefact: Artefact::Dataset,
            dataset: DatasetName::parse(name).unwrap(),
            version: version.into(),
            title: title.into(),
            summary: "How long women lived after an operation for breast cancer, and what was known on the day of the operation.".into(),
            license: "CC-BY-4.0".into(),
            terms: Default::default(),
            released_on: parse_day("2026-11-20").unwrap(),
            program: "acequia 0.1.0".into(),
            recipe: Digest::of(b"recipe"),
            seed: 20_261_123,
            inputs: vec![
                InputDigest { source: "rotterdam-tumour-bank".into(), format: "csv".into(), files: 1, digest: Digest::of(b"r") },
                InputDigest { source: "individual-donors".into(), format: "fhir-r4-bundle".into(), files: 254, digest: Digest::of(b"i") },
            ],
            splits: SPLITS.iter().zip(splits).map(|(name, rows)| ((*name).to_owned(), rows)).collect(),
            files: files.iter().map(|(path, bytes)| ReleasedFile::of(path, bytes)).collect(),
        };
        for bytes in files.values() {
            self.blobs.write().unwrap().insert(Digest::of(bytes), bytes.clone());
        }
        self.shelve(&manifest, at_s);
    }

    /// Takes a version down.
    #[allow(dead_code, reason = "the example takes nothing down")]
    pub(crate) fn take_down(&self, name: &str, version: &str, successor: Option<&str>) {
        let mut versions = self.versions.write().unwrap();
        for kept in versions.iter_mut() {
            if kept.manifest().dataset.to_string() == name && kept.manifest().version == version {
                let down = TakenDownVersion {
                    at: Timestamp::from_unix_s(1_799_100_000),
                    reason: "People whose data were in it withdrew.",
                    successor: successor.map(str::to_owned),
                };
                *kept = Arc::new(sealed(kept.manifest(), kept.published_at().unix_s()).taken_down(down));
            }
        }
        *self.shelf.write().unwrap() = Arc::new(Shelf::of(versions.iter().cloned()).unwrap());
    }

    /// Makes a version one of another node.
    #[allow(dead_code, reason = "the example mirrors nothing")]
    pub(crate) fn mirror(&self, name: &str, version: &str, mirrored: &Mirrored) {
        let mut versions = self.versions.write().unwrap();
        for kept in versions.iter_mut() {
            if kept.manifest().dataset.to_string() == name && kept.manifest().version == version {
                let at = kept.published_at().unix_s();
                *kept = Arc::new(sealed(kept.manifest(), at).mirrored(mirrored.clone()));
            }
        }
        *self.shelf.write().unwrap() = Arc::new(Shelf::of(versions.iter().cloned()).unwrap());
    }

    /// Puts a version under terms.
    #[allow(dead_code, reason = "the example shows what is open")]
    pub(crate) fn bind(&self, name: &str, version: &str, terms: &acequia_custody::Conditions) {
        let mut versions = self.versions.write().unwrap();
        for kept in versions.iter_mut() {
            if kept.manifest().dataset.to_string() == name && kept.manifest().version == version {
                let bound = Manifest { terms: terms.clone(), ..kept.manifest().clone() };
                *kept = Arc::new(sealed(&bound, kept.published_at().unix_s()));
            }
        }
        *self.shelf.write().unwrap() = Arc::new(Shelf::of(versions.iter().cloned()).unwrap());
    }

    /// Seals a manifest with the test key and puts it on the shelf.
    pub(crate) fn shelve(&self, manifest: &Manifest, at_s: i64) {
        let mut versions = self.versions.write().unwrap();
        versions.push(Arc::new(sealed(manifest, at_s)));
        *self.shelf.write().unwrap() = Arc::new(Shelf::of(versions.iter().cloned()).unwrap());
    }

    /// Puts many versions on the shelf at once.
    #[allow(dead_code, reason = "the example shows a few")]
    pub(crate) fn shelve_all(&self, manifests: &[Manifest], at_s: i64) {
        let mut versions = self.versions.write().unwrap();
        versions.extend(manifests.iter().map(|manifest| Arc::new(sealed(manifest, at_s))));
        *self.shelf.write().unwrap() = Arc::new(Shelf::of(versions.iter().cloned()).unwrap());
    }

    /// Stores, replaces or removes bytes behind the catalogue's back.
    pub(crate) fn store(&self, sha256: Digest, bytes: Option<Bytes>) {
        let mut blobs = self.blobs.write().unwrap();
        match bytes {
            Some(bytes) => blobs.insert(sha256, bytes),
            None => blobs.remove(&sha256),
        };
    }
}

/// A manifest with the seal of the test key, as a node reads it back.
pub(crate) fn sealed(manifest: &Manifest, at_s: i64) -> PublishedVersion {
    let message = [b"acequia exit seal v1\0".as_slice(), manifest.digest().as_bytes()].concat();
    let signature = SigningKey::from_bytes(&SECRET).sign(&message);
    let seal = ExitSeal::from_text(hex::encode(signature.to_bytes()));
    let verifier = GateKey::from_secret(&SECRET).verifier();
    let outbound = readmit(&manifest.to_bytes(), &seal, &verifier).unwrap();
    PublishedVersion::new(outbound, Timestamp::from_unix_s(at_s)).with_seal(&seal, &verifier)
}

/// Numbers that look random and are the same everywhere (SplitMix64).
pub(crate) struct Dice(u64);

impl Dice {
    #[allow(dead_code)]
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// Two versions of one data set, and a synthetic one.
pub(crate) fn sample() -> Memory {
    let memory = Memory::default();
    memory.publish(
        "acequia/sample-survival",
        "1.0.0",
        TITLE,
        [1400, 300, 300],
        version(1, [1400, 300, 300], false),
        1_763_900_000,
    );
    memory.publish(
        "acequia/sample-survival",
        "1.1.0",
        TITLE,
        [2100, 450, 450],
        version(2, [2100, 450, 450], false),
        1_795_300_000,
    );
    memory.publish(
        "commons/synthetic-survival",
        "0.1.0",
        "Synthetic survival after breast cancer",
        [700, 150, 150],
        version(3, [700, 150, 150], true),
        1_795_200_000,
    );
    memory
}

const TITLE: &str = "Survival after breast cancer";
const AGES: [&str; 9] = ["<30", "30-39", "40-44", "45-49", "50-54", "55-59", "60-69", "70-79", ">=80"];
const GRADES: [&str; 3] = ["1", "2", "3"];
const NODES: [&str; 5] = ["0", "1-3", "4-9", "10-19", ">=20"];

struct Rows {
    age: Vec<usize>,
    grade: Vec<usize>,
    nodes: Vec<usize>,
    days: Vec<f64>,
    event: Vec<i64>,
}

fn rows(dice: &mut Dice, count: u64) -> Rows {
    let mut rows = Rows { age: vec![], grade: vec![], nodes: vec![], days: vec![], event: vec![] };
    for _ in 0..count {
        rows.age.push(((dice.below(9) + dice.below(9) + 2) / 2).min(8) as usize);
        rows.grade.push([0, 1, 1, 2, 2, 2][dice.below(6) as usize]);
        rows.nodes.push([0, 0, 0, 0, 1, 1, 1, 2, 2, 3, 4][dice.below(11) as usize]);
        rows.days.push((dice.below(3000) + dice.below(3000)) as f64 / 2.0 + 30.0);
        rows.event.push(i64::from(dice.below(5) < 2));
    }
    rows
}

fn texts(codes: &[usize], labels: &[&'static str]) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(codes.iter().map(|code| labels[*code])))
}

fn table(name: &str, rows: &Rows) -> Table {
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("age_years", texts(&rows.age, &AGES)),
        ("grade", texts(&rows.grade, &GRADES)),
        ("positive_nodes", texts(&rows.nodes, &NODES)),
        ("time_days", Arc::new(Float64Array::from(rows.days.clone()))),
        ("event", Arc::new(Int64Array::from(rows.event.clone()))),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    Table::with_schema(name, batch.schema(), vec![batch]).unwrap()
}

fn version(seed: u64, counts: [u64; 3], synthetic: bool) -> BTreeMap<String, Bytes> {
    let mut dice = Dice(seed);
    let splits: Vec<Rows> = counts.iter().map(|count| rows(&mut dice, *count)).collect();
    let mut files = BTreeMap::new();
    for (split, rows) in SPLITS.iter().zip(&splits) {
        let parquet = table(split, rows).to_parquet().unwrap();
        files.insert(format!("data/{split}-00000-of-00001.parquet"), Bytes::from(parquet));
    }
    let mut put = |path: &str, value: &Value| {
        files.insert(path.to_owned(), Bytes::from(serde_json::to_vec_pretty(value).unwrap()))
    };
    put("statistics.json", &statistics(&splits));
    put("dictionary.json", &dictionary());
    if !synthetic {
        put("risk.json", &risk());
        put("diversity.json", &diversity());
    }
    let croissant = croissant(&files);
    files.insert("croissant.json".into(), Bytes::from(serde_json::to_vec_pretty(&croissant).unwrap()));
    files.insert("README.md".into(), Bytes::from(card(synthetic)));
    files
}

fn category(name: &str, title: &str, labels: &[&str], codes: impl Fn(&Rows) -> Vec<usize>, splits: &[Rows]) -> Value {
    let bins: Vec<Value> = labels
        .iter()
        .enumerate()
        .map(|(at, label)| {
            let counts: serde_json::Map<String, Value> = SPLITS
                .iter()
                .zip(splits)
                .map(|(split, rows)| {
                    let count = codes(rows).iter().filter(|code| **code == at).count() as u64;
                    ((*split).to_owned(), if (1..12).contains(&count) { Value::Null } else { count.into() })
                })
                .collect();
            json!({"label": label, "value": label, "low": null, "high": null, "counts": counts})
        })
        .collect();
    json!({"name": name, "title": title, "kind": "category", "unit": null,
        "missing": {"train": 0, "validation": 0, "test": 0}, "bins": bins})
}

fn statistics(splits: &[Rows]) -> Value {
    let days = |rows: &Rows| -> Vec<usize> { rows.days.iter().map(|days| (*days / 250.0) as usize).collect() };
    let labels: Vec<String> = (0..13).map(|bin| format!("{} to under {}", bin * 250, bin * 250 + 250)).collect();
    let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
    let mut time = category("time_days", "Time to death or last visit", &labels, days, splits);
    time["kind"] = json!("number");
    time["unit"] = json!("d");
    for (bin, value) in time["bins"].as_array_mut().unwrap().iter_mut().enumerate() {
        value["low"] = json!(bin as f64 * 250.0);
        value["high"] = json!(bin as f64 * 250.0 + 250.0);
    }
    for (name, rows) in SPLITS.iter().zip(splits) {
        let mut days = rows.days.clone();
        days.sort_by(f64::total_cmp);
        let half = days.len() / 2;
        time["median"][*name] =
            json!(if days.len() % 2 == 1 { days[half] } else { (days[half - 1] + days[half]) / 2.0 });
        time["mean"][*name] = json!(days.iter().sum::<f64>() / days.len() as f64);
    }
    let mut event =
        category("event", "Death", &["no", "yes"], |r| r.event.iter().map(|e| *e as usize).collect(), splits);
    for code in 0..2 {
        event["bins"][code]["value"] = json!(code.to_string());
    }
    let rows: Vec<Value> =
        SPLITS.iter().zip(splits).map(|(name, rows)| json!({"name": name, "rows": rows.age.len()})).collect();
    json!({"schema": "acequia-statistics/1", "minimum_cell": 12, "splits": rows, "columns": [
        category("age_years", "Age at the operation", &AGES, |r| r.age.clone(), splits),
        category("grade", "Histological grade", &GRADES, |r| r.grade.clone(), splits),
        category("positive_nodes", "Lymph nodes with cancer", &NODES, |r| r.nodes.clone(), splits),
        time,
        event,
    ]})
}

fn dictionary() -> Value {
    let column = |name: &str, title: &str, kind: &str, how: Option<&str>, description: &str| {
        json!({"name": name, "title": title, "description": description, "type": kind, "unit": null,
            "role": if how.is_some() { "quasi-identifier" } else { "sensitive" }, "generalisation": how, "values": {}, "equivalent": []})
    };
    json!({"schema": "acequia-dictionary/1", "columns": [
        column("age_years", "Age at the operation", "string", Some("bands of years"), "Completed years on the day of the operation."),
        column("grade", "Histological grade", "string", Some("not changed"), "How abnormal the cells look: 1 little, 3 very."),
        column("positive_nodes", "Lymph nodes with cancer", "string", Some("bands"), "Lymph nodes in which cancer was found."),
        column("time_days", "Time to death or last visit", "float64", None, "Days from the operation."),
        {"name": "event", "title": "Death", "description": "Whether the person died in that time.", "type": "int64", "unit": null,
            "role": "sensitive", "generalisation": null, "values": {"0": "no", "1": "yes"}, "equivalent": ["https://loinc.org/85337-4", "OMOP:4306655"]},
    ]})
}

fn risk() -> Value {
    json!({"schema": "acequia-risk/1", "attacker": "prosecutor",
        "policy": {"k": 12, "maximum_risk": 0.09, "suppression_limit": 0.05},
        "rows": {"input": 3061, "released": 3000, "suppressed": 61},
        "quasi_identifiers": [
            {"column": "age_years", "hierarchy": "intervals", "level": 2, "levels": 4, "loss": 0.21},
            {"column": "grade", "hierarchy": "suppress", "level": 0, "levels": 1, "loss": 0.0},
            {"column": "positive_nodes", "hierarchy": "nodes.csv", "level": 1, "levels": 3, "loss": 0.134}],
        "classes": {"count": 96, "smallest": 12, "average": 31.25,
            "sizes": [{"size": 12, "classes": 40}, {"size": 30, "classes": 50}, {"size": 170, "classes": 6}]},
        "risk": {"prosecutor": {"maximum": 1.0 / 12.0, "average": 0.032, "at_risk_share": 0.0},
            "journalist": {"maximum": 1.0 / 12.0, "average": 0.032, "at_risk_share": 0.0, "assumption": "no population table: as the prosecutor"},
            "marketer": {"maximum": 0.032, "average": 0.032, "at_risk_share": 0.0}},
"before": {"classes": 1893, "maximum": 1.0, "average": 0.61}, "removed_columns": ["person_id"],
        "loss": {"total": 0.115},
        "models": [{"name": "k-anonymity", "parameter": 12, "held": true, "measured": 12}],
        "attacks": {"extent": "full", "results": [
            {"attack": "matching", "variant": "prosecutor", "attempts": 3000, "successes": 96, "rate": 0.032, "limit": 0.09, "held": true,
                "conclusion": "Of 3000 persons 96 are found."},
            {"attack": "matching", "variant": "prosecutor who also knows event", "attempts": 3000, "successes": 330, "rate": 0.11, "held": true,
                "conclusion": "Found 330 of 3000 persons."},
            {"attack": "inference", "variant": "event", "attempts": 3000, "successes": 1830, "rate": 0.61, "control": {"rate": 0.6, "what": "without the row"},
                "held": true, "conclusion": "The row adds little."}]},
        "verified_by": "an independent recount of the released rows"})
}

fn diversity() -> Value {
    let cell = |label: &str, count: u64, share: f64, reference: Option<f64>| {
        json!({"label": label, "value": label, "count": count, "share": share, "reference_share": reference,
            "ratio": reference.map(|r| share / r), "low": share - 0.018, "high": share + 0.018})
    };
    json!({"schema": "acequia-diversity/1", "population": "women with a new breast cancer in the Netherlands, 2015 to 2019",
        "source": "an invented reference for tests", "minimum_cell": 12,
        "dimensions": [{"name": "age_years", "title": "Age at the operation", "rows": 3000, "cells": [
            cell("<40", 210, 0.07, Some(0.05)), cell("40-49", 690, 0.23, Some(0.17)), cell("50-59", 1020, 0.34, Some(0.24)),
            cell("60-69", 720, 0.24, Some(0.27)), cell("70-79", 300, 0.10, Some(0.18)),
            {"label": ">=80", "value": ">=80", "count": null, "share": null, "reference_share": 0.09, "ratio": null, "low": null, "high": null}],
            "effective_number": 4.42, "total_variation_distance": 0.18}],
        "intersectional": [{"columns": ["age_years", "grade"], "possible": 27, "empty": 3, "small": 2, "smallest": 14}],
        "missingness": [{"column": "grade", "count": 0, "share": 0.0}, {"column": "positive_nodes", "count": null, "share": null}],
        "consent": {"counted": "individual donors", "total": 300, "outcomes": [
            {"name": "agreed", "title": "Agreed to open publication", "count": 255}, {"name": "refused", "title": "Refused", "count": 24},
            {"name": "withdrew", "title": "Withdrew", "count": null}, {"name": "other", "title": "Expired or unknown", "count": null}],
            "statement": "Those who refused are not in the data; whether they differ from the others is not known."},
        "not_recorded": [{"name": "ethnicity", "title": "Ethnicity", "reason": "no source recorded it"}]})
}

fn croissant(files: &BTreeMap<String, Bytes>) -> Value {
    let tables = || files.iter().filter(|(path, _)| path.ends_with(".parquet"));
    let split = |path: &str| SPLITS.iter().find(|split| path.contains(**split)).copied().unwrap_or_default();
    let distribution: Vec<Value> = tables()
        .map(|(path, bytes)| {
            json!({"@type": "cr:FileObject", "@id": format!("{}-parquet", split(path)), "name": path, "contentUrl": path,
                "encodingFormat": "application/x-parquet", "sha256": Digest::of(bytes).to_string()})
        })
        .collect();
    let records: Vec<Value> = tables()
        .map(|(path, _)| {
            let name = split(path);
            let field = |column: &str, kind: &str| {
                json!({"@type": "cr:Field", "@id": format!("{name}/{column}"), "name": column, "dataType": kind,
                    "source": {"fileObject": {"@id": format!("{name}-parquet")}, "extract": {"column": column}}})
            };
            json!({"@type": "cr:RecordSet", "@id": name, "name": name,
                "field": [field("age_years", "sc:Text"), field("time_days", "sc:Float"), field("event", "sc:Integer")]})
        })
        .collect();
    json!({
        "@context": {"@language": "en", "@vocab": "https://schema.org/", "citeAs": "cr:citeAs", "column": "cr:column",
            "conformsTo": "dct:conformsTo", "cr": "http://mlcommons.org/croissant/", "rai": "http://mlcommons.org/croissant/RAI/",
            "data": {"@id": "cr:data", "@type": "@json"}, "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
            "dct": "http://purl.org/dc/terms/", "prov": "http://www.w3.org/ns/prov#", "odrl": "http://www.w3.org/ns/odrl/2/",
            "healthdcatap": "http://healthdataportal.eu/ns/health#", "examples": {"@id": "cr:examples", "@type": "@json"}, "extract": "cr:extract",
            "field": "cr:field", "fileProperty": "cr:fileProperty", "fileObject": "cr:fileObject", "fileSet": "cr:fileSet",
            "format": "cr:format", "includes": "cr:includes", "isLiveDataset": "cr:isLiveDataset", "jsonPath": "cr:jsonPath",
            "key": "cr:key", "md5": "cr:md5", "parentField": "cr:parentField", "path": "cr:path", "recordSet": "cr:recordSet",
            "references": "cr:references", "regex": "cr:regex", "repeated": "cr:repeated", "replace": "cr:replace", "sc": "https://schema.org/",
            "separator": "cr:separator", "source": "cr:source", "subField": "cr:subField", "transform": "cr:transform"},
        "@type": "sc:Dataset", "conformsTo": ["http://mlcommons.org/croissant/1.1", "http://mlcommons.org/croissant/RAI/1.0"],
        "dateModified": "2026-11-20", "citeAs": "@misc{acequia-sample-survival-1.1.0, title = {Sample}}",
        "rai:personalSensitiveInformation": ["Health"], "rai:dataReleaseMaintenancePlan": "A new version when consents change.",
        "prov:wasDerivedFrom": [{"@type": "prov:Entity", "prov:label": "made up"}],
        "prov:wasGeneratedBy": {"@type": "prov:Activity", "prov:label": "a test"}, "name": "sample-survival",
        "description": "A sample.\n\nEach row is one woman who had an operation.",
        "rai:dataUseCases": ["Teaching of survival models", "Not for: Deciding about a patient"],
        "rai:dataBiases": ["Trials differ from clinics."], "rai:dataLimitations": "Ages are bands.",
        "rai:dataCollection": "Made up for tests.", "rai:dataCollectionTimeframe": "1978/2026", "license": "https://creativecommons.org/licenses/by/4.0/", "url": "https://example.org/",
        "creator": {"@type": "sc:Organization", "name": "Acequia", "url": "https://acequia.example"},
        "publisher": {"@type": "Organization", "name": "A trustee <of> \"tests\"", "contactPoint": {"@type": "ContactPoint", "email": "data@acequia.example"}},
        "keywords": ["breast cancer", "survival & \"more\" <so>"], "inLanguage": ["en"],
        "usageInfo": [{"@type": "DefinedTerm", "name": "general research use", "termCode": "DUO_0000042", "url": "http://purl.obolibrary.org/obo/DUO_0000042"},
            {"@type": "odrl:Offer", "odrl:permission": {"odrl:action": {"@id": "odrl:use"}, "odrl:duty": {"odrl:action": {"@id": "odrl:attribute"}}}}],
        "about": [{"@type": "DefinedTerm", "@id": "http://purl.obolibrary.org/obo/MONDO_0007254", "name": "breast cancer"}],
        "healthdcatap:healthCategory": [{"@id": "http://13.81.34.152:1101/resource/authority/healthcategories/EHRS"}],
        "healthdcatap:hdab": {"@type": "Organization", "name": "Access body", "contactPoint": {"@type": "ContactPoint", "url": "https://acequia.example/access"}},
        "healthdcatap:populationCoverage": "Made-up women.", "datePublished": "2026-11-20", "version": "1.0.0",
        "distribution": distribution, "recordSet": records})
}

fn card(synthetic: bool) -> String {
    let kind = if synthetic { "synthetic" } else { "de-identified" };
    let files: String =
        SPLITS.iter().map(|s| format!("  - split: {s}\n    path: data/{s}-00000-of-00001.parquet\n")).collect();
    format!(
        "---\nlicense: cc-by-4.0\npretty_name: \"{TITLE}\"\nlanguage:\n- en\ntags:\n- health\n- {kind}\ntask_categories:\n- tabular-classification\n\
         size_categories:\n- 1K<n<10K\nconfigs:\n- config_name: default\n  default: true\n  data_files:\n{files}---\n\n# {TITLE}\n\nMade-up rows.\n"
    )
}
