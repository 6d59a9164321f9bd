//! What an error code means: the manual, without looking for it.

use acequia_node::NodeError;
use serde_json::json;

use crate::show::Out;

const MANUAL: &str = include_str!("../../../docs/errors.md");

/// A row of the manual's tables.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    /// Under which heading it stands.
    about: &'static str,
    codes: Vec<&'static str>,
    meaning: &'static str,
    help: &'static str,
}

fn rows() -> impl Iterator<Item = Row> {
    let mut about = "";
    MANUAL.lines().filter_map(move |line| {
        if let Some(heading) = line.strip_prefix("## ") {
            about = heading;
        }
        let cells: Vec<&str> = line.strip_prefix("| `")?.strip_suffix(" |")?.split(" | ").collect();
        let [codes, meaning, help] = cells[..] else { return None };
        let codes = codes.split(", ").map(|code| code.trim_matches('`')).collect();
        Some(Row { about, codes, meaning, help })
    })
}

/// Prints what a code means and what to do about it.
///
/// # Errors
/// [`NodeError::NotFound`] for what is no code.
pub(crate) fn run(code: &str, out: &Out) -> Result<(), NodeError> {
    let wanted = code.trim().to_ascii_uppercase();
    let row = rows().find(|row| row.codes.contains(&wanted.as_str()));
    let row = row.ok_or(NodeError::NotFound { what: "error code" })?;
    let Row { about, meaning, help, .. } = row;
    let told = || json!({ "code": wanted, "about": about, "meaning": meaning, "help": help });
    out.print(told, || format!("{wanted}  {about}\n\n{meaning}.\n\nWhat to do: {help}."));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_the_manual_is_found() {
        let all: Vec<Row> = rows().collect();
        let listed = MANUAL.lines().filter(|line| line.starts_with("| `") && line.ends_with('|')).count();
        assert_eq!(all.len(), listed, "a row has another form than three cells");
        assert!(all.iter().all(|row| !row.about.is_empty() && !row.meaning.is_empty() && !row.help.is_empty()));
        assert!(run("re005", &Out { json: true }).is_ok(), "one of two in a cell, in small letters");
        assert!(matches!(run("XX999", &Out { json: false }), Err(NodeError::NotFound { .. })));
    }
}
