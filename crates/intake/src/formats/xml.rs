//! XML as tags from a stream, for the formats that are XML. The library reads tags; this module keeps it within bounds:
//! no document type is followed, no entity is expanded but the five of XML itself, nesting and the size of one tag or
//! text are limited, and every element knows its line.

use std::borrow::Cow;
use std::io::{BufRead, Chain, Cursor, Read};

use quick_xml::events::{BytesStart, Event};

/// Deepest nesting that is read. C-CDA documents nest some thirty elements.
pub(crate) const DEEPEST: usize = 128;
/// Longest tag or text, in bytes: a scanned document inside a text has room.
const LONGEST_TOKEN_BYTES: u64 = 16 * 1024 * 1024;
/// Longest prolog, in bytes.
const LONGEST_PROLOG_BYTES: u64 = 1024 * 1024;
/// Most elements of one subtree that is kept whole.
const MOST_NODES: usize = 200_000;

/// Why the XML cannot be read on, with the line.
#[derive(Debug)]
pub(crate) enum BadXml {
    /// Not well-formed.
    Malformed(u64),
    /// It ends too early.
    Truncated(u64),
    /// Nested too deeply, or a tag, text or subtree is too long.
    TooLarge(u64),
    /// A document type where none belongs, or an entity that only a document type could declare.
    Doctype(u64),
    /// Not the character set it says.
    Encoding(u64),
    /// The stream failed.
    Io(std::sync::Arc<std::io::Error>),
}

/// What to do with a document type declaration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doctype {
    /// None belongs there.
    Refuse,
    /// Step over it, whatever it says, to the root element with this tag (`<HealthData`).
    SkipTo(&'static str),
}

/// A tag with what is needed of it, borrowed from the buffer.
#[derive(Debug)]
pub(crate) enum Tag<'b> {
    /// An element begins; `empty` elements have no end tag.
    Start(Element<'b>),
    /// An element ends.
    End,
    /// Text between tags.
    Text(Cow<'b, str>),
    /// A comment or processing instruction: nothing to see.
    Other,
    /// The document ended.
    Eof,
}

/// The start of an element.
#[derive(Debug)]
pub(crate) struct Element<'b> {
    start: BytesStart<'b>,
    /// Line on which it begins, one-based.
    pub(crate) row: u64,
    /// It has no content and no end tag.
    pub(crate) empty: bool,
}

impl Element<'_> {
    /// Name without prefix.
    pub(crate) fn name(&self) -> &str {
        let name = self.start.name().into_inner();
        name.split_once(':').map_or(name, |(_, name)| name)
    }

    /// Prefix of the name, mostly empty.
    fn prefix(&self) -> &str {
        self.start.name().into_inner().split_once(':').map_or("", |(prefix, _)| prefix)
    }

    /// Names and raw values, in order.
    pub(crate) fn attributes(&self) -> Attributes<'_> {
        Attributes { rest: self.start.attributes_raw() }
    }

    /// The tag as it stands in the document, without its brackets.
    pub(crate) fn content(&self) -> &[u8] {
        self.start.as_bytes()
    }
}

/// Attributes as they stand in the tag: name, value with references. Names may hold blanks, as exports of iOS 8 wrote
/// them. What is left when the iteration ends early is not an attribute.
#[derive(Debug, Clone)]
pub(crate) struct Attributes<'b> {
    rest: &'b str,
}

impl<'b> Iterator for Attributes<'b> {
    type Item = (&'b str, &'b str);

    fn next(&mut self) -> Option<Self::Item> {
        let equals = memchr::memchr(b'=', self.rest.as_bytes())?;
        let name = self.rest[..equals].trim_ascii();
        let value = self.rest[equals + 1..].trim_ascii_start();
        let quote = *value.as_bytes().first().filter(|quote| matches!(quote, b'"' | b'\''))?;
        let end = memchr::memchr(quote, &value.as_bytes()[1..])? + 1;
        self.rest = &value[end + 1..];
        Some((name, &value[1..end]))
    }
}

/// Resolves references: the five entities of XML and numbers (XML 1.0 §4.1, §4.6). `None` for any other entity.
pub(crate) fn resolve(raw: &str) -> Option<Cow<'_, str>> {
    let Some(first) = memchr::memchr(b'&', raw.as_bytes()) else { return Some(Cow::Borrowed(raw)) };
    let mut text = String::with_capacity(raw.len());
    text.push_str(&raw[..first]);
    let mut rest = &raw[first..];
    while let Some(at) = memchr::memchr(b'&', rest.as_bytes()) {
        text.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        // An ampersand that begins no reference is a careless one; many exports have them.
        let name = after.split_once(';').map(|(name, _)| name).filter(|name| is_reference(name));
        match name {
            Some(name) => {
                text.push(character(name)?);
                rest = &after[name.len() + 1..];
            }
            None => {
                text.push('&');
                rest = after;
            }
        }
    }
    text.push_str(rest);
    Some(Cow::Owned(text))
}

fn is_reference(name: &str) -> bool {
    !name.is_empty() && name.len() <= 32 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'#')
}

fn character(name: &str) -> Option<char> {
    match name {
        "lt" => Some('<'),
        "gt" => Some('>'),
        "amp" => Some('&'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(digits) => u32::from_str_radix(digits, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code)
        }
    }
}

/// The stream behind the prolog: decoded, counted.
type Body<R> = Counted<Decoded<Chain<Cursor<Vec<u8>>, R>>>;

/// A document that is being read.
pub(crate) struct Xml<R> {
    reader: quick_xml::Reader<Body<R>>,
    depth: usize,
}

impl<R: BufRead> Xml<R> {
    /// Reads the prolog.
    pub(crate) fn open(mut stream: R, doctype: Doctype) -> Result<Self, BadXml> {
        let mut prolog = Prolog { stream: &mut stream, line: 1, read: 0, latin_1: false };
        let back = prolog.skip(doctype)?;
        let (line, latin_1) = (prolog.line, prolog.latin_1);
        let decoded = Decoded { inner: Cursor::new(back).chain(stream), latin_1, buffer: Vec::new(), at: 0 };
        let mut reader = quick_xml::Reader::from_reader(Counted::new(decoded, line));
        reader.config_mut().allow_dangling_amp = true;
        reader.config_mut().trim_text_start = true;
        Ok(Self { reader, depth: 0 })
    }

    /// Line that is being read, one-based.
    pub(crate) fn row(&self) -> u64 {
        self.reader.get_ref().line
    }

    /// The next tag or text. `buffer` holds it.
    pub(crate) fn next<'b>(&mut self, buffer: &'b mut Vec<u8>) -> Result<Tag<'b>, BadXml> {
        buffer.clear();
        self.reader.get_mut().left = LONGEST_TOKEN_BYTES;
        let event = self.reader.read_event_into(buffer);
        let row = self.reader.get_ref().line;
        let began = |text: &str| row - memchr::memchr_iter(b'\n', text.as_bytes()).count() as u64;
        match event {
            Ok(Event::Start(start)) => {
                self.depth += 1;
                if self.depth > DEEPEST {
                    return Err(BadXml::TooLarge(row));
                }
                let row = began(&start);
                Ok(Tag::Start(Element { start, row, empty: false }))
            }
            Ok(Event::Empty(start)) => {
                let row = began(&start);
                Ok(Tag::Start(Element { start, row, empty: true }))
            }
            Ok(Event::End(_)) => {
                self.depth = self.depth.saturating_sub(1);
                Ok(Tag::End)
            }
            Ok(Event::Text(text)) => Ok(Tag::Text(text.into_inner())),
            Ok(Event::CData(text)) => Ok(Tag::Text(text.into_inner())),
            Ok(Event::GeneralRef(reference)) => match character(&reference) {
                Some(character) => Ok(Tag::Text(Cow::Owned(character.to_string()))),
                None => Err(BadXml::Doctype(row)),
            },
            Ok(Event::DocType(_)) => Err(BadXml::Doctype(row)),
            Ok(Event::Comment(_) | Event::PI(_) | Event::Decl(_)) => Ok(Tag::Other),
            Ok(Event::Eof) if self.depth > 0 => Err(BadXml::Truncated(row)),
            Ok(Event::Eof) => Ok(Tag::Eof),
            Err(quick_xml::Error::Io(_)) if self.reader.get_ref().left == 0 => Err(BadXml::TooLarge(row)),
            Err(quick_xml::Error::Io(error)) => Err(BadXml::Io(error)),
            Err(quick_xml::Error::Encoding(_)) => Err(BadXml::Encoding(row)),
            Err(quick_xml::Error::Syntax(_)) => Err(BadXml::Truncated(row)),
            Err(_) => Err(BadXml::Malformed(row)),
        }
    }

    /// Passes over what is inside the element that has just begun. Returns whether there was any text.
    pub(crate) fn skip(&mut self, element: &Element<'_>) -> Result<bool, BadXml> {
        if element.empty {
            return Ok(false);
        }
        let (outside, mut buffer, mut text) = (self.depth - 1, Vec::new(), false);
        while self.depth > outside {
            match self.next(&mut buffer)? {
                Tag::Text(found) => text |= !found.trim().is_empty(),
                Tag::Eof => return Err(BadXml::Truncated(self.row())),
                _ => {}
            }
        }
        Ok(text)
    }

    /// Reads what is inside the element that has just begun, up to its end, into a tree.
    pub(crate) fn subtree(&mut self, element: &Element<'_>) -> Result<Tree, BadXml> {
        let mut tree = Tree { nodes: vec![Node::of(element)?] };
        if element.empty {
            return Ok(tree);
        }
        let (mut open, mut buffer, mut text_bytes) = (vec![0], Vec::new(), 0);
        while let Some(parent) = open.last().copied() {
            match self.next(&mut buffer)? {
                Tag::Start(element) => {
                    let at = tree.nodes.len();
                    if at == MOST_NODES {
                        return Err(BadXml::TooLarge(element.row));
                    }
                    tree.nodes.push(Node::of(&element)?);
                    tree.nodes[parent].children.push(at);
                    if !element.empty {
                        open.push(at);
                    }
                }
                Tag::End => {
                    open.pop();
                }
                Tag::Text(text) => {
                    text_bytes += text.len() as u64;
                    if text_bytes > LONGEST_TOKEN_BYTES {
                        return Err(BadXml::TooLarge(tree.nodes[parent].row));
                    }
                    tree.nodes[parent].text.push_str(&text);
                }
                Tag::Other => {}
                Tag::Eof => return Err(BadXml::Truncated(element.row)),
            }
        }
        Ok(tree)
    }
}

/// One element of a [`Tree`].
#[derive(Debug)]
pub(crate) struct Node {
    /// Name without prefix.
    pub(crate) name: String,
    /// Line on which it begins.
    pub(crate) row: u64,
    attributes: Vec<(String, String)>,
    /// Its own text, without that of its children.
    pub(crate) text: String,
    /// Indices of its children, in order.
    children: Vec<usize>,
}

impl Node {
    fn of(element: &Element<'_>) -> Result<Self, BadXml> {
        let mut attributes = Vec::new();
        for (name, raw) in element.attributes() {
            let value = resolve(raw).ok_or(BadXml::Doctype(element.row))?;
            // `xsi:type` keeps its prefix: it is another attribute than `type`.
            attributes.push((name.to_owned(), value.into_owned()));
        }
        // An extension such as `sdtc:raceCode` is another element than the one of the standard.
        let name = match element.prefix() {
            "sdtc" => format!("sdtc:{}", element.name()),
            _ => element.name().to_owned(),
        };
        Ok(Self { name, row: element.row, attributes, text: String::new(), children: Vec::new() })
    }

    /// The value of an attribute.
    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }
}

/// One element with everything inside it.
#[derive(Debug)]
pub(crate) struct Tree {
    nodes: Vec<Node>,
}

/// A place in a [`Tree`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct At<'t> {
    tree: &'t Tree,
    index: usize,
}

impl Tree {
    /// The element itself.
    pub(crate) fn root(&self) -> At<'_> {
        At { tree: self, index: 0 }
    }
}

impl std::ops::Deref for At<'_> {
    type Target = Node;
    fn deref(&self) -> &Node {
        &self.tree.nodes[self.index]
    }
}

impl<'t> At<'t> {
    /// The node, for as long as the tree lives.
    pub(crate) fn node(self) -> &'t Node {
        &self.tree.nodes[self.index]
    }

    /// Children, in order.
    pub(crate) fn children(self) -> impl Iterator<Item = Self> + use<'t> {
        self.node().children.iter().map(move |index| At { tree: self.tree, index: *index })
    }

    /// Children of a name.
    pub(crate) fn all(self, name: &'static str) -> impl Iterator<Item = Self> + use<'t> {
        self.children().filter(move |child| child.name == name)
    }

    /// The first child of a name.
    pub(crate) fn child(self, name: &'static str) -> Option<Self> {
        self.all(name).next()
    }

    /// The element at the end of a path of first children.
    pub(crate) fn path(self, names: &[&'static str]) -> Option<Self> {
        names.iter().try_fold(self, |at, name| at.child(name))
    }

    /// The element in one form, however it was spaced: what its content hash is of.
    pub(crate) fn canonical(self, out: &mut Vec<u8>) {
        out.push(b'<');
        out.extend_from_slice(self.name.as_bytes());
        for (name, value) in &self.node().attributes {
            out.push(b' ');
            out.extend_from_slice(name.as_bytes());
            out.push(b'=');
            out.extend_from_slice(value.as_bytes());
        }
        out.push(b'>');
        out.extend_from_slice(self.text.trim().as_bytes());
        for child in self.children() {
            child.canonical(out);
        }
        out.push(b'>');
    }

    /// The text of the element and of everything in it.
    pub(crate) fn whole_text(self) -> String {
        let mut text = self.text.clone();
        for child in self.children() {
            if !text.is_empty() && !text.ends_with(char::is_whitespace) {
                text.push(' ');
            }
            text.push_str(&child.whole_text());
        }
        text
    }
}

/// What stands before the root element.
struct Prolog<'r, R> {
    stream: &'r mut R,
    line: u64,
    read: u64,
    latin_1: bool,
}

impl<R: BufRead> Prolog<'_, R> {
    /// Steps over it and returns the bytes that were read too far.
    fn skip(&mut self, doctype: Doctype) -> Result<Vec<u8>, BadXml> {
        loop {
            let Some(byte) = self.byte()? else { return Ok(Vec::new()) };
            match byte {
                byte if byte.is_ascii_whitespace() => {}
                0xef | 0xbb | 0xbf => {}
                b'<' => match self.byte()? {
                    Some(b'?') => self.declaration()?,
                    Some(b'!') => match self.byte()? {
                        Some(b'-') => {
                            self.until("-->")?;
                        }
                        _ => match doctype {
                            Doctype::Refuse => return Err(BadXml::Doctype(self.line)),
                            Doctype::SkipTo(root) => {
                                self.until(root)?;
                                return Ok(root.as_bytes().to_vec());
                            }
                        },
                    },
                    other => return Ok(std::iter::once(b'<').chain(other).collect()),
                },
                other => return Ok(vec![other]),
            }
        }
    }

    fn declaration(&mut self) -> Result<(), BadXml> {
        let text = self.until("?>")?.to_ascii_lowercase();
        let named = |names: &[&str]| {
            text.starts_with("xml ") && names.iter().any(|name| text.contains(&format!("encoding={name}")))
        };
        let quoted = ["\"iso-8859-1\"", "'iso-8859-1'", "\"windows-1252\"", "'windows-1252'"];
        self.latin_1 |= named(&quoted);
        Ok(())
    }

    /// Reads through a mark and returns the beginning of what stood before it.
    fn until(&mut self, mark: &str) -> Result<String, BadXml> {
        let (mut matched, mut seen) = (0, Vec::new());
        let mark = mark.as_bytes();
        loop {
            let Some(byte) = self.byte()? else { return Err(BadXml::Truncated(self.line)) };
            if seen.len() < 1024 {
                seen.push(byte);
            }
            // No mark has a prefix that returns inside it but by its first byte: `-->`, `?>`, `<HealthData`. For
            // `-->` a third dash keeps two matched.
            matched = if byte == mark[matched] {
                matched + 1
            } else if matched == 2 && byte == b'-' && mark == b"-->" {
                2
            } else {
                usize::from(byte == mark[0])
            };
            if matched == mark.len() {
                return Ok(String::from_utf8_lossy(&seen).into_owned());
            }
        }
    }

    fn byte(&mut self) -> Result<Option<u8>, BadXml> {
        let byte = self.stream.fill_buf().map_err(|error| BadXml::Io(error.into()))?.first().copied();
        if let Some(byte) = byte {
            self.stream.consume(1);
            self.read += 1;
            self.line += u64::from(byte == b'\n');
            if self.read > LONGEST_PROLOG_BYTES {
                return Err(BadXml::TooLarge(self.line));
            }
        }
        Ok(byte)
    }
}

/// ISO 8859-1 to UTF-8, where the document says so. (What windows-1252 has beyond it are quotes and dashes.)
struct Decoded<R> {
    inner: R,
    latin_1: bool,
    buffer: Vec<u8>,
    at: usize,
}

impl<R: BufRead> Read for Decoded<R> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        if !self.latin_1 {
            return self.inner.read(out);
        }
        let available = self.fill_buf()?;
        let taken = available.len().min(out.len());
        out[..taken].copy_from_slice(&available[..taken]);
        self.consume(taken);
        Ok(taken)
    }
}

impl<R: BufRead> BufRead for Decoded<R> {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        if !self.latin_1 {
            return self.inner.fill_buf();
        }
        if self.at == self.buffer.len() {
            let available = self.inner.fill_buf()?;
            let taken = available.len().min(8192);
            self.buffer.clear();
            for byte in &available[..taken] {
                let mut utf_8 = [0; 4];
                self.buffer.extend_from_slice(char::from(*byte).encode_utf8(&mut utf_8).as_bytes());
            }
            self.at = 0;
            self.inner.consume(taken);
        }
        Ok(&self.buffer[self.at..])
    }
    fn consume(&mut self, amount: usize) {
        if self.latin_1 {
            self.at += amount;
        } else {
            self.inner.consume(amount);
        }
    }
}

/// Counts lines as they are read, and stops a tag that does not end. Has a buffer of its own, since the library takes a
/// few bytes at a time.
struct Counted<R> {
    inner: R,
    buffer: Vec<u8>,
    at: usize,
    end: usize,
    line: u64,
    left: u64,
}

/// Bytes read at once.
const BUFFER_BYTES: usize = 256 * 1024;

impl<R> Counted<R> {
    fn new(inner: R, line: u64) -> Self {
        Self { inner, buffer: vec![0; BUFFER_BYTES], at: 0, end: 0, line, left: LONGEST_TOKEN_BYTES }
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let available = self.fill_buf()?;
        let taken = available.len().min(out.len());
        out[..taken].copy_from_slice(&available[..taken]);
        self.consume(taken);
        Ok(taken)
    }
}

impl<R: Read> BufRead for Counted<R> {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        if self.left == 0 {
            return Err(std::io::Error::other("a tag or text is too long"));
        }
        if self.at == self.end {
            (self.at, self.end) = (0, self.inner.read(&mut self.buffer)?);
        }
        Ok(&self.buffer[self.at..self.end])
    }
    fn consume(&mut self, amount: usize) {
        let to = (self.at + amount).min(self.end);
        self.line += memchr::memchr_iter(b'\n', &self.buffer[self.at..to]).count() as u64;
        self.left = self.left.saturating_sub(amount as u64);
        self.at = to;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(text: &[u8], doctype: Doctype) -> Result<Vec<(String, u64)>, BadXml> {
        let mut xml = Xml::open(std::io::BufReader::with_capacity(7, text), doctype)?;
        let (mut buffer, mut found) = (Vec::new(), Vec::new());
        loop {
            match xml.next(&mut buffer)? {
                Tag::Start(element) => found.push((element.name().to_owned(), element.row)),
                Tag::Eof => return Ok(found),
                _ => {}
            }
        }
    }

    #[test]
    fn elements_know_their_lines() {
        let text = b"<?xml version='1.0'?>\n<!-- a\n -- b --->\n<a\n x='1'>\n\n <b/>t<!-- c\n --><n:c>\n</n:c></a>\n";
        let expected = [("a", 4), ("b", 7), ("c", 8)].map(|(name, row)| (name.to_owned(), row));
        assert_eq!(tags(text, Doctype::Refuse).unwrap(), expected);
    }

    #[test]
    fn a_document_type_is_refused_or_stepped_over_however_broken() {
        let bomb = b"<!DOCTYPE r [<!ENTITY a 'ha'><!ENTITY b '&a;&a;'>]>\n<r>&b;</r>";
        assert!(matches!(tags(bomb, Doctype::Refuse), Err(BadXml::Doctype(1))));
        // The entity is not declared for the reader, so it cannot be expanded.
        assert!(matches!(tags(bomb, Doctype::SkipTo("<r")), Err(BadXml::Doctype(2))));
        let external = b"<!DOCTYPE r SYSTEM \"http://127.0.0.1:1/x.dtd\"><r/>";
        assert!(matches!(tags(external, Doctype::Refuse), Err(BadXml::Doctype(1))));
        // iOS 16 wrote declarations without their ends.
        let broken = b"<!DOCTYPE r [\n<!ATTLIST r\n x CDATA #REQUIRED\n<!ELEMENT q EMPTY>>\n]>\n<r x='1'/>";
        assert_eq!(tags(broken, Doctype::SkipTo("<r")).unwrap(), [("r".to_owned(), 6)]);
    }

    #[test]
    fn nesting_and_length_are_limited() {
        let deep = "<a>".repeat(DEEPEST + 1);
        assert!(matches!(tags(deep.as_bytes(), Doctype::Refuse), Err(BadXml::TooLarge(1))));
        let long = format!("<a x='{}'/>", "y".repeat(LONGEST_TOKEN_BYTES as usize));
        assert!(matches!(tags(long.as_bytes(), Doctype::Refuse), Err(BadXml::TooLarge(1))));
        assert!(matches!(tags(b"<a><b>", Doctype::Refuse), Err(BadXml::Truncated(1))));
        assert!(matches!(tags(b"<a><b", Doctype::Refuse), Err(BadXml::Truncated(1))));
        assert!(matches!(tags(b"<a>\n</b>", Doctype::Refuse), Err(BadXml::Malformed(2))));
        assert!(matches!(tags(b"<a>\xff</a>", Doctype::Refuse), Err(BadXml::Encoding(1))));
    }

    #[test]
    fn attributes_with_blanks_in_their_names_are_read() {
        let attributes = Attributes { rest: " a=\"1\" Health Mate = 'x>y' b=\"2\" c" };
        assert_eq!(attributes.collect::<Vec<_>>(), [("a", "1"), ("Health Mate", "x>y"), ("b", "2")]);
    }

    #[test]
    fn references_are_resolved_and_entities_are_not() {
        assert_eq!(resolve("a&lt;b&#65;&#x42;&amp;").as_deref(), Some("a<bAB&"));
        assert_eq!(resolve("Smith & Sons; b").as_deref(), Some("Smith & Sons; b"));
        assert_eq!(resolve("&secret;"), None);
        assert_eq!(resolve("&#0;").as_deref(), Some("\0"));
    }

    #[test]
    fn a_subtree_is_kept_whole() {
        let mut xml = Xml::open(
            &b"<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><s><e a='&lt;'>x<b>M\xfcller</b>&amp;</e></s>"[..],
            Doctype::Refuse,
        )
        .unwrap();
        let mut buffer = Vec::new();
        assert!(matches!(xml.next(&mut buffer).unwrap(), Tag::Start(_)));
        let Tag::Start(element) = xml.next(&mut buffer).unwrap() else { panic!() };
        let tree = xml.subtree(&element).unwrap();
        assert_eq!((tree.root().attribute("a"), tree.root().whole_text()), (Some("<"), "x& M\u{fc}ller".to_owned()));
        assert_eq!(tree.root().child("b").unwrap().row, 1);
        assert!(matches!(xml.next(&mut buffer).unwrap(), Tag::End));
    }
}
