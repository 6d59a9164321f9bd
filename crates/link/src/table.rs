//! A table of a CSV file, each distinct text of a column kept once.

use std::fs::File;
use std::hash::BuildHasher;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;

use acequia_types::spreadsheet_undone;
use hashbrown::{DefaultHashBuilder, HashTable};

use crate::LinkError;
use crate::text::is_missing;

/// Stands for a missing value among the numbers of distinct texts.
pub(crate) const MISSING: u32 = u32::MAX;

/// A table of text. An empty field, and one that says "unknown", is a missing value.
#[derive(Debug, Clone, Default)]
pub struct Table {
    pub(crate) names: Vec<String>,
    pub(crate) columns: Vec<TextColumn>,
    pub(crate) rows: usize,
}

/// A column as numbers of its distinct texts, in the order of their first row.
#[derive(Debug, Clone, Default)]
pub(crate) struct TextColumn {
    pub(crate) texts: Vec<String>,
    pub(crate) rows: Vec<u32>,
}

impl TextColumn {
    pub(crate) fn text(&self, row: usize) -> Option<&str> {
        self.texts.get(self.rows[row] as usize).map(String::as_str)
    }
}

pub(crate) fn wrong(path: &Path, problem: impl Into<String>) -> LinkError {
    let file = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    LinkError::File { file, problem: problem.into() }
}

impl Table {
    /// Reads a CSV file with a header row; comma, semicolon, tab or bar; plain or gzip.
    ///
    /// # Errors
    /// [`LinkError::File`] with the row that cannot be read.
    pub fn read(path: &Path) -> Result<Self, LinkError> {
        let unreadable = |error: std::io::Error| wrong(path, format!("cannot be read: {}", error.kind()));
        let mut file = BufReader::with_capacity(1 << 16, File::open(path).map_err(unreadable)?);
        let packed = file.fill_buf().map_err(unreadable)?.starts_with(&[0x1f, 0x8b]);
        let plain: Box<dyn Read> =
            if packed { Box::new(flate2::bufread::MultiGzDecoder::new(file)) } else { Box::new(file) };
        Self::from_csv(plain).map_err(|problem| wrong(path, problem))
    }

    /// Reads CSV text; see [`Table::read`].
    ///
    /// # Errors
    /// What is wrong and at which row, without values.
    pub fn from_csv(plain: impl Read) -> Result<Self, String> {
        let unreadable = |error: std::io::Error| format!("cannot be read: {}", error.kind());
        let mut plain = BufReader::with_capacity(1 << 16, plain);
        if plain.fill_buf().map_err(unreadable)?.starts_with(&[0xef, 0xbb, 0xbf]) {
            plain.consume(3);
        }
        let first = plain.fill_buf().map_err(unreadable)?;
        let line = first.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let count = |delimiter: u8| line.iter().filter(|byte| **byte == delimiter).count();
        let delimiter = [b',', b';', b'\t', b'|'].into_iter().max_by_key(|d| (count(*d), *d == b',')).unwrap_or(b',');
        let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).from_reader(plain);
        let header = reader.headers().map_err(|error| bad_row(&error))?;
        let names = header.iter().map(|name| name.trim().to_owned()).collect::<Vec<_>>();
        if names.iter().all(String::is_empty) {
            return Err("the file is empty".to_owned());
        }
        let mut sorted: Vec<&String> = names.iter().collect();
        sorted.sort_unstable();
        if sorted.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err("two columns have the same name".to_owned());
        }
        let mut builder = Builder::new(names);
        let mut record = csv::StringRecord::new();
        while reader.read_record(&mut record).map_err(|error| bad_row(&error))? {
            builder.push(record.iter().map(spreadsheet_undone));
        }
        builder.finish()
    }

    /// A table from rows in memory.
    ///
    /// # Errors
    /// When a row has another number of fields than there are names, with its one-based number.
    pub fn from_rows<'a>(
        names: impl IntoIterator<Item = &'a str>,
        rows: impl IntoIterator<Item = Vec<&'a str>>,
    ) -> Result<Self, String> {
        let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
        let width = names.len();
        let mut builder = Builder::new(names);
        for (at, row) in rows.into_iter().enumerate() {
            if row.len() != width {
                return Err(format!("row {} has {} fields where {width} are expected", at + 1, row.len()));
            }
            builder.push(row.into_iter());
        }
        builder.finish()
    }

    /// Rows of the table.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether the table has no row.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Names of the columns, in order.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// A field by zero-based row; `None` when it is missing, or the column is.
    pub fn field(&self, row: usize, column: &str) -> Option<&str> {
        self.column(column)?.text(row)
    }

    pub(crate) fn column(&self, name: &str) -> Option<&TextColumn> {
        self.names.iter().position(|other| other == name).map(|at| &self.columns[at])
    }

    /// The column of record names, each present and there once.
    pub(crate) fn record_names(&self, column: &str) -> Result<Vec<&str>, LinkError> {
        let problem = |problem: String| LinkError::Column { column: column.to_owned(), problem };
        let found = self.column(column).ok_or_else(|| problem("is not in the file".to_owned()))?;
        let mut seen = vec![false; found.texts.len()];
        let mut names = Vec::with_capacity(self.rows);
        for row in 0..self.rows {
            let name = found.text(row).ok_or_else(|| problem(format!("is empty in row {}", row + 1)))?;
            if std::mem::replace(&mut seen[found.rows[row] as usize], true) {
                return Err(problem(format!("names a record a second time in row {}", row + 1)));
            }
            names.push(name);
        }
        Ok(names)
    }
}

/// Never with the reader's own words: they may repeat a field.
fn bad_row(error: &csv::Error) -> String {
    let row = error.position().map_or(0, |position| position.record());
    let problem = match error.kind() {
        csv::ErrorKind::Utf8 { .. } => "the text is not UTF-8",
        csv::ErrorKind::UnequalLengths { .. } => "the row has another number of fields than the header",
        csv::ErrorKind::Io(error) => return format!("row {row}: cannot be read: {}", error.kind()),
        _ => "the row cannot be read",
    };
    format!("row {row}: {problem}")
}

/// Numbers distinct texts in the order in which they come.
#[derive(Default)]
pub(crate) struct Interner {
    pub(crate) texts: Vec<String>,
    numbers: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl Interner {
    pub(crate) fn number(&mut self, text: &str) -> u32 {
        let Self { texts, numbers, hasher } = self;
        let hash = hasher.hash_one(text);
        if let Some(number) = numbers.find(hash, |number| texts[*number as usize] == text) {
            return *number;
        }
        let number = texts.len() as u32;
        texts.push(text.to_owned());
        numbers.insert_unique(hash, number, |number| hasher.hash_one(texts[*number as usize].as_str()));
        number
    }

    pub(crate) fn find(&self, text: &str) -> Option<u32> {
        self.numbers.find(self.hasher.hash_one(text), |number| self.texts[*number as usize] == text).copied()
    }
}

struct Builder {
    names: Vec<String>,
    columns: Vec<(Interner, Vec<u32>)>,
    rows: usize,
}

impl Builder {
    fn new(names: Vec<String>) -> Self {
        let columns = names.iter().map(|_| (Interner::default(), Vec::new())).collect();
        Self { names, columns, rows: 0 }
    }

    fn push<'a>(&mut self, fields: impl Iterator<Item = &'a str>) {
        for (field, (interner, rows)) in fields.zip(&mut self.columns) {
            let field = field.trim();
            rows.push(if is_missing(field) { MISSING } else { interner.number(field) });
        }
        self.rows += 1;
    }

    fn finish(self) -> Result<Table, String> {
        // Rows are numbered by 32 bits throughout, over both tables together.
        if self.rows > (u32::MAX / 4) as usize {
            return Err("too many rows".to_owned());
        }
        let columns = self.columns.into_iter().map(|(known, rows)| TextColumn { texts: known.texts, rows }).collect();
        Ok(Table { names: self.names, columns, rows: self.rows })
    }
}

/// Writes a file aside, syncs it and gives it its name, so that no half file is ever found. Readable by its owner only:
/// what links records names people.
pub(crate) fn write_whole(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
) -> Result<(), LinkError> {
    let unwritable = |error: std::io::Error| wrong(path, format!("cannot be written: {}", error.kind()));
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut aside = tempfile::NamedTempFile::new_in(folder).map_err(unwritable)?;
    {
        let mut buffer = std::io::BufWriter::with_capacity(1 << 16, aside.as_file_mut());
        write(&mut buffer).and_then(|()| buffer.flush()).map_err(unwritable)?;
    }
    aside.as_file().sync_all().map_err(unwritable)?;
    aside.persist(path).map_err(|error| unwritable(error.error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_read_with_its_missing_values() {
        let table = Table::from_csv("\u{feff}id;name\n1;Ann\n2;\n3; Unknown\n4;Ann\n".as_bytes()).unwrap();
        assert_eq!((table.len(), table.names().len()), (4, 2));
        assert_eq!(table.field(3, "name"), Some("Ann"));
        assert_eq!((table.field(1, "name"), table.field(2, "name"), table.field(0, "absent")), (None, None, None));
        assert_eq!(table.column("name").map(|column| column.texts.len()), Some(1));
    }

    #[test]
    fn errors_name_rows_and_never_values() {
        for (text, part) in
            [("", "empty"), ("a,a\n1,2\n", "same name"), ("a,b\n1,2\nsecret\n", "row 2: the row has another number")]
        {
            let error = Table::from_csv(text.as_bytes()).unwrap_err();
            assert!(error.contains(part) && !error.contains("secret"), "{error}");
        }
        let twice = Table::from_csv("id\nx1\nx1\n".as_bytes()).unwrap();
        let error = twice.record_names("id").unwrap_err().to_string();
        assert!(error.contains("row 2") && !error.contains("x1"), "{error}");
    }
}
