//! The node: the composition root. It wires store, blobs, engine and the stages together and states their order.
//!
//! Comes in: words of a command. Goes out: reports, published versions, a served hub.
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # tokio::runtime::Runtime::new()?.block_on(async {
//! let home = tempfile::tempdir()?;
//! let node = acequia_node::Node::init(home.path(), 1).await.map_err(|failure| failure.to_string())?;
//! assert!(node.published().await.map_err(|failure| failure.to_string())?.is_empty());
//! # Ok(())
//! # })
//! # }
//! ```

mod access;
mod accounts;
mod blobs;
mod cohort;
mod consent;
mod demo;
mod deposit;
mod desk;
mod doctor;
mod donate;
mod failpoint;
mod failure;
mod home;
mod ledger;
mod mirror;
mod model;
mod neighbours;
mod notify;
mod papers;
mod pipeline;
mod progress;
mod publish;
mod read;
mod recipe;
mod serve;
mod settings;
mod signature;
mod steps;
mod training;

pub use blobs::CopyReport;
pub use consent::bundled_notice;
pub use demo::{DemoFiles, write_demo_files};
pub use deposit::{CommitShown, DepositRemoved, DepositShown, DepositTaken};
pub use doctor::Examination;
pub use donate::{DonateOptions, DonateReport, Finding, INDIVIDUAL_DONORS};
pub use failpoint::{COPY_POINT, DEPOSIT_POINT, DESK_POINTS, FAILPOINTS, MIRROR_POINTS, REMOVAL_POINTS};
pub use failure::{Failure, NodeError};
pub use home::Node;
pub use mirror::{FetchReport, MirrorReport};
pub use model::{DONORS_SITE, ModelRecipe, ModelReport, published_source};
pub use neighbours::{KnownLine, MirrorCounts, NeighbourReport, SyncReport};
pub use notify::HandedOver;
pub use papers::{Assessed, Breach, BreachEvent, ResidualRisk};
pub use pipeline::{RunReport, StageReport};
pub use progress::{Progress, Silent};
pub use publish::{ReleaseLine, Shelves, verify_folder};
pub use read::{FileReading, ReadOptions, ReadReport, TableReading, read_files};
pub use recipe::{Assessable, CohortDefinition, Recipe};
pub use serve::Serving;
pub use settings::SettingsError;
pub use training::TrainingRows;

pub use acequia_access::{Decision, Outcome as AccessOutcome, PromiseLine, RequestLine, RequestShown, Words};
pub use acequia_custody::fhir::Release as FhirRelease;
pub use acequia_custody::{Level, Purpose, rights};
pub use acequia_deposit::{DepositLine, DepositState, ModelSummary, Outcome, Tensor, Token, TokenLine};
#[cfg(feature = "cluster")]
pub use acequia_engine::{ClusterSettings, Exchange, serve_executor, serve_scheduler};
pub use acequia_gate::Artefact;
pub use acequia_portal::{Account, Holder, Invitation};
pub use acequia_release::Verification;
pub use acequia_store::{NoticeText, TakenDown};
pub use acequia_types::{
    Clock, DatasetName, Day, DonorId, Exit, FixedClock, IdError, SourceId, SystemClock, Timestamp, parse_day,
    parse_timestamp,
};
pub use acequia_vault::{
    Case, ConsentChange, ConsentLine, Desk, Happening, Notice, NoticeState, Recipient, Texts, Withdrawal, named_version,
};

/// Program and version, as manifests and step names state it.
pub const PROGRAM: &str = concat!("acequia ", env!("CARGO_PKG_VERSION"));
