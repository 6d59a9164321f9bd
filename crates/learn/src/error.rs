//! What can go wrong, with a code and a hint. Places and names of columns, never a value of a record.

use acequia_inference::InferenceError;
use acequia_types::{Coded, Exit};

/// Errors of training and validation.
#[derive(Debug, thiserror::Error)]
pub enum LearnError {
    /// The run plan contradicts itself or cannot be read.
    #[error("the run plan cannot be used: {message}")]
    Plan {
        /// Key or line, and what is wrong.
        message: String,
    },
    /// The run plan is past its last day.
    #[error("the run plan expired on {last_day}")]
    Expired {
        /// Last day of validity.
        last_day: String,
    },
    /// A file cannot be opened, read or made.
    #[error("{what}: {problem}")]
    File {
        /// Which file, in words or by the name of its site; no path, for folders can name persons.
        what: String,
        /// What the operating system says.
        problem: std::io::ErrorKind,
    },
    /// A table cannot be read.
    #[error("{table}: {problem}")]
    Table {
        /// Name of the site or file, without its folder.
        table: String,
        /// What is wrong, with the row.
        problem: String,
    },
    /// A column that the plan needs is not there.
    #[error("{table} has no column {column}")]
    NoColumn {
        /// Name of the site.
        table: String,
        /// Which column.
        column: String,
    },
    /// A cell is not what the plan needs.
    #[error("{table}, row {row}, column {column}: {problem}")]
    Cell {
        /// Name of the site.
        table: String,
        /// One-based row, header not counted.
        row: u64,
        /// Which column.
        column: String,
        /// What is wrong, without the value.
        problem: &'static str,
    },
    /// A number is too large for sums that are exact.
    #[error("{what} is too large to be summed exactly")]
    Range {
        /// Which sum.
        what: &'static str,
    },
    /// A pooled sum cannot be of any rows.
    #[error("the sums are not believed: no rows give such {what}")]
    Implausible {
        /// Which sums.
        what: &'static str,
    },
    /// The estimator has no answer for these data.
    #[error("the estimate does not exist: {reason}")]
    Estimate {
        /// Why.
        reason: &'static str,
    },
    /// The site does not let the answer out.
    #[error("site {site} does not answer: {reason}")]
    Withheld {
        /// Which site.
        site: String,
        /// The rule that is broken, in words, without counts of few persons.
        reason: String,
    },
    /// Too few persons of the site are behind what the plan asks. Others are told only that it is so, or the refusal would tell more.
    #[error("site {site} does not answer: {reason}")]
    Few {
        /// Which site.
        site: String,
        /// What is about few, for the site's own people.
        reason: String,
    },
    /// A message does not belong where it arrived.
    #[error("a message of {from} is refused: {reason}")]
    Protocol {
        /// Who sent it.
        from: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A site's numbers are not proven to be in the range that the plan states.
    #[error("what {site} sent in round {round} is not proven to be in the plan's range, and is left out")]
    Unproven {
        /// Which site.
        site: String,
        /// Which round.
        round: u32,
    },
    /// Too few sites are left.
    #[error("{left} sites answered in round {round}, and the plan needs {needed}")]
    TooFewSites {
        /// Sites that answered.
        left: usize,
        /// Sites the plan needs.
        needed: usize,
        /// Which round.
        round: u32,
    },
    /// A model file cannot be used.
    #[error("the model cannot be used: {message}")]
    Model {
        /// What is wrong.
        message: String,
    },
    /// A log of what left is broken.
    #[error("the log of what left is broken at entry {entry}")]
    Log {
        /// One-based entry.
        entry: usize,
    },
    /// Somebody whose rows took part may not take part any more.
    #[error("{site}: somebody whose rows take part withdrew during the run")]
    Withdrawn {
        /// The site.
        site: String,
    },
    /// The operating system gave no random bytes.
    #[error("no random bytes")]
    Entropy,
    /// A model that was not attacked is not published.
    #[error("nobody knows whether the model tells whose rows it learned from: {reason}")]
    Untested {
        /// Why.
        reason: String,
    },
    /// A validation record cannot be published.
    #[error("a validation record cannot be published: {problem}")]
    Record {
        /// What is wrong.
        problem: &'static str,
    },
    /// A model file is of a kind that can run code.
    #[error("the file is {format}, which runs code of whoever made it when it is opened")]
    Runs {
        /// Which format.
        format: &'static str,
    },
    /// A manifest of a model of another program contradicts itself, or its file.
    #[error("the manifest of the model cannot be used: {message}")]
    Manifest {
        /// Line or key, and what is wrong.
        message: String,
    },
    /// A file of another program, where one of this program is needed or one with a manifest.
    #[error("the model is of another program: {reason}")]
    Foreign {
        /// What is missing.
        reason: String,
    },
    /// A model of another program says something else here than where it was made.
    #[error("of example {example} the model says {said} here, and {told} by its manifest")]
    Unlike {
        /// One-based example.
        example: usize,
        /// What the manifest says.
        told: f64,
        /// What came out.
        said: f64,
    },
    /// A model file of another program is not run.
    #[error(transparent)]
    Inference(#[from] InferenceError),
    /// The model tells whose rows it learned from.
    #[error(
        "the model tells training rows from others: an attack has an area under the curve of {auc:.3} (95 % interval from {low:.3}), and {allowed:.3} is allowed"
    )]
    Tells {
        /// Area under the curve of the best attack.
        auc: f64,
        /// Lower end of its 95 % interval.
        low: f64,
        /// The limit: the plan's, or that for publication.
        allowed: f64,
    },
}

impl Coded for LearnError {
    fn code(&self) -> &'static str {
        match self {
            Self::Plan { .. } => "LE001",
            Self::Expired { .. } => "LE002",
            Self::Table { .. } => "LE003",
            Self::NoColumn { .. } => "LE004",
            Self::Cell { .. } => "LE005",
            Self::Range { .. } => "LE006",
            Self::Estimate { .. } => "LE007",
            Self::Withheld { .. } => "LE008",
            Self::Protocol { .. } => "LE009",
            Self::TooFewSites { .. } => "LE010",
            Self::Model { .. } => "LE011",
            Self::Log { .. } => "LE012",
            Self::Entropy => "LE013",
            Self::File { .. } => "LE014",
            Self::Tells { .. } => "LE015",
            Self::Withdrawn { .. } => "LE016",
            Self::Untested { .. } => "LE017",
            Self::Record { .. } => "LE018",
            Self::Runs { .. } => "LE019",
            Self::Manifest { .. } => "LE020",
            Self::Foreign { .. } => "LE021",
            Self::Unlike { .. } => "LE022",
            Self::Few { .. } => "LE023",
            Self::Implausible { .. } => "LE024",
            Self::Unproven { .. } => "LE025",
            Self::Inference(error) => error.code(),
        }
    }
    fn hint(&self) -> &'static str {
        match self {
            Self::Plan { .. } => "correct the plan; docs/learning.md explains every key",
            Self::Expired { .. } => "ask for a new plan with a later last day",
            Self::Table { .. } => "give CSV with a header row, UTF-8, plain or .gz, or Parquet",
            Self::NoColumn { .. } => "correct the plan, or describe the site's columns in NAME.site.toml",
            Self::Cell { .. } => {
                "correct the cell, list its text in missing_values, or map the column in NAME.site.toml"
            }
            Self::Range { .. } => "divide the variable by a constant in its steps, or standardise it",
            Self::Estimate { .. } => "leave out a variable that others determine, or set a ridge penalty",
            Self::Withheld { .. } => "the site's rules protect few persons; ask for a coarser result or more rows",
            Self::Implausible { .. } => {
                "a site sent what no rows give, by mistake or on purpose; masks hide which: run the plan with fewer sites to find it"
            }
            Self::Unproven { .. } => {
                "ask the site why: its program is broken or lies; with dropouts = \"leave-out\" a run goes on without it"
            }
            Self::Few { .. } => {
                "make the variable coarser, join levels, or leave out the variable or the site; a site where a level is empty counts as one where it is about few"
            }
            Self::Protocol { .. } => "the parties do not run the same plan in the same round; start the run again",
            Self::TooFewSites { .. } => "wait until more sites are there, then start the run again",
            Self::Model { .. } => "train the model again, or fetch the file again",
            Self::Log { .. } => "somebody changed the log; restore it from a copy and ask who did",
            Self::Withdrawn { .. } => {
                "start the run again; it begins anew without those rows (over the network change the plan's title, which makes it a new run)"
            }
            Self::Untested { .. } => "train the model again with `acequia train`, which attacks it",
            Self::Record { .. } => "measure the model again with `acequia validate`, with --minimum 10 or more",
            Self::Runs { .. } => "give the model as JSON, ONNX or safetensors, as `acequia train` writes it",
            Self::Manifest { .. } => "correct the manifest; docs/learning.md explains every key",
            Self::Foreign { .. } => {
                "write NAME.import.toml beside NAME.onnx (docs/learning.md) and give the file to `acequia validate`: it is measured, and not published"
            }
            Self::Unlike { .. } => {
                "see that file and manifest belong together, and that the example has the units of the manifest"
            }
            Self::Inference(error) => error.hint(),
            Self::Entropy => "try again; if it stays, the operating system is damaged",
            Self::File { .. } => "check that the file is there and may be read, or the folder may be written to",
            Self::Tells { .. } => {
                "use a larger ridge penalty, a coarser time grid, fewer or shallower trees, fewer variables, or more rows"
            }
        }
    }
    fn exit(&self) -> Exit {
        match self {
            Self::Plan { .. } | Self::NoColumn { .. } | Self::Manifest { .. } | Self::Foreign { .. } => Exit::Usage,
            Self::Inference(error) => error.exit(),
            Self::File { problem: std::io::ErrorKind::NotFound, .. } => Exit::NotFound,
            Self::Expired { .. } | Self::Withdrawn { .. } => Exit::NotPermitted,
            Self::Withheld { .. }
            | Self::Few { .. }
            | Self::TooFewSites { .. }
            | Self::Tells { .. }
            | Self::Untested { .. }
            | Self::Record { .. }
            | Self::Runs { .. } => Exit::PolicyRefused,
            Self::Implausible { .. }
            | Self::Unproven { .. }
            | Self::Protocol { .. }
            | Self::Log { .. }
            | Self::Model { .. }
            | Self::Unlike { .. } => Exit::Integrity,
            Self::Entropy => Exit::Temporary,
            Self::File { .. } | Self::Table { .. } | Self::Cell { .. } | Self::Range { .. } | Self::Estimate { .. } => {
                Exit::Failure
            }
        }
    }
}
