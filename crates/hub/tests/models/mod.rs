//! Models on the hub: pages, the Hub's routes, and what is theirs alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use acequia_gate::{Artefact, Manifest, ReleasedFile};
use acequia_hub::router;
use acequia_types::{DatasetName, Digest, parse_day};
use bytes::Bytes;
use serde_json::{Value, json};

use crate::sample::Memory;
use crate::{ask, get, well_made};

const MODEL: &str = "acequia/recurrence";

/// A record as sites hand it out, with everything that a page draws.
fn record(at: &[&str]) -> Value {
    let interval = json!([0.6, 0.7]);
    let site = |name: &&str| {
        json!({
            "site": name, "rows": 686, "events": 299, "dropped": 0,
            "estimates": [
                { "name": "harrell_c", "value": 0.6524, "standard_error": 0.0167, "interval": interval },
                { "name": "calibration_slope", "value": 1.0562, "standard_error": 0.1, "interval": null },
            ],
            "fifths": [[0.2, 0.25], [0.5, 0.4]], "calibration_curve": [[0.1, 0.1], [0.6, 0.5]],
            "net_benefit": [
                { "threshold": 0.1, "flagged": 1.0, "model": 0.3, "everybody": 0.3, "interval": [0.2, 0.4] },
                { "threshold": 0.6, "flagged": 0.1, "model": 0.05, "everybody": -0.5, "interval": null },
            ],
            "roc": [
                { "flagged": 0.3, "sensitivity": 0.45, "specificity": 0.81 },
                { "flagged": 0.7, "sensitivity": 0.84, "specificity": 0.42 },
            ],
            "subgroups": [
                { "column": "meno", "value": "<script>", "rows": 300, "events": 120, "estimates": [{ "name": "harrell_c", "value": 0.66, "standard_error": 0.02, "interval": null }] },
                { "column": "meno", "value": null, "rows": null, "events": null, "estimates": [] },
            ],
        })
    };
    let pooled = [json!({ "name": "harrell_c", "value": 0.65, "interval": interval, "prediction": null })];
    json!({
        "schema": "acequia-validation/1", "evidence": "L2", "evidence_words": "L2, external: measured at a site the model did not learn from.",
        "settings": { "horizon_days": 1826.25, "bootstraps": 1000 }, "signatures": [],
        "sites": at.iter().map(site).collect::<Vec<_>>(), "pooled": pooled,
        "statements": [{ "level": "L3", "by": "Dr <b>", "reference": "doi:10.1000/1", "says": "x & y", "on": "2026-01-01", "key": "ab", "signature": "cd" }],
    })
}

fn card(records: &[&str]) -> Value {
    let evidence: Vec<Value> = records
        .iter()
        .map(|name| json!({ "level": "L2", "words": "L2, external.", "record": format!("validation/{name}.json"), "page": format!("validation/{name}.html") }))
        .collect();
    json!({
        "schema": "acequia-model-card/1", "statement": "Not a medical device.", "description": "What it does.\n\nAnd more.",
        "creator": [{ "@type": "Organization", "name": "Clinic" }], "publisher": { "@type": "Organization", "name": "Clinic" },
        "keywords": ["prognosis"], "about": [{ "@id": "http://a.example/x", "name": "breast cancer" }],
        "usageInfo": [{ "name": "general research use", "url": "http://purl.obolibrary.org/obo/DUO_0000042", "termCode": "DUO_0000042" }],
        "model": {
            "digest": "ab", "kind": "Cox proportional hazards", "plan": "cd", "program": "acequia 0.1.0", "sites": ["north"],
            "rows": 2982, "events": 1275, "horizons_days": [365.25, 1826.25], "membership_words": "No better than guessing.",
            "predictors": [
                { "name": "size50", "column": "size", "steps": ["is >50"], "coefficient": 0.5, "standard_error": 0.1 },
                { "name": "nodes", "column": "nodes", "steps": [], "coefficient": 0.3, "standard_error": 0.1, "joint": true },
                { "name": "nodes-curve", "column": "nodes", "steps": ["a spline"], "coefficient": -0.8, "standard_error": 0.1, "joint": true },
            ],
        },
        "formats": {
            "onnx": { "opset": 17, "inputs": [
                { "name": "size", "type": "string", "shape": ["rows", 1], "levels": ["<=50", ">50"] },
                { "name": "grade", "type": "string", "shape": ["rows", 1] },
                { "name": "nodes", "type": "double", "shape": ["rows", 1] },
            ], "outputs": [{ "name": "risk", "type": "double", "shape": ["rows", 2] }] },
            "safetensors": { "parameters": 521, "tensors": { "coefficients": [1] } },
        },
        "evidence": evidence,
        "completeness": { "stated": 17, "of": 21, "missing": ["signatures of the sites"] },
        "stated": {
            "outcome": "Recurrence.", "limits": ["Old data."],
            "intended_use": { "purpose": "Research.", "users": "Researchers.", "population": "Women.", "out_of_scope": ["Treatment."] },
            "predictors": { "size": { "title": "Size", "description": "Of the tumour.", "values": { ">50": "over 50 mm" } } },
            "learned_from": [
                { "title": "A register", "name": "clinic/register", "version": "1.0.0", "license": "CC-BY-4.0" },
                { "title": "A cohort", "url": "https://doi.org/10.1000/2" },
            ],
        },
    })
}

const README: &str = "---\nlicense: cc-by-4.0\nlibrary_name: onnx\npipeline_tag: tabular-regression\ntags:\n- health\ndatasets:\n- clinic/register\nmodel-index:\n- name: recurrence\n  results: []\n---\n# Recurrence\n";

fn publish(memory: &Memory, version: &str, records: &[(&str, Value)]) {
    let names: Vec<&str> = records.iter().map(|(name, _)| *name).collect();
    let mut files: BTreeMap<String, Bytes> = BTreeMap::from([
        ("README.md".to_owned(), README.into()),
        ("card.json".to_owned(), card(&names).to_string().into()),
        ("model.onnx".to_owned(), Bytes::from_static(&[8; 5000])),
        ("model.json".to_owned(), "{}".into()),
    ]);
    for (name, record) in records {
        files.insert(format!("validation/{name}.json"), record.to_string().into());
        files.insert(format!("validation/{name}.html"), "<p>".into());
    }
    let manifest = Manifest {
        schema: "acequia-release/1".into(),
        artefact: Artefact::Model,
        dataset: DatasetName::parse(MODEL).unwrap(),
        version: version.into(),
        title: "Recurrence of breast cancer".into(),
        summary: "Risk of recurrence.".into(),
        license: "CC-BY-4.0".into(),
        terms: Default::default(),
        released_on: parse_day("2026-11-23").unwrap(),
        program: "acequia 0.1.0".into(),
        recipe: Digest::of(b"card"),
        seed: 0,
        inputs: vec![],
        splits: vec![],
        files: files.iter().map(|(path, bytes)| ReleasedFile::of(path, bytes)).collect(),
    };
    for bytes in files.values() {
        memory.store(Digest::of(bytes), Some(bytes.clone()));
    }
    memory.shelve(&manifest, 1_799_000_000);
}

fn shelf() -> Arc<Memory> {
    let memory = Arc::new(Memory::default());
    publish(&memory, "1.0.0", &[("south", record(&["south"])), ("all", record(&["east", "west"]))]);
    memory
}

#[tokio::test]
async fn a_model_has_a_page_with_all_that_is_known_of_it() {
    let app = router(shelf());
    let list = get(&app, "/models").await;
    assert_eq!(list.status, 200);
    well_made(&list.text(), "list");
    assert!(list.text().contains("Recurrence of breast cancer") && list.text().contains("L2: at another site"));
    assert!(get(&app, "/models?q=nothing").await.text().contains("No model has all of these words"));
    assert!(get(&app, "/models?evidence=L2%3A%20at%20another%20site").await.text().contains(MODEL));
    assert!(get(&app, "/").await.text().contains("open model"));
    let mut all = String::new();
    for tab in ["card", "evidence", "files", "versions", "use", "governance"] {
        let page = get(&app, &format!("/models/{MODEL}/v/1.0.0/{tab}")).await;
        assert_eq!((page.status.as_u16(), page.header("content-type")), (200, "text/html; charset=utf-8"), "{tab}");
        assert!(page.text().contains("Not a medical device"), "{tab}");
        well_made(&page.text(), tab);
        all += &page.text();
    }
    for told in [
        "In plain words",
        "Hazard ratio",
        "Old data.",
        "Treatment.",
        "0.6524",
        "Calibration",
        "Decision curve",
        "All sites",
        "meno = &lt;script&gt;",
        "meno: not shown",
        "A register",
        "No better than guessing.",
        "signatures of the sites",
        "rows × 2",
        "hf_hub_download",
        "DataCite 4, JSON",
        "2,982",
        "Not drawn are the terms of nodes:",
        "&gt;50</code>; any other text has no prediction (NaN).",
        "a text that the model does not know counts as none",
        "what the others ask, nobody checked",
    ] {
        assert!(all.contains(told) || told == "{told}");
    }
    assert!(!all.contains("<script>") && !all.replace("prediction (NaN)", "").contains("NaN"));
    // Rows, comparisons and Croissant are of data sets.
    for none in ["v/1.0.0/data", "v/1.0.0/croissant.jsonld", "compare/1.0.0..1.0.0"] {
        assert_eq!(get(&app, &format!("/models/{MODEL}/{none}")).await.status, 404, "{none}");
    }
    assert_eq!(get(&app, &format!("/datasets/{MODEL}")).await.status, 404);
    for path in ["tree/main", "blob/main/README.md"] {
        let page = get(&app, &format!("/{MODEL}/{path}")).await;
        assert_eq!((page.status.as_u16(), page.header("location")), (303, "/models/acequia/recurrence/v/1.0.0"));
    }
    let short = get(&app, &format!("/{MODEL}")).await;
    assert_eq!((short.status.as_u16(), short.header("location")), (303, "/models/acequia/recurrence"));
    let page = get(&app, &format!("/models/{MODEL}")).await;
    assert!(page.header("link").contains("rel=\"cite-as\"") && !page.header("link").contains("croissant"));
    for form in
        ["citation.bib", "CITATION.cff", "datacite.json", "ro-crate-metadata.json", "linkset.json", "SHA256SUMS"]
    {
        assert_eq!(get(&app, &format!("/models/{MODEL}/v/1.0.0/{form}")).await.status, 200, "{form}");
    }
    let cited = get(&app, &format!("/models/{MODEL}/v/1.0.0/datacite.json")).await.json();
    assert_eq!(cited["types"]["resourceTypeGeneral"], "Model");
    let entry = get(&app, &format!("/models/{MODEL}/v/1.0.0/citation.bib")).await.text();
    assert!(entry.starts_with("@software{acequia-recurrence-1.0.0,"), "{entry}");
    assert!(
        get(&app, "/?q=recurrence")
            .await
            .text()
            .contains("<a href=\"/models?q=recurrence\">1 model has these words too</a>")
    );
    for (query, models) in [
        ("pipeline_tag=tabular-regression", 1),
        ("pipeline_tag=text-generation", 0),
        ("library=onnx&filter=health", 1),
        ("library=transformers", 0),
        ("inference_provider=all", 0),
    ] {
        let listed = get(&app, &format!("/api/models?{query}")).await.json();
        assert_eq!(listed.as_array().unwrap().len(), models, "{query}");
    }
    assert!(get(&app, "/sitemap.xml").await.text().contains("/models/acequia/recurrence/v/1.0.0"));
}

/// Harvesters and citation tools learn what a model was made from, and no address that leads nowhere.
#[tokio::test]
async fn models_are_harvested_and_described_as_models() {
    let memory = shelf();
    memory.publish("acequia/sample", "1.0.0", "Sample", [1, 1, 1], BTreeMap::new(), 1_700_000_000);
    let app = router(memory.clone());
    let ask = |query: &str| format!("/oai?verb={query}");
    let sets = get(&app, &ask("ListSets")).await.text();
    assert!(sets.contains("<setSpec>datasets</setSpec>") && sets.contains("<setSpec>models</setSpec>"), "{sets}");
    let identifier = "<identifier>oai:node.example:models/acequia/recurrence</identifier>";
    for (set, models, all) in [("", 1, 2), ("&set=models", 1, 1), ("&set=datasets", 0, 1)] {
        for verb in ["ListIdentifiers", "ListRecords"] {
            let text = get(&app, &ask(&format!("{verb}&metadataPrefix=oai_dc{set}"))).await.text();
            assert_eq!((text.matches(identifier).count(), text.matches("<header>").count()), (models, all), "{text}");
        }
    }
    let record = |prefix: &str| {
        ask(&format!("GetRecord&metadataPrefix={prefix}&identifier=oai:node.example:models/acequia/recurrence"))
    };
    let plain = get(&app, &record("oai_dc")).await.text();
    for told in [
        "<setSpec>models</setSpec>",
        "<dc:type>Software</dc:type>",
        "<dc:source>A register</dc:source>",
        "<dc:source>https://doi.org/10.1000/2</dc:source>",
    ] {
        assert!(plain.contains(told), "{told}: {plain}");
    }
    let datacite = get(&app, &record("datacite")).await.text();
    assert!(datacite.contains("resourceTypeGeneral=\"Model\"") && datacite.contains("relationType=\"IsDerivedFrom\""));
    assert!(!datacite.contains("croissant"), "a model has none");

    let document = get(&app, &format!("/models/{MODEL}/v/1.0.0/ro-crate-metadata.json")).await.json();
    let graph = document["@graph"].as_array().unwrap();
    let find = |id: &str| graph.iter().find(|entity| entity["@id"] == id).unwrap_or_else(|| panic!("{id}"));
    assert_eq!(find("#run")["object"], json!([{ "@id": "#source-1" }, { "@id": "https://doi.org/10.1000/2" }]));
    assert_eq!(find("#source-1")["alternateName"], "clinic/register 1.0.0");
    assert_eq!(find("README.md")["description"], "Model card.");
    find("https://doi.org/10.1000/2");
    let schema = get(&app, &format!("/models/{MODEL}/v/1.0.0/schema.jsonld")).await.json();
    assert_eq!(
        (&schema["@type"], &schema["applicationCategory"]),
        (&"SoftwareApplication".into(), &"Prediction model".into())
    );
    assert_eq!(
        schema["isBasedOn"][1],
        json!({ "@type": "Dataset", "name": "A cohort", "@id": "https://doi.org/10.1000/2" })
    );
    for file in schema["downloadUrl"].as_array().unwrap() {
        let path = file.as_str().unwrap().strip_prefix("http://node.example:8080").unwrap();
        assert_eq!(get(&app, path).await.status, 200, "{path}");
    }
    assert!(get(&app, &format!("/models/{MODEL}/v/1.0.0")).await.text().contains("\"SoftwareApplication\""));
    // As long lists go on across the two kinds.
    for at in 0..70 {
        memory.publish(&format!("acequia/set-{at:02}"), "1.0.0", "Set", [1, 1, 1], BTreeMap::new(), 1_700_000_000);
    }
    let first = get(&app, &ask("ListIdentifiers&metadataPrefix=oai_dc")).await.text();
    assert_eq!((first.matches("<header>").count(), first.contains(identifier)), (50, false));
    let next = first.split("cursor=\"").nth(1).and_then(|rest| rest.split(['>', '<']).nth(1)).unwrap();
    let rest = get(&app, &ask(&format!("ListIdentifiers&resumptionToken={next}"))).await.text();
    assert_eq!((rest.matches("<header>").count(), rest.contains(identifier)), (22, true));
}

#[tokio::test]
async fn the_hubs_routes_answer_for_models_as_for_data_sets() {
    let app = router(shelf());
    let info = get(&app, &format!("/api/models/{MODEL}?blobs=true")).await.json();
    assert_eq!((&info["id"], &info["modelId"]), (&MODEL.into(), &MODEL.into()));
    assert_eq!((&info["pipeline_tag"], &info["library_name"]), (&"tabular-regression".into(), &"onnx".into()));
    assert_eq!(info["safetensors"], json!({ "parameters": { "F64": 521 }, "total": 521 }));
    let tags = info["tags"].as_array().unwrap();
    for tag in ["license:cc-by-4.0", "dataset:clinic/register", "onnx", "tabular-regression", "health"] {
        assert!(tags.contains(&tag.into()), "{tag} in {tags:?}");
    }
    let listed = get(&app, "/api/models?search=recurrence&limit=1").await.json();
    assert_eq!((listed.as_array().unwrap().len(), &listed[0]["id"]), (1, &MODEL.into()));
    assert_eq!(get(&app, "/api/datasets").await.json(), json!([]));
    let commit = info["sha"].as_str().unwrap();
    for revision in ["main", "v1.0.0", commit] {
        let file = get(&app, &format!("/{MODEL}/resolve/{revision}/model.onnx")).await;
        assert_eq!((file.status.as_u16(), file.body.len(), file.header("x-repo-commit")), (200, 5000, commit));
        assert_eq!(file.header("etag").len(), 66, "a file of a model goes by its SHA-256");
        assert_eq!(get(&app, &format!("/api/models/{MODEL}/tree/{revision}?recursive=true")).await.status, 200);
        assert_eq!(get(&app, &format!("/api/models/{MODEL}/revision/{revision}")).await.json()["sha"], commit);
    }
    let part = ask(&app, "GET", &format!("/{MODEL}/resolve/main/model.onnx"), &[("range", "bytes=10-19")], "").await;
    assert_eq!((part.status.as_u16(), part.body.len()), (206, 10));
    let tree = get(&app, &format!("/api/models/{MODEL}/tree/main?limit=1")).await;
    assert!(tree.header("link").contains(&format!("/api/models/{MODEL}/tree/{commit}")), "{}", tree.header("link"));
    let missing = get(&app, &format!("/{MODEL}/resolve/main/model.pkl")).await;
    assert_eq!((missing.status.as_u16(), missing.header("x-error-code")), (404, "EntryNotFound"));
    let none = get(&app, "/acequia/none/resolve/main/model.onnx").await;
    assert_eq!((none.status.as_u16(), none.header("x-error-code")), (404, "RepoNotFound"));
    // Nobody rewrites one, and its name is taken.
    let create = |kind: &str| json!({ "name": "recurrence", "organization": "acequia", "type": kind }).to_string();
    for (target, body, status) in [
        ("/api/repos/create".to_owned(), create("model"), 409),
        ("/api/repos/create".to_owned(), create("dataset"), 403),
        (format!("/api/models/{MODEL}/commit/main"), String::new(), 403),
        (format!("/api/models/{MODEL}/tag/main"), json!({ "tag": "v1.0.0" }).to_string(), 409),
        (format!("/api/models/{MODEL}/super-squash/main"), "{}".to_owned(), 403),
        (format!("/{MODEL}.git/info/lfs/objects/batch"), "{}".to_owned(), 403),
    ] {
        assert_eq!(ask(&app, "POST", &target, &[], &body).await.status.as_u16(), status, "{target}");
    }
}

/// What a person states stands there as stated, beside what was measured.
#[tokio::test]
async fn what_is_stated_about_a_model_is_shown_as_stated() {
    let page = get(&router(shelf()), &format!("/models/{MODEL}/v/1.0.0/evidence")).await.text();
    let stated = "Stated by a person and not measured: L3: in another country or period. By Dr &lt;b&gt; on 2026-01-01, see doi:10.1000/1.";
    assert!(page.contains(stated) && page.contains("<q>x &amp; y</q>"), "{page}");
    well_made(&page, "evidence");
}

/// A model without a record says so everywhere; one whose record cannot be read says nothing false.
#[tokio::test]
async fn what_is_not_known_of_a_model_is_said() {
    let memory = Arc::new(Memory::default());
    publish(&memory, "1.0.0", &[]);
    let app = router(memory.clone());
    for page in ["", "/v/1.0.0/evidence"] {
        let text = get(&app, &format!("/models/{MODEL}{page}")).await.text();
        assert!(text.contains("Nobody has measured this model on people it did not learn from"), "{page}");
        well_made(&text, page);
    }
    assert!(get(&app, "/models").await.text().contains("nobody measured it elsewhere"));
    let memory = shelf();
    memory.store(Digest::of(record(&["south"]).to_string().as_bytes()), None);
    let app = router(memory);
    let page = get(&app, &format!("/models/{MODEL}/v/1.0.0/evidence")).await;
    assert_eq!(page.status, 200);
    well_made(&page.text(), "evidence");
}
