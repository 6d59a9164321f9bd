//! One error type for the surface: whatever failed, with its code, hint and exit status.

use acequia_types::{Coded, Exit};
use serde::Serialize;

/// What a command ends with when it fails. Made from any coded error of any crate.
#[derive(Debug, Clone, Serialize)]
pub struct Failure {
    /// Stable code, listed in `docs/errors.md`.
    pub code: String,
    /// What happened and where.
    pub message: String,
    /// What to do about it.
    pub hint: String,
    /// Exit status.
    #[serde(skip)]
    pub exit: Exit,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", self.message, self.code)
    }
}

impl<E: Coded> From<E> for Failure {
    fn from(error: E) -> Self {
        Self {
            code: error.code().to_owned(),
            message: error.to_string(),
            hint: error.hint().to_owned(),
            exit: error.exit(),
        }
    }
}

/// What can go wrong in the composition itself.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The folder holds no node.
    #[error("there is no node in {home}")]
    NoNode {
        /// Folder as the user gave it.
        home: String,
    },
    /// The folder already holds a node.
    #[error("there is already a node in {home}")]
    NodeExists {
        /// Folder as the user gave it.
        home: String,
    },
    /// Another process works on the node.
    #[error("another command is working on this node")]
    Busy,
    /// A file of the node or the user cannot be used.
    #[error("{what} cannot be {doing}: {kind}")]
    Io {
        /// Which file, in words.
        what: String,
        /// "read", "written".
        doing: &'static str,
        /// Kind of error.
        kind: std::io::ErrorKind,
    },
    /// The recipe is wrong.
    #[error("the recipe cannot be used: {message}")]
    Recipe {
        /// Row or key and what is wrong.
        message: String,
    },
    /// The version is already out with other content.
    #[error("{dataset} {version} is published and cannot change")]
    Published {
        /// Which data set.
        dataset: String,
        /// Which version.
        version: String,
    },
    /// Nothing to work on.
    #[error("no donation of the recipe's sources may be used for {purpose}")]
    NothingGranted {
        /// Purpose of the recipe.
        purpose: String,
    },
    /// A consent file cannot be read.
    #[error("the consent file of {intake} cannot be read: {message}")]
    ConsentFile {
        /// Which donation.
        intake: String,
        /// Row, character, without content.
        message: String,
    },
    /// A name on the command line does not exist.
    #[error("there is no {what} of that name")]
    NotFound {
        /// Kind of thing.
        what: &'static str,
    },
    /// A version does not hold what it states.
    #[error("{dataset} {version}: {failed} of {checks} checks failed")]
    Verification {
        /// Which data set.
        dataset: String,
        /// Which version.
        version: String,
        /// Checks that failed.
        failed: usize,
        /// Checks in all.
        checks: usize,
    },
    /// The port cannot be taken.
    #[error("the address {address} cannot be used: {kind}")]
    Address {
        /// Address and port.
        address: String,
        /// Kind of error.
        kind: std::io::ErrorKind,
    },
    /// Comparing the version with an earlier one would tell about a few persons.
    #[error(
        "version {version} differs from version {earlier} by fewer than {k} persons, and comparing them would show whose rows they are"
    )]
    TooFewChanges {
        /// The version to publish.
        version: String,
        /// The earlier version.
        earlier: String,
        /// How many must join or leave together.
        k: u64,
    },
    /// A model that learned from donors, whose training this node has no record of.
    #[error("the model learned from donors, and this node has no record of telling it")]
    Untraced,
    /// Somebody whose rows a model learned from was erased since.
    #[error("somebody whose records the model learned from is not on file any more")]
    Left,
    /// The version is not served any more.
    #[error("{dataset} {version} is not handed out any more{}", successor.as_ref().map(|next| format!("; {next} is in its place")).unwrap_or_default())]
    TakenDown {
        /// Which data set.
        dataset: String,
        /// Which version.
        version: String,
        /// The version in its place.
        successor: Option<String>,
    },
    /// The donor said that nothing new is taken in.
    #[error("the donor of this record withdrew from the collection of data; it was not taken in")]
    NotCollected,
    /// The node's own texts cannot be read.
    #[error("texts/{language}.ftl of the node cannot be read: row {row}")]
    Texts {
        /// Language.
        language: String,
        /// From 1.
        row: usize,
    },
    /// The recipe needs an approved impact assessment.
    #[error(
        "the settings ask for an impact assessment, and none of this recipe and this program is approved and in force"
    )]
    NoAssessment,
    /// A breach is to be closed too early.
    #[error("nobody decided yet whether the authority is told of breach {number}")]
    Undecided {
        /// Which.
        number: u64,
    },
    /// Blobs are to be copied to where they lie.
    #[error("that is where the node's blobs lie already")]
    SamePlace,
    /// Two neighbours publish different things under one name, or this node publishes it itself.
    #[error("{dataset} is not taken in from {member}: {reason}")]
    NotMirrored {
        /// Which data set.
        dataset: String,
        /// Whose.
        member: String,
        /// Why.
        reason: &'static str,
    },
    /// What is kept of neighbours would be more than the settings allow.
    #[error("{version} has {needed_mb} MB, and {free_mb} MB of what the settings allow for mirrors is left")]
    Quota {
        /// Which version.
        version: String,
        /// Its size.
        needed_mb: u64,
        /// What is left.
        free_mb: u64,
    },
    /// A version states other terms than donors were asked about.
    #[error("the version states other terms than those that donors were asked about")]
    Terms,
    /// A work table is gone.
    #[error("a work table of step {step} is damaged")]
    Work {
        /// Which step.
        step: String,
    },
}

impl Coded for NodeError {
    fn code(&self) -> &'static str {
        match self {
            Self::NoNode { .. } => "NO001",
            Self::NodeExists { .. } => "NO002",
            Self::Busy => "NO003",
            Self::Io { .. } => "NO004",
            Self::Recipe { .. } => "NO005",
            Self::Published { .. } => "NO006",
            Self::NothingGranted { .. } => "NO007",
            Self::ConsentFile { .. } => "NO008",
            Self::NotFound { .. } => "NO009",
            Self::Verification { .. } => "NO010",
            Self::Work { .. } => "NO011",
            Self::Address { .. } => "NO012",
            Self::TooFewChanges { .. } => "NO013",
            Self::TakenDown { .. } => "NO014",
            Self::NotCollected => "NO015",
            Self::Texts { .. } => "NO016",
            Self::NoAssessment => "NO017",
            Self::Undecided { .. } => "NO018",
            Self::Untraced => "NO019",
            Self::Left => "NO020",
            Self::SamePlace => "NO021",
            Self::NotMirrored { .. } => "NO022",
            Self::Quota { .. } => "NO023",
            Self::Terms => "NO024",
        }
    }
    fn hint(&self) -> &'static str {
        match self {
            Self::NoNode { .. } => "run `acequia init`, or name the node's folder with --home",
            Self::NodeExists { .. } => "use it as it is, or name another folder with --home",
            Self::Busy => "wait until it is done, then try again",
            Self::Io { .. } => "check the path, its permissions and the free space",
            Self::Recipe { .. } => {
                "docs/trustee.md explains every key of a recipe, docs/models.md those of a model's card"
            }
            Self::Published { .. } => "raise the version in the recipe: published versions are immutable",
            Self::NothingGranted { .. } => {
                "see `acequia consent list` for who allows what; only consent opens a record"
            }
            Self::ConsentFile { .. } => {
                "see docs/patient.md for the form of a consent file; without it the donor counts as not asked"
            }
            Self::NotFound { .. } => {
                "see `acequia release list`, `acequia consent list` and `acequia network catalogue list`"
            }
            Self::Verification { .. } => "do not use the version; restore it from a copy whose digest is right",
            Self::Work { .. } => "run the recipe again; the step is made anew",
            Self::Terms => "run the recipe again as it stands; donors are asked about its terms",
            Self::TakenDown { .. } => "take the version in its place; see `acequia release list`",
            Self::NoAssessment => {
                "see `acequia papers assessment RECIPE`; approve it with --approved-by, --until and --risk"
            }
            Self::Untraced => "publish it from the node that trained it with --donors",
            Self::Left => "train the model again; it learns without those who left",
            Self::NotMirrored { .. } => {
                "`acequia network catalogue list` says who publishes what; --from names the neighbour that is meant"
            }
            Self::Quota { .. } => {
                "raise mirror_quota_mb under [network] in settings.toml, or end a mirror with `acequia network catalogue mirror … --stop`"
            }
            Self::SamePlace => "name another bucket, prefix or folder with --to",
            Self::Undecided { .. } => "add --authority-told, or --not-told with the reason",
            Self::NotCollected => "if the donor allows it again, record that first with `acequia consent give`",
            Self::Texts { .. } => {
                "write Fluent (projectfluent.org); the keys are those of crates/vault/data/texts/en.ftl"
            }
            Self::TooFewChanges { .. } => {
                "wait until more donors joined or left; who withdrew is not used for anything new meanwhile"
            }
            Self::Address { .. } => "name another with --address; port 0 takes a free one",
        }
    }
    fn exit(&self) -> Exit {
        match self {
            Self::NoNode { .. } | Self::NotFound { .. } | Self::Io { kind: std::io::ErrorKind::NotFound, .. } => {
                Exit::NotFound
            }
            Self::NodeExists { .. } | Self::Recipe { .. } | Self::Texts { .. } => Exit::Usage,
            Self::Undecided { .. } | Self::SamePlace => Exit::Usage,
            Self::Busy => Exit::Temporary,
            Self::Published { .. } | Self::TooFewChanges { .. } | Self::TakenDown { .. } => Exit::PolicyRefused,
            Self::NotMirrored { .. } | Self::Quota { .. } => Exit::PolicyRefused,
            Self::NothingGranted { .. }
            | Self::Terms
            | Self::NotCollected
            | Self::NoAssessment
            | Self::Untraced
            | Self::Left => Exit::NotPermitted,
            Self::Verification { .. } | Self::Work { .. } => Exit::Integrity,
            Self::Io { .. } | Self::ConsentFile { .. } | Self::Address { .. } => Exit::Failure,
        }
    }
}

pub(crate) fn io(what: impl Into<String>, doing: &'static str) -> impl FnOnce(std::io::Error) -> NodeError {
    let what = what.into();
    move |error| NodeError::Io { what, doing, kind: error.kind() }
}
