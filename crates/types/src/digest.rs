//! SHA-256 digests: the content address of everything Acequia keeps or publishes.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// A SHA-256 digest, printed as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

impl Digest {
    /// Digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Wraps 32 bytes that some other component already computed with SHA-256.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The raw 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Reads 64 hex digits.
    ///
    /// # Errors
    /// [`DigestParseError`] when the text is not 64 hex digits.
    pub fn parse(text: &str) -> Result<Self, DigestParseError> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| DigestParseError)?;
        Ok(Self(bytes))
    }

    /// The first `digits` hex digits (at most 64), for names that people read.
    pub fn short(&self, digits: usize) -> String {
        let mut text = self.to_string();
        text.truncate(digits);
        text
    }
}

/// Digests what is written to it; for what is too long to lie in memory twice.
#[derive(Debug, Clone, Default)]
pub struct DigestWriter(Sha256);

impl DigestWriter {
    /// Digest of all that was written.
    pub fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

impl std::io::Write for DigestWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The text was not a SHA-256 digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a SHA-256 digest of 64 hex digits")]
pub struct DigestParseError;

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Digest({})", self.short(12))
    }
}

impl From<Digest> for String {
    fn from(value: Digest) -> Self {
        value.to_string()
    }
}

impl TryFrom<String> for Digest {
    type Error = DigestParseError;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

/// Digest of an ordered list of named parts. Lengths are hashed too, so no two different lists share an encoding.
///
/// ```
/// use acequia_types::digest_named;
/// assert_ne!(digest_named("d", [("a", b"bc".as_slice())]), digest_named("d", [("ab", b"c".as_slice())]));
/// ```
pub fn digest_named<'a>(domain: &str, parts: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Digest {
    let mut hash = Sha256::new();
    let mut put = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    put(domain.as_bytes());
    for (name, bytes) in parts {
        put(name.as_bytes());
        put(bytes);
    }
    Digest(hash.finalize().into())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn agrees_with_the_fips_180_4_vector() {
        // FIPS 180-4 example: SHA-256("abc").
        assert_eq!(Digest::of(b"abc").to_string(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        let mut writer = DigestWriter::default();
        b"abc".chunks(2).for_each(|piece| writer.write_all(piece).unwrap());
        assert_eq!(writer.finish(), Digest::of(b"abc"));
    }

    #[test]
    fn parsing_refuses_other_lengths() {
        assert!(Digest::parse("ab").is_err());
        let d = Digest::of(b"x");
        assert_eq!(Digest::parse(&d.to_string()), Ok(d));
    }
}
