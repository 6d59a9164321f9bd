//! The proof type and its receipt.

use std::collections::BTreeSet;

use acequia_frame::Table;
use acequia_privacy::{Metric, Risk};
use acequia_types::{Digest, DonorId, digest_named};
use serde::{Deserialize, Serialize};

use crate::attack::Attacks;
use crate::events::EventFacts;
use crate::policy::{Attacker, Recoding};
use crate::transform::{Sampling, Transformation};

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

/// What was measured, published as `risk.json` (`acequia-risk/1`).
///
/// Of the table before de-identification only the number of classes, the highest and the mean risk are stated: they say
/// how much the process changed. Its class sizes are not, for a size of 1 with a known count would tell an attacker how
/// many people stood alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    /// `acequia-risk/1`.
    pub schema: String,
    /// For which attacker the release is written.
    pub attacker: Attacker,
    /// What had to hold.
    pub policy: PolicyFacts,
    /// Rows.
    pub rows: RowCounts,
    /// How each quasi-identifier was generalised.
    pub quasi_identifiers: Vec<QuasiIdentifier>,
    /// Equivalence classes of the released table.
    pub classes: ClassCounts,
    /// Risk of the released table.
    pub risk: Risks,
    /// The table before.
    pub before: Before,
    /// What was lost.
    pub loss: Loss,
    /// What is left.
    #[serde(default)]
    pub utility: Utility,
    /// What was done besides generalisation, and what it left.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub transformations: Vec<Transformation>,
    /// The sample, where one was drawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample: Option<Sampling>,
    /// Privacy models with what was measured.
    pub models: Vec<ModelResult>,
    /// Attacks on the released table; none in receipts of before attacks were run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attacks: Option<Attacks>,
    /// Events of persons, where they are released with the table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<EventFacts>,
    /// Columns that were removed.
    pub removed_columns: Vec<String>,
    /// Who recounted.
    pub verified_by: String,
}

/// What had to hold.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PolicyFacts {
    /// Smallest class.
    pub k: u64,
    /// Highest risk.
    pub maximum_risk: f64,
    /// Largest share of suppressed rows.
    pub suppression_limit: f64,
    /// Whether all rows get the same levels.
    #[serde(default)]
    pub recoding: Recoding,
    /// What was made small.
    #[serde(default)]
    pub metric: Metric,
}

/// Rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowCounts {
    /// Came in.
    pub input: u64,
    /// Released.
    pub released: u64,
    /// Suppressed.
    pub suppressed: u64,
    /// Those of the suppressed that would have been released, had there been no earlier version.
    #[serde(default, skip_serializing_if = "is_none")]
    pub withheld: u64,
    /// Not drawn into the sample; neither released nor suppressed.
    #[serde(default, skip_serializing_if = "is_none")]
    pub not_sampled: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_none(rows: &u64) -> bool {
    *rows == 0
}

/// How one quasi-identifier was generalised.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QuasiIdentifier {
    /// Column.
    pub column: String,
    /// `intervals`, `tree` or `suppress`.
    pub hierarchy: String,
    /// Highest level in use, 0 exact.
    pub level: u64,
    /// Lowest level in use; the same as the highest unless rows are recoded one by one.
    #[serde(default)]
    pub lowest_level: u64,
    /// Highest level, at which nothing is left.
    pub levels: u64,
    /// The level in words.
    pub words: String,
    /// Mean loss over released rows, 0 to 1.
    pub loss: f64,
    /// What is left of the column, suppressed rows included.
    #[serde(default)]
    pub utility: ColumnUtility,
}

/// What is left of a column: 1 is the column as it came, 0 nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct ColumnUtility {
    /// One less the loss (Iyengar, KDD 2002).
    pub granularity: f64,
    /// One less the mean height in the hierarchy (Sweeney, "Achieving k-anonymity privacy protection using generalization
    /// and suppression", 2002).
    pub precision: f64,
    /// One less the share of the column's entropy that is lost (Gionis and Tassa, TKDE 2009).
    pub entropy: f64,
    /// One less the share of exact values that a value could have come from.
    #[serde(default)]
    pub ambiguity: f64,
    /// One less the discernibility of the classes that the column alone makes, as in [`Utility`].
    #[serde(default)]
    pub discernibility: f64,
    /// One less the average size of the classes that the column alone makes, as in [`Utility`].
    #[serde(default)]
    pub class_size: f64,
}

/// What is left of a table: 1 is the table as it came, 0 nothing. Suppressed rows are included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Utility {
    /// Weighted mean over quasi-identifiers.
    pub granularity: f64,
    /// Weighted mean over quasi-identifiers.
    pub precision: f64,
    /// Weighted mean over quasi-identifiers.
    pub entropy: f64,
    /// One less the share of exact rows that a row could have come from (Goldberger and Tassa, 2010).
    pub ambiguity: f64,
    /// One less the discernibility, as a share of that of one class (Bayardo and Agrawal, ICDE 2005).
    pub discernibility: f64,
    /// One less by how much the average class of released rows has grown, as a share of what it could grow (LeFevre et
    /// al., ICDE 2006).
    pub class_size: f64,
}

/// Number of classes of one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassSize {
    /// Rows in the class.
    pub size: u64,
    /// Classes of that size.
    pub classes: u64,
}

/// Equivalence classes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassCounts {
    /// How many.
    pub count: u64,
    /// Rows in the smallest.
    pub smallest: u64,
    /// Mean rows.
    pub average: f64,
    /// Sizes, ascending.
    pub sizes: Vec<ClassSize>,
}

/// Risk with what it assumes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StatedRisk {
    /// The numbers.
    #[serde(flatten)]
    pub risk: Risk,
    /// What is assumed.
    pub assumption: String,
}

/// Risk under the three attackers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Risks {
    /// Knows that the person is in the data.
    pub prosecutor: StatedRisk,
    /// Knows that the person is in the population.
    pub journalist: StatedRisk,
    /// Matches everybody.
    pub marketer: StatedRisk,
    /// The journalist again, counted in a population table where one was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub population: Option<StatedRisk>,
    /// The prosecutor again, who does not know who was drawn into the sample.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sampled: Option<StatedRisk>,
}

/// The table before.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Before {
    /// Classes.
    pub classes: u64,
    /// Highest prosecutor risk.
    pub maximum: f64,
    /// Mean prosecutor risk.
    pub average: f64,
}

/// What was lost. Loss is 0 nothing to 1 everything: the weighted geometric mean over quasi-identifiers of one plus the
/// share of a hierarchy's leaves that a value stands for, less one; a suppressed row stands for all leaves.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Loss {
    /// Loss of the whole table, suppressed rows included.
    pub total: f64,
    /// Weighted mean over quasi-identifiers of one less their loss, suppressed rows included: 1 is the table as it came.
    pub granularity: f64,
    /// Loss of the released rows alone.
    #[serde(default)]
    pub released: f64,
    /// Discernibility.
    pub discernibility: u64,
    /// Mean rows of a class, suppressed rows being one class.
    #[serde(default)]
    pub class_size: f64,
    /// Combinations of levels that were counted.
    pub combinations_tried: u64,
    /// Combinations there are.
    pub combinations: u64,
    /// Whether the search proved that no combination is better.
    #[serde(default)]
    pub proven: bool,
    /// The policy's metric, where all rows have the same levels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// A score that is proven to be undercut by no levels: the difference to `score` is what a longer search could gain at
    /// most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub least_score: Option<f64>,
}

/// One privacy model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelResult {
    /// Name, such as `k-anonymity`.
    pub name: String,
    /// Parameter that had to be kept; `None` when it was only measured, or where the name tells several.
    pub parameter: Option<f64>,
    /// Whether it holds.
    pub held: bool,
    /// Measured value.
    pub measured: f64,
}

impl Deidentified {
    pub(crate) fn new(table: Table, assignment: Vec<u64>, receipt: Receipt, donors: BTreeSet<DonorId>) -> Self {
        Self { table, assignment, receipt, donors }
    }

    /// The released rows: no person id, no direct identifier, quasi-identifiers recoded; ordered by assignment.
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
