//! What keeps a data set from being handed in.

use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch, StringArray};
use axum::http::StatusCode;
use parquet::arrow::ArrowWriter;
use serde_json::{Value, json};

use crate::{Answer, CARD, Desk, file, large};

fn table(rows: &[(&str, i64)]) -> Vec<u8> {
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
