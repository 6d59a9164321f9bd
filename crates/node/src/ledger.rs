//! The release ledger: who is in which version, so that a new version is compared with every earlier one.
//!
//! Each version keeps the groups it promises, but two together may not: when one person leaves, the rows that differ are
//! that person's. So a version is refused when, compared with any earlier version of the data set, fewer persons joined
//! or left than make a group (Fung et al., "Anonymity for continuous data publishing", EDBT 2008, on attacks by comparing
//! releases). Persons are their assignment numbers, which stay the same from version to version; the list lies sealed.

use std::collections::BTreeSet;

use acequia_frame::Table;
use acequia_store::Release;
use acequia_types::Digest;
use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use serde_json::Value;

use crate::failure::{Failure, NodeError};
use crate::home::Node;
use crate::pipeline::ASSIGNMENT;

const CONTEXT: &str = "release/ledger";

/// Assignment numbers of everybody in a cohort.
pub(crate) fn persons(cohort: &Table) -> Result<BTreeSet<i64>, Failure> {
    let column = cohort.column(ASSIGNMENT)?;
    Ok(column.as_primitive::<Int64Type>().values().iter().copied().collect())
}

/// The sealed list of a version, if it has one.
pub(crate) fn list_of(release: &Release) -> Option<Digest> {
    release.detail.get("ledger").and_then(Value::as_str).and_then(|text| Digest::parse(text).ok())
}

impl Node {
    /// Seals the list of persons of a version.
    pub(crate) fn keep_ledger(&self, persons: &BTreeSet<i64>) -> Result<Digest, Failure> {
        let bytes: Vec<u8> = persons.iter().flat_map(|person| person.to_le_bytes()).collect();
        Ok(self.vault.seal_work(CONTEXT, &bytes)?)
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
            let bytes = self.vault.open_work(CONTEXT, &list)?;
            let (numbers, _) = bytes.as_chunks::<8>();
            let before: BTreeSet<i64> = numbers.iter().map(|number| i64::from_le_bytes(*number)).collect();
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
