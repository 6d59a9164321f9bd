//! Why a table is not de-identified.

use acequia_custody::NotGranted;
use acequia_frame::FrameError;
use acequia_types::{Coded, Exit};

/// Why a table is not de-identified. Names columns and rows, never values.
#[derive(Debug, thiserror::Error)]
pub enum DeidentifyError {
    /// The grant leaves somebody out.
    #[error(transparent)]
    NotGranted(#[from] NotGranted),
    /// A column operation failed.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The policy contradicts itself.
    #[error("the policy cannot be used: {message}")]
    Policy {
        /// What is wrong.
        message: String,
    },
    /// Table and policy name different columns.
    #[error("column {column} is {problem}")]
    Columns {
        /// Which column.
        column: String,
        /// "in the table but not in the policy", or the other way round.
        problem: &'static str,
    },
    /// A value has no place in its hierarchy.
    #[error("row {row}, column {column}: the value is not in the hierarchy")]
    NotInHierarchy {
        /// One-based row of the cohort.
        row: usize,
        /// Which column.
        column: String,
    },
    /// A value cannot be used that way.
    #[error("row {row}, column {column}: {problem}")]
    Value {
        /// One-based row.
        row: usize,
        /// Which column.
        column: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A key cannot be used.
    #[error("{file} {problem}")]
    Key {
        /// Name of its file.
        file: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// An attacker finds shifts of days too often.
    #[error("the shift recovery attack finds {found:.4} of the shifts where {maximum:.4} is allowed")]
    Recovered {
        /// Share of shifts found.
        found: f64,
        /// Chance and the margin.
        maximum: f64,
    },
    /// The independent verifier found a value that a transformation should have changed.
    #[error("the independent recount found that column {column} {problem}")]
    Untransformed {
        /// Which column.
        column: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// The table would have to be held in memory for what the policy asks.
    #[error("{what} of column {column} needs the rows in memory")]
    InMemory {
        /// Which column.
        column: String,
        /// Which transformation.
        what: &'static str,
    },
    /// A column has a type that cannot be used that way.
    #[error("column {column}: {problem}")]
    Type {
        /// Which column.
        column: String,
        /// What is expected.
        problem: &'static str,
    },
    /// A hierarchy cannot be used.
    #[error("the hierarchy of column {column} cannot be used: {problem}")]
    Hierarchy {
        /// Which column.
        column: String,
        /// What is wrong.
        problem: String,
    },
    /// Not one row per person.
    #[error("column {column}: rows are missing a value or share one, but one row per person is required")]
    NotOneRowPerPerson {
        /// Which column.
        column: String,
    },
    /// No recoding reaches the policy.
    #[error("no generalisation reaches classes of {k} rows with at most {limit} of {rows} rows suppressed")]
    Unreachable {
        /// Class size that is needed.
        k: u64,
        /// Rows that may be suppressed.
        limit: u64,
        /// Rows in the table.
        rows: u64,
    },
    /// The independent verifier disagrees.
    #[error("the independent recount found a class of {found} rows where at least {required} are required")]
    Recount {
        /// Smallest class found.
        found: u64,
        /// Required.
        required: u64,
    },
    /// The independent verifier found too few sensitive values in a class.
    #[error(
        "the independent recount found a class with {found} values of column {column} where {required} are required"
    )]
    NotDiverse {
        /// Which column.
        column: String,
        /// Fewest values found.
        found: u64,
        /// Required.
        required: u64,
    },
    /// The independent verifier found that another model does not hold.
    #[error("the independent recount found a class without {model}")]
    Model {
        /// Which model, with its parameters.
        model: String,
    },
    /// An attack on the released table succeeds too often.
    #[error("the attack {attack} reaches {found:.4} where {maximum:.4} is allowed")]
    Attacked {
        /// Which attack.
        attack: String,
        /// Chance or excess that it reaches, 0 to 1.
        found: f64,
        /// The policy's limit.
        maximum: f64,
    },
    /// A population table is missing, or given without a model that compares with it.
    #[error("a population table {problem}")]
    Population {
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Beside the earlier versions, too many rows would have to be withheld.
    #[error(
        "beside the earlier versions, {withheld} of {rows} rows would tell about the few persons who share them, and at most {limit} may be withheld"
    )]
    Exposed {
        /// Rows to withhold.
        withheld: u64,
        /// Rows that may be.
        limit: u64,
        /// Rows in the table.
        rows: u64,
    },
    /// Too many events would be lost.
    #[error(
        "of {events} events of persons at least {suppressed} would have to be suppressed, and at most {limit} may be"
    )]
    EventsUnreachable {
        /// Fewest events suppressed that were found.
        suppressed: u64,
        /// Events that may be.
        limit: u64,
        /// Events there are.
        events: u64,
    },
    /// A file of a table cannot be read or written.
    #[error("{file}: {problem}")]
    File {
        /// Name of the file, without its folder.
        file: String,
        /// What is wrong, and at which row.
        problem: String,
    },
}

impl Coded for DeidentifyError {
    fn code(&self) -> &'static str {
        match self {
            Self::NotGranted(error) => error.code(),
            Self::Frame(error) => error.code(),
            Self::Policy { .. } => "DE001",
            Self::Columns { .. } => "DE002",
            Self::NotInHierarchy { .. } => "DE003",
            Self::Type { .. } => "DE004",
            Self::Hierarchy { .. } => "DE005",
            Self::NotOneRowPerPerson { .. } => "DE006",
            Self::Unreachable { .. } => "DE007",
            Self::Recount { .. } => "DE008",
            Self::NotDiverse { .. } => "DE009",
            Self::Model { .. } => "DE010",
            Self::Population { .. } => "DE011",
            Self::File { .. } => "DE012",
            Self::Attacked { .. } => "DE020",
            Self::Value { .. } => "DE030",
            Self::Key { .. } => "DE031",
            Self::Recovered { .. } => "DE032",
            Self::Untransformed { .. } => "DE033",
            Self::InMemory { .. } => "DE034",
            Self::Exposed { .. } => "DE021",
            Self::EventsUnreachable { .. } => "DE040",
        }
    }
    fn hint(&self) -> &'static str {
        match self {
            Self::NotGranted(error) => error.hint(),
            Self::Frame(error) => error.hint(),
            Self::Policy { .. } => "correct [deidentify] in the recipe; docs/trustee.md explains every key",
            Self::Columns { .. } => {
                "name every column of the cohort in [deidentify.columns] with its role, and no other"
            }
            Self::NotInHierarchy { .. } => "add the value to the hierarchy, or correct it in the cohort's SQL",
            Self::Type { .. } => "cast the column in the cohort's SQL",
            Self::Value { .. } => "correct the value, leave it empty, or give the column another transformation",
            Self::Key { .. } => "name a file of 64 hex digits; `acequia shift-dates --new-key FILE` makes one",
            Self::Recovered { .. } => {
                "nothing was released; raise days_max, shift by whole weeks (step_days = 7), give a window, or name codes of a time in calendar_bound"
            }
            Self::Untransformed { .. } => {
                "nothing was released; de-identify the table under this policy; when the program made it, this is a defect: please report it with the code"
            }
            Self::InMemory { .. } => "raise --memory-mb above the size of the table, or leave the transformation out",
            Self::Hierarchy { .. } => "correct the hierarchy; docs/trustee.md explains its form",
            Self::NotOneRowPerPerson { .. } => "group by person in the cohort's SQL",
            Self::Unreachable { .. } => {
                "add coarser levels to the hierarchies, drop a quasi-identifier from the cohort, or allow more suppression"
            }
            Self::Recount { .. } | Self::NotDiverse { .. } | Self::Model { .. } => {
                "nothing was released; de-identify the table under this policy; when the program made it, this is a defect: please report it with the code"
            }
            Self::Population { .. } => {
                "give a table of the population with the same columns, for models that compare with it"
            }
            Self::Attacked { .. } => {
                "nothing was released; raise k, make columns coarser, ask for diverse sensitive values, or correct [attacks]"
            }
            Self::Exposed { .. } => {
                "keep hierarchies and policy as in the earlier version, wait until more persons joined or left together, or raise ledger.withhold_limit"
            }
            Self::EventsUnreachable { .. } => {
                "let columns become coarser, expect an attacker to know fewer codes, or raise events.suppression_limit"
            }
            Self::File { .. } => "give a CSV file with a header row (plain or .gz) or a Parquet file",
        }
    }
    fn exit(&self) -> Exit {
        match self {
            Self::NotGranted(error) => error.exit(),
            Self::Policy { .. } | Self::Columns { .. } | Self::Hierarchy { .. } => Exit::Usage,
            Self::Population { .. } | Self::Key { .. } | Self::InMemory { .. } => Exit::Usage,
            Self::Recovered { .. } | Self::Untransformed { .. } => Exit::PolicyRefused,
            Self::Attacked { .. } => Exit::PolicyRefused,
            Self::Unreachable { .. }
            | Self::Exposed { .. }
            | Self::EventsUnreachable { .. }
            | Self::Recount { .. }
            | Self::NotDiverse { .. }
            | Self::Model { .. } => Exit::PolicyRefused,
            _ => Exit::Failure,
        }
    }
}
