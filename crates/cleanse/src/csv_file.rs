//! Reading a CSV table of the model straight into typed columns.
//!
//! Commas or tabs, told by the header; RFC 4180 quotes with commas, none with tabs (as Athena writes). An empty field is
//! missing, quoted or not. Rows with more or fewer fields than the header are counted; what they have is used.

use std::io::Read;
use std::sync::Arc;

use acequia_omop::{CdmTable, FieldType};
use arrow::array::{
    ArrayRef, BooleanBufferBuilder, Date32Builder, Float64Builder, Int64Builder, RecordBatch, StringArray,
    StringBuilder, TimestampSecondBuilder,
};
use arrow::buffer::ScalarBuffer;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use crate::CleanseError;
use crate::column::{Column, Presence, Texts, Values, both, day, whole};
use crate::tables::{Rows, Taker, Wanted};

/// Bytes read at a time.
const CHUNK_BYTES: usize = 1 << 20;
/// A record longer than this is an unclosed quote, not a record.
const RECORD_BYTES_MAX: usize = 64 << 20;

/// A value that is not of its field's type.
pub(crate) struct Unreadable {
    /// Row of the batch.
    pub(crate) row: usize,
    /// Column of the batch.
    pub(crate) column: usize,
    /// As it stands in the file.
    pub(crate) text: String,
}

/// What takes whole batches.
pub(crate) type TakeBatch<'a> = &'a mut dyn FnMut(RecordBatch, Vec<Unreadable>) -> Result<(), CleanseError>;

/// A CSV table.
pub(crate) struct CsvFile {
    table: CdmTable,
    reader: Box<dyn Read>,
    buffer: Vec<u8>,
    /// Where the next record begins.
    at: usize,
    filled: usize,
    ended: bool,
    delimiter: u8,
    columns: Vec<String>,
    /// Records so far, the header included.
    records: u64,
    uneven: u64,
    unquoted: Vec<u8>,
}

/// A field of a record: where it lies, or where its text without quotes lies.
#[derive(Clone, Copy)]
struct Span {
    from: usize,
    to: usize,
    /// In `unquoted` instead of the buffer.
    unquoted: bool,
}

impl CsvFile {
    /// Reads the header.
    pub(crate) fn open(table: CdmTable, reader: Box<dyn Read>) -> Result<Self, CleanseError> {
        let mut file = Self {
            table,
            reader,
            buffer: vec![0; CHUNK_BYTES],
            at: 0,
            filled: 0,
            ended: false,
            delimiter: b',',
            columns: Vec::new(),
            records: 0,
            uneven: 0,
            unquoted: Vec::new(),
        };
        file.fill()?;
        if file.buffer[..file.filled].starts_with(b"\xef\xbb\xbf") {
            file.at = 3;
        }
        let first_line = file.buffer[file.at..file.filled].split(|byte| *byte == b'\n').next().unwrap_or_default();
        if first_line.contains(&b'\t') {
            file.delimiter = b'\t';
        }
        let mut spans = Vec::new();
        if file.next(&mut spans)? {
            let name = |span: &Span| String::from_utf8_lossy(file.text(*span)).trim().to_lowercase();
            file.columns = spans.iter().map(name).collect();
        }
        let repeated = file.columns.iter().enumerate().any(|(at, name)| file.columns[..at].contains(name));
        if file.columns.iter().all(String::is_empty) || repeated {
            return Err(CleanseError::Csv {
                table: table.name(),
                row: 1,
                message: "the header is empty or names a column twice",
            });
        }
        Ok(file)
    }

    /// Names of the columns, in lower case.
    pub(crate) fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Rows so far with another number of fields than the header.
    pub(crate) fn uneven(&self) -> u64 {
        self.uneven
    }

    fn text(&self, span: Span) -> &[u8] {
        if span.unquoted { &self.unquoted[span.from..span.to] } else { &self.buffer[span.from..span.to] }
    }

    /// Reads more bytes behind those that are not used yet.
    fn fill(&mut self) -> Result<(), CleanseError> {
        self.buffer.copy_within(self.at..self.filled, 0);
        self.filled -= self.at;
        self.at = 0;
        if self.filled == self.buffer.len() {
            if self.filled >= RECORD_BYTES_MAX {
                return Err(self.wrong("a quoted field is never closed, or a record is longer than 64 MB"));
            }
            self.buffer.resize(self.filled * 2, 0);
        }
        while self.filled < self.buffer.len() && !self.ended {
            let read = self.reader.read(&mut self.buffer[self.filled..]).map_err(|error| CleanseError::Io {
                what: format!("the file of table {}", self.table.name()),
                doing: "read",
                kind: error.kind(),
            })?;
            self.ended = read == 0;
            self.filled += read;
        }
        Ok(())
    }

    fn wrong(&self, message: &'static str) -> CleanseError {
        CleanseError::Csv { table: self.table.name(), row: self.records + 1, message }
    }

    /// Finds the fields of the next record; `false` at the end.
    fn next(&mut self, spans: &mut Vec<Span>) -> Result<bool, CleanseError> {
        loop {
            spans.clear();
            self.unquoted.clear();
            match self.split(spans) {
                Some(end) => {
                    self.at = end;
                    // A line without anything is no record.
                    if spans.len() == 1 && spans[0].from == spans[0].to && !spans[0].unquoted {
                        continue;
                    }
                    self.records += 1;
                    return Ok(true);
                }
                None if self.ended => {
                    if self.at == self.filled {
                        return Ok(false);
                    }
                    // The last record has no line end: give it one, unless it is inside quotes.
                    if self.buffer[self.filled - 1] == b'\n' {
                        return Err(self.wrong("a quoted field is never closed"));
                    }
                    if self.filled == self.buffer.len() {
                        self.buffer.push(0);
                    }
                    self.buffer[self.filled] = b'\n';
                    self.filled += 1;
                }
                None => self.fill()?,
            }
        }
    }

    /// Splits the record at `at`; returns where the next begins, or nothing if its end is not in the buffer.
    fn split(&mut self, spans: &mut Vec<Span>) -> Option<usize> {
        let (delimiter, bytes) = (self.delimiter, &self.buffer[..self.filled]);
        let mut at = self.at;
        loop {
            if delimiter == b',' && bytes.get(at) == Some(&b'"') {
                let begin = self.unquoted.len();
                at += 1;
                loop {
                    let quote = at + bytes.get(at..)?.iter().position(|byte| *byte == b'"')?;
                    self.unquoted.extend_from_slice(&bytes[at..quote]);
                    at = quote + 1;
                    if *bytes.get(at)? != b'"' {
                        break;
                    }
                    self.unquoted.push(b'"');
                    at += 1;
                }
                // What stands between the closing quote and the delimiter belongs to the field.
                let rest = bytes[at..].iter().position(|byte| *byte == delimiter || *byte == b'\n')?;
                let tail = &bytes[at..at + rest];
                self.unquoted.extend_from_slice(if bytes[at + rest] == b'\n' {
                    tail.strip_suffix(b"\r").unwrap_or(tail)
                } else {
                    tail
                });
                at += rest;
                spans.push(Span { from: begin, to: self.unquoted.len(), unquoted: true });
            } else {
                let from = at;
                while *bytes.get(at)? != delimiter && bytes[at] != b'\n' {
                    at += 1;
                }
                let to = if bytes[at] == b'\n' && at > from && bytes[at - 1] == b'\r' { at - 1 } else { at };
                spans.push(Span { from, to, unquoted: false });
            }
            at += 1;
            if bytes[at - 1] == b'\n' {
                return Some(at);
            }
        }
    }

    /// Goes through the rows once.
    pub(crate) fn scan(&mut self, wanted: &[Wanted], batch_rows: usize, take: Taker<'_>) -> Result<(), CleanseError> {
        let places: Vec<usize> = wanted
            .iter()
            .map(|wanted| self.columns.iter().position(|name| *name == wanted.field.name).unwrap_or(usize::MAX))
            .collect();
        let mut cells: Vec<Cells> = wanted.iter().map(Cells::new).collect();
        let (mut spans, mut count) = (Vec::with_capacity(self.columns.len()), 0);
        while self.next(&mut spans)? {
            if spans.len() != self.columns.len() {
                self.uneven += 1;
            }
            for (place, cells) in places.iter().zip(&mut cells) {
                cells.push(spans.get(*place).map_or(b"", |span| self.text(*span)));
            }
            count += 1;
            if count == batch_rows {
                take(&Rows { count, columns: cells.iter_mut().map(|cells| cells.take(count)).collect() })?;
                count = 0;
            }
        }
        if count > 0 {
            take(&Rows { count, columns: cells.iter_mut().map(|cells| cells.take(count)).collect() })?;
        }
        Ok(())
    }

    /// The types whole batches have: those of the model; what it does not know is text.
    fn schema(&self) -> SchemaRef {
        let field = |name: &String| {
            let known = self.table.fields().iter().find(|field| field.name == *name);
            Field::new(name, known.map_or(DataType::Utf8, |field| field.field_type.arrow()), true)
        };
        Arc::new(Schema::new(self.columns.iter().map(field).collect::<Vec<_>>()))
    }

    /// Whole batches in the types of the model, each with the values that are not of their field's type: those are missing
    /// in the batch.
    pub(crate) fn batches(&mut self, batch_rows: usize, take: TakeBatch<'_>) -> Result<(), CleanseError> {
        let schema = self.schema();
        let mut builders: Vec<Builder> = schema.fields().iter().map(|field| Builder::new(field.data_type())).collect();
        let (mut spans, mut count, mut unreadable) = (Vec::with_capacity(self.columns.len()), 0, Vec::new());
        loop {
            let more = self.next(&mut spans)?;
            if (count == batch_rows || !more) && count > 0 {
                let columns = builders.iter_mut().map(Builder::finish).collect();
                let batch = RecordBatch::try_new(Arc::clone(&schema), columns).map_err(|source| {
                    CleanseError::Column { table: self.table.name(), field: String::new(), source }
                })?;
                take(batch, std::mem::take(&mut unreadable))?;
                count = 0;
            }
            if !more {
                return Ok(());
            }
            for (at, builder) in builders.iter_mut().enumerate() {
                let text = spans.get(at).map_or(&b""[..], |span| self.text(*span));
                if !builder.push(text) {
                    unreadable.push(Unreadable {
                        row: count,
                        column: at,
                        text: String::from_utf8_lossy(text).into_owned(),
                    });
                }
            }
            count += 1;
        }
    }
}

/// Values of one column while rows are read.
struct Cells {
    kind: Kind,
    presence: Presence,
    unreadable: Option<BooleanBufferBuilder>,
    rows: usize,
}

enum Kind {
    Presence,
    Ints(Vec<i64>),
    Floats(Vec<f64>),
    Days { values: Vec<i32>, last: (Vec<u8>, i32) },
    Texts(StringBuilder),
}

impl Cells {
    fn new(wanted: &Wanted) -> Self {
        let kind = match wanted.field.field_type {
            FieldType::Integer => Kind::Ints(Vec::new()),
            _ if !wanted.values => Kind::Presence,
            FieldType::Float => Kind::Floats(Vec::new()),
            FieldType::Date | FieldType::Datetime => Kind::Days { values: Vec::new(), last: (Vec::new(), 0) },
            FieldType::Varchar => Kind::Texts(StringBuilder::new()),
        };
        Self { kind, presence: Presence::default(), unreadable: None, rows: 0 }
    }

    fn push(&mut self, text: &[u8]) {
        self.presence.push(!text.is_empty());
        let readable = match &mut self.kind {
            Kind::Presence => true,
            Kind::Ints(values) => {
                let value = if text.is_empty() { Some(0) } else { whole(text) };
                values.push(value.unwrap_or(0));
                value.is_some()
            }
            Kind::Floats(values) => {
                let value = if text.is_empty() { Some(0.0) } else { float(text) };
                values.push(value.unwrap_or(0.0));
                value.is_some()
            }
            Kind::Days { values, last } => {
                let value = if text.is_empty() {
                    Some(0)
                } else if *text == *last.0 {
                    // Rows of a visit share their dates.
                    Some(last.1)
                } else {
                    let value = day(text);
                    if let Some(value) = value {
                        last.0.clear();
                        last.0.extend_from_slice(text);
                        last.1 = value;
                    }
                    value
                };
                values.push(value.unwrap_or(0));
                value.is_some()
            }
            Kind::Texts(values) => {
                values.append_value(String::from_utf8_lossy(text));
                true
            }
        };
        if !readable && self.unreadable.is_none() {
            let mut bits = BooleanBufferBuilder::new(self.rows + 1024);
            bits.append_n(self.rows, false);
            self.unreadable = Some(bits);
        }
        if let Some(bits) = &mut self.unreadable {
            bits.append(!readable);
        }
        self.rows += 1;
    }

    fn take(&mut self, rows: usize) -> Column {
        self.rows = 0;
        let present = self.presence.take();
        let unreadable = self.unreadable.take().map(|mut bits| bits.finish());
        let readable = unreadable.as_ref().map(|unreadable| !unreadable);
        let valid = both(present.as_ref(), readable.as_ref());
        let values = match &mut self.kind {
            Kind::Presence => Values::None,
            Kind::Ints(values) => Values::Ints(ScalarBuffer::from(std::mem::take(values))),
            Kind::Floats(values) => Values::Floats(ScalarBuffer::from(std::mem::take(values))),
            Kind::Days { values, .. } => Values::Days(ScalarBuffer::from(std::mem::take(values))),
            Kind::Texts(values) => {
                let texts: StringArray = values.finish();
                Values::Texts(Texts::Plain(texts))
            }
        };
        Column { rows, present, unreadable, valid, values }
    }
}

fn float(text: &[u8]) -> Option<f64> {
    let value: f64 = std::str::from_utf8(text).ok()?.trim().parse().ok()?;
    value.is_finite().then_some(value)
}

/// Values of one column of a whole batch.
enum Builder {
    Ints(Int64Builder),
    Floats(Float64Builder),
    Days(Date32Builder),
    Seconds(TimestampSecondBuilder),
    Texts(StringBuilder),
}

impl Builder {
    fn new(data_type: &DataType) -> Self {
        match data_type {
            DataType::Int64 => Self::Ints(Int64Builder::new()),
            DataType::Float64 => Self::Floats(Float64Builder::new()),
            DataType::Date32 => Self::Days(Date32Builder::new()),
            DataType::Timestamp(..) => Self::Seconds(TimestampSecondBuilder::new()),
            _ => Self::Texts(StringBuilder::new()),
        }
    }

    fn push(&mut self, text: &[u8]) -> bool {
        let missing = text.is_empty();
        match self {
            Self::Ints(values) => {
                let value = whole(text);
                values.append_option(value);
                missing || value.is_some()
            }
            Self::Floats(values) => {
                let value = float(text);
                values.append_option(value);
                missing || value.is_some()
            }
            Self::Days(values) => {
                let value = day(text);
                values.append_option(value);
                missing || value.is_some()
            }
            Self::Seconds(values) => {
                let value = day(text).map(|day| i64::from(day) * 86_400 + clock(text));
                values.append_option(value);
                missing || value.is_some()
            }
            Self::Texts(values) => {
                values.append_option((!missing).then(|| String::from_utf8_lossy(text)));
                true
            }
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Ints(values) => Arc::new(values.finish()),
            Self::Floats(values) => Arc::new(values.finish()),
            Self::Days(values) => Arc::new(values.finish()),
            Self::Seconds(values) => Arc::new(values.finish()),
            Self::Texts(values) => Arc::new(values.finish()),
        }
    }
}

/// Seconds of the day in `YYYY-MM-DD HH:MM[:SS…]`; midnight where none is told.
fn clock(text: &[u8]) -> i64 {
    let part = |from: usize| -> i64 {
        text.get(from..from + 2).and_then(|two| std::str::from_utf8(two).ok()?.parse().ok()).unwrap_or(0)
    };
    part(11) * 3600 + part(14) * 60 + part(17)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::*;

    fn rows(text: &str) -> Vec<Vec<String>> {
        let mut file = CsvFile::open(CdmTable::Vocabulary, Box::new(Cursor::new(text.as_bytes().to_vec()))).unwrap();
        let (mut spans, mut rows) = (Vec::new(), Vec::new());
        while file.next(&mut spans).unwrap() {
            rows.push(spans.iter().map(|span| String::from_utf8_lossy(file.text(*span)).into_owned()).collect());
        }
        rows
    }

    #[test]
    fn quotes_line_ends_and_tabs() {
        assert_eq!(
            rows("a,b\r\n1,\"x, \"\"y\"\"\nz\"\r\n\n,\n3,4"),
            [vec!["1", "x, \"y\"\nz"], vec!["", ""], vec!["3", "4"]]
        );
        assert_eq!(rows("\u{feff}a\tb\n\"1\tit's\n"), [["\"1", "it's"]]);
    }

    #[test]
    fn an_unclosed_quote_is_told_by_its_row() {
        let text = "a,b\n1,2\n3,\"4\n5,6\n";
        let mut file = CsvFile::open(CdmTable::Vocabulary, Box::new(Cursor::new(text.as_bytes().to_vec()))).unwrap();
        let mut spans = Vec::new();
        assert!(file.next(&mut spans).unwrap());
        assert_eq!(
            file.next(&mut spans).unwrap_err().to_string(),
            "table vocabulary, row 3 of its file: a quoted field is never closed"
        );
    }

    proptest! {
        #[test]
        fn whatever_is_written_as_csv_is_read_back(table in proptest::collection::vec(proptest::array::uniform3("[ -~\n\"]{0,12}"), 1..40)) {
            let mut writer = csv::Writer::from_writer(Vec::new());
            writer.write_record(["a", "b", "c"]).unwrap();
            for row in &table {
                writer.write_record(row).unwrap();
            }
            let text = String::from_utf8(writer.into_inner().unwrap()).unwrap();
            prop_assert_eq!(rows(&text), table.iter().map(|row| row.to_vec()).collect::<Vec<_>>());
        }
    }
}
