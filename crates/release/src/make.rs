//! From de-identified rows and a plan to the files of a version.

use std::collections::BTreeMap;

use acequia_frame::Table;
use acequia_gate::{Artefact, Manifest, Parcel, ReleasedFile};
use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;

use crate::card::{Facts, card, largest_deviation};
use crate::croissant::croissant;
use crate::dictionary::dictionary;
use crate::diversity::diversity;
use crate::receipt::Receipt;
use crate::split::{SPLITS, divide};
use crate::statistics::statistics;
use crate::verify::verify;
use crate::{Plan, ReleaseError, rows};

/// Layout of the manifest.
pub(crate) const MANIFEST_SCHEMA: &str = "acequia-release/1";

/// Path of a split's Parquet file.
pub(crate) fn parquet_path(split: &str) -> String {
    format!("data/{split}-00000-of-00001.parquet")
}

/// Makes every file of the version and rechecks the finished parcel.
pub(crate) fn make(table: &Table, numbers: &[u64], receipt: &Value, plan: &Plan) -> Result<Parcel, ReleaseError> {
    plan.check()?;
    let view = Receipt(receipt);
    let table = rows::plain(table)?;
    let classes = check_classes(&table, view)?;
    let dictionary = dictionary(&table, view, plan)?;

    let (strata, texts) = rows::strata(&table, &plan.split.stratify_by)?;
    let picked = divide(&strata, numbers, plan.split.parts_per_million()?, plan.seed)?;
    let mut strata_rows: Vec<(String, [u64; 3])> = texts.into_iter().map(|text| (text, [0; 3])).collect();
    for (split, rows) in picked.iter().enumerate() {
        for &row in rows {
            strata_rows[strata[row as usize] as usize].1[split] += 1;
        }
    }
    let batch = table.to_batch()?;
    let mut tables = Vec::with_capacity(SPLITS.len());
    for (split, positions) in SPLITS.iter().zip(&picked) {
        tables.push(rows::pick(&batch, split, positions)?);
    }
    drop(batch);

    let mut files: BTreeMap<String, Bytes> = BTreeMap::new();
    let mut parquet = Vec::with_capacity(SPLITS.len());
    for (split, table) in SPLITS.iter().zip(&tables) {
        let path = parquet_path(split);
        let bytes = table.to_parquet()?;
        parquet.push(ReleasedFile::of(&path, &bytes));
        files.insert(path, bytes.into());
    }
    let named: Vec<(&str, &Table)> = SPLITS.iter().copied().zip(&tables).collect();
    let union: Vec<&Table> = tables.iter().collect();
    let diversity = diversity(&union, &dictionary, plan)?;
    put_json(&mut files, "dictionary.json", &dictionary)?;
    let statistics = statistics(&named, &dictionary, plan.minimum_cell)?;
    put_json(&mut files, "statistics.json", &statistics)?;
    put_json(&mut files, "risk.json", receipt)?;
    put_json(&mut files, "diversity.json", &diversity)?;
    let splits = [0, 1, 2].map(|at| tables[at].rows() as u64);
    let left_out = dictionary.columns.iter().filter_map(|entry| {
        let marker = entry.suppressed.as_deref()?;
        Some((entry.name.as_str(), statistics.rows_with(&entry.name, marker)))
    });
    let left_out: BTreeMap<&str, Option<u64>> = left_out.collect();
    let facts = Facts {
        plan,
        dictionary: &dictionary,
        receipt: view,
        diversity: &diversity,
        strata: &strata_rows,
        deviation: largest_deviation(&strata_rows),
        parquet: &parquet,
        rows: splits,
        left_out: &left_out,
        arrow_bytes: [0, 1, 2].map(|at| rows::arrow_bytes(&tables[at])),
        classes,
    };
    files.insert("README.md".to_owned(), card(&facts).into_bytes().into());
    // Croissant lists every other file with its digest, the splits first; it cannot list itself or the manifest.
    let others = files.iter().filter(|(path, _)| !path.ends_with(".parquet"));
    let listed = parquet.iter().cloned().chain(others.map(|(path, bytes)| ReleasedFile::of(path, bytes)));
    let document = croissant(plan, &dictionary, &listed.collect::<Vec<_>>());
    put_json(&mut files, "croissant.json", &document)?;

    let manifest = Manifest {
        schema: MANIFEST_SCHEMA.to_owned(),
        artefact: Artefact::Dataset,
        dataset: plan.dataset.clone(),
        version: plan.version.clone(),
        title: plan.title.clone(),
        summary: plan.summary.clone(),
        license: plan.license.clone(),
        terms: plan.conditions(),
        released_on: plan.released_on,
        program: plan.program.clone(),
        recipe: plan.recipe,
        seed: plan.seed,
        inputs: plan.inputs.clone(),
        splits: SPLITS.iter().map(|split| (*split).to_owned()).zip(splits).collect(),
        files: files.iter().map(|(path, bytes)| ReleasedFile::of(path, bytes)).collect(),
    };
    files.insert("manifest.json".to_owned(), manifest.to_bytes().into());
    let verification = verify(&manifest, |path| files.get(path).cloned());
    match verification.checks.iter().find(|check| !check.held) {
        Some(check) => Err(ReleaseError::SelfCheck { check: format!("{} ({})", check.name, check.detail) }),
        None => Ok(Parcel { manifest, files }),
    }
}

/// Counts the equivalence classes from the rows about to be published: how many, and the size of the smallest.
fn check_classes(table: &Table, receipt: Receipt<'_>) -> Result<(u64, u64), ReleaseError> {
    let k = receipt.k()?;
    let columns = receipt.quasi_identifiers()?;
    if !columns.iter().all(|name| table.schema().index_of(name).is_ok()) {
        // A quasi-identifier that cannot be counted would make the recount say nothing.
        return Err(ReleaseError::Receipt { what: "quasi-identifiers that are columns of the table" });
    }
    let sizes = rows::class_sizes([table], &columns)?;
    let small = sizes.partition_point(|&size| size < k);
    if small > 0 {
        return Err(ReleaseError::ClassTooSmall { classes: small, k });
    }
    Ok((sizes.len() as u64, sizes.first().copied().unwrap_or(0)))
}

fn put_json(files: &mut BTreeMap<String, Bytes>, path: &str, value: &impl Serialize) -> Result<(), ReleaseError> {
    files.insert(path.to_owned(), json_bytes(value).ok_or_else(|| unwritable(path))?.into());
    Ok(())
}

fn unwritable(path: &str) -> ReleaseError {
    ReleaseError::SelfCheck { check: format!("{path} can be written as JSON") }
}

/// Pretty JSON with a final line feed.
pub(crate) fn json_bytes(value: &impl Serialize) -> Option<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(value).ok()?;
    bytes.push(b'\n');
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use acequia_custody::{Conditions, DuoTerm, Tier};
    use acequia_gate::Parcel;
    use arrow::array::{AsArray, Int64Array, RecordBatch, StringArray, UInt32Array};
    use arrow::compute::take_record_batch;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::PeoplePlan;
    use crate::sample::{NASTY, assignment, plan, receipt, table};
    use crate::verify_listed;

    fn sample(rows: usize) -> Parcel {
        let table = table(rows);
        make(&table, &assignment(rows), &receipt(&table, 5), &plan()).unwrap()
    }

    fn json_of(parcel: &Parcel, path: &str) -> Value {
        serde_json::from_slice(&parcel.files[path]).unwrap()
    }

    #[test]
    fn a_version_holds_every_file_and_verifies() {
        let parcel = sample(600);
        let paths: Vec<&str> = parcel.files.keys().map(String::as_str).collect();
        assert_eq!(
            paths,
            [
                "README.md",
                "croissant.json",
                "data/test-00000-of-00001.parquet",
                "data/train-00000-of-00001.parquet",
                "data/validation-00000-of-00001.parquet",
                "dictionary.json",
                "diversity.json",
                "manifest.json",
                "risk.json",
                "statistics.json"
            ]
        );
        assert_eq!(parcel.manifest.splits.iter().map(|(_, rows)| rows).sum::<u64>(), 600);
        let paths = parcel.files.keys().cloned().collect();
        let verification = verify_listed(&parcel.manifest, &paths, |path| parcel.files.get(path).cloned());
        assert!(verification.held(), "{verification:#?}");
    }

    /// Who asks for nothing by the licence does not ask for it in the offer either.
    #[test]
    fn the_offer_asks_for_attribution_where_the_licence_does() {
        for (license, asks) in
            [("CC-BY-4.0", true), ("CC-BY-SA-4.0", true), ("ODbL-1.0", true), ("CC0-1.0", false), ("PDDL-1.0", false)]
        {
            let table = table(200);
            let plan = Plan { license: license.to_owned(), ..plan() };
            let parcel = make(&table, &assignment(200), &receipt(&table, 5), &plan).unwrap();
            let document = json_of(&parcel, "croissant.json");
            let offer = &document["usageInfo"][1];
            assert_eq!(offer["odrl:permission"]["odrl:duty"].is_object(), asks, "{license}");
            assert_eq!(offer["odrl:permission"]["odrl:action"], json!({"@id": "odrl:use"}));
            assert_eq!(offer.get("odrl:duty"), None, "a duty belongs to a permission (ODRL 2.2)");
        }
    }

    #[test]
    fn a_flipped_byte_in_any_file_is_found() {
        let parcel = sample(200);
        for path in parcel.files.keys() {
            let length = parcel.files[path].len();
            for at in [0, length / 2, length - 1] {
                let mut files = parcel.files.clone();
                let mut bytes = files[path].to_vec();
                bytes[at] ^= 1;
                files.insert(path.clone(), bytes.into());
                let verification = verify(&parcel.manifest, |path| files.get(path).cloned());
                let named = |check: &&crate::Check| !check.held && check.name.contains(path.as_str());
                assert!(verification.checks.iter().any(|check| named(&check)), "{path} byte {at}");
            }
        }
    }

    #[test]
    fn a_missing_and_an_extra_file_are_found() {
        let parcel = sample(200);
        for path in parcel.files.keys() {
            let read = |asked: &str| parcel.files.get(asked).filter(|_| asked != path).cloned();
            assert!(!verify(&parcel.manifest, read).held(), "{path}");
        }
        let mut paths: std::collections::BTreeSet<String> = parcel.files.keys().cloned().collect();
        paths.insert("notes.txt".to_owned());
        let verification = verify_listed(&parcel.manifest, &paths, |path| parcel.files.get(path).cloned());
        let failed: Vec<&str> = verification.checks.iter().filter(|c| !c.held).map(|c| c.name.as_str()).collect();
        assert_eq!(failed, ["no other file"]);
    }

    /// Somebody who changes a file and lists its new digests is found by what the rows say.
    #[test]
    fn a_consistent_forgery_is_found() {
        let parcel = sample(400);
        let forged = |path: &str, from: &str, to: &str| {
            let text = String::from_utf8(parcel.files[path].to_vec()).unwrap();
            assert!(text.contains(from), "{path} has no {from}");
            let bytes = Bytes::from(text.replacen(from, to, 1));
            let mut manifest = parcel.manifest.clone();
            let file = manifest.files.iter_mut().find(|file| file.path == path).unwrap();
            *file = ReleasedFile::of(path, &bytes);
            let mut files = parcel.files.clone();
            files.insert(path.to_owned(), bytes);
            files.insert("manifest.json".to_owned(), manifest.to_bytes().into());
            let verification = verify(&manifest, |path| files.get(path).cloned());
            verification.checks.iter().filter(|check| !check.held).map(|check| check.name.clone()).collect::<Vec<_>>()
        };
        let digest = "croissant.json digests".to_owned();
        assert!(
            forged("statistics.json", "\"mean\"", "\"mode\"")
                .contains(&"statistics.json follows from the rows".to_owned())
        );
        assert!(forged("risk.json", "\"k\": 5", "\"k\": 5000").contains(&"k-anonymity recounted".to_owned()));
        assert!(
            forged("risk.json", "\"released\": 400", "\"released\": 401").contains(&"k-anonymity recounted".to_owned())
        );
        assert!(
            forged("dictionary.json", "\"int64\"", "\"int32\"")
                .contains(&"dictionary.json describes the columns".to_owned())
        );
        assert!(
            forged("diversity.json", "\"rows\": 400", "\"rows\": 399")
                .contains(&"diversity.json follows from the rows".to_owned())
        );
        assert!(
            forged("README.md", "num_examples: ", "num_examples: 9")
                .contains(&"README.md states the splits".to_owned())
        );
        assert_eq!(forged("README.md", "Motivation", "Reason"), [digest]);
    }

    #[test]
    fn rows_are_complete_disjoint_and_sorted() {
        let source = table(500);
        let parcel = sample(500);
        let mut parts = Vec::new();
        for split in SPLITS {
            let part = Table::from_parquet("cohort", parcel.files[&parquet_path(split)].clone()).unwrap();
            assert_eq!(part.sorted().unwrap().digest(), part.digest(), "{split} is sorted by content");
            parts.extend(part.batches().to_vec());
        }
        let union = Table::new("cohort", parts).unwrap();
        let source = rows::plain(&source).unwrap();
        assert_eq!(union.sorted().unwrap().digest(), source.sorted().unwrap().digest());
    }

    #[test]
    fn counts_of_statistics_add_up_where_nothing_is_hidden() {
        let statistics = json_of(&sample(4_000), "statistics.json");
        let rows: Vec<u64> =
            statistics["splits"].as_array().unwrap().iter().map(|s| s["rows"].as_u64().unwrap()).collect();
        for column in statistics["columns"].as_array().unwrap() {
            for (split, rows) in SPLITS.iter().zip(&rows) {
                let bins = column["bins"].as_array().unwrap().iter().map(|bin| bin["counts"][split].as_u64());
                let cells: Vec<Option<u64>> = bins.chain([column["missing"][split].as_u64()]).collect();
                let shown: u64 = cells.iter().flatten().sum();
                assert!(cells.iter().flatten().all(|&n| n == 0 || n >= 12), "{column}");
                if cells.iter().all(Option::is_some) {
                    assert_eq!(shown, *rows, "{}", column["name"]);
                } else {
                    assert!(cells.iter().filter(|cell| cell.is_none()).count() >= 2 && shown < *rows, "{column}");
                }
            }
        }
        let by_name =
            |name: &str| statistics["columns"].as_array().unwrap().iter().find(|c| c["name"] == name).unwrap().clone();
        let labels = |name: &str| -> Vec<String> {
            by_name(name)["bins"].as_array().unwrap().iter().map(|b| b["label"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(labels("age"), ["<40", "40-49", "50-59", "60-69", ">=70"]);
        assert_eq!(labels("event"), ["not observed", "observed"]);
        assert_eq!(labels("hormone_therapy"), ["false", "true"]);
        assert_eq!(by_name("nodes")["kind"], "number");
        assert_eq!(by_name("grade")["kind"], "category");
        assert!((5..=20).contains(&labels("nodes").len()), "{:?}", labels("nodes"));
    }

    #[test]
    fn diversity_compares_and_names_who_is_absent() {
        let report = json_of(&sample(4_000), "diversity.json");
        let age = &report["dimensions"][0];
        let cells = age["cells"].as_array().unwrap();
        let labels: Vec<&str> = cells.iter().map(|cell| cell["label"].as_str().unwrap()).collect();
        assert_eq!(labels, ["<40", "40-49", "50-59", "60-69", ">=70"]);
        assert_eq!(cells[0]["reference_share"], 0.42);
        assert_eq!(cells[4]["reference_share"], 0.16);
        assert!(age["total_variation_distance"].as_f64().unwrap() > 0.1);
        assert!((age["effective_number"].as_f64().unwrap() - 5.0).abs() < 0.1);
        assert!((age["inverse_simpson"].as_f64().unwrap() - 5.0).abs() < 0.1);
        assert!(age["population_stability_index"].as_f64() > age["kullback_leibler"].as_f64());
        let (effect, size) = (&age["weighting"]["design_effect"], &age["weighting"]["effective_size"]);
        assert!(effect.as_f64().unwrap() > 1.0 && size.as_u64().unwrap() < age["rows"].as_u64().unwrap());
        let gaps = age["gaps"].as_array().unwrap();
        assert_eq!(gaps[0]["value"], "<40");
        assert!(gaps.iter().all(|gap| gap["ratio"].as_f64().unwrap() < 0.8));
        let nodes = &report["dimensions"][2]["cells"];
        assert_eq!(nodes.as_array().unwrap().len(), 3);
        let consent = &report["consent"];
        assert_eq!(consent["outcomes"][3]["count"], Value::Null);
        assert!(
            consent["statement"].as_str().unwrap().starts_with("Of 283 donations of individual donors: included: 240")
        );
    }

    /// A table in which the menopausal status of every third row is left out.
    fn starred(rows: usize) -> Table {
        let batch = table(rows).to_batch().unwrap();
        let meno = batch.column(1).as_string::<i32>();
        let meno = meno.iter().enumerate().map(|(row, value)| if row % 3 == 0 { Some("*") } else { value });
        let mut columns = batch.columns().to_vec();
        columns[1] = Arc::new(meno.collect::<StringArray>());
        Table::new("cohort", vec![RecordBatch::try_new(batch.schema(), columns).unwrap()]).unwrap()
    }

    #[test]
    fn left_out_values_are_declared_apart_from_unknown_ones() {
        let table = starred(600);
        let parcel = make(&table, &assignment(600), &receipt(&table, 5), &plan()).unwrap();
        let dictionary = json_of(&parcel, "dictionary.json");
        let marked: Vec<&str> = dictionary["columns"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|column| column["suppressed"] == "*")
            .map(|column| column["name"].as_str().unwrap())
            .collect();
        assert_eq!(marked, ["menopausal_status"]);
        let croissant = json_of(&parcel, "croissant.json");
        let field = &croissant["recordSet"][1]["field"][1]["description"];
        assert!(field.as_str().unwrap().contains(" * stands where de-identification left the value out"), "{field}");
        assert!(croissant["rai:dataCollectionMissingData"].as_str().unwrap().contains("* stands where"));
        let card = String::from_utf8(parcel.files["README.md"].to_vec()).unwrap();
        assert!(card.contains("| `menopausal_status` | 0 (0.0 %) | 200 (33.3 %) |"), "{card}");
        assert!(card.contains("\n| `er` | ") && !card.contains("No column has a missing value"));
        let meno = &json_of(&parcel, "diversity.json")["dimensions"][1];
        assert_eq!((&meno["rows"], &meno["left_out"]), (&json!(400), &json!(200)));
        assert!(meno["cells"].as_array().unwrap().iter().all(|cell| cell["value"] != "*"));
        assert!(meno["effective_number"].as_f64().unwrap() <= 2.0);
        // A dictionary of before says nothing of it, and is still read.
        let plain = json_of(&sample(300), "dictionary.json");
        assert!(plain["columns"].as_array().unwrap().iter().all(|column| column.get("suppressed").is_none()));
        assert!(serde_json::from_value::<crate::dictionary::Dictionary>(plain).is_ok());
    }

    #[test]
    fn the_card_rounds_what_was_measured_and_tells_what_was_asked() {
        let table = table(600);
        let mut facts = receipt(&table, 5);
        facts["models"] = json!([
            {"name": "k-anonymity", "parameter": 12.0, "held": true, "measured": 12.0},
            {"name": "entropy l-diversity of event", "parameter": null, "held": true, "measured": 1.293_457_209_011_312_8},
            {"name": "recursive (3,2)-diversity of event", "parameter": null, "held": true, "measured": 2.25},
        ]);
        facts["transformations"] =
            json!([{"columns": ["time_days"], "kind": "limits", "words": "values above 4,000 are 4,000", "kept": 0.9}]);
        let parcel = make(&table, &assignment(600), &facts, &plan()).unwrap();
        let card = String::from_utf8(parcel.files["README.md"].to_vec()).unwrap();
        for line in [
            "- k-anonymity: holds (asked: 12, measured: 12)\n",
            "- entropy l-diversity of event: 1.2935 (measured only)\n",
            "- recursive (3,2)-diversity of event: holds (measured: 2.25)\n",
            "| sensitive, not changed by de-identification |",
            "| values above 4,000 are 4,000 |",
            "- **Contact:** Acequia, <data@acequia.example>\n",
        ] {
            assert!(card.contains(line), "{line}\n{card}");
        }
        assert!(!card.contains("kept as it is") && !card.contains("asked: not stated"));
    }

    #[test]
    fn the_card_counts_everybody_out() {
        let table = table(600);
        let card = |people: Option<PeoplePlan>| {
            let parcel = make(&table, &assignment(600), &receipt(&table, 5), &Plan { people, ..plan() }).unwrap();
            String::from_utf8(parcel.files["README.md"].to_vec()).unwrap()
        };
        let people = |outside, records_without_birth_date| PeoplePlan {
            by_source: BTreeMap::from([("a|b".to_owned(), 620 + outside)]),
            outside,
            records_without_birth_date,
        };
        let told = card(Some(people(30, 137)));
        for line in [
            "| a\\|b | csv | 1 | 650 | `",
            "\n137 further records are of people whose date of birth no file holds.",
            "| People in the sources | 650 |\n| Of these outside the cohort | 30 |\n| Rows before, one for each person of the cohort | 620 |",
        ] {
            assert!(told.contains(line), "{line}\n{told}");
        }
        // Who knows all but three would know the three.
        let few = card(Some(people(3, 2)));
        assert!(
            few.contains("| a\\|b | csv | 1 | not shown | `") && few.contains("| People in the sources | not shown |")
        );
        assert!(few.contains("\nSome further records are of people"));
        let nobody = card(None);
        assert!(!nobody.contains("People in the sources") && nobody.contains("| Rows before, one for each person"));
    }

    #[test]
    fn the_front_matter_takes_texts_literally() {
        let card = String::from_utf8(sample(300).files["README.md"].to_vec()).unwrap();
        let (front, body) = card.strip_prefix("---\n").unwrap().split_once("---\n").unwrap();
        assert!(front.contains(&format!("pretty_name: {}\n", json!(format!("Sample {NASTY}")))));
        assert!(front.contains("- \"no\"\n"), "a YAML boolean stays a word");
        assert!(!body.contains("<script>"));
        for section in ["Motivation", "Composition", "Collection", "Processing", "Uses", "Distribution", "Maintenance"]
        {
            assert!(body.contains(&format!("\n## {section}\n")), "{section}");
        }
        assert!(body.contains("at most 1 in "));
    }

    #[test]
    fn what_must_not_be_published_is_refused() {
        let (table, numbers) = (table(300), assignment(300));
        let good = receipt(&table, 5);
        let code = |table: &Table, numbers: &[u64], receipt: &Value, plan: &Plan| {
            use acequia_types::Coded;
            make(table, numbers, receipt, plan).unwrap_err().code()
        };
        let mut lying = good.clone();
        lying["policy"]["k"] = json!(200);
        assert_eq!(code(&table, &numbers, &lying, &plan()), "RE010");
        assert_eq!(code(&table, &numbers, &json!({}), &plan()), "RE009");
        let mut count = good.clone();
        count["rows"]["released"] = json!(299);
        assert_eq!(code(&table, &numbers, &count, &plan()), "RE011");
        assert_eq!(code(&table, &numbers[1..], &good, &plan()), "RE002");
        assert_eq!(
            code(
                &table,
                &[vec![1], numbers[..299].to_vec(), vec![]].concat().iter().map(|_| 1).collect::<Vec<_>>(),
                &good,
                &plan()
            ),
            "RE003"
        );
        let mut unknown = good.clone();
        unknown["quasi_identifiers"][0]["column"] = json!("age_years");
        assert_eq!(code(&table, &numbers, &unknown, &plan()), "RE009");
        let mut role = plan();
        role.columns[0].role = "insensitive".to_owned();
        assert_eq!(code(&table, &numbers, &good, &role), "RE001");
        let mut undescribed = plan();
        undescribed.columns.remove(0);
        undescribed.diversity = Default::default();
        assert_eq!(code(&table, &numbers, &good, &undescribed), "RE005");
        let fewer = table.select(&["age", "menopausal_status", "event"]).unwrap();
        assert_eq!(code(&fewer, &numbers, &good, &plan()), "RE006");
        assert_eq!(code(&table, &numbers, &good, &Plan { version: "1.0".to_owned(), ..plan() }), "RE001");
        // A card that states too little is no card; the refusal says what to add.
        let silent = Plan {
            collection: Default::default(),
            diversity: Default::default(),
            health: Default::default(),
            ..plan()
        };
        let silent = Plan { description: String::new(), keywords: Vec::new(), not_recorded: Vec::new(), ..silent };
        assert_eq!(code(&table, &numbers, &good, &silent), "RE001");
        for slip in ["foo", "cc-by-4.0", "CC-BY-4.0 ", "LicenseRef-", "LicenseRef-a/b", "MIT OR Apache-2.0", ""] {
            let slip = Plan { license: slip.to_owned(), ..plan() };
            assert_eq!(code(&table, &numbers, &good, &slip), "RE001", "{}", slip.license);
        }
        for known in ["CC0-1.0", "ODbL-1.0", "LicenseRef-trustee-2"] {
            assert!(make(&table, &numbers, &good, &Plan { license: known.to_owned(), ..plan() }).is_ok(), "{known}");
        }
        let terms = |duo: &[DuoTerm]| {
            let terms = Conditions { duo: duo.iter().copied().collect(), ..Conditions::default() };
            Plan { terms, license: "LicenseRef-data-use-agreement".to_owned(), ..plan() }
        };
        // Terms that name nobody, or a day that they do not state, could not be kept.
        for unfit in [DuoTerm::Disease, DuoTerm::Geography, DuoTerm::User, DuoTerm::TimeLimit, DuoTerm::Moratorium] {
            assert_eq!(code(&table, &numbers, &good, &terms(&[unfit])), "RE001", "{unfit:?}");
        }
        let passed_on = Plan { license: "CC-BY-4.0".to_owned(), ..terms(&[DuoTerm::NotCommercial]) };
        assert_eq!(code(&table, &numbers, &good, &passed_on), "RE001", "a licence that lets anybody have it");
        let bound = make(&table, &numbers, &good, &terms(&[DuoTerm::NotCommercial, DuoTerm::Ethics])).unwrap();
        assert_eq!(bound.manifest.terms.tier(), Tier::Controlled);
        let card = String::from_utf8_lossy(&bound.files["README.md"]).into_owned();
        assert!(card.contains("whom the trustee decided for") && card.contains("not used commercially"));
        let croissant: Value = serde_json::from_slice(&bound.files["croissant.json"]).unwrap();
        let listed: Vec<&str> =
            croissant["usageInfo"].as_array().unwrap().iter().filter_map(|one| one["termCode"].as_str()).collect();
        assert_eq!(listed, ["DUO_0000042", "DUO_0000021", "DUO_0000046"]);
        let open = make(&table, &numbers, &good, &plan()).unwrap();
        assert!(
            !String::from_utf8_lossy(&open.manifest.to_bytes()).contains("terms"),
            "what is open says nothing of it"
        );
        assert_eq!(code(&table, &numbers, &good, &Plan { title: "bell \u{7}".to_owned(), ..plan() }), "RE001");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]
        #[test]
        fn the_order_of_rows_and_batches_does_not_matter(seed: u64, cut in 1_usize..119) {
            let straight = table(120);
            let numbers = assignment(120);
            let receipt = receipt(&straight, 2);
            let mut order: Vec<u32> = (0..120).collect();
            order.sort_by_key(|row| u64::from(*row).wrapping_add(seed).wrapping_mul(0xd134_2543_de82_ef95).rotate_left(29));
            let turned: Vec<u64> = order.iter().map(|&row| numbers[row as usize]).collect();
            let batch = take_record_batch(&straight.to_batch().unwrap(), &UInt32Array::from(order)).unwrap();
            let shuffled = Table::new("cohort", vec![batch.slice(0, cut), batch.slice(cut, 120 - cut)]).unwrap();
            let a = make(&straight, &numbers, &receipt, &plan()).unwrap();
            let b = make(&shuffled, &turned, &receipt, &plan()).unwrap();
            prop_assert_eq!(a, b);
        }
    }

    /// Real sizes: the Rotterdam tumour bank in ten-year bands.
    #[test]
    fn the_rotterdam_cohort_becomes_a_version() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data/breast-cancer/rotterdam.csv");
        let Ok(text) = std::fs::read_to_string(path) else {
            println!("skipped: ../shared/data/breast-cancer/rotterdam.csv is not there");
            return;
        };
        let rows: Vec<Vec<&str>> = text.lines().skip(1).map(|line| line.split(',').collect()).collect();
        let band = |age: &str| match age.parse::<u32>().unwrap() {
            ..40 => "<40".to_owned(),
            70.. => ">=70".to_owned(),
            age => format!("{}-{}", age / 10 * 10, age / 10 * 10 + 9),
        };
        let whole =
            |at: usize| Arc::new(rows.iter().map(|row| row[at].parse::<i64>().ok()).collect::<Int64Array>()) as _;
        let age: StringArray = rows.iter().map(|row| Some(band(row[2]))).collect();
        let columns =
            [("age", Arc::new(age) as _), ("nodes", whole(6)), ("time_days", whole(11)), ("event", whole(12))];
        let table = Table::new("rotterdam", vec![RecordBatch::try_from_iter(columns).unwrap()]).unwrap();
        let mut plan = plan();
        plan.columns.retain(|column| ["age", "nodes", "time_days", "event"].contains(&column.name.as_str()));
        plan.diversity.dimensions.retain(|dimension| dimension.column != "menopausal_status");
        plan.diversity.intersections = vec![vec!["age".to_owned(), "event".to_owned()]];
        let receipt =
            json!({"policy": {"k": 12}, "quasi_identifiers": [{"column": "age"}], "rows": {"released": 2_982}});
        let parcel = make(&table, &assignment(rows.len()), &receipt, &plan).unwrap();
        assert_eq!(parcel.manifest.splits.iter().map(|(_, n)| *n).collect::<Vec<_>>(), [2_087, 448, 447]);
        let statistics = json_of(&parcel, "statistics.json");
        let nodes = statistics["columns"][1]["bins"].as_array().unwrap();
        assert!(nodes.len() <= 20 && nodes.last().unwrap()["label"].as_str().unwrap().starts_with(">="));
        let event = &statistics["columns"][3]["bins"];
        let recurred: u64 = SPLITS.iter().map(|split| event[1]["counts"][split].as_u64().unwrap()).sum();
        assert_eq!(recurred, 1_518, "recurrences in the source file");
    }
}
