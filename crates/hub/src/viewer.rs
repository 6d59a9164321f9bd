//! The data set viewer's interface: splits, sizes, features, rows and statistics as JSON, under the names and in the
//! forms of the Hub's viewer, so that tools which look into a data set before they load it work here too.
//!
//! There is one configuration, `default`. Counts are those of `statistics.json`: small ones are hidden there and are
//! left out here.

use std::sync::Arc;

use acequia_gate::ReleasedFile;
use arrow::array::{Array, RecordBatch};
use arrow::datatypes::DataType;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use serde_json::{Map, Value, json};

use crate::describe::file_iri;
use crate::facts::{Facts, list, number, text};
use crate::http::Fields;
use crate::refusal::Refusal;
use crate::selection::{Chosen, Selection};
use crate::{Catalogue, HubError, PublishedVersion, rows};

/// The name of the one configuration.
pub(crate) const CONFIG: &str = "default";
/// Most rows of an answer.
pub(crate) const MOST_ROWS: usize = 100;

/// Routes of the viewer.
pub(crate) const ROUTES: [&str; 10] =
    ["is-valid", "splits", "size", "info", "parquet", "first-rows", "rows", "filter", "search", "statistics"];

/// A version that is looked into.
#[derive(Clone, Copy)]
pub(crate) struct Viewed<'a> {
    pub(crate) version: &'a PublishedVersion,
    pub(crate) facts: &'a Facts,
    pub(crate) address: &'a str,
}

/// Which rows are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Page {
    pub(crate) offset: usize,
    pub(crate) length: usize,
}

impl Page {
    /// # Errors
    /// [`Refusal::Bad`] when a number is none or the page is too long.
    pub(crate) fn of(query: &Fields) -> Result<Self, Refusal> {
        const BAD: Refusal = Refusal::Bad { what: "offset and length must be whole numbers, and length at most 100." };
        let number = |name: &str, default| match query.get(name) {
            Some(text) => text.parse().map_err(|_| BAD),
            None => Ok(default),
        };
        let page = Self { offset: number("offset", 0)?, length: number("length", MOST_ROWS)? };
        if page.length > MOST_ROWS { Err(BAD) } else { Ok(page) }
    }
}

/// Names of the columns, by the data dictionary.
pub(crate) fn columns(facts: &Facts) -> Vec<&str> {
    list(&facts.dictionary, "/columns").iter().filter_map(|column| text(column, "/name")).collect()
}

impl<'a> Viewed<'a> {
    fn name(&self) -> String {
        self.version.manifest().dataset.to_string()
    }

    fn splits(&self) -> Vec<(&'a str, u64, Vec<&'a ReleasedFile>)> {
        let rows = |split: &str| {
            self.version.manifest().splits.iter().find(|(name, _)| name == split).map_or(0, |(_, rows)| *rows)
        };
        rows::splits(self.version).into_iter().map(|(split, files)| (split, rows(split), files)).collect()
    }

    /// Features by the data dictionary, in the order of the columns.
    fn features(&self) -> Vec<(&'a str, Value)> {
        let feature = |column: &'a Value| {
            let kind = text(column, "/type").unwrap_or("string");
            Some((text(column, "/name")?, json!({ "dtype": kind, "_type": "Value" })))
        };
        list(&self.facts.dictionary, "/columns").iter().filter_map(feature).collect()
    }

    fn features_listed(&self) -> Value {
        let listed = self.features().into_iter().enumerate();
        listed.map(|(at, (name, kind))| json!({ "feature_idx": at, "name": name, "type": kind })).collect()
    }

    fn features_by_name(&self) -> Value {
        Value::Object(self.features().into_iter().map(|(name, kind)| (name.to_owned(), kind)).collect())
    }

    /// `GET /is-valid`.
    pub(crate) fn is_valid(&self) -> Value {
        let rows = self.splits().iter().any(|(_, _, files)| !files.is_empty());
        let statistics = !list(&self.facts.statistics, "/columns").is_empty();
        let texts = rows && self.features().iter().any(|(_, kind)| kind["dtype"] == "string");
        json!({ "preview": rows, "viewer": rows, "search": texts, "filter": rows, "statistics": statistics })
    }

    /// `GET /splits`.
    pub(crate) fn splits_listed(&self) -> Value {
        let line = |(split, ..): &(&str, u64, Vec<&ReleasedFile>)| json!({ "dataset": self.name(), "config": CONFIG, "split": split });
        json!({ "splits": self.splits().iter().map(line).collect::<Vec<_>>(), "pending": [], "failed": [] })
    }

    /// Bytes of a split in memory as Arrow, as its card states them; of its files where it does not.
    fn memory_bytes(&self, split: &str, files: &[&ReleasedFile]) -> u64 {
        let stated = self.facts.brief.card.get("dataset_info").map_or(&[][..], |info| list(info, "/splits"));
        let own = stated.iter().find(|one| text(one, "/name") == Some(split));
        let bytes = own.and_then(|one| one["num_bytes"].as_u64());
        bytes.unwrap_or_else(|| files.iter().map(|file| file.bytes).sum())
    }

    /// `GET /size`.
    pub(crate) fn size(&self) -> Value {
        let bytes = |files: &[&ReleasedFile]| files.iter().map(|file| file.bytes).sum::<u64>();
        let splits = self.splits();
        let (all_rows, all_bytes) =
            (self.version.people(), splits.iter().map(|(_, _, files)| bytes(files)).sum::<u64>());
        let memory: u64 = splits.iter().map(|(split, _, files)| self.memory_bytes(split, files)).sum();
        let columns = self.features().len();
        let line = |(split, rows, files): &(&str, u64, Vec<&ReleasedFile>)| {
            json!({
                "dataset": self.name(), "config": CONFIG, "split": split, "num_bytes_parquet_files": bytes(files),
                "num_bytes_memory": self.memory_bytes(split, files), "num_rows": rows, "num_columns": columns, "estimated_num_rows": null,
            })
        };
        let whole = json!({
            "dataset": self.name(), "num_bytes_original_files": all_bytes, "num_bytes_parquet_files": all_bytes,
            "num_bytes_memory": memory, "num_rows": all_rows, "estimated_num_rows": null,
        });
        let mut config = whole.clone();
        config["config"] = CONFIG.into();
        config["num_columns"] = columns.into();
        json!({
            "size": { "dataset": whole, "configs": [config], "splits": splits.iter().map(line).collect::<Vec<_>>() },
            "pending": [], "failed": [], "partial": false,
        })
    }

    /// `GET /info`; with a configuration, that one alone.
    pub(crate) fn info(&self, one: bool) -> Value {
        let manifest = self.version.manifest();
        let short = self.name().rsplit('/').next().unwrap_or_default().to_owned();
        let splits = self.splits().into_iter().map(|(split, rows, files)| {
            let bytes = self.memory_bytes(split, &files);
            let told = json!({ "name": split, "num_bytes": bytes, "num_examples": rows, "dataset_name": short });
            (split.to_owned(), told)
        });
        let splits: Map<String, Value> = splits.collect();
        let memory: u64 = splits.values().filter_map(|split| split["num_bytes"].as_u64()).sum();
        let info = json!({
            "description": manifest.summary,
            "citation": text(&self.facts.croissant, "/citeAs").unwrap_or_default(),
            "homepage": format!("{}/datasets/{}", self.address, self.name()),
            "license": manifest.license,
            "features": self.features_by_name(),
            "builder_name": "parquet",
            "dataset_name": short,
            "config_name": CONFIG,
            "version": { "version_str": manifest.version },
            "splits": splits,
            "download_size": self.splits().iter().flat_map(|(_, _, files)| files).map(|file| file.bytes).sum::<u64>(),
            "dataset_size": memory,
        });
        let info = if one { info } else { json!({ CONFIG: info }) };
        json!({ "dataset_info": info, "pending": [], "failed": [], "partial": false })
    }

    /// `GET /parquet`.
    pub(crate) fn parquet(&self) -> Value {
        let line = |split: &str, file: &ReleasedFile| {
            json!({
                "dataset": self.name(), "config": CONFIG, "split": split, "url": file_iri(self.address, self.version, file),
                "filename": file.path.rsplit('/').next(), "size": file.bytes,
            })
        };
        let files = self
            .splits()
            .into_iter()
            .flat_map(|(split, _, files)| files.into_iter().map(|file| line(split, file)).collect::<Vec<_>>());
        let files: Vec<Value> = files.collect();
        json!({
            "parquet_files": files, "features": { CONFIG: self.features_by_name() }, "pending": [], "failed": [], "partial": false,
        })
    }

    /// The files and the number of rows of a split.
    ///
    /// # Errors
    /// [`Refusal::Entry`] when there is no such split or configuration.
    pub(crate) fn split(&self, query: &Fields) -> Result<(&'a str, u64, Vec<&'a ReleasedFile>), Refusal> {
        let absent = || Refusal::Entry { commit: self.version.commit().to_owned() };
        if query.get("config").is_some_and(|config| config != CONFIG) {
            return Err(absent());
        }
        const NEEDED: Refusal = Refusal::Bad { what: "Name a split, for instance split=train." };
        let wanted = query.get("split").ok_or(NEEDED)?;
        self.splits().into_iter().find(|(split, ..)| *split == wanted).ok_or_else(absent)
    }

    /// `GET /rows`, and `GET /first-rows` when `first`.
    pub(crate) fn rows(&self, split: &str, total: u64, page: Page, read: &[RecordBatch], first: bool) -> Value {
        let read: Vec<Map<String, Value>> = read.iter().flat_map(records).collect();
        let rows = read
            .into_iter()
            .enumerate()
            .map(|(at, row)| json!({ "row_idx": page.offset + at, "row": row, "truncated_cells": [] }));
        let rows: Vec<Value> = rows.collect();
        if first {
            return json!({
                "dataset": self.name(), "config": CONFIG, "split": split, "features": self.features_listed(),
                "truncated": (rows.len() as u64) < total, "rows": rows,
            });
        }
        json!({
            "features": self.features_listed(), "rows": rows, "num_rows_total": total,
            "num_rows_per_page": MOST_ROWS, "partial": false,
        })
    }

    /// What `GET /filter` or `GET /search` chooses by.
    ///
    /// # Errors
    /// [`Refusal::Bad`] for words or a condition that cannot be read.
    pub(crate) fn selection(&self, route: &str, query: &Fields) -> Result<Selection, Refusal> {
        if route == "search" {
            return Selection::of_words(query.get("query").unwrap_or_default());
        }
        let columns = columns(self.facts);
        let given = |name: &str| query.get(name).filter(|text| !text.trim().is_empty());
        Selection::of_condition(given("where"), given("orderby"), &columns)
    }

    /// `GET /filter` and `GET /search`.
    pub(crate) fn chosen(&self, chosen: Chosen) -> Value {
        let rows =
            chosen.records.into_iter().map(|(at, row)| json!({ "row_idx": at, "row": row, "truncated_cells": [] }));
        json!({
            "features": self.features_listed(), "rows": rows.collect::<Vec<_>>(), "num_rows_total": chosen.total,
            "num_rows_per_page": MOST_ROWS, "partial": chosen.partial,
        })
    }

    /// `GET /statistics` of a split, from the counts that the version publishes.
    pub(crate) fn statistics(&self, split: &str, rows: u64) -> Value {
        let columns = list(&self.facts.statistics, "/columns").iter();
        let columns: Vec<Value> = columns.filter_map(|column| self.column(column, split, rows)).collect();
        json!({ "num_examples": rows, "statistics": columns, "partial": false })
    }

    fn column(&self, column: &Value, split: &str, rows: u64) -> Option<Value> {
        let name = text(column, "/name")?;
        let kind = self.features().into_iter().find(|(own, _)| *own == name).map(|(_, kind)| kind);
        let kind = kind.as_ref().and_then(|kind| text(kind, "/dtype").map(str::to_owned)).unwrap_or_default();
        let missing = column["missing"].get(split).and_then(Value::as_u64);
        let share = |count: Option<u64>| count.filter(|_| rows > 0).map(|count| count as f64 / rows as f64);
        let bins = list(column, "/bins");
        let of = |bin: &Value| bin["counts"].get(split).and_then(Value::as_u64);
        let (column_type, statistics) = if text(column, "/kind") == Some("number") {
            let edges: Vec<Value> =
                bins.iter().map(|bin| bin["low"].clone()).chain(bins.last().map(|bin| bin["high"].clone())).collect();
            let told = json!({
                "nan_count": missing, "nan_proportion": share(missing),
                // Extremes are those of single people and are not published as statistics.
                "min": null, "max": null, "std": null,
                "mean": number(column, &format!("/mean/{split}")), "median": number(column, &format!("/median/{split}")),
                "histogram": { "hist": bins.iter().map(of).collect::<Vec<_>>(), "bin_edges": edges },
            });
            (if kind.starts_with("float") { "float" } else { "int" }, told)
        } else {
            let shown = bins.iter().filter_map(|bin| Some((text(bin, "/value")?.to_owned(), Value::from(of(bin)?))));
            let frequencies: Map<String, Value> = shown.collect();
            // Values that occur in this split. Of a hidden count nobody knows whether it is none, and of "other" which
            // values it holds.
            let all: Option<Vec<u64>> = bins.iter().map(|bin| of(bin).filter(|_| bin["value"].is_string())).collect();
            let different = all.map(|counts| counts.into_iter().filter(|count| *count > 0).count());
            if kind == "bool" {
                let named = |name: &str| frequencies.get(name).cloned();
                let told = json!({
                    "nan_count": missing, "nan_proportion": share(missing),
                    "frequencies": { "True": named("true"), "False": named("false") },
                });
                ("bool", told)
            } else {
                let told = json!({
                    "nan_count": missing, "nan_proportion": share(missing), "no_label_count": 0, "no_label_proportion": 0.0,
                    "n_unique": different, "frequencies": frequencies,
                });
                ("string_label", told)
            }
        };
        Some(json!({ "column_name": name, "column_type": column_type, "column_statistics": statistics }))
    }
}

/// Reads a page of a split over its files. Blocks: call it off the async threads.
///
/// # Errors
/// [`HubError::Unreadable`].
pub(crate) fn read(
    catalogue: &Arc<dyn Catalogue>,
    files: &[ReleasedFile],
    page: Page,
) -> Result<Vec<RecordBatch>, HubError> {
    let (mut skip, mut left) = (page.offset, page.length);
    let mut all = Vec::new();
    for file in files {
        if left == 0 {
            break;
        }
        let own = usize::try_from(rows::open(catalogue, file)?.metadata().file_metadata().num_rows()).unwrap_or(0);
        if skip >= own {
            skip -= own;
            continue;
        }
        let batches = rows::slice(catalogue, file, skip, left)?;
        left -= batches.iter().map(RecordBatch::num_rows).sum::<usize>().min(left);
        skip = 0;
        all.extend(batches);
    }
    Ok(all)
}

/// Rows as JSON objects, columns in their order.
pub(crate) fn records(batch: &RecordBatch) -> Vec<Map<String, Value>> {
    let schema = batch.schema();
    let columns: Vec<(&str, Vec<Value>)> = schema
        .fields()
        .iter()
        .zip(batch.columns())
        .map(|(field, column)| (field.name().as_str(), values(column)))
        .collect();
    let row = |at: usize| columns.iter().map(|(name, values)| ((*name).to_owned(), values[at].clone())).collect();
    (0..batch.num_rows()).map(row).collect()
}

/// Values as JSON has them: numbers and truth values as such, all else as text.
fn values(column: &dyn Array) -> Vec<Value> {
    let options = FormatOptions::default();
    let Ok(formatter) = ArrayFormatter::try_new(column, &options) else { return vec![Value::Null; column.len()] };
    let value = |at: usize| {
        if column.is_null(at) {
            return Value::Null;
        }
        let text = formatter.value(at).to_string();
        match column.data_type() {
            DataType::Boolean => text.parse().map_or(Value::Null, Value::Bool),
            kind if kind.is_integer() => {
                text.parse::<i64>().map_or_else(|_| text.parse::<u64>().map_or(Value::Null, Value::from), Value::from)
            }
            // What is no number in JSON, such as NaN, is none.
            kind if kind.is_floating() => text.parse::<f64>().map_or(Value::Null, Value::from),
            _ => text.into(),
        }
    };
    (0..column.len()).map(value).collect()
}
