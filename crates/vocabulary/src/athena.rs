//! The download of Athena: a folder or a zip of tab-separated tables without quotes.
//!
//! Memory stays near the codes and 60 bytes of each concept; relationships, ancestors and words are sorted in scratch
//! files beside the index. Tables exported from a database as comma-separated files with quotes are read as well.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Seek, Write};
use std::path::Path;

use acequia_blobs::{ScratchFolder, write_stream_atomically};
use acequia_omop::{
    Built, ConceptRow, Relation, Scratch, ScratchFile, VocabularyBuilder, VocabularyError, VocabularyInfo,
};
use acequia_types::{Day, parse_day};
use serde::Serialize;
use zip::ZipArchive;

use crate::VocabularyFileError;

/// Longest line in bytes. The longest of Athena have some thousands.
const LINE_BYTES: usize = 1 << 20;
/// Bytes read at a time.
const AHEAD: usize = 1 << 20;
/// Rows between two reports of progress.
const REPORT_ROWS: u64 = 1_000_000;

/// What was loaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Loaded {
    /// Version of the vocabularies.
    pub version: String,
    /// What the index was built from.
    #[serde(flatten)]
    pub built: Built,
    /// Rows of CONCEPT_RELATIONSHIP that are no valid `Maps to` or `Maps to value`, and so are not in the index.
    pub other_relationships: u64,
    /// Tables of the export that the index has no use for.
    pub unused_tables: Vec<String>,
}

/// Builds an index from an export. `progress` gets the table and the rows read of it, now and then.
///
/// # Errors
/// [`VocabularyFileError`]: a table or column is missing, a line cannot be read, the disk is full. The old index, if any,
/// is then untouched.
pub fn load(export: &Path, index: &Path, progress: &mut dyn FnMut(&str, u64)) -> Result<Loaded, VocabularyFileError> {
    let mut export = Export::open(export)?;
    let folder = index.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut scratch = Beside(ScratchFolder::new(folder));
    write_stream_atomically(index, |file| {
        let mut out = BufWriter::with_capacity(AHEAD, file);
        build(&mut export, &mut scratch, &mut out, progress)
    })
}

/// Scratch files beside the index, where there is room for it.
struct Beside(ScratchFolder);

impl Scratch for Beside {
    fn file(&mut self) -> std::io::Result<Box<dyn ScratchFile>> {
        Ok(Box::new(self.0.file()?))
    }
}

const USED: [&str; 5] = ["VOCABULARY", "CONCEPT", "CONCEPT_RELATIONSHIP", "CONCEPT_ANCESTOR", "CONCEPT_SYNONYM"];

fn build(
    export: &mut Export,
    scratch: &mut dyn Scratch,
    out: &mut (impl Write + Seek),
    progress: &mut dyn FnMut(&str, u64),
) -> Result<Loaded, VocabularyFileError> {
    let mut version = String::new();
    let mut infos = Vec::new();
    export.rows("VOCABULARY", progress, ["vocabulary_id", "vocabulary_name", "vocabulary_version"], |row| {
        if row[0] == "None" {
            row[2].clone_into(&mut version);
        } else {
            let [vocabulary_id, name, version] = row.map(str::to_owned);
            infos.push(VocabularyInfo { vocabulary_id, name, version });
        }
        Ok(())
    })?;
    let mut builder = VocabularyBuilder::new(&version, Some(scratch));
    infos.into_iter().for_each(|info| builder.vocabulary(info));

    let columns = [
        "concept_id",
        "concept_name",
        "domain_id",
        "vocabulary_id",
        "concept_class_id",
        "standard_concept",
        "concept_code",
        "valid_start_date",
        "valid_end_date",
        "invalid_reason",
    ];
    let concepts = export.rows("CONCEPT", progress, columns, |row| {
        let [id, name, domain_id, vocabulary_id, concept_class_id, standard, code, start, end, invalid_reason] = row;
        let concept = ConceptRow {
            concept_id: number(id)?,
            name,
            domain_id,
            vocabulary_id,
            concept_class_id,
            code,
            standard,
            invalid_reason,
            valid_start: day(start)?,
            valid_end: day(end)?,
        };
        builder.concept(&concept).map_err(Wrong::Index)
    })?;
    if concepts.is_none() {
        return Err(VocabularyFileError::NoTable { table: "CONCEPT" });
    }

    let mut other_relationships = 0;
    let columns = ["concept_id_1", "concept_id_2", "relationship_id", "invalid_reason"];
    export.rows("CONCEPT_RELATIONSHIP", progress, columns, |[from, to, relationship, invalid]| {
        let relation = match relationship {
            "Maps to" => Relation::MapsTo,
            "Maps to value" => Relation::MapsToValue,
            _ => {
                other_relationships += 1;
                return Ok(());
            }
        };
        if !invalid.is_empty() {
            other_relationships += 1;
            return Ok(());
        }
        builder.relate(number(from)?, number(to)?, relation).map_err(Wrong::Index)
    })?;
    let columns = ["ancestor_concept_id", "descendant_concept_id"];
    export.rows("CONCEPT_ANCESTOR", progress, columns, |[above, below]| {
        builder.ancestor(number(above)?, number(below)?).map_err(Wrong::Index)
    })?;
    export.rows("CONCEPT_SYNONYM", progress, ["concept_id", "concept_synonym_name"], |[id, name]| {
        builder.synonym(number(id)?, name).map_err(Wrong::Index)
    })?;
    progress("the index", 0);
    let built = builder.finish(out)?;
    Ok(Loaded { version, built, other_relationships, unused_tables: export.unused() })
}

/// Why a row cannot be used.
enum Wrong {
    What(&'static str),
    Index(VocabularyError),
}

fn number(text: &str) -> Result<u32, Wrong> {
    text.parse().map_err(|_| Wrong::What("an id is no number from 0 to 4294967295"))
}

/// `YYYYMMDD` as Athena writes it, or `YYYY-MM-DD`.
fn day(text: &str) -> Result<Day, Wrong> {
    let wrong = Wrong::What("a date is no YYYYMMDD");
    if text.len() == 8 && text.is_ascii() {
        return parse_day(&format!("{}-{}-{}", &text[..4], &text[4..6], &text[6..])).ok_or(wrong);
    }
    parse_day(text.get(..10).unwrap_or(text)).ok_or(wrong)
}

/// The files of an export.
enum Export {
    Folder(Vec<(String, std::path::PathBuf)>),
    Zip(Vec<(String, usize)>, Box<ZipArchive<BufReader<File>>>),
}

/// Table name of a file: `CONCEPT` of `vocab/CONCEPT.csv`.
fn table_of(file: &str) -> Option<String> {
    let name = file.rsplit(['/', '\\']).next()?;
    let (name, ending) = name.rsplit_once('.')?;
    // `._CONCEPT.csv` is left by another operating system.
    (matches!(ending.to_ascii_lowercase().as_str(), "csv" | "tsv" | "txt") && !name.starts_with('.'))
        .then(|| name.to_ascii_uppercase())
}

impl Export {
    fn open(path: &Path) -> Result<Self, VocabularyFileError> {
        let cannot = |error: std::io::Error| {
            VocabularyFileError::File(acequia_blobs::BlobError::Io {
                what: "the export".to_owned(),
                doing: "read",
                kind: error.kind(),
            })
        };
        if path.is_dir() {
            let mut files = Vec::new();
            for entry in std::fs::read_dir(path).map_err(cannot)? {
                let path = entry.map_err(cannot)?.path();
                let table = path.file_name().and_then(|name| table_of(&name.to_string_lossy()));
                files.extend(table.map(|table| (table, path)));
            }
            files.sort();
            return Ok(Self::Folder(files));
        }
        let file = File::open(path).map_err(cannot)?;
        let mut archive =
            ZipArchive::new(BufReader::with_capacity(AHEAD, file)).map_err(|_| VocabularyFileError::Zip)?;
        let mut files = Vec::new();
        for at in 0..archive.len() {
            let entry = archive.by_index(at).map_err(|_| VocabularyFileError::Zip)?;
            let name = entry.name().map_err(|_| VocabularyFileError::Zip)?;
            files.extend(table_of(&name).map(|table| (table, at)));
        }
        files.sort();
        Ok(Self::Zip(files, Box::new(archive)))
    }

    fn tables(&self) -> Vec<&str> {
        match self {
            Self::Folder(files) => files.iter().map(|(table, _)| table.as_str()).collect(),
            Self::Zip(files, _) => files.iter().map(|(table, _)| table.as_str()).collect(),
        }
    }

    fn unused(&self) -> Vec<String> {
        self.tables().into_iter().filter(|table| !USED.contains(table)).map(str::to_owned).collect()
    }

    /// Hands the given columns of every row to `each`; `None` when the export lacks the table.
    fn rows<const N: usize>(
        &mut self,
        table: &'static str,
        progress: &mut dyn FnMut(&str, u64),
        columns: [&'static str; N],
        mut each: impl FnMut([&str; N]) -> Result<(), Wrong>,
    ) -> Result<Option<u64>, VocabularyFileError> {
        let mut read = |reader: &mut dyn Read| {
            rows(BufReader::with_capacity(AHEAD, reader), table, columns, &mut each, &mut |rows| progress(table, rows))
        };
        match self {
            Self::Folder(files) => {
                let Some((_, path)) = files.iter().find(|(found, _)| found == table) else { return Ok(None) };
                let mut file = File::open(path).map_err(|error| unreadable(&error))?;
                read(&mut file).map(Some)
            }
            Self::Zip(files, archive) => {
                let Some((_, at)) = files.iter().find(|(found, _)| found == table) else { return Ok(None) };
                let mut entry = archive.by_index(*at).map_err(|_| VocabularyFileError::Zip)?;
                read(&mut entry).map(Some)
            }
        }
    }
}

fn unreadable(error: &std::io::Error) -> VocabularyFileError {
    VocabularyFileError::File(acequia_blobs::BlobError::Io {
        what: "a table of the export".to_owned(),
        doing: "read",
        kind: error.kind(),
    })
}

/// Reads one table.
fn rows<const N: usize>(
    mut reader: impl BufRead,
    table: &'static str,
    columns: [&'static str; N],
    each: &mut dyn FnMut([&str; N]) -> Result<(), Wrong>,
    progress: &mut dyn FnMut(u64),
) -> Result<u64, VocabularyFileError> {
    let row = |line, what| VocabularyFileError::Row { table, line, what };
    let mut line = Vec::new();
    if !next_line(&mut reader, &mut line, table, 1)? {
        return Err(row(1, "the table is empty"));
    }
    let header = std::str::from_utf8(&line).map_err(|_| row(1, "it is not UTF-8"))?;
    let header = header.strip_prefix('\u{feff}').unwrap_or(header);
    let tabs = header.contains('\t');
    let names: Vec<String> =
        header.split(if tabs { '\t' } else { ',' }).map(|name| name.trim_matches('"').to_ascii_lowercase()).collect();
    let mut places = [0; N];
    for (place, column) in places.iter_mut().zip(columns) {
        *place = names.iter().position(|name| name == column).ok_or(VocabularyFileError::NoColumn { table, column })?;
    }
    let mut take = |fields: &[&str], number: u64| {
        let mut wanted = [""; N];
        for (field, place) in wanted.iter_mut().zip(places) {
            *field = fields.get(place).copied().ok_or_else(|| row(number, "it has fewer fields than the header"))?;
        }
        each(wanted).map_err(|wrong| match wrong {
            Wrong::What(what) => row(number, what),
            Wrong::Index(VocabularyError::Row { what, .. }) => row(number, what),
            Wrong::Index(error) => error.into(),
        })
    };
    let mut number = 1;
    if tabs {
        while next_line(&mut reader, &mut line, table, number + 1)? {
            number += 1;
            if line.is_empty() {
                continue;
            }
            let text = std::str::from_utf8(&line).map_err(|_| row(number, "it is not UTF-8"))?;
            let mut fields = [""; 16];
            let mut count = 0;
            for field in text.split('\t') {
                if let Some(place) = fields.get_mut(count) {
                    *place = field;
                }
                count += 1;
            }
            take(&fields[..count.min(16)], number)?;
            if number % REPORT_ROWS == 0 {
                progress(number);
            }
        }
        return Ok(number - 1);
    }
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(reader.take(u64::MAX));
    let mut record = csv::StringRecord::new();
    loop {
        match reader.read_record(&mut record) {
            Ok(true) => {}
            Ok(false) => return Ok(number - 1),
            Err(_) => return Err(row(number + 1, "it cannot be read as comma-separated UTF-8")),
        }
        number += 1;
        take(&record.iter().collect::<Vec<_>>(), number)?;
        if number % REPORT_ROWS == 0 {
            progress(number);
        }
    }
}

/// The next line without its end; false at the end of the table.
fn next_line(
    reader: &mut impl BufRead,
    line: &mut Vec<u8>,
    table: &'static str,
    number: u64,
) -> Result<bool, VocabularyFileError> {
    line.clear();
    let read = reader.take(LINE_BYTES as u64 + 1).read_until(b'\n', line).map_err(|error| unreadable(&error))?;
    if read > LINE_BYTES {
        return Err(VocabularyFileError::Row { table, line: number, what: "it is longer than a megabyte" });
    }
    while line.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
        line.pop();
    }
    Ok(read > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(table: &str) -> Result<Vec<(String, String)>, VocabularyFileError> {
        let mut found = Vec::new();
        let each = &mut |[a, b]: [&str; 2]| {
            found.push((a.to_owned(), b.to_owned()));
            Ok(())
        };
        rows(table.as_bytes(), "T", ["a", "b"], each, &mut |_| {})?;
        Ok(found)
    }

    #[test]
    fn tables_are_read_as_they_come() {
        let expected = [("1".to_owned(), "5\" \"x, y".to_owned())];
        assert_eq!(read("\u{feff}B\tc\tA\n5\" \"x, y\tz\t1\n").unwrap(), expected);
        assert_eq!(read("a,b\n1,\"5\"\" \"\"x, y\"\r\n").unwrap(), expected);
        assert_eq!(read("a\tb\r\n\r\n1\t2\r\n").unwrap(), [("1".to_owned(), "2".to_owned())]);
        assert!(matches!(read(""), Err(VocabularyFileError::Row { line: 1, .. })));
        assert!(matches!(read("a\tc\n"), Err(VocabularyFileError::NoColumn { column: "b", .. })));
        assert!(matches!(read("a\tb\n1\t2\n1\n"), Err(VocabularyFileError::Row { line: 3, .. })));
        let long = format!("a\tb\n1\t{}\n", "x".repeat(LINE_BYTES));
        assert!(matches!(read(&long), Err(VocabularyFileError::Row { line: 2, .. })));
    }

    #[test]
    fn dates_are_read_as_athena_and_databases_write_them() {
        for (text, expected) in
            [("20020131", "2002-01-31"), ("2002-01-31", "2002-01-31"), ("2002-01-31 00:00", "2002-01-31")]
        {
            assert_eq!(day(text).ok(), parse_day(expected));
        }
        assert!(day("2002").is_err() && day("20020231").is_err() && day("日本語だよ").is_err());
    }
}
