//! Problems found in data: data about data, listed and counted, never thrown away.

use serde::{Deserialize, Serialize};

/// Where in an input something is. Holds positions and column names only.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// Which donated file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intake: Option<String>,
    /// One-based line of a text file, or one-based entry of a bundle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row: Option<u64>,
    /// Column of a table or element of a resource (`Patient.birthDate`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<String>,
}

impl Place {
    /// A place in a row, zero columns known.
    pub fn row(row: u64) -> Self {
        Self { row: Some(row), ..Self::default() }
    }

    /// The same place, in `column`.
    #[must_use]
    pub fn column(&self, column: &str) -> Self {
        Self { column: Some(column.to_owned()), ..self.clone() }
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut parts = Vec::new();
        if let Some(intake) = &self.intake {
            parts.push(intake.clone());
        }
        if let Some(row) = self.row {
            parts.push(format!("row {row}"));
        }
        if let Some(column) = &self.column {
            parts.push(format!("column {column}"));
        }
        f.write_str(&parts.join(", "))
    }
}

/// One thing wrong with one place of an input.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Problem {
    /// Stable code, listed in `docs/errors.md`.
    pub code: String,
    /// What is wrong, without the value.
    pub what: String,
    /// Where it is.
    pub place: Place,
    /// How to mend it.
    pub hint: String,
}

impl Problem {
    /// A problem at a place.
    pub fn new(code: &str, what: impl Into<String>, place: Place, hint: &str) -> Self {
        Self { code: code.to_owned(), what: what.into(), place, hint: hint.to_owned() }
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {} ({})", self.place, self.what, self.code)
    }
}
