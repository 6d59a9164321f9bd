//! Files that commands write.

use std::io::Write;
use std::path::Path;

use acequia_deidentify::DeidentifyError;

/// Writes a file aside, and gives it its name when it is whole.
pub(crate) fn write_aside(path: &Path, text: &str) -> Result<(), DeidentifyError> {
    let file = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let failed = |error: std::io::Error| DeidentifyError::File {
        file: file.clone(),
        problem: format!("cannot be written: {}", error.kind()),
    };
    let mut aside = path.as_os_str().to_owned();
    aside.push(".part");
    let written = std::fs::File::create(&aside)
        .and_then(|mut to| to.write_all(text.as_bytes()).and_then(|()| to.sync_all()))
        .and_then(|()| std::fs::rename(&aside, path));
    written.map_err(|error| {
        // What is not whole must not lie about.
        let _ = std::fs::remove_file(&aside);
        failed(error)
    })
}

/// The name of a table, for the title of a report.
pub(crate) fn title(table: &Path) -> String {
    let name = table.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    name.rsplit_once('.').map_or(name, |(stem, _)| stem).to_owned()
}
