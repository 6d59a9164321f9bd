//! What a release reads from the de-identification receipt, `acequia-risk/1`.

use serde_json::Value;

use crate::ReleaseError;

/// A view of the receipt's JSON. Only the policy's k and the list of quasi-identifiers are required.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Receipt<'a>(pub(crate) &'a Value);

impl<'a> Receipt<'a> {
    /// The k every equivalence class must reach.
    pub(crate) fn k(&self) -> Result<u64, ReleaseError> {
        self.whole("/policy/k").ok_or(ReleaseError::Receipt { what: "/policy/k" })
    }

    /// Names of the quasi-identifiers.
    pub(crate) fn quasi_identifiers(&self) -> Result<Vec<&'a str>, ReleaseError> {
        let list = self.0.pointer("/quasi_identifiers").and_then(Value::as_array);
        let list = list.ok_or(ReleaseError::Receipt { what: "/quasi_identifiers" })?;
        let name = |entry: &'a Value| entry.get("column").and_then(Value::as_str);
        let names: Option<Vec<&str>> = list.iter().map(name).collect();
        names.ok_or(ReleaseError::Receipt { what: "/quasi_identifiers/*/column" })
    }

    pub(crate) fn whole(&self, pointer: &str) -> Option<u64> {
        self.0.pointer(pointer).and_then(Value::as_u64)
    }

    pub(crate) fn real(&self, pointer: &str) -> Option<f64> {
        self.0.pointer(pointer).and_then(Value::as_f64)
    }

    pub(crate) fn text(&self, pointer: &str) -> Option<&'a str> {
        self.0.pointer(pointer).and_then(Value::as_str)
    }

    pub(crate) fn list(&self, pointer: &str) -> &'a [Value] {
        self.0.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    /// How a column was made coarser or otherwise changed, in words; `None` where de-identification left it alone.
    /// `emptied`: every value in the table is `*`.
    pub(crate) fn generalisation(&self, column: &str, emptied: bool) -> Option<String> {
        let is_it = |entry: &&Value| entry.get("column").and_then(Value::as_str) == Some(column);
        let Some(entry) = self.list("/quasi_identifiers").iter().find(is_it) else { return self.transformed(column) };
        if emptied {
            return Some("left out: every value is *".to_owned());
        }
        let text = |key: &str| entry.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
        if let Some(words) = ["words", "level_label", "description"].into_iter().find_map(text) {
            return Some(words.to_owned());
        }
        let number = |key: &str| entry.get(key).and_then(Value::as_u64);
        Some(match (number("level"), number("levels")) {
            (Some(0), _) => "not changed".to_owned(),
            (Some(level), Some(levels)) => format!("made coarser (level {level}, {levels} levels)"),
            _ => "made coarser".to_owned(),
        })
    }

    /// What was done to a column besides, in words.
    fn transformed(&self, column: &str) -> Option<String> {
        let about = |step: &&Value| {
            let columns = step.get("columns").and_then(Value::as_array);
            columns.is_some_and(|columns| columns.iter().any(|name| name.as_str() == Some(column)))
        };
        let steps = self.list("/transformations").iter().filter(about);
        let words: Vec<&str> = steps.filter_map(|step| step.get("words")?.as_str()).collect();
        (!words.is_empty()).then(|| words.join("; "))
    }
}
