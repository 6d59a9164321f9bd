//! Learning over many sites without moving a record.
//!
//! Comes in: a run [`Plan`] and, at each site, the rows of a table. Goes out: a model or a statistic that equals the pooled
//! one, and a record of what the model is worth elsewhere. Sites send sums and nothing else; see [`protocol`](Site).
//!
//! Sums are exact integers, so the result does not depend on how rows are spread over sites: training centrally, federated,
//! or with donated rows as one more site gives the same bits. Masked sums with 32 bits after the binary point agree to 1e-6.
//!
//! ```
//! use acequia_learn::*;
//! use acequia_types::Timestamp;
//!
//! let plan = Plan::from_toml(r#"
//!     schema = "acequia-plan/1"
//!     title = "Mean age"
//!     task = { kind = "moments" }
//!     variables = [{ name = "age" }]
//!     privacy = { minimum_rows = 3, minimum_sites = 2 }
//! "#)?;
//! let read = |name: &str, csv: &str| Data::from_csv(name, csv.as_bytes(), &plan.needs(), &SiteMap::default());
//! // Of fewer than ten persons a cautious site says nothing.
//! let ages = |ages: std::ops::Range<u32>| ages.map(|age| format!("{age}\n")).collect::<String>();
//! let sites = vec![
//!     read("north", &format!("age\n{}", ages(40..60)))?,
//!     read("south", &format!("age\n{}", ages(50..62)))?,
//! ];
//! let rules = SiteRules::cautious();
//! let report = run_here(&plan, sites, Architecture::Federated, &rules, Timestamp::from_unix_s(0), &mut SeededEntropy::new(1))?;
//! let Outcome::Moments(moments) = report.outcome else { panic!("moments were asked for") };
//! assert_eq!((moments.rows, moments.variables[0].1), (32, 1656.0 / 32.0));
//! # Ok::<(), LearnError>(())
//! ```

mod algebra;
mod closing;
mod double_masking;
mod error;
mod exchange;
mod extraction;
mod few;
mod frozen;
mod image;
mod import;
mod local;
mod masking;
mod membership;
mod model;
mod overlap;
mod packed;
mod peer;
mod plan;
mod protocol;
mod proven;
mod publication;
mod sovereignty;
mod special;
mod sums;
mod table;
mod tasks;
mod validate;
mod variable;
mod words;

pub use acequia_neural::{Convolution, Layers};
pub use closing::{Closed, SITES_MIN};
pub use double_masking::{MaskedSum, Revealed, RoundKeys, SealedShares, Signatures, Turn, Vouching};
pub use error::LearnError;
pub use extraction::Extraction;
pub use frozen::{Frozen, FrozenModel};
pub use import::{
    Cell, Creator, Example, ImportedModel, InputColumn, InputPort, Lacking, ModelManifest, OutputPort, States,
};
pub use local::{Architecture, Report, run_here, run_while_allowed};
pub use masking::Residues;
pub use membership::{Membership, membership_test};
pub use model::{Fit, Form, LearnedFrom, Model, ModelVariable, Score};
pub use peer::{Accepted, Envelope, PATIENCE, PEERS_MIN, Peer, PeerMessage, Promise, RoundTotal, Standing};
pub use plan::{
    Aggregation, Averaging, Boosting, CensoredAt, Cohort, Component, Condition, Dropouts, Guarantee, HeldOut, Link,
    Missing, Newton, Noise, Outcome as PlanOutcome, Plan, PrivacyRule, Proof, Protection, Start, Strategy, Task, Ties,
    TimeGrid,
};
pub use protocol::{
    Aggregator, Ask, Entropy, Message, PartTotal, Payload, Progress, Roster, Run, SeededEntropy, ShareKey, Site,
    SiteUpdate, StillAllowed, SystemEntropy, line,
};
pub use proven::{Verification, VerifyHalf, VerifyKey};
pub use publication::{FEWEST_TOLD, MOST_TOLD, TestedModel};
pub use sovereignty::{
    Coordinator, ExitLog, Leaving, Ledger, Left, LogEntry, RefusalEntry, Refused, SiteRules, Turned, Unattacked,
};
pub use sums::{PackedSums, Sums};
pub use table::{Data, MappedColumn, Needs, Observed, SiteMap};
pub use tasks::{
    Anchor, Block, CountResult, HistogramResult, LogRankResult, MomentsResult, Next, Node, Outcome, PcaResult, Posed,
    QuantileResult, Question, Scale, State, SurvivalPoint, SurvivalResult, Tree,
};
pub use validate::{
    Deviation, Estimate, Evidence, Field, Heading, Import, NetBenefit, Pooled, Predictor, Reading, Record, RocPoint,
    SiteEvaluation, SiteFinding, SiteSignature, Statement, Subgroup, VALIDATION, Validation, ValidationRequest,
    evaluate, finding_digest, page as validation_page,
};
pub use variable::{Image, Step, Variable};

impl Plan {
    /// What the plan needs of a site's table.
    pub fn needs(&self) -> Needs<'_> {
        Needs {
            cohort: &self.cohort,
            outcome: self.outcome.as_ref(),
            variables: &self.variables,
            may_lack: &[],
            groups: &[],
        }
    }
}
