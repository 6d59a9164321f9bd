//! Keys: who has one can undo shifts and pseudonyms, so it stays with the trustee.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use crate::DeidentifyError;
use crate::file::wrong;

/// A secret of 32 bytes. In a file it is 64 hex digits.
#[derive(Clone)]
pub struct ShiftKey([u8; 32]);

impl std::fmt::Debug for ShiftKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ShiftKey(…)")
    }
}

impl ShiftKey {
    /// From its bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Reads 64 hex digits.
    ///
    /// # Errors
    /// [`DeidentifyError::Key`] when the file is no key.
    pub fn parse(file: &str, bytes: &[u8]) -> Result<Self, DeidentifyError> {
        let refused = |problem| DeidentifyError::Key { file: file.to_owned(), problem };
        let digits = bytes.trim_ascii();
        if digits.len() != 64 {
            return Err(refused("is not a key of 64 hex digits"));
        }
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let mut key = [0; 32];
        for (byte, pair) in key.iter_mut().zip(digits.as_chunks::<2>().0) {
            let (Some(high), Some(low)) = (digit(pair[0]), digit(pair[1])) else {
                return Err(refused("is not a key of 64 hex digits"));
            };
            *byte = high << 4 | low;
        }
        if key == [0; 32] {
            return Err(refused("is a key that everybody can guess"));
        }
        Ok(Self(key))
    }

    /// One of the files that were read with a policy.
    pub(crate) fn of_file(name: &str, files: &BTreeMap<String, Vec<u8>>) -> Result<Self, DeidentifyError> {
        let missing = || DeidentifyError::Key { file: name.to_owned(), problem: "was not given" };
        Self::parse(name, files.get(name).ok_or_else(missing)?)
    }

    /// Reads a key from a file.
    ///
    /// # Errors
    /// [`DeidentifyError::Key`].
    pub fn read(path: &Path) -> Result<Self, DeidentifyError> {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let bytes =
            std::fs::read(path).map_err(|_| DeidentifyError::Key { file: name.clone(), problem: "cannot be read" })?;
        Self::parse(&name, &bytes)
    }

    /// Makes a key at random and writes it to a new file that only its owner may read.
    ///
    /// # Errors
    /// [`DeidentifyError::File`] when the file is there already, or cannot be written.
    pub fn create(path: &Path) -> Result<Self, DeidentifyError> {
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(|_| wrong(path, "the system gives no random numbers"))?;
        let failed = |error: std::io::Error| wrong(path, format!("cannot be written: {}", error.kind()));
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(path).map_err(failed)?;
        let text: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(file, "{text}").and_then(|()| file.sync_all()).map_err(failed)?;
        Ok(Self(key))
    }

    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// A key for one purpose.
    pub(super) fn derived(&self, purpose: &str) -> [u8; 32] {
        blake3::derive_key(purpose, &self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_they_are_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("dates.key");
        let made = ShiftKey::create(&path).unwrap();
        assert_eq!(made.bytes(), ShiftKey::read(&path).unwrap().bytes());
        assert!(ShiftKey::create(&path).is_err(), "a key is never overwritten");
        assert_eq!(format!("{made:?}"), "ShiftKey(…)");
        for bad in ["", "12", &"g".repeat(64), &"0".repeat(64)] {
            assert!(ShiftKey::parse("k", bad.as_bytes()).is_err());
        }
    }
}
