//! A step as SQL with named inputs, and what runs it.

use acequia_types::Coded;
use arrow::datatypes::Schema;

use crate::Table;

/// One query over named tables.
#[derive(Debug, Clone)]
pub struct SqlStep {
    /// Name of the result.
    pub name: String,
    /// One `SELECT` statement. Nothing else is accepted.
    pub sql: String,
    /// Columns the result must have, checked after the run. `None` takes what comes.
    pub expects: Option<Schema>,
}

/// Why a step did not run. The engine's own message is kept as a cause only where it cannot hold a value.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The statement is not one `SELECT`, or names something unknown.
    #[error("step {step}: the SQL cannot be planned: {message}")]
    Plan {
        /// Which step.
        step: String,
        /// The planner's words: table and column names and SQL text of the recipe.
        message: String,
    },
    /// The statement failed while it ran. The message is withheld, it may quote a value.
    #[error("step {step}: the SQL failed while running ({kind})")]
    Run {
        /// Which step.
        step: String,
        /// Kind of failure, without data.
        kind: &'static str,
    },
    /// The result has other columns than expected.
    #[error("step {step}: column {column} is {found}, expected {expected}")]
    Columns {
        /// Which step.
        step: String,
        /// Which column.
        column: String,
        /// What was found: a type, or "missing".
        found: String,
        /// What was expected: a type, or "absent".
        expected: String,
    },
}

impl Coded for EngineError {
    fn code(&self) -> &'static str {
        match self {
            Self::Plan { .. } => "EN001",
            Self::Run { .. } => "EN002",
            Self::Columns { .. } => "EN003",
        }
    }
    fn hint(&self) -> &'static str {
        match self {
            Self::Plan { .. } => "check table and column names in the recipe's SQL; only one SELECT is allowed",
            Self::Run { .. } => "check casts and divisions in the recipe's SQL; use TRY_CAST and NULLIF",
            Self::Columns { .. } => "list the columns in the recipe under [cohort.columns] as the SQL returns them",
        }
    }
}

/// Runs steps. Two implementations are planned: in process, and a cluster.
pub trait Engine: Send + Sync {
    /// Runs one step over the given tables, each visible in SQL under its own name.
    ///
    /// # Errors
    /// [`EngineError`] as documented there.
    fn run(&self, step: &SqlStep, inputs: &[&Table]) -> Result<Table, EngineError>;
}
