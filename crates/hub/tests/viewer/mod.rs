//! The data set viewer's interface.

use serde_json::{Value, json};

use crate::{DATASET, TRAIN, app, ask, file, get};
use acequia_frame::Table;

async fn view(route: &str) -> Value {
    let separator = if route.contains('?') { '&' } else { '?' };
    get(&app().0, &format!("/{route}{separator}dataset={DATASET}")).await.json()
}

#[tokio::test]
async fn what_there_is_to_see() {
    assert_eq!(
        view("is-valid").await,
        json!({"preview": true, "viewer": true, "search": true, "filter": true, "statistics": true})
    );
    let splits = view("splits").await;
    assert_eq!(splits["splits"][1], json!({"dataset": DATASET, "config": "default", "split": "validation"}));
    let size = view("size").await;
    assert_eq!(size["size"]["dataset"]["num_rows"], 3000);
    assert_eq!(size["size"]["splits"][0]["num_rows"], 2100);
    assert_eq!(size["size"]["configs"][0]["num_columns"], 5);
    let info = view("info").await;
    assert_eq!(info["dataset_info"]["default"]["features"]["event"], json!({"dtype": "int64", "_type": "Value"}));
    assert_eq!(view("info?config=default").await["dataset_info"]["splits"]["test"]["num_examples"], 450);
    let parquet = view("parquet").await;
    assert_eq!(parquet["parquet_files"][0]["filename"], "train-00000-of-00001.parquet");
    let old = view("size?at=v1.0.0").await;
    assert_eq!(old["size"]["dataset"]["num_rows"], 2000);
}

#[tokio::test]
async fn rows_are_those_of_the_table() {
    let (app, memory) = app();
    let (commit, _, bytes) = file(&memory, TRAIN);
    let whole = Table::from_parquet("train", bytes).unwrap();
    assert_eq!(whole.rows(), 2100);
    let page = |offset: usize, length: usize| {
        format!("/rows?dataset={DATASET}&config=default&split=train&offset={offset}&length={length}")
    };
    let mut all = Vec::new();
    for offset in (0..2100).step_by(100) {
        let answer = get(&app, &page(offset, 100)).await;
        assert_eq!(answer.header("x-revision"), commit);
        let told = answer.json();
        assert_eq!((&told["num_rows_total"], &told["num_rows_per_page"]), (&json!(2100), &json!(100)));
        all.extend(told["rows"].as_array().unwrap().clone());
    }
    assert_eq!(all.len(), 2100);
    let days = whole.column("time_days").unwrap();
    let days = days.as_any().downcast_ref::<arrow::array::Float64Array>().unwrap();
    for (at, row) in all.iter().enumerate() {
        assert_eq!((&row["row_idx"], &row["row"]["time_days"]), (&json!(at), &json!(days.value(at))));
    }
    assert_eq!(get(&app, &page(2099, 5)).await.json()["rows"].as_array().unwrap().len(), 1);
    assert_eq!(get(&app, &page(9999, 5)).await.json()["rows"], json!([]));
    let first = view("first-rows?split=train").await;
    assert_eq!((first["rows"].as_array().unwrap().len(), &first["truncated"]), (100, &json!(true)));
    assert_eq!(first["features"][3]["name"], "time_days");
}

#[tokio::test]
async fn conditions_and_words_choose_rows() {
    let (app, memory) = app();
    let whole = Table::from_parquet("train", file(&memory, TRAIN).2).unwrap();
    let days = whole.column("time_days").unwrap();
    let days = days.as_any().downcast_ref::<arrow::array::Float64Array>().unwrap();
    let ages = whole.column("age_years").unwrap();
    let ages = arrow::compute::cast(&ages, &arrow::datatypes::DataType::Utf8).unwrap();
    let ages = ages.as_any().downcast_ref::<arrow::array::StringArray>().unwrap();
    let asked = |route: &str| format!("/{route}&dataset={DATASET}&config=default&split=train");
    let mut late: Vec<usize> = (0..2100).filter(|row| days.value(*row) > 1000.0).collect();
    assert!(late.len() > 100 && late.len() < 2100);
    let told = get(&app, &asked("filter?where=%22time_days%22%3E1000&offset=7&length=50")).await.json();
    assert_eq!((&told["num_rows_total"], &told["partial"]), (&json!(late.len()), &json!(false)));
    let places = |told: &Value| -> Vec<usize> {
        let place = |row: &Value| usize::try_from(row["row_idx"].as_u64().unwrap()).unwrap();
        told["rows"].as_array().unwrap().iter().map(place).collect()
    };
    assert_eq!(places(&told), late[7..57]);
    assert!(told["rows"].as_array().unwrap().iter().all(|row| row["row"]["time_days"].as_f64() > Some(1000.0)));
    late.sort_by(|a, b| days.value(*b).total_cmp(&days.value(*a)));
    let told = get(&app, &asked("filter?where=%22time_days%22%3E1000&orderby=%22time_days%22%20DESC")).await.json();
    assert_eq!(places(&told), late[..100]);
    // All rows in an order; and words.
    assert_eq!(get(&app, &asked("filter?orderby=%22time_days%22")).await.json()["num_rows_total"], 2100);
    let word = ages.value(0);
    let told = get(&app, &asked(&format!("search?query={}", word.replace(' ', "+")))).await.json();
    let with: Vec<usize> = (0..2100).filter(|row| ages.value(*row) == word).collect();
    assert!(told["num_rows_total"].as_u64() >= Some(with.len() as u64), "{told}");
    assert!(places(&told).contains(&0));
}

#[tokio::test]
async fn statistics_leave_small_counts_out() {
    let told = view("statistics?split=train").await;
    assert_eq!((&told["num_examples"], &told["partial"]), (&json!(2100), &json!(false)));
    let column = |name: &str| {
        told["statistics"].as_array().unwrap().iter().find(|column| column["column_name"] == name).unwrap().clone()
    };
    let age = column("age_years");
    assert_eq!(age["column_type"], "string_label");
    let shown = age["column_statistics"]["frequencies"].as_object().unwrap();
    assert!(!shown.is_empty() && shown.values().all(|count| !(1..12).contains(&count.as_u64().unwrap())));
    // Where a count is hidden, how many different values there are is not known.
    for name in ["age_years", "grade", "positive_nodes"] {
        let own = &column(name)["column_statistics"];
        let bins: usize = match name {
            "age_years" => 9,
            "grade" => 3,
            _ => 5,
        };
        let shown = own["frequencies"].as_object().unwrap();
        let occur = shown.values().filter(|count| count.as_u64() > Some(0)).count();
        assert_eq!(own["n_unique"], if shown.len() == bins { json!(occur) } else { Value::Null }, "{name}");
    }
    let days = column("time_days");
    let histogram = &days["column_statistics"]["histogram"];
    assert_eq!(
        (histogram["hist"].as_array().unwrap().len(), histogram["bin_edges"].as_array().unwrap().len()),
        (13, 14)
    );
    assert_eq!((&days["column_type"], &days["column_statistics"]["min"]), (&json!("float"), &Value::Null));
}

#[tokio::test]
async fn what_the_viewer_refuses() {
    let (app, _) = app();
    for (target, status, code) in [
        ("/rows".to_owned(), 400, ""),
        ("/rows?dataset=x".to_owned(), 400, ""),
        ("/splits?dataset=no/such".to_owned(), 404, "RepoNotFound"),
        (format!("/splits?dataset={DATASET}&at=v9"), 404, "RevisionNotFound"),
        (format!("/rows?dataset={DATASET}"), 400, ""),
        (format!("/rows?dataset={DATASET}&split=other"), 404, "EntryNotFound"),
        (format!("/rows?dataset={DATASET}&config=other&split=train"), 404, "EntryNotFound"),
        (format!("/rows?dataset={DATASET}&split=train&length=101"), 400, ""),
        (format!("/rows?dataset={DATASET}&split=train&offset=-1"), 400, ""),
        (format!("/filter?dataset={DATASET}&split=train&where=%22height%22%3E1"), 400, ""),
        (format!("/filter?dataset={DATASET}&split=train&where=time_days"), 400, ""),
        (format!("/filter?dataset={DATASET}&split=other&where=time_days%3E1"), 404, "EntryNotFound"),
        (format!("/search?dataset={DATASET}&split=train"), 400, ""),
    ] {
        let answer = get(&app, &target).await;
        assert_eq!((answer.status.as_u16(), answer.header("x-error-code")), (status, code), "{target}");
    }
    let parquet = format!("/parquet?dataset={DATASET}");
    let virtual_host = ask(&app, "GET", &parquet, &[("host", "datasets-server.node.example:8080")], "").await;
    let address = virtual_host.json()["parquet_files"][0]["url"].as_str().unwrap().to_owned();
    assert!(address.starts_with("http://node.example:8080/datasets/"), "{address}");
}

#[tokio::test]
async fn rows_on_the_page() {
    let (app, _) = app();
    let path = format!("/datasets/{DATASET}/v/1.1.0/data");
    let first = get(&app, &path).await.text();
    assert!(first.contains("Rows 1 to 50 of 2,100 in train.") && first.contains("data?split=train&amp;row=50#rows"));
    let last = get(&app, &format!("{path}?split=test&row=430")).await.text();
    assert!(last.contains("Rows 431 to 450 of 450 in test.") && !last.contains("Later rows"));
    let beyond = get(&app, &format!("{path}?split=test&row=9999")).await.text();
    assert!(beyond.contains("There are 450 rows in test."));
    let odd = get(&app, &format!("{path}?split=%3Cx%3E&row=-1")).await.text();
    assert!(odd.contains("Rows 1 to 50 of 2,100 in train."));
}
