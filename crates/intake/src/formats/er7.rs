//! The tokens of HL7 v2 (ER7, HL7 v2.9 chapter 2): messages, segments, fields, repetitions, components, subcomponents.
//!
//! A message is borrowed from its bytes; nothing is copied until an escape is undone. Messages come one by one from a
//! stream, so a batch of any length needs the memory of its longest message.

use std::borrow::Cow;
use std::io::BufRead;

/// Longest message that is read, in bytes. Laboratory reports with a scanned document inside stay below.
pub(crate) const LONGEST_MESSAGE_BYTES: usize = 16 * 1024 * 1024;

/// Frame bytes of the minimal lower layer protocol (HL7 Implementation Guide, MLLP): before and after a message.
const FRAME_START: u8 = 0x0b;
const FRAME_END: u8 = 0x1c;

/// The characters that separate, as MSH states them (§2.5.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Separators {
    field: char,
    component: char,
    repetition: char,
    escape: Option<char>,
    subcomponent: Option<char>,
}

/// One segment.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Segment<'a> {
    /// Line of the file, one-based.
    pub(crate) row: u64,
    /// Three characters: `PID`.
    pub(crate) name: &'a str,
    /// What follows the name, with the leading separator.
    body: &'a str,
    separators: Separators,
}

/// One repetition of a field.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field<'a> {
    text: &'a str,
    separators: Separators,
}

impl<'a> Segment<'a> {
    /// Field number `number` (one-based), its first repetition; empty where there is none.
    pub(crate) fn field(&self, number: usize) -> Field<'a> {
        self.repetitions(number).next().unwrap_or(Field { text: "", separators: self.separators })
    }

    /// The segment as it stands in the message, without its name.
    pub(crate) fn content(&self) -> &'a str {
        self.body
    }

    /// All repetitions of a field.
    pub(crate) fn repetitions(&self, number: usize) -> impl Iterator<Item = Field<'a>> + use<'a> {
        let separators = self.separators;
        // MSH-1 is the separator itself, so what stands after it is MSH-2.
        let skipped = if matches!(self.name, "MSH" | "BHS" | "FHS") { number.saturating_sub(1) } else { number };
        let text = self.body.split(separators.field).nth(skipped).unwrap_or_default();
        text.split(separators.repetition).map(move |text| Field { text, separators })
    }
}

impl<'a> Field<'a> {
    /// Component number `number` (one-based), its first subcomponent, escapes undone. `""`, which deletes, counts as
    /// no value (§2.5.3.4).
    pub(crate) fn component(&self, number: usize) -> Cow<'a, str> {
        let text = self.text.split(self.separators.component).nth(number.saturating_sub(1)).unwrap_or_default();
        let text = match self.separators.subcomponent {
            Some(separator) => text.split(separator).next().unwrap_or_default(),
            None => text,
        };
        let text = text.trim();
        if text == "\"\"" { Cow::Borrowed("") } else { unescape(text, self.separators) }
    }

    /// Subcomponent of a component, both one-based.
    pub(crate) fn subcomponent(&self, component: usize, number: usize) -> Cow<'a, str> {
        let text = self.text.split(self.separators.component).nth(component.saturating_sub(1)).unwrap_or_default();
        let part = match self.separators.subcomponent {
            Some(separator) => text.split(separator).nth(number.saturating_sub(1)).unwrap_or_default(),
            None if number == 1 => text,
            None => "",
        };
        unescape(part.trim(), self.separators)
    }

    /// The whole repetition, escapes undone: for texts.
    pub(crate) fn text(&self) -> Cow<'a, str> {
        let text = self.text.trim();
        if text == "\"\"" { Cow::Borrowed("") } else { unescape(text, self.separators) }
    }

    /// Whether nothing stands there.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self.text.trim(), "" | "\"\"")
    }
}

/// Undoes escapes (§2.7): separators, hexadecimal bytes, line breaks; highlighting is dropped, and what is not known
/// stays as it is.
fn unescape(text: &str, separators: Separators) -> Cow<'_, str> {
    let Some(escape) = separators.escape.filter(|escape| text.contains(*escape)) else { return Cow::Borrowed(text) };
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(escape) {
        plain.push_str(before);
        let Some((word, tail)) = after.split_once(escape) else {
            // An escape that does not end is a text with that character in it.
            plain.push(escape);
            rest = after;
            continue;
        };
        match word {
            "F" => plain.push(separators.field),
            "S" => plain.push(separators.component),
            "R" => plain.push(separators.repetition),
            "T" => plain.extend(separators.subcomponent),
            "E" => plain.push(escape),
            "H" | "N" => {}
            ".br" | ".sp" | ".ce" => plain.push('\n'),
            _ => match word.strip_prefix('X').and_then(hexadecimal) {
                Some(bytes) => plain.push_str(&bytes),
                None => {
                    plain.push(escape);
                    plain.push_str(word);
                    // The second character may begin an escape of its own.
                    rest = &after[word.len()..];
                    continue;
                }
            },
        }
        rest = tail;
    }
    plain.push_str(rest);
    Cow::Owned(plain)
}

fn hexadecimal(digits: &str) -> Option<String> {
    if digits.is_empty() || !digits.len().is_multiple_of(2) || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let bytes: Option<Vec<u8>> =
        (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).ok()).collect();
    String::from_utf8(bytes?).ok()
}

/// Why a message has no tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadMessage {
    /// MSH-1 or MSH-2 is missing or says nothing useful.
    Separators,
    /// A line is no segment; its row.
    Line(u64),
    /// Not UTF-8, and no other character set that is read; its row.
    Encoding(u64),
    /// Longer than [`LONGEST_MESSAGE_BYTES`].
    TooLong,
}

/// One message: its segments in order.
#[derive(Debug)]
pub(crate) struct Message<'a> {
    pub(crate) segments: Vec<Segment<'a>>,
}

impl<'a> Message<'a> {
    /// Reads the segments of a message that begins on line `first_row`.
    pub(crate) fn parse(text: &'a str, first_row: u64) -> Result<Self, BadMessage> {
        let mut separators = None;
        let mut segments = Vec::new();
        let mut row = first_row;
        let mut rest = text;
        loop {
            let end = rest.find(['\r', '\n']).unwrap_or(rest.len());
            let (line, tail) = rest.split_at(end);
            if !line.trim().is_empty() {
                let separators = match separators {
                    Some(separators) => separators,
                    None => *separators.insert(header(line).ok_or(BadMessage::Separators)?),
                };
                let segment = segment(line.trim_start(), row, separators).ok_or(BadMessage::Line(row))?;
                segments.push(segment);
            }
            if tail.is_empty() {
                return Ok(Self { segments });
            }
            // CR, LF and CR LF each end one line.
            rest = tail.strip_prefix("\r\n").unwrap_or(&tail[1..]);
            row += 1;
        }
    }

    /// The first segment of a name.
    pub(crate) fn first(&self, name: &str) -> Option<&Segment<'a>> {
        self.segments.iter().find(|segment| segment.name == name)
    }
}

/// MSH-1 and MSH-2: the fifth character, and the two to five after it.
fn header(line: &str) -> Option<Separators> {
    let mut characters = line.strip_prefix("MSH").or(line.strip_prefix("BHS")).or(line.strip_prefix("FHS"))?.chars();
    let field = characters.next().filter(|field| field.is_ascii_punctuation())?;
    let encoding: Vec<char> = characters.take_while(|character| *character != field).collect();
    let distinct = |at: usize| encoding[..at].iter().all(|other| *other != encoding[at]);
    if !(2..=5).contains(&encoding.len())
        || !(0..encoding.len()).all(|at| encoding[at].is_ascii_punctuation() && distinct(at))
    {
        return None;
    }
    Some(Separators {
        field,
        component: encoding[0],
        repetition: encoding[1],
        escape: encoding.get(2).copied(),
        subcomponent: encoding.get(3).copied(),
    })
}

fn segment(line: &str, row: u64, separators: Separators) -> Option<Segment<'_>> {
    let (name, body) = line.split_at_checked(3)?;
    let named = name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
    (named && (body.is_empty() || body.starts_with(separators.field))).then_some(Segment {
        row,
        name,
        body,
        separators,
    })
}

/// Bytes of one message, as they stand in the stream.
#[derive(Debug, Default)]
pub(crate) struct Raw {
    /// Its bytes, without frame.
    pub(crate) bytes: Vec<u8>,
    /// Line on which it begins.
    pub(crate) row: u64,
    /// It is longer than is read; the bytes are its beginning.
    pub(crate) too_long: bool,
}

impl Raw {
    /// The text: UTF-8, or what MSH-18 names among ASCII and ISO 8859-1 (HL7 table 0211).
    pub(crate) fn text(&self) -> Result<Cow<'_, str>, BadMessage> {
        match std::str::from_utf8(&self.bytes) {
            Ok(text) => Ok(Cow::Borrowed(text)),
            Err(_) if self.names_latin_1() => Ok(Cow::Owned(self.bytes.iter().map(|byte| char::from(*byte)).collect())),
            Err(error) => {
                let before = &self.bytes[..error.valid_up_to()];
                Err(BadMessage::Encoding(self.row + line_ends(before)))
            }
        }
    }

    fn names_latin_1(&self) -> bool {
        let Some(separator) = self.bytes.get(3) else { return false };
        let first = self.bytes.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
        first.split(|byte| byte == separator).nth(17).is_some_and(|field| field.starts_with(b"8859/1"))
    }
}

fn line_ends(bytes: &[u8]) -> u64 {
    let ends = bytes.iter().enumerate().filter(|(at, byte)| match byte {
        b'\n' => true,
        b'\r' => bytes.get(at + 1) != Some(&b'\n'),
        _ => false,
    });
    ends.count() as u64
}

/// A line of a batch that is no part of a message: BHS, BTS, FHS, FTS, or something before the first message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Between {
    /// A batch or file segment; the number of messages that BTS-1 states.
    Batch(Option<u64>),
    /// A line that belongs to no message.
    Stray,
}

/// What comes next in a stream.
#[derive(Debug)]
pub(crate) enum Next {
    /// A message, in the buffer given.
    Message,
    /// A line between messages, with its row.
    Between(Between, u64),
    /// The end.
    End,
}

/// Splits a stream into messages.
pub(crate) struct Messages<R> {
    stream: R,
    /// Line that was read and belongs to what comes next.
    line: Vec<u8>,
    /// Its row.
    row: u64,
    ended: bool,
    /// A line that is not blank came.
    any: bool,
}

impl<R: BufRead> Messages<R> {
    pub(crate) fn new(stream: R) -> Self {
        Self { stream, line: Vec::new(), row: 0, ended: false, any: false }
    }

    /// Whether nothing but blank lines came.
    pub(crate) fn is_empty(&self) -> bool {
        self.ended && !self.any
    }

    /// Reads the next message into `raw`.
    pub(crate) fn next(&mut self, raw: &mut Raw) -> std::io::Result<Next> {
        raw.bytes.clear();
        raw.too_long = false;
        while !self.ended && self.line.iter().all(u8::is_ascii_whitespace) {
            self.advance()?;
        }
        if self.ended {
            return Ok(Next::End);
        }
        self.any = true;
        let row = self.row;
        if !self.line.starts_with(b"MSH") {
            let batch = [b"BHS".as_slice(), b"FHS", b"BTS", b"FTS"].iter().any(|name| self.line.starts_with(name));
            // BTS-1 is the number of messages; the separator is whatever stands after the name.
            let stated = self.line.starts_with(b"BTS").then(|| {
                let digits: Vec<u8> = self.line[3..].iter().skip(1).copied().take_while(u8::is_ascii_digit).collect();
                String::from_utf8(digits).ok()?.parse().ok()
            });
            self.advance()?;
            let between = if batch { Between::Batch(stated.flatten()) } else { Between::Stray };
            return Ok(Next::Between(between, row));
        }
        raw.row = row;
        loop {
            if raw.bytes.len() + self.line.len() > LONGEST_MESSAGE_BYTES {
                raw.too_long = true;
            } else if !raw.too_long {
                raw.bytes.extend_from_slice(&self.line);
            }
            self.advance()?;
            let begins = [b"MSH".as_slice(), b"BHS", b"FHS", b"BTS", b"FTS"];
            if self.ended || begins.iter().any(|name| self.line.starts_with(name)) {
                return Ok(Next::Message);
            }
        }
    }

    /// Reads one line with its end, without frame bytes. A line longer than a message may be is cut.
    fn advance(&mut self) -> std::io::Result<()> {
        self.line.clear();
        let mut any = false;
        loop {
            let available = self.stream.fill_buf()?;
            if available.is_empty() {
                self.ended = !any;
                break;
            }
            any = true;
            let end = memchr::memchr2(b'\r', b'\n', available);
            let taken = end.map_or(available.len(), |at| at + 1);
            let room = (LONGEST_MESSAGE_BYTES + 1).saturating_sub(self.line.len()).min(taken);
            self.line.extend_from_slice(&available[..room]);
            let carriage_return = end.is_some_and(|at| available[at] == b'\r');
            self.stream.consume(taken);
            if carriage_return && self.stream.fill_buf()?.first() == Some(&b'\n') {
                self.stream.consume(1);
            }
            if end.is_some() {
                break;
            }
        }
        self.row += 1;
        self.line.retain(|byte| !matches!(*byte, FRAME_START | FRAME_END));
        if self.row == 1 && self.line.starts_with(&[0xef, 0xbb, 0xbf]) {
            self.line.drain(..3);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: &str = "MSH|^~\\&|A|B|C|D|20200101||ORU^R01|1|P|2.5.1\rPID|1||7^^^X&1.2.3&ISO^MR~8\rOBX|1|ST|a^b||x\\T\\y\\S\\z\\X41\\ \\.br\\\\Q\\";

    #[test]
    fn fields_repetitions_components_and_escapes() {
        let message = Message::parse(MESSAGE, 1).unwrap();
        let msh = message.first("MSH").unwrap();
        assert_eq!((&*msh.field(9).component(1), &*msh.field(9).component(2)), ("ORU", "R01"));
        assert_eq!(msh.field(12).text(), "2.5.1");
        let pid = message.first("PID").unwrap();
        assert_eq!(pid.repetitions(3).map(|field| field.component(1).into_owned()).collect::<Vec<_>>(), ["7", "8"]);
        assert_eq!((&*pid.field(3).component(4), &*pid.field(3).subcomponent(4, 2)), ("X", "1.2.3"));
        let obx = message.first("OBX").unwrap();
        assert_eq!((obx.row, &*obx.field(5).text()), (3, "x&y^zA \n\\Q\\"));
        assert!(obx.field(99).is_empty());
    }

    #[test]
    fn other_separators_are_taken_from_the_header() {
        let message = Message::parse("MSH#*!/%#A\nPID###1*2%3!4\n", 1).unwrap();
        let pid = message.first("PID").unwrap();
        assert_eq!((&*pid.field(3).component(2), pid.repetitions(3).count()), ("2", 2));
        for bad in ["MSH", "MSH|", "MSH||A", "MSH|^^|", "MSHa^~\\&a", "MSH|^~\\&#!|"] {
            assert_eq!(Message::parse(bad, 1).err(), Some(BadMessage::Separators), "{bad}");
        }
        assert_eq!(Message::parse("MSH|^~\\&|\rhello\r", 5).err(), Some(BadMessage::Line(6)));
    }

    #[track_caller]
    fn split(stream: &[u8]) -> Vec<(u64, usize)> {
        // A tiny buffer, so that every border falls between two reads once.
        let mut messages = Messages::new(std::io::BufReader::with_capacity(3, stream));
        let (mut raw, mut found) = (Raw::default(), Vec::new());
        loop {
            match messages.next(&mut raw).unwrap() {
                Next::Message => {
                    let text = raw.text().unwrap();
                    found.push((raw.row, Message::parse(&text, raw.row).unwrap().segments.len()));
                }
                Next::Between(Between::Batch(_), _) => {}
                Next::Between(Between::Stray, row) => found.push((row, 0)),
                Next::End => return found,
            }
        }
    }

    #[test]
    fn batches_frames_and_all_line_ends_are_split() {
        let one = "MSH|^~\\&|A\nPID|1\n";
        for end in ["\r", "\n", "\r\n"] {
            let batch = format!("FHS|^~\\&\nBHS|^~\\&\n{one}{one}BTS|2\nFTS|1\n").replace('\n', end);
            assert_eq!(split(batch.as_bytes()), [(3, 2), (5, 2)], "{end:?}");
        }
        let framed = format!("\u{b}{one}\u{1c}\r\u{b}{one}\u{1c}\r");
        assert_eq!(split(framed.as_bytes()).len(), 2);
        assert_eq!(split(b"hello\nMSH|^~\\&|A\n"), [(1, 0), (2, 1)]);
        assert_eq!(split(b""), []);
    }

    #[test]
    fn a_message_in_latin_1_is_read_where_it_says_so() {
        let message = |charset: &str| {
            let header = format!("MSH|^~\\&|A||||||ORU||P|2.5||||||{charset}\rPID|1||M");
            Raw { bytes: [header.as_bytes(), b"\xfc\r"].concat(), row: 1, too_long: false }
        };
        assert!(message("8859/1").text().unwrap().contains("M\u{fc}"));
        assert_eq!(message("").text(), Err(BadMessage::Encoding(2)));
    }
}
