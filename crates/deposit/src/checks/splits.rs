//! Whether the splits of a data set can be read, and nobody is in two of them.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use acequia_hub::wire::front_matter;
use serde_json::Value;

use super::rows::{self, Table};
use super::{CARD, Finding};
use crate::stow::SealedFile;

/// Splits of one configuration: names with the files of each.
type Splits<'f> = BTreeMap<String, Vec<&'f str>>;

/// Words that name a split in a path, where the card names none.
const WORDS: [(&str, &[&str]); 3] = [
    ("train", &["train", "training"]),
    ("validation", &["validation", "valid", "val", "dev"]),
    ("test", &["test", "testing", "eval"]),
];

/// Whether a path fits a pattern: `*` and `?` stop at slashes, `**` does not.
fn fits(pattern: &[u8], path: &[u8]) -> bool {
    match pattern {
        [] => path.is_empty(),
        [b'*', b'*', b'/', rest @ ..] if fits(rest, path) => true,
        [b'*', b'*', rest @ ..] => (0..=path.len()).any(|at| fits(rest, &path[at..])),
        [b'*', rest @ ..] => {
            let end = path.iter().position(|byte| *byte == b'/').unwrap_or(path.len());
            (0..=end).any(|at| fits(rest, &path[at..]))
        }
        [b'?', rest @ ..] => path.first().is_some_and(|byte| *byte != b'/') && fits(rest, &path[1..]),
        [byte, rest @ ..] => path.first() == Some(byte) && fits(rest, &path[1..]),
    }
}

/// Longest pattern, and most wildcards in one: trying all ways must end.
const LONGEST_PATTERN: usize = 256;
const MOST_WILDCARDS: usize = 4;

fn patterns(value: &Value) -> Vec<&str> {
    match value {
        Value::String(one) => vec![one],
        Value::Array(many) => many.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

/// The splits that the card names, by configuration.
fn stated<'f>(
    card: &str,
    files: &'f BTreeMap<String, Arc<SealedFile>>,
    findings: &mut Vec<Finding>,
) -> Vec<(String, Splits<'f>)> {
    let front = front_matter(card);
    let configs = front.get("configs").and_then(Value::as_array).cloned().unwrap_or_default();
    let mut all = Vec::new();
    for config in &configs {
        let name = config.get("config_name").and_then(Value::as_str).unwrap_or("default").to_owned();
        let mut splits = Splits::new();
        let listed = match config.get("data_files") {
            Some(Value::Array(entries)) if entries.iter().all(Value::is_object) => entries
                .iter()
                .map(|entry| (entry.get("split").and_then(Value::as_str).unwrap_or("train"), &entry["path"]))
                .collect(),
            Some(value @ (Value::String(_) | Value::Array(_))) => vec![("train", value)],
            _ => Vec::new(),
        };
        for (split, value) in listed {
            for pattern in patterns(value) {
                let plain = pattern.strip_prefix("./").unwrap_or(pattern);
                let wildcards = plain.bytes().filter(|byte| matches!(byte, b'*' | b'?')).count();
                let found: Vec<&str> = match plain.len() <= LONGEST_PATTERN && wildcards <= MOST_WILDCARDS {
                    true => files
                        .keys()
                        .map(String::as_str)
                        .filter(|path| fits(plain.as_bytes(), path.as_bytes()))
                        .collect(),
                    false => Vec::new(),
                };
                if found.is_empty() {
                    let what = format!("names files for the split {split} that are not there");
                    findings.push(Finding::new(CARD.to_owned(), what));
                }
                splits.entry(split.to_owned()).or_default().extend(found);
            }
        }
        if !splits.is_empty() {
            all.push((name, splits));
        }
    }
    all
}

/// The splits that names of files tell, as `datasets` reads them.
fn guessed(files: &BTreeMap<String, Arc<SealedFile>>) -> Splits<'_> {
    let mut splits = Splits::new();
    for path in files.keys().filter(|path| path.ends_with(".parquet")) {
        let mut words = path.split(|c: char| !c.is_ascii_alphanumeric());
        let split = words.find_map(|word| WORDS.iter().find(|(_, all)| all.contains(&word)).map(|(split, _)| *split));
        splits.entry(split.unwrap_or("train").to_owned()).or_default().push(path);
    }
    splits
}

/// Everything that is wrong with the splits.
pub(crate) fn check(card: &str, files: &BTreeMap<String, Arc<SealedFile>>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut configs = stated(card, files, &mut findings);
    if configs.is_empty() {
        configs.push(("default".to_owned(), guessed(files)));
    }
    let front = front_matter(card);
    let person = front.get("acequia").and_then(|own| own.get("person_id_column")).and_then(Value::as_str);
    let mut opened: BTreeMap<&str, Option<Table>> = BTreeMap::new();
    for (config, splits) in &configs {
        if splits.values().all(Vec::is_empty) {
            findings.push(Finding::new(None, "there is no split: a data set is handed in as Parquet"));
            continue;
        }
        let mut readable = true;
        for path in splits.values().flatten().copied() {
            let table = opened.entry(path).or_insert_with(|| match open(path, &files[path]) {
                Ok(table) => Some(table),
                Err(what) => {
                    findings.push(Finding::new(path.to_owned(), what));
                    None
                }
            });
            readable &= table.is_some();
        }
        if !readable {
            continue;
        }
        let tables: BTreeMap<&str, Vec<&Table>> = splits
            .iter()
            .map(|(split, paths)| {
                let different: BTreeSet<&str> = paths.iter().copied().collect();
                (split.as_str(), different.into_iter().filter_map(|path| opened[path].as_ref()).collect())
            })
            .collect();
        let of = |what: String| if configs.len() > 1 { format!("{what} (configuration {config})") } else { what };
        let columns: BTreeSet<Vec<String>> = tables.values().flatten().map(|table| table.columns()).collect();
        if columns.len() > 1 {
            findings.push(Finding::new(None, of("the splits do not have the same columns".to_owned())));
            continue;
        }
        if let Some(person) = person
            && !columns.iter().flatten().any(|column| column == person)
        {
            findings.push(Finding::new(CARD.to_owned(), "names a `person_id_column` that the splits do not have"));
            continue;
        }
        let compared = std::panic::catch_unwind(AssertUnwindSafe(|| rows::in_two_splits(&tables, person)));
        match compared {
            Ok(Ok(both)) => findings.extend(both.into_iter().map(|((one, other), count)| {
                let what = match person {
                    Some(_) => format!("{count} persons are in both {one} and {other}"),
                    None => format!(
                        "{count} rows are the same in {one} and {other}; if they are of different persons, name the column that tells them apart as `person_id_column` under `acequia:` in the card"
                    ),
                };
                Finding::new(None, of(what))
            })),
            Ok(Err(what)) => findings.push(Finding::new(None, of(what.to_owned()))),
            Err(_) => findings.push(Finding::new(None, of("rows of a split cannot be read".to_owned()))),
        }
    }
    findings
}

fn open(path: &str, file: &Arc<SealedFile>) -> Result<Table, String> {
    if !path.ends_with(".parquet") {
        return Err("is a file of a split and no Parquet".to_owned());
    }
    // A reader that panics at damaged bytes says the same as one that does not.
    let read = || {
        let table = Table::open(file)?;
        table.read_all()?;
        Ok(table)
    };
    std::panic::catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|_| Err("cannot be read as Parquet".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_as_clients_mean_them() {
        let fit = |pattern: &str, path: &str| fits(pattern.as_bytes(), path.as_bytes());
        assert!(fit("data/train-*", "data/train-00000-of-00001.parquet"));
        assert!(fit("**/*.parquet", "a/b/c.parquet") && fit("**/*.parquet", "c.parquet"));
        assert!(fit("data/*.parquet", "data/x.parquet") && !fit("data/*.parquet", "data/x/y.parquet"));
        assert!(fit("a?c", "abc") && !fit("a?c", "a/c") && !fit("train", "train2"));
    }
}
