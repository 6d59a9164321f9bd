//! A pull reader of JSON (RFC 8259) that borrows from its input: only what is asked for is turned into values, the rest
//! is checked and skipped. Strings with escapes are decoded into an arena that lives as long as the chunk.

use bumpalo::Bump;

/// Deepest nesting that is read.
const DEEPEST: usize = 128;

/// Where the JSON is wrong: a byte offset, and whether the text merely ended too early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bad {
    pub(crate) at: usize,
    pub(crate) ended: bool,
}

pub(crate) type Result<T> = std::result::Result<T, Bad>;

/// A place in a JSON text.
#[derive(Clone)]
pub(crate) struct Json<'a> {
    text: &'a str,
    at: usize,
    arena: &'a Bump,
}

const fn repeat(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

/// Marks (with its high bit) every byte of `word` that is a quote, a backslash or a control character. A byte after the
/// first mark may be marked wrongly; the first is right (Hacker's Delight §6-1).
fn special(word: u64) -> u64 {
    const LOW: u64 = repeat(0x01);
    const HIGH: u64 = repeat(0x80);
    let zero = |word: u64| word.wrapping_sub(LOW) & !word;
    let control = word.wrapping_sub(repeat(0x20)) & !word;
    (zero(word ^ repeat(b'"')) | zero(word ^ repeat(b'\\')) | control) & HIGH
}

impl<'a> Json<'a> {
    pub(crate) fn new(text: &'a str, arena: &'a Bump) -> Self {
        Self { text, at: 0, arena }
    }

    pub(crate) fn at(&self) -> usize {
        self.at
    }

    fn bad<T>(&self) -> Result<T> {
        Err(Bad { at: self.at, ended: self.at >= self.text.len() })
    }

    /// The next byte that is not white space.
    #[inline]
    pub(crate) fn peek(&mut self) -> Result<u8> {
        let bytes = self.text.as_bytes();
        loop {
            match bytes.get(self.at) {
                Some(b' ' | b'\t' | b'\n' | b'\r') => self.at += 1,
                Some(byte) => return Ok(*byte),
                None => return self.bad(),
            }
        }
    }

    /// Whether nothing but white space is left.
    pub(crate) fn is_done(&mut self) -> bool {
        self.peek().is_err()
    }

    #[inline]
    fn expect(&mut self, byte: u8) -> Result<()> {
        if self.peek()? == byte {
            self.at += 1;
            return Ok(());
        }
        self.bad()
    }

    /// Opens an object; [`Self::key`] follows.
    #[inline]
    pub(crate) fn object(&mut self) -> Result<()> {
        self.expect(b'{')
    }

    /// The next key of the open object, its colon passed; `None` closes it. `first` starts as `true`.
    #[inline]
    pub(crate) fn key(&mut self, first: &mut bool) -> Result<Option<&'a str>> {
        // What servers write: no white space and no escapes around or in a key.
        let bytes = self.text.as_bytes();
        let start = match bytes.get(self.at..self.at + 2) {
            Some(b",\"") if !*first => self.at + 2,
            Some([b'"', _]) if *first => self.at + 1,
            _ => return self.spaced_key(first),
        };
        let end = self.plain_end(start)?;
        if bytes.get(end..end + 2) != Some(b"\":") {
            return self.spaced_key(first);
        }
        *first = false;
        self.at = end + 2;
        Ok(Some(&self.text[start..end]))
    }

    fn spaced_key(&mut self, first: &mut bool) -> Result<Option<&'a str>> {
        match self.peek()? {
            b'}' => {
                self.at += 1;
                return Ok(None);
            }
            b',' if !*first => {
                self.at += 1;
                self.peek()?;
            }
            _ if *first => {}
            _ => return self.bad(),
        }
        *first = false;
        let key = self.string()?;
        self.expect(b':')?;
        Ok(Some(key))
    }

    /// Opens an array; [`Self::element`] follows.
    #[inline]
    pub(crate) fn array(&mut self) -> Result<()> {
        self.expect(b'[')
    }

    /// Whether another element follows in the open array; `false` closes it. `first` starts as `true`.
    #[inline]
    pub(crate) fn element(&mut self, first: &mut bool) -> Result<bool> {
        match self.peek()? {
            // A comma before the bracket was refused where the element was expected.
            b']' => {
                self.at += 1;
                return Ok(false);
            }
            b',' if !*first => {
                self.at += 1;
                if self.peek()? == b']' {
                    return self.bad();
                }
            }
            _ if *first => {}
            _ => return self.bad(),
        }
        *first = false;
        Ok(true)
    }

    /// A string, decoded.
    #[inline]
    pub(crate) fn string(&mut self) -> Result<&'a str> {
        if self.peek()? != b'"' {
            return self.bad();
        }
        let start = self.at + 1;
        let end = self.plain_end(start)?;
        if self.text.as_bytes()[end] == b'"' {
            self.at = end + 1;
            return Ok(&self.text[start..end]);
        }
        self.escaped(start, end)
    }

    /// Offset of the first quote or backslash from `from` on.
    #[inline]
    fn plain_end(&mut self, from: usize) -> Result<usize> {
        let bytes = self.text.as_bytes();
        let mut at = from;
        while let Some(word) = bytes.get(at..at + 8) {
            let mut eight = [0; 8];
            eight.copy_from_slice(word);
            let marks = special(u64::from_le_bytes(eight));
            if marks != 0 {
                at += (marks.trailing_zeros() / 8) as usize;
                break;
            }
            at += 8;
        }
        loop {
            match bytes.get(at) {
                Some(b'"' | b'\\') => return Ok(at),
                Some(0..0x20) | None => {
                    self.at = at;
                    return self.bad();
                }
                Some(_) => at += 1,
            }
        }
    }

    #[cold]
    fn escaped(&mut self, start: usize, mut at: usize) -> Result<&'a str> {
        let bytes = self.text.as_bytes();
        let mut decoded = bumpalo::collections::String::from_str_in(&self.text[start..at], self.arena);
        loop {
            self.at = at;
            match bytes.get(at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(decoded.into_bump_str());
                }
                Some(b'\\') => {
                    self.at += 1;
                    let plain = match bytes.get(self.at) {
                        Some(b'"') => '"',
                        Some(b'\\') => '\\',
                        Some(b'/') => '/',
                        Some(b'b') => '\u{8}',
                        Some(b'f') => '\u{c}',
                        Some(b'n') => '\n',
                        Some(b'r') => '\r',
                        Some(b't') => '\t',
                        Some(b'u') => self.unicode()?,
                        _ => return self.bad(),
                    };
                    decoded.push(plain);
                    at = self.at + 1;
                }
                _ => {
                    let end = self.plain_end(at)?;
                    decoded.push_str(&self.text[at..end]);
                    at = end;
                }
            }
        }
    }

    /// `uXXXX`, with its surrogate partner if it needs one; stops at the last digit.
    fn unicode(&mut self) -> Result<char> {
        let first = self.four_digits()?;
        let point = if (0xd800..0xdc00).contains(&first) {
            self.at += 1;
            if self.text.as_bytes().get(self.at) != Some(&b'\\') {
                return self.bad();
            }
            self.at += 1;
            if self.text.as_bytes().get(self.at) != Some(&b'u') {
                return self.bad();
            }
            let second = self.four_digits()?;
            if !(0xdc00..0xe000).contains(&second) {
                return self.bad();
            }
            0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00)
        } else {
            first
        };
        char::from_u32(point).map_or_else(|| self.bad(), Ok)
    }

    fn four_digits(&mut self) -> Result<u32> {
        let mut point = 0;
        for _ in 0..4 {
            self.at += 1;
            let digit = self.text.as_bytes().get(self.at).and_then(|byte| char::from(*byte).to_digit(16));
            let Some(digit) = digit else { return self.bad() };
            point = point * 16 + digit;
        }
        Ok(point)
    }

    /// The text of a number.
    pub(crate) fn number(&mut self) -> Result<&'a str> {
        self.peek()?;
        let (bytes, start) = (self.text.as_bytes(), self.at);
        let digits = |at: &mut usize| {
            let from = *at;
            while bytes.get(*at).is_some_and(u8::is_ascii_digit) {
                *at += 1;
            }
            *at > from
        };
        if bytes.get(self.at) == Some(&b'-') {
            self.at += 1;
        }
        let zero = bytes.get(self.at) == Some(&b'0');
        let from = self.at;
        if !digits(&mut self.at) || (zero && self.at > from + 1) {
            return self.bad();
        }
        if bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            if !digits(&mut self.at) {
                return self.bad();
            }
        }
        if matches!(bytes.get(self.at), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(bytes.get(self.at), Some(b'+' | b'-')) {
                self.at += 1;
            }
            if !digits(&mut self.at) {
                return self.bad();
            }
        }
        Ok(&self.text[start..self.at])
    }

    fn word(&mut self, word: &str) -> Result<()> {
        let rest = &self.text.as_bytes()[self.at..];
        let same = rest.iter().zip(word.as_bytes()).take_while(|(a, b)| a == b).count();
        self.at += same;
        if same == word.len() { Ok(()) } else { self.bad() }
    }

    /// `true` or `false`; anything else is skipped.
    pub(crate) fn bool_or_skip(&mut self) -> Result<Option<bool>> {
        match self.peek()? {
            b't' => self.word("true").map(|()| Some(true)),
            b'f' => self.word("false").map(|()| Some(false)),
            _ => self.skip().map(|()| None),
        }
    }

    /// Passes over one value, checking its form, and returns its text.
    pub(crate) fn skip_text(&mut self) -> Result<&'a str> {
        self.peek()?;
        let start = self.at;
        self.skip()?;
        Ok(&self.text[start..self.at])
    }

    /// Passes over one value, checking its form.
    pub(crate) fn skip(&mut self) -> Result<()> {
        // One bit per open bracket: set for an object.
        let (mut open, mut depth) = (0_u128, 0_usize);
        loop {
            // A value begins here.
            match self.peek()? {
                b'"' => {
                    self.skip_string()?;
                }
                b'{' => {
                    self.at += 1;
                    if self.peek()? == b'}' {
                        self.at += 1;
                    } else {
                        if depth == DEEPEST {
                            return self.bad();
                        }
                        (open, depth) = (open << 1 | 1, depth + 1);
                        self.skip_string()?;
                        self.expect(b':')?;
                        continue;
                    }
                }
                b'[' => {
                    self.at += 1;
                    if self.peek()? == b']' {
                        self.at += 1;
                    } else {
                        if depth == DEEPEST {
                            return self.bad();
                        }
                        (open, depth) = (open << 1, depth + 1);
                        continue;
                    }
                }
                b't' => self.word("true")?,
                b'f' => self.word("false")?,
                b'n' => self.word("null")?,
                _ => {
                    self.number()?;
                }
            }
            // A value ended here.
            loop {
                if depth == 0 {
                    return Ok(());
                }
                let object = open & 1 == 1;
                match self.peek()? {
                    b',' => {
                        self.at += 1;
                        if object {
                            self.skip_string()?;
                            self.expect(b':')?;
                        }
                        break;
                    }
                    b'}' if object => self.at += 1,
                    b']' if !object => self.at += 1,
                    _ => return self.bad(),
                }
                (open, depth) = (open >> 1, depth - 1);
            }
        }
    }

    #[inline]
    fn skip_string(&mut self) -> Result<()> {
        if self.peek()? != b'"' {
            return self.bad();
        }
        let end = self.plain_end(self.at + 1)?;
        if self.text.as_bytes()[end] == b'"' {
            self.at = end + 1;
            return Ok(());
        }
        self.string().map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn whole(text: &str) -> Result<()> {
        let arena = Bump::new();
        let mut json = Json::new(text, &arena);
        json.skip()?;
        if json.is_done() { Ok(()) } else { json.bad() }
    }

    #[test]
    fn strings_are_decoded() {
        let arena = Bump::new();
        let decoded = |text: &str| Json::new(text, &arena).string().map(str::to_owned);
        assert_eq!(decoded(r#""http:\/\/loinc.org""#).unwrap(), "http://loinc.org");
        assert_eq!(decoded(r#""a\u00e9\ud83d\ude00\n\"z""#).unwrap(), "a\u{e9}\u{1f600}\n\"z");
        for bad in [r#""\ud83d""#, r#""\ud83d\u0041""#, r#""\udc00""#, "\"a\nb\"", r#""\x""#, "\"open", r#""\u12"#] {
            assert!(decoded(bad).is_err(), "{bad}");
        }
        assert!(decoded("\"open").unwrap_err().ended);
    }

    #[test]
    fn what_is_not_json_is_refused_where_it_is() {
        for bad in ["{,}", "[1,]", "{\"a\":1,}", "[1 2]", "01", "1.", "-", "tru", "{\"a\" 1}", "[}", "{]", "1e", "nul"]
        {
            assert!(whole(bad).is_err(), "{bad}");
        }
        assert_eq!(whole("[1, x]"), Err(Bad { at: 4, ended: false }));
        assert_eq!(whole("[1, "), Err(Bad { at: 4, ended: true }));
        assert!(whole(&"[".repeat(200)).is_err() && whole(&format!("{}{}", "[".repeat(128), "]".repeat(128))).is_ok());
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn it_agrees_with_serde_json_on_what_is_json(text in "[\\[\\]{},:\"a\\\\u0-9.eE+\\- tfn]{0,24}") {
            prop_assert_eq!(whole(&text).is_ok(), serde_json::from_str::<serde_json::Value>(&text).is_ok()
                // serde_json refuses numbers beyond the range of f64, the form of which is right.
                || (whole(&text).is_ok() && text.contains(['e', 'E'])));
        }

        #[test]
        fn it_agrees_with_serde_json_on_strings(text in "\\PC{0,40}") {
            let quoted = serde_json::to_string(&text).unwrap();
            let arena = Bump::new();
            prop_assert_eq!(Json::new(&quoted, &arena).string().unwrap(), text);
        }
    }
}
