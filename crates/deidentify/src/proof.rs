//! The proof type: a table that went through the search, the recoding and the independent verifier.

use std::collections::BTreeSet;

use acequia_frame::Table;
use acequia_types::{Digest, DonorId, digest_named};

/// A de-identified table with the receipt of its measured risk.
///
/// Fields are private and only this crate's `deidentify` builds one, after the independent verifier agreed. The type
/// proves *that* the check ran; [`Receipt`] says *what it found*.
#[derive(Debug)]
pub struct Deidentified {
    table: Table,
    assignment: Vec<u64>,
    receipt: Receipt,
    donors: BTreeSet<DonorId>,
}

/// What was measured. (Being written; see the JSON layout `acequia-risk/1`.)
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Receipt {}

impl Deidentified {
    /// The released rows: no person id, no direct identifier, quasi-identifiers recoded.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// One opaque number per row, aligned with the rows, for assigning splits by person. It never leaves the node.
    pub fn assignment(&self) -> &[u64] {
        &self.assignment
    }

    /// What was measured.
    pub fn receipt(&self) -> &Receipt {
        &self.receipt
    }

    /// Whose records went in.
    pub fn donors(&self) -> &BTreeSet<DonorId> {
        &self.donors
    }

    /// Digest of rows, assignment and receipt: what an approval is about.
    pub fn digest(&self) -> Digest {
        let receipt = serde_json::to_vec(&self.receipt).unwrap_or_default();
        let assignment: Vec<u8> = self.assignment.iter().flat_map(|a| a.to_le_bytes()).collect();
        let table = self.table.digest();
        let parts: [(&str, &[u8]); 3] =
            [("table", table.as_bytes()), ("assignment", &assignment), ("receipt", &receipt)];
        digest_named("acequia deidentified v1", parts)
    }
}
