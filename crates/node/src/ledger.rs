//! The release ledger: what is in which version, so that a new version is judged together with every earlier one.
//!
//! Each version keeps the groups it promises, but two together may not: when one person leaves, the rows that differ are
//! that person's. So a version is refused when, compared with any earlier version of the data set, fewer persons joined
//! or left than make a group; and its rows are recoded and withheld so that nobody can be told apart by the classes that the
//! person was in over all versions (`acequia_privacy::republication`). Persons are
//! their assignment numbers, which stay the same from version to version. Lists and rows lie sealed.

use std::collections::BTreeSet;
use std::sync::Arc;

use acequia_deidentify::{Deidentified, EarlierRows, EarlierVersion};
use acequia_frame::Table;
use acequia_store::Release;
use acequia_types::Digest;
use arrow::array::{ArrayRef, AsArray, RecordBatch, UInt64Array};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, UInt64Type};
use serde_json::{Value, json};

use crate::failure::{Failure, NodeError};
use crate::home::Node;
use crate::pipeline::ASSIGNMENT;

const CONTEXT: &str = "release/ledger";
const ROWS_CONTEXT: &str = "release/ledger/rows";
/// Column of the sealed rows with the person; no column of a released table begins with this character.
const PERSON: &str = "\u{0}person";

/// Assignment numbers of everybody in a cohort.
pub(crate) fn persons(cohort: &Table) -> Result<BTreeSet<i64>, Failure> {
    let column = cohort.column(ASSIGNMENT)?;
    Ok(column.as_primitive::<Int64Type>().values().iter().copied().collect())
}

/// Everything sealed that the ledger holds of a version.
pub(crate) fn sealed_of(release: &Release) -> impl Iterator<Item = Digest> {
    [list_of(release), rows_of(release), acequia_vault::sealed_subjects(release)].into_iter().flatten()
}

fn digest_in(release: &Release, key: &str) -> Option<Digest> {
    release.detail.get(key).and_then(Value::as_str).and_then(|text| Digest::parse(text).ok())
}

/// Who is in the cohort of a version: assignment numbers of 8 bytes, little-endian.
fn list_of(release: &Release) -> Option<Digest> {
    digest_in(release, "ledger")
}

/// The rows of a version with their persons; versions of older programs have none.
fn rows_of(release: &Release) -> Option<Digest> {
    digest_in(release, "ledger_rows")
}

/// A released table with the person of each row.
fn with_persons(safe: &Deidentified) -> Result<Table, Failure> {
    let batch = safe.table().to_batch()?;
    let mut fields: Vec<_> = batch.schema().fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new(PERSON, DataType::UInt64, false)));
    let mut columns = batch.columns().to_vec();
    columns.push(Arc::new(UInt64Array::from(safe.assignment().to_vec())) as ArrayRef);
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns);
    let batch = batch.map_err(|_| NodeError::Work { step: "ledger".to_owned() })?;
    Ok(Table::new("ledger", vec![batch])?)
}

impl Node {
    /// Seals who is in a version and what its rows hold. Gives what the record of the version says about it.
    pub(crate) fn keep_ledger(&self, persons: &BTreeSet<i64>, safe: &Deidentified) -> Result<Value, Failure> {
        let bytes: Vec<u8> = persons.iter().flat_map(|person| person.to_le_bytes()).collect();
        let list = self.vault.seal_lasting(CONTEXT, &bytes)?;
        let rows = self.vault.seal_lasting(ROWS_CONTEXT, &with_persons(safe)?.to_parquet()?)?;
        let quasi_identifiers: Vec<&str> =
            safe.receipt().quasi_identifiers.iter().map(|column| column.column.as_str()).collect();
        Ok(json!({
            "ledger": list.to_string(),
            "ledger_rows": rows.to_string(),
            "ledger_quasi_identifiers": quasi_identifiers,
        }))
    }

    /// What is known of the earlier versions, in the order given. A version from before there was a ledger is left out.
    pub(crate) fn open_ledger(&self, earlier: &[Release]) -> Result<Vec<EarlierVersion>, Failure> {
        let mut versions = Vec::with_capacity(earlier.len());
        for release in earlier {
            match (rows_of(release), list_of(release)) {
                (Some(rows), _) => versions.push(self.open_rows(release, &rows)?),
                (None, Some(list)) => {
                    let persons = self.open_list(&list)?;
                    let assignment = persons.into_iter().filter_map(|person| u64::try_from(person).ok()).collect();
                    versions.push(EarlierVersion { assignment, rows: None });
                }
                (None, None) => {}
            }
        }
        Ok(versions)
    }

    fn open_list(&self, list: &Digest) -> Result<BTreeSet<i64>, Failure> {
        let bytes = self.vault.open_lasting(CONTEXT, list)?;
        let (numbers, _) = bytes.as_chunks::<8>();
        Ok(numbers.iter().map(|number| i64::from_le_bytes(*number)).collect())
    }

    fn open_rows(&self, release: &Release, rows: &Digest) -> Result<EarlierVersion, Failure> {
        let damaged = || NodeError::Work { step: "ledger".to_owned() };
        let bytes = self.vault.open_lasting(ROWS_CONTEXT, rows)?;
        let table = Table::from_parquet("ledger", bytes::Bytes::copy_from_slice(&bytes)).map_err(|_| damaged())?;
        let persons = table.column(PERSON)?;
        let persons = persons.as_primitive_opt::<UInt64Type>().ok_or_else(damaged)?;
        let names = release.detail["ledger_quasi_identifiers"].as_array().ok_or_else(damaged)?;
        let quasi_identifiers: Vec<String> = names.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect();
        let kept: Vec<String> = table.schema().fields().iter().map(|field| field.name().clone()).collect();
        let kept: Vec<&str> = kept.iter().map(String::as_str).filter(|name| *name != PERSON).collect();
        let assignment = persons.values().to_vec();
        Ok(EarlierVersion { assignment, rows: Some(EarlierRows { table: table.select(&kept)?, quasi_identifiers }) })
    }

    /// Refuses a version from which, beside an earlier one, fewer than `k` persons could be told.
    pub(crate) fn compare_with_earlier(
        &self,
        earlier: &[Release],
        version: &str,
        persons: &BTreeSet<i64>,
        k: u64,
    ) -> Result<(), Failure> {
        for release in earlier {
            let Some(list) = list_of(release) else { continue };
            let before = self.open_list(&list)?;
            let joined = persons.difference(&before).count() as u64;
            let left = before.difference(persons).count() as u64;
            if (1..k).contains(&joined) || (1..k).contains(&left) {
                let (version, earlier) = (version.to_owned(), release.version.clone());
                return Err(NodeError::TooFewChanges { version, earlier, k }.into());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use acequia_types::{Clock, SystemClock};

    use super::*;

    #[tokio::test]
    async fn versions_of_older_programs_tell_who_was_in_them() {
        let home = tempfile::tempdir().unwrap();
        let node = Node::init(home.path(), 1).await.unwrap();
        let persons: BTreeSet<i64> = (5..30).collect();
        let bytes: Vec<u8> = persons.iter().flat_map(|person| person.to_le_bytes()).collect();
        let list = node.vault.seal_lasting(CONTEXT, &bytes).unwrap();
        let release = |detail: Value| Release {
            dataset: acequia_types::DatasetName::parse("a/b").unwrap(),
            version: "1.0.0".to_owned(),
            manifest: Digest::of(b""),
            seal: String::new(),
            files: Vec::new(),
            published_at: SystemClock.now(),
            detail,
        };
        let old = [release(json!({ "ledger": list.to_string() })), release(json!({}))];
        let opened = node.open_ledger(&old).unwrap();
        assert_eq!(opened.len(), 1);
        assert_eq!(opened[0].assignment, (5..30).collect::<Vec<u64>>());
        assert!(opened[0].rows.is_none());
        let refused = node.compare_with_earlier(&old, "1.0.1", &(6..30).collect(), 12).unwrap_err();
        assert_eq!(refused.code, "NO013");
        node.compare_with_earlier(&old, "1.0.1", &(17..30).collect(), 12).unwrap();
        let lost = [release(json!({ "ledger": Digest::of(b"nothing").to_string() }))];
        assert!(node.open_ledger(&lost).is_err(), "what cannot be compared is not published");
    }
}
