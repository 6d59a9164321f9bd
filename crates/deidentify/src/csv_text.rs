//! CSV text: rows of a file as fields, and fields as a row.
//!
//! Reading and writing text is a third of the time that a release takes, most of it on short fields without quotes. So a row
//! without a quotation mark is cut at its delimiters and no more; other rows go through the rules of RFC 4180, as the `csv`
//! crate reads them: a quotation mark counts at the start of a field only, rows end with LF, CR or both, rows without
//! any character are none. A test compares the two on random text.

use std::io::Read;

use acequia_types::{spreadsheet_safe, spreadsheet_undone};

/// Why a row cannot be read. `line`: the line of the file it begins at, from 1.
#[derive(Debug)]
pub(crate) enum BadRow {
    Io(std::io::Error),
    /// Another number of fields than the first row has.
    Fields {
        line: u64,
        found: usize,
        expected: usize,
    },
    NotUtf8 {
        line: u64,
    },
}

/// Bytes that are read at once.
const BLOCK: usize = 1 << 16;

/// Bytes that end a field or a row, and the quotation mark, each eight times.
struct Specials([u64; 4]);

impl Specials {
    fn new(delimiter: u8) -> Self {
        Self([delimiter, b'\n', b'\r', b'"'].map(|byte| u64::from_le_bytes([byte; 8])))
    }

    /// The highest bit of each of eight bytes that is special.
    #[inline]
    fn find(&self, eight: u64) -> u64 {
        const LOW: u64 = 0x7f7f_7f7f_7f7f_7f7f;
        // A byte is another one when a bit of their difference is set: one of the lower seven, which then carries into the
        // highest, or the highest itself.
        let others = self.0.iter().fold(u64::MAX, |others, special| {
            let difference = eight ^ special;
            others & (((difference & LOW) + LOW) | difference)
        });
        !others & !LOW
    }
}

/// Rows of a CSV text, one after the other.
pub(crate) struct CsvReader {
    source: Box<dyn Read>,
    /// What was read; `from` is where the next row begins, `to` where the bytes end.
    block: Vec<u8>,
    from: usize,
    to: usize,
    at_end: bool,
    specials: Specials,
    delimiter: u8,
    /// Line at which the next row begins.
    line: u64,
    /// Text of the row, and where in it each field begins and ends.
    text: String,
    fields: Vec<(u32, u32)>,
    /// Fields of the first row; 0 before it.
    expected: usize,
}

impl CsvReader {
    pub(crate) fn new(source: Box<dyn Read>, delimiter: u8) -> Self {
        Self {
            source,
            block: vec![0; BLOCK],
            from: 0,
            to: 0,
            at_end: false,
            specials: Specials::new(delimiter),
            delimiter,
            line: 1,
            text: String::new(),
            fields: Vec::new(),
            expected: 0,
        }
    }

    /// Goes to the next row; `false` behind the last.
    pub(crate) fn next(&mut self) -> Result<bool, BadRow> {
        // Empty lines are no rows.
        loop {
            match self.byte(self.from).map_err(BadRow::Io)? {
                None => return Ok(false),
                Some(b'\n') => self.line += 1,
                Some(b'\r') => {}
                Some(_) => break,
            }
            self.from += 1;
        }
        let line = self.line;
        let mut bytes = std::mem::take(&mut self.text).into_bytes();
        bytes.clear();
        self.fields.clear();
        if !self.plain(&mut bytes).map_err(BadRow::Io)? {
            self.quoted(&mut bytes).map_err(BadRow::Io)?;
        }
        let found = self.fields.len();
        if self.expected == 0 {
            self.expected = found;
        }
        if found != self.expected {
            return Err(BadRow::Fields { line, found, expected: self.expected });
        }
        self.text = String::from_utf8(bytes).map_err(|_| BadRow::NotUtf8 { line })?;
        let all_text = |(from, to): &(u32, u32)| {
            self.text.is_char_boundary(*from as usize) && self.text.is_char_boundary(*to as usize)
        };
        // A field that ends within a character is no text, although its row is.
        if !self.text.is_ascii() && !self.fields.iter().all(all_text) {
            return Err(BadRow::NotUtf8 { line });
        }
        Ok(true)
    }

    /// A field of the row, without the apostrophe that [`append_field`] puts before what a spreadsheet would run.
    #[inline]
    pub(crate) fn field(&self, at: usize) -> Option<&str> {
        let (from, to) = self.fields.get(at)?;
        self.text.get(*from as usize..*to as usize).map(spreadsheet_undone)
    }

    /// Fields of the row.
    pub(crate) fn fields(&self) -> impl Iterator<Item = &str> {
        (0..self.fields.len()).filter_map(|at| self.field(at))
    }

    /// The byte at a place of the block; reads on where it is behind the end. What lies before the row is let go.
    #[inline]
    fn byte(&mut self, at: usize) -> Result<Option<u8>, std::io::Error> {
        if at < self.to {
            return Ok(Some(self.block[at]));
        }
        let ahead = at - self.from;
        self.fill()?;
        Ok((self.from + ahead < self.to).then(|| self.block[self.from + ahead]))
    }

    /// Reads on behind what is there of the row, which moves to the front. Reads nothing at the end of the text.
    fn fill(&mut self) -> Result<(), std::io::Error> {
        if self.at_end {
            return Ok(());
        }
        self.block.copy_within(self.from..self.to, 0);
        (self.from, self.to) = (0, self.to - self.from);
        if self.to == self.block.len() {
            self.block.resize(self.block.len() * 2, 0);
        }
        loop {
            match self.source.read(&mut self.block[self.to..]) {
                Ok(read) => {
                    self.to += read;
                    self.at_end = read == 0;
                    return Ok(());
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// A row without quotation marks; `false`, and nothing is taken, when there is one.
    fn plain(&mut self, bytes: &mut Vec<u8>) -> Result<bool, std::io::Error> {
        // Places in the row, which stay the same when more is read.
        let (mut begin, mut at) = (0_usize, 0_usize);
        let end = 'row: loop {
            let row = &self.block[self.from..self.to];
            // Eight bytes at a time, and the last ones as if nothing followed them.
            while at < row.len() {
                let (eight, ahead) = match row[at..].first_chunk() {
                    Some(eight) => (*eight, 8),
                    None => {
                        let mut eight = [0; 8];
                        eight[..row.len() - at].copy_from_slice(&row[at..]);
                        (eight, row.len() - at)
                    }
                };
                let mut special = self.specials.find(u64::from_le_bytes(eight));
                while special != 0 {
                    let place = at + special.trailing_zeros() as usize / 8;
                    special &= special - 1;
                    if row[place] == self.delimiter {
                        self.fields.push((narrow(begin), narrow(place)));
                        begin = place + 1;
                    } else if row[place] == b'"' {
                        self.fields.clear();
                        return Ok(false);
                    } else {
                        break 'row place;
                    }
                }
                at += ahead;
            }
            if self.at_end {
                break at;
            }
            self.fill()?;
        };
        self.fields.push((narrow(begin), narrow(end)));
        bytes.extend_from_slice(&self.block[self.from..self.from + end]);
        self.from += end;
        // A line feed behind a carriage return belongs to it; an empty line elsewhere is passed over with the next row.
        if self.from < self.to {
            self.line += u64::from(self.block[self.from] == b'\n');
            self.from += 1;
        }
        Ok(true)
    }

    /// A row in which quotation marks are.
    fn quoted(&mut self, bytes: &mut Vec<u8>) -> Result<(), std::io::Error> {
        /// What comes next is read as what.
        enum In {
            Start,
            Field,
            Quotes,
            /// Behind a quotation mark within quotation marks: one of two, or the last.
            Mark,
        }
        let (mut state, mut begin) = (In::Start, 0);
        while let Some(byte) = self.byte(self.from)? {
            self.from += 1;
            self.line += u64::from(byte == b'\n');
            state = match state {
                In::Start if byte == b'"' => In::Quotes,
                In::Quotes if byte == b'"' => In::Mark,
                In::Mark if byte == b'"' => {
                    bytes.push(byte);
                    In::Quotes
                }
                In::Quotes => {
                    bytes.push(byte);
                    In::Quotes
                }
                In::Start | In::Field | In::Mark => {
                    if byte == self.delimiter {
                        self.fields.push((narrow(begin), narrow(bytes.len())));
                        begin = bytes.len();
                        In::Start
                    } else if matches!(byte, b'\n' | b'\r') {
                        break;
                    } else {
                        bytes.push(byte);
                        In::Field
                    }
                }
            };
        }
        self.fields.push((narrow(begin), narrow(bytes.len())));
        Ok(())
    }
}

fn narrow(place: usize) -> u32 {
    u32::try_from(place).expect("a row of less than 4 GB")
}

/// Appends a field as it stands in a row: between quotation marks where it would be read as something else, and behind an
/// apostrophe where a spreadsheet would run it (threat T13).
#[inline]
pub(crate) fn append_field(row: &mut Vec<u8>, field: &str, delimiter: u8) {
    let field = &*spreadsheet_safe(field);
    let special = |byte: &u8| *byte == delimiter || matches!(byte, b'"' | b'\n' | b'\r');
    if !field.as_bytes().iter().any(special) {
        row.extend_from_slice(field.as_bytes());
        return;
    }
    row.push(b'"');
    for byte in field.bytes() {
        if byte == b'"' {
            row.push(b'"');
        }
        row.push(byte);
    }
    row.push(b'"');
}

/// A field as it stands in a row; see [`append_field`].
pub(crate) fn field_text(field: Option<&str>, delimiter: u8) -> Box<[u8]> {
    let mut text = Vec::new();
    append_field(&mut text, field.unwrap_or_default(), delimiter);
    text.into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Gives few bytes at a time, so that rows lie across blocks.
    struct Drops(Vec<u8>, usize);

    impl Read for Drops {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            let count = self.0.len().min(into.len()).min(self.1);
            into[..count].copy_from_slice(&self.0[..count]);
            self.0.drain(..count);
            Ok(count)
        }
    }

    /// Rows, and whether reading stopped at a bad one: (line, is it a count of fields).
    type Outcome = (Vec<Vec<String>>, Option<(u64, bool)>);

    fn own(text: &[u8], drops: usize) -> Outcome {
        let mut reader = CsvReader::new(Box::new(Drops(text.to_vec(), drops)), b',');
        let mut rows = Vec::new();
        loop {
            match reader.next() {
                Ok(true) => rows.push(reader.fields().map(str::to_owned).collect()),
                Ok(false) => return (rows, None),
                Err(BadRow::Fields { line, .. }) => return (rows, Some((line, true))),
                Err(BadRow::NotUtf8 { line }) => return (rows, Some((line, false))),
                Err(BadRow::Io(error)) => panic!("{error}"),
            }
        }
    }

    fn reference(text: &[u8]) -> Outcome {
        let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(text);
        let mut rows = Vec::new();
        for record in reader.records() {
            match record {
                Ok(record) => rows.push(record.iter().map(str::to_owned).collect()),
                Err(error) => {
                    let fields = matches!(error.kind(), csv::ErrorKind::UnequalLengths { .. });
                    return (rows, Some((error.position().map_or(0, csv::Position::line), fields)));
                }
            }
        }
        (rows, None)
    }

    #[test]
    fn lines_are_those_of_the_file() {
        assert_eq!(own(b"a,b\n\"1\n\n\",2\n3\n", 3).1, Some((5, true)));
        assert_eq!(own(b"a,b\r\n1,\xff\r\n", 1).1, Some((2, false)));
        assert_eq!(own(b"a\n\"b", 1), (vec![vec!["a".to_owned()], vec!["b".to_owned()]], None));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn reads_what_the_csv_crate_reads(
            pieces in proptest::collection::vec(
                proptest::sample::select(vec![&b"a"[..], b"bc", b",", b",", b"\"", b"\"", b"\n", b"\r\n", b"\r", b" ", "é".as_bytes(), b"\xc3"]),
                0..40,
            ),
            drops in 1..9_usize,
        ) {
            let text = pieces.concat();
            let ((own_rows, own_end), (rows, end)) = (own(&text, drops), reference(&text));
            prop_assert_eq!(own_rows, rows);
            // Where empty lines come first, the crate names the first of them.
            prop_assert_eq!(own_end.map(|end| end.1), end.map(|end| end.1));
        }

        #[test]
        fn writes_what_is_read_back(
            rows in proptest::collection::vec(proptest::collection::vec("[a,\"\n\ré =']{0,4}", 3), 1..8),
            drops in 1..9_usize,
        ) {
            let mut text = Vec::new();
            for row in &rows {
                for (at, field) in row.iter().enumerate() {
                    if at > 0 {
                        text.push(b',');
                    }
                    append_field(&mut text, field, b',');
                }
                text.push(b'\n');
            }
            let mut writer = csv::Writer::from_writer(Vec::new());
            for row in &rows {
                writer.write_record(row.iter().map(|field| spreadsheet_safe(field).into_owned())).unwrap();
            }
            prop_assert_eq!(&text, &writer.into_inner().unwrap());
            prop_assert_eq!(own(&text, drops), (rows, None));
        }
    }
}
