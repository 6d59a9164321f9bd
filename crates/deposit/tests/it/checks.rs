//! What keeps a data set from being handed in.

use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch, StringArray};
use axum::http::StatusCode;
use parquet::arrow::ArrowWriter;
use serde_json::{Value, json};

use crate::{Answer, CARD, Desk, file, large};

pub(crate) fn table(rows: &[(&str, i64)]) -> Vec<u8> {
    let names = StringArray::from_iter_values(rows.iter().map(|(name, _)| *name));
    let ages = Int64Array::from_iter_values(rows.iter().map(|(_, age)| *age));
    let batch = RecordBatch::try_from_iter([("person", Arc::new(names) as _), ("age", Arc::new(ages) as _)]).unwrap();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    bytes
}

async fn handed_in(card: &str, files: &[(&str, Vec<u8>)]) -> Answer {
    let desk = Desk::new().await;
    desk.begin("lab/cohort").await;
    let mut lines: Vec<Value> = vec![file("README.md", card.as_bytes())];
    for (path, content) in files {
        if path.ends_with(".parquet") {
            desk.upload("lab/cohort", content).await;
            lines.push(large(path, content));
        } else {
            lines.push(file(path, content));
        }
    }
    assert_eq!(desk.commit("lab/cohort", None, &lines).await.status, StatusCode::OK);
    let answer = desk.post("/api/datasets/lab/cohort/tag/main", json!({ "tag": "v1.0.0", "message": "First" })).await;
    let refs = desk.get("/api/datasets/lab/cohort/refs").await.json();
    assert_eq!(refs["tags"].as_array().map(Vec::len), Some(usize::from(answer.status == StatusCode::OK)));
    answer
}

async fn findings(card: &str, files: &[(&str, Vec<u8>)]) -> String {
    let answer = handed_in(card, files).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", String::from_utf8_lossy(&answer.bytes));
    assert!(answer.header("x-error-message").starts_with("The tag v1.0.0 was not made"));
    let findings = answer.json()["findings"].clone();
    assert!(!findings.as_array().unwrap().is_empty());
    findings.to_string()
}

#[tokio::test]
async fn a_data_set_that_is_fit_is_handed_in() {
    let (train, test) = (table(&[("a", 1), ("b", 2)]), table(&[("c", 1)]));
    let files = [("data/train-00000-of-00001.parquet", train), ("data/test-00000-of-00001.parquet", test)];
    assert_eq!(handed_in(CARD, &files).await.status, StatusCode::OK);
    let named = CARD.replace("---\n#", "configs:\n- config_name: default\n  data_files:\n  - split: train\n    path: data/train-*\n  - split: test\n    path: data/test-*\nacequia:\n  person_id_column: person\n---\n#");
    assert_eq!(handed_in(&named, &files).await.status, StatusCode::OK);
}

#[tokio::test]
async fn each_thing_that_is_wrong_is_named_with_its_file() {
    let good = || table(&[("a", 1), ("b", 2)]);
    let said = findings("no card", &[("train.parquet", good())]).await;
    assert!(said.contains("README.md") && said.contains("front matter"), "{said}");
    let said = findings(&CARD.replace("cc-by-4.0", "unknown"), &[("train.parquet", good())]).await;
    assert!(said.contains("SPDX"), "{said}");
    let said = findings(CARD, &[("train.parquet", good()), ("model.pkl", b"x".to_vec())]).await;
    assert!(said.contains("model.pkl") && said.contains("pickle"), "{said}");
    let said = findings(CARD, &[("train.parquet", good()[4..].to_vec())]).await;
    assert!(said.contains("train.parquet") && said.contains("Parquet"), "{said}");
    let said = findings(CARD, &[("notes.txt", b"x".to_vec())]).await;
    assert!(said.contains("no split"), "{said}");
    let said = findings(CARD, &[("train.parquet", table(&[]))]).await;
    assert!(said.contains("no rows"), "{said}");
}

#[tokio::test]
async fn nobody_is_in_two_splits() {
    let person = CARD.replace("---\n#", "acequia:\n  person_id_column: person\n---\n#");
    let (train, test) = (table(&[("anna-secret", 1), ("b", 2)]), table(&[("anna-secret", 3)]));
    let files = [("data/train.parquet", train), ("data/test.parquet", test)];
    let said = findings(&person, &files).await;
    assert!(said.contains("1 persons are in both test and train") && !said.contains("anna-secret"), "{said}");
    let said = findings(&person.replace("person_id_column: person", "person_id_column: id"), &files).await;
    assert!(said.contains("person_id_column"), "{said}");
    // Without a column, rows that are the same.
    assert_eq!(handed_in(CARD, &files).await.status, StatusCode::OK);
    let same = [("data/train.parquet", table(&[("a", 1), ("b", 2)])), ("data/test.parquet", table(&[("b", 2)]))];
    let said = findings(CARD, &same).await;
    assert!(said.contains("1 rows are the same"), "{said}");
}

#[tokio::test]
async fn only_versions_are_handed_in() {
    let desk = Desk::new().await;
    desk.begin("lab/cohort").await;
    for tag in ["", "1.0.0", "v1", "v1.0", "v01.0.0", "v1.0.0-rc1", "latest"] {
        let answer = desk.post("/api/datasets/lab/cohort/tag/main", json!({ "tag": tag })).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{tag}");
    }
    let told =
        desk.post("/api/validate-yaml", json!({ "repoType": "dataset", "content": "---\nlicense: mit\n---\n" })).await;
    assert_eq!(told.json()["errors"].as_array().map(Vec::len), Some(0));
    assert!(told.json()["warnings"].to_string().contains("pretty_name"));
}

/// A message field of Protocol Buffers: number, and bytes.
fn bytes(number: u8, content: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2, u8::try_from(content.len()).unwrap()], content].concat()
}

fn number(field: u8, value: u8) -> Vec<u8> {
    vec![field << 3, value]
}

#[tokio::test]
async fn model_files_are_summarised_by_their_headers() {
    let desk = Desk::new().await;
    desk.post("/api/repos/create", json!({ "name": "lab/net", "type": "model" })).await;
    let header = json!({
        "__metadata__": { "format": "pt" },
        "a": { "dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24] },
        "b": { "dtype": "F16", "shape": [4], "data_offsets": [24, 32] },
    })
    .to_string();
    let tensors = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[0; 32]].concat();
    let side = |told: Vec<u8>| bytes(1, &told);
    let port = |name: &str, kind: u8, sides: &[Vec<u8>]| {
        let shape = bytes(2, &sides.concat());
        [bytes(1, name.as_bytes()), bytes(2, &bytes(1, &[number(1, kind), shape].concat()))].concat()
    };
    let node = |operator: &str| bytes(1, &bytes(4, operator.as_bytes()));
    let graph = [
        node("MatMul"),
        node("Add"),
        node("MatMul"),
        bytes(5, &bytes(8, b"w")),
        bytes(11, &port("x", 1, &[side(bytes(2, b"rows")), side(number(1, 8))])),
        bytes(11, &port("w", 1, &[side(number(1, 8))])),
        bytes(12, &port("y", 7, &[side(number(1, 2))])),
    ]
    .concat();
    let model = [number(1, 9), bytes(2, b"by hand"), bytes(7, &graph), bytes(8, &number(2, 17))].concat();
    let cut = &model[..model.len() - 1];
    let contents: [(&str, &[u8]); 4] =
        [("a.safetensors", &tensors), ("net.onnx", &model), ("cut.onnx", cut), ("w.safetensors", b"no")];
    let mut lines = format!("{}\n", json!({ "key": "header", "value": { "summary": "s" } }));
    for (path, content) in contents {
        let object = json!({ "oid": acequia_types::Digest::of(content).to_string(), "size": content.len() });
        let body = json!({ "operation": "upload", "objects": [object] });
        let asked = desk.post("/lab/net.git/info/lfs/objects/batch", body).await.json();
        let address = asked["objects"][0]["actions"]["upload"]["href"].as_str().unwrap().to_owned();
        assert_eq!(desk.ask(None, "PUT", crate::path_of(&address), content.to_vec()).await.status, StatusCode::OK);
        lines.push_str(&format!("{}\n", crate::large(path, content)));
    }
    let done = desk.ask(Some(&desk.secret), "POST", "/api/models/lab/net/commit/main", lines).await;
    assert_eq!(done.status, StatusCode::OK);
    let name = acequia_deposit::DepositName::of(acequia_gate::Artefact::Model, "lab", "net").unwrap();
    let at = desk.deposits.draft(&name).await.unwrap().unwrap().revision("main").unwrap();
    let told = serde_json::to_value(desk.deposits.summaries(&name, &at).await.unwrap()).unwrap();
    assert_eq!(
        told,
        json!({
            "a.safetensors": {
                "format": "safetensors", "tensors": 2, "parameters": 10, "types": { "F16": 4, "F32": 6 },
                "first": [
                    { "name": "a", "type": "F32", "shape": ["2", "3"] }, { "name": "b", "type": "F16", "shape": ["4"] },
                ],
                "metadata": { "format": "pt" },
            },
            "net.onnx": {
                "format": "onnx", "operator_sets": { "ai.onnx": 17 }, "operators": { "Add": 1, "MatMul": 2 },
                "inputs": [{ "name": "x", "type": "float32", "shape": ["rows", "8"] }],
                "outputs": [{ "name": "y", "type": "int64", "shape": ["2"] }], "producer": "by hand",
            },
        })
    );
    let findings = desk.deposits.check(&name, &at).await.unwrap();
    for path in ["cut.onnx", "w.safetensors"] {
        let own = findings.iter().find(|own| own.file.as_deref() == Some(path)).unwrap();
        assert_eq!(own.code, Some("DP020"), "{own}");
        assert!(own.to_string().ends_with("(DP020)"), "{own}");
    }
}
