//! Rechecking a published version from its manifest and its bytes alone.

use std::collections::{BTreeMap, BTreeSet};

use acequia_frame::Table;
use acequia_gate::{Artefact, Manifest, ReleasedFile};
use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;

use crate::croissant::listed;
use crate::dictionary::{self, Dictionary, columns_of};
use crate::diversity::{self, Diversity};
use crate::make::{MANIFEST_SCHEMA, json_bytes, parquet_path};
use crate::receipt::Receipt;
use crate::split::SPLITS;
use crate::statistics::statistics;
use crate::{ReleaseError, rows};

/// What was rechecked, in the order it was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// Every check, held or not.
    pub checks: Vec<Check>,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was checked, such as `file data/train-00000-of-00001.parquet`.
    pub name: String,
    /// Whether it held.
    pub held: bool,
    /// What was found: counts, sizes, digests.
    pub detail: String,
}

impl Verification {
    /// Whether every check held.
    pub fn held(&self) -> bool {
        self.checks.iter().all(|check| check.held)
    }

    /// Adds a check: what was found, or what is wrong.
    pub fn put(&mut self, name: &str, outcome: Result<String, String>) {
        let held = outcome.is_ok();
        let detail = outcome.unwrap_or_else(|problem| problem);
        self.checks.push(Check { name: name.to_owned(), held, detail });
    }
}

/// Rechecks a version: every listed file is there with its size and digests, the manifest is the one stored beside them,
/// and what the files say follows from the rows (split sizes, equivalence classes, statistics, diversity counts,
/// dictionary, Croissant).
///
/// `read` gives a file's bytes by its path in the version. Splits cannot be checked for being disjoint by person, since
/// assignment numbers are not published; [`crate::release`] refuses to make a version where they are not. To find files
/// that the manifest does not list, use [`verify_listed`].
pub fn verify(manifest: &Manifest, read: impl Fn(&str) -> Option<Bytes>) -> Verification {
    recheck(manifest, &read)
}

/// [`verify`], and that `paths`, all files there are, holds nothing but the listed files and `manifest.json`.
pub fn verify_listed(
    manifest: &Manifest,
    paths: &BTreeSet<String>,
    read: impl Fn(&str) -> Option<Bytes>,
) -> Verification {
    let mut verification = recheck(manifest, &read);
    let listed: BTreeSet<&str> = manifest.files.iter().map(|file| file.path.as_str()).collect();
    let extra = paths.iter().filter(|path| *path != "manifest.json" && !listed.contains(path.as_str())).count();
    let outcome = if extra == 0 {
        Ok(format!("{} files and manifest.json", listed.len()))
    } else {
        Err(format!("{extra} files are not listed in the manifest"))
    };
    verification.put("no other file", outcome);
    verification
}

fn recheck(manifest: &Manifest, read: &dyn Fn(&str) -> Option<Bytes>) -> Verification {
    let mut verification = Verification { checks: Vec::new() };
    verification.put("manifest layout", manifest_layout(manifest));
    verification.put("manifest.json", manifest_bytes(manifest, read));
    for file in &manifest.files {
        verification.put(&format!("file {}", file.path), file_bytes(file, read));
    }
    if manifest.artefact == Artefact::Model {
        crate::model::recheck(manifest, read, &mut verification);
        return verification;
    }
    let tables = splits(manifest, read);
    verification
        .put("rows per split", tables.as_ref().map_err(Clone::clone).and_then(|tables| split_rows(manifest, tables)));
    for (name, check) in CONTENT_CHECKS {
        let outcome = match &tables {
            Ok(tables) => check(manifest, tables, read),
            Err(problem) => Err(problem.clone()),
        };
        verification.put(name, outcome);
    }
    verification
}

type Read<'a> = &'a dyn Fn(&str) -> Option<Bytes>;
type ContentCheck = fn(&Manifest, &[Table], Read<'_>) -> Result<String, String>;

/// Checks of what files say against the rows. To add one: a function and a line here.
const CONTENT_CHECKS: [(&str, ContentCheck); 6] = [
    ("dictionary.json describes the columns", dictionary_columns),
    ("statistics.json follows from the rows", statistics_again),
    ("diversity.json follows from the rows", diversity_again),
    ("k-anonymity recounted", classes_again),
    ("croissant.json digests", croissant_digests),
    ("README.md states the splits", card_splits),
];

fn manifest_layout(manifest: &Manifest) -> Result<String, String> {
    if manifest.schema != MANIFEST_SCHEMA {
        return Err(format!("the layout is not {MANIFEST_SCHEMA}"));
    }
    if !manifest.files.is_sorted_by(|a, b| a.path < b.path) {
        return Err("files are not sorted by path, or one is listed twice".to_owned());
    }
    let unsafe_path = |path: &str| {
        path.is_empty()
            || path.starts_with('/')
            || path.split('/').any(|part| matches!(part, "" | "." | ".."))
            || path.contains(['\\', '\0', ':'])
            || path == "manifest.json"
    };
    if manifest.files.iter().any(|file| unsafe_path(&file.path)) {
        return Err("a path is not a relative path inside the version".to_owned());
    }
    let splits: Vec<String> = SPLITS.iter().map(|split| parquet_path(split)).collect();
    let others: &[&str] = match manifest.artefact {
        Artefact::Dataset => {
            &["README.md", "croissant.json", "dictionary.json", "diversity.json", "risk.json", "statistics.json"]
        }
        Artefact::Model => &["README.md", "card.json", "model.json", "model.onnx", "model.safetensors", "bom.cdx.json"],
    };
    let splits = splits.iter().map(String::as_str).filter(|_| manifest.artefact == Artefact::Dataset);
    for path in splits.chain(others.iter().copied()) {
        if !manifest.files.iter().any(|file| file.path == path) {
            return Err(format!("{path} is not listed"));
        }
    }
    Ok(format!("{} files", manifest.files.len()))
}

fn manifest_bytes(manifest: &Manifest, read: Read<'_>) -> Result<String, String> {
    let stored = read("manifest.json").ok_or("missing")?;
    if stored.as_ref() == manifest.to_bytes() {
        Ok(format!("sha256 {}", manifest.digest()))
    } else {
        Err("differs from the manifest being checked".to_owned())
    }
}

fn file_bytes(file: &ReleasedFile, read: Read<'_>) -> Result<String, String> {
    let bytes = read(&file.path).ok_or("missing")?;
    let found = ReleasedFile::of(&file.path, &bytes);
    if found.bytes != file.bytes {
        return Err(format!("{} bytes instead of {}", found.bytes, file.bytes));
    }
    if found.sha256 != file.sha256 {
        return Err(format!("sha256 {} instead of {}", found.sha256, file.sha256));
    }
    if found.git_oid != file.git_oid {
        return Err(format!("git object id {} instead of {}", found.git_oid, file.git_oid));
    }
    Ok(format!("{} bytes, sha256 {}", file.bytes, file.sha256))
}

/// The rows. Bytes that are not the listed ones are not even parsed: nothing they say would be about this version.
fn splits(manifest: &Manifest, read: Read<'_>) -> Result<Vec<Table>, String> {
    let mut tables = Vec::with_capacity(SPLITS.len());
    for split in SPLITS {
        let path = parquet_path(split);
        let listed =
            manifest.files.iter().find(|file| file.path == path).ok_or_else(|| format!("{path} is not listed"))?;
        let bytes = read(&path).ok_or_else(|| format!("{path} is missing"))?;
        if ReleasedFile::of(&path, &bytes) != *listed {
            return Err(format!("not checked: {path} is not the listed file"));
        }
        tables.push(Table::from_parquet(split, bytes).map_err(|_| format!("{path} is not readable as Parquet"))?);
    }
    Ok(tables)
}

fn split_rows(manifest: &Manifest, tables: &[Table]) -> Result<String, String> {
    let found: Vec<(String, u64)> = tables.iter().map(|table| (table.name().to_owned(), table.rows() as u64)).collect();
    let words: Vec<String> = found.iter().map(|(name, rows)| format!("{name} {rows}")).collect();
    if found == manifest.splits { Ok(words.join(", ")) } else { Err(format!("found {}", words.join(", "))) }
}

fn json(path: &str, read: Read<'_>) -> Result<Value, String> {
    let bytes = read(path).ok_or_else(|| format!("{path} is missing"))?;
    serde_json::from_slice(&bytes).map_err(|_| format!("{path} is not JSON"))
}

fn read_dictionary(read: Read<'_>) -> Result<Dictionary, String> {
    let dictionary: Dictionary =
        serde_json::from_value(json("dictionary.json", read)?).map_err(|_| "dictionary.json has another layout")?;
    if dictionary.schema == dictionary::SCHEMA {
        Ok(dictionary)
    } else {
        Err("dictionary.json has another layout".to_owned())
    }
}

fn dictionary_columns(_: &Manifest, tables: &[Table], read: Read<'_>) -> Result<String, String> {
    let described = read_dictionary(read)?.columns();
    for table in tables {
        if columns_of(table.schema()) != described {
            return Err(format!("the columns of {} are not those of the dictionary", table.name()));
        }
    }
    Ok(format!("{} columns", described.len()))
}

fn statistics_again(_: &Manifest, tables: &[Table], read: Read<'_>) -> Result<String, String> {
    let dictionary = read_dictionary(read)?;
    let minimum =
        json("statistics.json", read)?.get("minimum_cell").and_then(Value::as_u64).ok_or("no minimum_cell")?;
    let named: Vec<(&str, &Table)> = tables.iter().map(|table| (table.name(), table)).collect();
    let again = statistics(&named, &dictionary, minimum).map_err(|error| error.to_string())?;
    let again = json_bytes(&again).ok_or("cannot be written")?;
    if read("statistics.json").is_some_and(|stored| stored.as_ref() == again) {
        Ok(format!("recomputed for {} columns, the same bytes", dictionary.columns.len()))
    } else {
        Err("recomputed statistics differ".to_owned())
    }
}

fn diversity_again(_: &Manifest, tables: &[Table], read: Read<'_>) -> Result<String, String> {
    let report: Diversity =
        serde_json::from_value(json("diversity.json", read)?).map_err(|_| "diversity.json has another layout")?;
    if report.schema != diversity::SCHEMA {
        return Err("diversity.json has another layout".to_owned());
    }
    let union: Vec<&Table> = tables.iter().collect();
    let wrong = diversity::disagreements(&report, &union).map_err(|error| error.to_string())?;
    if wrong.is_empty() {
        Ok(format!("counts of {} dimensions recounted", report.dimensions.len()))
    } else {
        Err(format!("counts differ for {}", wrong.join(", ")))
    }
}

fn classes_again(_: &Manifest, tables: &[Table], read: Read<'_>) -> Result<String, String> {
    let receipt = json("risk.json", read)?;
    let receipt = Receipt(&receipt);
    let words = |error: ReleaseError| error.to_string();
    let k = receipt.k().map_err(words)?;
    let columns = receipt.quasi_identifiers().map_err(words)?;
    let sizes = rows::class_sizes(tables, &columns).map_err(words)?;
    let released: u64 = sizes.iter().sum();
    let smallest = sizes.first().copied().unwrap_or(0);
    if smallest < k {
        return Err(format!("the smallest class has {smallest} rows, k is {k}"));
    }
    let most = receipt.real("/policy/maximum_risk").unwrap_or(1.0);
    let highest = if smallest == 0 { 0.0 } else { 1.0 / real(smallest) };
    if highest > most {
        return Err(format!("the highest risk is 1 in {smallest}, the policy allows {most}"));
    }
    let mean = if released == 0 { 0.0 } else { real(sizes.len() as u64) / real(released) };
    let at_risk: u64 = sizes.iter().filter(|size| 1.0 / real(**size) > most).sum();
    for (what, pointer, found) in [
        ("highest prosecutor risk", "/risk/prosecutor/maximum", highest),
        ("mean prosecutor risk", "/risk/prosecutor/average", mean),
        ("share of rows at risk", "/risk/prosecutor/at_risk_share", real(at_risk) / real(released.max(1))),
        ("highest journalist risk", "/risk/journalist/maximum", highest),
        ("mean journalist risk", "/risk/journalist/average", mean),
        ("marketer risk", "/risk/marketer/average", mean),
        ("mean rows of a class", "/classes/average", real(released) / real(sizes.len().max(1) as u64)),
    ] {
        if receipt.real(pointer).is_some_and(|stated| (stated - found).abs() > 1e-9 * found.abs().max(1.0)) {
            return Err(format!("recounted {what}: risk.json states another number"));
        }
    }
    let mut by_size: BTreeMap<u64, u64> = BTreeMap::new();
    sizes.iter().for_each(|size| *by_size.entry(*size).or_default() += 1);
    let number = |entry: &Value, key: &str| entry.get(key).and_then(Value::as_u64);
    let stated: Option<Vec<(u64, u64)>> = receipt
        .list("/classes/sizes")
        .iter()
        .map(|entry| Some((number(entry, "size")?, number(entry, "classes")?)))
        .collect();
    if stated.is_some_and(|stated| !stated.is_empty() && !stated.into_iter().eq(by_size)) {
        return Err("recounted sizes of classes: risk.json states others".to_owned());
    }
    for (what, pointer, found) in [
        ("rows", "/rows/released", released),
        ("classes", "/classes/count", sizes.len() as u64),
        ("rows in the smallest class", "/classes/smallest", smallest),
    ] {
        if receipt.whole(pointer).is_some_and(|stated| stated != found) {
            return Err(format!("{found} {what}, risk.json states another number"));
        }
    }
    Ok(format!("{} classes over {} columns, the smallest has {smallest} rows, k is {k}", sizes.len(), columns.len()))
}

#[expect(clippy::cast_precision_loss, reason = "counts of rows are far below 2^53")]
fn real(count: u64) -> f64 {
    count as f64
}

fn croissant_digests(manifest: &Manifest, _: &[Table], read: Read<'_>) -> Result<String, String> {
    let document = json("croissant.json", read)?;
    let listed = listed(&document);
    for file in manifest.files.iter().filter(|file| file.path != "croissant.json") {
        let digest = listed.iter().find(|(path, _)| *path == file.path).map(|(_, digest)| *digest);
        if digest != Some(file.sha256.to_string().as_str()) {
            return Err(format!("croissant.json states no or another digest for {}", file.path));
        }
    }
    if listed.len() + 1 != manifest.files.len() {
        return Err("croissant.json lists a file that the manifest does not".to_owned());
    }
    Ok(format!("{} digests", listed.len()))
}

fn card_splits(_: &Manifest, tables: &[Table], read: Read<'_>) -> Result<String, String> {
    let bytes = read("README.md").ok_or("README.md is missing")?;
    let text = std::str::from_utf8(&bytes).map_err(|_| "README.md is not UTF-8")?;
    for table in tables {
        let line = format!("    num_examples: {}\n", table.rows());
        let name = format!("  - name: {}\n", table.name());
        let stated = text.split_once(&name).and_then(|(_, rest)| rest.split_once("num_examples"));
        let stated = stated.map(|(_, rest)| format!("    num_examples{}\n", rest.lines().next().unwrap_or_default()));
        if stated.as_deref() != Some(line.as_str()) {
            return Err(format!("README.md states another number of rows for {}", table.name()));
        }
    }
    Ok("the front matter agrees with the files".to_owned())
}
